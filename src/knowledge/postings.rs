//! Postings: for each term the documents that have it and how often, as bytes.
//!
//! A list is a sequence of `(gap << 1 | more, weight if more)`, each a LEB128 number: `gap` counts the documents between this
//! one and the one before, and `more` is set where the weight is not 1. Most postings are one or two bytes. All
//! lists live in one arena, in pieces of growing sizes; a list that fills its piece moves to a larger one, and the piece it
//! leaves is given to the next list that needs one of that size. A million short lists cost no allocation each.
//!
//! Invariant: documents of a list ascend, and the bytes of a list read alone: they can be written to disk as they are.

use super::rows::reserve;

/// Sizes of pieces in bytes: 8, 12, 16, 24, 32, 48, ….
const fn piece_bytes(class: u8) -> usize {
    let base = if class.is_multiple_of(2) { 8 } else { 12 };
    base << (class / 2)
}

/// Pieces start at multiples of this, so that 32 bits address 16 GiB.
const ALIGN: usize = 4;

/// One list.
#[derive(Debug, Clone, Copy)]
struct List {
    /// Start of its piece, in units of [`ALIGN`].
    start: u32,
    used: u32,
    /// One past its last document.
    next: u32,
    class: u8,
}

/// The lists of all terms, by the term's number.
#[derive(Debug, Default)]
pub(super) struct Postings {
    lists: Vec<List>,
    arena: Vec<u8>,
    /// Starts of the pieces that are free, by class.
    free: Vec<Vec<u32>>,
}

impl Postings {
    /// Appends a document, with a number above all that the list has, to the list of `term`.
    pub(super) fn push(&mut self, term: u32, doc: u32, weight: u32) {
        let at = term as usize;
        while self.lists.len() <= at {
            let start = self.piece(0);
            self.lists.push(List { start, used: 0, next: 0, class: 0 });
        }
        let Some(mut list) = self.lists.get(at).copied() else { return };
        let mut bytes = Bytes::default();
        let gap = u64::from(doc - list.next) << 1;
        if weight == 1 {
            bytes.put(gap);
        } else {
            bytes.put(gap | 1);
            bytes.put(u64::from(weight));
        }
        let used = list.used as usize;
        if used + bytes.len > piece_bytes(list.class) {
            let mut class = list.class + 1;
            while used + bytes.len > piece_bytes(class) {
                class += 1;
            }
            let from = list.start as usize * ALIGN;
            let start = self.piece(class);
            self.arena.copy_within(from..from + used, start as usize * ALIGN);
            self.release(list.class, list.start);
            (list.start, list.class) = (start, class);
        }
        let to = list.start as usize * ALIGN + used;
        if let Some(place) = self.arena.get_mut(to..to + bytes.len) {
            place.copy_from_slice(bytes.as_slice());
        }
        list.used += bytes.len as u32;
        list.next = doc + 1;
        if let Some(slot) = self.lists.get_mut(at) {
            *slot = list;
        }
    }

    /// The list of `term`, from its first document.
    pub(super) fn cursor(&self, term: u32) -> Cursor<'_> {
        let bytes = self.lists.get(term as usize).and_then(|list| {
            let from = list.start as usize * ALIGN;
            self.arena.get(from..from + list.used as usize)
        });
        let mut cursor = Cursor { bytes: bytes.unwrap_or_default(), doc: u32::MAX, weight: 0 };
        cursor.advance();
        cursor
    }

    /// The same lists without the documents that `keep` refuses.
    pub(super) fn retained(&self, keep: impl Fn(u32) -> bool) -> Self {
        let mut new = Self::default();
        for term in 0..self.lists.len() as u32 {
            let mut cursor = self.cursor(term);
            while let Some((doc, weight)) = cursor.current() {
                if keep(doc) {
                    new.push(term, doc, weight);
                }
                cursor.advance();
            }
        }
        new
    }

    fn piece(&mut self, class: u8) -> u32 {
        if let Some(start) = self.free.get_mut(usize::from(class)).and_then(Vec::pop) {
            return start;
        }
        let (start, bytes) = (self.arena.len(), piece_bytes(class));
        reserve(&mut self.arena, bytes);
        self.arena.resize(start + bytes, 0);
        (start / ALIGN) as u32
    }

    fn release(&mut self, class: u8, start: u32) {
        let class = usize::from(class);
        if self.free.len() <= class {
            self.free.resize_with(class + 1, Vec::new);
        }
        if let Some(free) = self.free.get_mut(class) {
            free.push(start);
        }
    }

    /// Bytes of the arena, which grows only while its addresses fit.
    pub(super) const fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|class| class.capacity() * 4).sum();
        self.lists.capacity() * size_of::<List>() + self.arena.capacity() + free
    }
}

/// A reader of one list.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    /// `u32::MAX` before the first document and behind the last.
    doc: u32,
    weight: u32,
}

impl Cursor<'_> {
    /// The document it stands on, or `u32::MAX` behind the last.
    #[inline]
    pub(super) const fn doc(&self) -> u32 {
        self.doc
    }

    /// The weight of the term in that document.
    #[inline]
    pub(super) const fn weight(&self) -> u32 {
        self.weight
    }

    /// Both, until the end.
    pub(super) const fn current(&self) -> Option<(u32, u32)> {
        if self.doc == u32::MAX { None } else { Some((self.doc, self.weight)) }
    }

    /// Goes to the next document.
    #[inline]
    pub(super) fn advance(&mut self) {
        let Some(head) = take(&mut self.bytes) else {
            self.doc = u32::MAX;
            return;
        };
        // Wraps from `u32::MAX` to 0 at the first document, as it should.
        self.doc = self.doc.wrapping_add(1).wrapping_add((head >> 1) as u32);
        self.weight = if head & 1 == 0 { 1 } else { take(&mut self.bytes).map_or(1, |weight| weight as u32) };
    }
}

/// Reads one LEB128 number off the front.
#[inline]
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (first, mut rest) = bytes.split_first()?;
    let mut value = u64::from(first & 0x7f);
    let (mut last, mut shift) = (*first, 7);
    while last & 0x80 != 0 {
        let (next, behind) = rest.split_first()?;
        value |= u64::from(next & 0x7f) << shift;
        (last, rest, shift) = (*next, behind, shift + 7);
    }
    *bytes = rest;
    Some(value)
}

/// Room for one posting: two LEB128 numbers of at most five bytes.
#[derive(Debug, Default)]
pub(super) struct Bytes {
    bytes: [u8; 10],
    len: usize,
}

impl Bytes {
    /// Appends one number below 2^35.
    pub(super) fn put(&mut self, mut value: u64) {
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = if value == 0 { low } else { low | 0x80 };
                self.len += 1;
            }
            if value == 0 {
                return;
            }
        }
    }

    /// What was written.
    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Postings;

    fn read(postings: &Postings, term: u32) -> Vec<(u32, u32)> {
        let mut cursor = postings.cursor(term);
        std::iter::from_fn(|| {
            let current = cursor.current();
            cursor.advance();
            current
        })
        .collect()
    }

    proptest! {
        #[test]
        fn lists_read_as_they_were_written(docs in prop::collection::vec((0..2_000_u32, prop::collection::btree_map(0..40_u32, 1..300_u32, 0..20)), 0..200)) {
            let mut postings = Postings::default();
            let mut model: BTreeMap<u32, Vec<(u32, u32)>> = BTreeMap::new();
            let mut doc = 0;
            for (gap, terms) in docs {
                doc += gap;
                for (term, weight) in terms {
                    postings.push(term, doc, weight);
                    model.entry(term).or_default().push((doc, weight));
                }
                doc += 1;
            }
            for term in 0..41 {
                prop_assert_eq!(read(&postings, term), model.remove(&term).unwrap_or_default());
            }
        }
    }

    #[test]
    fn the_largest_document_number_and_weight_fit() {
        let mut postings = Postings::default();
        postings.push(0, u32::MAX - 1, u32::MAX);
        assert_eq!(read(&postings, 0), [(u32::MAX - 1, u32::MAX)]);
    }

    #[test]
    fn an_abandoned_piece_serves_the_next_list() {
        let mut postings = Postings::default();
        (0..100).for_each(|doc| postings.push(0, doc, 1));
        let before = postings.arena_bytes();
        postings.push(1, 0, 1);
        assert_eq!(postings.arena_bytes(), before);
        assert_eq!(postings.retained(|doc| doc % 2 == 0).cursor(0).current(), Some((0, 1)));
    }
}
