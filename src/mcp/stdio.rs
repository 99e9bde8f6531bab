//! The way in over standard input and output: one JSON-RPC message a line.
//!
//! `rmcp` has such a transport; this one answers what that one drops: a line that is no JSON, one that is too long, a second request under
//! an id that is being worked on. Nothing that comes before `initialize` ends it. **It works on [`limits::mcp::REQUESTS`] requests side by side and
//! reads no further meanwhile**, and it ends when its input does, or its parent.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, GetExtensions, GetMeta,
    JsonRpcMessage, ProtocolVersion, RequestId, ServerJsonRpcMessage,
};
use rmcp::service::{RoleServer, serve_server_with_ct};
use rmcp::transport::{StdioReader, StdioWriter, Transport, stdio_pipes};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex as Held, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{Acting, Server};
use crate::limits;

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
    /// Whether the line was too long: the rest of it is thrown away.
    is_too_long: bool,
    /// Whether the client has begun: with `initialize`, or with a request that needs none.
    has_begun: bool,
    room: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    output: Held<W>,
    /// Requests that were not answered yet.
    open: Mutex<HashSet<RequestId>>,
}

impl<W: AsyncWrite + Unpin + Send> Shared<W> {
    async fn write(&self, message: &ServerJsonRpcMessage) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let mut output = self.output.lock().await;
        output.write_all(&line).await?;
        output.flush().await
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashSet<RequestId>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came in.
enum Came {
    Line,
    TooLong,
    End,
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> Lines<R, W> {
    fn new(input: R, output: W) -> Self {
        Self {
            input: BufReader::new(input),
            line: Vec::new(),
            is_too_long: false,
            has_begun: false,
            room: Arc::new(Semaphore::new(limits::mcp::REQUESTS)),
            place: None,
            shared: Arc::new(Shared { output: Held::new(output), open: Mutex::default() }),
        }
    }

    /// Reads on to the end of a line. May be dropped at any await without losing a byte.
    async fn read(&mut self) -> Came {
        loop {
            let Ok(bytes) = self.input.fill_buf().await else { return Came::End };
            if bytes.is_empty() {
                return Came::End;
            }
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(bytes.len(), |end| end + 1);
            self.is_too_long |= self.line.len() + taken > limits::mcp::LINE_BYTES;
            if self.is_too_long {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
            }
            self.input.consume(taken);
            if end.is_some() {
                return if std::mem::take(&mut self.is_too_long) { Came::TooLong } else { Came::Line };
            }
        }
    }

    /// A message that is to be worked on, or what to answer instead, or nothing where there is nothing to say.
    fn judge(&mut self, line: &[u8]) -> Result<Option<ClientJsonRpcMessage>, Box<ServerJsonRpcMessage>> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let message = serde_json::from_slice(line).map_err(|error| refusal(line, &error))?;
        match message {
            JsonRpcMessage::Request(mut request) => {
                if !self.shared.open().insert(request.id.clone()) {
                    let words = "another request of this id is being worked on: give each its own";
                    return Err(answer(ErrorCode::INVALID_REQUEST, words, Some(request.id)));
                }
                self.has_begun |= begins(&request.request);
                if !matches!(request.request, ClientRequest::SubscriptionsListenRequest(_)) {
                    // Given back when the request was worked on.
                    request.request.extensions_mut().insert(self.place.take().map(Arc::new));
                }
                Ok(Some(JsonRpcMessage::Request(request)))
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = &cancelled.params.request_id
                {
                    self.shared.open().remove(id);
                }
                Ok(Some(JsonRpcMessage::Notification(notification)).filter(|_| self.has_begun))
            }
            answered => Ok(Some(answered).filter(|_| self.has_begun)),
        }
    }
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send + 'static> Transport<RoleServer> for Lines<R, W> {
    type Error = io::Error;

    fn send(&mut self, message: ServerJsonRpcMessage) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move {
            match &message {
                JsonRpcMessage::Response(response) => drop(shared.open().remove(&response.id)),
                JsonRpcMessage::Error(error) => drop(error.id.as_ref().map(|id| shared.open().remove(id))),
                _ => {}
            }
            shared.write(&message).await
        }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if self.place.is_none() {
                self.place = Arc::clone(&self.room).acquire_owned().await.ok();
            }
            let judged = match self.read().await {
                Came::End => return None,
                Came::TooLong => {
                    let words = format!("a line may have {} bytes: send less at once", limits::mcp::LINE_BYTES);
                    Err(answer(ErrorCode::INVALID_REQUEST, words, None))
                }
                Came::Line => {
                    let line = std::mem::take(&mut self.line);
                    self.judge(&line)
                }
            };
            match judged {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(refusal) => {
                    // On its own, as this may be given up while it waits.
                    let shared = Arc::clone(&self.shared);
                    tokio::spawn(async move { shared.write(&refusal).await });
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.shared.output.lock().await.flush().await
    }
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
        Err(error) => answer(ErrorCode::PARSE_ERROR, format!("not JSON: {error}"), None),
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
