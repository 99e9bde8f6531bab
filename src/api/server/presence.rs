//! Presence: setting one's own, and listing the members'.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;

use super::Api;
use super::extract::{As, Body, Params, Segments};
use super::problem::split;
use super::resolve::Found;
use crate::api::types::{ListPresence, MemberPresence, PresenceList, PresenceSet, Problem, ProblemCode, SetPresence};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::ledger::Refusal;
use crate::limits;
use crate::presence::{Invalid, Presence, Verified};
use crate::runtime::clock::unix_ms;

type Answer<T> = Result<Json<T>, Problem>;
type Metadata = Option<serde_json::Map<String, serde_json::Value>>;

/// The group that `name` means, where its first block is here.
async fn group_here(api: &Arc<Api>, name: String) -> Result<GroupId, Problem> {
    api.read_group(name, |_: &Api, found: &Found<'_>, _| Ok(found.id)).await
}

pub(super) async fn set(
    As(api): As,
    Segments(group): Segments<String>,
    Body(request): Body<SetPresence>,
) -> Answer<PresenceSet> {
    let group = group_here(&api, group).await?;
    let set = api.node().set_presence(group, request.status, request.metadata_text()).await?;
    let record = set.ok_or_else(|| Problem::from(&Refusal::NotAMember(api.node().identity)))??;
    let Presence { member, status, time_ms, .. } = record.presence();
    Ok(Json(PresenceSet {
        group_id: group.to_string(),
        member_id: member.to_string(),
        status: *status,
        metadata: metadata(&record),
        updated_ms: *time_ms,
    }))
}

pub(super) async fn list(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<ListPresence>,
) -> Answer<PresenceList> {
    let group = group_here(&api, group).await?;
    let stale_threshold_ms = request.stale_threshold_ms.unwrap_or(limits::PRESENCE_STALE_MS);
    let mut records = api.node().presences(group).await?;
    records.sort_by_key(|record| (Reverse(record.presence().time_ms), record.presence().member));
    let peers = api.node().peers().await?.into_iter();
    let mut names: BTreeMap<Identity, String> =
        peers.filter_map(|info| Some((info.peer, info.known?.alias?))).collect();
    names.insert(api.node().node_id, api.node().name.to_string());
    names.extend(api.node().agents.all().into_iter().map(|(name, identity)| (identity, name.to_string())));
    let now_ms = unix_ms();
    let row = |record: Verified| {
        let Presence { member, status, time_ms, .. } = record.presence();
        let age_ms = now_ms.saturating_sub(*time_ms);
        MemberPresence {
            member_id: member.to_string(),
            name: names.get(member).cloned(),
            is_self: *member == api.node().identity,
            status: *status,
            metadata: metadata(&record),
            updated_ms: *time_ms,
            age_ms,
            is_stale: age_ms > stale_threshold_ms,
        }
    };
    let presence = records.into_iter().map(row).collect();
    Ok(Json(PresenceList { group_id: group.to_string(), stale_threshold_ms, presence }))
}

/// A record's metadata. That it is a JSON object was checked when the record was taken.
fn metadata(record: &Verified) -> Metadata {
    record.presence().metadata.as_deref().and_then(|text| serde_json::from_str(text).ok())
}

impl From<Invalid> for Problem {
    fn from(error: Invalid) -> Self {
        let code = match error {
            Invalid::MetadataBytes(_) => ProblemCode::TooLarge,
            _ => ProblemCode::BadField,
        };
        split(code, &error.to_string(), "correct the metadata and send it again")
    }
}
