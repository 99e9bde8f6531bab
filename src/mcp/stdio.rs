//! The way in over standard input and output: one JSON-RPC message a line.
//!
//! `rmcp` has such a transport; this one answers what that one drops: a line that is no JSON, one that is too long, a second request under
//! an id that is being worked on. Nothing that comes before `initialize` ends it. **It works on [`limits::mcp::REQUESTS`] requests side by side,
//! each until its answer is written, and reads on meanwhile**, so that what is cancelled gives its place back: [`limits::mcp::WAITING`] more wait
//! for a place, and who sends yet another is told to wait. A client that reads no answers is read no further. It ends when its input does,
//! or its parent.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, GetMeta, JsonRpcMessage,
    JsonRpcRequest, ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RoleServer, serve_server_with_ct};
use rmcp::transport::{StdioReader, StdioWriter, Transport, stdio_pipes};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex as Held, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Acting, Server};
use crate::limits;

mod id;

/// Of those that JSON-RPC leaves to servers.
const BUSY: ErrorCode = ErrorCode(-32000);

/// Serves one client on the process's standard streams until it goes away.
///
/// # Errors
/// Where the streams cannot be used.
pub async fn serve(acting: Acting) -> io::Result<()> {
    let (input, output): (StdioReader, StdioWriter) = stdio_pipes();
    let stop = CancellationToken::new();
    let parent = tokio::spawn(parent_gone(stop.clone()));
    let served = serve_server_with_ct(Server::new(acting), Lines::new(input, output), stop).await;
    // That a client went away before it said anything is no failure.
    if let Ok(running) = served {
        running.waiting().await.map_err(io::Error::other)?;
    }
    parent.abort();
    Ok(())
}

/// Stops when the process that started this one is gone: its end of the input may be held open by others.
async fn parent_gone(stop: CancellationToken) {
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        tokio::time::sleep(Duration::from_millis(limits::mcp::PARENT_MS)).await;
    }
    stop.cancel();
}

/// Messages as lines.
struct Lines<R, W> {
    input: BufReader<R>,
    /// What there is of the next line. Kept here, as reading may be given up at any moment and taken up again.
    line: Vec<u8>,
    /// Whether the line was too long: its beginning is in `line`, its end here, and what is between them is thrown away.
    too_long: Option<Vec<u8>>,
    /// Whether the client has begun: with `initialize`, or with a request that needs none.
    has_begun: bool,
    /// Requests that were read and wait for a place, with the bytes that they had.
    waiting: VecDeque<(JsonRpcRequest<ClientRequest>, usize)>,
    /// What can be answered at once, while the client takes its answers.
    quick: Option<Quick>,
    places: Arc<Semaphore>,
    answers: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
    shared: Arc<Shared<W>>,
}

/// What needs no place among those that are worked on.
enum Quick {
    /// An answer of this transport's own.
    Refusal(Box<ServerJsonRpcMessage>),
    /// A request that `rmcp` answers without the daemon.
    Request(Box<JsonRpcRequest<ClientRequest>>),
}

struct Shared<W> {
    output: Held<W>,
    /// Requests that were not answered yet, each with its place; without one, those that wait for it.
    open: Mutex<HashMap<RequestId, Option<OwnedSemaphorePermit>>>,
}

impl<W: AsyncWrite + Unpin + Send> Shared<W> {
    async fn write(&self, message: &ServerJsonRpcMessage) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut output = self.output.lock().await;
        output.write_all(&line).await?;
        output.flush().await
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, Option<OwnedSemaphorePermit>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came in.
enum Came {
    Line,
    TooLong(Vec<u8>),
    /// One of those that waited has a place.
    Place(OwnedSemaphorePermit),
    End,
}

/// What a line is.
enum Judged {
    Message(Box<ClientJsonRpcMessage>),
    Quick(Quick),
    Nothing,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> Lines<R, W> {
    fn new(input: R, output: W) -> Self {
        Self {
            input: BufReader::new(input),
            line: Vec::new(),
            too_long: None,
            has_begun: false,
            waiting: VecDeque::new(),
            quick: None,
            places: Arc::new(Semaphore::new(limits::mcp::REQUESTS)),
            answers: Arc::new(Semaphore::new(limits::mcp::REQUESTS)),
            listeners: Arc::new(Semaphore::new(limits::mcp::REQUESTS)),
            shared: Arc::new(Shared { output: Held::new(output), open: Mutex::default() }),
        }
    }

    /// Reads on to the end of a line, or until what waits has a place. May be dropped at any await without losing a byte.
    async fn read(&mut self) -> Came {
        let places = Arc::clone(&self.places);
        loop {
            let bytes = tokio::select! {
                bytes = self.input.fill_buf() => bytes,
                place = Arc::clone(&places).acquire_owned(), if !self.waiting.is_empty() => match place {
                    Ok(place) => return Came::Place(place),
                    Err(_) => return Came::End,
                },
            };
            let Ok(bytes) = bytes else { return Came::End };
            if bytes.is_empty() {
                return Came::End;
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            let part = bytes.get(..taken).unwrap_or_default();
            if self.too_long.is_none() && self.line.len() + taken > limits::mcp::LINE_BYTES {
                self.line.truncate(limits::mcp::LINE_END_BYTES);
                self.line.shrink_to_fit();
                self.too_long = Some(Vec::new());
            }
            match &mut self.too_long {
                None => self.line.extend_from_slice(part),
                Some(tail) => {
                    tail.extend_from_slice(part);
                    tail.drain(..tail.len().saturating_sub(limits::mcp::LINE_END_BYTES));
                }
            }
            self.input.consume(taken);
            if end.is_some() {
                return self.too_long.take().map_or(Came::Line, Came::TooLong);
            }
        }
    }

    /// What to do with a line.
    fn judge(&mut self, line: &[u8]) -> Judged {
        if line.trim_ascii().is_empty() {
            return Judged::Nothing;
        }
        let message = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(error) => return refused(refusal(line, &error)),
        };
        let passed = |message| if self.has_begun { Judged::Message(Box::new(message)) } else { Judged::Nothing };
        match message {
            JsonRpcMessage::Request(request) => self.request(request, line.len()),
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.waiting.retain(|(request, _)| request.id != *id);
                    drop(self.shared.open().remove(id));
                }
                passed(JsonRpcMessage::Notification(notification))
            }
            answered => passed(answered),
        }
    }

    /// Gives a request a place, or lets it wait for one.
    fn request(&mut self, request: JsonRpcRequest<ClientRequest>, bytes: usize) -> Judged {
        let mut open = self.shared.open();
        if open.contains_key(&request.id) {
            let words = "another request of this id is being worked on: give each its own";
            return refused(answer(ErrorCode::INVALID_REQUEST, words, Some(request.id)));
        }
        let waiting: usize = self.waiting.iter().map(|(_, bytes)| bytes).sum();
        let place = match &request.request {
            ClientRequest::PingRequest(_) => {
                drop(open);
                return Judged::Quick(Quick::Request(Box::new(request)));
            }
            ClientRequest::SubscriptionsListenRequest(_) => Arc::clone(&self.listeners).try_acquire_owned().ok(),
            _ if self.waiting.is_empty() => Arc::clone(&self.places).try_acquire_owned().ok(),
            _ => None,
        };
        let is_listener = matches!(request.request, ClientRequest::SubscriptionsListenRequest(_));
        let has_room = self.waiting.is_empty()
            || (self.waiting.len() < limits::mcp::WAITING && waiting + bytes <= limits::mcp::WAITING_BYTES);
        if place.is_none() && (is_listener || !has_room) {
            let words =
                "busy: too many requests are being worked on; wait for answers, or cancel some, then send it again";
            return refused(answer(BUSY, words, Some(request.id)));
        }
        self.has_begun |= begins(&request.request);
        let has_place = place.is_some();
        open.insert(request.id.clone(), place);
        drop(open);
        if has_place {
            return Judged::Message(Box::new(JsonRpcMessage::Request(request)));
        }
        self.waiting.push_back((request, bytes));
        Judged::Nothing
    }

    /// What needs no place is done as soon as the client takes its answers; nothing more is read before.
    async fn quickly(&mut self) -> Option<ClientJsonRpcMessage> {
        let place = Arc::clone(&self.answers).acquire_owned().await.ok()?;
        match self.quick.take()? {
            Quick::Refusal(refusal) => {
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    let written = shared.write(&refusal).await;
                    drop(place);
                    written
                });
                None
            }
            Quick::Request(request) => {
                self.has_begun |= begins(&request.request);
                self.shared.open().insert(request.id.clone(), Some(place));
                Some(JsonRpcMessage::Request(*request))
            }
        }
    }
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> Transport<RoleServer> for Lines<R, W> {
    type Error = io::Error;

    fn send(&mut self, message: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            let id = match &message {
                JsonRpcMessage::Response(response) => Some(&response.id),
                JsonRpcMessage::Error(error) => error.id.as_ref(),
                _ => None,
            };
            let place = id.and_then(|id| shared.open().remove(id));
            let written = shared.write(&message).await;
            // Only now: what a client does not read must not pile up.
            drop(place);
            written
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if self.quick.is_some()
                && let Some(message) = self.quickly().await
            {
                return Some(message);
            }
            let judged = match self.read().await {
                Came::End => return None,
                Came::Place(place) => match self.waiting.pop_front() {
                    Some((request, _)) => {
                        self.shared.open().insert(request.id.clone(), Some(place));
                        Judged::Message(Box::new(JsonRpcMessage::Request(request)))
                    }
                    None => Judged::Nothing,
                },
                Came::TooLong(tail) => {
                    let head = std::mem::take(&mut self.line);
                    let words = format!("a line may have {} bytes: send less at once", limits::mcp::LINE_BYTES);
                    refused(answer(
                        ErrorCode::INVALID_REQUEST,
                        words,
                        id::at_begin(&head).or_else(|| id::at_end(&tail)),
                    ))
                }
                Came::Line => {
                    let line = std::mem::take(&mut self.line);
                    self.judge(&line)
                }
            };
            match judged {
                Judged::Message(message) => return Some(*message),
                Judged::Quick(quick) => self.quick = Some(quick),
                Judged::Nothing => {}
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.shared.output.lock().await.flush().await
    }
}

const fn refused(refusal: Box<ServerJsonRpcMessage>) -> Judged {
    Judged::Quick(Quick::Refusal(refusal))
}

/// Whether `rmcp` takes everything after this request.
fn begins(request: &ClientRequest) -> bool {
    match request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_) => false,
        other => {
            let meta = other.get_meta();
            let is_known = |version| ProtocolVersion::KNOWN_VERSIONS.contains(&version);
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && meta.protocol_version().is_some_and(is_known)
        }
    }
}

/// What to answer to a line that is no message (JSON-RPC 2.0 §5.1).
fn refusal(line: &[u8], error: &serde_json::Error) -> Box<ServerJsonRpcMessage> {
    match serde_json::from_slice::<Value>(line) {
        Err(error) => answer(ErrorCode::PARSE_ERROR, format!("not JSON: {error}"), id::at_begin(line)),
        Ok(Value::Array(_)) => {
            answer(ErrorCode::INVALID_REQUEST, "batches are not taken: send each message on a line of its own", None)
        }
        Ok(value) => {
            let id = value.get("id").and_then(|id| serde_json::from_value(id.clone()).ok());
            let is_call = value.get("jsonrpc").is_some_and(|version| version == "2.0") && value.get("method").is_some();
            let code = if is_call { ErrorCode::INVALID_PARAMS } else { ErrorCode::INVALID_REQUEST };
            answer(code, format!("not a message of the protocol: {error}"), id)
        }
    }
}

fn answer(
    code: ErrorCode,
    words: impl Into<std::borrow::Cow<'static, str>>,
    id: Option<RequestId>,
) -> Box<ServerJsonRpcMessage> {
    Box::new(ServerJsonRpcMessage::error(ErrorData::new(code, words, None), id))
}
