//! How a purchase stands, for whoever asks: from the ledger, from members of other groups, or from this node's own rows.

use crate::api::types::{NextStep, Purchase, PurchaseState, Side};
use crate::chain::transaction::Settlement;
use crate::chain::{GroupId, OfferId, PurchaseId};
use crate::identity::Identity;
use crate::ledger::market::{PurchaseRow, PurchaseStatus};
use crate::node::trade::deed::{self, Deed, Next};
use crate::node::trade::shelf::{Outside, Wish};

/// A purchase in a ledger that is here.
#[must_use]
pub fn of_row(
    group: GroupId,
    id: &PurchaseId,
    row: &PurchaseRow,
    (title, settle): (String, Settlement),
    me: &Identity,
    now_ms: u64,
) -> Purchase {
    let is_seller = row.deal.seller == *me;
    let (next, next_ms) = match deed::next(row, settle, me, now_ms) {
        Next::Nothing => (None, None),
        Next::Seal => (Some(NextStep::Seal), None),
        Next::Now(Deed::Grant) => (Some(NextStep::Grant), row.grant_until_ms()),
        Next::Now(Deed::Accept | Deed::Settle) => (Some(NextStep::Settle), row.due_ms()),
        Next::Now(Deed::Refund) => (Some(NextStep::Refund), row.due_ms()),
        // Before that time, the other side does its part.
        Next::At(_, at_ms) if is_seller => (Some(NextStep::Settle), Some(at_ms)),
        Next::At(..) => (Some(NextStep::Grant), row.grant_until_ms()),
        Next::Theirs(at_ms) => (Some(NextStep::Refund), at_ms),
    };
    Purchase {
        purchase_id: Some(id.to_string()),
        offer_id: row.deal.offer.to_string(),
        group_id: group.to_string(),
        title,
        side: if is_seller { Side::Seller } else { Side::Buyer },
        buyer: row.deal.buyer.to_string(),
        seller: row.deal.seller.to_string(),
        price: row.deal.price,
        status: row.status.into(),
        paid_ms: row.deal.paid_ms,
        next,
        next_ms,
        ending: row.end.map(|(ending, _)| ending.word().to_owned()),
    }
}

/// A purchase that waits for a person.
#[must_use]
pub fn of_wish(group: GroupId, offer: OfferId, wish: &Wish, me: &Identity) -> Purchase {
    let approved = wish.approved;
    Purchase {
        purchase_id: None,
        offer_id: offer.to_string(),
        group_id: group.to_string(),
        title: wish.title.clone(),
        side: Side::Buyer,
        buyer: me.to_string(),
        seller: wish.seller.to_string(),
        price: wish.price,
        status: if approved { PurchaseState::Approved } else { PurchaseState::WaitingForApproval },
        paid_ms: wish.asked_ms,
        next: Some(if approved { NextStep::Order } else { NextStep::Approve }),
        next_ms: None,
        ending: None,
    }
}

/// A purchase in a group that this node is no member of.
#[must_use]
pub fn of_outside(group: GroupId, offer: OfferId, outside: &Outside, me: &Identity) -> Purchase {
    let (status, next) = match state_of(outside) {
        None => (PurchaseState::Ordered, Some(NextStep::Order)),
        Some(PurchaseStatus::Paid) => (PurchaseState::Paid, Some(NextStep::Grant)),
        Some(PurchaseStatus::Granted) => (PurchaseState::Granted, Some(NextStep::Settle)),
        Some(ended) => (ended.into(), None),
    };
    Purchase {
        purchase_id: Some(outside.purchase.to_string()),
        offer_id: offer.to_string(),
        group_id: group.to_string(),
        title: outside.offered.offer.title.clone(),
        side: Side::Buyer,
        buyer: me.to_string(),
        seller: outside.seller.to_string(),
        price: outside.offered.offer.price,
        status,
        paid_ms: outside.at_ms,
        next,
        next_ms: outside.until_ms,
        ending: None,
    }
}

/// The ledger's word, as a member has told it.
#[must_use]
pub fn state_of(outside: &Outside) -> Option<PurchaseStatus> {
    use PurchaseStatus::{Granted, Paid, Refunded, Settled};
    [Paid, Granted, Settled, Refunded].into_iter().find(|status| Some(status.word()) == outside.state.as_deref())
}
