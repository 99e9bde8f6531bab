//! Files mapped into memory: read by the page, kept by the system as long as it has room.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A file in memory.
#[derive(Debug)]
pub struct Mapped(Option<Mmap>);

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Maps a file that nobody changes: one that is replaced is another file, and one that is removed lasts as long as the map.
///
/// # Errors
/// Those of the system.
#[allow(
    unsafe_code,
    reason = "the one place: a map is sound only while nobody changes the file, which no type can say"
)]
pub fn map(path: &Path) -> io::Result<Mapped> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(Mapped(None));
    }
    // SAFETY: the bytes must not change while the map lives. Segments are written aside, flushed, and renamed into a folder that others
    // may not enter and that the data folder's lock gives to one process; they are then only read, replaced by a rename, or removed.
    // Somebody with our rights who writes into one all the same changes what we read, which is checked like any bytes; who cuts one off
    // ends the process (SIGBUS), and the next start finds the damage.
    unsafe { Mmap::map(&file) }.map(|map| Mapped(Some(map)))
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn a_map_outlives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        std::fs::write(&path, b"words").unwrap();
        let mapped = map(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(mapped.as_ref(), b"words");
        assert!(map(&path).is_err());
        std::fs::write(&path, b"").unwrap();
        assert_eq!(map(&path).unwrap().as_ref(), b"");
    }
}
