//! The index: segments side by side, under common document numbers, with common statistics.
//!
//! An index is a list of [`Segment`]s and nothing else. Cloning one is cheap and gives a snapshot: whoever adds documents or replaces
//! segments meanwhile changes another. A document's number counts within one snapshot only; its key lasts.
//!
//! Nothing is ever taken out: whoever asks says which documents may be found ([`Filter`]).
//!
//! Invariant: **a search gives the same answer to the bit, however the documents are cut into segments**.

use super::levels;
use super::search;
use super::segment::{Builder, Segment, Sums};
use super::{ClaimKey, Document, Stamp};
use crate::identity::Identity;
use crate::limits::{INDEX_DOCUMENTS, MERGE_AT_ONCE_DOCUMENTS};

pub use super::search::{Embedded, Evidence, Hit};

/// What [`Index::add`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The document is in the index, and was not before.
    New,
    /// The key was in the index already. Nothing changed.
    Known,
}

/// Why a document cannot be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// One of the index's bounds is reached.
    #[error(
        "indexing a claim: the index is full at {documents} claims; retrieval goes on without this one, so move part of the groups to another node"
    )]
    Full {
        /// Documents it holds.
        documents: u32,
    },
}

/// Which documents a search may find.
#[derive(Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only from this time on.
    pub since_ms: Option<u64>,
    /// Only up to this time.
    pub until_ms: Option<u64>,
    /// Only of this author.
    pub author: Option<Identity>,
    /// Only with all of these tags.
    pub tags: &'a [String],
    /// Only those that this accepts, by number. Asked last, and only of documents that may be among the best.
    pub only: Option<&'a (dyn Fn(u32) -> bool + Sync)>,
}

impl Filter<'_> {
    /// Lets everything pass.
    pub const ALL: Filter<'static> = Filter { since_ms: None, until_ms: None, author: None, tags: &[], only: None };
}

/// The index.
#[derive(Debug, Clone, Default)]
pub struct Index {
    segments: Vec<Segment>,
    /// By segment the number of its first document.
    bases: Vec<u32>,
    sums: Sums,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One of these segments, which have no key in common.
    #[must_use]
    pub fn of(segments: impl IntoIterator<Item = Segment>) -> Self {
        let mut index = Self::new();
        segments.into_iter().for_each(|segment| index.push(segment));
        index
    }

    /// Adds a segment that has no key in common with the others.
    pub fn push(&mut self, segment: Segment) {
        self.bases.push(u32::try_from(self.sums.documents).unwrap_or(u32::MAX));
        self.sums += segment.sums();
        self.segments.push(segment);
    }

    /// Adds a document: the very next search finds it. `position` says where it came from, see [`Segment::positions`].
    ///
    /// # Errors
    /// [`IndexError::Full`] where the bound of the index is reached.
    pub fn add(
        &mut self,
        key: ClaimKey,
        document: &Document,
        stamp: &Stamp,
        position: u64,
    ) -> Result<Added, IndexError> {
        if self.find(&key).is_some() {
            return Ok(Added::Known);
        }
        self.check_room(1)?;
        let mut builder = Builder::default();
        builder.add(key, document, stamp, position);
        self.push(builder.finish());
        self.tidy();
        Ok(Added::New)
    }

    /// Whether so many documents more may be added.
    ///
    /// # Errors
    /// [`IndexError::Full`] where they may not.
    pub fn check_room(&self, more: usize) -> Result<(), IndexError> {
        if self.len() + more > INDEX_DOCUMENTS {
            return Err(IndexError::Full { documents: self.len() as u32 });
        }
        Ok(())
    }

    /// Puts small segments together, as far as that is done in a moment.
    pub fn tidy(&mut self) {
        let size = |segment: &Segment| (segment.len(), segment.bytes().len());
        while let Some(places) = levels::due(&self.segments.iter().map(size).collect::<Vec<_>>()) {
            let together: Vec<Segment> = places.iter().filter_map(|at| self.segments.get(*at).cloned()).collect();
            if together.iter().map(|segment| segment.len() as usize).sum::<usize>() > MERGE_AT_ONCE_DOCUMENTS {
                break;
            }
            let merged = Segment::merged(&together);
            let others = std::mem::take(&mut self.segments).into_iter().enumerate();
            *self = Self::of(others.filter(|(at, _)| !places.contains(at)).map(|(_, segment)| segment));
            self.push(merged);
        }
    }

    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// By segment the number of its first document.
    pub(super) fn bases(&self) -> &[u32] {
        &self.bases
    }

    /// The sums over all documents.
    pub(super) const fn sums(&self) -> Sums {
        self.sums
    }

    /// The place of the segment that has a document, and the document's number there.
    pub(super) fn locate(&self, doc: u32) -> Option<(usize, u32)> {
        let place = self.bases.partition_point(|base| *base <= doc).checked_sub(1)?;
        Some((place, doc - self.bases.get(place)?))
    }

    fn segment_of(&self, doc: u32) -> Option<(&Segment, u32)> {
        let (place, doc) = self.locate(doc)?;
        self.segments.get(place).map(|segment| (segment, doc))
    }

    /// The number of a document that is in the index.
    #[must_use]
    pub fn find(&self, key: &ClaimKey) -> Option<u32> {
        self.segments.iter().zip(&self.bases).find_map(|(segment, base)| Some(base + segment.find(key)?))
    }

    /// The key of a number.
    #[must_use]
    pub fn key(&self, doc: u32) -> Option<&ClaimKey> {
        let (segment, doc) = self.segment_of(doc)?;
        segment.key(doc)
    }

    /// Documents in the index.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.sums.documents as usize
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.sums.documents == 0
    }

    /// The distinct terms of a document as ascending numbers: for comparing two documents, see
    /// [`context::Candidate`](super::context::Candidate). A term has one number in all segments.
    #[must_use]
    pub fn stems(&self, doc: u32) -> Vec<u64> {
        let Some((segment, doc)) = self.segment_of(doc) else { return Vec::new() };
        let terms = segment.terms();
        let mut stems: Vec<u64> = segment.terms_of(doc).map(|term| fnv(terms.get(term))).collect();
        stems.sort_unstable();
        stems
    }

    /// The best `k` documents for a query in plain words, best first, of equals the lower key first. One that has no word of the query
    /// is there only where it is related ([`Hit::relevance`]).
    #[must_use]
    pub fn search(&self, query: &str, k: usize, filter: &Filter<'_>) -> Vec<Hit> {
        search::search(self, query, k, filter, None)
    }

    /// The same with an embedder. A document that has no vector is scored as it is without one.
    #[must_use]
    pub fn search_with(&self, query: &str, k: usize, filter: &Filter<'_>, embedded: Option<Embedded<'_>>) -> Vec<Hit> {
        search::search(self, query, k, filter, embedded)
    }

    /// Whether any document passes a filter.
    #[must_use]
    pub fn has_any(&self, filter: &Filter<'_>) -> bool {
        search::passes_any(self, filter)
    }

    /// Bytes of its segments that `is_in_memory` accepts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| segment.bytes().len()).sum()
    }
}

/// FNV-1a (Fowler, Noll & Vo). Two terms with one number are one where documents are compared, and nowhere else.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests;
