//! The thread that keeps the indexes: it writes and merges their files, checks them, fills their gaps, and reads along where much comes
//! and nobody asks.
//!
//! It is told which groups have news, does one thing for each of them in turn, and waits. Nothing depends on when it does so: whoever asks
//! reads what is missing.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rayon::prelude::*;

use super::folder::Place;
use super::group::{Claims, Job, Progress, Seen};
use super::{AskError, Indexes, Slot, shelf};
use crate::chain::GroupId;
use crate::knowledge::segment::Segment;
use crate::kv::KvError;
use crate::limits;
use crate::node::engine::Groups;
use crate::store::Store;

/// What the thread is told.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Groups with news: at most as many as there are groups.
    groups: BTreeSet<GroupId>,
    is_stopped: bool,
}

impl Bell {
    /// Tells that a group has news.
    pub(super) fn ring(&self, group: GroupId) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).groups.insert(group);
        self.rung.notify_one();
    }

    /// Tells the thread to end soon.
    pub(super) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_stopped = true;
        self.rung.notify_one();
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_stopped
    }

    /// Waits for news, or until what has failed is to be tried again; none when it is time to end.
    fn wait(&self) -> Option<BTreeSet<GroupId>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |state: &mut State| state.groups.is_empty() && !state.is_stopped;
        let pause = Duration::from_millis(limits::INDEX_RETRY_MS);
        let (mut state, _) =
            self.rung.wait_timeout_while(state, pause, waiting).unwrap_or_else(PoisonError::into_inner);
        (!state.is_stopped).then(|| std::mem::take(&mut state.groups))
    }

    /// Lets news gather for a moment.
    fn rest(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = Duration::from_millis(limits::INDEX_PAUSE_MS);
        drop(self.rung.wait_timeout_while(state, pause, |state| !state.is_stopped));
    }
}

/// Why a step was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Store(#[from] KvError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the files of an index: {0}")]
    Files(#[from] io::Error),
}

/// What came of reading a part of the log.
#[derive(Default)]
struct Part {
    done: Range<u64>,
    segments: Vec<Segment>,
    wordless: Vec<Place>,
}

/// The thread's own.
pub(super) struct Keeper {
    pub(super) indexes: Indexes,
    store: Arc<Store>,
}

/// Starts the thread.
///
/// # Errors
/// [`io::Error`] where the system gives none.
pub(super) fn start(indexes: Indexes, store: Arc<Store>) -> io::Result<JoinHandle<()>> {
    let keeper = Keeper::new(indexes, store);
    if let Err(error) = keeper.begin() {
        tracing::warn!(%error, "indexes are opened when they are asked");
    }
    std::thread::Builder::new().name("lbm-index".into()).spawn(move || keeper.work())
}

impl Keeper {
    pub(super) const fn new(indexes: Indexes, store: Arc<Store>) -> Self {
        Self { indexes, store }
    }

    fn work(&self) {
        while let Some(mut groups) = self.indexes.bell.wait() {
            groups.extend(self.indexes.troubled());
            for id in groups {
                match self.step(id) {
                    Ok(true) => self.indexes.bell.ring(id),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, group = %id, "an index is kept in memory for now"),
                }
                if self.indexes.bell.is_stopped() {
                    return;
                }
            }
            self.indexes.bell.rest();
        }
    }

    /// Wants a look at every group, and removes the folders of those that are not kept: before anybody can join one.
    pub(super) fn begin(&self) -> Result<(), KeepError> {
        let kept: Vec<GroupId> = self.store.view()?.groups()?.into_iter().map(|kept| kept.id).collect();
        if let Some(root) = &self.indexes.root {
            for entry in std::fs::read_dir(root).into_iter().flatten() {
                let entry = entry?;
                if !kept.iter().any(|id| entry.file_name() == id.to_string().as_str()) {
                    std::fs::remove_dir_all(entry.path())?;
                }
            }
        }
        kept.into_iter().for_each(|id| self.indexes.bell.ring(id));
        Ok(())
    }

    /// Does one thing for a group; whether there may be more.
    pub(super) fn step(&self, id: GroupId) -> Result<bool, KeepError> {
        let view = self.store.view()?;
        let Some(kv) = view.group(&id)? else { return Ok(false) };
        let seen = Seen::of(kv.as_ref())?;
        let slot = self.indexes.group(id);
        let job = {
            let mut slot = slot.lock();
            let index = slot.open(kv.as_ref())?;
            if index.behind(&seen) >= limits::INDEX_FOLLOW_BLOCKS {
                index.follow(kv.as_ref(), &seen)?;
                return Ok(true);
            }
            index.job()
        };
        let Some(job) = job else { return Ok(false) };
        match job {
            Job::Shelf(shelf::Job::Check(segment), _) => {
                let is_whole = segment.is_whole();
                let changed = slot.with(|index| index.checked(&segment, is_whole)).unwrap_or_default();
                if changed {
                    self.write_manifest(&slot, id)?;
                }
            }
            Job::Shelf(shelf::Job::Flush(of) | shelf::Job::Merge(of), read) => self.write(&slot, id, &of, read)?,
            Job::Fill(range) => self.fill(&slot, id, range)?,
            Job::Note => self.write_manifest(&slot, id)?,
        }
        Ok(true)
    }

    fn write(&self, slot: &Slot, id: GroupId, of: &[Segment], read: Option<Progress>) -> Result<(), KeepError> {
        let Some(Some(folder)) = slot.with(|index| index.folder()) else { return Ok(()) };
        let file = match of {
            [] => None,
            of => match folder.write(of) {
                Ok(file) => Some(file),
                Err(error) => {
                    slot.with(|index| index.suffer(&error));
                    return Err(error.into());
                }
            },
        };
        slot.with(|index| index.wrote(of, file, read));
        self.write_manifest(slot, id)
    }

    fn write_manifest(&self, slot: &Slot, id: GroupId) -> Result<(), KeepError> {
        let view = self.store.view()?;
        let Some(kv) = view.group(&id)? else { return Ok(()) };
        let Some((Some(folder), manifest)) = slot.with(|index| (index.folder(), index.manifest(kv.as_ref()))) else {
            return Ok(());
        };
        let written = folder.write_manifest(&manifest?);
        // A group that was left meanwhile has no folder any more. Where it was joined again it has a new one: the manifest's marks tell
        // whether that is of the same log.
        match slot.with(|index| index.noted(&written)) {
            Some(()) => Ok(written?),
            None => Ok(()),
        }
    }

    /// Reads a part of the log, several threads side by side, and makes a file of it.
    fn fill(&self, slot: &Slot, id: GroupId, range: Range<u64>) -> Result<(), KeepError> {
        let Some((Some(folder), known)) = slot.with(|index| index.to_fill(&range)) else { return Ok(()) };
        let parts: Vec<Range<u64>> = (range.start..range.end)
            .step_by(limits::INDEX_FILL_PART_BLOCKS)
            .map(|start| start..range.end.min(start + limits::INDEX_FILL_PART_BLOCKS as u64))
            .collect();
        let read = |part: &Range<u64>| -> Result<Part, KvError> {
            let view = self.store.view()?;
            let mut claims = Claims::default();
            let Some(kv) = view.group(&id)? else { return Ok(Part::default()) };
            let end = claims.read_log(kv.as_ref(), part.start, part.end)?;
            claims.ready.retain(|one| known.find(&one.key).is_none());
            Ok(Part { done: part.start..end, segments: claims.build(), wordless: claims.wordless })
        };
        let threads = std::thread::available_parallelism().map_or(1, |all| all.get().saturating_sub(1).max(1));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)?;
        let (mut done, mut segments, mut wordless) = (Vec::new(), Vec::new(), Vec::new());
        for part in pool.install(|| parts.par_iter().map(read).collect::<Result<Vec<_>, _>>())? {
            done.push(part.done);
            segments.extend(part.segments);
            wordless.extend(part.wordless);
        }
        let file = match segments.as_slice() {
            [] => None,
            segments => match folder.write(segments) {
                Ok(file) => Some(file),
                Err(error) => {
                    slot.with(|index| index.suffer(&error));
                    return Err(error.into());
                }
            },
        };
        slot.with(|index| index.filled(&done, wordless, file));
        self.write_manifest(slot, id)
    }
}
