//! The transports: TCP with Noise and Yamux, and QUIC.
//!
//! **A connection that is to be closed is gone within `CLOSE_MS`.** Closing politely means writing, and on a connection
//! whose other end has vanished with our buffers full a write waits for minutes; all that time libp2p would hold the peer
//! for connected, send requests into the void, and refuse to dial.
//!
//! **A connection whose other end is gone is an error within `UNACKNOWLEDGED_MS` where anything was sent, within `SILENCE_MS` where nothing
//! was.** Over TCP the first is the system's doing (Linux; elsewhere a request or a ping that nobody answers ends it), the second is [`Watched`]'s;
//! QUIC has its own clock for both.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::io::{AsyncRead, AsyncWrite};
use libp2p::core::Transport as _;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, quic, tcp, yamux};
use tokio::time::{Instant, Sleep};

use crate::limits::{
    CLOSE_MS, CONNECT_MS, HANDSHAKE_MS, QUIC_KEEP_ALIVE_MS, STREAMS_PER_CONNECTION, UNACKNOWLEDGED_MS,
};

/// Streams of one connection in the multiplexer: our requests, and room for identify, ping and streams that close.
const MUXED_STREAMS: usize = 4 * STREAMS_PER_CONNECTION;

/// Both transports in one. A TCP connection that brings nothing for as long as `silence` is closed.
pub(super) fn transport(key: &Keypair, silence: Duration) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MUXED_STREAMS);
    let sockets = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let tcp = TransportTimeout::new(sockets, Duration::from_millis(CONNECT_MS))
        .map_err(|error| match error {
            TransportTimeoutError::Timeout => System(io::ErrorKind::TimedOut.into()),
            TransportTimeoutError::TimerError(error) | TransportTimeoutError::Other(error) => System(error),
        })
        .map(move |stream, _| Watched::new(stream, silence))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(muxer)
        .timeout(Duration::from_millis(HANDSHAKE_MS))
        .map_err(|error| match error {
            TransportTimeoutError::Timeout => io::ErrorKind::TimedOut.into(),
            other => of_system(other),
        })
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let mut config = quic::Config::new(key);
    config.max_idle_timeout = u32::try_from(UNACKNOWLEDGED_MS).unwrap_or(u32::MAX);
    config.keep_alive_interval = Duration::from_millis(QUIC_KEEP_ALIVE_MS);
    config.max_concurrent_stream_limit = u32::try_from(MUXED_STREAMS).unwrap_or(u32::MAX);
    let quic = quic::tokio::Transport::new(config)
        .map_err(|error| match error {
            quic::Error::HandshakeTimedOut => io::ErrorKind::TimedOut.into(),
            quic::Error::Io(error) => error,
            other => io::Error::other(other),
        })
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let both = tcp.or_transport(quic).map_err(|either| either.into_inner()).map(|either, _| {
        let (peer, muxer) = either.into_inner();
        (peer, StreamMuxerBox::new(Impatient { muxer, deadline: None }))
    });
    Ok(both.boxed())
}

/// An error of the system's sockets, marked so that it is found below libp2p's wrappings: some of them name as their
/// source the source of what they wrap, and would leave out a bare [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct System(#[source] io::Error);

/// An error with the system's kind, where the system is its cause.
fn of_system(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(kind_of(&error).unwrap_or(io::ErrorKind::Other), error)
}

/// The system's kind of error below libp2p's wrappings; `None` where a peer or a protocol is the cause.
pub(super) fn kind_of(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<io::Error>() {
            Some(io) if io.kind() != io::ErrorKind::Other => return Some(io.kind()),
            // `source` of a wrapping `io::Error` leaves out what it wraps.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// A TCP stream that fails when nothing has come for a while.
struct Watched {
    stream: tcp::tokio::TcpStream,
    silence: Duration,
    heard: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(stream: tcp::tokio::TcpStream, silence: Duration) -> Self {
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
            // Pushed on in time it never goes off on a connection that lives: that would wake Yamux, which would ping.
            if self.alarm.deadline() < self.heard + self.silence * 9 / 10 {
                let until = self.heard + self.silence;
                self.alarm.as_mut().reset(until);
            }
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

/// A multiplexer that closes in bounded time.
struct Impatient {
    muxer: StreamMuxerBox,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl StreamMuxer for Impatient {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(closed) = Pin::new(&mut self.muxer).poll_close(cx) {
            return Poll::Ready(closed);
        }
        let late = || Box::pin(tokio::time::sleep(Duration::from_millis(CLOSE_MS)));
        let deadline = self.deadline.get_or_insert_with(late);
        deadline.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}
