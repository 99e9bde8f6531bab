use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::api::types as api;

/// The words of the parser for a key that a request does not know: they name those that it knows.
fn known<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = match serde_json::from_value::<T>(json!({"?": 0})) {
        Ok(_) => panic!("a request takes any key"),
        Err(error) => error.to_string(),
    };
    assert!(error.starts_with("unknown field `?`"), "{error}");
    error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

/// The fields that a tool takes besides these of its own are those of the API's request, but for those left out.
#[track_caller]
fn is_request<T: DeserializeOwned>(tool: &str, own: &[&str], left_out: &[&str]) {
    let takes: BTreeSet<_> = named(tool).unwrap().takes.iter().map(|field| field.name.to_owned()).collect();
    let own: BTreeSet<_> = own.iter().map(|name| (*name).to_owned()).collect();
    assert!(own.is_subset(&takes), "{tool}");
    let left_out: BTreeSet<_> = left_out.iter().map(|name| (*name).to_owned()).collect();
    let request = known::<T>();
    assert!(left_out.is_subset(&request), "{tool}");
    let wanted: BTreeSet<_> = &(&request - &left_out) | &own;
    assert_eq!(takes, wanted, "{tool}");
}

#[test]
fn tools_take_what_the_api_takes() {
    is_request::<api::NewClaim>("publish_claim", &["idempotency_key"], &[]);
    is_request::<api::ContextQuery>("compile_context", &[], &[]);
    is_request::<api::RecentClaims>("get_recent_claims", &["thread"], &[]);
    is_request::<api::WatchClaims>("watch_claims", &[], &[]);
    is_request::<api::SubmitExperience>("submit_experience", &["idempotency_key"], &[]);
    is_request::<api::NewTask>("create_task", &[], &[]);
    is_request::<api::AssignTask>("assign_task", &["task_id"], &[]);
    is_request::<api::StartTask>("start_task", &["task_id"], &[]);
    is_request::<api::CompleteTask>("complete_task", &["task_id"], &[]);
    is_request::<api::FailTask>("fail_task", &["task_id", "cancel"], &[]);
    is_request::<api::ReleaseTask>("release_task", &["task_id", "resource"], &[]);
    is_request::<api::ListTasks>("list_tasks", &["task_id", "ready"], &["open"]);
    is_request::<api::SetPresence>("update_presence", &[], &[]);
    is_request::<api::ListPresence>("get_presence", &[], &[]);
    let rare = ["splits", "royalties", "settle", "grant_within_ms", "dispute_within_ms", "content_base64"];
    is_request::<api::NewOffer>("create_offer", &["idempotency_key"], &rare);
    is_request::<api::ListOffers>("list_offers", &[], &["group"]);
    is_request::<api::BuyOffer>("purchase_offer", &["offer_id", "offset"], &[]);
    is_request::<api::PullMarket>("market_pull", &[], &[]);
}

#[test]
fn the_tools_are_few_and_short() {
    assert!(ALL.len() <= 24);
    let names: BTreeSet<_> = ALL.iter().map(|tool| tool.name).collect();
    assert_eq!(names.len(), ALL.len());
    let all = serde_json::to_string(listed()).unwrap();
    // Four bytes a token, as all estimates here.
    assert!(all.len() <= 16_000, "{} bytes", all.len());
}

#[test]
fn each_tool_has_a_closed_input_an_output_and_all_four_hints() {
    for (tool, listed) in ALL.iter().zip(listed()) {
        let listed = serde_json::to_value(listed).unwrap();
        assert_eq!(listed["inputSchema"]["additionalProperties"], Value::Bool(false), "{}", tool.name);
        assert_eq!(listed["outputSchema"]["type"], "object", "{}", tool.name);
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(listed["annotations"][hint].is_boolean(), "{} {hint}", tool.name);
        }
        assert!(
            !listed.to_string().contains("\"format\""),
            "{}: clients warn of formats that they do not know",
            tool.name
        );
    }
}
