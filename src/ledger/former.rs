//! Who was named as a member and is none: what those are told who hold a membership that has ended, or that was refused in the order.
//!
//! **Only who was named in a block that is here is among them**: of anybody else nothing is known, and nothing said.

use std::collections::BTreeMap;

use super::outcome::{Outcome, Refusal};
use super::{TicketRefusal, query, state};
use crate::chain::gone::Gone;
use crate::chain::{BlockId, rows};
use crate::identity::Identity;
use crate::kv::{KvError, Read, Table};

/// All of them, each with the reason.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn all(kv: &dyn Read) -> Result<BTreeMap<Identity, Gone>, KvError> {
    let mut former = BTreeMap::new();
    for (identity, block) in rows::all_named(kv)? {
        if state::member(kv, &identity)?.is_none() {
            former.insert(identity, why(kv, &identity, &block)?);
        }
    }
    Ok(former)
}

/// Why somebody is no member; none of who is one, or was never named as one.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn of_one(kv: &dyn Read, identity: &Identity) -> Result<Option<Gone>, KvError> {
    match (state::member(kv, identity)?, rows::named_by(kv, identity)?) {
        (None, Some(block)) => why(kv, identity, &block).map(Some),
        _ => Ok(None),
    }
}

/// Why somebody who was named by a block, and last by this one, is no member.
fn why(kv: &dyn Read, identity: &Identity, block: &BlockId) -> Result<Gone, KvError> {
    if kv.get(Table::State, &state::removed_key(identity))?.is_some() {
        return Ok(Gone::Removed);
    }
    Ok(match query::place_of(kv, block)?.map(|(_, _, _, outcome)| outcome) {
        None | Some(Outcome::Applied) => Gone::Left,
        Some(Outcome::Refused(_, refusal)) => of(&refusal),
    })
}

const fn of(refusal: &Refusal) -> Gone {
    match refusal {
        Refusal::GroupFull => Gone::GroupFull,
        Refusal::Ticket(ticket) => match ticket {
            TicketRefusal::Expired(..) => Gone::TicketExpired,
            TicketRefusal::UsedUp(..) => Gone::TicketUsedUp,
            TicketRefusal::Revoked(_) => Gone::TicketRevoked,
            TicketRefusal::InviterGone(_) => Gone::InviterGone,
            TicketRefusal::Removed(_) => Gone::Removed,
            TicketRefusal::NoSuchTicket(_)
            | TicketRefusal::Exists(_)
            | TicketRefusal::Life(_)
            | TicketRefusal::TooMany => Gone::NotLetIn,
        },
        // Whatever else the block has done, the joining came to nothing by it.
        _ => Gone::NotLetIn,
    }
}
