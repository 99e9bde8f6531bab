//! The latent space: texts as vectors, so that a claim is found by what it means where it shares no word with the query.
//!
//! A static table gives each token a vector; a text is the sum of those of its tokens, and two texts are as close as the cosine
//! of their vectors. The table is compiled in, so that every node has the same space with nothing to download; method, source
//! and licence stand in `docs/RETRIEVAL.md`, the script that makes it beside it. It knows English: of a text in another script
//! it says nothing.
//!
//! Invariant: a vector, and the cosine of two, are the same to the bit on every node. Sums are of integers; what follows them
//! are square roots and quotients, which IEEE 754 defines exactly.

mod wordpiece;

use std::sync::LazyLock;
use std::sync::atomic::AtomicU32;

use rayon::prelude::*;

use super::dictionary::Dictionary;
use super::segment::Segment;
use super::top::Top;
use crate::limits::LATENT_TOKENS;
use wordpiece::Vocabulary;

/// Number of tokens and bytes of their text (u32 each, little endian); the tokens, each with a line feed behind it; by token what
/// one step of its row is worth (u16, below 2^12); by token its row (i8).
static TABLE: &[u8] = include_bytes!("latent/table.bin");

/// The table, made ready at its first use.
static SPACE: LazyLock<Space> = LazyLock::new(|| Space::read(TABLE).unwrap_or_default());

/// Values of a vector.
pub(super) const DIMENSIONS: usize = 128;

/// Documents that one thread looks at at a time: a megabyte of rows.
const PART_ROWS: usize = 8_192;
/// Documents whose closeness is worked out before any is chosen.
const BLOCK_ROWS: usize = 512;

/// What this processor can do: wide registers make the products two to four times as fast. All are of integers, so that all processors
/// come to the same.
pub(super) static ARCH: LazyLock<pulp::Arch> = LazyLock::new(pulp::Arch::new);

/// Beginnings of pieces that are told apart: five times as many as there are.
const BEGINNINGS: usize = 1 << 15;

/// Closeness is counted in units of 2^-16 where documents are chosen.
const SCALE: f32 = 65_536.0;

/// Token vectors under the numbers of their tokens.
#[derive(Debug, Default)]
struct Space {
    tokens: Dictionary,
    /// By [`Space::beginning`]: which lengths the pieces have that begin so. Words are cut by trying, and most tries fail.
    lengths: Vec<u32>,
    steps: Vec<u16>,
    rows: &'static [[u8; DIMENSIONS]],
}

impl Space {
    fn read(table: &'static [u8]) -> Option<Self> {
        let (count, rest) = table.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_first_chunk::<4>()?;
        let (count, bytes) = (u32::from_le_bytes(*count) as usize, u32::from_le_bytes(*bytes) as usize);
        let (text, rest) = rest.split_at_checked(bytes)?;
        let (steps, rows) = rest.split_at_checked(count * 2)?;
        let (mut tokens, mut lengths) = (Dictionary::default(), vec![0; BEGINNINGS]);
        for token in std::str::from_utf8(text).ok()?.lines() {
            tokens.intern(token);
            let (piece, goes_on) = token.strip_prefix("##").map_or((token, false), |piece| (piece, true));
            let mask = Self::beginning(piece, goes_on).and_then(|at| lengths.get_mut(at));
            mask.into_iter().for_each(|mask| *mask |= 1_u32.checked_shl(piece.len() as u32).unwrap_or_default());
        }
        let steps = steps.as_chunks::<2>().0.iter().map(|step| u16::from_le_bytes(*step)).collect();
        let (rows, rest) = rows.as_chunks::<DIMENSIONS>();
        (tokens.len() == count && rows.len() == count && rest.is_empty()).then_some(Self {
            tokens,
            lengths,
            steps,
            rows,
        })
    }

    /// Which beginnings of pieces are told from one another: their first three bytes, of shorter ones none.
    fn beginning(piece: &str, goes_on: bool) -> Option<usize> {
        let (first, _) = piece.as_bytes().split_first_chunk::<3>()?;
        let number = u32::from_le_bytes([first[0], first[1], first[2], goes_on.into()]);
        Some((number.wrapping_mul(0x9e37_79b1) >> (32 - BEGINNINGS.ilog2())) as usize)
    }
}

impl Vocabulary for Space {
    fn find(&self, piece: &str) -> Option<u32> {
        self.tokens.find(piece)
    }

    fn lengths(&self, word: &str, goes_on: bool) -> u32 {
        // Those of one and two bytes are always tried.
        0b111 | Self::beginning(word, goes_on).and_then(|at| self.lengths.get(at)).copied().unwrap_or_default()
    }
}

/// The vector of a text in the making.
#[derive(Debug)]
pub(super) struct Sum {
    sum: [i32; DIMENSIONS],
    /// Tokens that may still come: so many cannot overflow the sum.
    room: usize,
}

impl Default for Sum {
    fn default() -> Self {
        Self { sum: [0; DIMENSIONS], room: LATENT_TOKENS }
    }
}

impl Sum {
    /// Adds the tokens of a text. Of all that is added the first [`LATENT_TOKENS`] count.
    pub(super) fn add(&mut self, text: &str) {
        let space = &*SPACE;
        wordpiece::tokens(text, space, &mut |token| {
            let (Some(row), Some(step)) = (space.rows.get(token as usize), space.steps.get(token as usize)) else {
                return true;
            };
            let step = i32::from(*step);
            for (sum, value) in self.sum.iter_mut().zip(row) {
                *sum += step * i32::from(value.cast_signed());
            }
            self.room -= 1;
            self.room > 0
        });
    }

    /// The vector.
    pub(super) fn vector(&self) -> Vector {
        let largest = self.sum.iter().map(|value| i64::from(*value).abs()).max().unwrap_or_default();
        let mut row = [0; DIMENSIONS];
        if largest > 0 {
            for (cell, value) in row.iter_mut().zip(&self.sum) {
                let scaled = i64::from(*value) * 254 + i64::from(value.signum()) * largest;
                *cell = i8::try_from(scaled / (2 * largest)).unwrap_or_default();
            }
        }
        let own = dot(&row.map(i16::from), &row.map(i8::cast_unsigned));
        Vector { length: (own as f32).sqrt(), row }
    }
}

/// A text as a vector. One without a known token has length zero, and is close to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vector {
    row: [i8; DIMENSIONS],
    length: f32,
}

impl Vector {
    /// Its values.
    pub(super) const fn row(&self) -> [i8; DIMENSIONS] {
        self.row
    }

    /// Its length.
    pub(super) const fn length(&self) -> f32 {
        self.length
    }

    /// Whether the text has no known token.
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0.0
    }
}

/// The cosine between a query and a document of a segment, 0 where either is empty.
pub(super) fn closeness(query: &Vector, segment: &Segment, doc: u32) -> f32 {
    match (segment.vectors().get(doc as usize), segment.vector_lengths().get(doc as usize)) {
        (Some(row), Some(length)) => cosine(&query.row.map(i16::from), query.length * f32::from_le_bytes(*length), row),
        _ => 0.0,
    }
}

/// The `k` documents of a segment that are closest to the query, among those that `accept` accepts: (closeness, document), in units of
/// [`SCALE`]. None is at a right angle or beyond. `floor` is what the best `k` of all segments reach at least.
pub(super) fn search(
    query: &Vector,
    segment: &Segment,
    k: usize,
    floor: &AtomicU32,
    accept: &(dyn Fn(u32) -> bool + Sync),
) -> Vec<(u32, u32)> {
    if query.is_empty() {
        return Vec::new();
    }
    let wide = query.row.map(i16::from);
    let rows = segment.vectors().par_chunks(PART_ROWS).zip(segment.vector_lengths().par_chunks(PART_ROWS));
    let parts = rows.enumerate().map(|(part, (rows, lengths))| {
        let key = |doc: u32| segment.key(doc).copied().unwrap_or_default();
        let mut top = Top::new(k, &key, floor);
        let mut close = [0; BLOCK_ROWS];
        let blocks = rows.chunks(BLOCK_ROWS).zip(lengths.chunks(BLOCK_ROWS));
        for (start, (rows, lengths)) in ((part * PART_ROWS) as u32..).step_by(BLOCK_ROWS).zip(blocks) {
            closenesses(&wide, query.length, rows, lengths, &mut close);
            for (doc, close) in (start..).zip(close).take(rows.len()) {
                if close >= top.threshold() && accept(doc) {
                    top.offer(close, doc);
                }
            }
        }
        top.into_best()
    });
    parts.flatten_iter().collect()
}

/// A closeness in units of [`SCALE`] as a cosine.
pub(super) fn score(close: u32) -> f32 {
    close as f32 / SCALE
}

/// The closeness of each row, 0 for what is at a right angle or beyond: first all products and then all quotients, since only so the
/// compiler makes many at a time.
fn closenesses(
    wide: &[i16; DIMENSIONS],
    length: f32,
    rows: &[[u8; DIMENSIONS]],
    lengths: &[[u8; 4]],
    close: &mut [u32; BLOCK_ROWS],
) {
    ARCH.dispatch(|| {
        let mut dots = [0; BLOCK_ROWS];
        for (slot, row) in dots.iter_mut().zip(rows) {
            *slot = dot(wide, row);
        }
        for ((slot, dot), own) in close.iter_mut().zip(dots).zip(lengths) {
            let lengths = length * f32::from_le_bytes(*own);
            let cosine = if lengths > 0.0 { dot as f32 / lengths } else { 0.0 };
            *slot = (cosine * SCALE) as u32;
        }
    });
}

/// `lengths` is the product of both lengths.
#[inline]
fn cosine(query: &[i16; DIMENSIONS], lengths: f32, row: &[u8; DIMENSIONS]) -> f32 {
    if lengths > 0.0 { dot(query, row) as f32 / lengths } else { 0.0 }
}

/// At most 2^21 in size, which an `f32` holds exactly.
#[inline(always)]
fn dot(wide: &[i16; DIMENSIONS], row: &[u8; DIMENSIONS]) -> i32 {
    wide.iter().zip(row).map(|(a, b)| i32::from(*a) * i32::from(b.cast_signed())).sum()
}

#[cfg(test)]
mod tests;
