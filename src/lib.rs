//! LBM.
pub mod cbor;
pub mod chain;
pub mod identity;
pub mod kv;
pub mod ledger;
pub mod limits;
pub mod node;
#[cfg(test)]
mod testing;
pub mod wire;
