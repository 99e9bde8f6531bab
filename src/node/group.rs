//! One group in the machine's eyes: how far it reaches here, who has what, and when whom to ask.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, RngExt};

use super::acting::Delegations;
use super::doubt::Doubt;
use super::engine::{Fresh, News, ToSeal};
use super::io::Opened;
use super::measure::Behind;
use super::presence::Presences;
use super::session::Session;
use super::shut_out::Word;
use super::subscription::{Subscription, SyncState};
use crate::chain::gone::Gone;
use crate::chain::{Frontier, GroupId, Tip};
use crate::identity::Identity;
use crate::limits;
use crate::wire::{AuthorTips, Have, Push, Reached, Request};

/// What is known of one peer in one group.
#[derive(Debug, Default)]
pub(super) struct PeerSync {
    /// When to pull from it.
    pull_at_ms: Option<u64>,
    /// Whether that was put off, because it asked and had what is here.
    postponed: bool,
    /// Pulls in a row that failed.
    pub(super) failures: u32,
    /// What it is known to have.
    pub(super) has: Frontier,
    /// What of that is not here, the first to be heard of.
    pub(super) behind: Option<Behind>,
    /// When to tell it what it may lack, where something was not pushed to it.
    tell_at_ms: Option<u64>,
    /// When it was last asked where others are.
    exchanged_ms: Option<u64>,
    /// What it last said of this node's membership.
    word: Option<Word>,
    /// When to tell it that it is no member.
    part_at_ms: Option<u64>,
}

/// One group's sync.
#[derive(Debug)]
pub(super) struct GroupSync {
    /// What is durable here.
    pub(super) frontier: Frontier,
    pub(super) session: Option<Session>,
    /// Whether it is pulled by itself where nobody has said anything.
    auto: bool,
    subscription: Subscription,
    /// When a pull last brought everything that a peer had.
    pub(super) synced_at_ms: Option<u64>,
    members: BTreeSet<Identity>,
    /// Who was named as a member and is none.
    former: BTreeMap<Identity, Gone>,
    /// Why none of this node's identities is a member any more, as members say, and who of them does.
    pub(super) shut_out: Option<(Gone, Identity)>,
    pub(super) peers: BTreeMap<Identity, PeerSync>,
    outgoing: Vec<std::sync::Arc<Fresh>>,
    announcement: BTreeMap<Identity, Tip>,
    announce_at_ms: Option<u64>,
    /// Set while our own line is in doubt.
    doubt: Option<Doubt>,
    pub(super) presences: Presences,
    pub(super) delegations: Delegations,
    /// When to seal what is open.
    seal_at_ms: Option<u64>,
    /// Until when nothing is sealed after the opening, unless a pull is done before.
    seal_after_ms: u64,
}

impl GroupSync {
    pub(super) fn new(opened: Opened, auto: bool, now_ms: u64) -> Self {
        let is_alone = opened.members.len() <= 1;
        Self {
            auto,
            subscription: Subscription::default(),
            synced_at_ms: None,
            frontier: opened.frontier,
            session: None,
            members: opened.members.into_iter().collect(),
            former: opened.former,
            shut_out: opened.shut_out,
            doubt: opened.in_doubt.then(Doubt::default),
            peers: BTreeMap::new(),
            outgoing: Vec::new(),
            announcement: BTreeMap::new(),
            announce_at_ms: None,
            presences: Presences::default(),
            delegations: Delegations::default(),
            seal_at_ms: None,
            seal_after_ms: if is_alone { now_ms } else { now_ms + limits::SEAL_LISTEN_MS },
        }
    }

    /// Takes in what waits to be sealed: at once where somebody waits for it, else before long and together with what comes meanwhile.
    pub(super) fn schedule_seal(&mut self, now_ms: u64, waits: Option<ToSeal>) {
        self.seal_at_ms = match waits {
            None | Some(ToSeal { blocks: 0, .. }) => None,
            Some(ToSeal { urgent: true, .. }) => Some(now_ms),
            Some(_) => self.seal_at_ms.or(Some(now_ms + limits::SEAL_INTERVAL_MS)),
        };
    }

    fn seal_due_ms(&self) -> Option<u64> {
        self.seal_at_ms.map(|at_ms| at_ms.max(self.seal_after_ms))
    }

    /// Whether a seal is due. If it comes to nothing, it is tried again.
    pub(super) fn take_seal(&mut self, now_ms: u64) -> bool {
        let is_due = self.seal_due_ms().is_some_and(|at_ms| at_ms <= now_ms);
        if is_due {
            self.seal_at_ms = Some(now_ms + limits::SEAL_INTERVAL_MS);
        }
        is_due
    }

    pub(super) fn is_founded(&self) -> bool {
        !self.frontier.is_empty()
    }

    pub(super) fn has_member(&self, peer: &Identity) -> bool {
        self.members.contains(peer)
    }

    /// Why a peer that is not admitted is no member, where it was named as one, or somebody was for whom it acts.
    pub(super) fn gone(&self, peer: &Identity) -> Option<Gone> {
        std::iter::once(peer).chain(self.delegations.acts_for(peer)).find_map(|who| self.former.get(who)).copied()
    }

    /// Where what a connected peer last said of this node's membership is kept: only a member's word counts.
    pub(super) fn last_word(&mut self, peer: &Identity) -> Option<&mut Option<Word>> {
        if !self.admits(peer) {
            return None;
        }
        self.peers.get_mut(peer).map(|sync| &mut sync.word)
    }

    /// What the connected members last said of this node's membership.
    pub(super) fn words(&self) -> impl Iterator<Item = (Identity, Word)> {
        let said = self.peers.iter().filter_map(|(peer, sync)| Some((*peer, sync.word?)));
        said.filter(|(peer, _)| self.admits(peer))
    }

    /// The peers of which something is known: those that are connected.
    pub(super) fn known_peers(&self) -> impl Iterator<Item = &Identity> {
        self.peers.keys()
    }

    /// Whether one of these is a member.
    pub(super) fn holds(&self, own: &BTreeSet<Identity>) -> bool {
        own.iter().any(|identity| self.has_member(identity))
    }

    /// When a connected peer is to be told that it is no member.
    pub(super) fn parting(&mut self, peer: &Identity) -> Option<&mut Option<u64>> {
        self.peers.get_mut(peer).map(|sync| &mut sync.part_at_ms)
    }

    /// When which connected peers are to be told that they are no members.
    pub(super) fn partings(&self) -> impl Iterator<Item = (&Identity, u64)> {
        self.peers.iter().filter_map(|(peer, sync)| Some((peer, sync.part_at_ms?)))
    }

    /// Takes in the members, and who is none any more.
    pub(super) fn set_members(&mut self, members: &[Identity], former: &BTreeMap<Identity, Gone>) {
        self.former.clone_from(former);
        let members: BTreeSet<Identity> = members.iter().copied().collect();
        let before = std::mem::replace(&mut self.members, members);
        let gone = &before - &self.members;
        self.presences.forget(&gone);
    }

    /// Takes up with a peer that is let in from now on: it is asked, told and sent what the others were.
    pub(super) fn welcome(&mut self, peer: Identity, now_ms: u64) {
        self.pull_at(peer, now_ms);
        self.tell_at(&peer, now_ms);
        self.offer_presences(peer, now_ms);
    }

    /// Has a connected peer sent all presence records that are here, if it is a member.
    pub(super) fn offer_presences(&mut self, peer: Identity, at_ms: u64) {
        if self.admits(&peer) {
            self.presences.owe_all(peer, at_ms);
        }
    }

    /// Whom to ask: members, and anybody while we know none; in doubt also who has named the group.
    pub(super) fn may_have(&self, peer: &Identity) -> bool {
        let named_it = || self.doubt.as_ref().is_some_and(|doubt| doubt.named_by.contains(peer));
        !self.is_founded() || self.admits(peer) || named_it()
    }

    /// A peer that is no member as far as is known here has named the group: it may have something for us before our first block,
    /// and when the block that added it is one that we lost.
    pub(super) fn named_by(&mut self, peer: Identity, now_ms: u64) {
        let is_new = |doubt: &mut Doubt| doubt.named_by.len() < limits::GROUP_MEMBERS && doubt.named_by.insert(peer);
        if !self.is_founded() || self.doubt.as_mut().is_some_and(is_new) {
            self.pull_at(peer, now_ms);
        }
    }

    /// Takes in what a member's question shows of what it has. In doubt about our own line, its first word on that counts.
    ///
    /// Where it has what is here, nothing need be asked of it for an interval, once: two that are in step ask half as often.
    pub(super) fn was_asked(
        &mut self,
        (now_ms, interval_ms): (u64, u64),
        own: &BTreeSet<Identity>,
        peer: &Identity,
        request: &Request,
    ) {
        let theirs = match request {
            Request::Pull(pull) => Some(crate::wire::frontier(pull.frontier.clone()).digest()),
            Request::Probe(probe) => probe.digest.as_slice().try_into().ok(),
            _ => None,
        };
        if self.doubt.is_none() && theirs == Some(self.frontier.digest()) {
            let interval_ms = self.subscription.interval_ms.unwrap_or(interval_ms);
            if let Some(sync) = self.peers.get_mut(peer)
                && sync.pull_at_ms.is_some_and(|at_ms| at_ms > now_ms)
                && sync.failures == 0
                && !sync.postponed
            {
                sync.pull_at_ms = Some(now_ms + interval_ms);
                sync.postponed = true;
            }
        }
        match request {
            Request::Pull(pull) => {
                if let Some(doubt) = &mut self.doubt {
                    let theirs = crate::wire::frontier(pull.frontier.clone());
                    let has =
                        |author: &Identity| self.frontier.tips(author).iter().all(|tip| theirs.covers(author, tip));
                    doubt.named(peer, own.iter().all(has));
                }
                let tips =
                    pull.frontier.iter().flat_map(|AuthorTips { author, tips }| tips.iter().map(|tip| (*author, tip)));
                tips.clone().for_each(|(author, tip)| self.peer_has(now_ms, peer, author, tip));
                if tips.into_iter().any(|(author, tip)| !self.frontier.covers(&author, tip)) {
                    self.pull_at(*peer, now_ms);
                }
            }
            Request::Probe(probe) => {
                if let Some(doubt) = self.doubt.as_mut().filter(|_| probe.digest.as_slice() == self.frontier.digest()) {
                    doubt.named(peer, true);
                }
            }
            _ => {}
        }
    }

    /// Takes in whether our own line is in doubt, where that is news: then everybody is asked. Who sends blocks of it has them.
    pub(super) fn doubt(&mut self, own: &BTreeSet<Identity>, news: &News, now_ms: u64) {
        match news.in_doubt {
            Some(true) => {
                self.doubt = Some(Doubt::default());
                let peers: Vec<Identity> = self.peers.keys().copied().collect();
                peers.into_iter().for_each(|peer| self.pull_at(peer, now_ms));
            }
            Some(false) => self.doubt = None,
            None => {}
        }
        let Some(doubt) = &mut self.doubt else { return };
        for (from, _) in news.blocks.iter().filter(|(_, fresh)| own.contains(&fresh.author)) {
            from.iter().for_each(|peer| doubt.named(peer, true));
        }
    }

    /// The tips of our own lines, once when enough is known of them for the doubt to end.
    pub(super) fn settle(
        &mut self,
        own: &BTreeSet<Identity>,
        is_connected: impl Fn(&Identity) -> bool,
    ) -> Option<Vec<(Identity, Vec<Tip>)>> {
        let connected: Vec<Identity> =
            self.peers.keys().filter(|peer| is_connected(peer) && self.may_have(peer)).copied().collect();
        let doubt = self.doubt.as_mut().filter(|doubt| !doubt.is_told)?;
        let lines = own.iter().map(|author| (*author, self.frontier.tips(author).to_vec()));
        let lines: Vec<_> = lines.collect();
        let is_blank = lines.iter().all(|(_, tips)| tips.is_empty());
        let others = self.members.iter().filter(|member| !own.contains(member));
        doubt.is_told = doubt.is_over(is_blank, others, connected.iter());
        doubt.is_told.then_some(lines)
    }

    pub(super) fn reset_peer(&mut self, peer: &Identity) {
        self.peers.insert(*peer, PeerSync::default());
        self.presences.drop_peer(peer);
        self.delegations.drop_peer(peer);
    }

    pub(super) fn drop_peer(&mut self, peer: &Identity) {
        self.peers.remove(peer);
        self.presences.drop_peer(peer);
        self.delegations.drop_peer(peer);
        self.abort_session(peer);
    }

    /// When a connected peer was last asked where others are.
    pub(super) fn exchanged_ms(&mut self, peer: &Identity) -> Option<&mut Option<u64>> {
        self.peers.get_mut(peer).map(|sync| &mut sync.exchanged_ms)
    }

    /// Has the group pulled from a peer, unless it is to be pulled only when somebody asks for it and can wait for that.
    pub(super) fn pull_at(&mut self, peer: Identity, at_ms: u64) {
        let needs_it = !self.is_founded() || self.doubt.is_some();
        if self.subscription.paused.map_or(self.auto || needs_it, |paused| !paused) && self.is_chosen(&peer) {
            self.pull_anyway_at(peer, at_ms);
        }
    }

    fn is_chosen(&self, peer: &Identity) -> bool {
        self.subscription.peers.is_empty() || self.subscription.peers.contains(peer)
    }

    /// Whether nothing is taken in.
    pub(super) fn is_paused(&self) -> bool {
        self.subscription.paused == Some(true)
    }

    /// Syncs as is said from now on. What was due is due no more, and everybody who is to be asked is asked; a pull under way goes on.
    pub(super) fn subscribe<'a>(
        &mut self,
        subscription: Subscription,
        connected: impl Iterator<Item = &'a Identity>,
        now_ms: u64,
    ) {
        self.subscription = subscription;
        self.peers.values_mut().for_each(|sync| sync.pull_at_ms = None);
        connected.for_each(|peer| self.pull_at(*peer, now_ms));
    }

    pub(super) fn sync_state(&self, now_ms: u64) -> SyncState {
        let failing = self.peers.iter().filter(|(peer, sync)| sync.failures > 0 && self.may_have(peer));
        SyncState {
            subscription: self.subscription.clone(),
            synced_ago_ms: self.synced_at_ms.map(|at_ms| now_ms.saturating_sub(at_ms)),
            failing: failing.map(|(peer, sync)| (*peer, sync.failures)).collect(),
        }
    }

    pub(super) fn pull_anyway_at(&mut self, peer: Identity, at_ms: u64) {
        let sync = self.peers.entry(peer).or_default();
        sync.pull_at_ms = Some(sync.pull_at_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
    }

    /// The session that an errand was for, unless it is over.
    pub(super) fn session(&mut self, number: u64) -> Option<&mut Session> {
        self.session.as_mut().filter(|session| session.number == number)
    }

    pub(super) fn abort_session(&mut self, peer: &Identity) {
        if self.session.as_ref().is_some_and(|session| session.peer == *peer) {
            self.session = None;
            if let Some(doubt) = &mut self.doubt {
                doubt.asked(peer);
            }
        }
    }

    /// Starts a pull from the peer that has been due for longest, unless one is under way.
    pub(super) fn start_session(&mut self, now_ms: u64, number: u64, is_connected: impl Fn(&Identity) -> bool) -> bool {
        if self.session.is_some() {
            return false;
        }
        let due = self
            .peers
            .iter()
            .filter(|(peer, sync)| {
                sync.pull_at_ms.is_some_and(|at_ms| at_ms <= now_ms) && is_connected(peer) && self.may_have(peer)
            })
            .min_by_key(|(_, sync)| sync.pull_at_ms)
            .map(|(peer, _)| *peer);
        let Some(peer) = due else { return false };
        if let Some(sync) = self.peers.get_mut(&peer) {
            sync.pull_at_ms = None;
        }
        let asks_all = !self.admits(&peer);
        self.session = Some(Session {
            number,
            peer,
            // Who is no member as far as is known here sees the group's id, which it has named itself.
            frontier: if asks_all { Frontier::default() } else { self.frontier.clone() },
            asks_all,
            asking: false,
            storing: 0,
            more: true,
            probed: false,
            blocks: 0,
            missing: Vec::new(),
            wanted: Vec::new(),
            started_ms: now_ms,
            stale: 0,
            asked: BTreeSet::new(),
            asked_for_objects: false,
            has_no_objects: false,
            wants_left: limits::WANTS_PER_PULL,
        });
        true
    }

    pub(super) fn next_due_ms(&self, is_connected: impl Fn(&Identity) -> bool) -> Option<u64> {
        let pull = self
            .peers
            .iter()
            .filter(|(peer, _)| self.session.is_none() && is_connected(peer) && self.may_have(peer))
            .filter_map(|(_, sync)| sync.pull_at_ms)
            .min();
        let tell = self.peers.iter().filter(|(peer, _)| is_connected(peer) && self.admits(peer));
        let tell = tell.filter_map(|(_, sync)| sync.tell_at_ms).min();
        let part = self.partings().filter(|(peer, _)| is_connected(peer)).map(|(_, at_ms)| at_ms).min();
        let seal_and_presence = self.seal_due_ms().into_iter().chain(self.presences.next_due_ms());
        let seal_and_presence = seal_and_presence.chain(self.delegations.next_due_ms());
        pull.into_iter().chain(tell).chain(part).chain(self.announce_at_ms).chain(seal_and_presence).min()
    }

    /// A pull has brought everything: the next is due in an interval.
    pub(super) fn succeeded(&mut self, peer: &Identity, now_ms: u64, rng: &mut impl Rng, interval_ms: u64) {
        if let Some(doubt) = &mut self.doubt {
            doubt.answered(peer);
            // Those for whom it acts have nothing that it has not.
            self.delegations.acts_for(peer).for_each(|agent| doubt.answered(agent));
        }
        self.seal_after_ms = 0;
        self.synced_at_ms = Some(now_ms);
        self.pull_in_an_interval(peer, now_ms, rng, interval_ms);
    }

    fn pull_in_an_interval(&mut self, peer: &Identity, now_ms: u64, rng: &mut impl Rng, interval_ms: u64) {
        if let Some(sync) = self.peers.get_mut(peer) {
            sync.failures = 0;
            sync.postponed = false;
        }
        let interval_ms = self.subscription.interval_ms.unwrap_or(interval_ms);
        self.pull_at(*peer, now_ms + interval_ms - rng.random_range(0..=interval_ms / 10));
    }

    /// A pull has failed: the next is due later and later, up to half a minute, and never not at all.
    pub(super) fn failed(&mut self, peer: &Identity, now_ms: u64, rng: &mut impl Rng) {
        if let Some(sync) = self.peers.get_mut(peer) {
            sync.failures = sync.failures.saturating_add(1);
            let pause = (limits::PULL_RETRY_MS << sync.failures.min(6)).min(limits::PULL_RETRY_MOST_MS);
            sync.pull_at_ms = Some(now_ms + rng.random_range(pause / 2..=pause));
        }
    }

    /// A peer does not share the group. While we have nothing of it, somebody may be adding us right now.
    pub(super) fn not_shared(&mut self, peer: &Identity, now_ms: u64, rng: &mut impl Rng, interval_ms: u64) {
        if self.is_founded() {
            self.pull_in_an_interval(peer, now_ms, rng, interval_ms);
        } else {
            self.failed(peer, now_ms, rng);
        }
    }

    pub(super) fn lacks(&self, peer: &Identity, tips: &[Reached]) -> bool {
        self.peers
            .get(peer)
            .is_none_or(|sync| tips.iter().any(|reached| !sync.has.covers(&reached.author, &reached.tip)))
    }

    /// Whether blocks of our own wait to be pushed.
    pub(super) const fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Notes a block of our own that is to be pushed.
    pub(super) fn outgoing(&mut self, fresh: &std::sync::Arc<Fresh>) {
        self.outgoing.push(std::sync::Arc::clone(fresh));
    }

    /// What of our own is to be pushed: in as few messages as hold it. What is too long for one is announced.
    pub(super) fn take_pushes(&mut self, group: GroupId) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut push = Push { group, blocks: vec![], objects: vec![] };
        let mut bytes = 0;
        for fresh in std::mem::take(&mut self.outgoing) {
            let size = fresh.block.body.len() + 96 + fresh.objects.iter().map(|object| object.len() + 8).sum::<usize>();
            if size > limits::PUSH_BYTES {
                let tip = Reached { author: fresh.author, tip: fresh.tip.clone() };
                requests.push(Request::Have(Have { group, tips: vec![tip] }));
                continue;
            }
            if bytes + size > limits::PUSH_BYTES || push.blocks.len() >= limits::BATCH_BLOCKS {
                let full = std::mem::replace(&mut push, Push { group, blocks: vec![], objects: vec![] });
                requests.push(Request::Push(full));
                bytes = 0;
            }
            bytes += size;
            push.blocks.push(fresh.block.clone());
            push.objects.extend(fresh.objects.iter().cloned());
        }
        if !push.blocks.is_empty() {
            requests.push(Request::Push(push));
        }
        requests
    }

    /// Notes that a peer may lack something, and when to tell it.
    pub(super) fn tell_at(&mut self, peer: &Identity, at_ms: u64) {
        if let Some(sync) = self.peers.get_mut(peer) {
            sync.tell_at_ms = Some(sync.tell_at_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
        }
    }

    /// Members that are to be told now what they may lack.
    pub(super) fn due_to_be_told(&self, now_ms: u64) -> Vec<Identity> {
        let due = self
            .peers
            .iter()
            .filter(|(peer, sync)| sync.tell_at_ms.is_some_and(|at_ms| at_ms <= now_ms) && self.admits(peer));
        due.map(|(peer, _)| *peer).collect()
    }

    /// What a member that is due is to be told: the tips that it is not known to have.
    pub(super) fn take_untold(&mut self, peer: &Identity) -> Option<Vec<Reached>> {
        let sync = self.peers.get_mut(peer)?;
        sync.tell_at_ms = None;
        let tips = self
            .frontier
            .authors()
            .flat_map(|(author, tips)| tips.iter().map(|tip| Reached { author: *author, tip: tip.clone() }));
        let lacking = tips.filter(|reached| !sync.has.covers(&reached.author, &reached.tip));
        let tips: Vec<_> = lacking.take(limits::GROUP_MEMBERS).collect();
        (!tips.is_empty()).then_some(tips)
    }

    /// Notes what a peer has sent us and others may lack: it is announced after a short, random pause, and once for all that
    /// comes meanwhile.
    pub(super) fn announce(&mut self, now_ms: u64, rng: &mut impl Rng, author: Identity, tip: Tip) {
        self.announcement.insert(author, tip);
        self.announce_at_ms.get_or_insert_with(|| now_ms + rng.random_range(limits::RELAY_PAUSE_MS));
    }

    pub(super) fn take_announcement(&mut self, now_ms: u64) -> Option<Vec<Reached>> {
        self.announce_at_ms.take_if(|at_ms| *at_ms <= now_ms)?;
        let tips = std::mem::take(&mut self.announcement);
        Some(tips.into_iter().map(|(author, tip)| Reached { author, tip }).collect())
    }
}
