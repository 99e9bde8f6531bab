//! What the machine can be measured by: how far this node is behind its peers, and how full it is.
//!
//! A peer's announcements and batches say how far each author's line reaches there. **What it has and this node lacks is the lag**, a lower bound:
//! a peer that is away, or has not spoken since it connected, is not known to have anything.

use crate::chain::{Frontier, GroupId, Tip};
use crate::identity::Identity;
use crate::limits;

use super::group::GroupSync;
use super::machine::Machine;
use super::spread::PUSHING_PER_PEER;

/// A block that a peer has and this node lacks.
#[derive(Debug)]
pub(super) struct Behind {
    author: Identity,
    tip: Tip,
    since_ms: u64,
}

/// How often something was full since that was last asked.
#[derive(Debug, Default)]
pub(super) struct Full {
    /// Pushes that a peer was not sent, since it has not acknowledged those before.
    pub(super) pushes: u64,
    /// Requests of peers that were refused, since as many of the peer's were being served.
    pub(super) serving: u64,
}

/// How far a connected peer is ahead of this node in one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lag {
    /// In which group.
    pub group: GroupId,
    /// Whom.
    pub peer: Identity,
    /// Blocks that it is known to have and that are not here, at least.
    pub blocks: u64,
    /// For how long one of them has been known of, milliseconds; 0 where there is none.
    pub for_ms: u64,
    /// Pulls from it that have failed in a row.
    pub failures: u32,
}

/// What is measured.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    /// Each connected peer in each group that it shares.
    pub lags: Vec<Lag>,
    /// How long ago a pull of a group last brought all that a peer had, milliseconds, where one did.
    pub pulled: Vec<(GroupId, u64)>,
    /// Unacknowledged pushes to the peer that has most, and how many it may have.
    pub pushes: (usize, usize),
    /// Pushes that were not sent for that, since this was last asked.
    pub pushes_put_off: u64,
    /// Requests being served of the peer that has most, and how many it may have.
    pub serving: (usize, usize),
    /// Requests that were refused for that, since this was last asked.
    pub serving_refused: u64,
    /// Packages being fetched or waiting for it, and how many may.
    pub fetches: (usize, usize),
}

/// Blocks up to a tip that a frontier does not reach, at least. Below the ends of several branches nothing counts as missing: which of them a
/// block lies on is not known.
fn missing(here: &Frontier, author: &Identity, tip: &Tip) -> u64 {
    let tips = here.tips(author);
    match tips.iter().map(|tip| tip.seq).max() {
        None => tip.seq.saturating_add(1),
        Some(seq) if seq < tip.seq => tip.seq - seq,
        Some(seq) => u64::from(tips.len() == 1 && seq == tip.seq && !tips.contains(tip)),
    }
}

/// The tips of one frontier that another does not reach, and how much is missing up to each.
fn lacking<'a>(here: &'a Frontier, there: &'a Frontier) -> impl Iterator<Item = (Identity, &'a Tip, u64)> {
    let all = there.authors().flat_map(|(author, tips)| tips.iter().map(|tip| (*author, tip)));
    all.map(|(author, tip)| (author, tip, missing(here, &author, tip))).filter(|(.., blocks)| *blocks > 0)
}

impl GroupSync {
    /// Notes what a peer is seen to have. Of authors that are not here it may say what it likes, and that is not kept.
    pub(super) fn peer_has(&mut self, now_ms: u64, peer: &Identity, author: Identity, tip: &Tip) {
        let is_here = self.has_member(&author) || !self.frontier.tips(&author).is_empty();
        let is_missing = missing(&self.frontier, &author, tip) > 0;
        if let Some(sync) = self.peers.get_mut(peer).filter(|_| is_here) {
            sync.has.reach(author, tip.clone());
            if is_missing && sync.behind.is_none() {
                sync.behind = Some(Behind { author, tip: tip.clone(), since_ms: now_ms });
            }
        }
    }

    /// More is here: where the first block is that a peer had, the lag counts from the next.
    pub(super) fn caught_up(&mut self, now_ms: u64) {
        for sync in self.peers.values_mut() {
            let is_here = |first: &Behind| missing(&self.frontier, &first.author, &first.tip) == 0;
            if sync.behind.as_ref().is_some_and(is_here) {
                let next = lacking(&self.frontier, &sync.has).next();
                sync.behind = next.map(|(author, tip, _)| Behind { author, tip: tip.clone(), since_ms: now_ms });
            }
        }
    }

    fn lags(&self, now_ms: u64, group: GroupId) -> impl Iterator<Item = Lag> {
        self.peers.iter().filter(|(peer, _)| self.may_have(peer)).map(move |(peer, sync)| Lag {
            group,
            peer: *peer,
            blocks: lacking(&self.frontier, &sync.has).fold(0, |sum: u64, (.., blocks)| sum.saturating_add(blocks)),
            for_ms: sync.behind.as_ref().map_or(0, |first| now_ms.saturating_sub(first.since_ms)),
            failures: sync.failures,
        })
    }
}

impl Machine {
    /// Measures it. What was full is counted from here on anew.
    pub fn measure(&mut self, now_ms: u64) -> Measures {
        let full = std::mem::take(&mut self.full);
        let pulled = |(id, group): (&GroupId, &GroupSync)| Some((*id, now_ms.saturating_sub(group.synced_at_ms?)));
        Measures {
            lags: self.groups.iter().flat_map(|(id, group)| group.lags(now_ms, *id)).collect(),
            pulled: self.groups.iter().filter_map(pulled).collect(),
            pushes: (self.peers.values().map(|peer| peer.pushing).max().unwrap_or_default(), PUSHING_PER_PEER),
            pushes_put_off: full.pushes,
            serving: (self.peers.values().map(|peer| peer.serving).max().unwrap_or_default(), limits::SERVED_PER_PEER),
            serving_refused: full.serving,
            fetches: (self.market.fetching(), limits::FETCHES + limits::FETCHES_WAITING),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::BlockId;
    use crate::node::io::Opened;
    use crate::testing::desk::who;

    fn tip(seq: u64, name: &str) -> Tip {
        Tip { seq, id: BlockId::of(name.as_bytes()) }
    }

    #[test]
    fn the_lag_is_what_a_peer_has_and_this_node_lacks_from_the_first_of_it_on() {
        let id = GroupId::from_bytes([1; 32]);
        let (peer, author) = (who(1), who(2));
        let members = vec![who(0), peer, author];
        let frontier = Frontier::new([(author, vec![tip(3, "3")])]);
        let mut group = GroupSync::new(Opened { members, frontier, ..Opened::blank(id) }, true, 0);
        let lag = |group: &GroupSync, now_ms| {
            let lags: Vec<Lag> = group.lags(now_ms, id).collect();
            assert!(lags.len() == 1 && lags[0].peer == peer, "{lags:?}");
            (lags[0].blocks, lags[0].for_ms)
        };
        group.reset_peer(&peer);
        group.peer_has(10, &peer, author, &tip(2, "2"));
        group.peer_has(10, &peer, author, &tip(3, "3"));
        // Whoever is not known here may be anybody's invention.
        group.peer_has(10, &peer, who(9), &tip(9, "9"));
        assert_eq!(lag(&group, 1_000), (0, 0));
        group.peer_has(100, &peer, author, &tip(5, "5"));
        group.peer_has(300, &peer, author, &tip(8, "8"));
        assert_eq!(lag(&group, 1_100), (5, 1_000), "the first counts");
        group.frontier.advance(author, Some(tip(3, "3").id), tip(5, "5"));
        group.caught_up(2_000);
        assert_eq!(lag(&group, 2_500), (3, 500), "then the next");
        group.peer_has(2_600, &peer, who(0), &tip(0, "first"));
        assert_eq!(lag(&group, 2_600), (4, 600));
        group.frontier.advance(author, Some(tip(5, "5").id), tip(8, "8"));
        group.frontier.advance(who(0), None, tip(0, "first"));
        group.caught_up(3_000);
        assert_eq!(lag(&group, 9_000), (0, 0));
        // Another block of the same number is another branch; which of two branches an earlier one lies on is not known.
        group.peer_has(9_000, &peer, author, &tip(8, "other"));
        assert_eq!(lag(&group, 9_500), (1, 500));
        group.frontier.advance(author, Some(tip(7, "7").id), tip(8, "other"));
        group.caught_up(9_600);
        group.peer_has(9_700, &peer, author, &tip(6, "6"));
        assert_eq!(lag(&group, 9_900), (0, 0));
        group.peer_has(9_900, &peer, author, &tip(u64::MAX, "far"));
        group.peer_has(9_900, &peer, who(0), &tip(u64::MAX, "as far"));
        assert_eq!(lag(&group, 9_900).0, u64::MAX, "a peer that lies about numbers breaks no sum");
        group.drop_peer(&peer);
        assert_eq!(group.lags(9_900, id).count(), 0);
    }
}
