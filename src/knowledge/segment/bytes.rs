//! Lists and rows as they lie in a segment's bytes. Numbers are little-endian.
//!
//! Invariant: reading what is damaged gives nothing or something wrong, and never a panic.

/// Appends a LEB128 number.
pub fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Reads one LEB128 number off the front.
#[inline]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (first, mut rest) = bytes.split_first()?;
    let mut value = u64::from(first & 0x7f);
    let (mut last, mut shift) = (*first, 7);
    while last & 0x80 != 0 {
        let (next, behind) = rest.split_first()?;
        value |= u64::from(next & 0x7f).checked_shl(shift)?;
        (last, rest, shift) = (*next, behind, shift + 7);
    }
    *bytes = rest;
    Some(value)
}

/// The same of a number that has at most 32 bits.
#[inline]
pub fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(|value| value as u32)
}

/// A list of `u16`.
#[derive(Debug, Clone, Copy)]
pub struct Shorts<'a>(&'a [[u8; 2]]);

impl<'a> Shorts<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    /// One of them; 0 behind the end.
    #[inline]
    pub fn get(self, at: u32) -> u16 {
        self.0.get(at as usize).map_or(0, |bytes| u16::from_le_bytes(*bytes))
    }
}

/// A list of `u32`.
#[derive(Debug, Clone, Copy)]
pub struct Numbers<'a>(&'a [[u8; 4]]);

impl<'a> Numbers<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    /// One of them.
    #[inline]
    pub fn get(self, at: u32) -> Option<u32> {
        self.0.get(at as usize).map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// How many there are.
    pub const fn len(self) -> u32 {
        self.0.len() as u32
    }
}

/// A list of `u64`.
#[derive(Debug, Clone, Copy)]
pub struct Longs<'a>(&'a [[u8; 8]]);

impl<'a> Longs<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    /// One of them.
    #[inline]
    pub fn get(self, at: u32) -> Option<u64> {
        self.0.get(at as usize).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Where one stands in an ascending list.
    pub fn find(self, wanted: u64) -> Option<u32> {
        self.0.binary_search_by_key(&wanted, |bytes| u64::from_le_bytes(*bytes)).ok().map(|at| at as u32)
    }
}

/// Byte strings one behind the other, by number.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    ends: Numbers<'a>,
    bytes: &'a [u8],
}

impl<'a> Rows<'a> {
    pub(super) fn new(ends: &'a [u8], bytes: &'a [u8]) -> Self {
        Self { ends: Numbers::new(ends), bytes }
    }

    /// One of them; empty where there is none.
    #[inline]
    pub fn get(self, at: u32) -> &'a [u8] {
        let end_of = |at: u32| self.ends.get(at).unwrap_or_default() as usize;
        let start = at.checked_sub(1).map_or(0, end_of);
        self.bytes.get(start..end_of(at)).unwrap_or_default()
    }

    /// How many there are.
    pub const fn len(self) -> u32 {
        self.ends.len()
    }

    /// Where one stands among rows in ascending order.
    pub fn find(self, wanted: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(wanted) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }
}

/// [`Rows`] in the making.
#[derive(Debug, Default)]
pub struct RowsDraft {
    /// Where each row ends.
    pub ends: Vec<u8>,
    /// The rows; what was appended since the last [`RowsDraft::end`] is the next one.
    pub bytes: Vec<u8>,
}

impl RowsDraft {
    /// Ends the row in the making.
    pub fn end(&mut self) {
        self.ends.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
    }

    /// Appends a whole row.
    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.end();
    }
}

/// A reader of one list of postings: `(gap << 1 | more, weight if more)`, each a LEB128 number. `gap` counts the numbers between
/// this one and the one before, and `more` is set where the weight is not 1: most are one or two bytes.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: u32,
    weight: u32,
}

impl<'a> Cursor<'a> {
    /// At the first entry of a list.
    #[inline]
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut cursor = Self { bytes, at: u32::MAX, weight: 0 };
        cursor.advance();
        cursor
    }

    /// The number it stands on, or `u32::MAX` behind the last.
    #[inline]
    pub const fn at(&self) -> u32 {
        self.at
    }

    /// The weight there.
    #[inline]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// Goes to the next entry.
    #[inline]
    pub fn advance(&mut self) {
        let Some(head) = take(&mut self.bytes) else {
            self.at = u32::MAX;
            return;
        };
        // Wraps from `u32::MAX` to 0 at the first entry, as it should.
        let next = self.at.wrapping_add(1).wrapping_add((head >> 1) as u32);
        if next < self.at.wrapping_add(1) {
            // Numbers ascend: this list is damaged.
            (self.bytes, self.at) = (&[], u32::MAX);
            return;
        }
        self.at = next;
        self.weight = if head & 1 == 0 { 1 } else { take_u32(&mut self.bytes).unwrap_or(1) };
    }
}

impl Iterator for Cursor<'_> {
    type Item = (u32, u32);

    #[inline]
    fn next(&mut self) -> Option<(u32, u32)> {
        if self.at == u32::MAX {
            return None;
        }
        let entry = (self.at, self.weight);
        self.advance();
        Some(entry)
    }
}

/// Appends an entry to a list whose next possible number is `next`, which it moves on.
pub fn put_posting(bytes: &mut Vec<u8>, next: &mut u32, at: u32, weight: u32) {
    let gap = u64::from(at.saturating_sub(*next)) << 1;
    if weight == 1 {
        put(bytes, gap);
    } else {
        put(bytes, gap | 1);
        put(bytes, u64::from(weight));
    }
    *next = at.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cursor, Rows, RowsDraft, put, put_posting, take};

    proptest! {
        #[test]
        fn postings_read_as_they_were_written(list in prop::collection::btree_map(any::<u32>().prop_map(|at| at >> 1), 1..300_u32, 0..40)) {
            let (mut bytes, mut next) = (Vec::new(), 0);
            for (at, weight) in &list {
                put_posting(&mut bytes, &mut next, *at, *weight);
            }
            let read: Vec<(u32, u32)> = Cursor::new(&bytes).collect();
            prop_assert_eq!(read, list.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn damaged_postings_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let read: Vec<(u32, u32)> = Cursor::new(&bytes).collect();
            prop_assert!(read.len() <= bytes.len());
            prop_assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }

        #[test]
        fn numbers_read_as_they_were_written(value in any::<u64>()) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(take(&mut bytes.as_slice()), Some(value));
            prop_assert_eq!(take(&mut &bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn rows_are_found(rows in prop::collection::btree_set("[ab]{0,4}", 0..20), wanted in "[ab]{0,4}") {
            let mut draft = RowsDraft::default();
            rows.iter().for_each(|row| draft.push(row.as_bytes()));
            let read = Rows::new(&draft.ends, &draft.bytes);
            prop_assert_eq!(read.len() as usize, rows.len());
            let expected = rows.iter().position(|row| *row == wanted).map(|at| at as u32);
            prop_assert_eq!(read.find(wanted.as_bytes()), expected);
            prop_assert!(read.get(rows.len() as u32).is_empty());
        }
    }
}
