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
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::acting::Acting;
use super::resources::{self, Part};
use crate::api::client::{Client, EventStream};
use crate::api::types::{Event, EventKind, ListEvents};
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

    async fn tell_all(&self, uris: impl IntoIterator<Item = String> + Send) -> bool {
        let uris: Vec<String> = uris.into_iter().collect();
        for uri in uris {
            if !self.tell(uri).await {
                return false;
            }
        }
        true
    }
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
        uri: String,
        peer: Peer<RoleServer>,
    ) -> Result<(), ErrorData> {
        let group = group_of(&acting.client, &uri).await?;
        // Before the answer, so that no change behind it is missed.
        let events = open(&acting.client).await;
        {
            let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
            if followed.len() >= limits::mcp::SUBSCRIPTIONS && !followed.contains_key(&uri) {
                let most = limits::mcp::SUBSCRIPTIONS;
                return Err(ErrorData::invalid_params(format!("at most {most} resources can be followed"), None));
            }
            followed.insert(uri, group);
        }
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        if follower.as_ref().is_none_or(JoinHandle::is_finished) {
            let (followed, client) = (Arc::clone(&self.followed), acting.client.clone());
            *follower = Some(tokio::spawn(async move { follow(&client, events, &followed, &Ear::First(peer)).await }));
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
/// None: what cannot be followed was not accepted.
pub(super) async fn listen(acting: &Acting, context: &SubscriptionContext) -> Result<(), ErrorData> {
    let events = open(&acting.client).await;
    let mut followed = Followed::new();
    for uri in context.accepted().resource_subscriptions.iter().flatten() {
        if let Ok(group) = group_of(&acting.client, uri).await {
            followed.insert(uri.clone(), group);
        }
    }
    let (followed, ear) = (Mutex::new(followed), Ear::Second(context.sink().clone()));
    tokio::select! {
        () = follow(&acting.client, events, &followed, &ear) => {}
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

async fn open(client: &Client) -> Option<EventStream<Event>> {
    client.events(&ListEvents { after: None, follow: true }).await.ok()
}

/// Tells each change, until nobody listens.
async fn follow(client: &Client, mut events: Option<EventStream<Event>>, followed: &Mutex<Followed>, ear: &Ear) {
    let followed = || followed.lock().unwrap_or_else(PoisonError::into_inner).clone();
    loop {
        let Some(stream) = &mut events else {
            sleep(Duration::from_millis(limits::mcp::FOLLOW_RETRY_MS)).await;
            events = open(client).await;
            if events.is_some() && !ear.tell_all(followed().into_keys()).await {
                return;
            }
            continue;
        };
        let mut changed = BTreeSet::new();
        let mut is_over = match stream.next().await {
            Ok(Some(event)) => {
                touch(&event.kind, &followed(), &mut changed);
                false
            }
            Ok(None) | Err(_) => true,
        };
        if !changed.is_empty() {
            let gather = async {
                loop {
                    match stream.next().await {
                        Ok(Some(event)) => touch(&event.kind, &followed(), &mut changed),
                        Ok(None) | Err(_) => return,
                    }
                }
            };
            is_over |= timeout(Duration::from_millis(limits::mcp::UPDATE_PAUSE_MS), gather).await.is_ok();
        }
        if !ear.tell_all(changed).await {
            return;
        }
        if is_over {
            events = None;
        }
    }
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
        (EventKind::Missed { .. } | EventKind::Unrecognised, _) => true,
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
