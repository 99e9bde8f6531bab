//! Keeping a second process off.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::process;

use super::DataDirError;
use super::files;

/// Longest text of a lock file that is read, bytes: a pid and a line feed.
const PID_BYTES: u64 = 24;

/// The right to a data folder, until it is dropped.
///
/// The system gives up the lock when the process ends, however it ends; the file stays, as removing it would let two
/// processes hold one lock on two files.
#[derive(Debug)]
pub struct DataLock {
    file: File,
}

/// Who holds a lock: a pid, or nobody could be named, as it had not yet written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub Option<u32>);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "process {pid}"),
            None => f.write_str("another process"),
        }
    }
}

impl DataLock {
    /// Locks the file at `path` without waiting; `held` makes the error where another process has it.
    pub(super) fn acquire(path: &Path, held: impl FnOnce(Holder) -> DataDirError) -> Result<Self, DataDirError> {
        let mut file = files::open_lock(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Whoever cannot be named still holds it.
                let pid = file.take(PID_BYTES).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(held(Holder(pid)));
            }
            Err(TryLockError::Error(reason)) => return Err(files::io_error("lock", path)(reason)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        written.map_err(files::io_error("write", path))?;
        Ok(Self { file })
    }
}

impl Drop for DataLock {
    fn drop(&mut self) {
        // So that a later holder is not taken for this one while it has not yet written its pid. Nothing depends on it.
        let _ = self.file.set_len(0);
        // Closing is not enough: a child that another thread is starting has the file too until it runs its program.
        let _ = self.file.unlock();
    }
}
