//! The rows of the group's tokens, and what readers ask of them: totals, rules, balances, and each account's history.

use std::ops::{Bound, ControlFlow};

use serde::{Deserialize, Serialize};

use super::state::keyed;
use crate::cbor::cbor_array;
use crate::chain::rows::{parse_row, read_row};
use crate::chain::transaction::TaskId;
use crate::chain::{BlockId, PurchaseId, TextHash};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Read, Table};
use crate::limits;

cbor_array! {
    /// All tokens of a group: `supply` is what all accounts hold, and `treasury`, and `escrow`.
    #[derive(Copy, Default)]
    pub struct Totals {
        /// Tokens that there are.
        pub supply: u64,
        /// Those that belong to nobody: what transfers have cost.
        pub treasury: u64,
        /// Those that are set aside until something is decided.
        pub escrow: u64,
        /// Accounts that there are: of all who have ever held any, or bought.
        pub accounts: u64,
    }

    /// The group's rules in force. All are 0 until an admin sets them.
    #[derive(Copy, Default)]
    pub struct Policy {
        /// Tokens that an identity gets when it first becomes a member.
        pub faucet_amount: u64,
        /// Tokens that a claim earns its author.
        pub claim_reward_amount: u64,
        /// What a transfer costs on top, in basis points of the amount.
        pub transfer_fee_bps: u64,
        /// The most tokens that there may be; 0 for no bound of the group's own.
        pub max_total_supply: u64,
        /// The most tokens that an account may come to by what it gets; 0 for no bound of the group's own.
        pub max_account_balance: u64,
        /// Whether nodes show the group to peers that are no members.
        pub listed: bool,
    }

    /// The tokens of one identity, member or not.
    #[derive(Copy, Default)]
    pub struct Account {
        /// What it may spend.
        pub balance: u64,
        /// Number of its next purchase: none is used twice.
        pub nonce: u64,
        /// How often its balance has changed: the number of its next move.
        pub moves: u64,
    }

    /// One change of an account's balance.
    pub struct Move {
        /// What it was for.
        pub cause: Cause,
        /// Whether the account got the tokens, or gave them.
        pub incoming: bool,
        /// How many.
        pub amount: u64,
        /// What it cost the account besides.
        pub fee: u64,
        /// What the account had then.
        pub balance: u64,
        /// The other side; none where that is the group, or a task.
        pub counterpart: Option<Identity>,
        /// The block that did it.
        pub block: BlockId,
        /// The transaction's place in the block.
        pub index: u32,
        /// The block's time, milliseconds since 1970 UTC.
        pub time_ms: u64,
    }
}

/// What tokens were moved for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An admin made them.
    Mint,
    /// The identity became a member for the first time.
    Faucet,
    /// A claim with a text that was new to the group.
    ClaimReward,
    /// One account gave them to another.
    Transfer,
    /// An admin paid them out of the treasury.
    TreasuryPay,
    /// Set aside as the reward of a task.
    TaskLock(TaskId),
    /// Earned with a task.
    TaskReward(TaskId),
    /// Set aside for a task, and given back.
    TaskRefund(TaskId),
    /// Set aside for a purchase.
    Purchase(PurchaseId),
    /// Earned with a purchase.
    Sale(PurchaseId),
    /// Earned with a purchase of what builds on an offer.
    Royalty(PurchaseId),
    /// Set aside for a purchase, and given back.
    PurchaseRefund(PurchaseId),
}

impl Cause {
    /// Its word for scripts.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Mint => "mint",
            Self::Faucet => "faucet",
            Self::ClaimReward => "claim_reward",
            Self::Transfer => "transfer",
            Self::TreasuryPay => "treasury_pay",
            Self::TaskLock(_) => "task_lock",
            Self::TaskReward(_) => "task_reward",
            Self::TaskRefund(_) => "task_refund",
            Self::Purchase(_) => "purchase",
            Self::Sale(_) => "sale",
            Self::Royalty(_) => "royalty",
            Self::PurchaseRefund(_) => "purchase_refund",
        }
    }

    /// The task that it is about.
    #[must_use]
    pub const fn task(&self) -> Option<&TaskId> {
        match self {
            Self::TaskLock(task) | Self::TaskReward(task) | Self::TaskRefund(task) => Some(task),
            _ => None,
        }
    }

    /// The purchase that it is about.
    #[must_use]
    pub const fn purchase(&self) -> Option<&PurchaseId> {
        match self {
            Self::Purchase(id) | Self::Sale(id) | Self::Royalty(id) | Self::PurchaseRefund(id) => Some(id),
            _ => None,
        }
    }
}

impl Policy {
    /// The most tokens that there may be.
    #[must_use]
    pub fn supply_cap(&self) -> u64 {
        bound(self.max_total_supply)
    }

    /// The most that an account may come to.
    #[must_use]
    pub fn account_cap(&self) -> u64 {
        bound(self.max_account_balance)
    }

    /// What a transfer of `amount` costs on top, rounded down.
    #[must_use]
    pub fn transfer_fee(&self, amount: u64) -> u64 {
        let fee = u128::from(amount) * u128::from(self.transfer_fee_bps) / 10_000;
        // Below `amount` for every rate that the form allows.
        u64::try_from(fee).unwrap_or(u64::MAX)
    }
}

const fn bound(set: u64) -> u64 {
    if set == 0 { limits::AMOUNT_MAX } else { set }
}

/// Key of the totals.
pub const TOTALS: &[u8] = b"t";

/// Key of the rules.
pub const POLICY: &[u8] = b"p";

/// Key of an account.
#[must_use]
pub fn account_key(identity: &Identity) -> Vec<u8> {
    keyed(b'b', identity.as_bytes())
}

/// Key of the fact that an identity has had the faucet's tokens.
#[must_use]
pub fn faucet_key(identity: &Identity) -> Vec<u8> {
    keyed(b'u', identity.as_bytes())
}

/// Key of the fact that a text has been rewarded.
#[must_use]
pub fn reward_key(text: &TextHash) -> Vec<u8> {
    keyed(b'r', text.as_bytes())
}

/// Key of an account's move.
#[must_use]
pub fn move_key(identity: &Identity, number: u64) -> Vec<u8> {
    let mut key = keyed(b'h', identity.as_bytes());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The group's totals.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn totals(kv: &dyn Read) -> Result<Totals, KvError> {
    Ok(read_row(kv, Table::State, TOTALS)?.unwrap_or_default())
}

/// The group's rules.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn policy(kv: &dyn Read) -> Result<Policy, KvError> {
    Ok(read_row(kv, Table::State, POLICY)?.unwrap_or_default())
}

/// An identity's account: an empty one where it never had a token.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn account(kv: &dyn Read, identity: &Identity) -> Result<Account, KvError> {
    Ok(read_row(kv, Table::State, &account_key(identity))?.unwrap_or_default())
}

/// An account's moves with their numbers, the last first, at most `at_most`: the last of all, or those before a number.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn history(
    kv: &dyn Read,
    identity: &Identity,
    before: Option<u64>,
    at_most: usize,
) -> Result<Vec<(u64, Move)>, KvError> {
    let (mut moves, mut failed) = (Vec::new(), Ok(()));
    if at_most == 0 {
        return Ok(moves);
    }
    let (first, last) = (move_key(identity, 0), move_key(identity, before.unwrap_or(u64::MAX)));
    let range = (Bound::Included(first.as_slice()), Bound::Excluded(last.as_slice()));
    kv.scan(Table::State, range, Direction::Down, &mut |key, value| {
        let number = key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        match (number, parse_row(Table::State, key, value)) {
            (Some(number), Ok(row)) => moves.push((number, row)),
            _ => failed = Err(KvError::damaged(Table::State, key)),
        }
        if failed.is_err() || moves.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    failed.map(|()| moves)
}
