//! Peers that mean harm, against a real daemon: members who break the rules and strangers, with well-formed messages and with bytes
//! that are none. **What they send is refused and changes nothing, they are sent away for it, memory stays bounded, and honest
//! peers are served all the while.**
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod author;
mod bytes;
mod members;
mod peer;
mod presence;
mod siege;
mod strangers;
mod vandal;
