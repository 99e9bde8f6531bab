//! One engine with several keys over rows in memory, without a network: for tests of the chain, the ledger and the answers.

use std::collections::BTreeMap;

use super::act::claim;
use super::node::View;
use crate::chain::transaction::{Offered, Transaction};
use crate::chain::{
    BlockId, Body, Context, Draft, GroupId, ObjectHash, OfferId, Payload, TermsHash, Unverified, Verified, rows,
};
use crate::identity::{Identity, SecretKey};
use crate::kv::Memory;
use crate::ledger::market::query;
use crate::ledger::state::{self, Group};
use crate::node::Engine;
use crate::node::engine::{self, Failure, Ingested, News, Reply, Task, Written};

pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// The key with a number.
pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number + 1; 32])
}

/// The identity with a number.
pub(crate) fn who(number: u8) -> Identity {
    key(number).identity()
}

/// Words without a parent.
pub(crate) fn words(text: &str) -> (Transaction, Vec<u8>) {
    claim(text, None)
}

/// Who sells an offer and what an order of it agrees to, as a ledger has it; of none, what is nobody's.
pub(crate) fn agreed(rows: &Memory, offer: &OfferId) -> (Identity, TermsHash) {
    let Some(offer) = query::offer(rows, offer).unwrap() else { return (who(9), TermsHash::from_bytes([0; 32])) };
    let Group { name: group_name, currency, .. } = state::group(rows).unwrap().unwrap();
    (offer.row.seller, Offered { group_name, currency, offer: offer.terms }.terms())
}

/// The genesis of the group that all tests without a network are about.
pub(crate) fn genesis() -> Verified {
    let genesis = engine::genesis("desk".into(), "KAT".into(), [7; 32]);
    let body = Body {
        group: None,
        author: who(0),
        seq: 0,
        prev: None,
        parents: vec![],
        height: 0,
        time_ms: NOW_MS,
        payload: Payload::Plain(vec![Transaction::Genesis(genesis)]),
    };
    Draft::new(body).unwrap().sign(&key(0))
}

/// A block as its author would sign it, right or wrong.
pub(crate) fn block(
    author: u8,
    line: Option<(u64, BlockId)>,
    mut parents: Vec<BlockId>,
    height: u64,
    transactions: Vec<Transaction>,
) -> Verified {
    parents.sort();
    let body = Body {
        group: Some(GroupId::from(genesis().id())),
        author: who(author),
        seq: line.map_or(0, |(seq, _)| seq + 1),
        prev: line.map(|(_, id)| id),
        parents,
        height,
        time_ms: NOW_MS,
        payload: Payload::Plain(transactions),
    };
    Draft::new(body).unwrap().sign(&key(author))
}

/// The desk.
pub(crate) struct Desk {
    pub(crate) group: GroupId,
    engine: Engine,
    rows: BTreeMap<GroupId, Memory>,
    pub(crate) news: Vec<News>,
    /// What its clock says.
    pub(crate) now_ms: u64,
}

impl Desk {
    /// Keeps the group, and has nothing of it yet.
    pub(crate) fn empty() -> Self {
        let group = GroupId::from(genesis().id());
        let rows = BTreeMap::from([(group, Memory::default())]);
        Self { group, engine: Engine::new((0..8).map(key)), rows, news: vec![], now_ms: NOW_MS }
    }

    /// Has the genesis.
    pub(crate) fn founded() -> Self {
        let mut desk = Self::empty();
        assert_eq!(desk.ingest(&[genesis()]).stored, 1);
        desk
    }

    pub(crate) fn rows(&self) -> &Memory {
        &self.rows[&self.group]
    }

    /// The first block of an author behind the founding.
    pub(crate) fn first_of(&self, author: u8) -> BlockId {
        let mut first = None;
        rows::line_from(self.rows(), &who(author), u64::from(author == 0), &mut |_, block| {
            first = Some(BlockId::of(&block.body));
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
        first.unwrap()
    }

    /// A second desk with the same rows: what both write is a fork.
    pub(crate) fn copy(&self) -> Self {
        Self { rows: self.rows.clone(), now_ms: self.now_ms, ..Self::empty() }
    }

    fn run(&mut self, task: Task) -> Result<Reply, Failure> {
        let mut done = self.engine.run(&View(&self.rows), self.now_ms, vec![((), task)]).unwrap();
        for (group, changes) in done.changes {
            let rows = self.rows.entry(group).or_default();
            rows.commit(changes);
            super::check_rows(rows);
        }
        self.news.extend(done.news);
        done.replies.pop().unwrap().1
    }

    pub(crate) fn write(
        &mut self,
        author: u8,
        transactions: Vec<Transaction>,
        objects: Vec<Vec<u8>>,
    ) -> Result<Written, Failure> {
        match self.run(Task::Write { group: self.group, author: who(author), transactions, objects })? {
            Reply::Written(written) => Ok(written),
            other => panic!("a write came to {other:?}"),
        }
    }

    /// Seals what is open, as whoever is the sealer.
    pub(crate) fn seal(&mut self) -> Result<Written, Failure> {
        match self.run(Task::Seal { group: self.group })? {
            Reply::Written(written) => Ok(written),
            other => panic!("a seal came to {other:?}"),
        }
    }

    pub(crate) fn publish(&mut self, author: u8, text: &str) -> Written {
        let (transaction, object) = words(text);
        self.write(author, vec![transaction], vec![object]).unwrap()
    }

    pub(crate) fn ingest(&mut self, blocks: &[Verified]) -> Ingested {
        self.ingest_from(7, blocks, vec![])
    }

    pub(crate) fn ingest_from(&mut self, peer: u8, blocks: &[Verified], objects: Vec<Vec<u8>>) -> Ingested {
        let objects = objects.into_iter().map(|object| (ObjectHash::of(&object), object)).collect();
        match self.run(Task::Ingest { group: self.group, peer: who(peer), blocks: blocks.to_vec(), objects }) {
            Ok(Reply::Ingested(report)) => {
                // It has everybody's key, so all that comes is of its own. That is no news here.
                let told = self.news.len();
                self.run(Task::Settle { group: self.group, as_of: None }).unwrap();
                self.news.truncate(told);
                report
            }
            other => panic!("taking in came to {other:?}"),
        }
    }

    /// The blocks that were written here.
    pub(crate) fn own_blocks(&self) -> Vec<Unverified> {
        let blocks = self.news.iter().flat_map(|news| &news.blocks);
        blocks.filter(|(from, _)| from.is_none()).map(|(_, fresh)| fresh.block.clone()).collect()
    }

    pub(crate) fn verify(&self, blocks: Vec<Unverified>) -> Vec<Verified> {
        let context = Context { group: self.group, now_ms: NOW_MS, max_drift_ms: 0 };
        blocks.into_iter().map(|block| block.verify(&context).unwrap()).collect()
    }
}
