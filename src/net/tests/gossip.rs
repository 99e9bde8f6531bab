//! Gossip over real sockets: what reaches whom, and what goes no further.

use libp2p::Multiaddr;

use super::support::{Node, TCP, config};
use crate::identity::Identity;
use crate::limits;
use crate::net::{Acceptance, NetEvent, Protocol, RequestError};

/// The next message that is spread to `node`; it is judged at once.
async fn heard(node: &mut Node, acceptance: Acceptance) -> (Identity, Vec<u8>) {
    let (peer, id, bytes) = node
        .until("gossip", |event| match event {
            NetEvent::Gossip { peer, id, bytes } => Some((peer, id, bytes)),
            _ => None,
        })
        .await;
    node.with(move |net| net.judge(id, acceptance)).await;
    (peer, bytes)
}

async fn publish(node: &Node, bytes: &[u8]) {
    let bytes = bytes.to_vec();
    node.with(move |net| net.publish(bytes)).await;
}

/// Alice, Bob and Carol, of whom Alice and Carol know only Bob.
async fn in_a_row() -> [Node; 3] {
    let mut nodes =
        [Node::start(&config(1, TCP)).await, Node::start(&config(2, TCP)).await, Node::start(&config(3, TCP)).await];
    let middle: Multiaddr = nodes[1].address().await;
    let bob = nodes[1].id;
    for at in [0, 2] {
        nodes[at].call(&middle).await;
        nodes[at].connected(bob).await;
    }
    let [alice, bob, carol] = &mut nodes;
    bob.connected(alice.id).await;
    for (from, word) in [(&*alice, b"from alice"), (&*carol, b"from carol")] {
        // The middle listens to both ends once it has heard from both.
        publish(from, word).await;
        heard(bob, Acceptance::Ignore).await;
    }
    nodes
}

#[tokio::test]
async fn what_is_published_before_anybody_listens_arrives_once_somebody_does() {
    let (mut alice, mut bob) = (Node::start(&config(1, TCP)).await, Node::start(&config(2, TCP)).await);
    for number in 0..10 {
        publish(&alice, &[number]).await;
    }
    let address = bob.address().await;
    alice.call(&address).await;
    alice.connected(bob.id).await;
    // One more right at the connect, when nobody has subscribed yet.
    publish(&alice, &[10]).await;
    for number in 0..=10 {
        assert_eq!(heard(&mut bob, Acceptance::Accept).await, (alice.id, vec![number]));
    }
}

#[tokio::test]
async fn only_what_is_accepted_goes_on_and_it_names_who_handed_it_over() {
    let [alice, mut bob, mut carol] = in_a_row().await;
    for (word, acceptance) in
        [("forged", Acceptance::Reject), ("known", Acceptance::Ignore), ("good", Acceptance::Accept)]
    {
        publish(&alice, word.as_bytes()).await;
        assert_eq!(heard(&mut bob, acceptance).await, (alice.id, word.as_bytes().to_vec()));
    }
    // Messages keep their sequence on a connection: had one of the first two been handed on, it would be here before the third.
    assert_eq!(heard(&mut carol, Acceptance::Accept).await, (bob.id, b"good".to_vec()));
    publish(&alice, b"good").await;
    publish(&alice, b"last").await;
    assert_eq!(heard(&mut bob, Acceptance::Accept).await.1, b"last", "the same message twice is one");
    assert_eq!(heard(&mut carol, Acceptance::Accept).await.1, b"last");
}

#[tokio::test]
async fn what_is_not_judged_goes_nowhere_and_waits_within_bounds() {
    let [alice, mut bob, mut carol] = in_a_row().await;
    let last = u32::try_from(limits::GOSSIP_JUDGING).unwrap() + 10;
    for number in 0..=last {
        publish(&alice, &number.to_be_bytes()).await;
        if number % 100 == 0 || number == last {
            // As fast as Bob takes them: what exceeds his queue would be dropped.
            let expected = number.to_be_bytes();
            bob.until("gossip", |event| match event {
                NetEvent::Gossip { bytes, .. } if bytes == expected => Some(()),
                _ => None,
            })
            .await;
        }
    }
    publish(&alice, b"judged").await;
    heard(&mut bob, Acceptance::Accept).await;
    assert_eq!(heard(&mut carol, Acceptance::Accept).await.1, b"judged");
}

#[tokio::test]
async fn the_longest_message_is_spread_and_a_longer_one_is_not() {
    let [alice, mut bob, _carol] = in_a_row().await;
    publish(&alice, &vec![7; limits::GOSSIP_MESSAGE_BYTES + 1]).await;
    publish(&alice, &vec![8; limits::GOSSIP_MESSAGE_BYTES - 1024]).await;
    let (_, bytes) = heard(&mut bob, Acceptance::Ignore).await;
    assert_eq!((bytes.len(), bytes[0]), (limits::GOSSIP_MESSAGE_BYTES - 1024, 8));
}

#[tokio::test]
async fn each_protocol_has_its_own_bounds_and_answers() {
    let (mut alice, mut bob) = super::support::pair(TCP).await;
    let bob_id = bob.id;
    let sent = alice
        .with(move |net| {
            let too_long = vec![0; limits::MARKET_REQUEST_BYTES + 1];
            net.request(Protocol::Market, bob_id, too_long);
            net.request(Protocol::Market, bob_id, b"market".to_vec());
            net.request(Protocol::Sync, bob_id, b"sync".to_vec())
        })
        .await;
    for _ in 0..2 {
        let (protocol, id, bytes) = bob
            .until("a request", |event| match event {
                NetEvent::Request { protocol, id, bytes, .. } => Some((protocol, id, bytes)),
                _ => None,
            })
            .await;
        let name = protocol.name().as_ref().as_bytes().to_vec();
        assert!(name.windows(bytes.len()).any(|part| part == bytes), "{protocol:?} carried another's request");
        bob.with(move |net| net.respond(id, name)).await.unwrap();
    }
    let mut answers = Vec::new();
    while answers.len() < 3 {
        answers.push(
            alice
                .until("a response", |event| match event {
                    NetEvent::Response { id, result, .. } => Some((id, result)),
                    _ => None,
                })
                .await,
        );
    }
    answers.sort_by_key(|(id, _)| *id);
    let most = limits::MARKET_REQUEST_BYTES;
    let words = |name: &str| Ok(name.as_bytes().to_vec());
    let results: Vec<_> = answers.into_iter().map(|(_, result)| result).collect();
    let expected =
        vec![Err(RequestError::TooLarge { bytes: most + 1, most }), words("/lbm/market/1"), words("/lbm/sync/1")];
    assert_eq!(results, expected);
    assert_eq!(sent.0, 3);
}
