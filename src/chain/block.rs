//! Blocks, and the first half of what it takes to trust one: `Unverified -> Verified`.
//!
//! **Only [`Unverified::verify`] and [`Draft::sign`] make a [`Verified`] block**, and what is hashed, verified and kept are the
//! bytes as received. The other half, `Verified -> Linked`, is in [`super::link`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ids::{BlockId, GroupId};
use super::transaction::{FormError, Transaction};
use crate::cbor::{self, DecodeError};
use crate::identity::{BadSignature, Identity, SecretKey, Signed};
use crate::limits;

/// The version of the block format, the first element of each body.
pub const VERSION: u8 = 1;

/// What a block's signature covers besides its body.
pub const SIGNATURE_DOMAIN: &[u8] = b"lbm block 1";

/// What a block carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payload {
    /// Transactions that every member reads.
    Plain(Vec<Transaction>),
    /// Transactions under a group key: its epoch, and the ciphertext. No node of this version writes or accepts them.
    Sealed(u64, #[serde(with = "serde_bytes")] Vec<u8>),
}

/// What an author signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// The group; none in a genesis block, whose hash it is.
    pub group: Option<GroupId>,
    /// Who signs.
    pub author: Identity,
    /// Its place in the author's line, from 0.
    pub seq: u64,
    /// The author's block before it; none at 0.
    pub prev: Option<BlockId>,
    /// The other heads that the author saw, ascending.
    pub parents: Vec<BlockId>,
    /// 1 + the highest of `prev` and `parents`; 0 of a genesis block.
    pub height: u64,
    /// The author's clock, milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// What it carries.
    pub payload: Payload,
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, author, seq, prev, parents, height, time_ms, payload } = self;
        (VERSION, group, author, seq, prev, parents, height, time_ms, payload).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Fields = (u8, Option<GroupId>, Identity, u64, Option<BlockId>, Vec<BlockId>, u64, u64, Payload);
        let (version, group, author, seq, prev, parents, height, time_ms, payload): Fields =
            Deserialize::deserialize(deserializer)?;
        if version != VERSION {
            return Err(serde::de::Error::custom(format_args!("block version {version}; this node knows {VERSION}")));
        }
        Ok(Self { group, author, seq, prev, parents, height, time_ms, payload })
    }
}

impl Body {
    /// Its transactions; none where the payload is sealed.
    #[must_use]
    pub fn transactions(&self) -> &[Transaction] {
        match &self.payload {
            Payload::Plain(transactions) => transactions,
            Payload::Sealed(..) => &[],
        }
    }

    /// The blocks that it builds on: the one before it, and its parents.
    pub fn builds_on(&self) -> impl Iterator<Item = BlockId> {
        self.prev.into_iter().chain(self.parents.iter().copied())
    }

    fn check(&self) -> Result<(), Invalid> {
        let Payload::Plain(transactions) = &self.payload else { return Err(Invalid::Sealed) };
        if transactions.is_empty() || transactions.len() > limits::BLOCK_TRANSACTIONS {
            return Err(Invalid::Transactions(transactions.len()));
        }
        if self.parents.len() > limits::BLOCK_PARENTS || self.parents.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(Invalid::Parents);
        }
        let founds = matches!(transactions.first(), Some(Transaction::Genesis(_)));
        let is_first = self.group.is_none() && self.prev.is_none() && self.parents.is_empty();
        if founds != self.group.is_none() || (founds && !(is_first && self.seq == 0 && self.height == 0)) {
            return Err(Invalid::Genesis);
        }
        if transactions.iter().skip(1).any(|transaction| matches!(transaction, Transaction::Genesis(_))) {
            return Err(Invalid::Genesis);
        }
        if transactions.len() > 1 && transactions.iter().any(|transaction| matches!(transaction, Transaction::Seal(_)))
        {
            return Err(Invalid::SealInCompany);
        }
        if (self.seq == 0) != self.prev.is_none() || (!founds && self.height == 0) {
            return Err(Invalid::Line);
        }
        if self.prev.is_some_and(|prev| self.parents.contains(&prev)) {
            return Err(Invalid::Parents);
        }
        let orders = transactions.iter().filter_map(|transaction| match transaction {
            Transaction::Purchase(purchase) => Some(purchase.order.order()),
            _ => None,
        });
        if orders.into_iter().any(|order| Some(order.group) != self.group) {
            return Err(Invalid::Form(FormError::OrderGroup));
        }
        for transaction in transactions {
            if let (Transaction::MemberJoin(join), Some(group)) = (transaction, &self.group) {
                join.check(group).map_err(Invalid::Form)?;
            }
        }
        transactions.iter().try_for_each(Transaction::check).map_err(Invalid::Form)
    }
}

/// Why a block can never be accepted, whatever else is known: whoever sends it is at fault, but for [`Invalid::Future`],
/// [`Invalid::Version`] and [`Invalid::Sealed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Longer than a block may be.
    #[error("a block of {0} bytes; {max} are allowed", max = limits::BLOCK_BYTES)]
    TooLong(usize),
    /// Not a body in its one encoding.
    #[error("the block's body is {0}")]
    Decode(#[from] DecodeError),
    /// Of another group than the one it was sent for.
    #[error("the block belongs to another group")]
    Group,
    /// The signature does not hold.
    #[error("the block's signature does not match")]
    Signature(#[from] BadSignature),
    /// A count of transactions that is not allowed.
    #[error("a block of {0} transactions; 1 to {max} are allowed", max = limits::BLOCK_TRANSACTIONS)]
    Transactions(usize),
    /// Parents that are too many, unsorted, or not distinct.
    #[error("the block's parents are not sorted, not distinct, or more than {max}", max = limits::BLOCK_PARENTS)]
    Parents,
    /// A genesis that is not alone at the start, or a first block without one.
    #[error("only a group's first block founds it, and it has no group, no parent, and number and height 0")]
    Genesis,
    /// A seal beside other transactions.
    #[error("a seal stands in its block alone")]
    SealInCompany,
    /// Number, previous block and height that contradict one another.
    #[error("the block's number, previous block and height contradict one another")]
    Line,
    /// A transaction of a form that is never allowed.
    #[error("a transaction of the block is malformed: {0}")]
    Form(FormError),
    /// Dated further ahead of our clock than allowed. May be accepted later; our own clock may be wrong.
    #[error("the block is dated {ahead_ms} ms ahead of this machine's clock: check the clocks of both machines")]
    Future {
        /// How far ahead, milliseconds.
        ahead_ms: u64,
    },
    /// Of another version of the format: nobody's fault.
    #[error("the block is of format {0}, and this node knows {VERSION}: upgrade lbm on the older machine")]
    Version(u8),
    /// Its transactions are under a group key, which this version does not know.
    #[error("the block is encrypted under a group key, which needs a newer version of lbm")]
    Sealed,
}

/// What a block is judged against, besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Context {
    /// The group it was sent for.
    pub group: GroupId,
    /// Our clock, milliseconds since 1970 UTC.
    pub now_ms: u64,
    /// How far ahead of it a block may be dated, milliseconds.
    pub max_drift_ms: u64,
}

/// A block as it came: nothing about it is known. In CBOR `[body, signature]`, both byte strings.
pub type Unverified = Signed<Body>;

impl Signed<Body> {
    /// Checks everything that can be checked about a block alone.
    ///
    /// # Errors
    /// [`Invalid`] names the rule that is broken.
    pub fn verify(self, context: &Context) -> Result<Verified, Invalid> {
        if self.body.len() > limits::BLOCK_BYTES {
            return Err(Invalid::TooLong(self.body.len()));
        }
        if let Some(version) = self.other_version(VERSION) {
            return Err(Invalid::Version(version));
        }
        let body: Body = cbor::decode(&self.body, limits::BLOCK_BYTES)?;
        let id = BlockId::of(&self.body);
        if body.group.unwrap_or_else(|| GroupId::from(id)) != context.group {
            return Err(Invalid::Group);
        }
        body.check()?;
        let ahead_ms = body.time_ms.saturating_sub(context.now_ms);
        if ahead_ms > context.max_drift_ms {
            return Err(Invalid::Future { ahead_ms });
        }
        body.author.verify(SIGNATURE_DOMAIN, &self.body, &self.signature)?;
        Ok(Verified { id, body, bytes: self.body, signature: self.signature })
    }
}

/// A block whose form and signature hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    id: BlockId,
    body: Body,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl Verified {
    /// The hash of its body.
    #[must_use]
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// What was signed.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The body's bytes as signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// The block as it is sent.
    #[must_use]
    pub fn to_unverified(&self) -> Unverified {
        Signed::new(self.bytes.clone(), self.signature)
    }
}

/// A block of our own before it is signed. Its id does not depend on the signature, so a batch of them can be linked, folded
/// and signed side by side.
#[derive(Debug, Clone)]
pub struct Draft {
    id: BlockId,
    body: Body,
    bytes: Vec<u8>,
}

impl Draft {
    /// Encodes a body.
    ///
    /// # Errors
    /// [`Invalid`] where nobody would accept it.
    pub fn new(body: Body) -> Result<Self, Invalid> {
        body.check()?;
        let bytes = cbor::encode(&body);
        if bytes.len() > limits::BLOCK_BYTES {
            return Err(Invalid::TooLong(bytes.len()));
        }
        Ok(Self { id: BlockId::of(&bytes), body, bytes })
    }

    /// The id that the block will have.
    #[must_use]
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// What will be signed.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.body
    }

    /// The body's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Signs it. `key` is the author's: with another, no node would accept the block.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> Verified {
        debug_assert_eq!(key.identity(), self.body.author, "a block is signed by its author");
        let signature = key.sign(SIGNATURE_DOMAIN, &self.bytes);
        Verified { id: self.id, body: self.body, bytes: self.bytes, signature }
    }
}
