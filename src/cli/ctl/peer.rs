//! `lbm ctl peer list|add|set|remove|bans|unban|discover-groups`.

use std::io::{self, Write};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::invite::{self, DiscoverArgs};
use crate::api::types::{
    AddPeer, BanList, Peer, PeerAdded, PeerDirection, PeerList, PeerRemoved, PeerSet, SetPeer, Unbanned,
};
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
    /// The groups that connected peers show: those that are listed, and those in which this node is a member
    DiscoverGroups(DiscoverArgs),
    /// Call a peer by another name here
    Set(SetArgs),
    /// Forget a peer and close its connections
    Remove {
        /// Peer: its id or its alias
        #[arg(value_name = "PEER", value_parser = NonEmptyStringValueParser::new())]
        peer: String,
    },
    /// Who was sent away for its faults, until when, and what for
    Bans,
    /// Let a peer come back that was sent away
    Unban {
        /// Peer: its id or its alias
        #[arg(value_name = "PEER", value_parser = NonEmptyStringValueParser::new())]
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

/// Arguments of `lbm ctl peer set`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SetArgs {
    /// Peer: its id or its alias
    #[arg(value_name = "PEER", value_parser = NonEmptyStringValueParser::new())]
    peer: String,
    /// Its name from now on; empty for none
    #[arg(long, value_name = "NAME")]
    alias: String,
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
        PeerCommand::DiscoverGroups(args) => return invite::discover(args, session).await,
        PeerCommand::Set(args) => {
            let request = SetPeer { alias: Some(args.alias.clone()).filter(|alias| !alias.is_empty()) };
            request.check()?;
            let answer = session.client.set_peer(&args.peer, &request).await?;
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
        let mut table = Table::new(&["PEER", "ALIAS", "STATE", "RTT", "GROUPS", "SEEN", "FROM", "ADDRESS"]);
        for peer in &self.answer.peers {
            let seen = match peer.last_seen_ms {
                _ if peer.connected => "now".to_owned(),
                Some(at_ms) => ago(at_ms, self.now_ms),
                None => "never".to_owned(),
            };
            let alias = peer.alias.as_deref().unwrap_or("-");
            let address = match (&peer.connection, peer.addresses.as_slice()) {
                (Some(connection), _) => connection.remote.clone(),
                (None, []) => "-".to_owned(),
                (None, [only]) => only.clone(),
                (None, [first, rest @ ..]) => format!("{first} +{}", rest.len()),
            };
            let groups = if peer.connected { peer.groups.len().to_string() } else { "-".to_owned() };
            table.row([&peer.peer_id, alias, state(peer), &rtt(peer), &groups, &seen, &peer.source, &address]);
        }
        if table.is_empty() {
            return writeln!(out, "No peer is known: `lbm ctl peer add --addr MULTIADDR` adds one.");
        }
        table.write(out)?;
        for peer in &self.answer.peers {
            if let Some(trouble) = &peer.trouble {
                let name = peer.alias.as_ref().unwrap_or(&peer.peer_id);
                writeln!(out, "{}: {}", one_line(name, 100), one_line(trouble, 300))?;
            }
        }
        Ok(())
    }
}

const fn state(peer: &Peer) -> &'static str {
    match &peer.connection {
        None if peer.connected => "connected",
        None => "away",
        Some(connection) => match connection.direction {
            PeerDirection::Inbound => "connected (in)",
            PeerDirection::Outbound => "connected (out)",
        },
    }
}

fn rtt(peer: &Peer) -> String {
    let rtt_us = peer.connection.as_ref().and_then(|connection| connection.rtt_us);
    rtt_us.map_or_else(|| "-".to_owned(), |us| format!("{}.{} ms", us / 1_000, us % 1_000 / 100))
}

impl Render for At<PeerSet> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        match &self.answer.alias {
            Some(alias) => writeln!(out, "{} is {} here.", one_line(&self.answer.peer_id, 100), one_line(alias, 100)),
            None => writeln!(out, "{} has no alias any more.", one_line(&self.answer.peer_id, 100)),
        }
    }
}

impl Render for At<PeerAdded> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let peer = one_line(&self.answer.peer_id, 100);
        match self.answer.banned_ms {
            Some(left_ms) => writeln!(
                out,
                "Added {peer}: banned by this node for {}; `lbm ctl peer unban {peer}` lets it come back.",
                span(left_ms)
            ),
            None if self.answer.connected => writeln!(out, "Added {peer}: connected."),
            None => writeln!(out, "Added {peer}: dialling."),
        }
    }
}

impl Render for At<PeerRemoved> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Removed {}.", one_line(&self.answer.peer_id, 100))
    }
}
