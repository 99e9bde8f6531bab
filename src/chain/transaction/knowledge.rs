//! What members publish.

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
pub const CLAIM_BODY_BYTES: usize =
    limits::CLAIM_TEXT_BYTES + limits::TITLE_BYTES + limits::TAGS * (limits::TAG_BYTES + 2) + 16;
