//! Bounds of what operators and programs see of a daemon.

use super::{API_STOP_MS, CLOSE_MS, PRESENCE_STOP_MS, STOP_MS};

/// Bytes of a cursor: the longest names a group and a row by their hashes, in hexadecimal digits.
pub const CURSOR_BYTES: usize = 512;
/// Bytes of the name that a caller gives a request, for the log. One that is longer gets another.
pub const REQUEST_ID_BYTES: usize = 64;
/// Series of one sampled metric: one for each group, or each group and peer. Of what is beyond that, the number is told.
pub const METRIC_SERIES: usize = 256;
/// The settings file, bytes.
pub const CONFIG_FILE_BYTES: u64 = 64 * 1024;
/// Log files that are kept in `LB_LOG_DIR`.
pub const LOG_FILES: usize = 14;
/// Bytes of one log file: then another begins.
pub const LOG_FILE_BYTES: u64 = 64 * 1024 * 1024;
/// Connections of the listener for metrics at a time. One more is closed.
pub const METRICS_CONNECTIONS: usize = 16;
/// How long one of them may be open without a request, milliseconds: longer than Prometheus' interval.
pub const METRICS_IDLE_MS: u64 = 120_000;
/// Digits of a group's id in a label: enough to tell groups apart, and no way into one.
pub const METRIC_GROUP_DIGITS: usize = 12;
/// How long a stop waits for what is served: what each face gives its requests, and for writing down who is logged in, milliseconds. Then it is
/// cut off.
pub const FACES_STOP_MS: u64 = API_STOP_MS + 300;
/// How long a stop waits for what buys, sells and joins, of the node and of all agents together, milliseconds. What is cut off is found again
/// by the next start.
pub const TASKS_STOP_MS: u64 = 400;
/// How long a stop waits for the driver, milliseconds: what it gives its peers for good-bye, and for closing.
pub const DRIVER_STOP_MS: u64 = PRESENCE_STOP_MS + CLOSE_MS + 200;
/// How long a stop waits for threads that still read, milliseconds. What they read is of use to nobody.
pub const READERS_STOP_MS: u64 = 400;

// A stop takes at most five seconds: docs/OPERATIONS.md says so.
const _: () = assert!(FACES_STOP_MS + TASKS_STOP_MS + DRIVER_STOP_MS + STOP_MS + READERS_STOP_MS <= 5_000);
