//! Finding and being found through others ([`crate::net::rendezvous`]).

use std::collections::{BTreeSet, HashSet};

use libp2p::kad::{self, GetProvidersOk, InboundRequest, QueryResult};
use libp2p::swarm::StreamProtocol;
use libp2p::{Multiaddr, PeerId};

use super::Network;
use crate::identity::Identity;
use crate::net::NetEvent;
use crate::net::address::{self, host, identity_of, is_credible, is_loopback, peer_id_of, split};
use crate::net::rendezvous::{self, Key, Provided, Shelf};

/// What a node does in Kademlia besides what libp2p does for it.
#[derive(Default)]
pub(super) struct Kademlia {
    shelf: Shelf,
    provided: Provided,
    /// Where this node has told libp2p that it can be called.
    told: BTreeSet<Multiaddr>,
    servers: HashSet<PeerId>,
}

impl Network {
    /// Lets others find this node under these keys, and under no others any more, with those who serve. It is to be said again before
    /// [`crate::limits::RENDEZVOUS_LIFE_MS`] have passed.
    pub fn provide(&mut self, keys: BTreeSet<Key>) {
        if let Some(behaviour) = self.swarm.behaviour_mut().kademlia.as_mut() {
            self.kademlia.provided.provide(behaviour, keys);
        }
    }

    /// Looks for others under a key. Who is found stands in the book and is called.
    pub fn seek(&mut self, key: &Key) {
        if let Some(behaviour) = self.swarm.behaviour_mut().kademlia.as_mut() {
            behaviour.get_providers(rendezvous::record_key(key));
        }
    }

    /// Whether anybody is known who could answer.
    #[must_use]
    pub fn has_servers(&self) -> bool {
        !self.kademlia.servers.is_empty()
    }

    pub(super) fn on_kademlia(&mut self, event: kad::Event) {
        match event {
            kad::Event::OutboundQueryProgressed {
                result: QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                ..
            } => providers.into_iter().for_each(|provider| self.found(provider)),
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(mut record) } } => {
                // libp2p takes records only from whom they are about.
                let link = self.links.get(&record.provider);
                let Some(met) = link.and_then(|link| link.lines.first()).map(|line| line.remote.clone()) else {
                    return;
                };
                let Some(from) = host(&met) else { return };
                record.addresses = record.addresses.iter().map(|address| split(address).0).collect();
                record.addresses.retain(|address| is_credible(address, &met));
                let now_ms = self.clock.now_ms();
                let Some(behaviour) = self.swarm.behaviour_mut().kademlia.as_mut() else { return };
                if !self.kademlia.shelf.keep(behaviour.store_mut(), record, from, now_ms) {
                    tracing::debug!(%from, "a record of where a peer is finds no room");
                }
            }
            _ => {}
        }
    }

    /// A peer is said to be in one of the groups that we look for. Only its key says who it is, and only its answer that it is there.
    fn found(&mut self, provider: PeerId) {
        let Some(behaviour) = self.swarm.behaviour_mut().kademlia.as_mut() else { return };
        let told = rendezvous::told_of(behaviour, provider);
        let Some(identity) = identity_of(&provider) else { return };
        let told: Vec<String> = told.iter().map(|address| split(address).0.to_string()).collect();
        self.heard_of(&identity, &told);
        self.call(&identity);
    }

    /// Takes note of a peer that answers questions, or does no longer.
    pub(super) fn on_protocols(&mut self, peer: PeerId, protocols: &[StreamProtocol], claimed: &[Multiaddr]) {
        let Some(behaviour) = self.swarm.behaviour_mut().kademlia.as_mut() else { return };
        if !rendezvous::serves(protocols) {
            self.kademlia.servers.remove(&peer);
            behaviour.remove_peer(&peer);
            return;
        }
        for address in claimed {
            behaviour.add_address(&peer, address.clone());
        }
        if !claimed.is_empty() && self.kademlia.servers.insert(peer) {
            self.events.push_back(NetEvent::Servers);
        }
    }

    /// Takes note that a peer is away; libp2p still knows where it was.
    pub(super) fn on_server_away(&mut self, peer: &PeerId) {
        self.kademlia.servers.remove(peer);
    }

    /// Tells libp2p where others can call this node: it says so to those who serve.
    pub(super) fn tell_addresses(&mut self) {
        let listeners: Vec<_> = self.swarm.listeners().map(|address| split(address).0).collect();
        let tell: BTreeSet<Multiaddr> =
            address::addresses_to_tell(listeners).iter().filter_map(|address| address.parse().ok()).collect();
        for gone in self.kademlia.told.difference(&tell) {
            self.swarm.remove_external_address(gone);
        }
        for new in tell.difference(&self.kademlia.told) {
            self.swarm.add_external_address(new.clone());
        }
        self.kademlia.told = tell;
    }

    /// Where peers said that they can be called, as far as `asker` can have a use for it, without `/p2p/`.
    #[must_use]
    pub fn where_are(&self, peers: &[Identity], asker: &Identity) -> Vec<(Identity, Vec<String>)> {
        let line = peer_id_of(asker).and_then(|id| self.links.get(&id)?.lines.first());
        let Some(met) = line.map(|line| line.remote.clone()) else { return Vec::new() };
        let told = |peer: &Identity| {
            let known = self.book.get(peer)?;
            let addresses = known.addresses.into_iter().filter(|(address, _)| is_credible(address, &met));
            let addresses = address::addresses_to_tell(addresses.map(|(address, _)| address).collect());
            (!addresses.is_empty()).then_some((*peer, addresses))
        };
        peers.iter().filter_map(told).collect()
    }

    /// Whether an address that others hand on may be called: our own loopback only where nothing but that is listened on.
    pub(super) fn may_be_called(&self, address: &Multiaddr) -> bool {
        address::is_dialable(address) && (!is_loopback(address) || self.swarm.listeners().all(is_loopback))
    }
}
