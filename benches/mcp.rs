//! What an agent feels: `lbm mcp` as a process with a real daemon behind it, beside other memory servers in the same run. Prints one JSON
//! document.
//!
//! ```text
//! LBM_MCP_CLIENTS=DIR cargo bench --bench mcp -- [--claims 10000]
//! ```
//!
//! One client talks to the server by raw lines, one call after the other. `start_ms` is from starting the process to the answer to `initialize`.
//! `server_memory` is the npm package `@modelcontextprotocol/server-memory`, where `tests/mcp-clients/install` has put it into `DIR`;
//! `basic_memory` is PyPI's `basic-memory`, where `benches/basic-memory DIR` has. Both are given a few hundred notes, not as many as ours.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may fail, and prints its result"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::mcp::{Agent as _, Mcp};
use common::{Daemon, clean};
use serde_json::{Value, json};

const REVISION: &str = "2025-11-25";
const SERVER_MEMORY: &str = "node_modules/.bin/mcp-server-memory";
const BASIC_MEMORY: &str = "basic-memory/bin/basic-memory";

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let claims = args.iter().position(|arg| arg == "--claims").and_then(|at| args.get(at + 1));
    let claims: usize = claims.map_or(10_000, |text| text.parse().unwrap());
    let daemon = Daemon::start("bench");
    daemon.found("g");
    fill(&daemon, claims);
    let data = daemon.data.to_str().unwrap();
    let start = times(30, || drop(Mcp::begun(data, REVISION)));
    let mut agent = Mcp::begun(data, REVISION);
    for n in 0..50 {
        agent.done("create_task", &json!({"task_id": format!("t{n}"), "title": "a task"}));
    }
    agent.done("compile_context", &json!({"query": "warm"}));
    let mut n = 0;
    let context = times(500, || {
        n += 1;
        drop(agent.done("compile_context", &json!({"query": format!("lesson {n} of the socket")})));
    });
    let tasks = times(500, || drop(agent.done("list_tasks", &json!({}))));
    let recent = times(500, || drop(agent.done("get_recent_claims", &json!({}))));
    let prime = times(200, || drop(agent.done("prime", &json!({}))));
    let publish = times(500, || {
        n += 1;
        drop(agent.done("publish_claim", &json!({"text": format!("measured {n}")})));
    });
    let ours = json!({
        "claims": claims, "start_ms": start, "compile_context_ms": context, "list_tasks_ms": tasks,
        "get_recent_claims_ms": recent, "prime_ms": prime, "publish_claim_ms": publish,
        "memory": memory(agent.child.id()),
    });
    let folder = std::env::var_os("LBM_MCP_CLIENTS").map(PathBuf::from);
    let there = |program: &str| folder.as_ref().filter(|folder| folder.join(program).exists());
    let server_memory = there(SERVER_MEMORY).map(|folder| server_memory(folder));
    let basic_memory = there(BASIC_MEMORY).map(|folder| basic_memory(folder));
    println!("{:#}", json!({"lbm": ours, "server_memory": server_memory, "basic_memory": basic_memory}));
}

fn fill(daemon: &Daemon, claims: usize) {
    let lines: String = (0..claims)
        .map(|n| {
            format!("{}\n", json!({"text": format!("Lesson {n}: the socket {} is kept at mode 0600", n * 7 % 1_000)}))
        })
        .collect();
    daemon.ctl_with(&["claim", "publish", "--group", "g", "--file", "-"], lines.as_bytes()).ok();
}

/// The same calls as far as the npm package has them.
fn server_memory(folder: &Path) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    let start = || {
        let mut command = clean(Command::new(folder.join("node_modules/.bin/node")));
        command.arg(folder.join(SERVER_MEMORY)).env("MEMORY_FILE_PATH", file.path());
        begun(command)
    };
    let start_ms = times(10, || drop(start()));
    let mut server = start();
    let mut n = 0;
    let write = times(300, || {
        n += 1;
        let entity = json!({"name": format!("e{n}"), "entityType": "lesson", "observations": ["kept at mode 0600"]});
        drop(server.done("create_entities", &json!({"entities": [entity]})));
    });
    let read = times(300, || drop(server.done("search_nodes", &json!({"query": "e17"}))));
    json!({"start_ms": start_ms, "search_nodes_ms": read, "create_entities_ms": write, "memory": memory(server.child.id())})
}

/// The same of PyPI's, which needs seconds to start.
fn basic_memory(folder: &Path) -> Value {
    let home = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = clean(Command::new(folder.join(BASIC_MEMORY)));
        command.arg("mcp").env("HOME", home.path()).current_dir(home.path());
        begun(command)
    };
    let start_ms = times(3, || drop(start()));
    let mut server = start();
    let mut n = 0;
    let write = times(100, || {
        n += 1;
        let (title, content) = (format!("lesson {n}"), "the socket is kept at mode 0600");
        let note = json!({"project": "main", "directory": "lessons", "title": title, "content": content});
        drop(server.done("write_note", &note));
    });
    let read = times(100, || drop(server.done("search_notes", &json!({"project": "main", "query": "socket"}))));
    json!({"start_ms": start_ms, "search_notes_ms": read, "write_note_ms": write, "memory": memory(server.child.id())})
}

fn begun(command: Command) -> Mcp {
    let mut server = Mcp::of(command);
    server.initialize(REVISION);
    server
}

/// The median and the 99th percentile of so many runs, milliseconds.
fn times(runs: usize, mut run: impl FnMut()) -> Value {
    let mut taken: Vec<Duration> = (0..runs)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed()
        })
        .collect();
    taken.sort_unstable();
    let ms = |at: usize| (taken[at.min(runs - 1)].as_secs_f64() * 1e5).round() / 1e2;
    json!({"p50": ms(runs / 2), "p99": ms(runs * 99 / 100)})
}

/// What a process holds in memory, KiB: all that is mapped and there, whoever shares it (the figure of `ps` and `top`); its share of that;
/// and what is its own and came from no file.
fn memory(pid: u32) -> Value {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |name: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    };
    json!({"resident_kib": kib("Rss:"), "proportional_kib": kib("Pss:"), "anonymous_kib": kib("Anonymous:")})
}
