//! `lbm ctl group create|list|show|join|leave|verify|stats|policy`; members and tickets have files of their own.

use std::io::{self, Write};

use clap::{Args, Subcommand};

use super::invite::{self, ApproveArgs, InviteArgs, InvitesArgs, RequestArgs, RequestsArgs, UninviteArgs};
use super::join::{self, JoinArgs};
use super::member::{self, AddMemberArgs, OneMemberArgs, SetRoleArgs};
use super::token::{self, PolicyArgs};
use crate::api::types::{
    CreateGroup, Group, GroupAlone, GroupCreated, GroupDetail, GroupLeft, GroupList, GroupStats, Verified,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, count, fields, harmless, one_line, short};
use crate::cli::when::{ago, full};

/// What to do with groups.
#[derive(Debug, Clone, Subcommand)]
pub enum GroupCommand {
    /// Create a group; this node is its admin and its notary, so do it on the machine that is always on
    Create(CreateArgs),
    /// This node's groups
    List,
    /// One group
    Show(OneGroup),
    /// Make a ticket: whoever has it comes in, by whichever member is there
    Invite(InviteArgs),
    /// The tickets of a group, without their secrets
    Invites(InvitesArgs),
    /// End a ticket; who came in by it stays
    Uninvite(UninviteArgs),
    /// Who asks to be let in without a ticket
    Requests(RequestsArgs),
    /// Let somebody in who asks
    Approve(ApproveArgs),
    /// Let somebody not in who asks
    Deny(RequestArgs),
    /// Join a group by a ticket, or ask its admins by its id, and follow it until it is caught up
    Join(JoinArgs),
    /// Replicate a group no longer
    Leave(OneGroup),
    /// Say that nobody else has blocks of this node, whose folder was put back from an older copy: it writes again
    Alone(OneGroup),
    /// A group's members
    Members(OneGroup),
    /// Add a member
    AddMember(AddMemberArgs),
    /// Remove a member
    RemoveMember(OneMemberArgs),
    /// Change what a member may do
    SetRole(SetRoleArgs),
    /// Hand the right to seal over to another admin, with the next seal
    SetNotary(OneMemberArgs),
    /// Let a member spend again that has signed two blocks with one number
    Unfreeze(OneMemberArgs),
    /// Check every signature and fold everything again; exit code 1 where something does not hold
    Verify(OneGroup),
    /// A group's sizes, its tokens and the rules for them
    Stats(OneGroup),
    /// The rules of a group's tokens: show or change them
    Policy(PolicyArgs),
}

/// Arguments of `lbm ctl group create`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct CreateArgs {
    /// Its name, of letters, digits, `:`, `_` and `-`
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Code of its currency, of capitals and digits [default: KAT]
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
}

/// Arguments of a command on one group.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OneGroup {
    /// Group: its id, a unique prefix of it, or its name
    #[arg(value_name = "GROUP")]
    group: String,
}

impl GroupCommand {
    /// Whether it writes something that can be waited for.
    pub(super) const fn writes(&self) -> bool {
        match self {
            Self::Invite(_)
            | Self::Uninvite(_)
            | Self::Approve(_)
            | Self::AddMember(_)
            | Self::RemoveMember(_)
            | Self::SetRole(_)
            | Self::SetNotary(_)
            | Self::Unfreeze(_) => true,
            Self::Policy(args) => args.changes(),
            _ => false,
        }
    }
}

pub(super) async fn run(command: &GroupCommand, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    match command {
        GroupCommand::Create(args) => {
            let request = CreateGroup { name: args.name.clone(), currency: args.currency.clone() };
            request.check()?;
            let answer = session.client.create_group(&request).await?;
            session.answer(answer)?;
        }
        GroupCommand::List => {
            let answer = session.client.groups().await?;
            session.answer(answer)?;
        }
        GroupCommand::Show(OneGroup { group }) => {
            let answer = session.client.group(group).await?;
            session.answer(answer)?;
        }
        GroupCommand::Leave(OneGroup { group }) => {
            let answer = session.client.leave_group(group).await?;
            session.answer(answer)?;
        }
        GroupCommand::Alone(OneGroup { group }) => {
            let answer = session.client.group_alone(group).await?;
            session.answer(answer)?;
        }
        GroupCommand::Stats(OneGroup { group }) => {
            let answer = session.client.group_stats(group).await?;
            session.answer(answer)?;
        }
        GroupCommand::Verify(OneGroup { group }) => {
            let answer = session.client.verify_group(group).await?;
            let outcome = Outcome::of(answer.ok);
            session.answer(answer)?;
            return Ok(outcome);
        }
        GroupCommand::Invite(args) => return invite::invite(args, session).await,
        GroupCommand::Invites(args) => return invite::invites(args, session).await,
        GroupCommand::Uninvite(args) => return invite::uninvite(args, session).await,
        GroupCommand::Requests(args) => return invite::requests(args, session).await,
        GroupCommand::Approve(args) => return invite::approve(args, session).await,
        GroupCommand::Deny(args) => return invite::deny(args, session).await,
        GroupCommand::Join(args) => return join::run(args, session).await,
        GroupCommand::Policy(args) => return token::policy(args, session).await,
        GroupCommand::Members(OneGroup { group }) => return member::list(group, session).await,
        GroupCommand::AddMember(args) => return member::add(args, session).await,
        GroupCommand::RemoveMember(args) => return member::remove(args, session).await,
        GroupCommand::SetNotary(args) => return member::set_notary(args, session).await,
        GroupCommand::Unfreeze(args) => return member::unfreeze(args, session).await,
        GroupCommand::SetRole(args) => return member::set_role(args, session).await,
    }
    Ok(Outcome::Done)
}

impl Render for At<GroupCreated> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let GroupCreated { group_id, name } = &self.answer;
        writeln!(out, "Created {}: {}", one_line(name, 128), one_line(group_id, 100))
    }
}

impl Render for At<GroupLeft> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let name = self.answer.name.as_deref().unwrap_or(&self.answer.group_id);
        writeln!(out, "Left {}.", one_line(name, 128))
    }
}

impl Render for At<GroupAlone> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let group = short(&self.answer.group_id);
        if self.answer.was_unsure {
            writeln!(out, "Writes in {group} again.")
        } else {
            writeln!(out, "Nothing held it back in {group}.")
        }
    }
}

/// What this node is in a group, for people.
fn standing(group: &Group) -> &'static str {
    match group.role {
        _ if group.joining => "joining",
        _ if group.shut_out.is_some() => "shut out",
        Some(role) => role.word(),
        None => "no member",
    }
}

impl Render for At<GroupList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["NAME", "GROUP", "ROLE", "MEMBERS#", "CLAIMS#", "BLOCKS#"]);
        for group in &self.answer.groups {
            let name = group.name.as_deref().unwrap_or("-");
            let [members, claims, blocks] =
                [group.members, group.claims, group.blocks].map(|number| number.to_string());
            let mut standing = standing(group).to_owned();
            if let Some(agent) = &group.agent {
                standing = format!("{standing} ({})", one_line(agent, 64));
            }
            if let Some(refused) = &group.refused {
                standing = format!("{standing}: {}", one_line(refused, 64));
            }
            table.row([name, &group.group_id, &standing, &members, &claims, &blocks]);
        }
        if table.is_empty() {
            return writeln!(out, "No group yet: `lbm ctl group create --name NAME` or `lbm ctl group join TICKET`.");
        }
        table.write(out)
    }
}

impl Render for At<GroupDetail> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let GroupDetail { group, .. } = &self.answer;
        let created = format!("{} ({})", full(self.answer.created_ms), ago(self.answer.created_ms, self.now_ms));
        let blocks =
            format!("{} ({} final, {} rejected)", group.blocks, self.answer.final_blocks, self.answer.rejected_blocks);
        let GroupDetail { notary, sealer, .. } = &self.answer;
        let notary = if notary == sealer { notary.clone() } else { format!("{notary} from the next seal on") };
        for frozen in &self.answer.frozen {
            let frozen = one_line(frozen, 100);
            writeln!(out, "FROZEN: {frozen} has signed two blocks with one number and may not spend.")?;
            writeln!(out, "An admin may lift it: lbm ctl group unfreeze --group {} --member {frozen}", group.group_id)?;
        }
        if let Some(said) = &group.shut_out {
            let why = one_line(&said.why, 100);
            match (&said.by, said.since_ms) {
                (Some(by), Some(since_ms)) => {
                    let (by, since) = (one_line(by, 100), ago(since_ms, self.now_ms));
                    writeln!(out, "SHUT OUT: {by} says that this node is no member any more ({why}), since {since}.")?;
                }
                _ => writeln!(out, "SHUT OUT: this node is no member any more ({why}), as its own blocks say.")?,
            }
            writeln!(out, "It writes nothing here.")?;
            if !said.may_come_by_ticket() {
                writeln!(
                    out,
                    "An admin may add it again: lbm ctl group add-member --group {} --member ID",
                    group.group_id
                )?;
            } else {
                writeln!(out, "A new ticket lets it in again: lbm ctl group invite, by an admin.")?;
            }
            writeln!(out, "What it wrote, and the group may not have: lbm ctl stranded --group {}", group.group_id)?;
        }
        fields(
            out,
            &[
                ("group", group.group_id.clone()),
                ("name", group.name.clone().unwrap_or_else(|| "-".to_owned())),
                ("role", standing(group).to_owned()),
                ("currency", self.answer.currency.clone()),
                ("created", created),
                ("creator", self.answer.creator.clone()),
                ("notary", notary),
                ("members", group.members.to_string()),
                ("claims", group.claims.to_string()),
                ("blocks", blocks),
                ("heads", self.answer.heads.len().to_string()),
            ],
        )
    }
}

impl Render for At<GroupStats> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let stats = &self.answer;
        let claims = format!("{} ({} retracted)", stats.claims, stats.retracted_claims);
        let blocks = format!("{} ({} final, {} rejected)", stats.blocks, stats.final_blocks, stats.rejected_blocks);
        let mut rows = vec![
            ("group", format!("{} ({})", stats.name, short(&stats.group_id))),
            ("members", stats.members.to_string()),
            ("claims", claims),
            ("experiences", stats.experiences.to_string()),
            ("blocks", blocks),
            ("total_supply", stats.total_supply.to_string()),
            ("treasury_balance", stats.treasury_balance.to_string()),
            ("escrow_balance", stats.escrow_balance.to_string()),
            ("accounts", stats.accounts.to_string()),
        ];
        rows.extend(token::rules(&stats.policy));
        fields(out, &rows)
    }
}

impl Render for At<Verified> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let Verified { ok, state_hash, blocks, final_blocks, faults } = &self.answer;
        let held = if *ok { "everything holds" } else { "NOT EVERYTHING HOLDS" };
        writeln!(out, "{}, {final_blocks} final: {held}", count(*blocks, "block"))?;
        writeln!(out, "state {}", harmless(state_hash))?;
        faults.iter().try_for_each(|fault| writeln!(out, "- {}", one_line(fault, 1_000)))
    }
}
