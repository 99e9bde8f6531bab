//! BM25 (Robertson & Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond"): what a term weighs, and what it
//! gives to a document that has it.
//!
//! Invariant: the same numbers give the same score to the bit on every node, whatever the sequence in which gains are added.

/// How fast repetition of a term stops to count (ibid. §3.5: good values lie between 1.2 and 2).
const K1: f32 = 1.5;
/// How much a long document is held to need more repetition (ibid.: 0.5 to 0.8; 0.75 is Lucene's).
const B: f32 = 0.75;
/// Documents without any of the terms that every collection is held to have besides its own. Three claims say little of how
/// rare a word is, and a word that all three have is still a word; of thousands the prior changes nothing.
const UNSEEN: f64 = 100.0;
/// Scores are counted in units of 2^-16 of a natural unit of information, or coarser where a long query would overflow: sums of
/// integers do not depend on their sequence, which sums of floats do.
const SCALE: f64 = 65_536.0;
/// Sum of all weights of one query in those units.
const LARGEST_SUM: f64 = 2_147_483_648.0;

/// `k1·(1-b)` and `k1·b/mean`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Norm {
    fixed: f32,
    slope: f32,
}

impl Norm {
    /// For documents whose lengths make up `total`.
    pub(super) fn new(documents: u64, total: u64) -> Self {
        let mean = (total as f32 / documents.max(1) as f32).max(1.0);
        Self { fixed: K1 * (1.0 - B), slope: K1 * B / mean }
    }

    /// What a term of weight `term`, in units of the score, gives to a document of this length that has it `count` times.
    /// At least one: a term that all documents have still finds them.
    #[inline]
    pub(super) fn gain(self, term: f32, count: u32, length: u16) -> u32 {
        let count = count as f32;
        ((term * count / (count + self.fixed + self.slope * f32::from(length))) as u32).max(1)
    }
}

/// A query made ready: the weight of each wanted term, the units of its scores, and the sum of all weights.
#[derive(Debug, Default)]
pub(super) struct Plan {
    weights: Vec<f64>,
    scale: f64,
    most: f64,
}

impl Plan {
    /// From the weight of each wanted term.
    pub(super) fn new(weights: impl IntoIterator<Item = f64>) -> Self {
        let weights: Vec<f64> = weights.into_iter().collect();
        let most: f64 = weights.iter().sum();
        Self { scale: if most * SCALE > LARGEST_SUM { LARGEST_SUM / most } else { SCALE }, weights, most }
    }

    /// The weight of each wanted term in units of the score.
    pub(super) fn weights(&self) -> impl Iterator<Item = f32> + '_ {
        self.weights.iter().map(|weight| (weight * self.scale) as f32)
    }

    /// Which of the wanted terms `has` accepts, by place, and their share of the weight of all of them.
    pub(super) fn share(&self, has: impl Fn(usize) -> bool) -> (Vec<usize>, f32) {
        let terms = self.weights.iter().enumerate().filter(|(at, _)| has(*at));
        let (matched, weights): (Vec<usize>, Vec<f64>) = terms.map(|(at, weight)| (at, *weight)).unzip();
        (matched, (weights.iter().sum::<f64>() / self.most.max(f64::MIN_POSITIVE)) as f32)
    }

    /// Wanted terms.
    pub(super) const fn len(&self) -> usize {
        self.weights.len()
    }

    /// A sum of gains as a score.
    pub(super) fn score(&self, sum: u32) -> f32 {
        (f64::from(sum) / self.scale) as f32
    }
}

/// Inverse document frequency in Lucene's form, which is never negative, with [`UNSEEN`] documents more.
pub(super) fn idf(documents: u64, frequency: u64) -> f64 {
    let (documents, frequency) = (documents as f64 + UNSEEN, frequency as f64);
    ln(1.0 + (documents - frequency + 0.5) / (frequency + 0.5))
}

/// The natural logarithm of a number from 1 up, from the four operations that IEEE 754 defines to the last bit: the one of the
/// platform's library may differ between two nodes.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1_023;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    // ln(m) = 2·artanh((m-1)/(m+1)), with m in [1, 2): the tail behind the 20th term is below 10^-19.
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..20).rev().fold(0.0, |sum, at| sum * square + 1.0 / f64::from(2 * at + 1));
    f64::from(exponent) * std::f64::consts::LN_2 + 2.0 * ratio * series
}

#[cfg(test)]
mod tests {
    use super::{idf, ln};

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        for x in [1.0, 1.000_001, 1.5, 2.0, 2.8, 10.0, 1_234.5, 4e9] {
            assert!((ln(x) - x.ln()).abs() < 1e-14 * x.ln().max(1.0), "{x}: {} {}", ln(x), x.ln());
        }
    }

    #[test]
    fn rarer_is_heavier_and_nothing_is_negative() {
        for documents in [1, 2, 10, 1_000_000] {
            let weights: Vec<f64> = (0..=1_000.min(documents)).map(|frequency| idf(documents, frequency)).collect();
            assert!(weights.windows(2).all(|pair| pair[0] > pair[1]) && weights.iter().all(|weight| *weight > 0.0));
        }
    }
}
