//! The arguments of all binaries.

use std::path::Path;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::node::NodeCli;
use super::*;

const ID: &str = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";

fn lbm(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("lbm").chain(line.split_whitespace()))
}

fn node(line: &str) -> Result<NodeCli, clap::Error> {
    NodeCli::try_parse_from(std::iter::once("lbm-node").chain(line.split_whitespace()))
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
    NodeCli::command().debug_assert();
}

#[test]
fn data_and_json_are_accepted_anywhere() {
    for line in [
        "--data A --json ctl status",
        "ctl --data A --json status",
        "ctl status --data A --json",
        "--json ctl --data A status",
        "ctl status --json --data=A",
    ] {
        let cli = lbm(line).unwrap();
        assert_eq!((cli.global.data.as_deref(), cli.global.json), (Some(Path::new("A")), true), "{line}");
        let Command::Ctl(args) = cli.command else { panic!("{line} is no ctl command") };
        assert!(matches!(*args, ctl::CtlArgs { command: ctl::CtlCommand::Status, wait_final: None, agent: None }));
    }
    let deep = lbm("ctl group --json add-member --group g --data A --member".to_owned().as_str());
    assert_eq!(deep.unwrap_err().kind(), ErrorKind::InvalidValue);
    let deep = lbm(&format!("ctl --json group add-member --group g --data A --member {ID}")).unwrap();
    assert_eq!((deep.global.data.as_deref(), deep.global.json), (Some(Path::new("A")), true));
    assert_eq!(lbm("ctl status").unwrap().global, GlobalArgs::default());
}

#[test]
fn every_documented_line_is_understood() {
    for line in [
        "demo",
        "config --json",
        "node --listen /ip4/127.0.0.1/tcp/0",
        "ctl health",
        "ctl events",
        "ctl events --follow --after 7",
        "ctl rejected --group g --limit 5",
        "ctl stranded --group g --claims",
        "ctl stranded --group g --refused --claims",
        "ctl sync",
        "ctl sync --group g",
        &format!("ctl sync --group g --peer {ID}"),
        "ctl subscription list",
        "ctl subscription add --group g --peer bob",
        "ctl subscription set --group g --interval 30s --resume",
        "ctl subscription set --group g --pause",
        "ctl subscription remove --group g --peer bob",
        "ctl subscription remove --group g",
        "ctl peer bans",
        "ctl peer unban bob",
        "ctl group create --name domain:research --json",
        "ctl group create --name n --currency KAT",
        "ctl group list",
        "ctl group show g",
        "ctl group join 0011 --timeout 5s",
        "ctl group join 0011 --no-wait",
        "ctl group leave g",
        "ctl group members g",
        "ctl group verify g",
        "ctl group stats g",
        &format!("ctl group add-member --group g --member {ID} --role member"),
        &format!("ctl group remove-member --group g --member {ID}"),
        &format!("ctl group set-role --group g --member {ID} --role viewer"),
        "ctl claim publish --group g --text - --parent ab",
        "ctl claim publish --group g --text t --title T --tags security,validation --json",
        "ctl claim publish --group g --text -not-a-flag",
        "ctl claim publish --group g --file -",
        "ctl claim retract ab --group g",
        "ctl claim list --group g --limit 5000 --cursor c",
        "ctl claim show ab --group g",
        "ctl claim thread --group g ab",
        "ctl claim recent --group g --since 2h",
        &format!("ctl context input --group g --top-k 8 --budget 500 --since 3d --until 1h --tags a,b --author {ID}"),
        "ctl experience submit --group g --file -",
        "ctl peer list",
        &format!("ctl peer add --addr /ip4/127.0.0.1/tcp/1/p2p/{ID} --alias bob"),
        &format!("ctl peer remove {ID}"),
    ] {
        assert!(lbm(line).is_ok(), "{line}: {}", lbm(line).unwrap_err());
    }
}

#[test]
fn an_option_that_a_command_does_not_know_is_not_sent_behind_two_dashes() {
    for line in ["ctl group members --group g", "ctl group show --group g", "ctl group leave g --group g"] {
        let error = lbm(line).unwrap_err();
        assert!(error.to_string().contains("use '-- --group'"), "the parser has changed: {error}");
        let said = plainly(error).to_string();
        assert!(!said.contains("use '--") && said.contains("named without `--group` here"), "{said}");
        assert!(said.contains("Usage: ") && said.contains("<GROUP>"), "{said}");
    }
    // Any other tip stays.
    let said = plainly(lbm("ctl group create --nam n").unwrap_err()).to_string();
    assert!(said.contains("a similar argument exists: '--name'"), "{said}");
    let said = plainly(lbm("ctl group leave g --force").unwrap_err()).to_string();
    assert!(said.contains("'--force'") && !said.contains("tip"), "{said}");
}

#[test]
fn wrong_usage_is_exit_code_2_and_names_what_is_wrong() {
    for (line, words) in [
        ("ctl", "lbm ctl"),
        ("ctl stauts", "'status'"),
        ("ctl group create", "--name"),
        ("ctl claim publish --group g", "<--text <TEXT>|--file <FILE>>"),
        ("ctl claim publish --group g --text a --file b", "cannot be used with"),
        ("ctl claim publish --group g --file b --tags x", "cannot be used with"),
        ("ctl claim publish --text a", "--group"),
        ("ctl claim recent --group g --since yesterday", "RFC 3339"),
        ("ctl group add-member --group g --member bob", "this is not a peer id"),
        (&format!("ctl group set-role --group g --member {ID} --role king"), "king"),
        ("ctl group join 00 --timeout 5", "expected a number with"),
        ("ctl group join 00 --timeout 5s --no-wait", "cannot be used with"),
        ("node --listen 127.0.0.1", "is not a multiaddr"),
        ("node --peer /ip4/127.0.0.1/tcp/1", "does not end with /p2p/"),
        ("node --log-level loud", "one of error, warn"),
        ("node --password-file f --password-fd 3", "cannot be used with"),
    ] {
        let error = lbm(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(words), "{line}: {error}");
    }
}

#[test]
fn the_daemons_arguments_are_settings() {
    let line = format!(
        "--data A --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/udp/0/quic-v1 \
         --peer /ip4/10.0.0.1/tcp/7337/p2p/{ID} --no-mdns --password-fd 3 --log-level DEBUG --config c.toml"
    );
    let cli = node(&line).unwrap();
    let flags = cli.node.flags();
    assert_eq!(cli.data.as_deref(), Some(Path::new("A")));
    assert_eq!((flags.listen.len(), flags.peers.len(), flags.no_mdns), (2, 1, true));
    assert_eq!(flags.log_level, Some(crate::config::LogLevel::Debug));
    assert_eq!((cli.node.password.password_fd, flags.config.as_deref()), (Some(3), Some(Path::new("c.toml"))));
    assert_eq!(node("").unwrap().node, node::NodeArgs::default());
    let Command::Node(alias) = lbm(&format!("node {line}")).unwrap().command else { panic!("not the daemon") };
    assert_eq!(alias, Box::new(cli.node));
}

#[test]
fn the_hidden_alias_is_not_in_the_help() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.contains("demo") && !help.contains("  node"), "{help}");
}

#[test]
fn config_shows_each_value_and_where_it_comes_from() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("config.toml"), "sync_interval_s = 7\n").unwrap();
    let environment = |name: &str| (name == "LB_MDNS").then(|| "off".into());
    let show = |json| {
        let global = GlobalArgs { data: Some(data.path().to_owned()), json };
        let mut out = Vec::new();
        config::run(&config::ConfigArgs::default(), &global, &environment, &mut out).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    };
    let answer: serde_json::Value = serde_json::from_str(&show(true)).unwrap();
    let setting = |key: &str| {
        let settings = answer["settings"].as_array().unwrap();
        settings.iter().find(|row| row["key"] == key).unwrap().clone()
    };
    assert_eq!((&setting("mdns")["value"], &setting("mdns")["origin"]), (&false.into(), &"environment LB_MDNS".into()));
    assert_eq!(setting("sync_interval_s")["value"], 7);
    assert_eq!((&setting("log_dir")["value"], &setting("log_dir")["origin"]), (&().into(), &"default".into()));
    let table = show(false);
    assert!(table.lines().any(|line| line.starts_with("sync_interval_s") && line.contains("config.toml")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("log_dir") && line.contains("  -  ")), "{table}");
}

#[test]
fn an_error_is_a_sentence_to_people_and_a_document_to_programs() {
    let fail = |json| {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let error = CliError::NoClaims { name: "evil\u{1b}[2J".into() };
        let code = finish(Err(error), json, &mut out, &mut err);
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE));
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    };
    let (out, err) = fail(false);
    assert!(out.is_empty() && err.starts_with("error: evil\u{FFFD}[2J has no claim"), "{err}");
    let document: serde_json::Value = serde_json::from_str(&fail(true).0).unwrap();
    assert_eq!((&document["code"], &document["type"]), (&"no_claims".into(), &"urn:lbm:problem:no_claims".into()));
    let gone = || CliError::Output(io::ErrorKind::BrokenPipe.into());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = finish(Err(gone()), true, &mut out, &mut err);
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
    assert!(out.is_empty() && err.is_empty());
}
