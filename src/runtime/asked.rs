//! What peers ask of this node, before the machine hears of it: whose account it is charged to, and the room for its answer.

use super::allowance::Payer;
use super::clock::unix_ms;
use super::driver::Work;
use crate::identity::Identity;
use crate::limits;
use crate::net;
use crate::node::io::{InboundId, Input, Severity};
use crate::wire::{Refused, Request, Response};

impl Work {
    /// Whose account a peer's requests are charged to.
    pub(super) fn payer(&self, peer: &Identity) -> Payer {
        if self.parts.machine.admits_anywhere(peer) {
            return Payer::Member(*peer);
        }
        self.parts.network.host_of(peer).map_or(Payer::Others, Payer::Host)
    }

    /// A peer asks. A stranger's request is counted before anything of it is read.
    pub(super) fn sync_asked(&mut self, peer: Identity, id: InboundId, bytes: &[u8]) {
        let payer = self.payer(&peer);
        let is_member = matches!(payer, Payer::Member(_));
        let busy = |after_ms| Response::Refused(Refused::Busy(after_ms));
        if !is_member && let Err(wait_ms) = self.count(peer, payer) {
            return self.respond(id, &busy(wait_ms));
        }
        let request = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                tracing::info!(%peer, %error, "a request that is none");
                self.respond(id, &Response::Refused(Refused::Malformed));
                return self.step(Input::Malformed(peer, Severity::High));
            }
        };
        if is_member {
            let admitted = match &request {
                Request::Probe(_) => Ok(()),
                Request::Pull(_) | Request::WantBlocks(_) | Request::WantObjects(_) => {
                    self.make_room(id, payer, limits::BATCH_BYTES)
                }
                Request::Push(_)
                | Request::Have(_)
                | Request::Presences(_)
                | Request::Acting(_)
                | Request::Peers(_)
                | Request::Knock(_)
                | Request::Parted(_) => self.count(peer, payer),
            };
            if let Err(wait_ms) = admitted {
                return self.respond(id, &busy(wait_ms));
            }
        }
        let shows_for_whom = matches!(request, Request::Acting(_) | Request::Knock(_));
        self.step(Input::Asked { peer, id, request, clock_ms: unix_ms() });
        if shows_for_whom {
            self.vouch_for(&peer);
        }
    }

    /// Tells the network whether a peer is a member, or here for one: then there is room for it.
    pub(super) fn vouch_for(&mut self, peer: &Identity) {
        let is_admitted = self.parts.machine.admits_anywhere(peer);
        self.parts.network.vouch(peer, is_admitted);
    }

    /// The same of everybody who is connected, after members have come or gone.
    pub(super) fn vouch_for_all(&mut self) {
        for (peer, groups) in self.parts.machine.admitted() {
            self.parts.network.vouch(&peer, !groups.is_empty());
        }
    }

    /// Counts a request, or says how long to wait, milliseconds. Whoever is told so again and again and asks on is blamed.
    pub(super) fn count(&mut self, peer: Identity, payer: Payer) -> Result<(), u64> {
        let counted = self.parts.allowance.request(payer);
        if counted.is_err() && self.parts.allowance.is_deaf(payer) {
            self.step(Input::Blamed(peer, Severity::High, "asking on where it was told to wait"));
        }
        counted
    }

    /// Keeps room for the answer to a request, or says how long to wait, milliseconds.
    pub(super) fn make_room(&mut self, id: InboundId, payer: Payer, bytes: usize) -> Result<(), u64> {
        let share = self.parts.allowance.answer(payer, bytes).ok_or(limits::BUSY_RETRY_MS)?;
        self.shares.insert(id, share);
        Ok(())
    }

    /// Sends an answer. The room that was kept for it is given back when it is gone.
    pub(super) fn send(&mut self, id: InboundId, bytes: Vec<u8>) {
        // Whoever asked may be gone.
        let _gone = match self.shares.remove(&id) {
            Some(mut share) => {
                share.set(bytes.len());
                self.parts.network.respond_holding(net::InboundId(id.0), bytes, Box::new(share))
            }
            None => self.parts.network.respond(net::InboundId(id.0), bytes),
        };
    }
}
