//! One connection, and what it has in common with its tasks.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use facelink::{
    connection::{CLOSE_LIMITS, CLOSE_UNAUTHORISED, Cause, Config, Lane, PeerState, SocketId},
    time::Instant,
    wire::{
        facelink1,
        message::{ClientMessage, IceCandidate, IceServer, Room, ServerMessage, SetRate, Subscribe, Unsubscribe},
    },
};
use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::{
    budget::{Budget, Spent},
    identity::{Binary, Identity},
    lanes::{LaneStats, Lanes, Mirror, Over, Socket, kind_of},
    latency::Latency,
    reader::FrameReader,
    streams::Streams,
};
use crate::{
    auth::Grant,
    hub::{ConnectionKey, Counters, Hub, Link, Role},
    outbox::{Outbox, Outgoing},
    peer_handle::{PeerCommand, PeerHandle},
    roles::TokenRole,
    seal::Sealing,
    stats::{ConnectionState, ConnectionStats, SubjectStats},
    token::new_secret,
};

/// Frames a second at which nothing is left out.
const FULL_FPS: f32 = 60.0;
/// Time between two reports of what an endpoint sends here, milliseconds.
const VIEWER_REPORT_MS: u64 = 150;
/// Messages of a peer that has not shown its token.
const MAX_UNAUTHORISED: u64 = 16;

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
    /// This WebSocket takes the place of another one of the same client, and then says this.
    Resume(Arc<Session>, String),
    /// Close with this WebSocket code.
    Close(u16, &'static str),
}

pub(crate) type Actions = SmallVec<[Action; 1]>;

/// One connection's memory, shared by its transports.
#[derive(Debug)]
pub(crate) struct Session {
    pub key: ConnectionKey,
    pub id: Arc<str>,
    pub(super) streams: Streams,
    /// The secret by which its client resumes it; the id is no secret.
    pub resume_token: Box<str>,
    pub hub: Arc<Hub>,
    pub counters: Arc<Counters>,
    pub role: Role,
    /// The endpoint that this side dialled is a meeting point: only room peers' faces are wanted of it.
    pub in_room: AtomicBool,
    /// The endpoint that this side dialled takes reports of what it sends here.
    pub viewer_reports: AtomicBool,
    /// When the last of them left, milliseconds of the session.
    reported_ms: AtomicU64,
    began: Instant,
    /// Cancelled when the hub lets the connection go.
    pub ended: CancellationToken,
    /// Bytes that wait in the data channel, as of the last send.
    pub buffered: AtomicU64,
    pub(super) identity: Identity,
    pub(super) lanes: Lanes,
    pub(super) frames: FrameReader,
    pub(super) latency: Latency,
    /// The key of the client that this session receives for, where it is not the endpoint's.
    pub(super) own_sealing: OnceLock<Arc<Sealing>>,
    budget: Budget,
}

impl Session {
    pub fn new(
        hub: &Arc<Hub>,
        key: ConnectionKey,
        id: Arc<str>,
        address: Option<SocketAddr>,
        counters: Arc<Counters>,
        role: Role,
        grant: Option<Grant>,
    ) -> Arc<Self> {
        let authorised = grant.is_some();
        let now = Instant::now();
        let mut config = Config::default();
        config.authorised = authorised;
        config.reconnect_grace = hub.config.reconnect_grace;
        // Room peers and endpoints that this side dialled know this version of the wire.
        let (identity, lanes) = match role {
            Role::Inbound => (Identity::new(grant.map(|grant| grant.roles)), Lanes::new(config, address, false, now)),
            Role::Peer => (Identity::of_this_version(), Lanes::new(config, address, true, now)),
            Role::Outbound => (Identity::of_this_version(), Lanes::mirrored(address)),
        };
        let frames = FrameReader::default();
        if role == Role::Outbound {
            frames.take_compact();
        }
        let session = Arc::new(Self {
            key,
            id,
            streams: Streams::default(),
            resume_token: new_secret().into(),
            hub: hub.clone(),
            counters,
            role,
            in_room: AtomicBool::new(false),
            viewer_reports: AtomicBool::new(false),
            reported_ms: AtomicU64::new(0),
            began: now,
            ended: CancellationToken::new(),
            buffered: AtomicU64::new(0),
            identity,
            lanes,
            frames,
            latency: Latency::default(),
            own_sealing: OnceLock::new(),
            budget: Budget::default(),
        });
        hub.connections().attach(key, session.clone());
        session
    }

    // ---- transports -----------------------------------------------------------------------------------------------

    /// The connection is over, if it is: the hub lets it go.
    fn settle(&self, over: Option<Over>, now: Instant) {
        if let Some(Over { cause, goodbye }) = over {
            self.hub.disconnect(self.key, &cause.to_string(), goodbye, now);
        }
    }

    /// A WebSocket carries this session from now on.
    pub fn socket_opened(&self, socket: Socket, address: SocketAddr, now: Instant) {
        self.settle(self.lanes.socket_opened(socket, address, now), now);
    }

    /// A WebSocket has ended, unless another one has taken its place.
    pub fn socket_closed(&self, socket: SocketId, cause: Cause, now: Instant) {
        self.settle(self.lanes.socket_closed(socket, cause, now), now);
    }

    /// A peer connection serves this session from now on.
    pub fn peer_opened(&self, peer: PeerHandle, now: Instant) {
        self.settle(self.lanes.peer_opened(peer, now), now);
    }

    /// A data channel is open, with an outbox once the peer hears this side.
    pub fn channel_opened(&self, peer: u64, out: Option<Outbox>, now: Instant) {
        self.settle(self.lanes.channel_opened(peer, out, now), now);
    }

    pub fn peer_state(&self, peer: u64, state: PeerState, now: Instant) {
        self.settle(self.lanes.peer_state(peer, state, now), now);
    }

    /// A peer connection has ended.
    pub fn peer_ended(&self, peer: u64, cause: Cause, now: Instant) {
        self.settle(self.lanes.peer_ended(peer, cause, now), now);
    }

    /// A WebSocket ping with this clock was answered.
    pub fn on_ws_pong(&self, clock: u64, now: Instant) {
        self.lanes.heard(Lane::WebSocket, now);
        self.lanes.ws_pong(clock, now);
    }

    /// The peer has sent a WebSocket ping.
    pub fn on_ws_ping(&self, now: Instant) {
        self.lanes.heard(Lane::WebSocket, now);
    }

    /// What the client of this side that owns this connection makes of its transports.
    pub fn mirror(&self, mirror: Mirror) {
        self.lanes.mirror(mirror);
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.lanes.address()
    }

    pub fn is_channel_open(&self) -> bool {
        self.lanes.is_channel_open()
    }

    pub fn channel_rtt_ms(&self) -> Option<f32> {
        self.lanes.channel_rtt_ms()
    }

    /// Whether a WebSocket carries this session.
    pub fn has_socket(&self) -> bool {
        self.lanes.has_socket()
    }

    /// Whether an offer continues the peer connection that serves now.
    pub fn peer_continues(&self, offer: &str) -> bool {
        self.lanes.peer_continues(offer)
    }

    /// Whether the peer connection that serves now waits for an answer to our offer.
    pub fn peer_offered(&self) -> bool {
        self.lanes.peer_offered()
    }

    pub fn peer_command(&self, command: PeerCommand) {
        self.lanes.peer_command(command);
    }

    /// Frames a second that the peer asked for.
    pub fn asked_fps(&self) -> Option<f32> {
        self.lanes.asked_for().0
    }

    /// How many earlier frames the peer asked our packets to repeat.
    pub fn asked_redundancy(&self) -> u8 {
        self.lanes.asked_for().1.min(facelink1::MAX_REDUNDANCY)
    }

    // ---- outwards -------------------------------------------------------------------------------------------------

    /// Queues a message that must not be lost lightly: the WebSocket first.
    pub fn send_control(&self, text: &str) {
        self.count_sent(text.len(), self.lanes.send_control(text));
    }

    /// Puts a frame out by the lanes that answer. What cannot leave at once is replaced by the next.
    pub fn send_frame(&self, face: u64, frame: Outgoing) {
        if !self.lanes.send_frame(face, frame, Instant::now()) {
            Counters::add(&self.counters.dropped, 1);
        }
    }

    pub(super) fn count_sent(&self, bytes: usize, sent: bool) {
        if sent {
            Counters::add(&self.counters.bytes_out, bytes as u64);
        } else {
            Counters::add(&self.counters.dropped, 1);
        }
    }

    // ---- end-to-end encryption ------------------------------------------------------------------------------------

    /// Has another key than the endpoint's.
    pub fn set_sealing(&self, sealing: Arc<Sealing>) {
        let _ = self.own_sealing.set(sealing);
    }

    pub(crate) fn sealing(&self) -> &Sealing {
        self.own_sealing.get().unwrap_or(&self.hub.sealing)
    }

    /// Whether faces in the clear are taken. Of a relay or a room peer they are not where there is a key, or it could send
    /// any face; nor of a client that said that it seals.
    pub(super) fn takes_clear(&self) -> bool {
        let dialled = self.role != Role::Inbound && self.sealing().has_key();
        !dialled && self.identity.binary() != Binary::Sealed
    }

    /// Whether its client seals what it sends.
    #[cfg(all(feature = "http", feature = "webrtc", not(target_arch = "wasm32")))]
    pub fn is_sealed(&self) -> bool {
        self.identity.binary() == Binary::Sealed
    }

    /// Refuses a face in the clear.
    pub(super) fn refuse_clear(&self, now: Instant, actions: &mut Actions) {
        self.sealing().count_not_sealed();
        self.refuse("not_sealed", "faces are sealed on this connection, and this one is not", now, actions);
    }

    // ---- limits ---------------------------------------------------------------------------------------------------

    /// Whether the other side has this role; refuses its message otherwise.
    pub(super) fn may(&self, role: TokenRole, now: Instant, actions: &mut Actions) -> bool {
        let may = self.identity.roles().has(role);
        if !may {
            self.refuse("forbidden_role", &format!("the token has not the role `{role}`"), now, actions);
        }
        may
    }

    pub fn is_authorised(&self) -> bool {
        self.identity.is_authorised()
    }

    /// Refuses a message of a peer that has not shown its token, and after a few of them the peer.
    pub(super) fn refuse_unauthorised(&self, now: Instant, actions: &mut Actions) {
        self.refuse("unauthorized", "say `hello` with the pairing token first", now, actions);
        if Counters::get(&self.counters.messages) >= MAX_UNAUTHORISED {
            actions.push(Action::Close(CLOSE_UNAUTHORISED, "missing token"));
        }
    }

    /// Whether the connection may send `messages` more, by the rate that is allowed.
    pub(super) fn spend(&self, messages: u32, now: Instant, actions: &mut Actions) -> bool {
        let limit = self.hub.config.max_messages_per_second;
        let spent = self.budget.spend(messages, limit, now);
        if spent == Spent::Within {
            return true;
        }
        if spent == Spent::FarBeyond {
            actions.push(Action::Close(CLOSE_LIMITS, "too many messages"));
        }
        self.refuse("rate_limited", &format!("more than {limit} messages a second"), now, actions);
        false
    }

    pub(super) fn refuse(&self, code: &str, message: &str, now: Instant, actions: &mut Actions) {
        Counters::add(&self.counters.refused, 1);
        if self.budget.may_complain(now) {
            tracing::debug!(connection = %self.id, code, message, "refused");
            actions.push(Action::Reply(ServerMessage::error(code, message).to_json()));
        }
    }

    /// Goes on with the face of an earlier connection, until a `hello` names another one.
    pub fn continue_subject(&self, name: Arc<str>) {
        self.identity.subject_or(name);
    }

    pub(super) fn default_subject(&self) -> Arc<str> {
        self.identity.subject().unwrap_or_else(|| self.identity.subject_or(self.hub.free_name()))
    }
}

impl Link for Session {
    fn role(&self) -> Role {
        self.role
    }

    fn subject(&self) -> Option<Arc<str>> {
        self.identity.subject()
    }

    fn public_name(&self, name: &Arc<str>) -> Arc<str> {
        let sealed = (self.identity.binary() == Binary::Sealed).then(|| self.sealing().opaque_name(name)).flatten();
        sealed.map_or_else(|| name.clone(), Into::into)
    }

    fn resume_token(&self) -> &str {
        &self.resume_token
    }

    /// Stats by the names of the migration guide.
    fn stats(&self, subject: Option<&SubjectStats>) -> ConnectionStats {
        let LaneStats { lane, connected, stalled, rtt_ms, channel_state, route, address } =
            self.lanes.stats(Instant::now());
        let state = match (connected, stalled) {
            (true, false) => ConnectionState::Connected,
            (true, true) => ConnectionState::Stalled,
            (false, _) => ConnectionState::Connecting,
        };
        ConnectionStats {
            connection_id: self.id.clone(),
            state,
            transport: kind_of(lane),
            direction: self.role.as_str(),
            average_latency_ms: subject.and_then(|s| s.latency_ms).or(self.latency.average_ms()),
            rtt_ms,
            message_count: Counters::get(&self.counters.messages),
            data_channel_state: channel_state,
            buffered_amount: self.buffered.load(Ordering::Relaxed),
            jitter_ms: subject.map(|s| s.jitter_ms),
            loss: subject.and_then(|s| s.loss),
            fps: subject.map(|s| s.fps),
            target_fps: subject.map(|s| s.target_fps),
            subject: subject.map(|s| s.name.clone()).or(self.identity.subject()),
            client: self.identity.client(),
            address,
            route,
            bytes_received: Counters::get(&self.counters.bytes_in),
            bytes_sent: Counters::get(&self.counters.bytes_out),
            refused: Counters::get(&self.counters.refused),
            dropped: Counters::get(&self.counters.dropped),
            deltas: self.frames.deltas(),
            viewing: None,
        }
    }

    fn is_webcam(&self) -> bool {
        self.identity.is_webcam()
    }

    fn wants_reports(&self) -> bool {
        self.role == Role::Peer || self.identity.wants_reports()
    }

    fn request_rate(&self, subject: &str, fps: f32) {
        let message = match self.role {
            Role::Inbound | Role::Peer => ServerMessage::SetRate(SetRate { fps }).to_json(),
            Role::Outbound => {
                let (room, sealed) = (self.in_room.load(Ordering::Relaxed), self.sealing().has_key());
                // No name leaves in the clear where there is a key. A relay knows the subject by one of these.
                let opaque = || [self.sealing().opaque_name(subject), self.streams.opaque_name(subject)];
                let names = if sealed { opaque() } else { [Some(subject.to_owned()), None] };
                for subject in names.into_iter().flatten() {
                    // As all subjects are wanted by default.
                    let message = if fps >= FULL_FPS {
                        let unsubscribe = Unsubscribe { subject: Some(subject.into()) };
                        ClientMessage::Unsubscribe(unsubscribe).to_json()
                    } else {
                        subscribe_json(Some(&subject), Some(fps), room, sealed)
                    };
                    Self::send_control(self, &message);
                }
                return;
            }
        };
        Self::send_control(self, &message);
    }

    fn send_control(&self, text: &str) {
        Self::send_control(self, text);
    }

    fn is_ready(&self) -> bool {
        self.lanes.is_ready(Instant::now())
    }

    fn send_face(&self, place: u64, message: Outgoing) {
        self.send_frame(place, message);
    }

    fn takes_viewer_reports(&self) -> bool {
        self.role == Role::Outbound && self.viewer_reports.load(Ordering::Relaxed)
    }

    fn send_report(&self, text: String) {
        if self.takes_viewer_reports() {
            // All subjects come by the same path: one of them stands for all.
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            let last = self.reported_ms.load(Ordering::Relaxed);
            if now < last + VIEWER_REPORT_MS {
                return;
            }
            self.reported_ms.store(now, Ordering::Relaxed);
        }
        self.count_sent(text.len(), self.lanes.send_report(text));
    }

    fn send_signal(&self, text: String) {
        if !self.lanes.send_signal(text) {
            Counters::add(&self.counters.dropped, 1);
        }
    }

    fn on_time(&self, now: Instant) {
        self.settle(self.lanes.on_timeout(now), now);
    }

    fn set_ice_servers(&self, servers: &[IceServer]) {
        self.peer_command(PeerCommand::IceServers(servers.to_vec()));
    }

    fn close(&self, code: u16, reason: &'static str) {
        self.lanes.close(code, reason);
    }

    fn end(&self) {
        self.ended.cancel();
        self.lanes.end();
    }
}

/// What we ask of an endpoint that we dialled.
pub(crate) fn subscribe_json(subject: Option<&str>, max_fps: Option<f32>, room: bool, sealed: bool) -> String {
    let (subject, room) = (subject.map(Into::into), Some(Room::Own(room)));
    let binary = Some(if sealed { "sealed" } else { "facelink1" }.into());
    let subscribe =
        Subscribe { subject, max_fps, binary, own: Some(false), room, delta: !sealed, ..Subscribe::default() };
    ClientMessage::Subscribe(subscribe).to_json()
}
