//! `lbm ctl context`, and `lbm ctl experience submit`.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::GroupFlag;
use super::claim::tags;
use crate::api::types::{Context, ContextQuery, ExperienceSubmitted, SubmitExperience};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{harmless, one_line};
use crate::cli::when::{When, parse_when};
use crate::identity::Identity;
use crate::limits;

/// Arguments of `lbm ctl context`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ContextArgs {
    /// What to look for
    #[arg(value_name = "QUERY")]
    query: String,
    #[command(flatten)]
    group: GroupFlag,
    /// At most so many claims [default: 8]
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// At most about so many tokens
    #[arg(long, value_name = "TOKENS")]
    budget: Option<usize>,
    /// Only claims since then: 2h, 3d, 2026-11-22, RFC 3339 or milliseconds
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    since: Option<When>,
    /// Only claims before then
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    until: Option<When>,
    /// Only claims with all of these tags
    #[arg(long = "tag", alias = "tags", value_name = "TAG,…", value_delimiter = ',')]
    tags: Vec<String>,
    /// Only claims of this author: a peer id
    #[arg(long, value_name = "ID")]
    author: Option<Identity>,
    /// Only claims of the thread that this one stands in: its hash or a unique prefix
    #[arg(long, value_name = "HASH")]
    thread: Option<String>,
}

/// What to do with experiences.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ExperienceCommand {
    /// Submit the record of an agent's run
    Submit(SubmitArgs),
}

/// Arguments of `lbm ctl experience submit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SubmitArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// The record, as text of any form; - for standard input
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

pub(super) async fn run(args: &ContextArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let query = ContextQuery {
        query: args.query.clone(),
        top_k: args.top_k,
        budget_tokens: args.budget,
        since_ms: args.since.map(|when| when.resolve(session.now_ms)),
        until_ms: args.until.map(|when| when.resolve(session.now_ms)),
        tags: tags(&args.tags),
        author: args.author,
        thread: args.thread.clone(),
    };
    query.check()?;
    let answer = session.client.context(&args.group.group, &query).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn run_experience(
    command: &ExperienceCommand,
    session: &mut Session<'_>,
) -> Result<Outcome, CliError> {
    let ExperienceCommand::Submit(args) = command;
    let content = session.read_text(&args.file, limits::EXPERIENCE_BYTES)?;
    let experience = SubmitExperience { content };
    experience.check()?;
    let answer = session.client.submit_experience(&args.group.group, &experience).await?;
    session.wrote(&args.group.group, answer).await?;
    Ok(Outcome::Done)
}

impl Render for At<Context> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(percent) = self.answer.indexed_percent {
            writeln!(out, "The index is being rebuilt: {percent} % of the group's history was looked at.")?;
        }
        if self.answer.context.is_empty() {
            return writeln!(out, "The budget has no room for a context.");
        }
        let text = harmless(&self.answer.context);
        writeln!(out, "{}", text.trim_end())
    }
}

impl Render for At<ExperienceSubmitted> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Submitted {}", one_line(&self.answer.experience_hash, 100))
    }
}
