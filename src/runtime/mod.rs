//! The only wiring: a data folder, its store, the protocol and the API become a running daemon.
//!
//! ```text
//!  API ──task──▶ writer ──rows──▶ committer ──▶ redb     one thread works a batch out while another commits the one
//!   ▲ (WRITER_QUEUE) ▲               │                    before; who asked hears of it when it is durable
//!   └────── reply ───┼───────────────┤
//!                    │ verified      ▼ told
//!  network ──▶ driver ──blocks──▶ verifier                the driver never waits for anybody
//!  (libp2p)     │  ▲             (VERIFY_QUEUE)
//!               ▼  │ answers
//!             serve (SERVING at a time, each on a view of its own)
//! ```

pub mod agents;
pub mod allowance;
mod ask;
mod asked;
pub mod clock;
pub mod commit;
pub mod driver;
pub mod embedding;
pub mod events;
pub mod index;
pub mod joining;
pub mod market;
mod news;
pub mod queue;
mod rendezvous;
pub mod settings;
pub mod trade;
pub mod verify;
pub mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use libp2p::{Multiaddr, kad};
use tokio::sync::{mpsc, oneshot, watch};

use crate::cbor;
use crate::chain::{Frontier, GroupId, Tip};
use crate::config::Origin;
use crate::config::{KademliaRole, Settings};
use crate::datadir::{DataDir, Keyring, NodeName};
use crate::doctor::Subject;
use crate::embedder::{self, OpenError};
use crate::identity::{AgentName, Identity, SecretKey};
use crate::kv::KvError;
use crate::limits;
use crate::metrics::{Metrics, Queue};

use crate::net::{
    AddPeerError, AddressBook, Ban, BookEntry, GossipMeasures, NetConfig, NetError, Network, PeerInfo, RefusedHost,
};
use crate::node::machine::Settings as MachineSettings;
use crate::node::measure::Measures;
use crate::node::{Engine, Machine, Subscription, SyncState};
use crate::presence;
use crate::store::{PackageStoreError, Packages, Store, StoreError, View};
use agents::Agents;
use allowance::Allowance;
use ask::Ask;
use clock::Uptime;
use driver::{Driver, Inbox};
use embedding::Embedding;
use events::Events;
use index::Indexes;
use joining::Door;
use queue::Gauge;
use settings::{InForce, PeerLimits};
use trade::Trade;
use verify::Verifier;
use writer::Writer;

/// Why a daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The packages.
    #[error(transparent)]
    Packages(#[from] PackageStoreError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The embedder.
    #[error(transparent)]
    Embedder(#[from] OpenError),
    /// The system gives no thread, or no random bytes.
    #[error("the system refuses what a start needs: {0}")]
    System(#[from] std::io::Error),
}

impl From<KvError> for StartError {
    fn from(error: KvError) -> Self {
        Self::Store(error.into())
    }
}

/// The daemon is stopping: what was asked is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Stopping;

/// A running node, as the API sees it. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    /// In whose name it acts: the node's own, or an agent's.
    pub identity: Identity,
    /// The node's own identity: what its connections prove.
    pub node_id: Identity,
    /// What people call it.
    pub name: NodeName,
    /// The rows.
    pub store: Arc<Store>,
    /// The encrypted packages.
    pub packages: Arc<Packages>,
    /// What writes.
    pub writer: Writer,
    /// What happens.
    pub events: Events,
    /// What retrieves.
    pub indexes: Indexes,
    /// What buys and sells for the identity.
    pub trade: Trade,
    /// The agents that the node hosts.
    pub agents: Agents,
    /// What makes vectors for it.
    pub embedding: Embedding,
    /// Lets others in, and this node into groups.
    pub door: Door,
    /// What is counted.
    pub metrics: Metrics,
    /// How full the queues are that others own.
    pub queues: Vec<(Queue, Gauge)>,
    /// The settings in force.
    pub settings: InForce,
    /// What the doctor looks at.
    pub subject: Subject,
    /// Since when it runs.
    pub uptime: Uptime,
    /// Pause between two repair pulls where nobody says otherwise of a group, milliseconds.
    pub sync_interval_ms: u64,
    /// Whether groups are pulled by themselves, likewise.
    pub auto_sync: bool,
    asks: mpsc::Sender<Ask>,
}

impl Node {
    /// The node in the name of one of its identities; none where it is none of them.
    #[must_use]
    pub fn acting_as(&self, identity: Identity) -> Option<Self> {
        Some(self.with(identity, self.agents.trade(&identity)?))
    }

    /// The node in the name of an agent; none where there is no such agent.
    #[must_use]
    pub fn as_agent(&self, name: &AgentName) -> Option<Self> {
        self.acting_as(self.agents.identity(name)?)
    }

    fn with(&self, identity: Identity, trade: Trade) -> Self {
        Self { identity, trade, ..self.clone() }
    }

    /// Whether an identity is the node's own or an agent's on it.
    #[must_use]
    pub fn is_own(&self, identity: &Identity) -> bool {
        *identity == self.node_id || self.agents.name(identity).is_some()
    }

    /// What an identity of this node is called by people.
    #[must_use]
    pub fn called(&self, identity: &Identity) -> Option<String> {
        if *identity == self.node_id {
            return Some(self.name.to_string());
        }
        self.agents.name(identity).map(|name| name.to_string())
    }

    /// Whether it acts for an agent, and not for itself.
    #[must_use]
    pub fn is_agent(&self) -> bool {
        self.identity != self.node_id
    }

    /// A view of what is durable now: **an agent sees the groups that it is a member of, and no other**.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn view(&self) -> Result<View, KvError> {
        let view = self.store.view()?;
        Ok(if self.is_agent() { view.seen_by(self.identity) } else { view })
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Stopping> {
        let (answer, answered) = oneshot::channel();
        if self.asks.capacity() == 0 {
            self.metrics.overflowed(Queue::Asks, 1);
        }
        self.asks.send(ask(answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// Who is known and connected.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopping> {
        self.ask(Ask::Peers).await
    }

    /// The hosts whose connections were refused for want of room.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn refused_hosts(&self) -> Result<Vec<RefusedHost>, Stopping> {
        self.ask(Ask::RefusedHosts).await
    }

    /// How far this node is behind its peers, and how full what the driver owns. What was full is counted.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn measure(&self) -> Result<(Measures, GossipMeasures), Stopping> {
        let (measured, gossip) = self.ask(Ask::Measure).await?;
        let full = [
            (Queue::Pushes, measured.pushes_put_off),
            (Queue::Serving, measured.serving_refused),
            (Queue::GossipUnheard, gossip.full.unheard),
            (Queue::GossipJudging, gossip.full.judging),
            (Queue::GossipPeer, gossip.full.peer),
        ];
        full.into_iter()
            .filter(|(_, times)| *times > 0)
            .for_each(|(queue, times)| self.metrics.overflowed(queue, times));
        Ok((measured, gossip))
    }

    /// Where this node can be reached.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn listening(&self) -> Result<Vec<Multiaddr>, Stopping> {
        self.ask(Ask::Listening).await
    }

    /// Adds a peer for good, and calls it.
    ///
    /// # Errors
    /// [`Stopping`]; inside, what is wrong with the address or the alias.
    pub async fn add_peer(
        &self,
        address: Multiaddr,
        alias: Option<String>,
    ) -> Result<Result<Identity, AddPeerError>, Stopping> {
        self.ask(|answer| Ask::AddPeer(address, alias, answer)).await
    }

    /// Forgets a peer; tells whether it was known.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn remove_peer(&self, peer: Identity) -> Result<bool, Stopping> {
        self.ask(|answer| Ask::RemovePeer(peer, answer)).await
    }

    /// Calls a peer by another name; tells whether it is known.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn set_alias(&self, peer: Identity, alias: Option<String>) -> Result<bool, Stopping> {
        self.ask(|answer| Ask::SetAlias(peer, alias, answer)).await
    }

    /// The groups that each connected peer is admitted to.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn admitted(&self) -> Result<BTreeMap<Identity, Vec<GroupId>>, Stopping> {
        self.ask(Ask::Admitted).await
    }

    /// Who was sent away, also those whose time is over and who are still remembered.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn bans(&self) -> Result<Vec<Ban>, Stopping> {
        self.ask(Ask::Bans).await
    }

    /// Lets a peer come back; tells whether it was sent away.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn unban(&self, peer: Identity) -> Result<bool, Stopping> {
        self.ask(|answer| Ask::Unban(peer, answer)).await
    }

    /// Lets peers do this much from now on.
    async fn limit_peers(&self, limits: PeerLimits) -> Result<(), Stopping> {
        self.ask(|answer| Ask::LimitPeers(limits, answer)).await
    }

    /// Signs what the identity is up to, holds it, and has the group's members told; none where it is no member.
    ///
    /// # Errors
    /// [`Stopping`]; inside, what is wrong with the metadata.
    pub async fn set_presence(
        &self,
        group: GroupId,
        status: presence::Status,
        metadata: Option<String>,
    ) -> Result<Option<Result<presence::Verified, presence::Invalid>>, Stopping> {
        self.ask(|answer| Ask::SetPresence(self.identity, group, status, metadata, answer)).await
    }

    /// What the members of a group say of themselves, as far as it is known here.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn presences(&self, group: GroupId) -> Result<Vec<presence::Verified>, Stopping> {
        self.ask(|answer| Ask::Presences(group, answer)).await
    }

    /// The connected peers that would be asked for a group.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn sharing(&self, group: GroupId) -> Result<Vec<Identity>, Stopping> {
        self.ask(|answer| Ask::Sharing(group, answer)).await
    }

    /// The connected peers that would be asked for a group, and whether each is seen to have an author's block of it.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn seen_to_have(
        &self,
        group: GroupId,
        author: Identity,
        tip: Tip,
    ) -> Result<Vec<(Identity, bool)>, Stopping> {
        self.ask(|answer| Ask::SeenToHave(group, author, tip, answer)).await
    }

    /// Pulls a group from one connected member, or all of them, now; tells how many will be asked.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn sync_now(&self, group: GroupId, only: Option<Identity>) -> Result<usize, Stopping> {
        self.ask(|answer| Ask::SyncNow(group, only, answer)).await
    }

    /// How a group's sync stands; none where the group is not here.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn sync_state(&self, group: GroupId) -> Result<Option<SyncState>, Stopping> {
        self.ask(|answer| Ask::SyncState(group, answer)).await
    }

    /// Syncs a group like this from now on, also after a restart.
    ///
    /// # Errors
    /// [`Stopping`], also where it could not be stored.
    pub async fn subscribe(&self, group: GroupId, subscription: Subscription) -> Result<(), Stopping> {
        self.ask(|answer| Ask::Subscribe(group, subscription, answer)).await
    }
}

/// A running daemon: its node, and what must be waited for when it stops.
pub struct Daemon {
    /// The node.
    pub node: Node,
    stop: watch::Sender<bool>,
    driver: tokio::task::JoinHandle<()>,
    trading: tokio::task::JoinHandle<()>,
    joining: tokio::task::JoinHandle<()>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Daemon {
    /// Starts a node on the opened store of its data folder, with all its keys.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(
        home: &DataDir,
        keyring: Keyring,
        name: NodeName,
        store: Store,
        settings: &Settings,
    ) -> Result<Self, StartError> {
        let key = keyring.node.clone();
        let identity = key.identity();
        let mut keys: BTreeMap<Identity, SecretKey> =
            keyring.agents.values().map(|key| (key.identity(), key.clone())).collect();
        let hosted: BTreeSet<Identity> = keys.keys().copied().collect();
        keys.insert(identity, key.clone());
        let packages = Arc::new(Packages::open(&store.packages_path(), limits::PACKAGES_BYTES)?);
        let store = Arc::new(store);
        let (events, metrics) = (Events::default(), Metrics::default());
        let (told_sender, told) = mpsc::channel(limits::DRIVER_QUEUE);
        let (asks_sender, asks) = mpsc::channel(limits::DRIVER_QUEUE);
        let (stop_sender, stop) = watch::channel(false);
        let embedding = embedding(&store, settings)?;
        let seed = getrandom::u64().map_err(std::io::Error::other)?;

        let network = network(key.clone(), &store, settings, seed)?;
        let (writer, writing) = Writer::start(
            Arc::clone(&store),
            Engine::new(keys.values().cloned()),
            told_sender.clone(),
            metrics.clone(),
        )?;
        let drift_ms = settings.max_clock_drift_ms.value;
        let mut queues = vec![(Queue::Told, Gauge::of(&told_sender)), (Queue::Asks, Gauge::of(&asks_sender))];
        let (verifier, verifying) =
            Verifier::start(writer.clone(), told_sender, drift_ms, metrics.clone(), events.clone())?;
        queues.push((Queue::Verify, verifier.gauge()));
        let sync_interval_ms = settings.sync_interval_s.value.saturating_mul(1_000);
        let auto = settings.sync_auto_start.value;
        let settings_of_machine = MachineSettings { sync_interval_ms, auto, max_drift_ms: drift_ms };
        let mut machine = Machine::new(identity, settings_of_machine);
        machine.host(0, hosted);
        let at_start = open_all(&mut machine, &store, &keys)?;
        let parts = (Arc::clone(&store), Arc::clone(&packages));
        let order_life_ms = settings.nonce_expiry_ms.value;
        let trade = Trade::new(key, parts, writer.clone(), events.clone(), order_life_ms);
        let agents = Agents::new(home, keyring, trade.clone(), writer.clone(), asks_sender.clone());
        let parts = (Arc::clone(&store), writer.clone());
        let door = Door::new(identity, parts.0, parts.1, agents.clone(), events.clone(), asks_sender.clone(), drift_ms);
        let (indexes, keeping) = Indexes::start(home.index_path(), Arc::clone(&store))?;
        let driver = Driver {
            me: identity,
            indexes: indexes.clone(),
            keys,
            network,
            machine,
            at_start,
            store: Arc::clone(&store),
            packages: Arc::clone(&packages),
            desk: Arc::new(agents.clone()),
            agents: agents.clone(),
            writer: writer.clone(),
            verifier,
            events: events.clone(),
            embedding: embedding.clone(),
            allowance: Allowance::new(settings.p2p_max_req_per_min.value),
            door: door.clone(),
            metrics: metrics.clone(),
            seed,
        };
        let driver = tokio::spawn(driver.run(Inbox { told, asks, stop: stop.clone() }));
        let uptime = Uptime::start();
        let node = Node {
            identity,
            node_id: identity,
            name,
            store,
            packages,
            writer,
            events,
            indexes,
            trade,
            agents,
            embedding,
            door,
            metrics,
            queues,
            settings: InForce::new(settings.clone()),
            subject: Subject::new(home.path(), settings),
            uptime,
            sync_interval_ms,
            auto_sync: auto,
            asks: asks_sender,
        };
        node.agents.start(&node);
        let trading = tokio::spawn(trade::run(node.clone(), stop.clone()));
        let joining = tokio::spawn(joining::run(node.clone(), stop));
        Ok(Self { node, stop: stop_sender, driver, trading, joining, threads: vec![verifying, writing, keeping] })
    }

    /// Stops: no more from the network, what was taken on is finished, the file is closed.
    ///
    /// The API must be down by now: its handles keep the writer alive.
    pub async fn stop(self) {
        let Self { node, stop, driver, trading, joining, threads } = self;
        node.embedding.stop();
        // Nobody to tell is fine: then the driver is gone already.
        let _gone = stop.send(true);
        let mut tasks = node.agents.stop();
        tasks.extend([("what buys and sells", trading), ("what joins groups", joining)]);
        end(tasks, limits::TASKS_STOP_MS).await;
        end(vec![("the driver", driver)], limits::DRIVER_STOP_MS).await;
        node.indexes.stop();
        drop(node);
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the daemon failed");
                }
            }
        });
        if tokio::time::timeout(Duration::from_millis(limits::STOP_MS), joined).await.is_err() {
            tracing::warn!("the writer did not end in time; what it has acknowledged is on the disk");
        }
    }
}

/// Waits for tasks that were told to end, all together so long. Those that have not are cut off where they wait.
async fn end(tasks: Vec<(&'static str, tokio::task::JoinHandle<()>)>, within_ms: u64) {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(within_ms);
    for (what, mut task) in tasks {
        match tokio::time::timeout_at(deadline, &mut task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "{what} failed"),
            Err(_late) => {
                task.abort();
                tracing::warn!("{what} did not end in time: the next start goes on with it");
            }
        }
    }
}

/// Opens the groups that are here; gives what of each is.
fn open_all(
    machine: &mut Machine,
    store: &Store,
    keys: &BTreeMap<Identity, SecretKey>,
) -> Result<BTreeMap<GroupId, Frontier>, StartError> {
    let mut here = BTreeMap::new();
    for kept in store.view()?.groups()? {
        let row = store.view()?.local(&driver::subscription_row(&kept.id))?;
        let subscription = row.and_then(|row| cbor::decode_lenient(&row, row.len()).ok()).unwrap_or_default();
        let opened = commit::opened(store, kept.id, |author| keys.contains_key(author))?;
        here.insert(kept.id, opened.frontier.clone());
        machine.open_at_start(opened, subscription);
    }
    Ok(here)
}

/// Opens the embedder that the settings name. Vectors lie beside the store.
fn embedding(store: &Arc<Store>, settings: &Settings) -> Result<Embedding, StartError> {
    let named = &settings.embedder;
    let embedder = embedder::open(&named.choice())?;
    let folder = store.path().with_file_name("vectors");
    Ok(Embedding::start(embedder, store, &folder, named.query_timeout_ms.value, named.batch.value)?)
}

/// Starts to listen. Where the default port is taken and nobody asked for it, any other will do.
fn network(key: SecretKey, store: &Store, settings: &Settings, seed: u64) -> Result<Network, StartError> {
    let me = key.identity();
    let entries: Vec<BookEntry> =
        store.view()?.book()?.iter().filter_map(|entry| cbor::decode_lenient(entry, entry.len()).ok()).collect();
    let mut config = NetConfig::new(key);
    config.listen.clone_from(&settings.listen.value);
    config.static_peers.clone_from(&settings.peers.value);
    config.mdns = settings.mdns.value;
    config.kademlia = match settings.kademlia.value {
        KademliaRole::Off => None,
        KademliaRole::Client => Some(kad::Mode::Client),
        KademliaRole::Server => Some(kad::Mode::Server),
    };
    config.max_connections_per_address = settings.p2p_max_conn_per_ip.value;
    config.max_requests_per_min = settings.p2p_max_req_per_min.value;
    config.access = PeerLimits::of(settings).access;
    let bans = store.view()?.local(driver::BANS_ROW)?;
    config.bans = bans.and_then(|row| cbor::decode_lenient(&row, row.len()).ok()).unwrap_or_default();
    let book = || AddressBook::from_entries(me, seed, entries.clone(), clock::unix_ms());
    match Network::new(&config, book()) {
        Err(NetError::PortInUse(address)) if settings.listen.origin == Origin::Default => {
            tracing::warn!(%address, "the default port is in use: listening on any other");
            config.listen = config.listen.iter().map(any_port).collect();
            Ok(Network::new(&config, book())?)
        }
        network => Ok(network?),
    }
}

fn any_port(address: &Multiaddr) -> Multiaddr {
    use libp2p::multiaddr::Protocol;
    address
        .iter()
        .map(|part| match part {
            Protocol::Tcp(_) => Protocol::Tcp(0),
            Protocol::Udp(_) => Protocol::Udp(0),
            part => part,
        })
        .collect()
}
