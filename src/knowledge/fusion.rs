//! One ranking from several: each view's scores over its best [`VIEW_DEPTH`] documents are stretched to the span from 0 to 1
//! (min–max: Lee 1997, "Analyses of multiple evidence combination") and added by weight.

use super::ClaimKey;
use super::top::start;
use crate::limits::VIEW_DEPTH;

/// How many views there are.
pub(super) const VIEWS: usize = 4;

/// What one view found: (document, score), best first; at most [`VIEW_DEPTH`].
pub(super) type Ranking = Vec<(u32, f32)>;

/// All that the views found: (document, score), best first, of equals the lower key first. `weights` says for each document what each view
/// weighs.
pub(super) fn fuse(
    weights: &dyn Fn(u32) -> [f32; VIEWS],
    rankings: [Ranking; VIEWS],
    key: &dyn Fn(u32) -> ClaimKey,
) -> Vec<(u32, f32)> {
    let mut parts: Vec<(u32, usize, f32)> = Vec::new();
    for (view, ranking) in rankings.into_iter().enumerate() {
        let most = ranking.first().map_or(0.0, |(_, score)| *score);
        // A view that did not find so many found all: what it did not find has nothing in it.
        let least = if ranking.len() < VIEW_DEPTH { 0.0 } else { ranking.last().map_or(0.0, |(_, score)| *score) };
        let span = most - least;
        let part = |score: f32| if span > 0.0 { (score - least) / span } else { 0.0 };
        parts.extend(ranking.into_iter().map(|(doc, score)| (doc, view, part(score))));
    }
    // In the sequence of the views, since sums of floats depend on theirs.
    parts.sort_unstable_by_key(|(doc, view, _)| (*doc, *view));
    let sum = |same: &[(u32, usize, f32)]| {
        let doc = same.first().map_or(0, |(doc, ..)| *doc);
        let weights = weights(doc);
        let weighted = |(_, view, part): &(u32, usize, f32)| weights.get(*view).copied().unwrap_or_default() * part;
        (doc, same.iter().map(weighted).sum::<f32>(), start(&key(doc)))
    };
    let mut fused: Vec<(u32, f32, u64)> = parts.chunk_by(|a, b| a.0 == b.0).map(sum).collect();
    fused.sort_unstable_by(|a, b| {
        let by_start = b.1.total_cmp(&a.1).then(a.2.cmp(&b.2));
        by_start.then_with(|| key(a.0).cmp(&key(b.0)))
    });
    fused.into_iter().map(|(doc, score, _)| (doc, score)).collect()
}

#[cfg(test)]
mod tests {
    use super::fuse;
    use crate::limits::VIEW_DEPTH;

    fn keys(doc: u32) -> [u8; 32] {
        [u8::MAX - doc as u8; 32]
    }

    const WEIGHTS: [f32; 4] = [0.5, 0.3, 0.2, 0.0];

    fn weights(_: u32) -> [f32; 4] {
        WEIGHTS
    }

    #[test]
    fn scores_are_stretched_and_added_by_weight() {
        let fused = fuse(&weights, [vec![(0, 8.0), (1, 4.0)], vec![(2, 0.9), (1, 0.3)], vec![], vec![]], &keys);
        let rounded = |(doc, score): &(u32, f32)| (*doc, (score * 1_000.0).round() as i32);
        assert_eq!(fused.iter().map(rounded).collect::<Vec<_>>(), [(0, 500), (1, 350), (2, 300)]);
        assert!(fuse(&weights, [vec![], vec![], vec![], vec![]], &keys).is_empty());
    }

    #[test]
    fn a_document_is_weighed_by_what_knows_it() {
        let known = |doc: u32| if doc == 0 { [0.4, 0.0, 0.0, 0.6] } else { [0.8, 0.2, 0.0, 0.0] };
        let fused = fuse(&known, [vec![(1, 4.0), (0, 1.0)], vec![], vec![], vec![(0, 0.7)]], &keys);
        let rounded = |(doc, score): &(u32, f32)| (*doc, (score * 1_000.0).round() as i32);
        assert_eq!(fused.iter().map(rounded).collect::<Vec<_>>(), [(1, 800), (0, 700)]);
    }

    #[test]
    fn equals_go_by_key_and_a_full_view_starts_at_its_last() {
        let fused = fuse(&weights, [vec![(0, 1.0), (1, 1.0)], vec![], vec![], vec![]], &keys);
        assert_eq!(fused, [(1, 0.5), (0, 0.5)]);
        let full = (0..VIEW_DEPTH as u32).map(|doc| (doc, 3_000.0 - doc as f32)).collect();
        let fused = fuse(&weights, [full, vec![], vec![], vec![]], &keys);
        assert_eq!((fused[0], fused[VIEW_DEPTH - 1].1), ((0, 0.5), 0.0));
    }
}
