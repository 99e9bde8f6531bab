use proptest::prelude::*;

use super::{Arrival, What, absent, after, before, last};
use crate::chain::transaction::{MemberAdd, MemberRemove, Retract};
use crate::chain::{ClaimId, Role, Transaction};
use crate::ledger::tests::{history, recipe};
use crate::testing::desk::{Desk, NOW_MS, who, words};

fn entries(desk: &Desk) -> Vec<Arrival> {
    let mut entries = vec![];
    after(desk.rows(), 0, &mut |arrival| {
        entries.push(arrival);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    entries
}

fn told(desk: &Desk) -> Vec<(What, ClaimId)> {
    entries(desk).into_iter().map(|arrival| (arrival.what, arrival.claim)).collect()
}

/// Has two members besides the founder.
fn desk() -> Desk {
    let mut desk = Desk::founded();
    let add = |number| Transaction::MemberAdd(MemberAdd { identity: who(number), role: Role::Member });
    desk.write(0, vec![add(1), add(2)], vec![]).unwrap();
    desk
}

fn retract(claim: ClaimId) -> Vec<Transaction> {
    vec![Transaction::Retract(Retract { claim })]
}

#[test]
fn a_claim_comes_with_its_words_and_once() {
    let mut desk = desk();
    assert_eq!(last(desk.rows()).unwrap(), None);
    let (one, other) = (words("one"), words("other"));
    let written = desk.write(1, vec![one.0, other.0], vec![one.1, other.1]).unwrap();
    let came: Vec<_> = written.claims.iter().map(|claim| (What::Came, *claim)).collect();
    assert_eq!(told(&desk), came);
    desk.write(0, retract(written.claims[0]), vec![]).unwrap();
    assert_eq!(told(&desk)[2..], [(What::Retracted, written.claims[0])]);
    assert!(desk.news.last().unwrap().has_arrivals);
    desk.seal().unwrap();
    assert!(!desk.news.last().unwrap().has_arrivals);
    assert_eq!(entries(&desk).len(), 3);
}

#[test]
fn a_claim_whose_words_come_later_comes_later() {
    let mut there = desk();
    let mut here = there.copy();
    let late = there.publish(1, "late").claims[0];
    let early = there.publish(1, "early").claims[0];
    let taken = there.publish(1, "taken back").claims[0];
    there.write(1, retract(taken), vec![]).unwrap();
    let blocks = there.verify(there.own_blocks());
    here.ingest_from(7, &blocks, vec![words("early").1]);
    assert_eq!(told(&here), [(What::Came, early)]);
    here.ingest_from(7, &[], vec![words("late").1]);
    // One that was taken back meanwhile comes, and it is told that it does not stand.
    here.ingest_from(7, &[], vec![words("taken back").1]);
    let expected = [(What::Came, early), (What::Came, late), (What::Came, taken), (What::Retracted, taken)];
    assert_eq!(told(&here), expected);
    here.ingest_from(7, &blocks, vec![words("late").1, words("early").1]);
    assert_eq!(told(&here), expected, "nothing comes twice");
}

#[test]
fn a_claim_whose_block_is_refused_for_a_while_goes_and_comes_back_without_coming_twice() {
    let mut here = desk();
    let (mut remover, founder) = (here.copy(), here.copy());
    let claim = here.publish(1, "published").claims[0];
    let second = here.publish(1, "second").claims[0];
    // The founder removes the author at a lower place than both blocks have, so that they are refused.
    remover.write(0, vec![Transaction::MemberRemove(MemberRemove { identity: who(1) })], vec![]).unwrap();
    here.ingest(&remover.verify(remover.own_blocks()));
    let gone: Vec<_> = told(&here)[2..].to_vec();
    let is_gone = |claim| absent(here.rows(), &claim).unwrap().is_some();
    assert!(!gone.is_empty() && gone.iter().all(|(what, _)| *what == What::Retracted), "{gone:?}");
    assert!(is_gone(second) && gone.contains(&(What::Retracted, second)));
    assert_eq!(is_gone(claim), gone.contains(&(What::Retracted, claim)));
    // Another branch of the founder's line counts where its block is lower: then the removal is refused, and all stand again.
    let mut number = 0;
    while told(&here).last().unwrap().0 != What::Restored {
        number += 1;
        assert!(number < 64, "no branch of the founder's line was lower");
        let mut other = founder.copy();
        other.publish(0, &format!("branch {number}"));
        let blocks = other.verify(other.own_blocks());
        here.ingest_from(7, &blocks, vec![words(&format!("branch {number}")).1]);
    }
    assert_eq!(absent(here.rows(), &second).unwrap(), None);
    let came = told(&here).into_iter().filter(|(what, of)| *what == What::Came && *of == second).count();
    assert_eq!(came, 1);
}

#[test]
fn times_never_fall_and_lead_to_their_place() {
    let mut desk = desk();
    for (at_ms, text) in [(0, "a"), (10, "b"), (5, "clock set back"), (10, "d"), (20, "e")] {
        desk.now_ms = NOW_MS + at_ms;
        desk.publish(1 + u8::from(text.len() > 1), text);
    }
    let times: Vec<u64> = entries(&desk).iter().map(|arrival| arrival.at_ms - NOW_MS).collect();
    assert_eq!(times, [0, 10, 10, 10, 20]);
    for (at_ms, number) in [(0, 0), (1, 1), (10, 1), (11, 4), (20, 4), (21, 5)] {
        assert_eq!(before(desk.rows(), NOW_MS + at_ms).unwrap(), number, "{at_ms}");
    }
    assert_eq!(before(Desk::founded().rows(), 0).unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// What came is told for good; `Desk` checks after each batch that the entries tell what stands.
    #[test]
    fn entries_are_added_and_never_changed(
        blocks in prop::collection::vec(recipe(), 4..40).prop_map(|recipes| history(&recipes)).prop_shuffle(),
        size in 1usize..5,
        with_objects in any::<u64>(),
    ) {
        let mut desk = Desk::empty();
        let mut before = vec![];
        let objects = || (0..=u8::MAX).map(|byte| vec![byte]).collect::<Vec<_>>();
        for (batch, chunk) in blocks.chunks(size).enumerate() {
            let objects = if with_objects >> (batch % 64) & 1 == 1 { objects() } else { vec![] };
            desk.ingest_from(7, chunk, objects);
            let now = entries(&desk);
            prop_assert!(now.starts_with(&before));
            before = now;
        }
        desk.ingest_from(7, &[], objects());
        prop_assert!(entries(&desk).starts_with(&before));
    }
}
