//! The connections of a listener: counted, told apart by whose they are, and let go where there are too many.
//!
//! Mechanism alone: how many are too many, and who goes first, says the listener that owns it.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;

use crate::limits;

/// Whose a connection is: none of whoever has not said so yet.
pub type Owner = Option<[u8; 32]>;

/// The connections of one listener. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Room(Arc<Mutex<Guests>>);

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    all: BTreeMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    owner: Owner,
    /// Requests under way.
    busy: usize,
    /// Since when there are none.
    idle_since: Instant,
    leave: Arc<Notify>,
}

/// A connection's place, given back when this is dropped.
#[derive(Debug)]
pub struct Place {
    room: Room,
    number: u64,
    leave: Arc<Notify>,
}

/// A request under way on a connection, until this is dropped.
#[derive(Debug)]
pub struct Busy(Arc<Place>);

impl Room {
    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection in.
    #[must_use]
    pub fn enter(&self) -> Arc<Place> {
        let leave = Arc::new(Notify::new());
        let mut guests = self.guests();
        let number = guests.next;
        guests.next += 1;
        let guest = Guest { owner: None, busy: 0, idle_since: Instant::now(), leave: Arc::clone(&leave) };
        guests.all.insert(number, guest);
        drop(guests);
        Arc::new(Place { room: self.clone(), number, leave })
    }

    /// How many there are of some owners.
    #[must_use]
    pub fn count(&self, of: impl Fn(&Owner) -> bool) -> usize {
        self.guests().all.values().filter(|guest| of(&guest.owner)).count()
    }

    /// Lets the one go that has been without a request for longest, of some owners and for [`limits::IDLE_LEAST_MS`] at least; tells whether
    /// there was one. It counts no more.
    #[must_use]
    pub fn let_idle_go(&self, of: impl Fn(&Owner) -> bool) -> bool {
        let least = Duration::from_millis(limits::IDLE_LEAST_MS);
        self.let_one_go(|guest| of(&guest.owner) && guest.busy == 0 && guest.idle_since.elapsed() >= least)
    }

    /// Lets the oldest go of those that have not said whose they are, whatever it does.
    pub fn let_stranger_go(&self) {
        let _none = self.let_one_go(|guest| guest.owner.is_none());
    }

    /// Whose they are.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<[u8; 32]> {
        self.guests().all.values().filter_map(|guest| guest.owner).collect()
    }

    /// Lets all of an owner go but one, whatever they do.
    pub fn let_others_go(&self, owner: [u8; 32], but: &Place) {
        but.belongs_to_nobody();
        self.let_all_go(owner);
    }

    /// Lets all of an owner go, whatever they do.
    pub fn let_all_go(&self, owner: [u8; 32]) {
        while self.let_one_go(|guest| guest.owner == Some(owner)) {}
    }

    fn let_one_go(&self, of: impl Fn(&Guest) -> bool) -> bool {
        let mut guests = self.guests();
        let fits = guests.all.iter().filter(|(_, guest)| of(guest));
        let Some(first) = fits.min_by_key(|(_, guest)| guest.idle_since).map(|(number, _)| *number) else {
            return false;
        };
        let guest = guests.all.remove(&first);
        drop(guests);
        guest.inspect(|guest| guest.leave.notify_one()).is_some()
    }
}

impl Place {
    /// Says whose the connection is; tells whether that is new.
    pub fn belongs_to(&self, owner: [u8; 32]) -> bool {
        match self.room.guests().all.get_mut(&self.number) {
            Some(guest) => guest.owner.replace(owner) != Some(owner),
            None => false,
        }
    }

    /// Forgets whose it is.
    pub fn belongs_to_nobody(&self) {
        if let Some(guest) = self.room.guests().all.get_mut(&self.number) {
            guest.owner = None;
        }
    }

    /// Whether nobody has said whose it is.
    #[must_use]
    pub fn is_strange(&self) -> bool {
        self.room.guests().all.get(&self.number).is_none_or(|guest| guest.owner.is_none())
    }

    /// A request begins.
    #[must_use]
    pub fn busy(self: &Arc<Self>) -> Busy {
        if let Some(guest) = self.room.guests().all.get_mut(&self.number) {
            guest.busy += 1;
        }
        Busy(Arc::clone(self))
    }

    /// Waits until it has to leave.
    pub async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.guests().all.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(guest) = self.0.room.guests().all.get_mut(&self.0.number) {
            guest.busy = guest.busy.saturating_sub(1);
            guest.idle_since = Instant::now();
        }
    }
}

/// A body with something that is held until it was sent, or nobody wants it any more.
#[derive(Debug)]
pub struct Held<B, H>(pub B, pub H);

impl<B: Body + Unpin, H: Unpin> Body for Held<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().0).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idlest_goes_first_and_whoever_works_stays() {
        let room = Room::default();
        let (first, second, third) = (room.enter(), room.enter(), room.enter());
        assert!(first.belongs_to([1; 32]) && !first.belongs_to([1; 32]) && second.belongs_to([1; 32]));
        assert!(third.is_strange() && !first.is_strange());
        assert_eq!((room.count(|_| true), room.count(Option::is_some)), (3, 2));
        assert!(!room.let_idle_go(|_| true), "just come");
        let working = first.busy();
        std::thread::sleep(Duration::from_millis(limits::IDLE_LEAST_MS));
        assert!(room.let_idle_go(Option::is_some) && !room.let_idle_go(Option::is_some));
        assert_eq!(room.count(Option::is_some), 1, "the second has gone");
        room.let_stranger_go();
        assert_eq!(room.count(|_| true), 1);
        room.let_all_go([1; 32]);
        drop((working, first, second, third));
        assert_eq!(room.count(|_| true), 0);
    }
}
