//! The retrieval indexes of a node: one a group, each fed from the sequence in which blocks were stored.
//!
//! An index reads what it lacks when it is asked, so **a query finds every claim that was durable before it**, and starting
//! costs nothing until somebody asks. It holds words only; whether a claim stands is read from the state when it is found.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use crate::chain::transaction::Claim;
use crate::chain::{ClaimBody, ClaimId, GroupId, LineKey, TextHash, Transaction, rows};
use crate::identity::Identity;
use crate::knowledge::context::{Ask, Candidate, Context, compile};
use crate::knowledge::index::{Added, Embedded, Hit, Index, IndexError};
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
    ) -> Result<Context, AskError> {
        let group = self.group(id);
        let mut group = group.lock().unwrap_or_else(PoisonError::into_inner);
        group.catch_up(kv)?;
        group.answer(kv, question, embedded)
    }
}

/// One group's index, and how far it has read.
#[derive(Debug, Default)]
pub struct GroupIndex {
    index: Index,
    /// By document number: when its claim was published, and by which of `authors`.
    published: Vec<(u64, u32)>,
    authors: Vec<Identity>,
    author_numbers: BTreeMap<Identity, u32>,
    /// By document number: where the numbers of its tags end in `tags`.
    tag_ends: Vec<usize>,
    tags: Vec<u32>,
    tag_numbers: HashMap<String, u32>,
    next: u64,
    /// Claims whose words had not come when their block did.
    wordless: BTreeMap<ClaimId, Wordless>,
}

#[derive(Debug, Clone, Copy)]
struct Wordless {
    line: LineKey,
    index: u32,
    created_ms: u64,
    author: u32,
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
        let author = self.author_number(body.author);
        for (index, transaction) in (0..).zip(body.transactions()) {
            if let Transaction::Claim(Claim { rewarded, .. }) = transaction {
                let (created_ms, rewarded) = (body.time_ms, *rewarded);
                let wordless = Wordless { line: *line, index, created_ms, author, rewarded };
                self.add(kv, ClaimId::derive(id, index), wordless)?;
            }
        }
        Ok(())
    }

    fn author_number(&mut self, author: Identity) -> u32 {
        let Self { authors, author_numbers, .. } = self;
        *author_numbers.entry(author).or_insert_with(|| {
            authors.push(author);
            u32::try_from(authors.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn add(&mut self, kv: &dyn Read, claim: ClaimId, wordless: Wordless) -> Result<(), AskError> {
        let object = rows::object(kv, &wordless.line, wordless.index)?;
        match object.map(|bytes| ClaimBody::of_claim(&bytes, wordless.rewarded.as_ref())) {
            Some(Some(ClaimBody { title, text, tags })) => {
                let document = Document { title, text, tags };
                // Nothing is ever removed, so that a new document has the next number.
                if let Added::New(_) = self.index.add(*claim.as_bytes(), &document)? {
                    self.published.push((wordless.created_ms, wordless.author));
                    for tag in document.tags {
                        let next = self.tag_numbers.len() as u32;
                        self.tags.push(*self.tag_numbers.entry(tag).or_insert(next));
                    }
                    self.tag_ends.push(self.tags.len());
                }
            }
            // An object that is no claim body, or not the text to be rewarded, is its author's mistake, and has no words.
            Some(None) => {}
            None => {
                self.wordless.insert(claim, wordless);
            }
        }
        Ok(())
    }

    fn answer(&self, kv: &dyn Read, question: &Question, embedded: Option<Embedded<'_>>) -> Result<Context, AskError> {
        let author = question.author.map(|author| self.author_numbers.get(&author).copied().unwrap_or(u32::MAX));
        let mut wanted_tags = Vec::new();
        for tag in &question.tags {
            match self.tag_numbers.get(tag) {
                Some(number) => wanted_tags.push(*number),
                None => return Ok(compile([], &question.ask)),
            }
        }
        // Asked of every document that may be among the best, so it reads no row.
        let passes = |doc: u32| {
            let (created_ms, by) = self.published.get(doc as usize).copied().unwrap_or((0, u32::MAX));
            question.since_ms.is_none_or(|since| created_ms >= since)
                && question.until_ms.is_none_or(|until| created_ms <= until)
                && author.is_none_or(|author| by == author)
                && wanted_tags.iter().all(|tag| self.tags(doc).contains(tag))
        };
        let wanted = question.ask.top_k.min(limits::CONTEXT_TOP_K);
        let mut depth = wanted * 4 + 16;
        let mut gone: HashSet<u32> = HashSet::new();
        loop {
            let stands = |doc: u32| !gone.contains(&doc) && passes(doc);
            let hits = self.index.search_with(&question.query, depth, &stands, embedded);
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

    /// The numbers of a document's tags.
    fn tags(&self, doc: u32) -> &[u32] {
        let end_of = |doc: u32| self.tag_ends.get(doc as usize).copied().unwrap_or_default();
        let start = doc.checked_sub(1).map_or(0, end_of);
        self.tags.get(start..end_of(doc)).unwrap_or_default()
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
