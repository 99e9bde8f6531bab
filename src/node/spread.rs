//! How what is new reaches others: blocks of our own are pushed, those of others announced, and who missed either is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::{Rng, RngExt};

use super::engine::News;
use super::group::GroupSync;
use super::io::{NoAnswer, Output, Severity};
use super::machine::{Errand, Machine};
use super::shut_out::Word;
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::limits;
use crate::wire::{Have, Refused, Request, Response};

/// Pushes to one peer that may be unacknowledged. What comes meanwhile is announced when one is.
pub(super) const PUSHING_PER_PEER: usize = 16;

impl Machine {
    /// Blocks are durable: push our own, announce the others'.
    pub(super) fn news(&mut self, now_ms: u64, rng: &mut impl Rng, news: &News, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&news.group) else { return };
        for (from, fresh) in &news.blocks {
            sync.frontier.advance(fresh.author, fresh.prev, fresh.tip.clone());
            match from {
                Some(peer) => {
                    sync.peer_has(now_ms, peer, fresh.author, &fresh.tip);
                    sync.announce(now_ms, rng, fresh.author, fresh.tip.clone());
                }
                None => sync.outgoing(fresh),
            }
        }
        sync.caught_up(now_ms);
        sync.schedule_seal(now_ms, news.to_seal);
        let mut removed = BTreeSet::new();
        if let Some(members) = &news.members {
            let standing = |sync: &GroupSync, peer: &Identity| (sync.admits(peer), sync.gone(peer));
            let before: Vec<_> = self.peers.keys().map(|peer| (*peer, standing(sync, peer))).collect();
            sync.set_members(members, &news.former);
            // The block that removes it says more than a word, which comes behind it in case that it does not arrive.
            let part_at_ms = now_ms + if sync.has_outgoing() { limits::TELL_RETRY_MS } else { 0 };
            for (peer, (was_admitted, was_gone)) in &before {
                sync.delegations.show_at(*peer, now_ms);
                let (is_admitted, gone) = standing(sync, peer);
                match (was_admitted, is_admitted) {
                    // It may have asked before it was let in: tell it that there is something to pull.
                    (false, true) => sync.welcome(*peer, now_ms),
                    (true, false) => {
                        removed.insert(*peer);
                        sync.part_at(peer, part_at_ms);
                    }
                    (false, false) if gone != *was_gone => sync.part_at(peer, now_ms),
                    _ => {}
                }
            }
        }
        if !news.equivocators.is_empty() {
            // Who has the other branch alone sees nothing of ours in a frontier that ends higher: it is told.
            for peer in self.peers.keys() {
                sync.tell_at(peer, now_ms);
            }
        }
        sync.doubt(&self.own, news, now_ms);
        if let Some(noted) = &news.shut_out
            && noted.map(|said| (said.why, said.by)) != sync.shut_out
        {
            // It was another by the time it was noted.
            out.push(Output::ShutOut(news.group, sync.shut_out));
        }
        self.judge_words(news.group, out);
        self.push(now_ms, news.group, &removed, out);
    }

    /// Sends what of our own is new to the connected members, and to those whom it shuts out: it is the last that they are
    /// told, and without it they would go on writing what nobody takes.
    pub(super) fn push(&mut self, now_ms: u64, group: GroupId, removed: &BTreeSet<Identity>, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let requests: Vec<Arc<Request>> = sync.take_pushes(group).into_iter().map(Arc::new).collect();
        let told = |peer: &&Identity| sync.admits(peer) || removed.contains(*peer);
        let members: Vec<Identity> = self.peers.keys().filter(told).copied().collect();
        let mut asks = Vec::new();
        for peer in members {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            for request in &requests {
                let is_full = state.pushing >= PUSHING_PER_PEER;
                self.full.pushes += u64::from(is_full);
                if is_full || matches!(**request, Request::Have(_)) {
                    sync.tell_at(&peer, now_ms);
                } else {
                    state.pushing += 1;
                    asks.push((peer, Arc::clone(request)));
                }
            }
        }
        for (peer, request) in asks {
            self.ask(peer, request, Errand::Push, out);
        }
    }

    pub(super) fn push_answered(
        &mut self,
        now_ms: u64,
        peer: Identity,
        group: GroupId,
        result: &Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.pushing = state.pushing.saturating_sub(1);
        }
        if matches!(result, Err(NoAnswer::Malformed)) {
            self.blame(now_ms, peer, Severity::High, "an answer that is none", out);
        }
        if let Ok(Response::Refused(Refused::Gone(why))) = result {
            self.said(now_ms, peer, group, Word::Refuses(*why), out);
        }
        let again_ms = match result {
            Ok(Response::Refused(Refused::Busy(after_ms))) => (*after_ms).clamp(10, limits::REQUEST_TIMEOUT_MS),
            Ok(Response::Refused(Refused::Failed)) | Err(NoAnswer::Lost) => limits::TELL_RETRY_MS,
            _ => return,
        };
        if let Some(sync) = self.groups.get_mut(&group) {
            sync.tell_at(&peer, now_ms + again_ms);
        }
    }

    /// Announces what others have sent us to a few of those who may lack it at once, and to the rest a little later: most have
    /// heard of it by then, but who is connected to nobody else has not.
    pub(super) fn announce(&mut self, now_ms: u64, rng: &mut impl Rng, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let Some(tips) = sync.take_announcement(now_ms) else { return };
        let lacks = |peer: &&Identity| sync.admits(peer) && sync.lacks(peer, &tips);
        let mut lacking: Vec<Identity> = self.peers.keys().filter(lacks).copied().collect();
        while lacking.len() > limits::RELAY_FANOUT {
            let later = lacking.swap_remove(rng.random_range(0..lacking.len()));
            sync.tell_at(&later, now_ms + rng.random_range(limits::RELAY_LATER_MS));
        }
        let request = Arc::new(Request::Have(Have { group, tips }));
        for peer in lacking {
            if let Some(state) = self.peers.get_mut(&peer) {
                state.pushing += 1;
            }
            self.ask(peer, Arc::clone(&request), Errand::Push, out);
        }
    }

    /// Tells members what they may lack, where a push did not go out or did not arrive.
    pub(super) fn tell(&mut self, now_ms: u64, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let mut asks = Vec::new();
        for peer in sync.due_to_be_told(now_ms) {
            let Some(tips) = sync.take_untold(&peer) else { continue };
            match self.peers.get_mut(&peer) {
                Some(state) if state.pushing < PUSHING_PER_PEER => {
                    state.pushing += 1;
                    asks.push((peer, Arc::new(Request::Have(Have { group, tips }))));
                }
                Some(_) => sync.tell_at(&peer, now_ms + limits::BUSY_RETRY_MS),
                None => {}
            }
        }
        for (peer, request) in asks {
            self.ask(peer, request, Errand::Push, out);
        }
    }
}
