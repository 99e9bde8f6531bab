//! Whoever has many addresses holds much open, and keeps nobody out. All of 127.0.0.0/8 is this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, Ready, poll_fn};
use libp2p::core::muxing::StreamMuxerExt;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport as _};
use libp2p::identity::Keypair;
use libp2p::{noise, quic, tcp, yamux};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::task::JoinSet;

use super::*;
use crate::limits::STRANGER_CONNECTIONS;

/// The number of the attacker's addresses.
const HOSTS: usize = 42;

fn attacker(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, 0, u8::try_from(n % HOSTS + 1).unwrap())
}

fn at(address: &Multiaddr) -> SocketAddr {
    endpoint(address).unwrap().0
}

const DIALLER: DialOpts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::Reuse };

/// One connection at a time that says nothing, opened anew as soon as it is closed.
async fn half_open(from: Ipv4Addr, to: SocketAddr) {
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        if let Ok(mut stream) = socket.connect(to).await {
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// First packets of QUIC connections, and nothing behind them, as from addresses that somebody makes up.
async fn first_packets(to: SocketAddr) {
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let nowhere: Multiaddr =
        format!("/ip4/127.0.0.1/udp/{}/quic-v1", sink.local_addr().unwrap().port()).parse().unwrap();
    let mut packet = [0; 2_000];
    for n in 0.. {
        let dial = transport.dial(nowhere.clone(), DIALLER).unwrap();
        tokio::select! {
            _ = dial => {}
            received = sink.recv_from(&mut packet) => {
                let from = UdpSocket::bind((attacker(n % 20), 0)).await.unwrap();
                from.send_to(&packet[..received.unwrap().0], to).await.unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// TCP that calls from an address.
struct From(Ipv4Addr);

impl libp2p::Transport for From {
    type Output = tcp::tokio::TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = Ready<io::Result<Self::Output>>;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let (from, to) = (self.0, at(&address));
        Ok(Box::pin(async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((from, 0).into())?;
            socket.connect(to).await.map(tcp::tokio::TcpStream)
        }))
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}

/// One stranger after the other from an address, each until it is sent away.
async fn strangers(from: Ipv4Addr, to: Multiaddr) {
    loop {
        let key = Keypair::generate_ed25519();
        let mut transport = From(from)
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        if let Ok((_, mut muxer)) = transport.dial(split(&to).0, DIALLER).unwrap().await {
            // What the other side opens is closed at once.
            let is_over = poll_fn(|cx| {
                while let Poll::Ready(stream) = muxer.poll_inbound_unpin(cx) {
                    if stream.is_err() {
                        return Poll::Ready(());
                    }
                }
                muxer.poll_unpin(cx).map(|_| ())
            });
            is_over.await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Waits until there is no room for all of the attack.
async fn is_felt(alice: &Node) {
    let deadline = Instant::now() + PATIENCE;
    while alice.with(|net| net.refused_hosts()).await.is_empty() {
        assert!(Instant::now() < deadline, "there is room for all");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nodes that nobody knows call one after the other, and are connected; vouched for, they stay.
async fn newcomers_get_in(alice: &mut Node, address: &Multiaddr, listen: &str) {
    let mut newcomers = Vec::new();
    for seed in 2..5 {
        let bob = Node::start(&config(seed, listen)).await;
        bob.call(address).await;
        alice.connected(bob.id).await;
        let id = bob.id;
        alice.with(move |net| net.vouch(&id, true)).await;
        newcomers.push(bob);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let ids: Vec<_> = newcomers.iter().map(|bob| bob.id).collect();
    assert!(alice.with(move |net| ids.iter().all(|id| net.is_connected(id))).await, "who is vouched for stays");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_of_many_addresses_keep_nobody_out() {
    let mut alice = Node::start(&config(1, TCP)).await;
    let address = alice.address().await;
    let mut attack = JoinSet::new();
    for n in 0..8 * HOSTS {
        attack.spawn(half_open(attacker(n), at(&address)));
    }
    is_felt(&alice).await;
    newcomers_get_in(&mut alice, &address, TCP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_packets_from_made_up_addresses_keep_nobody_out() {
    let both = NetConfig { listen: vec![QUIC.parse().unwrap(), TCP.parse().unwrap()], ..config(1, TCP) };
    let mut alice = Node::start(&both).await;
    let addresses = [alice.address().await, alice.address().await];
    let is_quic = |address: &&Multiaddr| endpoint(address).unwrap().1 == Transport::Quic;
    let quic = addresses.iter().find(is_quic).unwrap();
    let mut attack = JoinSet::new();
    attack.spawn(first_packets(at(quic)));
    is_felt(&alice).await;
    newcomers_get_in(&mut alice, quic, QUIC).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_of_many_addresses_keep_nobody_out() {
    let mut alice = Node::start(&config(1, TCP)).await;
    let address = alice.address().await;
    let mut attack = JoinSet::new();
    for n in 0..10 * HOSTS {
        attack.spawn(strangers(attacker(n), address.clone()));
    }
    let deadline = Instant::now() + 2 * PATIENCE;
    let connected = async || {
        let count = |net: &mut Network| net.peers().iter().filter(|peer| peer.link.is_some()).count();
        alice.with(count).await
    };
    while connected().await < STRANGER_CONNECTIONS as usize {
        assert!(Instant::now() < deadline, "{} strangers are connected", connected().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    newcomers_get_in(&mut alice, &address, TCP).await;
}
