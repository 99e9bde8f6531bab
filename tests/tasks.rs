//! Tasks on real daemons: handed over, raced for, taken over, paid once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use common::{Answer, Daemon, PATIENCE, keys, wait_until};
use serde_json::{Value, json};

/// The keys of one task in a list, sorted.
const TASK_KEYS: [&str; 14] = [
    "assignee",
    "attempt",
    "changed_ms",
    "created_ms",
    "creator",
    "due_ms",
    "final",
    "lease_until_ms",
    "priority",
    "ready",
    "reward",
    "status",
    "task_id",
    "title",
];

/// Runs `lbm ctl task` in a group.
#[track_caller]
fn task(daemon: &Daemon, group: &str, args: &[&str]) -> Answer {
    daemon.ctl(&[&["task"], args, &["--group", group]].concat())
}

#[track_caller]
fn show(daemon: &Daemon, group: &str, id: &str) -> Value {
    let answer = task(daemon, group, &["show", id]);
    if answer.code == Some(0) { answer.json() } else { Value::Null }
}

/// Waits until a task stands so on a node.
#[track_caller]
fn wait_for(daemon: &Daemon, group: &str, id: &str, wanted: &[(&str, Value)]) {
    wait_until(PATIENCE, &format!("{}: {id} has {wanted:?}", daemon.name), || {
        let shown = show(daemon, group, id);
        wanted.iter().all(|(key, value)| shown[key] == *value)
    });
}

#[track_caller]
fn ready(daemon: &Daemon, group: &str) -> Vec<String> {
    let list = task(daemon, group, &["ready"]).done();
    list["tasks"].as_array().unwrap().iter().map(|row| row["task_id"].as_str().unwrap().to_owned()).collect()
}

#[track_caller]
fn balance(daemon: &Daemon, group: &str, account: &str) -> u64 {
    let answer = daemon.ctl(&["token", "balance", "--group", group, "--account", account]).done();
    answer["balance"].as_u64().unwrap()
}

fn events(daemon: &Daemon, kind: &str) -> Vec<Value> {
    let events = daemon.ctl(&["events"]).done()["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == kind).collect()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story, told in its sequence")]
fn two_members_hand_each_other_work_and_are_paid_once() {
    let (alice, bob, group) = common::pair("work");
    alice.ctl(&["token", "mint", "--group", &group, "--to", &bob.id, "--amount", "100"]).ok();

    // An admin's reward is made on completion; the second task waits for the first.
    let create =
        ["create", "--task", "parse", "--title", "Parse the logs", "--description", "All of them", "--reward", "50"];
    let made = task(&alice, &group, &[&create[..], &["--due", "2h", "--priority", "5"]].concat()).done();
    assert_eq!(keys(&made), ["assignee", "attempt", "block_id", "lease_until_ms", "status", "task_id"]);
    assert_eq!((&made["task_id"], &made["status"], &made["attempt"]), (&json!("parse"), &json!("pending"), &json!(0)));
    task(&alice, &group, &["create", "--task", "report", "--title", "Write it up", "--depends-on", "parse"]).ok();
    wait_for(&bob, &group, "report", &[("status", json!("pending"))]);
    assert_eq!(ready(&bob, &group), ["parse"]);
    let waits = show(&bob, &group, "report");
    assert_eq!(
        (&waits["ready"], &waits["blocked_by"]),
        (&json!(false), &json!([{"task_id": "parse", "status": "pending"}]))
    );
    task(&bob, &group, &["claim", "report"]).refused(1, &["waits for 1", "lbm ctl task show"]);

    let claimed = task(&bob, &group, &["claim", "parse", "--lease", "10m", "--wait-final"]).done();
    assert_eq!(claimed["final"], true, "{claimed}");
    assert_eq!(
        (&claimed["status"], &claimed["assignee"], &claimed["attempt"]),
        (&json!("assigned"), &json!(bob.id), &json!(1))
    );
    task(&bob, &group, &["complete", "parse"]).refused(1, &["lbm ctl task start"]);
    assert_eq!(task(&bob, &group, &["start", "parse"]).done()["status"], "in_progress");
    let result = bob.publish(&group, "The logs say that the cache was cold");
    task(&bob, &group, &["complete", "parse", "--attempt", "1", "--claim", &result[..12]]).ok();
    wait_for(&alice, &group, "parse", &[("status", json!("completed")), ("claim_hash", json!(result))]);
    assert_eq!(balance(&alice, &group, &bob.id), 150);
    wait_until(PATIENCE, "what waited is ready", || ready(&alice, &group) == ["report"]);
    let shown = show(&alice, &group, "parse");
    for key in TASK_KEYS {
        assert!(shown.as_object().unwrap().contains_key(key), "{key}: {shown}");
    }
    assert_eq!(
        (&shown["reward"], &shown["sponsor"], &shown["assignee"]),
        (&json!(50), &json!(alice.id), &json!(bob.id))
    );

    // A member's is set aside, and comes back where the task is cancelled.
    task(&bob, &group, &["create", "--task", "review", "--title", "Read it", "--reward", "30"]).ok();
    task(&bob, &group, &["create", "--task", "other", "--title", "Not needed", "--reward", "70"]).ok();
    assert_eq!(balance(&bob, &group, &bob.id), 50);
    let poor = ["create", "--task", "dear", "--title", "Too dear", "--reward", "51"];
    task(&bob, &group, &poor).refused(1, &["50 tokens"]);
    task(&bob, &group, &["cancel", "other"]).ok();
    assert_eq!(balance(&bob, &group, &bob.id), 120);
    wait_for(&alice, &group, "other", &[("status", json!("cancelled"))]);
    for step in ["claim", "start", "complete"] {
        task(&alice, &group, &[step, "review"]).ok();
    }
    task(&alice, &group, &["complete", "review"]).refused(1, &["completed", "create another"]);
    assert_eq!((balance(&alice, &group, &alice.id), balance(&alice, &group, &bob.id)), (30, 120));
    wait_for(&bob, &group, "review", &[("status", json!("completed"))]);

    // Given, given up, and listed.
    task(&alice, &group, &["assign", "report", "--assignee", &bob.id]).ok();
    wait_for(&bob, &group, "report", &[("assignee", json!(bob.id))]);
    let mine = task(&bob, &group, &["list", "--mine", "--status", "assigned"]).done();
    assert_eq!((mine["tasks"].as_array().unwrap().len(), &mine["tasks"][0]["task_id"]), (1, &json!("report")));
    task(&bob, &group, &["fail", "report", "--error", "no model of mine reads that"]).ok();
    wait_for(
        &alice,
        &group,
        "report",
        &[("status", json!("failed")), ("error_message", json!("no model of mine reads that"))],
    );
    let told = events(&alice, "task_changed");
    assert_eq!(told.last().unwrap()["status"], "failed");
    assert_eq!(keys(&told[0]), ["assignee", "at_ms", "attempt", "group_id", "seq", "status", "task_id", "type"]);
    assert_eq!(alice.verified(&group), bob.verified(&group));
}

#[test]
fn a_lease_that_is_over_lets_another_take_the_task_and_fences_the_first() {
    let (alice, bob, group) = common::pair("leases");
    task(&alice, &group, &["create", "--task", "t", "--title", "T"]).ok();
    wait_for(&bob, &group, "t", &[("ready", json!(true))]);
    task(&bob, &group, &["claim", "t", "--lease", "1s"]).ok();
    task(&bob, &group, &["start", "t", "--lease", "1s"]).ok();
    wait_for(&alice, &group, "t", &[("status", json!("in_progress"))]);
    // Bob is silent; when his lease is over, the task is listed and taken.
    wait_until(PATIENCE, "the lease is over", || ready(&alice, &group) == ["t"]);
    assert_eq!(task(&alice, &group, &["claim", "t"]).done()["attempt"], 2);
    wait_for(&bob, &group, "t", &[("assignee", json!(alice.id))]);
    let late = task(&bob, &group, &["complete", "t", "--attempt", "1"]);
    late.refused(1, &[&alice.id, "not lost", "claim publish"]);
    assert_eq!(late.json()["code"], "task_taken_over");
    task(&bob, &group, &["complete", "t"]).refused(1, &[&alice.id]);
    for step in ["start", "complete"] {
        task(&alice, &group, &[step, "t"]).ok();
    }
}

#[test]
fn of_two_who_claim_at_once_one_wins_on_every_node_and_the_other_is_told() {
    let alice = Daemon::start("alice");
    let others = [Daemon::start("bob"), Daemon::start("carol")];
    let group = alice.found("race");
    for other in &others {
        alice.add(&group, &other.id, "member");
        other.meet(&alice);
        other.ctl(&["group", "join", &group]).ok();
    }
    task(&alice, &group, &["create", "--task", "t", "--title", "T"]).ok();
    others.iter().for_each(|other| wait_for(other, &group, "t", &[("ready", json!(true))]));
    // Apart, each takes it for its own.
    let all = [&alice, &others[0], &others[1]];
    for one in all {
        for other in all.iter().filter(|other| other.id != one.id) {
            one.ctl(&["peer", "remove", &other.id]);
        }
    }
    wait_until(PATIENCE, "they are apart", || all.iter().all(|one| one.ctl(&["status"]).done()["peers"] == 0));
    for other in &others {
        assert_eq!(task(other, &group, &["claim", "t"]).done()["status"], "assigned");
    }
    others.iter().for_each(|other| other.meet(&alice));
    wait_until(PATIENCE, "all have the same blocks", || {
        all.iter().all(|one| one.blocks(&group) == alice.blocks(&group)) && alice.blocks(&group).0 >= 6
    });
    let winner = show(&alice, &group, "t")["assignee"].clone();
    let loser = others.iter().find(|other| winner != other.id.as_str()).unwrap();
    for one in all {
        let shown = show(one, &group, "t");
        assert_eq!((&shown["assignee"], &shown["attempt"]), (&winner, &json!(1)), "{}", one.name);
        assert_eq!(one.verified(&group), alice.verified(&group));
        let rejected = one.ctl(&["rejected"]).done();
        let row = &rejected["rejected"][0];
        assert_eq!(rejected["rejected"].as_array().unwrap().len(), 1, "{rejected}");
        assert_eq!((&row["what"], &row["code"]), (&json!("claimed the task t"), &json!("task_taken")));
        assert_eq!(row["author"], loser.id.as_str());
    }
    wait_until(PATIENCE, "the loser is told", || events(loser, "block_rejected").len() == 1);
    let told = &events(loser, "block_rejected")[0];
    assert!(told["reason"].as_str().unwrap().contains(winner.as_str().unwrap()), "{told}");
    let people = loser.lbm(&["ctl", "rejected"]).ok().stdout.clone();
    assert!(people.contains("claimed the task t") && people.contains("lbm ctl task ready"), "{people}");
    wait_until(PATIENCE, "and how the task stands", || {
        events(loser, "task_changed").last().is_some_and(|event| event["assignee"] == winner)
    });
    task(loser, &group, &["start", "t"]).refused(1, &[winner.as_str().unwrap()]);
}
