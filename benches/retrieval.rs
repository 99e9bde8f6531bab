//! Quality, speed and memory of retrieval, measured through the real index.
//!
//! ```text
//! cargo bench --bench retrieval -- --collection DIR [--foreign DIR] [--embedder-url URL --embedder-model NAME | --embedder-folder DIR]
//! cargo bench --bench retrieval -- --synthetic N
//! cargo bench --bench retrieval -- --vectors N --dimensions D
//! ```
//!
//! `--collection` reads a folder in BEIR layout (`corpus.jsonl`, `queries.jsonl`, `qrels.tsv`) and prints one line of JSON.
//! `--foreign` asks it the queries of another collection as well, and prints how many contexts were not empty: few should
//! be, whereas of the collection's own nearly all should. With an embedder, its vectors are the fourth view; `--embedded PERCENT` gives
//! one to so many of a hundred claims only. `--synthetic` writes N claims of 45 words from a seeded generator
//! and asks queries of three to eight words with one more claim added between any two. `--vectors` keeps N random vectors and looks for the
//! closest to others.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench reports and gives up"
)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lbm::config::{Prefixes, Url};
use lbm::embedder::endpoint::Endpoint;
use lbm::embedder::folder::Folder;
use lbm::embedder::null::Null;
use lbm::embedder::{Embedder, Side};
use lbm::identity::SecretKey;
use lbm::knowledge::context::{Ask, Candidate, compile};
use lbm::knowledge::index::{Embedded, Hit, Index};
use lbm::knowledge::vectors::Vectors;
use lbm::knowledge::{ClaimKey, Document, Metadata};
use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value_of =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    if let Some(folder) = value_of("--collection") {
        let prefixes = Prefixes::default();
        let embedder: Option<Box<dyn Embedder>> = match (value_of("--embedder-url"), value_of("--embedder-folder")) {
            (Some(url), _) => {
                let url = Url::parse(url).expect("an address");
                let model = value_of("--embedder-model").expect("--embedder-model");
                Some(Box::new(Endpoint::new(url.as_str(), model, &prefixes, None, false)))
            }
            (None, Some(folder)) => Some(Box::new(Folder::open(Path::new(folder), &prefixes).expect("a model"))),
            (None, None) => None,
        };
        let percent = value_of("--embedded").map_or(100, |percent| percent.parse().expect("--embedded takes a number"));
        let embedder = embedder.map(|embedder| (embedder, percent));
        println!("{}", collection(Path::new(folder), value_of("--foreign").map(Path::new), embedder));
    } else if let Some(claims) = value_of("--synthetic") {
        println!("{}", synthetic(claims.parse().expect("--synthetic takes a number")));
    } else if let Some(count) = value_of("--vectors") {
        let dimensions = value_of("--dimensions").map_or(768, |number| number.parse().expect("a number"));
        println!("{}", vectors(count.parse().expect("--vectors takes a number"), dimensions));
    } else {
        println!(
            "usage: cargo bench --bench retrieval -- --collection DIR [--foreign DIR] | --synthetic N | --vectors N"
        );
    }
}

/// A collection in memory: its documents by key, its queries, and what is relevant to each.
struct Collection {
    name: String,
    ids: HashMap<ClaimKey, String>,
    documents: HashMap<ClaimKey, Document>,
    index: Index,
    queries: Vec<(String, String)>,
    relevant: HashMap<String, HashMap<String, f64>>,
    model: Option<Model>,
}

/// An embedder and the vectors that it made of a collection.
struct Model {
    embedder: Box<dyn Embedder>,
    null: Null,
    vectors: Vectors,
    _folder: tempfile::TempDir,
}

impl Model {
    fn new(embedder: Box<dyn Embedder>, percent: u8, documents: &HashMap<ClaimKey, Document>) -> Self {
        let patience = Duration::from_secs(600);
        let folder = tempfile::tempdir().expect("a folder");
        let mut vectors = Vectors::open(&folder.path().join("vectors"), &embedder.id()).expect("a file");
        let null = Null::measure(embedder.as_ref(), 32, patience).expect("an embedder that works");
        let wanted: Vec<_> =
            documents.iter().filter(|(key, _)| u32::from(key[0]) * 100 < u32::from(percent) * 256).collect();
        for part in wanted.chunks(32) {
            let texts: Vec<String> = part.iter().map(|(_, document)| document.to_embed()).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let made = embedder.embed(Side::Document, &texts, patience).expect("an embedder that works");
            let new: Vec<_> = part.iter().map(|(key, _)| **key).zip(made).collect();
            vectors.append(&new).expect("room");
        }
        Self { embedder, null, vectors, _folder: folder }
    }
}

impl Collection {
    fn search(&self, query: &str, k: usize) -> Vec<Hit> {
        let Some(Model { embedder, null, vectors, .. }) = &self.model else {
            return self.index.search(query, k, &|_| true);
        };
        let made = embedder.embed(Side::Query, &[query], Duration::from_secs(60)).expect("an embedder that works");
        let Null { mean, deviation, .. } = *null;
        let embedded = Embedded { vectors, query: &made[0], unrelated: mean, deviation };
        self.index.search_with(query, k, &|_| true, Some(embedded))
    }

    fn read(folder: &Path) -> Self {
        let mut collection = Self {
            name: folder.file_name().expect("a folder with a name").to_string_lossy().into_owned(),
            ids: HashMap::new(),
            documents: HashMap::new(),
            index: Index::new(),
            queries: lines(&folder.join("queries.jsonl")).map(|row| (text(&row, "_id"), text(&row, "text"))).collect(),
            relevant: HashMap::new(),
            model: None,
        };
        for row in lines(&folder.join("corpus.jsonl")) {
            let id = text(&row, "_id");
            let tags = row.get("tags").and_then(Value::as_array);
            let document = Document {
                title: Some(text(&row, "title")).filter(|title| !title.is_empty()),
                text: text(&row, "text"),
                tags: tags.into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect(),
            };
            let key = *blake3::hash(id.as_bytes()).as_bytes();
            collection.index.add(key, &document).expect("an index with room");
            collection.ids.insert(key, id);
            collection.documents.insert(key, document);
        }
        for line in fs::read_to_string(folder.join("qrels.tsv")).expect("qrels.tsv").lines().skip(1) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [query, document, score] = fields.as_slice() else { panic!("not a row of qrels: {line}") };
            let score: f64 = score.parse().expect("a number");
            if score > 0.0 {
                collection.relevant.entry((*query).to_owned()).or_default().insert((*document).to_owned(), score);
            }
        }
        collection
    }

    /// Share of queries whose context is not empty.
    fn answered(&self, queries: &[(String, String)]) -> f64 {
        let author = SecretKey::from_seed(&[1; 32]).identity();
        let answered = queries.iter().filter(|(_, query)| {
            let candidates = self.search(query, 30).into_iter().map(|hit| Candidate {
                stems: self.index.stems(hit.doc),
                document: self.documents[&hit.key].clone(),
                metadata: Metadata { author, created_ms: 0 },
                hit,
            });
            !compile(candidates, &Ask::default()).items.is_empty()
        });
        answered.count() as f64 / queries.len() as f64
    }
}

fn lines(path: &Path) -> impl Iterator<Item = Value> + use<> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    rows.into_iter()
}

fn text(row: &Value, field: &str) -> String {
    row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn collection(folder: &Path, foreign: Option<&Path>, embedder: Option<(Box<dyn Embedder>, u8)>) -> Value {
    let mut collection = Collection::read(folder);
    collection.model = embedder.map(|(embedder, percent)| Model::new(embedder, percent, &collection.documents));
    let (mut gain, mut recall, mut reciprocal) = (0.0, 0.0, 0.0);
    let mut times = Vec::new();
    let judged: Vec<_> = collection.queries.iter().filter(|(id, _)| collection.relevant.contains_key(id)).collect();
    for (id, query) in &judged {
        let start = Instant::now();
        let hits = collection.search(query, 10);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        let relevant = &collection.relevant[id];
        let gains: Vec<f64> =
            hits.iter().map(|hit| relevant.get(&collection.ids[&hit.key]).copied().unwrap_or(0.0)).collect();
        let mut ideal: Vec<f64> = relevant.values().copied().collect();
        ideal.sort_by(|a, b| b.total_cmp(a));
        let discounted = |gains: &[f64]| -> f64 {
            gains.iter().take(10).enumerate().map(|(rank, gain)| gain / (rank as f64 + 2.0).log2()).sum()
        };
        gain += discounted(&gains) / discounted(&ideal);
        recall += gains.iter().filter(|gain| **gain > 0.0).count() as f64 / relevant.len() as f64;
        reciprocal += gains.iter().position(|gain| *gain > 0.0).map_or(0.0, |rank| 1.0 / (rank as f64 + 1.0));
    }
    let mean = |sum: f64| (sum / judged.len() as f64 * 1e4).round() / 1e4;
    let mut line = json!({
        "collection": collection.name,
        "ndcg@10": mean(gain),
        "recall@10": mean(recall),
        "mrr@10": mean(reciprocal),
        "queries": judged.len(),
        "p50_ms": percentile(&mut times, 50),
        "p95_ms": percentile(&mut times, 95),
    });
    if let Some(model) = &collection.model {
        line["embedder"] = json!(model.embedder.name());
        line["embedded"] = json!(model.vectors.len());
        line["unrelated"] = json!([model.null.mean, model.null.deviation]);
    }
    if let Some(foreign) = foreign {
        let foreign = Collection::read(foreign);
        line["answered"] = json!(collection.answered(&collection.queries));
        line["foreign"] = json!(foreign.name);
        line["foreign_answered"] = json!(collection.answered(&foreign.queries));
    }
    line
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    times.get(at).map_or(0.0, |time| (time * 1e3).round() / 1e3)
}

/// Words of a made-up language, put together from syllables and drawn by Zipf's law.
struct Language {
    state: u64,
    words: Vec<String>,
    /// By word: the share of text that it and all more common ones make up.
    shares: Vec<f64>,
}

impl Language {
    fn new(words: usize) -> Self {
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

    fn below(&mut self, bound: usize) -> usize {
        self.random() as usize % bound
    }

    /// Splitmix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn sentence(&mut self, words: usize) -> String {
        let mut sentence = String::new();
        for _ in 0..words {
            let share = self.random() as f64 / u64::MAX as f64;
            let rank = self.shares.partition_point(|sum| *sum < share).min(self.words.len() - 1);
            sentence.push_str(&self.words[rank]);
            sentence.push(' ');
        }
        sentence
    }

    fn claim(&mut self) -> (ClaimKey, Document) {
        let document = Document { title: None, text: self.sentence(45), tags: Vec::new() };
        (*blake3::hash(document.text.as_bytes()).as_bytes(), document)
    }
}

fn synthetic(claims: usize) -> Value {
    const QUERIES: usize = 1_000;
    let mut language = Language::new(60_000);
    let documents: Vec<_> = (0..claims).map(|_| language.claim()).collect();
    let mut index = Index::new();
    let resident = resident_bytes();
    let start = Instant::now();
    for (key, document) in &documents {
        index.add(*key, document).expect("an index with room");
    }
    let build = start.elapsed().as_secs_f64();
    let grown = resident_bytes().saturating_sub(resident);
    let (heap, mut adds, mut searches, mut wide) = (index.heap_bytes(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..QUERIES {
        let (key, document) = language.claim();
        let start = Instant::now();
        index.add(key, &document).expect("an index with room");
        adds.push(start.elapsed().as_secs_f64() * 1e3);
        let words = 3 + language.below(6);
        let query = language.sentence(words);
        for (k, times) in [(30, &mut searches), (1_000, &mut wide)] {
            let start = Instant::now();
            let hits = index.search(&query, k, &|_| true);
            times.push(start.elapsed().as_secs_f64() * 1e3);
            assert!(!hits.is_empty(), "no hit for {query}");
        }
    }
    json!({
        "claims": claims,
        "build_s": (build * 1e3).round() / 1e3,
        "heap_mb": (heap as f64 / 1e4).round() / 1e2,
        "resident_mb": (grown as f64 / 1e4).round() / 1e2,
        "queries": QUERIES,
        "p50_ms": percentile(&mut searches, 50),
        "p95_ms": percentile(&mut searches, 95),
        "top_1000_p50_ms": percentile(&mut wide, 50),
        "top_1000_p95_ms": percentile(&mut wide, 95),
        "add_p50_ms": percentile(&mut adds, 50),
        "add_p99_ms": percentile(&mut adds, 99),
    })
}

fn vectors(count: usize, dimensions: usize) -> Value {
    let mut language = Language { state: 11, words: Vec::new(), shares: Vec::new() };
    let mut vector = || (0..dimensions).map(|_| language.random() as i16 as f32).collect::<Vec<f32>>();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("vectors");
    let mut vectors = Vectors::open(&path, &[0; 32]).expect("a file");
    let numbered = |number: usize| *blake3::hash(&number.to_le_bytes()).as_bytes();
    let mut appends = Vec::new();
    for start in (0..count).step_by(32) {
        let new: Vec<_> = (start..count.min(start + 32)).map(|number| (numbered(number), vector())).collect();
        let start = Instant::now();
        vectors.append(&new).expect("room");
        appends.push(start.elapsed().as_secs_f64() * 1e3);
    }
    drop(vectors);
    let start = Instant::now();
    let vectors = Vectors::open(&path, &[0; 32]).expect("a file");
    let open = start.elapsed().as_secs_f64() * 1e3;
    let index = Index::new();
    let mut searches = Vec::new();
    for _ in 0..200 {
        let query = vector();
        let embedded = Embedded { vectors: &vectors, query: &query, unrelated: 0.0, deviation: 0.1 };
        let start = Instant::now();
        assert!(index.search_with("", 10, &|_| true, Some(embedded)).is_empty());
        searches.push(start.elapsed().as_secs_f64() * 1e3);
    }
    json!({
        "vectors": vectors.len(),
        "dimensions": dimensions,
        "open_ms": (open * 1e3).round() / 1e3,
        "append_32_p50_ms": percentile(&mut appends, 50),
        "search_p50_ms": percentile(&mut searches, 50),
        "search_p95_ms": percentile(&mut searches, 95),
    })
}

/// Memory of this process that is in RAM, where `/proc` tells.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).map_or(0, |kib| kib * 1_024)
}
