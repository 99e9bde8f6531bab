//! One group's index: its segments, and how far the group's log is read.
//!
//! The log is read from its front up to `next` but for gaps, which are filled in the background, the newest part first; from `next` on
//! whoever asks reads what is new before the answer. Hence **a query finds every claim that came since the index was opened, and
//! whatever is rebuilt meanwhile**.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;
use serde_bytes::ByteBuf;

use super::AskError;
use super::folder::{Folder, Manifest, Mark, Place, named};
use super::shelf::{self, Shelf};
use crate::chain::rows;
use crate::chain::transaction::Claim;
use crate::chain::{ClaimBody, ClaimId, LineKey, Transaction};
use crate::knowledge::index::Index;
use crate::knowledge::segment::{Builder, Segment};
use crate::knowledge::{ClaimKey, Document, Stamp};
use crate::kv::{Direction, KvError, Read};
use crate::ledger::state;
use crate::limits;

/// Documents that one thread makes a segment of, where many come at once.
const PART_DOCUMENTS: usize = 256;

/// A claim whose words are there.
pub(super) struct Ready {
    pub(super) key: ClaimKey,
    pub(super) document: Document,
    pub(super) stamp: Stamp,
    pub(super) position: u64,
}

/// What blocks have: claims, and places of those whose words have not come.
#[derive(Default)]
pub(super) struct Claims {
    pub(super) ready: Vec<Ready>,
    pub(super) wordless: Vec<Place>,
    pub(super) text_bytes: usize,
}

impl Claims {
    /// Reads a block; of its claims only the one at `only`, where that is given.
    pub(super) fn read(
        &mut self,
        kv: &dyn Read,
        number: u64,
        line: &LineKey,
        only: Option<u32>,
    ) -> Result<(), KvError> {
        let (id, body) = rows::body_and_id(kv, line)?;
        let stamp = Stamp { author: body.author, created_ms: body.time_ms };
        for (index, transaction) in (0..).zip(body.transactions()) {
            let Transaction::Claim(Claim { rewarded, .. }) = transaction else { continue };
            if only.is_some_and(|only| only != index) {
                continue;
            }
            match rows::object(kv, line, index)?.map(|bytes| ClaimBody::of_claim(&bytes, rewarded.as_ref())) {
                Some(Some(ClaimBody { title, text, tags, .. })) => {
                    self.text_bytes += text.len();
                    let key = *ClaimId::derive(id, index).as_bytes();
                    self.ready.push(Ready { key, document: Document { title, text, tags }, stamp, position: number });
                }
                // An object that is no claim body, or not the text to be rewarded, is its author's mistake, and has no words.
                Some(None) => {}
                None => self.wordless.push(Place { number, index }),
            }
        }
        Ok(())
    }

    /// Reads the log from `start` on, up to `end` and to some megabytes of text. Answers how far.
    pub(super) fn read_log(&mut self, kv: &dyn Read, start: u64, end: u64) -> Result<u64, KvError> {
        let mut next = start;
        while next < end && self.text_bytes < limits::INDEX_READ_BYTES {
            let mut lines: Vec<LineKey> = Vec::new();
            let page = (end - next).min(limits::PAGE_ROWS as u64) as usize;
            rows::log(kv, next, Direction::Up, &mut |_, line| {
                lines.push(line);
                if lines.len() < page { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if lines.is_empty() {
                break;
            }
            for line in &lines {
                self.read(kv, next, line, None)?;
                next += 1;
                if self.text_bytes >= limits::INDEX_READ_BYTES {
                    break;
                }
            }
        }
        Ok(next)
    }

    /// Makes segments of what is ready.
    pub(super) fn build(&self) -> Vec<Segment> {
        let build = |ready: &[Ready]| {
            let mut builder = Builder::default();
            ready.iter().for_each(|one| builder.add(one.key, &one.document, &one.stamp, one.position));
            builder.finish()
        };
        match self.ready.as_slice() {
            [] => Vec::new(),
            few if few.len() <= PART_DOCUMENTS => vec![build(few)],
            many => many.par_chunks(PART_DOCUMENTS).map(build).collect(),
        }
    }
}

/// Where the block with a number in the log lies.
pub(super) fn line_at(kv: &dyn Read, number: u64) -> Result<Option<LineKey>, KvError> {
    let mut found = None;
    rows::log(kv, number, Direction::Up, &mut |at, line| {
        found = (at == number).then_some(line);
        ControlFlow::Break(())
    })?;
    Ok(found)
}

/// What an index needs to know of a view of the group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// Blocks in the log.
    pub(super) blocks: u64,
    late_objects: u64,
    /// What must change before a claim that does not stand can stand again, see [`Gone`].
    stands_as_of: (u64, u64),
}

impl Seen {
    pub(super) fn of(kv: &dyn Read) -> Result<Self, KvError> {
        let (counters, arrivals) = (rows::counters(kv)?, rows::arrivals(kv)?);
        let stands_as_of = (arrivals.revised, state::stepped_back(kv)?);
        Ok(Self { blocks: counters.blocks, late_objects: arrivals.late_objects, stands_as_of })
    }
}

/// Claims that were found and do not stand, each with the time from which on it does not: 0 where the state says so, else its end.
pub(super) type Keys = HashMap<ClaimKey, u64>;

/// What is known of claims that do not stand, as of some state.
///
/// None of them can stand again while no block that had counted does no more, or the reverse ([`rows::Arrivals::revised`]), and no claim
/// that supersedes another is retracted ([`state::stepped_back`]): only these undo what made it go. What else is written makes more
/// of them go, and so costs nothing here.
#[derive(Debug, Default, Clone)]
struct Gone {
    as_of: (u64, u64),
    keys: Arc<Keys>,
}

/// What was found of that in one view.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    pub(super) keys: Keys,
    /// Those of them of which the view does not have the row or the words: a newer one may.
    pub(super) unknown: HashSet<ClaimKey>,
}

/// What there is to do in the background.
pub(super) enum Job {
    /// On the segments. A flush says what was read when it began.
    Shelf(shelf::Job, Option<Progress>),
    /// Reads these numbers of the log.
    Fill(Range<u64>),
    /// Writes the manifest.
    Note,
}

/// How far the log is read, without the gaps.
#[derive(Debug, Default, Clone)]
pub(super) struct Progress {
    next: u64,
    wordless: BTreeSet<Place>,
}

/// The index of one group.
#[derive(Debug)]
pub(super) struct GroupIndex {
    /// Where its folder should be; none for an index in memory.
    path: Option<PathBuf>,
    /// None where it cannot be made: then all is in memory.
    folder: Option<Folder>,
    /// Whether a manifest could not be written.
    is_unnoted: bool,
    shelf: Shelf,
    read: Progress,
    /// What of that the files have.
    durable: Progress,
    /// Ascending, apart from each other.
    gaps: Vec<Range<u64>>,
    gone: Gone,
    /// [`Seen::late_objects`] when wordless claims were last looked at.
    late_objects: Option<u64>,
    /// Why files cannot be written, and when to try again.
    trouble: Option<(String, Instant)>,
    /// Why nothing more is read.
    full: Option<String>,
    is_closed: bool,
}

impl GroupIndex {
    /// Opens the index of a group in a folder, or in memory.
    pub(super) fn open(path: Option<&Path>, kv: &dyn Read) -> Result<Self, KvError> {
        let mut index = Self {
            path: path.map(Path::to_owned),
            folder: None,
            is_unnoted: false,
            shelf: Shelf::default(),
            read: Progress::default(),
            durable: Progress::default(),
            gaps: Vec::new(),
            gone: Gone::default(),
            late_objects: None,
            trouble: None,
            full: None,
            is_closed: false,
        };
        match path.map(Folder::create) {
            Some(Ok(folder)) => {
                index.load(&folder, kv)?;
                index.folder = Some(folder);
            }
            Some(Err(error)) => index.suffer(&error),
            None => {}
        }
        // What was stored since is read by the first who asks, unless that would take long.
        let head = rows::counters(kv)?.blocks;
        if head.saturating_sub(index.read.next) > limits::INDEX_REPLAY_BLOCKS {
            let start = head - limits::INDEX_REPLAY_BLOCKS / 2;
            index.gap(index.read.next..start);
            (index.read.next, index.durable.next) = (start, start);
        }
        Ok(index)
    }

    /// Takes in what the folder has of this log.
    fn load(&mut self, folder: &Folder, kv: &dyn Read) -> Result<(), KvError> {
        let Some((manifest, segments, lost)) = folder.read() else { return Ok(()) };
        for mark in &manifest.marks {
            if line_at(kv, mark.number)?.is_none_or(|line| line.as_bytes() != mark.line.as_slice()) {
                tracing::warn!("an index is of another log than the database has: it is built anew");
                return Ok(());
            }
        }
        self.shelf = Shelf::new(segments);
        self.read = Progress { next: manifest.next, wordless: manifest.wordless.iter().copied().collect() };
        self.durable = self.read.clone();
        self.gaps = manifest.gaps.iter().map(|(start, end)| *start..*end).collect();
        lost.into_iter().for_each(|lost| self.gap(lost));
        if let Err(error) = folder.sweep(&manifest) {
            tracing::warn!(%error, "files that no index needs are left behind");
        }
        Ok(())
    }

    /// Notes numbers of the log that are to be read anew.
    fn gap(&mut self, range: Range<u64>) {
        let mut all: Vec<Range<u64>> = std::mem::take(&mut self.gaps);
        all.push(range.clone());
        all.sort_by_key(|range| range.start);
        for next in all.into_iter().filter(|range| range.start < range.end) {
            match self.gaps.last_mut() {
                Some(last) if next.start <= last.end => last.end = last.end.max(next.end),
                _ => self.gaps.push(next),
            }
        }
        for progress in [&mut self.read, &mut self.durable] {
            progress.wordless.retain(|place| !range.contains(&place.number));
        }
    }

    /// Reads a part of what was stored since; whether there may be more.
    pub(super) fn follow(&mut self, kv: &dyn Read, seen: &Seen) -> Result<bool, AskError> {
        let mut claims = Claims::default();
        let mut waited = BTreeSet::new();
        if self.late_objects != Some(seen.late_objects) {
            waited = std::mem::take(&mut self.read.wordless);
            for Place { number, index } in &waited {
                if let Some(line) = line_at(kv, *number)? {
                    claims.read(kv, *number, &line, Some(*index))?;
                }
            }
        }
        let next = claims.read_log(kv, self.read.next, seen.blocks)?;
        let index = self.shelf.snapshot();
        if let Err(full) = index.check_room(claims.ready.len()) {
            self.read.wordless.append(&mut waited);
            self.full = Some(full.to_string());
            return Err(full.into());
        }
        self.full = None;
        claims.ready.retain(|one| index.find(&one.key).is_none());
        for segment in claims.build() {
            self.shelf.add(segment);
        }
        self.late_objects = Some(seen.late_objects);
        self.read.wordless.extend(claims.wordless);
        self.read.next = next.max(self.read.next);
        Ok(self.read.next < seen.blocks)
    }

    /// How many blocks are still to be read by whoever asks next.
    pub(super) const fn behind(&self, seen: &Seen) -> u64 {
        seen.blocks.saturating_sub(self.read.next)
    }

    /// What is searched.
    pub(super) fn snapshot(&self) -> Index {
        self.shelf.snapshot()
    }

    /// How much of the log is read, in percent; none where all is.
    pub(super) fn percent(&self) -> Option<u8> {
        let missing: u64 = self.gaps.iter().map(|gap| gap.end - gap.start).sum();
        let read = self.read.next.saturating_sub(missing) * 100 / self.read.next.max(1);
        (missing > 0).then_some(u8::try_from(read).unwrap_or(100).min(99))
    }

    /// What is wrong with its files.
    pub(super) fn trouble(&self) -> Option<String> {
        let removed = || self.is_removed().then(|| "its files were removed, and are being written again".to_owned());
        let unwritten = self
            .trouble
            .as_ref()
            .map(|(trouble, _)| format!("its files cannot be written, and it goes on in memory: {trouble}"));
        self.full.clone().or(unwritten).or_else(removed)
    }

    /// Whether something is to be tried again after a while.
    pub(super) const fn has_failed(&self) -> bool {
        self.trouble.is_some()
    }

    /// Has files be tried again at once.
    #[cfg(test)]
    pub(super) fn rest_is_over(&mut self) {
        self.trouble.iter_mut().for_each(|(_, until)| *until = Instant::now());
    }

    /// The claims that are known not to stand in such a view.
    pub(super) fn gone(&self, seen: &Seen) -> Arc<Keys> {
        if self.gone.as_of == seen.stands_as_of { Arc::clone(&self.gone.keys) } else { Arc::default() }
    }

    /// Notes claims that do not stand in such a view.
    pub(super) fn note_gone(&mut self, seen: &Seen, mut fallen: Fallen) {
        // In an older state than the index has read, what is merely new there is missing too.
        let is_newest = seen.blocks == self.read.next && self.late_objects.is_none_or(|late| late == seen.late_objects);
        if !is_newest {
            fallen.keys.retain(|key, _| !fallen.unknown.contains(key));
        }
        if self.gone.as_of != seen.stands_as_of {
            if !is_newest {
                return;
            }
            self.gone = Gone { as_of: seen.stands_as_of, keys: Arc::default() };
        }
        let room = limits::CONTEXT_DEPTH.saturating_sub(self.gone.keys.len());
        Arc::make_mut(&mut self.gone.keys).extend(fallen.keys.into_iter().take(room));
    }

    // ---- the background ---------------------------------------------------------------------------------------

    /// The next thing to do.
    pub(super) fn job(&mut self) -> Option<Job> {
        let rests = self.trouble.as_ref().is_some_and(|(_, until)| Instant::now() < *until);
        if self.is_closed || rests {
            return None;
        }
        let folder = match self.make_folder() {
            Ok(folder) => folder?,
            Err(error) => {
                self.suffer(&error);
                return None;
            }
        };
        if self.shelf.is_full() || self.read.next - self.durable.next.min(self.read.next) >= limits::INDEX_FLUSH_BLOCKS
        {
            return self.shelf.flush().map(|job| Job::Shelf(job, Some(self.read.clone())));
        }
        match self.shelf.job(|segment| folder.has(segment)) {
            Some(job @ shelf::Job::Check(_)) => Some(Job::Shelf(job, None)),
            _ if self.is_unnoted || (self.shelf.files().next().is_some() && !folder.has_manifest()) => Some(Job::Note),
            job => {
                let fill = self.gaps.last().map(|gap| {
                    let start = gap.end.saturating_sub(limits::INDEX_FILL_BLOCKS).max(gap.start);
                    Job::Fill(start..gap.end)
                });
                let job = fill.or_else(|| job.map(|job| Job::Shelf(job, None)));
                if job.is_none() {
                    self.trouble = None;
                }
                job
            }
        }
    }

    /// The folder, which is made where somebody has removed it; none for an index in memory.
    fn make_folder(&mut self) -> io::Result<Option<Folder>> {
        match (&self.folder, &self.path) {
            (Some(folder), _) if !folder.is_there() => {
                tracing::warn!("the folder of an index was removed while the daemon ran: it is made again");
                folder.make()?;
            }
            (None, Some(path)) => self.folder = Some(Folder::create(path)?),
            _ => {}
        }
        Ok(self.folder.clone())
    }

    /// Whether what was written is not there any more.
    fn is_removed(&self) -> bool {
        let is_whole = |folder: &Folder| {
            let mut files = self.shelf.files().peekable();
            let is_noted = files.peek().is_none() || folder.has_manifest();
            folder.is_there() && is_noted && files.all(|segment| folder.has(segment))
        };
        self.folder.as_ref().is_some_and(|folder| !is_whole(folder))
    }

    /// The folder, and the segments that may have claims of a part of the log.
    pub(super) fn to_fill(&self, range: &Range<u64>) -> (Option<Folder>, Index) {
        let overlaps = |segment: &&Segment| {
            let positions = segment.positions();
            positions.start < range.end && range.start < positions.end
        };
        (self.folder.clone(), Index::of(self.shelf.snapshot().segments().iter().filter(overlaps).cloned()))
    }

    /// The folder.
    pub(super) fn folder(&self) -> Option<Folder> {
        self.folder.clone()
    }

    /// Takes in a comparison; whether the manifest is another now.
    pub(super) fn checked(&mut self, segment: &Segment, is_whole: bool) -> bool {
        self.shelf.checked(segment, is_whole);
        if !is_whole {
            tracing::warn!(hash = %segment.hash(), "a segment of an index is damaged: its claims are read anew");
            self.gap(segment.positions());
        }
        !is_whole
    }

    /// Takes in a written file.
    pub(super) fn wrote(&mut self, of: &[Segment], file: Option<Segment>, read: Option<Progress>) {
        self.shelf.done(of, file);
        if let Some(read) = read {
            self.durable = read;
        }
    }

    /// Takes in what came of writing the manifest.
    pub(super) fn noted(&mut self, written: &io::Result<()>) {
        self.is_unnoted = written.is_err();
        match written {
            Ok(()) => self.trouble = None,
            Err(error) => self.suffer(error),
        }
    }

    /// Takes in a part of the log that was read in the background.
    pub(super) fn filled(&mut self, done: &[Range<u64>], wordless: Vec<Place>, file: Option<Segment>) {
        file.into_iter().for_each(|file| self.shelf.add_file(file));
        for done in done {
            let gaps = std::mem::take(&mut self.gaps).into_iter();
            let rest = gaps.flat_map(|gap| [gap.start..gap.end.min(done.start), gap.start.max(done.end)..gap.end]);
            self.gaps = rest.filter(|gap| gap.start < gap.end).collect();
        }
        self.read.wordless.extend(wordless.iter().copied());
        self.durable.wordless.extend(wordless);
        // They are looked at when next somebody asks: their words may have come by now.
        self.late_objects = None;
    }

    /// What the manifest must say.
    pub(super) fn manifest(&self, kv: &dyn Read) -> Result<Manifest, KvError> {
        let mut manifest = Manifest::new();
        manifest.segments = self.shelf.files().map(named).collect();
        manifest.next = self.durable.next;
        manifest.gaps = self.gaps.iter().map(|gap| (gap.start, gap.end)).collect();
        manifest.wordless = self.durable.wordless.iter().copied().collect();
        // The last numbers, and ever fewer of those before.
        let mut back = 1;
        while let Some(number) = self.durable.next.checked_sub(back) {
            if let Some(line) = line_at(kv, number)? {
                manifest.marks.push(Mark { number, line: ByteBuf::from(*line.as_bytes()) });
            }
            back *= 2;
        }
        Ok(manifest)
    }

    /// Notes that files cannot be written: what is in memory stays there, and is tried again after a while.
    pub(super) fn suffer(&mut self, error: &io::Error) {
        if self.trouble.is_none() {
            tracing::warn!(%error, "the files of an index cannot be written: it goes on in memory");
        }
        self.shelf.give_back();
        self.trouble = Some((error.to_string(), Instant::now() + Duration::from_millis(limits::INDEX_RETRY_MS)));
    }

    /// Nothing is written any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether the group was left.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }
}
