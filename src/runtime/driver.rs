//! The one task that moves the protocol: it feeds the machine with what the network and the writer tell, and does what it says.
//!
//! **It never waits for anybody**: reading for peers runs on other threads, verifying and writing have queues of their own, and
//! where one is full the batch is dropped and its ticket reported. So the network is always polled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::agents::Agents;
use super::allowance::{Allowance, Share};
use super::ask::Ask;
use super::clock::{Uptime, unix_ms};
use super::commit::Told;
use super::embedding::Embedding;
use super::events::Events;
use super::index::Indexes;
use super::joining::Door;
use super::market::{AskFailed, Desk, Fetching};
use super::news;
use super::verify::{Unchecked, Verifier};
use super::writer::Writer;
use crate::api::types::{EventKind, Problem};
use crate::cbor;
use crate::chain::gone::Gone;
use crate::chain::{Frontier, GroupId, Tip};
use crate::delegation::{self, Delegation, knock};
use crate::identity::{Identity, SecretKey};
use crate::ledger::Outcome;
use crate::limits;
use crate::metrics::Metrics;
use crate::net::{self, Malformed, NetEvent, Network, Protocol, RequestError};
use crate::node::Machine;
use crate::node::engine::{Groups, News, Task};
use crate::node::io::{InboundId, Input, NoAnswer, NotIngested, Notice, Output, Severity, Ticket};
use crate::node::market::io::{Input as MarketInput, NotStored, Wanted};
use crate::node::rendezvous::Rendezvous;
use crate::node::serve::serve;
use crate::package::PackageHash;
use crate::presence::{Presence, Status, Verified};
use crate::store::{Packages, Registry, Store};
use crate::wire::{self, Met, Refused, Request, Response, market};

/// Where the store keeps who was sent away.
pub(super) const BANS_ROW: &[u8] = b"net/bans";

/// Where it keeps how a group is synced.
pub(super) fn subscription_row(group: &GroupId) -> Vec<u8> {
    [b"subscription/", group.as_bytes().as_slice()].concat()
}

/// What the driver works with.
pub struct Driver {
    /// Whose node it is.
    pub me: Identity,
    /// Sign what this node's identities say of themselves: its own, and its agents'.
    pub keys: BTreeMap<Identity, SecretKey>,
    /// The network.
    pub network: Network,
    /// The protocol.
    pub machine: Machine,
    /// What of each group was here when the daemon started: none of that is news.
    pub at_start: BTreeMap<GroupId, Frontier>,
    /// For answers to peers.
    pub store: Arc<Store>,
    /// Packages, for peers and from them.
    pub packages: Arc<Packages>,
    /// Answers what buyers ask.
    pub desk: Arc<dyn Desk>,
    /// Look after what is bought and sold.
    pub agents: Agents,
    /// For the address book.
    pub writer: Writer,
    /// For what peers send.
    pub verifier: Verifier,
    /// For who watches.
    pub events: Events,
    /// For claims that are new.
    pub embedding: Embedding,
    /// For who asks.
    pub indexes: Indexes,
    /// Lets others in.
    pub door: Door,
    /// What peers may ask, and how much of it at once.
    pub allowance: Allowance,
    /// What is counted.
    pub metrics: Metrics,
    /// Where the machine's randomness starts: from the system's random source.
    pub seed: u64,
}

/// What reaches the driver besides the network.
pub struct Inbox {
    /// From the writer and the verifier.
    pub told: mpsc::Receiver<Told>,
    /// From the API.
    pub asks: mpsc::Receiver<Ask>,
    /// Set when the daemon stops.
    pub stop: watch::Receiver<bool>,
}

/// What other threads have done for the driver.
pub(super) enum Done {
    /// Read an answer for a peer.
    Served { id: InboundId, peer: Identity, bytes: Vec<u8> },
    /// The same, on the market.
    MarketServed { id: InboundId, peer: Identity, bytes: Vec<u8> },
    /// The same, about joining; with how heavily the request counts against the peer.
    NodeServed { id: InboundId, peer: Identity, bytes: Vec<u8>, fault: Option<Severity> },
    /// Looked whether a package is on the disk.
    Looked(Wanted, bool),
    /// Put a package there, or not.
    Stored(PackageHash, Result<(), NotStored>),
}

/// Who waits for the answer to a request.
pub(super) enum Asked {
    /// The machine.
    Sync(Ticket),
    /// Its market.
    Market(Ticket),
    /// Somebody in the daemon.
    Caller(oneshot::Sender<Result<market::Response, AskFailed>>),
    /// The same, about joining.
    Joiner(oneshot::Sender<Result<wire::node::Response, AskFailed>>),
}

/// The driver at work.
pub(super) struct Work {
    pub(super) parts: Driver,
    rng: StdRng,
    pub(super) uptime: Uptime,
    pub(super) rendezvous: Rendezvous,
    pub(super) secrets: BTreeMap<GroupId, [u8; 32]>,
    /// The same of groups that are being joined by a ticket.
    pub(super) awaited: BTreeMap<GroupId, [u8; 32]>,
    pub(super) asked: BTreeMap<net::RequestId, Asked>,
    pub(super) serving: Arc<Semaphore>,
    pub(super) done: mpsc::Sender<Done>,
    pub(super) fetching: Fetching,
    /// Room for the answers that are being made.
    pub(super) shares: BTreeMap<InboundId, Share>,
}

impl Driver {
    /// Runs until told to stop; then says good-bye to the peers.
    pub async fn run(self, mut inbox: Inbox) {
        let (sender, mut done) = mpsc::channel(limits::DRIVER_QUEUE);
        let mut work = Work {
            rng: StdRng::seed_from_u64(self.seed),
            parts: self,
            uptime: Uptime::start(),
            rendezvous: Rendezvous::default(),
            secrets: BTreeMap::new(),
            awaited: BTreeMap::new(),
            asked: BTreeMap::new(),
            serving: Arc::new(Semaphore::new(limits::SERVING)),
            done: sender,
            fetching: Fetching::new(),
            shares: BTreeMap::new(),
        };
        loop {
            let now_ms = work.uptime.ms();
            let wake_ms = work.parts.machine.next_wake_ms().into_iter().chain(work.rendezvous_ms()).min();
            let wake = wake_ms.map(|at_ms| Duration::from_millis(at_ms.saturating_sub(now_ms)));
            // Whichever is ready, in turn by chance: a flood from the network holds up neither answers nor this node's own.
            tokio::select! {
                _ = inbox.stop.wait_for(|stop| *stop) => break,
                event = work.parts.network.next() => work.network(event),
                Some(told) = inbox.told.recv() => work.told(told),
                Some(done) = done.recv() => work.done(done),
                Some(ask) = inbox.asks.recv() => work.ask(ask),
                () = tokio::time::sleep(wake.unwrap_or(Duration::MAX)), if wake.is_some() => work.tick(),
            }
        }
        work.say_good_bye().await;
        // The verifier's and the writer's handles go here, so that their threads end.
        let Driver { network, .. } = work.parts;
        network.close(Duration::from_millis(limits::CLOSE_MS)).await;
    }
}

impl Work {
    fn tick(&mut self) {
        self.step(Input::Tick);
        if self.rendezvous_ms().is_some_and(|at_ms| at_ms <= self.uptime.ms()) {
            self.find_each_other();
        }
    }

    pub(super) fn step(&mut self, input: Input) {
        let outputs = self.parts.machine.step(self.uptime.ms(), &mut self.rng, input);
        for output in outputs {
            self.act(output);
        }
    }

    fn network(&mut self, event: NetEvent) {
        match event {
            NetEvent::Connected { peer, .. } => {
                self.parts.events.tell(EventKind::PeerConnected { peer_id: peer.to_string() });
                self.step(Input::Connected(peer));
                self.vouch_for(&peer);
            }
            NetEvent::Disconnected { peer } => {
                self.parts.allowance.forget_idle();
                self.parts.events.tell(EventKind::PeerDisconnected { peer_id: peer.to_string() });
                self.step(Input::Disconnected(peer));
                self.find_each_other();
            }
            NetEvent::Request { peer, id, bytes, protocol: Protocol::Sync } => {
                self.parts.metrics.asked("sync");
                self.sync_asked(peer, InboundId(id.0), &bytes);
            }
            NetEvent::Request { peer, id, bytes, protocol: Protocol::Market } => {
                self.parts.metrics.asked("market");
                self.market_asked(peer, InboundId(id.0), &bytes);
            }
            NetEvent::Request { peer, id, bytes, protocol: Protocol::Node } => {
                self.parts.metrics.asked("node");
                self.node_asked(peer, InboundId(id.0), &bytes);
            }
            NetEvent::Gossip { peer, id, bytes } => self.gossip(peer, id, bytes),
            NetEvent::Malformed { peer, what } => {
                tracing::info!(%peer, %what, "a frame that is none");
                self.step(Input::Malformed(peer, blame(what)));
            }
            NetEvent::Response { peer, id, result } => {
                let ticket = match self.asked.remove(&id) {
                    None => return,
                    Some(Asked::Market(ticket)) => return self.market_answered(ticket, result),
                    Some(Asked::Caller(answer)) => return self.caller_answered(peer, result, answer),
                    Some(Asked::Joiner(answer)) => return self.joiner_answered(peer, result, answer),
                    Some(Asked::Sync(ticket)) => ticket,
                };
                let result = match result {
                    Ok(bytes) => Response::decode(&bytes).map_err(|_| NoAnswer::Malformed),
                    // A peer that loses power in the middle of an answer looks like this.
                    Err(RequestError::Malformed(Malformed::Truncated)) => Err(NoAnswer::Lost),
                    Err(RequestError::Malformed(_)) => Err(NoAnswer::Malformed),
                    Err(_) => Err(NoAnswer::Lost),
                };
                self.step(Input::Answered { ticket, result });
            }
            NetEvent::OwnKeySeen { address } => {
                tracing::error!(%address, "another machine uses this node's key: stop one of them, or both lose writes");
                self.parts.events.tell(EventKind::OwnKeySeen { address: address.to_string() });
            }
            NetEvent::BookChanged => self.keep_book(|| {}),
            NetEvent::Servers => self.rendezvous.begin(self.uptime.ms()),
            NetEvent::Listening(address) => {
                tracing::info!(%address, "listening");
                self.rendezvous.begin(self.uptime.ms());
                self.step_market(MarketInput::Moved);
            }
            NetEvent::NotListening(address) => {
                tracing::info!(%address, "no longer listening");
                self.rendezvous.begin(self.uptime.ms());
                self.step_market(MarketInput::Moved);
            }
            NetEvent::ListenerFailed { addresses, error } => {
                tracing::error!(?addresses, ?error, "a listener failed: peers cannot reach this node there");
            }
        }
    }

    fn told(&mut self, told: Told) {
        // Claims, words of claims, or groups may be new.
        self.parts.embedding.wake();
        match told {
            Told::Opened(opened) => {
                self.parts.agents.moved(opened.group, true);
                self.step(Input::Opened(opened));
                self.vouch_for_all();
                self.rendezvous.begin(self.uptime.ms());
            }
            Told::Closed(group) => {
                self.parts.agents.moved(group, true);
                self.parts.events.tell(EventKind::GroupLeft { group_id: group.to_string() });
                self.keep_row(subscription_row(&group), None, || {});
                self.step(Input::Closed(group));
                self.vouch_for_all();
                self.rendezvous.begin(self.uptime.ms());
            }
            Told::News(news) => {
                let moved = news::tell(&self.parts.events, &self.parts.store, &news);
                count_refused(&self.parts.metrics, &news);
                if moved.trade {
                    self.parts.agents.moved(news.group, moved.offers);
                }
                self.parts.indexes.nudge(news.group);
                let is_of_members = news.members.is_some();
                self.step(Input::News(news));
                if is_of_members {
                    self.vouch_for_all();
                    // A group may be here now, or the last of it that was met may be in it no more.
                    self.find_each_other();
                }
            }
            Told::Ingested(ticket, result) => self.step(Input::Ingested { ticket, result }),
        }
    }

    /// What identities of this node say, of those who are here by it.
    pub(super) fn said_to_be_here(&self, is_meant: impl Fn(&Identity) -> bool) -> Vec<Presence> {
        let machine = &self.parts.machine;
        let groups = machine.groups().flat_map(|group| machine.presences(group)).map(Verified::presence);
        let is_here = |record: &&Presence| is_meant(&record.member) && record.status != Status::Offline;
        groups.filter(is_here).cloned().collect()
    }

    /// Where this node or an agent of it has said that it is here, it says that it goes, and gives its peers a moment to take that.
    async fn say_good_bye(&mut self) {
        let said = self.said_to_be_here(|member| self.parts.keys.contains_key(member));
        if said.is_empty() {
            return;
        }
        for Presence { group, member, metadata, .. } in said {
            self.set_presence(member, group, Status::Offline, metadata);
        }
        let told = async {
            while self.parts.machine.is_telling_presence() {
                let now_ms = self.uptime.ms();
                let wake_ms = self.parts.machine.next_wake_ms().map_or(u64::MAX, |at_ms| at_ms.saturating_sub(now_ms));
                match tokio::time::timeout(Duration::from_millis(wake_ms), self.parts.network.next()).await {
                    Ok(event) => self.network(event),
                    Err(_) => self.step(Input::Tick),
                }
            }
        };
        if tokio::time::timeout(Duration::from_millis(limits::PRESENCE_STOP_MS), told).await.is_err() {
            tracing::info!("some members were not told in time that this node is going offline");
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Ask { ticket, peer, request } => {
                let id = self.parts.network.request(Protocol::Sync, peer, request.encode());
                self.asked.insert(id, Asked::Sync(ticket));
            }
            Output::Answer { id, response } => self.respond(id, &response),
            Output::Serve { id, peer, asks_as, request } => self.serve(id, peer, asks_as, request),
            Output::TellPeers { id, asker, peers } => {
                let told = self.parts.network.where_are(&peers, &asker);
                let told = told.into_iter().map(|(peer, addresses)| Met { peer, addresses }).collect();
                self.respond(id, &Response::Peers(told));
            }
            Output::HeardOf(peer, addresses) => {
                self.parts.network.heard_of(&peer, &addresses);
            }
            Output::Show { ticket, peer, group, agents, is_knock } => {
                let delegations = self.delegations(group, &agents);
                let door = knock::Door { group, from: self.parts.me, to: peer };
                let request = wire::shown(&door, delegations, is_knock);
                let id = self.parts.network.request(Protocol::Sync, peer, request.encode());
                self.asked.insert(id, Asked::Sync(ticket));
            }
            Output::Ingest { ticket, peer, group, blocks, objects } => {
                let batch = Unchecked { ticket, peer, group, blocks, objects };
                if let Err(batch) = self.parts.verifier.push(batch) {
                    tracing::warn!(%peer, "too much waits to be verified: dropped a batch");
                    self.step(Input::Ingested { ticket: batch.ticket, result: Err(NotIngested::Failed) });
                }
            }
            Output::Settle(group, own) => self.settle(group, own),
            Output::ShutOut(group, mark) => self.shut_out(group, mark),
            Output::Seal(group) => self.seal(group),
            Output::Ban(peer, why) => {
                if let Some(time) = self.parts.network.ban(peer, why) {
                    self.parts.metrics.banned();
                    tracing::warn!(%peer, minutes = time.as_secs() / 60, why, "sent a peer away for its faults");
                }
            }
            Output::Notice(notice) => self.notice(&notice),
            Output::Market(output) => self.market_act(output),
        }
    }

    /// What agents of this node sign for it: for a while, from now on.
    fn delegations(&self, group: GroupId, agents: &[Identity]) -> Vec<delegation::Unverified> {
        let from_ms = unix_ms();
        let expires_ms = from_ms.saturating_add(limits::DELEGATION_LIFE_MS);
        let sign = |agent: &Identity| {
            let key = self.parts.keys.get(agent)?;
            Some(Delegation { group, agent: *agent, node: self.parts.me, from_ms, expires_ms }.sign(key))
        };
        agents.iter().filter_map(sign).collect()
    }

    /// Has the writer make a seal. The machine asks again where it comes to nothing.
    fn seal(&self, group: GroupId) {
        let writer = self.parts.writer.clone();
        tokio::spawn(async move {
            if let Err(error) = writer.write(Task::Seal { group }).await {
                tracing::warn!(%group, %error, "could not seal");
            }
        });
    }

    fn notice(&self, notice: &Notice) {
        match notice {
            Notice::CaughtUp { group, peer, blocks } => {
                tracing::debug!(%group, %peer, blocks, "caught up");
                self.parts.events.tell(EventKind::SyncFinished {
                    group_id: group.to_string(),
                    peer_id: peer.to_string(),
                    blocks: *blocks as u64,
                });
            }
            Notice::Progress { group, peer, blocks } => tracing::debug!(%group, %peer, blocks, "pulling"),
            Notice::NotShared { group, peer } => {
                tracing::debug!(%group, %peer, "does not share the group");
                self.parts.events.tell(EventKind::NotShared { group_id: group.to_string(), peer_id: peer.to_string() });
            }
            Notice::Presence(record) => {
                let Presence { group, member, status, time_ms, .. } = record.presence();
                self.parts.events.tell(EventKind::Presence {
                    group_id: group.to_string(),
                    member_id: member.to_string(),
                    status: *status,
                    updated_ms: *time_ms,
                });
            }
            Notice::EarlyPresence { group, member, ahead_ms } => {
                tracing::info!(%group, %member, ahead_ms, "a presence record from the future: check the machines' clocks");
                self.parts.events.tell(EventKind::ClockAhead {
                    group_id: group.to_string(),
                    member_id: member.to_string(),
                    ahead_ms: *ahead_ms,
                });
            }
            Notice::Fault { peer, severity, what } => {
                self.parts.metrics.fault(severity_word(*severity));
                tracing::info!(%peer, ?severity, what, "a peer's fault");
            }
        }
    }

    pub(super) fn respond(&mut self, id: InboundId, response: &Response) {
        if let Response::Refused(refused) = response {
            self.parts.metrics.refused("sync", verdict(refused));
        }
        self.send(id, response.encode());
    }

    /// Reads for a peer on another thread: at most [`limits::SERVING`] at a time, the others wait in line.
    fn serve(&self, id: InboundId, peer: Identity, asks_as: Vec<Identity>, request: Request) {
        let (serving, store, done) = (Arc::clone(&self.serving), Arc::clone(&self.parts.store), self.done.clone());
        tokio::spawn(async move {
            let permit = serving.acquire_owned().await;
            let read = move || {
                let _held = permit;
                let answer = || {
                    let view = store.view()?;
                    let Some(group) = request.group() else { return Ok(Response::Refused(Refused::NotShared)) };
                    match view.group(&group)? {
                        Some(rows) => serve(rows.as_ref(), &asks_as, request),
                        None => Ok(Response::Refused(Refused::NotShared)),
                    }
                };
                let response = answer().unwrap_or_else(|error| {
                    tracing::error!(%error, "could not read for a peer");
                    Response::Refused(Refused::Failed)
                });
                response.encode()
            };
            let failed = || Response::Refused(Refused::Failed).encode();
            let bytes = tokio::task::spawn_blocking(read).await.unwrap_or_else(|_| failed());
            // The driver is gone only when everything stops.
            let _stopping = done.send(Done::Served { id, peer, bytes }).await;
        });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Served { id, peer, bytes } => {
                self.send(id, bytes);
                self.step(Input::Served(peer));
            }
            Done::MarketServed { id, peer, bytes } => {
                self.send(id, bytes);
                self.step_market(MarketInput::Served(peer));
            }
            Done::NodeServed { id, peer, bytes, fault } => {
                self.send(id, bytes);
                fault.into_iter().for_each(|severity| self.step(Input::Malformed(peer, severity)));
            }
            Done::Looked(wanted, found) => self.looked(wanted, found),
            Done::Stored(package, result) => self.step_market(MarketInput::Stored(package, result)),
        }
    }

    /// Has the doubt about our own line taken off a group.
    fn settle(&self, group: GroupId, own: Vec<(Identity, Vec<Tip>)>) {
        let (writer, as_of) = (self.parts.writer.clone(), Some(own));
        tokio::spawn(async move {
            if let Err(error) = writer.write(Task::Settle { group, as_of }).await {
                tracing::warn!(%error, %group, "still writes nothing: the next pull tries again");
            }
        });
    }

    /// Has noted what members say of this node's membership.
    fn shut_out(&self, group: GroupId, mark: Option<(Gone, Identity)>) {
        let writer = self.parts.writer.clone();
        tokio::spawn(async move {
            if let Err(error) = writer.write(Task::ShutOut { group, mark }).await {
                tracing::warn!(%error, %group, "what members say of this node's membership was not noted");
            }
        });
    }

    /// Has a row of the node's own stored, or taken away.
    pub(super) fn keep_row(&self, key: Vec<u8>, row: Option<Vec<u8>>, then: impl FnOnce() + Send + 'static) {
        let writer = self.parts.writer.clone();
        tokio::spawn(async move {
            let registry = Registry { local: vec![(key, row)], ..Registry::default() };
            match writer.register(registry).await {
                Ok(()) => then(),
                Err(error) => tracing::warn!(%error, "a setting of this node was not stored"),
            }
        });
    }

    /// Has the address book stored, and then answers whoever changed it.
    pub(super) fn keep_book(&self, then: impl FnOnce() + Send + 'static) {
        let entries = self.parts.network.book_entries();
        let book = entries.into_iter().map(|entry| (entry.peer, cbor::encode(&entry))).collect();
        let bans = cbor::encode(&self.parts.network.bans());
        let writer = self.parts.writer.clone();
        tokio::spawn(async move {
            let local = vec![(BANS_ROW.to_vec(), Some(bans))];
            let registry = Registry { book: Some(book), local, ..Registry::default() };
            if let Err(error) = writer.register(registry).await {
                tracing::warn!(%error, "the address book was not stored");
            }
            then();
        });
    }
}

/// Counts the blocks that the ledger refuses now and did not before.
fn count_refused(metrics: &Metrics, news: &News) {
    for change in &news.changes {
        if let Outcome::Refused(_, refusal) = &change.after {
            metrics.rejected(Problem::from(refusal).code.as_str());
        }
    }
}

const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "low",
        Severity::Mid => "mid",
        Severity::High => "high",
        Severity::Fatal => "fatal",
    }
}

const fn verdict(refused: &Refused) -> &'static str {
    match refused {
        Refused::NotShared => "not_shared",
        Refused::Gone(_) => "gone",
        Refused::Busy(_) => "busy",
        Refused::Malformed => "malformed",
        Refused::Failed => "failed",
    }
}

/// How heavily a frame that is none counts. One that ends early is what a sender leaves behind who loses power.
const fn blame(what: Malformed) -> Severity {
    match what {
        Malformed::Truncated => Severity::Low,
        // What no frame of ours has is announced, or packed: it is to cost memory.
        Malformed::TooLong { .. } => Severity::Fatal,
        Malformed::Empty | Malformed::Encoding(_) | Malformed::Compression | Malformed::Trailing => Severity::High,
    }
}
