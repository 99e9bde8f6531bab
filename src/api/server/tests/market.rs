//! A seller that cheats, as a daemon whose transactions the test writes by hand: the buyer's daemon sees it, shows everybody, and has its
//! tokens back.

use serde_bytes::ByteBuf;

use super::*;
use crate::announcement::Offered;
use crate::api::types::{
    AddMember, AddPeer, AskBalance, BuyOffer, ListPurchases, NewOffer, Payment, PurchaseState, Role,
};
use crate::chain::transaction::{Grant, OfferCreate, Order, Settlement, SignedOrder};
use crate::chain::{GroupId, OfferId, Transaction};
use crate::identity::OneTimeSecret;
use crate::ledger::market::{PurchaseRow, query};
use crate::limits;
use crate::node::engine::{Groups, Task};
use crate::node::market::io::OwnOffer;
use crate::package::{Commitment, PackageKey, encrypt};
use crate::runtime::clock::unix_ms;
use crate::wire::market::{Refused, Request, Response};

impl Running {
    async fn write(&self, group: GroupId, transaction: Transaction) -> crate::node::engine::Written {
        let task = Task::Write { group, author: self.me, transactions: vec![transaction], objects: vec![] };
        self.daemon.node.writer.write(task).await.unwrap()
    }

    async fn balance_of(&self, group: &str, account: Identity) -> u64 {
        self.client.balance(group, &AskBalance { account: Some(account) }).await.unwrap().balance
    }
}

/// How a seller cheats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cheat {
    /// It grants another key than it has committed to.
    OtherKey,
    /// What it grants is no sealed key.
    Noise,
    /// It has committed to a key with which the package does not decrypt.
    Altered,
}

async fn cheated(cheat: Cheat, role: Option<Role>) {
    let (alice, bob) = (start(1), start(2));
    let name = format!("{cheat:?}");
    let group = alice.create(&name).await;
    if let Some(role) = role {
        alice.client.add_member(&group, &AddMember { member: bob.me, role }).await.unwrap();
    }
    alice.client.mint(&group, &Payment { to: bob.me, amount: 100 }).await.unwrap();
    let addr = alice.address().await;
    bob.client.add_peer(&AddPeer { addr, alias: None }).await.unwrap();
    if role.is_some() {
        let joined = join(&bob, &group, PATIENCE).await;
        assert!(matches!(joined, JoinEvent::Joined { .. }), "{joined:?}");
    }
    let id: GroupId = group.parse().unwrap();

    // The offer's row is not on the cheat's own shelf, so its daemon leaves it alone.
    let (key, other) = (PackageKey::from_bytes([7; 32]), PackageKey::from_bytes([8; 32]));
    let content = vec![b'x'; 3 * limits::PACKAGE_CHUNK_BYTES];
    let (ciphertext, honest) = encrypt(&key, &content).unwrap();
    let package = match cheat {
        Cheat::Altered => Commitment { key: other.commitment(), ..honest },
        Cheat::OtherKey | Cheat::Noise => honest,
    };
    alice.daemon.node.packages.put(&package, &ciphertext).unwrap();
    let offer = OfferCreate {
        title: "A bargain".into(),
        description: None,
        tags: vec![],
        price: 40,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Settlement::AtOnce,
        grant_within_ms: limits::OFFER_DEFAULT_GRANT_MS,
        dispute_within_ms: limits::OFFER_DEFAULT_DISPUTE_MS,
        package,
    };
    let offered = Offered { group_name: name, currency: "KAT".into(), offer: offer.clone() };
    let written = alice.write(id, Transaction::OfferCreate(offer)).await;
    let offer = OfferId::derive(written.blocks[0], 0);
    let own = OwnOffer { group: id, offer, seller: alice.me, offered: Box::new(offered) };
    alice.daemon.node.announce(own).await.unwrap();
    let known = async { while bob.client.offer(&offer.to_string()).await.is_err() {} };
    within(known).await;

    let how = BuyOffer { wait_ms: Some(30_000), ..BuyOffer::default() };
    let buying = tokio::spawn({
        let (client, offer) = (bob.client.clone(), offer.to_string());
        async move { client.buy_offer(&offer, &how).await }
    });
    let (purchase, row): (_, PurchaseRow) = within(async {
        loop {
            let view = alice.daemon.node.view().unwrap();
            let kv = view.group(&id).unwrap().unwrap();
            if let Some(found) = query::open_of(kv.as_ref(), &alice.me, None, 1).unwrap().rows.pop() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let grant = match cheat {
        Cheat::OtherKey | Cheat::Altered => Grant::seal(purchase, &row.deal.key, &other, &[9; 32]).unwrap(),
        Cheat::Noise => Grant { purchase, sealed_key: ByteBuf::from(vec![1; 80]) },
    };
    alice.write(id, Transaction::Grant(grant)).await;

    let bought = within(buying).await.unwrap().unwrap();
    let ending = if cheat == Cheat::Altered { "bad_chunk" } else { "bad_key" };
    assert_eq!((bought.purchase.status, bought.opened), (PurchaseState::Refunded, false));
    if role.is_some() {
        assert_eq!(bought.purchase.ending.as_deref(), Some(ending));
    }
    let same = async { while alice.balance_of(&group, bob.me).await != 100 {} };
    within(same).await;
    assert_eq!((alice.balance_of(&group, bob.me).await, alice.balance_of(&group, alice.me).await), (100, 0));
    let stats = alice.client.group_stats(&group).await.unwrap();
    assert_eq!((stats.total_supply, stats.escrow_balance), (100, 0));
    assert!(bob.client.library().await.unwrap().packages.is_empty());
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_key_is_shown_to_everybody_and_the_price_comes_back() {
    cheated(Cheat::OtherKey, Some(Role::Member)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_grant_that_is_noise_is_shown_to_everybody_and_the_price_comes_back() {
    cheated(Cheat::Noise, Some(Role::Member)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_package_that_does_not_decrypt_is_shown_by_one_chunk_and_the_price_comes_back() {
    cheated(Cheat::Altered, Some(Role::Member)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_that_is_replayed_whoever_hands_it_in_is_charged_once_and_a_changed_one_never() {
    let (alice, bob, carol) = (start(1), start(2), start(3));
    let group = alice.create("replays").await;
    let id: GroupId = group.parse().unwrap();
    alice.client.mint(&group, &Payment { to: bob.me, amount: 100 }).await.unwrap();
    let new = NewOffer { title: "Once".into(), price: 40, text: Some("once".into()), ..NewOffer::default() };
    let offer: OfferId = alice.client.create_offer(&group, &new).await.unwrap().offer_id.parse().unwrap();
    let addr = alice.address().await;
    for one in [&bob, &carol] {
        one.client.add_peer(&AddPeer { addr: addr.clone(), alias: None }).await.unwrap();
        within(async { while one.client.status().await.unwrap().peers == 0 {} }).await;
    }
    let offered = {
        let view = alice.daemon.node.view().unwrap();
        let found = query::offer(view.group(&id).unwrap().unwrap().as_ref(), &offer).unwrap().unwrap();
        Offered { group_name: "replays".into(), currency: "KAT".into(), offer: found.terms }
    };
    let expires_ms = unix_ms() + 60_000;
    let (one_time, terms) = (OneTimeSecret::from_bytes([5; 32]).key(), offered.terms());
    let (buyer, seller, key) = (bob.me, alice.me, one_time);
    let order = Order { version: 1, group: id, buyer, offer, seller, terms, price: 40, nonce: 0, expires_ms, key };
    let signed = order.sign(&SecretKey::from_seed(&[2; 32]));
    // The buyer, the buyer again, and somebody who has seen it; side by side, and one after the other.
    let hand_in = async |from: &Running, order: &SignedOrder| {
        let request = Request::Order(Box::new(order.clone()));
        from.daemon.node.ask_peer(alice.me, request).await.unwrap().unwrap()
    };
    let answers = tokio::join!(hand_in(&bob, &signed), hand_in(&bob, &signed), hand_in(&carol, &signed));
    let ordered = Response::Ordered(signed.id());
    assert_eq!(answers, (ordered.clone(), ordered.clone(), ordered.clone()));
    assert_eq!(alice.balance_of(&group, bob.me).await, 60);
    // When it is granted as well, and when the buyer has bought something else since.
    let granted = async { alice.client.purchases(&ListPurchases::default()).await.unwrap().purchases[0].clone() };
    let status = granted.await.status;
    assert!(matches!(status, PurchaseState::Paid | PurchaseState::Granted), "{status:?}");
    assert_eq!(hand_in(&carol, &signed).await, ordered);
    // The same words with another price, or another number: not what the buyer has signed, or refused by the ledger.
    let forged = {
        let mut bytes = signed.encode();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        SignedOrder::decode(&bytes).unwrap()
    };
    for (what, order) in [
        ("a changed signature", forged),
        ("the buyer orders it again", Order { nonce: 1, ..order }.sign(&SecretKey::from_seed(&[2; 32]))),
        ("another number", Order { nonce: 7, ..order }.sign(&SecretKey::from_seed(&[2; 32]))),
    ] {
        let answer = hand_in(&carol, &order).await;
        assert!(matches!(answer, Response::Refused(Refused::Declined(_))), "{what}: {answer:?}");
    }
    assert_eq!(alice.balance_of(&group, bob.me).await, 60);
    assert_eq!(alice.client.purchases(&ListPurchases::default()).await.unwrap().purchases.len(), 1);
    let stats = alice.client.group_stats(&group).await.unwrap();
    assert_eq!((stats.total_supply, stats.escrow_balance), (100, 40));
    for one in [alice, bob, carol] {
        one.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_buyer_that_is_no_member_has_its_dispute_handed_in_and_its_price_back() {
    cheated(Cheat::OtherKey, None).await;
    cheated(Cheat::Altered, None).await;
}
