//! Whole commands against a small server on a real socket: what is sent, what is printed, how it ends.

mod claims;
mod tasks;

use std::io::BufRead;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{Method, Uri};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::*;
use crate::api::client::Client;
use crate::api::socket_path;
use crate::api::types::{Problem, ProblemCode};
use crate::cli::{Cli, Command, finish};

const ID: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What the server was asked: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, Value)>>>;

/// How a command ended.
struct Ran {
    code: String,
    out: String,
    err: String,
    asked: Vec<(String, Value)>,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}", self.out);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs a command line against a server that answers every request with `answer`.
async fn run_with(
    line: &[&str],
    mut input: impl BufRead,
    answer: impl Fn(&str, &Value) -> Response + Clone + Send + Sync + 'static,
) -> Ran {
    let data = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(data.path())).unwrap();
    let asked = Asked::default();
    let log = asked.clone();
    let router = Router::new().fallback(async move |method: Method, uri: Uri, body: Bytes| {
        let request = format!("{method} {uri}");
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let response = answer(&request, &body);
        log.lock().unwrap().push((request, body));
        response
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut ran = run_at(line, &mut input, data.path()).await;
    ran.asked = asked.lock().unwrap().clone();
    ran
}

async fn run_at(line: &[&str], input: &mut dyn BufRead, data: &Path) -> Ran {
    let cli = Cli::try_parse_from(["lbm", "ctl"].iter().chain(line)).unwrap();
    let Command::Ctl(args) = cli.command else { panic!("not ctl") };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut session = Session::new(Client::new(data), cli.global.json, (&mut out, &mut err, input));
    session.now_ms = 1_795_348_800_000;
    let ran = super::run(&args, &mut session).await;
    let code = finish(ran, cli.global.json, &mut out, &mut err);
    let text = |bytes: Vec<u8>| anstream::adapter::strip_str(&String::from_utf8(bytes).unwrap()).to_string();
    let code = match format!("{code:?}") {
        code if code == format!("{:?}", std::process::ExitCode::from(0)) => "0".to_owned(),
        code if code == format!("{:?}", std::process::ExitCode::from(1)) => "1".to_owned(),
        code if code == format!("{:?}", std::process::ExitCode::from(3)) => "3".to_owned(),
        other => other,
    };
    Ran { code, out: text(out), err: text(err), asked: Vec::new() }
}

async fn run(line: &[&str], answer: Value) -> Ran {
    run_with(line, std::io::empty(), move |_, _| Json(answer.clone()).into_response()).await
}

fn claim(hash: &str, text: &str) -> Value {
    json!({"claim_hash": hash, "text": text, "title": null, "tags": ["a", "b"], "author": ID,
           "created_ms": 1_795_348_680_000_u64, "parent_hash": null, "evidence": [], "supersedes": [], "superseded_by": [],
           "valid_until_ms": null, "retracted": false, "final": false})
}

fn with_policy(answer: &Value) -> Value {
    let mut answer = answer.clone();
    for rule in ["faucet_amount", "claim_reward_amount", "transfer_fee_bps", "max_total_supply", "max_account_balance"]
    {
        answer[rule] = json!(0);
    }
    answer["listed"] = json!(false);
    answer
}

fn stream(events: &[Value]) -> Response {
    let events: Vec<_> = events.iter().map(|event| SseEvent::default().json_data(event)).collect();
    Sse::new(futures::stream::iter(events)).into_response()
}

#[tokio::test]
async fn status_is_the_apis_answer() {
    let answer = json!({"node_id": ID, "member_id": ID, "agents": 0, "name": "alice", "version": "0.1.0", "uptime_s": 125,
                        "listen": ["/ip4/127.0.0.1/tcp/1/p2p/x", "/ip4/127.0.0.1/udp/1/quic-v1/p2p/x"],
                        "peers": 1, "groups": 2, "unsure_groups": 0, "shut_out_groups": 0, "stranded_blocks": 0, "indexing_groups": 0, "troubled_indexes": 0,
                        "open_purchases": {"paid": 1, "granted": 2}, "embedder": null});
    let ran = run(&["status", "--json"], answer.clone()).await;
    assert_eq!((ran.json(), ran.code.as_str(), ran.err.as_str()), (answer.clone(), "0", ""));
    assert_eq!(ran.asked, [("GET /api/v1/status".to_owned(), Value::Null)]);
    let people = run(&["status"], answer).await.out;
    assert!(people.contains("1 paid, 2 granted: `lbm ctl offer purchases`"), "{people}");
    assert!(people.contains("up for     2 min\n") && people.contains("listen     /ip4/127.0.0.1/tcp/1"), "{people}");
}

#[tokio::test]
async fn each_command_asks_its_route() {
    let changed = json!({"group_id": HASH, "member_id": ID, "role": "viewer", "block_id": HASH});
    let add = "POST /api/v1/groups/domain:x/members";
    let one = format!("/api/v1/groups/domain:x/members/{ID}");
    for (line, answer, request, body) in [
        (
            vec!["group", "create", "--name", "domain:x"],
            json!({"group_id": HASH, "name": "domain:x"}),
            "POST /api/v1/groups",
            json!({"name": "domain:x"}),
        ),
        (
            vec!["group", "add-member", "--group", "domain:x", "--member", ID],
            changed.clone(),
            add,
            json!({"member": ID, "role": "member"}),
        ),
        (
            vec!["group", "set-role", "--group", "domain:x", "--member", ID, "--role", "viewer"],
            changed.clone(),
            &format!("PUT {one}"),
            json!({"role": "viewer"}),
        ),
        (
            vec!["group", "remove-member", "--group", "domain:x", "--member", ID],
            json!({"group_id": HASH, "member_id": ID, "role": null, "block_id": HASH}),
            &format!("DELETE {one}"),
            Value::Null,
        ),
        (
            vec!["peer", "add", "--addr", "/ip4/1.2.3.4/tcp/1/p2p/x", "--alias", "bob"],
            json!({"peer_id": ID, "addr": "/ip4/1.2.3.4/tcp/1/p2p/x", "alias": "bob", "connected": false, "banned_ms": null}),
            "POST /api/v1/peers",
            json!({"addr": "/ip4/1.2.3.4/tcp/1/p2p/x", "alias": "bob"}),
        ),
        (
            vec!["peer", "set", "bob", "--alias", "robert"],
            json!({"peer_id": ID, "alias": "robert"}),
            "PATCH /api/v1/peers/bob",
            json!({"alias": "robert"}),
        ),
        (vec!["peer", "remove", "bob"], json!({"peer_id": ID}), "DELETE /api/v1/peers/bob", Value::Null),
        (vec!["sync", "--group", "g"], json!({"groups": []}), "POST /api/v1/sync", json!({"group": "g"})),
        (
            vec!["stranded", "--group", "g"],
            json!({"stranded": [], "next_cursor": null}),
            "GET /api/v1/stranded?group=g",
            Value::Null,
        ),
        (
            vec!["rejected", "--group", "g"],
            json!({"rejected": [], "next_cursor": null}),
            "GET /api/v1/rejected?group=g",
            Value::Null,
        ),
    ] {
        asks(&line, answer, request, body).await;
    }
}

#[tokio::test]
async fn each_command_about_knowledge_asks_its_route() {
    for (line, answer, request, body) in [
        (
            vec!["claim", "publish", "--group", "g", "--text", "- a list", "--tags", "a, b,,c", "--parent", "ab"],
            json!({"claim_hash": HASH, "block_id": HASH}),
            "POST /api/v1/groups/g/claims",
            json!({"text": "- a list", "tags": ["a", "b", "c"], "parent_hash": "ab"}),
        ),
        (
            vec![
                "claim",
                "publish",
                "--group",
                "g",
                "--text",
                "t",
                "--supersedes",
                "ab,cd",
                "--valid-until",
                "2h",
                "--evidence-command",
                "make",
                "--exit-code",
                "2",
                "--evidence-command",
                "ls",
                "--exit-code",
                "0",
                "--evidence-hash",
                "h",
                "--evidence-link",
                "l",
                "--evidence-note",
                "n",
            ],
            json!({"claim_hash": HASH, "block_id": HASH}),
            "POST /api/v1/groups/g/claims",
            json!({"text": "t", "evidence": [
                {"kind": "command", "command": "make", "exit_code": 2}, {"kind": "command", "command": "ls", "exit_code": 0},
                {"kind": "hash", "hash": "h"}, {"kind": "link", "link": "l"}, {"kind": "note", "note": "n"},
            ], "supersedes": ["ab", "cd"], "valid_until_ms": 1_795_356_000_000_u64}),
        ),
        (
            vec!["claim", "retract", "ab", "--group", "g"],
            json!({"claim_hash": HASH, "retracted": true, "block_id": HASH}),
            "POST /api/v1/groups/g/claims/ab/retract",
            Value::Null,
        ),
        (
            vec!["claim", "watch", "--group", "g", "--cursor", "c", "--wait", "30s", "--tag", "a", "--tag", "b"],
            json!({"claims": [], "next_cursor": "d"}),
            "GET /api/v1/groups/g/claims/watch?cursor=c&wait_ms=30000&tags=a%2Cb",
            Value::Null,
        ),
        (
            vec!["claim", "recent", "--group", "g", "--since", "2h"],
            json!({"claims": [], "next_cursor": null}),
            "GET /api/v1/groups/g/claims/recent?limit=20&since_ms=1795341600000",
            Value::Null,
        ),
        (
            vec![
                "context",
                "input validation",
                "--group",
                "g",
                "--top-k",
                "8",
                "--since",
                "1970-01-02",
                "--author",
                ID,
            ],
            json!({"context": "", "claim_hashes": [], "items": [], "embedder": null}),
            "POST /api/v1/groups/g/context",
            json!({"query": "input validation", "top_k": 8, "since_ms": 86_400_000, "author": ID}),
        ),
    ] {
        asks(&line, answer, request, body).await;
    }
}

#[tokio::test]
async fn each_command_about_tokens_asks_its_route() {
    let paid = json!({"group_id": HASH, "block_id": HASH, "to": ID, "amount": 5, "fee": 0});
    for (line, answer, request, body) in [
        (
            vec!["group", "policy", "--group", "g", "--set", "claim_reward_amount=10", "--set", "listed=false"],
            with_policy(&json!({"group_id": HASH, "block_id": HASH})),
            "PATCH /api/v1/groups/g/policy",
            json!({"claim_reward_amount": 10, "listed": false}),
        ),
        (
            vec!["group", "policy", "--group", "g"],
            with_policy(&json!({"group_id": HASH})),
            "GET /api/v1/groups/g/policy",
            Value::Null,
        ),
        (
            vec!["token", "mint", "--group", "g", "--to", ID, "--amount", "5"],
            paid.clone(),
            "POST /api/v1/groups/g/mint",
            json!({"to": ID, "amount": 5}),
        ),
        (
            vec!["token", "transfer", "--group", "g", "--to", ID, "--amount", "5"],
            paid.clone(),
            "POST /api/v1/groups/g/transfer",
            json!({"to": ID, "amount": 5}),
        ),
        (
            vec!["token", "pay", "--group", "g", "--to", ID, "--amount", "5"],
            paid,
            "POST /api/v1/groups/g/pay",
            json!({"to": ID, "amount": 5}),
        ),
        (
            vec!["token", "balance", "--group", "g"],
            json!({"account": ID, "balance": 1}),
            "GET /api/v1/groups/g/balance",
            Value::Null,
        ),
        (
            vec!["token", "history", "--group", "g", "--account", ID, "--limit", "2"],
            json!({"account": ID, "moves": [], "next_cursor": null}),
            &format!("GET /api/v1/groups/g/history?account={ID}&limit=2"),
            Value::Null,
        ),
    ] {
        asks(&line, answer, request, body).await;
    }
}

/// A command asks this, prints the answer as it came, and something else for people.
async fn asks(line: &[&str], answer: Value, request: &str, body: Value) {
    let with_json: Vec<_> = line.iter().copied().chain(["--json"]).collect();
    let ran = run(&with_json, answer.clone()).await;
    assert_eq!((ran.json(), ran.code.as_str()), (answer.clone(), "0"), "{line:?}: {}", ran.err);
    assert_eq!(ran.asked, [(request.to_owned(), body)], "{line:?}");
    let people = run(line, answer).await;
    assert!(people.code == "0" && people.out.ends_with('\n') && !people.out.starts_with('{'), "{}", people.out);
}

#[tokio::test]
async fn claims_are_a_table_for_people() {
    let list = json!({"claims": [claim(HASH, "Always validate\ninputs\u{1b}[2J")], "next_cursor": "c7"});
    let ran = run(&["claim", "list", "--group", "g", "--limit", "1"], list).await;
    let hash = &HASH[..12];
    let author = &ID[ID.len() - 8..];
    let expected = format!(
        "CLAIM         AUTHOR    WHEN       TAGS  TEXT\n\
         {hash}  {author}  2 min ago  a,b   Always validate inputs\u{FFFD}[2J\n\
         More: --cursor c7\n"
    );
    assert_eq!(ran.out, expected);
    let shown = run(&["claim", "show", HASH, "--group", "g"], claim(HASH, "two\nlines\u{7}")).await.out;
    assert!(
        shown.contains("2026-11-22T11:58:00Z (2 min ago)") && shown.ends_with("\n\ntwo\nlines\u{FFFD}\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_list_longer_than_a_page_is_fetched_page_by_page() {
    let pages = |request: &str, _: &Value| {
        let start: usize = request.split("cursor=").nth(1).map_or(0, |cursor| cursor.parse().unwrap());
        let limit: usize = request.split("limit=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
        let end = (start + limit).min(2_300);
        let claims: Vec<_> = (start..end).map(|number| claim(&number.to_string(), "t")).collect();
        Json(json!({"claims": claims, "next_cursor": (end < 2_300).then(|| end.to_string())})).into_response()
    };
    for (limit, expected, asked, cursor) in
        [("10", 10, 1, json!("10")), ("2000", 2_000, 2, json!("2000")), ("9999", 2_300, 3, Value::Null)]
    {
        let ran =
            run_with(&["claim", "list", "--group", "g", "--limit", limit, "--json"], std::io::empty(), pages).await;
        let list = ran.json();
        let claims = list["claims"].as_array().unwrap();
        assert_eq!((claims.len(), ran.asked.len(), &list["next_cursor"]), (expected, asked, &cursor));
        assert_eq!(claims.last().unwrap()["claim_hash"], json!((expected - 1).to_string()));
    }
    let recent = ["claim", "recent", "--group", "g", "--limit", "2000", "--json"];
    assert_eq!(run_with(&recent, std::io::empty(), pages).await.json()["claims"].as_array().unwrap().len(), 2_000);
    let none = run_with(&["claim", "list", "--group", "g", "--limit", "0"], std::io::empty(), pages).await;
    assert!(none.code == "1" && none.err.contains("`limit` is 0"), "{}", none.err);
}

#[tokio::test]
async fn an_empty_hash_is_named_and_an_exit_code_is_one() {
    for command in ["show", "thread", "retract"] {
        let ran = run(&["claim", command, "", "--group", "g"], Value::Null).await;
        assert!(ran.code == "1" && ran.err.contains("`HASH` is empty") && ran.asked.is_empty(), "{}", ran.err);
    }
    let published = json!({"claim_hash": HASH, "block_id": HASH});
    let args =
        |typed| ["claim", "publish", "--group", "g", "--text", "t", "--evidence-command", "c", "--exit-code", typed];
    for (typed, sent) in [("-1", 255), ("0", 0), ("255", 255)] {
        let ran = run(&args(typed), published.clone()).await;
        assert_eq!(ran.asked[0].1["evidence"][0]["exit_code"], json!(sent), "{typed}: {}", ran.err);
    }
    for bad in ["256", "-2", "x", ""] {
        let refused = Cli::try_parse_from(["lbm", "ctl"].into_iter().chain(args(bad))).unwrap_err();
        assert!(refused.to_string().contains("from -1 to 255"), "{refused}");
    }
}

#[tokio::test]
async fn text_comes_from_standard_input() {
    let answer = |_: &str, _: &Value| Json(json!({"claim_hash": HASH, "block_id": HASH})).into_response();
    let publish = ["claim", "publish", "--group", "g", "--text", "-"];
    let ran = run_with(&publish, "two\nlines\r\n".as_bytes(), answer).await;
    assert_eq!((ran.code.as_str(), &ran.asked[0].1), ("0", &json!({"text": "two\nlines"})));
    let full = format!("{}\n", "x".repeat(crate::limits::CLAIM_TEXT_BYTES));
    assert_eq!(run_with(&publish, full.as_bytes(), answer).await.code, "0");
    let over = format!("{}y", "x".repeat(crate::limits::CLAIM_TEXT_BYTES));
    let huge = over.repeat(3);
    for (input, words) in [
        (over.as_bytes(), "at most 65536"),
        (huge.as_bytes(), "standard input has more than"),
        (b"a\xff", "not UTF-8 text (byte 1"),
        (b"a\0b", "NUL byte at byte 1"),
        (b"\n", "`text` is empty"),
    ] {
        let ran = run_with(&publish, input, answer).await;
        assert!(ran.code == "1" && ran.err.contains(words) && ran.asked.is_empty(), "{}", ran.err);
    }
}

#[tokio::test]
async fn a_bulk_is_sent_in_parts_and_summed_up() {
    let answer = |_: &str, body: &Value| {
        let claims = body["claims"].as_array().unwrap();
        let hashes: Vec<_> = claims.iter().map(|claim| claim["text"].clone()).collect();
        Json(json!({"published": claims.len(), "claim_hashes": hashes, "blocks": 1, "block_id": HASH})).into_response()
    };
    let lines: String = (0..1_500).map(|number| format!("{{\"text\":\"{number}\"}}\n")).collect();
    let bulk = ["claim", "publish", "--group", "g", "--file", "-", "--json"];
    let ran = run_with(&bulk, lines.as_bytes(), answer).await;
    let done = ran.json();
    assert_eq!((&done["published"], &done["blocks"], ran.asked.len()), (&json!(1_500), &json!(2), 2));
    assert_eq!((&done["claim_hashes"][0], &done["claim_hashes"][1_499]), (&json!("0"), &json!("1499")));
    assert_eq!(ran.err, "");

    let bad = format!("{lines}{{\"text\":\"\"}}\n");
    let ran = run_with(&bulk, bad.as_bytes(), answer).await;
    assert!(ran.code == "1" && ran.asked.is_empty() && ran.err.contains("standard input, line 1501: "), "{}", ran.err);
    assert_eq!(ran.json()["code"], "bad_line");

    let fails_late = move |request: &str, body: &Value| {
        if body["claims"][0]["text"] == "1000" { problem(ProblemCode::Storage) } else { answer(request, body) }
    };
    let ran = run_with(&bulk, lines.as_bytes(), fails_late).await;
    let words = "stopped at line 1001 of standard input, with 1000 claims published before it";
    assert!(ran.code == "1" && ran.err.contains(words), "{}", ran.err);

    let missing =
        run_with(&["claim", "publish", "--group", "g", "--file", "/nowhere/f"], std::io::empty(), answer).await;
    assert!(missing.code == "1" && missing.err.contains("cannot read /nowhere/f"), "{}", missing.err);
}

fn problem(code: ProblemCode) -> Response {
    let status = axum::http::StatusCode::from_u16(code.status()).unwrap();
    (status, Json(Problem::new(code, "no group `g`", "see `lbm ctl group list`"))).into_response()
}

#[tokio::test]
async fn a_refusal_is_exit_code_1_with_the_daemons_words() {
    let line = ["group", "show", "g", "--json"];
    let ran = run_with(&line, std::io::empty(), |_, _| problem(ProblemCode::UnknownGroup)).await;
    assert_eq!((ran.code.as_str(), ran.err.as_str()), ("1", "error: no group `g`: see `lbm ctl group list`\n"));
    assert_eq!((&ran.json()["code"], &ran.json()["status"]), (&json!("unknown_group"), &json!(404)));
}

#[tokio::test]
async fn without_a_daemon_it_is_exit_code_3_and_says_how_to_start_it() {
    let data = tempfile::tempdir().unwrap();
    let bulk = ["claim", "publish", "--group", "g", "--file", "-"];
    for line in [&["status"][..], &["claim", "list", "--group", "g"], &["group", "join", "00"], &bulk] {
        let ran = run_at(line, &mut "{\"text\":\"t\"}".as_bytes(), data.path()).await;
        let start = format!("lbm-node --data {}", data.path().display());
        assert!(ran.code == "3" && ran.err.contains(&start) && ran.out.is_empty(), "{line:?} {} {}", ran.code, ran.err);
    }
    let json = run_at(&["status", "--json"], &mut std::io::empty(), data.path()).await;
    assert_eq!(json.json()["code"], "no_daemon");
}

#[tokio::test]
async fn another_version_is_a_warning_and_no_failure() {
    let answer = json!({"peers": []});
    let newer =
        move |_: &str, _: &Value| ([(crate::api::VERSION_HEADER, "99.1.0")], Json(answer.clone())).into_response();
    let ran = run_with(&["peer", "list", "--json"], std::io::empty(), newer).await;
    assert_eq!((ran.code.as_str(), ran.json()), ("0", json!({"peers": []})));
    assert!(ran.err.starts_with("warning: the daemon is version 99.1.0, this is "), "{}", ran.err);
}

#[tokio::test]
async fn an_answer_that_something_is_wrong_is_exit_code_1() {
    let held = json!({"ok": true, "state_hash": HASH, "blocks": 2, "final_blocks": 1, "faults": []});
    let ran = run(&["group", "verify", "g"], held.clone()).await;
    assert_eq!((ran.code.as_str(), ran.out.lines().next()), ("0", Some("2 blocks, 1 final: everything holds")));
    let mut broken = held;
    broken["ok"] = json!(false);
    broken["faults"] = json!(["block ab: the signature does not match"]);
    let ran = run(&["group", "verify", "g"], broken.clone()).await;
    assert!(ran.code == "1" && ran.out.ends_with("- block ab: the signature does not match\n") && ran.err.is_empty());
    assert_eq!(run(&["group", "verify", "g", "--json"], broken.clone()).await.json(), broken);
    let ill =
        json!({"ok": false, "checks": [{"name": "store", "ok": false, "detail": "disk full", "remedy": "free some"}]});
    let ran = run(&["health"], ill).await;
    assert!(ran.code == "1" && ran.out.contains("store  BAD    disk full\nstore: free some\n"), "{}", ran.out);
}

#[tokio::test]
async fn joining_shows_how_it_goes_and_how_it_ends() {
    let looking = json!({"type": "looking", "peers": 1});
    let joined = json!({"type": "joined", "group_id": HASH, "name": "g", "role": "member", "blocks": 3, "claims": 2,
                        "elapsed_ms": 40});
    let waiting = json!({"type": "waiting", "group_id": HASH,
        "problem": Problem::new(ProblemCode::NoMemberReachable, "no member answered", "add one with `lbm ctl peer add`")});
    let refused =
        json!({"type": "refused", "problem": Problem::new(ProblemCode::NotAMember, "not a member", "ask an admin")});
    let follow = |events: Vec<Value>| move |_: &str, _: &Value| stream(&events);

    let line = ["group", "join", HASH, "--timeout", "5s"];
    let ran = run_with(&line, std::io::empty(), follow(vec![looking.clone(), joined.clone()])).await;
    assert_eq!(ran.asked, [("POST /api/v1/join".to_owned(), json!({"group": HASH, "wait_ms": 5_000}))]);
    assert_eq!(ran.out, "Joined g as member: 2 claims in 3 blocks, in 40 ms.\n");
    assert_eq!((ran.code.as_str(), ran.err.as_str()), ("0", "Asking 1 peer for the group…\n"));
    let as_json = run_with(&["group", "join", HASH, "--json"], std::io::empty(), follow(vec![joined])).await.json();
    assert_eq!((&as_json["group_id"], &as_json["joined"], &as_json["claims"]), (&json!(HASH), &json!(true), &json!(2)));

    let ran = run_with(&line, std::io::empty(), follow(vec![looking.clone(), waiting.clone()])).await;
    assert!(
        ran.code == "1" && ran.err.ends_with("no member answered: add one with `lbm ctl peer add`\n"),
        "{}",
        ran.err
    );
    let no_wait = ["group", "join", HASH, "--no-wait", "--json"];
    let ran = run_with(&no_wait, std::io::empty(), follow(vec![waiting])).await;
    assert_eq!((ran.code.as_str(), &ran.json()["joined"], &ran.asked[0].1["wait_ms"]), ("0", &json!(false), &json!(0)));
    let ran = run_with(&line, std::io::empty(), follow(vec![refused])).await;
    assert!(ran.code == "1" && ran.err.ends_with("not a member: ask an admin\n"));
    let ran = run_with(&line, std::io::empty(), follow(vec![looking])).await;
    assert!(ran.code == "1" && ran.err.contains("stopped following"), "{}", ran.err);
    let ran = run_with(&["group", "join", HASH, "--timeout", "2h"], std::io::empty(), follow(Vec::new())).await;
    assert!(ran.code == "1" && ran.err.contains("from 0 to 3600000") && ran.asked.is_empty(), "{}", ran.err);
}

#[tokio::test]
async fn events_are_one_document_or_one_a_line() {
    let one = json!({"seq": 1, "at_ms": 1_795_348_800_000_u64, "type": "peer_connected", "peer_id": ID});
    let two = json!({"seq": 2, "at_ms": 1_795_348_800_000_u64, "type": "missed", "count": 4});
    let events = vec![one.clone(), two.clone()];
    let answer = move |_: &str, _: &Value| stream(&events);
    let back = run_with(&["events", "--json"], std::io::empty(), answer.clone()).await;
    assert_eq!(
        (back.json(), back.asked[0].0.as_str()),
        (json!({"events": [one, two]}), "GET /api/v1/events?after=0&follow=false")
    );
    let follow = run_with(&["events", "--follow", "--json"], std::io::empty(), answer.clone()).await;
    let lines: Vec<Value> = follow.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines, follow.asked[0].0.as_str()), (vec![one, two], "GET /api/v1/events?follow=true"));
    let people = run_with(&["events"], std::io::empty(), answer).await.out;
    assert_eq!(people.lines().next().unwrap(), format!("     1  2026-11-22T12:00:00Z  connected to {ID}"));
}
