//! A package opens with its key as a whole, and whatever is wrong with it can be shown.

use proptest::prelude::*;

use super::*;

const KIB: usize = 1024;

fn key() -> PackageKey {
    PackageKey::from_bytes([7; 32])
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

#[test]
fn what_is_encrypted_opens_at_every_length() {
    let chunk = PACKAGE_CHUNK_BYTES;
    for bytes in
        [1, 2, chunk - 1, chunk, chunk + 1, 2 * chunk, 3 * chunk, 5 * chunk + 7, 8 * chunk, limits::PACKAGE_BYTES]
    {
        let content = content(bytes);
        let (ciphertext, commitment) = encrypt(&key(), &content).unwrap();
        assert_eq!(ciphertext.len(), commitment.ciphertext_bytes());
        assert_eq!(commitment.chunks() as usize, bytes.div_ceil(chunk));
        assert!(check_ciphertext(&commitment, &ciphertext).is_ok());
        assert!(open(&commitment, &key(), &ciphertext).unwrap() == content, "{bytes} bytes");
        for index in [0, commitment.chunks() / 2, commitment.chunks() - 1] {
            let proof = prove(&ciphertext, index).unwrap();
            assert!(commitment.has(&proof) && proof.path.len() <= PATH_HASHES);
            let from = index as usize * chunk;
            let opened = commitment.open_chunk(&key(), index, &proof.chunk).unwrap();
            assert!(opened == content[from..bytes.min(from + chunk)]);
        }
        assert_eq!(prove(&ciphertext, commitment.chunks()), None);
    }
}

#[test]
fn nothing_and_too_much_are_no_package() {
    for bytes in [0, limits::PACKAGE_BYTES + 1] {
        assert_eq!(encrypt(&key(), &content(bytes)), Err(PackageError::Size(bytes)));
    }
    let (_, commitment) = encrypt(&key(), b"a").unwrap();
    let none = Commitment { content_bytes: 0, ..commitment };
    assert!(check_ciphertext(&none, b"").is_err());
    assert_eq!((none.chunks(), none.chunk_bytes(0), none.ciphertext_bytes()), (0, 0, 0));
}

#[test]
fn an_altered_package_is_refused_before_it_is_paid_for() {
    let (ciphertext, commitment) = encrypt(&key(), &content(200 * KIB)).unwrap();
    for at in [0, CHUNK_BYTES - 1, CHUNK_BYTES, ciphertext.len() - 1] {
        let mut altered = ciphertext.clone();
        altered[at] ^= 1;
        assert_eq!(check_ciphertext(&commitment, &altered), Err(PackageError::Ciphertext(commitment.package)));
    }
    let mut swapped = ciphertext[CHUNK_BYTES..2 * CHUNK_BYTES].to_vec();
    swapped.extend(&ciphertext[..CHUNK_BYTES]);
    swapped.extend(&ciphertext[2 * CHUNK_BYTES..]);
    assert_eq!(check_ciphertext(&commitment, &swapped), Err(PackageError::Ciphertext(commitment.package)));
    for length in [0, 1, CHUNK_BYTES, ciphertext.len() - 1] {
        let expected = PackageError::Length { expected: ciphertext.len(), got: length };
        assert_eq!(check_ciphertext(&commitment, &ciphertext[..length]), Err(expected));
    }
    // Another length announced: another number of chunks, or a last one of another length.
    for content_bytes in [commitment.content_bytes - 1, commitment.content_bytes + 1, 1] {
        assert!(check_ciphertext(&Commitment { content_bytes, ..commitment }, &ciphertext).is_err());
    }
}

#[test]
fn the_wrong_key_and_a_false_chunk_can_be_told_apart() {
    let (mut garbage, commitment) = encrypt(&key(), &content(200 * KIB)).unwrap();
    let other = PackageKey::from_bytes([8; 32]);
    assert_eq!(open(&commitment, &other, &garbage), Err(PackageError::Key));
    // A seller who sells garbage: the tree is right, and its second chunk is none.
    garbage[CHUNK_BYTES + 5] ^= 1;
    let leaves: Vec<TreeHash> = garbage.chunks(CHUNK_BYTES).map(leaf).collect();
    let sold = root_of(&commitment, &leaves).unwrap();
    assert!(check_ciphertext(&sold, &garbage).is_ok());
    assert_eq!(open(&sold, &key(), &garbage), Err(PackageError::Chunk(1)));
    for index in 0..sold.chunks() {
        let proof = prove(&garbage, index).unwrap();
        assert!(sold.has(&proof));
        let is_whole = sold.open_chunk(&key(), index, &proof.chunk).is_ok();
        assert_eq!(is_whole, index != 1);
    }
}

#[test]
fn chunks_of_another_place_or_package_do_not_open() {
    let (ciphertext, commitment) = encrypt(&key(), &content(3 * PACKAGE_CHUNK_BYTES)).unwrap();
    let first = &ciphertext[..CHUNK_BYTES];
    assert!(commitment.open_chunk(&key(), 0, first).is_ok());
    assert_eq!(commitment.open_chunk(&key(), 1, first), Err(PackageError::Chunk(1)));
    // The last chunk of a shorter package is not a middle one of a longer, though key and number are the same.
    let (short, _) = encrypt(&key(), &content(PACKAGE_CHUNK_BYTES)).unwrap();
    assert_eq!(commitment.open_chunk(&key(), 0, &short), Err(PackageError::Chunk(0)));
}

#[test]
fn a_proof_holds_for_its_chunk_and_place_alone() {
    for chunks in 1..=9u32 {
        let (ciphertext, commitment) = encrypt(&key(), &content(chunks as usize * PACKAGE_CHUNK_BYTES)).unwrap();
        for index in 0..chunks {
            let good = prove(&ciphertext, index).unwrap();
            assert!(commitment.has(&good));
            for other in (0..chunks + 2).filter(|other| *other != index) {
                assert!(
                    !commitment.has(&ChunkProof { index: other, ..good.clone() }),
                    "{index} of {chunks} as {other}"
                );
            }
            let mut longer = good.clone();
            longer.path.push(TreeHash::from_bytes([1; 32]));
            assert!(!commitment.has(&longer));
            if let Some(at) = good.path.len().checked_sub(1) {
                let mut shorter = good.clone();
                shorter.path.truncate(at);
                assert!(!commitment.has(&shorter));
                let mut changed = good.clone();
                changed.path[at] = TreeHash::from_bytes([1; 32]);
                assert!(!commitment.has(&changed));
            }
            let mut altered = good.clone();
            altered.chunk[0] ^= 1;
            assert!(!commitment.has(&altered));
        }
    }
}

#[test]
fn a_stream_comes_to_the_same_and_keeps_to_what_was_announced() {
    let content = content(130 * KIB);
    let (ciphertext, commitment) = encrypt(&key(), &content).unwrap();
    let mut encryptor = Encryptor::new(&key(), content.len()).unwrap();
    assert!(encryptor.next(&content[..5]).is_err());
    let mut streamed = Vec::new();
    for chunk in content.chunks(PACKAGE_CHUNK_BYTES) {
        streamed.extend(encryptor.next(chunk).unwrap());
    }
    assert!(encryptor.next(b"more").is_err() && encryptor.next(b"").is_err());
    assert_eq!(encryptor.finish(), Ok(commitment));
    assert!(streamed == ciphertext);
    let mut checker = Checker::new(commitment);
    assert_eq!(checker.expected(), CHUNK_BYTES);
    checker.next(&ciphertext[..CHUNK_BYTES]).unwrap();
    assert!(checker.next(&ciphertext[..7]).is_err());
    assert!(matches!(checker.finish(), Err(PackageError::Length { .. })));
}

#[test]
fn a_third_party_cannot_tell_what_is_inside() {
    let (ours, a) = encrypt(&key(), b"the same words").unwrap();
    let (theirs, b) = encrypt(&PackageKey::from_bytes([8; 32]), b"the same words").unwrap();
    assert!(a.package != b.package && a.key != b.key && ours != theirs);
    assert_eq!(format!("{:?}", key()), "PackageKey(…)");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_is_found(bytes in 1usize..300_000, at in any::<prop::sample::Index>(), flip in 1u8..) {
        let (mut ciphertext, commitment) = encrypt(&key(), &content(bytes)).unwrap();
        let at = at.index(ciphertext.len());
        ciphertext[at] ^= flip;
        prop_assert!(check_ciphertext(&commitment, &ciphertext).is_err());
        let chunk = (at / CHUNK_BYTES) as u32;
        prop_assert_eq!(open(&commitment, &key(), &ciphertext), Err(PackageError::Chunk(chunk)));
        let proof = prove(&ciphertext, chunk).unwrap();
        prop_assert!(!commitment.has(&proof));
    }
}
