//! The transports: TCP with Noise and Yamux, and QUIC.
//!
//! **A connection whose other end is gone is an error within `UNACKNOWLEDGED_MS` where anything was sent, within `SILENCE_MS` where nothing
//! was.** Over TCP the first is the system's doing (Linux; elsewhere a request or a ping that nobody answers ends it), the second is [`Watched`]'s;
//! QUIC has its own clock for both. What closes and what strangers open is [`Bounded`], who comes in is [`Door`]'s.

mod door;
mod muxer;
mod watched;

use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::Transport as _;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::transport::timeout::{TransportTimeout, TransportTimeoutError};
use libp2p::core::upgrade::{NegotiationError, ProtocolError, Version};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, quic, tcp, yamux};

pub(super) use self::door::Door;
use self::door::Guarded;
use self::muxer::Bounded;
use self::watched::Watched;
use super::address::host;
use super::pace::Pace;
use crate::limits::{CONNECT_MS, HANDSHAKE_MS, QUIC_KEEP_ALIVE_MS, STREAMS_PER_CONNECTION, UNACKNOWLEDGED_MS};

/// Streams of one connection in the multiplexer: our requests, and room for identify, ping and streams that close.
const MUXED_STREAMS: usize = 4 * STREAMS_PER_CONNECTION;

/// Both transports in one. A TCP connection that brings nothing for as long as `silence` is closed.
pub(super) fn transport(
    key: &Keypair,
    pace: Arc<Pace>,
    door: Arc<Door>,
    silence: Duration,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
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

    let both = tcp.or_transport(quic).map_err(|either| either.into_inner()).map(move |either, point| {
        let (peer, muxer) = either.into_inner();
        let host = host(point.get_remote_address()).unwrap_or(IpAddr::from([0; 4]));
        (peer, StreamMuxerBox::new(Bounded::new(muxer, Arc::clone(&pace), peer, host)))
    });
    Ok(Guarded::new(both, door).boxed())
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
