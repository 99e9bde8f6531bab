//! A node in one file: its key and its agents' as they stand, its name, its settings, and every row of its database as of one moment.
//!
//! Owns the form of that file, and what may be put back where. **A file is checked whole before anything of it is written**, and a
//! folder that was put back is marked: its groups are in doubt until a member has answered, unless nobody else has them.
//!
//! ```text
//! "LBM backup 1\n"                 the form's version
//! u32be length ‖ CBOR, repeated    frames: one head, files, rows, one end
//! BLAKE3 of all before             32 bytes
//! ```
//!
//! Rows, not redb's file: that one changes while the daemon writes, has free pages, and ties a backup to one version of redb.
//! Frames, not an archive of files: rows stream from a snapshot whose size nobody knows before, a reader needs no more memory than
//! for one frame, and no path in the file can lead out of the folder. The checksum finds damage; who can write the file can also
//! forge it, so it is as secret and as precious as the data folder.

mod error;
mod frames;
mod restore;

pub use error::BackupError;
pub use frames::{Contents, Files, Hashing, Head, begin, end, is_backup, read, write_rows};
pub use restore::{Restored, restore};

#[cfg(test)]
mod tests;
