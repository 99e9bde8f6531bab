//! A group id is a hash, whoever types it: nothing that is one of another form reaches a file, on any command that takes one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::Daemon;

/// Everything below a folder.
fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        }
        found.insert(path);
    }
}

#[test]
fn a_group_id_that_climbs_out_of_the_data_folder_writes_nothing_anywhere() {
    let daemon = Daemon::start("alice");
    let group = daemon.found("domain:research");
    let claim = daemon.publish(&group, "here before");
    daemon.settled(&group);
    let around = daemon.data.parent().unwrap();
    let seen = || {
        let mut found = BTreeSet::new();
        files(around, &mut found);
        found
    };
    let (before, blocks) = (seen(), daemon.blocks(&group));
    let absolute = around.join("x").display().to_string();
    let climbing = format!("{group}/../../x");
    let dotted = format!("../../{}", &group[6..]);
    for id in
        ["../../x", "..", "/", "x/../../y", "..%2f..%2fx", "%2e%2e/x", "a\\..\\..\\x", &absolute, &climbing, &dotted]
    {
        for line in [
            vec!["group", "join", id, "--timeout", "1s"],
            vec!["group", "create", "--name", id],
            vec!["group", "show", id],
            vec!["group", "stats", id],
            vec!["group", "verify", id],
            vec!["group", "leave", id],
            vec!["group", "alone", id],
            vec!["claim", "publish", "--group", id, "--text", "x"],
            vec!["claim", "list", "--group", id],
            vec!["claim", "show", id, "--group", &group],
            vec!["context", "x", "--group", id],
            vec!["token", "balance", "--group", id],
            vec!["task", "create", "--group", id, "--task", "t", "--title", "T"],
            vec!["presence", "set", "--group", id, "--status", "idle"],
        ] {
            let answer = daemon.ctl(&line);
            assert!(matches!(answer.code, Some(1 | 2)), "{answer:#?}");
            assert!(answer.stderr.starts_with("error: "), "{answer:#?}");
            assert_eq!(seen(), before, "{answer:#?}");
        }
    }
    assert_eq!(daemon.blocks(&group), blocks);
    assert_eq!(daemon.claims(&group), [claim]);
    daemon.verified(&group);
}
