//! The retrieval index of a real daemon on its disk: killed while it indexes, taken away, cut off, changed. Answers come in any case, what
//! was just published is found at once, and in the end all is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use common::{Daemon, wait_until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// More than an index keeps in memory.
const CLAIMS: usize = 3_000;

/// Publishes claims in bulk; each is one of a kind by its number.
fn publish(daemon: &Daemon, group: &str, range: std::ops::Range<usize>) {
    let lines: String =
        range.map(|number| format!("{}\n", json!({"text": format!("item{number} of shelf{}", number % 50)}))).collect();
    daemon.ctl_with(&["claim", "publish", "--group", group, "--file", "-"], lines.as_bytes()).ok();
}

fn context(daemon: &Daemon, group: &str, query: &str) -> Value {
    daemon.ctl(&["context", query, "--group", group]).done()
}

fn finds(daemon: &Daemon, group: &str, number: usize) -> bool {
    let items = context(daemon, group, &format!("item{number}"))["items"].clone();
    items.as_array().unwrap().iter().any(|item| item["text"].as_str().unwrap().starts_with(&format!("item{number} ")))
}

fn index_health(daemon: &Daemon) -> Value {
    let health = daemon.ctl(&["health"]).json();
    health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "index").unwrap().clone()
}

/// Waits until files stand, and gives them: the manifest, and the segments.
fn files(daemon: &Daemon, group: &str) -> (PathBuf, Vec<PathBuf>) {
    let folder = daemon.data.join("index").join(group);
    wait_until(PATIENCE, "the index has files", || folder.join("manifest").exists());
    let all = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    (folder.join("manifest"), all.filter(|path| path.extension().is_some_and(|end| end == "seg")).collect())
}

#[test]
fn a_daemon_whose_index_is_lost_or_damaged_answers_and_rebuilds_it() {
    let mut daemon = Daemon::start("shelves");
    let group = daemon.found("g");
    publish(&daemon, &group, 0..CLAIMS);
    assert!(finds(&daemon, &group, 17) && finds(&daemon, &group, CLAIMS - 1));
    files(&daemon, &group);
    for damage in ["folder", "manifest", "cut", "bit"] {
        daemon.kill();
        let (manifest, segments) = files(&daemon, &group);
        let segment = segments.first().unwrap();
        match damage {
            "folder" => fs::remove_dir_all(manifest.parent().unwrap()).unwrap(),
            "manifest" => fs::write(&manifest, b"nothing").unwrap(),
            "cut" => fs::write(segment, &fs::read(segment).unwrap()[..5_000]).unwrap(),
            _ => {
                let mut bytes = fs::read(segment).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle..middle + 4_096].fill(0x5a);
                fs::write(segment, bytes).unwrap();
            }
        }
        daemon.restart();
        let new = format!("fresh words after {damage}");
        let claim = daemon.publish(&group, &new);
        let first = context(&daemon, &group, &new);
        assert_eq!(first["items"][0]["claim_hash"], claim.as_str(), "{damage}: {first}");
        wait_until(PATIENCE, "the index is whole again", || {
            context(&daemon, &group, "item17")["indexed_percent"].is_null()
                && (0..CLAIMS).step_by(500).all(|number| finds(&daemon, &group, number))
        });
        let health = index_health(&daemon);
        assert_eq!(health["ok"], true, "{damage}: {health}");
        assert!(health["detail"].as_str().unwrap().contains("can be searched"), "{damage}: {health}");
        files(&daemon, &group);
    }
}

#[test]
fn kills_while_it_indexes_leave_nothing_to_repair() {
    let mut daemon = Daemon::start("hurried");
    let group = daemon.found("g");
    let mut next = 0;
    for pause_ms in [0, 5, 20, 60, 120, 250] {
        publish(&daemon, &group, next..next + 1_500);
        next += 1_500;
        // The background is writing or merging, or about to.
        context(&daemon, &group, "shelf7");
        std::thread::sleep(Duration::from_millis(pause_ms));
        daemon.kill();
        daemon.restart();
        for number in [0, next / 2, next - 1] {
            assert!(finds(&daemon, &group, number), "item{number} of {next} after a kill");
        }
    }
    assert!(!daemon.said().contains("panicked"), "{}", daemon.said());
    assert_eq!(index_health(&daemon)["ok"], true);
}

#[test]
fn a_claim_that_is_taken_back_is_gone_at_once_and_who_leaves_keeps_no_index() {
    let daemon = Daemon::start("tidy");
    let group = daemon.found("g");
    publish(&daemon, &group, 0..CLAIMS);
    let claim = daemon.publish(&group, "a secret that slipped out");
    assert_eq!(context(&daemon, &group, "secret slipped")["items"][0]["claim_hash"], claim.as_str());
    daemon.ctl(&["claim", "retract", &claim, "--group", &group]).ok();
    assert_eq!(context(&daemon, &group, "secret slipped")["items"], json!([]));
    let (manifest, _) = files(&daemon, &group);
    daemon.ctl(&["group", "leave", &group]).ok();
    wait_until(PATIENCE, "the folder is gone", || !manifest.parent().unwrap().exists());
}

#[test]
fn a_folder_that_goes_while_the_daemon_runs_comes_back_and_health_says_what_is_so() {
    let mut daemon = Daemon::start("robbed");
    let group = daemon.found("g");
    publish(&daemon, &group, 0..CLAIMS);
    assert!(finds(&daemon, &group, 17));
    files(&daemon, &group);
    daemon.publish(&group, "what no file has yet");
    daemon.kill();
    daemon.restart();
    // Health waits for no index, and says what is missing; whoever asks has it read.
    let says = |words: &str| index_health(&daemon)["detail"].as_str().unwrap().contains(words);
    wait_until(PATIENCE, "its files are open", || {
        says(&format!("{CLAIMS} claims of 1 groups can be searched; behind by"))
    });
    assert!(finds(&daemon, &group, 17));
    assert!(says(&format!("{} claims of 1 groups can be searched", CLAIMS + 1)), "{}", index_health(&daemon));
    let (manifest, _) = files(&daemon, &group);
    fs::remove_dir_all(daemon.data.join("index")).unwrap();
    let health = index_health(&daemon);
    let is_told = health["ok"] == false && health["detail"].as_str().unwrap().contains("removed");
    assert!(is_told || manifest.exists(), "{health}");
    wait_until(PATIENCE, "all is written again", || index_health(&daemon)["ok"] == true);
    assert!(!files(&daemon, &group).1.is_empty());
    let claim = daemon.publish(&group, "written after the folder came back");
    daemon.kill();
    daemon.restart();
    assert_eq!(context(&daemon, &group, "folder came back")["items"][0]["claim_hash"], claim.as_str());
    assert!(finds(&daemon, &group, 17) && context(&daemon, &group, "item17")["indexed_percent"].is_null());
}
