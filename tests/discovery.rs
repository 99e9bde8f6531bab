//! Machines that multicast does not reach: they find each other through somebody whom both know.
//!
//! Needs root and iproute2, as `tests/lan.rs` does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::time::Duration;

use common::netns::{machines, machines_off, wait_for};
use common::{Daemon, agree, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

const TCP: &str = "/ip4/0.0.0.0/tcp/0";

/// The first founds a group, the others join it.
fn share(daemons: &[&Daemon]) -> String {
    let (founder, others) = daemons.split_first().unwrap();
    let group = founder.found("domain:research");
    for other in others {
        wait_for(founder, &[other], PATIENCE);
        founder.add(&group, &other.id, "member");
        other.ctl(&["group", "join", &group]).ok();
    }
    group
}

/// Its address on the network, not on its loopback.
fn address(daemon: &Daemon) -> String {
    let mut found = None;
    wait_until(PATIENCE, "it listens on the network", || {
        let status = daemon.ctl(&["status"]).done();
        let mut listen = status["listen"].as_array().unwrap().iter().filter_map(|address| address.as_str());
        found = listen.find(|address| address.contains("/10.77.")).map(str::to_owned);
        found.is_some()
    });
    found.unwrap()
}

fn is_connected(daemon: &Daemon, to: &Daemon) -> bool {
    let peers = daemon.ctl(&["peer", "list"]).done();
    peers["peers"].as_array().unwrap().iter().any(|peer| peer["peer_id"] == to.id.as_str() && peer["connected"] == true)
}

#[test]
fn members_find_each_other_through_a_node_that_knows_nothing_of_their_group() {
    let test = "members_find_each_other_through_a_node_that_knows_nothing_of_their_group";
    let Some((lan, [mut alice, mut bob, mut sam, mut eve])) = machines_off(test, ["alice", "bob", "sam", "eve"], TCP)
    else {
        return;
    };
    // They met once, where multicast worked.
    alice.restart();
    bob.restart();
    let group = share(&[&alice, &bob]);
    let together = alice.publish(&group, "while we were in one room");
    bob.wait_for_claims(&group, &[&together]);
    for one in [&mut alice, &mut bob] {
        one.stop();
    }
    (0..4).for_each(|machine| lan.no_multicast(machine).unwrap());
    sam.args(&["--listen", TCP, "--kademlia", "server"]);
    sam.restart();
    let server = address(&sam);
    // Each on another port than the other knows.
    alice.restart();
    bob.restart();
    std::thread::sleep(Duration::from_secs(3));
    assert!(!is_connected(&alice, &bob), "they find each other without anybody's help: this test shows nothing");
    for one in [&mut alice, &mut bob, &mut eve] {
        one.args(&["--listen", TCP, "--peer", &server]);
        if one.runs() {
            one.stop();
        }
        one.restart();
    }
    let took = wait_for(&alice, &[&bob], PATIENCE);
    println!("found after {took:?}");
    let later = bob.publish(&group, "and found again");
    alice.wait_for_claims(&group, &[&together, &later]);
    agree(&[&alice, &bob], &group);
    // Who has none of their secrets meets nobody but the one that it was told of.
    wait_for(&eve, &[&sam], PATIENCE);
    assert!(!is_connected(&eve, &alice) && !is_connected(&eve, &bob));
    assert_eq!(eve.ctl(&["peer", "list"]).done()["peers"].as_array().unwrap().len(), 1);
}

#[test]
fn members_tell_each_other_where_the_others_are() {
    let test = "members_tell_each_other_where_the_others_are";
    let Some((lan, [mut alice, mut bob, mut carol])) = machines(test, ["alice", "bob", "carol"], TCP) else { return };
    let group = share(&[&alice, &bob, &carol]);
    for one in [&mut alice, &mut bob, &mut carol] {
        one.stop();
    }
    (0..3).for_each(|machine| lan.no_multicast(machine).unwrap());
    alice.restart();
    let known = address(&alice);
    for one in [&mut bob, &mut carol] {
        one.args(&["--listen", TCP, "--peer", &known, "--kademlia", "off"]);
        one.restart();
    }
    let took = wait_for(&bob, &[&alice, &carol], PATIENCE);
    println!("found after {took:?}");
    // Without the one that brought them together.
    alice.stop();
    let claim = bob.publish(&group, "said to carol alone");
    carol.wait_for_claims(&group, &[&claim]);
}
