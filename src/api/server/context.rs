//! Context: the answer compiled from a group's claims for a query.

use std::time::Instant;

use axum::Json;

use super::Api;
use super::extract::{As, Body, Segments};
use super::listing::with_words;
use super::resolve::{self, Found};
use crate::api::types::{Context, ContextEmbedder, ContextItem, ContextQuery, Problem};
use crate::chain::ClaimId;
use crate::knowledge::context::{Ask, Item};
use crate::knowledge::index::Embedded;
use crate::kv::{KvError, Read, Table};
use crate::ledger::{query, state};
use crate::limits;
use crate::runtime::clock::unix_ms;
use crate::runtime::embedding::{Asked, Progress};
use crate::runtime::index::{Answer, Question};

/// The most tokens that a context may be asked for: four bytes each, they fill [`limits::CONTEXT_BYTES`].
const MOST_TOKENS: usize = limits::CONTEXT_BYTES / 4;

pub(super) async fn context(
    As(api): As,
    Segments(group): Segments<String>,
    Body(request): Body<ContextQuery>,
) -> Result<Json<Context>, Problem> {
    let budget_tokens = request.budget_tokens.map_or(MOST_TOKENS, |budget| budget.min(MOST_TOKENS));
    let read = move |api: &Api, found: &Found<'_>, _| {
        let kv = found.kv.as_ref();
        let thread = request.thread.as_deref().map(|text| resolve::claim_here(kv, text)).transpose()?;
        let question = Question {
            query: request.query,
            ask: Ask {
                top_k: request.top_k.unwrap_or(limits::CONTEXT_DEFAULT_TOP_K),
                budget_tokens: Some(budget_tokens),
            },
            since_ms: request.since_ms,
            // The API's end is exclusive, the index's is not.
            until_ms: request.until_ms.map(|until| until.saturating_sub(1)),
            tags: request.tags.iter().map(|tag| tag.trim().to_owned()).collect(),
            author: request.author,
            thread: thread.map(|claim| query::thread_root(kv, &claim)).transpose()?,
            now_ms: unix_ms(),
        };
        let (node, began) = (api.node(), Instant::now());
        let answer = |embedded: Option<Embedded<'_>>| node.indexes.answer(found.id, kv, &question, embedded);
        let Progress { embedded, claims, .. } = node.embedding.progress(&found.id);
        let used = |model, why_not| Some(ContextEmbedder { model, embedded, claims, why_not });
        let (answer, embedder) = match node.embedding.ask(&found.id, &question.query) {
            Asked::Off => (answer(None), None),
            Asked::Ready(ready) => (ready.with(|ready| answer(Some(ready))), used(ready.model, None)),
            Asked::Without { model, why } => (answer(None), used(model, Some(why))),
        };
        node.metrics.compiled(began.elapsed());
        let Answer { context: answer, indexed_percent } = answer?;
        let items: Vec<ContextItem> =
            answer.items.iter().map(|item| shown(kv, item)).collect::<Result<_, Problem>>()?;
        let claim_hashes = items.iter().map(|item| item.claim_hash.clone()).collect();
        Ok(Context { context: answer.text, claim_hashes, items, embedder, indexed_percent })
    };
    api.read_group(group, read).await.map(Json)
}

/// The number that reads as an `f32` does: 0.47343 and no digits that nobody has computed.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or_else(|_| f64::from(number))
}

/// An item with what the ledger knows of its claim, in the same view.
fn shown(kv: &dyn Read, item: &Item) -> Result<ContextItem, Problem> {
    let id = ClaimId::from_bytes(item.claim_hash);
    let key = state::claim_key(&id);
    let row = state::claim(kv, &id)?.ok_or_else(|| KvError::damaged(Table::State, &key))?;
    let claim = with_words(kv, id, &row)?;
    Ok(ContextItem {
        claim_hash: claim.claim_hash,
        text: claim.text,
        title: claim.title,
        tags: claim.tags,
        author: claim.author,
        created_ms: claim.created_ms,
        evidence: claim.evidence,
        valid_until_ms: claim.valid_until_ms,
        is_final: claim.is_final,
        score: shortest(item.score),
        why: item.why.join(", "),
    })
}
