//! Who may come in: origins and pairing tokens.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use axum::{
    Json,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    guard::Wait,
    hub::{Counters, Hub},
    server::Server,
};

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

/// Whether a page of this origin may talk to us. Programs send no origin.
fn origin_allowed(hub: &Hub, headers: &HeaderMap, peer: SocketAddr) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if hub.config.allowed_origins.iter().any(|allowed| allowed.trim_end_matches('/') == origin) {
        return true;
    }
    if origin == "null" {
        return peer.ip().is_loopback();
    }
    let Some((_, authority)) = origin.split_once("://") else { return false };
    let host = host_of(authority);
    if is_loopback_host(host) {
        return peer.ip().is_loopback();
    }
    // Our own page by the address that it was fetched from. A name that a stranger's DNS could point here does not count.
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok()) == Some(authority);
    own && (host.parse::<IpAddr>().is_ok() || host.ends_with(".local"))
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

/// A peer that was let in by address or token; `None` inside when it still has to show one.
#[derive(Clone, Copy)]
pub(super) struct Admitted(pub bool);

pub(super) async fn admit(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<SocketAddr>().copied().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    let allowed = origin_allowed(&server.hub, headers, peer);
    let safe = matches!(*request.method(), Method::GET | Method::HEAD);
    let upgrade = headers.contains_key(header::UPGRADE);
    if !allowed && (!safe || upgrade) {
        Counters::add(&server.hub.refused, 1);
        let origin = origin.as_ref().and_then(|origin| origin.to_str().ok()).unwrap_or("?");
        let message = format!("pages of {origin} may not connect; list the origin in `allowed_origins`");
        return refuse(StatusCode::FORBIDDEN, "forbidden_origin", &message);
    }
    let now = Instant::now();
    if let Err(wait) = server.hub.guard.lock().request(peer.ip(), now) {
        Counters::add(&server.hub.refused, 1);
        return slow_down(wait, "too many requests");
    }
    let token = query_token(request.uri().query()).or_else(|| bearer(headers).map(str::to_owned));
    if token.is_some()
        && server.hub.config.token.is_some()
        && let Err(wait) = server.hub.guard.lock().may_try(peer.ip(), now)
    {
        Counters::add(&server.hub.refused, 1);
        return slow_down(wait, "too many wrong tokens");
    }
    let wrong = token.is_some() && !server.hub.config.accepts_token(token.as_deref());
    let admitted = peer.ip().is_loopback() || (!wrong && server.hub.config.accepts_token(token.as_deref()));
    match (wrong, token.is_some()) {
        (true, _) => server.hub.guard.lock().wrong(peer.ip(), now),
        (false, true) => server.hub.guard.lock().right(peer.ip(), now),
        _ => {}
    }
    let path = request.uri().path();
    let public = matches!(path, "/" | "/ws" | "/facelink.js" | "/app.js" | "/style.css" | "/api/v1/health");
    if (!admitted && !public) || (wrong && upgrade && !admitted) {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the pairing token is missing or wrong");
    }
    if *request.method() == Method::OPTIONS && allowed {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, authorization"));
        allow_origin(&mut response, origin);
        return response;
    }
    request.extensions_mut().insert(Admitted(admitted));
    let mut response = next.run(request).await;
    if allowed {
        allow_origin(&mut response, origin);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn allow_origin(response: &mut Response, origin: Option<HeaderValue>) {
    if let Some(origin) = origin {
        response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("origin"));
    }
}

fn slow_down(wait: Wait, what: &str) -> Response {
    let seconds = wait.seconds();
    let message = format!("{what}: try again in {seconds} s");
    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, "rate_limited", &message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        let hub = Hub::new(
            super::super::EndpointConfig {
                allowed_origins: vec!["https://show.example".to_owned()],
                ..super::super::EndpointConfig::default()
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
            (Some("null"), "127.0.0.1:8765", near, true),
            (Some("null"), "192.0.2.1:8765", far, false),
            (Some("http://evil.example"), "127.0.0.1:8765", near, false),
            (Some("http://localhost.evil.example"), "127.0.0.1:8765", near, false),
            (Some("http://evil.example:8765"), "evil.example:8765", near, false),
            (Some("http://192.0.2.1:8765"), "192.0.2.1:8765", far, true),
            (Some("http://192.0.2.66:8765"), "192.0.2.1:8765", far, false),
            (Some("https://show.example"), "192.0.2.1:8765", far, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(origin_allowed(&hub, &headers, peer), allowed, "{origin:?} at {host} from {peer}");
        }
    }

    #[test]
    fn tokens_in_the_query() {
        assert_eq!(query_token(Some("a=1&token=x%20y")), Some("x y".to_owned()));
        assert_eq!(query_token(Some("a=1")), None);
        assert_eq!(query_token(None), None);
    }
}
