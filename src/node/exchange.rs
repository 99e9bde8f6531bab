//! Exchange: members tell each other where the others are that they are connected to.
//!
//! A member is asked once a pull from it has come to its end, and at most every [`limits::EXCHANGE_MS`]. **What it says is hearsay**: an
//! address is called for the key that it was told with, and leads nowhere where somebody else answers.

use super::group::GroupSync;
use super::io::{InboundId, NoAnswer, Output, Severity};
use super::machine::{Errand, Machine};
use crate::chain::GroupId;
use crate::identity::Identity;
use crate::limits;
use crate::wire::{Met, Peers, Request, Response};
use std::sync::Arc;

impl GroupSync {
    /// Whether a member is to be asked where the others are, once.
    fn takes_exchange(&mut self, now_ms: u64, peer: &Identity) -> bool {
        if !self.admits(peer) {
            return false;
        }
        let Some(asked_ms) = self.exchanged_ms(peer) else { return false };
        let is_due = asked_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) >= limits::EXCHANGE_MS);
        if is_due {
            *asked_ms = Some(now_ms);
        }
        is_due
    }
}

impl Machine {
    /// A pull from a peer is done.
    pub(super) fn exchange(&mut self, now_ms: u64, group: GroupId, peer: Identity, out: &mut Vec<Output>) {
        if self.groups.get_mut(&group).is_some_and(|sync| sync.takes_exchange(now_ms, &peer)) {
            self.ask(peer, Arc::new(Request::Peers(Peers { group })), Errand::Exchange, out);
        }
    }

    /// A member asks where the others are.
    pub(super) fn exchange_asked(&self, id: InboundId, asker: Identity, group: &GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get(group) else { return };
        let others = self.peers.keys().filter(|peer| **peer != asker && sync.admits(peer));
        let peers = others.take(limits::EXCHANGE_PEERS).copied().collect();
        out.push(Output::TellPeers { id, asker, peers });
    }

    /// A member has said where the others are.
    pub(super) fn exchanged(
        &mut self,
        now_ms: u64,
        teller: Identity,
        result: Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        match result {
            Ok(Response::Peers(told)) => {
                let news =
                    told.into_iter().filter(|met| !self.own.contains(&met.peer) && !self.peers.contains_key(&met.peer));
                out.extend(news.map(|Met { peer, addresses }| Output::HeardOf(peer, addresses)));
            }
            // It has not heard yet that we are in, or has too much to do: the next repair pull asks again.
            Ok(Response::Refused(_)) | Err(NoAnswer::Lost) => {}
            Ok(_) | Err(NoAnswer::Malformed) => {
                self.blame(now_ms, teller, Severity::High, "an answer that is none", out);
            }
        }
    }
}
