//! A TCP stream that does not stay silent: what its other end left without a word is an error in bounded time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use libp2p::tcp;
use tokio::time::{Instant, Sleep};

use crate::limits::UNACKNOWLEDGED_MS;

/// A TCP stream that fails when nothing has come for a while.
pub(super) struct Watched {
    stream: tcp::tokio::TcpStream,
    silence: Duration,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    /// Watches a stream that has just come up.
    pub(super) fn new(stream: tcp::tokio::TcpStream, silence: Duration) -> Self {
        // Where the system cannot do it, a request or a ping that nobody answers ends the connection, later.
        #[cfg(target_os = "linux")]
        if let Err(error) =
            socket2::SockRef::from(&stream.0).set_tcp_user_timeout(Some(Duration::from_millis(UNACKNOWLEDGED_MS)))
        {
            tracing::debug!(%error, "the system does not end connections that are dead");
        }
        Self { stream, silence, heard: Instant::now(), alarm: Box::pin(tokio::time::sleep(silence)) }
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buffer) {
            self.heard = Instant::now();
            return Poll::Ready(read);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let until = self.heard + self.silence;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
