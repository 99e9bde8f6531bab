//! What must hold of the rows of offers and purchases after every block.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::rows::{OfferRow, PurchaseRow, PurchaseStatus, WAITING, last_id};
use crate::cbor;
use crate::chain::rows::parse_row;
use crate::chain::transaction::OfferCreate;
use crate::chain::{OfferId, PurchaseId};
use crate::identity::Identity;
use crate::kv::{KvError, Read, Table};
use crate::ledger::account;
use crate::ledger::invariants::Broken;

/// Checks that each purchase is in one state, that the indexes say what offers and purchases do, and that numbers and counters are
/// right; what is set aside for purchases.
///
/// # Errors
/// [`KvError`] where the store fails.
pub(crate) fn check(kv: &dyn Read, broken: &mut Vec<Broken>) -> Result<u128, KvError> {
    let (rows, terms) = offers(kv)?;
    let purchases = purchases(kv)?;
    if !rows.keys().eq(terms.keys()) {
        broken.push(Broken::Count { what: "offers", counted: rows.len() as u64, found: terms.len() as u64 });
    }
    let mut expected = BTreeMap::new();
    for (id, row) in &rows {
        let keys = terms.get(id).map(|terms| row.index_rows(id, terms)).unwrap_or_default();
        expected.extend(keys.into_iter().map(|key| (key, Vec::new())));
    }
    let mut bought = BTreeMap::<Identity, u64>::new();
    let mut sold = BTreeMap::<OfferId, u64>::new();
    for (id, row) in &purchases {
        let faults = faults_of(row).into_iter().filter(|(is_wrong, _)| *is_wrong);
        broken.extend(faults.map(|(_, what)| Broken::Purchase { purchase: *id, what }));
        for (key, value) in row.index_rows(id) {
            let value = value.map_or_else(Vec::new, |value| cbor::encode(&value));
            if expected.insert(key, value).is_some() {
                broken.push(Broken::Purchase { purchase: *id, what: "shares its number, or its offer, with another" });
            }
        }
        *bought.entry(row.deal.buyer).or_default() += 1;
        *sold.entry(row.deal.offer).or_default() += u64::from(row.status == PurchaseStatus::Settled);
    }
    for (buyer, found) in bought {
        let counted = account::account(kv, &buyer)?.nonce;
        if counted != found {
            broken.push(Broken::Count { what: "purchases of an account", counted, found });
        }
    }
    for (id, row) in &rows {
        let found = sold.get(id).copied().unwrap_or(0);
        if row.sold != found {
            broken.push(Broken::Count { what: "settled purchases of an offer", counted: row.sold, found });
        }
    }
    let indexes = indexes(kv)?;
    let is_at_odds = |key: &&Vec<u8>| expected.get(*key) != indexes.get(*key);
    if let Some(key) = expected.keys().chain(indexes.keys()).find(is_at_odds) {
        broken.push(Broken::Index(hex::encode(key)));
    }
    Ok(purchases.values().map(|row| u128::from(row.locked())).sum())
}

type Offers = (BTreeMap<OfferId, OfferRow>, BTreeMap<OfferId, OfferCreate>);

fn offers(kv: &dyn Read) -> Result<Offers, KvError> {
    let (mut rows, mut terms) = (BTreeMap::new(), BTreeMap::new());
    each(kv, b"o", |key, value| match key.split_last() {
        Some((0, id)) if id.len() == 33 => {
            terms.insert(OfferId::from_bytes(id_of(id)?), read(key, value)?);
            Ok(())
        }
        _ => {
            rows.insert(OfferId::from_bytes(id_of(key)?), read(key, value)?);
            Ok(())
        }
    })?;
    Ok((rows, terms))
}

fn purchases(kv: &dyn Read) -> Result<BTreeMap<PurchaseId, PurchaseRow>, KvError> {
    let mut rows = BTreeMap::new();
    each(kv, b"P", |key, value| {
        rows.insert(PurchaseId::from_bytes(id_of(key)?), read(key, value)?);
        Ok(())
    })?;
    Ok(rows)
}

fn indexes(kv: &dyn Read) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, KvError> {
    let mut indexes = BTreeMap::new();
    for letter in [b"i", b"V", WAITING] {
        each(kv, letter, |key, value| {
            indexes.insert(key.to_vec(), value.to_vec());
            Ok(())
        })?;
    }
    Ok(indexes)
}

fn each(
    kv: &dyn Read,
    prefix: &[u8],
    mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), KvError>,
) -> Result<(), KvError> {
    let mut failed = Ok(());
    kv.scan_prefix(Table::State, prefix, &mut |key, value| {
        failed = visit(key, value);
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed
}

fn id_of(key: &[u8]) -> Result<[u8; 32], KvError> {
    last_id(key).ok_or_else(|| KvError::damaged(Table::State, key))
}

fn read<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, KvError> {
    parse_row(Table::State, key, value)
}

/// What may be wrong with a row by itself, and whether it is.
fn faults_of(row: &PurchaseRow) -> [(bool, &'static str); 7] {
    let is_granted = row.sealed_key.is_some();
    let ended = row.end.map(|(ending, _)| ending.status());
    [
        (row.status == PurchaseStatus::Paid && is_granted, "is paid, and was granted"),
        (row.status == PurchaseStatus::Granted && !is_granted, "is granted, and without a key"),
        (row.status == PurchaseStatus::Settled && !is_granted, "is settled, and was never granted"),
        (
            row.status.is_ended() != ended.is_some() || ended.is_some_and(|end| end != row.status),
            "ended as something else",
        ),
        (row.asked && row.due_ms().is_none(), "was asked for something before it was final"),
        (row.granted_final_ms.is_some() && row.paid_final_ms.is_none(), "was granted finally and not paid finally"),
        (row.deal.fee > row.deal.price || row.deal.buyer == row.deal.seller, "has no sense"),
    ]
}
