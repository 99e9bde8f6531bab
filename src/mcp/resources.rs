//! Resources: what can be read, and followed, by its name.
//!
//! ```text
//! lbm://group/GROUP/claims/recent   the newest claims, fenced        lbm://group/GROUP/claim/HASH   one claim, whole
//! lbm://group/GROUP/tasks           what is ready and under way      lbm://group/GROUP/task/ID      one task, in full
//! lbm://group/GROUP/presence        who is here                      lbm://group/GROUP/offers       what is for sale
//! ```

use rmcp::model::{ErrorData, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use super::acting::Acting;
use super::answer::{Failure, clean, cut, fenced, lean, visible};
use super::call::fitting;
use crate::api::types::{ListOffers, ListPresence, ListTasks, ReadyTasks, RecentClaims, TaskStatus};
use crate::limits;

const SCHEME: &str = "lbm://group/";
const TEXT: &str = "text/plain";
const JSON: &str = "application/json";

/// What of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part<'a> {
    Claims,
    Tasks,
    Presence,
    Offers,
    Claim(&'a str),
    Task(&'a str),
}

/// The group, as it is named there, and the part of it.
pub(super) fn parse(uri: &str) -> Option<(&str, Part<'_>)> {
    let (group, part) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let part = match part {
        "claims/recent" => Part::Claims,
        "tasks" => Part::Tasks,
        "presence" => Part::Presence,
        "offers" => Part::Offers,
        other => match other.split_once('/')? {
            ("claim", hash) if is_name(hash) => Part::Claim(hash),
            ("task", id) if is_name(id) => Part::Task(id),
            _ => return None,
        },
    };
    is_name(group).then_some((group, part))
}

fn is_name(text: &str) -> bool {
    (1..=limits::GROUP_NAME_BYTES).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_-.".contains(&byte))
}

/// What can be followed besides the single claims and tasks of each group.
const FOLLOWED: [(&str, &str, &str); 4] = [
    ("claims/recent", "recent claims", TEXT),
    ("tasks", "tasks", JSON),
    ("presence", "presence", JSON),
    ("offers", "offers", JSON),
];

/// Those of the node's groups; nothing while the daemon is away.
pub(super) async fn list(acting: &Acting) -> Vec<Resource> {
    let groups = acting.client.groups().await.map(|list| list.groups).unwrap_or_default();
    let of_group = |id: String, name: String| {
        FOLLOWED.into_iter().map(move |(path, what, mime_type)| {
            Resource::new(format!("{SCHEME}{id}/{path}"), format!("{name}: {what}")).with_mime_type(mime_type)
        })
    };
    let groups = groups.into_iter().take(limits::mcp::MEMBERS);
    groups.flat_map(|group| of_group(group.group_id, group.name.unwrap_or_default())).collect()
}

pub(super) fn templates() -> Vec<ResourceTemplate> {
    let template = |path: &str, name: &str, mime_type: &str| {
        ResourceTemplate::new(format!("{SCHEME}{{group}}/{path}"), name).with_mime_type(mime_type)
    };
    let mut all: Vec<_> = FOLLOWED.into_iter().map(|(path, what, mime_type)| template(path, what, mime_type)).collect();
    all.push(template("claim/{claim_hash}", "one claim, whole", TEXT));
    all.push(template("task/{task_id}", "one task, in full", JSON));
    all
}

/// Reads one.
///
/// # Errors
/// Where there is no such resource, or the daemon does not give it.
pub(super) async fn read(acting: &Acting, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let Some((group, part)) = parse(uri) else { return Err(unknown(uri)) };
    let (text, mime_type) = content(acting, group, part).await.map_err(|failure| {
        let words = visible(&failure.to_string());
        match failure.code().map(crate::api::types::ProblemCode::status) {
            Some(404) => ErrorData::resource_not_found(words, Some(json!({"uri": uri}))),
            _ => ErrorData::internal_error(words, Some(json!({"uri": uri}))),
        }
    })?;
    Ok(ReadResourceResult::new(vec![ResourceContents::text(text, uri).with_mime_type(mime_type)]))
}

pub(super) fn unknown(uri: &str) -> ErrorData {
    let mut shown = visible(uri);
    cut(&mut shown, 200);
    let words = format!("there is no resource {shown}: see resources/templates/list");
    ErrorData::resource_not_found(words, Some(json!({"uri": shown})))
}

/// A resource whose fields say whose words are whose.
fn json_of(value: &impl serde::Serialize) -> String {
    clean(lean(value)).to_string()
}

async fn content(acting: &Acting, group: &str, part: Part<'_>) -> Result<(String, &'static str), Failure> {
    let client = &acting.client;
    Ok(match part {
        Part::Claims => {
            let query = RecentClaims { limit: Some(limits::mcp::ROWS), ..RecentClaims::default() };
            let mut page = client.recent_claims(group, &query).await?;
            page.claims.iter_mut().for_each(|claim| cut(&mut claim.text, limits::mcp::CUT_BYTES));
            (fenced(page.claims.iter()), TEXT)
        }
        Part::Claim(hash) => (fenced(std::iter::once(&client.claim(group, hash).await?)), TEXT),
        Part::Tasks => {
            let (_, all) = fitting(None, limits::mcp::TASK_ROWS, async |limit| {
                let with = |status| ListTasks {
                    status: Some(status),
                    reserved: Some(false),
                    limit: Some(limit),
                    ..ListTasks::default()
                };
                let ready = client.ready_tasks(group, &ReadyTasks { limit: Some(limit) }).await?;
                let begun = client.tasks(group, &with(TaskStatus::InProgress)).await?;
                let assigned = client.tasks(group, &with(TaskStatus::Assigned)).await?;
                Ok(json!({"ready": ready.tasks, "in_progress": begun.tasks, "assigned": assigned.tasks}))
            })
            .await?;
            (clean(all).to_string(), JSON)
        }
        Part::Task(id) => (json_of(&client.task(group, id).await?), JSON),
        Part::Presence => (json_of(&client.presence(group, &ListPresence::default()).await?), JSON),
        Part::Offers => {
            let query = ListOffers { group: Some(group.to_owned()), ..ListOffers::default() };
            let (_, offers) = fitting(None, limits::mcp::ROWS, async |limit| {
                client.offers(&ListOffers { limit: Some(limit), ..query.clone() }).await
            })
            .await?;
            (clean(offers).to_string(), JSON)
        }
    })
}
