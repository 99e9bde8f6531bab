//! Tasks through the API: made, taken, done, listed; and what is refused.

use super::*;
use crate::api::types::{
    AssignTask, CompleteTask, EventKind, FailTask, ListEvents, ListTasks, NewTask, ReadyTasks, ReleaseTask, StartTask,
    TaskStatus,
};
use crate::limits;

fn new(task: &str) -> NewTask {
    serde_json::from_value(serde_json::json!({"task_id": task, "title": format!("Title of {task}")})).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_is_made_taken_done_and_listed() {
    let node = start(1);
    let client = &node.client;
    let group = &node.create("tasks").await;
    let made = client.create_task(group, &new("a")).await.unwrap();
    assert_eq!((made.task_id.as_str(), made.status, made.attempt), ("a", TaskStatus::Pending, 0));
    assert_eq!(made.block_id.len(), 64);
    let second = NewTask {
        description: Some("Behind a".into()),
        priority: 9,
        depends_on: vec!["a".into(), "a".into()],
        reward: 5,
        ..new("b")
    };
    client.create_task(group, &second).await.unwrap();
    let ready = async || {
        let list = client.ready_tasks(group, &ReadyTasks::default()).await.unwrap();
        list.tasks.into_iter().map(|task| task.task_id).collect::<Vec<_>>()
    };
    assert_eq!(ready().await, ["a"]);

    let shown = client.task(group, "b").await.unwrap();
    assert_eq!(
        (shown.task.ready, shown.depends_on, shown.blocked_by[0].task_id.as_str()),
        (false, vec!["a".into()], "a")
    );
    assert_eq!((shown.description.as_deref(), shown.sponsor), (Some("Behind a"), Some(node.me.to_string())));

    let taken = client.assign_task(group, "a", &AssignTask { assignee: None, lease_ms: Some(60_000) }).await.unwrap();
    assert_eq!((taken.status, taken.assignee, taken.attempt), (TaskStatus::Assigned, Some(node.me.to_string()), 1));
    let started = client.start_task(group, "a", &StartTask::default()).await.unwrap();
    assert_eq!((started.status, started.attempt), (TaskStatus::InProgress, 1));
    assert!(started.lease_until_ms > taken.lease_until_ms, "a lease of its own, and longer");
    let claim = node.publish(group, "what came of it").await;
    let hash = "ab".repeat(32);
    let result =
        CompleteTask { attempt: Some(1), claim_hash: Some(claim[..9].to_owned()), result_hash: Some(hash.clone()) };
    assert_eq!(client.complete_task(group, "a", &result).await.unwrap().status, TaskStatus::Completed);
    let shown = client.task(group, "a").await.unwrap();
    assert_eq!((shown.claim_hash, shown.result_hash, shown.error_message), (Some(claim), Some(hash), None));
    assert_eq!(ready().await, ["b"]);

    client.assign_task(group, "b", &AssignTask::default()).await.unwrap();
    assert_eq!(ready().await, Vec::<String>::new());
    client.release_task(group, "b", &ReleaseTask::default()).await.unwrap();
    assert_eq!(ready().await, ["b"]);
    client.assign_task(group, "b", &AssignTask::default()).await.unwrap();
    let why = FailTask { attempt: Some(2), error_message: Some("no network".into()) };
    assert_eq!(client.fail_task(group, "b", &why).await.unwrap().status, TaskStatus::Failed);
    assert_eq!(client.task(group, "b").await.unwrap().error_message.as_deref(), Some("no network"));
    client.create_task(group, &new("c")).await.unwrap();
    assert_eq!(client.cancel_task(group, "c").await.unwrap().status, TaskStatus::Cancelled);

    let mut held = client.events(&ListEvents { after: Some(0), follow: false }).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = held.next().await.unwrap() {
        if let EventKind::TaskChanged { task_id, status, attempt, .. } = event.kind {
            told.push((task_id, status, attempt));
        }
    }
    assert_eq!(told.first(), Some(&("a".to_owned(), TaskStatus::Pending, 0)));
    assert!(told.contains(&("b".to_owned(), TaskStatus::Failed, 2)), "{told:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_listed_page_by_page() {
    let node = start(1);
    let client = &node.client;
    let group = &node.create("pages").await;
    let other = &node.create("other").await;
    for number in 0..5 {
        client.create_task(group, &new(&format!("t{number}"))).await.unwrap();
    }
    client.assign_task(group, "t3", &AssignTask::default()).await.unwrap();
    let page = async |query: ListTasks| {
        let list = client.tasks(group, &query).await.unwrap();
        (list.tasks.into_iter().map(|task| task.task_id).collect::<Vec<_>>(), list.next_cursor)
    };
    let (first, cursor) = page(ListTasks { limit: Some(2), ..ListTasks::default() }).await;
    assert_eq!(first, ["t0", "t1"]);
    let query = ListTasks { limit: Some(2), cursor, ..ListTasks::default() };
    let (second, cursor) = page(query.clone()).await;
    assert_eq!(second, ["t2", "t3"]);
    let (last, end) = page(ListTasks { cursor, ..query.clone() }).await;
    assert_eq!((last, end), (vec!["t4".to_owned()], None));
    let mine = ListTasks { mine: true, status: Some(TaskStatus::Assigned), ..ListTasks::default() };
    assert_eq!(page(mine).await.0, ["t3"]);
    assert_eq!(page(ListTasks { creator: Some(node.me), ..ListTasks::default() }).await.0.len(), 5);
    assert_eq!(code(client.tasks(other, &query).await), ProblemCode::BadCursor, "a cursor of another group");
    for cursor in ["", "zz", "00"] {
        let bad = ListTasks { cursor: Some(cursor.into()), ..ListTasks::default() };
        assert_eq!(code(client.tasks(group, &bad).await), ProblemCode::BadCursor);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_tasks_refuse_has_its_code_and_says_what_to_do() {
    let node = start(1);
    let client = &node.client;
    let group = &node.create("refusals").await;
    client.create_task(group, &new("t")).await.unwrap();
    let stranger = SecretKey::from_seed(&[9; 32]).identity();
    let none = StartTask::default();
    assert_eq!(code(client.create_task(group, &new("t")).await), ProblemCode::TaskExists);
    assert_eq!(code(client.task(group, "u").await), ProblemCode::NoSuchTask);
    assert_eq!(code(client.start_task(group, "u", &none).await), ProblemCode::NoSuchTask);
    assert_eq!(code(client.task(group, "t\0").await), ProblemCode::BadField);
    assert_eq!(code(client.task(group, &"t".repeat(limits::TASK_ID_BYTES + 1)).await), ProblemCode::TooLarge);
    let first = StartTask { attempt: Some(0), lease_ms: None };
    assert_eq!(code(client.start_task(group, "t", &first).await), ProblemCode::TaskNotStarted);
    let given = AssignTask { assignee: Some(stranger), lease_ms: None };
    assert_eq!(code(client.assign_task(group, "t", &given).await), ProblemCode::NoSuchMember);
    for lease_ms in [limits::TASK_LEASE_MS.start() - 1, limits::TASK_LEASE_MS.end() + 1] {
        let short = AssignTask { assignee: None, lease_ms: Some(lease_ms) };
        assert_eq!(code(client.assign_task(group, "t", &short).await), ProblemCode::BadField);
    }
    client.assign_task(group, "t", &AssignTask::default()).await.unwrap();
    let other = StartTask { attempt: Some(2), lease_ms: None };
    assert_eq!(code(client.start_task(group, "t", &other).await), ProblemCode::TaskTakenOver);
    let done = CompleteTask::default();
    assert_eq!(code(client.complete_task(group, "t", &done).await), ProblemCode::TaskNotStarted);
    client.start_task(group, "t", &none).await.unwrap();
    let half = CompleteTask { result_hash: Some("ab".into()), ..done.clone() };
    assert_eq!(code(client.complete_task(group, "t", &half).await), ProblemCode::BadField);
    let nothing = CompleteTask { claim_hash: Some("ab".repeat(32)), ..done.clone() };
    assert_eq!(code(client.complete_task(group, "t", &nothing).await), ProblemCode::NoSuchClaim);
    client.complete_task(group, "t", &done).await.unwrap();
    assert_eq!(code(client.cancel_task(group, "t").await), ProblemCode::TaskEnded);
    for bad in [
        NewTask { title: "two\nlines".into(), ..new("x") },
        NewTask { title: String::new(), ..new("x") },
        NewTask { priority: limits::TASK_PRIORITY + 1, ..new("x") },
        NewTask { depends_on: vec!["a b".into()], ..new("x") },
        NewTask { reward: limits::AMOUNT_MAX + 1, ..new("x") },
        new("ä"),
        new(""),
    ] {
        assert_eq!(code(client.create_task(group, &bad).await), ProblemCode::BadField, "{bad:?}");
    }
    for long in [
        NewTask { description: Some("d".repeat(limits::TASK_DESCRIPTION_BYTES + 1)), ..new("x") },
        NewTask { depends_on: vec!["a".into(); limits::TASK_DEPENDENCIES + 1], ..new("x") },
    ] {
        assert_eq!(code(client.create_task(group, &long).await), ProblemCode::TooLarge);
    }
    let long = FailTask { attempt: None, error_message: Some("e".repeat(limits::ERROR_MESSAGE_BYTES + 1)) };
    assert_eq!(code(client.fail_task(group, "t", &long).await), ProblemCode::TooLarge);
    node.stop().await;
}
