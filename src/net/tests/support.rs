//! Networks that run on their own, a peer without manners, and a wire that can be cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::core::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::request_response::{self as rr, Codec, ProtocolSupport};
use libp2p::swarm::{Config, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, StreamProtocol, Swarm, identify, noise, ping, tcp, yamux};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};

use crate::identity::{Identity, SecretKey};
use crate::net::{AddressBook, NetConfig, NetError, NetEvent, Network, Protocol, RequestError};

/// How long a test waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(super) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

pub(super) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub(super) fn config(seed: u8, listen: &str) -> NetConfig {
    NetConfig { listen: vec![listen.parse().unwrap()], mdns: false, ..NetConfig::new(key(seed)) }
}

/// Opens a network. Where one was dropped just before, its QUIC socket may still be saying good-bye: wait for that.
pub(super) async fn open(config: &NetConfig) -> Network {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Network::new(config, AddressBook::new(config.secret.identity(), 1)) {
            Err(NetError::PortInUse(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
            opened => return opened.unwrap(),
        }
    }
}

type Job = Box<dyn FnOnce(&mut Network) + Send>;

/// A network in a task of its own. It ends when this is dropped.
pub(super) struct Node {
    pub(super) id: Identity,
    jobs: mpsc::Sender<Job>,
    events: mpsc::UnboundedReceiver<NetEvent>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    pub(super) async fn start(config: &NetConfig) -> Self {
        let mut network = open(config).await;
        let (jobs, mut todo) = mpsc::channel::<Job>(16);
        let (out, events) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = network.next() => drop(out.send(event)),
                    job = todo.recv() => match job {
                        Some(job) => job(&mut network),
                        None => return network.close(PATIENCE).await,
                    },
                }
            }
        });
        Self { id: config.secret.identity(), jobs, events, task }
    }

    /// Ends the network politely.
    pub(super) async fn close(mut self) {
        let (stop, _) = mpsc::channel(1);
        self.jobs = stop;
        tokio::time::timeout(PATIENCE, &mut self.task).await.unwrap().unwrap();
    }

    /// Runs something on the network.
    pub(super) async fn with<T: Send + 'static>(&self, job: impl FnOnce(&mut Network) -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        self.jobs.send(Box::new(move |network| drop(done.send(job(network))))).await.ok().unwrap();
        result.await.unwrap()
    }

    /// Drops events until one is wanted.
    pub(super) async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(NetEvent) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
    }

    /// Events that have come in by now.
    pub(super) fn so_far(&mut self) -> Vec<NetEvent> {
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    pub(super) async fn address(&mut self) -> Multiaddr {
        self.until("listening", |event| match event {
            NetEvent::Listening(address) => Some(address),
            _ => None,
        })
        .await
    }

    pub(super) async fn connected(&mut self, to: Identity) {
        self.until("connected", |event| matches!(event, NetEvent::Connected { peer, .. } if peer == to).then_some(()))
            .await;
    }

    pub(super) async fn disconnected(&mut self, from: Identity) {
        let gone = |event| matches!(event, NetEvent::Disconnected { peer } if peer == from).then_some(());
        self.until("disconnected", gone).await;
    }

    pub(super) async fn call(&self, address: &Multiaddr) {
        let address = address.clone();
        self.with(move |net| net.add_peer(&address, None, true)).await.unwrap();
    }

    pub(super) async fn ask(&mut self, peer: Identity, bytes: Vec<u8>) -> Result<Vec<u8>, RequestError> {
        let asked = self.with(move |net| net.request(Protocol::Sync, peer, bytes)).await;
        self.until("a response", |event| match event {
            NetEvent::Response { id, result, .. } if id == asked => Some(result),
            _ => None,
        })
        .await
    }

    /// Answers the next request with its own bytes.
    pub(super) async fn echo(&mut self) {
        let (id, bytes) = self
            .until("a request", |event| match event {
                NetEvent::Request { id, bytes, .. } => Some((id, bytes)),
                _ => None,
            })
            .await;
        self.with(move |net| net.respond(id, bytes)).await.unwrap();
    }
}

/// Two nodes, the first of which has called the second.
pub(super) async fn pair(listen: &str) -> (Node, Node) {
    let (mut alice, mut bob) = (Node::start(&config(1, listen)).await, Node::start(&config(2, listen)).await);
    let address = bob.address().await;
    alice.call(&address).await;
    alice.connected(bob.id).await;
    bob.connected(alice.id).await;
    (alice, bob)
}

/// Writes and reads whatever it is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Raw;

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
        AsyncWriteExt::write_all(io, &bytes).await
    }

    async fn write_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        self.write_request(protocol, io, bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub(super) struct Rude {
    pub(super) raw: rr::Behaviour<Raw>,
    pub(super) identify: identify::Behaviour,
    pub(super) ping: ping::Behaviour,
}

/// A libp2p node of its own making, over TCP, that speaks `protocol` in raw bytes.
pub(super) fn rude(seed: u8, protocol: StreamProtocol) -> (Identity, Swarm<Rude>) {
    let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
    let transport = tcp::tokio::Transport::default()
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed();
    let behaviour = Rude {
        raw: rr::Behaviour::new([(protocol, ProtocolSupport::Full)], rr::Config::default()),
        identify: identify::Behaviour::new(identify::Config::new("/rude/1".into(), key.public())),
        ping: ping::Behaviour::default(),
    };
    let idle = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(3600));
    let swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), idle);
    (self::key(seed).identity(), swarm)
}

/// A rude peer that is connected to the node at `address`.
pub(super) async fn rude_guest(seed: u8, address: &Multiaddr) -> (Identity, Swarm<Rude>) {
    let (id, mut swarm) = rude(seed, Protocol::Sync.name());
    swarm.dial(address.clone()).unwrap();
    let connected =
        async { while !matches!(swarm.select_next_some().await, SwarmEvent::ConnectionEstablished { .. }) {} };
    tokio::time::timeout(PATIENCE, connected).await.unwrap();
    (id, swarm)
}

/// A wire between a TCP port and another, which can be cut without either end noticing.
pub(super) struct Wire {
    pub(super) port: u16,
    cut: Arc<AtomicBool>,
}

impl Wire {
    pub(super) async fn to(port: u16) -> Self {
        // Little room on the way: a sender soon cannot write any more, as on a real line.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(16).unwrap();
        let wire = Self { port: listener.local_addr().unwrap().port(), cut: Arc::default() };
        let cut = wire.cut.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near_in, far_out, cut.clone()));
                tokio::spawn(carry(far_in, near_out, cut.clone()));
            }
        });
        wire
    }

    pub(super) fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    cut: Arc<AtomicBool>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(read) = from.read(&mut bytes).await {
        if cut.load(Ordering::SeqCst) {
            // Neither read nor closed: what a pulled plug looks like.
            std::future::pending::<()>().await;
        }
        if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
