//! What the program before this one let a hostile member do with offers and purchases, each by its name; and random trade in any weather.
//!
//! **None signs what a draft would make and asks nobody**: their blocks are well-formed, and the ledger of every node must say no.

use std::slice::from_ref;

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::desk::{Desk, NOW_MS, agreed, block, genesis, key, who};
use super::node::Name;
use super::world::World;
use crate::chain::transaction::{
    Dispute, Grant, MemberAdd, MemberRemove, Mint, OfferCreate, OfferRevoke, Offered, Order, Purchase, Refund, Royalty,
    Settle, Settlement, SignedOrder, Split,
};
use crate::chain::{GroupId, OfferId, Role, Transaction, Verified, link};
use crate::identity::{Identity, OneTimeSecret, SecretKey};
use crate::kv::Memory;
use crate::ledger::market::{Ending, PurchaseStatus, query as market};
use crate::ledger::{Outcome, account, query};
use crate::limits;
use crate::node::engine::Failure;
use crate::package::{self, Commitment, PackageKey};

/// A member who means harm; 0 founded the group.
const EVE: u8 = 1;
/// Another member.
const BOB: u8 = 2;
/// One who buys.
const CAROL: u8 = 3;

const HOUR_MS: u64 = 3_600_000;

fn goods() -> (PackageKey, Vec<u8>, Commitment) {
    let key = PackageKey::from_bytes([9; 32]);
    let (ciphertext, commitment) = package::encrypt(&key, b"what Bob knows").unwrap();
    (key, ciphertext, commitment)
}

fn terms(price: u64) -> OfferCreate {
    OfferCreate {
        title: "What Bob knows".into(),
        description: None,
        tags: vec![],
        price,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::Sealed,
        grant_within_ms: *limits::OFFER_GRANT_MS.start(),
        dispute_within_ms: *limits::OFFER_DISPUTE_MS.start(),
        package: goods().2,
    }
}

/// The one-time secret of a buyer's purchase with a number.
fn secret(buyer: &Identity, nonce: u64) -> OneTimeSecret {
    let mut bytes = *buyer.as_bytes();
    bytes[0] ^= nonce as u8;
    OneTimeSecret::from_bytes(bytes)
}

/// An order of an offer in a group, as the ledger of somebody has it.
fn order(
    key: &SecretKey,
    (rows, group): (&Memory, GroupId),
    offer: OfferId,
    price: u64,
    nonce: u64,
    expires_ms: u64,
) -> SignedOrder {
    let buyer = key.identity();
    let one_time = secret(&buyer, nonce).key();
    let (seller, terms) = agreed(rows, &offer);
    Order { version: 1, group, buyer, offer, seller, terms, price, nonce, expires_ms, key: one_time }.sign(key)
}

fn buys(order: &SignedOrder) -> Vec<Transaction> {
    vec![Transaction::Purchase(Purchase { order: order.clone() })]
}

/// A group of three members who have 100 tokens each; Bob offers a package for 100. His block, and the offer.
fn group() -> (Desk, Verified, OfferId) {
    let add = |number| Transaction::MemberAdd(MemberAdd { identity: who(number), role: Role::Member });
    let mint = |number| Transaction::Mint(Mint { to: who(number), amount: 100 });
    let mut acts = [EVE, BOB, CAROL].map(add).to_vec();
    acts.extend([EVE, BOB, CAROL].map(mint));
    let setup = block(0, Some((0, genesis().id())), vec![], 1, acts);
    let offers = block(BOB, None, vec![setup.id()], 2, vec![Transaction::OfferCreate(terms(100))]);
    let mut desk = Desk::founded();
    assert_eq!(desk.ingest(&[setup, offers.clone()]).stored, 2);
    let offer = OfferId::derive(offers.id(), 0);
    (desk, offers, offer)
}

fn balances(desk: &Desk) -> [u64; 3] {
    [EVE, BOB, CAROL].map(|number| account::account(desk.rows(), &who(number)).unwrap().balance)
}

/// Why a block does not count.
#[track_caller]
fn refused(desk: &Desk, block: &Verified) -> &'static str {
    match query::place_of(desk.rows(), &block.id()).unwrap().expect("it is kept").3 {
        Outcome::Refused(_, refusal) => refusal.code(),
        Outcome::Applied => panic!("it counts"),
    }
}

#[test]
fn no_member_revokes_the_offer_of_another() {
    let (mut desk, offers, offer) = group();
    let eves = block(EVE, None, vec![offers.id()], 3, vec![Transaction::OfferRevoke(OfferRevoke { offer })]);
    desk.ingest(from_ref(&eves));
    assert_eq!(refused(&desk, &eves), "not_your_offer");
    assert!(market::offer(desk.rows(), &offer).unwrap().unwrap().stands(NOW_MS));
}

#[test]
fn nobody_overwrites_a_live_offer_or_names_another_seller() {
    // An offer has no id and no seller of its own to write: both follow from the block. The same words, signed by Eve, are another offer.
    let (mut desk, offers, bobs) = group();
    let eves = block(EVE, None, vec![offers.id()], 3, vec![Transaction::OfferCreate(terms(100))]);
    desk.ingest(from_ref(&eves));
    let seller = |id: &OfferId| market::offer(desk.rows(), id).unwrap().unwrap().row.seller;
    let eves = OfferId::derive(eves.id(), 0);
    assert_ne!(eves, bobs);
    assert_eq!((seller(&bobs), seller(&eves)), (who(BOB), who(EVE)));
}

#[test]
fn no_splits_or_royalties_above_a_whole_print_tokens() {
    // They are no block at all, whoever signs them.
    let split = |bps| Split { to: who(EVE), bps };
    let royalty = |byte, bps| Royalty { offer: OfferId::from_bytes([byte; 32]), bps };
    for forged in [
        OfferCreate { splits: vec![split(10_001)], ..terms(100) },
        OfferCreate { splits: vec![split(20_000)], ..terms(100) },
        OfferCreate { royalties: vec![royalty(1, 10_000), royalty(2, 1)], ..terms(100) },
        OfferCreate { royalties: vec![royalty(1, u64::MAX), royalty(2, 1)], ..terms(100) },
    ] {
        assert!(Transaction::OfferCreate(forged).check().is_err());
    }
}

#[test]
fn an_owned_package_is_not_charged_again_whatever_is_tried() {
    let (mut desk, _, offer) = group();
    let first = order(&key(CAROL), (desk.rows(), desk.group), offer, 100, 0, NOW_MS);
    desk.write(CAROL, buys(&first), vec![]).unwrap();
    for _ in 0..3 {
        assert!(desk.write(CAROL, buys(&first), vec![]).is_err());
        assert!(desk.write(EVE, buys(&first), vec![]).is_err());
    }
    let second = order(&key(CAROL), (desk.rows(), desk.group), offer, 100, 1, NOW_MS);
    assert!(desk.write(CAROL, buys(&second), vec![]).is_err());
    assert_eq!(balances(&desk), [100, 100, 0]);
}

#[test]
fn a_purchase_that_is_replayed_a_day_later_in_a_back_dated_block_charges_nothing() {
    let (mut desk, offers, offer) = group();
    let placed = order(&key(CAROL), (desk.rows(), desk.group), offer, 100, 0, NOW_MS + HOUR_MS);
    desk.write(CAROL, buys(&placed), vec![]).unwrap();
    desk.seal().unwrap();
    // Nothing is granted, and the price comes back.
    desk.now_ms += HOUR_MS;
    desk.write(CAROL, vec![Transaction::Refund(Refund { purchase: placed.id() })], vec![]).unwrap();
    desk.seal().unwrap();
    assert_eq!(balances(&desk), [100, 100, 100]);
    // 25 hours later the seller writes the order again, on what it had seen then, dated then.
    desk.now_ms += 25 * HOUR_MS;
    let again = block(BOB, Some((0, offers.id())), vec![], 3, buys(&placed));
    desk.ingest(from_ref(&again));
    assert_eq!(refused(&desk, &again), "already_placed");
    assert_eq!(balances(&desk), [100, 100, 100]);
}

#[test]
fn a_hundred_tokens_do_not_buy_two_packages_of_a_hundred() {
    // From two sellers, by two blocks of one number on two machines.
    let (mut desk, offers, bobs) = group();
    let eves = block(EVE, None, vec![offers.id()], 3, vec![Transaction::OfferCreate(terms(100))]);
    desk.ingest(from_ref(&eves));
    let offered = OfferId::derive(eves.id(), 0);
    let one = order(&key(CAROL), (desk.rows(), desk.group), bobs, 100, 0, NOW_MS);
    let other = order(&key(CAROL), (desk.rows(), desk.group), offered, 100, 0, NOW_MS);
    let blocks = [&one, &other].map(|order| block(CAROL, None, vec![eves.id()], 4, buys(order)));
    for at in 0..2 {
        let mut desk = desk.copy();
        desk.ingest(&[blocks[at].clone()]);
        desk.ingest(&[blocks[1 - at].clone()]);
        assert_eq!(balances(&desk), [100, 100, 0]);
        let count = [&one, &other].into_iter().filter(|it| market::purchase(desk.rows(), &it.id()).unwrap().is_some());
        assert_eq!(count.count(), 1);
        // Neither seller grants before the seal says which.
        desk.seal().unwrap();
        assert_eq!(account::totals(desk.rows()).unwrap().escrow, 100);
    }
}

#[test]
fn a_block_with_anothers_order_under_a_changed_price_is_none() {
    let (desk, _, offer) = group();
    let signed = order(&key(CAROL), (desk.rows(), desk.group), offer, 1, 0, NOW_MS);
    // Eve writes 2 where Carol signed 1.
    let mut bytes = signed.encode();
    let terms = signed.order().terms;
    let at = bytes.windows(34).position(|bytes| bytes[2..] == *terms.as_bytes()).unwrap() + 34;
    assert_eq!(bytes[at], 1);
    bytes[at] = 2;
    let forged = SignedOrder::decode(&bytes).unwrap();
    assert_eq!(forged.order().price, 2);
    assert!(Transaction::Purchase(Purchase { order: forged }).check().is_err());
    // And an order of one group is none in another.
    let elsewhere = order(&key(CAROL), (desk.rows(), GroupId::from_bytes([3; 32])), offer, 100, 0, NOW_MS);
    let draft = link::draft(desk.rows(), desk.group, who(EVE), None, NOW_MS, buys(&elsewhere));
    assert!(draft.is_err());
}

/// An offer of Bob's as another announces it: under its true id, and with this changed. Bob's is for 100.
fn as_told_by(liar: u8, change: impl FnOnce(&mut Offered)) -> (Identity, Offered) {
    let mut offered = Offered { group_name: "desk".into(), currency: "KAT".into(), offer: terms(100) };
    change(&mut offered);
    (who(liar), offered)
}

#[test]
fn nobody_sells_a_false_text_under_the_true_id_of_anothers_offer() {
    // Carol knows nothing of the group but what is announced. Eve announces Bob's offer as her own, or copies his name, and puts in what
    // she likes; Carol signs what she was shown, and gives the order to Eve, who has it written.
    let (mut desk, bobs, offer) = group();
    let false_package = package::encrypt(&PackageKey::from_bytes([1; 32]), b"what Eve made up").unwrap().1;
    let told = [
        ("seller_differs", as_told_by(EVE, |_| {})),
        ("seller_differs", as_told_by(EVE, |told| told.offer.package = false_package)),
        ("terms_differ", as_told_by(BOB, |told| told.offer.package = false_package)),
        ("terms_differ", as_told_by(BOB, |told| told.offer.title = "All that Bob knows".into())),
        ("terms_differ", as_told_by(BOB, |told| told.offer.description = Some("And all that Dan knows".into()))),
        ("terms_differ", as_told_by(BOB, |told| told.offer.settle = Settlement::AtOnce)),
        ("terms_differ", as_told_by(BOB, |told| told.offer.dispute_within_ms += 1)),
        ("terms_differ", as_told_by(BOB, |told| told.offer.expires_ms = Some(NOW_MS + HOUR_MS))),
        ("terms_differ", as_told_by(BOB, |told| told.offer.splits = vec![Split { to: who(BOB), bps: 10_000 }])),
        ("terms_differ", as_told_by(BOB, |told| told.currency = "CENT".into())),
        ("terms_differ", as_told_by(BOB, |told| told.group_name = "friends".into())),
        ("price_differs", as_told_by(BOB, |told| told.offer.price = 1)),
    ];
    let order_of = |desk: &Desk, (seller, offered): &(Identity, Offered)| {
        let order = *order(&key(CAROL), (desk.rows(), desk.group), offer, offered.offer.price, 0, NOW_MS).order();
        Order { seller: *seller, terms: offered.terms(), ..order }.sign(&key(CAROL))
    };
    for (code, told) in &told {
        let signed = order_of(&desk, told);
        // No honest node writes it, and no block of Eve's counts with it.
        let Err(Failure::Refused(refusal)) = desk.write(BOB, buys(&signed), vec![]) else { panic!("{code}: {told:?}") };
        assert_eq!(refusal.code(), *code, "{told:?}");
        let mut desk = desk.copy();
        let eves = block(EVE, None, vec![bobs.id()], 3, buys(&signed));
        desk.ingest(from_ref(&eves));
        assert_eq!(refused(&desk, &eves), *code, "{told:?}");
        assert_eq!(balances(&desk), [100, 100, 100]);
    }
    // As it is, it is bought.
    let signed = order_of(&desk, &as_told_by(BOB, |_| {}));
    desk.write(EVE, buys(&signed), vec![]).unwrap();
    assert_eq!(balances(&desk), [100, 100, 0]);
}

#[test]
fn who_grants_the_wrong_key_is_paid_nothing_though_it_is_removed_or_removes() {
    let (mut desk, _, offer) = group();
    let placed = order(&key(CAROL), (desk.rows(), desk.group), offer, 100, 0, NOW_MS);
    desk.write(CAROL, buys(&placed), vec![]).unwrap();
    desk.seal().unwrap();
    let wrong = PackageKey::from_bytes([1; 32]);
    let grant = Grant::seal(placed.id(), &placed.order().key, &wrong, &[2; 32]).unwrap();
    desk.write(BOB, vec![Transaction::Grant(grant)], vec![]).unwrap();
    // Bob leaves, Carol is removed: the dispute needs neither.
    let out = |number| vec![Transaction::MemberRemove(MemberRemove { identity: who(number) })];
    desk.write(BOB, out(BOB), vec![]).unwrap();
    desk.write(0, out(CAROL), vec![]).unwrap();
    let dispute = Dispute { purchase: placed.id(), secret: secret(&who(CAROL), 0), chunk: None };
    desk.write(EVE, vec![Transaction::Dispute(dispute)], vec![]).unwrap();
    assert_eq!(balances(&desk), [100, 100, 100]);
    let row = market::purchase(desk.rows(), &placed.id()).unwrap().unwrap();
    assert_eq!((row.status, row.end.unwrap().0), (PurchaseStatus::Refunded, Ending::BadKey));
}

// ---- random trade ---------------------------------------------------------------------------------------------

impl World {
    /// Something that a member of the market may do by what its node knows, right or wrong.
    pub(super) fn random_trade(&mut self, name: Name, group: &GroupId) -> Transaction {
        let node = &self.nodes[name];
        let (rows, key, now_ms) = (&node.rows[group], node.key.clone(), self.clock(name));
        let offers = market::offers(rows, &market::Filter::default(), None, 20).unwrap().rows;
        let sold = |seller: &Identity| market::sales_of(rows, seller, None, 20).unwrap().rows;
        let sold: Vec<_> = self.nodes.iter().flat_map(|node| sold(&node.id)).collect();
        let nonce = account::account(rows, &node.id).unwrap().nonce;
        let offer = offers.choose(&mut self.rng).map(|offer| (offer.id, offer.terms.price));
        let Some((offer, price)) = offer.filter(|_| self.rng.random_bool(0.8)) else {
            let price = *[0, 0, 5, 60].choose(&mut self.rng).unwrap();
            let royalties = offer.map(|(offer, _)| Royalty { offer, bps: 700 }).into_iter().collect();
            let settle = *[Settlement::Sealed, Settlement::AtOnce].choose(&mut self.rng).unwrap();
            return Transaction::OfferCreate(OfferCreate { royalties, settle, ..terms(price) });
        };
        let Some((purchase, row)) = sold.choose(&mut self.rng).filter(|_| self.rng.random_bool(0.6)) else {
            if self.rng.random_bool(0.1) {
                return Transaction::OfferRevoke(OfferRevoke { offer });
            }
            let placed = order(&key, (rows, *group), offer, price, nonce, now_ms + HOUR_MS);
            return Transaction::Purchase(Purchase { order: placed });
        };
        let (purchase, deal) = (*purchase, row.deal);
        match (row.status, self.rng.random_range(0..8)) {
            (PurchaseStatus::Paid, 0..6) => {
                let right = self.rng.random_bool(0.8);
                let sold = if right { goods().0 } else { PackageKey::from_bytes([1; 32]) };
                Transaction::Grant(Grant::seal(purchase, &deal.key, &sold, &[3; 32]).unwrap())
            }
            (PurchaseStatus::Paid, _) => Transaction::Refund(Refund { purchase }),
            (_, 0..5) => Transaction::Settle(Settle { purchase }),
            _ => {
                let secret = secret(&deal.buyer, deal.nonce);
                Transaction::Dispute(Dispute { purchase, secret, chunk: package::prove(&goods().1, 0) })
            }
        }
    }
}
