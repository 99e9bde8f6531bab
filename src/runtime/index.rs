//! The retrieval indexes of a node: one a group, each fed from the sequence in which blocks were stored.
//!
//! An index reads what it lacks when it is asked, so **a query finds every claim that was durable before it**, and starting
//! costs nothing until somebody asks. It holds words only; whether a claim stands is read from the state when it is found.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::{BlockId, ClaimBody, ClaimId, GroupId, LineKey, ObjectHash, Transaction, rows};
use crate::identity::Identity;
use crate::knowledge::context::{Ask, Candidate, Context, compile};
use crate::knowledge::index::{Index, IndexError};
use crate::knowledge::{Document, Metadata};
use crate::kv::{Direction, KvError, Read};
use crate::ledger::{query, state};
use crate::limits;

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

/// The indexes of all groups.
#[derive(Debug, Default, Clone)]
pub struct Indexes(Arc<Mutex<BTreeMap<GroupId, Arc<Mutex<GroupIndex>>>>>);

impl Indexes {
    /// The index of a group.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Arc<Mutex<GroupIndex>> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(groups.entry(id).or_default())
    }

    /// Drops the index of a group that is left.
    pub fn forget(&self, id: &GroupId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Answers a question on one view of a group.
    ///
    /// # Errors
    /// [`AskError`] where the store fails or the index is full.
    pub fn answer(&self, id: GroupId, kv: &dyn Read, question: &Question) -> Result<Context, AskError> {
        let group = self.group(id);
        let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
        group.catch_up(kv)?;
        group.answer(kv, question)
    }
}

/// One group's index, and how far it has read.
#[derive(Debug, Default)]
pub struct GroupIndex {
    index: Index,
    next: u64,
    /// Claims whose words had not come when their block did.
    wordless: BTreeMap<ClaimId, ObjectHash>,
}

impl GroupIndex {
    /// Reads what was stored since.
    fn catch_up(&mut self, kv: &dyn Read) -> Result<(), AskError> {
        let mut lines: Vec<LineKey> = Vec::new();
        rows::log(kv, self.next, Direction::Up, &mut |_, line| {
            lines.push(line);
            ControlFlow::Continue(())
        })?;
        for line in lines {
            let block = rows::block(kv, &line)?;
            let id = BlockId::of(&block.body);
            for (index, transaction) in (0..).zip(rows::body(kv, &line)?.transactions()) {
                if let Transaction::Claim(claim) = transaction {
                    self.add(kv, ClaimId::derive(id, index), claim.object)?;
                }
            }
            self.next += 1;
        }
        for (claim, object) in std::mem::take(&mut self.wordless) {
            self.add(kv, claim, object)?;
        }
        Ok(())
    }

    fn add(&mut self, kv: &dyn Read, claim: ClaimId, object: ObjectHash) -> Result<(), AskError> {
        match rows::object(kv, &object)?.map(|bytes| ClaimBody::decode(&bytes)) {
            Some(Ok(ClaimBody { title, text, tags })) => {
                self.index.add(*claim.as_bytes(), &Document { title, text, tags })?;
            }
            // An object that is no claim body is its author's mistake, and has no words.
            Some(Err(_)) => {}
            None => {
                self.wordless.insert(claim, object);
            }
        }
        Ok(())
    }

    fn answer(&self, kv: &dyn Read, question: &Question) -> Result<Context, AskError> {
        let failed = std::cell::RefCell::new(None);
        let passes = |doc: u32| {
            let verdict = || -> Result<bool, KvError> {
                let Some(key) = self.index.key(doc) else { return Ok(false) };
                let Some(row) = state::claim(kv, &ClaimId::from_bytes(*key))? else { return Ok(false) };
                Ok(row.retracted_by.is_none()
                    && question.since_ms.is_none_or(|since| row.created_ms >= since)
                    && question.until_ms.is_none_or(|until| row.created_ms <= until)
                    && question.author.is_none_or(|author| row.author == author))
            };
            verdict().unwrap_or_else(|error| {
                *failed.borrow_mut() = Some(error);
                false
            })
        };
        let wanted = question.ask.top_k.min(limits::CONTEXT_TOP_K);
        // Tags are in the words, so they are looked at last, on a longer list.
        let depth = if question.tags.is_empty() { wanted * 4 + 16 } else { limits::PAGE_ROWS };
        let hits = self.index.search(&question.query, depth, &passes);
        if let Some(error) = failed.take() {
            return Err(error.into());
        }
        let mut candidates = Vec::with_capacity(hits.len());
        for hit in hits {
            let Some(claim) = query::claim(kv, &ClaimId::from_bytes(hit.key))? else { continue };
            let Some(body) = claim.body else { continue };
            if !question.tags.iter().all(|tag| body.tags.contains(tag)) {
                continue;
            }
            candidates.push(Candidate {
                document: Document { title: body.title, text: body.text, tags: body.tags },
                metadata: Metadata { author: claim.row.author, created_ms: claim.row.created_ms },
                stems: self.index.stems(hit.doc),
                hit,
            });
        }
        Ok(compile(candidates, &question.ask))
    }
}
