//! `lbm ctl subscription list|add|set|remove`.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, Subcommand};

use super::GroupFlag;
use crate::api::types::{SetSubscription, Subscription, SubscriptionList};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, one_line, short};
use crate::cli::when::{ago, parse_span};

/// What to do with subscriptions. Every group that this node keeps has one.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum SubscriptionCommand {
    /// How each group is synced
    List,
    /// Choose a peer to ask for a group: from the first on, only those who are chosen are asked
    Add(PeerArgs),
    /// Change how a group is synced
    Set(SetArgs),
    /// Ask a peer for a group no more; without one, sync the group as the settings say
    Remove(RemoveArgs),
}

/// A group and a peer.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PeerArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Peer: its id or its alias
    #[arg(long, value_name = "PEER")]
    peer: String,
}

/// Arguments of `lbm ctl subscription set`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[group(id = "change", required = true, multiple = true, args = ["interval", "pause", "resume"])]
pub struct SetArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Pause between two repair pulls from one peer, like 30s
    #[arg(long, value_name = "SPAN", value_parser = parse_seconds)]
    interval: Option<Duration>,
    /// Take nothing in until it is resumed; members may ask this node all the same
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Go on, and pull at once
    #[arg(long)]
    resume: bool,
}

/// Arguments of `lbm ctl subscription remove`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Peer: its id or its alias
    #[arg(long, value_name = "PEER")]
    peer: Option<String>,
}

/// A span of whole seconds.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.to_string())?;
    if span.is_zero() || span.subsec_nanos() > 0 {
        return Err("an interval has whole seconds, at least one: like 30s".to_owned());
    }
    Ok(span)
}

pub(super) async fn run(command: &SubscriptionCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let (group, request) = match command {
        SubscriptionCommand::List => {
            let answer = session.client.subscriptions().await?;
            session.answer(answer)?;
            return Ok(Outcome::Done);
        }
        SubscriptionCommand::Add(args) => {
            (&args.group, SetSubscription { add_peers: vec![args.peer.clone()], ..SetSubscription::default() })
        }
        SubscriptionCommand::Set(args) => {
            let paused = (args.pause || args.resume).then_some(args.pause);
            let interval_s = args.interval.map(|span| span.as_secs());
            (&args.group, SetSubscription { interval_s, paused, ..SetSubscription::default() })
        }
        SubscriptionCommand::Remove(args) => {
            let remove_peers: Vec<String> = args.peer.iter().cloned().collect();
            (
                &args.group,
                SetSubscription { reset: remove_peers.is_empty(), remove_peers, ..SetSubscription::default() },
            )
        }
    };
    request.check()?;
    let answer = session.client.set_subscription(&group.group, &request).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

fn table<'a>(rows: impl IntoIterator<Item = &'a Subscription>, now_ms: u64) -> Table {
    let mut table = Table::new(&["GROUP", "NAME", "MODE", "EVERY#", "ASKS", "LAST SYNC", "FAILING#"]);
    for row in rows {
        let interval = format!("{}s", row.interval_s);
        let asks = if row.peers.is_empty() { "all".to_owned() } else { row.peers.join(" ") };
        let last = row.last_sync_ms.map_or_else(|| "never".to_owned(), |at_ms| ago(at_ms, now_ms));
        let (name, failing) = (row.name.as_deref().unwrap_or("-"), row.failing.len().to_string());
        let asks = one_line(&asks, 120);
        table.row([short(&row.group_id), name, row.mode.word(), &interval, &asks, &last, &failing]);
    }
    table
}

impl Render for At<SubscriptionList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.answer.subscriptions.is_empty() {
            return writeln!(out, "There is no group: `lbm ctl group join` starts to replicate one.");
        }
        table(&self.answer.subscriptions, self.now_ms).write(out)
    }
}

impl Render for At<Subscription> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        table([&self.answer], self.now_ms).write(out)
    }
}
