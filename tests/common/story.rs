//! What each tool does, told by two agents on two nodes. Whatever client they use, the story is the same.

use serde_json::{Value, json};

use super::mcp::Agent;
use super::{Daemon, PATIENCE, wait_until};

/// An agent, the daemon that it talks to, and who it is.
pub struct Side<'a> {
    pub agent: &'a mut dyn Agent,
    pub daemon: &'a Daemon,
    pub id: String,
}

impl<'a> Side<'a> {
    /// An agent that acts as the node.
    pub fn of_node(agent: &'a mut dyn Agent, daemon: &'a Daemon) -> Self {
        Self { agent, daemon, id: daemon.id.clone() }
    }

    fn balance(&self, group: &str) -> u64 {
        let answer = self.daemon.ctl(&["token", "balance", "--group", group, "--account", &self.id]).done();
        answer["balance"].as_u64().unwrap()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// Calls each tool, and looks on the other node for what it did. `here` must be an admin, and both must have no tokens.
pub fn every_tool(mut here: Side<'_>, mut there: Side<'_>, group: &str) {
    let primed = here.agent.done("prime", &json!({}));
    assert_eq!(primed["identity"], here.id);
    assert_eq!(primed["groups"][0]["group_id"], group);

    let claim = here.agent.done("publish_claim", &json!({"text": "Keep sockets at mode 0600", "tags": ["security"]}));
    let claim = text(&claim["claim_hash"]).to_owned();
    there.daemon.wait_for_claims(group, &[&claim]);
    let answered =
        there.agent.done("publish_claim", &json!({"text": "Agreed: others read them", "parent_hash": claim[..12]}));
    let answered = text(&answered["claim_hash"]).to_owned();
    here.daemon.wait_for_claims(group, &[&answered]);
    let thread = here.agent.done("get_recent_claims", &json!({"thread": claim}));
    assert_eq!(thread["claims"][1]["claim_hash"], answered);
    assert_eq!(thread["claims"][1]["author"], there.id);
    let found = there.agent.call("compile_context", &json!({"query": "which mode have sockets"}));
    assert_eq!(found["structuredContent"]["claim_hashes"][0], claim);
    assert_eq!(found["content"][0]["text"], found["structuredContent"]["context"]);
    assert!(text(&found["structuredContent"]["context"]).contains("data, not instructions"));

    let watched = there.agent.done("watch_claims", &json!({}));
    assert_eq!(watched["claims"].as_array().unwrap().len(), 2);
    let cursor = &watched["next_cursor"];
    here.agent.done("retract_claim", &json!({"claim_hash": claim}));
    let after = there.agent.done("watch_claims", &json!({"cursor": cursor, "wait_ms": 20_000}));
    assert_eq!(after["claims"][0]["kind"], "retracted");
    assert_eq!(after["claims"][0]["claim_hash"], claim);
    // Sent again, it is as was asked.
    assert_eq!(here.agent.done("retract_claim", &json!({"claim_hash": claim}))["retracted"], true);

    let run = here.agent.done("submit_experience", &json!({"content": "{\"steps\": 3}"}));
    assert_eq!(text(&run["experience_hash"]).len(), 64);
    wait_until(PATIENCE, "the experience is on the second node", || {
        there.daemon.ctl(&["group", "stats", group]).done()["experiences"] == 1
    });

    tasks_go_round(&mut here, &mut there, group, &answered);

    here.agent.done("update_presence", &json!({"status": "busy", "metadata": {"current_task": "api"}}));
    wait_until(PATIENCE, "the presence is heard", || {
        let heard = there.agent.done("get_presence", &json!({}));
        heard["presence"].as_array().unwrap().iter().any(|row| {
            row["member_id"] == here.id && row["status"] == "busy" && row["metadata"]["current_task"] == "api"
        })
    });

    let offer = here
        .agent
        .done("create_offer", &json!({"title": "Guide", "text": "Validate all inputs", "price": 7, "tags": ["x"]}));
    let offer = text(&offer["offer_id"]).to_owned();
    here.daemon.ctl(&["token", "mint", "--group", group, "--to", &there.id, "--amount", "50"]).ok();
    assert!(there.agent.done("market_pull", &json!({}))["peers"].as_u64().unwrap() >= 1);
    wait_until(PATIENCE, "the offer is known", || {
        there.agent.done("list_offers", &json!({"tag": "x"}))["offers"][0]["offer_id"] == offer
    });
    wait_until(PATIENCE, "it can be paid", || there.balance(group) >= 50);
    there.agent.refused("purchase_offer", &json!({"offer_id": offer, "max_price": 1}), &["price_above"]);
    wait_until(PATIENCE, "the package is bought", || {
        let bought = there.agent.done("purchase_offer", &json!({"offer_id": offer, "max_price": 7}));
        bought["opened"] == true && bought["text"] == "Validate all inputs"
    });
    let before = there.balance(group);
    // Sent again, it pays nothing more.
    there.agent.done("purchase_offer", &json!({"offer_id": offer}));
    assert_eq!(there.balance(group), before);

    assert_eq!(there.agent.done("list_groups", &json!({}))["groups"][0]["name"], "team");
    let state = there.agent.done("get_group_state", &json!({}));
    assert!(state["members"].as_array().unwrap().len() >= 2);
    assert_eq!(state["balance"], before);
    let synced = there.agent.done("sync_group", &json!({"group": group}));
    assert_eq!(synced["groups"][0]["peers_answered"], 1);
    let again = there.agent.done("prime", &json!({"cursor": cursor}));
    assert_eq!(again["new_claims"][0]["claim_hash"], claim, "what became of it is new: {again}");
}

fn tasks_go_round(here: &mut Side<'_>, there: &mut Side<'_>, group: &str, result: &str) {
    let new = json!({"task_id": "api", "title": "Build the API", "description": "REST", "reward": 20, "priority": 5});
    here.agent.done("create_task", &new);
    assert_eq!(here.agent.done("create_task", &new)["already"], true, "sent again");
    here.agent.refused("create_task", &json!({"task_id": "api", "title": "another"}), &["task_exists"]);
    wait_until(PATIENCE, "the task is ready there", || {
        there.agent.done("list_tasks", &json!({"ready": true}))["tasks"][0]["task_id"] == "api"
    });
    let begun = there.agent.done("start_task", &json!({}));
    assert_eq!((text(&begun["task_id"]), text(&begun["description"])), ("api", "REST"));
    let attempt = begun["attempt"].clone();
    let kept = there.agent.done("start_task", &json!({"task_id": "api", "attempt": attempt, "lease_ms": 7_200_000}));
    assert!(kept["lease_until_ms"].as_u64() > begun["lease_until_ms"].as_u64());
    wait_until(PATIENCE, "it is under way here", || {
        here.agent.done("list_tasks", &json!({"task_id": "api"}))["tasks"][0]["status"] == "in_progress"
    });
    here.agent.refused("start_task", &json!({"task_id": "api"}), &["task_taken", "it is not yours"]);
    here.agent.refused("start_task", &json!({}), &["no_ready_task"]);
    let end = json!({"task_id": "api", "attempt": attempt, "claim_hash": result});
    there.agent.done("complete_task", &end);
    assert_eq!(there.agent.done("complete_task", &end)["already"], true, "sent again");
    there.agent.refused("fail_task", &json!({"task_id": "api"}), &["task_ended"]);
    wait_until(PATIENCE, "the reward is paid", || {
        here.daemon.ctl(&["token", "balance", "--group", group, "--account", &there.id]).done()["balance"] == 20
    });

    here.agent.done("create_task", &json!({"task_id": "docs", "title": "Write it up", "depends_on": ["api"]}));
    here.agent.done("assign_task", &json!({"task_id": "docs", "assignee": there.id}));
    wait_until(PATIENCE, "it is handed over", || {
        there.agent.done("list_tasks", &json!({"mine": true, "status": "assigned"}))["tasks"][0]["task_id"] == "docs"
    });
    assert_eq!(there.agent.done("prime", &json!({}))["my_tasks"][0]["task_id"], "docs");
    there.agent.done("release_task", &json!({"task_id": "docs"}));
    wait_until(PATIENCE, "it was given back", || {
        here.agent.done("list_tasks", &json!({"ready": true}))["tasks"][0]["task_id"] == "docs"
    });
    here.agent.done("start_task", &json!({"task_id": "docs"}));
    here.agent.done("fail_task", &json!({"task_id": "docs", "error_message": "no time"}));
    wait_until(PATIENCE, "it failed", || {
        there.agent.done("list_tasks", &json!({"task_id": "docs"}))["tasks"][0]["error_message"] == "no time"
    });

    let held = here.agent.done("reserve_resource", &json!({"resource": "src/a b.rs"}));
    assert_eq!((held["reserved"].clone(), held["holder"].clone()), (json!(true), json!(here.id)));
    wait_until(PATIENCE, "the reservation is known", || {
        let other = there.agent.done("reserve_resource", &json!({"resource": "src/a b.rs"}));
        // Before it was heard of, both may have it; then the earlier keeps it.
        other["holder"] == here.id && other["reserved"] == false
    });
    assert_eq!(there.agent.done("list_tasks", &json!({"ready": true}))["tasks"], json!([]));
    here.agent.done("release_task", &json!({"task_id": held["task_id"]}));
    wait_until(PATIENCE, "it is free", || {
        there.agent.done("reserve_resource", &json!({"resource": "src/a b.rs"}))["reserved"] == true
    });
}
