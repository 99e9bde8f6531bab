//! `lbm demo agents`: three agents, each with a key of its own, build a small API on two machines, and speak MCP alone.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::Serialize;
use serde_json::{Value, json};

use super::DemoError;
use super::stage::Stage;

/// The daemons: the first founds the group, the second is no member of it and replicates for its agent.
const MACHINES: [&str; 2] = ["alice", "bob"];
/// Who builds it, and where.
const AGENTS: [(&str, &str); 3] = [("architect", "alice"), ("developer", "bob"), ("reviewer", "alice")];
/// The group's name.
const GROUP: &str = "team:api";
/// The file that one at a time may change.
const FILE: &str = "src/api.rs";

/// What the story comes to.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Calls of tools.
    calls: usize,
    /// Claims on each node at the end.
    claims: usize,
    /// Tokens of each agent at the end.
    balances: BTreeMap<&'static str, u64>,
    /// Tokens that there are.
    total_supply: u64,
    /// The state's hash, equal on both nodes.
    state_hash: String,
    /// How long the whole story took, seconds.
    seconds: f64,
}

/// The story.
pub(super) async fn tell(stage: &mut Stage<'_>) -> Result<Summary, DemoError> {
    let began = Instant::now();
    stage.say("An architect, a developer and a reviewer build a small API. Each is an agent with a key of its own, and speaks MCP.");
    stage.part("1. Two machines, three agents. The second machine is no member: it replicates for its agent");
    let group = set_up(stage).await?;
    stage.part("2. Each agent learns who it is, and says that it is here");
    arrive(stage).await?;
    stage.part("3. The architect asks before deciding, decides, and hands out the work");
    let (decision, cursor) = decide(stage).await?;
    stage.part("4. The developer reads the decision, asks in its thread, and is answered");
    talk(stage, &decision, &cursor).await?;
    stage.part("5. The developer takes the work and the file, and is paid for the result");
    let built = build(stage, &decision).await?;
    stage.part("6. The developer hands over to the reviewer, and pays out of what it has earned");
    review(stage, &built).await?;
    stage.part("7. What is left: the conversation, the tokens, and one state on both machines");
    let mut summary = check(stage, &group, &decision).await?;
    summary.seconds = began.elapsed().as_secs_f64();
    stage.say(&format!(
        "\n{} calls by MCP, {} claims, {} tokens, and the same state on both machines, to the byte. {:.1} s in all.",
        summary.calls, summary.claims, summary.total_supply, summary.seconds
    ));
    Ok(summary)
}

async fn set_up(stage: &mut Stage<'_>) -> Result<String, DemoError> {
    for machine in MACHINES {
        stage.start(machine).await?;
    }
    stage.ctl("alice", &["group", "create", "--name", GROUP]).await?;
    let group = stage.last("group_id");
    stage.ctl("alice", &["group", "policy", "--group", GROUP, "--set", "claim_reward_amount=5"]).await?;
    let lesson = "The last API answered errors with status 200 and the reason in the body: clients took them for success and lost data";
    stage.ctl("alice", &["claim", "publish", "--group", GROUP, "--text", lesson, "--tags", "api,errors"]).await?;
    stage.ctl("alice", &["agent", "create", "--name", "architect", "--group", GROUP]).await?;
    let architect = stage.last("member_id");
    stage.ctl("alice", &["agent", "create", "--name", "reviewer", "--group", GROUP]).await?;
    stage.ctl("alice", &["token", "mint", "--group", GROUP, "--to", &architect, "--amount", "50"]).await?;
    stage.ctl("bob", &["agent", "create", "--name", "developer"]).await?;
    let developer = stage.last("member_id");
    stage.ctl("alice", &["group", "add-member", "--group", GROUP, "--member", &developer]).await?;
    stage.meet("bob", "alice").await?;
    stage.ctl("bob", &["group", "join", &group]).await?;
    for (agent, machine) in AGENTS {
        stage.enter(agent, machine, &group).await?;
    }
    Ok(group)
}

async fn arrive(stage: &mut Stage<'_>) -> Result<(), DemoError> {
    for ((agent, _), (status, doing)) in
        AGENTS.into_iter().zip([("active", "design"), ("idle", "waiting for work"), ("idle", "waiting for work")])
    {
        stage.ask(agent, "prime", json!({})).await?;
        stage.ask(agent, "update_presence", json!({"status": status, "metadata": {"doing": doing}})).await?;
    }
    let is_all =
        |seen: &Value| seen.get("presence").and_then(Value::as_array).is_some_and(|all| all.len() == AGENTS.len());
    stage.ask_until("developer", "get_presence", json!({}), "all agents see each other", is_all).await
}

/// The hash of the decision, and where the developer goes on to watch.
async fn decide(stage: &mut Stage<'_>) -> Result<(String, String), DemoError> {
    stage.ask("developer", "prime", json!({})).await?;
    let cursor = stage.last("cursor");
    stage.ask("architect", "compile_context", json!({"query": "how should an API report errors?"})).await?;
    stage.say_text("context");
    let Some(lesson) = stage.answer.pointer("/claim_hashes/0").and_then(Value::as_str).map(str::to_owned) else {
        return Err(DemoError::Wrong("a question about what is known found nothing"));
    };
    let decision = json!({
        "title": "Errors of the API",
        "text": "An error has its own status (4xx, 5xx) and a JSON body with `code` and `detail`: never 200",
        "tags": ["api", "decision"],
        "evidence": [{"kind": "hash", "hash": lesson}],
        "idempotency_key": "decision-errors",
    });
    stage.ask("architect", "publish_claim", decision).await?;
    let decision = stage.last("claim_hash");
    let task = json!({"task_id": "build-api", "title": "Build GET /items", "reward": 30, "description": "As decided"});
    stage.ask("architect", "create_task", task).await?;
    Ok((decision, cursor))
}

async fn talk(stage: &mut Stage<'_>, decision: &str, cursor: &str) -> Result<(), DemoError> {
    stage.ask("architect", "prime", json!({})).await?;
    let architects = stage.last("cursor");
    // Waits where the claim is on its way, and misses none that is here already.
    let has_come = |seen: &Value| seen.get("claims").and_then(Value::as_array).is_some_and(|claims| !claims.is_empty());
    let watch = |cursor: &str| json!({"cursor": cursor, "wait_ms": 5_000});
    stage.ask_until("developer", "watch_claims", watch(cursor), "the decision arrives", has_come).await?;
    let behind = stage.last("next_cursor");
    stage
        .ask("developer", "compile_context", json!({"query": "what does GET /items answer when something fails?"}))
        .await?;
    let question = json!({"parent_hash": decision, "text": "What is answered for an id that does not exist: 404, or an empty list?"});
    stage.ask("developer", "publish_claim", question).await?;
    let question = stage.last("claim_hash");
    stage.ask_until("architect", "watch_claims", watch(&architects), "the question arrives", has_come).await?;
    let answer =
        json!({"parent_hash": question, "text": "404 with the code `no_such_item`; an empty list is for a search"});
    stage.ask("architect", "publish_claim", answer).await?;
    let answered = stage.last("claim_hash");
    let is_answered = |seen: &Value| {
        let claims = seen.get("claims").and_then(Value::as_array);
        claims.is_some_and(|all| all.iter().any(|claim| claim.get("claim_hash").is_some_and(|hash| *hash == *answered)))
    };
    stage.ask_until("developer", "watch_claims", watch(&behind), "the answer arrives", is_answered).await
}

fn has_tasks(seen: &Value) -> bool {
    seen.get("tasks").and_then(Value::as_array).is_some_and(|tasks| !tasks.is_empty())
}

/// The hash of the claim that says what was built.
async fn build(stage: &mut Stage<'_>, decision: &str) -> Result<String, DemoError> {
    stage.ask_until("developer", "list_tasks", json!({"ready": true}), "the task arrives", has_tasks).await?;
    stage.ask("developer", "start_task", json!({})).await?;
    stage.ask("developer", "update_presence", json!({"status": "busy", "metadata": {"doing": "build-api"}})).await?;
    stage.ask("developer", "reserve_resource", json!({"resource": FILE})).await?;
    let reservation = stage.last("task_id");
    let held = json!({"task_id": reservation});
    stage.ask_until("reviewer", "list_tasks", held.clone(), "the reservation arrives", has_tasks).await?;
    stage.ask("reviewer", "reserve_resource", json!({"resource": FILE})).await?;
    if stage.answer.get("reserved").is_none_or(|reserved| reserved != false) {
        return Err(DemoError::Wrong("two agents have one file"));
    }
    let result = json!({
        "title": "GET /items is built",
        "text": "GET /items answers 404 with `no_such_item`, and 400 with `bad_query`; errors go through one function",
        "tags": ["api", "result"],
        "parent_hash": decision,
        "evidence": [{"kind": "command", "command": "cargo test api", "exit_code": 0}],
    });
    stage.ask("developer", "publish_claim", result).await?;
    let built = stage.last("claim_hash");
    stage.ask("developer", "complete_task", json!({"task_id": "build-api", "claim_hash": built})).await?;
    stage.ask("developer", "release_task", held).await?;
    stage.ask("developer", "get_group_state", json!({})).await?;
    Ok(built)
}

async fn review(stage: &mut Stage<'_>, built: &str) -> Result<(), DemoError> {
    stage.ask("reviewer", "prime", json!({})).await?;
    let reviewer = stage.last("identity");
    let task = json!({"task_id": "review-api", "title": "Review GET /items", "reward": 10, "assignee": reviewer});
    stage.ask("developer", "create_task", task).await?;
    let mine = json!({"mine": true, "status": "assigned"});
    stage.ask_until("reviewer", "list_tasks", mine, "the task is handed over", has_tasks).await?;
    stage.ask("reviewer", "start_task", json!({"task_id": "review-api"})).await?;
    stage.ask("reviewer", "compile_context", json!({"query": "what was decided about errors of the API?"})).await?;
    stage.ask("reviewer", "reserve_resource", json!({"resource": FILE})).await?;
    let reservation = stage.last("task_id");
    let review = json!({"parent_hash": built, "text": "Reviewed: each error has its own status and a code, as decided. Ship it", "tags": ["review"]});
    stage.ask("reviewer", "publish_claim", review).await?;
    let review = stage.last("claim_hash");
    stage.ask("reviewer", "complete_task", json!({"task_id": "review-api", "claim_hash": review})).await?;
    stage.ask("reviewer", "release_task", json!({"task_id": reservation})).await
}

async fn check(stage: &mut Stage<'_>, group: &str, decision: &str) -> Result<Summary, DemoError> {
    let is_done = |seen: &Value| {
        seen.pointer("/tasks/0/status").and_then(Value::as_str).is_some_and(|status| status == "completed")
    };
    let reviewed = json!({"task_id": "review-api"});
    stage.ask_until("developer", "list_tasks", reviewed, "the review is done", is_done).await?;
    stage.wait_until_final(group, &MACHINES).await?;
    stage.ask("developer", "get_recent_claims", json!({"thread": decision})).await?;
    stage.say_thread();
    let mut balances = BTreeMap::new();
    for (agent, _) in AGENTS {
        stage.ask(agent, "get_group_state", json!({})).await?;
        balances.insert(agent, stage.answer.get("balance").and_then(Value::as_u64).unwrap_or_default());
    }
    let number = |answer: &Value, at: &str| answer.pointer(at).and_then(Value::as_u64).unwrap_or_default();
    let total_supply = number(&stage.answer, "/stats/total_supply");
    let claims = usize::try_from(number(&stage.answer, "/claims")).unwrap_or_default();
    let set_aside = number(&stage.answer, "/stats/treasury_balance") + number(&stage.answer, "/stats/escrow_balance");
    let mut hashes = Vec::new();
    for machine in MACHINES {
        stage.ctl(machine, &["group", "verify", GROUP]).await?;
        if stage.answer.get("ok").is_none_or(|ok| ok != true) {
            return Err(DemoError::Wrong("a node's history does not verify"));
        }
        hashes.push(stage.last("state_hash"));
    }
    stage.ctl("alice", &["token", "balance", "--group", GROUP]).await?;
    let founder = number(&stage.answer, "/balance");
    if balances.values().sum::<u64>() + founder + set_aside != total_supply {
        return Err(DemoError::Wrong("the tokens of all do not add up to the supply"));
    }
    let state_hash = hashes.swap_remove(0);
    if hashes.iter().any(|other| *other != state_hash) {
        return Err(DemoError::Wrong("the nodes do not agree on the state"));
    }
    Ok(Summary { calls: stage.calls(), claims, balances, total_supply, state_hash, seconds: 0.0 })
}
