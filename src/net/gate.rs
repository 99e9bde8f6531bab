//! Who may connect, and who may stay.
//!
//! A libp2p behaviour that refuses inbound connections over the bounds (shaking hands, established, per host, per peer)
//! and every connection with a banned peer, and keeps the connections of peers that speak our protocol open while idle.
//! **Every connection it let in is counted exactly until it is gone**: a denial by another behaviour, a failed handshake
//! and a close all end the count.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
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
    RATED_PAYERS,
};

use super::address::{endpoint, host, identity_of};
use super::codec::Protocol;

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
            Self::TooOften { host } => write!(f, "{host} connects too often"),
            Self::HostFull { host, limit } => write!(f, "{host} has {limit} connections already"),
            Self::PeerFull => write!(f, "the peer has {CONNECTIONS_PER_PEER} connections already"),
            Self::Full => write!(f, "{INBOUND_CONNECTIONS} inbound connections are established already"),
            Self::ShakingHands => write!(f, "{PENDING_INBOUND_CONNECTIONS} connections are shaking hands already"),
        }
    }
}

impl std::error::Error for Refused {}

/// One inbound connection that was let in.
#[derive(Debug)]
struct Guest {
    host: IpAddr,
    established: bool,
}

/// The behaviour.
#[derive(Debug)]
pub(super) struct Gate {
    per_host: u32,
    access: Access,
    /// Connections that each host has opened of late.
    arrivals: DefaultKeyedRateLimiter<IpAddr>,
    guests: HashMap<ConnectionId, Guest>,
    hosts: HashMap<IpAddr, u32>,
    shaking_hands: u32,
    established: u32,
    peers: HashMap<PeerId, u32>,
    bans: HashMap<PeerId, Instant>,
}

impl Gate {
    pub(super) fn new(per_host: u32, access: Access) -> Self {
        let a_minute = NonZeroU32::new(CONNECTS_PER_HOST_PER_MIN).unwrap_or(NonZeroU32::MIN);
        Self {
            per_host,
            access,
            arrivals: RateLimiter::keyed(Quota::per_minute(a_minute)),
            guests: HashMap::new(),
            hosts: HashMap::new(),
            shaking_hands: 0,
            established: 0,
            peers: HashMap::new(),
            bans: HashMap::new(),
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

    /// Lets in whom these lists let in, and no more from one host than that, from now on.
    pub(super) fn set_access(&mut self, access: Access, per_host: u32) {
        (self.access, self.per_host) = (access, per_host);
    }

    /// Whether the settings keep a peer away, at a host or wherever it is.
    pub(super) fn refuses_at(&self, peer: &Identity, host: Option<IpAddr>) -> bool {
        self.access.refuses(peer, host) || host.is_some_and(|host| self.access.refuses_host(host))
    }

    /// Whether the settings keep a peer away wherever it is.
    pub(super) fn refuses(&self, peer: &Identity) -> bool {
        self.access.refuses(peer, None)
    }

    /// How long the ban of `peer` still holds.
    pub(super) fn banned(&self, peer: &PeerId) -> Option<Duration> {
        self.bans.get(peer)?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn let_in(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        // Our transports always name an IP address; what does not is refused with the hosts that are full.
        let host = host(remote).unwrap_or(IpAddr::from([0; 4]));
        if endpoint(remote).is_some_and(|(socket, _)| self.access.refuses_host(socket.ip())) {
            return Err(Refused::Denied);
        }
        if self.shaking_hands >= PENDING_INBOUND_CONNECTIONS {
            return Err(Refused::ShakingHands);
        }
        if self.established.saturating_add(self.shaking_hands) >= INBOUND_CONNECTIONS {
            return Err(Refused::Full);
        }
        let here = self.hosts.entry(host).or_default();
        if *here >= self.per_host {
            return Err(Refused::HostFull { host, limit: self.per_host });
        }
        if self.arrivals.len() >= RATED_PAYERS {
            self.arrivals.retain_recent();
        }
        // With so many at once the other bounds hold.
        if self.arrivals.len() < RATED_PAYERS && self.arrivals.check_key(&host).is_err() {
            return Err(Refused::TooOften { host });
        }
        *here += 1;
        self.shaking_hands += 1;
        self.guests.insert(connection, Guest { host, established: false });
        Ok(())
    }

    fn welcome(&mut self, connection: ConnectionId, peer: PeerId) {
        *self.peers.entry(peer).or_default() += 1;
        if let Some(guest) = self.guests.get_mut(&connection) {
            guest.established = true;
            self.shaking_hands -= 1;
            self.established += 1;
        }
    }

    fn gone(&mut self, connection: ConnectionId) {
        let Some(guest) = self.guests.remove(&connection) else { return };
        if guest.established {
            self.established -= 1;
        } else {
            self.shaking_hands -= 1;
        }
        leave(&mut self.hosts, &guest.host);
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
mod tests {
    use super::*;

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    fn from(host: u8) -> Multiaddr {
        format!("/ip4/10.0.0.{host}/tcp/1").parse().unwrap()
    }

    #[test]
    fn one_host_has_its_share_and_gets_it_back() {
        let mut gate = Gate::new(2, Access::default());
        assert_eq!(gate.let_in(id(1), &from(1)), Ok(()));
        gate.welcome(id(1), PeerId::random());
        assert_eq!(gate.let_in(id(2), &from(1)), Ok(()));
        assert!(matches!(gate.let_in(id(3), &from(1)), Err(Refused::HostFull { limit: 2, .. })));
        assert_eq!(gate.let_in(id(4), &from(2)), Ok(()));
        gate.gone(id(3));
        assert!(gate.let_in(id(3), &from(1)).is_err(), "a refused one was never counted");
        gate.gone(id(1));
        assert_eq!(gate.let_in(id(5), &from(1)), Ok(()));
        for n in [2, 4, 5] {
            gate.gone(id(n));
        }
        assert_eq!((gate.hosts.len(), gate.established, gate.shaking_hands), (0, 0, 0));
    }

    #[test]
    fn handshakes_and_guests_are_bounded_in_all() {
        let mut gate = Gate::new(u32::MAX, Access::default());
        // From many hosts: one may not come as often.
        let of = |n: usize| format!("/ip4/10.0.{}.{}/tcp/1", n / 200, n % 200).parse().unwrap();
        let mut n = 0;
        while gate.let_in(id(n), &of(n)).is_ok() {
            n += 1;
        }
        assert_eq!(n, PENDING_INBOUND_CONNECTIONS as usize);
        for n in 0..n {
            gate.welcome(id(n), PeerId::random());
        }
        let refused = loop {
            match gate.let_in(id(n), &of(n)) {
                Ok(()) => gate.welcome(id(n), PeerId::random()),
                Err(refused) => break refused,
            }
            n += 1;
        };
        assert_eq!((n, refused), (INBOUND_CONNECTIONS as usize, Refused::Full));
    }

    #[test]
    fn a_peer_has_three_connections_and_a_banned_one_none() {
        let (mut gate, peer) = (Gate::new(10, Access::default()), PeerId::random());
        for n in 0..CONNECTIONS_PER_PEER as usize {
            assert!(gate.check_peer(&peer, &from(1)).is_ok());
            gate.welcome(id(n), peer);
        }
        assert!(gate.check_peer(&peer, &from(1)).is_err());
        leave(&mut gate.peers, &peer);
        assert!(gate.check_peer(&peer, &from(1)).is_ok());
        gate.ban(peer, Duration::from_secs(60));
        gate.ban(peer, Duration::ZERO);
        assert!(gate.check_peer(&peer, &from(1)).is_err());
        let brief = PeerId::random();
        gate.ban(brief, Duration::ZERO);
        assert!(gate.check_peer(&brief, &from(1)).is_ok());
        gate.ban(brief, Duration::MAX);
        assert!(gate.check_peer(&brief, &from(1)).is_err());
    }

    #[test]
    fn a_host_that_comes_and_goes_has_to_wait() {
        let mut gate = Gate::new(10, Access::default());
        let mut come_and_go = |n: usize, host| {
            let come = gate.let_in(id(n), &from(host));
            gate.gone(id(n));
            come
        };
        let in_a_moment = (0..).take_while(|n| come_and_go(*n, 1).is_ok()).count();
        let most = CONNECTS_PER_HOST_PER_MIN as usize;
        assert!((most..most + 20).contains(&in_a_moment), "{in_a_moment}");
        assert!(matches!(come_and_go(0, 1), Err(Refused::TooOften { .. })));
        assert_eq!(come_and_go(0, 2), Ok(()));
    }

    #[test]
    fn the_lists_decide_before_the_handshake_and_after_it() {
        let deny = vec!["10.0.0.1".parse().unwrap()];
        let mut gate = Gate::new(10, Access { deny, ..Access::default() });
        assert_eq!(gate.let_in(id(1), &from(1)), Err(Refused::Denied));
        assert_eq!(gate.let_in(id(2), &from(2)), Ok(()));
        let eve = crate::identity::SecretKey::from_seed(&[9; 32]).identity();
        let deny = vec![crate::access::Rule::Peer(eve)];
        let mut gate = Gate::new(10, Access { deny, ..Access::default() });
        assert_eq!(gate.let_in(id(1), &from(1)), Ok(()));
        assert!(gate.check_peer(&crate::net::address::peer_id_of(&eve).unwrap(), &from(1)).is_err());
        assert!(gate.refuses(&eve));
    }

    #[test]
    fn bans_are_bounded_and_the_shortest_goes_first() {
        let (mut gate, first) = (Gate::new(1, Access::default()), PeerId::random());
        gate.ban(first, Duration::from_secs(60));
        for _ in 1..=BANS {
            gate.ban(PeerId::random(), Duration::from_secs(3600));
        }
        assert_eq!(gate.bans.len(), BANS);
        assert!(gate.banned(&first).is_none());
    }
}
