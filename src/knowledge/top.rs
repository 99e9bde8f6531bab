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
    /// (score, document): at least the best `k` of what was offered.
    kept: Vec<(u32, u32)>,
    threshold: u32,
    /// What the best `k` of all that share it reach at least: who has found `k` raises it for all. When they do so shows in no answer,
    /// for what is skipped is not among the best of all.
    floor: &'a AtomicU32,
}

impl<'a> Top<'a> {
    /// `key` gives the key of a document; `floor`, 0 at first, is common to all that look for the same `k`.
    pub(super) const fn new(k: usize, key: &'a dyn Fn(u32) -> ClaimKey, floor: &'a AtomicU32) -> Self {
        Self { k, key, kept: Vec::new(), threshold: 1, floor }
    }

    /// What scores less cannot be among the best.
    #[inline]
    pub(super) fn threshold(&self) -> u32 {
        self.threshold.max(self.floor.load(atomic::Ordering::Relaxed))
    }

    /// Offers one document.
    pub(super) fn offer(&mut self, score: u32, doc: u32) {
        self.kept.push((score, doc));
        if self.kept.len() >= self.k.saturating_mul(2).max(self.k.saturating_add(SPARE)) {
            self.choose();
        }
    }

    fn choose(&mut self) {
        let Self { k, key, kept, threshold, floor } = self;
        if let Some(last) = k.checked_sub(1).filter(|last| *last < kept.len()) {
            let (_, worst, _) = kept.select_nth_unstable_by(last, |a, b| order(*a, *b, *key));
            *threshold = worst.0;
            floor.fetch_max(worst.0, atomic::Ordering::Relaxed);
        }
        kept.truncate(*k);
    }

    /// (score, document), in no sequence.
    pub(super) fn into_best(mut self) -> Vec<(u32, u32)> {
        self.choose();
        self.kept
    }

    /// (score, document), best first.
    pub(super) fn into_sorted(mut self) -> Vec<(u32, u32)> {
        self.choose();
        self.kept.sort_unstable_by(|a, b| order(*a, *b, self.key));
        self.kept
    }
}

fn order(a: (u32, u32), b: (u32, u32), key: &dyn Fn(u32) -> ClaimKey) -> Ordering {
    b.0.cmp(&a.0).then_with(|| key(a.1).cmp(&key(b.1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AtomicU32, Top};

    proptest! {
        #[test]
        fn the_best_stay_and_ties_go_to_the_lower_key(scores in prop::collection::vec(1..50_u32, 0..2_000), k in 0..40_usize) {
            // Keys run against the numbers, so that neither arrival nor number decides.
            let key = |doc: u32| {
                let mut key = [0; 32];
                key[..4].copy_from_slice(&(!doc.reverse_bits()).to_be_bytes());
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
