//! Writing knowledge: publish one claim or many, take one back, submit an experience.
//!
//! Publishing to a full id takes no view of the store and no other thread than the writer's.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Api;
use super::extract::{Body, Segments};
use super::resolve::{self, Found};
use crate::api::types::{
    BulkPublished, ExperienceSubmitted, NewClaim, Problem, ProblemCode, PublishBulk, PublishedClaim, RetractedClaim,
    SubmitExperience,
};
use crate::chain::transaction::{Claim, Experience, Retract};
use crate::chain::{ClaimBody, ClaimId, GroupId, ObjectHash, TextHash, Transaction};
use crate::node::engine::{Task, Written};

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn publish(
    State(api): State<Arc<Api>>,
    Segments(group): Segments<String>,
    Body(claim): Body<NewClaim>,
) -> Answer<PublishedClaim> {
    let group = api.group_id(group).await?;
    let parent = match &claim.parent_hash {
        Some(text) => Some(api.claim_id(group, text.clone()).await?),
        None => None,
    };
    let (transaction, object) = draft(claim, parent)?;
    let written = write(&api, group, vec![transaction], vec![object]).await?;
    Ok(Json(PublishedClaim { claim_hash: only(&written)?.to_string(), block_id: written.last_block() }))
}

pub(super) async fn bulk(
    State(api): State<Arc<Api>>,
    Segments(group): Segments<String>,
    Body(PublishBulk { claims }): Body<PublishBulk>,
) -> Answer<BulkPublished> {
    let group = api.group_id(group).await?;
    // Encoding and hashing megabytes, and reading the parents, is not for a thread that serves connections.
    let read = move |_: &Api, view: &crate::store::View| {
        let found = resolve::by_id(view, group)?;
        let mut drafts = (Vec::with_capacity(claims.len()), Vec::with_capacity(claims.len()));
        for (at, claim) in claims.into_iter().enumerate() {
            let (transaction, object) = draft_in(&found, claim).map_err(|mut problem| {
                problem.detail = format!("claim {at} (counted from 0): {}", problem.detail);
                problem
            })?;
            drafts.0.push(transaction);
            drafts.1.push(object);
        }
        Ok(drafts)
    };
    let (transactions, objects) = api.read(read).await?;
    let written = write(&api, group, transactions, objects).await?;
    let claim_hashes: Vec<_> = written.claims.iter().map(ToString::to_string).collect();
    let (published, blocks, block_id) = (claim_hashes.len(), written.blocks.len(), written.last_block());
    Ok(Json(BulkPublished { published, claim_hashes, blocks, block_id }))
}

pub(super) async fn retract(
    State(api): State<Arc<Api>>,
    Segments((group, claim)): Segments<(String, String)>,
) -> Answer<RetractedClaim> {
    let group = api.group_id(group).await?;
    let claim = api.claim_id(group, claim).await?;
    let written = write(&api, group, vec![Transaction::Retract(Retract { claim })], vec![]).await?;
    Ok(Json(RetractedClaim { claim_hash: claim.to_string(), retracted: true, block_id: written.last_block() }))
}

pub(super) async fn experience(
    State(api): State<Arc<Api>>,
    Segments(group): Segments<String>,
    Body(SubmitExperience { content }): Body<SubmitExperience>,
) -> Answer<ExperienceSubmitted> {
    let group = api.group_id(group).await?;
    let object = content.into_bytes();
    let experience = Experience { object: ObjectHash::of(&object), size: length(&object) };
    let written = write(&api, group, vec![Transaction::Experience(experience)], vec![object]).await?;
    Ok(Json(ExperienceSubmitted { experience_hash: only(&written)?.to_string(), block_id: written.last_block() }))
}

fn draft_in(found: &Found<'_>, claim: NewClaim) -> Result<(Transaction, Vec<u8>), Problem> {
    let parent = claim.parent_hash.as_deref().map(|text| resolve::claim(found.kv.as_ref(), text)).transpose()?;
    draft(claim, parent)
}

fn draft(claim: NewClaim, parent: Option<ClaimId>) -> Result<(Transaction, Vec<u8>), Problem> {
    let body = ClaimBody::new(claim.title, claim.text, &claim.tags)?;
    let rewarded = Some(TextHash::of(&body.text));
    let object = body.encode();
    let claim = Claim { object: ObjectHash::of(&object), size: length(&object), parent, rewarded };
    Ok((Transaction::Claim(claim), object))
}

/// Its length in bytes: the bounds of requests keep it far below.
fn length(object: &[u8]) -> u32 {
    u32::try_from(object.len()).unwrap_or(u32::MAX)
}

async fn write(
    api: &Api,
    group: GroupId,
    transactions: Vec<Transaction>,
    objects: Vec<Vec<u8>>,
) -> Result<Written, Problem> {
    let author = api.node().identity;
    Ok(api.node().writer.write(Task::Write { group, author, transactions, objects }).await?)
}

fn only(written: &Written) -> Result<ClaimId, Problem> {
    written.claims.first().copied().ok_or_else(|| {
        Problem::new(ProblemCode::Internal, "the writer named nothing that it wrote", "see the daemon's log")
    })
}
