//! Peers that mean harm, against a real daemon: members who break the rules and strangers, with well-formed messages and with bytes
//! that are none. **What they send is refused and changes nothing, they are sent away for it, memory stays bounded, and honest
//! peers are served all the while.**
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{Daemon, PATIENCE};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use lbm::cbor;
use lbm::chain::transaction::{Claim, Genesis, MemberAdd, Retract, Secret};
use lbm::chain::{
    BlockId, Body, ClaimBody, ClaimId, Draft, GroupId, ObjectAt, ObjectHash, Payload, Role, Tip, Transaction,
    Unverified,
};
use lbm::delegation::{self, Delegation};
use lbm::identity::{Identity, SecretKey};
use lbm::limits;
use lbm::net::{AddressBook, NetConfig, NetEvent, Network, Protocol, RequestError};
use lbm::presence::{self, Presence, Status};
use lbm::wire::{
    Acting, Batch, Have, Presences, Probe, Pull, Push, Reached, Refused, Request, Response, WantBlocks, WantObjects,
};
use libp2p::core::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::{self as rr, Codec, ProtocolSupport};
use libp2p::swarm::{Config, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, noise, tcp, yamux};
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

const DAY_MS: u64 = 24 * 3_600_000;

/// What the daemon says when it sends a peer away.
const SENT_AWAY: &str = "sent a peer away for its faults";

/// How much the daemon may grow by an attack: what its caches and the allocator keep of ordinary work included.
const GROWTH_BYTES: u64 = 150 << 20;

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Whether the daemon has sent this peer away.
fn is_sent_away(daemon: &Daemon, peer: &Identity) -> bool {
    daemon.said().lines().any(|line| line.contains(SENT_AWAY) && line.contains(&peer.to_string()))
}

async fn sent_away(daemon: &Daemon, peer: &Identity) {
    within(&format!("{peer} is sent away"), async {
        while !is_sent_away(daemon, peer) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Shows delegations to the daemon.
async fn show(peer: &mut Peer, group: GroupId, delegations: Vec<delegation::Unverified>) -> Response {
    peer.ask(&Request::Acting(Acting { group, delegations })).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_is_admitted_by_a_delegation_of_a_member_to_itself_alone_and_for_its_time() {
    let (alice, name, group) = daemon();
    let agent = SecretKey::from_seed(&[40; 32]);
    let mut host = Peer::of(41, &alice).await;
    let life = limits::DELEGATION_LIFE_MS;
    let given = |node: Identity, from_ms: u64, expires_ms: u64| {
        Delegation { group, agent: agent.identity(), node, from_ms, expires_ms }.sign(&agent)
    };
    let not_shared = || Response::Refused(Refused::NotShared);
    let pull = Request::Pull(Pull { group, frontier: vec![] });
    let good = given(host.id, now_ms(), now_ms() + life);
    // Nobody is a member for whom it could act.
    assert_eq!(show(&mut host, group, vec![good.clone()]).await, not_shared());
    assert_eq!(host.ask(&pull).await.unwrap(), not_shared());
    alice.add(&name, &agent.identity().to_string(), "member");
    // What it showed counts from the moment of the membership; another node shows it in vain, and is sent away for it.
    assert!(matches!(host.ask(&pull).await.unwrap(), Response::Batch(_)));
    let mut thief = Peer::of(42, &alice).await;
    assert_eq!(show(&mut thief, group, vec![good.clone()]).await, Response::Refused(Refused::Malformed));
    // The answer to the last may go down with the connection.
    drop(thief.ask(&Request::Acting(Acting { group, delegations: vec![good.clone()] })).await);
    sent_away(&alice, &thief.id).await;
    let mut forger = Peer::of(43, &alice).await;
    let body = cbor::encode(&Delegation {
        group,
        agent: agent.identity(),
        node: forger.id,
        from_ms: now_ms(),
        expires_ms: now_ms() + life,
    });
    let signature = forger.key.sign(delegation::SIGNATURE_DOMAIN, &body);
    let forged = delegation::Unverified::new(body, signature);
    let for_ever = given(forger.id, now_ms(), now_ms() + life + 1);
    assert_eq!(show(&mut forger, group, vec![forged]).await, Response::Refused(Refused::Malformed));
    drop(forger.ask(&Request::Acting(Acting { group, delegations: vec![for_ever] })).await);
    sent_away(&alice, &forger.id).await;
    // One whose time is over, or to come, counts lightly and for nothing.
    let mut late = Peer::of(44, &alice).await;
    let (past, future) = (now_ms() - DAY_MS, now_ms() + DAY_MS);
    for (from_ms, expires_ms) in [(past, past + life), (future, future + life)] {
        assert_eq!(
            {
                let shown = given(late.id, from_ms, expires_ms);
                show(&mut late, group, vec![shown]).await
            },
            not_shared()
        );
        assert_eq!(late.ask(&pull).await.unwrap(), not_shared());
    }
    assert!(!is_sent_away(&alice, &late.id));
    // One that ends in a moment ends by itself, on the open connection. The reader gives it as long as clocks may differ.
    let drift = limits::MAX_CLOCK_DRIFT_MS;
    let short = given(late.id, now_ms() - drift - 60_000, now_ms() - drift + 1_500);
    assert_eq!(show(&mut late, group, vec![short]).await, Response::Taken);
    assert!(matches!(late.ask(&pull).await.unwrap(), Response::Batch(_)));
    let ended = async {
        while late.ask(&pull).await.unwrap() != not_shared() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("it is over", ended).await;
    // A group that is not here is refused in the same words, and an empty list ends what was shown.
    let unknown = GroupId::from_bytes([9; 32]);
    assert_eq!(show(&mut host, unknown, vec![]).await, not_shared());
    assert!(matches!(host.ask(&pull).await.unwrap(), Response::Batch(_)));
    assert_eq!(show(&mut host, group, vec![]).await, not_shared());
    assert_eq!(host.ask(&pull).await.unwrap(), not_shared());
    // And so does the end of the membership.
    assert_eq!(show(&mut host, group, vec![good.clone()]).await, Response::Taken);
    alice.ctl(&["group", "remove-member", "--group", &name, "--member", &agent.identity().to_string()]).ok();
    assert_eq!(host.ask(&pull).await.unwrap(), not_shared());
    assert!(!is_sent_away(&alice, &host.id));
}

// ---- a peer that speaks the protocol ---------------------------------------------------------------------------

type Job = Box<dyn FnOnce(&mut Network) + Send>;

/// What a member without a store answers: it takes all, and has nothing to give.
fn polite(question: &[u8]) -> Vec<u8> {
    match Request::decode(question) {
        Ok(Request::Push(_) | Request::Have(_) | Request::Presences(_) | Request::Acting(_) | Request::Peers(_)) => {
            Response::Taken.encode()
        }
        _ => Response::Refused(Refused::NotShared).encode(),
    }
}

/// A network of our own in a task.
struct Peer {
    key: SecretKey,
    id: Identity,
    jobs: mpsc::Sender<Job>,
    events: mpsc::UnboundedReceiver<NetEvent>,
    task: tokio::task::JoinHandle<()>,
    to: Identity,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// A peer that is connected to the daemon.
    async fn of(seed: u8, daemon: &Daemon) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let config = NetConfig { mdns: false, ..NetConfig::new(key.clone()) };
        let mut network = Network::new(&config, AddressBook::new(key.identity(), 1)).unwrap();
        let address: Multiaddr = daemon.address().parse().unwrap();
        network.add_peer(&address, None, true).unwrap();
        let (jobs, mut todo) = mpsc::channel::<Job>(16);
        let (out, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = network.next() => match event {
                        NetEvent::Request { id, bytes, .. } => drop(network.respond(id, polite(&bytes))),
                        event => drop(out.send(event)),
                    },
                    job = todo.recv() => match job {
                        Some(job) => job(&mut network),
                        None => return,
                    },
                }
            }
        });
        let id = key.identity();
        let mut peer = Self { key, id, jobs, events, task, to: daemon.id.parse().unwrap() };
        peer.until("connected", |event| matches!(event, NetEvent::Connected { .. }).then_some(())).await;
        peer
    }

    async fn with<T: Send + 'static>(&self, job: impl FnOnce(&mut Network) -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        self.jobs.send(Box::new(move |network| drop(done.send(job(network))))).await.ok().unwrap();
        result.await.unwrap()
    }

    async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        within(what, search).await
    }

    /// Sends bytes as a request; the answer's bytes.
    async fn send(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let to = self.to;
        let asked = self.with(move |network| network.request(Protocol::Sync, to, bytes)).await;
        self.until("a response", |event| match event {
            NetEvent::Response { id, result, .. } if id == asked => Some(result),
            _ => None,
        })
        .await
    }

    async fn ask(&mut self, request: &Request) -> Result<Response, RequestError> {
        self.send(request.encode()).await.map(|bytes| Response::decode(&bytes).expect("the daemon answers well"))
    }

    /// All blocks of the group, as any member may have them.
    async fn pull(&mut self, group: GroupId) -> Vec<Unverified> {
        match self.ask(&Request::Pull(Pull { group, frontier: vec![] })).await {
            Ok(Response::Batch(Batch { blocks, more: false, .. })) => blocks,
            other => panic!("no batch: {other:?}"),
        }
    }

    async fn push(&mut self, group: GroupId, blocks: Vec<Unverified>) -> Result<Response, RequestError> {
        self.ask(&Request::Push(Push { group, blocks, objects: vec![] })).await
    }
}

// ---- blocks that break a rule ----------------------------------------------------------------------------------

/// What a member knows of the group, and signs with.
struct Author {
    key: SecretKey,
    group: GroupId,
    heads: Vec<(BlockId, u64)>,
    /// Its own last block.
    last: Option<Body>,
    last_id: Option<BlockId>,
}

impl Author {
    fn new(key: &SecretKey, group: GroupId, blocks: &[Unverified]) -> Self {
        let bodies: Vec<(BlockId, Body)> = blocks
            .iter()
            .map(|block| (BlockId::of(&block.body), cbor::decode(&block.body, limits::BLOCK_BYTES).unwrap()))
            .collect();
        let is_head =
            |id: &BlockId| !bodies.iter().any(|(_, body)| body.prev == Some(*id) || body.parents.contains(id));
        let heads = bodies.iter().filter(|(id, _)| is_head(id)).map(|(id, body)| (*id, body.height)).collect();
        let own = bodies.iter().filter(|(_, body)| body.author == key.identity()).max_by_key(|(_, body)| body.seq);
        Self {
            key: key.clone(),
            group,
            heads,
            last: own.map(|(_, body)| body.clone()),
            last_id: own.map(|(id, _)| *id),
        }
    }

    /// The next block as an honest member would make it, with a retraction of a claim that never was: the ledger refuses it, which
    /// is no fault, so that the state stays as it is whatever becomes of the block.
    fn body(&self) -> Body {
        let nothing = Transaction::Retract(Retract { claim: ClaimId::from_bytes([7; 32]) });
        let mut parents: Vec<BlockId> =
            self.heads.iter().map(|(id, _)| *id).filter(|id| Some(*id) != self.last_id).collect();
        parents.sort_unstable();
        let highest = self.heads.iter().map(|(_, height)| *height).max().unwrap();
        Body {
            group: Some(self.group),
            author: self.key.identity(),
            seq: self.last.as_ref().map_or(0, |last| last.seq + 1),
            prev: self.last_id,
            parents,
            height: highest + 1,
            time_ms: now_ms(),
            payload: Payload::Plain(vec![nothing]),
        }
    }

    /// Signs whatever it is: also what no draft would take.
    fn sign(&self, body: &Body) -> Unverified {
        self.sign_bytes(cbor::encode(body))
    }

    fn sign_bytes(&self, body: Vec<u8>) -> Unverified {
        let signature = self.key.sign(lbm::chain::block::SIGNATURE_DOMAIN, &body);
        Unverified::new(body, signature)
    }

    /// Takes a block of its own for written.
    fn wrote(&mut self, block: &Unverified) {
        let body: Body = cbor::decode(&block.body, limits::BLOCK_BYTES).unwrap();
        let id = BlockId::of(&block.body);
        self.heads = vec![(id, body.height)];
        (self.last, self.last_id) = (Some(body), Some(id));
    }
}

/// A daemon with a group, and a hundred claims in it.
fn daemon() -> (Daemon, String, GroupId) {
    let mut alice = Daemon::prepared("alice");
    // All peers of a test come from one address.
    alice.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--log-level", "info"]);
    alice.restart();
    let name = alice.found("target");
    let bulk: String = (0..100).map(|n| format!("{{\"text\":\"claim {n}\"}}\n")).collect();
    alice.ctl_with(&["claim", "publish", "--group", &name, "--file", "-"], bulk.as_bytes()).ok();
    let group = name.parse().unwrap();
    (alice, name, group)
}

/// An honest member who asks all the time, and how long the slowest answer took.
struct Honest {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<(u32, Duration)>,
}

impl Honest {
    async fn start(daemon: &Daemon, name: &str, group: GroupId) -> Self {
        let key = SecretKey::from_seed(&[1; 32]);
        daemon.add(name, &key.identity().to_string(), "viewer");
        let mut peer = Peer::of(1, daemon).await;
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut answers, mut slowest) = (0, Duration::ZERO);
            while stopped.try_recv().is_err() {
                let asked = Instant::now();
                let probe = Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) });
                assert_eq!(peer.ask(&probe).await, Ok(Response::Differs), "an honest peer is served");
                assert!(!peer.pull(group).await.is_empty());
                slowest = slowest.max(asked.elapsed());
                answers += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (answers, slowest)
        });
        Self { stop, task }
    }

    async fn finish(self, daemon: &Daemon) {
        self.stop.send(()).unwrap();
        let (answers, slowest) = self.task.await.unwrap();
        println!("{answers} honest questions answered, the slowest in {slowest:?}");
        assert!(answers > 0 && slowest < Duration::from_secs(10), "{answers} answers, the slowest in {slowest:?}");
        assert!(!is_sent_away(daemon, &SecretKey::from_seed(&[1; 32]).identity()));
    }
}

// ---- members who misbehave -------------------------------------------------------------------------------------

/// Pushes a bad block of a member until the member is sent away; the blocks and the state stay what they were.
async fn misbehaves(
    seed: u8,
    alice: &Daemon,
    name: &str,
    group: GroupId,
    what: &str,
    bad: impl Fn(&Author) -> Vec<Unverified>,
) {
    let id = SecretKey::from_seed(&[seed; 32]).identity();
    alice.add(name, &id.to_string(), "member");
    let mut eve = Peer::of(seed, alice).await;
    let mut author = Author::new(&eve.key.clone(), group, &eve.pull(group).await);
    let honest = author.sign(&author.body());
    assert_eq!(eve.push(group, vec![honest.clone()]).await, Ok(Response::Taken), "{what}: honest at first");
    author.wrote(&honest);
    let before = alice.settled(name);
    for _ in 0..10 {
        if is_sent_away(alice, &id) {
            break;
        }
        let answer = eve.push(group, bad(&author)).await;
        println!("{what}: {answer:?}");
    }
    sent_away(alice, &id).await;
    assert_eq!(alice.settled(name), before, "{what}");
    // Nor is she let in again.
    let probe = Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) });
    for _ in 0..20 {
        assert!(eve.ask(&probe).await.is_err(), "{what}: still served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_who_break_the_rules_are_sent_away_and_change_nothing() {
    let (alice, name, group) = daemon();
    let honest = Honest::start(&alice, &name, group).await;
    let other_group: GroupId = alice.found("other").parse().unwrap();
    let memory = alice.resident_bytes();
    let one = |block: Unverified| vec![block];
    let mut seed = 10;
    let mut next = || {
        seed += 1;
        seed
    };
    misbehaves(next(), &alice, &name, group, "a signature that does not hold", |author| {
        let mut block = author.sign(&author.body());
        block.signature[5] ^= 1;
        one(block)
    })
    .await;
    misbehaves(next(), &alice, &name, group, "signed by another", |author| {
        let body = cbor::encode(&author.body());
        let signature = SecretKey::from_seed(&[99; 32]).sign(lbm::chain::block::SIGNATURE_DOMAIN, &body);
        one(Unverified::new(body, signature))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a block of another group", |author| {
        one(author.sign(&Body { group: Some(other_group), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body that is not CBOR", |author| {
        one(author.sign_bytes(vec![0xff; 300]))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body with bytes behind it", |author| {
        let mut body = cbor::encode(&author.body());
        body.push(0);
        one(author.sign_bytes(body))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body nested a hundred thousand deep", |author| {
        one(author.sign_bytes(vec![0x81; 100_000]))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body over its limit", |author| {
        one(author.sign_bytes(vec![0; limits::BLOCK_BYTES + 1]))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "back-dated by a day", |author| {
        one(author.sign(&Body { time_ms: now_ms() - DAY_MS, ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "too high", |author| {
        let body = author.body();
        one(author.sign(&Body { height: body.height + 1_000, ..body }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a number left out", |author| {
        let body = author.body();
        one(author.sign(&Body { seq: body.seq + 1, ..body }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a hundred and one transactions", |author| {
        let Payload::Plain(transactions) = author.body().payload else { unreachable!() };
        one(author.sign(&Body { payload: Payload::Plain(vec![transactions[0].clone(); 101]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "no transaction", |author| {
        one(author.sign(&Body { payload: Payload::Plain(vec![]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a group founded within the group", |author| {
        let genesis = Genesis { name: "coup".into(), currency: "KAT".into(), discovery_secret: Secret([0; 32]) };
        one(author.sign(&Body { payload: Payload::Plain(vec![Transaction::Genesis(genesis)]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a claim of a size that none has", |author| {
        let claim =
            Claim { object: ObjectHash::of(b"x"), size: u32::MAX, parent: None, rewarded: None, supersedes: vec![] };
        one(author.sign(&Body { payload: Payload::Plain(vec![Transaction::Claim(claim)]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "thousands of bad signatures at once", |author| {
        let mut block = author.sign(&author.body());
        block.signature = [0; 64];
        vec![block; limits::BATCH_BLOCKS]
    })
    .await;
    let grown = alice.resident_bytes().saturating_sub(memory);
    assert!(grown < GROWTH_BYTES, "the daemon grew by {} MiB", grown >> 20);
    honest.finish(&alice).await;
    alice.verified(&name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_block_from_tomorrow_is_not_taken_and_counts_lightly() {
    let (alice, name, group) = daemon();
    let id = SecretKey::from_seed(&[40; 32]).identity();
    alice.add(&name, &id.to_string(), "member");
    let mut eve = Peer::of(40, &alice).await;
    let author = Author::new(&eve.key.clone(), group, &eve.pull(group).await);
    let before = alice.settled(&name);
    let early = author.sign(&Body { time_ms: now_ms() + DAY_MS, ..author.body() });
    let answer = eve.push(group, vec![early.clone()]).await.unwrap();
    // `Taken` would say that it is durable.
    assert_eq!(answer, Response::Refused(Refused::Failed));
    assert_eq!(alice.settled(&name), before);
    // What comes with it is not held back.
    let now = author.sign(&author.body());
    eve.push(group, vec![early.clone(), now]).await.unwrap();
    // With the seal that covers it.
    assert_eq!(alice.settled(&name).0, before.0 + 2);
    // A clock may be wrong: it takes many of them to be sent away.
    assert!(!is_sent_away(&alice, &id));
    for _ in 0..200 {
        if eve.push(group, vec![early.clone()]).await.is_err() {
            break;
        }
    }
    sent_away(&alice, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_ledger_refuses_is_kept_listed_and_nobodys_fault() {
    let (alice, name, group) = daemon();
    let id = SecretKey::from_seed(&[41; 32]).identity();
    alice.add(&name, &id.to_string(), "member");
    let mut eve = Peer::of(41, &alice).await;
    let mut author = Author::new(&eve.key.clone(), group, &eve.pull(group).await);
    let friend = SecretKey::from_seed(&[42; 32]).identity();
    let coup = MemberAdd { identity: friend, role: Role::Admin };
    for _ in 0..5 {
        let payload = Payload::Plain(vec![Transaction::MemberAdd(coup.clone())]);
        let block = author.sign(&Body { payload, ..author.body() });
        assert_eq!(eve.push(group, vec![block.clone()]).await, Ok(Response::Taken));
        author.wrote(&block);
    }
    let rejected = alice.ctl(&["rejected"]).done();
    let rows = rejected["rejected"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "{rejected}");
    assert!(rows.iter().all(|row| row["code"] == "not_an_admin" && row["author"] == id.to_string()), "{rejected}");
    let members = alice.ctl(&["group", "members", &name]).done();
    assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
    assert!(!is_sent_away(&alice, &id));
    // And a proper claim of hers is one.
    let words = ClaimBody::new(None, "honest after all".into(), &[]).unwrap().encode();
    let claim = Claim {
        object: ObjectHash::of(&words),
        size: u32::try_from(words.len()).unwrap(),
        parent: None,
        rewarded: None,
        supersedes: vec![],
    };
    let draft = Draft::new(Body { payload: Payload::Plain(vec![Transaction::Claim(claim)]), ..author.body() }).unwrap();
    let block = draft.sign(&eve.key).to_unverified();
    let push = Push { group, blocks: vec![block], objects: vec![ByteBuf::from(words)] };
    assert_eq!(eve.ask(&Request::Push(push)).await, Ok(Response::Taken));
    let recent = alice.ctl(&["claim", "recent", "--group", &name, "--limit", "1"]).done();
    assert_eq!(recent["claims"][0]["text"], "honest after all");
    alice.verified(&name);
}

// ---- strangers -------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stranger_is_told_the_same_of_every_group_and_adds_nothing() {
    let (alice, name, group) = daemon();
    let mut eve = Peer::of(50, &alice).await;
    let before = alice.settled(&name);
    // She has even got the blocks, from a member who should not have given them.
    let mut member = Peer::of(51, &alice).await;
    alice.add(&name, &member.id.to_string(), "viewer");
    let blocks = member.pull(group).await;
    let after = alice.settled(&name);
    assert_ne!(before, after);
    let author = Author::new(&eve.key, group, &blocks);
    let own = author.sign(&author.body());
    let eve_key = eve.key.clone();
    let tip = Tip { seq: 0, id: BlockId::of(&blocks[0].body) };
    let author_of_all = alice.id.parse().unwrap();
    let requests = |group: GroupId| {
        [
            Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) }),
            Request::Pull(Pull { group, frontier: vec![] }),
            Request::WantBlocks(WantBlocks { group, ids: vec![tip.id] }),
            Request::WantObjects(WantObjects { group, objects: vec![ObjectAt { block: tip.id, index: 0 }] }),
            Request::Push(Push { group, blocks: vec![own.clone()], objects: vec![] }),
            Request::Push(Push { group, blocks: blocks.clone(), objects: vec![ByteBuf::from(vec![1; 100_000])] }),
            Request::Have(Have { group, tips: vec![Reached { author: author_of_all, tip: tip.clone() }] }),
            Request::Presences(Presences { group, records: vec![says(&eve_key, group, now_ms())] }),
        ]
    };
    for (known, unknown) in requests(group).iter().zip(&requests(GroupId::from_bytes([9; 32]))) {
        assert_eq!(eve.ask(known).await, Ok(Response::Refused(Refused::NotShared)));
        assert_eq!(eve.ask(unknown).await, Ok(Response::Refused(Refused::NotShared)));
    }
    // A member who relays the stranger's block does not make her a member either.
    member.push(group, vec![own]).await.unwrap();
    assert_eq!(alice.settled(&name), after);
    assert!(!is_sent_away(&alice, &eve.id), "asking is no fault: she may have been let in a moment ago");
}

/// What a member says of itself at a time.
fn says(key: &SecretKey, group: GroupId, time_ms: u64) -> presence::Unverified {
    let presence = Presence { group, member: key.identity(), status: Status::Busy, metadata: None, time_ms };
    presence.sign(key).unwrap().to_unverified()
}

/// A record as somebody would sign it who does not look at what it says.
fn signed(key: &SecretKey, presence: &Presence) -> presence::Unverified {
    let body = cbor::encode(presence);
    let signature = key.sign(presence::SIGNATURE_DOMAIN, &body);
    presence::Unverified::new(body, signature)
}

/// Whose presence the daemon shows.
fn present(daemon: &Daemon, name: &str) -> Vec<String> {
    let list = daemon.ctl(&["presence", "list", "--group", name]).done();
    let rows = list["presence"].as_array().unwrap().iter();
    rows.map(|row| row["member_id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_who_forge_presence_are_sent_away_and_nothing_is_shown() {
    let (alice, name, group) = daemon();
    let other_group: GroupId = alice.found("other").parse().unwrap();
    let honest = Honest::start(&alice, &name, group).await;
    let victim = SecretKey::from_seed(&[69; 32]);
    alice.add(&name, &victim.identity().to_string(), "member");
    let of_victim = |metadata: Option<String>| Presence {
        group,
        member: victim.identity(),
        status: Status::Offline,
        metadata,
        time_ms: now_ms(),
    };
    let mut forged = says(&victim, group, now_ms());
    forged.signature[3] ^= 1;
    let too_long = Some(format!("{{\"a\":\"{}\"}}", "x".repeat(limits::PRESENCE_METADATA_BYTES)));
    let cases = [
        ("a forged signature", vec![forged]),
        ("signed by another", vec![signed(&SecretKey::from_seed(&[60; 32]), &of_victim(None))]),
        ("of another group", vec![says(&victim, other_group, now_ms())]),
        ("metadata too long", vec![signed(&victim, &of_victim(too_long))]),
        ("metadata that is no object", vec![signed(&victim, &of_victim(Some("[1]".to_owned())))]),
        ("a body of nothing", vec![presence::Unverified::new(vec![0xff; 4_000], [1; 64])]),
    ];
    for (seed, (what, records)) in (60..).zip(cases) {
        let id = SecretKey::from_seed(&[seed; 32]).identity();
        alice.add(&name, &id.to_string(), "member");
        let mut eve = Peer::of(seed, &alice).await;
        let request = Request::Presences(Presences { group, records });
        assert_eq!(eve.ask(&request).await, Ok(Response::Refused(Refused::Malformed)), "{what}");
        assert!(!is_sent_away(&alice, &id), "{what}: once may be a fault of its own");
        assert!(eve.ask(&request).await.is_err() || is_sent_away(&alice, &id), "{what}");
        sent_away(&alice, &id).await;
        assert_eq!(present(&alice, &name), Vec::<String>::new(), "{what}");
    }
    honest.finish(&alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn presence_of_no_member_or_of_tomorrow_is_not_taken_and_nobody_is_blamed() {
    let (alice, name, group) = daemon();
    let mut member = Peer::of(71, &alice).await;
    alice.add(&name, &member.id.to_string(), "viewer");
    let mut send = async |records| {
        let answer = member.ask(&Request::Presences(Presences { group, records })).await.unwrap();
        (answer, present(&alice, &name))
    };
    let nobody = Vec::<String>::new();
    let member_key = SecretKey::from_seed(&[71; 32]);
    let again = Response::Refused(Refused::Busy(limits::PRESENCE_AGAIN_MS));
    let stranger = SecretKey::from_seed(&[72; 32]);
    for _ in 0..60 {
        assert_eq!(send(vec![says(&stranger, group, now_ms())]).await, (again.clone(), nobody.clone()));
        let tomorrow = says(&member_key, group, now_ms() + DAY_MS);
        assert_eq!(send(vec![tomorrow]).await, (Response::Taken, nobody.clone()));
    }
    let now = now_ms();
    let shown = vec![member_key.identity().to_string()];
    assert_eq!(send(vec![says(&member_key, group, now)]).await, (Response::Taken, shown.clone()));
    // What is older changes nothing.
    let offline =
        Presence { group, member: member_key.identity(), status: Status::Offline, metadata: None, time_ms: now - 1 };
    assert_eq!(send(vec![signed(&member_key, &offline)]).await, (Response::Taken, shown));
    let list = alice.ctl(&["presence", "list", "--group", &name]).done();
    assert_eq!(list["presence"][0]["status"], "busy", "{list}");
    assert!(!is_sent_away(&alice, &member_key.identity()));
}

// ---- bytes that are no message ---------------------------------------------------------------------------------

/// Writes and reads whatever it is told. A request that ends in [`HOLD`] is left open behind what stands before.
#[derive(Debug, Clone, Default)]
struct Raw;

const HOLD: &[u8] = b"...and never ends";

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        AsyncReadExt::read_to_end(io, &mut bytes).await.map(|_| bytes)
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match bytes.strip_suffix(HOLD) {
            None => AsyncWriteExt::write_all(io, &bytes).await,
            Some(start) => {
                AsyncWriteExt::write_all(io, start).await?;
                AsyncWriteExt::flush(io).await?;
                std::future::pending().await
            }
        }
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        AsyncWriteExt::write_all(io, &bytes).await
    }
}

#[derive(NetworkBehaviour)]
struct Rude {
    raw: rr::Behaviour<Raw>,
    identify: identify::Behaviour,
}

/// A libp2p node of its own making that speaks our protocol in raw bytes.
struct Vandal {
    id: Identity,
    swarm: Swarm<Rude>,
    to: PeerId,
}

impl Vandal {
    async fn of(seed: u8, daemon: &Daemon) -> Self {
        let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let transport = tcp::tokio::Transport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let wait = rr::Config::default().with_request_timeout(Duration::from_secs(60));
        let behaviour = Rude {
            raw: rr::Behaviour::new([(Protocol::Sync.name(), ProtocolSupport::Full)], wait),
            identify: identify::Behaviour::new(identify::Config::new("/rude/1".into(), key.public())),
        };
        let idle = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(3600));
        let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), idle);
        swarm.dial(daemon.address().parse::<Multiaddr>().unwrap()).unwrap();
        within("a vandal connects", async {
            while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {}
        })
        .await;
        let to = daemon.id.parse().unwrap();
        Self { id: SecretKey::from_seed(&[seed; 32]).identity(), swarm, to }
    }

    fn send(&mut self, bytes: Vec<u8>) {
        self.swarm.behaviour_mut().raw.send_request(&self.to, bytes);
    }

    /// Lets things happen for a while, and answers every request with these bytes.
    async fn go_on(&mut self, time: Duration, answer: Option<&[u8]>) {
        let until = tokio::time::sleep(time);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return,
                event = self.swarm.select_next_some() => {
                    let message = match event {
                        SwarmEvent::Behaviour(RudeEvent::Raw(rr::Event::Message { message, .. })) => message,
                        _ => continue,
                    };
                    if let (rr::Message::Request { channel, .. }, Some(answer)) = (message, answer) {
                        drop(self.swarm.behaviour_mut().raw.send_response(channel, answer.to_vec()));
                    }
                }
            }
        }
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len() + 1).unwrap().to_be_bytes()[..], &[0], payload].concat()
}

/// A frame whose payload is compressed.
fn squeezed(payload: &[u8]) -> Vec<u8> {
    let squeezed = lz4_flex::block::compress_prepend_size(payload);
    [&u32::try_from(squeezed.len() + 1).unwrap().to_be_bytes()[..], &[1], &squeezed].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bytes_that_are_no_message_get_their_sender_sent_away() {
    let (alice, name, group) = daemon();
    let honest = Honest::start(&alice, &name, group).await;
    let before = alice.settled(&name);
    let memory = alice.resident_bytes();
    let over = u32::try_from(limits::REQUEST_BYTES + 2).unwrap();
    let probe = Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) }).encode();
    let nested = |byte: u8| frame(&vec![byte; limits::REQUEST_BYTES - 1]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", vec![0xff; 64]),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a frame over the limit", [&over.to_be_bytes()[..], &[0; 100]].concat()),
        ("an empty frame", vec![0, 0, 0, 0, 0]),
        ("an unknown encoding", vec![0, 0, 0, 2, 7, 1]),
        ("bytes behind the frame", [frame(&probe), vec![1]].concat()),
        ("a compressed bomb", [&14_u32.to_be_bytes()[..], &[1], &u32::MAX.to_le_bytes(), &[0; 9]].concat()),
        ("a bomb that keeps its word", squeezed(&vec![0x80; limits::REQUEST_BYTES - 10])),
        ("damaged compression", [&14_u32.to_be_bytes()[..], &[1], &100_u32.to_le_bytes(), &[0xff; 9]].concat()),
        ("no CBOR", frame(&[0xff; 100])),
        ("an empty message", frame(b"")),
        ("arrays nested four million deep", nested(0x81)),
        ("tags nested four million deep", nested(0xc1)),
        ("endless arrays within each other", nested(0x9f)),
        ("maps nested four million deep", nested(0xa1)),
        ("an array that announces 2^63 items", frame(&[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        ("a string that announces 2^63 bytes", frame(&[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        ("four million empty strings", frame(&[&[0x9a, 0x00, 0x3f, 0xff, 0x00][..], &vec![0x40; 0x3f_ff00]].concat())),
        ("a message cut short", frame(&probe[..probe.len() / 2])),
        ("a message of another version", frame(&cbor::encode(&("frobnicate", 1)))),
    ];
    let mut seed = 100;
    for (what, bytes) in cases {
        seed += 1;
        let mut vandal = Vandal::of(seed, &alice).await;
        let deadline = Instant::now() + PATIENCE;
        while !is_sent_away(&alice, &vandal.id) {
            assert!(Instant::now() < deadline, "{what}: is not sent away");
            vandal.send(bytes.clone());
            vandal.go_on(Duration::from_millis(30), None).await;
        }
        println!("{what}: sent away");
    }
    let grown = alice.resident_bytes().saturating_sub(memory);
    println!("grown by {} MiB", grown >> 20);
    assert!(grown < GROWTH_BYTES, "the daemon grew by {} MiB", grown >> 20);
    assert_eq!(alice.settled(&name).0, before.0);
    honest.finish(&alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn announcements_that_never_arrive_cost_no_memory_and_stop_nobody() {
    let (alice, name, group) = daemon();
    let honest = Honest::start(&alice, &name, group).await;
    let memory = alice.resident_bytes();
    // The largest allowed request is announced on every stream, a little of it arrives, and then nothing.
    let announced = u32::try_from(limits::REQUEST_BYTES).unwrap();
    let mut bytes = [&announced.to_be_bytes()[..], &[0], &[0x81; 20_000]].concat();
    bytes.extend_from_slice(HOLD);
    let mut vandals = Vec::new();
    for seed in 150..156 {
        let mut vandal = Vandal::of(seed, &alice).await;
        for _ in 0..200 {
            vandal.send(bytes.clone());
        }
        vandals.push(vandal);
    }
    for _ in 0..20 {
        for vandal in &mut vandals {
            vandal.go_on(Duration::from_millis(10), None).await;
        }
    }
    let grown = alice.resident_bytes().saturating_sub(memory);
    println!("grown by {} MiB", grown >> 20);
    assert!(grown < GROWTH_BYTES, "the daemon grew by {} MiB", grown >> 20);
    alice.publish(&name, "work goes on");
    honest.finish(&alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_whose_answers_break_off_has_lost_power_and_is_not_sent_away() {
    let (alice, name, _group) = daemon();
    let id = SecretKey::from_seed(&[160; 32]).identity();
    alice.add(&name, &id.to_string(), "member");
    // She is a member who is connected: each claim is pushed to her, and she is asked for hers.
    let mut bob = Vandal::of(160, &alice).await;
    let half = frame(&[0x80; 100]);
    for n in 0..10 {
        alice.publish(&name, &format!("pushed {n}"));
        bob.go_on(Duration::from_millis(20), Some(&half[..50])).await;
        bob.send(half[..50].to_vec());
        bob.go_on(Duration::from_millis(20), Some(&half[..50])).await;
    }
    assert!(!is_sent_away(&alice, &id), "{}", alice.said());
    // One who answers with what is no message is.
    let deadline = Instant::now() + PATIENCE;
    while !is_sent_away(&alice, &id) {
        assert!(Instant::now() < deadline, "she is not sent away");
        alice.publish(&name, &format!("pushed {:?}", Instant::now()));
        bob.go_on(Duration::from_millis(50), Some(&[0xff; 64])).await;
    }
}
