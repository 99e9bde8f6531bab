//! What a hostile message costs in memory. In a file of its own, because it measures the whole process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use lbm::limits;
use lbm::wire::{Request, Response};

/// The most memory that the process has had so far, bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<usize>().unwrap() * 1024
}

/// A message that is one list of as many of the smallest items as it has room for.
fn stuffed(head: &[u8], item: &[u8], tail: &[u8], most: usize) -> Vec<u8> {
    let count = (most - head.len() - tail.len() - 5) / item.len();
    let mut bytes = head.to_vec();
    bytes.push(0x9a);
    bytes.extend(u32::try_from(count).unwrap().to_be_bytes());
    bytes.extend(item.repeat(count));
    bytes.extend(tail);
    assert!(bytes.len() <= most);
    bytes
}

#[test]
fn a_hostile_message_costs_a_small_multiple_of_its_bytes() {
    let group = [&[0x58, 32][..], &[7; 32]].concat();
    let push = [&[0xa1, 0x64][..], b"push", &[0x83], &group, &[0x80]].concat();
    let pull = [&[0xa1, 0x64][..], b"pull", &[0x82], &group].concat();
    let batch = [&[0xa1, 0x65][..], b"batch", &[0x84, 0x80]].concat();
    let author = [&[0x82][..], &group, &[0x80]].concat();
    let requests = [
        stuffed(&push, &[0x40], &[], limits::REQUEST_BYTES),
        stuffed(&pull, &author, &[], limits::REQUEST_BYTES),
        stuffed(&push, &[0x60], &[], limits::REQUEST_BYTES),
    ];
    let response = stuffed(&batch, &[0x40], &[0x80, 0xf4], limits::MESSAGE_BYTES);
    let before = peak();
    for request in &requests {
        assert!(Request::decode(request).is_err());
    }
    assert!(Response::decode(&response).is_err());
    let grown = peak() - before;
    assert!(grown < 4 * limits::MESSAGE_BYTES, "reading hostile messages took {} MiB", grown >> 20);
}
