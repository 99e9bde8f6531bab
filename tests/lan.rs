//! Machines of one network, each in a network namespace of its own: they find each other by multicast DNS, nobody types an address.
//!
//! Needs root and iproute2; where there are none each test says so loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use common::netns::{HEALING, Lan, machines, machines_off, wait_for};
use common::{Daemon, PATIENCE, agree, wait_until};
use lbm::limits::BOOK_PEERS;
use libp2p::PeerId;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::json;

/// How long a person waits before it counts as not working.
const A_FEW_SECONDS: Duration = Duration::from_secs(20);

/// What is measured by the minute.
const A_MINUTE: Duration = Duration::from_secs(60);

const TCP: &str = "/ip4/0.0.0.0/tcp/0";
const QUIC: &str = "/ip4/0.0.0.0/udp/0/quic-v1";

/// The first founds a group, the others join it; no address is typed.
fn share(daemons: &[&Daemon]) -> String {
    let (founder, others) = daemons.split_first().unwrap();
    let group = founder.found("domain:research");
    for other in others {
        founder.add(&group, &other.id, "member");
        other.ctl(&["group", "join", &group]).ok();
    }
    group
}

fn two_find_each_other(test: &str, listen: &str, transport: &str) {
    let Some((_lan, [alice, bob])) = machines(test, ["alice", "bob"], listen) else { return };
    let took = wait_for(&alice, &[&bob], A_FEW_SECONDS);
    wait_for(&bob, &[&alice], A_FEW_SECONDS);
    println!("found after {took:?}");
    let peers = alice.ctl(&["peer", "list"]).done();
    let peer = &peers["peers"][0];
    assert_eq!(peer["peer_id"], bob.id.as_str());
    let address = peer["addresses"][0].as_str().unwrap();
    assert!(address.contains(transport) && address.contains("10.77."), "{peers}");
    let group = share(&[&alice, &bob]);
    let claim = alice.publish(&group, "found without an address");
    let took = bob.wait_for_claims(&group, &[&claim]);
    assert!(took < A_FEW_SECONDS, "{took:?}");
    let back = bob.publish(&group, "and back");
    alice.wait_for_claims(&group, &[&back]);
    agree(&[&alice, &bob], &group);
}

#[test]
fn two_machines_find_each_other_and_share() {
    two_find_each_other("two_machines_find_each_other_and_share", TCP, "/tcp/");
}

#[test]
fn two_machines_with_quic_alone_find_each_other_and_share() {
    two_find_each_other("two_machines_with_quic_alone_find_each_other_and_share", QUIC, "/quic-v1");
}

#[test]
fn three_machines_find_each_other_and_one_that_starts_late_has_all() {
    let test = "three_machines_find_each_other_and_one_that_starts_late_has_all";
    let Some((_lan, [alice, bob, mut carol])) = machines(test, ["alice", "bob", "carol"], TCP) else { return };
    // Nobody has anything in its address book; the last has only just started.
    let last = std::time::Instant::now();
    for (one, others) in [(&alice, [&bob, &carol]), (&bob, [&alice, &carol]), (&carol, [&alice, &bob])] {
        wait_for(one, &others, A_FEW_SECONDS.saturating_sub(last.elapsed()));
    }
    println!("all three have found each other after {:?}", last.elapsed());
    let group = share(&[&alice, &bob, &carol]);
    let claims: Vec<String> =
        [&alice, &bob, &carol].iter().map(|one| one.publish(&group, &format!("by {}", one.name))).collect();
    let wanted: Vec<&str> = claims.iter().map(String::as_str).collect();
    for one in [&alice, &bob, &carol] {
        one.wait_for_claims(&group, &wanted);
    }
    // Off, and on again much later.
    carol.kill();
    let missed = alice.publish(&group, "while carol was off");
    bob.wait_for_claims(&group, &[&missed]);
    carol.restart();
    let took = carol.wait_for_claims(&group, &[&missed]);
    assert!(took < A_FEW_SECONDS, "{took:?}");
    agree(&[&carol, &alice], &group);
}

/// Waits until a daemon knows an offer.
#[track_caller]
fn wait_for_offer(daemon: &Daemon, offer: &str) -> Duration {
    wait_until(A_FEW_SECONDS, "the offer is known", || daemon.ctl(&["offer", "show", offer]).code == Some(0))
}

#[test]
fn a_stranger_on_the_lan_buys_from_a_seller_that_nobody_has_told_it_of() {
    let test = "a_stranger_on_the_lan_buys_from_a_seller_that_nobody_has_told_it_of";
    let Some((_lan, [alice, bob, dora])) = machines(test, ["alice", "bob", "dora"], TCP) else { return };
    for (one, others) in [(&alice, [&bob, &dora]), (&bob, [&alice, &dora]), (&dora, [&alice, &bob])] {
        wait_for(one, &others, A_FEW_SECONDS);
    }
    let group = alice.found("domain:research");
    alice.ctl(&["token", "mint", "--group", &group, "--to", &dora.id, "--amount", "30"]).ok();
    let create = ["offer", "create", "--group", &group, "--title", "Why", "--price", "25", "--tags", "cache"];
    let offer = alice.ctl(&[&create[..], &["--text", "It was built at noon"]].concat()).text("offer_id");
    let took = wait_for_offer(&dora, &offer);
    assert!(took < A_FEW_SECONDS, "known after {took:?}");
    wait_for_offer(&bob, &offer);
    dora.ctl(&["market", "pull"]).ok();
    let list = dora.ctl(&["offer", "list", "--tag", "cache", "--max-price", "30"]).done();
    assert_eq!(
        (&list["offers"][0]["offer_id"], &list["offers"][0]["source"]),
        (&offer.as_str().into(), &"announcement".into())
    );
    assert_eq!(dora.lbm(&["ctl", "offer", "buy", &offer, "--print"]).ok().stdout, "It was built at noon");
    let balance = alice.ctl(&["token", "balance", "--group", &group, "--account", &dora.id]).done();
    assert_eq!(balance["balance"], 5);
}

fn a_cable(test: &str, listen: &str) {
    let Some((lan, [alice, bob])) = machines(test, ["alice", "bob"], listen) else { return };
    wait_for(&alice, &[&bob], A_FEW_SECONDS);
    let group = share(&[&alice, &bob]);
    let together = alice.publish(&group, "together");
    bob.wait_for_claims(&group, &[&together]);
    lan.plug(1, false).unwrap();
    // Nobody waits for the network to write.
    let mut apart = vec![together];
    for n in 0..5 {
        apart.push(alice.publish(&group, &format!("alice alone {n}")));
        apart.push(bob.publish(&group, &format!("bob alone {n}")));
    }
    assert!(!bob.claims(&group).contains(&apart[1]), "the cable is not pulled");
    // Until both have noticed: then the way back is by dialling, not by a connection that had merely slept.
    wait_until(HEALING, "both notice that the other is gone", || {
        [&alice, &bob].iter().all(|one| one.ctl(&["status"]).done()["peers"] == 0)
    });
    apart.push(alice.publish(&group, "alice, who knows that she is alone"));
    apart.push(bob.publish(&group, "bob, who knows that he is alone"));
    lan.plug(1, true).unwrap();
    let wanted: Vec<&str> = apart.iter().map(String::as_str).collect();
    let plugged = std::time::Instant::now();
    for one in [&alice, &bob] {
        wait_until(HEALING, &format!("{} has what both wrote", one.name), || {
            let here = one.claims(&group);
            wanted.iter().all(|claim| here.iter().any(|here| here == claim))
        });
    }
    println!("whole again {:?} after the cable was plugged in", plugged.elapsed());
    agree(&[&alice, &bob], &group);
    assert_eq!(alice.claims(&group).len(), apart.len());
}

#[test]
fn a_cable_pulled_and_plugged_in_loses_nothing_over_tcp() {
    a_cable("a_cable_pulled_and_plugged_in_loses_nothing_over_tcp", TCP);
}

#[test]
fn a_cable_pulled_and_plugged_in_loses_nothing_over_quic() {
    a_cable("a_cable_pulled_and_plugged_in_loses_nothing_over_quic", QUIC);
}

#[test]
fn a_short_cut_is_healed_by_the_connection_itself_or_by_dialling() {
    let test = "a_short_cut_is_healed_by_the_connection_itself_or_by_dialling";
    let Some((lan, [alice, bob])) = machines(test, ["alice", "bob"], TCP) else { return };
    wait_for(&alice, &[&bob], A_FEW_SECONDS);
    let group = share(&[&alice, &bob]);
    lan.plug(0, false).unwrap();
    let (one, other) = (alice.publish(&group, "alice in the dark"), bob.publish(&group, "bob in the dark"));
    lan.plug(0, true).unwrap();
    for daemon in [&alice, &bob] {
        daemon.wait_for_claims(&group, &[&one, &other]);
    }
    agree(&[&alice, &bob], &group);
}

#[test]
fn a_stranger_who_knows_the_id_learns_nothing() {
    let test = "a_stranger_who_knows_the_id_learns_nothing";
    let Some((_lan, [alice, bob, eve])) = machines(test, ["alice", "bob", "eve"], TCP) else { return };
    wait_for(&eve, &[&alice, &bob], A_FEW_SECONDS);
    let group = share(&[&alice, &bob]);
    let secret = alice.publish(&group, "nobody's business but ours");
    bob.wait_for_claims(&group, &[&secret]);
    let unknown = "9".repeat(64);
    let mut said = Vec::new();
    for id in [&group, &unknown] {
        let answer = eve.ctl(&["group", "join", id, "--timeout", "3s"]);
        let sentence = answer.refused(1, &[]).replace(id.as_str(), "ID").replace(&id[..8], "ID");
        said.push(sentence);
        let document = answer.stdout.lines().last().map(str::to_owned).unwrap_or_default();
        said.push(document.replace(id.as_str(), "ID").replace(&id[..8], "ID"));
    }
    // A group that is there is refused in the same words as one that never was.
    assert_eq!(said[..2], said[2..], "{said:#?}");
    // More is written while she waits.
    let more = bob.publish(&group, "nor is this");
    alice.wait_for_claims(&group, &[&more]);
    let sync = eve.ctl(&["sync"]);
    let groups = eve.ctl(&["group", "list"]).done();
    let row = groups["groups"].as_array().unwrap().iter().find(|row| row["group_id"] == group.as_str()).unwrap();
    assert_eq!(
        (&row["name"], &row["members"], &row["claims"], &row["blocks"]),
        (&json!(null), &json!(0), &json!(0), &json!(0))
    );
    assert_eq!(row["joining"], true);
    for args in [
        ["group", "members", &group],
        ["group", "show", &group],
        ["group", "stats", &group],
        ["group", "verify", &group],
    ] {
        let answer = eve.ctl(&args);
        answer.refused(1, &[]);
        for word in ["domain:research", "nobody's business", alice.id.as_str(), bob.id.as_str()] {
            assert!(!format!("{answer:?}").contains(word), "{word}: {answer:#?}");
        }
    }
    // Whom she asks she knows; what they say of the two groups is the same.
    let said_of =
        |id: &str| sync.json()["groups"].as_array().unwrap().iter().find(|row| row["group_id"] == id).cloned();
    let (here, nowhere) = (said_of(&group).unwrap(), said_of(&unknown).unwrap());
    let text = here.to_string().replace(group.as_str(), "ID");
    assert_eq!(text, nowhere.to_string().replace(unknown.as_str(), "ID"));
    assert!(!text.contains("domain:research") && !text.contains("nobody's business"), "{text}");
    let bytes = std::fs::read(eve.data.join("lbm.redb")).unwrap();
    for word in ["domain:research", "nobody's business", "nor is this"] {
        let found = bytes.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!found, "`{word}` lies on the stranger's disk");
    }
    // Nobody was banned for asking: once she is let in, she has it.
    alice.add(&group, &eve.id, "viewer");
    wait_until(PATIENCE, "eve has the group", || eve.claims(&group).len() == 2);
}

#[test]
fn a_ticket_whose_addresses_do_not_answer_is_enough_and_without_one_nobody_comes_in() {
    let test = "a_ticket_whose_addresses_do_not_answer_is_enough_and_without_one_nobody_comes_in";
    let Some((_lan, [mut alice, mut bob, mut carol, mut eve])) =
        machines_off(test, ["alice", "bob", "carol", "eve"], TCP)
    else {
        return;
    };
    alice.restart();
    bob.restart();
    wait_for(&alice, &[&bob], A_FEW_SECONDS);
    let group = share(&[&alice, &bob]);
    let claim = alice.publish(&group, "nobody's business but ours");
    let ticket = alice.ctl(&["group", "invite", "--group", &group]).text("ticket");
    // Both are elsewhere from now on: what the ticket says of them is of yesterday.
    for one in [&mut alice, &mut bob] {
        one.kill();
        one.restart();
    }
    carol.restart();
    eve.restart();
    wait_for(&eve, &[&alice, &bob, &carol], A_FEW_SECONDS);
    let without = eve.ctl(&["group", "join", &group, "--timeout", "3s"]);
    without.refused(1, &[]);
    let began = std::time::Instant::now();
    assert_eq!(carol.ctl(&["group", "join", &ticket, "--timeout", "10s"]).done()["joined"], true);
    println!("joined after {:?}", began.elapsed());
    assert_eq!(carol.claims(&group), [claim]);
    agree(&[&alice, &carol], &group);
    // The ticket is used up, and who was refused without one has learned nothing meanwhile.
    eve.ctl(&["group", "join", &ticket, "--timeout", "10s"]).refused(1, &["used up"]);
    eve.ctl(&["group", "members", &group]).refused(1, &[]);
    eve.stop();
    let bytes = std::fs::read(eve.data.join("lbm.redb")).unwrap();
    let text = "nobody's business";
    assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "a claim lies on the stranger's disk");
}

/// Answers to nobody's question, each of which makes up eight peers.
fn make_up_peers(from: &str, packets: usize) {
    let socket = UdpSocket::bind((from, 0)).unwrap();
    let name = |labels: &[&str]| {
        let mut bytes = Vec::new();
        for label in labels {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
        bytes
    };
    let service = name(&["_p2p", "_udp", "local"]);
    for number in 0..packets {
        let (mut answers, mut additional) = (Vec::new(), Vec::new());
        for which in 0..8 {
            let one = name(&[&format!("made-up-{number}-{which}"), "_p2p", "_udp", "local"]);
            let address = format!("dnsaddr=/ip4/10.77.0.{which}/tcp/1/p2p/{}", PeerId::random());
            let record = |of: &[u8], kind: u8, data: &[u8], to: &mut Vec<u8>| {
                to.extend(of);
                to.extend([0, kind, 0, 1, 0, 0, 4, 0]);
                to.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
                to.extend(data);
            };
            record(&service, 12, &one, &mut answers);
            let text = [&[u8::try_from(address.len()).unwrap()], address.as_bytes()].concat();
            record(&one, 16, &text, &mut additional);
        }
        let header = [0, 0, 0x84, 0, 0, 0, 0, 8, 0, 0, 0, 8];
        socket.send_to(&[&header[..], &answers, &additional].concat(), "224.0.0.251:5353").unwrap();
        // As fast as they are read; what is faster is lost in the system.
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn a_neighbour_that_makes_up_peers_without_end_is_forgotten_and_others_are_found() {
    let test = "a_neighbour_that_makes_up_peers_without_end_is_forgotten_and_others_are_found";
    let Some((lan, [mut alice, mut bob, _eve])) = machines_off(test, ["alice", "bob", "eve"], TCP) else { return };
    alice.restart();
    let before = alice.resident_bytes();
    let eves = std::fs::File::open(format!("/run/netns/{}", lan.name(2))).unwrap();
    let from = lan.address(2);
    let flood = std::thread::spawn(move || {
        move_into_link_name_space(eves.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        make_up_peers(&from, 3_000);
    });
    // Past the bound of records, and of the address book.
    wait_until(PATIENCE, "alice begins anew", || alice.said().contains("makes up peers"));
    bob.restart();
    let took = wait_for(&alice, &[&bob], A_FEW_SECONDS);
    flood.join().unwrap();
    let more = alice.resident_bytes().saturating_sub(before) >> 20;
    println!("found after {took:?} amid 24,000 peers that are none; {more} MiB more");
    let known = alice.ctl(&["peer", "list"]).done()["peers"].as_array().unwrap().len();
    assert!(known <= BOOK_PEERS, "{known}");
    assert!(more < 50, "{more} MiB more");
    // What it has begun anew still answers: who comes later is told by multicast where alice is.
    bob.kill();
    std::fs::remove_file(bob.data.join("lbm.redb")).unwrap();
    bob.restart();
    wait_for(&bob, &[&alice], A_FEW_SECONDS);
}

/// Bytes that have gone through a machine's interface, in both directions.
fn traffic(lan: &Lan, machine: usize) -> u64 {
    let counter = |name: &str| {
        let path = format!("/sys/class/net/eth0/statistics/{name}_bytes");
        let output = lan.run(machine, "cat", &[&path]).unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().unwrap()
    };
    counter("rx") + counter("tx")
}

/// Processor time that a daemon has taken, in ticks of 10 ms.
fn ticks(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    let behind_name = stat.rsplit(") ").next().unwrap();
    // utime and stime are fields 14 and 15; the name is the second.
    behind_name.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

/// What the first of six members of five groups sends, receives and computes while nobody does anything.
fn idle(test: &str, listen: &str, measured: Duration, most_megabytes: f64) {
    let names = ["alice", "bob", "carol", "dora", "erin", "frank"];
    let Some((lan, daemons)) = machines(test, names, listen) else { return };
    let (alice, others) = daemons.split_first().unwrap();
    wait_for(alice, &others.iter().collect::<Vec<_>>(), PATIENCE);
    for n in 0..5 {
        let group = alice.found(&format!("group{n}"));
        for other in others {
            alice.add(&group, &other.id, "member");
            other.ctl(&["group", "join", &group]).ok();
        }
        let claim = alice.publish(&group, "all that there is");
        for other in others {
            other.wait_for_claims(&group, &[&claim]);
        }
    }
    // Until what joining sets off has come to rest.
    std::thread::sleep(Duration::from_secs(20));
    let (bytes, time) = (traffic(&lan, 0), ticks(alice));
    std::thread::sleep(measured);
    let (bytes, time) = (traffic(&lan, 0) - bytes, ticks(alice) - time);
    let megabytes_a_day = bytes as f64 * 86_400.0 / measured.as_secs_f64() / 1e6;
    let percent = time as f64 / measured.as_secs_f64();
    println!("idle: {megabytes_a_day:.1} MB a day, {percent:.2} % of a core, {} MiB", alice.resident_bytes() >> 20);
    assert!(megabytes_a_day <= most_megabytes, "{megabytes_a_day:.1} MB a day");
    assert!(percent <= 0.5 || cfg!(debug_assertions), "{percent:.2} % of a core");
    assert_eq!(alice.ctl(&["status"]).done()["peers"], 5, "an idle node loses its peers");
}

/// One ping of each connection: what comes each minute. A minute is short, so the bound is wide.
#[test]
fn an_idle_node_costs_next_to_nothing_over_tcp() {
    idle("an_idle_node_costs_next_to_nothing_over_tcp", TCP, A_MINUTE, 20.0);
}

#[test]
fn an_idle_node_costs_little_over_quic() {
    idle("an_idle_node_costs_little_over_quic", QUIC, A_MINUTE, 35.0);
}

/// Long enough for repair pulls as well.
#[test]
#[ignore = "takes seventeen minutes: what an idle node costs in all"]
fn an_idle_node_with_five_peers_and_five_groups_costs_nothing_over_tcp() {
    let test = "an_idle_node_with_five_peers_and_five_groups_costs_nothing_over_tcp";
    idle(test, TCP, 16 * A_MINUTE, 20.0);
}

#[test]
#[ignore = "takes seventeen minutes: what an idle node costs in all"]
fn an_idle_node_with_five_peers_and_five_groups_costs_nothing_over_quic() {
    let test = "an_idle_node_with_five_peers_and_five_groups_costs_nothing_over_quic";
    idle(test, QUIC, 16 * A_MINUTE, 35.0);
}
