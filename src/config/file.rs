//! The settings file: TOML with one key per setting and no tables.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::ConfigError;
use crate::limits;

/// The file's keys; none where there is no file.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    keys: toml::Table,
}

impl File {
    pub(super) fn read_if_there(path: &Path) -> Result<Self, ConfigError> {
        match Self::read(path) {
            Err(ConfigError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Ok(Self::default())
            }
            result => result,
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let limit_bytes = limits::CONFIG_FILE_BYTES;
        let unreadable = |source| ConfigError::Read { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        file.take(limit_bytes + 1).read_to_string(&mut text).map_err(unreadable)?;
        if text.len() as u64 > limit_bytes {
            return Err(ConfigError::TooLarge { path: path.to_owned(), limit_bytes });
        }
        let keys = text
            .parse::<toml::Table>()
            .map_err(|source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        match keys.keys().find(|key| super::keys().all(|known| known.name != key.as_str())) {
            Some(key) => Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.clone(), near: nearest(key) }),
            None => Ok(Self { path: path.to_owned(), keys }),
        }
    }

    /// The file and the value of a key.
    pub(super) fn get(&self, key: &str) -> Option<(&Path, &toml::Value)> {
        self.keys.get(key).map(|value| (self.path.as_path(), value))
    }
}

/// The setting that a misspelt key most likely means; its name in the environment counts as well.
pub(super) fn nearest(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase().replace('-', "_");
    let key = key.strip_prefix("lb_").unwrap_or(&key);
    super::keys()
        .map(|known| (strsim::jaro_winkler(key, known.name), known.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}
