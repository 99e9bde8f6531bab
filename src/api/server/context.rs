//! Context: the answer compiled from a group's claims for a query.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::extract::{Body, Segments};
use super::resolve::Found;
use crate::api::types::{Context, ContextEmbedder, ContextItem, ContextQuery, Problem};
use crate::chain::ClaimId;
use crate::knowledge::context::Ask;
use crate::knowledge::index::Embedded;
use crate::limits;
use crate::runtime::embedding::{Asked, Progress};
use crate::runtime::index::{Answer, Question};

/// The most tokens that a context may be asked for: four bytes each, they fill [`limits::CONTEXT_BYTES`].
const MOST_TOKENS: usize = limits::CONTEXT_BYTES / 4;

pub(super) async fn context(
    State(api): State<Arc<Api>>,
    Segments(group): Segments<String>,
    Body(request): Body<ContextQuery>,
) -> Result<Json<Context>, Problem> {
    let budget_tokens = request.budget_tokens.map_or(MOST_TOKENS, |budget| budget.min(MOST_TOKENS));
    let question = Question {
        query: request.query,
        ask: Ask { top_k: request.top_k.unwrap_or(limits::CONTEXT_DEFAULT_TOP_K), budget_tokens: Some(budget_tokens) },
        since_ms: request.since_ms,
        // The API's end is exclusive, the index's is not.
        until_ms: request.until_ms.map(|until| until.saturating_sub(1)),
        tags: request.tags.iter().map(|tag| tag.trim().to_owned()).collect(),
        author: request.author,
    };
    let read = move |api: &Api, found: &Found<'_>, _| {
        let node = api.node();
        let answer =
            |embedded: Option<Embedded<'_>>| node.indexes.answer(found.id, found.kv.as_ref(), &question, embedded);
        let Progress { embedded, claims, .. } = node.embedding.progress(&found.id);
        let (answer, embedder) = match node.embedding.ask(&found.id, &question.query) {
            Asked::Off => (answer(None), None),
            Asked::Ready(ready) => {
                let model = ready.model.clone();
                (
                    ready.with(|ready| answer(Some(ready))),
                    Some(ContextEmbedder { model, embedded, claims, why_not: None }),
                )
            }
            Asked::Without { model, why } => {
                (answer(None), Some(ContextEmbedder { model, embedded, claims, why_not: Some(why) }))
            }
        };
        let Answer { context: answer, indexed_percent } = answer?;
        let items: Vec<_> = answer
            .items
            .into_iter()
            .map(|item| ContextItem {
                claim_hash: ClaimId::from_bytes(item.claim_hash).to_string(),
                text: item.text,
                title: item.title,
                tags: item.tags,
                author: item.author.to_string(),
                created_ms: item.created_ms,
                score: f64::from(item.score),
                why: item.why.join(", "),
            })
            .collect();
        let claim_hashes = items.iter().map(|item| item.claim_hash.clone()).collect();
        Ok(Context { context: answer.text, claim_hashes, items, embedder, indexed_percent })
    };
    api.read_group(group, read).await.map(Json)
}
