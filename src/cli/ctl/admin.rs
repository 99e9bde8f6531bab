//! `lbm ctl admin url`.

use std::io::{self, Write};

use clap::Subcommand;

use crate::api::types::{AdminLink, NewAdminLink};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::when::span;

/// What to do with the panel.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminCommand {
    /// Print a link that logs a browser in to the panel, once and within five minutes
    Url {
        /// Who follows it may look, and change nothing
        #[arg(long)]
        read_only: bool,
    },
}

pub(super) async fn run(command: &AdminCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        AdminCommand::Url { read_only } => {
            let answer = session.client.admin_link(&NewAdminLink { read_only: *read_only }).await?;
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

impl Render for At<AdminLink> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let may = if self.answer.read_only { "may look, and change nothing" } else { "may do what you may" };
        writeln!(out, "{}", self.answer.url)?;
        let left = span(self.answer.expires_ms.saturating_sub(self.now_ms));
        writeln!(out, "Open it in a browser within {left}. It works once, and whoever opens it {may}.")
    }
}
