//! Whether multicast works here: a packet to the group of multicast DNS that comes back.
//!
//! The packet asks two questions (RFC 6762 §5.2): one under a name of its own, which nobody answers, and the one that every LBM node does. That
//! it comes back shows that no firewall of this machine stands between, and that the port is shared; whether the switch or the access
//! point carries it, only another machine's answer shows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use if_addrs::IfAddr;
use socket2::{Domain, Protocol, Socket, Type};

use super::network::{holder, outward};
use crate::api::types::Finding;

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// How long a packet may take to come back. It does not leave the machine for that.
const PATIENCE: Duration = Duration::from_millis(400);
/// Interfaces that are tried: a machine with hundreds of them has them for containers.
const INTERFACES: usize = 8;

/// What became of a packet.
struct Heard {
    /// Whether it came back.
    own: bool,
    /// Whether another machine was heard meanwhile.
    others: bool,
}

/// Sends a packet out of each interface that has an IPv4 address, and waits for it.
pub(super) fn multicast() -> Vec<Finding> {
    let mut interfaces: Vec<(String, Ipv4Addr)> = Vec::new();
    for interface in outward().unwrap_or_default() {
        if let IfAddr::V4(address) = &interface.addr
            && !interfaces.iter().any(|(name, _)| *name == interface.name)
        {
            interfaces.push((interface.name.clone(), address.ip));
        }
    }
    interfaces.truncate(INTERFACES);
    let own: Vec<Ipv4Addr> = interfaces.iter().map(|(_, ip)| *ip).collect();
    let own = own.as_slice();
    let tried: Vec<_> = std::thread::scope(|scope| {
        let start = |(name, ip): (String, Ipv4Addr)| (name, ip, scope.spawn(move || round_trip(ip, own)));
        let threads: Vec<_> = interfaces.into_iter().map(start).collect();
        let failed = |_| Err(io::Error::other("the check failed"));
        threads.into_iter().map(|(name, ip, thread)| (name, ip, thread.join().unwrap_or_else(failed))).collect()
    });
    let held = |(_, _, heard): &(_, _, io::Result<Heard>)| {
        heard.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    if tried.iter().any(held) {
        return vec![port_held()];
    }
    tried.into_iter().map(|(name, ip, heard)| told(&name, ip, heard)).collect()
}

fn port_held() -> Finding {
    let by = holder("udp", PORT).unwrap_or_else(|| "another program".to_owned());
    let detail = format!("UDP {PORT} is held by {by} for itself alone: peers are not found by multicast DNS");
    let remedy = "stop it, or have it share the port (SO_REUSEADDR); or add peers by address, and start with --no-mdns";
    Finding::problem("mdns_port_held", detail, remedy)
}

fn told(name: &str, ip: Ipv4Addr, heard: io::Result<Heard>) -> Finding {
    match heard {
        Ok(Heard { own: true, others: true }) => {
            Finding::ok("multicast", format!("multicast works on {name} ({ip}), and another machine was heard"))
        }
        Ok(Heard { own: true, others: false }) => {
            Finding::ok("multicast", format!("multicast works on {name} ({ip}), as far as this machine can see"))
        }
        Ok(Heard { own: false, .. }) => {
            let detail = format!("a multicast packet on {name} ({ip}) did not come back");
            let remedy = "a firewall of this machine may drop it: let UDP 5353 to 224.0.0.251 in and out; or add peers by address";
            Finding::warning("multicast_lost", detail, remedy)
        }
        Err(error) => {
            let detail = format!("multicast does not work on {name} ({ip}): {error}");
            let remedy = "a firewall or the interface forbids it (`ip link` shows MULTICAST where it may); or add peers by address";
            Finding::warning("multicast_refused", detail, remedy)
        }
    }
}

/// Sends one packet to the group out of the interface with the address `ip`, and listens for it there.
fn round_trip(ip: Ipv4Addr, own: &[Ipv4Addr]) -> io::Result<Heard> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    // As all who speak multicast DNS on one machine share its port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v4(&GROUP, &ip)?;
    socket.set_multicast_if_v4(&ip)?;
    socket.set_multicast_loop_v4(true)?;
    let name = format!("lbm-doctor-{:016x}", getrandom::u64().map_err(io::Error::other)?);
    let socket = UdpSocket::from(socket);
    socket.send_to(&questions(&name), (GROUP, PORT))?;
    let deadline = Instant::now() + PATIENCE;
    let mut heard = Heard { own: false, others: false };
    let mut buffer = [0_u8; 9_000];
    // On for a while after it came: somebody else may be heard.
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(heard);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                let packet = buffer.get(..length).unwrap_or_default();
                heard.own |= packet.windows(name.len()).any(|part| part == name.as_bytes());
                heard.others |= matches!(from.ip(), IpAddr::V4(from) if !own.contains(&from));
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(heard);
            }
            Err(error) => return Err(error),
        }
    }
}

/// DNS questions (RFC 1035 §4.1): id 0, no flags, two questions, `NAME._udp.local` and `_p2p._udp.local`, PTR, IN.
fn questions(name: &str) -> Vec<u8> {
    let mut packet = b"\0\0\0\0\0\x02\0\0\0\0\0\0".to_vec();
    for first in [name, "_p2p"] {
        for label in [first, "_udp", "local"] {
            packet.push(label.len() as u8);
            packet.extend_from_slice(label.as_bytes());
        }
        packet.extend_from_slice(b"\0\0\x0c\0\x01");
    }
    packet
}
