//! What readers ask of a group: members, claims in the sequence of storing, threads, refused blocks, the state's hash.
//!
//! Reads one consistent view and writes nothing. Each page has a bound, and costs what it shows, not what there is.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use super::fold::OrderRow;
use super::outcome::{Outcome, Refusal};
use super::state::{self, ClaimRow, Member, SealRow};
use crate::chain::rows::{self, parse_row};
use crate::chain::{BlockId, ClaimBody, ClaimId, LineKey, OrderKey, Transaction};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Range, Read, Table};
use crate::limits;

/// A claim and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its id.
    pub id: ClaimId,
    /// Its row.
    pub row: ClaimRow,
    /// Its words; none where no peer has sent them yet, or they are no claim body.
    pub body: Option<ClaimBody>,
}

/// The members, ascending by identity.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn members(kv: &dyn Read) -> Result<Vec<(Identity, Member)>, KvError> {
    let mut members = Vec::new();
    let mut failed = Ok(());
    kv.scan_prefix(Table::State, b"m", &mut |key, value| {
        let identity = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(Identity::from_stored);
        match (identity, parse_row(Table::State, key, value)) {
            (Some(identity), Ok(member)) => members.push((identity, member)),
            _ => {
                failed = Err(KvError::damaged(Table::State, key));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map(|()| members)
}

/// One claim, whether it is retracted or not; none where no applied block has published it.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn claim(kv: &dyn Read, id: &ClaimId) -> Result<Option<Claim>, KvError> {
    let Some(row) = state::claim(kv, id)? else { return Ok(None) };
    let body = words(kv, &row)?;
    Ok(Some(Claim { id: *id, row, body }))
}

/// A claim's words; none where no peer has sent them yet, or they are no claim body.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn words(kv: &dyn Read, row: &ClaimRow) -> Result<Option<ClaimBody>, KvError> {
    let line = LineKey::new(&row.author, row.seq, &row.block);
    Ok(rows::object(kv, &line, row.index)?.and_then(|bytes| ClaimBody::of_claim(&bytes, row.rewarded.as_ref())))
}

/// The ids that start with a prefix of hexadecimal digits, at most two: enough to tell unique from ambiguous.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn claims_by_prefix(kv: &dyn Read, prefix: &[u8]) -> Result<Vec<ClaimId>, KvError> {
    let mut key = vec![b'c'];
    key.extend_from_slice(prefix);
    let mut ids = Vec::new();
    kv.scan_prefix(Table::State, &key, &mut |key, _| {
        ids.extend(key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(ClaimId::from_bytes));
        if ids.len() < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(ids)
}

/// Where a walk along the sequence of storing stands: the number of a block, and of a transaction in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Number in `Log`.
    pub number: u64,
    /// Index in the block.
    pub index: u32,
}

/// Visits claims of applied blocks in the sequence in which this node stored them, from `from` on (including it).
///
/// Retracted ones are visited as well. Their words are not read.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn walk_claims(
    kv: &dyn Read,
    from: Place,
    direction: Direction,
    visit: &mut dyn FnMut(Place, ClaimId, ClaimRow) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let mut failed = Ok(());
    rows::log(
        kv,
        from.number,
        direction,
        &mut |number, line| match walk_block(kv, from, number, line, direction, visit) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed
}

fn walk_block(
    kv: &dyn Read,
    from: Place,
    number: u64,
    line: LineKey,
    direction: Direction,
    visit: &mut dyn FnMut(Place, ClaimId, ClaimRow) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, KvError> {
    let (id, body) = rows::body_and_id(kv, &line)?;
    let claims: Vec<u32> = (0..)
        .zip(body.transactions())
        .filter_map(|(index, transaction)| matches!(transaction, Transaction::Claim(_)).then_some(index))
        .collect();
    let one = |index: &u32| -> Result<ControlFlow<()>, KvError> {
        let place = Place { number, index: *index };
        let is_before = match direction {
            Direction::Up => place < from,
            Direction::Down => place > from,
        };
        let claim = ClaimId::derive(id, *index);
        match state::claim(kv, &claim)? {
            Some(row) if !is_before => Ok(visit(place, claim, row)),
            _ => Ok(ControlFlow::Continue(())),
        }
    };
    let mut one = one;
    let indices: Box<dyn Iterator<Item = &u32>> = match direction {
        Direction::Up => Box::new(claims.iter()),
        Direction::Down => Box::new(claims.iter().rev()),
    };
    for index in indices {
        if one(index)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The claims that answer a claim, ascending by id, at most `at_most`.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn answers(kv: &dyn Read, parent: &ClaimId, at_most: usize) -> Result<Vec<ClaimId>, KvError> {
    children(kv, b'k', parent, at_most)
}

/// The second of two claims in the keys of one kind that have `first` as the first.
fn children(kv: &dyn Read, kind: u8, first: &ClaimId, at_most: usize) -> Result<Vec<ClaimId>, KvError> {
    let mut ids = Vec::new();
    kv.scan_prefix(Table::State, &state::keyed(kind, first.as_bytes()), &mut |key, _| {
        if ids.len() >= at_most {
            return ControlFlow::Break(());
        }
        ids.extend(key.get(33..).and_then(|bytes| bytes.try_into().ok()).map(ClaimId::from_bytes));
        ControlFlow::Continue(())
    })?;
    Ok(ids)
}

/// The root of the thread that a claim stands in: the claim itself where it answers none. Of a longer way up than
/// [`limits::THREAD_CLAIMS`] where it has come to by then.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn thread_root(kv: &dyn Read, claim: &ClaimId) -> Result<ClaimId, KvError> {
    let mut root = *claim;
    for _ in 0..limits::THREAD_CLAIMS {
        match state::claim(kv, &root)?.and_then(|row| row.parent) {
            Some(parent) => root = parent,
            None => break,
        }
    }
    Ok(root)
}

/// All claims of a thread from its root on, [`limits::THREAD_CLAIMS`] at most.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn thread(kv: &dyn Read, root: &ClaimId) -> Result<BTreeSet<ClaimId>, KvError> {
    let (mut thread, mut parents) = (BTreeSet::from([*root]), vec![*root]);
    while let Some(parent) = parents.pop() {
        for answer in answers(kv, &parent, limits::THREAD_CLAIMS.saturating_sub(thread.len()))? {
            if thread.insert(answer) {
                parents.push(answer);
            }
        }
    }
    Ok(thread)
}

/// The claims that stand in a claim's place, ascending, at most `at_most`: those that supersede it, and in place of one that is
/// retracted those that supersede that one.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn superseded_by(kv: &dyn Read, claim: &ClaimId, at_most: usize) -> Result<Vec<ClaimId>, KvError> {
    let (mut olds, mut seen, mut found) = (vec![*claim], BTreeSet::new(), Vec::new());
    while let Some(old) = olds.pop() {
        for new in children(kv, b'v', &old, limits::SUPERSEDED_STEPS.saturating_sub(seen.len()))? {
            if found.len() == at_most || !seen.insert(new) {
                continue;
            }
            match state::claim(kv, &new)? {
                Some(row) if row.retracted_by.is_none() => found.push(new),
                Some(_) => olds.push(new),
                None => {}
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Visits claims by their authors' clocks, the newest first and the greater id first of one time: those before a place, and none
/// before `since_ms`. Retracted ones are not among them.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn recent(
    kv: &dyn Read,
    before: Option<(u64, ClaimId)>,
    since_ms: u64,
    visit: &mut dyn FnMut(u64, ClaimId) -> ControlFlow<()>,
) -> Result<(), KvError> {
    let lower = state::recent_key(since_ms, &ClaimId::from_bytes([0; 32]));
    let upper = before.map_or_else(|| vec![b'n' + 1], |(created_ms, claim)| state::recent_key(created_ms, &claim));
    if lower >= upper {
        return Ok(());
    }
    let mut failed = Ok(());
    let range = (Bound::Included(lower.as_slice()), Bound::Excluded(upper.as_slice()));
    kv.scan(Table::State, range, Direction::Down, &mut |key, _| {
        let parsed = key.get(1..).and_then(|key| key.split_first_chunk::<8>());
        match parsed.and_then(|(created_ms, id)| Some((created_ms, id.try_into().ok()?))) {
            Some((created_ms, id)) => visit(u64::from_be_bytes(*created_ms), ClaimId::from_bytes(id)),
            None => {
                failed = Err(KvError::damaged(Table::State, key));
                ControlFlow::Break(())
            }
        }
    })?;
    failed
}

/// A stored block's place in the order, its author and time, and what became of it; none of one that is not stored.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn place_of(kv: &dyn Read, id: &BlockId) -> Result<Option<(OrderKey, Identity, u64, Outcome)>, KvError> {
    let Some(placed) = rows::placed(kv, id)? else { return Ok(None) };
    let open = OrderKey::open(placed.height, *id);
    let row = |place: OrderKey| rows::read_row::<OrderRow>(kv, Table::Order, &place.to_bytes());
    if let Some(row) = row(open)? {
        return Ok(Some((open, placed.author, placed.time_ms, row.outcome)));
    }
    // Epochs close at growing heights, so the first seal at or above the block's height is where to begin.
    let last = state::sealing(kv)?.map_or(0, |sealing| sealing.epoch);
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low.midpoint(high);
        let key = state::seal_key(middle);
        let seal: SealRow =
            rows::read_row(kv, Table::State, &key)?.ok_or_else(|| KvError::damaged(Table::State, &key))?;
        if seal.height < placed.height { low = middle + 1 } else { high = middle }
    }
    for epoch in low..=last {
        let place = open.sealed(epoch);
        if let Some(row) = row(place)? {
            return Ok(Some((place, placed.author, placed.time_ms, row.outcome)));
        }
    }
    Err(KvError::damaged(Table::Order, &open.to_bytes()))
}

/// Who may not spend, ascending by identity.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn frozen(kv: &dyn Read) -> Result<Vec<Identity>, KvError> {
    let mut frozen = Vec::new();
    kv.scan_prefix(Table::State, b"f", &mut |key, _| {
        frozen.extend(key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(Identity::from_stored));
        ControlFlow::Continue(())
    })?;
    Ok(frozen)
}

/// A block whose transactions the ledger refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedBlock {
    /// The block.
    pub block: BlockId,
    /// Who signed it.
    pub author: Identity,
    /// Its time, milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// The first transaction that is refused.
    pub index: u32,
    /// That transaction.
    pub transaction: Option<Transaction>,
    /// Why.
    pub refusal: Refusal,
}

/// Refused blocks with their places, latest in the order first, at most `at_most`: the last of all, or those before a place.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn refused(
    kv: &dyn Read,
    before: Option<OrderKey>,
    at_most: usize,
) -> Result<Vec<(OrderKey, RefusedBlock)>, KvError> {
    // So that a group without any, as most are, is not walked through.
    let at_most = at_most.min(usize::try_from(rows::counters(kv)?.refused).unwrap_or(usize::MAX));
    let mut found = Vec::new();
    if at_most == 0 {
        return Ok(found);
    }
    let before = before.map(OrderKey::to_bytes);
    let upper = before.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    in_order(kv, (Bound::Unbounded, upper), Direction::Down, &mut |key, row| {
        if let Outcome::Refused(index, refusal) = row.outcome {
            let body = rows::body(kv, &line_of(&key, &row.line)?)?;
            let transaction = body.transactions().get(index as usize).cloned();
            let (author, time_ms) = (body.author, body.time_ms);
            let block = RefusedBlock { block: key.id, author, time_ms, index, transaction, refusal };
            found.push((key, block));
        }
        Ok(if found.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found)
}

/// Where the refused blocks of an author lie in its line: the last first, at most `at_most`; the last of all, or those before one.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn refused_of(
    kv: &dyn Read,
    author: &Identity,
    before: Option<&LineKey>,
    at_most: usize,
) -> Result<Vec<LineKey>, KvError> {
    // As many as there are in all: where the last of them is found, the walk ends.
    let mut left = rows::counters(kv)?.refused;
    let mut found = BTreeSet::new();
    if left == 0 || at_most == 0 {
        return Ok(vec![]);
    }
    in_order(kv, (Bound::Unbounded, Bound::Unbounded), Direction::Down, &mut |key, row| {
        if matches!(row.outcome, Outcome::Refused(..)) {
            left -= 1;
            let line = line_of(&key, &row.line)?;
            if line.as_bytes().starts_with(author.as_bytes()) && before.is_none_or(|before| line < *before) {
                found.insert(line);
            }
            if found.len() > at_most {
                found.pop_first();
            }
        }
        Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(found.into_iter().rev().collect())
}

fn line_of(place: &OrderKey, line: &[u8]) -> Result<LineKey, KvError> {
    LineKey::from_bytes(line).ok_or_else(|| KvError::damaged(Table::Order, &place.to_bytes()))
}

/// Visits the whole order.
///
/// # Errors
/// [`KvError`] where the store, or `visit`, fails.
pub fn each_in_order(
    kv: &dyn Read,
    direction: Direction,
    visit: &mut dyn FnMut(OrderKey, OrderRow) -> Result<ControlFlow<()>, KvError>,
) -> Result<(), KvError> {
    in_order(kv, (Bound::Unbounded, Bound::Unbounded), direction, visit)
}

fn in_order(
    kv: &dyn Read,
    range: Range<'_>,
    direction: Direction,
    visit: &mut dyn FnMut(OrderKey, OrderRow) -> Result<ControlFlow<()>, KvError>,
) -> Result<(), KvError> {
    let mut failed = Ok(());
    kv.scan(Table::Order, range, direction, &mut |key, value| {
        let parsed = OrderKey::from_bytes(key).ok_or_else(|| KvError::damaged(Table::Order, key));
        let flow = parsed.and_then(|place| visit(place, parse_row(Table::Order, key, value)?));
        flow.unwrap_or_else(|error| {
            failed = Err(error);
            ControlFlow::Break(())
        })
    })?;
    failed
}

/// The hash of all rows of `State`: equal on all nodes that hold the same blocks.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn state_hash(kv: &dyn Read) -> Result<[u8; 32], KvError> {
    let mut hasher = blake3::Hasher::new_derive_key("lbm state hash 1");
    kv.scan(Table::State, (Bound::Unbounded, Bound::Unbounded), Direction::Up, &mut |key, value| {
        for part in [key, value] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        ControlFlow::Continue(())
    })?;
    Ok(*hasher.finalize().as_bytes())
}
