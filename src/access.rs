//! Who may connect at all: the lists `allow` and `deny` of the settings. Pure.
//!
//! **Deny beats allow.** An empty `allow` lets everybody in; one with entries lets nobody else in: a closed network. A rule names a peer by
//! its id, or machines by an address or a network; a connection fits a rule of either kind.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Serialize, Serializer};

use crate::identity::Identity;

/// One entry of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A peer, wherever it is.
    Peer(Identity),
    /// Whoever has an address of this network.
    Net(IpNet),
}

/// Neither a peer id nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a peer id like 12D3KooW…, an address like 192.168.1.7, or a network like 192.168.1.0/24")]
pub struct NoRule;

impl FromStr for Rule {
    type Err = NoRule;

    fn from_str(text: &str) -> Result<Self, NoRule> {
        if let Ok(peer) = text.parse::<Identity>() {
            return Ok(Self::Peer(peer));
        }
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map(|net| Self::Net(canonical(net.trunc()))).map_err(|_| NoRule)
    }
}

/// A network of IPv4 addresses that is written as one of IPv6 (`::ffff:10.0.0.0/104`) as what it is: connections are looked at so.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(mapped) = net else { return net };
    let length = mapped.prefix_len().checked_sub(96);
    let v4 = mapped.addr().to_ipv4_mapped().zip(length).and_then(|(ip, length)| Ipv4Net::new(ip, length).ok());
    v4.map_or(net, IpNet::V4)
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(peer) => peer.fmt(f),
            Self::Net(net) => net.fmt(f),
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Both lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Where it has entries, nobody else is let in.
    pub allow: Vec<Rule>,
    /// Who is not, whatever `allow` says.
    pub deny: Vec<Rule>,
}

impl Access {
    /// Whether nobody at this address is let in, whoever it is: known before a handshake.
    #[must_use]
    pub fn refuses_host(&self, ip: IpAddr) -> bool {
        let may_be_allowed =
            self.allow.is_empty() || self.allow.iter().any(|rule| matches!(rule, Rule::Peer(_)) || rule.is_at(ip));
        !may_be_allowed || self.deny.iter().any(|rule| rule.is_at(ip))
    }

    /// What keeps this peer away, at this address or at any, for people; none where nothing does.
    #[must_use]
    pub fn why_refused(&self, peer: &Identity, ip: Option<IpAddr>) -> Option<String> {
        if !self.refuses(peer, ip) {
            return None;
        }
        let fits = |rule: &&Rule| match rule {
            Rule::Peer(named) => named == peer,
            Rule::Net(_) => ip.is_some_and(|ip| rule.is_at(ip)),
        };
        Some(match self.deny.iter().find(fits) {
            Some(rule) => format!("`deny` has {rule}"),
            None => "`allow` does not have it".to_owned(),
        })
    }

    /// Whether this peer is not let in, or called, at this address; without an address, whether it is at none.
    #[must_use]
    pub fn refuses(&self, peer: &Identity, ip: Option<IpAddr>) -> bool {
        let fits = |rule: &Rule| match rule {
            Rule::Peer(named) => named == peer,
            Rule::Net(_) => ip.is_some_and(|ip| rule.is_at(ip)),
        };
        let is_allowed = self.allow.is_empty()
            || self.allow.iter().any(|rule| fits(rule) || (ip.is_none() && matches!(rule, Rule::Net(_))));
        !is_allowed || self.deny.iter().any(fits)
    }
}

impl Rule {
    fn is_at(&self, ip: IpAddr) -> bool {
        matches!(self, Self::Net(net) if net.contains(&ip.to_canonical()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn deny_beats_allow_and_an_allow_list_closes_the_network() {
        let (alice, bob) = (SecretKey::from_seed(&[1; 32]).identity(), SecretKey::from_seed(&[2; 32]).identity());
        let (here, there) = (IpAddr::from([10, 0, 0, 7]), IpAddr::from([192, 168, 1, 7]));
        let open = Access::default();
        assert!(!open.refuses(&alice, Some(here)) && !open.refuses_host(here));
        let closed = Access { allow: rules(&["10.0.0.0/8"]), deny: vec![] };
        assert!(!closed.refuses(&alice, Some(here)) && closed.refuses(&alice, Some(there)));
        assert!(!closed.refuses_host(here) && closed.refuses_host(there));
        let alone = Access { allow: vec![Rule::Peer(alice)], deny: vec![] };
        assert!(!alone.refuses(&alice, Some(there)) && alone.refuses(&bob, Some(there)) && alone.refuses(&bob, None));
        assert!(!alone.refuses_host(there), "who it is, a handshake tells");
        let both = Access { allow: rules(&["10.0.0.0/8"]), deny: rules(&["10.0.0.7", &bob.to_string()]) };
        assert!(both.refuses(&alice, Some(here)) && both.refuses_host(here));
        assert!(both.refuses(&bob, Some(IpAddr::from([10, 1, 1, 1]))) && both.refuses(&bob, None));
        assert!(!both.refuses(&alice, None), "it may be at an address that is allowed");
    }

    #[test]
    fn a_rule_is_a_peer_an_address_or_a_network() {
        for (text, shown) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::1/8", "fd00::/8"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), shown);
        }
        for text in ["", "10.0.0.0/33", "alice", "12D3KooW", "/ip4/10.0.0.1"] {
            assert_eq!(text.parse::<Rule>(), Err(NoRule), "{text}");
        }
        let mapped: IpAddr = "::ffff:10.0.0.9".parse().unwrap();
        for text in ["10.0.0.0/8", "::ffff:10.0.0.9", "::ffff:10.0.0.0/104"] {
            let rule = text.parse::<Rule>().unwrap();
            assert!(rule.is_at(mapped) && rule.is_at(IpAddr::from([10, 0, 0, 9])), "{text}");
        }
    }
}
