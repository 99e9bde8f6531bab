//! Quality, speed and memory of retrieval, measured through the real index.
//!
//! ```text
//! cargo bench --bench retrieval -- --collection DIR [--foreign DIR]
//! cargo bench --bench retrieval -- --synthetic N [--folder DIR]
//! ```
//!
//! `--collection` reads a folder in BEIR layout (`corpus.jsonl`, `queries.jsonl`, `qrels.tsv`) and prints one line of JSON.
//! `--foreign` asks it the queries of another collection as well, and prints how many contexts were not empty: few should
//! be, whereas of the collection's own nearly all should. `--synthetic` writes N claims of 45 words from a seeded generator
//! into the files of an index, opens it as a start does, and asks queries of three to eight words with one more claim added between any
//! two, while the background writes and merges.
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
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lbm::identity::SecretKey;
use lbm::knowledge::context::{Ask, Candidate, compile};
use lbm::knowledge::index::{Filter, Index};
use lbm::knowledge::segment::{Builder, Segment};
use lbm::knowledge::{ClaimKey, Document, Stamp};
use lbm::runtime::index::folder::{Folder, Manifest, named};
use lbm::runtime::index::shelf::{Job, Shelf};
use rayon::prelude::*;
use serde_json::{Value, json};

use language::Language;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value_of =
        |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    if let Some(folder) = value_of("--collection") {
        println!("{}", collection(Path::new(folder), value_of("--foreign").map(Path::new)));
    } else if let Some(claims) = value_of("--synthetic") {
        let claims = claims.parse().expect("--synthetic takes a number");
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let folder = value_of("--folder").map_or(temporary.path(), Path::new);
        println!("{}", synthetic(claims, &folder.join("index")));
    } else {
        println!(
            "usage: cargo bench --bench retrieval -- --collection DIR [--foreign DIR] | --synthetic N [--folder DIR]"
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
}

impl Collection {
    fn read(folder: &Path) -> Self {
        let mut collection = Self {
            name: folder.file_name().expect("a folder with a name").to_string_lossy().into_owned(),
            ids: HashMap::new(),
            documents: HashMap::new(),
            index: Index::new(),
            queries: lines(&folder.join("queries.jsonl")).map(|row| (text(&row, "_id"), text(&row, "text"))).collect(),
            relevant: HashMap::new(),
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
            let candidates = self.index.search(query, 30, &Filter::ALL).into_iter().map(|hit| Candidate {
                stems: self.index.stems(hit.doc),
                document: self.documents[&hit.key].clone(),
                stamp: Stamp { author, created_ms: 0, evidence: vec![], valid_until_ms: None },
                hit,
            });
            !compile(candidates, &Ask::default()).items.is_empty()
        });
        answered.count() as f64 / queries.len() as f64
    }
}

fn stamp() -> Stamp {
    Stamp { author: SecretKey::from_seed(&[1; 32]).identity(), created_ms: 0 }
}

fn lines(path: &Path) -> impl Iterator<Item = Value> + use<> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    rows.into_iter()
}

fn text(row: &Value, field: &str) -> String {
    row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn collection(folder: &Path, foreign: Option<&Path>) -> Value {
    let collection = Collection::read(folder);
    let (mut gain, mut recall, mut reciprocal) = (0.0, 0.0, 0.0);
    let mut times = Vec::new();
    let judged: Vec<_> = collection.queries.iter().filter(|(id, _)| collection.relevant.contains_key(id)).collect();
    for (id, query) in &judged {
        let start = Instant::now();
        let hits = collection.index.search(query, 10, &Filter::ALL);
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
        if shelf.is_full() { shelf.flush() } else { shelf.job() }
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
    let (mut adds, mut searches, mut wide) = (Vec::new(), Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                keep(&folder, &shelf);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        for _ in 0..QUERIES {
            let document = [claim(&mut language)];
            let start = Instant::now();
            let segment = build(&document);
            shelf.lock().unwrap().add(segment);
            adds.push(start.elapsed().as_secs_f64() * 1e3);
            let query = language.query();
            for (k, times) in [(48, &mut searches), (1_000, &mut wide)] {
                let start = Instant::now();
                let index = shelf.lock().unwrap().snapshot();
                let hits = index.search(&query, k, &Filter::ALL);
                times.push(start.elapsed().as_secs_f64() * 1e3);
                assert!(!hits.is_empty(), "no hit for {query}");
            }
        }
        is_done.store(true, Ordering::Relaxed);
    });
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
        "top_1000_p50_ms": percentile(&mut wide, 50),
        "top_1000_p95_ms": percentile(&mut wide, 95),
        "add_p50_ms": percentile(&mut adds, 50),
        "add_mean_ms": (adds.iter().sum::<f64>() / adds.len() as f64 * 1e3).round() / 1e3,
        "add_p99_ms": percentile(&mut adds, 99),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next(),
    })
}

/// A count of this process' memory, where `/proc` tells.
fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).map_or(0, |kib| kib * 1_024)
}
