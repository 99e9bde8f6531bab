//! Presence between real daemons: seen within a second, gone stale, gone with its member, and never a byte on the disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE, keys, pair, wait_until};
use lbm::api::client::Client;
use lbm::api::types::{ListPresence, PresenceStatus, SetPresence};
use lbm::limits;
use serde_json::{Value, json};

/// How long it may take at most: a second on a quiet machine, and far less than the time after which a row is forgotten.
const AT_MOST: Duration = Duration::from_secs(20);

/// What a daemon says of a member; none where it has heard nothing.
#[track_caller]
fn row(at: &Daemon, group: &str, of: &Daemon) -> Option<Value> {
    let list = at.ctl(&["presence", "list", "--group", group]).done();
    let rows = list["presence"].as_array().unwrap();
    rows.iter().find(|row| row["member_id"] == of.id.as_str()).cloned()
}

/// Waits until a daemon shows a member with this status; how long that took.
#[track_caller]
fn shows(at: &Daemon, group: &str, of: &Daemon, status: &str, patience: Duration) -> Duration {
    wait_until(patience, &format!("{} shows {} as {status}", at.name, of.name), || {
        row(at, group, of).is_some_and(|row| row["status"] == status)
    })
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story, told in its sequence")]
fn what_one_says_the_other_shows() {
    let (mut alice, bob, group) = pair("who-is-here");
    let nobody = bob.ctl(&["presence", "list", "--group", "who-is-here"]).done();
    assert_eq!(nobody, json!({"group_id": group, "presence": [], "stale_threshold_ms": 300_000}));

    let set = alice.ctl(&[
        "presence",
        "set",
        "busy",
        "--group",
        &group,
        "--metadata",
        "{\"task\": \"review\", \"at\": [1, null]}",
    ]);
    let set = set.done();
    assert_eq!(keys(&set), ["group_id", "member_id", "metadata", "status", "updated_ms"]);
    assert_eq!((&set["member_id"], &set["status"]), (&json!(alice.id), &json!("busy")));
    let took = shows(&bob, &group, &alice, "busy", AT_MOST);
    println!("seen by the other after {took:?}");
    let seen = row(&bob, &group, &alice).unwrap();
    let row_keys = ["age_ms", "is_self", "is_stale", "member_id", "metadata", "name", "status", "updated_ms"];
    assert_eq!(keys(&seen), row_keys);
    assert_eq!(seen["metadata"], json!({"task": "review", "at": [1, null]}));
    assert_eq!((&seen["updated_ms"], &seen["is_self"]), (&set["updated_ms"], &json!(false)));
    assert_eq!((&seen["name"], &seen["is_stale"]), (&Value::Null, &json!(false)));
    assert!(seen["age_ms"].as_u64().unwrap() < 30_000, "{seen}");
    let own = row(&alice, &group, &alice).unwrap();
    assert_eq!((&own["name"], &own["is_self"]), (&json!("alice"), &json!(true)));

    // A name that bob gave, and the other way round.
    bob.ctl(&["peer", "add", "--addr", &alice.address(), "--alias", "desk"]).ok();
    bob.ctl(&["presence", "set", "idle", "--group", "who-is-here"]).ok();
    shows(&alice, &group, &bob, "idle", AT_MOST);
    assert_eq!(row(&bob, &group, &alice).unwrap()["name"], "desk");
    let text = bob.lbm(&["ctl", "presence", "list", "--group", &group]);
    let text = text.ok();
    assert!(
        text.stdout.contains("desk") && text.stdout.contains("{\"at\":[1,null],\"task\":\"review\"}"),
        "{}",
        text.stdout
    );

    // Stale is what is older than the threshold, whatever it says.
    let stale = |threshold: &str| {
        let list = bob.ctl(&["presence", "list", "--group", &group, "--stale-threshold", threshold]).done();
        let rows = list["presence"].as_array().unwrap();
        rows.iter().find(|row| row["member_id"] == alice.id.as_str()).unwrap()["is_stale"].clone()
    };
    wait_until(PATIENCE, "it is 20 ms old", || row(&bob, &group, &alice).unwrap()["age_ms"].as_u64() > Some(20));
    assert_eq!((stale("20"), stale("600000")), (json!(true), json!(false)));
    let text = bob.lbm(&["ctl", "presence", "list", "--group", &group, "--stale-threshold", "20"]);
    assert!(text.ok().stdout.contains("busy (stale)"), "{}", text.stdout);
    alice.ctl(&["presence", "set", "busy", "--group", &group]).ok();
    assert_eq!(stale("60000"), json!(false), "a sign of life");

    // Events tell of changes.
    let events = bob.lbm(&["ctl", "events", "--json"]).done();
    let told: Vec<&Value> =
        events["events"].as_array().unwrap().iter().filter(|event| event["type"] == "presence").collect();
    assert!(told.iter().any(|event| event["member_id"] == alice.id.as_str() && event["status"] == "busy"), "{told:?}");

    // Who stops says so. Nothing is stored, and the others give back what was said.
    let (code, _) = alice.stop();
    assert_eq!(code, Some(0));
    shows(&bob, &group, &alice, "offline", AT_MOST);
    alice.restart();
    alice.meet(&bob);
    shows(&alice, &group, &alice, "offline", PATIENCE);
    shows(&alice, &group, &bob, "idle", PATIENCE);
    alice.ctl(&["presence", "set", "active", "--group", &group]).ok();
    shows(&bob, &group, &alice, "active", AT_MOST);

    // Who loses power says nothing: the last word stands until it is stale.
    alice.kill();
    wait_until(PATIENCE, "bob sees her go", || bob.ctl(&["status"]).done()["peers"] == 0);
    assert_eq!(row(&bob, &group, &alice).unwrap()["status"], "active");
    // With her membership her presence ends.
    alice.restart();
    alice.meet(&bob);
    shows(&alice, &group, &bob, "idle", PATIENCE);
    alice.ctl(&["group", "remove-member", "--group", &group, "--member", &bob.id]).ok();
    wait_until(AT_MOST, "bob is forgotten", || row(&alice, &group, &bob).is_none());
    wait_until(PATIENCE, "bob has heard that he is out", || {
        bob.ctl(&["presence", "set", "busy", "--group", &group]).code == Some(1)
    });
    bob.ctl(&["presence", "set", "busy", "--group", &group]).refused(1, &["not", "member"]);
    assert_eq!(row(&alice, &group, &bob), None);
}

#[test]
fn who_is_no_member_sees_nothing_and_says_nothing() {
    let (alice, bob, group) = pair("inside");
    let carol = Daemon::start("carol");
    carol.meet(&alice);
    carol.ctl(&["group", "join", &group, "--no-wait"]).ok();
    alice.ctl(&["presence", "set", "active", "--group", &group]).ok();
    shows(&bob, &group, &alice, "active", AT_MOST);
    for line in [&["presence", "list", "--group", &group][..], &["presence", "set", "busy", "--group", &group]] {
        carol.ctl(line).refused(1, &["has arrived yet"]);
    }
    carol.ctl(&["presence", "list", "--group", "inside"]).refused(1, &["no group `inside`"]);
    let list = alice.ctl(&["presence", "list", "--group", &group]).done();
    assert_eq!(list["presence"].as_array().unwrap().len(), 1, "{list}");
    // Let in, to look only, she sees what was said before, and is seen.
    alice.add(&group, &carol.id, "viewer");
    wait_until(PATIENCE, "carol has the group", || carol.ctl(&["group", "show", &group]).code == Some(0));
    shows(&carol, &group, &alice, "active", PATIENCE);
    carol.ctl(&["presence", "set", "idle", "--group", &group]).ok();
    shows(&alice, &group, &carol, "idle", AT_MOST);
    // Bob is connected to alice alone, and hears of carol from her.
    assert_eq!(bob.ctl(&["status"]).done()["peers"], 1);
    shows(&bob, &group, &carol, "idle", AT_MOST);
}

#[test]
fn what_is_wrong_is_refused_with_what_to_do() {
    let alice = Daemon::start("alice");
    let group = alice.found("here");
    let set = |words: &[&str]| alice.ctl(&[&["presence", "set"][..], words, &["--group", &group]].concat());
    assert!(set(&["away"]).stderr.contains("possible values: active, idle, busy, offline"));
    set(&["away"]).refused(2, &["'away'"]);
    for text in ["", "{", "[]", "7", "null", "{}{}"] {
        set(&["idle", "--metadata", text]).refused(2, &["JSON object"]);
    }
    let filled = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    set(&["idle", "--metadata", &filled(limits::PRESENCE_METADATA_BYTES)]).ok();
    let long = set(&["idle", "--metadata", &filled(limits::PRESENCE_METADATA_BYTES + 1)]);
    long.refused(1, &["`metadata` has 4097 bytes and at most 4096"]);
    alice.ctl(&["presence", "list", "--group", "elsewhere"]).refused(1, &["elsewhere"]);
    alice
        .ctl(&["presence", "list", "--group", &group, "--stale-threshold", "soon"])
        .refused(2, &["stale-threshold", "'soon'"]);
    let list = alice.ctl(&["presence", "list", "--group", &group]).done();
    assert_eq!(list["presence"][0]["status"], "idle", "{list}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_heartbeats_are_no_block_and_no_byte() {
    let (alice, bob, group) = pair("heartbeats");
    alice.publish(&group, "something");
    wait_until(PATIENCE, "all is sealed, and bob has it", || {
        let shown = bob.ctl(&["group", "show", &group]).done();
        shown["blocks"] == shown["final_blocks"] && bob.blocks(&group) == alice.blocks(&group)
    });
    let stored = |daemon: &Daemon| std::fs::metadata(daemon.data.join("lbm.redb")).unwrap().len();
    let before = (alice.blocks(&group), stored(&alice), stored(&bob));
    let (client, other) = (Client::new(&alice.data), Client::new(&bob.data));
    let beat = |number: u64| {
        let metadata = json!({"beat": number, "filler": "x".repeat(3_000)});
        SetPresence { status: PresenceStatus::Active, metadata: metadata.as_object().cloned() }
    };
    client.set_presence(&group, &beat(0)).await.unwrap();
    let memory = (alice.resident_bytes(), bob.resident_bytes());
    let started = Instant::now();
    for number in 1..=1_000 {
        client.set_presence(&group, &beat(number)).await.unwrap();
    }
    println!("a thousand heartbeats in {:?}", started.elapsed());
    let said = Instant::now();
    loop {
        let list = other.presence(&group, &ListPresence::default()).await.unwrap().presence;
        if list.first().and_then(|row| row.metadata.as_ref()?.get("beat")?.as_u64()) == Some(1_000) {
            break;
        }
        assert!(said.elapsed() < AT_MOST, "the last one does not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!((alice.blocks(&group), stored(&alice), stored(&bob)), before);
    assert_eq!(bob.blocks(&group), alice.blocks(&group));
    for (daemon, before) in [(&alice, memory.0), (&bob, memory.1)] {
        let grown = daemon.resident_bytes().saturating_sub(before);
        // Events of the changes are kept: a thousand of them, without the metadata.
        assert!(grown < 8 << 20, "{} grew by {} KiB", daemon.name, grown >> 10);
    }
}
