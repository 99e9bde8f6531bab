//! What operators look at and do.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Answer of `GET /health/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Alive {
    /// Always true: a process that does not live does not answer.
    pub alive: bool,
}

/// Answer of `GET /health/ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ready {
    /// Always true: a daemon that does not serve answers with a problem.
    pub ready: bool,
}

/// One setting of the running daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingInForce {
    /// Its key in `config.toml`.
    pub key: String,
    /// Its value.
    #[schema(value_type = Value)]
    pub value: Value,
    /// Where the value comes from: a flag, `environment NAME`, `file PATH`, or `default`.
    pub origin: String,
    /// Its variable in the environment.
    pub environment: String,
    /// Whether another value is taken at the next start only.
    pub needs_restart: bool,
}

/// Answer of `GET …/settings`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SettingList {
    /// All of them, in the order of the documentation; none for an agent.
    pub settings: Vec<SettingInForce>,
}

/// Answer of `POST …/reload`: what has changed since the settings were read before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// Keys of the settings that are in force now.
    pub applied: Vec<String>,
    /// Keys of those that say something else by now, and need a restart.
    pub needs_restart: Vec<String>,
}
