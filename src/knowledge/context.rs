//! From ranked candidates to a context: one text that a model reads, and its parts.
//!
//! Takes candidates best first, stops where they are no longer related, drops near-duplicates, keeps within the number of
//! claims and the token budget, and fences each claim as data under its signer's name ([`super::fence`]).
//!
//! Invariant: the estimate for the whole text ([`Size::tokens`]) never exceeds the budget, and no claim can end its fence or open
//! another's, whatever it says.

use super::fence::{self, Fenced, Size};
use super::index::Hit;
use super::{ClaimKey, Document, Metadata};
use crate::identity::Identity;
use crate::limits::{CONTEXT_BUDGET_TOKENS, CONTEXT_TOP_K};

/// Two claims that share more than this part of their stems (Jaccard) say the same.
const SAME_ABOVE: f64 = 0.6;

/// A claim whose score is below this part of the best one's is noise beside it.
const NOISE_BELOW: f32 = 1.0 / 3.0;

/// Claims of a context that asks for no number.
const DEFAULT_TOP_K: usize = 8;

/// A claim that a search found, with all that a context shows of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What the search said.
    pub hit: Hit,
    /// Its content.
    pub document: Document,
    /// Its author and time.
    pub metadata: Metadata,
    /// Its distinct terms as ascending numbers ([`Index::stems`](super::index::Index::stems)).
    pub stems: Vec<u64>,
}

/// What is asked of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Claims at most; held to [`CONTEXT_TOP_K`].
    pub top_k: usize,
    /// Tokens at most, for the whole text, by the estimate of [`Size::tokens`]. Below [`CONTEXT_BUDGET_TOKENS`] the text is empty.
    pub budget_tokens: Option<usize>,
}

impl Default for Ask {
    fn default() -> Self {
        Self { top_k: DEFAULT_TOP_K, budget_tokens: None }
    }
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There are items.
    Found,
    /// No candidate is related to the query.
    NothingRelated,
    /// No claim is what was asked for: of that time, with those tags, by that author, in that thread.
    NothingFits,
    /// Something is related, and the budget has no room for any of it.
    BudgetTooSmall,
}

/// One claim of a context.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its key.
    pub claim_hash: ClaimKey,
    /// Its text as signed, in full even where the context shows it cut.
    pub text: String,
    /// Its title as signed.
    pub title: Option<String>,
    /// Its tags as signed.
    pub tags: Vec<String>,
    /// Who signed it.
    pub author: Identity,
    /// When, milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// Its score in this answer.
    pub score: f32,
    /// Why it was chosen, for people: the words of the query that it has, the most telling first, or what else brought it.
    pub why: Vec<String>,
    /// Whether the context shows only its beginning, for the budget's sake.
    pub cut: bool,
}

/// A compiled context.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// What to give to a model.
    pub text: String,
    /// The claims in it, best first.
    pub items: Vec<Item>,
    /// How it went.
    pub outcome: Outcome,
    /// The estimate for the text, see [`Size::tokens`].
    pub tokens: usize,
    /// Related claims left out because a chosen one says the same.
    pub duplicates: usize,
    /// Related claims left out because the budget had no room.
    pub over_budget: usize,
}

/// Compiles a context from candidates, best first. It takes no more of them than it needs.
///
/// Where not even the best is related ([`Hit::relevance`] below 1), nothing is: the context is empty and says so.
pub fn compile(candidates: impl IntoIterator<Item = Candidate>, ask: &Ask) -> Context {
    let mut candidates = candidates.into_iter().peekable();
    let best = match candidates.peek() {
        Some(best) if best.hit.relevance >= 1.0 => best.hit.score,
        _ => return Context::without_items(Outcome::NothingRelated, ask, 0),
    };
    let mut draft = Draft::new(ask);
    for candidate in candidates.take_while(|candidate| candidate.hit.score >= best * NOISE_BELOW) {
        if draft.chosen.len() >= ask.top_k.min(CONTEXT_TOP_K) {
            break;
        }
        draft.consider(candidate);
    }
    draft.finish(ask)
}

impl Context {
    /// One where nothing fits what was asked for besides the query.
    #[must_use]
    pub fn of_nothing_that_fits(ask: &Ask) -> Self {
        Self::without_items(Outcome::NothingFits, ask, 0)
    }

    fn without_items(outcome: Outcome, ask: &Ask, over_budget: usize) -> Self {
        let sentence = match outcome {
            Outcome::BudgetTooSmall => fence::NO_ROOM,
            Outcome::NothingFits => fence::NONE_FITS,
            Outcome::Found | Outcome::NothingRelated => fence::NOTHING,
        };
        let text = if ask.budget() < CONTEXT_BUDGET_TOKENS { "" } else { sentence };
        let tokens = Size::of(text).tokens();
        Self { text: text.to_owned(), items: Vec::new(), outcome, tokens, duplicates: 0, over_budget }
    }
}

impl Ask {
    fn budget(&self) -> usize {
        self.budget_tokens.unwrap_or(usize::MAX)
    }
}

/// A context in the making.
struct Draft {
    budget: usize,
    size: Size,
    chosen: Vec<(Candidate, Fenced)>,
    duplicates: usize,
    over_budget: usize,
}

impl Draft {
    fn new(ask: &Ask) -> Self {
        let size = Size::of(fence::HEADING);
        Self { budget: ask.budget(), size, chosen: Vec::new(), duplicates: 0, over_budget: 0 }
    }

    fn consider(&mut self, candidate: Candidate) {
        if self.chosen.iter().any(|(chosen, _)| similarity(&chosen.stems, &candidate.stems) > SAME_ABOVE) {
            self.duplicates += 1;
            return;
        }
        let mut fenced = Fenced::new(&candidate.hit.key, &candidate.document, &candidate.metadata, "");
        // Only the best claim is worth a part of it: of the others, one that fits as a whole is.
        let fits = if self.budget < CONTEXT_BUDGET_TOKENS {
            false
        } else if self.chosen.is_empty() {
            fenced.cut_to(self.size, self.budget)
        } else {
            (self.size + fenced.size()).tokens() <= self.budget
        };
        if fits {
            self.size = self.size + fenced.size();
            self.chosen.push((candidate, fenced));
        } else {
            self.over_budget += 1;
        }
    }

    fn finish(self, ask: &Ask) -> Context {
        if self.chosen.is_empty() {
            let outcome = if self.over_budget > 0 { Outcome::BudgetTooSmall } else { Outcome::NothingRelated };
            return Context::without_items(outcome, ask, self.over_budget);
        }
        let (candidates, fenced): (Vec<_>, Vec<_>) = self.chosen.into_iter().unzip();
        let text = fence::write(&fenced);
        let items = candidates.into_iter().zip(&fenced).map(|(candidate, fenced)| Item {
            claim_hash: candidate.hit.key,
            text: candidate.document.text,
            title: candidate.document.title,
            tags: candidate.document.tags,
            author: candidate.metadata.author,
            created_ms: candidate.metadata.created_ms,
            score: candidate.hit.score,
            why: candidate.hit.why(),
            cut: fenced.is_cut(),
        });
        Context {
            items: items.collect(),
            outcome: Outcome::Found,
            tokens: Size::of(&text).tokens(),
            duplicates: self.duplicates,
            over_budget: self.over_budget,
            text,
        }
    }
}

/// Jaccard similarity of two ascending lists: what they share as a part of what they have together.
fn similarity(a: &[u64], b: &[u64]) -> f64 {
    let (mut left, mut right, mut shared) = (a.iter().peekable(), b.iter().peekable(), 0);
    while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => drop(left.next()),
            std::cmp::Ordering::Greater => drop(right.next()),
            std::cmp::Ordering::Equal => {
                shared += 1;
                left.next();
                right.next();
            }
        }
    }
    let together = a.len() + b.len() - shared;
    if together == 0 { 0.0 } else { shared as f64 / together as f64 }
}

#[cfg(test)]
mod tests;
