//! How fast peers open streams, and ask in Kademlia.
//!
//! A stream costs a negotiation, a frame and an answer, and be it `busy`: who floods is to cost none of it. So the streams of all strangers of
//! a host are taken up at a pace, **below the protocols**: what comes faster waits in the multiplexer, which keeps a bounded number of them and
//! drops the rest. Whoever waits when it is told to stays below it. A peer that is vouched for has a pace of its own, far above what anybody needs:
//! questions that are free are free within it. Kademlia alone asks many times on one stream: [`Paced`](super::paced::Paced) counts those.

use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use libp2p::PeerId;
use tokio::time::Sleep;

use crate::limits::{MEMBER_STREAMS_PER_S, RATED_PAYERS, STRANGER_STREAMS_PER_S, STREAMS_BURST_S};

/// The pace of all hosts, and of each peer that is vouched for.
#[derive(Debug)]
pub(super) struct Pace {
    clock: DefaultClock,
    streams: RwLock<DefaultKeyedRateLimiter<IpAddr>>,
    members: DefaultKeyedRateLimiter<PeerId>,
    vouched: Mutex<HashSet<PeerId>>,
}

impl Pace {
    /// Of nodes that answer so many requests of a host's strangers a minute: twice that, for there is more than requests.
    pub(super) fn new(requests_per_min: u32) -> Self {
        let streams = RwLock::new(Self::streams(requests_per_min));
        let members = RateLimiter::keyed(Self::quota(MEMBER_STREAMS_PER_S));
        Self { clock: DefaultClock::default(), streams, members, vouched: Mutex::default() }
    }

    /// The same from now on, with nothing counted yet.
    pub(super) fn set(&self, requests_per_min: u32) {
        *self.streams.write().unwrap_or_else(PoisonError::into_inner) = Self::streams(requests_per_min);
    }

    fn streams(requests_per_min: u32) -> DefaultKeyedRateLimiter<IpAddr> {
        RateLimiter::keyed(Self::quota((requests_per_min / 30).max(STRANGER_STREAMS_PER_S)))
    }

    fn quota(a_second: u32) -> Quota {
        let at_once = a_second.saturating_mul(STREAMS_BURST_S);
        let or_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Quota::per_second(or_one(a_second)).allow_burst(or_one(at_once))
    }

    /// Says of a peer whether it has a pace of its own.
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
            if self.members.len() >= RATED_PAYERS {
                self.members.retain_recent();
            }
            return self.members.check_key(peer).map_err(|later| later.wait_time_from(self.clock.now()));
        }
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        if streams.len() >= RATED_PAYERS {
            streams.retain_recent();
        }
        streams.check_key(&host).map_err(|later| later.wait_time_from(self.clock.now()))
    }
}

/// When a peer's next stream, or question, is taken up.
pub(super) struct Turn {
    pace: Arc<Pace>,
    peer: PeerId,
    host: IpAddr,
    /// Whether it may come now.
    is_mine: bool,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Turn {
    /// Of a peer that is at `host`.
    pub(super) const fn new(pace: Arc<Pace>, peer: PeerId, host: IpAddr) -> Self {
        Self { pace, peer, host, is_mine: false, wait: None }
    }

    /// Ready once the next may be taken up; it stays so until it is.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_mine {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.pace.next(&self.peer, self.host) {
                Ok(()) => self.is_mine = true,
                Err(time) => self.wait = Some(Box::pin(tokio::time::sleep(time))),
            }
        }
        Poll::Ready(())
    }

    /// It has been taken up.
    pub(super) const fn take(&mut self) {
        self.is_mine = false;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn strangers_of_a_host_share_a_pace_and_members_have_their_own() {
        let pace = Pace::new(10);
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let (member, stranger) = (PeerId::random(), PeerId::random());
        pace.vouch(member, true);
        let at_once = STRANGER_STREAMS_PER_S * STREAMS_BURST_S;
        let taken = (0..3 * at_once).filter(|_| pace.next(&PeerId::random(), here).is_ok()).count();
        assert!((at_once as usize..2 * at_once as usize).contains(&taken), "{taken}");
        let wait = (0..).find_map(|_| pace.next(&stranger, here).err()).unwrap();
        assert!(!wait.is_zero() && wait <= Duration::from_millis(1_000 / u64::from(STRANGER_STREAMS_PER_S) + 1));
        assert_eq!(pace.next(&stranger, there), Ok(()));
        let free = MEMBER_STREAMS_PER_S * STREAMS_BURST_S;
        assert!((0..free).all(|_| pace.next(&member, here).is_ok()), "{free} at once");
        let asks = Instant::now();
        assert!((0..).any(|_| pace.next(&member, here).is_err() || asks.elapsed() > Duration::from_secs(60)));
        assert!(asks.elapsed() < Duration::from_secs(60), "a member has no bound");
        pace.vouch(member, false);
        assert!((0..3 * at_once).any(|_| pace.next(&member, here).is_err()));
    }
}
