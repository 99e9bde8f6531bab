//! One group's claims on their way to an embedder: which have no vector yet, in the sequence of storing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Made, Progress};
use crate::chain::rows::{self, LineKey};
use crate::chain::transaction::Claim;
use crate::chain::{ClaimBody, ClaimId, GroupId, TextHash, Transaction};
use crate::knowledge::vectors::{Vectors, VectorsError};
use crate::knowledge::{Document, text};
use crate::kv::{Direction, KvError, Read};
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups as _;
use crate::store::Store;

/// Blocks that are looked at in one view: few, so that old views do not keep the store's pages.
const BLOCKS: usize = 256;

/// A walk over a group's blocks.
pub(super) struct Walk {
    group: GroupId,
    vectors: Arc<RwLock<Vectors>>,
    /// The next block's number.
    next: u64,
    /// Texts to embed, in sequence.
    pending: VecDeque<([u8; 32], String)>,
    /// Claims whose words had not come.
    wordless: BTreeMap<ClaimId, (LineKey, u32, Option<TextHash>)>,
    /// Whether those were looked at in this round.
    has_looked: bool,
    /// Claims of the group that count.
    claims: u64,
    /// Claims that need no vector: they were retracted before they had one.
    retracted: u64,
    /// Claims that the embedder refuses.
    unable: u64,
}

impl Walk {
    pub(super) fn new(group: GroupId, vectors: Arc<RwLock<Vectors>>) -> Self {
        let (pending, wordless) = (VecDeque::new(), BTreeMap::new());
        Self { group, vectors, next: 0, pending, wordless, has_looked: false, claims: 0, retracted: 0, unable: 0 }
    }

    /// Begins a round: what had no words may have them now.
    pub(super) const fn begin(&mut self) {
        self.has_looked = false;
    }

    /// Whether the vectors that are kept have as many dimensions as the model makes.
    pub(super) fn check(&self, dimensions: usize) -> Result<(), VectorsError> {
        self.vectors.read().unwrap_or_else(PoisonError::into_inner).check(dimensions)
    }

    /// Counts the claims of the group anew.
    pub(super) fn count(&mut self, store: &Store) -> Result<(), KvError> {
        if let Some(kv) = store.view()?.group(&self.group)? {
            self.claims = rows::counters(kv.as_ref())?.claims;
        }
        Ok(())
    }

    /// Reads until so many texts wait, or there is no more; whether nothing waits.
    pub(super) fn fill(&mut self, store: &Store, texts: usize) -> Result<bool, KvError> {
        while self.pending.len() < texts {
            let view = store.view()?;
            // A group that was just left has no rows.
            let Some(kv) = view.group(&self.group)? else { break };
            let kv = kv.as_ref();
            self.claims = rows::counters(kv)?.claims;
            if !std::mem::replace(&mut self.has_looked, true) {
                for (claim, (line, index, rewarded)) in std::mem::take(&mut self.wordless) {
                    self.add(kv, claim, line, index, rewarded)?;
                }
            }
            let mut lines: Vec<LineKey> = Vec::new();
            rows::log(kv, self.next, Direction::Up, &mut |_, line| {
                lines.push(line);
                if lines.len() < BLOCKS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            for line in &lines {
                // What waits is bounded by one block more than is asked for.
                if self.pending.len() >= texts {
                    return Ok(false);
                }
                let (block, body) = rows::body_and_id(kv, line)?;
                for (index, transaction) in (0..).zip(body.transactions()) {
                    if let Transaction::Claim(Claim { rewarded, .. }) = transaction {
                        self.add(kv, ClaimId::derive(block, index), *line, index, *rewarded)?;
                    }
                }
                self.next += 1;
            }
            if lines.len() < BLOCKS {
                break;
            }
        }
        Ok(self.pending.is_empty())
    }

    fn add(
        &mut self,
        kv: &dyn Read,
        claim: ClaimId,
        line: LineKey,
        index: u32,
        rewarded: Option<TextHash>,
    ) -> Result<(), KvError> {
        if self.vectors.read().unwrap_or_else(PoisonError::into_inner).contains(claim.as_bytes()) {
            return Ok(());
        }
        if state::claim(kv, &claim)?.is_some_and(|row| row.retracted_by.is_some()) {
            self.retracted += 1;
            return Ok(());
        }
        match rows::object(kv, &line, index)?.map(|bytes| ClaimBody::of_claim(&bytes, rewarded.as_ref())) {
            Some(Some(ClaimBody { title, text, tags, .. })) => {
                self.pending.push_back((*claim.as_bytes(), Document { title, text, tags }.to_embed()));
            }
            // No claim body: its author's mistake.
            Some(None) => self.unable += 1,
            None if self.wordless.len() < limits::EMBED_WORDLESS => {
                self.wordless.insert(claim, (line, index, rewarded));
            }
            None => {}
        }
        Ok(())
    }

    /// What is next, at most so many.
    pub(super) fn next(&self, texts: usize) -> Vec<([u8; 32], String)> {
        self.pending.iter().take(texts).cloned().collect()
    }

    /// Halves the next text; whether it could.
    pub(super) fn shorten(&mut self) -> bool {
        let Some((_, whole)) = self.pending.front_mut() else { return false };
        if whole.len() / 2 < limits::EMBED_TEXT_LEAST_BYTES {
            return false;
        }
        *whole = text::prefix(whole, whole.len() / 2).to_owned();
        true
    }

    /// Keeps what was made of the next ones.
    pub(super) fn keep(&mut self, made: &Made) -> Result<(), VectorsError> {
        let new: Vec<_> = made.iter().filter_map(|(claim, vector)| Some((*claim, vector.as_ref()?.clone()))).collect();
        self.vectors.write().unwrap_or_else(PoisonError::into_inner).append(&new)?;
        self.unable += (made.len() - new.len()) as u64;
        self.pending.drain(..made.len().min(self.pending.len()));
        Ok(())
    }

    pub(super) fn progress(&self) -> Progress {
        let claims = self.claims.saturating_sub(self.retracted);
        let embedded = self.vectors.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        Progress { embedded: embedded.min(claims), claims, unable: self.unable }
    }
}
