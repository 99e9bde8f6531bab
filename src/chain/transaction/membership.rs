//! Who is in a group, who decides what is final, and who may spend again.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::{FormError, amount, key, word};
use crate::cbor::cbor_array;
use crate::chain::ids::GroupId;
use crate::identity::{Identity, SecretKey};
use crate::limits;

/// What a proof covers besides group and identity.
pub const TICKET_DOMAIN: &[u8] = b"lbm ticket 1";

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

    /// Makes a ticket: who proves that it has the secret half is let in by any member, until the ticket is over.
    #[derive(Copy)]
    pub struct Invite {
        /// The public half of a key that serves this alone.
        pub ticket: Identity,
        /// As what it lets somebody in.
        pub role: Role,
        /// How many it lets in.
        pub uses: u32,
        /// From when on it lets nobody in, milliseconds since 1970 UTC.
        pub expires_ms: u64,
    }

    /// Ends a ticket. Who came in by it stays.
    #[derive(Copy)]
    pub struct InviteRevoke {
        /// Which.
        pub ticket: Identity,
    }

    /// Lets an identity in by a ticket.
    pub struct MemberJoin {
        /// By which.
        pub ticket: Identity,
        /// Whom.
        pub identity: Identity,
        /// The ticket's signature over group and identity: [`MemberJoin::prove`].
        pub proof: ByteArray<64>,
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

impl Invite {
    /// Checks the key and the number of uses. How long it may stand, the ledger says.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        amount("the ticket's uses", self.uses.into(), 1, limits::TICKET_USES.into())?;
        amount("the ticket's end", self.expires_ms, 1, limits::AMOUNT_MAX)?;
        key(&self.ticket)
    }
}

impl MemberJoin {
    /// The transaction that lets `identity` into `group`. `secret` is the ticket's.
    #[must_use]
    pub fn prove(secret: &SecretKey, group: &GroupId, identity: Identity) -> Self {
        let proof = ByteArray::new(secret.sign(TICKET_DOMAIN, &covered(group, &identity)));
        Self { ticket: secret.identity(), identity, proof }
    }

    /// Checks the proof, and that the identity is one.
    ///
    /// # Errors
    /// [`FormError`] names the rule.
    pub fn check(&self, group: &GroupId) -> Result<(), FormError> {
        key(&self.identity)?;
        let checked = self.ticket.verify(TICKET_DOMAIN, &covered(group, &self.identity), &self.proof);
        checked.map_err(|_| FormError::TicketProof(self.identity))
    }
}

fn covered(group: &GroupId, identity: &Identity) -> [u8; 64] {
    let mut bytes = [0; 64];
    let (first, second) = bytes.split_at_mut(32);
    first.copy_from_slice(group.as_bytes());
    second.copy_from_slice(identity.as_bytes());
    bytes
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
