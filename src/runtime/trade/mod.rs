//! Buying and selling: what the API asks for, and the task that does what is due.
//!
//! **The ledger is the memory of a purchase.** `work` reads from it what this node has to do, does it, and forgets; what was cut off is
//! found again by the next look, after a restart by the first. Nothing is paid before the package is on the disk, and no purchase is
//! written while another one of this node is being looked at for its limit.

mod accept;
mod buy;
mod desk;
mod error;
mod find;
mod library;
mod outside;
mod sell;
pub mod standing;
pub mod steps;
mod work;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, watch};

use self::steps::Step;
use super::events::Events;
use super::writer::{WriteError, Writer};
use crate::chain::{GroupId, Transaction};
use crate::identity::{Identity, SecretKey};
use crate::kv::KvError;
use crate::node::engine::{OnceName, Task, Written};
use crate::node::trade::shelf::Shelved;
use crate::store::{Packages, Registry, Store, View};

pub use buy::{Bought, HowToBuy, approve, buy, limit, set_limit};
pub use error::TradeError;
pub use find::{Found, Offered, find};
pub use library::{Item, content, list as library};
pub use outside::spent as spent_outside;
pub use sell::{NewPackage, Sold, create, revoke};
pub use work::run;

/// Buying and selling of one node. Cheap to clone.
#[derive(Clone)]
pub struct Trade(Arc<Shared>);

/// What its parts share.
pub struct Shared {
    key: SecretKey,
    /// Whose.
    pub me: Identity,
    store: Arc<Store>,
    packages: Arc<Packages>,
    writer: Writer,
    events: Events,
    /// How long an order holds that is signed here, milliseconds.
    order_life_ms: u64,
    /// Held while a purchase is looked at for its limit and written, so that two of them see one another.
    buying: AsyncMutex<()>,
    /// Held while an order is handed to a member of another group, so that the next one takes the next number.
    ordering: AsyncMutex<()>,
    /// Held while what is known of a purchase elsewhere is changed.
    following: AsyncMutex<()>,
    /// Groups in which something has moved since the last look, and whether offers may have.
    moved: Mutex<BTreeMap<GroupId, bool>>,
    revision: watch::Sender<u64>,
}

impl Deref for Trade {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Trade {
    /// Trade with this key, whose orders hold for so many milliseconds.
    #[must_use]
    pub fn new(
        key: SecretKey,
        (store, packages): (Arc<Store>, Arc<Packages>),
        writer: Writer,
        events: Events,
        order_life_ms: u64,
    ) -> Self {
        let me = key.identity();
        let (buying, ordering, following) = (AsyncMutex::default(), AsyncMutex::default(), AsyncMutex::default());
        let (moved, revision) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Shared {
            key,
            me,
            store,
            packages,
            writer,
            events,
            order_life_ms,
            buying,
            ordering,
            following,
            moved,
            revision,
        }))
    }

    /// The same with another key of this node.
    #[must_use]
    pub fn of(&self, key: SecretKey) -> Self {
        let Shared { store, packages, writer, events, order_life_ms, .. } = &**self;
        Self::new(key, (Arc::clone(store), Arc::clone(packages)), writer.clone(), events.clone(), *order_life_ms)
    }
}

impl Shared {
    /// Something has moved in a group; `offers` where offers may have come or gone.
    pub fn moved(&self, group: GroupId, offers: bool) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved.entry(group).or_default() |= offers;
        drop(moved);
        self.stir();
    }

    /// Wakes whoever waits for a purchase.
    fn stir(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    fn take_moved(&self) -> BTreeMap<GroupId, bool> {
        std::mem::take(&mut *self.moved.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The folder of the data, where tests put what makes it stop.
    async fn reach(&self, step: Step) {
        steps::reach(&self.store.packages_path(), step).await;
    }

    pub(super) fn view(&self) -> Result<View, KvError> {
        self.store.view()
    }

    /// A row of this node's own.
    fn shelved<T: Shelved>(view: &View, key: &[u8]) -> Result<Option<T>, KvError> {
        Ok(view.local(key)?.and_then(|bytes| T::from_row(&bytes)))
    }

    /// Keeps a row of this node's own, or takes it away; returns once that is durable.
    async fn shelve<T: Shelved>(&self, key: Vec<u8>, row: Option<&T>) -> Result<(), WriteError> {
        let local = vec![(key, row.map(Shelved::to_row))];
        self.writer.register(Registry { local, ..Registry::default() }).await
    }

    async fn write(&self, group: GroupId, transaction: Transaction) -> Result<Written, WriteError> {
        self.write_once(group, transaction, None).await
    }

    async fn write_once(
        &self,
        group: GroupId,
        transaction: Transaction,
        once: Option<OnceName>,
    ) -> Result<Written, WriteError> {
        let (author, transactions, objects) = (self.me, vec![transaction], vec![]);
        let task = match once {
            None => Task::Write { group, author, transactions, objects },
            Some(name) => Task::Once { name, group, author, transactions, objects },
        };
        self.writer.write(task).await
    }
}

/// 32 bytes of the system's random source.
fn random() -> Result<[u8; 32], TradeError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| TradeError::Random(error.to_string()))?;
    Ok(bytes)
}

/// Runs what reads the store or works for long on a thread of its own.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TradeError> + Send + 'static,
) -> Result<T, TradeError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(TradeError::Crashed(error.to_string())))
}
