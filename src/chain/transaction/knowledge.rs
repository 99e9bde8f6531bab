//! What members publish.

use super::{FormError, size};
use crate::cbor::cbor_array;
use crate::chain::ids::{ClaimId, ObjectHash, TextHash};
use crate::limits;

cbor_array! {
    /// Publishes a piece of knowledge. Its words are in an object, so that they can be dropped without touching the chain.
    pub struct Claim {
        /// The object: an encoded [`crate::chain::ClaimBody`].
        pub object: ObjectHash,
        /// Its length in bytes.
        pub size: u32,
        /// The claim that this one answers.
        pub parent: Option<ClaimId>,
        /// Where the author asks for the group's reward: the hash of the text, which is paid for once.
        pub rewarded: Option<TextHash>,
        /// The claims whose place it takes, ascending: its author's own, or anybody's where an admin publishes it.
        pub supersedes: Vec<ClaimId>,
    }

    /// Takes a claim back. It stays in the chain and leaves every answer.
    pub struct Retract {
        /// Which.
        pub claim: ClaimId,
    }

    /// Publishes the record of an agent's run.
    pub struct Experience {
        /// The object: bytes that the ledger does not read.
        pub object: ObjectHash,
        /// Its length in bytes.
        pub size: u32,
    }
}

/// The most bytes that an encoded claim body can have.
pub const CLAIM_BODY_BYTES: usize = limits::CLAIM_TEXT_BYTES
    + limits::TITLE_BYTES
    + limits::TAGS * (limits::TAG_BYTES + 2)
    + limits::EVIDENCE * (limits::EVIDENCE_BYTES + 24)
    + 32;

impl Claim {
    pub(super) fn check(&self) -> Result<(), FormError> {
        size("claim object", self.size, CLAIM_BODY_BYTES)?;
        let (got, max) = (self.supersedes.len(), limits::SUPERSEDES);
        if got > max {
            return Err(FormError::Count { field: "superseded claims", got, max });
        }
        if self.supersedes.is_sorted_by(|a, b| a < b) {
            Ok(())
        } else {
            Err(FormError::Unsorted("the superseded claims"))
        }
    }
}
