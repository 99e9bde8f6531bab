//! Tasks in a store on disk: what readers ask of a hundred thousand, and what it costs to take them through their lives.
//!
//! ```text
//! cargo bench --bench tasks
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may fail")]

use divan::Bencher;
use divan::counter::ItemsCount;
use lbm::chain::transaction::{TaskAssign, TaskComplete, TaskCreate, TaskId, TaskStart};
use lbm::chain::{GroupId, Transaction};
use lbm::identity::SecretKey;
use lbm::kv::{KvError, Memory, Overlay, Read};
use lbm::ledger::task::query::{self, Filter};
use lbm::ledger::task::rows::TaskStatus;
use lbm::node::engine::{Engine, Groups, Task, genesis};
use lbm::store::{Registry, Store};

fn main() {
    divan::main();
}

const NOW_MS: u64 = 1_800_000_000_000;
const TASKS: usize = 100_000;
const LEASE_MS: u64 = 60_000;

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn id(number: usize) -> TaskId {
    TaskId(format!("task-{number:06}"))
}

fn create(number: usize) -> Transaction {
    Transaction::TaskCreate(TaskCreate {
        task: id(number),
        title: format!("What has to be done as number {number}"),
        description: Some("Look at what was measured, and say what follows from it".into()),
        due_ms: (number.is_multiple_of(3)).then_some(NOW_MS + (number as u64 * 7_919) % 1_000_000),
        priority: (number % 10) as u8,
        depends_on: vec![],
        assignee: None,
        reward: 0,
    })
}

fn take(number: usize) -> Transaction {
    Transaction::TaskAssign(TaskAssign { task: id(number), assignee: key().identity(), lease_ms: LEASE_MS })
}

/// A group in a store of its own, with so many tasks, of which every tenth is somebody's.
struct Kept {
    _folder: tempfile::TempDir,
    store: Store,
    group: GroupId,
}

fn kept(tasks: usize) -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let author = key().identity();
    let store = Store::open(&folder.path().join("lbm.redb"), &author).unwrap();
    let mut engine = Engine::new([key()]);
    let found = Task::Found { author, genesis: genesis("bench".into(), "KAT".into(), [7; 32]) };
    let done = engine.run(&store.view().unwrap(), NOW_MS, vec![((), found)]).unwrap();
    let group = done.changes[0].0;
    store.commit(&done.changes, &Registry::default()).unwrap();
    for first in (0..tasks).step_by(10_000) {
        let numbers = first..tasks.min(first + 10_000);
        let takes = numbers.clone().filter(|number| number.is_multiple_of(10)).map(take);
        let transactions = numbers.map(create).chain(takes).collect();
        let write = Task::Write { group, author, transactions, objects: vec![] };
        let done = engine.run(&store.view().unwrap(), NOW_MS, vec![((), write)]).unwrap();
        assert!(done.replies[0].1.is_ok());
        store.commit(&done.changes, &Registry::default()).unwrap();
    }
    Kept { _folder: folder, store, group }
}

/// The best hundred that can be taken; with `true` every lease is over, ten thousand of them.
#[divan::bench(args = [false, true], sample_count = 100)]
fn ready(bencher: Bencher<'_, '_>, over: bool) {
    let kept = kept(TASKS);
    let now_ms = if over { NOW_MS + LEASE_MS } else { NOW_MS };
    bencher.bench(|| {
        let view = kept.store.view().unwrap();
        let kv = view.group(&kept.group).unwrap().unwrap();
        let tasks = query::ready(kv.as_ref(), now_ms, 100).unwrap();
        assert_eq!(tasks.len(), 100);
    });
}

/// A page of a hundred: of all, and of what one member has.
#[divan::bench(args = [false, true], sample_count = 100)]
fn page(bencher: Bencher<'_, '_>, mine: bool) {
    let kept = kept(TASKS);
    let assignee = mine.then(|| key().identity());
    let filter = Filter { assignee, status: mine.then_some(TaskStatus::Assigned), ..Filter::default() };
    bencher.bench(|| {
        let view = kept.store.view().unwrap();
        let kv = view.group(&kept.group).unwrap().unwrap();
        assert_eq!(query::page(kv.as_ref(), &filter, None, 100).unwrap().tasks.len(), 100);
    });
}

/// A group's rows in memory.
struct Desk(GroupId, Memory);

impl Groups for Desk {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        Ok((*id == self.0).then(|| Box::new(Overlay::new(&self.1)) as Box<dyn Read>))
    }
}

/// Creating, taking, starting and completing a thousand tasks: four transactions each, in memory, signatures included.
#[divan::bench(sample_count = 20)]
fn whole_lives(bencher: Bencher<'_, '_>) {
    let author = key().identity();
    let lives = (0..1_000).flat_map(|number| {
        let (task, attempt) = (id(number), 1);
        let start = TaskStart { task: task.clone(), attempt, lease_ms: LEASE_MS };
        let complete = TaskComplete { task, attempt, result: None, result_hash: None };
        [create(number), take(number), Transaction::TaskStart(start), Transaction::TaskComplete(complete)]
    });
    let transactions: Vec<Transaction> = lives.collect();
    let found = || Task::Found { author, genesis: genesis("bench".into(), "KAT".into(), [7; 32]) };
    let mut engine = Engine::new([key()]);
    let nothing = Desk(GroupId::from_bytes([0; 32]), Memory::default());
    let mut founded = engine.run(&nothing, NOW_MS, vec![((), found())]).unwrap();
    let (group, changes) = founded.changes.pop().unwrap();
    let mut desk = Desk(group, Memory::default());
    desk.1.commit(changes);
    bencher
        .counter(ItemsCount::new(transactions.len()))
        .with_inputs(|| Task::Write { group, author, transactions: transactions.clone(), objects: vec![] })
        .bench_local_values(|task| {
            let done = engine.run(&desk, NOW_MS, vec![((), task)]).unwrap();
            assert!(done.replies[0].1.is_ok());
        });
}
