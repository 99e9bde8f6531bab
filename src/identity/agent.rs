//! What the agents of a node are called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::AGENT_NAME_BYTES;

/// An agent's name on its node: one to [`AGENT_NAME_BYTES`] characters of `[a-z0-9_-]`, the first one a letter or a digit. A key file
/// is called by it, and some file systems do not tell capital letters from small ones. `node` is none: so the node itself is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(String);

/// Why a text is no agent's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an agent's name has 1 to {AGENT_NAME_BYTES} characters of a-z 0-9 _ - and begins with a letter or a digit; `node` is the node itself"
)]
pub struct AgentNameError;

impl AgentName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AgentName {
    type Err = AgentNameError;

    fn from_str(text: &str) -> Result<Self, AgentNameError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let begins_well = text.bytes().next().is_some_and(is_plain);
        if text.len() <= AGENT_NAME_BYTES
            && begins_well
            && text != "node"
            && text.bytes().all(|byte| is_plain(byte) || b"_-".contains(&byte))
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(AgentNameError)
        }
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AgentName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AgentName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_a_file_may_have_everywhere() {
        let longest = "a".repeat(AGENT_NAME_BYTES);
        for good in ["scout", "a", "7", "code-review_2", longest.as_str()] {
            assert_eq!(good.parse::<AgentName>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(AGENT_NAME_BYTES + 1);
        for bad in ["", "-a", "_a", "Scout", "a.b", "a/b", "..", "a b", "ä", "a\n", "node", too_long.as_str()] {
            assert_eq!(bad.parse::<AgentName>(), Err(AgentNameError), "{bad}");
        }
    }
}
