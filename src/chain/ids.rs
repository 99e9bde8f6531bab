//! The names of things: 32-byte BLAKE3 hashes, each of its own type.

use crate::hash::hash_id;

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
    /// An offer: derived from the block and the place in it that made it, so that nobody chooses or reuses one.
    OfferId,
    "offer id"
);
hash_id!(
    /// A purchase: the BLAKE3 hash of its order's body, so that one order is one purchase, whoever writes it and how often.
    PurchaseId,
    "purchase id"
);
hash_id!(
    /// The terms of an offer: what an order agrees to, to the last word.
    TermsHash,
    "terms hash"
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
        Self(derived("lbm claim id 1", block, index))
    }
}

impl OfferId {
    /// The id of what the transaction at `index` of `block` offers.
    #[must_use]
    pub fn derive(block: BlockId, index: u32) -> Self {
        Self(derived("lbm offer id 1", block, index))
    }
}

impl PurchaseId {
    /// The id of an order's body.
    #[must_use]
    pub fn of(order: &[u8]) -> Self {
        Self(*blake3::hash(order).as_bytes())
    }
}

impl TermsHash {
    /// The hash of an announcement's `offered`, in its one encoding.
    #[must_use]
    pub fn of(offered: &[u8]) -> Self {
        Self(blake3::derive_key("lbm offer terms 1", offered))
    }
}

/// A hash of a place in the chain, for one purpose.
fn derived(purpose: &str, block: BlockId, index: u32) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&block.0);
    hasher.update(&index.to_be_bytes());
    *hasher.finalize().as_bytes()
}
