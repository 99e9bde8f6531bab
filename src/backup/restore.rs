//! Putting a backup back: checked whole first, then written so that a crash leaves either a folder that is not yet a node's, and
//! may be restored again, or all of it.

use std::fs;
use std::io;
use std::path::Path;

use super::{BackupError, Contents, Head, read};
use crate::datadir::{DataDir, DataDirError, NodeName, check_importable};
use crate::store::Store;

/// Stands in a folder while a backup is put into it. The key is written last: with it the folder is a node's.
const RESTORING: &str = "restoring";

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says of itself.
    pub head: Head,
    /// The node's name.
    pub name: NodeName,
    /// Whether its key takes a password.
    pub is_encrypted: bool,
    /// Groups.
    pub groups: usize,
    /// Those of them in which nothing is written until a member has answered.
    pub in_doubt: usize,
}

/// Puts the backup `file` into the folder `data`, which must be empty or missing. Where `alone`, nobody else has a block of this node
/// that the backup lacks, and its groups are not marked.
///
/// # Errors
/// [`BackupError`]: nothing is left in the folder.
pub fn restore(file: &Path, data: &Path, alone: bool) -> Result<Restored, BackupError> {
    let contents = read(file, |_, _| Ok(()))?;
    let damaged = |what: String| BackupError::Damaged { path: file.to_owned(), what };
    let stored = check_importable(&contents.files.key, file)?;
    if stored.identity() != contents.head.identity {
        return Err(damaged("its key is another node's".to_owned()));
    }
    for key in contents.files.agents.values() {
        check_importable(key, file)?;
    }
    let name: NodeName = contents.files.name.parse().map_err(|error| damaged(format!("its name is none: {error}")))?;
    let folder = match DataDir::open(data) {
        Err(DataDirError::Missing { .. }) => DataDir::create(data)?,
        folder => folder?,
    };
    let _lock = folder.lock()?;
    check_empty(&folder)?;
    let (groups, in_doubt) = write(file, &folder, &contents, &name, alone).inspect_err(|_| clear(&folder))?;
    Ok(Restored { head: contents.head, name, is_encrypted: stored.is_encrypted(), groups, in_doubt })
}

/// Refuses a folder with anything in it but locks and what a restore left that did not come to its end.
fn check_empty(folder: &DataDir) -> Result<(), BackupError> {
    let failed = |reason| BackupError::Io { attempt: "look into", path: folder.path().to_owned(), reason };
    let names = fs::read_dir(folder.path()).map_err(failed)?;
    let names: Vec<String> = names
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let is_broken_off = names.iter().any(|name| name == RESTORING) && !folder.key_path().exists();
    let is_ours = |name: &str| written(folder).iter().any(|path| path.file_name() == Some(name.as_ref()));
    let is_ours = |name: &str| name == "agents" || is_ours(name);
    let known = |name: &str| matches!(name, "lock" | "keys.lock") || (is_broken_off && is_ours(name));
    match names.into_iter().find(|name| !known(name)) {
        Some(found) => Err(BackupError::NotEmpty { path: folder.path().to_owned(), found }),
        None => {
            clear(folder);
            Ok(())
        }
    }
}

/// What a restore writes besides the key.
fn written(folder: &DataDir) -> Vec<std::path::PathBuf> {
    let aside = folder.database_path().with_extension("restoring");
    let marker = folder.path().join(RESTORING);
    vec![aside, folder.database_path(), folder.config_path(), folder.name_path(), marker]
}

/// Removes what was written so far. What cannot be removed is in the way of the next attempt, which names it.
fn clear(folder: &DataDir) {
    if !folder.key_path().exists() {
        written(folder).iter().for_each(|path| drop(fs::remove_file(path)));
        let _none = fs::remove_dir_all(folder.agents_path());
    }
}

fn write(
    file: &Path,
    folder: &DataDir,
    contents: &Contents,
    name: &NodeName,
    alone: bool,
) -> Result<(usize, usize), BackupError> {
    let marker = folder.path().join(RESTORING);
    let failed = |attempt: &'static str, path: &Path| {
        let path = path.to_owned();
        move |reason: io::Error| BackupError::Io { attempt, path, reason }
    };
    crate::datadir::write_new(&marker, b"")?;
    let aside = folder.database_path().with_extension("restoring");
    let store = Store::open(&aside, &contents.head.identity)?;
    // Read a second time: where the file has changed since it was checked, nothing is committed.
    store.load(|put| read(file, |table, rows| Ok(put(table, rows)?)).map(drop))?;
    let groups = store.view()?.groups()?.len();
    let in_doubt = store.doubt(|_| Ok(!alone))?;
    drop(store);
    fs::rename(&aside, folder.database_path()).map_err(failed("put in place", &aside))?;
    if let Some(config) = &contents.files.config {
        crate::datadir::write_new(&folder.config_path(), config)?;
    }
    for (agent, key) in &contents.files.agents {
        folder.import_agent(agent, key, file)?;
    }
    folder.import(&contents.files.key, file, Some(name))?;
    // With the key in place it says nothing any more.
    fs::remove_file(&marker).map_err(failed("remove", &marker))?;
    Ok((groups, in_doubt))
}
