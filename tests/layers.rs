//! The repository's own rules, as tests: which layer may name which, what no pure layer may name, and how files look.
//!
//! [`LAYERS`] is the whole table. The checker reads source text, not types: it drops comments, strings and `#[cfg(test)]` items, and
//! collects every path that starts in this crate or in another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A layer: the module that holds it, whether it is pure, and which others it may name. The longest fitting module counts.
struct Layer {
    module: &'static str,
    is_pure: bool,
    may: &'static [&'static str],
}

const fn pure(module: &'static str, may: &'static [&'static str]) -> Layer {
    Layer { module, is_pure: true, may }
}

const fn outer(module: &'static str, may: &'static [&'static str]) -> Layer {
    Layer { module, is_pure: false, may }
}

/// Every layer may name itself. `chain::GroupId` allows one item, `chain` allows all, `*` allows everything.
const LAYERS: &[Layer] = &[
    pure("limits", &[]),
    pure("cbor", &["limits"]),
    pure("hash", &[]),
    pure("unseen", &[]),
    pure("kv", &["limits"]),
    pure("identity", &["limits", "cbor", "kv"]),
    pure("package", &["limits", "cbor", "hash"]),
    pure("chain", &["limits", "cbor", "hash", "unseen", "kv", "identity", "package"]),
    pure("presence", &["limits", "cbor", "unseen", "identity", "chain"]),
    pure("delegation", &["limits", "cbor", "identity", "chain"]),
    pure("announcement", &["limits", "cbor", "identity", "package", "chain"]),
    pure("ticket", &["limits", "cbor", "identity", "chain"]),
    pure("join_request", &["limits", "cbor", "identity", "chain"]),
    pure(
        "wire",
        &[
            "limits",
            "cbor",
            "kv",
            "identity",
            "package",
            "chain",
            "delegation",
            "presence",
            "announcement",
            "join_request",
        ],
    ),
    pure("ledger", &["limits", "cbor", "kv", "identity", "package", "chain"]),
    pure(
        "node",
        &[
            "limits",
            "cbor",
            "kv",
            "identity",
            "package",
            "chain",
            "delegation",
            "presence",
            "announcement",
            "join_request",
            "wire",
            "ledger",
        ],
    ),
    outer("store", &["limits", "cbor", "kv", "identity", "package", "chain", "wire", "ledger", "node"]),
    outer("backup", &["limits", "cbor", "kv", "identity", "store", "datadir"]),
    outer("knowledge", &["limits", "cbor", "unseen", "identity"]),
    outer("embedder", &["limits", "config"]),
    outer("access", &["identity"]),
    outer("net", &["limits", "cbor", "identity", "access"]),
    outer("config", &["limits", "identity", "access"]),
    outer("telemetry", &["limits", "config"]),
    outer("metrics", &["limits"]),
    outer("datadir", &["limits", "identity"]),
    outer("doctor", &["limits", "api", "config", "datadir"]),
    outer(
        "api",
        &[
            "limits",
            "unseen",
            "identity",
            "chain::BlockId",
            "chain::ClaimId",
            "chain::GroupId",
            "chain::IdError",
            "chain::ObjectHash",
            "chain::Role",
            "chain::transaction::PolicyUpdate",
            "chain::transaction::Settlement",
            "chain::transaction::TaskId",
            "ledger",
            "node::engine",
            "presence::Status",
        ],
    ),
    outer(
        "api::server",
        &[
            "limits",
            "cbor",
            "kv",
            "identity",
            "chain",
            "ledger",
            "node",
            "presence",
            "announcement",
            "ticket",
            "join_request",
            "package",
            "wire",
            "store",
            "knowledge",
            "net",
            "runtime",
            "api",
            "datadir",
            "doctor",
            "backup",
            "metrics",
            "config::SettingRow",
            "web::session",
        ],
    ),
    outer(
        "mcp",
        &[
            "limits",
            "unseen",
            "identity",
            "api",
            "knowledge::ClaimKey",
            "knowledge::Document",
            "knowledge::Metadata",
            "knowledge::fence",
        ],
    ),
    outer("web", &["limits", "datadir", "api"]),
    outer("web::session", &["limits", "datadir"]),
    outer("cli", &["limits", "unseen", "identity", "api", "config", "datadir", "doctor", "telemetry", "backup", "mcp"]),
    outer(
        "cli::daemon",
        &["limits", "identity", "api", "config", "datadir", "telemetry", "store", "runtime", "mcp", "web"],
    ),
    outer("cli::backup", &["limits", "identity", "api", "datadir", "store", "backup"]),
    outer("testing", &["limits", "cbor", "kv", "identity", "chain", "wire", "ledger", "node"]),
    outer(
        "testing",
        &["limits", "cbor", "kv", "identity", "chain", "delegation", "presence", "wire", "ledger", "node"],
    ),
    outer("runtime", &["*"]),
    outer("bin", &["cli", "runtime", "config", "telemetry"]),
];

/// What no pure layer may name: a path, or one word wherever it stands.
const IMPURE: &[&str] = &[
    "tokio",
    "libp2p",
    "redb",
    "axum",
    "hyper",
    "utoipa",
    "prometheus_client",
    "getrandom",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "std::thread",
    "SystemTime",
    "Instant",
    "rand::rng",
    "rand::random",
    "thread_rng",
    "ThreadRng",
    "SysRng",
    "OsRng",
];

// ---- reading source -------------------------------------------------------------------------------------------

/// Words and punctuation, without comments, strings, characters and lifetimes. `::` is one token.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        match (at(i), at(i + 1)) {
            ('/', '/') => i = (i..chars.len()).find(|end| at(*end) == '\n').unwrap_or(chars.len()),
            ('/', '*') => i = after_block_comment(&chars, i),
            ('"', _) => i = after_string(&chars, i),
            ('\'', '\\') => i = (i + 3..chars.len()).find(|end| at(*end) == '\'').map_or(chars.len(), |end| end + 1),
            ('\'', _) if at(i + 2) == '\'' => i += 3,
            ('\'', _) => i = (i + 1..chars.len()).find(|end| !is_word(at(*end))).unwrap_or(chars.len()),
            (':', ':') => {
                tokens.push("::".to_owned());
                i += 2;
            }
            (c, _) if is_word(c) => {
                let end = (i..chars.len()).find(|end| !is_word(at(*end))).unwrap_or(chars.len());
                let word: String = chars[i..end].iter().collect();
                let hashes = (end..chars.len()).take_while(|hash| at(*hash) == '#').count();
                match word.as_str() {
                    "r" | "br" | "cr" if at(end + hashes) == '"' => {
                        i = after_raw_string(&chars, end + hashes + 1, hashes)
                    }
                    "r" if hashes == 1 => i = end + 1,
                    _ => {
                        tokens.push(word);
                        i = end;
                    }
                }
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                i += 1;
            }
        }
    }
    tokens
}

fn after_block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i < chars.len() {
        match (chars[i], chars.get(i + 1)) {
            ('/', Some('*')) => depth += 1,
            ('*', Some('/')) => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    i
}

fn after_string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

fn after_raw_string(chars: &[char], mut i: usize, hashes: usize) -> usize {
    let closes = |i: usize| chars[i] == '"' && (1..=hashes).all(|n| chars.get(i + n) == Some(&'#'));
    while i < chars.len() && !closes(i) {
        i += 1;
    }
    i + 1 + hashes
}

/// Drops each item under `#[cfg(test)]`, and gives the modules that were declared so in files of their own.
fn without_tests(tokens: &[String]) -> (Vec<&str>, Vec<&str>) {
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let (mut kept, mut modules) = (Vec::new(), Vec::new());
    let mut i = 0;
    while i < tokens.len() {
        let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
        if !tokens[i..].starts_with(&attribute) {
            kept.push(tokens[i]);
            i += 1;
            continue;
        }
        i += attribute.len();
        let (start, mut depth) = (i, 0);
        while i < tokens.len() {
            depth += i32::from(["{", "(", "["].contains(&tokens[i])) - i32::from(["}", ")", "]"].contains(&tokens[i]));
            i += 1;
            if depth == 0 && (tokens[i - 1] == ";" || tokens[i - 1] == "}") {
                break;
            }
        }
        if let [.., "mod", name, ";"] = tokens[start..i] {
            modules.push(name);
        }
    }
    (kept, modules)
}

/// All paths, those in braces written out.
fn paths(tokens: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let is_word = tokens[i].chars().all(|c| c.is_alphanumeric() || c == '_');
        let starts = is_word && (i == 0 || ![".", "::"].contains(&tokens[i - 1]));
        let starts = starts || (i >= 2 && is_word && tokens[i - 1] == "::" && !is_path_end(tokens[i - 2]));
        if starts {
            let mut prefix = Vec::new();
            i = tree(tokens, i, &mut prefix, &mut found);
        } else {
            i += 1;
        }
    }
    found
}

fn is_path_end(token: &str) -> bool {
    token == ">" || token.chars().all(|c| c.is_alphanumeric() || c == '_')
}

fn tree(tokens: &[&str], mut i: usize, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let depth = prefix.len();
    while let Some(token) = tokens.get(i) {
        match *token {
            "{" => {
                i += 1;
                while tokens.get(i).is_some_and(|token| *token != "}") {
                    i = if tokens[i] == "," { i + 1 } else { tree(tokens, i, prefix, found) };
                }
                prefix.truncate(depth);
                return i + 1;
            }
            word => prefix.push(word.to_owned()),
        }
        i += 1;
        match (tokens.get(i), tokens.get(i + 1)) {
            (Some(&"::"), Some(next)) if *next != "<" => i += 1,
            _ => break,
        }
    }
    found.push(prefix.clone());
    prefix.truncate(depth);
    if tokens.get(i) == Some(&"as") { i + 2 } else { i }
}

// ---- the checker ----------------------------------------------------------------------------------------------

/// `chain::link` of `src/chain/link.rs`, `bin` of `src/bin/lbm.rs`, nothing of `src/lib.rs`.
fn module_of(file: &str) -> Vec<String> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut module: Vec<String> = path.split('/').map(str::to_owned).collect();
    if module.first().is_some_and(|first| first == "bin") {
        module.truncate(1);
    }
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn covers(prefix: &str, path: &[String]) -> bool {
    prefix == "*" || prefix.split("::").zip(path).filter(|(a, b)| a == b).count() == prefix.split("::").count()
}

fn layer_of(module: &[String]) -> Option<&'static Layer> {
    LAYERS.iter().filter(|layer| covers(layer.module, module)).max_by_key(|layer| layer.module.len())
}

/// Where a path leads in this crate; none where it leads elsewhere.
fn in_crate(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let first = path.first()?.as_str();
    if first == "crate" || (first == "lbm" && module.first().is_some_and(|layer| layer == "bin")) {
        return Some(path[1..].to_vec());
    }
    let supers = path.iter().take_while(|word| *word == "super").count();
    let ups = module.len().checked_sub(supers)?;
    (supers > 0).then(|| module[..ups].iter().chain(&path[supers..]).cloned().collect())
}

/// What is wrong with one file. `source` is its text.
fn faults(file: &str, source: &str) -> Vec<String> {
    let module = module_of(file);
    if module.is_empty() {
        return Vec::new();
    }
    let Some(layer) = layer_of(&module) else { return vec![format!("{file}: no layer of the table holds it")] };
    let tokens = tokens(source);
    let (tokens, _) = without_tests(&tokens);
    let mut faults = Vec::new();
    for path in paths(&tokens) {
        let full = path.join("::");
        if let Some(target) = in_crate(&module, &path)
            && let Some(first) = target.first()
            && first != "self"
            && first != layer.module.split("::").next().unwrap_or_default()
            && !layer.may.iter().any(|may| covers(may, &target))
        {
            faults.push(format!("{file}: {} may not name {full}", layer.module));
        }
        let is_impure = |name: &&&str| {
            if name.contains("::") { covers(name, &path) } else { path.iter().any(|word| word == *name) }
        };
        if layer.is_pure && IMPURE.iter().any(|name| is_impure(&name)) {
            faults.push(format!("{file}: {} is pure and may not name {full}", layer.module));
        }
    }
    faults
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { walk(&path, found) } else { found.push(path) }
    }
}

/// The files under `folder` of the repository: their names from its root, and their text.
fn files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().filter_map(|path| Some((name(path), fs::read_to_string(path).ok()?))).collect()
}

/// The sources but for those of `#[cfg(test)]` modules.
fn sources() -> Vec<(String, String)> {
    let all: Vec<_> = files("src").into_iter().filter(|(name, _)| name.ends_with(".rs")).collect();
    let mut tests = BTreeSet::new();
    for (name, source) in &all {
        let tokens = tokens(source);
        for test in without_tests(&tokens).1 {
            tests.insert([module_of(name), vec![test.to_owned()]].concat());
        }
    }
    all.into_iter().filter(|(name, _)| !tests.iter().any(|test| module_of(name).starts_with(test))).collect()
}

// ---- the rules ------------------------------------------------------------------------------------------------

#[test]
fn layers_name_only_what_lies_below_them() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} sources were found", sources.len());
    let faults: Vec<String> = sources.iter().flat_map(|(name, source)| faults(name, source)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_checker_sees_each_kind_of_fault() {
    for (file, source) in [
        ("src/chain/link.rs", "use crate::ledger::state;"),
        ("src/chain/link.rs", "use crate::{kv::Read, ledger};"),
        ("src/chain/link.rs", "use crate::{kv::{Read, Table}, node::{engine::{self, Engine}, io}};"),
        ("src/chain/link.rs", "fn f() { let x = crate::node::Engine::default(); }"),
        ("src/chain/link.rs", "use super::super::ledger::state;"),
        ("src/chain/mod.rs", "use super::ledger::state;"),
        ("src/wire/mod.rs", "fn f(x: &crate::ledger::Outcome) {}"),
        ("src/ledger/fold.rs", "type T = Vec<crate::wire::Batch>;"),
        ("src/net/codec.rs", "use crate::chain::GroupId;"),
        ("src/api/types.rs", "use crate::chain::{GroupId, Linked};"),
        ("src/cli/init.rs", "use crate::runtime::run;"),
        ("src/store/mod.rs", "use crate::runtime;"),
        ("src/bin/lbm.rs", "use lbm::store::Store;"),
        ("src/oddments.rs", ""),
        ("src/node/machine.rs", "use tokio::sync::mpsc;"),
        ("src/node/machine.rs", "async fn f() { ::tokio::task::yield_now().await }"),
        ("src/kv.rs", "use std::{fmt, fs};"),
        ("src/kv.rs", "use std::{collections::BTreeMap, time::{Duration, SystemTime}};"),
        ("src/limits.rs", "fn f() -> bool { std::fs::exists(\"x\").is_ok() }"),
        ("src/identity/id.rs", "fn f() { getrandom::fill(&mut [0]); }"),
        ("src/node/group.rs", "fn f() -> u8 { rand::rng().random() }"),
        ("src/node/group.rs", "use rand::{Rng, rngs::SysRng};"),
        ("src/node/group.rs", "use std::time; fn f() { time::Instant::now(); }"),
        ("src/cbor.rs", "#[cfg(test)] mod tests { fn f() {} } use std::net::TcpStream;"),
        ("src/cbor.rs", "const A: char = '\"'; use redb::Database; const B: &str = \"\";"),
        ("src/cbor.rs", "fn f<'a>(x: &'a str) { libp2p::PeerId::random(); } const C: char = '\\'';"),
        ("src/cbor.rs", "const A: &str = r#\"\"quoted\"\"#; use std::fs::File;"),
    ] {
        assert!(!faults(file, source).is_empty(), "nothing was seen in {file}: {source}");
    }
}

#[test]
fn the_checker_lets_pass_what_is_allowed() {
    for (file, source) in [
        (
            "src/chain/link.rs",
            "use crate::{cbor, kv::{Read, Table}, limits}; use super::rows; use super::super::identity::Identity;",
        ),
        (
            "src/chain/link.rs",
            "// use crate::ledger;\n/* use tokio; /* nested */ std::fs */ const A: &str = \"crate::ledger\";",
        ),
        (
            "src/chain/link.rs",
            "#[cfg(test)] mod tests { use crate::ledger; fn f() { std::fs::read(\"x\"); } } pub(crate) use f;",
        ),
        ("src/chain/link.rs", "#[cfg(test)] use crate::node::Engine; #[cfg(test)] #[path = \"x.rs\"] mod tests;"),
        ("src/node/machine.rs", "use rand::{Rng, RngExt}; fn f(rng: &mut impl Rng) -> u8 { rng.random() }"),
        ("src/node/machine.rs", "use std::{fmt, io}; use std::time::Duration; fn f(tokio_like: u8) {}"),
        (
            "src/api/types.rs",
            "use crate::chain::{GroupId, ClaimId}; use crate::node::engine::Written; use tokio::net::UnixStream;",
        ),
        ("src/cli/daemon.rs", "use crate::runtime::run;"),
        ("src/bin/lbm.rs", "fn main() { lbm::cli::main() }"),
        ("src/runtime/mod.rs", "use crate::{store, net, node};"),
    ] {
        let faults = faults(file, source);
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}

#[test]
fn every_source_says_what_it_is_and_stays_short() {
    for (name, source) in files("src").into_iter().filter(|(name, _)| name.ends_with(".rs")) {
        let lines = source.lines().count();
        assert!(lines <= 600, "{name} has {lines} lines: 600 are allowed");
    }
    for (name, source) in sources() {
        assert!(source.starts_with("//! "), "{name} does not open with a //! that says what it owns");
    }
}

#[test]
fn one_file_alone_has_unsafe_code_and_one_line_of_it() {
    let with_unsafe: Vec<(String, usize)> = files("src")
        .into_iter()
        .filter(|(name, _)| name.ends_with(".rs"))
        .map(|(name, source)| (name, tokens(&source).iter().filter(|token| *token == "unsafe").count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(with_unsafe, [("src/store/map.rs".to_owned(), 1)]);
    let allows = |source: &str| tokens(source).iter().filter(|token| *token == "unsafe_code").count();
    let allowing = files("src").into_iter().filter(|(_, source)| allows(source) > 0).map(|(name, _)| name);
    assert_eq!(allowing.collect::<Vec<_>>(), ["src/store/map.rs"]);
}

/// Folders of the machine that this was written on, and hosts that packages come from: neither means anything elsewhere.
#[test]
fn no_file_names_a_machine_or_a_registry() {
    let machine = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let hosts = ["registry", "crates", "artifact", "pypi", "npm", "mirror", "nexus"];
    let folders = ["src", "tests", "benches", "examples", "docs", "proto", ".ci", "scripts"];
    let mut texts: Vec<_> = folders.iter().flat_map(|folder| files(folder)).collect();
    for name in ["Cargo.toml", "README.md", "CHANGELOG.md", "ARCHITECTURE.md"] {
        texts.extend(fs::read_to_string(root().join(name)).ok().map(|text| (name.to_owned(), text)));
    }
    for (name, text) in texts {
        for (number, line) in (1..).zip(text.lines()) {
            assert!(!machine.iter().any(|path| line.contains(path)), "{name}:{number} names a folder of one machine");
            for host in line.split("://").skip(1) {
                let host = host.split(['/', ' ', '"', '`', ')', '>']).next().unwrap_or_default();
                assert!(!hosts.iter().any(|word| host.contains(word)), "{name}:{number} names the registry {host}");
            }
        }
    }
}

#[test]
fn every_limit_is_explained_and_used() {
    let limits: Vec<_> = sources().into_iter().filter(|(name, _)| name.starts_with("src/limits")).collect();
    let mut before = "";
    let mut names = Vec::new();
    for line in limits.iter().flat_map(|(_, text)| text.lines()) {
        if let Some(rest) = line.strip_prefix("pub const ") {
            let name = rest.split(':').next().unwrap();
            assert!(before.starts_with("///"), "{name} has no doc comment");
            names.push(name);
        }
        before = line;
    }
    assert!(names.len() > 30, "only {} limits were found", names.len());
    let used: BTreeSet<String> = sources()
        .iter()
        .filter(|(name, _)| !name.starts_with("src/limits"))
        .flat_map(|(_, source)| {
            let tokens = tokens(source);
            without_tests(&tokens).0.into_iter().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let idle = names.iter().filter(|name| !used.contains(**name));
    let idle: Vec<_> = idle.collect();
    assert!(idle.is_empty(), "used nowhere, and a bound that nothing enforces is none: {idle:?}");
}
