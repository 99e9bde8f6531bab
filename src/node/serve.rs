//! Answers to peers, from one consistent view of a group.
//!
//! **Who is no member learns nothing**, and membership is read in the same view as what is sent. Each answer is bounded by
//! [`limits::BATCH_BYTES`] and [`limits::BATCH_BLOCKS`], and costs what it sends, not what the group holds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::ops::ControlFlow;

use serde_bytes::ByteBuf;

use crate::cbor;
use crate::chain::{BlockId, Body, Frontier, LineKey, ObjectAt, ObjectHash, Tip, Unverified, rows};
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::state;
use crate::limits;
use crate::wire::{self, Batch, Probe, Reached, Refused, Request, Response, WantBlocks, WantObjects};

/// Blocks of one line that an answer takes from the store at a time.
const RUN: usize = 256;

/// Answers a request of a peer, except `push`, `have`, `presences` and `acting`, which are not questions. `asks_as` are the peer and those
/// for whom it acts: one of them must be a member.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn serve(kv: &dyn Read, asks_as: &[Identity], request: Request) -> Result<Response, KvError> {
    let mut is_member = false;
    for asker in asks_as {
        is_member |= state::member(kv, asker)?.is_some();
    }
    if !is_member {
        // It was one when it asked, and is none now: why, is said when it asks again.
        return Ok(Response::Refused(Refused::NotShared));
    }
    match request {
        Request::Probe(Probe { digest, .. }) => {
            let ours = Frontier::new(rows::all_tips(kv)?).digest();
            Ok(if digest.as_slice() == ours { Response::Same } else { Response::Differs })
        }
        Request::Pull(pull) => missing_blocks(kv, &wire::frontier(pull.frontier)).map(Response::Batch),
        Request::WantBlocks(WantBlocks { ids, .. }) => wanted_blocks(kv, &ids).map(Response::Batch),
        Request::WantObjects(WantObjects { objects, .. }) => wanted_objects(kv, &objects).map(Response::Batch),
        Request::Push(_)
        | Request::Have(_)
        | Request::Presences(_)
        | Request::Acting(_)
        | Request::Peers(_)
        | Request::Knock(_)
        | Request::Parted(_) => Ok(Response::Refused(Refused::Malformed)),
    }
}

/// A batch that grows to its bounds.
#[derive(Default)]
struct Gathered {
    blocks: Vec<Unverified>,
    objects: Vec<ByteBuf>,
    /// The hashes of the objects: each is sent once, for as many places as name it.
    hashes: BTreeSet<ObjectHash>,
    /// What the asker will have of the authors whose blocks are here.
    reached: Frontier,
    bytes: usize,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.bytes >= limits::BATCH_BYTES || self.blocks.len() >= limits::BATCH_BLOCKS
    }

    /// Adds a block, and of its objects those that fit beside it in one message.
    fn add_block(&mut self, kv: &dyn Read, block: Unverified, body: &Body, theirs: &Frontier) -> Result<(), KvError> {
        self.bytes += block.body.len() + 72;
        let id = BlockId::of(&block.body);
        let line = LineKey::new(&body.author, body.seq, &id);
        for (index, transaction) in (0..).zip(body.transactions()) {
            let Some((hash, _)) = transaction.object().filter(|(hash, _)| !self.hashes.contains(hash)) else {
                continue;
            };
            // One that does not fit is asked for later. What counts is the object's own length: the author may have lied.
            if let Some(object) = rows::object(kv, &line, index)?
                && self.bytes + object.len() < limits::MESSAGE_BYTES - limits::BLOCK_BYTES
            {
                self.add_object(hash, object);
            }
        }
        if self.reached.tips(&body.author).is_empty() {
            self.reached.set(body.author, theirs.tips(&body.author).to_vec());
        }
        self.reached.advance(body.author, body.prev, Tip { seq: body.seq, id });
        self.blocks.push(block);
        Ok(())
    }

    /// Adds an object. One that is here already counts as well: it has been read.
    fn add_object(&mut self, hash: ObjectHash, object: Vec<u8>) {
        self.bytes += object.len() + 5;
        if self.hashes.insert(hash) {
            self.objects.push(ByteBuf::from(object));
        }
    }

    fn finish(self, more: bool) -> Batch {
        let tips: Vec<wire::AuthorTips> = (&self.reached).into();
        let each = |wire::AuthorTips { author, tips }| tips.into_iter().map(move |tip| Reached { author, tip });
        let reached = tips.into_iter().flat_map(each).take(limits::BATCH_BLOCKS).collect();
        Batch { blocks: self.blocks, objects: self.objects, reached, more }
    }
}

/// What an author has here that a peer lacks, read in runs.
struct Line<'a> {
    kv: &'a dyn Read,
    author: Identity,
    next_seq: u64,
    run: VecDeque<(Unverified, Body)>,
    /// Blocks to read at a time.
    size: usize,
    done: bool,
}

impl Line<'_> {
    /// Makes sure that the next block is at hand, and gives its height and id.
    fn peek(&mut self) -> Result<Option<(u64, BlockId)>, KvError> {
        if self.run.is_empty() && !self.done {
            let mut read = Vec::new();
            rows::line_from(self.kv, &self.author, self.next_seq, &mut |key, block| {
                // A run ends between two numbers, so that branches stay together.
                if read.len() >= self.size && read.last().is_some_and(|(last, _): &(LineKey, _)| last.seq() < key.seq())
                {
                    return ControlFlow::Break(());
                }
                read.push((key, block));
                ControlFlow::Continue(())
            })?;
            self.done = read.len() < self.size;
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
        if let Some((run, next_seq)) = missing_of(kv, &author, &ours, theirs.tips(&author))? {
            lines.push(Line { kv, author, next_seq, run, size: RUN, done: false });
        }
    }
    // Together the runs of many authors are not much more than one answer can hold.
    let size = (limits::BATCH_BLOCKS / lines.len().max(1)).clamp(4, RUN);
    let mut heap = BinaryHeap::new();
    for (index, line) in lines.iter_mut().enumerate() {
        line.size = size;
        heap.extend(line.peek()?.map(|place| Reverse((place, index))));
    }
    let mut batch = Gathered::default();
    while let Some(Reverse((_, index))) = heap.pop() {
        if batch.is_full() {
            return Ok(batch.finish(true));
        }
        let Some(line) = lines.get_mut(index) else { break };
        if let Some((block, body)) = line.run.pop_front() {
            batch.add_block(kv, block, &body, theirs)?;
        }
        heap.extend(line.peek()?.map(|place| Reverse((place, index))));
    }
    Ok(batch.finish(false))
}

/// Blocks of one author that a peer lacks among its branches, and the number from which it lacks all.
type Missing = (VecDeque<(Unverified, Body)>, u64);

/// What a peer lacks of an author's line; none where it lacks nothing, or is ahead.
fn missing_of(kv: &dyn Read, author: &Identity, ours: &[Tip], theirs: &[Tip]) -> Result<Option<Missing>, KvError> {
    if ours.iter().all(|tip| theirs.contains(tip)) {
        return Ok(None);
    }
    let Some(highest) = theirs.iter().map(|tip| tip.seq).max() else { return Ok(Some((VecDeque::new(), 0))) };
    let mut known = None;
    for tip in theirs {
        // Where it stands here counts, not where the peer says.
        known =
            known.max(rows::placed(kv, &tip.id)?.filter(|placed| placed.author == *author).map(|placed| placed.seq));
    }
    match (ours, known) {
        // The peer's last block is on our line: it lacks what follows.
        ([_], Some(known)) => Ok(Some((VecDeque::new(), known.saturating_add(1)))),
        // It has gone on from ours, or so it seems: we will pull, and see.
        ([our], None) if our.seq < highest => Ok(None),
        _ => branches(kv, author, ours, theirs, known).map(Some),
    }
}

/// A fork: all above the peer's highest block that is here, and below it what lies on no branch of its own.
///
/// Walks back from the ends of our branches, the highest first, until they meet the peer's or [`RUN`] blocks are found; for what
/// lies deeper it asks by id.
fn branches(
    kv: &dyn Read,
    author: &Identity,
    ours: &[Tip],
    theirs: &[Tip],
    known: Option<u64>,
) -> Result<Missing, KvError> {
    let level = known.or_else(|| theirs.iter().map(|tip| tip.seq).max()).unwrap_or(0);
    // Blocks to look at, and whether the peer has them.
    let above_level = level.saturating_add(1);
    let mut ends: BTreeMap<(u64, BlockId), bool> = BTreeMap::new();
    let up_to_level = |tips: &[Tip], has| -> Vec<_> {
        tips.iter().filter(|tip| tip.seq <= level).map(|tip| ((tip.seq, tip.id), has)).collect()
    };
    ends.extend(up_to_level(ours, false));
    let mut above = Vec::new();
    rows::line_from(kv, author, above_level, &mut |key, block| {
        let is_next = key.seq() == above_level;
        if is_next {
            above.push(block);
        }
        if is_next { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    for block in above {
        let prev = read(author, &block)?.prev;
        ends.extend(prev.map(|prev| ((level, prev), false)));
    }
    ends.extend(up_to_level(theirs, true));
    let mut found = VecDeque::new();
    let mut steps = 4 * RUN;
    while let Some(((seq, id), has)) = ends.pop_last() {
        let is_shared = known.is_some_and(|known| seq <= known) && rows::branches(kv, author, seq)? == 1;
        if found.len() >= RUN || steps == 0 {
            // More branches than a message names: what lies beside the found ones would never be sent. All goes from here on.
            let is_wide = theirs.len() >= limits::TIPS_PER_AUTHOR;
            return Ok(if is_wide { (VecDeque::new(), seq) } else { (found, above_level) });
        }
        if has && ends.values().all(|has| *has) {
            break;
        }
        let Some(placed) = rows::placed(kv, &id)? else { continue };
        steps -= 1;
        if is_shared && !has {
            continue;
        }
        let block = rows::block(kv, &LineKey::new(&placed.author, placed.seq, &id))?;
        let body = read(author, &block)?;
        if let Some(prev) = body.prev {
            *ends.entry((placed.seq.saturating_sub(1), prev)).or_default() |= has;
        }
        if !has {
            found.push_front((block, body));
        }
    }
    Ok((found, above_level))
}

fn read(author: &Identity, block: &Unverified) -> Result<Body, KvError> {
    cbor::decode_lenient(&block.body, limits::BLOCK_BYTES)
        .map_err(|_| KvError::damaged(crate::kv::Table::Line, author.as_bytes()))
}

/// Blocks by id, each after a run of the blocks before it in its author's line, the last first where not all fit.
///
/// Without their objects: what is asked for by id mostly has to wait, and is followed by what lies before it.
fn wanted_blocks(kv: &dyn Read, ids: &[BlockId]) -> Result<Batch, KvError> {
    let mut found = BTreeMap::new();
    let mut bytes = 0;
    for id in ids {
        let mut next = Some(*id);
        for _ in 0..RUN {
            let Some(id) = next else { break };
            let Some(placed) = rows::placed(kv, &id)? else { break };
            if bytes >= limits::BATCH_BYTES || found.len() >= limits::BATCH_BLOCKS {
                break;
            }
            if found.contains_key(&(placed.height, id)) {
                break;
            }
            let block = rows::block(kv, &LineKey::new(&placed.author, placed.seq, &id))?;
            next = read(&placed.author, &block)?.prev;
            bytes += block.body.len() + 72;
            found.insert((placed.height, id), block);
        }
    }
    Ok(Batch { blocks: found.into_values().collect(), objects: vec![], reached: vec![], more: false })
}

/// Objects by where they are named, as far as they fit.
fn wanted_objects(kv: &dyn Read, places: &[ObjectAt]) -> Result<Batch, KvError> {
    let mut batch = Gathered::default();
    for ObjectAt { block, index } in places {
        let Some(placed) = rows::placed(kv, block)? else { continue };
        if let Some(object) = rows::object(kv, &LineKey::new(&placed.author, placed.seq, block), *index)? {
            batch.add_object(ObjectHash::of(&object), object);
        }
        if batch.is_full() {
            break;
        }
    }
    Ok(batch.finish(false))
}
