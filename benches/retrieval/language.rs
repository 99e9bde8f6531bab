//! Claims and queries in a made-up language, always the same.

use std::collections::HashSet;

/// Words of a made-up language, put together from syllables and drawn by Zipf's law.
pub struct Language {
    state: u64,
    words: Vec<String>,
    /// By word: the share of text that it and all more common ones make up.
    shares: Vec<f64>,
}

impl Language {
    pub fn new(words: usize) -> Self {
        // Onset, nucleus and coda as English has them, the plain ones more often: some 4,000 syllables.
        const ONSETS: [&str; 32] = [
            "", "b", "c", "d", "f", "g", "h", "l", "m", "n", "p", "r", "s", "t", "v", "w", "br", "ch", "cl", "cr",
            "dr", "fl", "gr", "pl", "pr", "qu", "sh", "sp", "st", "str", "th", "tr",
        ];
        const NUCLEI: [&str; 12] = ["a", "e", "i", "o", "u", "e", "a", "ea", "io", "ou", "ai", "oo"];
        const CODAS: [&str; 16] = ["", "", "", "", "n", "r", "s", "t", "l", "m", "d", "nt", "st", "ng", "ck", "nd"];
        let mut language = Self { state: 7, shares: Vec::new(), words: Vec::new() };
        let mut taken = HashSet::new();
        while language.words.len() < words {
            // The more words there are, the longer is a new one.
            let most = 1 + (language.words.len() + 10).ilog10() as usize;
            let syllables = 1 + language.below(most);
            let mut word = String::new();
            for _ in 0..syllables {
                for part in [&ONSETS[..], &NUCLEI, &CODAS] {
                    // The lower of two draws, since sounds are not equally common either.
                    let at = language.below(part.len()).min(language.below(part.len()));
                    word.push_str(part[at]);
                }
            }
            if word.len() > 1 && taken.insert(word.clone()) {
                language.words.push(word);
            }
        }
        let mut sum = 0.0;
        let weights: Vec<f64> = (0..words).map(|rank| 1.0 / (rank as f64 + 2.7)).collect();
        let total: f64 = weights.iter().sum();
        let shares = weights.iter().map(|weight| {
            sum += weight / total;
            sum
        });
        language.shares = shares.collect();
        language
    }

    pub fn below(&mut self, bound: usize) -> usize {
        self.random() as usize % bound
    }

    /// Splitmix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn sentence(&mut self, words: usize) -> String {
        let mut sentence = String::new();
        for _ in 0..words {
            let share = self.random() as f64 / u64::MAX as f64;
            let rank = self.shares.partition_point(|sum| *sum < share).min(self.words.len() - 1);
            sentence.push_str(&self.words[rank]);
            sentence.push(' ');
        }
        sentence
    }

    /// A query of three to eight words.
    pub fn query(&mut self) -> String {
        let words = 3 + self.below(6);
        self.sentence(words)
    }
}
