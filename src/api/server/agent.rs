//! Agents: made, listed, ended, and given tokens and limits. All of it is the node's business.

use std::sync::Arc;

use axum::Json;

use super::extract::{As, Body, Segments};
use super::problem::split;
use super::resolve::{Found, shown};
use super::{Api, purchase};
use crate::api::types::{
    Agent, AgentCreated, AgentGroup, AgentList, AgentRevoked, AgentToken, NewAgent, Problem, ProblemCode, RevokeAgent,
    Role, SetSpendingLimit,
};
use crate::chain::transaction::{MemberAdd, MemberRemove};
use crate::chain::{GroupId, Transaction, rows};
use crate::identity::{AgentName, AgentNameError, Identity};
use crate::ledger::{account, state};
use crate::node::engine::Task;
use crate::node::trade::shelf::{self, Limit, Shelved};
use crate::runtime::agents::AgentError;
use crate::runtime::trade;
use crate::runtime::writer::WriteError;
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

/// Nobody is called so here.
pub(super) fn no_such_agent(name: &AgentName) -> Problem {
    let detail = format!("there is no agent `{name}` on this node, or no more");
    let remedy = "`lbm ctl agent list` shows which are; make one with `lbm ctl agent create --name NAME`";
    Problem::new(ProblemCode::NoSuchAgent, detail, remedy)
}

/// What is said to an agent that is revoked while it waits.
pub(super) fn revoked(name: &AgentName) -> Problem {
    let detail = format!("the agent `{name}` was revoked meanwhile: it can do nothing more");
    Problem::new(ProblemCode::NoSuchAgent, detail, "`lbm ctl agent list` shows which agents there are")
}

/// The agent that a path names.
fn named(api: &Api, text: &str) -> Result<(AgentName, Identity), Problem> {
    let name: AgentName = text.parse().map_err(|error: AgentNameError| {
        let detail = format!("`{}` is no agent's name: {error}", shown(text));
        Problem::new(ProblemCode::BadField, detail, "`lbm ctl agent list` shows which there are")
    })?;
    // Of an agent, the others are not there.
    let shows = |identity: &Identity| !api.node().is_agent() || api.node().identity == *identity;
    let identity = api.node().agents.identity(&name).filter(shows).ok_or_else(|| no_such_agent(&name))?;
    Ok((name, identity))
}

pub(super) async fn create(As(api): As, Body(new): Body<NewAgent>) -> Answer<AgentCreated> {
    // Its form was checked with the request's.
    let name: AgentName = new.name.parse().map_err(|error: AgentNameError| {
        Problem::new(ProblemCode::BadField, error.to_string(), "choose another name")
    })?;
    // First, so that a mistyped group makes no agent.
    let group = match new.group {
        Some(group) => Some(api.read_group(group, |_: &Api, found: &Found<'_>, _| Ok(found.id)).await?),
        None => None,
    };
    let node = api.node().clone();
    let making = (node.clone(), name.clone());
    // On its own: whoever asked may go, and what has begun is not left halfway.
    let made = tokio::spawn(async move { making.0.agents.create(&making.0, making.1).await });
    let identity = made.await.map_err(|error| super::problem::crashed(&error))??;
    if let Some(per_day) = new.spend_limit {
        trade::set_limit(&node, None, &identity, Some(per_day)).await?;
    }
    let mut created = AgentCreated {
        agent: name.to_string(),
        member_id: identity.to_string(),
        group_id: group.map(|group| group.to_string()),
        role: None,
        next: None,
    };
    let Some(group) = group else { return Ok(Json(created)) };
    let role = new.role.unwrap_or(Role::Member);
    let add = Transaction::MemberAdd(MemberAdd { identity, role });
    let task = Task::Write { group, author: node.identity, transactions: vec![add], objects: vec![] };
    match node.writer.write(task).await {
        Ok(_) => created.role = Some(role),
        Err(WriteError::Failure(failure)) => {
            tracing::info!(%failure, agent = %name, "the node may not add its agent");
            let command = format!("lbm ctl group add-member --group {group} --member {identity} --role {role}");
            created.next = Some(format!("{failure}; an admin of the group runs `{command}`"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Json(created))
}

pub(super) async fn list(As(api): As) -> Answer<AgentList> {
    let read = move |api: &Api, view: &View| {
        let mine = |identity: &Identity| !api.node().is_agent() || api.node().identity == *identity;
        let all = api.node().agents.all().into_iter().filter(|(_, identity)| mine(identity));
        Ok(AgentList { agents: all.map(|(name, identity)| one(api, view, &name, identity)).collect::<Result<_, _>>()? })
    };
    api.read(read).await.map(Json)
}

pub(super) async fn show(As(api): As, Segments(agent): Segments<String>) -> Answer<Agent> {
    let (name, identity) = named(&api, &agent)?;
    api.read(move |api, view| one(api, view, &name, identity)).await.map(Json)
}

fn one(api: &Api, view: &View, name: &AgentName, identity: Identity) -> Result<Agent, Problem> {
    let groups = groups_of(view, &identity)?;
    let limit = view.local(&shelf::of_spender_everywhere(&identity))?.and_then(|row| Limit::from_row(&row));
    Ok(Agent {
        agent: name.to_string(),
        member_id: identity.to_string(),
        last_write_ms: groups.iter().filter_map(|(_, group)| group.last_write_ms).max(),
        groups: groups.into_iter().map(|(_, group)| group).collect(),
        spend_limit: limit.map(|limit| limit.per_day),
        has_token: api.node().agents.has_token(api.node(), &identity)?,
    })
}

/// The groups that an identity is a member of.
fn groups_of(view: &View, identity: &Identity) -> Result<Vec<(GroupId, AgentGroup)>, Problem> {
    let mut groups = Vec::new();
    for kept in view.groups()? {
        let kv = view.rows(kept);
        let (Some(member), Some(group)) = (state::member(&kv, identity)?, state::group(&kv)?) else { continue };
        let mut last_write_ms = None;
        for tip in rows::tips(&kv, identity)? {
            last_write_ms = last_write_ms.max(rows::placed(&kv, &tip.id)?.map(|placed| placed.time_ms));
        }
        let about = AgentGroup {
            group_id: kept.id.to_string(),
            name: group.name,
            role: member.role,
            balance: account::account(&kv, identity)?.balance,
            last_write_ms,
        };
        groups.push((kept.id, about));
    }
    Ok(groups)
}

pub(super) async fn revoke(
    As(api): As,
    Segments(agent): Segments<String>,
    Body(RevokeAgent { leave }): Body<RevokeAgent>,
) -> Answer<AgentRevoked> {
    let (name, identity) = named(&api, &agent)?;
    let revoking = Arc::clone(&api);
    // On its own: whoever asked may go, and what has begun is not left halfway.
    let revoked = tokio::spawn(async move {
        let read = move |_: &Api, view: &View| groups_of(view, &identity);
        let mut left = Vec::new();
        if leave {
            for (group, _) in revoking.read(read).await? {
                match leave_group(&revoking, group, identity).await {
                    Ok(()) => left.push(group.to_string()),
                    // It stays in the list of those that it is still a member of.
                    Err(WriteError::Failure(failure)) => {
                        tracing::warn!(%failure, %group, agent = %name, "an agent cannot leave a group");
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        revoking.node().agents.revoke(&name).await?;
        revoking.node().door.look_again();
        let still_member = revoking.read(read).await?.into_iter().map(|(_, group)| group).collect();
        Ok::<_, Problem>(AgentRevoked { agent: name.to_string(), member_id: identity.to_string(), left, still_member })
    });
    Ok(Json(revoked.await.map_err(|error| super::problem::crashed(&error))??))
}

/// Ends a membership, by the member itself.
pub(super) async fn leave_group(api: &Api, group: GroupId, member: Identity) -> Result<(), WriteError> {
    let remove = Transaction::MemberRemove(MemberRemove { identity: member });
    let task = Task::Write { group, author: member, transactions: vec![remove], objects: vec![] };
    api.node().writer.write(task).await.map(drop)
}

pub(super) async fn token(As(api): As, Segments(agent): Segments<String>) -> Answer<AgentToken> {
    let (name, identity) = named(&api, &agent)?;
    let token = api.node().agents.new_token(&name).await?;
    Ok(Json(AgentToken { agent: name.to_string(), member_id: identity.to_string(), token: token.to_string() }))
}

pub(super) async fn limit(
    As(api): As,
    Segments(agent): Segments<String>,
    Body(to): Body<SetSpendingLimit>,
) -> Answer<Agent> {
    let (name, identity) = named(&api, &agent)?;
    trade::set_limit(api.node(), None, &identity, purchase::bounded(to.per_day)?).await?;
    api.read(move |api, view| one(api, view, &name, identity)).await.map(Json)
}

impl From<AgentError> for Problem {
    fn from(error: AgentError) -> Self {
        use crate::datadir::DataDirError::{AgentExists, FormChanged, KeysBusy, NoAgent, TooManyAgents};
        let code = match &error {
            AgentError::Data(AgentExists { .. }) => ProblemCode::AgentExists,
            AgentError::Data(NoAgent { .. }) => ProblemCode::NoSuchAgent,
            AgentError::Data(TooManyAgents) => ProblemCode::Full,
            AgentError::Data(FormChanged { .. }) => ProblemCode::KeysChanged,
            AgentError::Data(KeysBusy { .. }) => ProblemCode::Busy,
            AgentError::Data(_) => ProblemCode::Storage,
            AgentError::Crashed(_) => ProblemCode::Internal,
            AgentError::Write(_) | AgentError::Stopping(_) => {
                return match error {
                    AgentError::Write(error) => error.into(),
                    _ => crate::runtime::Stopping.into(),
                };
            }
        };
        split(code, &error.to_string(), "see the daemon's log")
    }
}

/// Why a seal is not an agent's business.
pub(super) fn not_a_notary(name: &str) -> Problem {
    let detail = format!(
        "`{name}` is an agent of this node, and agents do not seal: an agent may be revoked, and a group goes on"
    );
    Problem::new(
        ProblemCode::Refused,
        detail,
        "name the member that is this node or another, as `lbm ctl status` prints it",
    )
}
