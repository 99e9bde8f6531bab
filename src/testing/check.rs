//! What must hold once all is quiet.

use std::ops::ControlFlow;

use super::node::{Name, Node};
use super::world::{INTERVAL_MS, Weather, World};
use crate::chain::{ClaimId, Frontier, GroupId, OPEN_EPOCH, OrderKey, rows};
use crate::identity::SecretKey;
use crate::kv::{Memory, Table};
use crate::ledger::{invariants, query, state};
use crate::limits;
use crate::node::arrival;

/// Where two nodes that should be alike are not.
fn difference(a: &Memory, b: &Memory) -> Option<String> {
    let digest = |rows: &Memory| Frontier::new(rows::all_tips(rows).unwrap()).digest();
    let blocks = |rows: &Memory| rows::counters(rows).unwrap().blocks;
    if a.rows(Table::Id) != b.rows(Table::Id) {
        return Some(format!("blocks: {} and {}", blocks(a), blocks(b)));
    }
    if digest(a) != digest(b) || rows::heads(a).unwrap() != rows::heads(b).unwrap() {
        return Some("frontier or heads".into());
    }
    if a.rows(Table::Line) != b.rows(Table::Line) {
        return Some("lines".into());
    }
    if a.rows(Table::Order) != b.rows(Table::Order) {
        return Some("order".into());
    }
    (query::state_hash(a).unwrap() != query::state_hash(b).unwrap()).then(|| "state".into())
}

impl World {
    /// What is final on an honest node stays as it is, and is the same on all.
    pub(super) fn check_finals(&mut self, name: Name, group: GroupId) {
        let node = &mut self.nodes[name];
        let rows = &node.rows[&group];
        let count = rows::counters(rows).unwrap().sealed;
        let before = node.final_blocks.insert(group, count).unwrap_or(0);
        if count == before || self.notary_forks || node.evil.is_some() {
            return;
        }
        assert!(count > before, "node {name} has {count} final blocks and had {before}");
        let is_final = |key: &[u8]| OrderKey::from_bytes(key).unwrap().epoch < OPEN_EPOCH;
        let finals = self.finals.entry(group).or_default();
        let mut ours = rows.rows(Table::Order).iter().take_while(|(key, _)| is_final(key));
        for (key, row) in finals.iter().take(count as usize) {
            assert_eq!(ours.next(), Some((key, row)), "node {name} has something else that is final");
        }
        finals.extend(ours.map(|(key, row)| (key.clone(), row.clone())));
        assert!(finals.len() as u64 >= count);
    }

    /// Blocks that wait for a seal on a node, though the group's notary is honest, and there, and takes the node for a member.
    fn open_in_vain(&self, group: &GroupId, name: Name) -> Option<u64> {
        let rows = &self.nodes[name].rows[group];
        let sealer = self.name_of(&state::sealing(rows).unwrap()?.sealer);
        // What it has signed on another branch of its own line it can cover only once somebody else has built on that.
        let forks = rows::tips(rows, &self.nodes[sealer].id).unwrap().len() > 1;
        let is_there = sealer == name || self.pairs(group).contains(&super::world::pair(sealer, name));
        let open = rows::counters(rows).unwrap().open();
        (is_there && open > 0 && !forks).then_some(open)
    }

    /// Whether an honest node keeps a group.
    fn keeps(&self, name: Name, group: &GroupId) -> bool {
        self.nodes[name].evil.is_none() && self.nodes[name].rows.contains_key(group)
    }

    /// Pairs of honest nodes that take each other, or an agent that the other hosts, for members.
    fn pairs(&self, group: &GroupId) -> Vec<(Name, Name)> {
        let knows = |a: Name, b: Name| {
            let Node { id, agents, .. } = &self.nodes[b];
            agents.iter().map(SecretKey::identity).chain([*id]).any(|who| self.nodes[a].is_member(group, &who))
        };
        let honest = |name: Name| self.keeps(name, group);
        let mut pairs = Vec::new();
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                // Who has nothing yet takes everybody for a member.
                let empty = |name: Name| self.nodes[name].rows[group].rows(Table::Id).is_empty();
                let mutual = || (knows(a, b) || empty(a)) && (knows(b, a) || empty(b)) && !(empty(a) && empty(b));
                if honest(a) && honest(b) && mutual() {
                    pairs.push((a, b));
                }
            }
        }
        pairs
    }

    pub(super) fn unlike(&self, group: &GroupId) -> Option<String> {
        for name in (0..self.nodes.len()).filter(|name| self.keeps(*name, group)) {
            if let Some(open) = self.open_in_vain(group, name) {
                return Some(format!("{open} blocks of node {name} wait for a seal"));
            }
        }
        for (a, b) in self.pairs(group) {
            let (ours, theirs) = (&self.nodes[a].rows[group], &self.nodes[b].rows[group]);
            if let Some(what) = difference(ours, theirs) {
                return Some(format!("nodes {a} and {b} differ in {what}"));
            }
            for (name, rows) in [(a, ours), (b, theirs)] {
                let wanted = rows::wanted(rows, limits::WANT_IDS).unwrap();
                if !wanted.is_empty() {
                    return Some(format!("node {name} lacks {} objects", wanted.len()));
                }
            }
        }
        None
    }

    /// The weather clears, and after a bounded time all is alike and quiet.
    pub(super) fn settle(&mut self) {
        self.weather = Weather::fair();
        self.heal();
        self.settle_as_it_is();
    }

    pub(super) fn settle_as_it_is(&mut self) {
        let groups: std::collections::BTreeSet<GroupId> =
            self.nodes.iter().flat_map(|node| node.rows.keys().copied()).collect();
        let deadline = self.now + limits::REQUEST_TIMEOUT_MS + limits::PULL_RETRY_MOST_MS + 4 * INTERVAL_MS;
        loop {
            self.run_for(1_000);
            let unlike = groups.iter().find_map(|group| self.unlike(group));
            match unlike {
                None => break,
                Some(what) => assert!(self.now < deadline, "{what}, long after all is well"),
            }
        }
        let deadline = self.now + limits::REQUEST_TIMEOUT_MS + INTERVAL_MS;
        assert!(self.run_until(deadline, Self::is_quiet), "something is never answered: {}", self.open());
        let written = |world: &Self| -> Vec<u64> {
            let all = world.nodes.iter().flat_map(|node| node.rows.values());
            all.map(|rows| rows::counters(rows).unwrap().blocks).collect()
        };
        let stays = |world: &mut Self| {
            let before = written(world);
            world.run_for(3 * limits::SEAL_INTERVAL_MS);
            written(world) == before
        };
        // One seal may be to come where the notary cannot cover all.
        assert!(stays(self) || stays(self), "something is written for ever");
        assert!(self.run_until(self.now + limits::REQUEST_TIMEOUT_MS, Self::is_quiet));
        for (name, node) in self.nodes.iter().enumerate() {
            assert_eq!(node.machine.unreported(), 0, "node {name} waits for a ticket");
            assert!(node.keeps_its_word(), "node {name} lost what it had acknowledged");
        }
        self.check_arrivals();
    }

    /// Somebody who watches a node reads what came to it since, group by group at most so many entries. Whoever watches keeps what it
    /// has read, whatever happens to the node.
    pub(super) fn watch(&mut self, name: Name, most: usize) {
        let node = &mut self.nodes[name];
        for (group, rows) in &node.rows {
            let watched = node.watched.entry(*group).or_default();
            let last = watched.last().map_or(0, |last| last.number);
            let mut left = most;
            let take = &mut |arrival| {
                watched.push(arrival);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            arrival::after(rows, last, take).unwrap();
        }
    }

    /// Who watches a node has read each entry once, and the entries tell what stands.
    fn check_arrivals(&mut self) {
        for name in 0..self.nodes.len() {
            self.watch(name, usize::MAX);
            let node = &self.nodes[name];
            for (group, rows) in &node.rows {
                assert_eq!(invariants::check(rows).unwrap(), [], "on node {name}");
                arrival::check(rows);
                let mut all = vec![];
                arrival::after(rows, 0, &mut |arrival| {
                    all.push(arrival);
                    ControlFlow::Continue(())
                })
                .unwrap();
                assert_eq!(node.watched[group], all, "who watches node {name} has read something else");
            }
        }
    }

    /// No honest node has found fault with another.
    pub(super) fn assert_no_faults(&self) {
        assert!(self.faults.is_empty(), "honest nodes were blamed: {:?}", self.faults);
    }

    pub(super) fn claims(&self, name: Name, group: &GroupId) -> Vec<ClaimId> {
        let mut ids = Vec::new();
        self.nodes[name].rows[group].rows(Table::State).range(vec![b'c']..vec![b'd']).for_each(|(key, _)| {
            ids.push(ClaimId::from_bytes(key[1..].try_into().unwrap()));
        });
        ids
    }

    pub(super) fn has_claim(&self, name: Name, group: &GroupId, claim: &ClaimId) -> bool {
        self.nodes[name].rows.get(group).is_some_and(|rows| state::claim(rows, claim).unwrap().is_some())
    }

    pub(super) fn is_founded(&self, name: Name, group: &GroupId) -> bool {
        self.nodes[name].rows.get(group).is_some_and(|rows| !rows.rows(Table::Id).is_empty())
    }

    /// Whether exactly these take each other for members.
    pub(super) fn pairs_are(&self, group: &GroupId, pairs: &[(Name, Name)]) -> bool {
        self.pairs(group) == pairs
    }
}
