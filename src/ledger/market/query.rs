//! What readers ask of the market: an offer, a page of those that stand, a buyer's and a seller's purchases, what is to be done next.
//!
//! Reads one consistent view. **A page costs what it looks at, and that is bounded**, whatever the number of offers; what a page has not
//! looked at, its cursor has.

use std::ops::{Bound, ControlFlow};

use super::rows::{OfferRow, PurchaseRow, WAITING, bought_key, keyed, last_id, offer_key, purchase_key, terms_key};
use crate::chain::rows::read_row;
use crate::chain::transaction::OfferCreate;
use crate::chain::{OfferId, PurchaseId};
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Read, Table, prefix_end};
use crate::limits;

/// An offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// What changes of it, and where it came from.
    pub row: OfferRow,
    /// What does not.
    pub terms: OfferCreate,
}

impl Offer {
    /// Whether it can be bought at a time, milliseconds since 1970 UTC.
    #[must_use]
    pub fn stands(&self, at_ms: u64) -> bool {
        self.row.revoked_by.is_none() && self.terms.expires_ms.is_none_or(|until| at_ms <= until)
    }
}

/// Which offers are asked for: those that fit all that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Who sells them.
    pub seller: Option<Identity>,
    /// A tag that they have.
    pub tag: Option<String>,
    /// The most that they may cost.
    pub max_price: Option<u64>,
    /// When they can be bought, milliseconds since 1970 UTC; none for those that are over as well, of which only a seller's are listed.
    pub at_ms: Option<u64>,
}

impl Filter {
    fn fits(&self, offer: &Offer) -> bool {
        self.seller.is_none_or(|seller| seller == offer.row.seller)
            && self.tag.as_ref().is_none_or(|tag| offer.terms.tags.contains(tag))
            && self.max_price.is_none_or(|most| offer.terms.price <= most)
            && self.at_ms.is_none_or(|at| offer.stands(at))
    }

    /// What the keys of an index begin with that has all of them.
    fn prefix(&self) -> Vec<u8> {
        match (&self.seller, &self.tag) {
            (Some(seller), _) => keyed(b"is", &[seller.as_bytes()]),
            (None, Some(tag)) => keyed(b"it", &[tag.as_bytes(), &[0]]),
            (None, None) => b"ia".to_vec(),
        }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What fits.
    pub rows: Vec<T>,
    /// Where the next page begins; none where there are no more.
    pub next: Option<Place>,
}

/// A place in a list, where a page ends: bytes that mean something for the same list only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub Vec<u8>);

fn damaged(key: &[u8]) -> KvError {
    KvError::damaged(Table::State, key)
}

/// An offer; none where no applied block has made it.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn offer(kv: &dyn Read, id: &OfferId) -> Result<Option<Offer>, KvError> {
    let Some(row) = read_row(kv, Table::State, &offer_key(id))? else { return Ok(None) };
    let key = terms_key(id);
    let terms = read_row(kv, Table::State, &key)?.ok_or_else(|| damaged(&key))?;
    Ok(Some(Offer { id: *id, row, terms }))
}

/// Offers that fit, the newest first, behind a place: at most `limit`, of at most [`limits::MARKET_SCAN`] that are looked at.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn offers(kv: &dyn Read, filter: &Filter, after: Option<&Place>, limit: usize) -> Result<Page<Offer>, KvError> {
    let look = |key: &[u8], _: &[u8]| {
        let id = last_id(key).map(OfferId::from_bytes).ok_or_else(|| damaged(key))?;
        let found = offer(kv, &id)?.ok_or_else(|| damaged(key))?;
        Ok(Some(found).filter(|offer| filter.fits(offer)))
    };
    page(kv, &filter.prefix(), after, Direction::Down, limit, look)
}

/// Offers whose ids begin with these bytes, and the half byte behind them where there is one: at most `limit`.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn offers_by_prefix(kv: &dyn Read, prefix: &[u8], half: Option<u8>, limit: usize) -> Result<Vec<OfferId>, KvError> {
    let mut ids: Vec<OfferId> = Vec::new();
    kv.scan_prefix(Table::State, &keyed(b"o", &[prefix]), &mut |key, _| {
        // What does not change of an offer lies below a longer key.
        let id = key.get(1..).and_then(|id| id.try_into().ok()).map(OfferId::from_bytes);
        let fits = |id: &OfferId| {
            half.is_none_or(|half| id.as_bytes().get(prefix.len()).is_some_and(|byte| byte >> 4 == half))
        };
        ids.extend(id.filter(fits));
        if ids.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    Ok(ids)
}

/// A purchase; none where no applied block has made it.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn purchase(kv: &dyn Read, id: &PurchaseId) -> Result<Option<PurchaseRow>, KvError> {
    read_row(kv, Table::State, &purchase_key(id))
}

/// The purchase by which somebody has an offer's package, or is to get it; none where there is none, or the price was given back.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn owned(kv: &dyn Read, buyer: &Identity, offer: &OfferId) -> Result<Option<PurchaseId>, KvError> {
    read_row(kv, Table::State, &bought_key(buyer, offer))
}

/// A buyer's purchases, the last first, behind a place.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn purchases_of(
    kv: &dyn Read,
    buyer: &Identity,
    after: Option<&Place>,
    limit: usize,
) -> Result<Page<(PurchaseId, PurchaseRow)>, KvError> {
    let look = |key: &[u8], value: &[u8]| {
        let id = crate::chain::rows::parse_row(Table::State, key, value)?;
        Ok(Some((id, purchase(kv, &id)?.ok_or_else(|| damaged(key))?)))
    };
    page(kv, &keyed(b"Vh", &[buyer.as_bytes()]), after, Direction::Down, limit, look)
}

/// Purchases from a seller, the last first, behind a place.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn sales_of(
    kv: &dyn Read,
    seller: &Identity,
    after: Option<&Place>,
    limit: usize,
) -> Result<Page<(PurchaseId, PurchaseRow)>, KvError> {
    page(kv, &keyed(b"Vs", &[seller.as_bytes()]), after, Direction::Down, limit, |key, _| named(kv, key))
}

/// What somebody has bought or sold that has not ended, those first that were paid first, behind a place.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn open_of(
    kv: &dyn Read,
    who: &Identity,
    after: Option<&Place>,
    limit: usize,
) -> Result<Page<(PurchaseId, PurchaseRow)>, KvError> {
    page(kv, &keyed(b"Vo", &[who.as_bytes()]), after, Direction::Up, limit, |key, _| named(kv, key))
}

/// Purchases of which anybody may ask for the refund or the settlement at `now_ms`, those first that were due first, at most `limit`.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn due(kv: &dyn Read, now_ms: u64, limit: usize) -> Result<Vec<(PurchaseId, PurchaseRow)>, KvError> {
    let end = keyed(b"Vd", &[&now_ms.saturating_add(1).to_be_bytes()]);
    let range = (Bound::Included(b"Vd".to_vec()), Bound::Excluded(end));
    Ok(walk(kv, range, Direction::Up, limit, usize::MAX, |key, _| named(kv, key))?.0)
}

/// When the next purchase is due, milliseconds since 1970 UTC: what a timer is set to.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn next_due_ms(kv: &dyn Read) -> Result<Option<u64>, KvError> {
    let mut first = None;
    kv.scan_prefix(Table::State, b"Vd", &mut |key, _| {
        first = key.get(2..10).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        ControlFlow::Break(())
    })?;
    Ok(first)
}

/// Purchases about which the next seal decides something, at most `limit`.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn unsealed(kv: &dyn Read, limit: usize) -> Result<Vec<(PurchaseId, PurchaseRow)>, KvError> {
    let range = (Bound::Included(WAITING.to_vec()), upper(WAITING));
    Ok(walk(kv, range, Direction::Up, limit, usize::MAX, |key, _| named(kv, key))?.0)
}

/// The purchase whose id an index's key ends with.
fn named(kv: &dyn Read, key: &[u8]) -> Result<Option<(PurchaseId, PurchaseRow)>, KvError> {
    let id = last_id(key).map(PurchaseId::from_bytes).ok_or_else(|| damaged(key))?;
    Ok(Some((id, purchase(kv, &id)?.ok_or_else(|| damaged(key))?)))
}

fn upper(prefix: &[u8]) -> Bound<Vec<u8>> {
    prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded)
}

/// A page of the rows below `prefix`, behind a place.
fn page<T>(
    kv: &dyn Read,
    prefix: &[u8],
    after: Option<&Place>,
    direction: Direction,
    limit: usize,
    look: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, KvError>,
) -> Result<Page<T>, KvError> {
    let place = after.map(|Place(rest)| Bound::Excluded(keyed(prefix, &[rest])));
    let range = match direction {
        Direction::Up => (place.unwrap_or(Bound::Included(prefix.to_vec())), upper(prefix)),
        Direction::Down => (Bound::Included(prefix.to_vec()), place.unwrap_or_else(|| upper(prefix))),
    };
    let (rows, last) = walk(kv, range, direction, limit, limits::MARKET_SCAN, look)?;
    let next = last.and_then(|key| key.get(prefix.len()..).map(|rest| Place(rest.to_vec())));
    Ok(Page { rows, next })
}

type Owned = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// What is found in a range, at most `limit` of at most `scan` rows; and the last key that was looked at, where there are more behind it.
fn walk<T>(
    kv: &dyn Read,
    range: Owned,
    direction: Direction,
    limit: usize,
    scan: usize,
    mut look: impl FnMut(&[u8], &[u8]) -> Result<Option<T>, KvError>,
) -> Result<(Vec<T>, Option<Vec<u8>>), KvError> {
    let (mut rows, mut last, mut looked_at, mut more, mut failed) = (Vec::new(), None, 0, false, Ok(()));
    let range = (range.0.as_ref().map(Vec::as_slice), range.1.as_ref().map(Vec::as_slice));
    kv.scan(Table::State, range, direction, &mut |key, value| {
        if rows.len() == limit || looked_at == scan {
            more = true;
            return ControlFlow::Break(());
        }
        looked_at += 1;
        last = Some(key.to_vec());
        match look(key, value) {
            Ok(found) => {
                rows.extend(found);
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed?;
    Ok((rows, last.filter(|_| more)))
}
