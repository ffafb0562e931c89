//! The task of one WebRTC peer of the endpoint.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webrtc::data_channel::{DataChannel, DataChannelEvent};

use crate::{
    clock::unix_ms,
    hub::{Counters, Link as _, Role},
    ice::{IcePolicy, PeerConfig},
    outbox::{Next, OutQueue, Outbox, Outgoing, outbox},
    peer_handle::{PeerCommand, PeerHandle, session_of},
    rtc::{FrameData, FrameSender, PeerEvent, RtcError, RtcPeer, peer_state},
    session::{Action, Lane, Session},
    subscribe,
};
use facelink::connection::Cause;
use facelink::wire::{
    json::Decoder,
    message::{ClientMessage, Description, IceCandidate, Ping, ServerMessage, Trickle},
};

const GATHER_LIMIT: Duration = Duration::from_secs(3);
/// Time between two looks at the connection.
const TICK: Duration = Duration::from_millis(100);
const CLOSED: &str = "closed by this side";
const ROUTE_INTERVAL: Duration = Duration::from_secs(1);

/// How a peer's descriptions and candidates reach the other side.
pub(crate) enum Signal {
    /// By HTTP, with everything in the answer; what comes later by the session's WebSocket, once it has one.
    None,
    /// By the session's WebSocket.
    Session,
    /// By an endpoint that both know, addressed to this connection id; to the endpoint itself without one.
    Relay(Outbox, Option<Arc<str>>),
}

/// Answers an offer and serves the peer from then on, for this session. Without signalling, every candidate is in the
/// answer.
pub(crate) async fn accept(
    session: &Arc<Session>,
    offer: String,
    signal: Signal,
    cancel: CancellationToken,
    config: &PeerConfig,
) -> Result<String, RtcError> {
    let origin = session_of(&offer);
    let (mut peer, mut events) = RtcPeer::new(config.bind, &config.ice).await?;
    let answer = match peer.answer(offer).await {
        Ok(answer) if !matches!(signal, Signal::None) => Ok(answer),
        Ok(_) => peer.complete_description(&mut events, GATHER_LIMIT).await,
        Err(error) => Err(error),
    };
    if config.ice.policy == IcePolicy::Relay
        && let Some(address) = session.address()
    {
        // A relay lets in only who was named to it. Of a browser that hides its addresses behind mDNS names we know the
        // one that it signals from: named, it may come from any port of that.
        peer.add_candidate(IceCandidate {
            candidate: format!("candidate:0 1 udp 1 {} 9 typ host", address.ip().to_canonical()),
            sdp_mid: Some("0".to_owned()),
            sdp_mline_index: Some(0),
        })
        .await;
    }
    match answer {
        Ok(answer) => {
            serve(session, peer, events, (origin, false), signal, cancel);
            Ok(answer)
        }
        Err(error) => {
            peer.close().await;
            Err(error)
        }
    }
}

/// Makes an offer to a room peer and serves the peer from then on.
pub(crate) async fn offer(
    session: &Arc<Session>,
    signal: Signal,
    cancel: CancellationToken,
    config: &PeerConfig,
) -> Result<String, RtcError> {
    let (peer, events) = RtcPeer::new(config.bind, &config.ice).await?;
    match peer.offer().await {
        Ok(offer) => {
            serve(session, peer, events, (None, true), signal, cancel);
            Ok(offer)
        }
        Err(error) => {
            peer.close().await;
            Err(error)
        }
    }
}

fn serve(
    session: &Arc<Session>,
    peer: RtcPeer,
    events: mpsc::UnboundedReceiver<PeerEvent>,
    (origin, offered): (Option<String>, bool),
    signal: Signal,
    cancel: CancellationToken,
) {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (commands, command_queue) = mpsc::channel(64);
    let route = Arc::new(Mutex::new(None));
    let handle = PeerHandle { number, commands, cancel: cancel.clone(), offered, origin, route: route.clone() };
    session.peer_opened(handle, Instant::now());
    let task = PeerTask {
        number,
        session: session.clone(),
        peer,
        signal,
        cancel,
        out: None,
        open: false,
        heard: mpsc::channel(8),
        route,
    };
    tokio::spawn(task.run(events, command_queue));
}

/// What a channel's reader reports.
enum Heard {
    Open(Arc<dyn DataChannel>),
    /// The peer speaks on the channel negotiated with id 0, so it hears us there.
    Negotiated,
    /// A channel has ended; `true` if the peer had spoken on it.
    Closed(bool),
}

struct PeerTask {
    number: u64,
    session: Arc<Session>,
    peer: RtcPeer,
    signal: Signal,
    cancel: CancellationToken,
    /// The channel that reaches the peer unreliably, once it is known.
    out: Option<FrameSender>,
    open: bool,
    heard: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
    route: Arc<Mutex<Option<String>>>,
}

impl PeerTask {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<PeerEvent>, mut commands: mpsc::Receiver<PeerCommand>) {
        let session = self.session.clone();
        let (outbox, mut queue) = outbox();
        let cause = self.serve(&mut events, &mut commands, &outbox, &mut queue).await;
        tracing::info!(connection = %session.id, %cause, "WebRTC peer ended");
        self.cancel.cancel();
        session.peer_ended(self.number, cause, Instant::now());
        let Self { peer, out, .. } = self;
        drop(out);
        peer.close().await;
    }

    /// Serves the peer until it has ended, or until the session's connection has given it up.
    async fn serve(
        &mut self,
        events: &mut mpsc::UnboundedReceiver<PeerEvent>,
        commands: &mut mpsc::Receiver<PeerCommand>,
        outbox: &Outbox,
        queue: &mut OutQueue,
    ) -> Cause {
        let session = self.session.clone();
        self.read(self.peer.channel.clone(), true);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut routed = Instant::now();
        let mut readers = 1_usize;
        let mut own_channel_opened = false;
        loop {
            tokio::select! {
                () = self.cancel.cancelled() => return Cause::Local(CLOSED),
                event = events.recv() => match event {
                    None => return Cause::Failed,
                    Some(PeerEvent::Candidate(candidate)) => self.signal_candidate(Some(candidate)),
                    Some(PeerEvent::Gathered) => self.signal_candidate(None),
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
                    Some(PeerEvent::State(state)) => {
                        tracing::debug!(connection = %session.id, ?state, "WebRTC");
                        if let Some(state) = peer_state(state) {
                            session.peer_state(self.number, state, Instant::now());
                        }
                    }
                },
                heard = self.heard.1.recv() => match heard {
                    Some(Heard::Open(channel)) => {
                        let label = channel.label().await.unwrap_or_default();
                        if label == "animation-out" && self.out.is_none() {
                            self.out = Some(FrameSender::new(channel));
                        }
                        self.open = true;
                        let out = self.out.is_some().then(|| outbox.clone());
                        session.channel_opened(self.number, out, Instant::now());
                        if session.role == Role::Peer && self.out.is_none() {
                            // It hears us once it has spoken, and so it is with us: one of us speaks first.
                            let _ = self.peer.channel.try_send_text(&ping_json()).await;
                        }
                    }
                    Some(Heard::Negotiated) => {
                        self.out = Some(FrameSender::new(self.peer.channel.clone()));
                        session.channel_opened(self.number, Some(outbox.clone()), Instant::now());
                    }
                    Some(Heard::Closed(true)) | None => return Cause::Closed(None),
                    // One that the peer never used, such as a second one of ours, is no loss.
                    Some(Heard::Closed(false)) => {}
                },
                command = commands.recv() => match command {
                    Some(PeerCommand::Candidate(Some(candidate))) => self.peer.add_candidate(candidate).await,
                    Some(PeerCommand::Candidate(None)) => {}
                    Some(PeerCommand::Offer(offer)) => match self.peer.answer(offer).await {
                        Ok(sdp) => self.signal_answer(sdp),
                        Err(error) => self.signal_error(&error.to_string()),
                    },
                    Some(PeerCommand::Answer(answer)) => {
                        if let Err(error) = self.peer.set_answer(answer).await {
                            tracing::debug!(connection = %session.id, %error, "answer refused");
                            return Cause::Failed;
                        }
                    }
                    Some(PeerCommand::IceServers(servers)) => {
                        if let Err(error) = self.peer.set_ice_servers(&servers).await {
                            tracing::warn!(connection = %session.id, %error, "ICE servers not changed");
                        }
                    }
                    None => return Cause::Local(CLOSED),
                },
                next = queue.next() => self.write(next).await,
                _ = tick.tick() => {
                    let now = Instant::now();
                    session.on_timeout(now);
                    if self.open && now.saturating_duration_since(routed) >= ROUTE_INTERVAL {
                        routed = now;
                        let stats = self.peer.stats().await;
                        session.buffered.store(stats.waiting_bytes, Ordering::Relaxed);
                        *self.route.lock() = stats.route();
                    }
                }
            }
        }
    }

    async fn write(&mut self, next: Next) {
        let session = &self.session;
        let Some(out) = &mut self.out else { return };
        let now = Instant::now();
        let (message, sent) = match next {
            Next::Control(message) => {
                let sent = match &message {
                    Outgoing::Text(text) => out.send_control(text, now).await,
                    _ => return,
                };
                (message, sent)
            }
            Next::Frame(frame) => {
                let data = match &frame {
                    Outgoing::Text(text) => FrameData::Text(text),
                    Outgoing::Binary(bytes) => FrameData::Binary(bytes),
                    Outgoing::Ping(_) | Outgoing::Close(..) => return,
                };
                let outcome = out.send(data, session.channel_rtt_ms(), now).await;
                session.buffered.store(outcome.waiting_bytes, Ordering::Relaxed);
                (frame, outcome.sent)
            }
            Next::End => return,
        };
        let counters = &session.counters;
        if sent {
            Counters::add(&counters.bytes_out, message.len() as u64);
        } else {
            Counters::add(&counters.dropped, 1);
        }
    }

    fn signal_answer(&self, sdp: String) {
        let answer = Description::new(sdp);
        match &self.signal {
            Signal::None | Signal::Session => self.session.send_signal(ServerMessage::Answer(answer).to_json()),
            Signal::Relay(out, to) => {
                let to = to.as_deref().map(Into::into);
                out.text(ClientMessage::Answer(Description { to, ..answer }).to_json());
            }
        }
    }

    /// A candidate of ours, or the end of them.
    fn signal_candidate(&self, candidate: Option<IceCandidate>) {
        let trickle = Trickle { candidate, ..Trickle::default() };
        match &self.signal {
            Signal::None if !self.session.has_socket() => {}
            Signal::None | Signal::Session => self.session.send_signal(ServerMessage::IceCandidate(trickle).to_json()),
            Signal::Relay(out, to) => {
                let to = to.as_deref().map(Into::into);
                out.text(ClientMessage::IceCandidate(Trickle { to, ..trickle }).to_json());
            }
        }
    }

    /// What was wrong with an offer. A room peer hears no more of it than that there is no answer.
    fn signal_error(&self, message: &str) {
        match &self.signal {
            Signal::None | Signal::Session => {
                self.session.send_signal(ServerMessage::error("bad_field", message).to_json())
            }
            Signal::Relay(..) => {
                tracing::debug!(connection = %self.session.id, message, "offer refused")
            }
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
                                Action::Subscriptions => subscribe::start(&session),
                                Action::Offer(_)
                                | Action::Answer(_)
                                | Action::MakeOffer
                                | Action::Candidate(_)
                                | Action::Resume(..) => {
                                    let message = "signalling goes over the WebSocket or POST /api/v1/rtc/offer";
                                    let error = ServerMessage::error("unsupported", message).to_json();
                                    let _ = channel.try_send_text(&error).await;
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

fn ping_json() -> String {
    ClientMessage::Ping(Ping::new(unix_ms())).to_json()
}
