//! The frame of our protocols: length, encoding, payload.
//!
//! ```text
//! frame   = u32 big-endian length of what follows, u8 encoding, payload
//! payload = encoding 0: the message
//!         | encoding 1: u32 little-endian length of the message, the message as one LZ4 block
//! ```
//!
//! One frame goes each way of a stream, and each side closes its half behind it. **Nothing is allocated for a length that
//! was only announced**: caps are checked first, memory grows with the bytes that arrive, and what all peers together
//! hold this way is bounded by a budget. Malformed input is a *value*, [`Frame::Malformed`]: libp2p drops an error of
//! `read_request` without an event, and nobody could be blamed for it.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;
use lz4_flex::block::{compress_prepend_size, decompress, uncompressed_size};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{
    COMPRESS_ABOVE_BYTES, FIRST_READ_BYTES, FRAME_HEADER_BYTES, INBOUND_REQUESTS_BYTES, MARKET_INBOUND_BYTES,
    MARKET_REQUEST_BYTES, MARKET_RESPONSE_BYTES, MARKET_STREAMS, MESSAGE_BYTES, NODE_INBOUND_BYTES, NODE_REQUEST_BYTES,
    NODE_RESPONSE_BYTES, NODE_STREAMS, REQUEST_BYTES, STREAMS_PER_CONNECTION,
};

/// A protocol of ours: one request and one response to a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Between the members of a group.
    Sync,
    /// With anybody.
    Market,
    /// With anybody, about joining groups.
    Node,
}

impl Protocol {
    /// Its name, as peers negotiate it.
    #[must_use]
    pub const fn name(self) -> StreamProtocol {
        match self {
            Self::Sync => StreamProtocol::new("/lbm/sync/1"),
            Self::Market => StreamProtocol::new("/lbm/market/1"),
            Self::Node => StreamProtocol::new("/lbm/node/1"),
        }
    }

    /// Length of a request, bytes.
    #[must_use]
    pub const fn request_bytes(self) -> usize {
        match self {
            Self::Sync => REQUEST_BYTES,
            Self::Market => MARKET_REQUEST_BYTES,
            Self::Node => NODE_REQUEST_BYTES,
        }
    }

    /// Length of a response, bytes.
    #[must_use]
    pub const fn response_bytes(self) -> usize {
        match self {
            Self::Sync => MESSAGE_BYTES,
            Self::Market => MARKET_RESPONSE_BYTES,
            Self::Node => NODE_RESPONSE_BYTES,
        }
    }

    /// Requests under way on one connection.
    pub(super) const fn streams(self) -> usize {
        match self {
            Self::Sync => STREAMS_PER_CONNECTION,
            Self::Market => MARKET_STREAMS,
            Self::Node => NODE_STREAMS,
        }
    }

    /// Memory for requests that all peers are sending, bytes.
    const fn inbound_bytes(self) -> usize {
        match self {
            Self::Sync => INBOUND_REQUESTS_BYTES,
            Self::Market => MARKET_INBOUND_BYTES,
            Self::Node => NODE_INBOUND_BYTES,
        }
    }
}

/// Payload up to which header and payload are copied into one write, bytes: one packet instead of two.
const ONE_WRITE_BYTES: usize = 64 * 1024;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Why a frame is refused. All but [`Malformed::Truncated`] are the sender's fault beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The stream ended within the header or before the announced length. Weigh it lightly: a sender on a slow link who
    /// gives up half-way looks alike.
    #[error("the frame ends early")]
    Truncated,
    /// The announced length leaves no room for the encoding.
    #[error("the frame is empty")]
    Empty,
    /// The frame or the message in it is longer than allowed.
    #[error("{announced} bytes announced where at most {cap} are allowed")]
    TooLong {
        /// Bytes announced.
        announced: u64,
        /// Bytes allowed.
        cap: usize,
    },
    /// An encoding that this version does not know.
    #[error("unknown encoding {0}")]
    Encoding(u8),
    /// No LZ4 block, or one of another length than it announces.
    #[error("the compressed payload is damaged")]
    Compression,
    /// Bytes behind the frame.
    #[error("bytes follow the frame")]
    Trailing,
}

/// What is given back once a message is sent, or handed over.
pub type Held = Box<dyn Debug + Send>;

/// A message, with its share of whatever bounds its memory.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) bytes: Vec<u8>,
    _held: Option<Held>,
}

/// What was read from a stream, or is to be written.
#[derive(Debug)]
pub(super) enum Frame {
    Good(Payload),
    Malformed(Malformed),
}

impl Frame {
    /// A frame to send.
    pub(super) const fn of(bytes: Vec<u8>) -> Self {
        Self::Good(Payload { bytes, _held: None })
    }

    /// A frame to send, and what to give back when it is sent or cannot be.
    pub(super) fn holding(bytes: Vec<u8>, held: Held) -> Self {
        Self::Good(Payload { bytes, _held: Some(held) })
    }
}

/// The libp2p codec of one protocol. Clones share one memory budget for requests.
#[derive(Debug, Clone)]
pub(super) struct FrameCodec {
    protocol: Protocol,
    budget: Arc<Semaphore>,
}

impl FrameCodec {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self { protocol, budget: Arc::new(Semaphore::new(protocol.inbound_bytes())) }
    }
}

impl Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Frame;
    type Response = Frame;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.protocol.request_bytes(), Budget::shared(&self.budget)).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Frame>
    where
        T: AsyncRead + Unpin + Send,
    {
        // We asked for it: the number of responses under way is ours to bound.
        read_frame(io, self.protocol.response_bytes(), Budget::free()).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, request, self.protocol.request_bytes()).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Frame) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, response, self.protocol.response_bytes()).await
    }
}

/// The share of the common budget that one frame has taken so far. The first bytes are free, so that who fills the budget stops
/// nobody's ordinary requests.
struct Budget<'a> {
    from: Option<&'a Arc<Semaphore>>,
    held: Option<OwnedSemaphorePermit>,
    free: usize,
}

impl<'a> Budget<'a> {
    const fn shared(from: &'a Arc<Semaphore>) -> Self {
        Self { from: Some(from), held: None, free: FIRST_READ_BYTES }
    }

    const fn free() -> Self {
        Self { from: None, held: None, free: 0 }
    }

    /// Takes `bytes` more, or fails at once: waiting here would let slow senders block each other.
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        let Some(from) = self.from else { return Ok(()) };
        let free = bytes.min(self.free);
        self.free -= free;
        let bytes = bytes - free;
        if bytes == 0 {
            return Ok(());
        }
        let permit = u32::try_from(bytes).ok().and_then(|n| from.clone().try_acquire_many_owned(n).ok());
        let permit =
            permit.ok_or_else(|| io::Error::new(io::ErrorKind::QuotaExceeded, "too many requests under way"))?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

async fn read_frame<T>(io: &mut T, cap: usize, mut budget: Budget<'_>) -> io::Result<Frame>
where
    T: AsyncRead + Unpin + Send,
{
    match read_message(io, cap, &mut budget).await {
        Ok(bytes) => Ok(Frame::Good(Payload { bytes, _held: budget.held.map(|held| Box::new(held) as Held) })),
        Err(ReadError::Malformed(what)) => Ok(Frame::Malformed(what)),
        Err(ReadError::Io(error)) => Err(error),
    }
}

/// Either the sender's fault, or the connection's.
enum ReadError {
    Malformed(Malformed),
    Io(io::Error),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Malformed(Malformed::Truncated),
            _ => Self::Io(error),
        }
    }
}

impl From<Malformed> for ReadError {
    fn from(what: Malformed) -> Self {
        Self::Malformed(what)
    }
}

async fn read_message<T>(io: &mut T, cap: usize, budget: &mut Budget<'_>) -> Result<Vec<u8>, ReadError>
where
    T: AsyncRead + Unpin + Send,
{
    let mut header = [0; FRAME_HEADER_BYTES];
    let read = io.read(&mut header).await?;
    if read == 0 {
        // Whoever closes a stream without a word has given up, or has no answer: nobody's fault.
        return Err(ReadError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    io.read_exact(header.get_mut(read..).unwrap_or_default()).await?;
    let [a, b, c, d, encoding] = header;
    let length = u32::from_be_bytes([a, b, c, d]);
    let Some(body) = length.checked_sub(1) else { return Err(Malformed::Empty.into()) };
    let body = usize::try_from(body).unwrap_or(usize::MAX);
    if body > cap {
        return Err(Malformed::TooLong { announced: u64::from(length), cap }.into());
    }
    if encoding > LZ4 {
        return Err(Malformed::Encoding(encoding).into());
    }
    let bytes = read_body(io, body, budget).await?;
    if io.read(&mut [0]).await? != 0 {
        return Err(Malformed::Trailing.into());
    }
    if encoding == PLAIN { Ok(bytes) } else { unpack(&bytes, cap, budget) }
}

/// Reads exactly `length` bytes into memory that at most doubles with what has arrived.
async fn read_body<T>(io: &mut T, length: usize, budget: &mut Budget<'_>) -> Result<Vec<u8>, ReadError>
where
    T: AsyncRead + Unpin + Send,
{
    let mut bytes = Vec::new();
    let mut filled = 0;
    while filled < length {
        if filled == bytes.len() {
            let grow = filled.max(FIRST_READ_BYTES).min(length - filled);
            budget.take(grow)?;
            bytes.reserve_exact(grow);
            bytes.resize(filled + grow, 0);
        }
        match io.read(bytes.get_mut(filled..).unwrap_or_default()).await? {
            0 => return Err(Malformed::Truncated.into()),
            read => filled += read,
        }
    }
    Ok(bytes)
}

fn unpack(bytes: &[u8], cap: usize, budget: &mut Budget<'_>) -> Result<Vec<u8>, ReadError> {
    let (length, block) = uncompressed_size(bytes).map_err(|_| Malformed::Compression)?;
    if length > cap {
        return Err(Malformed::TooLong { announced: length as u64, cap }.into());
    }
    budget.take(length)?;
    let message = decompress(block, length).map_err(|_| Malformed::Compression)?;
    if message.len() == length { Ok(message) } else { Err(Malformed::Compression.into()) }
}

async fn write_frame<T>(io: &mut T, frame: Frame, cap: usize) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    // `Network` checks both before; here they only keep a mistake of ours off the wire.
    let Frame::Good(Payload { bytes, .. }) = frame else { return Err(io::ErrorKind::InvalidInput.into()) };
    if bytes.len() > cap {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (encoding, body) = pack(bytes);
    let length = u32::try_from(body.len() + 1).map_err(|_| io::ErrorKind::InvalidInput)?;
    let [a, b, c, d] = length.to_be_bytes();
    let header = [a, b, c, d, encoding];
    if body.len() <= ONE_WRITE_BYTES {
        io.write_all(&[&header[..], &body].concat()).await?;
    } else {
        io.write_all(&header).await?;
        io.write_all(&body).await?;
    }
    Ok(())
}

/// The shorter of the plain and the compressed form.
fn pack(bytes: Vec<u8>) -> (u8, Vec<u8>) {
    if bytes.len() > COMPRESS_ABOVE_BYTES {
        let packed = compress_prepend_size(&bytes);
        if packed.len() < bytes.len() {
            return (LZ4, packed);
        }
    }
    (PLAIN, bytes)
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    const CAP: usize = 1 << 20;

    async fn read(bytes: &[u8], cap: usize) -> Result<Vec<u8>, Malformed> {
        match read_frame(&mut Cursor::new(bytes), cap, Budget::free()).await.unwrap() {
            Frame::Good(payload) => Ok(payload.bytes),
            Frame::Malformed(what) => Err(what),
        }
    }

    async fn written(message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, Frame::of(message.to_vec()), CAP).await.unwrap();
        bytes
    }

    fn framed(encoding: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len() + 1).unwrap().to_be_bytes();
        [&length[..], &[encoding], payload].concat()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[tokio::test]
    async fn what_is_written_is_read() {
        for length in [0, 1, 512, 513, FIRST_READ_BYTES, FIRST_READ_BYTES + 1, ONE_WRITE_BYTES + 1, CAP] {
            for message in [vec![7; length], noise(length)] {
                let bytes = written(&message).await;
                assert!(bytes.len() <= message.len() + FRAME_HEADER_BYTES, "{length} grew to {}", bytes.len());
                assert_eq!(read(&bytes, CAP).await, Ok(message));
            }
        }
    }

    #[tokio::test]
    async fn only_what_gets_smaller_is_compressed() {
        assert_eq!(written(&[7; 512]).await[4], PLAIN);
        assert_eq!(written(&[7; 513]).await[4], LZ4);
        assert_eq!(written(&noise(4096)).await[4], PLAIN);
    }

    #[tokio::test]
    async fn each_broken_frame_has_its_reason() {
        let packed = compress_prepend_size(&[7; 4096]);
        let mut short = packed.clone();
        short[0] = 1; // one byte more than the block holds: 4097
        let mut bomb = packed.clone();
        bomb[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let cases: [(Vec<u8>, Malformed); 11] = [
            (vec![0, 0, 0, 2], Malformed::Truncated),
            (framed(PLAIN, b"abc")[..7].to_vec(), Malformed::Truncated),
            (vec![0, 0, 0, 0, 0], Malformed::Empty),
            (framed(PLAIN, &[0; 4097]), Malformed::TooLong { announced: 4098, cap: 4096 }),
            (vec![0xff; 5], Malformed::TooLong { announced: u64::from(u32::MAX), cap: 4096 }),
            (framed(2, b"abc"), Malformed::Encoding(2)),
            ([framed(PLAIN, b"abc"), vec![0]].concat(), Malformed::Trailing),
            (framed(LZ4, b"ab"), Malformed::Compression),
            (framed(LZ4, &short), Malformed::TooLong { announced: 4097, cap: 4096 }),
            (framed(LZ4, &bomb), Malformed::TooLong { announced: u64::from(u32::MAX), cap: 4096 }),
            (framed(LZ4, &packed[..packed.len() - 3]), Malformed::Compression),
        ];
        for (bytes, reason) in cases {
            assert_eq!(read(&bytes, 4096).await, Err(reason), "{bytes:?}");
        }
        assert_eq!(read(&framed(LZ4, &short), 8192).await, Err(Malformed::Compression));
        assert_eq!(read(&framed(LZ4, &packed), 4096).await, Ok(vec![7; 4096]));
        assert_eq!(read(&framed(PLAIN, &[0; 4096]), 4096).await, Ok(vec![0; 4096]));
    }

    #[tokio::test]
    async fn an_empty_stream_is_nobodys_fault() {
        let ended = read_frame(&mut Cursor::new([]), CAP, Budget::free()).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn the_budget_counts_what_arrived_and_not_what_was_announced() {
        let budget = Arc::new(Semaphore::new(100_000));
        let announced = |bytes: usize| [&1_000_000_u32.to_be_bytes()[..], &[PLAIN], &vec![0; bytes]].concat();
        let mut taken = Budget::shared(&budget);
        assert!(read_message(&mut Cursor::new(announced(3)), CAP, &mut taken).await.is_err());
        assert_eq!(budget.available_permits(), 100_000, "the first bytes are free");
        drop(taken);
        let mut taken = Budget::shared(&budget);
        assert!(read_message(&mut Cursor::new(announced(FIRST_READ_BYTES)), CAP, &mut taken).await.is_err());
        assert_eq!(budget.available_permits(), 100_000 - FIRST_READ_BYTES);
        drop(taken);

        let fits = framed(PLAIN, &[0; 70_000]);
        let first = read_frame(&mut Cursor::new(&fits), CAP, Budget::shared(&budget)).await.unwrap();
        let second = read_frame(&mut Cursor::new(&fits), CAP, Budget::shared(&budget)).await;
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        // Whoever has filled it stops no ordinary request.
        let small = read_frame(&mut Cursor::new(&framed(PLAIN, &[0; 10_000])), CAP, Budget::shared(&budget)).await;
        assert!(matches!(small, Ok(Frame::Good(_))));
        drop((first, small));
        assert_eq!(budget.available_permits(), 100_000);

        let bomb = framed(LZ4, &compress_prepend_size(&[0; 200_000]));
        let refused = read_frame(&mut Cursor::new(bomb), CAP, Budget::shared(&budget)).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    }

    #[tokio::test]
    async fn nothing_over_the_cap_is_written() {
        let mut bytes = Vec::new();
        assert!(write_frame(&mut bytes, Frame::of(vec![0; CAP + 1]), CAP).await.is_err());
        assert!(write_frame(&mut bytes, Frame::Malformed(Malformed::Empty), CAP).await.is_err());
        assert!(bytes.is_empty());
    }
}
