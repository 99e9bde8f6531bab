//! `lbm ctl group invite|invites|uninvite|requests|approve|deny` and `lbm ctl peer discover-groups`.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

use super::GroupFlag;
use super::member::RoleArg;
use crate::api::types::{
    ApproveRequest, DiscoverGroups, InviteList, InviteMade, InviteRevoked, JoinRequestList, ListRequests, NewInvite,
    RequestDenied, ShownGroupList,
};
use crate::cli::error::{CliError, Outcome};
use crate::cli::output::{At, Render};
use crate::cli::session::Session;
use crate::cli::text::{Table, count, one_line, short};
use crate::cli::when::{ago, full, parse_span};
use crate::identity::Identity;

/// Arguments of `lbm ctl group invite`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InviteArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// As what it lets somebody in
    #[arg(long, value_enum, default_value_t = RoleArg::Member)]
    role: RoleArg,
    /// How many it lets in
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// How long it stands
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "24h")]
    expires: Duration,
    /// Show no QR code
    #[arg(long)]
    no_qr: bool,
}

/// Arguments of `lbm ctl group invites`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct InvitesArgs {
    #[command(flatten)]
    group: GroupFlag,
}

/// Arguments of `lbm ctl group uninvite`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct UninviteArgs {
    #[command(flatten)]
    group: GroupFlag,
    /// Ticket: its id, as `lbm ctl group invites` prints it
    #[arg(value_name = "TICKET_ID")]
    ticket: String,
}

/// Arguments of `lbm ctl group requests`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RequestsArgs {
    /// Of this group only: its id, a unique prefix of it, or its name
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

/// Arguments of `lbm ctl group approve`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct ApproveArgs {
    #[command(flatten)]
    of: RequestArgs,
    /// As what it is let in
    #[arg(long, value_enum, default_value_t = RoleArg::Member)]
    role: RoleArg,
}

/// Arguments of `lbm ctl group deny`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RequestArgs {
    /// Group: its id, a unique prefix of it, or its name
    #[arg(value_name = "GROUP")]
    group: String,
    /// Who asks: its peer id, as `lbm ctl group requests` prints it
    #[arg(value_name = "ID")]
    member: Identity,
}

/// Arguments of `lbm ctl peer discover-groups`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct DiscoverArgs {
    /// Of this peer only: its id or its alias
    #[arg(value_name = "PEER")]
    peer: Option<String>,
}

pub(super) async fn invite(args: &InviteArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let life_ms = u64::try_from(args.expires.as_millis()).unwrap_or(u64::MAX);
    let request = NewInvite { role: args.role.into(), uses: Some(args.uses), life_ms: Some(life_ms) };
    request.check()?;
    let made = session.client.invite(&args.group.group, &request).await?;
    session.wrote(&args.group.group, made.clone()).await?;
    if !session.json {
        explain(&made, !args.no_qr && session.shows_progress, session)?;
    }
    Ok(Outcome::Done)
}

pub(super) async fn invites(args: &InvitesArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.invites(&args.group.group).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn uninvite(args: &UninviteArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.revoke_invite(&args.group.group, &args.ticket).await?;
    session.wrote(&args.group.group, answer).await?;
    Ok(Outcome::Done)
}

pub(super) async fn requests(args: &RequestsArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.join_requests(&ListRequests { group: args.group.clone() }).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn approve(args: &ApproveArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let request = ApproveRequest { role: args.role.into() };
    let answer = session.client.approve_request(&args.of.group, args.of.member, &request).await?;
    session.wrote(&args.of.group, answer).await?;
    Ok(Outcome::Done)
}

pub(super) async fn deny(args: &RequestArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.deny_request(&args.group, args.member).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

pub(super) async fn discover(args: &DiscoverArgs, session: &mut Session<'_>) -> Result<Outcome, CliError> {
    let answer = session.client.shown_groups(&DiscoverGroups { peer: args.peer.clone() }).await?;
    session.answer(answer)?;
    Ok(Outcome::Done)
}

/// A QR code of a ticket in half blocks, dark on light: capitals take less room in one, and mean the same.
fn code(ticket: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(ticket.to_uppercase(), EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

/// Says what a ticket is, beside the answer: whoever reads a pipe has the ticket alone. A code is for a telephone before a screen.
fn explain(made: &InviteMade, with_code: bool, session: &mut Session<'_>) -> Result<(), CliError> {
    session.out.flush()?;
    if let Some(code) = with_code.then(|| code(&made.ticket)).flatten() {
        session.tell(&code);
    }
    let (role, uses) = (made.role.word(), count(made.uses.into(), "use"));
    let until = full(made.expires_ms);
    session.tell(&format!("Who has this ticket comes in as {role}: {uses}, until {until}. It is shown once."));
    session.tell("There: lbm ctl group join TICKET");
    Ok(())
}

impl Render for At<InviteMade> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", one_line(&self.answer.ticket, 2_000))
    }
}

impl Render for At<InviteList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["TICKET", "STATE", "ROLE", "LEFT#", "EXPIRES", "MADE", "BY"]);
        for invite in &self.answer.invites {
            let (left, made) = (format!("{}/{}", invite.uses_left, invite.uses), ago(invite.made_ms, self.now_ms));
            let expires = full(invite.expires_ms);
            table.row([
                &invite.ticket_id,
                invite.state.word(),
                invite.role.word(),
                &left,
                &expires,
                &made,
                &invite.made_by,
            ]);
        }
        if table.is_empty() {
            return writeln!(out, "No ticket yet: `lbm ctl group invite` makes one.");
        }
        table.write(out)
    }
}

impl Render for At<InviteRevoked> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let (ticket, group) = (one_line(&self.answer.ticket_id, 100), short(&self.answer.group_id));
        writeln!(out, "Revoked the ticket {ticket} of {group}: it lets nobody in any more.")
    }
}

impl Render for At<JoinRequestList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["MEMBER", "CALLED", "GROUP", "ASKED", "NOTE"]);
        for request in &self.answer.requests {
            let asked = ago(request.came_ms, self.now_ms);
            let note = request.note.as_deref().map_or_else(|| "-".to_owned(), |note| one_line(note, 80));
            table.row([&request.member_id, &request.name, short(&request.group_id), &asked, &note]);
        }
        if table.is_empty() && self.answer.admin_of == 0 {
            let words = "Only a group's admins see who asks to be let in, and this node is none here: `lbm ctl group members GROUP` shows who is.";
            return writeln!(out, "{words}");
        }
        if table.is_empty() {
            return writeln!(out, "Nobody asks to be let in.");
        }
        table.write(out)
    }
}

impl Render for At<RequestDenied> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let (member, group) = (one_line(&self.answer.member_id, 100), short(&self.answer.group_id));
        writeln!(
            out,
            "Denied {member}: it is not let into {group}. Where it can be reached it is told; its request is shown again in a week at the earliest."
        )
    }
}

impl Render for At<ShownGroupList> {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut table = Table::new(&["NAME", "GROUP", "ROLE", "MEMBERS#", "HERE", "PEERS#"]);
        for group in &self.answer.groups {
            let (members, peers) = (group.members.to_string(), group.peers.len().to_string());
            let role = group.role.map_or("-", crate::api::types::Role::word);
            let here = if group.is_here { "yes" } else { "no" };
            table.row([&group.name, &group.group_id, role, &members, here, &peers]);
        }
        if table.is_empty() {
            let (asked, answered) = (count(self.answer.asked, "connected peer"), self.answer.answered);
            return writeln!(
                out,
                "No group is shown: {answered} of {asked} answered. Groups that are not listed show to members only."
            );
        }
        table.write(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    #[test]
    fn the_longest_ticket_has_a_code_that_fits_a_terminal() {
        let longest = "lbm1".to_owned() + &"q".repeat((limits::TICKET_BYTES * 8).div_ceil(5) + 6);
        let code = code(&longest).unwrap();
        let lines: Vec<&str> = code.lines().collect();
        // 61 modules and the light border of 4 on each side, two modules to a line.
        assert_eq!((longest.len(), lines.len(), lines[0].chars().count()), (426, 35, 69));
        assert!(lines.iter().all(|line| line.chars().count() == 69));
    }
}
