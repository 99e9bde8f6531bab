//! The tools: name, what it says to a model, fields, effects. **One place defines them**, and a test compares it with the API's types.

use std::sync::LazyLock;

use rmcp::model::{Tool as Listed, ToolAnnotations};

use super::schema::Kind::{Object, Objects, OneOf, Text, Texts, Truth, Whole, Within};
use super::schema::{Field, may, must, object};
use crate::limits;

/// What a tool does to the world: it decides the four hints that clients show people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Looks only.
    Reads,
    /// Adds something; called again, it adds again, unless the same `idempotency_key` is given.
    Adds,
    /// Sets something; called again, nothing more happens.
    Sets,
    /// Ends or spends something; called again, nothing more happens.
    Ends,
}

/// A tool.
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// Its name, as in the API's words.
    pub name: &'static str,
    /// What it is for, and when.
    pub says: &'static str,
    /// What it does to the world.
    pub effect: Effect,
    /// Whether it reaches beyond this node: other nodes are asked.
    pub is_open: bool,
    /// Whether it takes a group.
    pub in_group: bool,
    /// What it takes besides.
    pub takes: &'static [Field],
    /// What it gives.
    pub gives: &'static [Field],
}

const GROUP: Field = may("group", Text, "");
const STATUSES: &[&str] = &["pending", "assigned", "in_progress", "completed", "failed", "cancelled"];
const PRESENCES: &[&str] = &["active", "idle", "busy", "offline"];

const LIMIT: Field = may("limit", Within(1, limits::PAGE_ROWS as u64), "");
const CURSOR: Field = may("cursor", Text, "");
const SINCE: Field = may("since_ms", Whole, "");
const TAGS: Field = may("tags", Texts, "");
const LEASE: Field = may("lease_ms", Within(*limits::TASK_LEASE_MS.start(), *limits::TASK_LEASE_MS.end()), "");
const ATTEMPT: Field = may("attempt", Whole, "");
const TASK: Field = must("task_id", Text, "");
const ONCE: Field = may("idempotency_key", Text, "");
const NEXT: Field = may("next_cursor", Text, "");
const BLOCK: Field = must("block_id", Text, "");
const CLAIMS: Field = must("claims", Objects, "");

/// How a task stands after a change.
const TASK_CHANGED: &[Field] = &[
    TASK,
    must("status", Text, ""),
    may("assignee", Text, ""),
    must("attempt", Whole, ""),
    // And `lease_until_ms`, `block_id`: what names say is left to them.
];

const fn tool(
    name: &'static str,
    effect: Effect,
    says: &'static str,
    takes: &'static [Field],
    gives: &'static [Field],
) -> Tool {
    Tool { name, says, effect, is_open: false, in_group: true, takes, gives }
}

impl Tool {
    const fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    const fn anywhere(mut self) -> Self {
        self.in_group = false;
        self
    }

    /// What it takes, the group included.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        self.in_group.then_some(GROUP).into_iter().chain(self.takes.iter().copied())
    }

    fn listed(&self) -> Listed {
        let annotations = ToolAnnotations::new()
            .read_only(self.effect == Effect::Reads)
            .destructive(self.effect == Effect::Ends)
            .idempotent(self.effect != Effect::Adds)
            .open_world(self.is_open);
        let mut listed = Listed::new(self.name, self.says, object(self.fields(), true));
        listed.output_schema = Some(object(self.gives.iter().copied(), false));
        listed.annotations = Some(annotations);
        listed
    }
}

/// Every tool, in the sequence in which an agent meets them.
pub const ALL: &[Tool] = &[
    tool(
        "prime",
        Effect::Reads,
        "Call first: who you are, your groups, your tasks, tasks ready to take, what is new since `cursor`.",
        &[CURSOR],
        &[
            must("identity", Text, ""),
            must("groups", Objects, ""),
            must("my_tasks", Objects, ""),
            must("ready_tasks", Objects, ""),
            may("lost", Objects, ""),
            must("new_claims", Objects, ""),
            may("cursor", Text, "for the next prime"),
        ],
    ),
    tool(
        "publish_claim",
        Effect::Adds,
        "Share a piece of knowledge with the group. State one thing, with why.",
        &[
            must("text", Text, ""),
            may("title", Text, ""),
            TAGS,
            may("parent_hash", Text, "claim that this answers"),
            may("supersedes", Texts, "claims that this replaces"),
            may("evidence", Objects, "{kind: command|hash|link|note, and a field of that name}"),
            may("valid_until_ms", Whole, ""),
            ONCE,
        ],
        &[must("claim_hash", Text, ""), BLOCK],
    ),
    tool(
        "compile_context",
        Effect::Reads,
        "What the group knows about a question. Ask before you decide.",
        &[
            must("query", Text, ""),
            may("top_k", Within(1, limits::CONTEXT_TOP_K as u64), ""),
            may("budget_tokens", Whole, ""),
            SINCE,
            may("until_ms", Whole, ""),
            TAGS,
            may("author", Text, ""),
            may("thread", Text, "a claim of it"),
        ],
        &[must("context", Text, ""), must("claim_hashes", Texts, ""), must("items", Objects, "")],
    ),
    tool(
        "get_recent_claims",
        Effect::Reads,
        "The newest claims, or with `thread` the conversation that a claim stands in.",
        &[SINCE, LIMIT, CURSOR, may("thread", Text, "")],
        &[CLAIMS, NEXT],
    ),
    tool(
        "watch_claims",
        Effect::Reads,
        "What became of claims behind `cursor`, in sequence, missing nothing; waits up to `wait_ms` for the next. \
         `since_ms` begins without a cursor.",
        &[CURSOR, SINCE, LIMIT, may("wait_ms", Whole, ""), TAGS, may("author", Text, ""), may("thread", Text, "")],
        &[CLAIMS, must("next_cursor", Text, "")],
    ),
    tool(
        "retract_claim",
        Effect::Ends,
        "Take your claim back.",
        &[must("claim_hash", Text, "")],
        &[must("claim_hash", Text, ""), must("retracted", Truth, ""), may("block_id", Text, "")],
    ),
    tool(
        "submit_experience",
        Effect::Adds,
        "Keep the record of a run (log, JSON).",
        &[must("content", Text, ""), ONCE],
        &[must("experience_hash", Text, ""), BLOCK],
    ),
    tool(
        "create_task",
        Effect::Adds,
        "Hand out work. `task_id` is a new name of your choice: sent again, the same task is created once.",
        &[
            TASK,
            must("title", Text, ""),
            may("description", Text, ""),
            may("due_ms", Whole, ""),
            may("priority", Within(0, limits::TASK_PRIORITY as u64), ""),
            may("depends_on", Texts, ""),
            may("assignee", Text, ""),
            may("reward", Whole, ""),
        ],
        TASK_CHANGED,
    ),
    tool(
        "assign_task",
        Effect::Sets,
        "Give a task to a member, or without `assignee` take it.",
        &[TASK, may("assignee", Text, ""), LEASE],
        TASK_CHANGED,
    ),
    tool(
        "start_task",
        Effect::Adds,
        "Begin a task, taking it where it is free; without `task_id` the best that is ready, one more with each call. \
         Call again with `task_id` before `lease_until_ms` to keep it: a lapsed lease lets others take over, and you \
         are told `task_taken_over`.",
        &[may("task_id", Text, ""), ATTEMPT, LEASE],
        TASK_CHANGED,
    ),
    tool(
        "complete_task",
        Effect::Ends,
        "End your task as done and earn its reward. Publish the result first and name it.",
        &[TASK, ATTEMPT, may("claim_hash", Text, ""), may("result_hash", Text, "")],
        TASK_CHANGED,
    ),
    tool(
        "fail_task",
        Effect::Ends,
        "End your task as not done; with `cancel`, one that you created by mistake.",
        &[TASK, ATTEMPT, may("error_message", Text, ""), may("cancel", Truth, "")],
        TASK_CHANGED,
    ),
    tool(
        "release_task",
        Effect::Sets,
        "Give a task, or a reserved resource, back.",
        &[may("task_id", Text, ""), may("resource", Text, ""), ATTEMPT],
        TASK_CHANGED,
    ),
    tool(
        "list_tasks",
        Effect::Reads,
        "Tasks that have not ended, or of a `status`; `ready`: those that anyone may take now, the best first; \
         `reserved`: reservations; `task_id`: one in full.",
        &[
            may("task_id", Text, ""),
            may("ready", Truth, ""),
            may("mine", Truth, ""),
            may("status", OneOf(STATUSES), ""),
            may("assignee", Text, ""),
            may("creator", Text, ""),
            may("reserved", Truth, ""),
            LIMIT,
            CURSOR,
        ],
        &[must("tasks", Objects, ""), NEXT],
    ),
    tool(
        "reserve_resource",
        Effect::Sets,
        "Reserve a file, port or other named thing for a time, so that two agents do not change it at once. Call \
         again to keep it, `release_task` to free it.",
        &[must("resource", Text, "path from the root, or name"), LEASE],
        &[
            must("reserved", Truth, ""),
            TASK,
            may("holder", Text, ""),
            may("attempt", Whole, ""),
            may("lease_until_ms", Whole, ""),
        ],
    ),
    tool(
        "update_presence",
        Effect::Sets,
        "Say what you are doing; every few minutes while you work.",
        &[must("status", OneOf(PRESENCES), ""), may("metadata", Object, "")],
        &[must("member_id", Text, ""), must("status", Text, ""), must("updated_ms", Whole, "")],
    ),
    tool(
        "get_presence",
        Effect::Reads,
        "Who is here and what they are doing.",
        &[may("stale_threshold_ms", Whole, "")],
        &[must("presence", Objects, "")],
    ),
    tool(
        "create_offer",
        Effect::Adds,
        "Sell a text for the group's tokens.",
        &[
            must("title", Text, ""),
            must("text", Text, "what is sold"),
            must("price", Whole, ""),
            may("description", Text, "what all may read"),
            TAGS,
            may("expires_ms", Whole, ""),
            ONCE,
        ],
        &[must("offer_id", Text, ""), must("package_hash", Text, ""), BLOCK],
    ),
    tool(
        "list_offers",
        Effect::Reads,
        "What is for sale.",
        &[
            may("tag", Text, ""),
            may("max_price", Whole, ""),
            may("seller", Text, ""),
            may("mine", Truth, ""),
            LIMIT,
            CURSOR,
        ],
        &[must("offers", Objects, ""), NEXT],
    ),
    tool(
        "purchase_offer",
        Effect::Ends,
        "Buy an offer and read it. Sent again it pays nothing more, and reads on from `offset`.",
        &[
            must("offer_id", Text, ""),
            may("max_price", Whole, ""),
            may("wait_ms", Whole, ""),
            may("seller", Text, ""),
            may("offset", Whole, "bytes"),
        ],
        &[
            must("offer_id", Text, ""),
            must("status", Text, ""),
            must("opened", Truth, ""),
            may("text", Text, ""),
            may("next_offset", Whole, ""),
        ],
    )
    .open()
    .anywhere(),
    tool(
        "market_pull",
        Effect::Sets,
        "Ask peers for their offers now.",
        &[may("peer", Text, "")],
        &[must("peers", Whole, "")],
    )
    .open()
    .anywhere(),
    tool("list_groups", Effect::Reads, "Your groups.", &[], &[must("groups", Objects, "")]).anywhere(),
    tool(
        "get_group_state",
        Effect::Reads,
        "A group's members, rules, tokens and your balance.",
        &[],
        &[
            must("group_id", Text, ""),
            must("members", Objects, ""),
            must("stats", Object, ""),
            must("balance", Whole, ""),
        ],
    ),
    tool(
        "sync_group",
        Effect::Sets,
        "Ask the members for what is missing here, now.",
        &[],
        &[must("groups", Objects, "")],
    )
    .open(),
];

/// The tool of this name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Tool> {
    ALL.iter().find(|tool| tool.name == name)
}

/// All of them as clients list them.
pub fn listed() -> &'static [Listed] {
    static LISTED: LazyLock<Vec<Listed>> = LazyLock::new(|| ALL.iter().map(Tool::listed).collect());
    &LISTED
}

#[cfg(test)]
mod tests;
