//! What operators need of a daemon: metrics and health over HTTP, settings that are read again, logs that keep secrets, an end in time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::{Daemon, LBM, LBM_NODE, PATIENCE, free_port, keys, lbm, wait_until};
use serde_json::json;

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
        !["purchases", "embedder_claims_missing"].contains(name)
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
    // Held back, it is behind by what its peer writes, and for as long as it has known of that.
    let labels = format!("{{group=\"{}\",peer=\"{}\"}}", &lab[..12], ben.id);
    let lag = || {
        let text = get(port, "/metrics").2;
        let sample = |name: &str| value(&text, &format!("lbm_sync_lag_{name}{labels}")).expect("ben is connected");
        (sample("blocks"), sample("seconds"))
    };
    assert_eq!(lag(), (0.0, 0.0));
    ann.ctl(&["subscription", "set", "--group", &lab, "--pause"]).ok();
    ben.publish(&lab, "what ann is not to have yet");
    wait_until(PATIENCE, "ann hears that there is more", || {
        ben.ctl(&["sync"]).ok();
        lag().0 >= 1.0
    });
    let known_s = lag().1;
    wait_until(PATIENCE, "it is behind for longer", || lag().1 > known_s);
    ann.ctl(&["subscription", "set", "--group", &lab, "--resume"]).ok();
    wait_until(PATIENCE, "it has caught up", || lag() == (0.0, 0.0));

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
    for (command, needed) in [("settings", "inspect"), ("reload", "operate")] {
        ann.ctl(&["--agent", "scout", command]).refused(1, &[needed]);
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

/// Clients that write until the daemon is gone.
const WRITERS: usize = 20;

#[test]
fn under_load_it_ends_in_time_and_keeps_all_that_it_has_acknowledged() {
    let mut ann = Daemon::start("ann");
    let ben = Daemon::start("ben");
    let lab = ann.found("lab");
    ann.add(&lab, &ben.id, "member");
    ben.meet(&ann);
    ben.ctl(&["group", "join", &lab]).ok();
    ann.ctl(&["presence", "set", "--group", &lab, "active"]).ok();
    for number in 0..4 {
        ann.ctl(&["agent", "create", "--name", &format!("scout{number}"), "--group", &lab]).ok();
    }
    let following: Vec<_> = (0..8).map(|_| ann.begin(&["events", "--follow"])).collect();
    let watching: Vec<_> = (0..8).map(|_| ann.begin(&["claim", "watch", "--group", &lab, "--follow"])).collect();
    let (stopping, acknowledged) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    let took = std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (ann, lab, stopping, acknowledged) = (&ann, &lab, &stopping, &acknowledged);
            scope.spawn(move || {
                for round in 0.. {
                    let claim = |number: usize| json!({ "text": format!("claim {number} of {writer} in {round}") });
                    let bulk: String = (0..50).map(|number| format!("{}\n", claim(number))).collect();
                    let answer = ann.ctl_with(&["claim", "publish", "--group", lab, "--file", "-"], bulk.as_bytes());
                    if answer.code == Some(0) {
                        let hashes = answer.json()["claim_hashes"].as_array().expect("a list").clone();
                        let hashes = hashes.iter().map(|hash| hash.as_str().unwrap().to_owned());
                        acknowledged.lock().unwrap().extend(hashes);
                    }
                    if stopping.load(Ordering::SeqCst) {
                        break;
                    }
                }
            });
        }
        wait_until(PATIENCE, "it writes", || acknowledged.lock().unwrap().len() >= 2_000);
        // A check of the whole history reads for long.
        let verifying = ann.begin(&["group", "verify", &lab]);
        let started = Instant::now();
        ann.signal("TERM");
        wait_until(PATIENCE, "it ends", || !Path::new(&format!("/proc/{}/exe", ann.pid())).exists());
        let took = started.elapsed();
        stopping.store(true, Ordering::SeqCst);
        drop(verifying);
        took
    });
    ann.ended(Some(0));
    let acknowledged = acknowledged.into_inner().unwrap();
    println!("ended {took:?} after SIGTERM, with {WRITERS} writers and {} claims acknowledged", acknowledged.len());
    // What had to be cut off for that, where a machine was too busy to end it.
    ann.said().lines().filter(|line| line.contains("in time")).for_each(|line| println!("{line}"));
    drop((following, watching));
    ann.restart();
    let here: BTreeSet<String> = ann.claims(&lab).into_iter().collect();
    let lost: Vec<&String> = acknowledged.difference(&here).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    assert_eq!(ann.ctl(&["group", "verify", &lab]).done()["ok"], true);
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/lbm-node.service");
    let text = std::fs::read_to_string(unit).unwrap();
    // Where the binaries are here, and not where they will be installed.
    let text = text.replace("/usr/local/bin/lbm-node", LBM_NODE).replace("/usr/local/bin/lbm ", &format!("{LBM} "));
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("lbm-node.service");
    std::fs::write(&here, text).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&here).output();
    let Ok(verified) = verified else {
        return common::skipped("the_unit_is_one_that_systemd_takes", "there is no systemd-analyze");
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    // Of the machine's own units it may say what it likes.
    assert!(!said.lines().any(|line| line.contains("lbm-node")), "{said}");
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
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = lbm(&["completions", shell, "lbm-node"]).ok().stdout.clone();
        assert!(script.contains("lbm-node") && script.contains("admin-insecure"), "{shell}: {}", script.len());
    }
    assert_eq!(lbm(&["completions", "tcsh"]).code, Some(2));
    assert_eq!(lbm(&["completions", "bash", "lbm-mcp"]).code, Some(2));
    let page = lbm(&["man"]).ok().stdout.clone();
    assert!(page.contains(".TH lbm 1") && page.contains("doctor"), "{page}");
    // A folder that is not there is made.
    let pages = folder.path().join("share/man1");
    lbm(&["man", "--dir", pages.to_str().unwrap()]).ok();
    for page in ["lbm.1", "lbm-node.1", "lbm-ctl.1", "lbm-ctl-claim-publish.1", "lbm-backup.1"] {
        assert!(pages.join(page).exists(), "{page}: {:?}", std::fs::read_dir(&pages).unwrap().count());
    }
    let below_a_file = pages.join("lbm.1/below");
    let below_a_file = below_a_file.to_str().unwrap();
    lbm(&["man", "--dir", below_a_file]).refused(1, &[below_a_file]);
    for program in [LBM, LBM_NODE] {
        let said = Command::new(program).arg("--version").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let version = said.trim().rsplit_once("lbm").map(|(_, rest)| rest.trim_start_matches("-node").trim()).unwrap();
        let (number, commit) = version.split_once(' ').unwrap_or((version, ""));
        assert_eq!(number, env!("CARGO_PKG_VERSION"), "{said}");
        let commit = commit.trim_start_matches('(').trim_end_matches(')');
        assert!(commit.chars().all(|c| c.is_ascii_alphanumeric()), "{said}");
    }
}
