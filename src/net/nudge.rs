//! A question to the local network that makes everybody on it answer, ourselves included.
//!
//! libp2p's mDNS asks once when an interface comes up, mostly before our listeners have their addresses, and answers only
//! to questions. mDNS answers go to all, so one question, asked once more when a listen address is there, makes this
//! node known to all others and them to it, without waiting for anybody's next regular query. Making the behaviour
//! anew would do so too, but it leaves the tasks and sockets of the old one behind.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// When to ask after a new listen address, milliseconds: the mDNS task of its interface may still be starting, and a
/// multicast packet can be lost.
pub(super) const NUDGES_MS: [u64; 4] = [20, 200, 1_000, 4_000];

/// A DNS question (RFC 1035 §4.1, RFC 6762 §5): id 0, no flags, one question, `_p2p._udp.local`, PTR, IN.
const QUERY: &[u8] = b"\0\0\0\0\0\x01\0\0\0\0\0\0\x04_p2p\x04_udp\x05local\0\0\x0c\0\x01";

/// Asks on the interface that has the address `ip`. Loopback and IPv6 are left out, as mDNS itself leaves them out.
pub(super) fn nudge(ip: IpAddr) -> io::Result<()> {
    if ip.is_loopback() || ip.is_ipv6() {
        return Ok(());
    }
    let socket = UdpSocket::bind(SocketAddr::new(ip, 0))?;
    socket.set_nonblocking(true)?;
    // The sender's interface follows from the address it is bound to.
    socket.send_to(QUERY, (Ipv4Addr::new(224, 0, 0, 251), 5353)).map(drop)
}
