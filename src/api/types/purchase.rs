//! Purchases, the library, and what may be spent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{self, FieldError};
use crate::identity::Identity;
use crate::ledger::market::PurchaseStatus;
use crate::limits;

/// Body of `POST …/buy`. Sent again, it never pays twice: what is owned is opened, what is under way is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BuyOffer {
    /// The most that it may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<u64>,
    /// How long to wait for the package, at most `limits::BUY_WAIT_MS`; `limits::BUY_DEFAULT_WAIT_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
    /// Whose, where more than one announces the offer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller: Option<Identity>,
}

impl BuyOffer {
    /// Checks how long is to be waited.
    ///
    /// # Errors
    /// Where it is longer than `limits::BUY_WAIT_MS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.wait_ms.map_or(Ok(()), |wait| check::number("wait_ms", wait, 0..=limits::BUY_WAIT_MS))
    }
}

/// How a purchase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PurchaseState {
    /// It is above the spending limit: nothing is signed until a person approves.
    WaitingForApproval,
    /// A person has approved: it is under way.
    Approved,
    /// The order is signed, and no member has said yet that it is in the ledger.
    Ordered,
    /// The price is set aside, and the seller is to grant.
    Paid,
    /// The buyer can open the package.
    Granted,
    /// The seller has been paid.
    Settled,
    /// The buyer has the price back.
    Refunded,
}

impl PurchaseState {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::WaitingForApproval => "waiting_for_approval",
            Self::Approved => "approved",
            Self::Ordered => "ordered",
            Self::Paid => "paid",
            Self::Granted => "granted",
            Self::Settled => "settled",
            Self::Refunded => "refunded",
        }
    }
}

impl From<PurchaseStatus> for PurchaseState {
    fn from(status: PurchaseStatus) -> Self {
        match status {
            PurchaseStatus::Paid => Self::Paid,
            PurchaseStatus::Granted => Self::Granted,
            PurchaseStatus::Settled => Self::Settled,
            PurchaseStatus::Refunded => Self::Refunded,
        }
    }
}

/// What happens next with a purchase. This node does its part by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// A person approves it, or not.
    Approve,
    /// A member writes the order into the ledger.
    Order,
    /// The group's notary seals.
    Seal,
    /// The seller delivers the key.
    Grant,
    /// The buyer opens the package, and pays; or disputes.
    Settle,
    /// The price goes back to the buyer.
    Refund,
}

impl NextStep {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Order => "order",
            Self::Seal => "seal",
            Self::Grant => "grant",
            Self::Settle => "settle",
            Self::Refund => "refund",
        }
    }
}

/// On which side of a purchase this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It buys.
    Buyer,
    /// It sells.
    Seller,
}

/// A purchase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Purchase {
    /// Its id; `null` where nothing is signed yet.
    pub purchase_id: Option<String>,
    /// What is bought.
    pub offer_id: String,
    /// In which group.
    pub group_id: String,
    /// What the offer is called.
    pub title: String,
    /// On which side this node is.
    pub side: Side,
    /// Who buys: a peer id.
    pub buyer: String,
    /// Who sells: a peer id.
    pub seller: String,
    /// For how many tokens.
    pub price: u64,
    /// How it stands.
    pub status: PurchaseState,
    /// When it was paid, or asked for.
    pub paid_ms: u64,
    /// What happens next; `null` at the end.
    pub next: Option<NextStep>,
    /// Until when that must have happened, or when it does; `null` where there is no time.
    pub next_ms: Option<u64>,
    /// How it ended, in a word: `accepted`, `unopposed`, `unfounded`, `not_granted`, `bad_key`, `bad_chunk`; `null` before.
    pub ending: Option<String>,
}

/// Answer to `POST …/buy`: the purchase as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Bought {
    /// It.
    #[serde(flatten)]
    pub purchase: Purchase,
    /// Whether the package is here and opens: `GET /library/{offer}` has it.
    pub opened: bool,
    /// Whether it was owned before: nothing was paid now.
    pub already_owned: bool,
}

/// Query of `GET /purchases`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPurchases {
    /// Only of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// At most so many of each group and side, the last first, up to `limits::PAGE_ROWS`; `limits::PAGE_DEFAULT_ROWS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl ListPurchases {
    /// Checks the number of rows.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// This node's purchases and sales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurchaseList {
    /// They, the last first.
    pub purchases: Vec<Purchase>,
}

/// Answer to `POST …/approve`: the node buys it now, by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Approved {
    /// The offer.
    pub offer_id: String,
    /// Its group.
    pub group_id: String,
    /// What it is called.
    pub title: String,
    /// What it costs.
    pub price: u64,
    /// For whom: a peer id of this node.
    pub buyer: String,
    /// What that one is called, where it is an agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Others of this node that wait for a person's word on the same offer: each is approved by itself.
    pub still_waiting: usize,
}

/// Something that this node can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LibraryItem {
    /// The offer.
    pub offer_id: String,
    /// The purchase; `null` where this node sells it.
    pub purchase_id: Option<String>,
    /// The group.
    pub group_id: String,
    /// The name of the group.
    pub group: String,
    /// What it is called.
    pub title: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Who sells it: a peer id.
    pub seller: String,
    /// What it cost.
    pub price: u64,
    /// When it was bought, or offered.
    pub since_ms: u64,
    /// The encrypted package.
    pub package_hash: String,
    /// Length of the content, bytes.
    pub content_bytes: u64,
    /// Whether the encrypted package is on this node's disk. Else it is fetched when it is opened.
    pub here: bool,
}

/// All that this node can open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LibraryList {
    /// It.
    pub packages: Vec<LibraryItem>,
}

/// What a package has: `text`, or `content_base64` where it is no text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LibraryContent {
    /// What it is.
    #[serde(flatten)]
    pub item: LibraryItem,
    /// The content, where it is text.
    pub text: Option<String>,
    /// The content in base64, where it is none.
    pub content_base64: Option<String>,
}

/// Body of `PUT …/spending-limit`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSpendingLimit {
    /// Tokens in any 24 hours; no limit where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u64>,
}

/// What may leave an account of this node by its own acts in a group: purchases, transfers with their fees, rewards of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SpendingLimit {
    /// The group.
    pub group_id: String,
    /// Whose: a peer id.
    pub account: String,
    /// Tokens in any 24 hours; `null` for no limit.
    pub per_day: Option<u64>,
    /// What has left it in the last 24 hours; what came back does not count.
    pub spent: u64,
}
