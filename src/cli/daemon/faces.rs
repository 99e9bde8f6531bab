//! What a daemon serves, and where: the API on the local socket; agents, metrics and the panel by HTTP where they are to be.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::StartFailure;
use crate::api::client::Client;
use crate::api::{routes, server};
use crate::config::{AdminAddress, LoopbackAddress, Origin, Settings};
use crate::limits;
use crate::mcp::http;
use crate::runtime::Daemon;
use crate::runtime::agents::Bearer;
use crate::web;
use crate::web::session::Sessions;

/// All that is listened on.
pub(super) struct Listeners {
    socket: UnixListener,
    agents: Option<TcpListener>,
    metrics: Option<TcpListener>,
    panel: Option<TcpListener>,
}

impl Listeners {
    /// Opens them. **Only who holds the folder's lock may call this.**
    ///
    /// # Errors
    /// [`StartFailure`], where one that is to be cannot be opened.
    pub(super) async fn bind(settings: &Settings, data: &Path) -> Result<Self, StartFailure> {
        let agents = match settings.mcp.value {
            LoopbackAddress(Some(address)) => Some(http::bind(address).await?),
            LoopbackAddress(None) => None,
        };
        let LoopbackAddress(metrics) = settings.metrics.value;
        let metrics = server::bind_metrics(metrics).await?;
        let panel = panel(settings).await?;
        // Last: a start that fails leaves no socket behind.
        Ok(Self { socket: server::bind(data)?, agents, metrics, panel })
    }

    /// Serves them until `stop` says so.
    pub(super) fn serve(
        self,
        daemon: &Daemon,
        settings: &Settings,
        (data, sessions): (&Path, Sessions),
        stop: watch::Receiver<bool>,
    ) -> Serving {
        let node = daemon.node.clone();
        let service = server::Service::new(node.clone(), sessions.clone(), stop.clone());
        let mut others = Vec::new();
        if let Some(listener) = self.panel {
            let named = (node.node_id.to_string(), settings.admin.hosts.value.clone());
            let serving = web::serve(listener, service.clone(), sessions, named, stop.clone());
            others.push(("the panel", tokio::spawn(serving)));
        }
        if let Some(listener) = self.metrics {
            say("serving metrics", &listener, routes::METRICS.path);
            others.push(("metrics", tokio::spawn(server::serve_metrics(listener, service.clone()))));
        }
        if let Some(listener) = self.agents {
            say("serving agents", &listener, http::PATH);
            let tokens = move |token: &str| {
                let found = node.agents.of_token(&node, token);
                let found = found.inspect_err(|error| tracing::error!(%error, "cannot read whose token it is"));
                found.ok().flatten().map(|Bearer { name, identity, locked }| http::Entrant { name, identity, locked })
            };
            others.push(("agents", tokio::spawn(http::serve(listener, Client::new(data), Arc::new(tokens), stop))));
        }
        let socket = self.socket;
        let api = tokio::spawn(async move {
            if let Err(error) = server::serve(socket, service).await {
                tracing::error!(%error, "the API failed");
            }
        });
        Serving { api, others }
    }
}

/// What is being served.
pub(super) struct Serving {
    api: JoinHandle<()>,
    others: Vec<(&'static str, JoinHandle<()>)>,
}

impl Serving {
    /// Returns when all have ended. What has not within [`limits::FACES_STOP_MS`] of this is cut off.
    pub(super) async fn ended(self) {
        let deadline = Instant::now() + Duration::from_millis(limits::FACES_STOP_MS);
        let all = std::iter::once(("the API", self.api)).chain(self.others);
        for (what, mut serving) in all {
            match timeout_at(deadline, &mut serving).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "serving {what} failed"),
                Err(_late) => {
                    serving.abort();
                    tracing::warn!("serving {what} did not end in time");
                }
            }
        }
    }
}

/// Where the panel is served. Where another program has the default port and nobody asked for it, the daemon starts without.
async fn panel(settings: &Settings) -> Result<Option<TcpListener>, StartFailure> {
    let AdminAddress(Some(address)) = settings.admin.address.value else { return Ok(None) };
    match web::bind(address).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if error.is_in_use() && settings.admin.address.origin == Origin::Default => {
            tracing::warn!(%error, "the panel is not served");
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn say(what: &'static str, listener: &TcpListener, path: &str) {
    if let Ok(address) = listener.local_addr() {
        tracing::info!(url = %format!("http://{address}{path}"), "{what}");
    }
}
