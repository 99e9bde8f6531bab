//! The index in memory: documents under their keys, and the views that find them.
//!
//! Documents are numbered in the sequence of their arrival; a number is never given twice. Three views stand side by side under
//! the same numbers: the words, by BM25F in its simple form (Robertson, Zaragoza & Taylor 2004, "Simple BM25 Extension to Multiple
//! Weighted Fields"), where a word counts by the weight of its field, in the term's frequency and in the document's length
//! alike; the character 4-grams, in the same way; and the meaning, by the cosine in a latent space. Their rankings are fused.
//!
//! Invariant: a search never shows a removed document, and scores as if it had never been added.

use std::collections::HashMap;

use super::bm25::Plan;
use super::dictionary::Numbers;
use super::fusion::{Ranking, VIEWS, fuse};
use super::inverted::{Bag, Inverted, Wanted};
use super::latent::{Sum, Vectors};
use super::rows::reserve;
use super::spelling::{Draft, Spelling};
use super::text::{Analyser, Kind, QueryTerm, Side, Token, prefix};
use super::vectors::Vectors as Embeddings;
use super::{ClaimKey, Document};
use crate::limits::{INDEX_DOCUMENTS, INDEX_PART_BYTES, QUERY_BYTES, QUERY_TERMS, QUERY_UNKNOWN_WORDS, VIEW_DEPTH};

/// What words, 4-grams, meaning and an embedder weigh in the score of a document that the embedder knows nothing of.
const WEIGHTS: [f32; VIEWS] = [0.6, 0.25, 0.15, 0.0];
/// What they weigh in that of one that has a vector.
const EMBEDDED_WEIGHTS: [f32; VIEWS] = [0.4, 0.2, 0.0, 0.4];

/// What words and 4-grams, taken as their mean, and closeness must make up together in a document that is related to a query. Chosen
/// on the queries of four collections asked of one another: four of five are turned away, and of the gain of a collection's own
/// queries 0.7 % are lost.
const RELATED_FROM: f32 = 0.8;
/// The share of words or of 4-grams from which a document is related however little the latent space knows of it.
const SHARED_FROM: f32 = 0.5;

/// How many standard deviations above unrelated texts the embedder must put a document that is related for that alone. With
/// all-MiniLM-L6-v2 the best of 19 in 20 queries of a collection is above, and of another's, about something else, below.
const EMBEDDED_FROM: f32 = 5.0;
/// How many of them all words and 4-grams of a query stand for, taken as their mean.
const SHARED_DEVIATIONS: f32 = 4.0;

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
    /// From 0 to 1, comparable within one answer only.
    pub score: f32,
    /// How much of the query it has, in units of what it takes to be related: comparable between answers, and below 1 where it has no
    /// more of the query than an unrelated document has by chance.
    pub relevance: f32,
    /// The words of the query that it has, in the query's spelling, the most telling first: why it was found.
    pub matched: Vec<String>,
    /// What speaks for it.
    pub evidence: Evidence,
}

impl Hit {
    /// Why it was found, for people: the words of the query that it has; where it has none, what else brought it.
    #[must_use]
    pub fn why(&self) -> Vec<String> {
        if !self.matched.is_empty() {
            return self.matched.clone();
        }
        vec![if self.evidence.grams / SHARED_FROM >= 1.0 { "similar spelling" } else { "similar meaning" }.to_owned()]
    }
}

/// What an embedder says of a query: the fourth view, where there is one.
#[derive(Debug, Clone, Copy)]
pub struct Embedded<'a> {
    /// The vectors of the claims.
    pub vectors: &'a Embeddings,
    /// The vector of the query, by the same model.
    pub query: &'a [f32],
    /// The mean cosine of texts that have nothing to do with each other: nothing at it or below is found.
    pub unrelated: f32,
    /// Their standard deviation.
    pub deviation: f32,
}

/// What a document has of a query, comparable between answers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Evidence {
    /// Share of the weight of the query's words that it has.
    pub words: f32,
    /// Share of the weight of the query's character 4-grams that it has.
    pub grams: f32,
    /// Cosine in the latent space.
    pub closeness: f32,
    /// How far the embedder's cosine is above that of unrelated texts, in their standard deviations; none where it has no vector.
    pub embedded: Option<f32>,
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
    spelling: Spelling,
    vectors: Vectors,
    bag: Bag,
    draft: Draft,
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
                self.spelling.revive(doc);
                self.buried -= 1;
                self.set_standing(doc, true);
                Added::New(doc)
            });
        }
        if self.keys.len() >= INDEX_DOCUMENTS
            || self.words.largest_part_bytes().max(self.spelling.largest_part_bytes()) > INDEX_PART_BYTES
        {
            return Err(IndexError::Full { documents: self.len() as u32 });
        }
        let vector = self.collect(document).vector();
        let doc = self.words.push(&mut self.bag);
        self.spelling.push(&mut self.draft);
        self.vectors.push(&vector);
        reserve(&mut self.keys, 1);
        self.keys.push(key);
        self.stands.push(false);
        self.set_standing(doc, true);
        self.numbers.add(hash, doc);
        Ok(Added::New(doc))
    }

    fn collect(&mut self, document: &Document) -> Sum {
        let Self { analyser, words, spelling, bag, draft, .. } = self;
        let mut sum = Sum::default();
        let mut field = |text: &str, weight| {
            draft.field(weight);
            analyser.terms(text, Side::Document, &mut |Token { term, folded, kind, .. }| {
                let term = words.collect(bag, term, weight, kind == Kind::Word);
                if kind == Kind::Word {
                    spelling.word(draft, folded, term);
                }
            });
            sum.add(text);
        };
        field(document.title.as_deref().unwrap_or_default(), TITLE_WEIGHT);
        field(&document.text, TEXT_WEIGHT);
        document.tags.iter().for_each(|tag| field(tag, TAG_WEIGHT));
        sum
    }

    /// Removes a document; whether it stood. The very next search does not find it.
    pub fn remove(&mut self, key: &ClaimKey) -> bool {
        let Some(doc) = self.find(key) else { return false };
        self.words.bury(doc);
        self.spelling.bury(doc);
        self.set_standing(doc, false);
        self.buried += 1;
        if self.buried > self.standing.max(VACUUM_DOCUMENTS) {
            self.vacuum();
        }
        true
    }

    /// Gives back the memory that removed documents hold. Numbers stay as they are.
    pub fn vacuum(&mut self) {
        let Self { words, spelling, stands, .. } = self;
        let stands = |doc: u32| stands.get(doc as usize).copied().unwrap_or_default();
        words.vacuum(stands);
        spelling.vacuum(stands);
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

    /// The best `k` documents for a query in plain words, best first, of equals the lower key first. One that has no word of the query
    /// is there only where it is related ([`Hit::relevance`]). `filter` is asked by number, and only of documents that may be
    /// among the best.
    #[must_use]
    pub fn search(&self, query: &str, k: usize, filter: &dyn Fn(u32) -> bool) -> Vec<Hit> {
        self.search_with(query, k, filter, None)
    }

    /// The same with an embedder. A document that has no vector is scored as it is without one.
    #[must_use]
    pub fn search_with(
        &self,
        query: &str,
        k: usize,
        filter: &dyn Fn(u32) -> bool,
        embedded: Option<Embedded<'_>>,
    ) -> Vec<Hit> {
        let query = prefix(query, QUERY_BYTES);
        let terms = self.query_terms(query);
        let wanted = terms.iter().map(|term| Wanted::new(&term.term, term.count, term.kind == Kind::Word));
        let words = self.words.plan(&wanted.collect::<Vec<_>>());
        let (spelled, similar) = self.spelled(query);
        let grams = self.spelling.query(&spelled);
        let mut sum = Sum::default();
        sum.add(query);
        let meaning = sum.vector();
        let key = |doc: u32| self.key(doc).copied().unwrap_or_default();
        let accept = |doc: u32| self.is_standing(doc) && filter(doc);
        let by_words = self.words.search(&words, VIEW_DEPTH, &key, &accept);
        let by_meaning = self.vectors.search(&meaning, VIEW_DEPTH, &key, &accept);
        let by_similar = self.words.search(&similar, VIEW_DEPTH, &key, &accept);
        let (embedded, by_embedder) = self.by_embedder(embedded, filter);
        let above: HashMap<u32, f32> = by_embedder.iter().copied().collect();
        let found = [&by_words, &by_meaning, &by_similar, &by_embedder].into_iter().flatten();
        let mut candidates: Vec<u32> = found.map(|(doc, _)| *doc).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let by_grams = self.spelling.search(&grams, &candidates, VIEW_DEPTH, &key);
        let rankings = [by_words, by_grams, by_meaning, by_embedder];
        let known = |doc: u32| embedded.filter(|embedded| embedded.vectors.contains(&key(doc)));
        let weights = |doc: u32| if known(doc).is_some() { EMBEDDED_WEIGHTS } else { WEIGHTS };
        let expected = terms.iter().filter(|term| term.kind == Kind::Word).count();
        let hit = |(doc, score)| {
            let grounds = self.words.grounds(&words, doc);
            let evidence = Evidence {
                words: grounds.share,
                grams: self.spelling.share(&grams, doc),
                closeness: self.vectors.closeness(&meaning, doc),
                embedded: known(doc).map(|embedded| above.get(&doc).map_or(0.0, |above| above / embedded.deviation)),
            };
            let relevance = if meaning.is_empty() && evidence.embedded.is_none() {
                grounds.share / shared_from(expected)
            } else {
                evidence.relevance()
            };
            let matched = grounds.matched.iter().filter_map(|at| terms.get(*at)).map(|term| term.surface.clone());
            Hit { doc, key: key(doc), score, relevance, matched: matched.collect(), evidence }
        };
        let fused = fuse(&weights, rankings, &key).into_iter().map(hit);
        fused.filter(|hit| !hit.matched.is_empty() || hit.relevance >= 1.0).take(k).collect()
    }

    /// What an embedder finds, as cosines above those of unrelated texts; without one where its vectors cannot be read.
    fn by_embedder<'a>(
        &self,
        embedded: Option<Embedded<'a>>,
        filter: &dyn Fn(u32) -> bool,
    ) -> (Option<Embedded<'a>>, Ranking) {
        let Some(Embedded { vectors, query, unrelated, .. }) = embedded else { return (None, Vec::new()) };
        let document = |claim: &ClaimKey| self.find(claim).filter(|doc| filter(*doc));
        let key = |doc: u32| self.key(doc).copied().unwrap_or_default();
        match vectors.search(query, unrelated, VIEW_DEPTH, &document, &key) {
            Ok(found) => (embedded, found),
            Err(error) => {
                tracing::warn!(%error, "a query is answered without the embedder");
                (None, Vec::new())
            }
        }
    }

    /// The distinct terms of a query, the most telling first; past the bound, it loses first what no document has.
    fn query_terms(&self, query: &str) -> Vec<QueryTerm> {
        let mut terms = Analyser::default().query(query);
        terms.sort_by_cached_key(|term| self.document_frequency(term).checked_sub(1).unwrap_or(u32::MAX));
        terms.truncate(QUERY_TERMS);
        terms
    }

    /// The words of a query, folded, and a plan for the words of the index that resemble those of them that it does not know.
    fn spelled(&self, query: &str) -> (Vec<String>, Plan) {
        let (mut words, mut similar, mut unknown): (Vec<String>, Vec<u32>, usize) = (Vec::new(), Vec::new(), 0);
        Analyser::default().terms(query, Side::Query, &mut |Token { term, folded, kind, .. }| {
            if kind != Kind::Word || folded.is_empty() {
                return;
            }
            let is_known = self.words.term(term).is_some_and(|term| self.words.frequency(term) > 0);
            if !is_known && unknown < QUERY_UNKNOWN_WORDS && !words.iter().any(|word| word == folded) {
                unknown += 1;
                for term in self.spelling.similar(folded) {
                    if !similar.contains(&term) {
                        similar.push(term);
                    }
                }
            }
            words.push(folded.to_owned());
        });
        (words, self.words.plan_terms(&similar))
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
            + self.spelling.heap_bytes()
            + self.vectors.heap_bytes()
    }
}

impl Evidence {
    /// In units of what it takes to be related. Of closeness an embedder knows more than the latent space.
    fn relevance(&self) -> f32 {
        let shared = f32::midpoint(self.words, self.grams);
        let all = match self.embedded {
            Some(embedded) => (embedded + SHARED_DEVIATIONS * shared) / EMBEDDED_FROM,
            None => (shared + self.closeness) / RELATED_FROM,
        };
        all.max(self.words.max(self.grams) / SHARED_FROM)
    }
}

/// Which share of a query's words a document must have to be related to it, where the latent space knows nothing of the query: about
/// one word of average weight and a tenth of all, and of a short query three tenths.
fn shared_from(words: usize) -> f32 {
    (0.1 + 1.0 / words.max(1) as f32).min(0.3)
}

#[cfg(test)]
mod tests;
