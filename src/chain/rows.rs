//! The chain's rows: how blocks, their places and the heads of a group are kept.
//!
//! | table | key | value |
//! |---|---|---|
//! | `Line` | author (32) ‖ seq (8) ‖ first 16 bytes of the id | signature (64) ‖ body |
//! | `Id` | block id (32) | author (32) ‖ seq (8) ‖ height (8) ‖ time_ms (8) |
//! | `Log` | number (8), from 0, in the sequence of storing | the block's `Line` key (56) |
//! | `Object` | the block's `Line` key (56) ‖ index of the transaction (4) | the bytes of the object that it names |
//! | `Meta` | `c` | counters ([`Counters`]) |
//! | `Meta` | `a` | what depends on the sequence of arrival ([`Arrivals`]) |
//! | `Meta` | `d` | empty, where our own line is in doubt: a block of ours may be missing here ([`in_doubt`]) |
//! | `Meta` | `h` | heads: blocks that nothing builds on yet ([`Head`]s) |
//! | `Meta` | `t` ‖ author (32) | the author's tips ([`Tip`]s): one, or the ends of its branches |
//! | `Meta` | `n` ‖ identity (32) | height (8) ‖ block id (32): the highest block that has named it as a member, whatever became of that |
//! | `Meta` | `u` | what members say of this node's membership: `node::shut_out`'s |
//! | `Meta` | `k`, `l` | what was done under names of their senders: `node::engine`'s |
//! | `Meta` | `o` ‖ object hash (32) ‖ the block's `Line` key (56) ‖ index (4) | the block's id (32): the object has not come yet |
//!
//! Numbers are big-endian. Two blocks of one author with one `seq` lie side by side in `Line`: a fork is a row more, and
//! nothing is overwritten by it: to find two ids with 16 bytes in common takes 2^64 hashes. (Eight would take 2^32, minutes.)
//!
//! An object lies where its block does, so that a line which grows appends: under their hashes objects would lie scattered, and each
//! new one would rewrite a leaf of its own, the more of them the longer the history. Two blocks that name the same bytes keep a copy each.

mod named;
mod object;

use std::ops::{Bound, ControlFlow};

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::named::set_named;
pub use self::named::{all_named, is_alone, is_named, named_by};
pub use self::object::{Wanted, has_object, object, wanted};
pub(crate) use self::object::{fill_wanted, next_wanted, set_object, set_wanted, wanted_after, wanted_places};
use super::block::{Body, Unverified};
use super::ids::BlockId;
use crate::cbor::{self, cbor_array};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Overlay, Read, Table};
use crate::limits;

cbor_array! {
    /// How much there is.
    #[derive(Default)]
    pub struct Counters {
        /// Blocks stored; also the next number of `Log`.
        pub blocks: u64,
        /// Blocks whose transactions the ledger refuses at their place.
        pub refused: u64,
        /// Claims that applied blocks have published, retracted ones included.
        pub claims: u64,
        /// Claims that applied blocks have taken back.
        pub retracted: u64,
        /// Experiences that applied blocks have published.
        pub experiences: u64,
        /// Bytes of block bodies.
        pub bytes: u64,
        /// The greatest height.
        pub height: u64,
        /// Blocks that a seal covers.
        pub sealed: u64,
    }

    /// What depends on the sequence in which blocks and objects came here, and so is another on every node.
    #[derive(Default, Copy)]
    pub struct Arrivals {
        /// How often a block that had counted did no more, or one that had not did, since another came before it.
        pub revised: u64,
        /// Objects that came after the blocks that name them.
        pub late_objects: u64,
    }

    /// A block that nothing builds on yet.
    pub struct Head {
        /// Which.
        pub id: BlockId,
        /// Its height.
        pub height: u64,
    }

    /// The end of an author's line, or of one of its branches.
    pub struct Tip {
        /// Its number in the line.
        pub seq: u64,
        /// The block.
        pub id: BlockId,
    }

    /// Where an object is named.
    #[derive(Copy, PartialOrd, Ord)]
    pub struct ObjectAt {
        /// By which block.
        pub block: BlockId,
        /// By which of its transactions.
        pub index: u32,
    }
}

impl Counters {
    /// Blocks that no seal covers.
    #[must_use]
    pub const fn open(&self) -> u64 {
        self.blocks.saturating_sub(self.sealed)
    }
}

/// What linking needs to know of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its author.
    pub author: Identity,
    /// Its number in the author's line.
    pub seq: u64,
    /// Its height.
    pub height: u64,
    /// Its time, milliseconds since 1970 UTC.
    pub time_ms: u64,
}

impl Placed {
    /// Where the block with this id lies in `Line`.
    #[must_use]
    pub fn line_key(&self, id: &BlockId) -> LineKey {
        LineKey::new(&self.author, self.seq, id)
    }
}

/// Where a block lies in `Line`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineKey([u8; LineKey::BYTES]);

impl LineKey {
    /// Length of its bytes.
    pub const BYTES: usize = 56;

    /// The key of a block.
    #[must_use]
    pub fn new(author: &Identity, seq: u64, id: &BlockId) -> Self {
        let mut key = [0; Self::BYTES];
        key[..32].copy_from_slice(author.as_bytes());
        key[32..40].copy_from_slice(&seq.to_be_bytes());
        key[40..].copy_from_slice(&id.as_bytes()[..Self::BYTES - 40]);
        Self(key)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// From its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The number in the author's line.
    #[must_use]
    pub fn seq(&self) -> u64 {
        let mut seq = [0; 8];
        seq.copy_from_slice(&self.0[32..40]);
        u64::from_be_bytes(seq)
    }
}

const COUNTERS: &[u8] = b"c";
const HEADS: &[u8] = b"h";
/// The key in `Meta` of the row there that depends on the sequence in which things came.
pub const ARRIVALS: &[u8] = b"a";
/// The key in `Meta` under which our own line is in doubt: what [`set_in_doubt`] sets.
pub const DOUBT: &[u8] = b"d";

fn keyed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}

/// Reads a row that holds CBOR.
pub(crate) fn read_row<T: DeserializeOwned>(kv: &dyn Read, table: Table, key: &[u8]) -> Result<Option<T>, KvError> {
    kv.get(table, key)?.map(|value| parse_row(table, key, &value)).transpose()
}

/// Reads the CBOR of a row.
pub(crate) fn parse_row<T: DeserializeOwned>(table: Table, key: &[u8], value: &[u8]) -> Result<T, KvError> {
    cbor::decode_lenient(value, value.len()).map_err(|_| KvError::damaged(table, key))
}

/// Writes a row that holds CBOR.
pub(crate) fn write_row<T: Serialize>(kv: &mut Overlay<'_>, table: Table, key: Vec<u8>, value: &T) {
    kv.put(table, key, cbor::encode(value));
}

/// How much there is.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn counters(kv: &dyn Read) -> Result<Counters, KvError> {
    Ok(read_row(kv, Table::Meta, COUNTERS)?.unwrap_or_default())
}

pub(crate) fn set_counters(kv: &mut Overlay<'_>, counters: &Counters) {
    write_row(kv, Table::Meta, COUNTERS.to_vec(), counters);
}

/// How what is here has come.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn arrivals(kv: &dyn Read) -> Result<Arrivals, KvError> {
    Ok(read_row(kv, Table::Meta, ARRIVALS)?.unwrap_or_default())
}

/// Counts blocks of which something else became than before, and objects that came late.
///
/// # Errors
/// [`KvError`] where the store fails.
pub(crate) fn count_arrivals(kv: &mut Overlay<'_>, revised: u64, late_objects: u64) -> Result<(), KvError> {
    if revised + late_objects > 0 {
        let mut arrivals = arrivals(kv)?;
        arrivals.revised += revised;
        arrivals.late_objects += late_objects;
        write_row(kv, Table::Meta, ARRIVALS.to_vec(), &arrivals);
    }
    Ok(())
}

/// Whether blocks of our own may be missing here, so that nothing of ours may be written: the folder was put back from an older
/// copy, or a peer had a block of ours that was not here.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn in_doubt(kv: &dyn Read) -> Result<bool, KvError> {
    Ok(kv.get(Table::Meta, DOUBT)?.is_some())
}

/// Marks our own line as in doubt, or takes the mark away.
pub fn set_in_doubt(kv: &mut Overlay<'_>, in_doubt: bool) {
    if in_doubt {
        kv.put(Table::Meta, DOUBT.to_vec(), vec![]);
    } else {
        kv.delete(Table::Meta, DOUBT.to_vec());
    }
}

/// The blocks that nothing builds on yet, ascending by id.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn heads(kv: &dyn Read) -> Result<Vec<Head>, KvError> {
    Ok(read_row(kv, Table::Meta, HEADS)?.unwrap_or_default())
}

pub(crate) fn set_heads(kv: &mut Overlay<'_>, heads: &[Head]) {
    write_row(kv, Table::Meta, HEADS.to_vec(), &heads);
}

/// The ends of an author's line: none before its first block, one of an honest author.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn tips(kv: &dyn Read, author: &Identity) -> Result<Vec<Tip>, KvError> {
    Ok(read_row(kv, Table::Meta, &keyed(b't', author.as_bytes()))?.unwrap_or_default())
}

pub(crate) fn set_tips(kv: &mut Overlay<'_>, author: &Identity, tips: &[Tip]) {
    write_row(kv, Table::Meta, keyed(b't', author.as_bytes()), &tips);
}

/// The tips of every author, ascending by author.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn all_tips(kv: &dyn Read) -> Result<Vec<(Identity, Vec<Tip>)>, KvError> {
    let mut all = Vec::new();
    let mut failed = Ok(());
    kv.scan_prefix(Table::Meta, b"t", &mut |key, value| {
        let author = key.get(1..).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()).map(Identity::from_stored);
        match (author, parse_row(Table::Meta, key, value)) {
            (Some(author), Ok(tips)) => all.push((author, tips)),
            _ => {
                failed = Err(KvError::damaged(Table::Meta, key));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map(|()| all)
}

/// Where a block stands, if it is stored.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn placed(kv: &dyn Read, id: &BlockId) -> Result<Option<Placed>, KvError> {
    let Some(value) = kv.get(Table::Id, id.as_bytes())? else { return Ok(None) };
    let parse = || {
        let (author, rest) = value.split_first_chunk::<32>()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (height, time) = rest.split_first_chunk()?;
        Some(Placed {
            author: Identity::from_stored(*author),
            seq: u64::from_be_bytes(*seq),
            height: u64::from_be_bytes(*height),
            time_ms: u64::from_be_bytes(time.try_into().ok()?),
        })
    };
    parse().map(Some).ok_or_else(|| KvError::damaged(Table::Id, id.as_bytes()))
}

pub(crate) fn set_placed(kv: &mut Overlay<'_>, id: &BlockId, body: &Body) {
    let mut value = Vec::with_capacity(56);
    value.extend_from_slice(body.author.as_bytes());
    value.extend_from_slice(&body.seq.to_be_bytes());
    value.extend_from_slice(&body.height.to_be_bytes());
    value.extend_from_slice(&body.time_ms.to_be_bytes());
    kv.put(Table::Id, id.as_bytes().to_vec(), value);
}

pub(crate) fn set_block(kv: &mut Overlay<'_>, key: &LineKey, signature: &[u8; 64], bytes: &[u8]) {
    let mut value = Vec::with_capacity(64 + bytes.len());
    value.extend_from_slice(signature);
    value.extend_from_slice(bytes);
    kv.put(Table::Line, key.0.to_vec(), value);
}

pub(crate) fn set_log(kv: &mut Overlay<'_>, number: u64, key: &LineKey) {
    kv.put(Table::Log, number.to_be_bytes().to_vec(), key.0.to_vec());
}

fn parse_block(key: &[u8], value: &[u8]) -> Result<Unverified, KvError> {
    let (signature, body) = value.split_first_chunk().ok_or_else(|| KvError::damaged(Table::Line, key))?;
    Ok(Unverified::new(body.to_vec(), *signature))
}

/// A block as it was received.
///
/// # Errors
/// [`KvError`] where the store fails or the block is not there.
pub fn block(kv: &dyn Read, key: &LineKey) -> Result<Unverified, KvError> {
    let value = kv.get(Table::Line, &key.0)?.ok_or_else(|| KvError::damaged(Table::Line, &key.0))?;
    parse_block(&key.0, &value)
}

/// A stored block's body, read.
///
/// # Errors
/// [`KvError`] where the store fails or the block is not there.
pub fn body(kv: &dyn Read, key: &LineKey) -> Result<Body, KvError> {
    read_body(key, &block(kv, key)?)
}

fn read_body(key: &LineKey, block: &Unverified) -> Result<Body, KvError> {
    cbor::decode_lenient(&block.body, limits::BLOCK_BYTES).map_err(|_| KvError::damaged(Table::Line, key.as_bytes()))
}

/// A stored block's id and body, read.
///
/// # Errors
/// [`KvError`] where the store fails or the block is not there.
pub fn body_and_id(kv: &dyn Read, key: &LineKey) -> Result<(BlockId, Body), KvError> {
    let block = block(kv, key)?;
    Ok((BlockId::of(&block.body), read_body(key, &block)?))
}

/// Visits an author's blocks from `seq` on, ascending: their keys, and themselves as received.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn line_from(
    kv: &dyn Read,
    author: &Identity,
    seq: u64,
    visit: &mut dyn FnMut(LineKey, Unverified) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let mut first = author.as_bytes().to_vec();
    first.extend_from_slice(&seq.to_be_bytes());
    let end = crate::kv::prefix_end(author.as_bytes());
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    line(kv, (Bound::Included(&first), upper), Direction::Up, visit)
}

/// Visits an author's blocks, the last first: all, or those before one.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn line_before(
    kv: &dyn Read,
    author: &Identity,
    before: Option<&LineKey>,
    visit: &mut dyn FnMut(LineKey, Unverified) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let end = match before {
        Some(before) => Some(before.as_bytes().to_vec()),
        None => crate::kv::prefix_end(author.as_bytes()),
    };
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    line(kv, (Bound::Included(author.as_bytes()), upper), Direction::Down, visit)
}

fn line(
    kv: &dyn Read,
    range: crate::kv::Range<'_>,
    direction: Direction,
    visit: &mut dyn FnMut(LineKey, Unverified) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let mut failed = Ok(());
    kv.scan(
        Table::Line,
        range,
        direction,
        &mut |key, value| match (LineKey::from_bytes(key), parse_block(key, value)) {
            (Some(key), Ok(block)) => visit(key, block),
            (None, _) => {
                failed = Err(KvError::damaged(Table::Line, key));
                ControlFlow::Break(())
            }
            (_, Err(error)) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed
}

/// How many blocks of an author have this number: more than one is a fork.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn branches(kv: &dyn Read, author: &Identity, seq: u64) -> Result<usize, KvError> {
    let mut prefix = author.as_bytes().to_vec();
    prefix.extend_from_slice(&seq.to_be_bytes());
    let mut count = 0;
    kv.scan_prefix(Table::Line, &prefix, &mut |_, _| {
        count += 1;
        ControlFlow::Continue(())
    })?;
    Ok(count)
}

/// Visits stored blocks in the sequence of storing, from number `from` in `direction`: the number and where the block lies.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn log(
    kv: &dyn Read,
    from: u64,
    direction: Direction,
    visit: &mut dyn FnMut(u64, LineKey) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let from = from.to_be_bytes();
    let range = match direction {
        Direction::Up => (Bound::Included(&from[..]), Bound::Unbounded),
        Direction::Down => (Bound::Unbounded, Bound::Included(&from[..])),
    };
    let mut failed = Ok(());
    kv.scan(Table::Log, range, direction, &mut |key, value| match (
        key.try_into().map(u64::from_be_bytes),
        LineKey::from_bytes(value),
    ) {
        (Ok(number), Some(line)) => visit(number, line),
        _ => {
            failed = Err(KvError::damaged(Table::Log, key));
            ControlFlow::Break(())
        }
    })?;
    failed
}
