//! Subjects: one entity a face, from the channel.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use facelink::{
    FaceFrame,
    timing::{Playout, RateLaw},
};
use facelink_net::{Emotion, LinkEvent, SourceKind, SubjectFrame, SubjectId};

use crate::{
    layers::{FaceExpressionLibrary, FaceExpressions, FaceSpeech, Layers, RefusedExpressions, VirtualSubject},
    playout::{PlayoutQuality, Stage},
    plugin::{FaceInbox, FaceLinkEndpoint},
    pose::{FacePose, FaceSettings, Presence, smooth},
    sources::{FaceDial, FaceSource, SourceState},
};

/// Frames and events taken from the channel in one go; what is left waits for the next frame.
const MAX_PER_FRAME: usize = 4096;
/// Emotions that wait for their subject, and for how many updates.
const MAX_EARLY: usize = 64;
const EARLY_UPDATES: u8 = 10;
/// Seconds between two looks at the figures.
const FIGURES_INTERVAL: f32 = 0.25;

/// A face that is, or was just now, on the link.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(Component)]
#[require(FacePose, LinkQuality, PlayoutQuality, FaceExpressions, FaceSpeech)]
pub struct FaceSubject {
    /// Name by which avatars ask for it.
    pub name: String,
    /// Its sender has gone; the face eases to neutral, and then the entity goes.
    pub leaving: bool,
    #[reflect(ignore)]
    id: Option<SubjectId>,
}

impl FaceSubject {
    pub(crate) fn virtual_of(name: &str) -> Self {
        Self { name: name.to_owned(), leaving: true, id: None }
    }

    /// Its id on the endpoint; changes when a subject of the same name comes back.
    pub fn id(&self) -> Option<SubjectId> {
        self.id
    }
}

/// What arrived, before holding and easing.
#[derive(Component, Debug, Default)]
pub struct Incoming {
    /// On the heap, for it is large and subjects move when components are added.
    playout: Box<Playout>,
    tracked: bool,
    presence: Presence,
    /// What was shown when the face returned.
    from: FacePose,
    fresh: bool,
}

impl Incoming {
    fn new(new: SubjectFrame) -> Self {
        let mut incoming = Self::default();
        let tracked = new.frame.tracked;
        if !tracked {
            // Whatever it is, it is all that there is.
            let shown = SubjectFrame { frame: FaceFrame { tracked: true, ..new.frame.clone() }, ..new.clone() };
            incoming.take(shown);
        }
        incoming.take(new);
        incoming
    }

    pub(crate) fn buffer(&mut self) -> &mut Playout {
        &mut self.playout
    }

    fn take(&mut self, new: SubjectFrame) {
        let SubjectFrame { mut frame, speech, stamp, received, late, repeated, .. } = new;
        if !late {
            self.tracked = frame.tracked;
            self.fresh = true;
        }
        if let Some(speech) = speech {
            // The viseme is set on the frame for those who do not move a mouth themselves.
            frame.weights = speech.weights;
            if frame.channels.last().is_some_and(|channel| *channel.name == *speech.viseme.channel()) {
                frame.channels.pop();
            }
        }
        let saying = speech.map(|speech| (speech.viseme, speech.weight));
        match stamp {
            Some(stamp) => self.playout.push(frame, saying, &stamp, received, repeated),
            // What is said comes between frames, and does not wait.
            None if self.playout.newest_us().is_some() => self.playout.say(saying),
            None => self.playout.put(frame, saying),
        }
    }
}

/// Live figures of a subject's link, a quarter of a second old at most.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct LinkQuality {
    /// `webrtc`, `websocket`, `live_link_face` or `udp_json`.
    pub transport: String,
    /// Frames a second that arrive.
    pub fps: f32,
    /// Frames a second that the sender was asked for.
    pub target_fps: f32,
    /// Send to arrival, milliseconds, where it can be known.
    pub latency_ms: Option<f32>,
    /// RFC 3550 interarrival jitter, milliseconds.
    pub jitter_ms: f32,
    /// Share of frames lost, `0..=1`, where they are numbered.
    pub loss: Option<f32>,
    /// Frames since the subject appeared.
    pub frames: u64,
    /// Age of the newest frame, milliseconds.
    pub age_ms: f32,
    /// Queue that stands on the way, milliseconds.
    pub queue_ms: f32,
    /// Drift of the source's clock against ours, parts per million.
    pub skew_ppm: f32,
    /// How many earlier frames each packet repeats, against loss.
    pub redundancy: u8,
    /// The face comes out of a webcam.
    pub webcam: bool,
    /// Where it comes from.
    pub address: Option<String>,
}

/// Asks a subject's sender for this rate, whatever the adaptive rate says. Put on a subject; removing it hands the rate
/// back.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component)]
pub struct RequestedFps(
    /// Frames a second.
    pub f32,
);

/// Which law decides what a sender is asked for.
#[derive(Reflect, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[reflect(Default)]
pub enum FpsLaw {
    /// By the queue on the way: down the ladder 60, 30, 20, 15, 10 when frames queue, up again when they do not; loss alone
    /// is answered by repeating frames.
    #[default]
    Network,
    /// The migration guide's: 5 fewer above 50 ms of latency, 5 more below 10 ms, once a second. Never below 15 unless
    /// told so.
    Guide,
}

impl From<RateLaw> for FpsLaw {
    fn from(law: RateLaw) -> Self {
        match law {
            RateLaw::Network => Self::Network,
            RateLaw::Guide => Self::Guide,
        }
    }
}

impl From<FpsLaw> for RateLaw {
    fn from(law: FpsLaw) -> Self {
        match law {
            FpsLaw::Network => Self::Network,
            FpsLaw::Guide => Self::Guide,
        }
    }
}

/// [`AdaptiveFps`] for one subject alone.
#[derive(Component, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct SubjectAdaptiveFps(
    /// Its settings.
    pub AdaptiveFps,
);

/// The adaptive-FPS system, of all subjects; [`SubjectAdaptiveFps`] for one of them.
///
/// Two loops meet in what a sender is asked for, and the lower of both counts: the *network*, by how frames arrive, and the
/// *engine*, by what of a face is seen (see [`FaceBudget`](crate::FaceBudget)). [`RequestedFps`] goes before both.
#[derive(Resource, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Resource, Default)]
pub struct AdaptiveFps {
    /// Off: senders keep their rate.
    pub enabled: bool,
    /// How the network's loop decides.
    pub law: FpsLaw,
    /// Whether the engine's loop asks for less of subjects that are far away, off screen or shown by nobody.
    pub engine: bool,
    /// Lowest rate asked for, frames a second.
    pub min_fps: f32,
    /// Highest rate asked for, frames a second.
    pub max_fps: f32,
}

impl Default for AdaptiveFps {
    fn default() -> Self {
        Self { enabled: true, law: FpsLaw::Network, engine: true, min_fps: 10.0, max_fps: 60.0 }
    }
}

/// Every subject, in order of appearance.
#[derive(Resource, Reflect, Clone, Debug, Default)]
#[reflect(Resource, Default)]
pub struct FaceSubjects {
    #[reflect(ignore)]
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    entity: Entity,
    leaving: bool,
}

impl FaceSubjects {
    /// The subject of this name, whether it is live or just leaving.
    pub fn get(&self, name: &str) -> Option<Entity> {
        self.entries.iter().find(|entry| *entry.name == *name).map(|entry| entry.entity)
    }

    /// The live subject that appeared first.
    pub fn first(&self) -> Option<Entity> {
        self.entries.iter().find(|entry| !entry.leaving).map(|entry| entry.entity)
    }

    /// Whether this is a subject that is not leaving.
    pub fn is_live(&self, entity: Entity) -> bool {
        self.entries.iter().any(|entry| entry.entity == entity && !entry.leaving)
    }

    pub(crate) fn add_virtual(&mut self, name: &str, entity: Entity) {
        self.entries.push(Entry { name: name.into(), entity, leaving: true });
    }

    pub(crate) fn set_leaving(&mut self, entity: Entity, leaving: bool) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.entity == entity) {
            entry.leaving = leaving;
        }
    }

    /// Names and entities, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Entity)> {
        self.entries.iter().map(|entry| (&*entry.name, entry.entity))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A subject sent its first frame, or came back before it was forgotten.
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct SubjectAppeared {
    /// The subject.
    pub entity: Entity,
    /// Its name.
    pub name: String,
}

/// A subject's sender has gone. The entity stays until the face has eased to neutral.
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct SubjectLost {
    /// The subject.
    pub entity: Entity,
    /// Its name.
    pub name: String,
    /// `disconnected`, `silent` or `stopped`.
    pub reason: String,
}

/// The source sees the face (again).
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct FaceTracked {
    /// The subject.
    pub entity: Entity,
}

/// The source says that it has lost the face, or has fallen silent.
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct FaceUntracked {
    /// The subject.
    pub entity: Entity,
}

/// Drains the channel into subjects.
pub(crate) fn receive(
    mut commands: Commands,
    inbox: Option<Res<FaceInbox>>,
    mut subjects: ResMut<FaceSubjects>,
    mut known: Query<(&mut FaceSubject, &mut Incoming)>,
    virtuals: Query<(), With<VirtualSubject>>,
) {
    let Some(inbox) = inbox else { return };
    for frame in inbox.frames.try_iter().take(MAX_PER_FRAME) {
        take_frame(&mut commands, &mut subjects, &mut known, &virtuals, frame);
    }
}

/// What happened on the link. After the frames, and with their entities there: a subject whose first frame and whose end
/// wait in the channels together has to appear before it can leave.
pub(crate) fn receive_events(
    mut commands: Commands,
    inbox: Option<Res<FaceInbox>>,
    mut subjects: ResMut<FaceSubjects>,
    mut known: Query<&mut FaceSubject>,
    mut expressions: Query<&mut FaceExpressions>,
    mut early: Local<Vec<(Arc<str>, Emotion, u8)>>,
    sources: Query<(Entity, &FaceSource), Without<FaceDial>>,
) {
    let Some(inbox) = inbox else { return };
    early.retain_mut(|(name, emotion, left)| {
        let subject = subjects.get(name).and_then(|entity| expressions.get_mut(entity).ok());
        if let Some(mut expressions) = subject {
            expressions.take(emotion.clone());
            return false;
        }
        *left -= 1;
        *left > 0
    });
    let mut connected: Vec<(Arc<str>, Entity)> = Vec::new();
    for event in inbox.events.try_iter().take(MAX_PER_FRAME) {
        match event {
            LinkEvent::SubjectLost { id, name, reason } => {
                // Frames of a successor of the same name may already have been seen.
                let Some(entry) = subjects.entries.iter_mut().find(|entry| entry.name == name) else { continue };
                let Ok(mut subject) = known.get_mut(entry.entity) else { continue };
                if subject.id == Some(id) && !subject.leaving {
                    subject.leaving = true;
                    entry.leaving = true;
                    let reason = reason.as_str();
                    info!("face \"{name}\" left ({reason})");
                    commands.trigger(SubjectLost {
                        entity: entry.entity,
                        name: name.to_string(),
                        reason: reason.to_owned(),
                    });
                }
            }
            LinkEvent::Emotion { name, emotion, .. } => {
                let subject = subjects.get(&name).and_then(|entity| expressions.get_mut(entity).ok());
                match subject {
                    Some(mut expressions) => expressions.take(emotion),
                    // The frame that makes it appear came after the frames of this update were taken.
                    None if early.len() < MAX_EARLY => early.push((name, emotion, EARLY_UPDATES)),
                    None => {}
                }
            }
            LinkEvent::Connected { connection_id, source, address } => {
                let source = FaceSource {
                    connection_id: connection_id.to_string(),
                    kind: source.as_str().to_owned(),
                    address: address.map(|address| address.to_string()),
                    state: SourceState::Connected,
                };
                connected.push((connection_id, commands.spawn(source).id()));
            }
            LinkEvent::Disconnected { connection_id, .. } => {
                let known = sources.iter().filter(|(_, source)| *source.connection_id == *connection_id);
                let new = connected.iter().filter(|(id, _)| *id == connection_id).map(|(_, entity)| *entity);
                for entity in known.map(|(entity, _)| entity).chain(new) {
                    commands.entity(entity).try_despawn();
                }
            }
            // Told by the first frame, so that the order of the two channels does not matter.
            _ => {}
        }
    }
}

/// A subject's entity may be despawned by the game; a frame that comes after that makes a new one.
pub(crate) fn on_subject_removed(removed: On<Remove, FaceSubject>, mut subjects: ResMut<FaceSubjects>) {
    subjects.entries.retain(|entry| entry.entity != removed.entity);
}

fn take_frame(
    commands: &mut Commands,
    subjects: &mut FaceSubjects,
    known: &mut Query<(&mut FaceSubject, &mut Incoming)>,
    virtuals: &Query<(), With<VirtualSubject>>,
    new: SubjectFrame,
) {
    let Some(entry) = subjects.entries.iter_mut().find(|entry| entry.name == new.name) else {
        let name = new.name.to_string();
        let subject = FaceSubject { name: name.clone(), leaving: false, id: Some(new.id) };
        let (source, key) = (new.source, new.name.clone());
        let entity = commands.spawn((Name::new(format!("face: {name}")), subject, Incoming::new(new))).id();
        subjects.entries.push(Entry { name: key, entity, leaving: false });
        info!("face \"{name}\" appeared ({source})");
        commands.trigger(SubjectAppeared { entity, name });
        return;
    };
    let entity = entry.entity;
    if virtuals.contains(entity) {
        return;
    }
    let Ok((mut subject, mut incoming)) = known.get_mut(entity) else {
        // Spawned by this very run: the newer frame replaces the first.
        commands.entity(entity).try_insert(Incoming::new(new));
        return;
    };
    // A late frame of a subject that has ended, or of its predecessor, cannot bring it back: ids grow, and none is used
    // twice.
    if subject.id > Some(new.id) || (subject.leaving && subject.id == Some(new.id)) {
        return;
    }
    if subject.id != Some(new.id) {
        subject.id = Some(new.id);
    }
    if subject.leaving {
        subject.leaving = false;
        entry.leaving = false;
        info!("face \"{}\" is back", new.name);
        commands.trigger(SubjectAppeared { entity, name: new.name.to_string() });
    }
    incoming.take(new);
}

/// The pose on stage now.
pub(crate) fn evaluate(
    mut commands: Commands,
    time: Res<Time<Real>>,
    stage: Res<Stage>,
    settings: Res<FaceSettings>,
    mut subjects: ResMut<FaceSubjects>,
    mut faces: Query<(Entity, &FaceSubject, &mut Incoming, &mut FacePose, &mut FaceSpeech)>,
) {
    let dt = time.delta_secs();
    let now = stage.now.unwrap_or_else(Instant::now);
    for (entity, subject, mut incoming, mut pose, mut speech) in &mut faces {
        let incoming = &mut *incoming;
        let Incoming { playout, tracked, presence, from, fresh } = incoming;
        let Some(shown) = playout.advance(now) else { continue };
        match shown.saying.filter(|_| !subject.leaving) {
            Some((viseme, weight)) => speech.say(viseme, weight),
            // Looked at first, so that a mouth at rest does not count as changed.
            None if speech.speaks() => speech.silence(),
            None => {}
        }
        if std::mem::take(fresh) {
            presence.frame();
        }
        let tracked = *tracked && !subject.leaving;
        if presence.step(dt, tracked, &settings) {
            from.clone_from(&pose);
        }
        let was_tracked = pose.tracked;
        let (fresh, returned) = (presence.is_fresh(&settings), presence.returned());
        let presence = presence.value();
        pose.set_from(shown.frame, presence);
        pose.captured = shown.capture_us.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
        if returned < 1.0 {
            pose.blend_to(from, 1.0 - smooth(returned));
            pose.presence = presence;
        }
        pose.tracked = tracked && fresh;
        match (was_tracked, pose.tracked) {
            (false, true) => commands.trigger(FaceTracked { entity }),
            (true, false) => commands.trigger(FaceUntracked { entity }),
            _ => {}
        }
        if subject.leaving && presence == 0.0 {
            subjects.entries.retain(|entry| entry.entity != entity);
            commands.entity(entity).try_despawn();
        }
    }
}

/// What lies over the subjects' faces.
pub(crate) fn add_layers(
    time: Res<Time<Real>>,
    library: Res<FaceExpressionLibrary>,
    mut refused: ResMut<RefusedExpressions>,
    mut faces: Query<(&mut FacePose, Layers), With<FaceSubject>>,
) {
    let refused = refused.bypass_change_detection();
    for (mut pose, mut layers) in &mut faces {
        layers.apply(&mut pose, time.delta_secs(), &library, refused);
    }
}

/// Copies the endpoint's figures to the subjects, four times a second.
pub(crate) fn read_figures(
    time: Res<Time<Real>>,
    mut since: Local<f32>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut faces: Query<(&FaceSubject, &mut LinkQuality, &mut PlayoutQuality, &mut Incoming)>,
    mut figures: ResMut<crate::diagnostics::LinkFigures>,
) {
    *since += time.delta_secs();
    if *since < FIGURES_INTERVAL {
        return;
    }
    let seconds = std::mem::take(&mut *since);
    for (_, _, mut playout, mut incoming) in &mut faces {
        playout.take(incoming.buffer().stats(), seconds);
    }
    let Some(endpoint) = endpoint else { return };
    let stats = endpoint.stats();
    for (subject, mut quality, ..) in &mut faces {
        let Some(stats) = stats.subjects.iter().find(|stats| Some(stats.id) == subject.id) else { continue };
        *quality = LinkQuality {
            transport: stats.source.as_str().to_owned(),
            fps: stats.fps,
            target_fps: stats.target_fps,
            latency_ms: stats.latency_ms,
            jitter_ms: stats.jitter_ms,
            loss: stats.loss,
            frames: stats.frames,
            age_ms: stats.age_ms,
            queue_ms: stats.queue_ms,
            skew_ppm: stats.skew_ppm,
            redundancy: stats.redundancy,
            webcam: stats.webcam,
            address: stats.address.map(|address: SocketAddr| address.to_string()),
        };
    }
    figures.endpoint = stats;
    figures.connections = endpoint.connections();
}

/// Hands the settings on to the endpoint when they change.
pub(crate) fn apply_rates(
    endpoint: Option<Res<FaceLinkEndpoint>>,
    adaptive: Res<AdaptiveFps>,
    // A subject that comes back has a new id, and its sender has not heard.
    changed: Query<(&FaceSubject, &RequestedFps), Or<(Changed<RequestedFps>, Changed<FaceSubject>)>>,
    own: Query<(&FaceSubject, &SubjectAdaptiveFps), Or<(Changed<SubjectAdaptiveFps>, Changed<FaceSubject>)>>,
    mut removed: RemovedComponents<RequestedFps>,
    mut handed_back: RemovedComponents<SubjectAdaptiveFps>,
    faces: Query<&FaceSubject>,
) {
    let Some(endpoint) = endpoint else { return };
    if adaptive.is_changed() {
        endpoint.set_adaptive_fps(adaptive.enabled, adaptive.min_fps, adaptive.max_fps, adaptive.law.into());
    }
    for (subject, SubjectAdaptiveFps(own)) in &own {
        if let Some(id) = subject.id {
            endpoint.set_adaptive_fps_of(id, Some((own.enabled, own.min_fps, own.max_fps, own.law.into())));
        }
    }
    for entity in handed_back.read() {
        if let Some(id) = faces.get(entity).ok().and_then(|subject| subject.id) {
            endpoint.set_adaptive_fps_of(id, None);
        }
    }
    for (subject, fps) in &changed {
        if let Some(id) = subject.id {
            endpoint.set_rate(id, Some(fps.0));
        }
    }
    for entity in removed.read() {
        if let Some(id) = faces.get(entity).ok().and_then(|subject| subject.id) {
            endpoint.set_rate(id, None);
        }
    }
}

/// A frame as tests inject it.
pub(crate) fn injected(id: u64, name: &str, frame: FaceFrame) -> SubjectFrame {
    SubjectFrame {
        id: SubjectId(id),
        name: name.into(),
        source: SourceKind::WebSocket,
        frame,
        speech: None,
        received: Instant::now(),
        stamp: None,
        late: false,
        repeated: false,
    }
}
