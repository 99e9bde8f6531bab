//! The tables of the file, their versions, and what a file must be to be opened.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta-1` | word | number: `schema`, `next_group`, `inode`: that of the file when it was last opened, `copy`: drawn at random for each copy of the file |
//! | `owner-1` | `owner` | identity (32): whose keys sign what is in the file |
//! | `groups-1` | group id (32) | the group's number |
//! | `left-1` | group id (32) | empty: the group was left, with blocks of our own in it perhaps |
//! | `book-1` | identity (32) | the peer's entry in the address book, CBOR (`net::book`) |
//! | `local-1` | as [`node::trade::shelf`](crate::node::trade::shelf) has it | what this node keeps for itself of what it buys and sells; `net/bans`: who was sent away, CBOR (`net::Ban`); `subscription/` ‖ group (32): how it is synced (`node::Subscription`) |
//! | `lines-1` `ids-1` `orders-1` `logs-1` `states-1` `objects-1` `metas-1` `arrivals-1` | group's number (4) ‖ key | value |
//!
//! The last eight hold the rows of [`Table`], of all groups: their keys and values are described where they are made. A group's
//! number is given once and never again, so rows of a group that was left can never be read as another's. A change of a
//! table's form takes a new name (`lines-2`) and a step in [`prepare`] that carries the rows over; signed data is never dropped.

use redb::{ReadableTable, TableDefinition};

use super::{Store, StoreError};
use crate::identity::Identity;
use crate::kv::Table;

/// Byte strings, in redb's terms.
pub(super) type Bytes = &'static [u8];

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta-1");
pub(super) const GROUPS_NAME: &str = "groups-1";
pub(super) const GROUPS: TableDefinition<'_, Bytes, u32> = TableDefinition::new(GROUPS_NAME);
pub(super) const LEFT_NAME: &str = "left-1";
pub(super) const LEFT: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new(LEFT_NAME);
pub(super) const BOOK_NAME: &str = "book-1";
pub(super) const BOOK: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new(BOOK_NAME);
pub(super) const LOCAL_NAME: &str = "local-1";
pub(super) const LOCAL: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new(LOCAL_NAME);
const OWNER: TableDefinition<'_, &str, Bytes> = TableDefinition::new("owner-1");

const SCHEMA: &str = "schema";
pub(super) const NEXT_GROUP: &str = "next_group";
pub(super) const INODE: &str = "inode";
pub(super) const COPY: &str = "copy";

/// The schema that this version writes.
const SCHEMA_VERSION: u64 = 1;

pub(super) const fn definition(table: Table) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(name(table))
}

pub(super) const fn name(table: Table) -> &'static str {
    match table {
        Table::Line => "lines-1",
        Table::Id => "ids-1",
        Table::Order => "orders-1",
        Table::Log => "logs-1",
        Table::State => "states-1",
        Table::Object => "objects-1",
        Table::Meta => "metas-1",
        Table::Arrival => "arrivals-1",
    }
}

/// Makes the tables of a new file, and refuses a file that is newer or somebody else's.
pub(super) fn prepare(store: &Store, owner: &Identity) -> Result<(), StoreError> {
    let transaction = store.begin()?;
    let check = || -> Result<(Option<u64>, Option<Vec<u8>>), redb::Error> {
        let meta = transaction.open_table(META)?;
        let owners = transaction.open_table(OWNER)?;
        let schema = meta.get(SCHEMA)?.map(|version| version.value());
        let owner = owners.get("owner")?.map(|owner| owner.value().to_vec());
        Ok((schema, owner))
    };
    let (schema, known_owner) = check().map_err(|error| store.failed(error))?;
    match schema {
        Some(found) if found > SCHEMA_VERSION => {
            return Err(StoreError::Newer { path: store.path.clone(), found, known: SCHEMA_VERSION });
        }
        Some(_) | None => {}
    }
    if let Some(bytes) = known_owner.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
        let known = Identity::from_stored(bytes);
        if known != *owner {
            return Err(StoreError::Owner { path: store.path.clone(), owner: known });
        }
    }
    let write = || -> Result<(), redb::Error> {
        transaction.open_table(META)?.insert(SCHEMA, SCHEMA_VERSION)?;
        transaction.open_table(OWNER)?.insert("owner", owner.as_bytes().as_slice())?;
        transaction.open_table(GROUPS)?;
        transaction.open_table(LEFT)?;
        transaction.open_table(BOOK)?;
        transaction.open_table(LOCAL)?;
        for table in Table::ALL {
            transaction.open_table(definition(table))?;
        }
        Ok(())
    };
    if schema.is_none() {
        write().map_err(|error| store.failed(error))?;
        transaction.commit().map_err(|error| store.failed(error))?;
    } else {
        transaction.abort().map_err(|error| store.failed(error))?;
    }
    Ok(())
}
