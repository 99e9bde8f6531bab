//! `lbm ctl peer list|add|remove|bans|unban`.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use crate::api::types::{AddPeer, BanList, PeerAdded, PeerList, PeerRemoved, Unbanned};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, one_line};
use crate::cli::when::{ago, span};

/// What to do with peers.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum PeerCommand {
    /// The address book, connected peers first
    List,
    /// Add a peer's address and dial it, now and whenever it is away
    Add(AddArgs),
    /// Forget a peer and close its connections
    Remove {
        /// Peer: its id or its alias
        #[arg(value_name = "PEER")]
        peer: String,
    },
    /// Who was sent away for its faults, until when, and what for
    Bans,
    /// Let a peer come back that was sent away
    Unban {
        /// Peer: its id or its alias
        #[arg(value_name = "PEER")]
        peer: String,
    },
}

/// Arguments of `lbm ctl peer add`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AddArgs {
    /// Full address with /p2p/ and the peer's id, as `lbm ctl status` prints it there
    #[arg(long, value_name = "MULTIADDR")]
    addr: String,
    /// A name for it here
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
}

pub(super) async fn run(command: &PeerCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        PeerCommand::List => {
            let answer = session.client.peers().await?;
            session.answer(answer)?;
        }
        PeerCommand::Add(args) => {
            let request = AddPeer { addr: args.addr.clone(), alias: args.alias.clone() };
            request.check()?;
            let answer = session.client.add_peer(&request).await?;
            session.answer(answer)?;
        }
        PeerCommand::Remove { peer } => {
            let answer = session.client.remove_peer(peer).await?;
            session.answer(answer)?;
        }
        PeerCommand::Bans => {
            let answer = session.client.bans().await?;
            session.answer(answer)?;
        }
        PeerCommand::Unban { peer } => {
            let answer = session.client.unban(peer).await?;
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

impl Render for At<BanList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["PEER", "STATE", "TIMES#", "FOR"]);
        for ban in &self.answer.bans {
            let state = match ban.until_ms.saturating_sub(self.now_ms) {
                left_ms if ban.in_force => format!("away for {}", span(left_ms)),
                _ => "over".to_owned(),
            };
            table.row([&ban.peer_id, &state, &ban.times.to_string(), &ban.why]);
        }
        if table.is_empty() { writeln!(out, "Nobody was sent away.") } else { table.write(out) }
    }
}

impl Render for At<Unbanned> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let peer = one_line(&self.answer.peer_id, 100);
        if self.answer.was_banned {
            writeln!(out, "{peer} may come back.")
        } else {
            writeln!(out, "{peer} was not kept away.")
        }
    }
}

impl Render for At<PeerList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["PEER", "ALIAS", "STATE", "SEEN", "FROM", "ADDRESS"]);
        for peer in &self.answer.peers {
            let state = if peer.connected { "connected" } else { "away" };
            let seen = match peer.last_seen_ms {
                _ if peer.connected => "now".to_owned(),
                Some(at_ms) => ago(at_ms, self.now_ms),
                None => "never".to_owned(),
            };
            let alias = peer.alias.as_deref().unwrap_or("-");
            let address = match peer.addresses.as_slice() {
                [] => "-".to_owned(),
                [only] => only.clone(),
                [first, rest @ ..] => format!("{first} +{}", rest.len()),
            };
            table.row([&peer.peer_id, alias, state, &seen, &peer.source, &address]);
        }
        if table.is_empty() {
            return writeln!(out, "No peer is known: `lbm ctl peer add --addr MULTIADDR` adds one.");
        }
        table.write(out)
    }
}

impl Render for At<PeerAdded> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let state = if self.answer.connected { "connected" } else { "dialling" };
        writeln!(out, "Added {}: {state}.", one_line(&self.answer.peer_id, 100))
    }
}

impl Render for At<PeerRemoved> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Removed {}.", one_line(&self.answer.peer_id, 100))
    }
}
