//! The mesh of relays over Zenoh: a task drives [`Mesh`], between the hub and one session of Zenoh.
//!
//! Tokens of presence are Zenoh's liveliness tokens, frames are publications that congestion drops, the newest frame of a face
//! is asked for by a query. Every relay is a router of Zenoh, so that what cannot go one way goes another.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc::SyncSender},
    time::Duration,
};

use facelink::{
    event::SubjectId,
    mesh::{
        Action, Announced, Cause, Mesh, Presence, Received, Refusal, RelayId, frames_key, frames_keys, presence_keys,
    },
    relay::Source,
    source::SourceKind,
    time::Instant,
    wire::sealed,
};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use zenoh::{
    Session, Wait,
    liveliness::LivelinessToken,
    pubsub::{Publisher, Subscriber},
    qos::{CongestionControl, Priority, Reliability},
    query::{ConsolidationMode, Query, Reply},
    sample::{Sample, SampleKind},
};

use crate::{
    clock::{sleep_until, ticks, unix_ms},
    error::LinkError,
    hub::{ConnectionKey, Hub, Origin, Refused, Update, Waiting},
    mesh_config::{MeshAddress, MeshConfig},
};

/// A relay that does not answer within this time is asked again by [`Mesh`].
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often statistics are copied.
const STATS: Duration = Duration::from_millis(250);

/// Zenoh's settings for relays, where a file of the user has not set others.
const DEFAULTS: [(&str, &str); 11] = [
    // Routers find another way around a link that is cut, and never send anything twice.
    ("mode", r#""router""#),
    ("listen/endpoints", "[]"),
    ("scouting/multicast/enabled", "false"),
    ("scouting/delay", "0"),
    // Frames have their own times.
    ("timestamping/enabled", "false"),
    // A link is taken for cut after a second without a word, and tried again four times a second at first.
    ("transport/link/tx/lease", "1000"),
    ("connect/retry", r#"{ "period_init_ms": 250, "period_max_ms": 2000, "period_increase_factor": 2 }"#),
    // A peer that does not answer, such as a firewall in between.
    ("transport/unicast/open_timeout", "3000"),
    ("transport/unicast/accept_timeout", "3000"),
    // What others may have this side put together from parts.
    ("transport/link/rx/max_message_size", "1048576"),
    ("queries_default_timeout", "1000"),
];

fn error(field: impl Into<String>, reason: impl ToString) -> LinkError {
    LinkError::Mesh { field: field.into(), reason: without_places(&reason.to_string()) }
}

/// The same without the places in its own source that Zenoh names, such as ` at src/lib.rs:7.`.
fn without_places(text: &str) -> String {
    let mut parts = text.split(" at ");
    let mut words = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(".rs:") {
            Some((_, rest)) => words.push_str(rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')),
            None => words.extend([" at ", part]),
        }
    }
    words
}

/// Zenoh's configuration.
///
/// # Errors
/// [`LinkError::Mesh`], which names the field.
pub(crate) fn config(mesh: &MeshConfig) -> Result<zenoh::Config, LinkError> {
    let defaults = zenoh::Config::default();
    let mut config = match &mesh.config {
        Some(path) => {
            zenoh::Config::from_file(path).map_err(|reason| error("config", format!("{}: {reason}", path.display())))?
        }
        None => zenoh::Config::default(),
    };
    for (key, value) in DEFAULTS {
        if config.get_json(key).ok() == defaults.get_json(key).ok() {
            config.insert_json5(key, value).map_err(|reason| error("config", format!("{key}: {reason}")))?;
        }
    }
    let mut insert =
        |field: &str, key: &str, value: String| config.insert_json5(key, &value).map_err(|reason| error(field, reason));
    for (field, addresses) in [("connect", &mesh.connect), ("listen", &mesh.listen)] {
        if !addresses.is_empty() {
            let addresses: Vec<_> = addresses.iter().map(MeshAddress::to_string).collect();
            let addresses = serde_json::to_string(&addresses).map_err(|reason| error(field, reason))?;
            insert(field, &format!("{field}/endpoints"), addresses)?;
        }
    }
    if mesh.scouting {
        insert("scouting", "scouting/multicast/enabled", "true".to_owned())?;
        insert("scouting", "scouting/multicast/autoconnect", r#"["router", "peer"]"#.to_owned())?;
    }
    Ok(config)
}

/// A face of another relay, as it is watched.
struct Watched {
    face: Announced,
    /// The connection of the hub that stands for it.
    key: ConnectionKey,
    /// Locked while one of its frames is taken; `false` from the moment at which it is let go.
    open: Mutex<bool>,
}

/// What the task and Zenoh's callbacks share.
struct Shared {
    hub: Arc<Hub>,
    /// Held for one frame, one token or one action; while it chooses faces, the hub's table is locked within it.
    mesh: Mutex<Mesh>,
    wake: Notify,
}

impl Shared {
    /// A token of presence is there, or has gone.
    fn on_presence(&self, sample: &Sample) {
        let (key, now) = (sample.key_expr().as_str(), Instant::now());
        let mut mesh = self.mesh.lock();
        match sample.kind() {
            SampleKind::Put => {
                if let Err(refusal) = mesh.appeared(key, now) {
                    tracing::debug!(key, %refusal, "presence");
                }
            }
            SampleKind::Delete => mesh.vanished(key, now),
        }
        drop(mesh);
        self.wake.notify_one();
    }

    /// Another relay asks for the newest frame of a face.
    fn on_query(&self, query: &Query) {
        let newest = self.mesh.lock().newest(query.key_expr().as_str());
        if let Some(packet) = newest
            && let Err(error) = query.reply(query.key_expr(), packet.to_vec()).wait()
        {
            tracing::debug!(%error, "no answer");
        }
    }

    /// A frame of a face that is watched.
    fn on_sample(&self, watched: &Watched, sample: &Sample) {
        let open = watched.open.lock();
        if !*open || sample.kind() != SampleKind::Put {
            return;
        }
        let (bytes, now) = (sample.payload().to_bytes(), Instant::now());
        let Watched { face, key, .. } = watched;
        let received = self.mesh.lock().receive(face.relay, &face.subject, &bytes, now);
        let update = Update { exact: true, ..Update::new(*key, SourceKind::Mesh, &face.subject) };
        let taken = match received {
            Ok(Received::Face(_)) if self.hub.sealing.has_key() => {
                self.hub.sealing.count_not_sealed();
                self.mesh.lock().refuse(Refusal::NotSealed);
                return;
            }
            Ok(Received::Face(frame)) => {
                let unix_ms = frame.capture_time.map(|time| time.as_secs_f64() * 1000.0);
                self.hub.ingest(&Update { frame: Some(&frame), unix_ms, ..update }, now).map(drop)
            }
            Ok(Received::Sealed(packet)) => self.on_sealed(update, &packet, now),
            Err(_) => return,
        };
        match taken {
            Err(Refused::TooManySubjects) => self.mesh.lock().refuse(Refusal::TooMany),
            Err(Refused::Contested) => self.mesh.lock().refuse(Refusal::Contested),
            Ok(()) | Err(Refused::Standby | Refused::Stale | Refused::Disconnected) => {}
        }
    }

    /// A sealed packet is opened where there is a key, and passed on as it is where there is none.
    fn on_sealed(&self, update: Update<'_>, packet: &sealed::Packet<'_>, now: Instant) -> Result<(), Refused> {
        #[cfg(feature = "seal")]
        if self.hub.sealing.has_key() {
            use facelink::seal::Opened;

            let mut taken = Ok(());
            let opened = self.hub.sealing.open(packet.bytes, now, |opened, _| {
                let Opened::Face { face, left_out, .. } = opened else { return };
                let unix_ms = face.frame.capture_time.map(|time| time.as_secs_f64() * 1000.0);
                let frame = Some(&face.frame);
                let update = Update {
                    frame,
                    unix_ms,
                    left_out,
                    repeated: face.repeated,
                    exact: true,
                    ..Update::new(update.key, update.kind, face.subject)
                };
                taken = self.hub.ingest(&update, now).map(drop);
            });
            if let Err(error) = opened {
                tracing::debug!(error, "not opened");
            }
            return taken;
        }
        self.hub.publish_sealed(&update, packet, now)
    }
}

/// What is declared on the session, for as long as it is kept here.
struct Task {
    shared: Arc<Shared>,
    session: Session,
    publishers: HashMap<Arc<str>, Publisher<'static>>,
    tokens: HashMap<String, LivelinessToken>,
    watched: HashMap<Arc<str>, (Arc<Watched>, Subscriber<()>)>,
    watch_all: bool,
}

/// Opens the session, reports by `opened` how that went, and runs until it is cancelled.
pub(crate) async fn run(
    mesh: MeshConfig,
    config: zenoh::Config,
    hub: Arc<Hub>,
    cancel: CancellationToken,
    opened: SyncSender<Result<(), LinkError>>,
) {
    let task = match Task::open(&mesh, config, hub) {
        Ok(task) => task,
        Err(error) => return drop(opened.send(Err(error))),
    };
    let _ = opened.send(Ok(()));
    task.run(cancel).await;
}

impl Task {
    fn open(mesh: &MeshConfig, config: zenoh::Config, hub: Arc<Hub>) -> Result<Self, LinkError> {
        // What else Zenoh refuses, such as a port that is taken.
        let failed = |reason: zenoh::Error| error(if mesh.listen.is_empty() { "config" } else { "listen" }, reason);
        let session = zenoh::open(config).wait().map_err(failed)?;
        let id = session.zid().to_string().parse::<RelayId>().map_err(|reason| error("config", reason))?;
        let shared = Arc::new(Shared { hub, mesh: Mutex::new(Mesh::new(id, mesh.settings)), wake: Notify::new() });
        let watch_all = mesh.watch_all;
        let (publishers, tokens, watched) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut task = Self { shared, session, publishers, tokens, watched, watch_all };
        task.declare(id).map_err(failed)?;
        tracing::info!(%id, "one relay of a mesh");
        Ok(task)
    }

    fn declare(&mut self, id: RelayId) -> zenoh::Result<()> {
        let shared = self.shared.clone();
        let queries = self.session.declare_queryable(frames_keys(id)).complete(true);
        queries.callback(move |query| shared.on_query(&query)).background().wait()?;
        self.announce(&Presence::Relay(id));
        let (shared, liveliness) = (self.shared.clone(), self.session.liveliness());
        let presence = liveliness.declare_subscriber(presence_keys()).history(true);
        presence.callback(move |sample| shared.on_presence(&sample)).background().wait()
    }

    fn announce(&mut self, presence: &Presence) {
        let key = presence.to_string();
        match self.session.liveliness().declare_token(key.clone()).wait() {
            Ok(token) => drop(self.tokens.insert(key, token)),
            Err(error) => tracing::warn!(%error, key, "not announced"),
        }
    }

    async fn run(mut self, cancel: CancellationToken) {
        let (shared, mut ticks) = (self.shared.clone(), ticks(STATS));
        loop {
            let due = shared.mesh.lock().timeout();
            tokio::select! {
                () = cancel.cancelled() => break,
                () = shared.hub.queues.viewers.mesh.ready() => {}
                () = shared.wake.notified() => {}
                () = sleep_until(due) => {}
                _ = ticks.tick() => self.copy_stats().await,
            }
            self.publish();
            self.act();
        }
        // Others need not wait for it to come back.
        let id = shared.mesh.lock().id();
        self.announce(&Presence::Leaving(id));
        if let Err(error) = self.session.close().await {
            tracing::debug!(%error, "mesh closed");
        }
    }

    async fn copy_stats(&self) {
        let links = self.session.info().transports().await.count();
        let mut stats = self.shared.mesh.lock().stats();
        stats.links = links;
        *self.shared.hub.mesh.lock() = Some(stats);
    }

    /// Publishes what waits.
    fn publish(&mut self) {
        let out = self.shared.hub.queues.viewers.mesh.take();
        {
            let mut mesh = self.shared.mesh.lock();
            mesh.dropped(out.dropped);
            if out.all_lost {
                mesh.lose_all();
            }
            if out.viewers {
                mesh.reconsider();
            }
        }
        for (id, waiting) in out.faces {
            let now = Instant::now();
            let unix = Duration::try_from_secs_f64(unix_ms() / 1000.0).unwrap_or_default();
            match waiting {
                Waiting::Face(frame, from, captured) => {
                    let captured = unix.saturating_sub(now.saturating_duration_since(captured));
                    let source = source(id, &frame.name, &from);
                    let packet = self.shared.mesh.lock().publish(&source, &frame.frame, captured, (unix, now));
                    self.put(packet);
                }
                Waiting::Sealed(name, from, packets) => {
                    for bytes in packets {
                        let source = source(id, &name, &from);
                        let packet = self.shared.mesh.lock().publish_sealed(&source, &bytes, (unix, now));
                        self.put(packet);
                    }
                }
                Waiting::Lost => self.shared.mesh.lock().lose(id),
            }
        }
    }

    fn put(&mut self, packet: Option<(Arc<str>, Arc<[u8]>)>) {
        let Some((key, packet)) = packet else { return };
        if !self.publishers.contains_key(&key) {
            let publisher = self.session.declare_publisher(key.to_string());
            let publisher = publisher
                .congestion_control(CongestionControl::Drop)
                .reliability(Reliability::BestEffort)
                .priority(Priority::RealTime);
            match publisher.wait() {
                Ok(publisher) => drop(self.publishers.insert(key.clone(), publisher)),
                Err(error) => return tracing::warn!(%error, key = &*key, "not published"),
            }
        }
        if let Some(publisher) = self.publishers.get(&key)
            && let Err(error) = publisher.put(packet.to_vec()).wait()
        {
            tracing::debug!(%error, "a frame is not published");
        }
    }

    /// Does what is to be done. Nothing is locked meanwhile: Zenoh may call back at once.
    fn act(&mut self) {
        loop {
            let action = {
                let hub = &self.shared.hub;
                let wants = |name: &str, room: Option<&Arc<str>>| {
                    self.watch_all || hub.queues.viewers.wants(hub.subjects().rules().name_of(name), room)
                };
                self.shared.mesh.lock().poll(Instant::now(), wants)
            };
            match action {
                Some(Action::Announce(face)) => self.announce(&Presence::Face(face)),
                Some(Action::Withdraw(face)) => self.withdraw(face),
                Some(Action::Repeat { key, packet }) => self.put(Some((key, packet))),
                Some(Action::Watch(face)) => self.watch(face),
                Some(Action::Ask(face)) => self.ask(&face),
                Some(Action::Unwatch { face, cause }) => self.unwatch(&face, cause),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn withdraw(&mut self, face: Announced) {
        let key = frames_key(face.relay, &face.subject);
        self.tokens.remove(&Presence::Face(face).to_string());
        // Announced again under this name: it is made again with the next frame.
        self.publishers.remove(&*key);
    }

    fn watch(&mut self, face: Announced) {
        let id = format!("{}/{}", face.relay, face.subject).into();
        let Some(key) = self.shared.hub.connect_mesh(id, face.room.clone(), Instant::now()) else {
            return tracing::warn!(relay = %face.relay, subject = &*face.subject, "watched already");
        };
        tracing::debug!(relay = %face.relay, subject = &*face.subject, "watched");
        let (subject, frames) = (face.subject.clone(), frames_key(face.relay, &face.subject));
        let watched = Arc::new(Watched { face, key, open: Mutex::new(true) });
        let (shared, of) = (self.shared.clone(), watched.clone());
        let subscriber = self.session.declare_subscriber(frames);
        match subscriber.callback(move |sample| shared.on_sample(&of, &sample)).wait() {
            Ok(subscriber) => drop(self.watched.insert(subject, (watched, subscriber))),
            Err(error) => {
                tracing::warn!(%error, subject = &*subject, "not watched");
                self.shared.hub.disconnect(key, "not watched", true, Instant::now());
            }
        }
    }

    fn ask(&self, face: &Announced) {
        let Some((watched, _)) = self.watched.get(&face.subject).filter(|(watched, _)| watched.face == *face) else {
            return;
        };
        let (shared, of) = (self.shared.clone(), watched.clone());
        let get = self.session.get(frames_key(face.relay, &face.subject)).consolidation(ConsolidationMode::None);
        let get = get.congestion_control(CongestionControl::Drop).timeout(ASK_TIMEOUT);
        let asked = get.callback(move |reply: Reply| {
            if let Ok(sample) = reply.result() {
                shared.on_sample(&of, sample);
            }
        });
        if let Err(error) = asked.wait() {
            tracing::debug!(%error, subject = &*face.subject, "not asked for");
        }
    }

    fn unwatch(&mut self, face: &Announced, cause: Cause) {
        let Some((watched, subscriber)) = self.watched.remove(&face.subject) else { return };
        tracing::debug!(relay = %face.relay, subject = &*face.subject, ?cause, "not watched any more");
        *watched.open.lock() = false;
        if let Err(error) = subscriber.undeclare().wait() {
            tracing::debug!(%error, "undeclared");
        }
        self.shared.hub.disconnect(watched.key, "not watched any more", true, Instant::now());
    }
}

fn source<'a>(id: SubjectId, name: &'a Arc<str>, from: &'a Origin) -> Source<'a> {
    Source { id, name, publisher: from.key, room: from.room.as_ref() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_errors_name_no_place_in_the_source_of_zenoh() {
        for (text, words) in [
            ("no such file at /a/zenoh-config-1.10.2/src/lib.rs:1507.", "no such file"),
            ("bind failed at /a/b.rs:7. - Caused by in use at C:\\c.rs:12.", "bind failed - Caused by in use"),
            ("nothing at home", "nothing at home"),
        ] {
            assert_eq!(without_places(text), words);
        }
    }
}
