//! What anybody may ask: to be let in by a ticket, to have a join request handed to an admin, which groups may be seen, what the time is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Applied, DENIED, Door, Joining, of_joining, of_request, pending_of, requests_of};
use crate::api::types::EventKind;
use crate::chain::transaction::MemberJoin;
use crate::chain::{GroupId, Role, Transaction};
use crate::identity::Identity;
use crate::join_request::{self, Invalid};
use crate::kv::KvError;
use crate::ledger::{Refusal, TicketRefusal, account, invite, query, state};
use crate::limits;
use crate::node::engine::{Failure, Groups, Task};
use crate::node::io::Severity;
use crate::node::joining::Denial;
use crate::node::trade::shelf::Shelved;
use crate::runtime::clock::unix_ms;
use crate::runtime::writer::WriteError;
use crate::store::View;
use crate::wire::node::{Admit, GetGroups, GroupsPage, Over, Refused, Request, Response, ShownGroup};

type Answer = (Response, Option<Severity>);

const fn refused(why: Refused) -> Response {
    Response::Refused(why)
}

/// What a look at the rows says of somebody with a ticket.
enum Standing {
    /// The group is not here, has no such ticket, or nobody here may write in it.
    Nothing,
    In,
    Over(Over),
    /// This identity of the node may let it in.
    ByWhom(Identity),
}

/// Why a ticket lets nobody in, as the bearer is told.
const fn over(refusal: &TicketRefusal) -> Option<Over> {
    match refusal {
        TicketRefusal::Expired(..) => Some(Over::Expired),
        TicketRefusal::UsedUp(..) => Some(Over::UsedUp),
        TicketRefusal::Revoked(_) => Some(Over::Revoked),
        TicketRefusal::InviterGone(_) => Some(Over::InviterGone),
        TicketRefusal::Removed(_) => Some(Over::Removed),
        TicketRefusal::NoSuchTicket(_) | TicketRefusal::Exists(_) | TicketRefusal::Life(_) | TicketRefusal::TooMany => {
            None
        }
    }
}

impl Door {
    /// Answers a peer, and says how heavily its request counts against it.
    pub(in crate::runtime) async fn answer(&self, peer: Identity, request: Request) -> Answer {
        match request {
            Request::Admit(admit) => self.admit(peer, *admit).await,
            Request::Apply(record) => self.apply(peer, &record),
            Request::Groups(asked) => {
                let door = self.clone();
                let page = aside(move || shown(&door.0.store.view()?, &peer, &asked)).await;
                (page.map_or(refused(Refused::Failed), Response::Groups), None)
            }
            Request::Denied(group) => {
                let door = self.clone();
                tokio::spawn(async move { door.was_denied(peer, group).await });
                (Response::Taken, None)
            }
            Request::Clock => (Response::Clock(unix_ms()), None),
        }
    }

    /// Lets the bearer of a ticket in. The proof is checked first, whether the group is here or not, so that nobody learns which.
    async fn admit(&self, peer: Identity, Admit { group, join }: Admit) -> Answer {
        if join.check(&group).is_err() {
            tracing::info!(%peer, "a proof of a ticket that does not hold");
            return (refused(Refused::Malformed), Some(Severity::High));
        }
        let (door, asked) = (self.clone(), join.clone());
        let standing = aside(move || door.standing(&door.0.store.view()?, &group, &peer, &asked, unix_ms())).await;
        let author = match standing {
            None => return (refused(Refused::Failed), None),
            Some(Standing::Nothing) => return (refused(Refused::NotShared), None),
            Some(Standing::In) => return (Response::Admitted, None),
            Some(Standing::Over(over)) => return (refused(Refused::Ticket(over)), None),
            Some(Standing::ByWhom(author)) => author,
        };
        let identity = join.identity;
        let transactions = vec![Transaction::MemberJoin(join)];
        let response = match self.0.writer.write(Task::Write { group, author, transactions, objects: vec![] }).await {
            Ok(_) => {
                tracing::info!(%group, %identity, "let a member in by a ticket");
                Response::Admitted
            }
            Err(WriteError::Failure(failure)) => match &*failure {
                Failure::Refused(Refusal::AlreadyAMember(_)) => Response::Admitted,
                Failure::Refused(Refusal::GroupFull) => refused(Refused::Ticket(Over::Full)),
                Failure::Refused(Refusal::Ticket(why)) => {
                    refused(over(why).map_or(Refused::NotShared, Refused::Ticket))
                }
                Failure::Store(_) => refused(Refused::Failed),
                // This node cannot write there now; another member can.
                _ => refused(Refused::NotShared),
            },
            Err(error) => {
                tracing::warn!(%error, "could not let a member in");
                refused(Refused::Failed)
            }
        };
        (response, None)
    }

    fn standing(
        &self,
        view: &View,
        group: &GroupId,
        peer: &Identity,
        join: &MemberJoin,
        now_ms: u64,
    ) -> Result<Standing, KvError> {
        let Some(kv) = view.group(group)? else { return Ok(Standing::Nothing) };
        let kv = kv.as_ref();
        let Some(row) = invite::ticket(kv, &join.ticket)? else { return Ok(Standing::Nothing) };
        let Some(author) = self.writes_in(kv, Role::Member)? else { return Ok(Standing::Nothing) };
        let is_in = state::member(kv, &join.identity)?.is_some();
        // Who asks for another, and is no member that would know, is told of the ticket alone: as if that other were not in.
        let may_know = *peer == join.identity || state::member(kv, peer)?.is_some();
        if is_in && may_know {
            return Ok(Standing::In);
        }
        Ok(match row.is_over(join.ticket, now_ms).as_ref().and_then(over) {
            Some(over) => Standing::Over(over),
            None if is_in => Standing::In,
            None => Standing::ByWhom(author),
        })
    }

    /// An identity of this node that is at least `least` in a group: its own before its agents'.
    fn writes_in(&self, kv: &dyn crate::kv::Read, least: Role) -> Result<Option<Identity>, KvError> {
        let agents = self.0.agents.all().into_iter().map(|(_, identity)| identity);
        for identity in std::iter::once(self.0.me).chain(agents) {
            if state::member(kv, &identity)?.is_some_and(|member| member.role >= least) {
                return Ok(Some(identity));
            }
        }
        Ok(None)
    }

    /// Reads a join request. What becomes of it is worked out afterwards: the answer says nothing of it, nor does its time.
    fn apply(&self, peer: Identity, record: &join_request::Unverified) -> Answer {
        match record.verify(unix_ms(), self.0.drift_ms) {
            Ok(verified) => {
                let door = self.clone();
                tokio::spawn(async move { door.take(peer, verified).await });
                (Response::Taken, None)
            }
            Err(Invalid::Version(_)) => (Response::Taken, None),
            Err(Invalid::Early(_) | Invalid::Over(_)) => (Response::Taken, Some(Severity::Low)),
            Err(Invalid::Decode(_) | Invalid::Form(_) | Invalid::Signature(_)) => {
                (refused(Refused::Malformed), Some(Severity::High))
            }
        }
    }

    async fn take(&self, peer: Identity, verified: join_request::Verified) {
        let (group, applicant) = (verified.request().group, verified.request().applicant);
        let door = self.clone();
        let look = move || -> Result<Option<(bool, BTreeSet<Identity>)>, KvError> {
            let view = door.0.store.view()?;
            let Some(kv) = view.group(&group)? else { return Ok(None) };
            let kv = kv.as_ref();
            if door.writes_in(kv, Role::Viewer)?.is_none() || state::member(kv, &applicant)?.is_some() {
                return Ok(None);
            }
            let members = query::members(kv)?;
            let admins = members.into_iter().filter(|(_, member)| member.role == Role::Admin);
            Ok(Some((door.writes_in(kv, Role::Admin)?.is_some(), admins.map(|(identity, _)| identity).collect())))
        };
        let Some((is_admin, admins)) = aside(look).await.flatten() else { return };
        self.keep(peer, &verified, is_admin).await;
        if is_admin {
            return;
        }
        for admin in admins {
            // Who is not connected is handed it when it is met.
            drop(self.ask_peer(admin, Request::Apply(verified.signed().clone())).await);
        }
    }

    /// Somebody says that it is an admin of a group that this node wants to be let into, and has denied that. Who it is cannot be known here:
    /// it is shown, and the node goes on.
    async fn was_denied(&self, by: Identity, group: GroupId) {
        let (door, me) = (self.clone(), self.0.me);
        let joining = aside(move || pending_of(&door.0.store.view()?, &me, &group)).await.flatten();
        let is_news = |joining: &Joining| joining.ticket.is_none() && joining.denied.is_none();
        let Some(joining) = joining.filter(is_news) else { return };
        tracing::info!(%group, %by, "says that a request to be let in was denied");
        let denied = Some(Denial { by, at_ms: unix_ms() });
        let row = Joining { refused: Some(DENIED.to_owned()), denied, ..joining }.to_row();
        let local = vec![(of_joining(&me, &group), Some(row))];
        if let Err(error) = self.0.writer.register(crate::store::Registry { local, ..Default::default() }).await {
            tracing::warn!(%error, "denied, and could not note it");
        }
        let (group_id, member_id) = (group.to_string(), me.to_string());
        self.0.events.tell(EventKind::TurnedAway { group_id, member_id, code: DENIED.to_owned(), goes_on: true });
    }

    /// Keeps a request for an admin: the one that is here, or those that are met. Of two by one applicant the later stays.
    async fn keep(&self, via: Identity, verified: &join_request::Verified, is_admin: bool) {
        let request = verified.request();
        let (group, applicant, time_ms) = (request.group, request.applicant, request.time_ms);
        let _alone = self.0.keeping.lock().await;
        let (door, now_ms) = (self.clone(), unix_ms());
        let look = move || -> Result<_, KvError> {
            let view = door.0.store.view()?;
            let rows = view.local_rows(&requests_of(&group))?;
            let known = |(key, value): (Vec<u8>, Vec<u8>)| Some((key, Applied::from_row(&value)?));
            Ok(rows.into_iter().filter_map(known).collect::<Vec<_>>())
        };
        let Some(mut rows) = aside(look).await else { return };
        let is_over = |applied: &Applied| applied.record.verify(now_ms, self.0.drift_ms).is_err();
        let mut local: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        rows.retain(|(key, applied)| {
            let over = is_over(applied);
            if over {
                local.push((key.clone(), None));
            }
            !over
        });
        let own = of_request(&group, &applicant);
        let before = rows.iter().position(|(key, _)| *key == own).map(|at| rows.swap_remove(at).1);
        let is_news = match &before {
            Some(before) if before.denied_ms.is_some() => {
                // A no stands as long as the request that it was said to; who asks again is told.
                let door = self.clone();
                tokio::spawn(async move { drop(door.ask_peer(applicant, Request::Denied(group)).await) });
                return;
            }
            Some(before) => {
                let kept = before.record.verify(now_ms, self.0.drift_ms).ok();
                match kept.map(|kept| (kept.request().time_ms, kept.request().note != request.note)) {
                    Some((kept_ms, _)) if kept_ms >= time_ms => return,
                    Some((_, says_else)) => says_else,
                    None => true,
                }
            }
            None => true,
        };
        if rows.len() >= limits::JOIN_REQUESTS {
            local.extend(victim(&rows).map(|key| (key, None)));
        }
        let applied = Applied { record: verified.signed().clone(), via, came_ms: now_ms, denied_ms: None };
        local.push((own, Some(applied.to_row())));
        if let Err(error) = self.0.writer.register(crate::store::Registry { local, ..Default::default() }).await {
            tracing::warn!(%error, "a join request was not kept");
            return;
        }
        if is_news && is_admin && !request.withdrawn {
            self.0.events.tell(EventKind::JoinRequest {
                group_id: group.to_string(),
                member_id: applicant.to_string(),
                name: request.name.clone(),
                note: request.note.clone(),
            });
        }
    }
}

/// Which request goes where there is no room: the oldest of the peer that has handed in most.
fn victim(rows: &[(Vec<u8>, Applied)]) -> Option<Vec<u8>> {
    let mut handed: BTreeMap<Identity, usize> = BTreeMap::new();
    for (_, applied) in rows {
        *handed.entry(applied.via).or_default() += 1;
    }
    let most = handed.into_iter().max_by_key(|(_, count)| *count)?.0;
    let of_it = rows.iter().filter(|(_, applied)| applied.via == most);
    of_it.min_by_key(|(_, applied)| applied.came_ms).map(|(key, _)| key.clone())
}

/// The groups that a peer may see.
fn shown(view: &View, peer: &Identity, asked: &GetGroups) -> Result<GroupsPage, KvError> {
    let mut page = GroupsPage { groups: vec![], more: false };
    for kept in view.groups()? {
        if asked.after.is_some_and(|after| kept.id <= after) {
            continue;
        }
        let rows = view.rows(kept);
        let Some(group) = state::group(&rows)? else { continue };
        let role = state::member(&rows, peer)?.map(|member| member.role);
        if role.is_none() && !account::policy(&rows)?.listed {
            continue;
        }
        if page.groups.len() >= limits::SHOWN_GROUPS {
            page.more = true;
            break;
        }
        page.groups.push(ShownGroup { group: kept.id, name: group.name, members: group.members, role });
    }
    Ok(page)
}

/// Reads on another thread; none where that fails.
async fn aside<T: Send + 'static>(read: impl FnOnce() -> Result<T, KvError> + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(read)) => Some(read),
        Ok(Err(error)) => {
            tracing::error!(%error, "could not read for a peer that wants to join");
            None
        }
        Err(error) => {
            tracing::error!(%error, "a thread failed");
            None
        }
    }
}
