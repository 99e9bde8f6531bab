//! Commands and answers, in a few words.

use std::path::Path;

use serde_json::Value;

use crate::cli::text::{count, one_line, short};

/// Columns of a sentence that is quoted.
const SENTENCE_COLUMNS: usize = 300;

/// An argument as one would type it.
pub(super) fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_:/.,=".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        if arg.len() > 52 && !Path::new(arg).is_absolute() { short(arg).to_string() + "…" } else { arg.to_owned() }
    } else {
        format!("\"{arg}\"")
    }
}

/// A tool and its arguments as one line.
pub(super) fn line(tool: &str, arguments: &Value) -> String {
    let mut line = tool.to_owned();
    for (name, value) in arguments.as_object().into_iter().flatten() {
        let shown = value.as_str().map_or_else(|| value.to_string(), quoted);
        line.push_str(&format!(" {name}={}", one_line(&shown, SENTENCE_COLUMNS)));
    }
    line
}

/// An answer of a tool that no command gives, in a few words.
fn of_tool(answer: &Value) -> Option<String> {
    let rows = |key: &str| answer.get(key).and_then(Value::as_array);
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let many = |rows: &Vec<Value>, what: &str| count(rows.len() as u64, what);
    if let (Some(id), Some(ready), Some(new)) = (text("identity"), rows("ready_tasks"), rows("new_claims")) {
        let id = id.get(..16).unwrap_or(id);
        return Some(format!("I am {id}…: {} ready, {} new", many(ready, "task"), many(new, "claim")));
    }
    if let Some(is_mine) = answer.get("reserved").and_then(Value::as_bool) {
        let holder = text("holder").map_or("another", |id| id.get(..16).unwrap_or(id));
        return Some(if is_mine { "reserved".to_owned() } else { format!("not reserved: {holder}… has it") });
    }
    if let Some(present) = rows("presence") {
        return Some(format!("{} here", many(present, "agent")));
    }
    if let Some(tasks) = rows("tasks") {
        let of = |task: &Value, key: &str| task.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let first = tasks.first().map(|task| format!(": {} is {}", of(task, "task_id"), of(task, "status")));
        return Some(format!("{}{}", many(tasks, "task"), first.unwrap_or_default()));
    }
    if let Some(claims) = rows("claims") {
        let last = claims.last().and_then(|claim| claim.get("text")).and_then(Value::as_str);
        let last = last.map(|text| format!(": {}", one_line(text, 80))).unwrap_or_default();
        return Some(format!("{}{last}", many(claims, "claim")));
    }
    if let (Some(balance), Some(_), Some(members)) =
        (answer.get("balance").and_then(Value::as_u64), text("group_id"), rows("members"))
    {
        return Some(format!("{}, in a group of {}", count(balance, "token"), many(members, "member")));
    }
    let (member, status) = (text("member_id")?, text("status")?);
    Some(format!("{}… is {status}", member.get(..16).unwrap_or(member)))
}

/// An answer in a few words.
pub(super) fn effect(answer: &Value) -> String {
    if let Some(said) = of_tool(answer) {
        return said;
    }
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let number = |key: &str| answer.get(key).and_then(Value::as_u64);
    let standing = || if answer.get("final").is_some_and(|sealed| sealed == true) { ", final" } else { "" };
    if let (Some(task), Some(status)) = (text("task_id"), text("status")) {
        return format!("task {task} is {status}{}", standing());
    }
    if let (Some(offer), Some(package)) = (text("offer_id"), text("package_hash"))
        && number("price").is_none()
    {
        return format!("offer {}, its package {}", short(offer), short(package));
    }
    if let Some(peers) = number("peers") {
        return format!("asking {} for what is for sale", count(peers, "peer"));
    }
    if let Some(offers) = answer.get("offers").and_then(Value::as_array) {
        let first = offers.first();
        let title = first.and_then(|offer| offer.get("title")).and_then(Value::as_str).unwrap_or("none");
        return format!("{}: {}", count(offers.len() as u64, "offer"), one_line(title, 60));
    }
    if let (Some(price), Some(_), Some(owned)) =
        (number("price"), text("offer_id"), answer.get("already_owned").and_then(Value::as_bool))
    {
        return if owned {
            "it was bought before: nothing is paid".to_owned()
        } else {
            format!("bought for {}", count(price, "token"))
        };
    }
    if let (Some(amount), Some(fee)) = (number("amount"), number("fee")) {
        let fee = if fee > 0 { format!(" for a fee of {fee}") } else { String::new() };
        return format!("{}{fee}{}", count(amount, "token"), standing());
    }
    if let Some(balance) = number("balance") {
        return count(balance, "token");
    }
    if let Some(row) = answer.get("rejected").and_then(|rows| rows.get(0)) {
        let of = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default();
        return format!("{}: {}", of("what"), one_line(of("reason"), SENTENCE_COLUMNS));
    }
    if let (Some(supply), Some(treasury)) = (number("total_supply"), number("treasury_balance")) {
        let aside = number("escrow_balance").unwrap_or_default();
        let accounts = number("accounts").unwrap_or_default();
        return format!(
            "{}: {treasury} in the treasury, {aside} set aside, the others on {}",
            count(supply, "token"),
            count(accounts, "account")
        );
    }
    if let (Some(block), Some(_)) = (text("block_id"), number("claim_reward_amount")) {
        return format!("rules changed by block {}", short(block));
    }
    if let Some(claim) = text("claim_hash") {
        return format!("claim {}", short(claim));
    }
    if let (Some(hash), Some(blocks)) = (text("state_hash"), number("blocks")) {
        return format!("{blocks} blocks verified, state {}", short(hash));
    }
    if let (Some(items), Some(_)) = (answer.get("items").and_then(Value::as_array), text("context")) {
        return format!("a context of {}", count(items.len() as u64, "claim"));
    }
    if let (Some(member), Some(agent), None) = (text("member_id"), text("agent"), text("role")) {
        return format!("{agent} is {}…, in no group yet", member.get(..16).unwrap_or(member));
    }
    if let (Some(member), Some(role)) = (text("member_id"), text("role")) {
        return format!("{role} {}…", member.get(..16).unwrap_or(member));
    }
    if let Some(peer) = text("peer_id") {
        return format!("peer {}…", peer.get(..16).unwrap_or(peer));
    }
    if let (Some(group), Some(name)) = (text("group_id"), text("name")) {
        return format!("group {name} ({})", short(group));
    }
    if let (Some(id), Some(_)) = (text("node_id"), text("data")) {
        return format!("identity {}…", id.get(..16).unwrap_or(id));
    }
    "done".to_owned()
}

/// The sentence of a command that was refused.
pub(super) fn refusal(stderr: &str) -> String {
    let sentence = stderr.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or(stderr);
    format!("refused: {}", one_line(sentence, SENTENCE_COLUMNS))
}
