//! The rows of objects: their bytes, beside the block that names them, and a row for each that has not come.

use std::ops::{Bound, ControlFlow};

use super::{LineKey, ObjectAt, keyed};
use crate::chain::ids::{BlockId, ObjectHash};
use crate::kv::{Direction, KvError, Overlay, Range, Read, Table};

/// An object that has not come, and one place where it is missing. Ordered by hash, then as blocks lie in `Line`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Its hash.
    pub hash: ObjectHash,
    /// Where the block lies that names it.
    pub line: LineKey,
    /// And which transaction of it.
    pub index: u32,
    /// The block.
    pub block: BlockId,
}

impl Wanted {
    /// What to ask a peer for.
    #[must_use]
    pub const fn at(&self) -> ObjectAt {
        ObjectAt { block: self.block, index: self.index }
    }

    fn key(&self) -> Vec<u8> {
        let mut key = keyed(b'o', self.hash.as_bytes());
        key.extend_from_slice(&object_key(&self.line, self.index));
        key
    }

    fn parse(key: &[u8], value: &[u8]) -> Result<Self, KvError> {
        let parse = || {
            let (hash, rest) = key.get(1..)?.split_first_chunk::<32>()?;
            let (line, index) = rest.split_first_chunk::<{ LineKey::BYTES }>()?;
            Some(Self {
                hash: ObjectHash::from_bytes(*hash),
                line: LineKey(*line),
                index: u32::from_be_bytes(index.try_into().ok()?),
                block: BlockId::from_bytes(value.try_into().ok()?),
            })
        };
        parse().ok_or_else(|| KvError::damaged(Table::Meta, key))
    }
}

fn object_key(line: &LineKey, index: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(LineKey::BYTES + 4);
    key.extend_from_slice(&line.0);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// The bytes of the object that a block's transaction names; none where it names none, or they have not come.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn object(kv: &dyn Read, line: &LineKey, index: u32) -> Result<Option<Vec<u8>>, KvError> {
    kv.get(Table::Object, &object_key(line, index))
}

/// Whether the object that a block's transaction names is here.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn has_object(kv: &dyn Read, line: &LineKey, index: u32) -> Result<bool, KvError> {
    Ok(object(kv, line, index)?.is_some())
}

/// Keeps the object that a stored block's transaction names: the caller has compared its hash.
pub(crate) fn set_object(kv: &mut Overlay<'_>, line: &LineKey, index: u32, bytes: Vec<u8>) {
    kv.put(Table::Object, object_key(line, index), bytes);
}

/// Notes that a stored block names an object that is not here.
pub(crate) fn set_wanted(kv: &mut Overlay<'_>, wanted: &Wanted) {
    kv.put(Table::Meta, wanted.key(), wanted.block.as_bytes().to_vec());
}

/// Keeps an object where it is wanted; nobody needs to send it there any more.
pub(crate) fn fill_wanted(kv: &mut Overlay<'_>, wanted: &Wanted, bytes: Vec<u8>) {
    set_object(kv, &wanted.line, wanted.index, bytes);
    kv.delete(Table::Meta, wanted.key());
}

/// The least hash from `from` on of an object that is wanted.
pub(crate) fn next_wanted(kv: &dyn Read, from: &ObjectHash) -> Result<Option<ObjectHash>, KvError> {
    let from = keyed(b'o', from.as_bytes());
    let next = scan_wanted(kv, (Bound::Included(&from), Bound::Excluded(b"p")), 1)?;
    Ok(next.first().map(|wanted| wanted.hash))
}

/// Places where an object is wanted, at most `at_most`.
pub(crate) fn wanted_places(kv: &dyn Read, hash: &ObjectHash, at_most: usize) -> Result<Vec<Wanted>, KvError> {
    let first = keyed(b'o', hash.as_bytes());
    let end = crate::kv::prefix_end(&first);
    scan_wanted(kv, (Bound::Included(&first), end.as_deref().map_or(Bound::Unbounded, Bound::Excluded)), at_most)
}

/// Objects that stored blocks name and that are not here, at most `at_most`.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn wanted(kv: &dyn Read, at_most: usize) -> Result<Vec<Wanted>, KvError> {
    wanted_after(kv, None, at_most)
}

/// The same from behind one on, and from the beginning again after the last.
pub(crate) fn wanted_after(kv: &dyn Read, after: Option<&Wanted>, at_most: usize) -> Result<Vec<Wanted>, KvError> {
    let start = after.map(Wanted::key);
    let first = start.as_deref().map_or(Bound::Included(&b"o"[..]), Bound::Excluded);
    let mut all = scan_wanted(kv, (first, Bound::Excluded(b"p")), at_most)?;
    if let Some(start) = start.as_deref() {
        all.extend(scan_wanted(kv, (Bound::Included(b"o"), Bound::Included(start)), at_most - all.len())?);
    }
    Ok(all)
}

fn scan_wanted(kv: &dyn Read, range: Range<'_>, at_most: usize) -> Result<Vec<Wanted>, KvError> {
    let mut all = Vec::new();
    let mut failed = Ok(());
    kv.scan(Table::Meta, range, Direction::Up, &mut |key, value| {
        if all.len() >= at_most {
            return ControlFlow::Break(());
        }
        match Wanted::parse(key, value) {
            Ok(wanted) => all.push(wanted),
            Err(error) => {
                failed = Err(error);
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map(|()| all)
}
