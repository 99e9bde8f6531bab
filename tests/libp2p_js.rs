//! A libp2p that others wrote (npm `libp2p`) and a real daemon: what it sees, and what becomes of it when it talks rubbish.
//!
//! `tests/mcp-clients/install` puts it into the folder that `LBM_MCP_CLIENTS` names. Without it these tests say loudly that they are skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "shown where a test fails")]

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::mcp::Driver;
use common::{Daemon, clean, wait_until};
use lbm::announcement::Unverified;

/// A node of the other library that has connected to a daemon; nothing where the library is not here.
fn guest(test: &str, daemon: &Daemon) -> Option<Driver> {
    let folder = std::env::var_os("LBM_MCP_CLIENTS").map(PathBuf::from).filter(|folder| folder.join("done").exists());
    let Some(folder) = folder else {
        common::skipped(test, "LBM_MCP_CLIENTS names no folder that tests/mcp-clients/install has filled");
        return None;
    };
    let mut command = clean(Command::new(folder.join("node_modules/.bin/node")));
    command.arg(folder.join("libp2p.mjs")).arg(daemon.address());
    Some(Driver::start(command))
}

#[test]
fn it_connects_is_told_who_we_are_pings_and_hears_what_is_for_sale() {
    let alice = Daemon::start("alice");
    let test = "it_connects_is_told_who_we_are_pings_and_hears_what_is_for_sale";
    let Some(mut guest) = guest(test, &alice) else { return };
    let met = guest.begun.clone();
    assert_eq!(met["connected"], alice.id.as_str());
    assert!(met["agent"].as_str().unwrap().starts_with("lbm/"), "{met}");
    let protocols: Vec<&str> = met["protocols"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    for protocol in ["/lbm/sync/1", "/lbm/market/1", "/ipfs/ping/1.0.0"] {
        assert!(protocols.contains(&protocol), "{protocols:?}");
    }
    assert!(met["rtt"].is_number() && met["hears"] == true, "{met}");

    let group = alice.found("domain:research");
    let create = ["offer", "create", "--group", &group, "--title", "Why", "--price", "25", "--text", "Built at noon"];
    let offer = alice.ctl(&create).text("offer_id");
    let gossip = guest.hear("an announcement");
    assert_eq!(gossip["topic"], "/lbm/market/1");
    let bytes = hex::decode(gossip["gossip"].as_str().unwrap()).unwrap();
    let told = Unverified::decode(&bytes).unwrap().open().unwrap().verify().unwrap();
    assert_eq!(told.announcement().offer.to_string(), offer);
}

#[test]
fn its_rubbish_is_refused_and_it_is_sent_away_and_nobody_else_is() {
    let test = "its_rubbish_is_refused_and_it_is_sent_away_and_nobody_else_is";
    let alice = Daemon::start("alice");
    let group = alice.found("domain:research");
    for (protocol, kinds) in [
        ("/lbm/sync/1", ["noise", "framed"]),
        ("/lbm/market/1", ["framed", "huge"]),
        ("/lbm/sync/1", ["huge", "noise"]),
        ("/lbm/market/1", ["noise", "framed"]),
    ] {
        let Some(mut guest) = guest(test, &alice) else { return };
        let is_there = || alice.ctl(&["status"]).done()["peers"] == 1;
        wait_until(common::PATIENCE, "it is connected", is_there);
        for kind in kinds {
            guest.say(&format!("{protocol} {kind}"));
        }
        // Two such messages are enough, whatever else was asked of it.
        wait_until(common::PATIENCE, "it is sent away", || !is_there());
    }
    // One that breaks off is nothing to be sent away for.
    let Some(mut guest) = guest(test, &alice) else { return };
    for kind in ["half", "nothing"] {
        guest.say(&format!("/lbm/sync/1 {kind}"));
        let answer = guest.hear(kind);
        assert_eq!((&answer["kind"], &answer["answer"]), (&kind.into(), &"".into()), "{answer}");
    }
    let met = Daemon::start("bob");
    met.meet(&alice);
    assert_eq!(alice.ctl(&["status"]).done()["peers"], 2);
    alice.publish(&group, "and the daemon goes on");
}
