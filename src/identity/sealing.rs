//! Sealing a secret to a key that is used once: HPKE (RFC 9180), base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! ChaCha20-Poly1305.
//!
//! **What is sealed for one purpose, or with other associated data, does not open for another.** Randomness comes in as bytes.

use std::convert::Infallible;
use std::fmt;

use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::{ByteArray, Bytes};
use zeroize::{Zeroize, Zeroizing};

/// How much longer than its content a sealed secret is, bytes: an encapsulated key and a tag.
pub const SEALED_MORE_BYTES: usize = 32 + 16;

/// What a secret cannot be sealed with, or opened: the other key, purpose or associated data, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed secret does not open with this key for this purpose")]
pub struct BadSeal;

/// The public half of a one-time key: 32 bytes of X25519 (RFC 7748). Which of them are usable [`OneTimeKey::is_usable`] says.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OneTimeKey([u8; 32]);

/// The secret half. Wiped from memory on drop; `Debug` does not show it. It leaves its owner in one case: to show everybody what it opens.
#[derive(Clone, PartialEq, Eq)]
pub struct OneTimeSecret(Zeroizing<[u8; 32]>);

impl OneTimeKey {
    /// The key of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether anything can be sealed to it: points of small order have no secret half.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.seal(&[0; 32], b"", b"", b"").is_ok()
    }

    /// Seals `secret` for one purpose (`info`) and with associated data (`aad`), both of which the opener must know.
    /// `random` are 32 bytes of the system's random source, used once.
    ///
    /// # Errors
    /// [`BadSeal`] where the key is not usable.
    pub fn seal(&self, random: &[u8; 32], info: &[u8], aad: &[u8], secret: &[u8]) -> Result<Vec<u8>, BadSeal> {
        let key = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&self.0).map_err(|_| BadSeal)?;
        let mut random = Once(Zeroizing::new(*random));
        let (encapsulated, ciphertext) = hpke::single_shot_seal_with_rng::<
            ChaCha20Poly1305,
            HkdfSha256,
            X25519HkdfSha256,
        >(&OpModeS::Base, &key, info, secret, aad, &mut random)
        .map_err(|_| BadSeal)?;
        Ok([encapsulated.to_bytes().as_slice(), &ciphertext].concat())
    }
}

impl OneTimeSecret {
    /// The secret of 32 bytes of the system's random source.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The public half.
    #[must_use]
    pub fn key(&self) -> OneTimeKey {
        // Any 32 bytes are a private key of X25519, so this never fails.
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.0.as_slice());
        OneTimeKey(secret.map_or([0; 32], |secret| X25519HkdfSha256::sk_to_pk(&secret).to_bytes().into()))
    }

    /// Opens what was sealed to the public half, for the same purpose and with the same associated data.
    ///
    /// # Errors
    /// [`BadSeal`] where it was not.
    pub fn open(&self, sealed: &[u8], info: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, BadSeal> {
        let secret = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(self.0.as_slice()).map_err(|_| BadSeal)?;
        let (encapsulated, ciphertext) = sealed.split_at_checked(32).ok_or(BadSeal)?;
        let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated).map_err(|_| BadSeal)?;
        hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &encapsulated,
            info,
            ciphertext,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| BadSeal)
    }
}

impl fmt::Debug for OneTimeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneTimeKey({}…)", hex::encode(&self.0[..5]))
    }
}

impl fmt::Debug for OneTimeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeSecret(…)")
    }
}

impl Serialize for OneTimeKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::new(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OneTimeKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ByteArray::deserialize(deserializer).map(|bytes| Self(bytes.into_array()))
    }
}

/// For the one case in which it is shown to everybody, and for the owner's own rows.
impl Serialize for OneTimeSecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Bytes::new(self.0.as_slice()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for OneTimeSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ByteArray::deserialize(deserializer).map(|bytes| Self::from_bytes(bytes.into_array()))
    }
}

/// Random bytes that were handed in, as the library wants them. It draws exactly 32; were there more, they would be those bytes hashed on,
/// and not the same again.
struct Once(Zeroizing<[u8; 32]>);

impl Once {
    fn fill(&mut self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(32) {
            part.copy_from_slice(&self.0[..part.len()]);
            let mut next = blake3::derive_key("lbm random 1", self.0.as_slice());
            self.0.copy_from_slice(&next);
            next.zeroize();
        }
    }
}

impl TryRng for Once {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Once {}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"a purpose";
    const AAD: &[u8] = b"of this";

    fn pair() -> (OneTimeSecret, OneTimeKey) {
        let secret = OneTimeSecret::from_bytes([5; 32]);
        let key = secret.key();
        (secret, key)
    }

    #[test]
    fn it_is_the_suite_of_the_standard() {
        // RFC 9180, A.2.1 (base mode; X25519, HKDF-SHA256, ChaCha20Poly1305), encryption 0: the receiver's key, and what opens with it.
        let bytes = |hex: &str| hex::decode(hex).unwrap();
        let secret = bytes("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb");
        let secret = OneTimeSecret::from_bytes(secret.try_into().unwrap());
        let key = "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a";
        assert_eq!(hex::encode(secret.key().as_bytes()), key);
        let sealed = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a\
            1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28";
        let info = bytes("4f6465206f6e2061204772656369616e2055726e");
        let opened = secret.open(&bytes(sealed), &info, b"Count-0").unwrap();
        assert_eq!(opened.as_slice(), b"Beauty is truth, truth beauty");
        // And what is sealed with the sender's input of the standard has the standard's bytes.
        let ikm = bytes("909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b");
        let again = secret.key().seal(&ikm.try_into().unwrap(), &info, b"Count-0", &opened).unwrap();
        assert_eq!(hex::encode(again), sealed);
    }

    #[test]
    fn it_opens_with_the_same_key_purpose_and_data_alone() {
        let (secret, key) = pair();
        let sealed = key.seal(&[1; 32], INFO, AAD, b"package key").unwrap();
        assert_eq!(sealed.len(), b"package key".len() + SEALED_MORE_BYTES);
        assert_eq!(secret.open(&sealed, INFO, AAD).unwrap().as_slice(), b"package key");
        assert_eq!(secret.open(&sealed, b"another", AAD), Err(BadSeal));
        assert_eq!(secret.open(&sealed, INFO, b"of that"), Err(BadSeal));
        assert_eq!(OneTimeSecret::from_bytes([6; 32]).open(&sealed, INFO, AAD), Err(BadSeal));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(secret.open(&changed, INFO, AAD), Err(BadSeal), "byte {at}");
            assert_eq!(secret.open(&sealed[..at], INFO, AAD), Err(BadSeal), "{at} bytes");
        }
        // Other random bytes, another sealed form.
        assert_ne!(key.seal(&[2; 32], INFO, AAD, b"package key").unwrap(), sealed);
    }

    #[test]
    fn nothing_is_sealed_to_a_point_of_small_order() {
        assert!(pair().1.is_usable());
        let small = ["00".repeat(32), "01".to_owned() + &"00".repeat(31), "ec".to_owned() + &"ff".repeat(30) + "7f"];
        for hex in small {
            let key = OneTimeKey::from_bytes(hex::decode(hex).unwrap().try_into().unwrap());
            assert!(!key.is_usable(), "{key:?}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(format!("{:?}", pair().0), "OneTimeSecret(…)");
    }
}
