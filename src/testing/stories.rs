//! Stories that read like the protocol.

use super::world::World;
use crate::chain::Role;
use crate::node::engine::Failure;

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;

#[test]
fn alice_founds_adds_bob_and_both_hold_the_same() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 2);
        let group = world.found(ALICE, "notes");
        let first = world.publish(ALICE, group, "water boils at 100 degrees");
        world.join(BOB, group);
        world.run_for(2_000);
        let deadline = world.now + 20_000;
        assert!(world.run_until(deadline, |world| world.connected(ALICE, BOB)));
        assert!(!world.has_claim(BOB, &group, &first), "bob is no member yet");
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        let deadline = world.now + 1_000;
        assert!(world.run_until(deadline, |world| world.has_claim(BOB, &group, &first)), "bob learns of it at once");
        let answer = world.answer_claim(BOB, group, "at sea level", Some(first)).unwrap();
        let deadline = world.now + 200;
        assert!(world.run_until(deadline, |world| world.has_claim(ALICE, &group, &answer)), "and so does alice");
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn what_both_sides_of_a_partition_write_stands() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.settle();
        world.partition(&[0, 1]);
        let mut claims = Vec::new();
        for round in 0..20 {
            for name in 0..4 {
                claims.push(world.publish(name, group, &format!("{name} in {round}")));
            }
            world.run_for(300);
        }
        assert!(world.unlike(&group).is_some());
        world.settle();
        for name in 0..4 {
            for claim in &claims {
                assert!(world.has_claim(name, &group, claim));
            }
        }
        world.assert_no_faults();
    });
}

#[test]
fn a_chain_of_three_carries_both_ways() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        world.cut.insert((ALICE, CAROL));
        let group = world.found(ALICE, "chain");
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        world.add(ALICE, group, CAROL, Role::Member).unwrap();
        world.join(BOB, group);
        world.join(CAROL, group);
        world.settle_as_it_is();
        let from_alice = world.publish(ALICE, group, "from alice");
        let from_carol = world.publish(CAROL, group, "from carol");
        let deadline = world.now + 1_000;
        assert!(world.run_until(deadline, |world| {
            world.has_claim(CAROL, &group, &from_alice) && world.has_claim(ALICE, &group, &from_carol)
        }));
        assert!(!world.connected(ALICE, CAROL));
        world.settle_as_it_is();
        world.assert_no_faults();
    });
}

#[test]
fn a_hub_tells_all_of_its_spokes() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 10);
        for a in 1..10 {
            for b in a + 1..10 {
                world.cut.insert((a, b));
            }
        }
        let group = world.found_with_all();
        world.settle_as_it_is();
        let claim = world.publish(1, group, "from a spoke");
        let deadline = world.now + 4_000;
        let all = |world: &World| (0..10).all(|name| world.has_claim(name, &group, &claim));
        assert!(world.run_until(deadline, all), "a spoke waits for its next repair pull");
        world.assert_no_faults();
    });
}

#[test]
fn who_joins_late_gets_everything() {
    super::each_seed(3, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found(ALICE, "old");
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        world.join(BOB, group);
        world.settle();
        for round in 0..150 {
            world.publish(ALICE, group, &format!("a {round}"));
            world.publish(BOB, group, &format!("b {round}"));
        }
        world.add(ALICE, group, CAROL, Role::Viewer).unwrap();
        world.join(CAROL, group);
        let deadline = world.now + 3_000;
        assert!(world.run_until(deadline, |world| world.claims(CAROL, &group).len() == 300));
        let refused = world.answer_claim(CAROL, group, "no", None).unwrap_err();
        assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "viewer_cannot_write"));
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn a_burst_of_single_writes_is_there_at_once() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        world.weather.delay_ms = 1..100;
        let claims: Vec<_> = (0..60).map(|round| world.publish(BOB, group, &format!("{round}"))).collect();
        let deadline = world.now + 2_000;
        let all = |world: &World| claims.iter().all(|claim| world.has_claim(CAROL, &group, claim));
        assert!(world.run_until(deadline, all), "carol waits for her next repair pull");
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn a_new_member_writes_before_all_know_it() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found(ALICE, "new");
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        world.join(BOB, group);
        world.settle();
        world.cut.insert((ALICE, BOB));
        world.add(ALICE, group, CAROL, Role::Member).unwrap();
        world.join(CAROL, group);
        let deadline = world.now + 2_000;
        assert!(world.run_until(deadline, |world| world.is_founded(CAROL, &group)));
        for round in 0..80 {
            world.publish(CAROL, group, &format!("{round}"));
        }
        world.run_for(1_000);
        world.settle();
        assert_eq!(world.claims(BOB, &group).len(), 80);
        world.assert_no_faults();
    });
}

#[test]
fn a_lost_push_is_made_good_soon() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 2);
        let group = world.found_with_all();
        world.settle();
        world.weather.loss = 1.0;
        let claim = world.publish(ALICE, group, "lost");
        world.run_for(500);
        world.settle();
        assert!(world.has_claim(BOB, &group, &claim));
        world.assert_no_faults();
    });
}

#[test]
fn a_member_is_removed_while_it_writes() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        for round in 0..5 {
            world.publish(CAROL, group, &format!("{round}"));
        }
        world.partition(&[CAROL]);
        world.remove(ALICE, group, CAROL).unwrap();
        world.publish(CAROL, group, "she does not know");
        world.run_for(5_000);
        world.heal();
        world.publish(CAROL, group, "still not");
        world.run_for(500);
        world.publish(BOB, group, "bob goes on");
        world.settle();
        assert!(world.pairs_are(&group, &[(ALICE, BOB)]));
        world.assert_no_faults();
    });
}

#[test]
fn roles_change_and_claims_are_taken_back() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        let wrong = world.publish(BOB, group, "wrong");
        let run = world.experience(BOB, group, b"a run").unwrap();
        world.settle();
        let refused = world.retract(CAROL, group, wrong).unwrap_err();
        assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "not_your_claim"));
        world.set_role(ALICE, group, CAROL, Role::Admin).unwrap();
        world.settle();
        world.retract(CAROL, group, wrong).unwrap();
        // Who seals is not removed before it has handed over.
        let refused = world.remove(CAROL, group, ALICE).unwrap_err();
        assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "is_notary"));
        world.hand_over(ALICE, group, CAROL).unwrap();
        world.settle();
        world.remove(CAROL, group, ALICE).unwrap();
        world.settle();
        assert!(world.pairs_are(&group, &[(BOB, CAROL)]), "alice is out");
        let rows = &world.nodes[BOB].rows[&group];
        let carol = world.nodes[CAROL].id;
        assert_eq!(crate::ledger::state::claim(rows, &wrong).unwrap().unwrap().retracted_by, Some(carol));
        assert_eq!(run.claims.len(), 1);
        world.assert_no_faults();
    });
}

#[test]
fn who_is_removed_hears_of_it_and_writes_no_more_into_the_void() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        world.remove(ALICE, group, BOB).unwrap();
        let deadline = world.now + 1_000;
        let refused = |world: &World| {
            let bob = world.nodes[BOB].key.identity();
            crate::ledger::state::member(&world.nodes[BOB].rows[&group], &bob).unwrap().is_none()
        };
        assert!(world.run_until(deadline, refused), "bob is told");
        let written = world.answer_claim(BOB, group, "am I still here?", None);
        assert!(matches!(written, Err(Failure::Refused(crate::ledger::Refusal::NotAMember(_)))), "{written:?}");
    });
}
