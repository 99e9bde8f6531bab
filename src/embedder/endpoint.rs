//! An OpenAI-compatible `/v1/embeddings`: Ollama, llama.cpp's server, LM Studio, and what else speaks it.
//!
//! **Redirects are not followed, no proxy of the environment is used, and an address that must be loopback is checked after its name was
//! resolved.** The key never leaves this file but in the request.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use zeroize::Zeroizing;

use super::{EmbedError, Embedder, ModelId, OpenError, Side, check, model_id, prefixed};
use crate::config::Prefixes;
use crate::limits;

/// The endpoint.
pub struct Endpoint {
    agent: ureq::Agent,
    url: String,
    model: String,
    prefixes: Prefixes,
    key: Option<Zeroizing<String>>,
    /// As its first answer had.
    dimensions: OnceLock<usize>,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [String],
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    data: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    index: Option<usize>,
    embedding: Vector,
}

/// Some give base64 of little-endian floats whatever they are asked for, and llama.cpp nests the vector of a pooled model.
#[derive(Deserialize)]
#[serde(untagged)]
enum Vector {
    Floats(Vec<Option<f32>>),
    Nested([Vec<Option<f32>>; 1]),
    Base64(String),
}

/// OpenAI nests the message, Ollama and llama.cpp sometimes do not.
#[derive(Deserialize)]
struct Complaint {
    error: Message,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Plain(String),
    Nested { message: String },
}

impl Endpoint {
    /// Prepares requests; asks nothing yet. Unless `anywhere`, only addresses of this machine are called.
    #[must_use]
    pub fn new(url: &str, model: &str, prefixes: &Prefixes, key: Option<Zeroizing<String>>, anywhere: bool) -> Self {
        let config = Config::builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("lbm/", env!("CARGO_PKG_VERSION")))
            .max_idle_connections_per_host(2)
            .build();
        let resolver = Within { anywhere, all: DefaultResolver::default() };
        Self {
            agent: ureq::Agent::with_parts(config, DefaultConnector::default(), resolver),
            url: url.to_owned(),
            model: model.to_owned(),
            prefixes: prefixes.clone(),
            key,
            dimensions: OnceLock::new(),
        }
    }

    fn request(&self, body: &[u8], timeout: Duration) -> Result<Vec<u8>, EmbedError> {
        let url = || self.url.clone();
        let failed = |error: &ureq::Error| match error {
            ureq::Error::Timeout(_) => EmbedError::Timeout { url: url(), ms: timeout.as_millis() as u64 },
            error => EmbedError::Unreachable { url: url(), why: error.to_string() },
        };
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {}", key.as_str()));
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        let mut response = request.send(body).map_err(|error| failed(&error))?;
        let status = response.status();
        if status.is_redirection() {
            return Err(EmbedError::Redirect { url: url() });
        }
        let mut bytes = Vec::new();
        let body = response.body_mut().as_reader();
        body.take(limits::EMBED_ANSWER_BYTES + 1).read_to_end(&mut bytes).map_err(|error| {
            match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
                Some(error) => failed(error),
                None => failed(&ureq::Error::Io(error)),
            }
        })?;
        if !status.is_success() {
            return Err(EmbedError::Refused { url: url(), status: status.as_u16(), message: complaint(&bytes) });
        }
        if bytes.len() as u64 > limits::EMBED_ANSWER_BYTES {
            return Err(self.malformed(format!("it has more than {} bytes", limits::EMBED_ANSWER_BYTES)));
        }
        Ok(bytes)
    }

    fn malformed(&self, why: String) -> EmbedError {
        EmbedError::Malformed { url: self.url.clone(), why }
    }

    fn parse(&self, bytes: &[u8], asked: usize) -> Result<Vec<Vec<f32>>, EmbedError> {
        let answer: Answer = serde_json::from_slice(bytes).map_err(|error| self.malformed(error.to_string()))?;
        if answer.data.len() != asked {
            return Err(EmbedError::Count { asked, got: answer.data.len() });
        }
        // Each says which text it belongs to; where none does, they come in sequence.
        let mut places: Vec<Option<Vec<f32>>> = vec![None; asked];
        for (at, row) in answer.data.into_iter().enumerate() {
            let place = places.get_mut(row.index.unwrap_or(at));
            match place {
                Some(place @ None) => *place = Some(self.vector(row.embedding)?),
                _ => return Err(self.malformed("two vectors for one text".to_owned())),
            }
        }
        check(asked, places.into_iter().flatten().collect())
    }

    fn vector(&self, vector: Vector) -> Result<Vec<f32>, EmbedError> {
        match vector {
            // JSON has no NaN: who means it writes null.
            Vector::Floats(floats) | Vector::Nested([floats]) => {
                floats.into_iter().map(|float| float.ok_or(EmbedError::NotFinite)).collect()
            }
            Vector::Base64(text) => {
                let bytes = base64::prelude::BASE64_STANDARD.decode(text);
                let bytes = bytes.map_err(|error| self.malformed(error.to_string()))?;
                let (floats, rest) = bytes.as_chunks::<4>();
                if rest.is_empty() {
                    Ok(floats.iter().map(|float| f32::from_le_bytes(*float)).collect())
                } else {
                    Err(self.malformed("its base64 is cut off".to_owned()))
                }
            }
        }
    }
}

impl Embedder for Endpoint {
    fn name(&self) -> &str {
        &self.model
    }

    /// The same model at another address is the same.
    fn id(&self) -> ModelId {
        let Prefixes { query, document } = &self.prefixes;
        model_id(&[b"endpoint", self.model.as_bytes(), query.as_bytes(), document.as_bytes()])
    }

    fn embed(&self, side: Side, texts: &[&str], timeout: Duration) -> Result<Vec<Vec<f32>>, EmbedError> {
        let input = prefixed(&self.prefixes, side, texts);
        let request = Request { model: &self.model, input: &input, encoding_format: "float" };
        let body = serde_json::to_vec(&request).map_err(|error| self.malformed(error.to_string()))?;
        let vectors = self.parse(&self.request(&body, timeout)?, texts.len())?;
        let got = vectors.first().map_or(0, Vec::len);
        let expected = *self.dimensions.get_or_init(|| got);
        if got == expected { Ok(vectors) } else { Err(EmbedError::Dimensions { expected, got }) }
    }
}

/// What an endpoint says of an error: one line of what can be shown.
fn complaint(bytes: &[u8]) -> String {
    let text = match serde_json::from_slice::<Complaint>(bytes) {
        Ok(Complaint { error: Message::Plain(message) | Message::Nested { message } }) => message,
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    let shown = |c: char| if c.is_control() || c.is_whitespace() { ' ' } else { c };
    text.trim().chars().map(shown).take(limits::EMBED_MESSAGE_CHARS).collect()
}

/// The key that a file holds, which nobody else may read.
///
/// # Errors
/// [`OpenError`].
pub fn read_key(path: &Path) -> Result<Zeroizing<String>, OpenError> {
    let failed = |why: String| OpenError::File { setting: "embedder_key_file", path: path.to_owned(), why };
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(failed("other users may read it: `chmod 600` it".to_owned()));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(limits::EMBED_KEY_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    let key = Zeroizing::new(text.trim().to_owned());
    if text.len() as u64 > limits::EMBED_KEY_BYTES || key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(failed("it must hold one key on one line".to_owned()));
    }
    Ok(key)
}

/// Resolves names, and gives only addresses of this machine unless all are allowed.
#[derive(Debug)]
struct Within {
    anywhere: bool,
    all: DefaultResolver,
}

impl Resolver for Within {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.all.resolve(uri, config, timeout)?;
        if self.anywhere {
            return Ok(found);
        }
        let mut here = self.empty();
        found.iter().filter(|address: &&SocketAddr| address.ip().is_loopback()).for_each(|address| here.push(*address));
        if here.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(here) }
    }
}
