//! Why a transaction of the market is not allowed at its place in the order.

use serde::{Deserialize, Serialize};

use super::rows::PurchaseStatus;
use crate::chain::{OfferId, PurchaseId};
use crate::identity::Identity;

/// Why a transaction of the market is not allowed. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum MarketRefusal {
    /// There is no such offer.
    #[error("there is no offer {0} in the group: `lbm ctl offer list` shows which there are")]
    NoSuchOffer(OfferId),
    /// It was revoked.
    #[error("the offer {0} was revoked: look for another with `lbm ctl offer list`")]
    OfferRevoked(OfferId),
    /// It has expired.
    #[error(
        "the offer {0} has expired: look for another with `lbm ctl offer list`, or ask its seller to offer it again"
    )]
    OfferExpired(OfferId),
    /// Only its seller or an admin may end it.
    #[error("the offer {0} is not yours to revoke: ask {1}, who made it, or an admin")]
    NotYourOffer(OfferId, Identity),
    /// A seller buys nothing from itself.
    #[error("the offer {0} is the buyer's own: there is nothing to buy")]
    OwnOffer(OfferId),
    /// Who would have to grant cannot.
    #[error("{1}, who sells the offer {0}, is no member any more and could not deliver: look for another offer")]
    SellerGone(OfferId, Identity),
    /// The buyer agrees to another price.
    #[error("the offer {offer} costs {price}, and the order agrees to {agreed}: look at it again, and order anew")]
    Price {
        /// Which.
        offer: OfferId,
        /// What it costs.
        price: u64,
        /// What the order says.
        agreed: u64,
    },
    /// The buyer was told of another seller.
    #[error(
        "the offer {offer} is {seller}'s, and the order is for one of {ordered}: whoever announced that has not told the truth. Buy it with `--seller {seller}`"
    )]
    OtherSeller {
        /// Which.
        offer: OfferId,
        /// Whose it is.
        seller: Identity,
        /// Whom the order names.
        ordered: Identity,
    },
    /// The buyer was told something else of it.
    #[error(
        "the order for {0} agrees to other terms than the offer has in the group: whoever announced those has not told the truth; look at it again, and order anew"
    )]
    OtherTerms(OfferId),
    /// The order has another number than the buyer's next purchase.
    #[error(
        "the order has the number {got}, and the next purchase of {buyer} has {expected}: wait for its other purchases, and order anew"
    )]
    Nonce {
        /// Whose.
        buyer: Identity,
        /// What the next one has.
        expected: u64,
        /// What the order has.
        got: u64,
    },
    /// The order has expired.
    #[error("the order held until {0} ms since 1970 UTC and was not written in time: order anew")]
    OrderExpired(u64),
    /// The very order is a purchase already.
    #[error("the order is the purchase {0} already: nothing is paid twice, and there is nothing to do")]
    AlreadyPlaced(PurchaseId),
    /// The buyer has it, or is to get it.
    #[error("the buyer has bought the offer {0} already (purchase {1}): open it with `lbm ctl library show`")]
    AlreadyBought(OfferId, PurchaseId),
    /// There is no such purchase.
    #[error("there is no purchase {0} in the group: `lbm ctl offer purchases` shows which there are")]
    NoSuchPurchase(PurchaseId),
    /// Only the seller grants.
    #[error("the purchase {0} is not yours to grant: only {1}, who sells, can")]
    NotTheSeller(PurchaseId, Identity),
    /// It was granted.
    #[error("the purchase {0} is granted already: the buyer settles it, or disputes a grant that does not deliver")]
    AlreadyGranted(PurchaseId),
    /// It was not granted.
    #[error("the purchase {0} is not granted: wait for its seller; what is not granted in time is given back")]
    NotGranted(PurchaseId),
    /// No seal covers it.
    #[error("the purchase {0} is not final as far as this goes: wait for the next seal")]
    NotFinal(PurchaseId),
    /// The time to grant is over.
    #[error("the purchase {purchase} could be granted until {until_ms} ms since 1970 UTC: it will be given back")]
    GrantLate {
        /// Which.
        purchase: PurchaseId,
        /// Until when.
        until_ms: u64,
    },
    /// The time of the other side is not over.
    #[error("this can be asked for the purchase {purchase} from {from_ms} ms since 1970 UTC on: wait until then")]
    TooEarly {
        /// Which.
        purchase: PurchaseId,
        /// From when on.
        from_ms: u64,
    },
    /// Somebody has asked for the same.
    #[error("this was asked for the purchase {0} already: it takes effect with the next seal")]
    AlreadyAsked(PurchaseId),
    /// It changes no more.
    #[error("the purchase {0} is {1} and cannot change any more: there is nothing to do")]
    Ended(PurchaseId, PurchaseStatus),
    /// Not the secret half of the order's key.
    #[error("this is not the one-time secret of the purchase {0}: only its buyer has it")]
    WrongSecret(PurchaseId),
}

impl MarketRefusal {
    /// A stable word for scripts: the `code` of the API's problems.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchOffer(_) => "no_such_offer",
            Self::OfferRevoked(_) => "offer_revoked",
            Self::OfferExpired(_) => "offer_expired",
            Self::NotYourOffer(..) => "not_your_offer",
            Self::OwnOffer(_) => "own_offer",
            Self::SellerGone(..) => "seller_gone",
            Self::Price { .. } => "price_differs",
            Self::OtherSeller { .. } => "seller_differs",
            Self::OtherTerms(_) => "terms_differ",
            Self::Nonce { .. } => "wrong_nonce",
            Self::OrderExpired(_) => "order_expired",
            Self::AlreadyPlaced(_) => "already_placed",
            Self::AlreadyBought(..) => "already_bought",
            Self::NoSuchPurchase(_) => "no_such_purchase",
            Self::NotTheSeller(..) => "not_the_seller",
            Self::AlreadyGranted(_) => "already_granted",
            Self::NotGranted(_) => "not_granted",
            Self::NotFinal(_) => "not_final",
            Self::GrantLate { .. } => "grant_too_late",
            Self::TooEarly { .. } => "too_early",
            Self::AlreadyAsked(_) => "already_asked",
            Self::Ended(..) => "purchase_ended",
            Self::WrongSecret(_) => "wrong_secret",
        }
    }
}
