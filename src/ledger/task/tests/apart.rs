//! What members write who cannot see each other: one outcome on every node, and the same rows whatever the arrival.

use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::chain::transaction::{Claim, Transfer};
use crate::chain::{Context, ObjectHash, Unverified, Verified, link, rows};
use crate::kv::{Direction, Table};
use crate::ledger::state;
use crate::ledger::tests::{compare, undo_what_is_open};
use crate::testing::desk::{genesis, key};

/// All blocks of a desk as it has stored them.
fn blocks(desk: &Desk) -> Vec<Verified> {
    let mut all: Vec<Unverified> = Vec::new();
    rows::log(desk.rows(), 0, Direction::Up, &mut |_, line| {
        all.push(rows::block(desk.rows(), &line).unwrap());
        ControlFlow::Continue(())
    })
    .unwrap();
    let context = Context { group: desk.group, now_ms: u64::MAX, max_drift_ms: 0 };
    all.into_iter().map(|block| block.verify(&context).unwrap()).collect()
}

/// Each gets what the others have.
fn meet(desks: &mut [Desk]) {
    let all: Vec<Vec<Verified>> = desks.iter().map(blocks).collect();
    for desk in &mut *desks {
        for blocks in &all {
            assert_eq!(desk.ingest(blocks).fault, None);
            sound(desk.rows());
        }
    }
    for desk in &desks[1..] {
        compare(desks[0].rows(), desk.rows());
    }
}

#[test]
fn of_two_who_claim_at_once_one_has_it_everywhere_and_the_other_is_told() {
    let mut desk = team();
    act(&mut desk, 0, new("t")).unwrap();
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 1, assign("t", 1)).unwrap();
    act(&mut desks[1], 2, assign("t", 2)).unwrap();
    meet(&mut desks);
    let winner = row(&desks[0], "t").assignee.unwrap();
    assert_eq!(row(&desks[0], "t").attempt, 1, "the other's is no attempt");
    let refused = crate::ledger::query::refused(desks[1].rows(), None, 10).unwrap();
    assert_eq!(refused.len(), 1);
    assert_ne!(refused[0].1.author, winner);
    assert_eq!(refused[0].1.refusal.code(), "task_taken");
    assert!(refused[0].1.refusal.to_string().contains(&winner.to_string()));
    // Whoever lost hears that it cannot go on.
    let (loser, at) = if winner == who(1) { (2, 1) } else { (1, 0) };
    assert_eq!(act(&mut desks[at], loser, start("t", 1)).unwrap_err().code(), "task_taken");
}

#[test]
fn a_removal_at_the_same_time_as_a_completion_has_one_outcome() {
    let mut desk = team();
    act(&mut desk, 1, paid("t", 40)).unwrap();
    act(&mut desk, 2, assign("t", 2)).unwrap();
    act(&mut desk, 2, start("t", 1)).unwrap();
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 0, out(2)).unwrap();
    act(&mut desks[1], 2, complete("t", 1)).unwrap();
    meet(&mut desks);
    let paid = row(&desks[0], "t").status == Completed;
    assert_eq!(balance(&desks[0], 2), if paid { 140 } else { 100 });
    assert_eq!(account::totals(desks[0].rows()).unwrap().supply, 200);
}

#[test]
fn a_cancellation_at_the_same_time_as_a_completion_pays_once() {
    let mut desk = team();
    act(&mut desk, 1, paid("t", 40)).unwrap();
    act(&mut desk, 2, assign("t", 2)).unwrap();
    act(&mut desk, 2, start("t", 1)).unwrap();
    let mut desks = [desk.copy(), desk.copy()];
    act(&mut desks[0], 1, cancel("t")).unwrap();
    act(&mut desks[1], 2, complete("t", 1)).unwrap();
    meet(&mut desks);
    let balances = (balance(&desks[0], 1), balance(&desks[0], 2));
    match row(&desks[0], "t").status {
        Completed => assert_eq!(balances, (60, 140)),
        Cancelled => assert_eq!(balances, (100, 100)),
        other => panic!("{other}"),
    }
    assert_eq!(account::totals(desks[0].rows()).unwrap().escrow, 0);
}

/// One step of a random story: where, by whom, what kind, of which task, and two other numbers; and how long after the one before.
/// Each number picks among what there is.
type Step = (u8, u8, u8, u8, u8, u8, u16);

fn step() -> impl Strategy<Value = Step> {
    (0..3u8, any::<u8>(), 0..24u8, 0..4u8, any::<u8>(), any::<u8>(), prop_oneof![Just(0), 0..30_000u16])
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What is done with a task by an author, of which the attempt is known.
fn random(kind: u8, task: u8, attempt: u32, other: u8, author: u8) -> Transaction {
    let name = NAMES[usize::from(task)];
    let to = other % 6;
    let depends_on = NAMES[..usize::from(task)].iter().enumerate().filter(|(low, _)| (other >> low) & 3 == 3);
    match kind {
        0..=3 => Transaction::TaskCreate(TaskCreate {
            priority: other % 10,
            due_ms: other.is_multiple_of(3).then_some(NOW_MS + u64::from(other)),
            depends_on: depends_on.map(|(_, name)| id(name)).collect(),
            assignee: other.is_multiple_of(5).then(|| who(to)),
            reward: u64::from(other % 4) * 20,
            ..plain(name)
        }),
        4..=7 => assign(name, author),
        8 => assign(name, to),
        9..=13 => start(name, attempt),
        14..=18 => complete(name, attempt),
        19 => fail(name, attempt),
        20 => release(name, attempt),
        21 if other < 128 => cancel(name),
        21 if other < 160 => set(to, [Viewer, Member, Admin][usize::from(other / 6) % 3]),
        21 if other < 192 => out(to),
        21 => Transaction::MemberAdd(MemberAdd { identity: who(to), role: Member }),
        22 => Transaction::Claim(Claim {
            object: ObjectHash::of(&[other]),
            size: 1,
            parent: None,
            rewarded: None,
            supersedes: vec![],
        }),
        _ => Transaction::Transfer(Transfer { to: who(to), amount: u64::from(other) }),
    }
}

/// Three nodes that write apart, now and then hear of one another, mostly do what makes sense with what they know, and also sign what
/// their ledger refuses.
fn apart(steps: &[Step]) -> Vec<Verified> {
    let mut first = team();
    let five = Transaction::MemberAdd(MemberAdd { identity: who(5), role: Member });
    first.write(0, vec![set(3, Member), five, new("a"), paid("b", 30)], vec![]).unwrap();
    let mut desks: Vec<Desk> = (0..3).map(|_| first.copy()).collect();
    for (at, pick, kind, task, attempt, other, later_ms) in steps {
        let at = usize::from(*at);
        let now_ms = desks[at].now_ms + u64::from(*later_ms);
        desks.iter_mut().for_each(|desk| desk.now_ms = now_ms);
        if other.is_multiple_of(4) {
            let heard = blocks(&desks[(at + 1) % 3]);
            assert_eq!(desks[at].ingest(&heard).fault, None);
        }
        if at == 0 && *kind > 18 {
            // The founder's desk seals what it has; where that is nothing new, it does not.
            let _nothing_new = desks[at].seal();
        }
        // A key is used at one desk, so that nobody equivocates.
        let known = query::row(desks[at].rows(), &id(NAMES[usize::from(*task)])).unwrap();
        let local = [at as u8, at as u8 + 3];
        let holder = known.as_ref().and_then(|row| row.assignee);
        let holder = local.into_iter().find(|number| Some(who(*number)) == holder);
        let author = holder.filter(|_| *pick < 200).unwrap_or(local[usize::from(*pick) % 2]);
        let attempt = known.filter(|_| *attempt < 230).map_or(u32::from(*attempt % 4), |row| row.attempt);
        // Who has it mostly does it.
        let kind = if holder.is_some() && *pick < 140 { 9 + *kind % 10 } else { *kind };
        let act = random(kind, *task, attempt, *other, author);
        if desks[at].write(author, vec![act.clone()], vec![]).is_err() && other % 3 == 0 {
            let prev = state::line_head(desks[at].rows(), &who(author)).unwrap();
            let draft = link::draft(desks[at].rows(), desks[at].group, who(author), prev, now_ms, vec![act]);
            // Who was never named a member has no line.
            let Ok(draft) = draft else { continue };
            let forged = draft.sign(&key(author)).block().clone();
            desks[at].ingest(&[forged]);
        }
        sound(desks[at].rows());
    }
    let mut all = blocks(&desks[0]);
    for desk in &desks[1..] {
        let new = blocks(desk).into_iter().filter(|block| all.iter().all(|old| old.id() != block.id()));
        let new: Vec<_> = new.collect();
        all.extend(new);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_comes_to_the_same_rows(
        (blocks, shuffled) in prop::collection::vec(step(), 10..80).prop_map(|steps| apart(&steps))
            .prop_flat_map(|blocks| (Just(blocks.clone()), Just(blocks).prop_shuffle())),
        size in 1usize..6,
    ) {
        let taken = |batches: Vec<&[Verified]>| {
            let mut desk = Desk::empty();
            for batch in batches {
                assert_eq!(desk.ingest(batch).fault, None);
                if desk.rows().rows(Table::State).len() > 1 {
                    sound(desk.rows());
                }
            }
            desk
        };
        prop_assert_eq!(blocks[0].id(), genesis().id());
        let at_once = taken(vec![&blocks]);
        prop_assert_eq!(rows::counters(at_once.rows()).unwrap().blocks, blocks.len() as u64);
        compare(at_once.rows(), taken(blocks.chunks(1).collect()).rows());
        compare(at_once.rows(), taken(shuffled.chunks(size).collect()).rows());
        undo_what_is_open(&blocks, at_once.rows());
    }
}
