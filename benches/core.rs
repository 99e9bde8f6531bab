//! The parts that bound a node, one by one, on one core and in memory: signing, verifying, working out, answering, finding.
//!
//! ```text
//! cargo bench --bench core
//! ```
//!
//! Each prints items a second; `end_to_end` says what is left of it with a disk and a network.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may fail")]

use divan::Bencher;
use divan::counter::ItemsCount;
use lbm::chain::transaction::Claim;
use lbm::chain::transaction::MemberAdd;
use lbm::chain::{ClaimBody, Context, Frontier, GroupId, ObjectHash, Role, Transaction, Unverified, Verified};
use lbm::identity::{Identity, SecretKey};
use lbm::kv::{KvError, Memory, Overlay, Read};
use lbm::node::engine::{Engine, Groups, Reply, Task, genesis};
use lbm::node::serve::serve;
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
    let claim = Claim { object: ObjectHash::of(&object), size: object.len() as u32, parent: None, rewarded: None };
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
    let Response::Batch(batch) = serve(&desk.rows, &member(), request).unwrap() else { panic!("no batch") };
    (batch.blocks, batch.objects.into_iter().map(|object| object.into_vec()).collect())
}

fn verified(desk: &Desk) -> (Vec<Verified>, Vec<(ObjectHash, Vec<u8>)>) {
    let context = Context { group: desk.group, now_ms: NOW_MS, max_drift_ms: 0 };
    let (blocks, objects) = pulled(desk);
    let blocks = blocks.into_iter().map(|block| block.verify(&context).unwrap()).collect();
    (blocks, objects.into_iter().map(|object| (ObjectHash::of(&object), object)).collect())
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

/// One block that lands behind so many others: they are undone and applied again.
#[divan::bench(args = [10, 1_000, 10_000], sample_count = 10)]
fn insert_behind(bencher: Bencher<'_, '_>, behind: usize) {
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
    bencher
        .with_inputs(|| {
            let task =
                Task::Ingest { group: desk.group, peer: member(), blocks: late.clone(), objects: objects.clone() };
            (Engine::new([key(1)]), Desk { group: desk.group, rows: desk.rows.clone() }, task)
        })
        .bench_values(|(mut engine, mut desk, task)| run(&mut engine, &mut desk, vec![task]).len());
}

/// Gathering the answer to a pull from nothing, and writing it out.
#[divan::bench(sample_count = 10)]
fn answer_a_pull(bencher: Bencher<'_, '_>) {
    let desk = filled(BLOCKS);
    bencher.counter(ItemsCount::new(BLOCKS + 2)).bench(|| {
        let request = Request::Pull(Pull { group: desk.group, frontier: (&Frontier::default()).into() });
        serve(&desk.rows, &member(), request).unwrap().encode().len()
    });
}
