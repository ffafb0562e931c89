//! The task of one WebRTC peer of the endpoint.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::RTCPeerConnectionState,
};

use super::{
    hub::Counters,
    rtc::{FrameData, PeerEvent, RtcError, RtcPeer, send_frame},
    session::{Action, Lane, OUT_QUEUE, Session, unix_ms},
};
use crate::wire::json::{Decoder, IceCandidate};

/// A peer that has opened no channel by then is given up.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// A disconnected peer may come back within this time.
const DISCONNECTED_GRACE: Duration = Duration::from_secs(4);
const GATHER_LIMIT: Duration = Duration::from_secs(3);
const PING: Duration = Duration::from_secs(1);

/// What the signalling side asks of a peer.
pub(super) enum PeerCommand {
    Candidate(Option<IceCandidate>),
    /// Renegotiation of the same session, such as an ICE restart.
    Offer(String),
}

/// A peer as its session's transports see it.
#[derive(Debug)]
pub(super) struct PeerHandle {
    pub commands: mpsc::Sender<PeerCommand>,
    pub cancel: CancellationToken,
    origin: Option<String>,
}

impl PeerHandle {
    /// Whether an offer belongs to the connection that this peer already has.
    pub fn continues(&self, offer: &str) -> bool {
        !self.commands.is_closed() && self.origin.is_some() && self.origin == session_of(offer)
    }
}

/// The SDP's session id (`o=` line), which renegotiation keeps.
fn session_of(sdp: &str) -> Option<String> {
    let origin = sdp.lines().find_map(|line| line.strip_prefix("o="))?;
    origin.split_whitespace().nth(1).map(str::to_owned)
}

/// Answers an offer and serves the peer from then on. With `signal`, candidates trickle there; without, they are all in
/// the answer.
pub(super) async fn accept(
    session: &Arc<Session>,
    offer: String,
    signal: Option<mpsc::Sender<String>>,
    cancel: CancellationToken,
) -> Result<(String, PeerHandle), RtcError> {
    let config = &session.hub.config;
    let origin = session_of(&offer);
    let (mut peer, mut events) = RtcPeer::new(config.bind, &config.ice).await?;
    let answer = match peer.answer(offer).await {
        Ok(answer) if signal.is_some() => Ok(answer),
        Ok(_) => peer.complete_description(&mut events, GATHER_LIMIT).await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            peer.close().await;
            return Err(error);
        }
    };
    let (commands, command_queue) = mpsc::channel(64);
    let task = PeerTask {
        session: session.clone(),
        peer,
        signal,
        cancel: cancel.clone(),
        out: None,
        open: false,
        heard: mpsc::channel(8),
    };
    tokio::spawn(task.run(events, command_queue));
    Ok((answer, PeerHandle { commands, cancel, origin }))
}

/// What a channel's reader reports.
enum Heard {
    Open(Arc<dyn DataChannel>),
    /// The peer speaks on the channel negotiated with id 0, so it hears us there.
    Negotiated,
    /// A channel has ended; `true` if the peer had spoken on it.
    Closed(bool),
}

async fn next_command(commands: &mut Option<mpsc::Receiver<PeerCommand>>) -> Option<PeerCommand> {
    match commands {
        Some(commands) => commands.recv().await,
        None => std::future::pending().await,
    }
}

struct PeerTask {
    session: Arc<Session>,
    peer: RtcPeer,
    signal: Option<mpsc::Sender<String>>,
    cancel: CancellationToken,
    /// The channel that reaches the peer unreliably, once it is known.
    out: Option<Arc<dyn DataChannel>>,
    open: bool,
    heard: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
}

impl PeerTask {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<PeerEvent>, commands: mpsc::Receiver<PeerCommand>) {
        let mut commands = Some(commands);
        let session = self.session.clone();
        let (out_sender, mut out_queue) = mpsc::channel::<String>(OUT_QUEUE);
        session.set_channel(None, "connecting");
        self.read(self.peer.channel.clone(), true);
        let opened_by = tokio::time::Instant::now() + OPEN_LIMIT;
        let mut gone_by = None;
        let mut ping = tokio::time::interval(PING);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut readers = 1_usize;
        let mut own_channel_opened = false;
        let reason = loop {
            let deadline = gone_by.unwrap_or(opened_by);
            tokio::select! {
                () = self.cancel.cancelled() => break "closed by this side",
                () = tokio::time::sleep_until(deadline), if gone_by.is_some() || !self.open => {
                    break if self.open { "the peer does not answer" } else { "the peer opened no channel" };
                }
                event = events.recv() => match event {
                    None => break "the connection's driver ended",
                    Some(PeerEvent::Candidate(candidate)) => self.signal_json(json!({"type": "ice_candidate", "candidate": candidate})),
                    Some(PeerEvent::Gathered) => self.signal_json(json!({"type": "ice_candidate", "candidate": null})),
                    Some(PeerEvent::Channel(channel)) => {
                        if readers < 4 {
                            readers += 1;
                            self.read(channel, false);
                        }
                        if !own_channel_opened && self.out.is_none() {
                            own_channel_opened = true;
                            match self.peer.open_out_channel().await {
                                Ok(channel) => {
                                    readers += 1;
                                    self.read(channel, false);
                                }
                                Err(error) => tracing::debug!(%error, "no channel of our own"),
                            }
                        }
                    }
                    Some(PeerEvent::State(state)) => match state {
                        RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => break "the connection failed",
                        RTCPeerConnectionState::Disconnected => {
                            gone_by.get_or_insert(tokio::time::Instant::now() + DISCONNECTED_GRACE);
                        }
                        RTCPeerConnectionState::Connected => gone_by = None,
                        _ => {}
                    },
                },
                heard = self.heard.1.recv() => match heard {
                    Some(Heard::Open(channel)) => {
                        let label = channel.label().await.unwrap_or_default();
                        if label == "animation-out" && self.out.is_none() {
                            self.out = Some(channel);
                        }
                        self.open = true;
                        session.set_channel(self.out.is_some().then(|| out_sender.clone()), "open");
                    }
                    Some(Heard::Negotiated) => {
                        self.out = Some(self.peer.channel.clone());
                        session.set_channel(Some(out_sender.clone()), "open");
                    }
                    Some(Heard::Closed(true)) | None => break "the peer closed its channel",
                    // One that the peer never used, such as a second one of ours, is no loss.
                    Some(Heard::Closed(false)) => {}
                },
                command = next_command(&mut commands) => match command {
                    Some(PeerCommand::Candidate(Some(candidate))) => self.peer.add_candidate(candidate).await,
                    Some(PeerCommand::Candidate(None)) => {}
                    Some(PeerCommand::Offer(offer)) => match self.peer.answer(offer).await {
                        Ok(sdp) => self.signal_json(json!({"type": "answer", "sdp": sdp})),
                        Err(error) => self.signal_json(json!({"type": "error", "code": "bad_field", "message": error.to_string()})),
                    },
                    // The signalling socket is gone; an open channel lives on by itself.
                    None if self.open || self.signal.is_none() => {
                        self.signal = None;
                        commands = None;
                    }
                    None => break "the signalling connection closed",
                },
                Some(text) = out_queue.recv() => {
                    if let Some(out) = &self.out {
                        let (sent, waiting) = send_frame(out, FrameData::Text(&text)).await;
                        session.buffered.store(waiting, Ordering::Relaxed);
                        if sent {
                            Counters::add(&session.counters.bytes_out, text.len() as u64);
                        } else {
                            Counters::add(&session.counters.dropped, 1);
                        }
                    }
                }
                _ = ping.tick(), if self.open && session.is_introduced() => {
                    if let Some(out) = &self.out {
                        let _ = out.try_send_text(&format!(r#"{{"type":"ping","t":{}}}"#, unix_ms())).await;
                    }
                }
            }
        };
        tracing::info!(connection = %session.id, reason, "WebRTC peer ended");
        self.cancel.cancel();
        session.set_channel(None, "closed");
        let Self { peer, out, .. } = self;
        drop(out);
        peer.close().await;
        if !session.has_ws() {
            session.hub.disconnect(session.key, reason, Instant::now());
        }
    }

    fn signal_json(&self, message: serde_json::Value) {
        if let Some(signal) = &self.signal {
            let _ = signal.try_send(message.to_string());
        }
    }

    /// Reads a channel in a task of its own: a full queue would stall the whole connection.
    fn read(&self, channel: Arc<dyn DataChannel>, negotiated: bool) {
        let (session, heard, cancel) = (self.session.clone(), self.heard.0.clone(), self.cancel.clone());
        tokio::spawn(async move {
            let mut decoder = Decoder::default();
            let mut spoke = false;
            loop {
                let event = tokio::select! {
                    () = cancel.cancelled() => return,
                    event = channel.poll() => event,
                };
                match event {
                    Some(DataChannelEvent::OnOpen) => {
                        let _ = heard.send(Heard::Open(channel.clone())).await;
                    }
                    Some(DataChannelEvent::OnMessage(message)) => {
                        let now = Instant::now();
                        if !std::mem::replace(&mut spoke, true) && negotiated {
                            let _ = heard.send(Heard::Negotiated).await;
                        }
                        let actions = if message.is_string {
                            match std::str::from_utf8(&message.data) {
                                Ok(text) => session.on_text(&mut decoder, Lane::DataChannel, text, now),
                                Err(_) => session.on_text(&mut decoder, Lane::DataChannel, "not UTF-8", now),
                            }
                        } else {
                            session.on_binary(Lane::DataChannel, &message.data, now)
                        };
                        for action in actions {
                            match action {
                                Action::Reply(text) => {
                                    Counters::add(&session.counters.bytes_out, text.len() as u64);
                                    let _ = channel.try_send_text(&text).await;
                                }
                                Action::Close(_, reason) => {
                                    tracing::debug!(connection = %session.id, reason, "closing");
                                    cancel.cancel();
                                    return;
                                }
                                Action::Subscriptions => super::subscribe::start(&session, &cancel),
                                Action::Offer(_) | Action::Answer | Action::Candidate(_) => {
                                    let _ = channel
                                        .try_send_text(
                                            r#"{"type":"error","code":"unsupported","message":"signalling goes over the WebSocket or POST /api/v1/rtc/offer"}"#,
                                        )
                                        .await;
                                }
                            }
                        }
                    }
                    Some(DataChannelEvent::OnClose) | None => {
                        let _ = heard.send(Heard::Closed(spoke)).await;
                        return;
                    }
                    Some(_) => {}
                }
            }
        });
    }
}
