//! One block: what became of it, and whether that stays so.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::extract::{As, Params, Segments};
use super::resolve::Found;
use crate::api::types::{Block, EventKind, Problem, ProblemCode, ShowBlock};
use crate::chain::{BlockId, IdError, OPEN_EPOCH};
use crate::kv::KvError;
use crate::ledger::{Outcome, query, state};
use crate::runtime::Stopping;

pub(super) async fn show(
    As(api): As,
    Segments((group, block)): Segments<(String, String)>,
    Params(request): Params<ShowBlock>,
) -> Result<Json<Block>, Problem> {
    let id: BlockId = block.parse().map_err(|error: IdError| {
        Problem::new(ProblemCode::BadField, error.to_string(), "give the `block_id` of an answer to a write")
    })?;
    // Before the first look, so that no seal can slip in between.
    let mut events = api.node().events.follow(u64::MAX).1;
    let read = async |api: &Arc<Api>| {
        let read = move |_: &Api, found: &Found<'_>, _| one(found, id);
        api.read_group(group.clone(), read).await
    };
    let mut shown = read(&api).await?;
    let mut stop = api.stop.clone();
    let deadline = tokio::time::sleep(Duration::from_millis(request.wait_final_ms.unwrap_or(0)));
    tokio::pin!(deadline);
    while !shown.is_final && request.wait_final_ms.is_some() {
        let received = tokio::select! {
            biased;
            ended = stop.reached() => return Err(ended),
            () = &mut deadline => break,
            received = events.recv() => received,
        };
        let may_be = match received.map(|event| event.kind) {
            Ok(EventKind::Sealed { group_id, .. }) => group_id == shown.group_id,
            Ok(_) => false,
            Err(RecvError::Closed) => return Err(Stopping.into()),
            Err(RecvError::Lagged(_)) => true,
        };
        if may_be {
            shown = read(&api).await?;
        }
    }
    Ok(Json(shown))
}

fn one(found: &Found<'_>, id: BlockId) -> Result<Block, Problem> {
    let kv = found.kv.as_ref();
    let unknown = || {
        let remedy = "check the id, and with `lbm ctl sync` that this node has all that the group has";
        Problem::new(ProblemCode::UnknownBlock, format!("there is no block {id} in the group"), remedy)
    };
    let (place, author, time_ms, outcome) = query::place_of(kv, &id)?.ok_or_else(unknown)?;
    let sealing = state::sealing(kv)?.ok_or_else(|| KvError::damaged(crate::kv::Table::State, state::SEALING))?;
    let refusal = match outcome {
        Outcome::Applied => None,
        Outcome::Refused(_, refusal) => Some(refusal),
    };
    Ok(Block {
        group_id: found.id.to_string(),
        block_id: id.to_string(),
        author: author.to_string(),
        created_ms: time_ms,
        is_final: place.epoch != OPEN_EPOCH,
        epoch: (place.epoch != OPEN_EPOCH).then_some(place.epoch),
        applied: refusal.is_none(),
        code: refusal.as_ref().map(|refusal| refusal.code().to_owned()),
        reason: refusal.map(|refusal| refusal.to_string()),
        sealer: sealing.sealer.to_string(),
    })
}
