//! What members sell one another: offers, and the life of a purchase.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_bytes::ByteBuf;

use super::{FormError, amount, key, line, tags, text};
use crate::cbor::{self, DecodeError, cbor_array};
use crate::chain::ids::{GroupId, OfferId, PurchaseId, TermsHash};
use crate::identity::{BadSeal, Identity, OneTimeKey, OneTimeSecret, SEALED_MORE_BYTES, SecretKey, Signed};
use crate::limits;
use crate::package::{CHUNK_BYTES, ChunkProof, Commitment, PATH_HASHES, PackageKey};

/// The version of the form of orders, the first element of each.
pub const ORDER_VERSION: u8 = 1;

/// What an order's signature covers besides its body.
pub const ORDER_DOMAIN: &[u8] = b"lbm order 1";

/// What the key of a package is sealed for.
pub const GRANT_INFO: &[u8] = b"lbm grant 1";

/// A sealed key, bytes.
pub const GRANT_BYTES: usize = 32 + SEALED_MORE_BYTES;

/// When a purchase is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// When it is final: it cannot be undone then, and the seller is never robbed.
    Sealed,
    /// At once: the seller bears the risk that the purchase is undone behind the grant.
    #[serde(rename = "instant")]
    AtOnce,
}

impl Settlement {
    /// Its word, as in CBOR, JSON and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::AtOnce => "instant",
        }
    }
}

impl std::fmt::Display for Settlement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

cbor_array! {
    /// A part of what an offer earns.
    #[derive(Copy)]
    pub struct Split {
        /// Whose.
        pub to: Identity,
        /// How much of it, basis points.
        pub bps: u64,
    }

    /// A part of what an offer earns, for the seller of another that it builds on.
    #[derive(Copy)]
    pub struct Royalty {
        /// On which.
        pub offer: OfferId,
        /// How much, basis points.
        pub bps: u64,
    }

    /// Offers a package. It stands until it is revoked or expires, and never changes.
    pub struct OfferCreate {
        /// One line.
        pub title: String,
        /// What it is, or none.
        pub description: Option<String>,
        /// Words to find it by, ascending and distinct.
        pub tags: Vec<String>,
        /// What a purchase costs, tokens.
        pub price: u64,
        /// Who earns it, ascending by identity, all of it in sum; none where the seller does.
        pub splits: Vec<Split>,
        /// What comes off before that, ascending by offer.
        pub royalties: Vec<Royalty>,
        /// Until when it can be bought, milliseconds since 1970 UTC.
        pub expires_ms: Option<u64>,
        /// When the seller grants.
        pub settle: Settlement,
        /// How long after a purchase is final the seller may take to grant it, milliseconds.
        pub grant_within_ms: u64,
        /// How long after the grant is final the buyer alone may settle, milliseconds.
        pub dispute_within_ms: u64,
        /// What is sold.
        pub package: Commitment,
    }

    /// Ends an offer. Purchases that are under way go on.
    #[derive(Copy)]
    pub struct OfferRevoke {
        /// Which.
        pub offer: OfferId,
    }

    /// All that a buyer needs to know who has never met the seller, and agrees to.
    pub struct Offered {
        /// The name of the group in which it is sold.
        pub group_name: String,
        /// The currency of that group.
        pub currency: String,
        /// The offer, as it stands in the group's chain.
        pub offer: OfferCreate,
    }

    /// What a buyer signs. Who knows nothing of the group has all of it from an announcement, and it is a purchase only where the group's
    /// ledger says the same.
    #[derive(Copy)]
    pub struct Order {
        /// [`ORDER_VERSION`].
        pub version: u8,
        /// In which group.
        pub group: GroupId,
        /// Who buys.
        pub buyer: Identity,
        /// What.
        pub offer: OfferId,
        /// Of whom.
        pub seller: Identity,
        /// What the buyer agrees to: package, price, times, title, each word.
        pub terms: TermsHash,
        /// What the buyer agrees to pay, so that it stands in what was signed.
        pub price: u64,
        /// The number of the buyer's account for its next purchase.
        pub nonce: u64,
        /// Until when the order holds, milliseconds since 1970 UTC.
        pub expires_ms: u64,
        /// The key that the grant is sealed to, of this order alone.
        pub key: OneTimeKey,
    }

    /// Buys: the price is set aside. Whoever may read the group may hand an order in.
    pub struct Purchase {
        /// What the buyer signed.
        pub order: SignedOrder,
    }

    /// Delivers the key of what was bought.
    pub struct Grant {
        /// For which purchase.
        pub purchase: PurchaseId,
        /// The package's key, sealed to the order's one-time key.
        pub sealed_key: ByteBuf,
    }

    /// Pays for a purchase that was granted.
    #[derive(Copy)]
    pub struct Settle {
        /// Which.
        pub purchase: PurchaseId,
    }

    /// Asks for the price of a purchase back that was not granted in time.
    #[derive(Copy)]
    pub struct Refund {
        /// Which.
        pub purchase: PurchaseId,
    }

    /// Says that a grant does not deliver, and shows it to everybody.
    pub struct Dispute {
        /// Of which purchase.
        pub purchase: PurchaseId,
        /// The one-time secret, with which every node opens the grant.
        pub secret: OneTimeSecret,
        /// Where the key is right: a chunk that does not decrypt with it.
        pub chunk: Option<ChunkProof>,
    }
}

impl OfferCreate {
    /// Checks each field's form.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        line("the title", &self.title, limits::TITLE_BYTES)?;
        if let Some(description) = &self.description {
            text("the description", description, limits::OFFER_DESCRIPTION_BYTES)?;
        }
        tags(&self.tags)?;
        amount("the price", self.price, 0, limits::AMOUNT_MAX)?;
        self.check_parts()?;
        let (grant, dispute) = (limits::OFFER_GRANT_MS, limits::OFFER_DISPUTE_MS);
        amount("the time to grant", self.grant_within_ms, *grant.start(), *grant.end())?;
        amount("the time to dispute", self.dispute_within_ms, *dispute.start(), *dispute.end())?;
        let bytes = u64::from(self.package.content_bytes);
        amount("the package's length", bytes, 1, limits::PACKAGE_BYTES as u64)
    }

    fn check_parts(&self) -> Result<(), FormError> {
        count("splits", self.splits.len(), limits::OFFER_SPLITS)?;
        count("royalties", self.royalties.len(), limits::OFFER_ROYALTIES)?;
        if self.splits.windows(2).any(|pair| pair[0].to >= pair[1].to) {
            return Err(FormError::Unsorted("the splits"));
        }
        if self.royalties.windows(2).any(|pair| pair[0].offer >= pair[1].offer) {
            return Err(FormError::Unsorted("the royalties"));
        }
        self.splits.iter().try_for_each(|split| key(&split.to))?;
        let whole = limits::WHOLE_BPS;
        let parts =
            || self.splits.iter().map(|split| split.bps).chain(self.royalties.iter().map(|royalty| royalty.bps));
        parts().try_for_each(|bps| amount("a split or royalty", bps, 1, whole))?;
        if !self.splits.is_empty() {
            amount("the sum of the splits", self.splits.iter().map(|split| split.bps).sum(), whole, whole)?;
        }
        amount("the sum of the royalties", self.royalties.iter().map(|royalty| royalty.bps).sum(), 0, whole)
    }
}

impl Offered {
    /// What an order of it agrees to.
    #[must_use]
    pub fn terms(&self) -> TermsHash {
        TermsHash::of(&cbor::encode(self))
    }
}

impl Order {
    /// Signs it. `key` is the buyer's: with another, no node would accept the order.
    #[must_use]
    pub fn sign(self, key: &SecretKey) -> SignedOrder {
        debug_assert_eq!(key.identity(), self.buyer, "an order is signed by its buyer");
        let body = cbor::encode(&self);
        let signature = key.sign(ORDER_DOMAIN, &body);
        SignedOrder { order: self, signed: Signed::new(body, signature) }
    }
}

/// An order with the buyer's signature, and the bytes that it covers as they came. In CBOR `[body, signature]`, both byte strings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOrder {
    order: Order,
    signed: Signed<Order>,
}

impl SignedOrder {
    /// What was signed. Whether the signature holds [`SignedOrder::check`] says; of a block's it does.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// The purchase that it is, however often it is written.
    #[must_use]
    pub fn id(&self) -> PurchaseId {
        PurchaseId::of(&self.signed.body)
    }

    /// Checks version, key and signature.
    ///
    /// # Errors
    /// [`FormError`] names the rule.
    pub fn check(&self) -> Result<(), FormError> {
        let Order { version, buyer, price, key, .. } = &self.order;
        amount("the order's version", u64::from(*version), u64::from(ORDER_VERSION), u64::from(ORDER_VERSION))?;
        amount("the price", *price, 0, limits::AMOUNT_MAX)?;
        if !key.is_usable() {
            return Err(FormError::OneTimeKey);
        }
        buyer
            .verify(ORDER_DOMAIN, &self.signed.body, &self.signed.signature)
            .map_err(|_| FormError::OrderSignature(*buyer))
    }

    /// Its bytes, for handing it to who may write it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::encode(self)
    }

    /// Reads an order that somebody handed over.
    ///
    /// # Errors
    /// [`DecodeError`]; [`SignedOrder::check`] has the rest.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::decode(bytes, limits::ORDER_BYTES + 128)
    }
}

impl Serialize for SignedOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.signed.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SignedOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let signed = Signed::<Order>::deserialize(deserializer)?;
        let order = cbor::decode(&signed.body, limits::ORDER_BYTES).map_err(serde::de::Error::custom)?;
        Ok(Self { order, signed })
    }
}

impl Grant {
    /// Seals a package's key to the one-time key of an order. `random` are 32 bytes of the system's random source, used once.
    ///
    /// # Errors
    /// [`BadSeal`] where the one-time key is not usable, which no order in a block has.
    pub fn seal(purchase: PurchaseId, to: &OneTimeKey, key: &PackageKey, random: &[u8; 32]) -> Result<Self, BadSeal> {
        let sealed = to.seal(random, GRANT_INFO, purchase.as_bytes(), key.as_bytes())?;
        Ok(Self { purchase, sealed_key: ByteBuf::from(sealed) })
    }

    /// The key that it delivers. Whether that is the package's, [`Commitment::open_chunk`] and [`crate::package::open`] say.
    ///
    /// # Errors
    /// [`BadSeal`] where it does not open with this secret.
    pub fn open(&self, secret: &OneTimeSecret) -> Result<PackageKey, BadSeal> {
        let key = secret.open(&self.sealed_key, GRANT_INFO, self.purchase.as_bytes())?;
        PackageKey::from_slice(&key).ok_or(BadSeal)
    }

    pub(super) fn check(&self) -> Result<(), FormError> {
        let got = self.sealed_key.len();
        if got == GRANT_BYTES {
            Ok(())
        } else {
            Err(FormError::Length { field: "a sealed key", got, max: GRANT_BYTES })
        }
    }
}

impl Dispute {
    pub(super) fn check(&self) -> Result<(), FormError> {
        let Some(ChunkProof { chunk, path, .. }) = &self.chunk else { return Ok(()) };
        if chunk.is_empty() || chunk.len() > CHUNK_BYTES {
            return Err(FormError::Length { field: "a chunk", got: chunk.len(), max: CHUNK_BYTES });
        }
        count("hashes beside a chunk's way", path.len(), PATH_HASHES)
    }
}

fn count(field: &'static str, got: usize, max: usize) -> Result<(), FormError> {
    if got <= max { Ok(()) } else { Err(FormError::Count { field, got, max }) }
}
