//! Tasks, and resources that are reserved by them.

use serde_json::{Value, json};

use super::fitting;
use crate::api::client::Client;
use crate::api::types::{
    AssignTask, CompleteTask, FailTask, ListTasks, NewTask, ProblemCode, ReadyTasks, ReleaseTask, ReserveResource,
    StartTask, TaskChanged, TaskDetail, TaskStatus,
};
use crate::limits;
use crate::mcp::acting::Acting;
use crate::mcp::answer::{Answer, Failure, lean};
use crate::mcp::arguments::Arguments;

/// Tasks that are tried where others take the best ones at the same time.
const TRIES: usize = 8;

pub(super) async fn create(client: &Client, group: &str, arguments: Arguments) -> Result<Answer, Failure> {
    let task: NewTask = arguments.rest()?;
    task.check()?;
    match client.create_task(group, &task).await.map_err(Failure::from) {
        Ok(created) => Ok(Answer::new(&created)),
        // Sent again: what is there is what was asked for.
        Err(error) if error.code() == Some(ProblemCode::TaskExists) => {
            let found = client.task(group, &task.task_id).await?;
            if is_same(&task, &found) { Ok(unchanged(&found)) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

fn is_same(asked: &NewTask, found: &TaskDetail) -> bool {
    let mut depends_on = asked.depends_on.clone();
    depends_on.sort_unstable();
    depends_on.dedup();
    asked.title == found.task.title
        && asked.description == found.description
        && asked.reward == found.task.reward
        && asked.priority == found.task.priority
        && asked.due_ms == found.task.due_ms
        && depends_on == found.depends_on
}

/// A task that stands as it was asked to.
fn unchanged(TaskDetail { task, .. }: &TaskDetail) -> Answer {
    Answer::new(&json!({
        "task_id": task.task_id,
        "status": task.status,
        "assignee": task.assignee,
        "attempt": task.attempt,
        "lease_until_ms": task.lease_until_ms,
        "already": true,
    }))
}

pub(super) async fn assign(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: String = arguments.need("task_id")?;
    let to: AssignTask = arguments.rest()?;
    to.check()?;
    Ok(Answer::new(&client.assign_task(group, &task, &to).await?))
}

pub(super) async fn start(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: Option<String> = arguments.take("task_id")?;
    let how: StartTask = arguments.rest()?;
    how.check()?;
    let Some(task) = task else { return start_next(client, group, how.lease_ms).await };
    match client.start_task(group, &task, &how).await.map_err(Failure::from) {
        Ok(started) => Ok(Answer::new(&started)),
        // Nobody has it: who starts it takes it.
        Err(error) if error.code() == Some(ProblemCode::TaskNotStarted) && how.attempt.is_none() => {
            Ok(Answer::new(&take(client, group, &task, how.lease_ms).await?))
        }
        Err(error) => Err(error),
    }
}

/// Takes the best task that nobody else takes at the same time.
async fn start_next(client: &Client, group: &str, lease_ms: Option<u64>) -> Result<Answer, Failure> {
    let ready = client.ready_tasks(group, &ReadyTasks { limit: Some(TRIES) }).await?;
    for task in ready.tasks {
        match take(client, group, &task.task_id, lease_ms).await {
            Ok(taken) => {
                let detail = client.task(group, &taken.task_id).await?;
                let mut answer = lean(&taken);
                if let Some(object) = answer.as_object_mut() {
                    object.insert("title".to_owned(), detail.task.title.into());
                    if let Some(description) = detail.description {
                        object.insert("description".to_owned(), description.into());
                    }
                    object.insert("reward".to_owned(), detail.task.reward.into());
                }
                return Ok(Answer::new(&answer));
            }
            Err(error) if matches!(error.code(), Some(ProblemCode::TaskTaken | ProblemCode::TaskTakenOver)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Failure::Said {
        code: "no_ready_task",
        detail: "no task is ready to be taken now".to_owned(),
        remedy: "`list_tasks` shows what is under way; subscribe to the group's tasks, or ask again later",
    })
}

async fn take(client: &Client, group: &str, task: &str, lease_ms: Option<u64>) -> Result<TaskChanged, Failure> {
    let taken = client.assign_task(group, task, &AssignTask { assignee: None, lease_ms }).await?;
    let how = StartTask { attempt: Some(taken.attempt), lease_ms };
    Ok(client.start_task(group, task, &how).await?)
}

pub(super) async fn complete(acting: &Acting, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: String = arguments.need("task_id")?;
    let result: CompleteTask = arguments.rest()?;
    result.check()?;
    match acting.client.complete_task(group, &task, &result).await {
        Ok(completed) => Ok(Answer::new(&completed)),
        Err(error) => ended(acting, group, &task, TaskStatus::Completed, error.into()).await,
    }
}

pub(super) async fn fail(acting: &Acting, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: String = arguments.need("task_id")?;
    let why: FailTask = arguments.rest()?;
    why.check()?;
    match acting.client.fail_task(group, &task, &why).await {
        Ok(failed) => Ok(Answer::new(&failed)),
        Err(error) => ended(acting, group, &task, TaskStatus::Failed, error.into()).await,
    }
}

/// Sent again: the task ended so already, by the one who asks.
async fn ended(acting: &Acting, group: &str, task: &str, as_: TaskStatus, error: Failure) -> Result<Answer, Failure> {
    if error.code() != Some(ProblemCode::TaskEnded) {
        return Err(error);
    }
    let found = acting.client.task(group, task).await?;
    let me = acting.identity(group).await?;
    let is_mine = found.task.assignee.as_deref() == Some(me.as_str());
    if is_mine && found.task.status == as_ { Ok(unchanged(&found)) } else { Err(error) }
}

pub(super) async fn release(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: String = arguments.need("task_id")?;
    let which: ReleaseTask = arguments.rest()?;
    Ok(Answer::new(&client.release_task(group, &task, &which).await?))
}

pub(super) async fn list(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    if let Some(task) = arguments.take::<String>("task_id")? {
        arguments.end()?;
        return Ok(Answer::new(&json!({"tasks": [client.task(group, &task).await?]})));
    }
    let asked = arguments.take("limit")?;
    let rows = limits::mcp::TASK_ROWS;
    let (_, structured) = if arguments.take("ready")?.unwrap_or(false) {
        arguments.end()?;
        ReadyTasks { limit: asked }.check()?;
        fitting(asked, rows, async |limit| client.ready_tasks(group, &ReadyTasks { limit: Some(limit) }).await).await?
    } else {
        let query: ListTasks = arguments.rest()?;
        ListTasks { limit: asked, ..query.clone() }.check()?;
        let ask = async |limit| client.tasks(group, &ListTasks { limit: Some(limit), ..query.clone() }).await;
        fitting(asked, rows, ask).await?
    };
    Ok(Answer::with_text(told(&structured), structured))
}

/// A line for each task: a model that is shown text needs no more to choose.
fn told(structured: &Value) -> String {
    let mut text = String::new();
    for task in structured.get("tasks").and_then(Value::as_array).into_iter().flatten() {
        let of =
            |name: &str| task.get(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let shown = |name: &str| of(name).unwrap_or_default();
        text.push_str(&format!("{} [{}] {:?}", shown("task_id"), shown("status"), shown("title")));
        for (name, said) in [("assignee", " by "), ("reward", " reward "), ("attempt", " attempt ")] {
            if let Some(value) = of(name).filter(|value| value != "0") {
                text.push_str(said);
                text.push_str(&value);
            }
        }
        text.push('\n');
    }
    if let Some(cursor) = structured.get("next_cursor").and_then(Value::as_str) {
        text.push_str(&format!("next_cursor: {cursor}\n"));
    }
    if text.is_empty() { "No tasks.".to_owned() } else { text }
}

pub(super) async fn reserve(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let request = ReserveResource { resource: arguments.need("resource")?, lease_ms: arguments.take("lease_ms")? };
    arguments.end()?;
    request.check()?;
    Ok(Answer::new(&client.reserve_resource(group, &request).await?))
}
