//! Who may put a claim in another's place, and what brings the old one back.

use std::ops::ControlFlow;

use super::query;
use crate::chain::transaction::{Claim, MemberAdd, MemberRemove, Retract};
use crate::chain::{ClaimId, ObjectHash, Role, Transaction};
use crate::limits;
use crate::node::engine::Failure;
use crate::testing::desk::{Desk, who};

const NOBODYS: ClaimId = ClaimId::from_bytes([9; 32]);

fn claim(text: &str, supersedes: &[ClaimId]) -> Transaction {
    let mut supersedes = supersedes.to_vec();
    supersedes.sort_unstable();
    let (object, size) = (ObjectHash::of(text.as_bytes()), text.len() as u32);
    Transaction::Claim(Claim { object, size, parent: None, rewarded: None, supersedes })
}

/// Publishes a claim; gives its id, or the code of the refusal.
fn publish(desk: &mut Desk, author: u8, text: &str, supersedes: &[ClaimId]) -> Result<ClaimId, &'static str> {
    match desk.write(author, vec![claim(text, supersedes)], vec![text.into()]) {
        Ok(written) => Ok(written.claims[0]),
        Err(Failure::Refused(refusal)) => Err(refusal.code()),
        Err(other) => panic!("{other}"),
    }
}

fn retract(desk: &mut Desk, author: u8, claim: ClaimId) {
    desk.write(author, vec![Transaction::Retract(Retract { claim })], vec![]).unwrap();
}

/// An admin, two members, a viewer.
fn desk() -> Desk {
    let mut desk = Desk::founded();
    let add = |number, role| Transaction::MemberAdd(MemberAdd { identity: who(number), role });
    desk.write(0, vec![add(1, Role::Member), add(2, Role::Member), add(3, Role::Viewer)], vec![]).unwrap();
    desk
}

fn by(desk: &Desk, claim: &ClaimId) -> Vec<ClaimId> {
    query::superseded_by(desk.rows(), claim, limits::SUPERSEDES).unwrap()
}

#[test]
fn a_claim_is_superseded_by_its_author_or_an_admin_and_by_nobody_else() {
    let mut desk = desk();
    let old = publish(&mut desk, 1, "old", &[]).unwrap();
    for (author, supersedes, expected) in [
        (2, vec![old], "not_yours_to_supersede"),
        (3, vec![old], "viewer_cannot_write"),
        (4, vec![old], "not_a_member"),
        (1, vec![NOBODYS], "no_such_claim"),
        (1, vec![old, NOBODYS], "no_such_claim"),
    ] {
        assert_eq!(publish(&mut desk, author, "new", &supersedes), Err(expected));
        assert_eq!(by(&desk, &old), []);
    }
    let mine = publish(&mut desk, 1, "mine", &[old]).unwrap();
    let theirs = publish(&mut desk, 0, "the admin's", &[old]).unwrap();
    let mut both = vec![mine, theirs];
    both.sort_unstable();
    assert_eq!(by(&desk, &old), both);
    assert_eq!((by(&desk, &mine), by(&desk, &theirs)), (vec![], vec![]));
    assert_eq!(query::superseded_by(desk.rows(), &old, 1).unwrap().len(), 1);
    // Several at once, and one who has left the group is no author there any more.
    let other = publish(&mut desk, 2, "other", &[]).unwrap();
    let one = publish(&mut desk, 0, "one for two", &[other, mine]).unwrap();
    assert_eq!((by(&desk, &other), by(&desk, &mine)), (vec![one], vec![one]));
    desk.write(0, vec![Transaction::MemberRemove(MemberRemove { identity: who(1) })], vec![]).unwrap();
    assert_eq!(publish(&mut desk, 1, "gone", &[mine]), Err("not_a_member"));
}

#[test]
fn a_claim_stands_again_once_what_superseded_it_is_taken_back() {
    let mut desk = desk();
    let old = publish(&mut desk, 1, "one", &[]).unwrap();
    let second = publish(&mut desk, 1, "two", &[old]).unwrap();
    retract(&mut desk, 1, second);
    assert_eq!(by(&desk, &old), []);
    // A third that takes the place of the second, before or after that is taken back, takes that of the first too.
    let third = publish(&mut desk, 1, "three", &[second]).unwrap();
    assert_eq!((by(&desk, &old), by(&desk, &second)), (vec![third], vec![third]));
    retract(&mut desk, 0, third);
    assert_eq!((by(&desk, &old), by(&desk, &second)), (vec![], vec![]));
    // What is retracted may be superseded: its author could not know.
    retract(&mut desk, 1, old);
    let fourth = publish(&mut desk, 1, "four", &[old]).unwrap();
    assert_eq!(by(&desk, &old), [fourth]);
}

#[test]
fn two_that_supersede_one_claim_apart_both_stand_in_any_sequence() {
    let mut here = desk();
    let old = publish(&mut here, 1, "old", &[]).unwrap();
    let mut there = here.copy();
    let ours = publish(&mut here, 1, "here", &[old]).unwrap();
    let theirs = publish(&mut there, 0, "there", &[old]).unwrap();
    let (from_here, from_there) = (here.verify(here.own_blocks()), there.verify(there.own_blocks()));
    assert_eq!((here.ingest(&from_there).fault, there.ingest(&from_here).fault), (None, None));
    let mut both = vec![ours, theirs];
    both.sort_unstable();
    assert_eq!((by(&here, &old), by(&there, &old)), (both.clone(), both));
    assert_eq!(query::state_hash(here.rows()).unwrap(), query::state_hash(there.rows()).unwrap());
}

#[test]
fn a_claim_whose_superseding_block_is_undone_stands_again() {
    let mut here = desk();
    let old = publish(&mut here, 1, "old", &[]).unwrap();
    let mut there = here.copy();
    // Here an admin makes one more block first, so that the removal stands before the claim in the order of both.
    let new = publish(&mut here, 1, "also", &[]).and_then(|_| publish(&mut here, 1, "new", &[old])).unwrap();
    assert_eq!(by(&here, &old), [new]);
    there.write(0, vec![Transaction::MemberRemove(MemberRemove { identity: who(1) })], vec![]).unwrap();
    here.ingest(&there.verify(there.own_blocks()));
    assert_eq!(by(&here, &old), [], "the block is refused now, and superseded nothing");
}

#[test]
fn the_newest_are_found_in_any_history_and_page_by_page() {
    let mut desk = desk();
    let mut published = vec![];
    for (number, now_ms) in [(0, 5_000), (1, 5_000), (2, 7_000), (3, 6_000), (4, 9_000), (5, 9_000)] {
        // Two authors, whose clocks differ.
        desk.now_ms = crate::testing::desk::NOW_MS + now_ms;
        let claim = publish(&mut desk, 1 + u8::from(number == 3), &format!("{number}"), &[]).unwrap();
        published.push((crate::testing::desk::NOW_MS + now_ms.max(if number == 3 { 0 } else { now_ms }), claim));
    }
    retract(&mut desk, 1, published[4].1);
    published.remove(4);
    published.sort_unstable_by(|a, b| b.cmp(a));
    let page = |before, since_ms, most: usize| {
        let mut page = vec![];
        query::recent(desk.rows(), before, since_ms, &mut |created_ms, claim| {
            page.push((created_ms, claim));
            if page.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        page
    };
    assert_eq!(page(None, 0, 100), published);
    let mut paged: Vec<(u64, ClaimId)> = vec![];
    while let [_, ..] = &page(paged.last().copied(), 0, 2)[..] {
        paged.extend(page(paged.last().copied(), 0, 2));
    }
    assert_eq!(paged, published);
    let since = published[1].0;
    let expected: Vec<_> = published.iter().copied().filter(|(created_ms, _)| *created_ms >= since).collect();
    assert_eq!(page(None, since, 100), expected);
    assert_eq!(page(None, u64::MAX, 100), []);
    assert_eq!(page(Some(published[4]), 0, 100), []);
}
