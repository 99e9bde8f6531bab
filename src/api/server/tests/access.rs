//! What an agent sees: the groups that it is a member of, and of the others not even that they are here.

use serde_json::{Value, json};

use super::*;
use crate::api::AGENT_HEADER;
use crate::api::routes::{self, Route};
use crate::api::types::{
    AddMember, EventKind, ListEvents, ListOffers, NewAgent, NewOffer, NewTask, Payment, Role, SetPresence,
    SetSpendingLimit, WatchClaims,
};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Makes an agent, and gives its identity.
async fn agent(node: &Running, name: &str, group: Option<&str>) -> Identity {
    let new: NewAgent = typed(json!({"name": name, "group": group}));
    node.client.create_agent(&new).await.unwrap().member_id.parse().unwrap()
}

impl Running {
    fn acting(&self, name: &str) -> Client {
        self.client.clone().as_agent(name.parse().unwrap())
    }

    /// Sends a request in an agent's name, and gives the status and the body.
    async fn asked(&self, agent: &str, route: &Route, parameters: &[&str], query: &str, body: &Value) -> (u16, String) {
        let (path, body) = (route.fill(parameters), body.to_string());
        let head = format!(
            "{} {path}{query} HTTP/1.1\r\nhost: lbm\r\nconnection: close\r\n{AGENT_HEADER}: {agent}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n",
            route.method,
            body.len()
        );
        let (status, _, body) = self.raw([head.as_bytes(), body.as_bytes()].concat()).await;
        (status, body)
    }
}

/// A body that a route takes, about a group where it names one.
fn body(route: &Route, group: &str, member: &str) -> Value {
    match (route.method.as_str(), route.path.rsplit('/').next().unwrap()) {
        ("POST", "context") => json!({"query": "launch code"}),
        ("POST", "sync") => json!({"group": group}),
        ("POST", "claims") => json!({"text": "x"}),
        ("POST", "bulk") => json!({"claims": [{"text": "x"}]}),
        ("POST", "tasks") => json!({"task_id": "t", "title": "t"}),
        ("POST", "assign") => json!({"assignee": member}),
        ("POST", "fail") => json!({"attempt": 1, "error_message": "e"}),
        ("POST", "complete" | "release") => json!({"attempt": 1}),
        ("POST", "experiences") => json!({"content": "x"}),
        ("POST", "offers") => json!({"title": "t", "price": 1, "text": "x"}),
        ("POST", "mint" | "transfer" | "pay") => json!({"to": member, "amount": 1}),
        ("POST", "members") => json!({"member": member, "role": "member"}),
        ("PUT", "presence") => json!({"status": "busy"}),
        ("PUT", "notary") => json!({"member": member}),
        ("PUT", "{member}") => json!({"role": "member"}),
        ("PATCH", "policy") => json!({"faucet_amount": 1}),
        _ => json!({}),
    }
}

/// A refusal without the name of the request that it answers.
fn unnamed(said: &str) -> String {
    let mut said: Value = serde_json::from_str(said).unwrap();
    assert!(said.as_object_mut().unwrap().remove("instance").is_some());
    said.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_finds_nothing_of_a_group_that_it_is_no_member_of_by_any_route() {
    const NAME: &str = "vault:omega";
    let node = start(1);
    node.create("shared").await;
    let secret = node.create(NAME).await;
    agent(&node, "scout", Some("shared")).await;
    let other = agent(&node, "keeper", Some(&secret)).await.to_string();
    let claim = node.publish(&secret, "the launch code is 4711").await;
    let block = node.client.group(&secret).await.unwrap().heads[0].clone();
    let task: NewTask = typed(json!({"task_id": "arm", "title": "arm the rocket"}));
    node.client.create_task(&secret, &task).await.unwrap();
    let presence: SetPresence = typed(json!({"status": "busy"}));
    node.client.set_presence(&secret, &presence).await.unwrap();
    let offer: NewOffer = typed(json!({"title": "the blueprint", "price": 3, "text": "blue"}));
    let offer = node.client.create_offer(&secret, &offer).await.unwrap().offer_id;

    let short = &secret[..12];
    // What is asked for, and the same of what there is not.
    let targets =
        [(secret.as_str(), "ab".repeat(32)), (short, "abababababab".to_owned()), (NAME, "vault:sigma".to_owned())];
    let secrets =
        [NAME, secret.as_str(), "code is 4711", claim.as_str(), "arm the rocket", "the blueprint", other.as_str()];
    for route in routes::ALL {
        for (target, nothing) in &targets {
            let of = |group: &str, is_real: bool| -> Vec<String> {
                let filled = route.path.split('/').filter(|segment| segment.starts_with('{'));
                let word = |real: &str, none: &str| if is_real { real.to_owned() } else { none.to_owned() };
                let of_segment = |segment: &str| match segment {
                    "{group}" => group.to_owned(),
                    "{claim}" => claim.clone(),
                    "{block}" => block.clone(),
                    "{task}" => "arm".to_owned(),
                    "{ticket}" => other.clone(),
                    "{offer}" => word(&offer, &"cd".repeat(32)),
                    "{agent}" => word("keeper", "nobody"),
                    "{member}" | "{peer}" => other.clone(),
                    other => panic!("{other}: say what stands there"),
                };
                filled.map(of_segment).collect()
            };
            let ask = async |group: &str, is_real: bool| {
                let parameters = of(group, is_real);
                let filled: Vec<&str> = parameters.iter().map(String::as_str).collect();
                let query = match route.path {
                    "/api/v1/rejected" | "/api/v1/stranded" | "/api/v1/offers" | "/api/v1/purchases" => {
                        format!("?group={group}")
                    }
                    "/api/v1/events" => "?after=0".to_owned(),
                    _ => String::new(),
                };
                let body = body(route, group, &other);
                (node.asked("scout", route, &filled, &query, &body).await, parameters)
            };
            let ((status, said), mut asked) = ask(target, true).await;
            let ((none_status, none_said), _) = ask(nothing, false).await;
            asked.push((*target).to_owned());
            for word in secrets.iter().filter(|word| !asked.iter().any(|asked| asked == *word)) {
                assert!(!said.contains(word), "{} {}: {status} {said}", route.method, route.path);
            }
            let is_named = route.path.contains("{group}")
                || matches!(route.path, "/api/v1/rejected" | "/api/v1/stranded" | "/api/v1/sync");
            if is_named && !route.permission.is_of_node() {
                assert_eq!((status, none_status), (404, 404), "{} {}: {said}", route.method, route.path);
                assert_eq!(
                    unnamed(&said.replace(target, nothing)),
                    unnamed(&none_said),
                    "{} {}",
                    route.method,
                    route.path
                );
                assert!(said.contains("unknown_group"), "{} {}: {said}", route.method, route.path);
            } else if route.path.contains("{offer}") || route.path.contains("{agent}") {
                assert_eq!(status, none_status, "{} {}: {said}", route.method, route.path);
                assert!(status == 404 || status == 403, "{} {}: {said}", route.method, route.path);
            }
        }
    }
    // Without a name: only its own.
    let scout = node.acting("scout");
    let names: Vec<_> = scout.groups().await.unwrap().groups.into_iter().filter_map(|group| group.name).collect();
    assert_eq!(names, ["shared"]);
    assert_eq!(scout.offers(&ListOffers::default()).await.unwrap().offers, []);
    let status = scout.status().await.unwrap();
    assert_eq!((status.groups, status.agents, status.listen.len()), (1, 1, 0));
    // The node, and who is a member, see it all.
    assert_eq!(node.client.groups().await.unwrap().groups.len(), 2);
    assert_eq!(node.acting("keeper").claim(&secret, &claim).await.unwrap().text, "the launch code is 4711");
    assert_eq!(node.acting("keeper").offers(&ListOffers::default()).await.unwrap().offers.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_removed_hears_that_and_nothing_more() {
    let node = start(1);
    let (left, stays) = (node.create("left").await, node.create("stays").await);
    let scout = agent(&node, "scout", Some(&left)).await;
    let client = node.acting("scout");
    let mut events = client.events(&ListEvents { after: None, follow: true }).await.unwrap();
    let mut watched = client.follow_claims(&left, &WatchClaims::default()).await.unwrap();
    let first = node.publish(&left, "while it was there").await;
    assert_eq!(within(watched.next()).await.unwrap().unwrap().claim.claim_hash, first);
    let long = WatchClaims { wait_ms: Some(60_000), since_ms: Some(u64::MAX >> 12), ..WatchClaims::default() };
    let waiting = tokio::spawn({
        let (client, left) = (client.clone(), left.clone());
        async move { client.watch_claims(&left, &long).await }
    });

    node.client.remove_member(&left, scout).await.unwrap();
    node.publish(&left, "behind its back").await;
    node.client.add_member(&stays, &AddMember { member: scout, role: Role::Viewer }).await.unwrap();
    let ours = node.publish(&stays, "for all").await;
    assert!(matches!(within(watched.next()).await, Ok(None) | Err(_)), "the stream ends");
    assert_eq!(code(within(waiting).await.unwrap()), ProblemCode::UnknownGroup);
    let mut heard = Vec::new();
    loop {
        let kind = within(events.next()).await.unwrap().unwrap().kind;
        let is_last = matches!(&kind, EventKind::ClaimPublished { claim_hash, .. } if *claim_hash == ours);
        heard.push(kind);
        if is_last {
            break;
        }
    }
    let of_left: Vec<_> = heard.iter().filter(|kind| kind.group_id() == Some(&left)).collect();
    let removed = of_left.iter().position(|kind| matches!(kind, EventKind::MemberChanged { role: None, .. }));
    assert_eq!(removed, Some(of_left.len() - 1), "{heard:?}");
    assert_eq!(code(client.claim(&left, &first).await), ProblemCode::UnknownGroup);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_leaves_an_agents_account_counts_against_its_limit_together() {
    let node = start(1);
    let group = node.create("bank").await;
    let scout = agent(&node, "scout", Some(&group)).await;
    let friend = agent(&node, "friend", Some(&group)).await;
    let client = node.acting("scout");
    node.client.mint(&group, &Payment { to: scout, amount: 1_000 }).await.unwrap();
    node.client.set_agent_limit("scout", &SetSpendingLimit { per_day: Some(20) }).await.unwrap();
    // Twenty at once, of three each: six fit.
    let mut tries = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (client, group) = (client.clone(), group.clone());
        tries.spawn(async move { client.transfer(&group, &Payment { to: friend, amount: 3 }).await });
    }
    let results = tries.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 6);
    for refused in results.into_iter().filter(Result::is_err) {
        let words = refused.as_ref().unwrap_err().to_string();
        assert!(words.contains("20 tokens") && words.contains("lbm ctl agent limit"), "{words}");
        assert_eq!(code(refused), ProblemCode::SpendingLimit);
    }
    // A reward is set aside: 2 are left, and what comes back of it counts no more.
    let task = |id: &str, reward: u64| typed::<NewTask>(json!({"task_id": id, "title": "t", "reward": reward}));
    assert_eq!(code(client.create_task(&group, &task("bribe", 700)).await), ProblemCode::SpendingLimit);
    client.create_task(&group, &task("free", 0)).await.unwrap();
    client.create_task(&group, &task("small", 2)).await.unwrap();
    assert_eq!(code(client.transfer(&group, &Payment { to: friend, amount: 1 }).await), ProblemCode::SpendingLimit);
    client.cancel_task(&group, "small").await.unwrap();
    client.transfer(&group, &Payment { to: friend, amount: 2 }).await.unwrap();
    assert_eq!(client.spending_limit(&group).await.unwrap().spent, 20);
    // A purchase above it waits for a person; one that was approved goes through.
    let offer: NewOffer = typed(json!({"title": "o", "price": 9, "text": "o", "settle": "instant"}));
    let offer = node.acting("friend").create_offer(&group, &offer).await.unwrap().offer_id;
    let how = typed(json!({"wait_ms": 20_000}));
    let bought = client.buy_offer(&offer, &how).await.unwrap();
    assert_eq!((bought.opened, bought.purchase.status.word()), (false, "waiting_for_approval"));
    node.client.approve_purchase(&offer).await.unwrap();
    let bought = client.buy_offer(&offer, &how).await.unwrap();
    assert!(bought.opened, "{bought:?}");
    assert_eq!(client.spending_limit(&group).await.unwrap().spent, 29);
    node.client.set_agent_limit("scout", &SetSpendingLimit { per_day: None }).await.unwrap();
    client.transfer(&group, &Payment { to: friend, amount: 500 }).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_peers_an_agent_sees_those_of_its_groups_and_what_they_share_there() {
    let (alice, bob) = (start(1), start(2));
    let (shared, secret) = (alice.create("shared").await, alice.create("vault").await);
    agent(&alice, "scout", Some(&shared)).await;
    agent(&alice, "keeper", Some(&secret)).await;
    let scout = alice.acting("scout");
    let add = AddMember { member: bob.me, role: Role::Member };
    alice.client.add_member(&secret, &add).await.unwrap();
    let addr = alice.address().await;
    bob.client.add_peer(&typed(json!({"addr": addr}))).await.unwrap();
    let joined = join(&bob, &secret, PATIENCE).await;
    assert!(matches!(joined, JoinEvent::Joined { .. }), "{joined:?}");
    let keeper = alice.acting("keeper");
    let of_keeper = keeper.peers().await.unwrap().peers;
    assert_eq!((of_keeper.len(), of_keeper[0].groups.as_slice()), (1, std::slice::from_ref(&secret)));
    assert_eq!(scout.peers().await.unwrap().peers, [], "a member of nothing of its");
    assert_eq!((scout.status().await.unwrap().peers, keeper.status().await.unwrap().peers), (0, 1));

    alice.client.add_member(&shared, &add).await.unwrap();
    let joined = join(&bob, &shared, PATIENCE).await;
    assert!(matches!(joined, JoinEvent::Joined { .. }), "{joined:?}");
    let of_scout = scout.peers().await.unwrap().peers;
    assert_eq!((of_scout.len(), of_scout[0].groups.as_slice()), (1, std::slice::from_ref(&shared)));
    let mut of_node = alice.client.peers().await.unwrap().peers.remove(0).groups;
    of_node.sort();
    let mut both = vec![shared, secret];
    both.sort();
    assert_eq!(of_node, both);
    bob.stop().await;
    alice.stop().await;
}

/// Whoever sends a token means to be the agent, and would be the node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_on_the_local_socket_is_refused_and_not_ignored() {
    let node = start(1);
    let group = node.create("own").await;
    agent(&node, "scout", Some(&group)).await;
    let token = node.client.agent_token("scout").await.unwrap().token;
    for value in [format!("Bearer {token}"), "Bearer nobody".to_owned(), "Basic eA==".to_owned()] {
        for (route, parameters) in
            [(&routes::STATUS, &[][..]), (&routes::GROUP_LEAVE, &[group.as_str()]), (&routes::SETTINGS, &[])]
        {
            let request = format!(
                "{} {} HTTP/1.1\r\nhost: lbm\r\nconnection: close\r\nauthorization: {value}\r\ncontent-length: 0\r\n\r\n",
                route.method,
                route.fill(parameters)
            );
            let (status, _, body) = node.raw(request.into_bytes()).await;
            assert_eq!(status, 403, "{body}");
            assert!(body.contains("no token is read here") && body.contains(AGENT_HEADER), "{body}");
        }
    }
    assert!(node.client.group(&group).await.is_ok(), "nothing was done");
    node.stop().await;
}
