//! The README, typed into real processes: each command that it names, and its transcripts line by line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Answer, LBM, LBM_NODE, PATIENCE, clean, lbm, private_folder, run, wait_until, words};
use serde_json::json;

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The code blocks of a part of the README, line by line.
fn code_blocks(text: &str) -> Vec<Vec<String>> {
    let inside = text.split("```").skip(1).step_by(2);
    inside.map(|block| block.lines().skip(1).map(str::to_owned).collect()).collect()
}

/// What stands between single backticks outside of code blocks.
fn inline_code(text: &str) -> Vec<String> {
    let outside: String = text.split("```").step_by(2).collect();
    outside.replace('\n', " ").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_command_that_the_readme_names_exists() {
    let readme = readme();
    let id = lbm(&["init", "--data", private_folder().path().join("x").to_str().unwrap(), "--json"]).text("node_id");
    let mut lines: Vec<String> = code_blocks(&readme).into_iter().flatten().collect();
    for code in inline_code(&readme) {
        // `lbm keys show\|encrypt` in a table, `lbm ctl status|health`.
        let code = code.replace("\\|", "|");
        let words: Vec<&str> = code.split(' ').collect();
        let Some(at) = words.iter().position(|word| word.contains('|')) else {
            lines.push(code);
            continue;
        };
        let each = words[at].split('|').map(|one| [&words[..at], &[one], &words[at + 1..]].concat().join(" "));
        lines.extend(each);
    }
    let mut seen = 0;
    for line in lines {
        let line = line.replace("12D3KooW…", &id);
        let words = words(&line);
        let program = match words.first().map(String::as_str) {
            Some("lbm") => LBM,
            Some("lbm-node") => LBM_NODE,
            _ => continue,
        };
        seen += 1;
        let mut command = Command::new(program);
        command.args(&words[1..]).arg("--help");
        let help = run(command, b"");
        assert!(help.ok().stdout.contains("Usage:"), "{line}");
    }
    assert!(seen > 40, "the README is read wrongly: {seen}");
    assert_eq!(lbm(&["ctl", "frobnicate", "--help"]).code, Some(2), "an unknown command passes as a known one");
}

/// The two machines of the README, set up by its own lines.
struct Machines {
    _folder: tempfile::TempDir,
    _daemons: Vec<Background>,
    /// The data folders of the first and the second.
    data: [PathBuf; 2],
    /// Their ids.
    ids: [String; 2],
    /// What the last line answered.
    last: Answer,
}

impl Machines {
    fn set_up() -> Self {
        let readme = readme();
        let [setup, first, second] = code_blocks(part(&readme, "Two machines")).try_into().unwrap();
        let folder = private_folder();
        let data = ["alice", "bob"].map(|name| folder.path().join(name));
        let mut daemons = Vec::new();
        for (name, data) in ["alice", "bob"].iter().zip(&data) {
            for line in &setup {
                let words = words(&line.replace("--name alice", &format!("--name {name}")));
                match words.first().map(String::as_str) {
                    Some("lbm") => drop(on(data, &words)),
                    Some("lbm-node") => daemons.push(Background::start(data, &words)),
                    other => panic!("unexpected in the README: {other:?}"),
                }
            }
        }
        let [alice, bob] = &data;
        let ids = [alice, bob].map(|data| on(data, &words("lbm keys show --json")).text("node_id"));
        let mut last = None;
        for line in first {
            last = Some(on(alice, &words(&line)));
        }
        // What a person pastes: the first line of what `group invite` prints. No address and no key is typed.
        let shown = last.unwrap().stdout;
        let ticket = shown.lines().next().unwrap();
        assert!(ticket.starts_with("lbm1"), "{shown}");
        let mut last = None;
        for line in second {
            last = Some(on(bob, &words(&line.replace("lbm1…", ticket))));
        }
        Self { _folder: folder, _daemons: daemons, data, ids, last: last.unwrap() }
    }
}

/// A part of the README, by its heading.
fn part<'a>(readme: &'a str, heading: &str) -> &'a str {
    readme.split("\n## ").find(|part| part.starts_with(heading)).unwrap()
}

#[test]
fn the_readme_makes_two_machines_share() {
    let context = Machines::set_up().last.stdout;
    assert!(context.contains("Always validate inputs"), "{context}");
}

#[test]
fn the_readme_pays_for_work() {
    let machines = Machines::set_up();
    let [alice, bob] = &machines.data;
    let readme = readme();
    let [rules, work, bounds] = code_blocks(part(&readme, "Tokens and tasks")).try_into().unwrap();
    for (data, other, lines) in [(alice, 1, rules), (bob, 0, work), (alice, 1, bounds)] {
        for line in lines {
            let line = line.replace("12D3KooW…", &machines.ids[other]);
            let (_, said) = line.split_once(" # ").unwrap_or_default();
            let command = words(&line);
            match said.strip_prefix("refused: ") {
                Some(why) => drop(typed_on(data, &command).refused(1, &[why])),
                None => {
                    let shown = on(data, &command).stdout;
                    assert!(shown.contains(said), "`{line}` shows\n{shown}");
                }
            }
        }
        // What the first has written is on the second before that goes on.
        wait_until(PATIENCE, "both have the same blocks", || {
            let show = words("lbm ctl group show domain:research --json");
            let [one, other] = [alice, bob].map(|data| on(data, &show).json());
            one["blocks"] == other["blocks"] && one["blocks"].as_u64() > Some(3)
        });
    }
    let stats = on(bob, &words("lbm ctl group stats domain:research --json")).json();
    assert_eq!((&stats["total_supply"], &stats["treasury_balance"]), (&json!(160), &json!(0)), "{stats}");
}

#[test]
fn the_readme_sells_and_buys() {
    let machines = Machines::set_up();
    let [alice, bob] = &machines.data;
    let readme = readme();
    let mint = format!("lbm ctl token mint --group domain:research --to {} --amount 60", machines.ids[1]);
    on(alice, &words(&mint));
    let [sell, buy, stranger] = code_blocks(part(&readme, "The market")).try_into().unwrap();
    // The third has met the second, and nobody else.
    let third = private_folder();
    let carol = &third.path().join("carol");
    on(carol, &words("lbm init --name carol"));
    let _daemon = Background::start(carol, &words("lbm-node"));
    let status = on(bob, &words("lbm ctl status --json")).json();
    on(carol, &words(&format!("lbm ctl peer add --addr {}", status["listen"][0].as_str().unwrap())));
    let id = on(carol, &words("lbm keys show --json")).text("node_id");
    let mint = inline_code(part(&readme, "The market")).into_iter().find(|code| code.starts_with("lbm ctl token mint"));
    on(alice, &words(&mint.unwrap().replace("12D3KooW…", &id)));
    let mut offer = String::new();
    for (data, lines) in [(alice, sell), (bob, buy), (carol, stranger)] {
        if data == carol {
            wait_until(PATIENCE, "the third has heard of it", || {
                let peers = on(carol, &words("lbm ctl peer list --json")).json();
                assert_eq!(peers["peers"].as_array().unwrap().len(), 1, "it knows more than it was told: {peers}");
                on(carol, &words("lbm ctl offer list --json")).json()["offers"][0]["offer_id"] == *offer
            });
        }
        for line in lines {
            let line = line.replace("9c41…", &offer);
            let (_, said) = line.split_once(" # ").unwrap_or_default();
            let command = words(&line);
            match said.strip_prefix("refused: ") {
                Some(why) => drop(typed_on(data, &command).refused(1, &[why])),
                None => {
                    let shown = on(data, &command).stdout;
                    assert!(shown.contains(said), "`{line}` shows\n{shown}");
                }
            }
        }
        let listed = words("lbm ctl offer list --json");
        wait_until(PATIENCE, "the second knows the offer and has its tokens", || {
            let list = on(bob, &listed).json();
            offer = list["offers"][0]["offer_id"].as_str().unwrap_or_default().to_owned();
            let balance = on(bob, &words("lbm ctl token balance --group domain:research --json")).json();
            !offer.is_empty() && balance["balance"].as_u64() > Some(0)
        });
    }
    let balance = on(bob, &words("lbm ctl token balance --group domain:research --json")).json();
    assert_eq!(balance["balance"], 35);
    let peers = on(carol, &words("lbm ctl peer list --json")).json();
    let has_met = |id: &String| peers["peers"].as_array().unwrap().iter().any(|peer| peer["peer_id"] == **id);
    assert!(machines.ids.iter().all(has_met), "{peers}");
    let list = on(carol, &words("lbm ctl offer purchases --json")).json();
    assert_eq!(list["purchases"][0]["price"], 25, "{list}");
}

#[test]
fn the_readme_gives_an_agent_a_life_of_its_own() {
    let machines = Machines::set_up();
    let readme = readme();
    let [lines] = code_blocks(part(&readme, "Agents")).try_into().unwrap();
    for line in lines {
        let (_, said) = line.split_once(" # ").unwrap_or_default();
        let command = words(&line);
        match said.strip_prefix("refused: ") {
            Some(why) => drop(typed_on(&machines.data[0], &command).refused(1, &[why])),
            None => {
                let shown = on(&machines.data[0], &command).stdout;
                assert!(shown.contains(said), "`{line}` shows\n{shown}");
            }
        }
    }
}

/// Runs a line of the README on a machine, whose data folder the environment names.
#[track_caller]
fn on(data: &Path, words: &[String]) -> Answer {
    let answer = typed_on(data, words);
    answer.ok();
    answer
}

fn typed_on(data: &Path, words: &[String]) -> Answer {
    let mut command = clean(Command::new("env"));
    command.arg(format!("LB_DATA={}", data.display())).arg(LBM).args(&words[1..]);
    run(command, b"")
}

/// A program that goes when this does.
struct Background(std::process::Child);

impl Background {
    fn start(data: &Path, words: &[String]) -> Self {
        let mut command = clean(Command::new(LBM_NODE));
        command.args(&words[1..]).env("LB_DATA", data).env("LB_LISTEN", "/ip4/127.0.0.1/tcp/0").env("LB_MDNS", "false");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let background = Self(child);
        assert!(line.starts_with("ready "), "{line}");
        background
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
