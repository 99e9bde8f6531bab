//! The address book.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use libp2p::Multiaddr;

use super::Api;
use super::extract::{As, Body, Segments};
use super::resolve::shown;
use crate::api::types::{AddPeer, Peer, PeerAdded, PeerList, PeerRemoved, Problem, ProblemCode};
use crate::identity::Identity;
use crate::ledger::query;
use crate::net::{Keep, PeerInfo, Source};
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
    Ok(Json(PeerList { peers: infos.iter().map(peer).collect() }))
}

fn peer(info: &PeerInfo) -> Peer {
    let connected = info.link.is_some();
    let known = info.known.as_ref();
    let is_heard = known.is_some_and(|known| known.addresses.iter().any(|(_, source)| *source == Source::Mdns));
    let source = match known.map(|known| known.keep) {
        Some(Keep::Session) => "static",
        Some(Keep::Always) => "added",
        _ if is_heard => "mdns",
        _ => "inbound",
    };
    let mut addresses: Vec<String> = known
        .map(|known| known.addresses.iter().map(|(address, _)| format!("{address}/p2p/{}", info.peer)).collect())
        .unwrap_or_default();
    if addresses.is_empty() {
        addresses.extend(info.link.as_ref().map(|link| link.remote.to_string()));
    }
    Peer {
        peer_id: info.peer.to_string(),
        alias: known.and_then(|known| known.alias.clone()),
        connected,
        addresses,
        source: source.to_owned(),
        last_seen_ms: if connected { Some(unix_ms()) } else { known.and_then(|known| known.last_seen_ms) },
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
    let connected = peers.iter().any(|info| info.peer == peer && info.link.is_some());
    Ok(Json(PeerAdded { peer_id: peer.to_string(), addr: request.addr, alias: request.alias, connected }))
}

pub(super) async fn remove(As(api): As, Segments(name): Segments<String>) -> Answer<PeerRemoved> {
    let nobody = || {
        let detail = format!("there is no peer `{}` in the address book", shown(&name));
        Problem::new(ProblemCode::NoSuchPeer, detail, "`lbm ctl peer list` shows who is")
    };
    let peer = match name.parse::<Identity>() {
        Ok(peer) => peer,
        Err(_) => {
            let is_meant =
                |info: &&PeerInfo| info.known.as_ref().is_some_and(|known| known.alias.as_deref() == Some(&name));
            let peers = api.node().peers().await?;
            let meant: Vec<_> = peers.iter().filter(is_meant).map(|info| info.peer).collect();
            match meant.as_slice() {
                [] => return Err(nobody()),
                [only] => *only,
                several => {
                    let listed: Vec<_> = several.iter().map(ToString::to_string).collect();
                    let detail = format!("several peers have the alias `{}`: {}", shown(&name), listed.join(", "));
                    return Err(Problem::new(ProblemCode::AmbiguousName, detail, "name it by its peer id"));
                }
            }
        }
    };
    if !api.node().remove_peer(peer).await? {
        return Err(nobody());
    }
    Ok(Json(PeerRemoved { peer_id: peer.to_string() }))
}
