//! What can be written: the transactions, and the rules that each obeys by its form alone.
//!
//! Whether a transaction is *allowed* is the ledger's to say, at its place in the order. What is refused here can never be
//! allowed anywhere, so a block that holds it is invalid and whoever sends it is at fault.

use serde::{Deserialize, Serialize};

use super::ids::{ClaimId, ObjectHash};
use crate::cbor::cbor_array;
use crate::identity::Identity;
use crate::limits;

/// What a member may do. Ordered by power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads and writes.
    Member,
    /// Also decides who is a member.
    Admin,
}

impl Role {
    /// Its word, as in CBOR, JSON and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Admin => "admin",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

cbor_array! {
    /// Founds a group. The author is its first admin and its notary.
    pub struct Genesis {
        /// What people call the group, of `[A-Za-z0-9:_-]`.
        pub name: String,
        /// The code of its currency, of `[A-Z0-9]`.
        pub currency: String,
        /// Random: no two groups are alike, and who does not know it cannot look the group up.
        pub discovery_secret: Secret,
    }

    /// Makes an identity a member.
    pub struct MemberAdd {
        /// Who.
        pub identity: Identity,
        /// As what.
        pub role: Role,
    }

    /// Ends a membership: another's by an admin, or one's own.
    pub struct MemberRemove {
        /// Whose.
        pub identity: Identity,
    }

    /// Changes what a member may do.
    pub struct RoleSet {
        /// Who.
        pub identity: Identity,
        /// What it may do from now on.
        pub role: Role,
    }

    /// Publishes a piece of knowledge. Its words are in an object, so that they can be dropped without touching the chain.
    pub struct Claim {
        /// The object: an encoded [`super::ClaimBody`].
        pub object: ObjectHash,
        /// Its length in bytes.
        pub size: u32,
        /// The claim that this one answers.
        pub parent: Option<ClaimId>,
    }

    /// Takes a claim back. It stays in the chain and leaves every answer.
    pub struct Retract {
        /// Which.
        pub claim: ClaimId,
    }

    /// Publishes the record of an agent's run.
    pub struct Experience {
        /// The object: bytes that the ledger does not read.
        pub object: ObjectHash,
        /// Its length in bytes.
        pub size: u32,
    }
}

/// 32 random bytes, not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(#[serde(with = "serde_bytes")] pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One act. In CBOR a map with one entry: the act's word and its array of fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "each variant's struct is documented")]
pub enum Transaction {
    Genesis(Genesis),
    MemberAdd(MemberAdd),
    MemberRemove(MemberRemove),
    RoleSet(RoleSet),
    Claim(Claim),
    Retract(Retract),
    Experience(Experience),
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
    /// 32 bytes that are no public key.
    #[error("{0} is not a usable public key")]
    Key(Identity),
    /// The same tag twice.
    #[error("the tag {0:?} stands there twice")]
    TagTwice(String),
}

impl Transaction {
    /// Objects that the transaction names, with their lengths in bytes.
    #[must_use]
    pub fn object(&self) -> Option<(ObjectHash, u32)> {
        match self {
            Self::Claim(Claim { object, size, .. }) | Self::Experience(Experience { object, size }) => {
                Some((*object, *size))
            }
            Self::Genesis(_) | Self::MemberAdd(_) | Self::MemberRemove(_) | Self::RoleSet(_) | Self::Retract(_) => None,
        }
    }

    /// Who becomes a member by it, were it allowed.
    #[must_use]
    pub fn names_member(&self) -> Option<Identity> {
        match self {
            Self::MemberAdd(add) => Some(add.identity),
            _ => None,
        }
    }

    /// Checks what can be checked without a ledger.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        match self {
            Self::Genesis(genesis) => genesis.check(),
            Self::MemberAdd(MemberAdd { identity, .. }) if !identity.is_usable() => Err(FormError::Key(*identity)),
            Self::Claim(claim) => size("claim object", claim.size, CLAIM_BODY_BYTES),
            Self::Experience(experience) => size("experience", experience.size, limits::EXPERIENCE_BYTES),
            Self::MemberAdd(_) | Self::MemberRemove(_) | Self::RoleSet(_) | Self::Retract(_) => Ok(()),
        }
    }
}

/// The most bytes that an encoded claim body can have.
pub const CLAIM_BODY_BYTES: usize =
    limits::CLAIM_TEXT_BYTES + limits::TITLE_BYTES + limits::TAGS * (limits::TAG_BYTES + 2) + 16;

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

impl Genesis {
    /// Checks name and currency.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
        word("the group's name", &self.name, limits::GROUP_NAME_BYTES, "A-Z a-z 0-9 : _ -", of_name)?;
        let of_code = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        word("the currency", &self.currency, limits::CURRENCY_BYTES, "A-Z 0-9", of_code)
    }
}
