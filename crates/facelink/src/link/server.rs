//! HTTP and WebSocket on one port.

use std::{
    collections::VecDeque,
    fmt::Write,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Extension, Query, Request, State,
        ws::{CloseFrame, Message as WsMessage, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::{
    SourceKind,
    hub::{Counters, Hub},
    peer::{self, PeerCommand, PeerHandle},
    session::{Action, Actions, CLOSE_UNAUTHORISED, Lane, OUT_QUEUE, Session, unix_ms, values_json},
    subscribe,
};
use crate::wire::json::{Decoder, MAX_MESSAGE};

/// A request's head must be there by then.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// TCP connections that have not sent a request yet; the oldest goes when one too many comes.
const MOST_PENDING: usize = 128;
/// A peer that has not said hello with its token by then is sent away.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(1);
/// A WebSocket that does not even answer pings is gone.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// A peer that does not take what we send for this long is sent away.
const STALLED_AFTER: Duration = Duration::from_secs(5);

const PAGE: &str = include_str!("../../../../assets/web/index.html");
const CLIENT: &str = include_str!("../../../../assets/web/facelink.js");
const APP: &str = include_str!("../../../../assets/web/app.js");
const STYLE: &str = include_str!("../../../../assets/web/style.css");

#[derive(Clone)]
struct Server {
    hub: Arc<Hub>,
    cancel: CancellationToken,
    /// Sessions that came by `POST /api/v1/rtc/offer`, by id.
    posted: Arc<Mutex<Vec<(Arc<str>, PeerHandle, Arc<Session>)>>>,
}

/// Accepts until it is cancelled.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener, cancel: CancellationToken) {
    let server = Server { hub: hub.clone(), cancel: cancel.clone(), posted: Arc::default() };
    let router = Router::new()
        .route("/", get(root))
        .route("/ws", get(root))
        .route("/facelink.js", get(|| async { asset("text/javascript", CLIENT) }))
        .route("/app.js", get(|| async { asset("text/javascript", APP) }))
        .route("/style.css", get(|| async { asset("text/css", STYLE) }))
        .route("/api/v1/rtc/offer", post(rtc_offer))
        .route("/api/v1/health", get(health))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/subjects", get(subjects))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(server.clone(), admit))
        .with_state(server);
    let mut pending: VecDeque<(Arc<AtomicBool>, CancellationToken)> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, mostly: it passes when connections end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        pending.retain(|(asked, token)| !asked.load(Ordering::Relaxed) && !token.is_cancelled());
        if pending.len() >= MOST_PENDING
            && let Some((_, oldest)) = pending.pop_front()
        {
            Counters::add(&hub.refused, 1);
            oldest.cancel();
        }
        let (asked, token) = (Arc::new(AtomicBool::new(false)), cancel.child_token());
        pending.push_back((asked.clone(), token.clone()));
        let router = router.clone();
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                asked.store(true, Ordering::Relaxed);
                request.extensions_mut().insert(peer);
                router.clone().call(request.map(Body::new))
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_headers(64);
            let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
            tokio::select! {
                () = token.cancelled() => {}
                _ = connection => {}
            }
            // Whatever ended it, it is pending no longer.
            token.cancel();
        });
    }
}

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
struct Admitted(bool);

async fn admit(State(server): State<Server>, mut request: Request, next: Next) -> Response {
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
    let token = query_token(request.uri().query()).or_else(|| bearer(headers).map(str::to_owned));
    let wrong = token.is_some() && !server.hub.config.accepts_token(token.as_deref());
    let admitted = peer.ip().is_loopback() || (!wrong && server.hub.config.accepts_token(token.as_deref()));
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

fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let policy = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; style-src 'self'; \
                  base-uri 'none'; frame-ancestors 'self'";
    (
        [
            (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
            (header::CONTENT_SECURITY_POLICY, policy.to_owned()),
        ],
        text,
    )
        .into_response()
}

/// The page, or a WebSocket.
async fn root(
    State(server): State<Server>,
    Extension(peer): Extension<SocketAddr>,
    Extension(Admitted(admitted)): Extension<Admitted>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(upgrade) = upgrade else {
        if headers.contains_key(header::UPGRADE) {
            return refuse(StatusCode::BAD_REQUEST, "bad_upgrade", "not a WebSocket upgrade");
        }
        return asset("text/html", PAGE);
    };
    let id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let counters = Arc::new(Counters::default());
    let now = Instant::now();
    let Some(key) = server.hub.connect(SourceKind::WebSocket, id.clone(), Some(peer), counters.clone(), now) else {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", "too many connections");
    };
    let session = Session::new(&server.hub, key, id, Some(peer), counters, admitted);
    let hub = server.hub.clone();
    upgrade
        // Refused with an error by the decoder, rather than by a closed connection.
        .max_message_size(MAX_MESSAGE * 4)
        .max_frame_size(MAX_MESSAGE * 4)
        .on_failed_upgrade(move |error: axum::Error| hub.disconnect(key, &error.to_string(), Instant::now()))
        .on_upgrade(move |socket| serve_socket(server, session, socket))
}

async fn serve_socket(server: Server, session: Arc<Session>, socket: WebSocket) {
    let cancel = server.cancel.child_token();
    let (out, queue) = mpsc::channel::<WsMessage>(OUT_QUEUE);
    let (text_out, text_queue) = mpsc::channel::<String>(OUT_QUEUE);
    session.set_ws(Some(text_out.clone()));
    let (sink, stream) = socket.split();
    let mut writer = tokio::spawn(write_socket(session.clone(), sink, queue, text_queue, cancel.clone()));
    let mut reader = Reader { server, session: session.clone(), out, text_out, cancel: cancel.clone(), peer: None };
    let reason = reader.run(stream).await;
    let Reader { peer, out, text_out, .. } = reader;
    drop((out, text_out));
    session.set_ws(None);
    let channel_lives = session.channel_is_open();
    if !channel_lives {
        if let Some(peer) = &peer {
            peer.cancel.cancel();
        }
        session.hub.disconnect(session.key, reason, Instant::now());
    }
    drop(peer);
    // The writer still says goodbye.
    if tokio::time::timeout(Duration::from_millis(500), &mut writer).await.is_err() {
        writer.abort();
    }
    if !channel_lives {
        cancel.cancel();
    }
}

struct Reader {
    server: Server,
    session: Arc<Session>,
    out: mpsc::Sender<WsMessage>,
    text_out: mpsc::Sender<String>,
    cancel: CancellationToken,
    peer: Option<PeerHandle>,
}

impl Reader {
    async fn run(&mut self, mut stream: futures_util::stream::SplitStream<WebSocket>) -> &'static str {
        let mut decoder = Decoder::default();
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let hello_by = tokio::time::Instant::now() + HELLO_LIMIT;
        let started = Instant::now();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => {
                    self.close(1001, "this side stops");
                    return "this side stops";
                }
                () = tokio::time::sleep_until(hello_by), if !self.session.is_authorised() => {
                    self.close(CLOSE_UNAUTHORISED, "no token in time");
                    return "no token in time";
                }
                _ = ping.tick() => {
                    if heard.elapsed() > DEAD_AFTER {
                        return "the peer does not answer";
                    }
                    let sent = started.elapsed().as_nanos() as u64;
                    let _ = self.out.try_send(WsMessage::Ping(sent.to_le_bytes().to_vec().into()));
                    if self.session.is_introduced() {
                        let _ = self.text_out.try_send(format!(r#"{{"type":"ping","t":{}}}"#, unix_ms()));
                    }
                }
                message = stream.next() => {
                    let now = Instant::now();
                    heard = now;
                    let actions = match message {
                        Some(Ok(WsMessage::Text(text))) => {
                            self.session.on_text(&mut decoder, Lane::WebSocket, text.as_str(), now)
                        }
                        Some(Ok(WsMessage::Binary(bytes))) => self.session.on_binary(Lane::WebSocket, &bytes, now),
                        Some(Ok(WsMessage::Pong(payload))) => {
                            if let Ok(sent) = <[u8; 8]>::try_from(payload.as_ref()) {
                                let sent = Duration::from_nanos(u64::from_le_bytes(sent));
                                if let Some(rtt) = started.elapsed().checked_sub(sent) {
                                    self.session.record_rtt(rtt.as_secs_f32() * 1000.0);
                                }
                            }
                            continue;
                        }
                        Some(Ok(WsMessage::Ping(_))) => continue,
                        Some(Ok(WsMessage::Close(_))) | None => return "closed by the peer",
                        Some(Err(error)) => {
                            tracing::debug!(connection = %self.session.id, %error, "WebSocket failed");
                            return "the WebSocket failed";
                        }
                    };
                    if let Some(reason) = self.act(actions).await {
                        return reason;
                    }
                }
            }
        }
    }

    async fn act(&mut self, actions: Actions) -> Option<&'static str> {
        for action in actions {
            match action {
                // Waits for a slow reader, so that one that only asks and never reads stops being served.
                Action::Reply(text) => {
                    if self.text_out.send(text).await.is_err() {
                        return Some("the peer does not read");
                    }
                }
                Action::Offer(sdp) => self.on_offer(sdp).await,
                Action::Answer => {
                    let _ = self.text_out.try_send(error_json("unexpected", "field `type`: no offer was made"));
                }
                Action::Candidate(candidate) => {
                    if let Some(peer) = &self.peer {
                        let _ = peer.commands.try_send(PeerCommand::Candidate(candidate));
                    }
                }
                Action::Subscriptions => subscribe::start(&self.session, &self.cancel),
                Action::Close(code, reason) => {
                    self.close(code, reason);
                    return Some(reason);
                }
            }
        }
        None
    }

    async fn on_offer(&mut self, sdp: String) {
        if let Some(peer) = &self.peer {
            if peer.continues(&sdp) {
                let _ = peer.commands.try_send(PeerCommand::Offer(sdp));
                return;
            }
            // A new connection of the same client: the old one is of no use to it any more.
            peer.cancel.cancel();
            self.peer = None;
        }
        let cancel = self.server.cancel.child_token();
        match peer::accept(&self.session, sdp, Some(self.text_out.clone()), cancel).await {
            Ok((answer, peer)) => {
                let _ = self.text_out.try_send(json!({"type": "answer", "sdp": answer}).to_string());
                self.peer = Some(peer);
            }
            Err(error) => {
                Counters::add(&self.session.counters.refused, 1);
                let _ = self.text_out.try_send(error_json("bad_field", &format!("offer: {error}")));
            }
        }
    }

    fn close(&self, code: u16, reason: &'static str) {
        let frame = CloseFrame { code, reason: reason.into() };
        let _ = self.out.try_send(WsMessage::Close(Some(frame)));
    }
}

fn error_json(code: &str, message: &str) -> String {
    json!({"type": "error", "code": code, "message": message}).to_string()
}

async fn write_socket(
    session: Arc<Session>,
    mut sink: futures_util::stream::SplitSink<WebSocket, WsMessage>,
    mut queue: mpsc::Receiver<WsMessage>,
    mut text_queue: mpsc::Receiver<String>,
    cancel: CancellationToken,
) {
    let mut talking = true;
    loop {
        let message = tokio::select! {
            biased;
            text = text_queue.recv(), if talking => match text {
                Some(text) => WsMessage::Text(text.into()),
                None => {
                    talking = false;
                    continue;
                }
            },
            message = queue.recv() => match message {
                Some(message) => message,
                None => break,
            },
        };
        let bytes = if let WsMessage::Text(text) = &message { text.len() } else { 0 };
        let last = matches!(message, WsMessage::Close(_));
        match tokio::time::timeout(STALLED_AFTER, sink.send(message)).await {
            Ok(Ok(())) => Counters::add(&session.counters.bytes_out, bytes as u64),
            _ => {
                cancel.cancel();
                return;
            }
        }
        if last {
            break;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), sink.close()).await;
}

#[derive(Deserialize)]
struct OfferBody {
    sdp: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    session_id: Option<String>,
}

async fn rtc_offer(
    State(server): State<Server>,
    Extension(peer_address): Extension<SocketAddr>,
    body: Result<Json<OfferBody>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let Json(offer) = match body {
        Ok(body) => body,
        Err(error) => {
            Counters::add(&server.hub.refused, 1);
            return refuse(StatusCode::BAD_REQUEST, "bad_json", &error.body_text());
        }
    };
    if offer.kind.as_deref().is_some_and(|kind| kind != "offer") {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::BAD_REQUEST, "bad_field", "field `type`: must be \"offer\"");
    }
    if offer.session_id.as_deref().is_some_and(|id| crate::wire::json::check_name(id).is_err()) {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::BAD_REQUEST, "bad_field", "field `session_id`: must be 1 to 128 printable bytes");
    }
    let id: Arc<str> = offer.session_id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()).into();
    {
        // The same client once more: its old connection goes.
        let mut posted = server.posted.lock();
        posted.retain(|(old, handle, session)| {
            let ended = handle.commands.is_closed();
            let replaced = *old == id && session.address.map(|address| address.ip()) == Some(peer_address.ip());
            if replaced {
                handle.cancel.cancel();
            }
            !ended && !replaced
        });
        if posted.iter().any(|(other, ..)| *other == id) {
            Counters::add(&server.hub.refused, 1);
            return refuse(StatusCode::CONFLICT, "bad_field", "field `session_id`: in use by another client");
        }
    }
    let counters = Arc::new(Counters::default());
    let now = Instant::now();
    let Some(key) = server.hub.connect(SourceKind::WebRtc, id.clone(), Some(peer_address), counters.clone(), now)
    else {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", "too many connections");
    };
    // The offer itself came with the token where one is needed.
    let session = Session::new(&server.hub, key, id.clone(), Some(peer_address), counters, true);
    match peer::accept(&session, offer.sdp, None, server.cancel.child_token()).await {
        Ok((sdp, handle)) => {
            server.posted.lock().push((id.clone(), handle, session));
            Json(json!({"sdp": sdp, "type": "answer", "session_id": &*id})).into_response()
        }
        Err(error) => {
            server.hub.disconnect(key, "bad offer", Instant::now());
            Counters::add(&server.hub.refused, 1);
            refuse(StatusCode::BAD_REQUEST, "bad_field", &error.to_string())
        }
    }
}

async fn health(State(server): State<Server>) -> Response {
    Json(json!({
        "status": "healthy",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": server.hub.started.elapsed().as_secs_f64(),
    }))
    .into_response()
}

async fn stats(State(server): State<Server>) -> Response {
    let now = Instant::now();
    let mut connections = Vec::new();
    server.hub.visit_connections(now, |connection, subject| {
        connections.push(match &connection.session {
            Some(session) => session.stats_json(subject),
            None => json!({
                "connection_id": &*connection.id,
                "state": "connected",
                "transport": connection.kind.as_str(),
                "average_latency_ms": subject.and_then(|s| s.latency_ms),
                "message_count": Counters::get(&connection.counters.messages),
                "data_channel_state": "none",
                "buffered_amount": 0,
                "jitter_ms": subject.map(|s| s.jitter_ms),
                "loss": subject.and_then(|s| s.loss),
                "fps": subject.map(|s| s.fps),
                "target_fps": subject.map(|s| s.target_fps),
                "subject": subject.map(|s| &*s.name),
                "address": connection.address.map(|address| address.to_string()),
                "bytes_received": Counters::get(&connection.counters.bytes_in),
                "refused": Counters::get(&connection.counters.refused),
            }),
        });
    });
    let totals = server.hub.stats(now);
    Json(json!({
        "connections": connections,
        "subjects": totals.subjects.len(),
        "refused": totals.refused,
        "ignored": totals.ignored,
        "overrun": totals.overrun,
        "uptime_seconds": server.hub.started.elapsed().as_secs_f64(),
    }))
    .into_response()
}

async fn subjects(State(server): State<Server>) -> Response {
    let subjects: Vec<_> = server
        .hub
        .subjects(Instant::now())
        .into_iter()
        .map(|(frame, stats)| {
            let (values, head) = values_json(&frame.frame);
            let mut subject = json!({
                "name": &*frame.name,
                "source": frame.source.as_str(),
                "tracked": stats.tracked,
                "fps": stats.fps,
                "target_fps": stats.target_fps,
                "frame": frame.frame.sequence,
                "blendshapes": values,
            });
            if let Some(head) = head {
                subject["head"] = head;
            }
            subject
        })
        .collect();
    Json(json!({"subjects": subjects})).into_response()
}

async fn metrics(State(server): State<Server>) -> Response {
    let stats = server.hub.stats(Instant::now());
    let mut text = String::new();
    let mut single = |name: &str, kind: &str, help: &str, value: f64| {
        let _ = writeln!(text, "# HELP facelink_{name} {help}\n# TYPE facelink_{name} {kind}\nfacelink_{name} {value}");
    };
    single("connections", "gauge", "Open connections and live UDP sources.", stats.connections as f64);
    single("subjects", "gauge", "Live subjects.", stats.subjects.len() as f64);
    single("refused_total", "counter", "Messages, datagrams and connections refused.", stats.refused as f64);
    single("ignored_total", "counter", "Unknown message types and fields.", stats.ignored as f64);
    single("overrun_total", "counter", "Frames replaced before the engine fetched them.", stats.overrun as f64);
    single(
        "uptime_seconds",
        "gauge",
        "Seconds since the endpoint started.",
        server.hub.started.elapsed().as_secs_f64(),
    );
    type Figure = fn(&super::SubjectStats) -> Option<f64>;
    let per_subject: [(&str, &str, &str, Figure); 7] = [
        ("frames_total", "counter", "Frames received.", |s| Some(s.frames as f64)),
        ("fps", "gauge", "Frames a second that arrive.", |s| Some(s.fps.into())),
        ("target_fps", "gauge", "Frames a second that the sender is asked for.", |s| Some(s.target_fps.into())),
        ("latency_seconds", "gauge", "Send to arrival.", |s| s.latency_ms.map(|ms| f64::from(ms) / 1000.0)),
        ("jitter_seconds", "gauge", "RFC 3550 interarrival jitter.", |s| Some(f64::from(s.jitter_ms) / 1000.0)),
        ("loss_ratio", "gauge", "Share of frames lost.", |s| s.loss.map(f64::from)),
        ("tracked", "gauge", "1 while a face is tracked.", |s| Some(f64::from(u8::from(s.tracked)))),
    ];
    for (name, kind, help, figure) in per_subject {
        let _ = writeln!(text, "# HELP facelink_subject_{name} {help}\n# TYPE facelink_subject_{name} {kind}");
        for subject in &stats.subjects {
            if let Some(value) = figure(subject) {
                let label = subject.name.replace('\\', "\\\\").replace('"', "\\\"");
                let source = subject.source;
                let _ = writeln!(text, "facelink_subject_{name}{{subject=\"{label}\",source=\"{source}\"}} {value}");
            }
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
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
