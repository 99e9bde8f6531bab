//! What an identity has spent of late, for limits that its operator sets.

use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::market::{PurchaseStatus, query};
use crate::limits;

/// Tokens that `buyer` has paid for purchases of the last [`limits::SPENDING_SPAN_MS`], open ones among them; what was given back does not
/// count. Counted from the ledger, so that neither a restart nor an older copy of the data forgets any.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn spent(kv: &dyn Read, buyer: &Identity, now_ms: u64) -> Result<u64, KvError> {
    let since_ms = now_ms.saturating_sub(limits::SPENDING_SPAN_MS);
    let (mut spent, mut after) = (0_u64, None);
    loop {
        let page = query::purchases_of(kv, buyer, after.as_ref(), limits::PAGE_ROWS)?;
        for (_, row) in &page.rows {
            if row.deal.paid_ms > since_ms && row.status != PurchaseStatus::Refunded {
                spent = spent.saturating_add(row.deal.price);
            }
        }
        // They are in the sequence of their numbers, and the clocks that date them differ by so much at most.
        let is_past = |(_, row): &(_, crate::ledger::market::PurchaseRow)| {
            row.deal.paid_ms.saturating_add(2 * limits::MAX_CLOCK_DRIFT_MS) <= since_ms
        };
        if page.rows.last().is_some_and(is_past) {
            return Ok(spent);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(spent),
        }
    }
}
