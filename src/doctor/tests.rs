//! The checks against a real file system and real sockets; `tests/doctor.rs` has what needs a network of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use libp2p::Multiaddr;

use super::{Subject, folder, network, of_running};
use crate::api::types::{Finding, Grade};
use crate::datadir::{DataDir, NodeName, new_secret};

fn node() -> (tempfile::TempDir, DataDir) {
    let home = tempfile::tempdir().unwrap();
    let folder = DataDir::create(&home.path().join("data")).unwrap();
    let secret = new_secret().unwrap();
    folder.init(&NodeName::of(secret.identity()), &secret, None).unwrap();
    (home, folder)
}

#[track_caller]
fn is(finding: &Finding, severity: Grade, code: &str, words: &[&str]) {
    assert_eq!((finding.severity, finding.code.as_str()), (severity, code), "{finding:?}");
    assert_eq!(finding.remedy.is_some(), severity > Grade::Ok, "{finding:?}");
    for word in words {
        let said = format!("{} {}", finding.detail, finding.remedy.clone().unwrap_or_default());
        assert!(said.contains(word), "no `{word}` in {finding:?}");
    }
}

#[test]
fn a_folder_is_well_until_others_may_look_into_it_or_its_key_is_gone() {
    let (_home, data) = node();
    let well = folder::folder(data.path());
    is(&well[0], Grade::Ok, "data_folder", &["can be written"]);
    is(&well[1], Grade::Ok, "key", &["12D3KooW"]);
    assert_eq!(
        fs::read_dir(data.path())
            .unwrap()
            .filter(|file| { file.as_ref().unwrap().file_name().to_string_lossy().starts_with("doctor") })
            .count(),
        0
    );
    fs::rename(data.key_path(), data.path().join("elsewhere")).unwrap();
    is(&folder::folder(data.path())[1], Grade::Problem, "key", &["holds no key yet", "lbm init"]);
    fs::set_permissions(data.path(), Permissions::from_mode(0o755)).unwrap();
    let open = folder::folder(data.path());
    assert_eq!(open.len(), 1);
    is(&open[0], Grade::Problem, "data_folder", &["0755", "chmod 700"]);
    is(&folder::folder(&data.path().join("none"))[0], Grade::Problem, "data_folder", &["no data folder", "lbm init"]);
}

#[test]
fn a_clock_that_was_set_back_is_seen_by_what_was_written_later() {
    let (_home, data) = node();
    is(&folder::clock(data.path()), Grade::Ok, "clock", &[]);
    let database = File::create(data.database_path()).unwrap();
    database.set_modified(SystemTime::now() + Duration::from_secs(2)).unwrap();
    is(&folder::clock(data.path()), Grade::Ok, "clock", &[]);
    database.set_modified(SystemTime::now() + Duration::from_secs(3 * 3_600 + 60)).unwrap();
    is(&folder::clock(data.path()), Grade::Problem, "clock_back", &["3 h", "time server"]);
}

#[test]
fn who_holds_the_folder_is_named() {
    let (_home, data) = node();
    is(&folder::lock(data.path()), Grade::Warning, "no_daemon", &["lbm-node"]);
    let _held = data.lock().unwrap();
    is(&folder::lock(data.path()), Grade::Problem, "locked", &[&format!("process {}", std::process::id())]);
}

#[test]
fn a_daemon_that_had_to_take_another_port_says_so() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let at = |text: String| text.parse::<Multiaddr>().unwrap();
    let wanted = [at(format!("/ip4/0.0.0.0/tcp/{port}")), at("/ip4/0.0.0.0/udp/7337/quic-v1".to_owned())];
    let subject = |any_port| Subject { listen: wanted.to_vec(), any_port, ..Subject::default() };
    let got = [at("/ip4/127.0.0.1/tcp/40001".to_owned()), at("/ip4/10.0.0.1/udp/7337/quic-v1".to_owned())];
    let me = format!("process {}", std::process::id());
    let told = of_running(&subject(true), &got).unwrap();
    is(&told, Grade::Warning, "port_in_use", &[&format!("{port}/tcp"), &me, "40001/tcp", "--listen"]);
    assert_eq!(of_running(&subject(false), &got), None, "who names a port gets it or does not start");
    assert_eq!(of_running(&subject(true), &wanted), None);
    assert_eq!(of_running(&subject(true), &[]), None, "another finding says that it listens nowhere");
}

#[test]
fn a_port_that_is_taken_names_who_has_it() {
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (tcp_port, udp_port) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
    let me = format!("process {}", std::process::id());
    let at = |text: String| text.parse::<Multiaddr>().unwrap();
    let tcp_at = at(format!("/ip4/127.0.0.1/tcp/{tcp_port}"));
    let udp_at = at(format!("/ip4/127.0.0.1/udp/{udp_port}/quic-v1"));
    is(&network::port(&tcp_at, false).unwrap(), Grade::Problem, "port_in_use", &["TCP", &me, "--listen"]);
    is(&network::port(&tcp_at, true).unwrap(), Grade::Warning, "port_in_use", &[&me, "any other"]);
    is(&network::port(&udp_at, false).unwrap(), Grade::Problem, "port_in_use", &["UDP", &me]);
    let wanted = |if_taken| network::Wanted { flag: "--mcp", if_taken };
    let taken = tcp.local_addr().unwrap();
    is(&network::http_port(taken, wanted(None)), Grade::Problem, "port_in_use", &[&me, "--mcp"]);
    is(&network::http_port(taken, wanted(Some("without"))), Grade::Warning, "port_in_use", &[&me, "without"]);
    drop((tcp, udp));
    is(&network::port(&tcp_at, false).unwrap(), Grade::Ok, "port", &["free"]);
    is(&network::port(&udp_at, false).unwrap(), Grade::Ok, "port", &["free"]);
    // TEST-NET-1: nobody's address.
    is(
        &network::port(&at("/ip4/192.0.2.1/tcp/7337".to_owned()), false).unwrap(),
        Grade::Problem,
        "no_such_address",
        &["192.0.2.1"],
    );
    assert_eq!(network::port(&at("/dns/example.org/tcp/1".to_owned()), false), None);
}
