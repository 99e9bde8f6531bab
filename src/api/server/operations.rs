//! What operators look at and do: metrics, whether the daemon lives and serves, the settings in force, and reading them again.

use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::extract::As;
use super::{Api, node, problem, purchase};
use crate::api::VERSION;
use crate::api::types::{Alive, Problem, ProblemCode, Ready, Reloaded, SettingInForce, SettingList};
use crate::identity::Identity;
use crate::limits;
use crate::metrics::{self, Queue, Sample};
use crate::net::GossipMeasures;
use crate::node::measure::Measures;
use crate::runtime::clock::unix_ms;
use crate::runtime::settings::{LIVE, ReloadError};
use crate::store::View;

type Answer<T> = Result<Json<T>, Problem>;

/// That the process answers.
pub(super) async fn live(As(_): As) -> Answer<Alive> {
    Ok(Json(Alive { alive: true }))
}

/// That it serves: what is kept can be read, what is written finds a place and room on the disk.
pub(super) async fn ready(As(api): As) -> Answer<Ready> {
    let checks = node::vital(&api).await;
    match checks.into_iter().find(|check| !check.ok) {
        None => Ok(Json(Ready { ready: true })),
        Some(ill) => {
            let detail = format!("the daemon does not serve: {}: {}", ill.name, ill.detail);
            Err(Problem::new(ProblemCode::NotReady, detail, ill.remedy.unwrap_or_default()))
        }
    }
}

/// The settings that the daemon runs with. How the node was started is not an agent's business.
pub(super) async fn settings(As(api): As) -> Answer<SettingList> {
    let row = |row: crate::config::SettingRow| SettingInForce {
        key: row.key.to_owned(),
        value: row.value,
        origin: row.origin,
        environment: row.environment.to_owned(),
        needs_restart: !LIVE.contains(&row.key),
    };
    let rows = if api.node().is_agent() { Vec::new() } else { api.node().settings.rows() };
    Ok(Json(SettingList { settings: rows.into_iter().map(row).collect() }))
}

/// Reads them again.
pub(super) async fn reload(As(api): As) -> Answer<Reloaded> {
    let changed = api.node().reload().await.map_err(|error| match error {
        ReloadError::Stopping(stopping) => stopping.into(),
        ReloadError::Config(error) => {
            let remedy = "correct it and reload again; until then the daemon goes on with what it had";
            problem::split(ProblemCode::BadSettings, &error.to_string(), remedy)
        }
    })?;
    let words = |keys: Vec<&str>| keys.into_iter().map(str::to_owned).collect();
    Ok(Json(Reloaded { applied: words(changed.applied), needs_restart: words(changed.needs_restart) }))
}

/// All metrics, as text.
pub(super) async fn metrics(As(api): As) -> Result<Response, Problem> {
    let node = api.node();
    let mut sample = Sample::default();
    sample.set("build_info", vec![("version", VERSION.to_owned())], 1.0);
    sample.set("uptime_seconds", vec![], node.uptime.ms() as f64 / 1_000.0);
    let (measured, gossip) = node.measure().await?;
    queues(&api, &measured, &gossip, &mut sample);
    lags(measured, &mut sample);
    peers(&api, &mut sample).await?;
    groups(&api, &mut sample).await?;
    let (resident, open) = metrics::process();
    let numbers = [
        ("process_resident_bytes", resident),
        ("process_open_files", open),
        ("disk_free_bytes", node.store.free_bytes()),
        ("agents", Some(node.agents.all().len() as u64)),
    ];
    for (name, number) in numbers {
        // What the system does not tell is left out.
        if let Some(number) = number {
            sample.set(name, vec![], number as f64);
        }
    }
    if let Some(standing) = node.embedding.standing() {
        let progress = standing.progress;
        let missing = progress.claims.saturating_sub(progress.embedded + progress.unable);
        sample.set("embedder_claims_missing", vec![], missing as f64);
    }
    let text = node.metrics.text(sample);
    Ok(([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response())
}

fn queues(api: &Api, measured: &Measures, gossip: &GossipMeasures, sample: &mut Sample) {
    let node = api.node();
    let mut queue = |queue: Queue, depth: usize, capacity: usize| {
        let label = || vec![("queue", queue.word().to_owned())];
        sample.set("queue_depth", label(), depth as f64);
        sample.set("queue_capacity", label(), capacity as f64);
    };
    queue(Queue::Writer, node.writer.queued(), limits::WRITER_QUEUE);
    queue(Queue::ApiConnections, api.room.count(|_| true), limits::API_CONNECTIONS);
    queue(Queue::AgentWaits, api.waits.count(), limits::API_AGENTS_WAITS);
    queue(Queue::Events, node.events.unread(), limits::EVENT_BACKLOG);
    queue(Queue::Pushes, measured.pushes.0, measured.pushes.1);
    queue(Queue::Serving, measured.serving.0, measured.serving.1);
    queue(Queue::Fetches, measured.fetches.0, measured.fetches.1);
    queue(Queue::GossipUnheard, gossip.unheard, limits::GOSSIP_QUEUE);
    queue(Queue::GossipJudging, gossip.judging, limits::GOSSIP_JUDGING);
    for (which, gauge) in &node.queues {
        if let Some((depth, capacity)) = gauge.read() {
            queue(*which, depth, capacity);
        }
    }
}

/// How far behind each connected peer this node is, those first that are furthest ahead.
fn lags(measured: Measures, sample: &mut Sample) {
    let mut lags = measured.lags;
    lags.sort_by_key(|lag| std::cmp::Reverse((lag.for_ms, lag.blocks, lag.failures)));
    for lag in lags {
        let mut set = |name, value| {
            sample.set(name, vec![("group", short(&lag.group.to_string())), ("peer", lag.peer.to_string())], value);
        };
        set("sync_lag_blocks", lag.blocks as f64);
        set("sync_lag_seconds", lag.for_ms as f64 / 1_000.0);
        set("sync_failures", f64::from(lag.failures));
    }
    for (group, ago_ms) in measured.pulled {
        sample.set("sync_age_seconds", vec![("group", short(&group.to_string()))], ago_ms as f64 / 1_000.0);
    }
}

async fn peers(api: &Api, sample: &mut Sample) -> Result<(), Problem> {
    let peers = api.node().peers().await?;
    let links = || peers.iter().filter_map(|peer| peer.link.as_ref());
    sample.set("peers_known", vec![], peers.iter().filter(|peer| peer.known.is_some()).count() as f64);
    sample.set("peers_connected", vec![], links().count() as f64);
    for (direction, outbound) in [("outbound", true), ("inbound", false)] {
        let connections: usize = links().filter(|link| link.outbound == outbound).map(|link| link.connections).sum();
        sample.set("peer_connections", vec![("direction", direction.to_owned())], connections as f64);
    }
    let now_ms = unix_ms();
    let bans = api.node().bans().await?.into_iter().filter(|ban| ban.until_ms > now_ms).count();
    sample.set("peers_ban_active", vec![], bans as f64);
    Ok(())
}

async fn groups(api: &std::sync::Arc<Api>, sample: &mut Sample) -> Result<(), Problem> {
    let own: Vec<Identity> = api.node().agents.all().into_iter().map(|(_, identity)| identity).collect();
    let read = move |api: &Api, view: &View| {
        let kept = view.groups()?.len();
        let claims = api.node().indexes.claims();
        let mut open = purchase::open_of(&api.node().node_id, view)?;
        for identity in &own {
            for (state, count) in purchase::open_of(identity, view)? {
                *open.entry(state).or_default() += count;
            }
        }
        Ok((kept, claims, open))
    };
    let (kept, claims, open) = api.read_own(read).await?;
    sample.set("groups", vec![], kept as f64);
    sample.set("claims_indexed", vec![], claims as f64);
    for (state, count) in open {
        sample.set("purchases", vec![("state", state.word().to_owned())], count as f64);
    }
    Ok(())
}

/// A group's id as a label.
fn short(group: &str) -> String {
    group.chars().take(limits::METRIC_GROUP_DIGITS).collect()
}
