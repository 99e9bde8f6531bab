use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;

use tempfile::TempDir;
use zeroize::Zeroizing;

use super::*;
use crate::datadir::NodeName;
use crate::identity::keystore::KeystoreError;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn named(text: &str) -> AgentName {
    text.parse().unwrap()
}

fn password(text: &str) -> Result<Password, DataDirError> {
    Ok(Password::new(Zeroizing::new(text.to_owned())).unwrap())
}

fn never() -> Result<Password, DataDirError> {
    panic!("the password was asked for without need")
}

/// A node with two agents.
fn node() -> (TempDir, DataDir) {
    let outer = TempDir::new().unwrap();
    let data = DataDir::create(&outer.path().join("data")).unwrap();
    data.init(&"alice".parse::<NodeName>().unwrap(), &key(1), None).unwrap();
    for (name, seed) in [("one", 2), ("two", 3)] {
        data.add_agent(&named(name), &key(seed), None).unwrap();
    }
    (outer, data)
}

fn is_all_there(keys: &Keyring) -> bool {
    let agents: Vec<_> = keys.agents.iter().map(|(name, key)| (name.as_str(), key.identity())).collect();
    keys.node.identity() == key(1).identity() && agents == [("one", key(2).identity()), ("two", key(3).identity())]
}

#[test]
fn agents_come_go_and_are_never_overwritten() {
    let (_outer, data) = node();
    assert!(is_all_there(&data.load_keys(never).unwrap()));
    let again = data.add_agent(&named("one"), &key(9), None).unwrap_err();
    assert!(matches!(&again, DataDirError::AgentExists { identity, .. } if *identity == key(2).identity()), "{again}");
    let file = data.agents_path().join("one.key");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(data.agents_path()).unwrap().mode() & 0o7777, 0o700);
    data.remove_agent(&named("one")).unwrap();
    assert!(matches!(data.remove_agent(&named("one")), Err(DataDirError::NoAgent { .. })));
    assert!(!file.exists());
    assert_eq!(data.load_keys(never).unwrap().agents.len(), 1);
    // What a crash left of a key that was being written is passed over, and anything else is named.
    fs::write(data.agents_path().join("three.key.new"), b"half a k").unwrap();
    data.add_agent(&named("three"), &key(4), None).unwrap();
    fs::write(data.agents_path().join(".DS_Store"), b"of a file manager").unwrap();
    assert_eq!(data.load_keys(never).unwrap().agents.len(), 2);
    // Two names for one key are refused, whether it is an agent's or the node's.
    fs::copy(data.agents_path().join("three.key"), data.agents_path().join("twin.key")).unwrap();
    let refused = data.load_keys(never).unwrap_err();
    assert!(matches!(&refused, DataDirError::SameKey { same, .. } if same == "three"), "{refused}");
    fs::remove_file(data.agents_path().join("twin.key")).unwrap();
    fs::write(data.agents_path().join("notes.txt"), b"mine").unwrap();
    assert!(matches!(data.load_keys(never), Err(DataDirError::NotAnAgent { .. })));
}

#[test]
fn all_keys_change_their_form_together_and_one_derivation_opens_them() {
    let (_outer, data) = node();
    data.encrypt(|| password("first password")).unwrap();
    let keys = data.load_keys(|| password("first password")).unwrap();
    assert!(is_all_there(&keys));
    let wrong = data.load_keys(|| password("another one")).unwrap_err();
    assert!(matches!(wrong, DataDirError::Key { reason: KeystoreError::WrongPassword, .. }), "{wrong}");
    let read = |name: &str| fs::read(data.agents_path().join(format!("{name}.key"))).unwrap();
    let salt = |file: &[u8]| file[51..67].to_vec();
    assert_eq!(
        (salt(&read("one")), salt(&read("two"))),
        (salt(&fs::read(data.key_path()).unwrap()), salt(&read("one")))
    );
    assert_ne!(read("one")[67..79], read("two")[67..79], "each has a nonce of its own");
    // A daemon that read its keys before writes in no other form than they have now.
    let old = data.add_agent(&named("three"), &key(4), None).unwrap_err();
    assert!(matches!(old, DataDirError::FormChanged { .. }), "{old}");
    data.add_agent(&named("three"), &key(4), keys.form.as_ref()).unwrap();
    data.change_password(|| password("first password"), || password("second password")).unwrap();
    let stale = data.add_agent(&named("four"), &key(5), keys.form.as_ref()).unwrap_err();
    assert!(matches!(stale, DataDirError::FormChanged { .. }), "{stale}");
    assert_eq!(data.load_keys(|| password("second password")).unwrap().agents.len(), 3);
    data.decrypt(|| password("second password")).unwrap();
    assert_eq!(data.load_keys(never).unwrap().agents.len(), 3);
    assert!(!data.path().join(WRITTEN).exists() && !data.path().join(WRITING).exists());
}

#[test]
fn wherever_a_change_of_form_is_cut_off_all_keys_have_one_form_afterwards() {
    let copy = |from: &Path, to: &Path| {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    };
    // Before the rename that decides: whatever was written aside is dropped, and the old form counts.
    let (_outer, data) = node();
    let writing = data.path().join(WRITING);
    files::create_folder(&writing).unwrap();
    fs::write(writing.join("node.key"), b"half a k").unwrap();
    assert!(is_all_there(&data.load_keys(never).unwrap()));
    assert!(!writing.exists());
    // After it: with none, some or all of the files in place.
    let (outer, done) = node();
    let before = outer.path().join("before");
    copy(&done.agents_path(), &before);
    let plain = fs::read(done.key_path()).unwrap();
    done.encrypt(|| password("a password")).unwrap();
    let encrypted: Vec<(&str, Vec<u8>)> = ["node.key", "agent-one.key", "agent-two.key"]
        .into_iter()
        .map(|name| {
            let place = match name.strip_prefix("agent-") {
                Some(file) => done.agents_path().join(file),
                None => done.key_path(),
            };
            (name, fs::read(place).unwrap())
        })
        .collect();
    for in_place in 0..=3 {
        fs::remove_file(done.key_path()).unwrap();
        files::write_new(&done.key_path(), &plain).unwrap();
        for name in ["one.key", "two.key"] {
            fs::copy(before.join(name), done.agents_path().join(name)).unwrap();
        }
        let written = done.path().join(WRITTEN);
        files::create_folder(&written).unwrap();
        for (at, (name, bytes)) in encrypted.iter().enumerate() {
            let place = match name.strip_prefix("agent-") {
                _ if at >= in_place => written.join(name),
                Some(file) => done.agents_path().join(file),
                None => done.key_path(),
            };
            let _gone = fs::remove_file(&place);
            files::write_new(&place, bytes).unwrap();
        }
        assert!(is_all_there(&done.load_keys(|| password("a password")).unwrap()), "{in_place} in place");
        assert!(!written.exists());
        assert!(matches!(done.encrypt(never), Err(DataDirError::AlreadyEncrypted { .. })));
    }
}

#[test]
fn a_password_is_asked_for_once_however_many_keys_there_are() {
    let (_outer, data) = node();
    data.encrypt(|| password("a password")).unwrap();
    let asked = RefCell::new(0);
    let keys = data.load_keys(|| {
        *asked.borrow_mut() += 1;
        password("a password")
    });
    assert!(is_all_there(&keys.unwrap()));
    assert_eq!(asked.into_inner(), 1);
}
