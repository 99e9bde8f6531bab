//! The steps of docs/NETWORK.md, typed line by line on two machines that have nothing but a cable between them.
//!
//! Needs root and iproute2; where there are none the test says so loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::netns::Lan;
use common::{Answer, LBM, LBM_NODE, PATIENCE, clean, private_folder, run, skipped, wait_until, words};

/// One of the two machines, and what runs on it.
struct Machine<'a> {
    lan: &'a Lan,
    number: usize,
    data: PathBuf,
    daemon: Option<Child>,
}

impl Machine<'_> {
    fn command(&self, program: &str) -> Command {
        let mut command = clean(self.lan.command(self.number, "env"));
        command.arg(format!("LB_DATA={}", self.data.display())).arg(program);
        command
    }

    #[track_caller]
    fn typed(&self, words: &[String]) -> Answer {
        let mut command = self.command(LBM);
        command.args(&words[1..]);
        run(command, b"")
    }

    fn starts(&mut self, words: &[String]) {
        let mut command = self.command(LBM_NODE);
        command.args(&words[1..]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.daemon = Some(child);
        assert!(line.starts_with("ready "), "{line}");
    }

    #[track_caller]
    fn told(&self, line: &str, key: &str) -> String {
        self.typed(&words(line)).text(key)
    }

    fn ends(&mut self) {
        if let Some(mut child) = self.daemon.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        self.ends();
    }
}

/// The code blocks of a part of the document, line by line.
fn blocks() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/NETWORK.md")).unwrap();
    let part = text.split("\n## ").find(|part| part.starts_with("Two nodes, step by step")).unwrap();
    let inside = part.split("```").skip(1).step_by(2);
    inside.map(|block| block.lines().skip(1).map(str::to_owned).collect()).collect()
}

#[test]
fn the_two_nodes_of_the_document_work_line_by_line() {
    let lan = match Lan::new(2) {
        Ok(lan) => lan,
        Err(why) => return skipped("the_two_nodes_of_the_document_work_line_by_line", &why),
    };
    let folder = private_folder();
    let machine =
        |number: usize, name: &str| Machine { lan: &lan, number, data: folder.path().join(name), daemon: None };
    let mut machines = [machine(0, "alice"), machine(1, "bob")];
    let blocks = blocks();
    assert_eq!(blocks.len(), 4, "two of each machine");
    for (at, lines) in blocks.into_iter().enumerate() {
        let (here, other) = (at % 2, (at + 1) % 2);
        for line in lines {
            let mut line = line.replace("192.168.1.100", &lan.address(0));
            if line.contains("12D3KooW…") {
                // What a line shows is of the machine itself, what it names of the other.
                let whose = if line.starts_with("lbm ctl status") { here } else { other };
                line = line.replace("12D3KooW…", &machines[whose].told("lbm keys show --json", "node_id"));
            }
            if line.contains("GROUP_ID") {
                line = line.replace("GROUP_ID", &machines[0].told("lbm ctl group show domain:demo --json", "group_id"));
            }
            let (_, said) = line.split_once(" # ").unwrap_or_default();
            let command = words(&line);
            if command[0] == "lbm-node" {
                machines[here].starts(&command);
                continue;
            }
            let shown = machines[here].typed(&command);
            shown.ok();
            // Some comments tell why; those that begin as the output does are the output.
            let is_output = !said.starts_with("or ");
            assert!(!is_output || shown.stdout.contains(said.trim()), "`{line}` shows\n{}", shown.stdout);
        }
    }
    // It goes on by itself when the second has been off.
    machines[1].ends();
    machines[0].typed(&words("lbm ctl claim publish --group domain:demo --text \"while bob was off\"")).ok();
    machines[1].starts(&words("lbm-node"));
    wait_until(PATIENCE, "the second has caught up by itself", || {
        machines[1].typed(&words("lbm ctl claim list --group domain:demo")).stdout.contains("while bob was off")
    });
}
