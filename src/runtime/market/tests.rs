//! Real daemons on loopback: offers and packages from one to the other, and peers that lie.
#![allow(clippy::print_stdout, reason = "two of the tests tell how long they took")]

use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use tempfile::TempDir;

use crate::announcement::{Announcement, Offered, Says, Verified};
use crate::chain::transaction::{OfferCreate, Settlement};
use crate::chain::{GroupId, OfferId};
use crate::config::{Flags, Settings};
use crate::datadir::{DataDir, Keyring, NodeName};
use crate::identity::{Identity, SecretKey};
use crate::limits;
use crate::net::{AddressBook, NetConfig, NetEvent, Network, Protocol};
use crate::node::market::Filter;
use crate::node::market::io::{NotFetched, OwnOffer, Wanted};
use crate::package::{Commitment, KeyCommitment, PackageHash, PackageKey, encrypt, prove};
use crate::runtime::clock::unix_ms;
use crate::runtime::{Daemon, Node};
use crate::store::Store;
use crate::wire::market::{Catalogue, GetAccount, GetPackage, Page, Place, Refused, Request, Response};

const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

struct Running {
    _data: TempDir,
    seed: u8,
    daemon: Daemon,
}

impl std::ops::Deref for Running {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.daemon.node
    }
}

fn start(seed: u8) -> Running {
    let data = tempfile::tempdir().unwrap();
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let settings = Settings::load(data.path(), Flags { listen, no_mdns: true, ..Flags::default() }, &|_| None).unwrap();
    let me = key(seed).identity();
    let store = Store::open(&data.path().join("lbm.redb"), &me).unwrap();
    // A folder of tests is open to others as the system makes it.
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(data.path(), closed).unwrap();
    let home = DataDir::open(data.path()).unwrap();
    let daemon = Daemon::start(&home, Keyring::of(key(seed)), NodeName::of(me), store, &settings).unwrap();
    Running { _data: data, seed, daemon }
}

impl Running {
    fn id(&self) -> Identity {
        key(self.seed).identity()
    }

    async fn address(&self) -> Multiaddr {
        within(async {
            loop {
                if let Some(first) = self.listening().await.unwrap().into_iter().next() {
                    return first;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    async fn is_connected(&self, to: Identity) -> bool {
        self.peers().await.unwrap().iter().any(|info| info.peer == to && info.link.is_some())
    }

    async fn connect(&self, to: &Self) {
        self.add_peer(to.address().await, None).await.unwrap().unwrap();
        within(async { while !(self.is_connected(to.id()).await && to.is_connected(self.id()).await) {} }).await;
    }

    async fn sell(&self, number: u8, package: Commitment) {
        let offered = offered(package);
        let offer = OfferId::from_bytes([number; 32]);
        self.announce(OwnOffer { group: group(), offer, seller: self.id(), offered }).await.unwrap();
    }

    async fn known(&self) -> Vec<Verified> {
        self.offers(Filter::default(), None, 1_000).await.unwrap().0
    }

    /// Waits until so many offers are known.
    async fn knows(&self, count: usize) {
        within(async { while self.known().await.len() != count {} }).await;
    }

    async fn is_banned(&self, peer: Identity) -> bool {
        self.peers().await.unwrap().iter().any(|info| info.peer == peer && info.banned.is_some())
    }
}

fn group() -> GroupId {
    GroupId::from_bytes([9; 32])
}

fn no_package() -> Commitment {
    Commitment { package: PackageHash::from_bytes([1; 32]), content_bytes: 9, key: KeyCommitment::from_bytes([2; 32]) }
}

fn package(bytes: usize) -> (Vec<u8>, Commitment) {
    let content: Vec<u8> = (0..bytes).map(|at| (at % 241) as u8).collect();
    encrypt(&PackageKey::from_bytes([8; 32]), &content).unwrap()
}

fn offered(package: Commitment) -> Box<Offered> {
    let offer = OfferCreate {
        title: "For sale".to_owned(),
        description: None,
        tags: vec![],
        price: 5,
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

fn announcement(seller: u8, offer: u8, time_ms: u64) -> Verified {
    let says = Says::Offered(offered(no_package()));
    let offer = OfferId::from_bytes([offer; 32]);
    Announcement { group: group(), offer, seller: key(seller).identity(), time_ms, addresses: vec![], says }
        .sign(&key(seller))
        .unwrap()
}

fn wanted(commitment: Commitment, seller: &Running) -> Wanted {
    Wanted { commitment, seller: seller.id() }
}

/// A node that speaks our protocols and does what it is told: gossips these messages, and answers on the market so.
struct Liar {
    id: Identity,
    say: tokio::sync::mpsc::Sender<Vec<u8>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    async fn at(seed: u8, to: &Running, answer: impl Fn(Request) -> Option<Response> + Send + 'static) -> Self {
        let config = NetConfig {
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            mdns: false,
            ..NetConfig::new(key(seed))
        };
        let id = key(seed).identity();
        let mut network = Network::new(&config, AddressBook::new(id, 1)).unwrap();
        network.add_peer(&to.address().await, None, true).unwrap();
        let (say, mut said) = tokio::sync::mpsc::channel::<Vec<u8>>(16);
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = network.next() => {
                        if let NetEvent::Request { protocol: Protocol::Market, id, bytes, .. } = event
                            && let Some(response) = answer(Request::decode(&bytes).unwrap())
                        {
                            let _gone = network.respond(id, response.encode());
                        }
                    }
                    Some(bytes) = said.recv() => network.publish(bytes),
                }
            }
        });
        within(async { while !to.is_connected(id).await {} }).await;
        Self { id, say, task }
    }

    async fn say(&self, bytes: Vec<u8>) {
        self.say.send(bytes).await.unwrap();
    }
}

fn empty(request: &Request) -> Option<Response> {
    match request {
        Request::Catalogue(_) => Some(Response::Page(Page { records: vec![], more: false })),
        _ => Some(Response::Refused(Refused::Unknown)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_offer_is_known_at_once_and_to_who_comes_late_and_gone_when_withdrawn() {
    let (alice, bob, carol, late) = (start(1), start(2), start(3), start(4));
    // Announced when nobody is there.
    alice.sell(1, no_package()).await;
    alice.connect(&bob).await;
    bob.knows(1).await;
    bob.connect(&carol).await;
    carol.knows(1).await;
    // Live, through the one in the middle.
    alice.sell(2, no_package()).await;
    carol.knows(2).await;
    late.connect(&carol).await;
    late.knows(2).await;
    let offer = OfferId::from_bytes([1; 32]);
    alice.withdraw(group(), Place { seller: alice.id(), offer }).await.unwrap();
    for node in [&alice, &bob, &carol, &late] {
        node.knows(1).await;
        assert!(node.offer(offer).await.unwrap().is_empty());
    }
    let left = &late.known().await[0];
    assert_eq!((left.announcement().seller, left.announcement().offered().unwrap().offer.price), (alice.id(), 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_forged_or_over_goes_no_further_and_counts_against_who_sent_it() {
    let (bob, carol) = (start(2), start(3));
    bob.connect(&carol).await;
    let now_ms = unix_ms();
    let bytes = |record: &Verified| record.to_unverified().encode();
    let mut forged = announcement(7, 1, now_ms).to_unverified();
    forged.signature[0] ^= 1;
    let mut in_anothers_name = announcement(7, 2, now_ms).to_unverified();
    in_anothers_name.body = announcement(8, 2, now_ms).bytes().to_vec();
    let bad =
        [forged.encode(), in_anothers_name.encode(), b"garbage".to_vec(), vec![7; limits::ANNOUNCEMENT_BYTES + 100]];
    let two_days = 2 * limits::ANNOUNCEMENT_LIFE_MS;
    let light = [announcement(7, 3, now_ms - two_days), announcement(7, 4, now_ms + two_days)];
    // Each liar may lie once; at the second heavy one it is sent away.
    for (seed, lies) in (20..).zip(bad.chunks(2)) {
        let liar = Liar::at(seed, &bob, |request| empty(&request)).await;
        for record in &light {
            liar.say(bytes(record)).await;
        }
        liar.say(bytes(&announcement(seed, 9, now_ms))).await;
        for lie in lies {
            liar.say(lie.clone()).await;
        }
        within(async { while bob.is_connected(liar.id).await {} }).await;
    }
    // What was good between the lies has arrived, at the third node as well, and nothing else has.
    carol.knows(2).await;
    bob.knows(2).await;
    let sellers: Vec<Identity> = carol.known().await.iter().map(|record| record.announcement().seller).collect();
    assert!(sellers.contains(&key(20).identity()) && sellers.contains(&key(21).identity()));
    assert!(!carol.is_banned(bob.id()).await && !bob.is_banned(carol.id()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_of_what_was_withdrawn_brings_nothing_back() {
    let (alice, bob) = (start(1), start(2));
    alice.connect(&bob).await;
    alice.sell(1, no_package()).await;
    bob.knows(1).await;
    let said = bob.known().await.remove(0).to_unverified().encode();
    alice.withdraw(group(), Place { seller: alice.id(), offer: OfferId::from_bytes([1; 32]) }).await.unwrap();
    bob.knows(0).await;
    let parrot = Liar::at(30, &bob, |request| empty(&request)).await;
    parrot.say(said).await;
    // What comes behind the replay shows that it has been judged.
    parrot.say(announcement(30, 2, unix_ms()).to_unverified().encode()).await;
    bob.knows(1).await;
    assert_eq!(bob.known().await[0].announcement().seller, parrot.id);
    assert!(!bob.is_banned(parrot.id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_catalogue_full_of_junk_is_its_senders_fault_and_honest_ones_are_read() {
    let (alice, bob) = (start(1), start(2));
    alice.sell(1, no_package()).await;
    let junk = Liar::at(40, &bob, |request| {
        let mut record = announcement(40, 1, unix_ms()).to_unverified();
        record.signature[3] ^= 1;
        match request {
            Request::Catalogue(_) => Some(Response::Page(Page { records: vec![record; 200], more: true })),
            _ => None,
        }
    })
    .await;
    // Asked once more, it is sent away; and it calls again in vain.
    within(async {
        while bob.is_connected(junk.id).await {
            bob.pull_market(Some(junk.id)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!bob.is_connected(junk.id).await);
    assert!(bob.known().await.is_empty());
    bob.connect(&alice).await;
    bob.knows(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_largest_package_comes_whole_and_then_from_whoever_has_it() {
    let (alice, bob, carol) = (start(1), start(2), start(3));
    let (ciphertext, commitment) = package(limits::PACKAGE_BYTES);
    alice.packages.put(&commitment, &ciphertext).unwrap();
    alice.connect(&bob).await;
    within(bob.fetch_package(wanted(commitment, &alice))).await.unwrap().unwrap();
    assert!(bob.packages.read(&commitment).unwrap().is_some_and(|bytes| bytes == ciphertext));
    within(bob.fetch_package(wanted(commitment, &alice))).await.unwrap().unwrap();
    // The seller is gone; another has it.
    let gone = alice.id();
    within(alice.daemon.stop()).await;
    carol.connect(&bob).await;
    within(carol.fetch_package(Wanted { commitment, seller: gone })).await.unwrap().unwrap();
    assert!(carol.packages.has(&commitment.package));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fetch_survives_a_liar_and_one_that_is_cut_off_in_the_middle() {
    let (bob, carol) = (start(2), start(3));
    let (ciphertext, commitment) = package(3 * 1024 * 1024);
    carol.packages.put(&commitment, &ciphertext).unwrap();
    let (lie, _) = encrypt(&PackageKey::from_bytes([1; 32]), &vec![0; 3 * 1024 * 1024]).unwrap();
    let wrong = Liar::at(50, &bob, move |request| match request {
        Request::Package(GetPackage { from, count, .. }) => {
            Some(Response::Chunks((from..from + count).filter_map(|index| prove(&lie, index)).collect()))
        }
        other => empty(&other),
    })
    .await;
    // The seller answers the first part, and then never again.
    let honest = ciphertext.clone();
    let silent = Liar::at(51, &bob, move |request| match request {
        Request::Package(GetPackage { from: 0, count, .. }) => {
            Some(Response::Chunks((0..count).filter_map(|index| prove(&honest, index)).collect()))
        }
        Request::Package(_) => None,
        other => empty(&other),
    })
    .await;
    bob.connect(&carol).await;
    let fetching = tokio::spawn({
        let (node, seller) = (bob.daemon.node.clone(), silent.id);
        async move { node.fetch_package(Wanted { commitment, seller }).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!fetching.is_finished(), "the silent seller has the rest");
    drop(silent);
    within(fetching).await.unwrap().unwrap().unwrap();
    assert!(bob.packages.read(&commitment).unwrap().is_some_and(|bytes| bytes == ciphertext));
    assert!(!bob.is_banned(carol.id()).await && !bob.is_banned(wrong.id).await, "one lie is not enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_nobody_has_and_what_finds_no_room_is_said() {
    let (alice, bob) = (start(1), start(2));
    alice.connect(&bob).await;
    let (_, commitment) = package(1000);
    let asked = GetPackage { package: commitment.package, from: 0, count: 1 };
    let answer = bob.ask_peer(alice.id(), Request::Package(asked.clone())).await.unwrap();
    assert_eq!(answer, Ok(Response::Refused(Refused::Unknown)));
    let about = GetAccount { group: group(), purchases: vec![], offers: vec![], agent: None };
    let answer = bob.ask_peer(alice.id(), Request::Account(about)).await.unwrap();
    assert_eq!(answer, Ok(Response::Refused(Refused::NotShared)), "the desk is closed");
    let stranger = key(99).identity();
    assert!(bob.ask_peer(stranger, Request::Package(asked)).await.unwrap().is_err());
    assert!(!bob.call_peer(stranger).await.unwrap());
    let catalogue = Request::Catalogue(Catalogue { after: None, digest: None });
    assert!(matches!(bob.ask_peer(alice.id(), catalogue).await.unwrap(), Ok(Response::Page(_))));
    // A folder that cannot be written to.
    let (ciphertext, commitment) = package(2000);
    alice.packages.put(&commitment, &ciphertext).unwrap();
    std::fs::remove_dir_all(bob.store.packages_path()).unwrap();
    let failed = within(bob.fetch_package(wanted(commitment, &alice))).await.unwrap();
    assert!(matches!(failed, Err(NotFetched::NotStored(_))), "{failed:?}");
}

/// Twenty nodes, each connected to four; a stranger floods one of them with what is good, and another with what is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn twenty_nodes_hear_of_each_offer_while_strangers_flood_two_of_them() {
    let nodes: Vec<Running> = (1..=20).map(start).collect();
    for at in 0..nodes.len() {
        for step in [1, 7] {
            nodes[at].connect(&nodes[(at + step) % nodes.len()]).await;
        }
    }
    let mut took = Vec::new();
    for number in 0..20_u8 {
        let seller = &nodes[usize::from(number)];
        let begun = Instant::now();
        seller.sell(100 + number, no_package()).await;
        let offer = OfferId::from_bytes([100 + number; 32]);
        for node in &nodes {
            within(async { while node.offer(offer).await.unwrap().is_empty() {} }).await;
        }
        took.push(begun.elapsed());
    }
    took.sort();
    println!("20 nodes know of an offer after {:?} (median), {:?} (the slowest of 20)", took[10], took[19]);
    assert!(took[19] < PATIENCE, "{took:?}");
    let flood = Liar::at(60, &nodes[3], |request| empty(&request)).await;
    let forger = Liar::at(61, &nodes[11], |request| empty(&request)).await;
    let now_ms = unix_ms();
    let flooding = async {
        for number in 0..2_000_u16 {
            let offer = OfferId::from_bytes([&number.to_be_bytes()[..], &[60; 30]].concat().try_into().unwrap());
            let says = Says::Offered(offered(no_package()));
            let said =
                Announcement { group: group(), offer, seller: flood.id, time_ms: now_ms, addresses: vec![], says };
            flood.say(said.sign(&key(60)).unwrap().to_unverified().encode()).await;
        }
    };
    let forging = async {
        for number in 0..50 {
            let mut forged = announcement(62, number, now_ms).to_unverified();
            forged.signature[1] ^= 1;
            forger.say(forged.encode()).await;
        }
    };
    let honest = async {
        let offer = OfferId::from_bytes([250; 32]);
        nodes[10].sell(250, no_package()).await;
        for node in &nodes {
            within(async { while node.offer(offer).await.unwrap().is_empty() {} }).await;
        }
    };
    tokio::join!(flooding, forging, honest);
    within(async { while nodes[11].is_connected(forger.id).await {} }).await;
    for node in &nodes {
        let of = |seller: Identity| node.offers(Filter { seller: Some(seller), ..Filter::default() }, None, 5_000);
        assert!(of(flood.id).await.unwrap().0.len() <= limits::BOOK_OFFERS_PER_SELLER);
        assert!(of(key(62).identity()).await.unwrap().0.is_empty(), "a forged offer went on");
        for number in (100..120).chain([250]) {
            assert!(
                !node.offer(OfferId::from_bytes([number; 32])).await.unwrap().is_empty(),
                "an honest offer is lost"
            );
        }
        for other in &nodes {
            assert!(!node.is_banned(other.id()).await, "an honest node was sent away");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_catalogue_of_ten_thousand_offers_is_pulled_and_searched() {
    let bob = start(2);
    let now_ms = unix_ms();
    let mut records: Vec<Verified> = (0..10_000_u16)
        .map(|number| {
            let seller = SecretKey::from_seed(&[100 + u8::try_from(number % 20).unwrap(); 32]);
            let offer = OfferId::from_bytes([&number.to_be_bytes()[..], &[1; 30]].concat().try_into().unwrap());
            let mut offered = offered(no_package());
            offered.offer.title = format!("Offer number {number}");
            offered.offer.description = Some("What it is and what it is good for. ".repeat(8));
            offered.offer.price = u64::from(number);
            let says = Says::Offered(offered);
            let said = Announcement {
                group: group(),
                offer,
                seller: seller.identity(),
                time_ms: now_ms,
                addresses: vec![],
                says,
            };
            said.sign(&seller).unwrap()
        })
        .collect();
    records.sort_by_key(|record| (record.announcement().seller, record.announcement().offer));
    let begun = Instant::now();
    let _full = Liar::at(70, &bob, move |request| {
        let Request::Catalogue(Catalogue { after, .. }) = request else { return empty(&request) };
        let place =
            |record: &Verified| Place { seller: record.announcement().seller, offer: record.announcement().offer };
        let from = records.partition_point(|record| after.is_some_and(|after| place(record) <= after));
        let page = records[from..].iter().take(limits::CATALOGUE_RECORDS).map(Verified::to_unverified).collect();
        Some(Response::Page(Page { records: page, more: from + limits::CATALOGUE_RECORDS < records.len() }))
    })
    .await;
    let all = Filter { text: Some("NUMBER 9999".to_owned()), ..Filter::default() };
    within(async {
        while bob.offers(Filter::default(), None, 10_001).await.unwrap().0.len() < 10_000 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let pulled = begun.elapsed();
    let begun = Instant::now();
    let found = bob.offers(all, None, 100).await.unwrap().0;
    println!("10,000 offers were pulled in {pulled:?}, and one of them found by its words in {:?}", begun.elapsed());
    assert_eq!(found.len(), 1);
}
