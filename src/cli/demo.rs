//! `lbm demo`: real daemons on this machine play the story, every command is shown with its effect and the time it took.
//!
//! The daemons are this binary's own, in a folder of their own, and talk over loopback only. **Nothing is left behind**: at the
//! end, on a failure and on a signal to stop they are ended and the folder is removed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use super::error::{CliError, Outcome};
use super::text::{count, short};
use crate::api::client::{Client, ClientError};
use crate::api::types::ListClaims;

/// Arguments of `lbm demo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// Keep the data folders, and say where they are
    #[arg(long)]
    pub keep: bool,
}

/// Why the story broke off.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or a process.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("`{command}` failed: {said}")]
    Command {
        /// The command.
        command: String,
        /// What it said.
        said: String,
    },
    /// Something did not happen in time.
    #[error("waited {seconds} s in vain: {what}")]
    Late {
        /// What should have happened.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
    },
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(&'static str),
    /// A daemon could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Ctrl-C, or another signal to end.
    #[error("stopped; nothing is left behind")]
    Interrupted,
}

/// What the demo comes to.
#[derive(Debug, Serialize)]
struct Summary {
    /// Milliseconds from `claim publish` on one node to the claim on the other.
    propagation_ms: f64,
    /// Claims on each node at the end.
    claims: usize,
    /// The state's hash, equal on all nodes.
    state_hash: String,
    /// How long the whole story took, seconds.
    seconds: f64,
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Plays the story.
///
/// # Errors
/// [`DemoError`], after everything has been cleaned up.
pub fn run(args: &DemoArgs, json: bool, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let mut nothing = std::io::sink();
    let summary = runtime.block_on(async {
        let mut stage = Stage::set(if json { &mut nothing } else { &mut *out }, args.keep)?;
        let told = tokio::select! {
            told = tell(&mut stage) => told,
            stopped = stopped() => Err(stopped.map_or_else(system("listen for signals"), |()| DemoError::Interrupted)),
        };
        stage.end().await?;
        told
    })?;
    if json {
        serde_json::to_writer(&mut *out, &summary).map_err(std::io::Error::from)?;
        writeln!(out)?;
    }
    Ok(Outcome::Done)
}

/// Waits for Ctrl-C, SIGTERM, or a terminal that is closed: none of them may leave daemons behind.
async fn stopped() -> std::io::Result<()> {
    let [mut interrupt, mut terminate, mut hang_up] =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// The story.
async fn tell(stage: &mut Stage<'_>) -> Result<Summary, DemoError> {
    let began = Instant::now();
    stage.say("Three machines, played by three daemons on this one. No server, no cloud.");
    stage.part("1. Each machine has a key and a daemon");
    for name in ["alice", "bob", "carol"] {
        stage.start(name).await?;
    }

    stage.part("2. Alice founds a group, and lets the others in");
    stage.ctl("alice", &["group", "create", "--name", "domain:research"]).await?;
    let group = stage.last("group_id");
    for name in ["bob", "carol"] {
        let member = stage.node_id(name).await?;
        stage.ctl("alice", &["group", "add-member", "--group", "domain:research", "--member", &member]).await?;
        stage.meet(name, "alice").await?;
        stage.ctl(name, &["group", "join", &group]).await?;
    }
    stage.meet("carol", "bob").await?;

    stage.part("3. What Alice learns, Bob knows at once");
    let lesson = "Always validate inputs at the edge: reject what is malformed, before anything else sees it";
    let published = Instant::now();
    stage.publish("alice", lesson, "security,validation").await?;
    let claim = stage.last("claim_hash");
    let propagation = stage.wait_for_claim("bob", &group, &claim, published).await?;
    stage.say(&format!("  Bob has it {:.1} ms after Alice's command was started.", propagation.as_secs_f64() * 1e3));
    stage.publish("carol", "The staging database is restored from production every Monday at 06:00", "ops").await?;
    let claim = stage.last("claim_hash");
    stage.wait_for_claim("bob", &group, &claim, Instant::now()).await?;
    stage.ctl("bob", &["context", "how should I check user input?", "--group", "domain:research"]).await?;
    stage.say_text("context");

    stage.part("4. The network breaks. Both sides go on");
    stage.part_ways("bob").await?;
    stage.publish("alice", "Retry with jitter, or every client comes back at the same moment", "network").await?;
    stage.publish("bob", "Log the peer id on each refused request, never the payload", "security,logging").await?;
    stage.publish("bob", "A queue without a bound is a crash with a delay", "design").await?;

    stage.part("5. They meet again. Nothing is lost, nobody wins over the other");
    stage.meet("bob", "alice").await?;
    stage.meet("bob", "carol").await?;
    for name in ["alice", "bob", "carol"] {
        stage.wait_for_count(name, &group, 5).await?;
    }

    stage.part("6. A machine loses power");
    stage.kill("carol").await?;
    stage.start_daemon("carol").await?;
    stage.wait_for_count("carol", &group, 5).await?;

    stage.wait_until_final(&group).await?;

    stage.part("7. All three check every signature, and fold the history anew");
    let mut hashes = Vec::new();
    for name in ["alice", "bob", "carol"] {
        stage.ctl(name, &["group", "verify", "domain:research"]).await?;
        if !stage.answer.get("ok").is_some_and(|ok| ok == true) {
            return Err(DemoError::Wrong("a node's history does not verify"));
        }
        hashes.push(stage.last("state_hash"));
    }
    if hashes.iter().any(|hash| Some(hash) != hashes.first()) {
        return Err(DemoError::Wrong("the nodes do not agree on the state"));
    }
    let seconds = began.elapsed().as_secs_f64();
    stage.say(&format!("\nThe same five claims and the same state on all three, to the byte. {seconds:.1} s in all."));
    Ok(Summary {
        propagation_ms: propagation.as_secs_f64() * 1e3,
        claims: 5,
        state_hash: hashes.swap_remove(0),
        seconds,
    })
}

/// The folder, the daemons, and who reads along.
struct Stage<'o> {
    out: &'o mut dyn Write,
    exe: PathBuf,
    folder: Folder,
    daemons: Vec<(String, Child)>,
    answer: Value,
}

/// A folder that goes when the story ends.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed now is in the system's folder for what is temporary.
            let _left = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> DemoError {
    move |source| DemoError::System { what, source }
}

impl<'o> Stage<'o> {
    fn set(out: &'o mut dyn Write, keep: bool) -> Result<Self, DemoError> {
        let exe = std::env::current_exe().map_err(system("find this program"))?;
        let unique = getrandom::u64().map_err(std::io::Error::other).map_err(system("get random bytes"))?;
        let path = std::env::temp_dir().join(format!("lbm-demo-{unique:016x}"));
        std::fs::create_dir(&path).map_err(system("make a temporary folder"))?;
        let mut stage = Self { out, exe, folder: Folder { path, keep }, daemons: Vec::new(), answer: Value::Null };
        if keep {
            stage.say(&format!("The data folders are kept in {}.", stage.folder.path.display()));
        }
        Ok(stage)
    }

    /// Words for who reads along; if nobody does, the story goes on.
    fn say(&mut self, words: &str) {
        let _nobody = writeln!(self.out, "{words}").and_then(|()| self.out.flush());
    }

    fn part(&mut self, title: &str) {
        self.say(&format!("\n{title}\n"));
    }

    fn say_text(&mut self, key: &str) {
        let text = self.last(key);
        let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
        self.say(indented.trim_end());
    }

    fn data(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// A string of the last answer.
    fn last(&self, key: &str) -> String {
        self.answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn client(&self, name: &str) -> Client {
        Client::new(&self.data(name))
    }

    /// Runs a command of this binary in a node's name, and shows it with its effect.
    async fn run(&mut self, name: &str, args: &[&str]) -> Result<(), DemoError> {
        let shown = args.iter().map(|arg| quoted(arg)).collect::<Vec<_>>().join(" ");
        let started = Instant::now();
        let output = Command::new(&self.exe)
            .args(args)
            .arg("--data")
            .arg(self.data(name))
            .arg("--json")
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(system("start a command"))?;
        let took = started.elapsed().as_secs_f64() * 1e3;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(DemoError::Command { command: format!("lbm {shown}"), said });
        }
        // `group join` streams its progress; its answer is the last line, as that of the others is the only one.
        let text = String::from_utf8_lossy(&output.stdout);
        self.answer = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(Value::Null);
        let effect = effect(&self.answer);
        self.say(&format!("  {name:5} $ lbm {shown}\n        {effect}  ({took:.0} ms)"));
        Ok(())
    }

    async fn ctl(&mut self, name: &str, args: &[&str]) -> Result<(), DemoError> {
        let args: Vec<&str> = std::iter::once("ctl").chain(args.iter().copied()).collect();
        self.run(name, &args).await
    }

    async fn publish(&mut self, name: &str, text: &str, tags: &str) -> Result<(), DemoError> {
        self.ctl(name, &["claim", "publish", "--group", "domain:research", "--text", text, "--tags", tags]).await
    }

    async fn start(&mut self, name: &str) -> Result<(), DemoError> {
        self.run(name, &["init", "--name", name]).await?;
        self.start_daemon(name).await
    }

    async fn start_daemon(&mut self, name: &str) -> Result<(), DemoError> {
        let started = Instant::now();
        let mut daemon = Command::new(&self.exe)
            .args(["node", "--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--log-level", "error", "--data"])
            .arg(self.data(name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(system("start a daemon"))?;
        let stdout = daemon.stdout.take();
        self.daemons.push((name.to_owned(), daemon));
        let mut line = String::new();
        if let Some(stdout) = stdout {
            let mut reader = BufReader::new(stdout);
            let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line));
            read.await.map_err(|_| late("a daemon gets ready"))?.map_err(system("hear a daemon"))?;
        }
        if !line.starts_with("ready") {
            return Err(DemoError::Wrong("a daemon did not start: run `lbm-node` by hand to see why"));
        }
        let took = started.elapsed().as_secs_f64() * 1e3;
        self.say(&format!("  {name:5} $ lbm-node\n        ready, with all that is on its disk  ({took:.0} ms)"));
        Ok(())
    }

    /// Ends a daemon as a power cut would.
    async fn kill(&mut self, name: &str) -> Result<(), DemoError> {
        let Some(at) = self.daemons.iter().position(|(daemon, _)| daemon == name) else {
            return Err(DemoError::Wrong("no such daemon"));
        };
        let (_, mut daemon) = self.daemons.swap_remove(at);
        daemon.kill().await.map_err(system("kill a daemon"))?;
        self.say(&format!("  {name:5} $ kill -9 lbm-node"));
        Ok(())
    }

    /// Ends all daemons, and comes back when they are gone: only then may their folders go.
    async fn end(&mut self) -> Result<(), DemoError> {
        for (_, daemon) in &mut self.daemons {
            daemon.start_kill().map_err(system("end a daemon"))?;
        }
        for (_, mut daemon) in self.daemons.drain(..) {
            daemon.wait().await.map_err(system("wait for a daemon to end"))?;
        }
        Ok(())
    }

    async fn node_id(&self, name: &str) -> Result<String, DemoError> {
        Ok(self.client(name).status().await?.node_id)
    }

    /// Connects two nodes, as mDNS does by itself between two machines.
    async fn meet(&mut self, name: &str, other: &str) -> Result<(), DemoError> {
        let address = self.client(other).status().await?.listen.into_iter().next().unwrap_or_default();
        self.ctl(name, &["peer", "add", "--addr", &address, "--alias", other]).await
    }

    /// Cuts a node off from all others.
    async fn part_ways(&mut self, name: &str) -> Result<(), DemoError> {
        let id = self.node_id(name).await?;
        let others: Vec<String> =
            self.daemons.iter().map(|(other, _)| other.clone()).filter(|other| other != name).collect();
        for other in &others {
            let other_id = self.node_id(other).await?;
            self.client(other).remove_peer(&id).await?;
            self.client(name).remove_peer(&other_id).await?;
        }
        let began = Instant::now();
        while self.client(name).status().await?.peers > 0 {
            pause(began, "a node is cut off").await?;
        }
        self.say(&format!("  {name} has no connection to anybody."));
        Ok(())
    }

    async fn wait_for_claim(
        &self,
        name: &str,
        group: &str,
        claim: &str,
        since: Instant,
    ) -> Result<Duration, DemoError> {
        let client = self.client(name);
        loop {
            match client.claim(group, claim).await {
                Ok(_) => return Ok(since.elapsed()),
                Err(error) if error.problem().is_some() => pause(since, "a claim arrives").await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn wait_for_count(&mut self, name: &str, group: &str, count: usize) -> Result<(), DemoError> {
        let (client, began) = (self.client(name), Instant::now());
        let all = ListClaims { limit: Some(100), cursor: None };
        while client.claims(group, &all).await?.claims.len() < count {
            pause(began, "all claims arrive").await?;
        }
        let took = began.elapsed().as_secs_f64() * 1e3;
        self.say(&format!("  {name} has all {count} claims  (waited {took:.0} ms)"));
        Ok(())
    }
}

impl Stage<'_> {
    /// Waits until all nodes have the same blocks, and a seal covers each.
    async fn wait_until_final(&mut self, group: &str) -> Result<(), DemoError> {
        let began = Instant::now();
        loop {
            let mut seen = Vec::new();
            for (name, _) in &self.daemons {
                let shown = self.client(name).group(group).await?;
                seen.push((shown.heads, shown.group.blocks, shown.final_blocks));
            }
            let first = seen.first();
            if seen
                .iter()
                .all(|(heads, blocks, sealed)| blocks == sealed && first == Some(&(heads.clone(), *blocks, *sealed)))
            {
                break;
            }
            pause(began, "everything is final").await?;
        }
        let took = began.elapsed().as_secs_f64() * 1e3;
        self.say(&format!(
            "  Alice, the group's notary, has sealed it: nothing can be put before it any more  (waited {took:.0} ms)"
        ));
        Ok(())
    }
}

fn late(what: &'static str) -> DemoError {
    DemoError::Late { what, seconds: PATIENCE.as_secs() }
}

async fn pause(since: Instant, what: &'static str) -> Result<(), DemoError> {
    if since.elapsed() > PATIENCE {
        return Err(late(what));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    Ok(())
}

/// An argument as one would type it.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_:/.,=".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        if arg.len() > 52 && !Path::new(arg).is_absolute() { short(arg).to_string() + "…" } else { arg.to_owned() }
    } else {
        format!("\"{arg}\"")
    }
}

/// An answer in a few words.
fn effect(answer: &Value) -> String {
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let number = |key: &str| answer.get(key).and_then(Value::as_u64);
    if let Some(claim) = text("claim_hash") {
        return format!("claim {}", short(claim));
    }
    if let (Some(hash), Some(blocks)) = (text("state_hash"), number("blocks")) {
        return format!("{blocks} blocks verified, state {}", short(hash));
    }
    if let (Some(items), Some(_)) = (answer.get("items").and_then(Value::as_array), text("context")) {
        return format!("a context of {}", count(items.len() as u64, "claim"));
    }
    if let (Some(member), Some(role)) = (text("member_id"), text("role")) {
        return format!("{role} {}…", member.get(..16).unwrap_or(member));
    }
    if let Some(peer) = text("peer_id") {
        return format!("peer {}…", peer.get(..16).unwrap_or(peer));
    }
    if let (Some(group), Some(name)) = (text("group_id"), text("name")) {
        return format!("group {name} ({})", short(group));
    }
    if let (Some(id), Some(_)) = (text("node_id"), text("data")) {
        return format!("identity {}…", id.get(..16).unwrap_or(id));
    }
    "done".to_owned()
}
