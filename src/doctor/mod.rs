//! What of this machine may keep a node from working: its data folder, its clock, its ports, its network.
//!
//! Each check is a function that looks and says; it needs no daemon and no rights but the user's own, changes nothing, and disturbs
//! nobody: what it writes is a file that it removes, what it sends is one multicast packet an interface. What only a running
//! daemon knows, of peers and groups, the API's server adds.

mod folder;
mod multicast;
mod network;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;

use crate::api::types::Finding;
use crate::config::{LoopbackAddress, Origin, Settings};

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The data folder.
    data: PathBuf,
    /// Where the daemon is to listen.
    listen: Vec<Multiaddr>,
    /// Whether it takes other ports where those are in use.
    any_port: bool,
    /// Whether it finds peers by multicast DNS.
    mdns: bool,
    /// Where it is to serve agents over HTTP.
    mcp: Option<SocketAddr>,
}

impl Subject {
    /// The node of a data folder, by its settings.
    #[must_use]
    pub fn new(data: &Path, settings: &Settings) -> Self {
        let LoopbackAddress(mcp) = settings.mcp.value;
        Self {
            data: data.to_owned(),
            listen: settings.listen.value.clone(),
            any_port: settings.listen.origin == Origin::Default,
            mdns: settings.mdns.value,
            mcp,
        }
    }

    /// A data folder whose settings cannot be read.
    #[must_use]
    pub fn unset(data: &Path) -> Self {
        Self { data: data.to_owned(), ..Self::default() }
    }
}

/// A span of time for people, rounded.
#[must_use]
pub fn span_of(ms: u64) -> String {
    folder::span(std::time::Duration::from_millis(ms))
}

/// Looks at this machine, whether a daemon runs or not. Takes up to a second: not for a thread that serves others.
#[must_use]
pub fn of_machine(subject: &Subject) -> Vec<Finding> {
    let mut findings = folder::folder(&subject.data);
    findings.push(folder::disk(&subject.data));
    findings.push(folder::clock(&subject.data));
    findings.extend(network::interfaces());
    if subject.mdns {
        findings.extend(multicast::multicast());
    }
    findings.extend(network::firewall(&subject.listen));
    findings
}

/// Looks at what a daemon needs of this machine when it starts. Not while it runs: then it has it.
#[must_use]
pub fn of_start(subject: &Subject) -> Vec<Finding> {
    let mut findings = vec![folder::lock(&subject.data)];
    findings.extend(subject.listen.iter().filter_map(|address| network::port(address, subject.any_port)));
    findings.extend(subject.mcp.map(network::http_port));
    findings
}

/// Looks at what a running daemon got that it did not ask for.
#[must_use]
pub fn of_running(subject: &Subject, listening: &[Multiaddr]) -> Option<Finding> {
    if subject.any_port { network::elsewhere(&subject.listen, listening) } else { None }
}

#[cfg(test)]
mod tests;
