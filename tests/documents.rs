//! What the documents name is there: each file, and each test and item that shows what they promise; each link leads somewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Names in examples, which are somebody else's files.
const EXAMPLES: [&str; 2] = ["src/a.rs", "src/main.rs"];

/// Where a path of modules may begin: a document on a layer leaves the layer's name out.
const ROOTS: [&str; 5] = ["src", "src/knowledge", "src/limits", "src/runtime", "tests"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, ending, found);
        } else if path.extension().is_some_and(|extension| extension == ending) {
            found.push(path);
        }
    }
}

/// The documents, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    walk(&root().join("docs"), "md", &mut paths);
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What stands between backquotes within a line.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

fn is_name(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether some file of the module declares it: as an item, a variant or field on a line of its own, or a test of a macro.
fn declares(source: &str, name: &str) -> bool {
    const BEFORE: [&str; 9] = ["fn", "struct", "enum", "const", "mod", "static", "type", "trait", "macro_rules!"];
    let is_whole = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    source.match_indices(name).any(|(at, _)| {
        let before = source[..at].trim_end_matches(' ');
        let is_item = before.len() < at && BEFORE.iter().any(|word| before.ends_with(word));
        let begins_line = before.is_empty() || before.ends_with('\n');
        (is_item || begins_line) && is_whole(&source[at + name.len()..])
    })
}

/// Whether a path as `store::tests::that` leads to something, in one of the roots.
fn leads_somewhere(path: &[&str]) -> bool {
    let (first, last) = (path[0], path[path.len() - 1]);
    ROOTS.iter().any(|base| {
        let (folder, file) = (root().join(base).join(first), root().join(base).join(format!("{first}.rs")));
        let mut sources = Vec::new();
        if folder.is_dir() {
            walk(&folder, "rs", &mut sources);
        }
        sources.extend(file.is_file().then_some(file));
        sources.iter().any(|source| {
            source.file_stem().is_some_and(|stem| stem == last)
                || source.parent().is_some_and(|folder| folder.ends_with(last))
                || declares(&fs::read_to_string(source).unwrap(), last)
        })
    })
}

/// Whether a path as `tests/lan.rs`, or `tests/joining*`, names a file or folder of the repository.
fn is_here(path: &str) -> bool {
    match path.split_once('*') {
        None => root().join(path).exists(),
        Some((start, _)) => {
            let (folder, start) = start.rsplit_once('/').unwrap();
            let mut entries = fs::read_dir(root().join(folder)).unwrap();
            entries.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with(start))
        }
    }
}

#[test]
fn what_the_documents_name_is_there() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        for name in quoted(&text) {
            let is_path = ["src/", "tests/", "benches/", "docs/", "proto/", "packaging/"].iter().any(|folder| {
                name.starts_with(folder) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-./*".contains(c))
            });
            let parts: Vec<&str> = name.split("::").collect();
            let is_item =
                parts.len() > 1 && parts.iter().all(|part| is_name(part)) && parts[0] == parts[0].to_lowercase();
            let is_found =
                (!is_path || EXAMPLES.contains(&name) || is_here(name)) && (!is_item || leads_somewhere(&parts));
            if !is_found {
                missing.push(format!("{}: `{name}`", document.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(!leads_somewhere(&["store", "tests", "no_such_test_was_ever_written"]) && !is_here("tests/nothing.rs"));
}

#[test]
fn each_link_leads_to_a_file() {
    let mut dead = Vec::new();
    for (document, text) in documents() {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap();
            if !path.contains("://") && !path.is_empty() && !document.parent().unwrap().join(path).exists() {
                dead.push(format!("{}: {link}", document.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}
