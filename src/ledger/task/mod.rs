//! Work that members hand one another: created, taken, done, and paid for once.
//!
//! **Who has a task is told apart by the attempt**: each assignment is a new one, and what an older one says is refused, so that a
//! worker whose lease ran out cannot end what another has taken over. **A task ends once, and its reward goes to one place.** What
//! a task depends on existed before it, so that no two wait for each other.

mod check;
pub mod query;
mod refusal;
mod reward;
pub mod rows;

pub(super) use self::check::check;
pub use self::refusal::TaskRefusal;
pub use self::rows::{TaskPlan, TaskRow, TaskStatus};

use self::rows::{Rank, TaskEnd, id_of, plan_key, save, task_key, waiting_key, waiting_prefix};
use super::fold::{Refused, Site, refuse};
use super::membership::require;
use super::outcome::Refusal;
use super::state::{self, ClaimRow, Member, Scratch};
use crate::chain::Role;
use crate::chain::transaction::{
    TaskAssign, TaskCancel, TaskComplete, TaskCreate, TaskFail, TaskId, TaskRelease, TaskStart,
};
use crate::identity::Identity;
use crate::limits;

fn no<T>(refusal: TaskRefusal) -> Result<T, Refused> {
    refuse(Refusal::Task(refusal))
}

pub(super) fn create(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &TaskCreate) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Member)?;
    if scratch.get::<TaskRow>(&task_key(&it.task))?.is_some() {
        return no(TaskRefusal::Exists(it.task.clone()));
    }
    if let Some(assignee) = &it.assignee {
        require_worker(scratch, assignee)?;
    }
    let is_promised = it.reward > 0 && role == Role::Admin;
    let mut row = TaskRow {
        status: TaskStatus::Pending,
        creator: site.author,
        rank: Rank { priority: it.priority, due_ms: it.due_ms, created_ms: site.time_ms },
        reward: it.reward,
        sponsor: is_promised.then_some(site.author),
        blocked: wait_for(scratch, site, it)?,
        dependents: 0,
        assignee: None,
        attempt: 0,
        lost_by: None,
        lease_ms: 0,
        lease_until_ms: None,
        block: site.block,
        changed_ms: site.time_ms,
        end: None,
    };
    if row.locks_reward() {
        reward::set_aside(scratch, site, index, &it.task, row.reward)?;
    }
    if let Some(assignee) = it.assignee {
        give(&mut row, site, assignee, limits::TASK_DEFAULT_LEASE_MS);
    }
    save(scratch, &it.task, None, &row);
    let plan =
        TaskPlan { title: it.title.clone(), description: it.description.clone(), depends_on: it.depends_on.clone() };
    scratch.put(plan_key(&it.task), &plan);
    Ok(())
}

/// Makes a new task wait for those it depends on; how many are not completed.
fn wait_for(scratch: &mut Scratch<'_, '_>, site: &Site, it: &TaskCreate) -> Result<u32, Refused> {
    let mut blocked = 0;
    for dependency in &it.depends_on {
        let before = existing(scratch, dependency)?;
        match before.status {
            TaskStatus::Completed => continue,
            ended if ended.is_ended() => return no(TaskRefusal::DependencyEnded(dependency.clone(), ended)),
            _ if before.dependents >= limits::TASK_DEPENDENTS => {
                return no(TaskRefusal::TooManyDependents(dependency.clone()));
            }
            _ => {}
        }
        let after = TaskRow { dependents: before.dependents + 1, ..touched(&before, site) };
        save(scratch, dependency, Some(&before), &after);
        scratch.mark(waiting_key(dependency, &it.task));
        blocked += 1;
    }
    Ok(blocked)
}

pub(super) fn assign(scratch: &mut Scratch<'_, '_>, site: &Site, it: &TaskAssign) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Member)?;
    let before = open(scratch, &it.task)?;
    let may_give = role == Role::Admin || owns(&before, site, &it.task);
    if it.assignee != site.author && !may_give {
        return no(TaskRefusal::NotYourTask(it.task.clone(), before.creator));
    }
    // Who takes a task for itself takes it from nobody, whatever its rights: of two who claim it at once the first has it.
    if it.assignee == site.author && !before.is_free(site.time_ms) {
        match before.assignee {
            Some(holder) if holder == site.author => {
                return no(TaskRefusal::TakenByYou(it.task.clone(), before.attempt));
            }
            Some(holder) => return no(TaskRefusal::Taken(it.task.clone(), holder, before.attempt)),
            None if !may_give => return no(TaskRefusal::Blocked(it.task.clone(), before.blocked)),
            None => {}
        }
    }
    require_worker(scratch, &it.assignee)?;
    let mut after = touched(&before, site);
    if after.sponsor.is_some() && role == Role::Admin {
        after.sponsor = Some(site.author);
    }
    give(&mut after, site, it.assignee, it.lease_ms);
    save(scratch, &it.task, Some(&before), &after);
    Ok(())
}

pub(super) fn start(scratch: &mut Scratch<'_, '_>, site: &Site, it: &TaskStart) -> Result<(), Refused> {
    let before = held(scratch, site, &it.task, it.attempt)?;
    if before.blocked > 0 {
        return no(TaskRefusal::Blocked(it.task.clone(), before.blocked));
    }
    let mut after = TaskRow { status: TaskStatus::InProgress, lease_ms: it.lease_ms, ..touched(&before, site) };
    begin_lease(&mut after, site);
    save(scratch, &it.task, Some(&before), &after);
    Ok(())
}

pub(super) fn complete(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    index: u32,
    it: &TaskComplete,
) -> Result<(), Refused> {
    let before = held(scratch, site, &it.task, it.attempt)?;
    if before.status != TaskStatus::InProgress {
        return no(TaskRefusal::NotStarted(it.task.clone()));
    }
    if let Some(result) = &it.result
        && scratch.get::<ClaimRow>(&state::claim_key(result))?.is_none()
    {
        return no(TaskRefusal::NoSuchResult(*result));
    }
    reward::pay(scratch, site, index, &it.task, &before)?;
    let end = TaskEnd { result: it.result, result_hash: it.result_hash, error_message: None };
    end_as(scratch, site, &it.task, &before, TaskStatus::Completed, end)?;
    release_dependents(scratch, site, &it.task)
}

/// Whoever waits for a task that is completed waits for one less.
fn release_dependents(scratch: &mut Scratch<'_, '_>, site: &Site, id: &TaskId) -> Result<(), Refused> {
    let prefix = waiting_prefix(id);
    for key in scratch.keys(&prefix)? {
        let Some(dependent) = id_of(&key, prefix.len()) else { continue };
        let before: TaskRow = scratch.expect(&task_key(&dependent))?;
        let mut after = TaskRow { blocked: before.blocked.saturating_sub(1), ..touched(&before, site) };
        if after.status.is_held() {
            begin_lease(&mut after, site);
        }
        save(scratch, &dependent, Some(&before), &after);
        scratch.remove(key);
    }
    Ok(())
}

pub(super) fn fail(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &TaskFail) -> Result<(), Refused> {
    let before = held(scratch, site, &it.task, it.attempt)?;
    reward::give_back(scratch, site, index, &it.task, &before)?;
    let end = TaskEnd { result: None, result_hash: None, error_message: it.error_message.clone() };
    end_as(scratch, site, &it.task, &before, TaskStatus::Failed, end)
}

pub(super) fn release(scratch: &mut Scratch<'_, '_>, site: &Site, it: &TaskRelease) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Member)?;
    let before = open(scratch, &it.task)?;
    let may_take_back = role == Role::Admin || owns(&before, site, &it.task);
    let Some(holder) = before.assignee else { return no(TaskRefusal::NotAssigned(it.task.clone())) };
    if it.attempt != before.attempt {
        return no(other_attempt(site, &it.task, it.attempt, holder, &before));
    }
    if holder != site.author && !may_take_back && !before.is_free(site.time_ms) {
        return no(TaskRefusal::Taken(it.task.clone(), holder, before.attempt));
    }
    // Whoever gives it back loses nothing; from whom it is taken back does.
    let lost_by = (holder != site.author).then_some(holder);
    let after = TaskRow {
        status: TaskStatus::Pending,
        assignee: None,
        lost_by,
        lease_until_ms: None,
        ..touched(&before, site)
    };
    save(scratch, &it.task, Some(&before), &after);
    Ok(())
}

pub(super) fn cancel(scratch: &mut Scratch<'_, '_>, site: &Site, index: u32, it: &TaskCancel) -> Result<(), Refused> {
    let role = require(scratch, site, Role::Member)?;
    let before = open(scratch, &it.task)?;
    if role != Role::Admin && before.creator != site.author {
        return no(TaskRefusal::NotYourTask(it.task.clone(), before.creator));
    }
    reward::give_back(scratch, site, index, &it.task, &before)?;
    let end = TaskEnd { result: None, result_hash: None, error_message: None };
    end_as(scratch, site, &it.task, &before, TaskStatus::Cancelled, end)
}

/// Ends a task; it waits for nothing any more.
fn end_as(
    scratch: &mut Scratch<'_, '_>,
    site: &Site,
    id: &TaskId,
    before: &TaskRow,
    status: TaskStatus,
    end: TaskEnd,
) -> Result<(), Refused> {
    if before.blocked > 0 {
        let plan: TaskPlan = scratch.expect(&plan_key(id))?;
        for dependency in &plan.depends_on {
            stop_waiting(scratch, site, dependency, id)?;
        }
    }
    // Whoever waits for a task that is completed is released; for another it waits in vain.
    let dependents = if status == TaskStatus::Completed { 0 } else { before.dependents };
    let after = TaskRow { status, dependents, lease_until_ms: None, end: Some(end), ..touched(before, site) };
    save(scratch, id, Some(before), &after);
    Ok(())
}

fn stop_waiting(scratch: &mut Scratch<'_, '_>, site: &Site, dependency: &TaskId, id: &TaskId) -> Result<(), Refused> {
    let before: TaskRow = scratch.expect(&task_key(dependency))?;
    if before.status == TaskStatus::Completed {
        return Ok(());
    }
    let after = TaskRow { dependents: before.dependents.saturating_sub(1), ..touched(&before, site) };
    save(scratch, dependency, Some(&before), &after);
    scratch.remove(waiting_key(dependency, id));
    Ok(())
}

/// Whether the author may dispose of a task as its creator. A resource is nobody's: who reserved it first is one of many.
fn owns(row: &TaskRow, site: &Site, id: &TaskId) -> bool {
    row.creator == site.author && !id.is_resource()
}

fn existing(scratch: &Scratch<'_, '_>, id: &TaskId) -> Result<TaskRow, Refused> {
    match scratch.get(&task_key(id))? {
        Some(row) => Ok(row),
        None => no(TaskRefusal::NoSuchTask(id.clone())),
    }
}

/// A task that has not ended.
fn open(scratch: &Scratch<'_, '_>, id: &TaskId) -> Result<TaskRow, Refused> {
    let row = existing(scratch, id)?;
    if row.status.is_ended() { no(TaskRefusal::Ended(id.clone(), row.status)) } else { Ok(row) }
}

/// A task that the author has, with the attempt that it names. Whoever has it may be late: only another's claim takes it away.
fn held(scratch: &Scratch<'_, '_>, site: &Site, id: &TaskId, attempt: u32) -> Result<TaskRow, Refused> {
    require(scratch, site, Role::Member)?;
    let row = open(scratch, id)?;
    match row.assignee {
        None => no(TaskRefusal::NotAssigned(id.clone())),
        Some(holder) if holder != site.author || attempt != row.attempt => {
            no(other_attempt(site, id, attempt, holder, &row))
        }
        Some(_) => Ok(row),
    }
}

fn other_attempt(site: &Site, id: &TaskId, named: u32, holder: Identity, row: &TaskRow) -> TaskRefusal {
    if holder == site.author {
        TaskRefusal::OtherAttempt(id.clone(), named, row.attempt)
    } else if named < row.attempt || row.lost_by == Some(site.author) {
        TaskRefusal::TakenOver(id.clone(), holder, row.attempt)
    } else {
        TaskRefusal::Taken(id.clone(), holder, row.attempt)
    }
}

/// The row as this block changes it.
fn touched(before: &TaskRow, site: &Site) -> TaskRow {
    TaskRow { block: site.block, changed_ms: site.time_ms, ..before.clone() }
}

/// Makes a task somebody's: a new attempt.
fn give(row: &mut TaskRow, site: &Site, assignee: Identity, lease_ms: u64) {
    row.status = TaskStatus::Assigned;
    if row.assignee.is_some_and(|before| before != assignee) {
        row.lost_by = row.assignee;
    }
    if row.lost_by == Some(assignee) {
        row.lost_by = None;
    }
    row.assignee = Some(assignee);
    // A chain with as many assignments would have hundreds of gigabytes.
    row.attempt = row.attempt.saturating_add(1);
    row.lease_ms = lease_ms;
    begin_lease(row, site);
}

/// The lease runs from this block's time on, once nothing is waited for.
fn begin_lease(row: &mut TaskRow, site: &Site) {
    row.lease_until_ms = (row.blocked == 0).then(|| site.time_ms.saturating_add(row.lease_ms));
}

fn require_worker(scratch: &Scratch<'_, '_>, assignee: &Identity) -> Result<(), Refused> {
    match scratch.get::<Member>(&state::member_key(assignee))? {
        Some(member) if member.role >= Role::Member => Ok(()),
        _ => no(TaskRefusal::NoWorker(*assignee)),
    }
}

#[cfg(test)]
mod tests;
