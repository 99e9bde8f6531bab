//! Agents on real daemons: identities of their own, each with a key, a line, an account and a presence, on one node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;
#[path = "agents/hosts.rs"]
mod hosts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::{Answer, Daemon, PATIENCE, agree, pair, wait_until};
use lbm::api::client::Client;
use lbm::api::types::{CompleteTask, NewTask, StartTask};
use lbm::identity::AgentName;
use lbm::limits;
use serde_json::Value;

/// Makes an agent that is a member of a group; its peer id.
#[track_caller]
fn agent(node: &Daemon, name: &str, group: &str) -> String {
    let made = node.ctl(&["agent", "create", "--name", name, "--group", group]).done();
    assert_eq!((&made["agent"], &made["role"], &made["next"]), (&name.into(), &"member".into(), &Value::Null));
    made["member_id"].as_str().unwrap().to_owned()
}

/// Runs `lbm ctl` in the name of an agent.
#[track_caller]
fn acting(node: &Daemon, name: &str, args: &[&str]) -> Answer {
    node.ctl(&[&["--agent", name], args].concat())
}

/// Publishes in the name of an agent; the claim's hash.
#[track_caller]
fn publish(node: &Daemon, name: &str, group: &str, text: &str) -> String {
    acting(node, name, &["claim", "publish", "--group", group, "--text", text]).text("claim_hash")
}

/// The author of each claim of a group.
fn authors(node: &Daemon, group: &str) -> BTreeMap<String, String> {
    let list = node.ctl(&["claim", "list", "--group", group, "--limit", "1000000"]).done();
    let claims = list["claims"].as_array().unwrap().iter();
    let text = |claim: &Value, key: &str| claim[key].as_str().unwrap().to_owned();
    claims.map(|claim| (text(claim, "text"), text(claim, "author"))).collect()
}

#[test]
fn ten_agents_write_at_once_and_every_claim_reaches_the_other_node_under_its_author() {
    const AGENTS: usize = 10;
    const EACH: usize = 100;
    let (alice, bob, group) = pair("crowd");
    let names: Vec<String> = (0..AGENTS).map(|number| format!("scout-{number}")).collect();
    let ids: Vec<String> = names.iter().map(|name| agent(&alice, name, &group)).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), AGENTS);
    std::thread::scope(|scope| {
        for name in &names {
            let (alice, group) = (&alice, &group);
            scope.spawn(move || {
                for number in 0..EACH {
                    publish(alice, name, group, &format!("{name} found {number}"));
                }
            });
        }
    });
    wait_until(PATIENCE, "the other node has all", || authors(&bob, &group).len() == AGENTS * EACH);
    for node in [&alice, &bob] {
        let authors = authors(node, &group);
        for (name, id) in names.iter().zip(&ids) {
            for number in 0..EACH {
                assert_eq!(authors.get(&format!("{name} found {number}")), Some(id), "{}", node.name);
            }
        }
    }
    agree(&[&alice, &bob], &group);
    let rejected = alice.ctl(&["rejected"]).done();
    assert_eq!(rejected["rejected"], Value::Array(vec![]), "nothing was lost to another's line");
    let listed = alice.ctl(&["agent", "list"]).done();
    let listed = listed["agents"].as_array().unwrap();
    assert_eq!(listed.len(), AGENTS);
    assert!(listed.iter().all(|agent| agent["last_write_ms"].is_u64() && agent["groups"][0]["role"] == "member"));
}

/// How long one of many may wait for a write, its task or its claim, with a debug build on a busy machine.
const MOST: Duration = Duration::from_secs(20);

#[test]
fn sixty_four_agents_with_a_lease_each_write_at_once_and_none_is_lost_or_waits_long() {
    const AGENTS: usize = limits::AGENTS;
    const EACH: usize = 8;
    let (alice, bob, group) = pair("full");
    let names: Vec<AgentName> = (0..AGENTS).map(|number| format!("a{number}").parse().unwrap()).collect();
    let ids: Vec<String> = names.iter().map(|name| agent(&alice, name.as_str(), &group)).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let longest = runtime.block_on(async {
        let work = names.iter().zip(&ids).map(|(name, id)| {
            let (client, group) = (Client::new(&alice.data).as_agent(name.clone()), group.clone());
            let (name, id) = (name.to_string(), id.clone());
            tokio::spawn(async move { take_and_publish(&client, &group, &name, &id, EACH).await })
        });
        let mut longest = Duration::ZERO;
        for done in work.collect::<Vec<_>>() {
            longest = longest.max(done.await.unwrap());
        }
        longest
    });
    println!("the longest of {} calls took {longest:?}", AGENTS * (EACH + 4));
    assert!(longest < MOST, "somebody waited for {longest:?}");
    wait_until(PATIENCE, "the other node has all", || authors(&bob, &group).len() == AGENTS * EACH);
    agree(&[&alice, &bob], &group);
    for node in [&alice, &bob] {
        let authors = authors(node, &group);
        for (name, id) in names.iter().zip(&ids) {
            assert!((0..EACH).all(|number| authors.get(&format!("{name} says {number}")) == Some(id)), "{}", node.name);
        }
        let tasks = node.ctl(&["task", "list", "--group", &group, "--status", "completed", "--limit", "1000"]).done();
        let by: BTreeSet<&str> =
            tasks["tasks"].as_array().unwrap().iter().map(|task| task["assignee"].as_str().unwrap()).collect();
        assert_eq!(by, ids.iter().map(String::as_str).collect(), "each has done its own on {}", node.name);
    }
    assert_eq!(alice.ctl(&["rejected"]).done()["rejected"], Value::Array(vec![]));
}

/// Makes a task, takes it, publishes under its lease, keeps it, and completes it; the longest that a call took.
async fn take_and_publish(client: &Client, group: &str, name: &str, id: &str, claims: usize) -> Duration {
    let mut longest = Duration::ZERO;
    let mut timed = |began: Instant| longest = longest.max(began.elapsed());
    let task = serde_json::json!({"task_id": format!("of-{name}"), "title": "One's own", "assignee": id});
    let task: NewTask = serde_json::from_value(task).unwrap();
    let began = Instant::now();
    client.create_task(group, &task).await.unwrap();
    timed(began);
    let lease = StartTask { attempt: None, lease_ms: Some(limits::TASK_DEFAULT_LEASE_MS) };
    let began = Instant::now();
    let held = client.start_task(group, &task.task_id, &lease).await.unwrap();
    timed(began);
    for number in 0..claims {
        let claim = serde_json::json!({"text": format!("{name} says {number}")});
        let began = Instant::now();
        client.publish_claim(group, &serde_json::from_value(claim).unwrap()).await.unwrap();
        timed(began);
    }
    let began = Instant::now();
    let kept = client.start_task(group, &task.task_id, &lease).await.unwrap();
    timed(began);
    assert_eq!((kept.attempt, kept.assignee.as_deref()), (held.attempt, Some(id)), "nobody took it");
    let began = Instant::now();
    let done = CompleteTask { attempt: Some(held.attempt), ..CompleteTask::default() };
    client.complete_task(group, &task.task_id, &done).await.unwrap();
    timed(began);
    longest
}

#[test]
fn each_agent_has_a_role_an_account_a_presence_and_tasks_of_its_own() {
    let (alice, bob, group) = pair("roles");
    let scout = agent(&alice, "scout", &group);
    let watcher = alice.ctl(&["agent", "create", "--name", "watcher", "--group", &group, "--role", "viewer"]);
    let watcher = watcher.text("member_id");
    assert_eq!(acting(&alice, "scout", &["status"]).text("member_id"), scout);
    assert_eq!(acting(&alice, "scout", &["status"]).text("node_id"), alice.id);
    acting(&alice, "watcher", &["claim", "publish", "--group", &group, "--text", "no"]).refused(1, &["viewer"]);

    alice.ctl(&["token", "mint", "--group", &group, "--to", &scout, "--amount", "50"]).ok();
    acting(&alice, "scout", &["token", "transfer", "--group", &group, "--to", &bob.id, "--amount", "20"]).ok();
    let balance = |name: &str| acting(&alice, name, &["token", "balance", "--group", &group]).done();
    assert_eq!((&balance("scout")["balance"], &balance("scout")["account"]), (&30.into(), &scout.as_str().into()));
    assert_eq!((&balance("watcher")["balance"], &balance("watcher")["account"]), (&0.into(), &watcher.as_str().into()));

    for (name, status) in [("scout", "busy"), ("watcher", "idle")] {
        acting(&alice, name, &["presence", "set", "--group", &group, status]).ok();
    }
    wait_until(PATIENCE, "the other node sees both", || {
        let list = bob.ctl(&["presence", "list", "--group", &group]).done();
        let rows = list["presence"].as_array().unwrap();
        let says = |id: &str, status: &str| rows.iter().any(|row| row["member_id"] == id && row["status"] == status);
        says(&scout, "busy") && says(&watcher, "idle")
    });

    bob.ctl(&["task", "create", "--group", &group, "--task", "t", "--title", "T"]).ok();
    wait_until(PATIENCE, "the task is there", || alice.ctl(&["task", "show", "t", "--group", &group]).code == Some(0));
    acting(&alice, "scout", &["task", "claim", "t", "--group", &group]).ok();
    alice.ctl(&["task", "start", "t", "--group", &group]).refused(1, &[&scout]);
    for step in ["start", "complete"] {
        acting(&alice, "scout", &["task", step, "t", "--group", &group]).ok();
    }
    agree(&[&alice, &bob], &group);
}

#[test]
fn what_is_the_nodes_business_an_agent_is_refused_and_names_are_checked() {
    let alice = Daemon::start("alice");
    let group = alice.found("strict");
    agent(&alice, "scout", &group);
    let again = alice.ctl(&["agent", "create", "--name", "scout"]);
    again.refused(1, &["scout", "choose another name"]);
    assert_eq!(again.json()["code"], "agent_exists");
    for bad in ["Scout", "-x", "a/b", "..", "", &"a".repeat(33)] {
        let name = format!("--name={bad}");
        assert_eq!(alice.ctl(&["agent", "create", &name]).code, Some(2), "{bad}");
    }
    let nobody = acting(&alice, "nobody", &["claim", "list", "--group", &group]);
    nobody.refused(1, &["nobody", "lbm ctl agent list"]);
    assert_eq!(nobody.json()["code"], "no_such_agent");
    for forbidden in [
        &["group", "create", "--name", "mine"][..],
        &["agent", "create", "--name", "child"],
        &["agent", "revoke", "scout"],
        &["agent", "token", "scout"],
        &["peer", "add", "--addr", &alice.address()],
        &["offer", "approve", &"0".repeat(64)],
    ] {
        let answer = acting(&alice, "scout", forbidden);
        answer.refused(1, &["without --agent"]);
        assert_eq!(answer.json()["code"], "forbidden", "{forbidden:?}");
    }
    let notary = alice.ctl(&["agent", "show", "scout"]).text("member_id");
    alice.ctl(&["group", "set-notary", "--group", &group, "--member", &notary]).refused(1, &["agents do not seal"]);
    // In a group where the node is no admin, it says who has to do what.
    let bob = Daemon::start("bob");
    alice.add(&group, &bob.id, "member");
    bob.meet(&alice);
    bob.ctl(&["group", "join", &group]).ok();
    let made = bob.ctl(&["agent", "create", "--name", "guest", "--group", &group]).done();
    let next = made["next"].as_str().unwrap();
    let command = next.split('`').nth(1).unwrap();
    assert_eq!(made["role"], Value::Null);
    let words = common::words(command);
    alice.ctl(&words.iter().skip(2).map(String::as_str).collect::<Vec<_>>()).ok();
    wait_until(PATIENCE, "it is a member", || {
        bob.ctl(&["agent", "show", "guest"]).done()["groups"][0]["role"] == "member"
    });
    let claim = publish(&bob, "guest", &group, "I am in");
    alice.wait_for_claims(&group, &[&claim]);
}

#[test]
fn a_revoked_agent_is_refused_at_once_and_never_signs_again() {
    let (mut alice, bob, group) = pair("ended");
    let scout = agent(&alice, "scout", &group);
    let leaver = agent(&alice, "leaver", &group);
    let claim = publish(&alice, "scout", &group, "before");
    assert!(alice.ctl(&["agent", "token", "scout"]).text("token").starts_with("lbm_"));
    assert_eq!(alice.ctl(&["agent", "show", "scout"]).done()["has_token"], true);
    let mut follows = std::process::Command::new(common::LBM);
    follows.args(["ctl", "--agent", "scout", "events", "--follow", "--data"]).arg(&alice.data);
    let mut follows = common::clean(follows).stdout(std::process::Stdio::null()).spawn().unwrap();
    let revoked = alice.ctl(&["agent", "revoke", "scout"]).done();
    wait_until(PATIENCE, "what it follows ends with it", || follows.try_wait().unwrap().is_some());
    assert_eq!(
        (&revoked["left"], &revoked["still_member"][0]["group_id"]),
        (&Value::Array(vec![]), &group.as_str().into())
    );
    let left = alice.ctl(&["agent", "revoke", "leaver", "--leave"]).done();
    assert_eq!((&left["left"][0], &left["still_member"]), (&group.as_str().into(), &Value::Array(vec![])));
    for name in ["scout", "leaver"] {
        let refused = acting(&alice, name, &["claim", "publish", "--group", &group, "--text", "after"]);
        refused.refused(1, &[name, "lbm ctl agent list"]);
        assert!(!alice.data.join("agents").join(format!("{name}.key")).exists());
    }
    bob.wait_for_claims(&group, &[&claim]);
    wait_until(PATIENCE, "one has left", || {
        let members = bob.ctl(&["group", "members", &group]).done();
        let ids: Vec<&str> =
            members["members"].as_array().unwrap().iter().map(|m| m["member_id"].as_str().unwrap()).collect();
        ids.contains(&scout.as_str()) && !ids.contains(&leaver.as_str())
    });
    // The name is free, and it is another identity.
    assert_ne!(agent(&alice, "scout", &group), scout);
    alice.kill();
    alice.restart();
    assert_eq!(alice.ctl(&["agent", "list"]).done()["agents"].as_array().unwrap().len(), 1);
    publish(&alice, "scout", &group, "anew");
    // An agent leaves by itself, and the node stays.
    acting(&alice, "scout", &["group", "leave", &group]).ok();
    acting(&alice, "scout", &["claim", "publish", "--group", &group, "--text", "out"])
        .refused(1, &["there is no group"]);
    alice.publish(&group, "still here");
}

#[test]
fn who_waits_when_it_is_revoked_hears_that_and_not_that_the_daemon_stops() {
    let (mut alice, bob, group) = pair("waiting");
    let made = bob.ctl(&["agent", "create", "--name", "scout"]).text("member_id");
    alice.add(&group, &made, "member");
    wait_until(PATIENCE, "it is a member", || {
        bob.ctl(&["agent", "show", "scout"]).done()["groups"].as_array().unwrap().len() == 1
    });
    // Nobody seals what is written now.
    alice.kill();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            acting(&bob, "scout", &["claim", "publish", "--group", &group, "--text", "for ever", "--wait-final"])
        });
        wait_until(PATIENCE, "it is written", || authors(&bob, &group).contains_key("for ever"));
        // Until it waits, which nobody is told.
        std::thread::sleep(Duration::from_millis(200));
        bob.ctl(&["agent", "revoke", "scout"]).ok();
        let answer = waiting.join().unwrap();
        answer.refused(1, &["scout", "revoked", "agent list"]);
        assert!(!answer.stderr.contains("stopping"), "{}", answer.stderr);
    });
}

#[test]
fn sixty_four_agents_fit_and_one_more_is_told_why_not() {
    let alice = Daemon::start("alice");
    for number in 0..64 {
        alice.ctl(&["agent", "create", "--name", &format!("a{number}")]).ok();
    }
    let full = alice.ctl(&["agent", "create", "--name", "one-more"]);
    full.refused(1, &["64", "agent revoke"]);
    assert_eq!(full.json()["code"], "full");
    alice.ctl(&["agent", "revoke", "a7"]).ok();
    alice.ctl(&["agent", "create", "--name", "one-more"]).ok();
}

#[test]
fn an_agent_that_was_answered_survives_kill_9_and_one_that_was_ended_does_not() {
    let mut alice = Daemon::start("alice");
    let group = alice.found("crash");
    let (mut made, mut ended) = (BTreeMap::new(), BTreeSet::new());
    for round in 0..6 {
        let begun: Vec<_> = (0..4)
            .map(|number| {
                let name = format!("r{round}-{number}");
                alice.begin(&["agent", "create", "--name", &name, "--group", &group])
            })
            .collect();
        let name = format!("sure-{round}");
        made.insert(name.clone(), agent(&alice, &name, &group));
        if round > 0 {
            let last = format!("sure-{}", round - 1);
            alice.ctl(&["agent", "revoke", &last]).ok();
            made.remove(&last);
            ended.insert(last);
        }
        let ending = alice.begin(&["agent", "revoke", &format!("r{round}-0")]);
        alice.kill();
        drop((begun, ending));
        alice.restart();
        let list = alice.ctl(&["agent", "list"]).done();
        let here: BTreeMap<String, String> = list["agents"]
            .as_array()
            .unwrap()
            .iter()
            .map(|agent| (agent["agent"].as_str().unwrap().to_owned(), agent["member_id"].as_str().unwrap().to_owned()))
            .collect();
        for (name, id) in &made {
            assert_eq!(here.get(name), Some(id), "it was answered");
            publish(&alice, name, &group, &format!("{name} in {round}"));
        }
        assert!(ended.iter().all(|name| !here.contains_key(name)), "ended is ended");
        for file in std::fs::read_dir(alice.data.join("agents")).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            assert!(name.ends_with(".new") || here.contains_key(name.trim_end_matches(".key")), "{name}");
        }
    }
    alice.verified(&group);
}

#[test]
fn a_copy_of_the_folder_knows_that_only_its_own_identities_are_in_a_group() {
    let mut alice = Daemon::start("alice");
    let group = alice.found("copied");
    agent(&alice, "scout", &group);
    publish(&alice, "scout", &group, "before");
    alice.stop();
    let (file, copy) = (alice.data.join("lbm.redb"), alice.data.join("copy"));
    std::fs::copy(&file, &copy).unwrap();
    std::fs::rename(&copy, &file).unwrap();
    alice.restart();
    publish(&alice, "scout", &group, "nobody has to be asked");
    alice.publish(&group, "nor here");
    alice.verified(&group);
}

#[test]
fn encrypted_keys_of_agents_are_opened_by_the_nodes_password_and_a_backup_holds_them() {
    let mut alice = Daemon::start("alice");
    let group = alice.found("locked");
    let ids = ["one", "two"].map(|name| agent(&alice, name, &group));
    let claim = publish(&alice, "one", &group, "before");
    let password = |file: &str, word: &str| {
        let path = alice.data.with_file_name(file);
        std::fs::write(&path, format!("{word}\n")).unwrap();
        std::os::unix::fs::PermissionsExt::set_mode(&mut path.metadata().unwrap().permissions(), 0o600);
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (first, second) = (password("first", "correct horse"), password("second", "battery staple"));
    alice.lbm(&["keys", "encrypt", "--password-file", &first]).ok();
    // The daemon read its keys in clear: what it would write has another form.
    let changed = alice.ctl(&["agent", "create", "--name", "three"]);
    changed.refused(1, &["restart"]);
    assert_eq!(changed.json()["code"], "keys_changed");
    alice.stop();
    for file in ["node.key", "agents/one.key", "agents/two.key"] {
        assert_eq!(std::fs::metadata(alice.data.join(file)).unwrap().len(), 159, "{file} is encrypted");
    }
    alice.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--password-file", &first]);
    alice.restart();
    assert_eq!(agent(&alice, "three", &group).len(), ids[0].len());
    publish(&alice, "two", &group, "opened");
    alice.stop();
    alice.lbm(&["keys", "change-password", "--password-file", &first, "--new-password-file", &second]).ok();
    alice.fails_to_start().refused(1, &["wrong password"]);
    alice.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--password-file", &second]);
    alice.restart();
    publish(&alice, "three", &group, "made while it was locked");
    let file = alice.data.with_file_name("backup");
    alice.lbm(&["backup", file.to_str().unwrap()]).ok();
    let token = alice.ctl(&["agent", "token", "one"]).text("token");
    assert_eq!(token.len(), 68);
    let mut other = Daemon::prepared("other");
    alice.stop();
    std::fs::remove_dir_all(&other.data).unwrap();
    other.lbm(&["restore", file.to_str().unwrap(), "--alone"]).ok();
    other.args(&["--listen", "/ip4/127.0.0.1/tcp/0", "--no-mdns", "--password-file", &second]);
    other.restart();
    let list = other.ctl(&["agent", "list"]).done();
    let restored: Vec<&str> =
        list["agents"].as_array().unwrap().iter().map(|a| a["member_id"].as_str().unwrap()).collect();
    assert_eq!(restored.len(), 3);
    assert!(ids.iter().all(|id| restored.contains(&id.as_str())));
    for name in ["one", "two", "three"] {
        publish(&other, name, &group, &format!("{name} goes on"));
    }
    other.wait_for_claims(&group, &[&claim]);
    other.verified(&group);
}

#[test]
fn an_agent_spends_no_more_than_its_own_limit_until_a_person_says_so() {
    let (alice, bob, group) = pair("shop");
    let made = alice.ctl(&["agent", "create", "--name", "buyer", "--group", &group, "--spend-limit", "15"]).done();
    let buyer = made["member_id"].as_str().unwrap().to_owned();
    let free = agent(&alice, "free", &group);
    for id in [&buyer, &free] {
        alice.ctl(&["token", "mint", "--group", &group, "--to", id, "--amount", "100"]).ok();
    }
    let offers: Vec<String> = (0..2)
        .map(|number| {
            let text = format!("knowledge {number}");
            let args = ["offer", "create", "--group", &group, "--title", "K", "--text", &text, "--price", "10"];
            bob.ctl(&args).text("offer_id")
        })
        .collect();
    wait_until(PATIENCE, "the offers are there", || {
        offers.iter().all(|offer| alice.ctl(&["offer", "show", offer]).code == Some(0))
    });
    let first = acting(&alice, "buyer", &["offer", "buy", &offers[0]]).done();
    assert_eq!((&first["opened"], &first["buyer"]), (&true.into(), &buyer.as_str().into()), "{first}");
    let second = acting(&alice, "buyer", &["offer", "buy", &offers[1]]).json();
    assert_eq!(second["status"], "waiting_for_approval", "{second}");
    // Another agent's limit is another, and so is its library.
    for offer in &offers {
        acting(&alice, "free", &["offer", "buy", offer]).ok();
    }
    let library = |name: &str| acting(&alice, name, &["library", "list"]).done()["packages"].as_array().unwrap().len();
    assert_eq!((library("buyer"), library("free")), (1, 2));
    // Two wait for one offer: each word is for one of them, and says for whom.
    alice.ctl(&["agent", "create", "--name", "zoe", "--group", &group, "--spend-limit", "5"]).ok();
    let zoe = alice.ctl(&["agent", "show", "zoe"]).text("member_id");
    alice.ctl(&["token", "mint", "--group", &group, "--to", &zoe, "--amount", "20"]).ok();
    assert_eq!(acting(&alice, "zoe", &["offer", "buy", &offers[1]]).json()["status"], "waiting_for_approval");
    let mut approved = BTreeSet::new();
    for still_waiting in [1, 0] {
        let answer = alice.ctl(&["offer", "approve", &offers[1]]).done();
        assert_eq!(answer["still_waiting"], still_waiting, "{answer}");
        let agent = answer["agent"].as_str().unwrap().to_owned();
        assert_eq!(answer["buyer"], if agent == "zoe" { zoe.as_str() } else { buyer.as_str() });
        approved.insert(agent);
    }
    assert_eq!(approved, BTreeSet::from(["buyer".to_owned(), "zoe".to_owned()]));
    wait_until(PATIENCE, "it is bought after all", || library("buyer") == 2 && library("zoe") == 1);
    let shown = alice.ctl(&["agent", "show", "buyer"]).done();
    assert_eq!((&shown["spend_limit"], &shown["groups"][0]["balance"]), (&15.into(), &80.into()));
    agree(&[&alice, &bob], &group);
}
