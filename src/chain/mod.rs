//! Blocks: what they are, when one is trusted, in what order all of them stand.
//!
//! Owns the format of blocks and transactions, their ids and signatures, the DAG and its rows, the order, and frontiers.
//! Refuses what is malformed, wrongly signed, or contradicts what it builds on. Pure. **A block's trust is its type:**
//! [`Unverified`] as it came, [`Verified`] once its form and signature hold, [`Linked`] once what it builds on is stored;
//! each is made only from the one before.

pub mod block;
mod body;
mod frontier;
pub mod gone;
mod ids;
pub mod link;
mod order;
pub mod rows;
pub mod transaction;
mod waiting;

pub use crate::hash::IdError;
pub use block::{Body, Context, Draft, Invalid, Payload, Unverified, Verified};
pub use body::{ClaimBody, ClaimBodyError, Evidence};
pub use frontier::Frontier;
pub use ids::{BlockId, ClaimId, GroupId, ObjectHash, OfferId, PurchaseId, TermsHash, TextHash};
pub use link::{Link, LinkError, LinkFailure, Linked};
pub use order::{FOUNDING_EPOCH, OPEN_EPOCH, OrderKey};
pub use rows::{LineKey, ObjectAt, Tip};
pub use transaction::{FormError, Role, Transaction};
pub use waiting::{Held, Waiting};

#[cfg(test)]
mod tests;
