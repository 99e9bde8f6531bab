//! Connections to the daemon's socket: opening one, and keeping a few for the next requests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::ClientError;
use crate::api::socket_path;
use crate::limits;

/// One HTTP/1.1 connection, ready for one request at a time.
pub(super) type Connection = SendRequest<Full<Bytes>>;

/// Opens connections, and keeps those that were read to the end.
///
/// HTTP/1.1 carries one request at a time, so requests side by side have a connection each; at most
/// `limits::API_IDLE_CONNECTIONS` are kept.
#[derive(Debug)]
pub(super) struct Pool {
    data: PathBuf,
    socket: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub(super) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), socket: socket_path(data), idle: Mutex::new(Vec::new()) }
    }

    /// Sends a request and gives its answer's head with the connection that it came on.
    ///
    /// A kept connection may have been closed by the daemon meanwhile. What was never written goes out again on another
    /// one; what may have been read is not repeated.
    pub(super) async fn send(
        &self,
        route: &str,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Connection), ClientError> {
        loop {
            let kept = self.take();
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.open().await?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if was_kept => request = unsent,
                    _ => return Err(ClientError::Cut { route: route.to_owned(), source: failed.into_error() }),
                },
            }
        }
    }

    /// Keeps a connection whose answer was read to the end.
    pub(super) async fn give_back(&self, mut connection: Connection) {
        if connection.ready().await.is_ok() {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < limits::API_IDLE_CONNECTIONS {
                idle.push(connection);
            }
        }
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| connection.is_ready());
        idle.pop()
    }

    /// Kept connections that still stand.
    #[cfg(test)]
    pub(super) fn idle_connections(&self) -> usize {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter().filter(|connection| connection.is_ready()).count()
    }

    async fn open(&self) -> Result<Connection, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| self.explain(source))?;
        self.check_owner(&stream)?;
        let (connection, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ClientError::Cut { route: "connect".to_owned(), source })?;
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "a connection to the daemon ended");
            }
        });
        Ok(connection)
    }

    /// Refuses a socket that somebody else serves: it could be laid out to catch what we write.
    fn check_owner(&self, stream: &UnixStream) -> Result<(), ClientError> {
        let connect = |source| ClientError::Connect { socket: self.socket.clone(), source };
        let server = stream.peer_cred().map_err(connect)?.uid();
        let (mine, _other_end) = UnixStream::pair().map_err(connect)?;
        let me = mine.peer_cred().map_err(connect)?.uid();
        if server == me || server == 0 || me == 0 {
            Ok(())
        } else {
            Err(ClientError::OtherUser { socket: self.socket.clone() })
        }
    }

    fn explain(&self, source: io::Error) -> ClientError {
        match source.kind() {
            io::ErrorKind::NotFound if !self.data.exists() => ClientError::NoData { data: self.data.clone() },
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoDaemon { data: self.data.clone() }
            }
            io::ErrorKind::PermissionDenied => ClientError::OtherUser { socket: self.socket.clone() },
            io::ErrorKind::InvalidInput => ClientError::PathTooLong { socket: self.socket.clone() },
            _ => ClientError::Connect { socket: self.socket.clone(), source },
        }
    }
}
