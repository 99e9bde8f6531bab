//! What nodes say to each other: the CBOR messages of `/lbm/sync/1`, as in `proto/sync.cddl`, and in [`market`] those of
//! `/lbm/market/1`, in [`node`] those of `/lbm/node/1`.
//!
//! Pure: bytes in, values out. **Nothing here is trusted**: blocks come out as [`Unverified`], objects as bytes whose hash is yet
//! to be taken, and every list is bounded before it is used.

pub mod market;
pub mod node;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor::{self, DecodeError, cbor_array};
use crate::chain::gone::Gone;
use crate::chain::{BlockId, Frontier, GroupId, ObjectAt, Tip, Unverified};
use crate::delegation;
use crate::delegation::knock::{Door, Knock};
use crate::identity::Identity;
use crate::limits;
use crate::presence;

cbor_array! {
    /// The tips of one author.
    pub struct AuthorTips {
        /// Whose.
        pub author: Identity,
        /// One, or the ends of the author's branches.
        pub tips: Vec<Tip>,
    }

    /// The end of one author's blocks.
    pub struct Reached {
        /// Whose.
        pub author: Identity,
        /// Where they end.
        pub tip: Tip,
    }

    /// Asks whether the frontiers of a group are equal.
    pub struct Probe {
        /// The group.
        pub group: GroupId,
        /// [`Frontier::digest`] of the asker.
        pub digest: ByteBuf,
    }

    /// Asks for the blocks that the asker lacks, and their objects.
    pub struct Pull {
        /// The group.
        pub group: GroupId,
        /// What the asker has.
        pub frontier: Vec<AuthorTips>,
    }

    /// Asks for blocks by id, each with a run of those before it in its author's line.
    pub struct WantBlocks {
        /// The group.
        pub group: GroupId,
        /// Which.
        pub ids: Vec<BlockId>,
    }

    /// Asks for objects by where they are named.
    pub struct WantObjects {
        /// The group.
        pub group: GroupId,
        /// Which.
        pub objects: Vec<ObjectAt>,
    }

    /// Sends blocks that are new here, and their objects.
    pub struct Push {
        /// The group.
        pub group: GroupId,
        /// The blocks, causes first.
        pub blocks: Vec<Unverified>,
        /// The objects that they name.
        pub objects: Vec<ByteBuf>,
    }

    /// Tells what is here, so that who lacks it can pull.
    pub struct Have {
        /// The group.
        pub group: GroupId,
        /// What is new here.
        pub tips: Vec<Reached>,
    }

    /// Sends what members say of themselves, as far as it may be new there.
    pub struct Presences {
        /// The group.
        pub group: GroupId,
        /// The records, ascending by member, each member's at most once.
        pub records: Vec<presence::Unverified>,
    }

    /// Shows for which members the sender replicates, in place of what it showed before.
    pub struct Acting {
        /// The group.
        pub group: GroupId,
        /// What each of them has signed.
        pub delegations: Vec<delegation::Unverified>,
    }

    /// Asks where the members are that the other is connected to.
    pub struct Peers {
        /// The group.
        pub group: GroupId,
    }

    /// Tells somebody whom a block of the group has named as a member that it is none.
    #[derive(Copy)]
    pub struct Parted {
        /// The group.
        pub group: GroupId,
        /// Why.
        pub why: Gone,
    }

    /// Where a member is, as far as the sender knows.
    pub struct Met {
        /// Who.
        pub peer: Identity,
        /// Where, as multiaddrs without `/p2p/`.
        pub addresses: Vec<String>,
    }

    /// Blocks and objects.
    pub struct Batch {
        /// The blocks, causes first.
        pub blocks: Vec<Unverified>,
        /// The objects that they name, where they are here.
        pub objects: Vec<ByteBuf>,
        /// All tips that the asker has, once it has stored these blocks, of the blocks' authors: where the next pull goes on.
        pub reached: Vec<Reached>,
        /// Whether there is more.
        pub more: bool,
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant's struct is documented")]
pub enum Request {
    Probe(Probe),
    Pull(Pull),
    WantBlocks(WantBlocks),
    WantObjects(WantObjects),
    Push(Push),
    Have(Have),
    Presences(Presences),
    Acting(Acting),
    Peers(Peers),
    Knock(Knock),
    Parted(Parted),
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To `pull`, `want_blocks` and `want_objects`.
    Batch(Batch),
    /// To `probe`: the frontiers are equal.
    Same,
    /// To `probe`: they are not.
    Differs,
    /// To `peers`.
    Peers(Vec<Met>),
    /// To `push`, `have`, `presences`, `acting`, `knock` and `parted`: taken. What was pushed is durable.
    Taken,
    /// To any: no.
    Refused(Refused),
}

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// The group is not here, or the asker is no member of it: which of the two is nobody's business.
    NotShared,
    /// Only to who was named as a member by a block of the group, which is here: why it is none now.
    Gone(Gone),
    /// Too much at once: ask again after so many milliseconds.
    Busy(u64),
    /// The request breaks a rule of the protocol.
    Malformed,
    /// The store failed; the asker is not at fault.
    Failed,
}

impl Request {
    /// The group that it is about; a knock says that only to who knows it.
    #[must_use]
    pub const fn group(&self) -> Option<GroupId> {
        match self {
            Self::Probe(Probe { group, .. })
            | Self::Pull(Pull { group, .. })
            | Self::WantBlocks(WantBlocks { group, .. })
            | Self::WantObjects(WantObjects { group, .. })
            | Self::Push(Push { group, .. })
            | Self::Have(Have { group, .. })
            | Self::Presences(Presences { group, .. })
            | Self::Acting(Acting { group, .. })
            | Self::Parted(Parted { group, .. })
            | Self::Peers(Peers { group }) => Some(*group),
            Self::Knock(_) => None,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none, or a list in it is too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let request = read(bytes, limits::REQUEST_BYTES)?;
        let (got, max) = match &request {
            Self::Probe(probe) => (probe.digest.len(), 32),
            Self::Pull(pull) => {
                let tips = pull.frontier.iter().map(|author| author.tips.len()).max().unwrap_or(0);
                bounded(tips, limits::TIPS_PER_AUTHOR)?;
                (pull.frontier.len(), limits::GROUP_MEMBERS)
            }
            Self::WantBlocks(want) => (want.ids.len(), limits::WANT_IDS),
            Self::WantObjects(want) => (want.objects.len(), limits::WANT_IDS),
            Self::Push(push) => {
                bounded(push.objects.len(), limits::BATCH_OBJECTS)?;
                (push.blocks.len(), limits::BATCH_BLOCKS)
            }
            Self::Have(have) => (have.tips.len(), limits::GROUP_MEMBERS),
            Self::Presences(presences) => (presences.records.len(), limits::PRESENCE_RECORDS),
            Self::Acting(acting) => (acting.delegations.len(), limits::DELEGATIONS),
            Self::Peers(_) | Self::Parted(_) => (0, 0),
            Self::Knock(knock) => (knock.sealed.len(), limits::KNOCK_BYTES),
        };
        bounded(got, max).map(|()| request)
    }
}

impl Response {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a response.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are none, or a list in it is too long.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let response = read(bytes, limits::MESSAGE_BYTES)?;
        match &response {
            Self::Batch(batch) => {
                bounded(batch.blocks.len().max(batch.reached.len()), limits::BATCH_BLOCKS)?;
                bounded(batch.objects.len(), limits::BATCH_OBJECTS)?;
            }
            Self::Peers(told) => {
                bounded(told.len(), limits::EXCHANGE_PEERS)?;
                for met in told {
                    bounded(met.addresses.len(), limits::ANNOUNCED_ADDRESSES)?;
                    met.addresses.iter().try_for_each(|text| bounded(text.len(), limits::ANNOUNCED_ADDRESS_BYTES))?;
                }
            }
            Self::Same | Self::Differs | Self::Taken | Self::Refused(_) => {}
        }
        Ok(response)
    }
}

/// Reads a message of a bounded number of items, so that its memory is in proportion to its bytes.
fn read<T: serde::de::DeserializeOwned>(bytes: &[u8], max_bytes: usize) -> Result<T, DecodeError> {
    if bytes.len() <= max_bytes {
        bounded(cbor::items(bytes), limits::MESSAGE_ITEMS)?;
    }
    cbor::decode_lenient(bytes, max_bytes)
}

fn bounded(got: usize, max: usize) -> Result<(), DecodeError> {
    if got > max { Err(DecodeError::TooLong { got, max }) } else { Ok(()) }
}

impl From<&Frontier> for Vec<AuthorTips> {
    /// Of an author with more branches than a message may name, those that end highest: what the others lead to is sent again.
    fn from(frontier: &Frontier) -> Self {
        let named = |tips: &[Tip]| tips.iter().rev().take(limits::TIPS_PER_AUTHOR).rev().cloned().collect();
        frontier.authors().map(|(author, tips)| AuthorTips { author: *author, tips: named(tips) }).collect()
    }
}

/// The message by which a node shows a peer for whom it acts in a group: in clear, or so that only who has the group can read it.
#[must_use]
pub fn shown(door: &Door, delegations: Vec<delegation::Unverified>, is_knock: bool) -> Request {
    if is_knock {
        return Request::Knock(Knock::new(door, &delegations));
    }
    Request::Acting(Acting { group: door.group, delegations })
}

/// The frontier that a pull names.
#[must_use]
pub fn frontier(tips: Vec<AuthorTips>) -> Frontier {
    Frontier::new(tips.into_iter().map(|AuthorTips { author, tips }| (author, tips)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_of_ours_is_read_however_many_branches_an_author_has() {
        let tips = (0..40).map(|n| Tip { seq: 7, id: BlockId::from_bytes([n; 32]) }).collect();
        let author = crate::identity::SecretKey::from_seed(&[1; 32]).identity();
        let ours = Frontier::new([(author, tips)]);
        let pull = Request::Pull(Pull { group: GroupId::from_bytes([2; 32]), frontier: (&ours).into() });
        assert_eq!(Request::decode(&pull.encode()), Ok(pull));
    }
}
