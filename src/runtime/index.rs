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

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::chain::{ClaimId, Evidence, GroupId};
use crate::identity::Identity;
use crate::knowledge::context::{Ask, Candidate, Context, compile};
use crate::knowledge::index::{Embedded, Filter, Hit, Index, IndexError};
use crate::knowledge::{ClaimKey, Document, Metadata};
use crate::kv::{KvError, Read};
use crate::ledger::query;
use crate::limits;
use crate::store::Store;
use group::{GroupIndex, Seen};
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
    /// How much of the history it has, in percent; none where it is all of it.
    pub indexed_percent: Option<u8>,
    /// Why its files cannot be written.
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
struct Slot(Arc<Mutex<Open>>);

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
        let slot = groups.entry(id).or_insert_with(|| Slot(Arc::new(Mutex::new(Open { path: path(), index: None }))));
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

    /// How the indexes are that were opened.
    #[must_use]
    pub fn conditions(&self) -> Vec<Condition> {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let condition = |(group, slot): (GroupId, Slot)| {
            slot.with(|index| Condition {
                group,
                claims: index.snapshot().len(),
                indexed_percent: index.percent(),
                trouble: index.trouble().map(str::to_owned),
            })
        };
        groups.into_iter().filter_map(condition).collect()
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
        let (slot, seen) = (self.group(id), Seen::of(kv)?);
        let (index, gone, indexed_percent) = loop {
            let mut slot = slot.lock();
            let group = slot.open(kv)?;
            if !group.follow(kv, &seen)? {
                break (group.snapshot(), group.gone(&seen, question.now_ms), group.percent());
            }
            drop(slot);
            self.bell.ring(id);
        };
        self.bell.ring(id);
        let asking = Asking { kv, question, index: &index, embedded };
        let (context, new) = asking.answer(&gone)?;
        if !new.is_empty() {
            slot.with(|group| group.note_gone(&seen, question.now_ms, new.into_iter()));
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
    fn answer(&self, gone: &HashSet<ClaimKey>) -> Result<(Context, HashSet<ClaimKey>), AskError> {
        let Self { question, index, embedded, .. } = self;
        let wanted = question.ask.top_k.min(limits::CONTEXT_TOP_K);
        let mut depth = wanted * 4 + 16;
        let mut new: HashSet<ClaimKey> = HashSet::new();
        let thread = question.thread.map(|root| query::thread(self.kv, &root)).transpose()?;
        loop {
            let in_thread =
                |key: &ClaimKey| thread.as_ref().is_none_or(|thread| thread.contains(&ClaimId::from_bytes(*key)));
            let stands = |key: &ClaimKey| !gone.contains(key) && !new.contains(key);
            let only = |doc: u32| index.key(doc).is_some_and(|key| in_thread(key) && stands(key));
            let filter = Filter {
                since_ms: question.since_ms,
                until_ms: question.until_ms,
                author: question.author,
                tags: &question.tags,
                only: (thread.is_some() || !gone.is_empty() || !new.is_empty()).then_some(&only),
            };
            let hits = index.search_with(&question.query, depth, &filter, *embedded);
            let (found, before) = (hits.len(), new.len());
            let candidates = self.candidates(hits, &mut new)?;
            // Retracted, superseded and expired claims are seen only here: where they crowd the rest out, look again without them.
            let enough = found < depth || candidates.len() >= wanted * 2 || new.len() == before;
            if enough || new.len() >= limits::CONTEXT_DEPTH {
                return Ok((compile(candidates, &question.ask), new));
            }
            depth = depth.max(limits::VIEW_DEPTH);
        }
    }

    /// The claims of hits, as far as they stand; the others go into `gone`.
    fn candidates(&self, hits: Vec<Hit>, gone: &mut HashSet<ClaimKey>) -> Result<Vec<Candidate>, KvError> {
        let mut candidates = Vec::with_capacity(hits.len());
        for hit in hits {
            let (id, now_ms) = (ClaimId::from_bytes(hit.key), self.question.now_ms);
            let claim = query::claim(self.kv, &id)?.filter(|claim| claim.row.retracted_by.is_none());
            let claim = claim.and_then(|claim| Some((claim.row, claim.body.filter(|body| !body.is_expired(now_ms))?)));
            let is_superseded = claim.is_some() && !query::superseded_by(self.kv, &id, 1)?.is_empty();
            let Some((row, body)) = claim.filter(|_| !is_superseded) else {
                gone.insert(hit.key);
                continue;
            };
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
