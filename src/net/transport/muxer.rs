//! A multiplexer within bounds.
//!
//! **Streams are taken up at the pace of [`Pace`]. A connection that is to be closed is gone within `CLOSE_MS`.** Closing
//! politely means writing, and on a connection whose other end has vanished with our buffers full a write waits for minutes; all that
//! time libp2p would hold the peer for connected, send requests into the void, and refuse to dial.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent, SubstreamBox};
use tokio::time::Sleep;

use crate::limits::CLOSE_MS;
use crate::net::pace::{Pace, Turn};

/// A multiplexer that closes in bounded time, and takes up streams at a bounded pace.
pub(super) struct Bounded {
    muxer: StreamMuxerBox,
    deadline: Option<Pin<Box<Sleep>>>,
    turn: Turn,
}

impl Bounded {
    /// Bounds what a peer that is at `host` opens.
    pub(super) fn new(muxer: StreamMuxerBox, pace: Arc<Pace>, peer: PeerId, host: IpAddr) -> Self {
        Self { muxer, deadline: None, turn: Turn::new(pace, peer, host) }
    }
}

impl StreamMuxer for Bounded {
    type Substream = SubstreamBox;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<SubstreamBox>> {
        ready!(self.turn.poll(cx));
        let stream = ready!(Pin::new(&mut self.muxer).poll_inbound(cx));
        self.turn.take();
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
