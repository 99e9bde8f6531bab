//! `/mcp` over raw HTTP: who gets in, who does not, and that what goes on inside is an agent's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE, free_port};
use serde_json::{Value, json};

/// A daemon that serves agents, its port, and the token of its agent `scout`, a member of `g`.
fn served() -> (Daemon, u16, String) {
    let mut daemon = Daemon::prepared("served");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    daemon.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--mcp", &address]);
    daemon.restart();
    daemon.found("g");
    daemon.ctl(&["agent", "create", "--name", "scout", "--group", "g"]).ok();
    let token = daemon.ctl(&["agent", "token", "scout"]).text("token");
    (daemon, port, token)
}

/// Sends one request as it is, and gives the status and the body.
fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: 127.0.0.1:{port}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    // One that refuses early may close before it has read all.
    drop(stream.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// A call of a tool in the era without sessions.
fn call(port: u16, token: &str, more: &[(&str, &str)], tool: &str, arguments: &Value) -> (u16, String) {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string();
    let bearer = format!("Bearer {token}");
    let mut headers = vec![
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ];
    headers.extend(more);
    send(port, "POST", "/mcp", &headers, &body)
}

#[test]
fn nobody_gets_in_without_a_token_or_from_elsewhere() {
    let (daemon, port, token) = served();
    let publish = json!({"text": "let in"});
    let (status, body) = call(port, &token, &[], "publish_claim", &publish);
    assert!(status == 200 && body.contains("claim_hash"), "{status} {body}");

    for wrong in ["", "x", &token[..token.len() - 1], &format!("{token}x")] {
        let (status, body) = call(port, wrong, &[], "publish_claim", &publish);
        assert!(status == 401 && body.contains("lbm ctl agent token"), "{wrong}: {status} {body}");
    }
    let bearer = format!("Bearer {token}");
    assert_eq!(send(port, "POST", "/mcp", &[("authorization", &token)], "{}").0, 401, "without its scheme");
    let twice = [("authorization", bearer.as_str()), ("authorization", "Bearer x")];
    assert_eq!(send(port, "POST", "/mcp", &twice, "{}").0, 401, "two tokens");
    assert_eq!(send(port, "GET", "/mcp", &[], "").0, 401);
    for path in ["/", "/mcp/", "/api/v1/status", "/mcp/../api/v1/status"] {
        assert_eq!(send(port, "GET", path, &[("authorization", &bearer)], "").0, 404, "{path}");
    }

    for host in ["evil.example.com", "evil.example.com:80", "127.0.0.1.evil.example.com"] {
        assert_eq!(call(port, &token, &[("host", host)], "publish_claim", &publish).0, 403, "{host}");
    }
    for origin in ["http://evil.example.com", "https://localhost.evil.example.com", "null"] {
        assert_eq!(call(port, &token, &[("origin", origin)], "publish_claim", &publish).0, 403, "{origin}");
    }
    assert_eq!(call(port, &token, &[("origin", "http://localhost:3000")], "list_groups", &json!({})).0, 200);
    // No header of a request makes it another's.
    let (_, body) = call(port, &token, &[("lbm-agent", "other")], "prime", &json!({}));
    let scout = daemon.ctl(&["agent", "show", "scout"]).text("member_id");
    assert!(body.contains(&scout) && !body.contains(&daemon.id), "{body}");

    daemon.ctl(&["agent", "revoke", "scout"]).ok();
    assert_eq!(call(port, &token, &[], "publish_claim", &publish).0, 401, "revoked a moment ago");
    let list = daemon.ctl(&["claim", "list", "--group", "g"]).done();
    assert_eq!(list["claims"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["claims"][0]["author"], scout);
}

#[test]
fn answers_come_at_once_and_what_is_too_large_is_refused() {
    let (_daemon, port, token) = served();
    call(port, &token, &[], "list_groups", &json!({}));
    let took = (0..20).map(|_| {
        let started = Instant::now();
        assert_eq!(call(port, &token, &[], "list_groups", &json!({})).0, 200);
        started.elapsed()
    });
    // A socket that waits for more to send delays each answer by 40 ms; a busy machine delays some.
    let least = took.min().unwrap();
    assert!(least < Duration::from_millis(40), "{least:?}");
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let (status, _) = send(port, "POST", "/mcp", &headers, &"x".repeat(17 * 1024 * 1024));
    assert!(status == 413 || status == 0, "{status}");
    for body in ["", "{", "[]", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no\"}"] {
        let (status, _) = send(port, "POST", "/mcp", &headers, body);
        assert!((400..500).contains(&status), "{body}: {status}");
    }
    assert_eq!(call(port, &token, &[], "list_groups", &json!({})).0, 200);
}

#[test]
fn it_listens_on_loopback_or_not_at_all() {
    let mut daemon = Daemon::prepared("careful");
    for address in ["0.0.0.0:8765", "192.0.2.1:8765", "localhost:8765", "8765", "127.0.0.1"] {
        daemon.args(&["--mcp", address]);
        let answer = daemon.fails_to_start();
        assert!(answer.stderr.contains("127.0.0.1:8765"), "{answer:#?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    daemon.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--mcp", &address]);
    let answer = daemon.fails_to_start();
    assert!(answer.stderr.contains("--mcp") && answer.stderr.contains(&address), "{answer:#?}");
    let shown = daemon.lbm(&["config", "--json"]);
    assert!(shown.stdout.contains("\"mcp\"") && shown.stdout.contains("\"off\""), "{shown:#?}");
}
