//! From documents to a segment: their texts are analysed here, once and for all.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::bytes::{RowsDraft, put, put_posting};
use super::write::{Trailer, Writer};
use super::{Section, Segment, Sums};
use crate::identity::Identity;
use crate::knowledge::dictionary::Dictionary;
use crate::knowledge::grams::{Cutter, Gram, parts};
use crate::knowledge::latent::Sum;
use crate::knowledge::text::{Analyser, Kind, Side, Token};
use crate::knowledge::{ClaimKey, Document, Stamp};

/// How often a word of each field counts.
const TEXT_WEIGHT: u32 = 1;
const TITLE_WEIGHT: u32 = 3;
const TAG_WEIGHT: u32 = 1;

/// Collects documents. Terms, words and tags are numbered as they come, and by their sequence when the segment is made.
#[derive(Debug, Default)]
pub struct Builder {
    analyser: Analyser,
    terms: Dictionary,
    words: Dictionary,
    tags: Dictionary,
    authors: BTreeMap<Identity, u32>,
    /// (term, weight) of each document, one document behind the other.
    entries: Vec<(u32, u32)>,
    entry_ends: Vec<usize>,
    /// Sequences, each number as a `u32` of its own.
    steps: Vec<u32>,
    step_ends: Vec<usize>,
    /// The distinct grams of each document, one document behind the other.
    grams: Vec<Gram>,
    vectors: Vec<u8>,
    vector_lengths: Vec<u8>,
    word_lengths: Vec<u8>,
    gram_lengths: Vec<u8>,
    keys: Vec<ClaimKey>,
    created: Vec<u8>,
    author_of: Vec<u32>,
    tags_of: Vec<Vec<u32>>,
    sums: Sums,
    positions: Option<(u64, u64)>,
    text_bytes: usize,
}

impl Builder {
    /// Adds a document; one key comes once. `position` says where it came from, see [`Segment::positions`].
    pub fn add(&mut self, key: ClaimKey, document: &Document, stamp: &Stamp, position: u64) {
        let (first_entry, first_step) = (self.entries.len(), self.steps.len());
        let (mut sum, mut length) = (Sum::default(), 0_u32);
        self.field(document.title.as_deref().unwrap_or_default(), TITLE_WEIGHT, &mut sum, &mut length);
        self.field(&document.text, TEXT_WEIGHT, &mut sum, &mut length);
        document.tags.iter().for_each(|tag| self.field(tag, TAG_WEIGHT, &mut sum, &mut length));

        self.combine(first_entry);
        self.entry_ends.push(self.entries.len());
        self.step_ends.push(self.steps.len());
        let gram_length = self.cut(first_step);

        let vector = sum.vector();
        self.vectors.extend(vector.row().map(i8::cast_unsigned));
        self.vector_lengths.extend_from_slice(&vector.length().to_le_bytes());
        for (lengths, sum, length) in [
            (&mut self.word_lengths, &mut self.sums.words, length),
            (&mut self.gram_lengths, &mut self.sums.grams, gram_length),
        ] {
            // Past 65,535 all are held to be equally long.
            let length = u16::try_from(length).unwrap_or(u16::MAX);
            lengths.extend_from_slice(&length.to_le_bytes());
            *sum += u64::from(length);
        }
        self.sums.documents += 1;

        self.keys.push(key);
        self.created.extend_from_slice(&stamp.created_ms.to_le_bytes());
        let next = self.authors.len() as u32;
        self.author_of.push(*self.authors.entry(stamp.author).or_insert(next));
        self.tags_of.push(document.tags.iter().map(|tag| self.tags.intern(tag)).collect());
        let (first, end) = self.positions.unwrap_or((position, position));
        self.positions = Some((first.min(position), end.max(position + 1)));
    }

    fn field(&mut self, text: &str, weight: u32, sum: &mut Sum, length: &mut u32) {
        if text.is_empty() {
            return;
        }
        let Self { analyser, terms, words, entries, steps, text_bytes, .. } = self;
        *text_bytes += text.len();
        steps.extend([0, weight]);
        analyser.terms(text, Side::Document, &mut |Token { term, folded, kind, .. }| {
            entries.push((terms.intern(term), weight));
            if kind == Kind::Word {
                *length += weight;
                if !folded.is_empty() {
                    steps.push(words.intern(folded) + 1);
                }
            }
        });
        sum.add(text);
    }

    /// Makes one entry of those of each term of the last document.
    fn combine(&mut self, first: usize) {
        let Some(entries) = self.entries.get_mut(first..) else { return };
        entries.sort_unstable();
        let mut distinct: Vec<(u32, u32)> = Vec::with_capacity(entries.len());
        for (term, weight) in entries.iter() {
            match distinct.last_mut() {
                Some((last, sum)) if last == term => *sum += weight,
                _ => distinct.push((*term, *weight)),
            }
        }
        self.entries.truncate(first);
        self.entries.append(&mut distinct);
    }

    /// Cuts the last document into its grams, and gives how many it has, by the weight of their fields.
    fn cut(&mut self, first: usize) -> u32 {
        let (mut cutter, mut weight, mut length) = (Cutter::default(), 0, 0_u32);
        let mut grams = Vec::new();
        let mut steps = self.steps.get(first..).unwrap_or_default().iter();
        while let Some(step) = steps.next() {
            match step.checked_sub(1) {
                Some(word) => cutter.word(self.words.term(word), &mut |gram| {
                    length = length.saturating_add(weight);
                    grams.push(gram);
                }),
                None => (cutter, weight) = (Cutter::default(), steps.next().copied().unwrap_or_default()),
            }
        }
        grams.sort_unstable();
        grams.dedup();
        self.grams.append(&mut grams);
        length
    }

    /// Documents so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Bytes of the texts so far.
    #[must_use]
    pub const fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The segment, in memory.
    #[must_use]
    pub fn finish(self) -> Segment {
        let mut bytes = Vec::new();
        let written = self.write(&mut bytes);
        Segment::in_memory(bytes, written)
    }

    fn write(self, out: &mut dyn Write) -> io::Result<Trailer> {
        let mut writer = Writer::new(out);
        writer.section(Section::Vectors, &self.vectors)?;
        writer.section(Section::VectorLengths, &self.vector_lengths)?;
        writer.section(Section::WordLengths, &self.word_lengths)?;
        writer.section(Section::GramLengths, &self.gram_lengths)?;
        self.write_terms(&mut writer)?;
        self.write_words(&mut writer)?;
        self.write_documents(&mut writer)?;
        let (first, end) = self.positions.unwrap_or_default();
        writer.finish(self.sums, first..end)
    }

    fn write_terms(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        let sorted = Sorted::new(&self.terms);
        writer.section(Section::TermEnds, &sorted.rows.ends)?;
        writer.section(Section::Terms, &sorted.rows.bytes)?;
        let mut forward = RowsDraft::default();
        let mut triples: Vec<(u32, u32, u32)> = Vec::with_capacity(self.entries.len());
        let mut start = 0;
        for (doc, end) in (0..).zip(&self.entry_ends) {
            let from = triples.len();
            let entries = self.entries.get(start..*end).unwrap_or_default();
            triples.extend(entries.iter().map(|(term, weight)| (sorted.of(*term), doc, *weight)));
            start = *end;
            let own = triples.get_mut(from..).unwrap_or_default();
            own.sort_unstable();
            let mut last = 0;
            for (term, ..) in own {
                put(&mut forward.bytes, u64::from(*term - last));
                last = *term;
            }
            forward.end();
        }
        triples.sort_unstable();
        let (mut documents, mut postings) = (Vec::with_capacity(self.terms.len() * 4), RowsDraft::default());
        for same in triples.chunk_by(|a, b| a.0 == b.0) {
            documents.extend_from_slice(&(same.len() as u32).to_le_bytes());
            let mut next = 0;
            for (_, doc, weight) in same {
                put_posting(&mut postings.bytes, &mut next, *doc, *weight);
            }
            postings.end();
        }
        writer.section(Section::TermDocuments, &documents)?;
        writer.section(Section::PostingEnds, &postings.ends)?;
        writer.section(Section::Postings, &postings.bytes)?;
        writer.section(Section::ForwardEnds, &forward.ends)?;
        writer.section(Section::Forward, &forward.bytes)
    }

    fn write_words(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        let sorted = Sorted::new(&self.words);
        writer.section(Section::WordEnds, &sorted.rows.ends)?;
        writer.section(Section::Words, &sorted.rows.bytes)?;
        let (mut sequences, mut start) = (RowsDraft::default(), 0);
        for end in &self.step_ends {
            let mut steps = self.steps.get(start..*end).unwrap_or_default().iter();
            start = *end;
            while let Some(step) = steps.next() {
                if let Some(word) = step.checked_sub(1) {
                    put(&mut sequences.bytes, u64::from(sorted.of(word)) + 1);
                } else {
                    put(&mut sequences.bytes, 0);
                    put(&mut sequences.bytes, steps.next().copied().unwrap_or_default().into());
                }
            }
            sequences.end();
        }
        writer.section(Section::SequenceEnds, &sequences.ends)?;
        writer.section(Section::Sequences, &sequences.bytes)?;

        let mut of_words: Vec<(Gram, u32)> = Vec::new();
        for number in 0..self.words.len() as u32 {
            let word = sorted.of(number);
            parts(self.words.term(number), &mut |part| of_words.push((part, word)));
        }
        of_words.sort_unstable();
        let mut of_documents = self.grams.clone();
        of_documents.sort_unstable();
        let mut table = GramTable::default();
        let (mut words, mut documents) = (of_words.as_slice(), of_documents.as_slice());
        while let Some(gram) =
            [words.first().map(|(gram, _)| *gram), documents.first().copied()].into_iter().flatten().min()
        {
            let (same, rest) = words.split_at(words.iter().take_while(|(part, _)| *part == gram).count());
            let count = documents.iter().take_while(|other| **other == gram).count();
            (words, documents) = (rest, documents.get(count..).unwrap_or_default());
            let mut next = 0;
            for word in same.chunk_by(|a, b| a == b) {
                let number = word.first().map_or(0, |(_, number)| *number);
                put_posting(&mut table.words.bytes, &mut next, number, word.len() as u32);
            }
            table.end(gram, count as u32);
        }
        table.write(writer)
    }

    fn write_documents(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(Section::Keys, self.keys.as_flattened())?;
        let mut order: Vec<u32> = (0..self.keys.len() as u32).collect();
        order.sort_unstable_by_key(|doc| self.keys.get(*doc as usize));
        writer.section(Section::KeyOrder, &flat(order))?;
        writer.section(Section::Created, &self.created)?;
        // By identity, as the map has them; their numbers are in the sequence of arrival.
        let mut places = vec![0; self.authors.len()];
        for (place, number) in (0..).zip(self.authors.values()) {
            places.get_mut(*number as usize).into_iter().for_each(|slot| *slot = place);
        }
        let author_of = self.author_of.iter().map(|author| places.get(*author as usize).copied().unwrap_or_default());
        writer.section(Section::AuthorOf, &flat(author_of))?;
        let authors: Vec<[u8; 32]> = self.authors.keys().map(|author| *author.as_bytes()).collect();
        writer.section(Section::Authors, authors.as_flattened())?;
        let sorted = Sorted::new(&self.tags);
        let mut rows = RowsDraft::default();
        for tags in &self.tags_of {
            let mut tags: Vec<u32> = tags.iter().map(|tag| sorted.of(*tag)).collect();
            tags.sort_unstable();
            tags.dedup();
            tags.into_iter().for_each(|tag| put(&mut rows.bytes, tag.into()));
            rows.end();
        }
        writer.section(Section::TagsOfEnds, &rows.ends)?;
        writer.section(Section::TagsOf, &rows.bytes)?;
        writer.section(Section::TagEnds, &sorted.rows.ends)?;
        writer.section(Section::Tags, &sorted.rows.bytes)
    }
}

impl Segment {
    /// One that was just written into memory, which takes all that is written.
    pub(super) fn in_memory(mut bytes: Vec<u8>, written: io::Result<Trailer>) -> Self {
        bytes.shrink_to_fit();
        Self::new(Box::new(bytes), &written.unwrap_or_default())
    }
}

/// A dictionary in ascending sequence.
struct Sorted {
    rows: RowsDraft,
    /// By number its place in the sequence.
    places: Vec<u32>,
}

impl Sorted {
    fn new(dictionary: &Dictionary) -> Self {
        let mut order: Vec<u32> = (0..dictionary.len() as u32).collect();
        order.sort_unstable_by_key(|number| dictionary.term(*number));
        let (mut rows, mut places) = (RowsDraft::default(), vec![0; order.len()]);
        for (place, number) in (0..).zip(order) {
            rows.push(dictionary.term(number).as_bytes());
            places.get_mut(number as usize).into_iter().for_each(|slot| *slot = place);
        }
        Self { rows, places }
    }

    fn of(&self, number: u32) -> u32 {
        self.places.get(number as usize).copied().unwrap_or_default()
    }
}

/// The sections of the grams in the making.
#[derive(Default)]
pub(super) struct GramTable {
    grams: Vec<u8>,
    documents: Vec<u8>,
    /// The words of the next gram are appended here.
    pub(super) words: RowsDraft,
}

impl GramTable {
    /// Adds the next gram, which so many documents have.
    pub(super) fn end(&mut self, gram: Gram, documents: u32) {
        self.grams.extend_from_slice(&gram.number().to_le_bytes());
        self.documents.extend_from_slice(&documents.to_le_bytes());
        self.words.end();
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.section(Section::Grams, &self.grams)?;
        writer.section(Section::GramDocuments, &self.documents)?;
        writer.section(Section::GramWordEnds, &self.words.ends)?;
        writer.section(Section::GramWords, &self.words.bytes)
    }
}

/// Numbers as bytes.
pub(super) fn flat(numbers: impl IntoIterator<Item = u32>) -> Vec<u8> {
    numbers.into_iter().flat_map(u32::to_le_bytes).collect()
}
