//! What can go wrong with a backup, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::datadir::DataDirError;
use crate::kv::KvError;
use crate::store::StoreError;

/// Why a backup cannot be made or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Some other file.
    #[error("'{}' is no backup of LBM: name a file that `lbm backup` made", path.display())]
    NotABackup {
        /// The file.
        path: PathBuf,
    },
    /// Made by a newer version.
    #[error("'{}' is a backup of a newer form ({found}, this lbm knows {known}): upgrade lbm; nothing was changed", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The end is missing.
    #[error("'{}' is cut off: copy it again from where it was made, or take another; nothing was changed", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// Some bytes are not those that were written.
    #[error("'{}' is damaged ({what}): copy it again from where it was made, or take another; nothing was changed", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was seen.
        what: String,
    },
    /// The new file's name is taken.
    #[error("'{}' already exists, and nothing was written: name a new file, or replace an older backup with --force", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// Something that is no backup would be overwritten.
    #[error("'{}' is no backup, and --force replaces nothing else: name another file", path.display())]
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
    /// Data would be overwritten.
    #[error(
        "'{}' is not empty ('{found}' is in it), and nothing was changed: put the backup into a new folder with --data DIR, or \
         move this one away", path.display()
    )]
    NotEmpty {
        /// The data folder.
        path: PathBuf,
        /// Something in it.
        found: String,
    },
    /// The system refused.
    #[error("cannot {attempt} '{}': {reason}{}", path.display(), remedy(reason))]
    Io {
        /// The verb of what was attempted.
        attempt: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The data folder or its key.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row cannot be read.
    #[error(transparent)]
    Row(#[from] KvError),
}

impl From<io::Error> for BackupError {
    /// Of a writer that has no path of its own.
    fn from(reason: io::Error) -> Self {
        Self::Io { attempt: "write", path: PathBuf::from("backup"), reason }
    }
}

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or name a file on another disk"
        }
        io::ErrorKind::PermissionDenied => "; check who owns it and its folder",
        io::ErrorKind::ReadOnlyFilesystem => "; name a file on a disk that can be written",
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}
