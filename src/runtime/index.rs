//! The retrieval indexes of a node: one a group, each fed from the sequence in which blocks were stored.
//!
//! An index reads what it lacks when it is asked, so **a query finds every claim that was durable before it**, and starting
//! costs nothing until somebody asks. It holds words only; whether a claim stands is read from the state when it is found.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::transaction::Claim;
use crate::chain::{ClaimBody, ClaimId, GroupId, LineKey, TextHash, Transaction, rows};
use crate::identity::Identity;
use crate::knowledge::context::{Ask, Candidate, Context, compile};
use crate::knowledge::index::{Filter, Hit, Index, IndexError};
use crate::knowledge::{Document, Metadata};
use crate::kv::{Direction, KvError, Read};
use crate::ledger::query;
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
    wordless: BTreeMap<ClaimId, Wordless>,
}

#[derive(Debug, Clone, Copy)]
struct Wordless {
    line: LineKey,
    index: u32,
    created_ms: u64,
    author: Identity,
    rewarded: Option<TextHash>,
}

impl GroupIndex {
    /// Reads what was stored since.
    fn catch_up(&mut self, kv: &dyn Read) -> Result<(), AskError> {
        loop {
            let mut lines: Vec<LineKey> = Vec::new();
            rows::log(kv, self.next, Direction::Up, &mut |_, line| {
                lines.push(line);
                if lines.len() < limits::PAGE_ROWS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for line in &lines {
                self.read(kv, line)?;
                self.next += 1;
            }
            if lines.len() < limits::PAGE_ROWS {
                break;
            }
        }
        for (claim, wordless) in std::mem::take(&mut self.wordless) {
            self.add(kv, claim, wordless)?;
        }
        Ok(())
    }

    fn read(&mut self, kv: &dyn Read, line: &LineKey) -> Result<(), AskError> {
        let (id, body) = rows::body_and_id(kv, line)?;
        let author = body.author;
        for (index, transaction) in (0..).zip(body.transactions()) {
            if let Transaction::Claim(Claim { rewarded, .. }) = transaction {
                let (created_ms, rewarded) = (body.time_ms, *rewarded);
                let wordless = Wordless { line: *line, index, created_ms, author, rewarded };
                self.add(kv, ClaimId::derive(id, index), wordless)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, kv: &dyn Read, claim: ClaimId, wordless: Wordless) -> Result<(), AskError> {
        let object = rows::object(kv, &wordless.line, wordless.index)?;
        match object.map(|bytes| ClaimBody::of_claim(&bytes, wordless.rewarded.as_ref())) {
            Some(Some(ClaimBody { title, text, tags })) => {
                let document = Document { title, text, tags };
                let metadata = Metadata { author: wordless.author, created_ms: wordless.created_ms };
                self.index.add(*claim.as_bytes(), &document, &metadata, self.next)?;
            }
            // An object that is no claim body, or not the text to be rewarded, is its author's mistake, and has no words.
            Some(None) => {}
            None => {
                self.wordless.insert(claim, wordless);
            }
        }
        Ok(())
    }

    fn answer(&self, kv: &dyn Read, question: &Question) -> Result<Context, AskError> {
        let wanted = question.ask.top_k.min(limits::CONTEXT_TOP_K);
        let mut depth = wanted * 4 + 16;
        let mut gone: HashSet<u32> = HashSet::new();
        loop {
            let only = |doc: u32| !gone.contains(&doc);
            let filter = Filter {
                since_ms: question.since_ms,
                until_ms: question.until_ms,
                author: question.author,
                tags: &question.tags,
                only: Some(&only),
            };
            let hits = self.index.search(&question.query, depth, &filter);
            let (found, before) = (hits.len(), gone.len());
            let candidates = self.candidates(kv, hits, &mut gone)?;
            // Retracted claims are seen only here: where they crowd the rest out, look again without them.
            let enough = found < depth || candidates.len() >= wanted * 2 || gone.len() == before;
            if enough || gone.len() >= limits::CONTEXT_DEPTH {
                return Ok(compile(candidates, &question.ask));
            }
            depth = limits::VIEW_DEPTH;
        }
    }

    /// The claims of hits, as far as they stand; the others go into `gone`.
    fn candidates(&self, kv: &dyn Read, hits: Vec<Hit>, gone: &mut HashSet<u32>) -> Result<Vec<Candidate>, KvError> {
        let mut candidates = Vec::with_capacity(hits.len());
        for hit in hits {
            let claim =
                query::claim(kv, &ClaimId::from_bytes(hit.key))?.filter(|claim| claim.row.retracted_by.is_none());
            let Some((row, body)) = claim.and_then(|claim| Some((claim.row, claim.body?))) else {
                gone.insert(hit.doc);
                continue;
            };
            candidates.push(Candidate {
                document: Document { title: body.title, text: body.text, tags: body.tags },
                metadata: Metadata { author: row.author, created_ms: row.created_ms },
                stems: self.index.stems(hit.doc),
                hit,
            });
        }
        Ok(candidates)
    }
}
