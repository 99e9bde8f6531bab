//! Random acts of several people in bad weather.

use rand::RngExt;
use rand::seq::IndexedRandom;

use super::act::{claim, claim_instead};
use super::evil;
use super::node::Name;
use super::world::{Weather, World};
use crate::chain::transaction::{
    MemberAdd, MemberRemove, Mint, NotarySet, PolicyUpdate, Retract, RoleSet, Transfer, TreasuryPay, Unfreeze,
};
use crate::chain::{GroupId, Role, Transaction, rows};
use crate::identity::Identity;
use crate::kv::{Memory, Read, Table};
use crate::ledger::{OrderRow, Refusal, fold, state};
use crate::limits;
use crate::node::engine::Task;
use crate::presence::{Status, Verified};

/// What may happen in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Politics {
    /// Members are only added, so whatever they publish stands.
    Stable,
    /// Members are removed and change their roles, and whoever seals hands that over.
    Wild,
    /// The same, and a second machine of one member signs on old copies of its rows, by a clock that is behind.
    Faithless,
    /// The same, and that member is the founder, whose second machine seals as well.
    FalseNotary,
}

/// How far a clock may be off, so that no two are further apart than blocks may be dated ahead.
const SKEW_MS: i64 = limits::MAX_CLOCK_DRIFT_MS as i64 / 2 - 1_000;

impl World {
    fn some_group(&mut self, name: Name) -> Option<GroupId> {
        let groups: Vec<GroupId> = self.nodes[name].rows.keys().copied().collect();
        groups.choose(&mut self.rng).copied()
    }

    /// One random act of one random node, answered or not.
    fn random_act(&mut self, politics: Politics) {
        let name = self.rng.random_range(0..self.nodes.len());
        let other = self.rng.random_range(0..self.nodes.len());
        let Some(group) = self.some_group(name) else { return };
        let identity = self.nodes[other].id;
        let role = *[Role::Viewer, Role::Member, Role::Admin].choose(&mut self.rng).unwrap();
        if self.rng.random_bool(0.1) {
            let status = *[Status::Active, Status::Idle, Status::Busy].choose(&mut self.rng).unwrap();
            return self.say(name, group, status);
        }
        let claims = self.claims(name, &group);
        let parent = claims.choose(&mut self.rng).copied();
        let number = self.next();
        let wild = politics != Politics::Stable;
        let (transactions, objects) = match self.rng.random_range(0..20) {
            0 | 1 => {
                self.join(other, group);
                let role = if wild { role } else { Role::Member };
                (vec![Transaction::MemberAdd(MemberAdd { identity, role })], vec![])
            }
            2 if wild => (vec![Transaction::MemberRemove(MemberRemove { identity })], vec![]),
            3 if wild => (vec![Transaction::RoleSet(RoleSet { identity, role })], vec![]),
            9 if wild => (vec![Transaction::NotarySet(NotarySet { identity })], vec![]),
            8 if politics == Politics::Wild => (vec![Transaction::Unfreeze(Unfreeze { identity })], vec![]),
            4 if parent.is_some() => (vec![Transaction::Retract(Retract { claim: parent.unwrap() })], vec![]),
            5 => {
                let count = self.rng.random_range(90..220);
                (0..count).map(|place| claim(&format!("{number} {place}"), None)).unzip()
            }
            7 => (vec![self.random_payment(identity)], vec![]),
            10 | 11 => (vec![self.random_trade(name, &group)], vec![]),
            // The same words as others': one object, several claims.
            6 => {
                let (transaction, object) = claim("the same", parent);
                (vec![transaction], vec![object])
            }
            12 | 13 if parent.is_some() => {
                let olds = [parent, claims.choose(&mut self.rng).copied()];
                let (transaction, object) =
                    claim_instead(&format!("claim {number}"), olds.into_iter().flatten().collect());
                (vec![transaction], vec![object])
            }
            _ => {
                let (transaction, object) = claim(&format!("claim {number}"), parent);
                (vec![transaction], vec![object])
            }
        };
        let task = self.write_task(name, group, transactions, objects);
        self.start(name, Some(group), task);
    }

    /// Tokens made, given or paid out, or another rule for them: allowed or not.
    fn random_payment(&mut self, to: Identity) -> Transaction {
        let amount = *[1, 60, 1_000, limits::AMOUNT_MAX].choose(&mut self.rng).unwrap();
        match self.rng.random_range(0..8) {
            0..3 => Transaction::Mint(Mint { to, amount }),
            3..6 => Transaction::Transfer(Transfer { to, amount }),
            6 => Transaction::TreasuryPay(TreasuryPay { to, amount }),
            _ => Transaction::PolicyUpdate(PolicyUpdate {
                claim_reward_amount: Some(amount),
                faucet_amount: Some(amount),
                transfer_fee_bps: Some(self.rng.random_range(0..=limits::TRANSFER_FEE_BPS)),
                max_total_supply: Some(amount),
                ..PolicyUpdate::default()
            }),
        }
    }

    /// Somebody keeps a copy of its rows, or signs on one and gives that to another node.
    fn random_lie(&mut self, liar: Name, politics: Politics, copies: &mut Vec<(GroupId, Memory)>) {
        if self.rng.random_bool(0.2)
            && let Some(group) = self.some_group(liar)
        {
            copies.push((group, self.nodes[liar].rows[&group].clone()));
        }
        let to = self.rng.random_range(0..self.nodes.len());
        if let Some((group, rows)) = copies.choose(&mut self.rng)
            && to != liar
            && self.nodes[to].rows.contains_key(group)
            && self.rng.random_bool(0.3)
        {
            let (group, author) = (*group, self.nodes[liar].id);
            let (mut tasks, mut objects) = (vec![], vec![]);
            for place in 0..self.rng.random_range(1..4) {
                let (transaction, object) = claim(&format!("a lie {} {place}", self.now), None);
                objects.push(object.clone());
                tasks.push(Task::Write { group, author, transactions: vec![transaction], objects: vec![object] });
            }
            if politics == Politics::FalseNotary && self.rng.random_bool(0.7) {
                tasks.truncate(self.rng.random_range(0..2));
                tasks.push(Task::Seal { group });
            }
            let clock = self.clock(liar) - self.rng.random_range(0..2 * limits::MAX_CLOCK_DRIFT_MS);
            let blocks = evil::twin(&self.nodes[liar], group, rows, clock, tasks);
            self.slip_in(to, group, author, blocks, objects);
        }
    }

    /// Who has signed two blocks with one number is frozen on every node that has both.
    fn assert_frozen(&self, group: &GroupId, liar: Name) {
        let liar = self.nodes[liar].id;
        for node in self.nodes.iter().filter_map(|node| node.rows.get(group)) {
            let forks = rows::tips(node, &liar).unwrap().len() > 1;
            let is_frozen = node.get(Table::State, &state::frozen_key(&liar)).unwrap().is_some();
            assert!(is_frozen || !forks, "a fork without consequence");
        }
    }

    fn random_weather(&mut self) {
        let nodes = self.nodes.len();
        match self.rng.random_range(0..12) {
            0 => self.weather = Weather::fair(),
            1 => self.weather = Weather::rough(),
            2 => {
                let name = self.rng.random_range(0..nodes);
                self.restart(name);
            }
            3 | 4 => {
                let side: Vec<Name> = (0..nodes).filter(|_| self.rng.random_bool(0.5)).collect();
                self.partition(&side);
            }
            5 | 6 => self.heal(),
            7 => {
                let (a, b) = (self.rng.random_range(0..nodes), self.rng.random_range(0..nodes));
                self.hang_up(super::world::pair(a, b));
            }
            8 => {
                let name = self.rng.random_range(0..nodes);
                self.nodes[name].skew_ms = self.rng.random_range(-SKEW_MS..SKEW_MS);
            }
            _ => {}
        }
    }

    /// Whether nodes that are connected hold the same of everybody's presence.
    fn presence_is_alike(&self, group: &GroupId) -> bool {
        let held = |name: Name| self.nodes[name].machine.presences(group).map(Verified::bytes).collect::<Vec<_>>();
        let is_in = |name: Name| self.is_founded(name, group);
        let pairs = (0..self.nodes.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let mut pairs = pairs.filter(|(a, b)| is_in(*a) && is_in(*b));
        pairs.all(|(a, b)| self.connected(a, b) && held(a) == held(b))
    }

    /// Every acknowledged claim stands on every node, where nobody was removed or became less.
    fn all_claims_stand(&self, group: &GroupId) {
        for (name, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.rows.contains_key(group)) {
            let rows = &node.rows[group];
            for (key, value) in rows.rows(Table::Order) {
                let row: OrderRow = rows::parse_row(Table::Order, key, value).unwrap();
                let crate::ledger::Outcome::Refused(_, refusal) = row.outcome else { continue };
                let expected = matches!(
                    refusal,
                    Refusal::AlreadyAMember(_) | Refusal::AlreadyRetracted(_) | Refusal::Token(_) | Refusal::Market(_)
                );
                assert!(expected, "node {name} refuses: {refusal}");
            }
        }
        for node in &self.nodes {
            for (of, block) in node.acknowledged.iter().filter(|(of, _)| of == group) {
                for (name, other) in self.nodes.iter().enumerate().filter(|(_, other)| other.rows.contains_key(of)) {
                    let placed = rows::placed(&other.rows[of], block).unwrap();
                    assert!(placed.is_some() || !self.is_founded(name, of), "node {name} never heard of {block}");
                }
            }
        }
    }
}

fn run(seed: u64, politics: Politics, acts: usize) {
    let nodes = 2 + (seed % 5) as usize;
    let mut world = World::new(seed, nodes);
    for name in 0..nodes {
        world.nodes[name].skew_ms = world.rng.random_range(-SKEW_MS..SKEW_MS);
    }
    let mut groups = vec![world.found(0, "first")];
    for other in 1..nodes {
        if world.rng.random_bool(0.7) {
            world.add(0, groups[0], other, Role::Member).unwrap();
            world.join(other, groups[0]);
        }
    }
    if world.rng.random_bool(0.3) {
        groups.push(world.found(nodes - 1, "second"));
    }
    let liar = match politics {
        Politics::Stable | Politics::Wild => None,
        Politics::Faithless => Some(nodes - 1),
        Politics::FalseNotary => Some(0),
    };
    world.notary_forks = politics == Politics::FalseNotary;
    let mut copies = Vec::new();
    for _ in 0..acts {
        world.random_weather();
        if let Some(liar) = liar {
            world.random_lie(liar, politics, &mut copies);
        }
        world.random_act(politics);
        let (name, most) = (world.rng.random_range(0..nodes), world.rng.random_range(1..5));
        world.watch(name, most);
        let pause = *[1, 20, 300, 3_000].choose(&mut world.rng).unwrap();
        world.run_for(pause);
    }
    world.settle();
    world.assert_no_faults();
    for group in &groups {
        if politics == Politics::Stable {
            world.all_claims_stand(group);
            let deadline = world.now + limits::REQUEST_TIMEOUT_MS + 2 * limits::PULL_RETRY_MOST_MS;
            assert!(world.run_until(deadline, |world| world.presence_is_alike(group)), "presence differs for ever");
        }
        if let Some(liar) = liar {
            world.assert_frozen(group, liar);
        }
        for node in world.nodes.iter().filter_map(|node| node.rows.get(group)) {
            assert_eq!(fold::last(node).unwrap().is_some(), !node.rows(Table::Id).is_empty());
        }
    }
}

#[test]
fn what_members_write_in_any_weather_stands_everywhere() {
    super::each_seed(50, |seed| run(seed, Politics::Stable, 40));
}

#[test]
fn members_who_take_each_other_for_members_agree_in_any_weather() {
    super::each_seed(60, |seed| run(seed, Politics::Wild, 40));
}

#[test]
fn a_member_who_signs_twice_and_dates_back_neither_parts_the_others_nor_moves_what_is_final() {
    super::each_seed(40, |seed| run(seed, Politics::Faithless, 40));
}

#[test]
fn nodes_agree_whatever_a_notary_signs_twice() {
    super::each_seed(40, |seed| run(seed, Politics::FalseNotary, 40));
}
