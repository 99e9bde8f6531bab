//! The secret half of an identity.

use std::fmt;

use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use super::Identity;

/// An Ed25519 secret key. Wiped from memory on drop; neither shown by `Debug` nor serialisable.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte seed (RFC 8032 §5.1.5). The seed must come from the system's random source.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, for the keystore and for the transport that must hold the same key.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::from_stored(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` in `domain`; [`Identity::verify`] checks it.
    ///
    /// ```
    /// let key = lbm::identity::SecretKey::from_seed(&[7; 32]);
    /// let signature = key.sign(b"greeting 1", b"hello");
    /// assert!(key.identity().verify(b"greeting 1", b"hello", &signature).is_ok());
    /// assert!(key.identity().verify(b"greeting 2", b"hello", &signature).is_err());
    /// ```
    #[must_use]
    pub fn sign(&self, domain: &[u8], message: &[u8]) -> [u8; 64] {
        self.0.sign(&super::tagged(domain, message)).to_bytes()
    }

    /// A secret of its own for each purpose and context, which nobody can tell from a random one and this key finds again (BLAKE3's key
    /// derivation). So what it opens survives a crash, and is under the key's password where the key is.
    #[must_use]
    pub fn derive(&self, purpose: &'static str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        let material = Zeroizing::new([&*self.seed(), context].concat());
        Zeroizing::new(blake3::derive_key(purpose, &material))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {:?})", self.identity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_secret_is_found_again_and_differs_by_key_purpose_and_context() {
        let (key, other) = (SecretKey::from_seed(&[7; 32]), SecretKey::from_seed(&[8; 32]));
        let derived = key.derive("lbm test 1", b"a");
        assert_eq!(*derived, *SecretKey::from_seed(&[7; 32]).derive("lbm test 1", b"a"));
        for another in
            [key.derive("lbm test 2", b"a"), key.derive("lbm test 1", b"b"), other.derive("lbm test 1", b"a")]
        {
            assert_ne!(*derived, *another);
        }
        assert_ne!(*derived, *key.seed());
    }
}
