//! Stories of older copies: a node whose rows are put back must learn its own last block before it writes again.

use super::world::World;
use crate::chain::{GroupId, Role, rows};
use crate::node::engine::Failure;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

fn in_doubt(world: &World, group: &GroupId) -> bool {
    rows::in_doubt(&world.nodes[ALICE].rows[group]).unwrap()
}

/// Nobody has two blocks of Alice's with one number.
fn assert_no_fork(world: &World, group: &GroupId) {
    for node in &world.nodes {
        let tips = rows::tips(&node.rows[group], &world.nodes[ALICE].id).unwrap();
        assert_eq!(tips.len(), 1, "alice has signed two blocks with one number: {tips:?}");
    }
}

#[test]
fn a_restored_node_writes_only_when_it_knows_its_own_last_block() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.publish(ALICE, group, "in the copy");
        world.settle();
        let copy = world.nodes[ALICE].rows[&group].clone();
        let later: Vec<_> = (0..40).map(|n| world.publish(ALICE, group, &format!("later {n}"))).collect();
        world.settle();
        world.put_back(ALICE, group, copy, true);
        let refused = world.answer_claim(ALICE, group, "too early", None).unwrap_err();
        assert!(matches!(refused, Failure::InDoubt(of) if of == group), "{refused:?}");
        let deadline = world.now + 10_000;
        assert!(world.run_until(deadline, |world| !in_doubt(world, &group)), "alice never writes again");
        for claim in &later {
            assert!(world.has_claim(ALICE, &group, claim), "a claim of her own is missing");
        }
        world.publish(ALICE, group, "and on it goes");
        world.settle();
        assert_no_fork(&world, &group);
        world.assert_no_faults();
    });
}

#[test]
fn a_copy_by_hand_is_noticed_by_the_first_own_block_that_comes() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 2);
        let group = world.found_with_all();
        world.settle();
        let copy = world.nodes[ALICE].rows[&group].clone();
        let last = (0..40).map(|n| world.publish(ALICE, group, &format!("later {n}"))).last().unwrap();
        world.settle();
        world.put_back(ALICE, group, copy, false);
        let deadline = world.now + 10_000;
        assert!(world.run_until(deadline, |world| in_doubt(world, &group)), "her own blocks tell her");
        let refused = world.answer_claim(ALICE, group, "in the middle", None);
        assert!(matches!(refused, Err(Failure::InDoubt(_))) || world.has_claim(ALICE, &group, &last), "{refused:?}");
        assert!(world.run_until(deadline, |world| !in_doubt(world, &group)));
        world.publish(ALICE, group, "and on it goes");
        world.settle();
        assert_no_fork(&world, &group);
        world.assert_no_faults();
    });
}

#[test]
fn a_member_whom_the_copy_does_not_know_is_asked_as_well() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 2);
        let group = world.found(ALICE, "notes");
        let copy = world.nodes[ALICE].rows[&group].clone();
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        world.join(BOB, group);
        world.settle();
        world.put_back(ALICE, group, copy, true);
        let deadline = world.now + 10_000;
        assert!(world.run_until(deadline, |world| !in_doubt(world, &group)), "bob names the group, so he is asked");
        world.publish(ALICE, group, "and on it goes");
        world.settle();
        assert_no_fork(&world, &group);
        world.assert_no_faults();
    });
}

#[test]
fn a_member_that_was_away_since_before_the_copy_proves_nothing() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        world.partition(&[BOB]);
        world.run_for(6_000);
        world.publish(ALICE, group, "in the copy");
        let copy = world.nodes[ALICE].rows[&group].clone();
        world.publish(ALICE, group, "carol has it, and bob has not");
        world.run_for(3_000);
        world.partition(&[CAROL]);
        world.put_back(ALICE, group, copy, true);
        world.cut.remove(&(ALICE, BOB));
        let deadline = world.now + 10_000;
        assert!(world.run_until(deadline, |world| world.connected(ALICE, BOB)));
        world.run_for(5_000);
        assert!(in_doubt(&world, &group), "bob has answered, and knows less than the copy");
        assert!(matches!(world.answer_claim(ALICE, group, "too early", None), Err(Failure::InDoubt(_))));
        world.heal();
        let deadline = world.now + 10_000;
        assert!(world.run_until(deadline, |world| !in_doubt(world, &group)));
        world.publish(ALICE, group, "and on it goes");
        world.settle();
        assert_no_fork(&world, &group);
        world.assert_no_faults();
    });
}
