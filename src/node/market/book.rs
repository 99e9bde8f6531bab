//! The offers that this node knows of: the newest announcement of each, and the withdrawals.
//!
//! Owns who has how much room. **A seller's room is its own**: past [`limits::BOOK_OFFERS_PER_SELLER`] it loses its oldest, and where the
//! book is full, the seller with most offers does; sellers that are members of a group of ours come last, and our own offers are never
//! dropped. So whoever floods the book drives out nobody but itself. What comes is judged in the sequence of cost: form, date, age, room,
//! and only then the signature. For each seller the book is the newest of what came, in whatever sequence that was.

use std::collections::{BTreeMap, BTreeSet};

use crate::announcement::{Announcement, Invalid, Unverified, Verified};
use crate::chain::{GroupId, OfferId};
use crate::identity::Identity;
use crate::limits;
use crate::wire::market::Place;

/// What a record takes in memory besides its bytes and its words: signature, fields, keys, and what holds them.
const OVERHEAD_BYTES: usize = 512;

#[derive(Debug)]
struct Held {
    record: Verified,
    /// Whether this node's own identities have announced it.
    is_ours: bool,
    /// What it is found by, in small letters.
    words: String,
}

impl Held {
    fn new(record: Verified, is_ours: bool) -> Self {
        let words = record.announcement().offered().map_or_else(String::new, |offered| {
            let offer = &offered.offer;
            let description = offer.description.as_deref().unwrap_or_default();
            [&offer.title, "\n", description, "\n", &offer.tags.join("\n")].concat().to_lowercase()
        });
        Self { record, is_ours, words }
    }

    fn bytes(&self) -> usize {
        // The record is there twice: as it came, and read.
        2 * self.record.bytes().len() + self.words.len() + OVERHEAD_BYTES
    }

    fn place(&self) -> Place {
        place(self.record.announcement())
    }
}

fn place(announcement: &Announcement) -> Place {
    Place { seller: announcement.seller, offer: announcement.offer }
}

/// What one seller, who is not of this node, has in the book.
#[derive(Debug, Default)]
struct Seller {
    /// Its records, the oldest first.
    by_age: BTreeSet<(u64, OfferId)>,
    /// Whether it is a member of a group that is here.
    is_known: bool,
}

/// What became of an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It is held, and says something else than before. Others may not have heard of it.
    New,
    /// It is held, and says what was held already.
    Again,
    /// The same, and the one before is so young that others need not hear of it.
    Soon,
    /// It is held already.
    Known,
    /// A newer one is held.
    Older,
    /// There is no room for it: its seller has newer ones, or most.
    NoRoom,
    /// It counts no longer, by our clock, but may by another's.
    Ended,
    /// It counts no longer by any clock that is within the drift.
    LongEnded,
    /// It is dated further ahead of our clock than the drift.
    Early,
}

/// Which offers are asked for. All that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Offers with this tag.
    pub tag: Option<String>,
    /// That cost no more than this.
    pub max_price: Option<u64>,
    /// Of this seller.
    pub seller: Option<Identity>,
    /// In this group.
    pub group: Option<GroupId>,
    /// With this in title, description or tags, whatever its capitals.
    pub text: Option<String>,
}

/// The book.
#[derive(Debug, Default)]
pub struct Book {
    held: BTreeMap<Place, Held>,
    /// What others' records take in memory, and how many they are.
    bytes: usize,
    count: usize,
    sellers: BTreeMap<Identity, Seller>,
    /// Whether a seller is a stranger, how many records it has, and who: the last loses first.
    ranks: BTreeSet<(bool, usize, Identity)>,
    /// When records end.
    ends: BTreeSet<(u64, Place)>,
    /// Of which offers the book is, as long as that is not changed.
    digest: Option<[u8; 32]>,
}

impl Book {
    /// Judges an announcement, and holds it where it counts. `is_member` tells whether somebody is a member of a group that is here.
    ///
    /// # Errors
    /// [`Invalid`] where no node may accept it.
    pub fn receive(
        &mut self,
        sent: Unverified,
        clock_ms: u64,
        drift_ms: u64,
        is_member: impl Fn(&GroupId, &Identity) -> bool,
    ) -> Result<(Place, Came), Invalid> {
        self.sweep(clock_ms);
        let opened = sent.open()?;
        let claimed = opened.claimed();
        let (place, time_ms, until_ms) = (place(claimed), claimed.time_ms, claimed.until_ms());
        let is_known = is_member(&claimed.group, &claimed.seller);
        if time_ms > clock_ms.saturating_add(drift_ms) {
            return Ok((place, Came::Early));
        }
        if until_ms <= clock_ms {
            let is_long = until_ms.saturating_add(drift_ms) <= clock_ms;
            return Ok((place, if is_long { Came::LongEnded } else { Came::Ended }));
        }
        let held = self.held.get(&place);
        if let Some(held) = held {
            match opened.cmp_age(&held.record) {
                std::cmp::Ordering::Equal => return Ok((place, Came::Known)),
                std::cmp::Ordering::Less => return Ok((place, Came::Older)),
                std::cmp::Ordering::Greater => {}
            }
        }
        let is_ours = held.is_some_and(|held| held.is_ours);
        let again = held.map(|held| held.record.announcement()).filter(|before| before.says == claimed.says);
        // Where it is said that its seller has moved, others need to hear of it.
        let again = again.map(|before| {
            before.addresses == claimed.addresses && time_ms.saturating_sub(before.time_ms) < limits::ANNOUNCE_LEAST_MS
        });
        // Known beforehand where it can be, because the signature is what costs.
        let seller = self.sellers.get(&place.seller).filter(|_| held.is_none());
        let is_last = |seller: &Seller| {
            seller.by_age.len() >= limits::BOOK_OFFERS_PER_SELLER
                && seller.by_age.first().is_some_and(|oldest| *oldest > (time_ms, place.offer))
        };
        if seller.is_some_and(is_last) {
            return Ok((place, Came::NoRoom));
        }
        self.hold(opened.verify()?, is_ours, is_known);
        let came = match again {
            _ if !self.held.contains_key(&place) => Came::NoRoom,
            None => Came::New,
            Some(false) => Came::Again,
            Some(true) => Came::Soon,
        };
        Ok((place, came))
    }

    /// Holds an announcement of this node's own.
    pub fn announce(&mut self, record: Verified) {
        self.hold(record, true, true);
    }

    /// Drops what counts no longer.
    pub fn sweep(&mut self, clock_ms: u64) {
        while let Some((_, place)) = self.ends.first().copied().filter(|(until_ms, _)| *until_ms <= clock_ms) {
            self.remove(&place);
        }
    }

    /// The record of one offer.
    #[must_use]
    pub fn get(&self, place: &Place) -> Option<&Verified> {
        self.held.get(place).map(|held| &held.record)
    }

    /// The standing announcements of an offer: one of each who claims to sell it.
    pub fn of_offer(&self, offer: OfferId) -> impl Iterator<Item = &Verified> {
        self.held.values().map(|held| &held.record).filter(move |record| {
            let announcement = record.announcement();
            announcement.offer == offer && announcement.offered().is_some()
        })
    }

    /// Where a seller says that it can be called, by the newest of its records that says so.
    #[must_use]
    pub fn addresses(&self, seller: &Identity) -> &[String] {
        let from = Place { seller: *seller, offer: OfferId::from_bytes([0; 32]) };
        let of_seller = self.held.range(from..).map(|(_, held)| held.record.announcement());
        let of_seller = of_seller.take_while(|record| record.seller == *seller);
        let says = of_seller.filter(|record| !record.addresses.is_empty());
        says.max_by_key(|record| record.time_ms).map_or(&[], |record| &record.addresses)
    }

    /// All records behind a place, withdrawals included.
    pub fn after(&self, after: Option<Place>) -> impl Iterator<Item = &Verified> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.held.range((from, Unbounded)).map(|(_, held)| &held.record)
    }

    /// Standing offers that a filter asks for, behind a place: at most `limit`, and whether there are more.
    #[must_use]
    pub fn page(&self, filter: &Filter, after: Option<Place>, limit: usize) -> (Vec<&Verified>, bool) {
        use std::ops::Bound::{Excluded, Unbounded};
        let text = filter.text.as_ref().map(|text| text.to_lowercase());
        let fits = |held: &&Held| {
            let announcement = held.record.announcement();
            let Some(offered) = announcement.offered() else { return false };
            let offer = &offered.offer;
            filter.seller.is_none_or(|seller| seller == announcement.seller)
                && filter.group.is_none_or(|group| group == announcement.group)
                && filter.max_price.is_none_or(|most| offer.price <= most)
                && filter.tag.as_ref().is_none_or(|tag| offer.tags.contains(tag))
                && text.as_ref().is_none_or(|text| held.words.contains(text))
        };
        let from = after.map_or(Unbounded, Excluded);
        let found = self.held.range((from, Unbounded)).map(|(_, held)| held).filter(fits);
        let mut found: Vec<&Verified> = found.take(limit.saturating_add(1)).map(|held| &held.record).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        (found, more)
    }

    /// Tells which offers the book has, and which withdrawn: two books with one digest need not be compared. Dates do not count.
    pub fn digest(&mut self) -> [u8; 32] {
        let held = &self.held;
        *self.digest.get_or_insert_with(|| {
            let mut hasher = blake3::Hasher::new_derive_key("lbm catalogue digest 1");
            for (Place { seller, offer }, held) in held {
                hasher.update(seller.as_bytes());
                hasher.update(offer.as_bytes());
                hasher.update(&[u8::from(held.record.announcement().offered().is_some())]);
            }
            *hasher.finalize().as_bytes()
        })
    }

    /// How many records there are, and what others' take in memory.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.held.len(), self.bytes)
    }

    /// Puts a record in the place of the one before, and drops what there is no room for.
    fn hold(&mut self, record: Verified, is_ours: bool, is_known: bool) {
        let (time_ms, until_ms) = (record.announcement().time_ms, record.announcement().until_ms());
        let held = Held::new(record, is_ours);
        let place = held.place();
        let stands = |held: &Held| held.record.announcement().offered().is_some();
        let digest = self.digest.filter(|_| self.held.get(&place).map(stands) == Some(stands(&held)));
        self.remove(&place);
        self.digest = digest;
        self.ends.insert((until_ms, place));
        if !is_ours {
            self.bytes += held.bytes();
            self.count += 1;
            self.rank(place.seller, |seller| {
                seller.is_known |= is_known;
                seller.by_age.insert((time_ms, place.offer));
            });
        }
        self.held.insert(place, held);
        while self.sellers.get(&place.seller).is_some_and(|seller| seller.by_age.len() > limits::BOOK_OFFERS_PER_SELLER)
        {
            self.drop_oldest(place.seller);
        }
        while self.count > limits::BOOK_OFFERS || self.bytes > limits::BOOK_OFFERS_BYTES {
            let Some((.., seller)) = self.ranks.last().copied() else { break };
            self.drop_oldest(seller);
        }
    }

    fn drop_oldest(&mut self, seller: Identity) {
        let oldest = self.sellers.get(&seller).and_then(|seller| seller.by_age.first().copied());
        if let Some((_, offer)) = oldest {
            self.remove(&Place { seller, offer });
        }
    }

    fn remove(&mut self, place: &Place) {
        let Some(held) = self.held.remove(place) else { return };
        self.digest = None;
        let announcement = held.record.announcement();
        self.ends.remove(&(announcement.until_ms(), *place));
        if !held.is_ours {
            self.bytes -= held.bytes();
            self.count -= 1;
            let time_ms = announcement.time_ms;
            self.rank(place.seller, |seller| {
                seller.by_age.remove(&(time_ms, place.offer));
            });
        }
    }

    /// Changes what a seller has, and where it ranks.
    fn rank(&mut self, who: Identity, change: impl FnOnce(&mut Seller)) {
        let seller = self.sellers.entry(who).or_default();
        self.ranks.remove(&(!seller.is_known, seller.by_age.len(), who));
        change(seller);
        if seller.by_age.is_empty() {
            self.sellers.remove(&who);
        } else {
            self.ranks.insert((!seller.is_known, seller.by_age.len(), who));
        }
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
pub(super) mod tests;
