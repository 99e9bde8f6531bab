//! The fold: one block at its place in the order becomes changed state, or is refused with a reason.
//!
//! Table `Order`: key [`OrderKey`] (48 bytes), value [`OrderRow`]. Where blocks stand, and when they are tried again, is decided in
//! [`super::arrange`].

use std::ops::{Bound, ControlFlow};

use serde_bytes::ByteBuf;

use super::outcome::{Outcome, Refusal};
use super::state::{self, Frozen, Kept, Scratch};
use super::{invite, knowledge, market, membership, notary, task, token};
use crate::cbor::{self, cbor_array};
use crate::chain::link::Block;
use crate::chain::rows::{self, Counters, write_row};
use crate::chain::{BlockId, Body, ClaimId, LineKey, OPEN_EPOCH, OrderKey, Tip, Transaction};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Overlay, Read, Table};

cbor_array! {
    /// A block at its place in the order.
    pub struct OrderRow {
        /// Where the block lies in `Line`.
        pub line: ByteBuf,
        /// What became of it.
        pub outcome: Outcome,
        /// What takes its changes back, an encoded [`Undo`](state::Undo) that is read only then; none once a seal covers the block.
        pub undo: Option<ByteBuf>,
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
    /// The block's height.
    pub height: u64,
    /// The block's time, milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// The number of the seal that the block is, where it is the one that counts.
    pub seals: Option<u64>,
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
    /// Whether somebody waits for it to be final.
    pub urgent: bool,
    /// What it does to claims, were it applied.
    pub claims: Vec<ClaimAct>,
}

/// What a transaction does to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimAct {
    /// Publishes it.
    Publishes(ClaimId),
    /// Takes it back.
    Retracts(ClaimId),
}

impl ClaimAct {
    fn all_of(block: BlockId, body: &Body) -> Vec<Self> {
        let act = |(index, transaction): (u32, &Transaction)| match transaction {
            Transaction::Claim(_) => Some(Self::Publishes(ClaimId::derive(block, index))),
            Transaction::Retract(retract) => Some(Self::Retracts(retract.claim)),
            _ => None,
        };
        (0..).zip(body.transactions()).filter_map(act).collect()
    }
}

/// Tries a block on the state as it is: what it would change, and what would become of it. Nothing is written.
///
/// `seals` is the number of the seal that the block is, where it is the one that counts.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn judge(kv: &Overlay<'_>, block: BlockId, body: &Body, seals: Option<u64>) -> Result<(Kept, Outcome), KvError> {
    let Body { author, seq, height, time_ms, prev, .. } = *body;
    let site = Site { author, block, seq, height, time_ms, seals };
    let line = state::line_key(&author);
    let head: Option<Tip> = rows::read_row(kv, Table::State, &line)?;
    let mut scratch = Scratch::new(kv);
    // A seal counts on whatever branch of its author's line it stands: the line goes on from there.
    if head.map(|head| head.id) != prev && seals.is_none() {
        disown(&mut scratch, &site, prev)?;
        return Ok((scratch.keep(), Outcome::Refused(0, Refusal::Equivocation(author))));
    }
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
    scratch.put(line, &Tip { seq, id: block });
    Ok((scratch.keep(), outcome))
}

/// Notes a block on a branch that does not count. The first of such a branch is proof against its author, who may not spend from
/// here on; those that follow it prove nothing new.
fn disown(scratch: &mut Scratch<'_, '_>, site: &Site, prev: Option<BlockId>) -> Result<(), KvError> {
    let goes_on = match prev {
        Some(prev) => scratch.is_marked(&state::dead_key(&prev))?,
        None => false,
    };
    if !goes_on {
        scratch.put(state::frozen_key(&site.author), &Frozen { block: site.block, seq: site.seq });
    }
    scratch.mark(state::dead_key(&site.block));
    Ok(())
}

fn apply(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, transaction: &Transaction) -> Result<(), Refused> {
    match transaction {
        Transaction::Genesis(genesis) => membership::genesis(scratch, site, genesis),
        Transaction::MemberAdd(add) => membership::add(scratch, site, index, add),
        Transaction::MemberRemove(remove) => membership::remove(scratch, site, remove),
        Transaction::RoleSet(set) => membership::set_role(scratch, site, set),
        Transaction::Invite(new) => invite::invite(scratch, site, new),
        Transaction::InviteRevoke(revoke) => invite::revoke(scratch, site, revoke),
        Transaction::MemberJoin(join) => invite::join(scratch, site, index, join),
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
        Transaction::OfferCreate(create) => market::offer(scratch, site, index, create),
        Transaction::OfferRevoke(revoke) => market::revoke(scratch, site, revoke),
        Transaction::Purchase(purchase) => market::purchase(scratch, site, index, purchase),
        Transaction::Grant(grant) => market::grant(scratch, site, grant),
        Transaction::Settle(settle) => market::settle(scratch, site, index, settle),
        Transaction::Refund(refund) => market::refund(scratch, site, refund),
        Transaction::Dispute(dispute) => market::dispute(scratch, site, index, dispute),
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

/// Writes a block that was judged on the present state at the end of the order, which no seal covers.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn append<B: Block>(kv: &mut Overlay<'_>, block: &B, judged: (Kept, Outcome)) -> Result<Change, KvError> {
    let place = Place { key: block.order_key(), line: block.line_key(), before: None };
    let mut counters = rows::counters(kv)?;
    let change = place.write(kv, &mut counters, block.body(), judged)?;
    rows::set_counters(kv, &counters);
    Ok(change)
}

/// A block's place in the order, and what had become of it there.
pub(super) struct Place {
    pub(super) key: OrderKey,
    pub(super) line: LineKey,
    pub(super) before: Option<Outcome>,
}

impl Place {
    /// Writes a judged block there: with what takes it back, where no seal covers it.
    pub(super) fn write(
        self,
        kv: &mut Overlay<'_>,
        counters: &mut Counters,
        body: &Body,
        (kept, after): (Kept, Outcome),
    ) -> Result<Change, KvError> {
        let undo = if self.key.epoch == OPEN_EPOCH {
            Some(ByteBuf::from(cbor::encode(&kept.apply(kv)?)))
        } else {
            kept.write(kv);
            None
        };
        let row = OrderRow { line: ByteBuf::from(self.line.as_bytes().to_vec()), outcome: after.clone(), undo };
        write_row(kv, Table::Order, self.key.to_bytes(), &row);
        count(counters, body, self.before.as_ref(), &after);
        let membership = body.transactions().iter().any(Transaction::is_of_membership);
        let urgent = body.transactions().iter().any(Transaction::is_urgent);
        Ok(Change {
            block: self.key.id,
            line: self.line,
            author: body.author,
            before: self.before,
            after,
            membership,
            urgent,
            claims: ClaimAct::all_of(self.key.id, body),
        })
    }
}

/// Keeps the counters of what is applied and refused, when a block's outcome is new or another.
fn count(counters: &mut Counters, body: &Body, before: Option<&Outcome>, after: &Outcome) {
    let was_applied = before.is_some_and(Outcome::is_applied);
    if before.is_some() && was_applied == after.is_applied() {
        return;
    }
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
}
