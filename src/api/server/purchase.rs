//! Purchases: made, approved, listed; the library; and what may be spent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Api;
use super::extract::{As, Body, Params, Segments};
use super::resolve;
use crate::api::types::{
    Approved, Bought, BuyOffer, LibraryContent, LibraryItem, LibraryList, ListPurchases, Problem, ProblemCode,
    Purchase, PurchaseList, PurchaseState, SetSpendingLimit, SpendingLimit,
};
use crate::chain::OfferId;
use crate::chain::transaction::Settlement;
use crate::identity::Identity;
use crate::kv::{KvError, Read};
use crate::ledger::market::{PurchaseRow, query};
use crate::limits;
use crate::node::engine::Groups;
use crate::node::trade::shelf::{self, Outside, Shelved, Wish};
use crate::node::trade::{deed, spending};
use crate::runtime::clock::unix_ms;
use crate::runtime::trade::{self, HowToBuy, Item, TradeError, standing};
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn buy(As(api): As, Segments(offer): Segments<String>, Body(how): Body<BuyOffer>) -> Answer<Bought> {
    let wait = Duration::from_millis(how.wait_ms.unwrap_or(limits::BUY_DEFAULT_WAIT_MS));
    let how = HowToBuy { max_price: how.max_price, wait, seller: how.seller };
    let node = api.node().clone();
    // On its own: whoever asked may go, and what has begun is not left halfway.
    let buying = tokio::spawn(async move { trade::buy(&node, &offer, how).await });
    let mut stop = api.stop.clone();
    let bought = tokio::select! {
        biased;
        ended = stop.reached() => return Err(ended),
        bought = buying => bought.map_err(|error| super::problem::crashed(&error))??,
    };
    let trade::Bought { purchase, opened, already_owned } = bought;
    Ok(Json(Bought { purchase, opened, already_owned }))
}

/// The offer that an id or a prefix names among those that wait to be approved, or any.
async fn wished(api: &Arc<Api>, text: String) -> Result<(Identity, crate::chain::GroupId, OfferId), Problem> {
    let prefix = text.to_ascii_lowercase();
    let read = move |_: &Api, view: &View| {
        let rows = view.local_rows(&[Wish::LETTER])?;
        // An approved one is bought already; another identity may want the same.
        let waits = |row: &[u8]| Wish::from_row(row).is_some_and(|wish| !wish.approved);
        let named = rows.iter().filter(|(_, row)| waits(row));
        let named = named.filter_map(|(key, _)| Some((shelf::whose(key)?, shelf::named(key)?)));
        let mut fits: Vec<_> = named
            .filter(|(_, (_, offer))| offer.to_string().starts_with(&prefix))
            .map(|(whose, (group, offer))| (whose, group, offer))
            .collect();
        fits.dedup_by_key(|(_, _, offer)| *offer);
        Ok(fits)
    };
    let fits = api.read(read).await?;
    match fits.as_slice() {
        [only] if text.len() >= 4 => Ok(*only),
        [(_, _, first), _, ..] if text.len() >= 4 => {
            Err(TradeError::Ambiguous { text, count: fits.len(), first: *first }.into())
        }
        _ => match text.parse() {
            Ok(offer) => Err(TradeError::NothingToApprove(offer).into()),
            Err(_) => Err(TradeError::NoSuchOffer(resolve::shown(&text)).into()),
        },
    }
}

pub(super) async fn approve(As(api): As, Segments(offer): Segments<String>) -> Answer<Approved> {
    let (whose, group, offer) = wished(&api, offer).await?;
    let node = api.node().acting_as(whose).ok_or(TradeError::NothingToApprove(offer))?;
    let wish = trade::approve(&node, group, offer).await?;
    let read = move |_: &Api, view: &View| {
        let rows = view.local_rows(&[Wish::LETTER])?;
        let waits = |key: &[u8], row: &[u8]| {
            shelf::named(key) == Some((group, offer)) && Wish::from_row(row).is_some_and(|wish| !wish.approved)
        };
        Ok(rows.iter().filter(|(key, row)| waits(key, row)).count())
    };
    Ok(Json(Approved {
        offer_id: offer.to_string(),
        group_id: group.to_string(),
        title: wish.title,
        price: wish.price,
        buyer: whose.to_string(),
        agent: api.node().agents.name(&whose).map(|name| name.to_string()),
        still_waiting: api.read(read).await?,
    }))
}

pub(super) async fn list(As(api): As, Params(request): Params<ListPurchases>) -> Answer<PurchaseList> {
    let only = match request.group {
        // One that it was removed from has its purchases still.
        Some(name) => Some(match name.parse() {
            Ok(id) => id,
            Err(_) => api.group_id(name).await?,
        }),
        None => None,
    };
    let limit = request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS);
    let read = move |api: &Api, view: &View| {
        let (me, now_ms) = (api.node().identity, unix_ms());
        let mut purchases = Vec::new();
        for kept in view.groups()?.into_iter().filter(|kept| only.is_none_or(|only| only == kept.id)) {
            let kv = view.rows(kept);
            let bought = query::purchases_of(&kv, &me, None, limit)?.rows;
            let sold = query::sales_of(&kv, &me, None, limit)?.rows;
            for (id, row) in bought.iter().chain(&sold) {
                purchases.push(standing::of_row(kept.id, id, row, terms(&kv, row)?, &me, now_ms));
            }
        }
        for (key, bytes) in view.local_rows(&shelf::all_of::<Outside>(&api.node().identity))? {
            let (Some((group, offer)), Some(row)) = (shelf::named(&key), Outside::from_row(&bytes)) else { continue };
            let purchase = standing::of_outside(group, offer, &row, &me);
            let is_known = purchases.iter().any(|other| other.purchase_id == purchase.purchase_id);
            if only.is_none_or(|only| only == group) && !is_known {
                purchases.push(purchase);
            }
        }
        for (key, bytes) in view.local_rows(&shelf::all_of::<Wish>(&api.node().identity))? {
            let (Some((group, offer)), Some(wish)) = (shelf::named(&key), Wish::from_row(&bytes)) else { continue };
            if only.is_none_or(|only| only == group) {
                purchases.push(standing::of_wish(group, offer, &wish, &me));
            }
        }
        purchases.sort_by_key(|purchase: &Purchase| std::cmp::Reverse(purchase.paid_ms));
        Ok(PurchaseList { purchases })
    };
    api.read_own(read).await.map(Json)
}

/// What this node buys and sells that has not ended, counted by how it stands.
pub(super) fn open(api: &Api, view: &View) -> Result<BTreeMap<PurchaseState, usize>, Problem> {
    open_of(&api.node().identity, view)
}

/// The same of an identity of this node.
pub(super) fn open_of(me: &Identity, view: &View) -> Result<BTreeMap<PurchaseState, usize>, Problem> {
    let me = *me;
    let mut counts = BTreeMap::new();
    let mut count = |state: PurchaseState| *counts.entry(state).or_default() += 1;
    for kept in view.groups()? {
        deed::open(&view.rows(kept), &me)?.iter().for_each(|(_, row)| count(row.status.into()));
    }
    for (key, bytes) in view.local_rows(&shelf::all_of::<Outside>(&me))? {
        let (Some((group, offer)), Some(row)) = (shelf::named(&key), Outside::from_row(&bytes)) else { continue };
        let purchase = standing::of_outside(group, offer, &row, &me);
        // Of a group that is here, the ledger has it.
        if purchase.next.is_some() && view.group(&group)?.is_none() {
            count(purchase.status);
        }
    }
    for (_, bytes) in view.local_rows(&shelf::all_of::<Wish>(&me))? {
        let Some(wish) = Wish::from_row(&bytes) else { continue };
        count(if wish.approved { PurchaseState::Approved } else { PurchaseState::WaitingForApproval });
    }
    Ok(counts)
}

/// What a purchase's offer is called, and when it is granted.
fn terms(kv: &dyn Read, row: &PurchaseRow) -> Result<(String, Settlement), KvError> {
    let offer = query::offer(kv, &row.deal.offer)?;
    Ok(offer.map_or((String::new(), Settlement::Sealed), |offer| (offer.terms.title, offer.terms.settle)))
}

pub(super) async fn library(As(api): As) -> Answer<LibraryList> {
    let read = |api: &Api, view: &View| {
        let items = trade::library(&api.node().trade, view)?;
        Ok(LibraryList { packages: items.into_iter().map(item).collect() })
    };
    api.read_own(read).await.map(Json)
}

pub(super) async fn content(As(api): As, Segments(text): Segments<String>) -> Answer<LibraryContent> {
    let prefix = text.to_ascii_lowercase();
    let read = move |api: &Api, view: &View| {
        let items = trade::library(&api.node().trade, view)?.into_iter().map(|item| item.offer);
        Ok(items.filter(|offer| offer.to_string().starts_with(&prefix)).collect::<Vec<_>>())
    };
    let fits = api.read_own(read).await?;
    let offer = match fits.as_slice() {
        [only] if text.len() >= 4 => *only,
        [first, _, ..] if text.len() >= 4 => {
            return Err(TradeError::Ambiguous { text, count: fits.len(), first: *first }.into());
        }
        _ => {
            // Known and not owned is another thing than unknown.
            let found = trade::find(api.node(), &text).await?;
            let offer = found.id().ok_or(TradeError::NoSuchOffer(text))?;
            return Err(TradeError::NotOwned(offer).into());
        }
    };
    let (found, content) = trade::content(api.node(), offer).await?;
    let (text, content_base64) = match String::from_utf8(content) {
        // Each byte may come to six as JSON.
        Ok(text) if text.len() <= limits::API_ANSWER_BYTES / 8 => (Some(text), None),
        Ok(text) => (None, Some(STANDARD.encode(text))),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    Ok(Json(LibraryContent { item: item(found), text, content_base64 }))
}

fn item(found: Item) -> LibraryItem {
    let Item { group, offer, purchase, owned, here } = found;
    LibraryItem {
        offer_id: offer.to_string(),
        purchase_id: purchase.map(|purchase| purchase.to_string()),
        group_id: group.to_string(),
        group: owned.group_name,
        title: owned.title,
        tags: owned.tags,
        seller: owned.seller.to_string(),
        price: owned.price,
        since_ms: owned.bought_ms,
        package_hash: owned.package.package.to_string(),
        content_bytes: owned.package.content_bytes.into(),
        here,
    }
}

pub(super) async fn show_limit(As(api): As, Segments(group): Segments<String>) -> Answer<SpendingLimit> {
    let id = api.group_id(group).await?;
    let read = move |api: &Api, view: &View| {
        let me = api.node().identity;
        let row = trade::limit(view, &id, &me)?;
        // In a group of others it counts what it has ordered there itself.
        let spent = match view.group(&id)? {
            Some(kv) => spending::spent(kv.as_ref(), &me, unix_ms())?,
            None => trade::spent_outside(view, &me, &id, unix_ms())?.0,
        };
        let per_day = row.map(|row| row.per_day);
        Ok(SpendingLimit { group_id: id.to_string(), account: me.to_string(), per_day, spent })
    };
    api.read(read).await.map(Json)
}

/// A spending limit is an amount.
pub(super) fn bounded(per_day: Option<u64>) -> Result<Option<u64>, Problem> {
    if per_day.is_some_and(|per_day| per_day > limits::AMOUNT_MAX) {
        let detail = format!("a spending limit is at most {}", limits::AMOUNT_MAX);
        return Err(Problem::new(ProblemCode::BadField, detail, "give less, or no limit"));
    }
    Ok(per_day)
}

pub(super) async fn set_limit(
    As(api): As,
    Segments(group): Segments<String>,
    Body(to): Body<SetSpendingLimit>,
) -> Answer<SpendingLimit> {
    let id = api.group_id(group).await?;
    trade::set_limit(api.node(), Some(&id), &api.node().identity, bounded(to.per_day)?).await?;
    show_limit(As(api), Segments(id.to_string())).await
}
