//! Tickets, join requests, and the groups that other nodes show.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::FieldError;
use super::{Role, Wrote};
use crate::limits;

const fn member() -> Role {
    Role::Member
}

/// Body of `POST …/invites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvite {
    /// As what the ticket lets somebody in.
    #[serde(default = "member")]
    pub role: Role,
    /// How many it lets in; 1 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
    /// How long it stands from now on; `limits::TICKET_DEFAULT_LIFE_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
}

impl NewInvite {
    /// Checks both numbers.
    ///
    /// # Errors
    /// The first that breaks its bounds.
    pub fn check(&self) -> Result<(), FieldError> {
        let range = |field, value: u64, most| match value {
            0 => Err(FieldError::Range { field, value, least: 1, most }),
            value if value > most => Err(FieldError::Range { field, value, least: 1, most }),
            _ => Ok(()),
        };
        range("uses", self.uses.unwrap_or(1).into(), limits::TICKET_USES.into())?;
        range("life_ms", self.life_ms.unwrap_or(limits::TICKET_DEFAULT_LIFE_MS), limits::TICKET_LIFE_MS)
    }
}

/// Answer to a new ticket. **This is the only time that it is shown**: the node keeps nothing of it but what the ledger has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteMade {
    /// Its group.
    pub group_id: String,
    /// The ticket: who has it may come in.
    pub ticket: String,
    /// What it is called where it is listed and revoked.
    pub ticket_id: String,
    /// As what it lets somebody in.
    pub role: Role,
    /// How many it lets in.
    pub uses: u32,
    /// From when on it lets nobody in.
    pub expires_ms: u64,
    /// The block that says so.
    pub block_id: String,
}

impl Wrote for InviteMade {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// How a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InviteState {
    /// It lets somebody in.
    Open,
    /// Its time is over.
    Expired,
    /// It has let in as many as it says.
    UsedUp,
    /// An admin has ended it.
    Revoked,
    /// Who made it is no admin any more.
    InviterGone,
    /// A word that this build does not know: the daemon is newer.
    #[serde(other)]
    Unrecognised,
}

impl InviteState {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::UsedUp => "used_up",
            Self::Revoked => "revoked",
            Self::InviterGone => "inviter_gone",
            Self::Unrecognised => "unrecognised",
        }
    }
}

/// A ticket in a listing: without its secret, which nobody keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invite {
    /// What it is called.
    pub ticket_id: String,
    /// As what it lets somebody in.
    pub role: Role,
    /// How many it lets in.
    pub uses: u32,
    /// How many more.
    pub uses_left: u32,
    /// From when on it lets nobody in.
    pub expires_ms: u64,
    /// Who made it.
    pub made_by: String,
    /// When.
    pub made_ms: u64,
    /// How it stands now.
    pub state: InviteState,
}

/// Answer of `GET …/invites`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteList {
    /// Their group.
    pub group_id: String,
    /// The last made first.
    pub invites: Vec<Invite>,
}

/// Answer to a revoked ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InviteRevoked {
    /// Its group.
    pub group_id: String,
    /// Which.
    pub ticket_id: String,
    /// The block that says so.
    pub block_id: String,
}

impl Wrote for InviteRevoked {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Query of `GET /join-requests`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListRequests {
    /// Of this group only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Somebody asks to be let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinRequest {
    /// Into which group.
    pub group_id: String,
    /// Who: the key that has signed this, and all that is certain.
    pub member_id: String,
    /// What it calls itself.
    pub name: String,
    /// What it says.
    pub note: Option<String>,
    /// When it asked, by its own clock.
    pub asked_ms: u64,
    /// When that came here.
    pub came_ms: u64,
}

/// Answer of `GET /join-requests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JoinRequestList {
    /// Those of the groups in which the caller is an admin, the first to come first.
    pub requests: Vec<JoinRequest>,
    /// In how many of the groups that were looked at that is: only admins see who asks.
    #[serde(default)]
    pub admin_of: usize,
}

/// Body of `POST …/join-requests/{member}/approve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// As what it is let in.
    #[serde(default = "member")]
    pub role: Role,
}

/// Answer to a request that was denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestDenied {
    /// The group.
    pub group_id: String,
    /// Who had asked.
    pub member_id: String,
}

/// Query of `GET /shown-groups`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoverGroups {
    /// Of this peer only: its id or its alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// A group that a peer shows: it is listed, or this node is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownGroup {
    /// Its id.
    pub group_id: String,
    /// Its name, as the peer says.
    pub name: String,
    /// Its members, as the peer says.
    pub members: u64,
    /// This node's role, as the peer says.
    pub role: Option<Role>,
    /// Whether this node has it.
    pub is_here: bool,
    /// Who shows it.
    pub peers: Vec<String>,
}

/// Answer of `GET /shown-groups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShownGroupList {
    /// By name.
    pub groups: Vec<ShownGroup>,
    /// Connected peers that were asked.
    pub asked: u64,
    /// Those that answered in time.
    pub answered: u64,
}
