//! The types that settings have, as text and as TOML.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use serde::{Serialize, Serializer};

use super::BadValue;
use crate::access::Rule;
use crate::limits;

/// What to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What failed.
    Error,
    /// And what an operator can act upon.
    Warn,
    /// And what happens.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

impl LogLevel {
    /// The word of the settings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LogLevel {
    type Err = BadValue;

    /// Upper or lower case; `WARNING` and `CRITICAL` too, which Python programs use.
    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text.to_ascii_lowercase().as_str() {
            "error" | "critical" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(BadValue::Level),
        }
    }
}

/// Where agents are served over HTTP: an address of this machine's loopback, or nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopbackAddress(pub Option<SocketAddr>);

impl FromStr for LoopbackAddress {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.parse::<SocketAddr>().ok().filter(|address| address.ip().is_loopback());
        address.map(|address| Self(Some(address))).ok_or(BadValue::Loopback)
    }
}

impl Serialize for LoopbackAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(address) => serializer.collect_str(&address),
            None => serializer.serialize_str("off"),
        }
    }
}

/// What the node does for finding peers beyond its network segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KademliaRole {
    /// Nothing.
    Off,
    /// It asks the nodes that answer.
    Client,
    /// It answers, and keeps where others are.
    Server,
}

impl FromStr for KademliaRole {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        match text {
            "off" => Ok(Self::Off),
            "client" => Ok(Self::Client),
            "server" => Ok(Self::Server),
            _ => Err(BadValue::Kademlia),
        }
    }
}

/// An address that the node can listen on: IP and TCP, or IP, UDP and QUIC.
///
/// # Errors
/// [`BadValue::Address`] or [`BadValue::Listen`].
pub fn listen_address(text: &str) -> Result<Multiaddr, BadValue> {
    let address = multiaddr(text, "/ip4/0.0.0.0/tcp/7337")?;
    let protocols: Vec<_> = address.iter().collect();
    match protocols.as_slice() {
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_)]
        | [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Udp(_), Protocol::QuicV1] => Ok(address),
        _ => Err(BadValue::Listen { text: text.to_owned() }),
    }
}

/// An address of a peer, with its peer id at the end.
///
/// # Errors
/// [`BadValue::Address`] or [`BadValue::NoPeerId`].
pub fn peer_address(text: &str) -> Result<Multiaddr, BadValue> {
    let address = multiaddr(text, "/ip4/192.0.2.7/tcp/7337/p2p/12D3KooW…")?;
    match address.iter().last() {
        Some(Protocol::P2p(_)) => Ok(address),
        _ => Err(BadValue::NoPeerId { text: text.to_owned() }),
    }
}

fn multiaddr(text: &str, example: &'static str) -> Result<Multiaddr, BadValue> {
    let refused = || BadValue::Address { text: text.chars().take(limits::ADDRESS_BYTES).collect(), example };
    if text.len() > limits::ADDRESS_BYTES {
        return Err(refused());
    }
    text.parse::<Multiaddr>().ok().filter(|address| !address.is_empty()).ok_or_else(refused)
}

/// A value as it was written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Raw<'a> {
    /// In the environment.
    Text(&'a str),
    /// In the file.
    Toml(&'a toml::Value),
}

impl Raw<'_> {
    pub(super) fn boolean(self) -> Result<bool, BadValue> {
        let refused = BadValue::Type { expected: "true or false" };
        match self {
            Self::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" => Ok(false),
                _ => Err(refused),
            },
            Self::Toml(value) => value.as_bool().ok_or(refused),
        }
    }

    pub(super) fn number<N>(self, range: RangeInclusive<N>) -> Result<N, BadValue>
    where
        N: Copy + PartialOrd + TryFrom<u64> + Into<u64>,
    {
        let number = match self {
            Self::Text(text) => text.parse::<u64>().ok(),
            Self::Toml(value) => value.as_integer().and_then(|number| u64::try_from(number).ok()),
        };
        number
            .and_then(|number| N::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| BadValue::Range { least: (*range.start()).into(), most: (*range.end()).into() })
    }

    pub(super) fn loopback_address(self) -> Result<LoopbackAddress, BadValue> {
        self.string().and_then(str::parse)
    }

    pub(super) fn kademlia(self) -> Result<KademliaRole, BadValue> {
        self.string().and_then(str::parse)
    }

    pub(super) fn level(self) -> Result<LogLevel, BadValue> {
        self.string().and_then(str::parse)
    }

    /// Text. Spaces at its ends count: some models want them in a prefix.
    pub(super) fn text(self, limit: usize) -> Result<String, BadValue> {
        let text = self.string()?;
        if text.len() > limit || text.contains(|c: char| c.is_control() && c != '\n') {
            return Err(BadValue::Text { limit });
        }
        Ok(text.to_owned())
    }

    /// A path. One in the file is relative to the data folder, one in the environment to where the process started.
    pub(super) fn path(self, data: &Path) -> Result<PathBuf, BadValue> {
        match self {
            Self::Text(text) => Ok(PathBuf::from(text)),
            Self::Toml(value) => {
                value.as_str().map(|text| data.join(text)).ok_or(BadValue::Type { expected: "a path in quotes" })
            }
        }
    }

    /// A list of peers and networks.
    pub(super) fn rules(self) -> Result<Vec<Rule>, BadValue> {
        let rule = |text: &str| {
            let short = || text.chars().take(limits::ADDRESS_BYTES).collect();
            text.parse().map_err(|source| BadValue::Rule { text: short(), source })
        };
        self.list(rule, "a list of peer ids and networks in quotes", limits::ACCESS_RULES)
    }

    /// A list of addresses.
    pub(super) fn addresses(
        self,
        parse: impl Fn(&str) -> Result<Multiaddr, BadValue>,
        limit: usize,
    ) -> Result<Vec<Multiaddr>, BadValue> {
        self.list(parse, "a list of addresses in quotes", limit)
    }

    /// A list: TOML strings, or text with commas between.
    pub(super) fn list<T>(
        self,
        parse: impl Fn(&str) -> Result<T, BadValue>,
        expected: &'static str,
        limit: usize,
    ) -> Result<Vec<T>, BadValue> {
        let refused = BadValue::Type { expected };
        let texts: Vec<&str> = match self {
            Self::Text(text) => text.split(',').map(str::trim).collect(),
            Self::Toml(value) => {
                let items = value.as_array().ok_or(refused.clone())?;
                items.iter().map(|item| item.as_str().ok_or(refused.clone())).collect::<Result<_, _>>()?
            }
        };
        if texts.len() > limit {
            return Err(BadValue::TooMany { count: texts.len(), limit });
        }
        texts.into_iter().map(parse).collect()
    }
}

impl<'a> Raw<'a> {
    pub(super) fn string(self) -> Result<&'a str, BadValue> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Toml(value) => value.as_str().ok_or(BadValue::Type { expected: "a word in quotes" }),
        }
    }
}
