//! `lbm ctl claim publish|retract|list|show|thread|recent`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};

use super::node::{more, tail};
use super::{GroupFlag, bulk};
use crate::api::types::{Claim, ClaimList, ListClaims, NewClaim, PublishedClaim, RecentClaims, RetractedClaim, Thread};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::{STANDARD_INPUT, Session};
use crate::cli::text::{Table, fields, harmless, one_line, short};
use crate::cli::when::{When, ago, full, parse_when};
use crate::limits;

/// What to do with claims.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ClaimCommand {
    /// Publish one claim, or many from a file
    Publish(PublishArgs),
    /// Take a claim back: its author or an admin can
    Retract(OneClaim),
    /// The claims as they came here, the last one first
    List(ListArgs),
    /// One claim in full
    Show(OneClaim),
    /// The whole thread that a claim stands in
    Thread(OneClaim),
    /// The newest claims first
    Recent(RecentArgs),
}

/// Arguments of `lbm ctl claim publish`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(group = ArgGroup::new("content").required(true).args(["text", "file"]))]
pub struct PublishArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// What is claimed; - reads it from standard input, without its last line end
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// One line above it
    #[arg(long, value_name = "TITLE", allow_hyphen_values = true, conflicts_with = "file")]
    title: Option<String>,
    /// Its tags
    #[arg(long, value_name = "TAG,…", value_delimiter = ',', conflicts_with = "file")]
    tags: Vec<String>,
    /// The claim that it answers: its hash or a unique prefix
    #[arg(long, value_name = "HASH", conflicts_with = "file")]
    parent: Option<String>,
    /// Many claims, one JSON object a line: {"text","title","tags","parent_hash"}; - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Arguments of a command on one claim.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneClaim {
    /// Claim: its hash or a unique prefix
    #[arg(value_name = "HASH")]
    claim: String,
    #[command(flatten)]
    group: GroupFlag,
}

/// Arguments of `lbm ctl claim list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ListArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_DEFAULT_ROWS)]
    limit: usize,
    /// Where the list before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Arguments of `lbm ctl claim recent`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RecentArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Nothing older than this: 2h, 3d, 2026-11-22, RFC 3339 or milliseconds
    #[arg(long, value_name = "WHEN", value_parser = parse_when)]
    since: Option<When>,
}

/// Tags as they were typed after one another or with commas: no spaces around, none empty.
pub(super) fn tags(typed: &[String]) -> Vec<String> {
    typed.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

pub(super) async fn run(command: &ClaimCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        ClaimCommand::Publish(args) => return publish(args, session).await,
        ClaimCommand::List(args) => {
            let answer = list(args, session).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Retract(args) => {
            let answer = session.client.retract_claim(&args.group.group, &args.claim).await?;
            session.wrote(&args.group.group, answer).await?;
        }
        ClaimCommand::Show(args) => {
            let answer = session.client.claim(&args.group.group, &args.claim).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Thread(args) => {
            let answer = session.client.thread(&args.group.group, &args.claim).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Recent(args) => {
            let since_ms = args.since.map(|when| when.resolve(session.now_ms));
            let query = RecentClaims { limit: Some(args.limit), since_ms };
            query.check()?;
            let answer = session.client.recent_claims(&args.group.group, &query).await?;
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

async fn publish(args: &PublishArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    if let Some(file) = &args.file {
        return bulk::publish(&args.group.group, file, session).await;
    }
    let text = match args.text.as_deref() {
        Some(STANDARD_INPUT) => {
            // One byte more than a claim may have: for the line end that `echo` adds.
            let text = session.read_text(Path::new(STANDARD_INPUT), limits::CLAIM_TEXT_BYTES + 1)?;
            let text = text.strip_suffix('\n').unwrap_or(&text);
            text.strip_suffix('\r').unwrap_or(text).to_owned()
        }
        text => text.unwrap_or_default().to_owned(),
    };
    let claim = NewClaim { text, title: args.title.clone(), tags: tags(&args.tags), parent_hash: args.parent.clone() };
    claim.check()?;
    let answer = session.client.publish_claim(&args.group.group, &claim).await?;
    session.wrote(&args.group.group, answer).await?;
    Ok(Outcome::Done)
}

/// One page, or as many as it takes for the number that was asked for.
async fn list(args: &ListArgs, session: &Session<'_>) -> Result<ClaimList, CliError> {
    let mut list = ClaimList { claims: Vec::new(), next_cursor: args.cursor.clone() };
    loop {
        let limit = (args.limit - list.claims.len().min(args.limit)).min(limits::PAGE_ROWS);
        let query = ListClaims { limit: Some(limit), cursor: list.next_cursor.take() };
        query.check()?;
        let page = session.client.claims(&args.group.group, &query).await?;
        let is_empty = page.claims.is_empty();
        list.claims.extend(page.claims);
        list.next_cursor = page.next_cursor;
        if list.claims.len() >= args.limit || list.next_cursor.is_none() || is_empty {
            return Ok(list);
        }
    }
}

impl Render for At<PublishedClaim> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Published {}", one_line(&self.answer.claim_hash, 100))
    }
}

impl Render for At<RetractedClaim> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Retracted {}", one_line(&self.answer.claim_hash, 100))
    }
}

/// What a table shows of a claim: its title where it has one, else the beginning of its text.
fn gist(claim: &Claim) -> String {
    let gist = claim.title.as_deref().unwrap_or(&claim.text);
    if claim.retracted { format!("(retracted) {gist}") } else { gist.to_owned() }
}

impl Render for At<ClaimList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["CLAIM", "AUTHOR", "WHEN", "TAGS", "TEXT"]);
        for claim in &self.answer.claims {
            let (tags, when) = (claim.tags.join(","), ago(claim.created_ms, self.now_ms));
            table.row([short(&claim.claim_hash), &tail(&claim.author), &when, &tags, &gist(claim)]);
        }
        if table.is_empty() {
            return writeln!(out, "No claims.");
        }
        table.write(out)?;
        more(out, self.answer.next_cursor.as_deref())
    }
}

impl Render for At<Claim> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let claim = &self.answer;
        let mut rows = vec![("claim", claim.claim_hash.clone())];
        rows.extend(claim.title.clone().map(|title| ("title", title)));
        rows.push(("author", claim.author.clone()));
        rows.push(("created", format!("{} ({})", full(claim.created_ms), ago(claim.created_ms, self.now_ms))));
        if !claim.tags.is_empty() {
            rows.push(("tags", claim.tags.join(", ")));
        }
        rows.extend(claim.parent_hash.clone().map(|parent| ("answers", parent)));
        let state = match (claim.retracted, claim.is_final) {
            (true, _) => "retracted",
            (false, true) => "final",
            (false, false) => "pending",
        };
        rows.push(("state", state.to_owned()));
        fields(out, &rows)?;
        writeln!(out, "\n{}", harmless(&claim.text).trim_end())
    }
}

impl Render for At<Thread> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        for row in &self.answer.claims {
            let indent = "  ".repeat(row.depth.min(20));
            let (when, author) = (ago(row.claim.created_ms, self.now_ms), tail(&row.claim.author));
            let (hash, gist) = (short(&row.claim.claim_hash), one_line(&gist(&row.claim), 100));
            writeln!(out, "{indent}{}  {gist}  ({}, {when})", one_line(hash, 100), one_line(&author, 100))?;
        }
        match self.answer.left_out {
            0 => Ok(()),
            left_out => writeln!(out, "… and {left_out} more"),
        }
    }
}
