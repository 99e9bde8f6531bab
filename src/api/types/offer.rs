//! Offers: what members sell one another, and what other nodes announce.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::block::Wrote;
use super::check::{self, FieldError};
pub use crate::chain::transaction::Settlement;
use crate::identity::Identity;
use crate::limits;

/// A part of what an offer earns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferSplit {
    /// Whose.
    pub to: Identity,
    /// How much of it, basis points.
    pub bps: u64,
}

/// A part of what an offer earns, for the seller of another one that it builds on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferRoyalty {
    /// On which: an offer's id, or in a request a unique prefix of it.
    pub offer_id: String,
    /// How much, basis points.
    pub bps: u64,
}

/// Body of `POST …/offers`: what is sold stands in `text` or in `content_base64`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOffer {
    /// One line, at most `limits::TITLE_BYTES`.
    pub title: String,
    /// What it is, at most `limits::OFFER_DESCRIPTION_BYTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Words to find it by, at most `limits::TAGS`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What it costs, tokens of the group.
    pub price: u64,
    /// Who earns it, 10,000 basis points in sum; the seller all of it where nobody is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub splits: Vec<OfferSplit>,
    /// What comes off before that, for offers that it builds on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub royalties: Vec<OfferRoyalty>,
    /// Until when it can be bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// When purchases are granted: `sealed`, when they are final, where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle: Option<Settlement>,
    /// How long after a purchase is final the seller may take; `limits::OFFER_DEFAULT_GRANT_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant_within_ms: Option<u64>,
    /// How long the buyer alone may settle; `limits::OFFER_DEFAULT_DISPUTE_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispute_within_ms: Option<u64>,
    /// What is sold, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What is sold, as bytes in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
}

impl NewOffer {
    /// Checks each field's bounds.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn check(&self) -> Result<(), FieldError> {
        check::line("title", &self.title, limits::TITLE_BYTES)?;
        if let Some(description) = &self.description {
            check::text("description", description, limits::OFFER_DESCRIPTION_BYTES)?;
        }
        check::tags(&self.tags)?;
        check::number("price", self.price, 0..=limits::AMOUNT_MAX)?;
        for (field, count, limit) in [
            ("splits", self.splits.len(), limits::OFFER_SPLITS),
            ("royalties", self.royalties.len(), limits::OFFER_ROYALTIES),
        ] {
            if count > limit {
                return Err(FieldError::TooMany { field, count, limit });
            }
        }
        let parts = self.splits.iter().map(|split| split.bps).chain(self.royalties.iter().map(|royalty| royalty.bps));
        for bps in parts {
            check::number("bps", bps, 1..=limits::WHOLE_BPS)?;
        }
        if !self.splits.is_empty() {
            let sum = self.splits.iter().map(|split| split.bps).sum();
            check::number("splits", sum, limits::WHOLE_BPS..=limits::WHOLE_BPS)?;
        }
        check::number("royalties", self.royalties.iter().map(|royalty| royalty.bps).sum(), 0..=limits::WHOLE_BPS)?;
        if let Some(span) = self.grant_within_ms {
            check::number("grant_within_ms", span, limits::OFFER_GRANT_MS)?;
        }
        if let Some(span) = self.dispute_within_ms {
            check::number("dispute_within_ms", span, limits::OFFER_DISPUTE_MS)?;
        }
        match (&self.text, &self.content_base64) {
            (Some(text), None) if text.is_empty() => Err(FieldError::Empty { field: "text" }),
            (Some(text), None) if text.len() > limits::PACKAGE_BYTES => {
                Err(FieldError::TooLong { field: "text", bytes: text.len(), limit_bytes: limits::PACKAGE_BYTES })
            }
            (None, Some(content)) if content.is_empty() => Err(FieldError::Empty { field: "content_base64" }),
            (Some(_), None) | (None, Some(_)) => Ok(()),
            (None, None) | (Some(_), Some(_)) => Err(FieldError::OneOf { first: "text", second: "content_base64" }),
        }
    }
}

/// Answer to a new offer: it is durable here, and announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfferCreated {
    /// The offer.
    pub offer_id: String,
    /// What is sold, encrypted: the name that it is fetched by.
    pub package_hash: String,
    /// The block that it is in.
    pub block_id: String,
}

impl Wrote for OfferCreated {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Answer to a revocation: it is durable here. Purchases that are under way go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfferRevoked {
    /// The group.
    pub group_id: String,
    /// The offer.
    pub offer_id: String,
    /// The block that says so.
    pub block_id: String,
}

impl Wrote for OfferRevoked {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}

/// Query of `GET /offers`: those that fit all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListOffers {
    /// Only of this group: its id, or a prefix or name of one that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only those that cost no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_price: Option<u64>,
    /// Only this seller's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller: Option<Identity>,
    /// Only this node's own, those that are over included, in place of `seller`.
    #[serde(default)]
    pub mine: bool,
    /// Rows of the page, at most `limits::PAGE_ROWS`; `limits::PAGE_DEFAULT_ROWS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListOffers {
    /// Checks the tag and the page's size.
    ///
    /// # Errors
    /// The first that breaks its bounds.
    pub fn check(&self) -> Result<(), FieldError> {
        self.tag.as_deref().map_or(Ok(()), |tag| check::line("tag", tag, limits::TAG_BYTES))?;
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// Where this node knows an offer from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferSource {
    /// The ledger of a group that is here: it is so.
    Ledger,
    /// What its seller announces: only members of the group can tell whether it is so.
    Announcement,
}

/// Whether an offer can be bought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferStatus {
    /// It can.
    Standing,
    /// Its time is over.
    Expired,
    /// Its seller or an admin has ended it.
    Revoked,
}

impl OfferStatus {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Standing => "standing",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Offer {
    /// Its id.
    pub offer_id: String,
    /// The group in whose tokens it is sold.
    pub group_id: String,
    /// The name of that group.
    pub group: String,
    /// The code of its currency.
    pub currency: String,
    /// Who sells: a peer id.
    pub seller: String,
    /// One line.
    pub title: String,
    /// What it is.
    pub description: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What it costs.
    pub price: u64,
    /// Who earns it, where that is not the seller alone.
    pub splits: Vec<OfferSplit>,
    /// What comes off before that.
    pub royalties: Vec<OfferRoyalty>,
    /// Until when it can be bought.
    pub expires_ms: Option<u64>,
    /// When purchases are granted.
    pub settle: Settlement,
    /// How long after a purchase is final the seller may take.
    pub grant_within_ms: u64,
    /// How long the buyer alone may settle.
    pub dispute_within_ms: u64,
    /// What is sold, encrypted.
    pub package_hash: String,
    /// Its length, bytes.
    pub content_bytes: u64,
    /// Whether it can be bought.
    pub status: OfferStatus,
    /// When it was made, or announced last, by the seller's clock.
    pub created_ms: u64,
    /// Purchases of it that were paid for; `null` where only its announcement is known.
    pub sold: Option<u64>,
    /// Whether this node sells it.
    pub mine: bool,
    /// Whether this node has bought it, or is about to.
    pub owned: bool,
    /// Where this node knows it from.
    pub source: OfferSource,
}

/// A page of offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OfferList {
    /// The offers: those of the groups that are here, then those that are announced of others. A page can have fewer than asked for
    /// and still not be the last.
    pub offers: Vec<Offer>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// Body of `POST /market/pull`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PullMarket {
    /// Only of this peer: a peer id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Identity>,
}

/// Answer to a pull: what is on its way shows as `offer_listed`, and in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarketPulled {
    /// Connected peers that are asked for what is for sale.
    pub peers: usize,
}
