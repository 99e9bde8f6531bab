//! Inbound connections that have not shown who they are.
//!
//! There is room for few, and nothing is known of them but an address; so whoever has many addresses could take all of it. **None is refused because others
//! are slow: what stands in the way gives way**, first of the hosts that members are not known to be at, of these of the host that has
//! most, or else had to give way most often, and there the one that came first. On a local network a handshake takes milliseconds. Each transport has room of its own, because the
//! address that QUIC names is not proven before the handshake is done: whoever forges addresses is in nobody's way over TCP.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::future::AbortHandle;
use libp2p::swarm::ConnectionId;

use super::Refused;
use crate::limits::{PENDING_INBOUND_CONNECTIONS, TURN_MS};
use crate::net::address::Transport;

/// What is known of a host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank {
    /// Whether somebody was met there who is vouched for, or is expected.
    pub(super) is_known: bool,
    /// How often it found no room, or had to give way.
    pub(super) refusals: u64,
}

/// All that are shaking hands.
#[derive(Debug, Default)]
pub(super) struct Handshakes(HashMap<ConnectionId, Handshake>);

#[derive(Debug)]
struct Handshake {
    host: IpAddr,
    transport: Transport,
    since: Instant,
    /// Ends it. None where nothing is to be ended, as in tests.
    end: Option<AbortHandle>,
}

impl Handshakes {
    /// How many of all hosts.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many of one host.
    pub(super) fn of(&self, host: IpAddr, transport: Transport) -> u32 {
        let count = self.0.values().filter(|one| one.host == host && one.transport == transport).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Which has to give way to one more of a host that may have so many, if any has to, and why.
    pub(super) fn in_the_way(
        &self,
        host: IpAddr,
        transport: Transport,
        per_host: u32,
        rank: impl Fn(&IpAddr) -> Rank,
    ) -> Result<Option<(ConnectionId, Refused)>, Refused> {
        let mut counts: HashMap<IpAddr, u32> = HashMap::new();
        let others = || self.0.iter().filter(|(_, handshake)| handshake.transport == transport);
        others().for_each(|(_, handshake)| *counts.entry(handshake.host).or_default() += 1);
        let of = |host: &IpAddr| counts.get(host).copied().unwrap_or(0);
        let is_full = counts.values().sum::<u32>() >= PENDING_INBOUND_CONNECTIONS;
        let is_host_full = of(&host) >= per_host;
        if !is_full && !is_host_full {
            return Ok(None);
        }
        let why = if is_host_full { Refused::HostFull { limit: per_host } } else { Refused::ShakingHands };
        let gives_way = others().filter(|(_, one)| !is_host_full || one.host == host).max_by_key(|(_, one)| {
            let rank = rank(&one.host);
            (!rank.is_known, of(&one.host), rank.refusals, one.since.elapsed())
        });
        // Among equals each has its turn, lest none be done on a machine that is busy.
        let is_its_turn = |one: &Handshake| {
            transport == Transport::Tcp
                && (is_host_full || rank(&one.host).is_known)
                && one.since.elapsed() < Duration::from_millis(TURN_MS)
        };
        match gives_way {
            Some((id, one)) if !is_its_turn(one) => Ok(Some((*id, why))),
            _ => Err(why),
        }
    }

    /// Ends one before it is done, and says whose it was.
    pub(super) fn end(&mut self, id: &ConnectionId) -> Option<IpAddr> {
        let Handshake { host, end, .. } = self.0.remove(id)?;
        if let Some(end) = end {
            end.abort();
        }
        Some(host)
    }

    /// Adds one.
    pub(super) fn begin(&mut self, id: ConnectionId, host: IpAddr, transport: Transport, end: Option<AbortHandle>) {
        self.0.insert(id, Handshake { host, transport, since: Instant::now(), end });
    }

    /// One is done, or has failed, or had to give way before.
    pub(super) fn over(&mut self, id: &ConnectionId) {
        self.0.remove(id);
    }
}
