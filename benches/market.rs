//! The market, as a buyer feels it: real daemons on loopback. Prints one JSON document.
//!
//! ```text
//! cargo bench --bench market -- [--nodes 20] [--purchases 100] [--offers 10000] [--folder DIR]
//! ```
//!
//! Three parts, each without the others where its number is 0:
//!
//! - *announce*: so many daemons in processes of their own, each connected to at most four of those before it; one of them offers, and each of
//!   the others hears of it by gossip alone.
//! - *purchase*: two daemons, the seller is the notary; packages of 1 MiB, settled `sealed`, from the call of `offer buy` until the
//!   package opens on the buyer's disk.
//! - *catalogue*: so many announcements of as many sellers as it takes, held by one peer, pulled by a daemon, and listed with a filter.
//!
//! `limits` says what the machine can do in the same minute, `load` how busy others kept it. Read them beside the times.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may fail, and prints its result"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use lbm::announcement::{Announcement, Offered, Says, Unverified};
use lbm::api::client::Client;
use lbm::api::types::{
    AddMember, AddPeer, BuyOffer, CreateGroup, EventKind, JoinEvent, JoinGroup, ListEvents, ListOffers, NewOffer,
    Payment, PullMarket, Role,
};
use lbm::chain::transaction::{OfferCreate, Settlement};
use lbm::chain::{GroupId, OfferId};
use lbm::identity::SecretKey;
use lbm::limits;
use lbm::net::{AddressBook, NetConfig, NetEvent, Network, Protocol};
use lbm::package::{Commitment, KeyCommitment, PackageHash};
use lbm::wire::market::{Page, Place, Request, Response};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// Offers that are announced, one after the other.
const ANNOUNCED: usize = 40;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let flag = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let number = |name: &str, default: usize| flag(name).map_or(default, |n| n.parse().unwrap());
    let folder = PathBuf::from(flag("--folder").unwrap_or_else(|| std::env::temp_dir().display().to_string()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let root = folder.join(format!("lbm-bench-market-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&root).unwrap();
    let (nodes, purchases, offers) =
        (number("--nodes", 20), number("--purchases", 100), number("--offers", limits::BOOK_OFFERS / 2));
    let mut document = json!({ "limits": machine(&root), "load_before": load() });
    if nodes > 1 {
        document["announce"] = runtime.block_on(announce(&root, nodes));
    }
    if purchases > 0 {
        document["purchase"] = runtime.block_on(purchase(&root, purchases));
    }
    if offers > 0 {
        document["catalogue"] = runtime.block_on(catalogue(&root, offers));
    }
    document["load_after"] = load();
    std::fs::remove_dir_all(&root).unwrap();
    println!("{}", serde_json::to_string_pretty(&document).unwrap());
}

/// A daemon in a process of its own.
struct Node {
    child: Child,
    client: Client,
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Node {
    fn start(data: &Path) -> Self {
        let mut init = Command::new(env!("CARGO_BIN_EXE_lbm"));
        init.args(["init", "--name"]).arg(data.file_name().unwrap()).arg("--data").arg(data).stdout(Stdio::null());
        assert!(init.status().unwrap().success());
        let mut child = Command::new(env!("CARGO_BIN_EXE_lbm-node"))
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--log-level", "warn", "--data"])
            .arg(data)
            .env("LB_P2P_MAX_CONN_PER_IP", "64")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready"), "{line}");
        Self { child, client: Client::new(data) }
    }

    fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| after_name[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }

    async fn id(&self) -> lbm::identity::Identity {
        self.client.status().await.unwrap().node_id.parse().unwrap()
    }

    async fn address(&self) -> String {
        self.client.status().await.unwrap().listen.into_iter().next().unwrap()
    }

    async fn connect(&self, to: &Self) {
        self.client.add_peer(&AddPeer { addr: to.address().await, alias: None }).await.unwrap();
    }

    async fn wait_for_peers(&self, count: usize) {
        wait(async || self.client.status().await.unwrap().peers >= count).await;
    }

    async fn found(&self) -> String {
        self.client.create_group(&CreateGroup { name: "bench".into(), currency: None }).await.unwrap().group_id
    }
}

async fn wait(is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "in vain");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn unix_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn spread(mut times: Vec<f64>) -> Value {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    json!({ "p50_ms": at(0.5), "p95_ms": at(0.95), "most_ms": at(1.0), "n": times.len() })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How many processes wanted a core of late.
fn load() -> Value {
    json!(std::fs::read_to_string("/proc/loadavg").unwrap().split_whitespace().take(3).collect::<Vec<_>>())
}

/// What the machine can do: one fdatasync of a page on this disk, and verifying on one core.
fn machine(root: &Path) -> Value {
    let mut file = std::fs::File::create(root.join("probe")).unwrap();
    let mut syncs = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096]).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        syncs.push(ms(began.elapsed()));
    }
    let key = SecretKey::from_seed(&[1; 32]);
    let (signature, identity) = (key.sign(b"bench", &[0; 300]), key.identity());
    let began = Instant::now();
    for _ in 0..2_000 {
        identity.verify(b"bench", std::hint::black_box(&[0; 300]), &signature).unwrap();
    }
    let verify = 2_000.0 / began.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "fdatasync": spread(syncs), "verify_strict_per_s": verify, "cores": cores })
}

fn new_offer(number: usize, content: &[u8]) -> NewOffer {
    NewOffer {
        title: format!("Offer {number}"),
        description: None,
        tags: vec!["bench".into()],
        price: 1,
        splits: vec![],
        royalties: vec![],
        expires_ms: None,
        settle: Some(Settlement::Sealed),
        grant_within_ms: None,
        dispute_within_ms: None,
        text: None,
        content_base64: Some(base64::engine::general_purpose::STANDARD.encode(content)),
    }
}

/// The moments, in microseconds since the bench began, at which one daemon has heard of each offer.
async fn listen(client: Client, began: Instant, count: usize) -> Vec<(String, Duration)> {
    let mut events = client.events(&ListEvents { after: Some(u64::MAX / 2), follow: true }).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < count {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.expect("in time").unwrap().unwrap();
        if let EventKind::OfferListed { offer_id, .. } = event.kind {
            heard.push((offer_id, began.elapsed()));
        }
    }
    heard
}

async fn announce(root: &Path, count: usize) -> Value {
    let nodes: Vec<Node> = (0..count).map(|number| Node::start(&root.join(format!("n{number}")))).collect();
    for (number, node) in nodes.iter().enumerate() {
        // The one before, and others further and further back: five hops from end to end among twenty.
        for back in [1, 2, 5, 11].into_iter().filter(|back| *back <= number) {
            node.connect(&nodes[number - back]).await;
        }
    }
    for (number, node) in nodes.iter().enumerate() {
        let before = [1, 2, 5, 11].iter().filter(|back| **back <= number).count();
        node.wait_for_peers(before).await;
    }
    // Until gossip has formed its mesh.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let group = nodes[0].found().await;
    let began = Instant::now();
    let listening: Vec<_> =
        nodes.iter().map(|node| tokio::spawn(listen(node.client.clone(), began, ANNOUNCED))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut called = Vec::new();
    for number in 0..ANNOUNCED {
        let at = began.elapsed();
        let made = nodes[0].client.create_offer(&group, &new_offer(number, b"content")).await.unwrap();
        called.push((made.offer_id, at, began.elapsed()));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut heard = Vec::new();
    for listener in listening {
        heard.push(listener.await.unwrap());
    }
    let (mut from_call, mut from_durable, mut all_from_call) = (Vec::new(), Vec::new(), Vec::new());
    for (offer, call, durable) in &called {
        let mut last = Duration::ZERO;
        for of_node in heard.iter().skip(1) {
            let (_, at) = of_node.iter().find(|(heard, _)| heard == offer).unwrap();
            from_call.push(ms(at.saturating_sub(*call)));
            from_durable.push(ms(at.saturating_sub(*durable)));
            last = last.max(at.saturating_sub(*call));
        }
        all_from_call.push(ms(last));
    }
    json!({
        "nodes": count, "from_the_answer_of_offer_create": spread(from_durable), "from_its_call": spread(from_call),
        "from_its_call_to_the_last_node": spread(all_from_call), "load": load(),
    })
}

async fn purchase(root: &Path, count: usize) -> Value {
    let (seller, buyer) = (Node::start(&root.join("seller")), Node::start(&root.join("buyer")));
    let group = seller.found().await;
    let member = buyer.id().await;
    seller.client.add_member(&group, &AddMember { member, role: Role::Member }).await.unwrap();
    buyer.connect(&seller).await;
    let mut joining =
        buyer.client.join_group(&JoinGroup { group: group.clone(), note: None, wait_ms: None }).await.unwrap();
    while let Some(event) = joining.next().await.unwrap() {
        assert!(!matches!(event, JoinEvent::Waiting { .. } | JoinEvent::Refused { .. }), "{event:?}");
    }
    seller.client.mint(&group, &Payment { to: member, amount: count as u64 }).await.unwrap();
    let mut offers = Vec::new();
    for number in 0..count {
        let mut content = vec![0; 1 << 20];
        blake3::Hasher::new().update(&number.to_be_bytes()).finalize_xof().fill(&mut content);
        offers.push(seller.client.create_offer(&group, &new_offer(number, &content)).await.unwrap().offer_id);
    }
    let last = offers.last().unwrap();
    wait(async || buyer.client.offer(last).await.is_ok()).await;
    // Until a seal covers all of that, as on any day.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cpu = (seller.cpu_s(), buyer.cpu_s());
    let mut times = Vec::new();
    for offer in &offers {
        let began = Instant::now();
        let bought = buyer.client.buy_offer(offer, &BuyOffer::default()).await.unwrap();
        times.push(ms(began.elapsed()));
        assert!(bought.opened, "{bought:?}");
    }
    json!({
        "mib": 1, "settle": "sealed", "until_it_opens": spread(times), "load": load(),
        "cpu_ms_each": { "seller": (seller.cpu_s() - cpu.0) * 1e3 / count as f64, "buyer": (buyer.cpu_s() - cpu.1) * 1e3 / count as f64 },
    })
}

/// Announcements of so many offers, ascending by seller and offer.
fn announced(count: usize) -> Vec<(Place, Unverified)> {
    let sellers = count.div_ceil(limits::BOOK_OFFERS_PER_SELLER).max(100);
    let mut records = Vec::with_capacity(count);
    for number in 0..count {
        let key = SecretKey::from_seed(blake3::hash(&(number % sellers).to_be_bytes()).as_bytes());
        let id = |what: &str| *blake3::hash(format!("{what} {number}").as_bytes()).as_bytes();
        let (offer, seller, time_ms) = (OfferId::from_bytes(id("offer")), key.identity(), unix_ms());
        let package = PackageHash::from_bytes(id("package"));
        let offered = OfferCreate {
            title: format!("What we learned of case {number}"),
            description: Some("How it came about, what was tried, and what helped in the end".into()),
            tags: vec!["bench".into(), format!("t{}", number % 50)],
            price: (number % 500) as u64,
            splits: vec![],
            royalties: vec![],
            expires_ms: None,
            settle: Settlement::Sealed,
            grant_within_ms: limits::OFFER_DEFAULT_GRANT_MS,
            dispute_within_ms: limits::OFFER_DEFAULT_DISPUTE_MS,
            package: Commitment { package, content_bytes: 9, key: KeyCommitment::from_bytes([2; 32]) },
        };
        let (group_name, currency) = ("research".to_owned(), "KAT".to_owned());
        let says = Says::Offered(Box::new(Offered { group_name, currency, offer: offered }));
        let group = GroupId::from_bytes([9; 32]);
        let record = Announcement { group, offer, seller, time_ms, addresses: vec![], says }.sign(&key).unwrap();
        records.push((Place { seller, offer }, record.to_unverified()));
    }
    records.sort_by_key(|(place, _)| *place);
    records
}

fn page(records: &[(Place, Unverified)], after: Option<Place>) -> Response {
    let behind = records.partition_point(|(place, _)| after.is_some_and(|after| *place <= after));
    let rest = &records[behind..];
    let records: Vec<Unverified> =
        rest.iter().take(limits::CATALOGUE_RECORDS).map(|(_, record)| record.clone()).collect();
    let more = rest.len() > records.len();
    Response::Page(Page { records, more })
}

async fn catalogue(root: &Path, count: usize) -> Value {
    let reader = Node::start(&root.join("reader"));
    let records = announced(count);
    let last = records.last().unwrap().0.offer.to_string();
    let key = SecretKey::from_seed(&[200; 32]);
    let id = key.identity();
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = NetConfig { listen, mdns: false, ..NetConfig::new(key) };
    let mut network = Network::new(&config, AddressBook::new(id, 1)).unwrap();
    let to = reader.address().await.parse().unwrap();
    network.add_peer(&to, None, true).unwrap();
    // Answers that it has nothing, until the reader is ready to be measured.
    let ready = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let open = std::sync::Arc::clone(&ready);
    let serving = tokio::spawn(async move {
        loop {
            let NetEvent::Request { protocol: Protocol::Market, id, bytes, .. } = network.next().await else {
                continue;
            };
            let Request::Catalogue(asked) = Request::decode(&bytes).unwrap() else { continue };
            let response = if open.load(std::sync::atomic::Ordering::Relaxed) {
                page(&records, asked.after)
            } else {
                Response::Page(Page { records: vec![], more: false })
            };
            let _gone = network.respond(id, response.encode());
        }
    });
    reader.wait_for_peers(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    ready.store(true, std::sync::atomic::Ordering::Relaxed);
    let cpu = reader.cpu_s();
    let began = Instant::now();
    reader.client.pull_market(&PullMarket { peer: None }).await.unwrap();
    // Counting them all costs the reader as well, so the last is looked for.
    wait(async || reader.client.offer(&last).await.is_ok()).await;
    let pulled = began.elapsed();
    let cpu = reader.cpu_s() - cpu;
    let all = || ListOffers { limit: Some(limits::PAGE_ROWS), ..ListOffers::default() };
    let (mut listed, mut cursor) = (0, None);
    loop {
        let page = reader.client.offers(&ListOffers { cursor, ..all() }).await.unwrap();
        listed += page.offers.len();
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, count);
    let (mut by_tag, mut by_price, mut none) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..100_u64 {
        let tag = |tag: String| ListOffers { tag: Some(tag), limit: Some(50), ..ListOffers::default() };
        for (times, query) in [
            (&mut by_tag, tag(format!("t{}", round % 50))),
            (&mut by_price, ListOffers { max_price: Some(3), limit: Some(50), ..ListOffers::default() }),
            (&mut none, tag("no-such-tag".into())),
        ] {
            let began = Instant::now();
            let page = reader.client.offers(&query).await.unwrap();
            times.push(ms(began.elapsed()));
            assert!(page.offers.len() <= 50);
        }
    }
    serving.abort();
    json!({
        "offers": count, "pulled_ms": ms(pulled), "reader_cpu_ms": cpu * 1e3,
        "listed_50_by_tag": spread(by_tag), "listed_50_by_price": spread(by_price),
        "listed_where_none_fits": spread(none), "load": load(),
    })
}
