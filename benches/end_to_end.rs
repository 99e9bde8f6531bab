//! Real daemons, real sockets, a real disk: what a caller and a second machine feel. Prints one JSON document.
//!
//! ```text
//! cargo bench --bench end_to_end -- [--claims 1000,10000,100000] [--folder DIR]
//! ```
//!
//! Two processes of `lbm-node` on loopback, in data folders under `DIR` (default: the system's folder for temporary files), are
//! driven over their local sockets. Every claim is a signed block of its own of about 200 bytes of text. `limits` holds what the
//! machine itself can do in the same minute: one fdatasync, and signing on one core. Figures of a shared machine drift: read
//! them beside those, and compare ratios of one run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench may fail, and prints its result"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lbm::api::client::Client;
use lbm::api::types::{
    AddMember, AddPeer, ContextQuery, CreateGroup, EventKind, JoinEvent, JoinGroup, ListEvents, NewClaim, Role,
};
use lbm::identity::SecretKey;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(300);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let flag = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1)).cloned();
    let sizes: Vec<usize> =
        flag("--claims").unwrap_or_else(|| "1000,10000".into()).split(',').map(|n| n.parse().unwrap()).collect();
    let folder = PathBuf::from(flag("--folder").unwrap_or_else(|| std::env::temp_dir().display().to_string()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let root = folder.join(format!("lbm-bench-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&root).unwrap();
    let results: Vec<Value> = sizes.iter().map(|size| runtime.block_on(measure(&root, *size))).collect();
    let document = json!({ "limits": limits(&root), "runs": results });
    std::fs::remove_dir_all(&root).unwrap();
    println!("{}", serde_json::to_string_pretty(&document).unwrap());
}

/// A daemon in a process of its own.
struct Node {
    data: PathBuf,
    child: Child,
    client: Client,
    ready: Duration,
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Node {
    fn start(data: &Path) -> Self {
        if !data.exists() {
            let name = data.file_name().unwrap();
            let mut init = Command::new(env!("CARGO_BIN_EXE_lbm"));
            init.args(["init", "--name"]).arg(name).arg("--data").arg(data).stdout(Stdio::null());
            assert!(init.status().unwrap().success());
        }
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_lbm-node"))
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--log-level", "warn", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("ready"), "{line}");
        Self { data: data.to_owned(), child, client: Client::new(data), ready: began.elapsed() }
    }

    fn restart(mut self) -> Self {
        let data = self.data.clone();
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success() && self.child.wait().unwrap().success());
        Self::start(&data)
    }

    fn resident_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    fn cpu_s(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| after_name[at].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / 100.0
    }
}

fn claim(number: usize) -> NewClaim {
    let text = format!(
        "Observation {number}: the request that failed {} times was retried without jitter, so that every worker came back at the \
         same moment and the queue behind the gateway grew past its bound of {} entries",
        number % 17,
        number * 31 % 4093
    );
    NewClaim { text, tags: vec!["retry".into(), format!("t{}", number % 50)], ..NewClaim::default() }
}

fn percentile(sorted: &[Duration], part: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3
}

fn spread(mut times: Vec<Duration>) -> Value {
    times.sort();
    json!({ "p50_ms": percentile(&times, 0.5), "p95_ms": percentile(&times, 0.95), "n": times.len() })
}

async fn publish_one_by_one(client: &Client, group: &str, from: usize, count: usize) -> Value {
    let mut times = Vec::new();
    for number in from..from + count {
        let began = Instant::now();
        client.publish_claim(group, &claim(number)).await.unwrap();
        times.push(began.elapsed());
    }
    spread(times)
}

/// Publishes from 64 callers, each on a connection of its own; gives claims a second.
async fn publish_at_once(data: &Path, group: &str, from: usize, count: usize) -> f64 {
    let began = Instant::now();
    let callers: Vec<_> = (0..64)
        .map(|caller| {
            let (client, group) = (Client::new(data), group.to_owned());
            tokio::spawn(async move {
                for number in (from..from + count).skip(caller).step_by(64) {
                    client.publish_claim(&group, &claim(number)).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    count as f64 / began.elapsed().as_secs_f64()
}

async fn connect(from: &Node, to: &Node) {
    let addr = to.client.status().await.unwrap().listen.into_iter().next().unwrap();
    from.client.add_peer(&AddPeer { addr, alias: None }).await.unwrap();
}

async fn count(node: &Node, group: &str) -> u64 {
    node.client.group_stats(group).await.unwrap().claims
}

async fn wait_for(node: &Node, group: &str, claims: u64) {
    let began = Instant::now();
    while count(node, group).await < claims {
        assert!(began.elapsed() < PATIENCE, "{} of {claims} claims", count(node, group).await);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Bytes that the loopback interface has carried.
fn loopback_bytes() -> u64 {
    let table = std::fs::read_to_string("/proc/net/dev").unwrap();
    let line = table.lines().find(|line| line.trim_start().starts_with("lo:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn measure(root: &Path, size: usize) -> Value {
    let folder = root.join(size.to_string());
    std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
    let a = Node::start(&folder.join("a"));
    let idle_mb = a.resident_mb();
    let group = a.client.create_group(&CreateGroup { name: "bench".into(), currency: None }).await.unwrap().group_id;
    let single_first = publish_one_by_one(&a.client, &group, 0, 200).await;
    let at_once = publish_at_once(&a.data, &group, 200, size - 200).await;
    let single_last = publish_one_by_one(&a.client, &group, size, 200).await;
    let size = size + 200;
    let a = a.restart();
    let start = a.ready;
    let began = Instant::now();
    let question = || ContextQuery {
        query: "why did the queue behind the gateway grow?".into(),
        top_k: None,
        budget_tokens: None,
        since_ms: None,
        until_ms: None,
        tags: vec![],
        author: None,
        thread: None,
    };
    a.client.context(&group, &question()).await.unwrap();
    let first_context = began.elapsed();
    let mut contexts = Vec::new();
    for number in 0..50 {
        a.client.publish_claim(&group, &claim(size + number)).await.unwrap();
        let began = Instant::now();
        a.client.context(&group, &question()).await.unwrap();
        contexts.push(began.elapsed());
    }
    let size = size + 50;

    let b = Node::start(&folder.join("b"));
    let member = b.client.status().await.unwrap().node_id.parse().unwrap();
    a.client.add_member(&group, &AddMember { member, role: Role::Member }).await.unwrap();
    connect(&b, &a).await;
    let (bytes, cpu) = (loopback_bytes(), a.cpu_s());
    let began = Instant::now();
    let mut joining =
        b.client.join_group(&JoinGroup { group: group.clone(), note: None, wait_ms: Some(240_000) }).await.unwrap();
    while let Some(event) = joining.next().await.unwrap() {
        match event {
            JoinEvent::Joined { claims, .. } => assert_eq!(claims, size as u64),
            JoinEvent::Waiting { .. } | JoinEvent::Refused { .. } => panic!("{event:?}"),
            _ => {}
        }
    }
    let sync = began.elapsed();
    let sync_bytes = loopback_bytes() - bytes;
    let sync_value = json!({
        "seconds": sync.as_secs_f64(), "claims_per_s": size as f64 / sync.as_secs_f64(), "loopback_mb": sync_bytes as f64 / 1e6,
        "sender_cpu_s": a.cpu_s() - cpu, "receiver_cpu_s": b.cpu_s(),
    });

    let propagation = propagate(&a, &b, &group, size + 1_000).await;
    let size = size + 200;
    wait_for(&b, &group, size as u64).await;
    let (catch_up, catch_up_bytes, b) = catch_up(&a, b, &group, size).await;
    json!({
        "claims": size,
        "publish_first_200": single_first,
        "publish_64_callers_per_s": at_once,
        "publish_last_200": single_last,
        "start_to_ready_ms": start.as_secs_f64() * 1e3,
        "first_context_ms": first_context.as_secs_f64() * 1e3,
        "context_after_a_write": spread(contexts),
        "cold_sync": sync_value,
        "propagation": propagation,
        "catch_up_on_10": { "ms_from_connect": catch_up, "loopback_kb_with_handshake": catch_up_bytes as f64 / 1e3 },
        "memory_mb": { "idle": idle_mb, "sender": a.resident_mb(), "receiver": b.resident_mb() },
        "database_mb": std::fs::metadata(a.data.join("lbm.redb")).unwrap().len() as f64 / 1e6,
    })
}

/// From the call of `publish` on one node to the event on the other.
async fn propagate(a: &Node, b: &Node, group: &str, from: usize) -> Value {
    let mut events = b.client.events(&ListEvents { after: Some(u64::MAX / 2), follow: true }).await.unwrap();
    let mut times = Vec::new();
    for number in from..from + 200 {
        let began = Instant::now();
        let claim = claim(number);
        let published = a.client.publish_claim(group, &claim);
        let arrives = async {
            loop {
                let event = events.next().await.unwrap().unwrap();
                if matches!(event.kind, EventKind::ClaimPublished { .. }) {
                    return began.elapsed();
                }
            }
        };
        let (published, arrived) = tokio::join!(published, arrives);
        published.unwrap();
        times.push(arrived);
    }
    spread(times)
}

/// Ten claims are written while the other is away: from its connection to the last of them, by its own clock.
async fn catch_up(a: &Node, mut b: Node, group: &str, size: usize) -> (Vec<u64>, u64, Node) {
    let (mut times, mut bytes) = (Vec::new(), 0);
    for round in 0..5 {
        let data = b.data.clone();
        drop(b);
        for number in 0..10 {
            a.client.publish_claim(group, &claim(size + 10_000 + round * 10 + number)).await.unwrap();
        }
        let before = loopback_bytes();
        b = Node::start(&data);
        wait_for(&b, group, (size + (round + 1) * 10) as u64).await;
        bytes = loopback_bytes() - before;
        let mut events = b.client.events(&ListEvents { after: Some(0), follow: false }).await.unwrap();
        let (mut connected, mut last) = (0, 0);
        while let Some(event) = events.next().await.unwrap() {
            match event.kind {
                EventKind::PeerConnected { .. } => connected = event.at_ms,
                EventKind::ClaimPublished { .. } => last = event.at_ms,
                _ => {}
            }
        }
        times.push(last - connected);
    }
    (times, bytes, b)
}

/// What the machine can do: one fdatasync of a page on this disk, and signing on one core.
fn limits(root: &Path) -> Value {
    let mut file = std::fs::File::create(root.join("probe")).unwrap();
    let mut syncs = Vec::new();
    for _ in 0..200 {
        file.write_all(&[7; 4096]).unwrap();
        let began = Instant::now();
        file.sync_data().unwrap();
        syncs.push(began.elapsed());
    }
    let key = SecretKey::from_seed(&[1; 32]);
    let began = Instant::now();
    for _ in 0..2_000 {
        std::hint::black_box(key.sign(b"bench", std::hint::black_box(&[0; 300])));
    }
    let sign = 2_000.0 / began.elapsed().as_secs_f64();
    let (signature, identity) = (key.sign(b"bench", &[0; 300]), key.identity());
    let began = Instant::now();
    for _ in 0..2_000 {
        identity.verify(b"bench", std::hint::black_box(&[0; 300]), &signature).unwrap();
    }
    let verify = 2_000.0 / began.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    json!({ "fdatasync": spread(syncs), "sign_per_s": sign, "verify_strict_per_s": verify, "cores": cores })
}
