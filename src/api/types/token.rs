//! Tokens: balances, what moved them, and the group's rules.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Wrote;
use super::check::{self, FieldError};
pub use crate::chain::transaction::PolicyUpdate;
use crate::identity::Identity;
use crate::limits;

/// The rules of a group's tokens. All amounts are whole tokens, at most `limits::AMOUNT_MAX`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Tokens that an identity gets when it first becomes a member.
    pub faucet_amount: u64,
    /// Tokens that a claim with a new text earns its author.
    pub claim_reward_amount: u64,
    /// What a transfer costs on top, in basis points of the amount; rounded down.
    pub transfer_fee_bps: u64,
    /// The most tokens that there may be; 0 for no bound of the group's own.
    pub max_total_supply: u64,
    /// The most tokens that one account may come to; 0 for no bound of the group's own.
    pub max_account_balance: u64,
    /// Whether nodes show the group to peers that are no members.
    pub listed: bool,
}

/// Answer of `GET …/policy`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupPolicy {
    /// The group.
    pub group_id: String,
    /// Its rules.
    #[serde(flatten)]
    pub policy: Policy,
}

/// Answer to changed rules: the change is durable here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PolicyChanged {
    /// The group.
    pub group_id: String,
    /// The block that changes them.
    pub block_id: String,
    /// All of its rules now.
    #[serde(flatten)]
    pub policy: Policy,
}

impl Wrote for PolicyChanged {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Body of `POST …/mint`, `POST …/transfer` and `POST …/pay`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Payment {
    /// Who gets the tokens; it needs not be a member.
    pub to: Identity,
    /// How many it gets.
    pub amount: u64,
}

impl Payment {
    /// Checks the amount.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::AMOUNT_MAX`.
    pub fn check(&self) -> Result<(), FieldError> {
        let (value, most) = (self.amount, limits::AMOUNT_MAX);
        if (1..=most).contains(&value) {
            return Ok(());
        }
        Err(FieldError::Range { field: "amount", value, least: 1, most })
    }
}

/// Answer to a payment: it is durable here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Paid {
    /// The group.
    pub group_id: String,
    /// The block that it is in.
    pub block_id: String,
    /// Who got the tokens.
    pub to: String,
    /// How many.
    pub amount: u64,
    /// What the transfer cost on top.
    pub fee: u64,
}

impl Wrote for Paid {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Query of `GET …/balance`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskBalance {
    /// Whose: this node's where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Identity>,
}

/// Answer of `GET …/balance`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Balance {
    /// Whose: a peer id.
    pub account: String,
    /// What it can spend: 0 where it never had any.
    pub balance: u64,
}

/// Query of `GET …/history`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListMoves {
    /// Whose: this node's where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Identity>,
    /// Rows of the page, at most `limits::PAGE_ROWS`; `limits::PAGE_DEFAULT_ROWS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListMoves {
    /// Checks the page's size.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// Which way tokens went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Into the account.
    In,
    /// Out of it.
    Out,
}

/// One change of an account's balance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenMove {
    /// What for: `mint`, `faucet`, `claim_reward`, `transfer`, `treasury_pay`, `task_lock`, `task_reward` or `task_refund`.
    pub kind: String,
    /// Which way.
    pub direction: Direction,
    /// How many tokens.
    pub amount: u64,
    /// What the account paid besides.
    pub fee: u64,
    /// What the account had then.
    pub balance: u64,
    /// The other side; `null` where that is the group, or a task.
    pub counterpart: Option<String>,
    /// The task that it is about, if one.
    pub task_id: Option<String>,
    /// The block that did it.
    pub block_id: String,
    /// The transaction's place in the block, from 0.
    pub transaction: u32,
    /// The block's time, by its author's clock.
    pub created_ms: u64,
    /// Whether a seal fixes the block's place.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// Answer of `GET …/history`: the last move first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MoveList {
    /// Whose: a peer id.
    pub account: String,
    /// The moves.
    pub moves: Vec<TokenMove>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}
