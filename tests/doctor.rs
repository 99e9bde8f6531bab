//! The doctor, with a daemon and without: what it finds on machines that something is wrong with.
//!
//! What needs a network or a disk of its own needs root, iproute2 and unshare; where there are none a test says so loudly.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::fs::{self, File, Permissions};
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use common::netns::{Lan, machines};
use common::{Answer, Daemon, LBM, PATIENCE, clean, skipped, wait_until};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

const TCP: &str = "/ip4/0.0.0.0/tcp/0";

/// The findings of a code.
fn of<'a>(diagnosis: &'a Value, code: &str) -> Vec<&'a Value> {
    diagnosis["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == code).collect()
}

/// The one finding of a code, that must be so bad, and say these words.
#[track_caller]
fn finding(answer: &Answer, code: &str, severity: &str, words: &[&str]) {
    let diagnosis = answer.json();
    let found = of(&diagnosis, code);
    assert!(!found.is_empty(), "no `{code}` in {diagnosis:#}");
    let text = found[0].to_string();
    assert_eq!(found[0]["severity"], severity, "{text}");
    words.iter().for_each(|word| assert!(text.contains(word), "no `{word}` in {text}"));
    // Whatever is not well says what to do.
    for found in diagnosis["findings"].as_array().unwrap().iter().filter(|found| found["severity"] != "ok") {
        assert!(found["remedy"].as_str().is_some_and(|remedy| remedy.len() > 10), "{found}");
    }
    let is_problem = diagnosis["findings"].as_array().unwrap().iter().any(|finding| finding["severity"] == "problem");
    assert_eq!((diagnosis["ok"] == false, answer.code), (is_problem, Some(i32::from(is_problem))), "{diagnosis:#}");
}

#[test]
fn it_answers_with_a_daemon_and_without() {
    let mut daemon = Daemon::prepared("alice");
    // What this machine's multicast is like shows in a network of its own.
    fs::write(daemon.data.join("config.toml"), "mdns = false\nlisten = [\"/ip4/127.0.0.1/tcp/0\"]\n").unwrap();
    let down = daemon.lbm(&["doctor", "--json"]);
    assert_eq!(down.json()["daemon"], false);
    finding(&down, "no_daemon", "warning", &["lbm-node"]);
    finding(&down, "key", "ok", &[&daemon.id]);
    finding(&down, "port", "ok", &["127.0.0.1"]);
    daemon.restart();
    let group = daemon.found("research");
    for args in [&["doctor", "--json"][..], &["ctl", "doctor", "--json"]] {
        let up = daemon.lbm(args);
        assert_eq!(up.json()["daemon"], true);
        finding(&up, "no_peers", "warning", &["peer add"]);
        finding(&up, "listening", "ok", &["127.0.0.1"]);
        finding(&up, "synced", "ok", &["research", "nobody else"]);
        finding(&up, "panel", "ok", &["off"]);
    }
    assert!(!group.is_empty());
    let text = daemon.lbm(&["ctl", "doctor"]).stdout;
    assert!(text.contains("WARNING  no_peers: ") && text.contains(" → "), "{text}");
    fs::set_permissions(&daemon.data, Permissions::from_mode(0o750)).unwrap();
    finding(&daemon.ctl(&["doctor"]), "data_folder", "problem", &["0750", "chmod 700"]);
}

#[test]
fn the_panel_is_looked_at_before_the_start_and_while_it_is_served() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let mut daemon = Daemon::prepared("alice");
    fs::write(daemon.data.join("config.toml"), format!("mdns = false\nadmin = \"{at}\"\n")).unwrap();
    finding(&daemon.lbm(&["doctor", "--json"]), "port_in_use", "problem", &[&at, "--admin"]);
    drop(taken);
    let listen = ["--listen", "/ip4/127.0.0.1/tcp/0", "--admin"];
    daemon.args(&[&listen[..], &[&at]].concat());
    daemon.restart();
    finding(&daemon.ctl(&["doctor"]), "panel", "ok", &[&at, "this machine alone"]);
    daemon.stop();
    daemon.args(&[&listen[..], &["0.0.0.0:0", "--admin-insecure"]].concat());
    daemon.restart();
    finding(&daemon.ctl(&["doctor"]), "panel", "warning", &["0.0.0.0", "unencrypted", "ssh"]);
}

#[test]
fn a_wrong_port_a_full_address_and_a_group_that_is_yet_to_come_are_told_apart() {
    let with = |name: &str, settings: &str| {
        let mut daemon = Daemon::prepared(name);
        fs::write(daemon.data.join("config.toml"), format!("mdns = false\n{settings}")).unwrap();
        daemon.restart();
        daemon
    };
    let (mut alice, bob) = (with("alice", "p2p_max_conn_per_ip = 2"), with("bob", ""));
    let group = alice.found("research");
    let nobody = common::free_port();
    let wrong = alice.address().replace(alice.address().split('/').nth(4).unwrap(), &nobody.to_string());
    bob.ctl(&["peer", "add", "--addr", &wrong, "--alias", "alice"]).ok();
    let told = |daemon: &Daemon, code: &str| !of(&daemon.ctl(&["doctor"]).json(), code).is_empty();
    wait_until(PATIENCE, "bob has called", || told(&bob, "peer_away"));
    finding(&bob.ctl(&["doctor"]), "peer_away", "warning", &["alice", "refused", "lbm ctl status"]);
    // What is yet to come is no fault, and nobody is blamed for what there was no time for.
    bob.ctl(&["group", "join", &group, "--no-wait"]).ok();
    finding(&bob.ctl(&["doctor"]), "joining", "ok", &[&group]);
    assert!(!told(&bob, "not_synced"));
    alice.add(&group, &bob.id, "member");
    assert!(!told(&alice, "not_synced"));
    // Others fill bob's address with handshakes that never end: alice says what is the matter, and how it is mended, and bob gets in all the same.
    let socket = {
        let address = alice.address();
        let mut parts = address.split('/').skip(2);
        format!("{}:{}", parts.next().unwrap(), parts.nth(1).unwrap())
    };
    let _silent: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(&socket).unwrap()).collect();
    bob.ctl(&["peer", "remove", "alice"]).ok();
    bob.ctl(&["peer", "add", "--addr", &alice.address(), "--alias", "alice"]).ok();
    wait_until(PATIENCE, "alice has refused one", || told(&alice, "refused_here"));
    let setting = ["127.0.0.1", "p2p_max_conn_per_ip", "LB_P2P_MAX_CONN_PER_IP"];
    finding(&alice.ctl(&["doctor"]), "refused_here", "warning", &setting);
    wait_until(PATIENCE, "bob comes in", || bob.ctl(&["group", "stats", &group]).code == Some(0));
    // Who is turned away before the handshake says what it may be.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", full.local_addr().unwrap().port(), alice.id);
    std::thread::spawn(move || full.incoming().for_each(drop));
    bob.ctl(&["peer", "remove", "alice"]).ok();
    alice.kill();
    bob.ctl(&["peer", "add", "--addr", &at, "--alias", "alice"]).ok();
    let listed = || bob.ctl(&["peer", "list"]).done();
    wait_until(PATIENCE, "bob has been turned away", || {
        listed()["peers"][0]["trouble"].as_str().is_some_and(|trouble| trouble.contains("p2p_max_conn_per_ip"))
    });
    finding(&bob.ctl(&["doctor"]), "peer_away", "warning", &["hung up", "p2p_max_conn_per_ip"]);
}

#[test]
fn settings_that_cannot_be_read_are_a_finding() {
    let daemon = Daemon::prepared("alice");
    fs::write(daemon.data.join("config.toml"), "lisen = []\n").unwrap();
    finding(&daemon.lbm(&["doctor", "--json"]), "settings", "problem", &["lisen", "lbm config"]);
}

#[test]
fn a_disk_that_is_full_or_read_only_is_a_problem() {
    let test = "a_disk_that_is_full_or_read_only_is_a_problem";
    let home = tempfile::tempdir().unwrap();
    let on_a_disk_of_its_own = |then: &str| {
        let script = format!(
            "set -e; mount -t tmpfs -o size=2m,mode=700 none {home}; {LBM} init --data {home}/n >&2; echo 'mdns = false' > {home}/n/config.toml; \
             echo mounted; {then}; {LBM} doctor --data {home}/n --json",
            home = home.path().display()
        );
        let mut command = clean(Command::new("unshare"));
        let output = command.args(["-m", "sh", "-c", &script]).output().ok()?;
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_prefix("mounted\n").map(|json| serde_json::from_str::<Value>(json).unwrap())
    };
    let Some(full) =
        on_a_disk_of_its_own(&format!("cat /dev/zero > {}/fill 2>/dev/null || true", home.path().display()))
    else {
        return skipped(test, "unshare cannot give a disk of its own");
    };
    assert_eq!(of(&full, "disk_full")[0]["severity"], "problem", "{full:#}");
    assert_eq!(of(&full, "data_folder")[0]["remedy"], "free some space there", "{full:#}");
    let read_only = on_a_disk_of_its_own(&format!("mount -o remount,ro {}", home.path().display())).unwrap();
    let folder = of(&read_only, "data_folder")[0];
    assert!(folder["detail"].as_str().unwrap().contains("Read-only file system"), "{folder}");
    assert_eq!(folder["severity"], "problem");
}

#[test]
fn multicast_is_tried_on_the_network_as_it_is() {
    let test = "multicast_is_tried_on_the_network_as_it_is";
    let lan = match Lan::new(1) {
        Ok(lan) => lan,
        Err(why) => return skipped(test, &why),
    };
    let mut alice = Daemon::prepared("alice");
    alice.wrapper(&["ip", "netns", "exec", &lan.name(0)]);
    let doctor = || alice.lbm(&["doctor", "--json"]);
    finding(&doctor(), "multicast", "ok", &["eth0", &lan.address(0)]);
    finding(&doctor(), "interfaces", "ok", &["eth0", &lan.address(0)]);

    let name = lan.name(0);
    let (bound, is_bound) = std::sync::mpsc::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let holder = std::thread::spawn(move || {
        let space = File::open(format!("/var/run/netns/{name}")).unwrap();
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        let held = UdpSocket::bind("0.0.0.0:5353").unwrap();
        bound.send(()).unwrap();
        let _told = stopped.recv();
        drop(held);
    });
    is_bound.recv_timeout(PATIENCE).unwrap();
    let me = format!("process {}", std::process::id());
    finding(&doctor(), "mdns_port_held", "problem", &["5353", &me, "--no-mdns"]);
    stop.send(()).unwrap();
    holder.join().unwrap();
    assert!(of(&doctor().json(), "mdns_port_held").is_empty());

    let ip = |args: &[&str]| assert!(lan.run(0, "ip", args).unwrap().status.success(), "{args:?}");
    ip(&["link", "set", "eth0", "down"]);
    finding(&doctor(), "multicast_refused", "warning", &["eth0"]);
    ip(&["addr", "flush", "dev", "eth0"]);
    finding(&doctor(), "no_network", "warning", &["ip addr"]);
}

#[test]
fn peers_that_are_away_and_a_key_that_is_on_two_machines_are_found() {
    let test = "peers_that_are_away_and_a_key_that_is_on_two_machines_are_found";
    let Some((lan, [alice, mut bob, mut copy])) = machines(test, ["alice", "bob", "copy"], TCP) else { return };
    let group = alice.found("research");
    alice.add(&group, &bob.id, "member");
    wait_until(PATIENCE, "alice sees bob", || alice.ctl(&["peer", "list"]).stdout.contains(&bob.id));
    bob.ctl(&["group", "join", &group]).ok();
    let claim = alice.publish(&group, "seen");
    bob.wait_for_claims(&group, &[&claim]);
    finding(&bob.ctl(&["doctor"]), "synced", "ok", &["research", &alice.id]);
    finding(&bob.ctl(&["doctor"]), "peers", "ok", &["connected to"]);
    wait_until(PATIENCE, "alice answers", || bob.ctl(&["doctor"]).stdout.contains("another machine was heard"));

    // The third machine gets alice's key, and alice is sent there for somebody else.
    copy.stop();
    for file in ["node.key", "name"] {
        fs::copy(alice.data.join(file), copy.data.join(file)).unwrap();
    }
    let _fresh = fs::remove_file(copy.data.join("lbm.redb"));
    copy.restart();
    let port = copy.address().split('/').nth(4).unwrap().to_owned();
    bob.stop();
    let there = format!("/ip4/{}/tcp/{port}/p2p/{}", lan.address(2), bob.id);
    alice.ctl(&["peer", "add", "--addr", &there]).ok();
    let has = |code: &str| !of(&alice.ctl(&["doctor"]).json(), code).is_empty();
    wait_until(PATIENCE, "the key is seen elsewhere", || has("own_key_elsewhere"));
    finding(&alice.ctl(&["doctor"]), "own_key_elsewhere", "problem", &[&lan.address(2), "stop one of the two"]);
    // Two are: the third machine under its first key is the other.
    wait_until(PATIENCE, "bob is away", || {
        let diagnosis = alice.ctl(&["doctor"]).json();
        of(&diagnosis, "peer_away").iter().any(|away| {
            away["detail"].as_str().unwrap().starts_with(&bob.id)
                && away["severity"] == "warning"
                && away["remedy"].is_string()
        })
    });
}
