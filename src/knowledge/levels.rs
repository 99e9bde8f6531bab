//! Which segments to put together, so that there are few of them and each document is moved seldom: eight of a size become one of the
//! next (a log-structured merge, O'Neil et al. 1996, in tiers, as Lucene does it).

use crate::limits::{SEGMENT_BYTES, SEGMENT_DOCUMENTS};

/// Segments of one level that become one of the next.
const TOGETHER: usize = 8;

/// A segment's documents and bytes.
pub type Size = (u32, usize);

/// The places of the segments that are to become one, if any are: of the lowest level that is full. What is more than half as large as a
/// segment may get stays as it is.
#[must_use]
pub fn due(sizes: &[Size]) -> Option<Vec<usize>> {
    let moves = |(documents, bytes): Size| documents as usize <= SEGMENT_DOCUMENTS / 2 && bytes <= SEGMENT_BYTES / 2;
    let level = |(documents, _): Size| documents.max(1).ilog2() / TOGETHER.ilog2();
    for wanted in 0..=(SEGMENT_DOCUMENTS as u32).ilog2() {
        let same = sizes.iter().enumerate().filter(|(_, size)| moves(**size) && level(**size) == wanted);
        let same: Vec<(usize, Size)> = same.map(|(at, size)| (at, *size)).collect();
        if same.len() >= TOGETHER {
            let (mut documents, mut bytes) = (0, 0);
            let fits = same.into_iter().take(TOGETHER).take_while(|(_, size)| {
                documents += size.0 as usize;
                bytes += size.1;
                documents <= SEGMENT_DOCUMENTS && bytes <= SEGMENT_BYTES
            });
            return Some(fits.map(|(at, _)| at).collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{SEGMENT_BYTES, SEGMENT_DOCUMENTS, due};

    #[test]
    fn a_million_single_documents_end_in_few_segments_each_within_bounds() {
        let (mut sizes, mut moved, mut most) = (Vec::new(), 0_u64, 0);
        for _ in 0..1_000_000 {
            sizes.push((1, 600));
            while let Some(places) = due(&sizes) {
                assert!(places.len() > 1);
                let all = places.iter().map(|at| sizes[*at]).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
                for at in places.iter().rev() {
                    sizes.remove(*at);
                }
                assert!(all.0 as usize <= SEGMENT_DOCUMENTS && all.1 <= SEGMENT_BYTES);
                moved += u64::from(all.0);
                sizes.push(all);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= 7 * 6 + 8, "{most} segments");
        assert!(moved <= 6_000_000, "{moved} documents were moved");
    }

    #[test]
    fn large_documents_make_segments_of_fewer() {
        let sizes = [(1, SEGMENT_BYTES / 3); 8];
        assert_eq!(due(&sizes).map(|places| places.len()), Some(3));
        assert_eq!(due(&[(1, SEGMENT_BYTES); 9]), None);
    }
}
