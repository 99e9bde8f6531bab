//! What can be written: the transactions, and the rules that each obeys by its form alone. One file per family.
//!
//! Whether a transaction is *allowed* is the ledger's to say, at its place in the order. What is refused here can never be
//! allowed anywhere, so a block that holds it is invalid and whoever sends it is at fault.

mod knowledge;
mod market;
mod membership;
mod task;
mod token;

use serde::{Deserialize, Serialize};

pub use self::knowledge::{CLAIM_BODY_BYTES, Claim, Experience, Retract};
pub use self::market::{
    Dispute, GRANT_BYTES, GRANT_INFO, Grant, ORDER_DOMAIN, ORDER_VERSION, OfferCreate, OfferRevoke, Offered, Order,
    Purchase, Refund, Royalty, Settle, Settlement, SignedOrder, Split,
};
pub use self::membership::{
    Genesis, Invite, InviteRevoke, MemberAdd, MemberJoin, MemberRemove, NotarySet, Role, RoleSet, Seal, Secret,
    TICKET_DOMAIN, Unfreeze,
};
pub use self::task::{TaskAssign, TaskCancel, TaskComplete, TaskCreate, TaskFail, TaskId, TaskRelease, TaskStart};
pub use self::token::{Mint, PolicyUpdate, Transfer, TreasuryPay};
use super::ids::ObjectHash;
use crate::identity::Identity;
use crate::limits;
use crate::unseen::is_unseen;

/// One act. In CBOR a map with one entry: the act's word and its array of fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant's struct is documented")]
pub enum Transaction {
    Genesis(Genesis),
    MemberAdd(MemberAdd),
    MemberRemove(MemberRemove),
    Invite(Invite),
    InviteRevoke(InviteRevoke),
    MemberJoin(MemberJoin),
    RoleSet(RoleSet),
    Seal(Seal),
    NotarySet(NotarySet),
    Unfreeze(Unfreeze),
    Claim(Claim),
    Retract(Retract),
    Experience(Experience),
    PolicyUpdate(PolicyUpdate),
    Mint(Mint),
    Transfer(Transfer),
    TreasuryPay(TreasuryPay),
    TaskCreate(TaskCreate),
    TaskAssign(TaskAssign),
    TaskStart(TaskStart),
    TaskComplete(TaskComplete),
    TaskFail(TaskFail),
    TaskRelease(TaskRelease),
    TaskCancel(TaskCancel),
    OfferCreate(OfferCreate),
    OfferRevoke(OfferRevoke),
    Purchase(Purchase),
    Grant(Grant),
    Settle(Settle),
    Refund(Refund),
    Dispute(Dispute),
}

/// A field of a transaction is not of the allowed form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Too long, or empty.
    #[error("{field} must have 1 to {max} bytes, and has {got}")]
    Length {
        /// Which field.
        field: &'static str,
        /// Bytes it has.
        got: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// A character that is not allowed there.
    #[error("{field} may only have the characters {allowed}")]
    Characters {
        /// Which field.
        field: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Too many of something.
    #[error("at most {max} {field} are allowed, and there are {got}")]
    Count {
        /// Of what.
        field: &'static str,
        /// How many there are.
        got: usize,
        /// How many there may be.
        max: usize,
    },
    /// A task that stands for a resource, and is not as all such are.
    #[error(
        "{0} stands for a reserved resource, whose task is made by reserving it (`reserve_resource`, `lbm ctl task reserve`) and never ends: \
         release it instead, or choose an id that does not begin with `resource:`"
    )]
    Resource(String),
    /// 32 bytes that are no public key.
    #[error("{0} is not a usable public key")]
    Key(Identity),
    /// A number outside its bounds.
    #[error("{field} must be {min} to {max}, and is {got}")]
    Range {
        /// Which field.
        field: &'static str,
        /// The number.
        got: u64,
        /// The least that is allowed.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A list that has to be ascending and distinct.
    #[error("{0} must be sorted, each once")]
    Unsorted(&'static str),
    /// A policy update without a change.
    #[error("no rule is named: a change of the policy needs at least one")]
    NoChange,
    /// A point of small order, to which nothing can be sealed.
    #[error("the order's one-time key is not usable: make another")]
    OneTimeKey,
    /// An order that its buyer has not signed.
    #[error("the order is not signed by {0}, who is to pay for it")]
    OrderSignature(Identity),
    /// An order of another group.
    #[error("the order is for another group")]
    OrderGroup,
    /// A proof that the ticket's secret half has not made for this identity and group.
    #[error("the ticket has not let {0} into this group: the proof does not hold")]
    TicketProof(Identity),
    /// The same tag twice.
    #[error("the tag {0:?} stands there twice")]
    TagTwice(String),
}

impl Transaction {
    /// Objects that the transaction names, with their lengths in bytes.
    #[must_use]
    pub const fn object(&self) -> Option<(ObjectHash, u32)> {
        match self {
            Self::Claim(Claim { object, size, .. }) | Self::Experience(Experience { object, size }) => {
                Some((*object, *size))
            }
            _ => None,
        }
    }

    /// The task that it is about.
    #[must_use]
    pub const fn task(&self) -> Option<&TaskId> {
        match self {
            Self::TaskCreate(TaskCreate { task, .. })
            | Self::TaskAssign(TaskAssign { task, .. })
            | Self::TaskStart(TaskStart { task, .. })
            | Self::TaskComplete(TaskComplete { task, .. })
            | Self::TaskFail(TaskFail { task, .. })
            | Self::TaskRelease(TaskRelease { task, .. })
            | Self::TaskCancel(TaskCancel { task }) => Some(task),
            _ => None,
        }
    }

    /// Whether it is about an offer or a purchase.
    #[must_use]
    pub const fn is_of_market(&self) -> bool {
        matches!(
            self,
            Self::OfferCreate(_)
                | Self::OfferRevoke(_)
                | Self::Purchase(_)
                | Self::Grant(_)
                | Self::Settle(_)
                | Self::Refund(_)
                | Self::Dispute(_)
        )
    }

    /// Who becomes a member by it, were it allowed.
    #[must_use]
    pub const fn names_member(&self) -> Option<Identity> {
        match self {
            Self::MemberAdd(add) => Some(add.identity),
            Self::MemberJoin(join) => Some(join.identity),
            _ => None,
        }
    }

    /// Whether somebody waits for it to be final: it moves value, decides who does what, or who may.
    #[must_use]
    pub const fn is_urgent(&self) -> bool {
        match self {
            Self::Mint(_)
            | Self::Transfer(_)
            | Self::TreasuryPay(_)
            | Self::PolicyUpdate(_)
            | Self::NotarySet(_)
            | Self::Unfreeze(_)
            | Self::MemberRemove(_)
            | Self::RoleSet(_)
            | Self::Invite(_)
            | Self::InviteRevoke(_)
            | Self::MemberJoin(_)
            | Self::TaskAssign(_)
            | Self::TaskComplete(_)
            | Self::OfferRevoke(_)
            | Self::Purchase(_)
            | Self::Grant(_)
            | Self::Settle(_)
            | Self::Refund(_)
            | Self::Dispute(_) => true,
            Self::TaskCreate(create) => create.reward > 0 || create.assignee.is_some(),
            _ => false,
        }
    }

    /// Whether it may change who is a member, and as what.
    #[must_use]
    pub const fn is_of_membership(&self) -> bool {
        matches!(
            self,
            Self::Genesis(_) | Self::MemberAdd(_) | Self::MemberRemove(_) | Self::RoleSet(_) | Self::MemberJoin(_)
        )
    }

    /// Checks what can be checked without a ledger.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        match self {
            Self::Genesis(genesis) => genesis.check(),
            Self::MemberAdd(MemberAdd { identity, .. }) => key(identity),
            Self::Invite(invite) => invite.check(),
            Self::MemberJoin(MemberJoin { identity, .. }) => key(identity),
            Self::Seal(Seal { epoch }) => amount("the seal's number", *epoch, 1, limits::EPOCH_MAX),
            Self::Claim(claim) => claim.check(),
            Self::Experience(experience) => size("experience", experience.size, limits::EXPERIENCE_BYTES),
            Self::PolicyUpdate(update) => update.check(),
            Self::Mint(Mint { to, amount })
            | Self::Transfer(Transfer { to, amount })
            | Self::TreasuryPay(TreasuryPay { to, amount }) => payment(to, *amount),
            Self::TaskCreate(create) => create.check(),
            Self::TaskAssign(TaskAssign { task, assignee, lease_ms }) => {
                task.check().and_then(|()| key(assignee)).and_then(|()| task::lease(*lease_ms))
            }
            Self::TaskStart(TaskStart { task, lease_ms, .. }) => task.check().and_then(|()| task::lease(*lease_ms)),
            Self::TaskFail(fail) => fail.check(),
            Self::TaskComplete(TaskComplete { task, .. }) | Self::TaskCancel(TaskCancel { task }) => {
                task.check().and_then(|()| task.ends())
            }
            Self::TaskRelease(TaskRelease { task, .. }) => task.check(),
            Self::OfferCreate(create) => create.check(),
            Self::Purchase(purchase) => purchase.order.check(),
            Self::Grant(grant) => grant.check(),
            Self::Dispute(dispute) => dispute.check(),
            Self::MemberRemove(_)
            | Self::RoleSet(_)
            | Self::InviteRevoke(_)
            | Self::NotarySet(_)
            | Self::Unfreeze(_)
            | Self::Retract(_)
            | Self::OfferRevoke(_)
            | Self::Settle(_)
            | Self::Refund(_) => Ok(()),
        }
    }
}

fn key(identity: &Identity) -> Result<(), FormError> {
    if identity.is_usable() { Ok(()) } else { Err(FormError::Key(*identity)) }
}

fn payment(to: &Identity, tokens: u64) -> Result<(), FormError> {
    amount("the amount", tokens, 1, limits::AMOUNT_MAX).and_then(|()| key(to))
}

/// Checks a number's bounds.
fn amount(field: &'static str, got: u64, min: u64, max: u64) -> Result<(), FormError> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(FormError::Range { field, got, min, max }) }
}

fn size(field: &'static str, got: u32, max: usize) -> Result<(), FormError> {
    let got = got as usize;
    if (1..=max).contains(&got) { Ok(()) } else { Err(FormError::Length { field, got, max }) }
}

/// Checks a short word: its length and its alphabet.
pub(crate) fn word(
    field: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    is_allowed: fn(char) -> bool,
) -> Result<(), FormError> {
    if text.is_empty() || text.len() > max {
        return Err(FormError::Length { field, got: text.len(), max });
    }
    if text.chars().all(is_allowed) { Ok(()) } else { Err(FormError::Characters { field, allowed }) }
}

/// Checks text for people: not empty, within its limit, and without control characters that could play tricks on a terminal.
pub(crate) fn text(field: &'static str, text: &str, max: usize) -> Result<(), FormError> {
    if text.trim().is_empty() || text.len() > max {
        return Err(FormError::Length { field, got: if text.len() > max { text.len() } else { 0 }, max });
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        return Err(FormError::Characters { field, allowed: "of printable text, line breaks and tabs" });
    }
    Ok(())
}

/// Checks text for people of any number of lines, with nothing in it that nobody sees.
pub(crate) fn lines(field: &'static str, words: &str, max: usize) -> Result<(), FormError> {
    text(field, words, max)?;
    let allowed = "of what can be seen: no marks of direction, no fillers";
    let is_hidden = |c: char| is_unseen(c) && !matches!(c, '\n' | '\t' | '\r');
    if words.chars().any(is_hidden) { Err(FormError::Characters { field, allowed }) } else { Ok(()) }
}

/// Checks text for people that is one line, with nothing in it that nobody sees.
pub(crate) fn line(field: &'static str, words: &str, max: usize) -> Result<(), FormError> {
    text(field, words, max)?;
    let allowed = "of one line that can be seen: no controls, no marks of direction, no fillers";
    if words.chars().any(is_unseen) { Err(FormError::Characters { field, allowed }) } else { Ok(()) }
}

/// Checks words to find something by: their number, form and order.
pub(crate) fn tags(tags: &[String]) -> Result<(), FormError> {
    if tags.len() > limits::TAGS {
        return Err(FormError::Count { field: "tags", got: tags.len(), max: limits::TAGS });
    }
    for tag in tags {
        line("a tag", tag, limits::TAG_BYTES)?;
        if tag.contains(',') || tag.trim() != tag {
            let allowed = "of one line, without a comma or a space around it";
            return Err(FormError::Characters { field: "a tag", allowed });
        }
    }
    match tags.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(FormError::TagTwice(pair[1].clone())),
        None => Ok(()),
    }
}
