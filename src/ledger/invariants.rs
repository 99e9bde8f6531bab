//! What holds of every state, whatever blocks have come and in whatever sequence: checked after every block in every test, and by
//! `group verify`.
//!
//! A state that breaks one was not made by the rules, or the rules are wrong: no block can be to blame.

use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

use super::account::{self, Account, Move};
use super::state::ClaimRow;
use super::{invite, market, query, state, task};
use crate::chain::rows::parse_row;
use crate::chain::transaction::TaskId;
use crate::chain::{ClaimId, PurchaseId, Role};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Read, Table};
use crate::limits;

/// What does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Tokens have come from nowhere, or are lost.
    #[error(
        "accounts have {balances} tokens, the treasury {treasury} and the escrow {escrow}, and the supply is {supply}"
    )]
    Supply {
        /// What all accounts have.
        balances: u128,
        /// What the treasury has.
        treasury: u64,
        /// What is set aside.
        escrow: u64,
        /// What there should be.
        supply: u64,
    },
    /// There are more tokens than there may be.
    #[error("there are {supply} tokens, and at most {cap} may be")]
    Cap {
        /// What there is.
        supply: u64,
        /// What there may be.
        cap: u64,
    },
    /// A counter counts something else.
    #[error("{counted} {what} are counted, and there are {found}")]
    Count {
        /// Of what.
        what: &'static str,
        /// By the counter.
        counted: u64,
        /// By the rows.
        found: u64,
    },
    /// An account's history does not lead to its balance.
    #[error("the history of {account} does not come to its balance at move {number}")]
    History {
        /// Whose.
        account: Identity,
        /// At which move.
        number: u64,
    },
    /// A group without an admin.
    #[error("the group has no admin")]
    NoAdmin,
    /// A ticket has let in more than it says, or a member counts as removed.
    #[error("{identity} {what}")]
    Ticket {
        /// Which ticket, or whom.
        identity: Identity,
        /// What is wrong.
        what: &'static str,
    },
    /// A task is in no state, or in two.
    #[error("the task {task} {what}")]
    Task {
        /// Which.
        task: TaskId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A purchase is in no state, or in two.
    #[error("the purchase {purchase} {what}")]
    Purchase {
        /// Which.
        purchase: PurchaseId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// An index says something else than the rows that it is of, or lacks one.
    #[error("the index row {0} is not what the rows say that it is of, or is missing")]
    Index(String),
    /// The escrow is not what was set aside.
    #[error("the escrow has {escrow} tokens, and {locked} are set aside")]
    Escrow {
        /// What the escrow has.
        escrow: u64,
        /// What is set aside.
        locked: u128,
    },
}

/// Checks a group's state; costs a walk through its accounts, their histories, its members, tickets, tasks, offers, purchases and claims.
///
/// # Errors
/// [`KvError`] where the store fails, or a row cannot be read.
pub fn check(kv: &dyn Read) -> Result<Vec<Broken>, KvError> {
    let mut broken = Vec::new();
    members(kv, &mut broken)?;
    tokens(kv, &mut broken)?;
    claims(kv, &mut broken)?;
    let locked = task::check(kv, &mut broken)? + market::check(kv, &mut broken)?;
    let escrow = account::totals(kv)?.escrow;
    if u128::from(escrow) != locked {
        broken.push(Broken::Escrow { escrow, locked });
    }
    Ok(broken)
}

/// The index rows of claims are those that the claims make, and no others.
fn claims(kv: &dyn Read, broken: &mut Vec<Broken>) -> Result<(), KvError> {
    let (mut expected, mut failed, mut stepped_back) = (BTreeSet::new(), Ok(()), 0);
    kv.scan_prefix(Table::State, b"c", &mut |key, value| {
        let id = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(ClaimId::from_bytes);
        let (Some(id), Ok(row)) = (id, parse_row::<ClaimRow>(Table::State, key, value)) else {
            failed = Err(KvError::damaged(Table::State, key));
            return ControlFlow::Break(());
        };
        expected.extend(row.parent.map(|parent| state::answer_key(&parent, &id)));
        expected.extend(row.supersedes.iter().map(|old| state::superseding_key(old, &id)));
        if row.retracted_by.is_none() {
            expected.insert(state::recent_key(row.created_ms, &id));
        } else {
            stepped_back += u64::from(!row.supersedes.is_empty());
        }
        ControlFlow::Continue(())
    })?;
    failed?;
    count("superseding claims that are retracted", state::stepped_back(kv)?, stepped_back, broken);
    for kind in [b"k", b"v", b"n"] {
        kv.scan_prefix(Table::State, kind, &mut |key, _| {
            if !expected.remove(key) {
                broken.push(Broken::Index(hex::encode(key)));
            }
            ControlFlow::Continue(())
        })?;
    }
    broken.extend(expected.iter().map(|key| Broken::Index(hex::encode(key))));
    Ok(())
}

fn members(kv: &dyn Read, broken: &mut Vec<Broken>) -> Result<(), KvError> {
    let members = query::members(kv)?;
    let group = state::group(kv)?;
    let admins = members.iter().filter(|(_, member)| member.role == Role::Admin).count() as u64;
    if group.is_some() && admins == 0 {
        broken.push(Broken::NoAdmin);
    }
    let counted = group.map_or((0, 0), |group| (group.members, group.admins));
    count("members", counted.0.into(), members.len() as u64, broken);
    count("admins", counted.1.into(), admins, broken);
    for (ticket, row) in invite::tickets(kv)? {
        if row.used > row.uses {
            broken.push(Broken::Ticket { identity: ticket, what: "is a ticket that has let in more than it says" });
        }
    }
    for (identity, _) in members {
        if kv.get(Table::State, &state::removed_key(&identity))?.is_some() {
            broken.push(Broken::Ticket { identity, what: "is a member, and counts as removed" });
        }
    }
    Ok(())
}

fn tokens(kv: &dyn Read, broken: &mut Vec<Broken>) -> Result<(), KvError> {
    let totals = account::totals(kv)?;
    let (mut balances, mut accounts) = (0, 0);
    for (identity, account) in accounts_of(kv)? {
        balances += u128::from(account.balance);
        accounts += 1;
        history(kv, identity, &account, broken)?;
    }
    let account::Totals { supply, treasury, escrow, .. } = totals;
    if balances + u128::from(treasury) + u128::from(escrow) != u128::from(supply) {
        broken.push(Broken::Supply { balances, treasury, escrow, supply });
    }
    let cap = account::policy(kv)?.supply_cap();
    if supply > cap {
        broken.push(Broken::Cap { supply, cap });
    }
    count("accounts", totals.accounts, accounts, broken);
    Ok(())
}

fn accounts_of(kv: &dyn Read) -> Result<Vec<(Identity, Account)>, KvError> {
    let (mut accounts, mut failed) = (Vec::new(), Ok(()));
    kv.scan_prefix(Table::State, b"b", &mut |key, value| {
        let identity = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(Identity::from_stored);
        match (identity, parse_row(Table::State, key, value)) {
            (Some(identity), Ok(account)) => accounts.push((identity, account)),
            _ => failed = Err(KvError::damaged(Table::State, key)),
        }
        if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map(|()| accounts)
}

/// Each move starts where the one before it ended, and the last one ends at the balance.
fn history(kv: &dyn Read, identity: Identity, account: &Account, broken: &mut Vec<Broken>) -> Result<(), KvError> {
    let (mut balance, mut number, mut fault, mut failed) = (0u64, 0, None, Ok(()));
    let (first, last) = (account::move_key(&identity, 0), account::move_key(&identity, u64::MAX));
    let range = (Bound::Included(first.as_slice()), Bound::Included(last.as_slice()));
    kv.scan(Table::State, range, Direction::Up, &mut |key, value| {
        let row: Move = match parse_row(Table::State, key, value) {
            Ok(row) => row,
            Err(error) => {
                failed = Err(error);
                return ControlFlow::Break(());
            }
        };
        let after = if row.incoming {
            balance.checked_add(row.amount)
        } else {
            row.amount.checked_add(row.fee).and_then(|gone| balance.checked_sub(gone))
        };
        let is_next = key == account::move_key(&identity, number);
        if !is_next || after != Some(row.balance) || row.amount == 0 {
            fault = Some(number);
            return ControlFlow::Break(());
        }
        (balance, number) = (row.balance, number + 1);
        ControlFlow::Continue(())
    })?;
    failed?;
    let ends_elsewhere = balance != account.balance || number != account.moves || balance > limits::AMOUNT_MAX;
    if let Some(number) = fault.or(ends_elsewhere.then_some(number)) {
        broken.push(Broken::History { account: identity, number });
    }
    Ok(())
}

fn count(what: &'static str, counted: u64, found: u64, broken: &mut Vec<Broken>) {
    if counted != found {
        broken.push(Broken::Count { what, counted, found });
    }
}
