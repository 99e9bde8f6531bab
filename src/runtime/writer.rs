//! The one thread that writes.
//!
//! It takes all jobs that wait, up to [`limits::WRITER_BATCH`], works them out as one batch, commits it once, and only then
//! answers and tells. Jobs queue in a channel of [`limits::WRITER_QUEUE`]; who finds it full waits for a place. **Whoever hears
//! of a write hears of one that is on the disk**; where the commit fails, everybody in the batch hears that.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::clock::unix_ms;
use crate::chain::{Frontier, GroupId, rows};
use crate::kv::KvError;
use crate::ledger::query;
use crate::limits;
use crate::node::Engine;
use crate::node::engine::{Done, Failure, Groups, Ingested, News, Reply, Task, Written};
use crate::node::io::{NotIngested, Opened, Ticket};
use crate::store::{Registry, Store, StoreError};

/// Why a write was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// It is not allowed, or not possible. Nothing of it is left.
    #[error(transparent)]
    Failure(Arc<Failure>),
    /// The store failed. Nothing of it is left.
    #[error(transparent)]
    Store(Arc<StoreError>),
    /// The daemon is stopping.
    #[error("the daemon is stopping: nothing was written, try again when it is up")]
    Stopping,
}

impl From<KvError> for WriteError {
    fn from(error: KvError) -> Self {
        Self::Store(Arc::new(error.into()))
    }
}

/// What the writer tells the driver, after each commit.
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

enum Job {
    Write(Task, oneshot::Sender<Result<Reply, WriteError>>),
    Ingest(Task, Ticket, Rest),
    Register(Registry, oneshot::Sender<Result<(), WriteError>>),
}

/// A handle to the writer. When the last one is gone, the thread finishes what waits and ends.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`std::io::Error`] where the system gives no thread.
    pub fn start(
        store: Arc<Store>,
        engine: Engine,
        told: mpsc::Sender<Told>,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::channel(limits::WRITER_QUEUE);
        let worker = Worker { store, engine, told };
        let thread = std::thread::Builder::new().name("lbm-writer".into()).spawn(move || worker.work(waiting))?;
        Ok((Self { jobs }, thread))
    }

    async fn do_task(&self, task: Task) -> Result<Reply, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Write(task, answer)).await.map_err(|_| WriteError::Stopping)?;
        answered.await.map_err(|_| WriteError::Stopping)?
    }

    /// Writes transactions; returns once they are durable.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was written.
    pub async fn write(&self, task: Task) -> Result<Written, WriteError> {
        match self.do_task(task).await? {
            Reply::Written(written) => Ok(written),
            Reply::Founded(_) | Reply::Ingested(_) => Err(WriteError::Stopping),
        }
    }

    /// Founds a group; returns once it is durable.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was written.
    pub async fn found(&self, task: Task) -> Result<GroupId, WriteError> {
        match self.do_task(task).await? {
            Reply::Founded(group) => Ok(group),
            Reply::Written(_) | Reply::Ingested(_) => Err(WriteError::Stopping),
        }
    }

    /// Joins or leaves groups, or keeps the address book; returns once that is durable.
    ///
    /// # Errors
    /// [`WriteError`]: nothing was written.
    pub async fn register(&self, registry: Registry) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Register(registry, answer)).await.map_err(|_| WriteError::Stopping)?;
        answered.await.map_err(|_| WriteError::Stopping)?
    }

    /// Hands on a peer's batch, waiting for a place in the queue. Its report comes as [`Told::Ingested`]. Not for async tasks.
    pub fn ingest_blocking(&self, task: Task, ticket: Ticket, rest: Rest) {
        // A writer that is gone reports nothing; so is the driver then.
        let _stopping = self.jobs.blocking_send(Job::Ingest(task, ticket, rest));
    }

    /// Jobs that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }
}

/// To whom a reply goes.
enum ReplyTo {
    Caller(oneshot::Sender<Result<Reply, WriteError>>),
    Machine(Ticket, Rest),
}

struct Worker {
    store: Arc<Store>,
    engine: Engine,
    told: mpsc::Sender<Told>,
}

impl Worker {
    fn work(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(limits::WRITER_BATCH);
        loop {
            let Some(first) = waiting.blocking_recv() else { return };
            jobs.push(first);
            while jobs.len() < limits::WRITER_BATCH
                && let Ok(job) = waiting.try_recv()
            {
                jobs.push(job);
            }
            let mut tasks = Vec::with_capacity(jobs.len());
            for job in jobs.drain(..) {
                match job {
                    Job::Write(task, answer) => tasks.push((ReplyTo::Caller(answer), task)),
                    Job::Ingest(task, ticket, rest) => tasks.push((ReplyTo::Machine(ticket, rest), task)),
                    Job::Register(registry, answer) => {
                        // What came before may concern a group that is left now.
                        self.run(std::mem::take(&mut tasks));
                        let _caller_gone = answer.send(self.register(&registry));
                    }
                }
            }
            self.run(tasks);
        }
    }

    fn tell(&self, told: Told) {
        // The driver is gone only when everything stops; then nobody needs to hear.
        let _stopping = self.told.blocking_send(told);
    }

    fn run(&mut self, tasks: Vec<(ReplyTo, Task)>) {
        if tasks.is_empty() {
            return;
        }
        let (tokens, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let mut tokens: Vec<Option<ReplyTo>> = tokens.into_iter().map(Some).collect();
        let done = self.work_out(tasks.into_iter().enumerate().collect());
        match done {
            Ok(done) => {
                for (index, result) in &done.replies {
                    if let (Ok(Reply::Founded(group)), true) = (result, *index < tokens.len()) {
                        self.tell(Told::Opened(Opened {
                            group: *group,
                            frontier: Frontier::default(),
                            members: vec![],
                        }));
                    }
                }
                for news in done.news {
                    self.tell(Told::News(news));
                }
                for (index, result) in done.replies {
                    if let Some(token) = tokens.get_mut(index).and_then(Option::take) {
                        self.reply(token, result.map_err(|failure| WriteError::Failure(Arc::new(failure))));
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, "nothing of a batch was written");
                for token in tokens.into_iter().flatten() {
                    self.reply(token, Err(error.clone()));
                }
            }
        }
    }

    fn work_out(&mut self, tasks: Vec<(usize, Task)>) -> Result<Done<usize>, WriteError> {
        let view = self.store.view()?;
        let done = self.engine.run(&view, unix_ms(), tasks)?;
        drop(view);
        if !done.changes.is_empty() {
            self.store
                .commit(&done.changes, &Registry::default())
                .map_err(|error| WriteError::Store(Arc::new(error)))?;
        }
        Ok(done)
    }

    fn reply(&self, to: ReplyTo, result: Result<Reply, WriteError>) {
        match to {
            ReplyTo::Caller(answer) => drop(answer.send(result)),
            ReplyTo::Machine(ticket, rest) => {
                let result = match result {
                    Ok(Reply::Ingested(report)) if rest == Rest::Early && report.fault.is_none() => {
                        Err(NotIngested::NotYet)
                    }
                    Ok(Reply::Ingested(report)) => Ok(report),
                    Ok(Reply::Founded(_) | Reply::Written(_)) | Err(_) => Err(NotIngested::Failed),
                };
                self.tell(Told::Ingested(ticket, result));
            }
        }
    }

    fn register(&mut self, registry: &Registry) -> Result<(), WriteError> {
        self.store.commit(&[], registry).map_err(|error| WriteError::Store(Arc::new(error)))?;
        for group in &registry.leave {
            self.engine.forget(group);
            self.tell(Told::Closed(*group));
        }
        for group in &registry.join {
            self.tell(Told::Opened(opened(&self.store, *group)?));
        }
        Ok(())
    }
}

/// What the machine must know of a group that is kept.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn opened(store: &Store, group: GroupId) -> Result<Opened, KvError> {
    let view = store.view()?;
    let Some(rows) = view.group(&group)? else {
        return Ok(Opened { group, frontier: Frontier::default(), members: vec![] });
    };
    let frontier = Frontier::new(rows::all_tips(rows.as_ref())?);
    let members = query::members(rows.as_ref())?.into_iter().map(|(identity, _)| identity).collect();
    Ok(Opened { group, frontier, members })
}
