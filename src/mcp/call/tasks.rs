//! Tasks, and resources that are reserved by them.

use serde_json::{Value, json};

use super::fitting;
use crate::api::client::Client;
use crate::api::types::{
    AssignTask, CompleteTask, FailTask, ListTasks, NewTask, ProblemCode, ReadyTasks, ReleaseTask, ReserveResource,
    StartTask, TaskDetail, TaskStatus,
};
use crate::identity::Identity;
use crate::knowledge::fence;
use crate::limits;
use crate::mcp::acting::Acting;
use crate::mcp::answer::{Answer, Failure, clean, cut, lean};
use crate::mcp::arguments::Arguments;

/// Tasks that are tried where others take the best ones at the same time.
const TRIES: usize = 8;

pub(super) async fn create(acting: &Acting, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let client = &acting.client;
    by_name(client, group, &mut arguments, "assignee").await?;
    let task: NewTask = arguments.rest()?;
    task.check()?;
    match client.create_task(group, &task).await.map_err(Failure::from) {
        Ok(created) => Ok(Answer::new(&created)),
        // Sent again: what is there is what was asked for.
        Err(error) if error.code() == Some(ProblemCode::TaskExists) => {
            let found = client.task(group, &task.task_id).await?;
            let is_mine = found.task.creator == acting.identity(group).await?;
            if is_mine && is_same(&task, &found) { Ok(unchanged(&found)) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// Puts a member's id in the place of its name, where one of this node is called so.
async fn by_name(client: &Client, group: &str, arguments: &mut Arguments, field: &str) -> Result<(), Failure> {
    let Some(Value::String(name)) = arguments.0.get(field) else { return Ok(()) };
    if name.parse::<Identity>().is_ok() {
        return Ok(());
    }
    let members = client.members(group).await?.members;
    let Some(member) = members.into_iter().find(|member| member.name.as_ref() == Some(name)) else {
        let mut name = name.clone();
        cut(&mut name, limits::NODE_NAME_BYTES);
        return Err(Failure::Said {
            code: "no_such_member",
            detail: format!("`{field}`: no member is called {name} here"),
            remedy: "`get_group_state` names the members; those of other machines go by `member_id`",
        });
    };
    arguments.0.insert(field.to_owned(), member.member_id.into());
    Ok(())
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
        && asked.assignee.is_none_or(|assignee| found.task.assignee.as_deref() == Some(assignee.to_string().as_str()))
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
    by_name(client, group, &mut arguments, "assignee").await?;
    let to: AssignTask = arguments.rest()?;
    to.check()?;
    match client.assign_task(group, &task, &to).await.map_err(Failure::from) {
        Ok(assigned) => Ok(Answer::new(&assigned)),
        Err(error) if error.code() == Some(ProblemCode::TaskTaken) => {
            // Sent again, or of a task that whoever is meant has begun.
            let found = client.task(group, &task).await?;
            let is_theirs = to.assignee.is_some_and(|meant| found.task.assignee == Some(meant.to_string()));
            if is_theirs { Ok(unchanged(&found)) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn start(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: Option<String> = arguments.take("task_id")?;
    let how: StartTask = arguments.rest()?;
    how.check()?;
    match task {
        Some(task) => started(client, group, lean(&client.start_task(group, &task, &how).await?), &task).await,
        None => start_next(client, group, &how).await,
    }
}

/// Takes the best task that nobody else takes at the same time.
async fn start_next(client: &Client, group: &str, how: &StartTask) -> Result<Answer, Failure> {
    if how.attempt.is_some() {
        return Err(Failure::Arguments("`attempt` is of the task that `task_id` names: give both, or none".to_owned()));
    }
    let ready = client.ready_tasks(group, &ReadyTasks { limit: Some(TRIES) }).await?;
    for task in ready.tasks {
        match client.start_task(group, &task.task_id, how).await.map_err(Failure::from) {
            Ok(taken) => return started(client, group, lean(&taken), &taken.task_id).await,
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

/// A task that was begun, with what is to be done in it.
async fn started(client: &Client, group: &str, mut answer: Value, task: &str) -> Result<Answer, Failure> {
    let detail = client.task(group, task).await?;
    let TaskDetail { task, description, .. } = detail;
    let mut words = format!("title: {}", task.title);
    if let Some(object) = answer.as_object_mut() {
        object.insert("title".to_owned(), task.title.into());
        object.insert("creator".to_owned(), task.creator.into());
        object.insert("reward".to_owned(), task.reward.into());
        if let Some(mut description) = description {
            fit(&mut description, object);
            words = format!("{words}\n{description}");
            object.insert("description".to_owned(), description.into());
        }
    }
    let of = |name: &str| answer.get(name).map(ToString::to_string).unwrap_or_default();
    let head = format!(
        "You have begun {}, attempt {}, reward {}. Call start_task with its task_id again before lease_until_ms {}.\n",
        of("task_id"),
        of("attempt"),
        of("reward"),
        of("lease_until_ms"),
    );
    let words = fence::around(&format!("the task, by its creator {}", of("creator").trim_matches('"')), &words);
    Ok(Answer::with_text(head + &words, answer))
}

/// Cuts a description whose many escapes make it too long for an answer, and says so.
fn fit(description: &mut String, of: &mut serde_json::Map<String, Value>) {
    let most = limits::mcp::ANSWER_BYTES - limits::mcp::CUT_BYTES;
    let escaped = Value::from(description.as_str()).to_string().len();
    if escaped > most {
        let bytes = description.len() * most / escaped;
        cut(description, bytes);
        of.insert("description_cut".to_owned(), "whole in the resource lbm://group/GROUP/task/ID".into());
    }
}

pub(super) async fn complete(acting: &Acting, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: String = arguments.need("task_id")?;
    let result: CompleteTask = arguments.rest()?;
    result.check()?;
    match acting.client.complete_task(group, &task, &result).await {
        Ok(completed) => {
            let mut answer = lean(&completed);
            if let Some(object) = answer.as_object_mut() {
                let hint = "it counts unless another machine was first: then `prime` lists it under `lost`; `final` in `list_tasks` says that it stays";
                object.extend([("final".to_owned(), false.into()), ("hint".to_owned(), hint.into())]);
            }
            Ok(Answer::new(&answer))
        }
        Err(error) => ended(acting, group, &task, TaskStatus::Completed, error.into()).await,
    }
}

pub(super) async fn fail(acting: &Acting, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task: String = arguments.need("task_id")?;
    if arguments.take("cancel")?.unwrap_or(false) {
        arguments.end()?;
        return match acting.client.cancel_task(group, &task).await {
            Ok(cancelled) => Ok(Answer::new(&cancelled)),
            Err(error) => ended(acting, group, &task, TaskStatus::Cancelled, error.into()).await,
        };
    }
    let why: FailTask = arguments.rest()?;
    why.check()?;
    match acting.client.fail_task(group, &task, &why).await {
        Ok(failed) => Ok(Answer::new(&failed)),
        Err(error) => ended(acting, group, &task, TaskStatus::Failed, error.into()).await,
    }
}

/// Sent again: the task ended so already, by the one who asks, or was cancelled.
async fn ended(acting: &Acting, group: &str, task: &str, as_: TaskStatus, error: Failure) -> Result<Answer, Failure> {
    if error.code() != Some(ProblemCode::TaskEnded) {
        return Err(error);
    }
    let found = acting.client.task(group, task).await?;
    let me = acting.identity(group).await?;
    let is_mine = as_ == TaskStatus::Cancelled || found.task.assignee.as_deref() == Some(me.as_str());
    if is_mine && found.task.status == as_ { Ok(unchanged(&found)) } else { Err(error) }
}

pub(super) async fn release(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let task = match (arguments.take::<String>("task_id")?, arguments.take::<String>("resource")?) {
        (Some(task), None) => task,
        (None, Some(name)) => ReserveResource::named(&name, None)?.task_id(),
        _ => return Err(Failure::Arguments("give `task_id` or `resource`, one of them".to_owned())),
    };
    let which: ReleaseTask = arguments.rest()?;
    match client.release_task(group, &task, &which).await.map_err(Failure::from) {
        Ok(released) => Ok(Answer::new(&released)),
        // Sent again: nobody has it.
        Err(error) if error.code() == Some(ProblemCode::TaskNotStarted) => {
            Ok(unchanged(&client.task(group, &task).await?))
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn list(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    if let Some(task) = arguments.take::<String>("task_id")? {
        arguments.end()?;
        let mut task = lean(&client.task(group, &task).await?);
        if let Some(object) = task.as_object_mut()
            && let Some(Value::String(mut description)) = object.remove("description")
        {
            fit(&mut description, object);
            object.insert("description".to_owned(), description.into());
        }
        return Ok(Answer::of_others("the task", &json!({"tasks": [task]})));
    }
    for field in ["assignee", "creator"] {
        by_name(client, group, &mut arguments, field).await?;
    }
    let asked = arguments.take("limit")?;
    let rows = limits::mcp::TASK_ROWS;
    let (_, structured) = if arguments.take("ready")?.unwrap_or(false) {
        arguments.end()?;
        ReadyTasks { limit: asked }.check()?;
        fitting(asked, rows, async |limit| client.ready_tasks(group, &ReadyTasks { limit: Some(limit) }).await).await?
    } else {
        let query: ListTasks = arguments.rest()?;
        // What has ended, and reservations, are shown where they are asked for.
        let open = query.status.is_none();
        let query = ListTasks { open, reserved: query.reserved.or(Some(false)), ..query };
        ListTasks { limit: asked, ..query.clone() }.check()?;
        let ask = async |limit| client.tasks(group, &ListTasks { limit: Some(limit), ..query.clone() }).await;
        fitting(asked, rows, ask).await?
    };
    let structured = clean(structured);
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
    let mut text = if text.is_empty() { "No tasks.\n".to_owned() } else { fence::around("tasks", &text) };
    if let Some(cursor) = structured.get("next_cursor").and_then(Value::as_str) {
        text.push_str(&format!("There are more. next_cursor: {cursor}\n"));
    }
    text
}

pub(super) async fn reserve(client: &Client, group: &str, mut arguments: Arguments) -> Result<Answer, Failure> {
    let request = ReserveResource::named(&arguments.need::<String>("resource")?, arguments.take("lease_ms")?)?;
    arguments.end()?;
    let reserved = client.reserve_resource(group, &request).await?;
    let mut answer = lean(&reserved);
    if let (false, Some(object)) = (reserved.reserved, answer.as_object_mut()) {
        let hint = "`holder` has it until `lease_until_ms`: leave it alone, do something else, and call again then";
        object.insert("hint".to_owned(), hint.into());
    }
    Ok(Answer::new(&answer))
}
