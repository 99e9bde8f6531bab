//! The one thread that works out what is written.
//!
//! It takes all jobs that wait, up to [`limits::WRITER_BATCH`], and works them out as one batch, which [`super::commit`] makes
//! durable and answers while the next batch is worked out on top of it. Jobs queue in a channel of [`limits::WRITER_QUEUE`]; who
//! finds it full waits for a place.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::clock::unix_ms;
use super::commit::{Committer, Fatal, Pending, ReplyTo, Rest, Told};
use crate::chain::GroupId;
use crate::identity::{Identity, SecretKey};
use crate::kv::{KvError, Layer, Memory, Read};
use crate::limits;
use crate::metrics::{Metrics, Queue};
use crate::node::Engine;
use crate::node::engine::{Done, Failure, Groups, Reply, Task, Written};
use crate::node::io::Ticket;
use crate::store::{Registry, Store, StoreError, View};

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

enum Job {
    Write(Task, oneshot::Sender<Result<Reply, WriteError>>),
    Ingest(Task, Ticket, Rest),
    Register(Registry, oneshot::Sender<Result<(), WriteError>>),
    Hold(SecretKey, oneshot::Sender<()>),
    ForgetKey(Identity, oneshot::Sender<()>),
}

/// A handle to the writer. When the last one is gone, the thread finishes what waits and ends.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    metrics: Metrics,
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
        metrics: Metrics,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (jobs, waiting) = mpsc::channel(limits::WRITER_QUEUE);
        let (committer, committing) = Committer::start(Arc::clone(&store), told, metrics.clone())?;
        let worker = Worker { store, engine, committer };
        let work = move || {
            let _fatal = Fatal("lbm-writer");
            worker.work(waiting);
            if committing.join().is_err() {
                tracing::error!("the committing thread failed");
            }
        };
        let thread = std::thread::Builder::new().name("lbm-writer".into()).spawn(work)?;
        Ok((Self { jobs, metrics }, thread))
    }

    async fn do_task(&self, task: Task) -> Result<Reply, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.count_full();
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

    /// Signs for one more identity from now on.
    ///
    /// # Errors
    /// [`WriteError::Stopping`].
    pub async fn hold(&self, key: SecretKey) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Hold(key, answer)).await.map_err(|_| WriteError::Stopping)?;
        answered.await.map_err(|_| WriteError::Stopping)
    }

    /// Signs for an identity no more; returns when what was asked for before is worked out.
    ///
    /// # Errors
    /// [`WriteError::Stopping`].
    pub async fn forget_key(&self, identity: Identity) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::ForgetKey(identity, answer)).await.map_err(|_| WriteError::Stopping)?;
        answered.await.map_err(|_| WriteError::Stopping)
    }

    /// Hands on a peer's batch, waiting for a place in the queue. Its report comes as [`Told::Ingested`]. Not for async tasks.
    pub fn ingest_blocking(&self, task: Task, ticket: Ticket, rest: Rest) {
        self.count_full();
        // A writer that is gone reports nothing; so is the driver then.
        let _stopping = self.jobs.blocking_send(Job::Ingest(task, ticket, rest));
    }

    fn count_full(&self) {
        if self.jobs.capacity() == 0 {
            self.metrics.overflowed(Queue::Writer, 1);
        }
    }

    /// Jobs that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.jobs.max_capacity() - self.jobs.capacity()
    }
}

struct Worker {
    store: Arc<Store>,
    engine: Engine,
    committer: Committer,
}

impl Worker {
    fn work(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(limits::WRITER_BATCH);
        while let Some(first) = waiting.blocking_recv() {
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
                        for group in &registry.leave {
                            self.engine.forget(group);
                        }
                        self.committer.register(registry, answer);
                    }
                    Job::Hold(key, answer) => {
                        self.engine.hold(key);
                        let _gone = answer.send(());
                    }
                    Job::ForgetKey(identity, answer) => {
                        self.run(std::mem::take(&mut tasks));
                        self.engine.forget_key(&identity);
                        let _gone = answer.send(());
                    }
                }
            }
            self.run(tasks);
        }
    }

    fn run(&mut self, tasks: Vec<(ReplyTo, Task)>) {
        if tasks.is_empty() {
            return;
        }
        let (tokens, tasks): (Vec<_>, Vec<_>) = tasks.into_iter().unzip();
        let pending = self.committer.pending();
        match self.work_out(pending.as_ref(), tasks.into_iter().enumerate().collect()) {
            Ok(Done { changes, replies, news }) => {
                let mut tokens: Vec<Option<ReplyTo>> = tokens.into_iter().map(Some).collect();
                let replies = replies
                    .into_iter()
                    .filter_map(|(index, result)| Some((tokens.get_mut(index)?.take()?, result)))
                    .collect();
                self.committer.commit(pending.map(|pending| pending.number), changes, replies, news);
            }
            Err(error) => self.committer.refuse(tokens, &error.into()),
        }
    }

    fn work_out(&mut self, pending: Option<&Pending>, tasks: Vec<(usize, Task)>) -> Result<Done<usize>, KvError> {
        let view = self.store.view()?;
        match pending {
            Some(pending) => self.engine.run(&Ahead { view: &view, pending }, unix_ms(), tasks),
            None => self.engine.run(&view, unix_ms(), tasks),
        }
    }
}

/// What will be durable once the batch that is being committed is.
struct Ahead<'a> {
    view: &'a View,
    pending: &'a Pending,
}

impl Groups for Ahead<'_> {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        let changes = self.pending.changes.iter().find(|(group, _)| group == id).map(|(_, changes)| changes);
        Ok(match (self.view.group(id)?, changes) {
            (base, None) => base,
            (Some(base), Some(changes)) => Some(Box::new(Layer::new(base, changes))),
            (None, Some(changes)) => Some(Box::new(Layer::new(Box::new(Memory::default()), changes))),
        })
    }

    fn local(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.view.local(key)
    }
}
