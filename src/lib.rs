//! LBM.
pub mod cbor;
pub mod identity;
pub mod limits;
pub mod net;
