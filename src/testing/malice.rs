//! Stories with members and peers that are not honest: who they hurt, and who learns of it.

use super::act::claim;
use super::evil::Evil;
use super::world::World;
use crate::chain::transaction::Claim;
use crate::chain::{GroupId, LineKey, ObjectAt, ObjectHash, Role, Transaction, Unverified, rows};
use crate::identity::Identity;
use crate::kv::Memory;
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Task;
use crate::node::io::{InboundId, Input, Notice, Output, Severity};
use crate::wire::{Have, Presences, Probe, Pull, Push, Refused, Request, Response, WantBlocks, WantObjects};

const ALICE: usize = 0;
const BOB: usize = 1;
const EVE: usize = 2;

/// What a second machine of a node writes on a copy of the rows: each of its blocks makes a fork deeper.
fn twin(
    world: &World,
    of: usize,
    group: GroupId,
    from: &Memory,
    blocks: usize,
    text: &str,
) -> (Vec<Unverified>, Vec<Vec<u8>>) {
    let author = world.nodes[of].id;
    let (mut tasks, mut objects) = (vec![], vec![]);
    for number in 0..blocks {
        let (transaction, object) = claim(&format!("{text} {number}"), None);
        objects.push(object.clone());
        tasks.push(Task::Write { group, author, transactions: vec![transaction], objects: vec![object] });
    }
    (super::evil::twin(&world.nodes[of], group, from, world.clock(of), tasks), objects)
}

fn give(world: &mut World, to: usize, group: GroupId, from: Identity, blocks: &[Unverified], objects: &[Vec<u8>]) {
    for (blocks, objects) in blocks.chunks(50).zip(objects.chunks(50)) {
        world.slip_in(to, group, from, blocks.to_vec(), objects.to_vec());
    }
}

/// Eve signs two lines of these lengths; Alice hears of one and Bob of the other.
fn fork(seed: u64, left: usize, right: usize, words: usize) {
    let mut world = World::new(seed, 3);
    let group = world.found_with_all();
    world.settle();
    for round in 0..5 {
        world.publish(EVE, group, &format!("honest {round}"));
    }
    world.settle();
    let before = world.nodes[EVE].rows[&group].clone();
    let eve = world.nodes[EVE].id;
    world.partition(&[BOB]);
    world.partition(&[EVE]);
    world.run_for(6_000);
    let filler = "x".repeat(words);
    for (to, length, text) in [(ALICE, left, "left"), (BOB, right, "right")] {
        let (blocks, objects) = twin(&world, EVE, group, &before, length, &format!("{filler} {text}"));
        give(&mut world, to, group, eve, &blocks, &objects);
    }
    world.run_for(100);
    let mut honest = Vec::new();
    for name in [ALICE, BOB] {
        honest.push(world.publish(name, group, "honest work goes on"));
    }
    world.cut.remove(&(ALICE, BOB));
    world.nodes[EVE].evil = Some(Evil::Nowhere);
    world.settle_as_it_is();
    assert!(world.connected(ALICE, BOB) && world.faults.is_empty(), "{:?}", world.faults);
    for claim in honest {
        assert!(world.has_claim(ALICE, &group, &claim) && world.has_claim(BOB, &group, &claim));
    }
    let rows = &world.nodes[ALICE].rows[&group];
    let seals = state::sealing(rows).unwrap().unwrap().epoch;
    let blocks = rows::counters(rows).unwrap().blocks - seals;
    assert_eq!(blocks as usize, 3 + 5 + left + right + 2, "both branches are kept");
}

#[test]
fn honest_nodes_agree_on_a_fork_of_any_depth() {
    super::each_seed(4, |seed| {
        fork(seed, 1, 1, 1);
        fork(seed, 3, 30, 1);
        fork(seed, 300, 20, 1);
    });
    super::each_seed(1, |seed| {
        fork(seed, 600, 600, 1);
        fork(seed, 1, 600, 1);
    });
}

#[test]
fn a_fork_of_several_batches_goes_on_where_it_was() {
    super::each_seed(1, |seed| {
        fork(seed, 150, 150, 60_000);
        fork(seed, 300, 20, 60_000);
    });
}

#[test]
fn more_branches_than_a_frontier_names_bar_nobody() {
    super::each_seed(4, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        let before = world.nodes[EVE].rows[&group].clone();
        let eve = world.nodes[EVE].id;
        world.partition(&[BOB]);
        world.partition(&[EVE]);
        world.run_for(6_000);
        for branch in 0..40 {
            let (blocks, objects) = twin(&world, EVE, group, &before, 1 + branch % 3, &format!("branch {branch}"));
            give(&mut world, branch % 2, group, eve, &blocks, &objects);
        }
        world.cut.remove(&(ALICE, BOB));
        world.nodes[EVE].evil = Some(Evil::Nowhere);
        world.settle_as_it_is();
        world.assert_no_faults();
        let claim = world.publish(BOB, group, "goes on");
        let deadline = world.now + 500;
        assert!(world.run_until(deadline, |world| world.has_claim(ALICE, &group, &claim)));
    });
}

#[test]
fn a_peer_that_answers_badly_is_blamed_and_the_others_agree() {
    super::each_seed(6, |seed| {
        for evil in Evil::ALL {
            let mut world = World::new(seed, 4);
            let group = world.found_with_all();
            world.settle();
            world.nodes[EVE].evil = Some(evil);
            let eve = world.nodes[EVE].id;
            world.partition(&[3]);
            let mut claims = Vec::new();
            for round in 0..10 {
                for name in [ALICE, BOB, 3] {
                    claims.push(world.publish(name, group, &format!("{name} {round}")));
                }
                world.run_for(1_500);
            }
            world.settle();
            for name in [ALICE, BOB, 3] {
                assert!(claims.iter().all(|claim| world.has_claim(name, &group, claim)));
            }
            assert!(world.faults.iter().all(|(_, peer, ..)| *peer == eve), "{evil:?}: {:?}", world.faults);
            assert!(!world.faults.is_empty(), "{evil:?} is not blamed");
        }
    });
}

#[test]
fn who_brings_the_parent_is_not_blamed_for_a_bad_block_that_waits_for_it() {
    let mut world = World::new(1, 3);
    let group = world.found_with_all();
    world.settle();
    // Eve knows a block of Alice that Bob does not, and builds a bad one on it.
    world.partition(&[BOB]);
    world.publish(ALICE, group, "the parent");
    world.run_for(6_000);
    let eve = world.nodes[EVE].id;
    for _ in 0..2 {
        let bad = super::evil::next_block(&world.nodes[EVE], world.clock(EVE), 9);
        world.slip_in(BOB, group, eve, vec![bad], vec![]);
        world.run_for(10);
    }
    world.cut.insert((BOB, EVE));
    world.cut.remove(&(ALICE, BOB));
    world.settle_as_it_is();
    assert!(world.faults.iter().all(|(_, peer, ..)| *peer == eve), "{:?}", world.faults);
}

#[test]
fn a_stranger_learns_nothing() {
    let mut world = World::new(3, 3);
    let group = world.found(ALICE, "secret");
    world.add(ALICE, group, BOB, Role::Member).unwrap();
    world.join(BOB, group);
    let words = world.publish(ALICE, group, "nobody's business");
    world.settle();
    let unknown = GroupId::from_bytes([9; 32]);
    let block = crate::chain::BlockId::from_bytes(*group.as_bytes());
    let stranger = world.nodes[EVE].id;
    let ask = |world: &mut World, group: GroupId, kind: usize| -> Vec<Output> {
        let request = match kind % 7 {
            0 => Request::Probe(Probe { group, digest: serde_bytes::ByteBuf::from(vec![0; 32]) }),
            1 => Request::Pull(Pull { group, frontier: vec![] }),
            2 => Request::WantBlocks(WantBlocks { group, ids: vec![block] }),
            3 => Request::WantObjects(WantObjects { group, objects: vec![ObjectAt { block, index: 0 }] }),
            4 => Request::Push(Push { group, blocks: vec![], objects: vec![] }),
            5 => Request::Presences(Presences { group, records: vec![] }),
            _ => Request::Have(Have { group, tips: vec![] }),
        };
        let (now, id) = (world.now, InboundId(1_000_000 + kind as u64));
        let World { nodes, rng, .. } = world;
        nodes[ALICE].machine.step(now, rng, Input::Asked { peer: stranger, id, request, clock_ms: 0 })
    };
    for kind in 0..600 {
        let known = format!("{:?}", ask(&mut world, group, kind));
        assert_eq!(known, format!("{:?}", ask(&mut world, unknown, kind)));
        let id = InboundId(1_000_000 + kind as u64);
        let nothing = vec![Output::Answer { id, response: Response::Refused(Refused::NotShared) }];
        assert_eq!(known, format!("{nothing:?}"));
    }
    let served = crate::node::serve::serve(
        &world.nodes[ALICE].rows[&group],
        &[stranger],
        Request::Pull(Pull { group, frontier: vec![] }),
    );
    assert_eq!(served.unwrap(), Response::Refused(Refused::NotShared));
    assert!(!world.has_claim(EVE, &group, &words));
}

#[test]
fn a_clock_that_is_ahead_is_waited_for() {
    let mut world = World::new(5, 2);
    let group = world.found_with_all();
    world.settle();
    world.nodes[ALICE].skew_ms = limits::MAX_CLOCK_DRIFT_MS as i64 + 20_000;
    let claim = world.publish(ALICE, group, "from the future");
    world.run_for(15_000);
    assert!(!world.has_claim(BOB, &group, &claim));
    assert!(world.faults.iter().all(|(_, _, severity, _)| *severity == Severity::Low), "{:?}", world.faults);
    assert!(!world.faults.is_empty(), "nobody is told");
    let deadline = world.now + 30_000;
    assert!(world.run_until(deadline, |world| world.has_claim(BOB, &group, &claim)));
    assert!(world.nodes.iter().all(|node| node.banned.is_empty()));
}

#[test]
fn claims_without_words_do_not_hide_those_that_have_them() {
    let mut world = World::new(8, 3);
    let group = world.found_with_all();
    world.settle();
    let fakes: Vec<Transaction> = (0..600u32)
        .map(|number| {
            // Low hashes, as somebody would choose them who wants to be asked for first.
            let mut hash = [0; 32];
            hash[28..].copy_from_slice(&number.to_be_bytes());
            Transaction::Claim(Claim {
                object: ObjectHash::from_bytes(hash),
                size: 9,
                parent: None,
                rewarded: None,
                supersedes: vec![],
            })
        })
        .collect();
    world.write(EVE, group, fakes, vec![]).unwrap();
    world.run_for(2_000);
    // A block that Bob gets without its words.
    let (transaction, object) = claim("words", None);
    let written = world.write(ALICE, group, vec![transaction], vec![]).unwrap();
    let deadline = world.now + 500;
    assert!(world.run_until(deadline, |world| world.has_claim(BOB, &group, &written.claims[0])));
    let placed = rows::placed(&world.nodes[ALICE].rows[&group], &written.blocks[0]).unwrap().unwrap();
    let line = LineKey::new(&placed.author, placed.seq, &written.blocks[0]);
    let mut changed = crate::kv::Overlay::new(&world.nodes[ALICE].rows[&group]);
    rows::set_object(&mut changed, &line, 0, object);
    let changes = changed.into_changes();
    world.nodes[ALICE].rows.get_mut(&group).unwrap().commit(changes);
    let sent = world.sent.get("want_objects").copied().unwrap_or(0);
    let deadline = world.now + 6 * super::world::INTERVAL_MS;
    let came = |world: &World| rows::object(&world.nodes[BOB].rows[&group], &line, 0).unwrap().is_some();
    assert!(world.run_until(deadline, came), "the words are never asked for");
    assert!(world.sent["want_objects"] - sent < 60, "{} requests", world.sent["want_objects"] - sent);
}

#[test]
fn the_notices_of_a_pull_add_up() {
    let mut world = World::new(6, 2);
    let group = world.found(ALICE, "notices");
    for round in 0..50 {
        world.publish(ALICE, group, &format!("{round}"));
    }
    world.add(ALICE, group, BOB, Role::Member).unwrap();
    world.join(BOB, group);
    world.settle();
    let taken: usize = world.nodes[BOB]
        .notices
        .iter()
        .map(|notice| if let Notice::CaughtUp { blocks, .. } = notice { *blocks } else { 0 })
        .sum();
    assert_eq!(taken, 52);
}

#[test]
fn a_stranger_that_sends_blocks_which_build_on_nothing_does_not_hold_up_a_join() {
    super::each_seed(5, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found(ALICE, "notes");
        let claim = world.publish(ALICE, group, "here");
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        world.nodes[EVE].evil = Some(Evil::Rootless(group));
        // She is there first, and has the group's only pull.
        world.partition(&[ALICE]);
        world.join(BOB, group);
        let deadline = world.now + 20_000;
        assert!(world.run_until(deadline, |world| world.connected(BOB, EVE)));
        world.run_for(1_000);
        world.heal();
        let deadline = world.now + 20_000;
        assert!(world.run_until(deadline, |world| world.has_claim(BOB, &group, &claim)), "{}", world.open());
    });
}
