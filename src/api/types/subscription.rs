//! How groups are synced, and who was sent away.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{self, FieldError};
use crate::limits;

/// What a group's sync does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionMode {
    /// It pulls and takes what is pushed.
    Live,
    /// It takes what is pushed, and pulls when somebody asks (`sync_auto_start = false`).
    ByHand,
    /// It takes nothing in until somebody asks. Members may ask this node all the same, and what is written here goes out.
    Paused,
}

impl SubscriptionMode {
    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::ByHand => "by_hand",
            Self::Paused => "paused",
        }
    }
}

/// A connected peer whose last pulls have failed. It is tried again, ever more rarely, and never given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailingPeer {
    /// Who.
    pub peer_id: String,
    /// How many in a row.
    pub failures: u32,
}

/// How one group is synced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Subscription {
    /// The group.
    pub group_id: String,
    /// Its name, where it is known.
    pub name: Option<String>,
    /// What it does by itself.
    pub mode: SubscriptionMode,
    /// Seconds between two repair pulls from one peer.
    pub interval_s: u64,
    /// Who is asked; every member where there are none.
    pub peers: Vec<String>,
    /// When a pull last brought everything that a peer had, since the start; `null` where none has.
    pub last_sync_ms: Option<u64>,
    /// Who fails.
    pub failing: Vec<FailingPeer>,
}

/// Answer of `GET /subscriptions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionList {
    /// Each group of the node.
    pub subscriptions: Vec<Subscription>,
}

/// Body of `PUT /groups/{group}/subscription`: what is named changes, the rest stays. A `reset` comes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetSubscription {
    /// Back to what the settings say, with every member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// Seconds between two repair pulls from one peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<u64>,
    /// Whether nothing is taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Peers to ask as well, by id or alias. With the first, only those who are named are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_peers: Vec<String>,
    /// Peers to ask no more. After the last, every member is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_peers: Vec<String>,
}

impl SetSubscription {
    /// Checks the interval and the number of peers.
    ///
    /// # Errors
    /// The first that breaks its bounds.
    pub fn check(&self) -> Result<(), FieldError> {
        let most = limits::SYNC_INTERVAL_MOST_S;
        self.interval_s.map_or(Ok(()), |seconds| check::number("interval_s", seconds, 1..=most))?;
        for (field, peers) in [("add_peers", &self.add_peers), ("remove_peers", &self.remove_peers)] {
            if peers.len() > limits::SUBSCRIPTION_PEERS {
                return Err(FieldError::TooMany { field, count: peers.len(), limit: limits::SUBSCRIPTION_PEERS });
            }
        }
        Ok(())
    }
}

/// A peer that was sent away for its faults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// Who.
    pub peer_id: String,
    /// Whether it is kept away now. One that is over makes the next longer for a while.
    pub in_force: bool,
    /// Until when.
    pub until_ms: u64,
    /// How often, as far as it is remembered.
    pub times: u32,
    /// What for.
    pub why: String,
}

/// Answer of `GET /bans`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BanList {
    /// Those in force first.
    pub bans: Vec<Ban>,
}

/// Answer to a lifted ban.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unbanned {
    /// Who.
    pub peer_id: String,
    /// Whether it was kept away.
    pub was_banned: bool,
}
