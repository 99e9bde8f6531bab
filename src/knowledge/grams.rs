//! Character 4-grams: what a misspelled word, another form of it or a part of an identifier has in common with it.
//!
//! They are cut from the words of a text without its stop words, one space between any two, so that a gram across a space says
//! which words stand beside each other. Such a gram is the tail of one word and the head of the next: hence the grams of a text are
//! known from what each of its words has by itself ([`parts`]).

/// Bits of one character.
const BITS: u32 = 16;
const SPACE: u64 = 0x20;

/// Four characters, or the two or three of a head or a tail. What lies beyond the first plane of Unicode is folded onto its private
/// area, the same everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Gram(u64);

impl Gram {
    /// As a number, by which grams sort.
    pub(super) const fn number(self) -> u64 {
        self.0
    }

    /// From its number.
    pub(super) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    const fn then(self, c: char) -> Self {
        let c = c as u64;
        Self(self.0 << BITS | if c > 0xffff { 0xe000 | c & 0xfff } else { c })
    }

    const fn first(self, drop: u32) -> Self {
        Self(self.0 >> (BITS * drop))
    }

    const fn last(self, characters: u32) -> Self {
        Self(self.0 & ((1 << (BITS * characters)) - 1))
    }

    /// Whether it is four characters, and not a head or a tail.
    pub(super) const fn is_whole(self) -> bool {
        self.0 >> (3 * BITS) != 0
    }

    /// Whether a head or a tail has two characters beside the space, and not one.
    pub(super) const fn is_long(self) -> bool {
        self.0 >> (2 * BITS) != 0
    }

    /// The tail and the head that a gram across a space is made of.
    pub(super) fn halves(self) -> Option<(Self, Self)> {
        // The space is the second character or the third.
        let drop = [2, 1].into_iter().find(|drop| self.first(*drop).last(1).0 == SPACE)?;
        Some((self.first(drop), self.last(drop + 1)))
    }
}

/// Cuts the words of a text.
#[derive(Debug)]
pub(super) struct Cutter {
    /// The last characters, as many as a gram has.
    window: Gram,
}

impl Default for Cutter {
    fn default() -> Self {
        Self { window: Gram(SPACE) }
    }
}

impl Cutter {
    /// Hands each gram that the next word, folded, completes to `sink`.
    pub(super) fn word(&mut self, folded: &str, sink: &mut impl FnMut(Gram)) {
        for c in folded.chars().chain([' ']) {
            self.window = self.window.then(c);
            if self.window.is_whole() {
                sink(self.window);
            }
        }
    }
}

/// Hands to `sink` what a word has by itself: its grams, a space on each side, and its head and its tail of one and two characters,
/// each with the space.
pub(super) fn parts(word: &str, sink: &mut impl FnMut(Gram)) {
    let mut cutter = Cutter::default();
    cutter.word(word, sink);
    let mut head = Gram(SPACE);
    for c in word.chars().chain([' ']).take(2) {
        head = head.then(c);
        sink(head);
    }
    sink(cutter.window.last(2));
    sink(cutter.window.last(3));
}

#[cfg(test)]
mod tests {
    use super::{Cutter, Gram, parts};

    fn text(gram: Gram) -> String {
        (0..4)
            .rev()
            .map(|at| (gram.0 >> (16 * at)) as u16)
            .filter(|c| *c != 0)
            .map(|c| char::from_u32(c.into()).unwrap())
            .collect()
    }

    fn cut(words: &[&str]) -> String {
        let (mut cutter, mut found) = (Cutter::default(), Vec::new());
        words.iter().for_each(|word| cutter.word(word, &mut |gram| found.push(text(gram))));
        found.join("|")
    }

    #[test]
    fn grams_run_across_words_and_count_characters() {
        assert_eq!(cut(&["seal", "ab"]), " sea|seal|eal |al a|l ab| ab ");
        assert_eq!(cut(&["знан"]), " зна|знан|нан ");
        assert_eq!(cut(&["x"]), "");
        assert_eq!(cut(&["𐐷x𐐷"]), " \u{e437}x\u{e437}|\u{e437}x\u{e437} ");
    }

    #[test]
    fn what_lies_across_a_space_is_a_tail_and_a_head() {
        let of = |word| {
            let mut found = Vec::new();
            parts(word, &mut |part| found.push(text(part)));
            found.join("|")
        };
        assert_eq!(of("seal"), " sea|seal|eal | s| se|l |al ");
        assert_eq!(of("é"), " é| é |é | é ");
        let halves = |words: &[&str]| {
            let mut cutter = Cutter::default();
            let mut found = Vec::new();
            let mut each = |gram: Gram| found.extend(gram.halves().map(|(tail, head)| text(tail) + "+" + &text(head)));
            words.iter().for_each(|word| cutter.word(word, &mut each));
            found.join("|")
        };
        assert_eq!(halves(&["seal", "ab"]), "al + a|l + ab");
        assert_eq!(halves(&["a", "b"]), " a + b|a + b ");
        assert_eq!(halves(&["seal"]), "");
    }
}
