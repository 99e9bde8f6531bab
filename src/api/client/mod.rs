//! The client of the daemon's API: the only way in for the command line, MCP and the panel's tools.
//!
//! Owns the connection to the local socket, one typed method per route, and the error that says whether there is no daemon,
//! somebody else's, one that refused, or one of another version. **It never repeats what may have taken effect**, reads no
//! more of an answer than `limits::API_ANSWER_BYTES`, and waits no longer than the route's pace says.

mod connection;
mod download;
mod error;
mod events;
mod methods;
mod reserve;

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::{Request, Response, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use download::Download;
pub use error::{BrokenAnswer, ClientError};
pub use events::EventStream;

use self::connection::{Connection, Pool};
use super::routes::{Pace, Route};
use super::types::Problem;
use super::{AGENT_HEADER, AGENT_ID_HEADER, BACKUP_MEDIA_TYPE, EVENT_MEDIA_TYPE, ONCE_HEADER, VERSION, VERSION_HEADER};
use crate::identity::{AgentName, Identity};
use crate::limits;

/// A client of one daemon. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
    /// The agent in whose name it asks.
    agent: Option<AgentName>,
    /// Who that is, from the daemon's first answer on: no other that comes to have the name.
    agent_id: Arc<OnceLock<HeaderValue>>,
    /// The name that was chosen for its writes, where one was.
    once: Option<Arc<str>>,
}

#[derive(Debug)]
struct Shared {
    pool: Pool,
    /// The daemon's version, from its first answer.
    version: OnceLock<String>,
}

/// A request without a body.
struct NoBody;

impl Serialize for NoBody {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl Client {
    /// A client of the daemon that serves the data folder `data`. Connects with the first request.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        let shared = Arc::new(Shared { pool: Pool::new(data), version: OnceLock::new() });
        Self { shared, agent: None, agent_id: Arc::default(), once: None }
    }

    /// The same client, in the name of an agent of the daemon's node: of the one that has the name when the daemon is first asked.
    #[must_use]
    pub fn as_agent(self, name: AgentName) -> Self {
        Self { agent: Some(name), agent_id: Arc::default(), ..self }
    }

    /// The same, of an agent that is known.
    #[must_use]
    pub fn as_this_agent(self, name: AgentName, identity: &Identity) -> Self {
        let client = self.as_agent(name);
        if let Ok(id) = HeaderValue::from_str(&identity.to_string()) {
            client.agent_id.get_or_init(|| id);
        }
        client
    }

    /// The same client, whose write is done once however often it is sent with this key: visible ASCII characters.
    #[must_use]
    pub fn once(&self, key: &str) -> Self {
        Self { once: Some(key.into()), ..self.clone() }
    }

    /// The daemon's version where it is not this build's, for a warning. Known after the first answer.
    #[must_use]
    pub fn other_version(&self) -> Option<&str> {
        self.shared.version.get().map(String::as_str).filter(|&version| version != VERSION)
    }

    /// Asks a route without a body, with its parameters and query.
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        route: &'static Route,
        parameters: &[&str],
        query: &Q,
    ) -> Result<A, ClientError> {
        self.call(route, parameters, query, None::<&NoBody>).await
    }

    /// Sends a body to a route.
    async fn tell<B: Serialize, A: DeserializeOwned>(
        &self,
        route: &'static Route,
        parameters: &[&str],
        body: &B,
    ) -> Result<A, ClientError> {
        self.call(route, parameters, &(), Some(body)).await
    }

    async fn call<Q: Serialize, B: Serialize, A: DeserializeOwned>(
        &self,
        route: &'static Route,
        parameters: &[&str],
        query: &Q,
        body: Option<&B>,
    ) -> Result<A, ClientError> {
        let target = Target::new(route, parameters, query)?;
        let request = target.request(body)?;
        let timeout_ms = if route.pace == Pace::Quick { limits::API_TIMEOUT_MS } else { limits::API_SLOW_TIMEOUT_MS };
        let answer = async {
            let (response, connection) = self.send(&target, request).await?;
            let (response, body) = self.read(&target, response, connection).await?;
            if response.status.is_success() {
                serde_json::from_slice(&body).map_err(|error| target.broken(error.into()))
            } else {
                Err(target.refusal(&response, &body))
            }
        };
        target.within(timeout_ms, answer).await
    }

    /// Opens a stream of bytes.
    async fn download(&self, route: &'static Route) -> Result<Download, ClientError> {
        let target = Target::new(route, &[], &())?;
        let request = target.request(Some(&NoBody))?;
        let (response, connection) = self.head(&target, request).await?;
        target.is_of(&response, BACKUP_MEDIA_TYPE)?;
        Ok(Download::new(target.name(), response.into_body(), connection))
    }

    /// Sends a request whose answer is a stream; a refusal is read to its end.
    async fn head(
        &self,
        target: &Target,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        let head = async {
            let (response, connection) = self.send(target, request).await?;
            if response.status().is_success() {
                return Ok((response, connection));
            }
            let (response, body) = self.read(target, response, connection).await?;
            Err(target.refusal(&response, &body))
        };
        target.within(limits::API_TIMEOUT_MS, head).await
    }

    /// Opens a stream of events.
    async fn follow<Q: Serialize, B: Serialize, T: DeserializeOwned>(
        &self,
        route: &'static Route,
        parameters: &[&str],
        query: &Q,
        body: Option<&B>,
    ) -> Result<EventStream<T>, ClientError> {
        let target = Target::new(route, parameters, query)?;
        let request = target.request(body)?;
        let (response, connection) = self.head(&target, request).await?;
        target.is_of(&response, EVENT_MEDIA_TYPE)?;
        Ok(EventStream::new(target.name(), response.into_body(), connection))
    }

    async fn send(
        &self,
        target: &Target,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        if let Some(Ok(name)) = self.agent.as_ref().map(|name| HeaderValue::from_str(name.as_str())) {
            request.headers_mut().insert(AGENT_HEADER, name);
            if let Some(id) = self.agent_id.get() {
                request.headers_mut().insert(AGENT_ID_HEADER, id.clone());
            }
        }
        if let Some(Ok(key)) = self.once.as_ref().map(|key| HeaderValue::from_str(key)) {
            request.headers_mut().insert(ONCE_HEADER, key);
        }
        let until = Instant::now() + Duration::from_millis(limits::API_FULL_MS);
        let (response, connection) = loop {
            let (response, connection) = self.shared.pool.send(&target.name(), copy_of(&request)).await?;
            let is_full = response.headers().contains_key(header::RETRY_AFTER);
            if !is_full || Instant::now() >= until {
                break (response, connection);
            }
            // Nothing was done.
            tokio::time::sleep(Duration::from_millis(limits::API_FULL_RETRY_MS)).await;
        };
        if let (Some(_), Some(id)) = (&self.agent, response.headers().get(AGENT_ID_HEADER)) {
            self.agent_id.get_or_init(|| id.clone());
        }
        if let Some(version) = response.headers().get(VERSION_HEADER).and_then(|value| value.to_str().ok()) {
            self.shared.version.get_or_init(|| version.to_owned());
        }
        Ok((response, connection))
    }

    async fn read(
        &self,
        target: &Target,
        response: Response<Incoming>,
        connection: Connection,
    ) -> Result<(hyper::http::response::Parts, Bytes), ClientError> {
        let limit_bytes = limits::API_ANSWER_BYTES;
        let (head, body) = response.into_parts();
        if body.size_hint().lower() > limit_bytes as u64 {
            return Err(target.broken(BrokenAnswer::TooLarge { limit_bytes }));
        }
        let body = Limited::new(body, limit_bytes).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(source) => ClientError::Cut { route: target.name(), source: *source },
                Err(error) => {
                    debug_assert!(error.is::<LengthLimitError>(), "the only other error of `Limited`");
                    target.broken(BrokenAnswer::TooLarge { limit_bytes })
                }
            }
        })?;
        self.shared.pool.give_back(connection).await;
        Ok((head, body.to_bytes()))
    }
}

/// The same request once more.
fn copy_of(request: &Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let mut copy = Request::new(request.body().clone());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// What one request is for.
struct Target {
    route: &'static Route,
    path_and_query: String,
}

impl Target {
    fn new<Q: Serialize>(route: &'static Route, parameters: &[&str], query: &Q) -> Result<Self, ClientError> {
        debug_assert_eq!(parameters.len(), route.parameters(), "{}", route.path);
        let mut path_and_query = route.fill(parameters);
        let query = serde_urlencoded::to_string(query)
            .map_err(|error| ClientError::Request { route: route.path.to_owned(), detail: error.to_string() })?;
        if !query.is_empty() {
            path_and_query.push('?');
            path_and_query.push_str(&query);
        }
        Ok(Self { route, path_and_query })
    }

    fn name(&self) -> String {
        format!("{} {}", self.route.method, self.route.path)
    }

    fn request<B: Serialize>(&self, body: Option<&B>) -> Result<Request<Full<Bytes>>, ClientError> {
        let unwritable = |detail: String| ClientError::Request { route: self.name(), detail };
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| unwritable(error.to_string()))?,
            None => Vec::new(),
        };
        let limit_bytes = limits::API_BODY_BYTES;
        if bytes.len() > limit_bytes {
            return Err(ClientError::RequestTooLarge { route: self.name(), bytes: bytes.len(), limit_bytes });
        }
        let mut request = Request::builder()
            .method(self.route.method.clone())
            .uri(&self.path_and_query)
            .header(header::HOST, "lbm")
            .header(VERSION_HEADER, VERSION);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::from(bytes)).map_err(|error| unwritable(error.to_string()))
    }

    async fn within<A>(
        &self,
        timeout_ms: u64,
        answer: impl Future<Output = Result<A, ClientError>>,
    ) -> Result<A, ClientError> {
        tokio::time::timeout(Duration::from_millis(timeout_ms), answer)
            .await
            .unwrap_or_else(|_| Err(ClientError::Timeout { route: self.name(), timeout_s: timeout_ms / 1000 }))
    }

    fn is_of(&self, response: &Response<Incoming>, media_type: &str) -> Result<(), ClientError> {
        let found = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match found.unwrap_or_default() {
            found if found.starts_with(media_type) => Ok(()),
            found => Err(self.broken(BrokenAnswer::NoStream { found: found.to_owned() })),
        }
    }

    fn broken(&self, source: BrokenAnswer) -> ClientError {
        ClientError::Broken { route: self.name(), source }
    }

    fn refusal(&self, head: &hyper::http::response::Parts, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => self.broken(BrokenAnswer::NoReason { status: head.status.as_u16() }),
        }
    }
}

#[cfg(test)]
mod tests;
