//! What members say of this node's membership, where its own rows may be wrong about it.
//!
//! A membership can end behind a node's back: it was removed while the node was down, or its joining is refused in the order since another
//! used up the ticket on the other side of a partition. Nobody serves it any more, so no block can tell it. Who finds the asker among those
//! whom the group's blocks have named, and not among the members, says so; **a word counts only from who is a member in this node's own rows,
//! and never against more others who serve it**. While it stands, nothing of this node is written in the group: it would be acknowledged and
//! lost. The mark lies in `Meta` under `u`, as [`ShutOut`], so that it outlives a restart; it falls as soon as those who serve this node are no
//! fewer than those who do not, of the connected ones.

use std::sync::Arc;

use super::group::GroupSync;
use super::io::{NoAnswer, Output, Severity};
use super::machine::{Errand, Machine};
use crate::cbor::cbor_array;
use crate::chain::GroupId;
use crate::chain::gone::Gone;
use crate::chain::rows::{read_row, write_row};
use crate::identity::Identity;
use crate::kv::{KvError, Overlay, Read, Table};
use crate::limits;
use crate::wire::{Parted, Refused, Request, Response};

cbor_array! {
    /// Members say that none of this node's identities is a member any more.
    #[derive(Copy)]
    pub struct ShutOut {
        /// Why, as they say.
        pub why: Gone,
        /// Who says so.
        pub by: Identity,
        /// Since when, milliseconds since 1970 UTC.
        pub since_ms: u64,
    }
}

const KEY: &[u8] = b"u";

/// The mark; none where nobody says so, or as many say otherwise.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn shut_out(kv: &dyn Read) -> Result<Option<ShutOut>, KvError> {
    read_row(kv, Table::Meta, KEY)
}

/// Sets the mark or takes it away; tells whether that changes anything that a reader would act on.
pub(super) fn set(kv: &mut Overlay<'_>, mark: Option<&ShutOut>) -> Result<bool, KvError> {
    let before = shut_out(kv)?;
    if before.map(|before| (before.why, before.by)) == mark.map(|mark| (mark.why, mark.by)) {
        return Ok(false);
    }
    match mark {
        Some(mark) => write_row(kv, Table::Meta, KEY.to_vec(), mark),
        None => kv.delete(Table::Meta, KEY.to_vec()),
    }
    Ok(true)
}

/// What a connected peer last said of this node's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It serves it.
    Serves,
    /// It does not, for this reason.
    Refuses(Gone),
}

impl GroupSync {
    /// Takes in a peer's word. Where it is the first against this node, the others are asked at once.
    pub(super) fn said(&mut self, peer: &Identity, word: Word, now_ms: u64) {
        let is_first = self.words().all(|(_, word)| word == Word::Serves);
        let Some(last) = self.last_word(peer) else { return };
        *last = Some(word);
        if is_first && matches!(word, Word::Refuses(_)) {
            let others: Vec<Identity> = self.known_peers().filter(|other| *other != peer).copied().collect();
            others.into_iter().for_each(|other| self.pull_at(other, now_ms));
        }
    }

    /// What the mark is to be from now on, where that is another than it is: `holds` is whether one of this node's identities is a member in
    /// its own rows.
    pub(super) fn judge_words(&mut self, holds: bool) -> Option<Option<(Gone, Identity)>> {
        let (mut serving, mut refusing) = (0_usize, Vec::new());
        for (peer, word) in self.words() {
            match word {
                Word::Serves => serving += 1,
                Word::Refuses(why) => refusing.push((why, peer)),
            }
        }
        let stands = match () {
            // Its own rows say it: there is nothing to add.
            () if !holds => None,
            () if refusing.len() > serving => self.shut_out.or(refusing.first().copied()),
            () if serving > 0 => None,
            // Nobody is there to say anything.
            () => self.shut_out,
        };
        let is_news = stands != self.shut_out;
        self.shut_out = stands;
        is_news.then_some(stands)
    }
}

impl GroupSync {
    /// Has a connected peer told that it is no member, if it was named as one.
    pub(super) fn part_at(&mut self, peer: &Identity, at_ms: u64) {
        let is_former = !self.admits(peer) && self.gone(peer).is_some();
        if let Some(part_at_ms) = self.parting(peer) {
            *part_at_ms = is_former.then_some(at_ms);
        }
    }

    /// Those who are to be told now that they are no members, and why.
    fn take_partings(&mut self, now_ms: u64) -> Vec<(Identity, Gone)> {
        let due = self.partings().filter(|(_, at_ms)| *at_ms <= now_ms);
        let due: Vec<Identity> = due.map(|(peer, _)| *peer).collect();
        for peer in &due {
            self.parting(peer).map(Option::take);
        }
        due.into_iter().filter(|peer| !self.admits(peer)).filter_map(|peer| Some((peer, self.gone(&peer)?))).collect()
    }
}

impl Machine {
    /// A peer shows whether it takes this node for a member.
    pub(super) fn said(&mut self, now_ms: u64, peer: Identity, group: GroupId, word: Word, out: &mut Vec<Output>) {
        if let Some(sync) = self.groups.get_mut(&group) {
            sync.said(&peer, word, now_ms);
        }
        self.judge_words(group, out);
    }

    /// Has noted what members say of this node's membership, where that is another than before.
    pub(super) fn judge_words(&mut self, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        let holds = sync.holds(&self.own);
        out.extend(sync.judge_words(holds).map(|mark| Output::ShutOut(group, mark)));
    }

    /// Tells peers that they are no members, where that is due: **whoever thinks that it is one writes on, and nobody takes it**.
    pub(super) fn part(&mut self, now_ms: u64, group: GroupId, out: &mut Vec<Output>) {
        let Some(sync) = self.groups.get_mut(&group) else { return };
        for (peer, why) in sync.take_partings(now_ms) {
            self.ask(peer, Arc::new(Request::Parted(Parted { group, why })), Errand::Part, out);
        }
    }

    /// A peer has taken that it is no member, or is told again.
    pub(super) fn part_answered(
        &mut self,
        now_ms: u64,
        peer: Identity,
        group: GroupId,
        result: &Result<Response, NoAnswer>,
        out: &mut Vec<Output>,
    ) {
        let again_ms = match result {
            Err(NoAnswer::Malformed) => {
                return self.blame(now_ms, peer, Severity::High, "an answer that is none", out);
            }
            Ok(Response::Refused(Refused::Busy(after_ms))) => (*after_ms).clamp(10, limits::REQUEST_TIMEOUT_MS),
            Ok(Response::Refused(Refused::Failed)) | Err(NoAnswer::Lost) => limits::TELL_RETRY_MS,
            Ok(_) => return,
        };
        if let Some(sync) = self.groups.get_mut(&group) {
            sync.part_at(&peer, now_ms + again_ms);
        }
    }
}
