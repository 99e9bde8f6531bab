//! Who is no member, and who says that it acts for one.

use std::time::Duration;

use crate::author::Author;
use crate::peer::{DAY_MS, Peer, daemon, is_sent_away, now_ms, sent_away, within};
use crate::presence::says;
use lbm::cbor;
use lbm::chain::gone::Gone;
use lbm::chain::{BlockId, GroupId, ObjectAt, Tip};
use lbm::delegation::{self, Delegation};
use lbm::identity::{Identity, SecretKey};
use lbm::limits;
use lbm::wire::{
    Acting, Have, Presences, Probe, Pull, Push, Reached, Refused, Request, Response, WantBlocks, WantObjects,
};
use serde_bytes::ByteBuf;

/// Shows delegations to the daemon.
async fn show(peer: &mut Peer, group: GroupId, delegations: Vec<delegation::Unverified>) -> Response {
    peer.ask(&Request::Acting(Acting { group, delegations })).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_is_admitted_by_a_delegation_of_a_member_to_itself_alone_and_for_its_time() {
    let (alice, name, group) = daemon();
    let agent = SecretKey::from_seed(&[40; 32]);
    let mut host = Peer::of(41, &alice).await;
    let life = limits::DELEGATION_LIFE_MS;
    let given = |node: Identity, from_ms: u64, expires_ms: u64| {
        Delegation { group, agent: agent.identity(), node, from_ms, expires_ms }.sign(&agent)
    };
    let not_shared = || Response::Refused(Refused::NotShared);
    let pull = Request::Pull(Pull { group, frontier: vec![] });
    let good = given(host.id, now_ms(), now_ms() + life);
    // Nobody is a member for whom it could act.
    assert_eq!(show(&mut host, group, vec![good.clone()]).await, not_shared());
    assert_eq!(host.ask(&pull).await.unwrap(), not_shared());
    alice.add(&name, &agent.identity().to_string(), "member");
    // What it showed counts from the moment of the membership; another node shows it in vain, and is sent away for it.
    assert!(matches!(host.ask(&pull).await.unwrap(), Response::Batch(_)));
    let mut thief = Peer::of(42, &alice).await;
    assert_eq!(show(&mut thief, group, vec![good.clone()]).await, Response::Refused(Refused::Malformed));
    // The answer to the last may go down with the connection.
    drop(thief.ask(&Request::Acting(Acting { group, delegations: vec![good.clone()] })).await);
    sent_away(&alice, &thief.id).await;
    let mut forger = Peer::of(43, &alice).await;
    let body = cbor::encode(&Delegation {
        group,
        agent: agent.identity(),
        node: forger.id,
        from_ms: now_ms(),
        expires_ms: now_ms() + life,
    });
    let signature = forger.key.sign(delegation::SIGNATURE_DOMAIN, &body);
    let forged = delegation::Unverified::new(body, signature);
    let for_ever = given(forger.id, now_ms(), now_ms() + life + 1);
    assert_eq!(show(&mut forger, group, vec![forged]).await, Response::Refused(Refused::Malformed));
    drop(forger.ask(&Request::Acting(Acting { group, delegations: vec![for_ever] })).await);
    sent_away(&alice, &forger.id).await;
    // One whose time is over, or to come, counts lightly and for nothing.
    let mut late = Peer::of(44, &alice).await;
    let (past, future) = (now_ms() - DAY_MS, now_ms() + DAY_MS);
    for (from_ms, expires_ms) in [(past, past + life), (future, future + life)] {
        assert_eq!(
            {
                let shown = given(late.id, from_ms, expires_ms);
                show(&mut late, group, vec![shown]).await
            },
            not_shared()
        );
        assert_eq!(late.ask(&pull).await.unwrap(), not_shared());
    }
    assert!(!is_sent_away(&alice, &late.id));
    // One that ends in a moment ends by itself, on the open connection. The reader gives it as long as clocks may differ.
    let drift = limits::MAX_CLOCK_DRIFT_MS;
    let short = given(late.id, now_ms() - drift - 60_000, now_ms() - drift + 1_500);
    assert_eq!(show(&mut late, group, vec![short]).await, Response::Taken);
    assert!(matches!(late.ask(&pull).await.unwrap(), Response::Batch(_)));
    let ended = async {
        while late.ask(&pull).await.unwrap() != not_shared() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("it is over", ended).await;
    // A group that is not here is refused in the same words, and an empty list ends what was shown.
    let unknown = GroupId::from_bytes([9; 32]);
    assert_eq!(show(&mut host, unknown, vec![]).await, not_shared());
    assert!(matches!(host.ask(&pull).await.unwrap(), Response::Batch(_)));
    assert_eq!(show(&mut host, group, vec![]).await, not_shared());
    assert_eq!(host.ask(&pull).await.unwrap(), not_shared());
    // And so does the end of the membership.
    assert_eq!(show(&mut host, group, vec![good.clone()]).await, Response::Taken);
    alice.ctl(&["group", "remove-member", "--group", &name, "--member", &agent.identity().to_string()]).ok();
    assert_eq!(host.ask(&pull).await.unwrap(), Response::Refused(Refused::Gone(Gone::Removed)), "it knew the group");
    assert!(!is_sent_away(&alice, &host.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stranger_is_told_the_same_of_every_group_and_adds_nothing() {
    let (alice, name, group) = daemon();
    let mut eve = Peer::of(50, &alice).await;
    let before = alice.settled(&name);
    // She has even got the blocks, from a member who should not have given them.
    let mut member = Peer::of(51, &alice).await;
    alice.add(&name, &member.id.to_string(), "viewer");
    let blocks = member.pull(group).await;
    let after = alice.settled(&name);
    assert_ne!(before, after);
    let author = Author::new(&eve.key, group, &blocks);
    let own = author.sign(&author.body());
    let eve_key = eve.key.clone();
    let tip = Tip { seq: 0, id: BlockId::of(&blocks[0].body) };
    let author_of_all = alice.id.parse().unwrap();
    let requests = |group: GroupId| {
        [
            Request::Probe(Probe { group, digest: ByteBuf::from(vec![0; 32]) }),
            Request::Pull(Pull { group, frontier: vec![] }),
            Request::WantBlocks(WantBlocks { group, ids: vec![tip.id] }),
            Request::WantObjects(WantObjects { group, objects: vec![ObjectAt { block: tip.id, index: 0 }] }),
            Request::Push(Push { group, blocks: vec![own.clone()], objects: vec![] }),
            Request::Push(Push { group, blocks: blocks.clone(), objects: vec![ByteBuf::from(vec![1; 100_000])] }),
            Request::Have(Have { group, tips: vec![Reached { author: author_of_all, tip: tip.clone() }] }),
            Request::Presences(Presences { group, records: vec![says(&eve_key, group, now_ms())] }),
        ]
    };
    for (known, unknown) in requests(group).iter().zip(&requests(GroupId::from_bytes([9; 32]))) {
        assert_eq!(eve.ask(known).await, Ok(Response::Refused(Refused::NotShared)));
        assert_eq!(eve.ask(unknown).await, Ok(Response::Refused(Refused::NotShared)));
    }
    // A member who relays the stranger's block does not make her a member either.
    member.push(group, vec![own]).await.unwrap();
    assert_eq!(alice.settled(&name), after);
    assert!(!is_sent_away(&alice, &eve.id), "asking is no fault: she may have been let in a moment ago");
}
