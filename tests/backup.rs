//! Backups of real daemons, and older copies put back: **no fork of a node's own line**, and nothing lost that anybody has.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{
    Answer, Daemon, LBM, PATIENCE, clean, free_port, is_there, lbm, private_folder, run, skipped, wait_until,
};
use lbm::api::client::Client;
use lbm::api::types::NewClaim;
use serde_json::json;

/// A pair with addresses that stay the same over restarts, in one group.
fn settled_pair() -> (Daemon, Daemon, String) {
    let (mut alice, mut bob) = (Daemon::prepared("alice"), Daemon::prepared("bob"));
    for daemon in [&mut alice, &mut bob] {
        daemon.args(&["--listen", &format!("/ip4/127.0.0.1/tcp/{}", free_port()), "--no-mdns", "--log-level", "warn"]);
        daemon.restart();
    }
    let group = alice.found("shared");
    alice.add(&group, &bob.id, "member");
    bob.meet(&alice);
    alice.meet(&bob);
    bob.ctl(&["group", "join", &group]).ok();
    (alice, bob, group)
}

/// Publishes on a daemon as fast as it acknowledges while `meanwhile` runs; gives what was acknowledged.
fn under_load<T>(daemon: &Daemon, group: &str, meanwhile: impl FnOnce(&Mutex<Vec<String>>) -> T) -> (T, Vec<String>) {
    let (stop, acknowledged) = (AtomicBool::new(false), Mutex::new(vec![]));
    let done = std::thread::scope(|scope| {
        for publisher in 0..4 {
            let (stop, acknowledged) = (&stop, &acknowledged);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let client = Client::new(&daemon.data);
                let mut number = 0;
                while !stop.load(Ordering::SeqCst) {
                    number += 1;
                    let text = format!("{publisher}/{number}");
                    let claim = NewClaim { text, ..NewClaim::default() };
                    let answer = runtime.block_on(client.publish_claim(group, &claim)).unwrap();
                    acknowledged.lock().unwrap().push(answer.claim_hash);
                }
            });
        }
        let done = meanwhile(&acknowledged);
        stop.store(true, Ordering::SeqCst);
        done
    });
    (done, acknowledged.into_inner().unwrap())
}

fn wait_for_more(acknowledged: &Mutex<Vec<String>>, more: usize) {
    let wanted = acknowledged.lock().unwrap().len() + more;
    wait_until(PATIENCE, "claims are acknowledged", || acknowledged.lock().unwrap().len() >= wanted);
}

fn unsure_groups(daemon: &Daemon) -> u64 {
    daemon.ctl(&["status"]).done()["unsure_groups"].as_u64().unwrap()
}

#[track_caller]
fn assert_unsure(answer: &Answer) {
    answer.refused(1, &["older copy", "group alone"]);
    assert_eq!(answer.json()["code"], "restored_unsure", "{answer:#?}");
}

/// Puts the data folder away and the backup in its place.
fn put_back(daemon: &Daemon, file: &Path, more: &[&str]) -> serde_json::Value {
    std::fs::rename(&daemon.data, daemon.data.with_extension("lost")).unwrap();
    daemon.lbm(&[&["restore", file.to_str().unwrap(), "--json"], more].concat()).done()
}

/// Both have all of these claims, and nobody has signed two blocks with one number.
#[track_caller]
fn assert_no_fork_and_nothing_lost(daemons: [&Daemon; 2], group: &str, claims: &[String]) {
    let [one, other] = daemons;
    wait_until(PATIENCE, "both have the same blocks", || one.blocks(group) == other.blocks(group));
    for daemon in daemons {
        let here: std::collections::HashSet<String> = daemon.claims(group).into_iter().collect();
        let lost = claims.iter().filter(|claim| !here.contains(*claim)).count();
        assert_eq!(lost, 0, "{} lacks acknowledged claims", daemon.name);
        assert_eq!(daemon.ctl(&["rejected"]).done()["rejected"], json!([]), "{}", daemon.name);
        let events = daemon.ctl(&["events"]).stdout;
        assert!(!events.contains("fork_detected"), "{}: {events}", daemon.name);
    }
    // A seal of what came last may be on its way.
    wait_until(PATIENCE, "both hold the same", || one.verified(group) == other.verified(group));
}

#[test]
fn an_older_copy_that_is_put_back_learns_what_it_has_written_before_it_writes() {
    let (mut alice, mut bob, group) = settled_pair();
    let folder = private_folder();
    let file = folder.path().join("alice.backup");
    let (made, mut acknowledged) = under_load(&alice, &group, |acknowledged| {
        wait_for_more(acknowledged, 100);
        let made = alice.lbm(&["backup", file.to_str().unwrap(), "--json"]).done();
        wait_for_more(acknowledged, 100);
        made
    });
    assert_eq!((made["node_id"].as_str(), made["encrypted"].as_bool()), (Some(alice.id.as_str()), Some(false)));
    assert_eq!(made["bytes"].as_u64(), Some(file.metadata().unwrap().size()), "{made}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    wait_until(PATIENCE, "bob has all", || alice.blocks(&group) == bob.blocks(&group));

    // Her disk dies while bob is away.
    alice.kill();
    bob.stop();
    let restored = put_back(&alice, &file, &[]);
    assert_eq!((&restored["groups"], &restored["unsure_groups"]), (&json!(1), &json!(1)), "{restored}");
    alice.restart();
    let here = alice.claims(&group);
    assert!(here.len() >= 100 && here.len() < acknowledged.len(), "{} of {}", here.len(), acknowledged.len());
    assert_unsure(&alice.ctl(&["claim", "publish", "--group", &group, "--text", "too early"]));
    assert_unsure(&alice.ctl(&["group", "set-role", "--group", &group, "--member", &bob.id, "--role", "admin"]));
    assert_eq!(unsure_groups(&alice), 1);
    let health = alice.ctl(&["health"]);
    assert_eq!(health.code, Some(1));
    assert!(health.stdout.contains("own blocks") && health.stdout.contains("group alone"), "{health:#?}");
    assert_eq!(alice.ctl(&["group", "show", &group]).done()["unsure"], true);
    alice.found("not-concerned");
    // Neither a restart nor a power cut makes it forget.
    alice.kill();
    alice.restart();
    assert_unsure(&alice.ctl(&["claim", "publish", "--group", &group, "--text", "still too early"]));

    bob.restart();
    wait_until(PATIENCE, "alice is sure again", || unsure_groups(&alice) == 0);
    let events = alice.ctl(&["events"]).stdout;
    assert!(events.contains("own_line_settled"), "{events}");
    acknowledged.push(alice.publish(&group, "and on it goes"));
    acknowledged.push(bob.publish(&group, "here as well"));
    assert_no_fork_and_nothing_lost([&alice, &bob], &group, &acknowledged);
}

#[test]
fn agents_that_write_at_once_after_a_restore_are_refused_until_it_is_safe() {
    let (mut alice, bob, group) = settled_pair();
    let folder = private_folder();
    let file = folder.path().join("alice.backup");
    alice.lbm(&["backup", file.to_str().unwrap()]).ok();
    let (_, mut acknowledged) = under_load(&alice, &group, |acknowledged| wait_for_more(acknowledged, 300));
    wait_until(PATIENCE, "bob has all", || alice.blocks(&group) == bob.blocks(&group));
    alice.kill();
    put_back(&alice, &file, &[]);
    alice.restart();
    // Bob dials, pulls and pushes meanwhile.
    let mut refused = 0;
    wait_until(PATIENCE, "a write is taken", || {
        let answer = alice.ctl(&["claim", "publish", "--group", &group, "--text", "as soon as possible"]);
        if answer.code == Some(0) {
            acknowledged.push(answer.text("claim_hash"));
        } else {
            assert_unsure(&answer);
            refused += 1;
        }
        answer.code == Some(0)
    });
    println!("{refused} writes were refused before the first was taken");
    assert_no_fork_and_nothing_lost([&alice, &bob], &group, &acknowledged);
}

#[test]
fn a_folder_that_was_copied_by_hand_is_held_back_as_well() {
    let (mut alice, mut bob, group) = settled_pair();
    alice.stop();
    let (data, copy) = (alice.data.clone(), alice.data.with_extension("copy"));
    let copied = Command::new("cp").args(["-a", data.to_str().unwrap(), copy.to_str().unwrap()]).status().unwrap();
    assert!(copied.success());
    alice.restart();
    let later: Vec<String> = (0..20).map(|n| alice.publish(&group, &format!("after the copy {n}"))).collect();
    wait_until(PATIENCE, "bob has all", || alice.blocks(&group) == bob.blocks(&group));
    alice.kill();
    bob.stop();
    std::fs::rename(&data, data.with_extension("lost")).unwrap();
    std::fs::rename(&copy, &data).unwrap();
    alice.restart();
    assert_unsure(&alice.ctl(&["claim", "publish", "--group", &group, "--text", "too early"]));
    assert!(alice.said().contains("copy"), "the log says why: {}", alice.said());
    bob.restart();
    wait_until(PATIENCE, "alice is sure again", || unsure_groups(&alice) == 0);
    let claim = alice.publish(&group, "and on it goes");
    assert_no_fork_and_nothing_lost([&alice, &bob], &group, &[&later[..], &[claim]].concat());
}

#[test]
fn who_is_alone_says_so_at_the_restore_or_later() {
    let mut daemon = Daemon::start("alone");
    let group = daemon.found("notes");
    let kept = daemon.publish(&group, "in the backup");
    daemon.stop();
    let folder = private_folder();
    let file = folder.path().join("backup");
    let made = daemon.lbm(&["backup", file.to_str().unwrap()]).ok().stdout.clone();
    assert!(made.contains("whoever has the file has the node"), "{made}");

    let restored = put_back(&daemon, &file, &["--alone"]);
    assert_eq!(restored["unsure_groups"], 0, "{restored}");
    daemon.restart();
    let second = daemon.publish(&group, "at once");
    assert_eq!(daemon.claims(&group), [second.as_str(), kept.as_str()]);
    daemon.stop();

    std::fs::remove_dir_all(daemon.data.with_extension("lost")).unwrap();
    put_back(&daemon, &file, &[]);
    daemon.restart();
    assert_unsure(&daemon.ctl(&["claim", "publish", "--group", &group, "--text", "unsure"]));
    let said = daemon.ctl(&["group", "alone", "notes"]).done();
    assert_eq!(said, json!({"group_id": group, "was_unsure": true}));
    daemon.publish(&group, "sure");
    assert_eq!(daemon.ctl(&["health"]).done()["ok"], true);
    assert_eq!(daemon.ctl(&["group", "alone", "notes"]).done()["was_unsure"], false);
    daemon.verified(&group);
}

#[test]
fn an_encrypted_key_stays_so_and_its_password_is_not_asked_for() {
    let folder = private_folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("password"), "correct horse battery\n").unwrap();
    std::fs::set_permissions(path("password"), PermissionsExt::from_mode(0o600)).unwrap();
    let [data, back, file] = ["data", "back", "file"].map(path);
    let made =
        lbm(&["init", "--encrypt-keys", "--name", "locked", "--password-file", &path("password"), "--data", &data]);
    made.ok();
    let backed_up = lbm(&["backup", &file, "--data", &data]).ok().stdout.clone();
    assert!(backed_up.contains("keep the password"), "{backed_up}");
    let restored = lbm(&["restore", &file, "--data", &back, "--json"]).done();
    assert_eq!((&restored["encrypted"], &restored["name"]), (&json!(true), &json!("locked")));
    let [ours, theirs] = [&data, &back].map(|data| std::fs::read(format!("{data}/node.key")).unwrap());
    assert_eq!(ours, theirs);
    lbm(&["keys", "decrypt", "--password-file", &path("password"), "--data", &back]).ok();
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table of mistakes")]
fn each_mistake_has_its_sentence_and_changes_nothing() {
    let daemon = Daemon::start("careful");
    let group = daemon.found("g");
    daemon.publish(&group, "kept");
    let folder = private_folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let file = path("backup");
    daemon.lbm(&["backup", &file]).ok();
    let good = std::fs::read(&file).unwrap();

    // The file to make.
    daemon.lbm(&["backup", &file]).refused(1, &["already exists", "--force"]);
    assert_eq!(std::fs::read(&file).unwrap(), good);
    daemon.publish(&group, "more");
    daemon.lbm(&["backup", &file, "--force"]).ok();
    assert!(std::fs::read(&file).unwrap().len() > good.len());
    std::fs::write(path("letter"), "dear all").unwrap();
    daemon.lbm(&["backup", &path("letter"), "--force"]).refused(1, &["no backup", "name another file"]);
    assert_eq!(std::fs::read_to_string(path("letter")).unwrap(), "dear all");
    daemon.lbm(&["backup", &path("no/such/folder")]).refused(1, &["cannot create", "check the path"]);
    let refused = daemon.lbm(&["backup", folder.path().to_str().unwrap(), "--force", "--json"]);
    refused.refused(1, &["no backup"]);
    assert_eq!(refused.json()["code"], "backup_failed");
    daemon.lbm(&["backup"]).refused(2, &["required arguments"]);

    // The file to read.
    let bad = |name: &str, bytes: &[u8], words: &[&str]| {
        std::fs::write(path(name), bytes).unwrap();
        lbm(&["restore", &path(name), "--data", &path("target")]).refused(1, words);
        assert!(!is_there(path("target")), "{name}");
    };
    bad("cut", &good[..good.len() / 2], &["cut off", "nothing was changed"]);
    bad("empty", b"", &["no backup of LBM"]);
    bad("other", b"something else entirely", &["no backup of LBM"]);
    bad("newer", &[b"LBM backup 9\n", &good[13..]].concat(), &["newer form (9", "upgrade lbm"]);
    let mut altered = good.clone();
    altered[good.len() - 100] ^= 1;
    bad("altered", &altered, &["damaged", "nothing was changed"]);
    lbm(&["restore", &path("missing"), "--data", &path("target")]).refused(1, &["cannot read", "check the path"]);

    // The folder to put it into.
    daemon.lbm(&["restore", &file]).refused(1, &["in use by process"]);
    let full = private_folder();
    std::fs::write(full.path().join("holiday.jpg"), "x").unwrap();
    let restore = |data: &Path| lbm(&["restore", &file, "--data", data.to_str().unwrap()]);
    restore(full.path()).refused(1, &["not empty", "holiday.jpg", "--data DIR"]);
    let open = private_folder();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o755)).unwrap();
    restore(open.path()).refused(1, &["other users may look into", "chmod 700"]);
    assert_eq!(std::fs::read_dir(open.path()).unwrap().count(), 0);
    restore(&folder.path().join("letter")).refused(1, &["not a folder"]);
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o700)).unwrap();
    restore(open.path()).ok();
    restore(open.path()).refused(1, &["not empty"]);
    // A daemon that answers no more, but holds its folder.
    std::fs::remove_file(daemon.data.join("lbm.sock")).unwrap();
    daemon.lbm(&["backup", &path("unheard")]).refused(3, &["daemon"]);
    let left: Vec<PathBuf> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.extension().is_none()), "nothing half made is left: {left:?}");
}

#[test]
fn on_a_full_disk_nothing_is_left_of_either() {
    let daemon = Daemon::start("full");
    let group = daemon.found("g");
    let words = "x".repeat(60_000);
    (0..20).for_each(|n| drop(daemon.publish(&group, &format!("{n} {words}"))));
    let folder = private_folder();
    let (small, file) = (folder.path().join("small"), folder.path().join("file"));
    std::fs::create_dir(&small).unwrap();
    daemon.lbm(&["backup", file.to_str().unwrap()]).ok();
    // On a disk of one MiB that only this shell sees; then what is left there.
    let on_small_disk = |words: &str| {
        let script = format!(
            "mount -t tmpfs -o size=1m,mode=0700 none '{0}' || exit 77; {words}; code=$?; ls -A '{0}' | grep -v lock; exit $code",
            small.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        run(clean(command), b"")
    };
    let backup = format!("{LBM} backup '{}/file' --data '{}'", small.display(), daemon.data.display());
    let answer = on_small_disk(&backup);
    if answer.code != Some(1) {
        return skipped("on_a_full_disk_nothing_is_left_of_either", &format!("no mount namespace: {answer:?}"));
    }
    answer.refused(1, &["cannot write", "free some space"]);
    assert_eq!(answer.stdout, "");
    let restore = format!("{LBM} restore '{}' --data '{}'", file.display(), small.display());
    let answer = on_small_disk(&restore);
    answer.refused(1, &["free some space"]);
    assert_eq!(answer.stdout, "");
}

#[test]
fn who_leaves_and_joins_again_goes_on_with_its_own_line() {
    let (alice, bob, group) = settled_pair();
    let mut claims: Vec<String> = (0..3).map(|round| bob.publish(&group, &format!("before {round}"))).collect();
    wait_until(PATIENCE, "alice has all", || alice.blocks(&group) == bob.blocks(&group));
    for round in 0..3 {
        bob.ctl(&["group", "leave", &group]).ok();
        bob.ctl(&["group", "join", &group]).ok();
        assert_eq!(unsure_groups(&bob), 0, "joined means that it may write");
        claims.push(bob.publish(&group, &format!("after leaving {round} times")));
    }
    assert_no_fork_and_nothing_lost([&alice, &bob], &group, &claims);
}
