//! Numbers for things: a table from bytes to the `u32` under which they were first seen, and its form for terms.
//!
//! Hashes are seeded at random per table, since peers choose the bytes. Nothing is ever taken out, and the table is never
//! iterated, so that the seed shows nowhere.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

/// Marks a free slot.
const FREE: u32 = u32::MAX;

/// An open-addressing table of numbers. Whoever owns the things that are numbered compares them.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    seed: RandomState,
    /// (upper half of the hash, number): a wrong candidate is mostly refused without a look at the thing itself.
    slots: Vec<(u32, u32)>,
    used: usize,
}

impl Numbers {
    /// The hash of a thing's bytes in this table.
    pub(super) fn hash(&self, bytes: &[u8]) -> u32 {
        let hash = self.seed.hash_one(bytes);
        (hash ^ (hash >> 32)) as u32
    }

    /// The number under `hash` that `is` recognises.
    pub(super) fn find(&self, hash: u32, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            match self.slots.get(at) {
                Some((_, FREE)) | None => return None,
                Some((tag, number)) if *tag == hash && is(*number) => return Some(*number),
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    /// Adds a number that [`Numbers::find`] did not find.
    pub(super) fn add(&mut self, hash: u32, number: u32) {
        // Three quarters full at most: linear probing stays short.
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            let old = std::mem::take(&mut self.slots);
            self.slots = vec![(0, FREE); (old.len() * 2).max(16)];
            for (tag, number) in old.into_iter().filter(|(_, number)| *number != FREE) {
                self.place(tag, number);
            }
        }
        self.place(hash, number);
        self.used += 1;
    }

    fn place(&mut self, hash: u32, number: u32) {
        let mask = self.slots.len().saturating_sub(1);
        let mut at = hash as usize & mask;
        while self.slots.get(at).is_some_and(|(_, taken)| *taken != FREE) {
            at = (at + 1) & mask;
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = (hash, number);
        }
    }
}

/// All terms of a view, one behind the other, and their numbers in the sequence of first appearance.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    numbers: Numbers,
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Dictionary {
    /// The number of a term that is known.
    pub(super) fn find(&self, term: &str) -> Option<u32> {
        self.find_hashed(self.numbers.hash(term.as_bytes()), term)
    }

    fn find_hashed(&self, hash: u32, term: &str) -> Option<u32> {
        self.numbers.find(hash, |number| self.bytes(number) == term.as_bytes())
    }

    /// The number of a term, a new one if need be.
    pub(super) fn intern(&mut self, term: &str) -> u32 {
        let hash = self.numbers.hash(term.as_bytes());
        if let Some(number) = self.find_hashed(hash, term) {
            return number;
        }
        let number = self.ends.len() as u32;
        self.text.extend_from_slice(term.as_bytes());
        self.ends.push(self.text.len() as u32);
        self.numbers.add(hash, number);
        number
    }

    fn bytes(&self, number: u32) -> &[u8] {
        let end_of = |number: u32| self.ends.get(number as usize).map_or(0, |end| *end as usize);
        let start = number.checked_sub(1).map_or(0, end_of);
        self.text.get(start..end_of(number)).unwrap_or_default()
    }

    /// The term under a number.
    pub(super) fn term(&self, number: u32) -> &str {
        std::str::from_utf8(self.bytes(number)).unwrap_or_default()
    }

    /// Terms.
    pub(super) const fn len(&self) -> usize {
        self.ends.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Dictionary;

    #[test]
    fn numbers_follow_first_appearance_and_survive_growth() {
        let mut dictionary = Dictionary::default();
        for at in 0..10_000_u32 {
            assert_eq!(dictionary.intern(&format!("t{at}")), at);
        }
        for at in 0..10_000_u32 {
            assert_eq!(dictionary.intern(&format!("t{at}")), at);
            assert_eq!(dictionary.find(&format!("t{at}")), Some(at));
        }
        assert_eq!(dictionary.find("t10000"), None);
        assert_eq!(Dictionary::default().find("t"), None);
    }
}
