use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::datadir::{DataDir, new_secret};
use crate::identity::keystore;
use crate::store::Store;

/// A data folder with a group of one other member, and a backup of it.
struct Made {
    folder: TempDir,
    data: DataDir,
    file: PathBuf,
}

/// Every row: table, key, value.
type AllRows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

fn rows_of(data: &DataDir) -> AllRows {
    let store = Store::open(&data.database_path(), &data.show().unwrap().identity).unwrap();
    let mut rows = BTreeMap::new();
    let mut take = |table: &str, key: &[u8], value: &[u8]| {
        rows.insert((table.to_owned(), key.to_vec()), value.to_vec());
        Ok::<(), BackupError>(())
    };
    store.view().unwrap().dump(&mut take).unwrap();
    rows
}

fn made() -> Made {
    use crate::kv::{Memory, Overlay, Table};
    let folder = tempfile::tempdir().unwrap();
    let data = DataDir::create(&folder.path().join("data")).unwrap();
    let secret = new_secret().unwrap();
    data.init(&"alice".parse().unwrap(), &secret, None).unwrap();
    fs::write(data.config_path(), "sync_interval_s = 7\n").unwrap();
    let store = Store::open(&data.database_path(), &secret.identity()).unwrap();
    let nothing = Memory::default();
    let changes = (0..3_u8).map(|number| {
        let mut overlay = Overlay::new(&nothing);
        for table in Table::ALL {
            for row in 0..20_u8 {
                overlay.put(table, vec![b'x', row], vec![number; 100]);
            }
        }
        (crate::chain::GroupId::from_bytes([number; 32]), overlay.into_changes())
    });
    let registry = crate::store::Registry {
        book: Some(vec![(secret.identity(), b"an entry".to_vec())]),
        leave: vec![crate::chain::GroupId::from_bytes([1; 32])],
        ..Default::default()
    };
    store.commit(&changes.collect::<Vec<_>>(), &crate::store::Registry::default()).unwrap();
    store.commit(&[], &registry).unwrap();
    let file = folder.path().join("backup");
    write(&file, &data, &store);
    Made { folder, data, file }
}

fn write(file: &Path, data: &DataDir, store: &Store) {
    let info = data.show().unwrap();
    let files = Files {
        agents: BTreeMap::new(),
        key: data.key_file().unwrap(),
        name: info.name.as_str().to_owned(),
        config: data.config_file().unwrap(),
    };
    let mut out = Hashing::new(fs::File::create(file).unwrap());
    let head = Head { identity: info.identity, created_ms: 5, version: "0.1.0".to_owned() };
    begin(&mut out, head, &files).unwrap();
    write_rows(&mut out, &store.view().unwrap()).unwrap();
    end(out).unwrap();
}

#[test]
fn what_is_put_back_is_what_was_there_and_in_doubt() {
    let made = made();
    let before = rows_of(&made.data);
    assert_eq!(before.keys().map(|(table, _)| table.as_str()).collect::<std::collections::BTreeSet<_>>().len(), 11);
    let target = made.folder.path().join("target");
    let restored = restore(&made.file, &target, true).unwrap();
    assert_eq!((restored.groups, restored.in_doubt, restored.is_encrypted), (2, 0, false));
    let data = DataDir::open(&target).unwrap();
    assert_eq!(rows_of(&data), before);
    assert_eq!(data.show().unwrap(), made.data.show().unwrap());
    assert_eq!(data.config_file().unwrap(), made.data.config_file().unwrap());
    assert_eq!(*data.key_file().unwrap(), *made.data.key_file().unwrap());
    let left: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("restoring")), "{left:?}");

    let marked = made.folder.path().join("marked");
    assert_eq!(restore(&made.file, &marked, false).unwrap().in_doubt, 2);
    let more = rows_of(&DataDir::open(&marked).unwrap()).len() - before.len();
    assert_eq!(more, 2, "a mark in each group and nothing else");
}

#[test]
fn a_group_that_is_founded_later_gets_a_number_of_its_own() {
    let made = made();
    let target = made.folder.path().join("target");
    restore(&made.file, &target, true).unwrap();
    let data = DataDir::open(&target).unwrap();
    let store = Store::open(&data.database_path(), &data.show().unwrap().identity).unwrap();
    let new = crate::chain::GroupId::from_bytes([9; 32]);
    store.commit(&[], &crate::store::Registry { join: vec![new], ..Default::default() }).unwrap();
    drop(store);
    let numbers: Vec<_> =
        rows_of(&data).into_iter().filter(|((table, _), _)| table == "groups-1").map(|(_, number)| number).collect();
    assert_eq!(numbers.len(), 3);
    assert_eq!(numbers.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{numbers:?}");
}

#[test]
fn no_cut_and_no_changed_byte_goes_unnoticed_and_nothing_is_written() {
    let made = made();
    let good = fs::read(&made.file).unwrap();
    let (bad, target) = (made.folder.path().join("bad"), made.folder.path().join("target"));
    let refused = |bytes: &[u8]| {
        fs::write(&bad, bytes).unwrap();
        let error = restore(&bad, &target, false).unwrap_err();
        assert!(!target.exists(), "{error}");
        error
    };
    let step = (good.len() / 150).max(1);
    for length in (0..good.len()).step_by(step).chain([good.len() - 1]) {
        match refused(&good[..length]) {
            BackupError::CutOff { .. } => assert!(length >= 11),
            BackupError::NotABackup { .. } => assert!(length < 11, "cut at {length}"),
            other => panic!("cut at {length}: {other}"),
        }
    }
    for at in (0..good.len()).step_by(step).chain(good.len() - 32..good.len()) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        refused(&bytes);
    }
    assert!(matches!(refused(&[&good[..], b"x"].concat()), BackupError::Damaged { .. }));
    let newer = [b"LBM backup 2\n", &good[13..]].concat();
    assert!(matches!(refused(&newer), BackupError::Newer { found: 2, known: 1, .. }));
    assert!(matches!(refused(b"PK\x03\x04"), BackupError::NotABackup { .. }));
    let endless = [&b"LBM backup 1\n"[..], &[0xff; 4]].concat();
    assert!(matches!(refused(&endless), BackupError::Damaged { .. }));
}

#[test]
fn a_key_of_another_node_is_refused() {
    let made = made();
    let other = new_secret().unwrap();
    fs::write(made.data.key_path(), &*keystore::plain(&other)).unwrap();
    let files = Files {
        key: made.data.key_file().unwrap(),
        agents: BTreeMap::new(),
        name: "alice".to_owned(),
        config: Some(b"x = 1".to_vec()),
    };
    let mut out = Hashing::new(fs::File::create(&made.file).unwrap());
    let identity = new_secret().unwrap().identity();
    begin(&mut out, Head { identity, created_ms: 5, version: String::new() }, &files).unwrap();
    let store = Store::open(&made.folder.path().join("empty"), &identity).unwrap();
    write_rows(&mut out, &store.view().unwrap()).unwrap();
    end(out).unwrap();
    let refused = restore(&made.file, &made.folder.path().join("target"), false).unwrap_err();
    assert!(refused.to_string().contains("another node's"), "{refused}");
}

#[test]
fn a_restore_that_broke_off_may_be_repeated_and_data_is_never_overwritten() {
    let made = made();
    let before = rows_of(&made.data);
    match restore(&made.file, made.data.path(), false) {
        Err(BackupError::NotEmpty { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(rows_of(&made.data), before);

    // As after a power cut at each moment before the key is there.
    let target = made.folder.path().join("target");
    let data = DataDir::create(&target).unwrap();
    for left in [&["restoring"][..], &["restoring", "lbm.restoring"], &["restoring", "lbm.redb", "config.toml", "name"]]
    {
        left.iter().for_each(|name| fs::write(target.join(name), b"half").unwrap());
        restore(&made.file, &target, true).unwrap();
        assert_eq!(rows_of(&data), before);
        for file in [data.key_path(), data.database_path(), data.name_path(), data.config_path()] {
            fs::remove_file(file).unwrap();
        }
    }
    // Somebody's file that no restore has made.
    fs::write(data.database_path(), b"precious").unwrap();
    assert!(matches!(restore(&made.file, &target, false), Err(BackupError::NotEmpty { .. })));
    assert_eq!(fs::read(data.database_path()).unwrap(), b"precious");
}

#[test]
fn a_backup_of_a_table_that_is_not_known_here_is_refused_and_leaves_nothing() {
    let made = made();
    let store = Store::open(&made.folder.path().join("other"), &made.data.show().unwrap().identity).unwrap();
    let row = (vec![1].into(), vec![2].into());
    let refused = store.load(|put| put("tokens-9", &[row])).unwrap_err();
    assert!(refused.to_string().contains("tokens-9"), "{refused}");
    assert_eq!(store.view().unwrap().groups().unwrap().len(), 0);
}
