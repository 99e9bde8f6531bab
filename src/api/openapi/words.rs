//! Descriptions for people who do not read the source: limits by their values, and no words that only an older reader needs.

use serde_json::Value;

use crate::limits;

macro_rules! values {
    ($($name:ident)+) => {
        /// Each limit that a type's comment names, and its value.
        const VALUES: &[(&str, fn() -> String)] = &[$((concat!("`limits::", stringify!($name), "`"), || format!("{:?}", limits::$name))),+];
    };
}

values! {
    AMOUNT_MAX BULK_CLAIMS BUY_DEFAULT_WAIT_MS BUY_WAIT_MS CLAIM_TEXT_BYTES CONTEXT_BYTES CONTEXT_DEFAULT_TOP_K CONTEXT_TOP_K
    ERROR_MESSAGE_BYTES EVENT_BACKLOG EVIDENCE EVIDENCE_BYTES EXPERIENCE_BYTES FINAL_WAIT_MS JOIN_DEFAULT_WAIT_MS JOIN_NOTE_BYTES
    JOIN_WAIT_MS OFFER_DEFAULT_DISPUTE_MS OFFER_DEFAULT_GRANT_MS OFFER_DESCRIPTION_BYTES PAGE_BYTES PAGE_DEFAULT_ROWS PAGE_ROWS
    PRESENCE_METADATA_BYTES PRESENCE_STALE_MS QUERY_BYTES SUPERSEDES SYNC_WAIT_MS TAGS TASK_DEFAULT_LEASE_MS TASK_DEPENDENCIES
    TASK_DESCRIPTION_BYTES TASK_LEASE_MS TASK_PRIORITY TASK_SCAN THREAD_CLAIMS TICKET_DEFAULT_LIFE_MS TITLE_BYTES WATCH_SCAN
    WATCH_WAIT_MS
}

/// The word that a client reads where it does not know the one that was sent. Nobody sends it.
const UNRECOGNISED: &str = "unrecognised";

/// Goes through the whole document.
pub(super) fn finish(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.retain(|item| item != UNRECOGNISED && !is_unrecognised(item));
            items.iter_mut().for_each(finish);
        }
        Value::Object(keys) => {
            if let Some(Value::String(text)) = keys.get_mut("description") {
                *text = plain(text);
            }
            keys.values_mut().for_each(finish);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A variant of a tagged enum whose tag is that word.
fn is_unrecognised(variant: &Value) -> bool {
    let tags = variant["properties"].as_object().into_iter().flat_map(|properties| properties.values());
    tags.into_iter().any(|tag| tag["enum"] == serde_json::json!([UNRECOGNISED]) || tag["const"] == UNRECOGNISED)
}

fn plain(text: &str) -> String {
    let text = text.replace('\n', " ").replace("[`", "`").replace("`]", "`").replace("**", "");
    VALUES
        .iter()
        .fold(text, |text, (name, value)| if text.contains(name) { text.replace(name, &value()) } else { text })
}
