//! One WebSocket of the endpoint.

use std::{
    net::SocketAddr,
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

use super::{
    page,
    state::{Admitted, Server, refuse},
};
use crate::{
    clock::unix_ms,
    hub::{Counters, Role},
    outbox::{Next, OutQueue, Outbox, Outgoing, outbox},
    peer::{self, Signal},
    peer_handle::PeerCommand,
    session::{Action, Actions, CLOSE_AGAIN, CLOSE_RESUMED, CLOSE_UNAUTHORISED, Lane, Session},
    subscribe,
};
use facelink::{
    source::SourceKind,
    wire::{
        json::{Decoder, MAX_MESSAGE},
        message::{Description, Ping, ServerMessage},
    },
};

/// A peer that has not said hello with its token by then is sent away.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Time between two looks at the connection.
const TICK: Duration = Duration::from_millis(125);
/// Time between two pings; the shorter one while frames go out, which a silent socket must not swallow.
const PING: Duration = Duration::from_secs(1);
const PING_PUBLISHING: Duration = Duration::from_millis(250);
/// A WebSocket that does not even answer pings is gone.
const DEAD_AFTER: Duration = Duration::from_secs(6);
/// A peer that does not take what we send for this long is sent away.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// Why a WebSocket ended, and whether the client said goodbye.
struct End {
    reason: &'static str,
    goodbye: bool,
}

impl End {
    const fn broken(reason: &'static str) -> Self {
        Self { reason, goodbye: false }
    }

    const fn goodbye(reason: &'static str) -> Self {
        Self { reason, goodbye: true }
    }
}

/// The page, or a WebSocket.
pub(super) async fn root(
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
        return page::index();
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

async fn serve_socket(server: Server, session: Arc<Session>, address: SocketAddr, socket: WebSocket) {
    let cancel = server.cancel.child_token();
    let (out, queue) = outbox();
    session.attach_ws(out.clone(), Some(address));
    let (sink, stream) = socket.split();
    let current = Arc::new(Mutex::new(session.clone()));
    let mut writer = tokio::spawn(write_socket(current.clone(), sink, queue, cancel.clone()));
    let mut reader = Reader { server, session, current, address, out: out.clone(), cancel };
    let end = reader.run(stream).await;
    // With its outbox, for whose end the writer waits.
    let session = { reader }.session;
    // Unless the client has come back by another socket, this was its only one.
    if session.detach_ws(&out) {
        if session.channel_is_open() {
            tracing::debug!(connection = %session.id, reason = end.reason, "the data channel lives on");
        } else {
            session.end_peer();
            session.hub.disconnect(session.key, end.reason, end.goodbye, Instant::now());
        }
    }
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
    out: Outbox,
    cancel: CancellationToken,
}

impl Reader {
    async fn run(&mut self, mut stream: futures_util::stream::SplitStream<WebSocket>) -> End {
        let mut decoder = Decoder::default();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let hello_by = tokio::time::Instant::now() + HELLO_LIMIT;
        let started = Instant::now();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => {
                    if !self.server.cancel.is_cancelled() {
                        // The writer gave up, which is no goodbye: the client may come back for its face.
                        return End::broken("the peer takes nothing");
                    }
                    self.out.control(Outgoing::Close(1001, "this side stops"));
                    return End::goodbye("this side stops");
                }
                () = tokio::time::sleep_until(hello_by), if !self.session.is_authorised() => {
                    self.out.control(Outgoing::Close(CLOSE_UNAUTHORISED, "no token in time"));
                    return End::goodbye("no token in time");
                }
                _ = tick.tick() => {
                    if heard.elapsed() > DEAD_AFTER {
                        return End::broken("the peer does not answer");
                    }
                    self.ping(started);
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
                                    self.session.record_rtt(Lane::WebSocket, rtt, now);
                                }
                            }
                            continue;
                        }
                        Some(Ok(WsMessage::Ping(_))) => continue,
                        Some(Ok(WsMessage::Close(Some(close)))) if close.code == CLOSE_AGAIN => {
                            return End::broken("the peer comes back by another socket");
                        }
                        Some(Ok(WsMessage::Close(_))) => return End::goodbye("closed by the peer"),
                        None => return End::broken("the WebSocket ended"),
                        Some(Err(error)) => {
                            tracing::debug!(connection = %self.session.id, %error, "WebSocket failed");
                            return End::broken("the WebSocket failed");
                        }
                    };
                    if let Some(end) = self.act(actions).await {
                        return end;
                    }
                }
            }
        }
    }

    /// A WebSocket ping measures the way and keeps the connection; our own one compares clocks too.
    fn ping(&self, started: Instant) {
        let now = Instant::now();
        let interval = if self.session.is_publishing() { PING_PUBLISHING } else { PING };
        if !self.session.take_ping(Lane::WebSocket, interval, now) {
            return;
        }
        self.out.control(Outgoing::Ping(now.saturating_duration_since(started).as_nanos() as u64));
        if self.session.is_introduced() {
            self.out.text(ServerMessage::Ping(Ping::new(unix_ms())).to_json());
        }
    }

    async fn act(&mut self, actions: Actions) -> Option<End> {
        for action in actions {
            match action {
                // Waits for a slow reader, so that one that only asks and never reads stops being served.
                Action::Reply(text) => {
                    Counters::add(&self.session.counters.bytes_out, text.len() as u64);
                    if !self.out.control_when_room(Outgoing::Text(text)).await {
                        return Some(End::broken("the peer does not read"));
                    }
                }
                Action::Offer(sdp) => self.on_offer(sdp).await,
                Action::Answer(sdp) if self.session.peer_offered() => {
                    self.session.peer_command(PeerCommand::Answer(sdp));
                }
                Action::MakeOffer => self.make_offer().await,
                Action::Answer(_) => {
                    self.out.text(error_json("unexpected", "field `type`: no offer was made"));
                }
                Action::Candidate(candidate) => self.session.peer_command(PeerCommand::Candidate(candidate)),
                Action::Subscriptions => subscribe::start(&self.session),
                Action::Resume(session, welcome) => self.resume(session, welcome),
                Action::Close(code, reason) => {
                    self.out.control(Outgoing::Close(code, reason));
                    return Some(End::goodbye(reason));
                }
            }
        }
        None
    }

    /// Takes the place of the socket by which this client came before.
    fn resume(&mut self, session: Arc<Session>, welcome: String) {
        *self.current.lock() = session.clone();
        let own = std::mem::replace(&mut self.session, session);
        own.detach_ws(&self.out);
        own.hub.disconnect(own.key, "its client resumed an older connection", true, Instant::now());
        if let Some(old) = self.session.attach_ws(self.out.clone(), Some(self.address)) {
            old.control(Outgoing::Close(CLOSE_RESUMED, "the client has come back by another socket"));
        }
        self.session.hub.set_address(self.session.key, Some(self.address));
        tracing::info!(connection = %self.session.id, address = %self.address, "resumed");
        self.out.text(welcome);
        subscribe::start(&self.session);
    }

    /// For a client that would rather answer.
    async fn make_offer(&mut self) {
        let cancel = self.server.cancel.child_token();
        match peer::offer(&self.session, Signal::Session, cancel, &self.session.hub.peer_config()).await {
            Ok(offer) => {
                self.out.text(ServerMessage::Offer(Description::new(offer)).to_json());
            }
            Err(error) => {
                self.out.text(error_json("webrtc", &error.to_string()));
            }
        }
    }

    async fn on_offer(&mut self, sdp: String) {
        if self.session.peer_continues(&sdp) {
            self.session.peer_command(PeerCommand::Offer(sdp));
            return;
        }
        // A new connection of the same client: the old one is of no use to it any more.
        self.session.end_peer();
        let cancel = self.server.cancel.child_token();
        match peer::accept(&self.session, sdp, Signal::Session, cancel, &self.session.hub.peer_config()).await {
            Ok(answer) => {
                self.out.text(ServerMessage::Answer(Description::new(answer)).to_json());
            }
            Err(error) => {
                Counters::add(&self.session.counters.refused, 1);
                self.out.text(error_json("bad_field", &format!("offer: {error}")));
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
            // Into a socket that has fallen silent it would only wait, and come out stale.
            Next::Frame(_) if !session.ws_takes_frames(Instant::now()) => {
                Counters::add(&session.counters.dropped, 1);
                continue;
            }
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
