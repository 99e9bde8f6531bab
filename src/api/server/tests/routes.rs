//! Each route does what it says.

use std::sync::Arc;

use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::api::routes;
use crate::api::server::{Api, router};
use crate::api::types::{
    AddMember, AddPeer, ContextQuery, EventKind, ListClaims, ListEvents, ListRejected, PublishBulk, RecentClaims, Role,
    SetNotary, SetPeer, SetRole, ShowBlock, ShowThread, SubmitExperience, SyncNow,
};
use crate::api::{VERSION, VERSION_HEADER};

fn context_query(query: &str) -> ContextQuery {
    ContextQuery {
        query: query.into(),
        top_k: None,
        budget_tokens: None,
        since_ms: None,
        until_ms: None,
        tags: vec![],
        author: None,
        thread: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_the_table_is_there_and_names_the_version() {
    let node = start(1);
    for route in routes::ALL {
        let path = route.fill(&["nothing", "nothing"][..route.parameters()]);
        let (status, head, body) = node.request(route.method.as_str(), &path, b"[]").await;
        let version = format!("{VERSION_HEADER}: {VERSION}");
        assert!(head.contains(&version), "{path}: {head}");
        assert!(
            status != 405 && !body.contains("\"code\":\"unknown_route\""),
            "{} {path}: {status} {body}",
            route.method
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_past_the_check_of_permissions() {
    let node = start(1);
    let sessions = Sessions::open(node.data.path().join("sessions"), 0);
    let api = Api::new(node.daemon.node.clone(), sessions, node.stop.subscribe());
    let router = TowerToHyperService::new(router::router(Arc::new(api)));
    for route in routes::ALL {
        let path = route.fill(&["x", "x"][..route.parameters()]);
        let request = axum::http::Request::builder().method(route.method.clone()).uri(path);
        let answer = router.call(request.body(axum::body::Body::from("{}")).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 403, "{}", route.path);
        // In an agent's name, what is the node's business is refused before anybody looks whether there is such an agent.
        let path = route.fill(&["x", "x"][..route.parameters()]);
        let mut request = axum::http::Request::builder().method(route.method.clone()).uri(path);
        request = request.header(crate::api::AGENT_HEADER, "nobody").extension(router::Caller::Local);
        let answer = router.call(request.body(axum::body::Body::from("{}")).unwrap()).await.unwrap();
        let refused = if route.permission.is_of_node() { 403 } else { 404 };
        assert_eq!(answer.status(), refused, "{}", route.path);
    }
    drop(router);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_and_its_members() {
    let node = start(1);
    let client = &node.client;
    let status = client.status().await.unwrap();
    assert_eq!((status.node_id, status.groups, status.peers), (node.me.to_string(), 0, 0));
    node.address().await;
    let health = client.health().await.unwrap();
    assert!(health.ok, "{health:?}");

    let id = node.create("domain:research").await;
    let listed = client.groups().await.unwrap().groups;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].group_id, listed[0].name.as_deref()), (&id, Some("domain:research")));
    assert_eq!((listed[0].role, listed[0].joining, listed[0].members), (Some(Role::Admin), false, 1));

    let other = SecretKey::from_seed(&[9; 32]).identity();
    let added = client.add_member(&id, &AddMember { member: other, role: Role::Viewer }).await.unwrap();
    assert_eq!((added.member_id, added.role), (other.to_string(), Some(Role::Viewer)));
    for _ in 0..2 {
        let changed = client.set_role(&id[..8], other, &SetRole { role: Role::Member }).await.unwrap();
        assert_eq!(changed.role, Some(Role::Member));
    }
    let members = client.members("domain:research").await.unwrap().members;
    let seen: Vec<_> = members.iter().map(|m| (m.member_id.clone(), m.role, m.is_self, m.connected)).collect();
    let expected = [(node.me.to_string(), Role::Admin, true, true), (other.to_string(), Role::Member, false, false)];
    assert_eq!(seen, expected);
    let removed = client.remove_member(&id, other).await.unwrap();
    assert_eq!(removed.role, None);
    // A removal is sealed at once.
    let wait = ShowBlock { wait_final_ms: Some(10_000) };
    let block = client.block(&id, &removed.block_id.unwrap(), &wait).await.unwrap();
    assert_eq!((block.is_final, block.applied, block.reason, &block.author), (true, true, None, &node.me.to_string()));
    assert_eq!((block.sealer, block.epoch.is_some()), (node.me.to_string(), true));
    let nowhere = client.block(&id, &"0".repeat(64), &wait).await;
    assert_eq!(code(nowhere), ProblemCode::UnknownBlock);
    let frozen = client.unfreeze(&id, node.me).await;
    assert_eq!(code(frozen), ProblemCode::Refused);
    assert_eq!(code(client.set_notary(&id, &SetNotary { member: node.me }).await), ProblemCode::Refused);

    let shown = client.group(&id.to_uppercase()).await.unwrap();
    assert_eq!((shown.group.members, shown.group.blocks, shown.currency.as_str()), (1, 4 + shown.epoch, "KAT"));
    assert_eq!((shown.final_blocks, shown.rejected_blocks, shown.heads.len()), (4 + shown.epoch, 0, 1));
    assert_eq!((&shown.notary, &shown.sealer, shown.frozen.len()), (&node.me.to_string(), &node.me.to_string(), 0));
    let verified = client.verify_group(&id).await.unwrap();
    assert!(verified.ok, "{verified:?}");
    assert_eq!((verified.blocks, verified.state_hash.len()), (4 + shown.epoch, 64));

    let here = join(&node, &id, Duration::ZERO).await;
    assert!(
        matches!(&here, JoinEvent::Joined { name, blocks, .. } if name == "domain:research" && *blocks == 4 + shown.epoch),
        "{here:?}"
    );
    let rejected = client.rejected(&ListRejected::default()).await.unwrap();
    assert_eq!((rejected.rejected.len(), rejected.next_cursor), (0, None));
    let synced = client.sync(&SyncNow::default()).await.unwrap();
    assert_eq!((synced.groups.len(), synced.groups[0].peers_asked), (1, 0));

    assert_eq!(client.leave_group("domain:research").await.unwrap().name.as_deref(), Some("domain:research"));
    assert_eq!(client.groups().await.unwrap().groups, []);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_published_found_and_taken_back() {
    let node = start(1);
    let client = &node.client;
    let group = node.create("g").await;
    let tagged = NewClaim {
        text: "Always validate inputs".into(),
        title: Some("Inputs".into()),
        tags: vec!["validation".into(), " security ".into()],
        ..NewClaim::default()
    };
    let first = client.publish_claim("g", &tagged).await.unwrap().claim_hash;
    let answer = NewClaim { parent_hash: Some(first[..9].into()), ..claim("Outputs as well") };
    let second = client.publish_claim(&group, &answer).await.unwrap().claim_hash;
    let bulk = PublishBulk {
        claims: (0..150)
            .map(|n| NewClaim { parent_hash: Some(first.clone()), ..claim(&format!("note {n}")) })
            .collect(),
    };
    let published = client.publish_bulk(&group, &bulk).await.unwrap();
    assert_eq!((published.published, published.claim_hashes.len(), published.blocks), (150, 150, 2));

    let shown = client.claim(&group, &first[..10]).await.unwrap();
    assert_eq!((shown.text.as_str(), shown.title.as_deref()), ("Always validate inputs", Some("Inputs")));
    assert_eq!((shown.tags, shown.author), (vec!["security".to_owned(), "validation".into()], node.me.to_string()));

    let (mut listed, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.claims(&group, &ListClaims { limit: Some(40), cursor }).await.unwrap();
        assert!(page.claims.len() <= 40);
        listed.extend(page.claims.into_iter().map(|claim| claim.claim_hash));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let newest_first: Vec<_> =
        [vec![first.clone(), second.clone()], published.claim_hashes.clone()].concat().into_iter().rev().collect();
    assert_eq!(listed, newest_first);

    let thread = client.thread(&group, &second, &ShowThread::default()).await.unwrap();
    assert_eq!((&thread.root_hash, thread.claims.len(), thread.left_out), (&first, 152, 0));
    assert_eq!((thread.claims[0].depth, thread.claims[1].depth), (0, 1));
    assert_eq!(thread.claims[1].claim.claim_hash, second);

    let context = client.context(&group, &context_query("input validation")).await.unwrap();
    assert_eq!(context.claim_hashes, std::slice::from_ref(&first));
    assert!(
        context.context.contains("Always validate inputs") && context.items[0].why.contains("valid"),
        "{context:?}"
    );
    let nothing = client.context(&group, &context_query("zebra")).await.unwrap();
    assert!(nothing.items.is_empty() && nothing.context.contains("No claim"), "{nothing:?}");

    let retracted = client.retract_claim(&group, &first[..12]).await.unwrap();
    assert_eq!((retracted.claim_hash, retracted.retracted), (first.clone(), true));
    assert!(client.claim(&group, &first).await.unwrap().retracted);
    let recent =
        client.recent_claims(&group, &RecentClaims { limit: Some(1_000), ..RecentClaims::default() }).await.unwrap();
    assert_eq!(recent.claims.len(), 151);
    assert!(recent.claims.is_sorted_by_key(|claim| std::cmp::Reverse(claim.created_ms)));
    let later = RecentClaims { since_ms: Some(u64::MAX), ..RecentClaims::default() };
    assert_eq!(client.recent_claims(&group, &later).await.unwrap().claims, []);
    assert_eq!(client.context(&group, &context_query("input validation")).await.unwrap().items, []);

    let record = SubmitExperience { content: "{\"steps\": 3}".into() };
    assert_eq!(client.submit_experience(&group, &record).await.unwrap().experience_hash.len(), 64);
    let stats = client.group_stats(&group).await.unwrap();
    assert_eq!((stats.claims, stats.retracted_claims, stats.experiences, stats.blocks), (152, 1, 1, 7));
    assert!(client.verify_group(&group).await.unwrap().ok);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_are_added_listed_and_removed() {
    let (node, other) = (start(1), start(2));
    let (addr, other_id) = (other.address().await, other.me);
    let added = node.client.add_peer(&AddPeer { addr, alias: Some("bob".into()) }).await.unwrap();
    assert_eq!((added.peer_id, added.alias.as_deref()), (other.me.to_string(), Some("bob")));
    let peers = node.client.peers().await.unwrap().peers;
    assert_eq!((peers.len(), peers[0].source.as_str(), peers[0].alias.as_deref()), (1, "added", Some("bob")));
    let set = node.client.set_peer("bob", &SetPeer { alias: Some("robert".into()) }).await.unwrap();
    assert_eq!((set.peer_id, set.alias.as_deref()), (other.me.to_string(), Some("robert")));
    assert_eq!(code(node.client.set_peer("bob", &SetPeer { alias: None }).await), ProblemCode::NoSuchPeer);
    node.client.set_peer("robert", &SetPeer { alias: None }).await.unwrap();
    assert_eq!(node.client.peers().await.unwrap().peers[0].alias, None);
    let by_id = node.client.set_peer(&other.me.to_string(), &SetPeer { alias: Some("bob".into()) }).await.unwrap();
    assert_eq!(by_id.alias.as_deref(), Some("bob"));
    // Where it does not answer, the list says why.
    other.stop().await;
    let away = async {
        loop {
            let peer = node.client.peers().await.unwrap().peers.remove(0);
            if let Some(trouble) = peer.trouble {
                return (peer.connected, trouble);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (is_connected, trouble) = within(away).await;
    assert!(!is_connected && trouble.contains(": "), "{trouble}");
    assert_eq!(node.client.remove_peer("bob").await.unwrap().peer_id, other_id.to_string());
    let peers = node.client.peers().await.unwrap().peers;
    assert!(peers.iter().all(|peer| peer.alias.is_none()), "{peers:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_held_followed_and_missed() {
    let node = start(1);
    let mut followed = node.client.events(&ListEvents { after: None, follow: true }).await.unwrap();
    let group = node.create("g").await;
    let hash = node.publish(&group, "x").await;
    let joined = within(followed.next()).await.unwrap().unwrap();
    assert!(matches!(&joined.kind, EventKind::GroupJoined { name, .. } if name == "g"), "{joined:?}");
    let published = within(followed.next()).await.unwrap().unwrap();
    assert!(
        matches!(&published.kind, EventKind::ClaimPublished { claim_hash, .. } if *claim_hash == hash),
        "{published:?}"
    );
    let mut held = node.client.events(&ListEvents { after: Some(0), follow: false }).await.unwrap();
    assert_eq!(within(held.next()).await.unwrap(), Some(joined));
    assert_eq!(within(held.next()).await.unwrap(), Some(published.clone()));
    assert_eq!(within(held.next()).await.unwrap(), None);

    let backlog = crate::limits::EVENT_BACKLOG as u64;
    for _ in 0..backlog + 10 {
        node.daemon.node.events.tell(EventKind::PeerConnected { peer_id: "p".into() });
    }
    let mut late = node.client.events(&ListEvents { after: Some(published.seq), follow: false }).await.unwrap();
    let missed = within(late.next()).await.unwrap().unwrap();
    assert_eq!((missed.kind, missed.seq), (EventKind::Missed { count: 10 }, published.seq + 10));
    assert_eq!(within(late.next()).await.unwrap().unwrap().seq, published.seq + 11);
    node.stop().await;
}
