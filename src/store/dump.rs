//! All rows out of a view, and into a new file: what a backup holds.
//!
//! Every table but `meta-1` and `owner-1`: a new file makes those itself. `groups-1` comes first, its numbers as bytes.

use redb::{ReadOnlyTable, ReadableTable};
use serde_bytes::ByteBuf;

use super::schema::{
    BOOK, BOOK_NAME, Bytes, GROUPS, GROUPS_NAME, LEFT, LEFT_NAME, LOCAL, LOCAL_NAME, META, NEXT_GROUP, definition, name,
};
use super::{Store, StoreError, View};
use crate::chain::rows;
use crate::kv::{KvError, Overlay, Read, Table};

/// A row: its key and its value.
pub type Row = (ByteBuf, ByteBuf);

/// Takes in a row: its table, its key, its value.
pub type TakeRow<'a, E> = dyn FnMut(&str, &[u8], &[u8]) -> Result<(), E> + 'a;

/// Puts rows into a table; fails where there is no such table.
pub type PutRows<'a> = dyn FnMut(&str, &[Row]) -> Result<(), StoreError> + 'a;

impl View {
    /// Visits every row, table by table, ascending.
    ///
    /// # Errors
    /// Those of `take`; [`KvError`] where redb fails.
    pub fn dump<E: From<KvError>>(&self, take: &mut TakeRow<'_, E>) -> Result<(), E> {
        for row in self.groups.iter().map_err(KvError::new)? {
            let (id, number) = row.map_err(KvError::new)?;
            take(GROUPS_NAME, id.value(), &number.value().to_be_bytes())?;
        }
        dump(LEFT_NAME, &self.left, take)?;
        dump(BOOK_NAME, &self.book, take)?;
        dump(LOCAL_NAME, &self.local, take)?;
        for (table, rows) in Table::ALL.iter().zip(&self.tables) {
            dump(name(*table), rows, take)?;
        }
        Ok(())
    }
}

fn dump<E: From<KvError>>(table: &str, rows: &ReadOnlyTable<Bytes, Bytes>, take: &mut TakeRow<'_, E>) -> Result<(), E> {
    for row in rows.iter().map_err(KvError::new)? {
        let (key, value) = row.map_err(KvError::new)?;
        take(table, key.value(), value.value())?;
    }
    Ok(())
}

impl Store {
    /// Fills a new file with what `give` puts: all of it or, where `give` fails, nothing.
    ///
    /// # Errors
    /// Those of `give`, [`StoreError`].
    pub fn load<E: From<StoreError>>(&self, give: impl FnOnce(&mut PutRows<'_>) -> Result<(), E>) -> Result<(), E> {
        let transaction = self.begin()?;
        let mut next = 0;
        let mut put = |table: &str, rows: &[Row]| {
            let unknown = || StoreError::UnknownTable { path: self.path.clone(), table: table.to_owned() };
            if table == GROUPS_NAME {
                let mut groups = transaction.open_table(GROUPS).map_err(|error| self.failed(error))?;
                for (id, number) in rows {
                    let number = number.as_slice().try_into().map(u32::from_be_bytes).map_err(|_| unknown())?;
                    groups.insert(id.as_slice(), number).map_err(|error| self.failed(error))?;
                    next = next.max(u64::from(number) + 1);
                }
                return Ok(());
            }
            let table = match Table::ALL.iter().find(|known| name(**known) == table) {
                Some(known) => definition(*known),
                None if table == BOOK_NAME => BOOK,
                None if table == LEFT_NAME => LEFT,
                None if table == LOCAL_NAME => LOCAL,
                None => return Err(unknown()),
            };
            let mut table = transaction.open_table(table).map_err(|error| self.failed(error))?;
            for (key, value) in rows {
                table.insert(key.as_slice(), value.as_slice()).map_err(|error| self.failed(error))?;
            }
            Ok(())
        };
        give(&mut put)?;
        let count = || -> Result<(), redb::Error> {
            transaction.open_table(META)?.insert(NEXT_GROUP, next)?;
            Ok(())
        };
        count().map_err(|error| self.failed(error))?;
        Ok(transaction.commit().map_err(|error| self.failed(error))?)
    }

    /// Puts our own line in doubt in those groups that `is_meant` picks, and in no other; tells in how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn doubt(&self, is_meant: impl Fn(&dyn Read) -> Result<bool, KvError>) -> Result<usize, StoreError> {
        let mut marked = 0;
        let view = self.view()?;
        let mut changes = Vec::new();
        for kept in view.groups()? {
            let rows = view.rows(kept);
            let (was, is) = (rows::in_doubt(&rows)?, is_meant(&rows)?);
            marked += usize::from(is);
            if was != is {
                let mut overlay = Overlay::new(&rows);
                rows::set_in_doubt(&mut overlay, is);
                changes.push((kept.id, overlay.into_changes()));
            }
        }
        drop(view);
        self.commit(&changes, &super::Registry::default())?;
        Ok(marked)
    }
}
