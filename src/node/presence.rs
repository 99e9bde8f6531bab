//! Presence: what members say of themselves, kept in memory and handed from node to node.
//!
//! For each member the newest record is held, and for each connected member's node a set of those whose record it may lack. What
//! is sent is the record held at that moment, so **a newer one takes the place of what waits**: however often a member speaks, a peer
//! gets at most one message a [`limits::PRESENCE_PAUSE_MS`], and nothing is stored. What comes from a peer is judged in the sequence
//! of cost: form, membership, date, age, and only then the signature.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use super::io::{NoAnswer, Notice, Output, Severity, Ticket};
use super::machine::{Errand, Machine};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::limits;
use crate::presence::{Invalid, Presence, Unverified, Verified};
use crate::wire::{self, Refused, Request, Response};

/// What a record takes in memory besides its bytes: signature, keys, and what holds them.
const OVERHEAD_BYTES: usize = 96;

/// The newest record of one member.
#[derive(Debug)]
struct Held {
    record: Verified,
    /// Whether it was set here, and no peer has sent it.
    is_ours: bool,
}

/// What one connected member's node may lack.
#[derive(Debug, Default)]
struct Link {
    /// Members whose record it may lack.
    owed: BTreeSet<Identity>,
    /// When to send those.
    send_at_ms: Option<u64>,
    /// The message that it has not acknowledged, and whose records it has.
    sending: Option<(Ticket, Vec<Identity>)>,
    /// When the next message may go out.
    rested_at_ms: u64,
    /// Messages in a row that it has not taken.
    failures: u32,
}

impl Link {
    fn owe(&mut self, member: Identity, at_ms: u64) {
        self.owed.insert(member);
        self.send_at(at_ms);
    }

    fn send_at(&mut self, at_ms: u64) {
        let at_ms = at_ms.max(self.rested_at_ms);
        self.send_at_ms = Some(self.send_at_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
    }

    fn due_ms(&self) -> Option<u64> {
        self.send_at_ms.filter(|_| self.sending.is_none())
    }
}

/// The presence records of one group.
#[derive(Debug, Default)]
pub(super) struct Presences {
    held: BTreeMap<Identity, Held>,
    /// What they take in memory.
    bytes: usize,
    links: BTreeMap<Identity, Link>,
    /// Identities that have set their presence here. What they signed before a restart, and peers give back, counts whatever our
    /// clock says: it may have run back since.
    own: BTreeSet<Identity>,
}

/// What a peer's record came to.
enum Came {
    /// It is held now; whether it says something else than the one before.
    New(bool),
    /// It is held already.
    Same,
    /// A newer one is held.
    Old,
    /// Its member is none that we know.
    Stranger,
    /// It is dated ahead of our clock.
    Early(u64),
    /// There is no room for one so old.
    NoRoom,
}

impl Presences {
    pub(super) fn drop_peer(&mut self, peer: &Identity) {
        self.links.remove(peer);
    }

    pub(super) fn owe_all(&mut self, peer: Identity, at_ms: u64) {
        for member in self.held.keys() {
            self.links.entry(peer).or_default().owe(*member, at_ms);
        }
    }

    /// Drops what is known of those who are no members any more.
    pub(super) fn forget(&mut self, gone: &BTreeSet<Identity>) {
        for member in gone {
            self.remove(member);
            self.own.remove(member);
            self.links.remove(member);
        }
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        self.links.values().filter_map(Link::due_ms).min()
    }

    fn remove(&mut self, member: &Identity) {
        if let Some(held) = self.held.remove(member) {
            self.bytes -= held.record.bytes().len() + OVERHEAD_BYTES;
        }
    }

    /// Holds a record, and makes room for it at the cost of those dated earliest; tells whether it says something else than the one
    /// before, and is no mere sign of life.
    fn hold(&mut self, record: Verified, is_ours: bool) -> bool {
        let Presence { member, status, metadata, .. } = record.presence();
        let member = *member;
        let before = self.held.get(&member).map(|held| held.record.presence());
        let is_change = before.is_none_or(|before| (before.status, &before.metadata) != (*status, metadata));
        self.bytes += record.bytes().len() + OVERHEAD_BYTES;
        let before = self.held.insert(member, Held { record, is_ours });
        if let Some(before) = &before {
            self.bytes -= before.record.bytes().len() + OVERHEAD_BYTES;
        }
        while self.bytes > limits::PRESENCE_GROUP_BYTES {
            let others = self.held.iter().filter(|(_, held)| !held.is_ours);
            let earliest = others.min_by_key(|(_, held)| held.record.presence().time_ms).map(|(member, _)| *member);
            let Some(earliest) = earliest else { break };
            self.remove(&earliest);
        }
        is_change
    }

    /// Judges a record that a peer has sent.
    fn receive(
        &mut self,
        group: &GroupId,
        sent: Unverified,
        is_member: impl Fn(&Identity) -> bool,
        latest_ms: u64,
        last: &mut Option<Identity>,
    ) -> Result<(Identity, Came), Invalid> {
        let opened = sent.open(group)?;
        let (member, time_ms) = (opened.claimed().member, opened.claimed().time_ms);
        if last.replace(member).is_some_and(|last| last >= member) {
            return Err(Invalid::Sequence);
        }
        if !is_member(&member) {
            return Ok((member, Came::Stranger));
        }
        match self.held.get(&member) {
            Some(held) if opened.is(&held.record) => return Ok((member, Came::Same)),
            Some(held) if !opened.is_newer_than(&held.record) => return Ok((member, Came::Old)),
            _ => {}
        }
        if time_ms > latest_ms && !self.own.contains(&member) {
            return Ok((member, Came::Early(time_ms - latest_ms)));
        }
        let is_change = self.hold(opened.verify()?, false);
        Ok((member, if self.held.contains_key(&member) { Came::New(is_change) } else { Came::NoRoom }))
    }

    /// What is to be sent now: to whom, whose records, and these.
    fn take_due(&mut self, now_ms: u64) -> Vec<(Identity, Vec<Identity>, Vec<Unverified>)> {
        let Self { held, links, .. } = self;
        let mut due = Vec::new();
        for (peer, link) in links.iter_mut().filter(|(_, link)| link.due_ms().is_some_and(|at_ms| at_ms <= now_ms)) {
            let (mut members, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
            while records.len() < limits::PRESENCE_RECORDS && bytes < limits::PRESENCE_MESSAGE_BYTES {
                let Some(member) = link.owed.pop_first() else { break };
                let Some(held) = held.get(&member) else { continue };
                bytes += held.record.bytes().len();
                members.push(member);
                records.push(held.record.to_unverified());
            }
            link.send_at_ms = None;
            if records.is_empty() {
                continue;
            }
            link.rested_at_ms = now_ms + limits::PRESENCE_PAUSE_MS;
            if !link.owed.is_empty() {
                link.send_at(now_ms);
            }
            due.push((*peer, members, records));
        }
        due
    }
}

impl Machine {
    /// The newest records of a group's members that are here.
    pub fn presences(&self, group: &GroupId) -> impl Iterator<Item = &Verified> {
        let held = self.groups.get(group).map(|group| &group.presences.held);
        held.into_iter().flat_map(BTreeMap::values).map(|held| &held.record)
    }

    /// The groups that are here.
    pub fn groups(&self) -> impl Iterator<Item = &GroupId> {
        self.groups.keys()
    }

    /// Whether somebody is known to be a member of a group that is here.
    #[must_use]
    pub fn has_member(&self, group: &GroupId, who: &Identity) -> bool {
        self.groups.get(group).is_some_and(|group| group.has_member(who))
    }

    /// Whether a connected member has yet to take what it may lack.
    #[must_use]
    pub fn is_telling_presence(&self) -> bool {
        let mut links = self.groups.values().flat_map(|group| group.presences.links.values());
        links.any(|link| link.sending.is_some() || !link.owed.is_empty())
    }

    /// How the next record of one of this node's identities is to be dated: by the clock, and later than its last. One that was set
    /// here further ahead of the clock than peers take it is no measure; one that a peer has given back is.
    #[must_use]
    pub fn presence_time_ms(&self, group: &GroupId, member: &Identity, clock_ms: u64) -> u64 {
        let held = self.groups.get(group).and_then(|group| group.presences.held.get(member));
        let latest_ms = clock_ms.saturating_add(self.settings.max_drift_ms);
        match held.map(|held| (held.record.presence().time_ms, held.is_ours)) {
            Some((last_ms, is_ours)) if last_ms >= clock_ms && (!is_ours || last_ms <= latest_ms) => {
                last_ms.saturating_add(1)
            }
            _ => clock_ms,
        }
    }

    /// One of this node's identities says what it is up to.
    pub(super) fn set_presence(&mut self, now_ms: u64, record: Verified, out: &mut Vec<Output>) {
        let (group, member) = (record.presence().group, record.presence().member);
        let Some(sync) = self.groups.get_mut(&group).filter(|group| group.has_member(&member)) else { return };
        sync.presences.own.insert(member);
        if sync.presences.hold(record.clone(), true) {
            out.push(Output::Notice(Notice::Presence(record)));
        }
        let members: Vec<Identity> = self.peers.keys().filter(|peer| sync.admits(peer)).copied().collect();
        for peer in members {
            sync.presences.links.entry(peer).or_default().owe(member, now_ms);
        }
    }

    /// A member sends records. `now_ms` is the machine's clock, `clock_ms` the world's.
    pub(super) fn presences_asked(
        &mut self,
        (now_ms, clock_ms): (u64, u64),
        rng: &mut impl Rng,
        peer: Identity,
        sent: wire::Presences,
        out: &mut Vec<Output>,
    ) -> Response {
        let group = sent.group;
        let latest_ms = clock_ms.saturating_add(self.settings.max_drift_ms);
        let Some(sync) = self.groups.get_mut(&group) else { return Response::Refused(Refused::NotShared) };
        let mut presences = std::mem::take(&mut sync.presences);
        let (mut last, mut strangers, mut fault) = (None, false, false);
        for sent in sent.records {
            match presences.receive(&group, sent, |member| sync.has_member(member), latest_ms, &mut last) {
                Ok((member, Came::New(is_change))) => {
                    let lacks = |other: &&Identity| sync.admits(other) && **other != peer && **other != member;
                    let others = self.peers.keys().filter(lacks).copied().collect();
                    relay(&mut presences, now_ms, rng, member, others);
                    presences.links.entry(peer).or_default().owed.remove(&member);
                    let held = presences.held.get(&member).filter(|_| is_change);
                    out.extend(held.map(|held| Output::Notice(Notice::Presence(held.record.clone()))));
                }
                Ok((member, Came::Same)) => {
                    presences.links.entry(peer).or_default().owed.remove(&member);
                }
                Ok((member, Came::Old)) => presences.links.entry(peer).or_default().owe(member, now_ms),
                Ok((_, Came::Stranger)) => strangers = true,
                Ok((member, Came::Early(ahead_ms))) => {
                    out.push(Output::Notice(Notice::EarlyPresence { group, member, ahead_ms }));
                }
                // Where versions differ, nobody is at fault; where there is no room, neither.
                Ok((_, Came::NoRoom)) | Err(Invalid::Version(_)) => {}
                Err(_) => {
                    fault = true;
                    break;
                }
            }
        }
        sync.presences = presences;
        if fault {
            self.blame(now_ms, peer, Severity::High, "a presence record that is none", out);
            return Response::Refused(Refused::Malformed);
        }
        // One of us two has not heard yet who came or went. Asked again, we agree.
        if strangers { Response::Refused(Refused::Busy(limits::PRESENCE_AGAIN_MS)) } else { Response::Taken }
    }

    /// A peer has taken records, or has not.
    pub(super) fn presences_answered(
        &mut self,
        now_ms: u64,
        (ticket, peer, group): (Ticket, Identity, GroupId),
        result: &Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        if matches!(result, Err(NoAnswer::Malformed)) {
            self.blame(now_ms, peer, Severity::High, "an answer that is none", out);
        }
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let Some(link) = sync.presences.links.get_mut(&peer) else { return };
        let Some((_, members)) = link.sending.take_if(|(sent, _)| *sent == ticket) else { return };
        let least_ms = match result {
            Ok(Response::Refused(Refused::Busy(after_ms))) => (*after_ms).clamp(10, limits::REQUEST_TIMEOUT_MS),
            Ok(Response::Refused(Refused::NotShared | Refused::Gone(_) | Refused::Failed)) | Err(NoAnswer::Lost) => 0,
            // Taken; or refused in a way that another try would not change.
            _ => {
                link.failures = 0;
                return;
            }
        };
        link.failures = link.failures.saturating_add(1);
        let pause_ms = (limits::PULL_RETRY_MS << link.failures.min(6)).min(limits::PULL_RETRY_MOST_MS);
        link.owed.extend(members);
        link.rested_at_ms = now_ms + pause_ms.max(least_ms);
        // What else waits, waits as long: the peer takes nothing now.
        link.send_at_ms = None;
        link.send_at(now_ms);
    }

    /// Sends what is due.
    pub(super) fn send_presences(&mut self, now_ms: u64, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        for (peer, members, records) in sync.presences.take_due(now_ms) {
            let request = Arc::new(Request::Presences(wire::Presences { group, records }));
            let ticket = self.ticket(peer, group, Errand::Presences);
            let link = self.groups.get_mut(&group).and_then(|sync| sync.presences.links.get_mut(&peer));
            if let Some(link) = link {
                link.sending = Some((ticket, members));
            }
            out.push(Output::Ask { ticket, peer, request });
        }
    }
}

/// Has a record that came from a peer handed on: to a few at random after a short pause, and to the rest a little later, unless they
/// have sent it to us by then. Most have it from its author; who is connected to nobody else has not.
fn relay(presences: &mut Presences, now_ms: u64, rng: &mut impl Rng, member: Identity, mut others: Vec<Identity>) {
    others.shuffle(rng);
    for (number, other) in others.into_iter().enumerate() {
        let pause = if number < limits::RELAY_FANOUT { limits::RELAY_PAUSE_MS } else { limits::PRESENCE_LATER_MS };
        presences.links.entry(other).or_default().owe(member, now_ms + rng.random_range(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;
    use crate::presence::Status;

    const GROUP: GroupId = GroupId::from_bytes([7; 32]);

    fn key(number: u16) -> SecretKey {
        let mut seed = [3; 32];
        seed[..2].copy_from_slice(&number.to_be_bytes());
        SecretKey::from_seed(&seed)
    }

    fn record(number: u16, time_ms: u64, filler: usize) -> Verified {
        let metadata = Some(format!("{{\"a\":\"{}\"}}", "x".repeat(filler)));
        let presence =
            Presence { group: GROUP, member: key(number).identity(), status: Status::Idle, metadata, time_ms };
        presence.sign(&key(number)).unwrap()
    }

    fn counted(presences: &Presences) -> usize {
        presences.held.values().map(|held| held.record.bytes().len() + OVERHEAD_BYTES).sum()
    }

    #[test]
    fn past_its_bytes_a_group_keeps_its_own_and_the_latest() {
        let filler = limits::PRESENCE_METADATA_BYTES - 8;
        let fit = (limits::PRESENCE_GROUP_BYTES / (limits::PRESENCE_METADATA_BYTES + OVERHEAD_BYTES)) as u16;
        let mut presences = Presences::default();
        presences.hold(record(0, 1, filler), true);
        for number in 1..fit + 50 {
            presences.hold(record(number, 1_000 + u64::from(number), filler), false);
            assert!(presences.bytes <= limits::PRESENCE_GROUP_BYTES);
        }
        assert_eq!(presences.bytes, counted(&presences));
        let is_held = |presences: &Presences, number: u16| presences.held.contains_key(&key(number).identity());
        assert!(is_held(&presences, 0) && is_held(&presences, fit + 49) && !is_held(&presences, 1));
        // One that is older than all there are finds no room, and the reader says so.
        let mut last = None;
        let sent = record(fit + 60, 2, filler).to_unverified();
        let came = presences.receive(&GROUP, sent, |_| true, u64::MAX, &mut last);
        assert!(matches!(came, Ok((_, Came::NoRoom))) && !is_held(&presences, fit + 60));
        // What is replaced or forgotten gives its bytes back.
        presences.hold(record(fit + 49, 9_000, 1), false);
        assert_eq!(presences.bytes, counted(&presences));
        let all = presences.held.keys().copied().collect();
        presences.forget(&all);
        assert_eq!((presences.bytes, presences.held.len()), (0, 0));
    }

    #[test]
    fn what_is_owed_goes_out_in_bounded_messages_and_the_newest_of_it() {
        let mut presences = Presences::default();
        let peer = key(999).identity();
        for number in 0..600 {
            presences.hold(record(number, 1, 10), false);
        }
        presences.owe_all(peer, 5);
        assert_eq!(presences.next_due_ms(), Some(5));
        assert!(presences.take_due(4).is_empty());
        presences.hold(record(0, 2, 20), false);
        let (mut now_ms, mut sent, mut messages) = (5, BTreeMap::new(), 0);
        while let Some(due_ms) = presences.next_due_ms() {
            assert!(messages == 0 || due_ms == now_ms + limits::PRESENCE_PAUSE_MS);
            now_ms = due_ms;
            for (to, members, records) in presences.take_due(now_ms) {
                assert!(to == peer && members.is_sorted() && members.len() == records.len());
                assert!(records.len() <= limits::PRESENCE_RECORDS);
                sent.extend(members.into_iter().zip(records));
                messages += 1;
            }
        }
        assert_eq!((messages, sent.len()), (3, 600));
        assert_eq!(sent[&key(0).identity()], record(0, 2, 20).to_unverified());
    }

    #[test]
    fn records_are_dated_by_the_clock_and_after_the_last() {
        use super::super::io::Opened;
        use super::super::machine::Settings;
        let me = key(1).identity();
        let mut machine = Machine::new(me, Settings { sync_interval_ms: 1_000, auto: true, max_drift_ms: 100 });
        machine.open_at_start(
            Opened {
                group: GROUP,
                frontier: crate::chain::Frontier::default(),
                members: vec![me],
                to_seal: None,
                former: BTreeMap::new(),
                shut_out: None,
                in_doubt: false,
            },
            crate::node::Subscription::default(),
        );
        let date = |machine: &mut Machine, held_ms: u64, is_ours: bool| {
            let presences = &mut machine.groups.get_mut(&GROUP).unwrap().presences;
            presences.hold(record(1, held_ms, 1), is_ours);
            machine.presence_time_ms(&GROUP, &me, 1_000)
        };
        for (held_ms, is_ours, dated) in [
            (999, true, 1_000),
            (1_000, true, 1_001),
            (1_100, true, 1_101),
            // Nobody has taken this one: the clock was wrong, and is right now.
            (1_101, true, 1_000),
            // This one was taken: the clock is wrong now.
            (9_000, false, 9_001),
        ] {
            assert_eq!(date(&mut machine, held_ms, is_ours), dated, "{held_ms} {is_ours}");
        }
    }
}
