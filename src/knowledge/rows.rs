//! The bytes of each document, one behind the other, under its number.

/// Makes room for `more`, an eighth of what there is at a time and not as much again: what is held and not used is what a small
/// machine feels.
pub(super) fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8).max(4_096 / size_of::<T>().max(1)));
    }
}

/// The rows.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By document: where its row ends.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Rows {
    /// Adds the row of the next document. All rows together must fit in 32 bits.
    pub(super) fn push(&mut self, row: &[u8]) {
        reserve(&mut self.bytes, row.len());
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len() as u32);
    }

    /// The row of a document.
    pub(super) fn get(&self, doc: u32) -> &[u8] {
        let end_of = |doc: u32| self.ends.get(doc as usize).map_or(0, |end| *end as usize);
        let start = doc.checked_sub(1).map_or(0, end_of);
        self.bytes.get(start..end_of(doc)).unwrap_or_default()
    }

    /// Empties the rows that `keep` refuses.
    pub(super) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let old = std::mem::take(self);
        for doc in 0..old.ends.len() as u32 {
            self.push(if keep(doc) { old.get(doc) } else { &[] });
        }
    }

    /// Bytes of all rows.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes held on the heap.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * 4
    }
}
