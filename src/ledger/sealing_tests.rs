//! Seals that count and seals that do not: of a notary that signs twice, of one that has handed over, and of whoever else tries.

use super::tests::sealed;
use super::{arrange, state};
use crate::chain::link::{self, Link};
use crate::chain::rows;
use crate::chain::transaction::{Experience, MemberAdd, MemberRemove, NotarySet, Seal};
use crate::chain::{ObjectHash, Role, Transaction, Verified};
use crate::kv::{Direction, Overlay, Table};
use crate::limits;
use crate::testing::desk::{Desk, block, who};

#[test]
fn a_notary_does_not_seal_for_ever_what_it_cannot_cover() {
    let mut desk = Desk::founded();
    let mut twin = desk.copy();
    desk.publish(0, "one");
    twin.publish(0, "other");
    // Its own other branch: no block of its line may name it as a parent.
    let other = desk.verify(twin.own_blocks());
    assert_eq!(desk.ingest(&other).stored, 1);
    assert_eq!(desk.seal().unwrap().blocks.len(), 1);
    assert_eq!(rows::counters(desk.rows()).unwrap().open(), 1);
    assert_eq!(desk.seal().unwrap().blocks, []);
    // Until somebody else has built on it.
    desk.write(0, vec![Transaction::MemberAdd(MemberAdd { identity: who(1), role: Role::Member })], vec![]).unwrap();
    desk.publish(1, "having seen all");
    assert_eq!(desk.seal().unwrap().blocks.len(), 1);
    assert_eq!(rows::counters(desk.rows()).unwrap().open(), 0);
    assert_eq!(desk.seal().unwrap().blocks, []);
}

#[test]
fn a_seal_that_cannot_count_moves_nothing() {
    let mut desk = Desk::founded();
    let bob = MemberAdd { identity: who(1), role: Role::Admin };
    let added = desk.write(0, vec![Transaction::MemberAdd(bob)], vec![]).unwrap().blocks[0];
    for round in 0..2 {
        for claim in 0..20 {
            desk.publish(0, &format!("{round} {claim}"));
        }
        desk.seal().unwrap();
    }
    let of_bob = |epoch| block(1, None, vec![added], 2, vec![Transaction::Seal(Seal { epoch })]);
    let of_alice = |epoch| block(0, Some((1, added)), vec![], 2, vec![Transaction::Seal(Seal { epoch })]);
    // Lower than what counts: by another than the sealer, by her without the seal before it, and with a number that is to come.
    // And by her, on a branch that has fewer seals.
    for forged in [of_bob(1), of_bob(2), of_alice(2), of_alice(3), of_alice(1)] {
        let mut overlay = Overlay::new(desk.rows());
        let Ok(Link::Linked(linked)) = link::link(&overlay, forged) else { panic!("it does not link") };
        link::store(&mut overlay, &linked).unwrap();
        assert_eq!(arrange::insert(&mut overlay, &[linked]).unwrap().len(), 1);
        assert_eq!(overlay.into_changes().table(Table::Order).len(), 1, "the group is folded anew for nothing");
    }
}

/// The notary's other branch, from her block with number 1 on: so many seals and nothing else.
fn other_branch(desk: &Desk, seals: u64) -> Vec<Verified> {
    let first = rows::placed(desk.rows(), &desk.first_of(0)).unwrap().unwrap();
    let (mut line, mut height) = ((first.seq, desk.first_of(0)), first.height);
    (1..=seals)
        .map(|epoch| {
            height += 1;
            let seal = block(0, Some(line), vec![], height, vec![Transaction::Seal(Seal { epoch })]);
            line = (line.0 + 1, seal.id());
            seal
        })
        .collect()
}

fn all_blocks(desk: &Desk) -> Vec<Verified> {
    let mut lines = Vec::new();
    rows::log(desk.rows(), 0, Direction::Up, &mut |_, line| {
        lines.push(line);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    desk.verify(lines.iter().map(|line| rows::block(desk.rows(), line).unwrap()).collect())
}

/// A desk at which Alice has sealed so often, each time one claim.
fn sealed_desk(seals: usize) -> Desk {
    let mut desk = Desk::founded();
    let bob = MemberAdd { identity: who(1), role: Role::Admin };
    desk.write(0, vec![Transaction::MemberAdd(bob)], vec![]).unwrap();
    for round in 0..seals {
        desk.publish(0, &format!("claim {round}"));
        desk.seal().unwrap();
    }
    desk
}

#[test]
fn of_a_notarys_two_branches_the_one_with_more_seals_counts_while_few_are_taken_back() {
    let kept = |desk: &Desk| state::sealing(desk.rows()).unwrap().unwrap();
    let many = limits::SEALS_REVISED;
    // In whatever sequence they come.
    for (ours, theirs) in [(2, 3), (many, many + 1)] {
        let mut desk = sealed_desk(ours as usize);
        let branch = other_branch(&desk, theirs);
        assert_eq!(desk.ingest(&branch[..1]).stored, 1);
        assert_eq!(kept(&desk).epoch, ours, "one seal is not better than {ours}");
        desk.ingest(&branch[1..]);
        assert_eq!((kept(&desk).epoch, kept(&desk).seal), (theirs, branch.last().unwrap().id()));
        let mut other = Desk::empty();
        other.ingest(&all_blocks(&desk));
        for table in [Table::State, Table::Order] {
            assert_eq!(desk.rows().rows(table), other.rows().rows(table));
        }
    }
    // What was final for longer stays, however many come.
    let mut desk = sealed_desk(many as usize + 1);
    let before = sealed(desk.rows());
    desk.ingest(&other_branch(&desk, 5 * many));
    assert_eq!((kept(&desk).epoch, sealed(desk.rows())), (many + 1, before));
}

#[test]
fn seals_that_follow_are_found_on_whichever_branch_they_stand() {
    let mut desk = sealed_desk(2);
    let branch = other_branch(&desk, 3);
    let first = &branch[0];
    // Eight more branches behind the first seal of the other one, some of them before its own in the line's rows.
    let forks = (0..8).map(|number| {
        let run = Transaction::Experience(Experience { object: ObjectHash::of(&[number]), size: 1 });
        block(0, Some((first.body().seq, first.id())), vec![], first.body().height + 1, vec![run])
    });
    let forks: Vec<Verified> = forks.collect();
    assert!(forks.iter().any(|fork| fork.id() < branch[1].id()), "none of them hides the seal");
    desk.ingest(&branch[..1]);
    desk.ingest(&forks);
    desk.ingest(&branch[1..]);
    let kept = state::sealing(desk.rows()).unwrap().unwrap();
    assert_eq!((kept.epoch, kept.seal), (3, branch[2].id()));
}

#[test]
fn a_notary_that_has_handed_over_rewrites_nothing() {
    let mut desk = sealed_desk(2);
    desk.write(0, vec![Transaction::NotarySet(NotarySet { identity: who(1) })], vec![]).unwrap();
    desk.seal().unwrap();
    desk.write(1, vec![Transaction::MemberRemove(MemberRemove { identity: who(0) })], vec![]).unwrap();
    desk.seal().unwrap();
    let before = sealed(desk.rows());
    for seals in [1, 4, 40] {
        desk.ingest(&other_branch(&desk, seals));
        assert_eq!(sealed(desk.rows()), before);
        assert_eq!(state::sealing(desk.rows()).unwrap().unwrap().sealer, who(1));
    }
}
