//! What the API asks of the driver, and what the driver answers.

use std::collections::BTreeMap;

use libp2p::Multiaddr;
use tokio::sync::oneshot;

use super::allowance::Allowance;
use super::clock::unix_ms;
use super::driver::{Work, subscription_row};
use super::joining::JoinAsk;
use super::market::MarketAsk;
use super::settings::PeerLimits;
use crate::cbor;
use crate::chain::{GroupId, Tip};
use crate::identity::{Identity, SecretKey};
use crate::net::{AddPeerError, Ban, GossipMeasures, PeerInfo, RefusedHost};
use crate::node::io::Input;
use crate::node::measure::Measures;
use crate::node::{Subscription, SyncState};
use crate::presence::{Invalid, Presence, Status, Verified};

/// What the API asks of the driver.
pub enum Ask {
    /// Add a peer, for good.
    AddPeer(Multiaddr, Option<String>, oneshot::Sender<Result<Identity, AddPeerError>>),
    /// Forget a peer; tells whether it was known.
    RemovePeer(Identity, oneshot::Sender<bool>),
    /// Who was sent away.
    Bans(oneshot::Sender<Vec<Ban>>),
    /// Let a peer come back; tells whether it was sent away.
    Unban(Identity, oneshot::Sender<bool>),
    /// Who is known and connected.
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    /// The hosts whose connections were refused for want of room.
    RefusedHosts(oneshot::Sender<Vec<RefusedHost>>),
    /// Call a peer by another name; tells whether it is known.
    SetAlias(Identity, Option<String>, oneshot::Sender<bool>),
    /// The groups that each connected peer is admitted to.
    Admitted(oneshot::Sender<BTreeMap<Identity, Vec<GroupId>>>),
    /// Where this node can be reached.
    Listening(oneshot::Sender<Vec<Multiaddr>>),
    /// Which connected peers would be asked for a group.
    Sharing(GroupId, oneshot::Sender<Vec<Identity>>),
    /// Which connected peers would be asked for a group, and whether each is seen to have an author's block of it.
    SeenToHave(GroupId, Identity, Tip, oneshot::Sender<Vec<(Identity, bool)>>),
    /// Pull a group from one member, or all, now; tells how many connected peers will be asked.
    SyncNow(GroupId, Option<Identity>, oneshot::Sender<usize>),
    /// How a group's sync stands; none where it is not here.
    SyncState(GroupId, oneshot::Sender<Option<SyncState>>),
    /// How far this node is behind its peers, and how full what the driver owns.
    Measure(oneshot::Sender<(Measures, GossipMeasures)>),
    /// Sync a group like this from now on; tells when that is stored.
    Subscribe(GroupId, Subscription, oneshot::Sender<()>),
    /// Let peers do this much from now on.
    LimitPeers(PeerLimits, oneshot::Sender<()>),
    /// Sign for an identity from now on, or no more.
    Host(Identity, Option<SecretKey>, oneshot::Sender<()>),
    /// Sign what an identity of this node is up to and tell the group's members; none where it is no member.
    SetPresence(Identity, GroupId, Status, Option<String>, oneshot::Sender<Option<Result<Verified, Invalid>>>),
    /// What the members of a group say of themselves.
    Presences(GroupId, oneshot::Sender<Vec<Verified>>),
    /// Something about the market.
    Market(MarketAsk),
    /// Something about joining.
    Join(JoinAsk),
}

impl Work {
    pub(super) fn ask(&mut self, ask: Ask) {
        // Whoever asked may have given up by now.
        match ask {
            Ask::AddPeer(address, alias, answer) => {
                let added = self.parts.network.add_peer(&address, alias, true);
                self.keep_book(move || drop(answer.send(added)));
            }
            Ask::RemovePeer(peer, answer) => {
                let was_known = self.parts.network.remove_peer(peer);
                self.keep_book(move || {
                    let _gone = answer.send(was_known);
                });
            }
            Ask::SetAlias(peer, alias, answer) => {
                let is_known = self.parts.network.set_alias(&peer, alias);
                self.keep_book(move || {
                    let _gone = answer.send(is_known);
                });
            }
            Ask::Admitted(answer) => drop(answer.send(self.parts.machine.admitted())),
            Ask::Bans(answer) => drop(answer.send(self.parts.network.bans())),
            Ask::Unban(peer, answer) => {
                let was_banned = self.parts.network.unban(peer);
                self.keep_book(move || {
                    let _gone = answer.send(was_banned);
                });
            }
            Ask::RefusedHosts(answer) => drop(answer.send(self.parts.network.refused_hosts())),
            Ask::Peers(answer) => drop(answer.send(self.parts.network.peers())),
            Ask::Listening(answer) => drop(answer.send(self.parts.network.listen_addrs())),
            Ask::Sharing(group, answer) => {
                let _gone = answer.send(self.sharing(&group));
            }
            Ask::SeenToHave(group, author, tip, answer) => {
                let machine = &self.parts.machine;
                let seen = |peer| (peer, machine.is_seen_to_have(&group, &peer, author, &tip));
                let _gone = answer.send(self.sharing(&group).into_iter().map(seen).collect());
            }
            Ask::SyncNow(group, only, answer) => {
                let asked = self.sharing(&group).iter().filter(|peer| only.is_none_or(|only| only == **peer)).count();
                let _gone = answer.send(asked);
                self.step(Input::SyncNow(group, only));
            }
            Ask::SyncState(group, answer) => {
                let _gone = answer.send(self.parts.machine.sync_state(self.uptime.ms(), &group));
            }
            Ask::Measure(answer) => {
                let measured = self.parts.machine.measure(self.uptime.ms());
                let _gone = answer.send((measured, self.parts.network.measure_gossip()));
            }
            Ask::Subscribe(group, subscription, answer) => {
                let row = (subscription != Subscription::default()).then(|| cbor::encode(&subscription));
                self.step(Input::Subscribe(group, subscription));
                self.keep_row(subscription_row(&group), row, move || {
                    let _gone = answer.send(());
                });
            }
            Ask::SetPresence(member, group, status, metadata, answer) => {
                let _gone = answer.send(self.set_presence(member, group, status, metadata));
            }
            Ask::LimitPeers(limits, answer) => {
                self.parts.allowance = Allowance::new(limits.requests_per_min);
                self.parts.network.set_access(limits.access, limits.connections_per_address, limits.requests_per_min);
                let _gone = answer.send(());
            }
            Ask::Host(identity, key, answer) => {
                self.host(identity, key);
                let _gone = answer.send(());
            }
            Ask::Presences(group, answer) => {
                let _gone = answer.send(self.parts.machine.presences(&group).cloned().collect());
            }
            Ask::Market(ask) => self.market_ask(ask),
            Ask::Join(ask) => self.join_ask(ask),
        }
    }

    fn sharing(&self, group: &GroupId) -> Vec<Identity> {
        let peers = self.parts.network.peers().into_iter();
        let asked = peers.filter(|info| info.link.is_some() && self.parts.machine.may_have(group, &info.peer));
        asked.map(|info| info.peer).collect()
    }

    fn host(&mut self, identity: Identity, key: Option<SecretKey>) {
        match key {
            Some(key) => drop(self.parts.keys.insert(identity, key)),
            None => {
                // Whoever sees it as being here is told.
                let here: Vec<Presence> = self.said_to_be_here(|member| *member == identity);
                for Presence { group, member, metadata, .. } in here {
                    self.set_presence(member, group, Status::Offline, metadata);
                }
                self.parts.keys.remove(&identity);
            }
        }
        let agents = self.parts.keys.keys().copied().filter(|key| *key != self.parts.me).collect();
        self.step(Input::Hosts(agents));
    }

    pub(super) fn set_presence(
        &mut self,
        member: Identity,
        group: GroupId,
        status: Status,
        metadata: Option<String>,
    ) -> Option<Result<Verified, Invalid>> {
        let key = self.parts.keys.get(&member)?;
        if !self.parts.machine.has_member(&group, &member) {
            return None;
        }
        let time_ms = self.parts.machine.presence_time_ms(&group, &member, unix_ms());
        let signed = Presence { group, member, status, metadata, time_ms }.sign(key);
        if let Ok(record) = &signed {
            self.step(Input::Presence(record.clone()));
        }
        Some(signed)
    }
}
