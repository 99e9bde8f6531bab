//! One search over all segments of an index.
//!
//! Three views stand side by side, and an embedder's where there is one: the words, by BM25F in its simple form (Robertson, Zaragoza & Taylor 2004, "Simple BM25 Extension to
//! Multiple Weighted Fields"), where a word counts by the weight of its field, in the term's frequency and in the document's length
//! alike; the character 4-grams, in the same way; and the meaning, by the cosine in a latent space. Their rankings are fused.
//!
//! What the query's terms and grams weigh is known when all segments have said how many documents have them; then each segment is searched
//! by itself, several at a time.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::AtomicU32;

use rayon::iter::{MaxLen, MinLen};
use rayon::prelude::*;

use super::bm25::{Norm, Plan, idf};
use super::fusion::{Ranking, VIEWS, fuse};
use super::index::{Filter, Index};
use super::latent::{self, Sum, Vector};
use super::segment::Segment;
use super::spelling::{self, Marked};
use super::text::{Analyser, Kind, QueryTerm, Side, Token, prefix};
use super::top::Top;
use super::vectors::Vectors;
use super::{ClaimKey, words};
use crate::limits::{QUERY_BYTES, QUERY_SIMILAR_WORDS, QUERY_TERM_COUNT, QUERY_TERMS, QUERY_UNKNOWN_WORDS, VIEW_DEPTH};

/// What words, 4-grams, meaning and an embedder weigh in the score of a document that the embedder knows nothing of.
const WEIGHTS: [f32; VIEWS] = [0.6, 0.25, 0.15, 0.0];
/// What they weigh in that of one that has a vector.
const EMBEDDED_WEIGHTS: [f32; VIEWS] = [0.4, 0.2, 0.0, 0.4];

/// What words and 4-grams, taken as their mean, and closeness must make up together in a document that is related to a query, where
/// thousands of documents were there to be it. Chosen on the queries of four collections asked of one another: four of five are
/// turned away, and of the gain of a collection's own queries 0.7 % are lost.
const RELATED_FROM: f32 = 0.8;
/// The same where there is one document, and how much more with each doubling. The closest of a few is less close by chance than the
/// closest of thousands: of the queries of one collection asked of 10, 100 or 1,000 documents of another, nine of ten come no closer
/// than .53, .62 and .68 to any.
const RELATED_TO_ONE_FROM: f32 = 0.45;
const RELATED_PER_DOUBLING: f32 = 0.03;
/// The share of words or of 4-grams from which a document is related however little the latent space knows of it.
const SHARED_FROM: f32 = 0.5;
/// How many standard deviations above unrelated texts the embedder must put a document that is related for that alone. With
/// all-MiniLM-L6-v2 the best of 19 in 20 queries of a collection is above, and of another's, about something else, below.
const EMBEDDED_FROM: f32 = 5.0;
/// How many of them all words and 4-grams of a query stand for, taken as their mean.
const SHARED_DEVIATIONS: f32 = 4.0;

/// So many documents one thread searches faster than several that must be woken, twentieths of a millisecond each time.
const ALONE_DOCUMENTS: usize = 16_384;

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

/// What an embedder says of a query: the fourth view, where there is one.
#[derive(Debug, Clone, Copy)]
pub struct Embedded<'a> {
    /// The vectors of the claims.
    pub vectors: &'a Vectors,
    /// The vector of the query, by the same model.
    pub query: &'a [f32],
    /// The mean cosine of texts that have nothing to do with each other: nothing at it or below is found.
    pub unrelated: f32,
    /// Their standard deviation.
    pub deviation: f32,
}

impl Evidence {
    /// In units of what it takes to be related, for the best of so many documents. Of closeness an embedder knows more than the latent
    /// space.
    fn relevance(&self, documents: usize) -> f32 {
        let doublings = documents.max(1).ilog2() as f32;
        let related_from = (RELATED_TO_ONE_FROM + RELATED_PER_DOUBLING * doublings).min(RELATED_FROM);
        let shared = f32::midpoint(self.words, self.grams);
        let all = match self.embedded {
            Some(embedded) => (embedded + SHARED_DEVIATIONS * shared) / EMBEDDED_FROM,
            None => (shared + self.closeness) / related_from,
        };
        all.max(self.words.max(self.grams) / SHARED_FROM)
    }
}

/// Which share of a query's words a document must have to be related to it, where the latent space knows nothing of the query: about
/// one word of average weight and a tenth of all, and of a short query three tenths.
fn shared_from(words: usize) -> f32 {
    (0.1 + 1.0 / words.max(1) as f32).min(0.3)
}

/// The best `k` documents of an index: see [`Index::search`].
pub(super) fn search(
    index: &Index,
    query: &str,
    k: usize,
    filter: &Filter<'_>,
    embedded: Option<Embedded<'_>>,
) -> Vec<Hit> {
    let query = prefix(query, QUERY_BYTES);
    let search = || Search::new(index, query).run(k, filter, embedded);
    // On one of the threads that share the work, so that each step costs no waking of its own.
    if index.len() > ALONE_DOCUMENTS { rayon::scope(|_| search()) } else { search() }
}

/// Terms of a query, and their numbers in each segment.
struct Terms {
    plan: Plan,
    /// By segment, and there by term: its number, where the segment has it.
    numbers: Vec<Vec<Option<u32>>>,
}

impl Terms {
    fn in_segment(&self, place: usize) -> impl Iterator<Item = (u32, f32)> {
        let numbers = self.numbers.get(place).into_iter().flatten();
        numbers.zip(self.plan.weights()).filter_map(|(number, weight)| Some(((*number)?, weight)))
    }
}

/// A query made ready for an index.
struct Search<'a> {
    index: &'a Index,
    /// The distinct terms, the most telling first; past the bound, those are missing that no document has, and the most common ones.
    terms: Vec<QueryTerm>,
    by_terms: Terms,
    /// Terms that resemble those words of the query that no document has.
    by_similar: Terms,
    grams: spelling::Query,
    meaning: Vector,
}

/// What a view finds in one segment: (score in its own units, document), in no sequence.
type Found = Vec<(u32, u32)>;

impl<'a> Search<'a> {
    fn new(index: &'a Index, query: &str) -> Self {
        let mut analyser = Analyser::default();
        let terms = analyser.query(query);
        let (mut numbers, frequencies) =
            look_up(index, &terms.iter().map(|term| term.term.as_str()).collect::<Vec<_>>());
        let known: HashMap<&str, u64> =
            terms.iter().map(|term| term.term.as_str()).zip(frequencies.iter().copied()).collect();
        let (mut folded_words, mut unknown): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        analyser.terms(query, Side::Query, &mut |Token { term, folded, kind, .. }| {
            if kind != Kind::Word || folded.is_empty() {
                return;
            }
            let is_known = known.get(term).is_some_and(|frequency| *frequency > 0);
            if !is_known && unknown.len() < QUERY_UNKNOWN_WORDS && !unknown.iter().any(|word| word == folded) {
                unknown.push(folded.to_owned());
            }
            folded_words.push(folded.to_owned());
        });
        let by_similar = similar(index, &analyser, &unknown);
        let wanted = spelling::Wanted::new(&folded_words);
        let counts = segments(index).map(|segment| wanted.frequencies(segment)).reduce(Vec::new, sum);
        let mut meaning = Sum::default();
        meaning.add(query);

        let mut sequence: Vec<usize> = (0..terms.len()).collect();
        let frequency = |at: usize| frequencies.get(at).copied().unwrap_or_default();
        sequence.sort_by_key(|at| frequency(*at).checked_sub(1).unwrap_or(u64::MAX));
        sequence.truncate(QUERY_TERMS);
        let weigh = |at: &usize| {
            let Some(term) = terms.get(*at) else { return 0.0 };
            // What no document has weighs like what one has, but for a form that is only one more.
            let counts = frequency(*at) > 0 || term.kind == Kind::Word;
            let count = if counts { f64::from(term.count.min(QUERY_TERM_COUNT)) } else { 0.0 };
            count * idf(index.sums().documents, frequency(*at).max(1))
        };
        let plan = Plan::new(sequence.iter().map(weigh));
        for numbers in &mut numbers {
            *numbers = sequence.iter().map(|at| numbers.get(*at).copied().flatten()).collect();
        }
        Self {
            terms: sequence.iter().filter_map(|at| terms.get(*at).cloned()).collect(),
            by_terms: Terms { plan, numbers },
            by_similar,
            grams: wanted.plan(&counts, index.sums()),
            meaning: meaning.vector(),
            index,
        }
    }

    fn run(&self, k: usize, filter: &Filter<'_>, embedded: Option<Embedded<'_>>) -> Vec<Hit> {
        let floors: [AtomicU32; 3] = std::array::from_fn(|_| AtomicU32::new(0));
        let found: Vec<[Found; 3]> =
            segments(self.index).enumerate().map(|(place, _)| self.look(place, filter, &floors)).collect();
        let key = |doc: u32| self.index.key(doc).copied().unwrap_or_default();
        let [by_words, by_similar, by_meaning] =
            std::array::from_fn(|view| best(found.iter().filter_map(|found| found.get(view)).flatten(), &key));
        let (embedded, by_embedder) = self.by_embedder(embedded, filter, &key);
        let all = [&by_words, &by_similar, &by_meaning].into_iter().flatten().map(|(_, doc)| *doc);
        let mut candidates: Vec<u32> = all.chain(by_embedder.iter().map(|(doc, _)| *doc)).collect();
        candidates.sort_unstable();
        candidates.dedup();
        let (marked, by_grams) = self.score_grams(&candidates, &key);

        let scored = |ranking: Found, score: &dyn Fn(u32) -> f32| -> Ranking {
            ranking.into_iter().map(|(sum, doc)| (doc, score(sum))).collect()
        };
        let above: HashMap<u32, f32> = by_embedder.iter().copied().collect();
        let rankings = [
            scored(by_words, &|sum| self.by_terms.plan.score(sum)),
            scored(by_grams, &|sum| self.grams.score(sum)),
            scored(by_meaning, &latent::score),
            by_embedder,
        ];
        let deviations = |doc: u32| {
            let embedded = embedded.filter(|embedded| embedded.vectors.contains(&key(doc)))?;
            Some(above.get(&doc).map_or(0.0, |above| above / embedded.deviation))
        };
        let weights = |doc: u32| if deviations(doc).is_some() { EMBEDDED_WEIGHTS } else { WEIGHTS };
        let expected = self.terms.iter().filter(|term| term.kind == Kind::Word).count();
        let hit = |(doc, score)| self.hit(doc, score, &marked, expected, deviations(doc));
        let hits = fuse(&weights, rankings, &key).into_iter().map(hit);
        hits.filter(|hit| !hit.matched.is_empty() || hit.relevance >= 1.0).take(k).collect()
    }

    /// What an embedder finds, as cosines above those of unrelated texts; without one where its vectors cannot be read.
    fn by_embedder<'e>(
        &self,
        embedded: Option<Embedded<'e>>,
        filter: &Filter<'_>,
        key: &dyn Fn(u32) -> ClaimKey,
    ) -> (Option<Embedded<'e>>, Ranking) {
        let Some(Embedded { vectors, query, unrelated, .. }) = embedded else { return (None, Vec::new()) };
        let segments = self.index.segments().iter().zip(self.index.bases());
        let accepts: Vec<_> = segments.map(|(segment, base)| Accept::new(filter, segment, *base)).collect();
        let document = |claim: &ClaimKey| {
            let doc = self.index.find(claim)?;
            let (place, own) = self.index.locate(doc)?;
            accepts.get(place)?.as_ref().is_some_and(|accept| accept.accepts(own)).then_some(doc)
        };
        match vectors.search(query, unrelated, VIEW_DEPTH, &document, key) {
            Ok(found) => (embedded, found),
            Err(error) => {
                tracing::warn!(%error, "a query is answered without the embedder");
                (None, Vec::new())
            }
        }
    }

    /// What words, similar words and meaning find in one segment.
    fn look(&self, place: usize, filter: &Filter<'_>, floors: &[AtomicU32; 3]) -> [Found; 3] {
        let (Some(segment), Some(base)) = (self.index.segments().get(place), self.index.bases().get(place)) else {
            return Default::default();
        };
        let Some(accept) = Accept::new(filter, segment, *base) else { return Default::default() };
        let accept = |doc: u32| accept.accepts(doc);
        let norm = Norm::new(self.index.sums().documents, self.index.sums().words);
        let [words_floor, similar_floor, meaning_floor] = floors;
        let by_words =
            |terms: &Terms, floor| words::search(segment, terms.in_segment(place), norm, VIEW_DEPTH, floor, &accept);
        let mut by_terms = by_words(&self.by_terms, words_floor);
        let mut by_similar = by_words(&self.by_similar, similar_floor);
        let mut by_meaning = latent::search(&self.meaning, segment, VIEW_DEPTH, meaning_floor, &accept);
        for found in [&mut by_terms, &mut by_similar, &mut by_meaning] {
            found.iter_mut().for_each(|(_, doc)| *doc += base);
        }
        [by_terms, by_similar, by_meaning]
    }

    /// Scores candidates, ascending, by their grams: the segments that have any made ready for the query, and the best.
    fn score_grams(&self, candidates: &[u32], key: &dyn Fn(u32) -> ClaimKey) -> (Vec<Option<Marked<'_>>>, Found) {
        let segments = self.index.segments().iter().zip(self.index.bases());
        let with_candidates: Vec<(&Segment, u32, &[u32])> = segments
            .map(|(segment, base)| {
                let start = candidates.partition_point(|doc| doc < base);
                let end = candidates.partition_point(|doc| doc.saturating_sub(*base) < segment.len());
                (segment, *base, candidates.get(start..end).unwrap_or_default())
            })
            .collect();
        let scored = shared(self.index, with_candidates.into_par_iter()).map(|(segment, base, candidates)| {
            if candidates.is_empty() {
                return (None, Vec::new());
            }
            let marked = Marked::new(&self.grams, segment);
            let mut scores = marked.scores(candidates.iter().map(|doc| doc - base));
            scores.iter_mut().for_each(|(_, doc)| *doc += base);
            (Some(marked), scores)
        });
        let (marked, scores): (Vec<Option<Marked<'_>>>, Vec<Found>) = scored.unzip();
        (marked, best(scores.iter().flatten(), key))
    }

    fn hit(&self, doc: u32, score: f32, marked: &[Option<Marked<'_>>], expected: usize, embedded: Option<f32>) -> Hit {
        let key = self.index.key(doc).copied().unwrap_or_default();
        let mut hit = Hit { doc, key, score, relevance: 0.0, matched: Vec::new(), evidence: Evidence::default() };
        let Some((place, doc)) = self.index.locate(doc) else { return hit };
        let Some(segment) = self.index.segments().get(place) else { return hit };
        let own: Vec<u32> = segment.terms_of(doc).collect();
        let numbers = self.by_terms.numbers.get(place);
        let has = |at: usize| {
            let number = numbers.and_then(|numbers| numbers.get(at).copied().flatten());
            number.is_some_and(|number| own.binary_search(&number).is_ok())
        };
        let (matched, words) = self.by_terms.plan.share(has);
        hit.evidence = Evidence {
            words,
            grams: marked.get(place).and_then(Option::as_ref).map_or(0.0, |marked| marked.share(doc)),
            closeness: latent::closeness(&self.meaning, segment, doc),
            embedded,
        };
        hit.relevance = if self.meaning.is_empty() && embedded.is_none() {
            words / shared_from(expected)
        } else {
            hit.evidence.relevance(self.index.len())
        };
        let matched = matched.iter().filter_map(|at| self.terms.get(*at)).map(|term| term.surface.clone());
        hit.matched = matched.collect();
        hit
    }
}

/// What is done for each segment, shared among threads where the index is large enough for that.
fn shared<I: IndexedParallelIterator>(index: &Index, each: I) -> MaxLen<MinLen<I>> {
    let least = if index.len() > ALONE_DOCUMENTS { 1 } else { usize::MAX };
    each.with_min_len(least).with_max_len(1)
}

/// The segments, to be shared so.
fn segments(index: &Index) -> impl IndexedParallelIterator<Item = &Segment> {
    shared(index, index.segments().par_iter())
}

/// The numbers of terms in each segment, and in how many documents of all each stands.
fn look_up(index: &Index, terms: &[&str]) -> (Vec<Vec<Option<u32>>>, Vec<u64>) {
    let find = |segment: &Segment| -> (Vec<Option<u32>>, Vec<u64>) {
        let (known, documents) = (segment.terms(), segment.term_documents());
        let number = |term: &&str| known.find(term.as_bytes());
        let numbers: Vec<Option<u32>> = terms.iter().map(number).collect();
        let frequency = |number: &Option<u32>| number.and_then(|term| documents.get(term)).map_or(0, u64::from);
        let frequencies = numbers.iter().map(frequency).collect();
        (numbers, frequencies)
    };
    let (numbers, frequencies): (Vec<_>, Vec<_>) = segments(index).map(find).unzip();
    (numbers, frequencies.into_iter().fold(vec![0; terms.len()], sum))
}

/// Adds up lists of one length; an empty one is nothing yet.
fn sum(mut sums: Vec<u64>, more: Vec<u64>) -> Vec<u64> {
    if sums.is_empty() {
        return more;
    }
    sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    sums
}

/// The terms of the words that resemble these most, each wanted once.
fn similar(index: &Index, analyser: &Analyser, unknown: &[String]) -> Terms {
    let mut terms: Vec<String> = Vec::new();
    for word in unknown {
        let found = segments(index).flat_map_iter(|segment| spelling::similar(segment, word));
        let mut found: Vec<(Reverse<u32>, String)> = found.collect();
        found.sort_unstable();
        found.dedup();
        found.truncate(QUERY_SIMILAR_WORDS);
        for (_, word) in found {
            let term = analyser.term_of(&word);
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
    }
    let (numbers, frequencies) = look_up(index, &terms.iter().map(String::as_str).collect::<Vec<_>>());
    let documents = index.sums().documents;
    Terms { plan: Plan::new(frequencies.iter().map(|frequency| idf(documents, *frequency))), numbers }
}

/// The best of what was found in all segments, best first.
fn best<'f>(found: impl Iterator<Item = &'f (u32, u32)>, key: &dyn Fn(u32) -> ClaimKey) -> Found {
    let floor = AtomicU32::new(0);
    let mut top = Top::new(VIEW_DEPTH, key, &floor);
    for (score, doc) in found {
        if *score >= top.threshold() {
            top.offer(*score, *doc);
        }
    }
    top.into_sorted()
}

/// Whether any document passes a filter.
pub(super) fn passes_any(index: &Index, filter: &Filter<'_>) -> bool {
    index.segments().iter().zip(index.bases()).any(|(segment, base)| {
        Accept::new(filter, segment, *base).is_some_and(|accept| (0..segment.len()).any(|doc| accept.accepts(doc)))
    })
}

/// A filter in one segment.
struct Accept<'a> {
    filter: &'a Filter<'a>,
    segment: &'a Segment,
    base: u32,
    author: Option<u32>,
    tags: Vec<u32>,
}

impl<'a> Accept<'a> {
    /// None where no document of the segment can pass.
    fn new(filter: &'a Filter<'a>, segment: &'a Segment, base: u32) -> Option<Self> {
        let author = match filter.author {
            Some(author) => Some(segment.author(&author)?),
            None => None,
        };
        let tags = filter.tags.iter().map(|tag| segment.tags().find(tag.as_bytes())).collect::<Option<_>>()?;
        Some(Self { filter, segment, base, author, tags })
    }

    #[inline]
    fn accepts(&self, doc: u32) -> bool {
        let Filter { since_ms, until_ms, only, .. } = self.filter;
        let passes_time = (since_ms.is_none() && until_ms.is_none()) || {
            let created_ms = self.segment.created().get(doc).unwrap_or_default();
            since_ms.is_none_or(|since| created_ms >= since) && until_ms.is_none_or(|until| created_ms <= until)
        };
        passes_time
            && self.author.is_none_or(|author| self.segment.author_of().get(doc) == Some(author))
            && self.tags.iter().all(|tag| self.segment.tags_of(doc).any(|own| own == *tag))
            && only.is_none_or(|only| only(self.base + doc))
    }
}
