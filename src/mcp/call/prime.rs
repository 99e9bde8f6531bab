//! `prime`: what an agent needs to know before it does anything, in few words.

use serde_json::{Value, json};

use crate::api::client::Client;
use crate::api::types::{
    AskBalance, Claim, ListTasks, ProblemCode, ReadyTasks, RecentClaims, Task, TaskStatus, WatchClaims,
};
use crate::limits::mcp::PRIME_BYTES;
use crate::mcp::acting::Acting;
use crate::mcp::answer::{Answer, Failure, cut, fenced, lean};
use crate::mcp::arguments::Arguments;

/// Rows of each part.
const ROWS: usize = 4;
/// Bytes of a title or of a claim's text.
const LINE_BYTES: usize = 160;

const HELP: &str = "Ask compile_context before you decide. Take work with start_task (no task_id: the best one), call it again \
before the lease ends, publish_claim what you learn, complete_task with its claim_hash. reserve_resource before you edit what others \
may edit. update_presence while you work. Pass `cursor` to the next prime.";

pub(super) async fn prime(acting: &Acting, group: String, mut arguments: Arguments) -> Result<Answer, Failure> {
    let client = &acting.client;
    let cursor: Option<String> = arguments.take("cursor")?;
    arguments.end()?;
    let groups = client.groups().await?.groups;
    let mut listed = Vec::new();
    for group in groups.iter().take(2 * ROWS) {
        listed
            .push(json!({"group_id": group.group_id, "name": group.name, "role": group.role, "claims": group.claims}));
    }
    let group = match if group.is_empty() { acting.default_group().await } else { Ok(group) } {
        Ok(group) => group,
        Err(error @ Failure::Said { .. }) => {
            let identity = client.status().await?.member_id;
            let structured = json!({
                "identity": identity, "agent": acting.agent, "groups": listed, "my_tasks": [], "ready_tasks": [], "new_claims": [],
                "help": error.to_string(),
            });
            let structured = lean(&structured);
            let agent = acting.agent.as_ref().map(|name| format!(", agent {name}")).unwrap_or_default();
            let text = format!("You are {identity}{agent}.\ngroups: {}\n{error}", json!(listed));
            return Ok(Answer::with_text(text, structured));
        }
        Err(error) => return Err(error),
    };
    let balance = client.balance(&group, &AskBalance { account: None }).await?;
    let mut mine = Vec::new();
    for status in [TaskStatus::InProgress, TaskStatus::Assigned] {
        let query = ListTasks { mine: true, status: Some(status), limit: Some(ROWS), ..ListTasks::default() };
        mine.extend(client.tasks(&group, &query).await?.tasks);
    }
    let ready = client.ready_tasks(&group, &ReadyTasks { limit: Some(ROWS) }).await?.tasks;
    let (mut claims, cursor, more) = news(client, &group, cursor).await?;
    claims.iter_mut().for_each(|claim| cut(&mut claim.text, LINE_BYTES));
    let held: Vec<_> = mine.iter().take(2 * ROWS).map(task).collect();
    let ready: Vec<_> = ready.iter().map(task).collect();
    loop {
        let new: Vec<_> =
            claims.iter().map(|claim| json!({"claim_hash": claim.claim_hash, "author": claim.author})).collect();
        let structured = json!({
            "identity": balance.account,
            "agent": acting.agent,
            "group_id": group,
            "balance": balance.balance,
            "groups": listed,
            "my_tasks": held,
            "ready_tasks": ready,
            "new_claims": new,
            "more_claims": more,
            "cursor": cursor,
        });
        let structured = lean(&structured);
        let text = told(&structured, &claims);
        if (structured.to_string().len() <= PRIME_BYTES && text.len() <= PRIME_BYTES) || claims.is_empty() {
            return Ok(Answer::with_text(text, structured));
        }
        claims.pop();
    }
}

/// What is new behind a cursor, or the newest where there is none; where to go on; whether there is more of it.
async fn news(client: &Client, group: &str, cursor: Option<String>) -> Result<(Vec<Claim>, String, bool), Failure> {
    if cursor.is_some() {
        let query = WatchClaims { cursor, limit: Some(ROWS), ..WatchClaims::default() };
        match client.watch_claims(group, &query).await.map_err(Failure::from) {
            Ok(page) => {
                let more = page.claims.len() == ROWS;
                return Ok((page.claims.into_iter().map(|row| row.claim).collect(), page.next_cursor, more));
            }
            // The data folder or the membership is another than then: begin anew.
            Err(error) if matches!(error.code(), Some(ProblemCode::CursorGone | ProblemCode::BadCursor)) => {}
            Err(error) => return Err(error),
        }
    }
    // First where to go on, so that what comes in between is told twice and not missed.
    let now = WatchClaims { since_ms: Some(u64::from(u32::MAX) << 20), limit: Some(1), ..WatchClaims::default() };
    let behind = client.watch_claims(group, &now).await?.next_cursor;
    let newest = client.recent_claims(group, &RecentClaims { limit: Some(ROWS), ..RecentClaims::default() }).await?;
    Ok((newest.claims, behind, newest.next_cursor.is_some()))
}

fn task(task: &Task) -> Value {
    let mut title = task.title.clone();
    cut(&mut title, LINE_BYTES);
    json!({
        "task_id": task.task_id, "title": title, "status": task.status, "attempt": task.attempt, "reward": task.reward,
        "lease_until_ms": task.lease_until_ms,
    })
}

fn told(structured: &Value, claims: &[Claim]) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |name: &str| structured.get(name).map(shown).unwrap_or_default();
    let agent = structured.get("agent").map(|name| format!(", agent {}", shown(name))).unwrap_or_default();
    format!(
        "You are {}{agent}, balance {}.\ngroups: {}\nmy_tasks: {}\nready_tasks: {}\ncursor: {}\n{HELP}\nnew_claims:\n{}",
        of("identity"),
        of("balance"),
        of("groups"),
        of("my_tasks"),
        of("ready_tasks"),
        of("cursor"),
        fenced(claims.iter()),
    )
}
