//! `lbm ctl claim publish|retract|list|show|thread|recent|watch`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand};

use super::node::{more, tail};
use super::watch::{self, WatchArgs};
use super::{GroupFlag, bulk};
use crate::api::types::{
    Claim, ClaimList, Evidence, FieldError, ListClaims, NewClaim, PublishedClaim, RecentClaims, RetractedClaim,
    ShowThread, Thread,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::{STANDARD_INPUT, Session};
use crate::cli::text::{Table, fields, harmless, one_line, short};
use crate::cli::when::{When, ago, full, parse_due, parse_when};
use crate::limits;

/// What to do with claims.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ClaimCommand {
    /// Publish one claim, or many from a file
    Publish(Box<PublishArgs>),
    /// Take a claim back: its author or an admin can
    Retract(OneClaim),
    /// The claims as they came here, the last one first
    List(ListArgs),
    /// One claim in full
    Show(OneClaim),
    /// The thread that a claim stands in, as a tree; of a long one what is nearest to the claim
    Thread(ThreadArgs),
    /// The newest claims first, by their authors' clocks
    Recent(RecentArgs),
    /// Claims as they come to this node: one line each as they come, or what came behind a cursor
    Watch(WatchArgs),
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
    /// A claim whose place it takes: its hash or a unique prefix. One's own, or for an admin anybody's
    #[arg(long, value_name = "HASH,…", value_delimiter = ',', conflicts_with = "file")]
    supersedes: Vec<String>,
    /// When it is no longer true: 3d, 2026-12-24, RFC 3339 or milliseconds
    #[arg(long, value_name = "WHEN", value_parser = parse_due, conflicts_with = "file")]
    valid_until: Option<When>,
    #[command(flatten)]
    evidence: EvidenceArgs,
    /// Many claims, one JSON object a line: {"text","title","tags","parent_hash","supersedes","valid_until_ms","evidence"}; - for
    /// standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What proves a claim, each as often as needed.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct EvidenceArgs {
    /// A command that was run to see it
    #[arg(long, value_name = "COMMAND", allow_hyphen_values = true, conflicts_with = "file")]
    evidence_command: Vec<String>,
    /// The code with which that command ended, from -1 (which is 255) to 255; for several commands one each, in their order
    #[arg(long, value_name = "N", value_parser = exit_code, allow_negative_numbers = true, requires = "evidence_command",
          conflicts_with = "file")]
    exit_code: Vec<u32>,
    /// The hash of what was looked at, like sha256:… or a commit
    #[arg(long, value_name = "HASH", conflicts_with = "file")]
    evidence_hash: Vec<String>,
    /// Where it can be looked at: a URL, or a place in a file
    #[arg(long, value_name = "LINK", conflicts_with = "file")]
    evidence_link: Vec<String>,
    /// Anything else, in a sentence
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with = "file")]
    evidence_note: Vec<String>,
}

/// An exit code as a shell shows it. Who ends with -1 is seen to end with 255.
fn exit_code(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(-1_i16) => Ok(255),
        Ok(code) => u8::try_from(code).map(u32::from).map_err(|_| ()),
        Err(_) => Err(()),
    }
    .map_err(|()| "an exit code is a number from -1 to 255".to_owned())
}

impl EvidenceArgs {
    fn evidence(&self) -> Result<Vec<Evidence>, CliError> {
        let (commands, codes) = (self.evidence_command.len(), self.exit_code.len());
        if codes > 0 && codes != commands {
            return Err(CliError::ExitCodes { commands, codes });
        }
        let commands = self.evidence_command.iter().enumerate().map(|(at, command)| Evidence::Command {
            command: command.clone(),
            exit_code: self.exit_code.get(at).copied(),
        });
        let hashes = self.evidence_hash.iter().map(|hash| Evidence::Hash { hash: hash.clone() });
        let links = self.evidence_link.iter().map(|link| Evidence::Link { link: link.clone() });
        let notes = self.evidence_note.iter().map(|note| Evidence::Note { note: note.clone() });
        Ok(commands.chain(hashes).chain(links).chain(notes).collect())
    }
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

impl OneClaim {
    /// An empty hash, as a script may give, would be a path to somewhere else.
    fn check(&self) -> Result<(), FieldError> {
        if self.claim.trim().is_empty() { Err(FieldError::Empty { field: "HASH" }) } else { Ok(()) }
    }
}

/// Arguments of `lbm ctl claim thread`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ThreadArgs {
    #[command(flatten)]
    of: OneClaim,
    /// At most so many, up to 1000
    #[arg(long, value_name = "N", default_value_t = limits::PAGE_ROWS)]
    limit: usize,
    /// Where the page before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
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
    /// Where the list before ended: its next_cursor
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Tags as they were typed after one another or with commas: no spaces around, none empty.
pub(super) fn tags(typed: &[String]) -> Vec<String> {
    typed.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

pub(super) async fn run(command: &ClaimCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        ClaimCommand::Publish(args) => return publish(args, session).await,
        ClaimCommand::List(args) => {
            let ask = async |limit, cursor| {
                let query = ListClaims { limit: Some(limit), cursor };
                query.check()?;
                Ok(session.client.claims(&args.group.group, &query).await?)
            };
            let answer = pages(args.limit, args.cursor.clone(), ask).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Retract(args) => {
            args.check()?;
            let answer = session.client.retract_claim(&args.group.group, &args.claim).await?;
            session.wrote(&args.group.group, answer).await?;
        }
        ClaimCommand::Show(args) => {
            args.check()?;
            let answer = session.client.claim(&args.group.group, &args.claim).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Thread(args) => {
            let ThreadArgs { of, limit, cursor } = args;
            of.check()?;
            let query = ShowThread { limit: Some(*limit), cursor: cursor.clone() };
            query.check()?;
            let answer = session.client.thread(&of.group.group, &of.claim, &query).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Recent(args) => {
            let since_ms = args.since.map(|when| when.resolve(session.now_ms));
            let ask = async |limit, cursor| {
                let query = RecentClaims { limit: Some(limit), since_ms, cursor };
                query.check()?;
                Ok(session.client.recent_claims(&args.group.group, &query).await?)
            };
            let answer = pages(args.limit, args.cursor.clone(), ask).await?;
            session.answer(answer)?;
        }
        ClaimCommand::Watch(args) => watch::run(args, session).await?,
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
    let claim = NewClaim {
        text,
        title: args.title.clone(),
        tags: tags(&args.tags),
        parent_hash: args.parent.clone(),
        evidence: args.evidence.evidence()?,
        supersedes: args.supersedes.clone(),
        valid_until_ms: args.valid_until.map(|when| when.resolve(session.now_ms)),
    };
    claim.check()?;
    let answer = session.client.publish_claim(&args.group.group, &claim).await?;
    session.wrote(&args.group.group, answer).await?;
    Ok(Outcome::Done)
}

/// One page, or as many as it takes for the number that was asked for.
async fn pages(
    most: usize,
    cursor: Option<String>,
    ask: impl AsyncFn(usize, Option<String>) -> Result<ClaimList, CliError>,
) -> Result<ClaimList, CliError> {
    let mut list = ClaimList { claims: Vec::new(), next_cursor: cursor };
    loop {
        let limit = (most - list.claims.len().min(most)).min(limits::PAGE_ROWS);
        let page = ask(limit, list.next_cursor.take()).await?;
        let is_empty = page.claims.is_empty();
        list.claims.extend(page.claims);
        list.next_cursor = page.next_cursor;
        if list.claims.len() >= most || list.next_cursor.is_none() || is_empty {
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

/// What a line shows of a claim: how it stands, and its title where it has one, else the beginning of its text.
pub(super) fn gist(claim: &Claim, now_ms: u64) -> String {
    let gist = match (&claim.title, claim.text.as_str()) {
        (Some(title), _) => title,
        (None, "") => "(its words have not come yet)",
        (None, text) => text,
    };
    match standing(claim, now_ms) {
        "final" | "pending" => gist.to_owned(),
        standing => format!("({standing}) {gist}"),
    }
}

/// How a claim stands, in a word.
fn standing(claim: &Claim, now_ms: u64) -> &'static str {
    if claim.retracted {
        "retracted"
    } else if !claim.superseded_by.is_empty() {
        "superseded"
    } else if claim.valid_until_ms.is_some_and(|until| until <= now_ms) {
        "expired"
    } else if claim.is_final {
        "final"
    } else {
        "pending"
    }
}

/// A piece of evidence in words.
fn proof(evidence: &Evidence) -> String {
    match evidence {
        Evidence::Command { command, exit_code: Some(code) } => format!("`{command}` ended with exit code {code}"),
        Evidence::Command { command, exit_code: None } => format!("`{command}`"),
        Evidence::Hash { hash } => format!("hash {hash}"),
        Evidence::Link { link } => link.clone(),
        Evidence::Note { note } => note.clone(),
    }
}

impl Render for At<ClaimList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["CLAIM", "AUTHOR", "WHEN", "TAGS", "TEXT"]);
        for claim in &self.answer.claims {
            let (tags, when) = (claim.tags.join(","), ago(claim.created_ms, self.now_ms));
            table.row([short(&claim.claim_hash), &tail(&claim.author), &when, &tags, &gist(claim, self.now_ms)]);
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
        rows.extend(claim.supersedes.iter().map(|old| ("supersedes", old.clone())));
        rows.extend(claim.superseded_by.iter().map(|new| ("superseded by", new.clone())));
        rows.extend(claim.evidence.iter().map(|evidence| ("evidence", proof(evidence))));
        rows.extend(claim.valid_until_ms.map(|until| ("valid until", full(until))));
        rows.push(("state", standing(claim, self.now_ms).to_owned()));
        fields(out, &rows)?;
        match claim.text.as_str() {
            "" => writeln!(out, "\nIts words have not come yet: `lbm ctl sync` asks the members for them."),
            text => writeln!(out, "\n{}", harmless(text).trim_end()),
        }
    }
}

/// Columns that the lines of a tree may take before a claim: what stands deeper is shown at that depth.
const TREE_COLUMNS: usize = 40;

impl Render for At<Thread> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let claims = &self.answer.claims;
        // For each depth whether another answer follows there: then a line goes on.
        let mut goes_on: Vec<bool> = Vec::new();
        for (at, row) in claims.iter().enumerate() {
            let later = claims.iter().skip(at + 1).take_while(|later| later.depth >= row.depth);
            let has_sibling = later.into_iter().any(|later| later.depth == row.depth);
            goes_on.truncate(row.depth);
            goes_on.resize(row.depth, false);
            let mut lead: String = goes_on.iter().skip(1).map(|goes_on| if *goes_on { "│ " } else { "  " }).collect();
            goes_on.push(has_sibling);
            if row.depth > 0 {
                lead.push_str(if has_sibling { "├ " } else { "└ " });
            }
            if lead.chars().count() > TREE_COLUMNS {
                lead = format!("{:TREE_COLUMNS$}", format!("(depth {})", row.depth));
            }
            let (when, author) = (ago(row.claim.created_ms, self.now_ms), tail(&row.claim.author));
            let (hash, gist) = (short(&row.claim.claim_hash), one_line(&gist(&row.claim, self.now_ms), 100));
            writeln!(out, "{lead}{}  {gist}  ({}, {when})", one_line(hash, 100), one_line(&author, 100))?;
        }
        if self.answer.left_out > 0 {
            writeln!(out, "… and {} more", self.answer.left_out)?;
        }
        more(out, self.answer.next_cursor.as_deref())
    }
}
