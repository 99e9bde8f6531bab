//! Writes that are done once: what was written under a name that its sender chose for it.
//!
//! | table | key | value |
//! |---|---|---|
//! | `Meta` | `k` ‖ name (32) | [`Kept`] |
//! | `Meta` | `l` ‖ time (8) ‖ name (32) | empty: when it was done |
//!
//! The rows are written in the commit of the blocks that they are about, so that **what is durable is known to be done, whatever cut the
//! answer off**. They are this node's own: no peer hears of them. After [`limits::ONCE_MS`] a name is free again.

use std::ops::{Bound, ControlFlow};

use serde_bytes::ByteArray;

use super::{Failure, Written};
use crate::cbor::{self, cbor_array};
use crate::chain::rows::{read_row, write_row};
use crate::chain::{BlockId, ClaimId, Transaction};
use crate::identity::{Identity, SecretKey};
use crate::kv::{Direction, KvError, Overlay, Read, Table};
use crate::limits;

/// A name for a write: of its author, and of nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; 32]);

impl Name {
    /// The name that an author gives by a word of its own.
    #[must_use]
    pub fn new(author: &Identity, word: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lbm idempotency key 1");
        hasher.update(author.as_bytes());
        hasher.update(word);
        Self(*hasher.finalize().as_bytes())
    }

    /// 32 bytes that the same name and content give again to the same key, and that nobody else can tell from random ones.
    #[must_use]
    pub fn salt(&self, key: &SecretKey, content: &[u8]) -> [u8; 32] {
        *key.derive("lbm salt of a package 1", &[self.0, *blake3::hash(content).as_bytes()].concat())
    }

    fn key(self) -> Vec<u8> {
        [b"k".as_slice(), &self.0].concat()
    }

    fn time_key(self, time_ms: u64) -> Vec<u8> {
        [b"l".as_slice(), &time_ms.to_be_bytes(), &self.0].concat()
    }
}

cbor_array! {
    /// What was done under a name.
    pub struct Kept {
        /// The hash of what was to be written.
        pub request: ByteArray<32>,
        /// [`Written::blocks`].
        pub blocks: Vec<BlockId>,
        /// [`Written::claims`].
        pub claims: Vec<ClaimId>,
        /// [`Written::time_ms`].
        pub time_ms: u64,
    }
}

/// What is to be written, in a hash.
pub(super) fn request_hash(transactions: &[Transaction]) -> [u8; 32] {
    *blake3::hash(&cbor::encode(&transactions)).as_bytes()
}

/// What was written under a name, where something was.
///
/// # Errors
/// [`Failure::OtherRequest`] where that was something else, [`KvError`] where the store fails.
pub(super) fn done(kv: &dyn Read, name: Name, request: [u8; 32]) -> Result<Option<Written>, Failure> {
    let Some(done) = read_row::<Kept>(kv, Table::Meta, &name.key())? else { return Ok(None) };
    if *done.request != request {
        return Err(Failure::OtherRequest);
    }
    Ok(Some(Written { blocks: done.blocks, claims: done.claims, time_ms: done.time_ms }))
}

/// Keeps what was written under a name, and forgets a few that are long past.
///
/// # Errors
/// [`KvError`] where the store fails.
pub(super) fn keep(
    kv: &mut Overlay<'_>,
    name: Name,
    request: [u8; 32],
    written: &Written,
    now_ms: u64,
) -> Result<(), KvError> {
    let mut past = Vec::new();
    let end = [b"l".as_slice(), &now_ms.saturating_sub(limits::ONCE_MS).to_be_bytes()].concat();
    let range = (Bound::Included(b"l".as_slice()), Bound::Excluded(end.as_slice()));
    kv.scan(Table::Meta, range, Direction::Up, &mut |key, _| {
        past.push(key.to_vec());
        // More than come in, so that they end.
        if past.len() < limits::ONCE_FORGOTTEN { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for key in past {
        if let Some(name) = key.get(9..) {
            kv.delete(Table::Meta, [b"k".as_slice(), name].concat());
        }
        kv.delete(Table::Meta, key);
    }
    let done = Kept {
        request: ByteArray::new(request),
        blocks: written.blocks.clone(),
        claims: written.claims.clone(),
        time_ms: written.time_ms,
    };
    write_row(kv, Table::Meta, name.key(), &done);
    kv.put(Table::Meta, name.time_key(now_ms), Vec::new());
    Ok(())
}
