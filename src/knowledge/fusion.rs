//! One ranking from several: each view's scores over its best [`VIEW_DEPTH`] documents are stretched to the span from 0 to 1
//! (min–max: Lee 1997, "Analyses of multiple evidence combination") and added by weight.

use super::ClaimKey;
use crate::limits::VIEW_DEPTH;

/// What one view found: (document, score), best first; at most [`VIEW_DEPTH`].
pub(super) type Ranking = Vec<(u32, f32)>;

/// All that the views, each with its weight, found: (document, score), best first, of equals the lower key first.
pub(super) fn fuse(rankings: &[(f32, Ranking)], key: &dyn Fn(u32) -> ClaimKey) -> Vec<(u32, f32)> {
    let mut parts: Vec<(u32, usize, f32)> = Vec::new();
    for (view, (weight, ranking)) in rankings.iter().enumerate() {
        let most = ranking.first().map_or(0.0, |(_, score)| *score);
        // A view that did not find so many found all: what it did not find has nothing in it.
        let least = if ranking.len() < VIEW_DEPTH { 0.0 } else { ranking.last().map_or(0.0, |(_, score)| *score) };
        let span = most - least;
        let part = |score: f32| if span > 0.0 { weight * ((score - least) / span) } else { 0.0 };
        parts.extend(ranking.iter().map(|(doc, score)| (*doc, view, part(*score))));
    }
    // In the sequence of the views, since sums of floats depend on theirs.
    parts.sort_unstable_by_key(|(doc, view, _)| (*doc, *view));
    let sum = |same: &[(u32, usize, f32)]| {
        let doc = same.first().map_or(0, |(doc, ..)| *doc);
        (doc, same.iter().map(|(.., part)| part).sum::<f32>())
    };
    let mut fused: Vec<(u32, f32)> = parts.chunk_by(|a, b| a.0 == b.0).map(sum).collect();
    fused.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| key(a.0).cmp(&key(b.0))));
    fused
}

#[cfg(test)]
mod tests {
    use super::fuse;
    use crate::limits::VIEW_DEPTH;

    fn keys(doc: u32) -> [u8; 32] {
        [u8::MAX - doc as u8; 32]
    }

    #[test]
    fn scores_are_stretched_and_added_by_weight() {
        let fused = fuse(&[(0.5, vec![(0, 8.0), (1, 4.0)]), (0.3, vec![(2, 0.9), (1, 0.3)]), (0.2, vec![])], &keys);
        let rounded = |(doc, score): &(u32, f32)| (*doc, (score * 1_000.0).round() as i32);
        assert_eq!(fused.iter().map(rounded).collect::<Vec<_>>(), [(0, 500), (1, 350), (2, 300)]);
        assert!(fuse(&[(1.0, vec![])], &keys).is_empty() && fuse(&[], &keys).is_empty());
    }

    #[test]
    fn equals_go_by_key_and_a_full_view_starts_at_its_last() {
        let fused = fuse(&[(0.5, vec![(0, 1.0), (1, 1.0)])], &keys);
        assert_eq!(fused, [(1, 0.5), (0, 0.5)]);
        let full = (0..VIEW_DEPTH as u32).map(|doc| (doc, 3_000.0 - doc as f32)).collect();
        let fused = fuse(&[(0.5, full)], &keys);
        assert_eq!((fused[0], fused[VIEW_DEPTH - 1].1), ((0, 0.5), 0.0));
    }
}
