//! What the file keeps, what it cuts off, and what a search finds in it.

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::limits::VIEW_DEPTH;

const MODEL: [u8; 32] = [7; 32];

fn key(number: u32) -> ClaimKey {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}

/// Vectors that look random and are the same each time.
fn vector(number: u32, dimensions: usize) -> Vec<f32> {
    let mut bytes = vec![0; dimensions * 2];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.as_chunks().0.iter().map(|cell| f32::from(i16::from_le_bytes(*cell)) / 10_000.0).collect()
}

fn numbered(numbers: std::ops::Range<u32>, dimensions: usize) -> Vec<(ClaimKey, Vec<f32>)> {
    numbers.map(|number| (key(number), vector(number, dimensions))).collect()
}

fn exact(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn what_was_kept_is_there_again_and_of_one_model_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v");
    let mut vectors = Vectors::open(&path, &MODEL).unwrap();
    vectors.append(&numbered(0..1_500, 24)).unwrap();
    vectors.append(&numbered(1_000..2_000, 24)).unwrap();
    assert_eq!(vectors.len(), 2_000);
    let again = Vectors::open(&path, &MODEL).unwrap();
    assert_eq!(again.len(), 2_000);
    assert!((0..2_000).all(|number| again.contains(&key(number))) && !again.contains(&key(2_000)));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(Vectors::open(&path, &[8; 32]).unwrap().is_empty());
}

#[test]
fn other_dimensions_are_refused_and_nothing_of_them_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut vectors = Vectors::open(&folder.path().join("v"), &MODEL).unwrap();
    let mixed = vec![(key(0), vector(0, 8)), (key(1), vector(1, 9))];
    assert!(matches!(vectors.append(&mixed), Err(VectorsError::Dimensions { kept: 8, got: 9 })));
    assert!(vectors.is_empty());
    vectors.append(&numbered(0..3, 9)).unwrap();
    assert!(matches!(vectors.append(&numbered(3..4, 8)), Err(VectorsError::Dimensions { kept: 9, got: 8 })));
    assert!(vectors.check(9).is_ok() && vectors.check(8).is_err());
    let refused = vectors.search(&vector(0, 8), 0.0, 5, &|_| Some(0), &|_| key(0));
    assert!(matches!(refused, Err(VectorsError::Dimensions { .. })));
}

#[test]
fn wherever_a_write_was_torn_the_rest_is_cut_off_and_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v");
    Vectors::open(&path, &MODEL).unwrap().append(&numbered(0..4, 12)).unwrap();
    let whole = fs::read(&path).unwrap();
    let record = (whole.len() - HEADER_BYTES) / 4;
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let mut vectors = Vectors::open(&path, &MODEL).unwrap();
        assert_eq!(vectors.len(), length.saturating_sub(HEADER_BYTES) / record, "{length} bytes");
        vectors.append(&numbered(0..4, 12)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole, "{length} bytes");
    }
}

#[test]
fn no_changed_byte_is_taken_for_a_vector() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v");
    Vectors::open(&path, &MODEL).unwrap().append(&numbered(0..3, 12)).unwrap();
    let whole = fs::read(&path).unwrap();
    let record = (whole.len() - HEADER_BYTES) / 3;
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        let left = Vectors::open(&path, &MODEL).unwrap().len();
        assert_eq!(left, at.checked_sub(HEADER_BYTES).map_or(0, |at| at / record), "byte {at}");
    }
}

#[test]
fn a_vector_of_zeros_is_close_to_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut vectors = Vectors::open(&folder.path().join("v"), &MODEL).unwrap();
    vectors.append(&[(key(0), vec![0.0; 4]), (key(1), vec![1.0, 0.0, 0.0, 0.0])]).unwrap();
    let document = |claim: &ClaimKey| Some(u32::from(*claim == key(1)));
    let found = |query: &[f32]| vectors.search(query, 0.0, 5, &document, &key).unwrap();
    assert_eq!(found(&[1.0, 0.0, 0.0, 0.0]), [(1, 1.0)]);
    assert!(found(&[0.0; 4]).is_empty() && found(&[-1.0, 0.0, 0.0, 0.0]).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_search_finds_the_closest_that_pass(dimensions in 1..70_usize, count in 1..1_300_u32, above in 0.0..0.3_f32, k in 1..40_usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut vectors = Vectors::open(&folder.path().join("v"), &MODEL).unwrap();
        vectors.append(&numbered(0..count, dimensions)).unwrap();
        let numbers: std::collections::HashMap<ClaimKey, u32> = (0..count).map(|number| (key(number), number)).collect();
        let passes = |number: u32| !number.is_multiple_of(3);
        let query = vector(u32::MAX, dimensions);
        let document = |claim: &ClaimKey| numbers.get(claim).copied().filter(|number| passes(*number));
        let found = vectors.search(&query, above, k, &document, &key).unwrap();
        prop_assert!(found.len() <= k.min(VIEW_DEPTH) && found.is_sorted_by(|a, b| a.1 >= b.1));
        let mut all: Vec<f32> = (0..count).filter(|number| passes(*number)).map(|number| exact(&query, &vector(number, dimensions)) - above).collect();
        all.sort_by(|a, b| b.total_cmp(a));
        for (place, (number, cosine)) in found.iter().enumerate() {
            prop_assert!(passes(*number) && *cosine > 0.0);
            // Eight bits a cell: within a hundredth.
            prop_assert!((exact(&query, &vector(*number, dimensions)) - above - cosine).abs() < 0.02);
            prop_assert!((all[place] - cosine).abs() < 0.02);
        }
        let missed = all.iter().filter(|cosine| **cosine > 0.02).count().min(k);
        prop_assert!(found.len() >= missed);
    }
}
