//! Bytes with a signature beside them: how everything that is signed travels and rests.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteArray, ByteBuf, Bytes};

/// The encoding of a `T` and a signature, as they came: nothing about them is known. In CBOR `[body, signature]`, both byte strings.
///
/// What is signed is a CBOR array whose first element is the version of its format. **Nothing is ever encoded again to be verified.**
pub struct Signed<T> {
    /// The encoded `T`.
    pub body: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
    /// Keeps a block from being taken for something else that is signed.
    of: PhantomData<fn() -> T>,
}

impl<T> Signed<T> {
    /// A body and a signature, whatever they are.
    #[must_use]
    pub const fn new(body: Vec<u8>, signature: [u8; 64]) -> Self {
        Self { body, signature, of: PhantomData }
    }

    /// The version of its format, where it looks like one of another than `known`: so much of the form stays in every version.
    #[must_use]
    pub fn other_version(&self, known: u8) -> Option<u8> {
        match *self.body {
            // An array header, and the version as its first element.
            [0x80..=0x97, version @ 0..=23, ..] if version != known => Some(version),
            _ => None,
        }
    }
}

// Derived, these would ask the same of `T`, of which there is none here.
impl<T> Clone for Signed<T> {
    fn clone(&self) -> Self {
        Self::new(self.body.clone(), self.signature)
    }
}

impl<T> PartialEq for Signed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.body == other.body && self.signature == other.signature
    }
}

impl<T> Eq for Signed<T> {}

impl<T> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signed").field("body", &self.body).field("signature", &self.signature).finish()
    }
}

impl<T> Serialize for Signed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (Bytes::new(&self.body), Bytes::new(&self.signature)).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Signed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (body, signature): (ByteBuf, ByteArray<64>) = Deserialize::deserialize(deserializer)?;
        Ok(Self::new(body.into_vec(), signature.into_array()))
    }
}
