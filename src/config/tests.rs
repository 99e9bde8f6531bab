//! Precedence, every refusal with the place it names, and the default data folder.

use std::collections::HashMap;

use super::*;

const PEER: &str = "/ip4/10.0.0.1/tcp/7337/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

fn load(file: Option<&str>, variables: &[(&str, &str)], flags: Flags) -> Result<Settings, ConfigError> {
    let data = tempfile::tempdir().unwrap();
    if let Some(text) = file {
        std::fs::write(data.path().join("config.toml"), text).unwrap();
    }
    let variables: HashMap<_, _> = variables.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    Settings::load(data.path(), flags, &|name| variables.get(name).map(OsString::from))
}

fn error(file: Option<&str>, variables: &[(&str, &str)]) -> String {
    load(file, variables, Flags::default()).unwrap_err().to_string()
}

#[test]
fn without_anything_each_setting_is_its_default() {
    let settings = load(None, &[], Flags::default()).unwrap();
    assert!(settings.rows().iter().all(|row| row.origin == "default"));
    assert_eq!(settings.rows().len(), keys().count());
    for (row, key) in settings.rows().iter().zip(keys()) {
        assert_eq!((row.key, row.environment), (key.name, key.environment));
        assert_eq!(key.environment, format!("LB_{}", key.name.to_ascii_uppercase()));
    }
    assert_eq!(settings.sync_interval_s.value, 900);
    assert_eq!(settings.max_clock_drift_ms.value, 300_000);
    assert!(settings.mdns.value && settings.sync_auto_start.value && !settings.log_json.value);
    let listen: Vec<_> = settings.listen.value.iter().map(ToString::to_string).collect();
    assert_eq!(listen, ["/ip4/0.0.0.0/tcp/7337", "/ip4/0.0.0.0/udp/7337/quic-v1"]);
}

#[test]
fn a_flag_beats_the_environment_beats_the_file() {
    let file = "log_level = \"debug\"\nmdns = true\n";
    let variables = [("LB_LOG_LEVEL", "WARNING"), ("LB_MDNS", "on")];
    let flags = || Flags { log_level: Some(LogLevel::Trace), no_mdns: true, ..Flags::default() };

    let all = load(Some(file), &variables, flags()).unwrap();
    assert_eq!(all.log_level, Setting { value: LogLevel::Trace, origin: Origin::Flag("--log-level") });
    assert_eq!(all.mdns, Setting { value: false, origin: Origin::Flag("--no-mdns") });
    let no_flag = load(Some(file), &variables, Flags::default()).unwrap();
    assert_eq!(no_flag.log_level, Setting { value: LogLevel::Warn, origin: Origin::Environment("LB_LOG_LEVEL") });
    let file_only = load(Some(file), &[("LB_LOG_LEVEL", "")], Flags::default()).unwrap();
    assert_eq!(file_only.log_level.value, LogLevel::Debug);
    assert!(file_only.log_level.origin.to_string().ends_with("config.toml"));
    assert_eq!(file_only.log_json.origin, Origin::Default);
}

#[test]
fn lists_come_from_each_source() {
    let file = format!("listen = [\"/ip4/127.0.0.1/tcp/0\", \"/ip6/::1/udp/0/quic-v1\"]\npeers = [\"{PEER}\"]");
    let settings = load(Some(&file), &[], Flags::default()).unwrap();
    assert_eq!((settings.listen.value.len(), settings.peers.value.len()), (2, 1));
    let variables = [("LB_LISTEN", "/ip4/127.0.0.1/tcp/0, /ip4/127.0.0.1/tcp/1"), ("LB_PEERS", PEER)];
    let settings = load(None, &variables, Flags::default()).unwrap();
    assert_eq!((settings.listen.value.len(), settings.peers.value.len()), (2, 1));
    let listen = vec![listen_address("/ip4/127.0.0.1/tcp/5").unwrap()];
    let settings = load(Some(&file), &variables, Flags { listen: listen.clone(), ..Flags::default() }).unwrap();
    assert_eq!(settings.listen, Setting { value: listen, origin: Origin::Flag("--listen") });
}

#[test]
fn each_number_holds_at_both_ends_of_its_range_and_not_past_them() {
    for (name, least, most) in [
        ("LB_MAX_CLOCK_DRIFT_MS", 1_000, 86_400_000),
        ("LB_NONCE_EXPIRY_MS", 60_000, 86_400_000),
        ("LB_P2P_MAX_CONN_PER_IP", 2, 512),
        ("LB_P2P_MAX_REQ_PER_MIN", 10, 1_000_000),
        ("LB_SYNC_INTERVAL_S", 1, 86_400),
    ] {
        let key = name.trim_start_matches("LB_").to_ascii_lowercase();
        let both = |number: i64| {
            let text = number.to_string();
            let in_environment = load(None, &[(name, text.as_str())], Flags::default()).map(|_| ());
            let in_file = load(Some(&format!("{key} = {number}")), &[], Flags::default()).map(|_| ());
            assert_eq!(in_environment.is_ok(), in_file.is_ok(), "{name} {number}");
            in_environment.is_ok()
        };
        assert_eq!(
            [least - 1, least, most, most + 1, -1, i64::MAX].map(both),
            [false, true, true, false, false, false]
        );
        let sentence = error(None, &[(name, "many")]);
        assert!(sentence.contains(&format!("environment {name}")), "{sentence}");
        assert!(sentence.contains(&format!("from {least} to {most}")), "{sentence}");
    }
}

#[test]
fn a_bad_value_names_its_place() {
    for (file, variables, words) in [
        (Some("log_level = \"loud\""), &[][..], &["log_level = `\"loud\"`", "config.toml", "error, warn"][..]),
        (Some("log_level = 3"), &[], &["a word in quotes"]),
        (Some("mdns = \"yes\""), &[], &["mdns", "config.toml", "true or false"]),
        (None, &[("LB_LOG_JSON", "maybe")], &["log_json = `maybe`", "environment LB_LOG_JSON", "true or false"]),
        (None, &[("LB_LISTEN", "0.0.0.0:7337")], &["`0.0.0.0:7337` is not a multiaddr", "/ip4/0.0.0.0/tcp/7337"]),
        (None, &[("LB_LISTEN", "/ip4/0.0.0.0/udp/7337")], &["cannot listen on"]),
        (None, &[("LB_LISTEN", PEER)], &["cannot listen on"]),
        (None, &[("LB_PEERS", "/ip4/10.0.0.1/tcp/7337")], &["does not end with /p2p/"]),
        (Some("listen = \"/ip4/127.0.0.1/tcp/0\""), &[], &["a list of addresses"]),
        (Some("listen = [1]"), &[], &["a list of addresses"]),
        (Some("mdns = "), &[], &["config.toml is not valid TOML"]),
    ] {
        let sentence = error(file, variables);
        for word in words {
            assert!(sentence.contains(word), "{sentence:?} lacks {word:?}");
        }
    }
}

#[test]
fn an_unknown_key_is_refused_with_what_was_meant() {
    for (key, meant) in [
        ("sync_intervall_s", "did you mean `sync_interval_s`?"),
        ("log-level", "did you mean `log_level`?"),
        ("LB_LOG_DIR", "did you mean `log_dir`?"),
        ("colour", "`lbm config` lists them all"),
    ] {
        let sentence = error(Some(&format!("{key} = 1")), &[]);
        assert!(sentence.contains(&format!("no setting `{key}`")) && sentence.contains(meant), "{sentence}");
    }
    assert!(error(Some("[log]\nlevel = 1"), &[]).contains("no setting `log`"));
}

#[test]
fn a_file_that_was_named_must_be_there_and_be_of_reason() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("other.toml");
    let load = || {
        let flags = Flags { config: Some(path.clone()), ..Flags::default() };
        Settings::load(data.path(), flags, &|_| None)
    };
    assert!(matches!(load(), Err(ConfigError::Read { .. })));
    std::fs::write(&path, "log_dir = \"logs\"").unwrap();
    assert_eq!(load().unwrap().log_dir.value, Some(data.path().join("logs")));
    std::fs::write(&path, "#".repeat(usize::try_from(limits::CONFIG_FILE_BYTES).unwrap() + 1)).unwrap();
    assert!(matches!(load(), Err(ConfigError::TooLarge { .. })));
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(load(), Err(ConfigError::Read { .. })));
}

#[test]
fn the_data_folder_is_the_flag_the_environment_or_the_platforms() {
    let find = |flag: Option<&str>, variables: &[(&str, &str)]| {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        data_folder(flag.map(PathBuf::from), &|name| variables.get(name).map(OsString::from))
            .map(|setting| (setting.value.display().to_string(), setting.origin))
    };
    let home = [("HOME", "/home/a"), ("LB_DATA", "B")];
    assert_eq!(find(Some("A"), &home).unwrap(), ("A".into(), Origin::Flag("--data")));
    assert_eq!(find(None, &home).unwrap(), ("B".into(), Origin::Environment("LB_DATA")));
    assert!(matches!(find(None, &[]), Err(ConfigError::NoHome)));
    if cfg!(target_os = "linux") {
        assert_eq!(find(None, &[("HOME", "/home/a")]).unwrap().0, "/home/a/.local/share/lbm");
        assert_eq!(find(None, &[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]).unwrap().0, "/x/lbm");
        assert_eq!(find(None, &[("HOME", "/h"), ("XDG_DATA_HOME", "x")]).unwrap().0, "/h/.local/share/lbm");
    }
}
