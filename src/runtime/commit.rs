//! The one thread that commits: what the writer has worked out becomes durable, and only then is anybody answered or told.
//!
//! It takes one batch at a time, and the writer works out the next one meanwhile, on top of it. **Whoever hears of a write hears
//! of one that is on the disk**; where a commit fails, everybody in the batch hears that, and so does everybody in a batch that
//! was worked out on top of it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::writer::WriteError;
use crate::chain::{Frontier, GroupId, rows};
use crate::identity::Identity;
use crate::kv::{Changes, KvError};
use crate::ledger::{former, query};
use crate::node::engine::{self, Failure, Groups, Ingested, News, Reply};
use crate::node::io::{NotIngested, Opened, Ticket};
use crate::node::shut_out;
use crate::store::{Registry, Store};

/// What the driver is told, after each commit.
#[derive(Debug)]
pub enum Told {
    /// A group is kept from now on.
    Opened(Opened),
    /// A group is kept no more.
    Closed(GroupId),
    /// Blocks have become durable.
    News(News),
    /// A peer's batch is durable, or was not taken.
    Ingested(Ticket, Result<Ingested, NotIngested>),
}

/// What was not handed on of a peer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing was left out.
    None,
    /// Blocks that are dated ahead of our clock, or need a newer version. The report says so, so that nobody takes them for stored.
    Early,
}

/// To whom a reply goes.
pub(super) enum ReplyTo {
    Caller(oneshot::Sender<Result<Reply, WriteError>>),
    Machine(Ticket, Rest),
}

type Replies = Vec<(ReplyTo, Result<Reply, Failure>)>;

/// A batch that is handed to be committed and may not be durable yet.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) changes: Arc<Vec<(GroupId, Changes)>>,
}

enum Batch {
    Rows { pending: Pending, built_on: Option<u64>, replies: Replies, news: Vec<News> },
    Registry(Registry, oneshot::Sender<Result<(), WriteError>>),
}

/// The last batch that was finished, and why it failed, if it did.
#[derive(Default)]
struct Finished {
    number: u64,
    failed: Option<WriteError>,
}

/// The writer's handle to the thread.
pub(super) struct Committer {
    batches: SyncSender<Batch>,
    told: mpsc::Sender<Told>,
    finished: Arc<Mutex<Finished>>,
    last: Option<Pending>,
    next: u64,
}

impl Committer {
    pub(super) fn start(store: Arc<Store>, told: mpsc::Sender<Told>) -> std::io::Result<(Self, JoinHandle<()>)> {
        // Without room: a batch is handed over when the one before is finished, so at most one is ahead of the disk.
        let (batches, waiting) = sync_channel(0);
        let finished: Arc<Mutex<Finished>> = Arc::default();
        let worker = Worker { store, told: told.clone(), finished: Arc::clone(&finished) };
        let work = move || {
            let _fatal = Fatal("lbm-commit");
            worker.work(&waiting);
        };
        let thread = std::thread::Builder::new().name("lbm-commit".into()).spawn(work)?;
        Ok((Self { batches, told, finished, last: None, next: 1 }, thread))
    }

    /// The batch that a view taken from now on may not show yet.
    pub(super) fn pending(&mut self) -> Option<Pending> {
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        self.last.take_if(|last| last.number <= finished.number);
        self.last.clone()
    }

    /// Hands a batch over, once the one before is finished.
    pub(super) fn commit(
        &mut self,
        built_on: Option<u64>,
        changes: Vec<(GroupId, Changes)>,
        replies: Replies,
        news: Vec<News>,
    ) {
        let pending = Pending { number: self.next, changes: Arc::new(changes) };
        self.next += 1;
        self.last = Some(pending.clone());
        // The thread ends only when this handle does.
        let _ended = self.batches.send(Batch::Rows { pending, built_on, replies, news });
    }

    /// Hands a registry over, and waits until nothing is ahead of the disk.
    pub(super) fn register(&mut self, registry: Registry, answer: oneshot::Sender<Result<(), WriteError>>) {
        let _ended = self.batches.send(Batch::Registry(registry, answer));
        // Taken when the registry is done.
        self.commit(None, Vec::new(), Vec::new(), Vec::new());
    }

    /// Answers a batch that could not be worked out.
    pub(super) fn refuse(&self, tokens: Vec<ReplyTo>, error: &WriteError) {
        tracing::error!(%error, "nothing of a batch was written");
        for token in tokens {
            reply(&self.told, token, Err(error.clone()));
        }
    }
}

struct Worker {
    store: Arc<Store>,
    told: mpsc::Sender<Told>,
    finished: Arc<Mutex<Finished>>,
}

impl Worker {
    fn work(&self, waiting: &Receiver<Batch>) {
        while let Ok(batch) = waiting.recv() {
            match batch {
                Batch::Rows { pending, built_on, replies, news } => self.rows(&pending, built_on, replies, news),
                Batch::Registry(registry, answer) => {
                    let _caller_gone = answer.send(self.register(&registry));
                }
            }
        }
    }

    fn rows(&self, pending: &Pending, built_on: Option<u64>, replies: Replies, news: Vec<News>) {
        let failed = self.commit(pending, built_on).err();
        {
            let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
            *finished = Finished { number: pending.number, failed: failed.clone() };
        }
        if let Some(error) = failed {
            tracing::error!(%error, "nothing of a batch was written");
            for (token, _) in replies {
                reply(&self.told, token, Err(error.clone()));
            }
            return;
        }
        for (_, result) in &replies {
            if let Ok(Reply::Founded(group)) = result {
                tell(&self.told, Told::Opened(Opened::blank(*group)));
            }
        }
        for news in news {
            tell(&self.told, Told::News(news));
        }
        for (token, result) in replies {
            reply(&self.told, token, result.map_err(|failure| WriteError::Failure(Arc::new(failure))));
        }
    }

    fn commit(&self, pending: &Pending, built_on: Option<u64>) -> Result<(), WriteError> {
        {
            let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
            if let (true, Some(error)) = (built_on == Some(finished.number), &finished.failed) {
                return Err(error.clone());
            }
        }
        if pending.changes.is_empty() {
            return Ok(());
        }
        let committed = self.store.commit(&pending.changes, &Registry::default());
        committed.map_err(|error| WriteError::Store(Arc::new(error)))
    }

    fn register(&self, registry: &Registry) -> Result<(), WriteError> {
        self.store.commit(&[], registry).map_err(|error| WriteError::Store(Arc::new(error)))?;
        for group in &registry.leave {
            tell(&self.told, Told::Closed(*group));
        }
        for group in &registry.join {
            // It is durable, whatever happens now: a start would open it.
            match opened(&self.store, *group, |_| false) {
                Ok(opened) => tell(&self.told, Told::Opened(opened)),
                Err(error) => tracing::error!(%error, %group, "a joined group is opened at the next start only"),
            }
        }
        Ok(())
    }
}

/// Ends the process when its thread panics: without this thread nothing would be answered any more, and what was acknowledged is
/// on the disk.
pub(super) struct Fatal(pub(super) &'static str);

impl Drop for Fatal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(thread = self.0, "a thread failed that the daemon cannot do without: stopping at once");
            std::process::abort();
        }
    }
}

fn tell(told: &mpsc::Sender<Told>, what: Told) {
    // The driver is gone only when everything stops; then nobody needs to hear.
    let _stopping = told.blocking_send(what);
}

fn reply(told: &mpsc::Sender<Told>, to: ReplyTo, result: Result<Reply, WriteError>) {
    match to {
        // A caller may have given up.
        ReplyTo::Caller(answer) => drop(answer.send(result)),
        ReplyTo::Machine(ticket, rest) => {
            let result = match result {
                Ok(Reply::Ingested(report)) if rest == Rest::Early && report.fault.is_none() => {
                    Err(NotIngested::NotYet)
                }
                Ok(Reply::Ingested(report)) => Ok(report),
                Ok(Reply::Founded(_) | Reply::Written(_)) | Err(_) => Err(NotIngested::Failed),
            };
            tell(told, Told::Ingested(ticket, result));
        }
    }
}

/// What the machine must know of a group that is kept.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn opened(store: &Store, group: GroupId, ours: impl Fn(&Identity) -> bool) -> Result<Opened, KvError> {
    let view = store.view()?;
    let Some(rows) = view.group(&group)? else {
        return Ok(Opened::blank(group));
    };
    let frontier = Frontier::new(rows::all_tips(rows.as_ref())?);
    let members = query::members(rows.as_ref())?.into_iter().map(|(identity, _)| identity).collect();
    let to_seal = engine::to_seal(rows.as_ref(), true, ours)?;
    let in_doubt = rows::in_doubt(rows.as_ref())?;
    let former = former::all(rows.as_ref())?;
    let shut_out = shut_out::shut_out(rows.as_ref())?.map(|said| (said.why, said.by));
    Ok(Opened { group, frontier, members, former, shut_out, to_seal, in_doubt })
}
