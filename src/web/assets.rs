//! The files of the page, as they are embedded in the binary.
//!
//! They are sent compressed, and asked for again with what they were the last time: after the first visit nothing of them crosses the wire.

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};
use hyper::{Response, StatusCode};

struct Asset {
    path: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    packed: Vec<u8>,
    tag: String,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($path:literal = $file:literal $kind:expr;)+) => {
        static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| vec![
            $(Asset::new($path, $kind, include_bytes!(concat!("assets/", $file)))),+
        ]);
    };
}

assets! {
    "/" = "index.html" "text/html; charset=utf-8";
    "/assets/icon.svg" = "icon.svg" "image/svg+xml";
    "/assets/app.css" = "app.css" "text/css; charset=utf-8";
    "/assets/preact.js" = "preact.js" SCRIPT;
    "/assets/app.js" = "app.js" SCRIPT;
    "/assets/state.js" = "state.js" SCRIPT;
    "/assets/api.js" = "api.js" SCRIPT;
    "/assets/live.js" = "live.js" SCRIPT;
    "/assets/ui.js" = "ui.js" SCRIPT;
    "/assets/words.js" = "words.js" SCRIPT;
    "/assets/overview.js" = "overview.js" SCRIPT;
    "/assets/network.js" = "network.js" SCRIPT;
    "/assets/group.js" = "group.js" SCRIPT;
    "/assets/tokens.js" = "tokens.js" SCRIPT;
    "/assets/knowledge.js" = "knowledge.js" SCRIPT;
    "/assets/claim.js" = "claim.js" SCRIPT;
    "/assets/tasks.js" = "tasks.js" SCRIPT;
    "/assets/presence.js" = "presence.js" SCRIPT;
    "/assets/market.js" = "market.js" SCRIPT;
    "/assets/peers.js" = "peers.js" SCRIPT;
    "/assets/agents.js" = "agents.js" SCRIPT;
    "/assets/node.js" = "node.js" SCRIPT;
}

impl Asset {
    fn new(path: &'static str, kind: &'static str, plain: &'static [u8]) -> Self {
        let mut packer = GzEncoder::new(Vec::new(), Compression::best());
        // Memory takes all of it.
        let packed = packer.write_all(plain).and_then(|()| packer.finish()).unwrap_or_default();
        let tag = format!("\"{}\"", &blake3::hash(plain).to_hex()[..32]);
        Self { path, kind, plain, packed, tag }
    }
}

/// The answer to a request for a file of the page; none where there is no such file.
pub(super) fn answer(path: &str, asked: &HeaderMap) -> Option<Response<Full<Bytes>>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let says = |name, words: &str| {
        asked.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains(words))
    };
    let is_known = says(IF_NONE_MATCH, &asset.tag);
    let is_packed = says(ACCEPT_ENCODING, "gzip") && !asset.packed.is_empty();
    let body = match (is_known, is_packed) {
        (true, _) => Bytes::new(),
        (false, true) => Bytes::from_static(&asset.packed),
        (false, false) => Bytes::from_static(asset.plain),
    };
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    if is_packed && !is_known {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    // Asked again each time, so that a page and its scripts are of one version.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&asset.tag) {
        headers.insert(ETAG, tag);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_each_file_of_it_is_served() {
        let wire: usize = ASSETS.iter().map(|asset| asset.packed.len() + 600).sum();
        assert!(wire <= 100 * 1024, "{wire} bytes with their heads");
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/assets");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.retain(|name| name != "preact.LICENSE");
        assert_eq!(files.len(), ASSETS.len());
    }

    #[test]
    fn the_scripts_stay_short_and_put_no_data_into_markup() {
        for asset in ASSETS.iter().filter(|asset| asset.path != "/assets/preact.js") {
            let text = std::str::from_utf8(asset.plain).unwrap();
            for word in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "srcdoc"]
            {
                assert!(!text.contains(word), "{} has {word}", asset.path);
            }
            assert!(
                !text.contains("://") || asset.path == "/assets/icon.svg" || !text.contains("https://"),
                "{}",
                asset.path
            );
            let most = if asset.path.ends_with(".css") { 500 } else { 300 };
            assert!(text.lines().count() <= most, "{} has {} lines", asset.path, text.lines().count());
        }
    }

    /// `preact` 10 and `htm` in one file, as the npm package htm 3.1.1 has them at `preact/standalone.module.js`.
    #[test]
    fn what_others_wrote_is_what_they_published() {
        let asset = ASSETS.iter().find(|asset| asset.path == "/assets/preact.js").unwrap();
        assert_eq!(asset.tag, "\"75c2b23d96a698bfadde52c7cae5c22e\"");
    }

    #[test]
    fn a_file_is_sent_once() {
        let mut asked = HeaderMap::new();
        asked.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate, br"));
        let first = answer("/", &asked).unwrap();
        assert_eq!(first.headers()[CONTENT_ENCODING], "gzip");
        asked.insert(IF_NONE_MATCH, first.headers()[ETAG].clone());
        assert_eq!(answer("/", &asked).unwrap().status(), StatusCode::NOT_MODIFIED);
        assert!(answer("/", &HeaderMap::new()).unwrap().headers().get(CONTENT_ENCODING).is_none());
        for path in ["", "/index.html", "/assets/", "/assets/../index.html", "//"] {
            assert!(answer(path, &HeaderMap::new()).is_none(), "{path}");
        }
    }
}
