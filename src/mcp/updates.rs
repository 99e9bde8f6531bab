//! Telling clients that what they follow has changed, in the way of each era: `resources/subscribe` to 2025-11-25,
//! `subscriptions/listen` from 2026-07-28 on.
//!
//! The daemon's events say what changed; a client is told the name, and reads it if it likes. **A daemon that was away, or events that were
//! missed, count as a change of everything that is followed**, so that no change goes untold. Changes close together are told once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{ErrorData, ResourceUpdatedNotificationParam, SubscriptionFilter};
use rmcp::service::{Peer, RoleServer, SubscriptionContext, SubscriptionSink};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{Mutex as Held, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::acting::Acting;
use super::resources::{self, Part};
use crate::api::client::{Client, ClientError, EventStream};
use crate::api::types::{Event, EventKind, ListEvents, ProblemCode};
use crate::limits;

/// Who is told, in the way of its era.
enum Ear {
    First(Peer<RoleServer>),
    Second(SubscriptionSink),
}

impl Ear {
    /// Tells a change; whether anybody listens.
    async fn tell(&self, uri: String) -> bool {
        match self {
            Self::First(peer) => peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await.is_ok(),
            Self::Second(sink) => sink.notify_resource_updated(uri).await.is_ok(),
        }
    }
}

/// What is told to whoever listens.
#[derive(Debug, Clone)]
enum News {
    /// Something happened.
    Event(Arc<EventKind>),
    /// The daemon was away, or events were missed: anything may have.
    Everything,
    /// The agent is no more.
    Over,
}

/// The daemon's events, read once for all who listen in an agent's name, however many they are.
#[derive(Debug)]
pub(super) struct Feed {
    news: broadcast::Sender<News>,
    /// The task that reads, as long as anybody listens.
    reading: Held<Option<JoinHandle<()>>>,
    places: Arc<Semaphore>,
}

/// A listener's place, and what it hears.
struct Listening {
    news: broadcast::Receiver<News>,
    _place: OwnedSemaphorePermit,
}

impl Default for Feed {
    fn default() -> Self {
        let news = broadcast::Sender::new(limits::EVENT_BACKLOG);
        Self { news, reading: Held::default(), places: Arc::new(Semaphore::new(limits::mcp::LISTENERS)) }
    }
}

impl Feed {
    /// One more listener: hears of all that happens from now on.
    async fn join(self: &Arc<Self>, client: &Client) -> Result<Listening, ErrorData> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let most = limits::mcp::LISTENERS;
            ErrorData::invalid_params(format!("this agent follows changes {most} times over: end some of that"), None)
        })?;
        let mut reading = self.reading.lock().await;
        let news = self.news.subscribe();
        if reading.as_ref().is_none_or(JoinHandle::is_finished) {
            // Before the answer, so that no change behind it is missed.
            let events = open(client).await;
            let (feed, client) = (Arc::clone(self), client.clone());
            *reading = Some(tokio::spawn(async move { feed.read(&client, events).await }));
        }
        Ok(Listening { news, _place: place })
    }

    /// Reads until nobody listens, or the agent is no more.
    async fn read(&self, client: &Client, events: Result<EventStream<Event>, ClientError>) {
        let mut events = Some(events);
        loop {
            let next = async {
                match &mut events {
                    Some(Ok(stream)) => match stream.next().await {
                        Ok(Some(event)) => return Some(News::Event(Arc::new(event.kind))),
                        Ok(None) | Err(_) => events = None,
                    },
                    Some(Err(error)) if is_over(error) => return Some(News::Over),
                    Some(Err(_)) | None => {
                        sleep(Duration::from_millis(limits::mcp::FOLLOW_RETRY_MS)).await;
                        let opened = open(client).await;
                        let is_back = opened.is_ok();
                        events = Some(opened);
                        return is_back.then_some(News::Everything);
                    }
                }
                None
            };
            let news = tokio::select! {
                () = self.news.closed() => {
                    // Whoever joins meanwhile waits for the lock, and starts anew.
                    let mut reading = self.reading.lock().await;
                    if self.news.receiver_count() > 0 {
                        continue;
                    }
                    *reading = None;
                    return;
                }
                news = next => news,
            };
            let is_over = matches!(news, Some(News::Over));
            if let Some(news) = news {
                // Nobody listening shows above.
                let _nobody = self.news.send(news);
            }
            if is_over {
                return;
            }
        }
    }
}

/// Whether the daemon refuses for good.
pub(super) fn is_over(error: &ClientError) -> bool {
    let code = error.problem().map(|problem| problem.code);
    matches!(code, Some(ProblemCode::NoSuchAgent | ProblemCode::Forbidden))
}

/// Resources by the names that clients follow them by, with the id of the group of each.
type Followed = BTreeMap<String, String>;

/// What a client of the first era follows.
#[derive(Debug, Default)]
pub(super) struct Updates {
    followed: Arc<Mutex<Followed>>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Updates {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take() {
            follower.abort();
        }
    }
}

impl Updates {
    /// Follows a resource from now on.
    ///
    /// # Errors
    /// Where there is no such resource, or too many are followed.
    pub(super) async fn subscribe(
        &self,
        acting: &Acting,
        feed: &Arc<Feed>,
        uri: String,
        peer: Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        let group = group_of(&acting.client, &uri).await?;
        {
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            if followed.len() >= limits::mcp::SUBSCRIPTIONS && !followed.contains_key(&uri) {
                let most = limits::mcp::SUBSCRIPTIONS;
                return Err(ErrorData::invalid_params(format!("at most {most} resources can be followed"), None));
            }
            followed.insert(uri.clone(), group);
        }
        let is_followed = || {
            let follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
            follower.as_ref().is_some_and(|follower| !follower.is_finished())
        };
        if is_followed() {
            return Ok(());
        }
        let listening = feed.join(&acting.client).await.inspect_err(|_| self.unsubscribe(&uri))?;
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        // Another subscription may have been quicker.
        if follower.as_ref().is_none_or(JoinHandle::is_finished) {
            let followed = Arc::clone(&self.followed);
            *follower = Some(tokio::spawn(async move { follow(listening, &followed, &Ear::First(peer)).await }));
        }
        Ok(())
    }

    /// Follows it no longer.
    pub(super) fn unsubscribe(&self, uri: &str) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.remove(uri);
        if followed.is_empty()
            && let Some(follower) = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            follower.abort();
        }
    }
}

/// What of a filter can be followed.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let uris = requested.resource_subscriptions.iter().flatten().filter(|uri| resources::parse(uri).is_some());
    let uris: Vec<_> = uris.take(limits::mcp::SUBSCRIPTIONS).cloned().collect();
    let mut filter = SubscriptionFilter::new();
    filter.resource_subscriptions = requested.resource_subscriptions.is_some().then_some(uris);
    filter
}

/// Follows what a client of the second era listens to, until it stops.
///
/// # Errors
/// Where too many listen: what cannot be followed was not accepted.
pub(super) async fn listen(acting: &Acting, feed: &Arc<Feed>, context: &SubscriptionContext) -> Result<(), ErrorData> {
    let listening = feed.join(&acting.client).await?;
    let mut followed = Followed::new();
    for uri in context.accepted().resource_subscriptions.iter().flatten() {
        if let Ok(group) = group_of(&acting.client, uri).await {
            followed.insert(uri.clone(), group);
        }
    }
    let (followed, ear) = (Mutex::new(followed), Ear::Second(context.sink().clone()));
    tokio::select! {
        () = follow(listening, &followed, &ear) => {}
        () = context.cancelled() => {}
    }
    Ok(())
}

/// The id of a resource's group.
async fn group_of(client: &Client, uri: &str) -> Result<String, ErrorData> {
    let (named, _) = resources::parse(uri).ok_or_else(|| resources::unknown(uri))?;
    match client.group(named).await {
        Ok(group) => Ok(group.group.group_id),
        // While the daemon is away its groups are known by their ids alone.
        Err(error) if error.is_no_daemon() => Ok(named.to_owned()),
        Err(error) => Err(ErrorData::resource_not_found(error.to_string(), None)),
    }
}

async fn open(client: &Client) -> Result<EventStream<Event>, ClientError> {
    client.events(&ListEvents { after: None, follow: true }).await
}

/// Tells each change, until nobody listens.
async fn follow(mut listening: Listening, followed: &Mutex<Followed>, ear: &Ear) {
    let followed = || followed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut is_over = false;
    while !is_over {
        let mut changed = BTreeSet::new();
        is_over = !take(listening.news.recv().await, &followed(), &mut changed);
        if !changed.is_empty() {
            let gather = async { while take(listening.news.recv().await, &followed(), &mut changed) {} };
            is_over |= timeout(Duration::from_millis(limits::mcp::UPDATE_PAUSE_MS), gather).await.is_ok();
        }
        for uri in changed {
            if !ear.tell(uri).await {
                return;
            }
        }
    }
}

/// Adds what news change; tells whether there will be more.
fn take(news: Result<News, RecvError>, followed: &Followed, changed: &mut BTreeSet<String>) -> bool {
    match news {
        Ok(News::Event(event)) => touch(&event, followed, changed),
        Ok(News::Everything) | Err(RecvError::Lagged(_)) => changed.extend(followed.keys().cloned()),
        Ok(News::Over) | Err(RecvError::Closed) => return false,
    }
    true
}

/// Adds what an event changes.
fn touch(event: &EventKind, followed: &Followed, changed: &mut BTreeSet<String>) {
    for (uri, group) in followed {
        if let Some((_, part)) = resources::parse(uri)
            && concerns(event, group, part)
        {
            changed.insert(uri.clone());
        }
    }
}

fn concerns(event: &EventKind, group: &str, part: Part<'_>) -> bool {
    match (event, part) {
        (EventKind::Missed { .. } | EventKind::Reset { .. } | EventKind::Unrecognised, _) => true,
        (EventKind::ClaimPublished { group_id, .. }, Part::Claims) => group_id == group,
        (EventKind::ClaimRetracted { group_id, .. }, Part::Claims) => group_id == group,
        (EventKind::ClaimRetracted { group_id, claim_hash, .. }, Part::Claim(hash)) => {
            group_id == group && claim_hash.starts_with(hash)
        }
        (EventKind::TaskChanged { group_id, .. }, Part::Tasks) => group_id == group,
        (EventKind::TaskChanged { group_id, task_id, .. }, Part::Task(id)) => group_id == group && task_id == id,
        (EventKind::Presence { group_id, .. }, Part::Presence) => group_id == group,
        (
            EventKind::OfferListed { group_id, .. }
            | EventKind::OfferWithdrawn { group_id, .. }
            | EventKind::PurchaseChanged { group_id, .. },
            Part::Offers,
        ) => group_id == group,
        // Whatever stood in the block may have been any of them.
        (EventKind::BlockRejected { group_id, .. } | EventKind::BlockReinstated { group_id, .. }, _) => {
            group_id == group
        }
        _ => false,
    }
}
