//! Where a task's reward comes from and goes: once, and to one place.
//!
//! An admin's is made when the task is completed, and an admin must answer for it then; a member's is set aside when the task is
//! created, and goes to whoever completes it, or back.

use super::no;
use super::refusal::TaskRefusal;
use super::rows::TaskRow;
use crate::chain::Role;
use crate::chain::transaction::TaskId;
use crate::ledger::fold::{Refused, Site, refuse};
use crate::ledger::outcome::Refusal;
use crate::ledger::state::{self, Member, Scratch};

/// Takes the reward out of the author's account until the task ends.
pub(super) fn set_aside(
    _scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    _id: &TaskId,
    _amount: u64,
) -> Result<(), Refused> {
    refuse(Refusal::Unsupported)
}

/// Gives the reward to whoever completes the task.
pub(super) fn pay(
    scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    id: &TaskId,
    row: &TaskRow,
) -> Result<(), Refused> {
    if row.reward == 0 {
        return Ok(());
    }
    if let Some(sponsor) = row.sponsor {
        let member: Option<Member> = scratch.get(&state::member_key(&sponsor))?;
        if member.is_none_or(|member| member.role != Role::Admin) {
            return no(TaskRefusal::NoSponsor(id.clone(), sponsor));
        }
    }
    refuse(Refusal::Unsupported)
}

/// Gives what was set aside back to whoever created the task.
pub(super) fn give_back(
    _scratch: &mut Scratch<'_, '_>,
    _site: &Site,
    _index: u32,
    _id: &TaskId,
    row: &TaskRow,
) -> Result<(), Refused> {
    if row.locks_reward() { refuse(Refusal::Unsupported) } else { Ok(()) }
}
