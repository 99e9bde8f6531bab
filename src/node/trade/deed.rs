//! What is due of a node's purchases and sales, by the ledger and a clock. A deed may be found again after it was done: the ledger takes
//! it once.

use crate::chain::PurchaseId;
use crate::chain::transaction::Settlement;
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::market::query;
use crate::ledger::market::{PurchaseRow, PurchaseStatus};
use crate::ledger::state;
use crate::limits;

/// Something to do about a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Deed {
    /// Seal the package's key to the buyer: the seller's.
    Grant,
    /// Open what was granted, and settle or dispute: the buyer's.
    Accept,
    /// Ask for the price back: the buyer's, when the seller's time is over.
    Refund,
    /// Ask for the price: the seller's, when the buyer's time is over.
    Settle,
}

/// What comes next of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Its node does something, now.
    Now(Deed),
    /// Its node does something at a time, milliseconds since 1970 UTC, unless the other side does its part before.
    At(Deed, u64),
    /// The next seal decides.
    Seal,
    /// The other side's turn, until a time where there is one; what it does not do then is asked for by this side's node.
    Theirs(Option<u64>),
    /// Nothing: it has ended.
    Nothing,
}

/// What comes next of a purchase for `me`, its buyer or its seller. `settle` is what the offer says of grants.
#[must_use]
pub fn next(row: &PurchaseRow, settle: Settlement, me: &Identity, now_ms: u64) -> Next {
    let is_seller = row.deal.seller == *me;
    match row.status {
        PurchaseStatus::Settled | PurchaseStatus::Refunded => Next::Nothing,
        PurchaseStatus::Paid if is_seller => match row.grant_until_ms() {
            None if settle == Settlement::AtOnce => Next::Now(Deed::Grant),
            None => Next::Seal,
            Some(until) if now_ms <= until.saturating_sub(limits::GRANT_MARGIN_MS) => Next::Now(Deed::Grant),
            Some(_) => Next::Theirs(row.due_ms()),
        },
        PurchaseStatus::Granted if !is_seller => Next::Now(Deed::Accept),
        PurchaseStatus::Paid | PurchaseStatus::Granted => {
            let deed = if is_seller { Deed::Settle } else { Deed::Refund };
            match row.due_ms() {
                _ if row.asked => Next::Seal,
                None => Next::Seal,
                Some(due) if due <= now_ms => Next::Now(deed),
                Some(due) => Next::At(deed, due),
            }
        }
    }
}

/// Something due, and the row that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Of which purchase.
    pub purchase: PurchaseId,
    /// How that stands.
    pub row: PurchaseRow,
    /// What.
    pub deed: Deed,
}

/// All that a node has open in a group.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is due now.
    pub due: Vec<Due>,
    /// When something is due next, if nothing else happens before, milliseconds since 1970 UTC.
    pub next_ms: Option<u64>,
    /// Purchases that have not ended, bought or sold by the node, with how they stand.
    pub open: Vec<(PurchaseId, PurchaseRow)>,
}

/// What is due of `me` in a group at a time. Of who is no member, nothing: it cannot write.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn plan(kv: &dyn Read, me: &Identity, now_ms: u64) -> Result<Plan, KvError> {
    let mut plan = Plan::default();
    if state::member(kv, me)?.is_none() {
        return Ok(plan);
    }
    plan.open = open(kv, me)?;
    for (purchase, row) in &plan.open {
        let Some(offer) = query::offer(kv, &row.deal.offer)? else { continue };
        match next(row, offer.terms.settle, me, now_ms) {
            Next::Now(deed) => plan.due.push(Due { purchase: *purchase, row: row.clone(), deed }),
            Next::At(_, at_ms) => plan.next_ms = Some(plan.next_ms.map_or(at_ms, |first: u64| first.min(at_ms))),
            Next::Seal | Next::Theirs(_) | Next::Nothing => {}
        }
    }
    Ok(plan)
}

/// What somebody has bought or sold that has not ended, at most [`limits::OPEN_PURCHASES`]; those first that were paid first.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn open(kv: &dyn Read, who: &Identity) -> Result<Vec<(PurchaseId, PurchaseRow)>, KvError> {
    let (mut open, mut after) = (Vec::new(), None);
    loop {
        let left = limits::OPEN_PURCHASES - open.len();
        let page = query::open_of(kv, who, after.as_ref(), left.min(limits::PAGE_ROWS))?;
        open.extend(page.rows);
        after = page.next.filter(|_| open.len() < limits::OPEN_PURCHASES);
        if after.is_none() {
            return Ok(open);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_bytes::ByteBuf;

    use super::*;
    use crate::chain::{BlockId, OfferId};
    use crate::identity::{OneTimeSecret, SecretKey};
    use crate::ledger::market::Deal;

    fn identity(seed: u8) -> Identity {
        SecretKey::from_seed(&[seed; 32]).identity()
    }

    fn row(
        status: PurchaseStatus,
        paid_final_ms: Option<u64>,
        granted_final_ms: Option<u64>,
        asked: bool,
    ) -> PurchaseRow {
        let block = BlockId::from_bytes([1; 32]);
        PurchaseRow {
            deal: Deal {
                offer: OfferId::from_bytes([2; 32]),
                buyer: identity(1),
                seller: identity(2),
                price: 10,
                fee: 0,
                nonce: 0,
                key: OneTimeSecret::from_bytes([3; 32]).key(),
                grant_within_ms: 60_000,
                dispute_within_ms: 600_000,
                paid_ms: 1_000,
                block,
            },
            status,
            asked,
            paid_final_ms,
            sealed_key: (status == PurchaseStatus::Granted).then(|| ByteBuf::from(vec![0; 80])),
            granted_final_ms,
            end: None,
            changed_by: block,
        }
    }

    #[test]
    fn each_side_does_its_part_in_time_and_never_twice() {
        use PurchaseStatus::{Granted, Paid, Refunded, Settled};
        use Settlement::{AtOnce, Sealed};
        let (buyer, seller) = (identity(1), identity(2));
        let refund_ms = 2_000 + 60_000 + limits::REFUND_MARGIN_MS;
        let last_ms = 2_000 + 60_000 - limits::GRANT_MARGIN_MS;
        for (what, row, settle, now_ms, of_buyer, of_seller) in [
            ("not final", row(Paid, None, None, false), Sealed, 5_000, Next::Seal, Next::Seal),
            ("instant", row(Paid, None, None, false), AtOnce, 5_000, Next::Seal, Next::Now(Deed::Grant)),
            (
                "final",
                row(Paid, Some(2_000), None, false),
                Sealed,
                5_000,
                Next::At(Deed::Refund, refund_ms),
                Next::Now(Deed::Grant),
            ),
            (
                "just in time",
                row(Paid, Some(2_000), None, false),
                Sealed,
                last_ms,
                Next::At(Deed::Refund, refund_ms),
                Next::Now(Deed::Grant),
            ),
            (
                "too late",
                row(Paid, Some(2_000), None, false),
                AtOnce,
                last_ms + 1,
                Next::At(Deed::Refund, refund_ms),
                Next::Theirs(Some(refund_ms)),
            ),
            (
                "never granted",
                row(Paid, Some(2_000), None, false),
                Sealed,
                refund_ms,
                Next::Now(Deed::Refund),
                Next::Theirs(Some(refund_ms)),
            ),
            (
                "asked back",
                row(Paid, Some(2_000), None, true),
                Sealed,
                refund_ms,
                Next::Seal,
                Next::Theirs(Some(refund_ms)),
            ),
            ("granted", row(Granted, Some(2_000), None, false), Sealed, 5_000, Next::Now(Deed::Accept), Next::Seal),
            (
                "final grant",
                row(Granted, Some(2_000), Some(3_000), false),
                Sealed,
                5_000,
                Next::Now(Deed::Accept),
                Next::At(Deed::Settle, 603_000),
            ),
            (
                "silent buyer",
                row(Granted, Some(2_000), Some(3_000), false),
                Sealed,
                603_000,
                Next::Now(Deed::Accept),
                Next::Now(Deed::Settle),
            ),
            (
                "asked",
                row(Granted, Some(2_000), Some(3_000), true),
                Sealed,
                603_000,
                Next::Now(Deed::Accept),
                Next::Seal,
            ),
            ("settled", row(Settled, Some(2_000), Some(3_000), false), Sealed, 9_000_000, Next::Nothing, Next::Nothing),
            ("refunded", row(Refunded, Some(2_000), None, false), Sealed, 9_000_000, Next::Nothing, Next::Nothing),
        ] {
            assert_eq!(next(&row, settle, &buyer, now_ms), of_buyer, "{what}, the buyer");
            assert_eq!(next(&row, settle, &seller, now_ms), of_seller, "{what}, the seller");
        }
    }
}
