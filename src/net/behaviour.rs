//! The libp2p behaviours, composed and configured.

use std::sync::Arc;
use std::time::Duration;

use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::{self as rr, ProtocolSupport};
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Swarm, identify, mdns};

use crate::limits::{MDNS_QUERY_MS, REQUEST_TIMEOUT_MS, STREAMS_PER_CONNECTION};

use super::codec::{FrameCodec, Protocol};
use super::gate::Gate;
use super::gossip;
use super::pace::Pace;
use super::paced::Paced;
use super::pulse;
use super::rendezvous;
use super::transport::{Door, transport};
use super::{NetConfig, NetError};

/// What identify calls our protocols as a whole.
const PROTOCOL_FAMILY: &str = "/lbm/1";

/// All that runs on a connection, and beside them.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) gate: Gate,
    pub(super) sync: rr::Behaviour<FrameCodec>,
    pub(super) market: rr::Behaviour<FrameCodec>,
    pub(super) node: rr::Behaviour<FrameCodec>,
    pub(super) gossip: gossip::Behaviour,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: pulse::Behaviour,
    pub(super) mdns: Toggle<mdns::tokio::Behaviour>,
    pub(super) kademlia: Toggle<Paced<rendezvous::Behaviour>>,
}

impl Behaviour {
    pub(super) const fn exchange(&mut self, protocol: Protocol) -> &mut rr::Behaviour<FrameCodec> {
        match protocol {
            Protocol::Sync => &mut self.sync,
            Protocol::Market => &mut self.market,
            Protocol::Node => &mut self.node,
        }
    }
}

/// The swarm of a configuration, not listening yet.
pub(super) fn swarm(config: &NetConfig) -> Result<Swarm<Behaviour>, NetError> {
    let mut seed = config.secret.seed();
    let key = Keypair::ed25519_from_bytes(seed.as_mut_slice()).map_err(|_| NetError::Key)?;
    let me = key.public().to_peer_id();

    let identify = identify::Config::new(PROTOCOL_FAMILY.to_owned(), key.public())
        .with_agent_version(config.agent_version.clone())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let pace = Arc::new(Pace::new(config.max_requests_per_min));
    let door = Arc::new(Door::default());
    let behaviour = Behaviour {
        gate: Gate::new(
            config.max_connections_per_address,
            config.access.clone(),
            Arc::clone(&pace),
            Arc::clone(&door),
        ),
        sync: exchange(Protocol::Sync),
        market: exchange(Protocol::Market),
        node: exchange(Protocol::Node),
        gossip: gossip::behaviour().map_err(NetError::Gossip)?,
        identify: identify::Behaviour::new(identify),
        ping: pulse::Behaviour::new(config.ping_interval, config.ping_timeout),
        mdns: discovery(config.mdns, me).into(),
        kademlia: config.kademlia.map(|mode| Paced::new(rendezvous::behaviour(mode, me), Arc::clone(&pace))).into(),
    };
    // With the lazy version a request leaves in the first packet of its stream, behind the protocol's name: one round
    // trip instead of two.
    let settings = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.idle_timeout)
        .with_max_negotiating_inbound_streams(STREAMS_PER_CONNECTION)
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    let transport = transport(&key, pace, door, config.silence).map_err(|_| NetError::Key)?;
    Ok(Swarm::new(transport, behaviour, me, settings))
}

/// The requests and responses of one protocol.
fn exchange(protocol: Protocol) -> rr::Behaviour<FrameCodec> {
    let config = rr::Config::default()
        .with_request_timeout(Duration::from_millis(REQUEST_TIMEOUT_MS))
        .with_max_concurrent_streams(protocol.streams());
    rr::Behaviour::with_codec(FrameCodec::new(protocol), [(protocol.name(), ProtocolSupport::Full)], config)
}

/// mDNS, where it is wanted and the system lets us watch its interfaces.
pub(super) fn discovery(wanted: bool, me: libp2p::PeerId) -> Option<mdns::tokio::Behaviour> {
    let query_interval = Duration::from_millis(MDNS_QUERY_MS);
    let config = mdns::Config { ttl: 3 * query_interval, query_interval, enable_ipv6: false };
    match wanted.then(|| mdns::tokio::Behaviour::new(config, me))? {
        Ok(behaviour) => Some(behaviour),
        Err(error) => {
            tracing::warn!(%error, "mDNS is off: the network interfaces cannot be watched; add peers by address");
            None
        }
    }
}
