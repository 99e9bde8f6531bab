//! The keys of the agents beside the node's: made, destroyed, and put into another form all at once.
//!
//! **All keys have one form**: plain, or under one password and one salt, so that one derivation opens them. Where they are put into
//! another, all are written aside first; the rename of that folder to `keys.new` decides, and whoever takes the keys' lock next puts
//! in place what a crash left there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{DataDir, DataDirError, KeyBytes, files};
use crate::identity::keystore::{DerivedKey, StoredKey};
use crate::identity::{AgentName, Identity, Password, SecretKey};
use crate::limits::AGENTS;

/// Ending of a key file.
const ENDING: &str = ".key";
/// Where keys in a new form stand until all are there.
const WRITING: &str = "keys.writing";
/// Where they stand once they are.
const WRITTEN: &str = "keys.new";

/// All secret keys of a node, opened.
#[derive(Debug)]
pub struct Keyring {
    /// The node's own.
    pub node: SecretKey,
    /// Its agents'.
    pub agents: BTreeMap<AgentName, SecretKey>,
    /// What they rest under; none where they rest in clear.
    pub form: Option<DerivedKey>,
}

impl Keyring {
    /// A node without agents, whose key rests in clear.
    #[must_use]
    pub const fn of(node: SecretKey) -> Self {
        Self { node, agents: BTreeMap::new(), form: None }
    }
}

impl DataDir {
    /// All keys; `password` is called only where they are encrypted.
    ///
    /// # Errors
    /// As [`DataDir::load_key`]; [`DataDirError::KeysBusy`], [`NotAnAgent`](DataDirError::NotAnAgent), [`SameKey`](DataDirError::SameKey).
    pub fn load_keys<E: From<DataDirError>>(
        &self,
        password: impl FnOnce() -> Result<Password, E>,
    ) -> Result<Keyring, E> {
        let (node, agents) = self.key_files()?;
        let bad = |path: PathBuf| move |reason| DataDirError::Key { path, reason };
        let node = StoredKey::parse(&node).map_err(bad(self.key_path()))?;
        let password = if node.is_encrypted() { Some(password()?) } else { None };
        let form = match &password {
            Some(password) => node.derive(password).map_err(bad(self.key_path()))?,
            None => None,
        };
        let opened = node.open_with(form.as_ref()).map_err(bad(self.key_path()))?;
        let mut keys = Keyring { node: opened, agents: BTreeMap::new(), form };
        for (name, bytes) in agents {
            let path = || self.agent_path(&name);
            let stored = StoredKey::parse(&bytes).map_err(bad(path()))?;
            let key = if stored.is_under(keys.form.as_ref()) {
                stored.open_with(keys.form.as_ref())
            } else {
                // One that was put here by hand.
                stored.open(password.as_ref())
            };
            let key = key.map_err(bad(path()))?;
            let identity = key.identity();
            let same =
                keys.agents.iter().find(|(_, other)| other.identity() == identity).map(|(name, _)| name.to_string());
            let same = same.or_else(|| (keys.node.identity() == identity).then(|| "the node".to_owned()));
            if let Some(same) = same {
                return Err(DataDirError::SameKey { path: path(), same }.into());
            }
            keys.agents.insert(name, key);
        }
        Ok(keys)
    }

    /// The files of the node's key and of its agents', as they stand, checked as far as that goes without their password.
    ///
    /// # Errors
    /// As [`DataDir::show`]; [`DataDirError::KeysBusy`], [`NotAnAgent`](DataDirError::NotAnAgent).
    pub fn key_files(&self) -> Result<(KeyBytes, BTreeMap<AgentName, KeyBytes>), DataDirError> {
        // A folder that is being put together has no key yet, and another's error says so better.
        self.show()?;
        let _lock = self.lock_keys()?;
        let node = self.key_file()?;
        let mut agents = BTreeMap::new();
        for name in self.agent_names()? {
            let bytes = self.read_agent(&name)?;
            agents.insert(name, bytes);
        }
        Ok((node, agents))
    }

    /// Keeps the key of a new agent; `form` is what the others rest under, as far as the caller knows. After a crash it is there whole, or
    /// not at all.
    ///
    /// # Errors
    /// [`DataDirError::AgentExists`], [`TooManyAgents`](DataDirError::TooManyAgents),
    /// [`FormChanged`](DataDirError::FormChanged), [`KeysBusy`](DataDirError::KeysBusy), [`Io`](DataDirError::Io).
    pub fn add_agent(
        &self,
        name: &AgentName,
        secret: &SecretKey,
        form: Option<&DerivedKey>,
    ) -> Result<(), DataDirError> {
        let _lock = self.lock_keys()?;
        let bad = |path: PathBuf| move |reason| DataDirError::Key { path, reason };
        let node = StoredKey::parse(&self.key_file()?).map_err(bad(self.key_path()))?;
        // Of the right salt, and of the same key: another password over the same salt does not come about.
        if !node.is_under(form) {
            return Err(DataDirError::FormChanged { path: self.path().to_owned() });
        }
        let names = self.agent_names()?;
        if names.contains(name) {
            let stored = StoredKey::parse(&self.read_agent(name)?).map_err(bad(self.agent_path(name)))?;
            return Err(DataDirError::AgentExists { name: name.clone(), identity: stored.identity() });
        }
        if names.len() >= AGENTS {
            return Err(DataDirError::TooManyAgents);
        }
        files::create_folder(&self.agents_path())?;
        let bytes = self.sealed(secret, form).map_err(bad(self.agent_path(name)))?;
        files::replace(&self.agent_path(name), &bytes)
    }

    /// Keeps the key file of an agent that comes from elsewhere, as it is: of a backup.
    ///
    /// # Errors
    /// [`DataDirError::Key`], [`FileExists`](DataDirError::FileExists), [`Io`](DataDirError::Io).
    pub fn import_agent(&self, name: &AgentName, bytes: &[u8], from: &Path) -> Result<Identity, DataDirError> {
        let stored = super::check_importable(bytes, from)?;
        files::create_folder(&self.agents_path())?;
        files::write_new(&self.agent_path(name), bytes)?;
        Ok(stored.identity())
    }

    /// Destroys the key of an agent: nobody signs with it any more.
    ///
    /// # Errors
    /// [`DataDirError::NoAgent`], [`KeysBusy`](DataDirError::KeysBusy), [`Io`](DataDirError::Io).
    pub fn remove_agent(&self, name: &AgentName) -> Result<(), DataDirError> {
        let _lock = self.lock_keys()?;
        let path = self.agent_path(name);
        match fs::remove_file(&path) {
            Ok(()) => files::sync_folder(&self.agents_path()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(DataDirError::NoAgent { name: name.clone() }),
            Err(error) => Err(files::io_error("remove", &path)(error)),
        }
    }

    /// Puts `node` and the agents' keys into the form that `old` opens them from and `new` is. The keys' lock is held.
    pub(super) fn rewrite_all(
        &self,
        node: &SecretKey,
        old: Option<&Password>,
        new: Option<&DerivedKey>,
    ) -> Result<(), DataDirError> {
        let names = self.agent_names()?;
        let bad = |path: PathBuf| move |reason| DataDirError::Key { path, reason };
        let node_bytes = self.sealed(node, new).map_err(bad(self.key_path()))?;
        if names.is_empty() {
            return files::replace(&self.key_path(), &node_bytes);
        }
        let writing = self.path().join(WRITING);
        remove_folder(&writing)?;
        files::create_folder(&writing)?;
        files::write_new(&writing.join("node.key"), &node_bytes)?;
        let mut opens: Option<DerivedKey> = None;
        for name in names {
            let path = self.agent_path(&name);
            let stored = StoredKey::parse(&self.read_agent(&name)?).map_err(bad(path.clone()))?;
            if let Some(old) = old.filter(|_| !stored.is_under(opens.as_ref())) {
                opens = stored.derive(old).map_err(bad(path.clone()))?;
            }
            let secret = stored.open_with(opens.as_ref()).map_err(bad(path.clone()))?;
            let bytes = self.sealed(&secret, new).map_err(bad(path))?;
            files::write_new(&writing.join(format!("agent-{name}{ENDING}")), &bytes)?;
        }
        let written = self.path().join(WRITTEN);
        fs::rename(&writing, &written).map_err(files::io_error("put in place", &writing))?;
        files::sync_folder(self.path())?;
        self.finish_rewrite()
    }

    /// Puts in place what stands in `keys.new`, and removes what never got so far.
    pub(super) fn finish_rewrite(&self) -> Result<(), DataDirError> {
        remove_folder(&self.path().join(WRITING))?;
        let written = self.path().join(WRITTEN);
        let entries = match fs::read_dir(&written) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(files::io_error("look into", &written)(error)),
        };
        for entry in entries {
            let path = entry.map_err(files::io_error("look into", &written))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let place = match name.strip_prefix("agent-") {
                Some(agent) => self.agents_path().join(agent),
                None => self.key_path(),
            };
            fs::rename(&path, &place).map_err(files::io_error("put in place", &path))?;
        }
        files::sync_folder(&self.agents_path())?;
        files::sync_folder(self.path())?;
        remove_folder(&written)
    }

    fn agent_path(&self, name: &AgentName) -> PathBuf {
        self.agents_path().join(format!("{name}{ENDING}"))
    }

    fn read_agent(&self, name: &AgentName) -> Result<KeyBytes, DataDirError> {
        files::read_own_key(&self.agent_path(name))?.ok_or_else(|| DataDirError::NoAgent { name: name.clone() })
    }

    /// The agents that have a key here. What a crash left of a write is passed over.
    fn agent_names(&self) -> Result<Vec<AgentName>, DataDirError> {
        let folder = self.agents_path();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
            Err(error) => return Err(files::io_error("look into", &folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(files::io_error("look into", &folder))?.path();
            let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // What file managers leave is no key either.
            if file.ends_with(".new") || file.starts_with('.') {
                continue;
            }
            let name = file.strip_suffix(ENDING).and_then(|name| name.parse().ok());
            names.push(name.ok_or_else(|| DataDirError::NotAnAgent { path: path.clone() })?);
        }
        names.sort();
        if names.len() > AGENTS { Err(DataDirError::TooManyAgents) } else { Ok(names) }
    }
}

/// Removes a folder of key files, where there is one.
fn remove_folder(folder: &Path) -> Result<(), DataDirError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(files::io_error("remove", folder)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
