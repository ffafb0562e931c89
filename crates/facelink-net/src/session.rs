//! What one WebSocket or WebRTC connection has said so far, and how its messages are answered.

use std::{
    any::Any,
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    auth::Denied,
    clock::unix_ms,
    hub::{ConnectionKey, Counters, Hub, Link, Refused, Resumed, Role, Update},
    outbox::{Outbox, Outgoing},
    peer_handle::{PeerCommand, PeerHandle},
    stats::{ConnectionState, ConnectionStats, SubjectStats},
};
use facelink::{
    event::{Emotion, SubjectFrame},
    frame::FaceFrame,
    source::SourceKind,
    timing::{Average, Heartbeat},
    wire::{
        facelink1::{self, delta::DeltaDecoder},
        float32,
        json::{Decoder, FaceMessage, VisemeMessage, write_blendshape_update},
        message::{
            Batch, ClientMessage, Clock, Description, Hello, IceCandidate, IceServer, PeerMessage, Peers, Pong,
            ServerMessage, SetRate, Subscribe, Trickle, Welcome,
        },
    },
};
use parking_lot::Mutex;
use serde_json::Value;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

/// `error` messages a second that one connection gets; the rest are counted.
const ERRORS_PER_SECOND: u32 = 20;
/// A sender's clock further off than this is not set to the time of day.
const PLAUSIBLE_LATENCY_MS: f64 = 5000.0;

/// Which of a connection's transports a message came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    WebSocket,
    DataChannel,
}

impl Lane {
    const fn kind(self) -> SourceKind {
        match self {
            Self::WebSocket => SourceKind::WebSocket,
            Self::DataChannel => SourceKind::WebRtc,
        }
    }
}

/// What the transport's task has to do after a message.
#[derive(Debug)]
pub(crate) enum Action {
    /// Answer on the same lane.
    Reply(String),
    Offer(String),
    /// The answer to our offer.
    Answer(String),
    /// An offer of ours is wanted.
    MakeOffer,
    Candidate(Option<IceCandidate>),
    /// Subscriptions have changed.
    Subscriptions,
    /// This WebSocket takes the place of another one of the same client, and then says this.
    Resume(Arc<Session>, String),
    /// Close with this WebSocket code.
    Close(u16, &'static str),
}

pub(crate) type Actions = SmallVec<[Action; 1]>;

/// WebSocket close code for a missing or wrong token.
pub(crate) const CLOSE_UNAUTHORISED: u16 = 4401;
/// WebSocket close code for a socket whose client has come back by another one.
pub(crate) const CLOSE_RESUMED: u16 = 4409;
/// WebSocket close code of a client that drops a silent socket to come back by another: no goodbye.
pub(crate) const CLOSE_AGAIN: u16 = 4000;
/// WebSocket close code for a connection that broke the limits.
pub(crate) const CLOSE_LIMITS: u16 = 4429;
/// Without a message or a pong for this long, a connection counts as stalled in the figures.
const STALLED: Duration = Duration::from_secs(2);

/// Messages that an offer counts for.
const OFFER_COST: u32 = 50;

/// How a connection writes its binary frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binary {
    #[default]
    Float32,
    Facelink1,
}

impl Binary {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Facelink1 => "facelink1",
        }
    }
}

/// What a connection has subscribed to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subscription {
    pub max_fps: Option<f32>,
    pub binary: Binary,
    pub not_own: bool,
    /// Faces of room peers alone.
    pub room_only: bool,
}

#[derive(Debug, Default)]
struct State {
    subject: Option<Arc<str>>,
    schema: Option<Arc<float32::Schema>>,
    client: Option<Box<str>>,
    binary: Binary,
    /// It wants `report` messages.
    reports: bool,
    /// `None` as a key stands for all subjects.
    subscriptions: HashMap<Option<String>, Subscription>,
    address: Option<SocketAddr>,
    ws_beat: Heartbeat,
    channel_beat: Heartbeat,
    heard: Option<Instant>,
    channel_heard: Option<Instant>,
    /// The peer's clock minus ours, and the round trip that it was measured by.
    clock: Option<(f64, f64)>,
    latency_ms: Average,
    ws: Option<Outbox>,
    channel: Option<Outbox>,
    channel_state: &'static str,
    peer: Option<PeerHandle>,
    last_lane: Option<Lane>,
    publishing: bool,
    bucket: Option<(Instant, f32)>,
    overflowed: u32,
    errors: Option<(Instant, u32)>,
}

/// What reads a connection's `facelink1` packets.
#[derive(Debug, Default)]
struct Facelink1 {
    plain: facelink1::Decoder,
    /// For a client that said it would send them.
    deltas: Option<Box<DeltaDecoder>>,
}

/// One connection's memory, shared by its transports.
#[derive(Debug)]
pub(crate) struct Session {
    pub key: ConnectionKey,
    pub id: Arc<str>,
    pub hub: Arc<Hub>,
    pub counters: Arc<Counters>,
    pub role: Role,
    authorised: AtomicBool,
    /// What we dialled is a meeting point: only room mates' faces are wanted of it.
    pub in_room: AtomicBool,
    /// The rate that the other side asked for, as bits of an `f32`; 0 until it does.
    told_fps: AtomicU32,
    /// How many earlier frames it asked our packets to repeat.
    told_redundancy: AtomicU32,
    webcam: AtomicBool,
    /// Cancelled when the hub lets the connection go.
    pub ended: CancellationToken,
    /// Bytes that wait in the data channel, as of the last send.
    pub buffered: AtomicU64,
    /// Locked before the hub's table, which goes before `state`.
    facelink1: Mutex<Facelink1>,
    state: Mutex<State>,
}

impl Session {
    pub fn new(
        hub: &Arc<Hub>,
        key: ConnectionKey,
        id: Arc<str>,
        address: Option<SocketAddr>,
        counters: Arc<Counters>,
        role: Role,
        authorised: bool,
    ) -> Arc<Self> {
        // Room mates and endpoints that we dialled know this version of the wire.
        let (client, binary) = match role {
            Role::Inbound => (None, Binary::Float32),
            Role::Outbound | Role::Peer => (Some("facelink".into()), Binary::Facelink1),
        };
        let session = Arc::new(Self {
            key,
            id,
            hub: hub.clone(),
            counters,
            role,
            authorised: AtomicBool::new(authorised),
            in_room: AtomicBool::new(false),
            told_fps: AtomicU32::new(0),
            told_redundancy: AtomicU32::new(0),
            webcam: AtomicBool::new(false),
            ended: CancellationToken::new(),
            buffered: AtomicU64::new(0),
            facelink1: Mutex::default(),
            state: Mutex::new(State { channel_state: "none", address, client, binary, ..State::default() }),
        });
        hub.connections().attach(key, session.clone());
        session
    }

    pub fn is_authorised(&self) -> bool {
        self.authorised.load(Ordering::Relaxed)
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.state.lock().address
    }

    /// Whether the peer said hello, and so knows this version of the wire.
    pub fn is_introduced(&self) -> bool {
        self.state.lock().client.is_some()
    }

    /// The rate that the other side asked for.
    pub fn told_fps(&self) -> Option<f32> {
        Some(f32::from_bits(self.told_fps.load(Ordering::Relaxed))).filter(|fps| *fps > 0.0)
    }

    /// A WebSocket carries this connection from now on; gives the one that did before.
    pub fn attach_ws(&self, ws: Outbox, address: Option<SocketAddr>) -> Option<Outbox> {
        let mut state = self.state.lock();
        state.ws_beat = Heartbeat::default();
        state.address = address.or(state.address);
        state.ws.replace(ws)
    }

    /// The WebSocket is gone; `false` if another one has taken its place before.
    pub fn detach_ws(&self, ws: &Outbox) -> bool {
        let mut state = self.state.lock();
        let ours = state.ws.as_ref().is_some_and(|now| now.is_same(ws));
        if ours {
            state.ws = None;
        }
        ours
    }

    pub fn has_ws(&self) -> bool {
        self.state.lock().ws.is_some()
    }

    /// What the peer of this number makes of the data channel. A peer that was replaced has no say any more.
    pub fn set_channel(&self, peer: u64, channel: Option<Outbox>, state: &'static str) {
        let mut guard = self.state.lock();
        if guard.peer.as_ref().is_some_and(|now| now.number == peer) {
            guard.channel = channel;
            guard.channel_state = state;
        }
    }

    /// What the client of ours that owns this connection makes of its data channel.
    pub fn note_channel(&self, state: &'static str) {
        self.state.lock().channel_state = state;
    }

    pub fn channel_is_open(&self) -> bool {
        self.state.lock().channel_state == "open"
    }

    /// The peer that serves this connection from now on; the one before is of no use to it any more.
    pub fn set_peer(&self, peer: PeerHandle) {
        let mut state = self.state.lock();
        state.end_peer("connecting");
        state.peer = Some(peer);
    }

    pub fn has_peer(&self) -> bool {
        self.state.lock().peer.as_ref().is_some_and(|peer| !peer.commands.is_closed())
    }

    pub fn end_peer(&self) {
        self.state.lock().end_peer("closed");
    }

    /// A peer has ended; `false` if it serves no longer anyway.
    pub fn forget_peer(&self, peer: u64) -> bool {
        let mut state = self.state.lock();
        let ours = state.peer.as_ref().is_some_and(|now| now.number == peer);
        if ours {
            state.end_peer("closed");
        }
        ours
    }

    /// Whether an offer continues the connection of the peer that serves now.
    pub fn peer_continues(&self, offer: &str) -> bool {
        self.state.lock().peer.as_ref().is_some_and(|peer| peer.continues(offer))
    }

    /// Whether the peer that serves now waits for an answer to our offer.
    pub fn peer_offered(&self) -> bool {
        self.state.lock().peer.as_ref().is_some_and(|peer| peer.offered)
    }

    pub fn peer_command(&self, command: PeerCommand) {
        if let Some(peer) = &self.state.lock().peer {
            let _ = peer.commands.try_send(command);
        }
    }

    /// `true` for the first caller, until [`end_publishing`](Self::end_publishing).
    pub fn begin_publishing(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().publishing, true)
    }

    pub fn end_publishing(&self) {
        self.state.lock().publishing = false;
    }

    /// Whether frames go out here, so that the link has to be watched closely.
    pub fn is_publishing(&self) -> bool {
        self.state.lock().publishing || self.role != Role::Inbound
    }

    fn beat<T>(&self, lane: Lane, on: impl FnOnce(&mut Heartbeat) -> T) -> T {
        let mut state = self.state.lock();
        on(match lane {
            Lane::WebSocket => &mut state.ws_beat,
            Lane::DataChannel => &mut state.channel_beat,
        })
    }

    /// Whether a ping should go out on this lane now; notes that it does.
    pub fn take_ping(&self, lane: Lane, interval: Duration, now: Instant) -> bool {
        self.beat(lane, |beat| {
            let due = beat.is_due(interval, now);
            if due {
                beat.sent(now);
            }
            due
        })
    }

    /// A ping came back.
    pub fn record_rtt(&self, lane: Lane, rtt: Duration, now: Instant) {
        self.beat(lane, |beat| beat.answered(rtt, now));
        self.note_heard(lane, now);
    }

    pub fn channel_rtt_ms(&self) -> Option<f32> {
        self.state.lock().channel_beat.rtt_ms()
    }

    /// For how long nothing has come by the data channel, neither an answer nor anything else: there are clients that
    /// send and never answer.
    pub fn channel_silence(&self, now: Instant) -> Duration {
        let state = self.state.lock();
        let heard = state.channel_heard.map_or(Duration::MAX, |heard| now.saturating_duration_since(heard));
        state.channel_beat.silence(now).min(heard)
    }

    /// Whether the WebSocket takes frames: a stream that has fallen silent must not swallow them.
    pub fn ws_takes_frames(&self, now: Instant) -> bool {
        self.beat(Lane::WebSocket, |beat| beat.takes_frames(now))
    }

    /// Queues a message that must not be lost lightly: the WebSocket first.
    pub fn send_control(&self, text: String) {
        let (ws, channel) = {
            let state = self.state.lock();
            (state.ws.clone(), state.channel.clone())
        };
        let length = text.len() as u64;
        let sent = [ws, channel].into_iter().flatten().any(|lane| lane.text(text.clone()));
        Counters::add(
            if sent { &self.counters.bytes_out } else { &self.counters.dropped },
            if sent { length } else { 1 },
        );
    }

    /// Puts a frame out: by the data channel while it answers, by the WebSocket while it does not. A frame that can be
    /// told from its double goes by both while that is uncertain. What cannot leave at once is replaced by the next.
    pub fn send_frame(&self, face: u64, frame: Outgoing) {
        let now = Instant::now();
        let (first, second) = {
            let state = self.state.lock();
            let suspect = state.channel_beat.has_answered() && state.channel_beat.is_suspect(now);
            match (&state.channel, &state.ws) {
                (Some(channel), Some(ws)) if suspect => {
                    let hedged = matches!(frame, Outgoing::Binary(_));
                    (Some(ws.clone()), hedged.then(|| channel.clone()))
                }
                (Some(channel), _) => (Some(channel.clone()), None),
                (None, ws) => (ws.clone(), None),
            }
        };
        if let Some(second) = second {
            second.frame(face, frame.clone());
        }
        if first.is_none_or(|lane| !lane.frame(face, frame)) {
            Counters::add(&self.counters.dropped, 1);
        }
    }

    /// How many earlier frames the other side asked our packets to repeat.
    pub fn told_redundancy(&self) -> u8 {
        self.told_redundancy.load(Ordering::Relaxed).min(u32::from(facelink1::MAX_REDUNDANCY)) as u8
    }

    /// A text message.
    pub fn on_text(self: &Arc<Self>, decoder: &mut Decoder, lane: Lane, text: &str, now: Instant) -> Actions {
        let mut actions = Actions::new();
        self.count(text.len());
        self.note_heard(lane, now);
        if !self.take(1, now, &mut actions) {
            return actions;
        }
        let ignored = decoder.ignored();
        let read = match self.role {
            Role::Inbound => decoder.client(text).map(|message| message.map(PeerMessage::Client)),
            Role::Outbound => decoder.server(text).map(|message| message.map(PeerMessage::Server)),
            Role::Peer => decoder.peer(text),
        };
        match read {
            Ok(message) => {
                Counters::add(&self.hub.ignored, decoder.ignored().saturating_sub(ignored));
                let is_hello = matches!(message, Some(PeerMessage::Client(ClientMessage::Hello(_))));
                if !is_hello && !self.is_authorised() {
                    self.refuse("unauthorized", "say `hello` with the pairing token first", now, &mut actions);
                } else if let Some(message) = message {
                    self.on_message(decoder, lane, message, now, &mut actions);
                }
            }
            Err(error) => self.refuse(error.code(), &error.to_string(), now, &mut actions),
        }
        actions
    }

    /// A message of an endpoint that was decoded already.
    pub fn on_decoded(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: ServerMessage<'_>,
        now: Instant,
    ) -> Actions {
        let mut actions = Actions::new();
        self.count(0);
        self.note_heard(lane, now);
        if self.take(1, now, &mut actions) {
            self.on_message(decoder, lane, PeerMessage::Server(message), now, &mut actions);
        }
        actions
    }

    /// A binary message.
    pub fn on_binary(self: &Arc<Self>, lane: Lane, bytes: &[u8], now: Instant) -> Actions {
        let mut actions = Actions::new();
        self.count(bytes.len());
        self.note_heard(lane, now);
        if !self.take(1, now, &mut actions) {
            return actions;
        }
        if !self.is_authorised() {
            self.refuse("unauthorized", "say `hello` with the pairing token first", now, &mut actions);
            return actions;
        }
        if self.state.lock().binary == Binary::Facelink1 {
            self.on_facelink1(lane, bytes, now, &mut actions);
            return actions;
        }
        let schema = self.state.lock().schema.clone();
        match float32::decode(bytes, schema.as_deref()) {
            Ok(frame) => self.ingest(lane, None, Some(&frame), None, None, false, now, &mut actions),
            Err(error) => self.refuse("bad_frame", &error.to_string(), now, &mut actions),
        }
        actions
    }

    fn on_facelink1(self: &Arc<Self>, lane: Lane, bytes: &[u8], now: Instant, actions: &mut Actions) {
        let mut each = |face: &facelink1::Face<'_>| {
            let subject = (!face.subject.is_empty()).then_some(face.subject);
            let unix_ms = match (face.clock, face.frame.capture_time) {
                (Some(facelink1::Clock::Unix), Some(time)) => Some(time.as_secs_f64() * 1000.0),
                _ => None,
            };
            self.ingest(lane, subject, Some(&face.frame), unix_ms, None, face.repeated, now, actions);
        };
        let decoded = {
            let Facelink1 { plain, deltas } = &mut *self.facelink1.lock();
            match deltas {
                Some(deltas) if DeltaDecoder::is_delta(bytes) => deltas.decode(bytes).map(|face| each(&face)),
                Some(deltas) => plain.decode(bytes, |face| {
                    deltas.note(&face);
                    each(&face);
                }),
                None => plain.decode(bytes, |face| each(&face)),
            }
        };
        if let Err(error) = decoded {
            self.refuse("bad_frame", &error.to_string(), now, actions);
        }
    }

    fn note_heard(&self, lane: Lane, now: Instant) {
        let mut state = self.state.lock();
        state.heard = Some(now);
        if lane == Lane::DataChannel {
            state.channel_heard = Some(now);
        }
    }

    fn count(&self, bytes: usize) {
        Counters::add(&self.counters.messages, 1);
        Counters::add(&self.counters.bytes_in, bytes as u64);
    }

    /// Whether the connection may send `messages` more, by the rate that is allowed.
    fn take(&self, messages: u32, now: Instant, actions: &mut Actions) -> bool {
        let limit = self.hub.config.max_messages_per_second;
        let mut state = self.state.lock();
        let (last, tokens) = state.bucket.unwrap_or((now, limit * 2.0));
        let refilled = tokens + now.saturating_duration_since(last).as_secs_f32() * limit;
        let tokens = refilled.min(limit * 2.0) - messages as f32;
        if tokens >= 0.0 {
            state.bucket = Some((now, tokens));
            if tokens > limit {
                state.overflowed = 0;
            }
            return true;
        }
        state.bucket = Some((now, tokens + messages as f32));
        state.overflowed += messages;
        let overflowed = state.overflowed;
        drop(state);
        if overflowed as f32 > limit * 10.0 {
            actions.push(Action::Close(CLOSE_LIMITS, "too many messages"));
        }
        self.refuse("rate_limited", &format!("more than {limit} messages a second"), now, actions);
        false
    }

    fn refuse(&self, code: &str, message: &str, now: Instant, actions: &mut Actions) {
        Counters::add(&self.counters.refused, 1);
        let mut state = self.state.lock();
        let (since, count) = match state.errors {
            Some((since, count)) if now.saturating_duration_since(since) < Duration::from_secs(1) => (since, count),
            _ => (now, 0),
        };
        state.errors = Some((since, count + 1));
        drop(state);
        if count < ERRORS_PER_SECOND {
            tracing::debug!(connection = %self.id, code, message, "refused");
            actions.push(Action::Reply(ServerMessage::error(code, message).to_json()));
        }
    }

    fn on_message(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: PeerMessage<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        match message {
            PeerMessage::Client(message) => self.on_client(decoder, lane, message, now, actions),
            PeerMessage::Server(message) => self.on_server(decoder, lane, message, now, actions),
        }
    }

    fn on_batch(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        batch: &Batch<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let more = u32::try_from(batch.updates.len()).unwrap_or(u32::MAX).saturating_sub(1);
        if more > 0 && !self.take(more, now, actions) {
            return;
        }
        for (i, update) in batch.updates.iter().enumerate() {
            match decoder.face(update.get()) {
                Ok(Some(face)) => self.on_face(lane, &face, now, actions),
                Ok(None) => self.refuse("bad_field", &format!("field `updates[{i}]`: not a frame"), now, actions),
                Err(error) => self.refuse(error.code(), &format!("field `updates[{i}]`: {error}"), now, actions),
            }
        }
    }

    fn on_client(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: ClientMessage<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        // Each of these makes a connection with sockets of its own.
        let costly = match &message {
            ClientMessage::RequestOffer => true,
            ClientMessage::Offer(offer) => offer.peer().is_none(),
            _ => false,
        };
        if costly && !self.take(OFFER_COST - 1, now, actions) {
            return;
        }
        match message {
            ClientMessage::Face(face) => self.on_face(lane, &face, now, actions),
            ClientMessage::BatchUpdate(batch) => self.on_batch(decoder, lane, &batch, now, actions),
            ClientMessage::Hello(hello) => self.on_hello(&hello, now, actions),
            ClientMessage::Schema(schema) => match float32::Schema::new(schema.names.iter().map(|name| &**name)) {
                Ok(known) => match self.facelink1.lock().plain.set_schema(&schema.names) {
                    Ok(()) => self.state.lock().schema = Some(Arc::new(known)),
                    Err(error) => self.refuse("bad_field", &error.to_string(), now, actions),
                },
                Err(error) => self.refuse("bad_field", &error.to_string(), now, actions),
            },
            ClientMessage::Offer(offer) => match offer.peer() {
                Some(peer) => self.relay("offer", peer, ServerMessage::Offer(self.relayed(&offer.sdp)), now, actions),
                None => actions.push(Action::Offer(offer.sdp.into_owned())),
            },
            ClientMessage::Answer(answer) => match answer.peer() {
                Some(peer) => {
                    self.relay("answer", peer, ServerMessage::Answer(self.relayed(&answer.sdp)), now, actions)
                }
                None => actions.push(Action::Answer(answer.sdp.into_owned())),
            },
            ClientMessage::IceCandidate(trickle) => match trickle.peer() {
                Some(peer) => {
                    let (candidate, from) = (trickle.candidate.clone(), Some((&*self.id).into()));
                    let trickle = Trickle { candidate, to: None, from };
                    self.relay("ice_candidate", peer, ServerMessage::IceCandidate(trickle), now, actions);
                }
                None => actions.push(Action::Candidate(trickle.candidate)),
            },
            ClientMessage::SetEmotion(message) => {
                let emotion = Emotion {
                    name: message.emotion.as_ref().into(),
                    intensity: message.intensity,
                    fade: message.fade,
                    duration: message.duration,
                };
                self.on_emotion(lane, message.subject.as_deref(), emotion, now, actions);
            }
            ClientMessage::RequestOffer => actions.push(Action::MakeOffer),
            ClientMessage::Join(join) => match self.hub.join(self.key, &join.room) {
                Ok(peers) => {
                    let peers = peers.iter().map(|peer| (&**peer).into()).collect();
                    let peers = Peers { room: Some(join.room), peers };
                    actions.push(Action::Reply(ServerMessage::Peers(peers).to_json()));
                }
                Err(error) => self.refuse("refused", &error.to_string(), now, actions),
            },
            ClientMessage::Leave => self.hub.leave(self.key),
            ClientMessage::Ping(ping) => {
                let pong = Pong::from_server(ping, unix_ms());
                actions.push(Action::Reply(ServerMessage::Pong(pong).to_json()));
            }
            ClientMessage::Pong(pong) => self.on_pong(lane, &pong, now),
            ClientMessage::GetStats => {
                let subject = self.hub.subjects().newest_stats_of(self.key, now);
                let stats = self.stats(subject.as_ref());
                if let Ok(Value::Object(stats)) = serde_json::to_value(stats) {
                    actions.push(Action::Reply(ServerMessage::Stats(stats).to_json()));
                }
            }
            ClientMessage::Subscribe(subscribe) => self.on_subscribe(subscribe, now, actions),
            ClientMessage::Unsubscribe(unsubscribe) => {
                let mut state = self.state.lock();
                match unsubscribe.subject {
                    Some(subject) => drop(state.subscriptions.remove(&Some(subject.into_owned()))),
                    None => state.subscriptions.clear(),
                }
                drop(state);
                actions.push(Action::Subscriptions);
            }
        }
    }

    fn on_server(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: ServerMessage<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        match message {
            ServerMessage::Face(face) => self.on_face(lane, &face, now, actions),
            ServerMessage::BatchUpdate(batch) => self.on_batch(decoder, lane, &batch, now, actions),
            ServerMessage::SubjectLost(lost) => self.hub.release(self.key, &lost.subject, now),
            ServerMessage::SetRate(rate) => self.obey(rate.fps),
            ServerMessage::Report(report) => {
                self.obey(report.fps);
                self.told_redundancy.store(u32::from(report.redundancy), Ordering::Relaxed);
            }
            ServerMessage::Pong(pong) => self.on_pong(lane, &pong, now),
            _ => Counters::add(&self.hub.ignored, 1),
        }
    }

    fn obey(&self, fps: f32) {
        if fps.is_finite() && fps > 0.0 {
            self.told_fps.store(fps.to_bits(), Ordering::Relaxed);
        }
    }

    fn on_hello(self: &Arc<Self>, hello: &Hello<'_>, now: Instant, actions: &mut Actions) {
        if !self.is_authorised() && !self.authenticate(hello.token.as_deref(), now, actions) {
            return;
        }
        let resumed = hello.resume.as_deref().filter(|id| **id != *self.id);
        let (live, subject) = match resumed.and_then(|id| self.hub.connections().resume(id)) {
            // Every link of an inbound connection is a session.
            Some(Resumed::Live(link)) => ((link as Arc<dyn Any + Send + Sync>).downcast::<Self>().ok(), None),
            Some(Resumed::Ended(subject)) => (None, Some(subject)),
            None => (None, None),
        };
        let session = live.as_ref().unwrap_or(self);
        let mut state = session.state.lock();
        if state.subject.is_none() {
            state.subject = subject;
        }
        let renamed = hello.subject.as_deref().and_then(|name| {
            let old = state.subject.replace(name.into());
            old.filter(|old| **old != *name)
        });
        let client = hello.client.as_deref().unwrap_or("unnamed");
        let lower = client.to_ascii_lowercase();
        session.webcam.store(lower.contains("webcam") || lower.contains("mediapipe"), Ordering::Relaxed);
        state.client = Some(client.into());
        let known = match hello.binary.as_deref() {
            None | Some("float32") => Some(Binary::Float32),
            Some("facelink1") => Some(Binary::Facelink1),
            Some(_) => None,
        };
        state.binary = known.unwrap_or_default();
        state.reports = hello.reports;
        let delta = hello.delta;
        let (subject, binary) = (state.subject.clone(), state.binary);
        drop(state);
        if delta {
            session.facelink1.lock().deltas.get_or_insert_default();
        }
        if let Some(old) = renamed {
            self.hub.release(session.key, &old, now);
        }
        if known.is_none() {
            self.refuse(
                "unsupported",
                "field `binary`: this version reads \"float32\" and \"facelink1\"",
                now,
                actions,
            );
        }
        let welcome = ServerMessage::Welcome(Welcome {
            connection_id: session.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: 1,
            ice_servers: self.hub.peer_config().ice.for_clients(),
            subject: subject.as_deref().map(str::to_owned),
            binary: Some(binary.as_str().to_owned()),
            delta,
            resumed: live.is_some(),
            resume_token: None,
        })
        .to_json();
        actions.push(match live {
            Some(session) => Action::Resume(session, welcome),
            None => Action::Reply(welcome),
        });
    }

    /// Whether the token of a `hello` lets the client in; closes the connection otherwise.
    fn authenticate(&self, token: Option<&str>, now: Instant, actions: &mut Actions) -> bool {
        // A connection without an address was not accepted from a socket.
        let Some(address) = self.address() else { return false };
        match self.hub.auth.check(address.ip(), token, now) {
            Ok(()) => self.authorised.store(true, Ordering::Relaxed),
            Err(Denied::Wait(wait)) => {
                let message = format!("too many wrong tokens: try again in {} s", wait.seconds());
                self.refuse("rate_limited", &message, now, actions);
                actions.push(Action::Close(CLOSE_LIMITS, "too many wrong tokens"));
            }
            Err(Denied::Token) => {
                self.refuse("unauthorized", "field `token`: missing or wrong", now, actions);
                actions.push(Action::Close(CLOSE_UNAUTHORISED, "missing or wrong token"));
            }
        }
        self.is_authorised()
    }

    fn on_subscribe(&self, subscribe: Subscribe<'_>, now: Instant, actions: &mut Actions) {
        let binary = match subscribe.binary.as_deref() {
            None | Some("json") => Binary::Float32,
            Some("facelink1") => Binary::Facelink1,
            Some(_) => {
                self.refuse("bad_field", "field `binary`: must be \"facelink1\" or left out", now, actions);
                return;
            }
        };
        let subscription = Subscription {
            max_fps: subscribe.max_fps,
            binary,
            not_own: subscribe.own == Some(false),
            room_only: subscribe.room == Some(true),
        };
        let mut state = self.state.lock();
        if state.subscriptions.len() < 64 {
            state.subscriptions.insert(subscribe.subject.map(Into::into), subscription);
        }
        drop(state);
        actions.push(Action::Subscriptions);
    }

    /// A description of this connection, for a room peer.
    fn relayed<'a>(&'a self, sdp: &'a str) -> Description<'a> {
        Description { sdp: sdp.into(), to: None, from: Some((&*self.id).into()) }
    }

    /// Hands signalling on to a room peer.
    fn relay(&self, kind: &str, to: &str, message: ServerMessage<'_>, now: Instant, actions: &mut Actions) {
        let peer = self.hub.connections().room_peer(self.key, to);
        match peer {
            Some(peer) => peer.send_signal(message.to_json()),
            None => {
                let message = format!("field `to`: no peer of that id is in the room (`{kind}`)");
                self.refuse("no_such_peer", &message, now, actions);
            }
        }
    }

    fn on_pong(&self, lane: Lane, pong: &Pong<'_>, now: Instant) {
        let unix = unix_ms();
        let Some(sent) = pong.t.as_ref().and_then(Clock::ms).filter(|sent| (0.0..60_000.0).contains(&(unix - sent)))
        else {
            return;
        };
        let rtt = unix - sent;
        self.record_rtt(lane, Duration::from_secs_f64(rtt / 1000.0), now);
        let mut state = self.state.lock();
        if let Some(theirs) = pong.client_time.or(pong.server_time) {
            // The shortest trip tells the clock best; an old one is forgotten slowly, for clocks drift.
            let best = state.clock.map_or(f64::INFINITY, |(_, best)| best * 1.02 + 0.05);
            if rtt <= best {
                state.clock = Some((theirs - (sent + rtt / 2.0), rtt));
            } else if let Some((_, rtt)) = &mut state.clock {
                *rtt = best;
            }
        }
    }

    fn on_face(self: &Arc<Self>, lane: Lane, face: &FaceMessage<'_>, now: Instant, actions: &mut Actions) {
        let frame = face.has_face.then_some(&face.frame);
        self.ingest(lane, face.subject.as_deref(), frame, face.unix_ms, face.viseme, false, now, actions);
    }

    fn ingest(
        self: &Arc<Self>,
        lane: Lane,
        subject: Option<&str>,
        frame: Option<&FaceFrame>,
        sent_unix_ms: Option<f64>,
        viseme: Option<VisemeMessage>,
        repeated: bool,
        now: Instant,
        actions: &mut Actions,
    ) {
        let default = if subject.is_none() { Some(self.default_subject()) } else { None };
        let Some(subject) = subject.or(default.as_deref()) else { return };
        // One that came again says nothing of the way.
        let latency_ms = if repeated { None } else { self.latency_ms(lane, sent_unix_ms) };
        let update = Update {
            key: self.key,
            kind: lane.kind(),
            subject,
            frame,
            unix_ms: sent_unix_ms,
            latency_ms,
            viseme,
            repeated,
        };
        match self.hub.ingest(&update, now) {
            Ok(_) | Err(Refused::Stale) => {}
            // An endpoint that passes on what we have from the source itself is not to blame.
            Err(Refused::Contested) if self.role == Role::Outbound => {}
            Err(refused) => self.refuse("refused", &refused.to_string(), now, actions),
        }
    }

    fn on_emotion(
        self: &Arc<Self>,
        lane: Lane,
        subject: Option<&str>,
        emotion: Emotion,
        now: Instant,
        actions: &mut Actions,
    ) {
        let default = if subject.is_none() { Some(self.default_subject()) } else { None };
        let Some(subject) = subject.or(default.as_deref()) else { return };
        let update = Update {
            key: self.key,
            kind: lane.kind(),
            subject,
            frame: None,
            unix_ms: None,
            latency_ms: None,
            viseme: None,
            repeated: false,
        };
        if let Err(refused) = self.hub.ingest_emotion(&update, emotion, now) {
            self.refuse("refused", &refused.to_string(), now, actions);
        }
    }

    fn default_subject(&self) -> Arc<str> {
        if let Some(subject) = self.subject() {
            return subject;
        }
        let name = self.hub.free_name();
        self.state.lock().subject.get_or_insert(name).clone()
    }

    /// Send to arrival. Exact for a peer whose clock was compared with ours; by the time of day for one whose clock is
    /// set; half the round trip for the rest.
    fn latency_ms(&self, lane: Lane, sent_unix_ms: Option<f64>) -> Option<f32> {
        let now = unix_ms();
        let mut state = self.state.lock();
        if state.last_lane.replace(lane) != Some(lane) {
            // The other transport's figures say nothing of this one.
            state.latency_ms = Average::default();
            // The hub's table is locked before a session's state, never after.
            drop(state);
            self.hub.connections().set_kind(self.key, lane.kind());
            state = self.state.lock();
        }
        let half_trip = state.beat(lane).rtt_ms().map(|rtt| rtt / 2.0);
        let latency = match (sent_unix_ms, state.clock) {
            (Some(sent), Some((offset, _))) => Some((now + offset - sent).clamp(0.0, 60_000.0) as f32),
            (Some(sent), None) if (0.0..PLAUSIBLE_LATENCY_MS).contains(&(now - sent)) => Some((now - sent) as f32),
            _ => half_trip,
        };
        if let Some(latency) = latency {
            state.latency_ms.record(latency);
        }
        latency
    }

    /// Whether a frame of `name` is wanted, and at what rate at most.
    pub fn wants(&self, name: &str) -> Option<Subscription> {
        let state = self.state.lock();
        let named = state.subscriptions.iter().find(|(subject, _)| subject.as_deref() == Some(name));
        named.or_else(|| state.subscriptions.iter().find(|(subject, _)| subject.is_none())).map(|(_, max)| *max)
    }

    pub fn is_subscribed(&self) -> bool {
        !self.state.lock().subscriptions.is_empty()
    }
}

impl Link for Session {
    fn role(&self) -> Role {
        self.role
    }

    fn subject(&self) -> Option<Arc<str>> {
        self.state.lock().subject.clone()
    }

    /// Figures by the names of the migration guide.
    fn stats(&self, subject: Option<&SubjectStats>) -> ConnectionStats {
        let now = Instant::now();
        let state = self.state.lock();
        let lane = state.last_lane.unwrap_or(if state.ws.is_some() { Lane::WebSocket } else { Lane::DataChannel });
        let connected = state.ws.is_some() || state.channel_state == "open";
        let stalled = state.heard.is_some_and(|heard| now.saturating_duration_since(heard) > STALLED);
        let status = match (connected, stalled) {
            (true, false) => ConnectionState::Connected,
            (true, true) => ConnectionState::Stalled,
            (false, _) => ConnectionState::Connecting,
        };
        ConnectionStats {
            connection_id: self.id.clone(),
            state: status,
            transport: lane.kind(),
            direction: self.role.as_str(),
            average_latency_ms: subject.and_then(|s| s.latency_ms).or(state.latency_ms.get()),
            rtt_ms: state.beat(lane).rtt_ms(),
            message_count: Counters::get(&self.counters.messages),
            data_channel_state: state.channel_state,
            buffered_amount: self.buffered.load(Ordering::Relaxed),
            jitter_ms: subject.map(|s| s.jitter_ms),
            loss: subject.and_then(|s| s.loss),
            fps: subject.map(|s| s.fps),
            target_fps: subject.map(|s| s.target_fps),
            subject: subject.map(|s| s.name.clone()).or(state.subject.clone()),
            client: state.client.as_deref().map(Into::into),
            address: state.address,
            route: state.peer.as_ref().and_then(PeerHandle::route),
            bytes_received: Counters::get(&self.counters.bytes_in),
            bytes_sent: Counters::get(&self.counters.bytes_out),
            refused: Counters::get(&self.counters.refused),
            dropped: Counters::get(&self.counters.dropped),
        }
    }

    /// Whether the client says that its face comes out of a webcam.
    fn is_webcam(&self) -> bool {
        self.webcam.load(Ordering::Relaxed)
    }

    /// Whether the sender wants to hear what its frames go through.
    fn wants_reports(&self) -> bool {
        self.role == Role::Peer || self.state.lock().reports
    }

    /// Asks the sender for a rate.
    fn request_rate(&self, fps: f32) {
        self.send_control(match self.role {
            Role::Inbound | Role::Peer => ServerMessage::SetRate(SetRate { fps }).to_json(),
            Role::Outbound => subscribe_json(Some(fps), self.in_room.load(Ordering::Relaxed)),
        });
    }

    /// Queues a report by the way that the frames take; one that is lost is soon followed by the next.
    fn send_report(&self, text: String) {
        let lane = {
            let state = self.state.lock();
            let (first, second) = match state.last_lane {
                Some(Lane::DataChannel) => (&state.channel, &state.ws),
                _ => (&state.ws, &state.channel),
            };
            first.clone().or_else(|| second.clone())
        };
        let length = text.len() as u64;
        let sent = lane.is_some_and(|lane| lane.text(text));
        Counters::add(
            if sent { &self.counters.bytes_out } else { &self.counters.dropped },
            if sent { length } else { 1 },
        );
    }

    /// Queues a message on the WebSocket alone.
    fn send_signal(&self, text: String) {
        let ws = self.state.lock().ws.clone();
        if ws.is_none_or(|ws| !ws.text(text)) {
            Counters::add(&self.counters.dropped, 1);
        }
    }

    fn set_ice_servers(&self, servers: &[IceServer]) {
        self.peer_command(PeerCommand::IceServers(servers.to_vec()));
    }

    fn end(&self) {
        self.ended.cancel();
    }
}

impl State {
    fn end_peer(&mut self, channel_state: &'static str) {
        if let Some(old) = self.peer.take() {
            old.cancel.cancel();
        }
        self.channel = None;
        self.channel_state = channel_state;
        self.channel_beat = Heartbeat::default();
    }

    fn beat(&self, lane: Lane) -> &Heartbeat {
        match lane {
            Lane::WebSocket => &self.ws_beat,
            Lane::DataChannel => &self.channel_beat,
        }
    }
}

/// What we ask of an endpoint that we dialled.
pub(crate) fn subscribe_json(max_fps: Option<f32>, room: bool) -> String {
    let binary = Some("facelink1".into());
    ClientMessage::Subscribe(Subscribe { subject: None, max_fps, binary, own: Some(false), room: Some(room) }).to_json()
}

/// `blendshape_update` as it goes out to subscribers.
pub(crate) fn update_json(subject: &SubjectFrame) -> String {
    let mut message = String::new();
    write_blendshape_update(&mut message, &subject.name, &subject.frame, unix_ms());
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EndpointConfig;
    use facelink::{
        performer::Performance,
        wire::{json::write_arkit_data, llf},
    };

    /// Feeds 400 frames, then measures another 400: allocations of the whole way from bytes to the engine's channel.
    fn allocations(mut feed: impl FnMut(u64), hub: &Hub) -> u64 {
        let mut run = |frames: std::ops::Range<u64>| {
            for i in frames {
                feed(i);
                assert!(hub.queues.frames().try_recv().is_ok(), "frame {i} did not come through");
            }
        };
        run(0..400);
        allocation_counter::measure(|| run(400..800)).count_total
    }

    #[test]
    fn a_frame_costs_no_allocation_from_bytes_to_the_engine() {
        let performance = Performance::new(7);
        let start = Instant::now();
        let at = |i: u64| start + Duration::from_micros(16_667 * i);
        let hub =
            Arc::new(Hub::new(EndpointConfig { max_messages_per_second: 1e6, ..EndpointConfig::default() }, start));
        let counters = Arc::new(Counters::default());
        let key = hub.connect(SourceKind::WebSocket, "id".into(), None, counters.clone(), start).expect("room");
        let session = Session::new(&hub, key, "id".into(), None, counters, Role::Inbound, true);

        let frames: Vec<FaceFrame> = (0..800).map(|i| performance.frame_at(Duration::from_millis(16 * i))).collect();
        let mut decoder = Decoder::default();
        let json: Vec<String> = frames
            .iter()
            .map(|frame| {
                let mut frame = frame.clone();
                frame.channels.push(facelink::Channel { name: "tail".into(), value: 0.5 });
                let mut text = String::new();
                write_arkit_data(&mut text, &frame, Some("Ann"), None);
                text
            })
            .collect();
        let by_json = allocations(
            |i| {
                let actions = session.on_text(&mut decoder, Lane::WebSocket, &json[i as usize], at(i));
                assert!(actions.is_empty(), "{actions:?}");
            },
            &hub,
        );
        let binary: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| {
                let mut bytes = Vec::new();
                float32::encode_61(frame, &mut bytes);
                bytes
            })
            .collect();
        let by_floats =
            allocations(|i| assert!(session.on_binary(Lane::DataChannel, &binary[i as usize], at(i)).is_empty()), &hub);
        let profile = llf::PROFILE;
        let packets: Vec<Vec<u8>> = frames
            .iter()
            .enumerate()
            .map(|(i, frame)| {
                let mut bytes = Vec::new();
                let packet = llf::LlfPacket::new("device", "iPhone", i as i32, frame.clone());
                llf::encode(&packet, &profile, &mut bytes).expect("encodes");
                bytes
            })
            .collect();
        let by_phone = allocations(
            |i| {
                let packet = llf::decode(&packets[i as usize], &profile).expect("decodes");
                let update = Update {
                    key,
                    kind: SourceKind::LiveLinkFace,
                    subject: packet.subject,
                    frame: Some(&packet.frame),
                    unix_ms: None,
                    latency_ms: None,
                    viseme: None,
                    repeated: false,
                };
                hub.ingest(&update, at(i)).expect("taken");
            },
            &hub,
        );
        assert_eq!((by_json, by_floats, by_phone), (0, 0, 0));
    }
}
