//! Networks over real sockets on loopback.

mod doors;
mod gossip;
mod rendezvous;
mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::request_response as rr;
use libp2p::swarm::SwarmEvent;
use tokio::io::AsyncReadExt;

use super::address::{endpoint, split};
use super::*;
use crate::limits::{MESSAGE_BYTES, REQUEST_BYTES};
use support::{Node, PATIENCE, QUIC, RudeEvent, TCP, Wire, config, key, open, pair, rude, rude_guest};

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn framed(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len() + 1).unwrap().to_be_bytes()[..], &[0], payload].concat()
}

fn port(address: &Multiaddr) -> u16 {
    endpoint(address).unwrap().0.port()
}

async fn round_trips(listen: &str) {
    let (mut alice, mut bob) = pair(listen).await;
    for length in [0, 1, 513, 100_000, 3 * 1024 * 1024] {
        for message in [vec![7; length], noise(length)] {
            let (answer, ()) = tokio::join!(alice.ask(bob.id, message.clone()), bob.echo());
            assert!(answer.as_ref() == Ok(&message), "{length} bytes");
            let (answer, ()) = tokio::join!(bob.ask(alice.id, message.clone()), alice.echo());
            assert!(answer == Ok(message), "{length} bytes back");
        }
    }
}

#[tokio::test]
async fn messages_go_both_ways_over_tcp() {
    round_trips(TCP).await;
}

#[tokio::test]
async fn messages_go_both_ways_over_quic() {
    round_trips(QUIC).await;
}

#[tokio::test]
async fn what_is_too_large_is_not_sent_and_every_request_is_answered() {
    let (mut alice, mut bob) = pair(TCP).await;
    let too_large = alice.ask(bob.id, vec![0; REQUEST_BYTES + 1]).await;
    assert_eq!(too_large, Err(RequestError::TooLarge { bytes: REQUEST_BYTES + 1, most: REQUEST_BYTES }));
    let (largest, ()) = tokio::join!(alice.ask(bob.id, vec![0; REQUEST_BYTES]), bob.echo());
    assert_eq!(largest.map(|bytes| bytes.len()), Ok(REQUEST_BYTES));
    assert_eq!(alice.ask(key(9).identity(), vec![1]).await, Err(RequestError::NotConnected));

    let refuse = async |bob: &mut Node| {
        let id = bob.until("a request", |event| match event {
            NetEvent::Request { id, .. } => Some(id),
            _ => None,
        });
        let id = id.await;
        let bytes = MESSAGE_BYTES + 1;
        let refused = bob.with(move |net| net.respond(id, vec![0; bytes])).await;
        assert_eq!(refused, Err(RespondError::TooLarge { bytes, most: MESSAGE_BYTES }));
        assert_eq!(bob.with(move |net| net.respond(id, vec![0])).await, Err(RespondError::Gone));
    };
    let (unanswered, ()) = tokio::join!(alice.ask(bob.id, vec![1]), refuse(&mut bob));
    assert_eq!(unanswered, Err(RequestError::Closed));

    let id = bob.id;
    let (cut_off, ()) = tokio::join!(alice.ask(id, vec![1]), async {
        bob.until("a request", |event| matches!(event, NetEvent::Request { .. }).then_some(())).await;
        drop(bob);
    });
    assert_eq!(cut_off, Err(RequestError::Closed));
}

#[tokio::test]
async fn garbage_is_blamed_on_its_sender_and_the_connection_stands() {
    let mut alice = Node::start(&config(1, TCP)).await;
    let (mallory, mut rude) = rude_guest(66, &alice.address().await).await;
    let over = u32::try_from(REQUEST_BYTES + 2).unwrap();
    let bomb = [&14_u32.to_be_bytes()[..], &[1], &u32::MAX.to_le_bytes(), &[0; 9]].concat();
    let cases = [
        (vec![0xff; 64], Malformed::TooLong { announced: u64::from(u32::MAX), cap: REQUEST_BYTES }),
        ([&over.to_be_bytes()[..], &[0]].concat(), Malformed::TooLong { announced: over.into(), cap: REQUEST_BYTES }),
        (bomb, Malformed::TooLong { announced: u64::from(u32::MAX), cap: REQUEST_BYTES }),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Malformed::TooLong { announced: 0x4745_5420, cap: REQUEST_BYTES }),
        (vec![0, 0, 0, 9, 0, 1], Malformed::Truncated),
        (vec![0, 0, 0, 2, 7, 1], Malformed::Encoding(7)),
        ([framed(b"abc"), vec![1]].concat(), Malformed::Trailing),
    ];
    let me = address::peer_id_of(&alice.id).unwrap();
    for (bytes, reason) in cases {
        rude.behaviour_mut().raw.send_request(&me, bytes);
        let blamed = alice.until("blame", |event| match event {
            NetEvent::Malformed { peer, what } => Some((peer, what)),
            NetEvent::Disconnected { .. } | NetEvent::Request { .. } => panic!("{event:?} instead of {reason}"),
            _ => None,
        });
        tokio::select! {
            blamed = blamed => assert_eq!(blamed, (mallory, reason)),
            () = async { loop { rude.next().await; } } => {}
        }
    }
    rude.behaviour_mut().raw.send_request(&me, framed(b"now in earnest"));
    let answered = async {
        loop {
            if let SwarmEvent::Behaviour(RudeEvent::Raw(rr::Event::Message {
                message: rr::Message::Response { response, .. },
                ..
            })) = rude.select_next_some().await
                // The streams of the garbage before were closed without a word.
                && !response.is_empty()
            {
                return response;
            }
        }
    };
    let (response, ()) = tokio::join!(answered, alice.echo());
    assert_eq!(response, framed(b"now in earnest"));
}

#[tokio::test]
async fn a_garbled_answer_is_the_answerers_fault() {
    let mut alice = Node::start(&config(1, TCP)).await;
    let (mallory, mut rude) = rude_guest(66, &alice.address().await).await;
    let answering = tokio::spawn(async move {
        let mut answers = vec![vec![0, 0, 0, 9, 0, 1], [framed(b"x"), vec![0]].concat(), vec![]].into_iter();
        loop {
            if let SwarmEvent::Behaviour(RudeEvent::Raw(rr::Event::Message {
                message: rr::Message::Request { channel, .. },
                ..
            })) = rude.select_next_some().await
            {
                rude.behaviour_mut().raw.send_response(channel, answers.next().unwrap()).unwrap();
            }
        }
    });
    alice.connected(mallory).await;
    for reason in [
        RequestError::Malformed(Malformed::Truncated),
        RequestError::Malformed(Malformed::Trailing),
        RequestError::Closed,
    ] {
        assert_eq!(alice.ask(mallory, vec![1]).await, Err(reason));
    }
    answering.abort();
}

#[tokio::test]
async fn one_host_has_ten_connections_and_gets_them_back() {
    let mut alice = Node::start(&config(1, TCP)).await;
    let address = alice.address().await;
    let bob = Node::start(&config(2, TCP)).await;
    bob.call(&address).await;
    alice.connected(bob.id).await;

    let knock = async || tokio::net::TcpStream::connect(("127.0.0.1", port(&address))).await.unwrap();
    let mut guests = Vec::new();
    for _ in 0..10 {
        guests.push(knock().await);
    }
    // Ten may be shaking hands. The gate counts in the order of arrival: the next is the one that is turned away.
    let read = tokio::time::timeout(PATIENCE, async { knock().await.read(&mut [0]).await }).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
    for guest in &guests {
        assert!(guest.try_read(&mut [0]).is_err(), "they stay");
    }
    assert!(alice.with(|net| net.is_connected(&key(2).identity())).await);

    drop(guests);
    let mut carol = Node::start(&config(3, TCP)).await;
    carol.call(&address).await;
    carol.connected(alice.id).await;
    alice.connected(carol.id).await;
}

#[tokio::test]
async fn a_full_host_lets_members_in_and_strangers_out_and_says_so_on_both_sides() {
    let two = NetConfig { max_connections_per_address: 2, ..config(1, TCP) };
    let mut alice = Node::start(&two).await;
    let address = alice.address().await;
    let mut guests = Vec::new();
    for seed in 2..5 {
        let guest = Node::start(&config(seed, TCP)).await;
        guest.call(&address).await;
        alice.connected(guest.id).await;
        guests.push(guest);
    }
    let (member, stranger) = (Node::start(&config(5, TCP)).await, guests.pop().unwrap());
    member.call(&address).await;
    alice.connected(member.id).await;
    let known = member.id;
    alice.with(move |net| net.vouch(&known, true)).await;
    alice.disconnected(stranger.id).await;
    let connected = |ids: Vec<Identity>| alice.with(move |net| ids.iter().all(|id| net.is_connected(id)));
    assert!(connected(guests.iter().map(|guest| guest.id).chain([known]).collect()).await);
    let refused = alice.with(|net| net.refused_hosts()).await;
    let [host] = refused.as_slice() else { panic!("{refused:?}") };
    assert!(
        host.bound == Bound::OneHost && host.host.is_loopback() && host.why.contains("p2p_max_conn_per_ip"),
        "{host:?}"
    );
    let id = alice.id;
    let trouble = stranger.with(move |net| net.peers().into_iter().find(|info| info.peer == id)?.known?.trouble).await;
    assert_eq!(trouble, Some(DialTrouble::Dropped));
    // Who is refused before the handshake is told what it may be: as long as those that shake hands have not had their turn.
    let mut silent = Vec::new();
    let late = Node::start(&config(6, TCP)).await;
    late.call(&address).await;
    let deadline = Instant::now() + PATIENCE;
    let mut told = None;
    while !alice.with(|net| net.peers().iter().any(|info| info.peer == key(6).identity() && info.link.is_some())).await
    {
        assert!(Instant::now() < deadline, "it never gets in: {told:?}");
        if silent.len() < 100 {
            silent.push(tokio::net::TcpStream::connect(("127.0.0.1", port(&address))).await.unwrap());
        }
        let trouble = late.with(move |net| net.peers().into_iter().find(|info| info.peer == id)?.known?.trouble).await;
        told = told.or(trouble);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        told.is_none_or(|told| told == DialTrouble::HungUp && told.to_string().contains("p2p_max_conn_per_ip")),
        "{told:?}"
    );
}

async fn comes_back(listen: &str) {
    let mut bob = Node::start(&config(2, listen)).await;
    let address = bob.address().await;
    let fast = |config| NetConfig { ping_interval: Duration::from_millis(300), ..config };
    let mut alice = Node::start(&NetConfig { static_peers: vec![address.clone()], ..fast(config(1, listen)) }).await;
    for politely in [false, true] {
        alice.connected(bob.id).await;
        if politely {
            bob.close().await;
        } else {
            drop(bob);
        }
        alice.disconnected(key(2).identity()).await;
        bob = Node::start(&config(2, &split(&address).0.to_string())).await;
    }
    alice.connected(bob.id).await;
    let (answer, ()) = tokio::join!(alice.ask(bob.id, vec![1]), bob.echo());
    assert_eq!(answer, Ok(vec![1]));
}

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_called_again_over_tcp() {
    comes_back(TCP).await;
}

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_called_again_over_quic() {
    comes_back(QUIC).await;
}

#[tokio::test]
async fn a_ban_holds_until_it_is_lifted_and_is_remembered() {
    let (mut alice, mut bob) = pair(TCP).await;
    let banned = alice.id;
    let time = bob.with(move |net| net.ban(banned, "why")).await;
    assert_eq!(time, Some(Duration::from_millis(crate::limits::BAN_MS)));
    assert_eq!(bob.with(move |net| net.ban(banned, "what came behind it")).await, None);
    bob.disconnected(alice.id).await;
    // She calls again and again, and is turned away each time.
    alice.until("turned away", |event| matches!(event, NetEvent::Disconnected { .. }).then_some(())).await;
    let bans = bob.with(|net| net.bans()).await;
    assert_eq!((bans.len(), bans[0].peer, bans[0].times, bans[0].why.as_str()), (1, banned, 1, "why"));
    assert!(!bob.with(move |net| net.is_connected(&banned)).await);
    // Who starts with it keeps her away as well.
    let mut again = Node::start(&NetConfig { bans, ..config(7, TCP) }).await;
    let address = again.address().await;
    alice.call(&address).await;
    alice.until("turned away here too", |event| matches!(event, NetEvent::Disconnected { .. }).then_some(())).await;
    assert!(!again.with(move |net| net.is_connected(&banned)).await);
    assert!(bob.with(move |net| net.unban(banned)).await);
    bob.connected(alice.id).await;
}

#[tokio::test]
async fn a_wire_that_goes_dead_in_full_flow_ends_the_connection() {
    let mut bob = Node::start(&config(2, TCP)).await;
    let address = bob.address().await;
    let wire = Wire::to(port(&address)).await;
    let fast = Duration::from_millis(300);
    let mut alice = Node::start(&NetConfig { ping_interval: fast, ping_timeout: fast, ..config(1, TCP) }).await;
    let over_wire: Multiaddr = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", wire.port, bob.id).parse().unwrap();
    alice.call(&over_wire).await;
    alice.connected(bob.id).await;
    wire.cut();
    // Enough to fill every buffer on the way, so that closing cannot write any more.
    let id = bob.id;
    for _ in 0..20 {
        alice.with(move |net| net.request(super::Protocol::Sync, id, noise(REQUEST_BYTES))).await;
    }
    let started = Instant::now();
    alice.disconnected(bob.id).await;
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[tokio::test]
async fn two_that_call_each_other_at_once_meet_once() {
    for round in 0..5_u8 {
        let (mut alice, mut bob) =
            (Node::start(&config(10 + round, TCP)).await, Node::start(&config(20 + round, TCP)).await);
        let (at_alice, at_bob) = (alice.address().await, bob.address().await);
        tokio::join!(alice.call(&at_bob), bob.call(&at_alice));
        let (one, other) = (alice.id, bob.id);
        tokio::join!(alice.connected(other), bob.connected(one));
        for _ in 0..4 {
            let (answer, ()) = tokio::join!(alice.ask(bob.id, vec![1]), bob.echo());
            assert_eq!(answer, Ok(vec![1]));
        }
        for event in alice.so_far().into_iter().chain(bob.so_far()) {
            let again = matches!(event, NetEvent::Connected { .. } | NetEvent::Disconnected { .. });
            assert!(!again, "{event:?}");
        }
    }
}

#[tokio::test]
async fn idle_members_stay_and_idle_strangers_go() {
    let idle = |config| NetConfig { idle_timeout: Duration::from_millis(700), ..config };
    let (mut alice, mut bob) = (Node::start(&idle(config(1, TCP))).await, Node::start(&idle(config(2, TCP))).await);
    let address = alice.address().await;
    bob.call(&address).await;
    alice.connected(bob.id).await;
    let (stranger, mut swarm) = rude(7, libp2p::StreamProtocol::new("/other/1"));
    swarm.dial(address).unwrap();
    let running = tokio::spawn(async move { while swarm.next().await.is_some() {} });
    alice.connected(stranger).await;
    alice.disconnected(stranger).await;
    running.abort();
    for node in [&mut alice, &mut bob] {
        let closed = node.so_far().into_iter().find(|event| matches!(event, NetEvent::Disconnected { .. }));
        assert!(closed.is_none(), "{closed:?}");
    }
    let (id, since) = (bob.id, Instant::now());
    assert!(alice.with(move |net| net.is_connected(&id)).await, "{since:?}");
}

#[tokio::test]
async fn our_own_key_elsewhere_is_reported() {
    let mut double = Node::start(&config(1, TCP)).await;
    let at = double.address().await;
    let mut alice = Node::start(&config(1, TCP)).await;
    let own = at.clone();
    assert_eq!(alice.with(move |net| net.add_peer(&own, None, true)).await, Err(AddPeerError::Own));
    let wrong = split(&at).0.with(Protocol::P2p(address::peer_id_of(&key(2).identity()).unwrap()));
    alice.call(&wrong).await;
    let seen = alice.until("our own key", |event| match event {
        NetEvent::OwnKeySeen { address } => Some(address),
        _ => None,
    });
    assert_eq!(seen.await, split(&at).0);
    let peers = alice.with(|net| net.peers()).await;
    assert_eq!(peers[0].known.as_ref().unwrap().trouble, Some(DialTrouble::OtherPeer));
}

#[tokio::test]
async fn the_list_of_peers_says_what_is_the_matter() {
    let (mut alice, bob) = pair(TCP).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let dead: Multiaddr = format!("/ip4/127.0.0.1/tcp/{free}/p2p/{}", key(3).identity()).parse().unwrap();
    alice.with(move |net| net.add_peer(&dead, Some("carol".into()), true)).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let peers = alice.with(|net| net.peers()).await;
            let of = |id| peers.iter().find(|info| info.peer == id).unwrap().clone();
            let (bob, carol) = (of(bob.id), of(key(3).identity()));
            let complete = bob.link.as_ref().is_some_and(|link| link.rtt.is_some() && !link.agent.is_empty());
            if complete && carol.known.as_ref().is_some_and(|known| known.trouble.is_some()) {
                return (bob, carol);
            }
            tokio::task::yield_now().await;
        }
    });
    let (bob_info, carol) = told.await.unwrap();
    let link = bob_info.link.unwrap();
    assert!(link.outbound && link.transport == Transport::Tcp && link.agent.starts_with("lbm/"));
    let known = carol.known.unwrap();
    assert_eq!((known.alias.as_deref(), known.trouble), (Some("carol"), Some(DialTrouble::Refused)));
    alice.until("a wish to store", |event| matches!(event, NetEvent::BookChanged).then_some(())).await;
    assert_eq!(alice.with(|net| net.book_entries()).await.len(), 2);

    let id = bob.id;
    assert!(alice.with(move |net| net.remove_peer(id)).await);
    alice.disconnected(bob.id).await;
    assert_eq!(alice.with(|net| net.book_entries()).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_listened_on_or_called_says_why() {
    let mut alice = Node::start(&config(1, TCP)).await;
    let taken = split(&alice.address().await).0;
    let start = |listen: &str| {
        let config = config(2, listen);
        Network::new(&config, AddressBook::new(config.secret.identity(), 1)).map(|_| ())
    };
    assert!(matches!(start(&taken.to_string()), Err(NetError::PortInUse(address)) if address == taken));
    let mut bob = Node::start(&config(3, QUIC)).await;
    let taken = split(&bob.address().await).0;
    assert!(matches!(start(&taken.to_string()), Err(NetError::PortInUse(address)) if address == taken));
    assert!(matches!(start("/ip4/192.0.2.1/tcp/0"), Err(NetError::Listen { .. })));
    assert!(matches!(start("/dns4/localhost/tcp/1"), Err(NetError::ListenForm(_))));

    let other = key(4).identity();
    for (address, alias, wrong) in [
        ("/ip4/127.0.0.1/tcp/1".to_owned(), None, AddPeerError::NoPeerId),
        (format!("/ip4/127.0.0.1/tcp/0/p2p/{other}"), None, AddPeerError::Form),
        (format!("/dns4/example.org/tcp/1/p2p/{other}"), None, AddPeerError::Form),
        (format!("/ip4/127.0.0.1/tcp/1/p2p/{}", libp2p::PeerId::random()), None, AddPeerError::KeyType),
        (format!("/ip4/127.0.0.1/tcp/1/p2p/{other}"), Some("a b"), AddPeerError::Alias),
    ] {
        let (address, alias): (Multiaddr, _) = (address.parse().unwrap(), alias.map(str::to_owned));
        assert_eq!(open(&config(5, TCP)).await.add_peer(&address, alias, true), Err(wrong), "{address}");
    }
}
