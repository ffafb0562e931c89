//! Admission: which requests are admitted, by origin, host name, rate and pairing token.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, HttpBody},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;

#[cfg(all(feature = "http", feature = "tls"))]
use super::certificate;
#[cfg(feature = "http")]
use super::page;
use super::state::{Admitted, Server, refuse};
use crate::{
    auth::{AuthLevel, Denied, Grant},
    hub::{Counters, Hub},
    rate_limit::Wait,
    roles::TokenRole,
};

/// A request that is not answered by then is cancelled. The slowest answer, to an offer, waits three seconds for its
/// candidates.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Whether the host of an `Origin` or `Host` value is this machine.
fn is_loopback_host(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// What a page's origin is to this endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// Its pages may connect; or there is no page: programs send no origin.
    Allowed,
    /// `null`: a file, or a frame that any page can make. It may connect when it shows the token.
    Opaque,
    /// Its pages may not connect.
    Foreign,
}

impl Origin {
    fn of(hub: &Hub, headers: &HeaderMap, peer: SocketAddr) -> Self {
        let Some(origin) = headers.get(header::ORIGIN) else { return Self::Allowed };
        let Ok(origin) = origin.to_str() else { return Self::Foreign };
        let listed = hub.config.allowed_origins.iter().any(|allowed| allowed.trim_end_matches('/') == origin);
        if !listed && origin == "null" {
            return Self::Opaque;
        }
        if listed || is_own(origin, headers, peer) { Self::Allowed } else { Self::Foreign }
    }
}

/// Whether an origin is ours, or of this machine.
fn is_own(origin: &str, headers: &HeaderMap, peer: SocketAddr) -> bool {
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let host = host_of(authority);
    if is_loopback_host(host) {
        return peer.ip().is_loopback();
    }
    // Our own page by the address that it was fetched from. A name that a foreign DNS server could point here does not count.
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok()) == Some(authority);
    own && (host.parse::<IpAddr>().is_ok() || host.ends_with(".local"))
}

/// Whether a request to this machine itself was meant for it. A foreign page may have its own name point to 127.0.0.1
/// and then asks without an `Origin`, as a page asks its own server.
fn host_allowed(hub: &Hub, headers: &HeaderMap) -> bool {
    let Some(authority) = headers.get(header::HOST) else { return true };
    let Ok(authority) = authority.to_str() else { return false };
    let host = host_of(authority);
    let of_origin =
        |origin: &String| origin.split_once("://").map(|(_, rest)| host_of(rest.trim_end_matches('/')) == host);
    is_loopback_host(host)
        || host.parse::<IpAddr>().is_ok()
        || host.ends_with(".local")
        // A name without a dot cannot be registered on the Internet.
        || !host.contains('.')
        || hub.config.allowed_origins.iter().any(|origin| of_origin(origin) == Some(true))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ").map(str::trim)
}

fn query_token(query: Option<&str>) -> Option<String> {
    #[derive(Deserialize)]
    struct Token {
        token: Option<String>,
    }
    let uri = format!("/?{}", query?).parse().ok()?;
    Query::<Token>::try_from_uri(&uri).ok()?.0.token
}

/// Why a request is refused.
enum Refusal {
    /// Pages of this origin have no business here.
    Origin(String),
    /// This machine was asked under a name that is not its own.
    Host,
    /// Too many requests, or too many wrong tokens.
    Later(Wait, &'static str),
    /// The token is missing or wrong.
    Token,
    /// The token has not this role.
    Role(TokenRole),
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Origin(origin) => {
                let or = if origin == "null" { ", or show the token" } else { "" };
                let message = format!("pages of {origin} may not connect; list the origin in `allowed_origins`{or}");
                refuse(StatusCode::FORBIDDEN, "forbidden_origin", &message)
            }
            Self::Host => {
                let message = "this name is not known to be this machine's; list it in `allowed_origins`";
                refuse(StatusCode::FORBIDDEN, "forbidden_host", message)
            }
            Self::Later(wait, what) => {
                let seconds = wait.seconds();
                let message = format!("{what}: try again in {seconds} s");
                let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "rate_limited", &message);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
            Self::Token => refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the pairing token is missing or wrong"),
            Self::Role(role) => {
                let message = format!("the token has not the role `{role}`");
                refuse(StatusCode::FORBIDDEN, "forbidden_role", &message)
            }
        }
    }
}

/// By what a peer is let in. A WebSocket may also show a token in `hello`.
fn judge(hub: &Hub, request: &Request, peer: IpAddr, origin: Origin, now: Instant) -> Result<Admitted, Refusal> {
    hub.auth.count_request(peer, now).map_err(|wait| Refusal::Later(wait, "too many requests"))?;
    let headers = request.headers();
    let options = *request.method() == Method::OPTIONS;
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let upgrade = headers.contains_key(header::UPGRADE);
    let token = query_token(request.uri().query()).or_else(|| bearer(headers).map(str::to_owned));
    let denied = |denied| match denied {
        Denied::Wait(wait) => Refusal::Later(wait, "too many wrong tokens"),
        Denied::Token => Refusal::Token,
    };
    if peer.is_loopback() && !host_allowed(hub, headers) {
        return Err(Refusal::Host);
    }
    // A browser asks what it may ask before it shows a token.
    let asks = options && hub.auth.has_token();
    let must_show = origin == Origin::Opaque && token.is_some() && hub.auth.has_token() && !options;
    if origin != Origin::Allowed && (!safe || upgrade) && !must_show && !(origin == Origin::Opaque && asks) {
        let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or("?");
        return Err(Refusal::Origin(origin.to_owned()));
    }
    if must_show {
        return hub
            .auth
            .check_token(peer, token.as_deref(), now)
            .map_err(denied)
            .and_then(|grant| permitted(request, grant));
    }
    let public = is_public(request.uri().path());
    // Public files are given without a look at the token: a page that was opened by an old link is no guess.
    if (public && !upgrade) || options {
        return Ok(Admitted(None));
    }
    match hub.auth.check(peer, token.as_deref(), now) {
        Ok(grant) => permitted(request, grant),
        // It may still show one in `hello`.
        Err(Denied::Token) if public && token.is_none() => Ok(Admitted(None)),
        Err(error) => Err(denied(error)),
    }
}

/// Whether a peer may ask for this path, by its roles.
fn permitted(request: &Request, grant: Grant) -> Result<Admitted, Refusal> {
    let path = request.uri().path();
    let role = match path {
        "/api/v1/rtc/offer" => None,
        "/api/v1/subjects" | "/api/v1/rig" => Some(TokenRole::View),
        "/api/v1/pictures" | "/api/v1/whep" => Some(TokenRole::View),
        _ if path.starts_with("/api/v1/whip") => Some(TokenRole::Publish),
        "/metrics" => Some(TokenRole::Direct),
        _ if is_public(path) || !path.starts_with("/api/") => None,
        _ => Some(TokenRole::Direct),
    };
    match role.filter(|role| !grant.may(*role)) {
        Some(role) => Err(Refusal::Role(role)),
        None => Ok(Admitted(Some(grant))),
    }
}

/// Whether this path needs no token.
fn is_public(path: &str) -> bool {
    #[cfg(feature = "http")]
    if page::paths().any(|file| file == path) {
        return true;
    }
    #[cfg(all(feature = "http", feature = "tls"))]
    if certificate::is_public(path) {
        return true;
    }
    matches!(path, "/" | "/ws" | "/view" | "/api/v1/health")
}

pub(super) async fn admit(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<SocketAddr>().copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let read = watch_body(&mut request);
    let named = request.headers().get(header::ORIGIN).cloned();
    let origin = Origin::of(&server.hub, request.headers(), peer);
    let verdict = judge(&server.hub, &request, peer.ip(), origin, Instant::now());
    let options = *request.method() == Method::OPTIONS;
    let by_token = |grant: Grant| matches!(grant.level, AuthLevel::Token | AuthLevel::Issued);
    let shown = matches!(verdict, Ok(Admitted(Some(grant))) if by_token(grant));
    let readable = origin == Origin::Allowed || (origin == Origin::Opaque && (shown || (options && verdict.is_ok())));
    let mut response = match verdict {
        Err(refusal) => {
            Counters::add(&server.hub.refused, 1);
            refusal.into_response()
        }
        Ok(_) if options => preflight(),
        Ok(admitted) => {
            request.extensions_mut().insert(admitted);
            // A body that never comes.
            match tokio::time::timeout(ANSWER_LIMIT, next.run(request)).await {
                Ok(response) => response,
                Err(_) => {
                    Counters::add(&server.hub.refused, 1);
                    refuse(StatusCode::REQUEST_TIMEOUT, "timeout", "the request did not come to an end")
                }
            }
        }
    };
    if readable {
        allow_origin(&mut response, named);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if !read.load(Ordering::Acquire) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Whether the body has been read to its end. The connection of one that has not cannot be used again, which a client has to
/// be told: it would send its next request there.
fn watch_body(request: &mut Request) -> Arc<AtomicBool> {
    let read = Arc::new(AtomicBool::new(request.body().is_end_stream()));
    if !read.load(Ordering::Acquire) {
        let ended = read.clone();
        let end = stream::poll_fn(move |_| {
            ended.store(true, Ordering::Release);
            Poll::Ready(None)
        });
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = Body::from_stream(body.into_data_stream().chain(end));
    }
    read
}

fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, authorization"));
    response
}

fn allow_origin(response: &mut Response, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
        response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admission_origins() {
        let hub = Hub::new(
            crate::config::EndpointConfig {
                allowed_origins: vec!["https://show.example".to_owned()],
                ..crate::config::EndpointConfig::default()
            },
            Instant::now(),
        );
        let near = SocketAddr::from(([127, 0, 0, 1], 9));
        let far = SocketAddr::from(([192, 0, 2, 7], 9));
        for (origin, host, peer, allowed) in [
            (None, "127.0.0.1:8765", near, true),
            (Some("http://127.0.0.1:8765"), "127.0.0.1:8765", near, true),
            (Some("http://localhost:3000"), "127.0.0.1:8765", near, true),
            (Some("http://[::1]:3000"), "[::1]:8765", near, true),
            (Some("null"), "127.0.0.1:8765", near, false),
            (Some("null"), "192.0.2.1:8765", far, false),
            (Some("http://evil.example"), "127.0.0.1:8765", near, false),
            (Some("http://localhost.evil.example"), "127.0.0.1:8765", near, false),
            (Some("http://evil.example:8765"), "evil.example:8765", near, false),
            (Some("http://192.0.2.1:8765"), "192.0.2.1:8765", far, true),
            (Some("https://192.0.2.1:8765"), "192.0.2.1:8765", far, true),
            (Some("https://localhost:8765"), "localhost:8765", near, true),
            (Some("https://stage.local:8765"), "stage.local:8765", far, true),
            (Some("https://192.0.2.1"), "192.0.2.1:8765", far, false),
            (Some("https://evil.example"), "192.0.2.1:8765", far, false),
            (Some("http://192.0.2.66:8765"), "192.0.2.1:8765", far, false),
            (Some("https://show.example"), "192.0.2.1:8765", far, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            let is_allowed = Origin::of(&hub, &headers, peer) == Origin::Allowed;
            assert_eq!(is_allowed, allowed, "{origin:?} at {host} from {peer}");
        }
    }

    #[test]
    fn admission_foreign_host_name_is_refused() {
        let config = crate::config::EndpointConfig {
            allowed_origins: vec!["https://show.example:8443/".to_owned()],
            ..crate::config::EndpointConfig::default()
        };
        let hub = Hub::new(config, Instant::now());
        for (host, allowed) in [
            ("localhost:8765", true),
            ("127.0.0.1:8765", true),
            ("[::1]:8765", true),
            ("192.0.2.7:8765", true),
            ("stage.local:8765", true),
            ("stage:8765", true),
            ("show.example", true),
            ("evil.example:8765", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example:8765", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            assert_eq!(host_allowed(&hub, &headers), allowed, "{host}");
        }
        assert!(host_allowed(&hub, &HeaderMap::new()), "no browser");
    }

    #[test]
    fn admission_by_path_origin_and_token() {
        let config = crate::config::EndpointConfig {
            token: Some("right".to_owned()),
            allowed_origins: vec!["https://show.example".to_owned()],
            ..crate::config::EndpointConfig::default()
        };
        let hub = Hub::new(config, Instant::now());
        let now = Instant::now();
        let (near, far) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([192, 0, 2, 7]));
        let ask = |method: &str, path: &str, upgrade: bool, origin: Option<&str>, peer: IpAddr| {
            let mut request = axum::http::Request::builder().method(method).uri(path);
            if upgrade {
                request = request.header(header::UPGRADE, "websocket");
            }
            if let Some(origin) = origin {
                request = request.header(header::ORIGIN, origin);
            }
            let request = request.body(Body::empty()).expect("a request");
            let origin = Origin::of(&hub, request.headers(), SocketAddr::new(peer, 9));
            match judge(&hub, &request, peer, origin, now) {
                Ok(Admitted(Some(_))) => "in",
                Ok(Admitted(None)) => "may show one",
                Err(Refusal::Origin(_)) => "origin",
                Err(Refusal::Host) => "host",
                Err(Refusal::Later(..)) => "later",
                Err(Refusal::Token) => "token",
                Err(Refusal::Role(_)) => "role",
            }
        };
        let show = Some("https://show.example");
        for (method, path, upgrade, origin, peer, wanted) in [
            ("GET", "/?token=wrong", false, None, far, "may show one"),
            ("GET", "/api/v1/health?token=wrong", false, None, far, "may show one"),
            ("GET", "/?token=wrong", true, None, near, "in"),
            ("GET", "/api/v1/stats?token=wrong", false, None, near, "in"),
            ("GET", "/ws", true, None, far, "may show one"),
            ("GET", "/ws?token=right", true, None, far, "in"),
            ("GET", "/api/v1/stats", false, None, far, "token"),
            ("OPTIONS", "/api/v1/rtc/offer", false, show, far, "may show one"),
            ("OPTIONS", "/api/v1/rtc/offer", false, Some("https://evil.example"), far, "origin"),
            ("POST", "/api/v1/rtc/offer", false, show, far, "token"),
            ("POST", "/api/v1/rtc/offer?token=right", false, show, far, "in"),
            ("POST", "/api/v1/rtc/offer?token=right", false, Some("https://evil.example"), far, "origin"),
            ("GET", "/ws?token=right", true, Some("https://evil.example"), near, "origin"),
            ("GET", "/ws", true, Some("null"), near, "origin"),
            ("GET", "/ws?token=right", true, Some("null"), near, "in"),
            ("GET", "/ws?token=wrong", true, Some("null"), near, "token"),
            ("GET", "/ws?token=right", true, Some("null"), far, "in"),
            ("POST", "/api/v1/phones", false, Some("null"), near, "origin"),
            ("POST", "/api/v1/phones?token=right", false, Some("null"), near, "in"),
            ("OPTIONS", "/api/v1/phones", false, Some("null"), near, "may show one"),
        ] {
            // None of these counts as a guess, however often.
            for _ in 0..5 {
                assert_eq!(ask(method, path, upgrade, origin, peer), wanted, "{method} {path} from {peer}");
            }
        }
        for _ in 0..3 {
            assert_eq!(ask("GET", "/ws?token=wrong", true, None, far), "token");
        }
        assert_eq!(ask("GET", "/ws?token=right", true, None, far), "later");
        assert_eq!(ask("GET", "/?token=right", false, None, far), "may show one", "the page itself is there");
        assert_eq!(ask("GET", "/ws?token=right", true, None, [192, 0, 2, 8].into()), "in");
    }

    #[test]
    fn admission_opaque_origin_is_foreign_unless_listed() {
        let ask = |config: crate::config::EndpointConfig, method: &str, token: &str| {
            let hub = Hub::new(config, Instant::now());
            let request = axum::http::Request::builder().method(method).uri(format!("/ws{token}"));
            let request = request.header(header::UPGRADE, "websocket").header(header::ORIGIN, "null");
            let request = request.body(Body::empty()).expect("a request");
            let near = SocketAddr::from(([127, 0, 0, 1], 9));
            let origin = Origin::of(&hub, request.headers(), near);
            judge(&hub, &request, near.ip(), origin, Instant::now()).map_err(drop)
        };
        let without_token = crate::config::EndpointConfig::default();
        for token in ["", "?token=", "?token=any"] {
            assert_eq!(ask(without_token.clone(), "GET", token), Err(()), "there is no token to show: {token}");
            assert_eq!(ask(without_token.clone(), "OPTIONS", token), Err(()));
        }
        let listed = crate::config::EndpointConfig { allowed_origins: vec!["null".to_owned()], ..without_token };
        assert_eq!(ask(listed, "GET", ""), Ok(Admitted(Some(AuthLevel::Exempt.into()))));
    }

    #[test]
    fn admission_token_in_the_query() {
        assert_eq!(query_token(Some("a=1&token=x%20y")), Some("x y".to_owned()));
        assert_eq!(query_token(Some("a=1")), None);
        assert_eq!(query_token(None), None);
    }
}
