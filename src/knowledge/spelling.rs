//! The view of the character 4-grams: BM25 over them, for documents that another view has found.
//!
//! Grams belong to words, and words to documents: a document is kept as the sequence of its words, a word once for all as its grams,
//! its head and its tail. A query looks up which words of the vocabulary have any of its grams, and a document has the grams of its
//! words, and those across a space of each two that stand side by side. So no list of documents is kept for a gram, only how many
//! have it.
//!
//! Invariant: scores are those of an index over all grams of all documents that stand, as if the buried ones had never come.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::ClaimKey;
use super::bm25::{Lengths, Plan};
use super::dictionary::Dictionary;
use super::grams::{Cutter, Gram, parts};
use super::postings::{Bytes, Postings, take};
use super::rows::Rows;
use super::top::Top;
use crate::limits::{QUERY_GRAMS, QUERY_SIMILAR_WORDS, QUERY_TERM_COUNT};

/// Thousandths of their grams that two words must share (Dice) to be similar.
const SIMILAR_FROM: u32 = 333;

/// The words of a document in their sequence, as LEB128 numbers: 0 and the weight of a field where one begins, else one more than a
/// word's number.
#[derive(Debug, Default)]
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// Begins a field.
    pub(super) fn field(&mut self, weight: u32) {
        self.put(0);
        self.put(weight);
    }

    fn put(&mut self, number: u32) {
        let mut bytes = Bytes::default();
        bytes.put(u64::from(number));
        self.0.extend_from_slice(bytes.as_slice());
    }
}

/// Reads a [`Draft`].
struct Steps<'a>(&'a [u8]);

enum Step {
    Field(u32),
    Word(u32),
}

impl Iterator for Steps<'_> {
    type Item = Step;

    #[inline]
    fn next(&mut self) -> Option<Step> {
        match take(&mut self.0)?.checked_sub(1) {
            Some(word) => Some(Step::Word(word as u32)),
            None => take(&mut self.0).map(|weight| Step::Field(weight as u32)),
        }
    }
}

/// The view.
#[derive(Debug, Default)]
pub(super) struct Spelling {
    /// Every word that a document ever had, folded.
    vocabulary: Dictionary,
    /// By word: its term among the words.
    terms: Vec<u32>,
    /// By word: how often the standing documents have it.
    uses: Vec<u32>,
    /// Grams, heads and tails.
    parts: HashMap<Gram, Part>,
    /// By list of a part: the words that have it, and how often.
    words: Postings,
    lists: u32,
    lengths: Lengths,
    documents: Rows,
}

/// What is known of a gram, a head or a tail.
#[derive(Debug, Default)]
struct Part {
    /// How many standing documents have the gram.
    frequency: u32,
    /// One more than the number of its list of words; 0 for what no word has by itself.
    list: u32,
}

impl Spelling {
    /// Adds a word, folded, to a draft; an empty one is none. `term` is its number among the words.
    pub(super) fn word(&mut self, draft: &mut Draft, folded: &str, term: u32) {
        if folded.is_empty() {
            return;
        }
        let word = self.vocabulary.intern(folded);
        if self.terms.len() < self.vocabulary.len() {
            self.terms.push(term);
            self.uses.push(0);
            let mut all = Vec::new();
            parts(folded, &mut |part| all.push(part));
            all.sort_unstable();
            for same in all.chunk_by(|a, b| a == b) {
                let Some(part) = same.first().map(|part| self.parts.entry(*part).or_default()) else { continue };
                if part.list == 0 {
                    self.lists += 1;
                    part.list = self.lists;
                }
                self.words.push(part.list - 1, word, same.len() as u32);
            }
        }
        draft.put(word + 1);
    }

    /// Adds the next document and empties the draft.
    pub(super) fn push(&mut self, draft: &mut Draft) {
        let doc = self.lengths.len() as u32;
        self.documents.push(&draft.0);
        draft.0.clear();
        let mut length = 0_u32;
        each_gram(self.documents.get(doc), &self.vocabulary, |_, weight| length = length.saturating_add(weight));
        self.lengths.push(length);
        self.revive(doc);
    }

    /// Counts a document in the statistics.
    pub(super) fn revive(&mut self, doc: u32) {
        self.count(doc, 1);
    }

    /// Takes a document out of the statistics. The caller keeps it out of searches.
    pub(super) fn bury(&mut self, doc: u32) {
        self.count(doc, -1);
    }

    fn count(&mut self, doc: u32, by: i32) {
        let mut grams = Vec::new();
        each_gram(self.documents.get(doc), &self.vocabulary, |gram, _| grams.push(gram));
        grams.sort_unstable();
        grams.dedup();
        for gram in grams {
            let part = self.parts.entry(gram).or_default();
            part.frequency = part.frequency.saturating_add_signed(by);
        }
        for step in Steps(self.documents.get(doc)) {
            if let Step::Word(word) = step
                && let Some(uses) = self.uses.get_mut(word as usize)
            {
                *uses = uses.saturating_add_signed(by);
            }
        }
        self.lengths.count(doc, by);
    }

    /// Makes a query of these words, folded, ready. Of more than [`QUERY_GRAMS`] grams the most common are left out.
    pub(super) fn query(&self, words: &[String]) -> Query {
        let (mut cutter, mut grams) = (Cutter::default(), Vec::new());
        words.iter().for_each(|word| cutter.word(word, &mut |gram| grams.push(gram)));
        grams.sort_unstable();
        let frequency =
            |gram: &Gram| self.parts.get(gram).map(|part| part.frequency).filter(|frequency| *frequency > 0);
        let mut distinct: Vec<(u32, Gram, u32)> = grams
            .chunk_by(|a, b| a == b)
            .filter_map(|same| same.first().map(|gram| (gram, same.len() as u32)))
            .map(|(gram, count)| (frequency(gram).unwrap_or(u32::MAX), *gram, count.min(QUERY_TERM_COUNT)))
            .collect();
        distinct.sort_unstable();
        distinct.truncate(QUERY_GRAMS);
        let weigh = |(frequency, _, count): &(u32, Gram, u32)| {
            // What no document has weighs like what one has.
            let frequency = if *frequency == u32::MAX { 1 } else { *frequency };
            (None, f64::from(*count) * self.lengths.idf(frequency))
        };
        let mut query = Query::new(Plan::new(distinct.iter().map(weigh)), self.vocabulary.len());
        let (mut tails, mut heads, mut across) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (_, gram, _)) in (0..).zip(&distinct) {
            if let Some((tail, head)) = gram.halves() {
                across.push((number_of(&mut tails, tail), number_of(&mut heads, head), place));
            } else {
                self.each_word(*gram, |word, count| query.link(word, place, count));
            }
        }
        for (number, tail) in (1..).zip(&tails) {
            self.each_word(*tail, |word, _| query.note(word, |features| *features.tail(tail.is_long()) = number));
        }
        for (number, head) in (1..).zip(&heads) {
            self.each_word(*head, |word, _| query.note(word, |features| *features.head(head.is_long()) = number));
        }
        query.join(&across, tails.len(), heads.len());
        query
    }

    fn each_word(&self, part: Gram, mut sink: impl FnMut(u32, u32)) {
        let Some(list) = self.parts.get(&part).and_then(|part| part.list.checked_sub(1)) else { return };
        let mut words = self.words.cursor(list);
        while let Some((word, count)) = words.current() {
            sink(word, count);
            words.advance();
        }
    }

    /// How often a document has each gram of a query, into `counts`.
    fn tally(&self, query: &Query, doc: u32, counts: &mut [u32]) {
        let mut add = |place: u32, weight: u32| {
            if let Some(count) = counts.get_mut(place as usize) {
                *count += weight;
            }
        };
        let (mut weight, mut before) = (0, &NOTHING);
        for step in Steps(self.documents.get(doc)) {
            match step {
                Step::Field(next) => (weight, before) = (next, &NOTHING),
                Step::Word(word) => {
                    let Some(features) = query.of(word) else {
                        before = &NOTHING;
                        continue;
                    };
                    let mut next = features.first;
                    while let Some(link) = query.links.get(next as usize) {
                        add(link.place, link.count * weight);
                        next = link.next;
                    }
                    let long = query.across(before.long_tail, features.short_head);
                    let short = query.across(before.short_tail, features.long_head);
                    long.into_iter().chain(short).for_each(|place| add(place, weight));
                    before = features;
                }
            }
        }
    }

    /// The best `k` of these documents: (document, score), best first. One without any gram of the query is not among them.
    pub(super) fn search(
        &self,
        query: &Query,
        documents: &[u32],
        k: usize,
        key: &dyn Fn(u32) -> ClaimKey,
    ) -> Vec<(u32, f32)> {
        let weights: Vec<f32> = query.plan.weights().map(|(_, weight)| weight).collect();
        let (mut counts, norm) = (vec![0; weights.len()], self.lengths.norm());
        let mut top = Top::new(k, key);
        for doc in documents {
            self.tally(query, *doc, &mut counts);
            let length = self.lengths.of(*doc);
            let mut sum = 0;
            for (count, weight) in counts.iter_mut().zip(&weights).filter(|(count, _)| **count > 0) {
                sum += norm.gain(*weight, std::mem::take(count), length);
            }
            if sum >= top.threshold() {
                top.offer(sum, *doc);
            }
        }
        top.into_sorted().into_iter().map(|(sum, doc)| (doc, query.plan.score(sum))).collect()
    }

    /// Share of the weight of the query's grams that a document has.
    pub(super) fn share(&self, query: &Query, doc: u32) -> f32 {
        let mut counts = vec![0; query.plan.len()];
        self.tally(query, doc, &mut counts);
        query.plan.share(|place, _| counts.get(place).is_some_and(|count| *count > 0)).1
    }

    /// The terms of the standing words that resemble `folded` most, by the grams that they share, the most similar first.
    pub(super) fn similar(&self, folded: &str) -> Vec<u32> {
        let (mut shared, mut touched) = (vec![0_u32; self.vocabulary.len()], Vec::new());
        let mut own = 0;
        parts(folded, &mut |part| {
            if !part.is_whole() {
                return;
            }
            own += 1;
            self.each_word(part, |word, _| {
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
            let other = self.vocabulary.term(word).chars().count().saturating_sub(1) as u32;
            2_000 * shared.min(own).min(other) / (own + other).max(1)
        };
        let mut found: Vec<(Reverse<u32>, &str, u32)> = touched
            .into_iter()
            .filter(|word| self.uses.get(*word as usize).is_some_and(|uses| *uses > 0))
            .map(|word| (Reverse(likeness(word)), self.vocabulary.term(word), word))
            .filter(|(Reverse(likeness), ..)| *likeness >= SIMILAR_FROM)
            .collect();
        found.sort_unstable();
        found.truncate(QUERY_SIMILAR_WORDS);
        found.into_iter().filter_map(|(.., word)| self.terms.get(word as usize).copied()).collect()
    }

    /// Forgets the words of the documents that `stands` refuses. They cannot be revived after it.
    pub(super) fn vacuum(&mut self, stands: impl Fn(u32) -> bool) {
        self.documents.retain(stands);
    }

    /// The largest of the parts whose size must fit in 32 bits, in bytes.
    pub(super) fn largest_part_bytes(&self) -> usize {
        self.vocabulary.text_bytes().max(self.documents.bytes()).max(self.words.arena_bytes())
    }

    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let numbers = (self.terms.capacity() + self.uses.capacity()) * 4;
        // Of the slots that a table has, one in eight is never filled; each has a byte beside it.
        let parts = self.parts.capacity() * 8 / 7 * (size_of::<(Gram, Part)>() + 1);
        let words = self.vocabulary.heap_bytes() + self.words.heap_bytes();
        numbers + parts + words + self.lengths.heap_bytes() + self.documents.heap_bytes()
    }
}

/// Hands each gram of a document with the weight of its field to `sink`.
fn each_gram(document: &[u8], vocabulary: &Dictionary, mut sink: impl FnMut(Gram, u32)) {
    let (mut cutter, mut weight) = (Cutter::default(), 0);
    for step in Steps(document) {
        match step {
            Step::Field(next) => (cutter, weight) = (Cutter::default(), next),
            Step::Word(word) => cutter.word(vocabulary.term(word), &mut |gram| sink(gram, weight)),
        }
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

/// What a word has of a query. Tails and heads go by number, 0 where the query has no such one.
#[derive(Debug, Clone, Copy)]
struct Features {
    /// Its first link.
    first: u32,
    short_tail: u16,
    long_tail: u16,
    short_head: u16,
    long_head: u16,
}

const NOTHING: Features = Features { first: u32::MAX, short_tail: 0, long_tail: 0, short_head: 0, long_head: 0 };

impl Features {
    const fn tail(&mut self, is_long: bool) -> &mut u16 {
        if is_long { &mut self.long_tail } else { &mut self.short_tail }
    }

    const fn head(&mut self, is_long: bool) -> &mut u16 {
        if is_long { &mut self.long_head } else { &mut self.short_head }
    }
}

/// One gram of a word.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// Its place in the plan.
    place: u32,
    count: u32,
    /// The next link of the word.
    next: u32,
}

/// A query made ready for [`Spelling::search`].
#[derive(Debug)]
pub(super) struct Query {
    plan: Plan,
    /// By word: where its features stand. Most have none, at 0.
    marks: Vec<u32>,
    features: Vec<Features>,
    links: Vec<Link>,
    /// By tail and head: one more than the place of the gram that they make.
    across: Vec<u32>,
    /// Width of a row of `across`.
    width: usize,
}

impl Query {
    fn new(plan: Plan, words: usize) -> Self {
        Self { plan, marks: vec![0; words], features: vec![NOTHING], links: Vec::new(), across: Vec::new(), width: 0 }
    }

    #[inline]
    fn of(&self, word: u32) -> Option<&Features> {
        let mark = self.marks.get(word as usize).copied().filter(|mark| *mark > 0)?;
        self.features.get(mark as usize)
    }

    /// Changes the features of a word.
    fn note(&mut self, word: u32, change: impl FnMut(&mut Features)) {
        let Some(mark) = self.marks.get_mut(word as usize) else { return };
        if *mark == 0 {
            *mark = self.features.len() as u32;
            self.features.push(NOTHING);
        }
        self.features.get_mut(*mark as usize).into_iter().for_each(change);
    }

    fn link(&mut self, word: u32, place: u32, count: u32) {
        let link = self.links.len() as u32;
        let mut next = u32::MAX;
        self.note(word, |features| next = std::mem::replace(&mut features.first, link));
        self.links.push(Link { place, count, next });
    }

    fn join(&mut self, across: &[(u16, u16, u32)], tails: usize, heads: usize) {
        self.width = heads + 1;
        self.across = vec![0; self.width * (tails + 1)];
        for (tail, head, place) in across {
            let at = usize::from(*tail) * self.width + usize::from(*head);
            self.across.get_mut(at).into_iter().for_each(|cell| *cell = place + 1);
        }
    }

    #[inline]
    fn across(&self, tail: u16, head: u16) -> Option<u32> {
        self.across.get(usize::from(tail) * self.width + usize::from(head))?.checked_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Draft, Spelling};
    use crate::knowledge::grams::{Cutter, Gram};

    fn grams(words: &[impl AsRef<str>]) -> Vec<Gram> {
        let (mut cutter, mut found) = (Cutter::default(), Vec::new());
        words.iter().for_each(|word| cutter.word(word.as_ref(), &mut |gram| found.push(gram)));
        found
    }

    fn spelling(texts: &[Vec<String>]) -> Spelling {
        let (mut view, mut draft) = (Spelling::default(), Draft::default());
        for words in texts {
            // The first word is the title.
            for (weight, field) in [(3, &words[..1]), (1, &words[1..])] {
                draft.field(weight);
                field.iter().for_each(|word| view.word(&mut draft, word, 0));
            }
            view.push(&mut draft);
        }
        view
    }

    proptest! {
        /// What is put together from words is what is cut from the text.
        #[test]
        fn grams_from_words_are_those_of_the_text(
            texts in prop::collection::vec(prop::collection::vec("[aé]{1,3}|[ab]{1,6}", 1..9), 1..6),
            query in prop::collection::vec("[aé]{1,3}|[ab]{1,6}", 1..9),
        ) {
            let view = spelling(&texts);
            let ready = view.query(&query);
            let mut wanted = grams(&query);
            wanted.sort_unstable();
            wanted.dedup();
            for (doc, words) in (0..).zip(&texts) {
                let mut counts = vec![0; ready.plan.len()];
                view.tally(&ready, doc, &mut counts);
                let of = |words: &[String], gram: &Gram| grams(words).iter().filter(|found| *found == gram).count() as u32;
                let mut expected: Vec<u32> =
                    wanted.iter().map(|gram| 3 * of(&words[..1], gram) + of(&words[1..], gram)).collect();
                counts.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(counts, expected);
                let length = 3 * grams(&words[..1]).len() + grams(&words[1..]).len();
                prop_assert_eq!(usize::from(view.lengths.of(doc)), length);
            }
        }
    }

    #[test]
    fn a_gram_counts_once_a_document_and_no_longer_when_that_is_buried() {
        let texts = [&["sealing", "sealed"][..], &["unsealed", "seal"]]
            .map(|words| words.iter().map(|word| (*word).to_owned()).collect());
        let mut view = spelling(&texts);
        let frequency = |view: &Spelling, word, at: usize| view.parts[&grams(&[word])[at]].frequency;
        assert_eq!((frequency(&view, "seal", 0), frequency(&view, "seal", 1)), (2, 2));
        view.bury(1);
        assert_eq!((frequency(&view, "seal", 1), frequency(&view, "unsealed", 1)), (1, 0));
        view.revive(1);
        assert_eq!(frequency(&view, "seal", 1), 2);
    }

    #[test]
    fn a_misspelled_word_resembles_what_was_meant_while_a_document_has_it() {
        let (mut view, mut draft) = (Spelling::default(), Draft::default());
        for (term, word) in (0..).zip(["database", "databank", "seal"]) {
            draft.field(1);
            view.word(&mut draft, word, term);
            view.push(&mut draft);
        }
        assert_eq!(view.similar("databasse"), [0, 1]);
        view.bury(0);
        assert_eq!(view.similar("databasse"), [1]);
        assert!(view.similar("ticket").is_empty());
    }
}
