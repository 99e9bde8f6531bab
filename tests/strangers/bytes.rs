//! Bytes that are no message.

use std::time::{Duration, Instant};

use crate::common::PATIENCE;
use crate::peer::{GROWTH_BYTES, Honest, daemon, is_sent_away, sent_away};
use crate::vandal::{HOLD, Vandal, frame, squeezed};
use lbm::cbor;
use lbm::identity::SecretKey;
use lbm::limits;
use lbm::wire::{Probe, Request};
use serde_bytes::ByteBuf;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bytes_that_are_no_message_get_their_sender_sent_away() {
    let (alice, name, group) = daemon();
    let honest = Honest::start(&alice, &name, group).await;
    let before = alice.settled(&name);
    let memory = alice.resident_bytes();
    let over = u32::try_from(limits::REQUEST_BYTES + 2).unwrap();
    let probe = Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) }).encode();
    let nested = |byte: u8| frame(&vec![byte; limits::REQUEST_BYTES - 1]);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("noise", vec![0xff; 64]),
        ("another protocol", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a frame over the limit", [&over.to_be_bytes()[..], &[0; 100]].concat()),
        ("an empty frame", vec![0, 0, 0, 0, 0]),
        ("an unknown encoding", vec![0, 0, 0, 2, 7, 1]),
        ("bytes behind the frame", [frame(&probe), vec![1]].concat()),
        ("a compressed bomb", [&14_u32.to_be_bytes()[..], &[1], &u32::MAX.to_le_bytes(), &[0; 9]].concat()),
        ("a bomb that keeps its word", squeezed(&vec![0x80; limits::REQUEST_BYTES - 10])),
        ("damaged compression", [&14_u32.to_be_bytes()[..], &[1], &100_u32.to_le_bytes(), &[0xff; 9]].concat()),
        ("no CBOR", frame(&[0xff; 100])),
        ("an empty message", frame(b"")),
        ("arrays nested four million deep", nested(0x81)),
        ("tags nested four million deep", nested(0xc1)),
        ("endless arrays within each other", nested(0x9f)),
        ("maps nested four million deep", nested(0xa1)),
        ("an array that announces 2^63 items", frame(&[0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        ("a string that announces 2^63 bytes", frame(&[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1])),
        ("four million empty strings", frame(&[&[0x9a, 0x00, 0x3f, 0xff, 0x00][..], &vec![0x40; 0x3f_ff00]].concat())),
        ("a message cut short", frame(&probe[..probe.len() / 2])),
        ("a message of another version", frame(&cbor::encode(&("frobnicate", 1)))),
    ];
    let mut seed = 100;
    for (what, bytes) in cases {
        seed += 1;
        let mut vandal = Vandal::of(seed, &alice).await;
        let deadline = Instant::now() + PATIENCE;
        while !is_sent_away(&alice, &vandal.id) {
            assert!(Instant::now() < deadline, "{what}: is not sent away");
            vandal.send(bytes.clone());
            vandal.go_on(Duration::from_millis(30), None).await;
        }
        println!("{what}: sent away");
    }
    let grown = alice.resident_bytes().saturating_sub(memory);
    println!("grown by {} MiB", grown >> 20);
    assert!(grown < GROWTH_BYTES, "the daemon grew by {} MiB", grown >> 20);
    assert_eq!(alice.settled(&name).0, before.0);
    honest.finish(&alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_burst_of_rubbish_is_one_offence() {
    let (alice, _, _) = daemon();
    for seed in 170..173 {
        let mut vandal = Vandal::of(seed, &alice).await;
        (0..20).for_each(|_| vandal.send(vec![0xff; 64]));
        vandal.go_on(Duration::from_millis(500), None).await;
        sent_away(&alice, &vandal.id).await;
    }
    let bans = alice.ctl(&["peer", "bans"]).done();
    let bans = bans["bans"].as_array().unwrap();
    assert_eq!(bans.len(), 3, "{bans:?}");
    assert!(bans.iter().all(|ban| ban["times"] == 1), "{bans:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn announcements_that_never_arrive_cost_no_memory_and_stop_nobody() {
    let (alice, name, group) = daemon();
    let honest = Honest::start(&alice, &name, group).await;
    let memory = alice.resident_bytes();
    // The largest allowed request is announced on every stream, a little of it arrives, and then nothing.
    let announced = u32::try_from(limits::REQUEST_BYTES).unwrap();
    let mut bytes = [&announced.to_be_bytes()[..], &[0], &[0x81; 20_000]].concat();
    bytes.extend_from_slice(HOLD);
    let mut vandals = Vec::new();
    for seed in 150..156 {
        let mut vandal = Vandal::of(seed, &alice).await;
        for _ in 0..200 {
            vandal.send(bytes.clone());
        }
        vandals.push(vandal);
    }
    for _ in 0..20 {
        for vandal in &mut vandals {
            vandal.go_on(Duration::from_millis(10), None).await;
        }
    }
    let grown = alice.resident_bytes().saturating_sub(memory);
    println!("grown by {} MiB", grown >> 20);
    assert!(grown < GROWTH_BYTES, "the daemon grew by {} MiB", grown >> 20);
    alice.publish(&name, "work goes on");
    honest.finish(&alice).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_peer_whose_answers_break_off_has_lost_power_and_is_not_sent_away() {
    let (alice, name, _group) = daemon();
    let id = SecretKey::from_seed(&[160; 32]).identity();
    alice.add(&name, &id.to_string(), "member");
    // She is a member who is connected: each claim is pushed to her, and she is asked for hers.
    let mut bob = Vandal::of(160, &alice).await;
    let half = frame(&[0x80; 100]);
    for n in 0..10 {
        alice.publish(&name, &format!("pushed {n}"));
        bob.go_on(Duration::from_millis(20), Some(&half[..50])).await;
        bob.send(half[..50].to_vec());
        bob.go_on(Duration::from_millis(20), Some(&half[..50])).await;
    }
    assert!(!is_sent_away(&alice, &id), "{}", alice.said());
    // One who answers with what is no message is.
    let deadline = Instant::now() + PATIENCE;
    while !is_sent_away(&alice, &id) {
        assert!(Instant::now() < deadline, "she is not sent away");
        alice.publish(&name, &format!("pushed {:?}", Instant::now()));
        bob.go_on(Duration::from_millis(50), Some(&[0xff; 64])).await;
    }
}
