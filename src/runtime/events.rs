//! The daemon's events: the last of them kept, new ones handed to whoever follows.
//!
//! Bounded: [`limits::EVENT_BACKLOG`] are kept, and a follower that falls behind by as many is told how many it missed. Of what the doctor
//! asks about, the last of each kind is kept beyond that, at most [`limits::EVENT_MARKS`] of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use super::clock::unix_ms;
use crate::api::types::{Event, EventKind};
use crate::limits;

/// The events of this run of the daemon.
#[derive(Debug, Clone)]
pub struct Events {
    kept: Arc<Mutex<Kept>>,
    new: broadcast::Sender<Event>,
    arrivals: watch::Sender<()>,
    members: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    last: u64,
    marks: BTreeMap<Mark, Event>,
}

/// What of a kind the last event is kept of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    OwnKey,
    /// Of a group.
    Synced(String),
    /// Of a member.
    Clock(String),
}

impl Mark {
    fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::OwnKeySeen { .. } => Some(Self::OwnKey),
            EventKind::SyncFinished { group_id, .. } => Some(Self::Synced(group_id.clone())),
            EventKind::ClockAhead { member_id, .. } => Some(Self::Clock(member_id.clone())),
            _ => None,
        }
    }
}

impl Default for Events {
    fn default() -> Self {
        let new = broadcast::Sender::new(limits::EVENT_BACKLOG);
        Self { kept: Arc::default(), new, arrivals: watch::Sender::default(), members: watch::Sender::default() }
    }
}

impl Events {
    /// Tells an event. Never waits.
    pub fn tell(&self, kind: EventKind) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.last += 1;
        let event = Event { seq: kept.last, at_ms: unix_ms(), kind };
        if kept.events.len() >= limits::EVENT_BACKLOG {
            kept.events.pop_front();
        }
        kept.events.push_back(event.clone());
        if let Some(mark) = Mark::of(&event.kind) {
            kept.marks.insert(mark, event.clone());
            if kept.marks.len() > limits::EVENT_MARKS
                && let Some(oldest) = kept.marks.iter().min_by_key(|(_, event)| event.seq).map(|(mark, _)| mark.clone())
            {
                kept.marks.remove(&oldest);
            }
        }
        // Sent under the lock, so that followers see the sequence of the numbers. Nobody following is fine.
        let _nobody = self.new.send(event);
    }

    /// When each group was last synced, whose clock was last seen ahead, and where this node's key was last seen elsewhere.
    #[must_use]
    pub fn marks(&self) -> Vec<Event> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.marks.values().cloned().collect()
    }

    /// Wakes who waits for claims: the arrival order of some group has new entries.
    pub fn arrived(&self) {
        self.arrivals.send_replace(());
    }

    /// Members of some group have come or gone: said before anything else is told of the batch. Wakes who waits for claims as well, since it
    /// may be no member any more.
    pub fn members_changed(&self) {
        self.members.send_replace(());
        self.arrived();
    }

    /// Changes with every batch in which members come or go, from now on.
    #[must_use]
    pub fn members(&self) -> watch::Receiver<()> {
        self.members.subscribe()
    }

    /// Changes with every batch that has new entries of an arrival order, from now on.
    #[must_use]
    pub fn arrivals(&self) -> watch::Receiver<()> {
        self.arrivals.subscribe()
    }

    /// How many wait for claims.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.arrivals.receiver_count()
    }

    /// What is kept after a number, and what comes from then on: nothing between is missed.
    #[must_use]
    pub fn follow(&self, after: u64) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let events = kept.events.iter().filter(|event| event.seq > after).cloned().collect();
        (events, self.new.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_kind_is_kept_beyond_the_others_and_within_its_own_bound() {
        let events = Events::default();
        let ahead = |n: usize| EventKind::ClockAhead { group_id: "g".into(), member_id: format!("{n}"), ahead_ms: 1 };
        for n in 0..=limits::EVENT_MARKS {
            events.tell(ahead(n));
        }
        let members = |of: &Events| -> Vec<String> {
            let of = of.marks().into_iter().filter_map(|event| match event.kind {
                EventKind::ClockAhead { member_id, .. } => Some(member_id),
                _ => None,
            });
            of.collect()
        };
        assert_eq!(members(&events).len(), limits::EVENT_MARKS);
        assert!(!members(&events).contains(&"0".to_owned()), "the oldest went");
        // Whoever is heard of again is the newest, and counts once.
        events.tell(ahead(1));
        events.tell(ahead(0));
        let kept = members(&events);
        assert_eq!(kept.len(), limits::EVENT_MARKS);
        assert!(kept.contains(&"0".to_owned()) && kept.contains(&"1".to_owned()) && !kept.contains(&"2".to_owned()));
        // What nobody asks about afterwards pushes none of them out.
        for _ in 0..2 * limits::EVENT_BACKLOG {
            events.tell(EventKind::PeerConnected { peer_id: "p".into() });
        }
        assert_eq!(events.marks().len(), limits::EVENT_MARKS);
        assert_eq!(events.follow(0).0.len(), limits::EVENT_BACKLOG);
    }
}
