//! The one order of all blocks of a group.
//!
//! Blocks sort by `(epoch, height, id)`. A parent's height is lower than its child's, so causes come first; the id breaks
//! ties, so every node that has the same blocks has the same order, in whatever sequence they came.

use super::ids::BlockId;

/// The epoch of a group's founding block, which is final from the beginning.
pub const FOUNDING_EPOCH: u64 = 0;
/// The epoch of what no seal covers: behind all sealed ones.
pub const OPEN_EPOCH: u64 = u64::MAX;

/// A block's place in the order. Its bytes sort as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OrderKey {
    /// Number of the first seal that has the block in its past, or [`OPEN_EPOCH`].
    pub epoch: u64,
    /// The block's height.
    pub height: u64,
    /// The block.
    pub id: BlockId,
}

impl OrderKey {
    /// Length of its bytes.
    pub const BYTES: usize = 48;

    /// The place of a block that no seal covers.
    #[must_use]
    pub const fn open(height: u64, id: BlockId) -> Self {
        Self { epoch: OPEN_EPOCH, height, id }
    }

    /// Its place once the seal with this number covers it.
    #[must_use]
    pub const fn sealed(self, epoch: u64) -> Self {
        Self { epoch, ..self }
    }

    /// Big-endian, so that they sort as the keys do.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.height.to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    /// The reverse of [`OrderKey::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (epoch, rest) = bytes.split_first_chunk()?;
        let (height, id) = rest.split_first_chunk()?;
        Some(Self {
            epoch: u64::from_be_bytes(*epoch),
            height: u64::from_be_bytes(*height),
            id: BlockId::from_bytes(id.try_into().ok()?),
        })
    }
}
