//! A node that holds one group in memory and signs nothing.

use lbm::chain::{GroupId, ObjectHash, Verified};
use lbm::kv::{Direction, KvError, Memory, Range, Read, Table, Visit};
use lbm::node::Engine;
use lbm::node::engine::{Groups, Ingested, Reply, Task};

use crate::story::{START_MS, Story, Told};

/// The node.
pub struct Node {
    group: GroupId,
    engine: Engine,
    rows: Memory,
}

struct View<'a>(&'a Memory);

impl Read for View<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.0.get(table, key)
    }

    fn scan(&self, table: Table, range: Range<'_>, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.0.scan(table, range, direction, visit)
    }
}

struct One<'a>(GroupId, &'a Memory);

impl Groups for One<'_> {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        Ok((*id == self.0).then(|| Box::new(View(self.1)) as Box<dyn Read>))
    }
}

impl Node {
    /// A node that has taken in some blocks of the history, one after the other.
    pub fn with<'a>(story: &Story, blocks: impl Iterator<Item = &'a Told>) -> Self {
        let mut node = Self { group: story.group, engine: Engine::new([]), rows: Memory::default() };
        for told in blocks {
            node.take(told.block.clone(), &told.objects);
        }
        node
    }

    /// Takes in a block with its objects, and commits.
    pub fn take(&mut self, block: Verified, objects: &[Vec<u8>]) -> Ingested {
        let objects = objects.iter().map(|object| (ObjectHash::of(object), object.clone())).collect();
        let task = Task::Ingest { group: self.group, peer: block.body().author, blocks: vec![block], objects };
        let done = self.engine.run(&One(self.group, &self.rows), START_MS, vec![((), task)]).unwrap();
        for (_, changes) in done.changes {
            self.rows.commit(changes);
        }
        match done.replies.into_iter().next() {
            Some(((), Ok(Reply::Ingested(report)))) => report,
            other => panic!("blocks were not taken in: {other:?}"),
        }
    }

    /// Its rows.
    pub fn rows(&self) -> &Memory {
        &self.rows
    }
}
