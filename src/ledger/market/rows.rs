//! The rows of offers and purchases, and the indexes that are kept with them.
//!
//! Table `State`, all below the letters `o i P V z`:
//!
//! | key | value |
//! |---|---|
//! | `o` ‖ offer (32) | [`OfferRow`]: what changes |
//! | `o` ‖ offer (32) ‖ 0 | [`OfferCreate`]: what does not |
//! | `i` `a` ‖ created, u64be ‖ offer | empty: an offer that is not revoked |
//! | `i` `t` ‖ tag ‖ 0 ‖ created, u64be ‖ offer | empty: the same, with this tag |
//! | `i` `s` ‖ seller (32) ‖ created, u64be ‖ offer | empty: an offer of the seller's, revoked or not |
//! | `P` ‖ purchase (32) | [`PurchaseRow`] |
//! | `V` `b` ‖ buyer (32) ‖ offer (32) | the purchase, which was not given back: the buyer has the package, or is to get it |
//! | `V` `h` ‖ buyer (32) ‖ nonce, u64be | the purchase |
//! | `V` `s` ‖ seller (32) ‖ paid, u64be ‖ purchase | empty: a purchase from the seller |
//! | `V` `o` ‖ buyer or seller (32) ‖ paid, u64be ‖ purchase | empty: it has not ended |
//! | `V` `d` ‖ due, u64be ‖ purchase | empty: from then on anybody may ask for the refund, or the settlement |
//! | `z` ‖ purchase | empty: the next seal decides something about it |
//!
//! **An index row is there exactly while the row that it is of says so**: they are written by `save` and `save_offer` and nowhere else.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor::cbor_array;
use crate::chain::transaction::OfferCreate;
use crate::chain::{BlockId, OfferId, PurchaseId};
use crate::identity::{Identity, OneTimeKey};
use crate::ledger::state::Scratch;
use crate::limits;

cbor_array! {
    /// What changes of an offer, and where it came from.
    pub struct OfferRow {
        /// Who sells.
        pub seller: Identity,
        /// When it was made, by the seller's clock, milliseconds since 1970 UTC.
        pub created_ms: u64,
        /// Who revoked it, if somebody did.
        pub revoked_by: Option<Identity>,
        /// Purchases of it that were settled.
        pub sold: u64,
        /// The block that it came in.
        pub block: BlockId,
        /// The block's number in the author's line.
        pub seq: u64,
        /// Its place in the block.
        pub index: u32,
    }

    /// What was agreed on by a purchase.
    #[derive(Copy)]
    pub struct Deal {
        /// What was bought.
        pub offer: OfferId,
        /// By whom.
        pub buyer: Identity,
        /// From whom.
        pub seller: Identity,
        /// For how many tokens, which are set aside until it ends.
        pub price: u64,
        /// How many of them the treasury gets, by the rules at the time of the purchase.
        pub fee: u64,
        /// The number that it had for the buyer's account.
        pub nonce: u64,
        /// The one-time key that the grant is sealed to.
        pub key: OneTimeKey,
        /// How long after the purchase is final it may be granted, milliseconds.
        pub grant_within_ms: u64,
        /// How long after the grant is final the buyer alone may settle, milliseconds.
        pub dispute_within_ms: u64,
        /// When it was paid, milliseconds since 1970 UTC.
        pub paid_ms: u64,
        /// The block that it came in.
        pub block: BlockId,
    }

    /// A purchase.
    pub struct PurchaseRow {
        /// What was agreed on.
        pub deal: Deal,
        /// How it stands.
        pub status: PurchaseStatus,
        /// Whether somebody has asked, since the last seal, for the refund (paid) or the settlement (granted).
        pub asked: bool,
        /// When it was final: the time of the seal that covers it, milliseconds since 1970 UTC.
        pub paid_final_ms: Option<u64>,
        /// The package's key, sealed.
        pub sealed_key: Option<ByteBuf>,
        /// When the grant was final: the time of the seal that covers it, milliseconds since 1970 UTC.
        pub granted_final_ms: Option<u64>,
        /// How it ended, and when.
        pub end: Option<(Ending, u64)>,
        /// The block that changed it last.
        pub changed_by: BlockId,
    }
}

/// How a purchase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PurchaseStatus {
    /// The price is set aside, and the seller is to grant.
    Paid,
    /// The buyer can open the package.
    Granted,
    /// The seller has been paid.
    Settled,
    /// The buyer has the price back.
    Refunded,
}

impl PurchaseStatus {
    /// Its word, as in JSON and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Paid => "paid",
            Self::Granted => "granted",
            Self::Settled => "settled",
            Self::Refunded => "refunded",
        }
    }

    /// Whether it changes no more.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Settled | Self::Refunded)
    }
}

impl std::fmt::Display for PurchaseStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// How a purchase ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The buyer has settled.
    Accepted,
    /// The buyer has said nothing in time.
    Unopposed,
    /// The buyer has disputed a grant that delivers.
    Unfounded,
    /// The seller did not grant in time.
    NotGranted,
    /// The grant does not open, or not to the package's key.
    BadKey,
    /// A chunk of the package does not decrypt with its key.
    BadChunk,
}

impl Ending {
    /// What the purchase comes to by it.
    #[must_use]
    pub const fn status(self) -> PurchaseStatus {
        match self {
            Self::Accepted | Self::Unopposed | Self::Unfounded => PurchaseStatus::Settled,
            Self::NotGranted | Self::BadKey | Self::BadChunk => PurchaseStatus::Refunded,
        }
    }

    /// Its word, as in JSON and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unopposed => "unopposed",
            Self::Unfounded => "unfounded",
            Self::NotGranted => "not_granted",
            Self::BadKey => "bad_key",
            Self::BadChunk => "bad_chunk",
        }
    }
}

impl PurchaseRow {
    /// Until when the seller may grant, milliseconds since 1970 UTC; none before the purchase is final, and behind the grant.
    #[must_use]
    pub fn grant_until_ms(&self) -> Option<u64> {
        let waits = self.status == PurchaseStatus::Paid;
        self.paid_final_ms.filter(|_| waits).map(|paid| paid.saturating_add(self.deal.grant_within_ms))
    }

    /// From when on anybody may ask for the refund of what is not granted, or the settlement of what is; none before that is final.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        match self.status {
            PurchaseStatus::Paid => self.grant_until_ms().map(|until| until.saturating_add(limits::REFUND_MARGIN_MS)),
            PurchaseStatus::Granted => self.granted_final_ms.map(|at| at.saturating_add(self.deal.dispute_within_ms)),
            PurchaseStatus::Settled | PurchaseStatus::Refunded => None,
        }
    }

    /// Whether the next seal decides something about it.
    #[must_use]
    pub const fn waits_for_seal(&self) -> bool {
        match self.status {
            PurchaseStatus::Paid => self.asked || self.paid_final_ms.is_none(),
            PurchaseStatus::Granted => self.asked || self.paid_final_ms.is_none() || self.granted_final_ms.is_none(),
            PurchaseStatus::Settled | PurchaseStatus::Refunded => false,
        }
    }

    /// The tokens that are set aside for it now.
    #[must_use]
    pub const fn locked(&self) -> u64 {
        if self.status.is_ended() { 0 } else { self.deal.price }
    }

    /// The rows that the indexes must have of it, with their values.
    pub(super) fn index_rows(&self, id: &PurchaseId) -> Vec<(Vec<u8>, Option<PurchaseId>)> {
        let Deal { buyer, seller, offer, nonce, paid_ms, .. } = &self.deal;
        let (seller, paid) = (seller.as_bytes().as_slice(), paid_ms.to_be_bytes());
        let mut rows =
            vec![(nonce_key(buyer, *nonce), Some(*id)), (keyed(b"Vs", &[seller, &paid, id.as_bytes()]), None)];
        if self.status != PurchaseStatus::Refunded {
            rows.push((bought_key(buyer, offer), Some(*id)));
        }
        if !self.status.is_ended() {
            let sides = [buyer.as_bytes().as_slice(), seller];
            rows.extend(sides.map(|side| (keyed(b"Vo", &[side, &paid, id.as_bytes()]), None)));
        }
        if let Some(due) = self.due_ms().filter(|_| !self.asked) {
            rows.push((keyed(b"Vd", &[&due.to_be_bytes(), id.as_bytes()]), None));
        }
        if self.waits_for_seal() {
            rows.push((keyed(WAITING, &[id.as_bytes()]), None));
        }
        rows
    }
}

impl OfferRow {
    /// The keys that the indexes must have of it.
    pub(super) fn index_rows(&self, id: &OfferId, terms: &OfferCreate) -> Vec<Vec<u8>> {
        let (created, id) = (self.created_ms.to_be_bytes(), id.as_bytes());
        let mut rows = vec![keyed(b"is", &[self.seller.as_bytes(), &created, id])];
        if self.revoked_by.is_none() {
            rows.push(keyed(b"ia", &[&created, id]));
            rows.extend(terms.tags.iter().map(|tag| keyed(b"it", &[tag.as_bytes(), &[0], &created, id])));
        }
        rows
    }
}

/// What the keys of all purchases begin with about which the next seal decides something.
pub(super) const WAITING: &[u8] = b"z";

/// Sets a purchase's row, and the rows that the indexes have of it.
pub(super) fn save(scratch: &mut Scratch<'_, '_>, id: &PurchaseId, before: Option<&PurchaseRow>, after: &PurchaseRow) {
    let (old, new) = (before.map(|row| row.index_rows(id)).unwrap_or_default(), after.index_rows(id));
    for (key, _) in old.iter().filter(|row| !new.contains(row)) {
        scratch.remove(key.clone());
    }
    for (key, value) in new.into_iter().filter(|row| !old.contains(row)) {
        match value {
            Some(value) => scratch.put(key, &value),
            None => scratch.mark(key),
        }
    }
    scratch.put(purchase_key(id), after);
}

/// Sets an offer's row, and the rows that the indexes have of it.
pub(super) fn save_offer(
    scratch: &mut Scratch<'_, '_>,
    id: &OfferId,
    terms: &OfferCreate,
    before: Option<&OfferRow>,
    after: &OfferRow,
) {
    let (old, new) = (before.map(|row| row.index_rows(id, terms)).unwrap_or_default(), after.index_rows(id, terms));
    for key in old.iter().filter(|key| !new.contains(key)) {
        scratch.remove(key.clone());
    }
    for key in new.into_iter().filter(|key| !old.contains(key)) {
        scratch.mark(key);
    }
    scratch.put(offer_key(id), after);
}

/// A prefix, and the parts behind it.
pub(super) fn keyed(prefix: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// Key of an offer's row.
#[must_use]
pub fn offer_key(id: &OfferId) -> Vec<u8> {
    keyed(b"o", &[id.as_bytes()])
}

/// Key of what does not change of an offer.
#[must_use]
pub fn terms_key(id: &OfferId) -> Vec<u8> {
    keyed(b"o", &[id.as_bytes(), &[0]])
}

/// Key of a purchase's row.
#[must_use]
pub fn purchase_key(id: &PurchaseId) -> Vec<u8> {
    keyed(b"P", &[id.as_bytes()])
}

/// Key of the fact that a buyer has bought of an offer, and not been given the price back.
#[must_use]
pub fn bought_key(buyer: &Identity, offer: &OfferId) -> Vec<u8> {
    keyed(b"Vb", &[buyer.as_bytes(), offer.as_bytes()])
}

/// Key of a buyer's purchase by its number.
#[must_use]
pub fn nonce_key(buyer: &Identity, nonce: u64) -> Vec<u8> {
    keyed(b"Vh", &[buyer.as_bytes(), &nonce.to_be_bytes()])
}

/// The id in the last 32 bytes of an index's key.
pub(super) fn last_id(key: &[u8]) -> Option<[u8; 32]> {
    key.last_chunk().copied()
}
