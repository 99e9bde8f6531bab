//! What one peer has sent on its way into the rows: blocks that link, those that have waited for them, and objects.
//!
//! **An object is kept wherever a stored block names its hash and lacks it**, however often it was sent; where it has not come, it is
//! marked as wanted. Takes time and memory in proportion to the message, and to [`limits::COPIED_BYTES`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_bytes::ByteBuf;

use super::engine::{GroupBatch, Ingested, fresh};
use crate::chain::link::{self, Block};
use crate::chain::rows::Wanted;
use crate::chain::{Body, Held, LineKey, Link, LinkFailure, Linked, ObjectHash, Verified, Waiting, rows};
use crate::identity::Identity;
use crate::kv::KvError;
use crate::limits;

/// The objects that a block names, each with the index of the transaction that does.
pub(super) fn named(body: &Body) -> impl Iterator<Item = (u32, ObjectHash)> {
    (0..).zip(body.transactions()).filter_map(|(index, transaction)| Some((index, transaction.object()?.0)))
}

/// What an object's row takes besides its bytes, as copies are counted.
const OBJECT_ROW_BYTES: usize = LineKey::BYTES + 4;

/// One peer's blocks on their way in.
pub(super) struct Intake<'e, 'a> {
    batch: &'e mut GroupBatch<'a>,
    waiting: &'e mut Waiting,
    peer: Identity,
    objects: BTreeMap<ObjectHash, Vec<u8>>,
    /// Which of the objects are kept somewhere: what follows are copies.
    stored_once: BTreeSet<ObjectHash>,
    /// Bytes of copies that may still be kept.
    room: usize,
    report: Ingested,
}

impl<'e, 'a> Intake<'e, 'a> {
    pub(super) fn new(
        batch: &'e mut GroupBatch<'a>,
        waiting: &'e mut Waiting,
        peer: Identity,
        objects: BTreeMap<ObjectHash, Vec<u8>>,
    ) -> Self {
        let (stored_once, room, report) = (BTreeSet::new(), limits::COPIED_BYTES, Ingested::default());
        Self { batch, waiting, peer, objects, stored_once, room, report }
    }

    /// Links what can be linked, with what had waited for it, and writes its rows but for the order's.
    pub(super) fn take(&mut self, blocks: Vec<Verified>) -> Result<Vec<Linked<Verified>>, KvError> {
        let mut stored = Vec::with_capacity(blocks.len());
        let held = |block| Held { block, objects: vec![], from: self.peer };
        let mut queue: VecDeque<Held> = blocks.into_iter().map(held).collect();
        while let Some(Held { block, objects, from }) = queue.pop_front() {
            self.objects.extend(objects);
            match link::link(&self.batch.overlay, block) {
                Ok(Link::Known) => self.report.known += 1,
                Ok(Link::Waits(block, missing)) => {
                    self.report.waiting += 1;
                    let objects = self.objects_of(&block);
                    self.waiting.insert(Held { block, objects, from }, missing);
                }
                // Whoever named it has not reached us yet; sync brings both again.
                Ok(Link::Stranger(_)) => self.report.waiting += 1,
                Ok(Link::Linked(linked)) => {
                    let waiters = self.waiting.release(&linked.block().id());
                    self.store(&linked, from)?;
                    stored.push(linked);
                    for waiter in waiters.into_iter().rev() {
                        queue.push_front(waiter);
                    }
                }
                // Who sends what another's bad block has waited for is not at fault.
                Err(LinkFailure::Block(fault)) if from == self.peer => self.report.fault = Some(fault),
                Err(LinkFailure::Block(_)) => {}
                Err(LinkFailure::Store(error)) => return Err(error),
            }
        }
        self.report.stored = stored.len();
        Ok(stored)
    }

    /// The objects that a block names, of those that came with it.
    fn objects_of(&self, block: &Verified) -> Vec<(ObjectHash, Vec<u8>)> {
        let hashes: BTreeSet<ObjectHash> = named(block.body()).map(|(_, hash)| hash).collect();
        hashes.into_iter().filter_map(|hash| Some((hash, self.objects.get(&hash)?.clone()))).collect()
    }

    fn store(&mut self, linked: &Linked<Verified>, from: Identity) -> Result<(), KvError> {
        let overlay = &mut self.batch.overlay;
        let block = linked.block();
        if link::store(overlay, linked)? {
            self.batch.news.equivocators.push(block.body().author);
        }
        rows::set_block(overlay, &block.line_key(), block.signature(), block.bytes());
        let line = block.line_key();
        let mut came = BTreeMap::new();
        for (index, hash) in named(block.body()) {
            match self.take_copy(&hash) {
                Some(object) => {
                    came.entry(hash).or_insert_with(|| ByteBuf::from(object.clone()));
                    rows::set_object(&mut self.batch.overlay, &line, index, object);
                }
                None => {
                    let wanted = Wanted { hash, line, index, block: block.id() };
                    rows::set_wanted(&mut self.batch.overlay, &wanted);
                }
            }
        }
        let came = came.into_values().collect();
        self.batch.news.blocks.push((Some(from), Arc::new(fresh(block, came))));
        Ok(())
    }

    /// The bytes of an object that came, to be kept at one place of many; none where it did not, or the copies have no room: the
    /// place is wanted then, and asked for like any other.
    fn take_copy(&mut self, hash: &ObjectHash) -> Option<Vec<u8>> {
        let object = self.objects.get(hash)?;
        if !self.stored_once.insert(*hash) {
            self.room = self.room.checked_sub(object.len() + OBJECT_ROW_BYTES)?;
        }
        Some(object.clone())
    }

    /// Keeps the objects that other blocks had waited for.
    pub(super) fn finish(mut self, wanted_after: &mut Option<Wanted>) -> Result<Ingested, KvError> {
        // From one object to the next that is wanted, and back: no step for those of which only one side has heard.
        let mut next = self.objects.keys().next().copied();
        while let Some(hash) = next {
            next = match rows::next_wanted(&self.batch.overlay, &hash)? {
                None => None,
                Some(wanted) if wanted == hash => {
                    self.fill(&hash)?;
                    self.objects.range((Bound::Excluded(hash), Bound::Unbounded)).next().map(|(hash, _)| *hash)
                }
                Some(wanted) => self.objects.range(wanted..).next().map(|(hash, _)| *hash),
            };
        }
        rows::count_arrivals(&mut self.batch.overlay, 0, self.report.objects as u64)?;
        let wanted = rows::wanted_after(&self.batch.overlay, wanted_after.as_ref(), limits::WANT_IDS)?;
        if wanted.len() == limits::WANT_IDS {
            *wanted_after = wanted.last().copied();
        }
        self.report.wanted = wanted.iter().map(Wanted::at).collect();
        Ok(self.report)
    }

    /// Keeps an object at the places where it is wanted, as far as there is room.
    fn fill(&mut self, hash: &ObjectHash) -> Result<(), KvError> {
        let at_most = 1 + self.room / OBJECT_ROW_BYTES;
        for wanted in rows::wanted_places(&self.batch.overlay, hash, at_most)? {
            let Some(object) = self.take_copy(hash) else { break };
            rows::fill_wanted(&mut self.batch.overlay, &wanted, object);
            self.batch.filled.push(wanted);
            self.report.objects += 1;
        }
        Ok(())
    }
}
