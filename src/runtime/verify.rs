//! What peers send, on its way to the writer: hashed, decoded, verified on all cores, in the sequence in which it came.
//!
//! One thread hands on; the work is spread over rayon's. Batches queue in a channel of [`limits::VERIFY_QUEUE`]: where it is full
//! the batch is dropped, whoever waits for it is told so, and sync brings it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use tokio::sync::mpsc;

use super::clock::unix_ms;
use super::commit::{Fatal, Rest, Told};
use super::events::Events;
use super::queue::Gauge;
use super::writer::Writer;
use crate::api::types::EventKind;
use crate::chain::{Context, GroupId, Invalid, ObjectHash, Unverified, Verified};
use crate::identity::Identity;
use crate::limits;
use crate::metrics::{Metrics, Queue};
use crate::node::engine::Task;
use crate::node::io::{NotIngested, Ticket};

/// A batch as it came.
#[derive(Debug)]
pub struct Unchecked {
    /// To be named by the report.
    pub ticket: Ticket,
    /// Who sent it.
    pub peer: Identity,
    /// Where it belongs.
    pub group: GroupId,
    /// The blocks.
    pub blocks: Vec<Unverified>,
    /// The objects.
    pub objects: Vec<Vec<u8>>,
}

/// A handle to the verifying thread. When the last one is gone, the thread finishes what waits and ends.
#[derive(Clone)]
pub struct Verifier {
    batches: mpsc::Sender<Unchecked>,
    metrics: Metrics,
}

impl Verifier {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`std::io::Error`] where the system gives no thread.
    pub fn start(
        writer: Writer,
        told: mpsc::Sender<Told>,
        max_drift_ms: u64,
        metrics: Metrics,
        events: Events,
    ) -> std::io::Result<(Self, std::thread::JoinHandle<()>)> {
        let (batches, mut waiting) = mpsc::channel::<Unchecked>(limits::VERIFY_QUEUE);
        let counts = metrics.clone();
        let work = move || {
            let _fatal = Fatal("lbm-verify");
            let mut told_at: Option<Instant> = None;
            while let Some(batch) = waiting.blocking_recv() {
                let (ticket, peer, group) = (batch.ticket, batch.peer, batch.group);
                match check(batch, max_drift_ms, &counts) {
                    Ok(Checked { task, rest, ahead_ms }) => {
                        let pause = Duration::from_millis(limits::CLOCK_WORD_MS);
                        if ahead_ms > 0 && told_at.is_none_or(|told_at| told_at.elapsed() >= pause) {
                            told_at = Some(Instant::now());
                            let (group_id, member_id) = (group.to_string(), peer.to_string());
                            events.tell(EventKind::ClockAhead { group_id, member_id, ahead_ms });
                        }
                        writer.ingest_blocking(task, ticket, rest);
                    }
                    Err(invalid) => {
                        counts.rejected(word(&invalid));
                        tracing::info!(%invalid, "refused what a peer sent");
                        // The driver is gone only when everything stops.
                        let _stopping = told.blocking_send(Told::Ingested(ticket, Err(NotIngested::Invalid)));
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("lbm-verify".into()).spawn(work)?;
        Ok((Self { batches, metrics }, thread))
    }

    /// Tells how full the queue is, for as long as the thread runs. Does not keep it running.
    #[must_use]
    pub fn gauge(&self) -> Gauge {
        Gauge::of(&self.batches)
    }

    /// Hands on a batch.
    ///
    /// # Errors
    /// The batch, where the queue is full.
    pub fn push(&self, batch: Unchecked) -> Result<(), Unchecked> {
        self.batches.try_send(batch).map_err(|error| match error {
            mpsc::error::TrySendError::Full(batch) => {
                self.metrics.overflowed(Queue::Verify, 1);
                batch
            }
            mpsc::error::TrySendError::Closed(batch) => batch,
        })
    }
}

/// What is wrong with a block, as a word.
const fn word(invalid: &Invalid) -> &'static str {
    match invalid {
        Invalid::TooLong(_) => "too_long",
        Invalid::Decode(_) => "encoding",
        Invalid::Group => "other_group",
        Invalid::Signature(_) => "signature",
        Invalid::Transactions(_) => "transactions",
        Invalid::Parents => "parents",
        Invalid::Genesis => "genesis",
        Invalid::SealInCompany => "seal_in_company",
        Invalid::Line => "line",
        Invalid::Form(_) => "form",
        Invalid::Future { .. } => "future",
        Invalid::Version(_) => "version",
        Invalid::Sealed => "encrypted",
    }
}

/// What is left of a batch.
struct Checked {
    task: Task,
    rest: Rest,
    /// By how much the block was ahead of this clock that was most, of those that are left out for it; 0 where none is.
    ahead_ms: u64,
}

/// Verifies a batch. One invalid block makes all of it the sender's fault; one that is merely early is left out, and reported.
fn check(batch: Unchecked, max_drift_ms: u64, metrics: &Metrics) -> Result<Checked, Invalid> {
    let Unchecked { peer, group, blocks, objects, .. } = batch;
    let context = Context { group, now_ms: unix_ms(), max_drift_ms };
    let most_ahead_ms = AtomicU64::new(0);
    let verify = |block: Unverified| match block.verify(&context) {
        Ok(block) => Some(Ok(block)),
        Err(early @ (Invalid::Future { .. } | Invalid::Version(_) | Invalid::Sealed)) => {
            if let Invalid::Future { ahead_ms } = early {
                most_ahead_ms.fetch_max(ahead_ms, Ordering::Relaxed);
            }
            metrics.rejected(word(&early));
            tracing::warn!(%early, %peer, "left out a block");
            None
        }
        Err(invalid) => Some(Err(invalid)),
    };
    let sent = blocks.len();
    let blocks: Vec<Verified> = blocks.into_par_iter().filter_map(verify).collect::<Result<_, _>>()?;
    let rest = if blocks.len() < sent { Rest::Early } else { Rest::None };
    let objects = objects
        .into_par_iter()
        .filter(|object| object.len() <= limits::OBJECT_BYTES)
        .map(|object| (ObjectHash::of(&object), object))
        .collect();
    let task = Task::Ingest { group, peer, blocks, objects };
    Ok(Checked { task, rest, ahead_ms: most_ahead_ms.into_inner() })
}
