//! Pings: who has called asks often whether the other is still there, and who was called hears that it is.
//!
//! One side is enough: an answer that stays away is noticed by who pings, a ping that stays away by who is pinged
//! (`limits::SILENCE_MS`). It halves what an idle connection costs.

use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, ping};

use crate::limits::PING_CALLED_FACTOR;

/// libp2p's behaviour with two intervals, by who has called.
pub(super) struct Behaviour {
    caller: ping::Behaviour,
    called: ping::Behaviour,
}

impl Behaviour {
    pub(super) fn new(interval: Duration, timeout: Duration) -> Self {
        let every = |interval| ping::Behaviour::new(ping::Config::new().with_interval(interval).with_timeout(timeout));
        Self { caller: every(interval), called: every(interval * PING_CALLED_FACTOR) }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = THandler<ping::Behaviour>;
    type ToSwarm = ping::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.called.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        at: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.caller.handle_established_outbound_connection(connection, peer, at, role, port)
    }

    /// Both only hand events through.
    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.caller.on_connection_handler_event(peer, connection, event);
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<ping::Event, THandlerInEvent<Self>>> {
        self.caller.poll(cx)
    }
}
