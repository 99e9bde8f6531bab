//! The rows of a task, and the indexes that are kept with them.
//!
//! Table `State`, all below the letters `j q l y w`; ids have no NUL, so that none is the beginning of another's key:
//!
//! | key | value |
//! |---|---|
//! | `j` ‖ id | [`TaskRow`]: what changes |
//! | `j` ‖ id ‖ 0 | [`TaskPlan`]: what does not |
//! | `q` ‖ rank (17) ‖ id | empty: a task that anyone may take, the best first |
//! | `l` ‖ end of the lease, u64be ‖ id | the rank: a task that somebody has, the lease that ends next first |
//! | `y` ‖ assignee (32) ‖ id | empty: a task that the assignee has |
//! | `w` ‖ dependency ‖ 0 ‖ id | empty: the task waits for the dependency |
//!
//! A rank is `u8(255 - priority) ‖ u64be(due, or its greatest value) ‖ u64be(created)`. **An index row is there exactly while the task's
//! own row says so**: both are written by `save` and nowhere else.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::cbor::cbor_array;
use crate::chain::transaction::TaskId;
use crate::chain::{BlockId, ClaimId, ObjectHash};
use crate::identity::Identity;
use crate::ledger::state::Scratch;

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Nobody has it.
    Pending,
    /// Somebody has it, and has not begun.
    Assigned,
    /// Somebody works on it.
    InProgress,
    /// Done.
    Completed,
    /// Whoever had it could not do it.
    Failed,
    /// Not wanted any more.
    Cancelled,
}

impl TaskStatus {
    /// Every status, in the sequence of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Assigned, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled];

    /// Its word, as in JSON and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it changes no more.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether somebody has it.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Assigned | Self::InProgress)
    }
}

impl std::fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

cbor_array! {
    /// What changes of a task.
    pub struct TaskRow {
        /// How it stands.
        pub status: TaskStatus,
        /// Who created it.
        pub creator: Identity,
        /// How it is ranked among those that can be taken.
        pub rank: Rank,
        /// Tokens for whoever completes it.
        pub reward: u64,
        /// The admin who answers for a reward that is made on completion; none where it is set aside, or there is none.
        pub sponsor: Option<Identity>,
        /// How many of its dependencies are not completed.
        pub blocked: u32,
        /// How many tasks wait for it.
        pub dependents: u32,
        /// Who has it, or had it when it ended.
        pub assignee: Option<Identity>,
        /// How often it was assigned.
        pub attempt: u32,
        /// Who had it before, and lost it to whoever has it; none where it was given back.
        pub lost_by: Option<Identity>,
        /// How long the lease is, milliseconds.
        pub lease_ms: u64,
        /// When it ends, milliseconds since 1970 UTC; none where nobody has the task, or it still waits for others.
        pub lease_until_ms: Option<u64>,
        /// The block that changed it last.
        pub block: BlockId,
        /// That block's time, milliseconds since 1970 UTC.
        pub changed_ms: u64,
        /// What came of it; none before.
        pub end: Option<TaskEnd>,
    }

    /// What decides which task is taken first: a higher priority, then what is due earlier, then what is older.
    pub struct Rank {
        /// 0 least, 9 most.
        pub priority: u8,
        /// When it should be done, milliseconds since 1970 UTC.
        pub due_ms: Option<u64>,
        /// When it was created, by the creator's clock, milliseconds since 1970 UTC.
        pub created_ms: u64,
    }

    /// What came of a task.
    pub struct TaskEnd {
        /// The claim that says so.
        pub result: Option<ClaimId>,
        /// The hash of what came of it, where that is no claim.
        pub result_hash: Option<ObjectHash>,
        /// Why it failed.
        pub error_message: Option<String>,
    }

    /// What does not change of a task.
    pub struct TaskPlan {
        /// One line.
        pub title: String,
        /// What is to be done.
        pub description: Option<String>,
        /// Tasks that must be completed before it can start, ascending.
        pub depends_on: Vec<TaskId>,
    }
}

impl Rank {
    /// Length of its bytes.
    pub const BYTES: usize = 17;

    /// Its bytes: the best first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        bytes.push(u8::MAX - self.priority);
        bytes.extend_from_slice(&self.due_ms.unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(&self.created_ms.to_be_bytes());
        bytes
    }
}

impl TaskRow {
    /// Whether the tokens of the reward are set aside now.
    #[must_use]
    pub const fn locks_reward(&self) -> bool {
        self.reward > 0 && self.sponsor.is_none() && !self.status.is_ended()
    }

    /// Whether anyone may take it at this time: all it depends on is completed, and nobody has it, or has had it for too long.
    #[must_use]
    pub fn is_free(&self, at_ms: u64) -> bool {
        let is_over = || self.lease_until_ms.is_some_and(|until| until <= at_ms);
        self.blocked == 0 && (self.status == TaskStatus::Pending || (self.status.is_held() && is_over()))
    }

    /// The rows that the indexes must have of it, with their values.
    pub(super) fn index_rows(&self, id: &TaskId) -> Vec<(Vec<u8>, Option<ByteBuf>)> {
        let mut rows = Vec::new();
        if self.status == TaskStatus::Pending && self.blocked == 0 {
            rows.push((keyed(b'q', &[&self.rank.to_bytes(), id.0.as_bytes()]), None));
        }
        if self.status.is_held() {
            if let Some(assignee) = &self.assignee {
                rows.push((keyed(b'y', &[assignee.as_bytes(), id.0.as_bytes()]), None));
            }
            if let Some(until) = self.lease_until_ms {
                let rank = ByteBuf::from(self.rank.to_bytes());
                rows.push((keyed(b'l', &[&until.to_be_bytes(), id.0.as_bytes()]), Some(rank)));
            }
        }
        rows
    }
}

/// Sets a task's row, and the rows that the indexes have of it.
pub(super) fn save(scratch: &mut Scratch<'_, '_>, id: &TaskId, before: Option<&TaskRow>, after: &TaskRow) {
    let (old, new) = (before.map(|row| row.index_rows(id)).unwrap_or_default(), after.index_rows(id));
    for (key, _) in old.iter().filter(|row| !new.contains(row)) {
        scratch.remove(key.clone());
    }
    for (key, value) in new.into_iter().filter(|row| !old.contains(row)) {
        match value {
            Some(value) => scratch.put(key, &value),
            None => scratch.mark(key),
        }
    }
    scratch.put(task_key(id), after);
}

/// A letter, and the parts behind it.
pub(super) fn keyed(letter: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(letter);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// Key of a task's row.
#[must_use]
pub fn task_key(id: &TaskId) -> Vec<u8> {
    keyed(b'j', &[id.0.as_bytes()])
}

/// Key of what does not change of a task.
#[must_use]
pub fn plan_key(id: &TaskId) -> Vec<u8> {
    keyed(b'j', &[id.0.as_bytes(), &[0]])
}

/// What the keys of all begin with that wait for a task.
pub(super) fn waiting_prefix(dependency: &TaskId) -> Vec<u8> {
    keyed(b'w', &[dependency.0.as_bytes(), &[0]])
}

/// Key of the fact that `task` waits for `dependency`.
pub(super) fn waiting_key(dependency: &TaskId, task: &TaskId) -> Vec<u8> {
    keyed(b'w', &[dependency.0.as_bytes(), &[0], task.0.as_bytes()])
}

/// The task's id in the last bytes of a key.
pub(super) fn id_of(key: &[u8], before: usize) -> Option<TaskId> {
    key.get(before..).and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()).map(TaskId)
}
