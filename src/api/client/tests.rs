//! The client against a small server on a real socket.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path as Segments, Query};
use axum::response::sse::{Event as SseEvent, Sse};
use axum::response::{IntoResponse, Response as AxumResponse};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::api::types::{
    BulkPublished, ClaimList, Event, EventKind, JoinEvent, JoinGroup, ListClaims, ListEvents, NewClaim, ProblemCode,
    PublishBulk, Status,
};
use crate::api::{routes, socket_path};

fn serve(router: Router) -> (tempfile::TempDir, Client) {
    let data = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(data.path())).unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::new(data.path());
    (data, client)
}

/// A server of raw bytes: what no axum would send.
fn serve_bytes(answer: Vec<u8>) -> (tempfile::TempDir, Client) {
    let data = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(data.path())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    let client = Client::new(data.path());
    (data, client)
}

fn a_status() -> Status {
    Status {
        node_id: "12D3".into(),
        member_id: "12D3KooWMember".into(),
        agents: 0,
        name: "alice".into(),
        version: VERSION.into(),
        uptime_s: 1,
        listen: Vec::new(),
        peers: 0,
        groups: 0,
        unsure_groups: 0,
        shut_out_groups: 0,
        stranded_blocks: 0,
        open_purchases: std::collections::BTreeMap::new(),
        embedder: None,
        indexing_groups: 0,
        troubled_indexes: 0,
    }
}

fn problem(code: ProblemCode) -> AxumResponse {
    let status = hyper::StatusCode::from_u16(code.status()).unwrap();
    (status, Json(Problem::new(code, "no group `x`", "see `lbm ctl group list`"))).into_response()
}

#[tokio::test]
async fn answers_come_typed_and_connections_are_used_again() {
    static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
    let data = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(data.path())).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            CONNECTIONS.fetch_add(1, Ordering::SeqCst);
            let router = Router::new().route(routes::STATUS.path, get(async || Json(a_status())));
            let service = hyper_util::service::TowerToHyperService::new(router);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service),
            );
        }
    });
    let client = Client::new(data.path());
    for _ in 0..20 {
        assert_eq!(client.status().await.unwrap(), a_status());
    }
    assert_eq!(CONNECTIONS.load(Ordering::SeqCst), 1);
    let together = futures::future::join_all((0..5).map(|_| client.status())).await;
    assert!(together.iter().all(Result::is_ok));
    assert!((2..=5).contains(&CONNECTIONS.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn parameters_queries_and_bodies_arrive() {
    let router = Router::new()
        .route(
            routes::CLAIM_LIST.path,
            get(async |Segments(group): Segments<String>, Query(query): Query<ListClaims>| {
                assert_eq!(query, ListClaims { limit: Some(5), cursor: Some("a&b=ä".into()) });
                Json(ClaimList { claims: Vec::new(), next_cursor: Some(group) })
            }),
        )
        .route(
            routes::CLAIM_BULK.path,
            post(async |Json(bulk): Json<PublishBulk>| {
                let claim_hashes = bulk.claims.into_iter().map(|claim| claim.text).collect();
                Json(BulkPublished { published: 1, claim_hashes, blocks: 1, block_id: "b".into() })
            }),
        );
    let (_data, client) = serve(router);
    let query = ListClaims { limit: Some(5), cursor: Some("a&b=ä".into()) };
    let list = client.claims("a/b ../?x", &query).await.unwrap();
    assert_eq!(list.next_cursor.as_deref(), Some("a/b ../?x"));
    let claim = NewClaim { text: "t".into(), ..NewClaim::default() };
    let published = client.publish_bulk("g", &PublishBulk { claims: vec![claim] }).await.unwrap();
    assert_eq!(published.claim_hashes, ["t"]);
}

#[tokio::test]
async fn a_refusal_is_the_servers_problem() {
    let router = Router::new().route(routes::GROUP_SHOW.path, get(async || problem(ProblemCode::UnknownGroup)));
    let (_data, client) = serve(router);
    let error = client.group("x").await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, ProblemCode::UnknownGroup);
    assert_eq!(error.to_string(), "no group `x`: see `lbm ctl group list`");
    assert!(!error.is_no_daemon());
    let error = client.status().await.unwrap_err();
    assert!(matches!(&error, ClientError::Broken { source: BrokenAnswer::NoReason { status: 404 }, .. }), "{error:?}");
}

#[tokio::test]
async fn another_version_is_noticed() {
    let with = |version: &'static str| {
        Router::new().route(routes::STATUS.path, get(async move || ([(VERSION_HEADER, version)], Json(a_status()))))
    };
    let (_data, same) = serve(with(VERSION));
    let (_other_data, other) = serve(with("99.0.0"));
    same.status().await.unwrap();
    other.status().await.unwrap();
    assert_eq!((same.other_version(), other.other_version()), (None, Some("99.0.0")));
}

#[tokio::test]
async fn without_a_daemon_the_error_says_how_to_start_it() {
    let data = tempfile::tempdir().unwrap();
    let missing = Client::new(&data.path().join("nowhere")).status().await.unwrap_err();
    assert!(missing.is_no_daemon() && missing.to_string().contains("lbm init --data"), "{missing}");
    let client = Client::new(data.path());
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }));
    assert!(error.to_string().contains(&format!("lbm-node --data {}", data.path().display())), "{error}");
    // A daemon that was killed leaves its socket behind.
    drop(UnixListener::bind(socket_path(data.path())).unwrap());
    assert!(socket_path(data.path()).exists());
    assert!(matches!(client.status().await.unwrap_err(), ClientError::NoDaemon { .. }));
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_said_so() {
    let data = tempfile::tempdir().unwrap();
    let deep = data.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let error = Client::new(&deep).status().await.unwrap_err();
    assert!(matches!(error, ClientError::PathTooLong { .. }), "{error:?}");
}

#[tokio::test]
async fn a_folder_that_may_not_be_entered_is_another_users() {
    let data = tempfile::tempdir().unwrap();
    let closed = data.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    // Root may enter any folder; then there is nothing to test but that there is no daemon.
    let is_root = std::fs::read_dir(&closed).is_ok();
    let error = Client::new(&closed).status().await.unwrap_err();
    assert_eq!(matches!(error, ClientError::OtherUser { .. }), !is_root, "{error:?}");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn answers_that_cannot_be_used_are_named() {
    let json = |length: usize, body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let (_data, client) = serve_bytes(json(2, "{}").into_bytes());
    let error = client.status().await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { source: BrokenAnswer::Json(_), .. }), "{error:?}");

    let announced = json(limits::API_ANSWER_BYTES + 1, "{");
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(limits::API_ANSWER_BYTES + 1));
    for too_large in [announced, endless] {
        let (_data, client) = serve_bytes(too_large.into_bytes());
        let error = client.status().await.unwrap_err();
        assert!(matches!(error, ClientError::Broken { source: BrokenAnswer::TooLarge { .. }, .. }), "{error:?}");
    }

    for cut in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{", "no http at all\r\n\r\n"] {
        let (_data, client) = serve_bytes(cut.as_bytes().to_vec());
        let error = client.status().await.unwrap_err();
        assert!(matches!(error, ClientError::Cut { .. }), "{cut:?} {error:?}");
    }

    let (_data, client) = serve(Router::new().route(routes::EVENTS.path, get(async || Json(a_status()))));
    let error = client.events(&ListEvents::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Broken { source: BrokenAnswer::NoStream { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_too_large_is_not_sent() {
    let (_data, client) = serve(Router::new());
    let claim = NewClaim { text: "x".repeat(limits::API_BODY_BYTES), ..NewClaim::default() };
    let error = client.publish_claim("g", &claim).await.unwrap_err();
    assert!(matches!(error, ClientError::RequestTooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_the_daemon_closed_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(socket_path(data.path())).unwrap();
    let body = serde_json::to_string(&a_status()).unwrap();
    tokio::spawn(async move {
        // One answer per connection, and no word in it that the connection closes.
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    let client = Client::new(data.path());
    for _ in 0..5 {
        assert_eq!(client.status().await.unwrap(), a_status());
        let noticed = async {
            while client.shared.pool.idle_connections() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), noticed).await.unwrap();
    }
}

#[tokio::test]
async fn events_come_one_by_one_and_a_stream_ends() {
    let kinds = [EventKind::PeerConnected { peer_id: "12D3".into() }, EventKind::Missed { count: 3 }];
    let events: Vec<_> = kinds.into_iter().zip(1..).map(|(kind, seq)| Event { seq, at_ms: seq * 1000, kind }).collect();
    let sent = events.clone();
    let router = Router::new()
        .route(
            routes::EVENTS.path,
            get(async move |Query(query): Query<ListEvents>| {
                assert_eq!(query, ListEvents { after: Some(0), follow: true });
                let each = sent.into_iter().map(|event| SseEvent::default().json_data(event));
                Sse::new(futures::stream::iter(each))
            }),
        )
        .route(
            routes::GROUP_JOIN.path,
            post(async |Json(join): Json<JoinGroup>| {
                if join.group == "x" {
                    return problem(ProblemCode::UnknownGroup);
                }
                let looking = SseEvent::default().json_data(JoinEvent::Looking { peers: 1 });
                Sse::new(futures::stream::iter([looking])).into_response()
            }),
        );
    let (_data, client) = serve(router);
    let mut stream = client.events(&ListEvents { after: Some(0), follow: true }).await.unwrap();
    for event in events {
        assert_eq!(stream.next().await.unwrap(), Some(event));
    }
    assert_eq!(stream.next().await.unwrap(), None);

    let mut join = client.join_group(&JoinGroup { group: "ab".into(), note: None, wait_ms: None }).await.unwrap();
    assert_eq!(join.next().await.unwrap(), Some(JoinEvent::Looking { peers: 1 }));
    assert_eq!(join.next().await.unwrap(), None);
    let refused = client.join_group(&JoinGroup { group: "x".into(), note: None, wait_ms: None }).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_group");
}
