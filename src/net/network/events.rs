//! What libp2p reports, and what becomes of it.

use libp2p::core::ConnectedPoint;
use libp2p::request_response::{self as rr, Message, OutboundRequestId};
use libp2p::swarm::{ConnectionId, DialError, FromSwarm, ListenError, NetworkBehaviour, NewListenAddr, SwarmEvent};
use libp2p::{Multiaddr, PeerId, gossipsub, identify, mdns, ping};

use super::{Line, Link, Network, TICK_MS};
use crate::limits::{MDNS_ANEW_MS, MDNS_RECORDS, NODE_NAME_BYTES, TRIAL_MS};
use crate::net::address::{endpoint, host, identity_of, is_credible, source_of, split};
use crate::net::behaviour::BehaviourEvent;
use crate::net::codec::{Frame, Protocol};
use crate::net::nudge::NUDGES_MS;
use crate::net::{Acceptance, GossipMeasures, InboundId, NetEvent, RequestError, behaviour, dial};

/// How long before a peer's call ours may have come through for the two to have crossed, milliseconds: longer than the way takes. Closing one of
/// them here is no harm, and never do both sides close theirs: only for one of them is the other's the later.
const CROSSED_MS: u64 = 1_000;
/// Shortest pause between two reports of our own key elsewhere, milliseconds.
const OWN_KEY_MS: u64 = 60_000;

impl Network {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Sync(event)) => return self.on_exchange(Protocol::Sync, event),
            SwarmEvent::Behaviour(BehaviourEvent::Market(event)) => return self.on_exchange(Protocol::Market, event),
            SwarmEvent::Behaviour(BehaviourEvent::Node(event)) => return self.on_exchange(Protocol::Node, event),
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => return self.on_gossip(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => return self.on_ping(&event),
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => self.on_mdns(event),
            SwarmEvent::Behaviour(BehaviourEvent::Kademlia(event)) => self.on_kademlia(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_open(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.on_close(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => self.on_dial_error(peer, &error),
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "inbound connection failed");
                if matches!(error, ListenError::LocalPeerId { .. }) && !self.is_this_machine(&send_back_addr) {
                    self.on_own_key(send_back_addr);
                }
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                let now_ms = self.clock.now_ms();
                self.book.rally(now_ms);
                self.nudges_ms.extend(NUDGES_MS.iter().map(|pause| now_ms + pause));
                self.nudges_ms.sort_unstable();
                self.nudges_ms.dedup_by(|later, earlier| later.abs_diff(*earlier) < TICK_MS);
                self.tell_addresses();
                self.events.push_back(NetEvent::Listening(self.full(&address)));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.close_from(&address);
                self.tell_addresses();
                self.events.push_back(NetEvent::NotListening(self.full(&address)));
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                let addresses = addresses.iter().map(|address| self.full(address)).collect();
                self.events.push_back(NetEvent::ListenerFailed { addresses, error: reason.err() });
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "a listener could not accept"),
            _ => return,
        }
        self.rearm();
    }

    fn on_open(&mut self, peer: PeerId, connection: ConnectionId, point: &ConnectedPoint) {
        let remote = point.get_remote_address();
        let (Some(identity), Some((socket, transport))) = (identity_of(&peer), endpoint(remote)) else {
            self.swarm.close_connection(connection);
            return;
        };
        let (remote, _) = split(remote);
        let (outbound, now_ms) = (point.is_dialer(), self.clock.now_ms());
        let stranger_until_ms = Some(now_ms.saturating_add(self.stranger_ms));
        let gate = &mut self.swarm.behaviour_mut().gate;
        if self.book.is_kept(&identity) {
            gate.vouch(peer, true);
        }
        let trial_until_ms = gate.is_on_trial(&connection).then_some(now_ms + TRIAL_MS);
        let line = Line {
            id: connection,
            outbound,
            transport,
            remote: remote.clone(),
            local: source_of(socket),
            since_ms: now_ms,
            rtt: None,
            stranger_until_ms,
            trial_until_ms,
        };
        let link = self.links.entry(peer).or_insert_with(|| Link::new(identity, now_ms));
        // Who calls has no connection as far as it knows: what stands here of an earlier one is dead, and half of what is asked
        // would go there.
        let has_crossed = |old: &Line| old.outbound && now_ms.saturating_sub(old.since_ms) < CROSSED_MS;
        let is_dead = |old: &&Line| !outbound && !has_crossed(old);
        for old in link.lines.iter().filter(is_dead) {
            tracing::debug!(%peer, "it has called anew: closing the connection that it had");
            self.swarm.close_connection(old.id);
        }
        link.lines.push(line);
        if link.lines.len() == 1 {
            self.book.connected(&identity, outbound.then_some(&remote), now_ms);
            self.book.rally(now_ms);
            self.events.push_back(NetEvent::Connected { peer: identity, outbound, transport });
        }
    }

    fn on_close(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        link.lines.retain(|line| line.id != connection);
        if link.lines.is_empty() {
            let identity = link.identity;
            self.links.remove(&peer);
            self.on_server_away(&peer);
            self.book.disconnected(&identity, self.clock.now_ms());
            self.events.push_back(NetEvent::Disconnected { peer: identity });
        }
    }

    pub(super) fn on_dial_error(&mut self, peer: PeerId, error: &DialError) {
        tracing::debug!(%peer, %error, "could not connect");
        let (Some(identity), now_ms) = (identity_of(&peer), self.clock.now_ms()) else { return };
        match error {
            DialError::DialPeerConditionFalse(_) | DialError::Aborted | DialError::Denied { .. } => {
                if self.links.contains_key(&peer) {
                    self.book.connected(&identity, None, now_ms);
                } else {
                    self.book.postpone(&identity, now_ms);
                }
                return;
            }
            DialError::WrongPeerId { obtained, address } => {
                let (address, _) = split(address);
                self.book.not_there(&identity, &address);
                if obtained == self.swarm.local_peer_id() && !self.is_listening_at(&address) {
                    self.on_own_key(address);
                }
            }
            DialError::LocalPeerId { .. } | DialError::NoAddresses | DialError::Transport(_) => {}
        }
        self.book.dial_failed(&identity, dial::trouble(error), now_ms);
    }

    /// Closes what leaves from an address that this machine has no longer: nothing comes back on it.
    fn close_from(&mut self, address: &Multiaddr) {
        let gone = endpoint(address).map(|(socket, _)| socket.ip());
        let lines = self.links.values().flat_map(|link| &link.lines);
        for line in lines.filter(|line| gone.is_some() && line.local == gone) {
            self.swarm.close_connection(line.id);
        }
    }

    fn on_own_key(&mut self, address: Multiaddr) {
        let now_ms = self.clock.now_ms();
        if self.own_key_ms.is_none_or(|last| now_ms.saturating_sub(last) >= OWN_KEY_MS) {
            self.own_key_ms = Some(now_ms);
            tracing::warn!(%address, "another machine uses this node's key: stop one of the two");
            self.events.push_back(NetEvent::OwnKeySeen { address });
        }
    }

    /// Whether an address is of this machine: a call to ourselves, not somebody else with our key.
    fn is_this_machine(&self, address: &Multiaddr) -> bool {
        let here = host(address);
        here.is_some_and(|ip| ip.is_loopback()) || self.swarm.listeners().any(|listener| host(listener) == here)
    }

    fn is_listening_at(&self, address: &Multiaddr) -> bool {
        self.is_this_machine(address)
            && self.swarm.listeners().any(|listener| {
                let port = |a| endpoint(a).map(|(socket, transport)| (socket.port(), transport));
                port(listener) == port(address)
            })
    }

    fn on_identify(&mut self, event: identify::Event) {
        let (peer, connection, info) = match event {
            identify::Event::Received { peer_id, connection_id, info }
            | identify::Event::Pushed { peer_id, connection_id, info } => (peer_id, connection_id, info),
            identify::Event::Sent { .. } | identify::Event::Error { .. } => return,
        };
        let Some(link) = self.links.get_mut(&peer) else { return };
        // It is shown on terminals.
        link.agent = info.agent_version.chars().filter(|c| !c.is_control()).take(NODE_NAME_BYTES).collect();
        let speaks_ours = info.protocols.contains(&Protocol::Sync.name());
        if let Some(line) = link.lines.iter_mut().find(|line| line.id == connection && speaks_ours) {
            line.stranger_until_ms = None;
        }
        let Some(met) = link.lines.iter().find(|line| line.id == connection).map(|line| &line.remote) else { return };
        let claimed: Vec<_> = info
            .listen_addrs
            .iter()
            .map(split)
            .filter(|(address, of)| of.is_none_or(|of| of == peer) && is_credible(address, met))
            .map(|(address, _)| address)
            .collect();
        let identity = link.identity;
        self.book.identified(identity, &claimed, self.clock.now_ms());
        self.on_protocols(peer, &info.protocols, &claimed);
    }

    fn on_mdns(&mut self, event: mdns::Event) {
        let now_ms = self.clock.now_ms();
        match event {
            mdns::Event::Discovered(found) => {
                self.mdns_records += found.len();
                for (peer, address) in found {
                    let Some(identity) = identity_of(&peer) else { continue };
                    let linked = self.links.contains_key(&peer);
                    if self.book.discovered(identity, split(&address).0, now_ms) && linked {
                        self.book.connected(&identity, None, now_ms);
                    }
                }
            }
            mdns::Event::Expired(lost) => {
                self.mdns_records = self.mdns_records.saturating_sub(lost.len());
                for (peer, address) in lost {
                    if let Some(identity) = identity_of(&peer) {
                        self.book.expired(&identity, &split(&address).0, now_ms);
                    }
                }
            }
        }
        self.bound_mdns(now_ms);
    }

    /// Begins multicast DNS anew where it remembers too much. libp2p keeps each record for as long as its sender says, looks through all of
    /// them for each that comes, and has no bound: a machine of the local network that makes up peers would cost ever more.
    fn bound_mdns(&mut self, now_ms: u64) {
        let is_due = now_ms.saturating_sub(self.mdns_anew_ms) >= MDNS_ANEW_MS;
        if self.mdns_records <= MDNS_RECORDS || !is_due {
            return;
        }
        tracing::warn!(
            records = self.mdns_records,
            "somebody on the local network makes up peers: forgetting what multicast DNS has told; `--no-mdns` leaves it out"
        );
        (self.mdns_records, self.mdns_anew_ms) = (0, now_ms);
        let me = *self.swarm.local_peer_id();
        let mut anew = behaviour::discovery(true, me);
        if let (Some(mdns), Some(listener_id)) = (&mut anew, self.listeners.first().copied()) {
            for addr in self.swarm.listeners() {
                mdns.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
            }
        }
        self.swarm.behaviour_mut().mdns = anew.into();
    }

    fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => {
                self.heard(&event.peer);
                let link = self.links.get_mut(&event.peer);
                if let Some(line) = link.and_then(|link| link.lines.iter_mut().find(|l| l.id == event.connection)) {
                    line.rtt = Some(*rtt);
                }
            }
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "ping failed: closing the connection");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    /// How full the queues of gossip are. What was full is counted from here on anew.
    pub fn measure_gossip(&mut self) -> GossipMeasures {
        self.gossip.measure()
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let identity = self.links.get(&propagation_source).map(|link| link.identity);
                let id = self.gossip.came(&mut self.swarm.behaviour_mut().gossip, message_id, propagation_source);
                match identity {
                    Some(peer) => self.events.push_back(NetEvent::Gossip { peer, id, bytes: message.data }),
                    // Whoever is gone already cannot be blamed for it.
                    None => self.judge(id, Acceptance::Ignore),
                }
            }
            gossipsub::Event::Subscribed { .. } => self.gossip.heard(&mut self.swarm.behaviour_mut().gossip),
            gossipsub::Event::SlowPeer { peer_id, failed_messages: lost } => {
                self.gossip.slow(lost.priority.saturating_add(lost.non_priority));
                tracing::debug!(peer = %peer_id, "takes gossip too slowly");
            }
            gossipsub::Event::Unsubscribed { .. } | gossipsub::Event::GossipsubNotSupported { .. } => {}
        }
    }

    /// Takes note that a peer is alive.
    fn heard(&mut self, peer: &PeerId) {
        let now_ms = self.clock.now_ms();
        if let Some(link) = self.links.get_mut(peer) {
            link.heard_ms = now_ms;
        }
    }

    /// A request has waited in vain. Where nothing at all has come from the peer since, it is gone, though its connection stands: it is
    /// closed now and called anew, and not at the next ping.
    fn waited_in_vain(&mut self, peer: PeerId, asked_ms: u64) {
        if self.links.get(&peer).is_some_and(|link| link.heard_ms <= asked_ms) {
            tracing::debug!(%peer, "nothing has come from it: closing the connection");
            // Not being connected is what was wanted.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_exchange(&mut self, protocol: Protocol, event: rr::Event<Frame, Frame>) {
        match event {
            rr::Event::Message { peer, .. } => self.heard(&peer),
            rr::Event::OutboundFailure { peer, request_id, error: rr::OutboundFailure::Timeout, .. } => {
                if let Some((_, _, asked_ms)) = self.asked.get(&(protocol, request_id)) {
                    self.waited_in_vain(peer, *asked_ms);
                }
            }
            _ => {}
        }
        match event {
            rr::Event::Message { peer, message: Message::Request { request_id, request, channel }, .. } => {
                // What was still queued when the last connection closed has nobody waiting for it, nor what came behind an offence.
                let Some(link) = self.links.get(&peer) else { return };
                if self.swarm.behaviour().gate.banned(&peer).is_some() {
                    return;
                }
                let peer = link.identity;
                match request {
                    Frame::Good(payload) => {
                        self.inbound_last += 1;
                        let id = InboundId(self.inbound_last);
                        self.inbound.insert(id, (protocol, channel));
                        self.inbound_ids.insert((protocol, request_id), id);
                        self.events.push_back(NetEvent::Request { peer, protocol, id, bytes: payload.bytes });
                    }
                    Frame::Malformed(what) => self.events.push_back(NetEvent::Malformed { peer, what }),
                }
            }
            rr::Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.answered(
                    (protocol, request_id),
                    match response {
                        Frame::Good(payload) => Ok(payload.bytes),
                        Frame::Malformed(what) => Err(RequestError::Malformed(what)),
                    },
                );
            }
            rr::Event::OutboundFailure { request_id, error, .. } => {
                self.answered(
                    (protocol, request_id),
                    Err(match error {
                        rr::OutboundFailure::DialFailure => RequestError::NotConnected,
                        rr::OutboundFailure::Timeout => RequestError::TimedOut,
                        rr::OutboundFailure::UnsupportedProtocols => RequestError::Unsupported(protocol),
                        rr::OutboundFailure::ConnectionClosed | rr::OutboundFailure::Io(_) => RequestError::Closed,
                    }),
                );
            }
            rr::Event::InboundFailure { request_id, peer, error, .. } => {
                tracing::debug!(%peer, %error, protocol = %protocol.name(), "an inbound request ended early");
                self.forget((protocol, request_id));
            }
            rr::Event::ResponseSent { request_id, .. } => self.forget((protocol, request_id)),
        }
    }

    fn answered(&mut self, id: (Protocol, OutboundRequestId), result: Result<Vec<u8>, RequestError>) {
        if let Some((id, peer, _)) = self.asked.remove(&id) {
            self.events.push_back(NetEvent::Response { peer, id, result });
        }
    }

    fn forget(&mut self, id: (Protocol, rr::InboundRequestId)) {
        if let Some(id) = self.inbound_ids.remove(&id) {
            self.inbound.remove(&id);
        }
    }
}
