//! Groups, presence and sync.

use serde_json::json;

use crate::api::client::Client;
use crate::api::types::{AskBalance, ListPresence, SetPresence, SyncNow};
use crate::limits;
use crate::mcp::answer::{Answer, Failure, lean};
use crate::mcp::arguments::Arguments;

pub(super) async fn update_presence(client: &Client, group: &str, arguments: Arguments) -> Result<Answer, Failure> {
    let presence: SetPresence = arguments.rest()?;
    presence.check()?;
    Ok(Answer::new(&client.set_presence(group, &presence).await?))
}

pub(super) async fn presence(client: &Client, group: &str, arguments: Arguments) -> Result<Answer, Failure> {
    let query: ListPresence = arguments.rest()?;
    let mut list = client.presence(group, &query).await?;
    let all = list.presence.len();
    list.presence.truncate(limits::mcp::MEMBERS);
    // Each member may say as much of itself as would fill the answer.
    while list.presence.len() > 1 && lean(&list).to_string().len() > limits::mcp::ANSWER_BYTES {
        list.presence.truncate(list.presence.len() / 2);
    }
    let mut structured = lean(&list);
    let left_out = all - list.presence.len();
    if let (1.., Some(object)) = (left_out, structured.as_object_mut()) {
        object.insert("left_out".to_owned(), left_out.into());
    }
    Ok(Answer::of_others("presence of members", &structured))
}

pub(super) async fn groups(client: &Client, arguments: Arguments) -> Result<Answer, Failure> {
    arguments.end()?;
    let mut list = client.groups().await?;
    list.groups.truncate(limits::mcp::MEMBERS);
    Ok(Answer::new(&list))
}

pub(super) async fn state(client: &Client, group: &str, arguments: Arguments) -> Result<Answer, Failure> {
    arguments.end()?;
    let group = client.group(group).await?;
    let id = &group.group.group_id;
    let mut members = client.members(id).await?.members;
    let stats = client.group_stats(id).await?;
    let balance = client.balance(id, &AskBalance { account: None }).await?.balance;
    members.truncate(limits::mcp::MEMBERS);
    let members: Vec<_> = members
        .iter()
        .map(|member| json!({"member_id": member.member_id, "name": member.name, "role": member.role, "connected": member.connected}))
        .collect();
    let mut structured = lean(&group);
    if let Some(object) = structured.as_object_mut() {
        // Ids that only programs at the socket have a use for.
        object.remove("heads");
        let (_, added) =
            (object.remove("unsure"), json!({"members": members, "stats": lean(&stats), "balance": balance}));
        object.extend(added.as_object().cloned().unwrap_or_default());
    }
    Ok(Answer::new(&structured))
}

pub(super) async fn sync(client: &Client, group: String, arguments: Arguments) -> Result<Answer, Failure> {
    arguments.end()?;
    let group = Some(group).filter(|group| !group.is_empty());
    Ok(Answer::new(&client.sync(&SyncNow { group, peer: None }).await?))
}
