//! Claims, contexts and experiences.

use serde_json::json;

use super::{fitting, once};
use crate::api::client::Client;
use crate::api::types::{
    Claim, ContextQuery, NewClaim, ProblemCode, RecentClaims, ShowThread, SubmitExperience, WatchClaims, WatchKind,
};
use crate::limits;
use crate::mcp::answer::{Answer, Failure, cut, fenced, lean, with_standing};
use crate::mcp::arguments::Arguments;

pub(super) async fn publish(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let client = once(client, &mut arguments)?;
    let claim: NewClaim = arguments.rest()?;
    claim.check()?;
    Ok(Answer::new(&client.publish_claim(group, &claim).await?))
}

pub(super) async fn context(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let budget = arguments.take("budget_tokens")?.unwrap_or(limits::mcp::CONTEXT_TOKENS);
    let query = ContextQuery { budget_tokens: Some(budget), ..arguments.rest()? };
    query.check()?;
    let found = client.context(group, &query).await?;
    // The words of the claims stand in the context.
    let items: Vec<_> = found
        .items
        .iter()
        .map(|item| json!({"claim_hash": item.claim_hash, "author": item.author, "score": item.score, "final": item.is_final}))
        .collect();
    let structured = json!({"context": found.context, "claim_hashes": found.claim_hashes, "items": items});
    Ok(Answer::with_text(found.context, structured))
}

pub(super) async fn recent(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    if let Some(thread) = arguments.take::<String>("thread")? {
        return conversation(client, group, &thread, arguments).await;
    }
    let asked = arguments.take("limit")?;
    let query: RecentClaims = arguments.rest()?;
    RecentClaims { limit: asked, ..query.clone() }.check()?;
    let (page, mut structured) = fitting(asked, limits::mcp::ROWS, async |limit| {
        let mut page = client.recent_claims(group, &RecentClaims { limit: Some(limit), ..query.clone() }).await?;
        shorten(asked, page.claims.iter_mut());
        Ok(page)
    })
    .await?;
    with_standing(&mut structured, page.claims.iter());
    Ok(Answer::with_text(fenced(page.claims.iter()), structured))
}

async fn conversation(client: &Client, group: &str, claim: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let (asked, cursor) = (arguments.take::<usize>("limit")?, arguments.take::<String>("cursor")?);
    arguments.end()?;
    ShowThread { limit: asked, cursor: cursor.clone() }.check()?;
    let (thread, mut structured) = fitting(asked, limits::mcp::ROWS, async |limit| {
        let page = ShowThread { limit: Some(limit), cursor: cursor.clone() };
        let mut thread = client.thread(group, claim, &page).await?;
        shorten(asked, thread.claims.iter_mut().map(|row| &mut row.claim));
        Ok(thread)
    })
    .await?;
    with_standing(&mut structured, thread.claims.iter().map(|row| &row.claim));
    Ok(Answer::with_text(fenced(thread.claims.iter().map(|row| &row.claim)), structured))
}

pub(super) async fn watch(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let asked = arguments.take("limit")?;
    let tags = arguments.take::<Vec<String>>("tags")?.map(|tags| tags.join(","));
    let query: WatchClaims = WatchClaims { tags, ..arguments.rest()? };
    WatchClaims { limit: asked, ..query.clone() }.check()?;
    let wait_ms = query.wait_ms.map(|wait_ms| wait_ms.min(limits::mcp::WATCH_WAIT_MS));
    let (page, mut structured) = fitting(asked, limits::mcp::ROWS, async |limit| {
        let query = WatchClaims { limit: Some(limit), wait_ms, ..query.clone() };
        let mut page = client.watch_claims(group, &query).await?;
        shorten(asked, page.claims.iter_mut().map(|row| &mut row.claim));
        Ok(page)
    })
    .await?;
    with_standing(&mut structured, page.claims.iter().map(|row| &row.claim));
    let mut text = fenced(page.claims.iter().filter(|row| row.kind != WatchKind::Retracted).map(|row| &row.claim));
    for gone in page.claims.iter().filter(|row| row.kind == WatchKind::Retracted) {
        text.push_str(&format!("\nretracted: {}", gone.claim.claim_hash));
    }
    text.push_str(&format!("\nnext_cursor: {}", page.next_cursor));
    Ok(Answer::with_text(text, structured))
}

pub(super) async fn retract(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let claim: String = arguments.need("claim_hash")?;
    arguments.end()?;
    match client.retract_claim(group, &claim).await.map_err(Failure::from) {
        Ok(retracted) => Ok(Answer::new(&retracted)),
        // Sent again: it is as was asked.
        Err(error) if error.code() == Some(ProblemCode::AlreadyRetracted) => {
            let claim = client.claim(group, &claim).await?;
            Ok(Answer::new(&json!({"claim_hash": claim.claim_hash, "retracted": true})))
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn experience(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let client = once(client, &mut arguments)?;
    let experience: SubmitExperience = arguments.rest()?;
    experience.check()?;
    Ok(Answer::new(&lean(&client.submit_experience(group, &experience).await?)))
}

/// Cuts the texts of claims, where their reader named no limit.
fn shorten<'a>(asked: Option<usize>, claims: impl Iterator<Item = &'a mut Claim>) {
    if asked.is_none() {
        claims.for_each(|claim| cut(&mut claim.text, limits::mcp::CUT_BYTES));
    }
}
