//! Joining a group, and following how it goes.
//!
//! By a ticket, or by the group's id: then its admins are asked. Either way the joining is the node's: it is durable before the first event
//! is sent, and goes on whether anybody follows or not. By a ticket nothing of the group is asked for before a member has let it in. **It is done
//! when the group's first block is here and a pull that ended after the joining began found nothing more**, and, where the group was left
//! before, this node knows again what it had written in it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::sse::Event as SseEvent;
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::sync::broadcast::{self, error::RecvError};

use super::Api;
use super::events::{sse, to_sse};
use super::extract::{As, Body};
use super::group::room_for_one;
use super::problem::{come_back, split};
use super::resolve::shown;
use super::stop::Stop;
use crate::api::types::{Event, EventKind, JoinEvent, JoinGroup, Problem, ProblemCode, Role};
use crate::chain::gone::Gone;
use crate::chain::{GroupId, Transaction, rows};
use crate::doctor;
use crate::identity::Identity;
use crate::join_request::JoinRequest;
use crate::kv::{Direction, KvError, Read};
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
use crate::node::joining::{Denial, Joining};
use crate::node::shut_out;
use crate::runtime::Stopping;
use crate::runtime::clock::unix_ms;
use crate::runtime::joining::{is_the_one, pending, pending_of};
use crate::store::{Registry, View};
use crate::ticket::{PREFIX, Ticket};

const ASK_ANEW: &str = "ask an admin of the group for a new one (`lbm ctl group invite`)";

/// Pause between two looks at how much has come.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn join(As(api): As, Body(request): Body<JoinGroup>) -> Result<Response, Problem> {
    let began = Instant::now();
    let (id, ticket) = named(&api, &request)?;
    // Before the joining begins, so that nothing of it is missed.
    let (_, events) = api.node().events.follow(u64::MAX);
    let seen = api.read(move |api, view| Seen::of(api, view, id, None, Tally::default())).await?;
    let is_in = seen.standing.as_ref().is_some_and(|(_, role)| role.is_some());
    if is_in && ticket.is_some() {
        let detail = format!("{} is already a member of the group {id}", api.node().identity);
        return Err(Problem::new(
            ProblemCode::AlreadyAMember,
            detail,
            "the ticket is not needed: give it to somebody else",
        ));
    }
    let is_here = seen.standing.is_some() && ticket.is_none();
    if !seen.is_kept {
        api.read(|_, view| room_for_one(view)).await?;
    }
    let is_denied = ticket.is_none() && seen.joining.as_ref().is_some_and(|joining| joining.denied.is_some());
    if is_denied {
        // The denial stands; who said it is asked again, and so is everybody else.
        api.node().door.look_again();
    } else if !is_in {
        begin(&api, id, ticket.as_ref(), request.note.clone()).await?;
    }
    if !seen.is_kept && ticket.is_none() {
        api.node().writer.register(Registry { join: vec![id], ..Registry::default() }).await?;
    }
    let wait_ms = request.wait_ms.unwrap_or(limits::JOIN_DEFAULT_WAIT_MS);
    let mut following = Following {
        events: Some(events),
        stop: api.stop.clone(),
        api,
        id,
        began,
        until: tokio::time::Instant::now() + Duration::from_millis(wait_ms),
        tally: seen.tally,
        connected: BTreeSet::new(),
        strangers: BTreeSet::new(),
        told: None,
        caught_up: seen.standing.is_some(),
        was_here: seen.standing.is_some(),
        turned_away: None,
        denied: None,
        shut_out: None,
        is_gone: false,
        ticket,
    };
    if !is_here {
        if following.ticket.is_none() {
            following.api.node().sync_now(id, None).await?;
        }
        following.connected = following.connected_now().await?;
    }
    let stream = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<SseEvent, Infallible>(to_sse(&event)), following))
    });
    Ok(sse(stream).into_response())
}

/// What is to be joined: by a ticket, or by an id.
fn named(api: &Api, request: &JoinGroup) -> Result<(GroupId, Option<Ticket>), Problem> {
    // As people copy it, with what stood around it.
    let text = request.group.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>'));
    if text.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX)) {
        let ticket = Ticket::from_text(text).map_err(|error| split(ProblemCode::BadTicket, &error.to_string(), ""))?;
        if ticket.expires_ms.saturating_add(api.node().door.drift_ms()) <= unix_ms() {
            let detail = format!("the ticket into the group {} has expired", ticket.group);
            let remedy = "ask an admin of the group for a new one (`lbm ctl group invite`)";
            return Err(Problem::new(ProblemCode::TicketExpired, detail, remedy));
        }
        return Ok((ticket.group, Some(ticket)));
    }
    if api.node().identity != api.node().node_id {
        let remedy = "give it a ticket, or have an admin add it (`lbm ctl group add-member`)";
        return Err(Problem::new(ProblemCode::Forbidden, "an agent joins a group by a ticket", remedy));
    }
    let id = text.parse().map_err(|_| {
        let detail = format!("`{}` is neither a ticket nor the full id of a group", shown(&request.group));
        let remedy = "expected a ticket (lbm1…, as `lbm ctl group invite` prints it), or 64 hexadecimal digits, as `lbm ctl group list` \
                      prints them on a node that has the group";
        Problem::new(ProblemCode::BadField, detail, remedy)
    })?;
    Ok((id, None))
}

/// Notes durably what is to be presented to members: the ticket, or a request that this node signs.
async fn begin(api: &Arc<Api>, group: GroupId, ticket: Option<&Ticket>, note: Option<String>) -> Result<(), Problem> {
    let me = api.node().identity;
    let (of_node, own) = (api.node().node_id, api.node().identity);
    // An agent has its share, and all of them leave room for the node's own.
    let most = if own == of_node { limits::JOININGS } else { limits::AGENT_JOININGS };
    let full = move |_: &Api, view: &View| {
        let all = pending(view)?;
        let is_known = all.iter().any(|pending| (pending.identity, pending.group) == (me, group));
        let count =
            |is_meant: &dyn Fn(&Identity) -> bool| all.iter().filter(|pending| is_meant(&pending.identity)).count();
        let has_room = count(&|who| *who == own) < most
            && (own == of_node || count(&|who| *who != of_node) < limits::JOININGS / 2)
            && all.len() < limits::JOININGS;
        Ok(!is_known && !has_room)
    };
    if api.read_own(full).await? {
        let detail = format!("{most} groups are being joined, and that is the most");
        return Err(Problem::new(ProblemCode::Full, detail, "leave some with `lbm ctl group leave`"));
    }
    let began_ms = unix_ms();
    let request = match ticket {
        Some(_) => None,
        None => {
            let name = api.node().name.to_string();
            let request = JoinRequest { group, applicant: me, name, note, time_ms: began_ms, withdrawn: false };
            request.check()?;
            api.node().sign_request(request).await?
        }
    };
    let ticket = ticket.map(Ticket::to_text).transpose();
    let ticket = ticket.map_err(|error| split(ProblemCode::BadTicket, &error.to_string(), ""))?;
    Ok(api
        .node()
        .door
        .begin(
            me,
            group,
            &Joining { ticket, request, began_ms, refused: None, denied: None, has_brought: false, withdrawn: false },
        )
        .await?)
}

/// Claims that have come, counted along the sequence of storing: each look reads only what is new.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    blocks: u64,
    claims: u64,
}

impl Tally {
    fn go_on(mut self, kv: &dyn Read) -> Result<Self, KvError> {
        let mut lines = Vec::new();
        rows::log(kv, self.blocks, Direction::Up, &mut |_, line| {
            lines.push(line);
            ControlFlow::Continue(())
        })?;
        for line in lines {
            let body = rows::body(kv, &line)?;
            let claims = body.transactions().iter().filter(|transaction| matches!(transaction, Transaction::Claim(_)));
            self.claims += claims.count() as u64;
            self.blocks += 1;
        }
        Ok(self)
    }
}

/// What one look at the store shows.
struct Seen {
    is_kept: bool,
    /// What is noted of the joining; none where it is done, or was ended.
    joining: Option<Joining>,
    /// Whether what this node wrote before it left may still be missing.
    in_doubt: bool,
    /// Why members say that this node is none any more.
    shut_out: Option<Gone>,
    /// Whether it has the seal that the ticket names; none while that is not known.
    is_the_one: Option<bool>,
    /// The group's name and this node's role, once its first block is here, and unless members say that it is over.
    standing: Option<(String, Option<Role>)>,
    tally: Tally,
}

impl Seen {
    fn of(api: &Api, view: &View, id: GroupId, ticket: Option<&Ticket>, tally: Tally) -> Result<Self, Problem> {
        let joining = pending_of(view, &api.node().identity, &id)?;
        let Some(kv) = view.group(&id)? else {
            let (in_doubt, is_the_one, standing, shut_out) = (false, None, None, None);
            return Ok(Self { is_kept: false, joining, in_doubt, shut_out, is_the_one, standing, tally });
        };
        let kv = kv.as_ref();
        let role = state::member(kv, &api.node().identity)?.map(|member| member.role);
        // A membership that others say is over is asked for anew.
        let shut_out = shut_out::shut_out(kv)?.map(|said| said.why);
        let standing = state::group(kv)?.filter(|_| shut_out.is_none()).map(|group| (group.name, role));
        let is_the_one = ticket.map_or(Ok(Some(true)), |ticket| is_the_one(kv, ticket))?;
        Ok(Self {
            is_kept: true,
            joining,
            shut_out,
            is_the_one,
            in_doubt: rows::in_doubt(kv)?,
            standing,
            tally: tally.go_on(kv)?,
        })
    }
}

struct Following {
    api: Arc<Api>,
    id: GroupId,
    /// None once the last event is told.
    events: Option<broadcast::Receiver<Event>>,
    stop: Stop,
    began: Instant,
    until: tokio::time::Instant,
    tally: Tally,
    connected: BTreeSet<String>,
    /// Connected peers that said that they do not share the group.
    strangers: BTreeSet<String>,
    told: Option<JoinEvent>,
    caught_up: bool,
    /// Whether it was joined before.
    was_here: bool,
    /// By what it is joined, where that is a ticket.
    ticket: Option<Ticket>,
    /// Why members say that this node is none any more.
    shut_out: Option<Gone>,
    /// Whether nothing was noted of the joining when it was last looked.
    is_gone: bool,
    /// Why a peer says that the ticket lets nobody in, and whether that is the last word.
    turned_away: Option<(String, bool)>,
    /// Who says that it has denied the request, and when.
    denied: Option<Denial>,
}

impl Following {
    /// The next thing to tell; nothing after the last.
    async fn next(&mut self) -> Option<JoinEvent> {
        self.events.as_ref()?;
        match self.go_on().await {
            Ok(event) => {
                if !matches!(event, JoinEvent::Looking { .. } | JoinEvent::Progress { .. }) {
                    self.events = None;
                }
                Some(event)
            }
            Err(problem) => {
                self.events = None;
                Some(JoinEvent::Waiting { group_id: self.id.to_string(), problem })
            }
        }
    }

    async fn go_on(&mut self) -> Result<JoinEvent, Problem> {
        loop {
            let seen = self.look().await?;
            if seen.is_the_one == Some(false) {
                // What goes on with the joining drops it.
                self.turned_away = Some((ProblemCode::OtherBranch.as_str().to_owned(), true));
            }
            match (&self.turned_away, &seen.joining) {
                (Some((word, true)), _) => return Ok(JoinEvent::Refused { problem: self.turned_away(word) }),
                // Said before this following began.
                (None, Some(Joining { refused: Some(word), .. })) => self.turned_away = Some((word.clone(), false)),
                _ => {}
            }
            self.denied = seen.joining.as_ref().and_then(|joining| joining.denied);
            if self.denied.is_some() && self.ticket.is_none() && seen.standing.is_none() {
                // What is left to wait for is a person's change of mind.
                let problem = self.turned_away(ProblemCode::RequestDenied.as_str());
                return Ok(JoinEvent::Waiting { group_id: self.id.to_string(), problem });
            }
            if !seen.is_kept && (self.ticket.is_none() || seen.joining.is_none()) {
                if std::mem::replace(&mut self.is_gone, true) {
                    return Ok(JoinEvent::Refused { problem: self.left() });
                }
                // What ended it may say why: it is told once that is durable.
                self.listen().await?;
                continue;
            }
            self.tally = seen.tally;
            self.shut_out = seen.shut_out;
            let Tally { blocks, claims } = seen.tally;
            // Nothing of it here: what ended was a pull from a peer that has no more than this node.
            self.caught_up &= seen.standing.is_some();
            let may_write = self.was_here || !seen.in_doubt;
            let is_in = |role: &Option<Role>| self.ticket.is_none() || (role.is_some() && seen.is_the_one.is_some());
            let standing = seen.standing.filter(|(_, role)| is_in(role));
            if let (true, true, Some((name, role))) = (self.caught_up, may_write, standing) {
                let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                let group_id = self.id.to_string();
                return Ok(JoinEvent::Joined { group_id, name, role, blocks, claims, elapsed_ms });
            }
            if tokio::time::Instant::now() >= self.until {
                return Ok(JoinEvent::Waiting { group_id: self.id.to_string(), problem: self.why_not() });
            }
            let event = if blocks == 0 {
                JoinEvent::Looking { peers: self.connected.len() }
            } else {
                JoinEvent::Progress { blocks, total_blocks: None, claims }
            };
            if self.told.as_ref() != Some(&event) {
                self.told = Some(event.clone());
                return Ok(event);
            }
            self.listen().await?;
        }
    }

    async fn look(&self) -> Result<Seen, Problem> {
        let (id, ticket, tally) = (self.id, self.ticket.clone(), self.tally);
        self.api.read(move |api, view| Seen::of(api, view, id, ticket.as_ref(), tally)).await
    }

    /// Takes in events until something is worth a look.
    async fn listen(&mut self) -> Result<(), Problem> {
        let Some(events) = &mut self.events else { return Ok(()) };
        let pause = tokio::time::sleep_until(self.until.min(tokio::time::Instant::now() + LOOK));
        tokio::pin!(pause);
        let ours = self.id.to_string();
        let mut lagged = false;
        loop {
            let received = tokio::select! {
                biased;
                ended = self.stop.reached() => return Err(ended),
                received = events.recv() => received,
                () = &mut pause => break,
            };
            match received.map(|event| event.kind) {
                Ok(EventKind::SyncFinished { group_id, .. }) if group_id == ours => {
                    self.caught_up = true;
                    break;
                }
                Ok(
                    EventKind::OwnLineSettled { group_id }
                    | EventKind::MembershipServed { group_id }
                    | EventKind::GroupLeft { group_id },
                ) if group_id == ours => {
                    break;
                }
                Ok(EventKind::TurnedAway { group_id, member_id, code, goes_on })
                    if group_id == ours && member_id == self.api.node().identity.to_string() =>
                {
                    self.turned_away = Some((code, !goes_on));
                    break;
                }
                Ok(EventKind::Admitted { group_id, .. } | EventKind::MemberJoined { group_id, .. })
                    if group_id == ours =>
                {
                    break;
                }
                Ok(EventKind::NotShared { group_id, peer_id }) if group_id == ours => {
                    self.strangers.insert(peer_id);
                }
                Ok(EventKind::PeerConnected { peer_id }) => {
                    self.connected.insert(peer_id);
                }
                Ok(EventKind::PeerDisconnected { peer_id }) => {
                    self.connected.remove(&peer_id);
                    self.strangers.remove(&peer_id);
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => lagged = true,
                Err(RecvError::Closed) => return Err(Stopping.into()),
            }
        }
        if lagged {
            // Its end may be among what was missed: one more pull ends at once where nothing is left to fetch.
            self.connected = self.connected_now().await?;
            if self.ticket.is_none() {
                self.api.node().sync_now(self.id, None).await?;
            }
        }
        Ok(())
    }

    async fn connected_now(&self) -> Result<BTreeSet<String>, Problem> {
        let peers = self.api.node().peers().await?;
        Ok(peers.iter().filter(|info| info.link.is_some()).map(|info| info.peer.to_string()).collect())
    }

    fn left(&self) -> Problem {
        let detail = format!("the group {} was left while it was being joined", self.id);
        Problem::new(ProblemCode::UnknownGroup, detail, "join it again with `lbm ctl group join`")
    }

    /// Why the ticket lets nobody in, as a peer says.
    fn turned_away(&self, word: &str) -> Problem {
        let me = self.api.node().identity;
        let code = ProblemCode::ALL.iter().find(|code| code.as_str() == word).copied().unwrap_or(ProblemCode::Refused);
        let id = self.id;
        let (detail, remedy) = match code {
            ProblemCode::TicketExpired => (format!("the ticket into the group {id} has expired"), ASK_ANEW),
            ProblemCode::TicketUsedUp => (format!("the ticket into the group {id} is used up"), ASK_ANEW),
            ProblemCode::TicketRevoked => (format!("the ticket into the group {id} was revoked"), ASK_ANEW),
            ProblemCode::RequestDenied => {
                let (by, ago) = self.denied.map_or_else(
                    || ("a peer".to_owned(), String::new()),
                    |Denial { by, at_ms }| {
                        (by.to_string(), format!(", {} ago", doctor::span_of(unix_ms().saturating_sub(at_ms))))
                    },
                );
                let detail = format!(
                    "{by} says that it is an admin of the group {id} and has denied the request of this node{ago}"
                );
                let remedy = format!(
                    "ask an admin for a ticket (`lbm ctl group invite`), or to be added (`lbm ctl group add-member --group {id} --member {me}`); a \
                     request is shown to whoever denied it a week after the first at the earliest; `lbm ctl group leave {id}` takes it back"
                );
                return Problem::new(code, detail, remedy);
            }
            ProblemCode::Full => {
                (format!("the group {id} has as many members as it may have"), "ask an admin of it to make room")
            }
            ProblemCode::OtherBranch => (
                format!(
                    "the group {id} that was sent has another history than the ticket says: somebody shows it falsely"
                ),
                "ask who made the ticket which of its members to trust; nothing of what was sent is kept",
            ),
            _ => {
                let detail = format!(
                    "no ticket lets {me} into the group {id}: it was removed before, or who made the ticket is no admin any more"
                );
                (detail, "ask an admin of the group to add it (`lbm ctl group add-member`)")
            }
        };
        Problem::new(code, detail, remedy)
    }

    /// Why it is not done yet.
    fn why_not(&self) -> Problem {
        let id = self.id;
        if let (Some(why), None) = (self.shut_out, &self.turned_away) {
            let detail = format!(
                "this node was a member of the group {id} and is none any more ({}); no member has let it in again yet",
                why.meaning()
            );
            let remedy = match why.may_come_by_ticket() {
                true => "the node goes on by itself; join again to follow it".to_owned(),
                false => come_back(why, &id.to_string()),
            };
            return Problem::new(ProblemCode::StillJoining, detail, remedy);
        }
        if self.tally.blocks > 0 && self.shut_out.is_none() {
            let detail = format!("the group {id} is still coming: {} blocks are here", self.tally.blocks);
            return Problem::new(
                ProblemCode::StillJoining,
                detail,
                "the node goes on by itself; join again to follow it",
            );
        }
        if let Some((word, _)) = &self.turned_away {
            return self.turned_away(word);
        }
        if let Some(ticket) = &self.ticket {
            let named = ticket.contacts.iter().map(|contact| contact.member.to_string());
            let (detail, remedy) = if self.connected.is_empty() {
                let detail = format!("no member of the group {id} can be reached: no peer is connected");
                let remedy = "check that a member's machine is on and in this network (the ticket names ";
                (detail, format!("{remedy}{}); the node goes on by itself", named.collect::<Vec<_>>().join(", ")))
            } else {
                let detail = format!(
                    "none of {} connected peers has let this node into the group {id} yet",
                    self.connected.len()
                );
                (
                    detail,
                    "check that a member's machine is on and in this network, and what `lbm ctl doctor` says of the clocks; the node goes on by itself"
                        .to_owned(),
                )
            };
            return Problem::new(ProblemCode::NoMemberReachable, detail, remedy);
        }
        if self.connected.is_empty() {
            let detail = format!("the group {id} is being joined, and no peer is connected");
            let remedy = "connect to a member with `lbm ctl peer add --addr ADDRESS`; the node goes on by itself";
            return Problem::new(ProblemCode::NoMemberReachable, detail, remedy);
        }
        let me = self.api.node().identity;
        let remedy = format!(
            "its admins see a request of this node where they can be reached (`lbm ctl group requests`), or one runs `lbm ctl group \
             add-member --group {id} --member {me}`; the node goes on by itself"
        );
        let (strangers, connected) = (self.strangers.len(), self.connected.len());
        let detail = if strangers == 0 {
            format!("the group {id} is being joined, and none of {connected} connected peers has answered yet")
        } else {
            format!("{strangers} of {connected} connected peers do not share the group {id} with this node")
        };
        Problem::new(ProblemCode::StillJoining, detail, remedy)
    }
}
