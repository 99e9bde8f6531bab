//! Vectors of claims, made in the background by the embedder that the settings name.
//!
//! One thread walks each group's blocks in the sequence of storing and embeds every claim that has words and no vector, in batches.
//! What it has done is in `DATA/vectors/GROUP/MODEL.vec` and nowhere else, so that **a start goes on where the last one was, however that
//! ended, and no claim is embedded twice**. Where the embedder fails, the thread waits, longer each time, and queries do not ask it
//! either: the built-in views answer alone, and say so.
//!
//! The thread is not waited for when the daemon stops, since an endpoint may take minutes; it holds the store only while it reads.
//!
//! Other models' vectors are kept for going back to, [`limits::EMBED_MODELS`] in all; those of a group go when it is left.

mod folder;
mod walk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use self::walk::Walk;
use crate::chain::GroupId;
use crate::embedder::null::{Null, UNRELATED};
use crate::embedder::{EmbedError, Embedder, Side, Verdict};
use crate::knowledge::index::Embedded;
use crate::knowledge::vectors::{Vectors, VectorsError};
use crate::kv::KvError;
use crate::limits;
use crate::store::Store;

/// A handle to the embedder. Cheap to clone.
#[derive(Clone)]
pub struct Embedding {
    folder: PathBuf,
    shared: Option<Arc<Shared>>,
}

/// What came of asking it for the vector of a query.
pub enum Asked {
    /// The settings name none.
    Off,
    /// It serves.
    Ready(Ready),
    /// The built-in views serve alone.
    Without {
        /// The model that does not.
        model: String,
        /// Why not.
        why: String,
    },
}

/// The vector of a query, and those of a group's claims.
pub struct Ready {
    /// The model.
    pub model: String,
    query: Vec<f32>,
    vectors: Arc<RwLock<Vectors>>,
    null: Null,
}

impl Ready {
    /// Hands all of it to a search.
    pub fn with<T>(&self, search: impl FnOnce(Embedded<'_>) -> T) -> T {
        let vectors = self.vectors.read().unwrap_or_else(PoisonError::into_inner);
        let Null { mean, deviation, .. } = self.null;
        search(Embedded { vectors: &vectors, query: &self.query, unrelated: mean, deviation })
    }
}

/// How far claims are embedded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Claims with a vector.
    pub embedded: u64,
    /// Claims that should have one.
    pub claims: u64,
    /// Those of them that the embedder refuses; they are tried again at the next start.
    pub unable: u64,
}

/// How the embedder is.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The model.
    pub model: String,
    /// Over all groups.
    pub progress: Progress,
    /// Whether it has answered in this run.
    pub has_answered: bool,
    /// What is wrong, and what to do about it.
    pub trouble: Option<(String, &'static str)>,
}

/// What handle and thread share.
struct Shared {
    embedder: Box<dyn Embedder>,
    folder: PathBuf,
    query_timeout: Duration,
    batch: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// Something may be new.
    woken: bool,
    /// Queries that are being embedded: the background lets them go first.
    asking: usize,
    /// Whether the background is waiting for the embedder.
    working: bool,
    null: Option<Null>,
    trouble: Option<Trouble>,
    groups: BTreeMap<GroupId, (Arc<RwLock<Vectors>>, Progress)>,
}

struct Trouble {
    what: String,
    remedy: &'static str,
    failures: u32,
    until: Instant,
}

/// Why the background does not go on.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Embed(#[from] EmbedError),
    #[error(transparent)]
    Vectors(#[from] VectorsError),
    #[error(transparent)]
    Store(#[from] KvError),
    #[error("the vectors in {} cannot be sorted out: {source}", path.display())]
    Folder { path: PathBuf, source: std::io::Error },
}

impl Fault {
    const fn remedy(&self) -> &'static str {
        match self {
            Self::Embed(error) => error.remedy(),
            Self::Vectors(VectorsError::Dimensions { .. }) => {
                "another model answers under this name: name it as embedder_model, or remove the folder `vectors` to begin anew"
            }
            Self::Vectors(_) | Self::Folder { .. } => {
                "check the disk; what is in the folder `vectors` can be made again"
            }
            Self::Store(_) => "check the disk; see `lbm ctl health`",
        }
    }

    const fn verdict(&self) -> Verdict {
        match self {
            Self::Embed(error) => error.verdict(),
            Self::Vectors(_) | Self::Store(_) | Self::Folder { .. } => Verdict::Operator,
        }
    }
}

impl Embedding {
    /// Starts the thread, where there is an embedder. `folder` is where vectors are kept.
    ///
    /// # Errors
    /// [`std::io::Error`] where the system gives no thread.
    pub fn start(
        embedder: Option<Box<dyn Embedder>>,
        store: &Arc<Store>,
        folder: &Path,
        query_timeout_ms: u64,
        batch: u32,
    ) -> std::io::Result<Self> {
        let folder = folder.to_owned();
        let Some(embedder) = embedder else { return Ok(Self { folder, shared: None }) };
        let shared = Arc::new(Shared {
            embedder,
            folder: folder.clone(),
            query_timeout: Duration::from_millis(query_timeout_ms),
            batch: batch as usize,
            state: Mutex::new(State { woken: true, ..State::default() }),
            changed: Condvar::new(),
        });
        let (own, store) = (Arc::clone(&shared), Arc::downgrade(store));
        std::thread::Builder::new().name("lbm-embedder".into()).spawn(move || own.run(&store))?;
        Ok(Self { folder, shared: Some(shared) })
    }

    /// Says that something may be new. Never waits.
    pub fn wake(&self) {
        if let Some(shared) = &self.shared {
            shared.state().woken = true;
            shared.changed.notify_all();
        }
    }

    /// Tells the thread to end after what it is waiting for.
    pub fn stop(&self) {
        if let Some(shared) = &self.shared {
            shared.state().stop = true;
            shared.changed.notify_all();
        }
    }

    /// Drops the vectors of a group that is left.
    pub fn forget(&self, group: &GroupId) {
        if let Some(shared) = &self.shared {
            shared.state().groups.remove(group);
        }
        folder::remove(&self.folder, group);
        // Should the thread be at work on it just now, it finds the group gone in its next round, and the files with it.
        self.wake();
    }

    /// Asks for the vector of a query in a group. Blocks for as long as the settings say, at most.
    #[must_use]
    pub fn ask(&self, group: &GroupId, query: &str) -> Asked {
        let Some(shared) = &self.shared else { return Asked::Off };
        let model = shared.embedder.name().to_owned();
        match shared.ask(group, query) {
            Ok((query, vectors, null)) => Asked::Ready(Ready { model, query, vectors, null }),
            Err(why) => Asked::Without { model, why },
        }
    }

    /// How it is; none where the settings name no embedder.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let shared = self.shared.as_ref()?;
        let state = shared.state();
        let add = |sum: Progress, (_, progress): &(_, Progress)| Progress {
            embedded: sum.embedded + progress.embedded,
            claims: sum.claims + progress.claims,
            unable: sum.unable + progress.unable,
        };
        Some(Standing {
            model: shared.embedder.name().to_owned(),
            progress: state.groups.values().fold(Progress::default(), add),
            has_answered: state.null.is_some(),
            trouble: state.trouble.as_ref().map(|trouble| (trouble.what.clone(), trouble.remedy)),
        })
    }

    /// How far the claims of one group are embedded.
    #[must_use]
    pub fn progress(&self, group: &GroupId) -> Progress {
        let progress = |shared: &Arc<Shared>| shared.state().groups.get(group).map(|(_, progress)| *progress);
        self.shared.as_ref().and_then(progress).unwrap_or_default()
    }
}

type QueryVector = (Vec<f32>, Arc<RwLock<Vectors>>, Null);

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, group: &GroupId, query: &str) -> Result<QueryVector, String> {
        let (vectors, null) = {
            let mut state = self.state();
            if let Some(trouble) = &state.trouble {
                return Err(trouble.what.clone());
            }
            let null = state.null.ok_or_else(|| "it has not answered yet".to_owned())?;
            let vectors = state.groups.get(group).filter(|(_, progress)| progress.embedded > 0);
            let (vectors, _) = vectors.ok_or_else(|| "no claim of the group is embedded yet".to_owned())?;
            let vectors = Arc::clone(vectors);
            state.asking += 1;
            (vectors, null)
        };
        let made = self.embedder.embed(Side::Query, &[query], self.query_timeout);
        let mut state = self.state();
        state.asking -= 1;
        // While it is at work for the background, being late is no fault of its.
        let is_fault = made.as_ref().is_err_and(|error| error.verdict() != Verdict::Shorten) && !state.working;
        drop(state);
        self.changed.notify_all();
        match made {
            Ok(made) => Ok((made.into_iter().next().unwrap_or_default(), vectors, null)),
            Err(error) => {
                let why = error.to_string();
                if is_fault {
                    self.failed(&error.into());
                }
                Err(why)
            }
        }
    }

    /// Works until told to stop, or the daemon is gone.
    fn run(&self, store: &Weak<Store>) {
        let mut walks = BTreeMap::new();
        let mut pace = Pace { texts: self.batch.min(8), most: self.batch };
        while self.wait() {
            match self.round(store, &mut walks, &mut pace) {
                Ok(()) => {}
                Err(fault) => self.failed(&fault),
            }
        }
    }

    /// Waits until there may be something to do; false when it is time to end.
    fn wait(&self) -> bool {
        let mut state = self.state();
        loop {
            let now = Instant::now();
            let State { stop, woken, trouble, .. } = &mut *state;
            if *stop {
                return false;
            }
            state = match trouble {
                Some(trouble) if trouble.until > now => {
                    let left = trouble.until - now;
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None if !*woken => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                _ => {
                    *woken = false;
                    return true;
                }
            };
        }
    }

    fn round(&self, store: &Weak<Store>, walks: &mut BTreeMap<GroupId, Walk>, pace: &mut Pace) -> Result<(), Fault> {
        let is_new = {
            let state = self.state();
            state.null.is_none() || state.trouble.is_some()
        };
        let Some(open) = store.upgrade() else { return Ok(()) };
        let kept: Vec<GroupId> = open.view()?.groups()?.iter().map(|group| group.id).collect();
        drop(open);
        folder::sweep(&self.folder, &kept).map_err(|source| Fault::Folder { path: self.folder.clone(), source })?;
        walks.retain(|group, _| kept.contains(group));
        self.state().groups.retain(|group, _| kept.contains(group));
        for group in &kept {
            if !walks.contains_key(group) {
                let path = folder::prepare(&self.folder, group, &self.embedder.id())
                    .map_err(|source| Fault::Folder { path: self.folder.clone(), source })?;
                let vectors = Arc::new(RwLock::new(Vectors::open(&path, &self.embedder.id())?));
                self.state().groups.insert(*group, (Arc::clone(&vectors), Progress::default()));
                walks.insert(*group, Walk::new(*group, vectors));
            }
        }
        // Also of one that does not serve it is said how far it is.
        for (group, walk) in &mut *walks {
            let Some(open) = store.upgrade() else { return Ok(()) };
            walk.count(&open)?;
            drop(open);
            self.note(*group, walk);
        }
        if is_new {
            self.greet()?;
        }
        let dimensions = self.state().null.map(|null| null.dimensions);
        for walk in walks.values_mut() {
            walk.begin();
            walk.check(dimensions.unwrap_or_default())?;
        }
        // One batch of each group after the other, so that a large one holds up none.
        let mut is_over = false;
        while !is_over {
            is_over = true;
            for (group, walk) in &mut *walks {
                is_over &= self.step(store, *group, walk, pace)?;
                if self.state().stop {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Asks what unrelated texts are to the model: the first thing it is asked, and the first after a failure.
    fn greet(&self) -> Result<(), Fault> {
        let null = Null::measure(self.embedder.as_ref(), self.batch, Duration::from_millis(limits::EMBED_TIMEOUT_MS))?;
        let mut state = self.state();
        if state.trouble.take().is_some() {
            tracing::info!(model = self.embedder.name(), "the embedder is back");
        }
        state.null = Some(null);
        Ok(())
    }

    /// Embeds the next batch of a group; whether there is none.
    fn step(&self, store: &Weak<Store>, group: GroupId, walk: &mut Walk, pace: &mut Pace) -> Result<bool, Fault> {
        // Held while rows are read, and not while the embedder is waited for.
        let Some(open) = store.upgrade() else { return Ok(true) };
        let is_over = walk.fill(&open, pace.texts)?;
        drop(open);
        self.note(group, walk);
        if is_over {
            folder::prune(&self.folder, &group, &self.embedder.id());
            return Ok(true);
        }
        self.let_queries_pass();
        self.state().working = true;
        let made = pace.embed(self.embedder.as_ref(), walk);
        self.state().working = false;
        walk.keep(&made?)?;
        self.note(group, walk);
        Ok(false)
    }

    fn note(&self, group: GroupId, walk: &Walk) {
        if let Some((_, progress)) = self.state().groups.get_mut(&group) {
            *progress = walk.progress();
        }
    }

    fn let_queries_pass(&self) {
        let state = self.state();
        let waits = |state: &mut State| state.asking > 0 && !state.stop;
        drop(self.changed.wait_timeout_while(state, self.query_timeout, waits));
    }

    fn failed(&self, fault: &Fault) {
        let mut state = self.state();
        let failures = state.trouble.as_ref().map_or(0, |trouble| trouble.failures) + 1;
        let doubled = limits::EMBED_RETRY_MS.saturating_mul(1 << (failures - 1).min(16));
        let pause_ms = match fault.verdict() {
            Verdict::Operator => limits::EMBED_RETRY_MOST_MS,
            Verdict::Wait | Verdict::Shorten => doubled.min(limits::EMBED_RETRY_MOST_MS),
        };
        let what = fault.to_string();
        if state.trouble.as_ref().is_none_or(|trouble| trouble.what != what) {
            tracing::warn!(model = self.embedder.name(), error = %what, pause_ms, "the embedder does not serve: {}", fault.remedy());
        }
        let until = Instant::now() + Duration::from_millis(pause_ms);
        state.trouble = Some(Trouble { what, remedy: fault.remedy(), failures, until });
        drop(state);
        self.changed.notify_all();
    }
}

/// How many texts are sent at once: as many as take [`limits::EMBED_BATCH_MS`].
struct Pace {
    texts: usize,
    most: usize,
}

/// Claims, each with its vector; without one where the embedder refuses it.
type Made = Vec<([u8; 32], Option<Vec<f32>>)>;

impl Pace {
    /// Embeds what is next. A text that is refused is sent alone, then by half, and then given up, if others are taken.
    fn embed(&mut self, embedder: &dyn Embedder, walk: &mut Walk) -> Result<Made, EmbedError> {
        let patience = Duration::from_millis(limits::EMBED_TIMEOUT_MS);
        loop {
            let next = walk.next(self.texts);
            let texts: Vec<&str> = next.iter().map(|(_, text)| text.as_str()).collect();
            let started = Instant::now();
            let error = match embedder.embed(Side::Document, &texts, patience) {
                Ok(made) => {
                    let took_ms = started.elapsed().as_millis() as u64;
                    if took_ms > limits::EMBED_BATCH_MS {
                        self.texts = (self.texts / 2).max(1);
                    } else if took_ms < limits::EMBED_BATCH_MS / 2 {
                        self.texts = (self.texts * 2).min(self.most);
                    }
                    return Ok(next.iter().map(|(claim, _)| *claim).zip(made.into_iter().map(Some)).collect());
                }
                Err(error) => error,
            };
            match (error.verdict(), next.len()) {
                (Verdict::Operator, _) => return Err(error),
                (Verdict::Wait, count) => {
                    self.texts = (count / 2).max(1);
                    return Err(error);
                }
                (Verdict::Shorten, 2..) => self.texts = next.len() / 2,
                (Verdict::Shorten, _) if walk.shorten() => {}
                (Verdict::Shorten, _) => {
                    // Is it this text, or the embedder?
                    embedder.embed(Side::Document, &[UNRELATED[0]], patience)?;
                    let refused = walk.next(1).iter().map(|(claim, _)| (*claim, None)).collect();
                    tracing::info!(error = %error, "a claim stays without a vector: the embedder refuses it");
                    return Ok(refused);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
