//! Stories of tickets: whoever is there lets their bearers in, and no more come in than they say, whatever is cut, lost or crashes.

use std::sync::atomic::{AtomicU32, Ordering};

use rand::RngExt;

use super::each_seed;
use super::evil::Evil;
use super::node::Name;
use super::world::{INTERVAL_MS, Weather, World};
use crate::chain::gone::Gone;
use crate::chain::transaction::{Invite, InviteRevoke, MemberJoin, MemberRemove};
use crate::chain::{BlockId, GroupId, Role, Transaction, rows};
use crate::identity::SecretKey;
use crate::ledger::{invite, state};
use crate::node::engine::{Failure, Written};
use crate::node::io::Input;
use crate::node::subscription::Subscription;
use crate::node::{shut_out, stranded};

fn secret(number: u8) -> SecretKey {
    SecretKey::from_seed(&[200 + number; 32])
}

impl World {
    fn invite(&mut self, name: Name, group: GroupId, number: u8, uses: u32, life_ms: u64) -> Result<Written, Failure> {
        let (ticket, expires_ms) = (secret(number).identity(), self.clock(name) + life_ms);
        let new = Invite { ticket, role: Role::Member, uses, expires_ms };
        self.write(name, group, vec![Transaction::Invite(new)], vec![])
    }

    /// A member is shown a proof by `who`.
    fn let_in(&mut self, by: Name, group: GroupId, number: u8, who: Name) -> Result<(), &'static str> {
        let join = MemberJoin::prove(&secret(number), &group, self.nodes[who].id);
        match self.write(by, group, vec![Transaction::MemberJoin(join)], vec![]) {
            Ok(_) => Ok(()),
            Err(Failure::Refused(why)) => Err(why.code()),
            Err(other) => panic!("{other}"),
        }
    }

    /// A member is shown a proof by `who`, and may crash over it: then it is not known what came of it.
    fn let_in_if_it_lives(&mut self, by: Name, group: GroupId, number: u8, who: Name) -> bool {
        let join = MemberJoin::prove(&secret(number), &group, self.nodes[who].id);
        let task = self.write_task(by, group, vec![Transaction::MemberJoin(join)], vec![]);
        let (number, deadline) = (self.start(by, Some(group), task), self.now + 1_000);
        self.run_until(deadline, |world| world.nodes[by].replies.contains_key(&number));
        matches!(self.nodes[by].replies.remove(&number), Some(Ok(_)))
    }

    fn write_claim(&mut self, name: Name, group: GroupId, text: &str) -> BlockId {
        let (transaction, object) = super::act::claim(text, None);
        self.write(name, group, vec![transaction], vec![object]).unwrap().blocks[0]
    }

    /// What members say of a node's membership, as it has noted it.
    fn shut_out(&self, at: Name, group: &GroupId) -> Option<Gone> {
        shut_out::shut_out(&self.nodes[at].rows[group]).unwrap().map(|said| said.why)
    }

    /// Whether a write is refused since members say that the node is none.
    fn may_not_write(&mut self, name: Name, group: GroupId) -> bool {
        matches!(self.answer_claim(name, group, "is anybody there?", None), Err(Failure::ShutOut { .. }))
    }

    /// What a node wrote is with the others, or it says that it may not be.
    fn assert_nothing_vanished(&self, name: Name, group: &GroupId) {
        let node = &self.nodes[name];
        let stranded = stranded::stranded(&node.rows[group], &node.id, None, usize::MAX).unwrap();
        for (_, block) in node.acknowledged.iter().filter(|(of, _)| of == group) {
            let placed = rows::placed(&node.rows[group], block).unwrap().unwrap();
            let is_there = rows::placed(&self.nodes[0].rows[group], block).unwrap().is_some();
            assert!(is_there || stranded.contains(&placed.line_key(block)), "{block} of {name}");
        }
    }

    fn is_in(&self, at: Name, group: &GroupId, who: Name) -> bool {
        state::member(&self.nodes[at].rows[group], &self.nodes[who].id).unwrap().is_some()
    }
}

const DAY_MS: u64 = 24 * 3_600_000;
/// Between two repair pulls where a story is to do without them.
const LONG_MS: u64 = 15 * 60_000;
/// Until what happens without a repair pull has happened.
const SOON_MS: u64 = 20_000;

#[test]
fn any_member_lets_in_while_the_inviter_is_away_and_a_revocation_that_has_come_holds() {
    each_seed(30, |seed| {
        let mut world = World::new(seed, 6);
        let group = world.found(0, "tickets");
        world.add(0, group, 1, Role::Member).unwrap();
        world.join(1, group);
        world.invite(0, group, 0, 2, DAY_MS).unwrap();
        world.invite(0, group, 1, 9, 5_000).unwrap();
        world.settle();
        // The inviter and its notary's seals are away.
        world.partition(&[0]);
        assert_eq!(world.let_in(1, group, 0, 2), Ok(()));
        world.join(2, group);
        let deadline = world.now + 60_000;
        assert!(world.run_until(deadline, |world| world.is_founded(2, &group) && world.is_in(2, &group, 2)));
        world.publish(2, group, "let in by another");
        // And who was let in lets in.
        assert_eq!(world.let_in(2, group, 0, 3), Ok(()));
        assert_eq!(world.let_in(2, group, 0, 4), Err("ticket_used_up"));
        assert_eq!(world.let_in(1, group, 1, 4), Err("ticket_expired"), "a minute has passed");
        // A stolen proof names another; one by another key is of no ticket.
        assert_eq!(world.let_in(1, group, 7, 4), Err("no_such_ticket"));
        world.join(3, group);
        world.heal();
        world.settle();
        assert!([2, 3].iter().all(|who| world.is_in(0, &group, *who)));
        world.invite(0, group, 2, 9, DAY_MS).unwrap();
        let revoke = Transaction::InviteRevoke(InviteRevoke { ticket: secret(2).identity() });
        world.write(0, group, vec![revoke], vec![]).unwrap();
        world.settle();
        assert_eq!(world.let_in(3, group, 2, 4), Err("ticket_revoked"));
        // Removed, it comes back by no ticket.
        world.invite(0, group, 3, 9, DAY_MS).unwrap();
        world.remove(0, group, 3).unwrap();
        world.settle_as_it_is();
        assert_eq!(world.let_in(1, group, 3, 3), Err("was_removed"));
        world.assert_no_faults();
    });
}

#[test]
fn of_two_let_in_apart_for_the_last_place_one_is_refused_on_all() {
    each_seed(60, |seed| {
        let mut world = World::new(seed, 5);
        let group = world.found(0, "last-place");
        for member in [1, 2] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.invite(0, group, 0, 1, DAY_MS).unwrap();
        world.settle();
        let notary_side = if world.rng.random_bool(0.5) { vec![0, 1, 3] } else { vec![1, 3] };
        world.partition(&notary_side);
        assert_eq!(world.let_in(1, group, 0, 3), Ok(()));
        assert_eq!(world.let_in(2, group, 0, 4), Ok(()));
        for who in [3, 4] {
            world.join(who, group);
            let deadline = world.now + 60_000;
            assert!(world.run_until(deadline, |world| world.is_founded(who, &group) && world.is_in(who, &group, who)));
            world.publish(who, group, "in, as far as I can see");
        }
        world.heal();
        world.settle();
        let row = invite::ticket(&world.nodes[0].rows[&group], &secret(0).identity()).unwrap().unwrap();
        assert_eq!((row.used, row.uses), (1, 1));
        let inside = [3, 4].map(|who| [0, 1, 2].map(|at| world.is_in(at, &group, who)));
        assert!(inside == [[true; 3], [false; 3]] || inside == [[false; 3], [true; 3]], "{inside:?}");
    });
}

#[test]
fn in_rough_weather_no_ticket_lets_in_more_than_it_says() {
    let crashes = AtomicU32::new(0);
    each_seed(40, |seed| {
        let mut world = World::new(seed, 7);
        let group = world.found(0, "rough");
        for member in [1, 2, 3] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.invite(0, group, 0, 2, DAY_MS).unwrap();
        world.settle();
        world.weather = Weather { crash: 0.1, ..Weather::rough() };
        let mut let_in = 0;
        for _ in 0..6 {
            let side: Vec<Name> = (0..7).filter(|_| world.rng.random_bool(0.5)).collect();
            world.partition(&side);
            let (by, who) = (world.rng.random_range(1..4), world.rng.random_range(4..7));
            // Refused or not: what counts is what all come to.
            let_in += usize::from(world.let_in_if_it_lives(by, group, 0, who));
            world.run_for(3_000);
            world.heal();
        }
        world.weather = Weather::fair();
        world.settle();
        let row = invite::ticket(&world.nodes[0].rows[&group], &secret(0).identity()).unwrap().unwrap();
        let inside = (4..7).filter(|who| world.is_in(0, &group, *who)).count();
        assert_eq!((inside, true), (row.used as usize, row.used <= 2));
        crashes.fetch_add(world.nodes.iter().map(|node| node.life).sum(), Ordering::Relaxed);
        // Whoever was told that it let somebody in has written it.
        assert!(inside > 0 || let_in == 0);
    });
    assert!(crashes.into_inner() > 0, "nobody has crashed");
}

#[test]
fn who_is_let_in_apart_for_the_last_place_and_refused_learns_it_and_comes_back_with_what_it_wrote() {
    each_seed(40, |seed| {
        let mut world = World::new(seed, 5);
        let group = world.found(0, "phantom");
        for member in [1, 2] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.invite(0, group, 0, 1, DAY_MS).unwrap();
        world.settle();
        world.partition(&[0, 1, 3]);
        assert_eq!(world.let_in(1, group, 0, 3), Ok(()));
        assert_eq!(world.let_in(2, group, 0, 4), Ok(()));
        let mut wrote = Vec::new();
        for who in [3, 4] {
            world.join(who, group);
            let deadline = world.now + 60_000;
            assert!(world.run_until(deadline, |world| world.is_founded(who, &group) && world.is_in(who, &group, who)));
            wrote.push(world.write_claim(who, group, "in, as far as I can see"));
        }
        world.heal();
        world.settle();
        world.run_for(2 * INTERVAL_MS);
        let (out, within) = if world.is_in(0, &group, 3) { (4, 3) } else { (3, 4) };
        assert!(world.is_in(out, &group, out), "by its own rows it is a member");
        assert_eq!(world.shut_out(out, &group), Some(Gone::TicketUsedUp));
        for member in [0, 1, 2, within] {
            assert_eq!(world.shut_out(member, &group), None, "{member}");
        }
        assert!(world.may_not_write(out, group));
        // It does not forget it, and nobody else being there changes nothing.
        world.partition(&[out]);
        world.restart(out);
        world.run_for(INTERVAL_MS);
        assert!(world.may_not_write(out, group));
        world.heal();
        // A new ticket lets it in again: it writes, and what it wrote before is everywhere, whatever became of it there.
        world.invite(0, group, 1, 1, DAY_MS).unwrap();
        world.settle();
        assert_eq!(world.let_in(1, group, 1, out), Ok(()));
        world.settle();
        world.run_for(2 * INTERVAL_MS);
        assert_eq!(world.shut_out(out, &group), None);
        let claim = world.publish(out, group, "in again");
        world.settle();
        let block = wrote[out - 3];
        for member in [0, 1, 2, within, out] {
            assert!(world.is_in(member, &group, out) && world.has_claim(member, &group, &claim));
            assert!(rows::placed(&world.nodes[member].rows[&group], &block).unwrap().is_some());
        }
        world.assert_no_faults();
    });
}

/// Node 4, let in by node 2 alone while node 1 lets in node 3 by the same ticket's last use; all can write, and nobody knows better.
fn let_in_apart(world: &mut World) -> GroupId {
    let group = world.found(0, "apart");
    for member in [1, 2] {
        world.add(0, group, member, Role::Member).unwrap();
        world.join(member, group);
    }
    world.invite(0, group, 0, 1, DAY_MS).unwrap();
    world.settle();
    world.partition(&[0, 1, 3]);
    assert_eq!(world.let_in(1, group, 0, 3), Ok(()));
    for (by, who) in [(1, 3), (2, 4)] {
        if by == 2 {
            // The notary has sealed the other joining by now.
            world.run_for(2 * SOON_MS);
            assert_eq!(world.let_in(by, group, 0, who), Ok(()));
        }
        world.join(who, group);
        let deadline = world.now + 60_000;
        assert!(world.run_until(deadline, |world| world.is_founded(who, &group) && world.is_in(who, &group, who)));
    }
    group
}

#[test]
fn who_is_refused_in_the_order_is_told_by_whoever_learns_it_without_being_asked() {
    each_seed(40, |seed| {
        let mut world = World::with_interval(seed, 5, LONG_MS);
        let group = let_in_apart(&mut world);
        world.publish(4, group, "in, as far as I can see");
        // It stays connected to the one that let it in, and meets nobody else, or somebody who has never heard of it.
        let stays_with = if world.rng.random_bool(0.5) { vec![2] } else { vec![1, 2] };
        world.heal();
        for other in [0, 1, 3].into_iter().filter(|other| !stays_with.contains(other)) {
            world.cut.insert((other, 4));
            world.hang_up((other, 4));
        }
        let deadline = world.now + SOON_MS;
        assert!(
            world.run_until(deadline, |world| world.shut_out(4, &group) == Some(Gone::TicketUsedUp)),
            "it writes on, and nobody takes it"
        );
        assert!(world.may_not_write(4, group));
        world.assert_nothing_vanished(4, &group);
        for member in [0, 1, 2, 3] {
            assert_eq!(world.shut_out(member, &group), None, "{member}");
        }
        world.assert_no_faults();
    });
}

#[test]
fn who_is_removed_is_told_by_whoever_learns_it_and_as_soon_as_it_connects_though_it_asks_nobody() {
    each_seed(40, |seed| {
        let mut world = World::with_interval(seed, 4, LONG_MS);
        let group = world.found(0, "relayed");
        for member in [1, 2, 3] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.settle();
        // Node 2 is connected to node 1 alone, node 3 to nobody; and that asks for nothing by itself.
        world.cut.extend([(0, 2), (2, 3), (0, 3), (1, 3)]);
        for pair in [(0, 2), (2, 3), (0, 3), (1, 3)] {
            world.hang_up(pair);
        }
        let paused = Subscription { paused: Some(true), ..Subscription::default() };
        world.step(3, Input::Subscribe(group, paused));
        world.remove(0, group, 2).unwrap();
        world.remove(0, group, 3).unwrap();
        let deadline = world.now + SOON_MS;
        assert!(world.run_until(deadline, |world| world.shut_out(2, &group) == Some(Gone::Removed)));
        assert!(world.may_not_write(2, group));
        assert_eq!(world.shut_out(3, &group), None, "it has met nobody");
        world.cut.clear();
        let deadline = world.now + SOON_MS;
        assert!(world.run_until(deadline, |world| world.shut_out(3, &group) == Some(Gone::Removed)));
        assert!(world.may_not_write(3, group));
        [2, 3].iter().for_each(|name| world.assert_nothing_vanished(*name, &group));
        world.assert_no_faults();
    });
}

/// The removal, the word of it and the writes cross each other, in any sequence.
#[test]
fn what_is_acknowledged_while_its_author_is_removed_is_with_all_or_shown_to_be_stranded() {
    let stranded = AtomicU32::new(0);
    each_seed(60, |seed| {
        let mut world = World::with_interval(seed, 3, LONG_MS);
        let group = world.found(0, "crossing");
        for member in [1, 2] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.settle();
        world.weather.delay_ms = 1..2_000;
        if world.rng.random_bool(0.5) {
            world.cut.insert((0, 2));
            world.hang_up((0, 2));
        }
        for number in 0..4 {
            world.write_claim(2, group, &format!("before {number}"));
        }
        world.remove(0, group, 2).unwrap();
        for number in 0.. {
            let pause = world.rng.random_range(1..200);
            world.run_for(pause);
            let (transaction, object) = super::act::claim(&format!("after {number}"), None);
            match world.write(2, group, vec![transaction], vec![object]) {
                Ok(_) => assert!(number < 10_000, "nobody tells it"),
                Err(Failure::ShutOut { .. } | Failure::Refused(_)) => break,
                Err(other) => panic!("{other}"),
            }
        }
        world.weather = Weather::fair();
        world.settle_as_it_is();
        world.assert_nothing_vanished(2, &group);
        let node = &world.nodes[2];
        let lines = stranded::stranded(&node.rows[&group], &node.id, None, usize::MAX).unwrap();
        stranded.fetch_add(lines.len() as u32, Ordering::Relaxed);
        world.restart(2);
        world.assert_nothing_vanished(2, &group);
        // Named again, it has nothing that the others have not.
        world.cut.clear();
        world.add(0, group, 2, Role::Member).unwrap();
        world.settle();
        assert_eq!(stranded::stranded(&world.nodes[2].rows[&group], &world.nodes[2].id, None, 1).unwrap(), []);
        world.assert_no_faults();
    });
    assert!(stranded.into_inner() > 0, "no write has crossed a removal");
}

#[test]
fn who_is_removed_while_it_is_away_learns_it_and_so_does_its_agent_s_node() {
    each_seed(30, |seed| {
        let mut world = World::new(seed, 4);
        let group = world.found(0, "away");
        for member in [1, 2] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        // Node 3 is there for an agent of its alone.
        let agent = world.host(3, group, 150);
        world.join(3, group);
        world.settle();
        let deadline = world.now + 60_000;
        assert!(world.run_until(deadline, |world| world.nodes[3].is_member(&group, &agent)));
        world.partition(&[0, 1]);
        world.hang_up((2, 3));
        world.run_for(10_000);
        let late = world.publish(2, group, "nobody will take this");
        world.remove(0, group, 2).unwrap();
        let remove = MemberRemove { identity: agent };
        world.write(0, group, vec![Transaction::MemberRemove(remove)], vec![]).unwrap();
        world.run_for(1_000);
        world.heal();
        world.settle();
        world.run_for(3 * INTERVAL_MS);
        for out in [2, 3] {
            assert_eq!(world.shut_out(out, &group), Some(Gone::Removed), "{out}");
        }
        assert!(world.may_not_write(2, group));
        assert!(!world.has_claim(0, &group, &late));
        // Named again, it writes again.
        world.add(0, group, 2, Role::Member).unwrap();
        world.settle();
        world.run_for(3 * INTERVAL_MS);
        assert_eq!(world.shut_out(2, &group), None);
        world.publish(2, group, "here again");
        world.assert_no_faults();
    });
}

#[test]
fn a_member_that_lies_holds_up_who_meets_nobody_else_and_no_longer() {
    each_seed(40, |seed| {
        let mut world = World::new(seed, 5);
        let group = world.found(0, "liar");
        for member in [1, 2, 3] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.settle();
        world.nodes[3].evil = Some(Evil::Denies);
        world.publish(0, group, "what a pull brings");
        world.run_for(3 * INTERVAL_MS);
        for member in [0, 1, 2] {
            assert_eq!(world.shut_out(member, &group), None, "{member}: others serve it");
        }
        // Alone with the liar.
        world.partition(&[2, 3]);
        let deadline = world.now + 6 * INTERVAL_MS;
        assert!(world.run_until(deadline, |world| world.shut_out(2, &group) == Some(Gone::Removed)));
        assert!(world.may_not_write(2, group));
        world.heal();
        let deadline = world.now + 6 * INTERVAL_MS;
        assert!(world.run_until(deadline, |world| world.shut_out(2, &group).is_none()), "somebody else serves it");
        world.publish(2, group, "still here");
        // A stranger's word counts for nothing.
        world.nodes[4].evil = Some(Evil::Denies);
        world.join(4, group);
        world.run_for(3 * INTERVAL_MS);
        assert!([0, 1, 2].iter().all(|member| world.shut_out(*member, &group).is_none()));
    });
}
