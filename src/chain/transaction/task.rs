//! Work that members hand one another.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{FormError, amount, line, text, word};
use crate::cbor::cbor_array;
use crate::chain::ids::{ClaimId, ObjectHash};
use crate::identity::Identity;
use crate::limits;

/// How the ids of tasks begin that stand for a named resource.
const RESOURCE: &str = "resource:";

/// A task's name in its group, chosen by who creates it, of `[A-Za-z0-9._:-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub String);

impl TaskId {
    /// The id of the task that stands for a resource of this name: the same on every node, whatever characters the name has.
    #[must_use]
    pub fn of_resource(name: &str) -> Self {
        let hash = blake3::hash(name.as_bytes()).to_hex();
        Self(format!("{RESOURCE}{}", &hash[..24]))
    }

    /// Whether it stands for a resource, which whoever has the task has reserved.
    #[must_use]
    pub fn is_resource(&self) -> bool {
        self.0.starts_with(RESOURCE)
    }

    /// Checks that a task of this id may end. One that stands for a resource is released and taken again, for ever: were it ended, nobody
    /// could reserve the resource any more.
    ///
    /// # Errors
    /// [`FormError::Resource`] where it may not.
    pub fn ends(&self) -> Result<(), FormError> {
        if self.is_resource() { Err(FormError::Resource(self.0.clone())) } else { Ok(()) }
    }

    /// Checks its length and its alphabet.
    ///
    /// # Errors
    /// [`FormError`] names the rule.
    pub fn check(&self) -> Result<(), FormError> {
        let of_id = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        word("the task's id", &self.0, limits::TASK_ID_BYTES, "A-Z a-z 0-9 . _ : -", of_id)?;
        if self.0.chars().all(|c| c == '.') {
            // A path with such a segment is another path.
            return Err(FormError::Characters { field: "the task's id", allowed: "A-Z a-z 0-9 _ : - besides dots" });
        }
        Ok(())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

cbor_array! {
    /// Creates a task.
    pub struct TaskCreate {
        /// Its name, new in the group.
        pub task: TaskId,
        /// One line.
        pub title: String,
        /// What is to be done, or none.
        pub description: Option<String>,
        /// When it should be done, milliseconds since 1970 UTC.
        pub due_ms: Option<u64>,
        /// How much it matters: 0 least, 9 most.
        pub priority: u8,
        /// Tasks that must be completed before it can start, ascending and distinct.
        pub depends_on: Vec<TaskId>,
        /// Who is to do it; none leaves it to whoever takes it.
        pub assignee: Option<Identity>,
        /// Tokens for whoever completes it. An admin's are made then; another member's are set aside now.
        pub reward: u64,
    }

    /// Gives a task to a member, or takes it oneself. Each assignment is a new attempt.
    pub struct TaskAssign {
        /// Which.
        pub task: TaskId,
        /// To whom.
        pub assignee: Identity,
        /// How long the assignee has it before anyone may take it over, milliseconds.
        pub lease_ms: u64,
    }

    /// Begins to work on a task, and once begun keeps it for another lease.
    pub struct TaskStart {
        /// Which.
        pub task: TaskId,
        /// The attempt that the author holds.
        pub attempt: u32,
        /// How long from now on, milliseconds.
        pub lease_ms: u64,
    }

    /// Ends a task as done.
    pub struct TaskComplete {
        /// Which.
        pub task: TaskId,
        /// The attempt that the author holds.
        pub attempt: u32,
        /// The claim that says what came of it.
        pub result: Option<ClaimId>,
        /// The hash of what came of it, where that is no claim.
        pub result_hash: Option<ObjectHash>,
    }

    /// Ends a task as not done.
    pub struct TaskFail {
        /// Which.
        pub task: TaskId,
        /// The attempt that the author holds.
        pub attempt: u32,
        /// Why, or none.
        pub error_message: Option<String>,
    }

    /// Gives a task back, for others to take.
    pub struct TaskRelease {
        /// Which.
        pub task: TaskId,
        /// The attempt that ends.
        pub attempt: u32,
    }

    /// Ends a task that is not wanted any more.
    pub struct TaskCancel {
        /// Which.
        pub task: TaskId,
    }
}

impl TaskCreate {
    /// Checks each field's form.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        self.task.check()?;
        line("the title", &self.title, limits::TITLE_BYTES)?;
        if let Some(description) = &self.description {
            text("the description", description, limits::TASK_DESCRIPTION_BYTES)?;
        }
        amount("the priority", self.priority.into(), 0, limits::TASK_PRIORITY.into())?;
        amount("the reward", self.reward, 0, limits::AMOUNT_MAX)?;
        if self.depends_on.len() > limits::TASK_DEPENDENCIES {
            let (field, got, max) = ("tasks to depend on", self.depends_on.len(), limits::TASK_DEPENDENCIES);
            return Err(FormError::Count { field, got, max });
        }
        for id in &self.depends_on {
            id.check().and_then(|()| id.ends())?;
        }
        if self.task.is_resource() && !self.is_of_resource() {
            return Err(FormError::Resource(self.task.0.clone()));
        }
        if self.depends_on.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(FormError::Unsorted("the tasks to depend on"));
        }
        match self.assignee {
            Some(assignee) if !assignee.is_usable() => Err(FormError::Key(assignee)),
            _ => Ok(()),
        }
    }
}

impl TaskCreate {
    /// Whether a task that stands for a resource is as all such are: named by its title, and free for all. Anybody else's would keep others
    /// from the resource.
    fn is_of_resource(&self) -> bool {
        let Self { task, title, description, due_ms, priority, depends_on, assignee, reward } = self;
        let says_more = description.is_some() || due_ms.is_some() || assignee.is_some() || !depends_on.is_empty();
        *task == TaskId::of_resource(title) && !says_more && *priority == 0 && *reward == 0
    }
}

/// Checks a lease's length.
pub(super) fn lease(lease_ms: u64) -> Result<(), FormError> {
    amount("the lease", lease_ms, *limits::TASK_LEASE_MS.start(), *limits::TASK_LEASE_MS.end())
}

impl TaskFail {
    /// Checks the task's id and the message.
    ///
    /// # Errors
    /// [`FormError`] names the field and the rule.
    pub fn check(&self) -> Result<(), FormError> {
        self.task.check().and_then(|()| self.task.ends())?;
        self.error_message.iter().try_for_each(|said| text("the error message", said, limits::ERROR_MESSAGE_BYTES))
    }
}
