//! The retrieval indexes of a node: one a group, each fed from the sequence in which blocks were stored.
//!
//! An index reads what it lacks when it is asked, so **a query finds every claim that was durable before it**. It holds words only;
//! whether a claim stands is read from the state when it is found. Its segments lie in files beside the database ([`folder`]), which a
//! thread of its own keeps (`keeper`): a start opens them and reads on where they end. An index that is missing, damaged or of another
//! version is rebuilt there while queries are answered from what there is.

pub mod folder;
mod group;
mod keeper;
pub mod shelf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

use crate::chain::{ClaimId, Evidence, GroupId};
use crate::identity::Identity;
use crate::knowledge::context::{Ask, Candidate, Context, compile};
use crate::knowledge::index::{Embedded, Filter, Hit, Index, IndexError};
use crate::knowledge::{ClaimKey, Document, Metadata};
use crate::kv::{KvError, Read};
use crate::ledger::query;
use crate::limits;
use crate::node::engine::Groups as _;
use crate::store::{Kept, Store, View};
use group::{Fallen, GroupIndex, Keys, Seen};
use keeper::Bell;

/// What is asked of a group's knowledge.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// In words.
    pub query: String,
    /// Claims and tokens at most.
    pub ask: Ask,
    /// Only claims from this time on, milliseconds since 1970 UTC.
    pub since_ms: Option<u64>,
    /// Only claims up to this time.
    pub until_ms: Option<u64>,
    /// Only claims that have all of these tags.
    pub tags: Vec<String>,
    /// Only claims of this author.
    pub author: Option<Identity>,
    /// Only claims of the thread with this root.
    pub thread: Option<ClaimId>,
    /// Only claims that are valid at this time.
    pub now_ms: u64,
}

impl Question {
    /// Whether it asks for more than words.
    const fn is_filtered(&self) -> bool {
        let Self { since_ms, until_ms, tags, author, thread, .. } = self;
        since_ms.is_some() || until_ms.is_some() || !tags.is_empty() || author.is_some() || thread.is_some()
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] KvError),
    /// The index is full.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// What was found.
    pub context: Context,
    /// How much of the group's history was looked at, in percent; none where it was all of it.
    pub indexed_percent: Option<u8>,
}

/// How the index of a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which group.
    pub group: GroupId,
    /// Claims in it.
    pub claims: usize,
    /// Blocks that it has not read yet: whoever asks next has them read.
    pub behind: u64,
    /// How much of the history it has, in percent; none where it is all of it.
    pub indexed_percent: Option<u8>,
    /// What is wrong with its files.
    pub trouble: Option<String>,
}

/// The indexes of all groups.
#[derive(Debug, Default, Clone)]
pub struct Indexes {
    groups: Arc<Mutex<BTreeMap<GroupId, Slot>>>,
    /// Where their folders are; none for indexes in memory.
    root: Option<PathBuf>,
    bell: Arc<Bell>,
}

/// The place of a group's index, which is opened when it is first needed.
#[derive(Debug, Default, Clone)]
struct Slot(Arc<Mutex<Open>>, Arc<Mutex<Option<Condition>>>);

#[derive(Debug, Default)]
struct Open {
    path: Option<PathBuf>,
    index: Option<GroupIndex>,
}

impl Open {
    fn open(&mut self, kv: &dyn Read) -> Result<&mut GroupIndex, KvError> {
        let index = match self.index.take() {
            Some(index) => index,
            None => GroupIndex::open(self.path.as_deref(), kv)?,
        };
        Ok(self.index.insert(index))
    }
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with an index that is open, and whose group was not left.
    fn with<T>(&self, act: impl FnOnce(&mut GroupIndex) -> T) -> Option<T> {
        self.lock().index.as_mut().filter(|index| !index.is_closed()).map(act)
    }

    /// How an index is; how it was where it is at work, and none where it was never seen open.
    fn look(&self, group: GroupId, seen: &Seen) -> Option<Condition> {
        let mut last = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match self.0.try_lock() {
            Ok(open) => Some(open),
            Err(TryLockError::Poisoned(open)) => Some(open.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(index) = now.as_ref().and_then(|open| open.index.as_ref()) {
            *last = Some(Condition {
                group,
                claims: index.snapshot().len(),
                behind: index.behind(seen),
                indexed_percent: index.percent(),
                trouble: index.trouble(),
            });
        }
        last.clone()
    }
}

impl Indexes {
    /// Indexes whose folders are in `root`, and the thread that keeps them.
    ///
    /// # Errors
    /// [`std::io::Error`] where the system gives no thread.
    pub fn start(root: PathBuf, store: Arc<Store>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let indexes = Self::in_folder(root);
        let thread = keeper::start(indexes.clone(), store)?;
        Ok((indexes, thread))
    }

    fn in_folder(root: PathBuf) -> Self {
        Self { root: Some(root), ..Self::default() }
    }

    /// Has the thread end.
    pub fn stop(&self) {
        self.bell.stop();
    }

    /// Tells that blocks of a group were stored.
    pub fn nudge(&self, id: GroupId) {
        self.bell.ring(id);
    }

    fn group(&self, id: GroupId) -> Slot {
        let path = || self.root.as_ref().map(|root| root.join(id.to_string()));
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = groups
            .entry(id)
            .or_insert_with(|| Slot(Arc::new(Mutex::new(Open { path: path(), index: None })), Arc::default()));
        slot.clone()
    }

    /// Drops the index of a group that is left, and its files.
    pub fn forget(&self, id: &GroupId) {
        let slot = self.groups.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(slot) = slot
            && let Some(index) = &mut slot.lock().index
        {
            index.close();
        }
        if let Some(root) = &self.root
            && let Err(error) = std::fs::remove_dir_all(root.join(id.to_string()))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, group = %id, "the index of a group that was left is removed at the next start");
        }
    }

    /// How the indexes of all groups of a view are now. **None is waited for**: one that is at work is as it was last seen, and what none has
    /// read yet is counted.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    pub fn conditions(&self, view: &View) -> Result<Vec<Condition>, KvError> {
        let mut conditions = Vec::new();
        for Kept { id: group, .. } in view.groups()? {
            let Some(kv) = view.group(&group)? else { continue };
            let seen = Seen::of(kv.as_ref())?;
            let condition = self.group(group).look(group, &seen);
            if condition.as_ref().is_none_or(|condition| condition.trouble.is_some()) {
                self.bell.ring(group);
            }
            let unread = Condition { group, claims: 0, behind: seen.blocks, indexed_percent: None, trouble: None };
            conditions.push(condition.unwrap_or(unread));
        }
        Ok(conditions)
    }

    /// Claims that the indexes have read so far, of groups whose index is open: nothing is read for this.
    #[must_use]
    pub fn claims(&self) -> usize {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        groups.into_values().filter_map(|slot| slot.with(|index| index.snapshot().len())).sum()
    }

    /// Groups whose files could not be written.
    fn troubled(&self) -> Vec<GroupId> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_troubled = |slot: &Slot| slot.with(|index| index.has_failed()).unwrap_or_default();
        groups.into_iter().filter(|(_, slot)| is_troubled(slot)).map(|(group, _)| group).collect()
    }

    /// Has an index read all that a view has, and looks at it.
    fn read_on<T>(
        &self,
        id: GroupId,
        kv: &dyn Read,
        seen: &Seen,
        look: impl FnOnce(&mut GroupIndex) -> T,
    ) -> Result<T, AskError> {
        let slot = self.group(id);
        loop {
            let mut slot = slot.lock();
            let group = slot.open(kv)?;
            if !group.follow(kv, seen)? {
                return Ok(look(group));
            }
            drop(slot);
            self.bell.ring(id);
        }
    }

    /// Answers a question on one view of a group, with an embedder where one serves.
    ///
    /// # Errors
    /// [`AskError`] where the store fails or the index is full.
    pub fn answer(
        &self,
        id: GroupId,
        kv: &dyn Read,
        question: &Question,
        embedded: Option<Embedded<'_>>,
    ) -> Result<Answer, AskError> {
        let seen = Seen::of(kv)?;
        let look = |group: &mut GroupIndex| (group.snapshot(), group.gone(&seen), group.percent());
        let (index, gone, indexed_percent) = self.read_on(id, kv, &seen, look)?;
        self.bell.ring(id);
        let asking = Asking { kv, question, index: &index, embedded };
        let (context, fallen) = asking.answer(&gone)?;
        if !fallen.keys.is_empty() {
            self.group(id).with(|group| group.note_gone(&seen, fallen));
        }
        Ok(Answer { context, indexed_percent })
    }
}

/// A question on one view and one snapshot.
struct Asking<'a> {
    kv: &'a dyn Read,
    question: &'a Question,
    index: &'a Index,
    embedded: Option<Embedded<'a>>,
}

impl Asking<'_> {
    /// The answer, and claims that were found and do not stand. `gone` are those of which that is known.
    fn answer(&self, gone: &Keys) -> Result<(Context, Fallen), AskError> {
        let Self { question, index, embedded, .. } = self;
        let wanted = question.ask.top_k.min(limits::CONTEXT_TOP_K);
        let mut depth = wanted * 4 + 16;
        let mut new = Fallen::default();
        let now_ms = question.now_ms;
        let is_known = !gone.is_empty();
        let thread = question.thread.map(|root| query::thread(self.kv, &root)).transpose()?;
        loop {
            let in_thread =
                |key: &ClaimKey| thread.as_ref().is_none_or(|thread| thread.contains(&ClaimId::from_bytes(*key)));
            let stands =
                |key: &ClaimKey| gone.get(key).is_none_or(|from| *from > now_ms) && !new.keys.contains_key(key);
            let only = |doc: u32| index.key(doc).is_some_and(|key| in_thread(key) && stands(key));
            let in_asked_thread = |doc: u32| index.key(doc).is_some_and(in_thread);
            // What was asked for, whether it stands or not.
            let asked = Filter {
                since_ms: question.since_ms,
                until_ms: question.until_ms,
                author: question.author,
                tags: &question.tags,
                only: thread.is_some().then_some(&in_asked_thread),
            };
            let is_narrowed = thread.is_some() || is_known || !new.keys.is_empty();
            let filter = Filter { only: is_narrowed.then_some(&only), ..asked };
            let hits = index.search_with(&question.query, depth, &filter, *embedded);
            let (found, before) = (hits.len(), new.keys.len());
            let candidates = self.candidates(hits, &mut new)?;
            // Retracted, superseded and expired claims are seen only here: where they crowd the rest out, look again without them.
            let enough = found < depth || candidates.len() >= wanted * 2 || new.keys.len() == before;
            if enough || new.keys.len() >= limits::CONTEXT_DEPTH {
                if candidates.is_empty() && question.is_filtered() && !index.has_any(&asked) {
                    return Ok((Context::of_nothing_that_fits(&question.ask), new));
                }
                return Ok((compile(candidates, &question.ask), new));
            }
            depth = depth.max(limits::VIEW_DEPTH);
        }
    }

    /// The claims of hits, as far as they stand; the others go into `fallen`.
    fn candidates(&self, hits: Vec<Hit>, fallen: &mut Fallen) -> Result<Vec<Candidate>, KvError> {
        let mut candidates = Vec::with_capacity(hits.len());
        for hit in hits {
            let (id, now_ms) = (ClaimId::from_bytes(hit.key), self.question.now_ms);
            let Some(query::Claim { row, body: Some(body), .. }) = query::claim(self.kv, &id)? else {
                fallen.keys.insert(hit.key, 0);
                fallen.unknown.insert(hit.key);
                continue;
            };
            let falls = match body.valid_until_ms {
                _ if row.retracted_by.is_some() => Some(0),
                Some(until) if until <= now_ms => Some(until),
                _ => (!query::superseded_by(self.kv, &id, 1)?.is_empty()).then_some(0),
            };
            if let Some(from_ms) = falls {
                fallen.keys.insert(hit.key, from_ms);
                continue;
            }
            candidates.push(Candidate {
                document: Document { title: body.title, text: body.text, tags: body.tags },
                metadata: Metadata {
                    author: row.author,
                    created_ms: row.created_ms,
                    evidence: body.evidence.iter().map(shown).collect(),
                    valid_until_ms: body.valid_until_ms,
                },
                stems: self.index.stems(hit.doc),
                hit,
            });
        }
        Ok(candidates)
    }
}

/// A piece of evidence as a model reads it.
fn shown(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Command(command, Some(code)) => format!("command `{command}` ended with exit code {code}"),
        Evidence::Command(command, None) => format!("command `{command}`"),
        Evidence::Hash(hash) => format!("hash {hash}"),
        Evidence::Link(link) => format!("link {link}"),
        Evidence::Note(note) => note.clone(),
    }
}
