//! An answer of any length, piece by piece.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};

use super::ClientError;
use super::connection::Connection;
use crate::limits;

/// Bytes as they come. Dropping it closes its connection, which tells the daemon.
#[derive(Debug)]
pub struct Download {
    route: String,
    body: Incoming,
    _connection: Connection,
}

impl Download {
    pub(super) const fn new(route: String, body: Incoming, connection: Connection) -> Self {
        Self { route, body, _connection: connection }
    }

    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// Where the connection broke or the daemon broke off, or nothing came within `limits::API_TIMEOUT_MS`.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(Duration::from_millis(limits::API_TIMEOUT_MS), self.body.frame()).await;
            match frame {
                Err(_) => {
                    return Err(ClientError::Timeout {
                        route: self.route.clone(),
                        timeout_s: limits::API_TIMEOUT_MS / 1000,
                    });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(source))) => return Err(ClientError::Cut { route: self.route.clone(), source }),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}
