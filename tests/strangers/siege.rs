//! A machine of the same network that does its worst, while an honest one goes on working.
//!
//! Daemon, honest peer and attacker have a network namespace each. The last two are this program again, started there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::ops::Range;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lbm::announcement::{Announcement, Says};
use lbm::chain::{GroupId, OfferId};
use lbm::identity::SecretKey;
use lbm::limits;
use lbm::net::{AddressBook, NetConfig, NetEvent, Network};
use lbm::wire::{Probe, Request};
use libp2p::Multiaddr;
use libp2p::identity::Keypair;
use serde_bytes::ByteBuf;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::common::netns::{machines, wait_for};
use crate::common::{Daemon, LBM, wait_until};
use crate::peer::{DAY_MS, Peer, now_ms};
use crate::vandal::{HOLD, Vandal, frame};

/// Where the daemon is, for the program that is started again.
const TARGET: &str = "LBM_SIEGE_TARGET";
/// Which group.
const GROUP: &str = "LBM_SIEGE_GROUP";
/// What its worst is.
const WORST: &str = "LBM_SIEGE_WORST";
/// How long each part is measured at least, and at most where a busy machine has not made enough pulls by then.
const MEASURED: Range<Duration> = Duration::from_secs(8)..Duration::from_secs(40);
/// Pulls that say something.
const PULLS: usize = 20;
/// How much more memory the daemon may take under attack.
const GROWTH: u64 = 50 << 20;
/// How many times as long the slowest of twenty pulls may take as from a daemon that nobody attacks at the same time, which feels what the
/// attackers take of this machine's processors as well. Twice the *quiet* figure is the goal, and what release builds do; the figures are printed.
const SLOWER: u32 = 5;

/// This program again, on another machine, as one of the parts below.
struct Part {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

impl Part {
    fn start(part: &str, worst: &str, at: &Daemon, (target, group): (&str, &str)) -> Self {
        // Its own machine would not take the daemon's processors.
        let mut command = at.elsewhere("nice");
        command.args(["-n", if worst.is_empty() { "0" } else { "19" }]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", &format!("siege::{part}"), "--ignored", "--nocapture"]);
        command.env(TARGET, target).env(GROUP, group).env(WORST, worst).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, lines) = (Arc::new(Mutex::new(vec![])), BufReader::new(child.stdout.take().unwrap()).lines());
        let kept = Arc::clone(&said);
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| kept.lock().unwrap().push(line)));
        Self { child, said }
    }

    /// How long the honest part's pulls take from now on, in 95 of 100 cases. Meanwhile `look` is called now and then.
    fn p95(&self, mut look: impl FnMut()) -> Duration {
        self.said.lock().unwrap().clear();
        let began = Instant::now();
        let is_enough = || began.elapsed() >= MEASURED.start && self.said.lock().unwrap().len() >= PULLS;
        while !is_enough() && began.elapsed() < MEASURED.end {
            std::thread::sleep(Duration::from_millis(100));
            look();
        }
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        let mut micros: Vec<u64> = said.iter().filter_map(|line| line.strip_prefix("us ")?.parse().ok()).collect();
        assert!(micros.len() >= PULLS, "{} pulls are too few to say anything", micros.len());
        micros.sort_unstable();
        Duration::from_micros(micros[micros.len() * 95 / 100])
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn an_attacker_on_the_network_slows_nobody_down_and_fills_nothing() {
    let test = "an_attacker_on_the_network_slows_nobody_down_and_fills_nothing";
    let listen = "/ip4/0.0.0.0/tcp/7337";
    let names = ["alice", "bob", "eve", "mallory", "trudy"];
    let Some((lan, [alice, bob, mut eve, mut mallory, mut trudy])) = machines(test, names, listen) else { return };
    let all = [&bob.id, &eve.id, &mallory.id, &trudy.id].map(Clone::clone);
    wait_for(&alice, &[&bob, &eve, &mallory, &trudy], Duration::from_secs(8));
    let group = alice.found("target");
    let bulk: String = (0..1_000).map(|n| format!("{{\"text\":\"claim {n}\"}}\n")).collect();
    alice.ctl_with(&["claim", "publish", "--group", &group, "--file", "-"], bulk.as_bytes()).ok();
    let honest_key = SecretKey::from_seed(&[1; 32]).identity();
    alice.add(&group, &honest_key.to_string(), "viewer");
    // Bob has the same, and nobody attacks him: what the attackers take of this machine's processors he feels as well.
    alice.add(&group, &bob.id, "member");
    bob.ctl(&["group", "join", &group]).ok();
    wait_until(Duration::from_secs(30), "bob has all", || {
        bob.ctl(&["group", "stats", &group]).json()["claims"] == 1_000
    });
    // The machines are needed, their daemons are not.
    [&mut eve, &mut mallory, &mut trudy].into_iter().for_each(Daemon::kill);
    let target = format!("/ip4/{}/tcp/7337/p2p/{}", lan.address(0), alice.id);
    let honest = Part::start("honest", "", &bob, (&target, &group));
    wait_until(Duration::from_secs(20), "the honest peer is served", || honest.said.lock().unwrap().len() > 40);
    let (quiet, memory) = (honest.p95(|| ()), alice.resident_bytes());
    let worst = [("half_open", &eve), ("rude", &mallory), ("replaying", &trudy)];
    let attackers = worst.map(|(worst, at)| Part::start("attacker", worst, at, (&target, &group)));
    let has_begun = |part: &Part| part.said.lock().unwrap().iter().any(|line| line.ends_with("begun"));
    let is_begun = || attackers.iter().all(has_begun);
    wait_until(Duration::from_secs(20), "the attack begins", is_begun);
    let mut most = 0;
    let beside = format!("/ip4/{}/tcp/7337/p2p/{}", lan.address(1), bob.id);
    let control = Part::start("honest", "", &alice, (&beside, &group));
    wait_until(Duration::from_secs(20), "bob serves too", || control.said.lock().unwrap().len() > 10);
    let (attacked, spared) = std::thread::scope(|scope| {
        let spared = scope.spawn(|| control.p95(|| ()));
        (honest.p95(|| most = most.max(alice.resident_bytes())), spared.join().unwrap())
    });
    let last = |part: &Part| part.said.lock().unwrap().last().cloned().unwrap_or_default();
    let done = attackers.iter().map(last).collect::<Vec<_>>().join("\n");
    println!("beside it {spared:?}");
    println!(
        "a pull takes {quiet:?} (p95), under attack {attacked:?}; {} MiB more at most",
        most.saturating_sub(memory) >> 20
    );
    println!("{done}");
    assert!(
        attacked < spared.max(quiet) * SLOWER,
        "{quiet:?} became {attacked:?}, and {spared:?} where nobody attacks"
    );
    assert!(most < memory + GROWTH, "{} MiB became {} MiB", memory >> 20, most >> 20);
    // The attacker did get through to it, and was sent away.
    let bans = alice.ctl(&["peer", "bans"]).done();
    assert!(bans["bans"].as_array().unwrap().iter().any(|ban| ban["in_force"] == true), "{bans}\n{done}");
    assert!(!bans.to_string().contains(&honest_key.to_string()), "{bans}");
    // Whoever was really connected is still known, whatever addresses were made up.
    let peers = alice.ctl(&["peer", "list"]).done();
    let is_known = |id: &str| peers["peers"].as_array().unwrap().iter().any(|peer| peer["peer_id"] == id);
    let known = peers["peers"].as_array().unwrap().len();
    println!("{known} peers are known");
    assert!(all.iter().all(|id| is_known(id)), "who was connected is forgotten among {known} peers");
    alice.publish(&group, "work goes on");
    assert_eq!(alice.elsewhere(LBM).arg("--version").status().unwrap().code(), Some(0));
}

fn told() -> Option<(Multiaddr, GroupId)> {
    let (target, group) = (std::env::var(TARGET).ok()?, std::env::var(GROUP).ok()?);
    Some((target.parse().unwrap(), group.parse().unwrap()))
}

#[tokio::test]
#[ignore = "a part of the siege, which starts it on another machine"]
async fn honest() {
    let Some((target, group)) = told() else { return };
    let mut peer = Peer::at(1, &target).await;
    loop {
        let asked = Instant::now();
        match peer.look(group).await {
            Ok(()) => println!("us {}", asked.elapsed().as_micros()),
            Err(_) => {
                peer.again(asked).await;
                println!("us {}", asked.elapsed().as_micros());
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the siege, which starts it on another machine"]
async fn attacker() {
    let Some((target, group)) = told() else { return };
    let counts: Arc<Mutex<BTreeMap<&str, u64>>> = Arc::default();
    let socket = socket_of(&target);
    match std::env::var(WORST).unwrap_or_default().as_str() {
        "half_open" => (0..1_000).for_each(|n| drop(tokio::spawn(half_open(socket, n)))),
        "rude" => (0..5).for_each(|n| drop(tokio::spawn(rude(target.clone(), group, n, Arc::clone(&counts))))),
        "replaying" => {
            tokio::spawn(replaying(target.clone(), group, Arc::clone(&counts)));
            std::thread::spawn(move || forged_mdns(socket));
        }
        other => panic!("{other}"),
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("begun");
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        println!("the attacker did: {:?}", counts.lock().unwrap());
    }
}

fn socket_of(address: &Multiaddr) -> SocketAddr {
    use libp2p::multiaddr::Protocol::{Ip4, Tcp};
    let mut parts = address.iter();
    match (parts.next(), parts.next()) {
        (Some(Ip4(ip)), Some(Tcp(port))) => (ip, port).into(),
        _ => panic!("{address}"),
    }
}

/// A connection that says nothing, or a byte of the handshake now and then; opened again when it is closed.
async fn half_open(to: SocketAddr, number: u64) {
    loop {
        if let Ok(mut stream) = TcpStream::connect(to).await {
            let hello = b"\x13/multistream/1.0.0\n\x07/noise\n";
            for byte in hello.iter().cycle().take(if number.is_multiple_of(2) { 0 } else { 1_000 }) {
                if stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            if number.is_multiple_of(2) {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(200 + number % 100)).await;
    }
}

/// One new identity after the other, each until it is sent away: floods, frames that are none, frames that never end, and what identify may lie about.
async fn rude(target: Multiaddr, group: GroupId, number: u8, counts: Arc<Mutex<BTreeMap<&'static str, u64>>>) {
    let count = |what| *counts.lock().unwrap().entry(what).or_default() += 1;
    let probe = frame(&Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) }).encode());
    let announced = u32::try_from(limits::REQUEST_BYTES).unwrap().to_be_bytes();
    let never_ends = [&announced[..], &[0], &[0x81; 20_000], HOLD].concat();
    let oversized = [&u32::MAX.to_be_bytes()[..], &[0; 100]].concat();
    for round in 0.. {
        // Its identify shows somebody else's key, and addresses where nobody is.
        let shown = Keypair::generate_ed25519().public();
        let Some(mut vandal) = Vandal::at(Keypair::generate_ed25519(), &target, Some(shown)).await else {
            count("turned away");
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        count("identities");
        for n in 0..100_u8 {
            vandal.claims_to_be_at(format!("/ip4/10.77.{number}.{n}/tcp/1").parse().unwrap());
        }
        // Now and then without a flood before, behind which the rest would wait and be dropped.
        let floods = round % 3 != 0;
        for _ in 0..if floods { 20 } else { 0 } {
            for _ in 0..50 {
                vandal.send(probe.clone());
                count("requests");
            }
            for _ in 0..10 {
                vandal.send(never_ends.clone());
            }
            vandal.go_on(Duration::from_millis(20), None).await;
        }
        if round % 2 == 0 {
            vandal.send(oversized.clone());
        } else {
            (0..4).for_each(|_| vandal.send(vec![0xff; 64]));
        }
        vandal.go_on(Duration::from_millis(if floods { 100 } else { 1_000 }), Some(&[0xff; 64])).await;
    }
}

/// Announcements that are over, forged ones, and new ones that say that sellers are where nobody is.
async fn replaying(target: Multiaddr, group: GroupId, counts: Arc<Mutex<BTreeMap<&'static str, u64>>>) {
    for seed in 200..=255_u8 {
        let key = SecretKey::from_seed(&[seed; 32]);
        let config = NetConfig { mdns: false, ..NetConfig::new(key.clone()) };
        let mut network = Network::new(&config, AddressBook::new(key.identity(), 1)).unwrap();
        network.add_peer(&target, None, true).unwrap();
        let mut pause = tokio::time::interval(Duration::from_millis(5));
        let began = Instant::now();
        for n in 0_u64.. {
            tokio::select! {
                event = network.next() => if let NetEvent::Disconnected { .. } = event { break },
                _ = pause.tick() => {
                    let mut offer = [seed; 32];
                    offer[..8].copy_from_slice(&n.to_be_bytes());
                    let time_ms = if n % 3 == 0 { now_ms() - 2 * DAY_MS } else { now_ms() };
                    let addresses = vec![format!("/ip4/10.77.250.{}/tcp/{}", n % 250, n % 60_000 + 1)];
                    let said = Announcement {
                        group, offer: OfferId::from_bytes(offer), seller: key.identity(), time_ms, addresses, says: Says::Withdrawn,
                    };
                    if let Ok(record) = said.sign(&key) {
                        network.publish(record.to_unverified().encode());
                        *counts.lock().unwrap().entry("announcements").or_default() += 1;
                    }
                }
            }
            if began.elapsed() > Duration::from_secs(5) {
                break;
            }
        }
    }
}

/// Answers of multicast DNS, each of a peer that never was at an address where nobody is.
fn forged_mdns(target: SocketAddr) {
    // There is no route for multicast: the interface follows from the address.
    let here = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.connect(target).and(socket.local_addr())).unwrap();
    let socket = UdpSocket::bind((here.ip(), 0)).unwrap();
    let SocketAddr::V4(target) = target else { return };
    let [a, b, c, _] = target.ip().octets();
    for n in 0_u64.. {
        let peer = Keypair::generate_ed25519().public().to_peer_id();
        let text = format!("dnsaddr=/ip4/{a}.{b}.{c}.{}/tcp/{}/p2p/{peer}", 100 + n % 100, n % 60_000 + 1);
        let name = format!("forged{n}");
        socket.send_to(&dns_answer(&name, &text), "224.0.0.251:5353").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// RFC 1035 §4.1: a response with a PTR record of `_p2p._udp.local`, and a TXT record of what it points to.
fn dns_answer(name: &str, text: &str) -> Vec<u8> {
    let labels = |names: &[&str]| {
        let mut bytes: Vec<u8> = names.iter().flat_map(|n| [&[n.len() as u8], n.as_bytes()].concat()).collect();
        bytes.push(0);
        bytes
    };
    let (service, instance) = (labels(&["_p2p", "_udp", "local"]), labels(&[name, "_p2p", "_udp", "local"]));
    let record = |owner: &[u8], kind: u8, data: &[u8]| {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        [owner, &[0, kind, 0, 1, 0, 0, 0x0e, 0x10], &length, data].concat()
    };
    let txt = [&[text.len() as u8][..], text.as_bytes()].concat();
    [&[0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &record(&service, 12, &instance), &record(&instance, 16, &txt)]
        .concat()
}
