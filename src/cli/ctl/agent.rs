//! `lbm ctl agent`: identities of their own on this node.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::member::RoleArg;
use crate::api::types::{
    Agent, AgentCreated, AgentGroup, AgentList, AgentRevoked, AgentToken, NewAgent, RevokeAgent, SetSpendingLimit,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, one_line, short};
use crate::cli::when::ago;
use crate::identity::AgentName;

/// `lbm ctl agent …`
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AgentCommand {
    /// Make an agent with a key of its own, and add it to a group
    Create(CreateArgs),
    /// All agents of this node, their groups and limits
    List,
    /// One agent
    Show(OneArgs),
    /// End an agent: its key is destroyed, and it can never act again
    Revoke(RevokeArgs),
    /// Print a new bearer token of an agent, for what talks to the daemon by HTTP; the one before is dead
    Token(OneArgs),
    /// Bound what an agent gives away in a day in each group: purchases, transfers, rewards of tasks
    Limit(LimitArgs),
}

/// Arguments of `lbm ctl agent create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateArgs {
    /// What it is called on this node: a-z 0-9 _ -
    #[arg(long, value_name = "NAME")]
    name: AgentName,
    /// Group that it is added to: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// What it may do in the group
    #[arg(long, value_enum, default_value_t = RoleArg::Member, requires = "group")]
    role: RoleArg,
    /// Tokens that it may give away in any 24 hours in each group, by purchases, transfers and rewards of tasks; a purchase above it waits
    /// for `lbm ctl offer approve`
    #[arg(long, value_name = "TOKENS")]
    spend_limit: Option<u64>,
}

/// Arguments of `lbm ctl agent show|token`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneArgs {
    /// The agent's name
    #[arg(value_name = "NAME")]
    name: AgentName,
}

/// Arguments of `lbm ctl agent revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RevokeArgs {
    #[command(flatten)]
    agent: OneArgs,
    /// Let it leave its groups first; else it stays a member that can do nothing
    #[arg(long)]
    leave: bool,
}

/// Arguments of `lbm ctl agent limit`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LimitArgs {
    #[command(flatten)]
    agent: OneArgs,
    /// Tokens in any 24 hours; no limit where it is not given
    #[arg(long, value_name = "TOKENS")]
    per_day: Option<u64>,
}

pub(super) async fn run(command: &AgentCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        AgentCommand::Create(args) => {
            let request = NewAgent {
                name: args.name.to_string(),
                group: args.group.clone(),
                role: args.group.as_ref().map(|_| args.role.into()),
                spend_limit: args.spend_limit,
            };
            let answer = session.client.create_agent(&request).await?;
            session.answer(answer)?;
        }
        AgentCommand::List => {
            let answer = session.client.agents().await?;
            session.answer(answer)?;
        }
        AgentCommand::Show(args) => {
            let answer = session.client.agent(args.name.as_str()).await?;
            session.answer(answer)?;
        }
        AgentCommand::Revoke(args) => {
            let request = RevokeAgent { leave: args.leave };
            let answer = session.client.revoke_agent(args.agent.name.as_str(), &request).await?;
            session.answer(answer)?;
        }
        AgentCommand::Token(args) => {
            let answer = session.client.agent_token(args.name.as_str()).await?;
            session.answer(answer)?;
        }
        AgentCommand::Limit(args) => {
            let to = SetSpendingLimit { per_day: args.per_day };
            let answer = session.client.set_agent_limit(args.agent.name.as_str(), &to).await?;
            session.answer(answer)?;
        }
    }
    Ok(Outcome::Done)
}

fn limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string())
}

fn last(at_ms: Option<u64>, now_ms: u64) -> String {
    at_ms.map_or_else(|| "never".to_owned(), |at_ms| ago(at_ms, now_ms))
}

fn in_group(group: &AgentGroup) -> String {
    format!("{} ({})", one_line(&group.name, 40), group.role)
}

impl Render for At<AgentCreated> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let AgentCreated { agent, member_id, group_id, role, next } = &self.answer;
        writeln!(out, "Made the agent {}, {}.", one_line(agent, 40), one_line(member_id, 100))?;
        if let (Some(group), Some(role)) = (group_id, role) {
            writeln!(out, "It is {role} of {}.", short(group))?;
        }
        if let Some(next) = next {
            writeln!(out, "It is no member yet: {}", one_line(next, 500))?;
        }
        Ok(())
    }
}

impl Render for At<AgentList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["AGENT", "MEMBER", "GROUPS", "LIMIT", "LAST WRITE"]);
        for agent in &self.answer.agents {
            let groups: Vec<String> = agent.groups.iter().map(in_group).collect();
            table.row([
                agent.agent.as_str(),
                &agent.member_id,
                &groups.join(", "),
                &limit(agent.spend_limit),
                &last(agent.last_write_ms, self.now_ms),
            ]);
        }
        table.write(out)
    }
}

impl Render for At<Agent> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let agent = &self.answer;
        writeln!(out, "agent       {}", one_line(&agent.agent, 40))?;
        writeln!(out, "member      {}", one_line(&agent.member_id, 100))?;
        writeln!(out, "limit       {}", limit(agent.spend_limit))?;
        writeln!(out, "last write  {}", last(agent.last_write_ms, self.now_ms))?;
        writeln!(out, "token       {}", if agent.has_token { "yes" } else { "none" })?;
        for group in &agent.groups {
            let written = last(group.last_write_ms, self.now_ms);
            writeln!(out, "group       {}, balance {}, last write {written}", in_group(group), group.balance)?;
        }
        Ok(())
    }
}

impl Render for At<AgentRevoked> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let AgentRevoked { agent, member_id, left, still_member } = &self.answer;
        writeln!(out, "{} ({}) is no more: its key is destroyed.", one_line(agent, 40), one_line(member_id, 100))?;
        for group in left {
            writeln!(out, "It has left {}.", short(group))?;
        }
        for group in still_member {
            let (name, id) = (one_line(&group.name, 40), short(&group.group_id));
            writeln!(out, "It is still a member of {name}: an admin removes it with")?;
            writeln!(out, "  lbm ctl group remove-member --group {id} --member {}", one_line(member_id, 100))?;
            if group.balance > 0 {
                writeln!(out, "  Its {} tokens there can be moved no more.", group.balance)?;
            }
        }
        Ok(())
    }
}

/// Nothing but the token, for a pipe.
impl Render for At<AgentToken> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", one_line(&self.answer.token, 100))
    }
}
