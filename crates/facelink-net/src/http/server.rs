//! HTTP and WebSocket on one port.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

#[cfg(feature = "http")]
use axum::routing::post;
use axum::{Router, body::Body, extract::DefaultBodyLimit, middleware, routing::get};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tower_service::Service;

#[cfg(all(feature = "http", feature = "tls"))]
use super::certificate;
#[cfg(all(feature = "http", feature = "phones"))]
use super::phones;
#[cfg(all(feature = "http", feature = "webrtc"))]
use super::pictures;
use super::{
    admission::admit,
    stall::StallLimit,
    state::{Acceptor, Server},
    websocket::root,
};
#[cfg(feature = "http")]
use super::{api, calibrate, models, offer, page, state::Secure, subjects, takes, tokens, view};
#[cfg(feature = "http")]
use crate::hub::Hub;
use crate::{
    address::canonical,
    hub::Counters,
    pending::{Entry, Pending, Socket},
};
use facelink::wire::json::MAX_MESSAGE;

/// A request's head must be there by then.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// A peer that reads nothing for this long is gone.
const WRITE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of answers that the system and we hold for one peer. The system's own choice grows to megabytes, all of which are copied for
/// peers that ask and read nothing.
const SEND_BUFFER: usize = 128 * 1024;
const HTTP_BUFFER: usize = 64 * 1024;

#[cfg(feature = "http")]
fn api_routes(hub: &Hub) -> Router<Server> {
    let routes = Router::new()
        .route("/api/v1/rtc/offer", post(offer::rtc_offer))
        .route("/api/v1/health", get(api::health))
        .route("/api/v1/stats", get(api::stats))
        .route("/api/v1/subjects", get(api::subjects))
        .route("/api/v1/subjects/{name}/calibrate", post(calibrate::calibrate))
        .route("/api/v1/subjects/{name}/enable", post(subjects::enable))
        .route("/api/v1/subjects/{name}/rename", post(subjects::rename))
        .route("/api/v1/subjects/{name}/alias", post(subjects::alias))
        .route("/api/v1/takes", get(takes::list))
        .route("/api/v1/takes/start", post(takes::start))
        .route("/api/v1/takes/stop", post(takes::stop))
        .route("/api/v1/takes/mark", post(takes::mark))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::make))
        .route("/api/v1/tokens/{id}", axum::routing::delete(tokens::withdraw))
        .route("/metrics", get(api::metrics))
        .merge(page::routes())
        .merge(view::routes());
    #[cfg(feature = "webrtc")]
    let routes = routes.merge(pictures::routes());
    #[cfg(feature = "tls")]
    let routes = routes.merge(certificate::routes());
    match &hub.config.models {
        Some(folder) => routes.nest_service("/models", models::service(folder)),
        None => routes,
    }
}

#[cfg(all(feature = "http", feature = "phones"))]
fn phone_routes() -> Router<Server> {
    use axum::routing::delete;

    Router::new()
        .route("/api/v1/doctor", get(phones::doctor))
        .route("/api/v1/phones", get(phones::phones).post(phones::call_phone))
        .route("/api/v1/phones/{address}", delete(phones::forget_phone))
        .route("/api/v1/phones/{address}/command", post(phones::command_phone))
        .route("/api/v1/profiles/{app}", get(phones::profile).put(phones::set_profile))
}

/// Accepts until it is cancelled.
pub(crate) async fn serve(server: Server, listener: TcpListener, second: Option<TcpListener>, tls: Option<Acceptor>) {
    let (hub, cancel) = (server.hub.clone(), server.cancel.clone());
    let router = Router::new().route("/", get(root)).route("/ws", get(root));
    #[cfg(feature = "http")]
    let router = router.merge(api_routes(&hub));
    #[cfg(all(feature = "http", feature = "phones"))]
    let router = router.merge(phone_routes());
    let router = router
        .layer(DefaultBodyLimit::max(MAX_MESSAGE))
        .layer(middleware::from_fn_with_state(server.clone(), admit))
        .with_state(server);
    let mut pending = Pending::new(hub.config.max_pending_connections, hub.config.max_connections_per_address);
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
            accepted = accept(second.as_ref()) => accepted,
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
        // A socket for both families shows IPv4 addresses as mapped ones.
        let peer = canonical(peer);
        let socket = match pending.enter(peer.ip(), cancel.child_token()) {
            Entry::Accepted(socket) => socket,
            Entry::Replacing(socket) => {
                Counters::add(&hub.refused, 1);
                socket
            }
            Entry::Refused => {
                Counters::add(&hub.refused, 1);
                tracing::debug!(%peer, "refused: too many sockets of this address");
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER);
        let (router, tls, socket) = (router.clone(), tls.clone(), Arc::new(socket));
        tokio::spawn(async move {
            tokio::select! {
                () = socket.close.cancelled() => {}
                () = serve_stream(stream, peer, router, tls, socket.clone()) => {}
            }
        });
    }
}

/// The next connection of a listener that there may be.
async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// The first byte of a TLS connection: a handshake record.
#[cfg(feature = "tls")]
const TLS_HANDSHAKE: u8 = 0x16;

async fn serve_stream(stream: TcpStream, peer: SocketAddr, router: Router, tls: Option<Acceptor>, socket: Arc<Socket>) {
    let stream = StallLimit::new(stream, WRITE_LIMIT);
    let mut first = [0];
    if !matches!(tokio::time::timeout(HEADER_LIMIT, stream.get_ref().peek(&mut first)).await, Ok(Ok(1..))) {
        return;
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = tls.filter(|_| first[0] == TLS_HANDSHAKE) {
        match tokio::time::timeout(HEADER_LIMIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_http(stream, peer, router, socket, true).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
        }
        return;
    }
    #[cfg(not(feature = "tls"))]
    let _ = tls;
    serve_http(stream, peer, router, socket, false).await;
}

async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
    socket: Arc<Socket>,
    secure: bool,
) {
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        // A WebSocket is pending until it has shown the token.
        if !request.headers().contains_key(hyper::header::UPGRADE) {
            socket.requested.store(true, Ordering::Relaxed);
        }
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(socket.clone());
        #[cfg(feature = "http")]
        request.extensions_mut().insert(Secure(secure));
        #[cfg(not(feature = "http"))]
        let _ = secure;
        router.clone().call(request.map(Body::new))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT).max_headers(64).max_buf_size(HTTP_BUFFER);
    // The result of the connection is not used.
    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}
