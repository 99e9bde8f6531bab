//! What an agent's clients can hold of the daemon, and that nobody is kept out by it: real daemons, raw sockets, the real shim.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::mcp::{Agent, Mcp};
use common::{Daemon, PATIENCE, free_port, wait_until};
use serde_json::{Value, json};

/// What a person at the terminal waits at most.
const SOON: Duration = Duration::from_secs(20);

fn data(daemon: &Daemon) -> &str {
    daemon.data.to_str().unwrap()
}

/// A daemon that serves agents, its port, and the tokens of `scout`, a member of `g`, and `viewer`, who reads there.
fn served() -> (Daemon, u16, String, String) {
    let mut daemon = Daemon::prepared("limited");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    daemon.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--mcp", &address]);
    daemon.restart();
    daemon.found("g");
    daemon.ctl(&["agent", "create", "--name", "scout", "--group", "g"]).ok();
    daemon.ctl(&["agent", "create", "--name", "viewer", "--group", "g", "--role", "viewer"]).ok();
    let token = |name: &str| daemon.ctl(&["agent", "token", name]).text("token");
    let (scout, viewer) = (token("scout"), token("viewer"));
    (daemon, port, scout, viewer)
}

/// One request of the era with sessions; status, session and body.
fn post(port: u16, token: &str, session: Option<&str>, method: &str, body: &Value) -> (u16, Option<String>, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let session = session.map(|id| format!("mcp-session-id: {id}\r\nmcp-protocol-version: 2025-11-25\r\n"));
    let head = format!(
        "{method} /mcp HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n{}\r\n",
        body.len(),
        session.unwrap_or_default()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).map(str::to_owned);
    (status, id, body.to_owned())
}

fn open_session(port: u16, token: &str) -> String {
    let client =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client});
    let (status, session, body) = post(port, token, None, "POST", &body);
    assert_eq!(status, 200, "{body}");
    let session = session.expect("a session");
    let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(post(port, token, Some(&session), "POST", &begun).0, 202);
    session
}

fn ask(port: u16, token: &str, session: &str, method: &str, params: &Value) -> (u16, String) {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let (status, _, body) = post(port, token, Some(session), "POST", &body);
    (status, body)
}

fn list_groups(port: u16, token: &str, session: &str) -> (u16, String) {
    ask(port, token, session, "tools/call", &json!({"name": "list_groups", "arguments": {}}))
}

#[track_caller]
fn a_person_gets_in(daemon: &Daemon) {
    let started = Instant::now();
    daemon.ctl(&["status"]).ok();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn connections_without_a_token_keep_nobody_out_and_are_closed() {
    let (_daemon, port, scout, _) = served();
    let mut silent: Vec<_> = (0..200).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let half = b"POST /mcp HTTP/1.1\r\nhost: localhost\r\n";
    silent.iter_mut().step_by(2).for_each(|stream| drop(stream.write_all(half)));
    let started = Instant::now();
    let session = open_session(port, &scout);
    assert_eq!(list_groups(port, &scout, &session).0, 200);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "still open");
    }
    assert!(started.elapsed() < 2 * PATIENCE, "{:?}", started.elapsed());
    assert_eq!(list_groups(port, &scout, &session).0, 200);
}

#[test]
fn a_session_is_its_tokens_and_ends_with_it() {
    let (daemon, port, scout, viewer) = served();
    let session = open_session(port, &scout);
    let first = open_session(port, &viewer);
    for method in ["POST", "GET", "DELETE"] {
        let body = if method == "POST" {
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})
        } else {
            Value::Null
        };
        let (status, ..) = post(port, &viewer, Some(&session), method, &body);
        // To end what is not there is no fault: nothing ends.
        assert!(status == if method == "DELETE" { 202 } else { 404 }, "{method}: {status}");
        assert_eq!(list_groups(port, &scout, &session).0, 200, "{method}");
    }
    // However many one opens, it loses its own.
    let mut last = String::new();
    for _ in 0..50 {
        last = open_session(port, &viewer);
    }
    assert_eq!(list_groups(port, &viewer, &first).0, 404);
    assert_eq!(list_groups(port, &viewer, &last).0, 200);
    assert_eq!(list_groups(port, &scout, &session).0, 200);

    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "GET /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {viewer}\r\naccept: text/event-stream\r\n\
         mcp-session-id: {last}\r\nmcp-protocol-version: 2025-11-25\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut begun = [0; 512];
    let bytes = stream.read(&mut begun).unwrap();
    assert!(String::from_utf8_lossy(&begun[..bytes]).starts_with("HTTP/1.1 200"), "a stream");
    daemon.ctl(&["agent", "revoke", "viewer"]).ok();
    let (started, mut rest) = (Instant::now(), Vec::new());
    let ended = stream.read_to_end(&mut rest);
    assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "the stream goes on");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(list_groups(port, &viewer, &last).0, 401);
    // A new token of the same agent opens nothing of the old one's.
    let new = daemon.ctl(&["agent", "token", "scout"]).text("token");
    assert_eq!(list_groups(port, &scout, &session).0, 401);
    assert_eq!(list_groups(port, &new, &session).0, 404);
    assert_eq!(list_groups(port, &new, &open_session(port, &new)).0, 200);
}

#[test]
fn whoever_follows_and_waits_for_all_it_can_keeps_nobody_out() {
    let (daemon, port, scout, viewer) = served();
    let group = daemon.ctl(&["group", "list"]).done()["groups"][0]["group_id"].as_str().unwrap().to_owned();
    let uri = format!("lbm://group/{group}/tasks");
    // Over HTTP: as many sessions as there may be, each with a subscription.
    for _ in 0..60 {
        let session = open_session(port, &viewer);
        let (status, body) = ask(port, &viewer, &session, "resources/subscribe", &json!({"uri": uri}));
        assert!(status == 200, "{status} {body}");
    }
    a_person_gets_in(&daemon);
    // Over the shim: hundreds of listeners, and hundreds of calls that wait.
    let data = data(&daemon);
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    let mut listener = Mcp::silent(data, &["--agent", "viewer"]);
    for _ in 0..300 {
        let filter = json!({"notifications": {"resourceSubscriptions": [uri]}, "_meta": meta});
        listener.ask("subscriptions/listen", &filter);
    }
    let mut waiting: Vec<Mcp> = (0..5).map(|_| Mcp::silent(data, &["--agent", "viewer", "--group", "g"])).collect();
    for shim in &mut waiting {
        shim.initialize("2025-11-25");
        for _ in 0..60 {
            let arguments = json!({"wait_ms": 50_000, "since_ms": 8_000_000_000_000_u64});
            shim.ask("tools/call", &json!({"name": "watch_claims", "arguments": arguments}));
        }
    }
    let refused = waiting[4].hear();
    let words = refused["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(words.starts_with("busy: ") && words.contains("viewer"), "{refused}");
    a_person_gets_in(&daemon);
    let mut other = Mcp::silent(data, &["--agent", "scout", "--group", "g"]);
    other.initialize("2025-11-25");
    other.done("publish_claim", &json!({"text": "still heard"}));
    other.done("prime", &json!({}));
    let session = open_session(port, &scout);
    assert_eq!(list_groups(port, &scout, &session).0, 200);
    drop((waiting, listener));
    a_person_gets_in(&daemon);
}

#[test]
fn a_full_daemon_says_so_at_once_and_has_a_place_again_when_somebody_goes() {
    let daemon = Daemon::start("full");
    let held: Vec<UnixStream> = (0..300)
        .map_while(|_| {
            let mut stream = UnixStream::connect(daemon.data.join("lbm.sock")).ok()?;
            stream.write_all(b"GET /api/v1/events?follow=true HTTP/1.1\r\nhost: lbm\r\n\r\n").ok()?;
            Some(stream)
        })
        .collect();
    let started = Instant::now();
    let answer = daemon.ctl(&["status"]);
    answer.refused(1, &["the daemon is full", "try again"]);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    drop(held);
    wait_until(PATIENCE, "a place", || daemon.ctl(&["status"]).code == Some(0));
}

#[test]
fn the_shim_of_a_revoked_agent_is_not_the_new_one_of_its_name() {
    let daemon = Daemon::start("names");
    daemon.found("g");
    daemon.ctl(&["agent", "create", "--name", "vic", "--group", "g"]).ok();
    let mut shim = Mcp::silent(data(&daemon), &["--agent", "vic", "--group", "g"]);
    shim.initialize("2025-11-25");
    shim.done("publish_claim", &json!({"text": "as myself"}));
    daemon.ctl(&["agent", "revoke", "vic"]).ok();
    shim.refused("publish_claim", &json!({"text": "as nobody"}), &["no_such_agent"]);
    daemon.ctl(&["agent", "create", "--name", "vic", "--group", "g"]).ok();
    shim.refused("publish_claim", &json!({"text": "as another"}), &["no_such_agent", "another has its name"]);
    let mut anew = Mcp::silent(data(&daemon), &["--agent", "vic", "--group", "g"]);
    anew.initialize("2025-11-25");
    anew.done("publish_claim", &json!({"text": "as the new one"}));
    assert_eq!(daemon.claims("g").len(), 2);
}

#[test]
fn an_agent_of_one_group_means_that_one_and_any_other_is_told_who_it_is() {
    let daemon = Daemon::start("many");
    daemon.found("one");
    daemon.found("two");
    let member = daemon.ctl(&["agent", "create", "--name", "scout", "--group", "one"]).text("member_id");
    let shim = || {
        let mut shim = Mcp::silent(data(&daemon), &["--agent", "scout"]);
        shim.initialize("2025-11-25");
        shim
    };
    let prime = shim().done("prime", &json!({}));
    assert_eq!((&prime["identity"], &prime["groups"][0]["name"]), (&json!(member), &json!("one")));
    assert_eq!(prime["groups"].as_array().unwrap().len(), 1);
    shim().done("publish_claim", &json!({"text": "in my one group"}));
    assert_eq!(daemon.claims("one").len(), 1);

    daemon.add("two", &member, "viewer");
    let prime = shim().done("prime", &json!({}));
    let roles: Vec<_> = prime["groups"].as_array().unwrap().iter().map(|group| group["role"].clone()).collect();
    assert_eq!(
        (&prime["identity"], &prime["agent"], roles),
        (&json!(member), &json!("scout"), vec![json!("member"), json!("viewer")])
    );
    assert!(prime["help"].as_str().unwrap().contains("`group`"), "{prime}");

    let lone = daemon.ctl(&["agent", "create", "--name", "lone"]).text("member_id");
    let mut shim = Mcp::silent(data(&daemon), &["--agent", "lone"]);
    shim.initialize("2025-11-25");
    let prime = shim.done("prime", &json!({}));
    assert_eq!((&prime["identity"], &prime["groups"]), (&json!(lone), &json!([])));
    assert!(prime["help"].as_str().unwrap().contains("add-member"), "{prime}");
    shim.refused("publish_claim", &json!({"text": "nowhere"}), &["no_group", "add-member"]);
}
