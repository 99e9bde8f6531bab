//! The way in over HTTP: `/mcp`, streamable, on loopback and nowhere else.
//!
//! **Loopback is not trust**: each request needs the bearer token of an agent (`lbm ctl agent token NAME`), and acts as that agent and never as
//! the node. The `Host` must name this machine, so that no page reaches it under a name of its own (DNS rebinding), and an `Origin`, which
//! only browsers send, must be a page of this machine. The tools ask the daemon over its own socket, as the shim's do, so that
//! permission is checked in one place.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::transport::streamable_http_server::session::local::{LocalSessionManager, SessionConfig};
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Acting, Server};
use crate::api::client::Client;
use crate::identity::AgentName;
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

/// Says whose bearer token it is. It may read the store: it is called where that may take its time.
pub type Tokens = Arc<dyn Fn(&str) -> Option<AgentName> + Send + Sync>;

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

/// Who may come in, and what is served.
struct Door {
    client: Client,
    tokens: Tokens,
    sessions: Arc<LocalSessionManager>,
    service: StreamableHttpService<Server, LocalSessionManager>,
}

/// Serves `/mcp` until `stop` says so.
pub async fn serve(listener: TcpListener, client: Client, tokens: Tokens, mut stop: watch::Receiver<bool>) {
    let ended = CancellationToken::new();
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
    let service = StreamableHttpService::new(|| Ok(Server::of_requests()), Arc::clone(&sessions), config);
    let door = Arc::new(Door { client, tokens, sessions, service });
    let room = Arc::new(Semaphore::new(limits::mcp::HTTP_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            biased;
            // Where nobody can say so any more, the daemon is gone.
            _ = stop.wait_for(|stop| *stop) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let door = Arc::clone(&door);
                connections.spawn(async move {
                    let _held = place;
                    connection(stream, door).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(limits::API_ACCEPT_RETRY_MS)).await;
            }
        }
    }
    ended.cancel();
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, door: Arc<Door>) {
    // Answers are small and whole: waiting for more to send with them costs 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection goes on with delays");
    }
    let service = service_fn(move |request| {
        let door = Arc::clone(&door);
        async move { Ok::<_, Infallible>(door.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::API_IDLE_MS))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a client's connection broke");
    }
}

impl Door {
    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        if request.uri().path() != PATH {
            return plain(StatusCode::NOT_FOUND, "there is nothing here but /mcp");
        }
        let Some(agent) = self.agent(&request).await else {
            let words = "give an agent's token as `Authorization: Bearer …`; `lbm ctl agent token NAME` prints one";
            let mut refused = plain(StatusCode::UNAUTHORIZED, words);
            refused.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refused;
        };
        if !request.headers().contains_key(SESSION)
            && self.sessions.sessions.read().await.len() >= limits::mcp::HTTP_SESSIONS
        {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many sessions are open: end some with DELETE");
        }
        request.extensions_mut().insert(Acting::new(&self.client, Some(agent), None));
        match TowerToHyperService::new(self.service.clone()).call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The agent whose token the request has.
    async fn agent(&self, request: &Request<Incoming>) -> Option<AgentName> {
        let mut given = request.headers().get_all(AUTHORIZATION).iter();
        let (scheme, token) = given.next()?.to_str().ok()?.split_once(' ')?;
        if given.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (token, tokens) = (token.trim().to_owned(), Arc::clone(&self.tokens));
        tokio::task::spawn_blocking(move || tokens(&token)).await.ok().flatten()
    }
}

fn plain(status: StatusCode, words: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from_static(words.as_bytes())).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
