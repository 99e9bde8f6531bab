//! What became of a block at its place in the order.

use serde::{Deserialize, Serialize};

use super::invite::TicketRefusal;
use super::market::MarketRefusal;
use super::task::TaskRefusal;
use super::token::TokenRefusal;
use crate::chain::{ClaimId, Role};
use crate::identity::Identity;

/// What became of a block: all of its transactions applied, or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its transactions are part of the state.
    Applied,
    /// None of them is: the first that is refused, by its index, and why.
    Refused(u32, Refusal),
}

impl Outcome {
    /// Whether it applied.
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        matches!(self, Self::Applied)
    }
}

/// Why a transaction is not allowed at its place in the order. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The author is no member.
    #[error("{0} is not a member of the group: ask an admin to add it (`lbm ctl group add-member`)")]
    NotAMember(Identity),
    /// The author is a viewer, who reads only.
    #[error("{0} is a viewer of the group and may not write: ask an admin for the role member")]
    Viewer(Identity),
    /// Only an admin may do this.
    #[error("{0} is not an admin of the group: only an admin may do this")]
    NotAnAdmin(Identity),
    /// The identity is a member already.
    #[error("{0} is already a member of the group: change its role with `lbm ctl group set-role`")]
    AlreadyAMember(Identity),
    /// There is no such member.
    #[error("{0} is not a member of the group: `lbm ctl group members` lists who is")]
    NoSuchMember(Identity),
    /// The group would be left without an admin.
    #[error("{0} is the last admin of the group and cannot leave it or become less: make somebody else an admin first")]
    LastAdmin(Identity),
    /// The member has this role already.
    #[error("{0} already has the role {role}", role = .1.word())]
    SameRole(Identity, Role),
    /// The group has as many members as it may have.
    #[error("the group has {max} members, and cannot have more", max = crate::limits::GROUP_MEMBERS)]
    GroupFull,
    /// The parent of a claim does not exist.
    #[error("there is no claim {0} to answer: check the parent's hash")]
    NoSuchParent(ClaimId),
    /// The claim to take back does not exist.
    #[error("there is no claim {0}: check the hash")]
    NoSuchClaim(ClaimId),
    /// The claim has been taken back.
    #[error("the claim {0} has already been retracted")]
    AlreadyRetracted(ClaimId),
    /// The claim is somebody else's.
    #[error("the claim {0} is not yours: only its author or an admin may retract it")]
    NotYourClaim(ClaimId),
    /// The claim to supersede is somebody else's.
    #[error(
        "the claim {0} is not yours: only its author or an admin may supersede it; answer it instead \
         (`lbm ctl claim publish --parent {0}`)"
    )]
    NotYoursToSupersede(ClaimId),
    /// It is about a task.
    #[error(transparent)]
    Task(TaskRefusal),
    /// It is about a ticket.
    #[error(transparent)]
    Ticket(TicketRefusal),
    /// It is about an offer or a purchase.
    #[error(transparent)]
    Market(MarketRefusal),
    /// The tokens do not move.
    #[error(transparent)]
    Token(TokenRefusal),
    /// The identity has signed two blocks with one number, and may not spend until an admin lifts it.
    #[error(
        "{0} has signed two different blocks with one number and may not spend: another admin may lift it \
         (`lbm ctl group unfreeze`)"
    )]
    Frozen(Identity),
    /// There is nothing to lift.
    #[error("{0} is not frozen: there is nothing to lift")]
    NotFrozen(Identity),
    /// A seal that does not count: of another than the notary, or not on the seal before it.
    #[error("the seal with number {0} does not count: only the notary seals, and only on the seal before")]
    NotTheSeal(u64),
    /// Only the notary hands the right to seal over.
    #[error("{author} is not the notary of the group: {notary} is, and only it can hand over")]
    NotTheNotary {
        /// Who tried.
        author: Identity,
        /// Who could.
        notary: Identity,
    },
    /// The notary hands over to an admin.
    #[error("{0} is not an admin, and only an admin can be the notary: make it one first (`lbm ctl group set-role`)")]
    NotaryNotAdmin(Identity),
    /// It is the notary already.
    #[error("{0} is the notary already")]
    SameNotary(Identity),
    /// The member seals, and the group would never be final again without it.
    #[error(
        "{0} is the group's notary, without whom nothing becomes final: let it hand over first \
         (`lbm ctl group set-notary`), and wait for the seal"
    )]
    IsNotary(Identity),
    /// This node does not know the rules of the transaction.
    #[error("this version of lbm does not know the rules of the transaction")]
    Unsupported,
    /// A group is founded once.
    #[error("the group is already founded")]
    AlreadyFounded,
    /// The author has signed another block with the same number, and that one counts.
    #[error(
        "{0} has signed two different blocks with one number; the other one counts: use one key on one machine only"
    )]
    Equivocation(Identity),
}

impl Refusal {
    /// A stable word for scripts: the `code` of the API's problems.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAMember(_) => "not_a_member",
            Self::Viewer(_) => "viewer_cannot_write",
            Self::NotAnAdmin(_) => "not_an_admin",
            Self::AlreadyAMember(_) => "already_a_member",
            Self::NoSuchMember(_) => "no_such_member",
            Self::LastAdmin(_) => "last_admin",
            Self::SameRole(..) => "same_role",
            Self::GroupFull => "group_full",
            Self::NoSuchParent(_) => "no_such_parent",
            Self::NoSuchClaim(_) => "no_such_claim",
            Self::AlreadyRetracted(_) => "already_retracted",
            Self::NotYourClaim(_) => "not_your_claim",
            Self::NotYoursToSupersede(_) => "not_yours_to_supersede",
            Self::Task(refusal) => refusal.code(),
            Self::Market(refusal) => refusal.code(),
            Self::Ticket(refusal) => refusal.code(),
            Self::Token(why) => why.code(),
            Self::Frozen(_) => "frozen",
            Self::NotFrozen(_) => "not_frozen",
            Self::NotTheSeal(_) => "not_the_seal",
            Self::NotTheNotary { .. } => "not_the_notary",
            Self::NotaryNotAdmin(_) => "notary_not_admin",
            Self::SameNotary(_) => "same_notary",
            Self::IsNotary(_) => "is_notary",
            Self::Unsupported => "unsupported",
            Self::AlreadyFounded => "already_founded",
            Self::Equivocation(_) => "equivocation",
        }
    }
}
