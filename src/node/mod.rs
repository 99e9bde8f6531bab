//! A node, but for its disk and its network: what it writes, what it answers, what it asks for.
//!
//! Three parts, all pure: [`engine`] turns commands and received blocks into changed rows; [`serve`] answers peers from one view
//! of the rows; [`machine`] decides whom to ask for what. [`io`] holds every input and output of the machine, [`market::io`] those of
//! its market. The runtime
//! drives them with redb and libp2p, the simulator with memory and a seed.

mod acting;
pub mod arrival;
mod doubt;
pub mod engine;
mod exchange;
mod faults;
mod group;
mod intake;
pub mod io;
pub mod joining;
pub mod machine;
pub mod market;
pub mod measure;
mod presence;
pub mod rendezvous;
pub mod serve;
mod session;
pub mod shut_out;
mod spread;
pub mod stranded;
pub mod subscription;
pub mod trade;

pub use engine::Engine;
pub use machine::Machine;
pub use subscription::{Subscription, SyncState};

#[cfg(test)]
mod tests;
