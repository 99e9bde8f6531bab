//! `lbm ctl claim watch`: claims as they come to this node.
//!
//! Each line and each answer carries a cursor; going on behind it misses nothing and repeats nothing.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;

use super::GroupFlag;
use super::claim::{gist, tags};
use super::node::tail;
use crate::api::client::ClientError;
use crate::api::types::{WatchClaims, WatchKind, WatchedClaim, WatchedList};
use crate::cli::error::CliError;
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{one_line, short};
use crate::cli::when::{When, ago, parse_span, parse_when};
use crate::identity::Identity;

/// Arguments of `lbm ctl claim watch`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WatchArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// What came behind this: next_cursor of the answer before, or the cursor of a line. Without it a page begins with the first
    /// that ever came here, and a stream with the next
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Without a cursor: begin with what came here since then: 2h, 3d, 2026-11-22, RFC 3339 or milliseconds
    #[arg(long, value_name = "WHEN", value_parser = parse_when, conflicts_with = "cursor")]
    since: Option<When>,
    /// Answer at once with at most so many [default with a cursor: 100]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Answer with what there is, and where there is nothing wait for it at most so long: 30s, 5m
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    wait: Option<Duration>,
    /// Go on with what comes, one claim a line, until interrupted: so without --cursor, --limit and --wait
    #[arg(long, short, conflicts_with_all = ["limit", "wait"])]
    follow: bool,
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

pub(super) async fn run(args: &WatchArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let tags = tags(&args.tags);
    let mut query = WatchClaims {
        cursor: args.cursor.clone(),
        since_ms: args.since.map(|when| when.resolve(session.now_ms)),
        limit: args.limit,
        wait_ms: args.wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        tags: (!tags.is_empty()).then(|| tags.join(",")),
        author: args.author,
        thread: args.thread.clone(),
    };
    query.check()?;
    let is_page = args.cursor.is_some() || args.limit.is_some() || args.wait.is_some();
    if is_page && !args.follow {
        let answer = session.client.watch_claims(&args.group.group, &query).await?;
        return session.answer(answer);
    }
    let mut stream = session.client.follow_claims(&args.group.group, &query).await?;
    loop {
        match stream.next().await {
            Ok(Some(claim)) => {
                query.cursor = Some(claim.cursor.clone());
                session.now_ms = crate::cli::when::now_ms();
                session.answer(claim)?;
            }
            Ok(None) | Err(ClientError::Cut { .. }) => return Err(CliError::WatchCut { cursor: query.cursor }),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Render for At<WatchedList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.answer.claims.is_empty() {
            writeln!(out, "Nothing new.")?;
        }
        self.answer.claims.iter().try_for_each(|claim| line(claim, self.now_ms, out))?;
        writeln!(out, "Next: --cursor {}", one_line(&self.answer.next_cursor, 1_000))
    }
}

impl Render for At<WatchedClaim> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        line(&self.answer, self.now_ms, out)
    }
}

fn line(watched: &WatchedClaim, now_ms: u64, out: &mut dyn Write) -> io::Result<()> {
    let claim = &watched.claim;
    let what = match watched.kind {
        WatchKind::Claim => "claim",
        WatchKind::Retracted => "retracted",
        WatchKind::Restored => "restored",
    };
    let (hash, when, author) = (short(&claim.claim_hash), ago(claim.created_ms, now_ms), tail(&claim.author));
    let words = [hash, &gist(claim, now_ms)].map(|words| one_line(words, 100));
    writeln!(out, "{what:<9}  {}  {}  ({}, {when})", words[0], words[1], one_line(&author, 100))
}
