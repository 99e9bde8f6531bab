//! The server in this process, with a real daemon behind it, driven by the real client.

mod access;
mod description;
mod knowledge;
mod market;
mod outsider;
mod refusals;
mod rejected;
mod resume;
mod routes;
mod socket;
mod tasks;
mod token;
mod two;

use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Service, bind, serve};
use crate::api::client::{Client, ClientError, EventStream};
use crate::api::socket_path;
use crate::api::types::{CreateGroup, JoinEvent, JoinGroup, NewClaim, Problem, ProblemCode};
use crate::config::{Flags, Settings};
use crate::datadir::{DataDir, Keyring, NodeName};
use crate::identity::{Identity, SecretKey};
use crate::runtime::Daemon;
use crate::store::Store;
use crate::web::session::Sessions;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Running {
    data: TempDir,
    me: Identity,
    daemon: Daemon,
    stop: watch::Sender<bool>,
    served: JoinHandle<std::io::Result<()>>,
    client: Client,
}

fn start(seed: u8) -> Running {
    start_in(tempfile::tempdir().unwrap(), seed)
}

fn start_in(data: TempDir, seed: u8) -> Running {
    let key = SecretKey::from_seed(&[seed; 32]);
    let me = key.identity();
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let flags = Flags { listen, no_mdns: true, ..Flags::default() };
    let settings = Settings::load(data.path(), flags, &|_| None).unwrap();
    let store = Store::open(&data.path().join("lbm.redb"), &me).unwrap();
    // A folder of tests is open to others as the system makes it.
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(data.path(), closed).unwrap();
    let home = DataDir::open(data.path()).unwrap();
    if !home.key_path().exists() {
        home.import(&crate::identity::keystore::plain(&key), data.path(), None).unwrap();
    }
    let daemon = Daemon::start(&home, Keyring::of(key), NodeName::of(me), store, &settings).unwrap();
    let listener = bind(data.path()).unwrap();
    let (stop, stopped) = watch::channel(false);
    let sessions = Sessions::open(data.path().join("sessions"), 0);
    let served = tokio::spawn(serve(listener, Service::new(daemon.node.clone(), sessions, stopped)));
    let client = Client::new(data.path());
    Running { data, me, daemon, stop, served, client }
}

impl Running {
    /// Stops it, and gives its folder back.
    async fn stop(self) -> TempDir {
        self.stop.send(true).unwrap();
        within(self.served).await.unwrap().unwrap();
        within(self.daemon.stop()).await;
        self.data
    }

    async fn create(&self, name: &str) -> String {
        let request = CreateGroup { name: name.into(), currency: None };
        self.client.create_group(&request).await.unwrap().group_id
    }

    async fn publish(&self, group: &str, text: &str) -> String {
        self.client.publish_claim(group, &claim(text)).await.unwrap().claim_hash
    }

    /// Its first address, once it listens.
    async fn address(&self) -> String {
        let listens = async {
            loop {
                if let Some(first) = self.client.status().await.unwrap().listen.first() {
                    return first.clone();
                }
                tokio::task::yield_now().await;
            }
        };
        within(listens).await
    }

    /// Sends raw bytes, and gives the status, the headers in small letters, and the body.
    async fn raw(&self, request: Vec<u8>) -> (u16, String, String) {
        let stream = UnixStream::connect(socket_path(self.data.path())).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let written = tokio::spawn(async move {
            // The server may refuse before it has read all.
            let _refused = writer.write_all(&request).await;
            writer
        });
        let mut answer = Vec::new();
        within(reader.read_to_end(&mut answer)).await.unwrap();
        written.abort();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_lowercase(), body.to_owned())
    }

    async fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, String, String) {
        self.request_with(method, path, "", body).await
    }

    /// The same with more lines in its head, each with its end.
    async fn request_with(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> (u16, String, String) {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: lbm\r\nconnection: close\r\ncontent-type: application/json\r\n{lines}content-length: {length}\r\n\r\n"
        );
        self.raw([head.as_bytes(), body].concat()).await
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

fn claim(text: &str) -> NewClaim {
    NewClaim { text: text.into(), ..NewClaim::default() }
}

/// The code of a refusal, whose sentence and remedy are there.
fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> ProblemCode {
    let error = result.unwrap_err();
    let problem: &Problem = error.problem().unwrap_or_else(|| panic!("no problem: {error:?}"));
    assert!(!problem.detail.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
    problem.code
}

/// Follows a joining to its end.
async fn last(mut stream: EventStream<JoinEvent>) -> JoinEvent {
    let mut last = None;
    while let Some(event) = within(stream.next()).await.unwrap() {
        last = Some(event);
    }
    last.unwrap()
}

async fn join(node: &Running, group: &str, wait: Duration) -> JoinEvent {
    let wait_ms = Some(u64::try_from(wait.as_millis()).unwrap());
    last(node.client.join_group(&JoinGroup { group: group.into(), note: None, wait_ms }).await.unwrap()).await
}
