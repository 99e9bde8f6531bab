//! Stories of tickets: whoever is there lets their bearers in, and no more come in than they say, whatever is cut, lost or crashes.

use rand::RngExt;

use super::each_seed;
use super::node::Name;
use super::world::{Weather, World};
use crate::chain::transaction::{Invite, InviteRevoke, MemberJoin};
use crate::chain::{GroupId, Role, Transaction};
use crate::identity::SecretKey;
use crate::ledger::{invite, state};
use crate::node::engine::{Failure, Written};

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

    fn is_in(&self, at: Name, group: &GroupId, who: Name) -> bool {
        state::member(&self.nodes[at].rows[group], &self.nodes[who].id).unwrap().is_some()
    }
}

const DAY_MS: u64 = 24 * 3_600_000;

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
    each_seed(40, |seed| {
        let mut world = World::new(seed, 7);
        let group = world.found(0, "rough");
        for member in [1, 2, 3] {
            world.add(0, group, member, Role::Member).unwrap();
            world.join(member, group);
        }
        world.invite(0, group, 0, 2, DAY_MS).unwrap();
        world.settle();
        world.weather = Weather { crash: 0.0, ..Weather::rough() };
        for _ in 0..6 {
            let side: Vec<Name> = (0..7).filter(|_| world.rng.random_bool(0.5)).collect();
            world.partition(&side);
            let (by, who) = (world.rng.random_range(1..4), world.rng.random_range(4..7));
            // Refused or not: what counts is what all come to.
            let _outcome = world.let_in(by, group, 0, who);
            world.run_for(3_000);
            world.heal();
        }
        world.weather = Weather::fair();
        world.settle();
        let row = invite::ticket(&world.nodes[0].rows[&group], &secret(0).identity()).unwrap().unwrap();
        let inside = (4..7).filter(|who| world.is_in(0, &group, *who)).count();
        assert_eq!((inside, true), (row.used as usize, row.used <= 2));
    });
}
