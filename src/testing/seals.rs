//! Stories of what is final, and of members who could not see each other or were not honest.

use super::act::claim;
use super::evil;
use super::world::World;
use crate::chain::transaction::Unfreeze;
use crate::chain::{BlockId, GroupId, OrderKey, Role, Transaction, Unverified, rows};
use crate::kv::{Memory, Read, Table};
use crate::ledger::{OrderRow, Outcome, Refusal, arrange, state};
use crate::limits;
use crate::node::engine::{Failure, Task};

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const DAVE: usize = 3;

impl World {
    fn rows(&self, name: usize, group: &GroupId) -> &Memory {
        &self.nodes[name].rows[group]
    }

    fn is_final(&self, name: usize, group: &GroupId, block: &BlockId) -> bool {
        arrange::is_final(self.rows(name, group), block).unwrap()
    }

    fn open_blocks(&self, name: usize, group: &GroupId) -> u64 {
        rows::counters(self.rows(name, group)).unwrap().open()
    }

    fn outcome(&self, name: usize, group: &GroupId, block: &BlockId) -> Outcome {
        let is_it = |key: &[u8]| OrderKey::from_bytes(key).unwrap().id == *block;
        let (key, row) = self.rows(name, group).rows(Table::Order).iter().find(|(key, _)| is_it(key)).unwrap();
        rows::parse_row::<OrderRow>(Table::Order, key, row).unwrap().outcome
    }

    fn is_frozen(&self, name: usize, group: &GroupId, who: usize) -> bool {
        let key = state::frozen_key(&self.nodes[who].id);
        self.rows(name, group).get(Table::State, &key).unwrap().is_some()
    }

    fn unfreeze(&mut self, name: usize, group: GroupId, who: usize) -> Result<(), Failure> {
        let unfreeze = Unfreeze { identity: self.nodes[who].id };
        self.write(name, group, vec![Transaction::Unfreeze(unfreeze)], vec![]).map(drop)
    }

    /// What a second machine of a node writes on a copy of its rows, by a clock that is behind: one block for each text.
    fn lies(
        &self,
        of: usize,
        group: GroupId,
        copy: &Memory,
        behind_ms: u64,
        texts: &[&str],
    ) -> Vec<(Unverified, Vec<u8>)> {
        let author = self.nodes[of].id;
        let said: Vec<_> = texts.iter().map(|text| claim(text, None)).collect();
        let task = |(transaction, object): &(Transaction, Vec<u8>)| Task::Write {
            group,
            author,
            transactions: vec![transaction.clone()],
            objects: vec![object.clone()],
        };
        let tasks = said.iter().map(task).collect();
        let blocks = evil::twin(&self.nodes[of], group, copy, self.clock(of) - behind_ms, tasks);
        blocks.into_iter().zip(said.into_iter().map(|(_, object)| object)).collect()
    }

    fn slip(&mut self, to: usize, group: GroupId, from: usize, lies: &[(Unverified, Vec<u8>)]) {
        let (blocks, objects) = lies.iter().cloned().unzip();
        self.slip_in(to, group, self.nodes[from].id, blocks, objects);
    }
}

fn id(block: &Unverified) -> BlockId {
    BlockId::of(&block.body)
}

#[test]
fn while_the_notary_is_away_the_group_works_and_says_that_it_waits() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        world.partition(&[ALICE]);
        let mut claims = Vec::new();
        for round in 0..10 {
            for name in [BOB, CAROL] {
                claims.push(world.publish(name, group, &format!("{name} {round}")));
            }
            world.run_for(1_000);
        }
        let deadline = world.now + 20_000;
        let all = |world: &World| {
            [BOB, CAROL].iter().all(|name| claims.iter().all(|claim| world.has_claim(*name, &group, claim)))
        };
        assert!(world.run_until(deadline, all));
        assert_eq!((world.open_blocks(BOB, &group), world.open_blocks(CAROL, &group)), (20, 20));
        let open: Vec<BlockId> =
            claims.iter().map(|claim| state::claim(world.rows(BOB, &group), claim).unwrap().unwrap().block).collect();
        assert!(open.iter().all(|block| !world.is_final(BOB, &group, block)));
        world.heal();
        let deadline = world.now + 15_000;
        let all = |world: &World| (0..3).all(|name| open.iter().all(|block| world.is_final(name, &group, block)));
        assert!(world.run_until(deadline, all), "she is back, and nothing is sealed");
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn the_notary_hands_over_in_the_middle_of_a_partition() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.set_role(ALICE, group, BOB, Role::Admin).unwrap();
        world.settle();
        world.partition(&[BOB, DAVE]);
        world.publish(DAVE, group, "with bob");
        world.hand_over(ALICE, group, BOB).unwrap();
        world.run_for(1_000);
        // The hand-over is sealed by who hands over; what comes behind it waits for the new one.
        let sealing = state::sealing(world.rows(ALICE, &group)).unwrap().unwrap();
        assert_eq!(sealing.sealer, world.nodes[BOB].id);
        world.publish(CAROL, group, "behind it");
        world.run_for(5_000);
        assert_eq!(world.open_blocks(ALICE, &group), 1);
        assert!(world.open_blocks(BOB, &group) > 0, "bob does not know yet");
        world.settle();
        let sealing = state::sealing(world.rows(DAVE, &group)).unwrap().unwrap();
        assert_eq!(sealing.sealer, world.nodes[BOB].id);
        // Alice is not needed any more.
        world.partition(&[ALICE]);
        let claim = world.publish(CAROL, group, "without alice");
        let block = state::claim(world.rows(CAROL, &group), &claim).unwrap().unwrap().block;
        let deadline = world.now + 15_000;
        assert!(world.run_until(deadline, |world| world.is_final(CAROL, &group, &block)));
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn of_two_seals_with_one_number_every_node_takes_the_same() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.settle();
        world.notary_forks = true;
        let copy = world.rows(ALICE, &group).clone();
        // Bob hears of one seal from Alice herself, and Dave of another from her second machine.
        world.partition(&[DAVE]);
        world.publish(BOB, group, "under the first");
        world.run_for(4_000);
        let author = world.nodes[ALICE].id;
        let (transaction, object) = claim("under the second", None);
        let write = Task::Write { group, author, transactions: vec![transaction], objects: vec![object.clone()] };
        let tasks = if seed.is_multiple_of(2) {
            vec![write, Task::Seal { group }]
        } else {
            vec![Task::Seal { group }, write, Task::Seal { group }]
        };
        let blocks = evil::twin(&world.nodes[ALICE], group, &copy, world.clock(ALICE), tasks);
        assert!(blocks.len() >= 2);
        world.slip_in(DAVE, group, author, blocks, vec![object]);
        world.run_for(100);
        world.settle();
        for name in 0..4 {
            assert!(world.is_frozen(name, &group, ALICE), "node {name} has not seen it");
        }
        // The group goes on, and once somebody has seen both branches both are final.
        world.publish(CAROL, group, "having seen all");
        let deadline = world.now + 10_000;
        assert!(world.run_until(deadline, |world| (0..4).all(|name| world.open_blocks(name, &group) == 0)));
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn two_admins_remove_each_other_and_one_is_out_on_every_node() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.set_role(ALICE, group, BOB, Role::Admin).unwrap();
        world.set_role(ALICE, group, CAROL, Role::Admin).unwrap();
        world.settle();
        world.partition(&[BOB]);
        world.partition(&[CAROL]);
        world.run_for(6_000);
        let by_bob = world.remove(BOB, group, CAROL).unwrap().blocks[0];
        let by_carol = world.remove(CAROL, group, BOB).unwrap().blocks[0];
        world.heal();
        world.settle();
        let in_group = |name: usize, who: usize| world.nodes[name].is_member(&group, &world.nodes[who].id);
        let bob_stays = in_group(ALICE, BOB);
        assert_ne!(bob_stays, in_group(ALICE, CAROL), "one is out, and one is not");
        let (winner, loses, loser) = if bob_stays { (BOB, by_carol, CAROL) } else { (CAROL, by_bob, BOB) };
        let refused = Outcome::Refused(0, Refusal::NotAMember(world.nodes[loser].id));
        for name in [ALICE, DAVE, winner] {
            // The loser's block may not reach whoever no longer takes it for a member.
            if rows::placed(world.rows(name, &group), &loses).unwrap().is_some() {
                assert_eq!(world.outcome(name, &group, &loses), refused);
            }
        }
        assert!(world.pairs_are(&group, &[(ALICE, winner), (ALICE, DAVE), (winner, DAVE)]));
        world.assert_no_faults();
    });
}

#[test]
fn what_a_removed_member_dates_back_lands_behind_the_seal() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.settle();
        let before = world.publish(CAROL, group, "as a member");
        world.settle();
        let copy = world.rows(CAROL, &group).clone();
        world.publish(BOB, group, "meanwhile");
        let removal = world.remove(ALICE, group, CAROL).unwrap().blocks[0];
        let deadline = world.now + 5_000;
        assert!(world.run_until(deadline, |world| {
            [ALICE, BOB, DAVE].iter().all(|name| world.is_final(*name, &group, &removal))
        }));
        // Lower than the removal and dated before it: without the seal it would come first.
        let lies = world.lies(CAROL, group, &copy, 60_000, &["never removed", "never at all"]);
        world.slip(BOB, group, CAROL, &lies);
        world.run_for(100);
        world.publish(BOB, group, "having seen it");
        world.settle();
        let refused = Outcome::Refused(0, Refusal::NotAMember(world.nodes[CAROL].id));
        for name in [ALICE, BOB, DAVE] {
            assert!(world.has_claim(name, &group, &before), "what was final stays");
            for (block, _) in &lies {
                assert_eq!(world.outcome(name, &group, &id(block)), refused);
                assert!(world.is_final(name, &group, &id(block)));
            }
        }
        world.assert_no_faults();
    });
}

#[test]
fn what_an_admin_does_while_it_is_made_less_has_one_outcome() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found(ALICE, "roles");
        for (other, role) in [(BOB, Role::Admin), (CAROL, Role::Member)] {
            world.add(ALICE, group, other, role).unwrap();
            world.join(other, group);
        }
        world.settle();
        world.partition(&[BOB]);
        world.run_for(6_000);
        let added = world.add(BOB, group, DAVE, Role::Member).unwrap().blocks[0];
        world.join(DAVE, group);
        world.set_role(ALICE, group, BOB, Role::Viewer).unwrap();
        // Whether Bob's block comes before the change of his role is decided by the seal: his was not seen by it.
        world.run_for(4_000);
        world.settle();
        let refused = Outcome::Refused(0, Refusal::NotAnAdmin(world.nodes[BOB].id));
        for name in [ALICE, BOB, CAROL] {
            assert_eq!(world.outcome(name, &group, &added), refused);
            assert!(!world.nodes[name].is_member(&group, &world.nodes[DAVE].id));
        }
        let lost = world.answer_claim(BOB, group, "a viewer writes", None).unwrap_err();
        assert!(matches!(lost, Failure::Refused(refusal) if refusal.code() == "viewer_cannot_write"));
        world.assert_no_faults();
    });
}

#[test]
fn who_signs_twice_is_frozen_everywhere_until_an_admin_lifts_it() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        world.publish(CAROL, group, "honest");
        world.settle();
        let copy = world.rows(CAROL, &group).clone();
        world.publish(CAROL, group, "one");
        world.settle();
        let frozen = |world: &World| (0..3).map(|name| world.is_frozen(name, &group, CAROL)).collect::<Vec<_>>();
        assert_eq!(frozen(&world), [false; 3]);
        // The second machine writes three blocks, and the first of them comes out.
        let lies = world.lies(CAROL, group, &copy, 0, &["other", "and on", "and on"]);
        world.slip(BOB, group, CAROL, &lies[..1]);
        world.run_for(100);
        world.settle();
        assert_eq!(frozen(&world), [true; 3]);
        let refused = world.unfreeze(CAROL, group, CAROL).unwrap_err();
        assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "not_an_admin"));
        world.unfreeze(ALICE, group, CAROL).unwrap();
        world.settle();
        assert_eq!(frozen(&world), [false; 3]);
        let refused = world.unfreeze(ALICE, group, CAROL).unwrap_err();
        assert!(matches!(refused, Failure::Refused(refusal) if refusal.code() == "not_frozen"));
        let goes_on = world.publish(CAROL, group, "goes on");
        // What comes late of the branch that does not count proves nothing new.
        world.slip(BOB, group, CAROL, &lies[1..]);
        world.run_for(100);
        world.settle();
        assert_eq!(frozen(&world), [false; 3]);
        for name in 0..3 {
            assert!(world.has_claim(name, &group, &goes_on));
            for (block, _) in &lies {
                let outcome = world.outcome(name, &group, &id(block));
                assert_eq!(outcome, Outcome::Refused(0, Refusal::Equivocation(world.nodes[CAROL].id)));
                let dead = state::dead_key(&id(block));
                assert!(world.rows(name, &group).get(Table::State, &dead).unwrap().is_some());
            }
        }
        // A third branch does.
        let lies = world.lies(CAROL, group, &copy, 0, &["a third"]);
        world.slip(ALICE, group, CAROL, &lies);
        world.run_for(100);
        world.settle();
        assert_eq!(frozen(&world), [true; 3]);
        world.assert_no_faults();
    });
}

#[test]
fn a_notary_whose_clock_was_wrong_seals_again_once_it_is_right() {
    let mut world = World::new(1, 2);
    let group = world.found_with_all();
    world.settle();
    world.nodes[ALICE].skew_ms = limits::MAX_CLOCK_DRIFT_MS as i64 - 1_000;
    world.publish(ALICE, group, "ahead");
    world.run_for(5_000);
    world.publish(BOB, group, "waits");
    // Her own line is ahead of her clock by more than a block may be: she tries in vain, for a while.
    world.nodes[ALICE].skew_ms = -9_000;
    world.run_for(6_000);
    assert_eq!(world.open_blocks(BOB, &group), 1);
    world.settle();
    world.assert_no_faults();
}

#[test]
fn who_writes_without_a_pause_is_sealed_all_the_same() {
    let mut world = World::new(2, 2);
    let group = world.found_with_all();
    world.settle();
    let mut blocks = Vec::new();
    for round in 0..20 {
        let claim = world.publish(BOB, group, &format!("{round}"));
        blocks.push(state::claim(world.rows(BOB, &group), &claim).unwrap().unwrap().block);
        world.run_for(500);
    }
    assert!(blocks[..10].iter().all(|block| world.is_final(BOB, &group, block)));
    assert!(!world.is_final(BOB, &group, &blocks[19]), "one seal for all that comes meanwhile");
    world.settle();
}
