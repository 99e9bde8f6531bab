//! How groups are synced, and who was sent away.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;

use super::Api;
use super::extract::{As, Body, Segments};
use super::peer::meant;
use super::resolve::{find, unknown_group};
use crate::api::types::{
    Ban, BanList, FailingPeer, Problem, ProblemCode, SetSubscription, Subscription, SubscriptionList, SubscriptionMode,
    Unbanned,
};
use crate::chain::GroupId;
use crate::ledger::{query, state};
use crate::limits;
use crate::node::engine::Groups;
use crate::node::{self, SyncState};
use crate::runtime::clock::unix_ms;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn list(As(api): As) -> Answer<SubscriptionList> {
    let groups = api
        .read(|_, view| {
            let mut groups = Vec::new();
            for kept in view.groups()? {
                let Some(kv) = view.group(&kept.id)? else { continue };
                groups.push((kept.id, state::group(kv.as_ref())?.map(|group| group.name)));
            }
            Ok(groups)
        })
        .await?;
    let mut subscriptions = Vec::with_capacity(groups.len());
    for (id, name) in groups {
        // One that is left meanwhile is not there any more.
        subscriptions.extend(api.node().sync_state(id).await?.map(|state| row(&api, id, name, &state)));
    }
    Ok(Json(SubscriptionList { subscriptions }))
}

pub(super) async fn set(
    As(api): As,
    Segments(group): Segments<String>,
    Body(request): Body<SetSubscription>,
) -> Answer<Subscription> {
    let (id, name, members) = api
        .read(move |_, view| {
            let found = find(view, &group)?;
            let members = query::members(found.kv.as_ref())?.into_iter().map(|(member, _)| member);
            Ok((found.id, state::group(found.kv.as_ref())?.map(|group| group.name), members.collect::<BTreeSet<_>>()))
        })
        .await?;
    let gone = || unknown_group(&id.to_string());
    let mut to = api.node().sync_state(id).await?.ok_or_else(gone)?.subscription;
    if request.reset {
        to = node::Subscription::default();
    }
    to.interval_ms = request.interval_s.map(|seconds| seconds.saturating_mul(1_000)).or(to.interval_ms);
    to.paused = request.paused.or(to.paused);
    for peer in &request.add_peers {
        let chosen = meant(&api, peer).await?;
        // Whoever is neither would be waited for in vain.
        if !members.contains(&chosen) && !api.node().peers().await?.iter().any(|info| info.peer == chosen) {
            let detail = format!("{chosen} is neither a member of the group nor in the address book");
            let remedy = "`lbm ctl group members` and `lbm ctl peer list` show who is; `lbm ctl peer add` adds one";
            return Err(Problem::new(ProblemCode::NoSuchPeer, detail, remedy));
        }
        to.peers.insert(chosen);
    }
    for name in &request.remove_peers {
        to.peers.remove(&meant(&api, name).await?);
    }
    if to.peers.len() > limits::SUBSCRIPTION_PEERS {
        let detail =
            format!("{} peers would be chosen, and at most {} can be", to.peers.len(), limits::SUBSCRIPTION_PEERS);
        return Err(Problem::new(ProblemCode::Full, detail, "remove some with `lbm ctl subscription remove`"));
    }
    api.node().subscribe(id, to).await?;
    let state = api.node().sync_state(id).await?.ok_or_else(gone)?;
    Ok(Json(row(&api, id, name, &state)))
}

fn row(api: &Arc<Api>, id: GroupId, name: Option<String>, state: &SyncState) -> Subscription {
    let said = &state.subscription;
    let mode = match said.paused {
        Some(true) => SubscriptionMode::Paused,
        None if !api.node().auto_sync => SubscriptionMode::ByHand,
        Some(false) | None => SubscriptionMode::Live,
    };
    let failing = state.failing.iter();
    Subscription {
        group_id: id.to_string(),
        name,
        mode,
        interval_s: said.interval_ms.unwrap_or(api.node().sync_interval_ms) / 1_000,
        peers: said.peers.iter().map(ToString::to_string).collect(),
        last_sync_ms: state.synced_ago_ms.map(|ago_ms| unix_ms().saturating_sub(ago_ms)),
        failing: failing
            .map(|(peer, failures)| FailingPeer { peer_id: peer.to_string(), failures: *failures })
            .collect(),
    }
}

pub(super) async fn bans(As(api): As) -> Answer<BanList> {
    let now_ms = unix_ms();
    let mut bans: Vec<Ban> = api
        .node()
        .bans()
        .await?
        .into_iter()
        .map(|ban| Ban {
            peer_id: ban.peer.to_string(),
            in_force: ban.until_ms > now_ms,
            until_ms: ban.until_ms,
            times: ban.times,
            why: ban.why,
        })
        .collect();
    bans.sort_by_key(|ban| Reverse(ban.until_ms));
    Ok(Json(BanList { bans }))
}

pub(super) async fn unban(As(api): As, Segments(name): Segments<String>) -> Answer<Unbanned> {
    let peer = meant(&api, &name).await?;
    let was_banned = api.node().unban(peer).await?;
    Ok(Json(Unbanned { peer_id: peer.to_string(), was_banned }))
}
