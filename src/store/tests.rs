use std::io;
use std::ops::Bound;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::identity::SecretKey;
use crate::kv::{Direction, Memory, Overlay};

fn owner(number: u8) -> Identity {
    SecretKey::from_seed(&[number; 32]).identity()
}

fn group(number: u8) -> GroupId {
    GroupId::from_bytes([number; 32])
}

type Row<'a> = (Table, &'a [u8], Option<&'a [u8]>);

fn changes(rows: &[Row<'_>]) -> Changes {
    let nothing = Memory::default();
    let mut overlay = Overlay::new(&nothing);
    for (table, key, value) in rows {
        overlay.set(*table, key.to_vec(), value.map(<[u8]>::to_vec));
    }
    overlay.into_changes()
}

fn put(key: &[u8], value: &[u8]) -> Changes {
    changes(&[(Table::State, key, Some(value))])
}

fn get(store: &Store, id: GroupId, key: &[u8]) -> Option<Vec<u8>> {
    let view = store.view().unwrap();
    let rows = view.group(&id).unwrap()?;
    rows.get(Table::State, key).unwrap()
}

fn keys(read: &dyn Read, range: crate::kv::Range<'_>, direction: Direction) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    read.scan(Table::State, range, direction, &mut |key, _| {
        keys.push(key.to_vec());
        ControlFlow::Continue(())
    })
    .unwrap();
    keys
}

#[test]
fn what_was_committed_is_there_after_a_restart_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbm.redb");
    let store = Store::open(&path, &owner(1)).unwrap();
    store.commit(&[(group(1), put(b"a", b"1")), (group(2), put(b"a", b"2"))], &Registry::default()).unwrap();
    let view = store.view().unwrap();
    store.commit(&[(group(1), changes(&[(Table::State, b"a", None)]))], &Registry::default()).unwrap();
    let old = view.group(&group(1)).unwrap().unwrap().get(Table::State, b"a").unwrap();
    assert_eq!(old.as_deref(), Some(&b"1"[..]), "a view does not change under its reader");
    drop(view);
    drop(store);
    let store = Store::open(&path, &owner(1)).unwrap();
    assert_eq!(get(&store, group(1), b"a"), None);
    assert_eq!(get(&store, group(2), b"a").as_deref(), Some(&b"2"[..]));
    assert_eq!(store.view().unwrap().groups().unwrap().len(), 2);
}

#[test]
fn a_scan_stays_in_its_group_and_its_range_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lbm.redb"), &owner(1)).unwrap();
    for number in 1..=3 {
        let rows = [&b"a"[..], b"b", b"c"].map(|key| (Table::State, key, Some(&b"x"[..])));
        store.commit(&[(group(number), changes(&rows))], &Registry::default()).unwrap();
    }
    let view = store.view().unwrap();
    let rows = view.group(&group(2)).unwrap().unwrap();
    let all = (Bound::Unbounded, Bound::Unbounded);
    assert_eq!(keys(rows.as_ref(), all, Direction::Up), [b"a", b"b", b"c"]);
    assert_eq!(keys(rows.as_ref(), all, Direction::Down), [b"c", b"b", b"a"]);
    let behind_a = (Bound::Excluded(&b"a"[..]), Bound::Unbounded);
    assert_eq!(keys(rows.as_ref(), behind_a, Direction::Down), [b"c", b"b"]);
    let to_b = (Bound::Unbounded, Bound::Included(&b"b"[..]));
    assert_eq!(keys(rows.as_ref(), to_b, Direction::Up), [b"a", b"b"]);
}

#[test]
fn a_group_that_is_left_takes_its_rows_along_and_its_number_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lbm.redb"), &owner(1)).unwrap();
    store.commit(&[(group(1), put(b"a", b"1")), (group(2), put(b"a", b"2"))], &Registry::default()).unwrap();
    let before = store.view().unwrap().groups().unwrap();
    store.commit(&[], &Registry { leave: vec![group(1)], ..Registry::default() }).unwrap();
    assert!(store.view().unwrap().group(&group(1)).unwrap().is_none());
    store.commit(&[], &Registry { join: vec![group(1)], ..Registry::default() }).unwrap();
    assert_eq!(get(&store, group(1), b"a"), None);
    assert_eq!(get(&store, group(2), b"a").as_deref(), Some(&b"2"[..]));
    let after = store.view().unwrap().groups().unwrap();
    assert_eq!(after.len(), 2);
    assert!(!before.iter().any(|kept| kept.id == group(1) && after.contains(kept)));
}

#[test]
fn a_newer_file_and_another_identitys_file_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbm.redb");
    drop(Store::open(&path, &owner(1)).unwrap());
    assert!(matches!(Store::open(&path, &owner(2)), Err(StoreError::Owner { .. })));
    let db = Database::open(&path).unwrap();
    let transaction = db.begin_write().unwrap();
    transaction.open_table(META).unwrap().insert("schema", 99).unwrap();
    transaction.commit().unwrap();
    drop(db);
    let error = Store::open(&path, &owner(1)).err().unwrap();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("upgrade lbm"), "{error}");
}

#[test]
fn a_file_that_is_open_elsewhere_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbm.redb");
    let _open = Store::open(&path, &owner(1)).unwrap();
    assert!(matches!(Store::open(&path, &owner(1)), Err(StoreError::Busy(_))));
}

/// A disk that fails after so many operations, and whose power can be cut: then of what was written since the last sync any part
/// may be there and any part may not.
#[derive(Debug, Clone, Default)]
struct Disk {
    file: Arc<Mutex<File>>,
    left: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
struct File {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl Disk {
    fn new(content: Vec<u8>, operations: usize) -> Self {
        let file = File { now: content.clone(), synced: content, unsynced: vec![] };
        Self { file: Arc::new(Mutex::new(file)), left: Arc::new(AtomicUsize::new(operations)) }
    }

    fn spend(&self) -> io::Result<()> {
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn after_power_loss(&self, rng: &mut StdRng) -> Vec<u8> {
        let file = self.file.lock().unwrap();
        let mut content = file.synced.clone();
        for (at, data) in &file.unsynced {
            if rng.random_bool(0.5) {
                content.resize(content.len().max(at + data.len()), 0);
                content[*at..at + data.len()].copy_from_slice(data);
            }
        }
        content
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let file = self.file.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(file.now.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.spend()?;
        let mut file = self.file.lock().unwrap();
        let len = usize::try_from(len).unwrap();
        file.now.resize(len, 0);
        file.synced.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.spend()?;
        let mut file = self.file.lock().unwrap();
        file.synced = file.now.clone();
        file.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.spend()?;
        let mut file = self.file.lock().unwrap();
        let at = usize::try_from(offset).unwrap();
        file.now[at..at + data.len()].copy_from_slice(data);
        file.unsynced.push((at, data.to_vec()));
        Ok(())
    }
}

/// Commits numbered batches of three rows each until the disk fails; gives how many were acknowledged.
fn write_until_failure(disk: &Disk) -> u32 {
    let Ok(store) = Store::open_with(disk.clone(), &owner(1)) else { return 0 };
    for number in 1..=20u32 {
        let value = number.to_be_bytes();
        let rows = [Table::State, Table::Order, Table::Log].map(|table| (table, &b"last"[..], Some(&value[..])));
        let numbered = changes(&[rows[0], rows[1], rows[2], (Table::Line, &value, Some(b"kept"))]);
        if store.commit(&[(group(1), numbered)], &Registry::default()).is_err() {
            return number - 1;
        }
    }
    20
}

#[test]
fn whatever_the_disk_does_each_acknowledged_batch_is_there_whole() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut failures = 0;
    for operations in 0..400 {
        let disk = Disk::new(vec![], operations);
        let acknowledged = write_until_failure(&disk);
        failures += u32::from(acknowledged < 20);
        let after = Disk::new(disk.after_power_loss(&mut rng), usize::MAX);
        let store = match Store::open_with(after, &owner(1)) {
            Ok(store) => store,
            Err(error) => {
                assert_eq!(acknowledged, 0, "operation {operations}: {error}");
                continue;
            }
        };
        let view = store.view().unwrap();
        let Some(rows) = view.group(&group(1)).unwrap() else {
            assert_eq!(acknowledged, 0, "operation {operations}");
            continue;
        };
        let last = |table| {
            let value = rows.get(table, b"last").unwrap().map(|value| <[u8; 4]>::try_from(value).unwrap());
            value.map_or(0, u32::from_be_bytes)
        };
        let there = last(Table::State);
        assert!(there == acknowledged || there == acknowledged + 1, "operation {operations}: {there}, {acknowledged}");
        assert_eq!([last(Table::Order), last(Table::Log)], [there, there], "operation {operations}: half a batch");
        for number in 1..=there {
            assert!(rows.get(Table::Line, &number.to_be_bytes()).unwrap().is_some(), "operation {operations}");
        }
    }
    assert!(failures > 100, "the disk hardly ever failed: {failures}");
}

/// A table that is added later and forgotten by backups would be lost by them.
#[test]
fn a_dump_names_every_table_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("lbm.redb"), &owner(1)).unwrap();
    let rows = Table::ALL.map(|table| (table, &b"a"[..], Some(&b"1"[..])));
    let local = vec![(b"s".to_vec(), Some(vec![1]))];
    let registry = Registry { book: Some(vec![(owner(2), vec![1])]), local, ..Registry::default() };
    store.commit(&[(group(1), changes(&rows)), (group(2), Changes::default())], &registry).unwrap();
    store.commit(&[], &Registry { leave: vec![group(2)], ..Registry::default() }).unwrap();
    let mut dumped = std::collections::BTreeSet::from(["meta-1".to_owned(), "owner-1".to_owned()]);
    let mut take = |table: &str, _: &[u8], _: &[u8]| {
        dumped.insert(table.to_owned());
        Ok::<(), KvError>(())
    };
    store.view().unwrap().dump(&mut take).unwrap();
    let transaction = store.db.begin_read().unwrap();
    let tables = transaction.list_tables().unwrap().map(|table| redb::TableHandle::name(&table).to_owned());
    assert_eq!(tables.collect::<std::collections::BTreeSet<_>>(), dumped);
}

#[test]
fn a_file_that_was_copied_is_in_doubt_where_others_may_know_more() {
    let folder = tempfile::tempdir().unwrap();
    let [path, copy] = ["lbm.redb", "copy.redb"].map(|name| folder.path().join(name));
    let in_doubt = |path: &Path| {
        let store = Store::open(path, &owner(1)).unwrap();
        let view = store.view().unwrap();
        let of = |id| crate::chain::rows::in_doubt(view.group(&id).unwrap().unwrap().as_ref()).unwrap();
        [of(group(1)), of(group(2))]
    };
    let store = Store::open(&path, &owner(1)).unwrap();
    let nothing = Memory::default();
    let changes = [&[1][..], &[1, 2]].map(|named| {
        let mut overlay = Overlay::new(&nothing);
        let block = crate::chain::BlockId::from_bytes([7; 32]);
        named.iter().for_each(|number| {
            crate::chain::rows::set_named(&mut overlay, &owner(*number), 0, &block).unwrap();
        });
        overlay.into_changes()
    });
    let [alone, shared] = changes;
    store.commit(&[(group(1), alone), (group(2), shared)], &Registry::default()).unwrap();
    drop(store);
    assert_eq!(in_doubt(&path), [false, false], "the same file as before");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(in_doubt(&copy), [false, true]);
    assert_eq!(in_doubt(&copy), [false, true], "and so it stays until a member has answered");
    std::fs::rename(&copy, folder.path().join("moved.redb")).unwrap();
    assert_eq!(in_doubt(&path), [false, false], "the original is none");
}
