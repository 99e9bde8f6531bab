//! An OpenAI-compatible endpoint for tests: real HTTP on loopback, vectors that are the same each time, and faults on demand.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Dimensions of its vectors.
pub const DIMENSIONS: usize = 256;

/// What it does with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// What it is asked for.
    Serve,
    /// The same, the rows in reverse, each with its index.
    Reversed,
    /// The same without indices, in sequence.
    Unnumbered,
    /// The same in base64.
    Base64,
    /// The same after a while.
    Slow(Duration),
    /// This status and body.
    Answer(u16, String),
    /// Points to another path of its own, where it would serve.
    Redirect,
    /// Vectors of so many dimensions.
    Dimensions(usize),
    /// Zeros.
    Zeros,
    /// One vector for all.
    Constant,
    /// Vectors that have nothing to do with the text, each time others.
    Random,
    /// One vector too few.
    Fewer,
    /// `null` where a number should be, as who has NaN writes it.
    Nan,
    /// Refuses the whole batch where a text has more bytes.
    AtMost(usize),
    /// Refuses the whole batch where a text has this word.
    Not(&'static str),
}

/// What it was asked.
#[derive(Debug, Default)]
pub struct Asked {
    /// How often each text came and a vector was given for it.
    pub served: BTreeMap<String, usize>,
    /// Requests.
    pub requests: usize,
    /// `Authorization` of the last.
    pub authorization: Option<String>,
    /// Texts of the longest batch.
    pub largest: usize,
}

struct Shared {
    mode: Mutex<Mode>,
    asked: Mutex<Asked>,
}

/// The endpoint; it stops when it goes out of scope.
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Endpoint {
    /// Starts one on a free port.
    pub fn start() -> Self {
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Serve), asked: Mutex::default() });
        // Not a port that was free a moment ago: this one is held from now on.
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let mut endpoint = Self { address: listener.local_addr().unwrap(), shared, running: None };
        endpoint.serve(listener);
        endpoint
    }

    /// What `embedder_url` must be.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on.
    pub fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// What it was asked so far.
    pub fn asked<T>(&self, look: impl FnOnce(&Asked) -> T) -> T {
        look(&self.shared.asked.lock().unwrap())
    }

    /// How often it gave a vector for texts with this word.
    pub fn served(&self, word: &str) -> BTreeMap<String, usize> {
        self.asked(|asked| {
            let with = asked.served.iter().filter(|(text, _)| text.contains(word));
            with.map(|(text, count)| (text.clone(), *count)).collect()
        })
    }

    /// Takes it away: nothing listens there any more.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            thread.join().unwrap();
        }
    }

    /// Brings it back under the same address.
    pub fn restart(&mut self) {
        self.stop();
        // Somebody's outgoing connection may have the port for a moment.
        let bound = (0..100).find_map(|_| {
            let bound = TcpListener::bind(self.address).ok();
            if bound.is_none() {
                std::thread::sleep(Duration::from_millis(100));
            }
            bound
        });
        self.serve(bound.expect("the port is free again"));
    }

    fn serve(&mut self, listener: TcpListener) {
        listener.set_nonblocking(true).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let served = async {
                let router = Router::new().fallback(answer).with_state(shared);
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = async { axum::serve(listener, router).await } => served.unwrap(),
                    _ = stopped => {}
                }
            };
            runtime.block_on(served);
            // Open connections break, as those of a process that ends do.
            runtime.shutdown_background();
        });
        self.running = Some((stop, thread));
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A vector for each word of more than three letters, added: texts that share words are close, `quux` and `florp` are one.
pub fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.01; dimensions];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3) {
        let word = if word == "quux" { "florp" } else { word };
        let mut bytes = vec![0; dimensions];
        blake3::Hasher::new().update(word.as_bytes()).finalize_xof().fill(&mut bytes);
        for (cell, byte) in sum.iter_mut().zip(bytes) {
            *cell += f32::from(byte.cast_signed()) / 128.0;
        }
    }
    sum
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let mode = shared.mode.lock().unwrap().clone();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let input = request["input"].as_array().cloned().unwrap_or_default();
    let texts: Vec<String> = input.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect();
    let requests = {
        let mut asked = shared.asked.lock().unwrap();
        asked.requests += 1;
        asked.largest = asked.largest.max(texts.len());
        asked.authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
        asked.requests
    };
    let refuse = |status: u16, body: String| (StatusCode::from_u16(status).unwrap(), body).into_response();
    match &mode {
        Mode::Answer(status, body) => return refuse(*status, body.clone()),
        Mode::Redirect => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere/embeddings")]).into_response();
        }
        Mode::AtMost(bytes) if texts.iter().any(|text| text.len() > *bytes) => {
            return refuse(
                400,
                json!({"error": {"message": "input exceeds the context length", "code": 400}}).to_string(),
            );
        }
        Mode::Not(word) if texts.iter().any(|text| text.contains(word)) => {
            return refuse(
                500,
                json!({"error": "failed to encode response: json: unsupported value: NaN"}).to_string(),
            );
        }
        Mode::Slow(pause) => tokio::time::sleep(*pause).await,
        _ => {}
    }
    let dimensions = if let Mode::Dimensions(dimensions) = mode { dimensions } else { DIMENSIONS };
    let row = |(index, text): (usize, &String)| {
        let mut embedding = match mode {
            Mode::Zeros => json!(vec![0.0; dimensions]),
            Mode::Constant => json!(vec![0.5; dimensions]),
            Mode::Random => json!(vector(&format!("text{}", requests * 1_000 + index), dimensions)),
            _ => json!(vector(text, dimensions)),
        };
        if mode == Mode::Nan {
            embedding[0] = Value::Null;
        }
        if mode == Mode::Base64 {
            let bytes: Vec<u8> = vector(text, dimensions).iter().flat_map(|cell| cell.to_le_bytes()).collect();
            embedding = json!(base64::prelude::BASE64_STANDARD.encode(bytes));
        }
        match mode {
            Mode::Unnumbered => json!({"embedding": embedding}),
            _ => json!({"object": "embedding", "index": index, "embedding": embedding}),
        }
    };
    let mut data: Vec<Value> = texts.iter().enumerate().map(row).collect();
    match mode {
        Mode::Reversed => data.reverse(),
        Mode::Fewer => drop(data.pop()),
        _ => {}
    }
    {
        let mut asked = shared.asked.lock().unwrap();
        texts.into_iter().for_each(|text| *asked.served.entry(text).or_default() += 1);
    }
    axum::Json(json!({"object": "list", "data": data, "model": request["model"], "usage": {}})).into_response()
}
