//! What members trade who cannot see each other: one outcome on every node, and the same rows whatever the arrival.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::chain::transaction::Transfer;
use crate::chain::{BlockId, Context, Unverified, Verified, link, rows};
use crate::kv::{Direction, Table};
use crate::ledger::state;
use crate::ledger::tests::{compare, undo_what_is_open};
use crate::testing::desk::genesis;

/// All blocks of a desk as it has stored them.
pub(super) fn blocks(desk: &Desk) -> Vec<Verified> {
    news(desk, &Desk::empty())
}

/// Those that another desk lacks.
pub(super) fn news(desk: &Desk, other: &Desk) -> Vec<Verified> {
    let mut all: Vec<Unverified> = Vec::new();
    rows::log(desk.rows(), 0, Direction::Up, &mut |_, line| {
        let block = rows::block(desk.rows(), &line).unwrap();
        if rows::placed(other.rows(), &BlockId::of(&block.body)).unwrap().is_none() {
            all.push(block);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let context = Context { group: desk.group, now_ms: u64::MAX, max_drift_ms: 0 };
    all.into_iter().map(|block| block.verify(&context).unwrap()).collect()
}

/// Each gets what the others have.
pub(super) fn meet(desks: &mut [Desk]) {
    let all: Vec<Vec<Verified>> = desks.iter().map(blocks).collect();
    for desk in &mut *desks {
        for blocks in &all {
            assert_eq!(desk.ingest(blocks).fault, None);
            sound(desk.rows());
        }
    }
    for desk in &desks[1..] {
        compare(desks[0].rows(), desk.rows());
    }
}

fn refused(desk: &Desk) -> Vec<&'static str> {
    crate::ledger::query::refused(desk.rows(), None, 10).unwrap().iter().map(|(_, row)| row.refusal.code()).collect()
}

#[test]
fn an_order_that_two_hand_in_at_once_is_one_purchase() {
    let mut desk = town();
    let offer = offer(&mut desk, 1, plain(1));
    let signed = order(&desk, 6, offer, 0).sign(&key(6));
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 2, buy(signed.clone())).unwrap();
    act(&mut desks[1], 3, buy(signed.clone())).unwrap();
    meet(&mut desks);
    assert_eq!(refused(&desks[0]), ["already_placed"]);
    assert_eq!((row(&desks[0], &signed.id()).status, balance(&desks[0], 6)), (Paid, 150));
}

#[test]
fn of_two_orders_with_one_number_at_two_sellers_one_is_a_purchase() {
    // 250 tokens, and two packages of 200: two who cannot see each other each hand in an order with the number 0.
    let mut desk = town();
    let terms = |number| OfferCreate { price: 200, ..plain(number) };
    let offers = [offer(&mut desk, 1, terms(1)), offer(&mut desk, 4, terms(2))];
    let signed = offers.map(|offer| Order { price: 200, ..order(&desk, 6, offer, 0) }.sign(&key(6)));
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 2, buy(signed[0].clone())).unwrap();
    act(&mut desks[1], 3, buy(signed[1].clone())).unwrap();
    meet(&mut desks);
    assert_eq!(refused(&desks[0]), ["wrong_nonce"]);
    assert_eq!(balance(&desks[0], 6), 50);
    let stands = signed.iter().filter(|order| query::purchase(desks[0].rows(), &order.id()).unwrap().is_some());
    assert_eq!(stands.count(), 1);
}

#[test]
fn a_revocation_at_the_same_time_as_a_purchase_has_one_outcome_and_takes_nothing() {
    let mut desk = town();
    let offer = offer(&mut desk, 1, plain(1));
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 1, revoke(offer)).unwrap();
    let id = bought(&mut desks[1], 2, offer);
    meet(&mut desks);
    match query::purchase(desks[0].rows(), &id).unwrap() {
        Some(_) => assert_eq!((refused(&desks[0]).len(), balance(&desks[0], 2)), (0, 150)),
        None => assert_eq!((refused(&desks[0]), balance(&desks[0], 2)), (vec!["offer_revoked"], 250)),
    }
}

#[test]
fn a_purchase_that_is_undone_by_a_fork_takes_nothing_and_was_not_granted() {
    // 2 pays for a package and, from a copy of its data, gives the same tokens away.
    let mut desk = town();
    let offer = offer(&mut desk, 1, plain(1));
    let mut desks = [desk.copy(), desk.copy()];
    let id = bought(&mut desks[0], 2, offer);
    act(&mut desks[1], 2, Transaction::Transfer(Transfer { to: who(3), amount: 240 })).unwrap();
    // The seller sees the purchase, and waits for the seal before it grants.
    let given = grant(id, &row(&desks[0], &id), &goods(1).0);
    assert_eq!(act(&mut desks[0], 1, given.clone()).unwrap_err().code(), "not_final");
    meet(&mut desks);
    let stands = query::purchase(desks[0].rows(), &id).unwrap().is_some();
    assert_eq!(balance(&desks[0], 2), if stands { 150 } else { 4 });
    seal(&mut desks[0]);
    assert_eq!(act(&mut desks[0], 1, given).is_ok(), stands);
}

#[test]
fn nobody_slips_a_refund_in_before_a_grant_that_it_has_seen() {
    let mut desk = town();
    let sold = offer(&mut desk, 1, plain(1));
    let id = bought(&mut desk, 2, sold);
    seal(&mut desk);
    // The notary is away. The seller grants at the last moment; the buyer has seen it, and asks for a refund as if it had not, dated
    // as late as it likes. Whichever of the two comes first in the order.
    let mut stands_behind = 0;
    for salt in 0..6 {
        let mut desks = [desk.copy(), desk.copy()];
        desks[0].now_ms += HOUR_MS;
        if salt % 2 == 0 {
            // So that the grant stands later.
            offer(&mut desks[0], 1, plain(5));
        }
        let given = grant(id, &row(&desk, &id), &goods(1).0);
        act(&mut desks[0], 1, given).unwrap();
        desks[1].now_ms += HOUR_MS + limits::REFUND_MARGIN_MS + salt;
        act(&mut desks[1], 2, refund(id)).unwrap();
        meet(&mut desks);
        stands_behind += usize::from(refused(&desks[0]).is_empty());
        desks[0].now_ms += HOUR_MS;
        seal(&mut desks[0]);
        assert_eq!((row(&desks[0], &id).status, balance(&desks[0], 2)), (Granted, 150));
    }
    assert!(stands_behind > 0, "the grant never stood behind the refund, so nothing was tested");
}

#[test]
fn nobody_slips_a_settlement_in_before_a_dispute_that_it_has_seen() {
    let mut desk = town();
    let sold = offer(&mut desk, 1, plain(1));
    let id = bought(&mut desk, 2, sold);
    seal(&mut desk);
    act(&mut desk, 1, junk(id)).unwrap();
    seal(&mut desk);
    for salt in 0..6 {
        let mut desks = [desk.copy(), desk.copy()];
        if salt % 2 == 0 {
            // So that the dispute stands later.
            offer(&mut desks[0], 2, plain(5));
        }
        act(&mut desks[0], 2, dispute(id, secret(2, 0), None)).unwrap();
        desks[1].now_ms += HOUR_MS + salt;
        act(&mut desks[1], 1, settle(id)).unwrap();
        meet(&mut desks);
        desks[0].now_ms += HOUR_MS;
        seal(&mut desks[0]);
        assert_eq!((row(&desks[0], &id).status, balance(&desks[0], 1), balance(&desks[0], 2)), (Refunded, 0, 250));
    }
}

#[test]
fn a_grant_that_is_dated_back_does_not_shorten_the_time_to_dispute() {
    let mut story = tell(&sold()).unwrap();
    let desk = &mut story.desk;
    let id = story.purchase;
    // The seller waits nearly until the end, and writes as of the purchase.
    let prev = state::line_head(desk.rows(), &who(1)).unwrap();
    let given = vec![grant(id, &row(desk, &id), &goods(9).0)];
    let draft = link::draft(desk.rows(), desk.group, who(1), prev, desk.now_ms, given).unwrap();
    let given = draft.sign(&key(1)).block().clone();
    desk.now_ms += HOUR_MS - 1;
    assert_eq!(desk.ingest(&[given]).stored, 1);
    seal(desk);
    assert_eq!(row(desk, &id).due_ms(), Some(desk.now_ms + HOUR_MS));
    assert_eq!(act(desk, 1, settle(id)).unwrap_err().code(), "too_early");
    act(desk, 2, dispute(id, secret(2, 0), None)).unwrap();
    assert_eq!(row(desk, &id).status, Refunded);
}

#[test]
fn an_order_that_is_handed_in_a_day_later_and_dated_back_buys_nothing() {
    let mut desk = town();
    let offer = offer(&mut desk, 1, plain(1));
    let signed = order(&desk, 2, offer, 0).sign(&key(2));
    // It did not get through, and the buyer gave up. A day later something else was sealed; then the seller finds the order.
    let then = desk.copy();
    desk.now_ms += 25 * HOUR_MS;
    desk.publish(4, "good morning");
    seal(&mut desk);
    let prev = state::line_head(then.rows(), &who(1)).unwrap();
    let handed_in = vec![buy(signed.clone())];
    let draft = link::draft(then.rows(), desk.group, who(1), prev, then.now_ms, handed_in).unwrap();
    let late = draft.sign(&key(1)).block().clone();
    desk.ingest(&[late]);
    assert_eq!(refused(&desk), ["order_expired"]);
    assert_eq!((query::purchase(desk.rows(), &signed.id()).unwrap(), balance(&desk, 2)), (None, 250));
}

/// One step of a random story: where, by whom, what kind, of which offer and purchase, and another number; and how long after the one
/// before.
type Step = (u8, u8, u8, u8, u8, u8, u32);

fn step() -> impl Strategy<Value = Step> {
    let later = prop_oneof![3 => Just(0), 2 => 0..60_000u32, 1 => 0..5_000_000u32];
    (0..3u8, any::<u8>(), 0..24u8, any::<u8>(), any::<u8>(), any::<u8>(), later)
}

/// What there is to trade with on a desk.
fn known(desk: &Desk) -> (Vec<OfferId>, Vec<(PurchaseId, PurchaseRow)>) {
    let filter = query::Filter::default();
    let offers = query::offers(desk.rows(), &filter, None, 100).unwrap().rows;
    let mut offers: Vec<OfferId> = offers.into_iter().map(|offer| offer.id).collect();
    offers.sort_unstable();
    let of = |number: u8| query::purchases_of(desk.rows(), &who(number), None, 100).unwrap().rows;
    let mut purchases: Vec<_> = (0..8).flat_map(of).collect();
    purchases.sort_by_key(|(id, _)| *id);
    (offers, purchases)
}

fn random(desk: &Desk, author: u8, kind: u8, which: u8, pick: u8, other: u8) -> Option<Transaction> {
    let (offers, mut purchases) = known(desk);
    if kind >= 15 && pick > 60 {
        // Mostly what can be done something about.
        let wanted = if kind == 18 || kind == 19 { Paid } else { Granted };
        purchases.retain(|(_, row)| row.status == wanted);
    }
    let offer = (!offers.is_empty()).then(|| offers[usize::from(which) % offers.len()]);
    let purchase = (!purchases.is_empty()).then(|| purchases[usize::from(pick) % purchases.len()].clone());
    let number = other % 4;
    Some(match kind {
        0..=3 => {
            let royalties = offer.filter(|_| which.is_multiple_of(3)).map(|offer| Royalty { offer, bps: 500 });
            let mut splits = vec![Split { to: who(author), bps: 3_000 }, Split { to: who(other % 8), bps: 7_000 }];
            splits.sort_by_key(|split| split.to);
            splits.retain(|_| other > 128 && other % 8 != author);
            Transaction::OfferCreate(OfferCreate {
                price: u64::from(other) / 2,
                settle: if which % 4 == 1 { Settlement::AtOnce } else { Settlement::Sealed },
                expires_ms: (pick > 200).then_some(desk.now_ms + HOUR_MS),
                splits,
                royalties: royalties.into_iter().collect(),
                ..plain(number)
            })
        }
        4..=9 => {
            let buyer = if pick > 180 { 6 } else { author };
            let price = query::offer(desk.rows(), &offer?).unwrap()?.terms.price;
            let nonce = account::account(desk.rows(), &who(buyer)).unwrap().nonce + u64::from(other > 240);
            buy(Order { price, ..order(desk, buyer, offer?, nonce) }.sign(&key(buyer)))
        }
        10..=14 => {
            let (id, row) = purchase?;
            let sold = query::offer(desk.rows(), &row.deal.offer).unwrap()?.terms.package;
            let right = (0..4).find(|number| goods(*number).2 == sold)?;
            grant(id, &row, &goods(if other > 200 { 9 } else { right }).0)
        }
        15..=17 => settle(purchase?.0),
        18 | 19 => refund(purchase?.0),
        20 => {
            let (id, row) = purchase?;
            let buyer = (0..8).find(|number| who(*number) == row.deal.buyer)?;
            dispute(id, secret(buyer, row.deal.nonce), package::prove(&goods(number).1, u32::from(other % 3)))
        }
        21 => revoke(offer?),
        22 if other < 64 => out(other % 6),
        22 if other < 128 => set(other % 6, [Viewer, Member, Admin][usize::from(pick) % 3]),
        22 => Transaction::MemberAdd(MemberAdd { identity: who(other % 6), role: Member }),
        _ => Transaction::Transfer(Transfer { to: who(other % 8), amount: u64::from(pick) / 4 + 1 }),
    })
}

/// Three nodes that trade apart, now and then hear of one another, mostly do what makes sense with what they know, and also sign what
/// their ledger refuses, and date it as they like.
fn history(steps: &[Step]) -> Vec<Verified> {
    let mut first = town();
    let five = Transaction::MemberAdd(MemberAdd { identity: who(5), role: Member });
    let mint = |number| Transaction::Mint(Mint { to: who(number), amount: 200 });
    first.write(0, vec![five, set(3, Member), mint(1), mint(4), mint(5)], vec![]).unwrap();
    let mut desks: Vec<Desk> = (0..3).map(|_| first.copy()).collect();
    for (at, pick, kind, which, whose, other, later_ms) in steps {
        let at = usize::from(*at);
        let now_ms = desks[at].now_ms + u64::from(*later_ms);
        desks.iter_mut().for_each(|desk| desk.now_ms = now_ms);
        if other.is_multiple_of(3) {
            let heard = news(&desks[(at + 1) % 3], &desks[at]);
            assert_eq!(desks[at].ingest(&heard).fault, None);
        }
        if at == 0 && *pick > 100 {
            // The founder's desk seals what it has; where that is nothing new, it does not.
            let _nothing_new = desks[at].seal();
        }
        // A key is used at one desk, so that nobody equivocates.
        let author = [at as u8, at as u8 + 3][usize::from(*pick) % 2];
        let Some(act) = random(&desks[at], author, *kind, *which, *whose, *other) else { continue };
        if desks[at].write(author, vec![act.clone()], vec![]).is_err() && other % 4 == 0 {
            let prev = state::line_head(desks[at].rows(), &who(author)).unwrap();
            let dated = now_ms.saturating_sub(u64::from(*whose) * 60_000);
            let draft = link::draft(desks[at].rows(), desks[at].group, who(author), prev, dated, vec![act]);
            let Ok(draft) = draft else { continue };
            let forged = draft.sign(&key(author)).block().clone();
            desks[at].ingest(&[forged]);
        }
        sound(desks[at].rows());
    }
    let mut all = blocks(&desks[0]);
    for desk in &desks[1..] {
        let new = news(desk, &desks[0]).into_iter().filter(|block| all.iter().all(|old| old.id() != block.id()));
        let new: Vec<_> = new.collect();
        all.extend(new);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_comes_to_the_same_rows(
        (blocks, shuffled) in prop::collection::vec(step(), 10..80).prop_map(|steps| history(&steps))
            .prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())),
        size in 1usize..6,
    ) {
        let taken = |batches: Vec<&[Verified]>| {
            let mut desk = Desk::empty();
            for batch in batches {
                assert_eq!(desk.ingest(batch).fault, None);
                if desk.rows().rows(Table::State).len() > 1 {
                    sound(desk.rows());
                }
            }
            desk
        };
        prop_assert_eq!(blocks[0].id(), genesis().id());
        let at_once = taken(vec![&blocks]);
        prop_assert_eq!(rows::counters(at_once.rows()).unwrap().blocks, blocks.len() as u64);
        compare(at_once.rows(), taken(blocks.chunks(1).collect()).rows());
        compare(at_once.rows(), taken(shuffled.chunks(size).collect()).rows());
        undo_what_is_open(&blocks, at_once.rows());
    }
}

/// How many random histories reach what they are to test: were they all refused, the property would say nothing.
#[test]
fn random_histories_reach_every_end() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..60 {
        let steps = prop::collection::vec(step(), 60..80).new_tree(&mut runner).unwrap().current();
        let mut desk = Desk::empty();
        desk.ingest(&history(&steps));
        for (_, row) in known(&desk).1 {
            seen.insert(row.end.map_or(row.status.word(), |(ending, _)| ending.word()));
        }
    }
    for end in ["paid", "granted", "accepted", "unopposed", "unfounded", "not_granted", "bad_key"] {
        assert!(seen.contains(end), "no history comes to {end}: {seen:?}");
    }
}
