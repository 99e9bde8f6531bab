//! What an identity has given away of late, for the limit that its operator sets.
//!
//! **Everything that leaves its account by its own act counts together**: purchases, transfers with their fees, and rewards that it sets
//! aside for tasks. It is counted from the ledger's rows, so that neither a restart nor an older copy of the data forgets any, and judged where
//! a write is drafted, so that of writes side by side each sees those before it.

use std::collections::BTreeSet;

use super::shelf::{self, Limit, Shelved, Wish};
use crate::chain::{GroupId, Transaction};
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::account::{self, Cause};
use crate::limits;
use crate::node::engine::{Failure, Groups};

/// Tokens that have left an account by its owner's own acts within the last [`limits::SPENDING_SPAN_MS`]; what came back of them does not
/// count.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn spent(kv: &dyn Read, spender: &Identity, now_ms: u64) -> Result<u64, KvError> {
    let since_ms = now_ms.saturating_sub(limits::SPENDING_SPAN_MS);
    let (mut spent, mut before) = (0_u64, None);
    let (mut tasks, mut purchases) = (BTreeSet::new(), BTreeSet::new());
    loop {
        let page = account::history(kv, spender, before, limits::PAGE_ROWS)?;
        for (number, row) in &page {
            before = Some(*number);
            let counts = match &row.cause {
                Cause::TaskRefund(task) => {
                    tasks.insert(task.clone());
                    false
                }
                Cause::PurchaseRefund(purchase) => {
                    purchases.insert(*purchase);
                    false
                }
                Cause::Transfer => !row.incoming,
                Cause::TaskLock(task) => !tasks.contains(task),
                Cause::Purchase(purchase) => !purchases.contains(purchase),
                _ => false,
            };
            if counts && row.time_ms > since_ms {
                spent = spent.saturating_add(row.amount).saturating_add(row.fee);
            }
            // Its own blocks are in the sequence of their times; what others give it may be dated as they like, and says nothing.
            let is_own = match &row.cause {
                Cause::Transfer => !row.incoming,
                Cause::TaskLock(_) | Cause::TaskReward(_) | Cause::ClaimReward => true,
                _ => false,
            };
            if is_own && row.time_ms.saturating_add(2 * limits::MAX_CLOCK_DRIFT_MS) <= since_ms {
                return Ok(spent);
            }
        }
        if page.len() < limits::PAGE_ROWS {
            return Ok(spent);
        }
    }
}

/// What an identity may spend in a group: what is set for that group, else what is set for all.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn limit(own: &dyn Groups, group: &GroupId, spender: &Identity) -> Result<Option<Limit>, KvError> {
    let shelved = |key: &[u8]| Ok::<_, KvError>(own.local(key)?.and_then(|row| Limit::from_row(&row)));
    match shelved(&shelf::of_spender(group, spender))? {
        Some(limit) => Ok(Some(limit)),
        None => shelved(&shelf::of_spender_everywhere(spender)),
    }
}

/// The limit that a write has to keep; none where there is none, or where all that it gives away was approved by a person.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn to_keep(
    own: &dyn Groups,
    group: &GroupId,
    author: &Identity,
    write: &[Transaction],
) -> Result<Option<u64>, KvError> {
    let mut gives = false;
    for transaction in write {
        gives |= match transaction {
            Transaction::Transfer(_) => true,
            Transaction::TaskCreate(task) => task.reward > 0,
            Transaction::Purchase(purchase) => {
                let order = purchase.order.order();
                let key = shelf::of_offer::<Wish>(author, group, &order.offer);
                let wish = own.local(&key)?.and_then(|row| Wish::from_row(&row));
                order.buyer == *author && !wish.is_some_and(|wish| wish.approved && wish.price >= order.price)
            }
            _ => false,
        };
    }
    if gives { Ok(limit(own, group, author)?.map(|limit| limit.per_day)) } else { Ok(None) }
}

/// Refuses a write that comes to more than a limit: `before` are the rows without it, `after` with it.
///
/// # Errors
/// [`Failure::AboveLimit`]; [`Failure::Store`] where the store fails.
pub fn keep(per_day: u64, before: &dyn Read, after: &dyn Read, spender: &Identity, now_ms: u64) -> Result<(), Failure> {
    let together = spent(after, spender, now_ms)?;
    let spent = spent(before, spender, now_ms)?;
    let amount = together.saturating_sub(spent);
    if amount == 0 || together <= per_day {
        return Ok(());
    }
    Err(Failure::AboveLimit { spender: *spender, per_day, spent, amount })
}
