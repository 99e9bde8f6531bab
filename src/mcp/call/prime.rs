//! `prime`: what an agent needs to know before it does anything, in few words.

use serde_json::{Value, json};

use crate::api::client::Client;
use crate::api::types::{
    AskBalance, Claim, ListRejected, ListStranded, ListTasks, ProblemCode, ReadyTasks, RecentClaims, Task, TaskStatus,
    WatchClaims,
};
use crate::knowledge::fence;
use crate::limits::mcp::PRIME_BYTES;
use crate::mcp::acting::Acting;
use crate::mcp::answer::{Answer, Failure, clean, cut, fenced, lean, now_ms};
use crate::mcp::arguments::Arguments;

/// Rows of each part.
const ROWS: usize = 4;
/// How long ago something was written that is told as lost at most, milliseconds.
const LOST_MS: u64 = 24 * 3_600_000;
/// Refused blocks, everybody's, that are looked through for the agent's own.
const LOST_LOOK: usize = 100;
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
    let (mut mine, mut reserved, mut left_out) = (Vec::new(), Vec::new(), false);
    for status in [TaskStatus::InProgress, TaskStatus::Assigned] {
        let query = ListTasks {
            mine: true,
            status: Some(status),
            reserved: Some(false),
            limit: Some(ROWS),
            ..ListTasks::default()
        };
        let page = client.tasks(&group, &query).await?;
        left_out |= page.next_cursor.is_some();
        mine.extend(page.tasks);
        let page = client.tasks(&group, &ListTasks { reserved: Some(true), ..query }).await?;
        left_out |= page.next_cursor.is_some();
        reserved.extend(page.tasks);
    }
    let lost = lost(client, &group, &balance.account).await?;
    let ready = client.ready_tasks(&group, &ReadyTasks { limit: Some(ROWS) }).await?.tasks;
    let (mut claims, cursor, more) = news(client, &group, cursor).await?;
    claims.iter_mut().for_each(|claim| cut(&mut claim.text, LINE_BYTES));
    let held: Vec<_> = mine.iter().map(task).collect();
    let reserved: Vec<_> = reserved.iter().take(ROWS).map(reservation).collect();
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
            "my_reservations": reserved,
            "lost": (!lost.is_empty()).then_some(&lost),
            "more_of_mine": left_out.then_some("list_tasks with `mine`, and with `reserved`, has all"),
            "ready_tasks": ready,
            "new_claims": new,
            "more_claims": more,
            "cursor": cursor,
        });
        let structured = clean(lean(&structured));
        let text = told(&structured, &claims);
        if (structured.to_string().len() <= PRIME_BYTES && text.len() <= PRIME_BYTES) || claims.is_empty() {
            return Ok(Answer::with_text(text, structured));
        }
        claims.pop();
    }
}

/// What the agent wrote within [`LOST_MS`] and the ledger refuses, as something else came before it, or the group may not have, as the agent
/// is no member any more: it was answered, and does not count.
async fn lost(client: &Client, group: &str, me: &str) -> Result<Vec<Value>, Failure> {
    let query = ListRejected { group: Some(group.to_owned()), limit: Some(LOST_LOOK), cursor: None };
    let since = now_ms().saturating_sub(LOST_MS);
    let refused = client.rejected(&query).await?.rejected;
    let mine = refused.iter().filter(|block| block.author == me && block.created_ms >= since).take(ROWS);
    let mut lost: Vec<Value> =
        mine.map(|block| json!({"what": block.what, "code": block.code, "final": block.is_final})).collect();
    let query = ListStranded { group: query.group, limit: query.limit, ..ListStranded::default() };
    let stranded = client.stranded(&query).await?.stranded;
    let mine = stranded.iter().filter(|write| write.author == me && write.created_ms >= since).take(ROWS);
    lost.extend(mine.map(|write| json!({"what": write.what, "code": "stranded", "final": false})));
    Ok(lost)
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

/// A reservation of the agent's own: its words are its own.
fn reservation(task: &Task) -> Value {
    let mut resource = task.title.clone();
    cut(&mut resource, LINE_BYTES);
    json!({"resource": resource, "lease_until_ms": task.lease_until_ms})
}

fn told(structured: &Value, claims: &[Claim]) -> String {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let of = |name: &str| structured.get(name).map(shown).unwrap_or_default();
    let agent = structured.get("agent").map(|name| format!(", agent {}", shown(name))).unwrap_or_default();
    let more = structured.get("more_of_mine").map(|more| format!("\nmore: {}", shown(more))).unwrap_or_default();
    let lost =
        structured.get("lost").map(|lost| format!("\nlost (refused, does not count): {lost}")).unwrap_or_default();
    let tasks = format!(
        "my_tasks: {}\nmy_reservations: {}\nready_tasks: {}{lost}",
        of("my_tasks"),
        of("my_reservations"),
        of("ready_tasks")
    );
    format!(
        "You are {}{agent}, balance {}.\ngroups: {}\n{}{more}\ncursor: {}\n{HELP}\nnew_claims:\n{}",
        of("identity"),
        of("balance"),
        of("groups"),
        fence::around("tasks", &tasks),
        of("cursor"),
        fenced(claims.iter()),
    )
}
