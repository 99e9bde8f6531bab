//! LBM.
pub mod api;
pub mod cbor;
pub mod cli;
pub mod config;
pub mod identity;
pub mod limits;
pub mod telemetry;
