//! One WebSocket of the endpoint.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{
        Extension, State,
        ws::{CloseFrame, Message as WsMessage, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

#[cfg(feature = "http")]
use super::page;
use super::state::{Admitted, Server, refuse};
use crate::{
    hub::{Counters, Role},
    outbox::{Next, OutQueue, Outgoing, outbox},
    peer,
    peer_handle::{PeerCommand, Signal},
    pending::Socket as PendingSocket,
    session::{Action, Actions, Lane, Session, Socket},
};
use facelink::{
    connection::{CLOSE_STOPPING, Cause},
    source::SourceKind,
    wire::{
        json::{Decoder, MAX_MESSAGE},
        message::{Description, ServerMessage},
    },
};

/// Bytes that are read from a socket at a time: the crate fills all of it with zeros before each read.
const READ_BUFFER: usize = 4096;
/// Why this side closes when the endpoint stops.
const STOPS: &str = "this side stops";
/// A peer that does not take what we send for this long is sent away.
const STALLED_AFTER: Duration = Duration::from_secs(5);

#[cfg(feature = "http")]
fn index(request: &HeaderMap) -> Response {
    page::index(request)
}

#[cfg(not(feature = "http"))]
fn index(_: &HeaderMap) -> Response {
    refuse(StatusCode::NOT_FOUND, "not_found", "this build serves no page; see the feature `http`")
}

/// The page, or a WebSocket.
pub(super) async fn root(
    State(server): State<Server>,
    Extension(peer): Extension<SocketAddr>,
    Extension(Admitted(admitted)): Extension<Admitted>,
    Extension(pending): Extension<Arc<PendingSocket>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(upgrade) = upgrade else {
        if headers.contains_key(header::UPGRADE) {
            Counters::add(&server.hub.refused, 1);
            return refuse(StatusCode::BAD_REQUEST, "bad_upgrade", "not a WebSocket upgrade");
        }
        return index(&headers);
    };
    let id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let counters = Arc::new(Counters::default());
    let now = Instant::now();
    let (kind, hub) = (SourceKind::WebSocket, &server.hub);
    let key = match admitted {
        Some(grant) => hub.connect(kind, id.clone(), Some(peer), counters.clone(), grant, now),
        None => hub.connect_pending(kind, id.clone(), peer, counters.clone(), now),
    };
    let Some(key) = key else {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", "too many connections");
    };
    let pending = admitted.is_none().then_some(pending);
    let session = Session::new(hub, key, id, Some(peer), counters, Role::Inbound, admitted);
    let hub = server.hub.clone();
    upgrade
        .read_buffer_size(READ_BUFFER)
        // Refused with an error by the decoder, rather than by a closed connection.
        .max_message_size(MAX_MESSAGE * 4)
        .max_frame_size(MAX_MESSAGE * 4)
        .on_failed_upgrade(move |error: axum::Error| hub.disconnect(key, &error.to_string(), true, Instant::now()))
        .on_upgrade(move |socket| serve_socket(server, session, peer, socket, pending))
}

async fn serve_socket(
    server: Server,
    session: Arc<Session>,
    address: SocketAddr,
    socket: WebSocket,
    pending: Option<Arc<PendingSocket>>,
) {
    let cancel = server.cancel.child_token();
    let (out, queue) = outbox();
    let open = Socket::new(out.clone(), cancel.clone());
    session.socket_opened(open.clone(), address, Instant::now());
    let (sink, stream) = socket.split();
    let current = Arc::new(Mutex::new(session.clone()));
    let mut writer = tokio::spawn(write_socket(current.clone(), sink, queue, cancel));
    let mut reader = Reader { server, session, current, address, socket: open.clone(), pending };
    let cause = reader.run(stream).await;
    // With its outbox, for whose end the writer waits.
    let session = { reader }.session;
    tracing::debug!(connection = %session.id, %cause, "WebSocket ended");
    session.socket_closed(open.id, cause, Instant::now());
    drop(open);
    drop(out);
    drop(session);
    // The writer still says goodbye.
    if tokio::time::timeout(Duration::from_millis(500), &mut writer).await.is_err() {
        writer.abort();
    }
}

struct Reader {
    server: Server,
    session: Arc<Session>,
    /// The same for the writer.
    current: Arc<Mutex<Arc<Session>>>,
    address: SocketAddr,
    socket: Socket,
    /// Until it has shown the token, it is one of the pending sockets.
    pending: Option<Arc<PendingSocket>>,
}

/// Ends when the pending socket has to close.
async fn is_closed(pending: Option<&PendingSocket>) {
    match pending {
        Some(pending) => pending.close.cancelled().await,
        None => std::future::pending().await,
    }
}

impl Reader {
    async fn run(&mut self, mut stream: futures_util::stream::SplitStream<WebSocket>) -> Cause {
        let mut decoder = Decoder::default();
        let cancel = self.socket.cancel.clone();
        let mut cancelled = pin!(cancel.cancelled());
        let mut ended = pin!(self.session.ended.clone().cancelled_owned());
        loop {
            tokio::select! {
                // A message that is there spares the others; a flood of them is cut short by the runtime.
                biased;
                message = stream.next() => {
                    let now = Instant::now();
                    let actions = match message {
                        Some(Ok(WsMessage::Text(text))) => {
                            self.session.on_text(&mut decoder, Lane::WebSocket, text.as_str(), now)
                        }
                        Some(Ok(WsMessage::Binary(bytes))) => self.session.on_binary(Lane::WebSocket, &bytes, now),
                        Some(Ok(WsMessage::Pong(payload))) => {
                            if let Ok(clock) = <[u8; 8]>::try_from(payload.as_ref()) {
                                self.session.on_ws_pong(u64::from_le_bytes(clock), now);
                            }
                            continue;
                        }
                        Some(Ok(WsMessage::Ping(_))) => {
                            self.session.on_ws_ping(now);
                            continue;
                        }
                        Some(Ok(WsMessage::Close(close))) => return Cause::Closed(close.map(|close| close.code)),
                        None => return Cause::Broken,
                        Some(Err(error)) => {
                            tracing::debug!(connection = %self.session.id, %error, "WebSocket failed");
                            return Cause::Broken;
                        }
                    };
                    if !actions.is_empty() {
                        let before = self.session.key;
                        if let Some(cause) = self.act(actions).await {
                            return cause;
                        }
                        if self.session.key != before {
                            ended.set(self.session.ended.clone().cancelled_owned());
                        }
                    }
                    if self.pending.is_some() && self.session.is_authorised() {
                        self.pending = None;
                    }
                }
                () = &mut cancelled => {
                    if !self.server.cancel.is_cancelled() {
                        // The writer gave up, which is no goodbye: the client may come back for its face.
                        return Cause::Stalled;
                    }
                    self.socket.out.control(Outgoing::Close(CLOSE_STOPPING, STOPS));
                    return Cause::Local(STOPS);
                }
                () = is_closed(self.pending.as_deref()), if self.pending.is_some() => {
                    return Cause::Local("too many pending connections");
                }
                () = &mut ended => return Cause::Local("the connection has ended"),
            }
        }
    }

    async fn act(&mut self, actions: Actions) -> Option<Cause> {
        for action in actions {
            match action {
                // Waits for a slow reader, so that one that only asks and never reads stops being served.
                Action::Reply(text) => {
                    Counters::add(&self.session.counters.bytes_out, text.len() as u64);
                    if !self.socket.out.control_when_room(Outgoing::Text(text)).await {
                        return Some(Cause::Stalled);
                    }
                }
                Action::Offer(sdp) => self.on_offer(sdp).await,
                Action::Answer(sdp) if self.session.peer_offered() => {
                    self.session.peer_command(PeerCommand::Answer(sdp));
                }
                Action::MakeOffer => self.make_offer().await,
                Action::Answer(_) => {
                    self.socket.out.text(error_json("unexpected", "field `type`: no offer was made"));
                }
                Action::Candidate(candidate) => self.session.peer_command(PeerCommand::Candidate(candidate)),
                Action::Resume(session, welcome) => self.resume(session, welcome),
                Action::Close(code, reason) => {
                    self.socket.out.control(Outgoing::Close(code, reason));
                    return Some(Cause::Local(reason));
                }
            }
        }
        None
    }

    /// Takes the place of the socket by which this client came before.
    fn resume(&mut self, session: Arc<Session>, welcome: String) {
        *self.current.lock() = session.clone();
        let own = std::mem::replace(&mut self.session, session);
        let now = Instant::now();
        own.hub.disconnect(own.key, "its client resumed an older connection", true, now);
        // Before another socket of the client can take this one's place.
        self.socket.out.text(welcome);
        self.session.socket_opened(self.socket.clone(), self.address, now);
        self.session.hub.set_address(self.session.key, Some(self.address));
        tracing::info!(connection = %self.session.id, address = %self.address, "resumed");
    }

    /// For a client that would rather answer.
    async fn make_offer(&mut self) {
        let cancel = self.server.cancel.child_token();
        match peer::offer(&self.session, Signal::Session, cancel, &self.session.hub.peer_config()).await {
            Ok(offer) => {
                self.socket.out.text(ServerMessage::Offer(Description::new(offer)).to_json());
            }
            Err(error) => {
                self.socket.out.text(error_json("webrtc", &error.to_string()));
            }
        }
    }

    async fn on_offer(&mut self, sdp: String) {
        if self.session.peer_continues(&sdp) {
            self.session.peer_command(PeerCommand::Offer(sdp));
            return;
        }
        // A new connection of the same client, which takes the place of the old one.
        let cancel = self.server.cancel.child_token();
        match peer::accept(&self.session, sdp, Signal::Session, cancel, &self.session.hub.peer_config()).await {
            Ok(answer) => {
                self.socket.out.text(ServerMessage::Answer(Description::new(answer)).to_json());
            }
            Err(error) => {
                Counters::add(&self.session.counters.refused, 1);
                self.socket.out.text(error_json("bad_field", &format!("offer: {error}")));
            }
        }
    }
}

fn error_json(code: &str, message: &str) -> String {
    ServerMessage::error(code, message).to_json()
}

async fn write_socket(
    session: Arc<Mutex<Arc<Session>>>,
    mut sink: futures_util::stream::SplitSink<WebSocket, WsMessage>,
    mut queue: OutQueue,
    cancel: CancellationToken,
) {
    loop {
        let next = queue.next().await;
        let session = session.lock().clone();
        let message = match next {
            Next::Control(message) => message,
            Next::Frame(message) => {
                Counters::add(&session.counters.bytes_out, message.len() as u64);
                message
            }
            Next::End => break,
        };
        let last = matches!(message, Outgoing::Close(..));
        let message = match message {
            Outgoing::Text(text) => WsMessage::Text(text.into()),
            Outgoing::Binary(bytes) => WsMessage::Binary(bytes),
            Outgoing::Ping(sent) => WsMessage::Ping(sent.to_le_bytes().to_vec().into()),
            Outgoing::Close(code, reason) => WsMessage::Close(Some(CloseFrame { code, reason: reason.into() })),
        };
        if !matches!(tokio::time::timeout(STALLED_AFTER, sink.send(message)).await, Ok(Ok(()))) {
            cancel.cancel();
            return;
        }
        if last {
            break;
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), sink.close()).await;
}
