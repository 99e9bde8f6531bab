//! What the issue and the demo promise, typed into real processes: each command, its exit code, and its keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Answer, Daemon, LBM, PATIENCE, agree, clean, keys, lbm, private_folder, run, wait_until, words};
use serde_json::{Value, json};

/// The keys of one claim in a listing, sorted.
const CLAIM_KEYS: [&str; 13] = [
    "author",
    "claim_hash",
    "created_ms",
    "evidence",
    "final",
    "parent_hash",
    "retracted",
    "superseded_by",
    "supersedes",
    "tags",
    "text",
    "title",
    "valid_until_ms",
];

/// Runs `lbm` with the words of `line`.
#[track_caller]
fn typed(line: &str) -> Answer {
    lbm(&words(line).iter().map(String::as_str).collect::<Vec<_>>())
}

// ---- the transcript of the issue ------------------------------------------------------------------------------

#[test]
#[allow(clippy::too_many_lines, reason = "one story, told in its sequence")]
fn two_processes_share_what_their_agents_learned() {
    let (mut a, mut b) = (Daemon::prepared("alice"), Daemon::prepared("bob"));
    a.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--listen", "/ip4/127.0.0.1/udp/0/quic-v1", "--no-mdns"]);
    a.restart();
    b.restart();
    let (data_a, data_b) = (a.data.display().to_string(), b.data.display().to_string());

    // Who and where.
    let status = typed(&format!("ctl --data {data_a} status --json")).done();
    assert_eq!(
        keys(&status),
        [
            "agents",
            "embedder",
            "groups",
            "indexing_groups",
            "listen",
            "member_id",
            "name",
            "node_id",
            "open_purchases",
            "peers",
            "shut_out_groups",
            "stranded_blocks",
            "troubled_indexes",
            "unsure_groups",
            "uptime_s",
            "version"
        ]
    );
    assert_eq!((&status["name"], &status["node_id"]), (&json!("alice"), &json!(a.id)));
    assert_eq!((&status["version"], &status["groups"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(0)));
    let listen: Vec<&str> = status["listen"].as_array().unwrap().iter().map(|at| at.as_str().unwrap()).collect();
    assert_eq!(listen.len(), 2, "{listen:?}");
    for address in &listen {
        assert!(address.ends_with(&format!("/p2p/{}", a.id)), "{address}");
        assert!(!address.contains("/tcp/0/") && !address.contains("/udp/0/"), "{address}");
    }
    assert_eq!(a.addresses(), listen, "the ready line says the same");

    // A group, and who is in it.
    let created = typed(&format!("ctl --data {data_a} group create --name domain:research --json")).done();
    assert_eq!(keys(&created), ["group_id", "name"]);
    assert_eq!(created["name"], "domain:research");
    let group = created["group_id"].as_str().unwrap().to_owned();
    let add = format!("ctl --data {data_a} group add-member --group domain:research --member {} --role member", b.id);
    let added = typed(&format!("{add} --json")).done();
    assert_eq!(keys(&added), ["block_id", "group_id", "member_id", "role"]);
    assert_eq!((&added["member_id"], &added["role"]), (&json!(b.id), &json!("member")));

    // Claims: from the line, from standard input under another, in bulk.
    let publish = format!("ctl --data {data_a} claim publish --group domain:research");
    let first = typed(&format!("{publish} --text \"Always validate inputs\" --tags security,validation --json")).done();
    assert_eq!(keys(&first), ["block_id", "claim_hash"]);
    let first = first["claim_hash"].as_str().unwrap().to_owned();
    assert_eq!(first.len(), 64);
    let second = a.ctl_with(
        &["claim", "publish", "--group", &group, "--text", "-", "--parent", &first],
        "At the edge,\nbefore anything else: zuerst prüfen ✓\n".as_bytes(),
    );
    let second = second.text("claim_hash");
    let bulk = format!(
        "{{\"text\":\"one\",\"tags\":[\"a\",\"b\"]}}\n\n{{\"text\":\"two\",\"parent_hash\":\"{first}\"}}\n{}",
        (0..1_200).map(|n| format!("{{\"text\":\"claim {n} of many\"}}\n")).collect::<String>()
    );
    let bulk = a.ctl_with(&["claim", "publish", "--group", "domain:research", "--file", "-"], bulk.as_bytes());
    let published = bulk.done();
    assert_eq!(keys(&published), ["block_id", "blocks", "claim_hashes", "published"]);
    assert_eq!((&published["published"], published["claim_hashes"].as_array().unwrap().len()), (&json!(1_202), 1_202));
    assert!(published["blocks"].as_u64().unwrap() <= 13, "as few blocks as the limits allow: {}", published["blocks"]);

    // The other machine.
    let added = typed(&format!("ctl --data {data_b} peer add --addr {} --json", listen[0])).done();
    assert_eq!(added["peer_id"], a.id.as_str());
    let joined = typed(&format!("ctl --data {data_b} group join {group} --json"));
    let joined = joined.done();
    assert_eq!(joined["joined"], true);
    assert_eq!((&joined["claims"], &joined["role"]), (&json!(1_204), &json!("member")), "{joined}");
    assert_eq!(b.claims("domain:research").len(), 1_204, "done means done");

    let list = typed(&format!("ctl --data {data_b} claim list --group domain:research --json")).done();
    assert_eq!(keys(&list), ["claims", "next_cursor"]);
    let page = list["claims"].as_array().unwrap();
    assert_eq!((page.len(), keys(&page[0])), (100, CLAIM_KEYS.to_vec()));
    // Page by page, each claim once.
    let mut rows = page.clone();
    let mut cursor = list["next_cursor"].clone();
    while let Some(from) = cursor.as_str() {
        let next = b.ctl(&["claim", "list", "--group", &group, "--limit", "500", "--cursor", from]).done();
        rows.extend(next["claims"].as_array().unwrap().iter().cloned());
        cursor = next["next_cursor"].clone();
    }
    assert_eq!(rows.len(), 1_204);
    let row = |hash: &str| rows.iter().find(|row| row["claim_hash"] == hash).unwrap();
    let (one, other) = (row(&first), row(&second));
    assert_eq!((&one["text"], &one["tags"]), (&json!("Always validate inputs"), &json!(["security", "validation"])));
    assert_eq!((&one["author"], &one["parent_hash"]), (&json!(a.id), &Value::Null));
    // Whether it is final by now is the seal's to say, and the machine's.
    assert!(one["retracted"] == false && one["final"].is_boolean(), "{one}");
    assert_eq!(other["parent_hash"], first.as_str());
    assert_eq!(other["text"], "At the edge,\nbefore anything else: zuerst prüfen ✓", "without the last line end");
    for hash in published["claim_hashes"].as_array().unwrap() {
        row(hash.as_str().unwrap());
    }

    // A context, on the machine that did not learn it.
    let context = lbm(&[
        "ctl",
        "--data",
        &data_b,
        "context",
        "input validation",
        "--group",
        "domain:research",
        "--top-k",
        "8",
        "--json",
    ]);
    let context = context.done();
    assert_eq!(keys(&context), ["claim_hashes", "context", "embedder", "items"]);
    assert_eq!(context["claim_hashes"][0], first.as_str());
    assert!(context["context"].as_str().unwrap().contains("Always validate inputs"));
    assert_eq!(context["items"].as_array().unwrap().len(), context["claim_hashes"].as_array().unwrap().len());
    let item_keys = [
        "author",
        "claim_hash",
        "created_ms",
        "evidence",
        "final",
        "score",
        "tags",
        "text",
        "title",
        "valid_until_ms",
        "why",
    ];
    assert_eq!(keys(&context["items"][0]), item_keys);

    // Both say the same of the group.
    let members = typed(&format!("ctl --data {data_b} group members domain:research --json")).done();
    let mut roles: Vec<_> =
        members["members"].as_array().unwrap().iter().map(|m| (&m["member_id"], &m["role"])).collect();
    roles.sort_by_key(|(_, role)| role.as_str());
    assert_eq!(roles, [(&json!(a.id), &json!("admin")), (&json!(b.id), &json!("member"))]);
    let shown = typed(&format!("ctl --data {data_b} group show domain:research --json")).done();
    assert_eq!((&shown["group_id"], &shown["claims"]), (&json!(group), &json!(1_204)));
    let by_prefix = typed(&format!("ctl --data {data_b} group show {} --json", &group[..10])).done();
    assert_eq!(by_prefix["name"], "domain:research");
    let verified = typed(&format!("ctl --data {data_b} group verify domain:research --json")).done();
    assert_eq!(keys(&verified), ["blocks", "faults", "final_blocks", "ok", "state_hash"]);
    assert_eq!((&verified["ok"], &verified["faults"]), (&json!(true), &json!([])));
    agree(&[&a, &b], &group);

    // It lives on: a claim of either is on the other at once, and a retraction too.
    let third = b.publish("domain:research", "A queue without a bound is a crash with a delay");
    a.wait_for_claims(&group, &[&third]);
    b.ctl(&["claim", "retract", &third, "--group", &group]).ok();
    wait_until(PATIENCE, "the retraction arrives", || {
        a.ctl(&["claim", "show", &third, "--group", &group]).done()["retracted"] == true
    });
    agree(&[&a, &b], &group);
    let thread = b.ctl(&["claim", "thread", &second, "--group", &group]).done();
    let depths: Vec<_> = thread["claims"].as_array().unwrap().iter().map(|c| c["depth"].as_u64().unwrap()).collect();
    assert_eq!((&thread["root_hash"], depths), (&json!(first), vec![0, 1, 1]));

    // Graceful ends; all of it is there again.
    assert_eq!((a.stop().0, b.stop().0), (Some(0), Some(0)));
    assert!(!common::is_there(a.data.join("lbm.sock")), "the socket goes with the daemon");
    b.restart();
    assert_eq!(b.claims(&group).len(), 1_205);
}

#[test]
fn the_other_commands_answer_with_their_keys() {
    let (a, b, group) = common::pair("others");
    let claim = a.publish(&group, "one claim");
    b.wait_for_claims(&group, &[&claim]);
    let stats = a.ctl(&["group", "stats", &group]).done();
    assert_eq!((&stats["members"], &stats["claims"], &stats["rejected_blocks"]), (&json!(2), &json!(1), &json!(0)));
    let health = a.ctl(&["health"]).done();
    assert_eq!(health["ok"], true, "{health}");
    let recent = b.ctl(&["claim", "recent", "--group", &group, "--since", "1h"]).done();
    assert_eq!(recent["claims"][0]["claim_hash"], claim.as_str());
    assert_eq!(a.ctl(&["rejected"]).done(), json!({"rejected": [], "next_cursor": null}));
    let synced = b.ctl(&["sync"]).done();
    assert_eq!(synced["groups"][0]["peers_asked"], 1, "{synced}");
    assert_eq!(synced["groups"][0]["peers_answered"], 1, "{synced}");
    let experience = a.ctl_with(&["experience", "submit", "--group", &group, "--file", "-"], b"{\"steps\": 3}");
    assert_eq!(keys(&experience.done()), ["block_id", "experience_hash"]);
    let peers = b.ctl(&["peer", "list"]).done();
    let peer = &peers["peers"][0];
    assert_eq!(
        keys(peer),
        [
            "addresses",
            "alias",
            "connected",
            "connection",
            "groups",
            "last_seen_ms",
            "next_call_ms",
            "peer_id",
            "source",
            "trouble"
        ]
    );
    assert_eq!((&peer["peer_id"], &peer["connected"]), (&json!(a.id), &json!(true)));
    let told = events(&a, "claim_published");
    assert_eq!((told.len(), &told[0]["claim_hash"]), (1, &json!(claim)), "{told:?}");
    a.ctl(&["group", "set-role", "--group", &group, "--member", &b.id, "--role", "viewer"]).ok();
    wait_until(PATIENCE, "the new role arrives", || b.ctl(&["group", "show", &group]).done()["role"] == "viewer");
    a.ctl(&["group", "remove-member", "--group", &group, "--member", &b.id]).ok();
    let members = a.ctl(&["group", "members", &group]).done();
    assert_eq!(members["members"].as_array().unwrap().len(), 1);
    b.ctl(&["group", "leave", &group]).ok();
    assert_eq!(b.ctl(&["group", "list"]).done(), json!({"groups": []}));
    b.ctl(&["peer", "remove", &a.id]).ok();
    let config = a.lbm(&["config", "--json"]).done();
    assert_eq!(keys(&config), ["data", "data_origin", "settings"]);
}

#[test]
fn data_and_json_are_accepted_anywhere_on_the_line() {
    let daemon = Daemon::start("anywhere");
    let data = daemon.data.to_str().unwrap();
    let group = daemon.found("g");
    let wanted = daemon.ctl(&["group", "members", &group]).done();
    for line in [
        format!("--data {data} --json ctl group members g"),
        format!("ctl --json --data {data} group members g"),
        format!("ctl group --data {data} --json members g"),
        format!("--json ctl group members --data {data} g"),
        format!("ctl group members g --json --data {data}"),
        format!("ctl group members g --json --data={data}"),
    ] {
        assert_eq!(typed(&line).done(), wanted, "{line}");
    }
    let people = typed(&format!("ctl group members g --data {data}"));
    assert!(
        people.ok().stdout.contains(&daemon.id) && serde_json::from_str::<Value>(&people.stdout).is_err(),
        "{people:#?}"
    );
    let mut by_environment = clean(Command::new(LBM));
    by_environment.args(["ctl", "group", "members", "g", "--json"]).env("LB_DATA", data);
    let output = by_environment.output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), wanted);
}

#[test]
fn blocks_that_the_ledger_refuses_are_kept_listed_and_told_to_their_author() {
    let (a, b, group) = common::pair("refusals");
    let before = b.publish(&group, "while still allowed");
    a.wait_for_claims(&group, &[&before]);
    // Apart: Alice makes Bob a reader, and he, who cannot know, goes on writing.
    a.ctl(&["peer", "remove", &b.id]).ok();
    b.ctl(&["peer", "remove", &a.id]).ok();
    wait_until(PATIENCE, "they are apart", || [&a, &b].iter().all(|one| one.ctl(&["status"]).done()["peers"] == 0));
    a.ctl(&["group", "set-role", "--group", &group, "--member", &b.id, "--role", "viewer"]).ok();
    for n in 0..4 {
        b.publish(&group, &format!("not known yet {n}"));
    }
    assert_eq!(b.claims(&group).len(), 5, "his own node takes them for good");
    b.meet(&a);
    wait_until(PATIENCE, "Bob learns that he only reads", || {
        b.ctl(&["group", "show", &group]).done()["role"] == "viewer"
    });
    agree(&[&a, &b], &group);
    let [at_alice, at_bob] = [&a, &b].map(|one| one.ctl(&["rejected"]).done());
    assert_eq!(at_alice, at_bob);
    let rows = at_bob["rejected"].as_array().unwrap();
    // The first of them has the height of what Alice wrote: its place is before or behind.
    assert!((3..=4).contains(&rows.len()), "{at_bob}");
    for row in rows {
        assert_eq!(
            keys(row),
            ["author", "block_id", "code", "created_ms", "final", "group_id", "reason", "transaction", "what"]
        );
        assert_eq!((&row["code"], &row["author"]), (&json!("viewer_cannot_write"), &json!(b.id)));
    }
    let told = events(&b, "block_rejected");
    assert_eq!(told.len(), rows.len(), "{told:?}");
    assert!(told.iter().all(|event| event["reason"].as_str().unwrap().contains("viewer")), "{told:?}");
    b.ctl(&["claim", "publish", "--group", &group, "--text", "not allowed"]).refused(1, &["viewer"]);
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story, told in its sequence")]
fn two_machines_have_an_economy() {
    let (a, b, group) = common::pair("economy");
    let token = |one: &Daemon, words: &str| {
        let line: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let line: Vec<&str> = ["token"].into_iter().chain(line.iter().map(String::as_str)).collect();
        one.ctl(&[line, vec!["--group", &group]].concat())
    };
    let balance = |one: &Daemon, account: &str| token(one, &format!("balance --account {account}")).done();

    // Rules: none at first, then some; unknown and empty ones are refused with the list.
    let shown = a.ctl(&["group", "policy", "--group", &group]).done();
    assert_eq!((&shown["claim_reward_amount"], &shown["listed"]), (&json!(0), &json!(false)));
    let set = |one: &Daemon, rules: &[&str]| {
        let rules = rules.iter().flat_map(|rule| ["--set", rule]);
        one.ctl(&["group", "policy", "--group", &group].into_iter().chain(rules).collect::<Vec<_>>())
    };
    for bad in ["reward=5", "claim_reward_amount=", "=5", "claim_reward_amount=ten"] {
        let refused = set(&a, &[bad]);
        assert_eq!(refused.code, Some(2), "{bad}: {refused:#?}");
    }
    assert!(set(&a, &["reward=5"]).stderr.contains("the rules are faucet_amount, claim_reward_amount"));
    set(&a, &["transfer_fee_bps=5001"]).refused(1, &["transfer_fee_bps", "5000"]);
    let rules = ["faucet_amount=100", "claim_reward_amount=10", "transfer_fee_bps=1000", "max_total_supply=1000"];
    let changed = set(&a, &[&rules[..], &["max_account_balance=900"]].concat()).done();
    assert_eq!(changed["claim_reward_amount"], 10, "{changed}");
    assert_eq!(changed["block_id"].as_str().unwrap().len(), 64);

    // The faucet pays whoever is added from now on; Bob was here before it.
    let carol = Daemon::start("carol");
    let add = |one: &str| a.ctl(&["group", "add-member", "--group", &group, "--member", one, "--role", "viewer"]);
    add(&carol.id).ok();
    a.ctl(&["group", "remove-member", "--group", &group, "--member", &carol.id]).ok();
    add(&carol.id).ok();
    assert_eq!(balance(&a, &carol.id), json!({"account": carol.id, "balance": 100}), "once, ever");
    assert_eq!(balance(&a, &b.id)["balance"], 0);

    // Claims earn, once for a text. Bob's node learns the rules before he writes.
    let rules_of =
        |one: &Daemon| one.ctl(&["group", "policy", "--group", &group]).done()["claim_reward_amount"].clone();
    wait_until(PATIENCE, "the rules arrive", || rules_of(&b) == 10);
    for text in ["Always validate inputs", "always  VALIDATE inputs", "A queue needs a bound"] {
        b.publish(&group, text);
    }
    let bobs = balance(&b, &b.id);
    assert_eq!((keys(&bobs), &bobs["balance"]), (vec!["account", "balance"], &json!(20)));

    // A transfer costs 10 %; the caps and an empty account refuse, with the numbers.
    let paid = token(&b, &format!("transfer --to {} --amount 15", carol.id)).done();
    assert_eq!(keys(&paid), ["amount", "block_id", "fee", "group_id", "to"]);
    assert_eq!(paid["fee"], 1);
    let refused = token(&b, &format!("transfer --to {} --amount 15", a.id));
    refused.refused(1, &["has 4 tokens", "15 with a fee of 1 are 16", "give less"]);
    token(&b, &format!("transfer --to {} --amount 1", b.id)).refused(1, &["to itself"]);
    token(&b, &format!("transfer --to {} --amount 0", a.id)).refused(1, &["from 1 to"]);
    token(&b, &format!("mint --to {} --amount 5", b.id)).refused(1, &["is not an admin"]);
    wait_until(PATIENCE, "the transfer arrives", || balance(&a, &carol.id)["balance"] == 115);
    token(&a, &format!("mint --to {} --amount 881", a.id)).refused(1, &["at most 1000", "make at most 880"]);
    set(&a, &["max_total_supply=119"]).refused(1, &["has 120 tokens already"]);
    token(&a, &format!("mint --to {} --amount 786", carol.id)).refused(1, &["may come to 900", "give at most 785"]);
    token(&a, &format!("mint --to {} --amount 880", a.id)).done();

    // The fee is the treasury's, and an admin pays it out.
    token(&a, &format!("pay --to {} --amount 2", b.id)).refused(1, &["the treasury has 1 tokens"]);
    let paid = token(&a, &format!("pay --to {} --amount 1 --wait-final", b.id)).done();
    assert_eq!((&paid["amount"], &paid["final"]), (&json!(1), &json!(true)));
    wait_until(PATIENCE, "the payment arrives", || balance(&b, &b.id)["balance"] == 5);
    let history = token(&b, "history").done();
    let moves = history["moves"].as_array().unwrap();
    let kinds: Vec<_> =
        moves.iter().map(|row| (row["kind"].as_str().unwrap(), row["balance"].as_u64().unwrap())).collect();
    assert_eq!(kinds, [("treasury_pay", 5), ("transfer", 4), ("claim_reward", 20), ("claim_reward", 10)]);
    let move_keys = [
        "amount",
        "balance",
        "block_id",
        "counterpart",
        "created_ms",
        "direction",
        "fee",
        "final",
        "kind",
        "task_id",
        "transaction",
    ];
    assert_eq!(keys(&moves[0]), move_keys);
    assert_eq!(token(&a, &format!("history --account {}", b.id)).done()["moves"][0]["final"], true);
    let first = token(&b, "history --limit 3").done();
    let rest = token(&b, &format!("history --cursor {}", first["next_cursor"].as_str().unwrap())).done();
    assert_eq!((&rest["moves"][0], &rest["next_cursor"]), (&moves[3], &Value::Null));

    // Every token is accounted for, alike on both.
    agree(&[&a, &b], &group);
    for one in [&a, &b] {
        let stats = one.ctl(&["group", "stats", &group]).done();
        let of = |key: &str| stats[key].as_u64().unwrap();
        assert_eq!((of("total_supply"), of("max_total_supply"), of("treasury_balance")), (1_000, 1_000, 0), "{stats}");
        assert_eq!((of("escrow_balance"), of("accounts"), of("transfer_fee_bps")), (0, 3, 1_000), "{stats}");
        let held: u64 = [&a.id, &b.id, &carol.id].map(|id| balance(one, id)["balance"].as_u64().unwrap()).iter().sum();
        assert_eq!(held, 1_000);
    }
    let told: Vec<_> = events(&a, "tokens_moved").iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(told, ["transfer", "mint", "treasury_pay"]);
    assert_eq!(events(&b, "policy_changed").len(), 1);
}

/// What a daemon has told of one kind.
fn events(daemon: &Daemon, kind: &str) -> Vec<Value> {
    let events = daemon.ctl(&["events"]).done()["events"].as_array().unwrap().clone();
    events.into_iter().filter(|event| event["type"] == kind).collect()
}

// ---- the demo -------------------------------------------------------------------------------------------------

/// Nothing of the demo is left: no file in its folder for what is temporary, and no process that names it.
#[track_caller]
fn assert_nothing_left(folder: &Path) {
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(processes_of(folder), Vec::<String>::new());
}

/// The command lines of processes that name the folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.contains(folder.to_str().unwrap())).map(|line| line.replace('\0', " ")).collect()
}

#[test]
fn the_demo_tells_the_story_and_leaves_nothing_behind() {
    let folder = private_folder();
    let demo = |args: &[&str]| {
        let mut command = Command::new(LBM);
        command.args(args).env("TMPDIR", folder.path());
        let answer = run(command, b"");
        answer.ok();
        assert_nothing_left(folder.path());
        answer
    };
    let summary = demo(&["demo", "--json"]).json();
    assert_eq!(keys(&summary), ["claims", "propagation_ms", "seconds", "state_hash", "total_supply"]);
    // Two faucets of 100, five texts of 10, a task of 50, 30 for Dora.
    assert_eq!((&summary["claims"], &summary["total_supply"]), (&json!(5), &json!(330)));
    assert!(summary["propagation_ms"].as_f64().unwrap() < 1_000.0, "{summary}");
    let story = demo(&["demo"]).stdout;
    for words in [
        "$ lbm init",
        "$ lbm-node",
        "group create",
        "group policy",
        "claim publish",
        "task complete",
        "150 tokens",
        "40 tokens for a fee of 4, final",
        "refused: the group has 270 tokens of at most 500",
        "The network breaks",
        "task write-report is assigned, final",
        "task write-report is assigned  (",
        "claimed the task write-report: ",
        "kill -9",
        "same five claims",
        "met Carol alone",
        "asking 1 peer for what is for sale",
        "bought for 25 tokens",
        "The one that counts its sectors anew",
        "same 330 tokens",
    ] {
        assert!(story.contains(words), "no `{words}` in:\n{story}");
    }
}

#[test]
fn three_agents_build_an_api_by_mcp_on_two_machines_and_leave_nothing_behind() {
    let folder = private_folder();
    let demo = |args: &[&str]| {
        let mut command = Command::new(LBM);
        command.args(args).env("TMPDIR", folder.path());
        let answer = run(command, b"");
        answer.ok();
        assert_nothing_left(folder.path());
        answer
    };
    let summary = demo(&["demo", "agents", "--json"]).json();
    assert_eq!(keys(&summary), ["balances", "calls", "claims", "seconds", "state_hash", "total_supply"]);
    // Fifty to begin with and five a claim: 50 - 30 + 10, 30 - 10 + 10, and 10 + 5; the founder has 5 for what it knew.
    assert_eq!(summary["balances"], json!({"architect": 30, "developer": 30, "reviewer": 15}));
    assert_eq!((&summary["claims"], &summary["total_supply"]), (&json!(6), &json!(80)));
    let story = demo(&["demo", "agents"]).stdout;
    for words in [
        "$ lbm mcp --agent architect",
        "on bob's machine, initialized",
        "> prime",
        "3 agents here",
        "> compile_context",
        "clients took them for success",
        "task build-api is pending",
        "a context of",
        "404 with the code",
        "reserved",
        "not reserved: 12D3KooW",
        "task build-api is completed",
        "40 tokens",
        "task review-api is assigned",
        "task review-api is completed",
        "reviewer: Reviewed: each error",
        "the same state on both machines",
    ] {
        assert!(story.contains(words), "no `{words}` in:\n{story}");
    }
}

#[test]
fn a_demo_that_is_stopped_leaves_nothing_behind() {
    for signal in ["INT", "TERM", "HUP"] {
        stop_a_demo(signal, &["demo"], "claim publish");
        stop_a_demo(signal, &["demo", "agents"], "> update_presence");
    }
}

#[test]
fn a_demo_whose_daemon_is_killed_fails_and_leaves_nothing_behind() {
    let folder = private_folder();
    let mut command = clean(Command::new(LBM));
    command.args(["demo", "agents"]).env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains("> update_presence"))));
    let is_bobs = |line: &str| line.contains("--listen") && line.ends_with("/bob");
    let folder_name = folder.path().to_str().unwrap();
    let bob = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).find(|entry| {
        let line = std::fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ");
        line.contains(folder_name) && is_bobs(line.trim_end())
    });
    let bob = bob.unwrap().file_name().into_string().unwrap();
    assert!(Command::new("kill").args(["-9", &bob]).status().unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(demo.wait().unwrap().code(), Some(1), "{rest:?}");
    assert_nothing_left(folder.path());
}

fn stop_a_demo(signal: &str, args: &[&str], at: &str) {
    let folder = private_folder();
    let mut command = clean(Command::new(LBM));
    command.args(args).env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut demo = command.spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    // In the middle of it, with its daemons, their agents, and maybe the next command.
    assert!(lines.any(|line| line.is_ok_and(|line| line.contains(at))));
    assert!(processes_of(folder.path()).len() >= 3);
    assert!(Command::new("kill").args([&format!("-{signal}"), &demo.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let status = demo.wait().unwrap();
    assert_eq!(status.code(), Some(1), "{signal}: {rest:?}");
    wait_until(Duration::from_secs(20), "its daemons are gone", || processes_of(folder.path()).is_empty());
    assert_nothing_left(folder.path());
}
