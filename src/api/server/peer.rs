//! The address book.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use libp2p::Multiaddr;

use super::Api;
use super::extract::{As, Body, Segments};
use super::resolve::shown;
use crate::api::types::{
    AddPeer, FieldError, Peer, PeerAdded, PeerConnection, PeerDirection, PeerList, PeerRemoved, PeerSet, Problem,
    ProblemCode, SetPeer,
};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::ledger::query;
use crate::net::{Keep, LinkInfo, PeerInfo, Source, Transport};
use crate::runtime::clock::unix_ms;
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

/// Who is known and connected; for an agent, the members of its groups.
pub(super) async fn seen(api: &Arc<Api>) -> Result<Vec<PeerInfo>, Problem> {
    let mut infos = api.node().peers().await?;
    if api.node().is_agent() {
        let read = |_: &Api, view: &View| {
            let mut members = BTreeSet::new();
            for kept in view.groups()? {
                members.extend(query::members(&view.rows(kept))?.into_iter().map(|(identity, _)| identity));
            }
            Ok(members)
        };
        let members = api.read(read).await?;
        infos.retain(|info| members.contains(&info.peer));
    }
    Ok(infos)
}

pub(super) async fn list(As(api): As) -> Answer<PeerList> {
    let mut infos = seen(&api).await?;
    infos.sort_by_key(|info| (info.link.is_none(), info.peer));
    let mut shared = api.node().admitted().await?;
    if api.node().is_agent() {
        let read = |_: &Api, view: &View| Ok(view.groups()?.into_iter().map(|kept| kept.id).collect());
        let seen: BTreeSet<GroupId> = api.read(read).await?;
        shared.values_mut().for_each(|groups| groups.retain(|group| seen.contains(group)));
    }
    let peers = infos.iter().map(|info| peer(info, shared.get(&info.peer).map_or(&[], Vec::as_slice))).collect();
    Ok(Json(PeerList { peers }))
}

fn peer(info: &PeerInfo, groups: &[GroupId]) -> Peer {
    let known = info.known.as_ref();
    let has = |source| known.is_some_and(|known| known.addresses.iter().any(|(_, of)| *of == source));
    let source = match known.map(|known| known.keep) {
        Some(Keep::Session) => "static",
        Some(Keep::Always) => "added",
        _ if known.is_some_and(|known| known.heard) => "mdns",
        _ if has(Source::Told) => "peers",
        _ => "inbound",
    };
    let mut addresses: Vec<String> = known
        .map(|known| known.addresses.iter().map(|(address, _)| format!("{address}/p2p/{}", info.peer)).collect())
        .unwrap_or_default();
    if addresses.is_empty() {
        addresses.extend(info.link.as_ref().map(|link| link.remote.to_string()));
    }
    let is_connected = info.link.is_some();
    let trouble = match (info.banned, known.and_then(|known| known.trouble)) {
        _ if is_connected => None,
        (Some(left), _) => Some(format!("banned by this node for {} s more", left.as_secs())),
        (None, trouble) => match &info.refused {
            Some(why) => Some(format!("its connections were refused here: {why}")),
            None => trouble.map(|trouble| trouble.to_string()),
        },
    };
    Peer {
        peer_id: info.peer.to_string(),
        alias: known.and_then(|known| known.alias.clone()),
        connected: is_connected,
        addresses,
        source: source.to_owned(),
        last_seen_ms: if is_connected { Some(unix_ms()) } else { known.and_then(|known| known.last_seen_ms) },
        connection: info.link.as_ref().map(connection),
        groups: groups.iter().map(ToString::to_string).collect(),
        trouble,
        next_call_ms: known.and_then(|known| known.next_dial_ms),
    }
}

fn connection(link: &LinkInfo) -> PeerConnection {
    PeerConnection {
        direction: if link.outbound { PeerDirection::Outbound } else { PeerDirection::Inbound },
        transport: match link.transport {
            Transport::Tcp => "tcp".to_owned(),
            Transport::Quic => "quic".to_owned(),
        },
        remote: link.remote.to_string(),
        rtt_us: link.rtt.and_then(|rtt| u64::try_from(rtt.as_micros()).ok()),
        since_ms: link.since_ms,
        agent: link.agent.clone(),
    }
}

pub(super) async fn add(As(api): As, Body(request): Body<AddPeer>) -> Answer<PeerAdded> {
    let address: Multiaddr = request.addr.parse().map_err(|error| {
        let detail = format!("`{}` is no multiaddr ({error})", shown(&request.addr));
        let remedy = "expected /ip4/ADDRESS/tcp/PORT/p2p/ID, as the other machine's `lbm ctl status` prints it";
        Problem::new(ProblemCode::BadAddress, detail, remedy)
    })?;
    let peer = api.node().add_peer(address, request.alias.clone()).await??;
    let peers = api.node().peers().await?;
    let info = peers.iter().find(|info| info.peer == peer);
    let connected = info.is_some_and(|info| info.link.is_some());
    let banned_ms = info.and_then(|info| info.banned).map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    Ok(Json(PeerAdded { peer_id: peer.to_string(), addr: request.addr, alias: request.alias, connected, banned_ms }))
}

pub(super) async fn set(
    As(api): As,
    Segments(name): Segments<String>,
    Body(request): Body<SetPeer>,
) -> Answer<PeerSet> {
    let peer = meant(&api, &name).await?;
    if !api.node().set_alias(peer, request.alias.clone()).await? {
        return Err(nobody(&name));
    }
    Ok(Json(PeerSet { peer_id: peer.to_string(), alias: request.alias }))
}

pub(super) async fn remove(As(api): As, Segments(name): Segments<String>) -> Answer<PeerRemoved> {
    let peer = meant(&api, &name).await?;
    if !api.node().remove_peer(peer).await? {
        return Err(nobody(&name));
    }
    Ok(Json(PeerRemoved { peer_id: peer.to_string() }))
}

pub(super) fn nobody(name: &str) -> Problem {
    let detail = format!("there is no peer `{}` in the address book", shown(name));
    Problem::new(ProblemCode::NoSuchPeer, detail, "`lbm ctl peer list` shows who is")
}

/// The peer that a person means: by its id, or by the alias that it has here.
pub(super) async fn meant(api: &Api, name: &str) -> Result<Identity, Problem> {
    if name.is_empty() {
        return Err(FieldError::Empty { field: "peer" }.into());
    }
    if let Ok(peer) = name.parse::<Identity>() {
        return Ok(peer);
    }
    let has_alias = |info: &&PeerInfo| info.known.as_ref().is_some_and(|known| known.alias.as_deref() == Some(name));
    let peers = api.node().peers().await?;
    let meant: Vec<_> = peers.iter().filter(has_alias).map(|info| info.peer).collect();
    match meant.as_slice() {
        [] => Err(nobody(name)),
        [only] => Ok(*only),
        several => {
            let listed: Vec<_> = several.iter().map(ToString::to_string).collect();
            let detail = format!("several peers have the alias `{}`: {}", shown(name), listed.join(", "));
            Err(Problem::new(ProblemCode::AmbiguousName, detail, "name it by its peer id"))
        }
    }
}
