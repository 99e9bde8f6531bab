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

use rayon::prelude::*;

use super::ClaimKey;
use super::dictionary::Dictionary;
use super::rows::reserve;
use super::top::Top;
use crate::limits::LATENT_TOKENS;

/// Number of tokens and bytes of their text (u32 each, little endian); the tokens, each with a line feed behind it; by token what
/// one step of its row is worth (u16, below 2^12); by token its row (i8).
static TABLE: &[u8] = include_bytes!("latent/table.bin");

/// The table, made ready at its first use.
static SPACE: LazyLock<Space> = LazyLock::new(|| Space::read(TABLE).unwrap_or_default());

const DIMENSIONS: usize = 128;

/// Documents that one thread looks at, at least: half a megabyte of rows, some 50 µs.
const PART_ROWS: usize = 4_096;

/// Closeness is counted in units of 2^-16 where documents are chosen.
const SCALE: f32 = 65_536.0;

/// Token vectors under the numbers of their tokens.
#[derive(Debug, Default)]
struct Space {
    tokens: Dictionary,
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
        let mut tokens = Dictionary::default();
        for token in std::str::from_utf8(text).ok()?.lines() {
            tokens.intern(token);
        }
        let steps = steps.as_chunks::<2>().0.iter().map(|step| u16::from_le_bytes(*step)).collect();
        let (rows, rest) = rows.as_chunks::<DIMENSIONS>();
        (tokens.len() == count && rows.len() == count && rest.is_empty()).then_some(Self { tokens, steps, rows })
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
        wordpiece::tokens(text, |token| space.tokens.find(token), &mut |token| {
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
        Vector { length: (dot(&row.map(i16::from), &row) as f32).sqrt(), row }
    }
}

/// A text as a vector. One without a known token has length zero, and is close to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Vector {
    row: [i8; DIMENSIONS],
    length: f32,
}

impl Vector {
    /// Whether the text has no known token.
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0.0
    }
}

/// The vectors of the documents, under their numbers.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    rows: Vec<[i8; DIMENSIONS]>,
    lengths: Vec<f32>,
}

impl Vectors {
    /// Adds the vector of the next document.
    pub(super) fn push(&mut self, vector: &Vector) {
        reserve(&mut self.rows, 1);
        self.rows.push(vector.row);
        self.lengths.push(vector.length);
    }

    /// The cosine between a document and a query, 0 where either is empty.
    pub(super) fn closeness(&self, query: &Vector, doc: u32) -> f32 {
        match (self.rows.get(doc as usize), self.lengths.get(doc as usize)) {
            (Some(row), Some(length)) => cosine(&query.row.map(i16::from), query.length * length, row),
            _ => 0.0,
        }
    }

    /// The `k` documents closest to the query, among those that `accept` accepts: (document, cosine), closest first. None is at a
    /// right angle or beyond.
    pub(super) fn search(
        &self,
        query: &Vector,
        k: usize,
        key: &dyn Fn(u32) -> ClaimKey,
        accept: &dyn Fn(u32) -> bool,
    ) -> Vec<(u32, f32)> {
        if query.is_empty() {
            return Vec::new();
        }
        let wide = query.row.map(i16::from);
        // All at once and then the choice: only so the products are made many at a time, and by many.
        let all = self.rows.par_iter().zip(&self.lengths).with_min_len(PART_ROWS);
        let close: Vec<u32> =
            all.map(|(row, length)| (cosine(&wide, query.length * length, row) * SCALE) as u32).collect();
        let mut top = Top::new(k, key);
        for (doc, close) in (0..).zip(close) {
            if close >= top.threshold() && accept(doc) {
                top.offer(close, doc);
            }
        }
        top.into_sorted().into_iter().map(|(close, doc)| (doc, close as f32 / SCALE)).collect()
    }

    /// Bytes held on the heap.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.rows.capacity() * DIMENSIONS + self.lengths.capacity() * 4
    }
}

/// `lengths` is the product of both lengths.
#[inline]
fn cosine(query: &[i16; DIMENSIONS], lengths: f32, row: &[i8; DIMENSIONS]) -> f32 {
    if lengths > 0.0 { dot(query, row) as f32 / lengths } else { 0.0 }
}

/// At most 2^21 in size, which an `f32` holds exactly. By itself and sixteen at a time, since only so the compiler makes good use of
/// wide registers: as one plain sum it takes twice as long, inlined three times.
#[inline(never)]
fn dot(wide: &[i16; DIMENSIONS], row: &[i8; DIMENSIONS]) -> i32 {
    let sixteen = |(wide, row): (&[i16; 16], &[i8; 16])| -> i32 {
        wide.iter().zip(row).map(|(a, b)| i32::from(*a) * i32::from(i16::from(*b))).sum()
    };
    wide.as_chunks().0.iter().zip(row.as_chunks().0).map(sixteen).sum()
}

#[cfg(test)]
mod tests;
