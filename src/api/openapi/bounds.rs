//! What of a request is bounded, and how: the same limits that its `check` holds it to.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::limits;

/// What there is about one key of one type.
type Bound = (&'static str, &'static str, Value);

/// Text that is more than white space and has no NUL.
fn text(most: usize) -> Value {
    json!({ "minLength": 1, "maxLength": most, "pattern": r"^[^\u0000]*[^\u0000\s][^\u0000]*$" })
}

/// The same on one line.
fn line(most: usize) -> Value {
    json!({ "minLength": 1, "maxLength": most, "pattern": r"^[^\u0000-\u001f\u007f]*[^\u0000-\u001f\u007f\s][^\u0000-\u001f\u007f]*$" })
}

fn name(characters: &str, most: usize) -> Value {
    json!({ "minLength": 1, "maxLength": most, "pattern": format!("^[{characters}]+$") })
}

fn items(most: usize, item: &Value) -> Value {
    json!({ "maxItems": most, "items": item })
}

fn number(least: u64, most: u64) -> Value {
    json!({ "minimum": least, "maximum": most })
}

fn span(range: &std::ops::RangeInclusive<u64>) -> Value {
    number(*range.start(), *range.end())
}

/// A hash or a prefix of one.
fn hash() -> Value {
    name("0-9a-fA-F", 64)
}

fn node_name() -> Value {
    name("A-Za-z0-9._-", limits::NODE_NAME_BYTES)
}

fn task_id() -> Value {
    name("A-Za-z0-9._:-", limits::TASK_ID_BYTES)
}

/// A group: its id, the beginning of its id, or its name.
fn group() -> Value {
    name("A-Za-z0-9:_-", limits::GROUP_NAME_BYTES)
}

fn cursor() -> Value {
    json!({ "minLength": 1, "maxLength": limits::CURSOR_BYTES, "pattern": "^[0-9a-zA-Z._:-]+$" })
}

fn rows() -> Value {
    number(1, limits::PAGE_ROWS as u64)
}

/// Any whole number that there is room for.
fn any() -> Value {
    number(0, u64::MAX)
}

fn attempt() -> Value {
    number(0, u32::MAX.into())
}

fn string(bound: Value) -> Value {
    let mut bound = bound;
    bound["type"] = json!("string");
    bound
}

/// An agent's name.
pub(super) fn agent_name() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": limits::AGENT_NAME_BYTES, "pattern": "^[a-z0-9][a-z0-9_-]*$" })
}

/// The name of a write.
pub(super) fn once_name() -> Value {
    string(name("!-~", limits::ONCE_NAME_BYTES))
}

/// A part of a path, as a parameter.
pub(super) fn segment(of: &str) -> Value {
    let (description, schema) = match of {
        "group" => ("A group: its id, a unique beginning of it, or its unique name.", string(group())),
        "agent" => ("An agent, by its name.", agent_name()),
        "peer" => ("A peer, by its peer id or alias.", string(node_name())),
        "member" => ("A member: its peer id.", string(name("A-Za-z0-9", limits::NODE_NAME_BYTES))),
        "task" => ("A task, by its name in the group.", string(task_id())),
        "claim" => ("A claim: its hash, or a unique beginning of it.", string(hash())),
        "block" => ("A block: its hash.", string(hash())),
        "offer" => ("An offer: its id, or a unique beginning of it.", string(hash())),
        _ => ("A ticket's id, or a unique beginning of it.", string(hash())),
    };
    json!({ "name": of, "in": "path", "required": true, "description": description, "schema": schema })
}

fn of_claims() -> Vec<Bound> {
    let tags = || items(limits::TAGS, &string(line(limits::TAG_BYTES)));
    vec![
        ("NewClaim", "text", text(limits::CLAIM_TEXT_BYTES)),
        ("NewClaim", "title", line(limits::TITLE_BYTES)),
        ("NewClaim", "tags", tags()),
        ("NewClaim", "parent_hash", hash()),
        ("NewClaim", "evidence", json!({ "maxItems": limits::EVIDENCE })),
        ("NewClaim", "supersedes", items(limits::SUPERSEDES, &string(hash()))),
        ("NewClaim", "valid_until_ms", any()),
        ("PublishBulk", "claims", json!({ "minItems": 1, "maxItems": limits::BULK_CLAIMS })),
        ("ListClaims", "limit", rows()),
        ("ListClaims", "cursor", cursor()),
        ("RecentClaims", "limit", rows()),
        ("RecentClaims", "since_ms", any()),
        ("RecentClaims", "cursor", cursor()),
        ("WatchClaims", "cursor", cursor()),
        ("WatchClaims", "since_ms", any()),
        ("WatchClaims", "limit", rows()),
        ("WatchClaims", "wait_ms", number(0, limits::WATCH_WAIT_MS)),
        ("WatchClaims", "tags", line(limits::TAGS * (limits::TAG_BYTES + 1))),
        ("WatchClaims", "thread", hash()),
        ("ShowThread", "limit", rows()),
        ("ShowThread", "cursor", cursor()),
        ("SubmitExperience", "content", text(limits::EXPERIENCE_BYTES)),
        ("ContextQuery", "query", text(limits::QUERY_BYTES)),
        ("ContextQuery", "top_k", number(1, limits::CONTEXT_TOP_K as u64)),
        ("ContextQuery", "budget_tokens", number(1, limits::CONTEXT_BYTES as u64)),
        ("ContextQuery", "since_ms", any()),
        ("ContextQuery", "until_ms", any()),
        ("ContextQuery", "tags", tags()),
        ("ContextQuery", "thread", hash()),
    ]
}

fn of_groups() -> Vec<Bound> {
    vec![
        ("CreateGroup", "name", group()),
        ("CreateGroup", "currency", name("A-Z0-9", limits::CURRENCY_BYTES)),
        ("JoinGroup", "group", json!({ "minLength": 1, "maxLength": limits::TICKET_CHARS })),
        ("JoinGroup", "note", text(limits::JOIN_NOTE_BYTES)),
        ("JoinGroup", "wait_ms", number(0, limits::JOIN_WAIT_MS)),
        ("NewInvite", "uses", number(1, limits::TICKET_USES.into())),
        ("NewInvite", "life_ms", number(1, limits::TICKET_LIFE_MS)),
        ("ListRequests", "group", group()),
        ("DiscoverGroups", "peer", node_name()),
        ("NewAgent", "name", agent_name()),
        ("NewAgent", "group", group()),
        ("NewAgent", "spend_limit", any()),
        ("AddPeer", "addr", json!({ "minLength": 1, "maxLength": limits::ADDRESS_BYTES })),
        ("AddPeer", "alias", node_name()),
        ("SetPeer", "alias", node_name()),
        ("SetSubscription", "add_peers", items(limits::SUBSCRIPTION_PEERS, &string(node_name()))),
        ("SetSubscription", "remove_peers", items(limits::SUBSCRIPTION_PEERS, &string(node_name()))),
        ("SetSubscription", "interval_s", number(1, limits::SYNC_INTERVAL_MOST_S)),
        ("ListPresence", "stale_threshold_ms", any()),
        ("ShowBlock", "wait_final_ms", number(0, limits::FINAL_WAIT_MS)),
        ("ListEvents", "after", any()),
        ("ListRejected", "group", group()),
        ("ListRejected", "limit", rows()),
        ("ListRejected", "cursor", cursor()),
        ("ListStranded", "group", group()),
        ("ListStranded", "limit", rows()),
        ("ListStranded", "cursor", cursor()),
        ("SyncNow", "group", group()),
        ("SyncNow", "peer", node_name()),
    ]
}

fn of_work_and_trade() -> Vec<Bound> {
    let lease = || span(&limits::TASK_LEASE_MS);
    let amount = |least| number(least, limits::AMOUNT_MAX);
    vec![
        ("NewTask", "task_id", task_id()),
        ("NewTask", "title", line(limits::TITLE_BYTES)),
        ("NewTask", "description", text(limits::TASK_DESCRIPTION_BYTES)),
        ("NewTask", "due_ms", any()),
        ("NewTask", "priority", number(0, limits::TASK_PRIORITY.into())),
        ("NewTask", "depends_on", items(limits::TASK_DEPENDENCIES, &string(task_id()))),
        ("NewTask", "reward", amount(0)),
        ("AssignTask", "lease_ms", lease()),
        ("StartTask", "lease_ms", lease()),
        ("StartTask", "attempt", attempt()),
        ("CompleteTask", "attempt", attempt()),
        ("CompleteTask", "claim_hash", hash()),
        ("CompleteTask", "result_hash", json!({ "pattern": "^[0-9a-fA-F]{64}$", "minLength": 64, "maxLength": 64 })),
        ("FailTask", "attempt", attempt()),
        ("FailTask", "error_message", text(limits::ERROR_MESSAGE_BYTES)),
        ("ReleaseTask", "attempt", attempt()),
        ("ListTasks", "limit", rows()),
        ("ListTasks", "cursor", cursor()),
        ("ReadyTasks", "limit", rows()),
        ("Payment", "amount", amount(1)),
        ("ListMoves", "limit", rows()),
        ("ListMoves", "cursor", cursor()),
        ("OfferSplit", "bps", number(1, limits::WHOLE_BPS)),
        ("OfferRoyalty", "bps", number(1, limits::WHOLE_BPS)),
        ("OfferRoyalty", "offer_id", hash()),
        ("NewOffer", "title", line(limits::TITLE_BYTES)),
        ("NewOffer", "description", text(limits::OFFER_DESCRIPTION_BYTES)),
        ("NewOffer", "tags", items(limits::TAGS, &string(line(limits::TAG_BYTES)))),
        ("NewOffer", "price", amount(0)),
        ("NewOffer", "splits", json!({ "maxItems": limits::OFFER_SPLITS })),
        ("NewOffer", "royalties", json!({ "maxItems": limits::OFFER_ROYALTIES })),
        ("NewOffer", "expires_ms", any()),
        ("NewOffer", "grant_within_ms", span(&limits::OFFER_GRANT_MS)),
        ("NewOffer", "dispute_within_ms", span(&limits::OFFER_DISPUTE_MS)),
        ("NewOffer", "text", json!({ "minLength": 1, "maxLength": limits::PACKAGE_BYTES })),
        (
            "NewOffer",
            "content_base64",
            json!({ "minLength": 1, "maxLength": limits::PACKAGE_BYTES.div_ceil(3) * 4, "contentEncoding": "base64" }),
        ),
        ("ListOffers", "group", group()),
        ("ListOffers", "tag", line(limits::TAG_BYTES)),
        ("ListOffers", "max_price", any()),
        ("ListOffers", "limit", rows()),
        ("ListOffers", "cursor", cursor()),
        ("BuyOffer", "max_price", any()),
        ("BuyOffer", "wait_ms", number(0, limits::BUY_WAIT_MS)),
        ("ListPurchases", "group", group()),
        ("ListPurchases", "limit", rows()),
        ("SetSpendingLimit", "per_day", any()),
    ]
}

/// Every bound.
pub(in crate::api) fn all() -> impl Iterator<Item = Bound> {
    of_claims().into_iter().chain(of_groups()).chain(of_work_and_trade())
}

/// Puts the bounds of the types that are there upon them.
pub(super) fn apply(schemas: &mut BTreeMap<String, Value>) {
    for (of, key, bound) in all() {
        let Some(property) = schemas.get_mut(of).and_then(|schema| schema.pointer_mut(&format!("/properties/{key}")))
        else {
            continue;
        };
        let (Some(property), Value::Object(bound)) = (property.as_object_mut(), bound) else { continue };
        property.extend(bound);
    }
    let evidence = schemas.get_mut("Evidence").and_then(|schema| schema["oneOf"].as_array_mut());
    for variant in evidence.into_iter().flatten() {
        let Some(properties) = variant["properties"].as_object_mut() else { continue };
        for (key, property) in properties {
            let bound = if key == "exit_code" { number(0, u32::MAX.into()) } else { text(limits::EVIDENCE_BYTES) };
            if let (Some(property), Value::Object(bound)) = (property.as_object_mut(), bound)
                && key != "kind"
            {
                property.extend(bound);
            }
        }
    }
}

/// Takes null out of what a value may be.
pub(super) fn never_null(schema: &mut Value) {
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_slice() {
            schema["type"] = only.clone();
        }
    }
    let Some(choices) = schema.get_mut("oneOf").and_then(Value::as_array_mut) else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [only] = choices.as_slice() {
        let mut only = only.clone();
        if only["description"].is_null() {
            only["description"] = schema["description"].clone();
        }
        *schema = only;
    }
}
