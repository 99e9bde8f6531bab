//! Groups: create, list, show, stats, leave, verify.

use axum::Json;

use super::Api;
use super::agent::leave_group;
use super::extract::{As, Body, Segments};
use super::resolve::{Found, find};
use super::stranded;
use super::token;
use crate::api::types::{
    CreateGroup, Group, GroupAlone, GroupCreated, GroupDetail, GroupLeft, GroupList, GroupStats, Problem, ProblemCode,
    ShutOut, Verified,
};
use crate::chain::gone::Gone;
use crate::chain::{GroupId, rows};
use crate::join_request::{self, JoinRequest};
use crate::kv::Read;
use crate::ledger::account::{self, Totals};
use crate::ledger::{former, query, state, verify};
use crate::limits;
use crate::node::engine::{self, Task};
use crate::node::joining::Joining;
use crate::node::shut_out;
use crate::runtime::clock::unix_ms;
use crate::runtime::joining::{Pending, pending, pending_of};
use crate::store::{Registry, View};

/// The currency of a group whose creator names none.
const DEFAULT_CURRENCY: &str = "KAT";

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn create(As(api): As, Body(request): Body<CreateGroup>) -> Answer<GroupCreated> {
    api.read(|_, view| room_for_one(view)).await?;
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| {
        let detail = format!("the system's random source does not answer: {error}");
        Problem::new(ProblemCode::Internal, detail, "try again; nothing was created")
    })?;
    let name = request.name.clone();
    let currency = request.currency.unwrap_or_else(|| DEFAULT_CURRENCY.to_owned());
    let genesis = engine::genesis(request.name, currency, secret);
    let id = api.node().writer.found(Task::Found { author: api.node().identity, genesis }).await?;
    Ok(Json(GroupCreated { group_id: id.to_string(), name }))
}

/// Refuses one group too many.
pub(super) fn room_for_one(view: &View) -> Result<(), Problem> {
    if view.groups()?.len() < limits::GROUPS {
        return Ok(());
    }
    let detail = format!("this node keeps {} groups, and that is the most", limits::GROUPS);
    Err(Problem::new(ProblemCode::Full, detail, "leave one with `lbm ctl group leave`"))
}

pub(super) async fn list(As(api): As) -> Answer<GroupList> {
    let read = |api: &Api, view: &View| {
        let mut groups = Vec::new();
        for kept in view.groups()? {
            groups.push(summary(api, kept.id, &view.rows(kept))?);
        }
        let (me, node) = (api.node().identity, api.node().node_id);
        let names = api.node().agents.all();
        for pending in pending(view)?.into_iter().filter(|pending| !pending.row.withdrawn) {
            let group_id = pending.group.to_string();
            let agent = names.iter().find(|(_, agent)| *agent == pending.identity).map(|(name, _)| name.to_string());
            let is_own = pending.identity == me;
            if let Some(known) = groups.iter_mut().find(|group: &&mut Group| is_own && group.group_id == group_id) {
                known.refused = pending.row.refused;
            } else if is_own || (me == node && agent.is_some()) {
                let (members, claims, blocks) = (0, 0, 0);
                groups.push(Group {
                    group_id,
                    name: pending.ticket.and_then(|ticket| ticket.name),
                    role: None,
                    joining: true,
                    agent: agent.filter(|_| !is_own),
                    refused: pending.row.refused,
                    shut_out: None,
                    members,
                    claims,
                    blocks,
                });
            }
        }
        groups.sort_by(|a, b| (&a.name, &a.group_id).cmp(&(&b.name, &b.group_id)));
        Ok(GroupList { groups })
    };
    api.read(read).await.map(Json)
}

/// Nobody of the caller's is a member of a group that is here.
pub(super) struct Out {
    /// Why not.
    pub why: Gone,
    /// What a member says of it; none where the blocks that are here say it.
    pub said: Option<shut_out::ShutOut>,
}

/// Whether the caller, or a node with all its agents, was a member of a group and is none any more. Whoever has left is not told so.
pub(super) fn out(api: &Api, kv: &dyn Read) -> Result<Option<Out>, Problem> {
    if let Some(said) = shut_out::shut_out(kv)? {
        return Ok(Some(Out { why: said.why, said: Some(said) }));
    }
    let mut out = None;
    for own in stranded::own(api) {
        if state::member(kv, &own)?.is_some() {
            return Ok(None);
        }
        let why = former::of_one(kv, &own)?.filter(|why| *why != Gone::Left);
        out = out.or(why.map(|why| Out { why, said: None }));
    }
    Ok(out)
}

fn summary(api: &Api, id: GroupId, kv: &dyn Read) -> Result<Group, Problem> {
    let (group, counters) = (state::group(kv)?, rows::counters(kv)?);
    Ok(Group {
        group_id: id.to_string(),
        role: state::member(kv, &api.node().identity)?.map(|member| member.role),
        joining: group.is_none(),
        agent: None,
        refused: None,
        shut_out: out(api, kv)?.map(|out| ShutOut {
            why: out.why.word().to_owned(),
            by: out.said.map(|said| said.by.to_string()),
            since_ms: out.said.map(|said| said.since_ms),
        }),
        members: group.as_ref().map_or(0, |group| u64::from(group.members)),
        name: group.map(|group| group.name),
        claims: counters.claims,
        blocks: counters.blocks,
    })
}

pub(super) async fn show(As(api): As, Segments(name): Segments<String>) -> Answer<GroupDetail> {
    let read = |api: &Api, found: &Found<'_>, group: state::Group| {
        let kv = found.kv.as_ref();
        let sealing = state::sealing(kv)?;
        Ok(GroupDetail {
            group: summary(api, found.id, kv)?,
            currency: group.currency,
            creator: group.creator.to_string(),
            created_ms: group.created_ms,
            notary: group.notary.to_string(),
            sealer: sealing.map_or(group.notary, |sealing| sealing.sealer).to_string(),
            epoch: sealing.map_or(0, |sealing| sealing.epoch),
            frozen: query::frozen(kv)?.iter().map(ToString::to_string).collect(),
            final_blocks: rows::counters(kv)?.sealed,
            rejected_blocks: rows::counters(kv)?.refused,
            heads: rows::heads(kv)?.iter().map(|head| head.id.to_string()).collect(),
            unsure: rows::in_doubt(kv)?,
        })
    };
    api.read_group(name, read).await.map(Json)
}

pub(super) async fn stats(As(api): As, Segments(name): Segments<String>) -> Answer<GroupStats> {
    let read = |_: &Api, found: &Found<'_>, group: state::Group| {
        let kv = found.kv.as_ref();
        let counters = rows::counters(kv)?;
        let Totals { supply, treasury, escrow, accounts } = account::totals(kv)?;
        Ok(GroupStats {
            group_id: found.id.to_string(),
            name: group.name,
            members: u64::from(group.members),
            claims: counters.claims,
            retracted_claims: counters.retracted,
            experiences: counters.experiences,
            blocks: counters.blocks,
            final_blocks: rows::counters(kv)?.sealed,
            rejected_blocks: counters.refused,
            total_supply: supply,
            treasury_balance: treasury,
            escrow_balance: escrow,
            accounts,
            policy: token::rules(kv)?,
        })
    };
    api.read_group(name, read).await.map(Json)
}

pub(super) async fn leave(As(api): As, Segments(name): Segments<String>) -> Answer<GroupLeft> {
    let asked = name.clone();
    let read = move |_: &Api, view: &View| {
        let found = find(view, &name)?;
        Ok((found.id, state::group(found.kv.as_ref())?.map(|group| group.name)))
    };
    let member = api.node().identity;
    let (id, name) = match api.read(read).await {
        // One that is being joined by a ticket has no rows yet.
        Err(problem) if problem.code == ProblemCode::UnknownGroup => match pending_named(&api, &asked).await? {
            Some(id) => {
                give_up(&api, id).await?;
                return Ok(Json(GroupLeft { group_id: id.to_string(), name: None }));
            }
            None => return Err(problem),
        },
        found => found?,
    };
    give_up(&api, id).await?;
    if member != api.node().node_id {
        leave_group(&api, id, member).await?;
        return Ok(Json(GroupLeft { group_id: id.to_string(), name }));
    }
    api.node().writer.register(Registry { leave: vec![id], ..Registry::default() }).await?;
    api.node().indexes.forget(&id);
    api.node().embedding.forget(&id);
    Ok(Json(GroupLeft { group_id: id.to_string(), name }))
}

/// Ends the caller's joining of a group. A request is taken back: members that hold it are told, now and when they are met, while it lasts.
async fn give_up(api: &std::sync::Arc<Api>, group: GroupId) -> Result<(), Problem> {
    let me = api.node().identity;
    let look = move |_: &Api, view: &View| {
        let taken_back = pending(view)?.iter().filter(|pending| pending.row.withdrawn).count();
        Ok(pending_of(view, &me, &group)?.filter(|_| taken_back < limits::JOININGS / 2))
    };
    let joining = api.read_own(look).await?;
    let asked = joining.as_ref().and_then(|joining| join_request::read(joining.request.as_ref()?).ok());
    let (Some(joining), Some(asked)) = (joining, asked) else { return Ok(api.node().door.end(&me, &group).await?) };
    let time_ms = unix_ms().max(asked.time_ms + 1);
    let request = JoinRequest { note: None, time_ms, withdrawn: true, ..asked };
    let request = api.node().sign_request(request).await?;
    Ok(api.node().door.begin(me, group, &Joining { request, withdrawn: true, ..joining }).await?)
}

/// The group that the caller is joining by a ticket and that is named so: by its id, or by its name in the ticket.
async fn pending_named(api: &std::sync::Arc<Api>, name: &str) -> Result<Option<GroupId>, Problem> {
    let (me, name) = (api.node().identity, name.to_owned());
    let read = move |_: &Api, view: &View| {
        let own = pending(view)?.into_iter().filter(|pending| pending.identity == me && !pending.row.withdrawn);
        let is_meant = |pending: &Pending| {
            let called = pending.ticket.as_ref().and_then(|ticket| ticket.name.as_deref());
            pending.group.to_string() == name || called == Some(&name)
        };
        let meant: Vec<GroupId> = own.filter(is_meant).map(|pending| pending.group).collect();
        Ok(match meant.as_slice() {
            [only] => Some(*only),
            _ => None,
        })
    };
    api.read(read).await
}

pub(super) async fn alone(As(api): As, Segments(name): Segments<String>) -> Answer<GroupAlone> {
    let read = move |_: &Api, view: &View| {
        let found = find(view, &name)?;
        Ok((found.id, rows::in_doubt(found.kv.as_ref())?))
    };
    let (group, was_unsure) = api.read(read).await?;
    api.node().writer.write(Task::Settle { group, as_of: None }).await?;
    Ok(Json(GroupAlone { group_id: group.to_string(), was_unsure }))
}

pub(super) async fn verify(As(api): As, Segments(name): Segments<String>) -> Answer<Verified> {
    // The semaphore is never closed.
    let _turn = api.verifying.acquire().await;
    let read = |_: &Api, found: &Found<'_>, _| {
        let report = verify::verify(found.kv.as_ref(), found.id)?;
        Ok(Verified {
            ok: report.faults.is_empty(),
            state_hash: hex::encode(report.state_hash),
            blocks: report.blocks,
            final_blocks: rows::counters(found.kv.as_ref())?.sealed,
            faults: report.faults.iter().map(ToString::to_string).collect(),
        })
    };
    api.read_group(name, read).await.map(Json)
}
