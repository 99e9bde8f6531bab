//! runtime
pub mod writer;
