//! The order of FaceLink's systems.

use bevy::{app::AnimationSystems, prelude::*, transform::TransformSystems};

/// The order of FaceLink's systems.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaceLinkSystems {
    /// `PreUpdate`: frames and events come in from the link.
    Receive,
    /// `PostUpdate`, before [`Drive`](Self::Drive): the pose on stage now, and who drives whom.
    Evaluate,
    /// `PostUpdate`, after `AnimationSystems` and before `TransformSystems::Propagate`: morph weights and bones.
    Drive,
}

/// The order within [`FaceLinkSystems`], across the plugins of the concerns.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// `Receive`: frames become subjects.
    Frames,
    /// `Receive`: events are taken from the link.
    Events,
    /// `Receive`: subjects, layers and sources act on the events.
    React,
    /// `Evaluate`: the pose of every subject.
    Playout,
    /// `Evaluate`: virtual subjects are merged.
    Merge,
    /// `Evaluate`: expressions and speech of subjects.
    Layers,
    /// `Evaluate`: which subject drives which avatar.
    Choose,
    /// `Drive`: avatars are bound.
    Bind,
    /// `Drive`: how finely each avatar is evaluated.
    Plan,
    /// `Drive`: weights and bones are written.
    Write,
    /// `Drive`: what it cost.
    Settle,
}

pub(crate) struct SchedulePlugin;

impl Plugin for SchedulePlugin {
    fn build(&self, app: &mut App) {
        use FaceLinkSystems::{Drive, Evaluate, Receive};
        app.configure_sets(PreUpdate, (Step::Frames, Step::Events, Step::React).chain().in_set(Receive))
            .configure_sets(
                PostUpdate,
                (
                    (Evaluate, Drive).chain().after(AnimationSystems).before(TransformSystems::Propagate),
                    (Step::Playout, Step::Merge, Step::Layers, Step::Choose).chain().in_set(Evaluate),
                    (Step::Bind, Step::Plan, Step::Write, Step::Settle).chain().in_set(Drive),
                ),
            );
    }
}
