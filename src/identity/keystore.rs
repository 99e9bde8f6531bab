//! How a secret key rests on a disk: the bytes of a key file.
//!
//! Owns the file format, its two kinds and its errors. Pure: bytes in, bytes out; salt and nonce come from the caller,
//! who must take both fresh from the system's random source for each file. **A key leaves [`StoredKey::open`] only when
//! it belongs to the public key in the header**, and nothing in a file is acted on before its cost is bounded.
//!
//! # Format, version 1
//!
//! Integers are big-endian. Of every version, now and later, holds: it begins with the magic and the version, and its last
//! 32 bytes are the BLAKE3 hash of all bytes before them. So damage is told apart from a newer version, and from a wrong
//! password. The hash is a checksum, not a proof: who can write the file can write its hash too.
//!
//! | offset | bytes | plain | encrypted |
//! |---|---|---|---|
//! | 0 | 8 | magic, `LBM-KEY` and a line feed | the same |
//! | 8 | 1 | version, 1 | the same |
//! | 9 | 1 | kind, 0 | kind, 1 |
//! | 10 | 32 | Ed25519 public key | the same |
//! | 42 | 1 | seed of the secret key (32 bytes) | log2 of scrypt's N, 17 |
//! | 43 | 4 | … | scrypt's r, 8 |
//! | 47 | 4 | … | scrypt's p, 1 |
//! | 51 | 16 | … | salt |
//! | 67 | 12 | … BLAKE3 from 74 to 106 | nonce |
//! | 79 | 32 | | seed, encrypted |
//! | 111 | 16 | | authentication tag |
//! | 127 | 32 | | BLAKE3 of bytes 0 to 126 |
//!
//! Encryption is ChaCha20-Poly1305 ([RFC 8439](https://www.rfc-editor.org/rfc/rfc8439)) under the 32 bytes that scrypt
//! ([RFC 7914](https://www.rfc-editor.org/rfc/rfc7914)) makes of the password's UTF-8 bytes and the salt. Bytes 0 to 78 are
//! its associated data: whoever changes the header without the password only makes the file unreadable. The public key
//! is in clear, so that `lbm keys show` asks for no password.
//!
//! Seeds, derived keys and the cipher's state are wiped. scrypt's own working memory is not (the crate has no way to): it
//! goes back to the system unwiped.

use std::fmt;

use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, Key, KeyInit, Nonce, Tag};
use zeroize::Zeroizing;

use super::{Identity, Password, SecretKey};
use crate::limits::{KEY_FILE_BYTES, KEY_SCRYPT_MEMORY_BYTES, KEY_SCRYPT_PASSES};

/// Salt of one encrypted file, bytes.
pub const SALT_BYTES: usize = 16;
/// Nonce of one encrypted file, bytes.
pub const NONCE_BYTES: usize = 12;

const MAGIC: [u8; 8] = *b"LBM-KEY\n";
const VERSION: u8 = 1;
const KIND_PLAIN: u8 = 0;
const KIND_ENCRYPTED: u8 = 1;
const CHECKSUM_BYTES: usize = 32;
/// Magic, version, kind, public key.
const COMMON_BYTES: usize = 8 + 1 + 1 + 32;
const HEADER_BYTES: usize = COMMON_BYTES + 1 + 4 + 4 + SALT_BYTES + NONCE_BYTES;
const PLAIN_BYTES: usize = COMMON_BYTES + 32 + CHECKSUM_BYTES;
const ENCRYPTED_BYTES: usize = HEADER_BYTES + 32 + 16 + CHECKSUM_BYTES;

const _: () = assert!(PLAIN_BYTES == 106 && HEADER_BYTES == 79 && ENCRYPTED_BYTES == 159);
const _: () = assert!(ENCRYPTED_BYTES <= KEY_FILE_BYTES);
const _: () = assert!(Cost::STANDARD.is_bounded());

/// Why bytes are no key, or do not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// Without the magic.
    #[error("this is not an lbm key file: give a file that `lbm keys export` wrote")]
    NotAKeyFile,
    /// Whole, but of a version that this program does not know.
    #[error("this key file is of version {version}, this lbm knows up to version {VERSION}: use a newer lbm")]
    Newer {
        /// The version it states.
        version: u8,
    },
    /// Begins like a key file and ends too early.
    #[error("this key file is cut short, after {got} bytes: restore it from a backup, or import an exported copy")]
    Truncated {
        /// Bytes that are there.
        got: usize,
    },
    /// Its bytes do not add up to its checksum, or not to any form that was ever written.
    #[error("this key file was altered or damaged: restore it from a backup, or import an exported copy")]
    Altered,
    /// Its parameters would cost more memory or time than any key file that lbm writes.
    #[error(
        "this key file asks scrypt for more than lbm grants (log2 N={log_n}, r={r}, p={p}): do not trust it, restore the \
         key from a backup"
    )]
    TooCostly {
        /// log2 of N.
        log_n: u8,
        /// Block size.
        r: u32,
        /// Passes.
        p: u32,
    },
    /// Encrypted, and no password was given.
    #[error("this key is encrypted: give its password")]
    PasswordNeeded,
    /// The password does not open it. (An attacker who rewrote the file with its checksum causes the same.)
    #[error("wrong password: the key stays closed; try again")]
    WrongPassword,
    /// The secret inside does not belong to the public key in the header.
    #[error("this key file holds a secret that does not belong to its identity: restore the key from a backup")]
    Mismatch,
    /// The cipher did not do its work; does not happen with our own parameters.
    #[error("the key could not be encrypted, nothing was written: try again")]
    Sealing,
}

/// What a guess of the password costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    log_n: u8,
    r: u32,
    p: u32,
}

impl Cost {
    /// 128 MiB and about 0.4 s: OWASP's first choice for scrypt.
    const STANDARD: Self = Self { log_n: 17, r: 8, p: 1 };

    /// Checked without overflow, before anything is allocated.
    const fn is_bounded(self) -> bool {
        if self.log_n == 0 || self.log_n >= 32 || self.r == 0 || self.p == 0 || self.p > KEY_SCRYPT_PASSES {
            return false;
        }
        // scrypt holds N + p + 1 blocks of 128 r bytes. Their product may not fit 64 bits, so divide.
        let blocks = (1 << self.log_n) + self.p as u64 + 1;
        self.r as u64 <= KEY_SCRYPT_MEMORY_BYTES / (128 * blocks)
    }

    fn derive(self, password: &Password, salt: &[u8; SALT_BYTES]) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let too_costly = KeystoreError::TooCostly { log_n: self.log_n, r: self.r, p: self.p };
        if !self.is_bounded() {
            return Err(too_costly);
        }
        let params = scrypt::Params::new(self.log_n, self.r, self.p).map_err(|_| too_costly)?;
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(password.as_bytes(), salt, &params, &mut *key).map_err(|_| KeystoreError::Sealing)?;
        Ok(key)
    }
}

/// A key file that was read and found whole. Holds the secret of a plain one, so it is wiped on drop.
pub struct StoredKey {
    identity: Identity,
    form: Form,
}

enum Form {
    Plain(Zeroizing<[u8; 32]>),
    Encrypted(Box<Sealed>),
}

struct Sealed {
    header: [u8; HEADER_BYTES],
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    ciphertext: [u8; 32],
    tag: [u8; 16],
}

/// The plain form of a key file.
#[must_use]
pub fn plain(secret: &SecretKey) -> Zeroizing<Vec<u8>> {
    let mut bytes = begin(KIND_PLAIN, secret.identity(), PLAIN_BYTES);
    bytes.extend_from_slice(&*secret.seed());
    finish(bytes)
}

/// The encrypted form of a key file. `salt` and `nonce` must be fresh random bytes.
///
/// Takes about 0.4 s and 128 MiB: keep it off threads that must answer.
///
/// # Errors
/// [`KeystoreError::Sealing`], which does not happen in practice.
pub fn encrypted(
    secret: &SecretKey,
    password: &Password,
    salt: &[u8; SALT_BYTES],
    nonce: &[u8; NONCE_BYTES],
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    encrypted_at(Cost::STANDARD, secret, password, salt, nonce)
}

fn encrypted_at(
    cost: Cost,
    secret: &SecretKey,
    password: &Password,
    salt: &[u8; SALT_BYTES],
    nonce: &[u8; NONCE_BYTES],
) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
    DerivedKey { cost, salt: *salt, key: cost.derive(password, salt)? }.encrypted(secret, nonce)
}

/// What a password and a salt come to: it opens and makes the files of one keystore, which have one salt and a nonce each, at
/// the cost of one derivation for all of them. Wiped on drop.
#[derive(Clone)]
pub struct DerivedKey {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    key: Zeroizing<[u8; 32]>,
}

impl DerivedKey {
    /// Of a password and a salt, which must be fresh random bytes for each password.
    ///
    /// Takes about 0.4 s and 128 MiB: keep it off threads that must answer.
    ///
    /// # Errors
    /// [`KeystoreError::Sealing`], which does not happen in practice.
    pub fn new(password: &Password, salt: &[u8; SALT_BYTES]) -> Result<Self, KeystoreError> {
        let cost = Cost::STANDARD;
        Ok(Self { cost, salt: *salt, key: cost.derive(password, salt)? })
    }

    /// The encrypted form of a key file. `nonce` must be fresh random bytes for each file.
    ///
    /// # Errors
    /// [`KeystoreError::Sealing`], which does not happen in practice.
    pub fn encrypted(
        &self,
        secret: &SecretKey,
        nonce: &[u8; NONCE_BYTES],
    ) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let mut bytes = begin(KIND_ENCRYPTED, secret.identity(), ENCRYPTED_BYTES);
        bytes.push(self.cost.log_n);
        bytes.extend_from_slice(&self.cost.r.to_be_bytes());
        bytes.extend_from_slice(&self.cost.p.to_be_bytes());
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(nonce);
        let mut seed = secret.seed();
        let tag = cipher(&self.key)
            .encrypt_inout_detached(&Nonce::from(*nonce), &bytes, seed.as_mut_slice().into())
            .map_err(|_| KeystoreError::Sealing)?;
        bytes.extend_from_slice(&*seed);
        bytes.extend_from_slice(&tag);
        Ok(finish(bytes))
    }
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DerivedKey(…)")
    }
}

/// `capacity` is the final length: a vector that grows would leave copies of the secret behind.
fn begin(kind: u8, identity: Identity, capacity: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(identity.as_bytes());
    bytes
}

fn finish(mut bytes: Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> ChaCha20Poly1305 {
    let key: &Key = (&**key).into();
    ChaCha20Poly1305::new(key)
}

impl StoredKey {
    /// Reads a key file as far as that goes without its password.
    ///
    /// # Errors
    /// [`KeystoreError`] where it is none, newer, cut short or altered.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeystoreError> {
        let kind = check_whole(bytes)?;
        let mut rest = &bytes[MAGIC.len() + 2..];
        let identity = Identity::from_bytes(take(&mut rest)?).map_err(|_| KeystoreError::Mismatch)?;
        let form = if kind == KIND_PLAIN {
            Form::Plain(Zeroizing::new(take(&mut rest)?))
        } else {
            let [log_n] = take(&mut rest)?;
            let cost = Cost { log_n, r: u32::from_be_bytes(take(&mut rest)?), p: u32::from_be_bytes(take(&mut rest)?) };
            Form::Encrypted(Box::new(Sealed {
                header: take(&mut &*bytes)?,
                cost,
                salt: take(&mut rest)?,
                nonce: take(&mut rest)?,
                ciphertext: take(&mut rest)?,
                tag: take(&mut rest)?,
            }))
        };
        Ok(Self { identity, form })
    }

    /// Whose key it is. What an encrypted file says here is proven only by opening it.
    #[must_use]
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Whether [`StoredKey::open`] needs a password.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.form, Form::Encrypted(_))
    }

    /// The secret key. A password for a plain file is not looked at.
    ///
    /// Takes about 0.4 s and 128 MiB where it is encrypted: keep it off threads that must answer.
    ///
    /// # Errors
    /// [`KeystoreError::PasswordNeeded`], [`WrongPassword`](KeystoreError::WrongPassword),
    /// [`TooCostly`](KeystoreError::TooCostly) and [`Mismatch`](KeystoreError::Mismatch).
    pub fn open(&self, password: Option<&Password>) -> Result<SecretKey, KeystoreError> {
        let seed: Zeroizing<[u8; 32]> = match &self.form {
            Form::Plain(seed) => seed.clone(),
            Form::Encrypted(sealed) => sealed.open(&sealed.derive(password.ok_or(KeystoreError::PasswordNeeded)?)?)?,
        };
        self.of_seed(&seed)
    }

    fn of_seed(&self, seed: &[u8; 32]) -> Result<SecretKey, KeystoreError> {
        let secret = SecretKey::from_seed(seed);
        if secret.identity() == self.identity { Ok(secret) } else { Err(KeystoreError::Mismatch) }
    }

    /// What the password derives for this file, and for all others of its salt; none for a plain file. Whether the password is right
    /// shows when a file is opened with it.
    ///
    /// # Errors
    /// [`KeystoreError::TooCostly`].
    pub fn derive(&self, password: &Password) -> Result<Option<DerivedKey>, KeystoreError> {
        match &self.form {
            Form::Plain(_) => Ok(None),
            Form::Encrypted(sealed) => sealed.derive(password).map(Some),
        }
    }

    /// Whether it is in the form that `key` opens: under that key's salt, or plain where there is none.
    #[must_use]
    pub fn is_under(&self, key: Option<&DerivedKey>) -> bool {
        match (&self.form, key) {
            (Form::Plain(_), None) => true,
            (Form::Encrypted(sealed), Some(key)) => sealed.salt == key.salt && sealed.cost == key.cost,
            _ => false,
        }
    }

    /// The secret key, by what [`StoredKey::derive`] gave for a file of the same salt.
    ///
    /// # Errors
    /// [`KeystoreError::PasswordNeeded`] where the file is not under that key, else as [`StoredKey::open`].
    pub fn open_with(&self, key: Option<&DerivedKey>) -> Result<SecretKey, KeystoreError> {
        match (&self.form, key) {
            (Form::Plain(_), _) => self.open(None),
            (Form::Encrypted(sealed), Some(key)) if self.is_under(Some(key)) => {
                let seed = sealed.open(key)?;
                self.of_seed(&seed)
            }
            (Form::Encrypted(_), _) => Err(KeystoreError::PasswordNeeded),
        }
    }
}

impl Sealed {
    fn derive(&self, password: &Password) -> Result<DerivedKey, KeystoreError> {
        Ok(DerivedKey { cost: self.cost, salt: self.salt, key: self.cost.derive(password, &self.salt)? })
    }

    fn open(&self, key: &DerivedKey) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let mut seed = Zeroizing::new(self.ciphertext);
        cipher(&key.key)
            .decrypt_inout_detached(
                &Nonce::from(self.nonce),
                &self.header,
                seed.as_mut_slice().into(),
                &Tag::from(self.tag),
            )
            .map_err(|_| KeystoreError::WrongPassword)?;
        Ok(seed)
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.is_encrypted() { "encrypted" } else { "plain" };
        write!(f, "StoredKey(of {:?}, {form})", self.identity)
    }
}

/// The kind of a file whose length and checksum hold.
fn check_whole(bytes: &[u8]) -> Result<u8, KeystoreError> {
    let truncated = KeystoreError::Truncated { got: bytes.len() };
    let Some(rest) = bytes.strip_prefix(&MAGIC) else {
        return Err(if MAGIC.starts_with(bytes) { truncated } else { KeystoreError::NotAKeyFile });
    };
    let is_whole =
        bytes.split_last_chunk().is_some_and(|(body, sum): (_, &[u8; CHECKSUM_BYTES])| blake3::hash(body) == *sum);
    let &[version, ref rest @ ..] = rest else { return Err(truncated) };
    if version != VERSION {
        // A damaged version byte must not send anybody looking for a newer program.
        let is_newer = is_whole && version > VERSION;
        return Err(if is_newer { KeystoreError::Newer { version } } else { KeystoreError::Altered });
    }
    let &[kind, ..] = rest else { return Err(truncated) };
    let expected = match kind {
        KIND_PLAIN => PLAIN_BYTES,
        KIND_ENCRYPTED => ENCRYPTED_BYTES,
        _ => return Err(KeystoreError::Altered),
    };
    if bytes.len() < expected {
        return Err(truncated);
    }
    if bytes.len() > expected || !is_whole { Err(KeystoreError::Altered) } else { Ok(kind) }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], KeystoreError> {
    let (taken, left) = rest.split_first_chunk().ok_or(KeystoreError::Truncated { got: 0 })?;
    *rest = left;
    Ok(*taken)
}

#[cfg(test)]
mod tests;
