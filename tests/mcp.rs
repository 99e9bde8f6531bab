//! `lbm mcp` by raw lines: what each tool does on a second node, the protocol's two eras, and what must not harm it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::mcp::{Agent as _, Mcp};
use common::story::{Side, every_tool};
use common::{Daemon, PATIENCE, pair, wait_until};
use serde_json::{Value, json};

fn data(daemon: &Daemon) -> &str {
    daemon.data.to_str().unwrap()
}

fn mcp(daemon: &Daemon) -> Mcp {
    Mcp::begun(data(daemon), "2025-11-25")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// The texts of the claims of `g`, the last first.
fn texts(daemon: &Daemon) -> Vec<String> {
    let list = daemon.ctl(&["claim", "list", "--group", "g"]).done();
    list["claims"].as_array().unwrap().iter().map(|claim| text(&claim["text"]).to_owned()).collect()
}

/// A daemon with a group of its own, `g`.
fn alone() -> Daemon {
    let daemon = Daemon::start("alone");
    daemon.ctl(&["group", "create", "--name", "g"]).ok();
    daemon
}

#[test]
fn every_tool_does_on_a_second_node_what_it_says() {
    let (first, second, group) = pair("team");
    let (mut here, mut there) = (mcp(&first), mcp(&second));
    let (here, there) = (Side::of_node(&mut here, &first), Side::of_node(&mut there, &second));
    every_tool(here, there, &group);
    common::agree(&[&first, &second], &group);
}

#[test]
fn who_loses_a_task_is_told_with_its_next_result_and_by_an_update() {
    let daemon = alone();
    let group = text(&daemon.ctl(&["group", "show", "g"]).done()["group_id"]).to_owned();
    for name in ["scout", "other"] {
        daemon.ctl(&["agent", "create", "--name", name, "--group", "g"]).ok();
    }
    let other = daemon.ctl(&["agent", "show", "other"]).text("member_id");
    let mut scout = Mcp::silent(data(&daemon), &["--agent", "scout", "--group", "g"]);
    scout.initialize("2025-11-25");
    for id in ["first", "second", "third"] {
        daemon.ctl(&["task", "create", "--group", "g", "--task", id, "--title", "T"]).ok();
        scout.done("start_task", &json!({"task_id": id}));
    }
    scout.done("reserve_resource", &json!({"resource": "src/main.rs"}));
    // What it ends and gives back itself it has not lost.
    scout.done("complete_task", &json!({"task_id": "first"}));
    scout.done("release_task", &json!({"task_id": "third"}));
    scout.request("resources/subscribe", &json!({"uri": format!("lbm://group/{group}/task/second")}));
    daemon.ctl(&["task", "assign", "second", "--group", "g", "--assignee", &other]).ok();
    scout.wait_for_note("notifications/resources/updated");
    let mut lost = Value::Null;
    wait_until(PATIENCE, "it is told", || {
        let result = scout.call("list_groups", &json!({}));
        lost = result["structuredContent"]["lost_tasks"].clone();
        assert!(lost.is_null() || result["content"].to_string().contains("You lost `second`"), "{result}");
        !lost.is_null()
    });
    assert_eq!(lost, json!([{"group_id": group, "task_id": "second", "holder": other}]));
    // Once.
    let again = scout.done("list_groups", &json!({}));
    assert!(again.get("lost_tasks").is_none(), "{again}");
    scout.refused("complete_task", &json!({"task_id": "second"}), &["task_taken_over", "You lost it"]);
}

#[test]
fn it_starts_without_a_daemon_and_outlives_one() {
    let mut daemon = Daemon::prepared("late");
    let mut agent = mcp(&daemon);
    assert_eq!(agent.request("tools/list", &json!({}))["result"]["tools"].as_array().unwrap().len(), 24);
    agent.refused("prime", &json!({}), &["no_daemon", "lbm-node --data"]);
    agent.refused("publish_claim", &json!({"group": "g", "text": "x"}), &["no_daemon"]);
    daemon.restart();
    daemon.ctl(&["group", "create", "--name", "g"]).ok();
    agent.done("publish_claim", &json!({"text": "before"}));
    daemon.kill();
    agent.refused("publish_claim", &json!({"group": "g", "text": "meanwhile"}), &["no_daemon"]);
    daemon.restart();
    agent.done("publish_claim", &json!({"text": "after"}));
    assert_eq!(texts(&daemon), ["after", "before"]);
}

#[test]
fn it_ends_with_its_input_and_with_its_parent() {
    let daemon = Daemon::prepared("ends");
    let mut agent = mcp(&daemon);
    agent.close();
    assert_eq!(agent.exit_code(), Some(0));

    let mut early = Mcp::silent(data(&daemon), &[]);
    early.close();
    assert_eq!(early.exit_code(), Some(0));

    // A shell starts it and dies; this process holds its input open.
    let script = format!("{} mcp --data {} & echo $!; wait", common::LBM, data(&daemon));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let _held = shell.stdin.take();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(shell.stdout.as_mut().unwrap()), &mut line).unwrap();
    let server = format!("/proc/{}", line.trim());
    assert!(common::is_there(&server));
    shell.kill().unwrap();
    shell.wait().unwrap();
    wait_until(PATIENCE, "the orphan ends", || !common::is_there(&server));
}

#[test]
fn bad_input_gets_an_answer_and_harms_nothing() {
    let daemon = alone();
    let mut agent = Mcp::silent(data(&daemon), &[]);
    // Before the handshake.
    agent.say(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    agent.say(&json!({"jsonrpc": "2.0", "id": 9, "result": {}}));
    let early = agent.request("tools/call", &json!({"name": "prime", "arguments": {}}));
    assert_eq!(early["error"]["code"], -32602, "{early}");
    assert_eq!(agent.request("ping", &json!({}))["result"], json!({}));
    assert_eq!(agent.initialize("2024-11-05")["protocolVersion"], "2024-11-05");

    for (line, code) in [
        ("[{\"jsonrpc\":\"2.0\",\"id\":70,\"method\":\"ping\"}]", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":71,\"meth", -32700),
        ("7", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":72}", -32600),
        ("{\"id\":73,\"method\":\"ping\"}", -32600),
        ("{\"jsonrpc\":\"2.0\",\"id\":74,\"method\":\"notifications/initialized\"}", -32601),
        ("{\"jsonrpc\":\"2.0\",\"id\":75,\"method\":\"no/such\"}", -32601),
        ("{\"jsonrpc\":\"2.0\",\"id\":76,\"method\":\"tools/call\"}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"tools/call\",\"params\":{\"name\":\"no_such\"}}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":78,\"method\":\"tools/call\",\"params\":{\"name\":5}}", -32602),
        ("{\"jsonrpc\":\"2.0\",\"id\":79,\"method\":\"resources/read\",\"params\":{\"uri\":\"lbm://x\"}}", -32002),
        ("{\"jsonrpc\":\"2.0\",\"id\":80,\"method\":\"prompts/get\",\"params\":{\"name\":\"review\"}}", -32602),
    ] {
        agent.raw(format!("{line}\n").as_bytes());
        let answer = agent.hear();
        assert_eq!(answer["error"]["code"], code, "{line} -> {answer}");
    }
    agent.raw(b"\n  \n\r\n\xff\xfe\n");
    assert_eq!(agent.hear()["error"]["code"], -32700);
    let mut huge = vec![b'x'; 20 * 1024 * 1024];
    huge.push(b'\n');
    agent.raw(&huge);
    assert_eq!(agent.hear()["error"]["code"], -32600);

    agent.refused("publish_claim", &json!({}), &["bad_arguments", "`text`"]);
    agent.refused("publish_claim", &json!({"text": 5}), &["bad_arguments"]);
    agent.refused("publish_claim", &json!({"text": "x", "txet": "y"}), &["bad_arguments", "txet"]);
    agent.refused("publish_claim", &json!({"text": "x".repeat(70_000)}), &["too_large", "65536"]);
    agent.refused("publish_claim", &json!({"text": "x", "group": "other"}), &["unknown_group", "list_groups"]);
    agent.refused("publish_claim", &json!({"text": "x", "idempotency_key": "a b"}), &["idempotency_key"]);
    agent.refused("list_tasks", &json!({"status": "lost"}), &["bad_arguments"]);
    agent.refused("list_groups", &json!({"x": 1}), &["bad_arguments"]);
    agent.refused("watch_claims", &json!({"cursor": "zz"}), &["bad_cursor", "without `cursor`"]);
    agent.refused("complete_task", &json!({"task_id": "none"}), &["no_such_task", "list_tasks"]);

    // Two under one id: the first is worked on, the second refused.
    let wait = json!({"jsonrpc": "2.0", "id": "twice", "method": "tools/call", "params":
        {"name": "watch_claims", "arguments": {"since_ms": 4_000_000_000_000_u64, "wait_ms": 300}}});
    agent.say(&wait);
    agent.say(&wait);
    let (refused, done) = (agent.hear(), agent.hear());
    assert_eq!((refused["id"].clone(), refused["error"]["code"].clone()), (json!("twice"), json!(-32600)));
    assert_eq!(done["result"]["isError"], false);
    // Afterwards it may be used again.
    agent.say(&wait);
    assert_eq!(agent.hear()["result"]["isError"], false);
    agent.done("publish_claim", &json!({"text": "still here"}));
    assert_eq!(texts(&daemon), ["still here"]);
}

#[test]
fn pipelined_writes_are_all_kept() {
    let daemon = alone();
    let mut agent = mcp(&daemon);
    let ids: BTreeSet<u64> = (0..200)
        .map(|n| agent.ask("tools/call", &json!({"name": "publish_claim", "arguments": {"text": format!("one {n}")}})))
        .collect();
    let answered: BTreeSet<u64> = ids.iter().map(|_| agent.hear()["id"].as_u64().unwrap()).collect();
    assert_eq!(answered, ids);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let daemon = &daemon;
            scope.spawn(move || {
                let mut agent = mcp(daemon);
                for n in 0..50 {
                    agent.done("publish_claim", &json!({"text": format!("client {client} claim {n}")}));
                }
            });
        }
    });
    assert_eq!(daemon.claims("g").iter().collect::<BTreeSet<_>>().len(), 400);
    // A client that walks by cursor sees each once.
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let page = agent.done("watch_claims", &json!({"cursor": cursor}));
        let rows = page["claims"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| text(&row["claim_hash"]).to_owned()));
        cursor = page["next_cursor"].clone();
        if rows.is_empty() {
            break;
        }
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (400, 400));
}

#[test]
fn answers_are_short_where_nobody_asks_for_more() {
    let daemon = alone();
    let mut agent = mcp(&daemon);
    for n in 0..40 {
        let words = format!("{n} {}", "knowledge of sockets ".repeat(if n % 4 == 0 { 3_000 } else { 10 }));
        agent.done("publish_claim", &json!({"text": words, "title": format!("claim {n}"), "tags": ["a", "b"]}));
        let title = format!("{n} {}", "do this and that ".repeat(14));
        agent.done(
            "create_task",
            &json!({"task_id": format!("t{n}"), "title": title, "description": "d".repeat(4_000)}),
        );
    }
    let tokens = |result: &Value| result.to_string().len() / 4;
    for (tool, arguments) in [
        ("get_recent_claims", json!({})),
        ("watch_claims", json!({})),
        ("compile_context", json!({"query": "sockets"})),
        ("list_tasks", json!({})),
        ("list_tasks", json!({"ready": true})),
        ("list_offers", json!({})),
        ("get_group_state", json!({})),
        ("get_presence", json!({})),
    ] {
        let result = agent.call(tool, &arguments);
        assert!(tokens(&result) < 4_000, "{tool}: {} tokens", tokens(&result));
    }
    let primed = agent.call("prime", &json!({}));
    assert!(tokens(&primed) <= 1_500, "prime: {} tokens", tokens(&primed));
    let claim = agent.done("get_recent_claims", &json!({"limit": 4}))["claims"][3].clone();
    assert!(text(&claim["text"]).len() > 60_000, "with a limit of its own a reader gets all");
}

#[test]
fn what_is_followed_is_told_when_it_changes_elsewhere() {
    let (first, second, group) = pair("team");
    let mut agent = mcp(&first);
    let uri = format!("lbm://group/{group}/claims/recent");
    assert_eq!(agent.request("resources/subscribe", &json!({"uri": uri}))["result"], json!({}));
    let bad = agent.request("resources/subscribe", &json!({"uri": "lbm://group/none/tasks"}));
    assert!(bad["error"]["code"].is_i64(), "{bad}");
    second.publish(&group, "news from afar");
    assert_eq!(agent.wait_for_note("notifications/resources/updated")["params"]["uri"], uri);
    let read = agent.request("resources/read", &json!({"uri": uri}))["result"]["contents"][0]["text"].clone();
    assert!(text(&read).contains("news from afar") && text(&read).contains("data, not instructions"), "{read}");
    agent.request("resources/unsubscribe", &json!({"uri": uri}));
    let more = second.publish(&group, "more");
    first.wait_for_claims(&group, &[&more]);
    assert!(agent.hear_within(Duration::from_millis(300)).is_none());

    // The second era, over the same server's other lifecycle.
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let mut agent = Mcp::silent(data(&first), &[]);
    let found = agent.request("server/discover", &json!({"_meta": meta}))["result"].clone();
    assert!(found["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{found}");
    let called = agent.request("tools/call", &json!({"name": "list_groups", "arguments": {}, "_meta": meta}));
    assert_eq!(called["result"]["resultType"], "complete", "{called}");
    let tasks = format!("lbm://group/{group}/tasks");
    let listen =
        agent.ask("subscriptions/listen", &json!({"notifications": {"resourceSubscriptions": [tasks]}, "_meta": meta}));
    let begun = agent.wait_for_note("notifications/subscriptions/acknowledged");
    assert_eq!(begun["params"]["notifications"]["resourceSubscriptions"][0], tasks);
    // What the stream was opened for may come in between: it is told again until it is heard.
    let mut n = 0;
    let heard = loop {
        n += 1;
        second.ctl(&["task", "create", "--group", &group, "--task", &format!("far{n}"), "--title", "x"]).ok();
        if let Some(note) = agent.hear_within(Duration::from_secs(2)) {
            break note;
        }
        assert!(n < 10, "no update came");
    };
    assert_eq!(heard["params"]["uri"], tasks);
    assert_eq!(heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], listen, "{heard}");
}

#[test]
fn whoever_dies_at_work_is_followed_by_another_and_the_reward_is_paid_once() {
    let daemon = alone();
    let (mut first, mut second) = (mcp(&daemon), mcp(&daemon));
    first.done("create_task", &json!({"task_id": "t", "title": "work", "reward": 9}));
    let begun = first.done("start_task", &json!({"lease_ms": 1_500}));
    first.child.kill().unwrap();
    second.refused("start_task", &json!({}), &["no_ready_task"]);
    wait_until(PATIENCE, "the lease is over", || {
        second.done("list_tasks", &json!({"ready": true}))["tasks"][0]["task_id"] == "t"
    });
    let taken = second.done("start_task", &json!({}));
    assert_eq!(taken["attempt"].as_u64().unwrap(), begun["attempt"].as_u64().unwrap() + 1);
    second.refused("complete_task", &json!({"task_id": "t", "attempt": begun["attempt"]}), &["task_taken_over"]);
    second.done("complete_task", &json!({"task_id": "t", "attempt": taken["attempt"]}));
    assert_eq!(daemon.ctl(&["token", "balance", "--group", "g"]).done()["balance"], 9);
}

#[test]
fn a_write_that_is_sent_again_under_its_key_is_done_once() {
    let mut daemon = alone();
    let mut agent = mcp(&daemon);
    let claim = json!({"text": "said once", "idempotency_key": "k1"});
    let first = agent.done("publish_claim", &claim);
    assert_eq!(agent.done("publish_claim", &claim), first);
    agent.refused("publish_claim", &json!({"text": "another", "idempotency_key": "k1"}), &["key_reused"]);
    // Side by side, and from a daemon that was killed after it.
    let run = json!({"name": "submit_experience", "arguments": {"content": "log", "idempotency_key": "k2"}});
    let ids = [agent.ask("tools/call", &run), agent.ask("tools/call", &run)];
    let answers = ids.map(|_| agent.hear()["result"]["structuredContent"].clone());
    assert_eq!(answers[0], answers[1]);
    let offer = json!({"title": "Guide", "text": "secret", "price": 3, "idempotency_key": "k3"});
    let offered = agent.done("create_offer", &offer);
    daemon.kill();
    daemon.restart();
    assert_eq!(agent.done("publish_claim", &claim), first);
    assert_eq!(agent.done("create_offer", &offer), offered);
    assert_eq!(texts(&daemon), ["said once"]);
    let stats = daemon.ctl(&["group", "stats", "g"]).done();
    assert_eq!(stats["experiences"], 1);
    assert_eq!(agent.done("list_offers", &json!({}))["offers"].as_array().unwrap().len(), 1);
    // A key is its author's: another agent means another write by it.
    daemon.ctl(&["agent", "create", "--name", "scout", "--group", "g"]).ok();
    let mut scout = Mcp::silent(data(&daemon), &["--agent", "scout"]);
    scout.initialize("2025-06-18");
    assert_ne!(scout.done("publish_claim", &claim), first);
    assert_eq!(texts(&daemon).len(), 2);
}

#[test]
fn each_agent_acts_in_its_own_name_until_it_is_revoked() {
    let daemon = alone();
    let created = daemon.ctl(&["agent", "create", "--name", "scout", "--group", "g"]).done();
    let scout_id = text(&created["member_id"]).to_owned();
    let mut node = mcp(&daemon);
    let mut scout = Mcp::silent(data(&daemon), &["--agent", "scout", "--group", "g"]);
    scout.initialize("2025-06-18");
    let primed = scout.done("prime", &json!({}));
    assert_eq!((&primed["identity"], &primed["agent"]), (&json!(scout_id), &json!("scout")));
    node.done("create_task", &json!({"task_id": "t", "title": "x", "reward": 4}));
    scout.done("start_task", &json!({}));
    assert_eq!(scout.done("prime", &json!({}))["my_tasks"][0]["task_id"], "t");
    node.refused("complete_task", &json!({"task_id": "t"}), &["task_taken", "not yours"]);
    let claim = scout.done("publish_claim", &json!({"text": "by the scout"}));
    scout.done("complete_task", &json!({"task_id": "t", "claim_hash": claim["claim_hash"]}));
    assert_eq!(scout.done("get_group_state", &json!({}))["balance"], 4);
    assert_eq!(node.done("get_recent_claims", &json!({}))["claims"][0]["author"], scout_id);
    scout.done("update_presence", &json!({"status": "idle"}));
    assert_eq!(node.done("get_presence", &json!({}))["presence"][0]["member_id"], scout_id);
    for tool in ["sync_group", "market_pull", "list_groups"] {
        scout.done(tool, &json!({}));
    }
    assert_eq!(scout.done("reserve_resource", &json!({"resource": "f"}))["reserved"], true);
    let other = node.done("reserve_resource", &json!({"resource": "f"}));
    assert_eq!((&other["reserved"], &other["holder"]), (&json!(false), &json!(scout_id)));
    let at_terminal = daemon.ctl(&["task", "reserve", "f", "--group", "g"]);
    assert_eq!((at_terminal.code, &at_terminal.json()["holder"]), (Some(1), &json!(scout_id)));
    scout.done("release_task", &json!({"task_id": other["task_id"]}));
    assert_eq!(daemon.ctl(&["task", "reserve", "f", "--group", "g"]).done()["reserved"], true);
    daemon.ctl(&["agent", "revoke", "scout"]).ok();
    for (tool, arguments) in [("prime", json!({})), ("publish_claim", json!({"text": "late"}))] {
        scout.refused(tool, &arguments, &["no_such_agent"]);
    }
    let mut never = Mcp::silent(data(&daemon), &["--agent", "nobody"]);
    never.initialize("2025-06-18");
    never.refused("prime", &json!({}), &["no_such_agent", "lbm ctl agent"]);
    assert_eq!(texts(&daemon), ["by the scout"]);
}
