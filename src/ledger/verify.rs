//! A whole group checked again: every block's bytes, form, signature and links, every outcome, and the state.
//!
//! Reads one view, trusts no row of it but the bytes of the blocks, and folds them in order from nothing, in memory. **Where no fault is
//! found, the stored state is what any node must come to that has the same blocks.** Pure; takes memory for the state and the
//! order, not for the blocks.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rayon::prelude::*;

use super::arrange;
use super::fold::OrderRow;
use super::invariants::{self, Broken};
use super::outcome::Outcome;
use super::query;
use crate::chain::link::{self, Block};
use crate::chain::rows::Counters;
use crate::chain::{
    BlockId, Context, GroupId, Invalid, LineKey, Link, LinkError, LinkFailure, Linked, ObjectHash, OrderKey,
    Transaction, Unverified, Verified, rows,
};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Memory, Overlay, Range, Read, Table, Visit};
use crate::limits;

/// What a check has come to.
#[derive(Debug)]
pub struct Report {
    /// Hash of the state that the new fold gave.
    pub state_hash: [u8; 32],
    /// Blocks checked.
    pub blocks: u64,
    /// What did not hold, at most [`limits::VERIFY_FAULTS`].
    pub faults: Vec<Fault>,
}

/// Something that does not hold.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The bytes of a block are another's.
    #[error("where the block {block} should lie, {found} does")]
    OtherBlock {
        /// Which should be there.
        block: BlockId,
        /// Which is.
        found: BlockId,
    },
    /// A block is invalid by itself.
    #[error("the block {block} is invalid: {why}")]
    Invalid {
        /// Which.
        block: BlockId,
        /// Why.
        why: Invalid,
    },
    /// A block does not stand where its height and the seals put it.
    #[error("the block {0} does not stand at its place of the order")]
    Place(BlockId),
    /// A block builds on what does not stand before it.
    #[error("the block {block} builds on {missing} blocks that do not stand before it")]
    Missing {
        /// Which.
        block: BlockId,
        /// On how many.
        missing: usize,
    },
    /// A block contradicts what it builds on.
    #[error("the block {block} contradicts what it builds on: {why}")]
    Link {
        /// Which.
        block: BlockId,
        /// In what.
        why: LinkError,
    },
    /// A block stands in the order twice.
    #[error("the block {0} stands in the order twice")]
    Twice(BlockId),
    /// An author that no block names.
    #[error("{0} has written blocks, and no block names it as a member")]
    Unnamed(Identity),
    /// The stored outcome is not what the fold comes to.
    #[error("the block {block} is stored as {}, and comes out as {}", told(stored), told(folded))]
    Outcome {
        /// Which.
        block: BlockId,
        /// As stored.
        stored: Outcome,
        /// As folded.
        folded: Outcome,
    },
    /// An object's bytes are not those that its hash names.
    #[error("the object {0} has other bytes than its hash says")]
    Object(ObjectHash),
    /// The order, the heads or the counters do not fit the blocks.
    #[error("the stored {0} are not those of the blocks")]
    Rows(&'static str),
    /// The state that the blocks give breaks a rule that every state keeps: a fault of this program.
    #[error("the blocks give a state in which {0}")]
    Invariant(Broken),
    /// The stored state is not what the fold comes to.
    #[error("the stored state has the hash {}, and the blocks give {}", hex::encode(stored), hex::encode(folded))]
    State {
        /// As stored.
        stored: [u8; 32],
        /// As folded.
        folded: [u8; 32],
    },
}

fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied => "applied".to_owned(),
        Outcome::Refused(index, refusal) => format!("refused at transaction {index} ({refusal})"),
    }
}

/// Checks a group again from its blocks.
///
/// # Errors
/// [`KvError`] where the store fails, or a row cannot be read at all.
pub fn verify(kv: &dyn Read, group: GroupId) -> Result<Report, KvError> {
    let mut check = Check {
        stored: kv,
        // A block is never too early for a clock at its end: it was not when it came.
        context: Context { group, now_ms: u64::MAX, max_drift_ms: 0 },
        memory: Memory::default(),
        blocks: 0,
        named: BTreeSet::new(),
        strangers: BTreeSet::new(),
        faults: Vec::new(),
    };
    let (mut batch, mut bytes) = (Vec::new(), 0);
    query::each_in_order(kv, Direction::Up, &mut |place, row| {
        let damaged = || KvError::damaged(Table::Order, &place.to_bytes());
        let line = LineKey::from_bytes(&row.line).ok_or_else(damaged)?;
        let block = rows::block(kv, &line)?;
        bytes += block.body.len();
        batch.push((place, block));
        if batch.len() == limits::VERIFY_BLOCKS || bytes >= limits::VERIFY_BYTES {
            check.batch(std::mem::take(&mut batch))?;
            bytes = 0;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    check.batch(batch)?;
    check.finish()
}

struct Check<'a> {
    stored: &'a dyn Read,
    context: Context,
    memory: Memory,
    blocks: u64,
    /// Whom a block names as a member.
    named: BTreeSet<Identity>,
    /// Authors that no block had named when theirs came in the order: another may, behind it.
    strangers: BTreeSet<Identity>,
    faults: Vec<Fault>,
}

/// What is folded anew, over the bytes of the blocks as they are stored.
struct Rebuilt<'a> {
    memory: &'a Memory,
    stored: &'a dyn Read,
}

impl Rebuilt<'_> {
    fn of(&self, table: Table) -> &dyn Read {
        if table == Table::Line { self.stored } else { self.memory }
    }
}

impl Read for Rebuilt<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.of(table).get(table, key)
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.of(table).scan(table, range, direction, visit)
    }
}

impl Check<'_> {
    fn fault(&mut self, fault: Fault) {
        if self.faults.len() < limits::VERIFY_FAULTS {
            self.faults.push(fault);
        }
    }

    fn batch(&mut self, batch: Vec<(OrderKey, Unverified)>) -> Result<(), KvError> {
        self.blocks += batch.len() as u64;
        let context = self.context;
        let verified: Vec<_> = batch
            .into_par_iter()
            .map(|(place, block)| (place, BlockId::of(&block.body), block.verify(&context)))
            .collect();
        let memory = std::mem::take(&mut self.memory);
        let base = Rebuilt { memory: &memory, stored: self.stored };
        let mut overlay = Overlay::new(&base);
        let mut linked = Vec::new();
        for (place, found, result) in verified {
            if found != place.id {
                self.fault(Fault::OtherBlock { block: place.id, found });
            }
            match result {
                Ok(block) => linked.extend(self.block(&mut overlay, block)?),
                Err(why) => self.fault(Fault::Invalid { block: place.id, why }),
            }
        }
        arrange::insert(&mut overlay, &linked)?;
        let changes = overlay.into_changes();
        self.memory = memory;
        self.memory.commit(changes);
        Ok(())
    }

    fn block(&mut self, overlay: &mut Overlay<'_>, block: Verified) -> Result<Option<Linked<Verified>>, KvError> {
        self.objects(&block)?;
        self.named.extend(block.body().transactions().iter().filter_map(Transaction::names_member));
        let linked = self.link(overlay, block)?;
        if let Some(linked) = &linked {
            link::store(overlay, linked)?;
        }
        Ok(linked)
    }

    fn link(&mut self, overlay: &mut Overlay<'_>, block: Verified) -> Result<Option<Linked<Verified>>, KvError> {
        let id = block.id();
        let fault = match link::link(overlay, block.clone()) {
            Ok(Link::Linked(linked)) => return Ok(Some(linked)),
            Ok(Link::Stranger(author)) if self.strangers.insert(author) => {
                rows::set_named(overlay, &author, 0, &id)?;
                return self.link(overlay, block);
            }
            Ok(Link::Stranger(author)) => Fault::Unnamed(author),
            Ok(Link::Known) => Fault::Twice(id),
            Ok(Link::Waits(_, missing)) => Fault::Missing { block: id, missing: missing.len() },
            Err(LinkFailure::Block(why)) => Fault::Link { block: id, why },
            Err(LinkFailure::Store(error)) => return Err(error),
        };
        self.fault(fault);
        Ok(None)
    }

    /// The objects that a block names, as far as they are here.
    fn objects(&mut self, block: &Verified) -> Result<(), KvError> {
        let line = block.line_key();
        for (index, transaction) in (0..).zip(block.body().transactions()) {
            let Some((hash, _)) = transaction.object() else { continue };
            if rows::object(self.stored, &line, index)?.is_some_and(|object| ObjectHash::of(&object) != hash) {
                self.fault(Fault::Object(hash));
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Report, KvError> {
        let unnamed: Vec<_> = self.strangers.difference(&self.named).copied().collect();
        for author in unnamed {
            self.fault(Fault::Unnamed(author));
        }
        let memory = std::mem::take(&mut self.memory);
        query::each_in_order(self.stored, Direction::Up, &mut |place, row| {
            match rows::read_row::<OrderRow>(&memory, Table::Order, &place.to_bytes())? {
                None => self.fault(Fault::Place(place.id)),
                Some(folded) if folded.outcome != row.outcome => {
                    let (stored, folded) = (row.outcome, folded.outcome);
                    self.fault(Fault::Outcome { block: place.id, stored, folded });
                }
                Some(_) => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let (stored, folded) = (rows::counters(self.stored)?, rows::counters(&memory)?);
        let told = |counters: &Counters| (counters.blocks, counters.refused, counters.sealed);
        if told(&stored) != told(&folded) || stored.blocks != self.blocks {
            self.fault(Fault::Rows("counters"));
        }
        if rows::heads(self.stored)? != rows::heads(&memory)? {
            self.fault(Fault::Rows("heads"));
        }
        if rows::all_tips(self.stored)? != rows::all_tips(&memory)? {
            self.fault(Fault::Rows("tips"));
        }
        for broken in invariants::check(&memory)? {
            self.fault(Fault::Invariant(broken));
        }
        let (stored, folded) = (query::state_hash(self.stored)?, query::state_hash(&memory)?);
        if stored != folded {
            self.fault(Fault::State { stored, folded });
        }
        Ok(Report { state_hash: folded, blocks: self.blocks, faults: self.faults })
    }
}

#[cfg(test)]
mod tests;
