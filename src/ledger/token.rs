//! The group's tokens: `policy_update`, `mint`, `transfer`, `treasury_pay`, the faucet, the reward of a claim; and what tasks and the
//! market move tokens with.
//!
//! **What all accounts hold, the treasury and the escrow are the supply, and the supply is within its cap.** Tokens come into
//! being in `issue` and `issue_once` only, and never go. Arithmetic is checked: a sum that does not hold is a damaged store.

use serde::{Deserialize, Serialize};

use super::account::{self, Account, Move, Policy, Totals};
pub use super::account::{Cause, policy};
use super::fold::{Refused, Site, refuse};
use super::membership::require;
use super::notary::require_not_frozen;
use super::outcome::Refusal;
use super::state::Scratch;
use crate::chain::transaction::{Mint, PolicyUpdate, Transfer, TreasuryPay};
use crate::chain::{Role, TextHash};
use crate::identity::Identity;
use crate::kv::{KvError, Table};

/// Why tokens do not move. Each says with its numbers what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum TokenRefusal {
    /// The account has less than is to be given.
    #[error(
        "{account} has {balance} tokens, and {amount} with a fee of {fee} are {}: give less, or get tokens first",
        u128::from(*amount) + u128::from(*fee)
    )]
    Balance {
        /// Whose account.
        account: Identity,
        /// What it has.
        balance: u64,
        /// What is to be given.
        amount: u64,
        /// What that costs besides.
        fee: u64,
    },
    /// The treasury has less than is to be paid.
    #[error("the treasury has {treasury} tokens and {amount} were to be paid: pay less; the fees of transfers fill it")]
    Treasury {
        /// What it has.
        treasury: u64,
        /// What is to be paid.
        amount: u64,
    },
    /// There would be more tokens than there may be.
    #[error(
        "the group has {supply} tokens of at most {cap}, so that {amount} more do not fit: make at most {}, or raise \
         max_total_supply with `lbm ctl group policy`",
        cap.saturating_sub(*supply)
    )]
    SupplyCap {
        /// Tokens that there are.
        supply: u64,
        /// How many more there would be.
        amount: u64,
        /// The most that there may be.
        cap: u64,
    },
    /// An account would have more than one may.
    #[error(
        "{account} has {balance} tokens and may come to {cap}, so that {amount} more do not fit: give at most {}, or \
         raise max_account_balance with `lbm ctl group policy`",
        cap.saturating_sub(*balance)
    )]
    AccountCap {
        /// Whose account.
        account: Identity,
        /// What it has.
        balance: u64,
        /// What it was to get.
        amount: u64,
        /// The most that it may come to.
        cap: u64,
    },
    /// A transfer to its author.
    #[error("{0} cannot transfer to itself: name another account")]
    ToOneself(Identity),
    /// The new cap is below what there is.
    #[error("the group has {supply} tokens already: set max_total_supply to {supply} or more, or to 0 for no bound")]
    CapBelowSupply {
        /// Tokens that there are.
        supply: u64,
    },
}

impl TokenRefusal {
    /// A stable word for scripts: the `code` of the API's problems.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Balance { .. } => "insufficient_balance",
            Self::Treasury { .. } => "insufficient_treasury",
            Self::SupplyCap { .. } => "supply_cap",
            Self::AccountCap { .. } => "account_cap",
            Self::ToOneself(_) => "transfer_to_oneself",
            Self::CapBelowSupply { .. } => "cap_below_supply",
        }
    }
}

pub(super) fn update_policy(scratch: &mut Scratch<'_, '_>, site: &Site, update: &PolicyUpdate) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    let old = rules(scratch)?;
    let new = Policy {
        faucet_amount: update.faucet_amount.unwrap_or(old.faucet_amount),
        claim_reward_amount: update.claim_reward_amount.unwrap_or(old.claim_reward_amount),
        transfer_fee_bps: update.transfer_fee_bps.unwrap_or(old.transfer_fee_bps),
        max_total_supply: update.max_total_supply.unwrap_or(old.max_total_supply),
        max_account_balance: update.max_account_balance.unwrap_or(old.max_account_balance),
        listed: update.listed.unwrap_or(old.listed),
    };
    let supply = totals(scratch)?.supply;
    if new.supply_cap() < supply {
        return no(TokenRefusal::CapBelowSupply { supply });
    }
    scratch.put(account::POLICY.to_vec(), &new);
    Ok(())
}

pub(super) fn mint(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, mint: &Mint) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    require_not_frozen(scratch, &site.author)?;
    issue(scratch, site, index, &mint.to, mint.amount, Cause::Mint)
}

pub(super) fn transfer(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    transfer: &Transfer,
) -> Result<(), Refused> {
    require(scratch, site, Role::Viewer)?;
    require_not_frozen(scratch, &site.author)?;
    let Transfer { to, amount } = transfer;
    if *to == site.author {
        return no(TokenRefusal::ToOneself(*to));
    }
    let fee = rules(scratch)?.transfer_fee(*amount);
    let gives = Entry { cause: Cause::Transfer, amount: *amount, fee, counterpart: Some(*to) };
    debit(scratch, site, index, &site.author, gives)?;
    require_room(scratch, to, *amount)?;
    let gets = Entry { cause: Cause::Transfer, amount: *amount, fee: 0, counterpart: Some(site.author) };
    credit(scratch, site, index, to, gets)?;
    let mut totals = totals(scratch)?;
    totals.treasury = plus(totals.treasury, fee)?;
    scratch.put(account::TOTALS.to_vec(), &totals);
    Ok(())
}

pub(super) fn pay(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, pay: &TreasuryPay) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    require_not_frozen(scratch, &site.author)?;
    let TreasuryPay { to, amount } = pay;
    let mut totals = totals(scratch)?;
    let Some(left) = totals.treasury.checked_sub(*amount) else {
        return no(TokenRefusal::Treasury { treasury: totals.treasury, amount: *amount });
    };
    require_room(scratch, to, *amount)?;
    totals.treasury = left;
    scratch.put(account::TOTALS.to_vec(), &totals);
    credit(scratch, site, index, to, Entry::by_author(site, to, *amount, Cause::TreasuryPay))
}

/// Gives an identity that becomes a member the faucet's tokens: once, ever, and as a whole. Where they do not fit under the caps, it
/// becomes a member without them, and has them to come should it be added again.
pub(super) fn faucet(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    identity: &Identity,
) -> Result<(), Refused> {
    let amount = rules(scratch)?.faucet_amount;
    issue_once(scratch, site, index, account::faucet_key(identity), identity, amount, Cause::Faucet)
}

/// Rewards the author of a claim, where nobody has been rewarded for that text. The claim stands without it where it does not fit. It
/// is not taken back with the claim, nor paid again for the same text.
pub(super) fn reward(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, text: &TextHash) -> Result<(), Refused> {
    let amount = rules(scratch)?.claim_reward_amount;
    issue_once(scratch, site, index, account::reward_key(text), &site.author, amount, Cause::ClaimReward)
}

/// Makes tokens, within both caps.
pub(super) fn issue(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    to: &Identity,
    amount: u64,
    cause: Cause,
) -> Result<(), Refused> {
    let (mut totals, cap) = (totals(scratch)?, rules(scratch)?.supply_cap());
    let supply = match totals.supply.checked_add(amount) {
        Some(supply) if supply <= cap => supply,
        _ => return no(TokenRefusal::SupplyCap { supply: totals.supply, amount, cap }),
    };
    require_room(scratch, to, amount)?;
    totals.supply = supply;
    scratch.put(account::TOTALS.to_vec(), &totals);
    credit(scratch, site, index, to, Entry::by_author(site, to, amount, cause))
}

/// Makes tokens unless this was done before, or they do not fit.
fn issue_once(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    mark: Vec<u8>,
    to: &Identity,
    amount: u64,
    cause: Cause,
) -> Result<(), Refused> {
    if amount == 0 || scratch.is_marked(&mark)? {
        return Ok(());
    }
    match issue(scratch, site, index, to, amount, cause) {
        Err(Refused::Refused(_)) => Ok(()),
        Err(failed @ Refused::Failed(_)) => Err(failed),
        Ok(()) => {
            scratch.mark(mark);
            Ok(())
        }
    }
}

/// Sets tokens of an account aside: from its balance into the escrow. `counterpart` is for whom, where that is known.
pub(super) fn lock(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    from: &Identity,
    amount: u64,
    cause: Cause,
    counterpart: Option<Identity>,
) -> Result<(), Refused> {
    require_not_frozen(scratch, from)?;
    debit(scratch, site, index, from, Entry { cause, amount, fee: 0, counterpart })?;
    let mut totals = totals(scratch)?;
    totals.escrow = plus(totals.escrow, amount)?;
    scratch.put(account::TOTALS.to_vec(), &totals);
    Ok(())
}

/// Gives tokens out of the escrow, which must have them: whoever unlocks knows that it locked them.
///
/// The cap of accounts does not hold here, so that nothing that was set aside can be stuck: neither a refund, nor a reward that
/// somebody has earned. The supply's cap cannot be passed, since no token is made. `counterpart` is whose tokens they were, or who
/// decided it.
pub(super) fn unlock(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    to: &Identity,
    amount: u64,
    cause: Cause,
    counterpart: Option<Identity>,
) -> Result<(), Refused> {
    take_from_escrow(scratch, amount, 0)?;
    credit(scratch, site, index, to, Entry { cause, amount, fee: 0, counterpart })
}

/// Gives tokens out of the escrow, which must have them, to the treasury.
pub(super) fn unlock_to_treasury(scratch: &mut Scratch<'_, '_>, amount: u64) -> Result<(), Refused> {
    take_from_escrow(scratch, amount, amount)
}

fn take_from_escrow(scratch: &mut Scratch<'_, '_>, amount: u64, to_treasury: u64) -> Result<(), Refused> {
    let mut totals = totals(scratch)?;
    totals.escrow = totals.escrow.checked_sub(amount).ok_or_else(broken)?;
    totals.treasury = plus(totals.treasury, to_treasury)?;
    scratch.put(account::TOTALS.to_vec(), &totals);
    Ok(())
}

/// What the rules in force take of a payment.
pub(super) fn fee(scratch: &Scratch<'_, '_>, amount: u64) -> Result<u64, KvError> {
    Ok(rules(scratch)?.transfer_fee(amount))
}

/// The number of an account's next purchase.
pub(super) fn next_nonce(scratch: &Scratch<'_, '_>, identity: &Identity) -> Result<u64, KvError> {
    Ok(of(scratch, identity)?.nonce)
}

/// Uses that number up.
pub(super) fn use_nonce(scratch: &mut Scratch<'_, '_>, identity: &Identity) -> Result<(), Refused> {
    let account = of(scratch, identity)?;
    set_account(scratch, identity, &Account { nonce: plus(account.nonce, 1)?, ..account })
}

/// What happens to one account.
struct Entry {
    cause: Cause,
    amount: u64,
    fee: u64,
    counterpart: Option<Identity>,
}

impl Entry {
    /// Tokens that come by what the block's author does.
    fn by_author(site: &Site, to: &Identity, amount: u64, cause: Cause) -> Self {
        Self { cause, amount, fee: 0, counterpart: (site.author != *to).then_some(site.author) }
    }

    fn into_move(self, site: &Site, index: u32, incoming: bool, balance: u64) -> Move {
        let Self { cause, amount, fee, counterpart } = self;
        let Site { block, time_ms, .. } = *site;
        Move { cause, incoming, amount, fee, balance, counterpart, block, index, time_ms }
    }
}

fn credit(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, to: &Identity, entry: Entry) -> Result<(), Refused> {
    let account = of(scratch, to)?;
    let balance = plus(account.balance, entry.amount)?;
    record(scratch, to, account, &entry.into_move(site, index, true, balance))
}

fn debit(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, from: &Identity, entry: Entry) -> Result<(), Refused> {
    let account = of(scratch, from)?;
    let Entry { amount, fee, .. } = entry;
    let left = amount.checked_add(fee).and_then(|needed| account.balance.checked_sub(needed));
    let Some(balance) = left else {
        return no(TokenRefusal::Balance { account: *from, balance: account.balance, amount, fee });
    };
    record(scratch, from, account, &entry.into_move(site, index, false, balance))
}

/// Writes an account's new balance and how it came to it.
fn record(scratch: &mut Scratch<'_, '_>, identity: &Identity, account: Account, row: &Move) -> Result<(), Refused> {
    if row.amount == 0 {
        return Ok(());
    }
    scratch.put(account::move_key(identity, account.moves), row);
    let moves = plus(account.moves, 1)?;
    set_account(scratch, identity, &Account { balance: row.balance, moves, ..account })
}

/// Writes an account's row, and counts it where it is new.
fn set_account(scratch: &mut Scratch<'_, '_>, identity: &Identity, account: &Account) -> Result<(), Refused> {
    let key = account::account_key(identity);
    if !scratch.is_marked(&key)? {
        let mut totals = totals(scratch)?;
        totals.accounts = plus(totals.accounts, 1)?;
        scratch.put(account::TOTALS.to_vec(), &totals);
    }
    scratch.put(key, account);
    Ok(())
}

/// Refuses what would bring an account past its cap.
fn require_room(scratch: &Scratch<'_, '_>, to: &Identity, amount: u64) -> Result<(), Refused> {
    let (balance, cap) = (of(scratch, to)?.balance, rules(scratch)?.account_cap());
    match balance.checked_add(amount) {
        Some(sum) if sum <= cap => Ok(()),
        _ => no(TokenRefusal::AccountCap { account: *to, balance, amount, cap }),
    }
}

fn rules(scratch: &Scratch<'_, '_>) -> Result<Policy, KvError> {
    Ok(scratch.get(account::POLICY)?.unwrap_or_default())
}

fn totals(scratch: &Scratch<'_, '_>) -> Result<Totals, KvError> {
    Ok(scratch.get(account::TOTALS)?.unwrap_or_default())
}

fn of(scratch: &Scratch<'_, '_>, identity: &Identity) -> Result<Account, KvError> {
    Ok(scratch.get(&account::account_key(identity))?.unwrap_or_default())
}

fn no<T>(why: TokenRefusal) -> Result<T, Refused> {
    refuse(Refusal::Token(why))
}

/// A sum that the caps keep far from its end.
fn plus(sum: u64, more: u64) -> Result<u64, Refused> {
    sum.checked_add(more).ok_or_else(broken)
}

fn broken() -> Refused {
    Refused::Failed(KvError::damaged(Table::State, account::TOTALS))
}

#[cfg(test)]
mod tests;
