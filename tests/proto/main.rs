//! The protocol as written down: `proto/*.cddl` describes what the code emits, and `proto/vectors/*.json` pins it.
//!
//! The vectors are made from one fixed history. `LBM_WRITE_VECTORS=1 cargo test --test proto` writes them anew; do that only
//! for a new version of the format, because blocks once signed must be read for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod document;
mod joining;
mod market;
mod node;
mod offers;
mod refused;
mod rules;
mod schema;
mod story;
mod tickets;
mod vectors;
