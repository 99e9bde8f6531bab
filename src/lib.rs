//! LBM.
pub mod api;
pub mod cbor;
pub mod identity;
pub mod limits;
