//! Nodes that only have a third in common.

use std::collections::BTreeSet;

use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::request_response as rr;
use libp2p::swarm::SwarmEvent;
use libp2p::{StreamProtocol, kad};

use super::support::{Node, PATIENCE, RudeEvent, TCP, config, rude};
use crate::limits::{STRANGER_STREAMS_PER_S, STREAMS_BURST_S};
use crate::net::address::peer_id_of;
use crate::net::{NetConfig, NetEvent};

const OURS: [u8; 32] = [7; 32];

async fn server() -> Node {
    Node::start(&NetConfig { kademlia: Some(kad::Mode::Server), ..config(1, TCP) }).await
}

/// A node that knows the server and nobody else.
async fn guest(seed: u8, server: &libp2p::Multiaddr) -> Node {
    let mut guest = Node::start(&config(seed, TCP)).await;
    guest.address().await;
    guest.call(server).await;
    guest.until("a server", |event| matches!(event, NetEvent::Servers).then_some(())).await;
    guest
}

#[tokio::test]
async fn those_who_know_a_key_find_each_other_and_others_find_nobody() {
    let mut server = server().await;
    let address = server.address().await;
    let (alice, mut bob) = (guest(2, &address).await, guest(3, &address).await);
    let mut eve = guest(4, &address).await;
    alice.with(|net| net.provide(BTreeSet::from([OURS]))).await;
    let met = async {
        loop {
            bob.with(|net| net.seek(&OURS)).await;
            let other = tokio::time::timeout(Duration::from_millis(200), bob.connected(alice.id)).await;
            if other.is_ok() {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, met).await.unwrap();
    // She asks for what is not hers, as often as she likes.
    for guess in 0..20 {
        eve.with(move |net| net.seek(&[guess; 32].map(|byte: u8| byte ^ 0x40))).await;
    }
    eve.with(|net| net.provide(BTreeSet::from([[9; 32]]))).await;
    let peers = eve.with(|net| net.peers()).await;
    assert_eq!(peers.iter().map(|peer| peer.peer).collect::<Vec<_>>(), [server.id]);
    assert!(eve.so_far().iter().all(|event| !matches!(event, NetEvent::Connected { .. })));
}

#[tokio::test]
async fn a_client_answers_nobody_and_who_wants_none_of_it_asks_nobody() {
    let mut client = Node::start(&config(1, TCP)).await;
    let address = client.address().await;
    let mut alone = Node::start(&NetConfig { kademlia: None, ..config(2, TCP) }).await;
    let mut other = Node::start(&config(3, TCP)).await;
    for one in [&mut alone, &mut other] {
        one.call(&address).await;
        one.connected(client.id).await;
        one.with(|net| net.provide(BTreeSet::from([OURS]))).await;
        one.with(|net| net.seek(&OURS)).await;
    }
    // Long enough for both to have said who they are.
    let identified = async |node: &Node| {
        let is_said =
            |net: &mut crate::net::Network| net.peers()[0].link.as_ref().is_some_and(|link| !link.agent.is_empty());
        while !node.with(is_said).await {
            tokio::task::yield_now().await;
        }
    };
    for node in [&alone, &other] {
        tokio::time::timeout(PATIENCE, identified(node)).await.unwrap();
        assert!(!node.with(|net| net.has_servers()).await);
    }
}

#[tokio::test]
async fn who_asks_again_and_again_on_one_stream_is_answered_at_a_pace() {
    let mut server = server().await;
    let address = server.address().await;
    let (_, mut eve) = rude(66, StreamProtocol::new("/lbm/kad/1"));
    eve.dial(address).unwrap();
    // FIND_NODE, of a key of 32 bytes, behind its length.
    let question = [&[36, 0x08, 4, 0x12, 32][..], &[7; 32]].concat();
    let more_s = 3;
    let questions = STRANGER_STREAMS_PER_S * (STREAMS_BURST_S + more_s);
    let began = Instant::now();
    let to = peer_id_of(&server.id).unwrap();
    let mut asked = false;
    let answered = async {
        loop {
            match eve.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } if !asked => {
                    asked = true;
                    eve.behaviour_mut().raw.send_request(&to, question.repeat(questions as usize));
                }
                SwarmEvent::Behaviour(RudeEvent::Raw(rr::Event::Message {
                    message: rr::Message::Response { response, .. },
                    ..
                })) => return response,
                SwarmEvent::Behaviour(RudeEvent::Raw(rr::Event::OutboundFailure { error, .. })) => panic!("{error}"),
                _ => {}
            }
        }
    };
    let answers = tokio::time::timeout(PATIENCE, answered).await.unwrap();
    assert!(answers.len() >= questions as usize, "each has its answer: {} bytes", answers.len());
    assert!(began.elapsed() > Duration::from_secs(u64::from(more_s) - 1), "{:?}", began.elapsed());
}
