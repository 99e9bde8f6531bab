//! `lbm ctl presence set|list`.

use std::io::{self, Write};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value};

use super::GroupFlag;
use crate::api::types::{ListPresence, PresenceList, PresenceSet, PresenceStatus, SetPresence};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, one_line, short};
use crate::cli::when::ago;

/// What can be done with presence.
#[derive(Debug, Clone, Subcommand)]
pub enum PresenceCommand {
    /// Say what this node is up to; repeat it as a sign of life
    Set(SetArgs),
    /// What the members of a group say of themselves, the last first
    List(ListArgs),
}

/// A status on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusArg {
    /// At work
    Active,
    /// Here, with nothing to do
    Idle,
    /// Here, and not to be given more
    Busy,
    /// Gone
    Offline,
}

impl From<StatusArg> for PresenceStatus {
    fn from(status: StatusArg) -> Self {
        match status {
            StatusArg::Active => Self::Active,
            StatusArg::Idle => Self::Idle,
            StatusArg::Busy => Self::Busy,
            StatusArg::Offline => Self::Offline,
        }
    }
}

/// Arguments of `lbm ctl presence set`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SetArgs {
    /// What this node is up to
    #[arg(value_enum, value_name = "STATUS")]
    status: StatusArg,
    #[command(flatten)]
    group: GroupFlag,
    /// Whatever else the members may know: a JSON object of at most 4096 bytes
    #[arg(long, value_name = "JSON", value_parser = metadata)]
    metadata: Option<Map<String, Value>>,
}

/// Arguments of `lbm ctl presence list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ListArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Age past which a member counts as stale, milliseconds; 300000 where it is not given
    #[arg(long, value_name = "MS")]
    stale_threshold: Option<u64>,
}

fn metadata(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| format!("give a JSON object, such as {{\"task\":\"review\"}} ({error})"))
}

pub(super) async fn run(command: &PresenceCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        PresenceCommand::Set(args) => {
            let request = SetPresence { status: args.status.into(), metadata: args.metadata.clone() };
            request.check()?;
            let answer = session.client.set_presence(&args.group.group, &request).await?;
            session.answer(answer)?;
        }
        PresenceCommand::List(args) => {
            let query = ListPresence { stale_threshold_ms: args.stale_threshold };
            let answer = session.client.presence(&args.group.group, &query).await?;
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

impl Render for At<PresenceSet> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let PresenceSet { group_id, member_id, status, .. } = &self.answer;
        writeln!(out, "{} is {status} in {}.", one_line(member_id, 100), short(group_id))
    }
}

impl Render for At<PresenceList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["MEMBER", "NAME", "STATUS", "SAID", "METADATA"]);
        for row in &self.answer.presence {
            let status = if row.is_stale { format!("{} (stale)", row.status) } else { row.status.to_string() };
            let metadata = row.metadata.as_ref().map(|object| serde_json::to_string(object).unwrap_or_default());
            let name = if row.is_self { "this node" } else { row.name.as_deref().unwrap_or("-") };
            let said = ago(row.updated_ms, self.now_ms);
            table.row([&row.member_id, name, &status, &said, metadata.as_deref().unwrap_or("-")]);
        }
        if table.is_empty() {
            return writeln!(out, "Nobody has said anything since this node started.");
        }
        table.write(out)
    }
}
