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
use crate::chain::{GroupId, OfferId};
use crate::identity::Identity;
use crate::ledger::market::{MarketRefusal, PurchaseStatus};
use crate::limits;
use crate::node::market::io::Wanted;
use crate::node::trade::shelf::{self, Outside, Owned, Shelved};
use crate::package::{PackageError, prove};
use crate::runtime::Node;
use crate::runtime::clock::unix_ms;
use crate::wire::market::{Account, GetAccount, HandedDispute, Refused, Request, Response};

/// How long a seller that is not connected is waited for, milliseconds.
const CALL_MS: u64 = 3_000;
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
    if node.identity != node.node_id {
        // A member tells about an account whom the connection proves to be its owner.
        return Err(TradeError::AgentOutside(wanting.group));
    }
    if let Some(before) = known(trade, &wanting).await?
        && standing::state_of(&before) != Some(PurchaseStatus::Refunded)
    {
        return wait_for(trade, &wanting, true, deadline).await;
    }
    if wanting.seller == trade.me {
        return Err(MarketRefusal::OwnOffer(wanting.offer).into());
    }
    if offered.offer.expires_ms.is_some_and(|until| until < unix_ms()) {
        return Err(MarketRefusal::OfferExpired(wanting.offer).into());
    }
    buy::is_cheap_enough(wanting.offer, wanting.price, how)?;
    let account = account(node, &wanting, deadline).await?;
    buy::can_pay(trade.me, account.balance, wanting.price)?;
    if let Some(waiting) = buy::hold_back(trade, &wanting, &look(trade, &wanting).await?).await? {
        return Ok(waiting);
    }
    trade.reach(Step::Found).await;
    buy::fetch(node, &wanting, deadline).await?;
    trade.reach(Step::Fetched).await;
    {
        let _alone = trade.buying.lock().await;
        if let Some(waiting) = buy::hold_back(trade, &wanting, &look(trade, &wanting).await?).await? {
            return Ok(waiting);
        }
        let order = buy::sign(trade, &wanting, account.nonce);
        trade.reach(Step::Signed).await;
        let row = Outside {
            seller: wanting.seller,
            offered,
            order: ByteBuf::from(order.encode()),
            at_ms: unix_ms(),
            state: None,
            until_ms: None,
            sealed_key: None,
        };
        keep(trade, wanting.group, wanting.offer, Some(&row)).await?;
    }
    buy::drop_wish(trade, &wanting).await;
    trade.reach(Step::Paid).await;
    follow(node, wanting.group, wanting.offer).await?;
    // From here on the task that looks after it goes on.
    trade.stir();
    wait_for(trade, &wanting, false, deadline).await
}

/// What is announced, by one seller.
fn announced(found: Found, how: HowToBuy) -> Result<(Wanting, Offered), TradeError> {
    let (group, offer, seller, offered) = match found {
        // A group that this node was a member of.
        Found::Here(here) => {
            let offered =
                Offered { group_name: here.group_name, currency: here.currency, offer: here.offer.terms.clone() };
            (here.group, here.offer.id, here.offer.row.seller, offered)
        }
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
    let wanting = Wanting {
        group,
        offer,
        seller,
        title: offered.offer.title.clone(),
        price: offered.offer.price,
        package: offered.offer.package,
    };
    Ok((wanting, offered))
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

/// The limit, and what counts against it: this node's own orders there.
async fn look(trade: &Trade, wanting: &Wanting) -> Result<Looked, TradeError> {
    let (trade, wanting) = (trade.clone(), wanting.clone());
    aside(move || {
        let view = trade.view()?;
        let since_ms = unix_ms().saturating_sub(limits::SPENDING_SPAN_MS);
        let (mut spent, mut open) = (0_u64, 0);
        for (key, bytes) in view.local_rows(&shelf::all_of::<Outside>(&trade.me))? {
            let (Some((group, _)), Some(row)) = (shelf::named(&key), Outside::from_row(&bytes)) else { continue };
            let state = standing::state_of(&row);
            open += usize::from(!state.is_some_and(PurchaseStatus::is_ended));
            if group == wanting.group && row.at_ms > since_ms && state != Some(PurchaseStatus::Refunded) {
                spent = spent.saturating_add(row.offered.offer.price);
            }
        }
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
        if let Ok(response) = node.ask_peer(peer, request.clone()).await?
            && let Some(taken) = take(peer, response)
        {
            return Ok(Some(taken));
        }
    }
    Ok(None)
}

async fn account(node: &Node, wanting: &Wanting, deadline: Instant) -> Result<Account, TradeError> {
    let request = Request::Account(GetAccount { group: wanting.group, purchases: vec![] });
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
/// # Errors
/// [`TradeError::Declined`] where the order was not taken: then nothing was paid, and nothing is left of it.
pub(super) async fn follow(node: &Node, group: GroupId, offer: OfferId) -> Result<bool, TradeError> {
    let trade = &node.trade;
    let Some(mut row) = row(trade, group, offer).await? else { return Ok(false) };
    let Ok(order) = SignedOrder::decode(&row.order) else { return Ok(false) };
    let before = row.clone();
    let deadline = Instant::now() + Duration::from_millis(CALL_MS);
    if row.state.is_none() {
        let request = Request::Order(Box::new(order.clone()));
        let id = order.id();
        let told = ask(node, row.seller, deadline, &request, |_, response| match response {
            Response::Ordered(taken) if taken == id => Some(Ok(())),
            Response::Refused(Refused::Declined(why)) => Some(Err(why)),
            _ => None,
        });
        match told.await? {
            Some(Ok(())) => row.state = Some(PurchaseStatus::Paid.word().to_owned()),
            Some(Err(why)) => {
                keep(trade, group, offer, None).await?;
                trade.stir();
                return Err(TradeError::Declined(why.chars().flat_map(char::escape_debug).collect()));
            }
            None => {}
        }
    } else {
        let request = Request::Account(GetAccount { group, purchases: vec![order.id()] });
        let told = ask(node, row.seller, deadline, &request, |_, response| match response {
            Response::Account(account) => account.purchases.into_iter().find(|bought| bought.purchase == order.id()),
            _ => None,
        });
        if let Some(bought) = told.await? {
            row.state = Some(bought.state);
            row.until_ms = bought.until_ms;
            row.sealed_key = bought.sealed_key.or(row.sealed_key);
        }
    }
    let is_kept = deliver(node, group, offer, &row, &order).await?;
    if row != before {
        keep(trade, group, offer, Some(&row)).await?;
    }
    if row != before || is_kept {
        trade.stir();
    }
    Ok(row != before)
}

/// Keeps what opens the package, where the key that was handed on does; else hands a dispute over.
async fn deliver(
    node: &Node,
    group: GroupId,
    offer: OfferId,
    row: &Outside,
    order: &SignedOrder,
) -> Result<bool, TradeError> {
    let trade = &node.trade;
    let Some(sealed_key) = row.sealed_key.clone().filter(|_| !is_over(row)) else { return Ok(false) };
    let key = shelf::of_offer::<Owned>(&trade.me, &group, &offer);
    if trade.view()?.local(&key)?.is_some() {
        return Ok(false);
    }
    let package = row.offered.offer.package;
    let secret = shelf::one_time(&trade.key, &group, &offer, order.order().nonce);
    let grant = Grant { purchase: order.id(), sealed_key: sealed_key.clone() };
    let Some(key) = grant.open(&secret).ok().filter(|key| key.commitment() == package.key) else {
        return dispute(node, group, row, Dispute { purchase: order.id(), secret, chunk: None }).await;
    };
    let wanted = Wanted { commitment: package, seller: row.seller };
    node.fetch_package(wanted).await?.map_err(|why| TradeError::NotHere { offer, why })?;
    let packages = Arc::clone(&trade.packages);
    let shown = aside(move || match library::open(&packages, &package, &key)? {
        Some(Err(PackageError::Chunk(index))) => Ok(prove(&packages.read(&package)?.unwrap_or_default(), index)),
        Some(Ok(_) | Err(_)) | None => Ok(None),
    })
    .await?;
    if let Some(chunk) = shown {
        return dispute(node, group, row, Dispute { purchase: order.id(), secret, chunk: Some(chunk) }).await;
    }
    let owned = Owned {
        purchase: order.id(),
        nonce: order.order().nonce,
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
        let row =
            known(trade, wanting).await?.ok_or_else(|| TradeError::Declined("a member has refused it".to_owned()))?;
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
