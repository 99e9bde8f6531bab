//! The node's key and name in its data folder.
//!
//! Passwords come as closures, which are called only when they are needed and after everything that can be refused without
//! them was. Their error type is the caller's, which must be able to hold [`DataDirError`].

use std::fs;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::lock::DataLock;
use super::{DataDir, DataDirError, KeyBytes, NodeName, files};
use crate::identity::keystore::{self, DerivedKey, KeystoreError, StoredKey};
use crate::identity::{Identity, Password, SecretKey};
use crate::limits::NODE_NAME_BYTES;

/// What is known of a key without its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Whose key it is.
    pub identity: Identity,
    /// The node's name.
    pub name: NodeName,
    /// Whether it takes a password to use it.
    pub is_encrypted: bool,
}

/// In which form a key leaves the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportForm {
    /// Byte for byte as it stands.
    #[default]
    AsStored,
    /// Without a password.
    Plain,
    /// Under a password: as it stands, or a new one where it stands in plain form.
    Encrypted,
}

/// A new secret key from the system's random source.
///
/// # Errors
/// [`DataDirError::Random`].
pub fn new_secret() -> Result<SecretKey, DataDirError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).map_err(|reason| DataDirError::Random { reason })?;
    Ok(SecretKey::from_seed(&seed))
}

fn random<const N: usize>() -> Result<[u8; N], DataDirError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|reason| DataDirError::Random { reason })?;
    Ok(bytes)
}

impl DataDir {
    /// Makes the folder that of a new node. The key is written last: with it the folder is initialised.
    ///
    /// # Errors
    /// Those of [`DataDir::check_fresh`], [`DataDirError::KeysBusy`], [`DataDirError::Io`]. Nothing is ever overwritten.
    pub fn init(
        &self,
        name: &NodeName,
        secret: &SecretKey,
        password: Option<&Password>,
    ) -> Result<KeyInfo, DataDirError> {
        let _lock = self.lock_keys()?;
        self.check_fresh()?;
        self.write_name(name)?;
        self.write_key(&self.form(secret, password)?)?;
        Ok(KeyInfo { identity: secret.identity(), name: name.clone(), is_encrypted: password.is_some() })
    }

    /// Makes the folder that of an existing node, by the bytes of its key file. They are kept as they are: an encrypted key
    /// stays so, under its password, which is not asked for. A database may stand there; its key is welcome.
    ///
    /// # Errors
    /// [`DataDirError::Key`] where `bytes`, read from `from`, are no good key file;
    /// [`AlreadyInitialised`](DataDirError::AlreadyInitialised) and [`Occupied`](DataDirError::Occupied) where a key
    /// stands there; [`KeysBusy`](DataDirError::KeysBusy), [`Io`](DataDirError::Io).
    pub fn import(&self, bytes: &[u8], from: &Path, name: Option<&NodeName>) -> Result<KeyInfo, DataDirError> {
        let stored = check_importable(bytes, from)?;
        let _lock = self.lock_keys()?;
        self.check_no_key()?;
        let name = name.cloned().unwrap_or_else(|| NodeName::of(stored.identity()));
        self.write_name(&name)?;
        self.write_key(bytes)?;
        Ok(KeyInfo { identity: stored.identity(), name, is_encrypted: stored.is_encrypted() })
    }

    /// Whether a new node may begin here.
    ///
    /// # Errors
    /// [`DataDirError::AlreadyInitialised`] or [`Occupied`](DataDirError::Occupied) where a key stands there,
    /// [`KeyLost`](DataDirError::KeyLost) where only a database does: a new key could not go on with its lines.
    pub fn check_fresh(&self) -> Result<(), DataDirError> {
        self.check_no_key()?;
        if exists(&self.database_path())? {
            return Err(DataDirError::KeyLost { path: self.path().to_owned() });
        }
        Ok(())
    }

    fn check_no_key(&self) -> Result<(), DataDirError> {
        let path = self.path().to_owned();
        match self.show() {
            Err(DataDirError::NotInitialised { .. }) => Ok(()),
            Ok(KeyInfo { identity, name, is_encrypted }) => {
                Err(DataDirError::AlreadyInitialised { path, identity, name, is_encrypted })
            }
            Err(reason) => Err(DataDirError::Occupied { path: self.key_path(), reason: Box::new(reason) }),
        }
    }

    /// What is known of the node without its password.
    ///
    /// # Errors
    /// [`DataDirError::NotInitialised`]; [`Key`](DataDirError::Key), [`TooOpen`](DataDirError::TooOpen) or
    /// [`Name`](DataDirError::Name) where a file is bad; [`Io`](DataDirError::Io).
    pub fn show(&self) -> Result<KeyInfo, DataDirError> {
        let stored = self.stored_key()?.1;
        let identity = stored.identity();
        Ok(KeyInfo { identity, name: self.read_name(identity)?, is_encrypted: stored.is_encrypted() })
    }

    /// The node's secret key; `password` is called only where it is encrypted.
    ///
    /// # Errors
    /// As [`DataDir::show`]; what `password` returns; [`DataDirError::Key`] where it is wrong.
    pub fn load_key<E: From<DataDirError>>(
        &self,
        password: impl FnOnce() -> Result<Password, E>,
    ) -> Result<SecretKey, E> {
        let stored = self.stored_key()?.1;
        self.open_key(&stored, password)
    }

    /// Puts the key under a password. A running daemon goes on, and needs the password at its next start.
    ///
    /// # Errors
    /// [`DataDirError::AlreadyEncrypted`]; as [`DataDir::load_key`], [`DataDirError::KeysBusy`].
    pub fn encrypt<E: From<DataDirError>>(&self, new: impl FnOnce() -> Result<Password, E>) -> Result<KeyInfo, E> {
        let _lock = self.lock_keys()?;
        let (_, stored) = self.stored_key()?;
        if stored.is_encrypted() {
            return Err(DataDirError::AlreadyEncrypted { path: self.key_path() }.into());
        }
        let secret = stored.open(None).map_err(|reason| self.bad_key(reason))?;
        let new = new()?;
        self.rewrite(&secret, None, Some(&new)).map_err(E::from)
    }

    /// Takes the password off: from then on the key is in clear on the disk.
    ///
    /// # Errors
    /// [`DataDirError::NotEncrypted`]; as [`DataDir::load_key`], [`DataDirError::KeysBusy`].
    pub fn decrypt<E: From<DataDirError>>(&self, old: impl FnOnce() -> Result<Password, E>) -> Result<KeyInfo, E> {
        let _lock = self.lock_keys()?;
        let (secret, old) = self.open_encrypted(old)?;
        self.rewrite(&secret, Some(&old), None).map_err(E::from)
    }

    /// Puts the key under another password. `new` is called once `old` was found to be right.
    ///
    /// # Errors
    /// [`DataDirError::NotEncrypted`]; as [`DataDir::load_key`], [`DataDirError::KeysBusy`].
    pub fn change_password<E: From<DataDirError>>(
        &self,
        old: impl FnOnce() -> Result<Password, E>,
        new: impl FnOnce() -> Result<Password, E>,
    ) -> Result<KeyInfo, E> {
        let _lock = self.lock_keys()?;
        let (secret, old) = self.open_encrypted(old)?;
        let new = new()?;
        self.rewrite(&secret, Some(&old), Some(&new)).map_err(E::from)
    }

    /// The bytes of a key file for use elsewhere; [`write_new`](super::write_new) puts them into a file. `old` is called
    /// where an encrypted key leaves in plain form, `new` where a plain one leaves under a password.
    ///
    /// # Errors
    /// As [`DataDir::load_key`].
    pub fn export<E: From<DataDirError>>(
        &self,
        form: ExportForm,
        old: impl FnOnce() -> Result<Password, E>,
        new: impl FnOnce() -> Result<Password, E>,
    ) -> Result<KeyBytes, E> {
        let (bytes, stored) = self.stored_key()?;
        match (form, stored.is_encrypted()) {
            (ExportForm::AsStored, _) | (ExportForm::Plain, false) | (ExportForm::Encrypted, true) => Ok(bytes),
            (ExportForm::Plain, true) => Ok(self.form(&self.open_key(&stored, old)?, None)?),
            (ExportForm::Encrypted, false) => {
                let secret = stored.open(None).map_err(|reason| self.bad_key(reason))?;
                Ok(self.form(&secret, Some(&new()?))?)
            }
        }
    }

    /// The key file as it stands, checked as far as that goes without its password.
    ///
    /// # Errors
    /// As [`DataDir::show`].
    pub fn key_file(&self) -> Result<KeyBytes, DataDirError> {
        self.stored_key().map(|(bytes, _)| bytes)
    }

    /// The settings file as it stands; none where there is none.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn config_file(&self) -> Result<Option<Vec<u8>>, DataDirError> {
        match fs::read(self.config_path()) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files::io_error("read", &self.config_path())(error)),
        }
    }

    fn stored_key(&self) -> Result<(KeyBytes, StoredKey), DataDirError> {
        let Some(bytes) = files::read_own_key(&self.key_path())? else {
            return Err(DataDirError::NotInitialised { path: self.path().to_owned() });
        };
        let stored = StoredKey::parse(&bytes).map_err(|reason| self.bad_key(reason))?;
        Ok((bytes, stored))
    }

    fn open_key<E: From<DataDirError>>(
        &self,
        stored: &StoredKey,
        password: impl FnOnce() -> Result<Password, E>,
    ) -> Result<SecretKey, E> {
        let password = if stored.is_encrypted() { Some(password()?) } else { None };
        Ok(stored.open(password.as_ref()).map_err(|reason| self.bad_key(reason))?)
    }

    fn open_encrypted<E: From<DataDirError>>(
        &self,
        password: impl FnOnce() -> Result<Password, E>,
    ) -> Result<(SecretKey, Password), E> {
        let (_, stored) = self.stored_key()?;
        if !stored.is_encrypted() {
            return Err(DataDirError::NotEncrypted { path: self.key_path() }.into());
        }
        let password = password()?;
        let secret = stored.open(Some(&password)).map_err(|reason| self.bad_key(reason))?;
        Ok((secret, password))
    }

    /// Puts all keys into another form.
    fn rewrite(
        &self,
        secret: &SecretKey,
        old: Option<&Password>,
        new: Option<&Password>,
    ) -> Result<KeyInfo, DataDirError> {
        let name = self.read_name(secret.identity())?;
        let bad = |reason| self.bad_key(reason);
        let form = match new {
            Some(password) => Some(DerivedKey::new(password, &random()?).map_err(bad)?),
            None => None,
        };
        self.rewrite_all(secret, old, form.as_ref())?;
        Ok(KeyInfo { identity: secret.identity(), name, is_encrypted: form.is_some() })
    }

    /// The bytes of a key file in a form.
    pub(super) fn sealed(&self, secret: &SecretKey, form: Option<&DerivedKey>) -> Result<KeyBytes, KeystoreError> {
        match form {
            None => Ok(keystore::plain(secret)),
            // A nonce that is not random would show the keys of two files.
            Some(form) => form.encrypted(secret, &random().map_err(|_| KeystoreError::Sealing)?),
        }
    }

    fn form(&self, secret: &SecretKey, password: Option<&Password>) -> Result<KeyBytes, DataDirError> {
        match password {
            None => Ok(keystore::plain(secret)),
            Some(password) => {
                keystore::encrypted(secret, password, &random()?, &random()?).map_err(|reason| self.bad_key(reason))
            }
        }
    }

    fn write_key(&self, bytes: &[u8]) -> Result<(), DataDirError> {
        files::replace(&self.key_path(), bytes)
    }

    fn write_name(&self, name: &NodeName) -> Result<(), DataDirError> {
        files::replace(&self.name_path(), format!("{name}\n").as_bytes())
    }

    /// A key that was put here by hand may stand without a name.
    fn read_name(&self, identity: Identity) -> Result<NodeName, DataDirError> {
        let path = self.name_path();
        let mut file = match fs::File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(NodeName::of(identity)),
            Err(error) => return Err(files::io_error("read", &path)(error)),
        };
        let bytes = files::read_secret(&mut file, NODE_NAME_BYTES + 2).map_err(files::io_error("read", &path))?;
        let text = String::from_utf8_lossy(&bytes);
        text.trim_end().parse().map_err(|reason| DataDirError::Name { path, reason })
    }

    /// Takes the right to write keys, and ends what a crash cut off.
    pub(super) fn lock_keys(&self) -> Result<DataLock, DataDirError> {
        let lock = DataLock::acquire(&self.path().join("keys.lock"), |holder| DataDirError::KeysBusy {
            path: self.path().to_owned(),
            holder,
        })?;
        self.finish_rewrite()?;
        Ok(lock)
    }

    fn bad_key(&self, reason: KeystoreError) -> DataDirError {
        DataDirError::Key { path: self.key_path(), reason }
    }
}

/// Reads a key file that was made elsewhere as far as that goes without its password. `from` is for the error.
///
/// # Errors
/// [`DataDirError::Key`] where it is no good.
pub fn check_importable(bytes: &[u8], from: &Path) -> Result<StoredKey, DataDirError> {
    let bad = |reason| DataDirError::Key { path: from.to_owned(), reason };
    let stored = StoredKey::parse(bytes).map_err(bad)?;
    if !stored.is_encrypted() {
        stored.open(None).map_err(bad)?;
    }
    Ok(stored)
}

fn exists(path: &Path) -> Result<bool, DataDirError> {
    path.try_exists().map_err(files::io_error("look at", path))
}
