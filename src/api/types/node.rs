//! The node itself: status, health, sync, refused blocks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{self, FieldError};
use super::{Claim, PurchaseState};
use crate::limits;

/// Answer of `GET /status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The node's peer id.
    pub node_id: String,
    /// The identity in whose name was asked: the node's own, or an agent's.
    #[serde(default)]
    pub member_id: String,
    /// Agents that it hosts.
    #[serde(default)]
    pub agents: usize,
    /// Its name.
    pub name: String,
    /// Version of the daemon.
    pub version: String,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// Its addresses, each a full multiaddr that ends with `/p2p/` and the peer id.
    pub listen: Vec<String>,
    /// Peers that it is connected to.
    pub peers: usize,
    /// Groups that it replicates.
    pub groups: usize,
    /// Those of them in which it may not know its own last block and so writes nothing.
    pub unsure_groups: usize,
    /// Those of them of whose members some say that this node is none any more.
    #[serde(default)]
    pub shut_out_groups: usize,
    /// Blocks of its own that a group is not known to have, as their author is no member of it any more, each group's counted up to
    /// `limits::PAGE_ROWS`: `GET /stranded` has them.
    #[serde(default)]
    pub stranded_blocks: usize,
    /// Those of them whose retrieval index is being rebuilt: their contexts are compiled from a part of their claims.
    pub indexing_groups: usize,
    /// What it buys and sells that has not ended, counted by how it stands: `{"paid": 2}`.
    pub open_purchases: BTreeMap<PurchaseState, usize>,
    /// Those of them whose retrieval index has no files for now, and goes on in memory.
    pub troubled_indexes: usize,
    /// What makes vectors of claims; `null` where the settings name nothing.
    pub embedder: Option<EmbedderStatus>,
}

/// How an embedder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmbedderState {
    /// It has not answered yet.
    Starting,
    /// Some claims have no vector yet.
    Embedding,
    /// All claims that can have one do.
    Ready,
    /// It does not serve; the built-in views answer alone.
    Down,
}

/// The embedder and how far it is, over all groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmbedderStatus {
    /// Its model.
    pub model: String,
    /// How it is.
    pub state: EmbedderState,
    /// Claims with a vector.
    pub embedded: u64,
    /// Claims that should have one.
    pub claims: u64,
    /// Those of them that it refuses.
    pub unable: u64,
    /// What is wrong; `null` where nothing is.
    pub detail: Option<String>,
}

/// Body of `POST /admin/link`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdminLink {
    /// Whether whoever follows it may only look.
    #[serde(default)]
    pub read_only: bool,
}

/// Answer of `POST /admin/link`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdminLink {
    /// The link. It can be followed once, until its time is over.
    pub url: String,
    /// Whether whoever follows it may only look.
    pub read_only: bool,
    /// Until when it can be followed.
    pub expires_ms: u64,
}

impl std::fmt::Debug for AdminLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdminLink").field("read_only", &self.read_only).finish_non_exhaustive()
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HealthCheck {
    /// What: `store`, `writer`, `network`, `clock`, …
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What was seen.
    pub detail: String,
    /// What to do, where it is not well.
    pub remedy: Option<String>,
}

/// Answer of `GET /health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Whether every check is well.
    pub ok: bool,
    /// The checks.
    pub checks: Vec<HealthCheck>,
}

/// Body of `POST /sync`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncNow {
    /// Only this group; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only with this peer, by its id or alias; with every connected member where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// What came from one peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncedPeer {
    /// Who.
    pub peer_id: String,
    /// Whether it answered to the end.
    pub answered: bool,
    /// Blocks that came from it.
    pub blocks_received: u64,
}

/// What a sync did for one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncedGroup {
    /// Its id.
    pub group_id: String,
    /// Its name, where it is known.
    pub name: Option<String>,
    /// Connected members that were asked.
    pub peers_asked: usize,
    /// Those of them that answered to the end.
    pub peers_answered: usize,
    /// Blocks that came.
    pub blocks_received: u64,
    /// What came from whom.
    pub peers: Vec<SyncedPeer>,
}

/// Answer of `POST /sync`: every connected member was asked, and what answered within `limits::SYNC_WAIT_MS` is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncReport {
    /// The groups.
    pub groups: Vec<SyncedGroup>,
}

/// Query of `GET /rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRejected {
    /// Only this group; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Rows, at most `limits::PAGE_ROWS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListRejected {
    /// Checks the page's size.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// Query of `GET /stranded`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListStranded {
    /// Only this group; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What the ledger refuses for good or for now, in place of what the group may not have: what was stranded is, once its author is let in
    /// again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// Rows, at most `limits::PAGE_ROWS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListStranded {
    /// Checks the page's size.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// A block that the ledger refuses at its place in the order. It is kept, and tried again when the order changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// The group.
    pub group_id: String,
    /// The block.
    pub block_id: String,
    /// Whether that stays so; while it is pending, another order may reinstate it.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Who signed it: a peer id.
    pub author: String,
    /// The author's clock.
    pub created_ms: u64,
    /// Which of its transactions, from 0.
    pub transaction: usize,
    /// What the author did with it, in a few words.
    pub what: String,
    /// Why not, as a word that scripts may compare.
    pub code: String,
    /// Why not, as a sentence.
    pub reason: String,
}

/// Answer of `GET /rejected`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RejectedList {
    /// The blocks, group by group, in each the last of its order first.
    pub rejected: Vec<Rejected>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// A write that was acknowledged, and that its group is not known to have: its author is no member there any more, and no seal covers it here.
/// Or, where that is asked for, one that the ledger refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stranded {
    /// The group.
    pub group_id: String,
    /// The block.
    pub block_id: String,
    /// Who signed it: this node or an agent of it, a peer id.
    pub author: String,
    /// When, by this node's clock.
    pub created_ms: u64,
    /// Which of the block's transactions, from 0.
    pub transaction: usize,
    /// What its author did with it, in a few words.
    pub what: String,
    /// The claim that it publishes, with its words; `null` where it does something else.
    pub claim: Option<Claim>,
}

/// Answer of `GET /stranded`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StrandedList {
    /// The writes, group by group and author by author, the last block first.
    pub stranded: Vec<Stranded>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}
