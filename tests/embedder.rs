//! Embedders: what an endpoint may answer and what becomes of it, a local folder, and real daemons whose endpoint is killed, slow or wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;
#[path = "common/embeddings.rs"]
mod embeddings;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Daemon, PATIENCE, wait_until};
use embeddings::{DIMENSIONS, Endpoint, Mode, vector};
use lbm::config::Prefixes;
use lbm::embedder::folder::Folder;
use lbm::embedder::null::{Null, SAME, UNRELATED};
use lbm::embedder::{EmbedError, Embedder, OpenError, Side, Verdict, endpoint};
use lbm::limits;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn client(endpoint: &Endpoint) -> endpoint::Endpoint {
    let url = format!("{}/embeddings", endpoint.url());
    endpoint::Endpoint::new(&url, "test-model", &Prefixes::default(), None, false)
}

fn embed(endpoint: &Endpoint, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
    client(endpoint).embed(Side::Document, texts, SOON)
}

// ---- the endpoint ---------------------------------------------------------------------------------------------

#[test]
fn each_text_gets_its_own_vector_however_the_endpoint_writes_them() {
    let endpoint = Endpoint::start();
    let texts = ["a red fox", "two of them", "and a third"];
    for mode in [Mode::Serve, Mode::Reversed, Mode::Unnumbered, Mode::Base64] {
        endpoint.set(mode.clone());
        let vectors = embed(&endpoint, &texts).unwrap();
        let wanted = texts.map(|text| vector(text, DIMENSIONS));
        let same = vectors.iter().flatten().zip(wanted.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(same && vectors.len() == 3, "{mode:?}");
    }
}

#[test]
fn each_fault_has_its_verdict_and_says_what_to_do() {
    let endpoint = Endpoint::start();
    let huge = format!("{{\"data\": [{}]}}", " ".repeat(usize::try_from(limits::EMBED_ANSWER_BYTES).unwrap()));
    let loaded = json!({"error": {"message": "model \u{7}not found\nsecond line", "type": "x"}}).to_string();
    for (mode, verdict, words) in [
        (Mode::Answer(404, loaded), Verdict::Operator, "404: model  not found second line"),
        (Mode::Answer(401, "{\"error\":\"no key\"}".into()), Verdict::Operator, "401: no key"),
        (Mode::Answer(503, "<html>loading".into()), Verdict::Wait, "503: <html>loading"),
        (Mode::Answer(429, "x".repeat(5_000)), Verdict::Wait, "429: xxx"),
        (Mode::Answer(500, String::new()), Verdict::Shorten, "500"),
        (Mode::Answer(200, "hello".into()), Verdict::Operator, "no list of embeddings"),
        (Mode::Answer(200, "{\"data\": {}}".into()), Verdict::Operator, "no list of embeddings"),
        (
            Mode::Answer(200, "{\"data\": [{\"index\": 7, \"embedding\": [1]}]}".into()),
            Verdict::Operator,
            "for one text",
        ),
        (Mode::Answer(200, "{\"data\": [{\"embedding\": \"AAA=\"}]}".into()), Verdict::Operator, "cut off"),
        (Mode::Answer(200, "{\"data\": [{\"embedding\": [1e39]}]}".into()), Verdict::Shorten, "infinite or none"),
        (Mode::Answer(200, "{\"data\": [{\"embedding\": []}]}".into()), Verdict::Operator, "0 dimensions"),
        (Mode::Answer(200, huge), Verdict::Operator, "bytes"),
        (Mode::Redirect, Verdict::Operator, "redirects"),
        (Mode::Fewer, Verdict::Operator, "1 texts were sent and 0"),
        (Mode::Nan, Verdict::Shorten, "infinite or none"),
        (Mode::Zeros, Verdict::Shorten, "all zeros"),
        (Mode::Dimensions(limits::EMBED_DIMENSIONS + 1), Verdict::Operator, "4097 dimensions"),
    ] {
        endpoint.set(mode);
        let error = embed(&endpoint, &["a text"]).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.verdict(), verdict, "{error}");
        assert!(error.to_string().len() < 500 && !error.remedy().is_empty(), "{error}");
    }
    endpoint.set(Mode::Dimensions(limits::EMBED_DIMENSIONS));
    assert_eq!(embed(&endpoint, &["a text"]).unwrap()[0].len(), limits::EMBED_DIMENSIONS);
}

#[test]
fn a_redirect_is_not_followed() {
    let endpoint = Endpoint::start();
    endpoint.set(Mode::Redirect);
    assert!(matches!(embed(&endpoint, &["a text"]), Err(EmbedError::Redirect { .. })));
    assert_eq!(endpoint.asked(|asked| asked.requests), 1);
}

#[test]
fn a_model_that_changes_its_dimensions_is_noticed() {
    let endpoint = Endpoint::start();
    let client = client(&endpoint);
    client.embed(Side::Query, &["a"], SOON).unwrap();
    endpoint.set(Mode::Dimensions(DIMENSIONS + 1));
    let error = client.embed(Side::Query, &["a"], SOON).unwrap_err();
    assert_eq!(error, EmbedError::Dimensions { expected: DIMENSIONS, got: DIMENSIONS + 1 });
}

#[test]
fn who_does_not_answer_is_not_waited_for() {
    let mut endpoint = Endpoint::start();
    endpoint.set(Mode::Slow(PATIENCE));
    let started = Instant::now();
    let late = client(&endpoint).embed(Side::Query, &["a"], Duration::from_millis(200));
    assert!(matches!(late, Err(EmbedError::Timeout { ms: 200, .. })), "{late:?}");
    assert!(started.elapsed() < SOON);
    endpoint.stop();
    let gone = embed(&endpoint, &["a"]).unwrap_err();
    assert!(matches!(gone, EmbedError::Unreachable { .. }) && gone.verdict() == Verdict::Wait, "{gone}");
}

#[test]
fn prefixes_stand_before_each_side_and_make_another_model() {
    let endpoint = Endpoint::start();
    let prefixes = Prefixes { query: "query: ".into(), document: "passage: ".into() };
    let url = format!("{}/embeddings", endpoint.url());
    let with = endpoint::Endpoint::new(&url, "test-model", &prefixes, None, false);
    with.embed(Side::Query, &["q"], SOON).unwrap();
    with.embed(Side::Document, &["d"], SOON).unwrap();
    let texts = endpoint.asked(|asked| asked.served.keys().cloned().collect::<Vec<_>>());
    assert_eq!(texts, ["passage: d", "query: q"]);
    assert_ne!(with.id(), client(&endpoint).id());
}

#[test]
fn a_name_that_leads_elsewhere_is_not_called() {
    // Not `localhost`, and no address of this machine: refused before a connection is tried.
    let away = endpoint::Endpoint::new("http://192.0.2.1:9/v1/embeddings", "m", &Prefixes::default(), None, false);
    let started = Instant::now();
    assert!(matches!(away.embed(Side::Query, &["a"], SOON), Err(EmbedError::Unreachable { .. })));
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[test]
fn a_key_comes_from_a_file_that_nobody_else_may_read() {
    let endpoint = Endpoint::start();
    let folder = common::private_folder();
    let path = folder.path().join("key");
    std::fs::write(&path, "sk-secret\n").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
    let open = || endpoint::read_key(&path);
    assert!(open().unwrap_err().to_string().contains("chmod 600"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let url = format!("{}/embeddings", endpoint.url());
    let with = endpoint::Endpoint::new(&url, "m", &Prefixes::default(), Some(open().unwrap()), false);
    with.embed(Side::Query, &["a"], SOON).unwrap();
    assert_eq!(endpoint.asked(|asked| asked.authorization.clone()).as_deref(), Some("Bearer sk-secret"));
    for bad in ["", "two words", "a\nb"] {
        std::fs::write(&path, bad).unwrap();
        let error = open().unwrap_err().to_string();
        assert!(error.contains("one key on one line") && (bad.is_empty() || !error.contains(bad)), "{error}");
    }
}

// ---- a local folder -------------------------------------------------------------------------------------------

/// A folder of model2vec: a vocabulary of words, and a row of numbers for each.
fn model2vec(folder: &Path, words: &[(&str, impl AsRef<[f32]>)]) {
    let vocabulary: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, (word, _))| ((*word).to_owned(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    let cells: Vec<u8> = words.iter().flat_map(|(_, row)| row.as_ref()).flat_map(|cell| cell.to_le_bytes()).collect();
    let header = json!({"embeddings": {"dtype": "F32", "shape": [words.len(), words[0].1.as_ref().len()], "data_offsets": [0, cells.len()]}});
    let header = header.to_string();
    let mut table = (header.len() as u64).to_le_bytes().to_vec();
    table.extend_from_slice(header.as_bytes());
    table.extend_from_slice(&cells);
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("model.safetensors"), table).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(folder.join("config.json"), "{\"normalize\": true}").unwrap();
}

const WORDS: [(&str, [f32; 3]); 5] = [
    ("[UNK]", [9.0, 9.0, 9.0]),
    ("car", [1.0, 0.0, 0.0]),
    ("automobile", [0.9, 0.1, 0.0]),
    ("bread", [0.0, 1.0, 0.0]),
    ("oven", [0.0, 0.8, 0.2]),
];

#[test]
fn a_folder_of_model2vec_is_the_mean_of_its_rows() {
    let folder = common::private_folder();
    let path = folder.path().join("tiny");
    model2vec(&path, &WORDS);
    let model = Folder::open(&path, &Prefixes::default()).unwrap();
    assert_eq!(model.name(), "tiny");
    let made = model.embed(Side::Document, &["Car bread", "automobile"], SOON).unwrap();
    let near = |vector: &[f32], wanted: [f32; 3]| vector.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(near(&made[0], [0.5_f32.sqrt(), 0.5_f32.sqrt(), 0.0]) && near(&made[1], [0.9939, 0.1104, 0.0]), "{made:?}");
    let unknown = model.embed(Side::Document, &["unknown"], SOON);
    assert_eq!(unknown, Err(EmbedError::Zero), "a text of unknown words points nowhere");
    let same = Folder::open(&path, &Prefixes::default()).unwrap().id();
    assert_eq!(model.id(), same);
    model2vec(&path, &WORDS[..4]);
    assert_ne!(Folder::open(&path, &Prefixes::default()).unwrap().id(), same);
}

#[test]
fn a_folder_without_a_model_says_what_is_missing() {
    let folder = common::private_folder();
    let open = || Folder::open(folder.path(), &Prefixes::default()).map(|_| ()).unwrap_err();
    let OpenError::File { setting, path, .. } = open() else { panic!("{}", open()) };
    assert!(setting == "embedder_folder" && path.ends_with("model.safetensors"));
    model2vec(folder.path(), &WORDS);
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let whole = std::fs::read(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name), &whole[..whole.len() / 2]).unwrap();
        assert!(matches!(open(), OpenError::Model { .. }), "{name}");
        std::fs::write(folder.path().join(name), whole).unwrap();
    }
}

#[test]
fn a_model_says_itself_how_close_unrelated_texts_are() {
    let endpoint = Endpoint::start();
    let null = Null::measure(&client(&endpoint), 5, SOON).unwrap();
    assert!(null.mean.abs() < 0.5 && null.deviation > 0.01 && null.dimensions == DIMENSIONS, "{null:?}");
    assert!(endpoint.asked(|asked| asked.largest) <= 5);
}

#[test]
fn a_model_that_tells_nothing_apart_is_refused() {
    let endpoint = Endpoint::start();
    let measure = || Null::measure(&client(&endpoint), 32, SOON);
    endpoint.set(Mode::Zeros);
    assert_eq!(measure(), Err(EmbedError::Zero));
    endpoint.set(Mode::Constant);
    assert_eq!(measure(), Err(EmbedError::Alike));
    endpoint.set(Mode::Random);
    for _ in 0..20 {
        assert!(matches!(measure(), Err(EmbedError::Blind { right: 0..6, of: 12 })), "{:?}", measure());
    }
}

// ---- daemons --------------------------------------------------------------------------------------------------

/// Arguments of a daemon that looks for nobody.
const ALONE: [&str; 3] = ["--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0"];

/// A daemon whose claims an endpoint embeds, and a group.
fn embedding_daemon(name: &str, endpoint: &Endpoint) -> (Daemon, String) {
    let mut daemon = Daemon::prepared(name);
    use_model(&mut daemon, endpoint, "test-model");
    let group = daemon.found("knowledge");
    (daemon, group)
}

fn use_model(daemon: &mut Daemon, endpoint: &Endpoint, model: &str) {
    let url = endpoint.url();
    daemon.args(&[&ALONE[..], &["--embedder-url", &url, "--embedder-model", model]].concat());
    daemon.restart();
}

fn embedder(daemon: &Daemon) -> Value {
    daemon.ctl(&["status"]).done()["embedder"].clone()
}

fn wait_for_vectors(daemon: &Daemon, claims: u64) {
    wait_until(PATIENCE, &format!("{claims} claims are embedded"), || {
        let status = embedder(daemon);
        status["state"] == "ready" && status["embedded"] == claims
    });
}

fn publish_many(daemon: &Daemon, group: &str, count: usize) {
    let lines: String =
        (0..count).map(|n| json!({"text": format!("claim number {n} of many")}).to_string() + "\n").collect();
    daemon.ctl_with(&["claim", "publish", "--group", group, "--file", "-"], lines.as_bytes()).ok();
}

#[test]
fn a_claim_is_found_by_what_only_the_embedder_knows() {
    let endpoint = Endpoint::start();
    let (daemon, group) = embedding_daemon("meaning", &endpoint);
    let wanted = daemon.publish(&group, "quux garage");
    daemon.publish(&group, "bread wants a hot oven");
    wait_for_vectors(&daemon, 2);
    let context = daemon.ctl(&["context", "florp", "--group", &group]).done();
    assert_eq!(context["claim_hashes"], json!([wanted]), "{context}");
    assert_eq!(context["embedder"], json!({"model": "test-model", "embedded": 2, "claims": 2, "why_not": null}));
    let health = daemon.ctl(&["health"]).done();
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "embedder").unwrap().clone();
    assert_eq!((&check["ok"], &check["detail"]), (&json!(true), &json!("test-model: 2 of 2 claims")));
    // A retracted one is gone at once, vector or not.
    daemon.ctl(&["claim", "retract", "--group", &group, &wanted]).ok();
    assert_eq!(daemon.ctl(&["context", "florp", "--group", &group]).done()["claim_hashes"], json!([]));
}

#[test]
fn kill_9_while_embedding_loses_nothing_and_nothing_is_embedded_twice() {
    const CLAIMS: usize = 600;
    let endpoint = Endpoint::start();
    let (mut daemon, group) = embedding_daemon("killed", &endpoint);
    endpoint.set(Mode::Slow(Duration::from_millis(30)));
    publish_many(&daemon, &group, CLAIMS);
    let mut killed_at = Vec::new();
    for part in 1..=3 {
        wait_until(PATIENCE, "it is at work", || endpoint.served("claim number").len() > part * CLAIMS / 5);
        daemon.kill();
        killed_at.push(endpoint.served("claim number").len());
        daemon.restart();
    }
    assert!(killed_at.iter().all(|served| *served < CLAIMS), "it was done before it was killed: {killed_at:?}");
    wait_for_vectors(&daemon, CLAIMS as u64);
    let served = endpoint.served("claim number");
    assert_eq!(served.len(), CLAIMS);
    // What was under way at a kill had not been answered, or not been kept: one batch a kill, and nothing else.
    let again: usize = served.values().map(|count| count - 1).sum();
    assert!(again <= 3 * limits::EMBED_BATCH as usize, "{again} texts were embedded again");
    // Another start has nothing to do.
    daemon.kill();
    daemon.restart();
    wait_for_vectors(&daemon, CLAIMS as u64);
    assert_eq!(endpoint.served("claim number"), served);
}

#[test]
fn an_endpoint_that_goes_away_and_comes_back() {
    let mut endpoint = Endpoint::start();
    let (daemon, group) = embedding_daemon("alone", &endpoint);
    let first = daemon.publish(&group, "the red fox jumps");
    wait_for_vectors(&daemon, 1);
    endpoint.stop();
    // Found by its words, at once, and the answer says who did not help.
    let late = daemon.publish(&group, "a green frog swims");
    let context = daemon.ctl(&["context", "green frog", "--group", &group]).done();
    assert_eq!(context["claim_hashes"], json!([late]), "{context}");
    assert!(context["embedder"]["why_not"].as_str().unwrap().contains("cannot be reached"), "{context}");
    wait_until(PATIENCE, "health says so", || {
        let health = daemon.ctl(&["health"]).json();
        let checks = health["checks"].as_array().unwrap().clone();
        checks.iter().any(|check| check["name"] == "embedder" && check["ok"] == false && check["remedy"].is_string())
    });
    assert_eq!(embedder(&daemon)["state"], "down");
    endpoint.restart();
    wait_for_vectors(&daemon, 2);
    let context = daemon.ctl(&["context", "fox", "--group", &group]).done();
    assert_eq!((&context["claim_hashes"], &context["embedder"]["why_not"]), (&json!([first]), &Value::Null));
}

#[test]
fn a_broken_model_does_not_serve_and_everybody_says_so() {
    let endpoint = Endpoint::start();
    endpoint.set(Mode::Random);
    let (mut daemon, group) = embedding_daemon("broken", &endpoint);
    let claim = daemon.publish(&group, "the red fox jumps");
    daemon.publish(&group, "bread wants a hot oven");
    for (mode, words) in
        [(Mode::Random, "as by chance"), (Mode::Constant, "the same vector"), (Mode::Zeros, "all zeros")]
    {
        endpoint.set(mode);
        daemon.kill();
        daemon.restart();
        wait_until(PATIENCE, words, || {
            let status = embedder(&daemon);
            status["state"] == "down" && status["detail"].as_str().unwrap().contains(words) && status["claims"] == 2
        });
        let health = daemon.ctl(&["health"]).json();
        let checks = health["checks"].as_array().unwrap().clone();
        let check = checks.iter().find(|check| check["name"] == "embedder").unwrap();
        assert!(check["ok"] == false && check["detail"].as_str().unwrap().contains(words), "{check}");
        let context = daemon.ctl(&["context", "red fox", "--group", &group]).done();
        assert_eq!(context["claim_hashes"], json!([claim]), "{context}");
        assert!(context["embedder"]["why_not"].as_str().unwrap().contains(words), "{context}");
    }
    assert_eq!(endpoint.served("fox").len(), 0, "no claim is embedded by it");
    // It is asked again after a while, and serves once it works.
    endpoint.set(Mode::Serve);
    wait_for_vectors(&daemon, 2);
}

#[test]
fn a_slow_endpoint_holds_up_no_query_and_a_stop_does_not_wait_for_it() {
    let endpoint = Endpoint::start();
    let (mut daemon, group) = embedding_daemon("slow", &endpoint);
    let claim = daemon.publish(&group, "the red fox jumps");
    wait_for_vectors(&daemon, 1);
    endpoint.set(Mode::Slow(PATIENCE));
    daemon.publish(&group, "a green frog swims");
    let started = Instant::now();
    let context = daemon.ctl(&["context", "red fox", "--group", &group]).done();
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(context["claim_hashes"], json!([claim]));
    assert!(context["embedder"]["why_not"].is_string(), "{context}");
    let (code, took) = daemon.stop();
    assert_eq!(code, Some(0));
    assert!(took < PATIENCE, "{took:?}");
}

#[test]
fn a_text_that_is_refused_is_shortened_or_left_out_and_the_others_go_on() {
    let endpoint = Endpoint::start();
    endpoint.set(Mode::AtMost(1_000));
    let (daemon, group) = embedding_daemon("long", &endpoint);
    for n in 0..5 {
        daemon.publish(&group, &format!("a short claim {n}"));
    }
    daemon.publish(&group, &"a long tale ".repeat(300));
    wait_for_vectors(&daemon, 6);
    assert!(endpoint.served("long tale").keys().all(|text| text.len() <= 1_000));
    endpoint.set(Mode::Not("poison"));
    daemon.publish(&group, "poison for the model");
    for n in 0..5 {
        daemon.publish(&group, &format!("another short claim {n}"));
    }
    wait_until(PATIENCE, "all but one are embedded", || {
        let status = embedder(&daemon);
        status["embedded"] == 11 && status["unable"] == 1 && status["state"] == "ready"
    });
    // It has no vector and is found as without an embedder.
    let context = daemon.ctl(&["context", "poison", "--group", &group]).done();
    assert_eq!(context["items"].as_array().unwrap().len(), 1, "{context}");
}

#[test]
fn another_model_under_the_same_name_spoils_nothing() {
    let endpoint = Endpoint::start();
    let (mut daemon, group) = embedding_daemon("changed", &endpoint);
    let claim = daemon.publish(&group, "the red fox jumps");
    wait_for_vectors(&daemon, 1);
    daemon.kill();
    endpoint.set(Mode::Dimensions(DIMENSIONS / 2));
    daemon.restart();
    wait_until(PATIENCE, "it says so", || {
        let status = embedder(&daemon);
        status["state"] == "down" && status["detail"].as_str().unwrap().contains("dimensions")
    });
    let context = daemon.ctl(&["context", "red fox", "--group", &group]).done();
    assert_eq!(context["claim_hashes"], json!([claim]));
    assert!(context["embedder"]["why_not"].as_str().unwrap().contains("dimensions"), "{context}");
}

#[test]
fn vectors_of_another_model_are_its_own_and_go_with_the_group() {
    let endpoint = Endpoint::start();
    let (mut daemon, group) = embedding_daemon("models", &endpoint);
    daemon.publish(&group, "the red fox jumps");
    wait_for_vectors(&daemon, 1);
    let files = |daemon: &Daemon| {
        let folder = std::fs::read_dir(daemon.data.join("vectors").join(&group));
        folder.map_or(0, |entries| entries.count())
    };
    for (model, kept) in [("second", 2), ("third", 2), ("second", 2)] {
        daemon.kill();
        use_model(&mut daemon, &endpoint, model);
        wait_for_vectors(&daemon, 1);
        assert_eq!(embedder(&daemon)["model"], model);
        wait_until(PATIENCE, "the oldest model's are removed", || files(&daemon) == kept);
    }
    // Once for each model; going back to the second cost nothing.
    assert_eq!(endpoint.served("red fox").values().sum::<usize>(), 3);
    daemon.ctl(&["group", "leave", &group]).ok();
    wait_until(PATIENCE, "its vectors are gone", || !common::is_there(daemon.data.join("vectors").join(&group)));
}

#[test]
fn a_daemon_with_a_folder_of_model2vec() {
    let models = common::private_folder();
    let path = models.path().join("tiny");
    // Words enough for the sentences by which a model is measured.
    let sentences = UNRELATED.into_iter().chain(SAME.map(|(_, text)| text)).chain(["[UNK]", "a car"]);
    let words: BTreeSet<String> = sentences
        .flat_map(|text| text.split_whitespace())
        .map(|word| word.trim_end_matches(['.', ',', ':']).to_owned())
        .map(|word| if word == "[UNK]" { word } else { word.to_lowercase() })
        .collect();
    let table: Vec<(&str, Vec<f32>)> = words.iter().map(|word| (word.as_str(), vector(word, 64))).collect();
    model2vec(&path, &table);
    let mut daemon = Daemon::prepared("static");
    daemon.args(&[&ALONE[..], &["--embedder-folder", path.to_str().unwrap()]].concat());
    daemon.restart();
    let group = daemon.found("knowledge");
    daemon.publish(&group, "a car");
    wait_for_vectors(&daemon, 1);
    assert_eq!(embedder(&daemon)["model"], "tiny");
}

#[test]
fn an_endpoint_elsewhere_must_be_allowed_and_no_key_is_shown() {
    let mut daemon = Daemon::prepared("private");
    daemon.args(&["--embedder-url", "http://192.0.2.7:11434", "--embedder-model", "m"]);
    let answer = daemon.fails_to_start();
    assert!(answer.stderr.contains("embedder_allow_remote"), "{answer:?}");
    let key = daemon.data.join("endpoint.key");
    std::fs::write(&key, "sk-very-secret").unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let settings =
        "embedder_url = \"http://127.0.0.1:9\"\nembedder_model = \"m\"\nembedder_key_file = \"endpoint.key\"\n";
    std::fs::write(daemon.data.join("config.toml"), settings).unwrap();
    let shown = common::lbm(&["config", "--json", "--data", daemon.data.to_str().unwrap()]);
    assert!(shown.stdout.contains("endpoint.key") && !shown.stdout.contains("very-secret"), "{shown:?}");
    daemon.args(&[&ALONE[..], &["--log-level", "trace"]].concat());
    daemon.restart();
    let group = daemon.found("knowledge");
    daemon.publish(&group, "a claim");
    wait_until(PATIENCE, "the endpoint was tried", || embedder(&daemon)["state"] == "down");
    assert!(!daemon.said().contains("very-secret"));
}
