//! Whatever is wrong with what a person, a file or a disk gives: one sentence that says what to do, the right exit code, and
//! nothing half done.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::{
    Answer, Daemon, LBM, PATIENCE, agree, free_port, is_there, lbm, private_folder, run, skipped, wait_until,
};
use serde_json::{Value, json};

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// A refusal: its exit code, its word for scripts, and parts of its sentence.
#[track_caller]
fn assert_refused(answer: &Answer, exit: i32, code: &str, words: &[&str]) {
    let sentence = answer.refused(exit, words);
    let document = answer.json();
    assert_eq!(document["code"], code, "{answer:#?}");
    assert_eq!(document["type"], format!("urn:lbm:problem:{code}"), "{answer:#?}");
    // What happened, and behind a colon what to do.
    assert!(sentence["error: ".len()..].contains(": "), "says nothing to do: {sentence}");
    assert!(sentence.len() < 1_000, "{sentence}");
}

// ---- what the daemon refuses -----------------------------------------------------------------------------------

/// A group with an admin, a member, a viewer, and who has left it.
struct Scene {
    alice: Daemon,
    bob: Daemon,
    viewer: Daemon,
    gone: Daemon,
    group: String,
    /// Of the admin.
    claim: String,
}

impl Scene {
    fn set() -> Self {
        let [alice, bob, viewer, gone] = ["alice", "bob", "viewer", "gone"].map(Daemon::start);
        let group = alice.found("domain:research");
        for (who, role) in [(&bob, "member"), (&viewer, "viewer"), (&gone, "member")] {
            alice.add(&group, &who.id, role);
            who.meet(&alice);
            who.ctl(&["group", "join", &group]).ok();
        }
        gone.ctl(&["group", "remove-member", "--group", &group, "--member", &gone.id]).ok();
        let claim = alice.publish(&group, "Alice's claim");
        let members = || alice.ctl(&["group", "members", &group]).done()["members"].as_array().unwrap().len();
        wait_until(PATIENCE, "everybody knows who has left", || members() == 3);
        for who in [&bob, &viewer] {
            who.wait_for_claims(&group, &[&claim]);
        }
        // Nothing is left to be sealed.
        let settled = alice.settled(&group);
        for who in [&bob, &viewer] {
            wait_until(PATIENCE, "all have the seal", || who.settled(&group) == settled);
        }
        Self { alice, bob, viewer, gone, group, claim }
    }

    /// What must stay as it is: the groups, and whom somebody here has added. Whom peers told of comes when it comes.
    fn state(&self) -> Vec<Value> {
        [&self.alice, &self.bob, &self.viewer, &self.gone]
            .map(|daemon| {
                let known = daemon.ctl(&["peer", "list"]).done();
                let known = known["peers"].as_array().unwrap();
                let added = known
                    .iter()
                    .filter(|peer| peer["source"] == "added")
                    .map(|peer| [&peer["peer_id"], &peer["alias"]]);
                json!([daemon.ctl(&["group", "list"]).done(), added.collect::<Vec<_>>()])
            })
            .to_vec()
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_refusal_of_the_daemon_is_one_sentence_and_changes_nothing() {
    let scene = Scene::set();
    let Scene { alice, bob, viewer, gone, group, claim } = &scene;
    let (nowhere, long, no_claim) = ("f".repeat(64), "x".repeat(65_537), "e".repeat(64));
    let many_tags: Vec<String> = (0..21).map(|n| format!("tag{n}")).collect();
    let many_tags = many_tags.join(",");
    let other = format!("/ip4/127.0.0.1/tcp/7337/p2p/{}", bob.id);
    let own = format!("/ip4/127.0.0.1/tcp/7337/p2p/{}", alice.id);
    let (long_title, long_tag) = ("t".repeat(257), "t".repeat(65));
    let mut bulk = b"{\"text\":\"good\"}\n".repeat(3);
    bulk.extend_from_slice(b"{\"text\":\"bad\",\"tag\":[]}\n");
    let publish = ["claim", "publish", "--group", group.as_str()];
    let text = |text: &'static str| [&publish[..], &["--text", text]].concat();

    type Case<'a> = (&'a Daemon, Vec<&'a str>, &'a [u8], &'a str, &'a [&'a str]);
    let cases: Vec<Case<'_>> = vec![
        // groups
        (alice, vec!["group", "show", "nosuch"], b"", "unknown_group", &["`nosuch`", "group list"]),
        (alice, vec!["group", "show", &nowhere], b"", "unknown_group", &["group list"]),
        (alice, vec!["group", "verify", "../../x"], b"", "unknown_group", &["../../x"]),
        (alice, vec!["claim", "publish", "--group", "nosuch", "--text", "x"], b"", "unknown_group", &["nosuch"]),
        (alice, vec!["group", "create", "--name", "a b"], b"", "bad_field", &["' '"]),
        (alice, vec!["group", "create", "--name", ""], b"", "bad_field", &["empty"]),
        (alice, vec!["group", "join", "domain:research"], b"", "bad_field", &["id"]),
        // who may
        (viewer, text("x"), b"", "viewer_cannot_write", &["viewer", "ask an admin"]),
        (viewer, vec!["claim", "retract", claim, "--group", group], b"", "not_the_author", &["author or an admin"]),
        (gone, text("x"), b"", "not_a_member", &["not a member", "add-member"]),
        (bob, vec!["claim", "retract", claim, "--group", group], b"", "not_the_author", &["author or an admin"]),
        (bob, vec!["group", "add-member", "--group", group, "--member", &gone.id], b"", "not_an_admin", &["admin"]),
        (
            bob,
            vec!["group", "set-role", "--group", group, "--member", &bob.id, "--role", "admin"],
            b"",
            "not_an_admin",
            &["admin"],
        ),
        (
            alice,
            vec!["group", "remove-member", "--group", group, "--member", &alice.id],
            b"",
            "last_admin",
            &["last admin"],
        ),
        (
            alice,
            vec!["group", "set-role", "--group", group, "--member", &alice.id, "--role", "viewer"],
            b"",
            "last_admin",
            &["last admin"],
        ),
        (
            alice,
            vec!["group", "add-member", "--group", group, "--member", &bob.id],
            b"",
            "already_a_member",
            &["set-role"],
        ),
        (
            alice,
            vec!["group", "remove-member", "--group", group, "--member", &gone.id],
            b"",
            "no_such_member",
            &["group members"],
        ),
        // claims
        (alice, [&text("x")[..], &["--parent", &no_claim]].concat(), b"", "no_such_claim", &["eeeeeeee", "hash"]),
        (alice, [&text("x")[..], &["--parent", "zz"]].concat(), b"", "bad_field", &["hexadecimal"]),
        (alice, vec!["claim", "retract", &no_claim, "--group", group], b"", "no_such_claim", &["hash"]),
        (alice, vec!["claim", "show", "0000000", "--group", group], b"", "no_such_claim", &["claim list"]),
        (alice, [&publish[..], &["--text", &long]].concat(), b"", "too_large", &["65537", "65536"]),
        (alice, text("-"), long.as_bytes(), "too_large", &["65537", "65536"]),
        (alice, [&text("x")[..], &["--tags", &many_tags]].concat(), b"", "too_large", &["21", "20"]),
        (alice, [&text("x")[..], &["--tags", &long_tag]].concat(), b"", "too_large", &["65", "64"]),
        (alice, [&text("x")[..], &["--title", &long_title]].concat(), b"", "too_large", &["257", "256"]),
        (alice, [&text("x")[..], &["--title", "two\nlines"]].concat(), b"", "bad_field", &["title"]),
        (alice, text(" \n "), b"", "bad_field", &["empty"]),
        (alice, text("-"), b"", "bad_field", &["empty"]),
        (alice, text("-"), b"a\0b", "bad_field", &["NUL", "byte 1"]),
        (alice, text("-"), b"good until \xff here", "not_utf8", &["UTF-8", "byte 11", "convert"]),
        (alice, text("a\u{1b}[2Jb"), b"", "bad_field", &["text"]),
        (
            alice,
            [&publish[..], &["--file", "-"]].concat(),
            &bulk,
            "bad_line",
            &["line 4", "`tag`", "nothing was published"],
        ),
        (alice, [&publish[..], &["--file", "-"]].concat(), b"\n", "no_claims", &["no claim"]),
        (alice, [&publish[..], &["--file", "/nowhere/x"]].concat(), b"", "cannot_read", &["/nowhere/x"]),
        (alice, vec!["claim", "list", "--group", group, "--limit", "0"], b"", "bad_field", &["limit"]),
        (alice, vec!["claim", "list", "--group", group, "--cursor", "zz"], b"", "bad_cursor", &["cursor"]),
        (alice, vec!["context", "", "--group", group], b"", "bad_field", &["query"]),
        (alice, vec!["context", "q", "--group", group, "--top-k", "101"], b"", "bad_field", &["101", "100"]),
        (alice, vec!["context", "q", "--group", group, "--since", "1h", "--until", "2h"], b"", "bad_field", &["since"]),
        // peers
        (alice, vec!["peer", "add", "--addr", "nonsense"], b"", "bad_address", &["lbm ctl status"]),
        (alice, vec!["peer", "add", "--addr", "/ip4/127.0.0.1/tcp/7337"], b"", "bad_address", &["/p2p/"]),
        (alice, vec!["peer", "add", "--addr", &own], b"", "bad_address", &["own"]),
        (alice, vec!["peer", "add", "--addr", "/ip4/1.2.3.4/p2p/12D3KooWQ"], b"", "bad_address", &["lbm ctl status"]),
        (alice, vec!["peer", "add", "--addr", &other, "--alias", "a b"], b"", "bad_field", &["alias"]),
        (alice, vec!["peer", "remove", "nobody"], b"", "no_such_peer", &["nobody"]),
    ];
    let before = scene.state();
    let mut wrong = Vec::new();
    for (daemon, args, input, code, words) in cases {
        let answer = daemon.ctl_with(&args, input);
        let checked = std::panic::catch_unwind(|| assert_refused(&answer, 1, code, words));
        if checked.is_err() {
            wrong.push(format!("wanted `{code}` {words:?}, got {}{}", answer.stderr, answer.stdout));
        }
        assert_eq!(scene.state(), before, "{answer:#?}");
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    agree(&[alice, bob], group);
}

#[test]
fn a_name_that_two_groups_have_is_not_guessed() {
    let daemon = Daemon::start("twins");
    let (one, other) = (daemon.found("twin"), daemon.found("twin"));
    let answer = daemon.ctl(&["claim", "publish", "--group", "twin", "--text", "x"]);
    assert_refused(&answer, 1, "ambiguous_name", &[&one, &other, "id"]);
    assert!(daemon.claims(&one).is_empty() && daemon.claims(&other).is_empty());
    daemon.publish(&one[..16], "by a prefix of its id");
    assert_eq!(daemon.claims(&one).len(), 1);
}

#[test]
fn each_limit_of_a_claim_is_reached_by_what_lies_just_within_it() {
    let daemon = Daemon::start("limits");
    let group = daemon.found("g");
    let tags: Vec<String> = (0..20).map(|n| format!("{n:0>64}")).collect();
    let (tags, title, text) = (tags.join(","), "t".repeat(256), "x".repeat(65_536));
    let args = ["claim", "publish", "--group", &group, "--text", "-", "--tags", &tags, "--title", &title];
    let claim = daemon.ctl_with(&args, format!("{text}\n").as_bytes()).text("claim_hash");
    let shown = daemon.ctl(&["claim", "show", &claim, "--group", &group]).done();
    assert_eq!((shown["text"].as_str().unwrap().len(), shown["tags"].as_array().unwrap().len()), (65_536, 20));
}

#[test]
fn wrong_usage_has_exit_code_2() {
    for line in [
        &["ctl"][..],
        &["frobnicate"],
        &["ctl", "claim", "publish", "--group", "g"],
        &["ctl", "claim", "publish", "--group", "g", "--text", "a", "--file", "b"],
        &["ctl", "group", "add-member", "--group", "g", "--member", "nobody"],
        &["ctl", "group", "add-member", "--group", "g", "--member", "12D3KooWQ", "--role", "king"],
        &["ctl", "claim", "list", "--group", "g", "--limit", "many"],
        &["ctl", "context", "q", "--group", "g", "--since", "yesterday-ish"],
        &["init", "--name", "a b"],
    ] {
        let answer = lbm(line);
        assert_eq!(answer.code, Some(2), "{answer:#?}");
        assert!(answer.stdout.is_empty() && !answer.stderr.is_empty(), "{answer:#?}");
    }
    let folder = private_folder();
    for line in [["--listen", "nonsense"], ["--listen", "/ip4/1.2.3.4/udp/1"], ["--peer", "/ip4/127.0.0.1/tcp/1"]] {
        let mut command = Command::new(common::LBM_NODE);
        command.args(line).arg("--data").arg(folder.path());
        let answer = run(command, b"");
        assert_eq!(answer.code, Some(2), "{answer:#?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was made");
}

// ---- where no daemon answers -----------------------------------------------------------------------------------

#[test]
fn without_a_daemon_the_exit_code_is_3_and_the_sentence_says_how_to_start_it() {
    let mut daemon = Daemon::prepared("asleep");
    let data = daemon.data.display().to_string();
    let start = format!("lbm-node --data {data}");
    assert_refused(&daemon.ctl(&["status"]), 3, "no_daemon", &[&start]);
    // A socket that a killed daemon has left behind is none.
    daemon.restart();
    daemon.kill();
    assert!(is_there(daemon.data.join("lbm.sock")));
    assert_refused(&daemon.ctl(&["status"]), 3, "no_daemon", &[&start]);
    let nowhere = private_folder().path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    assert_refused(&lbm(&["ctl", "status", "--json", "--data", nowhere]), 3, "no_daemon", &["lbm init"]);
    assert!(!is_there(nowhere));
    daemon.restart();
    daemon.ctl(&["status"]).ok();
}

#[test]
fn the_socket_of_another_user_is_named_as_such() {
    if !is_root() {
        return skipped("the_socket_of_another_user", "only root can become another user");
    }
    let folder = tempfile::tempdir().unwrap();
    // Where the other user can run it, and look for the data folder.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let program = folder.path().join("lbm");
    std::fs::copy(LBM, &program).unwrap();
    let data = folder.path().join("data");
    lbm(&["init", "--data", data.to_str().unwrap()]).ok();
    let as_another = |args: &[&str]| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]).arg(&program).args(args);
        command.args(["--json", "--data", data.to_str().unwrap()]);
        run(command, b"")
    };
    let answer = as_another(&["ctl", "status"]);
    assert_refused(&answer, 1, "other_user", &["another user", "--data"]);
    // The key is behind the same wall.
    let answer = as_another(&["keys", "show"]);
    answer.refused(1, &["belongs to user 0", "54321"]);
}

// ---- starts that fail ------------------------------------------------------------------------------------------

#[test]
fn a_port_in_use_is_named() {
    let taken = std::iter::repeat_with(free_port).find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut daemon = Daemon::prepared("late");
    let address = format!("/ip4/127.0.0.1/tcp/{port}");
    daemon.args(&["--listen", &address, "--no-mdns"]);
    daemon.fails_to_start().refused(1, &[&address, "in use", "port 0"]);
    assert!(!is_there(daemon.data.join("lbm.sock")), "a failed start leaves no socket");
    drop(taken);
    daemon.restart();
    // Two daemons do not share a port either.
    let mut other = Daemon::prepared("later");
    other.args(&["--listen", &address, "--no-mdns"]);
    other.fails_to_start().refused(1, &["in use"]);
    other.args(&["--listen", &format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), "--no-mdns"]);
    other.restart();
    let mut third = Daemon::prepared("latest");
    third.args(&["--listen", &format!("/ip4/127.0.0.1/udp/{port}/quic-v1"), "--no-mdns"]);
    third.fails_to_start().refused(1, &["in use"]);
    other.args(&["--listen", "/ip4/203.0.113.7/tcp/7337", "--no-mdns"]);
    other.stop();
    other.fails_to_start().refused(1, &["203.0.113.7"]);
}

#[test]
fn a_second_daemon_on_a_folder_learns_the_pid_of_the_first() {
    let daemon = Daemon::start("only");
    let group = daemon.found("g");
    let pid = format!("process {}", daemon.pid());
    daemon.fails_to_start().refused(1, &[&pid, "stop it first"]);
    assert_eq!(daemon.publish(&group, "the first goes on").len(), 64);
    daemon.lbm(&["init"]).refused(1, &["already holds the key"]);
}

#[test]
fn a_folder_that_others_may_look_into_is_refused() {
    let daemon = Daemon::prepared("open");
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    chmod(&daemon.data, 0o750);
    daemon.fails_to_start().refused(1, &["0750", "chmod 700"]);
    chmod(&daemon.data, 0o700);
    chmod(&daemon.data.join("node.key"), 0o644);
    daemon.fails_to_start().refused(1, &["node.key", "0644", "chmod 600"]);
    assert!(!is_there(daemon.data.join("lbm.sock")) && !is_there(daemon.data.join("lbm.redb")));
    let folder = private_folder();
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    chmod(&empty, 0o700);
    let mut command = Command::new(common::LBM_NODE);
    command.arg("--data").arg(&empty);
    run(command, b"").refused(1, &["no key yet", "lbm init"]);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = Command::new(common::LBM_NODE);
    command.arg("--data").arg(&file);
    run(command, b"").refused(1, &["not a folder"]);
}

#[test]
fn each_fault_of_a_key_file_has_its_own_sentence() {
    let mut daemon = Daemon::prepared("locked");
    let key = daemon.data.join("node.key");
    let password = |name: &str, text: &str| {
        let path = daemon.data.join(name);
        let mut file = std::fs::File::create(&path).unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o600)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        path.display().to_string()
    };
    let (right, wrong, short) =
        (password("right", "correct horse\n"), password("wrong", "battery staple\n"), password("short", "1234\n"));
    daemon.lbm(&["keys", "encrypt", "--password-file", &short]).refused(1, &["8"]);
    daemon.lbm(&["keys", "encrypt", "--password-file", &right]).ok();
    assert_eq!(daemon.lbm(&["keys", "show", "--json"]).done()["encrypted"], true);
    let good = std::fs::read(&key).unwrap();

    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--password-file"];
    daemon.args(&[&listen[..], &[&wrong]].concat());
    daemon.fails_to_start().refused(1, &["wrong password", "node.key"]);
    daemon.args(&listen[..3]);
    daemon.fails_to_start().refused(1, &["--password-file"]);
    daemon.args(&[&listen[..], &["/nowhere/password"]].concat());
    daemon.fails_to_start().refused(1, &["/nowhere/password"]);
    daemon.lbm(&["keys", "decrypt", "--password-file", &wrong]).refused(1, &["wrong password"]);

    daemon.args(&[&listen[..], &[&right]].concat());
    let mut sentences = Vec::new();
    let newer = {
        let mut bytes = good.clone();
        bytes[8] = 2;
        let sum = blake3::hash(&bytes[..bytes.len() - 32]);
        let at = bytes.len() - 32;
        bytes[at..].copy_from_slice(sum.as_bytes());
        bytes
    };
    let mut altered = good.clone();
    altered[90] ^= 1;
    for (bytes, words) in [
        (&good[..100], &["cut short", "100 bytes", "backup"][..]),
        (&altered, &["altered or damaged", "backup"]),
        (&newer, &["version 2", "newer lbm"]),
        (b"-----BEGIN PRIVATE KEY-----", &["not an lbm key file"]),
        (b"", &["cut short"]),
    ] {
        std::fs::write(&key, bytes).unwrap();
        sentences.push(daemon.fails_to_start().refused(1, words));
        daemon.lbm(&["keys", "show"]).refused(1, words);
        assert_eq!(std::fs::read(&key).unwrap(), bytes, "a bad key file stays as it is");
        // Nor does a new key take its place.
        daemon.lbm(&["init"]).refused(1, &["nothing was changed"]);
    }
    sentences.dedup();
    assert_eq!(sentences.len(), 5);
    std::fs::write(&key, &good).unwrap();
    daemon.restart();
    daemon.ctl(&["status"]).ok();
}

#[test]
fn a_database_of_another_node_of_a_newer_version_or_damaged_is_left_alone() {
    let mut daemon = Daemon::start("mine");
    let group = daemon.found("g");
    let claim = daemon.publish(&group, "kept");
    daemon.stop();
    let (key, database) = (daemon.data.join("node.key"), daemon.data.join("lbm.redb"));
    let own_key = std::fs::read(&key).unwrap();
    let other = Daemon::prepared("other");
    std::fs::copy(other.data.join("node.key"), &key).unwrap();
    daemon.fails_to_start().refused(1, &[&daemon.id, "node.key"]);
    std::fs::write(&key, &own_key).unwrap();

    let bytes = std::fs::read(&database).unwrap();
    set_schema(&database, 99);
    let newer = std::fs::read(&database).unwrap();
    daemon.fails_to_start().refused(1, &["newer version", "99", "upgrade"]);
    assert!(set_schema(&database, 1) == 99 && !newer.is_empty());
    daemon.restart();
    assert_eq!(daemon.claims(&group), std::slice::from_ref(&claim));
    daemon.stop();

    std::fs::write(&database, b"this is no database, but somebody's letter").unwrap();
    daemon.fails_to_start().refused(1, &["lbm.redb"]);
    assert_eq!(std::fs::read(&database).unwrap(), b"this is no database, but somebody's letter");
    std::fs::write(&database, &bytes).unwrap();
    daemon.restart();
    assert_eq!(daemon.claims(&group), [claim]);
}

/// Sets the schema's number in a database; tells the one before.
fn set_schema(path: &Path, version: u64) -> u64 {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let before = {
        let table = redb::TableDefinition::<&str, u64>::new("meta-1");
        let mut table = transaction.open_table(table).unwrap();
        let before = table.insert("schema", version).unwrap().expect("a schema");
        before.value()
    };
    transaction.commit().unwrap();
    before
}

#[test]
fn settings_that_are_not_understood_end_the_start() {
    let daemon = Daemon::prepared("settings");
    let config = daemon.data.join("config.toml");
    for (text, words) in [
        ("sync_intervall_s = 5\n", &["sync_intervall_s", "sync_interval_s"][..]),
        ("sync_interval_s = \"soon\"\n", &["sync_interval_s"]),
        ("listen = [\n", &["config.toml"]),
    ] {
        std::fs::write(&config, text).unwrap();
        daemon.fails_to_start().refused(1, words);
        daemon.lbm(&["config"]).refused(1, words);
    }
    assert!(!is_there(daemon.data.join("lbm.redb")));
}

// ---- a full disk -----------------------------------------------------------------------------------------------

/// A mount namespace in which the data folder lies on a small disk of its own.
struct SmallDisk {
    holder: Child,
}

impl SmallDisk {
    /// Puts the data folder onto a disk of so many MiB.
    fn under(data: &Path, mib: u32) -> Result<Self, String> {
        let script = format!(
            "set -e; cp -a '{0}' '{0}.kept'; mount -t tmpfs -o size={mib}m,mode=0700 none '{0}'; cp -a '{0}.kept/.' '{0}'; \
             echo mounted; exec sleep 600",
            data.display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut holder = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let mut stdout = std::io::BufReader::new(holder.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut line).map_err(|error| error.to_string())?;
        if line == "mounted\n" {
            return Ok(Self { holder });
        }
        let mut said = String::new();
        drop(std::io::Read::read_to_string(&mut holder.stderr.take().unwrap(), &mut said));
        drop(holder.wait());
        Err(format!("no mount namespace: {}", said.trim()))
    }

    fn pid(&self) -> String {
        self.holder.id().to_string()
    }

    /// Fills the disk up to so many MiB, or empties it again. Its files are seen through the process in the namespace.
    fn fill(&self, data: &Path, leave_mib: u64) {
        let inside = PathBuf::from(format!("/proc/{}/root", self.pid())).join(data.strip_prefix("/").unwrap());
        let filler = inside.join("filler");
        drop(std::fs::remove_file(&filler));
        let free = rustix::fs::statvfs(&inside).map(|stat| stat.f_bavail * stat.f_frsize).unwrap();
        let mut left = free.saturating_sub(leave_mib << 20);
        let mut file = std::fs::File::create(&filler).unwrap();
        let block = vec![0; 1 << 20];
        while left > 0 {
            let part = usize::try_from(left.min(1 << 20)).unwrap();
            if file.write_all(&block[..part]).is_err() {
                return;
            }
            left -= part as u64;
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

#[test]
fn on_a_full_disk_writes_are_refused_and_what_was_acknowledged_is_there() {
    let mut daemon = Daemon::prepared("full");
    let disk = match SmallDisk::under(&daemon.data, 160) {
        Ok(disk) => disk,
        Err(why) => return skipped("on_a_full_disk", &why),
    };
    daemon.wrapper(&["nsenter", "--target", &disk.pid(), "--mount", "--"]);
    daemon.restart();
    let group = daemon.found("g");
    // The disk fills up while agents publish.
    let mut acknowledged = vec![daemon.publish(&group, "while there is room")];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..3)
            .map(|publisher| {
                let (daemon, group, stop) = (&daemon, &group, &stop);
                scope.spawn(move || {
                    let (mut hashes, mut refused, mut number) = (vec![], 0, 0);
                    while !stop.load(Ordering::SeqCst) && refused < 3 {
                        number += 1;
                        let text = format!("{publisher} {number}");
                        let answer = daemon.ctl(&["claim", "publish", "--group", group, "--text", &text]);
                        if answer.code == Some(0) {
                            hashes.push(answer.text("claim_hash"));
                        } else {
                            assert_refused(&answer, 1, "storage", &["free some space", "nothing was written"]);
                            refused += 1;
                        }
                    }
                    (hashes, refused)
                })
            })
            .collect();
        wait_until(PATIENCE, "some claims", || daemon.claims(&group).len() > 10);
        disk.fill(&daemon.data, 0);
        for publisher in publishers {
            let (hashes, refused) = publisher.join().unwrap();
            acknowledged.extend(hashes);
            assert_eq!(refused, 3);
        }
    });
    let has_all = |daemon: &Daemon| {
        let here = daemon.claims(&group);
        assert_eq!(here.len(), acknowledged.len());
        assert!(acknowledged.iter().all(|claim| here.contains(claim)));
    };
    // Reading goes on; nothing else is written.
    has_all(&daemon);
    daemon.ctl(&["status"]).ok();
    let answer = daemon.ctl(&["group", "create", "--name", "another"]);
    assert_refused(&answer, 1, "storage", &["free some space"]);
    let health = daemon.ctl(&["health"]);
    assert_eq!((health.code, &health.json()["ok"]), (Some(1), &json!(false)), "{health:#?}");
    // A power cut in this state: the start is refused with the same advice, and costs nothing.
    daemon.kill();
    daemon.fails_to_start().refused(1, &["free some space"]);
    disk.fill(&daemon.data, 60);
    daemon.fails_to_start().refused(1, &["free some space"]);
    disk.fill(&daemon.data, 90);
    daemon.restart();
    has_all(&daemon);
    let claim = daemon.publish(&group, "there is room again");
    assert!(daemon.claims(&group).contains(&claim));
    daemon.verified(&group);
    assert_eq!(daemon.ctl(&["health"]).done()["ok"], true);
}
