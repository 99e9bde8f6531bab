//! Schemathesis, which others wrote, asks a real daemon whatever the description of its API allows, and what it does not.
//!
//! It speaks TCP and the daemon a local socket: bytes are carried between them here. Needs `LBM_SCHEMATHESIS`, a folder in which
//! `tests/schemathesis/install` has installed it; without that nothing is tested, and that is said loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Daemon, clean};

/// How long schemathesis asks, seconds.
const SECONDS: u64 = 75;

/// What it is not let ask: streams without an end, and what would take away that which the rest asks about.
const LEFT_OUT: [&str; 6] = ["events", "claim_follow", "group_join", "backup", "group_leave", "agent_revoke"];

const CHECKS: [&str; 8] = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
];

fn carry(mut from: impl Read, mut to: impl Write) {
    // Either side may end whenever it likes.
    let _ended = std::io::copy(&mut from, &mut to);
}

fn forward(stream: &TcpStream, socket: &Path) -> std::io::Result<()> {
    let daemon = UnixStream::connect(socket)?;
    let (asks, answers) = (stream.try_clone()?, daemon.try_clone()?);
    let (to_daemon, to_asker) = (daemon.try_clone()?, stream.try_clone()?);
    std::thread::spawn(move || {
        carry(asks, &to_daemon);
        drop(to_daemon.shutdown(Shutdown::Write));
    });
    std::thread::spawn(move || {
        carry(answers, &to_asker);
        drop(to_asker.shutdown(Shutdown::Write));
    });
    Ok(())
}

/// Carries what comes to a port of loopback to a socket, for as long as this process runs; the port.
fn forwarded(socket: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // A daemon that is gone refuses; whoever asked sees its connection closed.
            let _refused = forward(&stream, &socket);
        }
    });
    port
}

#[test]
fn nothing_that_is_asked_breaks_the_daemon_or_its_description() {
    let Some(folder) = std::env::var_os("LBM_SCHEMATHESIS").map(PathBuf::from) else {
        println!("SKIPPED: LBM_SCHEMATHESIS is not set (tests/schemathesis/install FOLDER installs what it names)");
        return;
    };
    let mut ann = Daemon::start("ann");
    let lab = ann.found("lab");
    let scout = ann.ctl(&["agent", "create", "--name", "scout", "--group", &lab]).text("member_id");
    ann.ctl(&["group", "set-role", "--group", &lab, "--member", &scout, "--role", "admin"]).ok();
    let claim = ann.ctl(&["claim", "publish", "--group", &lab, "--text", "water boils at 100 degrees"]).done();
    ann.ctl(&["task", "create", "--group", &lab, "--task", "t1", "--title", "boil water"]).ok();
    let offer = ann
        .ctl(&["offer", "create", "--group", &lab, "--title", "tea", "--text", "leaves", "--price", "3"])
        .text("offer_id");
    let port = forwarded(ann.data.join("lbm.sock"));
    let settings = format!(
        "[parameters]\n\"path.group\" = \"lab\"\n\"path.claim\" = {}\n\"path.block\" = {}\n\"path.task\" = \"t1\"\n\"path.offer\" = \"{offer}\"\n\
         \"path.agent\" = \"scout\"\n\"path.member\" = \"{scout}\"\n\"header.lbm-agent\" = \"scout\"\n\"header.lbm-agent-id\" = \"{scout}\"\n\
         \"query.wait_ms\" = 0\n\"query.wait_final_ms\" = 0\n\n\
         [checks.negative_data_rejection]\nexpected-statuses = [\"400\", \"403\", \"404\", \"405\", \"409\", \"410\", \"413\", \"422\"]\n",
        claim["claim_hash"], claim["block_id"]
    );
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("schemathesis.toml"), settings).unwrap();
    let mut command = clean(Command::new(folder.join("bin/schemathesis")));
    command.current_dir(here.path()).args(["run", &format!("http://127.0.0.1:{port}/api/openapi.json")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--workers", "2", "--seed", "7"]);
    command.args([
        "--max-time",
        &SECONDS.to_string(),
        "--request-timeout",
        "20",
        "--continue-on-failure",
        "--warnings",
        "off",
    ]);
    command.args(["--checks", &CHECKS.join(",")]);
    for left_out in LEFT_OUT {
        command.args(["--exclude-operation-id", left_out]);
    }
    let started = Instant::now();
    let output = command.stdin(Stdio::null()).output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(started.elapsed() < Duration::from_secs(300), "{:?}", started.elapsed());
    let tested: usize =
        said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse().ok()).expect("a number");
    // What describes all the others has been read, and is not asked again.
    let all = lbm::api::routes::ALL.len() - LEFT_OUT.len() - 1;
    assert_eq!(tested, all, "{said}");
    println!("{}", said.lines().filter(|line| line.contains("generated")).collect::<String>());
    // It has broken nothing.
    assert!(!ann.said().contains("panicked") && !ann.said().contains("a request failed"), "{}", ann.said());
    assert_eq!(ann.ctl(&["group", "verify", &lab]).done()["ok"], true);
    assert_eq!(ann.stop().0, Some(0));
}
