//! Quality, speed and memory of retrieval, measured through the real index.
//!
//! ```text
//! cargo bench --bench retrieval -- --collection DIR [--foreign DIR] [--embedder-url URL --embedder-model NAME | --embedder-folder DIR]
//! cargo bench --bench retrieval -- --synthetic N [--folder DIR]
//! cargo bench --bench retrieval -- --vectors N --dimensions D
//! ```
//!
//! `--collection` reads a folder in BEIR layout (`corpus.jsonl`, `queries.jsonl`, `qrels.tsv`) and prints one line of JSON.
//! `--foreign` asks it the queries of another collection as well, and prints how many contexts were not empty: few should
//! be, whereas of the collection's own nearly all should. With an embedder, its vectors are the fourth view; `--embedded PERCENT` gives
//! one to so many of a hundred claims only. `--synthetic` writes N claims of 45 words from a seeded generator
//! into the files of an index, opens it as a start does, and asks queries of three to eight words with one more claim published between any
//! two, while the background writes and merges. Publishing only tells the index that there is news, and the next query reads it: what it
//! costs to index the claim (`index_ms`) is part of the query's time. `--vectors` keeps N random vectors and looks for the closest to others.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench reports and gives up"
)]

mod language;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use lbm::config::{Prefixes, Url};
use lbm::embedder::endpoint::Endpoint;
use lbm::embedder::folder::Folder as StaticModel;
use lbm::embedder::null::Null;
use lbm::embedder::{Embedder, Side};
use lbm::identity::{Identity, SecretKey};
use lbm::knowledge::context::{Ask, Candidate, compile};
use lbm::knowledge::index::{Embedded, Filter, Hit, Index};
use lbm::knowledge::segment::{Builder, Segment};
use lbm::knowledge::vectors::Vectors;
use lbm::knowledge::{ClaimKey, Document, Metadata, Stamp};
use lbm::runtime::index::folder::{Folder, Manifest, named};
use lbm::runtime::index::shelf::{Job, Shelf};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rayon::prelude::*;
use serde_json::{Value, json};

use language::Language;

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
            (None, Some(folder)) => Some(Box::new(StaticModel::open(Path::new(folder), &prefixes).expect("a model"))),
            (None, None) => None,
        };
        let percent = value_of("--embedded").map_or(100, |percent| percent.parse().expect("--embedded takes a number"));
        let embedder = embedder.map(|embedder| (embedder, percent));
        println!("{}", collection(Path::new(folder), value_of("--foreign").map(Path::new), embedder));
    } else if let Some(claims) = value_of("--synthetic") {
        let claims = claims.parse().expect("--synthetic takes a number");
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = value_of("--folder").map_or(temporary.path(), Path::new);
        println!("{}", synthetic(claims, &folder.join("index")));
    } else if let Some(count) = value_of("--vectors") {
        let dimensions = value_of("--dimensions").map_or(768, |number| number.parse().expect("a number"));
        println!("{}", vectors(count.parse().expect("--vectors takes a number"), dimensions));
    } else {
        println!(
            "usage: cargo bench --bench retrieval -- --collection DIR [--foreign DIR] | --synthetic N [--folder DIR] | --vectors N"
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
            return self.index.search(query, k, &Filter::ALL);
        };
        let made = embedder.embed(Side::Query, &[query], Duration::from_secs(60)).expect("an embedder that works");
        let Null { mean, deviation, .. } = *null;
        let embedded = Embedded { vectors, query: &made[0], unrelated: mean, deviation };
        self.index.search_with(query, k, &Filter::ALL, Some(embedded))
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
            collection.index.add(key, &document, &stamp(), 0).expect("an index with room");
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
                metadata: Metadata { author, created_ms: 0, evidence: vec![], valid_until_ms: None },
                hit,
            });
            !compile(candidates, &Ask::default()).items.is_empty()
        });
        answered.count() as f64 / queries.len() as f64
    }
}

fn stamp() -> Stamp {
    static AUTHOR: LazyLock<Identity> = LazyLock::new(|| SecretKey::from_seed(&[1; 32]).identity());
    Stamp { author: *AUTHOR, created_ms: 0 }
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

/// One claim of 45 words.
fn claim(language: &mut Language) -> (ClaimKey, Document) {
    let document = Document { title: None, text: language.sentence(45), tags: Vec::new() };
    (*blake3::hash(document.text.as_bytes()).as_bytes(), document)
}

fn build(documents: &[(ClaimKey, Document)]) -> Segment {
    let mut builder = Builder::default();
    documents.iter().for_each(|(key, document)| builder.add(*key, document, &stamp(), 0));
    builder.finish()
}

/// Does what the daemon's background does for an index, until there is nothing left to do.
fn keep(folder: &Folder, shelf: &Mutex<Shelf>) {
    let next = || {
        let mut shelf = shelf.lock().unwrap();
        if shelf.is_full() { shelf.flush() } else { shelf.job(|_| true) }
    };
    while let Some(job) = next() {
        match job {
            Job::Check(segment) => {
                let is_whole = segment.is_whole();
                shelf.lock().unwrap().checked(&segment, is_whole);
            }
            Job::Flush(of) | Job::Merge(of) => {
                let file = folder.write(&of).expect("a disk with room");
                shelf.lock().unwrap().done(&of, Some(file));
            }
        }
    }
}

fn write_manifest(folder: &Folder, shelf: &Mutex<Shelf>) {
    let mut manifest = Manifest::new();
    manifest.segments = shelf.lock().unwrap().files().map(named).collect();
    folder.write_manifest(&manifest).expect("a disk with room");
}

fn synthetic(claims: usize, path: &Path) -> Value {
    const QUERIES: usize = 1_000;
    /// What a context of a hundred claims asks for; one of eight asks for 48.
    const WIDE: usize = 416;
    /// Claims behind the last file when the index is opened; some more come while it is asked, so that one file is written meanwhile.
    const TAIL: usize = 1_500;
    let mut language = Language::new(60_000);
    let folder = Folder::create(path).expect("a folder");
    let shelf = Mutex::new(Shelf::default());
    let start = Instant::now();
    let mut left = claims.saturating_sub(TAIL);
    while left > 0 {
        let part: Vec<_> = (0..left.min(16_384)).map(|_| claim(&mut language)).collect();
        left -= part.len();
        let segments: Vec<Segment> = part.par_chunks(256).map(build).collect();
        let file = folder.write(&segments).expect("a disk with room");
        shelf.lock().unwrap().add_file(file);
        keep(&folder, &shelf);
    }
    write_manifest(&folder, &shelf);
    let build_s = start.elapsed().as_secs_f64();
    drop(shelf);

    let tail: Vec<_> = (0..TAIL).map(|_| claim(&mut language)).collect();
    let resident = memory("RssAnon");
    let start = Instant::now();
    let (_, segments, lost) = folder.read().expect("a manifest");
    assert!(lost.is_empty());
    let (files, file_bytes) = (segments.len(), segments.iter().map(|segment| segment.bytes().len()).sum::<usize>());
    let shelf = Mutex::new(Shelf::new(segments));
    for segment in tail.par_chunks(256).map(build).collect::<Vec<_>>() {
        shelf.lock().unwrap().add(segment);
    }
    let index = shelf.lock().unwrap().snapshot();
    let _hits = index.search(&language.query(), 48, &Filter::ALL);
    let start_ms = start.elapsed().as_secs_f64() * 1e3;
    drop((index, tail));

    let is_done = AtomicBool::new(false);
    let cpu = cpu_ms();
    let (mut indexing, mut searches, mut wide) = (Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                keep(&folder, &shelf);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        for _ in 0..QUERIES {
            for (k, times) in [(48, &mut searches), (WIDE, &mut wide)] {
                let (new, query) = ([claim(&mut language)], language.query());
                let start = Instant::now();
                let segment = build(&new);
                let index = {
                    let mut shelf = shelf.lock().unwrap();
                    shelf.add(segment);
                    shelf.snapshot()
                };
                indexing.push(start.elapsed().as_secs_f64() * 1e3);
                let hits = index.search(&query, k, &Filter::ALL);
                times.push(start.elapsed().as_secs_f64() * 1e3);
                assert!(!hits.is_empty(), "no hit for {query}");
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let cpu_ms = (cpu_ms() - cpu) / (2 * QUERIES) as f64;
    let grown = memory("RssAnon").saturating_sub(resident);
    let (heap, segments) = {
        let shelf = shelf.lock().unwrap();
        (shelf.heap_bytes(), shelf.snapshot().segments().len())
    };
    let mb = |bytes: usize| (bytes as f64 / 1e4).round() / 1e2;
    json!({
        "claims": claims,
        "build_s": (build_s * 1e3).round() / 1e3,
        "files": files,
        "file_mb": mb(file_bytes),
        "start_to_first_answer_ms": (start_ms * 1e3).round() / 1e3,
        "segments": segments,
        "heap_mb": mb(heap),
        "anonymous_memory_grown_mb": mb(grown),
        "queries": QUERIES,
        "p50_ms": percentile(&mut searches, 50),
        "p95_ms": percentile(&mut searches, 95),
        "cpu_ms_per_query": (cpu_ms * 1e3).round() / 1e3,
        "top_416_p50_ms": percentile(&mut wide, 50),
        "top_416_p95_ms": percentile(&mut wide, 95),
        "index_p50_ms": percentile(&mut indexing, 50),
        "index_p99_ms": percentile(&mut indexing, 99),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next(),
    })
}

fn vectors(count: usize, dimensions: usize) -> Value {
    let mut random = StdRng::seed_from_u64(11);
    let mut vector = || (0..dimensions).map(|_| random.random::<f32>() - 0.5).collect::<Vec<f32>>();
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
        assert!(index.search_with("", 10, &Filter::ALL, Some(embedded)).is_empty());
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

/// Processor time of this process on all cores, where `/proc` tells: what a search costs however busy the machine is.
fn cpu_ms() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    // Hundredths of a second in user mode, and in the system.
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() * 10.0
}

/// A count of this process' memory, where `/proc` tells.
fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).map_or(0, |kib| kib * 1_024)
}
