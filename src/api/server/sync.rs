//! A pull from every connected member now, waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Json;
use tokio::sync::broadcast::error::RecvError;

use super::Api;
use super::extract::{As, Body};
use super::peer::meant;
use super::resolve::find;
use crate::api::types::{EventKind, Problem, ProblemCode, SyncNow, SyncReport, SyncedGroup, SyncedPeer};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::ledger::{query, state};
use crate::limits;
use crate::node::engine::Groups;
use crate::runtime::Stopping;
use crate::store::View;

/// One group while its members are waited for.
struct Pulled {
    id: GroupId,
    name: Option<String>,
    others: Vec<Identity>,
    /// Who was asked and has not answered.
    open: BTreeSet<String>,
    report: SyncedGroup,
}

pub(super) async fn sync(
    As(api): As,
    Body(SyncNow { group, peer }): Body<SyncNow>,
) -> Result<Json<SyncReport>, Problem> {
    let is_one = group.is_some();
    let only = match peer {
        Some(name) => {
            let peer = meant(&api, &name).await?;
            let peers = api.node().peers().await?;
            match peers.iter().find(|info| info.peer == peer) {
                None => return Err(super::peer::nobody(&name)),
                Some(info) if info.link.is_none() => return Err(away(&name)),
                Some(_) => Some(peer),
            }
        }
        None => None,
    };
    let mut groups = api.read(move |api, view| kept(api, view, group.as_deref())).await?;
    let mut events = api.node().events.follow(u64::MAX).1;
    for group in &mut groups {
        // As the machine sees it: members, those who act for one, or everybody where none is known yet.
        let sharing = api.node().sharing(group.id).await?.into_iter();
        group.open =
            sharing.filter(|peer| only.is_none_or(|only| only == *peer)).map(|peer| peer.to_string()).collect();
        let asked = |peer: &String| SyncedPeer { peer_id: peer.clone(), answered: false, blocks_received: 0 };
        group.report.peers = group.open.iter().map(asked).collect();
        group.report.peers_asked = group.open.len();
        let is_alone = group.name.is_some() && group.others.is_empty();
        if is_alone {
            group.open.clear();
            group.report.peers.clear();
            group.report.peers_asked = 0;
        } else if is_one && group.open.is_empty() {
            return Err(only.map_or_else(|| nobody(group), |peer| no_member(group, &peer)));
        } else {
            api.node().sync_now(group.id, only).await?;
        }
    }
    if let Some(peer) = only.filter(|_| groups.iter().all(|group| group.report.peers_asked == 0)) {
        let detail = format!("{peer} is in none of this node's groups");
        let remedy = "`lbm ctl peer list` counts the groups of each peer";
        return Err(Problem::new(ProblemCode::NoMemberReachable, detail, remedy));
    }
    let mut stop = api.stop.clone();
    let deadline = tokio::time::sleep(Duration::from_millis(limits::SYNC_WAIT_MS));
    tokio::pin!(deadline);
    while groups.iter().any(|group| !group.open.is_empty()) {
        let received = tokio::select! {
            biased;
            ended = stop.reached() => return Err(ended),
            () = &mut deadline => break,
            received = events.recv() => received,
        };
        match received.map(|event| event.kind) {
            Ok(kind) => groups.iter_mut().for_each(|group| group.take(&kind)),
            Err(RecvError::Closed) => return Err(Stopping.into()),
            // Ends may be among what was missed: a pull with nothing left to fetch ends at once.
            Err(RecvError::Lagged(_)) => {
                for group in groups.iter().filter(|group| !group.open.is_empty()) {
                    api.node().sync_now(group.id, only).await?;
                }
            }
        }
    }
    Ok(Json(SyncReport { groups: groups.into_iter().map(|group| group.report).collect() }))
}

impl Pulled {
    fn take(&mut self, kind: &EventKind) {
        match kind {
            EventKind::SyncFinished { group_id, peer_id, blocks } if *group_id == self.report.group_id => {
                self.report.blocks_received += blocks;
                let is_last = self.open.remove(peer_id);
                self.report.peers_answered += usize::from(is_last);
                if let Some(peer) = self.report.peers.iter_mut().find(|peer| peer.peer_id == *peer_id) {
                    peer.answered |= is_last;
                    peer.blocks_received += blocks;
                }
            }
            EventKind::NotShared { group_id, peer_id } if *group_id == self.report.group_id => {
                self.open.remove(peer_id);
            }
            EventKind::PeerDisconnected { peer_id } => {
                self.open.remove(peer_id);
            }
            EventKind::GroupLeft { group_id } if *group_id == self.report.group_id => self.open.clear(),
            _ => {}
        }
    }
}

fn kept(api: &Api, view: &View, only: Option<&str>) -> Result<Vec<Pulled>, Problem> {
    let ids = match only {
        Some(name) => vec![find(view, name)?.id],
        None => view.groups()?.iter().map(|kept| kept.id).collect(),
    };
    let mut groups = Vec::with_capacity(ids.len());
    for id in ids {
        let Some(kv) = view.group(&id)? else { continue };
        let name = state::group(kv.as_ref())?.map(|group| group.name);
        let members = query::members(kv.as_ref())?.into_iter().map(|(identity, _)| identity);
        let report = SyncedGroup {
            group_id: id.to_string(),
            name: name.clone(),
            peers_asked: 0,
            peers_answered: 0,
            blocks_received: 0,
            peers: Vec::new(),
        };
        let others = members.filter(|identity| !api.node().is_own(identity)).collect();
        groups.push(Pulled { id, name, others, open: BTreeSet::new(), report });
    }
    Ok(groups)
}

fn away(peer: &str) -> Problem {
    let detail = format!("the peer {peer} is not connected");
    Problem::new(ProblemCode::NoMemberReachable, detail, "`lbm ctl peer list` says why, and when it is called next")
}

fn no_member(group: &Pulled, peer: &Identity) -> Problem {
    let name = group.name.as_deref().unwrap_or(&group.report.group_id);
    let detail = format!("{peer} is connected and not in the group {name}");
    Problem::new(ProblemCode::NoMemberReachable, detail, "`lbm ctl group members` shows who is")
}

fn nobody(group: &Pulled) -> Problem {
    let name = group.name.as_deref().unwrap_or(&group.report.group_id);
    let detail = format!("no member of the group {name} is connected");
    Problem::new(ProblemCode::NoMemberReachable, detail, "see `lbm ctl peer list`, or add one with `lbm ctl peer add`")
}
