//! The index in memory: documents under their keys, and the views that find them.
//!
//! Documents are numbered in the sequence of their arrival; a number is never given twice. Today there is one view, the words:
//! BM25F in its simple form (Robertson, Zaragoza & Taylor 2004, "Simple BM25 Extension to Multiple Weighted Fields"), where a word
//! counts by the weight of its field, in the term's frequency and in the document's length alike. Further views stand beside
//! it under the same numbers.
//!
//! Invariant: a search never shows a removed document, and scores as if it had never been added.

use super::dictionary::Numbers;
use super::inverted::{Bag, Inverted, Wanted};
use super::text::{Analyser, Kind, QueryTerm, Side};
use super::{ClaimKey, Document};
use crate::limits::{INDEX_DOCUMENTS, INDEX_PART_BYTES, QUERY_TERM_COUNT, QUERY_TERMS};

/// How often a word of each field counts.
const TEXT_WEIGHT: u32 = 1;
const TITLE_WEIGHT: u32 = 3;
const TAG_WEIGHT: u32 = 1;

/// Buried documents are vacuumed when they outnumber this and the standing ones.
const VACUUM_DOCUMENTS: usize = 4_096;

/// What [`Index::add`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The document is in the index under this number, and was not before.
    New(u32),
    /// The key was in the index already, under this number. Nothing changed.
    Known(u32),
}

/// Why a document cannot be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// One of the index's bounds is reached.
    #[error(
        "indexing a claim: the index is full at {documents} claims; retrieval goes on without this one, so move part of the groups to another node"
    )]
    Full {
        /// Documents it holds.
        documents: u32,
    },
}

/// A document that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its number.
    pub doc: u32,
    /// Its key.
    pub key: ClaimKey,
    /// BM25F score: comparable within one answer only.
    pub score: f32,
    /// How much of the query it has, in units of what it takes to be related (see [`related_from`]): comparable between answers, and
    /// below 1 where it has no more of the query than an unrelated document has by chance.
    pub relevance: f32,
    /// The words of the query that it has, in the query's spelling, the most telling first: why it was found.
    pub matched: Vec<String>,
}

/// The index.
#[derive(Debug, Default)]
pub struct Index {
    keys: Vec<ClaimKey>,
    /// From key to number, for documents that stand or can be revived.
    numbers: Numbers,
    /// By document: whether it stands.
    stands: Vec<bool>,
    standing: usize,
    /// Documents that do not stand but whose postings are still there.
    buried: usize,
    words: Inverted,
    bag: Bag,
    analyser: Analyser,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a document: the very next search finds it. A removed one that is added again is not analysed again, since its key
    /// names the same content.
    ///
    /// # Errors
    /// [`IndexError::Full`] where a bound of the index is reached.
    pub fn add(&mut self, key: ClaimKey, document: &Document) -> Result<Added, IndexError> {
        let hash = self.numbers.hash(&key);
        if let Some(doc) = self.find_hashed(hash, &key) {
            return Ok(if self.is_standing(doc) {
                Added::Known(doc)
            } else {
                self.words.revive(doc);
                self.buried -= 1;
                self.set_standing(doc, true);
                Added::New(doc)
            });
        }
        if self.keys.len() >= INDEX_DOCUMENTS || self.words.largest_part_bytes() > INDEX_PART_BYTES {
            return Err(IndexError::Full { documents: self.len() as u32 });
        }
        self.collect(document);
        let doc = self.words.push(&mut self.bag);
        self.keys.push(key);
        self.stands.push(false);
        self.set_standing(doc, true);
        self.numbers.add(hash, doc);
        Ok(Added::New(doc))
    }

    fn collect(&mut self, document: &Document) {
        let Self { analyser, words, bag, .. } = self;
        let mut field = |text: &str, weight| {
            let mut sink = |term: &str, _: &str, kind| words.collect(bag, term, weight, kind == Kind::Word);
            analyser.terms(text, Side::Document, &mut sink);
        };
        field(&document.text, TEXT_WEIGHT);
        field(document.title.as_deref().unwrap_or_default(), TITLE_WEIGHT);
        document.tags.iter().for_each(|tag| field(tag, TAG_WEIGHT));
    }

    /// Removes a document; whether it stood. The very next search does not find it.
    pub fn remove(&mut self, key: &ClaimKey) -> bool {
        let Some(doc) = self.find(key) else { return false };
        self.words.bury(doc);
        self.set_standing(doc, false);
        self.buried += 1;
        if self.buried > self.standing.max(VACUUM_DOCUMENTS) {
            self.vacuum();
        }
        true
    }

    /// Gives back the memory that removed documents hold. Numbers stay as they are.
    pub fn vacuum(&mut self) {
        let Self { words, stands, .. } = self;
        words.vacuum(|doc| stands.get(doc as usize).copied().unwrap_or_default());
        self.buried = 0;
        self.numbers = Numbers::default();
        for (doc, key) in self.keys.iter().enumerate().filter(|(doc, _)| self.stands.get(*doc) == Some(&true)) {
            let hash = self.numbers.hash(key);
            self.numbers.add(hash, doc as u32);
        }
    }

    fn set_standing(&mut self, doc: u32, stands: bool) {
        if let Some(slot) = self.stands.get_mut(doc as usize) {
            *slot = stands;
        }
        self.standing = self.standing.saturating_add_signed(if stands { 1 } else { -1 });
    }

    fn is_standing(&self, doc: u32) -> bool {
        self.stands.get(doc as usize).copied().unwrap_or_default()
    }

    fn find_hashed(&self, hash: u32, key: &ClaimKey) -> Option<u32> {
        self.numbers.find(hash, |doc| self.keys.get(doc as usize) == Some(key))
    }

    /// The number of a document that is in the index.
    #[must_use]
    pub fn find(&self, key: &ClaimKey) -> Option<u32> {
        self.find_hashed(self.numbers.hash(key), key).filter(|doc| self.is_standing(*doc))
    }

    /// The key of a number, whether its document still stands or not.
    #[must_use]
    pub fn key(&self, doc: u32) -> Option<&ClaimKey> {
        self.keys.get(doc as usize)
    }

    /// Documents in the index.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.standing
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.standing == 0
    }

    /// The distinct terms of a document, as ascending numbers: for comparing two documents, see
    /// [`context::Candidate`](super::context::Candidate).
    #[must_use]
    pub fn stems(&self, doc: u32) -> Vec<u32> {
        self.words.terms(doc)
    }

    /// The best `k` documents for a query in plain words, best first, of equals the lower key first. `filter` is asked by number,
    /// and only of documents that may be among the best.
    #[must_use]
    pub fn search(&self, query: &str, k: usize, filter: &dyn Fn(u32) -> bool) -> Vec<Hit> {
        let mut terms = Analyser::default().query(query);
        // The most telling come first, and a query past the bound loses first what no document has.
        terms.sort_by_cached_key(|term| self.document_frequency(term).checked_sub(1).unwrap_or(u32::MAX));
        terms.truncate(QUERY_TERMS);
        let enough = related_from(terms.iter().filter(|term| term.kind == Kind::Word).count());
        let wanted: Vec<Wanted<'_>> = terms
            .iter()
            .map(|term| Wanted {
                term: &term.term,
                count: term.count.min(QUERY_TERM_COUNT),
                expected: term.kind == Kind::Word,
            })
            .collect();
        let key = |doc: u32| self.key(doc).copied().unwrap_or_default();
        let accept = |doc: u32| self.is_standing(doc) && filter(doc);
        let plan = self.words.plan(&wanted);
        let hit = |(doc, score)| {
            let grounds = self.words.grounds(&plan, doc);
            let matched = grounds.matched.iter().filter_map(|at| terms.get(*at)).map(|term| term.surface.clone());
            Hit { doc, key: key(doc), score, relevance: grounds.share / enough, matched: matched.collect() }
        };
        self.words.search(&plan, k, &key, &accept).into_iter().map(hit).collect()
    }

    fn document_frequency(&self, term: &QueryTerm) -> u32 {
        self.words.term(&term.term).map_or(0, |term| self.words.frequency(term))
    }

    /// Bytes held on the heap.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<ClaimKey>()
            + self.stands.capacity()
            + self.numbers.heap_bytes()
            + self.words.heap_bytes()
    }
}

/// Which share of a query's weight a document must have to be related to a query of so many distinct words.
///
/// A long query shares a word or two with anything, so it takes about one word of average weight and a tenth of the query; of
/// a short one three tenths are enough. Chosen on queries asked of a collection about something else: nearly half of them are
/// turned away, and of the gain of a collection's own queries 0.2 % are lost.
#[must_use]
pub fn related_from(words: usize) -> f32 {
    (0.1 + 1.0 / words.max(1) as f32).min(0.3)
}

#[cfg(test)]
mod tests;
