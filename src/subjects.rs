//! Subjects: one entity a face, from the channel.

use std::sync::Arc;

use bevy::prelude::*;
use facelink::{
    FaceFrame,
    event::{LinkEvent, LostReason, SubjectFrame, SubjectId},
    source::SourceKind,
    timing::Playout,
};

use crate::{
    input::{Inboxes, LinkMessage, continues},
    lifecycle::{self, ComponentRemoved},
    pose::{FacePose, Presence},
    sets::Step,
};

pub(crate) struct SubjectsPlugin;

impl Plugin for SubjectsPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceSubject>()
            .register_type::<FacePose>()
            .register_type::<LinkQuality>()
            .register_type::<FaceSubjects>()
            .init_resource::<FaceSubjects>()
            .add_observer(on_subject_removed)
            .add_systems(PreUpdate, (receive.in_set(Step::Frames), lose.in_set(Step::React)));
    }
}

/// A face that is, or was just now, on the link.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[component(on_remove = lifecycle::removed::<Self>)]
#[reflect(Component)]
#[require(FacePose, LinkQuality)]
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
    pub(crate) playout: Box<Playout>,
    pub(crate) tracked: bool,
    pub(crate) presence: Presence,
    /// What was shown when the face returned.
    pub(crate) from: FacePose,
    pub(crate) fresh: bool,
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

    /// The face stays as it is without frames, for now.
    #[cfg(feature = "takes")]
    pub(crate) fn hold(&mut self) {
        self.fresh = true;
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
            // The viseme is set on the frame for avatars that do not move a mouth themselves.
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

/// Live statistics of a subject's link, at most a quarter of a second old.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
#[non_exhaustive]
pub struct LinkQuality {
    /// What carries its frames.
    pub transport: Option<SourceKind>,
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
    /// Standing queue of the network path, milliseconds.
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
    /// Put together from others; frames of its name are not for it.
    merged: bool,
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
        self.entries.push(Entry { name: name.into(), entity, leaving: true, merged: true });
    }

    pub(crate) fn set_leaving(&mut self, entity: Entity, leaving: bool) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.entity == entity) {
            entry.leaving = leaving;
        }
    }

    pub(crate) fn forget(&mut self, entity: Entity) {
        self.entries.retain(|entry| entry.entity != entity);
    }

    /// Names and entities, in order of appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Entity)> + Clone {
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
    /// Why.
    pub reason: LostReason,
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
    inboxes: Inboxes,
    mut subjects: ResMut<FaceSubjects>,
    mut known: Query<(&mut FaceSubject, &mut Incoming, &mut LinkQuality)>,
) {
    for frame in inboxes.frames() {
        take_frame(&mut commands, &mut subjects, &mut known, frame);
    }
}

/// Subjects whose senders have gone.
pub(crate) fn lose(
    mut commands: Commands,
    mut messages: MessageReader<LinkMessage>,
    mut subjects: ResMut<FaceSubjects>,
    mut known: Query<&mut FaceSubject>,
) {
    for LinkMessage(event) in messages.read() {
        let LinkEvent::SubjectLost { id, name, reason } = event else { continue };
        // Frames of a successor of the same name may already have been seen.
        let Some(entry) = subjects.entries.iter_mut().find(|entry| entry.name == *name) else { continue };
        let Ok(mut subject) = known.get_mut(entry.entity) else { continue };
        if subject.id == Some(*id) && !subject.leaving {
            subject.leaving = true;
            entry.leaving = true;
            info!("face \"{name}\" left ({reason})");
            commands.trigger(SubjectLost { entity: entry.entity, name: name.to_string(), reason: reason.to_owned() });
        }
    }
}

/// A subject's entity may be despawned by the game; a frame that comes after that makes a new one.
pub(crate) fn on_subject_removed(removed: On<ComponentRemoved<FaceSubject>>, mut subjects: ResMut<FaceSubjects>) {
    subjects.forget(removed.entity);
}

fn take_frame(
    commands: &mut Commands,
    subjects: &mut FaceSubjects,
    known: &mut Query<(&mut FaceSubject, &mut Incoming, &mut LinkQuality)>,
    new: SubjectFrame,
) {
    let Some(entry) = subjects.entries.iter_mut().find(|entry| entry.name == new.name) else {
        let name = new.name.to_string();
        let subject = FaceSubject { name: name.clone(), leaving: false, id: Some(new.id) };
        let (source, key) = (new.source, new.name.clone());
        let quality = LinkQuality { transport: Some(source), ..LinkQuality::default() };
        let entity = commands.spawn((Name::new(format!("face: {name}")), subject, quality, Incoming::new(new))).id();
        subjects.entries.push(Entry { name: key, entity, leaving: false, merged: false });
        info!("face \"{name}\" appeared ({source})");
        commands.trigger(SubjectAppeared { entity, name });
        return;
    };
    let entity = entry.entity;
    if entry.merged {
        return;
    }
    let Ok((mut subject, mut incoming, mut quality)) = known.get_mut(entity) else {
        // Spawned by this very run: the newer frame replaces the first.
        commands.entity(entity).try_insert(Incoming::new(new));
        return;
    };
    if !continues(subject.id, subject.leaving, new.id) {
        return;
    }
    if subject.id != Some(new.id) {
        subject.id = Some(new.id);
    }
    if quality.transport != Some(new.source) {
        quality.transport = Some(new.source);
    }
    if subject.leaving {
        subject.leaving = false;
        entry.leaving = false;
        info!("face \"{}\" is back", new.name);
        commands.trigger(SubjectAppeared { entity, name: new.name.to_string() });
    }
    incoming.take(new);
}
