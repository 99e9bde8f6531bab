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
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

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

use crate::limits::{BANS, CONNECTIONS_PER_PEER, INBOUND_CONNECTIONS, PENDING_INBOUND_CONNECTIONS};

use super::address::host;
use super::codec::Protocol;

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Banned,
    HostFull { host: IpAddr, limit: u32 },
    PeerFull,
    Full,
    ShakingHands,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned => f.write_str("the peer is banned"),
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
    guests: HashMap<ConnectionId, Guest>,
    hosts: HashMap<IpAddr, u32>,
    shaking_hands: u32,
    established: u32,
    peers: HashMap<PeerId, u32>,
    bans: HashMap<PeerId, Instant>,
}

impl Gate {
    pub(super) fn new(per_host: u32) -> Self {
        Self {
            per_host,
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

    /// How long the ban of `peer` still holds.
    pub(super) fn banned(&self, peer: &PeerId) -> Option<Duration> {
        self.bans.get(peer)?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    fn let_in(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        // Our transports always name an IP address; what does not is refused with the hosts that are full.
        let host = host(remote).unwrap_or(IpAddr::from([0; 4]));
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

    fn check_peer(&self, peer: &PeerId) -> Result<Stay, ConnectionDenied> {
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
        _remote: &Multiaddr,
    ) -> Result<Stay, ConnectionDenied> {
        self.check_peer(&peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Stay, ConnectionDenied> {
        self.check_peer(&peer)
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
        let mut gate = Gate::new(2);
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
        let mut gate = Gate::new(u32::MAX);
        let mut n = 0;
        while gate.let_in(id(n), &from(1)).is_ok() {
            n += 1;
        }
        assert_eq!(n, PENDING_INBOUND_CONNECTIONS as usize);
        for n in 0..n {
            gate.welcome(id(n), PeerId::random());
        }
        let refused = loop {
            match gate.let_in(id(n), &from(1)) {
                Ok(()) => gate.welcome(id(n), PeerId::random()),
                Err(refused) => break refused,
            }
            n += 1;
        };
        assert_eq!((n, refused), (INBOUND_CONNECTIONS as usize, Refused::Full));
    }

    #[test]
    fn a_peer_has_three_connections_and_a_banned_one_none() {
        let (mut gate, peer) = (Gate::new(10), PeerId::random());
        for n in 0..CONNECTIONS_PER_PEER as usize {
            assert!(gate.check_peer(&peer).is_ok());
            gate.welcome(id(n), peer);
        }
        assert!(gate.check_peer(&peer).is_err());
        leave(&mut gate.peers, &peer);
        assert!(gate.check_peer(&peer).is_ok());
        gate.ban(peer, Duration::from_secs(60));
        gate.ban(peer, Duration::ZERO);
        assert!(gate.check_peer(&peer).is_err());
        let brief = PeerId::random();
        gate.ban(brief, Duration::ZERO);
        assert!(gate.check_peer(&brief).is_ok());
        gate.ban(brief, Duration::MAX);
        assert!(gate.check_peer(&brief).is_err());
    }

    #[test]
    fn bans_are_bounded_and_the_shortest_goes_first() {
        let (mut gate, first) = (Gate::new(1), PeerId::random());
        gate.ban(first, Duration::from_secs(60));
        for _ in 1..=BANS {
            gate.ban(PeerId::random(), Duration::from_secs(3600));
        }
        assert_eq!(gate.bans.len(), BANS);
        assert!(gate.banned(&first).is_none());
    }
}
