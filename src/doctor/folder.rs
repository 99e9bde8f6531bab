//! The data folder: whose it is, who may look into it, whether it can be written, and when it last was.

use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::api::types::Finding;
use crate::datadir::{DataDir, DataDirError};
use crate::limits;

/// How far ahead of the clock a file may be dated: file systems round, and clocks are set by a little all the time.
const AHEAD: Duration = Duration::from_secs(5);

/// Whether the folder can be used, holds a key, and can be written.
pub(super) fn folder(data: &Path) -> Vec<Finding> {
    let opened = match DataDir::open(data) {
        Ok(folder) => folder,
        Err(error) => return vec![refused("data_folder", &error)],
    };
    let key = match opened.show() {
        Ok(info) => Finding::ok("key", format!("{} is the node {}", info.identity, info.name)),
        Err(error) => refused("key", &error),
    };
    vec![writable(data), key]
}

/// What is wrong and what to do stand in the error's one sentence.
fn refused(code: &str, error: &DataDirError) -> Finding {
    let text = error.to_string();
    let (detail, remedy) = text.rsplit_once(": ").unwrap_or((&text, "name another data folder with --data DIR"));
    Finding::problem(code, detail, remedy)
}

/// Writes a file and removes it.
fn writable(data: &Path) -> Finding {
    let name = data.display();
    let written = tempfile(data);
    match written {
        Ok(()) => Finding::ok("data_folder", format!("{name} is this user's alone and can be written")),
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => "free some space there",
                std::io::ErrorKind::ReadOnlyFilesystem => {
                    "mount it for writing, or name another folder with --data DIR"
                }
                _ => "see who owns it, its mode and its disk",
            };
            Finding::problem("data_folder", format!("{name} cannot be written: {error}"), remedy)
        }
    }
}

fn tempfile(data: &Path) -> std::io::Result<()> {
    let path = data.join(format!("doctor-{}", std::process::id()));
    // As large as a page of the database: an empty file fits where nothing else does.
    let written = std::fs::write(&path, [0_u8; 4_096]).and_then(|()| std::fs::File::open(&path)?.sync_all());
    match std::fs::remove_file(&path) {
        Err(error) if written.is_ok() => Err(error),
        _ => written,
    }
}

/// How much room is left.
pub(super) fn disk(data: &Path) -> Finding {
    let there = data.ancestors().find(|folder| folder.exists()).unwrap_or(data);
    let needed = limits::DISK_FREE_BYTES;
    match rustix::fs::statvfs(there) {
        Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < needed => {
            let left = disk.f_bavail.saturating_mul(disk.f_frsize) >> 20;
            let detail = format!(
                "{left} MiB are left on the disk of {}, and {} are needed to write",
                data.display(),
                needed >> 20
            );
            Finding::problem("disk_full", detail, "free some space: until then nothing is written")
        }
        Ok(disk) => Finding::ok("disk", format!("{} MiB are left", disk.f_bavail.saturating_mul(disk.f_frsize) >> 20)),
        Err(error) => {
            let detail = format!("the system does not say how much room is left at {}: {error}", there.display());
            Finding::warning("disk_unknown", detail, "see whether the folder's disk is mounted")
        }
    }
}

/// Whether the clock is behind what it was when the node last wrote.
pub(super) fn clock(data: &Path) -> Finding {
    let newest = ["lbm.redb", "lock"].iter().filter_map(|name| data.join(name).metadata().ok()?.modified().ok()).max();
    let ahead = newest.and_then(|newest| newest.duration_since(SystemTime::now()).ok());
    match ahead.filter(|ahead| *ahead > AHEAD) {
        Some(ahead) => {
            let detail = format!("the clock was set back: the database was written {} in the future", span(ahead));
            Finding::problem("clock_back", detail, "set the clock by a time server, as with `timedatectl set-ntp true`")
        }
        None => Finding::ok("clock", "the clock is not behind the database"),
    }
}

/// A time for people, rounded.
pub(super) fn span(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

/// Whether another process owns the folder.
pub(super) fn lock(data: &Path) -> Finding {
    match DataDir::open(data).and_then(|folder| folder.lock()) {
        Err(DataDirError::InUse { holder, .. }) => {
            let detail = format!("{holder} owns the data folder, and no daemon answers on its socket");
            let remedy = "it may be starting: ask again in a moment; else look at its log, stop it, and start it again";
            Finding::problem("locked", detail, remedy)
        }
        // What else is wrong with the folder was said of the folder.
        Ok(_) | Err(_) => {
            let remedy = "start it with `lbm-node`, or nothing else works";
            Finding::warning("no_daemon", "no daemon runs", remedy)
        }
    }
}
