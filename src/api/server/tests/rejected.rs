//! Blocks that the ledger refuses are listed, page by page, with the reason.

use super::*;
use crate::api::types::{AddMember, ListRejected, Role};
use crate::chain::transaction::Experience;
use crate::chain::{BlockId, Body, Context, Draft, GroupId, ObjectHash, Payload, Transaction, Verified};
use crate::node::engine::Task;
use crate::node::io::Ticket;
use crate::runtime::clock::unix_ms;
use crate::runtime::commit::Rest;

/// A member's first block, beside the one that adds it: signed and linked as it should be, but before its membership in the order.
fn too_early(key: &SecretKey, group: GroupId) -> Verified {
    let now_ms = unix_ms();
    let transaction = Transaction::Experience(Experience { object: ObjectHash::of(b"x"), size: 1 });
    let body = Body {
        group: Some(group),
        author: key.identity(),
        seq: 0,
        prev: None,
        parents: vec![BlockId::from_bytes(*group.as_bytes())],
        height: 1,
        time_ms: now_ms,
        payload: Payload::Plain(vec![transaction]),
    };
    let block = Draft::new(body).unwrap().sign(key).to_unverified();
    block.verify(&Context { group, now_ms, max_drift_ms: 0 }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_blocks_are_listed_page_by_page() {
    let node = start(1);
    let mut expected = Vec::new();
    for (name, members) in [("one", 2), ("two", 3)] {
        let id: GroupId = node.create(name).await.parse().unwrap();
        node.publish(&id.to_string(), "so that members are added later").await;
        let keys: Vec<_> = (0..members).map(|n| SecretKey::from_seed(&[50 + n; 32])).collect();
        let mut blocks = Vec::new();
        for key in &keys {
            let add = AddMember { member: key.identity(), role: Role::Member };
            node.client.add_member(name, &add).await.unwrap();
            blocks.push(too_early(key, id));
        }
        expected.extend(blocks.iter().map(|block| (id.to_string(), block.id().to_string())));
        let writer = node.daemon.node.writer.clone();
        let task = Task::Ingest { group: id, peer: node.me, blocks, objects: vec![] };
        tokio::task::spawn_blocking(move || writer.ingest_blocking(task, Ticket(u64::MAX), Rest::None)).await.unwrap();
        let stored = async {
            while node.client.group(name).await.unwrap().rejected_blocks < u64::from(members) {
                tokio::task::yield_now().await;
            }
        };
        within(stored).await;
        assert!(node.client.verify_group(name).await.unwrap().ok);
    }

    let mut listed = Vec::new();
    let mut cursor = None;
    loop {
        let page = ListRejected { group: None, limit: Some(2), cursor };
        let page = node.client.rejected(&page).await.unwrap();
        assert!(page.rejected.len() <= 2);
        for row in page.rejected {
            assert_eq!((row.code.as_str(), row.transaction), ("not_a_member", 0), "{row:?}");
            assert!(row.reason.contains(&row.author), "{row:?}");
            listed.push((row.group_id, row.block_id));
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), 5);
    let groups: Vec<_> = listed.iter().map(|(group, _)| group.clone()).collect();
    assert!(groups.is_sorted(), "{groups:?}");
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);

    let one = ListRejected { group: Some("one".into()), ..ListRejected::default() };
    let page = node.client.rejected(&one).await.unwrap();
    assert_eq!((page.rejected.len(), page.next_cursor), (2, None));
    let bad = ListRejected { cursor: Some("ff".into()), ..ListRejected::default() };
    assert_eq!(code(node.client.rejected(&bad).await), ProblemCode::BadCursor);
    node.stop().await;
}
