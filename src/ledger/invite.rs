//! Tickets: `invite`, `invite_revoke`, `member_join`.
//!
//! A ticket lies in the ledger, so any member can let its bearer in. **It lets in no more than it says, nobody from its end on, and nobody
//! whom an admin has removed**; one whose maker is no admin any more lets in nobody. Its end is judged by the block's own time and by that
//! of the last seal before it: who dates a block back reaches into the open epoch and no further.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::fold::{Refused, Site, refuse};
use super::membership::{enter, require};
use super::outcome::Refusal;
use super::state::{self, Member, Scratch, Sealing};
use crate::cbor::cbor_array;
use crate::chain::Role;
use crate::chain::rows::{parse_row, read_row};
use crate::chain::transaction::{Invite, InviteRevoke, MemberJoin};
use crate::identity::Identity;
use crate::kv::{KvError, Read, Table};
use crate::limits;

cbor_array! {
    /// A ticket.
    #[derive(Copy)]
    pub struct InviteRow {
        /// As what it lets somebody in.
        pub role: Role,
        /// How many it lets in.
        pub uses: u32,
        /// How many it has let in.
        pub used: u32,
        /// From when on it lets nobody in, milliseconds since 1970 UTC.
        pub expires_ms: u64,
        /// Who made it.
        pub by: Identity,
        /// When, milliseconds since 1970 UTC.
        pub made_ms: u64,
        /// Whether an admin has ended it.
        pub revoked: bool,
    }
}

/// Why a ticket cannot be made, ended or used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum TicketRefusal {
    /// There is none with this public key.
    #[error("the group has no ticket {0}: `lbm ctl group invites` lists which it has")]
    NoSuchTicket(Identity),
    /// Its time is over.
    #[error("the ticket {0} has expired: ask an admin of the group for a new one (`lbm ctl group invite`)")]
    Expired(Identity, u64),
    /// It has let in as many as it says.
    #[error(
        "the ticket {0} is used up, it let in {1}: ask an admin of the group for a new one (`lbm ctl group invite`)"
    )]
    UsedUp(Identity, u32),
    /// An admin has ended it.
    #[error("the ticket {0} was revoked: ask an admin of the group for a new one (`lbm ctl group invite`)")]
    Revoked(Identity),
    /// Who made it is no admin any more.
    #[error("{0}, who made the ticket, is no admin any more: ask another for a new one (`lbm ctl group invite`)")]
    InviterGone(Identity),
    /// An admin has removed the identity.
    #[error(
        "{0} was removed from the group, and no ticket lets it in: ask an admin to add it (`lbm ctl group add-member`)"
    )]
    Removed(Identity),
    /// There is one with this public key.
    #[error("there is a ticket {0} already: make another with `lbm ctl group invite`")]
    Exists(Identity),
    /// It would stand too long, or not at all.
    #[error("a ticket stands for at most {max} days, from the moment in which it is made: choose another --expires",
        max = limits::TICKET_LIFE_MS / 86_400_000)]
    Life(u64),
    /// The group has as many tickets as it may have.
    #[error("the group has {max} tickets that stand: revoke some with `lbm ctl group uninvite`", max = limits::TICKETS)]
    TooMany,
}

impl TicketRefusal {
    /// A stable word for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoSuchTicket(_) => "no_such_ticket",
            Self::Expired(..) => "ticket_expired",
            Self::UsedUp(..) => "ticket_used_up",
            Self::Revoked(_) => "ticket_revoked",
            Self::InviterGone(_) => "inviter_gone",
            Self::Removed(_) => "was_removed",
            Self::Exists(_) => "ticket_exists",
            Self::Life(_) => "ticket_life",
            Self::TooMany => "too_many_tickets",
        }
    }
}

fn no<T>(why: TicketRefusal) -> Result<T, Refused> {
    refuse(Refusal::Ticket(why))
}

impl InviteRow {
    /// Why it lets nobody in when a clock shows `at_ms`, as far as the row says.
    #[must_use]
    pub const fn is_over(&self, ticket: Identity, at_ms: u64) -> Option<TicketRefusal> {
        if self.revoked {
            return Some(TicketRefusal::Revoked(ticket));
        }
        if self.used >= self.uses {
            return Some(TicketRefusal::UsedUp(ticket, self.used));
        }
        if at_ms >= self.expires_ms {
            return Some(TicketRefusal::Expired(ticket, self.expires_ms));
        }
        None
    }
}

/// What the clock shows at least where a block stands: its author's, or the last seal's.
fn clock_ms(scratch: &Scratch<'_, '_>, site: &Site) -> Result<u64, Refused> {
    let sealing: Sealing = scratch.expect(state::SEALING)?;
    Ok(site.time_ms.max(sealing.time_ms))
}

pub(super) fn invite(scratch: &mut Scratch<'_, '_>, site: &Site, new: &Invite) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    let Invite { ticket, role, uses, expires_ms } = *new;
    let key = state::ticket_key(&ticket);
    if scratch.is_marked(&key)? {
        return no(TicketRefusal::Exists(ticket));
    }
    let now_ms = clock_ms(scratch, site)?;
    if expires_ms <= now_ms || expires_ms > site.time_ms.saturating_add(limits::TICKET_LIFE_MS) {
        return no(TicketRefusal::Life(expires_ms));
    }
    let known = scratch.keys(b"T")?;
    if known.len() >= limits::TICKETS {
        let mut over = Vec::new();
        for key in &known {
            let row: InviteRow = scratch.expect(key)?;
            over.extend(row.is_over(ticket, now_ms).map(|_| key.clone()));
        }
        if over.is_empty() {
            return no(TicketRefusal::TooMany);
        }
        over.into_iter().for_each(|key| scratch.remove(key));
    }
    let (by, made_ms) = (site.author, site.time_ms);
    scratch.put(key, &InviteRow { role, uses, used: 0, expires_ms, by, made_ms, revoked: false });
    Ok(())
}

pub(super) fn revoke(scratch: &mut Scratch<'_, '_>, site: &Site, revoke: &InviteRevoke) -> Result<(), Refused> {
    require(scratch, site, Role::Admin)?;
    let key = state::ticket_key(&revoke.ticket);
    match scratch.get::<InviteRow>(&key)? {
        None => no(TicketRefusal::NoSuchTicket(revoke.ticket)),
        Some(row) if row.revoked => no(TicketRefusal::Revoked(revoke.ticket)),
        Some(row) => {
            scratch.put(key, &InviteRow { revoked: true, ..row });
            Ok(())
        }
    }
}

pub(super) fn join(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, join: &MemberJoin) -> Result<(), Refused> {
    require(scratch, site, Role::Member)?;
    let key = state::ticket_key(&join.ticket);
    let Some(row) = scratch.get::<InviteRow>(&key)? else { return no(TicketRefusal::NoSuchTicket(join.ticket)) };
    // First, so that who is in already is told that and nothing else.
    if scratch.get::<Member>(&state::member_key(&join.identity))?.is_some() {
        return refuse(Refusal::AlreadyAMember(join.identity));
    }
    if let Some(why) = row.is_over(join.ticket, clock_ms(scratch, site)?) {
        return no(why);
    }
    let inviter: Option<Member> = scratch.get(&state::member_key(&row.by))?;
    if inviter.is_none_or(|inviter| inviter.role < Role::Admin) {
        return no(TicketRefusal::InviterGone(row.by));
    }
    if scratch.is_marked(&state::removed_key(&join.identity))? {
        return no(TicketRefusal::Removed(join.identity));
    }
    enter(scratch, site, index, &join.identity, row.role)?;
    scratch.put(key, &InviteRow { used: row.used + 1, ..row });
    Ok(())
}

/// A ticket's row.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn ticket(kv: &dyn Read, ticket: &Identity) -> Result<Option<InviteRow>, KvError> {
    read_row(kv, Table::State, &state::ticket_key(ticket))
}

/// All tickets that the group remembers, ascending by their public keys.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn tickets(kv: &dyn Read) -> Result<Vec<(Identity, InviteRow)>, KvError> {
    let (mut tickets, mut failed) = (Vec::new(), Ok(()));
    kv.scan_prefix(Table::State, b"T", &mut |key, value| {
        let ticket = key.get(1..).and_then(|bytes| bytes.try_into().ok()).map(Identity::from_stored);
        match (ticket, parse_row(Table::State, key, value)) {
            (Some(ticket), Ok(row)) => tickets.push((ticket, row)),
            _ => {
                failed = Err(KvError::damaged(Table::State, key));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })?;
    failed.map(|()| tickets)
}

#[cfg(test)]
mod tests;
