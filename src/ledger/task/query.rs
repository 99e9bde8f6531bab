//! What readers ask of tasks: one, a page of those that fit, those that can be taken now, best first.
//!
//! Reads one consistent view. **A page costs what it looks at, and that is bounded**; what a page has not looked at, its cursor has.

use std::collections::BinaryHeap;
use std::ops::{Bound, ControlFlow};

use serde_bytes::ByteBuf;

use super::rows::{Rank, TaskPlan, TaskRow, TaskStatus, id_of, keyed, plan_key, task_key};
use crate::chain::rows::{parse_row, read_row};
use crate::chain::transaction::TaskId;
use crate::identity::Identity;
use crate::kv::{Direction, KvError, Read, Table};
use crate::limits;

/// A task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// What changes of it.
    pub row: TaskRow,
    /// What does not.
    pub plan: TaskPlan,
}

/// Which tasks are asked for: those that fit all that is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    /// How they stand.
    pub status: Option<TaskStatus>,
    /// Who has them, or had them when they ended.
    pub assignee: Option<Identity>,
    /// Who created them.
    pub creator: Option<Identity>,
    /// Only those that have not ended.
    pub open: bool,
    /// Only those that stand for reserved resources, or none of them; both where it is none.
    pub reserved: Option<bool>,
}

impl Filter {
    fn fits(&self, id: &TaskId, row: &TaskRow) -> bool {
        !(self.open && row.status.is_ended())
            && self.reserved.is_none_or(|reserved| reserved == id.is_resource())
            && self.status.is_none_or(|status| status == row.status)
            && self.assignee.is_none_or(|assignee| Some(assignee) == row.assignee)
            && self.creator.is_none_or(|creator| creator == row.creator)
    }
}

/// A page of tasks.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Page {
    /// The tasks, ascending by id.
    pub tasks: Vec<Task>,
    /// The last that was looked at; none where there are no more.
    pub next: Option<TaskId>,
}

fn damaged(key: &[u8]) -> KvError {
    KvError::damaged(Table::State, key)
}

/// A task's row; none where no applied block has created it.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn row(kv: &dyn Read, id: &TaskId) -> Result<Option<TaskRow>, KvError> {
    read_row(kv, Table::State, &task_key(id))
}

/// A task; none where no applied block has created it.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn task(kv: &dyn Read, id: &TaskId) -> Result<Option<Task>, KvError> {
    let Some(row) = row(kv, id)? else { return Ok(None) };
    let key = plan_key(id);
    let plan = read_row(kv, Table::State, &key)?.ok_or_else(|| damaged(&key))?;
    Ok(Some(Task { id: id.clone(), row, plan }))
}

/// Those of a task's dependencies that are not completed, and how they stand.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn blocked_by(kv: &dyn Read, task: &Task) -> Result<Vec<(TaskId, TaskStatus)>, KvError> {
    let mut left = Vec::new();
    if task.row.blocked == 0 {
        return Ok(left);
    }
    for id in &task.plan.depends_on {
        let status = row(kv, id)?.ok_or_else(|| damaged(&task_key(id)))?.status;
        if status != TaskStatus::Completed {
            left.push((id.clone(), status));
        }
    }
    Ok(left)
}

/// Tasks that fit, ascending by id, behind `after`: at most `limit`, of at most [`limits::TASK_SCAN`] that are looked at.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn page(kv: &dyn Read, filter: &Filter, after: Option<&TaskId>, limit: usize) -> Result<Page, KvError> {
    // What somebody has is found by who has it.
    let prefix = match (filter.assignee, filter.status) {
        (Some(assignee), Some(status)) if status.is_held() => keyed(b'y', &[assignee.as_bytes()]),
        _ => vec![b'j'],
    };
    let first = match after {
        // Behind its row and its plan.
        Some(after) => [prefix.as_slice(), after.0.as_bytes(), &[1]].concat(),
        None => prefix.clone(),
    };
    let end = crate::kv::prefix_end(&prefix);
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let (mut found, mut last, mut looked_at, mut more) = (Vec::new(), None, 0, false);
    let mut failed = Ok(());
    kv.scan(Table::State, (Bound::Included(&first), upper), Direction::Up, &mut |key, value| {
        if key.last() == Some(&0) {
            return ControlFlow::Continue(());
        }
        if found.len() == limit || looked_at == limits::TASK_SCAN {
            more = true;
            return ControlFlow::Break(());
        }
        looked_at += 1;
        let id = id_of(key, prefix.len()).ok_or_else(|| damaged(key));
        let row = id.and_then(|id| {
            let row = match prefix.as_slice() {
                b"j" => parse_row(Table::State, key, value)?,
                _ => row(kv, &id)?.ok_or_else(|| damaged(key))?,
            };
            Ok((id, row))
        });
        match row {
            Ok((id, row)) => {
                last = Some(id.clone());
                if filter.fits(&id, &row) {
                    found.push((id, row));
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed?;
    Ok(Page { tasks: with_plans(kv, found)?, next: last.filter(|_| more) })
}

fn with_plans(kv: &dyn Read, rows: Vec<(TaskId, TaskRow)>) -> Result<Vec<Task>, KvError> {
    let with_plan = |(id, row)| {
        let key = plan_key(&id);
        let plan = read_row(kv, Table::State, &key)?.ok_or_else(|| damaged(&key))?;
        Ok(Task { id, row, plan })
    };
    rows.into_iter().map(with_plan).collect()
}

/// Tasks that anyone may take at `now_ms`, best first, at most `limit`: those that nobody has, and those whose lease is over (of these
/// the [`limits::TASK_EXPIRED`] that were over first are looked at). Reserved resources are no work, and are left out.
///
/// # Errors
/// [`KvError`] where the store fails.
pub fn ready(kv: &dyn Read, now_ms: u64, limit: usize) -> Result<Vec<Task>, KvError> {
    // The worst of the best on top: rank and id, as in the keys of the index.
    let mut best: BinaryHeap<(Vec<u8>, TaskId)> = BinaryHeap::new();
    let mut failed = Ok(());
    kv.scan_prefix(Table::State, b"q", &mut |key, _| {
        match (key.get(1..=Rank::BYTES), id_of(key, 1 + Rank::BYTES)) {
            (Some(_), Some(id)) if id.is_resource() => {}
            (Some(rank), Some(id)) => best.push((rank.to_vec(), id)),
            _ => failed = Err(damaged(key)),
        }
        if failed.is_ok() && best.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    let (mut failed, mut looked_at) = (Ok(()), 0);
    let end = keyed(b'l', &[&now_ms.saturating_add(1).to_be_bytes()]);
    let range = (Bound::Included(&b"l"[..]), Bound::Excluded(end.as_slice()));
    kv.scan(Table::State, range, Direction::Up, &mut |key, value| {
        if looked_at == limits::TASK_EXPIRED {
            return ControlFlow::Break(());
        }
        looked_at += 1;
        match (parse_row::<ByteBuf>(Table::State, key, value), id_of(key, 9)) {
            (Ok(_), Some(id)) if id.is_resource() => {}
            (Ok(rank), Some(id)) => best.push((rank.into_vec(), id)),
            (Err(error), _) => failed = Err(error),
            (_, None) => failed = Err(damaged(key)),
        }
        if best.len() > limit {
            best.pop();
        }
        if failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    failed?;
    let rows = best.into_sorted_vec().into_iter().map(|(_, id)| {
        let row = row(kv, &id)?.ok_or_else(|| damaged(&task_key(&id)))?;
        Ok((id, row))
    });
    with_plans(kv, rows.collect::<Result<_, KvError>>()?)
}
