//! The claims and queries of `retrieval --synthetic`, searched by a plain scan, by tantivy's BM25 and by SQLite's FTS5.
//!
//! ```text
//! cargo run --release --manifest-path benches/compare/Cargo.toml -- N
//! ```
//!
//! One line of JSON each: p50 and p95 of a search for the best 48 with one claim added between any two, and of the addition until it can
//! be found.

#[path = "../../retrieval/language.rs"]
mod language;

use std::time::Instant;

use language::Language;
use rayon::prelude::*;
use serde_json::json;
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};
use tantivy::{Index, ReloadPolicy, Term, doc};

const QUERIES: usize = 300;
const BEST: usize = 48;
const WORDS: usize = 45;

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * percent / 100).map_or(0.0, |time| (time * 1e3).round() / 1e3)
}

/// Adds and asks in turn, and prints what it took.
fn measure(name: &str, claims: usize, language: &mut Language, mut add: impl FnMut(String), mut search: impl FnMut(&str) -> usize) {
    let (mut adds, mut searches) = (Vec::new(), Vec::new());
    for _ in 0..QUERIES {
        let claim = language.sentence(WORDS);
        let start = Instant::now();
        add(claim);
        adds.push(start.elapsed().as_secs_f64() * 1e3);
        let query = language.query();
        let start = Instant::now();
        let found = search(&query);
        searches.push(start.elapsed().as_secs_f64() * 1e3);
        assert!(found > 0, "{name} finds nothing for {query}");
    }
    let line = json!({
        "what": name,
        "claims": claims,
        "p50_ms": percentile(&mut searches, 50),
        "p95_ms": percentile(&mut searches, 95),
        "add_p50_ms": percentile(&mut adds, 50),
        "load": std::fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next(),
    });
    println!("{line}");
}

fn scan(claims: usize) {
    let mut language = Language::new(60_000);
    let texts: Vec<String> = (0..claims).map(|_| language.sentence(WORDS)).collect();
    let texts = std::cell::RefCell::new(texts);
    let add = |text: String| texts.borrow_mut().push(text);
    let search = |query: &str| {
        let words: Vec<&str> = query.split_whitespace().collect();
        let texts = texts.borrow();
        let score = |text: &String| text.split_whitespace().filter(|word| words.contains(word)).count();
        let mut found: Vec<(usize, usize)> =
            texts.par_iter().enumerate().map(|(at, text)| (score(text), at)).filter(|(score, _)| *score > 0).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(BEST);
        found.len()
    };
    measure("plain scan, all cores", claims, &mut language, add, search);
}

fn tantivy(claims: usize) -> tantivy::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default().set_tokenizer("en_stem").set_index_option(IndexRecordOption::WithFreqs);
    let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
    let number = schema.add_u64_field("number", STORED);
    let index = Index::create_in_dir(folder.path(), schema.build())?;
    let mut writer = index.writer(100_000_000)?;
    let mut language = Language::new(60_000);
    for at in 0..claims {
        writer.add_document(doc!(text => language.sentence(WORDS), number => at as u64))?;
    }
    writer.commit()?;
    let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let mut analyser = index.tokenizers().get("en_stem").expect("the tokenizer");
    // What is committed can be found: that is what a claim that was just written must be.
    let mut next = claims as u64;
    let add = |claim: String| {
        writer.add_document(doc!(text => claim, number => next)).expect("room");
        next += 1;
        writer.commit().expect("a disk with room");
        reader.reload().expect("an index");
    };
    let search = |query: &str| {
        let mut terms: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        let mut tokens = analyser.token_stream(query);
        while tokens.advance() {
            let term = Term::from_field_text(text, &tokens.token().text);
            terms.push((Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))));
        }
        let query = BooleanQuery::new(terms);
        reader.searcher().search(&query, &TopDocs::with_limit(BEST)).expect("an answer").len()
    };
    measure("tantivy, BM25 alone", claims, &mut language, add, search);
    Ok(())
}

fn fts5(claims: usize) -> rusqlite::Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let database = rusqlite::Connection::open(folder.path().join("claims.db"))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.execute_batch("CREATE VIRTUAL TABLE claims USING fts5(text, tokenize = 'porter unicode61'); BEGIN")?;
    let mut language = Language::new(60_000);
    {
        let mut insert = database.prepare("INSERT INTO claims (text) VALUES (?1)")?;
        for _ in 0..claims {
            insert.execute([language.sentence(WORDS)])?;
        }
    }
    database.execute_batch("COMMIT")?;
    let mut insert = database.prepare("INSERT INTO claims (text) VALUES (?1)")?;
    let mut select = database.prepare("SELECT rowid FROM claims WHERE claims MATCH ?1 ORDER BY bm25(claims) LIMIT 48")?;
    let add = |text: String| assert_eq!(insert.execute([text]), Ok(1), "a disk with room");
    let search = |query: &str| {
        let words: Vec<String> = query.split_whitespace().map(|word| format!("\"{word}\"")).collect();
        let rows = select.query_map([words.join(" OR ")], |row| row.get::<_, i64>(0)).expect("an answer");
        rows.count()
    };
    measure("SQLite FTS5", claims, &mut language, add, search);
    Ok(())
}

fn main() {
    let claims = std::env::args().nth(1).and_then(|claims| claims.parse().ok()).unwrap_or(100_000);
    scan(claims);
    tantivy(claims).expect("tantivy works");
    fts5(claims).expect("SQLite works");
}
