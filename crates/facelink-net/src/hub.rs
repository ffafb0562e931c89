//! Where all connections meet: the table of subjects, their figures, and the way to the engine.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{
    ConnectionState, ConnectionStats, Emotion, EndpointConfig, EndpointStats, LinkEvent, LostReason, SourceKind,
    Speech, SubjectFrame, SubjectId, SubjectStats,
    doctor::{Facts, Slow},
    guard::{Guard, household},
    peer::Way,
    phones::{LiveProfiles, PortFigures, Roster},
    session::{Resumed, Role, Session, unix_ms},
};
use facelink::{
    calibration::{Calibration, RangeCapture},
    frame::FaceFrame,
    subject::{SubjectState, Taken},
    timing::{
        Average, DelayMeter, JitterMeter, LinkReport, LoadMeter, RateController, RateDecision, RateLaw, RateMeter,
        SourceClock, Stamp, micros,
    },
    wire::{
        json::VisemeMessage,
        message::{IceServer, Peer, Report, ServerMessage},
    },
};

/// Frames that wait for the engine; about two seconds of eight faces.
const FRAME_QUEUE: usize = 1024;
const EVENT_QUEUE: usize = 4096;
/// A subject whose sender said goodbye is kept this long, for another one to take it up.
const GOODBYE_GRACE: Duration = Duration::from_secs(1);
/// Without a frame for this long a face counts as not tracked.
const SILENT: Duration = Duration::from_secs(1);
/// A newer connection takes a subject over at once; an older one only when the newer has been silent for this long.
const TAKE_BACK: Duration = Duration::from_secs(1);
/// Ended connections that a client may come back to.
const MAX_REMEMBERED: usize = 256;
/// For how long.
const REMEMBERED_FOR: Duration = Duration::from_secs(120);
/// Time between two reports to a sender.
const REPORT_INTERVAL: Duration = Duration::from_millis(190);
/// A new sender's first figures tell of its start, not of its link.
const RATE_WARM_UP: Duration = Duration::from_millis(500);
/// Share of frames that a playout delay has to cover, for the figures: see [`facelink::timing::PlayoutSettings`].
const IN_TIME: f32 = 0.95;

/// Calibrations kept for subjects that come back; more than anyone makes.
const MAX_CALIBRATIONS: usize = 1024;

/// Identifies one connection or UDP source inside the hub; grows with time.
pub(super) type ConnectionKey = u64;

/// Counters of one connection, written by its tasks without a lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub messages: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub refused: AtomicU64,
    pub dropped: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }

    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub id: Arc<str>,
    pub kind: SourceKind,
    pub address: Option<SocketAddr>,
    pub counters: Arc<Counters>,
    /// `None` for a UDP source, which cannot be answered.
    pub session: Option<Arc<Session>>,
    room: Option<Arc<str>>,
    /// The engine was told of it.
    announced: bool,
    last_seen: Instant,
}

impl Connection {
    /// Whether it leads to an endpoint that we dialled, which passes on what others send.
    fn is_dialled(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.role == Role::Outbound)
    }

    /// Figures of a source that cannot be answered.
    fn stats(&self, subject: Option<SubjectStats>) -> ConnectionStats {
        ConnectionStats {
            connection_id: self.id.clone(),
            state: ConnectionState::Connected,
            transport: self.kind,
            direction: "in",
            average_latency_ms: subject.as_ref().and_then(|s| s.latency_ms),
            rtt_ms: None,
            message_count: Counters::get(&self.counters.messages),
            data_channel_state: "none",
            buffered_amount: 0,
            jitter_ms: subject.as_ref().map(|s| s.jitter_ms),
            loss: subject.as_ref().and_then(|s| s.loss),
            fps: subject.as_ref().map(|s| s.fps),
            target_fps: subject.as_ref().map(|s| s.target_fps),
            subject: subject.map(|s| s.name),
            client: None,
            address: self.address,
            route: None,
            bytes_received: Counters::get(&self.counters.bytes_in),
            bytes_sent: Counters::get(&self.counters.bytes_out),
            refused: Counters::get(&self.counters.refused),
            dropped: Counters::get(&self.counters.dropped),
        }
    }
}

/// A connection that has ended.
#[derive(Debug)]
struct Remembered {
    id: Arc<str>,
    subject: Arc<str>,
    until: Instant,
}

/// Why a room cannot be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RoomError {
    #[error("this endpoint keeps no rooms; see `signalling`")]
    Off,
    #[error("field `room`: there are already as many peers in it as this endpoint takes")]
    Full,
}

/// What a connection hands in for one subject.
pub(super) struct Update<'a> {
    pub key: ConnectionKey,
    pub kind: SourceKind,
    pub subject: &'a str,
    pub frame: Option<&'a FaceFrame>,
    pub unix_ms: Option<f64>,
    pub latency_ms: Option<f32>,
    pub viseme: Option<VisemeMessage>,
    /// The frame came again in a later packet, because its own was lost or slow.
    pub repeated: bool,
}

/// The connection that a frame came by, and the room that it is in.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub key: ConnectionKey,
    pub room: Option<Arc<str>>,
}

/// What subscribers hear of.
#[derive(Clone, Debug)]
pub(super) enum Published {
    /// A frame, and where it came from.
    Frame(Arc<SubjectFrame>, Origin),
    /// A subject has gone.
    Lost(Arc<str>),
}

fn tell_room(mates: &[Connection], message: &ServerMessage<'_>) {
    let message = message.to_json();
    for session in mates.iter().filter_map(|mate| mate.session.as_ref()) {
        session.send_signal(message.clone());
    }
}

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("field `subject`: there are already as many subjects as this endpoint takes")]
    TooManySubjects,
    #[error("field `subject`: another source sends a subject of this name")]
    Contested,
    #[error("a newer frame was there before")]
    Stale,
    #[error("this connection is no longer known")]
    Disconnected,
}

#[derive(Debug)]
struct Subject {
    id: SubjectId,
    name: Arc<str>,
    owner: ConnectionKey,
    owner_gone: Option<Instant>,
    /// How long it is kept without a sender.
    grace: Duration,
    /// Our own: it goes out to subscribers, and not to our engine.
    local: bool,
    calibration: Calibration,
    /// While the performer shows what they can.
    range: Option<Box<RangeCapture>>,
    kind: SourceKind,
    address: Option<SocketAddr>,
    connection_id: Arc<str>,
    state: SubjectState,
    /// When its present sender took it up.
    since: Instant,
    last: Instant,
    rate: RateMeter,
    jitter: JitterMeter,
    latency: Average,
    /// Our clock less the sender's, milliseconds, with the time on the way.
    clock: Average,
    webcam: bool,
    /// Its sender takes reports.
    heeds: bool,
    /// Its clock on ours, and how late its frames are.
    source_clock: SourceClock,
    stamp: Option<Stamp>,
    delay: DelayMeter,
    load: LoadMeter,
    controller: Box<dyn RateController>,
    /// Settings of its own, in place of the endpoint's.
    adaptive: Option<Adaptive>,
    /// What our engine can make use of.
    demand_fps: Option<f32>,
    manual_fps: Option<f32>,
    told_fps: f32,
    reported: Option<Instant>,
}

impl Subject {
    fn tracked(&self, now: Instant) -> bool {
        self.state.tracked() && self.owner_gone.is_none() && now.saturating_duration_since(self.last) < SILENT
    }

    fn target_fps(&self) -> f32 {
        let advised = self.controller.decision().fps;
        self.manual_fps.unwrap_or_else(|| self.demand_fps.map_or(advised, |demand| advised.min(demand)))
    }

    fn report(&self, now_us: i64) -> LinkReport {
        let mut report = LinkReport::of_delay(self.load.report(now_us));
        report.latency_ms = self.latency.get();
        report.loss = self.state.loss();
        report.jitter_ms = self.jitter.jitter_ms();
        report
    }

    /// A message for the sender: what its frames went through, and what to send from now on.
    fn report_json(&self, named: bool, now_us: i64) -> String {
        let RateDecision { redundancy, .. } = self.controller.decision();
        let delay = self.load.report(now_us);
        let tenth = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
        let share = |value: f32| (f64::from(value) * 1000.0).round() / 1000.0;
        ServerMessage::Report(Report {
            subject: named.then(|| (&*self.name).into()),
            fps: self.target_fps(),
            redundancy,
            ack: self.state.merged().sequence.map(|sequence| sequence as u32),
            queue_ms: Some(tenth(delay.standing_ms)),
            queue_high_ms: Some(tenth(delay.high_ms)),
            slope: Some(tenth(delay.slope)),
            loss: delay.loss.map(share),
            late: Some(share(delay.late)),
        })
        .to_json()
    }

    fn take_law(&mut self, adaptive: Adaptive) {
        self.controller = adaptive.law.controller(adaptive.min_fps, adaptive.max_fps);
    }

    fn frame(&self) -> SubjectFrame {
        let mut frame = self.state.merged().clone();
        // What is said is no part of the performer's face.
        self.calibration.apply(&mut frame);
        let speech = self.state.viseme().map(|(viseme, weight)| Speech { viseme, weight, weights: frame.weights });
        self.state.add_viseme(&mut frame);
        SubjectFrame {
            id: self.id,
            name: self.name.clone(),
            source: self.kind,
            frame,
            speech,
            received: self.last,
            stamp: None,
            late: false,
            repeated: false,
        }
    }

    fn stats(&self, now: Instant) -> SubjectStats {
        SubjectStats {
            id: self.id,
            name: self.name.clone(),
            source: self.kind,
            connection_id: self.connection_id.clone(),
            address: self.address,
            tracked: self.tracked(now),
            fps: self.rate.fps(now),
            target_fps: self.target_fps(),
            latency_ms: self.latency.get(),
            clock_ms: self.clock.get(),
            jitter_ms: self.jitter.jitter_ms(),
            loss: self.state.loss(),
            queue_ms: self.load.report(micros(now, self.source_clock.origin())).standing_ms,
            delay_ms: self.delay.quantile_us(IN_TIME) as f32 / 1000.0,
            skew_ppm: self.source_clock.skew_ppm(),
            redundancy: if self.heeds { self.controller.decision().redundancy } else { 0 },
            webcam: self.webcam,
            frames: self.state.frames(),
            age_ms: now.saturating_duration_since(self.last).as_secs_f32() * 1000.0,
        }
    }
}

#[derive(Debug, Default)]
struct Table {
    subjects: HashMap<SubjectId, Subject>,
    by_name: HashMap<Arc<str>, SubjectId>,
    connections: HashMap<ConnectionKey, Connection>,
    next_connection: ConnectionKey,
    next_subject: u64,
    adaptive: Adaptive,
    remembered: VecDeque<Remembered>,
    /// By name, for subjects that come back.
    calibrations: HashMap<Arc<str>, Calibration>,
    /// Connection by which our own faces go out.
    local: Option<ConnectionKey>,
}

/// How senders' rates follow their links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Adaptive {
    pub enabled: bool,
    pub min_fps: f32,
    pub max_fps: f32,
    pub law: RateLaw,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self { enabled: true, min_fps: 10.0, max_fps: 60.0, law: RateLaw::default() }
    }
}

#[derive(Debug)]
pub(super) struct Hub {
    pub config: EndpointConfig,
    pub started: Instant,
    table: Mutex<Table>,
    ice_servers: Mutex<Vec<IceServer>>,
    pub profiles: LiveProfiles,
    pub roster: Roster,
    /// Set once, when everything is bound.
    pub facts: std::sync::OnceLock<Arc<Facts>>,
    pub slow: Slow,
    /// One for each port for phones; set once, at the start.
    pub ports: Mutex<Vec<Arc<PortFigures>>>,
    /// Held for a moment at a time, never together with another lock.
    pub guard: Mutex<Guard>,
    frames: (Sender<SubjectFrame>, Receiver<SubjectFrame>),
    events: (Sender<LinkEvent>, Receiver<LinkEvent>),
    publish: broadcast::Sender<Published>,
    /// Refused before any connection stood: bad datagrams, wrong tokens, forbidden origins.
    pub refused: AtomicU64,
    pub ignored: AtomicU64,
    overrun: AtomicU64,
}

impl Hub {
    pub fn new(config: EndpointConfig, now: Instant) -> Self {
        let adaptive = Adaptive {
            enabled: config.adaptive_fps,
            min_fps: config.min_fps,
            max_fps: config.max_fps,
            law: config.rate_law,
        };
        Self {
            ice_servers: Mutex::new(config.ice.servers.clone()),
            profiles: LiveProfiles::new(config.profiles.clone()),
            roster: Roster::new(&config.call, config.remember_phones.clone()),
            facts: std::sync::OnceLock::new(),
            slow: Slow::default(),
            ports: Mutex::new(Vec::new()),
            guard: Mutex::new(Guard::new(config.max_requests_per_second)),
            config,
            started: now,
            table: Mutex::new(Table { adaptive, ..Table::default() }),
            frames: crossbeam_channel::bounded(FRAME_QUEUE),
            events: crossbeam_channel::bounded(EVENT_QUEUE),
            publish: broadcast::channel(64).0,
            refused: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            overrun: AtomicU64::new(0),
        }
    }

    pub fn frames(&self) -> &Receiver<SubjectFrame> {
        &self.frames.1
    }

    pub fn events(&self) -> &Receiver<LinkEvent> {
        &self.events.1
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.publish.subscribe()
    }

    /// Adds a connection unless there are too many, and tells the engine of it.
    pub fn connect(
        &self,
        kind: SourceKind,
        id: Arc<str>,
        address: Option<SocketAddr>,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Option<ConnectionKey> {
        self.add(kind, id, address, counters, false, now)
    }

    /// The same for one that this side made, of which whoever made it knows.
    pub fn connect_quietly(
        &self,
        kind: SourceKind,
        id: Arc<str>,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Option<ConnectionKey> {
        self.add(kind, id, None, counters, true, now)
    }

    fn add(
        &self,
        kind: SourceKind,
        id: Arc<str>,
        address: Option<SocketAddr>,
        counters: Arc<Counters>,
        quietly: bool,
        now: Instant,
    ) -> Option<ConnectionKey> {
        let key = {
            let mut table = self.table.lock();
            let from = address.map(|address| address.ip()).filter(|ip| !ip.is_loopback()).map(household);
            let same = |c: &&Connection| from.is_some() && c.address.map(|address| household(address.ip())) == from;
            if table.connections.len() >= self.config.max_connections
                || table.connections.values().filter(same).count() >= self.config.max_connections_per_address
            {
                return None;
            }
            table.next_connection += 1;
            let key = table.next_connection;
            let announced = !quietly;
            let (id, room, last_seen) = (id.clone(), None, now);
            let connection = Connection { id, kind, address, counters, session: None, room, announced, last_seen };
            table.connections.insert(key, connection);
            key
        };
        if !quietly {
            self.event(LinkEvent::Connected { connection_id: id, source: kind, address });
        }
        Some(key)
    }

    pub fn attach(&self, key: ConnectionKey, session: &Arc<Session>) {
        if let Some(connection) = self.table.lock().connections.get_mut(&key) {
            connection.session = Some(session.clone());
        }
    }

    pub fn set_kind(&self, key: ConnectionKey, kind: SourceKind) {
        if let Some(connection) = self.table.lock().connections.get_mut(&key) {
            connection.kind = kind;
        }
    }

    /// The client of a connection has come back from another address.
    pub fn set_address(&self, key: ConnectionKey, address: Option<SocketAddr>) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if let Some(connection) = table.connections.get_mut(&key) {
            connection.address = address.or(connection.address);
            for subject in table.subjects.values_mut().filter(|subject| subject.owner == key) {
                subject.address = connection.address;
            }
        }
    }

    /// Changes the STUN and TURN servers; connections that stand take them up too.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        *self.ice_servers.lock() = servers;
        let own = self.way().ice.current().own;
        let sessions: Vec<_> = self.table.lock().connections.values().filter_map(|c| c.session.clone()).collect();
        for session in sessions {
            session.peer_command(super::peer::PeerCommand::IceServers(own.clone()));
        }
    }

    /// How WebRTC connections are made now.
    pub fn way(&self) -> Way {
        let ice = super::IceConfig { servers: self.ice_servers.lock().clone(), ..self.config.ice.clone() };
        Way { bind: self.config.bind, ice }
    }

    /// The connection of this id, for its client to come back to.
    pub fn resume(&self, id: &str) -> Option<Resumed> {
        let table = self.table.lock();
        let live = table.connections.values().find(|connection| *connection.id == *id);
        let live = live.and_then(|connection| connection.session.clone());
        if let Some(session) = live.filter(|session| session.role == Role::Inbound) {
            return Some(Resumed::Live(session));
        }
        let remembered = table.remembered.iter().rev().find(|remembered| *remembered.id == *id)?;
        Some(Resumed::Remembered(remembered.subject.clone()))
    }

    /// Puts a connection into a room, and gives the ids of those who are in it already.
    pub fn join(&self, key: ConnectionKey, room: &str) -> Result<Vec<Arc<str>>, RoomError> {
        if !self.config.signalling {
            return Err(RoomError::Off);
        }
        self.leave(key);
        let (id, mates) = {
            let mut table = self.table.lock();
            let mates: Vec<_> =
                table.connections.values().filter(|c| c.room.as_deref() == Some(room)).cloned().collect();
            if mates.len() >= self.config.max_room_peers {
                return Err(RoomError::Full);
            }
            let Some(connection) = table.connections.get_mut(&key) else { return Ok(Vec::new()) };
            connection.room = Some(room.into());
            (connection.id.clone(), mates)
        };
        tell_room(&mates, &ServerMessage::PeerJoined(Peer { peer: (&*id).into() }));
        Ok(mates.into_iter().map(|mate| mate.id).collect())
    }

    /// Takes a connection out of its room.
    pub fn leave(&self, key: ConnectionKey) {
        let mut table = self.table.lock();
        let Some(connection) = table.connections.get_mut(&key) else { return };
        let Some(room) = connection.room.take() else { return };
        let id = connection.id.clone();
        let mates: Vec<_> = table.connections.values().filter(|c| c.room.as_ref() == Some(&room)).cloned().collect();
        drop(table);
        tell_room(&mates, &ServerMessage::PeerLeft(Peer { peer: (&*id).into() }));
    }

    /// The connection of this id, if it is in the same room.
    pub fn room_mate(&self, key: ConnectionKey, id: &str) -> Option<Arc<Session>> {
        let table = self.table.lock();
        let room = table.connections.get(&key)?.room.as_ref()?;
        let mate = table.connections.values().find(|c| *c.id == *id && c.room.as_ref() == Some(room))?;
        mate.session.clone()
    }

    /// A connection has ended. `goodbye` if its client said so: otherwise it may come back, and its face waits for it.
    pub fn disconnect(&self, key: ConnectionKey, reason: &str, goodbye: bool, now: Instant) {
        self.leave(key);
        let removed = {
            let mut table = self.table.lock();
            let grace = if goodbye { GOODBYE_GRACE } else { self.config.reconnect_grace.max(GOODBYE_GRACE) };
            for subject in table.subjects.values_mut().filter(|subject| subject.owner == key) {
                subject.owner_gone.get_or_insert(now);
                subject.grace = grace;
            }
            let removed = table.connections.remove(&key);
            let session = removed.as_ref().and_then(|connection| connection.session.as_ref());
            if let Some(session) = session.filter(|_| !goodbye)
                && let Some(subject) = session.subject()
            {
                if table.remembered.len() >= MAX_REMEMBERED {
                    table.remembered.pop_front();
                }
                let until = now + REMEMBERED_FOR;
                table.remembered.push_back(Remembered { id: session.id.clone(), subject, until });
            }
            removed
        };
        if let Some(connection) = removed {
            if let Some(session) = &connection.session {
                session.ended.cancel();
            }
            Counters::add(&self.refused, Counters::get(&connection.counters.refused));
            if connection.announced {
                self.event(LinkEvent::Disconnected { connection_id: connection.id, reason: reason.to_owned() });
            }
        }
    }

    /// The connection sends a subject no longer, having taken another name.
    pub fn release(&self, key: ConnectionKey, name: &str, now: Instant) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let id = table.by_name.get(name);
        if let Some(subject) = id.and_then(|id| table.subjects.get_mut(id)).filter(|subject| subject.owner == key) {
            subject.owner_gone.get_or_insert(now);
            subject.grace = GOODBYE_GRACE;
        }
    }

    /// `wish`, or `wish (2)` and so on while another live source bears it: two phones may be called the same.
    pub fn unique_name(&self, wish: &str, key: ConnectionKey) -> Arc<str> {
        let table = self.table.lock();
        let free = |name: &str| {
            let id = table.by_name.get(name);
            let subject = id.and_then(|id| table.subjects.get(id));
            subject.is_none_or(|subject| subject.owner == key || subject.owner_gone.is_some())
        };
        if free(wish) {
            return wish.into();
        }
        let mut names = (2_u32..).map(|n| format!("{wish} ({n})"));
        names.find(|name| free(name)).map_or_else(|| wish.into(), Into::into)
    }

    /// The smallest `face-n` that no subject bears.
    pub fn free_name(&self) -> Arc<str> {
        let table = self.table.lock();
        let taken = table.connections.values().filter_map(|connection| connection.session.as_ref()?.subject());
        let taken: Vec<_> = taken.collect();
        for n in 1_u32.. {
            let name = format!("face-{n}");
            if !table.by_name.contains_key(name.as_str()) && !taken.iter().any(|taken| **taken == *name) {
                return name.into();
            }
        }
        "face".into()
    }

    /// Takes a frame, a viseme or both for a subject, which appears if it is new.
    pub fn ingest(&self, update: &Update<'_>, now: Instant) -> Result<SubjectId, Refused> {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let connection = table.connections.get_mut(&update.key).ok_or(Refused::Disconnected)?;
        connection.last_seen = now;
        let relayed = connection.is_dialled();
        let room = connection.room.clone();

        let mut appeared = None;
        let id = match table.by_name.get(update.subject) {
            Some(id) => *id,
            None => {
                let own = table.subjects.values().filter(|subject| subject.owner == update.key).count();
                if table.subjects.len() >= self.config.max_subjects || own >= self.config.max_subjects_per_connection {
                    return Err(Refused::TooManySubjects);
                }
                table.next_subject += 1;
                let id = SubjectId(table.next_subject);
                let name: Arc<str> = update.subject.into();
                let adaptive = table.adaptive;
                let controller = adaptive.law.controller(adaptive.min_fps, adaptive.max_fps);
                let local = table.local == Some(update.key);
                let calibration = table.calibrations.get(&name).copied().unwrap_or_default();
                table.by_name.insert(name.clone(), id);
                table.subjects.insert(
                    id,
                    Subject {
                        id,
                        name: name.clone(),
                        owner: update.key,
                        owner_gone: None,
                        grace: GOODBYE_GRACE,
                        local,
                        calibration,
                        range: None,
                        kind: update.kind,
                        address: connection.address,
                        connection_id: connection.id.clone(),
                        state: SubjectState::default(),
                        since: now,
                        last: now,
                        rate: RateMeter::default(),
                        jitter: JitterMeter::default(),
                        latency: Average::default(),
                        clock: Average::default(),
                        webcam: false,
                        heeds: false,
                        source_clock: SourceClock::new(self.started),
                        stamp: None,
                        delay: DelayMeter::default(),
                        load: LoadMeter::default(),
                        told_fps: controller.decision().fps,
                        controller,
                        adaptive: None,
                        demand_fps: None,
                        manual_fps: None,
                        reported: None,
                    },
                );
                if !local {
                    appeared =
                        Some(LinkEvent::SubjectAppeared { id, name, source: update.kind, address: connection.address });
                }
                id
            }
        };
        let subject = table.subjects.get_mut(&id).ok_or(Refused::Disconnected)?;
        if subject.owner != update.key {
            // Our own faces and those of others do not take each other's names.
            if subject.local != (table.local == Some(update.key)) {
                return Err(Refused::Contested);
            }
            let free = subject.owner_gone.is_some() || now.saturating_duration_since(subject.last) > TAKE_BACK;
            let owner_relayed = table.connections.get(&subject.owner).is_some_and(Connection::is_dialled);
            // The newer connection is the one to believe, but whatever comes from the source itself comes before what an
            // endpoint passes on: that may be our own echo.
            let newer = match (relayed, owner_relayed) {
                (false, true) => true,
                (true, false) => false,
                _ => update.key > subject.owner,
            };
            if !newer && !free {
                return Err(Refused::Contested);
            }
            let connection = table.connections.get(&update.key).ok_or(Refused::Disconnected)?;
            subject.owner = update.key;
            subject.address = connection.address;
            subject.connection_id = connection.id.clone();
            subject.told_fps = f32::NAN;
            subject.since = now;
            // The new sender counts and keeps time by itself.
            subject.state.restart_count();
            subject.clock = Average::default();
            subject.jitter = JitterMeter::default();
            subject.source_clock.restart();
            subject.delay.restart();
            subject.load.restart();
        }
        subject.owner_gone = None;
        subject.kind = update.kind;

        if let Some(viseme) = update.viseme {
            subject.state.speak(viseme, now);
        }
        if let Some(frame) = update.frame {
            let taken = subject.state.apply(frame, update.unix_ms, now);
            if taken == Taken::Stale {
                return Err(Refused::Stale);
            }
            let sent = frame
                .capture_time
                .or_else(|| update.unix_ms.and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok()));
            let stamp = subject.source_clock.record(sent, now);
            if !update.repeated {
                subject.delay.record(&stamp);
            }
            let target_us = subject.delay.quantile_us(IN_TIME) + stamp.interval_us / 2;
            subject.load.record(&stamp, frame.sequence, update.repeated, target_us);
            if taken == Taken::Late {
                if let Some(mut face) = subject.state.late_face(frame) {
                    subject.calibration.apply(&mut face);
                    let mut late = subject.frame();
                    late.frame = face;
                    (late.stamp, late.late, late.repeated) = (Some(stamp), true, update.repeated);
                    let local = subject.local;
                    self.push(late, Origin { key: update.key, room }, local);
                }
                return Err(Refused::Stale);
            }
            subject.stamp = Some(stamp);
            if !update.repeated {
                subject.jitter.record(now, sent);
            }
            if let Some(latency) = update.latency_ms {
                subject.latency.record(latency);
            }
            if let Some(sent) = update.unix_ms {
                subject.clock.record((unix_ms() - sent) as f32);
            }
        } else {
            subject.state.touch();
        }
        subject.last = now;
        subject.rate.record(now);
        if let Some(range) = &mut subject.range {
            range.observe(subject.state.merged(), &subject.calibration);
        }

        let (mut frame, local) = (subject.frame(), subject.local);
        frame.stamp = subject.stamp.filter(|_| update.frame.is_some());
        frame.repeated = update.repeated;
        // Sent under the lock, so that the engine sees frames of a subject in their order. Nothing here can block.
        if let Some(event) = appeared {
            self.event(event);
        }
        self.push(frame, Origin { key: update.key, room }, local);
        Ok(id)
    }

    /// Takes an emotion for a subject, which appears if it is new, and tells the engine.
    pub fn ingest_emotion(&self, update: &Update<'_>, emotion: Emotion, now: Instant) -> Result<(), Refused> {
        let id = self.ingest(update, now)?;
        self.event(LinkEvent::Emotion { id, name: update.subject.into(), emotion });
        Ok(())
    }

    /// Takes a face of our own: it goes out to those who have subscribed, and is listed with the others.
    pub fn publish(&self, name: &str, frame: &FaceFrame, now: Instant) -> Result<(), Refused> {
        let known = {
            let table = self.table.lock();
            table.local.filter(|key| table.connections.contains_key(key))
        };
        let key = match known {
            Some(key) => key,
            None => {
                let key = self.connect_quietly(SourceKind::Game, "game".into(), Arc::default(), now);
                let key = key.ok_or(Refused::TooManySubjects)?;
                self.table.lock().local = Some(key);
                key
            }
        };
        let update = Update {
            key,
            kind: SourceKind::Game,
            subject: name,
            frame: Some(frame),
            unix_ms: None,
            latency_ms: None,
            viseme: None,
            repeated: false,
        };
        self.ingest(&update, now).map(drop)
    }

    /// Newest wins: a full queue loses its oldest frame.
    fn push(&self, frame: SubjectFrame, from: Origin, local: bool) {
        // Those who subscribe show the newest.
        if self.publish.receiver_count() > 0 && !frame.late {
            // Fails only when the last subscriber has just left.
            let _ = self.publish.send(Published::Frame(Arc::new(frame.clone()), from));
        }
        if local {
            return;
        }
        if let Err(TrySendError::Full(frame)) = self.frames.0.try_send(frame) {
            if self.frames.1.try_recv().is_ok() {
                self.overrun.fetch_add(1, Ordering::Relaxed);
            }
            // Another thread may have filled the place; then this frame is the one that is lost.
            if self.frames.0.try_send(frame).is_err() {
                self.overrun.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn event(&self, event: LinkEvent) {
        tracing::debug!(?event, "link");
        if let Err(TrySendError::Full(event)) = self.events.0.try_send(event) {
            let _ = self.events.1.try_recv();
            let _ = self.events.0.try_send(event);
        }
    }

    /// Housekeeping: visemes that end, subjects that leave, rates that change. Called about ten times a second.
    pub fn tick(&self, now: Instant) {
        let (mut told, mut reports) = (Vec::new(), Vec::new());
        {
            let mut guard = self.table.lock();
            let table = &mut *guard;
            let mut lost = Vec::new();
            for subject in table.subjects.values_mut() {
                if subject.state.expire_viseme(now) {
                    let room = table.connections.get(&subject.owner).and_then(|owner| owner.room.clone());
                    self.push(subject.frame(), Origin { key: subject.owner, room }, subject.local);
                }
                let owner = table.connections.get(&subject.owner);
                let reason = match (subject.owner_gone, owner) {
                    (Some(gone), _) if now.saturating_duration_since(gone) >= subject.grace => {
                        Some(LostReason::Disconnected)
                    }
                    (None, Some(owner))
                        if owner.session.is_none()
                            && now.saturating_duration_since(subject.last) >= self.config.subject_timeout =>
                    {
                        Some(LostReason::Silent)
                    }
                    _ => None,
                };
                lost.extend(reason.map(|reason| (subject.id, reason)));
            }
            for (id, reason) in lost {
                if let Some(subject) = table.subjects.remove(&id) {
                    table.by_name.remove(&subject.name);
                    let _ = self.publish.send(Published::Lost(subject.name.clone()));
                    if !subject.local {
                        self.event(LinkEvent::SubjectLost { id, name: subject.name, reason });
                    }
                }
            }
            while table.remembered.front().is_some_and(|remembered| remembered.until <= now) {
                table.remembered.pop_front();
            }
            // A UDP source has no end of its own.
            let timeout = self.config.subject_timeout;
            let silent: Vec<_> = table
                .connections
                .iter()
                .filter(|(_, c)| c.session.is_none() && now.saturating_duration_since(c.last_seen) >= timeout)
                .map(|(key, _)| *key)
                .collect();
            for key in silent {
                if let Some(connection) = table.connections.remove(&key) {
                    Counters::add(&self.refused, Counters::get(&connection.counters.refused));
                    let reason = "silent".to_owned();
                    if connection.announced {
                        self.event(LinkEvent::Disconnected { connection_id: connection.id, reason });
                    }
                }
            }
            let now_us = micros(now, self.started);
            for subject in table.subjects.values_mut() {
                let live = now.saturating_duration_since(subject.last) < SILENT;
                let enabled = subject.adaptive.unwrap_or(table.adaptive).enabled;
                if enabled && live && now.saturating_duration_since(subject.since) >= RATE_WARM_UP {
                    let report = subject.report(now_us);
                    subject.controller.update(&report, now);
                }
                let owner = table.connections.get(&subject.owner).and_then(|owner| owner.session.as_ref());
                subject.webcam = owner.is_some_and(|session| session.is_webcam());
                subject.heeds = owner.is_some_and(|session| session.wants_reports());
                let target = subject.target_fps();
                if live && subject.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL) {
                    let owner = table.connections.get(&subject.owner).and_then(|owner| owner.session.as_ref());
                    if let Some(session) = owner.filter(|session| session.wants_reports()) {
                        let named = session.subject().is_none_or(|own| own != subject.name);
                        reports.push((session.clone(), subject.report_json(named, now_us)));
                    }
                    subject.reported = Some(now);
                }
                // NaN, after a change of sender, differs from everything.
                if target != subject.told_fps {
                    let owner = table.connections.get(&subject.owner);
                    if let Some(session) = owner.and_then(|owner| owner.session.clone()) {
                        told.push((session, target));
                    }
                    subject.told_fps = target;
                }
            }
        }
        for (session, fps) in told {
            session.tell_rate(fps);
        }
        for (session, report) in reports {
            session.send_report(report);
        }
    }

    /// Changes the adaptive rate's settings; every sender starts again at the highest rate.
    pub fn set_adaptive(&self, adaptive: Adaptive) {
        let mut table = self.table.lock();
        table.adaptive = adaptive;
        for subject in table.subjects.values_mut().filter(|subject| subject.adaptive.is_none()) {
            subject.take_law(adaptive);
        }
    }

    /// The same for one subject; `None` hands it back to the endpoint's.
    pub fn set_adaptive_of(&self, id: SubjectId, adaptive: Option<Adaptive>) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if let Some(subject) = table.subjects.get_mut(&id).filter(|subject| subject.adaptive != adaptive) {
            subject.adaptive = adaptive;
            subject.take_law(adaptive.unwrap_or(table.adaptive));
        }
    }

    /// What our engine can make use of at most.
    pub fn set_demand(&self, id: SubjectId, fps: Option<f32>) {
        if let Some(subject) = self.table.lock().subjects.get_mut(&id) {
            subject.demand_fps = fps.filter(|fps| fps.is_finite()).map(|fps| fps.clamp(1.0, 1000.0));
        }
    }

    pub fn set_rate(&self, id: SubjectId, fps: Option<f32>) {
        if let Some(subject) = self.table.lock().subjects.get_mut(&id) {
            subject.manual_fps = fps.filter(|fps| fps.is_finite()).map(|fps| fps.clamp(1.0, 1000.0));
        }
    }

    /// Changes what is taken off the frames of a subject, given the newest frame as it came. `None` when there is no such
    /// subject.
    /// Begins, follows or ends a range of motion; `None` without such a subject.
    pub fn with_range<T>(&self, name: &str, act: impl FnOnce(&mut Option<Box<RangeCapture>>) -> T) -> Option<T> {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let id = table.by_name.get(name)?;
        table.subjects.get_mut(id).map(|subject| act(&mut subject.range))
    }

    pub fn calibrate<T>(&self, name: &str, change: impl FnOnce(&mut Calibration, &FaceFrame) -> T) -> Option<T> {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let id = table.by_name.get(name)?;
        let subject = table.subjects.get_mut(id)?;
        let changed = change(&mut subject.calibration, subject.state.merged());
        if subject.calibration.is_none() {
            table.calibrations.remove(name);
        } else if table.calibrations.len() < MAX_CALIBRATIONS || table.calibrations.contains_key(name) {
            table.calibrations.insert(subject.name.clone(), subject.calibration);
        }
        Some(changed)
    }

    /// Every live subject's newest frame and the connection that sends it.
    pub fn newest(&self) -> Vec<(SubjectFrame, Origin)> {
        let table = self.table.lock();
        let room = |key| table.connections.get(&key).and_then(|owner: &Connection| owner.room.clone());
        let newest = table.subjects.values();
        newest.map(|s| (s.frame(), Origin { key: s.owner, room: room(s.owner) })).collect()
    }

    /// Where a connection comes from.
    pub fn address_of(&self, key: ConnectionKey) -> Option<SocketAddr> {
        self.table.lock().connections.get(&key)?.address
    }

    /// The room that a connection is in.
    pub fn room_of(&self, key: ConnectionKey) -> Option<Arc<str>> {
        self.table.lock().connections.get(&key)?.room.clone()
    }

    /// Every live subject's newest frame and figures, by name.
    pub fn subjects(&self, now: Instant) -> Vec<(SubjectFrame, SubjectStats)> {
        let table = self.table.lock();
        let mut subjects: Vec<_> =
            table.subjects.values().map(|subject| (subject.frame(), subject.stats(now))).collect();
        drop(table);
        subjects.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        subjects
    }

    pub fn stats(&self, now: Instant) -> EndpointStats {
        let table = self.table.lock();
        let mut subjects: Vec<_> = table.subjects.values().map(|subject| subject.stats(now)).collect();
        let connections = table.connections.len();
        let refused: u64 = table.connections.values().map(|c| Counters::get(&c.counters.refused)).sum();
        drop(table);
        subjects.sort_by(|a, b| a.name.cmp(&b.name));
        EndpointStats {
            connections,
            refused: refused + self.refused.load(Ordering::Relaxed),
            ignored: self.ignored.load(Ordering::Relaxed),
            overrun: self.overrun.load(Ordering::Relaxed),
            subjects,
        }
    }

    /// Figures of every connection, oldest first, each with those of the subject that it sends most recently.
    pub fn connections(&self, now: Instant) -> Vec<ConnectionStats> {
        let table = self.table.lock();
        let mut connections: Vec<_> = table.connections.iter().collect();
        connections.sort_unstable_by_key(|(key, _)| **key);
        let stats = connections.into_iter().map(|(key, connection)| {
            let newest = table.subjects.values().filter(|subject| subject.owner == *key).max_by_key(|s| s.last);
            let subject = newest.map(|subject| subject.stats(now));
            match &connection.session {
                Some(session) => session.stats(subject.as_ref()),
                None => connection.stats(subject),
            }
        });
        stats.collect()
    }

    /// Figures of the subject that a connection sends.
    pub fn stats_of(&self, key: ConnectionKey, now: Instant) -> Option<SubjectStats> {
        let table = self.table.lock();
        let subject = table.subjects.values().filter(|subject| subject.owner == key).max_by_key(|s| s.last)?;
        Some(subject.stats(now))
    }

    /// Says goodbye to all subjects.
    pub fn stop(&self) {
        let mut table = self.table.lock();
        let subjects = std::mem::take(&mut table.subjects);
        table.by_name.clear();
        let connections = std::mem::take(&mut table.connections);
        drop(table);
        for session in connections.into_values().filter_map(|connection| connection.session) {
            session.ended.cancel();
        }
        for subject in subjects.into_values() {
            self.event(LinkEvent::SubjectLost { id: subject.id, name: subject.name, reason: LostReason::Stopped });
        }
    }
}
