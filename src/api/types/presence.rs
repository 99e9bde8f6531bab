//! Presence: what members say of themselves right now.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::check::FieldError;
use crate::limits;
pub use crate::presence::Status as PresenceStatus;

/// Body of `PUT …/presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPresence {
    /// What this node is up to.
    pub status: PresenceStatus,
    /// Whatever else the members may know, as a JSON object of at most `limits::PRESENCE_METADATA_BYTES` without white space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

impl SetPresence {
    /// Checks the length of the metadata.
    ///
    /// # Errors
    /// Where it is past `limits::PRESENCE_METADATA_BYTES`.
    pub fn check(&self) -> Result<(), FieldError> {
        let limit_bytes = limits::PRESENCE_METADATA_BYTES;
        match self.metadata_text() {
            Some(text) if text.len() > limit_bytes => {
                Err(FieldError::TooLong { field: "metadata", bytes: text.len(), limit_bytes })
            }
            _ => Ok(()),
        }
    }

    /// The metadata as it is signed.
    #[must_use]
    pub fn metadata_text(&self) -> Option<String> {
        self.metadata.as_ref().map(|object| serde_json::to_string(object).unwrap_or_default())
    }
}

/// Answer to a set presence: connected members are being told. Nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresenceSet {
    /// The group.
    pub group_id: String,
    /// Whose: this node's peer id.
    pub member_id: String,
    /// The status.
    pub status: PresenceStatus,
    /// The metadata.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// How it is dated.
    pub updated_ms: u64,
}

/// Query of `GET …/presence`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPresence {
    /// Age past which a record is called stale; `limits::PRESENCE_STALE_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_threshold_ms: Option<u64>,
}

/// What one member says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberPresence {
    /// Its peer id.
    pub member_id: String,
    /// What it is called here: this node's own name, or the alias of the peer; `null` where there is none.
    pub name: Option<String>,
    /// Whether it is this node.
    pub is_self: bool,
    /// What it is up to.
    pub status: PresenceStatus,
    /// What else it says.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
    /// When it said so, by its own clock.
    pub updated_ms: u64,
    /// How long ago that is by this node's clock; 0 where its clock is ahead.
    pub age_ms: u64,
    /// Whether that is longer than the threshold: whatever it says, it may be gone.
    pub is_stale: bool,
}

/// Answer of `GET …/presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PresenceList {
    /// The group.
    pub group_id: String,
    /// The threshold.
    pub stale_threshold_ms: u64,
    /// Members that have said something and were heard here since this node's start, the last first.
    pub presence: Vec<MemberPresence>,
}
