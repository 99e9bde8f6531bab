//! The daemon's side of the API: axum over the local socket.
//!
//! Owns the socket file, the connections, the router with its one check of permissions, and a handler for each route.
//! Refuses other users, what is larger or more than its limits, and what no route names, always with a
//! [`Problem`]. **What a handler acknowledges is durable**, reading the store never happens on a thread that
//! serves connections, and every answer names the daemon's version.

mod agent;
mod backup;
mod block;
mod claim;
mod context;
mod describe;
mod doctor;
mod events;
mod extract;
mod group;
mod invite;
mod join;
mod listing;
mod member;
mod node;
mod offer;
mod operations;
mod panel;
mod peer;
mod presence;
mod problem;
mod purchase;
mod request_id;
mod resolve;
mod router;
mod scrape;
mod stop;
mod stranded;
mod subscription;
mod sync;
mod task;
mod thread;
mod token;
mod told;
mod waits;
mod watching;

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

pub use self::scrape::{MetricsBindError, bind_metrics, serve_metrics};

use self::router::Caller;
use self::stop::{Stop, stopped};
use self::waits::Waits;
use super::room::{Held, Place, Room};
use super::types::{Problem, ProblemCode};
use super::{AGENT_HEADER, AGENT_ID_HEADER, VERSION, VERSION_HEADER, socket_path};
use crate::chain::{GroupId, Transaction};
use crate::identity::AgentName;
use crate::limits;
use crate::metrics::{Metrics, Queue};
use crate::node::engine::{OnceName, Task};
use crate::runtime::Node;
use crate::runtime::agents::Agents;
use crate::web::session::Sessions;

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system takes no such long path for a socket.
    #[error(
        "the path of the socket {} has {bytes} bytes and the system takes {limit_bytes}: move the data folder, or name it by a \
         shorter path with --data", path.display()
    )]
    PathTooLong {
        /// The socket.
        path: PathBuf,
        /// Its length.
        bytes: usize,
        /// What the system takes.
        limit_bytes: usize,
    },
    /// Something that is no socket has its name.
    #[error("{} is in the way and is no socket: move it elsewhere", path.display())]
    Occupied {
        /// What stands there.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot {attempt} the socket {}: {source}; check the data folder's owner, mode and room", path.display())]
    Io {
        /// The verb of what was attempted.
        attempt: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What all handlers share.
#[derive(Clone)]
struct Api {
    /// The node in the name of whoever calls.
    node: Node,
    /// The name under which the request is done once, where it has one.
    once: Option<OnceName>,
    stop: Stop,
    /// The connections of the local socket.
    room: Room,
    /// What agents have the daemon wait for.
    waits: Waits,
    /// One history is checked at a time: it takes all cores.
    verifying: Arc<Semaphore>,
    /// So is one backup.
    backing_up: Arc<Semaphore>,
    /// Who is let in by the panel.
    sessions: Sessions,
}

impl Api {
    fn new(node: Node, sessions: Sessions, stop: watch::Receiver<bool>) -> Self {
        Self {
            node,
            once: None,
            stop: Stop::of_daemon(stop),
            room: Room::default(),
            waits: Waits::default(),
            verifying: Arc::new(Semaphore::new(1)),
            backing_up: Arc::new(Semaphore::new(1)),
            sessions,
        }
    }

    /// The task of writing in the name of whoever calls.
    fn to_write(&self, group: GroupId, transactions: Vec<Transaction>, objects: Vec<Vec<u8>>) -> Task {
        let author = self.node.identity;
        match self.once {
            None => Task::Write { group, author, transactions, objects },
            Some(name) => Task::Once { name, group, author, transactions, objects },
        }
    }
}

/// Opens the socket of the data folder `data` for this user alone. Must be called within a tokio runtime.
///
/// A socket that is there already was left by a daemon that died: **only who holds the folder's lock may call this**.
///
/// # Errors
/// [`BindError`].
pub fn bind(data: &Path) -> Result<UnixListener, BindError> {
    let path = socket_path(data);
    let bytes = path.as_os_str().len();
    if bytes > limits::SOCKET_PATH_BYTES {
        return Err(BindError::PathTooLong { path, bytes, limit_bytes: limits::SOCKET_PATH_BYTES });
    }
    let failed = |attempt| {
        let path = path.clone();
        move |source| BindError::Io { attempt, path, source }
    };
    match std::fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(&path).map_err(failed("replace"))?,
        Ok(_) => return Err(BindError::Occupied { path }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("look at")(error)),
    }
    let listener = UnixListener::bind(&path).map_err(failed("open"))?;
    // Nobody else gets here before: the folder is closed to others.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed("close to others"))?;
    Ok(listener)
}

/// The API of a node, to be served over the local socket and to the panel. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    router: Router,
    agents: Agents,
    room: Room,
    waits: Waits,
    counts: Metrics,
    stop: watch::Receiver<bool>,
}

impl Service {
    /// The API of a node, which ends its streams when `stop` says so, and makes links to the panel.
    #[must_use]
    pub fn new(node: Node, sessions: Sessions, stop: watch::Receiver<bool>) -> Self {
        let (agents, counts) = (node.agents.clone(), node.metrics.clone());
        let api = Api::new(node, sessions, stop.clone());
        let (room, waits) = (api.room.clone(), api.waits.clone());
        Self { router: router::router(Arc::new(api)), agents, room, waits, counts, stop }
    }

    /// Answers a request of the panel, as the operator or for somebody who may only look. **Whoever calls this has checked who asks, and from
    /// where.**
    pub async fn answer_panel(&self, mut request: hyper::Request<Incoming>, is_viewer: bool) -> hyper::Response<Body> {
        request.extensions_mut().insert(if is_viewer { Caller::Viewer } else { Caller::Local });
        request.extensions_mut().insert(self.waits.clone());
        let mut response = match TowerToHyperService::new(self.router.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
        response
    }
}

/// Serves the API over the local socket until it is told to stop: then takes no more requests, ends the streams, lets the others finish for
/// [`limits::API_STOP_MS`], and removes the socket.
///
/// # Errors
/// Where the socket cannot be asked for its owner.
pub async fn serve(listener: UnixListener, desk: Service) -> io::Result<()> {
    let user = own_user()?;
    let stop = desk.stop.clone();
    let (room, counts, mut refusing) = (desk.room.clone(), desk.counts.clone(), VecDeque::new());
    let mut connections = JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if is_welcome(&stream, user) => {
                let is_tight = room.count(|_| true) >= limits::API_CONNECTIONS - limits::API_RESERVED;
                let is_reserved = is_tight && !room.let_idle_go(|_| true);
                if room.count(|_| true) < limits::API_CONNECTIONS {
                    connections.spawn(connection(stream, desk.clone(), room.enter(), is_reserved, stop.clone()));
                } else {
                    counts.overflowed(Queue::ApiConnections, 1);
                    // Who asks something is told at once; who says nothing makes room for the next.
                    refusing.retain(|refused: &AbortHandle| !refused.is_finished());
                    if refusing.len() >= limits::API_REFUSING
                        && let Some(first) = refusing.pop_front()
                    {
                        first.abort();
                    }
                    refusing.push_back(connections.spawn(refuse(stream)));
                }
            }
            Ok(_) => tracing::warn!("sent another user away from the socket"),
            Err(error) => {
                // Mostly no file descriptor is left: one may be free soon.
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(limits::API_ACCEPT_RETRY_MS)).await;
            }
        }
    }
    let path = listener.local_addr().ok().and_then(|address| address.as_pathname().map(Path::to_owned));
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_millis(limits::API_STOP_MS), finished).await.is_err() {
        tracing::warn!(requests = connections.len(), "some requests did not finish in time");
        connections.shutdown().await;
    }
    if let Some(path) = path
        && let Err(error) = std::fs::remove_file(&path)
    {
        tracing::debug!(%error, path = %path.display(), "the socket was gone already");
    }
    Ok(())
}

/// The user of this process: as the system names the owner of a socket that it made.
fn own_user() -> io::Result<u32> {
    let (mine, _other_end) = UnixStream::pair()?;
    Ok(mine.peer_cred()?.uid())
}

/// The socket's mode keeps other users out; this holds even where somebody has changed it. Root is never kept out.
fn is_welcome(stream: &UnixStream, user: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == user || peer.uid() == 0)
}

/// There is no place for one more.
fn full() -> hyper::Response<Body> {
    let detail = format!("the daemon is full: {} connections are open", limits::API_CONNECTIONS);
    let remedy = "try again in a moment; end what holds many of them, or start the daemon anew";
    let mut response = Problem::new(ProblemCode::Busy, detail, remedy).into_response();
    // Nothing was done: whoever asked may ask again.
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
    response
}

/// Tells a new connection so.
async fn refuse(stream: UnixStream) {
    let service = service_fn(|_: hyper::Request<Incoming>| async { Ok::<_, std::convert::Infallible>(full()) });
    let told = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    if tokio::time::timeout(Duration::from_millis(limits::API_REFUSING_MS), told).await.is_err() {
        tracing::debug!("a connection that there was no place for said nothing");
    }
}

/// Serves one connection. A reserved one is for what is done in the node's own name.
async fn connection(
    stream: UnixStream,
    desk: Service,
    place: Arc<Place>,
    is_reserved: bool,
    mut stop: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(desk.router);
    let at = Arc::clone(&place);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let named = request.headers().get(AGENT_HEADER);
        let is_refused = is_reserved && named.is_some();
        let agent: Option<AgentName> = named.and_then(|name| name.to_str().ok()?.parse().ok());
        let identity = agent.and_then(|name| desk.agents.identity(&name));
        let identity = identity.and_then(|identity| HeaderValue::from_str(&identity.to_string()).ok());
        request.extensions_mut().insert(Caller::Local);
        request.extensions_mut().insert(desk.waits.clone());
        let (busy, answer) = (at.busy(), router.call(request));
        async move {
            if is_refused {
                return Ok(full());
            }
            let mut response = answer.await?;
            response.headers_mut().insert(VERSION_HEADER, HeaderValue::from_static(VERSION));
            if let Some(identity) = identity {
                response.headers_mut().insert(AGENT_ID_HEADER, identity);
            }
            Ok::<_, std::convert::Infallible>(response.map(|body| Body::new(Held(body, busy))))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::API_IDLE_MS))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = place.told_to_leave() => return,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a client's connection broke");
    }
}

#[cfg(test)]
mod tests;
