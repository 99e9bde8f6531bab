//! Calling a peer, and why a call failed.

use std::io;

use libp2p::core::transport::TransportError;
use libp2p::swarm::DialError;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::{Multiaddr, PeerId};

use super::book::DialTrouble;
use super::transport::kind_of;

/// One call to all addresses of a peer. It leaves from a fresh port: with the listener's port as its source, two calls
/// that cross would be one TCP connection with two initiators, and both handshakes fail.
pub(super) fn call(peer: PeerId, addresses: Vec<Multiaddr>) -> DialOpts {
    DialOpts::peer_id(peer)
        .condition(PeerCondition::DisconnectedAndNotDialing)
        .addresses(addresses)
        .allocate_new_port()
        .build()
}

/// The most telling reason of a failed call.
pub(super) fn trouble(error: &DialError) -> DialTrouble {
    match error {
        DialError::Transport(tries) => {
            tries.iter().map(|(_, error)| of_transport(error)).max_by_key(telling).unwrap_or(DialTrouble::Unreachable)
        }
        DialError::LocalPeerId { .. } | DialError::WrongPeerId { .. } => DialTrouble::OtherPeer,
        DialError::Denied { .. } => DialTrouble::Banned,
        DialError::NoAddresses | DialError::DialPeerConditionFalse(_) | DialError::Aborted => DialTrouble::Unreachable,
    }
}

/// How much a reason says about the peer rather than about one of its addresses.
const fn telling(trouble: &DialTrouble) -> u8 {
    match trouble {
        DialTrouble::OtherPeer => 6,
        DialTrouble::Dropped | DialTrouble::Banned | DialTrouble::Denied => 5,
        DialTrouble::Handshake | DialTrouble::HungUp => 4,
        DialTrouble::Refused => 3,
        DialTrouble::TimedOut => 2,
        DialTrouble::System(_) => 1,
        DialTrouble::Unreachable => 0,
    }
}

fn of_transport(error: &TransportError<io::Error>) -> DialTrouble {
    let TransportError::Other(error) = error else { return DialTrouble::Unreachable };
    match kind_of(error) {
        Some(io::ErrorKind::ConnectionRefused) => DialTrouble::Refused,
        Some(io::ErrorKind::TimedOut) => DialTrouble::TimedOut,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown) => {
            DialTrouble::Unreachable
        }
        Some(
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => DialTrouble::HungUp,
        Some(io::ErrorKind::InvalidData) | None => DialTrouble::Handshake,
        Some(kind) => DialTrouble::System(kind),
    }
}
