//! Buying in a group that this node is no member of: a member writes the order, and tells how the purchase stands.
//!
//! **The order rests on this node's disk before anybody sees it**, so that it is handed over again after a crash, and is the same purchase.
//! What a member tells is its word: a key that it hands on is checked against the offer's commitment, and nothing else counts.

use std::sync::Arc;
use std::time::Duration;

use serde_bytes::ByteBuf;
use tokio::time::Instant;

use super::buy::{Bought, HowToBuy, Looked, Wanting};
use super::find::Found;
use super::steps::Step;
use super::{Shared, Trade, TradeError, aside, buy, library, standing};
use crate::announcement::{Announcement, Offered};
use crate::chain::transaction::{Dispute, Grant, SignedOrder};
use crate::chain::{GroupId, OfferId, PurchaseId};
use crate::delegation::Delegation;
use crate::identity::Identity;
use crate::kv::KvError;
use crate::ledger::market::{MarketRefusal, PurchaseStatus};
use crate::limits;
use crate::net::RequestError;
use crate::node::market::io::{NotFetched, Wanted};
use crate::node::trade::shelf::{self, Outside, Owned, Shelved};
use crate::package::{PackageError, prove};
use crate::runtime::Node;
use crate::runtime::clock::unix_ms;
use crate::runtime::market::AskFailed;
use crate::store::View;
use crate::wire::market::{Account, Bought as TheirWord, GetAccount, HandedDispute, Refused, Request, Response};

/// How long a seller that is not connected is waited for, milliseconds.
const CALL_MS: u64 = 3_000;
/// How long one that is busy is left alone at least, milliseconds.
const BUSY_MS: u64 = 20;
/// Connected peers that are asked besides the seller.
const ASKED: usize = 8;

pub(super) async fn purchase(
    node: &Node,
    found: Found,
    how: HowToBuy,
    deadline: Instant,
) -> Result<Bought, TradeError> {
    let trade = &node.trade;
    let (wanting, offered) = announced(found, how)?;
    if known(trade, &wanting).await?.is_some_and(|before| standing::state_of(&before).is_none()) {
        // Nobody has said yet that it was taken: perhaps somebody has.
        follow(node, wanting.group, wanting.offer).await?;
    }
    if is_under_way(trade, &wanting).await? {
        buy::drop_wish(trade, &wanting).await;
        return wait_for(trade, &wanting, true, deadline).await;
    }
    if wanting.seller == trade.me {
        return Err(MarketRefusal::OwnOffer(wanting.offer).into());
    }
    if offered.offer.expires_ms.is_some_and(|until| until < unix_ms()) {
        return Err(MarketRefusal::OfferExpired(wanting.offer).into());
    }
    buy::is_cheap_enough(wanting.offer, wanting.price, how)?;
    buy::can_pay(trade.me, account(node, &wanting, deadline).await?.balance, wanting.price)?;
    if let Some(waiting) = buy::hold_back(trade, &wanting, &look(trade, &wanting).await?).await? {
        return Ok(waiting);
    }
    trade.reach(Step::Found).await;
    buy::fetch(node, &wanting, deadline).await?;
    trade.reach(Step::Fetched).await;
    let already_owned = {
        // Until a member has taken one order, the next would have its number.
        let _alone = trade.ordering.lock().await;
        match order(node, &wanting, offered, deadline).await? {
            Ordered::Waits(waiting) => return Ok(*waiting),
            Ordered::IsUnderWay => true,
            Ordered::Signed => {
                buy::drop_wish(trade, &wanting).await;
                trade.reach(Step::Paid).await;
                follow(node, wanting.group, wanting.offer).await?;
                false
            }
        }
    };
    // From here on the task that looks after it goes on.
    trade.stir();
    wait_for(trade, &wanting, already_owned, deadline).await
}

/// What came of ordering.
enum Ordered {
    /// A person has to approve it.
    Waits(Box<Bought>),
    /// It was bought before.
    IsUnderWay,
    /// An order rests on the disk, to be handed over.
    Signed,
}

/// Signs an order, unless one rests on the disk that may still count.
async fn order(node: &Node, wanting: &Wanting, offered: Offered, deadline: Instant) -> Result<Ordered, TradeError> {
    let trade = &node.trade;
    let account = account(node, wanting, deadline).await?;
    let _alone = trade.buying.lock().await;
    if is_under_way(trade, wanting).await? {
        return Ok(Ordered::IsUnderWay);
    }
    let before = known(trade, wanting).await?.filter(|row| standing::state_of(row).is_none());
    let may_count = |row: &Outside| {
        let order = SignedOrder::decode(&row.order);
        order.is_ok_and(|order| order.order().nonce == account.nonce && order.order().expires_ms > unix_ms())
    };
    if before.as_ref().is_some_and(may_count) {
        return Ok(Ordered::Signed);
    }
    if let Some(waiting) = buy::hold_back(trade, wanting, &look(trade, wanting).await?).await? {
        return Ok(Ordered::Waits(Box::new(waiting)));
    }
    let mut row = Outside {
        seller: wanting.seller,
        offered,
        order: ByteBuf::new(),
        purchase: PurchaseId::from_bytes([0; 32]),
        nonce: account.nonce,
        at_ms: unix_ms(),
        declined: None,
        state: None,
        until_ms: None,
        sealed_key: None,
    };
    if let Some(bought) = account.purchases.iter().find(|bought| bought.offer == wanting.offer) {
        // This node has forgotten what it bought: its folder is older, or an order counted that it held for dead.
        take_in(&mut row, bought);
        keep(trade, wanting.group, wanting.offer, Some(&row)).await?;
        return Ok(Ordered::IsUnderWay);
    }
    let order = buy::sign(trade, wanting, account.nonce);
    trade.reach(Step::Signed).await;
    row.purchase = order.id();
    row.order = ByteBuf::from(order.encode());
    keep(trade, wanting.group, wanting.offer, Some(&row)).await?;
    Ok(Ordered::Signed)
}

/// Whether it was bought, and not given back.
async fn is_under_way(trade: &Trade, wanting: &Wanting) -> Result<bool, TradeError> {
    let state = known(trade, wanting).await?.and_then(|row| standing::state_of(&row));
    Ok(state.is_some_and(|state| state != PurchaseStatus::Refunded))
}

/// Takes in what a member has told of a purchase.
fn take_in(row: &mut Outside, bought: &TheirWord) {
    row.purchase = bought.purchase;
    row.nonce = bought.nonce;
    row.declined = None;
    row.state = Some(bought.state.clone());
    row.until_ms = bought.until_ms;
    row.sealed_key = bought.sealed_key.clone().or(row.sealed_key.take());
}

/// What is announced, by one seller.
fn announced(found: Found, how: HowToBuy) -> Result<(Wanting, Offered), TradeError> {
    let (group, offer, seller, offered) = match found {
        // A group that this node was a member of.
        Found::Here(here) => (here.group, here.offer.id, here.offer.row.seller, here.offered()),
        Found::Announced(records) => {
            let is_meant = |seller: Identity| how.seller.is_none_or(|meant| meant == seller);
            let mut meant = records.iter().map(crate::announcement::Verified::announcement);
            let mut meant: Vec<&Announcement> = meant.by_ref().filter(|record| is_meant(record.seller)).collect();
            let count = meant.len();
            let Some((record, offered)) = meant.pop().and_then(|record| Some((record, record.offered()?))) else {
                return Err(TradeError::NoSuchOffer("of that seller".to_owned()));
            };
            if count > 1 {
                return Err(TradeError::Sellers { offer: record.offer, count });
            }
            (record.group, record.offer, record.seller, offered.clone())
        }
    };
    Ok((Wanting::new(group, offer, seller, &offered), offered))
}

async fn keep(trade: &Trade, group: GroupId, offer: OfferId, row: Option<&Outside>) -> Result<(), TradeError> {
    Ok(trade.shelve(shelf::of_offer::<Outside>(&trade.me, &group, &offer), row).await?)
}

async fn row(trade: &Trade, group: GroupId, offer: OfferId) -> Result<Option<Outside>, TradeError> {
    let trade = trade.clone();
    aside(move || Ok(Shared::shelved(&trade.view()?, &shelf::of_offer::<Outside>(&trade.me, &group, &offer))?)).await
}

async fn known(trade: &Trade, wanting: &Wanting) -> Result<Option<Outside>, TradeError> {
    row(trade, wanting.group, wanting.offer).await
}

/// Tokens of this node's own orders in a group of others, of the last [`limits::SPENDING_SPAN_MS`]; and how many of its orders in all
/// such groups are open.
pub fn spent(view: &View, me: &Identity, group: &GroupId, now_ms: u64) -> Result<(u64, usize), KvError> {
    let since_ms = now_ms.saturating_sub(limits::SPENDING_SPAN_MS);
    let (mut spent, mut open) = (0_u64, 0);
    for (key, bytes) in view.local_rows(&shelf::all_of::<Outside>(me))? {
        let (Some((of, _)), Some(row)) = (shelf::named(&key), Outside::from_row(&bytes)) else { continue };
        let state = standing::state_of(&row);
        open += usize::from(!state.is_some_and(PurchaseStatus::is_ended));
        if of == *group && row.at_ms > since_ms && state != Some(PurchaseStatus::Refunded) {
            spent = spent.saturating_add(row.offered.offer.price);
        }
    }
    Ok((spent, open))
}

/// The limit, and what counts against it: this node's own orders there.
async fn look(trade: &Trade, wanting: &Wanting) -> Result<Looked, TradeError> {
    let (trade, wanting) = (trade.clone(), wanting.clone());
    aside(move || {
        let view = trade.view()?;
        let (spent, open) = spent(&view, &trade.me, &wanting.group, unix_ms())?;
        if open >= limits::OUTSIDE_ORDERS {
            return Err(TradeError::TooManyOutside);
        }
        Ok(Looked { spent, ..buy::bounds(&trade, &view, &wanting)? })
    })
    .await
}

/// Asks the seller, and then others that are connected, until somebody tells.
async fn ask<T>(
    node: &Node,
    seller: Identity,
    deadline: Instant,
    request: &Request,
    take: impl Fn(Identity, Response) -> Option<T>,
) -> Result<Option<T>, TradeError> {
    let until = (Instant::now() + Duration::from_millis(CALL_MS)).min(deadline);
    let is_connected =
        async || Ok::<_, TradeError>(node.peers().await?.iter().any(|info| info.peer == seller && info.link.is_some()));
    if !is_connected().await? && node.call_peer(seller).await? {
        while !is_connected().await? && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let peers = node.peers().await?;
    let others = peers.iter().filter(|info| info.link.is_some() && info.peer != seller).map(|info| info.peer);
    for peer in std::iter::once(seller).chain(others.take(ASKED)) {
        loop {
            let answered = node.ask_peer(peer, request.clone()).await?;
            // Who has too much to do says when to come again, or closes the stream.
            let (after_ms, until) = match &answered {
                Ok(Response::Refused(Refused::Busy(after_ms))) => (Some(*after_ms), deadline),
                Err(AskFailed::Request(RequestError::Closed)) => (Some(BUSY_MS), until),
                _ => (None, until),
            };
            if let Some(after_ms) = after_ms.filter(|_| Instant::now() < until) {
                let pause_ms = after_ms.clamp(BUSY_MS, limits::REQUEST_TIMEOUT_MS);
                tokio::time::sleep_until((Instant::now() + Duration::from_millis(pause_ms)).min(until)).await;
            } else if let Some(taken) = answered.ok().and_then(|response| take(peer, response)) {
                return Ok(Some(taken));
            } else {
                break;
            }
        }
    }
    Ok(None)
}

/// Asks about the buyer's account. Of an agent the connection proves nothing: it signs that this node asks for it.
fn about(node: &Node, group: GroupId, purchases: Vec<PurchaseId>, offers: Vec<OfferId>) -> Request {
    let agent = (node.identity != node.node_id).then(|| {
        let (from_ms, key) = (unix_ms(), &node.trade.key);
        let expires_ms = from_ms.saturating_add(limits::DELEGATION_LIFE_MS);
        Delegation { group, agent: node.identity, node: node.node_id, from_ms, expires_ms }.sign(key)
    });
    Request::Account(GetAccount { group, purchases, offers, agent })
}

async fn account(node: &Node, wanting: &Wanting, deadline: Instant) -> Result<Account, TradeError> {
    let request = about(node, wanting.group, vec![], vec![wanting.offer]);
    let refused = std::sync::Mutex::new(None);
    let told = ask(node, wanting.seller, deadline, &request, |peer, response| match response {
        Response::Account(account) => Some(account),
        Response::Refused(Refused::NotShared) => {
            refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(peer);
            None
        }
        _ => None,
    });
    match told.await? {
        Some(account) => Ok(account),
        None => match refused.into_inner().ok().flatten() {
            // The seller is a member; of another we do not know.
            Some(asked) if asked == wanting.seller => Err(TradeError::NoAccount { group: wanting.group, asked }),
            _ => Err(TradeError::NoMember(wanting.group)),
        },
    }
}

/// Does the next thing for a purchase: hands its order over, or asks how it stands. Tells whether something has changed.
///
/// An order that was declined is kept and asked about until it has expired, and as long again: **who declines it may keep it, and hand
/// it in later**.
pub(super) async fn follow(node: &Node, group: GroupId, offer: OfferId) -> Result<bool, TradeError> {
    let trade = &node.trade;
    let Some(mut row) = row(trade, group, offer).await? else { return Ok(false) };
    let before = row.clone();
    let mut is_dead = false;
    if row.state.is_none() {
        hand_over(node, &mut row).await?;
    }
    if row != before || row.state.is_some() || row.declined.is_some() {
        // What was just taken shows with the next question.
        let is_new = before.state.is_none() && row.state.is_some();
        let told = if is_new { None } else { stands(node, &row, group, offer).await? };
        match told {
            Some(Some(bought)) => take_in(&mut row, &bought),
            // Whoever said that it was taken may not have written it: it is handed over again.
            Some(None) if row.state.as_deref() == Some(PurchaseStatus::Paid.word()) => row.state = None,
            Some(None) => is_dead = row.state.is_none() && is_past(&row),
            None => {}
        }
    }
    let is_kept = deliver(node, group, offer, &row).await?;
    let changed = {
        let _alone = trade.following.lock().await;
        // Somebody else may have followed it meanwhile, and know more.
        if row == before && !is_dead || self::row(trade, group, offer).await?.as_ref() != Some(&before) {
            false
        } else {
            keep(trade, group, offer, Some(&row).filter(|_| !is_dead)).await?;
            true
        }
    };
    if changed || is_kept {
        trade.stir();
    }
    Ok(changed)
}

/// Hands an order over, to whoever takes it first.
async fn hand_over(node: &Node, row: &mut Outside) -> Result<(), TradeError> {
    let Ok(order) = SignedOrder::decode(&row.order) else { return Ok(()) };
    row.declined = None;
    if order.order().expires_ms < unix_ms() {
        row.declined = Some("it has expired".to_owned());
        return Ok(());
    }
    let id = order.id();
    let declined = std::sync::Mutex::new(None);
    let deadline = Instant::now() + Duration::from_millis(CALL_MS);
    let request = Request::Order(Box::new(order));
    // Anybody may say no: it counts only where nobody says yes.
    let taken = ask(node, row.seller, deadline, &request, |_, response| match response {
        Response::Ordered(taken) if taken == id => Some(()),
        Response::Refused(Refused::Declined(why)) => {
            declined.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(why);
            None
        }
        _ => None,
    });
    if taken.await?.is_some() {
        row.state = Some(PurchaseStatus::Paid.word().to_owned());
    } else if let Some(why) = declined.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        row.declined = Some(why.chars().flat_map(char::escape_debug).collect());
    }
    Ok(())
}

/// What a member tells of a purchase; inside none where the member knows of none.
async fn stands(
    node: &Node,
    row: &Outside,
    group: GroupId,
    offer: OfferId,
) -> Result<Option<Option<TheirWord>>, TradeError> {
    let request = about(node, group, vec![row.purchase], vec![offer]);
    let deadline = Instant::now() + Duration::from_millis(CALL_MS);
    ask(node, row.seller, deadline, &request, |_, response| match response {
        Response::Account(account) => {
            let of_offer = account.purchases.into_iter().filter(|bought| bought.offer == offer);
            // The one that counts, or how this one has ended.
            Some(of_offer.max_by_key(|bought| bought.state != PurchaseStatus::Refunded.word()))
        }
        _ => None,
    })
    .await
}

/// Whether an order that nobody has taken has been over for as long as it held.
fn is_past(row: &Outside) -> bool {
    let expires_ms = SignedOrder::decode(&row.order).map_or(0, |order| order.order().expires_ms);
    expires_ms.saturating_add(limits::ORDER_LIFE_MS) < unix_ms()
}

/// Keeps what opens the package, where the key that was handed on does; else hands a dispute over.
async fn deliver(node: &Node, group: GroupId, offer: OfferId, row: &Outside) -> Result<bool, TradeError> {
    let trade = &node.trade;
    let Some(sealed_key) = row.sealed_key.clone().filter(|_| !is_over(row)) else { return Ok(false) };
    let key = shelf::of_offer::<Owned>(&trade.me, &group, &offer);
    if trade.view()?.local(&key)?.is_some() {
        return Ok(false);
    }
    let package = row.offered.offer.package;
    let secret = shelf::one_time(&trade.key, &group, &offer, row.nonce);
    let grant = Grant { purchase: row.purchase, sealed_key: sealed_key.clone() };
    let Some(key) = grant.open(&secret).ok().filter(|key| key.commitment() == package.key) else {
        return dispute(node, group, row, Dispute { purchase: row.purchase, secret, chunk: None }).await;
    };
    let wanted = Wanted { commitment: package, seller: row.seller };
    node.fetch_package(wanted).await?.map_err(|why| TradeError::NotHere { offer, why })?;
    let packages = Arc::clone(&trade.packages);
    let shown = aside(move || match library::open(&packages, &package, &key)? {
        Some(Err(PackageError::Chunk(index))) => Ok(prove(&packages.read(&package)?.unwrap_or_default(), index)),
        Some(Ok(_) | Err(_)) => Ok(None),
        None => Err(TradeError::NotHere { offer, why: NotFetched::Nobody }),
    })
    .await?;
    if let Some(chunk) = shown {
        return dispute(node, group, row, Dispute { purchase: row.purchase, secret, chunk: Some(chunk) }).await;
    }
    let owned = Owned {
        purchase: row.purchase,
        nonce: row.nonce,
        seller: row.seller,
        group_name: row.offered.group_name.clone(),
        title: row.offered.offer.title.clone(),
        tags: row.offered.offer.tags.clone(),
        price: row.offered.offer.price,
        bought_ms: row.at_ms,
        package,
        sealed_key,
    };
    trade.keep(group, offer, &owned).await?;
    Ok(true)
}

/// Has a member show everybody that a grant does not deliver. Whether that counts shows when the purchase is asked about again.
async fn dispute(node: &Node, group: GroupId, row: &Outside, dispute: Dispute) -> Result<bool, TradeError> {
    tracing::warn!(purchase = %dispute.purchase, seller = %row.seller, "a grant does not deliver: handing a dispute over");
    let deadline = Instant::now() + Duration::from_millis(CALL_MS);
    let request = Request::Dispute(Box::new(HandedDispute { group, dispute }));
    // To all: one that keeps it back, as its seller may, keeps it from nobody.
    let taken = std::sync::atomic::AtomicBool::new(false);
    let hand_on = |_, response| -> Option<()> {
        taken.fetch_or(matches!(response, Response::Ordered(_)), std::sync::atomic::Ordering::Relaxed);
        None
    };
    ask(node, row.seller, deadline, &request, hand_on).await?;
    Ok(taken.into_inner())
}

/// Whether a purchase needs nothing any more.
pub(super) fn is_over(row: &Outside) -> bool {
    standing::state_of(row).is_some_and(PurchaseStatus::is_ended)
}

async fn wait_for(
    trade: &Trade,
    wanting: &Wanting,
    already_owned: bool,
    deadline: Instant,
) -> Result<Bought, TradeError> {
    let mut revision = trade.revision.subscribe();
    loop {
        let row = known(trade, wanting).await?.ok_or_else(|| TradeError::Declined("it has expired".to_owned()))?;
        if let Some(why) = row.declined.clone().filter(|_| row.state.is_none()) {
            return Err(TradeError::Declined(why));
        }
        let purchase = standing::of_outside(wanting.group, wanting.offer, &row, &trade.me);
        let (own, at) = (trade.clone(), wanting.clone());
        let opened = aside(move || {
            let view = own.view()?;
            let owned = Shared::shelved::<Owned>(&view, &shelf::of_offer::<Owned>(&own.me, &at.group, &at.offer))?;
            let Some(owned) = owned else { return Ok(false) };
            let (purchase, here) = (Some(owned.purchase), own.packages.has(&owned.package.package));
            let item = library::Item { group: at.group, offer: at.offer, purchase, owned, here };
            library::opens(&own, &view, &item)
        })
        .await?;
        let moved = async { tokio::time::timeout_at(deadline, revision.changed()).await };
        if opened || is_over(&row) || !matches!(moved.await, Ok(Ok(()))) {
            return Ok(Bought { purchase, opened, already_owned });
        }
    }
}
