//! Faces that are put together from others by channel group.

use bevy::prelude::*;
use facelink::{
    BLENDSHAPE_COUNT, Blendshape,
    layers::{ChannelGroup, GroupSet},
};

use crate::{
    lifecycle::{self, ComponentAdded},
    pose::{FacePose, smooth},
    sets::Step,
    subjects::{FaceSubject, FaceSubjects},
};

pub(crate) struct VirtualSubjectPlugin;

impl Plugin for VirtualSubjectPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<VirtualSubject>()
            .add_observer(on_virtual_added)
            .add_systems(PreUpdate, merge.in_set(Step::Merge));
    }
}

/// A part of a [`VirtualSubject`].
#[derive(Reflect, Clone, Debug, PartialEq, Eq)]
pub struct FacePart {
    /// Whose face.
    pub subject: String,
    /// Which of its channels.
    pub groups: GroupSet,
    /// Where several parts have a group, the higher one has it while it is live.
    pub priority: i32,
}

/// A subject that is put together from others by channel group: the mouth of the audio, the eyes of the phone, the head of
/// the headset. While a part is not live, the next lower one takes its place, smoothly. A part is mixed in with its own
/// expressions and speech; those of the virtual subject itself lie over the whole.
///
/// ```
/// # use bevy::prelude::*;
/// use bevy_facelink::{VirtualSubject, facelink::layers::{ChannelGroup, GroupSet}};
/// # fn system(mut commands: Commands) {
/// commands.spawn(
///     VirtualSubject::new("Hero")
///         .with("Phone", GroupSet::ALL, 0)
///         .with("Audio", [ChannelGroup::Jaw, ChannelGroup::Mouth, ChannelGroup::Tongue], 10),
/// );
/// # }
/// ```
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[component(on_add = lifecycle::added::<Self>)]
#[reflect(Component)]
pub struct VirtualSubject {
    /// Its name, by which avatars ask for it.
    pub name: String,
    parts: Vec<FacePart>,
}

impl VirtualSubject {
    /// A subject without parts yet.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parts: Vec::new() }
    }

    /// With these groups of a subject. Among equal priorities the later part has a group.
    #[must_use]
    pub fn with(mut self, subject: impl Into<String>, groups: impl Into<GroupSet>, priority: i32) -> Self {
        self.add(FacePart { subject: subject.into(), groups: groups.into(), priority });
        self
    }

    /// Adds a part.
    pub fn add(&mut self, part: FacePart) {
        let at = self.parts.partition_point(|other| other.priority <= part.priority);
        self.parts.insert(at, part);
    }

    /// Whether it takes anything of a subject.
    pub fn uses(&self, subject: &str) -> bool {
        self.parts.iter().any(|part| part.subject == subject)
    }

    /// Takes away what a subject gives.
    pub fn remove(&mut self, subject: &str) {
        self.parts.retain(|part| part.subject != subject);
    }

    /// Its parts, by rising priority.
    pub fn parts(&self) -> &[FacePart] {
        &self.parts
    }
}

/// A virtual subject is listed like any other.
pub(crate) fn on_virtual_added(
    added: On<ComponentAdded<VirtualSubject>>,
    mut commands: Commands,
    mut subjects: ResMut<FaceSubjects>,
    virtuals: Query<&VirtualSubject>,
) {
    let Ok(new) = virtuals.get(added.entity) else { return };
    if let Some(other) = subjects.get(&new.name).filter(|other| *other != added.entity) {
        return warn!("virtual subject \"{}\": a subject of this name is there already ({other})", new.name);
    }
    commands
        .entity(added.entity)
        .try_insert((Name::new(format!("face: {}", new.name)), FaceSubject::virtual_of(&new.name)));
    subjects.add_virtual(&new.name, added.entity);
}

/// Puts virtual subjects together: after the layers of the others, and before their own.
pub(crate) fn merge(
    mut subjects: ResMut<FaceSubjects>,
    mut virtuals: Query<(Entity, &VirtualSubject, &mut FaceSubject, &mut FacePose)>,
    others: Query<&FacePose, Without<VirtualSubject>>,
) {
    for (entity, merged, mut subject, mut pose) in &mut virtuals {
        pose.weights = [0.0; BLENDSHAPE_COUNT];
        (pose.head, pose.head_position, pose.gaze) = (Quat::IDENTITY, None, [Vec2::ZERO; 2]);
        (pose.tracked, pose.presence) = (false, 0.0);
        let mut channels = None;
        let mut live = false;
        for part in merged.parts() {
            let Some(source) = subjects.get(&part.subject) else { continue };
            let Ok(source_pose) = others.get(source) else { continue };
            live |= subjects.is_live(source);
            let share = smooth(source_pose.presence);
            if share <= 0.0 {
                continue;
            }
            // The source has eased its values already; what is mixed in is what it would show by itself.
            for (index, (weight, theirs)) in pose.weights.iter_mut().zip(&source_pose.weights).enumerate() {
                if part.groups.contains(ChannelGroup::of(Blendshape::ALL[index])) {
                    *weight = *weight * (1.0 - share) + theirs;
                }
            }
            if part.groups.contains(ChannelGroup::Gaze) {
                for (eye, theirs) in pose.gaze.iter_mut().zip(source_pose.gaze) {
                    *eye = *eye * (1.0 - share) + theirs;
                }
            }
            if part.groups.contains(ChannelGroup::Head) {
                pose.head = pose.head.slerp(Quat::IDENTITY, share) * source_pose.head;
                pose.head_position = source_pose.head_position.or(pose.head_position);
            }
            pose.presence = pose.presence.max(source_pose.presence);
            pose.tracked |= source_pose.tracked;
            channels = Some(source);
        }
        match channels.and_then(|source| others.get(source).ok()) {
            Some(source) => pose.channels.clone_from(&source.channels),
            None => pose.channels.clear(),
        }
        if subject.leaving == live {
            subject.leaving = !live;
        }
        subjects.set_leaving(entity, !live);
    }
}
