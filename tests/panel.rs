//! The panel: who gets in and from where, over raw HTTP; and what a person sees of it, in a real browser.
//!
//! `tests/panel/install` puts what drives the browser into the folder that `LBM_PANEL_TOOLS` names. Without it, or without Chromium, the
//! part with the browser says loudly that it is skipped. It leaves a picture of each page in `target/panel-shots`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Daemon, LBM, PATIENCE, clean, free_port, lbm};
use lbm::identity::SecretKey;
use lbm::net::{AddressBook, NetConfig, Network, Protocol};
use serde_json::{Value, json};

/// A daemon that serves the panel, and its port.
fn served(name: &str) -> (Daemon, u16) {
    let mut daemon = Daemon::prepared(name);
    let port = free_port();
    daemon.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--admin", &format!("127.0.0.1:{port}")]);
    daemon.restart();
    (daemon, port)
}

/// An answer: its status, its head, its body.
struct Answer(u16, String, String);

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.1.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.2).unwrap_or_else(|error| panic!("{error}: {} {}", self.0, self.2))
    }
}

fn begin(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> TcpStream {
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
    stream
}

/// Sends one request as it is.
fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut answer = Vec::new();
    // One that refuses early may close before it has read all.
    drop(begin(port, method, path, headers, body).read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer(status, head.to_owned(), body.to_owned())
}

/// A browser that is logged in: what it sends with each request.
struct Browser {
    port: u16,
    cookie: String,
    key: String,
}

fn token(daemon: &Daemon, more: &[&str]) -> String {
    let url = daemon.ctl(&[&["admin", "url"], more].concat()).text("url");
    url.split_once("/#login=").expect("a link").1.to_owned()
}

fn follow(port: u16, token: &str) -> Answer {
    let origin = format!("http://127.0.0.1:{port}");
    let headers = [("origin", origin.as_str()), ("content-type", "application/json")];
    send(port, "POST", "/session", &headers, &json!({"token": token}).to_string())
}

impl Browser {
    fn log_in(daemon: &Daemon, port: u16, more: &[&str]) -> Self {
        let answer = follow(port, &token(daemon, more));
        assert_eq!(answer.0, 200, "{}", answer.2);
        let set = answer.header("set-cookie").unwrap();
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set.contains(part), "{set}");
        }
        let cookie = set.split(';').next().unwrap().to_owned();
        Self { port, cookie, key: answer.json()["key"].as_str().unwrap().to_owned() }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send_with(method, path, &[], body)
    }

    fn send_with(&self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
        send(self.port, method, path, &self.headers(more, &format!("http://127.0.0.1:{}", self.port)), body)
    }

    fn headers<'a>(&'a self, more: &[(&'a str, &'a str)], origin: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut headers = more.to_vec();
        let usual = [
            ("cookie", self.cookie.as_str()),
            ("lbm-panel-key", self.key.as_str()),
            ("origin", origin),
            ("content-type", "application/json"),
            ("sec-fetch-site", "same-origin"),
        ];
        headers.extend(usual.iter().filter(|(name, _)| !more.iter().any(|(given, _)| given == name)));
        headers.retain(|(_, value)| *value != "-");
        headers
    }
}

#[test]
fn a_link_lets_one_browser_in_and_a_restart_throws_nobody_out() {
    let (mut daemon, port) = served("alice");
    let page = send(port, "GET", "/", &[], "");
    assert!(page.0 == 200 && page.2.contains("<title>LBM</title>"), "{}", page.2);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && policy.contains("frame-ancestors 'none'"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }

    let link = token(&daemon, &[]);
    for _ in 0..3 {
        assert_eq!(send(port, "GET", "/", &[("purpose", "prefetch")], "").0, 200, "fetching the page uses nothing up");
    }
    assert_eq!(follow(port, "wrong").0, 410);
    assert_eq!(follow(port, &link).0, 200);
    let again = follow(port, &link);
    assert!(again.0 == 410 && again.2.contains("lbm ctl admin url"), "{}", again.2);
    // Behind a proxy that speaks TLS the cookie goes nowhere else.
    for (scheme, is_secure) in [("http", false), ("https", true)] {
        let origin = format!("{scheme}://127.0.0.1:{port}");
        let headers = [("origin", origin.as_str()), ("content-type", "application/json")];
        let opened = send(port, "POST", "/session", &headers, &json!({"token": token(&daemon, &[])}).to_string());
        assert_eq!(opened.header("set-cookie").unwrap().contains("; Secure"), is_secure, "{}", opened.1);
    }

    let browser = Browser::log_in(&daemon, port, &[]);
    let status = browser.send("GET", "/api/v1/status", "");
    assert_eq!(status.json()["node_id"], daemon.id);
    assert_eq!(status.header("cache-control"), Some("no-store"));
    for without in ["cookie", "lbm-panel-key"] {
        let refused = browser.send_with("GET", "/api/v1/status", &[(without, "-")], "");
        assert_eq!((refused.0, refused.json()["code"].as_str().unwrap()), (401, "login_needed"), "without {without}");
    }
    let created = browser.send("POST", "/api/v1/groups", r#"{"name":"g"}"#);
    assert_eq!(created.0, 200, "{}", created.2);

    daemon.stop();
    daemon.restart();
    assert_eq!(browser.send("GET", "/api/v1/groups", "").json()["groups"][0]["name"], "g", "the session stands");
    let kept = std::fs::read_to_string(daemon.data.join("sessions")).unwrap();
    assert!(!kept.contains(&browser.key) && !kept.contains(browser.cookie.split_once('=').unwrap().1), "{kept}");

    // What streams ends with the session.
    let headers = [("cookie", browser.cookie.as_str()), ("lbm-panel-key", browser.key.as_str())];
    let mut stream = begin(port, "GET", "/api/v1/events?follow=true", &headers, "");
    stream.read_exact(&mut [0; 15]).unwrap();
    let out = browser.send("DELETE", "/session", "");
    assert_eq!(out.0, 200, "{}", out.2);
    assert!(out.header("set-cookie").unwrap().contains("=; ") && out.1.contains("Max-Age=0"), "{}", out.1);
    drop(stream.read_to_end(&mut Vec::new()));
    assert_eq!(browser.send("GET", "/api/v1/status", "").0, 401);
}

#[test]
fn nothing_is_done_for_another_page_or_under_another_name() {
    let (daemon, port) = served("alice");
    let browser = Browser::log_in(&daemon, port, &[]);
    let create = |more: &[(&str, &str)]| browser.send_with("POST", "/api/v1/groups", more, r#"{"name":"stolen"}"#).0;
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.1.2.3", ""] {
        assert_eq!(create(&[("host", host)]), 403, "{host}");
        assert_eq!(send(port, "GET", "/", &[("host", host)], "").0, 403, "{host}");
    }
    for origin in ["http://evil.example", "null", "-", "http://127.0.0.1:1", "http://localhost"] {
        assert_eq!(create(&[("origin", origin)]), 403, "{origin}");
    }
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(create(&[("sec-fetch-site", site)]), 403, "{site}");
        assert_eq!(browser.send_with("GET", "/api/v1/status", &[("sec-fetch-site", site)], "").0, 403, "{site}");
    }
    // What a form can send.
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "-"] {
        assert_eq!(create(&[("content-type", kind)]), 400, "{kind}");
    }
    // What another program on this machine is sent by the browser: the cookie, and never the key.
    assert_eq!(create(&[("lbm-panel-key", "-")]), 401);
    assert_eq!(daemon.ctl(&["group", "list"]).done()["groups"], json!([]));
    for path in ["/..", "/assets/../index.html", "/session/", "/mcp", "/assets/"] {
        assert!([401, 404].contains(&send(port, "GET", path, &[], "").0), "{path}");
    }
    assert_eq!(browser.send("POST", "/", "{}").0, 405);
    let huge = json!({"token": "x".repeat(100_000)}).to_string();
    let refused = browser.send("POST", "/session", &huge);
    assert_eq!((refused.0, refused.json()["code"].as_str().unwrap()), (413, "too_large"));
    assert_eq!(create(&[]), 200, "the page itself");
}

#[test]
fn who_may_only_look_changes_nothing() {
    let (daemon, port) = served("alice");
    let group = daemon.found("g");
    daemon.publish(&group, "the cache is keyed by the lock file");
    daemon.ctl(&["agent", "create", "--name", "scout", "--group", "g"]).ok();
    let viewer = Browser::log_in(&daemon, port, &["--read-only"]);
    assert_eq!(viewer.send("GET", "/session", "").json()["role"], "viewer");
    let at = |path: &str| format!("/api/v1/groups/{group}/{path}");
    assert_eq!(viewer.send("GET", &at("claims"), "").json()["claims"].as_array().unwrap().len(), 1);
    assert_eq!(
        viewer.send("POST", &at("context"), r#"{"query":"cache"}"#).json()["items"].as_array().unwrap().len(),
        1
    );
    let settings = viewer.send("GET", "/api/v1/settings", "");
    assert!(settings.0 == 200 && settings.2.contains("\"admin\""), "{}", settings.2);
    for (method, path, body) in [
        ("POST", at("claims"), r#"{"text":"x"}"#),
        ("PATCH", at("policy"), r#"{"faucet_amount":1}"#),
        ("POST", "/api/v1/peers".to_owned(), r#"{"addr":"/ip4/127.0.0.1/tcp/1"}"#),
        ("POST", "/api/v1/admin/link".to_owned(), "{}"),
        ("POST", "/api/v1/backup".to_owned(), ""),
        ("POST", "/api/v1/agents/scout/token".to_owned(), ""),
    ] {
        let refused = viewer.send(method, &path, body);
        assert_eq!((refused.0, refused.json()["code"].as_str().unwrap()), (403, "forbidden"), "{path}");
        assert_ne!(viewer.send_with(method, &path, &[("lbm-agent", "scout")], body).0, 200, "as an agent: {path}");
    }
    assert_eq!(daemon.claims(&group).len(), 1);
    let operator = Browser::log_in(&daemon, port, &[]);
    assert_eq!(operator.send("POST", &at("claims"), r#"{"text":"x"}"#).0, 200);
    let settings = operator.send("GET", "/api/v1/settings", "").json();
    let admin = settings["settings"].as_array().unwrap().iter().find(|row| row["key"] == "admin").unwrap().clone();
    assert_eq!((&admin["value"], &admin["origin"]), (&json!(format!("127.0.0.1:{port}")), &json!("--admin")));
}

#[test]
fn the_panel_is_where_it_is_told_or_the_daemon_says_why_not() {
    let off = Daemon::start("alice");
    off.ctl(&["admin", "url"]).refused(1, &["not served", "--admin"]);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let mut daemon = Daemon::prepared("bob");
    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns"];
    daemon.args(&[&listen[..], &["--admin", &at]].concat());
    let refused = daemon.fails_to_start();
    assert!(refused.code == Some(1) && refused.stderr.contains("--admin"), "{refused:?}");
    daemon.args(&[&listen[..], &["--admin", "0.0.0.0:0"]].concat());
    assert!(daemon.fails_to_start().stderr.contains("admin_insecure"));
    daemon.args(&[&listen[..], &["--admin", "0.0.0.0:0", "--admin-insecure", "--admin-host", "Laptop.local"]].concat());
    daemon.restart();
    let url = daemon.ctl(&["admin", "url"]).text("url");
    let port: u16 = url.strip_prefix("http://127.0.0.1:").unwrap().split('/').next().unwrap().parse().unwrap();
    assert_eq!(send(port, "GET", "/", &[("host", "laptop.local:99")], "").0, 200);
    assert_eq!(send(port, "GET", "/", &[("host", "other.local")], "").0, 403);
    // Where nobody asked for a port that is taken, there is no panel, and all else is as ever. Something else may have it on this machine.
    let default = TcpListener::bind("127.0.0.1:8080");
    daemon.stop();
    daemon.args(&listen);
    daemon.restart();
    daemon.ctl(&["admin", "url"]).refused(1, &["not served"]);
    assert!(daemon.said().contains("the panel is not served"), "{}", daemon.said());
    drop(default);
}

/// Time that a process has had of a processor.
fn cpu(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_hundred_open_panels_cost_next_to_nothing() {
    let (daemon, port) = served("alice");
    daemon.found("g");
    let browsers: Vec<_> = (0..4).map(|_| Browser::log_in(&daemon, port, &[])).collect();
    let streams: Vec<TcpStream> = (0..100)
        .map(|at| {
            let browser = &browsers[at % browsers.len()];
            let headers = [("cookie", browser.cookie.as_str()), ("lbm-panel-key", browser.key.as_str())];
            let mut stream = begin(port, "GET", "/api/v1/events?follow=true", &headers, "");
            let mut status = [0; 12];
            stream.read_exact(&mut status).unwrap();
            assert_eq!(&status, b"HTTP/1.1 200");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    let (before, started) = (cpu(daemon.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(5));
    let share = (cpu(daemon.pid()) - before).as_secs_f64() / started.elapsed().as_secs_f64();
    eprintln!("100 open panels: {:.2} % of a core", share * 100.0);
    // The goal is 2 %; an unoptimised build on a busy machine has some room.
    assert!(share < 0.2, "{share}");
    // Each hears of what happens.
    daemon.publish("g", "heard by all");
    for mut stream in streams {
        let mut heard = String::new();
        let mut buffer = [0; 4096];
        while !heard.contains("claim_published") {
            let read = stream.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "{heard}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
}

/// The folder of what drives the browser; nothing where there is none, or no browser.
fn tools(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LBM_PANEL_TOOLS").map(PathBuf::from).filter(|folder| folder.join("done").exists());
    if folder.is_none() {
        common::skipped(test, "LBM_PANEL_TOOLS names no folder that tests/panel/install has filled");
    }
    if !Path::new("/usr/bin/chromium").exists() {
        common::skipped(test, "there is no /usr/bin/chromium");
        return None;
    }
    folder
}

/// Has a daemon killed and started anew, and something done between.
fn restart(daemon: &mut Daemon, between: impl FnOnce(&Daemon)) {
    daemon.kill();
    std::thread::sleep(Duration::from_millis(500));
    between(daemon);
    daemon.restart();
}

/// Everybody who is logged in to a daemon that is down has not touched the page for as long as a session lives.
fn age_sessions(daemon: &Daemon) {
    let file = daemon.data.join("sessions");
    let mut sessions: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for session in sessions.as_array_mut().unwrap() {
        let used_ms = session["used_ms"].as_u64().unwrap();
        session["used_ms"] = json!(used_ms - lbm::limits::web::IDLE_MS);
    }
    std::fs::write(&file, sessions.to_string()).unwrap();
}

/// A peer that talks rubbish to a daemon until it is sent away.
fn vandal(daemon: &Daemon) {
    let key = SecretKey::from_seed(&[66; 32]);
    let config = NetConfig { mdns: false, ..NetConfig::new(key.clone()) };
    let address = daemon.address().parse().unwrap();
    let banned = || daemon.ctl(&["peer", "bans"]).done()["bans"].as_array().is_some_and(|bans| !bans.is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut network = Network::new(&config, AddressBook::new(key.identity(), 1)).unwrap();
        let to = network.add_peer(&address, None, true).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !banned() {
            assert!(Instant::now() < deadline, "it is not sent away");
            // What it is answered, and whether it is connected, is all one to it.
            let _asked = network.request(Protocol::Sync, to, vec![0xff; 64]);
            let on = async {
                loop {
                    network.next().await;
                }
            };
            let _over = tokio::time::timeout(Duration::from_millis(50), on).await;
        }
    });
}

/// Runs a script of `tests/panel` with what it is to know, and does what it asks for: a line of a verb and the name of a daemon.
fn drive(tools: &Path, script: &str, daemons: &mut [&mut Daemon], know: &Value) {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/panel");
    let mut command = clean(Command::new("node"));
    command.arg(scripts.join(script)).env("LBM_PANEL_TOOLS", tools).env("LBM_PANEL_KNOW", know.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node is there");
    let (mut input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for line in output.lines().map_while(Result::ok) {
        let act: Option<fn(&mut Daemon)> = match line.split_once(' ') {
            Some(("restart", _)) => Some(|daemon| restart(daemon, |_| {})),
            Some(("down", _)) => Some(|daemon| daemon.kill()),
            Some(("up", _)) => Some(|daemon| daemon.restart()),
            Some(("idle", _)) => Some(|daemon| restart(daemon, age_sessions)),
            Some(("vandal", _)) => Some(|daemon| vandal(daemon)),
            _ => None,
        };
        let named = line.split_once(' ').map_or("", |(_, name)| name);
        match act.zip(daemons.iter_mut().find(|daemon| daemon.name == named)) {
            Some((act, daemon)) => {
                act(daemon);
                writeln!(input, "done").unwrap();
            }
            None => eprintln!("{line}"),
        }
    }
    assert!(child.wait().unwrap().success(), "{script} failed: see above");
}

fn known(alice: &Daemon, bob: &Daemon, group: &str) -> Value {
    let target = Path::new(env!("CARGO_BIN_EXE_lbm")).ancestors().nth(2).unwrap();
    json!({
        "lbm": LBM, "shots": target.join("panel-shots"), "group": group,
        "alice": {"data": alice.data, "id": alice.id}, "bob": {"data": bob.data, "id": bob.id},
    })
}

/// Two nodes whose panels are served.
fn two() -> (Daemon, Daemon) {
    let ((alice, _), (bob, _)) = (served("alice"), served("bob"));
    alice.ctl(&["peer", "add", "--addr", &bob.address(), "--alias", "bob"]).ok();
    alice.wait_for_peers(1);
    (alice, bob)
}

#[test]
fn a_person_walks_through_every_page() {
    let Some(tools) = tools("a_person_walks_through_every_page") else { return };
    let (mut alice, mut bob) = two();
    let know = known(&alice, &bob, "");
    drive(&tools, "walk.mjs", &mut [&mut alice, &mut bob], &know);
    let group = alice.ctl(&["group", "list"]).done()["groups"][0]["group_id"].as_str().unwrap().to_owned();
    common::agree(&[&alice, &bob], &group);
}

#[test]
fn a_stranger_finds_the_way() {
    let Some(tools) = tools("a_stranger_finds_the_way") else { return };
    let (mut alice, mut bob) = two();
    let group = alice.found("stranger");
    let know = known(&alice, &bob, &group);
    drive(&tools, "stranger.mjs", &mut [&mut alice, &mut bob], &know);
}

#[test]
fn a_person_manages_what_a_node_lets_happen() {
    let Some(tools) = tools("a_person_manages_what_a_node_lets_happen") else { return };
    let (mut alice, mut bob) = two();
    let know = known(&alice, &bob, "");
    drive(&tools, "manage.mjs", &mut [&mut alice, &mut bob], &know);
    assert_eq!(alice.ctl(&["agent", "list"]).done()["agents"], json!([]), "what was revoked is gone");
    assert_eq!(bob.ctl(&["library", "list"]).done()["packages"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_hostile_or_large_breaks_no_page() {
    let Some(tools) = tools("what_is_hostile_or_large_breaks_no_page") else { return };
    let (mut alice, mut bob) = two();
    let group = alice.found("large");
    let lines: String = (0..10_000)
        .map(|at| json!({"text": format!("Claim {at} of many"), "tags": ["many"]}).to_string() + "\n")
        .collect();
    alice.ctl_with(&["claim", "publish", "--group", &group, "--file", "-"], lines.as_bytes()).ok();
    let know = known(&alice, &bob, &group);
    drive(&tools, "hostile.mjs", &mut [&mut alice, &mut bob], &know);
}

#[test]
fn the_browser_parts_are_pinned() {
    let package =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/panel/package.json")).unwrap();
    let package: Value = serde_json::from_str(&package).unwrap();
    let versions = package["dependencies"].as_object().unwrap().values();
    assert!(
        versions
            .map(|version| version.as_str().unwrap())
            .all(|version| version.chars().all(|c| c == '.' || c.is_ascii_digit()))
    );
    assert!(lbm(&["ctl", "admin", "--help"]).ok().stdout.contains("url"));
}
