//! What the people of the history have for sale: announcements, and the messages of `/lbm/market/1`.
//!
//! Shared by the protocol's vectors and by the tests of the decoders.

use lbm::announcement::{Announcement, Offered, Says, Verified};
use lbm::chain::transaction::{Dispute, OfferCreate, Order, Royalty, Settlement, Split};
use lbm::chain::{OfferId, PurchaseId};
use lbm::identity::OneTimeSecret;
use lbm::limits;
use lbm::package::{Commitment, PackageKey, encrypt, prove};
use lbm::wire::market::{
    Account, Bought, Catalogue, GetAccount, GetPackage, HandedDispute, Page, Place, Refused, Request, Response,
};
use serde_bytes::ByteBuf;

use crate::story::{START_MS, Story};

/// A package of two chunks.
pub fn package() -> (Vec<u8>, Commitment) {
    let content: Vec<u8> = (0..limits::PACKAGE_CHUNK_BYTES + 9).map(|at| u8::try_from(at % 251).unwrap()).collect();
    encrypt(&PackageKey::from_bytes([b'k'; 32]), &content).unwrap()
}

fn offer(number: u8) -> OfferId {
    OfferId::from_bytes([number; 32])
}

fn simple() -> OfferCreate {
    OfferCreate {
        title: "How to measure".to_owned(),
        description: None,
        tags: vec![],
        price: 0,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::Sealed,
        grant_within_ms: 86_400_000,
        dispute_within_ms: 86_400_000,
        package: package().1,
    }
}

fn offered(offer: OfferCreate) -> Offered {
    Offered { group_name: "domain:research".to_owned(), currency: "KAT".to_owned(), offer }
}

/// An offer that says all it can, as it is announced.
fn full(story: &Story) -> Offered {
    let mut splits =
        vec![Split { to: story.alice.identity(), bps: 7_000 }, Split { to: story.bob.identity(), bps: 3_000 }];
    splits.sort_by_key(|split| split.to);
    offered(OfferCreate {
        description: Some("入力を検証する\nAll of it".to_owned()),
        tags: vec!["measure".to_owned(), "wood".to_owned()],
        price: 250,
        splits,
        royalties: vec![Royalty { offer: offer(1), bps: 500 }],
        expires_ms: Some(START_MS + 86_400_000),
        settle: Settlement::AtOnce,
        ..simple()
    })
}

/// Announcements, ascending by seller and offer.
pub fn announcements(story: &Story) -> Vec<Verified> {
    let says = |offered| Says::Offered(Box::new(offered));
    let said = [
        (&story.alice, 1, says(offered(simple()))),
        (&story.bob, 2, says(full(story))),
        (&story.bob, 3, Says::Withdrawn),
    ];
    let mut said = said.map(|(key, number, says)| {
        let seller = key.identity();
        let time_ms = START_MS + 9_000;
        let addresses = match &says {
            Says::Offered(_) => {
                vec!["/ip4/192.0.2.7/tcp/7337".to_owned(), "/ip6/2001:db8::7/udp/7337/quic-v1".to_owned()]
            }
            Says::Withdrawn => vec![],
        };
        Announcement { group: story.group, offer: offer(number), seller, time_ms, addresses, says }.sign(key).unwrap()
    });
    said.sort_by_key(|record| (record.announcement().seller, record.announcement().offer));
    said.into()
}

/// Requests of each kind.
pub fn requests(story: &Story) -> Vec<(&'static str, Request)> {
    let buyer = story.carol.identity();
    let key = OneTimeSecret::from_bytes([b'o'; 32]).key();
    let expires_ms = START_MS + 60_000;
    let (seller, terms) = (story.bob.identity(), full(story).terms());
    let (group, offer_id, price) = (story.group, offer(2), 250);
    let order = Order { version: 1, group, buyer, offer: offer_id, seller, terms, price, nonce: 0, expires_ms, key };
    let (purchase, secret) = (PurchaseId::from_bytes([7; 32]), OneTimeSecret::from_bytes([b'o'; 32]));
    let dispute = Dispute { purchase, secret, chunk: None };
    let after = Place { seller: story.bob.identity(), offer: offer(2) };
    vec![
        (
            "catalogue, unless it is the same",
            Request::Catalogue(Catalogue { after: None, digest: Some(ByteBuf::from([6; 32])) }),
        ),
        ("catalogue, the rest", Request::Catalogue(Catalogue { after: Some(after), digest: None })),
        ("package", Request::Package(GetPackage { package: package().1.package, from: 0, count: 2 })),
        ("order", Request::Order(Box::new(order.sign(&story.carol)))),
        (
            "account",
            Request::Account(GetAccount {
                group: story.group,
                purchases: vec![PurchaseId::from_bytes([7; 32])],
                offers: vec![OfferId::from_bytes([8; 32])],
                agent: None,
            }),
        ),
        (
            "account, of an agent",
            Request::Account(GetAccount {
                group: story.group,
                purchases: vec![],
                offers: vec![OfferId::from_bytes([8; 32])],
                agent: story.delegations().pop().map(|(_, signed)| signed),
            }),
        ),
        ("dispute", Request::Dispute(Box::new(HandedDispute { group: story.group, dispute }))),
    ]
}

/// Responses of each kind.
pub fn responses(story: &Story) -> Vec<(&'static str, Response)> {
    let bought = |number: u8, state: &str, until_ms, sealed_key: Option<ByteBuf>| Bought {
        purchase: PurchaseId::from_bytes([number; 32]),
        offer: offer(2),
        nonce: u64::from(number),
        state: state.to_owned(),
        is_final: sealed_key.is_some(),
        until_ms,
        sealed_key,
    };
    let purchases =
        vec![bought(7, "bought", Some(START_MS + 5), None), bought(8, "granted", None, Some(ByteBuf::from([3; 80])))];
    let records = announcements(story).iter().map(Verified::to_unverified).collect();
    // The shorter of its chunks.
    let (ciphertext, _) = package();
    vec![
        ("same", Response::Same),
        ("page, the last", Response::Page(Page { records, more: false })),
        ("chunks", Response::Chunks(prove(&ciphertext, 1).into_iter().collect())),
        ("ordered", Response::Ordered(PurchaseId::from_bytes([7; 32]))),
        ("account", Response::Account(Account { balance: 250, nonce: 1, purchases })),
        ("refused, unknown", Response::Refused(Refused::Unknown)),
        ("refused, not shared", Response::Refused(Refused::NotShared)),
        ("refused, declined", Response::Refused(Refused::Declined("the balance is too small".to_owned()))),
        ("refused, busy", Response::Refused(Refused::Busy(200))),
        ("refused, malformed", Response::Refused(Refused::Malformed)),
        ("refused, failed", Response::Refused(Refused::Failed)),
    ]
}
