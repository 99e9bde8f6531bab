use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, process, thread};

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::identity::keystore::{KeystoreError, StoredKey};
use crate::identity::{Password, SecretKey};

/// A folder that does not exist yet, in one that goes away.
fn place() -> (TempDir, PathBuf) {
    let outer = TempDir::new().unwrap();
    let path = outer.path().join("data");
    (outer, path)
}

fn fresh() -> (TempDir, DataDir) {
    let (outer, path) = place();
    let data = DataDir::create(&path).unwrap();
    (outer, data)
}

fn plain_node() -> (TempDir, DataDir) {
    let (outer, data) = fresh();
    data.init(&name("alice"), &secret(), None).unwrap();
    (outer, data)
}

fn secret() -> SecretKey {
    SecretKey::from_seed(&[7; 32])
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn password(text: &str) -> Result<Password, DataDirError> {
    Ok(Password::new(Zeroizing::new(text.to_owned())).unwrap())
}

fn never() -> Result<Password, DataDirError> {
    panic!("the password was asked for without need")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_folder_and_its_new_parents_are_closed_to_others() {
    let outer = TempDir::new().unwrap();
    let path = outer.path().join("share/lbm");
    let data = DataDir::create(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&outer.path().join("share")), 0o700);
    assert_eq!(DataDir::create(&path).unwrap(), data, "creating it again only opens it");
    assert_eq!(data.key_path(), path.join("node.key"));
    assert_eq!(data.name_path(), path.join("name"));
    assert_eq!(data.database_path(), path.join("lbm.redb"));
}

#[test]
fn a_folder_that_is_open_to_others_is_refused_with_the_remedy() {
    let (_outer, data) = fresh();
    for open in [0o701, 0o710, 0o720, 0o740, 0o755, 0o777] {
        set_mode(data.path(), open);
        let error = DataDir::open(data.path()).unwrap_err();
        assert!(matches!(error, DataDirError::TooOpen { mode, .. } if mode == open), "{error}");
        assert!(error.to_string().contains(&format!("`chmod 700 '{}'`", data.path().display())), "{error}");
        assert!(DataDir::create(data.path()).is_err());
    }
    for closed in [0o700, 0o500] {
        set_mode(data.path(), closed);
        DataDir::open(data.path()).unwrap();
    }
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let (_outer, data) = fresh();
    // Root gives a folder away; everybody else finds one that is root's.
    let user = fs::metadata(data.path()).unwrap().uid();
    let foreign = if chown(data.path(), Some(12_345), None).is_ok() { data.path() } else { Path::new("/") };
    assert_ne!(fs::metadata(foreign).unwrap().uid(), user, "this user may not give folders away, yet owns the root");
    let error = DataDir::open(foreign).unwrap_err();
    assert!(matches!(error, DataDirError::ForeignOwner { owner, user, .. } if owner != user), "{error}");
}

#[test]
fn only_the_owner_may_use_a_folder() {
    let (_outer, data) = fresh();
    let owner = fs::metadata(data.path()).unwrap().uid();
    files::check_owner(data.path(), owner, owner).unwrap();
    assert!(files::check_owner(data.path(), owner, owner + 1).is_err());
}

#[test]
fn no_folder_and_no_folder_at_all() {
    let (_outer, path) = place();
    let error = DataDir::open(&path).unwrap_err();
    assert!(matches!(error, DataDirError::Missing { .. }));
    assert!(error.to_string().ends_with(&format!("`lbm init --data '{}'`", path.display())), "{error}");
    File::create(&path).unwrap();
    assert!(matches!(DataDir::open(&path), Err(DataDirError::NotAFolder { .. })));
    assert!(DataDir::create(&path).is_err());
}

#[test]
fn a_second_owner_is_kept_off_and_told_the_pid() {
    let (_outer, data) = fresh();
    let lock = data.lock().unwrap();
    let error = data.lock().unwrap_err();
    assert!(matches!(error, DataDirError::InUse { holder: Holder(Some(pid)), .. } if pid == process::id()));
    assert!(error.to_string().contains(&format!("in use by process {}", process::id())), "{error}");
    drop(lock);
    assert_eq!(fs::read(data.path().join("lock")).unwrap(), b"", "a pid stands there only while it is true");
    drop(data.lock().unwrap());
}

#[test]
fn a_holder_that_has_not_yet_written_its_pid_is_a_holder_all_the_same() {
    let (_outer, data) = fresh();
    let file = File::create(data.path().join("lock")).unwrap();
    file.lock().unwrap();
    let error = data.lock().unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
}

const LOCKED: &str = "LBM_TEST_LOCKED_FOLDER";

/// The other process of the test below: holds the lock until it is killed. Does nothing when it is run by itself.
#[test]
fn hold_the_lock_as_a_process_of_its_own() {
    let Some(path) = env::var_os(LOCKED) else { return };
    let _lock = DataDir::open(Path::new(&path)).unwrap().lock().unwrap();
    writeln!(io::stdout(), "\nlocked").unwrap();
    let mut nothing = String::new();
    io::stdin().read_line(&mut nothing).unwrap();
}

#[test]
fn a_second_process_is_named_and_its_lock_ends_when_it_is_killed() {
    let (_outer, data) = fresh();
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "datadir::tests::hold_the_lock_as_a_process_of_its_own"])
        .env(LOCKED, data.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(holder.stdout.take().unwrap()).lines().find(|line| line.as_ref().unwrap() == "locked");
    assert!(said.is_some());
    let error = data.lock().unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", holder.id())), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    data.lock().unwrap();
}

#[test]
fn init_makes_a_node_that_comes_back() {
    let (_outer, data) = fresh();
    let info = data.init(&name("alice"), &secret(), None).unwrap();
    assert_eq!(info, KeyInfo { identity: secret().identity(), name: name("alice"), is_encrypted: false });
    assert_eq!(data.show().unwrap(), info);
    assert_eq!(data.load_key(never).unwrap().seed(), secret().seed());
    assert_eq!(mode(&data.key_path()), 0o600);
    assert_eq!(names(data.path()), ["keys.lock", "name", "node.key"], "nothing is left beside them");
}

#[test]
fn init_twice_changes_nothing_and_says_what_stands_there() {
    let (_outer, data) = plain_node();
    let before = fs::read(data.key_path()).unwrap();
    let error = data.init(&name("bob"), &SecretKey::from_seed(&[8; 32]), None).unwrap_err().to_string();
    for part in ["already holds the key of alice", &secret().identity().to_string(), "(not encrypted)"] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(fs::read(data.key_path()).unwrap(), before);
    assert_eq!(data.show().unwrap().name, name("alice"));
}

#[test]
fn a_damaged_key_is_not_overwritten_either() {
    let (_outer, data) = plain_node();
    let bytes = fs::read(data.key_path()).unwrap();
    for damaged in [&bytes[..50], b""] {
        fs::write(data.key_path(), damaged).unwrap();
        let error = data.init(&name("bob"), &SecretKey::from_seed(&[8; 32]), None).unwrap_err();
        assert!(matches!(error, DataDirError::Occupied { .. }), "{error}");
        assert!(matches!(data.import(&bytes, Path::new("x"), None), Err(DataDirError::Occupied { .. })));
        assert_eq!(fs::read(data.key_path()).unwrap(), damaged);
    }
}

#[test]
fn a_database_without_its_key_takes_that_key_back_and_no_new_one() {
    let (_outer, data) = plain_node();
    let key = fs::read(data.key_path()).unwrap();
    File::create(data.database_path()).unwrap();
    fs::remove_file(data.key_path()).unwrap();
    assert!(matches!(data.init(&name("alice"), &secret(), None), Err(DataDirError::KeyLost { .. })));
    data.import(&key, Path::new("backup.key"), Some(&name("alice"))).unwrap();
    assert_eq!(data.load_key(never).unwrap().seed(), secret().seed());
}

#[test]
fn an_encrypted_node_opens_with_its_password_only() {
    let (_outer, data) = fresh();
    let info = data.init(&name("alice"), &secret(), Some(&password("correct horse").unwrap())).unwrap();
    assert!(info.is_encrypted && data.show().unwrap().is_encrypted);
    assert_eq!(data.load_key(|| password("correct horse")).unwrap().seed(), secret().seed());
    let error = data.load_key(|| password("wrong horse")).unwrap_err();
    assert!(matches!(error, DataDirError::Key { reason: KeystoreError::WrongPassword, .. }), "{error}");
    assert!(error.to_string().contains("node.key"), "{error}");
    assert!(matches!(data.encrypt(never), Err(DataDirError::AlreadyEncrypted { .. })));
}

#[test]
fn a_key_goes_through_all_its_forms() {
    let (_outer, data) = plain_node();
    // A daemon may run meanwhile.
    let _lock = data.lock().unwrap();
    assert!(matches!(data.decrypt(never), Err(DataDirError::NotEncrypted { .. })));
    assert!(matches!(data.change_password(never, never), Err(DataDirError::NotEncrypted { .. })));
    assert!(data.encrypt(|| password("first password")).unwrap().is_encrypted);
    let first = fs::read(data.key_path()).unwrap();
    assert!(data.change_password(|| password("not this one"), never).is_err());
    assert_eq!(fs::read(data.key_path()).unwrap(), first);
    data.change_password(|| password("first password"), || password("second password")).unwrap();
    let second = fs::read(data.key_path()).unwrap();
    assert!(first[51..79] != second[51..79], "salt and nonce are fresh");
    assert!(data.decrypt(|| password("first password")).is_err());
    assert!(!data.decrypt(|| password("second password")).unwrap().is_encrypted);
    assert_eq!(data.load_key(never).unwrap().seed(), secret().seed());
    assert_eq!(mode(&data.key_path()), 0o600);
    assert_eq!(data.show().unwrap().name, name("alice"));
}

#[test]
fn a_change_that_is_given_up_leaves_the_key_as_it_was() {
    let (_outer, data) = plain_node();
    let before = fs::read(data.key_path()).unwrap();
    let given_up = || Err(DataDirError::Missing { path: "given up".into() });
    assert!(data.encrypt(given_up).is_err());
    assert_eq!(fs::read(data.key_path()).unwrap(), before);
    assert_eq!(names(data.path()), ["keys.lock", "name", "node.key"]);
}

#[test]
fn two_changes_at_once_are_kept_apart() {
    let (_outer, data) = plain_node();
    let inner = data.clone();
    let _: Result<KeyInfo, DataDirError> = data.encrypt(|| {
        let error = inner.encrypt(never).unwrap_err();
        assert!(matches!(error, DataDirError::KeysBusy { holder: Holder(Some(pid)), .. } if pid == process::id()));
        assert!(matches!(inner.init(&name("bob"), &secret(), None), Err(DataDirError::KeysBusy { .. })));
        Err(error)
    });
    assert!(!data.show().unwrap().is_encrypted);
}

#[test]
fn of_many_who_initialise_at_once_one_wins() {
    let (_outer, data) = fresh();
    let won: Vec<_> = thread::scope(|scope| {
        let inits: Vec<_> = (1..=8)
            .map(|seed| {
                let data = &data;
                scope.spawn(move || data.init(&name("alice"), &SecretKey::from_seed(&[seed; 32]), None))
            })
            .collect();
        inits.into_iter().filter_map(|init| init.join().unwrap().ok()).collect()
    });
    assert_eq!(won.len(), 1);
    assert_eq!(data.show().unwrap(), won[0]);
}

#[test]
fn readers_always_find_a_whole_key_while_it_is_rewritten() {
    let (_outer, data) = plain_node();
    let until = Instant::now() + Duration::from_millis(200);
    thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < until {
                replace(&data.key_path(), &crate::identity::keystore::plain(&secret())).unwrap();
            }
        });
        while Instant::now() < until {
            assert_eq!(data.show().unwrap().identity, secret().identity());
        }
    });
}

#[test]
fn what_a_crash_left_aside_is_removed() {
    let (_outer, data) = fresh();
    fs::write(data.path().join("node.key.new"), "half a key").unwrap();
    data.init(&name("alice"), &secret(), None).unwrap();
    assert_eq!(names(data.path()), ["keys.lock", "name", "node.key"]);
    assert_eq!(mode(&data.key_path()), 0o600);
}

#[test]
fn a_key_that_others_may_read_is_refused_with_the_remedy() {
    let (_outer, data) = plain_node();
    set_mode(&data.key_path(), 0o640);
    let error = data.load_key(never).unwrap_err();
    assert!(matches!(error, DataDirError::TooOpen { mode: 0o640, .. }));
    assert!(error.to_string().contains(&format!("`chmod 600 '{}'`", data.key_path().display())), "{error}");
}

#[test]
fn a_folder_without_a_key_says_how_to_make_one() {
    let (_outer, data) = fresh();
    let errors = [
        data.show().unwrap_err(),
        data.load_key(never).unwrap_err(),
        data.encrypt(never).unwrap_err(),
        data.decrypt(never).unwrap_err(),
        data.change_password(never, never).unwrap_err(),
        data.export(ExportForm::Plain, never, never).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, DataDirError::NotInitialised { .. }), "{error}");
        assert!(error.to_string().contains("lbm init"), "{error}");
    }
}

#[test]
fn a_key_travels_in_either_form() {
    let (_outer, data) = plain_node();
    let plain = data.export(ExportForm::AsStored, never, never).unwrap();
    assert_eq!(*plain, *data.export(ExportForm::Plain, never, never).unwrap());
    let sealed = data.export(ExportForm::Encrypted, never, || password("travel password")).unwrap();
    assert!(StoredKey::parse(&sealed).unwrap().is_encrypted());

    let (_outer, other) = fresh();
    let info = other.import(&sealed, Path::new("travel.key"), None).unwrap();
    assert_eq!(info.name, NodeName::of(secret().identity()));
    assert!(info.is_encrypted);
    assert_eq!(other.show().unwrap(), info);
    assert_eq!(other.load_key(|| password("travel password")).unwrap().seed(), secret().seed());
    assert_eq!(*other.export(ExportForm::Encrypted, never, never).unwrap(), *sealed);
    assert_eq!(*other.export(ExportForm::Plain, || password("travel password"), never).unwrap(), *plain);
}

#[test]
fn an_import_overwrites_nothing_and_takes_nothing_bad() {
    let (_outer, data) = plain_node();
    let key = fs::read(data.key_path()).unwrap();
    let error = data.import(&key, Path::new("mine.key"), None).unwrap_err();
    assert!(matches!(error, DataDirError::AlreadyInitialised { .. }), "not even itself: {error}");

    let (_outer, other) = fresh();
    for bad in [&b"not a key"[..], &key[..60], b""] {
        let error = other.import(bad, Path::new("mine.key"), None).unwrap_err();
        assert!(matches!(error, DataDirError::Key { .. }) && error.to_string().contains("'mine.key'"), "{error}");
    }
    assert!(names(other.path()).is_empty());
}

#[test]
fn an_exported_file_is_closed_to_others_and_overwrites_nothing() {
    let (outer, _data) = fresh();
    let path = outer.path().join("backup.key");
    write_new(&path, b"bytes").unwrap();
    assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o600, b"bytes".to_vec()));
    assert!(matches!(write_new(&path, b"other"), Err(DataDirError::FileExists { .. })));
    let dangling = outer.path().join("dangling.key");
    symlink(outer.path().join("elsewhere"), &dangling).unwrap();
    assert!(matches!(write_new(&dangling, b"other"), Err(DataDirError::FileExists { .. })), "no link is followed");
    let error = write_new(&outer.path().join("no/such/folder"), b"bytes").unwrap_err().to_string();
    assert!(error.starts_with("cannot create '") && error.ends_with("check the path"), "{error}");
}

#[test]
fn a_write_that_fails_leaves_nothing_aside() {
    let (_outer, data) = fresh();
    fs::create_dir(data.key_path()).unwrap();
    let error = replace(&data.key_path(), b"bytes").unwrap_err().to_string();
    assert!(error.starts_with("cannot put in place '"), "{error}");
    assert_eq!(names(data.path()), ["node.key"]);
}

#[test]
fn a_full_disk_is_told_with_the_remedy() {
    let error = files::io_error("write", Path::new("a.key"))(io::ErrorKind::StorageFull.into()).to_string();
    assert!(error.starts_with("cannot write 'a.key': "), "{error}");
    assert!(error.ends_with("; free some space and try again"), "{error}");
}

#[test]
fn reading_is_bounded() {
    let bytes = read_secret(&mut io::repeat(1), 100).unwrap();
    assert_eq!(bytes.len(), 101, "one more than allowed, so that the reader sees it");
    assert_eq!(*read_secret(&mut &b"short"[..], 100).unwrap(), b"short");
    let (_outer, data) = plain_node();
    fs::write(data.key_path(), vec![b'x'; 1_000_000]).unwrap();
    assert!(matches!(data.show(), Err(DataDirError::Key { reason: KeystoreError::NotAKeyFile, .. })));
    assert!(read_key_file(&data.key_path()).unwrap().len() <= crate::limits::KEY_FILE_BYTES + 1);
}

#[test]
fn names_are_plain_and_bounded() {
    for good in ["a", "alice", "Node-1.home_lan", &"x".repeat(64)] {
        assert_eq!(name(good).as_str(), good);
    }
    for bad in ["", "-a", ".a", "_a", "a b", "a/b", "é", "a\n", "a\0", &"x".repeat(65)] {
        assert_eq!(bad.parse::<NodeName>(), Err(NameError), "{bad:?}");
    }
    assert!(NodeName::of(secret().identity()).as_str().parse::<NodeName>().is_ok());
}

#[test]
fn a_name_that_was_edited_badly_is_named_as_the_culprit() {
    let (_outer, data) = plain_node();
    fs::write(data.name_path(), "no good name\n").unwrap();
    let error = data.show().unwrap_err();
    assert!(matches!(error, DataDirError::Name { .. }), "{error}");
    fs::remove_file(data.name_path()).unwrap();
    assert_eq!(data.show().unwrap().name, NodeName::of(secret().identity()));
}

#[test]
fn no_secret_is_in_an_error_or_in_debug() {
    let (_outer, data) = fresh();
    data.init(&name("alice"), &secret(), Some(&password("correct horse").unwrap())).unwrap();
    let error = data.load_key(|| password("wrong horse")).unwrap_err();
    let shown = format!("{error} {error:?} {data:?} {:?} {:?}", data.show().unwrap(), secret());
    for secret in ["horse", "7, 7, 7", "0707", "\\u{7}"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn a_caller_may_bring_its_own_error() {
    #[derive(Debug)]
    enum Mine {
        Data,
        Password,
    }
    impl From<DataDirError> for Mine {
        fn from(_: DataDirError) -> Self {
            Self::Data
        }
    }
    let (_outer, data) = fresh();
    assert!(matches!(data.load_key(|| Err(Mine::Password)), Err(Mine::Data)));
}
