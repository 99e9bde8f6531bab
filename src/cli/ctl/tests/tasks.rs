//! `lbm ctl task`: what is asked, and how tasks and rejected blocks are shown.

use serde_json::{Value, json};

use super::{HASH, ID, asks, run};

fn changed_task() -> Value {
    json!({"task_id": "t", "status": "assigned", "assignee": ID, "attempt": 1, "lease_until_ms": 1_795_350_600_000_u64,
           "block_id": HASH})
}

fn task() -> Value {
    json!({"task_id": "t", "title": "Find the\nleak\u{7}", "status": "pending", "assignee": null, "reward": 50,
           "attempt": 1, "lease_until_ms": null, "ready": true, "priority": 7, "due_ms": 1_795_356_000_000_u64,
           "creator": ID, "created_ms": 1_795_348_680_000_u64, "changed_ms": 1_795_348_680_000_u64, "final": false})
}

#[tokio::test]
async fn each_command_asks_its_route() {
    for (line, answer, request, body) in [
        (
            vec!["task", "create", "--group", "g", "--task", "t", "--title", "T", "--due", "2h", "--depends-on", "u"],
            changed_task(),
            "POST /api/v1/groups/g/tasks",
            json!({"task_id": "t", "title": "T", "due_ms": 1_795_356_000_000_u64, "priority": 0, "depends_on": ["u"], "reward": 0}),
        ),
        (
            vec!["task", "claim", "t.1", "--group", "g", "--lease", "5m"],
            changed_task(),
            "POST /api/v1/groups/g/tasks/t%2E1/assign",
            json!({"lease_ms": 300_000}),
        ),
        (
            vec!["task", "assign", "t", "--group", "g", "--assignee", ID],
            changed_task(),
            "POST /api/v1/groups/g/tasks/t/assign",
            json!({"assignee": ID}),
        ),
        (vec!["task", "start", "t", "--group", "g"], changed_task(), "POST /api/v1/groups/g/tasks/t/start", json!({})),
        (
            vec!["task", "complete", "t", "--group", "g", "--attempt", "2", "--claim", "ab", "--result-hash", HASH],
            changed_task(),
            "POST /api/v1/groups/g/tasks/t/complete",
            json!({"attempt": 2, "claim_hash": "ab", "result_hash": HASH}),
        ),
        (
            vec!["task", "fail", "t", "--group", "g", "--error", "- no network"],
            changed_task(),
            "POST /api/v1/groups/g/tasks/t/fail",
            json!({"error_message": "- no network"}),
        ),
        (
            vec!["task", "release", "t", "--group", "g"],
            changed_task(),
            "POST /api/v1/groups/g/tasks/t/release",
            json!({}),
        ),
        (
            vec!["task", "cancel", "t", "--group", "g"],
            changed_task(),
            "POST /api/v1/groups/g/tasks/t/cancel",
            Value::Null,
        ),
        (
            vec!["task", "list", "--group", "g", "--status", "in_progress", "--mine"],
            json!({"tasks": [], "next_cursor": null}),
            "GET /api/v1/groups/g/tasks?status=in_progress&mine=true&limit=100",
            Value::Null,
        ),
        (
            vec!["task", "ready", "--group", "g", "--limit", "3"],
            json!({"tasks": [], "next_cursor": null}),
            "GET /api/v1/groups/g/ready-tasks?limit=3",
            Value::Null,
        ),
    ] {
        asks(&line, answer, request, body).await;
    }
}

#[tokio::test]
async fn tasks_are_a_table_and_one_is_shown_in_full() {
    let list = run(&["task", "ready", "--group", "g"], json!({"tasks": [task()], "next_cursor": null})).await;
    let expected = "TASK  STATUS   PRIORITY  REWARD  DUE     ASSIGNEE  TITLE\n\
                    t     pending         7      50  in 2 h  -         Find the leak\u{FFFD}\n";
    assert_eq!(list.out, expected);
    let mut detail = task();
    for (key, value) in [
        ("description", json!("Look at\nthe\u{1b}[2J cache")),
        ("depends_on", json!(["a", "b"])),
        ("blocked_by", json!([{"task_id": "b", "status": "failed"}])),
        ("sponsor", json!(ID)),
        ("claim_hash", Value::Null),
        ("result_hash", Value::Null),
        ("error_message", Value::Null),
    ] {
        detail[key] = value;
    }
    let shown = run(&["task", "show", "t", "--group", "g"], detail).await.out;
    let lines = [
        "status     pending, ready to be taken",
        "reward     50 (made on completion)",
        "waits for  b (failed)",
        "state      pending",
    ];
    for line in lines {
        assert!(shown.lines().any(|shown| shown == line), "no `{line}` in: {shown}");
    }
    assert!(shown.ends_with("\n\nLook at\nthe\u{FFFD}[2J cache\n"), "{shown}");
    let claimed = run(&["task", "claim", "t", "--group", "g"], changed_task()).await.out;
    let whose = &ID[ID.len() - 8..];
    assert_eq!(claimed, format!("Task t is assigned, with {whose} (attempt 1), lease until 2026-11-22T12:30:00Z\n"));
}

#[tokio::test]
async fn a_rejected_block_is_told_with_what_it_was_and_why_not() {
    let row = json!({"group_id": HASH, "block_id": HASH, "author": ID, "created_ms": 1_795_348_680_000_u64,
                     "transaction": 0, "final": false, "what": "claimed the task t", "code": "task_taken",
                     "reason": "the task t is another's: wait"});
    let told = run(&["rejected"], json!({"rejected": [row], "next_cursor": null})).await.out;
    let (hash, whose) = (&HASH[..12], &ID[ID.len() - 8..]);
    assert_eq!(
        told,
        format!("{hash} in {hash}, 2 min ago: {whose} claimed the task t\n    the task t is another's: wait\n")
    );
}
