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
/// ```
/// use lbm::cbor::{decode, encode};
/// assert_eq!(decode::<u64>(&encode(&5u64), 16), Ok(5));
/// assert!(decode::<u64>(&[0x18, 0x05], 16).is_err(), "a long form of 5");
/// ```
///
/// # Errors
/// [`DecodeError`] says which rule is broken. Nothing is read beyond `max_bytes`.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, DecodeError> {
    let value = decode_lenient(bytes, max_bytes)?;
    if encode(&value) == bytes { Ok(value) } else { Err(DecodeError::NotDeterministic) }
}

/// Reads one value that fills `bytes`, in any encoding of it: for rows that this node has written itself, and for messages
/// that nobody signs.
///
/// # Errors
/// [`DecodeError::TooLong`] and [`DecodeError::Form`].
pub fn decode_lenient<T: DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, DecodeError> {
    if bytes.len() > max_bytes {
        return Err(DecodeError::TooLong { got: bytes.len(), max: max_bytes });
    }
    let mut rest = bytes;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH)
        .map_err(|error| DecodeError::Form(error.to_string()))?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::Form(format!("{} bytes too many", rest.len()))) }
}

/// How many items `bytes` announce, nested ones included; counted head by head, before anything is built of them.
///
/// Stops where the bytes end or break off: reading them fails there as well.
#[must_use]
pub fn items(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((head, rest)) = bytes.split_first() {
        count += 1;
        let (major, info) = (head >> 5, head & 0x1f);
        let width = match info {
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => 0,
        };
        let Some((argument, rest)) = rest.split_at_checked(width) else { break };
        let length = argument.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let skip = match (major, info) {
            (2 | 3, 0..24) => u64::from(info),
            (2 | 3, 24..28) => length,
            _ => 0,
        };
        bytes = usize::try_from(skip).ok().and_then(|skip| rest.get(skip..)).unwrap_or_default();
    }
    count
}

/// Defines structs whose CBOR form is an array of their fields in order (as the CDDL in `proto/` has them): a third of the
/// size of a map, and nothing to repeat or to leave out.
macro_rules! cbor_array {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                ($(&self.$field,)+).serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let ($($field,)+) = serde::Deserialize::deserialize(deserializer)?;
                Ok(Self { $($field,)+ })
            }
        }
    )+};
}
pub(crate) use cbor_array;

#[cfg(test)]
mod tests {
    use super::*;

    cbor_array! {
        /// A pair.
        pub struct Pair {
            /// One.
            pub number: u64,
            /// Two.
            pub text: Option<String>,
        }
    }

    #[test]
    fn only_the_one_encoding_is_read() {
        let pair = Pair { number: 5, text: Some("a".into()) };
        let good = encode(&pair);
        assert_eq!(hex::encode(&good), "82056161");
        assert_eq!(decode::<Pair>(&good, 16), Ok(pair));
        for (bad, why) in [
            ("8205616100", "a trailing byte"),
            ("820561", "cut off"),
            ("82180561 61", "a long form of 5"),
            ("9f056161ff", "an indefinite array"),
            ("82057f6161ff", "an indefinite string"),
            ("8305616100", "an element too many"),
            ("8105", "an element too few"),
            ("82206161", "a negative number"),
            ("c182056161", "a tag"),
        ] {
            let bytes = hex::decode(bad.replace(' ', "")).unwrap();
            assert!(decode::<Pair>(&bytes, 16).is_err(), "{why} was accepted");
        }
        assert_eq!(decode::<Pair>(&good, 3), Err(DecodeError::TooLong { got: 4, max: 3 }));
    }

    #[test]
    fn items_are_counted_without_building_them() {
        for (bytes, count) in [
            ("", 0),
            ("82056161", 3),
            ("a16161820102", 5),
            ("58020000", 1),
            ("590003000000 f6", 2),
            ("9f0102ff", 4),
            ("5f4100ff", 3),
            ("8140", 2),
            ("5bffffffffffffffff00", 1),
            ("1b00", 1),
        ] {
            assert_eq!(items(&hex::decode(bytes.replace(' ', "")).unwrap()), count, "{bytes}");
        }
    }

    #[test]
    fn deep_nesting_ends_in_an_error_and_not_in_a_full_stack() {
        let deep = vec![0x81; 100_000];
        assert!(decode_lenient::<ciborium::Value>(&deep, deep.len()).is_err());
    }

    #[test]
    fn an_announced_length_costs_nothing_until_bytes_arrive() {
        let huge = hex::decode("5b00ffffffffffffff").unwrap();
        assert!(decode_lenient::<serde_bytes::ByteBuf>(&huge, 64).is_err());
    }
}
