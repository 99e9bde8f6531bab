//! The address book.

use serde::{Deserialize, Serialize};

use super::check::{self, FieldError};
use crate::limits;

/// A peer in the address book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its peer id.
    pub peer_id: String,
    /// The name that was given to it here.
    pub alias: Option<String>,
    /// Whether there is a connection now.
    pub connected: bool,
    /// Known addresses, each with `/p2p/` and the peer id.
    pub addresses: Vec<String>,
    /// How it became known: `static` (settings), `added` (`peer add`), `mdns`, `peers` (it or others said so), `inbound` (it called).
    pub source: String,
    /// When a connection to it last stood; `null` where none ever did.
    pub last_seen_ms: Option<u64>,
    /// The connection; `null` where there is none.
    pub connection: Option<PeerConnection>,
    /// Groups of this node that it is admitted to, as a member or for one, while it is connected: their ids.
    pub groups: Vec<String>,
    /// Why it is not connected, in words; `null` while it is, and before the first try.
    pub trouble: Option<String>,
    /// When it is called next, Unix milliseconds; `null` while it is connected or being called.
    pub next_call_ms: Option<u64>,
}

/// The connection with a peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerConnection {
    /// Who called.
    pub direction: PeerDirection,
    /// `tcp` or `quic`.
    pub transport: String,
    /// The other end's address.
    pub remote: String,
    /// The shortest of the last round trips, microseconds; `null` until there was one.
    pub rtt_us: Option<u64>,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// What the peer calls itself, like `lbm/0.1.0`; empty until it has said so.
    pub agent: String,
}

/// Who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerDirection {
    /// The peer did.
    Inbound,
    /// This node did.
    Outbound,
}

/// Answer of `GET /peers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    /// The peers, connected ones first.
    pub peers: Vec<Peer>,
}

/// Body of `POST /peers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddPeer {
    /// A full multiaddr with `/p2p/` and the peer id.
    pub addr: String,
    /// A name for it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
}

impl AddPeer {
    /// Checks the address's length and the alias. Whether the address is one, the daemon says.
    ///
    /// # Errors
    /// The first that breaks its bounds.
    pub fn check(&self) -> Result<(), FieldError> {
        check::line("addr", &self.addr, limits::ADDRESS_BYTES)?;
        self.alias.as_deref().map_or(Ok(()), |alias| check::node_name("alias", alias))
    }
}

/// Answer to an added peer: it is in the address book, and the node dials it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAdded {
    /// Its peer id.
    pub peer_id: String,
    /// The address.
    pub addr: String,
    /// Its name here.
    pub alias: Option<String>,
    /// Whether a connection stood when the answer was written.
    pub connected: bool,
    /// How long this node still bans it, milliseconds: it is not called before; `null` where it does not.
    pub banned_ms: Option<u64>,
}

/// Answer to a removed peer: it is out of the address book and its connections are closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRemoved {
    /// Its peer id.
    pub peer_id: String,
}

/// Body of `PATCH /peers/PEER`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPeer {
    /// Its name here from now on; `null` for none.
    pub alias: Option<String>,
}

impl SetPeer {
    /// Checks the alias.
    ///
    /// # Errors
    /// Where it is no name.
    pub fn check(&self) -> Result<(), FieldError> {
        self.alias.as_deref().map_or(Ok(()), |alias| check::node_name("alias", alias))
    }
}

/// Answer to a peer with another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerSet {
    /// Its peer id.
    pub peer_id: String,
    /// Its name here.
    pub alias: Option<String>,
}
