//! A pull of a group from one peer, from the first question to the last.

use std::collections::BTreeSet;

use crate::chain::{BlockId, Frontier, GroupId, ObjectAt};
use crate::identity::Identity;
use crate::limits;
use crate::wire::{Probe, Pull, Request, WantBlocks, WantObjects};

/// A pull under way. A group has at most one, so that nothing is fetched twice.
#[derive(Debug)]
pub(super) struct Session {
    /// What an answer must belong to: one to an earlier session, with the same peer even, says nothing about this one.
    pub(super) number: u64,
    pub(super) peer: Identity,
    /// What we have, and what is on its way into the store.
    pub(super) frontier: Frontier,
    /// Whether a request of the session is unanswered.
    pub(super) asking: bool,
    /// Batches on their way into the store.
    pub(super) storing: usize,
    /// Whether the peer has more than it has sent.
    pub(super) more: bool,
    /// Whether the peer is known to have something else than we.
    pub(super) probed: bool,
    /// Blocks taken.
    pub(super) blocks: usize,
    /// What the last batch waits for.
    pub(super) missing: Vec<BlockId>,
    /// Objects that nobody has sent.
    pub(super) wanted: Vec<ObjectAt>,
    /// Blocks that this peer was asked for by id: each once, for who sends a block has what it builds on.
    pub(super) asked: BTreeSet<BlockId>,
    /// Whether the last request was for objects.
    pub(super) asked_for_objects: bool,
    /// Whether the peer was asked for objects and had none of them.
    pub(super) has_no_objects: bool,
    /// When it began.
    pub(super) started_ms: u64,
    /// Batches in a row of which nothing could be stored.
    pub(super) stale: usize,
    /// Whether the peer was not told what is here, and sends that as well.
    pub(super) asks_all: bool,
    /// Requests for single blocks and objects that the session may still make.
    pub(super) wants_left: usize,
}

impl Session {
    /// What still has to be asked for by id or place, once all batches are stored; none when nothing is left that the peer could
    /// be expected to have.
    pub(super) fn want(&mut self, group: GroupId) -> Option<Request> {
        self.wants_left = self.wants_left.checked_sub(1)?;
        let ids: Vec<BlockId> = self.missing.iter().filter(|id| !self.asked.contains(*id)).copied().collect();
        if !ids.is_empty() && self.asked.len() < limits::WAITING_BLOCKS {
            self.asked.extend(ids.iter().copied());
            self.asked_for_objects = false;
            return Some(Request::WantBlocks(WantBlocks { group, ids }));
        }
        if !self.wanted.is_empty() && !self.has_no_objects {
            self.asked_for_objects = true;
            return Some(Request::WantObjects(WantObjects { group, objects: self.wanted.clone() }));
        }
        None
    }

    /// The next request: a probe where naming all tips would be long and may be for nothing, else a pull.
    pub(super) fn request(&self, group: GroupId) -> Request {
        if !self.probed && self.frontier.len() > limits::PROBE_AUTHORS {
            let digest = serde_bytes::ByteBuf::from(self.frontier.digest().to_vec());
            Request::Probe(Probe { group, digest })
        } else {
            Request::Pull(Pull { group, frontier: (&self.frontier).into() })
        }
    }
}
