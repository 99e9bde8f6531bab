//! The parts that bound a node, one by one, on one core, in memory and with redb beneath: signing, verifying, working out, sealing,
//! answering, finding.
//!
//! ```text
//! cargo bench --bench core
//! ```
//!
//! Each prints items a second; `end_to_end` says what is left of it with a disk and a network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may fail")]

use std::ops::ControlFlow;

use divan::Bencher;
use divan::counter::ItemsCount;
use lbm::chain::link::{link, store};
use lbm::chain::rows::{block, log, object};
use lbm::chain::transaction::{Claim, MemberAdd};
use lbm::chain::{ClaimBody, Context, Frontier, GroupId, Link, ObjectHash, Role, Transaction, Unverified, Verified};
use lbm::identity::{Identity, SecretKey};
use lbm::kv::{Direction, KvError, Memory, Overlay, Read};
use lbm::ledger::{arrange, query};
use lbm::node::arrival;
use lbm::node::engine::{Engine, Groups, Reply, Task, genesis};
use lbm::node::serve::serve;
use lbm::store::{Registry, Store};
use lbm::wire::{Pull, Request, Response};

fn main() {
    divan::main();
}

const NOW_MS: u64 = 1_800_000_000_000;
/// Blocks of one run: a pull's batch and a half.
const BLOCKS: usize = 4_096;

/// One group in memory.
struct Desk {
    group: GroupId,
    rows: Memory,
}

impl Groups for Desk {
    fn group(&self, id: &GroupId) -> Result<Option<Box<dyn Read + '_>>, KvError> {
        Ok((*id == self.group).then(|| Box::new(Overlay::new(&self.rows)) as Box<dyn Read>))
    }
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn member() -> Identity {
    key(2).identity()
}

fn claim(number: usize) -> (Transaction, Vec<u8>) {
    let text = format!(
        "Observation {number}: the request that failed {} times was retried without jitter, so that every worker came back at the \
         same moment and the queue behind the gateway grew past its bound",
        number % 17
    );
    let object = ClaimBody::new(None, text, &["retry".into()]).unwrap().encode();
    let claim = Claim {
        object: ObjectHash::of(&object),
        size: object.len() as u32,
        parent: None,
        rewarded: None,
        supersedes: vec![],
    };
    (Transaction::Claim(claim), object)
}

fn write(group: GroupId, transaction: Transaction, objects: Vec<Vec<u8>>) -> Task {
    Task::Write { group, author: key(1).identity(), transactions: vec![transaction], objects }
}

/// Takes one batch into the desk.
fn run(engine: &mut Engine, desk: &mut Desk, tasks: Vec<Task>) -> Vec<Reply> {
    let done = engine.run(desk, NOW_MS, tasks.into_iter().map(|task| ((), task)).collect()).unwrap();
    for (group, changes) in done.changes {
        desk.group = group;
        desk.rows.commit(changes);
    }
    done.replies.into_iter().map(|(_, reply)| reply.unwrap()).collect()
}

/// A founded group with one more member.
fn founded() -> (Engine, Desk) {
    let mut engine = Engine::new([key(1)]);
    let mut desk = Desk { group: GroupId::from_bytes([0; 32]), rows: Memory::default() };
    let founding = Task::Found { author: key(1).identity(), genesis: genesis("bench".into(), "KAT".into(), [7; 32]) };
    run(&mut engine, &mut desk, vec![founding]);
    let add = Transaction::MemberAdd(MemberAdd { identity: member(), role: Role::Member });
    let task = write(desk.group, add, vec![]);
    run(&mut engine, &mut desk, vec![task]);
    (engine, desk)
}

fn tasks(group: GroupId, from: usize, count: usize) -> Vec<Task> {
    (from..from + count)
        .map(|number| {
            let (transaction, object) = claim(number);
            write(group, transaction, vec![object])
        })
        .collect()
}

/// A group of so many claims, each a block of its own.
fn filled(count: usize) -> Desk {
    let (mut engine, mut desk) = founded();
    let tasks = tasks(desk.group, 0, count);
    run(&mut engine, &mut desk, tasks);
    desk
}

/// All that a member pulls from nothing.
fn pulled(desk: &Desk) -> (Vec<Unverified>, Vec<Vec<u8>>) {
    let request = Request::Pull(Pull { group: desk.group, frontier: (&Frontier::default()).into() });
    let Response::Batch(batch) = serve(&desk.rows, &[member()], request).unwrap() else { panic!("no batch") };
    (batch.blocks, batch.objects.into_iter().map(|object| object.into_vec()).collect())
}

fn verified(desk: &Desk) -> (Vec<Verified>, Vec<(ObjectHash, Vec<u8>)>) {
    let context = Context { group: desk.group, now_ms: NOW_MS, max_drift_ms: 0 };
    let (blocks, objects) = pulled(desk);
    let blocks = blocks.into_iter().map(|block| block.verify(&context).unwrap()).collect();
    (blocks, objects.into_iter().map(|object| (ObjectHash::of(&object), object)).collect())
}

/// All of a group, however many answers it takes.
fn verified_all(desk: &Desk) -> (Vec<Verified>, Vec<(ObjectHash, Vec<u8>)>) {
    let context = Context { group: desk.group, now_ms: NOW_MS, max_drift_ms: 0 };
    let (mut blocks, mut objects) = (vec![], vec![]);
    log(&desk.rows, 0, Direction::Up, &mut |_, line| {
        let block = block(&desk.rows, &line).unwrap().verify(&context).unwrap();
        objects.extend(object(&desk.rows, &line, 0).unwrap().map(|object| (ObjectHash::of(&object), object)));
        blocks.push(block);
        ControlFlow::Continue(())
    })
    .unwrap();
    (blocks, objects)
}

/// The limit of what one core can write: an Ed25519 signature a block.
#[divan::bench]
fn sign(bencher: Bencher<'_, '_>) {
    let key = key(1);
    bencher.counter(ItemsCount::new(1usize)).bench(|| key.sign(b"bench", divan::black_box(&[0; 300])));
}

/// The limit of what one core can receive: a strict verification a block, with its decoding and hashing.
#[divan::bench(sample_count = 10)]
fn verify(bencher: Bencher<'_, '_>) {
    let desk = filled(BLOCKS);
    let context = Context { group: desk.group, now_ms: NOW_MS, max_drift_ms: 0 };
    bencher
        .counter(ItemsCount::new(BLOCKS + 2))
        .with_inputs(|| pulled(&desk).0)
        .bench_values(|blocks| blocks.into_iter().map(|block| block.verify(&context)).filter(Result::is_ok).count());
}

/// Working out a batch of own writes, signatures included (these on all cores), before any disk.
#[divan::bench(args = [1, 64, 512], sample_count = 20)]
fn work_out_writes(bencher: Bencher<'_, '_>, batch: usize) {
    bencher
        .counter(ItemsCount::new(batch))
        .with_inputs(|| {
            let (engine, desk) = founded();
            let tasks = tasks(desk.group, 0, batch);
            (engine, desk, tasks)
        })
        .bench_values(|(mut engine, mut desk, tasks)| run(&mut engine, &mut desk, tasks).len());
}

/// Linking and folding verified blocks of a peer, before any disk.
#[divan::bench(sample_count = 10)]
fn fold_received(bencher: Bencher<'_, '_>) {
    let source = filled(BLOCKS);
    bencher
        .counter(ItemsCount::new(BLOCKS + 2))
        .with_inputs(|| {
            let (blocks, objects) = verified(&source);
            let task = Task::Ingest { group: source.group, peer: key(1).identity(), blocks, objects };
            (Engine::new([key(2)]), Desk { group: source.group, rows: Memory::default() }, task)
        })
        .bench_values(|(mut engine, mut desk, task)| run(&mut engine, &mut desk, vec![task]).len());
}

/// Blocks that come late, with their objects.
type Late = (Vec<Verified>, Vec<(ObjectHash, Vec<u8>)>);

/// A group of so many claims, and a block that lands behind them all.
fn with_a_late_one(behind: usize) -> (Desk, Late) {
    // The other member writes on the founding alone, so its block stands at height 2, below all but two.
    let (mut engine, mut desk) = founded();
    let mut early = Desk { group: desk.group, rows: desk.rows.clone() };
    let (transaction, object) = claim(1_000_000);
    let task =
        Task::Write { group: desk.group, author: member(), transactions: vec![transaction], objects: vec![object] };
    run(&mut Engine::new([key(2)]), &mut early, vec![task]);
    let (mut blocks, objects) = verified(&early);
    let late = blocks.split_off(2);
    let tasks = tasks(desk.group, 0, behind);
    run(&mut engine, &mut desk, tasks);
    (desk, (late, objects))
}

/// One block that lands behind so many others: they are undone and applied again.
#[divan::bench(args = [10, 1_000, 10_000], sample_count = 10)]
fn insert_behind(bencher: Bencher<'_, '_>, behind: usize) {
    let (desk, (late, objects)) = with_a_late_one(behind);
    bencher
        .with_inputs(|| {
            let task = ingest(desk.group, late.clone(), objects.clone());
            (Engine::new([key(1)]), Desk { group: desk.group, rows: desk.rows.clone() }, task)
        })
        .bench_values(|(mut engine, mut desk, task)| run(&mut engine, &mut desk, vec![task]).len());
}

/// The fold alone: linked blocks of a hundred claims each find their places, and are applied.
#[divan::bench(sample_count = 20)]
fn fold_transactions(bencher: Bencher<'_, '_>) {
    const TRANSACTIONS: usize = 100;
    let (mut engine, mut desk) = founded();
    let founding = desk.rows.clone();
    let (transactions, objects) = (0..100 * TRANSACTIONS).map(claim).unzip();
    let author = key(1).identity();
    let task = Task::Write { group: desk.group, author, transactions, objects };
    run(&mut engine, &mut desk, vec![task]);
    let mut stored = Overlay::new(&founding);
    let blocks = verified(&desk).0.into_iter().filter_map(|block| match link(&stored, block) {
        Ok(Link::Linked(linked)) => {
            store(&mut stored, &linked).unwrap();
            Some(linked)
        }
        _ => None,
    });
    let blocks: Vec<_> = blocks.collect();
    assert_eq!(blocks.len(), 100);
    let changes = stored.into_changes();
    let mut rows = founding.clone();
    rows.commit(changes);
    bencher.counter(ItemsCount::new(100 * TRANSACTIONS)).bench(|| {
        let mut overlay = Overlay::new(&rows);
        arrange::insert(&mut overlay, &blocks).unwrap();
        overlay
    });
}

/// A seal over so many open blocks, without its signature's announcement.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10)]
fn seal(bencher: Bencher<'_, '_>, open: usize) {
    let desk = filled(open);
    bencher
        .with_inputs(|| (Engine::new([key(1)]), Desk { group: desk.group, rows: desk.rows.clone() }))
        .bench_values(|(mut engine, desk)| engine.run(&desk, NOW_MS, vec![((), Task::Seal { group: desk.group })]));
}

/// A desk whose rows lie in a file.
struct Disk {
    store: Store,
    _folder: tempfile::TempDir,
}

impl Disk {
    /// Has so many claims, each a block of its own.
    fn filled(count: usize) -> (GroupId, Self) {
        let desk = filled(count);
        let disk = Self::empty(desk.group);
        if count > 0 {
            let (blocks, objects) = verified_all(&desk);
            disk.run(&mut Engine::new([key(1)]), ingest(desk.group, blocks, objects));
        }
        (desk.group, disk)
    }

    fn empty(group: GroupId) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("bench.redb"), &key(1).identity()).unwrap();
        store.commit(&[], &Registry { join: vec![group], ..Registry::default() }).unwrap();
        Self { store, _folder: folder }
    }

    /// Works a task out, and commits it.
    fn run(&self, engine: &mut Engine, task: Task) {
        let view = self.store.view().unwrap();
        let done = engine.run(&view, NOW_MS, vec![((), task)]).unwrap();
        self.store.commit(&done.changes, &Registry::default()).unwrap();
    }
}

fn ingest(group: GroupId, blocks: Vec<Verified>, objects: Vec<(ObjectHash, Vec<u8>)>) -> Task {
    Task::Ingest { group, peer: member(), blocks, objects }
}

/// Linking and folding verified blocks of a peer, and the commit.
#[divan::bench(sample_count = 10)]
fn redb_fold_received(bencher: Bencher<'_, '_>) {
    let source = filled(BLOCKS);
    let (blocks, objects) = verified(&source);
    bencher
        .counter(ItemsCount::new(BLOCKS + 2))
        .with_inputs(|| {
            let task = ingest(source.group, blocks.clone(), objects.clone());
            (Engine::new([key(2)]), Disk::empty(source.group), task)
        })
        .bench_refs(|(engine, disk, task)| {
            let task = std::mem::replace(task, Task::Seal { group: source.group });
            disk.run(engine, task);
        });
}

/// A seal over so many open blocks, and the commit.
#[divan::bench(args = [1_000, 10_000], sample_count = 5)]
fn redb_seal(bencher: Bencher<'_, '_>, open: usize) {
    bencher
        .with_inputs(|| (Engine::new([key(1)]), Disk::filled(open)))
        .bench_refs(|(engine, (group, disk))| disk.run(engine, Task::Seal { group: *group }));
}

/// One block that lands behind so many others, and the commit.
#[divan::bench(args = [1_000], sample_count = 5)]
fn redb_insert_behind(bencher: Bencher<'_, '_>, behind: usize) {
    let (desk, (blocks, objects)) = with_a_late_one(behind);
    bencher
        .with_inputs(|| {
            let disk = Disk::empty(desk.group);
            let (all, words) = verified_all(&desk);
            disk.run(&mut Engine::new([key(1)]), ingest(desk.group, all, words));
            (Engine::new([key(1)]), disk, ingest(desk.group, blocks.clone(), objects.clone()))
        })
        .bench_refs(|(engine, disk, task)| {
            let task = std::mem::replace(task, Task::Seal { group: desk.group });
            disk.run(engine, task);
        });
}

/// Gathering the answer to a pull from nothing, and writing it out.
#[divan::bench(sample_count = 10)]
fn answer_a_pull(bencher: Bencher<'_, '_>) {
    let desk = filled(BLOCKS);
    bencher.counter(ItemsCount::new(BLOCKS + 2)).bench(|| {
        let request = Request::Pull(Pull { group: desk.group, frontier: (&Frontier::default()).into() });
        serve(&desk.rows, &[member()], request).unwrap().encode().len()
    });
}

/// A page of a hundred claims in the middle of so many that came, with their words.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 20)]
fn redb_watch_a_page(bencher: Bencher<'_, '_>, came: usize) {
    let (group, disk) = Disk::filled(came);
    let view = disk.store.view().unwrap();
    bencher.bench_local(|| {
        let rows = view.group(&group).unwrap().unwrap();
        let mut page = Vec::with_capacity(100);
        arrival::after(rows.as_ref(), came as u64 / 2, &mut |arrival| {
            page.push(query::claim(rows.as_ref(), &arrival.claim).unwrap().unwrap());
            if page.len() == 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert_eq!(page.len(), 100);
        page
    });
}
