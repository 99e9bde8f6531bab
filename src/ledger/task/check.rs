//! What must hold of the rows of tasks after every block.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use super::rows::{TaskPlan, TaskRow, TaskStatus, id_of, waiting_key};
use crate::cbor;
use crate::chain::rows::parse_row;
use crate::chain::transaction::TaskId;
use crate::kv::{KvError, Read, Table};
use crate::ledger::invariants::Broken;

/// Checks that each task is in one state, and that the indexes say what the tasks do; what is set aside as rewards.
///
/// # Errors
/// [`KvError`] where the store fails.
pub(crate) fn check(kv: &dyn Read, broken: &mut Vec<Broken>) -> Result<u128, KvError> {
    let (rows, plans) = tasks(kv)?;
    if !rows.keys().eq(plans.keys()) {
        broken.push(Broken::Count { what: "tasks", counted: rows.len() as u64, found: plans.len() as u64 });
    }
    for (id, row) in &rows {
        let faults = faults_of(row).into_iter().filter(|(is_wrong, _)| *is_wrong);
        broken.extend(faults.map(|(_, what)| Broken::Task { task: id.clone(), what }));
    }
    let (mut expected, mut dependents) = (BTreeMap::new(), BTreeMap::<&TaskId, u64>::new());
    for (id, row) in &rows {
        let value = |value: Option<ByteBuf>| value.map_or_else(Vec::new, |value| cbor::encode(&value));
        expected.extend(row.index_rows(id).into_iter().map(|(key, rank)| (key, value(rank))));
        let Some(plan) = plans.get(id).filter(|_| !row.status.is_ended()) else { continue };
        let is_open = |id: &&TaskId| rows.get(id).is_none_or(|row| row.status != TaskStatus::Completed);
        let mut blocked = 0;
        for dependency in plan.depends_on.iter().filter(is_open) {
            expected.insert(waiting_key(dependency, id), Vec::new());
            *dependents.entry(dependency).or_default() += 1;
            blocked += 1;
        }
        if u64::from(row.blocked) != blocked {
            broken.push(Broken::Count { what: "open dependencies", counted: row.blocked.into(), found: blocked });
        }
    }
    for (id, row) in &rows {
        let found = dependents.get(id).copied().unwrap_or(0);
        if u64::from(row.dependents) != found {
            broken.push(Broken::Count { what: "waiting tasks", counted: row.dependents.into(), found });
        }
    }
    let indexes = indexes(kv)?;
    let is_at_odds = |key: &&Vec<u8>| expected.get(*key) != indexes.get(*key);
    if let Some(key) = expected.keys().chain(indexes.keys()).find(is_at_odds) {
        broken.push(Broken::Index(hex::encode(key)));
    }
    Ok(rows.values().filter(|row| row.locks_reward()).map(|row| u128::from(row.reward)).sum())
}

type Tasks = (BTreeMap<TaskId, TaskRow>, BTreeMap<TaskId, TaskPlan>);

fn tasks(kv: &dyn Read) -> Result<Tasks, KvError> {
    let (mut rows, mut plans) = (BTreeMap::new(), BTreeMap::new());
    let mut failed = Ok(());
    kv.scan_prefix(Table::State, b"j", &mut |key, value| {
        failed = match key.split_last() {
            Some((0, rest)) => keep(&mut plans, rest, key, value),
            _ => keep(&mut rows, key, key, value),
        };
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed.map(|()| (rows, plans))
}

fn keep<T: DeserializeOwned>(
    kept: &mut BTreeMap<TaskId, T>,
    named: &[u8],
    key: &[u8],
    value: &[u8],
) -> Result<(), KvError> {
    let id = id_of(named, 1).ok_or_else(|| KvError::damaged(Table::State, key))?;
    kept.insert(id, parse_row(Table::State, key, value)?);
    Ok(())
}

fn indexes(kv: &dyn Read) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, KvError> {
    let mut indexes = BTreeMap::new();
    for letter in [b"q", b"l", b"y", b"w"] {
        kv.scan_prefix(Table::State, letter, &mut |key, value| {
            indexes.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        })?;
    }
    Ok(indexes)
}

/// What may be wrong with a row by itself, and whether it is.
const fn faults_of(row: &TaskRow) -> [(bool, &'static str); 7] {
    let held = row.status.is_held();
    let is_pending = matches!(row.status, TaskStatus::Pending);
    let is_started = matches!(row.status, TaskStatus::InProgress);
    [
        (held && row.assignee.is_none(), "is held by nobody"),
        (is_pending && row.assignee.is_some(), "is pending, and somebody has it"),
        (row.assignee.is_some() && row.attempt == 0, "was assigned without an attempt"),
        (row.lease_until_ms.is_some() != (held && row.blocked == 0), "has a lease at the wrong time"),
        (is_started && row.blocked > 0, "was started before what it depends on was completed"),
        (row.status.is_ended() != row.end.is_some(), "has a result at the wrong time"),
        (row.reward == 0 && row.sponsor.is_some(), "has a sponsor and no reward"),
    ]
}
