//! Bounds of writes that are done once.

/// How long a write is known by the name that its sender chose, milliseconds: longer than anybody sends it again.
pub const ONCE_MS: u64 = 24 * 3_600_000;
/// Names that are forgotten with each that comes.
pub const ONCE_FORGOTTEN: usize = 4;
/// Bytes of such a name.
pub const ONCE_NAME_BYTES: usize = 128;
