//! Tokens on one core and in memory: folding transfers, and what readers ask of many accounts.
//!
//! ```text
//! cargo bench --bench tokens
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may fail")]

use divan::Bencher;
use divan::counter::ItemsCount;
use lbm::chain::transaction::{Mint, PolicyUpdate, Transfer};
use lbm::chain::{Context, Frontier, GroupId, Transaction};
use lbm::identity::{Identity, SecretKey};
use lbm::kv::{KvError, Memory, Overlay, Read};
use lbm::ledger::{account, invariants};
use lbm::node::engine::{Engine, Groups, Reply, Task, genesis};
use lbm::node::serve::serve;
use lbm::wire::{Pull, Request, Response};

fn main() {
    divan::main();
}

const NOW_MS: u64 = 1_800_000_000_000;
/// Transfers of one run.
const TRANSFERS: usize = 10_000;

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

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// The account with a number: any key can have one.
fn holder(number: u32) -> Identity {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    SecretKey::from_seed(&seed).identity()
}

fn run(engine: &mut Engine, desk: &mut Desk, task: Task) -> Reply {
    let done = engine.run(desk, NOW_MS, vec![((), task)]).unwrap();
    for (group, changes) in done.changes {
        desk.group = group;
        desk.rows.commit(changes);
    }
    done.replies.into_iter().next().unwrap().1.unwrap()
}

/// A group in which one member has given something to each of so many accounts, with a fee.
fn given(accounts: u32) -> Desk {
    let mut engine = Engine::new([key()]);
    let mut desk = Desk { group: GroupId::from_bytes([0; 32]), rows: Memory::default() };
    let author = key().identity();
    run(&mut engine, &mut desk, Task::Found { author, genesis: genesis("bench".into(), "KAT".into(), [7; 32]) });
    let policy = PolicyUpdate { transfer_fee_bps: Some(100), ..PolicyUpdate::default() };
    let first = [Transaction::PolicyUpdate(policy), Transaction::Mint(Mint { to: author, amount: 1 << 40 })];
    let to: Vec<Identity> = (0..accounts).map(holder).collect();
    let give = |number: usize| Transaction::Transfer(Transfer { to: to[number % to.len()], amount: 1_000 });
    let transactions = first.into_iter().chain((0..TRANSFERS).map(give)).collect();
    let task = Task::Write { group: desk.group, author, transactions, objects: vec![] };
    run(&mut engine, &mut desk, task);
    desk
}

/// Linking and folding a peer's blocks of a hundred transfers each.
#[divan::bench(args = [10, 10_000], sample_count = 10)]
fn fold_transfers(bencher: Bencher<'_, '_>, accounts: u32) {
    let desk = given(accounts);
    let request = Request::Pull(Pull { group: desk.group, frontier: (&Frontier::default()).into() });
    let Response::Batch(batch) = serve(&desk.rows, &[key().identity()], request).unwrap() else { panic!("no batch") };
    assert!(!batch.more);
    let context = Context { group: desk.group, now_ms: NOW_MS, max_drift_ms: 0 };
    let blocks: Vec<_> = batch.blocks.into_iter().map(|block| block.verify(&context).unwrap()).collect();
    bencher
        .counter(ItemsCount::new(TRANSFERS + 3))
        .with_inputs(|| {
            let task =
                Task::Ingest { group: desk.group, peer: key().identity(), blocks: blocks.clone(), objects: vec![] };
            (Engine::new([]), Desk { group: desk.group, rows: Memory::default() }, task)
        })
        .bench_values(|(mut engine, mut desk, task)| run(&mut engine, &mut desk, task));
}

/// One balance among so many accounts.
#[divan::bench(args = [10, 10_000])]
fn balance(bencher: Bencher<'_, '_>, accounts: u32) {
    let desk = given(accounts);
    let identity = holder(accounts / 2);
    bencher.bench(|| account::account(&desk.rows, divan::black_box(&identity)).unwrap().balance);
}

/// The last hundred of 10,000 moves.
#[divan::bench]
fn history(bencher: Bencher<'_, '_>) {
    let desk = given(10);
    let identity = key().identity();
    bencher.bench(|| account::history(&desk.rows, divan::black_box(&identity), None, 100).unwrap().len());
}

/// The check of all accounts and 20,000 moves that `group verify` makes.
#[divan::bench(sample_count = 10)]
fn check_invariants(bencher: Bencher<'_, '_>) {
    let desk = given(10_000);
    bencher.bench(|| assert_eq!(invariants::check(&desk.rows).unwrap(), []));
}
