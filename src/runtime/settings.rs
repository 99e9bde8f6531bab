//! Settings that change while the daemon runs: read again on SIGHUP and on `lbm ctl reload`.
//!
//! **Either all of them can be used or nothing changes.** What cannot change without a restart is named, and stays as it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::access::Access;
use crate::config::{ConfigError, SettingRow, Settings};
use crate::runtime::{Node, Stopping};
use crate::telemetry;

/// Keys of the settings that need no restart.
pub const LIVE: [&str; 5] = ["log_level", "allow", "deny", "p2p_max_conn_per_ip", "p2p_max_req_per_min"];

/// The settings in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InForce(Arc<Mutex<Settings>>);

impl InForce {
    /// Those that the daemon has started with.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Mutex::new(settings)))
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each with its value and origin.
    #[must_use]
    pub fn rows(&self) -> Vec<SettingRow> {
        self.settings().rows()
    }
}

/// What a peer may, as the settings say.
#[derive(Debug, Clone)]
pub struct PeerLimits {
    /// Who may connect.
    pub access: Access,
    /// Inbound connections from one address.
    pub connections_per_address: u32,
    /// Requests of one peer in a minute.
    pub requests_per_min: u32,
}

impl PeerLimits {
    /// What these settings say.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            access: Access { allow: settings.allow.value.clone(), deny: settings.deny.value.clone() },
            connections_per_address: settings.p2p_max_conn_per_ip.value,
            requests_per_min: settings.p2p_max_req_per_min.value,
        }
    }
}

/// What reading the settings again has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// Keys of those that are in force now.
    pub applied: Vec<&'static str>,
    /// Keys of those that say something else by now and need a restart.
    pub needs_restart: Vec<&'static str>,
}

/// Why the settings could not be read again. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// They cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Node {
    /// Reads the settings again, from where they came from, and puts those in force that need no restart.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn reload(&self) -> Result<Changed, ReloadError> {
        let old = self.settings.settings().clone();
        let new = old.again()?;
        let (was, is) = (old.rows(), new.rows());
        let differs = |row: &&SettingRow| was.iter().any(|old| old.key == row.key && old.value != row.value);
        let (applied, needs_restart) = is.iter().filter(differs).map(|row| row.key).partition(|key| LIVE.contains(key));
        self.limit_peers(PeerLimits::of(&new)).await?;
        telemetry::set_level(new.log_level.value);
        let mut settings = old;
        settings.log_level = new.log_level;
        (settings.allow, settings.deny) = (new.allow, new.deny);
        settings.p2p_max_conn_per_ip = new.p2p_max_conn_per_ip;
        settings.p2p_max_req_per_min = new.p2p_max_req_per_min;
        *self.settings.settings() = settings;
        let changed = Changed { applied, needs_restart };
        tracing::info!(applied = ?changed.applied, needs_restart = ?changed.needs_restart, "read the settings again");
        Ok(changed)
    }
}
