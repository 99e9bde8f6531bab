//! Each request's name: the one that its sender gave it, or a new one. In the log, in the answer's head, and in each refusal.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::Api;
use crate::api::REQUEST_ID_HEADER;
use crate::api::routes::Route;
use crate::limits;
use crate::metrics::Queue;

tokio::task_local! {
    static NAME: HeaderValue;
}

/// What of a name may stand in a log and in a URI.
fn is_name(name: &HeaderValue) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    (1..=limits::REQUEST_ID_BYTES).contains(&name.len()) && name.as_bytes().iter().all(allowed)
}

/// A name that no other request has.
fn new_name() -> HeaderValue {
    let mut bytes = [0; 12];
    // Without randomness the names are alike, and nothing else is wrong.
    let _alike = getrandom::fill(&mut bytes);
    HeaderValue::try_from(hex::encode(bytes)).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

/// Names the request, for all that is done about it, and counts it.
pub(super) async fn name(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let given = request.headers().get(REQUEST_ID_HEADER).filter(|given| is_name(given)).cloned();
    let name = given.unwrap_or_else(new_name);
    let span = tracing::info_span!("request", id = name.to_str().unwrap_or_default());
    let method = request.method().clone();
    let mut response = NAME.scope(name.clone(), next.run(request).instrument(span.clone())).await;
    let (took, status) = (began.elapsed(), response.status().as_u16());
    // What no route names is not told: it is whatever somebody typed.
    let route = response.extensions().get::<&'static Route>();
    let (called, path) = route.map_or(("none", "none"), |route| (route.name, route.path));
    api.node().metrics.answered(called, status, took);
    if let Some(queue) = response.extensions().get::<Queue>() {
        api.node().metrics.overflowed(*queue, 1);
    }
    span.in_scope(|| tracing::debug!(%method, path, status, ms = took.as_millis() as u64, "answered"));
    response.headers_mut().insert(REQUEST_ID_HEADER, name);
    response
}

/// The URI of the request that is being answered, for a problem's `instance`.
pub(super) fn instance() -> Option<Box<str>> {
    NAME.try_with(|name| name.to_str().ok().map(|name| format!("urn:lbm:request:{name}").into())).ok().flatten()
}
