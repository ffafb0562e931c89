//! Avatars: which face each shows.

use std::collections::HashSet;

use bevy::prelude::*;
use facelink::event::LinkEvent;

use crate::{
    input::LinkMessage, lifecycle, pose::FacePose, sets::Step, settings::FaceSettings, subjects::FaceSubjects,
};

pub(crate) struct AvatarPlugin;

impl Plugin for AvatarPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceAvatar>()
            .register_type::<ShapePreview>()
            .register_type::<DrivenBy>()
            .register_type::<Drives>()
            .add_systems(
                PostUpdate,
                (
                    choose_subjects.in_set(Step::Choose),
                    warn_of_near_names
                        .after(Step::Choose)
                        .run_if(resource_changed::<FaceSubjects>.or_else(any_avatar_changed)),
                ),
            );
    }
}

/// Makes an entity an avatar: everything below it whose morph targets have names that a mapping knows is driven by a
/// face. The naming dialect is detected; [`AvatarMapping`](crate::AvatarMapping) sets a mapping of your own.
///
/// Put it on the entity with the scene (`WorldAssetRoot`), on a parent of it, or on an entity that has morph weights
/// itself: `MorphWeights`, or `MeshMorphWeights::Value` for a mesh made by code, whose targets have to be named
/// (`Mesh::with_morph_target_names`). Binding happens when the scene is ready, again after a hot reload, and again when
/// morph weights are added below it later.
///
/// Its shapes are the face's alone while there is one. Head and eyes turn on top of whatever an animation or the game
/// does with the bones; see [`bones`](crate::bones).
#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[reflect(Component, Default)]
#[require(Shown, Bindable)]
pub struct FaceAvatar {
    /// Whose face, by its exact name; without a name, the live subject that appeared first.
    pub subject: Option<String>,
    /// Whether the head (and neck) bones follow the head.
    pub drive_head: bool,
    /// Whether the eye bones follow the gaze. They do so only where the `eyeLook*` targets do not turn the eyeballs
    /// already, which is read from the meshes, or said by a mapping: see
    /// [`EyeDrive`](facelink::mapping::EyeDrive) and [`BindReport::eyes`](crate::BindReport::eyes).
    pub drive_eyes: bool,
    /// Share of the head's rotation that the neck takes, `0..=1`, where both bones are there.
    pub neck_share: f32,
    /// Largest turn of the head, radians.
    pub head_limit: f32,
    /// Largest turn of an eye in yaw and in pitch, radians.
    pub eye_limit: f32,
    /// Factor on every weight.
    pub gain: f32,
}

impl Default for FaceAvatar {
    fn default() -> Self {
        Self {
            subject: None,
            drive_head: true,
            drive_eyes: true,
            neck_share: 0.35,
            head_limit: 1.2,
            eye_limit: 0.7,
            gain: 1.0,
        }
    }
}

impl FaceAvatar {
    /// An avatar for the face of this name.
    pub fn of(subject: impl Into<String>) -> Self {
        Self::default().subject(subject)
    }

    /// The same avatar for the face of this name.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Holds one shape of an avatar, on an otherwise neutral face, to see what it moves. Whatever drives the avatar waits until
/// it is removed.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component)]
pub struct ShapePreview {
    /// The shape's [`Blendshape::index`](facelink::Blendshape::index).
    pub shape: usize,
    /// Its weight.
    pub weight: f32,
}

/// The subject that drives this avatar.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq, Eq)]
#[reflect(Component)]
#[relationship(relationship_target = Drives)]
pub struct DrivenBy(pub Entity);

/// The avatars that this subject drives.
#[derive(Component, Reflect, Debug, Default)]
#[reflect(Component)]
#[relationship_target(relationship = DrivenBy)]
pub struct Drives(Vec<Entity>);

impl Drives {
    /// The avatars.
    pub fn avatars(&self) -> &[Entity] {
        &self.0
    }
}

/// Its morph targets and bones are to be found: to drive them, or to send what they show.
#[derive(Component, Debug, Default)]
#[component(on_add = lifecycle::added::<Self>)]
pub(crate) struct Bindable;

/// What an avatar shows now, after the change from one subject to another was smoothed.
#[derive(Component, Debug, Default)]
pub(crate) struct Shown {
    /// With the avatar's own layers.
    pub pose: FacePose,
    /// Without them.
    pub face: FacePose,
    pub from: FacePose,
    pub subject: Option<Entity>,
    /// 0 at the change of a subject, 1 when it is complete.
    pub blend: f32,
    /// The avatar's own layers do something.
    pub layered: bool,
    /// Nothing is shown and neutral has been written: the rig is left to others.
    pub idle: bool,
    /// The face was not evaluated in this frame: the written weights move on towards the last evaluation.
    pub skipped: bool,
    /// Share of the remaining distance to the last evaluation that this frame covers.
    pub step: f32,
    /// Rendered frames and seconds since the last evaluation.
    pub since: u8,
    pub elapsed: f32,
    /// The same on the game's clock.
    pub game_elapsed: f32,
    /// Head and gaze at the last evaluation, and when it began.
    pub turn_to: (Quat, [Vec2; 2]),
    pub turn_from: (Quat, [Vec2; 2]),
}

/// Relates every avatar to its subject.
pub(crate) fn choose_subjects(
    mut commands: Commands,
    mut messages: MessageReader<LinkMessage>,
    subjects: Res<FaceSubjects>,
    settings: Res<FaceSettings>,
    mut avatars: Query<(Entity, &FaceAvatar, Option<&DrivenBy>, &mut Shown)>,
) {
    let cut = messages.read().filter_map(|LinkMessage(event)| match event {
        LinkEvent::Cut { name, .. } => subjects.get(name),
        _ => None,
    });
    let cut = cut.last();
    for (entity, avatar, driven, mut shown) in &mut avatars {
        let current = driven.map(|driven| driven.0);
        let chosen = match &avatar.subject {
            Some(name) => subjects.get(name),
            // The one that a controller cut to; the one it has, while it lives; then the next; then the one that is just leaving.
            None => cut
                .or(current)
                .filter(|subject| subjects.is_live(*subject))
                .or_else(|| subjects.first())
                .or_else(|| subjects.iter().next().map(|(_, subject)| subject)),
        };
        if chosen != current {
            match chosen {
                Some(subject) => commands.entity(entity).try_insert(DrivenBy(subject)),
                None => commands.entity(entity).try_remove::<DrivenBy>(),
            };
        }
        if shown.subject != chosen {
            // What is seen now blends into the other face.
            let shown = &mut *shown;
            shown.from.clone_from(&shown.face);
            shown.blend = if settings.switch > 0.0 { 0.0 } else { 1.0 };
            shown.subject = chosen;
        }
    }
}

fn any_avatar_changed(avatars: Query<(), Changed<FaceAvatar>>) -> bool {
    !avatars.is_empty()
}

/// Names of subjects are compared exactly, so "ann" is another subject than "Ann": where one was meant for the other, the log says so.
fn warn_of_near_names(
    subjects: Res<FaceSubjects>,
    avatars: Query<Ref<FaceAvatar>>,
    mut warned: Local<HashSet<String>>,
) {
    for avatar in &avatars {
        let Some(wanted) = &avatar.subject else { continue };
        if let Some(near) = near_name(wanted, subjects.iter().map(|(name, _)| name))
            && warned.insert(wanted.clone())
        {
            warn!(
                "an avatar shows the face of {wanted:?}, which is not there, but {near:?} is: names are compared exactly, \
                 upper and lower case included"
            );
        }
    }
}

/// The first of these names that differs from the wanted one in upper and lower case or outer spaces alone, if none is the
/// wanted one itself.
fn near_name<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let folded = |name: &str| name.trim().to_lowercase();
    if names.clone().any(|name| name == wanted) {
        return None;
    }
    names.clone().find(|name| folded(name) == folded(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_name_ignores_case_and_outer_spaces() {
        let near = |wanted, names: &'static [&'static str]| near_name(wanted, names.iter().copied());
        assert_eq!(near("ann", &["Bo", "Ann"]), Some("Ann"));
        assert_eq!(near("Ann ", &["Ann"]), Some("Ann"));
        assert_eq!(near("ann", &["Ann", "ann"]), None, "the wanted one is there");
        assert_eq!(near("ann", &["Anna"]), None);
    }
}
