//! How one group is synced, where somebody has said so.
//!
//! It says when this node asks others, and whom. **What it never says is who may ask this node**: a member reads what it may read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::chain::{GroupId, Tip};
use crate::identity::Identity;
use crate::wire::Reached;

/// What was said of one group; nothing at first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Pause between two repair pulls from one peer, milliseconds; none where the settings say.
    pub interval_ms: Option<u64>,
    /// Whether nothing is taken in: the group is pulled only when somebody asks for it, and pushes wait. None where the settings say
    /// whether it is pulled by itself; then pushes are taken.
    pub paused: Option<bool>,
    /// Who is asked; every member where there are none. What others push is taken all the same.
    pub peers: BTreeSet<Identity>,
}

/// How a group's sync stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncState {
    /// What was said.
    pub subscription: Subscription,
    /// How long ago a pull last brought everything that a peer had, milliseconds.
    pub synced_ago_ms: Option<u64>,
    /// Connected peers whose last pulls have failed, and how many in a row. Each is tried again.
    pub failing: Vec<(Identity, u32)>,
}

impl Machine {
    /// How a group's sync stands; none where it is not here.
    #[must_use]
    pub fn sync_state(&self, now_ms: u64, group: &GroupId) -> Option<SyncState> {
        self.groups.get(group).map(|group| group.sync_state(now_ms))
    }

    /// Whether a peer is seen to have an author's block of a group. One that is not may have it as well.
    #[must_use]
    pub fn is_seen_to_have(&self, group: &GroupId, peer: &Identity, author: Identity, tip: &Tip) -> bool {
        let block = [Reached { author, tip: tip.clone() }];
        self.groups.get(group).is_some_and(|group| !group.lacks(peer, &block))
    }

    /// Whether a peer is let into any group that is here, as a member or for one.
    #[must_use]
    pub fn admits_anywhere(&self, peer: &Identity) -> bool {
        self.groups.values().any(|group| group.admits(peer))
    }
}
