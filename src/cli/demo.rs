//! `lbm demo`: real daemons on this machine play the story, every command is shown with its effect and the time it took.
//!
//! The daemons are this binary's own, in a folder of their own, and talk over loopback only. **Nothing is left behind**: at the
//! end, on a failure and on a signal to stop they are ended and the folder is removed.

mod agents;
mod effect;
mod mcp;
mod stage;

use std::io::Write;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use self::stage::{Stage, system};
use super::error::{CliError, Outcome};
use crate::api::client::ClientError;

/// Arguments of `lbm demo`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// Which story; without it, the one of three machines
    #[arg(value_enum, value_name = "STORY")]
    pub story: Option<Story>,
    /// Keep the data folders, and say where they are
    #[arg(long)]
    pub keep: bool,
}

/// Stories besides the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Story {
    /// An architect, a developer and a reviewer, each an agent with a key of its own, build a small API by MCP
    Agents,
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
    /// Tokens that there are at the end, each on an account, in the treasury or set aside.
    total_supply: u64,
    /// The state's hash, equal on all nodes.
    state_hash: String,
    /// How long the whole story took, seconds.
    seconds: f64,
}

/// What either story comes to.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Told {
    Machines(Summary),
    Agents(agents::Summary),
}

/// Plays a story.
///
/// # Errors
/// [`DemoError`], after everything has been cleaned up.
pub fn run(args: &DemoArgs, json: bool, out: &mut dyn Write) -> Result<Outcome, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    let mut nothing = std::io::sink();
    let summary = runtime.block_on(async {
        let mut stage = Stage::set(if json { &mut nothing } else { &mut *out }, args.keep)?;
        let told = tokio::select! {
            told = tell_any(&mut stage, args.story) => told,
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

async fn tell_any(stage: &mut Stage<'_>, story: Option<Story>) -> Result<Told, DemoError> {
    match story {
        None => tell(stage).await.map(Told::Machines),
        Some(Story::Agents) => agents::tell(stage).await.map(Told::Agents),
    }
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

/// Everybody who plays as a member.
const ALL: [&str; 3] = ["alice", "bob", "carol"];
/// The group's name.
const GROUP: &str = "domain:research";

/// The story.
async fn tell(stage: &mut Stage<'_>) -> Result<Summary, DemoError> {
    let began = Instant::now();
    stage.say("Three machines and a stranger's, played by daemons on this one. No server, no cloud.");
    stage.part("1. Each machine has a key and a daemon");
    for name in ALL {
        stage.start(name).await?;
    }
    stage.part("2. Alice founds a group with rules for its tokens, and lets the others in");
    let group = found(stage).await?;
    stage.part("3. What Alice learns, Bob knows at once");
    let propagation_ms = share(stage, &group).await?;
    stage.part("4. Work is handed over, and paid in the group's tokens");
    hand_over(stage, &group).await?;
    stage.part("5. The network breaks. Both sides go on, and two take the same task");
    write_apart(stage, &group).await?;
    stage.part("6. They meet again. Nothing is lost, and who was later is told");
    meet_again(stage, &group).await?;
    stage.part("7. What Alice knows besides, Carol buys: the package first, then the price, then its key");
    trade(stage, &group).await?;
    stage.part("8. A machine loses power");
    stage.kill("carol").await?;
    stage.start_daemon("carol").await?;
    stage.wait_for_count("carol", &group, 5).await?;
    stage.wait_until_final(&group, &ALL).await?;
    stage.part(
        "9. Dora, who is in no group and has met Carol alone, buys from Alice: the announcement says where she is",
    );
    buy_from_afar(stage).await?;
    stage.wait_until_final(&group, &ALL).await?;
    stage.part("10. All three check every signature, fold the history anew, and count every token");
    let (state_hash, total_supply) = check(stage, &group).await?;
    let seconds = began.elapsed().as_secs_f64();
    stage.say(&format!(
        "\nThe same five claims, the same {total_supply} tokens and the same state on all three, to the byte. {seconds:.1} s in all."
    ));
    Ok(Summary { propagation_ms, claims: 5, total_supply, state_hash, seconds })
}

async fn found(stage: &mut Stage<'_>) -> Result<String, DemoError> {
    stage.ctl("alice", &["group", "create", "--name", GROUP]).await?;
    let group = stage.last("group_id");
    let rules = ["faucet_amount=100", "claim_reward_amount=10", "transfer_fee_bps=1000", "max_total_supply=500"];
    let set: Vec<&str> = rules.iter().flat_map(|rule| ["--set", rule]).collect();
    stage.ctl("alice", &[&["group", "policy", "--group", GROUP], &set[..]].concat()).await?;
    for name in ["bob", "carol"] {
        let member = stage.node_id(name).await?;
        stage.ctl("alice", &["group", "add-member", "--group", GROUP, "--member", &member]).await?;
        stage.meet(name, "alice").await?;
        stage.ctl(name, &["group", "join", &group]).await?;
    }
    stage.meet("carol", "bob").await?;
    Ok(group)
}

async fn share(stage: &mut Stage<'_>, group: &str) -> Result<f64, DemoError> {
    let lesson = "Always validate inputs at the edge: reject what is malformed, before anything else sees it";
    let published = Instant::now();
    stage.publish("alice", lesson, "security,validation").await?;
    let claim = stage.last("claim_hash");
    let propagation_ms = stage.wait_for_claim("bob", group, &claim, published).await?.as_secs_f64() * 1e3;
    stage.say(&format!("  Bob has it {propagation_ms:.1} ms after Alice's command was started."));
    stage.publish("carol", "The nightly job crashed: the container ran out of memory", "ops").await?;
    let claim = stage.last("claim_hash");
    stage.wait_for_claim("bob", group, &claim, Instant::now()).await?;
    stage.ctl("bob", &["context", "how should I check user input?", "--group", GROUP]).await?;
    stage.say_text("context");
    stage.say("  And by meaning alone: of these words the claim has none.");
    stage.ctl("bob", &["context", "process killed by insufficient RAM", "--group", GROUP]).await?;
    if stage.answer.get("items").and_then(serde_json::Value::as_array).is_none_or(Vec::is_empty) {
        return Err(DemoError::Wrong("a question in other words found nothing"));
    }
    stage.say_text("context");
    Ok(propagation_ms)
}

async fn hand_over(stage: &mut Stage<'_>, group: &str) -> Result<(), DemoError> {
    let create = ["task", "create", "--group", GROUP, "--task"];
    stage.ctl("alice", &[&create[..], &["parse-logs", "--title", "Parse the logs", "--reward", "50"]].concat()).await?;
    stage.wait_for_task("bob", group, "parse-logs").await?;
    for step in ["claim", "start", "complete"] {
        stage.ctl("bob", &["task", step, "parse-logs", "--group", GROUP]).await?;
    }
    stage.ctl("bob", &["token", "balance", "--group", GROUP]).await?;
    let carol = stage.node_id("carol").await?;
    let gift = ["token", "transfer", "--group", GROUP, "--to", &carol, "--amount", "40"];
    stage.ctl("bob", &[&gift[..], &["--wait-final"]].concat()).await?;
    let mint = ["token", "mint", "--group", GROUP, "--to", &carol, "--amount", "400"];
    stage.refused("alice", &mint).await?;
    stage
        .ctl("alice", &[&create[..], &["write-report", "--title", "Write the report", "--reward", "20"]].concat())
        .await?;
    for name in ["bob", "carol"] {
        stage.wait_for_task(name, group, "write-report").await?;
    }
    Ok(())
}

async fn write_apart(stage: &mut Stage<'_>, group: &str) -> Result<(), DemoError> {
    stage.part_ways("bob").await?;
    let claim = ["task", "claim", "write-report", "--group", GROUP];
    stage.ctl("carol", &[&claim[..], &["--wait-final"]].concat()).await?;
    stage.ctl("bob", &claim).await?;
    stage.publish("alice", "Retry with jitter, or every client comes back at the same moment", "network").await?;
    stage.publish("bob", "Log the peer id on each refused request, never the payload", "security,logging").await?;
    stage.publish("bob", "A queue without a bound is a crash with a delay", "design").await?;
    // Carol goes off later, with all that her side has written.
    stage.wait_for_count("carol", group, 3).await
}

async fn meet_again(stage: &mut Stage<'_>, group: &str) -> Result<(), DemoError> {
    stage.meet("bob", "alice").await?;
    stage.meet("bob", "carol").await?;
    for name in ALL {
        stage.wait_for_count(name, group, 5).await?;
    }
    stage.wait_for_refusal("bob", group).await?;
    stage.ctl("bob", &["rejected", "--group", GROUP]).await?;
    let bob = stage.node_id("bob").await?;
    let pay = ["token", "pay", "--group", GROUP, "--to", &bob, "--amount", "4", "--wait-final"];
    stage.ctl("alice", &pay).await
}

/// One sells, another buys.
async fn trade(stage: &mut Stage<'_>, group: &str) -> Result<(), DemoError> {
    let secret = "Warm the cache before noon: the report of 12:00 reads all of it";
    let create = ["offer", "create", "--group", GROUP, "--title", "Why the noon report is slow", "--text", secret];
    stage.ctl("alice", &[&create[..], &["--price", "30", "--tags", "cache"]].concat()).await?;
    let offer = stage.last("offer_id");
    stage.wait_for_offer("carol", &offer).await?;
    stage.ctl("carol", &["offer", "list", "--tag", "cache", "--max-price", "50"]).await?;
    for name in ["alice", "carol"] {
        stage.ctl(name, &["token", "balance", "--group", GROUP]).await?;
    }
    stage.ctl("carol", &["offer", "buy", &offer, "--print"]).await?;
    stage.say_text("text");
    stage.wait_for_sale("alice", group, &offer).await?;
    for name in ["alice", "carol"] {
        stage.ctl(name, &["token", "balance", "--group", GROUP]).await?;
    }
    stage.ctl("carol", &["offer", "buy", &offer]).await
}

/// One who is in no group buys of a seller whose address nobody has told it.
async fn buy_from_afar(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    stage.start("dora").await?;
    stage.meet("dora", "carol").await?;
    let dora = stage.node_id("dora").await?;
    stage.ctl("alice", &["token", "mint", "--group", GROUP, "--to", &dora, "--amount", "30"]).await?;
    let create = ["offer", "create", "--group", GROUP, "--title", "Which disk fails next", "--price", "25"];
    stage
        .ctl("alice", &[&create[..], &["--tags", "disks", "--text", "The one that counts its sectors anew"]].concat())
        .await?;
    let offer = stage.last("offer_id");
    stage.ctl("dora", &["market", "pull"]).await?;
    stage.wait_for_offer("dora", &offer).await?;
    stage.ctl("dora", &["offer", "list", "--tag", "disks"]).await?;
    stage.ctl("dora", &["offer", "buy", &offer, "--print"]).await?;
    stage.say_text("text");
    Ok(())
}

/// The hash of the state and the tokens that there are, which are the same everywhere.
async fn check(stage: &mut Stage<'_>, group: &str) -> Result<(String, u64), DemoError> {
    let mut seen = Vec::new();
    for name in ALL {
        stage.ctl(name, &["group", "verify", GROUP]).await?;
        if !stage.answer.get("ok").is_some_and(|ok| ok == true) {
            return Err(DemoError::Wrong("a node's history does not verify"));
        }
        let state = stage.last("state_hash");
        seen.push((state, stage.count_tokens(name, group, &[&ALL[..], &["dora"]].concat()).await?));
    }
    stage.ctl("alice", &["group", "stats", GROUP]).await?;
    let first = seen.swap_remove(0);
    if seen.iter().any(|other| *other != first) {
        return Err(DemoError::Wrong("the nodes do not agree on the state"));
    }
    Ok(first)
}
