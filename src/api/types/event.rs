//! What happens, as it happens: the daemon's events, and the progress of joining.
//!
//! Both come as server-sent events whose `data` is one of these types as JSON on one line.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{PolicyUpdate, PresenceStatus, Problem, PurchaseState, Role, TaskStatus};

/// Query of `GET /events`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListEvents {
    /// First those after this number that the daemon still holds (at most `limits::EVENT_BACKLOG`); 0 for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// Whether the stream goes on with new events, or ends with what is held.
    #[serde(default)]
    pub follow: bool,
}

/// Something that happened. What is kept, is durable before anyone hears of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number: each one higher than the one before, from 1 at the daemon's start.
    pub seq: u64,
    /// The daemon's clock.
    pub at_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened. On the wire `type` tells which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A claim is in the group's state, written here or received.
    ClaimPublished {
        /// The group.
        group_id: String,
        /// The claim.
        claim_hash: String,
        /// Who signed it.
        author: String,
    },
    /// A claim was taken back.
    ClaimRetracted {
        /// The group.
        group_id: String,
        /// The claim.
        claim_hash: String,
        /// Who took it back.
        author: String,
    },
    /// An experience is in the group's state.
    ExperienceSubmitted {
        /// The group.
        group_id: String,
        /// The record.
        experience_hash: String,
        /// Who signed it.
        author: String,
    },
    /// This node has a group: it created it, or its joining is done.
    GroupJoined {
        /// The group.
        group_id: String,
        /// Its name.
        name: String,
    },
    /// This node replicates a group no longer.
    GroupLeft {
        /// The group.
        group_id: String,
    },
    /// A member was added or removed, or its role changed.
    MemberChanged {
        /// The group.
        group_id: String,
        /// The member.
        member_id: String,
        /// Its role now; `null` where it is no member any more.
        role: Option<Role>,
    },
    /// Somebody was let in by a ticket, as what that says.
    MemberJoined {
        /// The group.
        group_id: String,
        /// The member.
        member_id: String,
    },
    /// Somebody without a ticket asks the admins of a group, one of whom is here, to be let in.
    JoinRequest {
        /// The group.
        group_id: String,
        /// Who asks.
        member_id: String,
        /// What it calls itself: nobody has checked that.
        name: String,
        /// What it says.
        note: Option<String>,
    },
    /// A member has let an identity of this node into a group, by its ticket.
    Admitted {
        /// The group.
        group_id: String,
        /// Which identity.
        member_id: String,
    },
    /// A peer says that a ticket of this node lets nobody in any more.
    TurnedAway {
        /// The group.
        group_id: String,
        /// Which identity it was to let in.
        member_id: String,
        /// Why: the code of a problem.
        code: String,
        /// Whether others are still asked: it was nobody whom the ticket names.
        goes_on: bool,
    },
    /// A task was created, or stands otherwise.
    TaskChanged {
        /// The group.
        group_id: String,
        /// The task's name in it.
        task_id: String,
        /// How it stands now.
        status: TaskStatus,
        /// Who has it, or had it when it ended.
        assignee: Option<String>,
        /// Which attempt counts.
        attempt: u32,
    },
    /// Tokens were made, given or paid: what the author of the block did. What follows by rule, as the reward of a claim, shows in
    /// the account's history.
    TokensMoved {
        /// The group.
        group_id: String,
        /// `mint`, `transfer` or `treasury_pay`.
        kind: String,
        /// Who did it: of a transfer, whose tokens they were.
        author: String,
        /// Who got them.
        to: String,
        /// How many.
        amount: u64,
        /// The block.
        block_id: String,
    },
    /// The rules of a group's tokens were changed.
    PolicyChanged {
        /// The group.
        group_id: String,
        /// Who changed them.
        author: String,
        /// What was set, by the rules' names.
        changed: PolicyUpdate,
        /// The block.
        block_id: String,
    },
    /// An offer is for sale that was not known here, of this node or another.
    OfferListed {
        /// The group in whose tokens it is sold.
        group_id: String,
        /// The offer.
        offer_id: String,
        /// Who sells.
        seller: String,
        /// What it is called.
        title: String,
        /// What it costs.
        price: u64,
    },
    /// Its seller sells an offer no more.
    OfferWithdrawn {
        /// The group in whose tokens it was sold.
        group_id: String,
        /// The offer.
        offer_id: String,
        /// Who sold it.
        seller: String,
    },
    /// A purchase or a sale of this node's stands otherwise.
    PurchaseChanged {
        /// The group.
        group_id: String,
        /// The purchase.
        purchase_id: String,
        /// What is bought.
        offer_id: String,
        /// Who buys.
        buyer: String,
        /// Who sells.
        seller: String,
        /// How it stands now.
        status: PurchaseState,
    },
    /// A member says of itself something else than before. A mere sign of life is no event.
    Presence {
        /// The group.
        group_id: String,
        /// The member.
        member_id: String,
        /// What it is up to.
        status: PresenceStatus,
        /// When it said so, by its own clock.
        updated_ms: u64,
    },
    /// The ledger refuses a block at its place in the order.
    BlockRejected {
        /// The group.
        group_id: String,
        /// The block.
        block_id: String,
        /// Who signed it.
        author: String,
        /// Why, as a sentence.
        reason: String,
    },
    /// A block that the ledger had refused applies, now that the order before it is another.
    BlockReinstated {
        /// The group.
        group_id: String,
        /// The block.
        block_id: String,
        /// Who signed it.
        author: String,
    },
    /// An author signed two blocks with one number.
    ForkDetected {
        /// The group.
        group_id: String,
        /// The author.
        author: String,
    },
    /// A seal counts: what it covers is final.
    Sealed {
        /// The group.
        group_id: String,
        /// Its number.
        epoch: u64,
    },
    /// A group's notary hands over, with the next seal.
    NotaryChanged {
        /// The group.
        group_id: String,
        /// To whom.
        notary: String,
    },
    /// An admin lets a member spend again that had signed two blocks with one number.
    Unfrozen {
        /// The group.
        group_id: String,
        /// Whom.
        member_id: String,
    },
    /// A peer has a block of this node that is not here: the data folder is an older copy, or another machine uses the key.
    /// Nothing of this node is written in the group until members have answered.
    OwnLineInDoubt {
        /// The group.
        group_id: String,
    },
    /// Members say that this node is no member of a group any more, though what is here says otherwise: it was removed while it was away, or
    /// its joining is refused. Nothing of this node is written in the group while that stands.
    MembershipRefused {
        /// The group.
        group_id: String,
        /// Why, as they say: a word of `shut_out.why`.
        why: String,
        /// Who says so: a peer id.
        by: String,
    },
    /// Members serve this node in a group again, and it writes.
    MembershipServed {
        /// The group.
        group_id: String,
    },
    /// This node knows its last block of a group again, and writes.
    OwnLineSettled {
        /// The group.
        group_id: String,
    },
    /// A first connection to a peer stands.
    PeerConnected {
        /// The peer.
        peer_id: String,
    },
    /// The last connection to a peer is gone.
    PeerDisconnected {
        /// The peer.
        peer_id: String,
    },
    /// Another machine uses this node's key: one of the two must stop, or both lose writes.
    OwnKeySeen {
        /// Where it answered.
        address: String,
    },
    /// A member's presence, or a block that a peer sent, is dated ahead of this node's clock, and was not taken: one of the two clocks is wrong.
    ClockAhead {
        /// The group.
        group_id: String,
        /// The member.
        member_id: String,
        /// How far, milliseconds.
        ahead_ms: u64,
    },
    /// A pull from a member is done.
    SyncFinished {
        /// The group.
        group_id: String,
        /// The member.
        peer_id: String,
        /// Blocks that came.
        blocks: u64,
    },
    /// A peer does not share a group with this node: it has not got it, or does not count this node as a member.
    NotShared {
        /// The group.
        group_id: String,
        /// The peer.
        peer_id: String,
    },
    /// The reader asked to go on after an event of another run of the daemon, or after one that there has not been: what happened between is
    /// not known. What is held follows; whatever else the reader keeps, it has to ask for again.
    Reset {
        /// Why, as a sentence.
        reason: String,
    },
    /// The reader was too slow, and the daemon dropped events for it.
    Missed {
        /// How many.
        count: u64,
    },
    /// A kind that this build does not know: the daemon is newer.
    #[serde(other)]
    Unrecognised,
}

impl EventKind {
    /// The group that it is about.
    #[must_use]
    pub const fn group_id(&self) -> Option<&String> {
        match self {
            Self::ClaimPublished { group_id, .. }
            | Self::ClaimRetracted { group_id, .. }
            | Self::ExperienceSubmitted { group_id, .. }
            | Self::GroupJoined { group_id, .. }
            | Self::GroupLeft { group_id }
            | Self::MemberChanged { group_id, .. }
            | Self::MemberJoined { group_id, .. }
            | Self::JoinRequest { group_id, .. }
            | Self::Admitted { group_id, .. }
            | Self::TurnedAway { group_id, .. }
            | Self::ClockAhead { group_id, .. }
            | Self::TaskChanged { group_id, .. }
            | Self::TokensMoved { group_id, .. }
            | Self::PolicyChanged { group_id, .. }
            | Self::OfferListed { group_id, .. }
            | Self::OfferWithdrawn { group_id, .. }
            | Self::PurchaseChanged { group_id, .. }
            | Self::Presence { group_id, .. }
            | Self::BlockRejected { group_id, .. }
            | Self::BlockReinstated { group_id, .. }
            | Self::ForkDetected { group_id, .. }
            | Self::Sealed { group_id, .. }
            | Self::NotaryChanged { group_id, .. }
            | Self::Unfrozen { group_id, .. }
            | Self::OwnLineInDoubt { group_id }
            | Self::OwnLineSettled { group_id }
            | Self::MembershipRefused { group_id, .. }
            | Self::MembershipServed { group_id }
            | Self::SyncFinished { group_id, .. }
            | Self::NotShared { group_id, .. } => Some(group_id),
            Self::PeerConnected { .. }
            | Self::PeerDisconnected { .. }
            | Self::OwnKeySeen { .. }
            | Self::Missed { .. }
            | Self::Reset { .. }
            | Self::Unrecognised => None,
        }
    }
}

/// How a joining goes. The stream ends after `joined`, `waiting` or `refused`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum JoinEvent {
    /// No member has answered yet.
    Looking {
        /// Peers that the node is connected to.
        peers: usize,
    },
    /// Blocks are coming.
    Progress {
        /// Blocks stored so far.
        blocks: u64,
        /// Blocks that the member has, as far as it is known.
        total_blocks: Option<u64>,
        /// Claims stored so far.
        claims: u64,
    },
    /// Caught up with a member: done.
    Joined {
        /// The group.
        group_id: String,
        /// Its name.
        name: String,
        /// This node's role in it.
        role: Option<Role>,
        /// Blocks stored.
        blocks: u64,
        /// Claims stored.
        claims: u64,
        /// How long it took.
        elapsed_ms: u64,
    },
    /// The time to follow is over; the node goes on by itself.
    Waiting {
        /// The group.
        group_id: String,
        /// Why it is not done, and what to do.
        problem: Problem,
    },
    /// The joining was given up.
    Refused {
        /// Why, and what to do.
        problem: Problem,
    },
    /// A kind that this build does not know: the daemon is newer.
    #[serde(other)]
    Unrecognised,
}
