use super::{BLOCK_ROWS, DIMENSIONS, SCALE, SPACE, Sum, TABLE, Vector, closenesses, cosine, wordpiece};
use crate::limits::LATENT_TOKENS;

fn vector(text: &str) -> Vector {
    let mut sum = Sum::default();
    sum.add(text);
    sum.vector()
}

fn closeness(a: &str, b: &str) -> f32 {
    let (a, b) = (vector(a), vector(b));
    cosine(&a.row.map(i16::from), a.length * b.length, &b.row.map(i8::cast_unsigned))
}

#[test]
fn the_table_is_whole() {
    assert!(SPACE.tokens.len() > 20_000 && TABLE.len() <= 4_000_000);
    assert!(
        SPACE.rows.iter().all(|row| !row.contains(&0x80)) && SPACE.steps.iter().all(|step| (1..4_096).contains(step))
    );
    let text = TABLE.get(8..).and_then(|rest| rest.get(..rest.len() / 8)).unwrap();
    let longest = text.split(|byte| *byte == b'\n').map(<[u8]>::len).take(SPACE.tokens.len()).max().unwrap();
    assert!(longest <= wordpiece::PIECE_BYTES + 2);
}

#[test]
fn what_means_the_same_is_closer_than_what_does_not() {
    for (text, near, far) in [
        ("the car does not start", "automobile engine trouble", "how to bake bread"),
        ("database crashed", "the SQL server went down", "a walk in the forest"),
        ("reset my password", "forgotten credentials", "the train leaves at noon"),
    ] {
        assert!(closeness(text, near) > closeness(text, far) + 0.1, "{text}");
    }
    assert!(closeness("notary seals blocks", "notary seals blocks") > 0.9999);
}

#[test]
fn a_text_without_a_known_token_is_close_to_nothing() {
    for empty in ["", "知識の市場", "\u{1F600}"] {
        assert_eq!(vector(empty).length, 0.0);
        assert_eq!((closeness(empty, "seal"), closeness("seal", empty)), (0.0, 0.0));
    }
}

/// Bits that every machine must reach: another value here is another answer elsewhere.
#[test]
fn vectors_are_the_same_everywhere() {
    let Vector { row, length } = vector("The notary seals what no one can undo.");
    assert_eq!(blake3::hash(&row.map(i8::cast_unsigned)).to_hex().get(..16), Some("ce6503f71482486b"));
    assert_eq!(length.to_bits(), 1_139_322_321);
}

#[test]
fn the_longest_text_overflows_nothing() {
    let long = "smallpox ".repeat(LATENT_TOKENS);
    let longer = format!("{long} something else behind it");
    assert_eq!(vector(&long), vector(&longer));
    assert!(closeness("smallpox", &long) > 0.99);
}

/// Whatever registers the processor has, many at a time are what they are one by one.
#[test]
fn all_at_once_come_to_the_same_as_one_by_one() {
    let words = ["notary", "seal", "bread", "forest", "server", "", "the", "physician", "engine"];
    let texts: Vec<Vector> =
        (0..300).map(|n: usize| vector(&format!("{} {}", words[n % 9], words[n / 9 % 9]))).collect();
    let rows: Vec<[u8; DIMENSIONS]> = texts.iter().map(|text| text.row.map(i8::cast_unsigned)).collect();
    let lengths: Vec<[u8; 4]> = texts.iter().map(|text| text.length.to_le_bytes()).collect();
    for query in &texts[..20] {
        let (wide, mut close) = (query.row.map(i16::from), [7; BLOCK_ROWS]);
        closenesses(&wide, query.length, &rows, &lengths, &mut close);
        for ((row, text), close) in rows.iter().zip(&texts).zip(close) {
            let one = cosine(&wide, query.length * text.length, row);
            assert_eq!((one * SCALE) as u32, close);
        }
    }
}
