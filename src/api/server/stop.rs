//! What ends a request that waits: the daemon stops, or the agent in whose name it waits is revoked.

use tokio::sync::watch;

use super::agent::revoked;
use crate::api::types::Problem;
use crate::identity::AgentName;
use crate::runtime::Stopping;

/// What ends a request that waits.
#[derive(Clone)]
pub(super) struct Stop {
    daemon: watch::Receiver<bool>,
    agent: Option<(AgentName, watch::Receiver<bool>)>,
}

impl Stop {
    /// The daemon's end.
    pub(super) const fn of_daemon(daemon: watch::Receiver<bool>) -> Self {
        Self { daemon, agent: None }
    }

    /// The same for an agent, whose own end is `gone`.
    pub(super) fn of_agent(&self, name: &AgentName, gone: watch::Receiver<bool>) -> Self {
        Self { daemon: self.daemon.clone(), agent: Some((name.clone(), gone)) }
    }

    /// Waits for the end; what to answer then.
    pub(super) async fn reached(&mut self) -> Problem {
        match &mut self.agent {
            None => stopped(&mut self.daemon).await,
            Some((name, gone)) => tokio::select! {
                biased;
                () = stopped(&mut self.daemon) => {}
                () = stopped(gone) => return revoked(name),
            },
        }
        Stopping.into()
    }
}

/// Waits until it is said that something stops.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Where nobody can say so any more, it is gone.
    let _stopped = stop.wait_for(|stop| *stop).await;
}
