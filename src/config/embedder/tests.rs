//! What an address may be, and what settings go together.

use std::collections::HashMap;
use std::ffi::OsString;

use super::*;
use crate::config::{Flags, Origin, Settings};

fn load(file: &str, variables: &[(&str, &str)], flags: EmbedderFlags) -> Result<Settings, ConfigError> {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("config.toml"), file).unwrap();
    let variables: HashMap<_, _> = variables.iter().copied().collect();
    let flags = Flags { embedder: flags, ..Flags::default() };
    Settings::load(data.path(), flags, &|name| variables.get(name).map(OsString::from))
}

fn refused(file: &str) -> String {
    load(file, &[], EmbedderFlags::default()).unwrap_err().to_string()
}

#[test]
fn an_address_is_made_whole() {
    for (given, whole, here) in [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/embeddings", true),
        ("http://localhost:1234/v1/", "http://localhost:1234/v1/embeddings", true),
        ("http://[::1]:8080/v1/embeddings", "http://[::1]:8080/v1/embeddings", true),
        ("https://127.9.9.9/x", "https://127.9.9.9/x/embeddings", true),
        ("https://api.example.com/v1", "https://api.example.com/v1/embeddings", false),
        ("http://localhost.example.com", "http://localhost.example.com/v1/embeddings", false),
        ("http://0.0.0.0:1", "http://0.0.0.0:1/v1/embeddings", false),
        ("http://[::ffff:127.0.0.1]:1", "http://[::ffff:127.0.0.1]:1/v1/embeddings", false),
    ] {
        let url = Url::parse(given).unwrap();
        assert_eq!((url.as_str(), url.is_loopback), (whole, here), "{given}");
    }
    for given in
        ["", "localhost:11434", "ftp://127.0.0.1", "http://", "http://a:b@127.0.0.1", "http://127.0.0.1/?key=x"]
    {
        assert!(matches!(Url::parse(given), Err(BadValue::Endpoint { .. })), "{given}");
    }
    let long = format!("http://127.0.0.1/{}", "x".repeat(limits::EMBED_URL_BYTES));
    assert!(Url::parse(&long).is_err());
}

#[test]
fn each_source_counts_and_the_choice_is_one() {
    let file = "embedder_url = \"http://127.0.0.1:1\"\nembedder_model = \"a\"\nembedder_query_prefix = \"query: \"";
    let from_file = load(file, &[], EmbedderFlags::default()).unwrap().embedder;
    let EmbedderChoice::Endpoint { url, model, prefixes, .. } = from_file.choice() else { panic!("{from_file:?}") };
    assert_eq!((url.as_str(), model.as_str()), ("http://127.0.0.1:1/v1/embeddings", "a"));
    assert_eq!((prefixes.query.as_str(), prefixes.document.as_str()), ("query: ", ""));

    let variables = [("LB_EMBEDDER_MODEL", "b"), ("LB_EMBEDDER_URL", "http://127.0.0.1:2")];
    let flags = EmbedderFlags { model: Some("c".into()), ..EmbedderFlags::default() };
    let mixed = load(file, &variables, flags).unwrap().embedder;
    assert_eq!(mixed.model, Setting { value: Some("c".into()), origin: Origin::Flag("--embedder-model") });
    assert_eq!(mixed.url.origin, Origin::Environment("LB_EMBEDDER_URL"));

    let folder = load("embedder_folder = \"models/potion\"", &[], EmbedderFlags::default()).unwrap().embedder;
    assert!(matches!(folder.choice(), EmbedderChoice::Folder { folder, .. } if folder.ends_with("models/potion")));
    assert_eq!(load("", &[], EmbedderFlags::default()).unwrap().embedder.choice(), EmbedderChoice::None);
}

#[test]
fn what_leaves_the_machine_must_be_wanted() {
    let remote = "embedder_url = \"http://192.0.2.7:11434\"\nembedder_model = \"m\"\n";
    let sentence = refused(remote);
    assert!(sentence.contains("embedder_allow_remote") && sentence.contains("config.toml"), "{sentence}");
    let allowed = format!("{remote}embedder_allow_remote = true\n");
    assert!(load(&allowed, &[], EmbedderFlags::default()).is_ok());
    let flags = EmbedderFlags { allow_remote: true, ..EmbedderFlags::default() };
    assert!(load(remote, &[], flags).is_ok());
    let sentence = refused(&format!("{allowed}embedder_key_file = \"key\""));
    assert!(sentence.contains("unencrypted"), "{sentence}");
    let encrypted = format!("{allowed}embedder_key_file = \"key\"").replace("http:", "https:");
    assert!(load(&encrypted, &[], EmbedderFlags::default()).is_ok());
}

#[test]
fn what_does_not_go_together_says_so_and_no_secret_is_repeated() {
    for (file, word) in [
        ("embedder_url = \"http://127.0.0.1:1\"", "embedder_model is missing"),
        ("embedder_model = \"m\"", "no embedder_url"),
        ("embedder_key_file = \"k\"", "no embedder_url"),
        (
            "embedder_url = \"http://127.0.0.1:1\"\nembedder_model = \"m\"\nembedder_folder = \"f\"",
            "leave one of them out",
        ),
        ("embedder_query_timeout_ms = 5", "from 10 to 10000"),
        ("embedder_batch = 0", "from 1 to 256"),
        ("embedder_model = \"a\\u0007\"", "control characters"),
        ("embedder_key = \"k\"", "did you mean `embedder_key_file`"),
    ] {
        let sentence = refused(file);
        assert!(sentence.contains(word), "{sentence}");
    }
    for file in [
        "embedder_url = \"http://me:hunter2@127.0.0.1:1\"\nembedder_model = \"m\"",
        "embedder_url = \"http://127.0.0.1:1/v1?api_key=hunter2\"\nembedder_model = \"m\"",
    ] {
        let sentence = refused(file);
        assert!(!sentence.contains("hunter2"), "{sentence}");
    }
}
