//! `lbm ctl`: one file per family of commands, each *arguments, call, answer*.

mod admin;
mod agent;
mod bulk;
mod claim;
mod context;
mod group;
mod invite;
mod join;
mod library;
mod member;
mod node;
mod offer;
mod peer;
mod presence;
mod stranded;
mod subscription;
mod task;
mod token;
mod watch;

use std::time::Duration;

use clap::{Args, Subcommand};

use super::error::{CliError, Outcome};
use super::session::Session;
use super::text;
use super::when::parse_span;
use crate::api::VERSION;
use crate::identity::AgentName;

/// Arguments of `lbm ctl`.
#[derive(Debug, Clone, Args)]
pub struct CtlArgs {
    /// Wait until what is written is final, at most so long [default: 30s where no time is given]
    #[arg(
        long,
        global = true,
        value_name = "SPAN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30s",
        value_parser = parse_span
    )]
    pub wait_final: Option<Duration>,
    /// Act in the name of this agent of the node
    #[arg(long, global = true, value_name = "NAME")]
    pub agent: Option<AgentName>,
    /// What to ask.
    #[command(subcommand)]
    pub command: CtlCommand,
}

/// What the daemon can be asked.
#[derive(Debug, Clone, Subcommand)]
pub enum CtlCommand {
    /// Who this node is, where it listens, how many peers and groups it has
    Status,
    /// What is well and what is not; exit code 1 where something is not
    Health,
    /// What may keep the node from working, and what to do about it; exit code 1 where there is a problem
    Doctor,
    /// The settings that the daemon runs with; `lbm config` shows those that it would start with
    Settings,
    /// Have the daemon read its settings again; says what needs a restart
    Reload,
    /// What happened of late; with --follow what happens, as it happens
    Events(node::EventsArgs),
    /// Blocks that the ledger refuses, and why
    Rejected(node::RejectedArgs),
    /// Own writes that a group is not known to have, as their author is no member of it any more
    Stranded(stranded::StrandedArgs),
    /// Ask every connected member for what is missing, now
    Sync(node::SyncArgs),
    /// Groups and their members
    #[command(subcommand)]
    Group(group::GroupCommand),
    /// What members say of themselves right now
    #[command(subcommand)]
    Presence(presence::PresenceCommand),
    /// Claims: pieces of knowledge
    #[command(subcommand)]
    Claim(claim::ClaimCommand),
    /// Tasks: work that members hand one another
    #[command(subcommand)]
    Task(task::TaskCommand),
    /// Compile a context from a group's claims for a query
    Context(context::ContextArgs),
    /// Records of agents' runs
    #[command(subcommand)]
    Experience(context::ExperienceCommand),
    /// Tokens: balances, payments and what moved them
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Offers: what members sell one another, and what this node buys
    #[command(subcommand)]
    Offer(offer::OfferCommand),
    /// What was bought, and what is sold
    #[command(subcommand)]
    Library(library::LibraryCommand),
    /// What other nodes have for sale
    #[command(subcommand)]
    Market(offer::MarketCommand),
    /// Agents of this node: each with a key, groups and tokens of its own
    #[command(subcommand)]
    Agent(agent::AgentCommand),
    /// How each group is synced: whom it asks, how often, or not at all for now
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    /// The web panel
    #[command(subcommand)]
    Admin(admin::AdminCommand),
    /// Other nodes that this one knows
    #[command(subcommand)]
    Peer(peer::PeerCommand),
}

impl CtlCommand {
    /// Whether it writes something that can be waited for.
    const fn writes(&self) -> bool {
        match self {
            Self::Group(command) => command.writes(),
            Self::Claim(command) => {
                matches!(command, claim::ClaimCommand::Publish(_) | claim::ClaimCommand::Retract(_))
            }
            Self::Task(command) => command.writes(),
            Self::Experience(context::ExperienceCommand::Submit(_)) => true,
            Self::Token(command) => command.writes(),
            Self::Offer(command) => matches!(command, offer::OfferCommand::Create(_) | offer::OfferCommand::Revoke(_)),
            Self::Status
            | Self::Health
            | Self::Doctor
            | Self::Settings
            | Self::Reload
            | Self::Events(_)
            | Self::Rejected(_)
            | Self::Stranded(_)
            | Self::Sync(_)
            | Self::Presence(_)
            | Self::Context(_)
            | Self::Library(_)
            | Self::Market(_)
            | Self::Agent(_)
            | Self::Admin(_)
            | Self::Subscription(_)
            | Self::Peer(_) => false,
        }
    }
}

/// A group on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct GroupFlag {
    /// Group: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: String,
}

/// Asks the daemon and prints its answer.
///
/// # Errors
/// [`CliError`].
pub async fn run(args: &CtlArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    session.wait_final = args.wait_final;
    if args.wait_final.is_some() && !args.command.writes() {
        return Err(CliError::NothingToWaitFor);
    }
    if let Some(name) = &args.agent {
        session.client = session.client.clone().as_agent(name.clone());
    }
    let ran = match &args.command {
        CtlCommand::Status => node::status(session).await,
        CtlCommand::Health => node::health(session).await,
        CtlCommand::Doctor => crate::cli::doctor::ask(session).await,
        CtlCommand::Settings => node::settings(session).await,
        CtlCommand::Reload => node::reload(session).await,
        CtlCommand::Events(args) => node::events(args, session).await,
        CtlCommand::Rejected(args) => node::rejected(args, session).await,
        CtlCommand::Stranded(args) => stranded::run(args, session).await,
        CtlCommand::Sync(args) => node::sync(args, session).await,
        CtlCommand::Group(command) => group::run(command, session).await,
        CtlCommand::Presence(command) => presence::run(command, session).await,
        CtlCommand::Claim(command) => claim::run(command, session).await,
        CtlCommand::Task(command) => task::run(command, session).await,
        CtlCommand::Context(args) => context::run(args, session).await,
        CtlCommand::Experience(command) => context::run_experience(command, session).await,
        CtlCommand::Token(command) => token::run(command, session).await,
        CtlCommand::Offer(command) => offer::run(command, session).await,
        CtlCommand::Library(command) => library::run(command, session).await,
        CtlCommand::Market(command) => offer::run_market(command, session).await,
        CtlCommand::Agent(command) => agent::run(command, session).await,
        CtlCommand::Subscription(command) => subscription::run(command, session).await,
        CtlCommand::Admin(command) => admin::run(command, session).await,
        CtlCommand::Peer(command) => peer::run(command, session).await,
    };
    if let Some(theirs) = session.client.other_version() {
        let words =
            format!("warning: the daemon is version {}, this is {VERSION}: restart the daemon", text::harmless(theirs));
        session.tell(&words);
    }
    ran
}

#[cfg(test)]
mod tests;
