//! Running the daemon: `lbm-node`, and its alias `lbm node`.
//!
//! Locks the data folder, opens what is in it, and serves until SIGTERM or Ctrl-C. **What it has acknowledged is on the disk
//! before it ends**, and one that is told to stop a second time ends at once.

mod faces;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::faces::Listeners;
use super::error::{CliError, Outcome};
use super::node::NodeArgs;
use super::password::Terminal;
use crate::api::{server, socket_path};
use crate::config::{Settings, check_names, process_environment};
use crate::datadir::{DataDir, Keyring};
use crate::identity::SecretKey;
use crate::limits;
use crate::mcp::http;
use crate::runtime::clock::unix_ms;
use crate::runtime::{Daemon, StartError};
use crate::store::Store;
use crate::telemetry::{self, LogSettings};
use crate::web;
use crate::web::session::Sessions;

/// Runs the daemon on the data folder `data` until it is told to stop.
#[must_use]
pub fn run(args: &NodeArgs, data: Result<PathBuf, CliError>) -> ExitCode {
    let ran = data.and_then(|data| serve(args, &data));
    super::finish(ran, false, &mut io::stdout().lock(), &mut io::stderr().lock())
}

fn serve(args: &NodeArgs, data: &Path) -> Result<Outcome, CliError> {
    // First, so that a folder that is none is named as such and not as settings that cannot be read.
    let folder = DataDir::open(data).map_err(StartFailure::from)?;
    check_names(std::env::vars_os().map(|(name, _)| name))?;
    let settings = Settings::load(data, args.flags(), &process_environment)?;
    // Held until everything below is closed.
    let _lock = folder.lock().map_err(StartFailure::from)?;
    telemetry::start(&LogSettings {
        level: settings.log_level.value,
        json: settings.log_json.value,
        folder: settings.log_dir.value.clone(),
    })
    .map_err(StartFailure::from)?;
    let source = args.password.source();
    let keys: Keyring = folder.load_keys(|| source.present(&mut Terminal).map_err(super::keys::KeysError::from))?;
    let name = folder.show().map_err(StartFailure::from)?.name;
    let agents: Vec<_> = keys.agents.values().map(SecretKey::identity).collect();
    let store = Store::open_of(&folder.database_path(), &keys.node.identity(), &agents).map_err(StartFailure::from)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Start)?;
    let ran = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Start)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(CliError::Start)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Start)?;
        let listeners = Listeners::bind(&settings, data).await?;
        let daemon = Daemon::start(&folder, keys, name, store, &settings).map_err(|error| {
            // A start that fails leaves no socket behind; one that is gone already is as good.
            let _gone = std::fs::remove_file(socket_path(data));
            StartFailure::from(error)
        })?;
        let (stop, stopping) = watch::channel(false);
        let sessions = Sessions::open(folder.sessions_path(), unix_ms());
        let serving = listeners.serve(&daemon, &settings, (data, sessions), stopping);
        ready(&daemon, settings.listen.value.len()).await?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => reload(&daemon).await,
            }
        }
        tracing::info!("stopping");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
        // A face has ended by itself only if it failed; then there is nothing to tell.
        let _ended = stop.send(true);
        serving.ended().await;
        daemon.stop().await;
        // A file that is gone already is as good.
        let _gone = std::fs::remove_file(socket_path(data));
        Ok(Outcome::Done)
    });
    // What still reads for a caller that is gone is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(limits::READERS_STOP_MS));
    ran
}

/// Reads the settings again, as a supervisor asks by SIGHUP. Who asked is not there to be answered: the log says what came of it.
async fn reload(daemon: &Daemon) {
    if let Err(error) = daemon.node.reload().await {
        tracing::error!(%error, "the settings cannot be used: the daemon goes on with what it had");
    }
}

/// Says on standard output that the daemon serves, and where.
async fn ready(daemon: &Daemon, listeners: usize) -> Result<(), CliError> {
    let deadline = tokio::time::Instant::now() + Duration::from_millis(limits::LISTEN_MS);
    let mut addresses = daemon.node.listening().await.unwrap_or_default();
    // A listener at every address of the machine learns of them one by one.
    let mut before = 0;
    while (addresses.len() < listeners || addresses.len() > before) && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
        before = addresses.len();
        addresses = daemon.node.listening().await.unwrap_or_default();
    }
    let mut out = io::stdout().lock();
    write!(out, "ready {} {}", daemon.node.name, daemon.node.identity)?;
    for address in addresses {
        write!(out, " {address}")?;
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartFailure {
    /// The data folder or the key in it.
    #[error(transparent)]
    Data(#[from] crate::datadir::DataDirError),
    /// Logging.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// The database.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The listener for agents.
    #[error(transparent)]
    Mcp(#[from] http::BindError),
    /// The listener for metrics.
    #[error(transparent)]
    Metrics(#[from] server::MetricsBindError),
    /// The panel.
    #[error(transparent)]
    Panel(#[from] web::BindError),
    /// The local socket.
    #[error(transparent)]
    Socket(#[from] server::BindError),
    /// The network, or a thread.
    #[error(transparent)]
    Daemon(#[from] StartError),
}
