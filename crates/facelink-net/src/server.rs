//! HTTP and WebSocket on one port.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{
        DefaultBodyLimit, Extension, State,
        ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::{
    SourceKind,
    admit::{Admitted, admit, refuse},
    api,
    door::{Door, Entry},
    hub::{Counters, Hub},
    models, remote_api,
    session::{Role, Session},
    socket::serve_socket,
};
use facelink::wire::json::MAX_MESSAGE;

/// A request's head must be there by then.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

const PAGE: &str = include_str!("../web/index.html");
const CLIENT: &str = include_str!("../web/facelink.js");
const APP: &str = include_str!("../web/app.js");
const CAMERA: &str = include_str!("../web/camera.js");
const PANEL: &str = include_str!("../web/camera-panel.js");
const STYLE: &str = include_str!("../web/style.css");

/// What the page may load and ask. Beside our own files: the face tracker of one version, by which `camera.js` turns a
/// camera's picture into a face, and its model. The tracker is WebAssembly.
const POLICY: &str = "default-src 'self'; \
    script-src 'self' 'wasm-unsafe-eval' https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@0.10.35/; \
    connect-src 'self' ws: wss: https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@0.10.35/ \
    https://storage.googleapis.com/mediapipe-models/face_landmarker/; \
    img-src 'self' data:; style-src 'self'; base-uri 'none'; frame-ancestors 'self'";

#[derive(Clone)]
pub(super) struct Server {
    pub hub: Arc<Hub>,
    pub cancel: CancellationToken,
    /// Whether the port speaks TLS too.
    pub https: bool,
    /// Sessions that came by `POST /api/v1/rtc/offer`.
    pub posted: Arc<Mutex<Vec<Arc<Session>>>>,
}

/// Accepts until it is cancelled.
pub(super) async fn serve(hub: Arc<Hub>, listener: TcpListener, tls: Option<TlsAcceptor>, cancel: CancellationToken) {
    let server = Server { https: tls.is_some(), hub: hub.clone(), cancel: cancel.clone(), posted: Arc::default() };
    let mut router = Router::new()
        .route("/", get(root))
        .route("/ws", get(root))
        .route("/facelink.js", get(|| async { asset("text/javascript", CLIENT) }))
        .route("/app.js", get(|| async { asset("text/javascript", APP) }))
        .route("/camera.js", get(|| async { asset("text/javascript", CAMERA) }))
        .route("/camera-panel.js", get(|| async { asset("text/javascript", PANEL) }))
        .route("/style.css", get(|| async { asset("text/css", STYLE) }))
        .route("/api/v1/rtc/offer", post(api::rtc_offer))
        .route("/api/v1/health", get(api::health))
        .route("/api/v1/stats", get(api::stats))
        .route("/api/v1/subjects", get(api::subjects))
        .route("/api/v1/subjects/{name}/calibrate", post(remote_api::calibrate))
        .route("/api/v1/doctor", get(remote_api::doctor))
        .route("/api/v1/phones", get(remote_api::phones).post(remote_api::call_phone))
        .route("/api/v1/phones/{address}", delete(remote_api::forget_phone))
        .route("/api/v1/phones/{address}/command", post(remote_api::command_phone))
        .route("/api/v1/profiles/{app}", get(remote_api::profile).put(remote_api::set_profile))
        .route("/metrics", get(api::metrics));
    if let Some(folder) = &hub.config.models {
        router = router.nest_service("/models", models::service(folder));
    }
    let router = router
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .layer(middleware::from_fn_with_state(server.clone(), admit))
        .with_state(server);
    let mut door = Door::new(hub.config.max_pending_connections, hub.config.max_connections_per_address);
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
        // A socket for both families shows IPv4 in the clothes of IPv6.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let visit = match door.enter(peer.ip(), cancel.child_token()) {
            Entry::In(visit) => visit,
            Entry::InFor(visit) => {
                Counters::add(&hub.refused, 1);
                visit
            }
            Entry::Refused => {
                Counters::add(&hub.refused, 1);
                tracing::debug!(%peer, "refused: too many sockets of this address");
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = visit.leave.cancelled() => {}
                () = serve_stream(stream, peer, router, tls, visit.asked.clone()) => {}
            }
        });
    }
}

/// Whether a request came over TLS.
#[derive(Clone, Copy)]
pub(super) struct Secure(pub bool);

/// The first byte of a TLS connection: a handshake record.
const TLS_HANDSHAKE: u8 = 0x16;

async fn serve_stream(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    tls: Option<TlsAcceptor>,
    asked: Arc<AtomicBool>,
) {
    let mut first = [0];
    if !matches!(tokio::time::timeout(HEADER_LIMIT, stream.peek(&mut first)).await, Ok(Ok(1..))) {
        return;
    }
    match tls {
        Some(tls) if first[0] == TLS_HANDSHAKE => match tokio::time::timeout(HEADER_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, peer, router, asked, true).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        },
        _ => serve_http(stream, peer, router, asked, false).await,
    }
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    asked: Arc<AtomicBool>,
    secure: bool,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Secure(secure));
        router.clone().call(request.map(Body::new))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_headers(64);
    // How it ended is of no use to anybody.
    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    (
        [
            (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
            (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
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
            Counters::add(&server.hub.refused, 1);
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
    let session = Session::new(&server.hub, key, id, Some(peer), counters, Role::Inbound, admitted);
    let hub = server.hub.clone();
    upgrade
        // Refused with an error by the decoder, rather than by a closed connection.
        .max_message_size(MAX_MESSAGE * 4)
        .max_frame_size(MAX_MESSAGE * 4)
        .on_failed_upgrade(move |error: axum::Error| hub.disconnect(key, &error.to_string(), true, Instant::now()))
        .on_upgrade(move |socket| serve_socket(server, session, peer, socket))
}
