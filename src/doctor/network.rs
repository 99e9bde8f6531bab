//! Interfaces, ports and firewalls.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use if_addrs::{IfAddr, Interface};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::api::types::Finding;
use crate::limits;

/// Interfaces that lead to others, with an address.
pub(super) fn outward() -> io::Result<Vec<Interface>> {
    Ok(if_addrs::get_if_addrs()?.into_iter().filter(|interface| !interface.is_loopback()).collect())
}

/// Whether there is a network, and with which kinds of addresses.
pub(super) fn interfaces() -> Vec<Finding> {
    let all = match outward() {
        Ok(all) => all,
        Err(error) => {
            let detail = format!("the network's interfaces cannot be listed: {error}");
            return vec![Finding::warning("interfaces_unknown", detail, "see whether `ip addr` lists them")];
        }
    };
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for interface in &all {
        by_name.entry(&interface.name).or_default().push(interface.ip().to_string());
    }
    if by_name.is_empty() {
        let detail = "this machine has no network: no interface but loopback has an address";
        return vec![Finding::warning("no_network", detail, "plug it in or join a wireless network; see `ip addr`")];
    }
    let listed: Vec<String> = by_name.iter().map(|(name, ips)| format!("{name} ({})", ips.join(", "))).collect();
    let mut findings = vec![Finding::ok("interfaces", listed.join("; "))];
    if !all.iter().any(|interface| matches!(interface.addr, IfAddr::V4(_))) {
        let detail = "no interface has an IPv4 address: peers are not found by multicast DNS, which runs on IPv4 here";
        let remedy = "add peers by their addresses: `lbm ctl peer add --addr /ip6/…`, with `--listen /ip6/::/tcp/7337` on both sides";
        findings.push(Finding::warning("no_ipv4", detail, remedy));
    }
    findings
}

/// Whether the daemon could listen at an address; nothing of one that is not understood.
pub(super) fn port(address: &Multiaddr, any_port: bool) -> Option<Finding> {
    let mut parts = address.iter();
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let if_taken = "the daemon takes any other port then; name one with --listen where others must know it";
    let wanted = Wanted { flag: "--listen", if_taken: any_port.then_some(if_taken) };
    Some(match parts.next()? {
        Protocol::Tcp(port) => {
            let socket = SocketAddr::new(ip, port);
            told("tcp", socket, TcpListener::bind(socket).map(drop), wanted)
        }
        Protocol::Udp(port) => {
            let socket = SocketAddr::new(ip, port);
            told("udp", socket, UdpSocket::bind(socket).map(drop), wanted)
        }
        _ => return None,
    })
}

/// Whether the daemon listens on other ports than it wanted, because those were in use when it started.
pub(super) fn elsewhere(wanted: &[Multiaddr], listening: &[Multiaddr]) -> Option<Finding> {
    let port_of = |address: &Multiaddr| {
        address.iter().find_map(|part| match part {
            Protocol::Tcp(port) => Some(("tcp", port)),
            Protocol::Udp(port) => Some(("udp", port)),
            _ => None,
        })
    };
    let got: BTreeSet<_> = listening.iter().filter_map(port_of).collect();
    let missed: BTreeSet<_> = wanted.iter().filter_map(port_of).filter(|port| !got.contains(port)).collect();
    if got.is_empty() || missed.is_empty() {
        return None;
    }
    let shown = |ports: &BTreeSet<(&str, u16)>| {
        ports.iter().map(|(protocol, port)| format!("{port}/{protocol}")).collect::<Vec<_>>().join(" and ")
    };
    let by = missed.iter().find_map(|(protocol, port)| holder(protocol, *port));
    let by = by.map(|by| format!(", and it is {by} that has it")).unwrap_or_default();
    let detail =
        format!("{} was in use when the daemon started{by}: it listens on {} instead", shown(&missed), shown(&got));
    let remedy = "stop that program and start the daemon anew, or name a port of its own with --listen; multicast DNS tells the local network where it is, \
                  others need the address that `lbm ctl status` prints";
    Some(Finding::warning("port_in_use", detail, remedy))
}

/// The same of an address at which something is to be served over HTTP.
pub(super) fn http_port(address: SocketAddr, wanted: Wanted) -> Finding {
    told("tcp", address, TcpListener::bind(address).map(drop), wanted)
}

/// Asks a panel for its page, as a browser on this machine would, and says whether it answers.
pub(super) fn answers(address: SocketAddr) -> io::Result<()> {
    let patience = Duration::from_millis(limits::DOCTOR_ASK_MS);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    if &head == b"HTTP/1.1 200" { Ok(()) } else { Err(io::Error::other("it is something else that answers")) }
}

/// What a port is for.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    /// The flag that names it.
    pub(super) flag: &'static str,
    /// What the daemon does where it is in use, and what to do about that; none where it does not start then.
    pub(super) if_taken: Option<&'static str>,
}

fn told(protocol: &str, socket: SocketAddr, bound: io::Result<()>, wanted: Wanted) -> Finding {
    let Wanted { flag, if_taken } = wanted;
    let Err(error) = bound else {
        return Finding::ok("port", format!("{protocol} {socket} ({flag}) is free"));
    };
    let shown = protocol.to_uppercase();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let by = holder(protocol, socket.port()).unwrap_or_else(|| "another program".to_owned());
            let detail = format!("{shown} {socket} ({flag}) is in use by {by}");
            match if_taken {
                Some(remedy) => Finding::warning("port_in_use", detail, remedy),
                None => {
                    let remedy = format!("stop that program, or name another port with {flag}");
                    Finding::problem("port_in_use", detail, remedy)
                }
            }
        }
        io::ErrorKind::AddrNotAvailable => {
            let detail = format!("{} is no address of this machine", socket.ip());
            Finding::problem("no_such_address", detail, "listen on 0.0.0.0, or on an address that `ip addr` shows")
        }
        io::ErrorKind::PermissionDenied => {
            let detail = format!("{shown} {socket} is not for this user");
            Finding::problem("port_forbidden", detail, format!("name a port from 1024 on with {flag}"))
        }
        _ => Finding::problem(
            "port",
            format!("{shown} {socket} cannot be listened on: {error}"),
            format!("name another with {flag}"),
        ),
    }
}

/// The program that has a port, as far as this user may see it: `NAME (process 123)`.
pub(super) fn holder(protocol: &str, port: u16) -> Option<String> {
    let inodes: Vec<String> = ["", "6"]
        .iter()
        .filter_map(|family| std::fs::read_to_string(format!("/proc/net/{protocol}{family}")).ok())
        .flat_map(|table| table.lines().filter_map(|line| inode_of(line, port)).collect::<Vec<_>>())
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|process| holds(&process.path(), &links)).next()
}

/// The inode of the socket in a line of `/proc/net/tcp` or `udp` (proc_pid_net(5)), where it has this local port; of TCP where it listens.
fn inode_of(line: &str, port: u16) -> Option<String> {
    let mut columns = line.split_whitespace();
    let (local, remote) = (columns.nth(1)?, columns.next()?);
    let is_bound = local.ends_with(&format!(":{port:04X}")) && remote.ends_with(":0000");
    columns.nth(6).filter(|inode| is_bound && *inode != "0").map(str::to_owned)
}

fn holds(process: &Path, links: &[String]) -> Option<String> {
    let pid = process.file_name()?.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
    let mut open = std::fs::read_dir(process.join("fd")).ok()?.flatten();
    open.find(|file| {
        std::fs::read_link(file.path()).is_ok_and(|link| links.iter().any(|wanted| link.as_os_str() == wanted.as_str()))
    })?;
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    Some(format!("{name} (process {pid})"))
}

/// Hints that a firewall may stand between: whether it lets us through only root can see.
pub(super) fn firewall(listen: &[Multiaddr]) -> Vec<Finding> {
    let ports: Vec<String> = listen.iter().filter_map(shown_port).collect();
    let mut findings = Vec::new();
    let is_on = |text: String| text.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes"));
    if std::fs::read_to_string("/etc/ufw/ufw.conf").is_ok_and(is_on) {
        let detail = "the firewall ufw is on, and may keep peers out";
        let allow: Vec<String> =
            ports.iter().map(String::as_str).chain(["5353/udp"]).map(|port| format!("`ufw allow {port}`")).collect();
        findings.push(Finding::warning("firewall", detail, format!("where peers do not get in: {}", allow.join(", "))));
    }
    if Path::new("/run/firewalld").exists() {
        let detail = "the firewall firewalld is on, and may keep peers out";
        let remedy = format!(
            "where peers do not get in: `firewall-cmd --add-service=mdns`, and `firewall-cmd --add-port=` with {}",
            ports.join(", ")
        );
        findings.push(Finding::warning("firewall", detail, remedy));
    }
    let loaded =
        |text: String| text.lines().any(|line| line.starts_with("nft_chain") || line.starts_with("iptable_filter"));
    if findings.is_empty() && std::fs::read_to_string("/proc/modules").is_ok_and(loaded) {
        let detail = "this system filters packets (nftables or iptables); what it lets through only root can see";
        findings.push(Finding::ok("firewall", detail));
    }
    findings
}

/// `7337/tcp`.
fn shown_port(address: &Multiaddr) -> Option<String> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) if port != 0 => Some(format!("{port}/tcp")),
        Protocol::Udp(port) if port != 0 => Some(format!("{port}/udp")),
        _ => None,
    })
}
