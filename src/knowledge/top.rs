//! The best `k` of a stream of scored documents.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicU32};

use super::ClaimKey;

/// What it keeps above `k` at least, so that a choice is made for many offers at once.
const SPARE: usize = 256;

/// Keeps the best `k`. More is better; of equals the lower key is, so that the choice depends on no sequence.
pub(super) struct Top<'a> {
    k: usize,
    key: &'a dyn Fn(u32) -> ClaimKey,
    /// At least the best `k` of what was offered.
    kept: Vec<Kept>,
    threshold: u32,
    /// The last of the best `k`, once there are so many.
    last: Option<Kept>,
    /// What the best `k` of all that share it reach at least: who has found `k` raises it for all. When they do so shows in no answer,
    /// for what is skipped is not among the best of all.
    floor: &'a AtomicU32,
}

/// A document with the start of its key, which tells nearly all equals apart: the keys themselves lie all over the memory.
#[derive(Debug, Clone, Copy)]
struct Kept {
    score: u32,
    doc: u32,
    start: u64,
}

impl<'a> Top<'a> {
    /// `key` gives the key of a document; `floor`, 0 at first, is common to all that look for the same `k`.
    pub(super) const fn new(k: usize, key: &'a dyn Fn(u32) -> ClaimKey, floor: &'a AtomicU32) -> Self {
        Self { k, key, kept: Vec::new(), threshold: 1, last: None, floor }
    }

    /// What scores less cannot be among the best.
    #[inline]
    pub(super) fn threshold(&self) -> u32 {
        self.threshold.max(self.floor.load(atomic::Ordering::Relaxed))
    }

    /// Offers one document.
    pub(super) fn offer(&mut self, score: u32, doc: u32) {
        let offered = Kept { score, doc, start: start(&(self.key)(doc)) };
        // Where thousands score alike, nearly all of them end here.
        if self.last.is_some_and(|last| last.comes_before(&offered)) {
            return;
        }
        self.kept.push(offered);
        if self.kept.len() >= self.k.saturating_mul(2).max(self.k.saturating_add(SPARE)) {
            self.choose();
        }
    }

    fn choose(&mut self) {
        let Self { k, key, kept, threshold, last, floor } = self;
        if let Some(at) = k.checked_sub(1).filter(|at| *at < kept.len()) {
            let (_, worst, _) = kept.select_nth_unstable_by(at, |a, b| a.order(b, *key));
            *threshold = worst.score;
            *last = Some(*worst);
            floor.fetch_max(worst.score, atomic::Ordering::Relaxed);
        }
        kept.truncate(*k);
    }

    /// (score, document), in no sequence.
    pub(super) fn into_best(mut self) -> Vec<(u32, u32)> {
        self.choose();
        self.kept.into_iter().map(|kept| (kept.score, kept.doc)).collect()
    }

    /// (score, document), best first.
    pub(super) fn into_sorted(mut self) -> Vec<(u32, u32)> {
        self.choose();
        self.kept.sort_unstable_by(|a, b| a.order(b, self.key));
        self.kept.into_iter().map(|kept| (kept.score, kept.doc)).collect()
    }
}

impl Kept {
    /// Whether it is better, as far as the start of its key tells.
    const fn comes_before(&self, other: &Self) -> bool {
        self.score > other.score || (self.score == other.score && self.start < other.start)
    }

    fn order(&self, other: &Self, key: &dyn Fn(u32) -> ClaimKey) -> Ordering {
        let by_start = other.score.cmp(&self.score).then(self.start.cmp(&other.start));
        by_start.then_with(|| if self.doc == other.doc { Ordering::Equal } else { key(self.doc).cmp(&key(other.doc)) })
    }
}

/// The first bytes of a key, in the sequence of keys.
pub(super) fn start(key: &ClaimKey) -> u64 {
    key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AtomicU32, Top};

    proptest! {
        #[test]
        fn the_best_stay_and_ties_go_to_the_lower_key(scores in prop::collection::vec(1..50_u32, 0..2_000), k in 0..40_usize) {
            // Keys run against the numbers, so that neither arrival nor number decides; some differ only in their ends.
            let key = |doc: u32| {
                let (mut key, at) = ([0; 32], if doc.is_multiple_of(3) { 28 } else { 0 });
                key[at..at + 4].copy_from_slice(&(!doc.reverse_bits()).to_be_bytes());
                key
            };
            let floor = AtomicU32::new(0);
            let mut top = Top::new(k, &key, &floor);
            let mut all: Vec<(u32, u32)> = scores.into_iter().zip(0..).collect();
            for (score, doc) in &all {
                if *score >= top.threshold() {
                    top.offer(*score, *doc);
                }
            }
            all.sort_by_key(|(score, doc)| (u32::MAX - score, key(*doc)));
            all.truncate(k);
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
