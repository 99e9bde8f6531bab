//! From several segments to one with the documents of all: numbers change, texts are not looked at.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::build::{GramTable, flat};
use super::bytes::{RowsDraft, put, put_posting, take};
use super::write::{Trailer, Writer};
use super::{Section, Segment, Sums};
use crate::knowledge::grams::Gram;

/// Writes one segment with the documents of all of these, those of the first one first. They have no key in common.
///
/// # Errors
/// Those of `out`.
pub fn merge(segments: &[Segment], out: &mut dyn Write) -> io::Result<()> {
    Merge::new(segments).write(out).map(drop)
}

impl Segment {
    /// The same, into memory.
    #[must_use]
    pub fn merged(segments: &[Self]) -> Self {
        let mut bytes = Vec::with_capacity(segments.iter().map(|segment| segment.bytes().len()).sum());
        let written = Merge::new(segments).write(&mut bytes);
        Self::in_memory(bytes, written)
    }
}

struct Merge<'a> {
    parts: &'a [Segment],
    /// By segment: the number of its first document.
    bases: Vec<u32>,
}

impl<'a> Merge<'a> {
    fn new(parts: &'a [Segment]) -> Self {
        let (mut bases, mut next) = (Vec::with_capacity(parts.len()), 0_u32);
        for part in parts {
            bases.push(next);
            next = next.saturating_add(part.len());
        }
        Self { parts, bases }
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<Trailer> {
        let mut writer = Writer::new(out);
        for section in [Section::Vectors, Section::VectorLengths, Section::WordLengths, Section::GramLengths] {
            self.concatenate(section, &mut writer)?;
        }
        self.write_terms(&mut writer)?;
        self.write_words(&mut writer)?;
        self.write_documents(&mut writer)?;
        let mut sums = Sums::default();
        self.parts.iter().for_each(|part| sums += part.sums());
        let positions = self.parts.iter().filter(|part| !part.is_empty()).map(Segment::positions);
        let (start, end) =
            positions.fold((u64::MAX, 0), |(start, end), range| (start.min(range.start), end.max(range.end)));
        writer.finish(sums, start.min(end)..end)
    }

    fn concatenate(&self, section: Section, writer: &mut Writer<'_>) -> io::Result<()> {
        writer.begin(section);
        self.parts.iter().try_for_each(|part| writer.more(part.section(section)))
    }

    fn write_terms(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        let (mut terms, mut documents, mut postings) = (RowsDraft::default(), Vec::new(), RowsDraft::default());
        let heads: Vec<_> = self.parts.iter().map(Segment::terms).collect();
        let numbers = self.combine(
            |part, at| heads.get(part).filter(|rows| at < rows.len()).map(|rows| rows.get(at)),
            |term, who| {
                terms.push(term);
                let (mut next, mut count) = (0, 0_u32);
                for (part, number) in who {
                    let (Some(segment), Some(base)) = (self.parts.get(*part), self.bases.get(*part)) else { continue };
                    for (doc, weight) in segment.documents_of(*number).filter(|(doc, _)| *doc < segment.len()) {
                        put_posting(&mut postings.bytes, &mut next, base + doc, weight);
                        count += 1;
                    }
                }
                documents.extend_from_slice(&count.to_le_bytes());
                postings.end();
            },
        );
        writer.section(Section::TermEnds, &terms.ends)?;
        writer.section(Section::Terms, &terms.bytes)?;
        writer.section(Section::TermDocuments, &documents)?;
        writer.section(Section::PostingEnds, &postings.ends)?;
        writer.section(Section::Postings, &postings.bytes)?;
        drop(postings);
        let mut forward = RowsDraft::default();
        for (part, numbers) in self.parts.iter().zip(&numbers) {
            for doc in 0..part.len() {
                let mut last = 0;
                for term in part.terms_of(doc).filter_map(|term| numbers.get(term as usize).copied()) {
                    put(&mut forward.bytes, u64::from(term.saturating_sub(last)));
                    last = term;
                }
                forward.end();
            }
        }
        writer.section(Section::ForwardEnds, &forward.ends)?;
        writer.section(Section::Forward, &forward.bytes)
    }

    fn write_words(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        let mut words = RowsDraft::default();
        let heads: Vec<_> = self.parts.iter().map(Segment::words).collect();
        let numbers = self.combine(
            |part, at| heads.get(part).filter(|rows| at < rows.len()).map(|rows| rows.get(at)),
            |word, _| words.push(word),
        );
        writer.section(Section::WordEnds, &words.ends)?;
        writer.section(Section::Words, &words.bytes)?;
        let mut sequences = RowsDraft::default();
        for (part, numbers) in self.parts.iter().zip(&numbers) {
            for doc in 0..part.len() {
                let mut steps = part.sequences().get(doc);
                while let Some(step) = take(&mut steps) {
                    if let Some(word) = step.checked_sub(1) {
                        let word = usize::try_from(word).ok().and_then(|word| numbers.get(word)).copied();
                        put(&mut sequences.bytes, word.map_or(0, u64::from) + 1);
                    } else {
                        put(&mut sequences.bytes, 0);
                        put(&mut sequences.bytes, take(&mut steps).unwrap_or_default());
                    }
                }
                sequences.end();
            }
        }
        writer.section(Section::SequenceEnds, &sequences.ends)?;
        writer.section(Section::Sequences, &sequences.bytes)?;
        drop(sequences);
        self.write_grams(&numbers, writer)
    }

    fn write_grams(&self, word_numbers: &[Vec<u32>], writer: &mut Writer<'_>) -> io::Result<()> {
        let heads: Vec<_> = self.parts.iter().map(Segment::grams).collect();
        let (mut table, mut words) = (GramTable::default(), Vec::new());
        self.combine(
            |part, at| heads.get(part)?.get(at),
            |gram, who| {
                let mut documents = 0_u32;
                for (part, number) in who {
                    let (Some(segment), Some(numbers)) = (self.parts.get(*part), word_numbers.get(*part)) else {
                        continue;
                    };
                    documents = documents.saturating_add(segment.gram_documents().get(*number).unwrap_or_default());
                    let list = segment.words_of(*number);
                    words.extend(list.filter_map(|(word, count)| Some((*numbers.get(word as usize)?, count))));
                }
                // A word that several segments have has the gram as often in each.
                words.sort_unstable();
                words.dedup_by_key(|(word, _)| *word);
                let mut next = 0;
                for (word, count) in words.drain(..) {
                    put_posting(&mut table.words.bytes, &mut next, word, count);
                }
                table.end(Gram::from_number(gram), documents);
            },
        );
        table.write(writer)
    }

    fn write_documents(&self, writer: &mut Writer<'_>) -> io::Result<()> {
        self.concatenate(Section::Keys, writer)?;
        let keys: Vec<_> = self.parts.iter().flat_map(|part| part.keys().iter()).collect();
        let mut order: Vec<u32> = (0..keys.len() as u32).collect();
        order.sort_unstable_by_key(|doc| keys.get(*doc as usize));
        writer.section(Section::KeyOrder, &flat(order))?;
        self.concatenate(Section::Created, writer)?;

        let authors: BTreeSet<[u8; 32]> = self.parts.iter().flat_map(|part| part.authors().iter().copied()).collect();
        let authors: Vec<[u8; 32]> = authors.into_iter().collect();
        let place = |part: &Segment, number: u32| {
            part.authors()
                .get(number as usize)
                .and_then(|author| authors.binary_search(author).ok())
                .unwrap_or_default()
        };
        writer.begin(Section::AuthorOf);
        for part in self.parts {
            let places: Vec<u32> = (0..part.authors().len() as u32).map(|number| place(part, number) as u32).collect();
            let of =
                (0..part.len()).map(|doc| part.author_of().get(doc).and_then(|author| places.get(author as usize)));
            writer.more(&flat(of.map(|place| place.copied().unwrap_or_default())))?;
        }
        writer.section(Section::Authors, authors.as_flattened())?;

        let mut tags = RowsDraft::default();
        let heads: Vec<_> = self.parts.iter().map(Segment::tags).collect();
        let numbers = self.combine(
            |part, at| heads.get(part).filter(|rows| at < rows.len()).map(|rows| rows.get(at)),
            |tag, _| tags.push(tag),
        );
        let mut rows = RowsDraft::default();
        for (part, numbers) in self.parts.iter().zip(&numbers) {
            for doc in 0..part.len() {
                for tag in part.tags_of(doc).filter_map(|tag| numbers.get(tag as usize)) {
                    put(&mut rows.bytes, u64::from(*tag));
                }
                rows.end();
            }
        }
        writer.section(Section::TagsOfEnds, &rows.ends)?;
        writer.section(Section::TagsOf, &rows.bytes)?;
        writer.section(Section::TagEnds, &tags.ends)?;
        writer.section(Section::Tags, &tags.bytes)
    }

    /// Walks the ascending lists of all segments as one: hands each distinct entry with where it is, as (segment, number there), to
    /// `sink`, and gives by segment and number there the number in the common list.
    fn combine<T: Ord + Copy>(
        &self,
        entry: impl Fn(usize, u32) -> Option<T>,
        mut sink: impl FnMut(T, &[(usize, u32)]),
    ) -> Vec<Vec<u32>> {
        let mut numbers: Vec<Vec<u32>> = vec![Vec::new(); self.parts.len()];
        let mut heads: Vec<Option<T>> = (0..self.parts.len()).map(|part| entry(part, 0)).collect();
        let (mut next, mut who) = (0, Vec::new());
        while let Some(least) = heads.iter().flatten().min().copied() {
            for (part, (head, numbers)) in heads.iter_mut().zip(&mut numbers).enumerate() {
                // More than once only where a segment is damaged.
                while *head == Some(least) {
                    who.push((part, numbers.len() as u32));
                    numbers.push(next);
                    *head = entry(part, numbers.len() as u32);
                }
                // What descends is damaged, and passed over.
                while head.is_some_and(|head| head < least) {
                    numbers.push(next);
                    *head = entry(part, numbers.len() as u32);
                }
            }
            sink(least, &who);
            who.clear();
            next += 1;
        }
        numbers
    }
}
