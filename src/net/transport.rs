//! The transports: TCP with Noise and Yamux, and QUIC.
//!
//! **The streams of strangers are taken up at the pace of [`Pace`].** **A connection that is to be closed is gone within `CLOSE_MS`.** Closing politely means writing, and on a connection
//! whose other end has vanished with our buffers full a write waits for minutes; all that time libp2p would hold the peer
//! for connected, send requests into the void, and refuse to dial.

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use libp2p::core::Transport as _;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::TransportTimeoutError;
use libp2p::core::upgrade::{NegotiationError, ProtocolError, Version};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, quic, tcp, yamux};
use tokio::time::Sleep;

use super::address::host;
use super::pace::Pace;
use crate::limits::{CLOSE_MS, HANDSHAKE_MS, STREAMS_PER_CONNECTION};

/// Streams of one connection in the multiplexer: our requests, and room for identify, ping and streams that close.
const MUXED_STREAMS: usize = 4 * STREAMS_PER_CONNECTION;

/// Both transports in one.
pub(super) fn transport(key: &Keypair, pace: Arc<Pace>) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let mut muxer = yamux::Config::default();
    muxer.set_max_num_streams(MUXED_STREAMS);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .map_err(System)
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
    config.max_concurrent_stream_limit = u32::try_from(MUXED_STREAMS).unwrap_or(u32::MAX);
    let quic = quic::tokio::Transport::new(config)
        .map_err(|error| match error {
            quic::Error::HandshakeTimedOut => io::ErrorKind::TimedOut.into(),
            quic::Error::Io(error) => error,
            other => io::Error::other(other),
        })
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));

    let both = tcp.or_transport(quic).map_err(|either| either.into_inner()).map(move |either, point| {
        let (peer, muxer) = either.into_inner();
        let host = host(point.get_remote_address()).unwrap_or(IpAddr::from([0; 4]));
        let turn = Turn { pace: Arc::clone(&pace), peer, host, is_mine: false, wait: None };
        (peer, StreamMuxerBox::new(Bounded { muxer, deadline: None, turn }))
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
        // These two leave out a bare `io::Error` as well.
        let left_out = match (error.downcast_ref(), error.downcast_ref()) {
            (Some(noise::Error::Io(io)), _) => Some(io),
            (_, Some(NegotiationError::ProtocolError(ProtocolError::IoError(io)))) => Some(io),
            _ => error.downcast_ref::<io::Error>(),
        };
        next = match left_out {
            Some(io) if io.kind() != io::ErrorKind::Other => return Some(io.kind()),
            // `source` of a wrapping `io::Error` leaves out what it wraps.
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// When the next stream of a peer is taken up.
struct Turn {
    pace: Arc<Pace>,
    peer: PeerId,
    host: IpAddr,
    /// Whether it may come now.
    is_mine: bool,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Turn {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_mine {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(cx));
                self.wait = None;
            }
            match self.pace.next(&self.peer, self.host) {
                Ok(()) => self.is_mine = true,
                Err(time) => self.wait = Some(Box::pin(tokio::time::sleep(time))),
            }
        }
        Poll::Ready(())
    }
}

/// A multiplexer that closes in bounded time, and takes up a stranger's streams at a bounded pace.
struct Bounded {
    muxer: StreamMuxerBox,
    deadline: Option<Pin<Box<Sleep>>>,
    turn: Turn,
}

impl StreamMuxer for Bounded {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        ready!(self.turn.poll(cx));
        let stream = ready!(Pin::new(&mut self.muxer).poll_inbound(cx));
        self.turn.is_mine = false;
        Poll::Ready(stream)
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
