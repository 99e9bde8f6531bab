//! A buyer that is no member of the group: whatever comes between, what it has paid for is its own.

use serde_bytes::ByteBuf;

use super::*;
use crate::announcement::Offered;
use crate::api::types::{AddPeer, BuyOffer, NewOffer, Payment, SetSpendingLimit};
use crate::chain::transaction::{ORDER_VERSION, Order, Purchase};
use crate::chain::{GroupId, OfferId, PurchaseId, Transaction};
use crate::ledger::market::query;
use crate::limits;
use crate::node::engine::{Groups, Task};
use crate::node::trade::shelf::{self, Outside, Owned, Shelved};
use crate::runtime::clock::unix_ms;
use crate::store::Registry;

const PRICE: u64 = 10;

/// A seller with offers, and who has tokens in its group and is connected.
struct Fair {
    alice: Running,
    bob: Running,
    group: String,
    offers: Vec<String>,
}

async fn fair(offers: usize) -> Fair {
    let (alice, bob) = (start(1), start(2));
    let group = alice.create("Fair").await;
    alice.client.mint(&group, &Payment { to: bob.me, amount: 100 }).await.unwrap();
    let addr = alice.address().await;
    bob.client.add_peer(&AddPeer { addr, alias: None }).await.unwrap();
    let mut fair = Fair { alice, bob, group, offers: vec![] };
    for number in 0..offers {
        let offer = NewOffer {
            title: format!("Lesson {number}"),
            text: Some(format!("content {number}")),
            price: PRICE,
            ..NewOffer::default()
        };
        let offer = fair.alice.client.create_offer(&fair.group, &offer).await.unwrap().offer_id;
        within(async { while fair.bob.client.offer(&offer).await.is_err() {} }).await;
        fair.offers.push(offer);
    }
    fair
}

impl Fair {
    fn id(&self) -> GroupId {
        self.group.parse().unwrap()
    }

    fn offer(&self, number: usize) -> OfferId {
        self.offers[number].parse().unwrap()
    }

    /// Has every offer opened, each paid once.
    async fn owns_all(self) {
        for (number, offer) in self.offers.iter().enumerate() {
            within(async {
                while self.bob.client.library_content(offer).await.ok().and_then(|opened| opened.text)
                    != Some(format!("content {number}"))
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        let sold = {
            let view = self.alice.daemon.node.view().unwrap();
            let kv = view.group(&self.id()).unwrap().unwrap();
            query::purchases_of(kv.as_ref(), &self.bob.me, None, 100).unwrap().rows.len()
        };
        assert_eq!(sold, self.offers.len());
        self.alice.stop().await;
        self.bob.stop().await;
    }
}

fn how() -> BuyOffer {
    BuyOffer { wait_ms: Some(30_000), ..BuyOffer::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_six_times_at_once_and_for_two_things_at_once_pays_each_once() {
    let fair = fair(2).await;
    let mut asked = tokio::task::JoinSet::new();
    for offer in fair.offers.iter().cycle().take(12) {
        let (client, offer) = (fair.bob.client.clone(), offer.clone());
        asked.spawn(async move { client.buy_offer(&offer, &how()).await.map(|bought| bought.opened) });
    }
    for bought in within(asked.join_all()).await {
        assert!(bought.unwrap());
    }
    fair.owns_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_bought_and_forgotten_is_found_again_and_not_paid_again() {
    let fair = fair(1).await;
    assert!(fair.bob.client.buy_offer(&fair.offers[0], &how()).await.unwrap().opened);
    let rows = [
        shelf::of_offer::<Outside>(&fair.bob.me, &fair.id(), &fair.offer(0)),
        shelf::of_offer::<Owned>(&fair.bob.me, &fair.id(), &fair.offer(0)),
    ];
    let local = rows.into_iter().map(|key| (key, None)).collect();
    fair.bob.daemon.node.writer.register(Registry { local, ..Registry::default() }).await.unwrap();
    assert!(fair.bob.client.library().await.unwrap().packages.is_empty());

    let again = fair.bob.client.buy_offer(&fair.offers[0], &how()).await.unwrap();
    assert!(again.opened && again.already_owned);
    fair.owns_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_that_was_declined_and_handed_in_all_the_same_is_followed_to_its_package() {
    let fair = fair(1).await;
    let (group, offer) = (fair.id(), fair.offer(0));
    let terms = {
        let view = fair.alice.daemon.node.view().unwrap();
        let kv = view.group(&group).unwrap().unwrap();
        query::offer(kv.as_ref(), &offer).unwrap().unwrap().terms
    };
    let of_group = fair.alice.client.group(&fair.group).await.unwrap();
    let offered = Offered { group_name: of_group.group.name.unwrap(), currency: of_group.currency, offer: terms };
    let bobs_key = SecretKey::from_seed(&[2; 32]);
    let order = Order {
        version: ORDER_VERSION,
        group,
        buyer: fair.bob.me,
        offer,
        seller: fair.alice.me,
        terms: offered.terms(),
        price: PRICE,
        nonce: 0,
        expires_ms: unix_ms() + limits::ORDER_LIFE_MS,
        key: shelf::one_time(&bobs_key, &group, &offer, 0).key(),
    };
    let order = order.sign(&bobs_key);
    // What bob knows after a peer has kept its order and said no.
    let row = Outside {
        seller: fair.alice.me,
        offered,
        order: ByteBuf::from(order.encode()),
        purchase: order.id(),
        nonce: 0,
        at_ms: unix_ms(),
        declined: Some("no".into()),
        state: None,
        until_ms: None,
        sealed_key: None,
    };
    let local = vec![(shelf::of_offer::<Outside>(&fair.bob.me, &group, &offer), Some(row.to_row()))];
    fair.bob.daemon.node.writer.register(Registry { local, ..Registry::default() }).await.unwrap();
    let purchase = Transaction::Purchase(Purchase { order });
    let task = Task::Write { group, author: fair.alice.me, transactions: vec![purchase], objects: vec![] };
    fair.alice.daemon.node.writer.write(task).await.unwrap();
    fair.bob.daemon.node.trade.moved(group, false);
    fair.owns_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_or_damaged_package_is_fetched_again_and_of_an_own_one_it_is_said() {
    let fair = fair(1).await;
    assert!(fair.bob.client.buy_offer(&fair.offers[0], &how()).await.unwrap().opened);
    let path = |node: &Running| {
        let folder = std::fs::read_dir(node.data.path().join("packages")).unwrap();
        folder.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_none()).unwrap()
    };
    let whole = std::fs::read(path(&fair.bob)).unwrap();
    std::fs::write(path(&fair.bob), vec![0; whole.len()]).unwrap();
    let opened = within(fair.bob.client.library_content(&fair.offers[0])).await.unwrap();
    assert_eq!(opened.text.as_deref(), Some("content 0"));
    std::fs::remove_file(path(&fair.bob)).unwrap();
    let opened = within(fair.bob.client.library_content(&fair.offers[0])).await.unwrap();
    assert_eq!(opened.text.as_deref(), Some("content 0"));
    assert_eq!(std::fs::read(path(&fair.bob)).unwrap(), whole);

    std::fs::remove_file(path(&fair.alice)).unwrap();
    assert_eq!(code(fair.alice.client.library_content(&fair.offers[0]).await), ProblemCode::PackageDamaged);
    fair.owns_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_no_member_has_a_limit_too_and_an_approval_leaves_nothing_behind() {
    let fair = fair(1).await;
    let limit = SetSpendingLimit { per_day: Some(PRICE - 1) };
    let set = fair.bob.client.set_spending_limit(&fair.group, &limit).await.unwrap();
    assert_eq!((set.per_day, set.spent), (Some(PRICE - 1), 0));
    assert!(!fair.bob.client.buy_offer(&fair.offers[0], &how()).await.unwrap().opened);
    // However often, and whenever.
    let mut approved = 0;
    within(async {
        loop {
            approved += usize::from(fair.bob.client.approve_purchase(&fair.offers[0]).await.is_ok());
            let purchases = fair.bob.client.purchases(&Default::default()).await.unwrap().purchases;
            if let [only] = purchases.as_slice()
                && only.purchase_id.as_deref().is_some_and(|id| id.parse::<PurchaseId>().is_ok())
            {
                return;
            }
        }
    })
    .await;
    assert!(approved > 0);
    assert!(fair.bob.client.approve_purchase(&fair.offers[0]).await.is_err());
    assert_eq!(fair.bob.client.spending_limit(&fair.group).await.unwrap().spent, PRICE);
    fair.owns_all().await;
}
