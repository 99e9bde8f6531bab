//! The daemon's events: the last of them kept, new ones handed to whoever follows.
//!
//! Bounded: [`limits::EVENT_BACKLOG`] are kept, and a follower that falls behind by as many is told how many it missed.

use std::collections::VecDeque;
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
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    last: u64,
}

impl Default for Events {
    fn default() -> Self {
        let (new, arrivals) = (broadcast::Sender::new(limits::EVENT_BACKLOG), watch::Sender::default());
        Self { kept: Arc::default(), new, arrivals }
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
        // Sent under the lock, so that followers see the sequence of the numbers. Nobody following is fine.
        let _nobody = self.new.send(event);
    }

    /// Wakes who waits for claims: the arrival order of some group has new entries.
    pub fn arrived(&self) {
        self.arrivals.send_replace(());
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
