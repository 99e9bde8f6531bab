//! The data folder of one node: where it is, who may read it, which process owns it, and the key in it.
//!
//! Owns the folder's path and modes, its lock, the names of the files in it, and every write of a key file. Refuses a
//! folder that another user owns or may look into. **A key file is always whole: it is written aside, flushed and put in
//! place in one step, and no key is ever overwritten by another one.**
//!
//! | file | what |
//! |---|---|
//! | `node.key` | the node's secret key ([`keystore`](crate::identity::keystore)), mode 0600 |
//! | `agents/NAME.key` | the secret key of an agent, in the same form |
//! | `keys.new/` | stands here while all keys are put into another form: each is put in place from it, after a crash too |
//! | `name` | the node's name, one line |
//! | `lbm.redb` | the database |
//! | `packages` | the encrypted packages that this node sells, has bought or hands on, each under its hash |
//! | `index/` | the retrieval indexes, a folder a group: made anew from the database where they are missing |
//! | `lbm.sock` | the daemon's local socket |
//! | `sessions` | who is logged in to the panel, as hashes |
//! | `config.toml` | settings |
//! | `restoring` | stands here while a backup is put in place ([`backup`](crate::backup)) |
//! | `lock` | held by the process that owns the folder; holds its pid |
//! | `keys.lock` | held while a key is written |
//!
//! Keys may be encrypted, decrypted and given a new password while a daemon runs: it read its key when it started, and the
//! identity stays the same. The new form counts from the daemon's next start. That is why these commands take
//! `keys.lock` and not `lock`.

mod agents;
mod error;
mod files;
mod keys;
mod lock;
mod name;

use std::path::{Path, PathBuf};

pub use agents::Keyring;
pub use error::DataDirError;
pub use files::{KeyBytes, NewFile, read_key_file, read_secret, replace, write_new};
pub use keys::{ExportForm, KeyInfo, check_importable, new_secret};
pub use lock::{DataLock, Holder};
pub use name::{NameError, NodeName};

/// A data folder that exists, is ours, and is closed to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The folder at `path`, which is created with mode 0700 where it is missing.
    ///
    /// # Errors
    /// As [`DataDir::open`], and [`DataDirError::Io`] where it cannot be created.
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        files::create_folder(path)?;
        Self::open(path)
    }

    /// The folder at `path`, which must exist.
    ///
    /// # Errors
    /// [`DataDirError::Missing`], [`NotAFolder`](DataDirError::NotAFolder), [`ForeignOwner`](DataDirError::ForeignOwner) or
    /// [`TooOpen`](DataDirError::TooOpen); [`Io`](DataDirError::Io) where it cannot be looked at.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        files::check_folder(path)?;
        Ok(Self { path: path.to_owned() })
    }

    /// Makes this process the folder's only owner until the guard is dropped.
    ///
    /// # Errors
    /// [`DataDirError::InUse`], which names the owner's pid.
    pub fn lock(&self) -> Result<DataLock, DataDirError> {
        DataLock::acquire(&self.path.join("lock"), |holder| DataDirError::InUse { path: self.path.clone(), holder })
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's key file.
    #[must_use]
    pub fn key_path(&self) -> PathBuf {
        self.path.join("node.key")
    }

    /// The folder of the agents' keys.
    #[must_use]
    pub fn agents_path(&self) -> PathBuf {
        self.path.join("agents")
    }

    /// The file that holds the node's name.
    #[must_use]
    pub fn name_path(&self) -> PathBuf {
        self.path.join("name")
    }

    /// The settings.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The database.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        self.path.join("lbm.redb")
    }

    /// Who is logged in to the panel.
    #[must_use]
    pub fn sessions_path(&self) -> PathBuf {
        self.path.join("sessions")
    }

    /// The folder of the retrieval indexes.
    #[must_use]
    pub fn index_path(&self) -> PathBuf {
        self.path.join("index")
    }
}

#[cfg(test)]
mod tests;
