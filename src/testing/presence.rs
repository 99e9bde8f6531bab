//! Stories of presence: who sees whom, how soon, and what it costs.

use rand::RngExt;

use super::node::Name;
use super::world::World;
use crate::chain::{GroupId, Role, rows};
use crate::limits;
use crate::node::io::{InboundId, Input, Notice, Output, Severity};
use crate::presence::{Presence, Status, Unverified};
use crate::wire::{Presences, Refused, Request, Response};

const ALICE: Name = 0;
const BOB: Name = 1;
const CAROL: Name = 2;
const SECOND_MS: u64 = 1_000;
const HOUR_MS: i64 = 3_600_000;

impl World {
    /// Everybody sees a member's status within a second.
    fn all_see(&mut self, group: &GroupId, of: Name, status: Status) {
        let deadline = self.now + SECOND_MS;
        let all = |world: &World| (0..world.nodes.len()).all(|at| world.said(at, group, of) == Some(status));
        let saw: Vec<_> = (0..self.nodes.len()).map(|at| self.said(at, group, of)).collect();
        assert!(self.run_until(deadline, all), "not all see that {of} is {status}; before: {saw:?}");
    }

    fn presence_messages(&self) -> usize {
        self.sent.get("presences").copied().unwrap_or(0)
    }
}

#[test]
fn what_a_member_says_is_seen_by_all_within_a_second() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.settle();
        for (name, status) in [(BOB, Status::Active), (ALICE, Status::Idle), (BOB, Status::Busy)] {
            world.say(name, group, status);
            assert_eq!(world.said(name, &group, name), Some(status), "at once at home");
            world.all_see(&group, name, status);
        }
        world.assert_no_faults();
    });
}

#[test]
fn who_is_not_connected_to_the_author_sees_it_as_soon() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        world.cut.insert((ALICE, CAROL));
        let group = world.found_with_all();
        world.settle_as_it_is();
        world.say(ALICE, group, Status::Active);
        world.say(CAROL, group, Status::Idle);
        world.all_see(&group, ALICE, Status::Active);
        world.all_see(&group, CAROL, Status::Idle);
        assert!(!world.connected(ALICE, CAROL));
        world.assert_no_faults();
    });
}

#[test]
fn a_hub_hands_it_on_to_all_spokes() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 20);
        for a in 1..20 {
            for b in a + 1..20 {
                world.cut.insert((a, b));
            }
        }
        let group = world.found_with_all();
        world.settle_as_it_is();
        world.say(7, group, Status::Busy);
        world.all_see(&group, 7, Status::Busy);
        world.assert_no_faults();
    });
}

#[test]
fn who_comes_later_is_told_and_who_goes_is_forgotten() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found(ALICE, "here");
        world.add(ALICE, group, BOB, Role::Member).unwrap();
        world.join(BOB, group);
        world.settle();
        world.say(ALICE, group, Status::Active);
        world.say(BOB, group, Status::Idle);
        world.run_for(SECOND_MS);
        world.join(CAROL, group);
        world.run_for(5 * SECOND_MS);
        assert_eq!(world.said(CAROL, &group, ALICE), None, "carol is no member");
        world.add(ALICE, group, CAROL, Role::Viewer).unwrap();
        let deadline = world.now + 3 * SECOND_MS;
        let sees = |world: &World| [ALICE, BOB].iter().all(|of| world.said(CAROL, &group, *of).is_some());
        assert!(world.run_until(deadline, sees), "carol is told what was said before she came");
        world.say(CAROL, group, Status::Busy);
        world.all_see(&group, CAROL, Status::Busy);
        world.remove(ALICE, group, CAROL).unwrap();
        let deadline = world.now + SECOND_MS;
        let gone = |world: &World| [ALICE, BOB].iter().all(|at| world.said(*at, &group, CAROL).is_none());
        assert!(world.run_until(deadline, gone), "she is no member any more");
        world.say(ALICE, group, Status::Idle);
        world.run_for(5 * SECOND_MS);
        assert_ne!(world.said(CAROL, &group, ALICE), Some(Status::Idle), "and learns nothing any more");
        world.assert_no_faults();
    });
}

#[test]
fn an_hour_of_heartbeats_leaves_nothing_behind() {
    super::each_seed(2, |seed| {
        let mut world = World::new(seed, 3);
        let group = world.found_with_all();
        world.settle();
        // What waited for a seal has it.
        world.run_for(2 * limits::SEAL_INTERVAL_MS);
        let before: Vec<_> = world.nodes.iter().map(|node| rows::counters(&node.rows[&group]).unwrap()).collect();
        let sent = world.presence_messages();
        let events = world.nodes[BOB].notices.iter().filter(|notice| matches!(notice, Notice::Presence(_))).count();
        for _ in 0..3_600 {
            world.say(ALICE, group, Status::Active);
            world.run_for(SECOND_MS);
        }
        for (node, before) in world.nodes.iter().zip(before) {
            assert_eq!(rows::counters(&node.rows[&group]).unwrap(), before);
            assert_eq!(node.machine.presences(&group).count(), 1);
        }
        // Alice tells both, and each of them may tell the other.
        let sent = world.presence_messages() - sent;
        assert!((2 * 3_600..=4 * 3_600 + 10).contains(&sent), "{sent} messages");
        let told = world.nodes[BOB].notices.iter().filter(|notice| matches!(notice, Notice::Presence(_))).count();
        assert_eq!(told, events + 1, "a sign of life is no event");
        world.assert_no_faults();
    });
}

#[test]
fn a_heartbeat_that_runs_wild_does_not_flood() {
    let mut world = World::new(1, 2);
    let group = world.found_with_all();
    world.settle();
    let (sent, started) = (world.presence_messages(), world.now);
    for number in 0..5_000 {
        world.say(ALICE, group, if number % 2 == 0 { Status::Active } else { Status::Busy });
        world.run_for(1);
    }
    world.all_see(&group, ALICE, Status::Busy);
    let least_pauses = (world.now - started) / limits::PRESENCE_PAUSE_MS;
    let sent = (world.presence_messages() - sent) as u64;
    assert!(sent <= least_pauses + 1, "{sent} messages in {} ms", world.now - started);
}

#[test]
fn in_a_mesh_what_all_say_travels_together() {
    let nodes = 12;
    let mut world = World::new(1, nodes);
    let group = world.found_with_all();
    world.settle();
    let before = world.presence_messages();
    for _ in 0..20 {
        for name in 0..nodes {
            world.say(name, group, Status::Active);
        }
        world.run_for(SECOND_MS);
    }
    // Everybody tells everybody, and hands on at once what came from the others meanwhile: about twice a second.
    let a_second = (world.presence_messages() - before) / 20;
    let links = nodes * (nodes - 1);
    assert!((links..=3 * links).contains(&a_second), "{a_second} messages a second over {links} links");
    world.assert_no_faults();
}

#[test]
fn what_was_said_apart_is_exchanged_when_they_meet() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.settle();
        world.partition(&[0, 1]);
        world.run_for(6 * SECOND_MS);
        for name in 0..4 {
            world.say(name, group, Status::Busy);
        }
        world.run_for(2 * SECOND_MS);
        assert_eq!((world.said(0, &group, 1), world.said(0, &group, 2)), (Some(Status::Busy), None));
        world.heal();
        let deadline = world.now + 5 * SECOND_MS;
        let all = |world: &World| (0..4).all(|at| (0..4).all(|of| world.said(at, &group, of).is_some()));
        assert!(world.run_until(deadline, all));
        world.assert_no_faults();
    });
}

#[test]
fn bad_weather_delays_it_and_nobody_is_blamed() {
    super::each_seed(20, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found_with_all();
        world.settle();
        world.weather = super::world::Weather { crash: 0.0, ..super::world::Weather::rough() };
        for round in 0..20 {
            world.say(round % 4, group, Status::Active);
            let pause = world.rng.random_range(1..3_000);
            world.run_for(pause);
        }
        world.say(ALICE, group, Status::Idle);
        world.settle();
        let deadline = world.now + limits::REQUEST_TIMEOUT_MS + limits::PULL_RETRY_MOST_MS;
        let all = |world: &World| (0..4).all(|at| world.said(at, &group, ALICE) == Some(Status::Idle));
        assert!(world.run_until(deadline, all));
        world.assert_no_faults();
    });
}

#[test]
fn after_a_restart_what_is_said_counts_whatever_the_clock_says() {
    super::each_seed(20, |seed| {
        for back_ms in [0, 30_000, HOUR_MS] {
            let mut world = World::new(seed, 3);
            let group = world.found_with_all();
            world.settle();
            world.say(ALICE, group, Status::Active);
            world.all_see(&group, ALICE, Status::Active);
            world.restart(ALICE);
            world.nodes[ALICE].skew_ms -= back_ms;
            assert_eq!(world.said(ALICE, &group, ALICE), None, "nothing is stored");
            world.say(ALICE, group, Status::Idle);
            let deadline = world.now + 5 * SECOND_MS;
            assert!(world.run_until(deadline, |world| world.connected(ALICE, BOB)));
            world.run_for(2 * SECOND_MS);
            if back_ms == 0 {
                world.all_see(&group, ALICE, Status::Idle);
            }
            // Where the clock ran back, the others have given back what they hold: this one is dated after it.
            world.say(ALICE, group, Status::Busy);
            world.all_see(&group, ALICE, Status::Busy);
            world.assert_no_faults();
        }
    });
}

#[test]
fn a_clock_that_was_ahead_and_is_set_right_bars_nobody() {
    let mut world = World::new(1, 2);
    let group = world.found_with_all();
    world.settle();
    world.nodes[ALICE].skew_ms = HOUR_MS;
    world.say(ALICE, group, Status::Active);
    world.run_for(SECOND_MS);
    assert_eq!(world.said(BOB, &group, ALICE), None, "an hour ahead is too far");
    let early = |notice: &Notice| matches!(notice, Notice::EarlyPresence { .. });
    assert!(world.nodes[BOB].notices.iter().any(early));
    world.nodes[ALICE].skew_ms = 0;
    world.say(ALICE, group, Status::Idle);
    world.all_see(&group, ALICE, Status::Idle);
    world.assert_no_faults();
}

// ---- peers that mean harm --------------------------------------------------------------------------------------

/// What Bob's node comes to hold of records that Alice's sends, the answer, and the fault that is found.
fn sent_to_bob(world: &mut World, group: GroupId, records: Vec<Unverified>) -> (Response, Option<Severity>) {
    let (now, clock_ms, peer) = (world.now, world.clock(BOB), world.nodes[ALICE].id);
    let (request, id) = (Request::Presences(Presences { group, records }), InboundId(1_000_000));
    let World { nodes, rng, .. } = world;
    let outputs = nodes[BOB].machine.step(now, rng, Input::Asked { peer, id, request, clock_ms });
    let (mut answer, mut fault) = (None, None);
    for output in outputs {
        match output {
            Output::Answer { response, .. } => assert!(answer.replace(response).is_none(), "two answers"),
            Output::Notice(Notice::Fault { peer: who, severity, .. }) => {
                assert_eq!(who, peer);
                fault = Some(severity);
            }
            _ => {}
        }
    }
    (answer.unwrap(), fault)
}

#[test]
fn what_a_hostile_member_sends_is_refused_and_leaves_nothing() {
    let mut world = World::new(1, 4);
    let group = world.found(ALICE, "here");
    for other in [BOB, CAROL] {
        world.add(ALICE, group, other, Role::Member).unwrap();
        world.join(other, group);
    }
    world.settle();
    let other_group = world.found(ALICE, "elsewhere");
    let clock_ms = world.clock(BOB);
    let keys: Vec<_> = world.nodes.iter().map(|node| node.key.clone()).collect();
    let says = |name: Name, group: GroupId, time_ms: u64| {
        let member = keys[name].identity();
        let presence = Presence { group, member, status: Status::Busy, metadata: None, time_ms };
        presence.sign(&keys[name]).unwrap().to_unverified()
    };
    let malformed = (Response::Refused(Refused::Malformed), Some(Severity::High));
    let mut forged = says(CAROL, group, clock_ms);
    forged.signature[7] ^= 1;
    let mut as_another = says(ALICE, group, clock_ms);
    as_another.signature = says(CAROL, group, clock_ms).signature;
    for (what, record) in [
        ("a forged signature", forged),
        ("another's signature", as_another),
        ("a record of another group", says(CAROL, other_group, clock_ms)),
        ("bytes that are none", Unverified::new(vec![0xff; 100], [0; 64])),
        ("a body without end", Unverified::new(vec![0x86; limits::PRESENCE_BYTES + 1], [0; 64])),
    ] {
        assert_eq!(sent_to_bob(&mut world, group, vec![record]), malformed, "{what}");
        assert_eq!(world.nodes[BOB].machine.presences(&group).count(), 0, "{what}");
        world.run_for(100 * SECOND_MS);
    }
    let twice = vec![says(CAROL, group, clock_ms); 2];
    assert_eq!(sent_to_bob(&mut world, group, twice), malformed, "one member twice");
    assert_eq!(world.said(BOB, &group, CAROL), Some(Status::Busy), "the first was good");

    // No fault: the sender may know better, or not yet.
    let again = (Response::Refused(Refused::Busy(limits::PRESENCE_AGAIN_MS)), None);
    let stranger = says(3, group, clock_ms);
    assert_eq!(sent_to_bob(&mut world, group, vec![stranger]), again);
    assert_eq!(world.said(BOB, &group, 3), None);
    let latest_ms = world.clock(BOB) + limits::MAX_CLOCK_DRIFT_MS;
    let early = says(ALICE, group, latest_ms + 1);
    assert_eq!(sent_to_bob(&mut world, group, vec![early]), (Response::Taken, None));
    assert_eq!(world.said(BOB, &group, ALICE), None);
    let at_the_edge = says(ALICE, group, latest_ms);
    assert_eq!(sent_to_bob(&mut world, group, vec![at_the_edge]), (Response::Taken, None));
    assert_eq!(world.said(BOB, &group, ALICE), Some(Status::Busy));
}
