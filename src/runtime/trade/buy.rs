//! Buying: the package first, then the order, then the wait for its key.
//!
//! **However often it is asked for, a purchase is paid once**: what is owned is opened, what is under way is waited for, and the ledger
//! takes one purchase of an offer by a buyer. **Nothing is signed above the spending limit** before a person has said so.

use std::time::Duration;

use tokio::time::Instant;

use super::find::{Found, Offered, find, here};
use super::steps::Step;
use super::{Trade, TradeError, aside, library, outside, standing};
use crate::announcement::Verified;
use crate::api::types::{Purchase, PurchaseState};
use crate::chain::transaction::{self, ORDER_VERSION, OfferCreate, Order, SignedOrder};
use crate::chain::{GroupId, OfferId, PurchaseId, TermsHash, Transaction};
use crate::identity::Identity;
use crate::ledger::market::{MarketRefusal, PurchaseRow, PurchaseStatus, query};
use crate::ledger::{Refusal, TokenRefusal, account, state};
use crate::limits;
use crate::node::engine::Groups;
use crate::node::market::io::Wanted;
use crate::node::trade::shelf::{self, Limit, Wish};
use crate::node::trade::spending;
use crate::package::Commitment;
use crate::runtime::Node;
use crate::runtime::clock::unix_ms;
use crate::runtime::writer::WriteError;
use crate::store::View;

/// How something is to be bought.
#[derive(Debug, Clone, Copy)]
pub struct HowToBuy {
    /// The most that it may cost.
    pub max_price: Option<u64>,
    /// How long to wait for it.
    pub wait: Duration,
    /// Whose, where several announce the offer.
    pub seller: Option<Identity>,
}

/// A purchase as it stands when the wait is over.
#[derive(Debug, Clone)]
pub struct Bought {
    /// It.
    pub purchase: Purchase,
    /// Whether the package is here and its key opens it.
    pub opened: bool,
    /// Whether it was bought before.
    pub already_owned: bool,
}

/// What is to be bought, with what all ways to buy it need.
#[derive(Debug, Clone)]
pub(super) struct Wanting {
    pub(super) group: GroupId,
    pub(super) offer: OfferId,
    pub(super) seller: Identity,
    pub(super) title: String,
    pub(super) price: u64,
    pub(super) package: Commitment,
    pub(super) terms: TermsHash,
}

impl Wanting {
    /// An offer as the ledger here has it, or as it is announced.
    pub(super) fn new(group: GroupId, offer: OfferId, seller: Identity, offered: &transaction::Offered) -> Self {
        let OfferCreate { title, price, package, .. } = &offered.offer;
        let (title, price, package) = (title.clone(), *price, *package);
        Self { group, offer, seller, title, price, package, terms: offered.terms() }
    }
}

/// Buys an offer's package, or goes on with that; returns when it is here, or the wait is over.
///
/// # Errors
/// [`TradeError`]: then nothing was paid, or what was paid is under way and the error says so.
pub async fn buy(node: &Node, text: &str, how: HowToBuy) -> Result<Bought, TradeError> {
    let deadline = Instant::now() + how.wait;
    let mut revision = node.trade.revision.subscribe();
    loop {
        match find(node, text).await? {
            Found::Here(found) if found.is_member => return here_as_member(node, *found, how, deadline).await,
            Found::Announced(records) => {
                let (ours, elsewhere) = by_membership(&node.trade, records, how.seller).await?;
                match (ours, elsewhere) {
                    (0, elsewhere) => {
                        return outside::purchase(node, Found::Announced(elsewhere), how, deadline).await;
                    }
                    // A member takes nobody's word for what its ledger will say: the offer's block is on its way, or there is none.
                    (_, elsewhere) if elsewhere.is_empty() => {
                        let moved = tokio::time::timeout_at(deadline, revision.changed()).await;
                        if !matches!(moved, Ok(Ok(()))) {
                            return Err(TradeError::NoSuchOffer(text.to_owned()));
                        }
                    }
                    (ours, elsewhere) => {
                        let count = ours + elsewhere.len();
                        let offer = elsewhere.first().map(|record| record.announcement().offer);
                        let Some(offer) = offer else { return Err(TradeError::NoSuchOffer(text.to_owned())) };
                        return Err(TradeError::Sellers { offer, count });
                    }
                }
            }
            found => return outside::purchase(node, found, how, deadline).await,
        }
    }
}

/// How many announcements, of those that are meant, are of groups that this node is a member of; and the others.
async fn by_membership(
    trade: &Trade,
    records: Vec<Verified>,
    seller: Option<Identity>,
) -> Result<(usize, Vec<Verified>), TradeError> {
    let trade = trade.clone();
    aside(move || {
        let view = trade.view()?;
        let (mut ours, mut elsewhere) = (0, Vec::new());
        for record in records {
            let said = record.announcement();
            if seller.is_some_and(|meant| meant != said.seller) {
                continue;
            }
            match view.group(&said.group)? {
                Some(kv) if state::member(kv.as_ref(), &trade.me)?.is_some() => ours += 1,
                _ => elsewhere.push(record),
            }
        }
        Ok((ours, elsewhere))
    })
    .await
}

async fn here_as_member(node: &Node, found: Offered, how: HowToBuy, deadline: Instant) -> Result<Bought, TradeError> {
    let trade = &node.trade;
    let wanting = Wanting::new(found.group, found.offer.id, found.offer.row.seller, &found.offered());
    if let Some(purchase) = owned(trade, &wanting).await? {
        drop_wish(trade, &wanting).await;
        return wait_for(node, &wanting, purchase, true, deadline).await;
    }
    may_be_bought(&found, trade.me, how)?;
    let looked = look(trade, &wanting).await?;
    if let Some(waiting) = hold_back(trade, &wanting, &looked).await? {
        return Ok(waiting);
    }
    trade.reach(Step::Found).await;
    fetch(node, &wanting, deadline).await?;
    trade.reach(Step::Fetched).await;
    let placed = {
        // Two purchases at once would not see one another in the limit, and would take one number.
        let _alone = trade.buying.lock().await;
        match owned(trade, &wanting).await? {
            Some(purchase) => (purchase, true),
            None => {
                let looked = look(trade, &wanting).await?;
                if let Some(waiting) = hold_back(trade, &wanting, &looked).await? {
                    return Ok(waiting);
                }
                match place(trade, &wanting, looked.nonce).await {
                    // Something else was given away since it was looked at.
                    Err(error) if error.is_above_limit() => {
                        let looked = look(trade, &wanting).await?;
                        return hold_back(trade, &wanting, &looked).await?.ok_or(error);
                    }
                    placed => placed?,
                }
            }
        }
    };
    trade.reach(Step::Paid).await;
    wait_for(node, &wanting, placed.0, placed.1, deadline).await
}

/// Writes the purchase; tells it, and whether it was there.
async fn place(trade: &Trade, wanting: &Wanting, nonce: u64) -> Result<(PurchaseId, bool), TradeError> {
    let order = sign(trade, wanting, nonce);
    let id = order.id();
    trade.reach(Step::Signed).await;
    let purchase = Transaction::Purchase(transaction::Purchase { order });
    let placed = match trade.write(wanting.group, purchase).await.map_err(TradeError::from) {
        Ok(_) => (id, false),
        Err(error) => match error.market() {
            Some(MarketRefusal::AlreadyBought(_, before)) => (*before, true),
            _ => return Err(error),
        },
    };
    drop_wish(trade, wanting).await;
    Ok(placed)
}

/// What the buyer agrees to, signed.
pub(super) fn sign(trade: &Trade, wanting: &Wanting, nonce: u64) -> SignedOrder {
    let Wanting { group, offer, seller, price, terms, .. } = *wanting;
    let key = shelf::one_time(&trade.key, &group, &offer, nonce).key();
    let expires_ms = unix_ms().saturating_add(trade.order_life_ms);
    let (version, buyer) = (ORDER_VERSION, trade.me);
    Order { version, group, buyer, offer, seller, terms, price, nonce, expires_ms, key }.sign(&trade.key)
}

/// What the ledger would refuse, before the package is fetched for it.
fn may_be_bought(found: &Offered, me: Identity, how: HowToBuy) -> Result<(), TradeError> {
    let (offer, terms) = (found.offer.id, &found.offer.terms);
    if found.offer.row.seller == me {
        return Err(MarketRefusal::OwnOffer(offer).into());
    }
    if found.offer.row.revoked_by.is_some() {
        return Err(MarketRefusal::OfferRevoked(offer).into());
    }
    if !found.offer.stands(unix_ms()) {
        return Err(MarketRefusal::OfferExpired(offer).into());
    }
    is_cheap_enough(offer, terms.price, how)
}

pub(super) fn is_cheap_enough(offer: OfferId, price: u64, how: HowToBuy) -> Result<(), TradeError> {
    match how.max_price {
        Some(most) if most < price => Err(TradeError::PriceAbove { offer, price, most }),
        _ => Ok(()),
    }
}

/// What counts before a purchase.
pub(super) struct Looked {
    pub(super) nonce: u64,
    pub(super) limit: Option<u64>,
    pub(super) spent: u64,
    pub(super) approved: bool,
}

/// Looks at the account and the limit, as the ledger here has them.
async fn look(trade: &Trade, wanting: &Wanting) -> Result<Looked, TradeError> {
    let (trade, wanting) = (trade.clone(), wanting.clone());
    aside(move || {
        let view = trade.view()?;
        let Some(kv) = view.group(&wanting.group)? else {
            return Err(TradeError::NoSuchOffer(wanting.offer.to_string()));
        };
        if state::member(kv.as_ref(), &wanting.seller)?.is_none() {
            return Err(MarketRefusal::SellerGone(wanting.offer, wanting.seller).into());
        }
        let account = account::account(kv.as_ref(), &trade.me)?;
        can_pay(trade.me, account.balance, wanting.price)?;
        let spent = spending::spent(kv.as_ref(), &trade.me, unix_ms())?;
        Ok(Looked { nonce: account.nonce, spent, ..bounds(&trade, &view, &wanting)? })
    })
    .await
}

pub(super) fn can_pay(account: Identity, balance: u64, amount: u64) -> Result<(), TradeError> {
    if amount <= balance {
        return Ok(());
    }
    Err(TradeError::Refused(Box::new(Refusal::Token(TokenRefusal::Balance { account, balance, amount, fee: 0 }))))
}

/// What an identity may spend in a group: what is set for that group, else what is set for all.
///
/// # Errors
/// [`KvError`](crate::kv::KvError) where the store fails.
pub fn limit(view: &View, group: &GroupId, spender: &Identity) -> Result<Option<Limit>, crate::kv::KvError> {
    spending::limit(view, group, spender)
}

/// Sets what an identity may spend in a group, or in all that have no limit of their own; none takes the limit away.
///
/// # Errors
/// [`WriteError`] where it cannot be kept.
pub async fn set_limit(
    node: &Node,
    group: Option<&GroupId>,
    spender: &Identity,
    per_day: Option<u64>,
) -> Result<(), WriteError> {
    let key = group.map_or_else(|| shelf::of_spender_everywhere(spender), |group| shelf::of_spender(group, spender));
    node.trade.shelve(key, per_day.map(|per_day| Limit { per_day }).as_ref()).await
}

/// The limit, and a person's word.
pub(super) fn bounds(trade: &Trade, view: &View, wanting: &Wanting) -> Result<Looked, TradeError> {
    let limit = limit(view, &wanting.group, &trade.me)?;
    let wish =
        super::Shared::shelved::<Wish>(view, &shelf::of_offer::<Wish>(&trade.me, &wanting.group, &wanting.offer))?;
    let approved = wish.is_some_and(|wish| wish.approved && wish.price >= wanting.price);
    Ok(Looked { nonce: 0, limit: limit.map(|limit| limit.per_day), spent: 0, approved })
}

/// Where a purchase is above its limit, and nobody has approved it: keeps it for a person to see, and tells how it stands.
pub(super) async fn hold_back(trade: &Trade, wanting: &Wanting, looked: &Looked) -> Result<Option<Bought>, TradeError> {
    let is_within = looked.limit.is_none_or(|limit| looked.spent.saturating_add(wanting.price) <= limit);
    if is_within || looked.approved || wanting.price == 0 {
        return Ok(None);
    }
    let key = shelf::of_offer::<Wish>(&trade.me, &wanting.group, &wanting.offer);
    let (own, at) = (trade.clone(), key.clone());
    let (known, count) = aside(move || {
        let view = own.view()?;
        Ok((super::Shared::shelved::<Wish>(&view, &at)?, view.local_rows(&shelf::all_of::<Wish>(&own.me))?.len()))
    })
    .await?;
    if known.is_none() && count >= limits::WISHES {
        return Err(TradeError::TooManyWishes);
    }
    let asked_ms = known.map_or_else(unix_ms, |wish| wish.asked_ms);
    let Wanting { seller, ref title, price, .. } = *wanting;
    let wish = Wish { seller, title: title.clone(), price, asked_ms, approved: false };
    trade.shelve(key, Some(&wish)).await?;
    let purchase = standing::of_wish(wanting.group, wanting.offer, &wish, &trade.me);
    Ok(Some(Bought { purchase, opened: false, already_owned: false }))
}

/// A wish that came true, or never will.
pub(super) async fn drop_wish(trade: &Trade, wanting: &Wanting) {
    let key = shelf::of_offer::<Wish>(&trade.me, &wanting.group, &wanting.offer);
    let is_there = trade.view().and_then(|view| view.local(&key)).ok().flatten().is_some();
    if is_there && let Err(error) = trade.shelve::<Wish>(key, None).await {
        tracing::warn!(%error, offer = %wanting.offer, "a purchase still shows as waiting for approval");
    }
}

/// Has the package on the disk before anything is signed.
pub(super) async fn fetch(node: &Node, wanting: &Wanting, deadline: Instant) -> Result<(), TradeError> {
    let wanted = Wanted { commitment: wanting.package, seller: wanting.seller };
    let fetched = tokio::time::timeout_at(deadline, node.fetch_package(wanted)).await;
    let offer = wanting.offer;
    match fetched {
        Err(_) => Err(TradeError::FetchLate(offer)),
        Ok(result) => result?.map_err(|why| TradeError::NotFetched { offer, why }),
    }
}

async fn owned(trade: &Trade, wanting: &Wanting) -> Result<Option<PurchaseId>, TradeError> {
    let (trade, wanting) = (trade.clone(), wanting.clone());
    aside(move || match trade.view()?.group(&wanting.group)? {
        Some(kv) => Ok(query::owned(kv.as_ref(), &trade.me, &wanting.offer)?),
        None => Ok(None),
    })
    .await
}

/// Waits until a purchase is granted and the package opens, or the price is back.
async fn wait_for(
    node: &Node,
    wanting: &Wanting,
    id: PurchaseId,
    already_owned: bool,
    deadline: Instant,
) -> Result<Bought, TradeError> {
    let trade = &node.trade;
    let mut revision = trade.revision.subscribe();
    loop {
        let (row, opened, purchase) = stand(trade, wanting, id).await?;
        let ended = row.as_ref().is_none_or(|row| row.status == PurchaseStatus::Refunded);
        if opened || ended {
            return Ok(Bought { purchase, opened, already_owned });
        }
        let moved = tokio::time::timeout_at(deadline, revision.changed()).await;
        if !matches!(moved, Ok(Ok(()))) {
            return Ok(Bought { purchase, opened, already_owned });
        }
    }
}

/// How a purchase stands, and whether its package opens.
async fn stand(
    trade: &Trade,
    wanting: &Wanting,
    id: PurchaseId,
) -> Result<(Option<PurchaseRow>, bool, Purchase), TradeError> {
    let (trade, wanting) = (trade.clone(), wanting.clone());
    aside(move || {
        let view = trade.view()?;
        let found = here(&view, wanting.group, &wanting.offer, &trade.me)?;
        let kv = view.group(&wanting.group)?;
        let row = kv.as_ref().map(|kv| query::purchase(kv.as_ref(), &id)).transpose()?.flatten();
        let (Some(row), Some(found), Some(kv)) = (row, found, kv) else {
            // Another block came before, and this purchase counts no more.
            let wish = Wish {
                seller: wanting.seller,
                title: wanting.title.clone(),
                price: wanting.price,
                asked_ms: unix_ms(),
                approved: true,
            };
            let purchase = standing::of_wish(wanting.group, wanting.offer, &wish, &trade.me);
            return Ok((None, false, Purchase { status: PurchaseState::Refunded, next: None, ..purchase }));
        };
        let title = (found.offer.terms.title.clone(), found.offer.terms.settle);
        let purchase = standing::of_row(wanting.group, &id, &row, title, &trade.me, unix_ms());
        let opened = match library::owned(kv.as_ref(), &found.group_name, id, &row)? {
            Some(owned) => {
                let here = trade.packages.has(&owned.package.package);
                let item =
                    library::Item { group: wanting.group, offer: wanting.offer, purchase: Some(id), owned, here };
                library::opens(&trade, &view, &item)?
            }
            None => false,
        };
        Ok((Some(row), opened, purchase))
    })
    .await
}

/// Lets a purchase through that waits for a person; the node buys it by itself.
///
/// # Errors
/// [`TradeError::NothingToApprove`]; the store's.
pub async fn approve(node: &Node, group: GroupId, offer: OfferId) -> Result<Wish, TradeError> {
    let trade = &node.trade;
    let key = shelf::of_offer::<Wish>(&trade.me, &group, &offer);
    // A purchase that is being written takes its wish away: what is gone is not put back.
    let _alone = trade.buying.lock().await;
    let wish = super::Shared::shelved::<Wish>(&trade.view()?, &key)?.ok_or(TradeError::NothingToApprove(offer))?;
    let approved = Wish { approved: true, ..wish };
    trade.shelve(key, Some(&approved)).await?;
    trade.moved(group, false);
    Ok(approved)
}
