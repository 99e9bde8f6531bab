//! The listener: connections, and where each request goes.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::IntoResponse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{COOKIE, HeaderName, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::guard::{self, Names};
use super::session::{Hash, Opened, Role, Sessions};
use super::{assets, qr};
use crate::api::room::{Held, Place, Room};
use crate::api::server::Service;
use crate::api::types::{Problem, ProblemCode};
use crate::limits;

/// Header of each request of the page: the key of its session.
const KEY: &str = "lbm-panel-key";

/// Header of a request that the page makes by itself, because something has happened: it keeps no session alive.
const BY_ITSELF: &str = "lbm-panel-by-itself";

/// Where links are followed, sessions looked at and ended.
const SESSION: &str = "/session";

/// Where a text becomes a QR code.
const QR: &str = "/qr";

/// Why the panel is not served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the panel at {address}: {source}; choose another address with --admin, or `off`")]
pub struct BindError {
    /// Where.
    address: SocketAddr,
    /// What the system said.
    source: io::Error,
}

impl BindError {
    /// Whether another program has the port.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.source.kind() == io::ErrorKind::AddrInUse
    }
}

/// Opens the listener.
///
/// # Errors
/// [`BindError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// What all connections share.
struct Panel {
    api: Service,
    sessions: Sessions,
    /// Of this node: a browser may be logged in to several on one machine, and keeps the cookies of a host together.
    cookie: String,
    hosts: Vec<String>,
    room: Room,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Serves the panel of the node `name`d so until `stop` says so.
pub async fn serve(
    listener: TcpListener,
    api: Service,
    sessions: Sessions,
    (name, hosts): (String, Vec<String>),
    mut stop: watch::Receiver<bool>,
) {
    if let Ok(address) = listener.local_addr() {
        let page = guard::page(address);
        tracing::info!(%page, "serving the panel: `lbm ctl admin url` prints a link to it");
        sessions.serve_at(page);
    }
    let cookie = format!("lbm-{}", &blake3::hash(name.as_bytes()).to_hex()[..8]);
    let panel = Arc::new(Panel { api, sessions, cookie, hosts, room: Room::default() });
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(Duration::from_millis(limits::web::SWEEP_MS));
    loop {
        let accepted = tokio::select! {
            biased;
            // Where nobody can say so any more, the daemon is gone.
            _ = stop.wait_for(|stop| *stop) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            _ = sweep.tick() => {
                panel.sweep();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if panel.room.count(Option::is_none) >= limits::web::STRANGERS {
                    panel.room.let_stranger_go();
                }
                let place = panel.room.enter();
                connections.spawn(connection(stream, Arc::clone(&panel), place, stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                tokio::time::sleep(Duration::from_millis(limits::API_ACCEPT_RETRY_MS)).await;
            }
        }
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_millis(limits::API_STOP_MS), finished).await.is_err() {
        connections.shutdown().await;
    }
    panel.save().await;
}

async fn connection(stream: TcpStream, panel: Arc<Panel>, place: Arc<Place>, mut stop: watch::Receiver<bool>) {
    // Answers are small and whole: waiting for more to send with them costs 40 ms each.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection goes on with delays");
    }
    let local = stream.local_addr().ok().map(|address| address.ip());
    let at = Arc::clone(&place);
    let service = service_fn(move |request| {
        let (panel, at) = (Arc::clone(&panel), Arc::clone(&at));
        async move {
            let mut response = panel.answer(request, &at, local).await;
            guard::harden(response.headers_mut());
            Ok::<_, Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::API_IDLE_MS))
        .serve_connection(TokioIo::new(stream), service);
    let strange = async {
        tokio::time::sleep(Duration::from_millis(limits::web::HEAD_MS)).await;
        if !place.is_strange() {
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = place.told_to_leave() => return,
        () = strange => return,
        () = async { drop(stop.wait_for(|stop| *stop).await) } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a browser's connection broke");
    }
}

/// Body of a login.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    token: String,
}

/// Body of what becomes a QR code.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

type Answer = Result<Response<Body>, Box<Problem>>;

impl Panel {
    async fn answer(&self, request: Request<Incoming>, place: &Arc<Place>, local: Option<IpAddr>) -> Response<Body> {
        let path = request.uri().path();
        let page = assets::answer(path, request.headers());
        let names = Names { configured: self.hosts.clone(), local };
        if let Err(problem) = guard::check(&request, &names, page.is_some()) {
            return problem.into_response();
        }
        let reads = request.method() == Method::GET || request.method() == Method::HEAD;
        match page {
            Some(page) if reads => return page.map(Body::new),
            Some(_) => return plain(StatusCode::METHOD_NOT_ALLOWED, "this is only to be read"),
            None => {}
        }
        let answered = match (request.method(), path) {
            (&Method::POST, SESSION) => self.log_in(request).await,
            _ => self.inside(request, place).await,
        };
        answered.unwrap_or_else(|problem| problem.into_response())
    }

    /// A link is followed: its session is opened.
    async fn log_in(&self, request: Request<Incoming>) -> Answer {
        // Behind a proxy that speaks TLS the browser says so, and sends the cookie to nothing else.
        let origin = request.headers().get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let secure = if origin.is_some_and(|origin| origin.starts_with("https://")) { "; Secure" } else { "" };
        let Login { token } = body(request).await?;
        let opened = self.sessions.follow(&token, now_ms()).map_err(|error| {
            let detail = format!("the system gives no random bytes: {error}");
            Box::new(Problem::new(ProblemCode::Internal, detail, "try again"))
        })?;
        let Some(Opened { cookie, key, role }) = opened else {
            let detail = "this link was followed before, or is older than five minutes";
            return Err(Box::new(Problem::new(ProblemCode::LinkOver, detail, "`lbm ctl admin url` prints a new one")));
        };
        self.save().await;
        let mut response = json(&serde_json::json!({ "key": key, "role": role }));
        let cookie = format!(
            "{}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}{secure}",
            self.cookie,
            limits::web::LIFE_MS / 1_000
        );
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// The session that a request shows.
    fn session(&self, request: &Request<Incoming>) -> Option<(Hash, Role)> {
        let given = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut cookies = given.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let (_, cookie) = cookies.find(|(name, _)| *name == self.cookie)?;
        let key = request.headers().get(KEY)?.to_str().ok()?;
        self.sessions.find(cookie, key, !request.headers().contains_key(BY_ITSELF), now_ms())
    }

    /// What needs a session.
    async fn inside(&self, mut request: Request<Incoming>, place: &Arc<Place>) -> Answer {
        let Some((session, role)) = self.session(&request) else {
            let detail = "nobody is logged in here, or no more";
            let remedy = "run `lbm ctl admin url` and open the link that it prints";
            return Err(Box::new(Problem::new(ProblemCode::LoginNeeded, detail, remedy)));
        };
        let busy = place.busy();
        if place.belongs_to(session) && !self.has_room(session) {
            place.belongs_to_nobody();
            let detail = "too many connections to the panel are open";
            return Err(Box::new(Problem::new(ProblemCode::Busy, detail, "close some of its pages, and try again")));
        }
        let path = request.uri().path();
        if path.starts_with("/api/") {
            for name in [COOKIE, HeaderName::from_static(KEY), HeaderName::from_static(BY_ITSELF)] {
                request.headers_mut().remove(name);
            }
            let response = self.api.answer_panel(request, role == Role::Viewer).await;
            return Ok(response.map(|body| Body::new(Held(body, busy))));
        }
        match (request.method(), path) {
            (&Method::GET, SESSION) => Ok(json(&serde_json::json!({ "role": role }))),
            (&Method::DELETE, SESSION) => {
                self.sessions.close(&session);
                self.save().await;
                self.room.let_others_go(session, place);
                let mut response = json(&serde_json::json!({}));
                let gone = format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", self.cookie);
                if let Ok(gone) = HeaderValue::from_str(&gone) {
                    response.headers_mut().insert(SET_COOKIE, gone);
                }
                Ok(response)
            }
            (&Method::POST, QR) => {
                let Text { text } = body(request).await?;
                let rows = qr::rows(&text).ok_or_else(|| {
                    Box::new(Problem::new(ProblemCode::TooLarge, "the text is too long for a code", "copy it instead"))
                })?;
                Ok(json(&serde_json::json!({ "rows": rows })))
            }
            _ => Ok(plain(StatusCode::NOT_FOUND, "there is nothing here: the panel is at /")),
        }
    }

    /// Whether there is a place for one more connection of a session, which is counted already; makes one where somebody idles.
    fn has_room(&self, session: Hash) -> bool {
        let own = |owner: &Option<Hash>| *owner == Some(session);
        if self.room.count(own) > limits::web::SESSION_CONNECTIONS && !self.room.let_idle_go(own) {
            return false;
        }
        let is_full = self.room.count(Option::is_some) > limits::web::CONNECTIONS;
        !is_full || self.room.let_idle_go(Option::is_some)
    }

    /// Ends what is over, with its streams, and writes the rest down.
    fn sweep(self: &Arc<Self>) {
        self.sessions.sweep(now_ms());
        for owner in self.room.owners() {
            if !self.sessions.stands(&owner) {
                self.room.let_all_go(owner);
            }
        }
        let panel = Arc::clone(self);
        tokio::spawn(async move { panel.save().await });
    }

    async fn save(&self) {
        let sessions = self.sessions.clone();
        match tokio::task::spawn_blocking(move || sessions.save()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "whoever is logged in to the panel is not when the daemon starts anew")
            }
            Err(error) => tracing::error!(%error, "writing the sessions down failed"),
        }
    }
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Box<Problem>> {
    let unread = |detail: String| Box::new(Problem::new(ProblemCode::BadRequest, detail, "send what the panel sends"));
    let read = Limited::new(request.into_body(), limits::web::BODY_BYTES).collect().await;
    let read = read.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
        Some(_) => {
            let detail = format!("the body is longer than {} bytes", limits::web::BODY_BYTES);
            Box::new(Problem::new(ProblemCode::TooLarge, detail, "send what the panel sends"))
        }
        None => unread(format!("the body cannot be read: {error}")),
    });
    let bytes = read?.to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| unread(format!("the body is not understood: {error}")))
}

fn json(value: &serde_json::Value) -> Response<Body> {
    axum::Json(value).into_response()
}

fn plain(status: StatusCode, words: &'static str) -> Response<Body> {
    (status, words).into_response()
}
