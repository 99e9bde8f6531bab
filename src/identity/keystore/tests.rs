use super::*;

const WEAK: Cost = Cost { log_n: 4, r: 8, p: 1 };
const SALT: [u8; SALT_BYTES] = [0xa5; SALT_BYTES];
const NONCE: [u8; NONCE_BYTES] = [0x5a; NONCE_BYTES];
/// One line for each form: its name, a space, its bytes in hex.
const GOLDEN: &str = include_str!("golden-v1.hex");

fn secret() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn password(text: &str) -> Password {
    Password::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn weak() -> Vec<u8> {
    encrypted_at(WEAK, &secret(), &password("correct horse"), &SALT, &NONCE).unwrap().to_vec()
}

fn golden(form: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(form)).unwrap();
    hex::decode(line.trim()).unwrap()
}

fn error(bytes: &[u8]) -> KeystoreError {
    StoredKey::parse(bytes).unwrap_err()
}

/// What an attacker does who knows the format: the checksum is made to fit.
fn forged(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    change(&mut bytes);
    finish(Zeroizing::new(bytes)).to_vec()
}

#[test]
fn the_bytes_of_version_1_are_pinned() {
    let strong = encrypted(&secret(), &password("correct horse battery staple"), &SALT, &NONCE).unwrap();
    assert_eq!(hex::encode(&*plain(&secret())), hex::encode(golden("plain ")));
    assert_eq!(hex::encode(&*strong), hex::encode(golden("encrypted ")));
    assert_eq!(strong[42..51], [17, 0, 0, 0, 8, 0, 0, 0, 1], "N=2^17, r=8, p=1");
}

#[test]
fn a_plain_key_comes_back() {
    let bytes = plain(&secret());
    assert_eq!(bytes.len(), PLAIN_BYTES);
    let stored = StoredKey::parse(&bytes).unwrap();
    assert!(!stored.is_encrypted());
    assert_eq!(stored.identity(), secret().identity());
    assert_eq!(stored.open(None).unwrap().seed(), secret().seed());
}

#[test]
fn an_encrypted_key_comes_back_for_its_password_only() {
    let bytes = weak();
    assert_eq!(bytes.len(), ENCRYPTED_BYTES);
    let stored = StoredKey::parse(&bytes).unwrap();
    assert!(stored.is_encrypted());
    assert_eq!(stored.identity(), secret().identity());
    assert_eq!(stored.open(Some(&password("correct horse"))).unwrap().seed(), secret().seed());
    assert_eq!(stored.open(Some(&password("correct horsf"))).unwrap_err(), KeystoreError::WrongPassword);
    assert_eq!(stored.open(Some(&password("correct horse "))).unwrap_err(), KeystoreError::WrongPassword);
    assert_eq!(stored.open(None).unwrap_err(), KeystoreError::PasswordNeeded);
    assert!(!bytes.windows(8).any(|window| window == &secret().seed()[..8]), "the seed is not in the file");
}

#[test]
fn buffers_never_grow_so_that_no_copy_of_a_secret_stays_behind() {
    assert_eq!(plain(&secret()).capacity(), PLAIN_BYTES);
    let bytes = encrypted_at(WEAK, &secret(), &password("correct horse"), &SALT, &NONCE).unwrap();
    assert_eq!(bytes.capacity(), ENCRYPTED_BYTES);
}

#[test]
fn every_shorter_length_is_called_cut_short() {
    for bytes in [plain(&secret()).to_vec(), weak()] {
        for got in 0..bytes.len() {
            assert_eq!(error(&bytes[..got]), KeystoreError::Truncated { got });
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed_without_a_password() {
    for bytes in [plain(&secret()).to_vec(), weak()] {
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let error = error(&flipped);
            let expected = match bit / 8 {
                ..=7 => error == KeystoreError::NotAKeyFile,
                // A plain file that says it is encrypted is shorter than such a file has to be.
                9 => matches!(error, KeystoreError::Altered | KeystoreError::Truncated { .. }),
                _ => error == KeystoreError::Altered,
            };
            assert!(expected, "bit {bit}: {error:?}");
        }
    }
}

#[test]
fn trailing_bytes_are_an_alteration() {
    for mut bytes in [plain(&secret()).to_vec(), weak()] {
        bytes.push(b'\n');
        assert_eq!(error(&bytes), KeystoreError::Altered);
        assert_eq!(error(&forged(bytes, |_| {})), KeystoreError::Altered, "whatever the checksum says");
    }
}

#[test]
fn a_newer_version_is_told_apart_from_a_damaged_version_byte() {
    let newer = forged(weak(), |bytes| {
        bytes[8] = 2;
        bytes.extend_from_slice(b"what only version 2 knows");
    });
    assert_eq!(error(&newer), KeystoreError::Newer { version: 2 });
    assert_eq!(error(&newer[..newer.len() - 1]), KeystoreError::Altered);
    assert_eq!(error(&forged(weak(), |bytes| bytes[8] = 0)), KeystoreError::Altered);
    assert_eq!(error(&forged(weak(), |bytes| bytes[9] = 2)), KeystoreError::Altered, "no such kind");
}

#[test]
fn other_files_are_no_key_files() {
    let others: [&[u8]; 4] = [b"-----BEGIN OPENSSH PRIVATE KEY-----", b"LBM-KEY\r\n", b"{}", &[0; PLAIN_BYTES]];
    for other in others {
        assert_eq!(error(other), KeystoreError::NotAKeyFile);
    }
}

#[test]
fn a_forged_header_opens_nothing() {
    for index in 10..HEADER_BYTES {
        let bytes = forged(weak(), |bytes| bytes[index] ^= 1);
        match StoredKey::parse(&bytes).and_then(|stored| stored.open(Some(&password("correct horse")))) {
            Err(KeystoreError::WrongPassword | KeystoreError::TooCostly { .. }) => {}
            // Not every 32 bytes are a point on the curve.
            Err(KeystoreError::Mismatch) if index < COMMON_BYTES => {}
            other => panic!("byte {index}: {other:?}"),
        }
    }
}

#[test]
fn a_plain_secret_must_belong_to_its_identity() {
    let bytes = forged(plain(&secret()).to_vec(), |bytes| bytes[COMMON_BYTES] ^= 1);
    assert_eq!(StoredKey::parse(&bytes).unwrap().open(None).unwrap_err(), KeystoreError::Mismatch);
    let other = SecretKey::from_seed(&[8; 32]);
    let bytes = forged(plain(&secret()).to_vec(), |bytes| bytes[10..42].copy_from_slice(other.identity().as_bytes()));
    assert_eq!(StoredKey::parse(&bytes).unwrap().open(None).unwrap_err(), KeystoreError::Mismatch);
}

#[test]
fn an_encrypted_secret_must_belong_to_its_identity() {
    // Only who knows the password can make such a file; it must not pass for the other's key all the same.
    let other = SecretKey::from_seed(&[8; 32]);
    let bytes = weak();
    let mut header = bytes[..HEADER_BYTES].to_vec();
    header[10..42].copy_from_slice(other.identity().as_bytes());
    let key = WEAK.derive(&password("correct horse"), &SALT).unwrap();
    let mut seed = secret().seed();
    let tag = cipher(&key).encrypt_inout_detached(&Nonce::from(NONCE), &header, seed.as_mut_slice().into()).unwrap();
    let bytes = finish(Zeroizing::new([header, seed.to_vec(), tag.to_vec()].concat()));
    let stored = StoredKey::parse(&bytes).unwrap();
    assert_eq!(stored.open(Some(&password("correct horse"))).unwrap_err(), KeystoreError::Mismatch);
}

#[test]
fn hostile_parameters_are_refused_before_they_cost_anything() {
    let bad =
        [(0, 8, 1), (17, 0, 1), (17, 8, 0), (17, 8, 5), (17, 33, 1), (20, 8, 1), (31, 8, 1), (32, 1, 1), (63, 1, 1)];
    let worst = [(255, 1, 1), (17, u32::MAX, 1), (31, u32::MAX, u32::MAX), (1, 1, u32::MAX)];
    for (log_n, r, p) in bad.into_iter().chain(worst) {
        let bytes = forged(weak(), |bytes| {
            bytes[42] = log_n;
            bytes[43..47].copy_from_slice(&r.to_be_bytes());
            bytes[47..51].copy_from_slice(&p.to_be_bytes());
        });
        let stored = StoredKey::parse(&bytes).unwrap();
        let expected = KeystoreError::TooCostly { log_n, r, p };
        assert_eq!(stored.open(Some(&password("correct horse"))).unwrap_err(), expected);
    }
    // 128 r (N + p + 1) bytes: the largest allowed r, and one more.
    assert!(Cost { log_n: 18, r: 15, p: 4 }.is_bounded() && !Cost { log_n: 18, r: 16, p: 4 }.is_bounded());
}

#[test]
fn debug_shows_no_secret() {
    for bytes in [plain(&secret()).to_vec(), weak()] {
        let shown = format!("{:?}", StoredKey::parse(&bytes).unwrap());
        let form = if bytes.len() == PLAIN_BYTES { "plain" } else { "encrypted" };
        assert_eq!(shown, format!("StoredKey(of …{}, {form})", secret().identity().short()));
    }
}
