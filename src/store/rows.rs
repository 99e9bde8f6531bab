//! The rows of one group among those of all.
//!
//! **A group's rows are reached through its number only**: a scan ends where the number ends.

use std::ops::Bound;

use redb::{ReadOnlyTable, WriteTransaction};

use super::schema::{Bytes, definition};
use crate::kv::{Direction, KvError, Range, Read, Table, TableChanges, Visit, prefix_end};

/// A group's rows in one view.
pub(super) struct GroupRows<'a> {
    tables: &'a [ReadOnlyTable<Bytes, Bytes>; Table::ALL.len()],
    number: [u8; 4],
}

impl<'a> GroupRows<'a> {
    pub(super) const fn new(tables: &'a [ReadOnlyTable<Bytes, Bytes>; Table::ALL.len()], number: u32) -> Self {
        Self { tables, number: number.to_be_bytes() }
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        prefixed(self.number, key)
    }
}

fn prefixed(number: [u8; 4], key: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(4 + key.len());
    prefixed.extend_from_slice(&number);
    prefixed.extend_from_slice(key);
    prefixed
}

impl Read for GroupRows<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let value = self.tables[table as usize].get(self.key(key).as_slice()).map_err(KvError::new)?;
        Ok(value.map(|value| value.value().to_vec()))
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        let lower = match range.0 {
            Bound::Included(key) => Bound::Included(self.key(key)),
            Bound::Excluded(key) => Bound::Excluded(self.key(key)),
            Bound::Unbounded => Bound::Included(self.number.to_vec()),
        };
        let upper = match range.1 {
            Bound::Included(key) => Bound::Included(self.key(key)),
            Bound::Excluded(key) => Bound::Excluded(self.key(key)),
            Bound::Unbounded => prefix_end(&self.number).map_or(Bound::Unbounded, Bound::Excluded),
        };
        let bounds = (lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice));
        let mut rows = self.tables[table as usize].range::<&[u8]>(bounds).map_err(KvError::new)?;
        loop {
            let row = match direction {
                Direction::Up => rows.next(),
                Direction::Down => rows.next_back(),
            };
            let Some(row) = row else { return Ok(()) };
            let (key, value) = row.map_err(KvError::new)?;
            let key = key.value().get(4..).unwrap_or_default();
            if visit(key, value.value()).is_break() {
                return Ok(());
            }
        }
    }
}

/// Writes the changes of several groups to one table, each with its group's number.
pub(super) fn write_table<'c>(
    transaction: &WriteTransaction,
    table: Table,
    changes: impl Iterator<Item = (&'c TableChanges, &'c u32)>,
) -> Result<(), redb::Error> {
    let mut changes = changes.filter(|(changes, _)| !changes.is_empty()).peekable();
    if changes.peek().is_none() {
        return Ok(());
    }
    let mut rows = transaction.open_table(definition(table))?;
    for (changes, number) in changes {
        for (key, value) in changes {
            let key = prefixed(number.to_be_bytes(), key);
            match value {
                Some(value) => drop(rows.insert(key.as_slice(), value.as_slice())?),
                None => drop(rows.remove(key.as_slice())?),
            }
        }
    }
    Ok(())
}

/// Writes an empty row of one group.
pub(super) fn put(transaction: &WriteTransaction, number: u32, table: Table, key: &[u8]) -> Result<(), redb::Error> {
    let key = prefixed(number.to_be_bytes(), key);
    transaction.open_table(definition(table))?.insert(key.as_slice(), &[][..])?;
    Ok(())
}

/// Removes all rows of a group.
pub(super) fn remove_group(transaction: &WriteTransaction, number: u32) -> Result<(), redb::Error> {
    let first = number.to_be_bytes();
    let end = prefix_end(&first);
    for table in Table::ALL {
        let mut rows = transaction.open_table(definition(table))?;
        match &end {
            Some(end) => rows.retain_in::<&[u8], _>(first.as_slice()..end.as_slice(), |_, _| false)?,
            None => rows.retain_in::<&[u8], _>(first.as_slice().., |_, _| false)?,
        }
    }
    Ok(())
}
