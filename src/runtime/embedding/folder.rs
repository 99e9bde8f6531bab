//! Where vectors are kept: `GROUP/MODEL.vec` under one folder, closed to others.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::chain::GroupId;
use crate::embedder::ModelId;
use crate::limits;

/// Characters of a model's hash that name its file.
const MODEL_CHARS: usize = 32;

fn file_name(model: &ModelId) -> String {
    let mut name = hex::encode(model);
    name.truncate(MODEL_CHARS);
    name + ".vec"
}

/// The file of a group and a model. Its folder is made.
pub(super) fn prepare(folder: &Path, group: &GroupId, model: &ModelId) -> io::Result<PathBuf> {
    let of_group = folder.join(group.to_string());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&of_group)?;
    Ok(of_group.join(file_name(model)))
}

/// Removes the vectors of groups that are not kept: one was left while the daemon could not.
pub(super) fn sweep(folder: &Path, kept: &[GroupId]) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if let Some(group) = name.to_str().and_then(|name| name.parse().ok()).filter(|group| !kept.contains(group)) {
            remove(folder, &group);
        }
    }
    Ok(())
}

/// Removes the vectors of a group.
pub(super) fn remove(folder: &Path, group: &GroupId) {
    match fs::remove_dir_all(folder.join(group.to_string())) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%group, %error, "vectors of a group that was left are still there");
        }
        _ => {}
    }
}

/// Removes the vectors of models past [`limits::EMBED_MODELS`], those that were written longest ago first; never the one in use.
pub(super) fn prune(folder: &Path, group: &GroupId, model: &ModelId) {
    let own = file_name(model);
    let written = |entry: io::Result<fs::DirEntry>| -> Option<(SystemTime, PathBuf)> {
        let entry = entry.ok()?;
        let is_other = entry.path().extension().is_some_and(|end| end == "vec") && entry.file_name() != own.as_str();
        is_other.then_some((entry.metadata().ok()?.modified().ok()?, entry.path()))
    };
    let entries = fs::read_dir(folder.join(group.to_string())).into_iter().flatten();
    let mut others: Vec<_> = entries.filter_map(written).collect();
    others.sort();
    let past = (others.len() + 1).saturating_sub(limits::EMBED_MODELS);
    for (_, path) in others.into_iter().take(past) {
        tracing::info!(path = %path.display(), "vectors of a model that is no longer used are removed");
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "cannot be removed");
        }
    }
}
