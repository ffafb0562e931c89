//! A sender in Rust: frames to a FaceLink endpoint, over the WebSocket at once and over WebRTC as soon as it answers.
//!
//! One task keeps both transports. Frames move to the data channel when it has answered a ping, go by both while it is
//! silent for longer than its round trip explains, and by the WebSocket alone once it is given up. Whichever transport is
//! lost is made again while the other one carries on.

use std::{
    collections::{HashMap, VecDeque},
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::RTCPeerConnectionState,
};

use super::{
    Emotion, IceConfig, ServerTrust, SourceKind,
    hub::{Counters, Hub},
    out::Outgoing,
    outward_address,
    peer::{self, PeerCommand, Signal, Way},
    rtc::{FrameData, FrameSender, PeerEvent, RtcError, RtcPeer},
    session::{Action, CLOSE_UNAUTHORISED, Lane, Role, Session, subscribe_json, unix_ms},
    socket_out::{self, Dial, Ws, WsEvent},
    subscribe,
};
use facelink::{
    frame::FaceFrame,
    timing::{Decimator, Heartbeat},
    wire::{
        facelink1::{self, delta::DeltaEncoder},
        float32,
        json::{Decoder, FaceKind, FaceMessage, VisemeMessage, write_arkit_data},
        message::{
            ClientMessage, Clock, Description, Hello, Join, Peer, Ping, Pong, ServerMessage, SetEmotion, Trickle,
            Welcome,
        },
        viseme::Viseme,
    },
};

/// Time between two looks at the transports.
const TICK: Duration = Duration::from_millis(50);
/// Pings of a transport that carries frames, and of one that stands by.
const PING_BUSY: Duration = Duration::from_millis(100);
const PING_IDLE: Duration = Duration::from_millis(500);
/// A transport carries frames if one left by it within this time.
const BUSY: Duration = Duration::from_secs(1);
/// A transport that answers nothing for this long is lost.
const DEAD_AFTER: Duration = Duration::from_secs(2);
/// An endpoint that has not said welcome by then is none.
const WELCOME_LIMIT: Duration = Duration::from_secs(5);
/// A data channel that is not open by then is given up, for this time.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// An ICE restart that has brought nothing by then is given up for a new connection.
const RESTART_LIMIT: Duration = Duration::from_millis(700);
/// A direct connection to a room mate that failed is tried again after this time.
const MATE_DELAY: Duration = Duration::from_secs(3);
/// Time between two looks at this machine's address: another one means another network.
const ADDRESS_INTERVAL: Duration = Duration::from_millis(100);
/// A connection that stood for this long makes the next delay the first one again.
const STABLE: Duration = Duration::from_secs(5);
/// Attempts before the delays grow to their longest.
const PATIENT: u32 = 25;
/// Faces that go into one packet while it repeats nothing, and how long their names may be together, bytes: what fits one
/// datagram on any way.
const MAX_BUNDLED: usize = 11;
const LONGEST_NAMES: usize = 160;
/// Faces of which a frame may wait for a transport.
const MAX_FACES: usize = 64;

/// Where to send, and as whom.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Address of the endpoint, such as `ws://127.0.0.1:8765`. `http://` is taken for `ws://`.
    pub url: String,
    /// Name of the face; without one the endpoint chooses.
    pub subject: Option<String>,
    /// Pairing token.
    pub token: Option<String>,
    /// Whether to move to a WebRTC data channel once it opens.
    pub webrtc: bool,
    /// What the client calls itself.
    pub client: String,
    /// Whether to send what changed since a frame that has arrived, instead of whole faces: for thin uplinks. Packets are
    /// about half as large then, headers not counted.
    pub delta: bool,
    /// Whether the endpoint's faces are wanted too. Only a client that [`Endpoint::connect`](super::Endpoint::connect)
    /// made has a place for them.
    pub receive: bool,
    /// Room in which to meet others: faces then go to them directly where that is possible, and by the endpoint where it
    /// is not. Needs [`Endpoint::connect`](super::Endpoint::connect) too.
    pub room: Option<String>,
    /// How WebRTC connections are made; the endpoint's own STUN and TURN servers are added.
    pub ice: IceConfig,
    /// Whom to take for the endpoint of a `wss://` address.
    pub trust: ServerTrust,
    /// Address that WebRTC binds; by default loopback for an endpoint on this machine, else every address.
    pub bind: Option<IpAddr>,
}

impl ClientConfig {
    /// Sends to `url` by every means, under a name that the endpoint chooses.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            subject: None,
            token: None,
            webrtc: true,
            delta: false,
            client: concat!("facelink-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            receive: false,
            room: None,
            ice: IceConfig::default(),
            trust: ServerTrust::default(),
            bind: None,
        }
    }

    /// Sends as this subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Figures of a client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientStats {
    /// The endpoint's id of this connection; the same after a reconnection that resumed it.
    pub connection_id: Option<Arc<str>>,
    /// Id of this connection in the figures of our own endpoint, for a client that
    /// [`Endpoint::connect`](super::Endpoint::connect) made.
    pub link_id: Option<Arc<str>>,
    /// What carries frames now; `None` while nothing does.
    pub transport: Option<SourceKind>,
    /// Average round trip of that transport, milliseconds.
    pub rtt_ms: Option<f32>,
    /// Frames a second that the other side asks for.
    pub target_fps: f32,
    /// Frames sent.
    pub sent: u64,
    /// Frames replaced or left out because nothing could take them.
    pub dropped: u64,
    /// Frames left out because fewer were asked for; their peaks went out with the next.
    pub thinned: u64,
    /// Frames that went by both transports, while one of them was in doubt.
    pub hedged: u64,
    /// How often the WebSocket came back.
    pub reconnects: u64,
    /// How often frames moved to another transport.
    pub moves: u64,
    /// Others in the room.
    pub room_mates: usize,
    /// Those of them with a direct connection.
    pub direct: usize,
}

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be read.
    #[error("`{url}` is no address of an endpoint: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing answers there, or not as an endpoint does.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The token is missing or wrong.
    #[error("{url} wants its pairing token")]
    Unauthorised {
        /// The address.
        url: String,
    },
}

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// On the way to the endpoint, for the first time or again.
    Connecting,
    /// Frames flow, by this transport.
    Connected(SourceKind),
    /// Given up: the endpoint will not have us.
    Refused(ClientError),
    /// The last attempt failed; the next one follows by itself.
    Waiting(ClientError),
}

/// Delays that double, each with its share of chance: clients of an endpoint that restarts must not come back in step.
#[derive(Debug)]
struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    at: Option<Instant>,
}

impl Backoff {
    const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0, at: None }
    }

    /// Another attempt after the next delay. The first one comes at once, but for its chance.
    fn again(&mut self, now: Instant) {
        let full = match self.failures {
            0 => self.first / 4,
            // For the first half minute or so it is likely to come back any moment.
            n @ 1..PATIENT => (self.first * 2_u32.saturating_pow(n.min(16) - 1)).min(self.longest / 5),
            n => (self.longest / 5 * 2_u32.saturating_pow((n - PATIENT).min(16))).min(self.longest),
        };
        let chance = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + full.mul_f64(0.5 + chance));
    }

    fn now(&mut self, now: Instant) {
        self.failures = 0;
        self.at = Some(now);
    }

    fn take_due(&mut self, now: Instant) -> bool {
        let due = self.at.is_some_and(|at| at <= now);
        if due {
            self.at = None;
        }
        due
    }
}

/// Visemes and emotions that wait for a connection; older ones are dropped.
const MAX_WORDS: usize = 32;

#[derive(Debug)]
struct Shared {
    /// The newest frame of each face that was not sent yet.
    slot: Mutex<Slot>,
    /// Messages that are no frames and must not be replaced: visemes and emotions, oldest first.
    words: Mutex<VecDeque<String>>,
    wake: Notify,
    state: Mutex<ClientState>,
    changed: Notify,
    target_fps: Mutex<f32>,
    /// The other side has said what it wants.
    told: AtomicBool,
    thinned: AtomicU64,
    figures: Mutex<Figures>,
    sent: AtomicU64,
    dropped: AtomicU64,
    hedged: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Figures {
    connection_id: Option<Arc<str>>,
    link_id: Option<Arc<str>>,
    rtt_ms: Option<f32>,
    reconnects: u64,
    moves: u64,
    room_mates: usize,
    direct: usize,
}

/// A face that is sent.
type Waiting = (Option<Arc<str>>, FaceFrame);

#[derive(Debug, Default)]
struct Slot {
    /// Without a name, the connection's own.
    waiting: SmallVec<[Waiting; 1]>,
    thinning: SmallVec<[(Option<Arc<str>>, Decimator); 1]>,
}

impl Shared {
    fn obey(&self, fps: f32) {
        if fps.is_finite() && fps > 0.0 {
            *self.target_fps.lock() = fps;
            self.told.store(true, Ordering::Relaxed);
        }
    }

    fn set_state(&self, state: ClientState) {
        let mut now = self.state.lock();
        if *now != state {
            tracing::debug!(?state, "client");
            *now = state;
            drop(now);
            self.changed.notify_waiters();
        }
    }
}

/// A connection to an endpoint that keeps itself alive. Dropping it closes it.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    cancel: CancellationToken,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Client {
    /// Starts connecting on a tokio runtime and returns at once. Lost connections are made again.
    ///
    /// Frames go out alone: to receive the endpoint's faces too, or to meet others in a room, use
    /// [`Endpoint::connect`](super::Endpoint::connect).
    pub fn start(config: ClientConfig, runtime: &tokio::runtime::Handle) -> Self {
        Self::spawn(config, runtime, None)
    }

    pub(super) fn start_into(config: ClientConfig, runtime: &tokio::runtime::Handle, hub: Arc<Hub>) -> Self {
        Self::spawn(config, runtime, Some(hub))
    }

    fn spawn(config: ClientConfig, runtime: &tokio::runtime::Handle, hub: Option<Arc<Hub>>) -> Self {
        let shared = Arc::new(Shared {
            slot: Mutex::default(),
            words: Mutex::default(),
            wake: Notify::new(),
            state: Mutex::new(ClientState::Connecting),
            changed: Notify::new(),
            target_fps: Mutex::new(60.0),
            told: AtomicBool::new(false),
            thinned: AtomicU64::new(0),
            figures: Mutex::default(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            hedged: AtomicU64::new(0),
        });
        let cancel = CancellationToken::new();
        match socket_out::parse_url(&config) {
            Ok(dial) => {
                let worker = Worker::new(config, dial, shared.clone(), hub, cancel.clone());
                runtime.spawn(worker.run());
            }
            Err(error) => shared.set_state(ClientState::Refused(error)),
        }
        Self { shared, cancel }
    }

    /// Hands over a frame of the connection's own face. Never blocks: a frame that was not sent yet is replaced.
    pub fn send(&self, frame: FaceFrame) {
        self.put(None, frame);
    }

    /// Hands over a frame of the face `name`, for a connection that sends several.
    pub fn send_as(&self, name: &str, frame: FaceFrame) {
        self.put(Some(name), frame);
    }

    /// Says a viseme of this weight, `0..=1`, with the connection's own face or the face `subject`: until the next one, or
    /// for a time. Never blocks.
    pub fn say(&self, subject: Option<&str>, viseme: Viseme, weight: f32, duration: Option<Duration>) {
        self.put_words(&ClientMessage::Face(FaceMessage {
            kind: FaceKind::VisemeData,
            subject: subject.map(Into::into),
            viseme: Some(VisemeMessage { viseme, weight, duration }),
            ..FaceMessage::default()
        }));
    }

    /// Has the connection's own face, or the face `subject`, show an emotion. Never blocks.
    pub fn set_emotion(&self, subject: Option<&str>, emotion: &Emotion) {
        self.put_words(&ClientMessage::SetEmotion(SetEmotion {
            subject: subject.map(Into::into),
            emotion: (&*emotion.name).into(),
            intensity: emotion.intensity,
            fade: emotion.fade,
            duration: emotion.duration,
        }));
    }

    fn put_words(&self, message: &ClientMessage<'_>) {
        let mut words = self.shared.words.lock();
        if words.len() >= MAX_WORDS {
            words.pop_front();
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        words.push_back(message.to_json());
        drop(words);
        self.shared.wake.notify_one();
    }

    fn put(&self, name: Option<&str>, mut frame: FaceFrame) {
        let fps = self.shared.told.load(Ordering::Relaxed).then(|| self.target_fps());
        let mut slot = self.shared.slot.lock();
        let Slot { waiting: slot, thinning } = &mut *slot;
        if let Some(fps) = fps {
            let place = thinning.iter().position(|(known, _)| known.as_deref() == name).unwrap_or_else(|| {
                if thinning.len() >= MAX_FACES {
                    thinning.remove(0);
                }
                thinning.push((name.map(Into::into), Decimator::default()));
                thinning.len() - 1
            });
            if !thinning[place].1.offer(&mut frame, fps, Instant::now()) {
                self.shared.thinned.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        // However long it waits, this is when it was.
        frame.capture_time = Duration::try_from_secs_f64(unix_ms() / 1000.0).ok();
        let full = slot.len() >= MAX_FACES;
        match slot.iter_mut().find(|(waiting, _)| waiting.as_deref() == name) {
            Some((_, old)) => {
                *old = frame;
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
            None if full => drop(self.shared.dropped.fetch_add(1, Ordering::Relaxed)),
            None => slot.push((name.map(Into::into), frame)),
        }
        self.shared.wake.notify_one();
    }

    /// What the client is doing.
    pub fn state(&self) -> ClientState {
        self.shared.state.lock().clone()
    }

    /// Waits until the state is one that `wanted` accepts, and gives it.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&ClientState) -> bool) -> ClientState {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            changed.await;
        }
    }

    /// Frames a second that the endpoint asked for last; 60 until it asks.
    pub fn target_fps(&self) -> f32 {
        *self.shared.target_fps.lock()
    }

    /// Frames sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Frames replaced or left out because the connection was not ready for them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Figures of now.
    pub fn stats(&self) -> ClientStats {
        let figures = self.shared.figures.lock().clone();
        ClientStats {
            connection_id: figures.connection_id,
            link_id: figures.link_id,
            transport: match self.state() {
                ClientState::Connected(kind) => Some(kind),
                _ => None,
            },
            rtt_ms: figures.rtt_ms,
            target_fps: self.target_fps(),
            sent: self.sent(),
            dropped: self.dropped(),
            thinned: self.shared.thinned.load(Ordering::Relaxed),
            hedged: self.shared.hedged.load(Ordering::Relaxed),
            reconnects: figures.reconnects,
            moves: figures.moves,
            room_mates: figures.room_mates,
            direct: figures.direct,
        }
    }
}

/// What a data channel's reader reports.
enum Heard {
    Open,
    Text(String),
    Binary(Bytes),
    Closed,
}

/// The data channel to the endpoint.
struct Rtc {
    peer: RtcPeer,
    frames: FrameSender,
    events: mpsc::UnboundedReceiver<PeerEvent>,
    heard: mpsc::Receiver<Heard>,
    started: Instant,
    open: bool,
    beat: Heartbeat,
    last_frame: Option<Instant>,
    /// Since when an ICE restart is under way.
    restarting: Option<Instant>,
    /// ICE itself says that the way is broken.
    broken: bool,
    address: Option<IpAddr>,
}

impl Rtc {
    async fn open(way: &Way) -> Result<(Self, String), RtcError> {
        let (peer, events) = RtcPeer::roaming(way.bind, &way.ice).await?;
        let offer = peer.offer().await?;
        let (sender, heard) = mpsc::channel(256);
        tokio::spawn(read_channel(peer.channel.clone(), sender));
        let rtc = Self {
            frames: FrameSender::new(peer.channel.clone()),
            peer,
            events,
            heard,
            started: Instant::now(),
            open: false,
            beat: Heartbeat::default(),
            last_frame: None,
            restarting: None,
            broken: false,
            address: outward_address(),
        };
        Ok((rtc, offer))
    }

    /// Whether frames may go this way: the far side has answered on it.
    fn is_proven(&self) -> bool {
        self.open && self.beat.has_answered()
    }

    async fn ping(&mut self, now: Instant) {
        self.beat.sent(now);
        self.frames.send_control(&ClientMessage::Ping(Ping::new(unix_ms())).to_json(), now).await;
    }
}

async fn read_channel(channel: Arc<dyn DataChannel>, heard: mpsc::Sender<Heard>) {
    loop {
        let event = tokio::select! {
            () = heard.closed() => return,
            event = channel.poll() => event,
        };
        let message = match event {
            Some(DataChannelEvent::OnOpen) => Heard::Open,
            Some(DataChannelEvent::OnMessage(message)) if message.is_string => {
                Heard::Text(String::from_utf8_lossy(&message.data).into_owned())
            }
            Some(DataChannelEvent::OnMessage(message)) => Heard::Binary(message.data.freeze()),
            Some(DataChannelEvent::OnClose) | None => {
                let _ = heard.send(Heard::Closed).await;
                return;
            }
            Some(_) => continue,
        };
        // What does not fit is not worth stalling the connection for.
        let _ = heard.try_send(message);
    }
}

/// A direct connection to a room mate.
struct Mate {
    session: Option<Arc<Session>>,
    /// We came into the room after it, so the offer is ours to make.
    offering: bool,
    retry: Option<Instant>,
}

struct Worker {
    config: ClientConfig,
    dial: Dial,
    shared: Arc<Shared>,
    hub: Option<Arc<Hub>>,
    cancel: CancellationToken,
    ws: Option<Ws>,
    dialling: Option<mpsc::Receiver<Result<Ws, ClientError>>>,
    ws_retry: Backoff,
    ws_error: Option<ClientError>,
    rtc: Option<Rtc>,
    rtc_retry: Backoff,
    /// What was received lands here.
    session: Option<Arc<Session>>,
    mates: HashMap<Arc<str>, Mate>,
    connection_id: Option<Arc<str>>,
    servers: IceConfig,
    compact: bool,
    /// How many earlier frames the endpoint wants repeated.
    redundancy: u8,
    /// While the endpoint takes deltas.
    deltas: Option<Box<DeltaEncoder>>,
    decoders: (Decoder, Decoder),
    encoder: facelink1::Encoder,
    text: String,
    bytes: Vec<u8>,
    address: Option<IpAddr>,
    /// The last one that there was.
    address_before: Option<IpAddr>,
    address_at: Instant,
    /// The other side offers, as a mate without a name.
    answering: bool,
    /// The transport that frames left by last.
    lane: Option<SourceKind>,
}

async fn recv<T>(receiver: Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

async fn recv_unbounded<T>(receiver: Option<&mut mpsc::UnboundedReceiver<T>>) -> Option<T> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

enum Event {
    Cancelled,
    Dialled(Result<Ws, ClientError>),
    Ws(WsEvent),
    Rtc(Option<PeerEvent>),
    Heard(Heard),
    Frame,
    Tick,
}

impl Worker {
    fn new(
        config: ClientConfig,
        dial: Dial,
        shared: Arc<Shared>,
        hub: Option<Arc<Hub>>,
        cancel: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let mut ws_retry = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        ws_retry.now(now);
        Self {
            servers: config.ice.clone(),
            address: outward_address(),
            address_before: outward_address(),
            config,
            dial,
            shared,
            hub,
            cancel,
            ws: None,
            dialling: None,
            ws_retry,
            ws_error: None,
            rtc: None,
            rtc_retry: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            session: None,
            mates: HashMap::new(),
            connection_id: None,
            compact: false,
            redundancy: 0,
            deltas: None,
            decoders: <_>::default(),
            encoder: facelink1::Encoder::new(),
            text: String::new(),
            bytes: Vec::new(),
            address_at: now,
            answering: false,
            lane: None,
        }
    }

    async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let can_send = self.can_send();
            let (rtc_events, rtc_heard) = match &mut self.rtc {
                Some(rtc) => (Some(&mut rtc.events), Some(&mut rtc.heard)),
                None => (None, None),
            };
            let event = tokio::select! {
                () = self.cancel.cancelled() => Event::Cancelled,
                Some(dialled) = recv(self.dialling.as_mut()) => Event::Dialled(dialled),
                // A writer that fails ends the reader too, which then says nothing any more.
                event = recv(self.ws.as_mut().map(|ws| &mut ws.events)) => Event::Ws(event.unwrap_or_else(|| {
                    WsEvent::Closed { code: None, reason: "the connection broke".to_owned() }
                })),
                event = recv_unbounded(rtc_events) => Event::Rtc(event),
                Some(heard) = recv(rtc_heard) => Event::Heard(heard),
                () = self.shared.wake.notified(), if can_send => Event::Frame,
                _ = tick.tick() => Event::Tick,
            };
            let now = Instant::now();
            match event {
                Event::Cancelled => {
                    self.close().await;
                    return;
                }
                Event::Dialled(dialled) => self.on_dialled(dialled, now),
                Event::Ws(event) => self.on_ws(event, now).await,
                Event::Rtc(event) => self.on_rtc(event, now).await,
                Event::Heard(heard) => self.on_heard(heard, now).await,
                Event::Frame => self.flush(now).await,
                Event::Tick => self.on_tick(now).await,
            }
            if let ClientState::Refused(_) = *self.shared.state.lock() {
                break;
            }
            self.report(now);
        }
        self.close().await;
    }

    async fn close(&mut self) {
        // A frame that was handed over just before is not held back.
        if self.can_send() {
            self.flush(Instant::now()).await;
        }
        if let Some(ws) = self.ws.take() {
            ws.say_goodbye();
        }
        if let Some(rtc) = self.rtc.take() {
            rtc.peer.close().await;
        }
        let now = Instant::now();
        for session in self.mates.drain().filter_map(|(_, mate)| mate.session).chain(self.session.take()) {
            session.end_peer();
            session.hub.disconnect(session.key, "closed by this side", true, now);
        }
    }

    fn ws_ready(&self) -> bool {
        self.ws.as_ref().is_some_and(|ws| ws.welcomed)
    }

    /// Whether a data channel to the endpoint itself is ours to open.
    fn own_offer(&self) -> bool {
        self.config.room.is_none() && !self.answering
    }

    fn can_send(&self) -> bool {
        self.ws_ready() || self.rtc.as_ref().is_some_and(Rtc::is_proven) || self.directs() > 0
    }

    /// Room mates with a direct connection.
    fn directs(&self) -> usize {
        self.mates.values().filter(|mate| mate.session.as_ref().is_some_and(|s| s.channel_is_open())).count()
    }

    fn way(&self) -> Way {
        let bind =
            self.config.bind.unwrap_or(if self.dial.local { [127, 0, 0, 1].into() } else { [0, 0, 0, 0].into() });
        Way { bind, ice: self.servers.clone() }
    }

    fn report(&mut self, now: Instant) {
        let rtc = self.rtc.as_ref().filter(|rtc| rtc.is_proven());
        let ready = self.ws_ready();
        let kind = match rtc {
            Some(rtc) if !(rtc.beat.is_suspect(now) || rtc.broken) => Some(SourceKind::WebRtc),
            _ if ready => Some(SourceKind::WebSocket),
            // In doubt, and the only one there is; but a dead one is none.
            Some(rtc) if !rtc.broken && rtc.beat.silence(now) <= DEAD_AFTER => Some(SourceKind::WebRtc),
            _ => None,
        };
        if let Some(session) = &self.session {
            session.note_channel(match &self.rtc {
                Some(rtc) if rtc.open => "open",
                Some(_) => "connecting",
                None => "none",
            });
        }
        let direct = self.directs();
        let mut figures = self.shared.figures.lock();
        if figures.link_id.as_deref() != self.session.as_ref().map(|session| &*session.id) {
            figures.link_id = self.session.as_ref().map(|session| session.id.clone());
        }
        if let (Some(kind), true) = (kind, self.lane != kind) {
            figures.moves += u64::from(self.lane.is_some());
            tracing::info!(url = self.config.url, transport = %kind, "frames move");
            self.lane = Some(kind);
        }
        figures.rtt_ms = match kind {
            Some(SourceKind::WebRtc) => rtc.and_then(|rtc| rtc.beat.rtt_ms()),
            _ => self.ws.as_ref().and_then(|ws| ws.beat.lock().rtt_ms()),
        };
        (figures.room_mates, figures.direct) = (self.mates.len(), direct);
        drop(figures);
        let told = self.mates.values().filter_map(|mate| mate.session.as_ref()?.told_fps()).reduce(f32::min);
        if let Some(told) = told {
            *self.shared.target_fps.lock() = told;
        }
        self.shared.set_state(match (kind, &self.ws_error) {
            (Some(kind), _) => ClientState::Connected(kind),
            (None, Some(error)) if self.dialling.is_none() && self.ws.is_none() => ClientState::Waiting(error.clone()),
            _ => ClientState::Connecting,
        });
    }

    fn on_dialled(&mut self, dialled: Result<Ws, ClientError>, now: Instant) {
        self.dialling = None;
        match dialled {
            Ok(ws) => {
                let hello = ClientMessage::Hello(Hello {
                    subject: self.config.subject.as_deref().map(Into::into),
                    token: self.config.token.as_deref().map(Into::into),
                    binary: Some("facelink1".into()),
                    client: Some(self.config.client.as_str().into()),
                    resume: self.connection_id.as_deref().map(Into::into),
                    reports: true,
                    delta: self.config.delta,
                });
                ws.out.text(hello.to_json());
                self.ws = Some(ws);
            }
            Err(error @ ClientError::Unauthorised { .. }) => self.shared.set_state(ClientState::Refused(error)),
            Err(error) => {
                tracing::debug!(%error, "not connected");
                self.ws_error = Some(error);
                self.ws_retry.again(now);
            }
        }
    }

    fn lose_ws(&mut self, reason: &str, now: Instant) {
        let Some(ws) = self.ws.take() else { return };
        tracing::info!(url = self.config.url, reason, "the WebSocket is lost");
        self.ws_error = Some(ClientError::Connect { url: self.config.url.clone(), reason: reason.to_owned() });
        if let Some(session) = &self.session {
            session.detach_ws(&ws.out);
        }
        if now.saturating_duration_since(ws.opened) > STABLE {
            self.ws_retry.failures = 0;
        }
        self.ws_retry.again(now);
        self.end_session_if_deaf(reason, now);
    }

    /// With both transports gone, what was received from the endpoint waits for it no longer than any broken source.
    fn end_session_if_deaf(&mut self, reason: &str, now: Instant) {
        if self.ws.is_none()
            && self.rtc.is_none()
            && let Some(session) = self.session.take()
        {
            session.hub.disconnect(session.key, reason, false, now);
        }
    }

    async fn on_ws(&mut self, event: WsEvent, now: Instant) {
        match event {
            WsEvent::Text(text) => self.on_text(Lane::WebSocket, &text, now).await,
            WsEvent::Binary(bytes) => self.on_binary(Lane::WebSocket, &bytes, now),
            WsEvent::Pong(rtt) => {
                if let Some(ws) = &self.ws {
                    ws.beat.lock().answered(rtt, now);
                }
                if let Some(session) = &self.session {
                    session.record_rtt(Lane::WebSocket, rtt, now);
                }
            }
            WsEvent::Closed { code: Some(CLOSE_UNAUTHORISED), .. } => {
                let error = ClientError::Unauthorised { url: self.config.url.clone() };
                self.shared.set_state(ClientState::Refused(error));
            }
            WsEvent::Closed { reason, .. } => self.lose_ws(&reason, now),
        }
    }

    async fn on_text(&mut self, lane: Lane, text: &str, now: Instant) {
        let mut decoder = std::mem::take(match lane {
            Lane::WebSocket => &mut self.decoders.0,
            Lane::DataChannel => &mut self.decoders.1,
        });
        match decoder.server(text) {
            Ok(Some(message)) => self.on_message(&mut decoder, lane, message, now).await,
            Ok(None) => tracing::debug!("message of the endpoint ignored: its type is not known"),
            Err(error) => tracing::debug!(%error, "message of the endpoint ignored"),
        }
        match lane {
            Lane::WebSocket => self.decoders.0 = decoder,
            Lane::DataChannel => self.decoders.1 = decoder,
        }
    }

    async fn on_message(&mut self, decoder: &mut Decoder, lane: Lane, message: ServerMessage<'_>, now: Instant) {
        // A signalling server of another make says no welcome; that it speaks is one.
        if matches!(message, ServerMessage::Offer(_) | ServerMessage::Face(_))
            && self.ws.as_ref().is_some_and(|ws| !ws.welcomed)
        {
            self.on_welcome(Welcome::default(), now).await;
        }
        match message {
            ServerMessage::Welcome(welcome) => self.on_welcome(welcome, now).await,
            ServerMessage::Answer(answer) => match answer.peer() {
                Some(mate) => self.mate_command(mate, PeerCommand::Answer(answer.sdp.to_string())),
                None => {
                    if let Some(rtc) = &mut self.rtc
                        && let Err(error) = rtc.peer.set_answer(answer.sdp.into_owned()).await
                    {
                        tracing::debug!(%error, "answer refused");
                        self.lose_rtc("the answer was refused", now).await;
                    }
                }
            },
            ServerMessage::IceCandidate(trickle) => match (trickle.peer(), trickle.candidate.clone()) {
                (Some(mate), candidate) => self.mate_command(mate, PeerCommand::Candidate(candidate)),
                (None, candidate) if self.answering => self.mate_command("", PeerCommand::Candidate(candidate)),
                (None, Some(candidate)) => {
                    if let Some(rtc) = &mut self.rtc {
                        rtc.peer.add_candidate(candidate).await;
                    }
                }
                (None, None) => {}
            },
            ServerMessage::Offer(offer) => {
                let mate = offer.peer().unwrap_or_default().to_owned();
                if mate.is_empty() {
                    // This server would rather offer: then our own attempt is one too many.
                    self.answering = true;
                    if let Some(rtc) = self.rtc.take() {
                        tokio::spawn(rtc.peer.close());
                    }
                }
                self.on_mate_offer(&mate, offer.sdp.into_owned(), now).await;
            }
            ServerMessage::Peers(peers) => {
                let present: Vec<Arc<str>> = peers.peers.iter().map(|peer| (&**peer).into()).collect();
                self.mates.retain(|id, mate| present.contains(id) || mate.session.is_some());
                for peer in present {
                    let mate = self.mates.entry(peer).or_insert(Mate { session: None, offering: true, retry: None });
                    if mate.session.is_none() {
                        (mate.offering, mate.retry) = (true, Some(now));
                    }
                }
            }
            ServerMessage::PeerJoined(Peer { peer }) => {
                self.mates.entry((&*peer).into()).or_insert(Mate { session: None, offering: false, retry: None });
            }
            ServerMessage::PeerLeft(Peer { peer }) => {
                // A direct connection that still stands ends by itself.
                if self
                    .mates
                    .get(&*peer)
                    .is_some_and(|mate| !mate.session.as_ref().is_some_and(|s| s.channel_is_open()))
                {
                    self.drop_mate(&peer, now);
                }
            }
            ServerMessage::Ping(ping) => {
                let pong = Pong::from_client(ping, unix_ms());
                self.reply(lane, ClientMessage::Pong(pong).to_json()).await;
            }
            ServerMessage::SetRate(rate) => self.shared.obey(rate.fps),
            ServerMessage::Report(report) => {
                self.shared.obey(report.fps);
                self.redundancy = report.redundancy;
                if let (Some(deltas), Some(ack)) = (&mut self.deltas, report.ack) {
                    deltas.acknowledge(report.subject.as_deref().unwrap_or_default(), ack);
                }
            }
            ServerMessage::Error(error) => {
                tracing::warn!(code = &*error.code, message = &*error.message, "the endpoint refused a message");
            }
            message => {
                if let ServerMessage::Pong(pong) = &message
                    && lane == Lane::DataChannel
                    && let (Some(rtc), Some(sent)) = (&mut self.rtc, pong.t.as_ref().and_then(Clock::ms))
                {
                    let rtt = Duration::try_from_secs_f64((unix_ms() - sent) / 1000.0).unwrap_or_default();
                    let proven = rtc.is_proven();
                    rtc.beat.answered(rtt, now);
                    rtc.broken = false;
                    if !proven && rtc.is_proven() {
                        tracing::debug!(open_ms = rtc.started.elapsed().as_millis() as u64, "the data channel answers");
                    }
                    if rtc.restarting.take().is_some() {
                        tracing::info!("the ICE restart brought the data channel back");
                    }
                }
                let Some(session) = self.session.clone() else { return };
                for action in session.on_decoded(decoder, lane, message, now) {
                    if let Action::Reply(text) = action {
                        self.reply(lane, text).await;
                    }
                }
            }
        }
    }

    fn on_binary(&mut self, lane: Lane, bytes: &[u8], now: Instant) {
        if let Some(session) = &self.session {
            // A complaint about a frame is for the figures alone: the endpoint could do nothing with it.
            drop(session.on_binary(lane, bytes, now));
        }
    }

    async fn reply(&mut self, lane: Lane, text: String) {
        match lane {
            Lane::WebSocket => {
                if let Some(ws) = &self.ws {
                    ws.out.text(text);
                }
            }
            Lane::DataChannel => {
                if let Some(rtc) = &mut self.rtc {
                    rtc.frames.send_control(&text, Instant::now()).await;
                }
            }
        }
    }

    async fn on_welcome(&mut self, welcome: Welcome, now: Instant) {
        let Some(ws) = &mut self.ws else { return };
        ws.welcomed = true;
        self.answering = false;
        self.ws_error = None;
        let out = ws.out.clone();
        let remote = ws.remote;
        let id: Option<Arc<str>> = (!welcome.connection_id.is_empty()).then(|| welcome.connection_id.into());
        let came_back = std::mem::replace(&mut self.connection_id, id.clone()).is_some();
        self.compact = welcome.binary.as_deref() == Some("facelink1");
        // Whatever it had, it may have forgotten.
        self.deltas = (self.compact && welcome.delta).then(Box::default);
        self.servers.servers = self.config.ice.servers.iter().cloned().chain(welcome.ice_servers).collect();
        {
            let mut figures = self.shared.figures.lock();
            figures.connection_id = id;
            figures.reconnects += u64::from(came_back);
        }
        if self.rtc.is_some() && !welcome.resumed {
            // That channel belongs to a connection that the endpoint no longer knows.
            self.lose_rtc("the endpoint has forgotten the connection", now).await;
        }
        if let Some(hub) = &self.hub {
            if self.session.is_none() {
                self.session = outgoing_session(hub, SourceKind::WebSocket, Role::Outbound, remote, now);
            }
            if let Some(session) = &self.session {
                session.attach_ws(out.clone(), remote);
                session.in_room.store(self.config.room.is_some(), Ordering::Relaxed);
                if let Some(room) = &self.config.room {
                    out.text(ClientMessage::Join(Join { room: room.into() }).to_json());
                }
                if self.config.receive {
                    out.text(subscribe_json(None, self.config.room.is_some()));
                }
            }
        }
        // In a room, frames go to the others directly; the endpoint only stands in.
        if self.config.webrtc && self.own_offer() {
            match &mut self.rtc {
                None => self.rtc_retry.now(now),
                Some(rtc) if rtc.broken || rtc.beat.is_suspect(now) => self.mend_rtc(now).await,
                Some(_) => {}
            }
        }
        // A frame may have been waiting for this.
        self.shared.wake.notify_one();
    }

    async fn on_rtc(&mut self, event: Option<PeerEvent>, now: Instant) {
        match event {
            Some(PeerEvent::Candidate(candidate)) => {
                let trickle = Trickle { candidate: Some(candidate), ..Trickle::default() };
                self.signal(ClientMessage::IceCandidate(trickle).to_json());
            }
            Some(PeerEvent::Gathered) => self.signal(ClientMessage::IceCandidate(Trickle::default()).to_json()),
            Some(PeerEvent::State(state)) => {
                tracing::debug!(?state, "WebRTC");
                match state {
                    RTCPeerConnectionState::Closed => self.lose_rtc("it closed", now).await,
                    RTCPeerConnectionState::Failed | RTCPeerConnectionState::Disconnected => {
                        if let Some(rtc) = &mut self.rtc {
                            rtc.broken = true;
                        }
                        self.mend_rtc(now).await;
                    }
                    _ => {}
                }
            }
            Some(PeerEvent::Channel(_)) => {}
            None => self.lose_rtc("its driver ended", now).await,
        }
    }

    fn signal(&self, text: String) {
        if let Some(ws) = &self.ws {
            ws.out.text(text);
        }
    }

    async fn on_heard(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Open => {
                if let Some(rtc) = &mut self.rtc {
                    rtc.open = true;
                    rtc.ping(now).await;
                }
            }
            Heard::Text(text) => self.on_text(Lane::DataChannel, &text, now).await,
            Heard::Binary(bytes) => self.on_binary(Lane::DataChannel, &bytes, now),
            Heard::Closed => self.lose_rtc("the channel closed", now).await,
        }
    }

    async fn lose_rtc(&mut self, reason: &str, now: Instant) {
        let Some(rtc) = self.rtc.take() else { return };
        tracing::info!(url = self.config.url, reason, "the data channel is lost");
        if rtc.is_proven() && now.saturating_duration_since(rtc.started) > STABLE {
            self.rtc_retry.failures = 0;
        }
        self.rtc_retry.again(now);
        // Closing waits for the driver, and frames do not wait for that.
        let Rtc { peer, frames, .. } = rtc;
        drop(frames);
        tokio::spawn(peer.close());
        self.end_session_if_deaf(reason, now);
        self.shared.wake.notify_one();
    }

    /// The way is broken: ICE looks for another one, where there is somebody to tell. On another network the sockets are
    /// useless too, and a new connection is the quicker way.
    async fn mend_rtc(&mut self, now: Instant) {
        let ready = self.ws_ready();
        let Some(rtc) = &mut self.rtc else { return };
        if rtc.restarting.is_some() || !ready {
            return;
        }
        if !rtc.open || rtc.address != outward_address() {
            self.lose_rtc("the network has changed", now).await;
            return;
        }
        match rtc.peer.restart().await {
            Ok(offer) => {
                tracing::info!("ICE restart");
                rtc.restarting = Some(now);
                self.signal(ClientMessage::Offer(Description::new(offer)).to_json());
            }
            Err(error) => {
                tracing::debug!(%error, "no ICE restart");
                self.lose_rtc("it could not be restarted", now).await;
            }
        }
    }

    async fn on_tick(&mut self, now: Instant) {
        self.watch_address(now).await;
        self.watch_ws(now);
        self.watch_rtc(now).await;
        self.watch_mates(now).await;
    }

    async fn watch_address(&mut self, now: Instant) {
        if self.dial.local || now.saturating_duration_since(self.address_at) < ADDRESS_INTERVAL {
            return;
        }
        self.address_at = now;
        let address = outward_address();
        let before = std::mem::replace(&mut self.address, address);
        if address.is_none() || address == before {
            return;
        }
        if let Some(before) = before.or(self.address_before).filter(|before| Some(*before) != address) {
            // Sockets of the old network would only hang.
            tracing::info!(%before, "this machine has changed networks");
            self.lose_ws("this machine has changed networks", now);
            if let Some(rtc) = &mut self.rtc {
                rtc.broken = true;
            }
        }
        self.address_before = address;
        // The network is back: nobody waits for the next attempt.
        if self.ws.is_none() {
            self.dialling = None;
            self.ws_retry.now(now);
        }
    }

    fn watch_ws(&mut self, now: Instant) {
        if self.ws.is_none() && self.dialling.is_none() && self.ws_retry.take_due(now) {
            self.dialling = Some(socket_out::dial(&self.config, &self.dial));
        }
        let Some(ws) = &mut self.ws else { return };
        if !ws.welcomed && now.saturating_duration_since(ws.opened) > WELCOME_LIMIT {
            self.lose_ws("no welcome in time: is this a FaceLink endpoint?", now);
            return;
        }
        let mut beat = ws.beat.lock();
        let silence = beat.silence(now);
        let busy = ws.last_frame.is_some_and(|last| now.saturating_duration_since(last) < BUSY);
        if beat.is_due(if busy { PING_BUSY } else { PING_IDLE }, now) {
            beat.sent(now);
            ws.out.control(Outgoing::Ping(ws.clock(now)));
        }
        drop(beat);
        if silence > DEAD_AFTER {
            self.lose_ws("the endpoint does not answer", now);
        }
    }

    async fn watch_rtc(&mut self, now: Instant) {
        let ready = self.ws_ready();
        if self.rtc.is_none() && ready && self.own_offer() && self.rtc_retry.take_due(now) {
            match Rtc::open(&self.way()).await {
                Ok((rtc, offer)) => {
                    self.rtc = Some(rtc);
                    self.signal(ClientMessage::Offer(Description::new(offer)).to_json());
                }
                Err(error) => {
                    tracing::debug!(%error, "no WebRTC");
                    self.rtc_retry.again(now);
                }
            }
        }
        let Some(rtc) = &mut self.rtc else { return };
        if !rtc.open {
            if now.saturating_duration_since(rtc.started) > OPEN_LIMIT {
                self.lose_rtc("it did not open", now).await;
            }
            return;
        }
        let busy = rtc.last_frame.is_some_and(|last| now.saturating_duration_since(last) < BUSY);
        let unsettled = rtc.beat.silence(now) > Duration::ZERO || !rtc.is_proven();
        if rtc.beat.is_due(if busy || unsettled { PING_BUSY } else { PING_IDLE }, now) {
            rtc.ping(now).await;
        }
        let silent = rtc.beat.silence(now) > DEAD_AFTER;
        let restart_failed = rtc.restarting.is_some_and(|since| now.saturating_duration_since(since) > RESTART_LIMIT);
        if restart_failed {
            self.lose_rtc("the ICE restart brought nothing", now).await;
        } else if silent && ready {
            self.mend_rtc(now).await;
        } else if silent && !ready && rtc.beat.silence(now) > DEAD_AFTER * 5 {
            self.lose_rtc("it is silent", now).await;
        }
    }

    fn mate_command(&mut self, mate: &str, command: PeerCommand) {
        if let Some(session) = self.mates.get(mate).and_then(|mate| mate.session.as_ref()) {
            session.peer_command(command);
        }
    }

    fn drop_mate(&mut self, id: &str, now: Instant) {
        if let Some(session) = self.mates.remove(id).and_then(|mate| mate.session) {
            session.end_peer();
            session.hub.disconnect(session.key, "it left the room", true, now);
        }
    }

    fn mate_session(&self, now: Instant) -> Option<(Arc<Session>, Arc<Hub>)> {
        let hub = self.hub.clone()?;
        Some((outgoing_session(&hub, SourceKind::WebRtc, Role::Peer, None, now)?, hub))
    }

    async fn on_mate_offer(&mut self, id: &str, offer: String, now: Instant) {
        if self.config.room.is_none() && !id.is_empty() || !self.config.webrtc {
            return;
        }
        self.drop_mate(id, now);
        let (Some((session, hub)), Some(ws)) = (self.mate_session(now), &self.ws) else { return };
        let to: Option<Arc<str>> = (!id.is_empty()).then(|| id.into());
        let signal = Signal::Relay(ws.out.clone(), to.clone());
        match peer::accept(&session, offer, signal, self.cancel.child_token(), &self.way()).await {
            Ok(answer) => {
                let to = to.as_deref().map(Into::into);
                self.signal(ClientMessage::Answer(Description { to, ..Description::new(answer) }).to_json());
                self.mates.insert(id.into(), Mate { session: Some(session), offering: false, retry: None });
            }
            Err(error) => {
                tracing::debug!(%error, mate = id, "offer refused");
                hub.disconnect(session.key, "its offer was refused", true, now);
                self.mates.insert(id.into(), Mate { session: None, offering: false, retry: None });
            }
        }
    }

    async fn watch_mates(&mut self, now: Instant) {
        let mut due = Vec::new();
        for (id, mate) in &mut self.mates {
            if mate.session.as_ref().is_some_and(|session| session.ended.is_cancelled()) {
                mate.session = None;
                mate.retry = mate.offering.then(|| now + MATE_DELAY);
            }
            if mate.session.is_none() && mate.retry.is_some_and(|retry| retry <= now) {
                mate.retry = None;
                due.push(id.clone());
            }
        }
        if !self.config.webrtc || !self.ws_ready() {
            return;
        }
        for id in due {
            let (Some((session, hub)), Some(ws)) = (self.mate_session(now), &self.ws) else { return };
            let signal = Signal::Relay(ws.out.clone(), Some(id.clone()));
            match peer::offer(&session, signal, self.cancel.child_token(), &self.way()).await {
                Ok(offer) => {
                    let to = Some((&*id).into());
                    self.signal(ClientMessage::Offer(Description { to, ..Description::new(offer) }).to_json());
                    self.mates.insert(id, Mate { session: Some(session), offering: true, retry: None });
                }
                Err(error) => {
                    tracing::debug!(%error, "no direct connection");
                    hub.disconnect(session.key, "no connection could be made", true, now);
                    if let Some(mate) = self.mates.get_mut(&id) {
                        mate.retry = Some(now + MATE_DELAY);
                    }
                }
            }
        }
    }

    async fn flush(&mut self, now: Instant) {
        let words = std::mem::take(&mut *self.shared.words.lock());
        // They come one at a time and must not be lost: the WebSocket, where there is one.
        let lane = if self.ws_ready() { Lane::WebSocket } else { Lane::DataChannel };
        for text in words {
            self.reply(lane, text).await;
        }
        let faces = std::mem::take(&mut self.shared.slot.lock().waiting);
        let asked =
            self.mates.values().filter_map(|mate| mate.session.as_ref()).map(|session| session.told_redundancy());
        let redundancy = asked.max().unwrap_or(0).max(self.redundancy);
        self.encoder.set_redundancy(redundancy);
        if let Some(deltas) = &mut self.deltas {
            deltas.plain().set_redundancy(redundancy);
        }
        // What fits one datagram, however much each of them repeats.
        let most = MAX_BUNDLED / (1 + usize::from(redundancy));
        for faces in faces.chunks(most.max(1)) {
            let sent = self.send_faces(faces, now).await;
            if sent { &self.shared.sent } else { &self.shared.dropped }
                .fetch_add(faces.len() as u64, Ordering::Relaxed);
        }
    }

    async fn send_faces(&mut self, faces: &[Waiting], now: Instant) -> bool {
        let mut sent = false;
        for (name, frame) in faces {
            sent |= self.send_to_mates(name.as_deref(), frame);
        }
        if self.answering
            && let Some(session) = self.mates.get("").and_then(|mate| mate.session.clone())
            && session.channel_is_open()
        {
            for (name, frame) in faces {
                // In the server's own format: it may be of another make.
                if let Some(data) = self.encode(name.as_deref(), frame) {
                    session.send_frame(face_key(name.as_deref().unwrap_or_default()), data);
                    sent = true;
                }
            }
        }
        // Whoever cannot be reached directly gets it by the endpoint.
        if !self.own_offer() && !self.mates.is_empty() && self.directs() == self.mates.len() {
            return sent;
        }
        if let Some(data) = self.bundle(faces) {
            let name = faces.first().and_then(|(name, _)| name.as_deref());
            return self.send_data(name, data, now).await || sent;
        }
        for (name, frame) in faces {
            if let Some(data) = self.encode(name.as_deref(), frame) {
                sent |= self.send_data(name.as_deref(), data, now).await;
            }
        }
        sent
    }

    /// Puts a frame out by the way that answers.
    async fn send_data(&mut self, name: Option<&str>, data: Outgoing, now: Instant) -> bool {
        let mut sent = false;
        let ready = self.ws_ready();
        let mut by_ws = ready;
        if let Some(rtc) = self.rtc.as_mut().filter(|rtc| rtc.is_proven()) {
            let doubtful = rtc.broken || rtc.beat.is_suspect(now);
            // A frame that can be told from its double goes both ways while one of them is in doubt.
            if !doubtful || self.compact || !ready {
                let bytes = match &data {
                    Outgoing::Text(text) => FrameData::Text(text),
                    Outgoing::Binary(bytes) => FrameData::Binary(bytes),
                    Outgoing::Ping(_) | Outgoing::Close(..) => return sent,
                };
                let went = rtc.frames.send(bytes, rtc.beat.rtt_ms(), now).await.sent;
                rtc.last_frame = Some(now);
                sent |= went;
                by_ws &= doubtful || !went;
                if by_ws {
                    self.shared.hedged.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        if by_ws && let Some(ws) = &mut self.ws {
            ws.last_frame = Some(now);
            sent |= ws.out.frame(face_key(name.unwrap_or_default()), data);
        }
        sent
    }

    fn send_to_mates(&mut self, name: Option<&str>, frame: &FaceFrame) -> bool {
        if self.config.room.is_none() || self.mates.is_empty() {
            return false;
        }
        let name = name.or(self.config.subject.as_deref()).unwrap_or_default();
        let frame = frame.clone();
        let Some(bytes) = subscribe::encode(&mut self.encoder, &mut self.bytes, name, frame) else { return false };
        let mut sent = false;
        let mates = self.mates.iter().filter(|(id, _)| !id.is_empty());
        for session in mates.filter_map(|(_, mate)| mate.session.as_ref()) {
            if session.channel_is_open() {
                session.send_frame(face_key(name), Outgoing::Binary(bytes.clone()));
                sent = true;
            }
        }
        sent
    }

    /// Several faces in one packet, where the endpoint takes that.
    fn bundle(&mut self, faces: &[Waiting]) -> Option<Outgoing> {
        let names: usize = faces.iter().map(|(name, _)| name.as_deref().map_or(0, str::len)).sum();
        let plain = faces.iter().all(|(_, frame)| frame.channels.is_empty());
        if !self.compact || self.deltas.is_some() || faces.len() < 2 || !plain || names > LONGEST_NAMES {
            return None;
        }
        self.bytes.clear();
        let packet: SmallVec<[(&str, &FaceFrame); 16]> =
            faces.iter().map(|(name, frame)| (name.as_deref().unwrap_or_default(), frame)).collect();
        let written = self.encoder.encode_many(&packet, facelink1::Clock::Unix, &mut self.bytes);
        written.is_ok().then(|| Outgoing::Binary(Bytes::copy_from_slice(&self.bytes)))
    }

    /// One frame as it goes to the endpoint: one small datagram.
    fn encode(&mut self, name: Option<&str>, frame: &FaceFrame) -> Option<Outgoing> {
        if self.compact
            && let Some(deltas) = &mut self.deltas
        {
            self.bytes.clear();
            let subject = name.unwrap_or_default();
            if deltas.encode(subject, frame, facelink1::Clock::Unix, &mut self.bytes).is_ok() {
                return Some(Outgoing::Binary(Bytes::copy_from_slice(&self.bytes)));
            }
        }
        if self.compact {
            let frame = frame.clone();
            let encoded = subscribe::encode(&mut self.encoder, &mut self.bytes, name.unwrap_or_default(), frame);
            if encoded.is_some() {
                return encoded.map(Outgoing::Binary);
            }
        }
        if name.is_none() && frame.tracked && frame.is_complete() && frame.channels.is_empty() && !self.compact {
            self.bytes.clear();
            float32::encode_61(frame, &mut self.bytes);
            return Some(Outgoing::Binary(Bytes::copy_from_slice(&self.bytes)));
        }
        write_arkit_data(&mut self.text, frame, name, Some(unix_ms()));
        Some(Outgoing::Text(self.text.clone()))
    }
}

/// Tells the faces of one connection apart in its outbox.
fn face_key(name: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// A connection of the hub for what an endpoint or a room mate sends us.
fn outgoing_session(
    hub: &Arc<Hub>,
    kind: SourceKind,
    role: Role,
    address: Option<SocketAddr>,
    now: Instant,
) -> Option<Arc<Session>> {
    let id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let counters = Arc::new(Counters::default());
    let key = match role {
        Role::Outbound => hub.connect_quietly(kind, id.clone(), counters.clone(), now)?,
        _ => hub.connect(kind, id.clone(), address, counters.clone(), now)?,
    };
    Some(Session::new(hub, key, id, address, counters, role, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_with_a_share_of_chance_and_end_somewhere() {
        let start = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        backoff.now(start);
        assert!(backoff.take_due(start) && !backoff.take_due(start));
        let mut longest = Duration::ZERO;
        for failure in 0..40 {
            backoff.again(start);
            let delay = backoff.at.expect("set").duration_since(start);
            if failure == 0 {
                assert!(delay <= Duration::from_millis(94), "the first one comes nearly at once: {delay:?}");
            }
            longest = longest.max(delay);
        }
        assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&longest), "{longest:?}");
    }
}
