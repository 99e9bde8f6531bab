//! Context: the answer compiled from a group's claims for a query.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Evidence;
use super::check::{self, FieldError};
use crate::identity::Identity;
use crate::limits;

/// Body of `POST …/context`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextQuery {
    /// What to look for, at most `limits::QUERY_BYTES`.
    pub query: String,
    /// At most so many claims, up to `limits::CONTEXT_TOP_K`; `limits::CONTEXT_DEFAULT_TOP_K` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Estimated tokens that the context may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_tokens: Option<usize>,
    /// Only claims published at or after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Only claims published before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Only claims that have all of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Only claims of this author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Identity>,
    /// Only claims of the thread that this one stands in: its hash, or a unique prefix of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
}

impl ContextQuery {
    /// Checks each field's bounds.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn check(&self) -> Result<(), FieldError> {
        check::text("query", &self.query, limits::QUERY_BYTES)?;
        if let Some(top_k) = self.top_k {
            check::range("top_k", top_k, 1, limits::CONTEXT_TOP_K)?;
        }
        if let Some(budget) = self.budget_tokens {
            check::range("budget_tokens", budget, 1, limits::CONTEXT_BYTES)?;
        }
        if let (Some(since), Some(until)) = (self.since_ms, self.until_ms)
            && since >= until
        {
            return Err(FieldError::Span);
        }
        self.thread.as_deref().map_or(Ok(()), |hash| check::hash("thread", hash))?;
        check::tags(&self.tags)
    }
}

/// One claim of a context, and why it was chosen. Retracted, superseded and expired claims are in none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ContextItem {
    /// Its hash.
    pub claim_hash: String,
    /// Its text.
    pub text: String,
    /// Its title, where it has one.
    pub title: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Who signed it: a peer id.
    pub author: String,
    /// The author's clock when it was published.
    pub created_ms: u64,
    /// What proves it, as its author says.
    pub evidence: Vec<Evidence>,
    /// When it is no longer true, where its author knows.
    pub valid_until_ms: Option<u64>,
    /// Whether a seal fixes its place: nothing can come before it any more.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// From 0 to 1, comparable within one context only.
    pub score: f64,
    /// Why it was chosen, for people: the terms that matched.
    pub why: String,
}

/// What the embedder did for a context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ContextEmbedder {
    /// Its model.
    pub model: String,
    /// Claims of the group that have a vector; the others were found by the built-in views.
    pub embedded: u64,
    /// Claims that should have one.
    pub claims: u64,
    /// Why the built-in views answered alone; `null` where it served.
    pub why_not: Option<String>,
}

/// Answer to a context query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Context {
    /// Text to hand to a model: the claims fenced as data, each with its signer. At most `limits::CONTEXT_BYTES`.
    pub context: String,
    /// Hashes of the claims in it, best first.
    pub claim_hashes: Vec<String>,
    /// The claims in it, best first.
    pub items: Vec<ContextItem>,
    /// What the embedder did for it; `null` where the settings name none.
    pub embedder: Option<ContextEmbedder>,
    /// Where the index is being rebuilt: how much of the group's history was looked at, in percent. Claims that came since the daemon
    /// started are found in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub indexed_percent: Option<u8>,
}
