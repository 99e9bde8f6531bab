//! All rows in one redb file: what is durable, and consistent views of it.
//!
//! Owns the file's tables and versions. One thread commits (`runtime::commit`); readers take a [`View`], which never waits and
//! never changes. **A batch of rows is there as a whole or not at all, and is on the disk before [`Store::commit`] returns**:
//! each commit is in two phases, so that its validity does not rest on a checksum that is not cryptographic. A start after a crash
//! walks the file once to find its free pages (0.1 s for 100,000 claims); to spare that, redb would write more at each commit.

mod dump;
mod map;
mod packages;
mod rows;
mod schema;

use std::ops::Bound;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageBackend, WriteTransaction};

use crate::chain::{GroupId, rows as rows_of};
use crate::identity::Identity;
use crate::kv::{Changes, KvError, Read, Table, prefix_end};
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
pub use dump::{PutRows, Row, TakeRow};
pub use map::{Mapped, map};
pub use packages::{PackageStoreError, Packages};
use rows::GroupRows;
use schema::{BOOK, Bytes, GROUPS, LEFT, LOCAL, META, definition};

/// Memory that redb keeps pages in, bytes. A frontier, the open end of the order and the paths to them fit; the rest is the
/// operating system's to cache.
const CACHE_BYTES: usize = 24 * 1024 * 1024;

/// Why the store cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file was written by a newer version.
    #[error(
        "{path} was written by a newer version of lbm (schema {found}, this one knows {known}): upgrade lbm, nothing was changed"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// Ours.
        known: u64,
    },
    /// The file belongs to another identity.
    #[error(
        "{path} belongs to {owner}, and the key of this data folder is another's: put the right node.key beside it, or start with an empty data folder"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: Identity,
    },
    /// Rows that this version has no table for.
    #[error(
        "rows of a table `{table}` that this version of lbm does not have: put them back with the version that made them"
    )]
    UnknownTable {
        /// The file.
        path: PathBuf,
        /// The table.
        table: String,
    },
    /// There is too little room on the disk to write safely.
    #[error(
        "the disk of {path} has {free_mib} MiB left, and lbm needs {least_mib} MiB to write safely: free some space; nothing was written"
    )]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What is left.
        free_mib: u64,
        /// What must be.
        least_mib: u64,
    },
    /// Another process has the file open.
    #[error("{0} is open in another process: stop the other daemon first")]
    Busy(PathBuf),
    /// redb failed.
    #[error("the database {path} failed: {source}")]
    Redb {
        /// The file.
        path: PathBuf,
        /// What redb says.
        source: Box<redb::Error>,
    },
    /// A row cannot be read.
    #[error(transparent)]
    Row(#[from] KvError),
}

/// Rows of a batch from which its tables are written side by side.
const SIDE_BY_SIDE_ROWS: usize = 4_096;

/// The file.
pub struct Store {
    db: Database,
    path: PathBuf,
    /// Drawn at random for each copy of the file: see [`ArrivalOrder`].
    copy: u64,
}

/// Names the sequence in which one group's claims came to one copy of the file: positions in it mean nothing in another. A copy of
/// the file goes on by itself, and so does a group that is joined again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrivalOrder {
    /// Of which copy.
    pub copy: u64,
    /// Of which group, each time that it was joined.
    pub group: u32,
}

/// A group that the node keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: GroupId,
    /// Its number: the prefix of its rows.
    number: u32,
}

/// A row that the node keeps for itself: its key and its value.
pub type LocalRow = (Vec<u8>, Vec<u8>);

/// What one commit changes besides the rows of groups.
#[derive(Debug, Default)]
pub struct Registry {
    /// Groups to keep from now on.
    pub join: Vec<GroupId>,
    /// Groups to drop, with all of their rows.
    pub leave: Vec<GroupId>,
    /// The address book, where it changed: each peer's entry, encoded.
    pub book: Option<Vec<(Identity, Vec<u8>)>>,
    /// Rows that the node keeps for itself, each with its new value; none takes it away.
    pub local: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Store {
    /// Opens the file, and makes it where there is none.
    ///
    /// # Errors
    /// [`StoreError`] where it is newer, another identity's, open elsewhere, or damaged.
    pub fn open(path: &Path, owner: &Identity) -> Result<Self, StoreError> {
        Self::open_of(path, owner, &[])
    }

    /// The same of a node with agents: where nobody but they are in a group, nobody else has a block of it.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_of(path: &Path, owner: &Identity, agents: &[Identity]) -> Result<Self, StoreError> {
        Self::check_room(path)?;
        // Made here and not by redb, which would let others read it.
        let mut options = std::fs::OpenOptions::new();
        let made = options.write(true).create(true).truncate(false).mode(0o600).open(path);
        drop(made.map_err(|error| failed(path, redb::Error::Io(error)))?);
        let created = Database::builder().set_cache_size(CACHE_BYTES).create(path);
        let db = created.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => StoreError::Busy(path.to_owned()),
            error => failed(path, error),
        })?;
        let mut store = Self::set_up(db, path, owner)?;
        store.copy = store.notice_copy(&[&[*owner], agents].concat())?;
        Ok(store)
    }

    /// Opens a file behind a backend: for tests that make it fail.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(backend: impl StorageBackend, owner: &Identity) -> Result<Self, StoreError> {
        let path = Path::new("backend");
        let db = Database::builder().create_with_backend(backend).map_err(|error| failed(path, error))?;
        Self::set_up(db, path, owner)
    }

    fn set_up(db: Database, path: &Path, owner: &Identity) -> Result<Self, StoreError> {
        let store = Self { db, path: path.to_owned(), copy: 0 };
        schema::prepare(&store, owner)?;
        Ok(store)
    }

    /// Puts our own line in doubt where this is not the file that was written last, but a copy: it may be an older one. Where nobody
    /// else was ever named, nobody else has a block. Gives the number of the copy.
    fn notice_copy(&self, own: &[Identity]) -> Result<u64, StoreError> {
        let inode = std::fs::metadata(&self.path).map_err(|error| self.failed(redb::Error::Io(error)))?.ino();
        let transaction = self.begin()?;
        let known = || -> Result<[Option<u64>; 2], redb::Error> {
            let meta = transaction.open_table(META)?;
            let read = |word| Ok::<_, redb::Error>(meta.get(word)?.map(|number| number.value()));
            Ok([read(schema::INODE)?, read(schema::COPY)?])
        };
        let [known, copy] = known().map_err(|error| self.failed(error))?;
        if let (true, Some(copy)) = (known == Some(inode), copy) {
            transaction.abort().map_err(|error| self.failed(error))?;
            return Ok(copy);
        }
        drop(transaction);
        if known.is_some() {
            let groups = self.doubt(|kv| Ok(rows_of::in_doubt(kv)? || !rows_of::is_alone(kv, own)?))?;
            tracing::warn!(path = %self.path.display(), groups, "this file is a copy: nothing is written until members have answered");
        }
        let copy = getrandom::u64().map_err(|error| self.failed(redb::Error::Io(std::io::Error::other(error))))?;
        let transaction = self.begin()?;
        let note = || -> Result<(), redb::Error> {
            let mut meta = transaction.open_table(META)?;
            meta.insert(schema::INODE, inode)?;
            meta.insert(schema::COPY, copy)?;
            Ok(())
        };
        note().map_err(|error| self.failed(error))?;
        transaction.commit().map_err(|error| self.failed(error))?;
        Ok(copy)
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.db.begin_write().map_err(|error| self.failed(error))?;
        transaction.set_two_phase_commit(true);
        Ok(transaction)
    }

    fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        failed(&self.path, error)
    }

    fn check_room(path: &Path) -> Result<(), StoreError> {
        let Some(free) = free_bytes(path).filter(|free| *free < limits::DISK_FREE_BYTES) else { return Ok(()) };
        let (free_mib, least_mib) = (free >> 20, limits::DISK_FREE_BYTES >> 20);
        Err(StoreError::DiskFull { path: path.to_owned(), free_mib, least_mib })
    }

    /// Makes a batch durable, as a whole.
    ///
    /// # Errors
    /// [`StoreError`]: then nothing of it is there.
    pub fn commit(&self, changes: &[(GroupId, Changes)], registry: &Registry) -> Result<(), StoreError> {
        Self::check_room(&self.path)?;
        let transaction = self.begin()?;
        self.write(&transaction, changes, registry).map_err(|error| self.failed(error))?;
        transaction.commit().map_err(|error| self.failed(error))
    }

    fn write(
        &self,
        transaction: &WriteTransaction,
        changes: &[(GroupId, Changes)],
        registry: &Registry,
    ) -> Result<(), redb::Error> {
        let mut numbers = Vec::with_capacity(changes.len());
        {
            let mut groups = transaction.open_table(GROUPS)?;
            for id in changes.iter().map(|(id, _)| id).chain(&registry.join) {
                let known = groups.get(id.as_bytes().as_slice())?.map(|number| number.value());
                let number = match known {
                    Some(number) => number,
                    None => {
                        let mut meta = transaction.open_table(META)?;
                        let next = meta.get(schema::NEXT_GROUP)?.map_or(0, |number| number.value());
                        meta.insert(schema::NEXT_GROUP, next + 1)?;
                        let number = u32::try_from(next).unwrap_or(u32::MAX);
                        groups.insert(id.as_bytes().as_slice(), number)?;
                        number
                    }
                };
                numbers.push(number);
                // Who joins again does not know what it had written: its own line is in doubt.
                if known.is_none() && transaction.open_table(LEFT)?.remove(id.as_bytes().as_slice())?.is_some() {
                    rows::put(transaction, number, Table::Meta, rows_of::DOUBT)?;
                }
            }
            for id in &registry.leave {
                let number = groups.remove(id.as_bytes().as_slice())?.map(|number| number.value());
                if let Some(number) = number {
                    rows::remove_group(transaction, number)?;
                    transaction.open_table(LEFT)?.insert(id.as_bytes().as_slice(), &[][..])?;
                }
            }
        }
        let write = |table: &Table| {
            let changed = changes.iter().map(|(_, changes)| changes.table(*table));
            rows::write_table(transaction, *table, changed.zip(&numbers))
        };
        // The tables are trees of their own: a large batch goes into them side by side, a small one is done before threads wake.
        if changes.iter().map(|(_, changes)| changes.len()).sum::<usize>() >= SIDE_BY_SIDE_ROWS {
            Table::ALL.par_iter().try_for_each(write)?;
        } else {
            Table::ALL.iter().try_for_each(write)?;
        }
        if let Some(book) = &registry.book {
            let mut rows = transaction.open_table(BOOK)?;
            rows.retain(|_, _| false)?;
            for (peer, entry) in book {
                rows.insert(peer.as_bytes().as_slice(), entry.as_slice())?;
            }
        }
        if !registry.local.is_empty() {
            let mut rows = transaction.open_table(LOCAL)?;
            for (key, value) in &registry.local {
                match value {
                    Some(value) => drop(rows.insert(key.as_slice(), value.as_slice())?),
                    None => drop(rows.remove(key.as_slice())?),
                }
            }
        }
        Ok(())
    }

    /// A consistent view of everything that is durable now.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn view(&self) -> Result<View, KvError> {
        let transaction = self.db.begin_read().map_err(KvError::new)?;
        let open = |table| transaction.open_table(definition(table)).map_err(KvError::new);
        Ok(View {
            reader: None,
            copy: self.copy,
            groups: transaction.open_table(GROUPS).map_err(KvError::new)?,
            left: transaction.open_table(LEFT).map_err(KvError::new)?,
            book: transaction.open_table(BOOK).map_err(KvError::new)?,
            local: transaction.open_table(LOCAL).map_err(KvError::new)?,
            tables: [
                open(Table::Line)?,
                open(Table::Id)?,
                open(Table::Order)?,
                open(Table::Log)?,
                open(Table::State)?,
                open(Table::Object)?,
                open(Table::Meta)?,
                open(Table::Arrival)?,
            ],
        })
    }

    /// The folder of the packages, beside the file.
    #[must_use]
    pub fn packages_path(&self) -> PathBuf {
        self.path.with_file_name("packages")
    }

    /// Bytes that are left on the file's disk; none where the system does not say.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        free_bytes(&self.path)
    }
}

fn free_bytes(path: &Path) -> Option<u64> {
    // So that tests can fill and empty the disk of a daemon that runs. A release has none of it.
    #[cfg(debug_assertions)]
    if path.ancestors().skip(1).take(2).any(|folder| folder.join("pretend-full").exists()) {
        return Some(0);
    }
    let stat = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn failed(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    StoreError::Redb { path: path.to_owned(), source: Box::new(error.into()) }
}

/// A consistent view of everything that was durable when it was taken.
pub struct View {
    /// Whose groups show; none for all.
    reader: Option<Identity>,
    copy: u64,
    groups: ReadOnlyTable<Bytes, u32>,
    left: ReadOnlyTable<Bytes, Bytes>,
    book: ReadOnlyTable<Bytes, Bytes>,
    local: ReadOnlyTable<Bytes, Bytes>,
    tables: [ReadOnlyTable<Bytes, Bytes>; Table::ALL.len()],
}

impl View {
    /// The same as a member of some groups may see it: the others are not there. The node's own rows are not touched by this.
    #[must_use]
    pub fn seen_by(self, reader: Identity) -> Self {
        Self { reader: Some(reader), ..self }
    }

    /// Whether a group shows in this view.
    fn shows(&self, number: u32) -> Result<bool, KvError> {
        match &self.reader {
            None => Ok(true),
            Some(reader) => Ok(state::member(&GroupRows::new(&self.tables, number), reader)?.is_some()),
        }
    }

    /// Whether a group is here and does not show.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn hides(&self, id: &GroupId) -> Result<bool, KvError> {
        let number = self.groups.get(id.as_bytes().as_slice()).map_err(KvError::new)?.map(|number| number.value());
        number.map_or(Ok(false), |number| Ok(!self.shows(number)?))
    }

    /// The number of a group that shows.
    fn number(&self, id: &GroupId) -> Result<Option<u32>, KvError> {
        let number = self.groups.get(id.as_bytes().as_slice()).map_err(KvError::new)?.map(|number| number.value());
        match number {
            Some(number) if self.shows(number)? => Ok(Some(number)),
            _ => Ok(None),
        }
    }

    /// The groups that the node keeps, ascending by id.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn groups(&self) -> Result<Vec<Kept>, KvError> {
        let mut groups = Vec::new();
        for row in self.groups.iter().map_err(KvError::new)? {
            let (id, number) = row.map_err(KvError::new)?;
            let id = id.value().try_into().map_err(|_| KvError::damaged(Table::Meta, id.value()))?;
            if self.shows(number.value())? {
                groups.push(Kept { id: GroupId::from_bytes(id), number: number.value() });
            }
        }
        Ok(groups)
    }

    /// The rows of a group that [`View::groups`] has named.
    #[must_use]
    pub fn rows(&self, kept: Kept) -> impl Read + '_ {
        GroupRows::new(&self.tables, kept.number)
    }

    /// The sequence in which the claims of a group came here; none where the node does not keep it.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn arrival_order(&self, id: &GroupId) -> Result<Option<ArrivalOrder>, KvError> {
        Ok(self.number(id)?.map(|group| ArrivalOrder { copy: self.copy, group }))
    }

    /// The entries of the address book.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn book(&self) -> Result<Vec<Vec<u8>>, KvError> {
        let rows = self.book.iter().map_err(KvError::new)?;
        rows.map(|row| row.map(|(_, entry)| entry.value().to_vec()).map_err(KvError::new)).collect()
    }

    /// A row that the node keeps for itself.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn local(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.local.get(key).map_err(KvError::new)?.map(|value| value.value().to_vec()))
    }

    /// The rows that the node keeps for itself whose keys begin with `prefix`, ascending, with their keys.
    ///
    /// # Errors
    /// [`KvError`] where redb fails.
    pub fn local_rows(&self, prefix: &[u8]) -> Result<Vec<LocalRow>, KvError> {
        let end = prefix_end(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        let range = (Bound::Included(prefix), end.as_ref().map(Vec::as_slice));
        let rows = self.local.range::<&[u8]>(range).map_err(KvError::new)?;
        rows.map(|row| row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())).map_err(KvError::new))
            .collect()
    }
}

impl Groups for View {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        Ok(self.number(id)?.map(|number| Box::new(GroupRows::new(&self.tables, number)) as Box<dyn Read>))
    }

    fn local(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Self::local(self, key)
    }
}

#[cfg(test)]
mod tests;
