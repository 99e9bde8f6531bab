//! Who may connect, and who may stay.
//!
//! A libp2p behaviour that refuses inbound connections over the bounds (established, per host, per peer) and every connection with a
//! banned peer, and keeps the connections of peers that speak our protocol open while idle.
//! **Every connection it let in is counted exactly until it is gone**: a denial by another behaviour, a failed handshake
//! and a close all end the count.
//!
//! The bounds are of strangers. A peer that is vouched for, as a member of a group that is here, counts against none of its
//! host's, so that any number of members may live behind one address. **Strangers cannot shut members out**: before the handshake
//! nobody knows who comes, so whoever comes is let in for a moment, to show who it is, and what others hold gives way: a handshake
//! ([`handshakes`]), or the connection of a stranger, first of the host that has most.

mod handshakes;

use std::collections::{HashMap, HashSet, VecDeque};
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
    CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId,
    FromSwarm, ListenFailure, NetworkBehaviour, SubstreamProtocol, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::access::Access;
use crate::identity::Identity;
use crate::limits::{
    BANS, CONNECTIONS_PER_PEER, CONNECTS_PER_HOST_PER_MIN, INBOUND_CONNECTIONS, KNOWN_HOSTS,
    PENDING_INBOUND_CONNECTIONS, RATED_PAYERS, REFUSED_HOSTS, STRANGER_CONNECTIONS, TRIALS, TRIALS_PER_HOST, TURN_MS,
};

use self::handshakes::{Handshakes, Rank};
use super::address::{Transport, endpoint, host, identity_of};
use super::codec::Protocol;
use super::pace::Pace;
use super::transport::Door;
use super::{Bound, RefusedHost};

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Banned,
    Denied,
    TooOften,
    HostFull { limit: u32 },
    PeerFull,
    Full,
    ShakingHands,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Banned => f.write_str("the peer is banned"),
            Self::Denied => f.write_str("the settings `allow` and `deny` keep it away"),
            Self::TooOften => write!(f, "its address connects more than {CONNECTS_PER_HOST_PER_MIN} times a minute"),
            Self::HostFull { limit } => write!(
                f,
                "its address has {limit} connections of strangers already, the most that `p2p_max_conn_per_ip` lets it"
            ),
            Self::PeerFull => write!(f, "the peer has {CONNECTIONS_PER_PEER} connections already"),
            Self::Full => write!(
                f,
                "there are {STRANGER_CONNECTIONS} inbound connections of strangers, or {INBOUND_CONNECTIONS} in all"
            ),
            Self::ShakingHands => {
                write!(
                    f,
                    "more than {PENDING_INBOUND_CONNECTIONS} connections were shaking hands, and the slowest had to give way"
                )
            }
        }
    }
}

impl std::error::Error for Refused {}

/// One inbound connection that is established.
#[derive(Debug, Clone, Copy)]
struct Guest {
    peer: PeerId,
    host: IpAddr,
    standing: Standing,
    since: Instant,
    /// Whether there was no room for it when it came.
    on_trial: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Stranger,
    /// It counts against no host.
    Vouched,
    /// It is being closed to make room, and counts no more.
    Leaving,
}

/// One peer that is connected.
#[derive(Debug, Clone, Copy)]
struct Present {
    connections: u32,
    /// Where it was last met.
    host: IpAddr,
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
    door: Arc<Door>,
    handshakes: Handshakes,
    guests: HashMap<ConnectionId, Guest>,
    /// Connections of strangers, of each host that has any.
    hosts: HashMap<IpAddr, u32>,
    /// The same of all hosts.
    strangers: u32,
    peers: HashMap<PeerId, Present>,
    vouched: HashSet<PeerId>,
    /// Where somebody was last met who is vouched for, or may be met whom a person has added.
    known: HashMap<IpAddr, Instant>,
    /// Who has to make room, to be told to libp2p.
    leaving: VecDeque<(PeerId, ConnectionId)>,
    /// Told who is vouched for.
    pace: Arc<Pace>,
    bans: HashMap<PeerId, Instant>,
    refused: HashMap<IpAddr, Refusals>,
}

impl Gate {
    pub(super) fn new(per_host: u32, access: Access, pace: Arc<Pace>, door: Arc<Door>) -> Self {
        let a_minute = NonZeroU32::new(CONNECTS_PER_HOST_PER_MIN).unwrap_or(NonZeroU32::MIN);
        Self {
            per_host,
            access,
            arrivals: RateLimiter::keyed(Quota::per_minute(a_minute)),
            door,
            handshakes: Handshakes::default(),
            guests: HashMap::new(),
            hosts: HashMap::new(),
            strangers: 0,
            peers: HashMap::new(),
            vouched: HashSet::new(),
            known: HashMap::new(),
            leaving: VecDeque::new(),
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

    /// Lets in whom these lists let in, and no more from one host than that at the pace of so many requests, from now on.
    pub(super) fn set_access(&mut self, access: Access, per_host: u32, requests_per_min: u32) {
        (self.access, self.per_host) = (access, per_host);
        self.pace.set(requests_per_min);
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
        let at = self.peers.get(&peer).map(|present| present.host);
        let has_changed =
            if is_vouched { at.is_some() && self.vouched.insert(peer) } else { self.vouched.remove(&peer) };
        if !has_changed {
            return;
        }
        self.pace.vouch(peer, is_vouched);
        if let Some(host) = at.filter(|_| is_vouched) {
            self.expect_from(host);
        }
        let (old, new) =
            if is_vouched { (Standing::Stranger, Standing::Vouched) } else { (Standing::Vouched, Standing::Stranger) };
        for guest in self.guests.values_mut().filter(|guest| guest.peer == peer && guest.standing == old) {
            guest.standing = new;
            if is_vouched {
                leave(&mut self.hosts, &guest.host);
                self.strangers -= 1;
            } else {
                *self.hosts.entry(guest.host).or_default() += 1;
                self.strangers += 1;
            }
        }
    }

    /// Takes note that somebody whom there is always room for may come from a host: its handshakes give way last.
    pub(super) fn expect_from(&mut self, host: IpAddr) {
        if self.known.len() >= KNOWN_HOSTS && !self.known.contains_key(&host) {
            let first = self.known.iter().min_by_key(|(_, last)| **last).map(|(host, _)| *host);
            first.and_then(|host| self.known.remove(&host));
        }
        self.known.insert(host, Instant::now());
    }

    /// Whether a connection is one that there is room for only until it has shown who it is.
    pub(super) fn is_on_trial(&self, connection: &ConnectionId) -> bool {
        let is_stranger = |guest: &&Guest| guest.standing == Standing::Stranger;
        self.guests.get(connection).filter(is_stranger).is_some_and(|guest| self.is_over(guest.host))
    }

    /// Whether strangers have more connections than there is room for, of this host or of all.
    fn is_over(&self, host: IpAddr) -> bool {
        self.strangers_of(host) > self.per_host || self.strangers > STRANGER_CONNECTIONS
    }

    fn rank(&self, host: &IpAddr) -> Rank {
        let refusals = self.refused.get(host).map_or(0, |refusals| refusals.times);
        Rank { is_known: self.known.contains_key(host), refusals }
    }

    fn strangers_of(&self, host: IpAddr) -> u32 {
        self.hosts.get(&host).copied().unwrap_or(0)
    }

    /// What was refused to hosts, but for what the lists deny.
    pub(super) fn refused(&self) -> impl Iterator<Item = (IpAddr, Refusals)> {
        self.refused.iter().map(|(host, refusals)| (*host, *refusals))
    }

    /// The same, for people.
    pub(super) fn refused_hosts(&self) -> Vec<RefusedHost> {
        let told = |(host, refusals): (IpAddr, Refusals)| RefusedHost {
            host,
            why: refusals.why.to_string(),
            bound: match refusals.why {
                Refused::HostFull { .. } => Bound::OneHost,
                Refused::TooOften => Bound::Rate,
                _ => Bound::AllHosts,
            },
            times: refusals.times,
            ago: refusals.last.elapsed(),
        };
        self.refused().map(told).collect()
    }

    fn let_in(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        let end = self.door.take();
        let Some((socket, transport)) = endpoint(remote) else { return Err(Refused::Denied) };
        if self.access.refuses_host(socket.ip()) {
            return Err(Refused::Denied);
        }
        let host = host_of(remote);
        if let Err(why) = self.has_room(host, transport) {
            self.remember(host, why);
            return Err(why);
        }
        self.handshakes.begin(connection, host, transport, end);
        Ok(())
    }

    fn has_room(&mut self, host: IpAddr, transport: Transport) -> Result<(), Refused> {
        // Any stranger gives way to who is vouched for, once it has shown that it is.
        if self.guests.len() >= INBOUND_CONNECTIONS as usize && self.strangers == 0 {
            return Err(Refused::Full);
        }
        let here = self.strangers_of(host).saturating_add(self.handshakes.of(host, transport));
        let has_had_its_turn = |guest: &Guest| {
            guest.host == host
                && guest.standing == Standing::Stranger
                && guest.on_trial
                && guest.since.elapsed() >= Duration::from_millis(TURN_MS)
        };
        if here >= self.per_host.saturating_add(TRIALS_PER_HOST) && !self.guests.values().any(has_had_its_turn) {
            return Err(Refused::HostFull { limit: self.per_host });
        }
        let in_the_way = self.handshakes.in_the_way(host, transport, self.per_host, |host| self.rank(host))?;
        // What the address of a QUIC connection says is known to be true only after the handshake: see `check_arrival`.
        if transport == Transport::Tcp {
            self.check_rate(host)?;
        }
        if let Some((id, why)) = in_the_way
            && let Some(other) = self.handshakes.end(&id)
        {
            self.remember(other, why);
        }
        Ok(())
    }

    /// Counts a connection that a host has opened.
    fn check_rate(&mut self, host: IpAddr) -> Result<(), Refused> {
        if self.arrivals.len() >= RATED_PAYERS {
            self.arrivals.retain_recent();
        }
        // With so many at once the other bounds hold.
        if self.arrivals.len() < RATED_PAYERS && self.arrivals.check_key(&host).is_err() {
            return Err(Refused::TooOften);
        }
        Ok(())
    }

    /// The same of one that has shaken hands, where it was not counted before.
    fn check_arrival(&mut self, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        let host = host_of(remote);
        if endpoint(remote).is_none_or(|(_, transport)| transport != Transport::Quic) {
            return Ok(());
        }
        self.check_rate(host).map_err(|why| {
            self.remember(host, why);
            ConnectionDenied::new(why)
        })
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
        if let Some(host) = self.guests.get(connection).map(|guest| guest.host) {
            self.remember(host, self.why_over(host));
        }
    }

    fn why_over(&self, host: IpAddr) -> Refused {
        let is_host = self.strangers_of(host) > self.per_host;
        if is_host { Refused::HostFull { limit: self.per_host } } else { Refused::Full }
    }

    fn welcome(&mut self, connection: ConnectionId, peer: PeerId, remote: &Multiaddr, is_guest: bool) {
        let host = host_of(remote);
        let present = self.peers.entry(peer).or_insert(Present { connections: 0, host });
        (present.connections, present.host) = (present.connections + 1, host);
        if !is_guest {
            return;
        }
        self.handshakes.over(&connection);
        let mut guest = Guest { peer, host, standing: Standing::Vouched, since: Instant::now(), on_trial: false };
        if !self.vouched.contains(&peer) {
            *self.hosts.entry(host).or_default() += 1;
            self.strangers += 1;
            guest.standing = Standing::Stranger;
            guest.on_trial = self.is_over(host);
        }
        self.guests.insert(connection, guest);
        if self.strangers_of(host) > self.per_host.saturating_add(TRIALS_PER_HOST) {
            self.replace(connection, Some(host));
        }
        let staying = self.guests.values().filter(|guest| guest.standing != Standing::Leaving).count();
        if self.strangers > STRANGER_CONNECTIONS + TRIALS || staying > INBOUND_CONNECTIONS as usize {
            self.replace(connection, None);
        }
    }

    /// Has a stranger, of one host or of all, make room for who has just come: first where no member is known to be, of these of the host that
    /// has most; there, whoever there was no room for, and has had its turn longest.
    fn replace(&mut self, newest: ConnectionId, of_host: Option<IpAddr>) {
        let may_go = |(id, guest): &(&ConnectionId, &Guest)| {
            **id != newest && guest.standing == Standing::Stranger && of_host.is_none_or(|host| guest.host == host)
        };
        let worth_least = self.guests.iter().filter(may_go).max_by_key(|(_, guest)| {
            let rank = self.rank(&guest.host);
            (!rank.is_known, self.strangers_of(guest.host), guest.on_trial, rank.refusals, guest.since.elapsed())
        });
        let Some((id, guest)) = worth_least.map(|(id, guest)| (*id, *guest)) else { return };
        self.remember(guest.host, self.why_over(guest.host));
        leave(&mut self.hosts, &guest.host);
        self.strangers -= 1;
        self.guests.insert(id, Guest { standing: Standing::Leaving, ..guest });
        self.leaving.push_back((guest.peer, id));
    }

    fn gone(&mut self, connection: ConnectionId) {
        self.handshakes.over(&connection);
        let Some(guest) = self.guests.remove(&connection) else { return };
        if guest.standing == Standing::Stranger {
            leave(&mut self.hosts, &guest.host);
            self.strangers -= 1;
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
        if self.peers.get(peer).is_some_and(|present| present.connections >= CONNECTIONS_PER_PEER) {
            return Err(ConnectionDenied::new(Refused::PeerFull));
        }
        Ok(Stay { speaks_ours: false })
    }
}

/// The host of an address. Our transports always name one.
pub(super) fn host_of(remote: &Multiaddr) -> IpAddr {
    host(remote).unwrap_or(IpAddr::from([0; 4]))
}

/// Takes one off a host's count and forgets it at none.
fn leave(counts: &mut HashMap<IpAddr, u32>, host: &IpAddr) {
    if let Some(count) = counts.get_mut(host) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(host);
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
        self.check_arrival(remote)?;
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
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, connection_id, endpoint, .. }) => {
                self.welcome(connection_id, peer_id, endpoint.get_remote_address(), endpoint.is_listener());
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, connection_id, remaining_established, .. }) => {
                if let Some(present) = self.peers.get_mut(&peer_id) {
                    present.connections = present.connections.saturating_sub(1);
                }
                if remaining_established == 0 {
                    self.peers.remove(&peer_id);
                    if self.vouched.remove(&peer_id) {
                        self.pace.vouch(peer_id, false);
                    }
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
        // It is asked again whenever anything has come in: nobody has to be woken.
        match self.leaving.pop_front() {
            Some((peer_id, connection)) => {
                Poll::Ready(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::One(connection) })
            }
            None => Poll::Pending,
        }
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
