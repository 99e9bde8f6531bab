//! Stories of nodes that are no members and host agents that are.

use rand::RngExt;

use super::act::claim;
use super::node::Name;
use super::world::{Weather, World};
use crate::chain::transaction::{MemberAdd, MemberRemove};
use crate::chain::{ClaimId, GroupId, Role, Transaction};
use crate::identity::{Identity, SecretKey};
use crate::limits;
use crate::node::engine::{Failure, Task};
use crate::node::io::Input;

const FOUNDER: Name = 0;

impl World {
    /// A node hosts one more agent; the founder adds it.
    pub(super) fn host(&mut self, name: Name, group: GroupId, seed: u8) -> Identity {
        let key = SecretKey::from_seed(&[seed; 32]);
        let agent = key.identity();
        self.nodes[name].engine.hold(key.clone());
        self.nodes[name].agents.push(key);
        self.tell_hosted(name);
        let add = MemberAdd { identity: agent, role: Role::Member };
        self.write(FOUNDER, group, vec![Transaction::MemberAdd(add)], vec![]).unwrap();
        agent
    }

    /// An agent is revoked: its key is no more.
    fn revoke(&mut self, name: Name, agent: Identity) {
        self.nodes[name].engine.forget_key(&agent);
        self.nodes[name].agents.retain(|key| key.identity() != agent);
        self.tell_hosted(name);
    }

    fn tell_hosted(&mut self, name: Name) {
        let agents = self.nodes[name].agents.iter().map(SecretKey::identity).collect();
        self.step(name, Input::Hosts(agents));
    }

    /// An agent publishes.
    fn publish_as(&mut self, name: Name, agent: Identity, group: GroupId, text: &str) -> Result<ClaimId, Failure> {
        let (transaction, object) = claim(text, None);
        let task = Task::Write { group, author: agent, transactions: vec![transaction], objects: vec![object] };
        Ok(self.write_of(name, group, task)?.claims[0])
    }

    /// Whether a node would ask another for the group.
    fn asks(&self, name: Name, group: &GroupId, other: Name) -> bool {
        self.nodes[name].machine.may_have(group, &self.nodes[other].id)
    }
}

/// A founder and as many nodes with an agent each, all of which have the group.
fn hosts(seed: u64, count: usize) -> (World, GroupId, Vec<(Name, Identity)>) {
    let mut world = World::new(seed, count + 1);
    let group = world.found(FOUNDER, "hosted");
    let agents: Vec<_> = (1..=count).map(|name| (name, world.host(name, group, 100 + name as u8))).collect();
    agents.iter().for_each(|(name, _)| world.join(*name, group));
    world.settle();
    (world, group, agents)
}

#[test]
fn nodes_that_are_there_for_their_agents_alone_stay_in_step_without_the_founder() {
    super::each_seed(20, |seed| {
        let (mut world, group, agents) = hosts(seed, 3);
        world.partition(&[FOUNDER]);
        let mut claims = vec![];
        for (name, agent) in &agents {
            claims.push(world.publish_as(*name, *agent, group, &format!("{name} alone")).unwrap());
        }
        world.restart(2);
        let deadline = world.now + 20_000;
        let all = |world: &World| {
            agents.iter().all(|(name, _)| claims.iter().all(|claim| world.has_claim(*name, &group, claim)))
        };
        assert!(world.run_until(deadline, all), "they wait for the founder");
        assert!(claims.iter().all(|claim| !world.has_claim(FOUNDER, &group, claim)));
        world.settle();
        world.assert_no_faults();
    });
}

#[test]
fn who_hosts_a_stranger_learns_nothing_however_much_is_knocked() {
    super::each_seed(10, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found(FOUNDER, "closed");
        let agents: Vec<_> = (1..=2).map(|name| (name, world.host(name, group, 100 + name as u8))).collect();
        agents.iter().for_each(|(name, _)| world.join(*name, group));
        // It knows the group's id, and an agent of its own that nobody has added.
        let key = SecretKey::from_seed(&[200; 32]);
        world.nodes[3].engine.hold(key.clone());
        world.nodes[3].agents.push(key);
        world.tell_hosted(3);
        world.join(3, group);
        world.settle();
        for (name, agent) in &agents {
            world.publish_as(*name, *agent, group, "among members").unwrap();
        }
        world.run_for(120_000);
        assert!(world.sent.get("knock").is_some_and(|knocks| *knocks > 0), "{:?}", world.sent);
        assert!(!world.is_founded(3, &group));
        assert!((0..3).all(|name| !world.asks(name, &group, 3)));
        world.assert_no_faults();
    });
}

#[test]
fn agents_come_and_go_under_partitions_and_crashes_and_what_they_wrote_stands() {
    super::each_seed(20, |seed| {
        let (mut world, group, agents) = hosts(seed, 4);
        // Whoever waits for an answer gets one: nodes die between two acts.
        world.weather = Weather { crash: 0.0, ..Weather::rough() };
        let (mut claims, mut here) = (vec![], agents);
        for round in 0..40 {
            let at = world.rng.random_range(0..here.len());
            let (name, agent) = here[at];
            match world.rng.random_range(0..12) {
                0 => world.partition(&[FOUNDER, name]),
                1 | 2 => world.heal(),
                3 => {
                    let who = if world.rng.random_bool(0.2) { FOUNDER } else { name };
                    world.restart(who);
                }
                // At most so many end that somebody is left.
                4 if here.len() > 2 => {
                    world.revoke(name, agent);
                    here.remove(at);
                    let refused = world.publish_as(name, agent, group, "after the end").unwrap_err();
                    assert!(matches!(refused, Failure::NoKey(_)), "{refused:?}");
                }
                5 if here.len() > 2 => {
                    let remove = MemberRemove { identity: agent };
                    world.write(FOUNDER, group, vec![Transaction::MemberRemove(remove)], vec![]).unwrap();
                    here.remove(at);
                }
                _ => {
                    if let Ok(claim) = world.publish_as(name, agent, group, &format!("{name} in {round}")) {
                        claims.push((agent, claim));
                    }
                }
            }
            let pause = world.rng.random_range(0..3_000);
            world.run_for(pause);
        }
        world.settle();
        for (agent, claim) in &claims {
            // Who was removed may have written behind that.
            if here.iter().any(|(_, left)| left == agent) {
                let all = here.iter().map(|(name, _)| *name).chain([FOUNDER]);
                all.for_each(|name| assert!(world.has_claim(name, &group, claim), "node {name}"));
            }
        }
        world.assert_no_faults();
    });
}

#[test]
fn delegations_end_with_their_time_where_none_come_after_them_and_count_again() {
    super::each_seed(3, |seed| {
        let (mut world, group, agents) = hosts(seed, 2);
        let knows =
            |world: &World| world.asks(FOUNDER, &group, 1) && world.asks(1, &group, 2) && world.asks(2, &group, 1);
        assert!(knows(&world));
        // The connections stand, and nothing passes.
        world.weather.loss = 1.0;
        world.run_for(limits::DELEGATION_LIFE_MS - 2 * limits::DELEGATION_RENEW_MS);
        assert!(knows(&world), "they stand for a while");
        world.run_for(2 * limits::DELEGATION_RENEW_MS + limits::MAX_CLOCK_DRIFT_MS + 1_000);
        for (name, other) in [(FOUNDER, 1), (FOUNDER, 2), (1, 2), (2, 1)] {
            assert!(!world.asks(name, &group, other), "node {name} takes {other} for what it is no more");
        }
        let late = world.publish_as(agents[0].0, agents[0].1, group, "nobody hears it").unwrap();
        world.settle();
        assert!((0..=2).all(|name| world.has_claim(name, &group, &late)));
        assert!(knows(&world));
        world.assert_no_faults();
    });
}
