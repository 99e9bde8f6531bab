//! What is announced is read as it was signed, and nothing else is.

use super::*;
use crate::chain::transaction::{OfferCreate, Settlement};
use crate::package::{Commitment, KeyCommitment, PackageHash};

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn offer() -> OfferCreate {
    OfferCreate {
        title: "How to measure".to_owned(),
        description: None,
        tags: vec!["measure".to_owned()],
        price: 250,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::Sealed,
        grant_within_ms: 86_400_000,
        dispute_within_ms: 86_400_000,
        package: Commitment {
            package: PackageHash::from_bytes([3; 32]),
            content_bytes: 9,
            key: KeyCommitment::from_bytes([4; 32]),
        },
    }
}

fn announcement(offer: OfferCreate) -> Announcement {
    let offered = Offered { group_name: "domain:research".to_owned(), currency: "KAT".to_owned(), offer };
    Announcement {
        group: GroupId::from_bytes([2; 32]),
        offer: OfferId::from_bytes([5; 32]),
        seller: key().identity(),
        time_ms: 1_800_000_000_000,
        addresses: vec!["/ip4/192.0.2.7/tcp/7337".to_owned()],
        says: Says::Offered(Box::new(offered)),
    }
}

/// So many addresses of the greatest length.
fn addresses(count: usize) -> Vec<String> {
    vec!["x".repeat(limits::ANNOUNCED_ADDRESS_BYTES); count]
}

fn withdrawn() -> Announcement {
    Announcement { addresses: vec![], says: Says::Withdrawn, ..announcement(offer()) }
}

/// Signs whatever it is: also what nobody would take.
fn sent(announcement: &Announcement) -> Unverified {
    let body = cbor::encode(announcement);
    let signature = key().sign(SIGNATURE_DOMAIN, &body);
    Unverified::new(body, signature)
}

fn read(sent: Unverified) -> Result<Verified, Invalid> {
    sent.open()?.verify()
}

#[test]
fn a_record_is_read_as_it_was_signed() {
    let described = OfferCreate { description: Some("All of it".to_owned()), expires_ms: Some(7), ..offer() };
    for announcement in [announcement(offer()), announcement(described), withdrawn()] {
        let signed = announcement.clone().sign(&key()).unwrap();
        let gossip = Unverified::decode(&signed.to_unverified().encode()).unwrap();
        let read = read(gossip).unwrap();
        assert_eq!((read.announcement(), &read), (&announcement, &signed));
    }
    assert!(withdrawn().sign(&key()).unwrap().bytes().len() < 140, "a withdrawal is small");
}

#[test]
fn the_longest_record_fits_and_one_byte_more_does_not() {
    use crate::chain::transaction::{Royalty, Split};
    let text = |bytes: usize| "x".repeat(bytes);
    let number = |n: usize| u8::try_from(n).unwrap();
    let mut splits: Vec<Split> = (0..limits::OFFER_SPLITS)
        .map(|n| Split { to: SecretKey::from_seed(&[number(n); 32]).identity(), bps: 625 })
        .collect();
    splits.sort_by_key(|split| split.to);
    let longest = OfferCreate {
        title: text(limits::TITLE_BYTES),
        description: Some(text(limits::OFFER_DESCRIPTION_BYTES)),
        tags: (0..limits::TAGS).map(|n| format!("{n:02}{}", text(limits::TAG_BYTES - 2))).collect(),
        price: limits::AMOUNT_MAX,
        splits,
        royalties: (0..limits::OFFER_ROYALTIES)
            .map(|n| Royalty { offer: OfferId::from_bytes([number(n); 32]), bps: 625 })
            .collect(),
        expires_ms: Some(u64::MAX),
        settle: Settlement::AtOnce,
        grant_within_ms: *limits::OFFER_GRANT_MS.end(),
        dispute_within_ms: *limits::OFFER_DISPUTE_MS.end(),
        package: Commitment { content_bytes: u32::try_from(limits::PACKAGE_BYTES).unwrap(), ..offer().package },
    };
    let mut longest =
        Announcement { time_ms: u64::MAX, addresses: addresses(limits::ANNOUNCED_ADDRESSES), ..announcement(longest) };
    if let Says::Offered(offered) = &mut longest.says {
        offered.group_name = text(limits::GROUP_NAME_BYTES);
        offered.currency = "K".repeat(limits::CURRENCY_BYTES);
    }
    let signed = longest.clone().sign(&key()).unwrap();
    assert!(signed.bytes().len() <= limits::ANNOUNCEMENT_BYTES, "{}", signed.bytes().len());
    assert!(read(Unverified::decode(&signed.to_unverified().encode()).unwrap()).is_ok());
    if let Says::Offered(offered) = &mut longest.says {
        offered.offer.title.push('x');
    }
    assert!(matches!(read(sent(&longest)), Err(Invalid::Form(_))));
    let padded = Unverified::new(vec![0; limits::ANNOUNCEMENT_BYTES + 1], [0; 64]);
    assert!(matches!(padded.open(), Err(Invalid::Decode(DecodeError::TooLong { .. }))));
}

#[test]
fn what_breaks_a_rule_is_refused() {
    let named = |group_name: &str, currency: &str| {
        let mut named = announcement(offer());
        if let Says::Offered(offered) = &mut named.says {
            offered.group_name = group_name.to_owned();
            offered.currency = currency.to_owned();
        }
        named
    };
    let other = |change: fn(&mut OfferCreate)| {
        let mut offer = offer();
        change(&mut offer);
        announcement(offer)
    };
    for (why, wrong) in [
        ("five addresses", Announcement { addresses: addresses(5), ..announcement(offer()) }),
        ("an address of nothing", Announcement { addresses: vec![String::new()], ..announcement(offer()) }),
        ("a long address", Announcement { addresses: vec!["x".repeat(97)], ..announcement(offer()) }),
        ("two words", Announcement { addresses: vec!["/ip4/192.0.2.7 /tcp/1".into()], ..announcement(offer()) }),
        ("no name", named("", "KAT")),
        ("a name with a space", named("a b", "KAT")),
        ("a currency in small letters", named("a", "kat")),
        ("no title", other(|offer| offer.title.clear())),
        ("an empty package", other(|offer| offer.package.content_bytes = 0)),
        ("a price past the bound", other(|offer| offer.price = u64::MAX)),
        ("no time to grant", other(|offer| offer.grant_within_ms = 0)),
    ] {
        assert!(matches!(read(sent(&wrong)), Err(Invalid::Form(_))), "{why}");
        assert!(wrong.sign(&key()).is_err(), "{why}");
    }
    let good = sent(&announcement(offer()));
    let mut forged = good.clone();
    forged.signature[5] ^= 1;
    assert_eq!(read(forged), Err(Invalid::Signature(BadSignature)));
    let of_another = Announcement { seller: SecretKey::from_seed(&[9; 32]).identity(), ..announcement(offer()) };
    assert_eq!(read(sent(&of_another)), Err(Invalid::Signature(BadSignature)), "a seller that is not the signer");
    let as_presence = key().sign(crate::presence::SIGNATURE_DOMAIN, &good.body);
    assert!(read(Unverified::new(good.body.clone(), as_presence)).is_err(), "another purpose");
    let mut later = good.clone();
    later.body[1] = 2;
    assert_eq!(read(later), Err(Invalid::Version(2)));
    let mut longer = good;
    longer.body.push(0);
    assert!(matches!(read(longer), Err(Invalid::Decode(_))));
}

#[test]
fn the_later_counts_and_a_withdrawal_before_an_offer_of_the_same_moment() {
    let signed = |announcement: Announcement| announcement.sign(&key()).unwrap();
    let at = |time_ms| Announcement { time_ms, ..announcement(offer()) };
    let (early, late) = (signed(at(5)), signed(at(6)));
    assert!(late.cmp_age(&early).is_gt() && early.cmp_age(&late).is_lt() && late.cmp_age(&late).is_eq());
    let gone = signed(Announcement { time_ms: 5, ..withdrawn() });
    assert!(gone.cmp_age(&early).is_gt() && gone.cmp_age(&late).is_lt());
}

#[test]
fn a_record_counts_until_its_offer_ends_and_no_longer_than_its_life() {
    let life_ms = limits::ANNOUNCEMENT_LIFE_MS;
    let until = |expires_ms| Announcement { time_ms: 100, ..announcement(OfferCreate { expires_ms, ..offer() }) };
    assert_eq!(until(None).until_ms(), 100 + life_ms);
    assert_eq!(until(Some(5_000)).until_ms(), 5_000);
    assert_eq!(until(Some(u64::MAX)).until_ms(), 100 + life_ms);
    assert_eq!(Announcement { time_ms: 100, ..withdrawn() }.until_ms(), 100 + life_ms);
    assert_eq!(Announcement { time_ms: u64::MAX, ..withdrawn() }.until_ms(), u64::MAX);
}
