//! What is sold: content under a key, and what an offer commits to so that nobody is cheated over it. Pure.
//!
//! Content of 1 to [`limits::PACKAGE_BYTES`] bytes is cut into chunks of [`limits::PACKAGE_CHUNK_BYTES`], the last one shorter. Each is
//! encrypted by itself (ChaCha20-Poly1305, RFC 8439) under a key derived from the package's, with its number and whether it is the last
//! for a nonce, as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, 2015), and bound to the package by its associated data. A chunk with its
//! tag is 16 bytes longer. The ciphertext is all of them, one behind the other.
//!
//! **The offer's [`Commitment`] leaves no choice of content**: it names the root of a hash tree over the encrypted chunks, the length, and
//! a hash of the key, of which there is one; and with one key a chunk decrypts to one text or to none. So a buyer checks what it fetches
//! *before* it pays, chunk by chunk if it likes; and where the key that it got does not fit, or a chunk does not decrypt, it can show
//! so to anybody, with that one chunk ([`ChunkProof`]). A hash of the content besides would say nothing more, and could be wrong. Who has
//! no key learns the length of the content, and not whether two packages have the same.

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

use crate::cbor::cbor_array;
use crate::hash::hash_id;
use crate::limits::{self, PACKAGE_CHUNK_BYTES};

hash_id!(
    /// A package: the root of the hash tree over its encrypted chunks. It is what the package is fetched by.
    PackageHash,
    "package hash"
);
hash_id!(
    /// What the key of a package hashes to.
    KeyCommitment,
    "key commitment"
);
hash_id!(
    /// A node of a package's hash tree.
    TreeHash,
    "tree hash"
);

/// How much longer an encrypted chunk is than its content, bytes: a tag.
pub const TAG_BYTES: usize = 16;

/// An encrypted chunk at most, bytes.
pub const CHUNK_BYTES: usize = PACKAGE_CHUNK_BYTES + TAG_BYTES;

/// Hashes from a chunk to the root, at most: the depth of a tree over all chunks.
pub const PATH_HASHES: usize = limits::PACKAGE_BYTES.div_ceil(PACKAGE_CHUNK_BYTES).next_power_of_two().ilog2() as usize;

cbor_array! {
    /// What an offer says of its package.
    #[derive(Copy)]
    pub struct Commitment {
        /// The root of the tree over the encrypted chunks.
        pub package: PackageHash,
        /// Length of the content, bytes.
        pub content_bytes: u32,
        /// The hash of the key.
        pub key: KeyCommitment,
    }

    /// One encrypted chunk, and that it is part of a package.
    pub struct ChunkProof {
        /// Its number, from 0.
        pub index: u32,
        /// Its bytes.
        pub chunk: ByteBuf,
        /// The hashes beside its way to the root, from the chunk up.
        pub path: Vec<TreeHash>,
    }
}

/// Why a package is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Nothing, or too much.
    #[error("a package has 1 to {max} bytes, and this has {0}: sell it in parts", max = limits::PACKAGE_BYTES)]
    Size(usize),
    /// A length that the announced one contradicts.
    #[error("{got} bytes where {expected} were announced: fetch the package again, or from another node")]
    Length {
        /// Bytes that there should be.
        expected: usize,
        /// Bytes that there are.
        got: usize,
    },
    /// Not the bytes that the offer names.
    #[error("these are not the bytes of the package {0}: fetch it again, or from another node")]
    Ciphertext(PackageHash),
    /// Not the key that the offer commits to.
    #[error("the key is not the one that the offer commits to: dispute the purchase, and the price comes back")]
    Key,
    /// The bytes are those that the offer names, and the key as well, and they do not fit.
    #[error("chunk {0} of the package does not decrypt: dispute the purchase with it, and the price comes back")]
    Chunk(u32),
}

/// The key of a package: 32 bytes of the system's random source, used for this package alone. Wiped from memory on drop, and not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PackageKey(Zeroizing<[u8; 32]>);

impl PackageKey {
    /// The key of these 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key of so many bytes; none where they are not 32.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self::from_bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What an offer says of it.
    #[must_use]
    pub fn commitment(&self) -> KeyCommitment {
        KeyCommitment::from_bytes(blake3::derive_key("lbm package key commitment 1", self.0.as_slice()))
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        let key = Zeroizing::new(blake3::derive_key("lbm package encryption 1", self.0.as_slice()));
        ChaCha20Poly1305::new(&Key::from(*key))
    }
}

impl fmt::Debug for PackageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PackageKey(…)")
    }
}

impl Commitment {
    /// Whether the length is one that a package can have.
    #[must_use]
    pub const fn is_sized(&self) -> bool {
        self.content_bytes > 0 && self.content_bytes as usize <= limits::PACKAGE_BYTES
    }

    /// Number of chunks.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        self.content_bytes.div_ceil(PACKAGE_CHUNK_BYTES as u32)
    }

    /// Length of the ciphertext, bytes.
    #[must_use]
    pub const fn ciphertext_bytes(&self) -> usize {
        self.content_bytes as usize + self.chunks() as usize * TAG_BYTES
    }

    /// Length of an encrypted chunk, bytes; 0 where there is none with this number.
    #[must_use]
    pub const fn chunk_bytes(&self, index: u32) -> usize {
        let before = index as usize * PACKAGE_CHUNK_BYTES;
        match (self.content_bytes as usize).checked_sub(before) {
            None | Some(0) => 0,
            Some(left) if left > PACKAGE_CHUNK_BYTES => CHUNK_BYTES,
            Some(left) => left + TAG_BYTES,
        }
    }

    /// Whether a chunk is the one of the package that it says it is.
    #[must_use]
    pub fn has(&self, proof: &ChunkProof) -> bool {
        let ChunkProof { index, chunk, path } = proof;
        let mut way = path.iter();
        let root = climb(leaf(chunk), *index, self.chunks(), &mut way);
        root.is_some_and(|root| root.as_bytes() == self.package.as_bytes()) && way.next().is_none()
    }

    /// Decrypts one chunk, whose place in the package the caller has checked.
    ///
    /// # Errors
    /// [`PackageError::Key`] and [`PackageError::Chunk`].
    pub fn open_chunk(&self, key: &PackageKey, index: u32, chunk: &[u8]) -> Result<Vec<u8>, PackageError> {
        if key.commitment() != self.key {
            return Err(PackageError::Key);
        }
        self.decrypt(&key.cipher(), index, chunk)
    }

    fn decrypt(&self, cipher: &ChaCha20Poly1305, index: u32, chunk: &[u8]) -> Result<Vec<u8>, PackageError> {
        if chunk.len() != self.chunk_bytes(index) {
            return Err(PackageError::Chunk(index));
        }
        let aad = bound_to(self.key, self.content_bytes);
        let payload = Payload { msg: chunk, aad: &aad };
        cipher.decrypt(&self.nonce(index), payload).map_err(|_| PackageError::Chunk(index))
    }

    fn nonce(&self, index: u32) -> Nonce {
        nonce(index, index + 1 == self.chunks())
    }
}

fn nonce(index: u32, is_last: bool) -> Nonce {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&index.to_be_bytes());
    nonce[11] = u8::from(is_last);
    nonce.into()
}

/// What chunks are bound to besides their place: the package's key, and its length.
fn bound_to(key: KeyCommitment, content_bytes: u32) -> [u8; 36] {
    let mut aad = [0; 36];
    aad[..32].copy_from_slice(key.as_bytes());
    aad[32..].copy_from_slice(&content_bytes.to_be_bytes());
    aad
}

/// Encrypts a package chunk by chunk, with no more of it in memory than the caller has.
pub struct Encryptor {
    cipher: ChaCha20Poly1305,
    /// Of which the root is not known yet.
    commitment: Commitment,
    leaves: Vec<TreeHash>,
}

impl Encryptor {
    /// Begins a package of so many bytes.
    ///
    /// # Errors
    /// [`PackageError::Size`].
    pub fn new(key: &PackageKey, content_bytes: usize) -> Result<Self, PackageError> {
        let size = u32::try_from(content_bytes).map_err(|_| PackageError::Size(content_bytes))?;
        let package = PackageHash::from_bytes([0; 32]);
        let commitment = Commitment { package, content_bytes: size, key: key.commitment() };
        if !commitment.is_sized() {
            return Err(PackageError::Size(content_bytes));
        }
        Ok(Self { cipher: key.cipher(), commitment, leaves: Vec::new() })
    }

    /// Encrypts the next chunk: [`PACKAGE_CHUNK_BYTES`] bytes, or all that are left.
    ///
    /// # Errors
    /// [`PackageError::Length`].
    pub fn next(&mut self, content: &[u8]) -> Result<Vec<u8>, PackageError> {
        let index = self.leaves.len() as u32;
        let expected = self.commitment.chunk_bytes(index).saturating_sub(TAG_BYTES);
        if content.len() != expected || expected == 0 {
            return Err(PackageError::Length { expected, got: content.len() });
        }
        let aad = bound_to(self.commitment.key, self.commitment.content_bytes);
        let payload = Payload { msg: content, aad: &aad };
        // It fails for messages of 256 GiB and more alone.
        let sealed = self.cipher.encrypt(&self.commitment.nonce(index), payload);
        let chunk = sealed.map_err(|_| PackageError::Chunk(index))?;
        self.leaves.push(leaf(&chunk));
        Ok(chunk)
    }

    /// What an offer says of the package.
    ///
    /// # Errors
    /// [`PackageError::Length`] where chunks are missing.
    pub fn finish(self) -> Result<Commitment, PackageError> {
        root_of(&self.commitment, &self.leaves)
    }
}

/// Checks an encrypted package chunk by chunk, as it comes.
pub struct Checker {
    commitment: Commitment,
    leaves: Vec<TreeHash>,
}

impl Checker {
    /// Begins with the first chunk.
    #[must_use]
    pub const fn new(commitment: Commitment) -> Self {
        Self { commitment, leaves: Vec::new() }
    }

    /// Length of the next chunk, bytes; 0 behind the last.
    #[must_use]
    pub const fn expected(&self) -> usize {
        self.commitment.chunk_bytes(self.leaves.len() as u32)
    }

    /// Takes the next chunk in.
    ///
    /// # Errors
    /// [`PackageError::Length`].
    pub fn next(&mut self, chunk: &[u8]) -> Result<(), PackageError> {
        let expected = self.expected();
        if chunk.len() != expected || expected == 0 {
            return Err(PackageError::Length { expected, got: chunk.len() });
        }
        self.leaves.push(leaf(chunk));
        Ok(())
    }

    /// Whether these were the bytes of the package.
    ///
    /// # Errors
    /// [`PackageError::Length`] where chunks are missing, [`PackageError::Ciphertext`] where they are others.
    pub fn finish(self) -> Result<(), PackageError> {
        let found = root_of(&self.commitment, &self.leaves)?;
        if found == self.commitment { Ok(()) } else { Err(PackageError::Ciphertext(self.commitment.package)) }
    }
}

/// The commitment with the root of these chunks, which must be all.
fn root_of(commitment: &Commitment, leaves: &[TreeHash]) -> Result<Commitment, PackageError> {
    let (expected, got) = (commitment.chunks() as usize, leaves.len());
    match root(leaves) {
        Some(root) if got == expected => {
            Ok(Commitment { package: PackageHash::from_bytes(*root.as_bytes()), ..*commitment })
        }
        _ => Err(PackageError::Length { expected: expected * CHUNK_BYTES, got: got * CHUNK_BYTES }),
    }
}

/// Encrypts content: the ciphertext, and what an offer says of it.
///
/// ```
/// use lbm::package::{PackageKey, check_ciphertext, encrypt, open};
/// let key = PackageKey::from_bytes([7; 32]); // of the system's random source, and never used again
/// let (ciphertext, commitment) = encrypt(&key, b"what I know").unwrap();
/// assert!(check_ciphertext(&commitment, &ciphertext).is_ok());
/// assert_eq!(open(&commitment, &key, &ciphertext).unwrap(), b"what I know");
/// ```
///
/// # Errors
/// [`PackageError::Size`].
pub fn encrypt(key: &PackageKey, content: &[u8]) -> Result<(Vec<u8>, Commitment), PackageError> {
    let mut encryptor = Encryptor::new(key, content.len())?;
    let mut ciphertext = Vec::with_capacity(encryptor.commitment.ciphertext_bytes());
    for chunk in content.chunks(PACKAGE_CHUNK_BYTES) {
        ciphertext.extend(encryptor.next(chunk)?);
    }
    Ok((ciphertext, encryptor.finish()?))
}

/// Whether these are the bytes that an offer names: what a buyer checks before it pays.
///
/// # Errors
/// [`PackageError::Length`] and [`PackageError::Ciphertext`].
pub fn check_ciphertext(commitment: &Commitment, ciphertext: &[u8]) -> Result<(), PackageError> {
    let (expected, got) = (commitment.ciphertext_bytes(), ciphertext.len());
    if got != expected || !commitment.is_sized() {
        return Err(PackageError::Length { expected, got });
    }
    let mut checker = Checker::new(*commitment);
    ciphertext.chunks(CHUNK_BYTES).try_for_each(|chunk| checker.next(chunk))?;
    checker.finish()
}

/// Decrypts a package whose bytes were checked ([`check_ciphertext`]).
///
/// # Errors
/// [`PackageError::Length`]; and what its seller is to blame for: [`PackageError::Key`], or the first [`PackageError::Chunk`] that
/// does not decrypt.
pub fn open(commitment: &Commitment, key: &PackageKey, ciphertext: &[u8]) -> Result<Vec<u8>, PackageError> {
    let (expected, got) = (commitment.ciphertext_bytes(), ciphertext.len());
    if got != expected {
        return Err(PackageError::Length { expected, got });
    }
    if key.commitment() != commitment.key {
        return Err(PackageError::Key);
    }
    let cipher = key.cipher();
    let mut content = Vec::with_capacity(commitment.content_bytes as usize);
    for (index, chunk) in (0..).zip(ciphertext.chunks(CHUNK_BYTES)) {
        content.extend(commitment.decrypt(&cipher, index, chunk)?);
    }
    Ok(content)
}

/// One chunk of a package whose bytes were checked, with what shows that it is; none where there is none with this number.
#[must_use]
pub fn prove(ciphertext: &[u8], index: u32) -> Option<ChunkProof> {
    let chunk = ciphertext.chunks(CHUNK_BYTES).nth(index as usize)?;
    Leaves::of(ciphertext).prove(index, chunk.to_vec())
}

/// The hashes of a package's chunks: with them, a chunk can be proved without the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaves(Vec<TreeHash>);

impl Leaves {
    /// Those of a whole ciphertext.
    #[must_use]
    pub fn of(ciphertext: &[u8]) -> Self {
        Self(ciphertext.chunks(CHUNK_BYTES).map(leaf).collect())
    }

    /// Reads what [`Leaves::to_bytes`] has written, and checks that it is of this package; none where it is not.
    #[must_use]
    pub fn from_bytes(package: &PackageHash, bytes: &[u8]) -> Option<Self> {
        let (hashes, []) = bytes.as_chunks::<32>() else { return None };
        let leaves: Vec<TreeHash> = hashes.iter().map(|hash| TreeHash::from_bytes(*hash)).collect();
        (root(&leaves)?.as_bytes() == package.as_bytes()).then_some(Self(leaves))
    }

    /// Their bytes, 32 of each.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|leaf| *leaf.as_bytes()).collect()
    }

    /// A chunk with what shows that it is the one with this number; none where it is not.
    #[must_use]
    pub fn prove(&self, index: u32, chunk: Vec<u8>) -> Option<ChunkProof> {
        if *self.0.get(index as usize)? != leaf(&chunk) {
            return None;
        }
        let mut path = Vec::with_capacity(PATH_HASHES);
        descend(&self.0, index as usize, &mut path);
        path.reverse();
        Some(ChunkProof { index, chunk: ByteBuf::from(chunk), path })
    }
}

// The tree has the shape of RFC 9162 §2.1: the left side is the largest power of two of chunks that leaves one for the right.

fn leaf(chunk: &[u8]) -> TreeHash {
    TreeHash::from_bytes(blake3::derive_key("lbm package leaf 1", chunk))
}

fn join(left: &TreeHash, right: &TreeHash) -> TreeHash {
    let mut hasher = blake3::Hasher::new_derive_key("lbm package node 1");
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    TreeHash::from_bytes(*hasher.finalize().as_bytes())
}

const fn left_of(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn root(leaves: &[TreeHash]) -> Option<TreeHash> {
    match leaves {
        [] => None,
        [leaf] => Some(*leaf),
        _ => {
            let (left, right) = leaves.split_at_checked(left_of(leaves.len()))?;
            Some(join(&root(left)?, &root(right)?))
        }
    }
}

/// Collects the hashes beside the way down to a leaf.
fn descend(leaves: &[TreeHash], index: usize, path: &mut Vec<TreeHash>) {
    if leaves.len() < 2 {
        return;
    }
    let Some((left, right)) = leaves.split_at_checked(left_of(leaves.len())) else { return };
    let (way, beside, index) =
        if index < left.len() { (left, right, index) } else { (right, left, index - left.len()) };
    path.extend(root(beside));
    descend(way, index, path);
}

/// The root above a leaf, by the hashes beside its way; none where they are too few, or there is no such leaf.
fn climb<'a>(leaf: TreeHash, index: u32, count: u32, way: &mut impl Iterator<Item = &'a TreeHash>) -> Option<TreeHash> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return Some(leaf);
    }
    let left = left_of(count as usize) as u32;
    if index < left {
        let below = climb(leaf, index, left, way)?;
        Some(join(&below, way.next()?))
    } else {
        let below = climb(leaf, index - left, count - left, way)?;
        Some(join(way.next()?, &below))
    }
}

#[cfg(test)]
mod tests;
