//! The book by its definition: of each offer the newest record, of each seller the newest offers, and nobody's flood costs another.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::announcement::{Offered, Says};
use crate::chain::transaction::{OfferCreate, Settlement};
use crate::identity::SecretKey;
use crate::package::{Commitment, KeyCommitment, PackageHash};

const NOW_MS: u64 = 1_800_000_000_000;
const DRIFT_MS: u64 = 300_000;

pub(in crate::node::market) fn key(number: u16) -> SecretKey {
    let mut seed = [3; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed)
}

pub(in crate::node::market) fn offered(title: &str, price: u64, tags: &[&str]) -> Box<Offered> {
    let package = Commitment {
        package: PackageHash::from_bytes([3; 32]),
        content_bytes: 9,
        key: KeyCommitment::from_bytes([4; 32]),
    };
    let offer = OfferCreate {
        title: title.to_owned(),
        description: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        price,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::Sealed,
        grant_within_ms: 86_400_000,
        dispute_within_ms: 86_400_000,
        package,
    };
    Box::new(Offered { group_name: "research".to_owned(), currency: "KAT".to_owned(), offer })
}

pub(in crate::node::market) fn group() -> GroupId {
    GroupId::from_bytes([9; 32])
}

pub(in crate::node::market) fn offer_id(number: u16) -> OfferId {
    let mut id = [5; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    OfferId::from_bytes(id)
}

pub(in crate::node::market) fn record(seller: u16, offer: u16, time_ms: u64, says: Says) -> Verified {
    let seller_key = key(seller);
    let announcement = Announcement {
        group: group(),
        offer: offer_id(offer),
        seller: seller_key.identity(),
        time_ms,
        addresses: vec![],
        says,
    };
    announcement.sign(&seller_key).unwrap()
}

pub(in crate::node::market) fn standing(seller: u16, offer: u16, time_ms: u64) -> Verified {
    record(seller, offer, time_ms, Says::Offered(offered("A title", 5, &[])))
}

fn withdrawn(seller: u16, offer: u16, time_ms: u64) -> Verified {
    record(seller, offer, time_ms, Says::Withdrawn)
}

fn receive(book: &mut Book, record: &Verified) -> Came {
    book.receive(record.to_unverified(), NOW_MS, DRIFT_MS, |_, _| false).unwrap().1
}

/// What the counts and sums say is what is there.
fn check(book: &Book) {
    let others: Vec<&Held> = book.held.values().filter(|held| !held.is_ours).collect();
    assert_eq!((book.count, book.bytes), (others.len(), others.iter().map(|held| held.bytes()).sum()));
    assert_eq!(book.ends.len(), book.held.len());
    assert_eq!(book.sellers.values().map(|seller| seller.by_age.len()).sum::<usize>(), book.count);
    assert_eq!(book.ranks.len(), book.sellers.len());
    for (is_stranger, count, seller) in &book.ranks {
        let seller = &book.sellers[seller];
        assert_eq!((!is_stranger, *count), (seller.is_known, seller.by_age.len()));
    }
    assert!(book.count <= limits::BOOK_OFFERS && book.bytes <= limits::BOOK_OFFERS_BYTES);
}

#[test]
fn the_newest_counts_and_a_withdrawn_offer_stays_withdrawn() {
    let mut book = Book::default();
    let (first, gone) = (standing(1, 1, NOW_MS - 10), withdrawn(1, 1, NOW_MS - 5));
    let steps = [
        (&first, Came::New),
        (&first, Came::Known),
        (&standing(1, 1, NOW_MS - 20), Came::Older),
        (&standing(1, 1, NOW_MS - 9), Came::Soon),
        (&gone, Came::New),
        (&first, Came::Older),
        (&standing(1, 1, NOW_MS - 6), Came::Older),
        (&gone, Came::Known),
        (&withdrawn(1, 1, NOW_MS), Came::Soon),
    ];
    for (number, (record, came)) in steps.into_iter().enumerate() {
        assert_eq!(receive(&mut book, record), came, "step {number}");
        check(&book);
    }
    assert!(book.page(&Filter::default(), None, 10).0.is_empty());
    // Also where the withdrawal came first: a late copy does not bring the offer back as long as it would count.
    let mut book = Book::default();
    assert_eq!(receive(&mut book, &gone), Came::New);
    assert_eq!(receive(&mut book, &first), Came::Older);
    let last_ms = first.announcement().until_ms() - 1;
    let late = book.receive(first.to_unverified(), last_ms, DRIFT_MS, |_, _| false).unwrap().1;
    assert_eq!(late, Came::Older);
    let ended = book.receive(first.to_unverified(), last_ms + 1, DRIFT_MS, |_, _| false).unwrap().1;
    assert_eq!(ended, Came::Ended);
    book.sweep(gone.announcement().until_ms());
    assert_eq!(book.size(), (0, 0), "and then neither is kept");
}

#[test]
fn dates_are_judged_by_the_drift() {
    let mut book = Book::default();
    for (time_ms, came) in [
        (NOW_MS + DRIFT_MS + 1, Came::Early),
        (NOW_MS + DRIFT_MS, Came::New),
        (NOW_MS - limits::ANNOUNCEMENT_LIFE_MS, Came::Ended),
        (NOW_MS - limits::ANNOUNCEMENT_LIFE_MS - DRIFT_MS + 1, Came::Ended),
        (NOW_MS - limits::ANNOUNCEMENT_LIFE_MS - DRIFT_MS, Came::LongEnded),
        (0, Came::LongEnded),
    ] {
        let seller = u16::try_from(time_ms % 60_000).unwrap();
        assert_eq!(receive(&mut book, &standing(seller, 1, time_ms)), came, "{time_ms}");
    }
    assert_eq!(book.size().0, 1);
    let mut forged = standing(7, 1, NOW_MS).to_unverified();
    forged.signature[0] ^= 1;
    assert!(book.receive(forged, NOW_MS, DRIFT_MS, |_, _| false).is_err() && book.size().0 == 1);
}

#[test]
fn another_seller_cannot_touch_an_offer() {
    let mut book = Book::default();
    receive(&mut book, &standing(1, 1, NOW_MS - 100));
    receive(&mut book, &record(2, 1, NOW_MS, Says::Offered(offered("Mine now", 1, &[]))));
    receive(&mut book, &withdrawn(3, 1, NOW_MS));
    let sellers: Vec<Identity> = book.of_offer(offer_id(1)).map(|record| record.announcement().seller).collect();
    assert!(sellers.len() == 2 && sellers.contains(&key(1).identity()), "both stand, and neither in the other's name");
}

#[test]
fn past_its_room_a_seller_loses_its_oldest_and_nobody_elses() {
    let mut book = Book::default();
    let room = u16::try_from(limits::BOOK_OFFERS_PER_SELLER).unwrap();
    receive(&mut book, &standing(2, 1, NOW_MS - 1_000_000));
    for offer in 0..room {
        assert_eq!(receive(&mut book, &standing(1, offer, NOW_MS - 100_000 + u64::from(offer))), Came::New);
    }
    assert_eq!(receive(&mut book, &standing(1, room, NOW_MS - 200_000)), Came::NoRoom, "older than all it has");
    assert_eq!(receive(&mut book, &standing(1, room, NOW_MS)), Came::New);
    check(&book);
    let of = |seller: u16| Filter { seller: Some(key(seller).identity()), ..Filter::default() };
    assert_eq!(book.page(&of(1), None, 5_000).0.len(), usize::from(room));
    assert!(book.get(&Place { seller: key(1).identity(), offer: offer_id(0) }).is_none());
    assert_eq!(book.page(&of(2), None, 5_000).0.len(), 1);
}

#[test]
fn a_full_book_takes_from_strangers_with_most_and_never_from_us() {
    let mut book = Book::default();
    let long = "x".repeat(limits::OFFER_DESCRIPTION_BYTES);
    let large = |seller: u16, offer: u16, time_ms: u64| {
        let mut offered = offered("Large", 1, &[]);
        offered.offer.description = Some(long.clone());
        record(seller, offer, time_ms, Says::Offered(offered))
    };
    for offer in 0..20 {
        book.announce(large(1, offer, NOW_MS - 1_000_000));
    }
    let member = key(2).identity();
    let receive = |book: &mut Book, record: &Verified| {
        book.receive(record.to_unverified(), NOW_MS, DRIFT_MS, |_, who| *who == member).unwrap().1
    };
    for offer in 0..40 {
        receive(&mut book, &large(2, offer, NOW_MS - 900_000));
    }
    receive(&mut book, &large(3, 0, NOW_MS - 900_000));
    // Thirty strangers who flood.
    let (mut sent, mut time_ms) = (0, NOW_MS - 800_000);
    while sent < 3_000 {
        time_ms += 1;
        receive(&mut book, &large(10 + sent % 30, sent / 30, time_ms));
        sent += 1;
    }
    check(&book);
    let of = |book: &Book, seller: u16| {
        book.page(&Filter { seller: Some(key(seller).identity()), ..Filter::default() }, None, 5_000).0.len()
    };
    assert_eq!((of(&book, 1), of(&book, 2), of(&book, 3)), (20, 40, 1), "ours, a member's, and an honest stranger's");
    let shares: Vec<usize> = (10..40).map(|seller| of(&book, seller)).collect();
    let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
    assert!(most - least <= 1 && *most < 100, "they share what is left: {shares:?}");
}

#[test]
fn offers_are_found_by_what_is_asked_for_page_by_page() {
    let mut book = Book::default();
    for (seller, offer, title, price, tags) in [
        (1, 1, "Measuring twice", 10, &["measure", "wood"][..]),
        (1, 2, "Cutting once", 20, &["wood"][..]),
        (2, 3, "Größe ÄNDERN", 30, &[][..]),
        (2, 4, "Free", 0, &["measure"][..]),
    ] {
        receive(&mut book, &record(seller, offer, NOW_MS, Says::Offered(offered(title, price, tags))));
    }
    receive(&mut book, &withdrawn(1, 9, NOW_MS));
    let found = |filter: Filter| {
        let page = book.page(&filter, None, 10).0;
        let mut offers: Vec<OfferId> = page.iter().map(|record| record.announcement().offer).collect();
        offers.sort();
        (1..=4).filter(|number| offers.contains(&offer_id(*number))).collect::<Vec<u16>>()
    };
    let text = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
    for (filter, expected) in [
        (Filter::default(), vec![1, 2, 3, 4]),
        (Filter { tag: Some("wood".to_owned()), ..Filter::default() }, vec![1, 2]),
        (Filter { max_price: Some(20), ..Filter::default() }, vec![1, 2, 4]),
        (Filter { seller: Some(key(2).identity()), ..Filter::default() }, vec![3, 4]),
        (Filter { group: Some(group()), ..Filter::default() }, vec![1, 2, 3, 4]),
        (Filter { group: Some(GroupId::from_bytes([1; 32])), ..Filter::default() }, vec![]),
        (text("MEAS"), vec![1, 4]),
        (text("größe ändern"), vec![3]),
        (Filter { max_price: Some(10), tag: Some("measure".to_owned()), ..text("twice") }, vec![1]),
    ] {
        assert_eq!(found(filter.clone()), expected, "{filter:?}");
    }
    let (mut after, mut pages) = (None, Vec::new());
    loop {
        let (page, more) = book.page(&Filter::default(), after, 3);
        after = page.last().map(|last| Place { seller: last.announcement().seller, offer: last.announcement().offer });
        pages.push(page.len());
        if !more {
            break;
        }
    }
    assert_eq!(pages, [3, 1]);
}

#[test]
fn the_digest_tells_offers_and_withdrawals_and_not_dates() {
    let (mut one, mut other) = (Book::default(), Book::default());
    let empty = one.digest();
    receive(&mut one, &standing(1, 1, NOW_MS - 500_000));
    receive(&mut one, &standing(1, 2, NOW_MS));
    receive(&mut other, &standing(1, 2, NOW_MS - 700_000));
    receive(&mut other, &standing(1, 1, NOW_MS));
    assert!(one.digest() == other.digest() && one.digest() != empty);
    receive(&mut one, &standing(1, 1, NOW_MS));
    assert_eq!(one.digest(), other.digest(), "announced again");
    receive(&mut one, &withdrawn(1, 1, NOW_MS + 1));
    assert_ne!(one.digest(), other.digest());
    one.sweep(u64::MAX);
    assert_eq!(one.digest(), empty);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever came, in whatever sequence and however often: of each offer the newest record is there.
    #[test]
    fn every_sequence_of_arrival_makes_the_same_book(
        said in prop::collection::vec((0..3_u16, 0..4_u16, 0..6_u64, any::<bool>()), 1..24),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
        order in Just(()).prop_perturb(|(), mut rng| rng.random::<u64>()),
    ) {
        use rand::SeedableRng;
        use rand::seq::SliceRandom;
        let made: Vec<Verified> = said
            .iter()
            .map(|(seller, offer, time, stands)| {
                let time_ms = NOW_MS - 1_000_000 + time * 70_000;
                if *stands { standing(*seller, *offer, time_ms) } else { withdrawn(*seller, *offer, time_ms) }
            })
            .collect();
        let mut newest: BTreeMap<Place, &Verified> = BTreeMap::new();
        for record in &made {
            let place = place(record.announcement());
            let best = newest.entry(place).or_insert(record);
            if record.cmp_age(best).is_gt() {
                *best = record;
            }
        }
        let mut arrivals: Vec<&Verified> = made.iter().chain(again.iter().map(|index| index.get(&made))).collect();
        arrivals.shuffle(&mut rand::rngs::StdRng::seed_from_u64(order));
        let mut book = Book::default();
        for record in arrivals {
            receive(&mut book, record);
            check(&book);
        }
        let held: Vec<&Verified> = book.after(None).collect();
        prop_assert_eq!(held, newest.into_values().collect::<Vec<_>>());
    }
}
