//! The table of connections: limits, rooms, and ended connections that may be resumed.

use std::{
    any::Any,
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use facelink::time::Instant;

use facelink::{source::SourceKind, wire::message::IceServer};
use subtle::ConstantTimeEq;

use crate::{
    address::limit_key,
    auth::{AuthLevel, Grant},
    outbox::Outgoing,
    roles::TokenId,
    stats::{ConnectionState, ConnectionStats, SubjectStats},
};

/// Ended connections that a client may resume.
const MAX_RESUMABLE: usize = 256;
/// For how long.
const RESUMABLE_FOR: Duration = Duration::from_secs(120);

/// Identifies one connection or UDP source inside the hub; grows with time.
pub(crate) type ConnectionKey = u64;

/// The connection that a frame came by, and the room that it is in.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub key: ConnectionKey,
    pub room: Option<Arc<str>>,
    /// Another relay of the mesh publishes it.
    #[cfg(feature = "zenoh")]
    pub mesh: bool,
}

/// Counters of one connection, written by its tasks without a lock.
#[derive(Debug, Default)]
pub(crate) struct Counters {
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

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// The other side: a client of ours.
    #[default]
    Inbound,
    /// This side: the other one is an endpoint, which passes on what others send.
    Outbound,
    /// A room peer, directly.
    Peer,
}

impl Role {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "in",
            Self::Outbound => "out",
            Self::Peer => "peer",
        }
    }
}

/// The other side of a connection that can be answered, as the hub sees it. Called while the hub's table is locked, but
/// for what sends: an implementation does not call back into the hub.
pub(crate) trait Link: Any + fmt::Debug + Send + Sync {
    fn role(&self) -> Role;
    /// The name of the face that it sends.
    fn subject(&self) -> Option<Arc<str>>;
    /// What stands for a subject in messages to the other side: its name, unless it is sealed there.
    fn public_name(&self, name: &Arc<str>) -> Arc<str>;
    /// The secret by which its client resumes it.
    fn resume_token(&self) -> &str;
    /// Statistics, with those of the subject that it sent last.
    fn stats(&self, subject: Option<&SubjectStats>) -> ConnectionStats;
    /// The client states that its face comes out of a webcam.
    fn is_webcam(&self) -> bool;
    /// The sender takes reports.
    fn wants_reports(&self) -> bool;
    /// The other side decides by reports how many frames it sends, and takes one of a connection for all of its subjects.
    fn takes_viewer_reports(&self) -> bool;
    /// Asks the sender for a rate of one subject, frames a second.
    fn request_rate(&self, subject: &str, fps: f32);
    /// Queues a report.
    fn send_report(&self, text: String);
    /// Queues a message of a room or of its peers.
    fn send_signal(&self, text: String);
    /// Queues a message that must not be lost lightly.
    fn send_control(&self, text: &str);
    /// Whether what was sent to it as a viewer has left, so that more may follow.
    fn is_ready(&self) -> bool;
    /// Puts out what is at this place of the packets that a viewer is sent at a time.
    fn send_face(&self, place: u64, message: Outgoing);
    /// Called about ten times a second, while the hub's table is not locked.
    fn on_time(&self, now: Instant);
    /// Other STUN and TURN servers from now on.
    fn set_ice_servers(&self, servers: &[IceServer]);
    /// Closes its transports, with this WebSocket code.
    fn close(&self, code: u16, reason: &'static str);
    /// The hub has let the connection go.
    fn end(&self);
}

#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub id: Arc<str>,
    pub kind: SourceKind,
    pub address: Option<SocketAddr>,
    pub counters: Arc<Counters>,
    /// `None` for a source that cannot be answered.
    pub link: Option<Arc<dyn Link>>,
    pub room: Option<Arc<str>>,
    /// By what it was let in; `None` while it still has to show the token.
    pub level: Option<AuthLevel>,
    /// The token with roles that it has shown.
    pub token: Option<TokenId>,
    /// It stands for one face of another relay of the mesh: it is silent for as long as that is, and takes no room of others.
    pub mesh: bool,
    /// Its coming and going are events.
    pub announced: bool,
    pub last_seen: Instant,
}

impl Connection {
    pub fn new(id: Arc<str>, kind: SourceKind, counters: Arc<Counters>, grant: Grant, now: Instant) -> Self {
        Self {
            id,
            kind,
            address: None,
            counters,
            link: None,
            room: None,
            level: Some(grant.level),
            token: grant.token,
            mesh: false,
            announced: true,
            last_seen: now,
        }
    }

    pub fn is_admitted(&self) -> bool {
        self.level.is_some()
    }

    /// Whether it leads to an endpoint that this side dialled, or to another relay: both pass on what others send.
    pub fn passes_on(&self) -> bool {
        self.mesh || self.link.as_ref().is_some_and(|link| link.role() == Role::Outbound)
    }

    pub fn stats(&self, subject: Option<SubjectStats>) -> ConnectionStats {
        if let Some(link) = &self.link {
            return link.stats(subject.as_ref());
        }
        ConnectionStats {
            connection_id: self.id.clone(),
            state: ConnectionState::Connected,
            transport: self.kind,
            direction: if self.mesh { "mesh" } else { Role::Inbound.as_str() },
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
            deltas: 0,
            viewing: None,
        }
    }
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionLimits {
    pub max_connections: usize,
    /// Of the level [`AuthLevel::Open`].
    pub max_open_sources: usize,
    pub max_connections_per_address: usize,
    /// 0 keeps no rooms.
    pub max_room_peers: usize,
}

/// A connection that has ended.
#[derive(Debug)]
struct Ended {
    resume_token: String,
    subject: Arc<str>,
    until: Instant,
}

/// A connection that a client resumes.
#[derive(Debug)]
pub(crate) enum Resumed {
    /// It is there still.
    Live(Arc<dyn Link>),
    /// It has ended; this was its face.
    Ended(Arc<str>),
}

/// Why a room cannot be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RoomError {
    #[error("this endpoint keeps no rooms; see `signalling`")]
    Off,
    #[error("field `room`: there are already as many peers in it as this endpoint takes")]
    Full,
}

/// Room peers of a connection, and its id.
pub(crate) struct RoomPeers {
    pub id: Arc<str>,
    pub peers: Vec<Connection>,
}

#[derive(Debug)]
pub(crate) struct Connections {
    limits: ConnectionLimits,
    by_key: HashMap<ConnectionKey, Connection>,
    last_key: ConnectionKey,
    ended: VecDeque<Ended>,
}

impl Connections {
    pub fn new(limits: ConnectionLimits) -> Self {
        Self { limits, by_key: HashMap::new(), last_key: 0, ended: VecDeque::new() }
    }

    /// Adds a connection, unless there are too many, or another one has its id.
    pub fn add(&mut self, connection: Connection) -> Option<ConnectionKey> {
        let is_new = |id: &str| self.by_key.values().all(|other| *other.id != *id);
        let fits = |level| connection.mesh || self.has_room(connection.address, level);
        if !is_new(&connection.id) || !connection.level.is_none_or(fits) {
            return None;
        }
        self.last_key += 1;
        self.by_key.insert(self.last_key, connection);
        Some(self.last_key)
    }

    /// Whether one more of a level fits. Those that show no token take no room of those who did.
    fn has_room(&self, address: Option<SocketAddr>, level: AuthLevel) -> bool {
        let is_open = |level: AuthLevel| level == AuthLevel::Open;
        let same =
            |other: &&Connection| !other.mesh && other.level.is_some_and(|other| is_open(other) == is_open(level));
        let most = if is_open(level) { self.limits.max_open_sources } else { self.limits.max_connections };
        let remote = |address: Option<SocketAddr>| {
            address.map(|address| address.ip()).filter(|ip| !ip.is_loopback()).map(limit_key)
        };
        let from = remote(address);
        let of_address = |other: &&Connection| from.is_some() && remote(other.address) == from;
        self.by_key.values().filter(same).count() < most
            && self.by_key.values().filter(same).filter(of_address).count() < self.limits.max_connections_per_address
    }

    /// Lets in a connection that had to show the token, unless there are too many.
    pub fn admit(&mut self, key: ConnectionKey, grant: Grant) -> Option<&mut Connection> {
        let address = self.by_key.get(&key)?.address;
        if !self.has_room(address, grant.level) {
            return None;
        }
        let connection = self.by_key.get_mut(&key)?;
        (connection.level, connection.token) = (Some(grant.level), grant.token);
        Some(connection)
    }

    pub fn remove(&mut self, key: ConnectionKey) -> Option<Connection> {
        self.by_key.remove(&key)
    }

    pub fn get(&self, key: ConnectionKey) -> Option<&Connection> {
        self.by_key.get(&key)
    }

    pub fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection> {
        self.by_key.get_mut(&key)
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionKey, &Connection)> {
        self.by_key.iter().map(|(key, connection)| (*key, connection))
    }

    /// How many were let in.
    pub fn len(&self) -> usize {
        self.by_key.values().filter(|connection| connection.is_admitted()).count()
    }

    /// Whether a connection that ranks above this level has given such a name as that of its face.
    pub fn is_reserved(&self, level: AuthLevel, is_it: impl Fn(&str) -> bool) -> bool {
        let above = self.by_key.values().filter(|connection| connection.level > Some(level));
        above.filter_map(|connection| connection.link.as_ref()?.subject()).any(|subject| is_it(&subject))
    }

    pub fn take_all(&mut self) -> impl Iterator<Item = Connection> + use<> {
        std::mem::take(&mut self.by_key).into_values()
    }

    pub fn attach(&mut self, key: ConnectionKey, link: Arc<dyn Link>) {
        if let Some(connection) = self.by_key.get_mut(&key) {
            connection.link = Some(link);
        }
    }

    pub fn set_kind(&mut self, key: ConnectionKey, kind: SourceKind) {
        if let Some(connection) = self.by_key.get_mut(&key) {
            connection.kind = kind;
        }
    }

    /// Where a connection comes from.
    #[cfg(feature = "phones")]
    pub fn address_of(&self, key: ConnectionKey) -> Option<SocketAddr> {
        self.by_key.get(&key)?.address
    }

    /// What frames of a connection are published with.
    pub fn origin_of(&self, key: ConnectionKey) -> Origin {
        let connection = self.by_key.get(&key);
        let room = connection.and_then(|connection| connection.room.clone());
        Origin {
            key,
            room,
            #[cfg(feature = "zenoh")]
            mesh: self.is_mesh(key),
        }
    }

    /// Whether it stands for a face of another relay.
    pub fn is_mesh(&self, key: ConnectionKey) -> bool {
        self.by_key.get(&key).is_some_and(|connection| connection.mesh)
    }

    /// Puts a connection into a room; returns the peers that are in it already.
    pub fn join(&mut self, key: ConnectionKey, room: &str) -> Result<Option<RoomPeers>, RoomError> {
        if self.limits.max_room_peers == 0 {
            return Err(RoomError::Off);
        }
        let peers = self.in_room(room);
        if peers.len() >= self.limits.max_room_peers {
            return Err(RoomError::Full);
        }
        Ok(self.by_key.get_mut(&key).map(|connection| {
            connection.room = Some(room.into());
            RoomPeers { id: connection.id.clone(), peers }
        }))
    }

    /// Takes a connection out of its room; returns the peers that stay in it.
    pub fn leave(&mut self, key: ConnectionKey) -> Option<RoomPeers> {
        let connection = self.by_key.get_mut(&key).filter(|connection| !connection.mesh)?;
        let (room, id) = (connection.room.take()?, connection.id.clone());
        Some(RoomPeers { id, peers: self.in_room(&room) })
    }

    fn in_room(&self, room: &str) -> Vec<Connection> {
        let peers = self.by_key.values().filter(|connection| !connection.mesh);
        peers.filter(|connection| connection.room.as_deref() == Some(room)).cloned().collect()
    }

    /// The connection of this id, if it is in the same room.
    pub fn room_peer(&self, key: ConnectionKey, id: &str) -> Option<Arc<dyn Link>> {
        let room = self.by_key.get(&key)?.room.as_ref()?;
        let peer = self.by_key.values().find(|c| *c.id == *id && c.room.as_ref() == Some(room))?;
        peer.link.clone()
    }

    /// The connection that is there and that this secret resumes.
    pub fn live(&self, resume_token: &str) -> Option<Arc<dyn Link>> {
        let is_it = |token: &str| token.as_bytes().ct_eq(resume_token.as_bytes()).into();
        let mut links =
            self.by_key.values().filter(|connection| connection.is_admitted()).filter_map(|c| c.link.as_ref());
        links.find(|link| link.role() == Role::Inbound && is_it(link.resume_token())).cloned()
    }

    /// The connection that this secret resumes, for its client. An ended one is handed out once.
    pub fn resume(&mut self, resume_token: &str) -> Option<Resumed> {
        if let Some(link) = self.live(resume_token) {
            return Some(Resumed::Live(link));
        }
        let is_it = |token: &str| token.as_bytes().ct_eq(resume_token.as_bytes()).into();
        let ended = self.ended.iter().position(|ended| is_it(&ended.resume_token))?;
        self.ended.remove(ended).map(|ended| Resumed::Ended(ended.subject))
    }

    /// Keeps the face of a connection that ended without a goodbye.
    pub fn keep_resumable(&mut self, resume_token: String, subject: Arc<str>, now: Instant) {
        if self.ended.len() >= MAX_RESUMABLE {
            self.ended.pop_front();
        }
        self.ended.push_back(Ended { resume_token, subject, until: now + RESUMABLE_FOR });
    }

    /// Forgets connections that ended long ago, and removes sources that cannot be answered and were silent for `timeout`.
    pub fn expire(&mut self, timeout: Duration, now: Instant) -> Vec<Connection> {
        while self.ended.front().is_some_and(|ended| ended.until <= now) {
            self.ended.pop_front();
        }
        let silent = |connection: &mut Connection| {
            connection.link.is_none()
                && !connection.mesh
                && now.saturating_duration_since(connection.last_seen) >= timeout
        };
        self.by_key.extract_if(|_, connection| silent(connection)).map(|(_, connection)| connection).collect()
    }

    /// Messages refused by the connections of now.
    pub fn refused(&self) -> u64 {
        self.by_key.values().map(|connection| Counters::get(&connection.counters.refused)).sum()
    }
}
