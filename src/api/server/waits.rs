//! What agents have the daemon wait for: streams and long calls, bounded for each agent and for all together, so that whatever agents do
//! the node's own calls find a place.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::types::{Problem, ProblemCode};
use crate::identity::AgentName;
use crate::limits;

/// Streams and long calls of each agent. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<Mutex<BTreeMap<AgentName, usize>>>);

/// One of them, until this is dropped.
#[derive(Debug)]
pub(super) struct Wait {
    waits: Waits,
    agent: AgentName,
}

impl Waits {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<AgentName, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.counts().values().sum()
    }

    /// One more.
    ///
    /// # Errors
    /// `busy` where there are too many.
    pub fn one_more(&self, agent: &AgentName) -> Result<Wait, Problem> {
        let mut counts = self.counts();
        let all: usize = counts.values().sum();
        let own = counts.entry(agent.clone()).or_default();
        if *own >= limits::API_AGENT_WAITS {
            let detail = format!("the agent `{agent}` has {own} streams and waiting calls, and that is the most");
            return Err(Problem::new(ProblemCode::Busy, detail, "end some, or wait until some have ended"));
        }
        if all >= limits::API_AGENTS_WAITS {
            let detail = format!("the daemon is full: agents have {all} streams and waiting calls");
            return Err(Problem::new(
                ProblemCode::Busy,
                detail,
                "try again in a moment; calls that wait for nothing go on",
            ));
        }
        *own += 1;
        drop(counts);
        Ok(Wait { waits: self.clone(), agent: agent.clone() })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut counts = self.waits.counts();
        if let Some(count) = counts.get_mut(&self.agent) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.agent);
            }
        }
    }
}
