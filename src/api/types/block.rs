//! What became of a block: applied or refused, final or pending.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::FieldError;
use crate::limits;

/// Query of `GET …/blocks/{block}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShowBlock {
    /// How long to wait for the block to be final, at most `limits::FINAL_WAIT_MS`; not at all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_final_ms: Option<u64>,
}

impl ShowBlock {
    /// Checks how long is to be waited.
    ///
    /// # Errors
    /// Where it is longer than `limits::FINAL_WAIT_MS`.
    pub fn check(&self) -> Result<(), FieldError> {
        let most = limits::FINAL_WAIT_MS;
        match self.wait_final_ms {
            Some(value) if value > most => Err(FieldError::Range { field: "wait_final_ms", value, least: 0, most }),
            _ => Ok(()),
        }
    }
}

/// A block at its place in the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Block {
    /// Its group.
    pub group_id: String,
    /// Its id.
    pub block_id: String,
    /// Who signed it: a peer id.
    pub author: String,
    /// By the author's clock.
    pub created_ms: u64,
    /// Whether a seal fixes its place: what became of it stays so.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Number of the seal that covers it; `null` while it is pending.
    pub epoch: Option<u64>,
    /// Whether its transactions are part of the state.
    pub applied: bool,
    /// Why not, for programs; `null` where they are.
    pub code: Option<String>,
    /// Why not, as a sentence; `null` where they are.
    pub reason: Option<String>,
    /// Who seals the group: a peer id.
    pub sealer: String,
}

/// An answer to a write: it is durable here, and in this block.
pub trait Wrote {
    /// The block; the last of several.
    fn block_id(&self) -> &str;
}
