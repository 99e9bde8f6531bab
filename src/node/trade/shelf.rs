//! What a node keeps for itself of what it buys and sells.
//!
//! | key | value |
//! |---|---|
//! | `s` ‖ package (32) | [`Salt`]: with the seller's secret key it gives the package's |
//! | `l` ‖ group (32) ‖ identity (32) | [`Limit`] |
//! | `l` ‖ identity (32) | [`Limit`] in each group that has none of its own |
//! | `w` ‖ identity (32) ‖ group (32) ‖ offer (32) | [`Wish`]: a purchase above its limit |
//! | `o` ‖ identity (32) ‖ group (32) ‖ offer (32) | [`Outside`]: a purchase in a group that the buyer is no member of |
//! | `k` ‖ identity (32) ‖ group (32) ‖ offer (32) | [`Owned`]: what was bought, and opened once |
//! | `t` ‖ identity (32) | [`TokenHash`]: the bearer token of an agent |
//!
//! **None of them is a secret**: keys of packages and of purchases come from the key of who sells or buys ([`package_key`], [`one_time`]), and are
//! found again by it. So they are lost with it alone, and a password on it is one on them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteArray, ByteBuf};
use zeroize::Zeroizing;

use crate::announcement::Offered;
use crate::cbor::{self, cbor_array};
use crate::chain::{GroupId, OfferId, PurchaseId};
use crate::identity::{Identity, OneTimeSecret, SecretKey};
use crate::package::{Commitment, PackageHash, PackageKey};

cbor_array! {
    /// What a package's key is derived with: random, and public for all it matters.
    pub struct Salt {
        /// 32 bytes of the system's random source.
        pub salt: ByteArray<32>,
    }

    /// What an identity may spend in a group.
    #[derive(Copy)]
    pub struct Limit {
        /// Tokens in any 24 hours.
        pub per_day: u64,
    }

    /// The BLAKE3 hash of a bearer token: who has the token acts as the agent, and who has the hash does not.
    #[derive(Copy)]
    pub struct TokenHash {
        /// It.
        pub hash: ByteArray<32>,
    }

    /// A purchase that waits for a person, or has its word.
    pub struct Wish {
        /// Who sells.
        pub seller: Identity,
        /// What it is called.
        pub title: String,
        /// What it costs.
        pub price: u64,
        /// When it was asked for, milliseconds since 1970 UTC.
        pub asked_ms: u64,
        /// Whether a person has said yes.
        pub approved: bool,
    }

    /// A purchase in a group that the node is no member of, as far as members tell.
    pub struct Outside {
        /// Who sells, and was asked first.
        pub seller: Identity,
        /// What was announced.
        pub offered: Offered,
        /// The signed order: handed over again, it is the same purchase.
        pub order: ByteBuf,
        /// When it was signed, milliseconds since 1970 UTC.
        pub at_ms: u64,
        /// How it stands, in the ledger's word; none until a member has taken the order.
        pub state: Option<String>,
        /// When the state's time is over, milliseconds since 1970 UTC.
        pub until_ms: Option<u64>,
        /// The sealed key, once it is granted.
        pub sealed_key: Option<ByteBuf>,
    }

    /// What was bought, with all that opens it but the key and the bytes.
    pub struct Owned {
        /// By which purchase.
        pub purchase: PurchaseId,
        /// The number of the order, which its one-time key is derived with.
        pub nonce: u64,
        /// From whom.
        pub seller: Identity,
        /// The name of the group.
        pub group_name: String,
        /// What it is called.
        pub title: String,
        /// Its tags.
        pub tags: Vec<String>,
        /// For how many tokens.
        pub price: u64,
        /// When it was bought, milliseconds since 1970 UTC.
        pub bought_ms: u64,
        /// What was bought.
        pub package: Commitment,
        /// The sealed key.
        pub sealed_key: ByteBuf,
    }
}

/// A kind of row: its letter.
pub trait Shelved: Serialize + DeserializeOwned {
    /// What its keys begin with.
    const LETTER: u8;

    /// Its bytes.
    fn to_row(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads a row of ours; none where it is damaged.
    fn from_row(bytes: &[u8]) -> Option<Self> {
        cbor::decode_lenient(bytes, bytes.len()).ok()
    }
}

impl Shelved for Salt {
    const LETTER: u8 = b's';
}
impl Shelved for Limit {
    const LETTER: u8 = b'l';
}
impl Shelved for Wish {
    const LETTER: u8 = b'w';
}
impl Shelved for Outside {
    const LETTER: u8 = b'o';
}
impl Shelved for TokenHash {
    const LETTER: u8 = b't';
}
impl Shelved for Owned {
    const LETTER: u8 = b'k';
}

/// Key of a kind's row by what names it.
#[must_use]
pub fn key<T: Shelved>(parts: &[&[u8]]) -> Vec<u8> {
    std::iter::once(T::LETTER).chain(parts.iter().flat_map(|part| part.iter().copied())).collect()
}

/// Key of a kind's row of an offer, of one identity of this node.
#[must_use]
pub fn of_offer<T: Shelved>(whose: &Identity, group: &GroupId, offer: &OfferId) -> Vec<u8> {
    key::<T>(&[whose.as_bytes(), group.as_bytes(), offer.as_bytes()])
}

/// What the keys of all such rows of one identity begin with.
#[must_use]
pub fn all_of<T: Shelved>(whose: &Identity) -> Vec<u8> {
    key::<T>(&[whose.as_bytes()])
}

/// Key of an identity's limit in all groups that have none of their own.
#[must_use]
pub fn of_spender_everywhere(spender: &Identity) -> Vec<u8> {
    key::<Limit>(&[spender.as_bytes()])
}

/// Key of the salt of a package.
#[must_use]
pub fn of_package(package: &PackageHash) -> Vec<u8> {
    key::<Salt>(&[package.as_bytes()])
}

/// Key of an identity's limit in a group.
#[must_use]
pub fn of_spender(group: &GroupId, spender: &Identity) -> Vec<u8> {
    key::<Limit>(&[group.as_bytes(), spender.as_bytes()])
}

/// Whose row it is, where its key names an identity first.
#[must_use]
pub fn whose(key: &[u8]) -> Option<Identity> {
    key.get(1..33)?.try_into().ok().map(Identity::from_stored)
}

/// The group and the offer that a key of [`of_offer`] names.
#[must_use]
pub fn named(key: &[u8]) -> Option<(GroupId, OfferId)> {
    let (group, rest) = key.get(33..)?.split_first_chunk::<32>()?;
    let offer = rest.try_into().ok()?;
    Some((GroupId::from_bytes(*group), OfferId::from_bytes(offer)))
}

/// The key of a package that is sold by `seller`.
#[must_use]
pub fn package_key(seller: &SecretKey, salt: &Salt) -> PackageKey {
    PackageKey::from_bytes(*seller.derive("lbm package key 1", salt.salt.as_slice()))
}

/// The one-time secret of an order: two orders with one number for one offer have one, and one of them can be a purchase.
#[must_use]
pub fn one_time(buyer: &SecretKey, group: &GroupId, offer: &OfferId, nonce: u64) -> OneTimeSecret {
    let context = Zeroizing::new([group.as_bytes().as_slice(), offer.as_bytes(), &nonce.to_be_bytes()].concat());
    OneTimeSecret::from_bytes(*buyer.derive("lbm one-time key 1", &context))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::transaction::Grant;

    #[test]
    fn keys_are_found_again_by_the_node_that_made_them_and_by_no_other() {
        let (seller, buyer) = (SecretKey::from_seed(&[1; 32]), SecretKey::from_seed(&[2; 32]));
        let (salt, other) = (Salt { salt: ByteArray::new([3; 32]) }, Salt { salt: ByteArray::new([4; 32]) });
        let package_key_of = |key: &SecretKey, salt: &Salt| package_key(key, salt).commitment();
        assert_eq!(package_key_of(&seller, &salt), package_key_of(&seller, &Salt::from_row(&salt.to_row()).unwrap()));
        assert_ne!(package_key_of(&seller, &salt), package_key_of(&seller, &other));
        assert_ne!(package_key_of(&seller, &salt), package_key_of(&buyer, &salt));

        let (group, offer) = (GroupId::from_bytes([5; 32]), OfferId::from_bytes([6; 32]));
        let purchase = PurchaseId::from_bytes([7; 32]);
        let to = one_time(&buyer, &group, &offer, 8).key();
        let grant = Grant::seal(purchase, &to, &package_key(&seller, &salt), &[9; 32]).unwrap();
        assert_eq!(grant.open(&one_time(&buyer, &group, &offer, 8)).unwrap(), package_key(&seller, &salt));
        for wrong in [one_time(&buyer, &group, &offer, 9), one_time(&seller, &group, &offer, 8)] {
            assert!(grant.open(&wrong).is_err());
        }
        let key = of_offer::<Wish>(&buyer.identity(), &group, &offer);
        assert_eq!((key[0], named(&key)), (b'w', Some((group, offer))));
        assert!(key.starts_with(&all_of::<Wish>(&buyer.identity())));
        assert_eq!(named(&key[..96]), None);
    }
}
