//! Files that hold secrets: closed to others, read into memory that is wiped, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::DataDirError;
use crate::limits::KEY_FILE_BYTES;

/// Bytes that may be a secret.
pub type KeyBytes = Zeroizing<Vec<u8>>;

const OTHERS: u32 = 0o077;
const PERMISSIONS: u32 = 0o7777;

/// For `map_err`: what was attempted, on which path.
pub(super) fn io_error(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    move |reason| DataDirError::Io { attempt, path: path.to_owned(), reason }
}

/// Creates `path` and its missing parents, all with mode 0700, and makes that survive a crash.
pub(super) fn create_folder(path: &Path) -> Result<(), DataDirError> {
    let missing: Vec<&Path> =
        path.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("create the data folder", path))?;
    missing.into_iter().try_for_each(|folder| sync_folder(&folder_of(folder)))
}

/// Refuses what is no folder of ours alone.
pub(super) fn check_folder(path: &Path) -> Result<(), DataDirError> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(DataDirError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(io_error("look at", path)(error)),
    };
    if !metadata.is_dir() {
        return Err(DataDirError::NotAFolder { path: path.to_owned() });
    }
    check_owner(path, metadata.uid(), current_user().map_err(io_error("ask who may use", path))?)?;
    check_mode(path, metadata.mode(), 0o700)
}

pub(super) fn check_owner(path: &Path, owner: u32, user: u32) -> Result<(), DataDirError> {
    if owner == user { Ok(()) } else { Err(DataDirError::ForeignOwner { path: path.to_owned(), owner, user }) }
}

fn check_mode(path: &Path, mode: u32, closed: u32) -> Result<(), DataDirError> {
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(DataDirError::TooOpen { path: path.to_owned(), mode: mode & PERMISSIONS, closed })
}

/// The effective user id. The standard library has no call for it, but a pipe belongs to who made it, on every Unix.
fn current_user() -> io::Result<u32> {
    let (end, _other_end) = io::pipe()?;
    Ok(File::from(OwnedFd::from(end)).metadata()?.uid())
}

/// Opens a lock file, which is created where it is missing. Its content stays.
pub(super) fn open_lock(path: &Path) -> Result<File, DataDirError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map_err(io_error("open", path))
}

/// Reads at most `max_bytes` and one more, so that the caller sees that there was more. The memory is wiped on drop, and
/// never moves, so that no copy stays behind.
///
/// # Errors
/// Those of the reader.
pub fn read_secret(reader: &mut dyn Read, max_bytes: usize) -> io::Result<KeyBytes> {
    let mut bytes = Zeroizing::new(vec![0; max_bytes + 1]);
    let mut filled = 0;
    while filled < bytes.len() {
        match reader.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads a key file from anywhere, to import it.
///
/// # Errors
/// [`DataDirError::Io`].
pub fn read_key_file(path: &Path) -> Result<KeyBytes, DataDirError> {
    let mut file = File::open(path).map_err(io_error("read", path))?;
    read_secret(&mut file, KEY_FILE_BYTES).map_err(io_error("read", path))
}

/// Reads a key file of the data folder, which others must not be able to read; `None` where there is none.
pub(super) fn read_own_key(path: &Path) -> Result<Option<KeyBytes>, DataDirError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    check_mode(path, file.metadata().map_err(io_error("look at", path))?.mode(), 0o600)?;
    read_secret(&mut file, KEY_FILE_BYTES).map(Some).map_err(io_error("read", path))
}

/// Puts `bytes` in place of the file at `path`: after a crash at any moment it holds the old bytes or the new ones. One
/// process at a time, as the file aside has one name: what a crash left of it is removed, for it may hold a key.
///
/// # Errors
/// [`DataDirError::Io`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error("remove", &aside)(error)),
        _ => {}
    }
    write_new(&aside, bytes)?;
    if let Err(error) = fs::rename(&aside, path) {
        remove_quietly(&aside);
        return Err(io_error("put in place", path)(error));
    }
    sync_folder(&folder_of(path))
}

/// Writes a new file with mode 0600 and flushes it and its folder. What could not be written whole is removed again.
///
/// # Errors
/// [`DataDirError::FileExists`], [`DataDirError::Io`].
pub fn write_new(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(DataDirError::FileExists { path: path.to_owned() });
        }
        Err(error) => return Err(io_error("create", path)(error)),
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error("write", path));
    written.and_then(|()| sync_folder(&folder_of(path))).inspect_err(|_| remove_quietly(path))
}

/// A file of mode 0600 that is written aside, and in place only when it is whole; removed again where it does not get there.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    aside: PathBuf,
    path: PathBuf,
    is_in_place: bool,
}

impl NewFile {
    /// Begins the file that will stand at `path`.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn create(path: &Path) -> Result<Self, DataDirError> {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!(".{}.new", std::process::id()));
        let aside = PathBuf::from(aside);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let file = file.map_err(io_error("create", &aside))?;
        Ok(Self { file, aside, path: path.to_owned(), is_in_place: false })
    }

    /// Where it stands until it is whole.
    #[must_use]
    pub fn aside(&self) -> &Path {
        &self.aside
    }

    /// The file, to be written.
    #[must_use]
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Flushes it to the disk, has it looked at, and puts it in place of what stands at its path.
    ///
    /// # Errors
    /// Those of `check`; [`DataDirError::Io`].
    pub fn put_in_place<E: From<DataDirError>>(mut self, check: impl FnOnce(&Path) -> Result<(), E>) -> Result<(), E> {
        self.file.sync_all().map_err(io_error("write", &self.path))?;
        check(&self.aside)?;
        fs::rename(&self.aside, &self.path).map_err(io_error("put in place", &self.aside))?;
        self.is_in_place = true;
        Ok(sync_folder(&folder_of(&self.path))?)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_in_place {
            remove_quietly(&self.aside);
        }
    }
}

/// After an error that is reported already; what cannot be removed now is removed by the next [`replace`].
fn remove_quietly(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Makes new names in `folder` survive a crash. A folder that may be entered but not listed cannot be flushed, and some
/// file systems know no such flush: there the system does it in its own time.
pub(super) fn sync_folder(folder: &Path) -> Result<(), DataDirError> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if !matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Err(io_error("flush", folder)(error))
        }
        _ => Ok(()),
    }
}

/// The folder that holds `path`; `.` for a bare file name.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
