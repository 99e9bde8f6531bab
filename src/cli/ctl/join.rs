//! `lbm ctl group join`: starts replicating and shows how it goes.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::api::client::ClientError;
use crate::api::types::{JoinEvent, JoinGroup, ProblemCode, Role};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::{STANDARD_INPUT, Session};
use crate::cli::text::{count, one_line};
use crate::cli::when::{parse_span, span};
use crate::limits;

/// Arguments of `lbm ctl group join`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct JoinArgs {
    /// A ticket, as `group invite` prints it, or `-` to read it from standard input; or the full id of the group, as `group list` prints it there
    #[arg(value_name = "TICKET|GROUP_ID")]
    group: String,
    /// What to say to the group's admins, where there is no ticket
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Follow it at most so long; the daemon goes on by itself
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "60s", conflicts_with = "no_wait")]
    timeout: Duration,
    /// Do not follow it at all
    #[arg(long)]
    no_wait: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct JoinOutput {
    group_id: String,
    /// Nothing while the group's first block is not here.
    name: Option<String>,
    role: Option<Role>,
    joined: bool,
    blocks: u64,
    claims: u64,
    elapsed_ms: u64,
}

impl Render for At<JoinOutput> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let JoinOutput { group_id, name, role, joined, blocks, claims, elapsed_ms } = &self.answer;
        let group = one_line(name.as_deref().unwrap_or(group_id), 128);
        if !joined {
            return writeln!(out, "Joining {group}: `lbm ctl group list` shows how it goes.");
        }
        let standing = role.map_or("no member yet", Role::word);
        let (blocks, claims) = (count(*blocks, "block"), count(*claims, "claim"));
        writeln!(out, "Joined {group} as {standing}: {claims} in {blocks}, in {}.", span(*elapsed_ms))
    }
}

pub(super) async fn run(args: &JoinArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let span = if args.no_wait { Duration::ZERO } else { args.timeout };
    let wait_ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let group = match args.group.as_str() {
        STANDARD_INPUT => {
            session.read_text(Path::new(STANDARD_INPUT), limits::API_BODY_BYTES / 1024)?.trim().to_owned()
        }
        named => named.to_owned(),
    };
    let request = JoinGroup { group, note: args.note.clone(), wait_ms: Some(wait_ms) };
    request.check()?;
    // The daemon ends the stream in time; this is for one that does not.
    let patience = tokio::time::sleep(span + Duration::from_millis(limits::API_TIMEOUT_MS));
    tokio::pin!(patience);
    let started = Instant::now();
    let elapsed_ms = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut stream = session.client.join_group(&request).await?;
    let mut progress = Progress::new(session.shows_progress);
    loop {
        let event = tokio::select! {
            event = stream.next() => event?,
            () = &mut patience => None,
        };
        let Some(event) = event else { return Err(CliError::JoinCut) };
        match event {
            JoinEvent::Joined { group_id, name, role, blocks, claims, elapsed_ms } => {
                progress.finish();
                let name = Some(name);
                session.answer(JoinOutput { group_id, name, role, joined: true, blocks, claims, elapsed_ms })?;
                return Ok(Outcome::Done);
            }
            JoinEvent::Waiting { group_id, problem } if args.no_wait && problem.code != ProblemCode::RequestDenied => {
                progress.finish();
                let elapsed_ms = elapsed_ms();
                let joined = false;
                session.answer(JoinOutput {
                    group_id,
                    name: None,
                    role: None,
                    joined,
                    blocks: 0,
                    claims: 0,
                    elapsed_ms,
                })?;
                return Ok(Outcome::Done);
            }
            JoinEvent::Waiting { problem, .. } => return Err(CliError::NotYet(Box::new(problem))),
            JoinEvent::Refused { problem } => return Err(ClientError::Refused(Box::new(problem)).into()),
            JoinEvent::Looking { .. } | JoinEvent::Progress { .. } | JoinEvent::Unrecognised => {
                progress.show(&event, session);
            }
        }
    }
}

/// How far it is: a bar on a terminal; elsewhere a line when something changes, at most one a second.
struct Progress {
    bar: Option<ProgressBar>,
    last: Option<(String, Instant)>,
}

/// Least time between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

impl Progress {
    fn new(on_terminal: bool) -> Self {
        Self { bar: on_terminal.then(ProgressBar::new_spinner), last: None }
    }

    fn show(&mut self, event: &JoinEvent, session: &mut Session<'_>) {
        let Some(words) = told(event) else { return };
        let Some(bar) = &self.bar else {
            let is_due = self.last.as_ref().is_none_or(|(last, at)| *last != words && at.elapsed() >= BETWEEN_LINES);
            if is_due {
                session.tell(&words);
                self.last = Some((words, Instant::now()));
            }
            return;
        };
        if let JoinEvent::Progress { blocks, total_blocks: Some(total), .. } = event {
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} blocks  {msg}") {
                bar.set_style(style);
            }
            bar.set_length(*total);
            bar.set_position(*blocks);
        }
        bar.set_message(words);
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    /// A command that fails leaves no half of a bar above its error.
    fn drop(&mut self) {
        self.finish();
    }
}

fn told(event: &JoinEvent) -> Option<String> {
    match event {
        JoinEvent::Looking { peers: 0 } => Some("Looking for peers…".to_owned()),
        JoinEvent::Looking { peers } => Some(format!("Asking {} for the group…", count(*peers as u64, "peer"))),
        JoinEvent::Progress { blocks, total_blocks, claims } => {
            let of = total_blocks.map(|total| format!(" of {total}")).unwrap_or_default();
            Some(format!("{blocks}{of} blocks, {}", count(*claims, "claim")))
        }
        _ => None,
    }
}
