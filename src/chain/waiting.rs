//! Verified blocks that wait for what they build on.
//!
//! Bounded in blocks and bytes: past either the oldest is dropped, and sync brings it again. **A block here is in no other
//! place**: nothing of it is stored, and nobody has been told that it was. Each is kept with who sent it: an honest sender has
//! what its block builds on, so it is the one to ask, and the one to blame.

use std::collections::{BTreeMap, BTreeSet};

use super::block::Verified;
use super::ids::{BlockId, ObjectHash};
use crate::identity::Identity;
use crate::limits;

/// The waiting blocks of one group.
#[derive(Debug, Default)]
pub struct Waiting {
    blocks: BTreeMap<BlockId, Waiter>,
    by_missing: BTreeMap<BlockId, BTreeSet<BlockId>>,
    by_age: BTreeMap<u64, BlockId>,
    bytes: usize,
    next_age: u64,
    dropped: u64,
}

/// A block that waits.
#[derive(Debug)]
pub struct Held {
    /// The block.
    pub block: Verified,
    /// The objects that came with it.
    pub objects: Vec<(ObjectHash, Vec<u8>)>,
    /// Who sent it.
    pub from: Identity,
}

impl Held {
    fn bytes(&self) -> usize {
        self.block.bytes().len() + self.objects.iter().map(|(_, object)| object.len()).sum::<usize>()
    }
}

#[derive(Debug)]
struct Waiter {
    held: Held,
    missing: Vec<BlockId>,
    age: u64,
}

impl Waiting {
    /// Keeps a block until one of `missing` comes.
    pub fn insert(&mut self, held: Held, missing: Vec<BlockId>) {
        let id = held.block.id();
        self.remove(&id);
        for on in &missing {
            self.by_missing.entry(*on).or_default().insert(id);
        }
        self.bytes += held.bytes();
        self.by_age.insert(self.next_age, id);
        self.blocks.insert(id, Waiter { held, missing, age: self.next_age });
        self.next_age += 1;
        while self.blocks.len() > limits::WAITING_BLOCKS || self.bytes > limits::WAITING_BYTES {
            let Some((_, oldest)) = self.by_age.pop_first() else { break };
            self.remove(&oldest);
            self.dropped += 1;
        }
    }

    /// Whether the block waits here.
    #[must_use]
    pub fn contains(&self, id: &BlockId) -> bool {
        self.blocks.contains_key(id)
    }

    /// Takes out the blocks that waited for `id`; they may wait for others still.
    pub fn release(&mut self, id: &BlockId) -> Vec<Held> {
        let waiters = self.by_missing.remove(id).unwrap_or_default();
        waiters.iter().filter_map(|waiter| self.remove(waiter)).collect()
    }

    /// What blocks that `from` has sent wait for, and nobody has sent: at most `at_most` ids, ascending.
    #[must_use]
    pub fn missing(&self, from: &Identity, at_most: usize) -> Vec<BlockId> {
        let waiters = self.blocks.values().filter(|waiter| waiter.held.from == *from);
        let missing: BTreeSet<BlockId> = waiters.flat_map(|waiter| waiter.missing.iter().copied()).collect();
        missing.into_iter().filter(|id| !self.blocks.contains_key(id)).take(at_most).collect()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// How many were dropped for want of room.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn remove(&mut self, id: &BlockId) -> Option<Held> {
        let Waiter { held, missing, age } = self.blocks.remove(id)?;
        self.bytes -= held.bytes();
        self.by_age.remove(&age);
        for on in missing {
            if let Some(waiters) = self.by_missing.get_mut(&on) {
                waiters.remove(id);
                if waiters.is_empty() {
                    self.by_missing.remove(&on);
                }
            }
        }
        Some(held)
    }
}
