//! The HTTP API of the daemon: what goes over the local socket, and the client that every face uses.
//!
//! Owns the request and answer types ([`types`]), the table of routes with the permission each asks for ([`routes`]),
//! the [`server`], and the [`client`]. Both sides build on the same types and the same paths: **a face can neither send nor read what
//! this module does not name**, and no face has a second way in.

pub mod client;
pub mod openapi;
pub mod room;
pub mod routes;
pub mod server;
pub mod types;

use std::path::{Path, PathBuf};

/// Header of each answer: the daemon's version, so that a client of another one can say so.
pub const VERSION_HEADER: &str = "lbm-version";

/// Header of a request: the agent in whose name it is made. Without it, it is made in the node's own name.
pub const AGENT_HEADER: &str = "lbm-agent";

/// Header of a request in an agent's name: the peer id of the agent that is meant. Another that has the name now is not. Header of the answer:
/// whose it was.
pub const AGENT_ID_HEADER: &str = "lbm-agent-id";

/// Header of a write: a name that its sender chose for it. Sent again under the same name, it is done once and answered as before.
pub const ONCE_HEADER: &str = "idempotency-key";

/// Header of a request and of its answer: the request's name, for the log.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// Version of this build, as the daemon and its clients name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The same with the commit that a release was built from, where that is known.
pub const BUILD: &str = env!("LBM_BUILD");

/// Media type of a [`types::Problem`] (RFC 9457 §3).
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// Media type of a stream of events (WHATWG HTML, server-sent events).
pub const EVENT_MEDIA_TYPE: &str = "text/event-stream";

/// Media type of the frames of a backup.
pub const BACKUP_MEDIA_TYPE: &str = "application/vnd.lbm.backup";

/// The socket of the daemon that serves the data folder `data`.
#[must_use]
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("lbm.sock")
}
