//! Two daemons: the story that it is all for.

use super::*;
use crate::api::types::{AddMember, AddPeer, ContextQuery, PeerDirection, PublishBulk, Role, SyncNow};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_node_joins_and_both_hold_the_same() {
    let (alice, bob) = (start(1), start(2));
    let group = alice.create("domain:research").await;
    let first = alice.publish(&group, "Always validate inputs").await;

    let alone = join(&bob, &group, Duration::from_millis(50)).await;
    let JoinEvent::Waiting { problem, .. } = alone else { panic!("{alone:?}") };
    assert_eq!(problem.code, ProblemCode::NoMemberReachable);
    assert!(problem.remedy.contains("peer add"), "{problem}");
    assert!(bob.client.groups().await.unwrap().groups[0].joining);
    assert_eq!(code(bob.client.group(&group).await), ProblemCode::StillJoining);
    assert_eq!(code(bob.client.publish_claim(&group, &claim("x")).await), ProblemCode::StillJoining);
    assert_eq!(code(bob.client.sync(&SyncNow { group: Some(group.clone()) }).await), ProblemCode::NoMemberReachable);

    let addr = alice.address().await;
    bob.client.add_peer(&AddPeer { addr, alias: None }).await.unwrap();
    let connected = async { while bob.client.status().await.unwrap().peers == 0 {} };
    within(connected).await;
    let refused = async {
        loop {
            let event = join(&bob, &group, Duration::from_millis(200)).await;
            let JoinEvent::Waiting { problem, .. } = event else { panic!("{event:?}") };
            if problem.detail.contains("do not share") {
                return problem;
            }
        }
    };
    let problem = within(refused).await;
    assert_eq!(problem.code, ProblemCode::StillJoining);
    assert!(problem.remedy.contains(&bob.me.to_string()) && problem.remedy.contains("add-member"), "{problem}");

    let following = bob.client.join_group(&JoinGroup { group: group.clone(), wait_ms: Some(30_000) }).await.unwrap();
    alice.client.add_member(&group, &AddMember { member: bob.me, role: Role::Member }).await.unwrap();
    let joined = last(following).await;
    assert!(matches!(&joined, JoinEvent::Joined { blocks: 3, claims: 1, role: Some(Role::Member), .. }), "{joined:?}");

    let peer = bob.client.peers().await.unwrap().peers.remove(0);
    let connection = peer.connection.unwrap();
    assert_eq!((connection.direction, connection.transport.as_str()), (PeerDirection::Outbound, "tcp"));
    assert_eq!((peer.groups, peer.trouble, peer.next_call_ms), (vec![group.clone()], None, None));
    let peer = alice.client.peers().await.unwrap().peers.remove(0);
    assert_eq!(peer.connection.unwrap().direction, PeerDirection::Inbound);
    assert_eq!(peer.groups, [group.as_str()]);

    assert_eq!(bob.client.claim(&group, &first).await.unwrap().author, alice.me.to_string());
    let query = ContextQuery {
        query: "input validation".into(),
        top_k: Some(8),
        budget_tokens: None,
        since_ms: None,
        until_ms: None,
        tags: vec![],
        author: None,
        thread: None,
    };
    let context = bob.client.context("domain:research", &query).await.unwrap();
    assert_eq!(context.claim_hashes, [first]);
    assert!(bob.client.members(&group).await.unwrap().members.iter().all(|member| member.connected));

    let bulk = PublishBulk { claims: (0..250).map(|n| claim(&format!("from bob {n}"))).collect() };
    bob.client.publish_bulk(&group, &bulk).await.unwrap();
    let last_hash = alice.publish(&group, "from alice").await;
    let met = async {
        while bob.client.claim(&group, &last_hash).await.is_err()
            || alice.client.group_stats(&group).await.unwrap().claims < 252
        {}
    };
    within(met).await;
    let synced = alice.client.sync(&SyncNow { group: None }).await.unwrap();
    assert_eq!((synced.groups[0].peers_asked, synced.groups[0].peers_answered), (1, 1), "{synced:?}");
    let (a, b) = (alice.client.verify_group(&group).await.unwrap(), bob.client.verify_group(&group).await.unwrap());
    assert!(a.ok && b.ok, "{a:?} {b:?}");
    assert_eq!((&a.state_hash, a.blocks), (&b.state_hash, b.blocks));
    alice.stop().await;
    bob.stop().await;
}
