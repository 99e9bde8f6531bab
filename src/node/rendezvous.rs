//! Rendezvous: under which keys the members of a group store where they can be called, and when they look for each other.
//!
//! Pure. A key is worked out of the group's discovery secret and the day: **whoever has none of a group's secrets cannot tell which group
//! a key belongs to**, nor that the key of tomorrow belongs to the same. A node that has met nobody of a group looks often, one that has
//! seldom: the others find it as well.

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::GroupId;
use crate::limits::{
    MAX_CLOCK_DRIFT_MS, RENDEZVOUS_ALONE_MS, RENDEZVOUS_MET_MS, RENDEZVOUS_PROVIDE_MS, RENDEZVOUS_SETTLES_MS,
};

const DAY_MS: u64 = 86_400_000;
const CONTEXT: &[u8] = b"lbm rendezvous 1";

/// A key, as 32 bytes.
pub type Key = [u8; 32];

/// The key of a group on a day, counted from 1970.
#[must_use]
pub fn key(secret: &[u8; 32], group: &GroupId, day: u64) -> Key {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(CONTEXT).update(group.as_bytes()).update(&day.to_be_bytes());
    *hasher.finalize().as_bytes()
}

/// What a node knows of a group that it looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    /// Its discovery secret.
    pub secret: [u8; 32],
    /// Whether somebody of it is connected.
    pub has_met: bool,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Under these keys and no others this node is to be found, from now on.
    pub provide: Option<BTreeSet<Key>>,
    /// Under these others are to be looked for.
    pub seek: BTreeSet<Key>,
}

#[derive(Debug, Clone, Copy)]
struct Search {
    next_ms: u64,
    pause_ms: u64,
}

/// When to store and to look.
#[derive(Debug, Default)]
pub struct Rendezvous {
    searches: BTreeMap<GroupId, Search>,
    provide_ms: u64,
}

impl Rendezvous {
    /// Begins anew: a server was met, an address has changed, or there is another group.
    pub fn begin(&mut self, now_ms: u64) {
        self.searches.clear();
        self.provide_ms = now_ms.saturating_add(RENDEZVOUS_SETTLES_MS);
    }

    /// What is due at `now_ms` of a steady clock, while the world's shows `clock_ms` since 1970 UTC.
    pub fn due(&mut self, now_ms: u64, clock_ms: u64, groups: &BTreeMap<GroupId, Sought>) -> Due {
        if now_ms < self.provide_ms && self.searches.is_empty() {
            return Due::default();
        }
        let provide = (self.provide_ms <= now_ms).then(|| {
            self.provide_ms = now_ms.saturating_add(RENDEZVOUS_PROVIDE_MS);
            // Of others' clocks some are behind, and some will be ahead before this is done again.
            let first = clock_ms.saturating_sub(MAX_CLOCK_DRIFT_MS) / DAY_MS;
            let last = clock_ms.saturating_add(RENDEZVOUS_PROVIDE_MS + MAX_CLOCK_DRIFT_MS) / DAY_MS;
            let keys = |(group, sought): (&GroupId, &Sought)| {
                let (group, secret) = (*group, sought.secret);
                (first..=last).map(move |day| key(&secret, &group, day))
            };
            groups.iter().flat_map(keys).collect()
        });
        self.searches.retain(|group, _| groups.contains_key(group));
        let mut seek = BTreeSet::new();
        for (group, sought) in groups {
            let search =
                self.searches.entry(*group).or_insert(Search { next_ms: now_ms, pause_ms: RENDEZVOUS_SETTLES_MS });
            if sought.has_met {
                search.pause_ms = RENDEZVOUS_MET_MS;
            } else if search.pause_ms > *RENDEZVOUS_ALONE_MS.end() {
                // It has just lost the last it had met.
                *search = Search { next_ms: now_ms, pause_ms: *RENDEZVOUS_ALONE_MS.start() };
            }
            if search.next_ms <= now_ms {
                seek.insert(key(&sought.secret, group, clock_ms / DAY_MS));
                if !sought.has_met {
                    search.pause_ms = search.pause_ms.saturating_mul(2);
                    search.pause_ms = search.pause_ms.clamp(*RENDEZVOUS_ALONE_MS.start(), *RENDEZVOUS_ALONE_MS.end());
                }
                search.next_ms = now_ms.saturating_add(search.pause_ms);
            }
        }
        Due { provide, seek }
    }

    /// When something is due next.
    #[must_use]
    pub fn next_ms(&self) -> u64 {
        self.searches.values().map(|search| search.next_ms).chain([self.provide_ms]).min().unwrap_or(self.provide_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];
    const NOON_MS: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn group(n: u8) -> GroupId {
        GroupId::from_bytes([n; 32])
    }

    fn sought(has_met: bool) -> BTreeMap<GroupId, Sought> {
        BTreeMap::from([(group(1), Sought { secret: SECRET, has_met })])
    }

    #[test]
    fn a_key_is_of_one_secret_one_group_and_one_day() {
        let keys = [
            key(&SECRET, &group(1), 1),
            key(&SECRET, &group(1), 2),
            key(&SECRET, &group(2), 1),
            key(&[8; 32], &group(1), 1),
        ];
        assert_eq!(BTreeSet::from(keys).len(), 4);
    }

    #[test]
    fn who_is_alone_looks_often_at_first_and_then_more_seldom() {
        let mut rendezvous = Rendezvous::default();
        rendezvous.begin(0);
        let (mut now_ms, mut looked) = (RENDEZVOUS_SETTLES_MS, Vec::new());
        while now_ms < 3_600_000 {
            if !rendezvous.due(now_ms, NOON_MS, &sought(false)).seek.is_empty() {
                looked.push(now_ms);
            }
            assert!(rendezvous.next_ms() > now_ms);
            now_ms = rendezvous.next_ms();
        }
        let pauses: Vec<u64> = looked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses.first(), Some(RENDEZVOUS_ALONE_MS.start()));
        assert_eq!(pauses.last(), Some(RENDEZVOUS_ALONE_MS.end()));
        assert!(pauses.is_sorted());
    }

    #[test]
    fn who_has_company_looks_seldom_and_at_once_when_it_is_alone_again() {
        let mut rendezvous = Rendezvous::default();
        rendezvous.begin(0);
        let start_ms = RENDEZVOUS_SETTLES_MS;
        assert_eq!(rendezvous.due(start_ms, NOON_MS, &sought(true)).seek.len(), 1);
        assert!(rendezvous.due(start_ms + RENDEZVOUS_MET_MS - 1, NOON_MS, &sought(true)).seek.is_empty());
        assert_eq!(rendezvous.due(start_ms + RENDEZVOUS_MET_MS - 1, NOON_MS, &sought(false)).seek.len(), 1);
    }

    #[test]
    fn whoever_looks_at_any_moment_finds_who_stores_each_hour() {
        let mut rendezvous = Rendezvous::default();
        rendezvous.begin(0);
        let midnight_ms = 20_001 * DAY_MS;
        let start_ms = midnight_ms - 2 * RENDEZVOUS_PROVIDE_MS;
        let mut stored = BTreeSet::new();
        for minute in 0..240 {
            let passed_ms = minute * 60_000;
            let due = rendezvous.due(RENDEZVOUS_SETTLES_MS + passed_ms, start_ms + passed_ms, &sought(true));
            stored = due.provide.unwrap_or(stored);
            for drift_ms in [0, MAX_CLOCK_DRIFT_MS * 2] {
                let theirs_ms = start_ms + passed_ms + drift_ms - MAX_CLOCK_DRIFT_MS;
                assert!(stored.contains(&key(&SECRET, &group(1), theirs_ms / DAY_MS)), "after {minute} minutes");
            }
            assert!(stored.len() <= 2);
        }
    }

    #[test]
    fn a_group_that_is_gone_is_stored_no_more() {
        let mut rendezvous = Rendezvous::default();
        rendezvous.begin(0);
        assert_eq!(rendezvous.due(RENDEZVOUS_SETTLES_MS, NOON_MS, &sought(true)).provide.unwrap().len(), 1);
        rendezvous.begin(10_000);
        let due = rendezvous.due(10_000 + RENDEZVOUS_SETTLES_MS, NOON_MS, &BTreeMap::new());
        assert_eq!(due, Due { provide: Some(BTreeSet::new()), seek: BTreeSet::new() });
    }
}
