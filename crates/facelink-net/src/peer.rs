//! The task of one WebRTC peer of the endpoint.

use std::{
    ops::ControlFlow,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelState};

use crate::{
    clock::{sleep_until, ticks, unix_ms},
    hub::{Counters, Link as _, Role},
    ice::{IcePolicy, PeerConfig},
    outbox::{Next, OutQueue, Outbox, Outgoing, outbox},
    peer_handle::{PeerCommand, PeerHandle, Signal, session_of},
    rtc::{Admission, FrameData, FrameSender, MAX_CHANNELS, PeerEvent, RtcError, RtcPeer, peer_state},
    session::{Action, Lane, Session},
};
use facelink::connection::Cause;
use facelink::wire::{
    json::Decoder,
    message::{ClientMessage, Description, IceCandidate, Ping, ServerMessage, Trickle},
};

const GATHER_LIMIT: Duration = Duration::from_secs(3);
const CLOSED: &str = "closed by this side";
/// From a description to our candidates for TCP.
const TCP_WAIT: Duration = Duration::from_millis(1500);
/// The same of an ICE restart, before which UDP has had its time.
const TCP_WAIT_RESTART: Duration = Duration::from_millis(500);
/// From the last of those candidates to their end.
const TICK: Duration = Duration::from_millis(100);
const ROUTE_INTERVAL: Duration = Duration::from_secs(1);
/// Channels that this side opens in-band in the life of a connection: a peer that closes them all wants nothing sent.
const MAX_OWN_CHANNELS: usize = 3;
/// How long no channel of the peer has come before this side opens its own, where both may choose the same id; see
/// [`RtcPeer::may_collide`].
const SETTLE: Duration = Duration::from_millis(200);

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
            serve(session, peer, events, None, (origin, false), signal, cancel);
            Ok(answer)
        }
        Err(error) => {
            peer.close().await;
            Err(error)
        }
    }
}

/// Makes an offer and serves the peer from then on.
pub(crate) async fn offer(
    session: &Arc<Session>,
    signal: Signal,
    cancel: CancellationToken,
    config: &PeerConfig,
) -> Result<String, RtcError> {
    let (peer, events) = RtcPeer::new(config.bind, &config.ice).await?;
    let made = async {
        match session.role {
            Role::Peer => Ok((None, peer.offer().await?)),
            // It may not know the negotiated channel, and finds this one.
            Role::Inbound | Role::Outbound => {
                let own = peer.open_channel("animation").await?;
                Ok((Some(own), peer.offer_active().await?))
            }
        }
    };
    match made.await {
        Ok((own, offer)) => {
            serve(session, peer, events, own, (None, true), signal, cancel);
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
    own: Option<Arc<dyn DataChannel>>,
    (origin, offered): (Option<String>, bool),
    signal: Signal,
    cancel: CancellationToken,
) {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (commands, command_queue) = mpsc::channel(64);
    let route = Arc::new(Mutex::new(None));
    let traffic = peer.traffic();
    let handle =
        PeerHandle { number, commands, cancel: cancel.clone(), offered, origin, route: route.clone(), traffic };
    session.peer_opened(handle, Instant::now());
    let task = PeerTask {
        number,
        session: session.clone(),
        peer,
        signal,
        cancel,
        out: None,
        channels: Channels::default(),
        heard: mpsc::channel(8),
        route,
        tcp_wait: TCP_WAIT,
        tcp_due: None,
    };
    tokio::spawn(task.run(events, command_queue, own));
}

/// Who made a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// Both sides, with id 0.
    Both,
    /// This side, in-band.
    Own,
    /// The peer, in-band.
    Peer,
}

/// What a channel's reader reports.
enum Heard {
    Open(Maker, Arc<dyn DataChannel>),
    /// The peer speaks on the channel negotiated with id 0, so it hears us there.
    Negotiated,
    /// The peer has opened its first channel in-band on the stream of the negotiated one.
    InBand,
    /// A channel has ended, which had been open or not.
    Closed(Maker, bool),
}

/// The channels of a connection.
#[derive(Default)]
struct Channels {
    /// Those that are open.
    open: usize,
    /// The peer's that are read, oldest first.
    theirs: Vec<Weak<dyn DataChannel>>,
    /// Those that this side has opened in-band so far.
    own: usize,
    /// When this side opens its first one.
    own_at: Option<tokio::time::Instant>,
    /// The peer hears us on the negotiated one.
    negotiated: bool,
    /// The negotiated one is the peer's, which knows nothing of it. Frames leave by a channel of this side, as for all that open
    /// theirs in-band.
    in_band: bool,
}

impl Channels {
    /// How many of the peer's are open. A new one may come before the reader of a closed one has reported its end.
    async fn open_of_peer(&mut self) -> usize {
        let mut open = Vec::new();
        for channel in std::mem::take(&mut self.theirs) {
            if let Some(still) = channel.upgrade()
                && still.ready_state().await.is_ok_and(|state| state == RTCDataChannelState::Open)
            {
                open.push(channel);
            }
        }
        self.theirs = open;
        self.theirs.len() + usize::from(self.in_band)
    }
}

struct PeerTask {
    number: u64,
    session: Arc<Session>,
    peer: RtcPeer,
    signal: Signal,
    cancel: CancellationToken,
    /// The channel that reaches the peer unreliably, once it is known.
    out: Option<(Maker, FrameSender)>,
    channels: Channels,
    heard: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
    route: Arc<Mutex<Option<String>>>,
    /// How long our candidates for TCP are held back.
    tcp_wait: Duration,
    /// When they are sent, once there is one.
    tcp_due: Option<tokio::time::Instant>,
}

impl PeerTask {
    async fn run(
        mut self,
        mut events: mpsc::UnboundedReceiver<PeerEvent>,
        mut commands: mpsc::Receiver<PeerCommand>,
        own: Option<Arc<dyn DataChannel>>,
    ) {
        let session = self.session.clone();
        let (outbox, mut queue) = outbox();
        let cancel = self.cancel.clone();
        self.read(self.peer.channel.clone(), Maker::Both);
        if let Some(own) = own {
            self.read_own(own);
        }
        // Apart from what calls the crate: that may wait for a driver that stands still, until the session's connection gives it
        // up.
        let cause = tokio::select! {
            () = cancel.cancelled() => Cause::Local(CLOSED),
            cause = self.serve(&mut events, &mut commands, &outbox, &mut queue) => cause,
        };
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
        let mut tick = ticks(ROUTE_INTERVAL);
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(PeerEvent::Ended) | None => return Cause::Failed,
                    Some(PeerEvent::Candidate(candidate)) => self.signal_candidate(Some(candidate)),
                    Some(PeerEvent::Gathered) => self.signal_candidate(None),
                    // Pictures have a connection of their own.
                    Some(PeerEvent::Track(_)) => Counters::add(&session.counters.refused, 1),
                    Some(PeerEvent::Channel(channel)) => {
                        let open = self.channels.open_of_peer().await;
                        let admission = self.peer.admit(&channel, open).await;
                        tracing::debug!(connection = %session.id, open, ?admission, "the peer opened a data channel");
                        match admission {
                            Admission::Read => {
                                self.channels.theirs.push(Arc::downgrade(&channel));
                                self.read(channel, Maker::Peer);
                                if self.channels.own == 0 && self.out.is_none() {
                                    let settled = if self.peer.may_collide() { SETTLE } else { Duration::ZERO };
                                    self.channels.own_at = Some(tokio::time::Instant::now() + settled);
                                }
                            }
                            Admission::Ended => {}
                            Admission::Refused => Counters::add(&session.counters.refused, 1),
                            Admission::TooMany => {
                                Counters::add(&session.counters.refused, 1);
                                return Cause::Local("too many data channels");
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
                    Some(Heard::Open(maker, channel)) => {
                        if maker == Maker::Own && (self.out.is_none() || self.channels.in_band) {
                            self.out = Some((maker, FrameSender::new(channel)));
                        }
                        self.channels.open += 1;
                        let out = self.out.is_some().then(|| outbox.clone());
                        session.channel_opened(self.number, out, Instant::now());
                        if session.role == Role::Peer && self.out.is_none() {
                            // It hears us once it has spoken, and so it is with us: one of us speaks first.
                            let _ = self.peer.channel.try_send_text(&ping_json()).await;
                        }
                    }
                    Some(Heard::Negotiated) => {
                        self.channels.negotiated = true;
                        if !(self.channels.in_band && self.out.is_some()) {
                            self.out = Some((Maker::Both, FrameSender::new(self.peer.channel.clone())));
                            session.channel_opened(self.number, Some(outbox.clone()), Instant::now());
                        }
                    }
                    Some(Heard::InBand) => {
                        self.channels.in_band = true;
                        tracing::debug!(connection = %session.id, "the peer opened the negotiated data channel in-band");
                        // Another one was let in before this one was known.
                        if self.channels.open_of_peer().await > MAX_CHANNELS
                            && let Some(channel) = self.channels.theirs.pop().and_then(|newest| newest.upgrade())
                        {
                            Counters::add(&session.counters.refused, 1);
                            self.peer.refuse(&channel).await;
                        }
                        // It takes ids as it should, none of which is ours.
                        if self.channels.own == 0 {
                            self.open_own().await;
                        }
                    }
                    Some(Heard::Closed(maker, was_open)) => {
                        if self.closed(maker, was_open).await.is_break() {
                            return Cause::Closed(None);
                        }
                    }
                    None => return Cause::Closed(None),
                },
                command = commands.recv() => match command {
                    Some(PeerCommand::Candidate(Some(candidate))) => self.peer.add_candidate(candidate).await,
                    Some(PeerCommand::Candidate(None)) => {}
                    Some(PeerCommand::Offer(offer)) => match self.restart(offer).await {
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
                () = sleep_until(self.channels.own_at) => {
                    if self.channels.own == 0 {
                        self.open_own().await;
                    }
                    self.channels.own_at = None;
                }
                _ = tick.tick() => {
                    if self.channels.open > 0 {
                        let stats = self.peer.path().await;
                        session.buffered.store(stats.waiting_bytes, Ordering::Relaxed);
                        *self.route.lock() = stats.route();
                    }
                }
            }
        }
    }

    /// A channel has ended. The connection ends with the last one, and where nothing can be sent any more.
    async fn closed(&mut self, maker: Maker, was_open: bool) -> ControlFlow<()> {
        let channels = &mut self.channels;
        channels.open -= usize::from(was_open);
        if maker == Maker::Both {
            (channels.negotiated, channels.in_band) = (false, false);
        }
        if was_open && channels.open == 0 {
            return ControlFlow::Break(());
        }
        if self.out.take_if(|(out, _)| *out == maker).is_some() {
            if channels.negotiated {
                self.out = Some((Maker::Both, FrameSender::new(self.peer.channel.clone())));
            } else if channels.own < MAX_OWN_CHANNELS {
                self.open_own().await;
            } else {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    async fn open_own(&mut self) {
        match self.peer.open_channel("animation-out").await {
            Ok(channel) => self.read_own(channel),
            Err(error) => tracing::debug!(%error, "no channel of our own"),
        }
    }

    fn read_own(&mut self, channel: Arc<dyn DataChannel>) {
        self.channels.own += 1;
        self.read(channel, Maker::Own);
    }

    async fn write(&mut self, next: Next) {
        let session = &self.session;
        let Some((_, out)) = &mut self.out else { return };
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
                if !outcome.sent {
                    session.hub.queues.viewers.refused(session.key);
                }
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

    /// Answers a further offer of the same session, which restarts ICE.
    async fn restart(&mut self, offer: String) -> Result<String, RtcError> {
        (self.tcp_wait, self.tcp_due) = (TCP_WAIT_RESTART, None);
        self.peer.answer(offer).await
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

    /// A candidate of ours, or the end of them. Those for TCP, and what follows them, come when UDP has had its time: some
    /// browsers keep the first pair that works. Room peers wait by themselves.
    fn signal_candidate(&mut self, candidate: Option<IceCandidate>) {
        let is_tcp = candidate.as_ref().is_some_and(IceCandidate::is_tcp);
        if matches!(self.signal, Signal::Relay(..)) || !(is_tcp || candidate.is_none() && self.tcp_due.is_some()) {
            self.signal_now(candidate);
            return;
        }
        let due = *self.tcp_due.get_or_insert_with(|| tokio::time::Instant::now() + self.tcp_wait);
        // Their end after the last of them.
        let due = if is_tcp { due } else { due + TICK };
        let (session, cancel, restarts) =
            (self.session.clone(), self.cancel.clone(), self.tcp_wait == TCP_WAIT_RESTART);
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep_until(due) => {}
            }
            let wanted = !is_tcp || restarts || !session.is_channel_open();
            if wanted && session.has_socket() {
                session.send_signal(ServerMessage::IceCandidate(Trickle { candidate, ..Trickle::default() }).to_json());
            }
        });
    }

    fn signal_now(&self, candidate: Option<IceCandidate>) {
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
    fn read(&self, channel: Arc<dyn DataChannel>, maker: Maker) {
        let (session, heard, cancel) = (self.session.clone(), self.heard.0.clone(), self.cancel.clone());
        tokio::spawn(async move {
            let mut decoder = Decoder::default();
            let (mut open, mut spoke, mut in_band) = (false, false, session.role == Role::Peer);
            let mut cancelled = pin!(cancel.cancelled());
            loop {
                let event = tokio::select! {
                    biased;
                    () = &mut cancelled => return,
                    event = channel.poll() => event,
                };
                match event {
                    Some(DataChannelEvent::OnOpen) => {
                        open = true;
                        let _ = heard.send(Heard::Open(maker, channel.clone())).await;
                    }
                    Some(DataChannelEvent::OnMessage(message)) => {
                        let now = Instant::now();
                        if !std::mem::replace(&mut spoke, true) && maker == Maker::Both {
                            RtcPeer::spoken_on(&channel).await;
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
                        let _ = heard.send(Heard::Closed(maker, open)).await;
                        return;
                    }
                    Some(DataChannelEvent::OnBufferedAmountHigh) if maker == Maker::Both && !in_band => {
                        in_band = true;
                        let _ = heard.send(Heard::InBand).await;
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
