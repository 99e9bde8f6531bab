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
use crate::config::{AdminAddress, LoopbackAddress, Origin, Settings};

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
    /// Where it is to serve metrics.
    metrics: Option<SocketAddr>,
    /// Where it is to serve the panel.
    admin: Option<SocketAddr>,
    /// Whether it does without where that port is in use.
    may_lack_admin: bool,
}

impl Subject {
    /// The node of a data folder, by its settings.
    #[must_use]
    pub fn new(data: &Path, settings: &Settings) -> Self {
        let (LoopbackAddress(mcp), LoopbackAddress(metrics)) = (settings.mcp.value, settings.metrics.value);
        let AdminAddress(admin) = settings.admin.address.value;
        Self {
            data: data.to_owned(),
            listen: settings.listen.value.clone(),
            any_port: settings.listen.origin == Origin::Default,
            mdns: settings.mdns.value,
            mcp,
            metrics,
            admin,
            may_lack_admin: settings.admin.address.origin == Origin::Default,
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
    let without = "the daemon starts without the panel then: stop that program, or name another port with --admin";
    let wanted = [
        ("--mcp", subject.mcp, None),
        ("--metrics", subject.metrics, None),
        ("--admin", subject.admin, subject.may_lack_admin.then_some(without)),
    ];
    findings.extend(wanted.into_iter().filter_map(|(flag, address, if_taken)| {
        address.map(|address| network::http_port(address, network::Wanted { flag, if_taken }))
    }));
    findings
}

/// Looks at the panel of a daemon that runs, which serves it at `served`, or nowhere. Asks it, and takes up to a second where it does not answer.
#[must_use]
pub fn of_panel(subject: &Subject, served: Option<SocketAddr>) -> Finding {
    let (Some(wanted), Some(served)) = (subject.admin, served) else {
        return match subject.admin {
            None => Finding::ok("panel", "it is off (--admin)"),
            Some(wanted) => {
                let detail = format!("it is not served: another program had {wanted} when the daemon started");
                Finding::warning(
                    "panel",
                    detail,
                    "stop that program, or name another port with --admin; then restart the daemon",
                )
            }
        };
    };
    match network::answers(served) {
        Ok(()) if wanted.ip().is_loopback() => {
            Finding::ok("panel", format!("served at http://{served}, to this machine alone"))
        }
        Ok(()) => {
            let detail = format!(
                "served at {wanted} to every machine that reaches this one, and unencrypted (--admin-insecure)"
            );
            let remedy = "where the network is not to be trusted: `--admin 127.0.0.1:8080`, and `ssh -L 8080:127.0.0.1:8080 HOST` from elsewhere";
            Finding::warning("panel", detail, remedy)
        }
        Err(error) => {
            let detail = format!("it is served at {served} and does not answer there: {error}");
            Finding::problem(
                "panel",
                detail,
                "let this machine reach itself (a firewall, a proxy), or restart the daemon",
            )
        }
    }
}

/// Looks at what a running daemon got that it did not ask for.
#[must_use]
pub fn of_running(subject: &Subject, listening: &[Multiaddr]) -> Option<Finding> {
    if subject.any_port { network::elsewhere(&subject.listen, listening) } else { None }
}

#[cfg(test)]
mod tests;
