//! Watching claims on real daemons: **who goes on behind its cursor misses nothing and sees nothing twice**, whatever is synced late,
//! restarted or killed meanwhile; and a cursor that means nothing any more is refused in clear words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{Daemon, LBM, PATIENCE, agree, clean, free_port, pair, wait_until};
use lbm::api::client::Client;
use lbm::api::types::{WatchClaims, WatchKind};
use serde_json::Value;

fn watch(daemon: &Daemon, group: &str, more: &[&str]) -> Value {
    daemon.ctl(&[&["claim", "watch", "--group", group], more].concat()).done()
}

/// The hashes of a page's claims, and its cursor.
fn page(answer: &Value) -> (Vec<String>, String) {
    let claims = answer["claims"].as_array().unwrap().iter();
    let hashes = claims.map(|claim| claim["claim_hash"].as_str().unwrap().to_owned()).collect();
    (hashes, answer["next_cursor"].as_str().unwrap().to_owned())
}

/// Pages along a daemon's claims, in small steps, whether the daemon lives or not, until it is told that no more will come; gives
/// what it has read.
fn page_along(data: &Path, group: &str, no_more: &AtomicBool) -> Vec<(WatchKind, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::new(data);
    let (mut read, mut cursor) = (Vec::new(), None);
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < 8 * PATIENCE, "it goes on for ever");
        let is_last = no_more.load(Ordering::SeqCst);
        let limit = Some(1 + read.len() % 7);
        let query = WatchClaims { cursor: cursor.clone(), limit, wait_ms: Some(50), ..WatchClaims::default() };
        match runtime.block_on(client.watch_claims(group, &query)) {
            Ok(page) => {
                if is_last && page.claims.is_empty() {
                    return read;
                }
                read.extend(page.claims.into_iter().map(|watched| (watched.kind, watched.claim.claim_hash)));
                cursor = Some(page.next_cursor);
            }
            // It is being killed or started.
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

#[test]
fn who_pages_along_misses_nothing_and_sees_nothing_twice() {
    let (mut alice, mut bob) = (Daemon::prepared("alice"), Daemon::prepared("bob"));
    for daemon in [&mut alice, &mut bob] {
        daemon.args(&["--listen", &format!("/ip4/127.0.0.1/tcp/{}", free_port()), "--no-mdns", "--log-level", "warn"]);
        daemon.restart();
    }
    let group = alice.found("watched");
    alice.add(&group, &bob.id, "member");
    bob.meet(&alice);
    alice.meet(&bob);
    bob.ctl(&["group", "join", &group]).ok();

    let no_more = Arc::new(AtomicBool::new(false));
    let watchers: Vec<_> = [&alice, &bob]
        .map(|daemon| {
            let (data, group, no_more) = (daemon.data.clone(), group.clone(), Arc::clone(&no_more));
            std::thread::spawn(move || page_along(&data, &group, &no_more))
        })
        .into();
    let mut published = BTreeSet::new();
    for round in 0..5 {
        let lines = |of: &str| -> String {
            (0..150).map(|n| format!("{{\"text\":\"bulk {round} {n} of {of}\",\"tags\":[\"r{round}\"]}}\n")).collect()
        };
        let bulk = ["claim", "publish", "--group", &group, "--file", "-"];
        for daemon in [&alice, &bob] {
            let hashes = daemon.ctl_with(&bulk, lines(&daemon.name).as_bytes()).done()["claim_hashes"].clone();
            published.extend(hashes.as_array().unwrap().iter().map(|hash| hash.as_str().unwrap().to_owned()));
        }
        let taken_back = bob.publish(&group, &format!("taken back {round}"));
        bob.ctl(&["claim", "retract", &taken_back, "--group", &group]).ok();
        published.insert(taken_back);
        match round {
            // A restart of who publishes, a power cut of who is watched, one of both; and one writes while the other is away.
            0 => {
                bob.stop();
                bob.restart();
            }
            1 => {
                alice.kill();
                alice.restart();
            }
            2 => {
                alice.kill();
                bob.kill();
                alice.restart();
                bob.restart();
            }
            _ => {
                alice.kill();
                published.insert(bob.publish(&group, &format!("while alice is away {round}")));
                bob.kill();
                alice.restart();
                published.insert(alice.publish(&group, &format!("while bob is away {round}")));
                bob.restart();
            }
        }
    }
    let all: Vec<&str> = published.iter().map(String::as_str).collect();
    for daemon in [&alice, &bob] {
        daemon.wait_for_claims(&group, &all);
    }
    agree(&[&alice, &bob], &group);
    no_more.store(true, Ordering::SeqCst);
    for (watcher, daemon) in watchers.into_iter().zip([&alice, &bob]) {
        let read = watcher.join().unwrap();
        let mut came: BTreeMap<&str, usize> = BTreeMap::new();
        let mut stands: BTreeSet<&str> = BTreeSet::new();
        for (kind, claim) in &read {
            match kind {
                WatchKind::Claim => {
                    *came.entry(claim).or_default() += 1;
                    stands.insert(claim);
                }
                WatchKind::Restored => assert!(stands.insert(claim)),
                WatchKind::Retracted => assert!(stands.remove(claim.as_str()), "{claim} did not stand"),
            }
        }
        assert!(came.values().all(|times| *times == 1), "{}: a claim has come twice", daemon.name);
        let here: BTreeSet<String> = daemon.claims(&group).into_iter().collect();
        assert_eq!(came.keys().map(|claim| (*claim).to_owned()).collect::<BTreeSet<_>>(), here, "{}", daemon.name);
        assert!(published.is_subset(&here));
        let retracted = daemon.ctl(&["claim", "list", "--group", &group, "--limit", "1000000"]).done();
        let retracted =
            retracted["claims"].as_array().unwrap().iter().filter(|claim| claim["retracted"] == true).count();
        assert_eq!((retracted, stands.len()), (5, here.len() - 5), "{}", daemon.name);
    }
}

#[test]
fn a_page_filters_waits_and_begins_where_it_is_told() {
    let (alice, bob, group) = pair("filters");
    let first = alice.publish(&group, "first");
    let tagged = ["claim", "publish", "--group", &group, "--text", "tagged", "--tags", "a,b", "--parent", &first];
    let tagged = alice.ctl(&tagged).text("claim_hash");
    bob.wait_for_claims(&group, &[&first, &tagged]);
    let other = bob.publish(&group, "other");
    alice.wait_for_claims(&group, &[&other]);
    let hashes = |more: &[&str]| page(&watch(&alice, &group, more)).0;
    assert_eq!(hashes(&["--limit", "10"]), [first.clone(), tagged.clone(), other.clone()]);
    assert_eq!(hashes(&["--limit", "10", "--tag", "a", "--tag", "b"]), std::slice::from_ref(&tagged));
    assert_eq!(hashes(&["--limit", "10", "--author", &bob.id]), std::slice::from_ref(&other));
    assert_eq!(hashes(&["--limit", "10", "--thread", &tagged[..12]]), [first.clone(), tagged.clone()]);
    assert_eq!(hashes(&["--limit", "10", "--since", "1h"]).len(), 3);
    assert_eq!(hashes(&["--limit", "10", "--since", "0s"]), Vec::<String>::new());
    alice.ctl(&["claim", "watch", "--group", &group, "--limit", "1", "--thread", "00"]).refused(1, &["no claim"]);

    // Nothing yet: it answers at the end of the time, or as soon as there is something, from wherever it comes.
    let (_, cursor) = page(&watch(&alice, &group, &["--limit", "10"]));
    let empty = watch(&alice, &group, &["--cursor", &cursor, "--wait", "200ms"]);
    assert_eq!(page(&empty), (vec![], cursor.clone()));
    let started = Instant::now();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| watch(&alice, &group, &["--cursor", &cursor, "--wait", "10m"]));
        std::thread::sleep(Duration::from_millis(300));
        let new = bob.publish(&group, "awaited");
        (page(&waiting.join().unwrap()).0, new)
    });
    assert_eq!(waiting.0, [waiting.1]);
    assert!(started.elapsed() < PATIENCE);

    // Taken back, and seen as such by who goes on.
    let (_, cursor) = page(&watch(&alice, &group, &["--limit", "10"]));
    bob.ctl(&["claim", "retract", &other, "--group", &group]).ok();
    let told = watch(&alice, &group, &["--cursor", &cursor, "--wait", "1m"]);
    assert_eq!((told["claims"][0]["kind"].as_str(), page(&told).0), (Some("retracted"), vec![other]));
}

#[test]
fn a_stream_shows_claims_as_they_come_and_goes_on_behind_the_last_one() {
    let mut alice = Daemon::start("alice");
    let group = alice.found("streamed");
    let before = alice.publish(&group, "before");
    let follow = |daemon: &Daemon, more: &[&str]| {
        let mut command = clean(Command::new(LBM));
        let args = ["ctl", "claim", "watch", "--group", &group, "--json", "--data", daemon.data.to_str().unwrap()];
        command.args(args).args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (say, said) = mpsc::channel::<Value>();
        let out = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            let lines = BufReader::new(out).lines().map_while(Result::ok);
            lines.for_each(|line| drop(say.send(serde_json::from_str(&line).unwrap())));
        });
        (child, said)
    };
    let hash = |line: &Value| line["claim_hash"].as_str().unwrap().to_owned();
    let (mut child, said) = follow(&alice, &["--since", "1h"]);
    assert_eq!(hash(&said.recv_timeout(PATIENCE).unwrap()), before);
    let large = "x".repeat(60_000);
    let new: Vec<String> = ["one", "two", &large].map(|text| alice.publish(&group, text)).into();
    let lines: Vec<Value> = new.iter().map(|_| said.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(lines.iter().map(hash).collect::<Vec<_>>(), new);
    assert_eq!(lines[2]["text"].as_str().unwrap().len(), 60_000);
    // The daemon ends: so does the stream, and says how to go on.
    alice.stop();
    wait_until(PATIENCE, "the stream ends", || child.try_wait().unwrap().is_some());
    let mut words = String::new();
    child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
    let cursor = lines[2]["cursor"].as_str().unwrap();
    assert!(words.contains(&format!("--follow --cursor {cursor}")), "{words}");
    assert_eq!(child.wait().unwrap().code(), Some(1));

    alice.restart();
    let third = alice.publish(&group, "three");
    let (mut child, said) = follow(&alice, &["--follow", "--cursor", lines[1]["cursor"].as_str().unwrap()]);
    let rest: Vec<String> = (0..2).map(|_| hash(&said.recv_timeout(PATIENCE).unwrap())).collect();
    assert_eq!(rest, [new[2].clone(), third.clone()]);
    child.kill().unwrap();
    child.wait().unwrap();

    // As a browser connects again.
    let mut socket = UnixStream::connect(alice.data.join("lbm.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET /api/v1/groups/{group}/claims/follow HTTP/1.1\r\nhost: lbm\r\nlast-event-id: {cursor}\r\n\r\n")
        .unwrap();
    let mut lines = BufReader::new(socket).lines().map_while(Result::ok);
    let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).expect("an event");
    assert_eq!(hash(&serde_json::from_str(&data).unwrap()), third);
}

#[test]
fn an_old_cursor_is_refused_in_clear_words() {
    let (mut alice, mut bob, group) = pair("cursors");
    let claim = alice.publish(&group, "one");
    bob.wait_for_claims(&group, &[&claim]);
    let (hashes, cursor) = page(&watch(&bob, &group, &["--limit", "10"]));
    assert_eq!(hashes, std::slice::from_ref(&claim));
    let refused = |daemon: &Daemon, group: &str, cursor: &str, words: &[&str]| {
        for more in [&["--limit", "5"][..], &["--wait", "1m"], &["--follow"]] {
            let line = [&["claim", "watch", "--group", group, "--cursor", cursor][..], more].concat();
            daemon.ctl(&line).refused(1, words);
        }
    };
    refused(&bob, &group, "nonsense", &["cursor"]);
    refused(&bob, &group, &cursor[1..], &["cursor"]);
    refused(&alice, &group, &cursor, &["another node", "--since"]);
    let other = bob.found("other");
    refused(&bob, &other, &cursor, &["another group"]);
    // Ahead of all that there is.
    let ahead = format!("{}ff", &cursor[..cursor.len() - 2]);
    refused(&bob, &group, &ahead, &["before it was given"]);

    // The group is left and joined again: the claims come anew, in a sequence of their own.
    bob.ctl(&["group", "leave", &group]).ok();
    bob.ctl(&["group", "join", &group]).ok();
    bob.wait_for_claims(&group, &[&claim]);
    refused(&bob, &group, &cursor, &["left and joined again"]);
    let (hashes, cursor) = page(&watch(&bob, &group, &["--limit", "10"]));
    assert_eq!(hashes, std::slice::from_ref(&claim));

    // A restart changes nothing; a copy of the file does.
    bob.stop();
    bob.restart();
    assert_eq!(page(&watch(&bob, &group, &["--cursor", &cursor])), (vec![], cursor.clone()));
    bob.stop();
    let file = bob.data.join("lbm.redb");
    std::fs::copy(&file, file.with_extension("copy")).unwrap();
    std::fs::rename(file.with_extension("copy"), &file).unwrap();
    bob.restart();
    refused(&bob, &group, &cursor, &["copied or restored", "--since"]);
    alice.stop();
}
