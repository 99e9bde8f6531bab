//! Every bound of LBM in one place, with its unit and what breaks above it.
//!
//! A leaf: it names nothing of the crate, and everything may name it. Units stand last in the name (`_BYTES`,
//! `_MS`, `_CHARS`); a bound without a unit counts things. Asserts at the end tie those together that could contradict one another.

mod agents;
mod discovery;
mod doctor;
mod joining;
mod links;
pub mod mcp;
mod once;
mod operations;
mod retrieval;
pub mod web;
pub use agents::*;
pub use discovery::*;
pub use doctor::*;
pub use joining::*;
pub use links::*;
pub use once::*;
pub use operations::*;
pub use retrieval::*;

// ---- what a person or an agent writes -------------------------------------------------------------------------
/// Text of one claim, UTF-8 bytes. Above it a claim is a document: cut it, or sell it as a package.
pub const CLAIM_TEXT_BYTES: usize = 64 * 1024;
/// A title, UTF-8 bytes: one line on a terminal or a card.
pub const TITLE_BYTES: usize = 256;
/// Tags of one claim.
pub const TAGS: usize = 20;
/// One tag, UTF-8 bytes.
pub const TAG_BYTES: usize = 64;
/// Pieces of evidence of one claim.
pub const EVIDENCE: usize = 8;
/// One piece of evidence, UTF-8 bytes: a command line, a link, a sentence. What is longer is a claim or an experience of its own.
pub const EVIDENCE_BYTES: usize = 1024;
/// Claims that one claim supersedes.
pub const SUPERSEDES: usize = 16;
/// Name of a group, of `[A-Za-z0-9:_-]`, bytes.
pub const GROUP_NAME_BYTES: usize = 128;
/// Name of a node, of `[A-Za-z0-9._-]`, bytes: it stands in tables and in logs.
pub const NODE_NAME_BYTES: usize = 64;
/// A currency's code, of `[A-Z0-9]`, bytes.
pub const CURRENCY_BYTES: usize = 12;
/// One experience (the record of an agent's run), bytes.
pub const EXPERIENCE_BYTES: usize = 1024 * 1024;
/// One query to the context compiler, UTF-8 bytes. Longer text has no more distinct terms worth scoring.
pub const QUERY_BYTES: usize = 8 * 1024;
/// Claims that one context may name.
pub const CONTEXT_TOP_K: usize = 100;
/// Claims of a context that asks for no number.
pub const CONTEXT_DEFAULT_TOP_K: usize = 8;
/// Text of one context, UTF-8 bytes: more than any model reads at once.
pub const CONTEXT_BYTES: usize = 1024 * 1024;
/// Claims that do not stand and that a context's search looks through; as many of them are remembered for the next.
pub const CONTEXT_DEPTH: usize = 50_000;
/// Rows of one page of a listing.
pub const PAGE_ROWS: usize = 1_000;
/// Rows of a page that asks for no number.
pub const PAGE_DEFAULT_ROWS: usize = 100;
/// Text after which a page of a listing ends, UTF-8 bytes; its last row may go past it.
pub const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long a page of watched claims may be waited for, milliseconds.
pub const WATCH_WAIT_MS: u64 = 600_000;
/// Entries of the arrival order that one page of watched claims looks at for those that were asked for: some tens of milliseconds.
pub const WATCH_SCAN: usize = 10_000;
/// Claims in one bulk request of the API. Larger files are sent in several requests.
pub const BULK_CLAIMS: usize = 1_000;
/// Body of one API request, bytes: a bulk of ordinary claims, or one package in base64.
pub const API_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Body of one API answer that a client reads, bytes: a full page or context with each byte escaped as JSON's `\u0001`.
pub const API_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// One event of a stream that a client reads, bytes: the largest claim with each byte escaped.
pub const API_EVENT_BYTES: usize = 512 * 1024;
/// How long a client waits for an ordinary answer, milliseconds: a commit behind a full writer's queue on a slow disk.
pub const API_TIMEOUT_MS: u64 = 60_000;
/// How long a client waits for an answer that walks a whole history or asks peers, milliseconds.
pub const API_SLOW_TIMEOUT_MS: u64 = 3_600_000;
/// Connections that a client keeps open for its next requests.
pub const API_IDLE_CONNECTIONS: usize = 8;
/// How long a joining can be followed, milliseconds: then the connection is given back, and the node goes on alone.
pub const JOIN_WAIT_MS: u64 = 3_600_000;
/// How long a write can be waited for to be final, milliseconds.
pub const FINAL_WAIT_MS: u64 = 3_600_000;
/// How long a joining is followed when nobody says, milliseconds.
pub const JOIN_DEFAULT_WAIT_MS: u64 = 60_000;
/// Claims in one bulk file: it is checked whole, in memory, before the first is sent.
pub const BULK_FILE_CLAIMS: usize = 1_000_000;
/// Bytes of the same.
pub const BULK_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// One line of a bulk file, bytes: the largest claim with each byte escaped.
pub const BULK_LINE_BYTES: usize =
    6 * (CLAIM_TEXT_BYTES + TITLE_BYTES + TAGS * (TAG_BYTES + 4) + EVIDENCE * EVIDENCE_BYTES) + 4096;

/// Id of a task, of `[A-Za-z0-9._:-]`, bytes: people type it.
pub const TASK_ID_BYTES: usize = 64;
/// Description of a task, UTF-8 bytes. What is longer is a claim.
pub const TASK_DESCRIPTION_BYTES: usize = 4 * 1024;
/// The greatest priority of a task.
pub const TASK_PRIORITY: u8 = 9;
/// Tasks that one task may depend on.
pub const TASK_DEPENDENCIES: usize = 32;
/// Blocks with another outcome than before, or refused, of which one batch's events tell how their tasks stand: they are read again.
pub const EVENT_TASK_BLOCKS: usize = 64;
/// Tasks that wait for one task: completing it touches each of them.
pub const TASK_DEPENDENTS: u32 = 1_000;
/// Rows that one page of tasks looks at for those that were asked for: about ten milliseconds.
pub const TASK_SCAN: usize = 10_000;
/// Tasks whose lease is over that a list of what can be taken looks at, those that were over first.
pub const TASK_EXPIRED: usize = 1_000;
/// Lease of a task that names none, milliseconds: longer than most of what an agent does between two words about it.
pub const TASK_DEFAULT_LEASE_MS: u64 = 30 * 60_000;
/// A lease of a task, milliseconds: the shortest that survives a pause of a machine, and the longest that a lost worker may block.
pub const TASK_LEASE_MS: core::ops::RangeInclusive<u64> = 1_000..=30 * 24 * 3_600_000;
/// Why a task failed, UTF-8 bytes.
pub const ERROR_MESSAGE_BYTES: usize = 1024;
/// The most tokens of anything: amounts fit a signed 64-bit integer of whoever reads them.
pub const AMOUNT_MAX: u64 = i64::MAX as u64;
/// The greatest fee of a transfer, basis points: half of what arrives.
pub const TRANSFER_FEE_BPS: u64 = 5_000;

// ---- the market -----------------------------------------------------------------------------------------------
/// Content of one package, bytes. It is sold and checked as a whole.
pub const PACKAGE_BYTES: usize = 10 * 1024 * 1024;
/// Content of one chunk of a package, bytes: what a dispute has to show fits a block.
pub const PACKAGE_CHUNK_BYTES: usize = 64 * 1024;
/// Description of an offer, UTF-8 bytes. What is longer is a claim, or part of what is sold.
pub const OFFER_DESCRIPTION_BYTES: usize = 4 * 1024;
/// Identities among whom an offer splits what it earns: a settlement pays each of them.
pub const OFFER_SPLITS: usize = 16;
/// Offers that an offer gives a part of what it earns: a settlement pays the seller of each.
pub const OFFER_ROYALTIES: usize = 16;
/// A whole, in basis points.
pub const WHOLE_BPS: u64 = 10_000;
/// How long after a purchase is final its seller may grant it, milliseconds: the least that survives a restart, and the longest that
/// a buyer's tokens may be locked for nothing.
pub const OFFER_GRANT_MS: core::ops::RangeInclusive<u64> = 60_000..=30 * 24 * 3_600_000;
/// How long after a grant is final others than the buyer must wait to settle, milliseconds: the least leaves an honest buyer ten minutes
/// to hear of the grant and to be heard, whatever the clocks say.
pub const OFFER_DISPUTE_MS: core::ops::RangeInclusive<u64> = 3 * MAX_CLOCK_DRIFT_MS..=30 * 24 * 3_600_000;
/// How long after the last moment to grant a refund can be asked for, milliseconds: a seller whose clock is a drift behind the notary's
/// must have heard of it before it grants, though it is dated a drift ahead of the notary's. The third drift is for the way.
pub const REFUND_MARGIN_MS: u64 = 3 * MAX_CLOCK_DRIFT_MS;
/// Body of one order, bytes. Ours have at most 233.
pub const ORDER_BYTES: usize = 256;
/// Rows that one page of offers or purchases looks at for those that were asked for.
pub const MARKET_SCAN: usize = 10_000;

/// Within what time an offer that does not say grants, milliseconds: a laptop that is closed overnight.
pub const OFFER_DEFAULT_GRANT_MS: u64 = 24 * 3_600_000;
/// How long an offer that does not say leaves the buyer alone, milliseconds.
pub const OFFER_DEFAULT_DISPUTE_MS: u64 = 24 * 3_600_000;
/// How long before the last moment to grant a seller's node stops granting, milliseconds: what it writes then may not get there in time.
pub const GRANT_MARGIN_MS: u64 = *OFFER_GRANT_MS.start() / 4;
/// How long an order holds that this node signs, milliseconds (`LB_NONCE_EXPIRY_MS`): its number is free again where nobody has written it by
/// then.
pub const ORDER_LIFE_MS: u64 = 10 * 60_000;
/// The span over which what an identity gives away counts against its spending limit, milliseconds: any 24 hours, so that midnight doubles nothing.
pub const SPENDING_SPAN_MS: u64 = 24 * 3_600_000;
/// Purchases above their limit that wait for a person. Past it a purchase is refused at once.
pub const WISHES: usize = 256;
/// Purchases of a node in groups that it is no member of, under way at the same time.
pub const OUTSIDE_ORDERS: usize = 256;
/// How long a purchase is waited for when nobody says, milliseconds.
pub const BUY_DEFAULT_WAIT_MS: u64 = 60_000;
/// How long a purchase can be waited for, milliseconds: then the connection is given back, and the node goes on alone.
pub const BUY_WAIT_MS: u64 = 3_600_000;
/// Parts of purchases that a node works on at the same time, each with a package in memory at most.
pub const DEEDS: usize = 8;
/// Pause after what a purchase needs could not be done, milliseconds. It doubles with each further failure.
pub const DEED_RETRY_MS: u64 = 250;
/// The longest such pause, milliseconds.
pub const DEED_RETRY_MOST_MS: u64 = 60_000;
/// Pause between two questions about a purchase in a group that this node is no member of, milliseconds: the first, and the longest.
pub const ACCOUNT_ASK_MS: core::ops::RangeInclusive<u64> = 100..=15_000;
/// Open purchases of its own in one group that a node looks after at a time, those first that were paid first.
pub const OPEN_PURCHASES: usize = 100_000;

// ---- the chain ------------------------------------------------------------------------------------------------

/// Body of one block, bytes.
pub const BLOCK_BYTES: usize = 1024 * 1024;
/// Transactions of one block.
pub const BLOCK_TRANSACTIONS: usize = 100;
/// How long what nobody waits for stays open before the notary seals it, milliseconds: one seal for all that comes meanwhile.
pub const SEAL_INTERVAL_MS: u64 = 2_000;
/// How long a notary that has just started waits for a first pull before it seals, milliseconds: its data folder may be an older copy,
/// and a seal that nobody asked for would take a number again.
pub const SEAL_LISTEN_MS: u64 = 10_000;
/// Seals of a notary that has signed two with one number that a node takes back, at most, where another branch of its has more. What
/// was final for longer stays, whatever comes.
pub const SEALS_REVISED: u64 = 8;
/// The greatest number of a seal: one a millisecond for as long as there are clocks.
pub const EPOCH_MAX: u64 = 1 << 53;
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

// ---- presence -------------------------------------------------------------------------------------------------

/// Metadata of a presence record, a JSON object as text, UTF-8 bytes.
pub const PRESENCE_METADATA_BYTES: usize = 4 * 1024;
/// One presence record as signed, bytes: its metadata and 100 bytes for the rest.
pub const PRESENCE_BYTES: usize = PRESENCE_METADATA_BYTES + 100;
/// Presence records of one group that are kept in memory, bytes: of a full group's members without metadata, or of a thousand
/// with all they may have. Past it those dated earliest are dropped.
pub const PRESENCE_GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Presence records of one message.
pub const PRESENCE_RECORDS: usize = 256;
/// Bytes after which such a message ends; its last record may go past it.
pub const PRESENCE_MESSAGE_BYTES: usize = 256 * 1024;
/// Least pause between two presence messages of one group to one peer, milliseconds. What is set meanwhile takes the place of what
/// waits, so a heartbeat that runs wild costs five messages a second and no more.
pub const PRESENCE_PAUSE_MS: u64 = 200;
/// Pause before peers past [`RELAY_FANOUT`] are handed another member's record, milliseconds: many have sent it to us by then.
pub const PRESENCE_LATER_MS: core::ops::Range<u64> = 250..400;
/// How long a peer waits that has sent records of members of whom we have not heard yet, milliseconds.
pub const PRESENCE_AGAIN_MS: u64 = 500;
/// Age past which a presence record is called stale where nobody says, milliseconds.
pub const PRESENCE_STALE_MS: u64 = 300_000;
/// How long a stop waits for the members to take that this node is going offline, milliseconds.
pub const PRESENCE_STOP_MS: u64 = 500;

// ---- the wire -------------------------------------------------------------------------------------------------

/// Blocks in one answer to a pull.
pub const BATCH_BLOCKS: usize = 8_192;
/// Bytes of blocks and objects after which an answer to a pull ends; its last block may go past it.
pub const BATCH_BYTES: usize = 3 * 1024 * 1024;
/// Objects in one answer to a pull, or one push: [`BATCH_BYTES`] hold 63,000 claims of one letter.
pub const BATCH_OBJECTS: usize = 65_536;
/// Bytes of further copies of its objects that one message leads to: a few hundred bytes of blocks can name one large object a hundred
/// times. What exceeds it is asked for again.
pub const COPIED_BYTES: usize = 8 * 1024 * 1024;
/// One message after decompression, bytes.
pub const MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// CBOR items of one message: an empty one is a byte to send and 24 to keep, so bytes alone do not bound memory. A request of
/// [`REQUEST_BYTES`] made of tips has 350,000, the fullest batch 131,000.
pub const MESSAGE_ITEMS: usize = 400_000;
/// One request, bytes: the frontier of a full group, or a push of one large block.
pub const REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Ids or places in one request for blocks or objects.
pub const WANT_IDS: usize = 256;
/// Requests of one peer that are served at the same time. Further ones are answered with `busy`.
pub const SERVED_PER_PEER: usize = 8;
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
/// Pause before the peers beyond that number are told, milliseconds: by then gossip has reached those who have other neighbours.
pub const RELAY_LATER_MS: core::ops::Range<u64> = 1_000..3_000;
/// Pause after a push that was lost before the peer is told what it may lack, and after the block that removes a member before it is told
/// so in a word, milliseconds.
pub const TELL_RETRY_MS: u64 = 2_000;
/// How long one peer may hold a group's pull before the next peer that is due has its turn, milliseconds.
pub const PULL_TURN_MS: u64 = 60_000;
/// Pause after a first failed pull, milliseconds. It doubles with each further failure.
pub const PULL_RETRY_MS: u64 = 250;
/// The longest such pause, milliseconds.
pub const PULL_RETRY_MOST_MS: u64 = 15_000;
/// Length of a libp2p protocol frame's header: length and encoding.
pub const FRAME_HEADER_BYTES: usize = 5;
/// Payload from which a frame is worth compressing, bytes. Below it the header of the compressed form eats the gain.
pub const COMPRESS_ABOVE_BYTES: usize = 512;
/// Memory that requests of all peers together may take between their first byte and their hand-over, bytes. Past it the stream of a
/// long request is closed and its sender tries again. What fits [`FIRST_READ_BYTES`] is always read: streams bound it.
pub const INBOUND_REQUESTS_BYTES: usize = 32 * 1024 * 1024;
/// First allocation for a frame's body, bytes: an ordinary request fits, and it is all that a mere announcement costs.
pub const FIRST_READ_BYTES: usize = 16 * 1024;
/// Memory that answers to one peer, or to all strangers of one host, may take until they are sent, bytes: a few batches.
pub const ANSWERS_PER_PEER_BYTES: usize = 12 * 1024 * 1024;
/// The same of all of them, bytes.
pub const ANSWERS_BYTES: usize = 48 * 1024 * 1024;
/// Requests under way on one connection, both directions together. Further inbound streams are dropped.
pub const STREAMS_PER_CONNECTION: usize = 3 * SERVED_PER_PEER;

// ---- the market between nodes ---------------------------------------------------------------------------------

/// One message that is spread by gossip, bytes. An announcement is shorter; what is between the two is blamed on who sent it, and
/// what is longer breaks its stream.
pub const GOSSIP_MESSAGE_BYTES: usize = 64 * 1024;
/// Messages of our own that wait for somebody to listen. Past it the first is dropped; its offer is announced again, and in the
/// catalogue.
pub const GOSSIP_QUEUE: usize = 1_024;
/// Messages that wait for a judgement. Past it the first goes no further.
pub const GOSSIP_JUDGING: usize = 1_024;
/// Messages that wait for one peer to take them. Past it they are dropped for that peer.
pub const GOSSIP_PEER_QUEUE: usize = 256;
/// Requests of `/lbm/market/1` under way on one connection, both directions together. Further inbound streams are dropped.
pub const MARKET_STREAMS: usize = 8;
/// One request of `/lbm/market/1`, bytes: a dispute that shows a chunk, with room.
pub const MARKET_REQUEST_BYTES: usize = 80 * 1024;
/// One response of `/lbm/market/1`, bytes: a mebibyte of a package with the tags of its chunks.
pub const MARKET_RESPONSE_BYTES: usize = 1024 * 1024 + 16 * 1024;
/// Memory that requests of `/lbm/market/1` of all peers together may take before their hand-over, bytes.
pub const MARKET_INBOUND_BYTES: usize = 4 * 1024 * 1024;
/// Requests of one peer on `/lbm/market/1` that are served at the same time. Further ones are answered with `busy`.
pub const MARKET_SERVED_PER_PEER: usize = 4;
/// One announcement as signed, bytes: all that an offer may say, and who offers it.
pub const ANNOUNCEMENT_BYTES: usize = 8 * 1024;
/// Addresses that a seller announces to be called at: TCP and QUIC, at home and outside.
pub const ANNOUNCED_ADDRESSES: usize = 4;
/// One of them, bytes: an IPv6 address with QUIC's port takes 70.
pub const ANNOUNCED_ADDRESS_BYTES: usize = 96;
/// How long after an address of this node has come or gone its offers are announced with those that it has then, milliseconds: several come
/// at once.
pub const ADDRESS_SETTLES_MS: u64 = 500;
/// How long an announcement counts, milliseconds (a day). A withdrawal is remembered as long: what it withdrew counts no longer.
pub const ANNOUNCEMENT_LIFE_MS: u64 = 24 * 3_600_000;
/// Pause between two announcements of one standing offer, milliseconds, before jitter.
pub const ANNOUNCE_INTERVAL_MS: u64 = 300_000;
/// Announcements of one offer that follow each other faster are kept and not handed on, milliseconds: an offer never changes.
pub const ANNOUNCE_LEAST_MS: u64 = 60_000;
/// Announcements of other sellers that a node keeps, withdrawals included.
pub const BOOK_OFFERS: usize = 20_000;
/// Bytes of the same.
pub const BOOK_OFFERS_BYTES: usize = 32 * 1024 * 1024;
/// Announcements of one seller that a node keeps. Past it the seller's oldest goes.
pub const BOOK_OFFERS_PER_SELLER: usize = 1_000;
/// Announcements that one peer may hand on at once. More than that, and what exceeds [`GOSSIP_PER_PEER_PER_S`], goes no further.
pub const GOSSIP_PER_PEER: u64 = 1_000;
/// Announcements that one peer may hand on in the long run, a second.
pub const GOSSIP_PER_PEER_PER_S: u64 = 20;
/// Announcements of one page of a catalogue.
pub const CATALOGUE_RECORDS: usize = 256;
/// Bytes after which such a page ends; its last record may go past it.
pub const CATALOGUE_BYTES: usize = 512 * 1024;
/// Pages of one catalogue that are asked for: more than a full book has.
pub const CATALOGUE_PAGES: usize = 256;
/// Catalogues that are pulled at the same time.
pub const CATALOGUES: usize = 3;
/// Pause between two pulls of one peer's catalogue, milliseconds, before jitter.
pub const CATALOGUE_INTERVAL_MS: u64 = 600_000;
/// How long after a peer has connected its catalogue is pulled once more, milliseconds: what is announced before gossip counts it among
/// those that it hands on to, at its next heartbeat or the one after, reaches it by no message.
pub const CATALOGUE_SETTLES_MS: u64 = 1_500;
/// Chunks of a package in one answer: a mebibyte.
pub const PACKAGE_RANGE_CHUNKS: u32 = 16;
/// Purchases that one question about an account names.
pub const ACCOUNT_PURCHASES: usize = 64;
/// Why an order was not taken, UTF-8 bytes.
pub const DECLINED_BYTES: usize = 1024;
/// Packages that are fetched at the same time, each in memory until it is whole.
pub const FETCHES: usize = 4;
/// Packages that wait to be fetched. Past it a caller is told to try later.
pub const FETCHES_WAITING: usize = 256;
/// Requests for parts of one package under way.
pub const FETCH_PARALLEL: usize = 2;
/// How long a part may take before another peer is asked for it, milliseconds. What comes later still counts.
pub const FETCH_SLOW_MS: u64 = 3_000;
/// How long a peer that has not sent what it was asked for comes last, milliseconds.
pub const FETCH_AVOID_MS: u64 = 15_000;
/// Pause between two calls to a seller that is not connected, milliseconds.
pub const FETCH_CALL_MS: u64 = 5_000;
/// How long a fetch goes on without any part coming, milliseconds.
pub const FETCH_GIVE_UP_MS: u64 = 60_000;
/// Encrypted packages on the disk, bytes. Past it none is kept until some are removed.
pub const PACKAGES_BYTES: u64 = 4 * 1024 * 1024 * 1024;

// ---- the network ----------------------------------------------------------------------------------------------

/// Established connections to one peer: two may cross when both sides dial at once.
pub const CONNECTIONS_PER_PEER: u32 = 3;
/// Inbound connections of strangers from one address (`LB_P2P_MAX_CONN_PER_IP`). Members of a group that is here do not count.
pub const CONNECTIONS_PER_ADDRESS: u32 = 10;
/// Inbound connections in total: bounds file descriptors and memory.
pub const INBOUND_CONNECTIONS: u32 = 512;
/// Those of them that strangers may have: the others are kept for members.
pub const STRANGER_CONNECTIONS: u32 = 384;
/// How many more an address has for a moment, to show that they are members': two that come at once, and two more.
pub const TRIALS_PER_HOST: u32 = 4;
/// The same in total.
pub const TRIALS: u32 = 16;
/// How long such a one has to show it, milliseconds: who acts for a member says so with its first message.
pub const TRIAL_MS: u64 = 5_000;
/// Addresses whose refused connections are remembered, for the doctor. Past it the one that was refused longest ago is forgotten.
pub const REFUSED_HOSTS: usize = 256;
/// Inbound connections that are still shaking hands, of each transport. Past it one of them gives way to the next: of the host that has most, the first.
pub const PENDING_INBOUND_CONNECTIONS: u32 = 48;
/// How long a handshake, or a connection on trial, need not give way to the next of its own host, milliseconds: several times what it takes
/// on a busy machine, lest all give way and none be done.
pub const TURN_MS: u64 = 1_000;
/// Hosts that are remembered because members were met there, or are expected: what strangers hold elsewhere gives way first.
pub const KNOWN_HOSTS: usize = 1_024;
/// Peers in the address book.
pub const BOOK_PEERS: usize = 4_096;
/// Addresses of one peer in the address book.
pub const BOOK_ADDRESSES_PER_PEER: usize = 16;
/// Length of one address in its text form, bytes: an IPv6 address, a port, QUIC and a peer id take 130.
pub const ADDRESS_BYTES: usize = 256;
/// How long a connection of a peer that does not say that it speaks our protocol stays open, milliseconds.
pub const IDLE_CONNECTION_MS: u64 = 90_000;
/// How long dialling one address may take with all handshakes, milliseconds.
pub const HANDSHAKE_MS: u64 = 10_000;
/// Pause between two sweeps that redial known peers, milliseconds, before jitter.
pub const SWEEP_MS: u64 = 2_000;
/// Peers that are dialled at the same time. Further ones wait for the next sweep.
pub const DIALS: usize = 32;
/// A connection shorter than this counts as a failed try, milliseconds: the other side turned us away.
pub const SHORT_CONNECTION_MS: u64 = 10_000;
/// How long an address that mDNS no longer hears is kept, milliseconds: a machine that slept is back where it was.
pub const ADDRESS_GRACE_MS: u64 = 600_000;
/// How long an unpinned peer that cannot be reached is kept, milliseconds (30 days).
pub const PEER_MEMORY_MS: u64 = 30 * 24 * 3_600_000;
/// Bans in force at the same time. Past it the one that ends first is lifted.
pub const BANS: usize = 4_096;
/// Shortest pause between two wishes of the address book to be stored, milliseconds.
pub const BOOK_STORE_MS: u64 = 5_000;
/// Default interval of the repair pull, seconds (`LB_SYNC_INTERVAL_S`). What is new is pushed, and what a push misses is told; this is for
/// what neither brings.
pub const SYNC_INTERVAL_S: u64 = 1_800;
/// Default for the requests of one peer that are served in a minute (`LB_P2P_MAX_REQ_PER_MIN`), of strangers those of one host: a
/// hundred a second, so that a peer that pushes claim by claim never meets it and one that floods does. A member's questions do not count.
pub const REQUESTS_PER_PEER_PER_MIN: u32 = 6_000;
/// The longest interval of the repair pull, seconds.
pub const SYNC_INTERVAL_MOST_S: u64 = 86_400;
/// Peers that are chosen for one group.
pub const SUBSCRIPTION_PEERS: usize = 256;
/// How long who pushes into a paused group is told to wait, milliseconds.
pub const PAUSED_RETRY_MS: u64 = 30_000;
/// Peers, and hosts of strangers, whose requests are counted apart. Past it all others are counted together.
pub const RATED_PAYERS: usize = 4_096;
/// Requests for which one of them may be told to wait, at once and then a minute. Whoever asks on past it does not wait.
pub const REFUSALS_PER_MIN: u32 = 600;
/// What all strangers of one host may fetch of packages, KiB at once, and then a minute: six of the largest.
pub const STRANGER_PACKAGES_KIB_PER_MIN: u32 = 64 * 1024;
/// Inbound connections of one host that are let in, at once and then a minute: identities are free, so whoever is sent away comes
/// back as another no faster than this.
pub const CONNECTS_PER_HOST_PER_MIN: u32 = 240;
/// Streams of all strangers of one host, and questions of theirs in Kademlia, that are taken up a second, at least: twice the requests of theirs that are answered by default.
pub const STRANGER_STREAMS_PER_S: u32 = 200;
/// Streams of one member that are taken up a second: ten times what a first sync opens, and no more than a processor bears.
pub const MEMBER_STREAMS_PER_S: u32 = 4_000;
/// How many seconds' worth of either may come at once.
pub const STREAMS_BURST_S: u32 = 2;
/// How long a peer is sent away for the first time, milliseconds (ten minutes).
pub const BAN_MS: u64 = 600_000;
/// By how much the next time is longer.
pub const BAN_FACTOR: u64 = 6;
/// The longest such time, milliseconds (a day).
pub const BAN_MOST_MS: u64 = 24 * 3_600_000;
/// How long after a ban one time is forgotten, milliseconds (a day).
pub const BAN_FORGOTTEN_MS: u64 = 24 * 3_600_000;
/// Peers and networks in `allow`, and in `deny`.
pub const ACCESS_RULES: usize = 1_024;
/// Addresses that one node listens on.
pub const LISTEN_ADDRESSES: usize = 32;
/// Peers that the settings name.
pub const STATIC_PEERS: usize = 256;

// ---- the daemon -----------------------------------------------------------------------------------------------

/// Commands and batches that wait for the writer. Past it callers wait for a place.
pub const WRITER_QUEUE: usize = 1_024;
/// Batches of peers that wait to be verified. Past it they are dropped, and asked for again.
pub const VERIFY_QUEUE: usize = 256;
/// Answers to peers that are read from the store at the same time.
pub const SERVING: usize = 8;
/// Commands and reports that wait for the driver.
pub const DRIVER_QUEUE: usize = 1_024;
/// How long a start waits for its addresses before it says that it is ready, milliseconds.
pub const LISTEN_MS: u64 = 2_000;
/// How long a stop waits for the writer, milliseconds.
pub const STOP_MS: u64 = 1_000;
/// Commands and batches that the writer takes into one transaction.
pub const WRITER_BATCH: usize = 512;
/// Events that a subscriber of the API may fall behind before it is told how many it missed.
pub const EVENT_BACKLOG: usize = 1_024;
/// Events that are kept beyond that, the last of each kind that the doctor asks about: past it the oldest goes.
pub const EVENT_MARKS: usize = 512;
/// Least room on the disk for a commit, bytes: more than the largest batch grows the file by.
pub const DISK_FREE_BYTES: u64 = 64 * 1024 * 1024;
/// Path of a Unix socket, bytes: the 108 of Linux with a NUL at the end.
pub const SOCKET_PATH_BYTES: usize = 107;
/// Connections to the API at the same time, each with one request: bounds file descriptors and memory. Past it the idlest is closed, and
/// where none is idle a new one is told that the daemon is full.
pub const API_CONNECTIONS: usize = 256;
/// Of them, those on which nothing is done in an agent's name: whatever agents do, a person gets in.
pub const API_RESERVED: usize = 32;
/// Streams and waiting calls of one agent, over all its clients.
pub const API_AGENT_WAITS: usize = 32;
/// The same of all agents together: as many connections are left for what is quick.
pub const API_AGENTS_WAITS: usize = 112;
/// New connections that are being told that the daemon is full. Further ones are closed.
pub const API_REFUSING: usize = 128;
/// How long that may take, milliseconds.
pub const API_REFUSING_MS: u64 = 1_000;
/// How long a client asks a full daemon again, milliseconds.
pub const API_FULL_MS: u64 = 3_000;
/// Pause between two such tries, milliseconds.
pub const API_FULL_RETRY_MS: u64 = 100;
/// A connection is idle that has had no request for so long, milliseconds: the next may be on its way.
pub const IDLE_LEAST_MS: u64 = 1_000;
/// How long a connection to the API may stay without a whole head of a request, milliseconds.
pub const API_IDLE_MS: u64 = 600_000;
/// Pause after a connection could not be taken, milliseconds.
pub const API_ACCEPT_RETRY_MS: u64 = 100;
/// How long a stop waits for requests that are under way, milliseconds.
pub const API_STOP_MS: u64 = 1_500;
/// Pause after which a stream of events shows that it lives, milliseconds.
pub const API_KEEP_ALIVE_MS: u64 = 15_000;
/// How long a sync that somebody asked for is waited for, milliseconds. It goes on after that.
pub const SYNC_WAIT_MS: u64 = 300_000;
/// Claims of one thread that are looked at, and steps up to its root.
pub const THREAD_CLAIMS: usize = 10_000;
/// Claims that are looked at for one that stands in another's place, through retracted ones.
pub const SUPERSEDED_STEPS: usize = 1_000;
/// Blocks that are verified side by side when a whole group is checked again.
pub const VERIFY_BLOCKS: usize = 4_096;
/// Bytes of the same, after which no further block is added.
pub const VERIFY_BYTES: usize = 16 * 1024 * 1024;
/// Faults that such a check names. More of them say no more.
pub const VERIFY_FAULTS: usize = 100;
/// Rows of one part of a backup, bytes; its last row may go past it.
pub const BACKUP_FRAME_BYTES: usize = 1024 * 1024;
/// One part of a backup that is read, bytes: an order's row with its undo record is the longest, and far below.
pub const BACKUP_FRAME_MOST_BYTES: usize = 64 * 1024 * 1024;
/// Pieces of a backup that wait for its reader, of [`BACKUP_PIECE_BYTES`] each.
pub const BACKUP_PIECES: usize = 8;
/// One such piece, bytes.
pub const BACKUP_PIECE_BYTES: usize = 256 * 1024;
/// A password, bytes: the least and the most.
pub const PASSWORD_BYTES: core::ops::RangeInclusive<usize> = 8..=1_024;
/// A key file, bytes. Ours have at most 159; nothing longer is read into memory to be told that it is none.
pub const KEY_FILE_BYTES: usize = 4 * 1_024;
/// Memory that the parameters in a key file may make scrypt take, bytes: four times what we write. A file from
/// elsewhere could ask for terabytes before its password is even looked at.
pub const KEY_SCRYPT_MEMORY_BYTES: u64 = 512 * 1_024 * 1_024;
/// Passes (scrypt's `p`) that a key file may ask for: with the memory it bounds the time, to about eight seconds.
pub const KEY_SCRYPT_PASSES: u32 = 4;

const _: () = assert!(
    CLAIM_TEXT_BYTES + TITLE_BYTES + TAGS * (TAG_BYTES + 3) + EVIDENCE * (EVIDENCE_BYTES + 24) + 64 <= OBJECT_BYTES
);
const _: () = assert!(BATCH_BYTES + BLOCK_BYTES + BLOCK_TRANSACTIONS * 64 * 1024 <= 2 * MESSAGE_BYTES);
const _: () = assert!(BLOCK_BYTES + OBJECT_BYTES <= REQUEST_BYTES && REQUEST_BYTES <= MESSAGE_BYTES);
// A claim transaction has at least 45 bytes, and its object counts 5 more than its own.
const _: () = assert!(BATCH_BYTES / 50 + BLOCK_TRANSACTIONS <= BATCH_OBJECTS);
const _: () = assert!(OBJECT_BYTES + 1024 <= COPIED_BYTES);
const _: () = assert!(GROUP_MEMBERS * 64 <= REQUEST_BYTES);
const _: () = assert!(PRESENCE_MESSAGE_BYTES + 2 * PRESENCE_BYTES + 128 <= REQUEST_BYTES);
const _: () = assert!(GROUP_MEMBERS * 200 <= PRESENCE_GROUP_BYTES);
const _: () = assert!(ANNOUNCEMENT_BYTES + 128 <= GOSSIP_MESSAGE_BYTES);
const _: () = assert!(CATALOGUE_BYTES + 2 * ANNOUNCEMENT_BYTES <= MARKET_RESPONSE_BYTES);
const _: () = assert!(ACCOUNT_PURCHASES * 300 + 1024 <= MARKET_RESPONSE_BYTES);
const _: () = assert!(PACKAGE_RANGE_CHUNKS as usize * (PACKAGE_CHUNK_BYTES + 512) <= MARKET_RESPONSE_BYTES);
const _: () = assert!(PACKAGE_CHUNK_BYTES + 1024 <= MARKET_REQUEST_BYTES);
const _: () = assert!(BOOK_OFFERS <= CATALOGUE_RECORDS * CATALOGUE_PAGES);
const _: () = assert!(PACKAGE_BYTES.div_ceil(3) * 4 + 64 * 1024 <= API_BODY_BYTES);
const _: () = assert!(
    6 * PAGE_BYTES + 6 * (CLAIM_TEXT_BYTES + EVIDENCE * EVIDENCE_BYTES) + PAGE_ROWS * 4 * 1024 <= API_ANSWER_BYTES
);
const _: () = assert!(BULK_LINE_BYTES + SUPERSEDES * 2 * 80 <= API_EVENT_BYTES);
const _: () = assert!(BULK_LINE_BYTES <= API_BODY_BYTES && 6 * EXPERIENCE_BYTES <= API_BODY_BYTES);
const _: () =
    assert!(2 * 6 * CONTEXT_BYTES + CONTEXT_TOP_K * (6 * EVIDENCE * EVIDENCE_BYTES + 4 * 1024) <= API_ANSWER_BYTES);
const _: () = assert!(STRANGER_CONNECTIONS + TRIALS + 2 * PENDING_INBOUND_CONNECTIONS < INBOUND_CONNECTIONS);
const _: () = assert!(API_AGENTS_WAITS + API_RESERVED < API_CONNECTIONS && API_AGENT_WAITS < API_AGENTS_WAITS);
const _: () = assert!(PAGE_DEFAULT_ROWS <= PAGE_ROWS && CONTEXT_DEFAULT_TOP_K <= CONTEXT_TOP_K);
const _: () = assert!(LATENT_TOKENS as i64 * 127 * 4_095 <= i32::MAX as i64);
// A query of 12 bits times a vector of 8, summed over all dimensions, fits in 31.
const _: () = assert!(EMBED_DIMENSIONS as i64 * 2_047 * 127 <= i32::MAX as i64);
const _: () = assert!(EMBED_BATCH_MOST as u64 * EMBED_DIMENSIONS as u64 * 24 <= EMBED_ANSWER_BYTES);
const _: () = assert!(EMBED_TEXT_LEAST_BYTES <= EMBED_TEXT_BYTES);
