//! Retrieval: from a query in words to the claims that answer it, and from those to a context for a model.
//!
//! Owns the analysis of text ([`text`]), the index in memory ([`index`]), the compilation of a context
//! ([`context`]), the fence around recalled text ([`fence`]) and the vectors of an embedder ([`vectors`]).
//! Refuses to know where claims come from: it sees plain documents under 32-byte keys, and whoever feeds it decides what
//! is retracted, superseded or forbidden, through the filter of a search.
//!
//! Invariant: **the same documents and the same query give the same answer on every node**, in whatever sequence the
//! documents came and whatever was removed in between. Hence each view's scores are sums of integers, logarithms are our own,
//! floats meet in a fixed sequence, ties are broken by key, and the hash tables, which are seeded at random, are never iterated.
//! With an embedder the answer depends on the node's own model as well.

mod bm25;
pub mod context;
mod dictionary;
pub mod fence;
mod fusion;
mod grams;
pub mod index;
mod latent;
pub mod levels;
mod search;
pub mod segment;
mod spelling;
mod stop_words;
pub mod text;
mod top;
pub mod vectors;
mod words;

use crate::identity::Identity;
use crate::limits::EMBED_TEXT_BYTES;

/// What names a claim: the 32 bytes of its hash. It names the content too: one key never stands for two documents.
pub type ClaimKey = [u8; 32];

/// The searchable content of one claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// One line that says what it is about.
    pub title: Option<String>,
    /// The claim itself.
    pub text: String,
    /// Labels the author gave it.
    pub tags: Vec<String>,
}

impl Document {
    /// All of it as one text, for an embedder; cut off at [`EMBED_TEXT_BYTES`].
    #[must_use]
    pub fn to_embed(&self) -> String {
        let mut text = self.title.as_deref().map(|title| format!("{title}\n")).unwrap_or_default();
        text.push_str(&self.text);
        if !self.tags.is_empty() {
            text.push('\n');
            text.push_str(&self.tags.join(", "));
        }
        text::prefix(&text, EMBED_TEXT_BYTES).to_owned()
    }
}

/// Who signed a claim, and when: what a search can be narrowed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Who signed it.
    pub author: Identity,
    /// When its author says it was written, milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
}

/// What is known of a claim besides its searchable content, and shown with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Who signed it.
    pub author: Identity,
    /// When its author says it was written, milliseconds since 1970-01-01 UTC.
    pub created_ms: u64,
    /// What proves it, as its author says: a line each.
    pub evidence: Vec<String>,
    /// When it is no longer true, as its author says, in the same unit.
    pub valid_until_ms: Option<u64>,
}
