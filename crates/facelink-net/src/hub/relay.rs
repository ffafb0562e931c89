//! Frames outwards: what the relay sends to the connections that subscribed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use facelink::{
    event::{SubjectFrame, SubjectId},
    frame::FaceFrame,
    relay::{Output, Relay, RelaySettings, RelayStats, Source, SubscribeError, Subscription, ViewerStats},
    time::Instant,
    timing::LinkReport,
    wire::{
        message::{ServerMessage, SubjectLost},
        sealed,
    },
};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connections::{ConnectionKey, Link, Origin};
#[cfg(feature = "zenoh")]
use super::outlet::Outlet;
use crate::{
    clock::{sleep_exactly_until, unix_ms},
    outbox::Outgoing,
    seal::{FrameSealer, Sealing},
};

/// Faces whose newest frame waits to be sealed.
const MAX_UNSEALED: usize = 4096;

#[derive(Debug, Default)]
struct State {
    relay: Relay,
    links: HashMap<ConnectionKey, Arc<dyn Link>>,
    /// The newest frame of each face that has to be sealed before it leaves.
    unsealed: BTreeMap<SubjectId, (SubjectFrame, Origin)>,
    /// When the driver wakes by itself.
    wakes: Option<Instant>,
}

/// The relay of an endpoint, and the links of its viewers. Its lock is held for one frame, one subscription, or the packets that
/// are due at a time; under it, links are asked whether they are ready, and nothing else.
#[derive(Debug)]
pub(crate) struct Viewers {
    /// Without viewers, frames are not even looked at.
    idle: AtomicBool,
    state: Mutex<State>,
    wake: Notify,
    sealing: Arc<Sealing>,
    /// Other relays.
    #[cfg(feature = "zenoh")]
    pub mesh: Outlet,
}

/// What seals the faces of an endpoint that has a key.
#[derive(Debug, Default)]
struct Seal {
    sealer: FrameSealer,
    /// What stands for each face, by the present key.
    names: HashMap<SubjectId, Arc<str>>,
    changes: u64,
}

impl Viewers {
    pub fn new(settings: RelaySettings, sealing: Arc<Sealing>) -> Self {
        let state = State { relay: Relay::new(settings), ..State::default() };
        Self {
            idle: AtomicBool::new(true),
            state: Mutex::new(state),
            wake: Notify::new(),
            sealing,
            #[cfg(feature = "zenoh")]
            mesh: Outlet::default(),
        }
    }

    /// Does something to the relay, and wakes what sends if that has to be earlier than it would.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let done = act(&mut state);
        self.idle.store(state.relay.is_idle(), Ordering::Relaxed);
        let due = state.relay.timeout();
        let earlier = due.is_some_and(|due| state.wakes.is_none_or(|wakes| due < wakes));
        drop(state);
        if earlier {
            self.wake.notify_one();
        }
        done
    }

    /// Whether frames are wanted.
    pub fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Relaxed)
    }

    /// Whether a viewer is to be sent a face of this name and room.
    #[cfg(feature = "zenoh")]
    pub fn wants(&self, name: &str, room: Option<&Arc<str>>) -> bool {
        !self.is_idle() && self.state.lock().relay.wants(name, room)
    }

    /// Whether frames go nowhere, neither to viewers nor to other relays.
    fn is_unheard(&self) -> bool {
        #[cfg(feature = "zenoh")]
        if self.mesh.is_on() {
            return false;
        }
        self.is_idle()
    }

    /// What viewers want may have changed.
    pub fn note_viewers(&self) {
        #[cfg(feature = "zenoh")]
        self.mesh.note_viewers();
    }

    /// Takes a frame. Subscribers show the newest: a late one is none for them.
    pub fn publish(&self, frame: &SubjectFrame, from: &Origin) {
        if self.is_unheard() || frame.late {
            return;
        }
        if self.sealing.has_key() {
            // Sealed by the driver: here the hub's table is locked.
            let mut state = self.state.lock();
            if state.unsealed.len() < MAX_UNSEALED || state.unsealed.contains_key(&frame.id) {
                state.unsealed.insert(frame.id, (frame.clone(), from.clone()));
            }
            drop(state);
            self.wake.notify_one();
            return;
        }
        #[cfg(feature = "zenoh")]
        self.mesh.publish(frame, from, captured(frame));
        if !self.is_idle() {
            self.with(|state| {
                state.relay.publish(&source(frame, from), &frame.frame, captured(frame), Instant::now());
            });
        }
    }

    /// Takes a sealed packet of a subject.
    pub fn publish_sealed(
        &self,
        (id, name): (SubjectId, &Arc<str>),
        from: &Origin,
        packet: &sealed::Packet<'_>,
        now: Instant,
    ) {
        #[cfg(feature = "zenoh")]
        self.mesh.publish_sealed((id, name), from, packet.bytes);
        if !self.is_idle() {
            let source = Source { id, name, publisher: from.key, room: from.room.as_ref() };
            self.with(|state| state.relay.publish_sealed(&source, packet, now));
        }
    }

    /// A subject has gone.
    pub fn lose(&self, id: SubjectId) {
        #[cfg(feature = "zenoh")]
        self.mesh.lose(id);
        if !self.is_unheard() {
            self.with(|state| {
                state.unsealed.remove(&id);
                state.relay.lose(id, Instant::now());
            });
        }
    }

    /// A connection subscribes. `newest` gives the frames of now, if there was no viewer before.
    pub fn subscribe(
        &self,
        (key, link, room): (ConnectionKey, Arc<dyn Link>, Option<Arc<str>>),
        subject: Option<&str>,
        subscription: Subscription,
        newest: impl FnOnce() -> Vec<(SubjectFrame, Origin)>,
    ) -> Result<(), SubscribeError> {
        let first = self.with(|state| {
            let (first, now) = (state.relay.is_idle(), Instant::now());
            state.relay.subscribe(key, subject, subscription, now)?;
            state.relay.set_room(key, room, now);
            state.links.insert(key, link);
            Ok(first)
        })?;
        self.note_viewers();
        if first {
            // Frames are published from now on; what was there before comes after them.
            let newest = newest();
            if self.sealing.has_key() {
                newest.iter().for_each(|(frame, from)| self.publish(frame, from));
                return Ok(());
            }
            self.with(|state| {
                let now = Instant::now();
                for (frame, from) in &newest {
                    state.relay.publish_first(&source(frame, from), &frame.frame, captured(frame), now);
                }
            });
        }
        Ok(())
    }

    /// A connection ends one of its subscriptions, or all.
    pub fn unsubscribe(&self, key: ConnectionKey, subject: Option<&str>) {
        self.with(|state| {
            state.relay.unsubscribe(key, subject);
            if state.relay.viewer_stats(key).is_none() {
                state.links.remove(&key);
            }
        });
        self.note_viewers();
    }

    /// A connection has ended.
    pub fn leave(&self, key: ConnectionKey) {
        if !self.is_idle() {
            self.with(|state| {
                state.relay.leave(key);
                state.links.remove(&key);
            });
            self.note_viewers();
        }
    }

    /// A connection has entered a room, or left it.
    pub fn set_room(&self, key: ConnectionKey, room: Option<Arc<str>>) {
        if !self.is_idle() {
            self.with(|state| state.relay.set_room(key, room, Instant::now()));
            self.note_viewers();
        }
    }

    /// What a viewer says of its path.
    pub fn report(&self, key: ConnectionKey, report: LinkReport) {
        self.with(|state| state.relay.report(key, report, Instant::now()));
    }

    /// What a viewer has read of its compact bundles.
    pub fn acknowledge(&self, key: ConnectionKey, packets: &[u16]) {
        if !self.is_idle() {
            // Nothing is due earlier by it.
            self.state.lock().relay.acknowledge(key, packets);
        }
    }

    /// The transport of a viewer refused a packet.
    pub fn refused(&self, key: ConnectionKey) {
        if !self.is_idle() {
            self.with(|state| state.relay.refused(key));
        }
    }

    pub fn stats(&self) -> RelayStats {
        self.state.lock().relay.stats()
    }

    pub fn stats_of(&self, key: ConnectionKey) -> Option<ViewerStats> {
        self.state.lock().relay.viewer_stats(key)
    }

    /// Sends what is due, until it is cancelled.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut out: Vec<(Arc<dyn Link>, SmallVec<[Outgoing; 4]>)> = Vec::new();
        let mut seal = Seal::default();
        loop {
            let wakes = self.state.lock().wakes;
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.wake.notified() => {}
                () = sleep_exactly_until(wakes) => {}
            }
            self.seal(&mut seal);
            self.collect(&mut out);
            for (link, messages) in out.drain(..) {
                for (place, message) in (0..).zip(messages) {
                    link.send_face(place, message);
                }
            }
        }
    }

    /// Seals the frames that wait. Locks the keys, and neither the hub's table nor the relay meanwhile.
    fn seal(&self, Seal { sealer, names, changes }: &mut Seal) {
        let changed = self.sealing.changes();
        if *changes != changed {
            // What was there in the clear, or by another key, is not sent any more.
            *changes = changed;
            names.clear();
            self.with(|state| state.relay.lose_all(Instant::now()));
            #[cfg(feature = "zenoh")]
            self.mesh.lose_all();
        }
        let waiting = std::mem::take(&mut self.state.lock().unsealed);
        for (id, (frame, from)) in waiting {
            let now = Instant::now();
            let unix = Duration::try_from_secs_f64(unix_ms() / 1000.0).unwrap_or_default();
            let age = now.saturating_duration_since(captured(&frame));
            let stamped = FaceFrame { capture_time: Some(unix.saturating_sub(age)), ..frame.frame };
            let Some(bytes) = sealer.face(&self.sealing, &frame.name, &stamped) else { continue };
            let Ok(packet) = sealed::Packet::parse(&bytes) else { continue };
            if names.len() > MAX_UNSEALED {
                names.clear();
            }
            let name = match names.get(&id) {
                Some(name) => name.clone(),
                None => {
                    let Some(name) = self.sealing.opaque_name(&frame.name) else { continue };
                    names.entry(id).or_insert(name.into()).clone()
                }
            };
            self.publish_sealed((id, &name), &from, &packet, now);
        }
    }

    /// Gives the packets that are due, and notes when the next ones are.
    fn collect(&self, out: &mut Vec<(Arc<dyn Link>, SmallVec<[Outgoing; 4]>)>) {
        let mut guard = self.state.lock();
        let State { relay, links, wakes, .. } = &mut *guard;
        let unix = Duration::try_from_secs_f64(unix_ms() / 1000.0).unwrap_or_default();
        let mut last = None;
        relay.poll(
            Instant::now(),
            unix,
            |key| links.get(&key).is_some_and(|link| link.is_ready()),
            |key, output| {
                let message = match output {
                    Output::Packet(packet) => Outgoing::Binary(Bytes::copy_from_slice(packet)),
                    Output::Text(text) => Outgoing::Text(text.to_owned()),
                    Output::Lost(name) => {
                        if let Some(link) = links.get(&key) {
                            let lost = SubjectLost { subject: name.into() };
                            link.send_control(&ServerMessage::SubjectLost(lost).to_json());
                        }
                        return;
                    }
                    _ => return,
                };
                if last != Some(key) {
                    let Some(link) = links.get(&key) else { return };
                    out.push((link.clone(), SmallVec::new()));
                    last = Some(key);
                }
                if let Some((_, messages)) = out.last_mut() {
                    messages.push(message);
                }
            },
        );
        *wakes = relay.timeout();
    }
}

fn source<'a>(frame: &'a SubjectFrame, from: &'a Origin) -> Source<'a> {
    Source { id: frame.id, name: &frame.name, publisher: from.key, room: from.room.as_ref() }
}

/// When a frame was captured, less the shortest way here: without what it was delayed more than others.
fn captured(frame: &SubjectFrame) -> Instant {
    let queued = frame.stamp.map_or(0, |stamp| stamp.queue_us.clamp(0, 10_000_000));
    frame.received.checked_sub(Duration::from_micros(queued.unsigned_abs())).unwrap_or(frame.received)
}
