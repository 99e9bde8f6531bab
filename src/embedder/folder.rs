//! A folder of model2vec: a static table of token vectors, computed here.

use std::path::Path;
use std::time::Duration;

use model2vec_rs::model::StaticModel;

use super::{EmbedError, Embedder, ModelId, OpenError, Side, check, model_id, prefixed};
use crate::config::Prefixes;
use crate::limits;

/// Tokens of one text that are summed, at most.
const TOKENS: usize = 2_048;

/// The model.
pub struct Folder {
    model: StaticModel,
    name: String,
    id: ModelId,
    prefixes: Prefixes,
}

impl Folder {
    /// Loads the model.
    ///
    /// # Errors
    /// [`OpenError`] where the folder holds none.
    pub fn open(path: &Path, prefixes: &Prefixes) -> Result<Self, OpenError> {
        let [table, tokenizer, config] =
            ["model.safetensors", "tokenizer.json", "config.json"].map(|name| read(&path.join(name)));
        let (table, tokenizer, config) = (table?, tokenizer?, config?);
        let Prefixes { query, document } = prefixes;
        let id = model_id(&[b"model2vec", &table, &tokenizer, &config, query.as_bytes(), document.as_bytes()]);
        let unusable = |why: String| OpenError::Model { path: path.to_owned(), why };
        let model =
            StaticModel::from_bytes(tokenizer, table, config, None).map_err(|error| unusable(format!("{error:#}")))?;
        if model.dim() > limits::EMBED_DIMENSIONS {
            return Err(unusable(format!(
                "it has {} dimensions, {} are allowed",
                model.dim(),
                limits::EMBED_DIMENSIONS
            )));
        }
        let name = path.file_name().map_or_else(|| "model2vec".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { model, name, id, prefixes: prefixes.clone() })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    let failed = |why: String| OpenError::File { setting: "embedder_folder", path: path.to_owned(), why };
    let bytes = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if bytes > limits::EMBED_FILE_BYTES {
        return Err(failed(format!("it has more than {} bytes", limits::EMBED_FILE_BYTES)));
    }
    std::fs::read(path).map_err(|error| failed(error.to_string()))
}

impl Embedder for Folder {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> ModelId {
        self.id
    }

    fn embed(&self, side: Side, texts: &[&str], _: Duration) -> Result<Vec<Vec<f32>>, EmbedError> {
        let input = prefixed(&self.prefixes, side, texts);
        check(texts.len(), self.model.encode_with_args(&input, Some(TOKENS), limits::EMBED_BATCH as usize))
    }
}
