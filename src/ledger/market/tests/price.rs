//! Where a price goes: it waits in the escrow, and then it goes to all whose it is, or back.

use super::*;

fn totals(desk: &Desk) -> account::Totals {
    account::totals(desk.rows()).unwrap()
}

#[test]
fn a_price_waits_in_the_escrow_and_goes_to_all_whose_it_is() {
    let mut desk = town();
    let base = offer(&mut desk, 4, plain(2));
    let mut splits = vec![Split { to: who(1), bps: 7_000 }, Split { to: who(5), bps: 3_000 }];
    splits.sort_by_key(|split| split.to);
    let terms = OfferCreate { price: 250, splits, royalties: vec![Royalty { offer: base, bps: 500 }], ..plain(1) };
    let id = {
        let sold = offer(&mut desk, 1, terms);
        let signed = Order { price: 250, ..order(&desk, 2, sold, 0) }.sign(&key(2));
        act(&mut desk, 2, buy(signed.clone())).unwrap();
        signed.id()
    };
    assert_eq!((balance(&desk, 2), totals(&desk).escrow, totals(&desk).supply), (0, 250, 750));
    seal(&mut desk);
    let given = grant(id, &row(&desk, &id), &goods(1).0);
    act(&mut desk, 1, given).unwrap();
    assert_eq!(balance(&desk, 1), 0, "a grant pays nothing yet");
    // The rules of the purchase hold, whatever they are by now.
    let fee = PolicyUpdate { transfer_fee_bps: Some(5_000), max_account_balance: Some(1), ..PolicyUpdate::default() };
    act(&mut desk, 0, policy(fee)).unwrap();
    act(&mut desk, 2, settle(id)).unwrap();
    // 6 to the treasury; 5 % of 244 to the offer that it builds on: 12; of 232 70 % and 30 %: 162 and 69; 1 is left to the seller.
    assert_eq!([1, 4, 5].map(|number| balance(&desk, number)), [163, 12, 69]);
    assert_eq!((totals(&desk).treasury, totals(&desk).escrow, totals(&desk).supply), (6, 0, 750));
    let told = account::history(desk.rows(), &who(1), None, 9).unwrap();
    assert_eq!((told[0].1.cause.word(), told[0].1.counterpart), ("sale", Some(who(2))));
    assert_eq!(account::history(desk.rows(), &who(4), None, 9).unwrap()[0].1.cause, account::Cause::Royalty(id));
    assert_eq!(query::offer(desk.rows(), &row(&desk, &id).deal.offer).unwrap().unwrap().row.sold, 1);
}

#[test]
fn a_refund_gives_all_of_it_back() {
    let mut story = tell(&sold()).unwrap();
    assert_eq!(balance(&story.desk, 2), 150);
    story.desk.now_ms += HOUR_MS + limits::REFUND_MARGIN_MS;
    story.line(&Line::Refund(4)).unwrap();
    assert_eq!(balance(&story.desk, 2), 150, "not before the seal");
    seal(&mut story.desk);
    assert_eq!((balance(&story.desk, 2), totals(&story.desk).escrow, totals(&story.desk).treasury), (250, 0, 0));
    let told = account::history(story.desk.rows(), &who(2), None, 9).unwrap();
    assert_eq!((told[0].1.cause.word(), told[0].1.counterpart), ("purchase_refund", Some(who(1))));
}

#[test]
fn a_package_for_nothing_is_bought_like_any_other() {
    let mut desk = town();
    let free = offer(&mut desk, 1, OfferCreate { price: 0, settle: Settlement::AtOnce, ..plain(1) });
    // By somebody who has never had an account.
    let signed = Order { price: 0, ..order(&desk, 7, free, 0) }.sign(&key(7));
    let id = signed.id();
    act(&mut desk, 3, buy(signed)).unwrap();
    let given = grant(id, &row(&desk, &id), &goods(1).0);
    act(&mut desk, 1, given).unwrap();
    seal(&mut desk);
    desk.now_ms += HOUR_MS;
    act(&mut desk, 1, settle(id)).unwrap();
    seal(&mut desk);
    assert_eq!(row(&desk, &id).status, Settled);
    assert_eq!(totals(&desk).supply, 750);
    assert_eq!(query::owned(desk.rows(), &who(7), &free).unwrap(), Some(id));
}

#[test]
fn who_only_has_an_account_gets_the_key_or_the_price() {
    let mut desk = town();
    let offer = offer(&mut desk, 1, plain(1));
    let id = bought(&mut desk, 6, offer);
    seal(&mut desk);
    let row_of = row(&desk, &id);
    act(&mut desk, 1, grant(id, &row_of, &goods(1).0)).unwrap();
    let sealed_key = row(&desk, &id).sealed_key.unwrap();
    let key = Grant { purchase: id, sealed_key }.open(&secret(6, 0)).unwrap();
    let (_, ciphertext, commitment) = goods(1);
    assert!(package::open(&commitment, &key, &ciphertext).is_ok());
    // Another's secret opens nothing.
    let sealed_key = row(&desk, &id).sealed_key.unwrap();
    assert!(Grant { purchase: id, sealed_key }.open(&secret(2, 0)).is_err());
}

#[test]
fn a_frozen_buyer_buys_nothing_and_what_it_has_bought_goes_on() {
    let mut desk = town();
    let (first, second) = (offer(&mut desk, 1, plain(1)), offer(&mut desk, 1, plain(2)));
    let id = bought(&mut desk, 2, first);
    seal(&mut desk);
    // A copy of 2's data, and another block with the same number.
    let mut copy = desk.copy();
    copy.publish(2, "one");
    desk.publish(2, "other");
    let told = apart::blocks(&copy);
    desk.ingest(&told);
    let nonce = account::account(desk.rows(), &who(2)).unwrap().nonce;
    let signed = order(&desk, 2, second, nonce).sign(&key(2));
    assert_eq!(act(&mut desk, 1, buy(signed)).unwrap_err().code(), "frozen");
    let given = grant(id, &row(&desk, &id), &goods(1).0);
    act(&mut desk, 1, given).unwrap();
    seal(&mut desk);
    desk.now_ms += HOUR_MS;
    act(&mut desk, 1, settle(id)).unwrap();
    seal(&mut desk);
    assert_eq!((row(&desk, &id).status, balance(&desk, 1)), (Settled, 98));
}
