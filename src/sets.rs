//! The order of FaceLink's systems.

use bevy::{app::AnimationSystems, prelude::*, transform::TransformSystems};

/// The order of FaceLink's systems.
///
/// Systems in `Update` read the poses of this very frame without any ordering: [`Evaluate`](Self::Evaluate) is in
/// `PreUpdate`.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaceLinkSystems {
    /// `PreUpdate`: frames and events come in from the link.
    Receive,
    /// `PreUpdate`, after [`Receive`](Self::Receive): every subject's [`FacePose`](crate::FacePose) for this rendered frame,
    /// with the subject's own layers. What has to be set for it in this frame, such as
    /// [`FaceTimecode::reference`](crate::FaceTimecode::reference), is set before this set; what is set in `Update` counts
    /// from the next frame on.
    Evaluate,
    /// `PostUpdate`, after `AnimationSystems` and before `TransformSystems::Propagate`: which subject drives which avatar,
    /// the avatars' own layers, morph weights and bones. What `Update` has set on an avatar is shown in this frame.
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
    /// `Evaluate`: expressions and speech of subjects.
    Layers,
    /// `Evaluate`: virtual subjects are merged from them.
    Merge,
    /// `Evaluate`: expressions and speech of virtual subjects.
    MergedLayers,
    /// `Drive`: which subject drives which avatar.
    Choose,
    /// `Drive`: avatars are bound.
    Bind,
    /// `Drive`: how finely each avatar is evaluated.
    Plan,
    /// `Drive`: weights and bones are written.
    Write,
    /// `Drive`: what it cost.
    Settle,
    /// After all that is written: faces of this game are sent.
    Send,
}

pub(crate) struct SchedulePlugin;

impl Plugin for SchedulePlugin {
    fn build(&self, app: &mut App) {
        use FaceLinkSystems::{Drive, Evaluate, Receive};
        app.configure_sets(
            PreUpdate,
            (
                (Receive, Evaluate).chain(),
                (Step::Frames, Step::Events, Step::React).chain().in_set(Receive),
                (Step::Playout, Step::Layers, Step::Merge, Step::MergedLayers).chain().in_set(Evaluate),
            ),
        )
        .configure_sets(
            PostUpdate,
            (
                Drive.after(AnimationSystems).before(TransformSystems::Propagate),
                (Step::Choose, Step::Bind, Step::Plan, Step::Write, Step::Settle).chain().in_set(Drive),
                Step::Send.after(Drive),
            ),
        );
    }
}
