//! Why settings cannot be used, and where the bad one stands.

use std::path::PathBuf;

use super::Origin;

/// Why a value is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// The variable holds bytes that are not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Another type of TOML than the setting has.
    #[error("expected {expected}")]
    Type {
        /// What the setting takes.
        expected: &'static str,
    },
    /// A number out of its range.
    #[error("expected a whole number from {least} to {most}")]
    Range {
        /// Least value.
        least: u64,
        /// Greatest value.
        most: u64,
    },
    /// No address of this machine's loopback.
    #[error("expected an address of this machine like 127.0.0.1:8765, or off: nothing else is served")]
    Loopback,
    /// No address for the panel.
    #[error("expected an address and a port like 127.0.0.1:8080, or off")]
    Admin,
    /// No name of a machine.
    #[error("expected a name or an address of this machine like laptop.local, without a port")]
    Host,
    /// Not a part in Kademlia.
    #[error("expected off, client or server")]
    Kademlia,
    /// Neither a peer nor a network.
    #[error("`{text}`: {source}")]
    Rule {
        /// What was given.
        text: String,
        /// What would do.
        source: crate::access::NoRule,
    },
    /// No level of logging.
    #[error("expected one of error, warn, info, debug, trace")]
    Level,
    /// No multiaddr at all.
    #[error("`{text}` is not a multiaddr: expected a form like {example}")]
    Address {
        /// What was given.
        text: String,
        /// One that would do.
        example: &'static str,
    },
    /// A multiaddr that the node cannot listen on.
    #[error(
        "the node cannot listen on `{text}`: expected a form like /ip4/0.0.0.0/tcp/7337 or /ip4/0.0.0.0/udp/7337/quic-v1"
    )]
    Listen {
        /// What was given.
        text: String,
    },
    /// The address of a peer without its id.
    #[error(
        "`{text}` does not end with /p2p/ and a peer id: copy the whole address from `lbm ctl status` of that node"
    )]
    NoPeerId {
        /// What was given.
        text: String,
    },
    /// No address of an endpoint.
    #[error(
        "`{text}` is no address of an endpoint: expected a form like http://127.0.0.1:11434/v1, without user, password and query"
    )]
    Endpoint {
        /// What was given, without a user and password.
        text: String,
    },
    /// Text that is too long, or cannot be shown.
    #[error("expected text of at most {limit} bytes without control characters")]
    Text {
        /// Bytes it may have.
        limit: usize,
    },
    /// Too many items.
    #[error("it has {count} items and at most {limit} are allowed")]
    TooMany {
        /// Items it has.
        count: usize,
        /// Items it may have.
        limit: usize,
    },
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value that is not understood or out of range.
    #[error("the setting {key} = {value} ({origin}) cannot be used: {source}")]
    Value {
        /// The setting.
        key: &'static str,
        /// Its value, quoted.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// What is wrong with it.
        source: BadValue,
    },
    /// It does not go together with another.
    #[error("the setting {key} ({origin}) cannot be used: {why}")]
    Conflict {
        /// The setting.
        key: &'static str,
        /// Where it stands.
        origin: Origin,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// A key that is no setting.
    #[error("{}: there is no setting `{key}`: {}", path.display(), hint(*near))]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The setting with the most similar name.
        near: Option<&'static str>,
    },
    /// A variable of the environment that is no setting.
    #[error("there is no setting {name} in the environment: {}", hint(*near))]
    UnknownVariable {
        /// The variable.
        name: String,
        /// The one with the most similar name.
        near: Option<&'static str>,
    },
    /// The file cannot be read.
    #[error("cannot read the settings file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any settings are.
    #[error("the settings file {} has more than {limit_bytes} bytes: is it the right one?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes it may have.
        limit_bytes: u64,
    },
    /// The file is no TOML.
    #[error("the settings file {} is not valid TOML: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// No place for the data folder is known.
    #[error("there is no home folder to keep data in: name a data folder with --data DIR or LB_DATA")]
    NoHome,
}

fn hint(near: Option<&'static str>) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`lbm config` lists them all".to_owned(),
    }
}
