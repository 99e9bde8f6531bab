//! The public half of an identity, and how people write it.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature as DalekSignature, VerifyingKey};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

/// An Ed25519 public key: a person's node, or one agent on it.
///
/// Written as its libp2p peer id (`12D3KooW…`), the base58btc form of the identity multihash of the protobuf-encoded
/// key ([libp2p peer ids](https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md)). In CBOR it is its 32 bytes,
/// which reading does not check to be a key: [`Identity::is_usable`] does, and so does every verification.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity([u8; 32]);

/// Multihash header (identity, 36 bytes) and protobuf header (type Ed25519, 32 bytes) of an Ed25519 peer id.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// Why a string is not an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not base58btc, or not of the length of an Ed25519 peer id.
    #[error("this is not a peer id: expected 52 characters that start with 12D3KooW, as `lbm keys show` prints them")]
    Form,
    /// A peer id of another key type.
    #[error("this peer id is not of an Ed25519 key: expected one that starts with 12D3KooW")]
    KeyType,
    /// The bytes are no point on the curve, or one of small order that would verify anything.
    #[error("this peer id does not hold a usable Ed25519 public key: check that it was copied in full")]
    Key,
}

/// A signature that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

impl Identity {
    /// The identity of 32 bytes of a public key.
    ///
    /// # Errors
    /// [`IdentityError::Key`] where they are no point on the curve or a point of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, IdentityError> {
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) if !key.is_weak() => Ok(Self(bytes)),
            _ => Err(IdentityError::Key),
        }
    }

    /// The identity of bytes that this node has checked before: those of a row, or of a key pair.
    pub(crate) const fn from_stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Whether the bytes are a public key that can sign: a point on the curve, and not one of small order.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        Self::from_bytes(self.0).is_ok()
    }

    /// The 32 bytes of the public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The last eight characters of the peer id: for people, in tables and logs. The first ones are alike for all.
    #[must_use]
    pub fn short(&self) -> String {
        let full = self.to_string();
        full.get(full.len().saturating_sub(8)..).unwrap_or_default().to_owned()
    }

    /// Checks an Ed25519 signature by this identity over `domain` and `message`, by the strict rule (RFC 8032 §5.1.7
    /// without cofactor, no small-order key or commitment), so that every node accepts the same signatures.
    ///
    /// # Errors
    /// [`BadSignature`] where it does not hold.
    pub fn verify(&self, domain: &[u8], message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| BadSignature)?;
        let signature = DalekSignature::from_bytes(signature);
        key.verify_strict(&super::tagged(domain, message), &signature).map_err(|_| BadSignature)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 38];
        bytes[..6].copy_from_slice(&PEER_ID_PREFIX);
        bytes[6..].copy_from_slice(&self.0);
        f.write_str(&bs58::encode(bytes).into_string())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "…{}", self.short())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.len() > 64 {
            return Err(IdentityError::Form);
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| IdentityError::Form)?;
        match bytes.strip_prefix(&PEER_ID_PREFIX) {
            Some(key) => Self::from_bytes(key.try_into().map_err(|_| IdentityError::Form)?),
            None if bytes.len() >= 34 => Err(IdentityError::KeyType),
            None => Err(IdentityError::Form),
        }
    }
}

impl Serialize for Identity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Identity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IdentityVisitor;
        impl Visitor<'_> for IdentityVisitor {
            type Value = Identity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an Ed25519 public key or its peer id")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Identity, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Identity, E> {
                bytes.try_into().map(Identity).map_err(|_| E::invalid_length(bytes.len(), &self))
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(IdentityVisitor)
        } else {
            deserializer.deserialize_bytes(IdentityVisitor)
        }
    }
}
