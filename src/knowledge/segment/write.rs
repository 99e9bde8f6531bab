//! Writing a segment: section after section, then the trailer.

use std::io::{self, Write};
use std::ops::Range;

use super::{ANALYSIS, MAGIC, SECTIONS, Section, SegmentError, Sums};

/// Analysis, sums, positions and lengths of the sections.
const FIELDS_BYTES: usize = 8 * (1 + 3 + 2 + SECTIONS);
/// The trailer: its fields, the hash of all before it, the hash of these two, the magic.
pub(super) const TRAILER_BYTES: usize = FIELDS_BYTES + 32 + 32 + 8;

/// What stands behind the sections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) sums: Sums,
    pub(super) positions: Range<u64>,
    pub(super) lengths: [u64; SECTIONS],
    pub(super) hash: blake3::Hash,
}

impl Default for Trailer {
    fn default() -> Self {
        Self { sums: Sums::default(), positions: 0..0, lengths: [0; SECTIONS], hash: blake3::hash(&[]) }
    }
}

impl Trailer {
    fn to_bytes(&self) -> Vec<u8> {
        let Self { sums, positions, lengths, hash } = self;
        let mut bytes = Vec::with_capacity(TRAILER_BYTES);
        let fields = [u64::from(ANALYSIS), sums.documents, sums.words, sums.grams, positions.start, positions.end];
        fields.iter().chain(lengths).for_each(|field| bytes.extend_from_slice(&field.to_le_bytes()));
        bytes.extend_from_slice(hash.as_bytes());
        let own = blake3::hash(&bytes);
        bytes.extend_from_slice(own.as_bytes());
        bytes.extend_from_slice(&MAGIC);
        bytes
    }

    /// Where each section is, and where they end.
    pub(super) fn sections(&self) -> Option<([Range<usize>; SECTIONS], usize)> {
        let (mut sections, mut end) = (std::array::from_fn(|_| 0..0), 0_usize);
        for (range, length) in sections.iter_mut().zip(self.lengths) {
            let start = end;
            end = start.checked_add(usize::try_from(length).ok()?)?;
            *range = start..end;
        }
        Some((sections, end))
    }

    /// Reads it off the end of a segment.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, SegmentError> {
        let start = bytes.len().checked_sub(TRAILER_BYTES).ok_or(SegmentError::NotOne)?;
        let trailer = bytes.get(start..).unwrap_or_default();
        let (rest, magic) = trailer.split_last_chunk::<8>().ok_or(SegmentError::NotOne)?;
        if magic.split_last().map(|(_, name)| name) != MAGIC.split_last().map(|(_, name)| name) {
            return Err(SegmentError::NotOne);
        }
        if *magic != MAGIC {
            return Err(SegmentError::Version);
        }
        let (hashed, hash) = rest.split_last_chunk::<32>().ok_or(SegmentError::NotOne)?;
        if blake3::hash(hashed) != *hash {
            return Err(SegmentError::Damaged);
        }
        let (fields, hash) = hashed.split_last_chunk::<32>().ok_or(SegmentError::NotOne)?;
        let mut fields = fields.as_chunks::<8>().0.iter().map(|field| u64::from_le_bytes(*field));
        let mut next = || fields.next().ok_or(SegmentError::NotOne);
        if next()? != u64::from(ANALYSIS) {
            return Err(SegmentError::Version);
        }
        let sums = Sums { documents: next()?, words: next()?, grams: next()? };
        let positions = next()?..next()?;
        let mut lengths = [0; SECTIONS];
        for length in &mut lengths {
            *length = next()?;
        }
        Ok(Self { sums, positions, lengths, hash: blake3::Hash::from_bytes(*hash) })
    }
}

/// Writes sections in their sequence.
pub(super) struct Writer<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
    lengths: [u64; SECTIONS],
    /// One more than the section in the making.
    next: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        Self { out, hasher: blake3::Hasher::new(), lengths: [0; SECTIONS], next: 0 }
    }

    /// The next section, in one piece.
    pub(super) fn section(&mut self, section: Section, bytes: &[u8]) -> io::Result<()> {
        self.begin(section);
        self.more(bytes)
    }

    /// The next section, of which the pieces follow.
    pub(super) fn begin(&mut self, section: Section) {
        debug_assert_eq!(self.next, section as usize, "sections are written in their sequence");
        self.next = section as usize + 1;
    }

    /// A piece of it.
    pub(super) fn more(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(length) = self.next.checked_sub(1).and_then(|at| self.lengths.get_mut(at)) {
            *length += bytes.len() as u64;
        }
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    /// The trailer.
    pub(super) fn finish(self, sums: Sums, positions: Range<u64>) -> io::Result<Trailer> {
        let trailer = Trailer { sums, positions, lengths: self.lengths, hash: self.hasher.finalize() };
        self.out.write_all(&trailer.to_bytes())?;
        Ok(trailer)
    }
}
