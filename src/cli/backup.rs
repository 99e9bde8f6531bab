//! `lbm backup` and `lbm restore`: a node in one file, and back.
//!
//! The key, the name and the settings are read from the data folder; the rows come from the daemon where one runs, and else from
//! the database, whose lock is held meanwhile.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::error::CliError;
use super::output::Render;
use super::when;
use crate::api::VERSION;
use crate::api::client::Client;
use crate::backup::{self, BackupError, Files, Hashing, Head};
use crate::datadir::{DataDir, DataDirError, NewFile, NodeName};
use crate::identity::Identity;
use crate::store::Store;

/// The options of `lbm backup`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct BackupArgs {
    /// The file to make (mode 0600). Whoever has it has the node, unless the key is encrypted
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace an older backup of that name
    #[arg(long)]
    pub force: bool,
}

/// The options of `lbm restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RestoreArgs {
    /// A file that `lbm backup` made
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Nobody else has groups of this node, so there is nobody to ask for what the backup lacks: write at once. Wrong where others
    /// have them: what this node wrote since is then written over, and a notary forks its group
    #[arg(long)]
    pub alone: bool,
}

/// What `lbm backup` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupOutput {
    /// The file, absolute.
    pub file: String,
    /// Whose node it holds.
    pub node_id: Identity,
    /// The node's name.
    pub name: NodeName,
    /// Whether the key in it takes a password.
    pub encrypted: bool,
    /// Rows of the database.
    pub rows: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// What `lbm restore` put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreOutput {
    /// The data folder, absolute.
    pub data: String,
    /// Whose node it is.
    pub node_id: Identity,
    /// The node's name.
    pub name: NodeName,
    /// Whether its key takes a password.
    pub encrypted: bool,
    /// When the backup was made.
    pub created_ms: u64,
    /// Groups.
    pub groups: usize,
    /// Those of them in which nothing is written until a member has answered.
    pub unsure_groups: usize,
}

/// Makes a backup of the node in `data`.
///
/// # Errors
/// [`CliError`]: nothing is left of the file, and an older one stays.
pub fn backup(args: &BackupArgs, data: &Path) -> Result<BackupOutput, CliError> {
    let folder = DataDir::open(data).map_err(BackupError::from)?;
    let info = folder.show().map_err(BackupError::from)?;
    check_target(&args.file, args.force)?;
    let (key, agents) = folder.key_files().map_err(BackupError::from)?;
    let files = Files {
        key,
        agents,
        name: info.name.as_str().to_owned(),
        config: folder.config_file().map_err(BackupError::from)?,
    };
    let head = Head { identity: info.identity, created_ms: when::now_ms(), version: VERSION.to_owned() };
    let file = NewFile::create(&args.file).map_err(BackupError::from)?;
    let path = args.file.clone();
    let failed = |reason| BackupError::Io { attempt: "write", path: path.clone(), reason };
    let mut out = Hashing::new(BufWriter::new(file.file()));
    backup::begin(&mut out, head, &files).map_err(failed)?;
    match folder.lock() {
        Ok(_lock) => {
            let store = Store::open(&folder.database_path(), &info.identity).map_err(BackupError::from)?;
            let view = store.view().map_err(BackupError::from)?;
            backup::write_rows(&mut out, &view).map_err(|error| match error {
                BackupError::Io { reason, .. } => failed(reason),
                error => error,
            })?;
        }
        Err(DataDirError::InUse { .. }) => from_daemon(data, &mut out, &failed)?,
        Err(error) => return Err(BackupError::from(error).into()),
    }
    let bytes = out.bytes;
    drop(backup::end(out).map_err(failed)?);
    let mut rows = 0;
    // What cannot be read back is no backup.
    file.put_in_place(|aside| {
        rows = backup::read(aside, |_, _| Ok(()))?.rows;
        // Once more: it may have been made meanwhile.
        check_target(&args.file, args.force)
    })?;
    Ok(BackupOutput {
        file: super::keys::shown(&args.file),
        node_id: info.identity,
        name: info.name,
        encrypted: info.is_encrypted,
        rows,
        bytes: bytes + 32,
    })
}

/// Refuses to overwrite anything but, where it was asked for, an older backup.
fn check_target(file: &Path, force: bool) -> Result<(), BackupError> {
    let path = || file.to_owned();
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(reason) => Err(BackupError::Io { attempt: "look at", path: path(), reason }),
        Ok(_) if !force => Err(BackupError::FileExists { path: path() }),
        Ok(found) if found.is_file() && backup::is_backup(file).unwrap_or(false) => Ok(()),
        Ok(_) => Err(BackupError::WouldOverwrite { path: path() }),
    }
}

fn from_daemon(data: &Path, out: &mut impl Write, failed: &impl Fn(io::Error) -> BackupError) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(CliError::Start)?;
    runtime.block_on(async {
        let mut rows = Client::new(data).backup().await?;
        while let Some(piece) = rows.next().await? {
            out.write_all(&piece).map_err(failed)?;
        }
        Ok(())
    })
}

/// Puts a backup into the folder `data`.
///
/// # Errors
/// [`BackupError`]: nothing is left in the folder.
pub fn restore(args: &RestoreArgs, data: &Path) -> Result<RestoreOutput, BackupError> {
    let restored = backup::restore(&args.file, data, args.alone)?;
    Ok(RestoreOutput {
        data: super::keys::shown(data),
        node_id: restored.head.identity,
        name: restored.name,
        encrypted: restored.is_encrypted,
        created_ms: restored.head.created_ms,
        groups: restored.groups,
        unsure_groups: restored.in_doubt,
    })
}

impl Render for BackupOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Backed up {} into {}: {} rows, {} bytes.", self.name, self.file, self.rows, self.bytes)?;
        if self.encrypted {
            writeln!(out, "Its key is encrypted: keep the password as well.")
        } else {
            writeln!(out, "Its key is not encrypted: whoever has the file has the node.")
        }
    }
}

impl Render for RestoreOutput {
    fn render(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "Restored {} of {} into {}.", self.name, when::full(self.created_ms), self.data)?;
        writeln!(out, "id      {}", self.node_id)?;
        writeln!(out, "groups  {}", self.groups)?;
        writeln!(out, "Never run it beside another daemon with the same key: both would lose writes.")?;
        if self.unsure_groups > 0 {
            writeln!(
                out,
                "Start it with `lbm-node`. It writes in a group once a member has answered, as it may have written"
            )?;
            writeln!(out, "there since the backup; `lbm ctl health` shows where it waits.")?;
        }
        Ok(())
    }
}
