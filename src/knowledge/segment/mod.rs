//! A segment: some documents with all that a search needs of them, as bytes that are never changed.
//!
//! ```text
//! sections, one behind the other ([`Section`]) │ trailer: documents, sums, lengths of the sections, hash of the sections │ hash │ magic
//! ```
//!
//! The bytes lie in memory or in a mapped file: [`Segment`] only borrows them, and there is one way to read either. [`Builder`] makes them
//! from documents, [`merge`] from other segments without looking at a text again. Documents, terms, words and grams go by number within
//! their segment; the numbers of terms, words and grams follow their ascending sequence, so that a merge keeps lists ascending.
//!
//! Invariant: **statistics are plain sums**, so that of several segments they are those of one with all of their documents. A damaged
//! segment gives wrong hits or none, and never a panic; [`Segment::is_whole`] tells.

mod build;
pub(super) mod bytes;
mod merge;
mod write;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

pub use build::Builder;
pub use merge::merge;
use write::{TRAILER_BYTES, Trailer};

use super::latent::DIMENSIONS;
use super::{ClaimKey, Stamp};
use crate::identity::Identity;
use bytes::{Cursor, Longs, Numbers, Rows, Shorts};

/// The last bytes of a segment; the final one is the version of this layout.
const MAGIC: [u8; 8] = *b"lbm-seg\x01";

/// Version of what a text is taken for: the analysis, the stop words, the latent table. A segment of another one is not read.
/// Whoever changes one of them counts this up.
pub const ANALYSIS: u32 = 2;

/// The parts of a segment. Rows have a section of where they end before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Section {
    /// By document: its vector, [`DIMENSIONS`] bytes. First, so that each row starts where a line of the cache does.
    Vectors,
    /// By document: the length of its vector (f32).
    VectorLengths,
    /// By document: its length in words, and in grams, by the weight of their fields (u16).
    WordLengths,
    GramLengths,
    /// Terms, ascending.
    TermEnds,
    Terms,
    /// By term: how many documents have it (u32).
    TermDocuments,
    /// By term: its documents, each with the term's weight there ([`Cursor`]).
    PostingEnds,
    Postings,
    /// By document: its terms, ascending, as LEB128 gaps.
    ForwardEnds,
    Forward,
    /// Words, folded, ascending.
    WordEnds,
    Words,
    /// By document: its words in their sequence, as LEB128: 0 and the weight of a field where one begins, else one more than a word.
    SequenceEnds,
    Sequences,
    /// Grams, heads and tails, ascending (u64).
    Grams,
    /// By gram: how many documents have it (u32).
    GramDocuments,
    /// By gram: the words that have it, each with how often ([`Cursor`]).
    GramWordEnds,
    GramWords,
    /// By document: its key (32 bytes).
    Keys,
    /// Documents in the sequence of their keys (u32).
    KeyOrder,
    /// By document: its time (u64), and its author (u32).
    Created,
    AuthorOf,
    /// Authors, ascending (32 bytes).
    Authors,
    /// By document: its tags, ascending, as LEB128 numbers.
    TagsOfEnds,
    TagsOf,
    /// Tags, ascending.
    TagEnds,
    Tags,
}

const SECTIONS: usize = Section::Tags as usize + 1;

/// What is summed up over the documents of a segment, or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Documents.
    pub documents: u64,
    /// Of their lengths in words.
    pub words: u64,
    /// Of their lengths in grams.
    pub grams: u64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.words += other.words;
        self.grams += other.grams;
    }
}

/// Why bytes are no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    /// They were cut off, or are something else.
    #[error("this is no segment of an index, or only a part of one")]
    NotOne,
    /// Written by another version.
    #[error("this segment was written by another version of lbm")]
    Version,
    /// Its trailer was changed.
    #[error("the trailer of this segment is damaged")]
    Damaged,
}

/// Where a segment's bytes are: in memory, or in a mapped file.
pub type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A segment. Cheap to clone.
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    sections: [Range<usize>; SECTIONS],
    sums: Sums,
    positions: Range<u64>,
    hash: blake3::Hash,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("documents", &self.0.sums.documents).finish_non_exhaustive()
    }
}

impl Segment {
    /// From bytes that a [`Builder`] or a [`merge`] made. Reads the trailer only.
    ///
    /// # Errors
    /// [`SegmentError`].
    pub fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        let trailer = Trailer::read((*bytes).as_ref())?;
        let length = (*bytes).as_ref().len();
        match trailer.sections() {
            Some((_, end)) if end.checked_add(TRAILER_BYTES) == Some(length) => Ok(Self::new(bytes, &trailer)),
            _ => Err(SegmentError::NotOne),
        }
    }

    /// From bytes that end with this trailer.
    fn new(bytes: Bytes, trailer: &Trailer) -> Self {
        let sections = trailer.sections().map_or_else(|| std::array::from_fn(|_| 0..0), |(sections, _)| sections);
        let Trailer { sums, positions, hash, .. } = trailer;
        Self(Arc::new(Inner { bytes, sections, sums: *sums, positions: positions.clone(), hash: *hash }))
    }

    /// Whether its bytes are those that were written: reads all of them.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let bytes = self.bytes();
        let sections = bytes.get(..bytes.len().saturating_sub(TRAILER_BYTES)).unwrap_or_default();
        blake3::hash(sections) == self.0.hash
    }

    /// The hash that names its content.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        self.0.hash
    }

    /// All of its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        (*self.0.bytes).as_ref()
    }

    /// What it adds to the statistics.
    #[must_use]
    pub fn sums(&self) -> Sums {
        self.0.sums
    }

    /// Documents.
    #[must_use]
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.sums.documents).unwrap_or(u32::MAX)
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where its documents came from, as whoever added them counts: from the least to behind the greatest.
    #[must_use]
    pub fn positions(&self) -> Range<u64> {
        self.0.positions.clone()
    }

    /// Whether this is the same one, and not an equal one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn section(&self, section: Section) -> &[u8] {
        let range = self.0.sections.get(section as usize).cloned().unwrap_or_default();
        self.bytes().get(range).unwrap_or_default()
    }

    /// The vectors, by document.
    pub(super) fn vectors(&self) -> &[[u8; DIMENSIONS]] {
        self.section(Section::Vectors).as_chunks().0
    }

    /// The lengths of the vectors, by document.
    pub(super) fn vector_lengths(&self) -> &[[u8; 4]] {
        self.section(Section::VectorLengths).as_chunks().0
    }

    /// The lengths of the documents in words.
    pub(super) fn word_lengths(&self) -> Shorts<'_> {
        Shorts::new(self.section(Section::WordLengths))
    }

    /// The lengths of the documents in grams.
    pub(super) fn gram_lengths(&self) -> Shorts<'_> {
        Shorts::new(self.section(Section::GramLengths))
    }

    /// The terms.
    pub(super) fn terms(&self) -> Rows<'_> {
        Rows::new(self.section(Section::TermEnds), self.section(Section::Terms))
    }

    /// How many documents have each term.
    pub(super) fn term_documents(&self) -> Numbers<'_> {
        Numbers::new(self.section(Section::TermDocuments))
    }

    fn postings(&self) -> Rows<'_> {
        Rows::new(self.section(Section::PostingEnds), self.section(Section::Postings))
    }

    /// The documents that have a term.
    pub(super) fn documents_of(&self, term: u32) -> Cursor<'_> {
        Cursor::new(self.postings().get(term))
    }

    fn forward(&self) -> Rows<'_> {
        Rows::new(self.section(Section::ForwardEnds), self.section(Section::Forward))
    }

    /// The distinct terms of a document, ascending.
    pub(super) fn terms_of(&self, doc: u32) -> impl Iterator<Item = u32> + '_ {
        let (mut row, mut last) = (self.forward().get(doc), 0_u32);
        std::iter::from_fn(move || {
            last = last.wrapping_add(bytes::take_u32(&mut row)?);
            Some(last)
        })
    }

    /// The words.
    pub(super) fn words(&self) -> Rows<'_> {
        Rows::new(self.section(Section::WordEnds), self.section(Section::Words))
    }

    /// The documents as sequences of words.
    pub(super) fn sequences(&self) -> Rows<'_> {
        Rows::new(self.section(Section::SequenceEnds), self.section(Section::Sequences))
    }

    /// The grams, heads and tails.
    pub(super) fn grams(&self) -> Longs<'_> {
        Longs::new(self.section(Section::Grams))
    }

    /// How many documents have each gram.
    pub(super) fn gram_documents(&self) -> Numbers<'_> {
        Numbers::new(self.section(Section::GramDocuments))
    }

    fn gram_words(&self) -> Rows<'_> {
        Rows::new(self.section(Section::GramWordEnds), self.section(Section::GramWords))
    }

    /// The words that have a gram, a head or a tail.
    pub(super) fn words_of(&self, gram: u32) -> Cursor<'_> {
        Cursor::new(self.gram_words().get(gram))
    }

    fn keys(&self) -> &[ClaimKey] {
        self.section(Section::Keys).as_chunks().0
    }

    /// The key of a document.
    #[must_use]
    pub fn key(&self, doc: u32) -> Option<&ClaimKey> {
        self.keys().get(doc as usize)
    }

    /// The document under a key.
    #[must_use]
    pub fn find(&self, key: &ClaimKey) -> Option<u32> {
        let (order, keys) = (self.section(Section::KeyOrder).as_chunks::<4>().0, self.keys());
        let key_of = |doc: &[u8; 4]| keys.get(u32::from_le_bytes(*doc) as usize);
        let at = order.binary_search_by(|doc| key_of(doc).cmp(&Some(key))).ok()?;
        order.get(at).map(|doc| u32::from_le_bytes(*doc))
    }

    fn authors(&self) -> &[[u8; 32]] {
        self.section(Section::Authors).as_chunks().0
    }

    /// The number of an author, where a document is by it.
    pub(super) fn author(&self, author: &Identity) -> Option<u32> {
        self.authors().binary_search(author.as_bytes()).ok().map(|at| at as u32)
    }

    /// By document the number of its author.
    pub(super) fn author_of(&self) -> Numbers<'_> {
        Numbers::new(self.section(Section::AuthorOf))
    }

    /// By document its time.
    pub(super) fn created(&self) -> Longs<'_> {
        Longs::new(self.section(Section::Created))
    }

    /// The author and the time of a document.
    #[must_use]
    pub fn stamp(&self, doc: u32) -> Option<Stamp> {
        let author = self.authors().get(self.author_of().get(doc)? as usize)?;
        Some(Stamp { author: Identity::from_stored(*author), created_ms: self.created().get(doc)? })
    }

    /// The tags.
    pub(super) fn tags(&self) -> Rows<'_> {
        Rows::new(self.section(Section::TagEnds), self.section(Section::Tags))
    }

    fn tag_rows(&self) -> Rows<'_> {
        Rows::new(self.section(Section::TagsOfEnds), self.section(Section::TagsOf))
    }

    /// The distinct tags of a document, ascending.
    pub(super) fn tags_of(&self, doc: u32) -> impl Iterator<Item = u32> + '_ {
        let mut row = self.tag_rows().get(doc);
        std::iter::from_fn(move || bytes::take_u32(&mut row))
    }
}

#[cfg(test)]
mod tests;
