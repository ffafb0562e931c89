//! The transports of a session, by the decisions of its [`Connection`].

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use facelink::{
    connection::{Action, Cause, Close, Config, Connection, Event, Lane, PeerId, PeerState, SocketId},
    source::SourceKind,
    time::Instant,
    wire::message::{Ping, ServerMessage},
};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::unix_ms,
    outbox::{Outbox, Outgoing},
    peer_handle::{PeerCommand, PeerHandle},
};

/// Without a message or a pong for this long, a connection counts as stalled in the stats.
const STALLED: Duration = Duration::from_secs(2);

/// The kind of source that a lane makes of its sender.
pub(crate) const fn kind_of(lane: Lane) -> SourceKind {
    match lane {
        Lane::WebSocket => SourceKind::WebSocket,
        Lane::DataChannel => SourceKind::WebRtc,
    }
}

/// A WebSocket of a session, as its task hands it over.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub id: SocketId,
    pub out: Outbox,
    /// Ends its tasks.
    pub cancel: CancellationToken,
}

impl Socket {
    pub fn new(out: Outbox, cancel: CancellationToken) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Self { id: SocketId(NUMBER.fetch_add(1, Ordering::Relaxed)), out, cancel }
    }
}

/// That the connection is over, why, and whether either side said so.
#[derive(Debug)]
pub(super) struct Over {
    pub cause: Cause,
    pub goodbye: bool,
}

/// What a client of this side makes of its transports; a session that receives for it decides nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    pub ws: Option<Outbox>,
    pub address: Option<SocketAddr>,
    pub channel_state: &'static str,
    pub rtt_ms: [Option<f32>; 2],
}

#[derive(Debug)]
struct State {
    /// `None` where a client of this side decides.
    connection: Option<Connection>,
    ws: Option<Outbox>,
    socket: Option<Socket>,
    channel: Option<Outbox>,
    channel_state: &'static str,
    peer: Option<PeerHandle>,
    /// What had arrived on its path when that was looked at last.
    arrived: u64,
    rtt_ms: [Option<f32>; 2],
    address: Option<SocketAddr>,
    /// The peer answers JSON pings.
    introduced: bool,
    heard: Option<Instant>,
    received_by: Option<Lane>,
}

/// How the transports fare.
#[derive(Debug)]
pub(super) struct LaneStats {
    pub lane: Lane,
    pub connected: bool,
    pub stalled: bool,
    pub rtt_ms: Option<f32>,
    pub channel_state: &'static str,
    pub route: Option<String>,
    pub address: Option<SocketAddr>,
}

#[derive(Debug)]
pub(super) struct Lanes {
    /// Unix milliseconds at which the connection's clock began.
    epoch_ms: f64,
    state: Mutex<State>,
}

impl Lanes {
    /// For a connection that others opened, or room peers.
    pub fn new(config: Config, address: Option<SocketAddr>, introduced: bool, now: Instant) -> Self {
        let mut connection = Connection::accept(config, now);
        if introduced {
            connection.on_introduced();
        }
        Self::with(Some(connection), address, introduced)
    }

    /// For what a client of this side receives.
    pub fn mirrored(address: Option<SocketAddr>) -> Self {
        Self::with(None, address, true)
    }

    fn with(connection: Option<Connection>, address: Option<SocketAddr>, introduced: bool) -> Self {
        Self {
            epoch_ms: unix_ms(),
            state: Mutex::new(State {
                connection,
                ws: None,
                socket: None,
                channel: None,
                channel_state: "none",
                peer: None,
                arrived: 0,
                rtt_ms: [None; 2],
                address,
                introduced,
                heard: None,
                received_by: None,
            }),
        }
    }

    /// Reports something to the connection, and does what it asks for.
    #[must_use]
    fn input(&self, report: impl FnOnce(&mut Connection, &mut State)) -> Option<Over> {
        let mut state = self.state.lock();
        let mut connection = state.connection.take()?;
        let before = state.socket.clone();
        report(&mut connection, &mut state);
        while let Some(action) = connection.poll_action() {
            state.act(action, before.as_ref(), self.epoch_ms);
        }
        let mut over = None;
        while let Some(event) = connection.poll_event() {
            tracing::debug!(?event, "connection");
            if let Event::Disconnected { cause, goodbye, .. } = event {
                over = Some(Over { cause, goodbye });
            }
        }
        state.connection = Some(connection);
        over
    }

    /// A WebSocket carries this session from now on.
    pub fn socket_opened(&self, socket: Socket, address: SocketAddr, now: Instant) -> Option<Over> {
        self.input(|connection, state| {
            let id = socket.id;
            (state.ws, state.socket, state.address) = (Some(socket.out.clone()), Some(socket), Some(address));
            connection.on_socket_opened(id, now);
        })
    }

    /// A WebSocket has ended, unless another one has taken its place.
    pub fn socket_closed(&self, id: SocketId, cause: Cause, now: Instant) -> Option<Over> {
        self.input(|connection, _| connection.on_socket_closed(id, cause, now))
    }

    /// A peer connection serves this session from now on; the one before is of no use to it any more.
    pub fn peer_opened(&self, peer: PeerHandle, now: Instant) -> Option<Over> {
        self.input(|connection, state| {
            let id = PeerId(peer.number);
            state.end_peer("connecting");
            (state.peer, state.arrived) = (Some(peer), 0);
            connection.on_peer_opened(id, now);
        })
    }

    /// A data channel of the peer connection is open, with an outbox once the peer hears this side.
    pub fn channel_opened(&self, peer: u64, out: Option<Outbox>, now: Instant) -> Option<Over> {
        self.input(|connection, state| {
            if state.peer.as_ref().is_some_and(|serving| serving.number == peer) {
                state.channel_state = "open";
                let writable = out.is_some();
                state.channel = out.or(state.channel.take());
                connection.on_channel_opened(PeerId(peer), writable, now);
            }
        })
    }

    pub fn peer_state(&self, peer: u64, is: PeerState, now: Instant) -> Option<Over> {
        self.input(|connection, _| connection.on_peer_state(PeerId(peer), is, now))
    }

    /// A peer connection has ended.
    pub fn peer_ended(&self, peer: u64, cause: Cause, now: Instant) -> Option<Over> {
        self.input(|connection, _| connection.on_peer_ended(PeerId(peer), cause, now))
    }

    /// Called about ten times a second: does what is due, and notes whether the path of the peer connection lives.
    pub fn on_timeout(&self, now: Instant) -> Option<Over> {
        self.input(|connection, state| {
            if let Some(peer) = &state.peer {
                let arrived = peer.traffic.load(Ordering::Relaxed);
                if std::mem::replace(&mut state.arrived, arrived) != arrived {
                    connection.on_path_heard(PeerId(peer.number), now);
                }
            }
            connection.on_timeout(now);
        })
    }

    pub fn authorised(&self) {
        if let Some(connection) = &mut self.state.lock().connection {
            connection.on_authorised();
        }
    }

    /// The peer has said `hello`.
    pub fn introduced(&self) {
        let mut state = self.state.lock();
        state.introduced = true;
        if let Some(connection) = &mut state.connection {
            connection.on_introduced();
        }
    }

    pub fn heard(&self, lane: Lane, now: Instant) {
        let mut state = self.state.lock();
        state.heard = Some(now);
        if let Some(connection) = &mut state.connection {
            connection.on_heard(lane, now);
        }
    }

    /// A frame has arrived; `true` if the one before came by the other lane.
    pub fn frame(&self, lane: Lane, now: Instant) -> bool {
        let mut state = self.state.lock();
        if let Some(connection) = &mut state.connection {
            connection.on_frame(lane, now);
        }
        state.received_by.replace(lane) != Some(lane)
    }

    /// A WebSocket ping with this clock was answered.
    pub fn ws_pong(&self, clock: u64, now: Instant) {
        if let Some(connection) = &mut self.state.lock().connection {
            connection.on_pong(Lane::WebSocket, clock, now);
        }
    }

    /// A `ping` with this clock in milliseconds was answered: the round trip.
    pub fn pong(&self, lane: Lane, t_ms: f64, now: Instant) -> Option<Duration> {
        let clock = Some((t_ms - self.epoch_ms) * 1000.0).filter(|clock| *clock >= 0.0)?;
        self.state.lock().connection.as_mut()?.on_pong(lane, clock.round() as u64, now)
    }

    /// The peer asks for a rate.
    pub fn asked(&self, fps: f32, redundancy: Option<u8>) {
        if let Some(connection) = &mut self.state.lock().connection {
            connection.on_rate(fps);
            if let Some(redundancy) = redundancy {
                connection.on_redundancy(redundancy);
            }
        }
    }

    /// Frames a second that the peer asked for, and how many earlier frames it wants repeated.
    pub fn asked_for(&self) -> (Option<f32>, u8) {
        let state = self.state.lock();
        state.connection.as_ref().map_or((None, 0), |connection| (connection.rate(), connection.redundancy()))
    }

    /// What the client of this side makes of its transports.
    pub fn mirror(&self, mirror: Mirror) {
        let mut state = self.state.lock();
        (state.ws, state.channel_state, state.rtt_ms) = (mirror.ws, mirror.channel_state, mirror.rtt_ms);
        state.address = mirror.address.or(state.address);
    }

    /// Closes the WebSocket with a code, where there is one.
    pub fn close(&self, code: u16, reason: &'static str) {
        if let Some(ws) = &self.state.lock().ws {
            ws.control(Outgoing::Close(code, reason));
        }
    }

    /// Ends both transports without a word.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.end_peer("closed");
        (state.ws, state.socket) = (None, None);
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.state.lock().address
    }

    pub fn is_channel_open(&self) -> bool {
        self.state.lock().channel_state == "open"
    }

    pub fn channel_rtt_ms(&self) -> Option<f32> {
        self.state.lock().rtt_ms(Lane::DataChannel)
    }

    pub fn half_trip_ms(&self, lane: Lane) -> Option<f32> {
        self.state.lock().rtt_ms(lane).map(|rtt| rtt / 2.0)
    }

    pub fn has_socket(&self) -> bool {
        self.state.lock().ws.is_some()
    }

    /// Whether an offer continues the peer connection that serves now.
    pub fn peer_continues(&self, offer: &str) -> bool {
        self.state.lock().peer.as_ref().is_some_and(|peer| peer.continues(offer))
    }

    /// Whether the peer connection that serves now waits for an answer to our offer.
    pub fn peer_offered(&self) -> bool {
        self.state.lock().peer.as_ref().is_some_and(|peer| peer.offered)
    }

    pub fn peer_command(&self, command: PeerCommand) {
        if let Some(peer) = &self.state.lock().peer {
            let _ = peer.commands.try_send(command);
        }
    }

    /// Queues a message that must not be lost lightly: the WebSocket first.
    pub fn send_control(&self, text: &str) -> bool {
        let lanes: SmallVec<[Outbox; 2]> = {
            let state = self.state.lock();
            [state.ws.clone(), state.channel.clone()].into_iter().flatten().collect()
        };
        lanes.iter().any(|lane| lane.text(text.to_owned()))
    }

    /// Queues a report by the lane that the frames come by; one that is lost is soon followed by the next.
    pub fn send_report(&self, text: String) -> bool {
        let lane = {
            let state = self.state.lock();
            let by_channel = state.connection.as_ref().and_then(Connection::report_lane) == Some(Lane::DataChannel);
            if by_channel { state.channel.clone() } else { state.ws.clone() }
        };
        lane.is_some_and(|lane| lane.text(text))
    }

    /// Queues a message on the WebSocket alone.
    pub fn send_signal(&self, text: String) -> bool {
        let ws = self.state.lock().ws.clone();
        ws.is_some_and(|ws| ws.text(text))
    }

    /// Puts a frame out by the lanes that the connection chooses; `false` when it replaced one that had not left, or nothing
    /// takes it.
    pub fn send_frame(&self, face: u64, frame: Outgoing, now: Instant) -> bool {
        let (ws, channel) = {
            let mut state = self.state.lock();
            let State { connection, ws, channel, .. } = &mut *state;
            // Text has no sequence number by which a receiver could recognise duplicates.
            let numbered = matches!(frame, Outgoing::Binary(_));
            match connection {
                Some(connection) => {
                    let route = connection.route(numbered, now);
                    (ws.clone().filter(|_| route.websocket), channel.clone().filter(|_| route.channel))
                }
                None => (ws.clone(), None),
            }
        };
        match (ws, channel) {
            (Some(ws), Some(channel)) => {
                channel.frame(face, frame.clone());
                ws.frame(face, frame)
            }
            (Some(lane), None) | (None, Some(lane)) => lane.frame(face, frame),
            (None, None) => false,
        }
    }

    /// Whether a lane that the connection chooses has sent every frame that it was given.
    pub fn is_ready(&self, now: Instant) -> bool {
        let state = self.state.lock();
        let State { connection, ws, channel, .. } = &*state;
        let route = connection.as_ref().map(|connection| connection.preview(now));
        let by_ws = route.is_none_or(|route| route.websocket) && ws.as_ref().is_some_and(Outbox::is_clear);
        by_ws || route.is_some_and(|route| route.channel) && channel.as_ref().is_some_and(Outbox::is_clear)
    }

    pub fn stats(&self, now: Instant) -> LaneStats {
        let state = self.state.lock();
        let other = if state.ws.is_some() { Lane::WebSocket } else { Lane::DataChannel };
        let lane = state.received_by.unwrap_or(other);
        LaneStats {
            lane,
            connected: state.ws.is_some() || state.channel_state == "open",
            stalled: state.heard.is_some_and(|heard| now.saturating_duration_since(heard) > STALLED),
            rtt_ms: state.rtt_ms(lane),
            channel_state: state.channel_state,
            route: state.peer.as_ref().and_then(PeerHandle::route),
            address: state.address,
        }
    }
}

impl State {
    fn act(&mut self, action: Action, before: Option<&Socket>, epoch_ms: f64) {
        match action {
            Action::CloseSocket(id, how) => {
                let socket =
                    [self.socket.clone(), before.cloned()].into_iter().flatten().find(|socket| socket.id == id);
                if let Some(socket) = socket {
                    match how {
                        Close::Frame(code, reason) => drop(socket.out.control(Outgoing::Close(code, reason))),
                        Close::Drop => socket.cancel.cancel(),
                    }
                }
                if self.socket.take_if(|socket| socket.id == id).is_some() {
                    self.ws = None;
                }
            }
            Action::ClosePeer(id) => {
                if self.peer.as_ref().is_some_and(|peer| peer.number == id.0) {
                    self.end_peer("closed");
                }
            }
            Action::Ping(Lane::WebSocket, clock) => {
                if let Some(ws) = &self.ws {
                    // One measures the path and keeps the connection; our own one compares clocks too.
                    ws.control(Outgoing::Ping(clock));
                    if self.introduced {
                        ws.text(ping_json(epoch_ms, clock));
                    }
                }
            }
            Action::Ping(Lane::DataChannel, clock) => {
                if let Some(channel) = &self.channel {
                    channel.text(ping_json(epoch_ms, clock));
                }
            }
            action => tracing::debug!(?action, "not of this side"),
        }
    }

    fn end_peer(&mut self, channel_state: &'static str) {
        if let Some(old) = self.peer.take() {
            old.cancel.cancel();
            self.channel_state = channel_state;
        }
        self.channel = None;
    }

    fn rtt_ms(&self, lane: Lane) -> Option<f32> {
        match &self.connection {
            Some(connection) => connection.rtt_ms(lane),
            None => self.rtt_ms[usize::from(lane == Lane::DataChannel)],
        }
    }
}

fn ping_json(epoch_ms: f64, clock: u64) -> String {
    ServerMessage::Ping(Ping::new(epoch_ms + clock as f64 / 1000.0)).to_json()
}
