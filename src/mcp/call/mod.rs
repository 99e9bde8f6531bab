//! What each tool does: its arguments become a request of the API, and the daemon's answer the tool's.
//!
//! **Nothing is decided here**: who may do what, what is allowed and what is final, the daemon says. What is added is only what an
//! agent at the other end of a conversation needs: answers that fit into it, and writes that can be sent again.

mod knowledge;
mod market;
mod node;
mod prime;
mod tasks;

use rmcp::model::JsonObject;
use serde::Serialize;
use serde_json::Value;

use super::acting::Acting;
use super::answer::{Answer, Failure, cut, lean};
use super::arguments::Arguments;
use super::schema::Field;
use super::tools::Tool;
use crate::api::client::{Client, ClientError};
use crate::limits;

/// Calls a tool.
///
/// # Errors
/// [`Failure`]: what was wrong, and how to go on.
pub(super) async fn call(tool: &Tool, acting: &Acting, arguments: JsonObject) -> Result<Answer, Failure> {
    check(tool, &arguments)?;
    let mut arguments = Arguments(arguments);
    let client = &acting.client;
    // Those without a group of their own take one in their filter, or none.
    let group = match tool.name {
        "prime" | "list_offers" | "sync_group" => arguments.take("group")?.unwrap_or_default(),
        _ if tool.in_group => acting.group(&mut arguments).await?,
        _ => String::new(),
    };
    match tool.name {
        "prime" => prime::prime(acting, group, arguments).await,
        "publish_claim" => knowledge::publish(client, &group, arguments).await,
        "compile_context" => knowledge::context(client, &group, arguments).await,
        "get_recent_claims" => knowledge::recent(client, &group, arguments).await,
        "watch_claims" => knowledge::watch(client, &group, arguments).await,
        "retract_claim" => knowledge::retract(client, &group, arguments).await,
        "submit_experience" => knowledge::experience(client, &group, arguments).await,
        "create_task" => tasks::create(acting, &group, arguments).await,
        "assign_task" => tasks::assign(client, &group, arguments).await,
        "start_task" => tasks::start(client, &group, arguments).await,
        "complete_task" => tasks::complete(acting, &group, arguments).await,
        "fail_task" => tasks::fail(acting, &group, arguments).await,
        "release_task" => tasks::release(client, &group, arguments).await,
        "list_tasks" => tasks::list(client, &group, arguments).await,
        "reserve_resource" => tasks::reserve(client, &group, arguments).await,
        "update_presence" => node::update_presence(client, &group, arguments).await,
        "get_presence" => node::presence(client, &group, arguments).await,
        "create_offer" => market::create(client, &group, arguments).await,
        "list_offers" => market::list(client, group, arguments).await,
        "purchase_offer" => market::purchase(client, arguments).await,
        "market_pull" => market::pull(client, arguments).await,
        "list_groups" => node::groups(client, arguments).await,
        "get_group_state" => node::state(client, &group, arguments).await,
        "sync_group" => node::sync(client, group, arguments).await,
        // The table has no other; a test calls each.
        other => Err(Failure::Arguments(format!("there is no tool `{other}`"))),
    }
}

/// Checks that each argument is one of the tool's, and of its kind, and that none is missing.
fn check(tool: &Tool, arguments: &JsonObject) -> Result<(), Failure> {
    for (name, value) in arguments {
        let Some(field) = tool.fields().find(|field| field.name == name) else {
            let known: Vec<String> = tool.fields().map(|field| format!("`{}`", field.name)).collect();
            let (mut name, known) = (name.clone(), known.join(", "));
            cut(&mut name, 80);
            return Err(Failure::Arguments(format!("there is no argument `{name}`; `{}` takes {known}", tool.name)));
        };
        if let Some(wanted) = field.kind.wants(value) {
            let mut given = value.to_string();
            cut(&mut given, 80);
            return Err(Failure::Arguments(format!("`{name}` must be {wanted}, and is {given}")));
        }
    }
    let is_missing = |field: &Field| field.required && arguments.get(field.name).is_none_or(Value::is_null);
    match tool.fields().find(is_missing) {
        Some(field) => Err(Failure::Arguments(format!("`{}` is missing", field.name))),
        None => Ok(()),
    }
}

/// The client of a write, with the name that its sender chose for it.
fn once(client: &Client, arguments: &mut Arguments) -> Result<Client, Failure> {
    let Some(key) = arguments.take::<String>("idempotency_key")? else { return Ok(client.clone()) };
    let fits = (1..=limits::ONCE_NAME_BYTES).contains(&key.len());
    if fits && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(client.once(&key))
    } else {
        let most = limits::ONCE_NAME_BYTES;
        Err(Failure::Arguments(format!("`idempotency_key` must have 1 to {most} visible ASCII characters")))
    }
}

/// Asks for a list with as many rows as fit into an answer: with fewer where they do not.
pub(super) async fn fitting<A: Serialize, F>(
    asked: Option<usize>,
    rows: usize,
    mut ask: impl FnMut(usize) -> F,
) -> Result<(A, Value), ClientError>
where
    F: Future<Output = Result<A, ClientError>>,
{
    let room = if asked.is_some() { limits::mcp::ANSWER_MOST_BYTES } else { limits::mcp::ANSWER_BYTES };
    let mut limit = asked.unwrap_or(rows);
    loop {
        let answer = ask(limit).await?;
        let value = lean(&answer);
        let bytes = value.to_string().len();
        if bytes <= room || limit <= 1 {
            return Ok((answer, value));
        }
        limit = (limit * room / bytes).clamp(1, limit - 1);
    }
}
