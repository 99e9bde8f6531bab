//! How one group is synced, where somebody has said so.
//!
//! It says when this node asks others, and whom. **What it never says is who may ask this node**: a member reads what it may read.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::identity::Identity;

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
