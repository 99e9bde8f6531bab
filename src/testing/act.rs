//! What people do in a story: each act goes through the writer of its node, and is answered after the commit.

use super::node::{Name, Node, Token};
use super::world::World;
use crate::chain::transaction::{Claim, Experience, MemberAdd, MemberRemove, NotarySet, Retract, RoleSet};
use crate::chain::{ClaimBody, ClaimId, GroupId, ObjectHash, Role, TextHash, Transaction};
use crate::node::engine::{self, Failure, Reply, Task, Written};
use crate::node::io::Input;
use crate::presence::{Presence, Status};

/// A claim and its words.
pub(super) fn claim(text: &str, parent: Option<ClaimId>) -> (Transaction, Vec<u8>) {
    let object = ClaimBody::new(None, text.into(), &[]).unwrap().encode();
    let (size, rewarded) = (object.len() as u32, Some(TextHash::of(text)));
    let claim = Claim { object: ObjectHash::of(&object), size, parent, rewarded, supersedes: vec![] };
    (Transaction::Claim(claim), object)
}

/// The same in place of other claims.
pub(super) fn claim_instead(text: &str, mut supersedes: Vec<ClaimId>) -> (Transaction, Vec<u8>) {
    supersedes.sort_unstable();
    supersedes.dedup();
    match claim(text, None) {
        (Transaction::Claim(claim), object) => (Transaction::Claim(Claim { supersedes, ..claim }), object),
        other => other,
    }
}

impl World {
    /// Hands a task to a node's writer.
    pub(super) fn start(&mut self, name: Name, group: Option<GroupId>, task: Task) -> u64 {
        let number = self.next();
        self.enqueue(name, Token::Story(number, group), task);
        number
    }

    fn finish(&mut self, name: Name, number: u64) -> Result<Reply, Failure> {
        let deadline = self.now + 1_000;
        assert!(self.run_until(deadline, |world| world.nodes[name].replies.contains_key(&number)), "no reply");
        self.nodes[name].replies.remove(&number).unwrap()
    }

    pub(super) fn found_task(&mut self, name: Name, group: &str) -> Task {
        let number = self.next();
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        Task::Found { author: self.nodes[name].id, genesis: engine::genesis(group.into(), "KAT".into(), secret) }
    }

    pub(super) fn write_task(
        &self,
        name: Name,
        group: GroupId,
        transactions: Vec<Transaction>,
        objects: Vec<Vec<u8>>,
    ) -> Task {
        Task::Write { group, author: self.nodes[name].id, transactions, objects }
    }

    pub(super) fn found(&mut self, name: Name, group: &str) -> GroupId {
        let task = self.found_task(name, group);
        let number = self.start(name, None, task);
        match self.finish(name, number) {
            Ok(Reply::Founded(group)) => group,
            other => panic!("founding came to {other:?}"),
        }
    }

    pub(super) fn write(
        &mut self,
        name: Name,
        group: GroupId,
        transactions: Vec<Transaction>,
        objects: Vec<Vec<u8>>,
    ) -> Result<Written, Failure> {
        let task = self.write_task(name, group, transactions, objects);
        self.write_of(name, group, task)
    }

    /// Has a node write what is a write, in whosever name.
    pub(super) fn write_of(&mut self, name: Name, group: GroupId, task: Task) -> Result<Written, Failure> {
        let number = self.start(name, Some(group), task);
        match self.finish(name, number)? {
            Reply::Written(written) => Ok(written),
            other => panic!("a write came to {other:?}"),
        }
    }

    pub(super) fn publish(&mut self, name: Name, group: GroupId, text: &str) -> ClaimId {
        self.answer_claim(name, group, text, None).unwrap()
    }

    pub(super) fn answer_claim(
        &mut self,
        name: Name,
        group: GroupId,
        text: &str,
        parent: Option<ClaimId>,
    ) -> Result<ClaimId, Failure> {
        let (transaction, object) = claim(text, parent);
        Ok(self.write(name, group, vec![transaction], vec![object])?.claims[0])
    }

    pub(super) fn add(&mut self, name: Name, group: GroupId, who: Name, role: Role) -> Result<Written, Failure> {
        let add = MemberAdd { identity: self.nodes[who].id, role };
        self.write(name, group, vec![Transaction::MemberAdd(add)], vec![])
    }

    pub(super) fn remove(&mut self, name: Name, group: GroupId, who: Name) -> Result<Written, Failure> {
        let remove = MemberRemove { identity: self.nodes[who].id };
        self.write(name, group, vec![Transaction::MemberRemove(remove)], vec![])
    }

    pub(super) fn set_role(&mut self, name: Name, group: GroupId, who: Name, role: Role) -> Result<Written, Failure> {
        let set = RoleSet { identity: self.nodes[who].id, role };
        self.write(name, group, vec![Transaction::RoleSet(set)], vec![])
    }

    pub(super) fn hand_over(&mut self, name: Name, group: GroupId, who: Name) -> Result<Written, Failure> {
        let set = NotarySet { identity: self.nodes[who].id };
        self.write(name, group, vec![Transaction::NotarySet(set)], vec![])
    }

    pub(super) fn retract(&mut self, name: Name, group: GroupId, claim: ClaimId) -> Result<Written, Failure> {
        self.write(name, group, vec![Transaction::Retract(Retract { claim })], vec![])
    }

    pub(super) fn experience(&mut self, name: Name, group: GroupId, bytes: &[u8]) -> Result<Written, Failure> {
        let experience = Experience { object: ObjectHash::of(bytes), size: bytes.len() as u32 };
        self.write(name, group, vec![Transaction::Experience(experience)], vec![bytes.to_vec()])
    }

    /// A node says what it is up to.
    pub(super) fn say(&mut self, name: Name, group: GroupId, status: Status) {
        let clock_ms = self.clock(name);
        let Node { key, id, machine, .. } = &self.nodes[name];
        let time_ms = machine.presence_time_ms(&group, id, clock_ms);
        let presence = Presence { group, member: *id, status, metadata: None, time_ms };
        let record = presence.sign(key).unwrap();
        self.step(name, Input::Presence(record));
    }

    /// What a node holds of a member's presence.
    pub(super) fn said(&self, at: Name, group: &GroupId, of: Name) -> Option<Status> {
        let mut held = self.nodes[at].machine.presences(group).map(crate::presence::Verified::presence);
        held.find(|presence| presence.member == self.nodes[of].id).map(|presence| presence.status)
    }

    /// A group of all nodes: the first founds it and adds the others, who join.
    pub(super) fn found_with_all(&mut self) -> GroupId {
        let group = self.found(0, "all");
        for other in 1..self.nodes.len() {
            self.add(0, group, other, Role::Member).unwrap();
            self.join(other, group);
        }
        group
    }
}
