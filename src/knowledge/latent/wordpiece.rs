//! Tokens of a text as BERT's uncased models cut it (Devlin et al. 2019; Wu et al. 2016, "Google's Neural Machine Translation
//! System", §4.1): small letters without accents, punctuation by itself, each word as the fewest longest pieces of the vocabulary.
//!
//! What differs from the original: symbols beyond ASCII are cut off like punctuation, so that `a→b` has three tokens and not one
//! that is unknown.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::knowledge::text::prefix;

/// Longer words are no words, and have no token.
const WORD_BYTES: usize = 100;
/// Longer pieces are not looked for.
pub(super) const PIECE_BYTES: usize = 20;

/// Pieces with numbers.
pub(super) trait Vocabulary {
    /// The number of a piece; one that stands behind another in its word has `##` before it.
    fn find(&self, piece: &str) -> Option<u32>;

    /// Which lengths in bytes the pieces have, as bits, with which a word may begin, or go on where `goes_on`: at least those that it has.
    fn lengths(&self, word: &str, goes_on: bool) -> u32;
}

/// Hands the number of each token of the vocabulary to `sink`, until that answers `false`. A word with a piece that is not known
/// has none.
pub(super) fn tokens(text: &str, vocabulary: &impl Vocabulary, sink: &mut impl FnMut(u32) -> bool) {
    let (mut word, mut piece, mut pieces) = (String::new(), String::new(), Vec::new());
    let mut flush = |word: &mut String| {
        cut(word, &mut piece, &mut pieces, vocabulary);
        word.clear();
        pieces.drain(..).all(&mut *sink)
    };
    for c in text.nfd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            word.push(c);
            continue;
        }
        if !flush(&mut word) {
            return;
        }
        if !c.is_whitespace() && !c.is_control() {
            word.push(c);
            if !flush(&mut word) {
                return;
            }
        }
    }
    flush(&mut word);
}

/// Cuts a word into its longest pieces from the front; pieces behind the first are known with `##` before them.
fn cut(word: &str, piece: &mut String, pieces: &mut Vec<u32>, vocabulary: &impl Vocabulary) {
    if word.len() > WORD_BYTES {
        return;
    }
    let mut rest = word;
    while !rest.is_empty() {
        let goes_on = rest.len() < word.len();
        let lengths = vocabulary.lengths(rest, goes_on);
        piece.clear();
        piece.push_str(if goes_on { "##" } else { "" });
        let mark = piece.len();
        piece.push_str(prefix(rest, PIECE_BYTES));
        let token = loop {
            if lengths >> (piece.len() - mark) & 1 == 1
                && let Some(token) = vocabulary.find(piece)
            {
                break token;
            }
            piece.pop();
            if piece.len() <= mark {
                pieces.clear();
                return;
            }
        };
        pieces.push(token);
        rest = rest.get(piece.len() - mark..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::{Vocabulary, tokens};

    const VOCABULARY: [&str; 12] = ["un", "##aff", "##able", "cafe", "a", "b", "-", "'", "s", "don", "t", "→"];

    struct Few;

    impl Vocabulary for Few {
        fn find(&self, piece: &str) -> Option<u32> {
            VOCABULARY.iter().position(|known| *known == piece).map(|at| at as u32)
        }

        fn lengths(&self, _: &str, _: bool) -> u32 {
            u32::MAX
        }
    }

    fn cut(text: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        tokens(text, &Few, &mut |token| {
            found.push(VOCABULARY[token as usize]);
            found.len() < 8
        });
        found
    }

    #[test]
    fn words_are_cut_into_their_longest_pieces() {
        assert_eq!(cut("Unaffable"), ["un", "##aff", "##able"]);
        assert_eq!(cut("a Café's\tb-a→b"), ["a", "cafe", "'", "s", "b", "-", "a", "→"]);
        assert_eq!(cut("don't"), ["don", "'", "t"]);
    }

    #[test]
    fn a_word_with_an_unknown_piece_has_no_token() {
        assert_eq!(cut("unknown a 猫 un\u{0}able"), ["a", "un"]);
    }

    #[test]
    fn it_stops_when_told() {
        assert_eq!(cut("a b a b a b a b a b").len(), 8);
        assert!(cut("").is_empty() && cut(&"a".repeat(101)).is_empty());
    }
}
