//! Metrics and health over HTTP on loopback, for Prometheus and for supervisors: off unless the setting `metrics` names an address.
//!
//! **Nothing else of the API is here**, and nothing can be changed. The `Host` must name this machine, so that no page reaches it under a
//! name of its own (DNS rebinding), and no answer allows another origin to read it.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Service as Desk;
use super::router::Caller;
use super::stop::stopped;
use crate::api::routes;
use crate::api::types::{Problem, ProblemCode};
use crate::limits;

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics: {source}; choose another address with --metrics, or `off`")]
pub struct MetricsBindError {
    /// Where.
    address: SocketAddr,
    /// What the system said.
    source: io::Error,
}

/// Opens the listener, where there is to be one.
///
/// # Errors
/// [`MetricsBindError`].
pub async fn bind_metrics(address: Option<SocketAddr>) -> Result<Option<TcpListener>, MetricsBindError> {
    let Some(address) = address else { return Ok(None) };
    TcpListener::bind(address).await.map(Some).map_err(|source| MetricsBindError { address, source })
}

/// Serves metrics and health until the daemon stops.
pub async fn serve_metrics(listener: TcpListener, desk: Desk) {
    let (router, mut stop) = (desk.router, desk.stop);
    let places = Arc::new(Semaphore::new(limits::METRICS_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match (accepted, Arc::clone(&places).try_acquire_owned()) {
            (Ok((stream, _)), Ok(place)) => {
                let router = router.clone();
                connections.spawn(async move {
                    let _held = place;
                    connection(stream, router).await;
                });
            }
            // It is closed: whoever asks, asks again in a while.
            (Ok(_), Err(_)) => tracing::debug!("too many connections ask for metrics"),
            (Err(error), _) => {
                tracing::warn!(%error, "cannot take a connection for metrics");
                tokio::time::sleep(Duration::from_millis(limits::API_ACCEPT_RETRY_MS)).await;
            }
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, router: axum::Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let refusal = refusal(request.method(), request.uri().path(), request.headers());
        request.extensions_mut().insert(Caller::Local);
        let answer = refusal.is_none().then(|| router.call(request));
        async move {
            let response: Response = match (answer, refusal) {
                (Some(answer), _) => answer.await?,
                (None, Some(problem)) => problem.into_response(),
                (None, None) => Response::default(),
            };
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits::METRICS_IDLE_MS))
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection for metrics broke");
    }
}

/// Why a request is not for here.
fn refusal(method: &Method, path: &str, headers: &HeaderMap) -> Option<Problem> {
    let served = [&routes::METRICS, &routes::LIVE, &routes::READY];
    if !served.iter().any(|route| route.path == path) {
        let paths: Vec<&str> = served.iter().map(|route| route.path).collect();
        let detail = "there is nothing of the kind at this address".to_owned();
        return Some(Problem::new(ProblemCode::UnknownRoute, detail, format!("ask for one of {}", paths.join(", "))));
    }
    if !names_this_machine(headers) || headers.contains_key(header::ORIGIN) {
        let detail = "the request comes from a page, or names another machine as its host";
        return Some(Problem::new(ProblemCode::Forbidden, detail, "ask as http://127.0.0.1 or http://localhost does"));
    }
    (method != Method::GET && method != Method::HEAD).then(|| {
        Problem::new(ProblemCode::MethodNotAllowed, format!("{path} does not take {method}"), "use GET".to_owned())
    })
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        // An IPv6 address stands in brackets, and its colons within them.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_asks_and_only_for_what_is_here() {
        let ask = |method: Method, path: &str, head: &[(&'static str, &str)]| {
            let head = head.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            refusal(&method, path, &head).map(|problem| problem.status)
        };
        for host in ["127.0.0.1:9464", "localhost:9464", "LOCALHOST", "[::1]:9464", "127.0.0.1"] {
            assert_eq!(ask(Method::GET, "/metrics", &[("host", host)]), None, "{host}");
        }
        for host in ["evil.example:9464", "127.0.0.1.evil.example", "10.0.0.1:9464", "", "localhost.evil.example"] {
            assert_eq!(ask(Method::GET, "/metrics", &[("host", host)]), Some(403), "{host}");
        }
        let here = ("host", "localhost");
        assert_eq!(ask(Method::GET, "/metrics", &[here, ("origin", "http://localhost")]), Some(403));
        assert_eq!(ask(Method::GET, "/metrics", &[]), Some(403));
        assert_eq!(ask(Method::POST, "/metrics", &[here]), Some(405));
        assert_eq!(ask(Method::GET, "/api/v1/status", &[here]), Some(404));
        assert_eq!(ask(Method::GET, "/health/ready", &[here]), None);
    }
}
