//! What a node has to do about what it buys and sells, and what it keeps of that beside the ledger.
//!
//! **The ledger is the memory of a purchase**: [`deed`] reads from it what is due, at any time and as often as one likes, so that a node
//! that was killed goes on where the ledger is. [`shelf`] has the rows that are this node's alone; no secret is among them.

pub mod deed;
pub mod shelf;
pub mod spending;
