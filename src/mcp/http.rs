//! The way in over HTTP: `/mcp`, streamable, on loopback and nowhere else.
//!
//! **Loopback is not trust**: each request needs the bearer token of an agent (`lbm ctl agent token NAME`), and acts as that agent and never as
//! the node. The `Host` must name this machine, so that no page reaches it under a name of its own (DNS rebinding), and an `Origin`, which
//! only browsers send, must be a page of this machine. The tools ask the daemon over its own socket, as the shim's do, so that
//! permission is checked in one place. **Who has shown no token takes no place of one who has**, and one token's holder takes no other's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::streamable_http_server::session::{SessionId, SessionManager};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::updates::Feed;
use super::{Acting, Server};
use crate::api::client::Client;
use crate::api::room::{Held, Place, Room};
use crate::identity::{AgentName, Identity};
use crate::limits;

/// The path that is served. There is no other.
pub const PATH: &str = "/mcp";

/// Names of this machine that a `Host` may be, and pages of it that an `Origin` may be.
const HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const ORIGINS: [&str; 6] = [
    "http://localhost:*",
    "http://127.0.0.1:*",
    "http://[::1]:*",
    "https://localhost:*",
    "https://127.0.0.1:*",
    "https://[::1]:*",
];

/// Header of a request within a session.
const SESSION: &str = "mcp-session-id";

/// Who comes in with a token.
pub struct Entrant {
    /// What the agent is called.
    pub name: AgentName,
    /// Who it is.
    pub identity: Identity,
    /// Is set when the token is dead.
    pub locked: watch::Receiver<bool>,
}

/// Says whose bearer token it is. It may read the store: it is called where that may take its time.
pub type Tokens = Arc<dyn Fn(&str) -> Option<Entrant> + Send + Sync>;

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for MCP: {source}; choose another address with --mcp, or `off`")]
pub struct BindError {
    /// Where.
    address: SocketAddr,
    /// What the system said.
    source: io::Error,
}

/// Opens the listener.
///
/// # Errors
/// [`BindError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Who may come in, and what each has open.
struct Door {
    client: Client,
    tokens: Tokens,
    room: Room,
    ended: CancellationToken,
    desks: Mutex<BTreeMap<Key, Arc<Desk>>>,
}

/// The BLAKE3 hash of a token.
type Key = [u8; 32];

/// What is open with one token: **no session is another's**, and all ends when the token is dead.
struct Desk {
    acting: Acting,
    sessions: Arc<LocalSessionManager>,
    /// When each was last used.
    used: Mutex<HashMap<SessionId, Instant>>,
    service: StreamableHttpService<Server, LocalSessionManager>,
    ended: CancellationToken,
}

/// Serves `/mcp` until `stop` says so.
pub async fn serve(listener: TcpListener, client: Client, tokens: Tokens, mut stop: watch::Receiver<bool>) {
    let (room, ended) = (Room::default(), CancellationToken::new());
    let (desks, ending) = (Mutex::default(), ended.clone());
    let door = Arc::new(Door { client, tokens, room: room.clone(), ended, desks });
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // Where nobody can say so any more, the daemon is gone.
            _ = stop.wait_for(|stop| *stop) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if room.count(Option::is_none) >= limits::mcp::HTTP_STRANGERS {
                    room.let_stranger_go();
                }
                connections.spawn(connection(stream, Arc::clone(&door), room.enter()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(limits::API_ACCEPT_RETRY_MS)).await;
            }
        }
    }
    ending.cancel();
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, door: Arc<Door>, place: Arc<Place>) {
    // Answers are small and whole: waiting for more to send with them costs 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection goes on with delays");
    }
    let at = Arc::clone(&place);
    let service = service_fn(move |request| {
        let (door, at) = (Arc::clone(&door), Arc::clone(&at));
        async move { Ok::<_, Infallible>(door.answer(request, &at).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::API_IDLE_MS))
        .serve_connection(TokioIo::new(stream), service);
    let shown = async {
        tokio::time::sleep(Duration::from_millis(limits::mcp::HTTP_HEAD_MS)).await;
        if !place.is_strange() {
            std::future::pending::<()>().await;
        }
    };
    let served = tokio::select! {
        served = serving => served,
        () = place.told_to_leave() => return,
        () = shown => return,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a client's connection broke");
    }
}

impl Door {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>, place: &Arc<Place>) -> Response<Body> {
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "there is nothing here but /mcp");
        }
        let Some((key, entrant)) = self.entrant(&request).await else {
            let words = "give an agent's token as `Authorization: Bearer …`; `lbm ctl agent token NAME` prints one";
            let mut refused = plain(StatusCode::UNAUTHORIZED, words);
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refused;
        };
        let busy = place.busy();
        if place.belongs_to(key) && !self.has_room(key) {
            place.belongs_to_nobody();
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many connections are open: close some, and try again");
        }
        let desk = self.desk(key, &entrant);
        if let Some(session) = request.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
            desk.is_used(session.into()).await;
        }
        request.extensions_mut().insert(desk.acting.clone());
        let response = match TowerToHyperService::new(desk.service.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        if let Some(session) = response.headers().get(SESSION).and_then(|id| id.to_str().ok()) {
            desk.is_used(session.into()).await;
        }
        response.map(|body| Held(body, busy).boxed())
    }

    /// Whether there is a place for one more connection of a token, which is counted already; makes one where somebody idles.
    fn has_room(&self, key: Key) -> bool {
        let own = |owner: &Option<Key>| *owner == Some(key);
        let is_own_full = self.room.count(own) > limits::mcp::HTTP_AGENT_CONNECTIONS;
        if is_own_full && !self.room.let_idle_go(own) {
            return false;
        }
        let is_full = self.room.count(Option::is_some) > limits::mcp::HTTP_CONNECTIONS;
        !is_full || self.room.let_idle_go(Option::is_some)
    }

    /// What is open with a token; makes it, and sees to its end.
    fn desk(self: &Arc<Self>, key: Key, entrant: &Entrant) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(desk) = desks.get(&key) {
            return Arc::clone(desk);
        }
        let desk = Arc::new(Desk::new(&self.client, entrant, self.ended.child_token()));
        desks.insert(key, Arc::clone(&desk));
        let (door, ending, mut locked) = (Arc::clone(self), Arc::clone(&desk), entrant.locked.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = locked.wait_for(|locked| *locked) => {}
                () = ending.ended.cancelled() => {}
            }
            door.desks.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            door.room.let_all_go(key);
            ending.end().await;
        });
        desk
    }

    /// Whose token the request has.
    async fn entrant(&self, request: &Request<Incoming>) -> Option<(Key, Entrant)> {
        let mut given = request.headers().get_all(AUTHORIZATION).iter();
        let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
        if given.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (token, tokens) = (token.trim().to_owned(), Arc::clone(&self.tokens));
        let key = *blake3::hash(token.as_bytes()).as_bytes();
        let entrant = tokio::task::spawn_blocking(move || tokens(&token)).await.ok().flatten()?;
        Some((key, entrant))
    }
}

impl Desk {
    fn new(client: &Client, entrant: &Entrant, ended: CancellationToken) -> Self {
        let mut sessions = LocalSessionManager::default();
        let mut config = SessionConfig::default();
        // An agent may think for long between two calls.
        config.keep_alive = Some(Duration::from_millis(limits::mcp::HTTP_SESSION_MS));
        sessions.session_config = config;
        let sessions = Arc::new(sessions);
        let config = StreamableHttpServerConfig::default()
            .with_allowed_hosts(HOSTS)
            .with_allowed_origins(ORIGINS)
            .enforce_origin_validation()
            .with_max_request_body_bytes(limits::mcp::LINE_BYTES)
            .with_cancellation_token(ended.clone());
        let feed = Arc::<Feed>::default();
        let server = move || Ok(Server::of_requests(Arc::clone(&feed)));
        let service = StreamableHttpService::new(server, Arc::clone(&sessions), config);
        let acting = Acting::of(client, &entrant.name, &entrant.identity);
        Self { acting, sessions, used: Mutex::default(), service, ended }
    }

    /// A session is used. Where there are too many, the one that was used least recently is closed.
    async fn is_used(&self, session: SessionId) {
        let open: HashSet<SessionId> = self.sessions.sessions.read().await.keys().cloned().collect();
        if !open.contains(&session) {
            return;
        }
        let mut last = Vec::new();
        {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            used.retain(|session, _| open.contains(session));
            used.insert(session, Instant::now());
            while used.len() > limits::mcp::HTTP_AGENT_SESSIONS {
                let Some(oldest) = used.iter().min_by_key(|(_, at)| **at).map(|(session, _)| session.clone()) else {
                    break;
                };
                used.remove(&oldest);
                last.push(oldest);
            }
        }
        for session in last {
            self.close(&session).await;
        }
    }

    async fn close(&self, session: &SessionId) {
        if let Err(error) = self.sessions.close_session(session).await {
            tracing::debug!(%error, "a session did not end by itself");
        }
    }

    /// Ends all of it.
    async fn end(&self) {
        self.ended.cancel();
        let open: Vec<SessionId> = self.sessions.sessions.read().await.keys().cloned().collect();
        for session in open {
            self.close(&session).await;
        }
    }
}

fn plain(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
