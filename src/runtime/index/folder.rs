//! The folder of one group's index: segments, each under its hash, and a manifest that names those that count.
//!
//! Invariant: **whatever is cut short, the folder is as it was or as it should be.** A file is written aside, flushed and renamed; a
//! segment is durable before a manifest names it; what no manifest names is removed when the next one stands, and at a start.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde_bytes::ByteBuf;

use crate::cbor::{self, cbor_array};
use crate::knowledge::segment::{ANALYSIS, Segment, merge};
use crate::limits::INDEX_MANIFEST_BYTES;
use crate::store;

/// Version of the manifest.
const VERSION: u64 = 1;

const MANIFEST: &str = "manifest";
const ASIDE: &str = "new";

cbor_array! {
    /// A segment that counts.
    pub struct Named {
        /// The hash of its content.
        pub hash: ByteBuf,
        /// The first block that its claims are from.
        pub first: u64,
        /// Behind the last one.
        pub end: u64,
    }

    /// A claim, by the number of its block in the log and its place there.
    #[derive(Copy, PartialOrd, Ord)]
    pub struct Place {
        /// Number in the log.
        pub number: u64,
        /// Which transaction of the block.
        pub index: u32,
    }

    /// Which block the log has under a number.
    pub struct Mark {
        /// The number.
        pub number: u64,
        /// Where the block lies.
        pub line: ByteBuf,
    }

    /// What an index has read.
    #[derive(Default)]
    pub struct Manifest {
        /// Of its own form.
        pub version: u64,
        /// Of what a text is taken for.
        pub analysis: u32,
        /// The segments.
        pub segments: Vec<Named>,
        /// The log is read up to here, but for the gaps.
        pub next: u64,
        /// Numbers of the log that are yet to be read: from, and up to.
        pub gaps: Vec<(u64, u64)>,
        /// Claims whose words had not come.
        pub wordless: Vec<Place>,
        /// Samples of the log: where it has others, this index is another's.
        pub marks: Vec<Mark>,
    }
}

impl Manifest {
    /// One with no segments.
    pub fn new() -> Self {
        Self { version: VERSION, analysis: ANALYSIS, ..Self::default() }
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    #[cfg(test)]
    pub(super) faults: std::sync::Arc<super::tests::Faults>,
}

impl Folder {
    /// The folder at a path, which is created where it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = Self {
            path: path.to_owned(),
            #[cfg(test)]
            faults: std::sync::Arc::default(),
        };
        folder.make().map(|()| folder)
    }

    /// Makes it where it is missing.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// Whether it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path.is_dir()
    }

    /// Whether it has a manifest.
    #[must_use]
    pub fn has_manifest(&self) -> bool {
        self.path.join(MANIFEST).is_file()
    }

    /// Whether it has the file of a segment.
    #[must_use]
    pub fn has(&self, segment: &Segment) -> bool {
        self.path.join(name(&segment.hash())).is_file()
    }

    /// Called before each change of a file, so that a test can stop there.
    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.faults.step()
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests have more to do here")]
    const fn step(&self) -> io::Result<()> {
        Ok(())
    }

    /// The manifest, and the segments that it names, those that cannot be read left out and named in the second list; nothing where
    /// there is no manifest, or none of this version that is whole. Their content is not looked at.
    #[must_use]
    pub fn read(&self) -> Option<(Manifest, Vec<Segment>, Vec<Range<u64>>)> {
        let path = self.path.join(MANIFEST);
        let manifest = match self.read_manifest() {
            Ok(manifest) => manifest?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the manifest of an index cannot be read: it is built anew");
                return None;
            }
        };
        let (mut segments, mut lost) = (Vec::new(), Vec::new());
        for named in &manifest.segments {
            match self.open(named) {
                Ok(segment) => segments.push(segment),
                Err(error) => {
                    tracing::warn!(%error, folder = %self.path.display(), "a segment of an index cannot be read: its claims are read anew");
                    lost.push(named.first..named.end);
                }
            }
        }
        Some((manifest, segments, lost))
    }

    fn read_manifest(&self) -> io::Result<Option<Manifest>> {
        let mut bytes = Vec::new();
        File::open(self.path.join(MANIFEST))?.take(INDEX_MANIFEST_BYTES).read_to_end(&mut bytes)?;
        let Some((hash, encoded)) = bytes.split_first_chunk::<32>() else { return Ok(None) };
        if blake3::hash(encoded) != *hash {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is damaged"));
        }
        // One of another version may have another form.
        let manifest: Option<Manifest> = cbor::decode_lenient(encoded, encoded.len()).ok();
        Ok(manifest.filter(|manifest| manifest.version == VERSION && manifest.analysis == ANALYSIS))
    }

    fn open(&self, named: &Named) -> io::Result<Segment> {
        let hash = <[u8; 32]>::try_from(named.hash.as_slice()).map_err(io::Error::other)?;
        let hash = blake3::Hash::from_bytes(hash);
        let segment = Segment::open(Box::new(store::map(&self.path.join(name(&hash)))?)).map_err(io::Error::other)?;
        if segment.hash() == hash {
            Ok(segment)
        } else {
            Err(io::Error::other("it has another content than its name says"))
        }
    }

    /// Writes one segment with the documents of all of these, durably.
    ///
    /// # Errors
    /// Those of the file system: then nothing counts that did not before.
    pub fn write(&self, segments: &[Segment]) -> io::Result<Segment> {
        let aside = self.aside(|out| merge(segments, out))?;
        let segment = Segment::open(Box::new(store::map(&aside)?)).map_err(io::Error::other)?;
        self.place(&aside, &name(&segment.hash()))?;
        Ok(segment)
    }

    /// Makes this the manifest, durably, and removes what it does not name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let encoded = cbor::encode(manifest);
        let aside = self.aside(|out| {
            out.write_all(blake3::hash(&encoded).as_bytes())?;
            out.write_all(&encoded)
        })?;
        self.place(&aside, MANIFEST)?;
        self.sweep(manifest)
    }

    /// Removes what a manifest does not name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(&self, manifest: &Manifest) -> io::Result<()> {
        let hash_of = |named: &Named| <[u8; 32]>::try_from(named.hash.as_slice()).ok().map(blake3::Hash::from_bytes);
        let names: Vec<String> = manifest.segments.iter().filter_map(hash_of).map(|hash| name(&hash)).collect();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let file = entry.file_name();
            if file != MANIFEST && !names.iter().any(|name| file == name.as_str()) {
                self.step()?;
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn aside(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<PathBuf> {
        let path = self.path.join(ASIDE);
        self.step()?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.step()?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        let mut out = BufWriter::with_capacity(1 << 18, &file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        self.step()?;
        file.sync_all()?;
        Ok(path)
    }

    fn place(&self, aside: &Path, name: &str) -> io::Result<()> {
        self.step()?;
        fs::rename(aside, self.path.join(name))?;
        self.step()?;
        File::open(&self.path)?.sync_all()
    }
}

/// The file of the segment with this hash.
fn name(hash: &blake3::Hash) -> String {
    format!("{}.seg", hash.to_hex().get(..32).unwrap_or_default())
}

/// How a manifest names a segment.
pub fn named(segment: &Segment) -> Named {
    let positions = segment.positions();
    Named { hash: ByteBuf::from(*segment.hash().as_bytes()), first: positions.start, end: positions.end }
}
