//! Many machines in one group, each in a network namespace of its own, all connected with all: nobody is left out.
//!
//! Needs root and iproute2; where there are none each test says so loudly. What is measured:
//! `cargo test --release --test crowd -- --ignored --nocapture --test-threads 1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::netns::{Lan, machines, machines_off};
use common::{Daemon, PATIENCE, agree, wait_until};
use futures::future::join_all;
use lbm::api::client::{Client, EventStream};
use lbm::api::types::{Event, EventKind, ListEvents, NewClaim};

const TCP: &str = "/ip4/0.0.0.0/tcp/0";

/// So many machines that have found each other by multicast, in one group by one ticket.
fn crowd<const N: usize>(test: &str) -> Option<(Lan, [Daemon; N], String)> {
    let names: Vec<String> = (0..N).map(|n| format!("m{n}")).collect();
    let names: [&str; N] = std::array::from_fn(|n| names[n].as_str());
    let (lan, daemons) = machines(test, names, TCP)?;
    let founder = &daemons[0];
    let group = founder.found("domain:research");
    let uses = (N - 1).to_string();
    let ticket = founder.ctl(&["group", "invite", "--group", &group, "--uses", &uses]).text("ticket");
    let began = Instant::now();
    for other in &daemons[1..] {
        assert_eq!(other.ctl(&["group", "join", &ticket, "--timeout", "20s"]).done()["joined"], true);
    }
    println!("{N} machines joined one after the other in {:?}", began.elapsed());
    for one in &daemons {
        one.wait_for_peers(N as u64 - 1);
    }
    wait_until(PATIENCE, "everybody knows everybody", || {
        daemons.iter().all(|one| one.ctl(&["group", "show", &group]).done()["members"] == N)
    });
    Some((lan, daemons, group))
}

/// Who has heard of a claim when: from the call of `publish` on one to the event on each of the others.
async fn spread(
    author: usize,
    clients: &[Client],
    ears: &mut [EventStream<Event>],
    group: &str,
    text: &str,
) -> Vec<Duration> {
    let claim = NewClaim { text: text.into(), ..NewClaim::default() };
    let began = Instant::now();
    let published = async { clients[author].publish_claim(group, &claim).await.unwrap() };
    let heard = join_all(ears.iter_mut().map(|ear| async {
        loop {
            let event = ear.next().await.unwrap().unwrap();
            if matches!(event.kind, EventKind::ClaimPublished { .. }) {
                return began.elapsed();
            }
        }
    }));
    tokio::time::timeout(PATIENCE, async { tokio::join!(published, heard).1 }).await.expect("somebody is left out")
}

/// Claims of one author after the other; the time until each was on each machine, in order.
fn rounds(daemons: &[Daemon], group: &str, rounds: usize) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let clients: Vec<Client> = daemons.iter().map(|daemon| Client::new(&daemon.data)).collect();
        let listening = ListEvents { after: Some(u64::MAX / 2), follow: true };
        let mut ears = join_all(clients.iter().map(|client| async { client.events(&listening).await.unwrap() })).await;
        let mut times = Vec::new();
        for round in 0..rounds {
            let author = round * 7 % daemons.len();
            times.extend(spread(author, &clients, &mut ears, group, &format!("claim {round}")).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        times.sort_unstable();
        times
    })
}

fn part(sorted: &[Duration], part: f64) -> Duration {
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

#[test]
fn a_claim_of_any_of_twenty_is_on_all_of_them() {
    let Some((_lan, daemons, group)) = crowd::<20>("a_claim_of_any_of_twenty_is_on_all_of_them") else { return };
    let times = rounds(&daemons, &group, 10);
    assert_eq!(times.len(), 200, "nobody is left out");
    println!("20 machines: p50 {:?}, p95 {:?}, most {:?}", part(&times, 0.5), part(&times, 0.95), part(&times, 1.0));
    assert!(part(&times, 0.95) < Duration::from_secs(20), "{:?}", part(&times, 0.95));
    agree(&daemons.iter().collect::<Vec<_>>(), &group);
}

#[test]
#[ignore = "fifty daemons: what is measured, to be run with --release"]
fn a_claim_of_any_of_fifty_is_on_all_of_them_before_long() {
    let test = "a_claim_of_any_of_fifty_is_on_all_of_them_before_long";
    let Some((_lan, daemons, group)) = crowd::<50>(test) else { return };
    let times = rounds(&daemons, &group, 100);
    println!("50 machines: p50 {:?}, p95 {:?}, most {:?}", part(&times, 0.5), part(&times, 0.95), part(&times, 1.0));
    assert!(part(&times, 0.95) <= Duration::from_millis(250), "{:?}", part(&times, 0.95));
}

/// From the start of a daemon that knows nobody to its first connection, beside one that runs.
#[test]
#[ignore = "what is measured, to be run with --release"]
fn a_node_that_starts_cold_finds_another_at_once() {
    let test = "a_node_that_starts_cold_finds_another_at_once";
    let mut times = Vec::new();
    for _ in 0..20 {
        let Some((_lan, [mut alice, mut bob])) = machines_off(test, ["alice", "bob"], TCP) else { return };
        alice.restart();
        // Its own first questions are over.
        std::thread::sleep(Duration::from_secs(5));
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        bob.restart();
        let connected = || {
            let told = bob.ctl(&["events"]).done();
            let mut events = told["events"].as_array().unwrap().iter();
            events.find_map(|event| (event["type"] == "peer_connected").then(|| event["at_ms"].as_u64().unwrap()))
        };
        let mut found = None;
        wait_until(PATIENCE, "they find each other", || {
            found = connected();
            found.is_some()
        });
        times.push(Duration::from_millis(found.unwrap()).saturating_sub(started));
    }
    times.sort_unstable();
    println!("found after {times:?}: p50 {:?}, p95 {:?}", part(&times, 0.5), part(&times, 0.95));
    assert!(part(&times, 0.5) <= Duration::from_millis(100), "{times:?}");
}
