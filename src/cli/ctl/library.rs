//! `lbm ctl library list|show`.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::node::tail;
use crate::api::types::{Bought, LibraryContent, LibraryList, PurchaseState};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, count, harmless, short};
use crate::cli::when::ago;

/// What to do with the library.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum LibraryCommand {
    /// What this node has bought, and what it sells
    List,
    /// Open one of them
    Show(ShowArgs),
}

/// Arguments of `lbm ctl library show`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ShowArgs {
    /// Offer: its id, or a unique prefix of it
    #[arg(value_name = "OFFER")]
    offer: String,
    /// Where to put it: a new file that only you can read [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What was opened, and where it is now.
#[derive(Debug, Serialize)]
struct Opened {
    #[serde(flatten)]
    content: LibraryContent,
    /// How the purchase stands, where it was just bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<PurchaseState>,
    /// Whether it was owned before, where it was just bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    already_owned: Option<bool>,
    /// The file that it was written to; `null` where it is in the answer.
    out: Option<PathBuf>,
    #[serde(skip)]
    bytes: Vec<u8>,
    /// Whether a person looks at it.
    #[serde(skip)]
    is_shown: bool,
}

pub(super) async fn run(command: &LibraryCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        LibraryCommand::List => {
            let answer = session.client.library().await?;
            session.answer(answer)?;
        }
        LibraryCommand::Show(ShowArgs { offer, out }) => {
            let out = out.as_deref().map(open).transpose()?;
            show(offer, out, session, None).await?;
        }
    }
    Ok(Outcome::Done)
}

/// A new file that nobody else can read, for what is bought. Removed again where nothing is put into it.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    file: File,
    is_whole: bool,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_whole {
            // It was made by us, and has nothing of worth in it.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes the file: nothing that is there is overwritten.
pub(super) fn open(path: &Path) -> Result<NewFile, CliError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = made.map_err(|source| CliError::Write { name: path.display().to_string(), source })?;
    Ok(NewFile { path: path.to_owned(), file, is_whole: false })
}

/// Shows what was just bought.
pub(super) async fn deliver(
    offer: &str,
    out: Option<NewFile>,
    session: &mut Session<'_>,
    bought: Bought,
) -> Result<(), CliError> {
    show(offer, out, session, Some(bought)).await
}

async fn show(
    offer: &str,
    out: Option<NewFile>,
    session: &mut Session<'_>,
    bought: Option<Bought>,
) -> Result<(), CliError> {
    let mut content = session.client.library_content(offer).await?;
    let bytes = match (&content.text, &content.content_base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(|error| CliError::Output(io::Error::other(error)))?,
        (None, None) => Vec::new(),
    };
    let path = match out {
        Some(mut new) => {
            let name = new.path.display().to_string();
            let written = new.file.write_all(&bytes).and_then(|()| new.file.sync_all());
            written.map_err(|source| CliError::Write { name, source })?;
            new.is_whole = true;
            (content.text, content.content_base64) = (None, None);
            Some(new.path.clone())
        }
        None => None,
    };
    let (status, already_owned) = bought.map(|bought| (bought.purchase.status, bought.already_owned)).unzip();
    session.answer(Opened { content, status, already_owned, out: path, bytes, is_shown: io::stdout().is_terminal() })
}

impl Render for At<Opened> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let Opened { content, out: path, bytes, .. } = &self.answer;
        match (path, &content.text) {
            (Some(path), _) => {
                writeln!(out, "{} in {}", count(bytes.len() as u64, "byte"), harmless(&path.display().to_string()))
            }
            // Whoever sold it wrote it: it may not act on a terminal.
            (None, Some(text)) if self.answer.is_shown => {
                writeln!(out, "{}", harmless(text.strip_suffix('\n').unwrap_or(text)))
            }
            // Into a pipe or a file goes what was bought, to the byte.
            (None, _) => out.write_all(bytes),
        }
    }
}

impl Render for At<LibraryList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["OFFER", "FROM", "PRICE#", "SINCE", "BYTES#", "HERE", "GROUP", "TITLE"]);
        for item in &self.answer.packages {
            let from = if item.purchase_id.is_some() { tail(&item.seller) } else { "mine".to_owned() };
            let (price, bytes) = (item.price.to_string(), item.content_bytes.to_string());
            let (id, since, here) =
                (short(&item.offer_id), ago(item.since_ms, self.now_ms), if item.here { "yes" } else { "no" });
            table.row([id, &from, &price, &since, &bytes, here, &item.group, &item.title]);
        }
        if table.is_empty() { writeln!(out, "Nothing bought and nothing for sale.") } else { table.write(out) }
    }
}
