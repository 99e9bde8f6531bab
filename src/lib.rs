//! LBM.
pub mod cbor;
pub mod cli;
pub mod datadir;
pub mod identity;
pub mod limits;
