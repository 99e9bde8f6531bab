//! What this node can open: what it bought, wherever, and what it sells.
//!
//! **Decrypted content leaves as an answer and is never written here.** The ledger has most of it; rows of this node's own have what was
//! bought in groups that are not here, or not any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::sell::own_key;
use super::{Shared, Trade, TradeError, aside};
use crate::chain::transaction::Grant;
use crate::chain::{GroupId, OfferId, PurchaseId};
use crate::kv::Read;
use crate::ledger::market::{PurchaseRow, query};
use crate::ledger::state;
use crate::limits;
use crate::node::market::io::Wanted;
use crate::node::trade::shelf::{self, Owned, Shelved};
use crate::package::{self, Commitment, PackageError, PackageKey};
use crate::runtime::Node;
use crate::store::{Packages, View};

/// Something that this node can open.
#[derive(Debug, Clone)]
pub struct Item {
    /// The group.
    pub group: GroupId,
    /// The offer.
    pub offer: OfferId,
    /// By which purchase; none of what this node sells.
    pub purchase: Option<PurchaseId>,
    /// The rest.
    pub owned: Owned,
    /// Whether the encrypted package is on the disk.
    pub here: bool,
}

/// All that this node can open, the last first.
///
/// # Errors
/// The store's.
pub fn list(trade: &Trade, view: &View) -> Result<Vec<Item>, TradeError> {
    let mut found: BTreeMap<(GroupId, OfferId), Item> = BTreeMap::new();
    for (key, row) in view.local_rows(&shelf::all_of::<Owned>(&trade.me))? {
        let (Some((group, offer)), Some(owned)) = (shelf::named(&key), Owned::from_row(&row)) else { continue };
        let item = item(trade, group, offer, Some(owned.purchase), owned);
        found.insert((group, offer), item);
    }
    for kept in view.groups()? {
        let kv = view.rows(kept);
        let Some(group) = state::group(&kv)? else { continue };
        of_ledger(trade, &kv, kept.id, &group.name, &mut found)?;
        own(trade, view, &kv, kept.id, &group.name, &mut found)?;
    }
    let mut found: Vec<Item> = found.into_values().collect();
    found.sort_by_key(|item| std::cmp::Reverse((item.owned.bought_ms, item.offer)));
    Ok(found)
}

fn item(trade: &Trade, group: GroupId, offer: OfferId, purchase: Option<PurchaseId>, owned: Owned) -> Item {
    let here = trade.packages.has(&owned.package.package);
    Item { group, offer, purchase, owned, here }
}

fn of_ledger(
    trade: &Trade,
    kv: &dyn Read,
    group: GroupId,
    name: &str,
    found: &mut BTreeMap<(GroupId, OfferId), Item>,
) -> Result<(), TradeError> {
    let mut after = None;
    loop {
        let page = query::purchases_of(kv, &trade.me, after.as_ref(), limits::PAGE_ROWS)?;
        for (purchase, row) in &page.rows {
            if let Some(owned) = owned(kv, name, *purchase, row)? {
                let at = (group, row.deal.offer);
                found.entry(at).or_insert_with(|| item(trade, group, row.deal.offer, Some(*purchase), owned));
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// What opens a purchase of this node's that was granted, and not given back.
pub(super) fn owned(
    kv: &dyn Read,
    group_name: &str,
    purchase: PurchaseId,
    row: &PurchaseRow,
) -> Result<Option<Owned>, TradeError> {
    use crate::ledger::market::PurchaseStatus::{Granted, Settled};
    let Some(sealed_key) = row.sealed_key.clone().filter(|_| matches!(row.status, Granted | Settled)) else {
        return Ok(None);
    };
    let Some(offer) = query::offer(kv, &row.deal.offer)? else { return Ok(None) };
    Ok(Some(Owned {
        purchase,
        nonce: row.deal.nonce,
        seller: row.deal.seller,
        group_name: group_name.to_owned(),
        title: offer.terms.title,
        tags: offer.terms.tags,
        price: row.deal.price,
        bought_ms: row.deal.paid_ms,
        package: offer.terms.package,
        sealed_key,
    }))
}

/// What this node sells, as far as it knows the keys.
fn own(
    trade: &Trade,
    view: &View,
    kv: &dyn Read,
    group: GroupId,
    name: &str,
    found: &mut BTreeMap<(GroupId, OfferId), Item>,
) -> Result<(), TradeError> {
    let filter = query::Filter { seller: Some(trade.me), ..query::Filter::default() };
    let mut after = None;
    loop {
        let page = query::offers(kv, &filter, after.as_ref(), limits::PAGE_ROWS)?;
        for offer in page.rows {
            if own_key(trade, view, &offer.terms.package)?.is_none() {
                continue;
            }
            let owned = Owned {
                purchase: PurchaseId::from_bytes([0; 32]),
                nonce: 0,
                seller: offer.row.seller,
                group_name: name.to_owned(),
                title: offer.terms.title,
                tags: offer.terms.tags,
                price: offer.terms.price,
                bought_ms: offer.row.created_ms,
                package: offer.terms.package,
                sealed_key: serde_bytes::ByteBuf::new(),
            };
            found.insert((group, offer.id), item(trade, group, offer.id, None, owned));
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// The key of something that this node can open.
pub(super) fn key_of(trade: &Trade, view: &View, item: &Item) -> Result<PackageKey, TradeError> {
    let Some(purchase) = item.purchase else {
        return own_key(trade, view, &item.owned.package)?.ok_or(TradeError::NoKey(item.offer));
    };
    let grant = Grant { purchase, sealed_key: item.owned.sealed_key.clone() };
    let secret = shelf::one_time(&trade.key, &item.group, &item.offer, item.owned.nonce);
    let key = grant.open(&secret).ok().filter(|key| key.commitment() == item.owned.package.key);
    key.ok_or(TradeError::DoesNotOpen { offer: item.offer, source: PackageError::Key })
}

/// Opens a package that is on the disk; none where it is not.
pub(super) fn open(
    packages: &Packages,
    commitment: &Commitment,
    key: &PackageKey,
) -> Result<Option<Result<Vec<u8>, PackageError>>, TradeError> {
    let ciphertext = packages.read(commitment)?;
    Ok(ciphertext.map(|ciphertext| package::open(commitment, key, &ciphertext)))
}

/// Whether all of something opens. Of what is not on the disk, whether its key is right: it is fetched when it is wanted.
pub(super) fn opens(trade: &Trade, view: &View, item: &Item) -> Result<bool, TradeError> {
    let Ok(key) = key_of(trade, view, item) else { return Ok(false) };
    let opened = if item.here { open(&trade.packages, &item.owned.package, &key)? } else { None };
    Ok(opened.is_none_or(|opened| opened.is_ok()))
}

/// The content of something that this node can open: fetched anew where it is not on the disk.
///
/// # Errors
/// [`TradeError`] where it is not this node's, does not open, or cannot be fetched.
pub async fn content(node: &Node, offer: OfferId) -> Result<(Item, Vec<u8>), TradeError> {
    let trade = node.trade.clone();
    let (item, key) = aside(move || {
        let view = trade.view()?;
        let found = list(&trade, &view)?.into_iter().find(|item| item.offer == offer);
        let item = found.ok_or(TradeError::NotOwned(offer))?;
        let key = key_of(&trade, &view, &item)?;
        Ok((item, key))
    })
    .await?;
    if !item.here {
        let wanted = Wanted { commitment: item.owned.package, seller: item.owned.seller };
        node.fetch_package(wanted).await?.map_err(|why| TradeError::NotHere { offer, why })?;
    }
    let (packages, commitment) = (Arc::clone(&node.trade.packages), item.owned.package);
    let opened = aside(move || open(&packages, &commitment, &key)).await?;
    match opened {
        Some(Ok(content)) => Ok((item, content)),
        Some(Err(source)) => Err(TradeError::DoesNotOpen { offer, source }),
        None => Err(TradeError::NotHere { offer, why: crate::node::market::io::NotFetched::Nobody }),
    }
}

impl Shared {
    /// Keeps what opens a purchase, beside the ledger.
    pub(super) async fn keep(&self, group: GroupId, offer: OfferId, owned: &Owned) -> Result<(), TradeError> {
        Ok(self.shelve(shelf::of_offer::<Owned>(&self.me, &group, &offer), Some(owned)).await?)
    }
}
