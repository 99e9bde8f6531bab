//! How fast strangers open streams.
//!
//! A stream costs a negotiation, a frame and an answer, and be it `busy`: who floods is to cost none of it. So the streams of all strangers of
//! a host are taken up at a pace, **below the protocols**: what comes faster waits in the multiplexer, which keeps a bounded number of them and
//! drops the rest. Whoever waits when it is told to stays below it. There is none for peers that are vouched for.

use std::collections::HashSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use libp2p::PeerId;

use crate::limits::{RATED_PAYERS, STRANGER_STREAMS_BURST_S, STRANGER_STREAMS_PER_S};

/// The pace of all hosts, and who has none.
#[derive(Debug)]
pub(super) struct Pace {
    clock: DefaultClock,
    streams: DefaultKeyedRateLimiter<IpAddr>,
    vouched: Mutex<HashSet<PeerId>>,
}

impl Pace {
    /// Of nodes that answer so many requests of a host's strangers a minute: twice that, for there is more than requests.
    pub(super) fn new(requests_per_min: u32) -> Self {
        let a_second = (requests_per_min / 30).max(STRANGER_STREAMS_PER_S);
        let at_once = a_second.saturating_mul(STRANGER_STREAMS_BURST_S);
        let or_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(or_one(a_second)).allow_burst(or_one(at_once));
        Self { clock: DefaultClock::default(), streams: RateLimiter::keyed(quota), vouched: Mutex::default() }
    }

    /// Says of a peer whether its streams are taken up as they come.
    pub(super) fn vouch(&self, peer: PeerId, is_vouched: bool) {
        let mut vouched = self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        if is_vouched {
            vouched.insert(peer);
        } else {
            vouched.remove(&peer);
        }
    }

    /// Counts a stream of a peer of that host, or says how long the next one waits.
    pub(super) fn next(&self, peer: &PeerId, host: IpAddr) -> Result<(), Duration> {
        if self.vouched.lock().unwrap_or_else(PoisonError::into_inner).contains(peer) {
            return Ok(());
        }
        if self.streams.len() >= RATED_PAYERS {
            self.streams.retain_recent();
        }
        self.streams.check_key(&host).map_err(|later| later.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_of_a_host_share_a_pace_and_members_have_none() {
        let pace = Pace::new(10);
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (member, stranger) = (PeerId::random(), PeerId::random());
        pace.vouch(member, true);
        let at_once = STRANGER_STREAMS_PER_S * STRANGER_STREAMS_BURST_S;
        let taken = (0..3 * at_once).filter(|_| pace.next(&PeerId::random(), here).is_ok()).count();
        assert!((at_once as usize..2 * at_once as usize).contains(&taken), "{taken}");
        let wait = (0..).find_map(|_| pace.next(&stranger, here).err()).unwrap();
        assert!(!wait.is_zero() && wait <= Duration::from_millis(1_000 / u64::from(STRANGER_STREAMS_PER_S) + 1));
        assert_eq!(pace.next(&stranger, there), Ok(()));
        assert!((0..3 * at_once).all(|_| pace.next(&member, here).is_ok()));
        pace.vouch(member, false);
        assert!((0..3 * at_once).any(|_| pace.next(&member, here).is_err()));
    }
}
