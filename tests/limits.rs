//! Limits that stop who asks too much and never who lacks something; who may connect; and how each group is synced.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::time::Duration;

use common::{Daemon, PATIENCE, agree, wait_until};

/// A daemon with these lines as its settings.
fn with_settings(name: &str, settings: &str) -> Daemon {
    let mut daemon = Daemon::prepared(name);
    std::fs::write(daemon.data.join("config.toml"), settings).unwrap();
    daemon.restart();
    daemon
}

/// Joins and waits for so many claims.
#[track_caller]
fn joins(daemon: &Daemon, group: &str, claims: u64) -> Duration {
    daemon.ctl(&["group", "join", group]).ok();
    wait_until(Duration::from_secs(60), "all claims are there", || {
        daemon.ctl(&["group", "stats", group]).json()["claims"] == claims
    })
}

#[test]
fn ten_requests_a_minute_cut_no_first_sync_short() {
    let (alice, bob) =
        (with_settings("alice", "p2p_max_req_per_min = 10"), with_settings("bob", "p2p_max_req_per_min = 10"));
    let group = alice.found("large");
    let long = "words ".repeat(200);
    for part in 0..10 {
        let bulk: String = (0..1_000).map(|n| format!("{{\"text\":\"{part} {n} {long}\"}}\n")).collect();
        alice.ctl_with(&["claim", "publish", "--group", &group, "--file", "-"], bulk.as_bytes()).ok();
    }
    alice.add(&group, &bob.id, "member");
    bob.meet(&alice);
    // 12 MB and more: the requests that this takes are a member's questions, and they are free.
    let took = joins(&bob, &group, 10_000);
    assert!(took < Duration::from_secs(50), "ten a minute were counted: {took:?}");
    // What it tells is not, and is waited for.
    let told: Vec<String> = (0..30).map(|n| bob.publish(&group, &format!("told {n}"))).collect();
    wait_until(Duration::from_secs(60), "alice has what bob has told", || {
        let here = alice.ctl(&["group", "stats", &group]).done();
        here["claims"] == 10_000 + told.len()
    });
    agree(&[&alice, &bob], &group);
    assert_eq!(alice.ctl(&["peer", "bans"]).done()["bans"].as_array().unwrap().len(), 0);
}

#[test]
fn a_stranger_that_is_told_to_wait_waits_and_gets_what_it_asked_for() {
    let alice = with_settings("alice", "p2p_max_req_per_min = 20");
    let dora = Daemon::start("dora");
    let group = alice.found("shop");
    alice.ctl(&["token", "mint", "--group", &group, "--to", &dora.id, "--amount", "100"]).ok();
    let package = alice.data.with_file_name("package");
    // Four requests for its parts, and as many about accounts and orders as it takes.
    let content: Vec<u8> = (0..4_000_000_u32).map(|n| b'a' + (n % 23) as u8).collect();
    std::fs::write(&package, &content).unwrap();
    let create = ["offer", "create", "--group", &group, "--title", "Long", "--price", "5", "--file"];
    let offer = alice.ctl(&[&create[..], &[package.to_str().unwrap()]].concat()).text("offer_id");
    dora.meet(&alice);
    wait_until(PATIENCE, "the offer is known", || dora.ctl(&["offer", "show", &offer]).code == Some(0));
    // Until nothing is left of the allowance.
    for _ in 0..20 {
        dora.ctl(&["market", "pull"]).ok();
    }
    let bought = dora.data.with_file_name("bought");
    let buy = || dora.ctl(&["offer", "buy", &offer, "--out", bought.to_str().unwrap()]).code == Some(0);
    wait_until(Duration::from_secs(120), "it is bought", buy);
    assert_eq!(std::fs::read(&bought).unwrap(), content);
    assert_eq!(alice.ctl(&["peer", "bans"]).done()["bans"].as_array().unwrap().len(), 0);
}

#[test]
fn who_is_denied_or_not_allowed_does_not_connect() {
    let bob = Daemon::start("bob");
    for (settings, connects) in [
        (format!("deny = [\"{}\"]", bob.id), false),
        ("deny = [\"127.0.0.0/8\"]".to_owned(), false),
        ("deny = [\"::ffff:127.0.0.1\"]".to_owned(), false),
        ("allow = [\"192.0.2.0/24\"]".to_owned(), false),
        (format!("allow = [\"{}\"]", bob.id), true),
        (format!("allow = [\"127.0.0.1\"]\ndeny = [\"{}\"]", bob.id), false),
        ("allow = [\"127.0.0.1\"]".to_owned(), true),
    ] {
        let alice = with_settings("alice", &settings);
        let peers = || alice.ctl(&["status"]).done()["peers"].as_u64().unwrap();
        bob.ctl(&["peer", "add", "--addr", &alice.address()]).ok();
        if connects {
            wait_until(PATIENCE, &settings, || peers() == 1);
        } else {
            // Called once at least, and turned away.
            let is_turned_away = || {
                let said = bob.ctl(&["peer", "list"]).done();
                let row = said["peers"].as_array().unwrap().iter().find(|row| row["peer_id"] == alice.id.as_str());
                row.is_some_and(|row| row["connected"] == false)
            };
            std::thread::sleep(Duration::from_millis(1_000));
            assert!(is_turned_away() && peers() == 0, "{settings}");
        }
    }
    let mut wrong = Daemon::prepared("wrong");
    std::fs::write(wrong.data.join("config.toml"), "deny = [\"10.0.0.0/33\"]").unwrap();
    let refused = wrong.fails_to_start();
    assert!(refused.stderr.contains("10.0.0.0/33") && refused.stderr.contains("192.168.1.0/24"), "{refused:?}");
    wrong.args(&[]);
}

/// What the list says of the one group.
fn subscription(daemon: &Daemon) -> serde_json::Value {
    daemon.ctl(&["subscription", "list"]).done()["subscriptions"][0].clone()
}

#[test]
fn a_paused_group_takes_nothing_in_gives_everything_and_catches_up() {
    let (alice, mut bob, group) = common::pair("paused");
    let first = alice.publish(&group, "first");
    bob.wait_for_claims(&group, &[&first]);
    assert_eq!(
        (&subscription(&bob)["mode"], &subscription(&bob)["interval_s"]),
        (&"live".into(), &lbm::limits::SYNC_INTERVAL_S.into())
    );
    assert!(subscription(&bob)["last_sync_ms"].as_u64().unwrap() > 0);
    bob.ctl(&["subscription", "set", "--group", &group, "--pause", "--interval", "7s"]).ok();
    let pushed = alice.publish(&group, "while bob is paused");
    // What is written here goes out all the same, and whoever asks is answered.
    let own = bob.publish(&group, "bob goes on writing");
    alice.wait_for_claims(&group, &[&own]);
    alice.ctl(&["sync", "--group", &group]).ok();
    assert!(!bob.claims(&group).contains(&pushed), "a paused group took a push");
    // It stays paused over a restart, and a new connection pulls nothing.
    bob.kill();
    bob.restart();
    bob.meet(&alice);
    let state = subscription(&bob);
    assert_eq!((&state["mode"], &state["interval_s"]), (&"paused".into(), &7.into()), "{state}");
    assert!(!bob.claims(&group).contains(&pushed), "a paused group was pulled");
    // Somebody asks: once, with whom it is said.
    let report = bob.ctl(&["sync", "--group", &group, "--peer", &alice.id]).done();
    let peer = &report["groups"][0]["peers"][0];
    assert_eq!((&peer["peer_id"], &peer["answered"]), (&alice.id.as_str().into(), &true.into()), "{report}");
    assert!(peer["blocks_received"].as_u64().unwrap() >= 1, "{report}");
    bob.wait_for_claims(&group, &[&pushed]);
    let later = alice.publish(&group, "still paused");
    bob.ctl(&["subscription", "set", "--group", &group, "--resume"]).ok();
    let took = bob.wait_for_claims(&group, &[&later]);
    assert!(took < PATIENCE, "it is pulled at once, not after {took:?}");
    agree(&[&alice, &bob], &group);
}

#[test]
fn only_chosen_peers_are_asked() {
    let (alice, bob, group) = common::pair("chosen");
    let carol = Daemon::start("carol");
    alice.add(&group, &carol.id, "member");
    carol.ctl(&["peer", "add", "--addr", &alice.address(), "--alias", "alice"]).ok();
    carol.ctl(&["group", "join", &group]).ok();
    carol.meet(&bob);
    carol.wait_for_peers(2);
    let chosen = carol.ctl(&["subscription", "add", "--group", &group, "--peer", "alice"]).done();
    assert_eq!(chosen["peers"], serde_json::json!([alice.id]));
    let claim = alice.publish(&group, "for all");
    carol.wait_for_claims(&group, &[&claim]);
    bob.wait_for_claims(&group, &[&claim]);
    let report = carol.ctl(&["sync", "--group", &group, "--peer", &bob.id]).done();
    assert_eq!(report["groups"][0]["peers"][0]["peer_id"], bob.id.as_str(), "who is named is asked all the same");
    let refused = carol.ctl(&["subscription", "add", "--group", &group, "--peer", "nobody"]);
    refused.refused(1, &["nobody"]);
    let all = carol.ctl(&["subscription", "remove", "--group", &group]).done();
    assert_eq!((&all["peers"], &all["interval_s"]), (&serde_json::json!([]), &lbm::limits::SYNC_INTERVAL_S.into()));
}

#[test]
fn whoever_would_never_be_called_asked_or_waited_for_is_refused_with_the_reason() {
    let (alice, bob, group) = common::pair("refused");
    let nobody = lbm::identity::SecretKey::from_seed(&[200; 32]).identity().to_string();
    // Who is denied, and by which entry.
    let closed = with_settings("closed", &format!("deny = [\"10.0.0.0/8\", \"{}\"]", alice.id));
    closed.ctl(&["peer", "add", "--addr", &alice.address()]).refused(1, &["deny", &alice.id, "lbm config"]);
    let far = format!("/ip4/10.1.2.3/tcp/7337/p2p/{}", bob.id);
    closed.ctl(&["peer", "add", "--addr", &far]).refused(1, &["deny", "10.0.0.0/8"]);
    closed.ctl(&["peer", "add", "--addr", &bob.address()]).ok();
    let only = with_settings("only", "allow = [\"192.0.2.0/24\"]");
    only.ctl(&["peer", "add", "--addr", &bob.address()]).refused(1, &["allow"]);
    // Who is nobody.
    for what in ["unban", "remove"] {
        alice.ctl(&["peer", what, ""]).refused(2, &["value is required", "PEER"]);
    }
    alice.ctl(&["sync", "--peer", ""]).refused(1, &["peer", "empty"]);
    alice.ctl(&["sync", "--peer", &nobody]).refused(1, &[&nobody, "peer list"]);
    alice.ctl(&["sync", "--group", &group, "--peer", &nobody]).refused(1, &[&nobody, "peer list"]);
    let subscribe = |what: &str, more: &[&str]| alice.ctl(&[&["subscription", what, "--group", &group], more].concat());
    subscribe("add", &["--peer", &nobody]).refused(1, &[&nobody, "peer add"]);
    assert_eq!(subscription(&alice)["peers"], serde_json::json!([]));
    subscribe("add", &["--peer", &bob.id]).ok();
    for span in ["1ms", "1500ms", "0s"] {
        subscribe("set", &["--interval", span]).refused(2, &["whole seconds"]);
    }
    assert_eq!(subscription(&alice)["interval_s"], lbm::limits::SYNC_INTERVAL_S);
    // One that is known and away, and one that is here and in no group of this node.
    closed.wait_for_peers(1);
    bob.ctl(&["sync", "--peer", &closed.id]).refused(1, &[&closed.id]);
    let mut closed = closed;
    closed.kill();
    wait_until(PATIENCE, "it is away", || bob.ctl(&["sync", "--peer", &closed.id]).stderr.contains("peer list"));
    // What nobody could wait for.
    for line in ["status", "peer list", "group list", "sync", "presence list"] {
        let args: Vec<&str> = line.split(' ').chain(["--wait-final"]).collect();
        let of_group = [&args[..], &["--group", &group]].concat();
        alice.ctl(if line == "presence list" { &of_group } else { &args }).refused(2, &["--wait-final"]);
    }
    alice.ctl(&["group", "policy", "--group", &group, "--wait-final"]).refused(2, &["--wait-final"]);
    alice.ctl(&["claim", "publish", "--group", &group, "--text", "waited for", "--wait-final"]).ok();
}

#[test]
fn silent_connections_to_the_socket_make_it_full_and_say_so() {
    let alice = Daemon::start("alice");
    let socket = alice.data.join("lbm.sock");
    let silent: Vec<_> = (0..700).map_while(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    assert!(silent.len() >= 300, "{} connections", silent.len());
    for _ in 0..10 {
        let answer = alice.ctl(&["status"]);
        assert!(answer.code == Some(0) || answer.stderr.contains("full"), "{answer:?}");
    }
    // Whoever says nothing makes room for who does.
    wait_until(PATIENCE, "it is served", || alice.ctl(&["status"]).code == Some(0));
    drop(silent);
}
