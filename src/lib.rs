//! LBM.
pub mod cbor;
pub mod identity;
pub mod knowledge;
pub mod limits;
