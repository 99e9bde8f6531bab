//! Joining a group, and following how it goes.
//!
//! The joining is the node's: it is durable before the first event is sent, and goes on whether anybody follows or not. **It is done
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
use tokio::sync::watch;

use super::events::{sse, to_sse};
use super::extract::{As, Body};
use super::group::room_for_one;
use super::resolve::shown;
use super::{Api, stopped};
use crate::api::types::{Event, EventKind, JoinEvent, JoinGroup, Problem, ProblemCode, Role};
use crate::chain::{GroupId, Transaction, rows};
use crate::kv::{Direction, KvError, Read};
use crate::ledger::state;
use crate::limits;
use crate::node::engine::Groups;
use crate::runtime::Stopping;
use crate::store::{Registry, View};

/// Pause between two looks at how much has come.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn join(As(api): As, Body(request): Body<JoinGroup>) -> Result<Response, Problem> {
    let began = Instant::now();
    let id: GroupId = request.group.parse().map_err(|_| {
        let detail = format!("`{}` is not the full id of a group", shown(&request.group));
        let remedy = "expected 64 hexadecimal digits, as `lbm ctl group list` prints them on a node that has the group";
        Problem::new(ProblemCode::BadField, detail, remedy)
    })?;
    // Before the joining begins, so that nothing of it is missed.
    let (_, events) = api.node().events.follow(u64::MAX);
    let seen = api.read(move |api, view| Seen::of(api, view, id, Tally::default())).await?;
    let is_here = seen.standing.is_some();
    if !seen.is_kept {
        api.read(|_, view| room_for_one(view)).await?;
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
        caught_up: is_here,
        was_here: is_here,
    };
    if !is_here {
        following.api.node().sync_now(id, None).await?;
        following.connected = following.connected_now().await?;
    }
    let stream = stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok::<SseEvent, Infallible>(to_sse(&event)), following))
    });
    Ok(sse(stream).into_response())
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
    /// Whether what this node wrote before it left may still be missing.
    in_doubt: bool,
    /// The group's name and this node's role, once its first block is here.
    standing: Option<(String, Option<Role>)>,
    tally: Tally,
}

impl Seen {
    fn of(api: &Api, view: &View, id: GroupId, tally: Tally) -> Result<Self, Problem> {
        let Some(kv) = view.group(&id)? else {
            return Ok(Self { is_kept: false, in_doubt: false, standing: None, tally });
        };
        let kv = kv.as_ref();
        let role = state::member(kv, &api.node().identity)?.map(|member| member.role);
        let standing = state::group(kv)?.map(|group| (group.name, role));
        Ok(Self { is_kept: true, in_doubt: rows::in_doubt(kv)?, standing, tally: tally.go_on(kv)? })
    }
}

struct Following {
    api: Arc<Api>,
    id: GroupId,
    /// None once the last event is told.
    events: Option<broadcast::Receiver<Event>>,
    stop: watch::Receiver<bool>,
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
            if !seen.is_kept {
                return Ok(JoinEvent::Refused { problem: self.left() });
            }
            self.tally = seen.tally;
            let Tally { blocks, claims } = seen.tally;
            // Nothing of it here: what ended was a pull from a peer that has no more than this node.
            self.caught_up &= seen.standing.is_some();
            let may_write = self.was_here || !seen.in_doubt;
            if let (true, true, Some((name, role))) = (self.caught_up, may_write, seen.standing) {
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
        let (id, tally) = (self.id, self.tally);
        self.api.read(move |api, view| Seen::of(api, view, id, tally)).await
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
                () = stopped(&mut self.stop) => return Err(Stopping.into()),
                received = events.recv() => received,
                () = &mut pause => break,
            };
            match received.map(|event| event.kind) {
                Ok(EventKind::SyncFinished { group_id, .. }) if group_id == ours => {
                    self.caught_up = true;
                    break;
                }
                Ok(EventKind::OwnLineSettled { group_id } | EventKind::GroupLeft { group_id }) if group_id == ours => {
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
            self.api.node().sync_now(self.id, None).await?;
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

    /// Why it is not done yet.
    fn why_not(&self) -> Problem {
        let id = self.id;
        if self.tally.blocks > 0 {
            let detail = format!("the group {id} is still coming: {} blocks are here", self.tally.blocks);
            return Problem::new(
                ProblemCode::StillJoining,
                detail,
                "the node goes on by itself; join again to follow it",
            );
        }
        if self.connected.is_empty() {
            let detail = format!("the group {id} is being joined, and no peer is connected");
            let remedy = "connect to a member with `lbm ctl peer add --addr ADDRESS`; the node goes on by itself";
            return Problem::new(ProblemCode::NoMemberReachable, detail, remedy);
        }
        let me = self.api.node().identity;
        let remedy = format!(
            "ask an admin of the group to run `lbm ctl group add-member --group {id} --member {me}`; the node goes on by itself"
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
