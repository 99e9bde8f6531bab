//! The struct that the daemon polls: libp2p's events in, [`NetEvent`]s out.

mod events;
mod rendezvous;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, TcpListener};
use std::pin::Pin;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::multiaddr::Protocol as Part;
use libp2p::request_response::{self as rr, OutboundRequestId, ResponseChannel};
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId, Swarm};
use tokio::time::Sleep;

use crate::access::Access;
use crate::identity::Identity;
use crate::limits::{BOOK_STORE_MS, DIALS, NODE_NAME_BYTES, SWEEP_MS};

use super::address::{self, Transport, endpoint, host, identity_of, is_dialable, peer_id_of, split};
use super::bans::{Ban, Bans};
use super::behaviour::{self, Behaviour};
use super::book::{AddressBook, BookEntry, DialTrouble, Keep};
use super::codec::{Frame, Held, Protocol};
use super::gossip::{Acceptance, Gossip, GossipId};
use super::nudge::nudge;
use super::transport::kind_of;
use super::{
    AddPeerError, InboundId, LinkInfo, NetConfig, NetError, NetEvent, PeerInfo, RefusedHost, RequestError, RequestId,
    RespondError, dial,
};

/// Shortest sleep of the timer, milliseconds: peers that are due but find no room to be dialled must not spin it.
const TICK_MS: u64 = 10;

/// Unix milliseconds that never run backwards: the wall clock at the start, and a steady clock since.
struct Clock {
    started: Instant,
    started_ms: u64,
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), started_ms: millis(since) }
    }

    fn now_ms(&self) -> u64 {
        self.started_ms.saturating_add(millis(self.started.elapsed()))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// One connection.
struct Line {
    id: ConnectionId,
    outbound: bool,
    transport: Transport,
    remote: Multiaddr,
    /// The address of this machine that it leaves from, where the system says.
    local: Option<IpAddr>,
    since_ms: u64,
    rtt: Option<Duration>,
    /// When it is closed, because the peer has not shown that it speaks our protocol.
    stranger_until_ms: Option<u64>,
    /// When it is closed, because there is room for strangers no more and nobody has vouched for the peer.
    trial_until_ms: Option<u64>,
}

/// All connections with one peer; never without any.
struct Link {
    identity: Identity,
    lines: Vec<Line>,
    since_ms: u64,
    /// When anything last came from it.
    heard_ms: u64,
    agent: String,
}

/// The network. Make it inside a tokio runtime and call [`Network::next`] in a loop: nothing moves otherwise.
pub struct Network {
    swarm: Swarm<Behaviour>,
    bans: Bans,
    listeners: Vec<ListenerId>,
    book: AddressBook,
    links: HashMap<PeerId, Link>,
    /// What was asked, whom, and when.
    asked: HashMap<(Protocol, OutboundRequestId), (RequestId, Identity, u64)>,
    asked_last: u64,
    inbound: HashMap<InboundId, (Protocol, ResponseChannel<Frame>)>,
    inbound_ids: HashMap<(Protocol, rr::InboundRequestId), InboundId>,
    inbound_last: u64,
    gossip: Gossip,
    kademlia: rendezvous::Kademlia,
    events: VecDeque<NetEvent>,
    clock: Clock,
    timer: Pin<Box<Sleep>>,
    sweep_ms: u64,
    nudges_ms: Vec<u64>,
    store_ms: Option<u64>,
    stored_ms: u64,
    own_key_ms: Option<u64>,
    stranger_ms: u64,
    /// Addresses that multicast DNS remembers, and when it was last begun anew.
    mdns_records: usize,
    mdns_anew_ms: u64,
}

impl Network {
    /// Starts to listen and to look for peers, once polled.
    ///
    /// # Errors
    /// [`NetError`], where an address cannot be listened on or a configured peer cannot be used.
    pub fn new(config: &NetConfig, book: AddressBook) -> Result<Self, NetError> {
        let clock = Clock::new();
        let mut network = Self {
            swarm: behaviour::swarm(config)?,
            bans: Bans::from_entries(config.bans.iter().cloned()),
            listeners: Vec::new(),
            book,
            links: HashMap::new(),
            asked: HashMap::new(),
            asked_last: 0,
            inbound: HashMap::new(),
            inbound_ids: HashMap::new(),
            inbound_last: 0,
            gossip: Gossip::default(),
            kademlia: rendezvous::Kademlia::default(),
            events: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            sweep_ms: clock.now_ms(),
            nudges_ms: Vec::new(),
            store_ms: None,
            stored_ms: 0,
            own_key_ms: None,
            stranger_ms: millis(config.idle_timeout),
            mdns_records: 0,
            mdns_anew_ms: 0,
            clock,
        };
        for ban in &config.bans {
            let left_ms = network.bans.left_ms(&ban.peer, network.clock.now_ms());
            if let (Some(left_ms), Some(peer)) = (left_ms, peer_id_of(&ban.peer)) {
                network.swarm.behaviour_mut().gate.ban(peer, Duration::from_millis(left_ms));
            }
        }
        let kept = network.book.known().filter(|(_, known)| known.keep != Keep::Loosely);
        let hosts: Vec<_> = kept.flat_map(|(_, known)| known.addresses).filter_map(|(at, _)| host(&at)).collect();
        hosts.into_iter().for_each(|host| network.swarm.behaviour_mut().gate.expect_from(host));
        for address in &config.listen {
            network.listen(address)?;
        }
        let on_loopback = |address| host(address).is_some_and(|ip| ip.is_loopback());
        if config.mdns && !config.listen.is_empty() && config.listen.iter().all(on_loopback) {
            tracing::warn!(
                "listening on loopback only: other machines cannot find this node; listen on /ip4/0.0.0.0/…"
            );
        }
        for address in &config.static_peers {
            network
                .put_peer(address, None, Keep::Session)
                .map_err(|source| NetError::StaticPeer { address: address.clone(), source })?;
        }
        Ok(network)
    }

    /// The next event. May be dropped and called again without losing any.
    pub async fn next(&mut self) -> NetEvent {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                () = self.timer.as_mut() => self.on_timer(),
            }
        }
    }

    /// Stops listening, closes all connections and waits until the peers have been told, or that time is over.
    pub async fn close(mut self, within: Duration) {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
        let peers: Vec<_> = self.links.keys().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while !self.links.is_empty() {
                let event = self.swarm.select_next_some().await;
                self.on_swarm(event);
            }
        };
        let _ = tokio::time::timeout(within, closed).await;
    }

    /// Asks a peer. The answer, or why there is none, comes as [`NetEvent::Response`], always. The caller bounds how
    /// many are under way to one peer.
    pub fn request(&mut self, protocol: Protocol, peer: Identity, bytes: Vec<u8>) -> RequestId {
        self.asked_last += 1;
        let id = RequestId(self.asked_last);
        let most = protocol.request_bytes();
        let linked = peer_id_of(&peer).filter(|peer| self.links.contains_key(peer));
        let refused = match linked {
            _ if bytes.len() > most => RequestError::TooLarge { bytes: bytes.len(), most },
            None => RequestError::NotConnected,
            Some(to) => {
                let sent = self.swarm.behaviour_mut().exchange(protocol).send_request(&to, Frame::of(bytes));
                self.asked.insert((protocol, sent), (id, peer, self.clock.now_ms()));
                return id;
            }
        };
        self.events.push_back(NetEvent::Response { peer, id, result: Err(refused) });
        id
    }

    /// Answers a peer's request.
    ///
    /// # Errors
    /// [`RespondError`]; the request is over then all the same.
    pub fn respond(&mut self, id: InboundId, bytes: Vec<u8>) -> Result<(), RespondError> {
        self.respond_holding(id, bytes, Box::new(()))
    }

    /// The same, and drops `held` once the answer is sent, or can be no more.
    ///
    /// # Errors
    /// [`RespondError`]; the request is over then all the same.
    pub fn respond_holding(&mut self, id: InboundId, bytes: Vec<u8>, held: Held) -> Result<(), RespondError> {
        let (protocol, channel) = self.inbound.remove(&id).ok_or(RespondError::Gone)?;
        let most = protocol.response_bytes();
        if bytes.len() > most {
            return Err(RespondError::TooLarge { bytes: bytes.len(), most });
        }
        let exchange = self.swarm.behaviour_mut().exchange(protocol);
        exchange.send_response(channel, Frame::holding(bytes, held)).map_err(|_| RespondError::Gone)
    }

    /// Spreads a message of our own. As long as nobody listens, it waits: the last [`crate::limits::GOSSIP_QUEUE`] do.
    pub fn publish(&mut self, bytes: Vec<u8>) {
        self.gossip.publish(&mut self.swarm.behaviour_mut().gossip, bytes);
    }

    /// Says what is to become of a message that came as [`NetEvent::Gossip`]. Only what is accepted goes on to others.
    pub fn judge(&mut self, id: GossipId, acceptance: Acceptance) {
        self.gossip.judge(&mut self.swarm.behaviour_mut().gossip, id, acceptance);
    }

    /// Takes note of where a peer says that it can be called, in words that it has signed. What is said of our own loopback counts only where
    /// nothing but that is listened on: on any other machine it means somebody else.
    pub fn heard_of(&mut self, peer: &Identity, addresses: &[String]) {
        let usable = addresses.iter().filter_map(|address| address.parse::<Multiaddr>().ok());
        let usable: Vec<_> = usable.filter(|address| self.may_be_called(address)).collect();
        if !usable.is_empty() && !self.is_connected(peer) && identity_of(self.swarm.local_peer_id()) != Some(*peer) {
            self.book.heard_of(*peer, &usable, self.clock.now_ms());
        }
    }

    /// Where this node can be called, for others to hear: without `/p2p/`, those that reach furthest first.
    #[must_use]
    pub fn addresses_to_tell(&self) -> Vec<String> {
        let listeners = self.swarm.listeners().map(|address| split(address).0);
        address::addresses_to_tell(listeners.collect())
    }

    /// Says of a connected peer whether it is one for whom there is always room, as there is for those whom a person has added: it counts
    /// against its host's connections no more. It is a stranger again when its last connection is gone.
    pub fn vouch(&mut self, peer: &Identity, is_vouched: bool) {
        let is_vouched = is_vouched || self.book.is_kept(peer);
        if let Some(peer) = peer_id_of(peer) {
            self.swarm.behaviour_mut().gate.vouch(peer, is_vouched);
        }
    }

    /// The hosts whose connections were refused or closed for want of room, and why the last was.
    #[must_use]
    pub fn refused_hosts(&self) -> Vec<RefusedHost> {
        self.swarm.behaviour().gate.refused_hosts()
    }

    /// Has a known peer that is not connected called soon, however often it could not be reached. Says whether it is known.
    pub fn call(&mut self, peer: &Identity) -> bool {
        let is_known = self.book.call_soon(peer, self.clock.now_ms());
        if is_known {
            self.call_who_is_due();
            self.rearm();
        }
        is_known
    }

    /// Closes all connections with a peer. One that stands in the book is called again soon: [`Self::ban`] it or
    /// [`Self::remove_peer`] to stay apart.
    pub fn disconnect(&mut self, peer: Identity) {
        if let Some(peer) = peer_id_of(&peer) {
            // Not being connected is what was wanted.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes all connections with a peer and refuses new ones for a while, longer each time; says for how long. None where that has been done
    /// already, and the time goes on.
    pub fn ban(&mut self, peer: Identity, why: &str) -> Option<Duration> {
        let now_ms = self.clock.now_ms();
        let time = Duration::from_millis(self.bans.add(peer, why, now_ms)?);
        if let Some(peer) = peer_id_of(&peer) {
            self.swarm.behaviour_mut().gate.ban(peer, time);
        }
        self.disconnect(peer);
        self.store_ms.get_or_insert(now_ms.max(self.stored_ms + BOOK_STORE_MS));
        self.rearm();
        Some(time)
    }

    /// Lets in whom these lists let in, and no more from one host than that, from now on. Who is connected and let in no more has to go.
    pub fn set_access(&mut self, access: Access, per_host: u32, requests_per_min: u32) {
        let gate = &mut self.swarm.behaviour_mut().gate;
        gate.set_access(access, per_host, requests_per_min);
        let refused = |(peer, link): (&PeerId, &Link)| {
            let is_refused = |line: &Line| gate.why_refused(&link.identity, &line.remote).is_some();
            link.lines.iter().any(is_refused).then_some(*peer)
        };
        let refused: Vec<PeerId> = self.links.iter().filter_map(refused).collect();
        for peer in refused {
            // Who is gone already is as good.
            let _gone = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Lets a peer come back. Says whether it was kept away.
    pub fn unban(&mut self, peer: Identity) -> bool {
        if let Some(peer) = peer_id_of(&peer) {
            self.swarm.behaviour_mut().gate.unban(&peer);
        }
        self.bans.lift(&peer, self.clock.now_ms())
    }

    /// Who was sent away, also those whose time is over and who are still remembered. To be stored with the address book.
    #[must_use]
    pub fn bans(&self) -> Vec<Ban> {
        self.bans.entries()
    }

    /// Adds a peer by an address that ends in `/p2p/`, and calls it. A pinned one is kept for good.
    ///
    /// # Errors
    /// [`AddPeerError`] says what is wrong with the address or the alias.
    pub fn add_peer(
        &mut self,
        address: &Multiaddr,
        alias: Option<String>,
        pinned: bool,
    ) -> Result<Identity, AddPeerError> {
        if let Some(peer) = split(address).1.as_ref().and_then(identity_of)
            && let Some(why) = self.swarm.behaviour().gate.why_refused(&peer, address)
        {
            return Err(AddPeerError::Denied { peer, why });
        }
        let peer = self.put_peer(address, alias, if pinned { Keep::Always } else { Keep::Loosely })?;
        self.store_ms = Some(self.clock.now_ms());
        self.call_who_is_due();
        self.rearm();
        Ok(peer)
    }

    /// Forgets a peer and closes its connections. Says whether it was known. Nothing keeps it from being found or from
    /// calling again.
    pub fn remove_peer(&mut self, peer: Identity) -> bool {
        let known = self.book.remove(&peer);
        if known {
            self.store_ms = Some(self.clock.now_ms());
            self.rearm();
        }
        self.disconnect(peer);
        known
    }

    /// Calls a known peer by another name, or by none. Says whether it is known.
    pub fn set_alias(&mut self, peer: &Identity, alias: Option<String>) -> bool {
        let is_known = self.book.set_alias(peer, alias);
        if is_known {
            self.store_ms = Some(self.clock.now_ms());
            self.rearm();
        }
        is_known
    }

    /// Every peer that is known or connected.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        let gate = &self.swarm.behaviour().gate;
        let refused: HashMap<IpAddr, String> =
            gate.refused().map(|(host, refusals)| (host, refusals.why.to_string())).collect();
        let mut strangers: HashSet<_> = self.links.keys().copied().collect();
        let mut peers: Vec<_> = self
            .book
            .known()
            .filter_map(|(peer, known)| {
                let id = peer_id_of(&peer)?;
                strangers.remove(&id);
                let link = self.links.get(&id).and_then(Link::info);
                let mut hosts = known.addresses.iter().filter_map(|(address, _)| host(address));
                let refused = hosts.find_map(|host| refused.get(&host)).filter(|_| link.is_none()).cloned();
                let denied = gate.refuses(&peer);
                Some(PeerInfo { peer, known: Some(known), link, banned: gate.banned(&id), denied, refused })
            })
            .collect();
        peers.extend(strangers.iter().filter_map(|id| {
            let link = self.links.get(id)?;
            let banned = gate.banned(id);
            Some(PeerInfo { peer: link.identity, known: None, link: link.info(), banned, denied: false, refused: None })
        }));
        peers
    }

    /// Whether there is a connection with a peer.
    #[must_use]
    pub fn is_connected(&self, peer: &Identity) -> bool {
        peer_id_of(peer).is_some_and(|peer| self.links.contains_key(&peer))
    }

    /// The host that a connected peer is met at: an IPv4 address, or an IPv6 /64.
    #[must_use]
    pub fn host_of(&self, peer: &Identity) -> Option<IpAddr> {
        host(&self.links.get(&peer_id_of(peer)?)?.lines.first()?.remote)
    }

    /// Where this node can be reached; each address ends in `/p2p/`.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.swarm.listeners().map(|address| self.full(address)).collect()
    }

    /// The address book, to be stored.
    #[must_use]
    pub fn book_entries(&self) -> Vec<BookEntry> {
        self.book.entries()
    }

    fn full(&self, address: &Multiaddr) -> Multiaddr {
        let (base, _) = split(address);
        base.with(Part::P2p(*self.swarm.local_peer_id()))
    }

    fn listen(&mut self, address: &Multiaddr) -> Result<(), NetError> {
        let (socket, transport) = endpoint(address).ok_or_else(|| NetError::ListenForm(address.clone()))?;
        let failed = |source: io::Error| match kind_of(&source) {
            Some(io::ErrorKind::AddrInUse) => NetError::PortInUse(address.clone()),
            _ => NetError::Listen { address: address.clone(), source },
        };
        // libp2p shares its TCP ports with whoever asks alike, so that a second daemon would get half of the calls.
        // A listener that does not share finds out.
        if transport == Transport::Tcp && socket.port() != 0 {
            TcpListener::bind(socket).map_err(failed)?;
        }
        match self.swarm.listen_on(address.clone()) {
            Ok(listener) => {
                self.listeners.push(listener);
                Ok(())
            }
            Err(TransportError::MultiaddrNotSupported(address)) => Err(NetError::ListenForm(address)),
            Err(TransportError::Other(source)) => Err(failed(source)),
        }
    }

    fn put_peer(&mut self, address: &Multiaddr, alias: Option<String>, keep: Keep) -> Result<Identity, AddPeerError> {
        let (base, peer) = split(address);
        let id = peer.ok_or(AddPeerError::NoPeerId)?;
        let peer = identity_of(&id).ok_or(AddPeerError::KeyType)?;
        if id == *self.swarm.local_peer_id() {
            return Err(AddPeerError::Own);
        }
        if !is_dialable(&base) {
            return Err(AddPeerError::Form);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if alias.as_ref().is_some_and(|a| a.is_empty() || a.len() > NODE_NAME_BYTES || !a.chars().all(allowed)) {
            return Err(AddPeerError::Alias);
        }
        let now_ms = self.clock.now_ms();
        let at = host(&base);
        self.book.add(peer, base, alias, keep, now_ms)?;
        if let Some(host) = at.filter(|_| keep != Keep::Loosely) {
            self.swarm.behaviour_mut().gate.expect_from(host);
        }
        if self.links.contains_key(&id) {
            self.book.connected(&peer, None, now_ms);
        }
        Ok(peer)
    }

    // ---- time ---------------------------------------------------------------------------------------------------

    fn on_timer(&mut self) {
        let now_ms = self.clock.now_ms();
        if self.sweep_ms <= now_ms {
            self.book.sweep(now_ms);
            self.sweep_ms = now_ms + self.book.jitter(SWEEP_MS * 3 / 4..SWEEP_MS * 5 / 4);
        }
        if self.nudges_ms.iter().any(|at| *at <= now_ms) {
            self.nudges_ms.retain(|at| *at > now_ms);
            self.nudge_all();
        }
        self.close_strangers(now_ms);
        self.call_who_is_due();
        if self.store_ms.is_some_and(|at| at <= now_ms) {
            self.store_ms = None;
            self.stored_ms = now_ms;
            self.book.take_changed();
            self.events.push_back(NetEvent::BookChanged);
        }
        self.rearm();
    }

    /// Sets the timer to what comes next. To be called after the book has changed.
    fn rearm(&mut self) {
        let now_ms = self.clock.now_ms();
        if self.book.take_changed() && self.store_ms.is_none() {
            self.store_ms = Some(now_ms.max(self.stored_ms + BOOK_STORE_MS));
        }
        let lines = self.links.values().flat_map(|link| &link.lines);
        let strangers = lines.flat_map(|line| [line.stranger_until_ms, line.trial_until_ms]).flatten();
        let others =
            self.nudges_ms.iter().copied().chain(self.store_ms).chain(self.book.next_due_ms()).chain(strangers);
        let next_ms = others.chain([self.sweep_ms]).min().unwrap_or(self.sweep_ms);
        let pause_ms = next_ms.saturating_sub(now_ms).max(TICK_MS);
        self.timer.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(pause_ms));
    }

    /// Closes the connections of peers that have had their time to show that they are nodes. libp2p would take some of them for busy:
    /// gossipsub opens a stream to everybody, and learns from no answer that nobody reads it.
    fn close_strangers(&mut self, now_ms: u64) {
        for line in self.links.values_mut().flat_map(|link| &mut link.lines) {
            let is_tried = line.trial_until_ms.take_if(|until_ms| *until_ms <= now_ms).is_some();
            if is_tried && self.swarm.behaviour().gate.is_on_trial(&line.id) {
                self.swarm.behaviour_mut().gate.failed_trial(&line.id);
                self.swarm.close_connection(line.id);
            } else if line.stranger_until_ms.take_if(|until_ms| *until_ms <= now_ms).is_some() {
                self.swarm.close_connection(line.id);
            }
        }
    }

    fn call_who_is_due(&mut self) {
        let now_ms = self.clock.now_ms();
        for call in self.book.due(now_ms, DIALS) {
            let Some(peer) = peer_id_of(&call.peer) else { continue };
            let gate = &self.swarm.behaviour().gate;
            if gate.banned(&peer).is_some() {
                self.book.dial_failed(&call.peer, DialTrouble::Banned, now_ms);
            } else if gate.refuses(&call.peer) {
                self.book.dial_failed(&call.peer, DialTrouble::Denied, now_ms);
            } else if let Err(error) = self.swarm.dial(dial::call(peer, call.addresses)) {
                self.on_dial_error(peer, &error);
            }
        }
    }

    fn nudge_all(&self) {
        if !self.swarm.behaviour().mdns.is_enabled() {
            return;
        }
        let ips: HashSet<_> = self.swarm.listeners().filter_map(endpoint).map(|(s, _)| s.ip()).collect();
        for ip in ips {
            if let Err(error) = nudge(ip) {
                tracing::debug!(%ip, %error, "the question to the local network could not be sent");
            }
        }
    }
}

impl Link {
    const fn new(identity: Identity, since_ms: u64) -> Self {
        Self { identity, lines: Vec::new(), since_ms, heard_ms: since_ms, agent: String::new() }
    }

    fn info(&self) -> Option<LinkInfo> {
        let first = self.lines.first()?;
        Some(LinkInfo {
            outbound: first.outbound,
            transport: first.transport,
            remote: first.remote.clone(),
            connections: self.lines.len(),
            rtt: self.lines.iter().filter_map(|line| line.rtt).min(),
            since_ms: self.since_ms,
            agent: self.agent.clone(),
        })
    }
}
