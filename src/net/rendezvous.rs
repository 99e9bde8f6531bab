//! Rendezvous: where nodes that share no network segment find each other, by Kademlia.
//!
//! A node that several others know serves (`kademlia = "server"`); the others only ask. Whoever is in a group stores where it can be
//! called under keys that only the group's members can work out ([`crate::node::rendezvous`]), and looks for the others there. **A server
//! learns a key that tells it nothing, and who stores under it**; it keeps so many keys a host, so that nobody's flood drives out the
//! others', and no values at all. What is found goes into the address book like all else that is hearsay.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{self, BucketInserts, Caching, Mode, ProviderRecord, RecordKey, StoreInserts};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, StreamProtocol};
use libp2p::{Multiaddr, PeerId};

use crate::limits::{
    BOOK_ADDRESSES_PER_PEER, RENDEZVOUS_KEYS, RENDEZVOUS_KEYS_PER_HOST, RENDEZVOUS_LIFE_MS, RENDEZVOUS_MESSAGE_BYTES,
    RENDEZVOUS_PROVIDERS, RENDEZVOUS_QUERY_MS,
};

/// The protocol's name.
const NAME: StreamProtocol = StreamProtocol::new("/lbm/kad/1");

/// Under what a node stores where it can be called.
pub type Key = [u8; 32];

pub(super) type Behaviour = kad::Behaviour<MemoryStore>;

pub(super) fn behaviour(mode: Mode, me: PeerId) -> Behaviour {
    let mut config = kad::Config::new(NAME);
    config
        .set_query_timeout(Duration::from_millis(RENDEZVOUS_QUERY_MS))
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_record_ttl(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_record_ttl(Some(Duration::from_millis(RENDEZVOUS_LIFE_MS)))
        // We store anew ourselves, under the keys of the day.
        .set_provider_publication_interval(None)
        // A new server makes it ask around, and so does each question.
        .set_periodic_bootstrap_interval(None)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_max_packet_size(RENDEZVOUS_MESSAGE_BYTES)
        .set_caching(Caching::Disabled);
    if let Some(most) = NonZeroUsize::new(RENDEZVOUS_PROVIDERS) {
        config.set_replication_factor(most);
    }
    let store = MemoryStore::with_config(
        me,
        MemoryStoreConfig {
            max_records: 0,
            max_value_bytes: 0,
            max_providers_per_key: RENDEZVOUS_PROVIDERS,
            // Our own and the others': who has room is for `Shelf` to say.
            max_provided_keys: 2 * RENDEZVOUS_KEYS,
        },
    );
    let mut behaviour = Behaviour::with_config(me, store, config);
    behaviour.set_mode(Some(mode));
    behaviour
}

/// Whether a peer that speaks these protocols answers questions.
pub(super) fn serves(protocols: &[StreamProtocol]) -> bool {
    protocols.contains(&NAME)
}

pub(super) fn record_key(key: &Key) -> RecordKey {
    RecordKey::new(key)
}

/// Where a query that has just found a provider was told that it can be called.
pub(super) fn told_of(behaviour: &mut Behaviour, provider: PeerId) -> Vec<Multiaddr> {
    // What a query knows it tells only whoever is about to dial.
    let connection = ConnectionId::new_unchecked(usize::MAX);
    let told = behaviour.handle_pending_outbound_connection(connection, Some(provider), &[], Endpoint::Dialer);
    told.unwrap_or_default().into_iter().take(BOOK_ADDRESSES_PER_PEER).collect()
}

/// What this node stores for others, counted by the host that it came from. **When all is full, the host that has most gives way.**
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// When what a host's peer stored under a key is over, milliseconds.
    hosts: BTreeMap<IpAddr, BTreeMap<(Vec<u8>, PeerId), u64>>,
    kept: usize,
    /// Before then nothing is over: whoever stores much does not make all be looked through each time.
    over_ms: u64,
}

impl Shelf {
    /// Keeps a record of a peer of that host, where it is one of ours and there is room. Says whether it did.
    pub(super) fn keep(
        &mut self,
        store: &mut MemoryStore,
        mut record: ProviderRecord,
        from: IpAddr,
        now_ms: u64,
    ) -> bool {
        let key = record.key.to_vec();
        if key.len() != size_of::<Key>() {
            return false;
        }
        if self.over_ms <= now_ms {
            self.expire(store, now_ms);
        }
        let place = (key, record.provider);
        let is_known = self.hosts.get(&from).is_some_and(|kept| kept.contains_key(&place));
        if !is_known {
            if self.hosts.get(&from).is_some_and(|kept| kept.len() >= RENDEZVOUS_KEYS_PER_HOST) {
                return false;
            }
            if self.kept >= RENDEZVOUS_KEYS && !self.make_room(store, from) {
                return false;
            }
        }
        record.addresses.truncate(BOOK_ADDRESSES_PER_PEER);
        if store.add_provider(record).is_err() {
            return false;
        }
        self.kept += usize::from(!is_known);
        self.hosts.entry(from).or_default().insert(place, now_ms.saturating_add(RENDEZVOUS_LIFE_MS));
        true
    }

    /// Takes one from the host that has most, unless that is the one that asks.
    fn make_room(&mut self, store: &mut MemoryStore, from: IpAddr) -> bool {
        let most = self.hosts.iter().max_by_key(|(_, kept)| kept.len()).map(|(host, kept)| (*host, kept.len()));
        let own = self.hosts.get(&from).map_or(0, BTreeMap::len);
        let Some((host, _)) = most.filter(|(host, kept)| *host != from && *kept > own + 1) else { return false };
        let Some(kept) = self.hosts.get_mut(&host) else { return false };
        let Some(place) = kept.iter().min_by_key(|(_, until_ms)| **until_ms).map(|(place, _)| place.clone()) else {
            return false;
        };
        kept.remove(&place);
        self.kept -= 1;
        store.remove_provider(&RecordKey::new(&place.0), &place.1);
        true
    }

    fn expire(&mut self, store: &mut MemoryStore, now_ms: u64) {
        for kept in self.hosts.values_mut() {
            kept.retain(|(key, provider), until_ms| {
                let is_over = *until_ms <= now_ms;
                if is_over {
                    store.remove_provider(&RecordKey::new(key), provider);
                    self.kept -= 1;
                }
                !is_over
            });
        }
        self.hosts.retain(|_, kept| !kept.is_empty());
        // What comes from now on is over later than that.
        let first_ms = self.hosts.values().flat_map(BTreeMap::values).min();
        self.over_ms = first_ms.copied().unwrap_or(now_ms.saturating_add(RENDEZVOUS_LIFE_MS));
    }
}

/// The keys under which this node stores where it is.
#[derive(Debug, Default)]
pub(super) struct Provided(BTreeSet<Key>);

impl Provided {
    /// Stores under these keys, anew where it does already, and under no others any more.
    pub(super) fn provide(&mut self, behaviour: &mut Behaviour, keys: BTreeSet<Key>) {
        for gone in self.0.difference(&keys) {
            behaviour.stop_providing(&record_key(gone));
        }
        for key in &keys {
            if let Err(error) = behaviour.start_providing(record_key(key)) {
                tracing::warn!(?error, "a group's members cannot find this node by Kademlia");
            }
        }
        self.0 = keys;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (MemoryStore, Shelf) {
        let config = MemoryStoreConfig { max_provided_keys: 2 * RENDEZVOUS_KEYS, ..MemoryStoreConfig::default() };
        (MemoryStore::with_config(PeerId::random(), config), Shelf::default())
    }

    fn host(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn record(n: usize, provider: PeerId) -> ProviderRecord {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_be_bytes());
        ProviderRecord::new(RecordKey::new(&key), provider, vec!["/ip4/10.0.0.1/tcp/1".parse().unwrap()])
    }

    #[test]
    fn a_host_has_its_share_whatever_names_it_takes() {
        let (mut store, mut shelf) = store();
        for n in 0..RENDEZVOUS_KEYS_PER_HOST {
            assert!(shelf.keep(&mut store, record(n, PeerId::random()), host(1), 0));
        }
        assert!(!shelf.keep(&mut store, record(0, PeerId::random()), host(1), 0));
        assert!(shelf.keep(&mut store, record(0, PeerId::random()), host(2), 0));
        // What was stored is over some day, and makes room.
        assert!(shelf.keep(&mut store, record(1, PeerId::random()), host(1), RENDEZVOUS_LIFE_MS));
        assert_eq!(shelf.kept, 1);
        assert!(store.providers(&record(2, PeerId::random()).key).is_empty());
    }

    #[test]
    fn who_has_most_gives_way() {
        let (mut store, mut shelf) = store();
        let hosts = RENDEZVOUS_KEYS / RENDEZVOUS_KEYS_PER_HOST;
        for of in 0..hosts {
            for n in 0..RENDEZVOUS_KEYS_PER_HOST {
                let from = IpAddr::from([10, 1, u8::try_from(of / 256).unwrap(), u8::try_from(of % 256).unwrap()]);
                assert!(shelf.keep(&mut store, record(of * 1_000 + n, PeerId::random()), from, 0));
            }
        }
        let late = PeerId::random();
        assert!(shelf.keep(&mut store, record(usize::MAX, late), host(9), 1));
        assert_eq!(store.providers(&record(usize::MAX, late).key)[0].provider, late);
        assert_eq!(shelf.kept, RENDEZVOUS_KEYS);
    }

    #[test]
    fn only_keys_of_our_kind_are_kept() {
        let (mut store, mut shelf) = store();
        let short = ProviderRecord::new(RecordKey::new(b"short"), PeerId::random(), vec![]);
        assert!(!shelf.keep(&mut store, short, host(1), 0));
    }

    #[test]
    fn the_same_peer_again_takes_no_more_room() {
        let (mut store, mut shelf) = store();
        let peer = PeerId::random();
        for _ in 0..3 {
            assert!(shelf.keep(&mut store, record(1, peer), host(1), 0));
        }
        assert_eq!(shelf.kept, 1);
    }
}
