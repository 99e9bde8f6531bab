//! Tickets and join requests, as the group's admins see them; and the groups that peers show.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::Json;
use futures::future::join_all;
use libp2p::Multiaddr;
use serde_bytes::{ByteArray, ByteBuf};

use super::extract::{As, Body, Params, Segments};
use super::member::identity;
use super::peer::meant;
use super::problem::split;
use super::resolve::{Found, find, shown};
use super::{Api, Node};
use crate::api::types::{
    ApproveRequest, DiscoverGroups, Invite as Listed, InviteList, InviteMade, InviteRevoked, InviteState, JoinRequest,
    JoinRequestList, ListRequests, MemberChanged, NewInvite, Problem, ProblemCode, RequestDenied, Role, ShownGroup,
    ShownGroupList,
};
use crate::chain::transaction::{Invite, InviteRevoke, MemberAdd, Secret};
use crate::chain::{GroupId, Transaction};
use crate::doctor;
use crate::identity::{Identity, SecretKey};
use crate::kv::Read;
use crate::ledger::{TicketRefusal, invite, state};
use crate::limits;
use crate::node::engine::Groups;
use crate::node::joining::Applied;
use crate::runtime::clock::unix_ms;
use crate::runtime::joining::requests as kept_requests;
use crate::store::View;
use crate::ticket::{Checkpoint, Contact, Ticket};
use crate::wire::node::{GetGroups, Request, Response};

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn create(
    As(api): As,
    Segments(group): Segments<String>,
    Body(NewInvite { role, uses, life_ms }): Body<NewInvite>,
) -> Answer<InviteMade> {
    let read = |_: &Api, found: &Found<'_>, group: state::Group| {
        let kv = found.kv.as_ref();
        let sealing = state::sealing(kv)?.filter(|sealing| sealing.epoch > 0);
        let checkpoint = sealing.map(|sealing| {
            let mut block = [0; 16];
            block.iter_mut().zip(sealing.seal.as_bytes()).for_each(|(to, from)| *to = *from);
            Checkpoint { epoch: sealing.epoch, block: ByteArray::new(block) }
        });
        let members = crate::ledger::query::members(kv)?.into_iter();
        let members: BTreeSet<Identity> = members.map(|(identity, _)| identity).collect();
        Ok((found.id, group.name, group.discovery_secret, checkpoint, members))
    };
    let (group, name, discovery_secret, checkpoint, members) = api.read_group(group, read).await?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        let detail = format!("the system's random source does not answer: {error}");
        Problem::new(ProblemCode::Internal, detail, "try again; nothing was written")
    })?;
    let (uses, life_ms) = (uses.unwrap_or(1), life_ms.unwrap_or(limits::TICKET_DEFAULT_LIFE_MS));
    // A moment is left for the way to the writer, whose clock says how long it stands.
    let expires_ms = unix_ms().saturating_add(life_ms);
    let contacts = contacts(api.node(), &members).await?;
    let seed = Secret(seed);
    let mut ticket = Ticket { group, name: Some(name), role, expires_ms, seed, discovery_secret, checkpoint, contacts };
    ticket.fit();
    let id = SecretKey::identity(&ticket.key());
    let text = ticket.to_text().map_err(|error| split(ProblemCode::Internal, &error.to_string(), ""))?;
    let new = Transaction::Invite(Invite { ticket: id, role, uses, expires_ms });
    let written = api.node().writer.write(api.to_write(group, vec![new], vec![])).await?;
    Ok(Json(InviteMade {
        group_id: group.to_string(),
        ticket: text,
        ticket_id: id.to_string(),
        role,
        uses,
        expires_ms,
        block_id: written.last_block(),
    }))
}

/// Whom a ticket names: this node, and connected members, by the addresses at which they are known.
async fn contacts(node: &Node, members: &BTreeSet<Identity>) -> Result<Vec<Contact>, Problem> {
    let bytes = |address: &Multiaddr| ByteBuf::from(address.to_vec());
    let own = node.reached_at().await?;
    let own = own.iter().filter_map(|address| address.parse::<Multiaddr>().ok()).map(|address| bytes(&address));
    let mut contacts = vec![Contact { member: node.node_id, addresses: own.collect() }];
    for info in node.peers().await? {
        let Some(known) = info.known.filter(|_| info.link.is_some() && members.contains(&info.peer)) else { continue };
        let addresses: Vec<ByteBuf> = known.addresses.iter().map(|(address, _)| bytes(address)).collect();
        if !addresses.is_empty() && contacts.len() < limits::TICKET_MEMBERS {
            contacts.push(Contact { member: info.peer, addresses });
        }
    }
    Ok(contacts)
}

pub(super) async fn list(As(api): As, Segments(group): Segments<String>) -> Answer<InviteList> {
    let read = |_: &Api, found: &Found<'_>, _| {
        let kv = found.kv.as_ref();
        let now_ms = unix_ms();
        let mut invites = Vec::new();
        for (ticket, row) in invite::tickets(kv)? {
            let inviter = state::member(kv, &row.by)?;
            let state = match row.is_over(ticket, now_ms) {
                Some(TicketRefusal::Revoked(_)) => InviteState::Revoked,
                Some(TicketRefusal::UsedUp(..)) => InviteState::UsedUp,
                Some(_) => InviteState::Expired,
                None if inviter.is_none_or(|member| member.role < Role::Admin) => InviteState::InviterGone,
                None => InviteState::Open,
            };
            invites.push(Listed {
                ticket_id: ticket.to_string(),
                role: row.role,
                uses: row.uses,
                uses_left: row.uses.saturating_sub(row.used),
                expires_ms: row.expires_ms,
                made_by: row.by.to_string(),
                made_ms: row.made_ms,
                state,
            });
        }
        invites.sort_by_key(|invite| (std::cmp::Reverse(invite.made_ms), invite.ticket_id.clone()));
        Ok(InviteList { group_id: found.id.to_string(), invites })
    };
    api.read_group(group, read).await.map(Json)
}

pub(super) async fn revoke(
    As(api): As,
    Segments((group, ticket)): Segments<(String, String)>,
) -> Answer<InviteRevoked> {
    let ticket: Identity = ticket.parse().map_err(|_| {
        let detail = format!("`{}` is not the id of a ticket", shown(&ticket));
        Problem::new(ProblemCode::BadField, detail, "`lbm ctl group invites` lists them")
    })?;
    let group = api.group_id(group).await?;
    let revoke = Transaction::InviteRevoke(InviteRevoke { ticket });
    let written = api.node().writer.write(api.to_write(group, vec![revoke], vec![])).await?;
    let (group_id, ticket_id) = (group.to_string(), ticket.to_string());
    Ok(Json(InviteRevoked { group_id, ticket_id, block_id: written.last_block() }))
}

pub(super) async fn requests(As(api): As, Params(query): Params<ListRequests>) -> Answer<JoinRequestList> {
    let read = move |api: &Api, view: &View| {
        let groups: Vec<GroupId> = match &query.group {
            Some(name) => vec![find(view, name)?.id],
            None => view.groups()?.into_iter().map(|kept| kept.id).collect(),
        };
        let (now_ms, drift_ms) = (unix_ms(), api.node().door.drift_ms());
        let (mut requests, mut admin_of) = (Vec::new(), 0);
        for group in groups {
            let Some(kv) = view.group(&group)? else { continue };
            let kv: &dyn Read = kv.as_ref();
            if state::member(kv, &api.node().identity)?.is_none_or(|member| member.role < Role::Admin) {
                continue;
            }
            admin_of += 1;
            for (request, applied) in kept_requests(view, &group, now_ms, drift_ms)? {
                if applied.denied_ms.is_none() && state::member(kv, &request.applicant)?.is_none() {
                    requests.push(JoinRequest {
                        group_id: group.to_string(),
                        member_id: request.applicant.to_string(),
                        name: request.name,
                        note: request.note,
                        asked_ms: request.time_ms,
                        came_ms: applied.came_ms,
                    });
                }
            }
        }
        requests.sort_by_key(|request| request.came_ms);
        Ok(JoinRequestList { requests, admin_of })
    };
    api.read(read).await.map(Json)
}

/// The request of somebody, which must be here.
async fn request_of(
    api: &std::sync::Arc<Api>,
    group: String,
    who: &str,
) -> Result<(GroupId, Identity, Applied), Problem> {
    let applicant = identity(who)?;
    let read = move |api: &Api, found: &Found<'_>, _| {
        let view = api.node().view()?;
        let kept = kept_requests(&view, &found.id, unix_ms(), api.node().door.drift_ms())?;
        let known = kept.into_iter().find(|(request, _)| request.applicant == applicant);
        if let Some(denied_ms) = known.as_ref().and_then(|(_, applied)| applied.denied_ms) {
            let ago = doctor::span_of(unix_ms().saturating_sub(denied_ms));
            let detail = format!("{applicant} asked to be let into the group {}, and was denied {ago} ago", found.id);
            let remedy = format!(
                "let it in all the same with `lbm ctl group add-member --group {} --member {applicant}`",
                found.id
            );
            return Err(Problem::new(ProblemCode::RequestDenied, detail, remedy));
        }
        let (_, applied) = known.ok_or_else(|| {
            let detail = format!("{applicant} has not asked to be let into the group {}", found.id);
            let remedy =
                "`lbm ctl group requests` lists who has; without a request `lbm ctl group add-member` lets somebody in";
            Problem::new(ProblemCode::NoSuchRequest, detail, remedy)
        })?;
        Ok((found.id, applicant, applied))
    };
    api.read_group(group, read).await
}

pub(super) async fn approve(
    As(api): As,
    Segments((group, who)): Segments<(String, String)>,
    Body(ApproveRequest { role }): Body<ApproveRequest>,
) -> Answer<MemberChanged> {
    let (group, applicant, _) = request_of(&api, group, &who).await?;
    let add = Transaction::MemberAdd(MemberAdd { identity: applicant, role });
    let written = api.node().writer.write(api.to_write(group, vec![add], vec![])).await?;
    api.node().door.answered(&group, &applicant).await?;
    let (group_id, member_id) = (group.to_string(), applicant.to_string());
    Ok(Json(MemberChanged { group_id, member_id, role: Some(role), block_id: Some(written.last_block()) }))
}

pub(super) async fn deny(As(api): As, Segments((group, who)): Segments<(String, String)>) -> Answer<RequestDenied> {
    let (group, applicant, applied) = request_of(&api, group, &who).await?;
    let me = api.node().identity;
    let is_admin = move |_: &Api, view: &View| {
        let kv = view.group(&group)?;
        let member = kv.map(|kv| state::member(kv.as_ref(), &me)).transpose()?.flatten();
        Ok(member.is_some_and(|member| member.role == Role::Admin))
    };
    if !api.read(is_admin).await? {
        return Err((&crate::ledger::Refusal::NotAnAdmin(me)).into());
    }
    api.node().door.deny(&group, &applicant, applied).await?;
    Ok(Json(RequestDenied { group_id: group.to_string(), member_id: applicant.to_string() }))
}

pub(super) async fn discover(As(api): As, Params(query): Params<DiscoverGroups>) -> Answer<ShownGroupList> {
    // Peers show their groups to this node, which may be in more of them than its agent.
    if api.node().is_agent() {
        let detail = "what peers show is shown to the node, not to its agents";
        return Err(Problem::new(ProblemCode::Forbidden, detail, "`lbm ctl group list` shows the agent's own groups"));
    }
    let only = match &query.peer {
        Some(name) => Some(meant(&api, name).await?),
        None => None,
    };
    let connected = api.node().peers().await?.into_iter().filter(|info| info.link.is_some()).map(|info| info.peer);
    let peers: Vec<Identity> = connected.filter(|peer| only.is_none_or(|only| only == *peer)).collect();
    if let (Some(only), []) = (only, peers.as_slice()) {
        let detail = format!("the peer {only} is not connected");
        return Err(Problem::new(ProblemCode::NoMemberReachable, detail, "`lbm ctl peer list` shows who is"));
    }
    let answers = join_all(peers.iter().map(|peer| shown_by(api.node(), *peer))).await;
    let answered = answers.iter().filter(|groups| groups.is_some()).count() as u64;
    let here = api.read(|_, view| Ok(view.groups()?.into_iter().map(|kept| kept.id).collect::<BTreeSet<_>>())).await?;
    let mut groups: BTreeMap<GroupId, ShownGroup> = BTreeMap::new();
    for (peer, shown) in peers.iter().zip(answers) {
        for group in shown.into_iter().flatten() {
            let entry = groups.entry(group.group).or_insert_with(|| ShownGroup {
                group_id: group.group.to_string(),
                name: group.name.clone(),
                members: group.members.into(),
                role: group.role,
                is_here: here.contains(&group.group),
                peers: vec![],
            });
            entry.members = entry.members.max(group.members.into());
            entry.role = entry.role.max(group.role);
            entry.peers.push(peer.to_string());
        }
    }
    let mut groups: Vec<ShownGroup> = groups.into_values().collect();
    groups.sort_by(|a, b| (&a.name, &a.group_id).cmp(&(&b.name, &b.group_id)));
    Ok(Json(ShownGroupList { groups, asked: peers.len() as u64, answered }))
}

/// The groups that one peer shows; none where it does not answer in time, or not what was asked.
async fn shown_by(node: &Node, peer: Identity) -> Option<Vec<crate::wire::node::ShownGroup>> {
    let pages = async {
        let mut groups: Vec<crate::wire::node::ShownGroup> = Vec::new();
        let mut after = None;
        for _ in 0..limits::SHOWN_GROUPS_PAGES {
            let Ok(Ok(Response::Groups(page))) = node.ask_node(peer, Request::Groups(GetGroups { after })).await else {
                return None;
            };
            let ascends = page.groups.iter().map(|group| Some(group.group)).is_sorted();
            let first = page.groups.first().map(|group| group.group);
            if !ascends || (after.is_some() && first <= after) {
                return None;
            }
            after = page.groups.last().map(|group| group.group).or(after);
            groups.extend(page.groups);
            if !page.more {
                break;
            }
        }
        let is_name = |name: &str| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
            (1..=limits::GROUP_NAME_BYTES).contains(&name.len()) && name.chars().all(plain)
        };
        groups.retain(|group| is_name(&group.name));
        Some(groups)
    };
    tokio::time::timeout(Duration::from_millis(limits::NODE_PATIENCE_MS), pages).await.ok().flatten()
}
