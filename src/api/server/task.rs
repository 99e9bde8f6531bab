//! Tasks: create, hand over, take, do, give back; and lists of them.

use std::sync::Arc;

use axum::Json;

use super::Api;
use super::extract::{As, Body, Params, Segments};
use super::resolve::{self, Found};
use crate::api::types::{
    AssignTask, BlockingTask, CompleteTask, FailTask, ListTasks, NewTask, Problem, ReadyTasks, ReleaseTask, StartTask,
    Task, TaskChanged, TaskDetail, TaskList,
};
use crate::chain::transaction::{
    TaskAssign, TaskCancel, TaskComplete, TaskCreate, TaskFail, TaskId, TaskRelease, TaskStart,
};
use crate::chain::{GroupId, Transaction};
use crate::kv::Read;
use crate::ledger::arrange::is_final;
use crate::ledger::task::query::{self, Filter};
use crate::ledger::{Refusal, TaskRefusal};
use crate::limits;
use crate::runtime::clock::unix_ms;

type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn create(
    As(api): As,
    Segments(group): Segments<String>,
    Body(new): Body<NewTask>,
) -> Answer<TaskChanged> {
    let group = api.group_id(group).await?;
    let mut depends_on: Vec<TaskId> = new.depends_on.into_iter().map(TaskId).collect();
    depends_on.sort_unstable();
    depends_on.dedup();
    let task = TaskId(new.task_id);
    let create = TaskCreate {
        task: task.clone(),
        title: new.title,
        description: new.description,
        due_ms: new.due_ms,
        priority: new.priority,
        depends_on,
        assignee: new.assignee,
        reward: new.reward,
    };
    change(&api, group, task, vec![Transaction::TaskCreate(create)]).await
}

pub(super) async fn assign(
    As(api): As,
    Segments((group, task)): Segments<(String, String)>,
    Body(AssignTask { assignee, lease_ms }): Body<AssignTask>,
) -> Answer<TaskChanged> {
    let (group, task) = (api.group_id(group).await?, named(task)?);
    let assignee = assignee.unwrap_or(api.node().identity);
    let lease_ms = lease_ms.unwrap_or(limits::TASK_DEFAULT_LEASE_MS);
    let assign = TaskAssign { task: task.clone(), assignee, lease_ms };
    change(&api, group, task, vec![Transaction::TaskAssign(assign)]).await
}

pub(super) async fn start(
    As(api): As,
    Segments((group, task)): Segments<(String, String)>,
    Body(StartTask { attempt, lease_ms }): Body<StartTask>,
) -> Answer<TaskChanged> {
    let (group, task) = (api.group_id(group).await?, named(task)?);
    let lease_ms = lease_ms.unwrap_or(limits::TASK_DEFAULT_LEASE_MS);
    let (attempt, take) = match attempt {
        Some(attempt) => (attempt, false),
        None => to_start(&api, group, &task).await?,
    };
    let assign = TaskAssign { task: task.clone(), assignee: api.node().identity, lease_ms };
    let start = TaskStart { task: task.clone(), attempt, lease_ms };
    // In one block: whoever starts what is free has it and has begun, or neither.
    let taken = take.then_some(Transaction::TaskAssign(assign));
    change(&api, group, task, taken.into_iter().chain([Transaction::TaskStart(start)]).collect()).await
}

/// The attempt that the caller starts, and whether it takes the task with it: where it is free, and where it is another's, so that the
/// ledger says whose.
async fn to_start(api: &Arc<Api>, group: GroupId, task: &TaskId) -> Result<(u32, bool), Problem> {
    let id = task.clone();
    let read = move |api: &Api, view: &crate::store::View| {
        let found = resolve::by_id(view, group)?;
        let row = query::row(found.kv.as_ref(), &id)?.ok_or_else(|| no_such_task(&id))?;
        let me = api.node().identity;
        let is_free = row.is_free(unix_ms());
        // One's own whose lease is over is taken anew as well: another worker of the same identity may have had it.
        let is_others = row.assignee != Some(me) && !row.status.is_ended() && row.lost_by != Some(me);
        let take = is_free || is_others;
        Ok((row.attempt.saturating_add(u32::from(take)), take))
    };
    api.read(read).await
}

pub(super) async fn complete(
    As(api): As,
    Segments((group, task)): Segments<(String, String)>,
    Body(CompleteTask { attempt, claim_hash, result_hash }): Body<CompleteTask>,
) -> Answer<TaskChanged> {
    let (group, task) = (api.group_id(group).await?, named(task)?);
    let attempt = attempt_or(&api, group, &task, attempt).await?;
    let result = match claim_hash {
        Some(text) => Some(api.claim_id(group, text).await?),
        None => None,
    };
    // Its form was checked with the request's.
    let result_hash = result_hash.and_then(|hash| hash.parse().ok());
    let complete = TaskComplete { task: task.clone(), attempt, result, result_hash };
    change(&api, group, task, vec![Transaction::TaskComplete(complete)]).await
}

pub(super) async fn fail(
    As(api): As,
    Segments((group, task)): Segments<(String, String)>,
    Body(FailTask { attempt, error_message }): Body<FailTask>,
) -> Answer<TaskChanged> {
    let (group, task) = (api.group_id(group).await?, named(task)?);
    let attempt = attempt_or(&api, group, &task, attempt).await?;
    let fail = TaskFail { task: task.clone(), attempt, error_message };
    change(&api, group, task, vec![Transaction::TaskFail(fail)]).await
}

pub(super) async fn release(
    As(api): As,
    Segments((group, task)): Segments<(String, String)>,
    Body(ReleaseTask { attempt }): Body<ReleaseTask>,
) -> Answer<TaskChanged> {
    let (group, task) = (api.group_id(group).await?, named(task)?);
    let attempt = attempt_or(&api, group, &task, attempt).await?;
    let release = TaskRelease { task: task.clone(), attempt };
    change(&api, group, task, vec![Transaction::TaskRelease(release)]).await
}

pub(super) async fn cancel(As(api): As, Segments((group, task)): Segments<(String, String)>) -> Answer<TaskChanged> {
    let (group, task) = (api.group_id(group).await?, named(task)?);
    let cancel = TaskCancel { task: task.clone() };
    change(&api, group, task, vec![Transaction::TaskCancel(cancel)]).await
}

/// The attempt that is named, or the one that counts. Whose it is, the ledger says.
async fn attempt_or(api: &Arc<Api>, group: GroupId, task: &TaskId, attempt: Option<u32>) -> Result<u32, Problem> {
    if let Some(attempt) = attempt {
        return Ok(attempt);
    }
    let id = task.clone();
    let read = move |_: &Api, view: &crate::store::View| {
        let found = resolve::by_id(view, group)?;
        let row = query::row(found.kv.as_ref(), &id)?.ok_or_else(|| no_such_task(&id))?;
        Ok(row.attempt)
    };
    api.read(read).await
}

/// The task's id that stands in a path.
fn named(text: String) -> Result<TaskId, Problem> {
    let id = TaskId(text);
    id.check()?;
    Ok(id)
}

fn no_such_task(id: &TaskId) -> Problem {
    (&Refusal::Task(TaskRefusal::NoSuchTask(id.clone()))).into()
}

/// Writes what changes a task, and says how it stands then.
async fn change(api: &Arc<Api>, group: GroupId, id: TaskId, transactions: Vec<Transaction>) -> Answer<TaskChanged> {
    let written = api.node().writer.write(api.to_write(group, transactions, vec![])).await?;
    let read = move |_: &Api, view: &crate::store::View| {
        let found = resolve::by_id(view, group)?;
        let kv = found.kv.as_ref();
        let row = query::row(kv, &id)?.ok_or_else(|| no_such_task(&id))?;
        Ok(TaskChanged {
            task_id: id.0,
            status: row.status,
            assignee: row.assignee.map(|assignee| assignee.to_string()),
            attempt: row.attempt,
            lease_until_ms: row.lease_until_ms,
            block_id: written.last_block(),
        })
    };
    api.read(read).await.map(Json)
}

pub(super) async fn list(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<ListTasks>,
) -> Answer<TaskList> {
    let read = move |api: &Api, found: &Found<'_>, _| {
        let kv = found.kv.as_ref();
        let ListTasks { status, assignee, mine, creator, open, reserved, limit, cursor } = &request;
        let assignee = if *mine { Some(api.node().identity) } else { *assignee };
        let filter = Filter { status: *status, assignee, creator: *creator, open: *open, reserved: *reserved };
        let after = cursor.as_deref().map(|cursor| cursor::read(found.id, cursor)).transpose()?;
        let page = query::page(kv, &filter, after.as_ref(), limit.unwrap_or(limits::PAGE_DEFAULT_ROWS))?;
        let next_cursor = page.next.map(|last| cursor::write(found.id, &last));
        Ok(TaskList { tasks: all(kv, page.tasks)?, next_cursor })
    };
    api.read_group(group, read).await.map(Json)
}

pub(super) async fn ready(
    As(api): As,
    Segments(group): Segments<String>,
    Params(request): Params<ReadyTasks>,
) -> Answer<TaskList> {
    let read = move |_: &Api, found: &Found<'_>, _| {
        let kv = found.kv.as_ref();
        let tasks = query::ready(kv, unix_ms(), request.limit.unwrap_or(limits::PAGE_DEFAULT_ROWS))?;
        Ok(TaskList { tasks: all(kv, tasks)?, next_cursor: None })
    };
    api.read_group(group, read).await.map(Json)
}

pub(super) async fn show(As(api): As, Segments((group, id)): Segments<(String, String)>) -> Answer<TaskDetail> {
    let read = move |_: &Api, found: &Found<'_>, _| {
        let kv = found.kv.as_ref();
        let id = named(id)?;
        let task = query::task(kv, &id)?.ok_or_else(|| no_such_task(&id))?;
        let blocked_by = query::blocked_by(kv, &task)?;
        let blocked_by = blocked_by.into_iter().map(|(id, status)| BlockingTask { task_id: id.0, status }).collect();
        let end = task.row.end.as_ref();
        Ok(TaskDetail {
            description: task.plan.description.clone(),
            depends_on: task.plan.depends_on.iter().map(|id| id.0.clone()).collect(),
            blocked_by,
            sponsor: task.row.sponsor.map(|sponsor| sponsor.to_string()),
            claim_hash: end.and_then(|end| end.result).map(|claim| claim.to_string()),
            result_hash: end.and_then(|end| end.result_hash).map(|hash| hash.to_string()),
            error_message: end.and_then(|end| end.error_message.clone()),
            task: one(kv, unix_ms(), task)?,
        })
    };
    api.read_group(group, read).await.map(Json)
}

fn all(kv: &dyn Read, tasks: Vec<query::Task>) -> Result<Vec<Task>, Problem> {
    let now_ms = unix_ms();
    tasks.into_iter().map(|task| one(kv, now_ms, task)).collect()
}

fn one(kv: &dyn Read, now_ms: u64, task: query::Task) -> Result<Task, Problem> {
    let query::Task { id, row, plan } = task;
    Ok(Task {
        task_id: id.0,
        title: plan.title,
        status: row.status,
        assignee: row.assignee.map(|assignee| assignee.to_string()),
        reward: row.reward,
        attempt: row.attempt,
        lease_until_ms: row.lease_until_ms,
        ready: row.is_free(now_ms),
        priority: row.rank.priority,
        due_ms: row.rank.due_ms,
        creator: row.creator.to_string(),
        created_ms: row.rank.created_ms,
        changed_ms: row.changed_ms,
        is_final: is_final(kv, &row.block)?,
    })
}

/// Where the next page of tasks starts: the beginning of the group's id, so that it fits no other group, and the last task's id.
mod cursor {
    use super::{GroupId, Problem, TaskId};
    use crate::api::server::listing::bad_cursor;

    pub fn write(group: GroupId, last: &TaskId) -> String {
        hex::encode([&group.as_bytes()[..8], last.0.as_bytes()].concat())
    }

    pub fn read(group: GroupId, text: &str) -> Result<TaskId, Problem> {
        let bytes = hex::decode(text).map_err(|_| bad_cursor())?;
        let id = bytes.strip_prefix(&group.as_bytes()[..8]).and_then(|id| String::from_utf8(id.to_vec()).ok());
        let id = id.map(TaskId).ok_or_else(bad_cursor)?;
        id.check().map_err(|_| bad_cursor())?;
        Ok(id)
    }
}
