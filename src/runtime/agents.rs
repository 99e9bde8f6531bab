//! The agents that this node hosts: who they are, what each needs to act, and how one comes and goes.
//!
//! **An agent is there when its key file is, and gone when that is**: what else hangs on it follows the file, at once and after a crash.
//! From the moment in which a revocation is answered nothing is signed by its key any more. Tokens are kept as hashes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use serde_bytes::ByteArray;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use super::ask::Ask;
use super::market::Desk;
use super::trade::{self, Trade};
use super::writer::{WriteError, Writer};
use super::{Node, Stopping};
use crate::chain::GroupId;
use crate::chain::transaction::SignedOrder;
use crate::datadir::{DataDir, DataDirError, Keyring, new_secret};
use crate::identity::keystore::DerivedKey;
use crate::identity::{AgentName, Identity, SecretKey};
use crate::kv::KvError;
use crate::ledger::state;
use crate::node::engine::Groups;
use crate::node::trade::shelf::{self, Shelved, TokenHash};
use crate::store::Registry;
use crate::wire::market::{Account, GetAccount, HandedDispute, Response};

/// What every token begins with, so that one that leaks is seen for what it is.
const TOKEN_PREFIX: &str = "lbm_";

/// Why an agent does not come or go.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its key file, or its name.
    #[error(transparent)]
    Data(#[from] DataDirError),
    /// The store.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The daemon.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// A thread of the daemon.
    #[error("a thread of the daemon failed: {0}")]
    Crashed(String),
}

/// The agent that a bearer token is for.
pub struct Bearer {
    /// What it is called.
    pub name: AgentName,
    /// Who it is.
    pub identity: Identity,
    /// Is set when the token is dead: another was made, or the agent is no more.
    pub locked: watch::Receiver<bool>,
}

/// One agent.
struct Hosted {
    identity: Identity,
    trade: Trade,
    /// Ends what buys and sells for it.
    stop: watch::Sender<bool>,
    /// Ends the streams that it reads.
    gone: watch::Sender<bool>,
    /// Ends what was opened with its token.
    locked: watch::Sender<bool>,
    trading: Option<JoinHandle<()>>,
}

/// The agents of one node. Cheap to clone.
#[derive(Clone)]
pub struct Agents(Arc<Shared>);

struct Shared {
    home: DataDir,
    form: Option<DerivedKey>,
    /// The node's own.
    own: Trade,
    writer: Writer,
    asks: mpsc::Sender<Ask>,
    hosted: RwLock<BTreeMap<AgentName, Hosted>>,
    /// Held while one comes or goes.
    changing: AsyncMutex<()>,
}

impl Agents {
    /// The agents of `keys`. `own` is the node's trade.
    pub(super) fn new(home: &DataDir, keys: Keyring, own: Trade, writer: Writer, asks: mpsc::Sender<Ask>) -> Self {
        let hosted = keys.agents.into_iter().map(|(name, key)| (name, Hosted::new(&own, key))).collect();
        let shared = Shared {
            home: home.clone(),
            form: keys.form,
            own,
            writer,
            asks,
            hosted: RwLock::new(hosted),
            changing: AsyncMutex::default(),
        };
        Self(Arc::new(shared))
    }

    fn read<T>(&self, read: impl FnOnce(&BTreeMap<AgentName, Hosted>) -> T) -> T {
        read(&self.0.hosted.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<AgentName, Hosted>) -> T) -> T {
        change(&mut self.0.hosted.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> Vec<(AgentName, Identity)> {
        self.read(|hosted| hosted.iter().map(|(name, agent)| (name.clone(), agent.identity)).collect())
    }

    /// Who has a name.
    #[must_use]
    pub fn identity(&self, name: &AgentName) -> Option<Identity> {
        self.read(|hosted| hosted.get(name).map(|agent| agent.identity))
    }

    /// What somebody is called here.
    #[must_use]
    pub fn name(&self, identity: &Identity) -> Option<AgentName> {
        self.read(|hosted| hosted.iter().find(|(_, agent)| agent.identity == *identity).map(|(name, _)| name.clone()))
    }

    /// What an identity of this node buys and sells with, the node's own among them.
    pub(super) fn trade(&self, identity: &Identity) -> Option<Trade> {
        if self.0.own.me == *identity {
            return Some(self.0.own.clone());
        }
        self.read(|hosted| hosted.values().find(|agent| agent.identity == *identity).map(|agent| agent.trade.clone()))
    }

    /// Something has moved in a group; `offers` where offers may have come or gone.
    pub(super) fn moved(&self, group: GroupId, offers: bool) {
        self.0.own.moved(group, offers);
        self.read(|hosted| hosted.values().for_each(|agent| agent.trade.moved(group, offers)));
    }

    /// Is set when an agent is no more; so is what is given for an agent that is gone already.
    #[must_use]
    pub fn gone(&self, identity: &Identity) -> watch::Receiver<bool> {
        let of = |hosted: &BTreeMap<AgentName, Hosted>| {
            hosted.values().find(|agent| agent.identity == *identity).map(|agent| agent.gone.subscribe())
        };
        self.read(of).unwrap_or_else(|| watch::Sender::new(true).subscribe())
    }

    /// Begins to look after what each buys and sells.
    pub(super) fn start(&self, node: &Node) {
        self.change(|hosted| hosted.values_mut().for_each(|agent| agent.start(node)));
    }

    /// Stops that; what is to be waited for.
    pub(super) fn stop(&self) -> Vec<(&'static str, JoinHandle<()>)> {
        let all: Vec<Hosted> = self.change(|hosted| std::mem::take(hosted).into_values().collect());
        all.into_iter().filter_map(Hosted::stop).map(|trading| ("what buys and sells for an agent", trading)).collect()
    }

    /// Makes an agent: from its answer on it acts, whatever happens.
    ///
    /// # Errors
    /// [`AgentError`]: there is none of that name, or the one before.
    pub async fn create(&self, node: &Node, name: AgentName) -> Result<Identity, AgentError> {
        let _alone = self.0.changing.lock().await;
        let secret = new_secret()?;
        let (shared, key, file) = (Arc::clone(&self.0), secret.clone(), name.clone());
        aside(move || shared.home.add_agent(&file, &key, shared.form.as_ref())).await?;
        self.0.writer.hold(secret.clone()).await?;
        let mut agent = Hosted::new(&self.0.own, secret.clone());
        let identity = agent.identity;
        agent.start(node);
        self.change(|hosted| hosted.insert(name, agent));
        self.tell(identity, Some(secret)).await?;
        Ok(identity)
    }

    /// Ends an agent: its name is refused from now on, its key is destroyed, its token is dead, and peers are told that this node acts for
    /// it no more.
    ///
    /// # Errors
    /// [`AgentError`]: it is there as before, unless the daemon is stopping.
    pub async fn revoke(&self, name: &AgentName) -> Result<Identity, AgentError> {
        let _alone = self.0.changing.lock().await;
        let Some(agent) = self.change(|hosted| hosted.remove(name)) else {
            return Err(DataDirError::NoAgent { name: name.clone() }.into());
        };
        let (shared, file) = (Arc::clone(&self.0), name.clone());
        match aside(move || shared.home.remove_agent(&file)).await {
            Ok(()) | Err(AgentError::Data(DataDirError::NoAgent { .. })) => {}
            Err(error) => {
                self.change(|hosted| hosted.insert(name.clone(), agent));
                return Err(error);
            }
        }
        let identity = agent.identity;
        self.0.writer.forget_key(identity).await?;
        self.tell(identity, None).await?;
        agent.end().await;
        self.keep_token(identity, None).await?;
        Ok(identity)
    }

    /// Has the driver sign for an identity from now on, or no more.
    async fn tell(&self, identity: Identity, key: Option<SecretKey>) -> Result<(), Stopping> {
        let (answer, answered) = oneshot::channel();
        self.0.asks.send(Ask::Host(identity, key, answer)).await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// A new bearer token of an agent. One that it had before is dead.
    ///
    /// # Errors
    /// [`AgentError`]; the one before still counts.
    pub async fn new_token(&self, name: &AgentName) -> Result<Zeroizing<String>, AgentError> {
        let _alone = self.0.changing.lock().await;
        let identity = self.identity(name).ok_or_else(|| DataDirError::NoAgent { name: name.clone() })?;
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes).map_err(|reason| DataDirError::Random { reason })?;
        let token = Zeroizing::new(format!("{TOKEN_PREFIX}{}", hex::encode(*bytes)));
        self.keep_token(identity, Some(hash_of(&token))).await?;
        self.change(|hosted| {
            if let Some(agent) = hosted.get_mut(name) {
                agent.locked.send_replace(true);
                agent.locked = watch::Sender::new(false);
            }
        });
        Ok(token)
    }

    async fn keep_token(&self, identity: Identity, token: Option<TokenHash>) -> Result<(), WriteError> {
        let key = shelf::key::<TokenHash>(&[identity.as_bytes()]);
        let local = vec![(key, token.map(|token| token.to_row()))];
        self.0.writer.register(Registry { local, ..Registry::default() }).await
    }

    /// Whether an agent has a token.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn has_token(&self, node: &Node, identity: &Identity) -> Result<bool, KvError> {
        Ok(node.view()?.local(&shelf::key::<TokenHash>(&[identity.as_bytes()]))?.is_some())
    }

    /// Whose bearer token this is; none where it is nobody's, or no more.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn of_token(&self, node: &Node, token: &str) -> Result<Option<Bearer>, KvError> {
        let hash = hash_of(token);
        let of = |(name, agent): (&AgentName, &Hosted)| Bearer {
            name: name.clone(),
            identity: agent.identity,
            locked: agent.locked.subscribe(),
        };
        // Before the rows are read, so that no change of a token slips in between.
        let all: Vec<Bearer> = self.read(|hosted| hosted.iter().map(of).collect());
        let view = node.view()?;
        for bearer in all {
            let row = view.local(&shelf::key::<TokenHash>(&[bearer.identity.as_bytes()]))?;
            let kept = row.and_then(|row| TokenHash::from_row(&row));
            // Compared in constant time, though a hash tells nothing of the token.
            if kept.is_some_and(|kept| blake3::Hash::from(*kept.hash) == blake3::Hash::from(*hash.hash)) {
                return Ok(Some(bearer));
            }
        }
        Ok(None)
    }

    /// The trade of an identity of this node that is a member of a group: the node's own where it is, or where none is.
    async fn member_of(&self, group: GroupId) -> Trade {
        let agents = self.clone();
        let find = move || -> Result<Option<Trade>, KvError> {
            let view = agents.0.own.view()?;
            let Some(kv) = view.group(&group)? else { return Ok(None) };
            if state::member(kv.as_ref(), &agents.0.own.me)?.is_some() {
                return Ok(None);
            }
            for (_, identity) in agents.all() {
                if state::member(kv.as_ref(), &identity)?.is_some() {
                    return Ok(agents.trade(&identity));
                }
            }
            Ok(None)
        };
        let found = tokio::task::spawn_blocking(find).await;
        found.ok().and_then(Result::ok).flatten().unwrap_or_else(|| self.0.own.clone())
    }
}

fn hash_of(token: &str) -> TokenHash {
    TokenHash { hash: ByteArray::new(*blake3::hash(token.as_bytes()).as_bytes()) }
}

async fn aside(work: impl FnOnce() -> Result<(), DataDirError> + Send + 'static) -> Result<(), AgentError> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| AgentError::Crashed(error.to_string()))??)
}

impl Hosted {
    fn new(own: &Trade, key: SecretKey) -> Self {
        let [stop, gone, locked] = [(); 3].map(|()| watch::Sender::new(false));
        Self { identity: key.identity(), trade: own.of(key), stop, gone, locked, trading: None }
    }

    fn start(&mut self, node: &Node) {
        let node = node.with(self.identity, self.trade.clone());
        self.trading = Some(tokio::spawn(trade::run(node, self.stop.subscribe())));
    }

    /// Ends it; what is to be waited for.
    fn stop(self) -> Option<JoinHandle<()>> {
        self.gone.send_replace(true);
        self.locked.send_replace(true);
        self.stop.send_replace(true);
        self.trading
    }

    async fn end(self) {
        if let Some(trading) = self.stop()
            && let Err(error) = trading.await
        {
            tracing::error!(%error, "what bought and sold for an agent failed");
        }
    }
}

/// Who is no member is answered by whichever identity of this node is.
#[async_trait]
impl Desk for Agents {
    async fn order(&self, from: Identity, order: SignedOrder) -> Response {
        self.member_of(order.order().group).await.order(from, order).await
    }

    async fn dispute(&self, from: Identity, handed: HandedDispute) -> Response {
        self.member_of(handed.group).await.dispute(from, handed).await
    }

    async fn account(&self, asker: Identity, about: GetAccount) -> Result<Option<Account>, KvError> {
        self.member_of(about.group).await.account(asker, about).await
    }
}
