//! The address book: which peers there are, where they may be, and when to try again.
//!
//! Owns what is known of each peer and the redial policy; refuses to grow beyond its bounds. Pure: time comes in as
//! milliseconds, randomness as a seed, and the caller dials. **A pinned peer is never evicted and never given up.**
//! Between two peers that know each other the one with the lower identity calls first, the other half a second to one and a half later, so that
//! calls seldom cross. Who was here of late is tried each 1–2 s, as long as it takes; who has been away for longer, or turned us away,
//! ever more rarely up to once in `REDIAL_MAX_MS`, unless nobody is connected: then we may be the one that is cut off. And when one
//! that was away is back, all others are tried at once: what parted us from it may have parted us from them.

mod entry;

use std::collections::BTreeMap;

use libp2p::Multiaddr;

use crate::identity::Identity;
use crate::limits::{
    AWAY_MS, BOOK_PEERS, PEER_MEMORY_MS, RALLY_MS, REDIAL_ALONE, REDIAL_MAX_MS, REDIAL_MS, SHORT_CONNECTION_MS,
    SWEEP_MS,
};

use super::address::is_dialable;
pub use entry::{BookAddress, BookEntry, DialTrouble, Keep, Source};
use entry::{Contact, State};

/// How soon the lower identity calls, milliseconds.
const FIRST_CALLER_MS: core::ops::Range<u64> = 0..20;
/// How soon the higher one does.
const SECOND_CALLER_MS: core::ops::Range<u64> = 500..1_500;

/// No room: every peer in the book is pinned, connected or better proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address book is full ({BOOK_PEERS} peers): remove one with `lbm ctl peer remove`")]
pub struct BookFull;

/// Known peers and when to dial them.
#[derive(Debug, Clone)]
pub struct AddressBook {
    me: Identity,
    peers: BTreeMap<Identity, Contact>,
    random: u64,
    changed: bool,
    /// When all were last tried at once.
    rallied_ms: u64,
}

/// One peer to dial now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Whom.
    pub peer: Identity,
    /// Where, the freshest address first. Never empty.
    pub addresses: Vec<Multiaddr>,
}

/// What the book knows of one peer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Name given by this node's user.
    pub alias: Option<String>,
    /// Whether it is kept for good.
    pub keep: Keep,
    /// Whether mDNS has heard it on the local network.
    pub heard: bool,
    /// Where it may be, and who says so.
    pub addresses: Vec<(Multiaddr, Source)>,
    /// When it was last connected, Unix milliseconds.
    pub last_seen_ms: Option<u64>,
    /// Why the last try failed; `None` once one succeeded.
    pub trouble: Option<DialTrouble>,
    /// When it is tried next, Unix milliseconds; `None` while connected or being dialled.
    pub next_dial_ms: Option<u64>,
}

impl AddressBook {
    /// An empty book of the node `me`. `seed` drives the jitter.
    #[must_use]
    pub const fn new(me: Identity, seed: u64) -> Self {
        Self { me, peers: BTreeMap::new(), random: seed, changed: false, rallied_ms: 0 }
    }

    /// The book that was stored as `entries`. Rows that do not fit any more are left out.
    #[must_use]
    pub fn from_entries(me: Identity, seed: u64, entries: impl IntoIterator<Item = BookEntry>, now_ms: u64) -> Self {
        let mut book = Self::new(me, seed);
        for row in entries {
            if row.peer == me || !row.peer.is_usable() || book.peers.len() >= BOOK_PEERS {
                continue;
            }
            let peer = row.peer;
            let at_ms = book.turn(&peer, now_ms);
            if let Some(contact) = Contact::from_entry(row, now_ms, at_ms) {
                book.peers.insert(peer, contact);
            }
        }
        book
    }

    /// What to store, ordered by peer.
    #[must_use]
    pub fn entries(&self) -> Vec<BookEntry> {
        self.peers.iter().map(|(peer, contact)| contact.to_entry(*peer)).collect()
    }

    /// Whether there is something to store since the last call.
    pub const fn take_changed(&mut self) -> bool {
        core::mem::replace(&mut self.changed, false)
    }

    /// Number of peers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Whether no peer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// Each peer and what is known of it.
    pub fn known(&self) -> impl Iterator<Item = (Identity, Known)> {
        self.peers.iter().map(|(peer, contact)| (*peer, contact.known()))
    }

    /// What is known of a peer.
    #[must_use]
    pub fn get(&self, peer: &Identity) -> Option<Known> {
        self.peers.get(peer).map(Contact::known)
    }

    /// Whether a person wants a peer to be connected.
    #[must_use]
    pub fn is_kept(&self, peer: &Identity) -> bool {
        self.peers.get(peer).is_some_and(|contact| contact.keep != Keep::Loosely)
    }

    /// Adds an address that a person gave, and calls there at once.
    ///
    /// # Errors
    /// [`BookFull`] where no peer may be evicted for it.
    pub fn add(
        &mut self,
        peer: Identity,
        address: Multiaddr,
        alias: Option<String>,
        keep: Keep,
        now_ms: u64,
    ) -> Result<(), BookFull> {
        let contact = self.contact(peer, now_ms)?;
        contact.keep = contact.keep.max(keep);
        contact.alias = alias.or(contact.alias.take());
        contact.put(address, Source::Given, now_ms);
        contact.retry_at(now_ms);
        self.changed = true;
        Ok(())
    }

    /// Gives a known peer another name, or none. Says whether it is known.
    pub fn set_alias(&mut self, peer: &Identity, alias: Option<String>) -> bool {
        let contact = self.peers.get_mut(peer);
        self.changed |= contact.is_some();
        contact.map(|contact| contact.alias = alias).is_some()
    }

    /// Takes note of an address that mDNS heard. Says whether it is new.
    pub fn discovered(&mut self, peer: Identity, address: Multiaddr, now_ms: u64) -> bool {
        if peer == self.me || !is_dialable(&address) {
            return false;
        }
        let at_ms = self.turn(&peer, now_ms);
        let Ok(contact) = self.contact(peer, now_ms) else { return false };
        let new = contact.put(address, Source::Mdns, now_ms);
        if new {
            contact.retry_at(at_ms);
            self.changed = true;
        }
        new
    }

    /// Takes note that mDNS no longer hears an address.
    pub fn expired(&mut self, peer: &Identity, address: &Multiaddr, now_ms: u64) {
        if let Some(contact) = self.peers.get_mut(peer) {
            contact.expire(address, now_ms);
        }
    }

    /// Takes note of the addresses that a connected peer says it listens on; they replace what it said before.
    pub fn identified(&mut self, peer: Identity, addresses: &[Multiaddr], now_ms: u64) {
        if addresses.is_empty() && !self.peers.contains_key(&peer) {
            return;
        }
        if let Ok(contact) = self.contact(peer, now_ms) {
            // The swarm knows it to be connected; a peer new in the book does not know that yet.
            if !matches!(contact.state, State::Connected { .. }) {
                contact.state = State::Connected { since_ms: now_ms };
                contact.last_seen_ms = now_ms;
            }
            self.changed |= contact.replace_told(addresses, now_ms);
        }
    }

    /// Takes note of where a peer that is not connected says that it listens, as others have handed it on.
    pub fn heard_of(&mut self, peer: Identity, addresses: &[Multiaddr], now_ms: u64) {
        if let Ok(contact) = self.contact(peer, now_ms) {
            self.changed |= contact.replace_told(addresses, now_ms);
        }
    }

    /// Takes note of a first connection; `dialled` is the address, where we called.
    pub fn connected(&mut self, peer: &Identity, dialled: Option<&Multiaddr>, now_ms: u64) {
        let Some(contact) = self.peers.get_mut(peer) else { return };
        if !matches!(contact.state, State::Connected { .. }) {
            contact.state = State::Connected { since_ms: now_ms };
        }
        contact.last_seen_ms = now_ms;
        contact.trouble = None;
        if let Some(address) = dialled {
            contact.reached = true;
            contact.touch(address, now_ms);
        }
        self.changed = true;
    }

    /// Takes note that the last connection is gone.
    pub fn disconnected(&mut self, peer: &Identity, now_ms: u64) {
        let at_ms = self.turn(peer, now_ms);
        let Some(contact) = self.peers.get_mut(peer) else { return };
        let State::Connected { since_ms } = contact.state else { return };
        contact.last_seen_ms = now_ms;
        self.changed = true;
        if now_ms.saturating_sub(since_ms) >= SHORT_CONNECTION_MS {
            contact.failures = 0;
            contact.state = State::Waiting { until_ms: at_ms };
        } else {
            contact.trouble = Some(DialTrouble::Dropped);
            self.back_off(peer, now_ms);
        }
    }

    /// Takes note of a try that failed.
    pub fn dial_failed(&mut self, peer: &Identity, trouble: DialTrouble, now_ms: u64) {
        let Some(contact) = self.peers.get_mut(peer) else { return };
        // Its own call may have come through meanwhile.
        if !matches!(contact.state, State::Connected { .. }) {
            contact.trouble = Some(trouble);
            self.back_off(peer, now_ms);
        }
    }

    /// Makes a known peer due at once, if it is not connected; tells whether it is known.
    pub fn call_soon(&mut self, peer: &Identity, now_ms: u64) -> bool {
        let contact = self.peers.get_mut(peer).filter(|contact| contact.has_address());
        contact.map(|contact| contact.retry_at(now_ms)).is_some()
    }

    /// Forgets an address at which another peer answers, unless a person gave it.
    pub fn not_there(&mut self, peer: &Identity, address: &Multiaddr) {
        if let Some(contact) = self.peers.get_mut(peer) {
            self.changed |= contact.drop_wrong(address);
        }
    }

    /// Puts a try off that could not be made for want of room on our side.
    pub fn postpone(&mut self, peer: &Identity, now_ms: u64) {
        let at_ms = now_ms + self.jitter(SWEEP_MS / 2..SWEEP_MS);
        if let Some(contact) = self.peers.get_mut(peer) {
            contact.state = State::Waiting { until_ms: at_ms };
        }
    }

    /// Forgets a peer. Says whether it was known.
    pub fn remove(&mut self, peer: &Identity) -> bool {
        let known = self.peers.remove(peer).is_some();
        self.changed |= known;
        known
    }

    /// Whom to dial now: pinned peers first, then who waits longest; at most so many that `limit` are dialled at once.
    /// Each is counted as being dialled until a connection, a failure or a postponement is reported.
    pub fn due(&mut self, now_ms: u64, limit: usize) -> Vec<Dial> {
        let under_way = self.peers.values().filter(|contact| matches!(contact.state, State::Dialling { .. })).count();
        let mut due: Vec<_> = self
            .peers
            .iter()
            .filter_map(|(peer, contact)| {
                let since_ms = contact.due_since(now_ms)?;
                Some((contact.keep == Keep::Loosely, since_ms, *peer))
            })
            .collect();
        due.sort_unstable();
        due.truncate(limit.saturating_sub(under_way));
        due.into_iter()
            .filter_map(|(_, _, peer)| {
                let contact = self.peers.get_mut(&peer)?;
                contact.state = State::Dialling { since_ms: now_ms };
                Some(Dial { peer, addresses: contact.to_call() })
            })
            .collect()
    }

    /// When [`Self::due`] has something next, if ever.
    #[must_use]
    pub fn next_due_ms(&self) -> Option<u64> {
        self.peers.values().filter_map(Contact::next_dial_ms).min()
    }

    /// Evicts what is too old: addresses that mDNS lost, peers without any address or out of reach for too long.
    pub fn sweep(&mut self, now_ms: u64) {
        let before = self.peers.len();
        let mut lost = false;
        self.peers.retain(|_, contact| {
            if matches!(contact.state, State::Connected { .. }) {
                return true;
            }
            lost |= contact.drop_expired(now_ms);
            let remembered = now_ms.saturating_sub(contact.known_since_ms()) < PEER_MEMORY_MS;
            contact.keep != Keep::Loosely
                || matches!(contact.state, State::Dialling { .. })
                || (remembered && contact.has_address())
        });
        self.changed |= lost || self.peers.len() != before;
    }

    /// The contact of a peer, new if need be.
    fn contact(&mut self, peer: Identity, now_ms: u64) -> Result<&mut Contact, BookFull> {
        if !self.peers.contains_key(&peer) {
            if self.peers.len() >= BOOK_PEERS {
                let evicted = self.least_worth().ok_or(BookFull)?;
                self.peers.remove(&evicted);
            }
            let at_ms = self.turn(&peer, now_ms);
            self.peers.insert(peer, Contact::new(now_ms, at_ms));
            self.changed = true;
        }
        self.peers.get_mut(&peer).ok_or(BookFull)
    }

    /// Who goes first when the book is full: never reached by our own call, then least recently seen. A stranger who
    /// floods the book with identities displaces only such as were never reached either.
    fn least_worth(&self) -> Option<Identity> {
        self.peers
            .iter()
            .filter(|(_, contact)| contact.keep == Keep::Loosely && !matches!(contact.state, State::Connected { .. }))
            .min_by_key(|(_, contact)| (contact.reached, contact.last_seen_ms))
            .map(|(peer, _)| *peer)
    }

    fn back_off(&mut self, peer: &Identity, now_ms: u64) {
        let Some(contact) = self.peers.get(peer) else { return };
        let failures = contact.failures;
        let until_ms = if self.may_be_back_any_moment(contact, now_ms) {
            let begun_ms = if let State::Dialling { since_ms } = contact.state { since_ms } else { now_ms };
            let pause_ms = self.jitter(REDIAL_MS);
            (begun_ms + pause_ms).max(now_ms + self.jitter(FIRST_CALLER_MS))
        } else {
            let longest_ms = SWEEP_MS.saturating_mul(1 << failures.min(16)).min(REDIAL_MAX_MS);
            now_ms + self.jitter(longest_ms / 2..longest_ms)
        };
        if let Some(contact) = self.peers.get_mut(peer) {
            contact.failures = failures.saturating_add(1);
            contact.state = State::Waiting { until_ms };
        }
    }

    /// Whether a peer that could not be reached was here of late, or is one of the last that were, and nobody is now.
    fn may_be_back_any_moment(&self, contact: &Contact, now_ms: u64) -> bool {
        let is_away = contact.trouble.is_some_and(|trouble| {
            matches!(
                trouble,
                DialTrouble::Unreachable | DialTrouble::TimedOut | DialTrouble::Refused | DialTrouble::System(_)
            )
        });
        if !is_away || contact.last_seen_ms == 0 {
            return false;
        }
        let is_alone = || !self.peers.values().any(|other| matches!(other.state, State::Connected { .. }));
        let seen_later = || self.peers.values().filter(|other| other.last_seen_ms > contact.last_seen_ms).count();
        now_ms.saturating_sub(contact.last_seen_ms) < AWAY_MS || (is_alone() && seen_later() < REDIAL_ALONE)
    }

    /// Tries all soon that were ever reached: what kept them away may be over.
    pub fn rally(&mut self, now_ms: u64) {
        if now_ms.saturating_sub(self.rallied_ms) < RALLY_MS {
            return;
        }
        self.rallied_ms = now_ms;
        let waiting = self.peers.iter().filter(|(_, contact)| {
            contact.reached && contact.failures > 0 && matches!(contact.state, State::Waiting { .. })
        });
        for peer in waiting.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            let at_ms = self.turn(&peer, now_ms);
            if let Some(contact) = self.peers.get_mut(&peer) {
                contact.due_by(at_ms);
            }
        }
    }

    /// When it is our turn to call `peer`.
    fn turn(&mut self, peer: &Identity, now_ms: u64) -> u64 {
        let range = if self.me < *peer { FIRST_CALLER_MS } else { SECOND_CALLER_MS };
        now_ms + self.jitter(range)
    }

    /// A number of `range` (SplitMix64): spread, not secrecy.
    pub(super) const fn jitter(&mut self, range: core::ops::Range<u64>) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        match range.end.saturating_sub(range.start) {
            0 => range.start,
            width => range.start + z % width,
        }
    }
}

#[cfg(test)]
mod tests;
