//! The protocol machine: who is asked for what, when, and what is done with the answers.
//!
//! Pure: time, randomness and everything that happens come in through [`Machine::step`], and all it does goes out as
//! [`Output`]s, so a seed replays a run. It knows who is connected, who is a member, and how far each group reaches; it never
//! sees a row. **Every question of a peer is answered exactly once, and every ticket is waited for until it is reported.**
//!
//! How a group stays in step: what is new is pushed at once by who wrote it, and announced by who heard of it; whoever lacks
//! what a push builds on, or connects, or has not asked for `sync_interval_ms`, pulls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::Rng;

use super::faults::Faults;
use super::group::GroupSync;
use super::io::{InboundId, Input, NoAnswer, NotIngested, Notice, Opened, Output, Severity, Ticket};
use super::market::{self, Around, Market};
use super::measure::Full;
use super::session::Session;
use super::shut_out::Word;
use super::subscription::Subscription;
use crate::chain::{GroupId, Tip};
use crate::identity::Identity;
use crate::limits;
use crate::wire::{Batch, Parted, Peers, Reached, Refused, Request, Response};

/// Settings of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Pause between two repair pulls from one peer, milliseconds.
    pub sync_interval_ms: u64,
    /// Whether groups are pulled by themselves; otherwise only when somebody asks for it (`LB_SYNC_AUTO_START`).
    pub auto: bool,
    /// How far ahead of our clock a presence record may be dated, milliseconds.
    pub max_drift_ms: u64,
}

/// What a ticket stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// An answer to a probe or a pull of the session with this number.
    Pull(u64),
    /// An answer to a request for single blocks or objects.
    Want(u64),
    /// An acknowledgement.
    Push,
    /// An acknowledgement of presence records.
    Presences,
    /// An acknowledgement of delegations.
    Show,
    /// An acknowledgement of being told that it is no member.
    Part,
    /// An answer to where others are.
    Exchange,
    /// A batch of the session on its way into the store.
    Store(u64),
    /// Single blocks or objects on their way into the store.
    StoreWanted(u64),
    /// A peer's push on its way into the store.
    StorePush(InboundId),
}

#[derive(Debug)]
struct Pending {
    peer: Identity,
    group: GroupId,
    errand: Errand,
}

/// A connected peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Requests of its that are being served.
    pub(super) serving: usize,
    /// Pushes to it that it has not acknowledged.
    pub(super) pushing: usize,
}

/// Batches in a row with nothing new and more to come, after which a pull is given up.
const STALE_BATCHES: usize = 8;

/// The protocol machine of one node.
#[derive(Debug)]
pub struct Machine {
    /// The identities of this node: its own, and its agents'.
    pub(super) own: BTreeSet<Identity>,
    /// The node's own: what its connections prove.
    pub(super) me: Identity,
    pub(super) settings: Settings,
    pub(super) peers: BTreeMap<Identity, Peer>,
    faults: Faults,
    pub(super) groups: BTreeMap<GroupId, GroupSync>,
    pending: BTreeMap<Ticket, Pending>,
    next_ticket: u64,
    next_session: u64,
    pub(super) market: Market,
    pub(super) full: Full,
}

impl Machine {
    /// A machine that knows nobody and keeps nothing yet.
    #[must_use]
    pub fn new(me: Identity, settings: Settings) -> Self {
        Self {
            own: BTreeSet::from([me]),
            me,
            settings,
            peers: BTreeMap::new(),
            faults: Faults::default(),
            groups: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_ticket: 0,
            next_session: 0,
            market: Market::default(),
            full: Full::default(),
        }
    }

    /// Takes in what happened at `now_ms`, on a clock that never runs back, and says what to do.
    pub fn step(&mut self, now_ms: u64, rng: &mut impl Rng, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Tick => {}
            Input::Opened(opened) => self.open(now_ms, opened),
            Input::Closed(group) => {
                self.groups.remove(&group);
            }
            Input::Connected(peer) => {
                self.peers.entry(peer).or_default();
                self.market.connected(now_ms, peer);
                for group in self.groups.values_mut() {
                    group.reset_peer(&peer);
                    group.delegations.show_at(peer, now_ms);
                    group.pull_at(peer, now_ms);
                    group.offer_presences(peer, now_ms);
                    group.part_at(&peer, now_ms);
                }
            }
            Input::Disconnected(peer) => {
                self.peers.remove(&peer);
                self.market.disconnected(&peer);
                for group in self.groups.values_mut() {
                    group.drop_peer(&peer);
                }
            }
            Input::Asked { peer, id, request, clock_ms } => {
                let answer = |response| Output::Answer { id, response };
                // Before it is looked at who asks: this says who does.
                let shown = match &request {
                    Request::Acting(sent) => Some(self.acting_shown((now_ms, clock_ms), peer, sent, &mut out)),
                    Request::Knock(knock) => Some(self.knocked((now_ms, clock_ms), peer, knock, &mut out)),
                    _ => None,
                };
                if let Some(response) = shown {
                    out.push(answer(response));
                    self.act_on_time(now_ms, rng, &mut out);
                    return out;
                }
                // None is left that names no group.
                let Some(group) = request.group() else { return out };
                match (self.refusal(now_ms, peer, &group), request) {
                    (Some(refused), _) => out.push(answer(Response::Refused(refused))),
                    (None, Request::Presences(sent)) => {
                        let response = self.presences_asked((now_ms, clock_ms), rng, peer, sent, &mut out);
                        out.push(answer(response));
                    }
                    (None, request) => self.asked(now_ms, (peer, group), id, request, &mut out),
                }
            }
            Input::Malformed(peer, severity) => self.blame(now_ms, peer, severity, "a message that is none", &mut out),
            Input::Blamed(peer, severity, what) => self.blame(now_ms, peer, severity, what, &mut out),
            Input::Answered { ticket, result } => self.answered(now_ms, rng, ticket, result, &mut out),
            Input::Served(peer) => {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.serving = peer.serving.saturating_sub(1);
                }
            }
            Input::Ingested { ticket, result } => self.ingested(now_ms, rng, ticket, result, &mut out),
            Input::News(news) => self.news(now_ms, rng, &news, &mut out),
            Input::Presence(record) => self.set_presence(now_ms, record, &mut out),
            Input::Market(clock_ms, input) => {
                let groups = &self.groups;
                let is_member =
                    &|group: &GroupId, who: &Identity| groups.get(group).is_some_and(|group| group.has_member(who));
                let around = Around { now_ms, clock_ms, drift_ms: self.settings.max_drift_ms, is_member };
                let mut acts = Vec::new();
                self.market.step(&around, rng, input, &mut acts);
                self.market_acts(now_ms, acts, &mut out);
            }
            Input::Hosts(agents) => self.host(now_ms, agents),
            Input::Subscribe(group, subscription) => {
                if let Some(group) = self.groups.get_mut(&group) {
                    group.subscribe(subscription, self.peers.keys(), now_ms);
                }
            }
            Input::SyncNow(group, only) => {
                if let Some(group) = self.groups.get_mut(&group) {
                    for peer in self.peers.keys().filter(|peer| only.is_none_or(|only| only == **peer)) {
                        group.pull_anyway_at(*peer, now_ms);
                    }
                }
            }
        }
        self.act_on_time(now_ms, rng, &mut out);
        out
    }

    /// When the machine wants to be stepped next, if nothing else happens before.
    #[must_use]
    pub fn next_wake_ms(&self) -> Option<u64> {
        let groups = self.groups.values().filter_map(|group| group.next_due_ms(|peer| self.peers.contains_key(peer)));
        groups.chain(self.market.next_wake_ms()).min()
    }

    /// Whether a peer would be asked for a group: it is a member, or we know none yet.
    #[must_use]
    pub fn may_have(&self, group: &GroupId, peer: &Identity) -> bool {
        self.groups.get(group).is_some_and(|group| group.may_have(peer))
    }

    /// What is for sale, as far as it is known here, when the world's clock shows so many milliseconds since 1970 UTC.
    pub fn offers(&mut self, clock_ms: u64) -> &market::Book {
        self.market.book(clock_ms)
    }

    fn market_acts(&mut self, now_ms: u64, acts: Vec<market::io::Output>, out: &mut Vec<Output>) {
        for act in acts {
            match act {
                market::io::Output::Blame(peer, severity, what) => self.blame(now_ms, peer, severity, what, out),
                act => out.push(Output::Market(act)),
            }
        }
    }

    /// Takes in a group that was kept before the start, when nobody is connected yet, and how it is synced.
    pub fn open_at_start(&mut self, opened: Opened, subscription: Subscription) {
        let group = opened.group;
        self.open(0, opened);
        if let Some(group) = self.groups.get_mut(&group) {
            group.subscribe(subscription, std::iter::empty(), 0);
        }
    }

    /// Tickets that are not reported yet.
    #[cfg(test)]
    pub(crate) fn unreported(&self) -> usize {
        self.pending.len()
    }

    fn open(&mut self, now_ms: u64, opened: Opened) {
        let (id, to_seal) = (opened.group, opened.to_seal);
        let mut group = GroupSync::new(opened, self.settings.auto, now_ms);
        for peer in self.peers.keys() {
            group.reset_peer(peer);
            group.pull_at(*peer, now_ms);
            group.delegations.show_at(*peer, now_ms);
            group.part_at(peer, now_ms);
        }
        group.schedule_seal(now_ms, to_seal);
        self.groups.insert(id, group);
    }

    pub(super) fn ticket(&mut self, peer: Identity, group: GroupId, errand: Errand) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.pending.insert(ticket, Pending { peer, group, errand });
        ticket
    }

    pub(super) fn ask(&mut self, peer: Identity, request: Arc<Request>, errand: Errand, out: &mut Vec<Output>) {
        let Some(group) = request.group() else { return };
        let ticket = self.ticket(peer, group, errand);
        out.push(Output::Ask { ticket, peer, request });
    }

    /// Why a peer may not ask about a group now.
    fn refusal(&mut self, now_ms: u64, peer: Identity, group: &GroupId) -> Option<Refused> {
        if self.peers.entry(peer).or_default().serving >= limits::SERVED_PER_PEER {
            self.full.serving += 1;
            return Some(Refused::Busy(limits::BUSY_RETRY_MS));
        }
        let Some(group) = self.groups.get_mut(group) else { return Some(Refused::NotShared) };
        let is_member = group.admits(&peer);
        if !is_member {
            // Nobody is blamed: a new member asks before we have heard of it, and a ban would tell a stranger which groups are
            // here. Before the first block we know no member: then a push is a hint that there is something to pull.
            group.named_by(peer, now_ms);
        }
        (!is_member).then(|| group.gone(&peer).map_or(Refused::NotShared, Refused::Gone))
    }

    /// A member asks something.
    fn asked(
        &mut self,
        now_ms: u64,
        (peer, group): (Identity, GroupId),
        id: InboundId,
        request: Request,
        out: &mut Vec<Output>,
    ) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        group.was_asked((now_ms, self.settings.sync_interval_ms), &self.own, &peer, &request);
        match request {
            // What is new here when it goes on is pulled then; and it is told again.
            Request::Push(_) if group.is_paused() => {
                let response = Response::Refused(Refused::Busy(limits::PAUSED_RETRY_MS));
                out.push(Output::Answer { id, response });
            }
            Request::Push(push) => {
                let ticket = self.ticket(peer, push.group, Errand::StorePush(id));
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.serving += 1;
                }
                let objects = push.objects.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
                out.push(Output::Ingest { ticket, peer, group: push.group, blocks: push.blocks, objects });
            }
            Request::Have(have) => {
                for reached in &have.tips {
                    group.peer_has(now_ms, &peer, reached.author, &reached.tip);
                }
                if have.tips.iter().any(|reached| !group.frontier.covers(&reached.author, &reached.tip)) {
                    group.pull_at(peer, now_ms);
                }
                out.push(Output::Answer { id, response: Response::Taken });
            }
            Request::Peers(Peers { group }) => self.exchange_asked(id, peer, &group, out),
            Request::Parted(Parted { group, why }) => {
                self.said(now_ms, peer, group, Word::Refuses(why), out);
                out.push(Output::Answer { id, response: Response::Taken });
            }
            request => {
                if let Some(state) = self.peers.get_mut(&peer) {
                    state.serving += 1;
                }
                out.push(Output::Serve { id, peer, asks_as: group.asks_as(&peer), request });
            }
        }
    }

    /// A peer has answered.
    fn answered(
        &mut self,
        now_ms: u64,
        rng: &mut impl Rng,
        ticket: Ticket,
        result: Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        let Some(Pending { peer, group, errand }) = self.pending.remove(&ticket) else { return };
        match errand {
            Errand::Push => return self.push_answered(now_ms, peer, group, &result, out),
            Errand::Show => return self.shown(now_ms, peer, group, &result, out),
            Errand::Part => return self.part_answered(now_ms, peer, group, &result, out),
            Errand::Exchange => return self.exchanged(now_ms, peer, result, out),
            Errand::Presences => return self.presences_answered(now_ms, (ticket, peer, group), &result, out),
            _ => {}
        }
        let (Errand::Pull(number) | Errand::Want(number)) = errand else { return };
        let answers_another = matches!(
            (&errand, &result),
            (_, Err(NoAnswer::Malformed) | Ok(Response::Taken | Response::Peers(_)))
                | (Errand::Want(_), Ok(Response::Same | Response::Differs))
        );
        if answers_another {
            self.blame(now_ms, peer, Severity::High, "an answer that is none", out);
        }
        let word = match &result {
            Ok(Response::Batch(_) | Response::Same | Response::Differs) => Some(Word::Serves),
            Ok(Response::Refused(Refused::Gone(why))) => Some(Word::Refuses(*why)),
            _ => None,
        };
        if let Some(word) = word {
            self.said(now_ms, peer, group, word, out);
        }
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let Some(session) = sync.session(number) else { return };
        match (errand, result) {
            (Errand::Pull(_), Ok(Response::Same)) => self.end_session(now_ms, rng, group, out),
            (Errand::Pull(_), Ok(Response::Differs)) => {
                session.probed = true;
                session.asking = false;
                self.go_on(group, out);
            }
            (Errand::Pull(_), Ok(Response::Batch(batch))) => self.batch(now_ms, rng, group, batch, out),
            (_, Ok(Response::Batch(batch))) => {
                let ticket = self.ticket(peer, group, Errand::StoreWanted(number));
                out.push(ingest(ticket, peer, group, batch));
            }
            (_, Ok(Response::Refused(Refused::Busy(after_ms)))) => {
                sync.abort_session(&peer);
                sync.pull_anyway_at(peer, now_ms + after_ms.clamp(10, limits::REQUEST_TIMEOUT_MS));
            }
            (_, Ok(Response::Refused(Refused::NotShared | Refused::Gone(_)))) => {
                sync.abort_session(&peer);
                sync.not_shared(&peer, now_ms, rng, self.settings.sync_interval_ms);
                out.push(Output::Notice(Notice::NotShared { group, peer }));
            }
            (_, Ok(_) | Err(_)) => {
                sync.abort_session(&peer);
                sync.failed(&peer, now_ms, rng);
            }
        }
    }

    /// A batch of the session: on into the store, and the next one is asked for before it is there.
    fn batch(&mut self, now_ms: u64, rng: &mut impl Rng, group: GroupId, batch: Batch, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let Some(session) = &mut sync.session else { return };
        let (peer, number) = (session.peer, session.number);
        session.asking = false;
        session.more = batch.more;
        if batch.more && batch.blocks.is_empty() {
            sync.abort_session(&peer);
            sync.failed(&peer, now_ms, rng);
            self.blame(now_ms, peer, Severity::Mid, "a batch that leads nowhere", out);
            return;
        }
        let mut tips: BTreeMap<Identity, Vec<Tip>> = BTreeMap::new();
        for Reached { author, tip } in &batch.reached {
            tips.entry(*author).or_default().push(tip.clone());
        }
        for (author, tips) in tips {
            if session.frontier.len() < limits::GROUP_MEMBERS || !session.frontier.tips(&author).is_empty() {
                session.frontier.set(author, tips);
            }
        }
        session.storing += 1;
        for reached in &batch.reached {
            sync.peer_has(now_ms, &peer, reached.author, &reached.tip);
        }
        let ticket = self.ticket(peer, group, Errand::Store(number));
        out.push(ingest(ticket, peer, group, batch));
        self.go_on(group, out);
    }

    /// What was handed to the store is durable, or was refused.
    fn ingested(
        &mut self,
        now_ms: u64,
        rng: &mut impl Rng,
        ticket: Ticket,
        result: Result<super::engine::Ingested, NotIngested>,
        out: &mut Vec<Output>,
    ) {
        let Some(Pending { peer, group, errand }) = self.pending.remove(&ticket) else { return };
        if let Errand::StorePush(id) = errand {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.serving = state.serving.saturating_sub(1);
            }
            let response = match &result {
                Ok(report) if report.fault.is_none() => Response::Taken,
                Ok(_) | Err(NotIngested::Invalid) => Response::Refused(Refused::Malformed),
                Err(NotIngested::NotYet | NotIngested::Failed) => Response::Refused(Refused::Failed),
            };
            out.push(Output::Answer { id, response });
        }
        if matches!(result, Err(NotIngested::Invalid)) {
            self.blame(now_ms, peer, Severity::High, "an invalid block", out);
        }
        if matches!(result, Err(NotIngested::NotYet)) {
            // Its clock or ours is wrong. It is tried again, seldom enough that this alone never bans it.
            self.blame(now_ms, peer, Severity::Low, "a block from the future", out);
        }
        if matches!(&result, Ok(report) if report.fault.is_some()) {
            self.blame(now_ms, peer, Severity::High, "a block that contradicts what it builds on", out);
        }
        let Some(sync) = self.groups.get_mut(&group) else { return };
        match (errand, result) {
            (Errand::StorePush(_), Ok(report)) if !report.missing.is_empty() => sync.pull_at(peer, now_ms),
            (Errand::Store(number) | Errand::StoreWanted(number), Ok(report)) => {
                let Some(session) = sync.session(number) else { return };
                match errand {
                    Errand::Store(_) => session.storing -= 1,
                    _ => {
                        session.asking = false;
                        session.has_no_objects |= session.asked_for_objects && report.objects == 0;
                    }
                }
                session.blocks += report.stored;
                session.missing = report.missing;
                session.wanted = report.wanted;
                // Blocks that only wait are no progress: whoever invents what they wait for could go on for ever.
                let is_progress = report.stored > 0 || (session.asks_all && report.known > 0);
                session.stale = if is_progress { 0 } else { session.stale + 1 };
                let is_stale = session.more && session.stale >= STALE_BATCHES;
                let turn_is_over = now_ms.saturating_sub(session.started_ms) > limits::PULL_TURN_MS;
                if is_stale || (report.stored == 0 && !sync.is_founded()) {
                    sync.abort_session(&peer);
                    sync.failed(&peer, now_ms, rng);
                    self.blame(now_ms, peer, Severity::Mid, "blocks that build on nothing", out);
                    return;
                }
                if turn_is_over {
                    // Whoever else is due comes first; then it goes on where it was.
                    sync.abort_session(&peer);
                    sync.pull_anyway_at(peer, now_ms);
                    return;
                }
                let Some(session) = sync.session(number) else { return };
                if session.more {
                    out.push(Output::Notice(Notice::Progress { group, peer, blocks: session.blocks }));
                }
                self.session_stored(now_ms, rng, group, out);
            }
            (Errand::Store(number) | Errand::StoreWanted(number), Err(_)) if sync.session(number).is_some() => {
                sync.abort_session(&peer);
                sync.failed(&peer, now_ms, rng);
            }
            _ => {}
        }
    }

    /// Goes on with a session after the store has taken what came: more, what is still missing, or the end.
    fn session_stored(&mut self, now_ms: u64, rng: &mut impl Rng, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let Some(session) = &mut sync.session else { return };
        if session.more || session.storing > 0 || session.asking {
            self.go_on(group, out);
            return;
        }
        let (peer, number) = (session.peer, session.number);
        match session.want(group) {
            Some(request) => {
                session.asking = true;
                self.ask(peer, Arc::new(request), Errand::Want(number), out);
            }
            None => self.end_session(now_ms, rng, group, out),
        }
    }

    fn end_session(&mut self, now_ms: u64, rng: &mut impl Rng, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        if let Some(Session { peer, blocks, .. }) = sync.session.take() {
            sync.succeeded(&peer, now_ms, rng, self.settings.sync_interval_ms);
            out.push(Output::Notice(Notice::CaughtUp { group, peer, blocks }));
            self.exchange(now_ms, group, peer, out);
        }
    }

    /// Asks for the next batch of a session, while the ones before are verified and stored.
    fn go_on(&mut self, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let Some(session) = &mut sync.session else { return };
        if session.asking || !session.more || session.storing >= limits::BATCHES_STORING {
            return;
        }
        session.asking = true;
        let (peer, number, request) = (session.peer, session.number, session.request(group));
        self.ask(peer, Arc::new(request), Errand::Pull(number), out);
    }

    /// Starts what is due: pulls, and announcements of what others have sent us.
    fn act_on_time(&mut self, now_ms: u64, rng: &mut impl Rng, out: &mut Vec<Output>) {
        let groups: Vec<GroupId> = self.groups.keys().copied().collect();
        for group in groups {
            self.show_delegations(now_ms, group, out);
            self.announce(now_ms, rng, group, out);
            self.tell(now_ms, group, out);
            self.part(now_ms, group, out);
            self.send_presences(now_ms, group, out);
            let Some(sync) = self.groups.get_mut(&group) else { continue };
            if sync.take_seal(now_ms) {
                out.push(Output::Seal(group));
            }
            let is_connected = |peer: &Identity| self.peers.contains_key(peer);
            out.extend(sync.settle(&self.own, is_connected).map(|own| Output::Settle(group, own)));
            if sync.start_session(now_ms, self.next_session, is_connected) {
                self.next_session += 1;
                self.go_on(group, out);
            }
        }
        let mut acts = Vec::new();
        self.market.act_on_time(now_ms, rng, &mut acts);
        self.market_acts(now_ms, acts, out);
    }

    pub(super) fn blame(
        &mut self,
        now_ms: u64,
        peer: Identity,
        severity: Severity,
        what: &'static str,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Notice(Notice::Fault { peer, severity, what }));
        if self.faults.add(now_ms, peer, severity) {
            out.push(Output::Ban(peer, what));
        }
    }
}

fn ingest(ticket: Ticket, peer: Identity, group: GroupId, batch: Batch) -> Output {
    let objects = batch.objects.into_iter().map(serde_bytes::ByteBuf::into_vec).collect();
    Output::Ingest { ticket, peer, group, blocks: batch.blocks, objects }
}
