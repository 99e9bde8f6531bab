//! A node of its own making that speaks our protocol in raw bytes.

use std::io;
use std::time::Duration;

use crate::common::Daemon;
use crate::peer::within;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use lbm::identity::Identity;
use lbm::net::Protocol;
use libp2p::core::Transport as _;
use libp2p::core::upgrade::Version;
use libp2p::identity::{Keypair, PublicKey};
use libp2p::request_response::{self as rr, Codec, ProtocolSupport};
use libp2p::swarm::{Config, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, noise, tcp, yamux};

/// Writes and reads whatever it is told. A request that ends in [`HOLD`] is left open behind what stands before.
#[derive(Debug, Clone, Default)]
pub struct Raw;

pub const HOLD: &[u8] = b"...and never ends";

impl Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        AsyncReadExt::read_to_end(io, &mut bytes).await.map(|_| bytes)
    }

    async fn read_response<T>(&mut self, protocol: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        self.read_request(protocol, io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match bytes.strip_suffix(HOLD) {
            None => AsyncWriteExt::write_all(io, &bytes).await,
            Some(start) => {
                AsyncWriteExt::write_all(io, start).await?;
                AsyncWriteExt::flush(io).await?;
                std::future::pending().await
            }
        }
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, bytes: Vec<u8>) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        AsyncWriteExt::write_all(io, &bytes).await
    }
}

#[derive(NetworkBehaviour)]
pub struct Rude {
    raw: rr::Behaviour<Raw>,
    identify: identify::Behaviour,
}

/// A libp2p node of its own making that speaks our protocol in raw bytes.
pub struct Vandal {
    pub id: Identity,
    swarm: Swarm<Rude>,
    to: PeerId,
}

impl Vandal {
    pub async fn of(seed: u8, daemon: &Daemon) -> Self {
        let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        let address = daemon.address().parse().unwrap();
        within("a vandal connects", Self::at(key, &address, None)).await.expect("a vandal connects")
    }

    /// One with this key at this full address, which shows another key where one is given; none where it is turned away.
    pub async fn at(key: Keypair, address: &Multiaddr, shown: Option<PublicKey>) -> Option<Self> {
        let transport = tcp::tokio::Transport::default()
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key).unwrap())
            .multiplex(yamux::Config::default())
            .boxed();
        let wait = rr::Config::default().with_request_timeout(Duration::from_secs(60));
        let shown = shown.unwrap_or_else(|| key.public());
        let behaviour = Rude {
            raw: rr::Behaviour::new([(Protocol::Sync.name(), ProtocolSupport::Full)], wait),
            identify: identify::Behaviour::new(identify::Config::new("/rude/1".into(), shown)),
        };
        let idle = Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(3600));
        let mut swarm = Swarm::new(transport, behaviour, key.public().to_peer_id(), idle);
        swarm.dial(address.clone()).unwrap();
        let to = loop {
            match swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
                SwarmEvent::OutgoingConnectionError { .. } => return None,
                _ => {}
            }
        };
        let id = key.public().to_peer_id().to_string().parse().unwrap();
        Some(Self { id, swarm, to })
    }

    /// Says by identify that it listens there.
    pub fn claims_to_be_at(&mut self, address: Multiaddr) {
        self.swarm.add_external_address(address);
    }

    pub fn send(&mut self, bytes: Vec<u8>) {
        self.swarm.behaviour_mut().raw.send_request(&self.to, bytes);
    }

    /// Lets things happen for a while, and answers every request with these bytes.
    pub async fn go_on(&mut self, time: Duration, answer: Option<&[u8]>) {
        let until = tokio::time::sleep(time);
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => return,
                event = self.swarm.select_next_some() => {
                    let message = match event {
                        SwarmEvent::Behaviour(RudeEvent::Raw(rr::Event::Message { message, .. })) => message,
                        _ => continue,
                    };
                    if let (rr::Message::Request { channel, .. }, Some(answer)) = (message, answer) {
                        drop(self.swarm.behaviour_mut().raw.send_response(channel, answer.to_vec()));
                    }
                }
            }
        }
    }
}

pub fn frame(payload: &[u8]) -> Vec<u8> {
    [&u32::try_from(payload.len() + 1).unwrap().to_be_bytes()[..], &[0], payload].concat()
}

/// A frame whose payload is compressed.
pub fn squeezed(payload: &[u8]) -> Vec<u8> {
    let squeezed = lz4_flex::block::compress_prepend_size(payload);
    [&u32::try_from(squeezed.len() + 1).unwrap().to_be_bytes()[..], &[1], &squeezed].concat()
}
