//! The view of the character 4-grams: BM25 over them, for documents that another view has found.
//!
//! Grams belong to words, and words to documents: a document is kept as the sequence of its words, a word once for its segment as its
//! grams, its head and its tail. A query looks up which words of a segment have any of its grams, and a document has the grams of its
//! words, and those across a space of each two that stand side by side. So no list of documents is kept for a gram, only how many
//! have it.
//!
//! Invariant: scores are those of an index over all grams of all documents.

use std::cmp::Reverse;

use super::bm25::{Norm, Plan, idf};
use super::grams::{Cutter, Gram, parts};
use super::segment::bytes::{take, take_u32};
use super::segment::{Segment, Sums};
use crate::limits::{QUERY_GRAMS, QUERY_SIMILAR_WORDS, QUERY_TERM_COUNT};

/// Thousandths of their grams that two words must share (Dice) to be similar.
const SIMILAR_FROM: u32 = 333;

/// The grams of a query, before it is known how common they are.
#[derive(Debug, Default)]
pub(super) struct Wanted(Vec<(Gram, u32)>);

impl Wanted {
    /// Those of these words, folded.
    pub(super) fn new(words: &[String]) -> Self {
        let (mut cutter, mut grams) = (Cutter::default(), Vec::new());
        words.iter().for_each(|word| cutter.word(word, &mut |gram| grams.push(gram)));
        grams.sort_unstable();
        let distinct = grams.chunk_by(|a, b| a == b).filter_map(|same| Some((*same.first()?, same.len() as u32)));
        Self(distinct.map(|(gram, count)| (gram, count.min(QUERY_TERM_COUNT))).collect())
    }

    /// How many documents of a segment have each of them.
    pub(super) fn frequencies(&self, segment: &Segment) -> Vec<u64> {
        let (grams, documents) = (segment.grams(), segment.gram_documents());
        let frequency = |gram: Gram| grams.find(gram.number()).and_then(|at| documents.get(at)).map_or(0, u64::from);
        self.0.iter().map(|(gram, _)| frequency(*gram)).collect()
    }

    /// Makes the query ready, when `frequencies` are those of all segments. Of more than [`QUERY_GRAMS`] grams the most common are left out.
    pub(super) fn plan(&self, frequencies: &[u64], sums: Sums) -> Query {
        let of = |frequency: u64| if frequency == 0 { u64::MAX } else { frequency };
        let mut distinct: Vec<(u64, Gram, u32)> =
            self.0.iter().zip(frequencies).map(|((gram, count), frequency)| (of(*frequency), *gram, *count)).collect();
        distinct.sort_unstable();
        distinct.truncate(QUERY_GRAMS);
        let weigh = |(frequency, _, count): &(u64, Gram, u32)| {
            // What no document has weighs like what one has.
            let frequency = if *frequency == u64::MAX { 1 } else { *frequency };
            f64::from(*count) * idf(sums.documents, frequency)
        };
        let mut query = Query {
            plan: Plan::new(distinct.iter().map(weigh)),
            norm: Norm::new(sums.documents, sums.grams),
            inner: Vec::new(),
            tails: Vec::new(),
            heads: Vec::new(),
            across: Vec::new(),
        };
        let mut across = Vec::new();
        for (place, (_, gram, _)) in (0..).zip(&distinct) {
            if let Some((tail, head)) = gram.halves() {
                across.push((number_of(&mut query.tails, tail), number_of(&mut query.heads, head), place));
            } else {
                query.inner.push((*gram, place));
            }
        }
        query.join(&across);
        query
    }
}

/// A query made ready.
#[derive(Debug)]
pub(super) struct Query {
    plan: Plan,
    norm: Norm,
    /// Grams inside of words, with their places in the plan.
    inner: Vec<(Gram, u32)>,
    tails: Vec<Gram>,
    heads: Vec<Gram>,
    /// By tail and head: one more than the place of the gram that they make.
    across: Vec<u32>,
}

impl Query {
    fn join(&mut self, across: &[(u16, u16, u32)]) {
        let width = self.heads.len() + 1;
        self.across = vec![0; width * (self.tails.len() + 1)];
        for (tail, head, place) in across {
            let at = usize::from(*tail) * width + usize::from(*head);
            self.across.get_mut(at).into_iter().for_each(|cell| *cell = place + 1);
        }
    }

    #[inline]
    fn across(&self, tail: u16, head: u16) -> Option<u32> {
        if tail == 0 || head == 0 {
            return None;
        }
        self.across.get(usize::from(tail) * (self.heads.len() + 1) + usize::from(head))?.checked_sub(1)
    }

    /// A sum of gains as a score.
    pub(super) fn score(&self, sum: u32) -> f32 {
        self.plan.score(sum)
    }
}

/// The number, from 1, of a part among the distinct ones seen so far.
fn number_of(seen: &mut Vec<Gram>, part: Gram) -> u16 {
    let at = seen.iter().position(|known| *known == part).unwrap_or_else(|| {
        seen.push(part);
        seen.len() - 1
    });
    u16::try_from(at + 1).unwrap_or_default()
}

/// What a word has of a query, in one place, for most words of a document are looked up and nothing else is: one more than its first
/// link in two halves, and the numbers of its short and long tail and head, 0 where the query has no such one.
type Features = [u16; 6];

const NOTHING: Features = [0; 6];
const LINK: std::ops::Range<usize> = 0..2;
const SHORT_TAIL: usize = 2;
const LONG_TAIL: usize = 3;
const SHORT_HEAD: usize = 4;
const LONG_HEAD: usize = 5;

fn first_link(features: &Features) -> Option<u32> {
    let [low, high, ..] = features;
    (u32::from(*low) | u32::from(*high) << 16).checked_sub(1)
}

/// One gram of a word.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// Its place in the plan.
    place: u32,
    count: u32,
    /// The next link of the word.
    next: Option<u32>,
}

/// A query in one segment: what each of its words has of the query.
pub(super) struct Marked<'a> {
    query: &'a Query,
    segment: &'a Segment,
    /// By word.
    features: Vec<Features>,
    links: Vec<Link>,
    weights: Vec<f32>,
}

impl<'a> Marked<'a> {
    pub(super) fn new(query: &'a Query, segment: &'a Segment) -> Self {
        let features = vec![NOTHING; segment.words().len() as usize];
        let weights = query.plan.weights().collect();
        let mut marked = Self { query, segment, features, links: Vec::new(), weights };
        for (gram, place) in &query.inner {
            each_word(segment, *gram, |word, count| marked.link(word, *place, count));
        }
        let parts = [(&query.tails, SHORT_TAIL, LONG_TAIL), (&query.heads, SHORT_HEAD, LONG_HEAD)];
        for (parts, short, long) in parts {
            for (number, part) in (1..).zip(parts) {
                let which = if part.is_long() { long } else { short };
                each_word(segment, *part, |word, _| {
                    let slot = marked.features.get_mut(word as usize).and_then(|features| features.get_mut(which));
                    slot.into_iter().for_each(|slot| *slot = number);
                });
            }
        }
        marked
    }

    fn link(&mut self, word: u32, place: u32, count: u32) {
        let Some(features) = self.features.get_mut(word as usize) else { return };
        let next = first_link(features);
        self.links.push(Link { place, count, next });
        let first = self.links.len() as u32;
        features[LINK].copy_from_slice(&[first as u16, (first >> 16) as u16]);
    }

    /// How often a document has each gram of the query, into `counts`.
    fn tally(&self, doc: u32, counts: &mut [u32]) {
        let mut add = |place: u32, weight: u32| {
            if let Some(count) = counts.get_mut(place as usize) {
                *count = count.saturating_add(weight);
            }
        };
        let (mut weight, mut before) = (0, &NOTHING);
        let mut steps = self.segment.sequences().get(doc);
        while let Some(step) = take(&mut steps) {
            let Some(word) = step.checked_sub(1) else {
                (weight, before) = (take_u32(&mut steps).unwrap_or_default(), &NOTHING);
                continue;
            };
            let features = self.features.get(word as usize).unwrap_or(&NOTHING);
            let mut next = first_link(features);
            while let Some(link) = next.and_then(|next| self.links.get(next as usize)) {
                add(link.place, link.count.saturating_mul(weight));
                next = link.next;
            }
            let long = self.query.across(before[LONG_TAIL], features[SHORT_HEAD]);
            let short = self.query.across(before[SHORT_TAIL], features[LONG_HEAD]);
            long.into_iter().chain(short).for_each(|place| add(place, weight));
            before = features;
        }
    }

    /// What the query's grams give to each of these documents of the segment: (score, document). One without any is not among them.
    pub(super) fn scores(&self, documents: impl Iterator<Item = u32>) -> Vec<(u32, u32)> {
        let (mut counts, lengths) = (vec![0; self.weights.len()], self.segment.gram_lengths());
        let mut score = |doc: u32| {
            self.tally(doc, &mut counts);
            let length = lengths.get(doc);
            let mut sum = 0_u32;
            for (count, weight) in counts.iter_mut().zip(&self.weights).filter(|(count, _)| **count > 0) {
                sum = sum.saturating_add(self.query.norm.gain(*weight, std::mem::take(count), length));
            }
            (sum, doc)
        };
        documents.map(&mut score).filter(|(sum, _)| *sum > 0).collect()
    }

    /// Share of the weight of the query's grams that a document has.
    pub(super) fn share(&self, doc: u32) -> f32 {
        let mut counts = vec![0; self.query.plan.len()];
        self.tally(doc, &mut counts);
        self.query.plan.share(|place| counts.get(place).is_some_and(|count| *count > 0)).1
    }
}

fn each_word(segment: &Segment, part: Gram, mut sink: impl FnMut(u32, u32)) {
    let Some(at) = segment.grams().find(part.number()) else { return };
    segment.words_of(at).for_each(|(word, count)| sink(word, count));
}

/// A word that resembles another, the most similar first: how little it does, and itself.
pub(super) type Similar = (Reverse<u32>, String);

/// The words of a segment that resemble `folded` most, by the grams that they share, the most similar first. Those of several segments
/// are put together, sorted, and cut to [`QUERY_SIMILAR_WORDS`] again.
pub(super) fn similar(segment: &Segment, folded: &str) -> Vec<Similar> {
    let words = segment.words();
    let (mut shared, mut touched) = (vec![0_u32; words.len() as usize], Vec::new());
    let mut own = 0;
    parts(folded, &mut |part| {
        if !part.is_whole() {
            return;
        }
        own += 1;
        each_word(segment, part, |word, _| {
            if let Some(count) = shared.get_mut(word as usize) {
                if *count == 0 {
                    touched.push(word);
                }
                *count += 1;
            }
        });
    });
    let likeness = |word: u32| {
        let shared = shared.get(word as usize).copied().unwrap_or_default();
        // A word of n characters has n - 1 grams, with the space on each side.
        let characters = std::str::from_utf8(words.get(word)).map_or(0, |word| word.chars().count());
        let other = characters.saturating_sub(1) as u32;
        2_000 * shared.min(own).min(other) / (own + other).max(1)
    };
    let mut found: Vec<(Reverse<u32>, u32)> = touched
        .into_iter()
        .map(|word| (Reverse(likeness(word)), word))
        .filter(|(Reverse(likeness), _)| *likeness >= SIMILAR_FROM)
        .collect();
    // Numbers of words follow their sequence.
    found.sort_unstable();
    found.truncate(QUERY_SIMILAR_WORDS);
    found
        .into_iter()
        .map(|(likeness, word)| (likeness, String::from_utf8_lossy(words.get(word)).into_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Marked, Query, Wanted, similar};
    use crate::identity::SecretKey;
    use crate::knowledge::grams::{Cutter, Gram};
    use crate::knowledge::segment::{Builder, Segment};
    use crate::knowledge::{Document, Stamp};

    fn grams(words: &[impl AsRef<str>]) -> Vec<Gram> {
        let (mut cutter, mut found) = (Cutter::default(), Vec::new());
        words.iter().for_each(|word| cutter.word(word.as_ref(), &mut |gram| found.push(gram)));
        found
    }

    /// The first word of each text is its title.
    fn segment(texts: &[Vec<String>]) -> Segment {
        let mut builder = Builder::default();
        let stamp = Stamp { author: SecretKey::from_seed(&[1; 32]).identity(), created_ms: 0 };
        for (number, words) in (0..).zip(texts) {
            let document = Document { title: words.first().cloned(), text: words[1..].join(" "), tags: vec![] };
            builder.add([number; 32], &document, &stamp, 0);
        }
        builder.finish()
    }

    fn query(words: &[String], segment: &Segment) -> Query {
        let wanted = Wanted::new(words);
        wanted.plan(&wanted.frequencies(segment), segment.sums())
    }

    proptest! {
        /// What is put together from words is what is cut from the text.
        #[test]
        fn grams_from_words_are_those_of_the_text(
            texts in prop::collection::vec(prop::collection::vec("[éx]{1,3}x|[bx]{2,6}x", 1..9), 1..6),
            words in prop::collection::vec("[éx]{1,3}x|[bx]{2,6}x", 1..9),
        ) {
            // Folded as the texts are.
            let plain = |words: &[String]| words.iter().map(|word| word.replace('é', "e")).collect::<Vec<_>>();
            let (segment, words) = (segment(&texts), plain(&words));
            let query = query(&words, &segment);
            let marked = Marked::new(&query, &segment);
            let mut wanted = grams(&words);
            wanted.sort_unstable();
            wanted.dedup();
            for (doc, text) in (0..).zip(&texts) {
                let text = plain(text);
                let mut counts = vec![0; query.plan.len()];
                marked.tally(doc, &mut counts);
                let of = |words: &[String], gram: &Gram| grams(words).iter().filter(|found| *found == gram).count() as u32;
                let mut expected: Vec<u32> =
                    wanted.iter().map(|gram| 3 * of(&text[..1], gram) + of(&text[1..], gram)).collect();
                counts.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(counts, expected);
                let length = 3 * grams(&text[..1]).len() + grams(&text[1..]).len();
                prop_assert_eq!(usize::from(segment.gram_lengths().get(doc)), length);
            }
        }
    }

    #[test]
    fn a_gram_counts_once_a_document() {
        let texts = [&["sealing", "sealed"][..], &["unsealed", "seal"]]
            .map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        let wanted = Wanted::new(&["seal".to_owned()]);
        let mut frequencies = wanted.frequencies(&segment(&texts));
        frequencies.sort_unstable();
        // " sea", "seal", "eal ".
        assert_eq!(frequencies, [1, 2, 2]);
    }

    #[test]
    fn a_misspelled_word_resembles_what_was_meant() {
        let segment = segment(&["database", "databank", "seal"].map(|word| vec![word.to_owned()]));
        let words = |folded| similar(&segment, folded).into_iter().map(|(_, word)| word).collect::<Vec<_>>();
        assert_eq!(words("databasse"), ["database", "databank"]);
        assert!(words("ticket").is_empty());
    }
}
