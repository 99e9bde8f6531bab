//! Keys: who signs, and how a secret key rests on a disk.
//!
//! Owns the Ed25519 identity of a node or agent, its written form, its signatures, the form of its key file, and sealing to a key
//! that is used once. Pure: randomness comes in as bytes, files are the caller's. **No secret key of an identity leaves this module but
//! as a signature, in the bytes of a key file ([`keystore`]), or as the seed for the transport**, and every secret is wiped when it
//! is dropped.

mod agent;
mod id;
pub mod keystore;
mod password;
mod sealing;
mod secret;
mod signed;

pub use agent::{AgentName, AgentNameError};
pub use id::{BadSignature, Identity, IdentityError};
pub use password::{Password, PasswordError};
pub use sealing::{BadSeal, OneTimeKey, OneTimeSecret, SEALED_MORE_BYTES};
pub use secret::SecretKey;
pub use signed::Signed;

/// What a signature covers: the length of the domain tag, the tag, and the message. No message of one domain can be
/// one of another.
fn tagged(domain: &[u8], message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + domain.len() + message.len());
    bytes.push(domain.len().min(255) as u8);
    bytes.extend_from_slice(domain);
    bytes.extend_from_slice(message);
    bytes
}
