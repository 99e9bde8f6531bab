//! What an address says, and whether it may be dialled.
//!
//! Addresses are kept without their `/p2p/` end; the peer they belong to is the key they are stored under.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use libp2p::multiaddr::Protocol;
use libp2p::multihash::Multihash;
use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::limits::{ADDRESS_BYTES, ANNOUNCED_ADDRESS_BYTES, ANNOUNCED_ADDRESSES};

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// TCP with Noise and Yamux.
    Tcp,
    /// QUIC version 1.
    Quic,
}

/// Identity multihash header and protobuf header of an Ed25519 key: what stands before its 32 bytes in a peer id.
const KEY_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];

/// The identity that a libp2p peer id holds, where it is of an Ed25519 key.
pub(super) fn identity_of(peer: &PeerId) -> Option<Identity> {
    let hash: &Multihash<64> = peer.as_ref();
    let key = (hash.code() == 0).then(|| hash.digest().strip_prefix(&KEY_PREFIX))??;
    Identity::from_bytes(key.try_into().ok()?).ok()
}

/// The libp2p peer id of an identity. `None` never happens: 36 bytes fit.
pub(super) fn peer_id_of(identity: &Identity) -> Option<PeerId> {
    let key = [&KEY_PREFIX[..], identity.as_bytes()].concat();
    PeerId::from_multihash(Multihash::wrap(0, &key).ok()?).ok()
}

/// The address of this machine that leads to `remote`, as the system would choose it now. Nothing is sent.
pub(super) fn source_of(remote: SocketAddr) -> Option<IpAddr> {
    let any = if remote.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// Splits the `/p2p/` end off.
pub(super) fn split(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut base = address.clone();
    match base.pop() {
        Some(Protocol::P2p(peer)) => (base, Some(peer)),
        _ => (address.clone(), None),
    }
}

/// Socket address and transport of `/ip4|ip6/…/tcp/…` or `/ip4|ip6/…/udp/…/quic-v1`, and of nothing else.
pub(super) fn endpoint(address: &Multiaddr) -> Option<(SocketAddr, Transport)> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let (port, transport) = match parts.next()? {
        Protocol::Tcp(port) => (port, Transport::Tcp),
        Protocol::Udp(port) if parts.next() == Some(Protocol::QuicV1) => (port, Transport::Quic),
        _ => return None,
    };
    match parts.next() {
        None | Some(Protocol::P2p(_)) => Some((SocketAddr::new(ip, port), transport)),
        Some(_) => None,
    }
}

/// Whether anything could listen there: a transport that we speak, a port, one host.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    let Some((socket, _)) = endpoint(address) else { return false };
    let broadcast = matches!(socket.ip(), IpAddr::V4(ip) if ip.is_broadcast());
    socket.port() != 0
        && !socket.ip().is_unspecified()
        && !socket.ip().is_multicast()
        && !broadcast
        && address.to_string().len() <= ADDRESS_BYTES
}

/// How far an address reaches: what a peer says of its addresses is believed only within the reach it is met at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Loopback,
    Site,
    World,
}

fn reach(ip: IpAddr) -> Option<Reach> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => Some(Reach::Loopback),
        IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Some(Reach::Site),
        // Dialling a link-local IPv6 address needs the name of the interface, which a multiaddr does not carry.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => None,
        IpAddr::V6(ip) if ip.is_unique_local() => Some(Reach::Site),
        _ => Some(Reach::World),
    }
}

/// Whether an address that a peer claims for itself is worth keeping, when its connection comes from `met`.
///
/// A peer that is met on the internet must not make us knock at hosts of our own site, nor one of the site at our own
/// loopback.
pub(super) fn is_credible(claimed: &Multiaddr, met: &Multiaddr) -> bool {
    let reach_of = |address| endpoint(address).and_then(|(socket, _)| reach(socket.ip()));
    is_dialable(claimed)
        && match (reach_of(claimed), reach_of(met)) {
            (Some(claimed), Some(met)) => claimed >= met,
            _ => false,
        }
}

pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    endpoint(address).and_then(|(socket, _)| reach(socket.ip())) == Some(Reach::Loopback)
}

/// Which of the addresses that a node listens on it tells others who are to call it: those that reach furthest first, at most
/// [`ANNOUNCED_ADDRESSES`]; its loopback only where there is nothing else.
pub(super) fn addresses_to_tell(listens: Vec<Multiaddr>) -> Vec<String> {
    let reach_of = |address: &Multiaddr| endpoint(address).and_then(|(socket, _)| reach(socket.ip()));
    let mut told: Vec<_> = listens.into_iter().filter_map(|address| Some((reach_of(&address)?, address))).collect();
    told.retain(|(_, address)| is_dialable(address) && address.to_string().len() <= ANNOUNCED_ADDRESS_BYTES);
    told.sort_by_key(|(reach, _)| std::cmp::Reverse(*reach));
    let furthest = told.first().map(|(reach, _)| *reach);
    told.retain(|(reach, _)| *reach != Reach::Loopback || furthest == Some(Reach::Loopback));
    told.into_iter().take(ANNOUNCED_ADDRESSES).map(|(_, address)| address.to_string()).collect()
}

/// What counts as one host: an IPv4 address, or an IPv6 /64, which is what one customer gets.
pub(super) fn host(address: &Multiaddr) -> Option<IpAddr> {
    let ip = address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    })?;
    Some(match ip {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn identities_and_peer_ids_are_one() {
        let me = SecretKey::from_seed(&[1; 32]).identity();
        let peer = peer_id_of(&me).unwrap();
        assert_eq!(peer.to_string(), me.to_string());
        assert_eq!(identity_of(&peer), Some(me));
        assert_eq!(identity_of(&PeerId::random()), None);
    }

    #[test]
    fn only_hosts_that_could_answer_are_dialable() {
        for good in ["/ip4/10.0.0.1/tcp/1", "/ip6/fd00::1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/9"] {
            assert!(is_dialable(&address(good)), "{good}");
        }
        for bad in [
            "/ip4/0.0.0.0/tcp/1",
            "/ip6/::/tcp/1",
            "/ip4/10.0.0.1/tcp/0",
            "/ip4/224.0.0.251/udp/1/quic-v1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/10.0.0.1/udp/1",
            "/ip4/10.0.0.1/tcp/1/ws",
            "/dns4/example.org/tcp/1",
            "/ip4/10.0.0.1",
        ] {
            assert!(!is_dialable(&address(bad)), "{bad}");
        }
    }

    #[test]
    fn a_peer_is_believed_within_its_reach() {
        for (claimed, met, credible) in [
            ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/9", true),
            ("/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/9", true),
            ("/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.2/tcp/9", false),
            ("/ip4/10.0.0.1/tcp/1", "/ip4/192.168.0.2/tcp/9", true),
            ("/ip4/10.0.0.1/tcp/1", "/ip4/8.8.8.8/tcp/9", false),
            ("/ip4/9.9.9.9/tcp/1", "/ip4/8.8.8.8/tcp/9", true),
            ("/ip6/fe80::1/tcp/1", "/ip4/10.0.0.2/tcp/9", false),
        ] {
            assert_eq!(is_credible(&address(claimed), &address(met)), credible, "{claimed} met at {met}");
        }
    }

    #[test]
    fn one_host_is_an_address_or_a_64() {
        let of = |text: &str| host(&address(text)).unwrap().to_string();
        assert_eq!(of("/ip4/10.0.0.1/tcp/1"), "10.0.0.1");
        assert_eq!(of("/ip6/::ffff:10.0.0.1/tcp/1"), "10.0.0.1");
        assert_eq!(of("/ip6/2001:db8::aaaa:1/tcp/1"), of("/ip6/2001:db8::bbbb:2/udp/1/quic-v1"));
    }
}
