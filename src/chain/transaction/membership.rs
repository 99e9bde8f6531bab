//! Who is in a group, who decides what is final, and who may spend again.

use serde::{Deserialize, Serialize};

use super::{FormError, word};
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

    /// Fixes the order of everything in the block's past. It stands alone in its block.
    pub struct Seal {
        /// Its number: 1 more than that of the seal before it. The group's founding counts as number 0.
        pub epoch: u64,
    }

    /// Hands the right to seal over, from the next seal on.
    pub struct NotarySet {
        /// To which admin.
        pub identity: Identity,
    }

    /// Lets an identity spend again that was frozen because it has signed two blocks with one number.
    pub struct Unfreeze {
        /// Whom.
        pub identity: Identity,
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
