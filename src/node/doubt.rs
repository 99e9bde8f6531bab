//! Doubt about our own lines in a group, the node's and its agents': this node may not know their last blocks there, and a write would
//! reuse a number. It is one for all of them, as an older folder is older for each.
//!
//! A data folder that was put back from an older copy is in doubt, and so is one that a peer sends a block of our own that is
//! not here: that alone shows that it is an older copy, or that another machine has the key. So is a group that was left and is joined
//! again. **While a group is in doubt the engine writes nothing of our own in it**; the mark lies with the group's rows.
//!
//! It ends when at least one member has answered a pull to its end, every connected one was asked, and either all other members
//! have answered or one of them had our last block that is here: then it has heard from us since the copy was made. A member
//! that has been away longer than that proves nothing alone: what it has of ours counts by the first word that it says of it, as it
//! takes our older blocks as well. (A restart of this node forgets that word: then such a member is believed.)

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::{Verified, rows};
use crate::identity::Identity;
use crate::kv::{KvError, Read};

/// Whether blocks of our own are among those of a peer that are not here: nobody else can sign them.
pub(super) fn is_behind(
    kv: &dyn Read,
    is_ours: impl Fn(&Identity) -> bool,
    blocks: &[Verified],
) -> Result<bool, KvError> {
    for block in blocks.iter().filter(|block| is_ours(&block.body().author)) {
        if rows::placed(kv, &block.id())?.is_none() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What was learned of a line in doubt.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// Members that have answered a pull to its end.
    answered: BTreeSet<Identity>,
    /// Peers that were asked, whatever came of it.
    asked: BTreeSet<Identity>,
    /// Members, and whether they had our last block when they first named what they have.
    had_ours: BTreeMap<Identity, bool>,
    /// Peers that name the group and that we do not know as members: a block that we lost may have added them.
    pub(super) named_by: BTreeSet<Identity>,
    /// Whether it was said that it is over. The writer may have seen more since; then it is said again.
    pub(super) is_told: bool,
}

impl Doubt {
    /// A pull from a peer has ended without an answer to all of it.
    pub(super) fn asked(&mut self, peer: &Identity) {
        self.asked.insert(*peer);
    }

    /// A pull from a peer has brought all that it has.
    pub(super) fn answered(&mut self, peer: &Identity) {
        self.asked(peer);
        self.answered.insert(*peer);
        self.is_told = false;
    }

    /// A member names what it has, with or without our last block. The first word counts.
    pub(super) fn named(&mut self, peer: &Identity, has_ours: bool) {
        self.had_ours.entry(*peer).or_insert(has_ours);
    }

    /// Whether enough is known. `is_blank` says that no block of ours is here, so that everybody has the last one; `others` are the members but ourselves, `connected` those who can be asked now.
    pub(super) fn is_over<'a>(
        &self,
        is_blank: bool,
        mut others: impl Iterator<Item = &'a Identity>,
        mut connected: impl Iterator<Item = &'a Identity>,
    ) -> bool {
        let had_ours = |peer| is_blank || self.had_ours.get(peer) == Some(&true);
        !self.answered.is_empty()
            && connected.all(|peer| self.asked.contains(peer))
            && (self.answered.iter().any(had_ours) || others.all(|member| self.answered.contains(member)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::SecretKey;

    #[test]
    fn one_who_has_our_last_block_is_enough_and_one_who_has_been_away_is_not() {
        let [bob, carol] = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]).identity());
        let is_over = |doubt: &Doubt, others: &[Identity], connected: &[Identity]| {
            doubt.is_over(false, others.iter(), connected.iter())
        };
        let mut doubt = Doubt::default();
        assert!(!is_over(&doubt, &[], &[]), "nobody was asked, not even where there is nobody else");
        doubt.named(&bob, true);
        doubt.asked(&bob);
        assert!(!is_over(&doubt, &[bob], &[bob]), "he did not answer");
        doubt.answered(&bob);
        assert!(is_over(&doubt, &[bob, carol], &[bob]), "he had our last block");
        assert!(!is_over(&doubt, &[bob, carol], &[bob, carol]), "carol can be asked");
        doubt.asked(&carol);
        assert!(is_over(&doubt, &[bob, carol], &[bob, carol]), "she holds nobody up by not answering");

        let mut doubt = Doubt::default();
        doubt.named(&bob, false);
        doubt.named(&bob, true);
        doubt.answered(&bob);
        assert!(!is_over(&doubt, &[bob, carol], &[bob]), "he may have our last block from us, and carol may know more");
        assert!(is_over(&doubt, &[bob], &[bob]), "there is nobody else");
        doubt.answered(&carol);
        assert!(is_over(&doubt, &[bob, carol], &[]), "all have answered");
    }
}
