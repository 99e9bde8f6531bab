//! What a daemon counts and measures, for Prometheus (OpenMetrics text 1.0).
//!
//! Owns the names: [`COUNTED`] grows as things happen, [`SAMPLED`] is read when somebody asks. **The number of series is bounded**: a label
//! is a word of this program, or one of at most [`limits::METRIC_SERIES`] of a group, or a group and a peer. No label has a name that a person
//! gave, and none a claim's words.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::limits;

/// Media type of the text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What grows as things happen: name without `lbm_`, and what it counts.
pub const COUNTED: &[(&str, &str)] = &[
    (
        "queue_overflows",
        "What found a queue full: it waited, was dropped or was refused, as docs/OPERATIONS.md says of each",
    ),
    ("writer_commits", "Batches made durable"),
    ("writer_commit_failures", "Batches of which nothing was written"),
    ("writer_commit_seconds", "How long a batch took to become durable"),
    ("writer_batch_tasks", "Writes in one batch"),
    ("blocks_rejected", "Blocks that were not taken or do not count, by why"),
    ("context_seconds", "How long compiling a context took"),
    ("api_requests", "Requests of the API that were answered, by route and HTTP status"),
    ("api_request_seconds", "How long the head of an answer of the API took, by route"),
    ("peer_requests", "Requests of peers, by protocol"),
    ("peer_refusals", "Requests of peers that were refused, by verdict"),
    ("peer_faults", "What peers did that they may not, by severity"),
    ("peers_banned", "Peers sent away for their faults"),
];

/// What is read when somebody asks: name without `lbm_`, and what it is.
pub const SAMPLED: &[(&str, &str)] = &[
    ("build_info", "The version that runs; always 1"),
    ("uptime_seconds", "Since when the daemon runs"),
    ("queue_depth", "How much waits in a queue"),
    ("queue_capacity", "How much a queue takes"),
    ("peers_known", "Peers in the address book"),
    ("peers_connected", "Peers that are connected"),
    ("peer_connections", "Connections with peers, by direction"),
    ("peers_ban_active", "Peers that are kept away now"),
    ("groups", "Groups that are here"),
    ("agents", "Agents that the node hosts"),
    ("claims_indexed", "Claims that were read into indexes and can be searched at once"),
    ("sync_lag_blocks", "Blocks of a group that a connected peer is known to have and that are not here, at least"),
    ("sync_lag_seconds", "For how long one of them has been known of and is not here"),
    ("sync_failures", "Pulls of a group from a connected peer that have failed in a row"),
    ("sync_age_seconds", "How long ago a pull of a group last brought everything that some peer had"),
    ("series_left_out", "Values beyond the bound of their metric, which are not shown"),
    ("purchases", "Purchases and sales that have not ended, by state"),
    ("embedder_claims_missing", "Claims that wait for their vector"),
    ("disk_free_bytes", "Room on the disk of the data folder"),
    ("process_resident_bytes", "Memory of the daemon that is in RAM"),
    ("process_open_files", "Files and connections that the daemon has open"),
];

type One = [(&'static str, String); 1];
type Two = [(&'static str, String); 2];

/// The counts of one daemon. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Counts>);

struct Counts {
    registry: Registry,
    overflows: Family<One, Counter>,
    commits: Counter,
    commit_failures: Counter,
    commit_seconds: Histogram,
    batch_tasks: Histogram,
    rejected: Family<One, Counter>,
    context_seconds: Histogram,
    api: Family<Two, Counter>,
    api_seconds: Family<One, Histogram, fn() -> Histogram>,
    peer_requests: Family<One, Counter>,
    peer_refusals: Family<Two, Counter>,
    faults: Family<One, Counter>,
    banned: Counter,
}

/// Seconds of things that take from a tenth of a millisecond to ten seconds.
fn seconds() -> Histogram {
    Histogram::new([0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0])
}

/// The same, coarser: there is one for each route.
fn coarse_seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0])
}

fn help(of: &'static [(&str, &str)], name: &str) -> &'static str {
    of.iter().find(|(known, _)| *known == name).map_or("", |(_, help)| help)
}

impl Default for Metrics {
    fn default() -> Self {
        let counts = Counts {
            registry: Registry::with_prefix("lbm"),
            overflows: Family::default(),
            commits: Counter::default(),
            commit_failures: Counter::default(),
            commit_seconds: seconds(),
            batch_tasks: Histogram::new([1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 512.0]),
            rejected: Family::default(),
            context_seconds: seconds(),
            api: Family::default(),
            api_seconds: Family::new_with_constructor(coarse_seconds),
            peer_requests: Family::default(),
            peer_refusals: Family::default(),
            faults: Family::default(),
            banned: Counter::default(),
        };
        Self(Arc::new(counts.registered()))
    }
}

impl Counts {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        let say = |name| help(COUNTED, name);
        registry.register("queue_overflows", say("queue_overflows"), self.overflows.clone());
        registry.register("writer_commits", say("writer_commits"), self.commits.clone());
        registry.register("writer_commit_failures", say("writer_commit_failures"), self.commit_failures.clone());
        registry.register("writer_commit_seconds", say("writer_commit_seconds"), self.commit_seconds.clone());
        registry.register("writer_batch_tasks", say("writer_batch_tasks"), self.batch_tasks.clone());
        registry.register("blocks_rejected", say("blocks_rejected"), self.rejected.clone());
        registry.register("context_seconds", say("context_seconds"), self.context_seconds.clone());
        registry.register("api_requests", say("api_requests"), self.api.clone());
        registry.register("api_request_seconds", say("api_request_seconds"), self.api_seconds.clone());
        registry.register("peer_requests", say("peer_requests"), self.peer_requests.clone());
        registry.register("peer_refusals", say("peer_refusals"), self.peer_refusals.clone());
        registry.register("peer_faults", say("peer_faults"), self.faults.clone());
        registry.register("peers_banned", say("peers_banned"), self.banned.clone());
        self
    }
}

/// Queues that can be full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// What is to be written. Who finds it full waits.
    Writer,
    /// What peers sent and nobody has verified. Where it is full the batch is dropped, and pulled again.
    Verify,
    /// What the writer tells the driver. Where it is full the writer waits.
    Told,
    /// What the API asks the driver. Who finds it full waits.
    Asks,
    /// Connections of the API. One more is refused, as `busy`.
    ApiConnections,
    /// Streams and long calls of agents. One more is refused, as `busy`.
    AgentWaits,
    /// Events that a follower has not read. What is pushed out, it is told the number of.
    Events,
    /// Pushes that the peer with most has not acknowledged. One more is not sent: the peer is told what there is, and pulls it.
    Pushes,
    /// Requests being served of the peer with most. One more is refused, as `busy`.
    Serving,
    /// Packages being fetched, and waiting for it. One more is refused.
    Fetches,
    /// Own announcements that nobody has listened to. The first is dropped.
    GossipUnheard,
    /// Announcements of others that wait for a judgement. The first goes no further.
    GossipJudging,
    /// What a peer is to be sent of others' announcements and takes too slowly; libp2p owns it and tells only what is dropped.
    GossipPeer,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 13] = [
        Self::Writer,
        Self::Verify,
        Self::Told,
        Self::Asks,
        Self::ApiConnections,
        Self::AgentWaits,
        Self::Events,
        Self::Pushes,
        Self::Serving,
        Self::Fetches,
        Self::GossipUnheard,
        Self::GossipJudging,
        Self::GossipPeer,
    ];

    /// The word of its label.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Verify => "verify",
            Self::Told => "told",
            Self::Asks => "asks",
            Self::ApiConnections => "api_connections",
            Self::AgentWaits => "agent_waits",
            Self::Events => "events",
            Self::Pushes => "pushes",
            Self::Serving => "serving",
            Self::Fetches => "fetches",
            Self::GossipUnheard => "gossip_unheard",
            Self::GossipJudging => "gossip_judging",
            Self::GossipPeer => "gossip_peer",
        }
    }
}

impl Metrics {
    /// So many found a queue full.
    pub fn overflowed(&self, queue: Queue, times: u64) {
        self.0.overflows.get_or_create(&[("queue", queue.word().to_owned())]).inc_by(times);
    }

    /// A batch of so many writes became durable, or was not written.
    pub fn committed(&self, tasks: usize, took: Duration, ok: bool) {
        if !ok {
            self.0.commit_failures.inc();
            return;
        }
        self.0.commits.inc();
        self.0.commit_seconds.observe(took.as_secs_f64());
        // Far below 2^53.
        self.0.batch_tasks.observe(tasks as f64);
    }

    /// A block was not taken, or counts no more.
    pub fn rejected(&self, reason: &'static str) {
        self.0.rejected.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// A context was compiled.
    pub fn compiled(&self, took: Duration) {
        self.0.context_seconds.observe(took.as_secs_f64());
    }

    /// The API answered.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        let route = || ("route", route.to_ascii_lowercase());
        self.0.api.get_or_create(&[route(), ("status", status.to_string())]).inc();
        self.0.api_seconds.get_or_create(&[route()]).observe(took.as_secs_f64());
    }

    /// A peer asked.
    pub fn asked(&self, protocol: &'static str) {
        self.0.peer_requests.get_or_create(&[("protocol", protocol.to_owned())]).inc();
    }

    /// A peer was refused.
    pub fn refused(&self, protocol: &'static str, verdict: &'static str) {
        let labels = [("protocol", protocol.to_owned()), ("verdict", verdict.to_owned())];
        self.0.peer_refusals.get_or_create(&labels).inc();
    }

    /// A peer did what it may not.
    pub fn fault(&self, severity: &'static str) {
        self.0.faults.get_or_create(&[("severity", severity.to_owned())]).inc();
    }

    /// A peer was sent away.
    pub fn banned(&self) {
        self.0.banned.inc();
    }

    /// All of it as text, with what was read just now.
    #[must_use]
    pub fn text(&self, mut sample: Sample) -> String {
        sample.set("series_left_out", vec![], sample.left_out as f64);
        let mut text = String::new();
        // Writing into a string does not fail.
        let _never = encode_registry(&mut text, &self.0.registry);
        let _never = encode_registry(&mut text, &sample.registry());
        let _never = encode_eof(&mut text);
        text
    }
}

/// The labels of a value, and it.
type Labelled = (Vec<(&'static str, String)>, f64);

/// What was read when somebody asked.
#[derive(Debug, Default)]
pub struct Sample {
    values: BTreeMap<&'static str, Vec<Labelled>>,
    left_out: usize,
}

impl Sample {
    /// One more value, of a name of [`SAMPLED`].
    pub fn set(&mut self, name: &'static str, labels: Vec<(&'static str, String)>, value: f64) {
        let values = self.values.entry(name).or_default();
        if values.len() < limits::METRIC_SERIES {
            values.push((labels, value));
        } else {
            self.left_out += 1;
        }
    }

    fn registry(self) -> Registry {
        let mut registry = Registry::with_prefix("lbm");
        for (name, values) in self.values {
            if let [(labels, value)] = values.as_slice()
                && labels.is_empty()
            {
                let gauge: Gauge<f64, AtomicU64> = Gauge::default();
                gauge.set(*value);
                registry.register(name, help(SAMPLED, name), gauge);
                continue;
            }
            let family: Family<Vec<(&'static str, String)>, Gauge<f64, AtomicU64>> = Family::default();
            for (labels, value) in values {
                family.get_or_create(&labels).set(value);
            }
            registry.register(name, help(SAMPLED, name), family);
        }
        registry
    }
}

/// Memory in RAM, bytes, and open files of this process, where the system tells (Linux).
#[must_use]
pub fn process() -> (Option<u64>, Option<u64>) {
    let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    });
    let open = std::fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64);
    (resident, open)
}

#[cfg(test)]
mod tests;
