//! Frontiers: for each author the last block that a node has. What sync compares.

use std::collections::BTreeMap;

use super::ids::BlockId;
use super::rows::Tip;
use crate::identity::Identity;
use crate::limits;

/// For each author its tips: one of an honest author, the ends of the branches of another.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Frontier(BTreeMap<Identity, Vec<Tip>>);

impl Frontier {
    /// From the tips of each author.
    pub fn new(tips: impl IntoIterator<Item = (Identity, Vec<Tip>)>) -> Self {
        Self(tips.into_iter().collect())
    }

    /// The tips of each author, ascending by author.
    pub fn authors(&self) -> impl Iterator<Item = (&Identity, &[Tip])> {
        self.0.iter().map(|(author, tips)| (author, tips.as_slice()))
    }

    /// The tips of one author.
    #[must_use]
    pub fn tips(&self, author: &Identity) -> &[Tip] {
        self.0.get(author).map_or(&[], Vec::as_slice)
    }

    /// Number of authors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no block at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes in a block: it replaces the tip that it builds on, or becomes a branch of its own.
    ///
    /// Not bounded: a frontier that leaves a branch out has another digest than the rows. A message names at most
    /// [`limits::TIPS_PER_AUTHOR`].
    pub fn advance(&mut self, author: Identity, prev: Option<BlockId>, tip: Tip) {
        let tips = self.0.entry(author).or_default();
        tips.retain(|old| Some(old.id) != prev && old.id != tip.id);
        tips.push(tip);
        tips.sort_by_key(|tip| (tip.seq, tip.id));
    }

    /// Sets the tips of one author, as a message names them.
    pub fn set(&mut self, author: Identity, tips: Vec<Tip>) {
        self.0.insert(author, tips);
    }

    /// Takes in the end of a run of an author's blocks that was seen to follow what is here.
    pub fn reach(&mut self, author: Identity, tip: Tip) {
        let tips = self.0.entry(author).or_default();
        if let [only] = tips.as_mut_slice()
            && only.seq < tip.seq
        {
            *only = tip;
        } else if !tips.contains(&tip) && tips.len() < limits::TIPS_PER_AUTHOR {
            tips.push(tip);
            tips.sort_by_key(|tip| (tip.seq, tip.id));
        }
    }

    /// Whether a block is known to be here by its author's tips alone: it is a tip, or its number lies below the only one.
    #[must_use]
    pub fn covers(&self, author: &Identity, tip: &Tip) -> bool {
        match self.tips(author) {
            [only] => only == tip || only.seq > tip.seq,
            tips => tips.contains(tip),
        }
    }

    /// A short form: equal frontiers have equal digests, and nobody finds two others that do.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("lbm frontier digest 1");
        for (author, tips) in &self.0 {
            hasher.update(author.as_bytes());
            hasher.update(&(tips.len() as u64).to_be_bytes());
            for tip in tips {
                hasher.update(&tip.seq.to_be_bytes());
                hasher.update(tip.id.as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}
