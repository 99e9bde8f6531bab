//! CBOR in the deterministic encoding of RFC 8949 §4.2, and nothing else.
//!
//! A leaf. **One value has one encoding**: [`decode`] refuses whatever [`encode`] would not have written: trailing bytes,
//! indefinite lengths, long forms of short numbers, unknown and repeated fields. What was received is hashed and verified
//! as received; the comparison here only decides whether those bytes are the one allowed form.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How deep values may nest. The deepest signed structure uses eight levels.
const DEPTH: usize = 16;

/// Why bytes are not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the caller allows.
    #[error("{got} bytes where at most {max} are allowed")]
    TooLong {
        /// Bytes received.
        got: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// Not CBOR, or not of the expected shape.
    #[error("not of the expected form: {0}")]
    Form(String),
    /// Of the expected shape, but not in the deterministic encoding.
    #[error("not in the deterministic encoding of RFC 8949 §4.2")]
    NotDeterministic,
}

/// The one encoding of `value`.
///
/// Infallible for this crate's types: they have no map with keys of several types, and writing to memory cannot fail.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let written = ciborium::into_writer(value, &mut bytes);
    debug_assert!(written.is_ok(), "a type of this crate has no CBOR form");
    bytes
}

/// Reads one value that fills `bytes` and is encoded as [`encode`] would have done.
///
/// # Errors
/// [`DecodeError`] says which rule is broken. Nothing is read beyond `max_bytes`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, DecodeError> {
    let value = decode_stored(bytes, max_bytes)?;
    if encode(&value) == bytes { Ok(value) } else { Err(DecodeError::NotDeterministic) }
}

/// Reads a value that this node has written itself; its form was checked then.
///
/// # Errors
/// [`DecodeError::TooLong`] and [`DecodeError::Form`].
pub fn decode_stored<T: DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, DecodeError> {
    if bytes.len() > max_bytes {
        return Err(DecodeError::TooLong { got: bytes.len(), max: max_bytes });
    }
    ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH).map_err(|error| DecodeError::Form(error.to_string()))
}
