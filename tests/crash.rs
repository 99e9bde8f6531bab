//! Power cuts: `kill -9` of real daemons under load. **No acknowledged claim may be missing anywhere afterwards.**
//!
//! `LBM_SEED=7` replays the kills of that seed, `LBM_KILLS=500` does more of them. What the daemons were doing at those moments is
//! the machine's to choose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Daemon, PATIENCE, agree, free_port, pair, wait_until};
use lbm::api::client::Client;
use lbm::api::types::{NewClaim, PublishBulk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Publishers on each daemon; the last of them publishes in bulk.
const PUBLISHERS: usize = 4;
/// Claims of one bulk: several blocks, which are there all or not at all.
const BULK: usize = 250;

/// Publishes as fast as the daemons acknowledge, whether or not they live, until it is told to stop.
struct Load {
    stop: Arc<AtomicBool>,
    /// Hashes of acknowledged claims.
    acknowledged: Arc<Mutex<Vec<String>>>,
    failed: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn on(daemons: &[&Daemon], group: &str) -> Self {
        let mut load =
            Self { stop: Arc::default(), acknowledged: Arc::default(), failed: Arc::default(), threads: vec![] };
        // No two claims of a test have one text.
        static LOADS: AtomicU64 = AtomicU64::new(0);
        let round = LOADS.fetch_add(1, Ordering::SeqCst);
        for (daemon, publisher) in daemons.iter().flat_map(|daemon| (0..PUBLISHERS).map(move |n| (daemon, n))) {
            let (data, name, group) =
                (daemon.data.clone(), format!("{round}{}{publisher}", daemon.name), group.to_owned());
            let size = if publisher + 1 == PUBLISHERS { BULK } else { 1 };
            let (stop, acknowledged, failed) =
                (Arc::clone(&load.stop), Arc::clone(&load.acknowledged), Arc::clone(&load.failed));
            load.threads
                .push(std::thread::spawn(move || publish(&data, &name, &group, size, &stop, &acknowledged, &failed)));
        }
        load
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Waits until the daemons have acknowledged that many more: a kill hits them at work.
    fn wait_for_more(&self, more: usize) {
        let wanted = self.count() + more;
        wait_until(PATIENCE, "claims are acknowledged", || self.count() >= wanted);
    }

    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.acknowledged.lock().unwrap())
    }
}

fn publish(
    data: &Path,
    name: &str,
    group: &str,
    size: usize,
    stop: &AtomicBool,
    acknowledged: &Mutex<Vec<String>>,
    failed: &AtomicU64,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(data);
    let mut number = 0_u64;
    while !stop.load(Ordering::SeqCst) {
        number += 1;
        let claim = |n: usize| {
            let padding = "x".repeat(if number.is_multiple_of(20) && size == 1 { 20_000 } else { 1 });
            NewClaim { text: format!("{name}/{number}/{n} {padding}"), ..NewClaim::default() }
        };
        let answer = if size == 1 {
            runtime.block_on(client.publish_claim(group, &claim(0))).map(|answer| vec![answer.claim_hash])
        } else {
            let bulk = PublishBulk { claims: (0..size).map(claim).collect() };
            runtime.block_on(client.publish_bulk(group, &bulk)).map(|answer| answer.claim_hashes)
        };
        match answer {
            Ok(hashes) => acknowledged.lock().unwrap().extend(hashes),
            Err(_) => {
                failed.fetch_add(1, Ordering::SeqCst);
                // It is being killed or started: no hurry.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        if size > 1 {
            // So that most blocks are small ones.
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// Both have every one of these claims, check out, and agree.
#[track_caller]
fn assert_nothing_lost(daemons: [&Daemon; 2], group: &str, acknowledged: &[String]) {
    for daemon in daemons {
        let mut missing = acknowledged.len();
        wait_until(Duration::from_secs(60), &format!("{} has all that was acknowledged", daemon.name), || {
            let here: std::collections::HashSet<String> = daemon.claims(group).into_iter().collect();
            let lost = acknowledged.iter().filter(|claim| !here.contains(*claim)).count();
            if lost != missing {
                eprintln!("{}: {} claims, {lost} acknowledged ones missing", daemon.name, here.len());
            }
            missing = lost;
            lost == 0
        });
    }
    let [one, other] = daemons;
    // What was stored and never acknowledged may still be on its way.
    agree(&[one, other], group);
    for daemon in daemons {
        assert_bulks_are_whole(daemon, group);
        // Who loses power is not at fault.
        assert!(!daemon.said().contains("sent a peer away"), "{} blames the other", daemon.name);
    }
}

/// Of each bulk, acknowledged or not, all claims are there or none.
#[track_caller]
fn assert_bulks_are_whole(daemon: &Daemon, group: &str) {
    let list = daemon.ctl(&["claim", "list", "--group", group, "--limit", "1000000"]).done();
    let mut bulks: BTreeMap<String, usize> = BTreeMap::new();
    for claim in list["claims"].as_array().unwrap() {
        let text = claim["text"].as_str().unwrap();
        let (which, _) = text.rsplit_once('/').unwrap_or_else(|| panic!("a claim without its words: {claim}"));
        *bulks.entry(which.to_owned()).or_default() += 1;
    }
    for (which, count) in bulks {
        let by = which.split('/').next().unwrap();
        let whole = if by.ends_with(&format!("{}", PUBLISHERS - 1)) { BULK } else { 1 };
        assert_eq!(count, whole, "{}: {which} is torn", daemon.name);
    }
}

/// A pair with addresses that stay the same over restarts.
fn settled_pair() -> (Daemon, Daemon, String) {
    let (mut alice, mut bob) = (Daemon::prepared("alice"), Daemon::prepared("bob"));
    for daemon in [&mut alice, &mut bob] {
        daemon.args(&["--listen", &format!("/ip4/127.0.0.1/tcp/{}", free_port()), "--no-mdns", "--log-level", "warn"]);
        daemon.restart();
    }
    let group = alice.found("crash");
    alice.add(&group, &bob.id, "member");
    bob.meet(&alice);
    alice.meet(&bob);
    bob.ctl(&["group", "join", &group]).ok();
    (alice, bob, group)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn fifty_kills_under_load_lose_no_acknowledged_claim() {
    let seed = number("LBM_SEED").unwrap_or(0);
    let kills = number("LBM_KILLS").unwrap_or(50);
    println!("seed {seed}: replay with LBM_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut alice, mut bob, group) = settled_pair();
    let load = Load::on(&[&alice, &bob], &group);
    let mut killed = 0;
    while killed < kills {
        load.wait_for_more(rng.random_range(10..300));
        // The moment: anywhere in the writing, pushing and pulling of what the publishers send meanwhile.
        std::thread::sleep(Duration::from_micros(rng.random_range(0..60_000)));
        match rng.random_range(0..5) {
            // Both at once, as when the building loses power.
            0 => {
                alice.kill();
                bob.kill();
                alice.restart();
                bob.restart();
                killed += 2;
            }
            1 | 2 => {
                alice.kill();
                alice.restart();
                killed += 1;
            }
            // Right after its start as well: recovery is interrupted too.
            3 => {
                bob.kill();
                bob.restart();
                bob.kill();
                bob.restart();
                killed += 2;
            }
            _ => {
                bob.kill();
                bob.restart();
                killed += 1;
            }
        }
    }
    let failed = load.failed.load(Ordering::SeqCst);
    let acknowledged = load.stop();
    println!("{killed} kills, {} claims acknowledged, {failed} publishes failed", acknowledged.len());
    assert!(acknowledged.len() > 50 * 10, "there was hardly any load");
    assert!(failed > 0, "no publish was under way when a daemon was killed");
    assert_nothing_lost([&alice, &bob], &group, &acknowledged);
}

#[test]
fn a_daemon_that_is_told_to_stop_under_load_ends_soon_and_loses_nothing() {
    let (mut alice, mut bob, group) = pair("stop");
    for _ in 0..3 {
        let load = Load::on(&[&alice, &bob], &group);
        load.wait_for_more(100);
        let (code, took) = alice.stop();
        assert_eq!(code, Some(0), "{}", alice.said());
        assert!(took < PATIENCE, "{took:?}");
        let acknowledged = load.stop();
        let (code, took) = bob.stop();
        assert_eq!(code, Some(0), "{}", bob.said());
        assert!(took < PATIENCE, "{took:?}");
        alice.restart();
        bob.restart();
        bob.meet(&alice);
        assert_nothing_lost([&alice, &bob], &group, &acknowledged);
    }
}

#[test]
fn ctrl_c_is_a_clean_end_as_well() {
    let mut daemon = Daemon::start("impatient");
    let group = daemon.found("g");
    let claim = daemon.publish(&group, "kept");
    daemon.signal("INT");
    wait_until(PATIENCE, "the socket is gone", || !common::is_there(daemon.data.join("lbm.sock")));
    daemon.ended(Some(0));
    daemon.restart();
    assert_eq!(daemon.claims(&group), [claim]);
}
