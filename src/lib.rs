//! LBM.
pub mod cbor;
pub mod datadir;
pub mod identity;
pub mod limits;
