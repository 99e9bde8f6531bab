//! What may keep the node from working: this machine, and what only the daemon knows, of peers and groups.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::Json;
use futures::future::join_all;

use super::extract::As;
use super::{Api, node};
use crate::api::types::{Diagnosis, EventKind, Finding, Problem};
use crate::ledger::{query, state};
use crate::limits;
use crate::net::{Bound, DialTrouble, NetConfig, PeerInfo, RefusedHost};
use crate::runtime::clock::unix_ms;
use crate::store::View;
use crate::wire::node::{Request, Response};
use crate::{api::types::Event, doctor};

/// Checks of the health that the doctor makes himself, with more to say.
const OWN: [&str; 3] = ["disk", "peers", "purchases"];

pub(super) async fn doctor(As(api): As) -> Result<Json<Diagnosis>, Problem> {
    let subject = api.node().subject.clone();
    let served = api.sessions.served_at();
    let listening = api.node().listening().await?;
    let looked = tokio::task::spawn_blocking(move || {
        let mut findings = doctor::of_machine(&subject);
        findings.push(doctor::of_panel(&subject, served));
        findings.extend(doctor::of_running(&subject, &listening));
        findings
    });
    let Json(health) = node::health(As(std::sync::Arc::clone(&api))).await?;
    let checks = health.checks.into_iter().filter(|check| !OWN.contains(&check.name.as_str()));
    let mut findings: Vec<Finding> = checks
        .map(|check| {
            let code = check.name.replace(' ', "_");
            if check.ok {
                Finding::ok(&code, check.detail)
            } else {
                Finding::problem(&code, check.detail, check.remedy.unwrap_or_default())
            }
        })
        .collect();
    let (marks, now_ms) = (api.node().events.marks(), unix_ms());
    let known = api.node().peers().await?;
    findings.extend(peers(&known));
    let (apart, right) = clocks(&api, &known).await?;
    findings.extend(apart);
    findings.extend(refused(&api.node().refused_hosts().await?));
    findings
        .extend(marks.iter().filter(|event| !is_right_by_now(event, &right)).filter_map(|event| mark(event, now_ms)));
    let up_ms = api.node().uptime.ms();
    findings.extend(api.read(move |api, view| groups(api, view, &marks, up_ms, now_ms)).await?);
    findings.extend(looked.await.map_err(|error| super::problem::crashed(&error))?);
    Ok(Json(Diagnosis::of(true, findings)))
}

/// What blocks each peer that is known, and whether those that are connected are of this version.
fn peers(peers: &[PeerInfo]) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        peers.iter().filter_map(away).chain(peers.iter().filter_map(other_version)).collect();
    let connected = peers.iter().filter(|info| info.link.is_some()).count();
    findings.push(match peers.len() {
        0 => Finding::warning(
            "no_peers",
            "no peer is known",
            "start a daemon on another machine of this network, or add one with `lbm ctl peer add --addr ADDRESS`",
        ),
        all if connected == 0 => Finding::problem(
            "peers",
            format!("none of {all} known peers is connected"),
            "see what is said of each; check that their daemons run",
        ),
        all => Finding::ok("peers", format!("connected to {connected} of {all} known")),
    });
    findings
}

fn called(info: &PeerInfo) -> String {
    let alias = info.known.as_ref().and_then(|known| known.alias.clone());
    alias.map_or_else(|| info.peer.to_string(), |alias| format!("{alias} ({})", info.peer))
}

fn away(info: &PeerInfo) -> Option<Finding> {
    if info.link.is_some() {
        return None;
    }
    if let Some(why) = &info.refused {
        let detail = format!("{}: its connections were refused here: {why}", called(info));
        return Some(Finding::warning("peer_away", detail, "see what `refused_here` says of its address"));
    }
    let trouble = info.known.as_ref()?.trouble?;
    let at = info.known.as_ref()?.addresses.iter().map(|(address, _)| address.to_string()).next();
    let at = at.map(|address| format!(" at {address}")).unwrap_or_default();
    let text = trouble.to_string();
    let what = text.split_once(": ").map_or(text.as_str(), |(what, _)| what);
    let remedy = match trouble {
        DialTrouble::Refused => "start its daemon, and check the port: `lbm ctl status` there prints its addresses",
        DialTrouble::TimedOut => {
            "see whether the machine is on, and let the port through its firewall: `lbm ctl doctor` there hints at which"
        }
        DialTrouble::Unreachable => {
            "join the same network, or give it an address here: `lbm ctl peer add --addr ADDRESS`"
        }
        DialTrouble::OtherPeer => {
            "it has moved or has another key now: remove it with `lbm ctl peer remove`, and add its new address"
        }
        DialTrouble::Dropped | DialTrouble::HungUp => {
            "run `lbm ctl doctor` there: it says whether it has no room (`p2p_max_conn_per_ip`); `lbm ctl peer bans` there says whom it bans"
        }
        DialTrouble::Banned => "`lbm ctl peer bans` says what for and how long; `lbm ctl peer unban` lets it come back",
        DialTrouble::Denied => "`lbm config` shows `allow` and `deny`; a change takes a restart",
        DialTrouble::Handshake => "see what listens there: it may be another program, or an LBM of an old version",
        DialTrouble::System(_) => "see this machine's network: `ip addr` and `ip route`",
    };
    Some(Finding::warning("peer_away", format!("{}{at}: {what}", called(info)), remedy))
}

/// Asks connected peers of this node's groups what their clocks show: which are apart from this one, and whose are not.
async fn clocks(api: &Api, known: &[PeerInfo]) -> Result<(Vec<Finding>, BTreeSet<String>), Problem> {
    let admitted = api.node().admitted().await?;
    let is_met = |info: &&PeerInfo| admitted.get(&info.peer).is_some_and(|groups| !groups.is_empty());
    let asked = known.iter().filter(is_met).take(limits::DOCTOR_CLOCKS).map(async |info| {
        let (began, patience) = (Instant::now(), Duration::from_millis(limits::DOCTOR_ASK_MS));
        let answer = tokio::time::timeout(patience, api.node().ask_node(info.peer, Request::Clock)).await;
        match answer {
            Ok(Ok(Ok(Response::Clock(theirs_ms)))) => {
                Some((info.peer.to_string(), clock(&called(info), theirs_ms, unix_ms(), began.elapsed())))
            }
            // Who does not answer is slow, or of another version: other findings say so.
            _ => None,
        }
    });
    let (mut apart, mut right) = (vec![], BTreeSet::new());
    for (peer, finding) in join_all(asked).await.into_iter().flatten() {
        match finding {
            Some(finding) => apart.push(finding),
            None => drop(right.insert(peer)),
        }
    }
    Ok((apart, right))
}

/// Whether it is of a clock that was wrong and shows the right time now.
fn is_right_by_now(event: &Event, right: &BTreeSet<String>) -> bool {
    matches!(&event.kind, EventKind::ClockAhead { member_id, .. } if right.contains(member_id))
}

/// Compares a clock with this one, which shows `now_ms` when the answer has come after `took`.
fn clock(peer: &str, theirs_ms: u64, now_ms: u64, took: Duration) -> Option<Finding> {
    // It was read at some moment of the round trip: as far as that goes nobody can tell.
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (least, most) = (now_ms.saturating_sub(took_ms), now_ms);
    let (apart_ms, word) =
        if theirs_ms < least { (least - theirs_ms, "behind") } else { (theirs_ms.saturating_sub(most), "ahead of") };
    if apart_ms < limits::DOCTOR_CLOCK_MS {
        return None;
    }
    let detail = format!("the clock of {peer} is {} {word} this one", doctor::span_of(apart_ms));
    let remedy = "set both machines' clocks by a time server, as with `timedatectl set-ntp true`";
    Some(if apart_ms >= limits::MAX_CLOCK_DRIFT_MS {
        Finding::problem("clock_apart", detail, remedy)
    } else {
        Finding::warning("clock_apart", detail, remedy)
    })
}

/// Hosts that find no room here, by what they meet: each may be several nodes behind one address, or an attacker with many of them.
fn refused(hosts: &[RefusedHost]) -> Vec<Finding> {
    let is_recent = |host: &&RefusedHost| host.ago.as_millis() <= u128::from(limits::DOCTOR_RECENT_MS);
    let mut causes: BTreeMap<(Bound, &str), Vec<&RefusedHost>> = BTreeMap::new();
    hosts.iter().filter(is_recent).for_each(|host| causes.entry((host.bound, &host.why)).or_default().push(host));
    let told = |((bound, why), mut hosts): ((Bound, &str), Vec<&RefusedHost>)| {
        hosts.sort_by_key(|host| (Reverse(host.times), host.host));
        let times: u64 = hosts.iter().map(|host| host.times).sum();
        let last = hosts.iter().map(|host| host.ago).min().unwrap_or_default();
        let ago = doctor::span_of(u64::try_from(last.as_millis()).unwrap_or(u64::MAX));
        let most = hosts.iter().take(limits::DOCTOR_HOSTS).map(|host| format!("{} ({})", host.host, host.times));
        let most = most.collect::<Vec<_>>().join(", ");
        let others = match hosts.len().saturating_sub(limits::DOCTOR_HOSTS) {
            0 => String::new(),
            others => format!(" and {others} more addresses"),
        };
        let detail = format!("{times} connections found no room, the last {ago} ago, from {most}{others}: {why}");
        let remedy = match bound {
            Bound::OneHost => {
                "where many nodes share that address, raise `p2p_max_conn_per_ip` (LB_P2P_MAX_CONN_PER_IP) here and start the daemon anew; \
                 members of this node's groups do not count; else keep it away with `deny`"
            }
            Bound::Rate => {
                "see what runs there: a node does not call that often; keep it away with `deny`. Others at that address have to wait with it"
            }
            Bound::AllHosts => {
                "members of this node's groups, and peers that `lbm ctl peer add` has added, get in all the same; keep others away with `deny`"
            }
        };
        Finding::warning("refused_here", detail, remedy)
    };
    causes.into_iter().map(told).collect()
}

fn other_version(info: &PeerInfo) -> Option<Finding> {
    let agent = &info.link.as_ref()?.agent;
    if agent.is_empty() || agent == NetConfig::AGENT_VERSION {
        return None;
    }
    let detail = format!("{} runs {agent}, and this node {}", called(info), NetConfig::AGENT_VERSION);
    Some(Finding::warning(
        "version_apart",
        detail,
        "put the same version on both: what one does not know it does not take",
    ))
}

/// What was seen of late and is no longer there to be looked at.
fn mark(event: &Event, now_ms: u64) -> Option<Finding> {
    let ago_ms = now_ms.saturating_sub(event.at_ms);
    if ago_ms > limits::DOCTOR_RECENT_MS {
        return None;
    }
    let ago = doctor::span_of(ago_ms);
    match &event.kind {
        EventKind::OwnKeySeen { address } => Some(Finding::problem(
            "own_key_elsewhere",
            format!("another machine used this node's key {ago} ago, at {address}"),
            "stop one of the two; a copied data folder needs a key of its own: `lbm init` in an empty one",
        )),
        EventKind::ClockAhead { member_id, ahead_ms, .. } => Some(Finding::problem(
            "clock_apart",
            format!("the clock of {member_id} was {} ahead of this one, {ago} ago", doctor::span_of(*ahead_ms)),
            "set both machines' clocks by a time server, as with `timedatectl set-ntp true`",
        )),
        _ => None,
    }
}

/// When each group that others are in was last synced.
fn groups(api: &Api, view: &View, marks: &[Event], up_ms: u64, now_ms: u64) -> Result<Vec<Finding>, Problem> {
    let mut findings = Vec::new();
    for kept in view.groups()? {
        let rows = view.rows(kept);
        let id = kept.id.to_string();
        let Some(name) = state::group(&rows)?.map(|group| group.name) else {
            let detail = format!("{id}: being joined, nothing of it is here yet; it comes once a member is connected");
            findings.push(Finding::ok("joining", detail));
            continue;
        };
        if query::members(&rows)?.iter().all(|(member, _)| api.node().is_own(member)) {
            findings.push(Finding::ok("synced", format!("{name}: nobody else is a member")));
            continue;
        }
        let last = marks.iter().find_map(|event| match &event.kind {
            EventKind::SyncFinished { group_id, peer_id, .. } if *group_id == id => Some((event.at_ms, peer_id)),
            _ => None,
        });
        let remedy = "connect to a member: `lbm ctl peer list` shows who is known, `lbm ctl sync` asks them now";
        findings.push(match last {
            Some((at_ms, peer)) if now_ms.saturating_sub(at_ms) < limits::DOCTOR_SYNC_MS => {
                let ago = doctor::span_of(now_ms.saturating_sub(at_ms));
                Finding::ok("synced", format!("{name}: synced with {peer} {ago} ago"))
            }
            Some((at_ms, peer)) => {
                let ago = doctor::span_of(now_ms.saturating_sub(at_ms));
                Finding::warning("not_synced", format!("{name}: last synced {ago} ago, with {peer}"), remedy)
            }
            None if up_ms < limits::DOCTOR_START_MS => {
                Finding::ok("synced", format!("{name}: not synced yet, the daemon has just started"))
            }
            None => {
                let up = doctor::span_of(up_ms);
                Finding::warning("not_synced", format!("{name}: not synced since the daemon started {up} ago"), remedy)
            }
        });
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::Grade;
    use crate::identity::SecretKey;
    use crate::net::{LinkInfo, Transport};

    #[test]
    fn a_peer_of_another_version_is_named() {
        let of = |agent: &str| PeerInfo {
            peer: SecretKey::from_seed(&[1; 32]).identity(),
            known: None,
            link: Some(LinkInfo {
                outbound: true,
                transport: Transport::Tcp,
                remote: "/ip4/10.0.0.1/tcp/7337".parse().unwrap(),
                connections: 1,
                rtt: None,
                since_ms: 0,
                agent: agent.to_owned(),
            }),
            banned: None,
            denied: false,
            refused: None,
        };
        // Nothing is said of who has not said it yet.
        for same in ["", NetConfig::AGENT_VERSION] {
            assert_eq!(other_version(&of(same)), None);
        }
        let found = other_version(&of("lbm/99.0.0")).unwrap();
        assert_eq!(found.code, "version_apart");
        assert!(found.detail.contains("lbm/99.0.0") && found.detail.contains(NetConfig::AGENT_VERSION), "{found:?}");
    }

    #[test]
    fn hosts_that_found_no_room_are_told_by_cause() {
        let of = |n: u8, bound, why: &str, ago_s| RefusedHost {
            host: [10, 0, 0, n].into(),
            why: why.to_owned(),
            bound,
            times: n.into(),
            ago: Duration::from_secs(ago_s),
        };
        let mut hosts: Vec<_> = (1..=50).map(|n| of(n, Bound::AllHosts, "full", 60)).collect();
        hosts.push(of(51, Bound::OneHost, "its address is full", 5));
        hosts.push(of(52, Bound::OneHost, "its address is full", limits::DOCTOR_RECENT_MS / 1_000 + 1));
        let found = refused(&hosts);
        let [one, all] = found.as_slice() else { panic!("{found:?}") };
        assert!(one.detail.starts_with("51 connections") && one.detail.contains("10.0.0.51 (51): its"), "{one:?}");
        assert!(one.remedy.as_ref().unwrap().contains("p2p_max_conn_per_ip"), "{one:?}");
        for part in [
            "1275 connections",
            "60 s ago",
            "10.0.0.50 (50), 10.0.0.49 (49), 10.0.0.48 (48) and 47 more addresses: full",
        ] {
            assert!(all.detail.contains(part), "{all:?}");
        }
        assert!(all.remedy.as_ref().unwrap().contains("peer add"), "{all:?}");
    }

    #[test]
    fn a_clock_that_is_apart_is_told_whichever_way_and_not_what_the_way_took() {
        let of = |theirs_ms, took_s| clock("bob", theirs_ms, 10_000_000, Duration::from_secs(took_s));
        assert_eq!(
            (of(10_000_000, 0), of(9_995_000, 0), of(10_009_000, 0), of(9_985_000, 6)),
            (None, None, None, None)
        );
        let behind = of(9_880_000, 0).unwrap();
        assert_eq!((behind.severity, behind.code.as_str()), (Grade::Warning, "clock_apart"));
        assert!(behind.detail.contains("bob is 2 min behind"), "{behind:?}");
        let ahead = of(13_600_000, 1).unwrap();
        assert_eq!(ahead.severity, Grade::Problem);
        assert!(ahead.detail.contains("60 min ahead"), "{ahead:?}");
    }

    #[test]
    fn a_clock_that_was_ahead_is_told_for_a_day() {
        let kind = EventKind::ClockAhead { group_id: "g".into(), member_id: "m".into(), ahead_ms: 600_000 };
        let event = Event { seq: 1, at_ms: 1_000, kind };
        let found = mark(&event, 61_000).unwrap();
        assert_eq!(found.code, "clock_apart");
        assert!(found.detail.contains("10 min ahead") && found.detail.contains("60 s ago"), "{found:?}");
        assert_eq!(mark(&event, 1_000 + limits::DOCTOR_RECENT_MS + 1), None);
    }
}
