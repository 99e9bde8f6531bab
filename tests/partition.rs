//! An economy that is cut in two: three machines, of which one is the group's notary, write apart for a while and meet again.
//!
//! Ten seconds apart; `LBM_PARTITION_S` says another number. Needs root and iproute2; where there are none the test says so loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::netns::{HEALING, machines, wait_for};
use common::{Answer, Daemon, LBM, PATIENCE, agree, wait_until};
use serde_json::{Value, json};

/// How long the two sides write apart where the environment does not say.
const APART: Duration = Duration::from_secs(10);
/// What a distinct text earns.
const CLAIM_REWARD: u64 = 10;
/// What each has when the cable is pulled, besides what it got by rule.
const STAKE: u64 = 10_000;
/// Of the two mints that fit under the cap apart, and not together: that of the notary's side, and the other.
const MINTED: [u64; 2] = [600_000, 700_000];
const CAP: u64 = 1_000_000;

/// What a daemon tells of while it runs, heard as it happens.
struct Ear {
    command: Child,
    heard: Arc<Mutex<Vec<Value>>>,
}

impl Ear {
    fn of(daemon: &Daemon) -> Self {
        let mut command = daemon.elsewhere(LBM);
        command.args(["ctl", "events", "--follow", "--json", "--data"]).arg(&daemon.data);
        let mut command = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(command.stdout.take().unwrap()).lines().map_while(Result::ok);
        let heard = Arc::<Mutex<Vec<Value>>>::default();
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            lines.for_each(|line| kept.lock().unwrap().push(serde_json::from_str(&line).unwrap()));
        });
        Self { command, heard }
    }

    /// The blocks of an author that were told to be refused, and counted again by no later word. What a reader was too slow for is
    /// never these: they are told behind whatever else a batch brings.
    fn refused(&self, author: &str) -> BTreeSet<String> {
        let mut refused = BTreeSet::new();
        for event in self.heard.lock().unwrap().iter().filter(|event| event["author"] == author) {
            let block = event["block_id"].as_str().unwrap_or_default().to_owned();
            match event["type"].as_str().unwrap() {
                "block_rejected" => drop(refused.insert(block)),
                "block_reinstated" => drop(refused.remove(&block)),
                _ => {}
            }
        }
        refused
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        drop(self.command.kill());
        drop(self.command.wait());
    }
}

/// One machine and the group that it writes in.
#[derive(Clone, Copy)]
struct Side<'a> {
    daemon: &'a Daemon,
    group: &'a str,
}

impl Side<'_> {
    /// Runs `lbm ctl` in the group.
    #[track_caller]
    fn ctl(self, line: &str) -> Answer {
        let words: Vec<&str> = line.split(' ').chain(["--group", self.group]).collect();
        self.daemon.ctl(&words)
    }

    /// The block of a write that must succeed.
    #[track_caller]
    fn wrote(self, line: &str) -> String {
        self.ctl(line).text("block_id")
    }

    #[track_caller]
    fn publish(self, text: &str) {
        self.daemon.publish(self.group, text);
    }

    #[track_caller]
    fn balance(self, account: &str) -> u64 {
        self.ctl(&format!("token balance --account {account}")).done()["balance"].as_u64().unwrap()
    }

    #[track_caller]
    fn stats(self) -> Value {
        self.daemon.ctl(&["group", "stats", self.group]).done()
    }

    fn task(self, id: &str) -> Value {
        let shown = self.ctl(&format!("task show {id}"));
        if shown.code == Some(0) { shown.json() } else { Value::Null }
    }

    /// Each move of an account, the first first.
    fn history(self, account: &str) -> Vec<Value> {
        let (mut moves, mut from) = (vec![], String::new());
        loop {
            let page = self.ctl(&format!("token history --limit 1000 --account {account}{from}")).done();
            moves.extend(page["moves"].as_array().unwrap().iter().cloned());
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            from = format!(" --cursor {cursor}");
        }
        moves.reverse();
        moves
    }

    /// Everyday writes until the time is over; how many rounds.
    fn goes_on(self, to: &str, mints: bool, until: Instant) -> u64 {
        let mut rounds = 0;
        while Instant::now() < until {
            self.publish(&format!("{} alone {rounds}", self.daemon.name));
            self.wrote(&format!("token transfer --to {to} --amount 10"));
            if mints {
                self.wrote(&format!("token mint --to {to} --amount 1"));
            }
            rounds += 1;
        }
        rounds
    }
}

/// How the two sides go on apart.
struct Apart {
    /// How many rounds each of the three has made.
    rounds: [u64; 3],
    /// The blocks of Bob's that cannot stand, and those of Carol's.
    lost: [BTreeSet<String>; 2],
}

/// The notary's side: all that is written is final at once.
fn with_the_notary(alice: Side<'_>, bob: &str, until: Instant) -> u64 {
    for step in ["claim", "start", "complete"] {
        alice.wrote(&format!("task {step} survey"));
        alice.wrote(&format!("task {step} review"));
    }
    let mint = format!("token mint --to {} --amount {} --wait-final", alice.daemon.id, MINTED[0]);
    assert_eq!(alice.ctl(&mint).done()["final"], true);
    alice.wrote("group policy --set transfer_fee_bps=500");
    alice.publish("What both found out");
    alice.goes_on(bob, true, until)
}

/// The other side's admin, until Carol goes on alone.
fn an_admin_without_the_notary(bob: Side<'_>, carol: &str, until: Instant) -> (u64, String) {
    let mint = bob.wrote(&format!("token mint --to {carol} --amount {}", MINTED[1]));
    bob.publish("What both found out");
    let pending = bob.ctl(&format!("token transfer --to {carol} --amount 10 --wait-final=1s"));
    pending.refused(4, &["not final after 1 s", "notary", "lbm ctl rejected"]);
    // It is done, and says in which block.
    assert_eq!(
        (&pending.json()["final"], pending.json()["block_id"].as_str().map(str::len)),
        (&json!(false), Some(64))
    );
    bob.wrote("group policy --set transfer_fee_bps=2000");
    (bob.goes_on(carol, true, until), mint)
}

/// The other side's member, who builds on what will not stand.
fn a_member_without_the_notary(carol: Side<'_>, bob: &str, alice: &str, until: Instant) -> (u64, BTreeSet<String>) {
    let mut lost: BTreeSet<String> =
        ["claim", "start", "complete"].iter().map(|step| carol.wrote(&format!("task {step} survey"))).collect();
    lost.insert(carol.wrote("task cancel review"));
    assert_eq!(carol.task("survey")["final"], false);
    wait_until(PATIENCE, "Carol sees what Bob has made for her", || carol.balance(&carol.daemon.id) >= MINTED[1]);
    lost.insert(carol.wrote(&format!("token transfer --to {bob} --amount 500000")));
    let later = carol.ctl("task create --task later --title Later --reward 7 --wait-final=1s");
    later.refused(4, &["it is written", "not final after 1 s"]);
    (carol.goes_on(alice, false, until), lost)
}

fn write_apart(sides: [Side<'_>; 3], until: Instant) -> Apart {
    let [alice, bob, carol] = sides;
    let [alice_id, bob_id, carol_id] = sides.map(|side| side.daemon.id.as_str());
    std::thread::scope(|scope| {
        let one = scope.spawn(|| with_the_notary(alice, bob_id, until));
        let two = scope.spawn(|| an_admin_without_the_notary(bob, carol_id, until));
        let three = scope.spawn(|| a_member_without_the_notary(carol, bob_id, alice_id, until));
        let (first, (second, mint), (third, lost)) = (one.join().unwrap(), two.join().unwrap(), three.join().unwrap());
        Apart { rounds: [first, second, third], lost: [BTreeSet::from([mint]), lost] }
    })
}

/// The group before the cable is pulled: rules, a stake for each, and two tasks that everybody sees.
fn together(daemons: [&Daemon; 3]) -> String {
    let [alice, bob, carol] = daemons;
    let group = alice.found("domain:research");
    let [at_alice, at_bob, at_carol] = daemons.map(|daemon| Side { daemon, group: &group });
    let rules = ["faucet_amount=100", "claim_reward_amount=10", "transfer_fee_bps=1000", "max_total_supply=1000000"];
    at_alice.wrote(&format!("group policy --set {}", rules.join(" --set ")));
    for (other, role) in [(bob, "admin"), (carol, "member")] {
        alice.add(&group, &other.id, role);
        other.ctl(&["group", "join", &group]).ok();
    }
    for daemon in daemons {
        at_alice.wrote(&format!("token mint --to {} --amount {STAKE}", daemon.id));
    }
    at_alice.wrote("task create --task survey --title Survey --reward 50");
    wait_until(PATIENCE, "Carol has tokens to set aside", || at_carol.balance(&carol.id) == STAKE + 100);
    at_carol.wrote("task create --task review --title Review --reward 40");
    for side in [at_alice, at_bob, at_carol] {
        wait_until(PATIENCE, "everybody sees both tasks", || {
            ["survey", "review"].iter().all(|task| side.task(task)["ready"] == true)
        });
    }
    agree(&daemons, &group);
    group
}

/// All tokens that there are, from the accounts' own histories and not from what the ledger has added up.
#[track_caller]
fn account_for_every_token(side: Side<'_>, accounts: [&str; 3]) -> Value {
    let (mut held, mut fees) = (0, 0);
    for account in accounts {
        let mut balance = 0;
        for row in side.history(account) {
            let of = |key: &str| row[key].as_u64().unwrap();
            assert_eq!(row["final"], true, "{row}");
            if row["direction"] == "in" {
                balance += of("amount");
            } else {
                balance -= of("amount") + of("fee");
                fees += of("fee");
            }
            assert_eq!(balance, of("balance"), "{row}");
        }
        assert_eq!(balance, side.balance(account));
        held += balance;
    }
    let stats = side.stats();
    let of = |key: &str| stats[key].as_u64().unwrap();
    assert_eq!(fees, of("treasury_balance"), "{stats}");
    assert_eq!(held + of("treasury_balance") + of("escrow_balance"), of("total_supply"), "{stats}");
    stats
}

#[test]
fn an_economy_cut_in_two_is_one_again_with_every_token_accounted_for() {
    let test = "an_economy_cut_in_two_is_one_again_with_every_token_accounted_for";
    let seconds = std::env::var("LBM_PARTITION_S").map(|seconds| seconds.parse().expect("LBM_PARTITION_S: seconds"));
    let apart = seconds.map_or(APART, Duration::from_secs);
    let Some((lan, [alice, bob, carol])) = machines(test, ["alice", "bob", "carol"], "/ip4/0.0.0.0/tcp/0") else {
        return;
    };
    let daemons = [&alice, &bob, &carol];
    wait_for(&alice, &[&bob, &carol], PATIENCE);
    wait_for(&bob, &[&carol], PATIENCE);
    let group = together(daemons);
    let sides = daemons.map(|daemon| Side { daemon, group: &group });
    let ears = daemons.map(Ear::of);
    let sealed = bob.settled(&group).0;

    lan.plug(0, false).unwrap();
    let Apart { rounds, lost } = write_apart(sides, Instant::now() + apart);
    for side in sides {
        assert_eq!(side.daemon.ctl(&["rejected"]).done()["rejected"], json!([]), "{} knows better", side.daemon.name);
    }
    // Who has no notary says that nothing new is final, and shows it all the same.
    for side in &sides[1..] {
        let stats = side.stats();
        assert_eq!(stats["final_blocks"], sealed, "{stats}");
        assert_eq!(side.history(&bob.id).last().unwrap()["final"], false);
    }
    assert_eq!(sides[0].task("survey")["final"], true);

    lan.plug(0, true).unwrap();
    let plugged = Instant::now();
    wait_until(HEALING, "the notary has everything that Bob's side wrote", || {
        let blocks = bob.blocks(&group);
        blocks == alice.blocks(&group) && blocks == carol.blocks(&group)
    });
    agree(&daemons, &group);
    println!("{rounds:?} rounds apart; whole again {:?} after the cable was plugged in", plugged.elapsed());

    // One outcome of each race, and who has lost it is told.
    let of_all: BTreeSet<String> = lost.iter().flatten().cloned().collect();
    for (side, ear) in sides.iter().zip(&ears) {
        let rejected = side.daemon.ctl(&["rejected"]).done();
        let rows = rejected["rejected"].as_array().unwrap();
        let here: BTreeSet<String> = rows.iter().map(|row| row["block_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(here, of_all, "{rejected}");
        let mut why: Vec<_> = rows.iter().map(|row| (&row["author"], row["code"].as_str().unwrap())).collect();
        why.sort_by_key(|(_, code)| *code);
        let (bobs, carols) = (&json!(bob.id), &json!(carol.id));
        let codes = [(carols, "insufficient_balance"), (bobs, "supply_cap")];
        let codes: Vec<_> = codes.into_iter().chain([(carols, "task_ended"); 4]).collect();
        assert_eq!(why, codes, "{rejected}");
        assert!(rows.iter().all(|row| row["final"] == true), "{rejected}");
        for (loser, lost) in [&bob, &carol].iter().zip(&lost) {
            let what = format!("{} hears of all that {} has lost", side.daemon.name, loser.name);
            wait_until(PATIENCE, &what, || ear.refused(&loser.id) == *lost);
        }
    }

    // What is there is what was made, by the rules and by hand, and lies on accounts that everybody knows.
    let texts = rounds.iter().sum::<u64>() + 1;
    let minted = 3 * STAKE + MINTED[0] + rounds[0] + rounds[1];
    let supply = 2 * 100 + minted + CLAIM_REWARD * texts + 50;
    let all = sides.map(|side| account_for_every_token(side, [&alice.id, &bob.id, &carol.id]));
    for stats in &all {
        assert_eq!((&stats["total_supply"], &stats["max_total_supply"]), (&json!(supply), &json!(CAP)), "{stats}");
        assert_eq!((&stats["escrow_balance"], &stats["accounts"]), (&json!(7), &json!(3)), "{stats}");
        assert_eq!(stats["transfer_fee_bps"], 2_000, "the later change holds: {stats}");
        assert_eq!(stats["claims"], texts + 1, "the text that both found out stands twice: {stats}");
        assert_eq!(stats, &all[0]);
    }
    for side in sides {
        let survey = side.task("survey");
        assert_eq!((&survey["status"], &survey["assignee"]), (&json!("completed"), &json!(alice.id)), "{survey}");
        assert_eq!(side.task("review")["status"], "completed");
        assert_eq!(side.task("later")["status"], "pending");
        assert_eq!(side.history(&carol.id), sides[0].history(&carol.id));
    }
}
