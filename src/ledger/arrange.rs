//! Where blocks stand: new ones find their places, seals close epochs, and what stands behind a change is undone and applied again.
//!
//! Blocks sort by `(epoch, height, id)`. Seal number `n + 1` is a block that says so, by whom seal `n` made the sealer, with seal `n`
//! in its past. Its epoch is what it has in its past and no seal before it had.
//! **The state is a function of the set of blocks**: in whatever sequence they came, the rows of `State` and `Order` are the same
//! to the byte. **What is sealed stays where it is.** Both hold unless a notary signs two blocks with one number, and a seal on each branch:
//! then the branch with more of its seals counts, of equal ones the lower, and the group is folded anew; but a node never takes back a seal
//! behind which another notary has sealed, or [`limits::SEALS_REVISED`] seals count. So nobody rewrites what was final for long, and
//! nodes that such a notary has kept apart for that long stay apart, until people choose.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, ControlFlow};

use super::fold::{self, Change, OrderRow, Place};
use super::outcome::Outcome;
use super::state::{self, SealRow, Undo};
use crate::cbor;
use crate::chain::link::Block;
use crate::chain::rows::{self, Counters, Placed, parse_row, write_row};
use crate::chain::transaction::Seal;
use crate::chain::{BlockId, Body, FOUNDING_EPOCH, LineKey, Linked, OPEN_EPOCH, OrderKey, Transaction};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Overlay, Read, Table};
use crate::limits;

/// Inserts linked blocks, already stored, at their places.
///
/// Costs one undo and one application for each block behind the earliest change, whatever the number of new ones; a seal costs a
/// few rows for each block that it covers.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn insert<B: Block>(kv: &mut Overlay<'_>, blocks: &[Linked<B>]) -> Result<Vec<Change>, KvError> {
    if blocks.is_empty() {
        return Ok(vec![]);
    }
    let counters = rows::counters(kv)?;
    let mut arranging =
        Arranging { kv, unplaced: BTreeMap::new(), changes: Vec::with_capacity(blocks.len()), counters };
    let mut seals = Vec::new();
    for block in blocks.iter().map(Linked::block) {
        let key = OrderKey::open(block.body().height, block.id());
        seals.extend(Candidate::of(key, block.body()));
        let unplaced = Unplaced { line: block.line_key(), body: Some(block.body()), before: None };
        arranging.unplaced.insert(key, unplaced);
    }
    for seal in &seals {
        if let Some(better) = arranging.displaces(seal)? {
            seals = arranging.take_all_back(better)?;
            break;
        }
    }
    // So that those of one epoch stand together, the lowest first, however many a whole history has.
    seals.sort_unstable_by_key(|seal| (seal.epoch, seal.key));
    arranging.found()?;
    while let Some((epoch, past)) = arranging.next_seal(&seals)? {
        arranging.close(epoch, past)?;
    }
    arranging.place_open()?;
    let Arranging { kv, mut changes, counters, .. } = arranging;
    rows::set_counters(kv, &counters);
    changes.retain(|change| change.before.as_ref() != Some(&change.after));
    let is_revised = |change: &&Change| {
        change.before.as_ref().is_some_and(|before| before.is_applied() != change.after.is_applied())
    };
    rows::count_arrivals(kv, changes.iter().filter(is_revised).count() as u64, 0)?;
    Ok(changes)
}

/// Whether a block is final: a seal covers it. One that is not stored is not.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn is_final(kv: &dyn Read, block: &BlockId) -> Result<bool, KvError> {
    let Some(placed) = rows::placed(kv, block)? else { return Ok(false) };
    Ok(kv.get(Table::Order, &OrderKey::open(placed.height, *block).to_bytes())?.is_none())
}

/// A block that says that it is a seal.
#[derive(Clone, Copy)]
struct Candidate {
    key: OrderKey,
    author: Identity,
    epoch: u64,
}

impl Candidate {
    fn of(key: OrderKey, body: &Body) -> Option<Self> {
        match body.transactions() {
            [Transaction::Seal(seal)] => Some(Self { key, author: body.author, epoch: seal.epoch }),
            _ => None,
        }
    }
}

/// A block that has no place: a new one, or one that was taken back.
struct Unplaced<'b> {
    line: LineKey,
    /// Of a new one.
    body: Option<&'b Body>,
    /// What had become of it.
    before: Option<Outcome>,
}

/// The keys of blocks that a seal covers, as they are while they are open.
type Past = BTreeSet<OrderKey>;

struct Arranging<'k, 'o, 'b> {
    kv: &'k mut Overlay<'o>,
    /// By the places that they would have in the open epoch.
    unplaced: BTreeMap<OrderKey, Unplaced<'b>>,
    changes: Vec<Change>,
    /// Written back at the end.
    counters: Counters,
}

impl Arranging<'_, '_, '_> {
    /// Applies a group's founding block, where it is new.
    fn found(&mut self) -> Result<(), KvError> {
        if state::sealing(self.kv)?.is_some() {
            return Ok(());
        }
        let Some((key, unplaced)) = self.unplaced.pop_first() else { return Ok(()) };
        self.counters.sealed += 1;
        self.place(key.sealed(FOUNDING_EPOCH), unplaced, None)
    }

    /// Applies a block at its place.
    fn place(&mut self, key: OrderKey, unplaced: Unplaced<'_>, seals: Option<u64>) -> Result<(), KvError> {
        let Unplaced { line, body, before } = unplaced;
        let stored;
        let body = match body {
            Some(body) => body,
            None => {
                stored = rows::body(self.kv, &line)?;
                &stored
            }
        };
        let judged = fold::judge(self.kv, key.id, body, seals)?;
        let change = Place { key, line, before }.write(self.kv, &mut self.counters, body, judged)?;
        self.changes.push(change);
        Ok(())
    }

    /// The next seal that counts, and what it covers: in the open epoch's order, itself last.
    fn next_seal(&self, seals: &[Candidate]) -> Result<Option<(u64, Past)>, KvError> {
        let Some(last) = state::sealing(self.kv)? else { return Ok(None) };
        let epoch = last.epoch + 1;
        let first = seals.partition_point(|seal| seal.epoch < epoch);
        let mut found: Vec<(&Candidate, Past)> = Vec::new();
        for seal in seals.iter().skip(first).take_while(|seal| seal.epoch == epoch) {
            if seal.author != last.sealer || !self.unplaced.contains_key(&seal.key) {
                continue;
            }
            if self.covers_all(seal.key)? {
                found.push((seal, self.all_open()?));
                continue;
            }
            let (past, reached) = self.open_past(seal.key)?;
            if reached.contains(&last.seal) {
                found.push((seal, past));
            }
        }
        // More than one only where the notary has signed two blocks with one number.
        if found.len() < 2 {
            return Ok(found.pop().map(|(_, past)| (epoch, past)));
        }
        let mut best = None;
        for (seal, past) in found {
            let rank = self.rank(seal)?;
            if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                best = Some((rank, past));
            }
        }
        Ok(best.map(|(_, past)| (epoch, past)))
    }

    /// Whether every block that is stored lies in a block's past: then nothing else is a head.
    fn covers_all(&self, block: OrderKey) -> Result<bool, KvError> {
        Ok(matches!(rows::heads(self.kv)?.as_slice(), [head] if head.id == block.id))
    }

    /// All blocks of the open epoch, placed or not.
    fn all_open(&self) -> Result<Past, KvError> {
        let mut past: Vec<OrderKey> = self.unplaced.keys().copied().collect();
        self.kv.scan(Table::Order, open_epoch(None), Direction::Up, &mut |key, _| {
            past.extend(OrderKey::from_bytes(key));
            ControlFlow::Continue(())
        })?;
        Ok(past.into_iter().collect())
    }

    /// The blocks of the open epoch in a block's past, with itself, and those of sealed epochs that they build on.
    fn open_past(&self, block: OrderKey) -> Result<(Past, BTreeSet<BlockId>), KvError> {
        let (mut past, mut reached) = (Past::new(), BTreeSet::new());
        let mut seen = BTreeSet::from([block.id]);
        let mut queue = VecDeque::from([block.id]);
        while let Some(id) = queue.pop_front() {
            let (key, placed) = self.open_key(id)?;
            if !self.unplaced.contains_key(&key) && self.kv.get(Table::Order, &key.to_bytes())?.is_none() {
                reached.insert(id);
                continue;
            }
            self.with_body(key, &placed, |body| queue.extend(body.builds_on().filter(|id| seen.insert(*id))))?;
            past.insert(key);
        }
        Ok((past, reached))
    }

    /// Closes an epoch: what a seal covers is moved to its final place. What stands there in this order already keeps its outcome.
    fn close(&mut self, epoch: u64, mut past: Past) -> Result<(), KvError> {
        self.counters.sealed += past.len() as u64;
        let seal = past.last().copied();
        let mut stays = Vec::new();
        let mut failed = Ok(());
        self.kv.scan(Table::Order, open_epoch(None), Direction::Up, &mut |key, value| match (
            OrderKey::from_bytes(key),
            parse_row::<OrderRow>(Table::Order, key, value),
        ) {
            (Some(key), Ok(row)) if past.first() == Some(&key) => {
                past.pop_first();
                stays.push((key, row));
                ControlFlow::Continue(())
            }
            (Some(_), Ok(_)) => ControlFlow::Break(()),
            _ => {
                failed = Err(KvError::damaged(Table::Order, key));
                ControlFlow::Break(())
            }
        })?;
        failed?;
        self.take_back_behind(stays.last().map(|(key, _)| *key))?;
        for (key, row) in stays {
            self.kv.delete(Table::Order, key.to_bytes());
            write_row(self.kv, Table::Order, key.sealed(epoch).to_bytes(), &OrderRow { undo: None, ..row });
        }
        for key in past {
            let damaged = || KvError::damaged(Table::Order, &key.to_bytes());
            let unplaced = self.unplaced.remove(&key).ok_or_else(damaged)?;
            self.place(key.sealed(epoch), unplaced, (Some(key) == seal).then_some(epoch))?;
        }
        Ok(())
    }

    /// Gives all that is left a place in the open epoch.
    fn place_open(&mut self) -> Result<(), KvError> {
        let Some(first) = self.unplaced.keys().next().copied() else { return Ok(()) };
        self.take_back_behind(Some(first))?;
        for (key, unplaced) in std::mem::take(&mut self.unplaced) {
            self.place(key, unplaced, None)?;
        }
        Ok(())
    }

    /// Undoes, last first, what stands in the open epoch behind `first`; all of it where there is none.
    fn take_back_behind(&mut self, first: Option<OrderKey>) -> Result<(), KvError> {
        let mut behind = Vec::new();
        let mut failed = Ok(());
        let from = first.map(OrderKey::to_bytes);
        self.kv.scan(Table::Order, open_epoch(from.as_deref()), Direction::Down, &mut |key, value| {
            match (OrderKey::from_bytes(key), parse_row::<OrderRow>(Table::Order, key, value)) {
                (Some(key), Ok(row)) => behind.push((key, row)),
                _ => {
                    failed = Err(KvError::damaged(Table::Order, key));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        failed?;
        for (key, row) in behind {
            let damaged = || KvError::damaged(Table::Order, &key.to_bytes());
            let undo: Undo = parse_row(Table::Order, &key.to_bytes(), &row.undo.ok_or_else(damaged)?)?;
            state::revert(self.kv, undo);
            let line = LineKey::from_bytes(&row.line).ok_or_else(damaged)?;
            self.kv.delete(Table::Order, key.to_bytes());
            self.unplaced.insert(key, Unplaced { line, body: None, before: Some(row.outcome) });
        }
        Ok(())
    }

    /// The seal that a new one puts in the place of one that counts, where it does: both by the same notary, which has signed two
    /// blocks with one number, and the new one on the better branch.
    ///
    /// Not where too many seals count behind the old one, or one by somebody else: what was final here for so long stays, and a notary
    /// that has handed over has no say any more.
    fn displaces(&self, seal: &Candidate) -> Result<Option<Candidate>, KvError> {
        if rows::tips(self.kv, &seal.author)?.len() < 2 {
            return Ok(None);
        }
        let Some(last) = state::sealing(self.kv)? else { return Ok(None) };
        let Some(root) = self.first_of_branch(seal, last.epoch)? else { return Ok(None) };
        if last.epoch - root.epoch >= limits::SEALS_REVISED {
            return Ok(None);
        }
        for epoch in root.epoch..=last.epoch {
            let placed = rows::placed(self.kv, &self.seal_row(epoch)?.block)?;
            if placed.is_none_or(|placed| placed.author != seal.author) {
                return Ok(None);
            }
        }
        let counts = self.seal_row(root.epoch)?;
        let old = Candidate { key: OrderKey::open(counts.height, counts.block), ..root };
        let is_better = self.rank(&root)? > self.rank(&old)?;
        let before = self.seal_row(root.epoch - 1)?;
        Ok((is_better && self.descends(root.key.id, &before)?).then_some(root))
    }

    /// The earliest seal on a seal's branch of its author's line whose number another seal that counts has.
    fn first_of_branch(&self, seal: &Candidate, last: u64) -> Result<Option<Candidate>, KvError> {
        let (mut first, mut next) = (None, Some(seal.key.id));
        while let Some(id) = next {
            let (key, placed) = self.open_key(id)?;
            let (found, prev) = self.with_body(key, &placed, |body| (Candidate::of(key, body), body.prev))?;
            if let Some(found) = found.filter(|found| (1..=last).contains(&found.epoch)) {
                if self.seal_row(found.epoch)?.block == id {
                    break;
                }
                first = Some(found);
            }
            next = prev;
        }
        Ok(first)
    }

    /// How good a seal is among those with its number: the number of the last seal that follows on its author's line, on whichever
    /// branch behind it has most, and how low it stands.
    fn rank(&self, seal: &Candidate) -> Result<(u64, Reverse<OrderKey>), KvError> {
        let placed = rows::placed(self.kv, &seal.key.id)?;
        let seq = placed.map_or(0, |placed| placed.seq);
        // For each block behind the seal the number of the last seal up to it.
        let mut reached = BTreeMap::from([(seal.key.id, seal.epoch)]);
        let mut failed = Ok(());
        rows::line_from(self.kv, &seal.author, seq + 1, &mut |key, block| {
            match cbor::decode_lenient::<Body>(&block.body, limits::BLOCK_BYTES) {
                Ok(body) => {
                    if let Some(epoch) = body.prev.and_then(|prev| reached.get(&prev).copied()) {
                        let follows = body.transactions() == [Transaction::Seal(Seal { epoch: epoch + 1 })];
                        reached.insert(BlockId::of(&block.body), epoch + u64::from(follows));
                    }
                }
                Err(_) => failed = Err(KvError::damaged(Table::Line, key.as_bytes())),
            }
            ControlFlow::Continue(())
        })?;
        let last = reached.into_values().max().unwrap_or(seal.epoch);
        failed.map(|()| (last, Reverse(seal.key)))
    }

    /// Whether a block has a seal in its past.
    fn descends(&self, block: BlockId, seal: &SealRow) -> Result<bool, KvError> {
        let (mut seen, mut queue) = (BTreeSet::from([block]), VecDeque::from([block]));
        while let Some(id) = queue.pop_front() {
            if id == seal.block {
                return Ok(true);
            }
            let (key, placed) = self.open_key(id)?;
            if placed.height > seal.height {
                self.with_body(key, &placed, |body| queue.extend(body.builds_on().filter(|id| seen.insert(*id))))?;
            }
        }
        Ok(false)
    }

    /// Where a stored block would stand in the open epoch.
    fn open_key(&self, id: BlockId) -> Result<(OrderKey, Placed), KvError> {
        let placed = rows::placed(self.kv, &id)?.ok_or_else(|| KvError::damaged(Table::Id, id.as_bytes()))?;
        Ok((OrderKey::open(placed.height, id), placed))
    }

    /// Looks at the body of a block, new or stored.
    fn with_body<T>(&self, key: OrderKey, placed: &Placed, look: impl FnOnce(&Body) -> T) -> Result<T, KvError> {
        match self.unplaced.get(&key) {
            Some(Unplaced { body: Some(body), .. }) => Ok(look(body)),
            _ => Ok(look(&rows::body(self.kv, &placed.line_key(&key.id))?)),
        }
    }

    fn seal_row(&self, epoch: u64) -> Result<SealRow, KvError> {
        let key = state::seal_key(epoch);
        rows::read_row(self.kv, Table::State, &key)?.ok_or_else(|| KvError::damaged(Table::State, &key))
    }

    /// Takes every block of the group from its place, and gives the seals that may count: those that did before `better`, itself,
    /// and whatever may follow.
    fn take_all_back(&mut self, better: Candidate) -> Result<Vec<Candidate>, KvError> {
        let mut settled = BTreeMap::from([(better.epoch, better.key.id)]);
        for epoch in 1..better.epoch {
            settled.insert(epoch, self.seal_row(epoch)?.block);
        }
        let all = (Bound::Unbounded, Bound::Unbounded);
        let mut keys = Vec::new();
        self.kv.scan(Table::State, all, Direction::Up, &mut |key, _| {
            keys.push(key.to_vec());
            ControlFlow::Continue(())
        })?;
        for key in keys {
            self.kv.delete(Table::State, key);
        }
        let mut placed = Vec::new();
        let mut failed = Ok(());
        self.kv.scan(Table::Order, all, Direction::Up, &mut |key, value| {
            let line = |row: OrderRow| Some((LineKey::from_bytes(&row.line)?, row.outcome));
            match (OrderKey::from_bytes(key), parse_row(Table::Order, key, value).map(line)) {
                (Some(key), Ok(Some((line, outcome)))) => placed.push((key, line, outcome)),
                _ => {
                    failed = Err(KvError::damaged(Table::Order, key));
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        failed?;
        for (key, line, outcome) in placed {
            self.kv.delete(Table::Order, key.to_bytes());
            let unplaced = Unplaced { line, body: None, before: Some(outcome) };
            self.unplaced.insert(key.sealed(OPEN_EPOCH), unplaced);
        }
        self.counters.sealed = 0;
        let mut seals = Vec::new();
        for (key, unplaced) in &self.unplaced {
            seals.extend(match unplaced.body {
                Some(body) => Candidate::of(*key, body),
                None => Candidate::of(*key, &rows::body(self.kv, &unplaced.line)?),
            });
        }
        seals.retain(|seal: &Candidate| settled.get(&seal.epoch).is_none_or(|id| *id == seal.key.id));
        Ok(seals)
    }
}

/// The open epoch's part of `Order`, behind a place of it.
fn open_epoch(behind: Option<&[u8]>) -> crate::kv::Range<'_> {
    const START: [u8; 8] = OPEN_EPOCH.to_be_bytes();
    (behind.map_or(Bound::Included(&START[..]), Bound::Excluded), Bound::Unbounded)
}
