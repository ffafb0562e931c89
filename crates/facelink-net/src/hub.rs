//! Where all connections meet: the tables of connections and subjects, and the queues to the engine and to subscribers.
//!
//! The hub does not know what serves a connection: sessions implement [`Link`].

mod connections;
#[cfg(feature = "zenoh")]
mod outlet;
mod queues;
mod rate;
mod relay;
mod subject;
mod subjects;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use facelink::{
    connection::CLOSE_UNAUTHORISED,
    event::{Emotion, LinkEvent, LostReason, SubjectFrame, SubjectId},
    frame::FaceFrame,
    gesture::{GestureEvent, GestureRecognizer},
    mesh::MeshStats,
    source::SourceKind,
    subject::{GOODBYE_GRACE, SubjectError, SubjectRules},
    time::Instant,
    timing::micros,
    wire::{
        message::{IceServer, Peer, ServerMessage},
        sealed,
    },
};
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

pub(crate) use connections::{Connection, ConnectionKey, Counters, Link, Origin, Resumed, Role, RoomError};
#[cfg(feature = "zenoh")]
pub(crate) use outlet::Waiting;
#[cfg(feature = "phones")]
pub(crate) use queues::Published;
pub(crate) use queues::{FaceTimecode, Queues};
pub(crate) use subject::Update;
pub(crate) use subjects::{Refused, Subjects};

use self::{
    connections::{ConnectionLimits, Connections, RoomPeers},
    subject::{Gestures, Ingested, Requests},
    subjects::{Claim, SubjectLimits},
};
use crate::{
    auth::{AuthLevel, Authentication, Grant},
    config::EndpointConfig,
    ice::{IceConfig, PeerConfig},
    roles::{TokenId, TokenStatus},
    seal::Sealing,
    stats::{ConnectionStats, EndpointStats, ObsStatus, TimecodeStatus},
};

#[derive(Debug)]
struct Table {
    connections: Connections,
    subjects: Subjects,
    /// Connection by which our own faces go out.
    local: Option<ConnectionKey>,
}

#[derive(Debug)]
pub(crate) struct Hub {
    pub config: EndpointConfig,
    pub started: Instant,
    /// OBS, as its task sees it.
    pub obs: Mutex<Option<ObsStatus>>,
    /// The mesh, as its task sees it.
    pub mesh: Mutex<Option<MeshStats>>,
    pub auth: Authentication,
    pub queues: Queues,
    /// Refused before there was a connection: bad datagrams, wrong tokens, forbidden origins.
    pub refused: AtomicU64,
    pub ignored: AtomicU64,
    /// The key of this endpoint, and of clients without one of their own.
    pub sealing: Arc<Sealing>,
    ice_servers: Mutex<Vec<IceServer>>,
    table: Mutex<Table>,
}

fn send_to_room(peers: &[Connection], message: &ServerMessage<'_>) {
    let message = message.to_json();
    for link in peers.iter().filter_map(|peer| peer.link.as_ref()) {
        link.send_signal(message.clone());
    }
}

impl Hub {
    pub fn new(config: EndpointConfig, now: Instant) -> Self {
        let connections = Connections::new(ConnectionLimits {
            max_connections: config.max_connections,
            max_open_sources: config.max_open_sources,
            max_connections_per_address: config.max_connections_per_address,
            max_room_peers: if config.signalling { config.max_room_peers } else { 0 },
        });
        let limits = SubjectLimits {
            max_subjects: config.max_subjects,
            max_open_subjects: config.max_open_sources,
            max_subjects_per_connection: config.max_subjects_per_connection,
        };
        let subjects = Subjects::new(limits, config.subjects.clone(), config.adaptive_fps, now);
        #[cfg(feature = "seal")]
        let sealing = Arc::new(Sealing::new(config.key.clone()));
        #[cfg(not(feature = "seal"))]
        let sealing = Arc::<Sealing>::default();
        let faces = config.max_subjects.saturating_add(config.max_open_sources);
        let queues = Queues::new(faces, config.relay, sealing.clone(), now);
        #[cfg(feature = "zenoh")]
        queues.viewers.mesh.set_on(config.mesh.is_some());
        Self {
            ice_servers: Mutex::new(config.ice_config().servers),
            auth: Authentication::new(&config, now),
            sealing,
            config,
            started: now,
            obs: Mutex::default(),
            mesh: Mutex::default(),
            queues,
            refused: AtomicU64::new(0),
            ignored: AtomicU64::new(0),
            table: Mutex::new(Table { connections, subjects, local: None }),
        }
    }

    /// The table of connections. Held for a statement at a time.
    pub fn connections(&self) -> MappedMutexGuard<'_, Connections> {
        MutexGuard::map(self.table.lock(), |table| &mut table.connections)
    }

    /// The table of subjects. Held for a statement at a time.
    pub fn subjects(&self) -> MappedMutexGuard<'_, Subjects> {
        MutexGuard::map(self.table.lock(), |table| &mut table.subjects)
    }

    /// Adds a connection unless there are too many, and reports it to the engine.
    pub fn connect(
        &self,
        kind: SourceKind,
        id: Arc<str>,
        address: Option<SocketAddr>,
        counters: Arc<Counters>,
        grant: impl Into<Grant>,
        now: Instant,
    ) -> Option<ConnectionKey> {
        let grant = grant.into();
        if grant.level == AuthLevel::Open && self.queues.is_crowded() {
            return None;
        }
        let connection = Connection { address, ..Connection::new(id.clone(), kind, counters, grant, now) };
        let key = self.connections().add(connection)?;
        self.queues.event(LinkEvent::Connected { connection_id: id, source: kind, address });
        Some(key)
    }

    /// The same for one that this side made: no event.
    pub fn connect_quietly(
        &self,
        kind: SourceKind,
        id: Arc<str>,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Option<ConnectionKey> {
        let grant = AuthLevel::Exempt.into();
        self.connections().add(Connection { announced: false, ..Connection::new(id, kind, counters, grant, now) })
    }

    /// The same for one face of another relay, which is in this room there.
    #[cfg(feature = "zenoh")]
    pub fn connect_mesh(&self, id: Arc<str>, room: Option<Arc<str>>, now: Instant) -> Option<ConnectionKey> {
        let connection = Connection::new(id, SourceKind::Mesh, Arc::default(), AuthLevel::Exempt.into(), now);
        self.connections().add(Connection { mesh: true, announced: false, room, ..connection })
    }

    /// Adds a connection that still has to show the token: until [`admit`](Self::admit) it takes no room, and the engine
    /// hears nothing of it. Its socket is one of the pending ones.
    pub fn connect_pending(
        &self,
        kind: SourceKind,
        id: Arc<str>,
        address: SocketAddr,
        counters: Arc<Counters>,
        now: Instant,
    ) -> Option<ConnectionKey> {
        let connection = Connection {
            address: Some(address),
            level: None,
            announced: false,
            ..Connection::new(id, kind, counters, AuthLevel::Open.into(), now)
        };
        self.connections().add(connection)
    }

    /// Lets in a connection that has shown the token. `false` when there are too many.
    pub fn admit(&self, key: ConnectionKey, grant: Grant) -> bool {
        let event = {
            let mut connections = self.connections();
            let Some(connection) = connections.admit(key, grant) else { return false };
            connection.announced = true;
            let (source, address) = (connection.kind, connection.address);
            LinkEvent::Connected { connection_id: connection.id.clone(), source, address }
        };
        self.queues.event(event);
        true
    }

    /// Closes the connections of a token with roles, and lets none in by it. `false` when there is none of this id.
    pub fn withdraw_token(&self, id: TokenId, now: Instant) -> bool {
        let known = self.auth.withdraw(id);
        self.close_connections_of(id, "the token was withdrawn", now);
        known
    }

    /// The same for tokens that have expired. Called about twenty times a second.
    pub fn expire_tokens(&self, now: Instant) {
        for id in self.auth.expire(now) {
            self.close_connections_of(id, "the token has expired", now);
        }
    }

    fn close_connections_of(&self, id: TokenId, reason: &'static str, now: Instant) {
        let of_token: Vec<_> = {
            let connections = self.connections();
            let of_token = connections.iter().filter(|(_, connection)| connection.token == Some(id));
            of_token.map(|(key, connection)| (key, connection.link.clone())).collect()
        };
        for (key, link) in of_token {
            if let Some(link) = link {
                link.close(CLOSE_UNAUTHORISED, reason);
            }
            self.disconnect(key, reason, true, now);
        }
    }

    /// The tokens with roles, and how many connections each has.
    pub fn tokens(&self, now: Instant) -> Vec<TokenStatus> {
        let shown: Vec<TokenId> = self.connections().iter().filter_map(|(_, connection)| connection.token).collect();
        self.auth.tokens(|id| shown.iter().filter(|shown| **shown == id).count(), now)
    }

    /// The client of a connection has come back from another address.
    pub fn set_address(&self, key: ConnectionKey, address: Option<SocketAddr>) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if let Some(connection) = table.connections.get_mut(key) {
            connection.address = address.or(connection.address);
            for subject in table.subjects.of_mut(key) {
                subject.address = connection.address;
            }
        }
    }

    /// Changes the STUN and TURN servers, for open connections too.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        *self.ice_servers.lock() = servers;
        let own = self.peer_config().ice.current().own;
        for link in self.links() {
            link.set_ice_servers(&own);
        }
    }

    /// How WebRTC connections are made now.
    pub fn peer_config(&self) -> PeerConfig {
        let ice = IceConfig { servers: self.ice_servers.lock().clone(), ..self.config.ice_config() };
        // `::` stands for the addresses of both families.
        let second = self.config.second(SocketAddr::new(self.config.bind, 0)).map(|second| second.ip());
        PeerConfig { bind: second.filter(IpAddr::is_unspecified).unwrap_or(self.config.bind), ice }
    }

    /// Puts a connection into a room, and returns the ids of the peers that are in it already.
    pub fn join(&self, key: ConnectionKey, room: &str) -> Result<Vec<Arc<str>>, RoomError> {
        self.leave(key);
        let joined = self.connections().join(key, room)?;
        self.queues.viewers.set_room(key, Some(room.into()));
        let Some(RoomPeers { id, peers }) = joined else { return Ok(Vec::new()) };
        send_to_room(&peers, &ServerMessage::PeerJoined(Peer { peer: (&*id).into() }));
        Ok(peers.into_iter().map(|peer| peer.id).collect())
    }

    /// Takes a connection out of its room.
    pub fn leave(&self, key: ConnectionKey) {
        let left = self.connections().leave(key);
        self.queues.viewers.set_room(key, None);
        if let Some(RoomPeers { id, peers }) = left {
            send_to_room(&peers, &ServerMessage::PeerLeft(Peer { peer: (&*id).into() }));
        }
    }

    /// A connection has ended. `goodbye` if its client said so: otherwise it may come back, and its face waits for it.
    pub fn disconnect(&self, key: ConnectionKey, reason: &str, goodbye: bool, now: Instant) {
        self.leave(key);
        self.queues.viewers.leave(key);
        let removed = {
            let mut guard = self.table.lock();
            let table = &mut *guard;
            let grace = if goodbye { GOODBYE_GRACE } else { self.config.reconnect_grace.max(GOODBYE_GRACE) };
            for subject in table.subjects.of_mut(key) {
                subject.lose_owner(grace, now);
            }
            let removed = table.connections.remove(key);
            if let Some(link) = removed.as_ref().filter(|_| !goodbye).and_then(|removed| removed.link.as_ref())
                && let Some(subject) = link.subject()
            {
                table.connections.keep_resumable(link.resume_token().to_owned(), subject, now);
            }
            removed
        };
        if let Some(connection) = removed {
            if let Some(link) = &connection.link {
                link.end();
            }
            self.report_ended(connection, reason);
        }
    }

    fn report_ended(&self, connection: Connection, reason: &str) {
        Counters::add(&self.refused, Counters::get(&connection.counters.refused));
        if connection.announced {
            let reason = reason.to_owned();
            self.queues.event(LinkEvent::Disconnected { connection_id: connection.id, reason });
        }
    }

    /// The connection sends a subject no longer, having taken another name.
    pub fn release(&self, key: ConnectionKey, source_name: &str, now: Instant) {
        let mut subjects = self.subjects();
        if let Some(subject) = subjects.of_mut(key).find(|subject| *subject.source_name == *source_name) {
            subject.lose_owner(GOODBYE_GRACE, now);
        }
    }

    /// The name by which the connection sends a subject, of those that `is_it` accepts.
    pub fn source_name_of(&self, key: ConnectionKey, is_it: impl Fn(&str) -> bool) -> Option<Arc<str>> {
        self.subjects().of(key).map(|subject| &subject.source_name).find(|name| is_it(name)).cloned()
    }

    /// The smallest `face-n` that no subject bears.
    pub fn free_name(&self) -> Arc<str> {
        let table = self.table.lock();
        let links = table.connections.iter().filter_map(|(_, connection)| connection.link.as_ref());
        let taken: Vec<_> = links.filter_map(|link| link.subject()).collect();
        let bears = |subject: &subject::Subject, name: &str| *subject.name == *name || *subject.source_name == *name;
        let is_free = |name: &str| {
            !table.subjects.iter().any(|subject| bears(subject, name)) && !taken.iter().any(|taken| **taken == *name)
        };
        let mut names = (1_u32..).map(|n| format!("face-{n}"));
        names.find(|name| is_free(name)).map_or_else(|| "face".into(), Into::into)
    }

    /// `name`, or `name (2)` and so on while a source that precedes this one bears it: two phones may be called the same.
    #[cfg(feature = "phones")]
    pub fn unique_name(&self, name: &str, key: ConnectionKey) -> Arc<str> {
        let by_level = self.auth.has_token();
        let table = self.table.lock();
        table.subjects.unique_name(name, key, by_level, &table.connections)
    }

    /// Enables or disables a subject: the frames of a disabled one are counted, and go nowhere.
    pub fn enable_subject(&self, name: &str, enabled: bool, now: Instant) -> Result<(), SubjectError> {
        self.change_rules(now, |subjects, rules| {
            subjects.source_of(name)?;
            rules.set_enabled(name, enabled)
        })
    }

    /// Calls a subject by a name that no other has; without one, by that of its source.
    pub fn rename_subject(&self, name: &str, to: Option<&str>, now: Instant) -> Result<(), SubjectError> {
        self.change_rules(now, |subjects, rules| {
            let source = subjects.source_of(name)?;
            match to {
                Some(to) if to != name && (subjects.named(to).is_some() || rules.sources_of(to).next().is_some()) => {
                    Err(SubjectError::Taken(to.to_owned()))
                }
                Some(to) => rules.rename(name, to, source.as_deref()),
                None => rules.restore(name, source.as_deref()),
            }
        })
    }

    /// Calls a subject by a name that another may have.
    pub fn alias_subject(&self, name: &str, to: &str, now: Instant) -> Result<(), SubjectError> {
        self.change_rules(now, |subjects, rules| {
            let source = subjects.source_of(name)?;
            rules.alias(name, to, source.as_deref())
        })
    }

    fn change_rules(
        &self,
        now: Instant,
        change: impl FnOnce(&Subjects, &mut SubjectRules) -> Result<(), SubjectError>,
    ) -> Result<(), SubjectError> {
        let mut subjects = self.subjects();
        let mut rules = subjects.rules().clone();
        change(&subjects, &mut rules)?;
        self.apply_rules(&mut subjects, rules, now);
        Ok(())
    }

    /// Replaces all rules of subjects.
    pub fn set_subject_rules(&self, rules: SubjectRules, now: Instant) {
        self.apply_rules(&mut self.subjects(), rules, now);
    }

    fn apply_rules(&self, subjects: &mut Subjects, rules: SubjectRules, now: Instant) {
        let mut leaving = subjects.set_rules(rules);
        // All leave before one is back: two may have exchanged their names.
        for (subject, reason) in &mut leaving {
            self.report_lost(subject, *reason, now);
        }
        for (subject, _) in leaving {
            subjects.put_back(subject);
        }
        // A face of another relay may be called what a viewer wants.
        self.queues.viewers.note_viewers();
    }

    /// Takes a frame, a viseme or both for a subject, which appears if it is new.
    pub fn ingest(&self, update: &Update<'_>, now: Instant) -> Result<SubjectId, Refused> {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let connection = table.connections.get_mut(update.key).ok_or(Refused::Disconnected)?;
        connection.last_seen = now;
        let from = table.connections.origin_of(update.key);
        let claim = self.claim(table.local);
        let subject = table.subjects.claim(update, &table.connections, claim, now)?;
        // Now the engine can see it too.
        subject.sealed = false;
        let local = subject.local;
        let ingested = subject.ingest(update, now);
        if !subject.enabled {
            return Ok(subject.id);
        }
        // Queued under the lock, so that the engine gets frames of a subject in their order. Nothing here can block.
        match ingested {
            Ingested::Stale | Ingested::Late(None) => Err(Refused::Stale),
            Ingested::Late(Some(frame)) => {
                self.queues.push(frame, from, local);
                Err(Refused::Stale)
            }
            Ingested::Newest(frame) => {
                let id = subject.id;
                if !subject.announced && !local {
                    subject.announced = true;
                    let (name, source, address) = (subject.name.clone(), subject.kind, subject.address);
                    self.queues.event(LinkEvent::SubjectAppeared { id, name, source, address });
                }
                let gestures = subject.recognise(&frame, self.started, now);
                self.queues.push(frame, from, local);
                self.report_gestures(subject, gestures);
                Ok(id)
            }
        }
    }

    /// Takes a sealed packet of a subject, which appears if it is new: viewers are sent it as it is, and the engine nothing.
    pub fn publish_sealed(
        &self,
        update: &Update<'_>,
        packet: &sealed::Packet<'_>,
        now: Instant,
    ) -> Result<(), Refused> {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let connection = table.connections.get_mut(update.key).ok_or(Refused::Disconnected)?;
        connection.last_seen = now;
        let from = table.connections.origin_of(update.key);
        let claim = self.claim(table.local);
        let subject = table.subjects.claim(update, &table.connections, claim, now)?;
        subject.pass_sealed(update.kind, now);
        if subject.enabled {
            self.queues.viewers.publish_sealed((subject.id, &subject.name), &from, packet, now);
        }
        Ok(())
    }

    fn claim(&self, local: Option<ConnectionKey>) -> Claim {
        // Where there is no token, no peer can show it.
        Claim { local, by_level: self.auth.has_token(), crowded: self.queues.is_crowded() }
    }

    /// Takes an emotion for a subject, which appears if it is new, and reports it to the engine.
    pub fn ingest_emotion(&self, update: &Update<'_>, emotion: Emotion, now: Instant) -> Result<(), Refused> {
        let id = self.ingest(update, now)?;
        let shown = self.subjects().get_mut(id).filter(|subject| subject.enabled).map(|subject| subject.name.clone());
        if let Some(name) = shown {
            self.queues.event(LinkEvent::Emotion { id, name, emotion });
        }
        Ok(())
    }

    /// The subjects of others that are shown: the one of this name, or all.
    pub fn live(&self, name: Option<&str>) -> Vec<(SubjectId, Arc<str>)> {
        let subjects = self.subjects();
        let is_meant = |subject: &&subject::Subject| name.is_none_or(|name| *name == *subject.name);
        let readable = subjects.iter().filter(|s| !s.sealed && !s.local && s.enabled).filter(is_meant);
        readable.map(|subject| (subject.id, subject.name.clone())).collect()
    }

    /// Cuts to a subject: what shows no subject of its own shows this one. `false` when there is no such subject.
    pub fn cut_to(&self, name: &str) -> bool {
        let Some((id, name)) = self.live(Some(name)).pop() else { return false };
        self.queues.event(LinkEvent::Cut { id, name });
        true
    }

    /// Recognises gestures by these rules from now on, of every subject.
    pub fn set_gestures(&self, recognizer: Option<GestureRecognizer>, now: Instant) {
        let mut subjects = self.subjects();
        for subject in subjects.iter_mut() {
            let ended = subject.end_gestures(self.started, now);
            self.report_gestures(subject, ended);
        }
        subjects.set_gestures(recognizer);
    }

    /// Gestures that started and ended, for the engine.
    fn report_gestures(&self, subject: &subject::Subject, events: Gestures) {
        for GestureEvent { name: gesture, active, lasted, .. } in events {
            let (id, name) = (subject.id, subject.name.clone());
            self.queues.event(LinkEvent::Gesture { id, name, gesture, active, lasted });
        }
    }

    /// Takes a face of our own: it goes out to subscribers, and is listed with the others.
    pub fn publish(&self, name: &str, frame: &FaceFrame, now: Instant) -> Result<(), Refused> {
        let known = {
            let table = self.table.lock();
            table.local.filter(|key| table.connections.get(*key).is_some())
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
        #[cfg(feature = "zenoh")]
        self.yield_to_own(name, now);
        let update = Update { frame: Some(frame), ..Update::new(key, SourceKind::Game, name) };
        self.ingest(&update, now).map(drop)
    }

    /// A face of another relay leaves for one of our own of this name.
    #[cfg(feature = "zenoh")]
    fn yield_to_own(&self, name: &str, now: Instant) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        let name = table.subjects.rules().name_of(name);
        let others = table.subjects.named(name).filter(|subject| table.connections.is_mesh(subject.owner));
        if let Some(id) = others.map(|subject| subject.id) {
            self.lose(&mut table.subjects, id, LostReason::Disconnected, now);
        }
    }

    /// Periodic work: visemes that end, subjects that leave, rates that change. Called about ten times a second.
    #[cfg(all(test, feature = "phones"))]
    pub fn tick(&self, now: Instant) {
        let subjects = self.subject_ids();
        self.tick_subjects(&subjects, now);
        self.expire_connections(now);
    }

    /// For the same in parts: [`tick_subjects`](Self::tick_subjects) a few at a time, so that frames need not wait, and
    /// [`expire_connections`](Self::expire_connections) last.
    pub fn subject_ids(&self) -> Vec<SubjectId> {
        self.subjects().iter().map(|subject| subject.id).collect()
    }

    /// Sources that cannot be answered and have fallen silent end.
    pub fn expire_connections(&self, now: Instant) {
        let expired = self.connections().expire(self.config.subject_timeout, now);
        for connection in expired {
            self.report_ended(connection, "silent");
        }
    }

    /// The other side of every connection that can be answered.
    pub fn links(&self) -> Vec<Arc<dyn Link>> {
        self.connections().iter().filter_map(|(_, connection)| connection.link.clone()).collect()
    }

    /// Periodic work of some subjects.
    pub fn tick_subjects(&self, subjects: &[SubjectId], now: Instant) {
        let requests = {
            let mut guard = self.table.lock();
            let table = &mut *guard;
            let (now_us, adaptive) = (micros(now, self.started), table.subjects.adaptive());
            let mut requests = Vec::new();
            for id in subjects {
                let Some(subject) = table.subjects.get_mut(*id) else { continue };
                let owner = table.connections.get(subject.owner);
                if subject.state.expire_viseme(now) && subject.enabled {
                    let from = table.connections.origin_of(subject.owner);
                    self.queues.push(subject.frame(), from, subject.local);
                }
                let gestures = subject.tick_gestures(self.started, now);
                self.report_gestures(subject, gestures);
                if let Some(reason) = self.lost(subject, owner, now) {
                    self.lose(&mut table.subjects, *id, reason, now);
                    continue;
                }
                let request = subject.tick(owner, adaptive, now_us, now);
                if !request.is_empty() {
                    let link = owner.and_then(|owner| owner.link.clone());
                    requests.extend(link.map(|link| (link, subject.source_name.clone(), request)));
                }
            }
            requests
        };
        for (link, subject, Requests { rate, report }) in requests {
            if let Some(fps) = rate {
                link.request_rate(&subject, fps);
            }
            if let Some(report) = report {
                link.send_report(report);
            }
        }
    }

    /// Why a subject leaves now, if it does.
    fn lost(&self, subject: &subject::Subject, owner: Option<&Connection>, now: Instant) -> Option<LostReason> {
        // A source that cannot be answered has no end of its own, unless another relay reports it. It may have expired a
        // moment ago.
        let unanswerable = || owner.is_none_or(|connection| connection.link.is_none() && !connection.mesh);
        match subject.owner_gone {
            Some(_) => subject.is_expired(now).then_some(LostReason::Disconnected),
            None if subject.is_silent_for(self.config.subject_timeout, now) && unanswerable() => {
                Some(LostReason::Silent)
            }
            None => None,
        }
    }

    fn lose(&self, subjects: &mut Subjects, id: SubjectId, reason: LostReason, now: Instant) {
        if let Some(mut subject) = subjects.remove(id) {
            self.report_lost(&mut subject, reason, now);
        }
    }

    /// A subject is lost to the engine and to subscribers, as far as they know of it.
    fn report_lost(&self, subject: &mut subject::Subject, reason: LostReason, now: Instant) {
        let ended = subject.end_gestures(self.started, now);
        self.report_gestures(subject, ended);
        if subject.enabled {
            self.queues.publish_lost(subject.id, &subject.name);
        }
        if std::mem::take(&mut subject.announced) {
            self.queues.event(LinkEvent::SubjectLost { id: subject.id, name: subject.name.clone(), reason });
        }
    }

    /// Every live subject's newest frame and the connection that sends it.
    pub fn newest(&self) -> Vec<(SubjectFrame, Origin)> {
        let table = self.table.lock();
        let shown = table.subjects.iter().filter(|subject| !subject.sealed && subject.enabled);
        shown.map(|subject| (subject.frame(), table.connections.origin_of(subject.owner))).collect()
    }

    /// Every live subject's newest frame and statistics, by name, disabled ones among them.
    #[cfg(any(feature = "http", feature = "phones"))]
    pub fn faces(&self, now: Instant) -> Vec<(SubjectFrame, crate::stats::SubjectStats)> {
        let mut faces: Vec<_> =
            self.subjects().iter().filter(|s| !s.sealed).map(|s| (s.frame(), s.stats(now))).collect();
        faces.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        faces
    }

    pub fn stats(&self, now: Instant) -> EndpointStats {
        let table = self.table.lock();
        let readable = table.subjects.iter().filter(|subject| !subject.sealed);
        let mut subjects: Vec<_> = readable.map(|subject| subject.stats(now)).collect();
        let (connections, refused) = (table.connections.len(), table.connections.refused());
        drop(table);
        subjects.sort_by(|a, b| a.name.cmp(&b.name));
        EndpointStats {
            connections,
            refused: refused + self.refused.load(Ordering::Relaxed),
            ignored: self.ignored.load(Ordering::Relaxed),
            overrun: self.queues.overrun(),
            sealed: self.sealing.stats(),
            relay: self.queues.viewers.stats(),
            obs: self.obs.lock().clone(),
            mesh: self.mesh.lock().clone(),
            timecode: self.queues.timecode().map(|timecode| TimecodeStatus {
                timecode: timecode.base.timecode(now).to_string(),
                rate: timecode.base.rate,
                all: timecode.all,
            }),
            subjects,
        }
    }

    /// Statistics of every connection, oldest first, each with those of the subject that it sent last.
    pub fn connection_stats(&self, now: Instant) -> Vec<ConnectionStats> {
        let table = self.table.lock();
        let mut connections: Vec<_> =
            table.connections.iter().filter(|(_, connection)| connection.is_admitted()).collect();
        connections.sort_unstable_by_key(|(key, _)| *key);
        let stats = connections.into_iter().map(|(key, connection)| {
            let viewing = self.queues.viewers.stats_of(key);
            ConnectionStats { viewing, ..connection.stats(table.subjects.newest_stats_of(key, now)) }
        });
        stats.collect()
    }

    /// Says goodbye to all subjects.
    pub fn stop(&self) {
        let (connections, subjects) = {
            let mut table = self.table.lock();
            (table.connections.take_all(), table.subjects.take_all())
        };
        for connection in connections {
            if let Some(link) = &connection.link {
                link.end();
            }
            self.report_ended(connection, "the endpoint stopped");
        }
        for subject in subjects.filter(|subject| subject.announced) {
            let reason = LostReason::Stopped;
            self.queues.event(LinkEvent::SubjectLost { id: subject.id, name: subject.name, reason });
        }
    }
}

#[cfg(test)]
mod tests;
