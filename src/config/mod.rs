//! Settings: where each comes from, and whether it makes sense.
//!
//! Owns the order *flag, environment, `DATA/config.toml`, default*, the type and range of every setting, and the default data
//! folder. **A value that is not understood is never skipped**: an unknown key in the file, a word that is no number, a
//! number out of range each end the start with the place they stand at. Knows nothing of what a setting is for.

mod admin;
mod embedder;
mod error;
mod file;
mod value;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use libp2p::Multiaddr;
use serde::Serialize;

pub use admin::{AdminAddress, AdminFlags, AdminSettings, host_name};
pub use embedder::{EmbedderChoice, EmbedderFlags, EmbedderSettings, Prefixes, Url};
pub use error::{BadValue, ConfigError};
pub use value::{KademliaRole, LogLevel, LoopbackAddress, listen_address, peer_address};

use crate::access::Rule;

use self::file::File;
use self::value::Raw;
use crate::limits;

/// Reads one variable of the environment. Tests give their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
#[must_use]
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Environment(&'static str),
    /// The settings file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// What the command line of the daemon says. Nothing where it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`: another file than `DATA/config.toml`.
    pub config: Option<PathBuf>,
    /// `--listen`.
    pub listen: Vec<Multiaddr>,
    /// `--peer`.
    pub peers: Vec<Multiaddr>,
    /// `--no-mdns`.
    pub no_mdns: bool,
    /// `--kademlia`.
    pub kademlia: Option<KademliaRole>,
    /// `--mcp`.
    pub mcp: Option<LoopbackAddress>,
    /// `--metrics`.
    pub metrics: Option<LoopbackAddress>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--admin…`.
    pub admin: AdminFlags,
    /// `--embedder-…`.
    pub embedder: EmbedderFlags,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses to listen on.
    pub listen: Setting<Vec<Multiaddr>>,
    /// Peers to keep connected, each an address with `/p2p/`.
    pub peers: Setting<Vec<Multiaddr>>,
    /// Whether to find peers by multicast DNS.
    pub mdns: Setting<bool>,
    /// What to do for finding peers beyond that.
    pub kademlia: Setting<KademliaRole>,
    /// Where agents are served over HTTP.
    pub mcp: Setting<LoopbackAddress>,
    /// What to log.
    pub log_level: Setting<LogLevel>,
    /// Folder for a log file per day, besides standard error.
    pub log_dir: Setting<Option<PathBuf>>,
    /// Whether to log as JSON, one object a line.
    pub log_json: Setting<bool>,
    /// How far ahead of this clock a block may be, milliseconds.
    pub max_clock_drift_ms: Setting<u64>,
    /// How long an order that this node signs may be written, milliseconds.
    pub nonce_expiry_ms: Setting<u64>,
    /// Who may connect: where it has entries, nobody else.
    pub allow: Setting<Vec<Rule>>,
    /// Who may not, whatever `allow` says.
    pub deny: Setting<Vec<Rule>>,
    /// Inbound connections from one address.
    pub p2p_max_conn_per_ip: Setting<u32>,
    /// Requests of one peer that are served in a minute.
    pub p2p_max_req_per_min: Setting<u32>,
    /// Seconds between two repair pulls.
    pub sync_interval_s: Setting<u64>,
    /// Whether the daemon syncs by itself.
    pub sync_auto_start: Setting<bool>,
    /// Where metrics are served over HTTP.
    pub metrics: Setting<LoopbackAddress>,
    /// Where the panel is served, and to whom.
    pub admin: AdminSettings,
    /// What makes vectors of claims and queries.
    pub embedder: EmbedderSettings,
    /// Where they came from, to be read there again.
    source: Source,
}

/// Where settings come from, besides the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    data: PathBuf,
    flags: Flags,
}

/// A key of the settings file and its variable in the environment.
#[derive(Debug, Clone, Copy)]
struct Key {
    name: &'static str,
    environment: &'static str,
}

const LISTEN: Key = Key { name: "listen", environment: "LB_LISTEN" };
const PEERS: Key = Key { name: "peers", environment: "LB_PEERS" };
const MDNS: Key = Key { name: "mdns", environment: "LB_MDNS" };
const KADEMLIA: Key = Key { name: "kademlia", environment: "LB_KADEMLIA" };
const MCP: Key = Key { name: "mcp", environment: "LB_MCP" };
const METRICS: Key = Key { name: "metrics", environment: "LB_METRICS" };
const LOG_LEVEL: Key = Key { name: "log_level", environment: "LB_LOG_LEVEL" };
const LOG_DIR: Key = Key { name: "log_dir", environment: "LB_LOG_DIR" };
const LOG_JSON: Key = Key { name: "log_json", environment: "LB_LOG_JSON" };
const MAX_CLOCK_DRIFT_MS: Key = Key { name: "max_clock_drift_ms", environment: "LB_MAX_CLOCK_DRIFT_MS" };
const NONCE_EXPIRY_MS: Key = Key { name: "nonce_expiry_ms", environment: "LB_NONCE_EXPIRY_MS" };
const ALLOW: Key = Key { name: "allow", environment: "LB_ALLOW" };
const DENY: Key = Key { name: "deny", environment: "LB_DENY" };
const P2P_MAX_CONN_PER_IP: Key = Key { name: "p2p_max_conn_per_ip", environment: "LB_P2P_MAX_CONN_PER_IP" };
const P2P_MAX_REQ_PER_MIN: Key = Key { name: "p2p_max_req_per_min", environment: "LB_P2P_MAX_REQ_PER_MIN" };
const SYNC_INTERVAL_S: Key = Key { name: "sync_interval_s", environment: "LB_SYNC_INTERVAL_S" };
const SYNC_AUTO_START: Key = Key { name: "sync_auto_start", environment: "LB_SYNC_AUTO_START" };

const OWN_KEYS: [Key; 17] = [
    LISTEN,
    PEERS,
    MDNS,
    KADEMLIA,
    MCP,
    METRICS,
    LOG_LEVEL,
    LOG_DIR,
    LOG_JSON,
    MAX_CLOCK_DRIFT_MS,
    NONCE_EXPIRY_MS,
    ALLOW,
    DENY,
    P2P_MAX_CONN_PER_IP,
    P2P_MAX_REQ_PER_MIN,
    SYNC_INTERVAL_S,
    SYNC_AUTO_START,
];

/// Every setting.
fn keys() -> impl Iterator<Item = Key> {
    OWN_KEYS.into_iter().chain(admin::KEYS).chain(embedder::KEYS)
}

/// Where the daemon listens when nobody says otherwise: every IPv4 interface, so that mDNS can find it, on one port for TCP
/// and QUIC, so that a peer that was told the address once finds it again. A second daemon on the machine finds the port
/// in use and may take any other, since nobody asked for this one.
fn default_listen() -> Vec<Multiaddr> {
    use libp2p::multiaddr::Protocol::{Ip4, QuicV1, Tcp, Udp};
    let any = || Multiaddr::empty().with(Ip4([0, 0, 0, 0].into()));
    vec![any().with(Tcp(7337)), any().with(Udp(7337)).with(QuicV1)]
}

impl Settings {
    /// The settings of the data folder `data`.
    ///
    /// An empty variable of the environment counts as none.
    ///
    /// # Errors
    /// [`ConfigError`]: the file cannot be read, names an unknown key, or some value is not understood or out of range.
    pub fn load(data: &Path, flags: Flags, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let source = Source { data: data.to_owned(), flags: flags.clone() };
        let file = match &flags.config {
            Some(path) => File::read(path)?,
            None => File::read_if_there(&data.join("config.toml"))?,
        };
        let from = Sources { file: &file, environment };
        let some = |list: Vec<Multiaddr>| Some(list).filter(|list| !list.is_empty());
        Ok(Self {
            listen: from.pick(
                LISTEN,
                ("--listen", some(flags.listen)),
                |raw| raw.addresses(listen_address, limits::LISTEN_ADDRESSES),
                default_listen(),
            )?,
            peers: from.pick(
                PEERS,
                ("--peer", some(flags.peers)),
                |raw| raw.addresses(peer_address, limits::STATIC_PEERS),
                Vec::new(),
            )?,
            mdns: from.pick(MDNS, ("--no-mdns", flags.no_mdns.then_some(false)), |raw| raw.boolean(), true)?,
            kademlia: from.pick(
                KADEMLIA,
                ("--kademlia", flags.kademlia),
                |raw| raw.kademlia(),
                KademliaRole::Client,
            )?,
            mcp: from.pick(MCP, ("--mcp", flags.mcp), |raw| raw.loopback_address(), LoopbackAddress(None))?,
            metrics: from.pick(
                METRICS,
                ("--metrics", flags.metrics),
                |raw| raw.loopback_address(),
                LoopbackAddress(None),
            )?,
            log_level: from.pick(LOG_LEVEL, ("--log-level", flags.log_level), |raw| raw.level(), LogLevel::Info)?,
            log_dir: from.unflagged(LOG_DIR, |raw| raw.path(data).map(Some), None)?,
            log_json: from.unflagged(LOG_JSON, |raw| raw.boolean(), false)?,
            // At least a second: clocks of one network differ. At most a day: past it back-dating protects nobody.
            max_clock_drift_ms: from.unflagged(
                MAX_CLOCK_DRIFT_MS,
                |raw| raw.number(1_000..=86_400_000),
                limits::MAX_CLOCK_DRIFT_MS,
            )?,
            // At least a minute: an order travels, and clocks differ. At most a day: nobody could write another meanwhile.
            nonce_expiry_ms: from.unflagged(
                NONCE_EXPIRY_MS,
                |raw| raw.number(60_000..=86_400_000),
                limits::ORDER_LIFE_MS,
            )?,
            allow: from.unflagged(ALLOW, |raw| raw.rules(), Vec::new())?,
            deny: from.unflagged(DENY, |raw| raw.rules(), Vec::new())?,
            // At least two: both sides of a pair may dial at once.
            p2p_max_conn_per_ip: from.unflagged(
                P2P_MAX_CONN_PER_IP,
                |raw| raw.number(2..=limits::INBOUND_CONNECTIONS),
                limits::CONNECTIONS_PER_ADDRESS,
            )?,
            // At least ten: fewer and no sync ends.
            p2p_max_req_per_min: from.unflagged(
                P2P_MAX_REQ_PER_MIN,
                |raw| raw.number(10..=1_000_000),
                limits::REQUESTS_PER_PEER_PER_MIN,
            )?,
            sync_interval_s: from.unflagged(
                SYNC_INTERVAL_S,
                |raw| raw.number(1..=limits::SYNC_INTERVAL_MOST_S),
                limits::SYNC_INTERVAL_S,
            )?,
            sync_auto_start: from.unflagged(SYNC_AUTO_START, |raw| raw.boolean(), true)?,
            admin: AdminSettings::load(&from, flags.admin)?,
            embedder: EmbedderSettings::load(&from, flags.embedder, data)?,
            source,
        })
    }

    /// The same, read again: the flags as they were given, the file and the environment of the process as they are now.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn again(&self) -> Result<Self, ConfigError> {
        Self::load(&self.source.data, self.source.flags.clone(), &process_environment)
    }

    /// Every setting for people and scripts, in the order of the documentation.
    #[must_use]
    pub fn rows(&self) -> Vec<SettingRow> {
        let own = [
            row(LISTEN, &self.listen),
            row(PEERS, &self.peers),
            row(MDNS, &self.mdns),
            row(KADEMLIA, &self.kademlia),
            row(MCP, &self.mcp),
            row(METRICS, &self.metrics),
            row(LOG_LEVEL, &self.log_level),
            row(LOG_DIR, &self.log_dir),
            row(LOG_JSON, &self.log_json),
            row(MAX_CLOCK_DRIFT_MS, &self.max_clock_drift_ms),
            row(NONCE_EXPIRY_MS, &self.nonce_expiry_ms),
            row(ALLOW, &self.allow),
            row(DENY, &self.deny),
            row(P2P_MAX_CONN_PER_IP, &self.p2p_max_conn_per_ip),
            row(P2P_MAX_REQ_PER_MIN, &self.p2p_max_req_per_min),
            row(SYNC_INTERVAL_S, &self.sync_interval_s),
            row(SYNC_AUTO_START, &self.sync_auto_start),
        ];
        own.into_iter().chain(self.admin.rows()).chain(self.embedder.rows()).collect()
    }
}

/// One setting as `lbm config` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingRow {
    /// Its key in the file.
    pub key: &'static str,
    /// Its value.
    pub value: serde_json::Value,
    /// Where the value comes from.
    pub origin: String,
    /// Its variable in the environment.
    pub environment: &'static str,
}

fn row<T: Serialize>(key: Key, setting: &Setting<T>) -> SettingRow {
    // A path that is not UTF-8 has no JSON form.
    let value = serde_json::to_value(&setting.value).unwrap_or(serde_json::Value::Null);
    SettingRow { key: key.name, value, origin: setting.origin.to_string(), environment: key.environment }
}

/// The one that names the data folder, and is no setting of it.
const DATA: &str = "LB_DATA";

/// Refuses a variable of the environment that looks like a setting and is none: a misspelt one would do nothing, and nobody would know.
///
/// # Errors
/// [`ConfigError::UnknownVariable`].
pub fn check_names(names: impl IntoIterator<Item = OsString>) -> Result<(), ConfigError> {
    let is_known = |name: &str| keys().any(|key| key.environment == name) || name == DATA;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    match names.filter(|name| name.starts_with("LB_")).find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => {
            let near = file::nearest(&name).and_then(|near| keys().find(|key| key.name == near));
            Err(ConfigError::UnknownVariable { near: near.map(|key| key.environment), name })
        }
    }
}

/// What stands behind the flags.
struct Sources<'a> {
    file: &'a File,
    environment: Environment<'a>,
}

impl Sources<'_> {
    fn pick<T>(
        &self,
        key: Key,
        (flag, given): (&'static str, Option<T>),
        parse: impl Fn(Raw<'_>) -> Result<T, BadValue>,
        default: T,
    ) -> Result<Setting<T>, ConfigError> {
        match given {
            Some(value) => Ok(Setting { value, origin: Origin::Flag(flag) }),
            None => self.unflagged(key, parse, default),
        }
    }

    fn unflagged<T>(
        &self,
        key: Key,
        parse: impl Fn(Raw<'_>) -> Result<T, BadValue>,
        default: T,
    ) -> Result<Setting<T>, ConfigError> {
        if let Some(text) = (self.environment)(key.environment).filter(|text| !text.is_empty()) {
            let origin = Origin::Environment(key.environment);
            let parsed = text.to_str().ok_or(BadValue::NotUtf8).and_then(|text| parse(Raw::Text(text)));
            let shown = || format!("`{}`", text.to_string_lossy());
            return finish(key, parsed, origin, shown);
        }
        match self.file.get(key.name) {
            Some((path, value)) => finish(key, parse(Raw::Toml(value)), Origin::File(path.to_owned()), || {
                format!("`{}`", serde_json::json!(value))
            }),
            None => Ok(Setting { value: default, origin: Origin::Default }),
        }
    }
}

fn finish<T>(
    key: Key,
    parsed: Result<T, BadValue>,
    origin: Origin,
    shown: impl Fn() -> String,
) -> Result<Setting<T>, ConfigError> {
    match parsed {
        Ok(value) => Ok(Setting { value, origin }),
        Err(source) => Err(ConfigError::Value { key: key.name, value: shown(), origin, source }),
    }
}

/// The data folder: `--data`, `LB_DATA`, or the platform's place for a program's data.
///
/// # Errors
/// [`ConfigError::NoHome`] where none of them is known.
pub fn data_folder(flag: Option<PathBuf>, environment: Environment<'_>) -> Result<Setting<PathBuf>, ConfigError> {
    let named = |name| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(value) = flag {
        return Ok(Setting { value, origin: Origin::Flag("--data") });
    }
    if let Some(value) = named(DATA) {
        return Ok(Setting { value, origin: Origin::Environment(DATA) });
    }
    let value = if cfg!(target_os = "macos") {
        named("HOME").map(|home| home.join("Library/Application Support/lbm"))
    } else {
        // XDG Base Directory Specification: a relative path is to be ignored. A relative home would put the key into any folder.
        let absolute = |name| named(name).filter(|path| path.is_absolute());
        let data_home = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
        data_home.map(|folder| folder.join("lbm"))
    };
    value.map(|value| Setting { value, origin: Origin::Default }).ok_or(ConfigError::NoHome)
}

#[cfg(test)]
mod tests;
