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

/// How long schemathesis asks of all that it may, seconds.
const SECONDS: u64 = 75;

/// The same of what takes away that which the rest asks about.
const DESTRUCTIVE_SECONDS: u64 = 20;

/// What is asked of a daemon of its own: it ends what the rest asks about, or (a joining, a backup) would have it wait.
const DESTRUCTIVE: [&str; 4] = ["group_join", "backup", "group_leave", "agent_revoke"];

/// How long a stream may be silent before it ends here, milliseconds: to whoever asks, the daemon has said all that it has to say.
const SILENCE_MS: u64 = 300;

/// How long one may speak.
const STREAM_MS: u64 = 1_500;

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

/// Carries answers, and ends streams of events as the daemon would if it stopped: after a while, or where they fall silent.
fn carry_answers(daemon: &UnixStream, mut to: &TcpStream) -> std::io::Result<()> {
    let (mut from, mut buffer, mut began) = (daemon, vec![0; 64 * 1024], None::<Instant>);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        let answer = &buffer[..read];
        // The head of an answer comes in one piece, and first: one question at a time is asked on a connection.
        if answer.starts_with(b"HTTP/1.1 200") && answer.windows(17).any(|word| word == b"text/event-stream") {
            began = Some(Instant::now());
            daemon.set_read_timeout(Some(Duration::from_millis(SILENCE_MS)))?;
        }
        to.write_all(answer)?;
        let is_long = began.is_some_and(|began| began.elapsed() > Duration::from_millis(STREAM_MS));
        let has_ended = answer.ends_with(b"\r\n0\r\n\r\n");
        if began.is_some() && !has_ended && (read == 0 || (is_long && answer.ends_with(b"\r\n"))) {
            return to.write_all(b"0\r\n\r\n");
        }
        if read == 0 {
            return Ok(());
        }
        if has_ended && began.take().is_some() {
            daemon.set_read_timeout(None)?;
        }
    }
}

fn forward(stream: &TcpStream, socket: &Path) -> std::io::Result<()> {
    let daemon = UnixStream::connect(socket)?;
    let (asks, answers) = (stream.try_clone()?, daemon.try_clone()?);
    let to_asker = stream.try_clone()?;
    std::thread::spawn(move || {
        carry(asks, &daemon);
        drop(daemon.shutdown(Shutdown::Write));
    });
    std::thread::spawn(move || {
        // Either side may end whenever it likes.
        drop(carry_answers(&answers, &to_asker));
        drop((answers.shutdown(Shutdown::Both), to_asker.shutdown(Shutdown::Both)));
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

/// A daemon with one of each, and what schemathesis is told of it.
fn prepared(name: &'static str) -> (Daemon, tempfile::TempDir) {
    let ann = Daemon::start(name);
    let lab = ann.found("lab");
    let scout = ann.ctl(&["agent", "create", "--name", "scout", "--group", &lab]).text("member_id");
    ann.ctl(&["group", "set-role", "--group", &lab, "--member", &scout, "--role", "admin"]).ok();
    let claim = ann.ctl(&["claim", "publish", "--group", &lab, "--text", "water boils at 100 degrees"]).done();
    ann.ctl(&["task", "create", "--group", &lab, "--task", "t1", "--title", "boil water"]).ok();
    let offer = ann
        .ctl(&["offer", "create", "--group", &lab, "--title", "tea", "--text", "leaves", "--price", "3"])
        .text("offer_id");
    let settings = format!(
        "[parameters]\n\"path.group\" = \"lab\"\n\"path.claim\" = {}\n\"path.block\" = {}\n\"path.task\" = \"t1\"\n\"path.offer\" = \"{offer}\"\n\
         \"path.agent\" = \"scout\"\n\"path.member\" = \"{scout}\"\n\"header.lbm-agent\" = \"scout\"\n\"header.lbm-agent-id\" = \"{scout}\"\n\
         \"query.wait_ms\" = 0\n\"query.wait_final_ms\" = 0\n\n\
         [checks.negative_data_rejection]\nexpected-statuses = [\"400\", \"403\", \"404\", \"405\", \"409\", \"410\", \"413\", \"422\"]\n",
        claim["claim_hash"], claim["block_id"]
    );
    let here = tempfile::tempdir().unwrap();
    std::fs::write(here.path().join("schemathesis.toml"), settings).unwrap();
    (ann, here)
}

/// Has schemathesis ask a daemon some operations for so long; of how many it has asked.
fn ask(tools: &Path, (daemon, here): (&Daemon, &Path), seconds: u64, choice: &[&str]) -> usize {
    let port = forwarded(daemon.data.join("lbm.sock"));
    let mut command = clean(Command::new(tools.join("bin/schemathesis")));
    command.current_dir(here).args(["run", &format!("http://127.0.0.1:{port}/api/openapi.json")]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--workers", "2", "--seed", "7"]);
    command.args(["--max-time", &seconds.to_string(), "--request-timeout", "20", "--continue-on-failure"]);
    command.args(["--warnings", "off", "--checks", &CHECKS.join(",")]).args(choice);
    let output = command.stdin(Stdio::null()).output().expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let summary =
        |line: &&str| ["generated", "Selected:", "Tested:", "Skipped:"].iter().any(|word| line.contains(word));
    println!("{}", said.lines().filter(summary).collect::<String>());
    // It has broken nothing.
    assert!(!daemon.said().contains("panicked") && !daemon.said().contains("a request failed"), "{}", daemon.said());
    said.lines().find_map(|line| line.trim().strip_prefix("Tested: ")?.parse().ok()).expect("a number")
}

#[test]
fn nothing_that_is_asked_breaks_the_daemon_or_its_description() {
    let Some(tools) = std::env::var_os("LBM_SCHEMATHESIS").map(PathBuf::from) else {
        println!("SKIPPED: LBM_SCHEMATHESIS is not set (tests/schemathesis/install FOLDER installs what it names)");
        return;
    };
    let (mut ann, here) = prepared("ann");
    let but: Vec<&str> = DESTRUCTIVE.iter().flat_map(|name| ["--exclude-operation-id", *name]).collect();
    let mut tested = ask(&tools, (&ann, here.path()), SECONDS, &but);
    assert_eq!(ann.ctl(&["group", "verify", "lab"]).done()["ok"], true);
    assert_eq!(ann.stop().0, Some(0));
    let (mut bob, here) = prepared("bob");
    // The description itself is left out, unless it is named.
    let named = DESTRUCTIVE.into_iter().chain(["openapi"]);
    let only: Vec<&str> = named.flat_map(|name| ["--include-operation-id", name]).collect();
    tested += ask(&tools, (&bob, here.path()), DESTRUCTIVE_SECONDS, &only);
    assert_eq!(bob.ctl(&["agent", "list"]).done()["agents"], serde_json::json!([]), "the agent was revoked");
    assert_eq!(bob.stop().0, Some(0));
    assert_eq!(tested, lbm::api::routes::ALL.len(), "each operation is asked");
}
