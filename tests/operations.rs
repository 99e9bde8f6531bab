//! What operators need of a daemon: metrics and health over HTTP, settings that are read again, logs that keep secrets, an end in time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use common::{Daemon, LBM_NODE, PATIENCE, free_port, keys, lbm, wait_until};

/// What an HTTP request to loopback is answered: status, head and body.
fn http(port: u16, method: &str, path: &str, head: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{head}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn get(port: u16, path: &str) -> (u16, String, String) {
    http(port, "GET", path, &format!("host: 127.0.0.1:{port}\r\n"))
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn metrics_and_health_over_http() {
    let mut ann = Daemon::prepared("ann");
    let port = free_port();
    let listen = format!("127.0.0.1:{port}");
    ann.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--metrics", &listen]);
    ann.restart();
    let ben = Daemon::start("ben");
    let lab = ann.found("lab");
    ann.add(&lab, &ben.id, "member");
    ben.meet(&ann);
    ben.ctl(&["group", "join", &lab]).ok();
    ann.publish(&lab, "water boils at 100 degrees");
    ann.ctl(&["context", "water", "--group", &lab]).ok();
    ann.ctl(&["claim", "publish", "--group", "nowhere", "--text", "x"]).refused(1, &["nowhere"]);
    wait_until(PATIENCE, "ann has pulled", || {
        ann.ctl(&["sync"]).ok();
        let (_, _, text) = get(port, "/metrics");
        text.contains("lbm_sync_age_seconds{")
    });

    let (status, head, text) = get(port, "/metrics");
    assert_eq!(status, 200, "{text}");
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(text.ends_with("# EOF\n"));
    for (name, _) in lbm::metrics::SAMPLED.iter().filter(|(name, _)| {
        // There is none of these here.
        !["sync_failures", "purchases", "embedder_claims_missing"].contains(name)
    }) {
        assert!(text.contains(&format!("# TYPE lbm_{name} gauge")), "{name}: {text}");
    }
    for (sample, least) in [
        ("lbm_api_requests_total{route=\"claim_publish\",status=\"200\"}", 1.0),
        ("lbm_api_requests_total{route=\"claim_publish\",status=\"404\"}", 1.0),
        ("lbm_writer_commits_total", 3.0),
        ("lbm_writer_commit_seconds_count", 3.0),
        ("lbm_context_seconds_count", 1.0),
        ("lbm_peer_requests_total{protocol=\"sync\"}", 1.0),
        ("lbm_peers_connected", 1.0),
        ("lbm_groups", 1.0),
        ("lbm_claims_indexed", 1.0),
        ("lbm_queue_capacity{queue=\"verify\"}", 256.0),
        ("lbm_process_resident_bytes", 1e6),
    ] {
        let found = value(&text, sample).unwrap_or_else(|| panic!("no {sample} in {text}"));
        assert!(found >= least, "{sample} {found}");
    }
    // Neither a group's name, nor its whole id, nor a claim.
    for secret in ["water", "\"lab\"", lab.as_str()] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }

    assert_eq!(get(port, "/health/live").0, 200);
    assert_eq!(get(port, "/health/ready").2, "{\"ready\":true}");
    assert_eq!(get(port, "/api/v1/status").0, 404);
    let foreign = http(port, "GET", "/metrics", "host: evil.example\r\n");
    assert!(foreign.0 == 403 && foreign.1.contains("application/problem+json"), "{foreign:?}");
    assert_eq!(http(port, "POST", "/metrics", "host: localhost\r\ncontent-length: 0\r\n").0, 405);
    // More connections than there are places are closed, and the daemon goes on.
    let held: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    drop(held);
    wait_until(PATIENCE, "there is a place again", || {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        let request = format!("GET /health/live HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    });
    // It stays the only one at its address, and no other machine can be asked to.
    let mut other = Daemon::prepared("other");
    other.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--metrics", &listen]);
    other.fails_to_start().refused(1, &["cannot listen on", "--metrics"]);
    other.args(&["--metrics", "0.0.0.0:1"]);
    assert_eq!(other.fails_to_start().code, Some(2));
}

fn write_settings(daemon: &Daemon, text: &str) {
    std::fs::write(daemon.data.join("config.toml"), text).unwrap();
}

#[test]
fn settings_are_read_again_and_what_needs_a_restart_is_named() {
    let mut ann = Daemon::prepared("ann");
    write_settings(&ann, "log_level = \"warn\"\n");
    ann.restart();
    let ben = Daemon::start("ben");
    ben.meet(&ann);
    let in_force = |key: &str| {
        let list = ann.ctl(&["settings"]).done();
        let rows = list["settings"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["key"] == key).unwrap()
    };
    let reload = || ann.ctl(&["reload"]).done();
    assert_eq!(in_force("log_level")["value"], "warn");
    assert_eq!(reload(), serde_json::json!({ "applied": [], "needs_restart": [] }));
    assert!(!ann.said().contains("answered"), "{}", ann.said());

    write_settings(&ann, "log_level = \"debug\"\nsync_interval_s = 7\np2p_max_req_per_min = 5000\n");
    let changed =
        serde_json::json!({ "applied": ["log_level", "p2p_max_req_per_min"], "needs_restart": ["sync_interval_s"] });
    assert_eq!(reload(), changed);
    assert_eq!(in_force("log_level")["value"], "debug");
    assert_eq!(
        (&in_force("sync_interval_s")["value"], &in_force("sync_interval_s")["needs_restart"]),
        (&lbm::limits::SYNC_INTERVAL_S.into(), &true.into())
    );
    // It stays to be said until the restart.
    assert_eq!(reload()["needs_restart"], serde_json::json!(["sync_interval_s"]));
    assert!(ann.said().contains("answered"), "{}", ann.said());

    // Who is denied now has to go, and comes back when it is not any more. By a signal, as supervisors ask.
    write_settings(&ann, &format!("deny = [\"{}\"]\n", ben.id));
    ann.signal("HUP");
    wait_until(PATIENCE, "ben is sent away", || ann.ctl(&["status"]).done()["peers"] == 0);
    wait_until(PATIENCE, "it is in force", || in_force("deny")["value"] == serde_json::json!([ben.id]));
    write_settings(&ann, "log_level = \"warn\"\n");
    ann.signal("HUP");
    wait_until(PATIENCE, "nobody is denied", || in_force("deny")["value"] == serde_json::json!([]));
    ben.ctl(&["peer", "add", "--addr", &ann.address()]).ok();
    ann.wait_for_peers(1);

    // What cannot be used changes nothing.
    write_settings(&ann, "log_level = \"debug\"\nmdsn = true\n");
    ann.ctl(&["reload"]).refused(1, &["mdsn", "did you mean `mdns`"]);
    ann.signal("HUP");
    wait_until(PATIENCE, "the log says so", || ann.said().contains("goes on with what it had"));
    assert_eq!(in_force("log_level")["value"], "warn");
    // An agent is told of its groups, and not of the machine.
    ann.ctl(&["agent", "create", "--name", "scout"]).ok();
    for command in ["settings", "reload"] {
        ann.ctl(&["--agent", "scout", command]).refused(1, &["operate"]);
    }
}

#[test]
fn a_misspelt_variable_is_refused_with_the_one_that_is_near() {
    let mut ann = Daemon::prepared("ann");
    ann.wrapper(&["env", "LB_LOG_LEVLE=debug"]);
    ann.fails_to_start().refused(1, &["LB_LOG_LEVLE", "LB_LOG_LEVEL"]);
    ann.lbm(&["config"]).refused(1, &["LB_LOG_LEVLE", "LB_LOG_LEVEL"]);
    ann.wrapper(&["env", "LB_LOG_LEVEL=debug", "LB_NONCE_EXPIRY_MS=60000", "LB_DATA=/nowhere"]);
    let shown = ann.lbm(&["config", "--json"]).done();
    let row = shown["settings"].as_array().unwrap().iter().find(|row| row["key"] == "log_level").unwrap();
    assert_eq!((&row["value"], &row["origin"]), (&"debug".into(), &"environment LB_LOG_LEVEL".into()));
    assert_eq!(keys(row), ["environment", "key", "origin", "value"]);
}

/// All that stands in the files of a folder.
fn files(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()).collect()
}

#[test]
fn a_log_at_its_loudest_keeps_every_secret_and_every_claim() {
    const MARK: &str = "xQ7zmarkedZq";
    let password = format!("{MARK}-password");
    let mut ann = Daemon::prepared("ann");
    let secret_file = ann.data.with_file_name("password");
    std::fs::write(&secret_file, &password).unwrap();
    std::fs::set_permissions(&secret_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    ann.lbm(&["keys", "encrypt", "--password-file", secret_file.to_str().unwrap()]).ok();
    let logs = ann.data.with_file_name("logs");
    let to = format!("LB_LOG_DIR={}", logs.display());
    ann.wrapper(&["env", "LB_LOG_LEVEL=trace", "LB_LOG_JSON=true", &to]);
    let mcp = free_port();
    let address = format!("127.0.0.1:{mcp}");
    let file = secret_file.to_str().unwrap();
    ann.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--mcp", &address, "--password-file", file]);
    ann.restart();
    let mut ben = Daemon::prepared("ben");
    ben.wrapper(&["env", "LB_LOG_LEVEL=trace"]);
    ben.restart();

    let marked = |what: &str| format!("{MARK} {what}");
    let lab = ann.found("lab");
    let ticket = ann.ctl(&["group", "invite", "--group", &lab]).text("ticket");
    ben.meet(&ann);
    ben.ctl(&["group", "join", &ticket]).ok();
    let claim = ann
        .ctl(&["claim", "publish", "--group", &lab, "--text", &marked("claim"), "--tags", &marked("tag")])
        .text("claim_hash");
    ben.wait_for_claims(&lab, &[&claim]);
    ben.ctl(&["context", &marked("question"), "--group", &lab]).ok();
    ben.ctl(&["claim", "publish", "--group", &lab, "--text", &marked("answer"), "--parent", &claim]).ok();
    let experience = marked("experience");
    ann.ctl_with(&["experience", "submit", "--group", &lab, "--file", "-"], experience.as_bytes()).ok();
    let (title, description) = (marked("title"), marked("description"));
    ann.ctl(&["task", "create", "--group", &lab, "--task", "t1", "--title", &title, "--description", &description])
        .ok();
    ann.ctl(&["task", "start", "t1", "--group", &lab]).ok();
    ann.ctl(&["task", "fail", "t1", "--group", &lab, "--error", &marked("error")]).ok();
    ann.ctl(&["token", "mint", "--group", &lab, "--to", &ben.id, "--amount", "50"]).ok();
    let (sold, package) = (marked("offer"), marked("package"));
    let offer = ann
        .ctl(&["offer", "create", "--group", &lab, "--title", &sold, "--text", &package, "--price", "5"])
        .text("offer_id");
    wait_until(PATIENCE, "ben knows the offer", || ben.ctl(&["offer", "list"]).stdout.contains(&offer));
    ben.ctl(&["offer", "buy", &offer]).ok();
    ann.ctl(&["agent", "create", "--name", "scout", "--group", &lab]).ok();
    let token = ann.ctl(&["agent", "token", "scout"]).text("token");
    let call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"publish_claim\",\"arguments\":{{\"group\":\"lab\",\"text\":\"{MARK} by mcp\"}}}}}}"
    );
    for sent in [token.as_str(), MARK] {
        let head = format!(
            "host: 127.0.0.1:{mcp}\r\nauthorization: Bearer {sent}\r\naccept: application/json, text/event-stream\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{call}",
            call.len()
        );
        http(mcp, "POST", "/mcp", head.trim_end_matches("\r\n"));
    }
    // What is refused is not told either.
    ann.ctl(&["claim", "publish", "--group", MARK, "--text", &marked("refused")]).refused(1, &["no group"]);
    ann.ctl(&["task", "create", "--group", &lab, "--task", "t1", "--title", &title]).refused(1, &["t1"]);
    ann.stop();
    ben.stop();

    let key = std::fs::read_to_string(ann.data.join("node.key")).unwrap_or_default();
    let secrets = [MARK, ticket.as_str(), token.as_str()];
    for (whose, log) in [("ann", ann.said() + &files(&logs)), ("ben", ben.said())] {
        assert!(log.len() > 10_000 && log.contains("answered"), "{whose} logs at its loudest: {}", log.len());
        for secret in secrets.iter().copied().chain(key.lines().filter(|line| line.len() > 32)) {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{whose} tells `{secret}`");
        }
    }
    for line in files(&logs).lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
}

#[test]
fn under_load_it_ends_within_five_seconds_and_keeps_what_it_has_acknowledged() {
    let mut ann = Daemon::start("ann");
    let ben = Daemon::start("ben");
    let lab = ann.found("lab");
    ann.add(&lab, &ben.id, "member");
    ben.meet(&ann);
    ben.ctl(&["group", "join", &lab]).ok();
    ann.ctl(&["presence", "set", "--group", &lab, "active"]).ok();
    let following: Vec<_> = (0..8).map(|_| ann.begin(&["events", "--follow"])).collect();
    let watching: Vec<_> = (0..8).map(|_| ann.begin(&["claim", "watch", "--group", &lab, "--follow"])).collect();
    let bulk: String = (0..500).map(|number| format!("{{\"text\":\"claim {number} of a load\"}}\n")).collect();
    let (stopping, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let took = std::thread::scope(|scope| {
        for writer in 0..4 {
            let (ann, lab, bulk, stopping, acknowledged) = (&ann, &lab, &bulk, &stopping, &acknowledged);
            scope.spawn(move || {
                while !stopping.load(Ordering::SeqCst) {
                    let mine =
                        bulk.replace("of a load", &format!("of {writer} at {}", acknowledged.load(Ordering::SeqCst)));
                    let answer = ann.ctl_with(&["claim", "publish", "--group", lab, "--file", "-"], mine.as_bytes());
                    if answer.code == Some(0) {
                        acknowledged.fetch_add(500, Ordering::SeqCst);
                    }
                }
            });
        }
        wait_until(PATIENCE, "it writes", || acknowledged.load(Ordering::SeqCst) >= 2_000);
        let started = std::time::Instant::now();
        ann.signal("TERM");
        wait_until(PATIENCE, "it ends", || !Path::new(&format!("/proc/{}/exe", ann.pid())).exists());
        stopping.store(true, Ordering::SeqCst);
        started.elapsed()
    });
    ann.ended(Some(0));
    println!("ended {took:?} after SIGTERM, with {} claims acknowledged", acknowledged.load(Ordering::SeqCst));
    assert!(took < PATIENCE, "{took:?}");
    drop((following, watching));
    ann.restart();
    let stats = ann.ctl(&["group", "stats", &lab]).done();
    assert!(stats["claims"].as_u64().unwrap() >= acknowledged.load(Ordering::SeqCst) as u64, "{stats}");
    assert_eq!(ann.ctl(&["group", "verify", &lab]).done()["ok"], true);
}

#[test]
fn the_command_line_documents_itself() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef lbm"),
        ("fish", "complete -c lbm"),
        ("powershell", "Register-"),
        ("elvish", "edit:"),
    ] {
        let script = lbm(&["completions", shell]).ok().stdout.clone();
        assert!(script.contains(word) && script.contains("unfreeze"), "{shell}: {}", script.len());
    }
    assert_eq!(lbm(&["completions", "tcsh"]).code, Some(2));
    let page = lbm(&["man"]).ok().stdout.clone();
    assert!(page.contains(".TH lbm 1") && page.contains("doctor"), "{page}");
    lbm(&["man", "--dir", folder.path().to_str().unwrap()]).ok();
    for page in ["lbm.1", "lbm-node.1", "lbm-ctl.1", "lbm-ctl-claim-publish.1", "lbm-backup.1"] {
        assert!(folder.path().join(page).exists(), "{page}: {:?}", std::fs::read_dir(folder.path()).unwrap().count());
    }
    lbm(&["man", "--dir", "/nowhere/at/all"]).refused(1, &["/nowhere/at/all"]);
    for program in [common::LBM, LBM_NODE] {
        let said = Command::new(program).arg("--version").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let version = said.trim().rsplit_once("lbm").map(|(_, rest)| rest.trim_start_matches("-node").trim()).unwrap();
        let (number, commit) = version.split_once(' ').unwrap_or((version, ""));
        assert_eq!(number, env!("CARGO_PKG_VERSION"), "{said}");
        let commit = commit.trim_start_matches('(').trim_end_matches(')');
        assert!(commit.chars().all(|c| c.is_ascii_alphanumeric()), "{said}");
    }
}
