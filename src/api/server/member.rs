//! Members of a group.

use std::collections::BTreeSet;

use axum::Json;

use super::Api;
use super::agent::not_a_notary;
use super::extract::{As, Body, Segments};
use super::problem::split;
use super::resolve::Found;
use crate::api::types::{
    AddMember, Member, MemberChanged, MemberList, NotaryChanged, Problem, ProblemCode, Role, SetNotary, SetRole,
    Unfrozen,
};
use crate::chain::transaction::{MemberAdd, MemberRemove, NotarySet, RoleSet, Unfreeze};
use crate::chain::{GroupId, Transaction};
use crate::identity::Identity;
use crate::ledger::{Refusal, account, query, state};
use crate::node::engine::{Failure, Written};
use crate::runtime::writer::WriteError;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn list(As(api): As, Segments(name): Segments<String>) -> Answer<MemberList> {
    let peers = api.node().peers().await?;
    let connected: BTreeSet<Identity> =
        peers.into_iter().filter(|info| info.link.is_some()).map(|info| info.peer).collect();
    let read = move |api: &Api, found: &Found<'_>, _: state::Group| {
        let mut members = query::members(found.kv.as_ref())?;
        members.sort_by_key(|(identity, member)| (member.since_ms, *identity));
        let members = members.into_iter().map(|(identity, member)| {
            let is_self = identity == api.node().identity;
            Ok(Member {
                member_id: identity.to_string(),
                role: member.role,
                added_ms: member.since_ms,
                is_self,
                connected: api.node().is_own(&identity) || connected.contains(&identity),
                balance: account::account(found.kv.as_ref(), &identity)?.balance,
                name: api.node().called(&identity),
            })
        });
        let members = members.collect::<Result<_, Problem>>()?;
        Ok(MemberList { group_id: found.id.to_string(), members })
    };
    api.read_group(name, read).await.map(Json)
}

pub(super) async fn add(
    As(api): As,
    Segments(group): Segments<String>,
    Body(AddMember { member, role }): Body<AddMember>,
) -> Answer<MemberChanged> {
    let group = api.group_id(group).await?;
    let written = write(&api, group, Transaction::MemberAdd(MemberAdd { identity: member, role })).await?;
    Ok(changed(group, member, Some(role), Some(&written)))
}

pub(super) async fn set_role(
    As(api): As,
    Segments((group, member)): Segments<(String, String)>,
    Body(SetRole { role }): Body<SetRole>,
) -> Answer<MemberChanged> {
    let member = identity(&member)?;
    let group = api.group_id(group).await?;
    match write(&api, group, Transaction::RoleSet(RoleSet { identity: member, role })).await {
        Ok(written) => Ok(changed(group, member, Some(role), Some(&written))),
        // Asked for what is so already, as it is when an answer was lost and the request is repeated.
        Err(WriteError::Failure(failure)) if matches!(*failure, Failure::Refused(Refusal::SameRole(..))) => {
            Ok(changed(group, member, Some(role), None))
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn remove(
    As(api): As,
    Segments((group, member)): Segments<(String, String)>,
) -> Answer<MemberChanged> {
    let member = identity(&member)?;
    let group = api.group_id(group).await?;
    let written = write(&api, group, Transaction::MemberRemove(MemberRemove { identity: member })).await?;
    Ok(changed(group, member, None, Some(&written)))
}

pub(super) async fn set_notary(
    As(api): As,
    Segments(group): Segments<String>,
    Body(SetNotary { member }): Body<SetNotary>,
) -> Answer<NotaryChanged> {
    let group = api.group_id(group).await?;
    if let Some(name) = api.node().agents.name(&member) {
        return Err(not_a_notary(name.as_str()));
    }
    let written = write(&api, group, Transaction::NotarySet(NotarySet { identity: member })).await?;
    let (group_id, notary) = (group.to_string(), member.to_string());
    Ok(Json(NotaryChanged { group_id, notary, block_id: written.last_block() }))
}

pub(super) async fn unfreeze(As(api): As, Segments((group, member)): Segments<(String, String)>) -> Answer<Unfrozen> {
    let member = identity(&member)?;
    let group = api.group_id(group).await?;
    let written = write(&api, group, Transaction::Unfreeze(Unfreeze { identity: member })).await?;
    let (group_id, member_id) = (group.to_string(), member.to_string());
    Ok(Json(Unfrozen { group_id, member_id, block_id: written.last_block() }))
}

async fn write(api: &Api, group: GroupId, transaction: Transaction) -> Result<Written, WriteError> {
    api.node().writer.write(api.to_write(group, vec![transaction], vec![])).await
}

fn changed(group: GroupId, member: Identity, role: Option<Role>, written: Option<&Written>) -> Json<MemberChanged> {
    let block_id = written.map(Written::last_block);
    Json(MemberChanged { group_id: group.to_string(), member_id: member.to_string(), role, block_id })
}

/// The identity that stands in a path.
pub(super) fn identity(text: &str) -> Result<Identity, Problem> {
    text.parse().map_err(|error: crate::identity::IdentityError| {
        split(ProblemCode::BadField, &error.to_string(), "copy it from `lbm ctl group members`")
    })
}
