//! Streams of server-sent events, read one by one.

use std::marker::PhantomData;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::connection::Connection;
use super::{BrokenAnswer, ClientError};
use crate::limits;

/// Cuts bytes into the `data` of server-sent events (WHATWG HTML §9.2.6). Comments and the fields `event`, `id` and `retry`
/// are skipped: our events carry all they say in `data`.
#[derive(Debug, Default)]
struct Decoder {
    bytes: Vec<u8>,
    /// Up to where `bytes` was searched for a line's end.
    searched: usize,
    data: Vec<u8>,
    has_data: bool,
}

impl Decoder {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The data of the next whole event.
    fn next(&mut self) -> Result<Option<Vec<u8>>, BrokenAnswer> {
        loop {
            let Some(end) = self.bytes[self.searched..].iter().position(|&byte| byte == b'\n') else {
                self.searched = self.bytes.len();
                return self.bounded().map(|()| None);
            };
            let rest = self.bytes.split_off(self.searched + end + 1);
            let line = std::mem::replace(&mut self.bytes, rest);
            self.searched = 0;
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() && self.has_data {
                self.has_data = false;
                return Ok(Some(std::mem::take(&mut self.data)));
            }
            if let Some(value) = line.strip_prefix(b"data:") {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.bounded()?;
            }
        }
    }

    const fn bounded(&self) -> Result<(), BrokenAnswer> {
        if self.bytes.len() + self.data.len() > limits::API_EVENT_BYTES {
            return Err(BrokenAnswer::TooLarge { limit_bytes: limits::API_EVENT_BYTES });
        }
        Ok(())
    }
}

/// A stream of events of one type. Dropping it closes its connection, which tells the daemon.
#[derive(Debug)]
pub struct EventStream<T> {
    route: String,
    body: Incoming,
    decoder: Decoder,
    _connection: Connection,
    _item: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> EventStream<T> {
    pub(super) fn new(route: String, body: Incoming, connection: Connection) -> Self {
        Self { route, body, decoder: Decoder::default(), _connection: connection, _item: PhantomData }
    }

    /// The next event; nothing at the end. May be dropped while it waits without losing an event.
    ///
    /// # Errors
    /// Where the connection broke, or an event cannot be read.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(data) = self.decoder.next().map_err(|source| self.broken(source))? {
                return serde_json::from_slice(&data).map(Some).map_err(|error| self.broken(error.into()));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(source)) => return Err(ClientError::Cut { route: self.route.clone(), source }),
                Some(Ok(frame)) => {
                    if let Some(bytes) = frame.data_ref() {
                        self.decoder.push(bytes);
                    }
                }
            }
        }
    }

    fn broken(&self, source: BrokenAnswer) -> ClientError {
        ClientError::Broken { route: self.route.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&str]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for chunk in chunks {
            decoder.push(chunk.as_bytes());
            while let Some(data) = decoder.next().unwrap() {
                found.push(String::from_utf8(data).unwrap());
            }
        }
        found
    }

    #[test]
    fn events_are_cut_wherever_the_bytes_are() {
        let stream = ": hello\n\nevent: x\nid: 7\ndata: {\"a\":1}\n\ndata:two\ndata: lines\n\nretry: 3\n\ndata: crlf\r\n\r\ndata: cut";
        let expected = ["{\"a\":1}", "two\nlines", "crlf"];
        assert_eq!(decode(&[stream]), expected);
        for at in 1..stream.len() {
            assert_eq!(decode(&[&stream[..at], &stream[at..]]), expected, "cut at {at}");
        }
        let bytes: Vec<_> = stream.split("").filter(|byte| !byte.is_empty()).collect();
        assert_eq!(decode(&bytes), expected);
    }

    #[test]
    fn an_endless_event_is_refused() {
        for chunk in ["data: xxxxxxxxxxxxxxx", "data: xxxxxxxxxxxxxx\n", "\u{FFFD}xxxxxxxxxxxxxxxxx"] {
            let mut decoder = Decoder::default();
            let refused = (0..limits::API_EVENT_BYTES).any(|_| {
                decoder.push(chunk.as_bytes());
                decoder.next().is_err()
            });
            assert!(refused, "{chunk:?}");
        }
    }
}
