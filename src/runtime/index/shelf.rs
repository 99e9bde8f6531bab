//! The segments of one index: those in files, and the newest, in memory.
//!
//! New documents come into memory; when there are enough, all of those become one file, and files become larger ones. That is done in
//! steps: [`Shelf::job`] says what is to be done, whoever does it needs no lock meanwhile, and [`Shelf::done`] takes in the result. A
//! search runs on a [`Shelf::snapshot`], which no later step changes.

use crate::knowledge::index::Index;
use crate::knowledge::levels;
use crate::knowledge::segment::Segment;
use crate::limits::{INDEX_FLUSH_BYTES, INDEX_FLUSH_DOCUMENTS};

/// A segment in a file.
#[derive(Debug)]
struct File {
    segment: Segment,
    /// Whether its content was compared with its hash since it was opened. One that was not takes part in no merge, which would give
    /// damaged content a hash that is right.
    is_checked: bool,
}

/// What there is to do.
#[derive(Debug)]
pub enum Job {
    /// Compare a segment's content with its hash.
    Check(Segment),
    /// Make one file of these, which were in memory.
    Flush(Vec<Segment>),
    /// Make one file of these files.
    Merge(Vec<Segment>),
}

/// The segments.
#[derive(Debug, Default)]
pub struct Shelf {
    files: Vec<File>,
    /// In memory, and being written.
    leaving: Vec<Segment>,
    /// In memory.
    recent: Index,
}

impl Shelf {
    /// With these files, which were just opened.
    #[must_use]
    pub fn new(files: Vec<Segment>) -> Self {
        let files = files.into_iter().map(|segment| File { segment, is_checked: false }).collect();
        Self { files, ..Self::default() }
    }

    /// All of them: what is searched.
    #[must_use]
    pub fn snapshot(&self) -> Index {
        let files = self.files.iter().map(|file| &file.segment);
        Index::of(files.chain(&self.leaving).chain(self.recent.segments()).cloned())
    }

    /// The files, in no sequence.
    pub fn files(&self) -> impl Iterator<Item = &Segment> {
        self.files.iter().map(|file| &file.segment)
    }

    /// Adds a new segment, in memory.
    pub fn add(&mut self, segment: Segment) {
        self.recent.push(segment);
        self.recent.tidy();
    }

    /// Adds a file that was just written.
    pub fn add_file(&mut self, segment: Segment) {
        self.files.push(File { segment, is_checked: true });
    }

    /// Bytes in memory.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.recent.bytes() + self.leaving.iter().map(|segment| segment.bytes().len()).sum::<usize>()
    }

    /// Whether what is in memory should become a file.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.recent.len() >= INDEX_FLUSH_DOCUMENTS || self.recent.bytes() >= INDEX_FLUSH_BYTES
    }

    /// Takes all that is in memory to be written; nothing while that is being done.
    pub fn flush(&mut self) -> Option<Job> {
        if !self.leaving.is_empty() {
            return None;
        }
        self.leaving = std::mem::take(&mut self.recent).segments().to_vec();
        Some(Job::Flush(self.leaving.clone()))
    }

    /// The next thing to do besides that. A file that is not there any more, and so lasts as long as its map, is written anew.
    #[must_use]
    pub fn job(&self, is_there: impl Fn(&Segment) -> bool) -> Option<Job> {
        if let Some(file) = self.files.iter().find(|file| !file.is_checked) {
            return Some(Job::Check(file.segment.clone()));
        }
        if let Some(file) = self.files.iter().find(|file| !is_there(&file.segment)) {
            return Some(Job::Merge(vec![file.segment.clone()]));
        }
        let size = |file: &File| (file.segment.len(), file.segment.bytes().len());
        let places = levels::due(&self.files.iter().map(size).collect::<Vec<_>>())?;
        let files = places.iter().filter_map(|at| self.files.get(*at));
        Some(Job::Merge(files.map(|file| file.segment.clone()).collect()))
    }

    /// What came of comparing: a segment that is not whole is dropped.
    pub fn checked(&mut self, segment: &Segment, is_whole: bool) {
        if is_whole {
            self.files.iter_mut().filter(|file| file.segment.is(segment)).for_each(|file| file.is_checked = true);
        } else {
            self.files.retain(|file| !file.segment.is(segment));
        }
    }

    /// A flush or a merge is done: the file takes the place of what it was made of.
    pub fn done(&mut self, of: &[Segment], file: Option<Segment>) {
        self.leaving.retain(|segment| !of.iter().any(|other| other.is(segment)));
        self.files.retain(|file| !of.iter().any(|other| other.is(&file.segment)));
        file.into_iter().for_each(|segment| self.add_file(segment));
    }

    /// A flush failed: all is in memory again.
    pub fn give_back(&mut self) {
        let newer = std::mem::take(&mut self.recent);
        let all = std::mem::take(&mut self.leaving).into_iter().chain(newer.segments().iter().cloned());
        self.recent = Index::of(all);
    }
}
