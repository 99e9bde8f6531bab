use std::fs;
use std::os::unix::fs::PermissionsExt;

use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::cli::init::{self, InitArgs};
use crate::cli::password::tests::typing;
use crate::identity::keystore::{KeystoreError, StoredKey};

#[derive(Debug, Parser)]
enum Line {
    Init(InitArgs),
    #[command(subcommand)]
    Keys(KeysCommand),
}

/// One person's machine: a data folder, and files beside it.
struct Machine {
    outer: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { outer: TempDir::new().unwrap() }
    }

    /// With a node in it whose key is not encrypted.
    fn with_node() -> Self {
        let machine = Self::new();
        machine.run("init --name alice", &[]).unwrap();
        machine
    }

    fn data(&self) -> PathBuf {
        self.outer.path().join("data")
    }

    /// The bytes of its key file.
    fn key(&self) -> Vec<u8> {
        fs::read(self.data().join("node.key")).unwrap()
    }

    /// Runs a line, in which `@name` is a file beside the folder, while a person types; returns JSON and text.
    fn run(&self, line: &str, typed: &[&str]) -> Result<(Value, String), KeysError> {
        let beside = format!("{}/", self.outer.path().display());
        let line = Line::parse_from(["lbm"].into_iter().chain(line.replace('@', &beside).split(' ')));
        let mut person = typing(typed);
        let mut text = Vec::new();
        let json = match line {
            Line::Init(args) => {
                let output = init::run(&args, &self.data(), &mut person)?;
                output.render(&mut text).unwrap();
                serde_json::to_value(output).unwrap()
            }
            Line::Keys(command) => {
                let output = run(&command, &self.data(), &mut person)?;
                output.render(&mut text).unwrap();
                serde_json::to_value(output).unwrap()
            }
        };
        assert!(person.asked.len() >= typed.len(), "not all that was typed was asked for");
        Ok((json, String::from_utf8(text).unwrap()))
    }

    fn password_file(&self, name: &str, password: &str) {
        let path = self.outer.path().join(name);
        fs::write(&path, password).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn is_wrong_password(error: &KeysError) -> bool {
    matches!(error, KeysError::Data(DataDirError::Key { reason: KeystoreError::WrongPassword, .. }))
}

#[test]
fn init_answers_with_the_new_node() {
    let machine = Machine::new();
    let (output, text) = machine.run("init --name alice", &[]).unwrap();
    let id = StoredKey::parse(&machine.key()).unwrap().identity().to_string();
    let data = machine.data().display().to_string();
    assert_eq!(output, json!({"node_id": id, "name": "alice", "data": data, "encrypted": false}));
    assert!(text.contains("Made the node alice.") && text.contains(&id) && text.contains("lbm keys encrypt"), "{text}");
    let (shown, text) = machine.run("keys show", &[]).unwrap();
    assert_eq!(shown, output);
    assert_eq!(text, format!("id    {id}\nname  alice\ndata  {data}\nkey   not encrypted\n"));
}

#[test]
fn every_init_makes_another_key() {
    let (first, second) = (Machine::with_node(), Machine::with_node());
    assert_ne!(first.key(), second.key());
    let (output, _) = Machine::new().run("init", &[]).unwrap();
    let id = output["node_id"].as_str().unwrap();
    assert_eq!(output["name"], format!("node-{}", &id[id.len() - 8..]));
}

#[test]
fn init_again_asks_nothing_and_says_what_stands_there() {
    let machine = Machine::with_node();
    let before = machine.key();
    // Nobody types: a question would be an error of its own.
    let error = machine.run("init --name bob --encrypt-keys", &[]).unwrap_err();
    assert!(matches!(error, KeysError::Data(DataDirError::AlreadyInitialised { .. })), "{error}");
    assert!(error.to_string().contains("already holds the key of alice"), "{error}");
    assert_eq!(machine.key(), before);
}

#[test]
fn an_init_without_its_password_leaves_no_folder() {
    let machine = Machine::new();
    assert!(machine.run("init --encrypt-keys", &[]).is_err());
    assert!(machine.run("init --encrypt-keys", &["correct horse", "correct house"]).is_err());
    assert!(machine.run("init --password-file @none", &[]).is_err());
    assert!(!machine.data().exists());
}

#[test]
fn init_encrypts_with_what_was_typed_twice_or_stands_in_a_file() {
    let typed = Machine::new();
    let (output, text) = typed.run("init --encrypt-keys", &["correct horse", "correct horse"]).unwrap();
    assert_eq!(output["encrypted"], true);
    assert!(text.contains("no way back"), "{text}");
    let error = typed.run("keys decrypt", &["wrong horse"]).unwrap_err();
    assert!(is_wrong_password(&error), "{error}");
    typed.run("keys decrypt", &["correct horse"]).unwrap();

    let filed = Machine::new();
    filed.password_file("password", "correct horse\n");
    let (output, _) = filed.run("init --password-file @password", &[]).unwrap();
    assert_eq!(output["encrypted"], true, "a password is given, so it is used");
    filed.run("keys decrypt", &["correct horse"]).unwrap();
}

#[test]
fn a_key_is_encrypted_changed_and_decrypted() {
    let machine = Machine::with_node();
    machine.password_file("first", "first password\n");
    machine.password_file("second", "second password\n");
    let plain = machine.key();
    let (output, text) = machine.run("keys encrypt --password-file @first", &[]).unwrap();
    assert_eq!((&output["encrypted"], &output["name"]), (&json!(true), &json!("alice")));
    assert!(text.starts_with("The key is encrypted;"), "{text}");
    assert_eq!(machine.run("keys show", &[]).unwrap().0["encrypted"], true);

    machine
        .run("keys change-password --password-file @first --new-password-file @second", &[])
        .map(|(output, _)| assert_eq!(output["encrypted"], true))
        .unwrap();
    assert!(is_wrong_password(&machine.run("keys decrypt --password-file @first", &[]).unwrap_err()));
    machine.run("keys decrypt --password-file @second", &[]).unwrap();
    assert_eq!(machine.key(), plain);
}

#[test]
fn a_wrong_present_password_is_told_before_the_new_one_is_asked_for() {
    let machine = Machine::new();
    machine.run("init --encrypt-keys", &["correct horse", "correct horse"]).unwrap();
    assert!(is_wrong_password(&machine.run("keys change-password", &["wrong horse"]).unwrap_err()));
    machine.run("keys change-password", &["correct horse", "better horse", "better horse"]).unwrap();
}

#[test]
fn what_cannot_be_done_is_refused_without_a_question() {
    let machine = Machine::with_node();
    let refused = |line: &str| machine.run(line, &[]).unwrap_err();
    assert!(matches!(refused("keys decrypt"), KeysError::Data(DataDirError::NotEncrypted { .. })));
    assert!(matches!(refused("keys change-password"), KeysError::Data(DataDirError::NotEncrypted { .. })));
    let error = refused("keys change-password --password-fd 3 --new-password-fd 3");
    assert!(matches!(error, KeysError::Password(PasswordSourceError::SameDescriptor { .. })), "{error}");
    let nowhere = Machine::new();
    for line in ["show", "encrypt", "decrypt", "change-password", "export @copy"] {
        let error = nowhere.run(&format!("keys {line}"), &[]).unwrap_err();
        assert!(matches!(error, KeysError::Data(DataDirError::Missing { .. })), "{line}: {error}");
    }
    assert!(!nowhere.data().exists());
}

#[test]
fn a_key_moves_to_another_machine() {
    let machine = Machine::with_node();
    let (output, text) = machine.run("keys export @copy --form encrypted", &["travel well", "travel well"]).unwrap();
    let copy = machine.outer.path().join("copy");
    let id = machine.run("keys show", &[]).unwrap().0["node_id"].clone();
    assert_eq!(output, json!({"node_id": id, "encrypted": true, "file": copy.display().to_string()}));
    assert!(text.ends_with("(encrypted).\n"), "{text}");
    assert_eq!(fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(machine.run("keys export @copy", &[]), Err(KeysError::Data(DataDirError::FileExists { .. }))));

    let other = Machine::new();
    fs::copy(&copy, other.outer.path().join("copy")).unwrap();
    let (output, _) = other.run("keys import @copy --name bob", &[]).unwrap();
    assert_eq!((&output["node_id"], &output["name"], &output["encrypted"]), (&id, &json!("bob"), &json!(true)));
    other.run("keys export @plain --form plain", &["travel well"]).unwrap();
    assert_eq!(fs::read(other.outer.path().join("plain")).unwrap(), machine.key());
    let again = other.run("keys import @copy", &[]).unwrap_err();
    assert!(matches!(again, KeysError::Data(DataDirError::AlreadyInitialised { .. })), "{again}");
}

#[test]
fn a_bad_import_leaves_no_folder() {
    let machine = Machine::with_node();
    let other = Machine::new();
    let copy = other.outer.path().join("copy");
    assert!(other.run("keys import @copy", &[]).is_err());
    for bad in [&machine.key()[..50], b"", b"no key at all"] {
        fs::write(&copy, bad).unwrap();
        let error = other.run("keys import @copy", &[]).unwrap_err();
        assert!(matches!(error, KeysError::Data(DataDirError::Key { .. })), "{error}");
    }
    assert!(!other.data().exists());
}

#[test]
fn standard_output_gets_the_bytes_and_json_gets_them_in_hex() {
    let machine = Machine::with_node();
    let args = ExportArgs { file: "-".into(), ..ExportArgs::default() };
    let refused = export(&args, &machine.data(), &mut typing(&[]), true).unwrap_err();
    assert!(matches!(refused, KeysError::StandardOutputIsTerminal));
    let output = export(&args, &machine.data(), &mut typing(&[]), false).unwrap();
    let mut written = Vec::new();
    output.render(&mut written).unwrap();
    assert_eq!(written, machine.key());
    let document = serde_json::to_value(&output).unwrap();
    assert_eq!(document["key_hex"], hex::encode(machine.key()));
    assert_eq!(document["file"], Value::Null);
}

#[test]
fn debug_of_an_exported_key_shows_no_key() {
    let machine = Machine::with_node();
    let args = ExportArgs { file: "-".into(), ..ExportArgs::default() };
    let output = export(&args, &machine.data(), &mut typing(&[]), false).unwrap();
    let (debug, key) = (format!("{output:?}"), machine.key());
    assert!(debug.contains("ExportOutput"), "{debug}");
    assert!(!debug.contains("bytes") && !debug.contains("key_hex"), "{debug}");
    assert!(!debug.contains(&hex::encode(&key[42..46])) && !debug.contains(&format!("{}, {}", key[42], key[43])));
}

#[test]
fn a_name_is_checked_on_the_line() {
    for wrong in [&["lbm", "init", "--name", "a b"][..], &["lbm", "init", "--name", ""], &["lbm", "keys", "export"]] {
        assert!(Line::try_parse_from(wrong).is_err(), "{wrong:?}");
    }
}
