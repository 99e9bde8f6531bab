//! Encrypted packages on the disk, each a file under its hash. What is decrypted is never written.
//!
//! A file holds the ciphertext and, behind it, the hashes of its chunks, so that a part can be read and proved without the rest.
//! **A file with a package's name is that package, whole**: it is checked, written aside, flushed, and put in place in one step; what a
//! crash leaves aside goes with the next start. What the disk has lost or damaged since is found when it is read, and is then no longer
//! here: it can be fetched again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::free_bytes;
use crate::limits;
use crate::package::{self, CHUNK_BYTES, ChunkProof, Commitment, Leaves, PackageError, PackageHash};

/// Ending of what is not whole yet.
const ASIDE: &str = "part";

/// Ending of what was found damaged.
const DAMAGED: &str = "damaged";

/// Bytes of one chunk's hash in the file.
const LEAF_BYTES: u64 = 32;

/// Why a package cannot be kept, or read.
#[derive(Debug, thiserror::Error)]
pub enum PackageStoreError {
    /// Not the package that it should be.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// All the room is taken.
    #[error(
        "the packages on this node take {used_mib} of {most_mib} MiB: delete those that are no longer needed from `packages` in the data folder"
    )]
    Full {
        /// What they take.
        used_mib: u64,
        /// What they may take.
        most_mib: u64,
    },
    /// There is too little room on the disk.
    #[error("the disk of {path} has {free_mib} MiB left, and lbm leaves {least_mib} MiB free: free some space")]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// What is left.
        free_mib: u64,
        /// What must be.
        least_mib: u64,
    },
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// The packages of one node.
#[derive(Debug)]
pub struct Packages {
    folder: PathBuf,
    most_bytes: u64,
    /// What is there: the length of each file.
    files: Mutex<BTreeMap<PackageHash, u64>>,
}

impl Packages {
    /// Opens the folder, makes it where there is none, and clears away what a crash has left. They may take `most_bytes` together.
    ///
    /// # Errors
    /// [`PackageStoreError::Io`].
    pub fn open(folder: &Path, most_bytes: u64) -> Result<Self, PackageStoreError> {
        let failed = |source| PackageStoreError::Io { path: folder.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let path = entry.path();
            if path.extension().is_some_and(|ending| ending == ASIDE) {
                fs::remove_file(&path).map_err(failed)?;
            } else if let Some(package) = name.to_str().and_then(|name| name.parse().ok()) {
                files.insert(package, entry.metadata().map_err(failed)?.len());
            }
        }
        Ok(Self { folder: folder.to_owned(), most_bytes, files: Mutex::new(files) })
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PackageHash, u64>> {
        // What is known of the files is changed in one step, so a thread that failed has left it right.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, package: &PackageHash) -> PathBuf {
        self.folder.join(package.to_string())
    }

    /// Whether a package is here.
    #[must_use]
    pub fn has(&self, package: &PackageHash) -> bool {
        self.files().contains_key(package)
    }

    /// What is here, ascending, each with the bytes that it takes.
    #[must_use]
    pub fn list(&self) -> Vec<(PackageHash, u64)> {
        self.files().iter().map(|(package, bytes)| (*package, *bytes)).collect()
    }

    /// Checks a ciphertext and keeps it. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`PackageStoreError`]: then nothing of it is there.
    pub fn put(&self, commitment: &Commitment, ciphertext: &[u8]) -> Result<(), PackageStoreError> {
        package::check_ciphertext(commitment, ciphertext)?;
        let leaves = Leaves::of(ciphertext).to_bytes();
        let bytes = (ciphertext.len() + leaves.len()) as u64;
        // Held while it is written: two that come at once have room one after the other, and one that comes twice is written once.
        let mut files = self.files();
        if files.contains_key(&commitment.package) {
            return Ok(());
        }
        let used: u64 = files.values().sum();
        if used.saturating_add(bytes) > self.most_bytes {
            return Err(PackageStoreError::Full { used_mib: used >> 20, most_mib: self.most_bytes >> 20 });
        }
        let path = self.path(&commitment.package);
        if let Some(free) = free_bytes(&path).filter(|free| *free < limits::DISK_FREE_BYTES.saturating_add(bytes)) {
            let (free_mib, least_mib) = (free >> 20, limits::DISK_FREE_BYTES >> 20);
            return Err(PackageStoreError::DiskFull { path: self.folder.clone(), free_mib, least_mib });
        }
        let aside = path.with_extension(ASIDE);
        let written = write(&aside, ciphertext, &leaves).and_then(|()| fs::rename(&aside, &path));
        let written = written.and_then(|()| File::open(&self.folder)?.sync_all());
        if let Err(source) = written {
            // What is left aside is cleared away at the next start.
            let _left = fs::remove_file(&aside);
            return Err(PackageStoreError::Io { path, source });
        }
        files.insert(commitment.package, bytes);
        // What was put aside of it is of no use any more, and takes room.
        let _gone = fs::remove_file(path.with_extension(DAMAGED));
        Ok(())
    }

    /// Chunks of a package with their proofs, from `from` on, at most `count`; none where the package is not here.
    ///
    /// # Errors
    /// [`PackageStoreError::Io`].
    pub fn chunks(
        &self,
        package: &PackageHash,
        from: u32,
        count: u32,
    ) -> Result<Option<Vec<ChunkProof>>, PackageStoreError> {
        let Some(bytes) = self.files().get(package).copied() else { return Ok(None) };
        let path = self.path(package);
        match Self::prove_chunks(&path, bytes, package, from, count) {
            Ok(Some(proofs)) => Ok(Some(proofs)),
            Ok(None) => self.lose(package),
            Err(source) if is_lost(&source) => self.lose(package),
            Err(source) => Err(PackageStoreError::Io { path, source }),
        }
    }

    /// None where the file is not what was written.
    fn prove_chunks(
        path: &Path,
        bytes: u64,
        package: &PackageHash,
        from: u32,
        count: u32,
    ) -> io::Result<Option<Vec<ChunkProof>>> {
        let mut file = File::open(path)?;
        let all = bytes.div_ceil(CHUNK_BYTES as u64 + LEAF_BYTES);
        let end = bytes.saturating_sub(all * LEAF_BYTES);
        let Some(leaves) = Leaves::from_bytes(package, &read(&mut file, end, bytes)?) else { return Ok(None) };
        let start = u64::from(from).saturating_mul(CHUNK_BYTES as u64).min(end);
        let stop = start.saturating_add(u64::from(count) * CHUNK_BYTES as u64).min(end);
        let part = read(&mut file, start, stop)?;
        // A number past the last chunk has no part.
        let proof = |(at, chunk): (usize, &[u8])| leaves.prove(from + u32::try_from(at).ok()?, chunk.to_vec());
        Ok(part.chunks(CHUNK_BYTES).enumerate().map(proof).collect())
    }

    /// Forgets a package whose file is gone or damaged, so that it can be had again; what there is of it is put aside.
    fn lose<T>(&self, package: &PackageHash) -> Result<Option<T>, PackageStoreError> {
        let (mut files, path) = (self.files(), self.path(package));
        let aside = path.with_extension(DAMAGED);
        match fs::rename(&path, &aside) {
            Ok(()) => tracing::error!(path = %aside.display(), "a package is damaged, and put aside here"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::error!(path = %path.display(), "a package is gone from the disk");
            }
            Err(source) => return Err(PackageStoreError::Io { path, source }),
        }
        files.remove(package);
        Ok(None)
    }

    /// A whole ciphertext, checked; none where the package is not here.
    ///
    /// # Errors
    /// [`PackageStoreError::Io`].
    pub fn read(&self, commitment: &Commitment) -> Result<Option<Vec<u8>>, PackageStoreError> {
        if !self.has(&commitment.package) {
            return Ok(None);
        }
        let path = self.path(&commitment.package);
        let bytes = commitment.ciphertext_bytes() as u64;
        match File::open(&path).and_then(|mut file| read(&mut file, 0, bytes)) {
            Ok(ciphertext) if package::check_ciphertext(commitment, &ciphertext).is_ok() => Ok(Some(ciphertext)),
            Ok(_) => self.lose(&commitment.package),
            Err(source) if is_lost(&source) => self.lose(&commitment.package),
            Err(source) => Err(PackageStoreError::Io { path, source }),
        }
    }

    /// Removes a package; tells whether it was here.
    ///
    /// # Errors
    /// [`PackageStoreError::Io`].
    pub fn remove(&self, package: &PackageHash) -> Result<bool, PackageStoreError> {
        let mut files = self.files();
        if !files.contains_key(package) {
            return Ok(false);
        }
        let path = self.path(package);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(PackageStoreError::Io { path, source });
            }
            Ok(()) | Err(_) => files.remove(package),
        };
        Ok(true)
    }
}

/// Whether an error says that the file, or a part of it, is gone.
fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

fn write(path: &Path, ciphertext: &[u8], leaves: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(ciphertext)?;
    file.write_all(leaves)?;
    file.sync_all()
}

/// The bytes of a file between two places.
fn read(file: &mut File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = vec![0; usize::try_from(to.saturating_sub(from)).map_err(io::Error::other)?];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PACKAGE_BYTES, PACKAGE_CHUNK_BYTES};
    use crate::package::{PackageKey, encrypt};

    fn package(seed: u8, bytes: usize) -> (Vec<u8>, Commitment) {
        let content: Vec<u8> = (0..bytes).map(|at| (at % 249) as u8).collect();
        encrypt(&PackageKey::from_bytes([seed; 32]), &content).unwrap()
    }

    fn open(folder: &Path) -> Packages {
        Packages::open(folder, u64::MAX).unwrap()
    }

    #[test]
    fn what_is_put_is_read_in_any_part_also_after_a_start() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("packages");
        let chunk = PACKAGE_CHUNK_BYTES;
        let made: Vec<_> = [1, chunk - 1, chunk, chunk + 1, 3 * chunk, 5 * chunk + 7, PACKAGE_BYTES]
            .iter()
            .zip(1..)
            .map(|(bytes, seed)| package(seed, *bytes))
            .collect();
        let packages = open(&folder);
        for (ciphertext, commitment) in &made {
            packages.put(commitment, ciphertext).unwrap();
            packages.put(commitment, ciphertext).unwrap();
        }
        let again = open(&folder);
        assert_eq!(again.list(), packages.list());
        for (ciphertext, commitment) in &made {
            assert!(again.read(commitment).unwrap().as_ref() == Some(ciphertext));
            for (from, count) in [(0, 1), (0, 16), (1, 2), (commitment.chunks() - 1, 5)] {
                let proofs = again.chunks(&commitment.package, from, count).unwrap().unwrap();
                let expected = commitment.chunks().saturating_sub(from).min(count);
                assert_eq!(proofs.len(), expected as usize);
                assert!((from..).zip(&proofs).all(|(index, proof)| proof.index == index && commitment.has(proof)));
            }
            assert_eq!(again.chunks(&commitment.package, commitment.chunks(), 5).unwrap(), Some(vec![]));
            assert_eq!(again.chunks(&commitment.package, u32::MAX, u32::MAX).unwrap(), Some(vec![]));
        }
        let (_, gone) = &made[0];
        assert!(again.remove(&gone.package).unwrap() && !again.remove(&gone.package).unwrap());
        assert!(again.read(gone).unwrap().is_none() && again.chunks(&gone.package, 0, 1).unwrap().is_none());
        assert_eq!(open(&folder).list().len(), made.len() - 1);
    }

    #[test]
    fn what_is_not_the_package_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let packages = open(folder.path());
        let (mut ciphertext, commitment) = package(1, 200_000);
        ciphertext[70_000] ^= 1;
        assert!(matches!(packages.put(&commitment, &ciphertext), Err(PackageStoreError::Package(_))));
        assert!(matches!(packages.put(&commitment, &ciphertext[1..]), Err(PackageStoreError::Package(_))));
        assert!(!packages.has(&commitment.package) && fs::read_dir(folder.path()).unwrap().next().is_none());
    }

    #[test]
    fn what_a_crash_left_aside_is_cleared_away_and_counts_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (ciphertext, commitment) = package(1, 100_000);
        let aside = folder.path().join(commitment.package.to_string()).with_extension(ASIDE);
        fs::write(&aside, &ciphertext[..50_000]).unwrap();
        let packages = open(folder.path());
        assert!(!packages.has(&commitment.package) && !aside.exists());
        packages.put(&commitment, &ciphertext).unwrap();
        assert!(packages.has(&commitment.package));
    }

    #[test]
    fn past_their_room_none_is_kept_until_one_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (one, first) = package(1, 100_000);
        let (two, second) = package(2, 100_000);
        let packages = Packages::open(folder.path(), 150_000).unwrap();
        packages.put(&first, &one).unwrap();
        assert!(matches!(packages.put(&second, &two), Err(PackageStoreError::Full { .. })));
        packages.put(&first, &one).unwrap();
        assert!(packages.remove(&first.package).unwrap());
        packages.put(&second, &two).unwrap();
    }

    #[test]
    fn what_the_disk_damages_is_found_when_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (ciphertext, commitment) = package(1, 5 * PACKAGE_CHUNK_BYTES);
        let packages = open(folder.path());
        packages.put(&commitment, &ciphertext).unwrap();
        let path = packages.path(&commitment.package);
        let good = fs::read(&path).unwrap();
        for at in [0, 2 * CHUNK_BYTES, ciphertext.len(), good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let all = packages.chunks(&commitment.package, 0, 16).unwrap();
            assert!(all.is_none() && !packages.has(&commitment.package), "byte {at}: {all:?}");
            packages.put(&commitment, &ciphertext).unwrap();
        }
        let lost: [&dyn Fn(); 2] = [&|| fs::write(&path, &good[..1_000]).unwrap(), &|| fs::remove_file(&path).unwrap()];
        for lose in lost {
            lose();
            assert_eq!(packages.chunks(&commitment.package, 0, 16).unwrap(), None);
            packages.put(&commitment, &ciphertext).unwrap();
            lose();
            assert_eq!(packages.read(&commitment).unwrap(), None);
            packages.put(&commitment, &ciphertext).unwrap();
            assert!(packages.read(&commitment).unwrap().is_some());
        }
        // A part that is whole is still good.
        let mut bad = good;
        bad[0] ^= 1;
        fs::write(&path, &bad).unwrap();
        assert_eq!(packages.chunks(&commitment.package, 1, 16).unwrap().unwrap().len(), 4);
    }
}
