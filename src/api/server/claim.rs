//! Writing knowledge: publish one claim or many, take one back, submit an experience.
//!
//! Publishing to a full id takes no view of the store and no other thread than the writer's.

use axum::Json;

use super::Api;
use super::extract::{As, Body, Segments};
use super::resolve::{self, Found};
use crate::api::types::{
    BulkPublished, Evidence, ExperienceSubmitted, NewClaim, Problem, ProblemCode, PublishBulk, PublishedClaim,
    RetractedClaim, SubmitExperience,
};
use crate::chain::transaction::{Claim, Experience, Retract};
use crate::chain::{self, ClaimBody, ClaimId, GroupId, ObjectHash, TextHash, Transaction};
use crate::node::engine::Written;
use crate::runtime::clock::unix_ms;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn publish(
    As(api): As,
    Segments(group): Segments<String>,
    Body(claim): Body<NewClaim>,
) -> Answer<PublishedClaim> {
    let group = api.group_id(group).await?;
    let parent = match &claim.parent_hash {
        Some(text) => Some(api.claim_id(group, text.clone()).await?),
        None => None,
    };
    let mut supersedes = Vec::with_capacity(claim.supersedes.len());
    for text in &claim.supersedes {
        supersedes.push(api.claim_id(group, text.clone()).await?);
    }
    let (transaction, object) = draft(claim, parent, supersedes)?;
    let written = write(&api, group, vec![transaction], vec![object]).await?;
    Ok(Json(PublishedClaim { claim_hash: only(&written)?.to_string(), block_id: written.last_block() }))
}

pub(super) async fn bulk(
    As(api): As,
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
    As(api): As,
    Segments((group, claim)): Segments<(String, String)>,
) -> Answer<RetractedClaim> {
    let group = api.group_id(group).await?;
    let claim = api.claim_id(group, claim).await?;
    let written = write(&api, group, vec![Transaction::Retract(Retract { claim })], vec![]).await?;
    Ok(Json(RetractedClaim { claim_hash: claim.to_string(), retracted: true, block_id: written.last_block() }))
}

pub(super) async fn experience(
    As(api): As,
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
    let resolve = |text: &String| resolve::claim(found.kv.as_ref(), text);
    let parent = claim.parent_hash.as_ref().map(resolve).transpose()?;
    let supersedes = claim.supersedes.iter().map(resolve).collect::<Result<_, _>>()?;
    draft(claim, parent, supersedes)
}

fn draft(
    claim: NewClaim,
    parent: Option<ClaimId>,
    mut supersedes: Vec<ClaimId>,
) -> Result<(Transaction, Vec<u8>), Problem> {
    supersedes.sort_unstable();
    supersedes.dedup();
    let evidence = claim.evidence.into_iter().map(evidence).collect();
    let body = ClaimBody::new(claim.title, claim.text, &claim.tags)?.proven(evidence, claim.valid_until_ms)?;
    if body.is_expired(unix_ms()) {
        let detail = "`valid_until_ms` is over already: nobody would be shown the claim";
        return Err(Problem::new(ProblemCode::BadField, detail, "give a time to come, or leave it out"));
    }
    let rewarded = Some(TextHash::of(&body.text));
    let object = body.encode();
    let claim = Claim { object: ObjectHash::of(&object), size: length(&object), parent, rewarded, supersedes };
    Ok((Transaction::Claim(claim), object))
}

fn evidence(evidence: Evidence) -> chain::Evidence {
    match evidence {
        Evidence::Command { command, exit_code } => chain::Evidence::Command(command, exit_code),
        Evidence::Hash { hash } => chain::Evidence::Hash(hash),
        Evidence::Link { link } => chain::Evidence::Link(link),
        Evidence::Note { note } => chain::Evidence::Note(note),
    }
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
    Ok(api.node().writer.write(api.to_write(group, transactions, objects)).await?)
}

fn only(written: &Written) -> Result<ClaimId, Problem> {
    written.claims.first().copied().ok_or_else(|| {
        Problem::new(ProblemCode::Internal, "the writer named nothing that it wrote", "see the daemon's log")
    })
}
