//! Bad input: each one a problem with its code and what to do, and nothing half done.

use super::*;
use crate::api::types::{AddMember, AddPeer, ListClaims, PublishBulk, Role, SetRole, SubmitExperience, SyncNow};
use crate::limits;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_and_claims_that_are_not_there_or_not_clear() {
    let node = start(1);
    let client = &node.client;
    let (first, _second) = (node.create("twin").await, node.create("twin").await);
    assert_eq!(code(client.group("nothing").await), ProblemCode::UnknownGroup);
    assert_eq!(code(client.publish_claim(&"0".repeat(64), &claim("x")).await), ProblemCode::UnknownGroup);
    assert_eq!(code(client.group(&first[..3]).await), ProblemCode::UnknownGroup);
    let ambiguous = client.publish_claim("twin", &claim("x")).await.unwrap_err();
    let problem = ambiguous.problem().unwrap();
    assert_eq!(problem.code, ProblemCode::AmbiguousName);
    assert!(problem.detail.contains(&first), "{problem}");

    let group = first.as_str();
    assert_eq!(code(client.claim(group, &"0".repeat(64)).await), ProblemCode::NoSuchClaim);
    assert_eq!(code(client.claim(group, "00000").await), ProblemCode::NoSuchClaim);
    assert_eq!(code(client.claim(group, "no hash").await), ProblemCode::BadField);
    assert_eq!(code(client.retract_claim(group, &"0".repeat(64)).await), ProblemCode::NoSuchClaim);
    for parent in ["0".repeat(64), "0".repeat(8)] {
        let orphan = NewClaim { parent_hash: Some(parent), ..claim("x") };
        assert_eq!(code(client.publish_claim(group, &orphan).await), ProblemCode::NoSuchClaim);
        let bulk = PublishBulk { claims: vec![claim("fine"), orphan] };
        assert_eq!(code(client.publish_bulk(group, &bulk).await), ProblemCode::NoSuchClaim);
    }
    let hash = node.publish(group, "once").await;
    client.retract_claim(group, &hash).await.unwrap();
    assert_eq!(code(client.retract_claim(group, &hash).await), ProblemCode::AlreadyRetracted);
    let many: Vec<_> = (0..40).map(|n| claim(&format!("{n}"))).collect();
    client.publish_bulk(group, &PublishBulk { claims: many }).await.unwrap();
    let hashes: Vec<_> = client.claims(group, &ListClaims::default()).await.unwrap().claims;
    let mut starts: Vec<_> = hashes.iter().map(|claim| claim.claim_hash[..1].to_owned()).collect();
    starts.sort();
    let twice = starts.windows(2).find(|pair| pair[0] == pair[1]).unwrap()[0].clone();
    assert_eq!(code(client.claim(group, &twice).await), ProblemCode::AmbiguousClaim);

    for cursor in ["x".to_owned(), "0".repeat(40), String::new()] {
        let request = ListClaims { limit: None, cursor: Some(cursor) };
        assert_eq!(code(client.claims(group, &request).await), ProblemCode::BadCursor);
    }
    assert_eq!(code(client.claims(group, &ListClaims { limit: Some(0), cursor: None }).await), ProblemCode::BadField);
    assert_eq!(client.group_stats(group).await.unwrap().claims, 41);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_over_their_limits() {
    let node = start(1);
    let client = &node.client;
    let group = node.create("g").await;
    let tags = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    let title = |title: &str| NewClaim { title: Some(title.into()), ..claim("x") };
    for (bad, expected) in [
        (claim(&"x".repeat(limits::CLAIM_TEXT_BYTES + 1)), ProblemCode::TooLarge),
        (NewClaim { tags: tags(limits::TAGS + 1), ..claim("x") }, ProblemCode::TooLarge),
        (NewClaim { tags: vec!["a,b".into()], ..claim("x") }, ProblemCode::BadField),
        (claim("a\0b"), ProblemCode::BadField),
        (claim("\u{1b}[2J"), ProblemCode::BadField),
        (claim("  "), ProblemCode::BadField),
        (title("two\nlines"), ProblemCode::BadField),
        (title(&"x".repeat(limits::TITLE_BYTES + 1)), ProblemCode::TooLarge),
    ] {
        let shown: String = format!("{bad:?}").chars().take(60).collect();
        assert_eq!(code(client.publish_claim(&group, &bad).await), expected, "{shown}");
        let bulk = PublishBulk { claims: vec![claim("fine"), bad] };
        let refused = client.publish_bulk(&group, &bulk).await.unwrap_err();
        let problem = refused.problem().unwrap();
        assert_eq!(problem.code, expected, "{shown}");
        assert!(problem.detail.starts_with("claim 1 "), "{problem}");
    }
    let most = NewClaim { tags: tags(limits::TAGS), ..claim(&"x".repeat(limits::CLAIM_TEXT_BYTES)) };
    client.publish_claim(&group, &most).await.unwrap();
    assert_eq!(client.group_stats(&group).await.unwrap().claims, 1);

    let create = |name: &str| CreateGroup { name: name.into(), currency: None };
    assert_eq!(code(client.create_group(&create("a/b")).await), ProblemCode::BadField);
    let long = "x".repeat(limits::GROUP_NAME_BYTES + 1);
    assert_eq!(code(client.create_group(&create(&long)).await), ProblemCode::TooLarge);
    let record = SubmitExperience { content: "x".repeat(limits::EXPERIENCE_BYTES + 1) };
    assert_eq!(code(client.submit_experience(&group, &record).await), ProblemCode::TooLarge);
    let join = JoinGroup { group: "g".into(), note: None, wait_ms: None };
    assert_eq!(code(client.join_group(&join).await), ProblemCode::BadField);
    for (addr, expected) in [
        ("nonsense", ProblemCode::BadAddress),
        ("/ip4/10.0.0.1/tcp/9", ProblemCode::BadAddress),
        ("/dns4/example.org/tcp/9/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp", ProblemCode::BadAddress),
        ("", ProblemCode::BadField),
    ] {
        let request = AddPeer { addr: addr.into(), alias: None };
        assert_eq!(code(client.add_peer(&request).await), expected, "{addr}");
    }
    assert_eq!(code(client.remove_peer("nobody").await), ProblemCode::NoSuchPeer);
    assert_eq!(code(client.remove_peer(&node.me.to_string()).await), ProblemCode::NoSuchPeer);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_none() {
    let node = start(1);
    let group = node.create("g").await;
    let claims = format!("/api/v1/groups/{group}/claims");
    let member = format!("/api/v1/groups/{group}/members/nobody");
    let large = [b"{\"text\":\"".as_slice(), &vec![b'x'; limits::API_BODY_BYTES]].concat();
    let cases: &[(&str, &str, &[u8], ProblemCode)] = &[
        ("POST", &claims, b"{\"text\":\"\xff\"}", ProblemCode::BadRequest),
        ("POST", &claims, b"{\"text\":\"x\",\"tag\":[]}", ProblemCode::BadRequest),
        ("POST", &claims, b"{\"text\":7}", ProblemCode::BadRequest),
        ("POST", &claims, b"{", ProblemCode::BadRequest),
        ("POST", &claims, b"", ProblemCode::BadRequest),
        ("POST", &claims, &large, ProblemCode::TooLarge),
        ("GET", &format!("{claims}?limit=x"), b"", ProblemCode::BadRequest),
        ("GET", &format!("{claims}?limits=1"), b"", ProblemCode::BadRequest),
        ("GET", &format!("{claims}/%FF"), b"", ProblemCode::BadRequest),
        ("GET", "/api/v1/nothing", b"", ProblemCode::UnknownRoute),
        ("GET", "/", b"", ProblemCode::UnknownRoute),
        ("GET", "/api/v1/groups/%00", b"", ProblemCode::UnknownGroup),
        ("DELETE", "/api/v1/status", b"", ProblemCode::MethodNotAllowed),
        ("PATCH", &claims, b"", ProblemCode::MethodNotAllowed),
        ("DELETE", &member, b"", ProblemCode::BadField),
        ("PUT", &member, b"{\"role\":\"king\"}", ProblemCode::BadRequest),
    ];
    for (method, path, body, expected) in cases {
        let (status, head, answer) = node.request(method, path, body).await;
        let problem: Problem = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{method} {path}: {answer}"));
        assert_eq!((status, problem.code), (expected.status(), *expected), "{method} {path}: {answer}");
        assert!(head.contains(crate::api::PROBLEM_MEDIA_TYPE) && !problem.remedy.is_empty(), "{head} {answer}");
    }
    let untyped = format!("POST {claims} HTTP/1.1\r\nhost: lbm\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
    assert_eq!(node.raw(untyped.into_bytes()).await.0, 400);
    assert_eq!(node.client.group_stats(&group).await.unwrap().claims, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn who_may_not_write_is_told_so() {
    let (admin, viewer) = (start(1), start(2));
    let group = admin.create("g").await;
    let add = |role| AddMember { member: viewer.me, role };
    admin.client.add_member(&group, &add(Role::Viewer)).await.unwrap();
    assert_eq!(code(admin.client.add_member(&group, &add(Role::Viewer)).await), ProblemCode::AlreadyAMember);
    let stranger = SecretKey::from_seed(&[9; 32]).identity();
    assert_eq!(code(admin.client.remove_member(&group, stranger).await), ProblemCode::NoSuchMember);
    assert_eq!(code(admin.client.remove_member(&group, admin.me).await), ProblemCode::LastAdmin);
    let less = SetRole { role: Role::Member };
    assert_eq!(code(admin.client.set_role(&group, admin.me, &less).await), ProblemCode::LastAdmin);
    let foreign = admin.publish(&group, "the admin's").await;

    let addr = admin.address().await;
    viewer.client.add_peer(&AddPeer { addr, alias: None }).await.unwrap();
    let joined = join(&viewer, &group, PATIENCE).await;
    assert!(matches!(joined, JoinEvent::Joined { role: Some(Role::Viewer), .. }), "{joined:?}");
    let client = &viewer.client;
    assert_eq!(code(client.publish_claim(&group, &claim("x")).await), ProblemCode::ViewerCannotWrite);
    assert_eq!(code(client.retract_claim(&group, &foreign).await), ProblemCode::NotTheAuthor);
    assert_eq!(code(client.remove_member(&group, admin.me).await), ProblemCode::NotAnAdmin);

    admin.client.set_role(&group, viewer.me, &less).await.unwrap();
    let promoted = async {
        while client.publish_claim(&group, &claim("mine")).await.is_err() {
            client.sync(&SyncNow { group: Some(group.clone()), peer: None }).await.unwrap();
        }
    };
    within(promoted).await;
    assert_eq!(code(client.retract_claim(&group, &foreign).await), ProblemCode::NotTheAuthor);
    assert_eq!(code(client.add_member(&group, &add(Role::Viewer)).await), ProblemCode::NotAnAdmin);

    client.remove_member(&group, viewer.me).await.unwrap();
    assert_eq!(code(client.publish_claim(&group, &claim("x")).await), ProblemCode::NotAMember);
    admin.stop().await;
    viewer.stop().await;
}
