//! What a node is called by people.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::identity::Identity;
use crate::limits::NODE_NAME_BYTES;

/// A node's name: one to [`NODE_NAME_BYTES`] characters of `[A-Za-z0-9._-]`, the first one a letter or a digit, so that it
/// is neither an option nor a hidden file. It tells nodes apart for people; it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to {NODE_NAME_BYTES} characters of A-Z a-z 0-9 . _ - and begins with a letter or a digit")]
pub struct NameError;

impl NodeName {
    /// What a node is called that was given no name: `node-` and the short form of its identity.
    #[must_use]
    pub fn of(identity: Identity) -> Self {
        Self(format!("node-{}", identity.short()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins_well = text.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        if text.len() <= NODE_NAME_BYTES && begins_well && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for NodeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
