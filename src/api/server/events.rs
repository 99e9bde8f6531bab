//! What happens, as a stream of server-sent events.
//!
//! A reader that falls behind by more than is kept is told how many events it missed, and goes on with the oldest that is left.
//! **An agent hears of the groups that it is a member of**, and of its own purchases; of peers it hears nothing.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event as SseEvent, KeepAlive, Sse};
use futures::stream::{self, Stream};
use serde::Serialize;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;

use super::Api;
use super::extract::{As, Params};
use super::stop::Stop;
use crate::api::types::{Event, EventKind, ListEvents, Problem};
use crate::chain::Role;
use crate::ledger::state;
use crate::limits;
use crate::runtime::clock::unix_ms;
use crate::store::View;

type Streamed<S> = Sse<axum::response::sse::KeepAliveStream<S>>;

pub(super) async fn events(
    As(api): As,
    Params(ListEvents { after, follow }): Params<ListEvents>,
) -> Result<Streamed<impl Stream<Item = Result<SseEvent, Infallible>>>, Problem> {
    let (held, new) = api.node().events.follow(after.unwrap_or(u64::MAX));
    let mut held = VecDeque::from(held);
    // With 0 everything that is held is asked for, and no more.
    if let (Some(after @ 1..), Some(first)) = (after, held.front())
        && first.seq > after + 1
    {
        held.push_front(missed(after, first.seq - after - 1));
    }
    let last = after.unwrap_or(0);
    let stop = api.stop.clone();
    let members = api.node().events.members();
    let new = follow.then_some(new);
    let mut following =
        Following { api, members, groups: BTreeSet::new(), administers: BTreeSet::new(), held, new, last, stop };
    following.look().await?;
    Ok(sse(stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        let sent = to_sse(&event).id(event.seq.to_string());
        Some((Ok(sent), following))
    })))
}

/// Wraps a stream so that it stays alive where nothing happens.
pub(super) fn sse<S: Stream<Item = Result<SseEvent, Infallible>> + Send + 'static>(stream: S) -> Streamed<S> {
    Sse::new(stream).keep_alive(KeepAlive::new().interval(Duration::from_millis(limits::API_KEEP_ALIVE_MS)))
}

/// A value as one event. Ours can always be written.
pub(super) fn to_sse(value: &impl Serialize) -> SseEvent {
    SseEvent::default().data(serde_json::to_string(value).unwrap_or_default())
}

fn missed(after: u64, count: u64) -> Event {
    // Its number is that of the last one missed, so that who goes on after it misses no other.
    Event { seq: after + count, at_ms: unix_ms(), kind: EventKind::Missed { count } }
}

struct Following {
    api: Arc<Api>,
    /// Changes before anything is told of a batch in which somebody became a member or ceased to be one.
    members: watch::Receiver<()>,
    /// The groups of the agent that listens; none where the node does.
    groups: BTreeSet<String>,
    /// Those of them in which it is an admin.
    administers: BTreeSet<String>,
    held: VecDeque<Event>,
    new: Option<broadcast::Receiver<Event>>,
    last: u64,
    stop: Stop,
}

impl Following {
    /// The next that concerns whoever listens.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.any().await?;
            if !self.api.node().is_agent() {
                return Some(event);
            }
            if self.members.has_changed().ok()? {
                self.look().await.ok()?;
            }
            if self.shows(&event.kind) {
                return Some(event);
            }
        }
    }

    /// Reads which groups an agent is a member of.
    async fn look(&mut self) -> Result<(), Problem> {
        if self.api.node().is_agent() {
            self.members.mark_unchanged();
            let read = |api: &Api, view: &View| {
                let (mut groups, mut administers) = (BTreeSet::new(), BTreeSet::new());
                for kept in view.groups()? {
                    let member = state::member(&view.rows(kept), &api.node().identity)?;
                    if member.is_some_and(|member| member.role == Role::Admin) {
                        administers.insert(kept.id.to_string());
                    }
                    groups.insert(kept.id.to_string());
                }
                Ok((groups, administers))
            };
            (self.groups, self.administers) = self.api.read(read).await?;
        }
        Ok(())
    }

    /// Whether an event is an agent's business.
    fn shows(&self, kind: &EventKind) -> bool {
        let me = || self.api.node().identity.to_string();
        match kind {
            EventKind::JoinRequest { group_id, .. } => return self.administers.contains(group_id),
            EventKind::PurchaseChanged { buyer, seller, .. } => return *buyer == me() || *seller == me(),
            EventKind::MemberChanged { member_id, .. }
            | EventKind::Admitted { member_id, .. }
            | EventKind::TurnedAway { member_id, .. }
                if *member_id == me() =>
            {
                return true;
            }
            _ => {}
        }
        match kind.group_id() {
            Some(group) => self.groups.contains(group),
            None => matches!(kind, EventKind::Missed { .. } | EventKind::Unrecognised),
        }
    }

    async fn any(&mut self) -> Option<Event> {
        let event = match self.held.pop_front() {
            Some(event) => event,
            None => {
                let new = self.new.as_mut()?;
                let received = tokio::select! {
                    biased;
                    _ended = self.stop.reached() => return None,
                    received = new.recv() => received,
                };
                match received {
                    Ok(event) => event,
                    Err(RecvError::Lagged(count)) => missed(self.last, count),
                    Err(RecvError::Closed) => return None,
                }
            }
        };
        self.last = event.seq;
        Some(event)
    }
}
