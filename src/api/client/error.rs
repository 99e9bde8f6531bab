//! Why a call of the daemon failed, and what to do about it.

use std::path::PathBuf;

use crate::api::types::Problem;

/// Why an answer of the daemon cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BrokenAnswer {
    /// Larger than the client reads.
    #[error("it has more than {limit_bytes} bytes")]
    TooLarge {
        /// What the client reads at most.
        limit_bytes: usize,
    },
    /// Not the JSON that the route answers with.
    #[error("its JSON does not fit: {0}")]
    Json(#[from] serde_json::Error),
    /// A refusal that is no problem document.
    #[error("it refuses with HTTP status {status} and gives no reason")]
    NoReason {
        /// The HTTP status.
        status: u16,
    },
    /// No stream of events where one was asked for.
    #[error("it is no stream of events but {found:?}")]
    NoStream {
        /// The media type that came.
        found: String,
    },
    /// An event that is not UTF-8.
    #[error("an event is not UTF-8")]
    NotUtf8,
}

/// Why a call of the daemon failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens: the socket is missing, or left over from a daemon that is gone.
    #[error("no daemon serves {}: start it with `lbm-node --data {}`", data.display(), data.display())]
    NoDaemon {
        /// The data folder.
        data: PathBuf,
    },
    /// There is no data folder to serve.
    #[error(
        "there is no data folder {}: make it with `lbm init --data {}`, or name another one with --data or LB_DATA",
        data.display(), data.display()
    )]
    NoData {
        /// The data folder.
        data: PathBuf,
    },
    /// The socket belongs to another user.
    #[error("{} belongs to another user: run this as that user, or name your own data folder with --data", socket.display())]
    OtherUser {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket's path is longer than the system takes.
    #[error(
        "the path {} is too long for a socket (about 100 bytes): move the data folder, or name it by a shorter path with --data",
        socket.display()
    )]
    PathTooLong {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket cannot be connected for another reason.
    #[error("cannot connect to {}: {source}; look at `lbm-node`'s log", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke under way.
    #[error(
        "the daemon closed the connection during `{route}` ({source}): whether it took effect is unknown, look before you repeat it"
    )]
    Cut {
        /// Method and path.
        route: String,
        /// What happened.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error(
        "no answer to `{route}` within {timeout_s} s: whether it took effect is unknown; see `lbm ctl health` and the daemon's log"
    )]
    Timeout {
        /// Method and path.
        route: String,
        /// How long the client waited.
        timeout_s: u64,
    },
    /// The request does not fit into one.
    #[error("the request for `{route}` has {bytes} bytes and at most {limit_bytes} are allowed: send less at once")]
    RequestTooLarge {
        /// Method and path.
        route: String,
        /// Bytes it has.
        bytes: usize,
        /// Bytes it may have.
        limit_bytes: usize,
    },
    /// The request cannot be written.
    #[error("the request for `{route}` cannot be written: {detail}")]
    Request {
        /// Method and path.
        route: String,
        /// What is wrong.
        detail: String,
    },
    /// The daemon refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The daemon answered what this client cannot read.
    #[error(
        "the daemon's answer to `{route}` cannot be used: {source}; are both of one version (see `lbm ctl status`)?"
    )]
    Broken {
        /// Method and path.
        route: String,
        /// What is wrong with it.
        source: BrokenAnswer,
    },
}

impl ClientError {
    /// The problem, where the daemon gave one.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Whether there is no daemon to ask, so that nothing can have happened.
    #[must_use]
    pub const fn is_no_daemon(&self) -> bool {
        matches!(self, Self::NoDaemon { .. } | Self::NoData { .. })
    }

    /// A word for scripts: a problem's code, or what went wrong on the way.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoDaemon { .. } | Self::NoData { .. } => "no_daemon",
            Self::OtherUser { .. } => "other_user",
            Self::PathTooLong { .. } => "path_too_long",
            Self::Connect { .. } => "cannot_connect",
            Self::Cut { .. } => "connection_cut",
            Self::Timeout { .. } => "timeout",
            Self::RequestTooLarge { .. } => "too_large",
            Self::Request { .. } => "bad_request",
            Self::Refused(problem) => problem.code.as_str(),
            Self::Broken { .. } => "broken_answer",
        }
    }
}
