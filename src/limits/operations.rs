//! Bounds of what operators and programs see of a daemon.

/// Bytes of a cursor: the longest names a group and a row by their hashes, in hexadecimal digits.
pub const CURSOR_BYTES: usize = 512;
/// Bytes of the name that a caller gives a request, for the log. One that is longer gets another.
pub const REQUEST_ID_BYTES: usize = 64;
