//! Where a task's reward comes from and goes: once, and to one place.
//!
//! An admin's is made when the task is completed, and an admin must answer for it then; a member's is set aside when the task is
//! created, and goes to whoever completes it, or back.

use super::no;
use super::refusal::TaskRefusal;
use super::rows::TaskRow;
use crate::chain::Role;
use crate::chain::transaction::TaskId;
use crate::ledger::fold::{Refused, Site};
use crate::ledger::notary::require_not_frozen;
use crate::ledger::state::{self, Member, Scratch};
use crate::ledger::token::{self, Cause};

/// Takes the reward out of the author's account until the task ends.
pub(super) fn set_aside(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    id: &TaskId,
    amount: u64,
) -> Result<(), Refused> {
    token::lock(scratch, site, index, &site.author, amount, Cause::TaskLock(id.clone()), None)
}

/// Gives the reward to the author, who completes the task.
pub(super) fn pay(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    id: &TaskId,
    row: &TaskRow,
) -> Result<(), Refused> {
    let cause = Cause::TaskReward(id.clone());
    let Some(sponsor) = row.sponsor else {
        return if row.reward == 0 {
            Ok(())
        } else {
            token::unlock(scratch, site, index, &site.author, row.reward, cause, None)
        };
    };
    let member: Option<Member> = scratch.get(&state::member_key(&sponsor))?;
    if member.is_none_or(|member| member.role != Role::Admin) {
        return no(TaskRefusal::NoSponsor(id.clone(), sponsor));
    }
    require_not_frozen(scratch, &sponsor)?;
    token::issue(scratch, site, index, &site.author, row.reward, cause)
}

/// Gives what was set aside back to whoever created the task, a member still or not.
pub(super) fn give_back(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    id: &TaskId,
    row: &TaskRow,
) -> Result<(), Refused> {
    if !row.locks_reward() {
        return Ok(());
    }
    let by = (site.author != row.creator).then_some(site.author);
    token::unlock(scratch, site, index, &row.creator, row.reward, Cause::TaskRefund(id.clone()), by)
}
