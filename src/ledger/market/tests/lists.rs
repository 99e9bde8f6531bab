//! What lists show, page by page, and what is to be done next.

use super::*;
use crate::kv::{KvError, Range, Read, Table, Visit};
use crate::ledger::market::query::{Filter, Page};

fn tagged(number: u8, price: u64, tags: &[&str]) -> OfferCreate {
    OfferCreate { price, tags: tags.iter().map(|tag| (*tag).to_owned()).collect(), ..plain(number) }
}

/// All pages of a list, of two rows each.
fn all<T>(list: impl Fn(Option<&query::Place>) -> Result<Page<T>, KvError>) -> Vec<T> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = list(after.as_ref()).unwrap();
        assert!(page.rows.len() <= 2);
        rows.extend(page.rows);
        after = page.next;
        if after.is_none() {
            return rows;
        }
    }
}

fn titles(desk: &Desk, filter: &Filter) -> Vec<String> {
    let offers = all(|after| query::offers(desk.rows(), filter, after, 2));
    offers.into_iter().map(|offer| offer.terms.title.replace("Offer ", "")).collect()
}

#[test]
fn offers_are_listed_by_group_tag_and_seller() {
    let mut desk = town();
    let ends = OfferCreate { expires_ms: Some(desk.now_ms + HOUR_MS), ..tagged(5, 1, &["rust"]) };
    let offers = [
        (1, tagged(1, 10, &["a", "rust"])),
        (2, tagged(2, 20, &["rust"])),
        (1, tagged(3, 30, &["rusty"])),
        (1, tagged(4, 40, &["rust"])),
        (4, ends),
    ];
    let ids: Vec<OfferId> = offers
        .into_iter()
        .map(|(seller, terms)| {
            desk.now_ms += 1;
            offer(&mut desk, seller, terms)
        })
        .collect();
    let now = |desk: &Desk| Filter { at_ms: Some(desk.now_ms), ..Filter::default() };
    let rust = |desk: &Desk| Filter { tag: Some("rust".into()), ..now(desk) };
    let of = |number: u8| Filter { seller: Some(who(number)), ..Filter::default() };
    // The newest first.
    assert_eq!(titles(&desk, &now(&desk)), ["5", "4", "3", "2", "1"]);
    assert_eq!(titles(&desk, &rust(&desk)), ["5", "4", "2", "1"]);
    assert_eq!(titles(&desk, &Filter { max_price: Some(20), ..rust(&desk) }), ["5", "2", "1"]);
    assert_eq!(titles(&desk, &Filter { seller: Some(who(1)), ..rust(&desk) }), ["4", "1"]);
    assert_eq!(titles(&desk, &of(1)), ["4", "3", "1"]);
    act(&mut desk, 1, revoke(ids[3])).unwrap();
    desk.now_ms += 2 * HOUR_MS;
    assert_eq!(titles(&desk, &now(&desk)), ["3", "2", "1"]);
    assert_eq!(titles(&desk, &rust(&desk)), ["2", "1"]);
    assert_eq!(titles(&desk, &of(1)), ["4", "3", "1"], "one's own, over as well");
    assert_eq!(titles(&desk, &Filter { at_ms: Some(desk.now_ms), ..of(1) }), ["3", "1"]);
    assert_eq!(titles(&desk, &Filter { tag: Some("rus".into()), ..now(&desk) }), Vec::<String>::new());
}

#[test]
fn purchases_are_found_by_buyer_by_seller_and_by_what_is_to_be_done() {
    let mut desk = town();
    let offers = [1, 2, 3].map(|number| offer(&mut desk, 1, OfferCreate { price: 50, ..plain(number) }));
    let ids = offers.map(|offer| {
        desk.now_ms += 1;
        let nonce = account::account(desk.rows(), &who(2)).unwrap().nonce;
        let signed = Order { price: 50, ..order(&desk, 2, offer, nonce) }.sign(&key(2));
        let id = signed.id();
        act(&mut desk, 2, buy(signed)).unwrap();
        id
    });
    let ids_of = |rows: Vec<(PurchaseId, PurchaseRow)>| rows.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    let of_2 = |desk: &Desk| ids_of(all(|after| query::purchases_of(desk.rows(), &who(2), after, 2)));
    let by_1 = |desk: &Desk| ids_of(all(|after| query::sales_of(desk.rows(), &who(1), after, 2)));
    let open = |desk: &Desk, side| ids_of(all(|after| query::open_of(desk.rows(), &who(side), after, 2)));
    let to_do = |desk: &Desk| {
        let open = all(|after| query::open_of(desk.rows(), &who(1), after, 2));
        ids_of(open.into_iter().filter(|(_, row)| row.status == Paid).collect())
    };
    let due = |desk: &Desk| ids_of(query::due(desk.rows(), desk.now_ms, 9).unwrap());
    let waits = |desk: &Desk| query::unsealed(desk.rows(), 9).unwrap().len();
    let newest = [ids[2], ids[1], ids[0]];
    assert_eq!((of_2(&desk), by_1(&desk), to_do(&desk)), (newest.to_vec(), newest.to_vec(), ids.to_vec()));
    assert_eq!((waits(&desk), query::next_due_ms(desk.rows()).unwrap()), (3, None));
    seal(&mut desk);
    assert_eq!((waits(&desk), due(&desk)), (0, vec![]));
    let next = desk.now_ms + HOUR_MS + limits::REFUND_MARGIN_MS;
    assert_eq!(query::next_due_ms(desk.rows()).unwrap(), Some(next));
    desk.now_ms += HOUR_MS / 2;
    let given = grant(ids[1], &row(&desk, &ids[1]), &goods(2).0);
    act(&mut desk, 1, given).unwrap();
    seal(&mut desk);
    assert_eq!(to_do(&desk), [ids[0], ids[2]]);
    assert_eq!((open(&desk, 1), open(&desk, 2), open(&desk, 3)), (ids.to_vec(), ids.to_vec(), vec![]));
    // The refunds are due before the settlement, or behind it: as their times say.
    desk.now_ms = next - 1;
    assert_eq!(due(&desk), []);
    desk.now_ms = next;
    let both: std::collections::BTreeSet<PurchaseId> = due(&desk).into_iter().collect();
    assert_eq!(both, [ids[0], ids[2]].into());
    desk.now_ms = next + HOUR_MS;
    assert_eq!(due(&desk).len(), 3);
    assert_eq!(due(&desk)[2], ids[1]);
    // What was asked for is nothing to do any more.
    act(&mut desk, 3, refund(ids[0])).unwrap();
    act(&mut desk, 1, settle(ids[1])).unwrap();
    assert_eq!((due(&desk), waits(&desk)), (vec![ids[2]], 2));
    seal(&mut desk);
    assert_eq!(query::owned(desk.rows(), &who(2), &offers[0]).unwrap(), None);
    assert_eq!(query::owned(desk.rows(), &who(2), &offers[1]).unwrap(), Some(ids[1]));
    assert_eq!(to_do(&desk), [ids[2]]);
    assert_eq!(of_2(&desk), newest);
}

/// Counts the rows that are read.
struct Counted<'a>(&'a Memory, std::cell::Cell<usize>);

impl Read for Counted<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.1.set(self.1.get() + 1);
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        range: Range<'_>,
        direction: crate::kv::Direction,
        visit: &mut Visit<'_>,
    ) -> Result<(), KvError> {
        self.0.scan(table, range, direction, &mut |key, value| {
            self.1.set(self.1.get() + 1);
            visit(key, value)
        })
    }
}

#[test]
fn a_page_costs_the_same_however_many_offers_there_are() {
    let mut desk = town();
    let cost = |desk: &Desk| {
        let read = |list: &dyn Fn(&dyn Read)| {
            let counted = Counted(desk.rows(), std::cell::Cell::new(0));
            list(&counted);
            counted.1.get()
        };
        let at_ms = Some(desk.now_ms);
        let rare = Filter { tag: Some("rare".into()), at_ms, ..Filter::default() };
        let mine = Filter { seller: Some(who(2)), at_ms, ..Filter::default() };
        let any = Filter { at_ms, ..Filter::default() };
        [
            read(&|kv| assert_eq!(query::offers(kv, &any, None, 3).unwrap().rows.len(), 3)),
            read(&|kv| assert_eq!(query::offers(kv, &rare, None, 3).unwrap().rows.len(), 1)),
            read(&|kv| assert_eq!(query::offers(kv, &mine, None, 3).unwrap().rows.len(), 1)),
        ]
    };
    offer(&mut desk, 2, tagged(1, 1, &["rare"]));
    let many = |desk: &mut Desk, count: usize| {
        for _ in 0..count.div_ceil(100) {
            let offers = (0..count.min(100)).map(|_| Transaction::OfferCreate(tagged(2, 1, &["common"])));
            desk.write(1, offers.collect(), vec![]).unwrap();
        }
    };
    many(&mut desk, 10);
    let few = cost(&desk);
    many(&mut desk, 1_000);
    assert_eq!(cost(&desk), few);
}
