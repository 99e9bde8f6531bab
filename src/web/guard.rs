//! From where a request comes: **the names of this machine are the only ones, and what is no page comes from this very origin**.
//!
//! A page of another origin can make a browser send requests here, and can have its own name lead here (DNS rebinding). The `Host` tells the
//! second: a browser sends the name that it was given. `Origin` and `Sec-Fetch-Site`, which no page can forge, tell the first.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Request};

use crate::api::types::{Problem, ProblemCode};

/// What the page may do: show itself, and ask where it came from. No script that stands in it, none from elsewhere, no frame, no form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// What a browser is told with each answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// The names under which this machine is asked.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Of the settings, in small letters, without a port.
    pub configured: Vec<String>,
    /// Where the connection came in.
    pub local: Option<IpAddr>,
}

impl Names {
    /// Whether a `Host` names this machine. Its port is not looked at: a forwarded one is as good.
    fn has(&self, host: &str) -> bool {
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        if let Ok(ip) = name.parse::<IpAddr>() {
            return ip.is_loopback()
                || self.local.is_some_and(|local| local.to_canonical() == ip.to_canonical())
                || self.configured.iter().any(|known| known.trim_matches(['[', ']']) == name);
        }
        name.eq_ignore_ascii_case("localhost") || self.configured.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

fn only(headers: &HeaderMap, name: impl hyper::header::AsHeaderName) -> Result<Option<&str>, ()> {
    let mut given = headers.get_all(name).iter();
    let Some(first) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        return Err(());
    }
    first.to_str().map(Some).map_err(|_| ())
}

/// Lets a request through, or says why not. A `page` is what a person may open from anywhere: it does nothing and shows nothing of anybody.
pub(super) fn check<B>(request: &Request<B>, names: &Names, is_page: bool) -> Result<(), Box<Problem>> {
    let headers = request.headers();
    let host = only(headers, HOST).ok().flatten().filter(|host| names.has(host));
    let Some(host) = host else {
        let detail = "this is not asked under a name of this machine".to_owned();
        let remedy = "use http://127.0.0.1 or http://localhost with its port, or give the name with `lbm-node --admin-host NAME`";
        return Err(Box::new(Problem::new(ProblemCode::WrongOrigin, detail, remedy)));
    };
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if is_page && reads {
        return Ok(());
    }
    let foreign = |what: &str| {
        let remedy = "open the panel itself: `lbm ctl admin url` prints a link to it";
        Err(Box::new(Problem::new(ProblemCode::WrongOrigin, format!("this comes from another page: {what}"), remedy)))
    };
    match only(headers, "sec-fetch-site") {
        Ok(None | Some("same-origin")) => {}
        Ok(Some(_)) | Err(()) => return foreign("`Sec-Fetch-Site` says so"),
    }
    let own = |origin: &str| origin.split_once("://").is_some_and(|(scheme, rest)| is_web(scheme) && rest == host);
    match only(headers, ORIGIN) {
        Ok(Some(origin)) if own(origin) => {}
        Ok(None) if reads => {}
        Ok(Some(_)) | Err(()) => return foreign("its `Origin` is another"),
        Ok(None) => return foreign("it has no `Origin`"),
    }
    if reads || is_json(headers) {
        return Ok(());
    }
    let detail = "what changes something must be of the type application/json";
    Err(Box::new(Problem::new(ProblemCode::BadRequest, detail, "send it as that, as the panel does")))
}

fn is_web(scheme: &str) -> bool {
    scheme == "http" || scheme == "https"
}

fn is_json(headers: &HeaderMap) -> bool {
    let Ok(Some(kind)) = only(headers, CONTENT_TYPE) else { return false };
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Adds to an answer what protects whoever reads it in a browser.
pub(super) fn harden(headers: &mut HeaderMap) {
    for (name, value) in &HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// The address of the panel, as a browser on this machine calls it.
pub(super) fn page(address: SocketAddr) -> String {
    let mut shown = address;
    if address.ip().is_unspecified() {
        shown.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { configured: vec!["laptop.local".to_owned()], local: Some([192, 168, 1, 7].into()) }
    }

    fn request(method: Method, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    #[test]
    fn a_host_names_this_machine_or_nothing_is_done() {
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:9", "[::1]:8080", "192.168.1.7:80", "Laptop.Local:1"] {
            assert!(check(&request(Method::GET, &[("host", host)]), &names(), true).is_ok(), "{host}");
        }
        for host in
            ["", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1"]
        {
            for is_page in [true, false] {
                let refused = check(&request(Method::GET, &[("host", host)]), &names(), is_page).unwrap_err();
                assert_eq!(refused.code, ProblemCode::WrongOrigin, "{host}");
            }
        }
        assert!(check(&request(Method::GET, &[]), &names(), true).is_err(), "none");
        let two = [("host", "localhost"), ("host", "localhost")];
        assert!(check(&request(Method::GET, &two), &names(), true).is_err(), "two");
    }

    #[test]
    fn what_is_no_page_comes_from_this_origin() {
        const HOST: (&str, &str) = ("host", "localhost:8080");
        const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
        let own = ("origin", "http://localhost:8080");
        let site = |site| ("sec-fetch-site", site);
        let ok = |method: Method, headers: &[(&str, &str)]| check(&request(method, headers), &names(), false).is_ok();
        assert!(ok(Method::GET, &[HOST]) && ok(Method::GET, &[HOST, site("same-origin")]));
        assert!(ok(Method::POST, &[HOST, JSON, own]) && ok(Method::POST, &[HOST, JSON, own, site("same-origin")]));
        assert!(ok(Method::POST, &[HOST, JSON, ("origin", "https://localhost:8080")]), "behind a proxy");
        for foreign in ["cross-site", "same-site", "none", "x"] {
            assert!(!ok(Method::GET, &[HOST, site(foreign)]), "{foreign}");
            assert!(!ok(Method::POST, &[HOST, JSON, own, site(foreign)]), "{foreign}");
        }
        for origin in
            ["null", "", "http://evil.example", "http://localhost", "http://localhost:9", "x://localhost:8080"]
        {
            assert!(!ok(Method::GET, &[HOST, ("origin", origin)]), "{origin}");
            assert!(!ok(Method::POST, &[HOST, JSON, ("origin", origin)]), "{origin}");
        }
        assert!(!ok(Method::POST, &[HOST, JSON]), "no origin");
        for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"] {
            assert!(!ok(Method::POST, &[HOST, own, ("content-type", kind)]), "{kind}");
        }
        assert!(!ok(Method::DELETE, &[HOST, own]), "no type");
    }

    #[test]
    fn an_address_for_everybody_is_shown_as_loopback() {
        for (address, url) in
            [("0.0.0.0:80", "http://127.0.0.1:80"), ("[::]:8", "http://[::1]:8"), ("127.0.0.2:9", "http://127.0.0.2:9")]
        {
            assert_eq!(page(address.parse().unwrap()), url);
        }
    }
}
