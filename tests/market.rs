//! Selling and buying between real daemons: each way to buy, each refusal with its sentence, and what is left of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use common::{Answer, Daemon, PATIENCE, keys, wait_until};
use serde_json::{Value, json};

const TEXT: &str = "Retry with jitter, or every client comes back at the same moment";

/// Runs `lbm ctl offer`.
#[track_caller]
fn offer(daemon: &Daemon, args: &[&str]) -> Answer {
    daemon.ctl(&[&["offer"], args].concat())
}

#[track_caller]
fn create(daemon: &Daemon, group: &str, price: &str, more: &[&str]) -> String {
    let create = ["create", "--group", group, "--title", "Retries", "--price", price];
    let content: &[&str] = if more.contains(&"--file") { &[] } else { &["--text", TEXT] };
    offer(daemon, &[&create[..], content, more].concat()).text("offer_id")
}

#[track_caller]
fn balance(daemon: &Daemon, group: &str, account: &str) -> u64 {
    daemon.ctl(&["token", "balance", "--group", group, "--account", account]).done()["balance"].as_u64().unwrap()
}

#[track_caller]
fn stats(daemon: &Daemon, group: &str) -> Value {
    daemon.ctl(&["group", "stats", group]).done()
}

#[track_caller]
fn mint(alice: &Daemon, group: &str, to: &str, amount: &str) {
    alice.ctl(&["token", "mint", "--group", group, "--to", to, "--amount", amount]).ok();
}

/// How the purchases of an offer stand on a node.
fn purchases(daemon: &Daemon, id: &str) -> Vec<Value> {
    let list = offer(daemon, &["purchases"]).done();
    list["purchases"].as_array().unwrap().iter().filter(|row| row["offer_id"] == id).cloned().collect()
}

#[track_caller]
fn wait_for_offer(daemon: &Daemon, id: &str) {
    wait_until(PATIENCE, &format!("{} knows the offer", daemon.name), || offer(daemon, &["show", id]).code == Some(0));
}

#[track_caller]
fn wait_for_status(daemon: &Daemon, id: &str, status: &str) {
    wait_until(PATIENCE, &format!("{}: the purchase is {status}", daemon.name), || {
        purchases(daemon, id).first().is_some_and(|row| row["status"] == status)
    });
}

/// Two members, the second with tokens.
#[track_caller]
fn market(name: &str) -> (Daemon, Daemon, String) {
    let (alice, bob, group) = common::pair(name);
    mint(&alice, &group, &bob.id, "100");
    wait_until(PATIENCE, "bob has his tokens", || balance(&bob, &group, &bob.id) == 100);
    (alice, bob, group)
}

#[test]
fn a_member_buys_once_and_has_it_for_good() {
    let (alice, bob, group) = market("shop");
    let made = offer(
        &alice,
        &[
            "create", "--group", &group, "--title", "Retries", "--price", "40", "--text", TEXT, "--tags", "net,ops",
            "--description", "What we learned last week",
        ],
    );
    let id = made.text("offer_id");
    assert_eq!(keys(&made.json()), ["block_id", "offer_id", "package_hash"]);
    wait_for_offer(&bob, &id);
    let list = offer(&bob, &["list", "--tag", "ops", "--max-price", "40"]).done();
    let shown = &list["offers"][0];
    assert_eq!((&shown["offer_id"], &shown["price"], &shown["source"]), (&json!(id), &json!(40), &json!("ledger")));
    assert_eq!(offer(&bob, &["list", "--max-price", "39"]).done()["offers"], json!([]));
    assert_eq!(offer(&bob, &["list", "--tag", "none"]).done()["offers"], json!([]));

    offer(&bob, &["buy", &id, "--max-price", "39"]).refused(1, &["costs 40", "at most 39", "nothing was paid"]);
    let bought = bob.lbm(&["ctl", "offer", "buy", &id[..12], "--print"]);
    assert_eq!(bought.ok().stdout, format!("{TEXT}\n"));
    wait_for_status(&bob, &id, "settled");
    wait_for_status(&alice, &id, "settled");
    assert_eq!((balance(&bob, &group, &bob.id), balance(&alice, &group, &alice.id)), (60, 40));
    let totals = stats(&alice, &group);
    assert_eq!((&totals["total_supply"], &totals["escrow_balance"]), (&json!(100), &json!(0)));

    // Again: opened, and not paid.
    let again = offer(&bob, &["buy", &id, "--print"]).done();
    assert_eq!((&again["text"], &again["already_owned"]), (&json!(TEXT), &json!(true)));
    let out = bob.data.join("bought.txt");
    offer(&bob, &["buy", &id, "--out", out.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), TEXT);
    let mode = std::os::unix::fs::PermissionsExt::mode(&out.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    bob.lbm(&["ctl", "library", "show", &id, "--out", out.to_str().unwrap()])
        .refused(1, &["bought.txt", "nothing that is there is overwritten"]);
    assert_eq!(balance(&bob, &group, &bob.id), 60);
    let library = bob.ctl(&["library", "list"]).done();
    let row = &library["packages"][0];
    assert_eq!((&row["offer_id"], &row["title"], &row["here"]), (&json!(id), &json!("Retries"), &json!(true)));
    assert_eq!(bob.ctl(&["library", "show", &id[..8]]).text("text"), TEXT);
    // The seller opens its own.
    assert_eq!(alice.ctl(&["library", "show", &id]).text("text"), TEXT);
    // Nothing of it is in clear on either disk but where it was asked for.
    std::fs::remove_file(&out).unwrap();
    for daemon in [&alice, &bob] {
        for file in files(&daemon.data) {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let is_there = bytes.windows(TEXT.len()).any(|window| window == TEXT.as_bytes());
            assert!(!is_there, "{} has the content in clear", file.display());
        }
    }
    common::agree(&[&alice, &bob], &group);
}

fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found
}
