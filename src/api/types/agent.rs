//! Agents: identities of their own that a node hosts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{FieldError, Role};
use crate::identity::AgentName;
use crate::limits;

/// Body of `POST /api/v1/agents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// What it is called on this node.
    pub name: String,
    /// Group that it is added to, where this node may: an id, a unique prefix of one, or a unique name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What it may do there; a member where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Tokens that may leave its account by its own acts in any 24 hours in each group; no limit where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spend_limit: Option<u64>,
}

impl NewAgent {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`FieldError`].
    pub fn check(&self) -> Result<(), FieldError> {
        let bytes = self.name.len();
        if bytes > limits::AGENT_NAME_BYTES {
            return Err(FieldError::TooLong { field: "name", bytes, limit_bytes: limits::AGENT_NAME_BYTES });
        }
        let allowed = "a-z 0-9 _ -, and a letter or a digit first";
        match self.name.parse::<AgentName>() {
            Ok(_) => Ok(()),
            Err(_) if self.name.is_empty() => Err(FieldError::Empty { field: "name" }),
            Err(_) => {
                let is_allowed =
                    |found: char| found.is_ascii_lowercase() || found.is_ascii_digit() || "_-".contains(found);
                let found = self.name.chars().find(|found| !is_allowed(*found)).or_else(|| self.name.chars().next());
                Err(FieldError::Character { field: "name", found: found.unwrap_or_default(), allowed })
            }
        }
    }
}

/// Answer of `POST /api/v1/agents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentCreated {
    /// Its name.
    pub agent: String,
    /// Its peer id.
    pub member_id: String,
    /// The group that it was to be added to.
    pub group_id: Option<String>,
    /// What it may do there; `null` where it is no member.
    pub role: Option<Role>,
    /// What an admin of the group has to do; `null` where nothing is left to do.
    pub next: Option<String>,
}

/// A group in which an agent is a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentGroup {
    /// The group.
    pub group_id: String,
    /// Its name.
    pub name: String,
    /// What the agent may do there.
    pub role: Role,
    /// Its tokens there.
    pub balance: u64,
    /// When its last block there was written, by its clock.
    pub last_write_ms: Option<u64>,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    /// Its name.
    pub agent: String,
    /// Its peer id.
    pub member_id: String,
    /// Its groups, as far as they are here.
    pub groups: Vec<AgentGroup>,
    /// Tokens that may leave its account by its own acts in any 24 hours in a group that has no limit of its own; `null` for no limit.
    pub spend_limit: Option<u64>,
    /// When it wrote last, in whatever group.
    pub last_write_ms: Option<u64>,
    /// Whether it has a bearer token.
    pub has_token: bool,
}

/// Answer of `GET /api/v1/agents`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentList {
    /// All of them, by name.
    pub agents: Vec<Agent>,
}

/// Body of `POST /api/v1/agents/{agent}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeAgent {
    /// Whether it leaves its groups before its key is gone. Otherwise it stays a member that can do nothing.
    #[serde(default)]
    pub leave: bool,
}

/// Answer of `POST /api/v1/agents/{agent}/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentRevoked {
    /// Its name, which another may have now.
    pub agent: String,
    /// Its peer id.
    pub member_id: String,
    /// Groups that it has left.
    pub left: Vec<String>,
    /// Groups in which it is still a member, with the tokens that nobody can move any more.
    pub still_member: Vec<AgentGroup>,
}

/// Answer of `POST /api/v1/agents/{agent}/token`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentToken {
    /// Whose.
    pub agent: String,
    /// Its peer id.
    pub member_id: String,
    /// The token. It is shown this once, and the one before is dead.
    pub token: String,
}

impl std::fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentToken").field("agent", &self.agent).finish_non_exhaustive()
    }
}
