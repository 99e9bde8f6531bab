//! The vectors that a model made of claims: one append-only file, and the search for the closest.
//!
//! ```text
//! header  magic 8 | model 32 | dimensions u32 LE | checksum 4
//! record  claim 32 | length of the cells f32 LE | cells i8 × dimensions | checksum 4
//! ```
//!
//! A vector is scaled so that its largest number is 127: its direction is kept, its length is not. Checksums are the first bytes of BLAKE3.
//! What is behind the first record that does not fit its own is cut off when the file is opened: a write that was torn, and made
//! again by who finds the claim without a vector. In memory are the claims, 40 bytes each; the cells stay with the operating
//! system and are read in parts at each search.
//!
//! Invariant: a claim has one vector at most, and all are of one model and as many dimensions.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;

use rayon::prelude::*;

use super::ClaimKey;
use super::dictionary::Numbers;
use super::latent::ARCH;
use super::top::Top;
use crate::limits::{EMBED_DIMENSIONS, INDEX_DOCUMENTS};

const MAGIC: &[u8; 8] = b"LBMVEC1\n";
const HEADER_BYTES: usize = 48;
const KEY_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// Records that one thread reads at a time: a few hundred kilobytes, which stay in its cache.
const PART_RECORDS: usize = 512;

/// Closeness is counted in units of 2^-16 where claims are chosen.
const SCALE: f32 = 65_536.0;

/// The largest cell of a query, which keeps twelve bits: see the assertion beside [`EMBED_DIMENSIONS`].
const QUERY_CELL: f32 = 2_047.0;

/// Why vectors cannot be kept or searched.
#[derive(Debug, thiserror::Error)]
pub enum VectorsError {
    /// The file.
    #[error("the vectors in {} cannot be {attempt}: {source}", path.display())]
    Io {
        /// What was attempted, as a participle.
        attempt: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The model is another than the one whose vectors these are.
    #[error("its vectors have {got} dimensions and those that are kept {kept}")]
    Dimensions {
        /// As they are in the file.
        kept: usize,
        /// As they came.
        got: usize,
    },
    /// No more fit.
    #[error("{INDEX_DOCUMENTS} claims have vectors, and more are not kept")]
    Full,
}

/// The vectors of one group by one model.
#[derive(Debug)]
pub struct Vectors {
    path: PathBuf,
    model: [u8; 32],
    file: File,
    /// As the header has them; 0 where there is none yet.
    dimensions: usize,
    keys: Vec<ClaimKey>,
    numbers: Numbers,
}

impl Vectors {
    /// Opens the file, and makes it where there is none. Of a file of another model, or one that is damaged from the start, nothing is
    /// kept.
    ///
    /// # Errors
    /// [`VectorsError::Io`].
    pub fn open(path: &Path, model: &[u8; 32]) -> Result<Self, VectorsError> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(path).map_err(failed("opened", path))?;
        let (keys, numbers) = (Vec::new(), Numbers::default());
        let mut vectors = Self { path: path.to_owned(), model: *model, file, dimensions: 0, keys, numbers };
        vectors.read().map_err(failed("read", path))?;
        Ok(vectors)
    }

    /// Reads what is whole, and cuts off the rest.
    fn read(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        let mut header = [0; HEADER_BYTES];
        let whole = length >= HEADER_BYTES as u64;
        if whole {
            self.file.read_exact_at(&mut header, 0)?;
        }
        let dimensions =
            header.get(40..44).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes) as usize;
        if !whole || header != self.header(dimensions) || dimensions == 0 || dimensions > EMBED_DIMENSIONS {
            return self.file.set_len(0);
        }
        self.dimensions = dimensions;
        let size = self.record_bytes();
        let records = ((length - HEADER_BYTES as u64) / size as u64).min(INDEX_DOCUMENTS as u64) as usize;
        let mut part = Vec::new();
        'parts: for start in (0..records).step_by(PART_RECORDS) {
            self.read_part(&mut part, start, PART_RECORDS.min(records - start))?;
            for record in part.chunks_exact(size) {
                match record.first_chunk::<KEY_BYTES>() {
                    Some(key) if is_whole(record) && !self.contains(key) => self.note(*key),
                    _ => break 'parts,
                }
            }
        }
        let end = self.end();
        if end < length {
            tracing::warn!(path = %self.path.display(), bytes = length - end, "vectors that are not whole are made again");
            self.file.set_len(end)?;
        }
        Ok(())
    }

    fn header(&self, dimensions: usize) -> [u8; HEADER_BYTES] {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&self.model);
        header.extend_from_slice(&(dimensions as u32).to_le_bytes());
        header.extend_from_slice(&checksum(&header));
        header.try_into().unwrap_or([0; HEADER_BYTES])
    }

    const fn record_bytes(&self) -> usize {
        KEY_BYTES + 4 + self.dimensions + CHECKSUM_BYTES
    }

    /// Where the next record goes.
    const fn end(&self) -> u64 {
        if self.dimensions == 0 { 0 } else { (HEADER_BYTES + self.keys.len() * self.record_bytes()) as u64 }
    }

    fn read_part(&self, part: &mut Vec<u8>, start: usize, records: usize) -> io::Result<()> {
        part.resize(records * self.record_bytes(), 0);
        self.file.read_exact_at(part, (HEADER_BYTES + start * self.record_bytes()) as u64)
    }

    fn note(&mut self, key: ClaimKey) {
        let hash = self.numbers.hash(&key);
        self.numbers.add(hash, self.keys.len() as u32);
        self.keys.push(key);
    }

    /// How many claims have a vector.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether none has.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a claim has one.
    #[must_use]
    pub fn contains(&self, key: &ClaimKey) -> bool {
        let hash = self.numbers.hash(key);
        self.numbers.find(hash, |number| self.keys.get(number as usize) == Some(key)).is_some()
    }

    /// Whether vectors of so many dimensions go with those that are kept.
    ///
    /// # Errors
    /// [`VectorsError::Dimensions`].
    pub const fn check(&self, got: usize) -> Result<(), VectorsError> {
        if self.is_empty() || got == self.dimensions {
            Ok(())
        } else {
            Err(VectorsError::Dimensions { kept: self.dimensions, got })
        }
    }

    /// Keeps vectors of claims that have none; of one that has, the old one stays. On the disk when it returns, all or none in this
    /// process; after a crash as many as were written.
    ///
    /// # Errors
    /// [`VectorsError`]: none is kept.
    pub fn append(&mut self, new: &[(ClaimKey, Vec<f32>)]) -> Result<(), VectorsError> {
        let Some((_, first)) = new.first() else { return Ok(()) };
        let is_first = self.keys.is_empty();
        let kept = if is_first { first.len() } else { self.dimensions };
        let mut bytes = if is_first { self.header(kept).to_vec() } else { Vec::new() };
        let mut keys: Vec<ClaimKey> = Vec::with_capacity(new.len());
        for (key, vector) in new {
            if vector.len() != kept {
                return Err(VectorsError::Dimensions { kept, got: vector.len() });
            }
            if !self.contains(key) && !keys.contains(key) {
                keys.push(*key);
                put_record(&mut bytes, key, vector);
            }
        }
        if self.keys.len() + keys.len() > INDEX_DOCUMENTS {
            return Err(VectorsError::Full);
        }
        let at = if is_first { 0 } else { self.end() };
        let written = self.file.write_all_at(&bytes, at).and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // What is there of it would be in the way of the next.
            let _torn = self.file.set_len(at);
            return Err(failed("written", &self.path)(source));
        }
        self.dimensions = kept;
        keys.into_iter().for_each(|key| self.note(key));
        Ok(())
    }

    /// The `k` documents whose claims are closest to a query: (document, cosine above `above`), closest first, of equals the lower key.
    /// `document` says which document a claim is, and whether it may be found at all. None is at `above` or below.
    ///
    /// # Errors
    /// [`VectorsError`].
    pub(super) fn search(
        &self,
        query: &[f32],
        above: f32,
        k: usize,
        document: &dyn Fn(&ClaimKey) -> Option<u32>,
        key: &dyn Fn(u32) -> ClaimKey,
    ) -> Result<Vec<(u32, f32)>, VectorsError> {
        self.check(query.len())?;
        let closest = self.closeness(query, above).map_err(failed("read", &self.path))?;
        let floor = AtomicU32::new(0);
        let mut top = Top::new(k, key, &floor);
        for (close, claim) in closest.into_iter().zip(&self.keys) {
            if close >= top.threshold()
                && let Some(doc) = document(claim)
            {
                top.offer(close, doc);
            }
        }
        Ok(top.into_sorted().into_iter().map(|(close, doc)| (doc, close as f32 / SCALE)).collect())
    }

    /// By record: how far its cosine is above that, in units of 1 / [`SCALE`]; 0 where it is not.
    fn closeness(&self, query: &[f32], above: f32) -> io::Result<Vec<u32>> {
        let (query, length) = widened(query);
        let size = self.record_bytes();
        let mut all = vec![0_u32; self.keys.len()];
        if length == 0.0 {
            return Ok(all);
        }
        all.par_chunks_mut(PART_RECORDS).enumerate().try_for_each_init(Vec::new, |part, (number, out)| {
            self.read_part(part, number * PART_RECORDS, out.len())?;
            ARCH.dispatch(|| {
                for (record, out) in part.chunks_exact(size).zip(out) {
                    let cells = record.get(KEY_BYTES..size - CHECKSUM_BYTES).and_then(<[u8]>::split_first_chunk);
                    let Some((own, cells)) = cells else { continue };
                    let lengths = f32::from_le_bytes(*own) * length;
                    let cosine = if lengths > 0.0 { dot(&query, cells) as f32 / lengths } else { 0.0 };
                    *out = ((cosine - above) * SCALE) as u32;
                }
            });
            io::Result::Ok(())
        })?;
        Ok(all)
    }
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VectorsError {
    let path = path.to_owned();
    move |source| VectorsError::Io { attempt, path, source }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = *blake3::hash(bytes).as_bytes();
    [a, b, c, d]
}

fn is_whole(record: &[u8]) -> bool {
    record.split_last_chunk::<CHECKSUM_BYTES>().is_some_and(|(bytes, sum)| checksum(bytes) == *sum)
}

fn put_record(bytes: &mut Vec<u8>, key: &ClaimKey, vector: &[f32]) {
    let start = bytes.len();
    let largest = vector.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    let cells: Vec<i8> = vector.iter().map(|number| (number * scale).round() as i8).collect();
    let square: i64 = cells.iter().map(|cell| i64::from(*cell) * i64::from(*cell)).sum();
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&(square as f32).sqrt().to_le_bytes());
    bytes.extend(cells.iter().map(|cell| cell.cast_unsigned()));
    let sum = checksum(bytes.get(start..).unwrap_or_default());
    bytes.extend_from_slice(&sum);
}

/// A query in cells of twelve bits, and their length.
fn widened(query: &[f32]) -> (Vec<i16>, f32) {
    let largest = query.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
    let scale = if largest > 0.0 { QUERY_CELL / largest } else { 0.0 };
    let cells: Vec<i16> = query.iter().map(|number| (number * scale).round() as i16).collect();
    let square: i64 = cells.iter().map(|cell| i64::from(*cell) * i64::from(*cell)).sum();
    (cells, (square as f32).sqrt())
}

/// Sixteen at a time, since only so the compiler makes good use of wide registers.
#[inline(always)]
fn dot(query: &[i16], cells: &[u8]) -> i32 {
    let product = |(a, b): (&i16, &u8)| i32::from(*a) * i32::from(i16::from(b.cast_signed()));
    let sixteen = |(a, b): (&[i16; 16], &[u8; 16])| -> i32 { a.iter().zip(b).map(product).sum() };
    let ((query, query_rest), (cells, cells_rest)) = (query.as_chunks(), cells.as_chunks());
    query.iter().zip(cells).map(sixteen).sum::<i32>() + query_rest.iter().zip(cells_rest).map(product).sum::<i32>()
}

#[cfg(test)]
mod tests;
