//! Tasks: work that members hand one another.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::block::Wrote;
use super::check::{self, FieldError};
use crate::chain::transaction::TaskId;
use crate::identity::Identity;
pub use crate::ledger::task::TaskStatus;
use crate::limits;

/// Body of `POST …/tasks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTask {
    /// Its name, new in the group, of `[A-Za-z0-9._:-]`.
    pub task_id: String,
    /// One line, at most `limits::TITLE_BYTES`.
    pub title: String,
    /// What is to be done, at most `limits::TASK_DESCRIPTION_BYTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it should be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<u64>,
    /// How much it matters: 0 least, `limits::TASK_PRIORITY` most.
    #[serde(default)]
    pub priority: u8,
    /// Tasks that must be completed before it can start, at most `limits::TASK_DEPENDENCIES`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Who is to do it; whoever takes it, where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Identity>,
    /// Tokens for whoever completes it: made then where an admin creates the task, else set aside now.
    #[serde(default)]
    pub reward: u64,
}

impl NewTask {
    /// Checks each field's bounds.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn check(&self) -> Result<(), FieldError> {
        check::task_id("task_id", &self.task_id)?;
        check::line("title", &self.title, limits::TITLE_BYTES)?;
        if let Some(description) = &self.description {
            check::text("description", description, limits::TASK_DESCRIPTION_BYTES)?;
        }
        check::range("priority", self.priority.into(), 0, limits::TASK_PRIORITY.into())?;
        if self.depends_on.len() > limits::TASK_DEPENDENCIES {
            let (field, count, limit) = ("depends_on", self.depends_on.len(), limits::TASK_DEPENDENCIES);
            return Err(FieldError::TooMany { field, count, limit });
        }
        self.depends_on.iter().try_for_each(|id| check::task_id("depends_on", id))?;
        check::number("reward", self.reward, 0..=limits::AMOUNT_MAX)
    }
}

/// Body of `POST …/tasks/{task}/assign`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssignTask {
    /// To whom; to oneself where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Identity>,
    /// How long until anyone may take it over; `limits::TASK_DEFAULT_LEASE_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

impl AssignTask {
    /// Checks the lease's length.
    ///
    /// # Errors
    /// Where it is out of `limits::TASK_LEASE_MS`.
    pub fn check(&self) -> Result<(), FieldError> {
        lease(self.lease_ms)
    }
}

/// Body of `POST …/tasks/{task}/start`: begins it, taking it where it is free, and once begun keeps it for another lease.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartTask {
    /// The attempt that the caller has. Where it is not given: the one that counts, or a new one where anyone may take the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// How long from now on until anyone may take it over; `limits::TASK_DEFAULT_LEASE_MS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
}

impl StartTask {
    /// Checks the lease's length.
    ///
    /// # Errors
    /// Where it is out of `limits::TASK_LEASE_MS`.
    pub fn check(&self) -> Result<(), FieldError> {
        lease(self.lease_ms)
    }
}

fn lease(lease_ms: Option<u64>) -> Result<(), FieldError> {
    lease_ms.map_or(Ok(()), |lease_ms| check::number("lease_ms", lease_ms, limits::TASK_LEASE_MS))
}

/// Body of `POST …/tasks/{task}/complete`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CompleteTask {
    /// The attempt that the caller has; the one that counts where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The claim that says what came of it: its hash, or a unique prefix of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_hash: Option<String>,
    /// The hash of what came of it, where that is no claim: 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_hash: Option<String>,
}

impl CompleteTask {
    /// Checks the form of the hashes.
    ///
    /// # Errors
    /// Where one is none.
    pub fn check(&self) -> Result<(), FieldError> {
        self.claim_hash.as_deref().map_or(Ok(()), |hash| check::hash("claim_hash", hash))?;
        self.result_hash.as_deref().map_or(Ok(()), |hash| check::full_hash("result_hash", hash))
    }
}

/// Body of `POST …/tasks/{task}/fail`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FailTask {
    /// The attempt that the caller has; the one that counts where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// Why, at most `limits::ERROR_MESSAGE_BYTES`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

impl FailTask {
    /// Checks the message.
    ///
    /// # Errors
    /// Where it breaks its bounds.
    pub fn check(&self) -> Result<(), FieldError> {
        let said = self.error_message.as_deref();
        said.map_or(Ok(()), |said| check::text("error_message", said, limits::ERROR_MESSAGE_BYTES))
    }
}

/// Body of `POST …/tasks/{task}/release`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTask {
    /// The attempt that ends; the one that counts where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// Query of `GET …/tasks`: the tasks that fit all that is given, ascending by id.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListTasks {
    /// How they stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<TaskStatus>,
    /// Who has them, or had them when they ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Identity>,
    /// Only those that the caller has, in place of `assignee`.
    #[serde(default)]
    pub mine: bool,
    /// Who created them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator: Option<Identity>,
    /// Only those that have not ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Only those that stand for reserved resources, or none of them; both where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved: Option<bool>,
    /// Rows of the page, at most `limits::PAGE_ROWS`; `limits::PAGE_DEFAULT_ROWS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

impl ListTasks {
    /// Checks the page's size.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// Query of `GET …/ready-tasks`: those that anyone may take now, the best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyTasks {
    /// At most so many, up to `limits::PAGE_ROWS`; `limits::PAGE_DEFAULT_ROWS` where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl ReadyTasks {
    /// Checks the number of rows.
    ///
    /// # Errors
    /// Where it is 0 or past `limits::PAGE_ROWS`.
    pub fn check(&self) -> Result<(), FieldError> {
        self.limit.map_or(Ok(()), |limit| check::range("limit", limit, 1, limits::PAGE_ROWS))
    }
}

/// A task in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its name in the group.
    pub task_id: String,
    /// One line.
    pub title: String,
    /// How it stands.
    pub status: TaskStatus,
    /// Who has it, or had it when it ended: a peer id.
    pub assignee: Option<String>,
    /// Tokens for whoever completes it.
    pub reward: u64,
    /// How often it was assigned: whoever has it names this number.
    pub attempt: u32,
    /// When the lease of whoever has it ends; `null` where nobody has it, or it still waits for others.
    pub lease_until_ms: Option<u64>,
    /// Whether anyone may take it now.
    pub ready: bool,
    /// How much it matters: 0 to 9.
    pub priority: u8,
    /// When it should be done.
    pub due_ms: Option<u64>,
    /// Who created it: a peer id.
    pub creator: String,
    /// When, by the creator's clock.
    pub created_ms: u64,
    /// When it last changed, by the clock of whoever changed it.
    pub changed_ms: u64,
    /// Whether a seal fixes what it says: nothing can come before its last change any more.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// A page of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskList {
    /// The tasks. A page can have fewer than asked for and still not be the last: it looks at `limits::TASK_SCAN`.
    pub tasks: Vec<Task>,
    /// Where the next page starts; `null` at the end.
    pub next_cursor: Option<String>,
}

/// A task that another one waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlockingTask {
    /// Its name in the group.
    pub task_id: String,
    /// How it stands. What has failed or is cancelled is never completed.
    pub status: TaskStatus,
}

/// A task in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskDetail {
    /// What lists have of it.
    #[serde(flatten)]
    pub task: Task,
    /// What is to be done.
    pub description: Option<String>,
    /// Tasks that must be completed before it can start.
    pub depends_on: Vec<String>,
    /// Those of them that are not.
    pub blocked_by: Vec<BlockingTask>,
    /// The admin who answers for a reward that is made on completion; `null` where it is set aside, or there is none.
    pub sponsor: Option<String>,
    /// The claim that says what came of it.
    pub claim_hash: Option<String>,
    /// The hash of what came of it, where that is no claim.
    pub result_hash: Option<String>,
    /// Why it failed.
    pub error_message: Option<String>,
}

/// Answer to a change of a task: it is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskChanged {
    /// The task's name in the group.
    pub task_id: String,
    /// How it stands now.
    pub status: TaskStatus,
    /// Who has it, or had it when it ended: a peer id.
    pub assignee: Option<String>,
    /// Which attempt counts.
    pub attempt: u32,
    /// When the lease of whoever has it ends.
    pub lease_until_ms: Option<u64>,
    /// The block that says so.
    pub block_id: String,
}

/// A named resource that members reserve in turn: a task that is never done, and whose lease is the reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReserveResource {
    /// What it is called: one line of at most `limits::TITLE_BYTES`, like a path, as [`ReserveResource::named`] writes it.
    pub resource: String,
    /// How long until anyone may take it over; `limits::TASK_DEFAULT_LEASE_MS` where it is not given.
    pub lease_ms: Option<u64>,
}

impl ReserveResource {
    /// The resource of a name, however its path is written: without white space around it, empty and `.` segments, and with `..` resolved.
    /// `./src/main.rs` and `src//main.rs` are `src/main.rs`.
    ///
    /// # Errors
    /// Where it climbs above where it begins, or there is nothing left.
    pub fn named(name: &str, lease_ms: Option<u64>) -> Result<Self, FieldError> {
        let mut segments: Vec<&str> = Vec::new();
        for segment in name.trim().split('/') {
            match segment {
                "" | "." => {}
                ".." if segments.pop().is_none() => return Err(FieldError::Climbs { field: "resource" }),
                ".." => {}
                other => segments.push(other),
            }
        }
        let root = if name.trim_start().starts_with('/') { "/" } else { "" };
        let request = Self { resource: format!("{root}{}", segments.join("/")), lease_ms };
        request.check().map(|()| request)
    }

    /// Checks the name and the lease's length.
    ///
    /// # Errors
    /// Where the name is no line, or the lease is out of `limits::TASK_LEASE_MS`.
    pub fn check(&self) -> Result<(), FieldError> {
        check::line("resource", &self.resource, limits::TITLE_BYTES)?;
        lease(self.lease_ms)
    }

    /// The id of its task: the same for the same name, whatever characters that has.
    #[must_use]
    pub fn task_id(&self) -> String {
        TaskId::of_resource(&self.resource).0
    }
}

/// How a resource stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reserved {
    /// Whether the caller has it.
    pub reserved: bool,
    /// What it is called.
    pub resource: String,
    /// Its task, by which it is released.
    pub task_id: String,
    /// Who has it: a peer id.
    pub holder: Option<String>,
    /// Which attempt counts.
    pub attempt: u32,
    /// When anyone may take it over.
    pub lease_until_ms: Option<u64>,
}

impl Wrote for TaskChanged {
    fn block_id(&self) -> &str {
        &self.block_id
    }
}
