//! MCP clients that others wrote, against real daemons: each tool is called with each of them, and the suite that judges conformance.
//!
//! `tests/mcp-clients/install` puts them into the folder that `LBM_MCP_CLIENTS` names. Without it these tests say loudly that they are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::mcp::Driver;
use common::story::{Side, every_tool};
use common::{Daemon, LBM, clean, free_port, pair};
use serde_json::Value;

/// The folder of the clients; nothing where there is none.
fn clients(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LBM_MCP_CLIENTS").map(PathBuf::from).filter(|folder| folder.join("done").exists());
    if folder.is_none() {
        common::skipped(test, "LBM_MCP_CLIENTS names no folder that tests/mcp-clients/install has filled");
    }
    folder
}

/// A client of a library, up to where it is told what to talk to.
fn client(folder: &Path, name: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp-clients");
    let (program, script) = match name {
        "node" => (folder.join("node_modules/.bin/node"), folder.join("node.mjs")),
        python => (folder.join(python).join("bin/python"), scripts.join(format!("{python}.py"))),
    };
    let mut command = clean(Command::new(program));
    command.arg(script);
    command
}

fn over_stdio(folder: &Path, name: &str, mode: Option<&str>, daemon: &Daemon) -> Driver {
    let mut command = client(folder, name);
    command.arg("stdio").args(mode).args([LBM, "mcp", "--data"]).arg(&daemon.data);
    Driver::start(command)
}

/// Both sides over standard input and output, as the nodes themselves.
fn stdio_story(test: &str, name: &str, mode: Option<&str>, protocol: &str) {
    let Some(folder) = clients(test) else { return };
    let (first, second, group) = pair("team");
    let (mut here, mut there) = (over_stdio(&folder, name, mode, &first), over_stdio(&folder, name, mode, &second));
    assert_eq!(here.begun["tools"].as_array().unwrap().len(), 24);
    if !here.begun["protocol"].is_null() {
        assert_eq!(here.begun["protocol"], protocol);
    }
    every_tool(Side::of_node(&mut here, &first), Side::of_node(&mut there, &second), &group);
    common::agree(&[&first, &second], &group);
}

/// A daemon that serves agents over HTTP, with the port.
fn serving(daemon: &mut Daemon) -> u16 {
    let port = free_port();
    daemon.stop();
    daemon.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--mcp", &format!("127.0.0.1:{port}")]);
    daemon.restart();
    port
}

/// An agent of a daemon that is a member of a group whose admin is another daemon's node: its id and its token.
fn agent(daemon: &Daemon, admin: &Daemon, group: &str, role: &str) -> (String, String) {
    let id = daemon.ctl(&["agent", "create", "--name", "scout"]).text("member_id");
    admin.add(group, &id, role);
    (id, daemon.ctl(&["agent", "token", "scout"]).text("token"))
}

fn over_http(folder: &Path, name: &str, mode: Option<&str>, port: u16, token: &str) -> Driver {
    let mut command = client(folder, name);
    command.args(["http", &format!("http://127.0.0.1:{port}/mcp"), token]).args(mode);
    Driver::start(command)
}

/// Both sides over HTTP, as agents.
fn http_story(test: &str, name: &str, mode: Option<&str>) {
    let Some(folder) = clients(test) else { return };
    let (mut first, mut second, group) = pair("team");
    let ports = (serving(&mut first), serving(&mut second));
    second.meet(&first);
    let ((here_id, here_token), (there_id, there_token)) =
        (agent(&first, &first, &group, "admin"), agent(&second, &first, &group, "member"));
    common::wait_until(common::PATIENCE, "the second node knows its agent as a member", || {
        second.ctl(&["group", "members", &group]).stdout.contains(&there_id)
    });
    let mut here = over_http(&folder, name, mode, ports.0, &here_token);
    let mut there = over_http(&folder, name, mode, ports.1, &there_token);
    let here = Side { agent: &mut here, daemon: &first, id: here_id };
    let there = Side { agent: &mut there, daemon: &second, id: there_id };
    every_tool(here, there, &group);
    common::agree(&[&first, &second], &group);
}

#[test]
fn python_2_without_a_handshake_over_stdio() {
    stdio_story("python_2_without_a_handshake_over_stdio", "python2", Some("auto"), "2026-07-28");
}

#[test]
fn python_2_with_a_handshake_over_stdio() {
    stdio_story("python_2_with_a_handshake_over_stdio", "python2", Some("legacy"), "2025-11-25");
}

#[test]
fn python_1_over_stdio() {
    stdio_story("python_1_over_stdio", "python1", None, "2025-11-25");
}

#[test]
fn typescript_over_stdio() {
    stdio_story("typescript_over_stdio", "node", None, "2025-11-25");
}

#[test]
fn python_2_without_a_session_over_http() {
    http_story("python_2_without_a_session_over_http", "python2", Some("2026-07-28"));
}

#[test]
fn python_2_in_a_session_over_http() {
    http_story("python_2_in_a_session_over_http", "python2", Some("legacy"));
}

#[test]
fn python_1_over_http() {
    http_story("python_1_over_http", "python1", None);
}

#[test]
fn typescript_over_http() {
    http_story("typescript_over_http", "node", None);
}

/// A process that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A daemon with one agent, and an address where whoever asks is that agent.
fn as_agent(folder: &Path) -> (Daemon, Ends, u16, String) {
    let mut daemon = Daemon::start("alone");
    let group = daemon.found("g");
    let port = serving(&mut daemon);
    let (_, token) = agent(&daemon, &daemon, &group, "member");
    let door = free_port();
    let mut command = clean(Command::new(folder.join("node_modules/.bin/node")));
    command.arg(folder.join("with-token.mjs")).args([door.to_string(), port.to_string()]).arg(&token);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line, "ready\n");
    (daemon, Ends(child), door, token)
}

#[test]
fn the_conformance_suite_finds_nothing_but_what_is_written_down() {
    let Some(folder) = clients("the_conformance_suite_finds_nothing_but_what_is_written_down") else { return };
    let (_daemon, _door, port, _) = as_agent(&folder);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp-clients");
    for revision in ["2025-11-25", "2026-07-28"] {
        let mut command = clean(Command::new(folder.join("node_modules/.bin/node")));
        command.arg(folder.join("node_modules/.bin/conformance"));
        command.args(["server", "--url", &format!("http://127.0.0.1:{port}/mcp"), "--requirements", revision]);
        command.arg("--expected-failures").arg(scripts.join(format!("expected-{revision}.yml")));
        let results = tempfile::tempdir().unwrap();
        command.arg("--output-dir").arg(results.path()).current_dir(results.path());
        let answer = common::run(command, b"");
        assert_eq!(answer.code, Some(0), "{revision}: {}\n{}", answer.stdout, answer.stderr);
        if revision == "2026-07-28" {
            assert_eq!(failed(results.path(), "server-stateless"), STATELESS);
        }
    }
}

/// Of the scenario `server-stateless` the checks that must fail: each calls a tool of a server made for the suite. The suite's own list
/// of expected failures knows whole scenarios only.
const STATELESS: [&str; 4] = [
    "sep-2575-http-server-no-independent-requests-on-stream",
    "sep-2575-missing-capability-http-400",
    "sep-2575-server-no-log-without-loglevel",
    "sep-2575-server-rejects-undeclared-capability",
];

/// The checks of a scenario that failed, as the suite has written them down, sorted.
#[track_caller]
fn failed(results: &Path, scenario: &str) -> Vec<String> {
    let folders = std::fs::read_dir(results).unwrap().map(|entry| entry.unwrap().path());
    let mut of = folders.filter(|folder| folder.file_name().unwrap().to_string_lossy().contains(scenario));
    let checks = of.next().expect("its results").join("checks.json");
    let checks: Vec<Value> = serde_json::from_slice(&std::fs::read(checks).unwrap()).unwrap();
    let failed = checks.iter().filter(|check| check["status"] == "FAILURE");
    let mut ids: Vec<_> = failed.map(|check| check["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn the_inspector_finds_no_fault_in_the_schemas() {
    let Some(folder) = clients("the_inspector_finds_no_fault_in_the_schemas") else { return };
    let daemon = Daemon::start("alone");
    daemon.found("g");
    let mut command = clean(Command::new(folder.join("node_modules/.bin/node")));
    command.arg(folder.join("node_modules/.bin/mcp-inspector")).args(["--cli", LBM, "mcp", "--data"]);
    command.arg(&daemon.data).args(["--method", "tools/list", "--strict"]);
    let answer = common::run(command, b"");
    let listed: Value = answer.ok().json();
    assert_eq!(listed["tools"].as_array().unwrap().len(), 24);
    assert!(!answer.stderr.to_lowercase().contains("warn"), "{}", answer.stderr);
}
