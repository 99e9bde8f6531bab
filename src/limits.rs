//! Every bound of LBM in one place, with its unit and what breaks above it.
//!
//! A leaf: it names nothing of the crate, and everything may name it. Units stand last in the name (`_BYTES`,
//! `_MS`, `_CHARS`); a bound without a unit counts things. The compile-time asserts at the end tie the bounds together
//! that would contradict one another.

// ---- what a person or an agent writes -------------------------------------------------------------------------

/// Text of one claim, UTF-8 bytes. Above it a claim is a document: cut it, or sell it as a package.
pub const CLAIM_TEXT_BYTES: usize = 64 * 1024;
/// A title, UTF-8 bytes: one line on a terminal or a card.
pub const TITLE_BYTES: usize = 256;
/// Tags of one claim.
pub const TAGS: usize = 20;
/// One tag, UTF-8 bytes.
pub const TAG_BYTES: usize = 64;
/// Name of a group, of `[A-Za-z0-9:_-]`, bytes.
pub const GROUP_NAME_BYTES: usize = 128;
/// Name of a node or an agent, of `[A-Za-z0-9._-]`, bytes: it stands in tables and in logs.
pub const NODE_NAME_BYTES: usize = 64;
/// A currency's code, of `[A-Z0-9]`, bytes.
pub const CURRENCY_BYTES: usize = 12;
/// One experience (the record of an agent's run), bytes.
pub const EXPERIENCE_BYTES: usize = 1024 * 1024;
/// One query to the context compiler, UTF-8 bytes. Longer text has no more distinct terms worth scoring.
pub const QUERY_BYTES: usize = 8 * 1024;
/// Claims that one context may name.
pub const CONTEXT_TOP_K: usize = 100;
/// Rows of one page of a listing.
pub const PAGE_ROWS: usize = 1_000;
/// Claims in one bulk request of the API. Larger files are sent in several requests.
pub const BULK_CLAIMS: usize = 1_000;
/// Body of one API request, bytes: a bulk of ordinary claims, or one experience in base64.
pub const API_BODY_BYTES: usize = 8 * 1024 * 1024;

// ---- the chain ------------------------------------------------------------------------------------------------

/// Body of one block, bytes.
pub const BLOCK_BYTES: usize = 1024 * 1024;
/// Transactions of one block.
pub const BLOCK_TRANSACTIONS: usize = 100;
/// Parents of one block besides its author's previous one. Heads beyond it are woven in by the next block.
pub const BLOCK_PARENTS: usize = 64;
/// One object (claim body, experience), bytes: the largest of them and its envelope.
pub const OBJECT_BYTES: usize = EXPERIENCE_BYTES + 1024;
/// Members of one group. A frontier names every author, so this bounds it.
pub const GROUP_MEMBERS: usize = 10_000;
/// Groups of one node: each costs memory for its frontier and its members.
pub const GROUPS: usize = 1_000;
/// How far ahead of our clock a block's time may be, milliseconds (`LB_MAX_CLOCK_DRIFT_MS`).
pub const MAX_CLOCK_DRIFT_MS: u64 = 300_000;
/// Verified blocks of one group that wait for a missing parent. Past it the oldest are dropped and asked for again.
pub const WAITING_BLOCKS: usize = 4_096;
/// Bytes of the same.
pub const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// Tips of one author in a frontier. An honest author has one; more are branches of an equivocation.
pub const TIPS_PER_AUTHOR: usize = 16;

// ---- the wire -------------------------------------------------------------------------------------------------

/// Blocks in one answer to a pull.
pub const BATCH_BLOCKS: usize = 8_192;
/// Bytes of blocks and objects after which an answer to a pull ends; its last block may go past it.
pub const BATCH_BYTES: usize = 3 * 1024 * 1024;
/// Objects in one answer to a pull, or one push: [`BATCH_BYTES`] hold 63,000 claims of one letter.
pub const BATCH_OBJECTS: usize = 65_536;
/// One message after decompression, bytes.
pub const MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// CBOR items of one message: an empty one is a byte to send and 24 to keep, so bytes alone do not bound memory. A request of
/// [`REQUEST_BYTES`] made of tips has 350,000, the fullest batch 131,000.
pub const MESSAGE_ITEMS: usize = 400_000;
/// One request, bytes: the frontier of a full group, or a push of one large block.
pub const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Ids in one request for blocks or objects by id.
pub const WANT_IDS: usize = 256;
/// Requests of one peer that are served at the same time. Further ones are answered with `busy`.
pub const SERVED_PER_PEER: usize = 8;
/// Requests under way from us to one peer.
pub const ASKED_PER_PEER: usize = 8;
/// How long a request may take, milliseconds.
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// How long a peer that asks too much at once is told to wait, milliseconds.
pub const BUSY_RETRY_MS: u64 = 200;
/// Bytes of one push. Blocks of our own beyond it are announced, and pulled by who lacks them.
pub const PUSH_BYTES: usize = 2 * 1024 * 1024;
/// Batches of one pull that are on their way into the store while the next is asked for.
pub const BATCHES_STORING: usize = 3;
/// Authors above which a pull asks first whether anything differs: a frontier takes about 45 bytes each.
pub const PROBE_AUTHORS: usize = 16;
/// Requests for single blocks and objects in one pull: the depth of a fork that one pull can follow, in runs of 256.
pub const WANTS_PER_PULL: usize = 4_096;
/// Peers to which a block that another has sent us is announced.
pub const RELAY_FANOUT: usize = 4;
/// Pause before such an announcement, milliseconds: most peers have heard from the author by then.
pub const RELAY_PAUSE_MS: core::ops::Range<u64> = 50..150;
/// Pause after a first failed pull, milliseconds. It doubles with each further failure.
pub const PULL_RETRY_MS: u64 = 250;
/// The longest such pause, milliseconds.
pub const PULL_RETRY_MOST_MS: u64 = 15_000;
/// Length of a libp2p protocol frame's header: length and encoding.
pub const FRAME_HEADER_BYTES: usize = 5;

// ---- the network ----------------------------------------------------------------------------------------------

/// Established connections to one peer: two may cross when both sides dial at once.
pub const CONNECTIONS_PER_PEER: u32 = 3;
/// Inbound connections from one address (`LB_P2P_MAX_CONN_PER_IP`).
pub const CONNECTIONS_PER_ADDRESS: u32 = 10;
/// Established inbound connections in total: bounds file descriptors and memory.
pub const INBOUND_CONNECTIONS: u32 = 512;
/// Inbound connections that are still shaking hands.
pub const PENDING_INBOUND_CONNECTIONS: u32 = 64;
/// Peers in the address book.
pub const BOOK_PEERS: usize = 4_096;
/// Addresses of one peer in the address book.
pub const BOOK_ADDRESSES_PER_PEER: usize = 16;
/// How long a connection without any stream stays open, milliseconds.
pub const IDLE_CONNECTION_MS: u64 = 90_000;
/// Pause between two sweeps that redial known peers, milliseconds, before jitter.
pub const SWEEP_MS: u64 = 2_000;
/// Default interval of the repair pull, seconds (`LB_SYNC_INTERVAL_S`).
pub const SYNC_INTERVAL_S: u64 = 300;

// ---- the daemon -----------------------------------------------------------------------------------------------

/// Commands and batches that wait for the writer. Past it callers wait for a place.
pub const WRITER_QUEUE: usize = 1_024;
/// Commands and batches that the writer takes into one transaction.
pub const WRITER_BATCH: usize = 512;
/// Events that a subscriber of the API may fall behind before it is told how many it missed.
pub const EVENT_BACKLOG: usize = 1_024;
/// A password, bytes: the least and the most.
pub const PASSWORD_BYTES: core::ops::RangeInclusive<usize> = 8..=1_024;

const _: () = assert!(CLAIM_TEXT_BYTES + TITLE_BYTES + TAGS * (TAG_BYTES + 3) + 64 <= OBJECT_BYTES);
const _: () = assert!(BATCH_BYTES + BLOCK_BYTES + BLOCK_TRANSACTIONS * 64 * 1024 <= 2 * MESSAGE_BYTES);
const _: () = assert!(BLOCK_BYTES + OBJECT_BYTES <= REQUEST_BYTES && REQUEST_BYTES <= MESSAGE_BYTES);
// A claim transaction has at least 44 bytes, and its object counts 5 more than its own.
const _: () = assert!(BATCH_BYTES / 49 + BLOCK_TRANSACTIONS <= BATCH_OBJECTS);
const _: () = assert!(GROUP_MEMBERS * 64 <= REQUEST_BYTES);
