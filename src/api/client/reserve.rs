//! Reserving a named resource, out of what tasks have: the lease of a task that stands for it.
//!
//! The ledger decides who has it, on every node alike. **Between machines that cannot see each other both may believe so** until the
//! blocks meet; then the earlier in order has it.

use super::{Client, ClientError};
use crate::api::types::{NewTask, ProblemCode, ReserveResource, Reserved, StartTask, TaskChanged, TaskDetail};

/// How often is begun anew where others change the resource at the same time.
const TRIES: usize = 4;

impl Client {
    /// Takes a resource, or keeps it for another lease; whoever has it otherwise is in the answer.
    ///
    /// # Errors
    /// [`ClientError`], as its variants say.
    pub async fn reserve_resource(&self, group: &str, request: &ReserveResource) -> Result<Reserved, ClientError> {
        let id = request.task_id();
        let how = StartTask { attempt: None, lease_ms: request.lease_ms };
        let mut tries = 0;
        loop {
            tries += 1;
            let refused = match self.start_task(group, &id, &how).await {
                Ok(changed) => return Ok(mine(request, changed)),
                Err(error) => error,
            };
            match code(&refused) {
                Some(ProblemCode::NoSuchTask) if tries < TRIES => self.found(group, request, &id).await?,
                Some(ProblemCode::TaskTaken | ProblemCode::TaskTakenOver) => {
                    let found = self.task(group, &id).await?;
                    // Given back in between, or taken by another process of the same agent.
                    if found.task.ready && tries < TRIES {
                        continue;
                    }
                    return Ok(others(request, found));
                }
                _ => return Err(refused),
            }
        }
    }

    /// Makes the task that stands for a resource; one that is there by now is as good.
    async fn found(&self, group: &str, request: &ReserveResource, id: &str) -> Result<(), ClientError> {
        let task = NewTask {
            task_id: id.to_owned(),
            title: request.resource.clone(),
            description: None,
            due_ms: None,
            priority: 0,
            depends_on: vec![],
            assignee: None,
            reward: 0,
        };
        match self.create_task(group, &task).await {
            Err(error) if code(&error) != Some(ProblemCode::TaskExists) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn code(error: &ClientError) -> Option<ProblemCode> {
    error.problem().map(|problem| problem.code)
}

fn mine(request: &ReserveResource, changed: TaskChanged) -> Reserved {
    Reserved {
        reserved: true,
        resource: request.resource.clone(),
        task_id: changed.task_id,
        holder: changed.assignee,
        attempt: changed.attempt,
        lease_until_ms: changed.lease_until_ms,
    }
}

fn others(request: &ReserveResource, TaskDetail { task, .. }: TaskDetail) -> Reserved {
    Reserved {
        reserved: false,
        resource: request.resource.clone(),
        task_id: task.task_id,
        holder: task.assignee,
        attempt: task.attempt,
        lease_until_ms: task.lease_until_ms,
    }
}
