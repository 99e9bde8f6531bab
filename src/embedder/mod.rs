//! Embedders: texts as vectors, by a model that the operator chose.
//!
//! Owns the one trait, its two implementations, an OpenAI-compatible [`endpoint`] and a local [`folder`] of model2vec, and how close two
//! unrelated texts are to a model ([`null`]). **Nothing goes anywhere but to the endpoint that the settings name.**
//! Refuses what is no vector: other dimensions than before, more than [`limits::EMBED_DIMENSIONS`], numbers that are none, all of them 0; and
//! a model to which all texts are alike, or which does not find a sentence again that is put in other words.
//! Knows nothing of claims and groups, and waits for nobody: whoever calls has a thread to spare.

pub mod endpoint;
pub mod folder;
pub mod null;

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{EmbedderChoice, Prefixes};
use crate::limits;

/// What names a model: two with one id give one text the same vector.
pub type ModelId = [u8; 32];

/// What a text is: many models want them to begin differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is looked for.
    Query,
    /// What is found.
    Document,
}

/// The texts as the model wants them: each behind the prefix of its side.
fn prefixed(prefixes: &Prefixes, side: Side, texts: &[&str]) -> Vec<String> {
    let prefix = match side {
        Side::Query => &prefixes.query,
        Side::Document => &prefixes.document,
    };
    texts.iter().map(|text| format!("{prefix}{text}")).collect()
}

/// A model that makes vectors of texts.
pub trait Embedder: Send + Sync {
    /// What people call it.
    fn name(&self) -> &str;

    /// Which model it is, prefixes included.
    fn id(&self) -> ModelId;

    /// The vectors of some texts, in their sequence, all of as many dimensions. Blocks for `timeout` at most, where it computes elsewhere.
    ///
    /// # Errors
    /// [`EmbedError`]: none has a vector.
    fn embed(&self, side: Side, texts: &[&str], timeout: Duration) -> Result<Vec<Vec<f32>>, EmbedError>;
}

/// Who can mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Time: the endpoint is away or busy.
    Wait,
    /// Perhaps a shorter text, or fewer at once.
    Shorten,
    /// The operator.
    Operator,
}

/// Why there are no vectors. What an endpoint says may be anything: only the beginning is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// No connection, or it broke.
    #[error("{url} cannot be reached: {why}")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// What the system says.
        why: String,
    },
    /// It takes too long.
    #[error("{url} did not answer within {ms} ms")]
    Timeout {
        /// The endpoint.
        url: String,
        /// How long it was waited for.
        ms: u64,
    },
    /// It says no.
    #[error("{url} answers {status}: {message}")]
    Refused {
        /// The endpoint.
        url: String,
        /// HTTP's.
        status: u16,
        /// What it says of it.
        message: String,
    },
    /// It points elsewhere.
    #[error("{url} redirects, which is not followed")]
    Redirect {
        /// The endpoint.
        url: String,
    },
    /// Its answer is no list of embeddings.
    #[error("{url} answers what is no list of embeddings: {why}")]
    Malformed {
        /// The endpoint.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Not a vector for each text.
    #[error("{asked} texts were sent and {got} vectors came back")]
    Count {
        /// Texts.
        asked: usize,
        /// Vectors.
        got: usize,
    },
    /// The model is another than before, or none.
    #[error("its vectors have {got} dimensions and {expected} are expected")]
    Dimensions {
        /// As before, or at most.
        expected: usize,
        /// As they came.
        got: usize,
    },
    /// A number that is none.
    #[error("its vector has a number that is infinite or none")]
    NotFinite,
    /// All of its numbers are 0.
    #[error("its vector is all zeros")]
    Zero,
    /// All texts have about one vector.
    #[error("it has the same vector for texts that have nothing to do with each other")]
    Alike,
    /// Its vectors say nothing of what a text means.
    #[error("of {of} sentences in other words, its vectors find {right} again, as by chance")]
    Blind {
        /// So many were found.
        right: usize,
        /// Of so many.
        of: usize,
    },
}

impl EmbedError {
    /// Who can mend it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } => Verdict::Wait,
            Self::Refused { status: 408 | 425 | 429 | 502..=504, .. } => Verdict::Wait,
            // Ollama and llama.cpp answer 500 where a text is too long, or a model makes NaN of it.
            Self::Refused { status: 400 | 413 | 422 | 500, .. } | Self::NotFinite | Self::Zero => Verdict::Shorten,
            Self::Refused { .. }
            | Self::Redirect { .. }
            | Self::Malformed { .. }
            | Self::Count { .. }
            | Self::Dimensions { .. }
            | Self::Alike
            | Self::Blind { .. } => Verdict::Operator,
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "start it, or correct embedder_url",
            Self::Timeout { .. } => {
                "it is busy or too slow: wait, or set a smaller embedder_batch or a longer embedder_query_timeout_ms"
            }
            Self::Refused { status: 401 | 403, .. } => "name a file with its key as embedder_key_file",
            Self::Refused { status: 404, .. } => "correct embedder_url, and load the model that embedder_model names",
            Self::Refused { .. } => "see its own log, and whether it has the model that embedder_model names",
            Self::Redirect { .. } => "name the address that it redirects to as embedder_url, if you trust it",
            Self::Malformed { .. } | Self::Count { .. } => {
                "correct embedder_url: it must be an OpenAI-compatible /v1/embeddings"
            }
            Self::Dimensions { .. } => {
                "another model answers under this name, or none for embeddings: name the right one as embedder_model"
            }
            Self::NotFinite | Self::Zero => "the model does not work: name another as embedder_model",
            Self::Alike | Self::Blind { .. } => {
                "it is no model for embeddings, is damaged, or knows no English: name another as embedder_model"
            }
        }
    }
}

/// Why an embedder cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("cannot read {}, which {setting} names: {why}", path.display())]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No model is in the folder.
    #[error("{} holds no model2vec model: {why}; embedder_folder wants model.safetensors, tokenizer.json and config.json", path.display())]
    Model {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Opens the embedder that the settings choose; none where they choose none. Asks no endpoint yet.
///
/// # Errors
/// [`OpenError`]: a key or a model cannot be read.
pub fn open(choice: &EmbedderChoice) -> Result<Option<Box<dyn Embedder>>, OpenError> {
    Ok(match choice {
        EmbedderChoice::None => None,
        EmbedderChoice::Endpoint { url, model, key_file, allow_remote, prefixes } => {
            let key = key_file.as_deref().map(endpoint::read_key).transpose()?;
            Some(Box::new(endpoint::Endpoint::new(url, model, prefixes, key, *allow_remote)))
        }
        EmbedderChoice::Folder { folder, prefixes } => Some(Box::new(folder::Folder::open(folder, prefixes)?)),
    })
}

/// Vectors as they must be: one for each text, all of as many dimensions, of numbers of which not all are 0.
fn check(asked: usize, vectors: Vec<Vec<f32>>) -> Result<Vec<Vec<f32>>, EmbedError> {
    if vectors.len() != asked {
        return Err(EmbedError::Count { asked, got: vectors.len() });
    }
    let expected = vectors.first().map_or(0, Vec::len);
    for vector in &vectors {
        let got = vector.len();
        if got == 0 || got > limits::EMBED_DIMENSIONS {
            return Err(EmbedError::Dimensions { expected: limits::EMBED_DIMENSIONS, got });
        }
        if got != expected {
            return Err(EmbedError::Dimensions { expected, got });
        }
        if !vector.iter().all(|number| number.is_finite()) {
            return Err(EmbedError::NotFinite);
        }
        if vector.iter().all(|number| *number == 0.0) {
            return Err(EmbedError::Zero);
        }
    }
    Ok(vectors)
}

fn model_id(parts: &[&[u8]]) -> ModelId {
    let mut hasher = blake3::Hasher::new_derive_key("lbm embedder model 1");
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    *hasher.finalize().as_bytes()
}
