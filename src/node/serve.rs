//! Answers to peers, from one consistent view of a group.
//!
//! **Who is no member learns nothing**, and membership is read in the same view as what is sent. Each answer is bounded by
//! [`limits::BATCH_BYTES`] and [`limits::BATCH_BLOCKS`], and costs what it sends, not what the group holds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::ops::ControlFlow;

use serde_bytes::ByteBuf;

use crate::cbor;
use crate::chain::{BlockId, Body, Frontier, LineKey, Tip, Unverified, rows};
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::state;
use crate::limits;
use crate::wire::{self, Batch, Probe, Reached, Refused, Request, Response, WantBlocks, WantObjects};

/// Blocks of one line that an answer takes from the store at a time.
const RUN: usize = 256;

/// Answers a request of `peer`, except `push` and `have`, which are not questions.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn serve(kv: &dyn Read, peer: &Identity, request: Request) -> Result<Response, KvError> {
    if state::member(kv, peer)?.is_none() {
        return Ok(Response::Refused(Refused::NotShared));
    }
    match request {
        Request::Probe(Probe { digest, .. }) => {
            let ours = Frontier::new(rows::all_tips(kv)?).digest();
            Ok(if digest.as_slice() == ours { Response::Same } else { Response::Differs })
        }
        Request::Pull(pull) => missing_blocks(kv, &wire::frontier(pull.frontier)).map(Response::Batch),
        Request::WantBlocks(WantBlocks { ids, .. }) => wanted_blocks(kv, &ids).map(Response::Batch),
        Request::WantObjects(WantObjects { hashes, .. }) => {
            let mut batch = Gathered::default();
            for hash in hashes {
                if let Some(object) = rows::object(kv, &hash)? {
                    batch.add_object(object);
                }
                if batch.is_full() {
                    break;
                }
            }
            Ok(Response::Batch(batch.finish(false)))
        }
        Request::Push(_) | Request::Have(_) => Ok(Response::Refused(Refused::Malformed)),
    }
}

/// A batch that grows to its bounds.
#[derive(Default)]
struct Gathered {
    blocks: Vec<Unverified>,
    objects: Vec<ByteBuf>,
    reached: BTreeMap<Identity, Tip>,
    bytes: usize,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.bytes >= limits::BATCH_BYTES || self.blocks.len() >= limits::BATCH_BLOCKS
    }

    /// Adds a block, and of its objects those that fit beside it in one message.
    fn add_block(&mut self, kv: &dyn Read, block: Unverified, body: &Body) -> Result<(), KvError> {
        self.bytes += block.body.len() + 72;
        for (hash, _) in body.transactions().iter().filter_map(crate::chain::Transaction::object) {
            // One that does not fit is asked for by its hash. Its length is its own: the transaction may lie about it.
            if let Some(object) = rows::object(kv, &hash)?
                && self.bytes + object.len() < limits::MESSAGE_BYTES - limits::BLOCK_BYTES
            {
                self.add_object(object);
            }
        }
        self.reached.insert(body.author, Tip { seq: body.seq, id: BlockId::of(&block.body) });
        self.blocks.push(block);
        Ok(())
    }

    fn add_object(&mut self, object: Vec<u8>) {
        self.bytes += object.len() + 5;
        self.objects.push(ByteBuf::from(object));
    }

    fn finish(self, more: bool) -> Batch {
        let reached = self.reached.into_iter().map(|(author, tip)| Reached { author, tip }).collect();
        Batch { blocks: self.blocks, objects: self.objects, reached, more }
    }
}

/// What an author has here that a peer lacks, read in runs.
struct Line<'a> {
    kv: &'a dyn Read,
    author: Identity,
    next_seq: u64,
    run: VecDeque<(Unverified, Body)>,
    done: bool,
}

impl Line<'_> {
    /// Makes sure that the next block is at hand, and gives its height and id.
    fn peek(&mut self) -> Result<Option<(u64, BlockId)>, KvError> {
        if self.run.is_empty() && !self.done {
            let mut read = Vec::new();
            rows::line_from(self.kv, &self.author, self.next_seq, &mut |key, block| {
                // A run ends between two numbers, so that branches stay together.
                if read.len() >= RUN && read.last().is_some_and(|(last, _): &(LineKey, _)| last.seq() < key.seq()) {
                    return ControlFlow::Break(());
                }
                read.push((key, block));
                ControlFlow::Continue(())
            })?;
            self.done = read.len() < RUN;
            self.next_seq = read.last().map_or(self.next_seq, |(key, _)| key.seq() + 1);
            for (key, block) in read {
                let damaged = |_| KvError::damaged(crate::kv::Table::Line, key.as_bytes());
                let body = cbor::decode_lenient(&block.body, limits::BLOCK_BYTES).map_err(damaged)?;
                self.run.push_back((block, body));
            }
        }
        Ok(self.run.front().map(|(block, body)| (body.height, BlockId::of(&block.body))))
    }
}

/// The blocks that a peer with `theirs` lacks, causes first: the lines of all authors, merged by height.
fn missing_blocks(kv: &dyn Read, theirs: &Frontier) -> Result<Batch, KvError> {
    let mut lines = Vec::new();
    for (author, ours) in rows::all_tips(kv)? {
        if let Some(next_seq) = first_missing(kv, &author, &ours, theirs.tips(&author))? {
            lines.push(Line { kv, author, next_seq, run: VecDeque::new(), done: false });
        }
    }
    let mut heap = BinaryHeap::new();
    for (index, line) in lines.iter_mut().enumerate() {
        heap.extend(line.peek()?.map(|place| Reverse((place, index))));
    }
    let mut batch = Gathered::default();
    while let Some(Reverse((_, index))) = heap.pop() {
        if batch.is_full() {
            return Ok(batch.finish(true));
        }
        let Some(line) = lines.get_mut(index) else { break };
        if let Some((block, body)) = line.run.pop_front() {
            batch.add_block(kv, block, &body)?;
        }
        heap.extend(line.peek()?.map(|place| Reverse((place, index))));
    }
    Ok(batch.finish(false))
}

/// The first number of an author's line from which a peer may lack blocks; none where it has all that are here.
fn first_missing(kv: &dyn Read, author: &Identity, ours: &[Tip], theirs: &[Tip]) -> Result<Option<u64>, KvError> {
    if ours.iter().all(|tip| theirs.contains(tip)) {
        return Ok(None);
    }
    let mut first = ours.last().map_or(0, |tip| tip.seq + 1);
    if theirs.is_empty() {
        return Ok(Some(0));
    }
    // The peer's last block is on our line: it lacks what follows.
    if let ([our], [their]) = (ours, theirs) {
        if their.seq > our.seq {
            return Ok(None);
        }
        if rows::placed(kv, &their.id)?.is_some() {
            return Ok(Some(their.seq + 1));
        }
    }
    // A fork: everything from where a line of ours leaves the ones that the peer has.
    for tip in ours.iter().filter(|tip| !theirs.contains(tip)) {
        let mut seq = tip.seq;
        while seq > 0 && first.saturating_sub(seq) < limits::WANT_IDS as u64 {
            let shared = rows::branches(kv, author, seq)? == 1 && theirs.iter().any(|their| their.seq >= seq);
            if shared && their_line_is_here(kv, theirs)? {
                break;
            }
            seq -= 1;
        }
        first = first.min(seq);
    }
    Ok(Some(first))
}

fn their_line_is_here(kv: &dyn Read, theirs: &[Tip]) -> Result<bool, KvError> {
    for tip in theirs {
        if rows::placed(kv, &tip.id)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Blocks by id, each after a run of the blocks before it in its author's line.
fn wanted_blocks(kv: &dyn Read, ids: &[BlockId]) -> Result<Batch, KvError> {
    let mut found = BTreeMap::new();
    let mut left = limits::BATCH_BLOCKS;
    for id in ids {
        let mut next = Some(*id);
        for _ in 0..RUN {
            let Some(id) = next else { break };
            let Some(placed) = rows::placed(kv, &id)? else { break };
            if left == 0 || found.contains_key(&(placed.height, id)) {
                break;
            }
            let key = LineKey::new(&placed.author, placed.seq, &id);
            let body = rows::body(kv, &key)?;
            next = body.prev;
            left -= 1;
            found.insert((placed.height, id), (key, body));
        }
    }
    let mut batch = Gathered::default();
    for (key, body) in found.values() {
        if batch.is_full() {
            return Ok(batch.finish(true));
        }
        batch.add_block(kv, rows::block(kv, key)?, body)?;
    }
    Ok(batch.finish(false))
}
