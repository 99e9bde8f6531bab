//! Groups and their members.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Wrote;
use super::check::{self, FieldError};
use super::token::Policy;
pub use crate::chain::Role;
use crate::identity::Identity;
use crate::limits;

/// Body of `POST /groups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateGroup {
    /// Its name, of `[A-Za-z0-9:_-]`.
    pub name: String,
    /// Code of its currency; `KAT` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

impl CreateGroup {
    /// Checks the name and the currency.
    ///
    /// # Errors
    /// The first that breaks its bounds.
    pub fn check(&self) -> Result<(), FieldError> {
        check::group_name(&self.name)?;
        self.currency.as_deref().map_or(Ok(()), check::currency)
    }
}

/// Answer to a created group: its first block is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupCreated {
    /// Its id, which no other group can have.
    pub group_id: String,
    /// Its name.
    pub name: String,
}

/// A group in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// Its id.
    pub group_id: String,
    /// Its name; `null` while it is being joined and its first block is not here yet.
    pub name: Option<String>,
    /// This node's role in it; `null` where it is no member, or not yet.
    pub role: Option<Role>,
    /// Whether it is still being joined: nothing of it is served until a member answered.
    pub joining: bool,
    /// The agent of this node that is joining it; `null` where that is who asks.
    #[serde(default)]
    pub agent: Option<String>,
    /// Why a peer says that the joining comes to nothing: the code of a problem.
    #[serde(default)]
    pub refused: Option<String>,
    /// Why this node is a member no more, where its own blocks or other members say so; `null` in general.
    #[serde(default)]
    pub shut_out: Option<ShutOut>,
    /// Members.
    pub members: u64,
    /// Claims, retracted ones included.
    pub claims: u64,
    /// Blocks.
    pub blocks: u64,
}

/// This node is a member no more: its own blocks say so, or members do though its blocks say otherwise. Nothing of it is written while that
/// stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShutOut {
    /// Why: `removed`, `left`, `ticket_expired`, `ticket_used_up`, `ticket_revoked`, `inviter_gone`, `group_full`, `not_let_in`.
    pub why: String,
    /// Which member says so: a peer id; `null` where the blocks that are here do.
    pub by: Option<String>,
    /// Since when it says so; `null` where nobody has to.
    pub since_ms: Option<u64>,
}

impl ShutOut {
    /// Whether a ticket lets it in again: not whom an admin has removed.
    #[must_use]
    pub fn may_come_by_ticket(&self) -> bool {
        self.why != "removed"
    }
}

/// Answer of `GET /groups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupList {
    /// This node's groups, by name.
    pub groups: Vec<Group>,
}

/// Answer of `GET /groups/{group}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupDetail {
    /// What a listing shows.
    #[serde(flatten)]
    pub group: Group,
    /// Code of its currency.
    pub currency: String,
    /// Who created it: a peer id.
    pub creator: String,
    /// When, by the creator's clock.
    pub created_ms: u64,
    /// Who seals from the next seal on: a peer id.
    pub notary: String,
    /// Who makes the next seal: another than the notary while a hand-over is pending.
    pub sealer: String,
    /// Number of the last seal.
    pub epoch: u64,
    /// Who has signed two blocks with one number and may not spend: peer ids.
    pub frozen: Vec<String>,
    /// Blocks that a seal covers.
    pub final_blocks: u64,
    /// Blocks that the ledger refuses at their place in the order.
    pub rejected_blocks: u64,
    /// Blocks without a successor: several where members wrote apart.
    pub heads: Vec<String>,
    /// Whether this node may not know its own last block, as its data folder is an older copy: it writes nothing until members have
    /// answered.
    pub unsure: bool,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Its peer id.
    pub member_id: String,
    /// What it may do.
    pub role: Role,
    /// When it was added, by the clock of the admin who did.
    pub added_ms: u64,
    /// Whether it is who asks: this node, or the agent.
    pub is_self: bool,
    /// Whether this node has a connection to it now; true for itself and its agents.
    pub connected: bool,
    /// Its tokens.
    #[serde(default)]
    pub balance: u64,
    /// What it is called, where it is this node or an agent of it.
    #[serde(default)]
    pub name: Option<String>,
}

/// Answer of `GET …/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    /// Its group.
    pub group_id: String,
    /// The members, in the order of joining.
    pub members: Vec<Member>,
}

/// Body of `POST …/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMember {
    /// Whom to add.
    pub member: Identity,
    /// As what.
    #[serde(default = "AddMember::default_role")]
    pub role: Role,
}

impl AddMember {
    const fn default_role() -> Role {
        Role::Member
    }
}

/// Body of `PUT …/members/{member}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    /// The new role.
    pub role: Role,
}

/// Answer to an added or removed member, or a changed role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberChanged {
    /// The group.
    pub group_id: String,
    /// The member: a peer id.
    pub member_id: String,
    /// Its role now; `null` where it is no member any more.
    pub role: Option<Role>,
    /// The block that says so; `null` where it was so already.
    pub block_id: Option<String>,
}

impl Wrote for MemberChanged {
    fn block_id(&self) -> &str {
        self.block_id.as_deref().unwrap_or_default()
    }
}

/// Body of `PUT …/notary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNotary {
    /// Who is to seal: an admin.
    pub member: Identity,
}

/// Answer to a hand-over: it takes effect with the next seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotaryChanged {
    /// The group.
    pub group_id: String,
    /// Who seals after the next seal: a peer id.
    pub notary: String,
    /// The block that says so.
    pub block_id: String,
}

impl Wrote for NotaryChanged {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Answer of `POST …/members/{member}/unfreeze`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unfrozen {
    /// The group.
    pub group_id: String,
    /// Who may spend again: a peer id.
    pub member_id: String,
    /// The block that says so.
    pub block_id: String,
}

impl Wrote for Unfrozen {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Answer of `GET …/stats`: sizes, the tokens that there are, and the rules for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupStats {
    /// Its id.
    pub group_id: String,
    /// Its name.
    pub name: String,
    /// Members.
    pub members: u64,
    /// Claims, retracted ones included.
    pub claims: u64,
    /// Claims that were taken back.
    pub retracted_claims: u64,
    /// Experiences.
    pub experiences: u64,
    /// Blocks.
    pub blocks: u64,
    /// Blocks that a seal covers.
    pub final_blocks: u64,
    /// Blocks that the ledger refuses.
    pub rejected_blocks: u64,
    /// Tokens that there are: those of all accounts, the treasury's, and those set aside.
    pub total_supply: u64,
    /// Tokens of the treasury: what transfers have cost.
    pub treasury_balance: u64,
    /// Tokens that are set aside until something is decided.
    pub escrow_balance: u64,
    /// Accounts that have ever held any.
    pub accounts: u64,
    /// The rules.
    #[serde(flatten)]
    pub policy: Policy,
}

/// Answer of `POST …/verify`: every signature was checked again and the whole order folded again from nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verified {
    /// Whether everything held.
    pub ok: bool,
    /// Hash of the state that the new fold gave.
    pub state_hash: String,
    /// Blocks checked.
    pub blocks: u64,
    /// Blocks that a seal covers.
    pub final_blocks: u64,
    /// What did not hold, one sentence each; empty where `ok`.
    pub faults: Vec<String>,
}

/// Body of `POST /join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinGroup {
    /// The full id of the group, or a ticket.
    pub group: String,
    /// What to say to the group's admins, where there is no ticket: at most `limits::JOIN_NOTE_BYTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How long to follow the joining, at most `limits::JOIN_WAIT_MS`; `limits::JOIN_DEFAULT_WAIT_MS` where it is not given.
    /// With 0 the answer comes at once. The node goes on either way, until it has the group or leaves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<u64>,
}

impl JoinGroup {
    /// Checks the note, and how long the joining is to be followed. Whether the group is an id or a ticket, the daemon says.
    ///
    /// # Errors
    /// Where the note is too long or no text, or the wait longer than `limits::JOIN_WAIT_MS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.note.as_deref().map_or(Ok(()), |note| check::text("note", note, limits::JOIN_NOTE_BYTES))?;
        let most = limits::JOIN_WAIT_MS;
        match self.wait_ms {
            Some(value) if value > most => Err(FieldError::Range { field: "wait_ms", value, least: 0, most }),
            _ => Ok(()),
        }
    }
}

/// Answer to being told that nobody else has blocks of this node in a group: it writes there again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupAlone {
    /// Its id.
    pub group_id: String,
    /// Whether it had held back.
    pub was_unsure: bool,
}

/// Answer to leaving: the node replicates the group no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupLeft {
    /// Its id.
    pub group_id: String,
    /// Its name, where it was known.
    pub name: Option<String>,
}
