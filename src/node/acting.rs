//! Delegations: for whom a peer replicates besides itself, and for whom this node does.
//!
//! What a peer shows takes the place of what it showed before, so a shorter list ends what was longer. **A peer is admitted where it is a
//! member, or acts for one now**: whoever asks looks at the members as they are, so a member that goes takes its node with it at once.

use std::collections::{BTreeMap, BTreeSet};

use super::group::GroupSync;
use super::io::{NoAnswer, Output, Severity};
use super::machine::{Errand, Machine};
use super::shut_out::Word;
use crate::chain::GroupId;
use crate::delegation::knock::{Door, Knock};
use crate::delegation::{Invalid, Shown};
use crate::identity::Identity;
use crate::limits;
use crate::wire::{Acting, Refused, Response};

/// What is to be shown to one peer.
#[derive(Debug)]
struct Showing {
    at_ms: u64,
    /// Whether it was shown any.
    has_some: bool,
}

/// The delegations of one group.
#[derive(Debug, Default)]
pub(super) struct Delegations {
    /// For whom connected peers act, and until when.
    acting: BTreeMap<Identity, BTreeMap<Identity, u64>>,
    showing: BTreeMap<Identity, Showing>,
}

impl Delegations {
    pub(super) fn drop_peer(&mut self, peer: &Identity) {
        self.acting.remove(peer);
        self.showing.remove(peer);
    }

    pub(super) fn show_at(&mut self, peer: Identity, at_ms: u64) {
        let showing = self.showing.entry(peer).or_insert(Showing { at_ms, has_some: false });
        showing.at_ms = showing.at_ms.min(at_ms);
    }

    /// Those for whom a peer acts.
    pub(super) fn acts_for(&self, peer: &Identity) -> impl Iterator<Item = &Identity> {
        self.acting.get(peer).into_iter().flat_map(BTreeMap::keys)
    }

    /// Forgets what is over.
    fn expire(&mut self, now_ms: u64) {
        for agents in self.acting.values_mut() {
            agents.retain(|_, until_ms| *until_ms > now_ms);
        }
        self.acting.retain(|_, agents| !agents.is_empty());
    }

    pub(super) fn next_due_ms(&self) -> Option<u64> {
        let ends = self.acting.values().flat_map(BTreeMap::values).copied();
        ends.chain(self.showing.values().map(|showing| showing.at_ms)).min()
    }
}

impl GroupSync {
    /// Whether a peer may know what members know: it is one, or acts for one.
    pub(super) fn admits(&self, peer: &Identity) -> bool {
        self.has_member(peer) || self.delegations.acts_for(peer).any(|agent| self.has_member(agent))
    }

    /// Those whose membership lets a peer ask, itself among them.
    pub(super) fn asks_as(&self, peer: &Identity) -> Vec<Identity> {
        let agents = self.delegations.acts_for(peer).filter(|agent| self.has_member(agent));
        std::iter::once(peer).chain(agents).copied().collect()
    }

    /// The agents of this node that matter here: the members. Where it knows none of its own to be one, all of them: somebody may have
    /// added one, and who is shut out is not told.
    fn agents_to_show(&self, me: &Identity, own: &BTreeSet<Identity>) -> Vec<Identity> {
        let is_in = own.iter().any(|identity| self.has_member(identity));
        let matters = |agent: &&Identity| *agent != me && (!is_in || self.has_member(agent));
        own.iter().filter(matters).copied().take(limits::DELEGATIONS).collect()
    }
}

impl Machine {
    /// Takes in who this node acts for besides itself.
    pub fn host(&mut self, now_ms: u64, agents: BTreeSet<Identity>) {
        self.own = agents;
        self.own.insert(self.me);
        for group in self.groups.values_mut() {
            for peer in self.peers.keys() {
                group.delegations.show_at(*peer, now_ms);
            }
        }
    }

    /// A peer shows for whom it acts. `now_ms` is the machine's clock, `clock_ms` the world's.
    pub(super) fn acting_shown(
        &mut self,
        (now_ms, clock_ms): (u64, u64),
        peer: Identity,
        sent: &Acting,
        out: &mut Vec<Output>,
    ) -> Response {
        let group = sent.group;
        let shown = Shown { group, by: peer, clock_ms, drift_ms: self.settings.max_drift_ms };
        let mut agents = BTreeMap::new();
        let mut fault = None;
        // Whether the group is here or not, so that nobody learns which.
        for delegation in &sent.delegations {
            match delegation.verify(&shown) {
                Ok(verified) => drop(agents.insert(verified.agent, now_ms.saturating_add(verified.left_ms))),
                Err(Invalid::Version(_)) => {}
                // Its clock or ours is wrong, or it was on its way for long.
                Err(Invalid::Early(_) | Invalid::Over(_)) => fault = fault.max(Some(Severity::Low)),
                Err(_) => {
                    fault = Some(Severity::High);
                    break;
                }
            }
        }
        if let Some(severity) = fault {
            self.blame(now_ms, peer, severity, "a delegation that is none, or of another node or time", out);
        }
        if fault == Some(Severity::High) {
            return Response::Refused(Refused::Malformed);
        }
        let Some(sync) = self.groups.get_mut(&group) else { return Response::Refused(Refused::NotShared) };
        let was_admitted = sync.admits(&peer);
        if agents.is_empty() {
            sync.delegations.acting.remove(&peer);
        } else {
            sync.delegations.acting.insert(peer, agents);
        }
        if !sync.admits(&peer) {
            sync.named_by(peer, now_ms);
            return Response::Refused(sync.gone(&peer).map_or(Refused::NotShared, Refused::Gone));
        }
        if !was_admitted {
            sync.welcome(peer, now_ms);
            // It may not know yet for whom this node acts.
            sync.delegations.show_at(peer, now_ms);
        }
        Response::Taken
    }

    /// A peer knocks: it shows for whom it acts, in a group that is named to those only who have it. Whether that is here is not answered.
    pub(super) fn knocked(
        &mut self,
        clocks: (u64, u64),
        peer: Identity,
        knock: &Knock,
        out: &mut Vec<Output>,
    ) -> Response {
        let opened = self.groups.keys().find_map(|group| {
            let delegations = knock.open(&Door { group: *group, from: peer, to: self.me })?;
            Some(Acting { group: *group, delegations })
        });
        if let Some(acting) = opened {
            self.acting_shown(clocks, peer, &acting, out);
        }
        Response::Taken
    }

    /// Shows peers for whom this node acts, where that is due.
    pub(super) fn show_delegations(&mut self, now_ms: u64, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        sync.delegations.expire(now_ms);
        let due = sync.delegations.showing.iter().filter(|(_, showing)| showing.at_ms <= now_ms);
        let due: Vec<(Identity, bool)> = due.map(|(peer, showing)| (*peer, showing.has_some)).collect();
        if due.is_empty() {
            return;
        }
        let agents = sync.agents_to_show(&self.me, &self.own);
        // A member is known as one. Who is there for its agents alone may be unknown to others who are: it knocks at whoever may have the group.
        let knocks = !sync.has_member(&self.me);
        let mut shows = Vec::new();
        for (peer, had_some) in due {
            // Whoever may have the group is told; whoever was told of some is told that there are none any more.
            let is_known = sync.may_have(&peer);
            let is_meant = self.peers.contains_key(&peer) && (had_some || (!agents.is_empty() && (is_known || knocks)));
            if !is_meant {
                sync.delegations.showing.remove(&peer);
                continue;
            }
            if agents.is_empty() {
                sync.delegations.showing.remove(&peer);
            } else {
                let at_ms = now_ms + limits::DELEGATION_RENEW_MS;
                sync.delegations.showing.insert(peer, Showing { at_ms, has_some: true });
            }
            shows.push((peer, !is_known));
        }
        for (peer, is_knock) in shows {
            let ticket = self.ticket(peer, group, Errand::Show);
            out.push(Output::Show { ticket, peer, group, agents: agents.clone(), is_knock });
        }
    }

    /// A peer has taken what it was shown, or has not.
    pub(super) fn shown(
        &mut self,
        now_ms: u64,
        peer: Identity,
        group: GroupId,
        result: &Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        if matches!(result, Err(NoAnswer::Malformed)) {
            self.blame(now_ms, peer, Severity::High, "an answer that is none", out);
        }
        let Some(sync) = self.groups.get_mut(&group) else { return };
        match result {
            // What it refused before, it does not now.
            Ok(Response::Taken) if sync.delegations.showing.contains_key(&peer) => sync.welcome(peer, now_ms),
            Ok(Response::Refused(Refused::Busy(after_ms))) => {
                sync.delegations.show_at(peer, now_ms + (*after_ms).clamp(10, limits::REQUEST_TIMEOUT_MS));
            }
            Ok(Response::Refused(Refused::Failed)) | Err(NoAnswer::Lost) => {
                sync.delegations.show_at(peer, now_ms + limits::TELL_RETRY_MS);
            }
            Ok(Response::Refused(Refused::Gone(why))) => {
                let why = *why;
                self.said(now_ms, peer, group, Word::Refuses(why), out);
            }
            _ => {}
        }
    }
}
