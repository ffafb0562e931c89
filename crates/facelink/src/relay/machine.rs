//! Faces, viewers, and who is sent what at which time.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    budget::FULL_SPACING,
    face::Face,
    output::Output,
    stats::{RelayStats, Sent, ViewerStats},
    subscription::{SubscribeError, Subscription},
    viewer::{Buffers, Viewer},
};
use crate::{
    event::SubjectId,
    frame::FaceFrame,
    time::Instant,
    timing::LinkReport,
    wire::sealed::{self, MAX_SEALED},
};

/// Shortest time between two packets of one viewer in the mean: beyond some hundred a second, headers outweigh faces.
const MIN_SPACING: Duration = Duration::from_millis(2);
/// The part of the time between two packets that a frame waits for others at least: of faces that are captured at one time, the
/// last would otherwise wait for the whole of it.
const GATHER_PART: u32 = 16;

/// How a relay works.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RelaySettings {
    /// How long a frame waits for those of other faces, to share their packet; 0.5 ms by default. With many viewers it is up
    /// to 1 ms, since then each packet has to carry more.
    pub gather: Duration,
    /// Packets a second that the relay sends at most, all viewers together, as long as each viewer has 60 a second; 12,000 by
    /// default. Each viewer has an equal part of it, up to 500, and may use up that of a 60th of a second at once; beyond, its
    /// frames wait longer for others.
    pub max_packets_per_second: f32,
    /// Most faces at a time; 1024 by default.
    pub max_faces: usize,
    /// Most viewers at a time; 4096 by default.
    pub max_viewers: usize,
}

impl Default for RelaySettings {
    fn default() -> Self {
        let gather = Duration::from_micros(500);
        Self { gather, max_packets_per_second: 12_000.0, max_faces: 1024, max_viewers: 4096 }
    }
}

/// Which face a frame is of, and who publishes it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The subject.
    pub id: SubjectId,
    /// Its name.
    pub name: &'a Arc<str>,
    /// The connection that it comes by; a viewer of the same number is the same connection.
    pub publisher: u64,
    /// The room that the connection is in.
    pub room: Option<&'a Arc<str>>,
}

/// A relay. See the [module](super).
#[derive(Debug, Default)]
pub struct Relay {
    settings: RelaySettings,
    faces: HashMap<SubjectId, Face>,
    viewers: HashMap<u64, Viewer>,
    buffers: Buffers,
    frames_in: u64,
    /// Of viewers that have left.
    past: Sent,
}

impl Relay {
    /// A relay without faces and viewers.
    pub fn new(settings: RelaySettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Whether there is no viewer: then frames need not be published, as long as the newest of each face is when the first
    /// viewer subscribes.
    pub fn is_idle(&self) -> bool {
        self.viewers.is_empty()
    }

    /// The face of a frame that comes; `None` when there are too many.
    fn face(&mut self, source: &Source<'_>, now: Instant) -> Option<&mut Face> {
        let Source { id, name, publisher, room } = *source;
        let Self { settings, faces, viewers, .. } = self;
        if !faces.contains_key(&id) && faces.len() >= settings.max_faces {
            return None;
        }
        let mut changed = false;
        let face = faces.entry(id).or_insert_with(|| {
            changed = true;
            Face::new(name.clone(), publisher, room.cloned(), now)
        });
        if face.publisher != publisher || face.room.as_ref() != room {
            (face.publisher, face.room, changed) = (publisher, room.cloned(), true);
        }
        if changed {
            let mut sent_to = Vec::new();
            for (key, viewer) in &mut *viewers {
                if viewer.assign(*key, id, face, now) {
                    sent_to.push(*key);
                }
            }
            face.viewers = sent_to;
        }
        self.frames_in += 1;
        for key in &face.viewers {
            if let Some(viewer) = viewers.get_mut(key) {
                viewer.pend(now);
            }
        }
        Some(face)
    }

    /// Takes a frame of a face, captured at a time on our clock. `false` when there are too many faces.
    pub fn publish(&mut self, source: &Source<'_>, frame: &FaceFrame, captured: Instant, now: Instant) -> bool {
        let Some(face) = self.face(source, now) else { return false };
        face.publish(frame, captured, now);
        true
    }

    /// Takes a sealed packet of a face: viewers that subscribed to [`Format::Sealed`](super::Format) are sent it as it is, in
    /// bundles; frames by their layer, messages all. `false` when there are too many faces, or it is too long.
    pub fn publish_sealed(&mut self, source: &Source<'_>, packet: &sealed::Packet<'_>, now: Instant) -> bool {
        if packet.bytes.len() > MAX_SEALED {
            return false;
        }
        let id = source.id;
        let Some(face) = self.face(source, now) else { return false };
        match packet.kind {
            sealed::Kind::Face(layer) => face.publish_sealed(packet.bytes, layer, now),
            sealed::Kind::Message => {
                let (message, viewers): (Arc<[u8]>, Vec<u64>) = (packet.bytes.into(), face.viewers.clone());
                for key in viewers {
                    if let Some(viewer) = self.viewers.get_mut(&key) {
                        viewer.message(id, &message, now);
                    }
                }
            }
        }
        true
    }

    /// The same for a face that may be here already, in a newer frame.
    pub fn publish_first(&mut self, source: &Source<'_>, frame: &FaceFrame, captured: Instant, now: Instant) {
        if !self.faces.contains_key(&source.id) {
            self.publish(source, frame, captured, now);
        }
    }

    /// A face has gone.
    pub fn lose(&mut self, id: SubjectId, now: Instant) {
        let Some(face) = self.faces.remove(&id) else { return };
        for key in &face.viewers {
            if let Some(viewer) = self.viewers.get_mut(key) {
                viewer.lose(id, &face, now);
            }
        }
    }

    /// Every face has gone.
    pub fn lose_all(&mut self, now: Instant) {
        let ids: Vec<SubjectId> = self.faces.keys().copied().collect();
        for id in ids {
            self.lose(id, now);
        }
    }

    /// A viewer asks for a subject, for those of a pattern with `*` in place of any text, or for all; again to change how. It
    /// is sent the newest frame of each at once.
    ///
    /// # Errors
    /// [`SubscribeError`]; the subscriptions are then as they were.
    pub fn subscribe(
        &mut self,
        viewer: u64,
        subject: Option<&str>,
        subscription: Subscription,
        now: Instant,
    ) -> Result<(), SubscribeError> {
        if !self.viewers.contains_key(&viewer) {
            if self.viewers.len() >= self.settings.max_viewers {
                return Err(SubscribeError::TooManyViewers);
            }
            self.viewers.insert(viewer, Viewer::new(None));
        }
        let Some(viewing) = self.viewers.get_mut(&viewer) else { return Ok(()) };
        viewing.subscriptions.add(subject, subscription)?;
        viewing.change();
        viewing.pend(now);
        Ok(())
    }

    /// A viewer ends one of its subscriptions, or all; it leaves with the last one.
    pub fn unsubscribe(&mut self, viewer: u64, subject: Option<&str>) {
        let Some(viewing) = self.viewers.get_mut(&viewer) else { return };
        viewing.subscriptions.remove(subject);
        viewing.change();
        if viewing.subscriptions.is_empty() {
            self.leave(viewer);
        }
    }

    /// A viewer has gone.
    pub fn leave(&mut self, viewer: u64) {
        if let Some(gone) = self.viewers.remove(&viewer) {
            self.past.add(&gone.sent);
            for face in self.faces.values_mut() {
                face.viewers.retain(|key| *key != viewer);
            }
        }
        if self.viewers.is_empty() {
            // Without viewers nothing is published, and these would be out of date.
            self.faces.clear();
        }
    }

    /// A viewer has entered a room, or left it.
    pub fn set_room(&mut self, viewer: u64, room: Option<Arc<str>>, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(&viewer)
            && viewer.room != room
        {
            viewer.room = room;
            viewer.change();
            viewer.pend(now);
        }
    }

    /// What a viewer says of its path, a few times a second: the queueing delay and the loss of what it was sent.
    pub fn report(&mut self, viewer: u64, report: LinkReport, now: Instant) {
        if let Some(viewer) = self.viewers.get_mut(&viewer) {
            viewer.report(report, now);
        }
    }

    /// What a viewer has read of its compact bundles, by the numbers of the packets.
    pub fn acknowledge(&mut self, viewer: u64, packets: &[u16]) {
        if let Some(viewer) = self.viewers.get_mut(&viewer) {
            viewer.acknowledge(packets);
        }
    }

    /// The transport of a viewer refused a packet, because earlier ones wait.
    pub fn refused(&mut self, viewer: u64) {
        if let Some(viewer) = self.viewers.get_mut(&viewer) {
            viewer.refuse();
        }
    }

    /// Time between two packets of one viewer in the mean, so that all together are not more than can be sent.
    fn spacing(&self) -> Duration {
        let most = self.settings.max_packets_per_second.max(1.0);
        Duration::from_secs_f32(self.viewers.len() as f32 / most).clamp(MIN_SPACING, FULL_SPACING)
    }

    /// How long a frame waits for those of other faces.
    fn gather(&self) -> Duration {
        self.settings.gather.max(self.spacing() / GATHER_PART)
    }

    /// When [`poll`](Self::poll) has something to send; `None` while there is nothing.
    pub fn timeout(&self) -> Option<Instant> {
        let gather = self.gather();
        self.viewers.values().filter_map(|viewer| viewer.due(gather)).min()
    }

    /// Sends what is due. `unix` is the time of day now; `ready` says whether a viewer's earlier packets have left. Where they
    /// have not, its frames wait here, and newer ones take their places.
    pub fn poll(
        &mut self,
        now: Instant,
        unix: Duration,
        mut ready: impl FnMut(u64) -> bool,
        mut send: impl FnMut(u64, Output<'_>),
    ) {
        let (spacing, gather) = (self.spacing(), self.gather());
        let Self { faces, viewers, buffers, .. } = self;
        for (key, viewer) in viewers {
            if viewer.match_due(now).is_some_and(|due| due <= now) {
                viewer.matched(now);
                for (id, face) in &mut *faces {
                    let is_sent = viewer.assign(*key, *id, face, now);
                    match face.viewers.iter().position(|other| other == key) {
                        None if is_sent => face.viewers.push(*key),
                        Some(place) if !is_sent => drop(face.viewers.swap_remove(place)),
                        _ => {}
                    }
                }
            }
            if viewer.due(gather).is_none_or(|due| due > now) {
                continue;
            }
            viewer.choose(faces, now);
            if !ready(*key) {
                viewer.block(now);
                continue;
            }
            let packets = viewer.flush(faces, buffers, (unix, now), |output| send(*key, output));
            viewer.pay(packets, spacing, now);
            if let Some(due) = viewer.match_due(now) {
                viewer.pend(due);
            }
        }
    }

    /// Whether a viewer would be sent a face of this name, by a connection in this room.
    pub fn wants(&self, name: &str, room: Option<&Arc<str>>) -> bool {
        self.viewers.values().any(|viewer| viewer.wants_face(name, room).is_some())
    }

    /// What one viewer is sent.
    pub fn viewer_stats(&self, viewer: u64) -> Option<ViewerStats> {
        self.viewers.get(&viewer).map(Viewer::stats)
    }

    /// What the relay does.
    pub fn stats(&self) -> RelayStats {
        let (mut layers, mut sent, mut subscriptions) = (BTreeMap::new(), self.past, 0);
        for viewer in self.viewers.values() {
            let stats = viewer.stats();
            sent.add(&stats.sent);
            subscriptions += stats.faces;
            for (layer, count) in stats.layers {
                *layers.entry(layer).or_insert(0) += count;
            }
        }
        let publishers: HashSet<u64> = self.faces.values().map(|face| face.publisher).collect();
        RelayStats {
            viewers: self.viewers.len(),
            publishers: publishers.len(),
            faces: self.faces.len(),
            subscriptions,
            layers,
            frames_in: self.frames_in,
            sent,
        }
    }
}
