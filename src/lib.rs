//! LBM.
pub mod api;
pub mod cbor;
pub mod chain;
pub mod cli;
pub mod config;
pub mod datadir;
pub mod identity;
pub mod knowledge;
pub mod kv;
pub mod ledger;
pub mod limits;
pub mod net;
pub mod node;
pub mod runtime;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod wire;
