//! A seeded simulator of several nodes: the real engine, machine, answers and messages over rows in memory and a network that
//! delays, loses, reorders, doubles and cuts.
//!
//! **A seed replays a run**: there is one clock, one source of randomness, and nothing else. A failing run names its seed;
//! `LBM_SEED=7 cargo test …` runs that one alone, and `LBM_SEEDS=5000` runs as many in place of the usual number.
//! What must hold after every step is asserted where it happens, in [`world`]; what must hold once all is quiet, in [`check`].

mod act;
mod attacks;
mod check;
mod copies;
pub(crate) mod desk;
mod evil;
mod hosted;
mod joining;
mod malice;
mod market;
mod node;
mod presence;
mod random;
mod seals;
mod stories;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chain::rows::counters;
use crate::kv::Memory;
use crate::ledger::invariants;
use crate::node::arrival;

/// Checks what must hold of a group's rows after every batch. It walks through all claims, so of a long history not after each.
pub(crate) fn check_rows(rows: &Memory) {
    let claims = counters(rows).unwrap().claims;
    if claims < 200 || claims.is_multiple_of(500) {
        assert_eq!(invariants::check(rows).unwrap(), []);
        arrival::check(rows);
    }
}

/// Runs `story` with each of the seeds `0..usual`, or with those that the environment asks for, and names one that fails.
fn each_seed(usual: u64, story: impl Fn(u64) + Sync) {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect(name));
    if let Some(seed) = number("LBM_SEED") {
        return story(seed);
    }
    let seeds = number("LBM_SEEDS").unwrap_or(usual);
    let (next, failure) = (AtomicU64::new(0), Mutex::new(None));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds || failure.lock().unwrap().is_some() {
                return;
            }
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| story(seed))) {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("").to_owned();
                *failure.lock().unwrap() = Some((seed, text));
            }
        }
    };
    // Threads of their own: the engine signs on the pool, and must not pick up another story meanwhile.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    if let Some((seed, text)) = failure.into_inner().unwrap() {
        panic!("seed {seed} fails, replay it with LBM_SEED={seed}: {text}");
    }
}
