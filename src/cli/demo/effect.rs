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

/// An answer in a few words.
pub(super) fn effect(answer: &Value) -> String {
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
