//! The network: libp2p as one struct that the daemon polls.
//!
//! Owns connections, discovery, the address book, the frames of `/lbm/sync/1`, `/lbm/market/1` and `/lbm/node/1`, and gossip; it carries bytes
//! and knows nothing of what they mean. Refuses connections and messages over the bounds of [`crate::limits`], and banned peers.
//! **Every request is answered once**, with bytes or with the reason why there are none; **every event names a peer that
//! has proven its key**; and nothing here waits for the caller except through [`Network::next`].

mod address;
mod bans;
mod behaviour;
mod book;
mod codec;
mod dial;
mod gate;
mod gossip;
mod network;
mod nudge;
mod pace;
mod paced;
mod pulse;
mod rendezvous;
mod transport;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use libp2p::{Multiaddr, kad};

pub use address::Transport;
pub use bans::Ban;
pub use book::{AddressBook, BookAddress, BookEntry, BookFull, Dial, DialTrouble, Keep, Known, Source};
pub use codec::{Held, Malformed, Protocol};
pub use gossip::{Acceptance, GossipFull, GossipId, GossipMeasures, TOPIC};
pub use network::Network;

use crate::access::Access;
use crate::identity::{Identity, SecretKey};
use crate::limits::{
    CONNECTIONS_PER_ADDRESS, IDLE_CONNECTION_MS, PING_INTERVAL_MS, PING_TIMEOUT_MS, REQUESTS_PER_PEER_PER_MIN,
    SILENCE_MS,
};

/// How a node takes part in the network.
#[derive(Debug, Clone)]
pub struct NetConfig {
    /// The node's key; connections prove it.
    pub secret: SecretKey,
    /// Where to listen: `/ip4|ip6/…/tcp/PORT` or `/ip4|ip6/…/udp/PORT/quic-v1`; port 0 takes any.
    pub listen: Vec<Multiaddr>,
    /// Whether to find peers on the local network.
    pub mdns: bool,
    /// Whether to find peers beyond it, by Kademlia, and whether to be one of those who answer there.
    pub kademlia: Option<kad::Mode>,
    /// Peers to stay connected with, each ending in `/p2p/`.
    pub static_peers: Vec<Multiaddr>,
    /// Inbound connections that one host may have.
    pub max_connections_per_address: u32,
    /// Requests of a member, or of all strangers of one host, that this node answers a minute.
    pub max_requests_per_min: u32,
    /// Who may connect at all.
    pub access: Access,
    /// Who was sent away before the start.
    pub bans: Vec<Ban>,
    /// What this node calls itself towards peers, such as `lbm/0.1.0`.
    pub agent_version: String,
    /// How long a connection of a peer that does not say that it speaks our protocol stays open. Those of others stay.
    pub idle_timeout: Duration,
    /// Pause between two pings of a connection that we have called.
    pub ping_interval: Duration,
    /// How long a ping may take. A failure closes the connection.
    pub ping_timeout: Duration,
    /// How long a TCP connection may bring nothing before it is closed: longer than the pause between two pings of the other side.
    pub silence: Duration,
}

impl NetConfig {
    /// What this build calls itself.
    pub const AGENT_VERSION: &str = concat!("lbm/", env!("CARGO_PKG_VERSION"));

    /// The defaults of a node with this key. It does not listen anywhere yet.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        Self {
            secret,
            listen: Vec::new(),
            mdns: true,
            kademlia: Some(kad::Mode::Client),
            static_peers: Vec::new(),
            max_connections_per_address: CONNECTIONS_PER_ADDRESS,
            max_requests_per_min: REQUESTS_PER_PEER_PER_MIN,
            access: Access::default(),
            bans: Vec::new(),
            agent_version: Self::AGENT_VERSION.to_owned(),
            idle_timeout: Duration::from_millis(IDLE_CONNECTION_MS),
            ping_interval: Duration::from_millis(PING_INTERVAL_MS),
            ping_timeout: Duration::from_millis(PING_TIMEOUT_MS),
            silence: Duration::from_millis(SILENCE_MS),
        }
    }
}

/// Why the network cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// libp2p refuses the key.
    #[error("the node's key cannot be used for connections: check it with `lbm keys show`")]
    Key,
    /// libp2p refuses the settings of gossip: a mistake of ours.
    #[error("gossip cannot start: {0}")]
    Gossip(String),
    /// Not an address that one can listen on.
    #[error("cannot listen on {0}: expected /ip4/ADDRESS/tcp/PORT or /ip4/ADDRESS/udp/PORT/quic-v1 (or /ip6/…)")]
    ListenForm(Multiaddr),
    /// Another program listens there.
    #[error("cannot listen on {0}: the port is in use; stop the other program, or choose another port or port 0")]
    PortInUse(Multiaddr),
    /// The system refuses to listen there.
    #[error("cannot listen on {address}: {source}; check that the address is this machine's and the port above 1023")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// Why.
        source: io::Error,
    },
    /// A configured peer cannot be used.
    #[error("cannot use the configured peer {address}: {source}")]
    StaticPeer {
        /// As configured.
        address: Multiaddr,
        /// Why.
        source: AddPeerError,
    },
}

/// Why a peer cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddPeerError {
    /// No `/p2p/` at its end.
    #[error(
        "the address does not say whose it is: end it with /p2p/ and the peer's id, as its `lbm ctl status` prints it"
    )]
    NoPeerId,
    /// Another type of key.
    #[error("the peer id is not of an Ed25519 key: expected one that starts with 12D3KooW")]
    KeyType,
    /// It names this node.
    #[error("the peer id is this node's own: use the address that the other machine's `lbm ctl status` prints")]
    Own,
    /// Not an address that can be dialled.
    #[error(
        "expected /ip4/ADDRESS/tcp/PORT/p2p/ID or /ip4/ADDRESS/udp/PORT/quic-v1/p2p/ID (or /ip6/…), with a host and port to connect to"
    )]
    Form,
    /// The settings keep it away: it would never be called.
    #[error("the settings keep {peer} away ({why}): change them (`lbm config` shows them), and start the daemon anew")]
    Denied {
        /// Whom.
        peer: Identity,
        /// By which entry.
        why: String,
    },
    /// An alias that does not fit.
    #[error("an alias is 1 to {} characters of A-Z a-z 0-9 . _ -", crate::limits::NODE_NAME_BYTES)]
    Alias,
    /// No room.
    #[error(transparent)]
    Full(#[from] BookFull),
}

/// One of our requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One request of a peer, to be answered with [`Network::respond`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InboundId(pub u64);

/// Why a request brought no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than a request may be; nothing was sent.
    #[error("a request of {bytes} bytes is over the limit of {most}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What the protocol allows.
        most: usize,
    },
    /// There is no connection; nothing was sent.
    #[error("the peer is not connected")]
    NotConnected,
    /// No answer in time. The peer may have acted on it.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The stream or the connection ended without an answer. The peer may have acted on it, or have been too busy.
    #[error("the connection ended before the answer")]
    Closed,
    /// The peer does not speak the protocol.
    #[error("the peer does not speak {name}", name = .0.name())]
    Unsupported(Protocol),
    /// The answer is no frame: the peer's fault.
    #[error("the answer is malformed: {0}")]
    Malformed(Malformed),
}

/// Why an answer cannot be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RespondError {
    /// Whoever asked is gone, or has waited too long.
    #[error("nobody waits for this answer any more")]
    Gone,
    /// Longer than a message may be. The request ends without an answer.
    #[error("an answer of {bytes} bytes is over the limit of {most}")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// What the protocol allows.
        most: usize,
    },
}

/// What happened.
#[derive(Debug)]
pub enum NetEvent {
    /// This node can be reached there; the address ends in `/p2p/`.
    Listening(Multiaddr),
    /// It no longer can.
    NotListening(Multiaddr),
    /// A listener failed. Others may go on.
    ListenerFailed {
        /// Its addresses, where it had any.
        addresses: Vec<Multiaddr>,
        /// Why; `None` where it just ended.
        error: Option<io::Error>,
    },
    /// The first connection with a peer is there.
    Connected {
        /// Who.
        peer: Identity,
        /// Whether we called.
        outbound: bool,
        /// How.
        transport: Transport,
    },
    /// The last connection with a peer is gone.
    Disconnected {
        /// Who.
        peer: Identity,
    },
    /// A peer asks.
    Request {
        /// Who.
        peer: Identity,
        /// In which protocol.
        protocol: Protocol,
        /// What to answer under.
        id: InboundId,
        /// The message, at most [`Protocol::request_bytes`].
        bytes: Vec<u8>,
    },
    /// A peer sent a request that is no frame. It gets no answer; its connection stands.
    Malformed {
        /// Who.
        peer: Identity,
        /// What is wrong.
        what: Malformed,
    },
    /// One of our requests has ended.
    Response {
        /// Whom we asked.
        peer: Identity,
        /// As [`Network::request`] returned it.
        id: RequestId,
        /// The answer, at most [`Protocol::response_bytes`].
        result: Result<Vec<u8>, RequestError>,
    },
    /// A message was spread, which this node has not seen lately. It goes no further before [`Network::judge`].
    Gossip {
        /// Who handed it to us.
        peer: Identity,
        /// To be named by the judgement.
        id: GossipId,
        /// The message, at most [`crate::limits::GOSSIP_MESSAGE_BYTES`].
        bytes: Vec<u8>,
    },
    /// Somebody else uses this node's key: a copied data folder. Two writers with one key contradict each other.
    OwnKeySeen {
        /// Where.
        address: Multiaddr,
    },
    /// Somebody was met who answers where others are: [`Network::provide`] and [`Network::seek`] have a point.
    Servers,
    /// [`Network::book_entries`] is worth storing.
    BookChanged,
}

/// A peer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub peer: Identity,
    /// What the book knows; `None` of a connected stranger without an address to call.
    pub known: Option<Known>,
    /// The connection, if there is one.
    pub link: Option<LinkInfo>,
    /// How long it is still banned.
    pub banned: Option<Duration>,
    /// Whether the settings `allow` and `deny` keep it away wherever it is.
    pub denied: bool,
    /// Why connections from where it may be were refused for want of room; of one that is not connected.
    pub refused: Option<String>,
}

/// A bound on connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bound {
    /// How many strangers of one host may have.
    OneHost,
    /// How many a host may open a minute.
    Rate,
    /// How many there may be of all hosts.
    AllHosts,
}

/// A host whose connections were refused or closed for want of room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedHost {
    /// An IPv4 address, or an IPv6 /64.
    pub host: IpAddr,
    /// Why the last was.
    pub why: String,
    /// Which bound it met.
    pub bound: Bound,
    /// How many.
    pub times: u64,
    /// How long ago the last was.
    pub ago: Duration,
}

/// The connections with one peer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Whether we called.
    pub outbound: bool,
    /// How bytes travel.
    pub transport: Transport,
    /// The other end's address, of the first connection.
    pub remote: Multiaddr,
    /// Number of connections.
    pub connections: usize,
    /// Shortest of the last round trips.
    pub rtt: Option<Duration>,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// What the peer calls itself; empty until it has.
    pub agent: String,
}

#[cfg(test)]
mod tests;
