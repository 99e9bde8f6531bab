//! `lbm ctl group members|add-member|remove-member|set-role`.

use std::io::{self, Write};

use clap::{Args, ValueEnum};

use super::GroupFlag;
use crate::api::types::{AddMember, MemberChanged, MemberList, NotaryChanged, Role, SetNotary, SetRole, Unfrozen};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, one_line, short};
use crate::cli::when::ago;
use crate::identity::Identity;

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Reads, writes, and manages members
    Admin,
    /// Reads and writes
    Member,
    /// Reads
    Viewer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::Member => Self::Member,
            RoleArg::Viewer => Self::Viewer,
        }
    }
}

/// A member of a group, on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
struct MemberFlag {
    #[command(flatten)]
    group: GroupFlag,
    /// Member: its peer id, as `lbm keys show` prints it there
    #[arg(long, value_name = "ID")]
    member: Identity,
}

/// Arguments of `lbm ctl group add-member`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct AddMemberArgs {
    #[command(flatten)]
    at: MemberFlag,
    /// What it may do
    #[arg(long, value_enum, default_value_t = RoleArg::Member)]
    role: RoleArg,
}

/// Arguments of `lbm ctl group remove-member|set-notary|unfreeze`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneMemberArgs {
    #[command(flatten)]
    at: MemberFlag,
}

/// Arguments of `lbm ctl group set-role`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SetRoleArgs {
    #[command(flatten)]
    at: MemberFlag,
    /// What it may do from now on
    #[arg(long, value_enum)]
    role: RoleArg,
}

pub(super) async fn list(group: &str, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.members(group).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn add(args: &AddMemberArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let request = AddMember { member: args.at.member, role: args.role.into() };
    let answer = session.client.add_member(&args.at.group.group, &request).await?;
    session.wrote(&args.at.group.group, answer).await?;
    Ok(Outcome::Done)
}

pub(super) async fn remove(args: &OneMemberArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.remove_member(&args.at.group.group, args.at.member).await?;
    session.wrote(&args.at.group.group, answer).await?;
    Ok(Outcome::Done)
}

pub(super) async fn set_role(args: &SetRoleArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let to = SetRole { role: args.role.into() };
    let answer = session.client.set_role(&args.at.group.group, args.at.member, &to).await?;
    session.wrote(&args.at.group.group, answer).await?;
    Ok(Outcome::Done)
}

pub(super) async fn set_notary(args: &OneMemberArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.set_notary(&args.at.group.group, &SetNotary { member: args.at.member }).await?;
    session.wrote(&args.at.group.group, answer).await?;
    Ok(Outcome::Done)
}

pub(super) async fn unfreeze(args: &OneMemberArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.unfreeze(&args.at.group.group, args.at.member).await?;
    session.wrote(&args.at.group.group, answer).await?;
    Ok(Outcome::Done)
}

impl Render for At<MemberList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["MEMBER", "ROLE", "STATE", "ADDED"]);
        for member in &self.answer.members {
            let state = match (member.is_self, member.connected) {
                (true, _) => "this node",
                (false, true) => "connected",
                (false, false) => "away",
            };
            table.row([&member.member_id, member.role.word(), state, &ago(member.added_ms, self.now_ms)]);
        }
        table.write(out)
    }
}

impl Render for At<NotaryChanged> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let (notary, group) = (one_line(&self.answer.notary, 100), short(&self.answer.group_id));
        writeln!(out, "{notary} is the notary of {group} from the next seal on.")
    }
}

impl Render for At<Unfrozen> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let (member, group) = (one_line(&self.answer.member_id, 100), short(&self.answer.group_id));
        writeln!(out, "{member} may spend in {group} again.")
    }
}

impl Render for At<MemberChanged> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let (member, group) = (one_line(&self.answer.member_id, 100), short(&self.answer.group_id));
        match self.answer.role {
            Some(role) => writeln!(out, "{member} is {role} of {group}."),
            None => writeln!(out, "{member} is no member of {group} any more."),
        }
    }
}
