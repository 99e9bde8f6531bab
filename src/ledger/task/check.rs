//! What must hold of the rows of tasks after every block.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde_bytes::ByteBuf;

use super::rows::{TaskPlan, TaskRow, TaskStatus, id_of, waiting_key};
use crate::cbor;
use crate::chain::rows::parse_row;
use crate::chain::transaction::TaskId;
use crate::kv::{KvError, Read, Table};

/// Checks that each task is in one state, and that the indexes say what the tasks do. Gives the sum of the rewards that are set aside,
/// or the first thing that does not hold.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn check(kv: &dyn Read) -> Result<Result<u64, String>, KvError> {
    let (mut rows, mut plans) = (BTreeMap::<TaskId, TaskRow>::new(), BTreeMap::<TaskId, TaskPlan>::new());
    let mut failed = Ok(());
    kv.scan_prefix(Table::State, b"j", &mut |key, value| {
        let mut read = || match key.split_last() {
            Some((0, rest)) => {
                let id = id_of(rest, 1).ok_or_else(|| KvError::damaged(Table::State, key))?;
                Ok(drop(plans.insert(id, parse_row(Table::State, key, value)?)))
            }
            _ => {
                let id = id_of(key, 1).ok_or_else(|| KvError::damaged(Table::State, key))?;
                Ok(drop(rows.insert(id, parse_row(Table::State, key, value)?)))
            }
        };
        failed = read();
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    let mut indexes = BTreeMap::new();
    for letter in [b"q", b"l", b"y", b"w"] {
        kv.scan_prefix(Table::State, letter, &mut |key, value| {
            indexes.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    Ok(faults(&rows, &plans, &indexes)
        .map_or_else(|| Ok(rows.values().filter(|row| row.locks_reward()).map(|row| row.reward).sum()), Err))
}

/// The first thing that does not hold.
fn faults(
    rows: &BTreeMap<TaskId, TaskRow>,
    plans: &BTreeMap<TaskId, TaskPlan>,
    indexes: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Option<String> {
    if !rows.keys().eq(plans.keys()) {
        return Some("a task lacks its plan, or a plan its task".to_owned());
    }
    let mut expected: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    let mut dependents: BTreeMap<&TaskId, u32> = BTreeMap::new();
    for ((id, row), plan) in rows.iter().zip(plans.values()) {
        if let Some(fault) = of_state(row) {
            return Some(format!("the task {id} {fault}"));
        }
        let value = |value: Option<ByteBuf>| value.map_or_else(Vec::new, |value| cbor::encode(&value));
        expected.extend(row.index_rows(id).into_iter().map(|(key, rank)| (key, value(rank))));
        let open: BTreeSet<&TaskId> = plan
            .depends_on
            .iter()
            .filter(|dependency| rows.get(dependency).is_none_or(|row| row.status != TaskStatus::Completed))
            .collect();
        if !row.status.is_ended() {
            if row.blocked as usize != open.len() {
                return Some(format!("the task {id} counts {} that block it, and {} do", row.blocked, open.len()));
            }
            for dependency in open {
                expected.insert(waiting_key(dependency, id), Vec::new());
                *dependents.entry(dependency).or_default() += 1;
            }
        }
    }
    for (id, row) in rows {
        let waiting = dependents.get(id).copied().unwrap_or(0);
        if row.dependents != waiting {
            return Some(format!("the task {id} counts {} that wait for it, and {waiting} do", row.dependents));
        }
    }
    if expected == *indexes {
        return None;
    }
    let is_at_odds = |key: &&Vec<u8>| expected.get(*key) != indexes.get(*key);
    let key = expected.keys().chain(indexes.keys()).find(is_at_odds).cloned().unwrap_or_default();
    Some(format!("the index row {} is not what the tasks say", hex::encode(key)))
}

/// What is wrong with a row by itself.
fn of_state(row: &TaskRow) -> Option<&'static str> {
    let held = row.status.is_held();
    [
        (held && row.assignee.is_none(), "is held by nobody"),
        (row.status == TaskStatus::Pending && row.assignee.is_some(), "is pending, and somebody has it"),
        (row.assignee.is_some() && row.attempt == 0, "was assigned without an attempt"),
        (row.lease_until_ms.is_some() != (held && row.blocked == 0), "has a lease at the wrong time"),
        (
            row.status == TaskStatus::InProgress && row.blocked > 0,
            "was started before what it depends on was completed",
        ),
        (row.status.is_ended() != row.end.is_some(), "has a result at the wrong time"),
        (row.reward == 0 && row.sponsor.is_some(), "has a sponsor and no reward"),
    ]
    .into_iter()
    .find_map(|(is_wrong, fault)| is_wrong.then_some(fault))
}
