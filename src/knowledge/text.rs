//! Analysis: from text to the terms that are indexed and looked up.
//!
//! Text is cut into chunks at white space and brackets, chunks into words (UAX #29), words into the parts of identifiers
//! (`snake_case`, `camelCase`, `file.rs`). Words are folded (NFKC, lower case, no accents), stop words are dropped,
//! English is stemmed (Snowball English, known as Porter 2). What was cut in parts is *also* kept whole, so that a path
//! or an error code is found both as itself and by its parts. Scripts written without spaces, and Hangul with its
//! particles, are cut into pairs of characters; documents get the single characters too, so that a query of one
//! character finds them. Emoji and other signs, arrows say, are terms too: 🚀 finds 🚀, whatever its colour of skin.
//!
//! Invariant: document and query go through the same steps, and the only asymmetry is the one just named.

use rust_stemmers::{Algorithm, Stemmer};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation as _;

use super::stop_words;
use crate::limits::{QUERY_BYTES, TERM_BYTES};

/// What a term stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word of the text, or one part of an identifier: counts towards the length of the document.
    Word,
    /// A further form of words that were counted already: a whole identifier, a single character of a script
    /// that is indexed by pairs. Or a sign, which makes no text longer, and of which a query asks nothing where nobody has it.
    Whole,
}

/// One term of a text, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// The term as it stands in the index.
    pub term: &'a str,
    /// The word before it was stemmed, folded. Empty for what was cut from a script without spaces.
    pub folded: &'a str,
    /// The word as the text has it.
    pub surface: &'a str,
    /// Word or further form.
    pub kind: Kind,
}

/// Which side of a search is analysed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is searched in.
    Document,
    /// What is searched for.
    Query,
}

/// One distinct term of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryTerm {
    /// The term as it stands in the index.
    pub term: String,
    /// The word that gave it, as the query has it: what is shown to people.
    pub surface: String,
    /// How often the query has it.
    pub count: u32,
    /// Word or further form.
    pub kind: Kind,
}

/// The analyser, with the buffers it reuses.
pub struct Analyser {
    stemmer: Stemmer,
    folded: String,
    run: String,
}

impl Default for Analyser {
    fn default() -> Self {
        Self { stemmer: Stemmer::create(Algorithm::English), folded: String::new(), run: String::new() }
    }
}

impl std::fmt::Debug for Analyser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Analyser")
    }
}

/// Receives each term.
type Sink<'a> = dyn FnMut(Token<'_>) + 'a;

impl Analyser {
    /// Hands each term of `text` to `sink`, in the sequence of the text.
    pub fn terms(&mut self, text: &str, side: Side, sink: &mut Sink<'_>) {
        for (chunk, suffix) in chunks(text) {
            if chunk.bytes().all(|byte| byte.is_ascii_alphabetic()) && !has_inner_capital(chunk) {
                self.word(chunk, sink);
            } else if chunk.is_ascii() {
                self.chunk(chunk, side, sink);
            } else {
                let normal: String = chunk.nfkc().collect();
                self.chunk(&normal, side, sink);
            }
            if is_language_name(chunk, suffix) {
                self.whole(&format!("{chunk}{suffix}"), sink);
            }
        }
    }

    /// The term of a word that was folded already ([`Token::folded`]).
    #[must_use]
    pub fn term_of(&self, folded: &str) -> String {
        if folded.bytes().all(|byte| byte.is_ascii_lowercase()) {
            self.stemmer.stem(folded).into_owned()
        } else {
            folded.to_owned()
        }
    }

    /// The distinct terms of a query in the sequence of their first appearance. Text past [`QUERY_BYTES`] is not read.
    pub fn query(&mut self, text: &str) -> Vec<QueryTerm> {
        let mut terms: Vec<QueryTerm> = Vec::new();
        let mut seen: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        self.terms(prefix(text, QUERY_BYTES), Side::Query, &mut |Token { term, surface, kind, .. }| {
            if let Some(known) = seen.get(term).and_then(|at| terms.get_mut(*at)) {
                known.count += 1;
            } else {
                seen.insert(term.to_owned(), terms.len());
                terms.push(QueryTerm { term: term.to_owned(), surface: surface.to_owned(), count: 1, kind });
            }
        });
        terms
    }

    /// A chunk that is more than one plain ASCII word, in NFKC.
    fn chunk(&mut self, chunk: &str, side: Side, sink: &mut Sink<'_>) {
        let (mut words, mut unspaced) = (0, false);
        let mut run = std::mem::take(&mut self.run);
        for segment in chunk.split_word_bounds() {
            if segment.starts_with(is_unspaced) {
                run.push_str(segment);
                unspaced = true;
                continue;
            }
            pairs(&mut run, side, sink);
            if segment.contains(char::is_alphanumeric) {
                words += 1;
                self.segment(segment, sink);
            } else if segment.contains(is_sign) {
                let sign: String = segment.chars().filter(|c| !is_dropped(*c) && !is_skin(*c)).collect();
                emit(&sign, "", segment, Kind::Whole, sink);
            }
        }
        pairs(&mut run, side, sink);
        self.run = run;
        let plain = chunk.trim_matches(|c: char| !c.is_alphanumeric() && !is_combining_mark(c));
        if words > 1 && !unspaced && is_identifier(plain) {
            self.whole(plain, sink);
        }
    }

    /// One word by UAX #29, which leaves `snake_case`, `file.rs`, `don't` and `1,000` in one piece.
    fn segment(&mut self, segment: &str, sink: &mut Sink<'_>) {
        let mut parts: Vec<&str> = Vec::new();
        for piece in split_connected(segment) {
            split_camel(piece, &mut parts);
        }
        match parts.as_slice() {
            [] => {}
            [part] => self.word(part, sink),
            letters if letters.iter().all(|part| part.chars().nth(1).is_none()) => {
                // `U.S.A.`: the letters mean nothing one by one, and `U.S.` is not the stop word `us`. `e.g.` is one.
                fold(segment, &mut self.folded);
                if !stop_words::contains(&self.folded) {
                    fold(&letters.concat(), &mut self.folded);
                    emit(&self.folded, &self.folded, segment, Kind::Word, sink);
                }
            }
            parts => {
                for part in parts {
                    self.word(part, sink);
                }
                self.whole(segment, sink);
            }
        }
    }

    /// A word or a part of one: folded, dropped if it is a stop word, stemmed.
    fn word(&mut self, word: &str, sink: &mut Sink<'_>) {
        self.emit_stem(word, Kind::Word, sink);
    }

    /// What was cut in parts, once more as a whole.
    fn whole(&mut self, whole: &str, sink: &mut Sink<'_>) {
        self.emit_stem(whole, Kind::Whole, sink);
    }

    fn emit_stem(&mut self, word: &str, kind: Kind, sink: &mut Sink<'_>) {
        fold(word, &mut self.folded);
        let base = without_clitic(&self.folded);
        if stop_words::contains(base) {
            return;
        }
        if base.bytes().all(|byte| byte.is_ascii_lowercase()) && base.len() <= TERM_BYTES {
            emit(&self.stemmer.stem(base), base, word, kind, sink);
        } else {
            emit(base, base, word, kind, sink);
        }
    }
}

fn emit(term: &str, folded: &str, surface: &str, kind: Kind, sink: &mut Sink<'_>) {
    let (term, folded) = (prefix(term, TERM_BYTES), prefix(folded, TERM_BYTES));
    if !term.is_empty() {
        sink(Token { term, folded, surface, kind });
    }
}

/// The longest prefix of at most `bytes` bytes that ends between two characters.
#[must_use]
pub fn prefix(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

/// Maximal runs without white space, brackets, quotes and the like, each stripped of the punctuation around it, with what was
/// stripped behind it.
fn chunks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_break = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '(' | ')'
                    | '['
                    | ']'
                    | '{'
                    | '}'
                    | '<'
                    | '>'
                    | '"'
                    | '`'
                    | ';'
                    | '='
                    | '|'
                    | '!'
                    | '?'
                    | '*'
                    | '&'
                    | '^'
            )
    };
    text.split(is_break).filter_map(|chunk| {
        let is_part = |c: char| c.is_alphanumeric() || is_sign(c);
        let start = chunk.find(is_part)?;
        let stripped = chunk.get(start..)?.trim_end_matches(|c: char| !is_part(c) && !is_combining_mark(c));
        Some((stripped, chunk.get(start + stripped.len()..)?))
    })
}

fn has_inner_capital(word: &str) -> bool {
    word.bytes().skip(1).any(|byte| byte.is_ascii_uppercase())
}

/// `c++`, `c#`, `g++`: the one place where punctuation behind a word is part of its name.
fn is_language_name(chunk: &str, suffix: &str) -> bool {
    matches!(suffix, "++" | "#") && chunk.len() <= 2 && chunk.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Whether a chunk of several words is one name: a path, a URL, `a::b`, `host:port`, `IL-2`. Prose with a hyphen is not.
fn is_identifier(chunk: &str) -> bool {
    chunk.contains(['_', '/', '\\', ':', '.', '@', '#'])
        || (chunk.contains('-') && chunk.contains(|c: char| c.is_numeric()) && chunk.contains(char::is_alphabetic))
}

/// Splits at `_`, and at `.` and `:` beside a letter: `file.rs` has two parts, `1.2.3` is one.
fn split_connected(segment: &str) -> impl Iterator<Item = &str> {
    let mut before = ' ';
    let mut chars = segment.char_indices().peekable();
    let mut start = 0;
    std::iter::from_fn(move || {
        if start > segment.len() {
            return None;
        }
        while let Some((at, c)) = chars.next() {
            let after = chars.peek().map_or(' ', |(_, next)| *next);
            let cut = match c {
                '_' => true,
                '.' | ':' | '\u{b7}' => before.is_alphabetic() || after.is_alphabetic(),
                _ => false,
            };
            before = c;
            if cut {
                let piece = segment.get(start..at);
                start = at + c.len_utf8();
                return piece;
            }
        }
        let piece = segment.get(start..);
        start = segment.len() + 1;
        piece
    })
    .filter(|piece| !piece.is_empty())
}

/// Splits `camelCase` and `HTTPServer`, but neither `mRNA` nor `IDs`: a part has at least two letters, and a capital after capitals
/// opens a part only before two small letters.
fn split_camel<'a>(piece: &'a str, parts: &mut Vec<&'a str>) {
    let chars: Vec<(usize, char)> = piece.char_indices().collect();
    let upper = |at: usize| chars.get(at).is_some_and(|(_, c)| c.is_uppercase());
    let lower = |at: usize| chars.get(at).is_some_and(|(_, c)| c.is_lowercase());
    let mut from = 0;
    for at in 1..chars.len() {
        let opens = (lower(at - 1) && upper(at) && at + 1 < chars.len())
            || (upper(at - 1) && upper(at) && lower(at + 1) && lower(at + 2));
        if opens && at - from >= 2 {
            let start = chars.get(from).map_or(0, |(byte, _)| *byte);
            let end = chars.get(at).map_or(piece.len(), |(byte, _)| *byte);
            parts.extend(piece.get(start..end));
            from = at;
        }
    }
    let start = chars.get(from).map_or(0, |(byte, _)| *byte);
    parts.extend(piece.get(start..).filter(|rest| !rest.is_empty()));
}

/// Takes the possessive off the end (`node's`), an elided article off the front (`l'avion`).
fn without_clitic(word: &str) -> &str {
    let word = word.strip_suffix("'s").unwrap_or(word).trim_end_matches('\'');
    match word.split_once('\'') {
        Some((article, rest)) if article.chars().nth(2).is_none() && rest.chars().nth(2).is_some() => rest,
        _ => word,
    }
}

/// Lower case without accents, in NFC; thousands separators gone.
fn fold(word: &str, folded: &mut String) {
    folded.clear();
    if word.is_ascii() {
        folded.push_str(word);
        folded.make_ascii_lowercase();
        if folded.contains(',') {
            folded.retain(|c| c != ',');
        }
        return;
    }
    let mut plain = String::with_capacity(word.len());
    for c in word.to_lowercase().nfkd().filter(|c| !is_dropped(*c)) {
        match c {
            'ß' => plain.push_str("ss"),
            'æ' => plain.push_str("ae"),
            'œ' => plain.push_str("oe"),
            'þ' => plain.push_str("th"),
            'ø' => plain.push('o'),
            'đ' | 'ð' => plain.push('d'),
            'ł' => plain.push('l'),
            'ħ' => plain.push('h'),
            'ı' => plain.push('i'),
            'ς' => plain.push('σ'),
            '\u{2018}' | '\u{2019}' | '\u{2bc}' => plain.push('\''),
            ',' => {}
            _ => plain.push(c),
        }
    }
    folded.extend(plain.nfc());
}

/// Accents of Latin, Greek and Cyrillic, points of Hebrew and Arabic, and characters that are not seen. Marks that make
/// another letter or carry a vowel (kana, Thai, the scripts of India) stay.
const fn is_dropped(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
        | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e8}' | '\u{6ea}'..='\u{6ed}'
        | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}

/// Signs that stand for something: currencies, arrows, mathematics, pictures. Not what draws lines, boxes and bullets.
const fn is_sign(c: char) -> bool {
    matches!(c,
        '\u{a2}'..='\u{a5}' | '\u{a7}' | '\u{b0}' | '\u{b1}' | '\u{d7}' | '\u{f7}' | '\u{20a0}'..='\u{20cf}' | '\u{2190}'..='\u{23ff}'
        | '\u{2600}'..='\u{27bf}' | '\u{27c0}'..='\u{27e5}' | '\u{27f0}'..='\u{27ff}' | '\u{2900}'..='\u{2982}'
        | '\u{2999}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}')
}

/// Skin tones, which are put behind a picture.
const fn is_skin(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Letters of scripts that put no space between words, and Hangul.
pub(super) const fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{3005}' | '\u{3007}' | '\u{3041}'..='\u{309f}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{312f}' | '\u{31a0}'..='\u{31bf}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'
        | '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{ece}' | '\u{edc}'..='\u{edf}'
        | '\u{1000}'..='\u{103f}' | '\u{1050}'..='\u{108f}' | '\u{1780}'..='\u{17d3}')
}

/// Empties `run` into pairs of its characters (a character is a letter with the marks on it).
fn pairs(run: &mut String, side: Side, sink: &mut Sink<'_>) {
    if run.is_empty() {
        return;
    }
    run.retain(|c| !is_dropped(c));
    let mut starts: Vec<usize> =
        run.char_indices().filter(|(at, c)| *at == 0 || !is_combining_mark(*c)).map(|(at, _)| at).collect();
    starts.push(run.len());
    let unit = |from: usize, count: usize| {
        let start = starts.get(from).copied()?;
        run.get(start..starts.get(from + count).copied()?)
    };
    if starts.len() == 2 {
        emit(run, "", run, Kind::Word, sink);
    } else {
        for at in 0..starts.len() - 1 {
            if let (Side::Document, Some(single)) = (side, unit(at, 1)) {
                emit(single, "", single, Kind::Whole, sink);
            }
            if let Some(pair) = unit(at, 2) {
                emit(pair, "", pair, Kind::Word, sink);
            }
        }
    }
    run.clear();
}

#[cfg(test)]
mod tests;
