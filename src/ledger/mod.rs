//! The state machine: blocks in order become members, claims and balances.
//!
//! Owns the rules of each transaction, the outcome of each block, and the record that undoes it. Refuses, with a reason that is
//! kept, what is not allowed at its place. Pure over [`crate::kv`]. **A block applies as a whole or not at all; the state is a
//! function of the set of blocks alone.**

pub mod account;
pub mod arrange;
pub mod fold;
pub mod former;
pub mod invariants;
pub mod invite;
pub mod knowledge;
pub mod market;
mod membership;
mod notary;
mod outcome;
pub mod query;
pub mod state;
pub mod task;
pub mod token;
pub mod verify;

pub use fold::{Change, ClaimAct, OrderRow};
pub use invite::TicketRefusal;
pub use market::MarketRefusal;
pub use outcome::{Outcome, Refusal};
pub use task::TaskRefusal;
pub use token::TokenRefusal;

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod sealing_tests;
#[cfg(test)]
mod superseding_tests;
#[cfg(test)]
pub(crate) mod tests;
