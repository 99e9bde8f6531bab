//! One peer of the address book.

use std::fmt;
use std::io;

use libp2p::Multiaddr;
use serde::{Deserialize, Serialize};

use crate::identity::Identity;
use crate::limits::{ADDRESS_GRACE_MS, BOOK_ADDRESSES_PER_PEER};

use super::Known;
use crate::net::address::{Transport, endpoint, is_dialable};

/// How an address became known. A later one is better evidence and replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// mDNS heard it on the local network.
    Mdns,
    /// The peer itself said so while connected.
    Told,
    /// A person gave it.
    Given,
}

/// Whether a peer is kept for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keep {
    /// It may be evicted.
    Loosely,
    /// While this process runs: it stands in the settings or on the command line, which may change.
    Session,
    /// Until it is removed.
    Always,
}

/// Why a peer could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialTrouble {
    /// Nothing listens there.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No route to it.
    Unreachable,
    /// Another peer answers there, or our own key does.
    OtherPeer,
    /// It closed the connection at once: it is full, or has banned us.
    Dropped,
    /// It hung up before the handshake: it has no room for this address.
    HungUp,
    /// This node has banned it.
    Banned,
    /// The settings `allow` and `deny` keep it away.
    Denied,
    /// Something answers that is no LBM node, or the connection broke while shaking hands.
    Handshake,
    /// Another failure of the system's.
    System(io::ErrorKind),
}

impl fmt::Display for DialTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused: is its daemon running, and the port right?"),
            Self::TimedOut => f.write_str("no answer in time: is the machine on, and no firewall between?"),
            Self::Unreachable => f.write_str("no route to it: is this machine on the same network?"),
            Self::OtherPeer => f.write_str("another peer answers at its address: has it moved?"),
            Self::Dropped => f.write_str(
                "it closed the connection at once: it may be full (`p2p_max_conn_per_ip` there), or have banned this node",
            ),
            Self::HungUp => f.write_str(
                "it hung up before the handshake: it may have as many connections from this address as its \
                 `p2p_max_conn_per_ip` lets it, or deny this address, or be no LBM node",
            ),
            Self::Banned => f.write_str("banned by this node for a while"),
            Self::Denied => f.write_str("the settings `allow` and `deny` of this node keep it away"),
            Self::Handshake => f.write_str("the handshake failed: is it an LBM node?"),
            Self::System(kind) => write!(f, "{kind}"),
        }
    }
}

/// One row of the stored address book.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookEntry {
    /// The peer.
    pub peer: Identity,
    /// Name given by this node's user.
    pub alias: Option<String>,
    /// Kept for good.
    pub pinned: bool,
    /// Whether our own call ever reached it.
    pub reached: bool,
    /// When it was last connected, Unix milliseconds; 0 for never.
    pub last_seen_ms: u64,
    /// When it became known, Unix milliseconds.
    pub added_ms: u64,
    /// Where it may be.
    pub addresses: Vec<BookAddress>,
}

/// One address of a [`BookEntry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookAddress {
    /// As a multiaddr without `/p2p/`.
    pub address: String,
    /// How it became known.
    pub source: Source,
    /// When it was last confirmed, Unix milliseconds.
    pub confirmed_ms: u64,
}

/// Where a peer stands in the redial policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Connected { since_ms: u64 },
    Dialling { since_ms: u64 },
    Waiting { until_ms: u64 },
}

#[derive(Debug, Clone)]
struct Place {
    address: Multiaddr,
    source: Source,
    confirmed_ms: u64,
    /// When mDNS lost it.
    lost_ms: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Contact {
    pub(super) alias: Option<String>,
    pub(super) keep: Keep,
    pub(super) reached: bool,
    pub(super) last_seen_ms: u64,
    pub(super) trouble: Option<DialTrouble>,
    pub(super) failures: u32,
    pub(super) state: State,
    /// Whether mDNS has ever heard it: an address of its own that it tells as well counts as told.
    heard: bool,
    added_ms: u64,
    places: Vec<Place>,
}

impl Contact {
    pub(super) const fn new(now_ms: u64, at_ms: u64) -> Self {
        Self {
            alias: None,
            keep: Keep::Loosely,
            reached: false,
            last_seen_ms: 0,
            trouble: None,
            failures: 0,
            state: State::Waiting { until_ms: at_ms },
            heard: false,
            added_ms: now_ms,
            places: Vec::new(),
        }
    }

    /// `None` where nothing is left of the row that could be dialled, unless a person wants the peer kept.
    pub(super) fn from_entry(row: BookEntry, now_ms: u64, at_ms: u64) -> Option<Self> {
        let places: Vec<_> = row
            .addresses
            .into_iter()
            .filter_map(|place| {
                let address: Multiaddr = place.address.parse().ok()?;
                // The clock may have been ahead when this was stored.
                let confirmed_ms = place.confirmed_ms.min(now_ms);
                let lost_ms = (place.source == Source::Mdns).then_some(now_ms);
                is_dialable(&address).then_some(Place { address, source: place.source, confirmed_ms, lost_ms })
            })
            .take(BOOK_ADDRESSES_PER_PEER)
            .collect();
        let keep = if row.pinned { Keep::Always } else { Keep::Loosely };
        (row.pinned || !places.is_empty()).then(|| Self {
            alias: row.alias,
            keep,
            reached: row.reached,
            last_seen_ms: row.last_seen_ms.min(now_ms),
            added_ms: row.added_ms.min(now_ms),
            heard: places.iter().any(|place| place.source == Source::Mdns),
            places,
            ..Self::new(now_ms, at_ms)
        })
    }

    pub(super) fn to_entry(&self, peer: Identity) -> BookEntry {
        let address = |place: &Place| BookAddress {
            address: place.address.to_string(),
            source: place.source,
            confirmed_ms: place.confirmed_ms,
        };
        BookEntry {
            peer,
            alias: self.alias.clone(),
            pinned: self.keep == Keep::Always,
            reached: self.reached,
            last_seen_ms: self.last_seen_ms,
            added_ms: self.added_ms,
            addresses: self.places.iter().map(address).collect(),
        }
    }

    pub(super) fn known(&self) -> Known {
        Known {
            alias: self.alias.clone(),
            keep: self.keep,
            heard: self.heard,
            addresses: self.places.iter().map(|place| (place.address.clone(), place.source)).collect(),
            last_seen_ms: (self.last_seen_ms > 0).then_some(self.last_seen_ms),
            trouble: self.trouble,
            next_dial_ms: self.next_dial_ms(),
        }
    }

    /// Adds or confirms an address. Says whether it is new, or back from being lost.
    pub(super) fn put(&mut self, address: Multiaddr, source: Source, now_ms: u64) -> bool {
        self.heard |= source == Source::Mdns;
        if let Some(place) = self.places.iter_mut().find(|place| place.address == address) {
            place.source = place.source.max(source);
            place.confirmed_ms = now_ms;
            return place.lost_ms.take().is_some();
        }
        if self.places.len() >= BOOK_ADDRESSES_PER_PEER {
            let oldest = self.places.iter().enumerate().min_by_key(|(_, place)| (place.source, place.confirmed_ms));
            match oldest.map(|(at, place)| (at, place.source)) {
                Some((at, worst)) if worst <= source => self.places.swap_remove(at),
                _ => return false,
            };
        }
        self.places.push(Place { address, source, confirmed_ms: now_ms, lost_ms: None });
        true
    }

    pub(super) fn expire(&mut self, address: &Multiaddr, now_ms: u64) {
        let heard = |place: &&mut Place| place.address == *address && place.source == Source::Mdns;
        if let Some(place) = self.places.iter_mut().find(heard) {
            place.lost_ms.get_or_insert(now_ms);
        }
    }

    /// Takes over the peer's own list. Says whether anything changed.
    pub(super) fn replace_told(&mut self, addresses: &[Multiaddr], now_ms: u64) -> bool {
        let before = self.places.len();
        self.places.retain(|place| place.source != Source::Told || addresses.contains(&place.address));
        let mut changed = self.places.len() != before;
        for address in addresses.iter().take(BOOK_ADDRESSES_PER_PEER) {
            let known = self.places.iter().any(|place| place.address == *address && place.source >= Source::Told);
            self.put(address.clone(), Source::Told, now_ms);
            changed |= !known;
        }
        changed
    }

    pub(super) fn touch(&mut self, address: &Multiaddr, now_ms: u64) {
        if let Some(place) = self.places.iter_mut().find(|place| place.address == *address) {
            place.confirmed_ms = now_ms;
            place.lost_ms = None;
        }
    }

    pub(super) fn drop_wrong(&mut self, address: &Multiaddr) -> bool {
        let before = self.places.len();
        self.places.retain(|place| place.address != *address || place.source == Source::Given);
        self.places.len() != before
    }

    pub(super) fn drop_expired(&mut self, now_ms: u64) -> bool {
        let before = self.places.len();
        self.places.retain(|place| place.lost_ms.is_none_or(|lost| now_ms.saturating_sub(lost) < ADDRESS_GRACE_MS));
        self.places.len() != before
    }

    /// Makes a waiting peer due at `at_ms`, with a fresh count of failures.
    pub(super) fn retry_at(&mut self, at_ms: u64) {
        self.failures = 0;
        self.due_by(at_ms);
    }

    /// Makes a waiting peer due at `at_ms` at the latest.
    pub(super) fn due_by(&mut self, at_ms: u64) {
        if let State::Waiting { until_ms } = &mut self.state {
            *until_ms = at_ms.min(*until_ms);
        }
    }

    pub(super) const fn has_address(&self) -> bool {
        !self.places.is_empty()
    }

    pub(super) fn known_since_ms(&self) -> u64 {
        self.last_seen_ms.max(self.added_ms)
    }

    /// When it is dialled next; `None` while connected, being dialled, or without an address.
    pub(super) fn next_dial_ms(&self) -> Option<u64> {
        match self.state {
            State::Waiting { until_ms } if self.has_address() => Some(until_ms),
            _ => None,
        }
    }

    pub(super) fn due_since(&self, now_ms: u64) -> Option<u64> {
        self.next_dial_ms().filter(|at| *at <= now_ms)
    }

    /// Where to call now, the freshest first. An idle connection costs half as much over TCP as over QUIC, which would answer first: where there
    /// is an address of TCP, each other call, the first among them, is to such alone.
    pub(super) fn to_call(&self) -> Vec<Multiaddr> {
        let mut places: Vec<_> = self.places.iter().collect();
        places.sort_by_key(|place| (place.lost_ms.is_some(), std::cmp::Reverse(place.confirmed_ms)));
        let is_tcp = |place: &&Place| endpoint(&place.address).is_some_and(|(_, by)| by == Transport::Tcp);
        if self.failures.is_multiple_of(2) && places.iter().any(is_tcp) {
            places.retain(is_tcp);
        }
        places.into_iter().map(|place| place.address.clone()).collect()
    }
}
