//! Who may connect, and who may stay.
//!
//! A libp2p behaviour that refuses inbound connections over the bounds (shaking hands, established, per host, per peer)
//! and every connection with a banned peer, and keeps the connections of peers that speak our protocol open while idle.
//! **Every connection it let in is counted exactly until it is gone**: a denial by another behaviour, a failed handshake
//! and a close all end the count.
//!
//! The bounds are of strangers. A peer that is vouched for, as a member of a group that is here, counts against none of its
//! host's, so that any number of members may live behind one address, and strangers there cannot shut them out: where a host has as many as
//! it may, a few more are let in for a moment, to show who they are.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::DeniedUpgrade;
use libp2p::swarm::behaviour::ConnectionEstablished;
use libp2p::swarm::handler::{ConnectionEvent, ProtocolsChange};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm,
    ListenFailure, NetworkBehaviour, SubstreamProtocol, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::access::Access;
use crate::identity::Identity;
use crate::limits::{
    BANS, CONNECTIONS_PER_PEER, CONNECTS_PER_HOST_PER_MIN, INBOUND_CONNECTIONS, PENDING_INBOUND_CONNECTIONS,
    RATED_PAYERS, REFUSED_HOSTS, STRANGER_CONNECTIONS, TRIALS, TRIALS_PER_HOST,
};

use super::address::{endpoint, host, identity_of};
use super::codec::Protocol;
use super::pace::Pace;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Banned,
    Denied,
    TooOften { host: IpAddr },
    HostFull { host: IpAddr, limit: u32 },
    PeerFull,
    Full,
    ShakingHands,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned => f.write_str("the peer is banned"),
            Self::Denied => f.write_str("the settings `allow` and `deny` keep it away"),
            Self::TooOften { host } => {
                write!(f, "{host} connects more than {CONNECTS_PER_HOST_PER_MIN} times a minute")
            }
            Self::HostFull { host, limit } => {
                write!(
                    f,
                    "{host} has {limit} connections of strangers already, the most that `p2p_max_conn_per_ip` lets it"
                )
            }
            Self::PeerFull => write!(f, "the peer has {CONNECTIONS_PER_PEER} connections already"),
            Self::Full => write!(
                f,
                "there are {STRANGER_CONNECTIONS} inbound connections of strangers, or {INBOUND_CONNECTIONS} in all"
            ),
            Self::ShakingHands => write!(f, "{PENDING_INBOUND_CONNECTIONS} connections are shaking hands already"),
        }
    }
}

impl std::error::Error for Refused {}

/// One inbound connection that was let in.
#[derive(Debug, Clone, Copy)]
struct Guest {
    host: IpAddr,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    ShakingHands,
    Stranger(PeerId),
    /// It counts against no host.
    Vouched(PeerId),
}

/// The connections of one host that count against it.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    shaking_hands: u32,
    strangers: u32,
}

/// What was refused to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusals {
    pub(super) why: Refused,
    pub(super) times: u64,
    pub(super) last: Instant,
}

/// The behaviour.
#[derive(Debug)]
pub(super) struct Gate {
    per_host: u32,
    access: Access,
    /// Connections that each host has opened of late.
    arrivals: DefaultKeyedRateLimiter<IpAddr>,
    guests: HashMap<ConnectionId, Guest>,
    hosts: HashMap<IpAddr, Count>,
    /// Of all hosts together.
    count: Count,
    peers: HashMap<PeerId, u32>,
    vouched: HashSet<PeerId>,
    /// Told who is vouched for.
    pace: Arc<Pace>,
    bans: HashMap<PeerId, Instant>,
    refused: HashMap<IpAddr, Refusals>,
}

impl Gate {
    pub(super) fn new(per_host: u32, access: Access, pace: Arc<Pace>) -> Self {
        let a_minute = NonZeroU32::new(CONNECTS_PER_HOST_PER_MIN).unwrap_or(NonZeroU32::MIN);
        Self {
            per_host,
            access,
            arrivals: RateLimiter::keyed(Quota::per_minute(a_minute)),
            guests: HashMap::new(),
            hosts: HashMap::new(),
            count: Count::default(),
            peers: HashMap::new(),
            vouched: HashSet::new(),
            pace,
            bans: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// Refuses connections with `peer` for that time. A longer ban in force stays.
    pub(super) fn ban(&mut self, peer: PeerId, time: Duration) {
        let now = Instant::now();
        self.bans.retain(|_, until| *until > now);
        if self.bans.len() >= BANS && !self.bans.contains_key(&peer) {
            let first = self.bans.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer);
            first.and_then(|peer| self.bans.remove(&peer));
        }
        // A time too long for the clock is as good as a year.
        let until = now.checked_add(time).unwrap_or(now + Duration::from_secs(365 * 86_400));
        self.bans.entry(peer).and_modify(|old| *old = until.max(*old)).or_insert(until);
    }

    /// Lifts a ban.
    pub(super) fn unban(&mut self, peer: &PeerId) {
        self.bans.remove(peer);
    }

    /// By which entry the settings keep a peer away at an address.
    pub(super) fn why_refused(&self, peer: &Identity, at: &Multiaddr) -> Option<String> {
        self.access.why_refused(peer, endpoint(at).map(|(socket, _)| socket.ip()))
    }

    /// Whether the settings keep a peer away wherever it is.
    pub(super) fn refuses(&self, peer: &Identity) -> bool {
        self.access.refuses(peer, None)
    }

    /// How long the ban of `peer` still holds.
    pub(super) fn banned(&self, peer: &PeerId) -> Option<Duration> {
        self.bans.get(peer)?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Says of a connected peer whether it counts against its host. A peer that is gone is a stranger again.
    pub(super) fn vouch(&mut self, peer: PeerId, is_vouched: bool) {
        let has_changed = if is_vouched {
            self.peers.contains_key(&peer) && self.vouched.insert(peer)
        } else {
            self.vouched.remove(&peer)
        };
        if !has_changed {
            return;
        }
        self.pace.vouch(peer, is_vouched);
        for guest in self.guests.values_mut() {
            let count = self.hosts.entry(guest.host).or_default();
            match guest.standing {
                Standing::Stranger(of) if of == peer && is_vouched => {
                    guest.standing = Standing::Vouched(peer);
                    count.strangers -= 1;
                    self.count.strangers -= 1;
                }
                Standing::Vouched(of) if of == peer && !is_vouched => {
                    guest.standing = Standing::Stranger(peer);
                    count.strangers += 1;
                    self.count.strangers += 1;
                }
                _ => {}
            }
        }
        self.hosts.retain(|_, count| count.strangers + count.shaking_hands > 0);
    }

    /// Whether a connection is one that there is room for only until it has shown who it is.
    pub(super) fn is_on_trial(&self, connection: &ConnectionId) -> bool {
        let Some(Guest { host, standing: Standing::Stranger(_) }) = self.guests.get(connection) else { return false };
        let of_host = self.hosts.get(host).map_or(0, |count| count.strangers);
        of_host > self.per_host || self.count.strangers > STRANGER_CONNECTIONS
    }

    /// What was refused to hosts, but for what the lists deny.
    pub(super) fn refused(&self) -> impl Iterator<Item = (IpAddr, Refusals)> {
        self.refused.iter().map(|(host, refusals)| (*host, *refusals))
    }

    fn let_in(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        // Our transports always name an IP address; what does not is refused with the hosts that are full.
        let host = host(remote).unwrap_or(IpAddr::from([0; 4]));
        if endpoint(remote).is_some_and(|(socket, _)| self.access.refuses_host(socket.ip())) {
            return Err(Refused::Denied);
        }
        if let Err(why) = self.has_room(host) {
            self.remember(host, why);
            return Err(why);
        }
        self.hosts.entry(host).or_default().shaking_hands += 1;
        self.count.shaking_hands += 1;
        self.guests.insert(connection, Guest { host, standing: Standing::ShakingHands });
        Ok(())
    }

    fn has_room(&mut self, host: IpAddr) -> Result<(), Refused> {
        if self.count.shaking_hands >= PENDING_INBOUND_CONNECTIONS {
            return Err(Refused::ShakingHands);
        }
        let of = |count: Count| count.strangers.saturating_add(count.shaking_hands);
        if self.guests.len() >= INBOUND_CONNECTIONS as usize || of(self.count) >= STRANGER_CONNECTIONS + TRIALS {
            return Err(Refused::Full);
        }
        let here = self.hosts.get(&host).copied().unwrap_or_default();
        if here.shaking_hands >= self.per_host || of(here) >= self.per_host.saturating_add(TRIALS_PER_HOST) {
            return Err(Refused::HostFull { host, limit: self.per_host });
        }
        if self.arrivals.len() >= RATED_PAYERS {
            self.arrivals.retain_recent();
        }
        // With so many at once the other bounds hold.
        if self.arrivals.len() < RATED_PAYERS && self.arrivals.check_key(&host).is_err() {
            return Err(Refused::TooOften { host });
        }
        Ok(())
    }

    fn remember(&mut self, host: IpAddr, why: Refused) {
        if self.refused.len() >= REFUSED_HOSTS && !self.refused.contains_key(&host) {
            let first = self.refused.iter().min_by_key(|(_, refusals)| refusals.last).map(|(host, _)| *host);
            first.and_then(|host| self.refused.remove(&host));
        }
        let times = self.refused.get(&host).map_or(0, |refusals| refusals.times) + 1;
        self.refused.insert(host, Refusals { why, times, last: Instant::now() });
    }

    /// A connection was closed because nobody has vouched for its peer in time.
    pub(super) fn failed_trial(&mut self, connection: &ConnectionId) {
        let Some(host) = self.guests.get(connection).map(|guest| guest.host) else { return };
        let is_host = self.hosts.get(&host).is_some_and(|count| count.strangers > self.per_host);
        self.remember(host, if is_host { Refused::HostFull { host, limit: self.per_host } } else { Refused::Full });
    }

    fn welcome(&mut self, connection: ConnectionId, peer: PeerId) {
        *self.peers.entry(peer).or_default() += 1;
        let Some(guest) = self.guests.get_mut(&connection) else { return };
        let count = self.hosts.entry(guest.host).or_default();
        count.shaking_hands -= 1;
        self.count.shaking_hands -= 1;
        if self.vouched.contains(&peer) {
            guest.standing = Standing::Vouched(peer);
        } else {
            guest.standing = Standing::Stranger(peer);
            count.strangers += 1;
            self.count.strangers += 1;
        }
    }

    fn gone(&mut self, connection: ConnectionId) {
        let Some(guest) = self.guests.remove(&connection) else { return };
        let count = self.hosts.entry(guest.host).or_default();
        match guest.standing {
            Standing::ShakingHands => {
                count.shaking_hands -= 1;
                self.count.shaking_hands -= 1;
            }
            Standing::Stranger(_) => {
                count.strangers -= 1;
                self.count.strangers -= 1;
            }
            Standing::Vouched(_) => {}
        }
        if count.shaking_hands + count.strangers == 0 {
            self.hosts.remove(&guest.host);
        }
    }

    fn check_peer(&self, peer: &PeerId, at: &Multiaddr) -> Result<Stay, ConnectionDenied> {
        let ip = endpoint(at).map(|(socket, _)| socket.ip());
        if identity_of(peer).is_some_and(|peer| self.access.refuses(&peer, ip)) {
            return Err(ConnectionDenied::new(Refused::Denied));
        }
        if self.banned(peer).is_some() {
            return Err(ConnectionDenied::new(Refused::Banned));
        }
        if self.peers.get(peer).is_some_and(|open| *open >= CONNECTIONS_PER_PEER) {
            return Err(ConnectionDenied::new(Refused::PeerFull));
        }
        Ok(Stay { speaks_ours: false })
    }
}

/// Takes one off a count and forgets it at none.
fn leave<K: Eq + std::hash::Hash>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = Stay;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.let_in(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<Stay, ConnectionDenied> {
        self.check_peer(&peer, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        at: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Stay, ConnectionDenied> {
        self.check_peer(&peer, at)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, .. }) => {
                self.welcome(connection_id, peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, .. }) => {
                leave(&mut self.peers, &peer_id);
                if !self.peers.contains_key(&peer_id) && self.vouched.remove(&peer_id) {
                    self.pace.vouch(peer_id, false);
                }
                self.gone(connection_id);
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.gone(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, Infallible>> {
        Poll::Pending
    }
}

/// Keeps an idle connection open once identify says that the peer speaks our protocol. Without it each idle connection
/// of two members would close, and the sweep would dial it again.
#[derive(Debug)]
pub(super) struct Stay {
    speaks_ours: bool,
}

impl ConnectionHandler for Stay {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = DeniedUpgrade;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<DeniedUpgrade> {
        SubstreamProtocol::new(DeniedUpgrade, ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.speaks_ours
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, DeniedUpgrade, DeniedUpgrade>) {
        match event {
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Added(mut added)) => {
                self.speaks_ours |= added.any(|protocol| *protocol == Protocol::Sync.name());
            }
            ConnectionEvent::RemoteProtocolsChange(ProtocolsChange::Removed(mut removed)) => {
                self.speaks_ours &= !removed.any(|protocol| *protocol == Protocol::Sync.name());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
