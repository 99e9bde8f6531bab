//! What members sell one another: offers, purchases, and where the price goes.
//!
//! **A purchase ends once, and its price goes to one side.** The life of one:
//!
//! ```text
//!               ┌──────── refund asked, and not granted by the next seal ───────▶ refunded
//!               │                                                                    ▲
//! purchase ──▶ paid ──── grant ────▶ granted ──── dispute, and the seller is at fault ┘
//!                                      │  ├────── dispute without cause ────────────▶ settled
//!                                      │  ├────── settled by the buyer ─────────────▶ settled
//!                                      └──┴────── settlement asked, and not disputed by the next seal ─▶ settled
//! ```
//!
//! Who decides, and by which clock:
//!
//! - `purchase`: the buyer's signature, in a block of anybody who may read the group. The price goes into the escrow.
//! - `grant`: the seller. Of an offer that settles `sealed`, when a seal covers the purchase; until `grant_within` after that seal.
//! - `settle` by the buyer, and a `dispute` with the buyer's one-time secret: at any time behind the grant, and at once.
//! - `refund` and `settle` by anybody: when the other side's time is over. **They ask, and the next seal does it**, unless there is a
//!   grant, or a dispute, in the same epoch: wherever that stands in it, it goes first. So nobody who has seen a grant can slip a refund in
//!   before it, nor a settlement before a dispute, while the notary is away or however it dates its block.
//! - Deadlines run from the time of the *seal* that covers what begins them, so that neither side can date that back. Compared with them
//!   is a block's time, and where dating back would gain something, that of the last seal where it is later. What can be gained is the
//!   drift by which a block may be dated ahead, and [`limits::REFUND_MARGIN_MS`](crate::limits::REFUND_MARGIN_MS) is more.

mod check;
pub mod query;
mod refusal;
pub mod rows;
pub mod shares;
mod verdict;

pub(super) use self::check::check;
pub use self::refusal::MarketRefusal;
pub use self::rows::{Deal, Ending, OfferRow, PurchaseRow, PurchaseStatus};

use self::rows::{WAITING, bought_key, last_id, offer_key, purchase_key, save, save_offer, terms_key};
use self::shares::{Shares, divide};
use super::fold::{Refused, Site, refuse};
use super::membership::require;
use super::outcome::Refusal;
use super::state::{self, Group, Member, Scratch, Sealing};
use super::token::{self, Cause};
use crate::chain::transaction::{
    Dispute, Grant, OfferCreate, OfferRevoke, Offered, Order, Purchase, Refund, Settle, Settlement,
};
use crate::chain::{OfferId, PurchaseId, Role};
use crate::identity::Identity;
use crate::kv::{KvError, Table};

fn no<T>(refusal: MarketRefusal) -> Result<T, Refused> {
    refuse(Refusal::Market(refusal))
}

/// The time at a place: the block's, but not before the last seal's, so that dating back gains nothing.
fn now_ms(scratch: &Scratch<'_, '_>, site: &Site) -> Result<u64, KvError> {
    let sealing: Sealing = scratch.expect(state::SEALING)?;
    Ok(site.time_ms.max(sealing.time_ms))
}

pub(super) fn offer(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &OfferCreate) -> Result<(), Refused> {
    require(scratch, site, Role::Member)?;
    for royalty in &it.royalties {
        existing_offer(scratch, &royalty.offer)?;
    }
    let id = OfferId::derive(site.block, index);
    let Site { author, block, seq, time_ms, .. } = *site;
    let row = OfferRow { seller: author, created_ms: time_ms, revoked_by: None, sold: 0, block, seq, index };
    save_offer(scratch, &id, it, None, &row);
    scratch.put(terms_key(&id), it);
    Ok(())
}

pub(super) fn revoke(scratch: &mut Scratch<'_, '_>, site: &Site, it: &OfferRevoke) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Viewer)?;
    let before = existing_offer(scratch, &it.offer)?;
    if before.seller != site.author && role != Role::Admin {
        return no(MarketRefusal::NotYourOffer(it.offer, before.seller));
    }
    if before.revoked_by.is_some() {
        return no(MarketRefusal::OfferRevoked(it.offer));
    }
    let terms: OfferCreate = scratch.expect(&terms_key(&it.offer))?;
    let after = OfferRow { revoked_by: Some(site.author), ..before.clone() };
    save_offer(scratch, &it.offer, &terms, Some(&before), &after);
    Ok(())
}

pub(super) fn purchase(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &Purchase) -> Result<(), Refused> {
    require(scratch, site, Role::Viewer)?;
    let (id, order) = (it.order.id(), it.order.order());
    if scratch.is_marked(&purchase_key(&id))? {
        return no(MarketRefusal::AlreadyPlaced(id));
    }
    let now = now_ms(scratch, site)?;
    let (offer, terms) = for_sale(scratch, order, now)?;
    let expected = token::next_nonce(scratch, &order.buyer)?;
    if order.nonce != expected {
        return no(MarketRefusal::Nonce { buyer: order.buyer, expected, got: order.nonce });
    }
    token::use_nonce(scratch, &order.buyer)?;
    token::lock(scratch, site, index, &order.buyer, terms.price, Cause::Purchase(id), Some(offer.seller))?;
    let deal = Deal {
        offer: order.offer,
        buyer: order.buyer,
        seller: offer.seller,
        price: terms.price,
        fee: token::fee(scratch, terms.price)?,
        nonce: order.nonce,
        key: order.key,
        grant_within_ms: terms.grant_within_ms,
        dispute_within_ms: terms.dispute_within_ms,
        paid_ms: now,
        block: site.block,
    };
    let row = PurchaseRow {
        deal,
        status: PurchaseStatus::Paid,
        asked: false,
        paid_final_ms: None,
        sealed_key: None,
        granted_final_ms: None,
        end: None,
        changed_by: site.block,
    };
    save(scratch, &id, None, &row);
    Ok(())
}

/// The offer that an order is for, where it can be bought by it.
fn for_sale(scratch: &Scratch<'_, '_>, order: &Order, now: u64) -> Result<(OfferRow, OfferCreate), Refused> {
    let Order { offer: id, buyer, seller: ordered, price: agreed, expires_ms, .. } = *order;
    let offer = existing_offer(scratch, &id)?;
    let terms: OfferCreate = scratch.expect(&terms_key(&id))?;
    if offer.revoked_by.is_some() {
        return no(MarketRefusal::OfferRevoked(id));
    }
    if terms.expires_ms.is_some_and(|until| until < now) {
        return no(MarketRefusal::OfferExpired(id));
    }
    if expires_ms < now {
        return no(MarketRefusal::OrderExpired(expires_ms));
    }
    if offer.seller != ordered {
        return no(MarketRefusal::OtherSeller { offer: id, seller: offer.seller, ordered });
    }
    if offer.seller == buyer {
        return no(MarketRefusal::OwnOffer(id));
    }
    if scratch.get::<Member>(&state::member_key(&offer.seller))?.is_none() {
        return no(MarketRefusal::SellerGone(id, offer.seller));
    }
    if terms.price != agreed {
        return no(MarketRefusal::Price { offer: id, price: terms.price, agreed });
    }
    if let Some(purchase) = scratch.get(&bought_key(&buyer, &id))? {
        return no(MarketRefusal::AlreadyBought(id, purchase));
    }
    let Group { name: group_name, currency, .. } = scratch.expect(state::GROUP)?;
    let offered = Offered { group_name, currency, offer: terms };
    if offered.terms() != order.terms {
        return no(MarketRefusal::OtherTerms(id));
    }
    Ok((offer, offered.offer))
}

pub(super) fn grant(scratch: &mut Scratch<'_, '_>, site: &Site, it: &Grant) -> Result<(), Refused> {
    require(scratch, site, Role::Viewer)?;
    let before = open(scratch, &it.purchase)?;
    if before.deal.seller != site.author {
        return no(MarketRefusal::NotTheSeller(it.purchase, before.deal.seller));
    }
    if before.status == PurchaseStatus::Granted {
        return no(MarketRefusal::AlreadyGranted(it.purchase));
    }
    match before.grant_until_ms() {
        // The seller's own time: a grant in time must not be late because another seal came before it. Dated back, it comes late to
        // nobody's loss: what was given back stays so, and the time to dispute runs from the seal.
        Some(until_ms) if until_ms < site.time_ms => {
            return no(MarketRefusal::GrantLate { purchase: it.purchase, until_ms });
        }
        None if terms_of(scratch, &before)?.settle == Settlement::Sealed => {
            return no(MarketRefusal::NotFinal(it.purchase));
        }
        _ => {}
    }
    let after = PurchaseRow {
        status: PurchaseStatus::Granted,
        // A refund that was asked for since the last seal comes to nothing.
        asked: false,
        sealed_key: Some(it.sealed_key.clone()),
        changed_by: site.block,
        ..before.clone()
    };
    save(scratch, &it.purchase, Some(&before), &after);
    Ok(())
}

pub(super) fn settle(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &Settle) -> Result<(), Refused> {
    require(scratch, site, Role::Viewer)?;
    let before = open(scratch, &it.purchase)?;
    if before.status != PurchaseStatus::Granted {
        return no(MarketRefusal::NotGranted(it.purchase));
    }
    if before.deal.buyer == site.author {
        return end(scratch, site, index, &it.purchase, &before, Ending::Accepted);
    }
    ask(scratch, site, &it.purchase, &before)
}

pub(super) fn refund(scratch: &mut Scratch<'_, '_>, site: &Site, it: &Refund) -> Result<(), Refused> {
    require(scratch, site, Role::Viewer)?;
    let before = open(scratch, &it.purchase)?;
    if before.status == PurchaseStatus::Granted {
        return no(MarketRefusal::AlreadyGranted(it.purchase));
    }
    ask(scratch, site, &it.purchase, &before)
}

/// Asks for what the next seal does where nothing speaks against it.
fn ask(scratch: &mut Scratch<'_, '_>, site: &Site, id: &PurchaseId, before: &PurchaseRow) -> Result<(), Refused> {
    if before.asked {
        return no(MarketRefusal::AlreadyAsked(*id));
    }
    match before.due_ms() {
        None => no(MarketRefusal::NotFinal(*id)),
        Some(from_ms) if now_ms(scratch, site)? < from_ms => no(MarketRefusal::TooEarly { purchase: *id, from_ms }),
        Some(_) => {
            let after = PurchaseRow { asked: true, changed_by: site.block, ..before.clone() };
            save(scratch, id, Some(before), &after);
            Ok(())
        }
    }
}

/// Decides a dispute, on every node alike. It needs no membership of the buyer's: who has the one-time secret speaks for it.
pub(super) fn dispute(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &Dispute) -> Result<(), Refused> {
    require(scratch, site, Role::Viewer)?;
    let before = open(scratch, &it.purchase)?;
    let Some(sealed_key) = before.sealed_key.clone() else { return no(MarketRefusal::NotGranted(it.purchase)) };
    if it.secret.key() != before.deal.key {
        return no(MarketRefusal::WrongSecret(it.purchase));
    }
    let grant = Grant { purchase: it.purchase, sealed_key };
    let ending = verdict::of(&terms_of(scratch, &before)?.package, &grant, it);
    end(scratch, site, index, &it.purchase, &before, ending)
}

/// What a seal does: it dates what it covers, and does what was asked for.
pub(super) fn at_seal(scratch: &mut Scratch<'_, '_>, site: &Site) -> Result<(), Refused> {
    let now = now_ms(scratch, site)?;
    for key in scratch.keys(WAITING)? {
        let id = last_id(&key).map(PurchaseId::from_bytes).ok_or_else(|| KvError::damaged(Table::State, &key))?;
        let before: PurchaseRow = scratch.expect(&purchase_key(&id))?;
        let ending = match before.status {
            PurchaseStatus::Paid => Ending::NotGranted,
            PurchaseStatus::Granted => Ending::Unopposed,
            PurchaseStatus::Settled | PurchaseStatus::Refunded => {
                return Err(KvError::damaged(Table::State, &key).into());
            }
        };
        if before.asked {
            end(scratch, site, 0, &id, &before, ending)?;
            continue;
        }
        let mut after = PurchaseRow { changed_by: site.block, ..before.clone() };
        after.paid_final_ms = after.paid_final_ms.or(Some(now));
        if before.status == PurchaseStatus::Granted {
            after.granted_final_ms = after.granted_final_ms.or(Some(now));
        }
        save(scratch, &id, Some(&before), &after);
    }
    Ok(())
}

/// Ends a purchase: the price leaves the escrow, all of it.
fn end(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    id: &PurchaseId,
    before: &PurchaseRow,
    ending: Ending,
) -> Result<(), Refused> {
    if ending.status() == PurchaseStatus::Refunded {
        let seller = Some(before.deal.seller);
        token::unlock(scratch, site, index, &before.deal.buyer, before.deal.price, Cause::PurchaseRefund(*id), seller)?;
    } else {
        pay(scratch, site, index, id, before)?;
    }
    let after = PurchaseRow {
        status: ending.status(),
        asked: false,
        end: Some((ending, now_ms(scratch, site)?)),
        changed_by: site.block,
        ..before.clone()
    };
    save(scratch, id, Some(before), &after);
    Ok(())
}

/// Pays all to whom a part of the price goes. What leaves the escrow is paid whatever an account's cap, so that nothing is stuck.
fn pay(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    id: &PurchaseId,
    row: &PurchaseRow,
) -> Result<(), Refused> {
    let (offer, terms) = (existing_offer(scratch, &row.deal.offer)?, terms_of(scratch, row)?);
    save_offer(scratch, &row.deal.offer, &terms, Some(&offer), &OfferRow { sold: offer.sold + 1, ..offer.clone() });
    let mut royalties: Vec<(Identity, u64)> = Vec::with_capacity(terms.royalties.len());
    for royalty in &terms.royalties {
        royalties.push((existing_offer(scratch, &royalty.offer)?.seller, royalty.bps));
    }
    let Shares { fee, royalties, earned } =
        divide(row.deal.price, row.deal.fee, row.deal.seller, &terms.splits, &royalties);
    token::unlock_to_treasury(scratch, fee)?;
    let buyer = |to: Identity| (to != row.deal.buyer).then_some(row.deal.buyer);
    for (to, part) in royalties {
        token::unlock(scratch, site, index, &to, part, Cause::Royalty(*id), buyer(to))?;
    }
    for (to, part) in earned {
        token::unlock(scratch, site, index, &to, part, Cause::Sale(*id), buyer(to))?;
    }
    Ok(())
}

fn existing_offer(scratch: &Scratch<'_, '_>, id: &OfferId) -> Result<OfferRow, Refused> {
    match scratch.get(&offer_key(id))? {
        Some(row) => Ok(row),
        None => no(MarketRefusal::NoSuchOffer(*id)),
    }
}

/// A purchase that has not ended.
fn open(scratch: &Scratch<'_, '_>, id: &PurchaseId) -> Result<PurchaseRow, Refused> {
    match scratch.get::<PurchaseRow>(&purchase_key(id))? {
        None => no(MarketRefusal::NoSuchPurchase(*id)),
        Some(row) if row.status.is_ended() => no(MarketRefusal::Ended(*id, row.status)),
        Some(row) => Ok(row),
    }
}

fn terms_of(scratch: &Scratch<'_, '_>, row: &PurchaseRow) -> Result<OfferCreate, KvError> {
    scratch.expect(&terms_key(&row.deal.offer))
}

#[cfg(test)]
mod tests;
