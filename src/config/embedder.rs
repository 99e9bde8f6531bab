//! The settings of an embedder, and what they come to together.

use std::net::IpAddr;
use std::path::PathBuf;

use hyper::Uri;
use serde::Serialize;

use super::{BadValue, ConfigError, Key, Setting, SettingRow, Sources, row};
use crate::limits;

const URL: Key = Key { name: "embedder_url", environment: "LB_EMBEDDER_URL" };
const MODEL: Key = Key { name: "embedder_model", environment: "LB_EMBEDDER_MODEL" };
const FOLDER: Key = Key { name: "embedder_folder", environment: "LB_EMBEDDER_FOLDER" };
const ALLOW_REMOTE: Key = Key { name: "embedder_allow_remote", environment: "LB_EMBEDDER_ALLOW_REMOTE" };
const KEY_FILE: Key = Key { name: "embedder_key_file", environment: "LB_EMBEDDER_KEY_FILE" };
const QUERY_PREFIX: Key = Key { name: "embedder_query_prefix", environment: "LB_EMBEDDER_QUERY_PREFIX" };
const DOCUMENT_PREFIX: Key = Key { name: "embedder_document_prefix", environment: "LB_EMBEDDER_DOCUMENT_PREFIX" };
const QUERY_TIMEOUT_MS: Key = Key { name: "embedder_query_timeout_ms", environment: "LB_EMBEDDER_QUERY_TIMEOUT_MS" };
const BATCH: Key = Key { name: "embedder_batch", environment: "LB_EMBEDDER_BATCH" };

pub(super) const KEYS: [Key; 9] =
    [URL, MODEL, FOLDER, ALLOW_REMOTE, KEY_FILE, QUERY_PREFIX, DOCUMENT_PREFIX, QUERY_TIMEOUT_MS, BATCH];

/// What the command line says of an embedder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbedderFlags {
    /// `--embedder-url`.
    pub url: Option<String>,
    /// `--embedder-model`.
    pub model: Option<String>,
    /// `--embedder-folder`.
    pub folder: Option<PathBuf>,
    /// `--embedder-allow-remote`.
    pub allow_remote: bool,
}

/// What stands before each text that is embedded: many models want a query to begin otherwise than what it may find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prefixes {
    /// Before a query.
    pub query: String,
    /// Before a document.
    pub document: String,
}

/// Which embedder the settings come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmbedderChoice {
    /// The built-in views alone.
    None,
    /// An OpenAI-compatible endpoint.
    Endpoint {
        /// The whole address.
        url: String,
        /// The model to ask it for.
        model: String,
        /// A file with its key.
        key_file: Option<PathBuf>,
        /// Whether it may be another machine.
        allow_remote: bool,
        /// What stands before each text.
        prefixes: Prefixes,
    },
    /// A local folder of model2vec.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What stands before each text.
        prefixes: Prefixes,
    },
}

/// The settings of an embedder. They were checked against one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbedderSettings {
    /// Address of an OpenAI-compatible endpoint, up to `/v1` or whole.
    pub url: Setting<Option<Url>>,
    /// The model to ask it for.
    pub model: Setting<Option<String>>,
    /// Folder of a model2vec model.
    pub folder: Setting<Option<PathBuf>>,
    /// Whether the endpoint may be on another machine.
    pub allow_remote: Setting<bool>,
    /// File with the endpoint's key. The key itself is no setting: settings are shown.
    pub key_file: Setting<Option<PathBuf>>,
    /// What stands before each query.
    pub query_prefix: Setting<String>,
    /// What stands before each claim.
    pub document_prefix: Setting<String>,
    /// How long a query waits for its vector, milliseconds.
    pub query_timeout_ms: Setting<u64>,
    /// Texts in one request of the background, at most.
    pub batch: Setting<u32>,
}

/// The address of an endpoint: http or https, without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Url {
    text: String,
    #[serde(skip)]
    is_loopback: bool,
    #[serde(skip)]
    is_plain: bool,
}

impl Url {
    /// An address from the command line, the environment or the file. The path `/v1/embeddings` may be left out, or its last part.
    ///
    /// # Errors
    /// [`BadValue::Endpoint`].
    pub fn parse(text: &str) -> Result<Self, BadValue> {
        let refused = || {
            let shown = text.rsplit_once('@').map_or(text, |(_, host)| host).split('?').next().unwrap_or_default();
            BadValue::Endpoint { text: shown.chars().take(80).collect() }
        };
        let uri: Uri = Some(text)
            .filter(|text| text.len() <= limits::EMBED_URL_BYTES)
            .and_then(|text| text.parse().ok())
            .ok_or_else(refused)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(refused()) };
        // A user or a query may hold a secret, and settings are shown.
        if !["http", "https"].contains(&scheme)
            || authority.as_str().contains('@')
            || uri.query().is_some()
            || text.contains('#')
        {
            return Err(refused());
        }
        let path = match uri.path().trim_end_matches('/') {
            "" => "/v1/embeddings".to_owned(),
            path if path.ends_with("/embeddings") => path.to_owned(),
            path => format!("{path}/embeddings"),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        // RFC 6761: `localhost` is this machine. What it resolves to is checked when it is called.
        let is_loopback =
            host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        Ok(Self { text: format!("{scheme}://{authority}{path}"), is_loopback, is_plain: scheme == "http" })
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl EmbedderSettings {
    pub(super) fn load(from: &Sources<'_>, flags: EmbedderFlags, data: &std::path::Path) -> Result<Self, ConfigError> {
        let prefix = |key| from.unflagged(key, |raw| raw.text(limits::EMBED_PREFIX_BYTES), String::new());
        // As text first: what is no address is shown without the user and password that it may hold.
        let line = |key, flag, given: Option<String>, limit| {
            from.pick(key, (flag, given.map(Some)), |raw| raw.text(limit).map(Some), None)
        };
        let Setting { value, origin } = line(URL, "--embedder-url", flags.url, limits::EMBED_URL_BYTES)?;
        let url = value.as_deref().map(Url::parse).transpose();
        let url = url.map_err(|source| ConfigError::Value {
            key: URL.name,
            value: "…".to_owned(),
            origin: origin.clone(),
            source,
        })?;
        let settings = Self {
            url: Setting { value: url, origin },
            model: line(MODEL, "--embedder-model", flags.model, limits::EMBED_MODEL_BYTES)?,
            folder: from.pick(
                FOLDER,
                ("--embedder-folder", flags.folder.map(Some)),
                |raw| raw.path(data).map(Some),
                None,
            )?,
            allow_remote: from.pick(
                ALLOW_REMOTE,
                ("--embedder-allow-remote", flags.allow_remote.then_some(true)),
                |raw| raw.boolean(),
                false,
            )?,
            key_file: from.unflagged(KEY_FILE, |raw| raw.path(data).map(Some), None)?,
            query_prefix: prefix(QUERY_PREFIX)?,
            document_prefix: prefix(DOCUMENT_PREFIX)?,
            // Longer than ten seconds and whoever asks has given up.
            query_timeout_ms: from.unflagged(
                QUERY_TIMEOUT_MS,
                |raw| raw.number(10..=10_000),
                limits::EMBED_QUERY_MS,
            )?,
            batch: from.unflagged(BATCH, |raw| raw.number(1..=limits::EMBED_BATCH_MOST), limits::EMBED_BATCH)?,
        };
        settings.check().map(|()| settings)
    }

    /// Whether they make sense together.
    fn check(&self) -> Result<(), ConfigError> {
        let conflict = |key: Key, origin: &super::Origin, why| {
            Err(ConfigError::Conflict { key: key.name, origin: origin.clone(), why })
        };
        let Some(url) = &self.url.value else {
            return match (&self.model.value, &self.key_file.value) {
                (Some(_), _) => conflict(MODEL, &self.model.origin, "there is no embedder_url to ask it of"),
                (_, Some(_)) => conflict(KEY_FILE, &self.key_file.origin, "there is no embedder_url to send it to"),
                _ => Ok(()),
            };
        };
        let origin = &self.url.origin;
        if self.folder.value.is_some() {
            return conflict(URL, origin, "embedder_folder is set as well: leave one of them out");
        }
        if self.model.value.is_none() {
            return conflict(
                URL,
                origin,
                "embedder_model is missing: name the model to ask it for, like nomic-embed-text",
            );
        }
        if !url.is_loopback && !self.allow_remote.value {
            return conflict(
                URL,
                origin,
                "it is not on this machine, and would be sent the text of every claim and query: set embedder_allow_remote if you want that",
            );
        }
        if !url.is_loopback && url.is_plain && self.key_file.value.is_some() {
            return conflict(
                URL,
                origin,
                "embedder_key_file would cross the network unencrypted: use https, or no key",
            );
        }
        Ok(())
    }

    /// Which embedder they come to.
    #[must_use]
    pub fn choice(&self) -> EmbedderChoice {
        let prefixes =
            || Prefixes { query: self.query_prefix.value.clone(), document: self.document_prefix.value.clone() };
        match (&self.url.value, &self.folder.value) {
            (Some(url), _) => EmbedderChoice::Endpoint {
                url: url.as_str().to_owned(),
                model: self.model.value.clone().unwrap_or_default(),
                key_file: self.key_file.value.clone(),
                allow_remote: self.allow_remote.value,
                prefixes: prefixes(),
            },
            (None, Some(folder)) => EmbedderChoice::Folder { folder: folder.clone(), prefixes: prefixes() },
            (None, None) => EmbedderChoice::None,
        }
    }

    pub(super) fn rows(&self) -> [SettingRow; 9] {
        [
            row(URL, &self.url),
            row(MODEL, &self.model),
            row(FOLDER, &self.folder),
            row(ALLOW_REMOTE, &self.allow_remote),
            row(KEY_FILE, &self.key_file),
            row(QUERY_PREFIX, &self.query_prefix),
            row(DOCUMENT_PREFIX, &self.document_prefix),
            row(QUERY_TIMEOUT_MS, &self.query_timeout_ms),
            row(BATCH, &self.batch),
        ]
    }
}

#[cfg(test)]
mod tests;
