//! The tasks and resources that a client has taken here: where it loses one, its next result says so, whatever it asks.
//!
//! Who subscribes to tasks is told by an update as well ([`super::updates`]). **What is said is a hint**: the ledger decides who has a task, and
//! refuses who has it no more. Only what was taken through this server is looked after, and only while the server lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::acting::Acting;
use super::arguments::Arguments;
use super::updates::is_over;
use crate::api::client::Client;
use crate::api::types::{Event, EventKind, ListEvents, ReserveResource, TaskStatus};
use crate::limits;

/// A group's id, and a task's.
type Place = (String, String);

/// What a client has taken.
#[derive(Debug, Default)]
pub(super) struct Held {
    tasks: Arc<Mutex<Tasks>>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Tasks {
    /// Under which identity each is held.
    held: BTreeMap<Place, String>,
    /// What was lost, and who has it now, where somebody has.
    lost: BTreeMap<Place, Option<String>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(follower) = lock(&self.follower).take() {
            follower.abort();
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    /// Takes in that a tool is called: what is given back is not lost.
    pub(super) fn before(&self, tool: &str, arguments: &Arguments) {
        if !matches!(tool, "complete_task" | "fail_task" | "release_task") {
            return;
        }
        let given = |name: &str| arguments.0.get(name).and_then(Value::as_str);
        let reserved = || Some(ReserveResource::named(given("resource")?, None).ok()?.task_id());
        if let Some(task) = given("task_id").map(str::to_owned).or_else(reserved) {
            lock(&self.tasks).held.retain(|(_, held), _| *held != task);
        }
    }

    /// Takes in what a tool has come to: what is taken is looked after from now on.
    pub(super) async fn after(&self, tool: &str, acting: &Acting, mut arguments: Arguments, result: &CallToolResult) {
        if !matches!(tool, "start_task" | "assign_task" | "reserve_resource") {
            return;
        }
        let of = |name: &str| {
            let value = result.structured_content.as_ref()?.get(name)?;
            value.as_str().map(str::to_owned)
        };
        let holder = of("assignee").or_else(|| of("holder"));
        let (Some(task), Some(holder)) = (of("task_id"), holder) else { return };
        let Ok(group) = acting.group(&mut arguments).await else { return };
        // Events name groups by their ids.
        let Ok(group) = acting.client.group(&group).await.map(|found| found.group.group_id) else { return };
        if acting.identity(&group).await.ok().as_ref() != Some(&holder) {
            return;
        }
        {
            let mut tasks = lock(&self.tasks);
            if tasks.held.len() < limits::mcp::HELD {
                tasks.held.insert((group.clone(), task.clone()), holder);
            }
            tasks.lost.remove(&(group, task));
        }
        let mut follower = lock(&self.follower);
        if follower.as_ref().is_none_or(JoinHandle::is_finished) {
            let (tasks, client) = (Arc::clone(&self.tasks), acting.client.clone());
            *follower = Some(tokio::spawn(async move { follow(&client, &tasks).await }));
        }
    }

    /// Adds to a result what was lost since the last.
    pub(super) fn tell(&self, result: &mut CallToolResult) {
        let lost = std::mem::take(&mut lock(&self.tasks).lost);
        if lost.is_empty() {
            return;
        }
        let mut rows = Vec::new();
        for ((group, task), holder) in lost {
            let by = holder.as_ref().map_or_else(|| "nobody".to_owned(), Clone::clone);
            result.content.push(ContentBlock::text(format!(
                "You lost `{task}`: {by} has it now. Stop working on it; publish what you have, and `start_task` without `task_id` for another."
            )));
            rows.push(json!({"group_id": group, "task_id": task, "holder": holder}));
        }
        if let Some(Value::Object(structured)) = &mut result.structured_content {
            structured.insert("lost_tasks".to_owned(), rows.into());
        }
    }
}

/// Follows what becomes of tasks that are held, until none is.
async fn follow(client: &Client, tasks: &Mutex<Tasks>) {
    loop {
        let followed = client.events(&ListEvents { after: None, follow: true }).await;
        if followed.as_ref().is_err_and(is_over) {
            return;
        }
        if let Ok(mut events) = followed {
            // What changed before the stream began, or while there was none.
            look(client, tasks).await;
            while let Ok(Some(Event { kind, .. })) = events.next().await {
                match kind {
                    EventKind::TaskChanged { group_id, task_id, status, assignee, .. } => {
                        changed(tasks, (group_id, task_id), status, assignee);
                    }
                    // The block of whoever took it may have been refused, or ours.
                    EventKind::Missed { .. }
                    | EventKind::Reset { .. }
                    | EventKind::BlockRejected { .. }
                    | EventKind::BlockReinstated { .. } => {
                        look(client, tasks).await;
                    }
                    _ => {}
                }
                if lock(tasks).held.is_empty() {
                    return;
                }
            }
        }
        if lock(tasks).held.is_empty() {
            return;
        }
        sleep(Duration::from_millis(limits::mcp::FOLLOW_RETRY_MS)).await;
    }
}

/// Looks how each that is held stands.
async fn look(client: &Client, tasks: &Mutex<Tasks>) {
    let places: Vec<Place> = lock(tasks).held.keys().cloned().collect();
    for (group, id) in places {
        if let Ok(found) = client.task(&group, &id).await {
            changed(tasks, (group, id), found.task.status, found.task.assignee);
        }
    }
}

/// Takes in how a task stands.
fn changed(tasks: &Mutex<Tasks>, place: Place, status: TaskStatus, assignee: Option<String>) {
    let mut tasks = lock(tasks);
    let Some(holder) = tasks.held.get(&place) else { return };
    let is_mine = assignee.as_ref() == Some(holder);
    let is_over = matches!(status, TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled);
    if is_mine && !is_over {
        return;
    }
    tasks.held.remove(&place);
    // Whoever it is that ended it in this name has not lost it.
    if !is_mine || status == TaskStatus::Cancelled {
        tasks.lost.insert(place, assignee);
    }
}
