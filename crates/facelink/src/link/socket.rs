//! One WebSocket of the endpoint.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::extract::ws::{CloseFrame, Message as WsMessage, WebSocket};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    hub::Counters,
    peer::{self, PeerCommand, PeerHandle},
    server::Server,
    session::{Action, Actions, CLOSE_UNAUTHORISED, Lane, OUT_QUEUE, Session, unix_ms},
    subscribe,
};
use crate::wire::json::Decoder;

/// A peer that has not said hello with its token by then is sent away.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
const PING: Duration = Duration::from_secs(1);
/// A WebSocket that does not even answer pings is gone.
const DEAD_AFTER: Duration = Duration::from_secs(10);
/// A peer that does not take what we send for this long is sent away.
const STALLED_AFTER: Duration = Duration::from_secs(5);

pub(super) async fn serve_socket(server: Server, session: Arc<Session>, socket: WebSocket) {
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
