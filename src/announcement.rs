//! Announcements: what a seller tells everybody of an offer, signed by it and kept outside the chain.
//!
//! Owns the record's form, signature and age order. Pure. **Only [`Opened::verify`] and [`Announcement::sign`] make a [`Verified`]
//! record**, and what is verified and passed on are the bytes as received. Of two records of one offer by one seller the newer one
//! counts, so that all nodes choose alike, and a record is worth nothing [`limits::ANNOUNCEMENT_LIFE_MS`] after its date: a seller
//! that is gone for so long sells nothing, and a withdrawal need not be remembered for longer to hold.
//!
//! An announcement is its seller's word. Whether the group's ledger has such an offer, only its members can tell; so records of one
//! offer by two signers stand side by side, and nobody can take another's offer off the market.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::cbor::{self, DecodeError};
pub use crate::chain::transaction::Offered;
use crate::chain::transaction::{FormError, word};
use crate::chain::{GroupId, OfferId};
use crate::identity::{BadSignature, Identity, SecretKey, Signed};
use crate::limits;

/// The version of the format, the first element of each record.
pub const VERSION: u8 = 1;

/// What a record's signature covers besides the record.
pub const SIGNATURE_DOMAIN: &[u8] = b"lbm announcement 1";

/// What a seller says of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It can be bought.
    Offered(Box<Offered>),
    /// It cannot be bought any more.
    Withdrawn,
}

/// What a seller signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The group in which it is sold.
    pub group: GroupId,
    /// The offer.
    pub offer: OfferId,
    /// Who sells, and signs.
    pub seller: Identity,
    /// The seller's clock, milliseconds since 1970 UTC.
    pub time_ms: u64,
    /// Where the seller says that it can be called: multiaddresses without `/p2p/`, the best first, at most
    /// [`limits::ANNOUNCED_ADDRESSES`]. Whoever calls there checks its key.
    pub addresses: Vec<String>,
    /// What of it.
    pub says: Says,
}

impl Serialize for Announcement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { group, offer, seller, time_ms, addresses, says } = self;
        (VERSION, group, offer, seller, time_ms, addresses, says).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Announcement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Fields = (u8, GroupId, OfferId, Identity, u64, Vec<String>, Says);
        let (version, group, offer, seller, time_ms, addresses, says): Fields = Deserialize::deserialize(deserializer)?;
        if version != VERSION {
            return Err(serde::de::Error::custom(format_args!(
                "announcement version {version}; this node knows {VERSION}"
            )));
        }
        Ok(Self { group, offer, seller, time_ms, addresses, says })
    }
}

impl Announcement {
    /// What is offered; none where it was withdrawn.
    #[must_use]
    pub const fn offered(&self) -> Option<&Offered> {
        match &self.says {
            Says::Offered(offered) => Some(offered),
            Says::Withdrawn => None,
        }
    }

    /// Until when it counts, milliseconds since 1970 UTC: the record's age bounds it, and the offer's own end.
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        let life_ms = self.time_ms.saturating_add(limits::ANNOUNCEMENT_LIFE_MS);
        self.offered()
            .and_then(|offered| offered.offer.expires_ms)
            .map_or(life_ms, |expires_ms| expires_ms.min(life_ms))
    }

    fn check(&self) -> Result<(), Invalid> {
        if !self.seller.is_usable() {
            return Err(FormError::Key(self.seller).into());
        }
        let (field, got, max) = ("addresses of a seller", self.addresses.len(), limits::ANNOUNCED_ADDRESSES);
        if got > max {
            return Err(FormError::Count { field, got, max }.into());
        }
        for address in &self.addresses {
            word("a seller's address", address, limits::ANNOUNCED_ADDRESS_BYTES, "printable ASCII", |c| {
                c.is_ascii_graphic()
            })?;
        }
        let Some(Offered { group_name, currency, offer }) = self.offered() else { return Ok(()) };
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
        word("the group's name", group_name, limits::GROUP_NAME_BYTES, "A-Z a-z 0-9 : _ -", of_name)?;
        let of_currency = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        word("the currency", currency, limits::CURRENCY_BYTES, "A-Z 0-9", of_currency)?;
        Ok(offer.check()?)
    }

    /// Signs it. `key` is the seller's: with another, no node would accept the record.
    ///
    /// # Errors
    /// [`Invalid`] where nobody would accept it.
    pub fn sign(self, key: &SecretKey) -> Result<Verified, Invalid> {
        debug_assert_eq!(key.identity(), self.seller, "an announcement is signed by its seller");
        self.check()?;
        let bytes = cbor::encode(&self);
        let signature = key.sign(SIGNATURE_DOMAIN, &bytes);
        Ok(Verified { announcement: self, bytes, signature })
    }
}

/// Why a record can never be accepted. Whoever sends it is at fault, but for [`Invalid::Version`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a record in its one encoding.
    #[error("the announcement is {0}")]
    Decode(#[from] DecodeError),
    /// Of another version of the format: nobody's fault.
    #[error("the announcement is of format {0}, and this node knows {VERSION}: upgrade lbm on the older machine")]
    Version(u8),
    /// A field breaks a rule.
    #[error("the announcement says what no offer can: {0}")]
    Form(#[from] FormError),
    /// The signature does not hold.
    #[error("the announcement's signature is not its seller's")]
    Signature(#[from] BadSignature),
}

/// A record as it came: nothing about it is known.
pub type Unverified = Signed<Announcement>;

impl Unverified {
    /// Its bytes, as gossip carries them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads what gossip has carried.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::decode(bytes, limits::ANNOUNCEMENT_BYTES + 80)
    }

    /// Reads the record and checks its form. The signature, which costs a hundred times as much, is left to [`Opened::verify`].
    ///
    /// # Errors
    /// [`Invalid`] names the rule that is broken.
    pub fn open(self) -> Result<Opened, Invalid> {
        if let Some(version) = self.other_version(VERSION) {
            return Err(Invalid::Version(version));
        }
        let announcement: Announcement = cbor::decode(&self.body, limits::ANNOUNCEMENT_BYTES)?;
        announcement.check()?;
        Ok(Opened(Verified { announcement, bytes: self.body, signature: self.signature }))
    }
}

/// A record whose form holds; who signed it is not known yet.
#[derive(Debug)]
pub struct Opened(Verified);

impl Opened {
    /// What it claims to say.
    #[must_use]
    pub const fn claimed(&self) -> &Announcement {
        &self.0.announcement
    }

    /// How it compares to one that is held, by age: the greater one counts, and equal ones are one.
    #[must_use]
    pub fn cmp_age(&self, held: &Verified) -> std::cmp::Ordering {
        self.0.cmp_age(held)
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`Invalid::Signature`].
    pub fn verify(self) -> Result<Verified, Invalid> {
        self.0.announcement.seller.verify(SIGNATURE_DOMAIN, &self.0.bytes, &self.0.signature)?;
        Ok(self.0)
    }
}

/// A record whose form and signature hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    announcement: Announcement,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl Verified {
    /// What was signed.
    #[must_use]
    pub const fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// The record's bytes as signed.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The record as it is sent.
    #[must_use]
    pub fn to_unverified(&self) -> Unverified {
        Unverified::new(self.bytes.clone(), self.signature)
    }

    /// How it compares to another of the same offer and seller: the later counts; of equally late ones the withdrawal, and then the
    /// one whose bytes are greater.
    #[must_use]
    pub fn cmp_age(&self, other: &Self) -> std::cmp::Ordering {
        self.age_order().cmp(&other.age_order())
    }

    fn age_order(&self) -> (u64, bool, &[u8]) {
        (self.announcement.time_ms, self.announcement.offered().is_none(), &self.bytes)
    }
}

#[cfg(test)]
mod tests;
