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
            "create",
            "--group",
            &group,
            "--title",
            "Retries",
            "--price",
            "40",
            "--text",
            TEXT,
            "--tags",
            "net,ops",
            "--description",
            "What we learned last week",
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
    assert_eq!(bought.ok().stdout, TEXT);
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

/// Restarts daemons with clocks that are so far ahead.
fn restart_ahead(daemons: &mut [&mut Daemon], ahead_ms: u64) {
    for daemon in daemons.iter_mut() {
        if daemon.runs() {
            daemon.kill();
        }
        daemon.wrapper(&["env", &format!("LBM_CLOCK_AHEAD_MS={ahead_ms}")]);
        daemon.restart();
    }
    for pair in daemons.windows(2) {
        pair[1].meet(pair[0]);
    }
}

const DAY_MS: u64 = 24 * 3_600_000;

#[test]
fn a_seller_that_is_gone_costs_the_buyer_nothing_but_time() {
    // The buyer is the notary here, and the seller never comes back.
    let (mut alice, mut bob, group) = market("gone");
    mint(&alice, &group, &alice.id, "100");
    let id = create(&bob, &group, "40", &["--grant-within", "1h"]);
    wait_for_offer(&alice, &id);
    bob.kill();
    bob.wrapper(&["env", "LBM_HOLD_AT=sealed"]);
    bob.restart();
    alice.meet(&bob);
    let waits = offer(&alice, &["buy", &id, "--wait", "1s"]);
    waits.refused(4, &["goes on by itself", "lbm ctl offer purchases", "the price comes back"]);
    assert_eq!((&waits.json()["status"], &waits.json()["next"]), (&json!("paid"), &json!("grant")));
    for daemon in [&alice, &bob] {
        wait_until(PATIENCE, "status counts it", || {
            daemon.ctl(&["status"]).done()["open_purchases"] == json!({"paid": 1})
        });
    }
    let health = alice.ctl(&["health"]).done();
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "purchases").unwrap();
    assert!(check["detail"].as_str().unwrap().starts_with("1 paid"), "{health}");
    assert_eq!((balance(&alice, &group, &alice.id), &stats(&alice, &group)["escrow_balance"]), (60, &json!(40)));
    bob.kill();
    offer(&alice, &["buy", &id, "--wait", "0s"]).refused(4, &["goes on by itself"]);
    assert_eq!(balance(&alice, &group, &alice.id), 60, "waited for, and not paid again");

    restart_ahead(&mut [&mut alice], DAY_MS);
    wait_until(PATIENCE, "the price is back", || balance(&alice, &group, &alice.id) == 100);
    let row = &purchases(&alice, &id)[0];
    assert_eq!(
        (&row["status"], &row["ending"], &row["next"]),
        (&json!("refunded"), &json!("not_granted"), &Value::Null)
    );
    assert_eq!(stats(&alice, &group)["escrow_balance"], 0);
    assert_eq!(alice.ctl(&["library", "list"]).done()["packages"], json!([]));
    // Back after all: it grants nothing any more.
    restart_ahead(&mut [&mut alice, &mut bob], DAY_MS);
    common::agree(&[&alice, &bob], &group);
    assert_eq!((balance(&bob, &group, &alice.id), balance(&bob, &group, &bob.id)), (100, 100));
}

#[test]
fn a_buyer_that_is_gone_costs_the_seller_nothing_but_time() {
    let (mut alice, mut bob, group) = market("silent");
    let id = create(&alice, &group, "40", &["--dispute-within", "15m"]);
    wait_for_offer(&bob, &id);
    bob.kill();
    bob.wrapper(&["env", "LBM_HOLD_AT=delivered"]);
    bob.restart();
    bob.meet(&alice);
    offer(&bob, &["buy", &id]).ok();
    wait_for_status(&alice, &id, "granted");
    bob.kill();
    assert_eq!(balance(&alice, &group, &alice.id), 0);
    wait_until(PATIENCE, "the grant is final", || {
        let row = &purchases(&alice, &id)[0];
        row["next"] == "settle" && row["next_ms"].is_u64()
    });
    restart_ahead(&mut [&mut alice], DAY_MS);
    wait_until(PATIENCE, "the seller is paid", || balance(&alice, &group, &alice.id) == 40);
    assert_eq!(purchases(&alice, &id)[0]["ending"], "unopposed");
    // What was granted is the buyer's, whenever it comes back.
    restart_ahead(&mut [&mut alice, &mut bob], DAY_MS);
    common::agree(&[&alice, &bob], &group);
    assert_eq!(bob.ctl(&["library", "show", &id]).text("text"), TEXT);
    assert_eq!(offer(&bob, &["buy", &id]).done()["already_owned"], true);
    assert_eq!(balance(&bob, &group, &bob.id), 60);
}

#[test]
fn a_viewer_buys() {
    let (alice, carol) = (Daemon::start("alice"), Daemon::start("carol"));
    let group = alice.found("viewers");
    alice.add(&group, &carol.id, "viewer");
    carol.meet(&alice);
    carol.ctl(&["group", "join", &group]).ok();
    mint(&alice, &group, &carol.id, "50");
    let id = create(&alice, &group, "50", &["--settle", "instant"]);
    wait_for_offer(&carol, &id);
    wait_until(PATIENCE, "carol has her tokens", || balance(&carol, &group, &carol.id) == 50);
    assert_eq!(carol.lbm(&["ctl", "offer", "buy", &id, "--print"]).ok().stdout, TEXT);
    wait_for_status(&alice, &id, "settled");
    create_refused(&carol, &group, &["is a viewer", "may not write"]);
}

#[track_caller]
fn create_refused(daemon: &Daemon, group: &str, words: &[&str]) {
    offer(daemon, &["create", "--group", group, "--title", "T", "--text", "x", "--price", "1"]).refused(1, words);
}

#[test]
fn who_only_has_an_account_buys_through_a_member() {
    let (alice, mut dora) = (Daemon::start("alice"), Daemon::start("dora"));
    let group = alice.found("open");
    let id = create(&alice, &group, "30", &["--tags", "net"]);
    dora.meet(&alice);
    wait_for_offer(&dora, &id);
    let shown = &offer(&dora, &["list", "--tag", "net"]).done()["offers"][0];
    assert_eq!(
        (&shown["source"], &shown["group"], &shown["sold"]),
        (&json!("announcement"), &json!("open"), &Value::Null)
    );
    offer(&dora, &["buy", &id]).refused(1, &["no account", "transfer tokens"]);
    mint(&alice, &group, &dora.id, "20");
    offer(&dora, &["buy", &id]).refused(1, &["has 20 tokens", "30"]);
    mint(&alice, &group, &dora.id, "80");

    assert_eq!(dora.lbm(&["ctl", "offer", "buy", &id, "--print"]).ok().stdout, TEXT);
    assert_eq!((balance(&alice, &group, &dora.id), &stats(&alice, &group)["escrow_balance"]), (70, &json!(30)));
    let row = &purchases(&dora, &id)[0];
    assert_eq!((&row["side"], &row["price"]), (&json!("buyer"), &json!(30)));
    // She cannot settle: the seller is paid when her time to dispute is over. She pays no second time.
    let again = offer(&dora, &["buy", &id, "--print"]).done();
    assert_eq!((&again["text"], &again["already_owned"]), (&json!(TEXT), &json!(true)));
    dora.kill();
    dora.restart();
    assert_eq!(dora.ctl(&["library", "show", &id]).text("text"), TEXT);
    assert_eq!(dora.ctl(&["group", "list"]).done()["groups"], json!([]), "she is a member of nothing");
    assert_eq!(balance(&alice, &group, &dora.id), 70);
}

#[test]
fn a_seller_is_found_by_its_announcement_alone() {
    // Dora has met Bob, who is in no group and has no package. Where Alice is, only her announcements say.
    let (mut alice, bob, dora) = (Daemon::start("alice"), Daemon::start("bob"), Daemon::start("dora"));
    let group = alice.found("far");
    let id = create(&alice, &group, "30", &["--tags", "net"]);
    mint(&alice, &group, &dora.id, "60");
    bob.meet(&alice);
    dora.meet(&bob);
    wait_for_offer(&dora, &id);
    let knows_alice = || {
        let peers = dora.ctl(&["peer", "list"]).done();
        peers["peers"].as_array().unwrap().iter().any(|peer| peer["peer_id"] == alice.id)
    };
    assert!(!knows_alice());
    assert_eq!(dora.lbm(&["ctl", "offer", "buy", &id, "--print"]).ok().stdout, TEXT);
    assert!(knows_alice());
    assert_eq!(balance(&alice, &group, &dora.id), 30);

    // She moves: the daemon listens on another port when it is started again, and says so.
    let second = create(&alice, &group, "30", &[]);
    wait_for_offer(&dora, &second);
    alice.kill();
    let before = dora.ctl(&["offer", "buy", &second, "--wait", "1s"]);
    before.refused(1, &[]);
    alice.restart();
    bob.meet(&alice);
    wait_until(PATIENCE, "she is found again", || {
        let again = dora.ctl(&["offer", "buy", &second, "--print", "--wait", "5s"]);
        again.code == Some(0) && again.text("text") == TEXT
    });
    assert_eq!((balance(&alice, &group, &dora.id), purchases(&dora, &second).len()), (0, 1));
}

/// Cuts the connection of two for good.
#[track_caller]
fn part(a: &Daemon, b: &Daemon) {
    let is_apart = |one: &Daemon, other: &Daemon| {
        let peers = one.ctl(&["peer", "list"]).done();
        !peers["peers"].as_array().unwrap().iter().any(|peer| peer["peer_id"] == other.id && peer["connected"] == true)
    };
    // One may call the other again before that one is told to forget it, too.
    wait_until(PATIENCE, "they are apart", || {
        for (one, other) in [(a, b), (b, a)] {
            one.ctl(&["peer", "remove", &other.id]);
        }
        is_apart(a, b) && is_apart(b, a)
    });
}

#[test]
fn of_one_buyers_same_money_at_two_sellers_in_a_partition_one_is_paid_and_the_other_has_granted_nothing() {
    let (alice, bob, group) = common::pair("split");
    let dora = Daemon::start("dora");
    mint(&alice, &group, &dora.id, "100");
    let (of_alice, of_bob) = (create(&alice, &group, "100", &[]), create(&bob, &group, "100", &[]));
    dora.meet(&alice);
    wait_for_offer(&dora, &of_alice);
    wait_for_offer(&dora, &of_bob);
    wait_until(PATIENCE, "bob knows of her tokens", || balance(&bob, &group, &dora.id) == 100);
    part(&alice, &bob);

    // On Alice's side, who seals.
    assert_eq!(offer(&dora, &["buy", &of_alice, "--print"]).text("text"), TEXT);
    assert_eq!(balance(&alice, &group, &dora.id), 0);
    part(&dora, &alice);
    // On Bob's, who knows nothing of it: the price is set aside there, and no seal says that it is hers.
    let second = offer(&dora, &["buy", &of_bob, "--wait", "3s"]);
    second.refused(4, &["goes on by itself"]);
    assert_eq!(second.json()["status"], "paid");
    assert_eq!((balance(&bob, &group, &dora.id), &stats(&bob, &group)["escrow_balance"]), (0, &json!(100)));
    assert_eq!(purchases(&bob, &of_bob)[0]["status"], "paid");

    bob.meet(&alice);
    common::agree(&[&alice, &bob], &group);
    let rejected = bob.ctl(&["rejected", "--group", &group]).done();
    let reason = rejected["rejected"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("the order has the number 0, and the next purchase of"), "{rejected}");
    for daemon in [&alice, &bob] {
        let totals = stats(daemon, &group);
        assert_eq!((&totals["total_supply"], &totals["escrow_balance"]), (&json!(100), &json!(100)));
        assert_eq!((balance(daemon, &group, &dora.id), balance(daemon, &group, &bob.id)), (0, 0));
    }
    assert_eq!(
        (purchases(&alice, &of_alice)[0]["status"].clone(), purchases(&bob, &of_bob)),
        (json!("granted"), vec![])
    );
    let library = dora.ctl(&["library", "list"]).done();
    let titles: Vec<_> = library["packages"].as_array().unwrap().iter().map(|row| row["offer_id"].clone()).collect();
    assert_eq!(titles, [json!(of_alice)], "the second key never left its seller");
}

#[test]
fn an_order_that_was_handed_over_is_one_purchase_whatever_is_killed() {
    let (mut alice, mut dora) = (Daemon::start("alice"), Daemon::start("dora"));
    let group = alice.found("handed");
    mint(&alice, &group, &dora.id, "100");
    let id = create(&alice, &group, "30", &[]);
    for (who, step) in [("dora", "paid"), ("alice", "seen"), ("alice", "granted")] {
        let id = if step == "paid" { id.clone() } else { create(&alice, &group, "30", &[]) };
        let held = if who == "dora" { &mut dora } else { &mut alice };
        held.kill();
        held.wrapper(&["env", &format!("LBM_HOLD_AT={step}")]);
        held.restart();
        let file = held.data.join("held");
        dora.meet(&alice);
        wait_for_offer(&dora, &id);
        let begun = dora.begin(&["offer", "buy", &id]);
        wait_until(PATIENCE, "it is held", || file.exists());
        for daemon in [&mut alice, &mut dora] {
            daemon.kill();
            daemon.wrapper(&[]);
            drop(std::fs::remove_file(daemon.data.join("held")));
            daemon.restart();
        }
        drop(begun);
        dora.meet(&alice);
        // It goes on by itself.
        wait_until(PATIENCE, &format!("{step}: the package is here"), || {
            dora.ctl(&["library", "show", &id]).code == Some(0)
        });
        assert_eq!(dora.ctl(&["library", "show", &id]).text("text"), TEXT, "{step}");
    }
    assert_eq!((balance(&alice, &group, &dora.id), &stats(&alice, &group)["escrow_balance"]), (10, &json!(90)));
}

#[test]
fn above_its_limit_a_node_waits_for_a_person() {
    let (alice, mut bob, group) = market("careful");
    let ids: Vec<String> = ["30", "30", "30", "0"].iter().map(|price| create(&alice, &group, price, &[])).collect();
    ids.iter().for_each(|id| wait_for_offer(&bob, id));
    let limit = |bob: &Daemon, args: &[&str]| offer(bob, &[&["limit", "--group", &group], args].concat()).done();
    assert_eq!(limit(&bob, &["--per-day", "50"])["per_day"], 50);
    offer(&bob, &["buy", &ids[0]]).ok();
    bob.kill();
    bob.restart();
    bob.meet(&alice);
    let shown = limit(&bob, &[]);
    assert_eq!((&shown["per_day"], &shown["spent"]), (&json!(50), &json!(30)));
    let waits = offer(&bob, &["buy", &ids[1]]);
    waits.refused(4, &["above the spending limit", "nothing was signed", "lbm ctl offer approve"]);
    let row = waits.json();
    assert_eq!(
        (&row["status"], &row["next"], &row["purchase_id"]),
        (&json!("waiting_for_approval"), &json!("approve"), &Value::Null)
    );
    offer(&bob, &["buy", &ids[1]]).refused(4, &["lbm ctl offer approve"]);
    assert_eq!((balance(&bob, &group, &bob.id), purchases(&bob, &ids[1]).len()), (70, 1));
    // What is given away needs nobody's word.
    offer(&bob, &["buy", &ids[3]]).ok();

    offer(&bob, &["approve", &ids[2]]).refused(1, &["no purchase", "waits for approval"]);
    assert_eq!(offer(&bob, &["approve", &ids[1][..10]]).done()["price"], 30);
    wait_for_status(&bob, &ids[1], "settled");
    assert_eq!((balance(&bob, &group, &bob.id), purchases(&bob, &ids[1]).len()), (40, 1));
    // It counts, and was for this one alone.
    assert_eq!(limit(&bob, &[])["spent"], 60);
    offer(&bob, &["buy", &ids[2]]).refused(4, &["above the spending limit"]);
    assert_eq!(limit(&bob, &["--off"])["per_day"], Value::Null);
    offer(&bob, &["buy", &ids[2]]).ok();
    wait_for_status(&bob, &ids[2], "settled");
    assert_eq!(balance(&bob, &group, &bob.id), 10);
}

#[test]
fn each_offer_that_cannot_be_bought_has_its_sentence() {
    let (alice, bob, group) = market("sentences");
    let [revoked, expired, dear, free, last] = [
        create(&alice, &group, "10", &[]),
        create(&alice, &group, "10", &["--expires", "1s"]),
        create(&alice, &group, "101", &[]),
        create(&alice, &group, "0", &[]),
        create(&alice, &group, "10", &[]),
    ];
    for id in [&revoked, &expired, &dear, &free, &last] {
        wait_for_offer(&bob, id);
    }
    offer(&bob, &["revoke", &revoked]).refused(1, &["is not yours to revoke", &alice.id]);
    offer(&alice, &["revoke", &revoked[..16]]).ok();
    wait_until(PATIENCE, "bob knows", || offer(&bob, &["show", &revoked]).done()["status"] == "revoked");
    offer(&bob, &["buy", &revoked]).refused(1, &["was revoked", "lbm ctl offer list"]);
    wait_until(PATIENCE, "it expires", || offer(&bob, &["show", &expired]).done()["status"] == "expired");
    offer(&bob, &["buy", &expired]).refused(1, &["has expired", "offer it again"]);
    offer(&bob, &["buy", &dear]).refused(1, &["has 100 tokens", "101"]);
    offer(&alice, &["buy", &dear]).refused(1, &["the buyer's own"]);
    let unknown = "ab".repeat(32);
    offer(&bob, &["buy", &unknown]).refused(1, &["no offer", "lbm ctl offer list", "lbm ctl market pull"]);
    offer(&bob, &["buy", "zz"]).refused(1, &["no offer `zz`"]);
    bob.ctl(&["library", "show", &last]).refused(1, &["not this node's to open", "lbm ctl offer buy"]);
    // Price 0 works.
    assert_eq!(offer(&bob, &["buy", &free, "--print"]).text("text"), TEXT);
    wait_for_status(&alice, &free, "settled");

    // Nobody has the package: nothing is paid.
    let package = offer(&alice, &["show", &last]).text("package_hash");
    std::fs::remove_file(alice.data.join("packages").join(&package)).unwrap();
    let missing = offer(&bob, &["buy", &last, "--wait", "2s"]);
    missing.refused(1, &["nothing was paid"]);
    assert_eq!(missing.json()["code"], "package_missing");
    assert_eq!((balance(&bob, &group, &bob.id), purchases(&bob, &last).len()), (100, 0));
    let list = offer(&bob, &["list"]).done();
    let standing: Vec<_> = list["offers"].as_array().unwrap().iter().map(|row| row["offer_id"].clone()).collect();
    assert_eq!(standing.len(), 3, "{list}");
    let mine = offer(&alice, &["list", "--mine"]).done();
    assert_eq!(mine["offers"].as_array().unwrap().len(), 5, "{mine}");
}

#[test]
fn a_seller_that_is_no_member_any_more_sells_nothing() {
    let (alice, bob, group) = market("removed");
    mint(&alice, &group, &alice.id, "10");
    let id = create(&bob, &group, "10", &[]);
    wait_for_offer(&alice, &id);
    alice.ctl(&["group", "remove-member", "--group", &group, "--member", &bob.id]).ok();
    offer(&alice, &["buy", &id]).refused(1, &[&bob.id, "no member any more", "could not deliver"]);
    assert_eq!(balance(&alice, &group, &alice.id), 10);
}

#[test]
fn a_node_that_is_asked_twice_at_once_pays_once() {
    let (alice, bob, group) = market("twice");
    let id = create(&alice, &group, "40", &[]);
    wait_for_offer(&bob, &id);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(|| offer(&bob, &["buy", &id, "--print"]))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.text("text"), TEXT);
    }
    assert_eq!((balance(&bob, &group, &bob.id), purchases(&bob, &id).len()), (60, 1));
}

#[test]
fn what_an_offer_earns_goes_to_all_who_have_a_part_in_it() {
    let (alice, bob, group) = market("parts");
    let first = create(&bob, &group, "5", &[]);
    wait_for_offer(&alice, &first);
    let (dora, eve) = (Daemon::prepared("dora"), Daemon::prepared("eve"));
    let (of_dora, of_eve) = (format!("{}=7000", dora.id), format!("{}=3000", eve.id));
    let royalty = format!("{}=1000", &first[..12]);
    let id = create(&alice, &group, "50", &["--split", &of_dora, "--split", &of_eve, "--royalty", &royalty]);
    wait_for_offer(&bob, &id);
    offer(&bob, &["buy", &id]).ok();
    wait_for_status(&bob, &id, "settled");
    // A tenth to the seller of the first, who is the buyer; then seven and three tenths of the rest.
    let have = [&bob, &dora, &eve, &alice].map(|one| balance(&bob, &group, &one.id));
    assert_eq!(have, [55, 31, 13, 1]);
    let wrong = format!("{}=7000", dora.id);
    let create = ["create", "--group", &group, "--title", "T", "--text", "x", "--price", "1", "--split", &wrong];
    offer(&alice, &create).refused(1, &["`splits` is 7000"]);
    offer(&alice, &["create", "--group", &group, "--title", "T", "--text", "x", "--price", "1", "--split", "me=1"])
        .refused(2, &[]);
}

#[test]
fn others_who_bought_it_serve_a_package_and_a_file_comes_back_to_the_byte() {
    let (alice, bob, group) = market("served");
    let carol = Daemon::start("carol");
    alice.add(&group, &carol.id, "member");
    carol.meet(&bob);
    carol.ctl(&["group", "join", &group]).ok();
    mint(&alice, &group, &carol.id, "100");
    let content: Vec<u8> = (0..300_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let file = alice.data.join("content");
    std::fs::write(&file, &content).unwrap();
    let id = create(&alice, &group, "10", &["--file", file.to_str().unwrap()]);
    wait_for_offer(&bob, &id);
    offer(&bob, &["buy", &id]).ok();
    // Alice's copy is gone; she still has the key.
    let package = offer(&alice, &["show", &id]).text("package_hash");
    std::fs::remove_file(alice.data.join("packages").join(&package)).unwrap();
    wait_for_offer(&carol, &id);
    wait_until(PATIENCE, "carol has her tokens", || balance(&carol, &group, &carol.id) == 100);
    let out = carol.data.join("out");
    carol.lbm(&["ctl", "offer", "buy", &id, "--out", out.to_str().unwrap()]).ok();
    assert_eq!(std::fs::read(&out).unwrap(), content);
    let told = carol.ctl(&["events"]).done()["events"].as_array().unwrap().clone();
    assert!(told.iter().any(|event| event["type"] == "offer_listed" && event["offer_id"] == id.as_str()), "{told:?}");
    wait_for_status(&carol, &id, "settled");
    wait_until(PATIENCE, "it is told", || {
        let told = carol.ctl(&["events"]).done()["events"].as_array().unwrap().clone();
        told.iter().any(|event| event["type"] == "purchase_changed" && event["status"] == "settled")
    });
}

/// The catalogue is gathered anew after a start; what it tells as new is what nobody here had.
#[test]
fn what_stood_before_a_start_is_no_news() {
    let (mut alice, bob, group) = market("old");
    let [old, of_bob] = [create(&alice, &group, "5", &[]), create(&bob, &group, "6", &[])];
    wait_for_offer(&bob, &old);
    wait_for_offer(&alice, &of_bob);
    let listed = |at: &Daemon| -> Vec<String> {
        let told = at.ctl(&["events"]).done()["events"].as_array().unwrap().clone();
        let listed = told.iter().filter(|event| event["type"] == "offer_listed");
        listed.map(|event| event["offer_id"].as_str().unwrap().to_owned()).collect()
    };
    let has = |at: &Daemon, offers: &[&String]| offers.iter().all(|offer| listed(at).contains(*offer));
    wait_until(PATIENCE, "both were news once", || has(&alice, &[&old, &of_bob]));
    alice.stop();
    alice.restart();
    alice.meet(&bob);
    alice.ctl(&["market", "pull"]).ok();
    let new = create(&bob, &group, "7", &[]);
    wait_until(PATIENCE, "the new one is told", || has(&alice, &[&new]));
    assert_eq!(listed(&alice), [new]);
}
