//! A peer that speaks the protocol, and an honest one that asks all the while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::common::{Daemon, PATIENCE};
use lbm::chain::{GroupId, Unverified};
use lbm::identity::{Identity, SecretKey};
use lbm::net::{AddressBook, NetConfig, NetEvent, Network, Protocol, RequestError};
use lbm::wire::{Batch, Probe, Pull, Push, Refused, Request, Response, node};
use libp2p::Multiaddr;
use serde_bytes::ByteBuf;
use tokio::sync::{mpsc, oneshot};

pub const DAY_MS: u64 = 24 * 3_600_000;

/// What the daemon says when it sends a peer away.
pub const SENT_AWAY: &str = "sent a peer away for its faults";

/// How much the daemon may grow by an attack: what its caches and the allocator keep of ordinary work included.
pub const GROWTH_BYTES: u64 = 150 << 20;

pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Whether the daemon has sent this peer away.
pub fn is_sent_away(daemon: &Daemon, peer: &Identity) -> bool {
    daemon.said().lines().any(|line| line.contains(SENT_AWAY) && line.contains(&peer.to_string()))
}

pub async fn sent_away(daemon: &Daemon, peer: &Identity) {
    within(&format!("{peer} is sent away"), async {
        while !is_sent_away(daemon, peer) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub type Job = Box<dyn FnOnce(&mut Network) + Send>;

/// What a member without a store answers: it takes all, and has nothing to give.
pub fn polite(question: &[u8]) -> Vec<u8> {
    match Request::decode(question) {
        Ok(Request::Push(_) | Request::Have(_) | Request::Presences(_) | Request::Acting(_) | Request::Peers(_)) => {
            Response::Taken.encode()
        }
        _ => Response::Refused(Refused::NotShared).encode(),
    }
}

/// A network of our own in a task.
pub struct Peer {
    pub key: SecretKey,
    pub id: Identity,
    jobs: mpsc::Sender<Job>,
    events: mpsc::UnboundedReceiver<NetEvent>,
    task: tokio::task::JoinHandle<()>,
    to: Identity,
    /// By how much its clock is behind, milliseconds.
    pub behind: Arc<AtomicU64>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peer {
    /// A peer that is connected to the daemon.
    pub async fn of(seed: u8, daemon: &Daemon) -> Self {
        Self::at(seed, &daemon.address().parse().unwrap()).await
    }

    /// A peer that is connected to the daemon at this full address.
    pub async fn at(seed: u8, address: &Multiaddr) -> Self {
        let key = SecretKey::from_seed(&[seed; 32]);
        let config = NetConfig { mdns: false, ..NetConfig::new(key.clone()) };
        let mut network = Network::new(&config, AddressBook::new(key.identity(), 1)).unwrap();
        let to = network.add_peer(address, None, true).unwrap();
        let (jobs, mut todo) = mpsc::channel::<Job>(16);
        let behind = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&behind);
        let (out, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = network.next() => match event {
                        NetEvent::Request { id, protocol: Protocol::Node, .. } => {
                            let shown = node::Response::Clock(now_ms() - clock.load(Ordering::Relaxed));
                            let _gone = network.respond(id, shown.encode());
                        }
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
        let mut peer = Self { key, id, jobs, events, task, to, behind };
        peer.until("connected", |event| matches!(event, NetEvent::Connected { .. }).then_some(())).await;
        peer
    }

    pub async fn with<T: Send + 'static>(&self, job: impl FnOnce(&mut Network) -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        self.jobs.send(Box::new(move |network| drop(done.send(job(network))))).await.ok().unwrap();
        result.await.unwrap()
    }

    pub async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
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
    pub async fn send(&mut self, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let to = self.to;
        let asked = self.with(move |network| network.request(Protocol::Sync, to, bytes)).await;
        self.until("a response", |event| match event {
            NetEvent::Response { id, result, .. } if id == asked => Some(result),
            _ => None,
        })
        .await
    }

    pub async fn ask(&mut self, request: &Request) -> Result<Response, RequestError> {
        self.send(request.encode()).await.map(|bytes| Response::decode(&bytes).expect("the daemon answers well"))
    }

    /// Asks what a member asks, and is served.
    pub async fn look(&mut self, group: GroupId) -> Result<(), RequestError> {
        let probe = Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) });
        assert_eq!(self.ask(&probe).await?, Response::Differs, "an honest peer is served");
        match self.ask(&Request::Pull(Pull { group, frontier: vec![] })).await? {
            Response::Batch(batch) => assert!(!batch.blocks.is_empty()),
            other => panic!("no batch: {other:?}"),
        }
        Ok(())
    }

    /// Waits until it is connected again, at most until an honest peer would have waited too long.
    pub async fn again(&mut self, since: Instant) {
        let to = self.to;
        while !self.with(move |network| network.is_connected(&to)).await {
            assert!(since.elapsed() < Duration::from_secs(20), "an honest peer is kept out");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All blocks of the group, as any member may have them.
    pub async fn pull(&mut self, group: GroupId) -> Vec<Unverified> {
        match self.ask(&Request::Pull(Pull { group, frontier: vec![] })).await {
            Ok(Response::Batch(Batch { blocks, more: false, .. })) => blocks,
            other => panic!("no batch: {other:?}"),
        }
    }

    pub async fn push(&mut self, group: GroupId, blocks: Vec<Unverified>) -> Result<Response, RequestError> {
        self.ask(&Request::Push(Push { group, blocks, objects: vec![] })).await
    }
}

/// A daemon with a group, and a hundred claims in it.
pub fn daemon() -> (Daemon, String, GroupId) {
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
pub struct Honest {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<(u32, Duration)>,
}

impl Honest {
    pub async fn start(daemon: &Daemon, name: &str, group: GroupId) -> Self {
        let key = SecretKey::from_seed(&[1; 32]);
        daemon.add(name, &key.identity().to_string(), "viewer");
        let mut peer = Peer::of(1, daemon).await;
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut answers, mut slowest) = (0, Duration::ZERO);
            while stopped.try_recv().is_err() {
                let asked = Instant::now();
                // A connection may break on a busy machine; it is called again, and that time counts.
                match peer.look(group).await {
                    Ok(()) => {}
                    Err(RequestError::NotConnected | RequestError::Closed) => {
                        peer.again(asked).await;
                        continue;
                    }
                    Err(error) => panic!("an honest peer is not served: {error}"),
                }
                slowest = slowest.max(asked.elapsed());
                answers += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            (answers, slowest)
        });
        Self { stop, task }
    }

    pub async fn finish(self, daemon: &Daemon) {
        self.stop.send(()).unwrap();
        let (answers, slowest) = self.task.await.unwrap();
        println!("{answers} honest questions answered, the slowest in {slowest:?}");
        assert!(answers > 0 && slowest < Duration::from_secs(20), "{answers} answers, the slowest in {slowest:?}");
        assert!(!is_sent_away(daemon, &SecretKey::from_seed(&[1; 32]).identity()));
    }
}
