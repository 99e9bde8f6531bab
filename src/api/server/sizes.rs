//! What takes a walk over a group's rows to know, kept until the group has one more block.
//!
//! The state is a function of the set of blocks, and that set only grows: **what was measured with as many blocks, the last of them the
//! same, is still so**.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use crate::chain::{GroupId, LineKey, rows};
use crate::kv::{Direction, KvError, Read};
use crate::ledger::query;

/// The measures of all groups.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<BTreeMap<GroupId, Measured>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    blocks: u64,
    last: Option<LineKey>,
}

#[derive(Debug, Clone, Copy)]
struct Measured {
    at: At,
    claims: Option<query::Claims>,
    state_hash: Option<[u8; 32]>,
}

impl Measured {
    const fn nothing(at: At) -> Self {
        Self { at, claims: None, state_hash: None }
    }
}

impl Sizes {
    /// Its claims and experiences.
    pub fn claims(&self, id: GroupId, kv: &dyn Read) -> Result<query::Claims, KvError> {
        self.measure(id, kv, |measured| &mut measured.claims, query::count)
    }

    /// The hash of its state.
    pub fn state_hash(&self, id: GroupId, kv: &dyn Read) -> Result<[u8; 32], KvError> {
        self.measure(id, kv, |measured| &mut measured.state_hash, query::state_hash)
    }

    /// Drops what is known of a group that is left.
    pub fn forget(&self, id: &GroupId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn measure<T: Copy>(
        &self,
        id: GroupId,
        kv: &dyn Read,
        slot: impl Fn(&mut Measured) -> &mut Option<T>,
        measure: impl FnOnce(&dyn Read) -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        let at = At { blocks: rows::counters(kv)?.blocks, last: last(kv)? };
        let known = {
            let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            groups.get_mut(&id).filter(|measured| measured.at == at).and_then(|measured| *slot(measured))
        };
        if let Some(known) = known {
            return Ok(known);
        }
        let value = measure(kv)?;
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = groups.entry(id).or_insert(Measured::nothing(at));
        if measured.at != at {
            *measured = Measured::nothing(at);
        }
        *slot(measured) = Some(value);
        Ok(value)
    }
}

fn last(kv: &dyn Read) -> Result<Option<LineKey>, KvError> {
    let mut last = None;
    rows::log(kv, u64::MAX, Direction::Down, &mut |_, line| {
        last = Some(line);
        ControlFlow::Break(())
    })?;
    Ok(last)
}
