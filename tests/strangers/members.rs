//! Members who break the rules of blocks.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::author::Author;
use crate::common::Daemon;
use crate::peer::{DAY_MS, GROWTH_BYTES, Honest, Peer, daemon, is_sent_away, now_ms, sent_away};
use lbm::cbor;
use lbm::chain::transaction::{Claim, Genesis, MemberAdd, Secret};
use lbm::chain::{Body, ClaimBody, Draft, GroupId, ObjectHash, Payload, Role, Transaction, Unverified};
use lbm::identity::SecretKey;
use lbm::limits;
use lbm::wire::{Probe, Push, Refused, Request, Response};
use serde_bytes::ByteBuf;

/// Pushes a bad block of a member until the member is sent away; the blocks and the state stay what they were.
async fn misbehaves(
    seed: u8,
    alice: &Daemon,
    name: &str,
    group: GroupId,
    what: &str,
    bad: impl Fn(&Author) -> Vec<Unverified>,
) {
    let id = SecretKey::from_seed(&[seed; 32]).identity();
    alice.add(name, &id.to_string(), "member");
    let mut eve = Peer::of(seed, alice).await;
    let mut author = Author::new(&eve.key.clone(), group, &eve.pull(group).await);
    let honest = author.sign(&author.body());
    assert_eq!(eve.push(group, vec![honest.clone()]).await, Ok(Response::Taken), "{what}: honest at first");
    author.wrote(&honest);
    let before = alice.settled(name);
    for _ in 0..10 {
        if is_sent_away(alice, &id) {
            break;
        }
        let answer = eve.push(group, bad(&author)).await;
        println!("{what}: {answer:?}");
    }
    sent_away(alice, &id).await;
    assert_eq!(alice.settled(name), before, "{what}");
    // Nor is she let in again.
    let probe = Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) });
    for _ in 0..20 {
        assert!(eve.ask(&probe).await.is_err(), "{what}: still served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn members_who_break_the_rules_are_sent_away_and_change_nothing() {
    let (alice, name, group) = daemon();
    let honest = Honest::start(&alice, &name, group).await;
    let other_group: GroupId = alice.found("other").parse().unwrap();
    let memory = alice.resident_bytes();
    let one = |block: Unverified| vec![block];
    let mut seed = 10;
    let mut next = || {
        seed += 1;
        seed
    };
    misbehaves(next(), &alice, &name, group, "a signature that does not hold", |author| {
        let mut block = author.sign(&author.body());
        block.signature[5] ^= 1;
        one(block)
    })
    .await;
    misbehaves(next(), &alice, &name, group, "signed by another", |author| {
        let body = cbor::encode(&author.body());
        let signature = SecretKey::from_seed(&[99; 32]).sign(lbm::chain::block::SIGNATURE_DOMAIN, &body);
        one(Unverified::new(body, signature))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a block of another group", |author| {
        one(author.sign(&Body { group: Some(other_group), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body that is not CBOR", |author| {
        one(author.sign_bytes(vec![0xff; 300]))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body with bytes behind it", |author| {
        let mut body = cbor::encode(&author.body());
        body.push(0);
        one(author.sign_bytes(body))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body nested a hundred thousand deep", |author| {
        one(author.sign_bytes(vec![0x81; 100_000]))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a body over its limit", |author| {
        one(author.sign_bytes(vec![0; limits::BLOCK_BYTES + 1]))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "back-dated by a day", |author| {
        one(author.sign(&Body { time_ms: now_ms() - DAY_MS, ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "too high", |author| {
        let body = author.body();
        one(author.sign(&Body { height: body.height + 1_000, ..body }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a number left out", |author| {
        let body = author.body();
        one(author.sign(&Body { seq: body.seq + 1, ..body }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a hundred and one transactions", |author| {
        let Payload::Plain(transactions) = author.body().payload else { unreachable!() };
        one(author.sign(&Body { payload: Payload::Plain(vec![transactions[0].clone(); 101]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "no transaction", |author| {
        one(author.sign(&Body { payload: Payload::Plain(vec![]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a group founded within the group", |author| {
        let genesis = Genesis { name: "coup".into(), currency: "KAT".into(), discovery_secret: Secret([0; 32]) };
        one(author.sign(&Body { payload: Payload::Plain(vec![Transaction::Genesis(genesis)]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "a claim of a size that none has", |author| {
        let claim =
            Claim { object: ObjectHash::of(b"x"), size: u32::MAX, parent: None, rewarded: None, supersedes: vec![] };
        one(author.sign(&Body { payload: Payload::Plain(vec![Transaction::Claim(claim)]), ..author.body() }))
    })
    .await;
    misbehaves(next(), &alice, &name, group, "thousands of bad signatures at once", |author| {
        let mut block = author.sign(&author.body());
        block.signature = [0; 64];
        vec![block; limits::BATCH_BLOCKS]
    })
    .await;
    let grown = alice.resident_bytes().saturating_sub(memory);
    assert!(grown < GROWTH_BYTES, "the daemon grew by {} MiB", grown >> 20);
    honest.finish(&alice).await;
    alice.verified(&name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_block_from_tomorrow_is_not_taken_and_counts_lightly() {
    let (alice, name, group) = daemon();
    let id = SecretKey::from_seed(&[40; 32]).identity();
    alice.add(&name, &id.to_string(), "member");
    let mut eve = Peer::of(40, &alice).await;
    let author = Author::new(&eve.key.clone(), group, &eve.pull(group).await);
    let before = alice.settled(&name);
    let early = author.sign(&Body { time_ms: now_ms() + DAY_MS, ..author.body() });
    let answer = eve.push(group, vec![early.clone()]).await.unwrap();
    // `Taken` would say that it is durable.
    assert_eq!(answer, Response::Refused(Refused::Failed));
    assert_eq!(alice.settled(&name), before);
    // Whoever wonders why nothing comes is told, until the clock is seen to be right.
    let is_told = || {
        let diagnosis = alice.ctl(&["doctor"]).json();
        let findings = diagnosis["findings"].as_array().unwrap();
        let ahead = |text: String| text.contains(&id.to_string()) && text.contains("ahead of this one");
        findings.iter().any(|finding| finding["code"] == "clock_apart" && ahead(finding.to_string()))
    };
    eve.behind.store(3_690_000, Ordering::Relaxed);
    assert!(is_told());
    eve.behind.store(0, Ordering::Relaxed);
    assert!(!is_told());
    // What comes with it is not held back.
    let now = author.sign(&author.body());
    eve.push(group, vec![early.clone(), now]).await.unwrap();
    // With the seal that covers it.
    assert_eq!(alice.settled(&name).0, before.0 + 2);
    // A clock may be wrong: it takes many of them to be sent away.
    assert!(!is_sent_away(&alice, &id));
    for _ in 0..200 {
        if eve.push(group, vec![early.clone()]).await.is_err() {
            break;
        }
    }
    sent_away(&alice, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_ledger_refuses_is_kept_listed_and_nobodys_fault() {
    let (alice, name, group) = daemon();
    let id = SecretKey::from_seed(&[41; 32]).identity();
    alice.add(&name, &id.to_string(), "member");
    let mut eve = Peer::of(41, &alice).await;
    let mut author = Author::new(&eve.key.clone(), group, &eve.pull(group).await);
    let friend = SecretKey::from_seed(&[42; 32]).identity();
    let coup = MemberAdd { identity: friend, role: Role::Admin };
    for _ in 0..5 {
        let payload = Payload::Plain(vec![Transaction::MemberAdd(coup.clone())]);
        let block = author.sign(&Body { payload, ..author.body() });
        assert_eq!(eve.push(group, vec![block.clone()]).await, Ok(Response::Taken));
        author.wrote(&block);
    }
    let rejected = alice.ctl(&["rejected"]).done();
    let rows = rejected["rejected"].as_array().unwrap();
    assert_eq!(rows.len(), 5, "{rejected}");
    assert!(rows.iter().all(|row| row["code"] == "not_an_admin" && row["author"] == id.to_string()), "{rejected}");
    let members = alice.ctl(&["group", "members", &name]).done();
    assert_eq!(members["members"].as_array().unwrap().len(), 2, "{members}");
    assert!(!is_sent_away(&alice, &id));
    // And a proper claim of hers is one.
    let words = ClaimBody::new(None, "honest after all".into(), &[]).unwrap().encode();
    let claim = Claim {
        object: ObjectHash::of(&words),
        size: u32::try_from(words.len()).unwrap(),
        parent: None,
        rewarded: None,
        supersedes: vec![],
    };
    let draft = Draft::new(Body { payload: Payload::Plain(vec![Transaction::Claim(claim)]), ..author.body() }).unwrap();
    let block = draft.sign(&eve.key).to_unverified();
    let push = Push { group, blocks: vec![block], objects: vec![ByteBuf::from(words)] };
    assert_eq!(eve.ask(&Request::Push(push)).await, Ok(Response::Taken));
    let recent = alice.ctl(&["claim", "recent", "--group", &name, "--limit", "1"]).done();
    assert_eq!(recent["claims"][0]["text"], "honest after all");
    alice.verified(&name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_members_clock_that_is_behind_shows_in_the_doctor() {
    let (alice, name, _) = daemon();
    let bob = SecretKey::from_seed(&[41; 32]).identity();
    alice.add(&name, &bob.to_string(), "member");
    let bob = Peer::of(41, &alice).await;
    let apart = || {
        let diagnosis = alice.ctl(&["doctor"]).json();
        let findings = diagnosis["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["code"] == "clock_apart")
    };
    assert_eq!(apart(), None);
    bob.behind.store(3_690_000, Ordering::Relaxed);
    let found = apart().expect("an hour is seen");
    assert_eq!(found["severity"], "problem", "{found}");
    let text = found.to_string();
    assert!(["61 min behind", &bob.id.to_string(), "timedatectl"].iter().all(|word| text.contains(word)), "{text}");
    // Asked anew each time: what was set right is no finding any more.
    bob.behind.store(0, Ordering::Relaxed);
    assert_eq!(apart(), None);
}
