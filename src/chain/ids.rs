//! The names of things: 32-byte BLAKE3 hashes, each of its own type.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// A string is not the hexadecimal form of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}: expected 64 hexadecimal digits")]
pub struct IdError(&'static str);

/// One type of id: 32 bytes, lower-case hexadecimal for people and JSON, a byte string in CBOR.
macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $word:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id of these 32 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Its 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Its first ten digits, for people.
            #[must_use]
            pub fn short(&self) -> String {
                hex::encode(&self.0[..5])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.short())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let mut bytes = [0; 32];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError($word))?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(&self.0)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct IdVisitor;
                impl Visitor<'_> for IdVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a ", $word))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        bytes.try_into().map($name).map_err(|_| E::invalid_length(bytes.len(), &self))
                    }
                }
                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(IdVisitor)
                } else {
                    deserializer.deserialize_bytes(IdVisitor)
                }
            }
        }
    };
}

hash_id!(
    /// A group: the BLAKE3 hash of its genesis block's body, so that nobody can found a second group under it.
    GroupId,
    "group id"
);
hash_id!(
    /// A block: the BLAKE3 hash of its body as signed.
    BlockId,
    "block id"
);
hash_id!(
    /// An object: the BLAKE3 hash of its bytes.
    ObjectHash,
    "object hash"
);
hash_id!(
    /// A claim or an experience: derived from the block and the place in it, so that no two are alike and nobody chooses one.
    ClaimId,
    "claim hash"
);

hash_id!(
    /// A text: alike for texts that differ in white space and capitals only, of ASCII.
    TextHash,
    "text hash"
);

impl BlockId {
    /// The id of a block's body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        Self(*blake3::hash(body).as_bytes())
    }
}

impl From<BlockId> for GroupId {
    /// The group that a genesis block founds.
    fn from(genesis: BlockId) -> Self {
        Self(genesis.0)
    }
}

impl ObjectHash {
    /// The hash of an object's bytes.
    #[must_use]
    pub fn of(object: &[u8]) -> Self {
        Self(*blake3::hash(object).as_bytes())
    }
}

impl TextHash {
    /// The hash of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lbm text hash 1");
        // ASCII's: what Unicode calls white space or a capital changes from version to version.
        for word in text.split_ascii_whitespace() {
            hasher.update(word.to_ascii_lowercase().as_bytes());
            hasher.update(b" ");
        }
        Self(*hasher.finalize().as_bytes())
    }
}

impl ClaimId {
    /// The id of what the transaction at `index` of `block` publishes.
    #[must_use]
    pub fn derive(block: BlockId, index: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("lbm claim id 1");
        hasher.update(&block.0);
        hasher.update(&index.to_be_bytes());
        Self(*hasher.finalize().as_bytes())
    }
}
