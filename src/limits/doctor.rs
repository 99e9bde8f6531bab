//! The bounds of the doctor: what it waits for, and from when on it says something.

/// How long nothing was heard of a group before the doctor says so, milliseconds: several times the pause between two repair pulls.
pub const DOCTOR_SYNC_MS: u64 = 3 * 60 * 60 * 1_000;
/// Peers whose clocks the doctor asks for.
pub const DOCTOR_CLOCKS: usize = 16;
/// How long it waits for an answer, milliseconds.
pub const DOCTOR_ASK_MS: u64 = 1_500;
/// By how much a peer's clock may be apart before the doctor says so, milliseconds.
pub const DOCTOR_CLOCK_MS: u64 = 10_000;
/// Between two words that a peer's blocks are dated ahead of this clock, milliseconds.
pub const CLOCK_WORD_MS: u64 = 10_000;
/// Addresses that a finding about connections names: those that it is most about.
pub const DOCTOR_HOSTS: usize = 3;
/// How long after the start of the daemon the doctor does not wonder that nothing was synced, milliseconds: peers are yet to be called.
pub const DOCTOR_START_MS: u64 = 60 * 1_000;
/// How long the doctor remembers a clock that was ahead, or this node's key elsewhere, milliseconds.
pub const DOCTOR_RECENT_MS: u64 = 24 * 60 * 60 * 1_000;
