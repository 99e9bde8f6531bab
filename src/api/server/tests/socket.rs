//! The socket: who gets it, and how it ends.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::api::server::BindError;
use crate::api::types::ListEvents;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_streams_and_leaves_no_socket() {
    let node = start(1);
    let path = socket_path(node.data.path());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let group = node.create("g").await;
    let mut events = node.client.events(&ListEvents { after: None, follow: true }).await.unwrap();
    let wait = JoinGroup { group: "0".repeat(64), note: None, wait_ms: Some(3_600_000) };
    let joining = node.client.join_group(&wait).await.unwrap();
    let client = node.client.clone();
    let data = node.stop().await;
    while within(events.next()).await.unwrap().is_some() {}
    let told = last(joining).await;
    let is_stopping = |problem: &Problem| problem.code == ProblemCode::ShuttingDown;
    assert!(matches!(&told, JoinEvent::Waiting { problem, .. } if is_stopping(problem)), "{told:?}");
    assert!(!path.exists());
    assert!(client.status().await.unwrap_err().is_no_daemon());

    // What a daemon leaves that was killed is replaced, and what was acknowledged is there.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let again = start_in(data, 1);
    assert_eq!(again.client.group(&group).await.unwrap().group.name.as_deref(), Some("g"));
    again.stop().await;
}

#[tokio::test]
async fn what_cannot_be_bound_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(socket_path(data.path()), "a file").unwrap();
    assert!(matches!(bind(data.path()), Err(BindError::Occupied { .. })));
    assert_eq!(std::fs::read_to_string(socket_path(data.path())).unwrap(), "a file");
    let deep = data.path().join("d".repeat(100));
    std::fs::create_dir(&deep).unwrap();
    let error = bind(&deep).unwrap_err();
    assert!(matches!(error, BindError::PathTooLong { .. }));
    assert!(error.to_string().contains("--data"), "{error}");
    assert!(matches!(bind(&data.path().join("missing")), Err(BindError::Io { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_there_is_room_for_wait() {
    let node = start(1);
    let path = socket_path(node.data.path());
    let mut held = Vec::new();
    for _ in 0..crate::limits::API_CONNECTIONS {
        held.push(UnixStream::connect(&path).await.unwrap());
    }
    let late = tokio::spawn({
        let client = node.client.clone();
        async move { client.status().await }
    });
    let short = tokio::time::timeout(Duration::from_millis(200), Client::new(node.data.path()).status()).await;
    assert!(short.is_err());
    held.clear();
    within(late).await.unwrap().unwrap();
    node.stop().await;
}
