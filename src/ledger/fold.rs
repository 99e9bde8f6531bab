//! The fold: blocks in order become state, and where one lands early, those behind it are undone and applied again.
//!
//! Table `Order`: key [`OrderKey`] (48 bytes), value [`OrderRow`]. **The state is a function of the set of blocks**: in whatever
//! sequence they came, the rows of `State` are the same to the byte. Every block stays, applied or refused, and is tried
//! again whenever the order before it changes.

use std::ops::{Bound, ControlFlow};

use serde_bytes::ByteBuf;

use super::outcome::{Outcome, Refusal};
use super::state::{self, Kept, Scratch, Undo};
use super::{knowledge, membership, notary, task, token};
use crate::cbor::cbor_array;
use crate::chain::link::Block;
use crate::chain::rows::{self, parse_row, write_row};
use crate::chain::{BlockId, Body, LineKey, Linked, OrderKey, Tip, Transaction};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Overlay, Read, Table};

cbor_array! {
    /// A block at its place in the order.
    pub struct OrderRow {
        /// Where the block lies in `Line`.
        pub line: ByteBuf,
        /// What became of it.
        pub outcome: Outcome,
        /// What takes its changes back; none once a seal covers the block.
        pub undo: Option<Undo>,
    }
}

/// Where a transaction stands: what it may refer to besides its own fields.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// Who signed the block.
    pub author: Identity,
    /// The block.
    pub block: BlockId,
    /// The block's number in the author's line.
    pub seq: u64,
    /// The block's time, milliseconds since 1970 UTC.
    pub time_ms: u64,
}

/// A transaction does not apply, or the store failed while it was tried.
pub(super) enum Refused {
    Refused(Refusal),
    Failed(KvError),
}

impl From<KvError> for Refused {
    fn from(error: KvError) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn refuse<T>(refusal: Refusal) -> Result<T, Refused> {
    Err(Refused::Refused(refusal))
}

/// What became of a block, before and after the order changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The block.
    pub block: BlockId,
    /// Where it lies.
    pub line: LineKey,
    /// Who signed it.
    pub author: Identity,
    /// What had become of it; none of a new block.
    pub before: Option<Outcome>,
    /// What has become of it now.
    pub after: Outcome,
    /// Whether it changes who is a member.
    pub membership: bool,
}

/// Tries a block on the state as it is: what it would change, and what would become of it. Nothing is written.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn judge(kv: &Overlay<'_>, block: BlockId, body: &Body) -> Result<(Kept, Outcome), KvError> {
    let site = Site { author: body.author, block, seq: body.seq, time_ms: body.time_ms };
    let line = state::line_key(&body.author);
    let head: Option<Tip> = rows::read_row(kv, Table::State, &line)?;
    if head.map(|head| head.id) != body.prev {
        return Ok((Scratch::new(kv).keep(), Outcome::Refused(0, Refusal::Equivocation(body.author))));
    }
    let mut scratch = Scratch::new(kv);
    let mut outcome = Outcome::Applied;
    for (index, transaction) in (0..).zip(body.transactions()) {
        match apply(&mut scratch, &site, index, transaction) {
            Ok(()) => {}
            Err(Refused::Failed(error)) => return Err(error),
            Err(Refused::Refused(refusal)) => {
                scratch = Scratch::new(kv);
                outcome = Outcome::Refused(index, refusal);
                break;
            }
        }
    }
    scratch.put(line, &Tip { seq: body.seq, id: block });
    Ok((scratch.keep(), outcome))
}

fn apply(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, transaction: &Transaction) -> Result<(), Refused> {
    match transaction {
        Transaction::Genesis(genesis) => membership::genesis(scratch, site, genesis),
        Transaction::MemberAdd(add) => membership::add(scratch, site, index, add),
        Transaction::MemberRemove(remove) => membership::remove(scratch, site, remove),
        Transaction::RoleSet(set) => membership::set_role(scratch, site, set),
        Transaction::Seal(seal) => notary::seal(scratch, site, seal),
        Transaction::NotarySet(set) => notary::set(scratch, site, set),
        Transaction::Unfreeze(unfreeze) => notary::unfreeze(scratch, site, unfreeze),
        Transaction::PolicyUpdate(update) => token::update_policy(scratch, site, update),
        Transaction::Mint(mint) => token::mint(scratch, site, index, mint),
        Transaction::Transfer(transfer) => token::transfer(scratch, site, index, transfer),
        Transaction::TreasuryPay(pay) => token::pay(scratch, site, index, pay),
        Transaction::TaskCreate(create) => task::create(scratch, site, index, create),
        Transaction::TaskAssign(assign) => task::assign(scratch, site, assign),
        Transaction::TaskStart(start) => task::start(scratch, site, start),
        Transaction::TaskComplete(complete) => task::complete(scratch, site, index, complete),
        Transaction::TaskFail(fail) => task::fail(scratch, site, index, fail),
        Transaction::TaskRelease(release) => task::release(scratch, site, release),
        Transaction::TaskCancel(cancel) => task::cancel(scratch, site, index, cancel),
        Transaction::Claim(claim) => knowledge::claim(scratch, site, index, claim),
        Transaction::Retract(retract) => knowledge::retract(scratch, site, retract),
        Transaction::Experience(experience) => knowledge::experience(scratch, site, index, experience),
    }
}

/// The last place of the order.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn last(kv: &dyn Read) -> Result<Option<OrderKey>, KvError> {
    let mut last = None;
    kv.scan(Table::Order, (Bound::Unbounded, Bound::Unbounded), Direction::Down, &mut |key, _| {
        last = OrderKey::from_bytes(key);
        ControlFlow::Break(())
    })?;
    Ok(last)
}

/// Writes a block that was judged on the present state at the end of the order.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn append<B: Block>(kv: &mut Overlay<'_>, block: &B, judged: (Kept, Outcome)) -> Result<Change, KvError> {
    let place = Place { key: block.order_key(), line: block.line_key(), before: None };
    place.write(kv, block.body(), judged)
}

/// Inserts linked blocks, already stored, at their places: undoes what stands behind the first of them, and applies all again.
///
/// Costs one undo and one application for each block behind the earliest new one, whatever the number of new ones.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn insert<B: Block>(kv: &mut Overlay<'_>, blocks: &[Linked<B>]) -> Result<Vec<Change>, KvError> {
    let mut places: Vec<(Place, Option<&Body>)> = blocks
        .iter()
        .map(Linked::block)
        .map(|block| (Place { key: block.order_key(), line: block.line_key(), before: None }, Some(block.body())))
        .collect();
    let Some(first) = places.iter().map(|(place, _)| place.key).min() else { return Ok(Vec::new()) };
    places.extend(undo_behind(kv, first)?.into_iter().map(|place| (place, None)));
    places.sort_by_key(|(place, _)| place.key);
    let mut changes = Vec::with_capacity(places.len());
    for (place, body) in places {
        let stored;
        let body = match body {
            Some(body) => body,
            None => {
                stored = rows::body(kv, &place.line)?;
                &stored
            }
        };
        let judged = judge(kv, place.key.id, body)?;
        changes.push(place.write(kv, body, judged)?);
    }
    changes.retain(|change| change.before.as_ref() != Some(&change.after));
    Ok(changes)
}

/// A block's place in the order, and what had become of it there.
struct Place {
    key: OrderKey,
    line: LineKey,
    before: Option<Outcome>,
}

impl Place {
    fn write(self, kv: &mut Overlay<'_>, body: &Body, (kept, after): (Kept, Outcome)) -> Result<Change, KvError> {
        let undo = kept.apply(kv)?;
        let row =
            OrderRow { line: ByteBuf::from(self.line.as_bytes().to_vec()), outcome: after.clone(), undo: Some(undo) };
        write_row(kv, Table::Order, self.key.to_bytes(), &row);
        count(kv, body, self.before.as_ref(), &after)?;
        let membership = body.transactions().iter().any(Transaction::is_of_membership);
        Ok(Change { block: self.key.id, line: self.line, author: body.author, before: self.before, after, membership })
    }
}

/// Keeps the counters of what is applied and refused, when a block's outcome is new or another.
fn count(kv: &mut Overlay<'_>, body: &Body, before: Option<&Outcome>, after: &Outcome) -> Result<(), KvError> {
    let was_applied = before.is_some_and(Outcome::is_applied);
    if before.is_some() && was_applied == after.is_applied() {
        return Ok(());
    }
    let mut counters = rows::counters(kv)?;
    match (before.is_some(), after.is_applied()) {
        (_, false) => counters.refused += 1,
        (true, true) => counters.refused -= 1,
        (false, true) => {}
    }
    let step = |counter: &mut u64| {
        if after.is_applied() {
            *counter += 1;
        } else if was_applied {
            *counter -= 1;
        }
    };
    for transaction in body.transactions() {
        match transaction {
            Transaction::Claim(_) => step(&mut counters.claims),
            Transaction::Retract(_) => step(&mut counters.retracted),
            Transaction::Experience(_) => step(&mut counters.experiences),
            _ => {}
        }
    }
    rows::set_counters(kv, &counters);
    Ok(())
}

/// Takes back, last first, what stands behind `first`.
fn undo_behind(kv: &mut Overlay<'_>, first: OrderKey) -> Result<Vec<Place>, KvError> {
    let mut behind = Vec::new();
    let mut failed = Ok(());
    let from = first.to_bytes();
    let range = (Bound::Excluded(from.as_slice()), Bound::Unbounded);
    kv.scan(Table::Order, range, Direction::Down, &mut |key, value| {
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
    let mut places = Vec::with_capacity(behind.len());
    for (key, row) in behind {
        let damaged = || KvError::damaged(Table::Order, &key.to_bytes());
        state::revert(kv, row.undo.ok_or_else(damaged)?);
        let line = LineKey::from_bytes(&row.line).ok_or_else(damaged)?;
        places.push(Place { key, line, before: Some(row.outcome) });
    }
    Ok(places)
}
