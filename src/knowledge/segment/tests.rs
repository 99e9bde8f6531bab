use proptest::prelude::*;

use super::{Builder, Segment, SegmentError, TRAILER_BYTES};
use crate::identity::SecretKey;
use crate::knowledge::index::{Filter, Index};
use crate::knowledge::{Document, Stamp};

fn segment(documents: std::ops::Range<u8>) -> Segment {
    let mut builder = Builder::default();
    for number in documents {
        let document = Document {
            title: number.is_multiple_of(2).then(|| format!("title {number}")),
            text: format!("the notary seals block {number} of peer{} café 知識", number % 3),
            tags: vec!["seal".into(), format!("t{}", number % 4)],
        };
        let author = SecretKey::from_seed(&[number % 5; 32]).identity();
        builder.add([number; 32], &document, &Stamp { author, created_ms: number.into() }, u64::from(number) + 100);
    }
    builder.finish()
}

#[test]
fn a_segment_reads_as_it_was_made_and_merged_ones_alike() {
    for segment in [segment(0..50), Segment::merged(&[segment(30..50), segment(0..10), segment(10..30)])] {
        assert!(segment.is_whole());
        assert_eq!((segment.len(), segment.positions()), (50, 100..150));
        for number in 0..50_u8 {
            let doc = segment.find(&[number; 32]).unwrap();
            assert_eq!(segment.key(doc), Some(&[number; 32]));
            let author = SecretKey::from_seed(&[number % 5; 32]).identity();
            assert_eq!(segment.stamp(doc), Some(Stamp { author, created_ms: number.into() }));
            let tags: Vec<&[u8]> = segment.tags_of(doc).map(|tag| segment.tags().get(tag)).collect();
            assert_eq!(tags, [b"seal", format!("t{}", number % 4).as_bytes()]);
        }
        assert_eq!((segment.find(&[77; 32]), segment.key(50), segment.stamp(50)), (None, None, None));
    }
    let empty = Builder::default().finish();
    assert!(empty.is_whole() && empty.is_empty());
    assert!(Segment::merged(&[empty.clone(), segment(0..3), empty]).bytes() == segment(0..3).bytes());
}

#[test]
fn what_is_no_segment_or_another_versions_is_refused() {
    let bytes = segment(0..5).bytes().to_vec();
    let open = |bytes: Vec<u8>| Segment::open(Box::new(bytes)).map(drop);
    assert_eq!(open(bytes.clone()), Ok(()));
    for length in [0, 1, 7, 8, TRAILER_BYTES - 1, TRAILER_BYTES, bytes.len() - 1] {
        assert!(open(bytes[..length].to_vec()).is_err(), "{length} bytes were opened");
    }
    assert_eq!(open(bytes[1..].to_vec()), Err(SegmentError::NotOne));
    let changed = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        open(bytes)
    };
    assert_eq!(changed(bytes.len() - 1), Err(SegmentError::Version));
    assert_eq!(changed(bytes.len() - 8), Err(SegmentError::NotOne));
    assert_eq!(changed(bytes.len() - TRAILER_BYTES), Err(SegmentError::Damaged));
    // What the trailer does not tell, the hash over all does.
    assert_eq!(changed(0), Ok(()));
    let mut damaged = bytes;
    damaged[0] ^= 1;
    assert!(!Segment::open(Box::new(damaged)).unwrap().is_whole());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever a disk makes of the sections: searches, merges and looks end, and nothing panics.
    #[test]
    fn damaged_bytes_do_no_harm(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        run in (any::<prop::sample::Index>(), 0..400_usize, any::<u8>()),
    ) {
        let good = segment(0..20);
        let mut bytes = good.bytes().to_vec();
        let end = bytes.len() - TRAILER_BYTES;
        for (at, value) in damage {
            bytes[at.index(end)] = value;
        }
        let start = run.0.index(end);
        bytes[start..(start + run.1).min(end)].fill(run.2);
        let damaged = Segment::open(Box::new(bytes)).unwrap();
        let merged = Segment::merged(&[damaged.clone(), segment(20..30)]);
        for segment in [damaged, merged] {
            for doc in 0..segment.len() + 2 {
                let _something = (segment.stamp(doc), segment.find(&[doc as u8; 32]));
            }
            let index = Index::of([segment, good.clone()]);
            let tags = ["seal".to_owned()];
            for query in ["sealed blocks of the notary", "notarry blok title peer1", "知識 cafe"] {
                for filter in [Filter::ALL, Filter { tags: &tags, since_ms: Some(3), ..Filter::ALL }] {
                    let _hits = index.search(query, 10, &filter);
                }
            }
            (0..60).for_each(|doc| drop(index.stems(doc)));
        }
    }
}
