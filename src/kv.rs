//! The small key-value trait behind which all rows of one group lie.
//!
//! A leaf. The pure layers read through [`Read`] and write into an [`Overlay`], which keeps their changes in memory, sorted,
//! until the store commits them at once. **Nothing pure can touch a disk, and a batch that is dropped leaves no trace.**
//! The simulator and the tests use [`Memory`]; the daemon uses `store`.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

/// The tables of one group. Each key and value is documented where its rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Blocks as received, by author and place in the author's line: `chain::rows`.
    Line,
    /// Where a block id lies, and what linking needs to know of it: `chain::rows`.
    Id,
    /// The order with each block's outcome and undo record: `ledger::fold`.
    Order,
    /// Blocks in the sequence in which this node stored them: `chain::rows`.
    Log,
    /// What the fold of the order has come to; hashed by `group verify`: `ledger::state`.
    State,
    /// Claim bodies and experiences, where the blocks lie that name them: `chain::rows`. In a group's scope, so visible to the
    /// group only.
    Object,
    /// Heads, tips and counters: `chain::rows`.
    Meta,
    /// What became of claims, in the sequence in which this node learned it: `node::arrival`.
    Arrival,
}

impl Table {
    /// All tables, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Line, Self::Id, Self::Order, Self::Log, Self::State, Self::Object, Self::Meta, Self::Arrival];
}

/// The store could not be read or written: a fault of the disk, never of the data's author.
#[derive(Debug, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct KvError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl KvError {
    /// Wraps the store's own error.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// A row that this node wrote cannot be read back: the file is damaged, or of another version.
    #[must_use]
    pub fn damaged(table: Table, key: &[u8]) -> Self {
        Self(format!("the row {} of table {table:?} cannot be read: the file is damaged", hex::encode(key)).into())
    }
}

/// Which way a scan runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest key up.
    Up,
    /// From the highest key down.
    Down,
}

/// A range of keys.
pub type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Told each row of a scan; `Break` ends it.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// One consistent view of a group's rows.
pub trait Read {
    /// The value of `key`.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Visits the rows of `range` in order.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError>;

    /// Visits the rows whose keys start with `prefix`, upwards.
    ///
    /// # Errors
    /// [`KvError`] where the store fails.
    fn scan_prefix(&self, table: Table, prefix: &[u8], visit: &mut Visit<'_>) -> Result<(), KvError> {
        let end = prefix_end(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        self.scan(table, (Bound::Included(prefix), upper), Direction::Up, visit)
    }
}

/// The least key above all keys that start with `prefix`; none where there is no such key.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix.get(..=last)?.to_vec();
    *end.last_mut()? += 1;
    Some(end)
}

/// Changed rows of one table: the new value, or none where the row goes.
pub type TableChanges = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Changed rows of one group, table by table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Changes([TableChanges; Table::ALL.len()]);

impl Changes {
    /// The changes of one table, in ascending order of keys.
    #[must_use]
    pub fn table(&self, table: Table) -> &TableChanges {
        // The array has one entry per variant, so the index is always in range.
        &self.0[table as usize]
    }

    fn table_mut(&mut self, table: Table) -> &mut TableChanges {
        &mut self.0[table as usize]
    }

    /// Number of changed rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(BTreeMap::len).sum()
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }
}

/// Rows of a base as they will be once the changes kept here are committed.
pub struct Overlay<'a> {
    base: &'a dyn Read,
    changes: Changes,
}

impl<'a> Overlay<'a> {
    /// No changes yet.
    #[must_use]
    pub fn new(base: &'a dyn Read) -> Self {
        Self { base, changes: Changes::default() }
    }

    /// The rows beneath the changes.
    #[must_use]
    pub const fn base(&self) -> &'a dyn Read {
        self.base
    }

    /// Sets a row.
    pub fn put(&mut self, table: Table, key: Vec<u8>, value: Vec<u8>) {
        self.changes.table_mut(table).insert(key, Some(value));
    }

    /// Removes a row.
    pub fn delete(&mut self, table: Table, key: Vec<u8>) {
        self.changes.table_mut(table).insert(key, None);
    }

    /// Sets or removes a row.
    pub fn set(&mut self, table: Table, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.changes.table_mut(table).insert(key, value);
    }

    /// Takes in what was changed on top of this overlay.
    pub fn absorb(&mut self, changes: Changes) {
        for (table, changed) in self.changes.0.iter_mut().zip(changes.0) {
            // Not `append`, which rebuilds the whole map for one row.
            table.extend(changed);
        }
    }

    /// What there is to commit.
    #[must_use]
    pub fn into_changes(self) -> Changes {
        self.changes
    }
}

impl Read for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        get_changed(self.base, &self.changes, table, key)
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        scan_changed(self.base, &self.changes, table, range, direction, visit)
    }
}

/// Rows of a base as they will be once somebody else's changes are committed.
pub struct Layer<'a> {
    base: Box<dyn Read + 'a>,
    changes: &'a Changes,
}

impl<'a> Layer<'a> {
    /// The base with the changes on top.
    #[must_use]
    pub fn new(base: Box<dyn Read + 'a>, changes: &'a Changes) -> Self {
        Self { base, changes }
    }
}

impl Read for Layer<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        get_changed(self.base.as_ref(), self.changes, table, key)
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        scan_changed(self.base.as_ref(), self.changes, table, range, direction, visit)
    }
}

fn get_changed(base: &dyn Read, changes: &Changes, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
    match changes.table(table).get(key) {
        Some(changed) => Ok(changed.clone()),
        None => base.get(table, key),
    }
}

fn scan_changed(
    base: &dyn Read,
    changes: &Changes,
    table: Table,
    range: Range<'_>,
    direction: Direction,
    visit: &mut Visit<'_>,
) -> Result<(), KvError> {
    let changed = changes.table(table).range::<[u8], _>(range);
    match direction {
        Direction::Up => merge(base, table, range, direction, changed.peekable(), visit),
        Direction::Down => merge(base, table, range, direction, changed.rev().peekable(), visit),
    }
}

/// Visits the base's rows and the changed ones as one sequence, a changed row in place of the base's.
fn merge<'c>(
    base: &dyn Read,
    table: Table,
    range: Range<'_>,
    direction: Direction,
    mut changed: std::iter::Peekable<impl Iterator<Item = (&'c Vec<u8>, &'c Option<Vec<u8>>)>>,
    visit: &mut Visit<'_>,
) -> Result<(), KvError> {
    let mut stopped = false;
    base.scan(table, range, direction, &mut |key, value| {
        let comes_before = |other: &[u8]| match direction {
            Direction::Up => other < key,
            Direction::Down => other > key,
        };
        while let Some((changed_key, changed_value)) = changed.next_if(|(other, _)| comes_before(other)) {
            if let Some(changed_value) = changed_value
                && visit(changed_key, changed_value).is_break()
            {
                stopped = true;
                return ControlFlow::Break(());
            }
        }
        let flow = match changed.next_if(|(other, _)| other.as_slice() == key) {
            Some((_, Some(replaced))) => visit(key, replaced),
            Some((_, None)) => ControlFlow::Continue(()),
            None => visit(key, value),
        };
        stopped = flow.is_break();
        flow
    })?;
    if !stopped {
        for (key, value) in changed {
            if let Some(value) = value
                && visit(key, value).is_break()
            {
                break;
            }
        }
    }
    Ok(())
}

/// A group's rows in memory: for the simulator, for tests, and for `group verify`, which folds a group a second time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Memory([BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()]);

impl Memory {
    /// Makes the changes part of the rows.
    pub fn commit(&mut self, changes: Changes) {
        for (rows, changed) in self.0.iter_mut().zip(changes.0) {
            for (key, value) in changed {
                match value {
                    Some(value) => rows.insert(key, value),
                    None => rows.remove(&key),
                };
            }
        }
    }

    /// All rows of one table.
    #[must_use]
    pub fn rows(&self, table: Table) -> &BTreeMap<Vec<u8>, Vec<u8>> {
        &self.0[table as usize]
    }
}

impl Read for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.rows(table).get(key).cloned())
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        let rows = self.rows(table).range::<[u8], _>(range);
        let mut each = |(key, value): (&Vec<u8>, &Vec<u8>)| visit(key, value);
        let _stopped = match direction {
            Direction::Up => rows.into_iter().try_for_each(&mut each),
            Direction::Down => rows.rev().try_for_each(&mut each),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(read: &dyn Read, range: Range<'_>, direction: Direction, at_most: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut rows = Vec::new();
        read.scan(Table::State, range, direction, &mut |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            if rows.len() == at_most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        rows
    }

    type Row = (Vec<u8>, Option<Vec<u8>>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let key = prop::collection::vec(0u8..4, 0..3);
        prop::collection::vec((key, prop::option::of(prop::collection::vec(any::<u8>(), 0..2))), 0..12)
    }

    proptest! {
        #[test]
        fn an_overlay_reads_as_if_it_were_committed(base in rows(), changed in rows(), low in prop::collection::vec(0u8..4, 0..3), at_most in 1usize..8) {
            let apply = |memory: &mut Memory, rows: &[Row]| {
                let empty = Memory::default();
                let mut overlay = Overlay::new(&empty);
                for (key, value) in rows {
                    overlay.set(Table::State, key.clone(), value.clone());
                }
                memory.commit(overlay.into_changes());
            };
            let mut memory = Memory::default();
            apply(&mut memory, &base);
            let mut overlay = Overlay::new(&memory);
            for (key, value) in &changed {
                overlay.set(Table::State, key.clone(), value.clone());
            }
            let mut committed = memory.clone();
            apply(&mut committed, &changed);
            for range in [(Bound::Unbounded, Bound::Unbounded), (Bound::Included(low.as_slice()), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(low.as_slice()))] {
                for direction in [Direction::Up, Direction::Down] {
                    prop_assert_eq!(collect(&overlay, range, direction, at_most), collect(&committed, range, direction, at_most));
                }
            }
            prop_assert_eq!(overlay.get(Table::State, &low).unwrap(), committed.get(Table::State, &low).unwrap());
        }
    }

    #[test]
    fn the_end_of_a_prefix_is_the_least_key_above_it() {
        for (prefix, end) in [(&b"a"[..], Some(&b"b"[..])), (b"a\xff", Some(b"b")), (b"\xff\xff", None), (b"", None)] {
            assert_eq!(prefix_end(prefix).as_deref(), end);
        }
    }
}
