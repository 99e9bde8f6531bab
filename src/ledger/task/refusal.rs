//! Why a transaction about a task is not allowed at its place in the order.

use serde::{Deserialize, Serialize};

use super::rows::TaskStatus;
use crate::chain::ClaimId;
use crate::chain::transaction::TaskId;
use crate::identity::Identity;
use crate::limits;

/// Why a transaction about a task is not allowed. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum TaskRefusal {
    /// The id is taken.
    #[error("there is a task {0} in the group already: choose another id, or look at it with `lbm ctl task show`")]
    Exists(TaskId),
    /// There is no such task.
    #[error("there is no task {0} in the group: `lbm ctl task list` shows which there are")]
    NoSuchTask(TaskId),
    /// The task to depend on can never be completed.
    #[error("the task {0}, on which it depends, is {1} and will never be completed: depend on another task")]
    DependencyEnded(TaskId, TaskStatus),
    /// Too many wait for the task to depend on.
    #[error("{max} tasks wait for {0} already: depend on one of those instead", max = limits::TASK_DEPENDENTS)]
    TooManyDependents(TaskId),
    /// The assignee could not do anything with it.
    #[error(
        "{0} may not write in the group and cannot be given a task: make it a member with `lbm ctl group add-member` or `set-role`"
    )]
    NoWorker(Identity),
    /// What it depends on is not completed.
    #[error("the task {0} waits for {1} others that are not completed: `lbm ctl task show` names them")]
    Blocked(TaskId, u32),
    /// Somebody has it.
    #[error(
        "the task {0} is {1}'s (attempt {2}): take another (`lbm ctl task ready`), or wait until its lease is over or it is released"
    )]
    Taken(TaskId, Identity, u32),
    /// The author has it.
    #[error(
        "the task {0} is already yours (attempt {1}): `lbm ctl task start` begins it, and later keeps it for another lease"
    )]
    TakenByYou(TaskId, u32),
    /// The author had it, and somebody else has it by now.
    #[error(
        "the task {0} is {1}'s by now (attempt {2}): what you have done for it is not lost, publish it as a claim for who goes on \
         with it (`lbm ctl claim publish`)"
    )]
    TakenOver(TaskId, Identity, u32),
    /// Nobody has it.
    #[error(
        "nobody has the task {0}: claim it first (`lbm ctl task claim`); what you have done can be published as a claim"
    )]
    NotAssigned(TaskId),
    /// The named attempt is not the one that counts.
    #[error(
        "of the task {0} attempt {1} is named, and {2} counts: name that, or leave the task to your other worker that has it"
    )]
    OtherAttempt(TaskId, u32, u32),
    /// It was not begun.
    #[error("the task {0} was not started: begin it first (`lbm ctl task start`)")]
    NotStarted(TaskId),
    /// It changes no more.
    #[error("the task {0} is {1} and cannot change any more: create another")]
    Ended(TaskId, TaskStatus),
    /// Only who created it, or an admin, may do this.
    #[error("the task {0} is not yours to give away or to cancel: ask {1}, who created it, or an admin")]
    NotYourTask(TaskId, Identity),
    /// Nobody answers for the reward any more.
    #[error(
        "{1}, who promised the reward of the task {0}, is no admin any more: ask an admin to assign it to you again, then start and complete it"
    )]
    NoSponsor(TaskId, Identity),
    /// The claim that is named as the result does not exist.
    #[error("there is no claim {0} to be the result: publish it first, and give its whole hash")]
    NoSuchResult(ClaimId),
}

impl TaskRefusal {
    /// A stable word for scripts: the `code` of the API's problems.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exists(_) => "task_exists",
            Self::NoSuchTask(_) => "no_such_task",
            Self::DependencyEnded(..) => "dependency_ended",
            Self::TooManyDependents(_) => "too_many_dependents",
            Self::NoWorker(_) => "no_worker",
            Self::Blocked(..) => "task_blocked",
            Self::Taken(..) => "task_taken",
            Self::TakenByYou(..) => "task_taken_by_you",
            Self::TakenOver(..) => "task_taken_over",
            Self::NotAssigned(_) => "task_not_assigned",
            Self::OtherAttempt(..) => "other_attempt",
            Self::NotStarted(_) => "task_not_started",
            Self::Ended(..) => "task_ended",
            Self::NotYourTask(..) => "not_your_task",
            Self::NoSponsor(..) => "no_sponsor",
            Self::NoSuchResult(_) => "no_such_result",
        }
    }
}
