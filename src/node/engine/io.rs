//! What goes into the engine and what comes out: tasks, their replies, and the news of a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_bytes::ByteBuf;

use super::OnceName;
use crate::chain::block::Invalid;
use crate::chain::gone::Gone;
use crate::chain::transaction::Genesis;
use crate::chain::{
    BlockId, ClaimId, GroupId, LinkError, ObjectAt, ObjectHash, Tip, Transaction, Unverified, Verified,
};
use crate::identity::Identity;
use crate::kv::{Changes, KvError, Read};
use crate::ledger::{Change, Refusal};
use crate::node::shut_out::ShutOut;

/// The groups of a node as one consistent view.
pub trait Groups {
    /// The rows of a group; none where the node does not keep it.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError>;

    /// A row that the node keeps for itself; none where it keeps none at all.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    fn local(&self, _key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(None)
    }
}

/// One thing to do.
#[derive(Debug)]
pub enum Task {
    /// Found a group.
    Found {
        /// Who founds it.
        author: Identity,
        /// Its name, currency and secret.
        genesis: Genesis,
    },
    /// Write transactions of one of the node's own identities: all of them or none, in as few blocks as the limits allow.
    Write {
        /// Where.
        group: GroupId,
        /// Who.
        author: Identity,
        /// What.
        transactions: Vec<Transaction>,
        /// The objects that they name.
        objects: Vec<Vec<u8>>,
    },
    /// The same, unless it was done before under this name: then what was written is told again.
    Once {
        /// The name.
        name: OnceName,
        /// Where.
        group: GroupId,
        /// Who.
        author: Identity,
        /// What.
        transactions: Vec<Transaction>,
        /// The objects that they name.
        objects: Vec<Vec<u8>>,
    },
    /// Take the doubt about our own line off a group.
    Settle {
        /// Where.
        group: GroupId,
        /// Our lines' authors and tips, as they were when enough was known: where they are others now, nothing is done. None where a
        /// person says that nobody else has a block of ours.
        as_of: Option<Vec<(Identity, Vec<Tip>)>>,
    },
    /// Note what members say of this node's membership: why it is over and who says so, or nothing.
    ShutOut {
        /// Where.
        group: GroupId,
        /// It.
        mark: Option<(Gone, Identity)>,
    },
    /// Make a seal, where the node's identities include the group's sealer and there is something to seal.
    Seal {
        /// Where.
        group: GroupId,
    },
    /// Take in what a peer sent.
    Ingest {
        /// Where.
        group: GroupId,
        /// Who sent it.
        peer: Identity,
        /// Blocks whose form and signature hold.
        blocks: Vec<Verified>,
        /// Objects, with their hashes.
        objects: Vec<(ObjectHash, Vec<u8>)>,
    },
}

/// What became of a task.
#[derive(Debug)]
pub enum Reply {
    /// A group was founded.
    Founded(GroupId),
    /// Transactions were written.
    Written(Written),
    /// Blocks were taken in.
    Ingested(Ingested),
}

/// What a write made.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Written {
    /// The blocks.
    pub blocks: Vec<BlockId>,
    /// For each claim and experience, in order, its id.
    pub claims: Vec<ClaimId>,
    /// The time of the last block, milliseconds since 1970 UTC.
    pub time_ms: u64,
}

impl Written {
    /// The last block's id in hexadecimal digits; empty where there was nothing to write.
    #[must_use]
    pub fn last_block(&self) -> String {
        self.blocks.last().map(ToString::to_string).unwrap_or_default()
    }
}

/// What taking in blocks came to.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ingested {
    /// Blocks that are now stored, with those that had waited for them.
    pub stored: usize,
    /// Blocks that were stored before.
    pub known: usize,
    /// Blocks that wait for others.
    pub waiting: usize,
    /// What the sender's blocks wait for, at most [`crate::limits::WANT_IDS`] ids.
    pub missing: Vec<BlockId>,
    /// Places where stored blocks lacked an object that has come now.
    pub objects: usize,
    /// Objects that stored blocks name and nobody has sent, at most [`crate::limits::WANT_IDS`]: others each time where there are more.
    pub wanted: Vec<ObjectAt>,
    /// What the sender should have seen itself.
    pub fault: Option<LinkError>,
}

/// Why a task was not done. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The ledger does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No node would accept it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The group is not here.
    #[error("the group {0} is not on this node: `lbm ctl group list` shows which are")]
    NoSuchGroup(GroupId),
    /// The group was joined and nothing of it has arrived yet.
    #[error("nothing of the group {0} has arrived yet: `lbm ctl peer list` shows who could send it")]
    NotHereYet(GroupId),
    /// Our own last block may be missing here.
    #[error(
        "nothing is written in the group {0} until a member has answered: this data folder is an older copy, and blocks of this \
         node may be missing here"
    )]
    InDoubt(GroupId),
    /// Members say that this node is none.
    #[error(
        "nothing is written in the group {group}: {by} says that this node is no member of it any more, since {meaning}",
        by = .said.by, meaning = .said.why.meaning()
    )]
    ShutOut {
        /// Where.
        group: GroupId,
        /// What they say.
        said: ShutOut,
    },
    /// The identity is not one of this node's.
    #[error("this node does not hold the key of {0}")]
    NoKey(Identity),
    /// More would leave an account within a day than its node's operator lets it.
    #[error(
        "{spender} may spend {per_day} tokens of this group in any 24 hours, has spent {spent}, and this takes {amount}: a person raises the \
         limit with `lbm ctl agent limit NAME --per-day TOKENS`, or of the node itself with `lbm ctl offer limit`; or wait"
    )]
    AboveLimit {
        /// Whose account.
        spender: Identity,
        /// What may leave it.
        per_day: u64,
        /// What has left it.
        spent: u64,
        /// What would.
        amount: u64,
    },
    /// Something else was written under the name.
    #[error("something else was written under this idempotency key: choose another key for another write")]
    OtherRequest,
    /// The store failed: nothing was written.
    #[error(transparent)]
    Store(#[from] KvError),
}

/// A block that has just become durable, with what a peer needs of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fresh {
    /// Who signed it.
    pub author: Identity,
    /// The block before it.
    pub prev: Option<BlockId>,
    /// The block's number and id.
    pub tip: Tip,
    /// The block.
    pub block: Unverified,
    /// The objects that it names, where they came with it.
    pub objects: Vec<ByteBuf>,
}

/// What changed in one group.
#[derive(Debug, Clone)]
pub struct News {
    /// The group.
    pub group: GroupId,
    /// New blocks, causes first, each with the peer that sent it; none of our own.
    pub blocks: Vec<(Option<Identity>, Arc<Fresh>)>,
    /// Blocks whose outcome is new or another.
    pub changes: Vec<Change>,
    /// The members, where they may have changed.
    pub members: Option<Vec<Identity>>,
    /// Then also who was named as one and is none, and why.
    pub former: BTreeMap<Identity, Gone>,
    /// What members say of this node's membership, where that changed.
    pub shut_out: Option<Option<ShutOut>>,
    /// Authors that have signed two blocks with one number.
    pub equivocators: Vec<Identity>,
    /// Whether our own line is in doubt, where that changed.
    pub in_doubt: Option<bool>,
    /// Whether there are new entries in the arrival order.
    pub has_arrivals: bool,
    /// What waits to be sealed by this node; none where another seals the group.
    pub to_seal: Option<ToSeal>,
    /// The number of the last seal, where it is a new one.
    pub sealed: Option<u64>,
}

/// What waits for a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToSeal {
    /// Blocks that no seal covers.
    pub blocks: u64,
    /// Whether somebody waits for it.
    pub urgent: bool,
}

/// What a batch comes to.
#[derive(Debug)]
pub struct Done<T> {
    /// Rows to commit, group by group. The groups that are new are among them.
    pub changes: Vec<(GroupId, Changes)>,
    /// What to answer after the commit.
    pub replies: Vec<(T, Result<Reply, Failure>)>,
    /// What to tell after the commit.
    pub news: Vec<News>,
}
