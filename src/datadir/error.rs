//! What can go wrong with a data folder, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::lock::Holder;
use super::name::{NameError, NodeName};
use crate::identity::keystore::KeystoreError;
use crate::identity::{AgentName, Identity};
use crate::limits::AGENTS;

/// Why a data folder or a key in it cannot be used. No variant holds anything secret.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// No such folder.
    #[error("there is no data folder at '{}': create it with `lbm init --data '{0}'`", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Something else stands there.
    #[error("'{}' is not a folder: name another one with --data DIR", path.display())]
    NotAFolder {
        /// What stands there.
        path: PathBuf,
    },
    /// The folder belongs to somebody else.
    #[error("'{}' belongs to user {owner}, and this is user {user}: run as its owner, or name another folder with --data DIR", path.display())]
    ForeignOwner {
        /// The folder.
        path: PathBuf,
        /// User id of its owner.
        owner: u32,
        /// User id of this process.
        user: u32,
    },
    /// Others may read, enter or change the folder or file. The remedy is hedged: nobody shall close `/tmp`.
    #[error(
        "other users may look into '{}' (mode {mode:04o}): where it is LBM's alone, close it with `chmod {closed:o} '{}'`; \
         else name another folder with --data DIR",
        path.display(), path.display()
    )]
    TooOpen {
        /// The folder or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits that it should have.
        closed: u32,
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
    /// The system has no random bytes.
    #[error("the system's random source does not answer ({reason}): no key was made, try again")]
    Random {
        /// Why not.
        reason: getrandom::Error,
    },
    /// Another process owns the folder.
    #[error("the data folder '{}' is in use by {holder}: stop it first, or name another folder with --data DIR", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who owns it.
        holder: Holder,
    },
    /// Another command is writing keys.
    #[error("the keys in '{}' are being changed by {holder}: let it finish and try again", path.display())]
    KeysBusy {
        /// The folder.
        path: PathBuf,
        /// Who does.
        holder: Holder,
    },
    /// No key yet.
    #[error("'{}' holds no key yet: make one with `lbm init --data '{}'`, or bring one with `lbm keys import`", path.display(), path.display())]
    NotInitialised {
        /// The folder.
        path: PathBuf,
    },
    /// A key stands there, and it stays.
    #[error(
        "'{}' already holds the key of {name}, {identity} ({}), and nothing was changed: use it, or name another folder \
         with --data DIR",
        path.display(), form(*is_encrypted)
    )]
    AlreadyInitialised {
        /// The folder.
        path: PathBuf,
        /// Whose key it holds.
        identity: Identity,
        /// The node's name.
        name: NodeName,
        /// Whether the key is encrypted.
        is_encrypted: bool,
    },
    /// A key file stands there that cannot be read; it may be the only copy of a key.
    #[error("'{}' already exists, so nothing was changed, but it cannot be used: {reason}; or move it away", path.display())]
    Occupied {
        /// The key file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: Box<DataDirError>,
    },
    /// A database of a node whose key is gone.
    #[error(
        "'{}' holds a database but no key: bring its key with `lbm keys import`, or name another folder with --data DIR",
        path.display()
    )]
    KeyLost {
        /// The folder.
        path: PathBuf,
    },
    /// The key file is bad, or the password is.
    #[error("'{}': {reason}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        reason: KeystoreError,
    },
    /// Nothing to encrypt.
    #[error("'{}' is already encrypted: change its password with `lbm keys change-password`", path.display())]
    AlreadyEncrypted {
        /// The key file.
        path: PathBuf,
    },
    /// Nothing to decrypt, no password to change.
    #[error("'{}' is not encrypted: encrypt it with `lbm keys encrypt`", path.display())]
    NotEncrypted {
        /// The key file.
        path: PathBuf,
    },
    /// The name is taken.
    #[error("there is an agent '{name}' already, {identity}: use it, or choose another name")]
    AgentExists {
        /// The name.
        name: AgentName,
        /// Whose key it is.
        identity: Identity,
    },
    /// No agent of that name.
    #[error("there is no agent '{name}' here: `lbm ctl agent list` shows which are")]
    NoAgent {
        /// The name.
        name: AgentName,
    },
    /// As many agents as a node may have.
    #[error("this node has {AGENTS} agents, and more are not allowed: revoke one with `lbm ctl agent revoke`")]
    TooManyAgents,
    /// The daemon cannot write a key in the form that the others have by now.
    #[error("the keys in '{}' were encrypted, decrypted or given another password since the daemon started: restart it first", path.display())]
    FormChanged {
        /// The folder.
        path: PathBuf,
    },
    /// Something in the folder of the agents' keys that is none.
    #[error("'{}' is no key file of an agent: move it away", path.display())]
    NotAnAgent {
        /// What stands there.
        path: PathBuf,
    },
    /// One key under two names: each would write as the other, and revoking one would not end it.
    #[error("'{}' is the key of {same} as well, and two names for one key are one identity: move one of them away", path.display())]
    SameKey {
        /// The second of them.
        path: PathBuf,
        /// Whose it is besides.
        same: String,
    },
    /// An export would overwrite something.
    #[error("'{}' already exists, and an export overwrites nothing: name a new file", path.display())]
    FileExists {
        /// The file.
        path: PathBuf,
    },
    /// The file with the node's name was edited into something that is no name.
    #[error("'{}' holds no name: {reason}; write one into it, or remove it", path.display())]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: NameError,
    },
}

fn remedy(reason: &io::Error) -> &'static str {
    match reason.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space and try again",
        io::ErrorKind::PermissionDenied => "; check who owns it and its folder",
        io::ErrorKind::ReadOnlyFilesystem => "; name a folder that can be written with --data DIR",
        io::ErrorKind::NotFound => "; check the path",
        _ => "",
    }
}

const fn form(is_encrypted: bool) -> &'static str {
    if is_encrypted { "encrypted" } else { "not encrypted" }
}
