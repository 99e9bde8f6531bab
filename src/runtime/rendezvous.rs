//! Has the network store where this node is, and look for others, for the groups that it is in ([`crate::node::rendezvous`]).

use std::collections::{BTreeMap, BTreeSet};

use super::clock::unix_ms;
use super::driver::Work;
use crate::chain::GroupId;
use crate::ledger::state;
use crate::node::engine::Groups;
use crate::node::rendezvous::Sought;
use crate::store::{Store, StoreError};

impl Work {
    /// When [`Self::find_each_other`] has something to do next, if ever.
    pub(super) fn rendezvous_ms(&self) -> Option<u64> {
        self.parts.network.has_servers().then(|| self.rendezvous.next_ms())
    }

    /// Stores and asks what is due.
    pub(super) fn find_each_other(&mut self) {
        if !self.parts.network.has_servers() {
            return;
        }
        let sought = match self.sought() {
            Ok(sought) => sought,
            Err(error) => return tracing::warn!(%error, "members beyond this network are not looked for"),
        };
        let due = self.rendezvous.due(self.uptime.ms(), unix_ms(), &sought);
        if let Some(keys) = due.provide {
            self.parts.network.provide(keys);
        }
        for key in due.seek {
            self.parts.network.seek(&key);
        }
    }

    fn sought(&mut self) -> Result<BTreeMap<GroupId, Sought>, StoreError> {
        let groups: BTreeSet<GroupId> = self.parts.machine.groups().copied().collect();
        self.secrets.retain(|group, _| groups.contains(group));
        let mut sought = BTreeMap::new();
        for group in groups {
            let secret = match self.secrets.get(&group) {
                Some(secret) => *secret,
                None => match secret(&self.parts.store, &group)? {
                    Some(secret) => *self.secrets.entry(group).or_insert(secret),
                    // It is being joined by one who was told nothing but its name.
                    None => continue,
                },
            };
            let has_met = self.parts.machine.has_met(&group);
            sought.insert(group, Sought { secret, has_met });
        }
        for (group, secret) in &self.awaited {
            sought.entry(*group).or_insert(Sought { secret: *secret, has_met: false });
        }
        Ok(sought)
    }
}

/// What only members of a group know.
fn secret(store: &Store, group: &GroupId) -> Result<Option<[u8; 32]>, StoreError> {
    let view = store.view()?;
    let Some(rows) = view.group(group)? else { return Ok(None) };
    Ok(state::group(rows.as_ref())?.map(|group| group.discovery_secret.0))
}
