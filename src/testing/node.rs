//! One simulated node: engine, machine and rows, and what stands between them.

use std::collections::{BTreeMap, BTreeSet};

use super::evil::Evil;
use crate::chain::rows;
use crate::chain::{BlockId, Frontier, GroupId};
use crate::identity::{Identity, SecretKey};
use crate::kv::{KvError, Memory, Read};
use crate::ledger::{former, query};
use crate::node::arrival::Arrival;
use crate::node::engine::{self, Failure, Groups, Reply, Task};
use crate::node::io::{InboundId, Notice, Opened, Ticket};
use crate::node::machine::Settings;
use crate::node::shut_out;
use crate::node::{Engine, Machine};

/// Names a node of a world.
pub(super) type Name = usize;

/// Who waits for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Token {
    /// The machine.
    Machine(Ticket),
    /// The story, which writes into this group.
    Story(u64, Option<GroupId>),
    /// Nobody: blocks that were slipped in.
    Nobody,
}

pub(super) struct Node {
    pub(super) key: SecretKey,
    /// The keys of the agents that it hosts.
    pub(super) agents: Vec<SecretKey>,
    pub(super) id: Identity,
    pub(super) engine: Engine,
    pub(super) machine: Machine,
    /// What is durable.
    pub(super) rows: BTreeMap<GroupId, Memory>,
    /// How far its clock is ahead of the world's.
    pub(super) skew_ms: i64,
    /// Counts restarts: what was on its way to an earlier life is lost.
    pub(super) life: u32,
    /// Tasks that wait for the writer.
    pub(super) jobs: Vec<(Token, Task)>,
    /// Requests of peers that are not answered yet, and by which ask each came.
    pub(super) questions: BTreeMap<InboundId, u64>,
    pub(super) next_question: u64,
    pub(super) wake_at: Option<u64>,
    /// Blocks of which a caller was told that they are written.
    pub(super) acknowledged: Vec<(GroupId, BlockId)>,
    /// Blocks that were final when it was last looked.
    pub(super) final_blocks: BTreeMap<GroupId, u64>,
    pub(super) replies: BTreeMap<u64, Result<Reply, Failure>>,
    pub(super) notices: Vec<Notice>,
    /// What somebody who watches it has read.
    pub(super) watched: BTreeMap<GroupId, Vec<Arrival>>,
    pub(super) banned: BTreeSet<Identity>,
    /// How it answers, where it is not honest.
    pub(super) evil: Option<Evil>,
}

pub(super) struct View<'a>(pub(super) &'a BTreeMap<GroupId, Memory>);

impl Groups for View<'_> {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        Ok(self.0.get(id).map(|rows| Box::new(Shared(rows)) as Box<dyn Read>))
    }
}

/// A reader of rows that somebody else owns.
struct Shared<'a>(&'a Memory);

impl Read for Shared<'_> {
    fn get(&self, table: crate::kv::Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(table, key)
    }

    fn scan(
        &self,
        table: crate::kv::Table,
        range: crate::kv::Range<'_>,
        direction: crate::kv::Direction,
        visit: &mut crate::kv::Visit<'_>,
    ) -> Result<(), KvError> {
        self.0.scan(table, range, direction, visit)
    }
}

impl Node {
    pub(super) fn new(number: u8, settings: Settings) -> Self {
        let key = SecretKey::from_seed(&[number + 1; 32]);
        let id = key.identity();
        Self {
            id,
            engine: Engine::new([key.clone()]),
            key,
            machine: Machine::new(id, settings),
            agents: vec![],
            rows: BTreeMap::new(),
            skew_ms: 0,
            life: 0,
            jobs: vec![],
            questions: BTreeMap::new(),
            next_question: 0,
            wake_at: None,
            acknowledged: vec![],
            final_blocks: BTreeMap::new(),
            replies: BTreeMap::new(),
            notices: vec![],
            watched: BTreeMap::new(),
            banned: BTreeSet::new(),
            evil: None,
        }
    }

    /// All but the rows is gone.
    pub(super) fn restart(&mut self, settings: Settings) {
        self.life += 1;
        self.engine = Engine::new(self.agents.iter().chain([&self.key]).cloned());
        self.machine = Machine::new(self.id, settings);
        self.machine.host(0, self.agents.iter().map(SecretKey::identity).collect());
        self.jobs.clear();
        self.questions.clear();
        self.wake_at = None;
    }

    pub(super) fn opened(&self, group: GroupId) -> Opened {
        let rows = &self.rows[&group];
        Opened {
            group,
            frontier: Frontier::new(rows::all_tips(rows).unwrap()),
            members: query::members(rows).unwrap().into_iter().map(|(identity, _)| identity).collect(),
            former: former::all(rows).unwrap(),
            shut_out: shut_out::shut_out(rows).unwrap().map(|said| (said.why, said.by)),
            in_doubt: rows::in_doubt(rows).unwrap(),
            to_seal: engine::to_seal(rows, true, |identity| *identity == self.id).unwrap(),
        }
    }

    /// Whether every write that was acknowledged is in the rows.
    pub(super) fn keeps_its_word(&self) -> bool {
        self.acknowledged.iter().all(|(group, block)| {
            let rows = &self.rows[group];
            let placed = rows::placed(rows, block).unwrap();
            placed.is_some_and(|placed| {
                let stored = rows::block(rows, &crate::chain::LineKey::new(&placed.author, placed.seq, block)).unwrap();
                BlockId::of(&stored.body) == *block
            })
        })
    }

    pub(super) fn is_member(&self, group: &GroupId, who: &Identity) -> bool {
        self.rows.get(group).is_some_and(|rows| crate::ledger::state::member(rows, who).unwrap().is_some())
    }
}
