//! Memberships that end, and what becomes of what was written meanwhile, on real daemons.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::time::Instant;

use common::{Daemon, PATIENCE, agree, wait_until};

#[track_caller]
fn ticket(admin: &Daemon, group: &str) -> String {
    admin.ctl(&["group", "invite", "--group", group]).text("ticket")
}

#[track_caller]
fn join(node: &Daemon, ticket: &str) {
    assert_eq!(node.ctl(&["group", "join", ticket, "--timeout", "25s"]).done()["joined"], true);
}

/// Keeps a daemon's peers away from now on, and lets in whoever was kept away before.
#[track_caller]
fn keeps_away(daemon: &Daemon, others: &[&Daemon]) {
    let ids: Vec<String> = others.iter().map(|other| format!("{:?}", other.id)).collect();
    std::fs::write(daemon.data.join("config.toml"), format!("deny = [{}]\n", ids.join(", "))).unwrap();
    daemon.ctl(&["reload"]).ok();
}

/// What members say of a node's membership, as it shows it.
fn shut_out(at: &Daemon, group: &str) -> Option<String> {
    let shown = at.ctl(&["group", "show", group]).done();
    shown["shut_out"]["why"].as_str().map(str::to_owned)
}

#[track_caller]
fn writes_nothing(at: &Daemon, group: &str) {
    let answer = at.ctl(&["claim", "publish", "--group", group, "--text", "acknowledged and lost"]);
    assert_eq!(answer.json()["code"], "membership_refused", "{answer:#?}");
}

/// The words of what a node wrote and the group may not have, the last first.
fn stranded(at: &Daemon, group: &str) -> Vec<String> {
    let (mut words, mut from) = (Vec::new(), String::new());
    loop {
        let line = format!("stranded --limit 1 --group {group}{from}");
        let page = at.ctl(&line.split(' ').collect::<Vec<_>>()).done();
        let rows = page["stranded"].as_array().unwrap();
        words.extend(rows.iter().map(|row| row["claim"]["text"].as_str().unwrap_or_default().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { return words };
        assert_eq!(rows.len(), 1, "{page}");
        from = format!(" --cursor {cursor}");
    }
}

fn is_member(at: &Daemon, group: &str, member: &Daemon) -> bool {
    let members = at.ctl(&["group", "members", group]);
    if members.code != Some(0) {
        return false;
    }
    members.json()["members"].as_array().unwrap().iter().any(|one| one["member_id"] == member.id.as_str())
}

/// Alice's group, in which bob is a member, and of which carol meets nobody but bob; a ticket's last use is still to be had.
fn carol_behind_bob() -> (Daemon, Daemon, Daemon, String) {
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(Daemon::start);
    let group = alice.found("relayed");
    join(&bob, &ticket(&alice, &group));
    agree(&[&alice, &bob], &group);
    keeps_away(&carol, &[&alice]);
    (alice, bob, carol, group)
}

/// Nobody has to say it: the blocks that are here do.
#[test]
fn who_is_removed_in_its_own_blocks_is_not_well() {
    let [alice, bob] = ["alice", "bob"].map(Daemon::start);
    let group = alice.found("g");
    join(&bob, &ticket(&alice, &group));
    bob.ctl(&["agent", "create", "--name", "chief"]).ok();
    let chief = bob.ctl(&["agent", "show", "chief"]).text("member_id");
    alice.add(&group, &chief, "admin");
    wait_until(PATIENCE, "bob's agent is an admin", || {
        bob.ctl(&["group", "list", "--agent", "chief"]).done()["groups"][0]["role"] == "admin"
    });
    agree(&[&alice, &bob], &group);
    let outs = || bob.ctl(&["status"]).done()["shut_out_groups"].clone();
    let remove = |member: &str| {
        bob.ctl(&["group", "remove-member", "--group", &group, "--member", member, "--agent", "chief"]).ok();
    };
    remove(&bob.id);
    // Its agent is still one.
    assert_eq!((outs(), shut_out(&bob, &group)), (0.into(), None));
    remove(&chief);
    assert_eq!((outs(), shut_out(&bob, &group).as_deref()), (1.into(), Some("removed")));
    let health = bob.ctl(&["health"]);
    for words in ["no member any more, since an admin has removed it", "add-member", "group leave"] {
        assert!(health.code != Some(0) && health.stdout.contains(words), "{health:#?}");
    }
    let shown = bob.lbm(&["ctl", "group", "show", &group]).ok().stdout.clone();
    assert!(shown.contains("SHUT OUT") && shown.contains("(removed)"), "{shown}");
    alice.add(&group, &bob.id, "member");
    wait_until(PATIENCE, "bob is a member again", || shut_out(&bob, &group).is_none());
    assert_eq!(outs(), 0);
}

/// No pull is due for half an hour: it is told, or its next write is lost.
#[test]
fn who_is_removed_is_told_by_a_member_that_has_heard_of_it() {
    let (alice, bob, carol, group) = carol_behind_bob();
    alice.add(&group, &carol.id, "member");
    carol.meet(&bob);
    carol.ctl(&["group", "join", &group, "--timeout", "25s"]).ok();
    carol.publish(&group, "here");
    agree(&[&alice, &bob, &carol], &group);
    alice.ctl(&["group", "remove-member", "--group", &group, "--member", &carol.id]).ok();
    wait_until(PATIENCE, "bob tells carol", || shut_out(&carol, &group).as_deref() == Some("removed"));
    writes_nothing(&carol, &group);
    // All that it wrote was sealed before.
    assert_eq!(stranded(&carol, &group), Vec::<String>::new());
    assert_eq!(carol.ctl(&["status"]).done()["stranded_blocks"], 0);
}

#[test]
fn who_lost_the_race_for_a_ticket_is_told_by_the_member_that_it_stays_connected_to() {
    let (alice, bob, carol, group) = carol_behind_bob();
    let last = ticket(&alice, &group);
    agree(&[&alice, &bob], &group);
    keeps_away(&bob, &[&alice]);
    let dave = Daemon::start("dave");
    keeps_away(&dave, &[&bob, &carol]);
    dave.meet(&alice);
    join(&dave, &last);
    wait_until(PATIENCE, "dave's joining is sealed", || {
        let shown = dave.ctl(&["group", "show", &group]).done();
        shown["final_blocks"] == shown["blocks"] && shown["shut_out"].is_null()
    });
    carol.meet(&bob);
    join(&carol, &last);
    let written = carol.publish(&group, "a member, as far as I can see");
    wait_until(PATIENCE, "bob has it", || bob.claims(&group).contains(&written));
    assert_eq!(shut_out(&carol, &group), None);
    keeps_away(&bob, &[]);
    wait_until(PATIENCE, "bob learns who was first", || is_member(&bob, &group, &dave));
    wait_until(PATIENCE, "bob tells carol", || shut_out(&carol, &group).as_deref() == Some("ticket_used_up"));
    writes_nothing(&carol, &group);
    // What it was told is written does not vanish: it is counted, listed, and given back in the form that another group takes.
    assert_eq!(stranded(&carol, &group), ["a member, as far as I can see"]);
    assert_eq!(carol.ctl(&["status"]).done()["stranded_blocks"], 1);
    for seen in [carol.ctl(&["health"]), carol.ctl(&["doctor"])] {
        assert!(seen.stdout.contains("1 blocks of this node may be here alone"), "{seen:#?}");
    }
    assert_eq!(bob.ctl(&["status"]).done()["stranded_blocks"], 0);
    let lines = carol.ctl(&["stranded", "--group", &group, "--claims"]).ok().stdout.clone();
    let own = carol.found("own");
    let published = carol.ctl_with(&["claim", "publish", "--group", &own, "--file", "-"], lines.as_bytes()).done();
    assert_eq!(published["published"], 1);
    // Let in again, it has no more there than the others.
    join(&carol, &ticket(&alice, &group));
    wait_until(PATIENCE, "nothing is stranded any more", || stranded(&carol, &group).is_empty());
    agree(&[&alice, &bob, &dave, &carol], &group);
    // The ledger refuses what it wrote as no member: that is not here as a claim, and is given back all the same.
    assert_eq!(carol.claims(&group), Vec::<String>::new());
    let refused = carol.ctl(&["stranded", "--refused", "--group", &group]).done();
    assert_eq!(refused["stranded"][0]["claim"]["text"], "a member, as far as I can see", "{refused}");
    assert_eq!((refused["stranded"].as_array().unwrap().len(), &refused["next_cursor"]), (1, &serde_json::Value::Null));
    let lines = carol.ctl(&["stranded", "--refused", "--group", &group, "--claims"]).ok().stdout.clone();
    let published = carol.ctl_with(&["claim", "publish", "--group", &group, "--file", "-"], lines.as_bytes()).done();
    assert_eq!((&published["published"], carol.claims(&group).len()), (&1.into(), 1));
    // Nobody is given back what is another's.
    assert_eq!(alice.ctl(&["stranded", "--refused", "--group", &group]).done()["stranded"], serde_json::json!([]));
    agree(&[&alice, &bob, &dave, &carol], &group);
}

/// Each member that meets the bearer of a ticket could write its joining, and all but one would be refused.
#[test]
fn one_joining_is_one_block_however_many_members_are_met() {
    let [alice, bob, carol, dave] = ["alice", "bob", "carol", "dave"].map(Daemon::start);
    let group = alice.found("quiet");
    for member in [&bob, &carol] {
        join(member, &ticket(&alice, &group));
        agree(&[&alice, member], &group);
    }
    for member in [&alice, &bob, &carol] {
        dave.ctl(&["peer", "add", "--addr", &member.address()]).ok();
    }
    dave.wait_for_peers(3);
    let (before, _) = alice.settled(&group);
    let made = ticket(&alice, &group);
    agree(&[&alice, &bob, &carol], &group);
    join(&dave, &made);
    agree(&[&alice, &bob, &carol, &dave], &group);
    assert_eq!(alice.ctl(&["rejected", "--group", &group]).done()["rejected"], serde_json::json!([]));
    // The ticket, the joining, and what seals them.
    let seals = alice.ctl(&["group", "show", &group]).done()["epoch"].as_u64().unwrap();
    assert!(alice.blocks(&group).0 <= before + 2 + seals, "{} blocks after {before}", alice.blocks(&group).0);
}

#[test]
fn a_denial_is_told_whenever_it_is_asked_for_and_what_to_do_about_it() {
    let (alice, mut bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let carol = Daemon::start("carol");
    let group = alice.found("denied");
    alice.add(&group, &carol.id, "member");
    carol.meet(&alice);
    carol.ctl(&["group", "join", &group, "--timeout", "25s"]).ok();
    bob.meet(&alice);
    let bob_id = bob.id.clone();
    let words = [&alice.id, "has denied the request", "ago", "add-member", &bob_id, "group leave"];
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| bob.ctl(&["group", "join", &group, "--timeout", "60s"]));
        let asks = || alice.ctl(&["group", "requests"]).done()["requests"].as_array().unwrap().len();
        wait_until(PATIENCE, "alice sees the request", || asks() == 1);
        // Only admins see who asks, and whoever is none is told so.
        let seen = carol.lbm(&["ctl", "group", "requests"]);
        assert!(seen.ok().stdout.contains("Only a group's admins see"), "{seen:#?}");
        let empty = carol.ctl(&["group", "requests"]).done();
        assert_eq!((&empty["requests"], &empty["admin_of"]), (&serde_json::json!([]), &0.into()));
        alice.ctl(&["group", "deny", &group, &bob.id]).ok();
        // Who follows it is told at once.
        asked.join().unwrap().refused(1, &words);
    });
    // And so is who asks again, over a restart and with nobody there.
    for line in [&["--timeout", "60s"][..], &["--no-wait"]] {
        bob.ctl(&[&["group", "join", &group], line].concat()).refused(1, &words);
    }
    bob.stop();
    bob.restart();
    bob.ctl(&["group", "join", &group]).refused(1, &words);
    for verb in ["approve", "deny"] {
        alice.ctl(&["group", verb, &group, &bob.id]).refused(1, &["was denied", "ago", "add-member", &bob.id]);
    }
    alice.add(&group, &bob.id, "member");
    bob.meet(&alice);
    wait_until(PATIENCE, "bob is in", || is_member(&bob, &group, &bob));
    agree(&[&alice, &bob], &group);
}

#[test]
fn who_was_removed_is_told_to_be_added_and_its_agent_can_leave() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("removed");
    join(&bob, &ticket(&alice, &group));
    let made = bob.ctl(&["agent", "create", "--name", "scout"]).done();
    let scout = made["member_id"].as_str().unwrap().to_owned();
    alice.add(&group, &scout, "member");
    wait_until(PATIENCE, "the agent is in", || {
        bob.claims(&group).is_empty() && {
            let shown = bob.ctl(&["group", "show", &group, "--agent", "scout"]);
            shown.code == Some(0) && shown.json()["role"] == "member"
        }
    });
    agree(&[&alice, &bob], &group);
    // Behind its back: it keeps alice away while she removes both, so that no block tells it.
    keeps_away(&bob, &[&alice]);
    for member in [&bob.id, &scout] {
        alice.ctl(&["group", "remove-member", "--group", &group, "--member", member]).ok();
    }
    keeps_away(&bob, &[]);
    wait_until(PATIENCE, "bob is told", || shut_out(&bob, &group).as_deref() == Some("removed"));
    let by_name = ["no ticket lets it in again", "add-member"];
    bob.ctl(&["claim", "publish", "--group", &group, "--text", "x"]).refused(1, &by_name);
    let health = bob.ctl(&["health"]).stdout;
    assert!(by_name.iter().all(|words| health.contains(words)) && !health.contains("new ticket"), "{health}");
    let shown = bob.lbm(&["ctl", "group", "show", &group]).ok().stdout.clone();
    assert!(shown.contains("SHUT OUT") && shown.contains("add-member"), "{shown}");
    // The words are true: no ticket, but an admin by name.
    bob.ctl(&["group", "join", &ticket(&alice, &group), "--timeout", "25s"])
        .refused(1, &["removed before", "add-member"]);
    bob.ctl(&["group", "leave", &group, "--agent", "scout"]).ok();
    let left = bob.ctl(&["group", "list", "--agent", "scout"]).done();
    assert_eq!(left["groups"], serde_json::json!([]));
    alice.add(&group, &bob.id, "member");
    wait_until(PATIENCE, "bob is served", || shut_out(&bob, &group).is_none());
    bob.publish(&group, "here again");
    agree(&[&alice, &bob], &group);
}

/// The figure is printed (`--nocapture`): what it may be on a quiet machine is for a bench of the release to say.
#[test]
fn a_group_of_a_thousand_claims_is_usable_by_a_pasted_ticket() {
    let (alice, bob) = (Daemon::start("alice"), Daemon::start("bob"));
    let group = alice.found("thousand");
    let lines: String =
        (0..1_000).map(|n| format!("{{\"text\":\"Finding {n}: the relay number {n} is late\"}}\n")).collect();
    alice.ctl_with(&["claim", "publish", "--group", &group, "--file", "-"], lines.as_bytes()).ok();
    let pasted = ticket(&alice, &group);
    let began = Instant::now();
    let joined = bob.ctl(&["group", "join", &pasted, "--timeout", "60s"]).done();
    let answer = bob.ctl(&["context", "relay number 777", "--group", &group]).done();
    let took = began.elapsed();
    assert_eq!((&joined["joined"], &joined["claims"]), (&true.into(), &1_000.into()));
    assert!(answer["context"].as_str().unwrap().contains("Finding 777"), "{answer}");
    println!(
        "ticket pasted to a context of 1,000 claims: {} ms, of which joining {} ms",
        took.as_millis(),
        joined["elapsed_ms"]
    );
    // Each list ends as a line.
    let listed = alice.lbm(&["ctl", "group", "invites", "--group", &group]).ok().stdout.clone();
    assert!(listed.ends_with('\n') && !listed.ends_with("\n\n") && listed.lines().count() == 2, "{listed:?}");
}
