//! Who was sent away, for how long, and how often.
//!
//! Pure: times come in as Unix milliseconds. **Each time is longer than the one before**, up to a day, and a day after a ban has ended one
//! time is forgotten. What is remembered is stored with the address book, so that a restart pardons nobody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::limits::{BAN_FACTOR, BAN_FORGOTTEN_MS, BAN_MOST_MS, BAN_MS, BANS};

/// One peer that was sent away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Who.
    pub peer: Identity,
    /// Until when, Unix milliseconds.
    pub until_ms: u64,
    /// How often, as far as it is remembered.
    pub times: u32,
    /// What for.
    pub why: String,
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Bans(BTreeMap<Identity, Ban>);

impl Bans {
    pub(super) fn from_entries(entries: impl IntoIterator<Item = Ban>) -> Self {
        Self(entries.into_iter().take(BANS).map(|ban| (ban.peer, ban)).collect())
    }

    /// What to store, and to show: also those that are over and count for the next.
    pub(super) fn entries(&self) -> Vec<Ban> {
        self.0.values().cloned().collect()
    }

    /// Sends a peer away; for how long, milliseconds. None where it is away already: what still comes in from it was sent before, and is of the
    /// same offence.
    pub(super) fn add(&mut self, peer: Identity, why: &str, now_ms: u64) -> Option<u64> {
        if self.left_ms(&peer, now_ms).is_some() {
            return None;
        }
        self.0.retain(|_, ban| ban.times_at(now_ms) > 0);
        if self.0.len() >= BANS && !self.0.contains_key(&peer) {
            // What ends first, or has ended longest ago, goes first.
            let first = self.0.values().min_by_key(|ban| ban.until_ms).map(|ban| ban.peer);
            first.map(|peer| self.0.remove(&peer));
        }
        let before = self.0.get(&peer).map_or(0, |ban| ban.times_at(now_ms));
        let time_ms = BAN_FACTOR.saturating_pow(before).saturating_mul(BAN_MS).min(BAN_MOST_MS);
        let until_ms = now_ms.saturating_add(time_ms);
        self.0.insert(peer, Ban { peer, until_ms, times: before.saturating_add(1), why: why.to_owned() });
        Some(time_ms)
    }

    /// Lifts a ban and forgets what led to it. Says whether one was in force.
    pub(super) fn lift(&mut self, peer: &Identity, now_ms: u64) -> bool {
        self.0.remove(peer).is_some_and(|ban| ban.until_ms > now_ms)
    }

    /// How long a peer is still kept away, milliseconds.
    pub(super) fn left_ms(&self, peer: &Identity, now_ms: u64) -> Option<u64> {
        self.0.get(peer)?.until_ms.checked_sub(now_ms).filter(|left| *left > 0)
    }
}

impl Ban {
    /// How often it counts by now.
    fn times_at(&self, now_ms: u64) -> u32 {
        let forgotten = now_ms.saturating_sub(self.until_ms) / BAN_FORGOTTEN_MS;
        self.times.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    fn peer(n: u32) -> Identity {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        SecretKey::from_seed(&seed).identity()
    }

    #[test]
    fn each_ban_is_longer_and_days_of_peace_are_counted() {
        let (mut bans, eve) = (Bans::default(), peer(1));
        let mut now_ms = 1_000_000;
        for time_ms in [BAN_MS, BAN_MS * 6, BAN_MS * 36, BAN_MOST_MS, BAN_MOST_MS] {
            assert_eq!(bans.add(eve, "why", now_ms), Some(time_ms));
            assert_eq!(bans.add(eve, "what was on its way", now_ms + 1), None, "one burst is one offence");
            assert_eq!(bans.left_ms(&eve, now_ms + 1), Some(time_ms - 1));
            now_ms += time_ms;
            assert_eq!(bans.left_ms(&eve, now_ms), None);
        }
        // Five times; four days later it is one.
        now_ms += 4 * BAN_FORGOTTEN_MS;
        assert_eq!(bans.add(eve, "why", now_ms), Some(BAN_MS * 6));
        assert!(bans.lift(&eve, now_ms) && !bans.lift(&eve, now_ms));
        assert_eq!(bans.add(eve, "why", now_ms), Some(BAN_MS), "who is pardoned begins anew");
    }

    #[test]
    fn they_are_bounded_and_survive_as_entries() {
        let mut bans = Bans::default();
        let count = u32::try_from(BANS).unwrap();
        for n in 0..=count {
            bans.add(peer(n), "why", u64::from(n));
        }
        assert_eq!(bans.entries().len(), BANS);
        assert_eq!(bans.left_ms(&peer(0), 1), None, "the one that ends first went");
        let again = Bans::from_entries(bans.entries());
        assert_eq!(again.left_ms(&peer(7), 7), Some(BAN_MS));
    }
}
