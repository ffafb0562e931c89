//! The pose of a face that is shown now, and how it eases in and out.

use bevy::prelude::*;
use facelink::{BLENDSHAPE_COUNT, Blendshape, Channel, Channels, FaceFrame, frame::Gaze};

use crate::settings::FaceSettings;

pub use facelink::EYE_LOOK_RANGE;

/// A face as it is shown: after holding and easing, before an avatar's own mapping.
#[derive(Component, Reflect, Debug, PartialEq)]
#[reflect(Component, Clone, Default)]
pub struct FacePose {
    /// Weights by [`Blendshape::index`]; 0 neutral, 1 full.
    pub weights: [f32; BLENDSHAPE_COUNT],
    /// Channels other than the 52 shapes, by their own names.
    #[reflect(ignore)]
    pub channels: Channels,
    /// Head rotation in model space: +X the face's own left, +Y up, +Z out of the face.
    pub head: Quat,
    /// Head position in metres, where the source knows it.
    pub head_position: Option<Vec3>,
    /// Direction of the left and the right eye relative to the head: yaw (positive to the performer's left) and pitch
    /// (positive up), radians.
    pub gaze: [Vec2; 2],
    /// Whether the source sees the face now.
    pub tracked: bool,
    /// Presence of the face: 1 live, 0 eased to neutral.
    pub presence: f32,
    /// When this face was captured, on the source's own clock: what sound or another take has to be at to be in step.
    pub captured: Option<std::time::Duration>,
}

impl Default for FacePose {
    fn default() -> Self {
        Self {
            weights: [0.0; BLENDSHAPE_COUNT],
            channels: Channels::new(),
            head: Quat::IDENTITY,
            head_position: None,
            gaze: [Vec2::ZERO; 2],
            tracked: false,
            presence: 0.0,
            captured: None,
        }
    }
}

impl Clone for FacePose {
    fn clone(&self) -> Self {
        Self { channels: self.channels.clone(), ..*self }
    }

    /// Allocates nothing where `self` already had room for as many channels: every avatar does this every frame.
    fn clone_from(&mut self, source: &Self) {
        let mut channels = std::mem::take(&mut self.channels);
        channels.clone_from(&source.channels);
        *self = Self { channels, ..*source };
    }
}

impl FacePose {
    /// The weight of a shape.
    pub fn weight(&self, shape: Blendshape) -> f32 {
        self.weights[shape.index()]
    }

    /// Sets the pose to `frame`, scaled towards neutral by `presence`. Allocates nothing while the channels stay the same.
    pub fn set_from(&mut self, frame: &FaceFrame, presence: f32) {
        let share = smooth(presence);
        for (weight, target) in self.weights.iter_mut().zip(&frame.weights) {
            *weight = target * share;
        }
        let same = self.channels.len() == frame.channels.len()
            && self.channels.iter().zip(&frame.channels).all(|(a, b)| std::sync::Arc::ptr_eq(&a.name, &b.name));
        if !same {
            self.channels.clone_from(&frame.channels);
        }
        for (channel, target) in self.channels.iter_mut().zip(&frame.channels) {
            channel.value = target.value * share;
        }
        let head = frame.head.map_or(Quat::IDENTITY, |head| Quat::from_array(head.rotation));
        self.head = Quat::IDENTITY.slerp(head, share);
        self.head_position = frame.head.and_then(|head| head.position).map(Vec3::from_array);
        let gaze = frame.gaze.unwrap_or_else(|| Gaze::from_weights(&frame.weights));
        self.gaze = eyes(gaze).map(|eye| eye * share);
        self.tracked = frame.tracked;
        self.presence = presence;
    }

    /// Moves every value towards `target` by the share `t` of the distance.
    pub fn blend_to(&mut self, target: &Self, t: f32) {
        for (weight, target) in self.weights.iter_mut().zip(&target.weights) {
            *weight += (target - *weight) * t;
        }
        // A channel that one of the two lacks is 0 there.
        for channel in &mut self.channels {
            let target = target.channels.iter().find(|target| target.name == channel.name);
            channel.value += (target.map_or(0.0, |target| target.value) - channel.value) * t;
        }
        for target in &target.channels {
            if !self.channels.iter().any(|channel| channel.name == target.name) {
                self.channels.push(Channel { value: target.value * t, ..target.clone() });
            }
        }
        self.head = self.head.slerp(target.head, t);
        self.head_position = match (self.head_position, target.head_position) {
            (Some(own), Some(target)) => Some(own.lerp(target, t)),
            (own, target) => {
                if t < 0.5 {
                    own
                } else {
                    target
                }
            }
        };
        for (eye, target) in self.gaze.iter_mut().zip(&target.gaze) {
            *eye = eye.lerp(*target, t);
        }
        self.tracked = target.tracked;
        self.presence += (target.presence - self.presence) * t;
    }
}

/// Gaze from the `eyeLook*` shapes: yaw and pitch of the left and the right eye.
pub fn gaze_from_shapes(weights: &[f32; BLENDSHAPE_COUNT]) -> [Vec2; 2] {
    eyes(Gaze::from_weights(weights))
}

fn eyes(gaze: Gaze) -> [Vec2; 2] {
    [gaze.left, gaze.right].map(|eye| Vec2::new(eye.yaw, eye.pitch))
}

/// A face that was gone for less than this share of the ease to neutral returns as if it had moved on meanwhile: a tracker
/// that flickers must not freeze the face.
const BARELY_GONE: f32 = 0.9;

/// Presence of a face over time. Time is passed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Presence {
    value: f32,
    live: bool,
    /// 0 at a return, 1 when what was shown then has blended into the live face.
    returned: f32,
    /// Seconds since the last frame.
    silent: f32,
    /// A frame came since the last step.
    fresh: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self { value: 0.0, live: false, returned: 1.0, silent: 0.0, fresh: false }
    }
}

impl Presence {
    /// A frame came.
    pub fn frame(&mut self) {
        self.fresh = true;
    }

    /// Lets `dt` seconds pass. `true` when a face returns that was easing to neutral: what is shown at that moment is
    /// to blend into the live face by [`returned`](Self::returned), because the two may differ.
    pub fn step(&mut self, dt: f32, tracked: bool, settings: &FaceSettings) -> bool {
        // A frame that came during this step is new now, however long the engine took for the step.
        self.silent = if std::mem::take(&mut self.fresh) { 0.0 } else { self.silent + dt };
        let live = tracked && self.silent <= settings.hold;
        let returns = live && !self.live && self.value > 0.0 && self.value < BARELY_GONE;
        self.live = live;
        if returns {
            self.returned = 0.0;
        }
        let share = |time: f32| if time > 0.0 { dt / time } else { 1.0 };
        self.returned = (self.returned + share(settings.ease_in)).min(1.0);
        self.value = if live {
            (self.value + share(settings.ease_in)).min(1.0)
        } else {
            (self.value - share(settings.ease_out)).max(0.0)
        };
        returns
    }

    /// 0 at a return, 1 when it is complete.
    pub fn returned(self) -> f32 {
        self.returned
    }

    /// Whether a frame came within the time that a face is held.
    pub fn is_fresh(self, settings: &FaceSettings) -> bool {
        self.silent <= settings.hold
    }

    /// 0 neutral, 1 live.
    pub fn value(self) -> f32 {
        self.value
    }
}

/// Smoothstep.
pub(crate) fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use facelink::HeadPose;

    use super::*;

    #[test]
    fn silent_face_holds_eases_and_returns_smoothly() {
        let settings = FaceSettings::default();
        let mut presence = Presence::default();
        let dt = 1.0 / 60.0;
        let mut last = 0.0;
        let mut at = |presence: &Presence| {
            let step = (smooth(presence.value()) - last).abs();
            assert!(step < 0.2, "a step of {step}");
            last = smooth(presence.value());
        };
        for _ in 0..60 {
            presence.frame();
            presence.step(dt, true, &settings);
            at(&presence);
        }
        assert_eq!(presence.value(), 1.0);
        for _ in 0..14 {
            presence.step(dt, true, &settings);
            at(&presence);
        }
        assert_eq!(presence.value(), 1.0, "held for a quarter of a second");
        for _ in 0..60 {
            presence.step(dt, true, &settings);
            at(&presence);
        }
        assert_eq!(presence.value(), 0.0, "neutral after a second");
        for _ in 0..12 {
            presence.frame();
            presence.step(dt, true, &settings);
            at(&presence);
        }
        assert_eq!(presence.value(), 1.0);
        presence.frame();
        presence.step(dt, false, &settings);
        assert!(presence.value() < 1.0, "a lost face does not wait");
    }

    #[test]
    fn engine_slower_than_hold_still_shows_the_face() {
        let settings = FaceSettings::default();
        let mut presence = Presence::default();
        for _ in 0..3 {
            presence.frame();
            presence.step(1.0, true, &settings);
        }
        assert_eq!(presence.value(), 1.0);
        assert!(presence.is_fresh(&settings));
    }

    #[test]
    fn returning_face_blends_unless_barely_gone() {
        let settings = FaceSettings::default();
        let mut presence = Presence::default();
        let mut step = |tracked: bool, dt: f32| {
            presence.frame();
            (presence.step(dt, tracked, &settings), presence.returned())
        };
        assert_eq!(step(true, 1.0), (false, 1.0), "out of neutral there is nothing to blend with");
        step(false, 0.05);
        assert_eq!(step(true, 0.01), (false, 1.0), "a flicker");
        step(true, 1.0);
        step(false, 0.3);
        let (returns, returned) = step(true, 0.05);
        assert!(returns && returned > 0.3 && returned < 0.4, "{returned}");
        assert_eq!(step(true, 0.2), (false, 1.0));
        step(false, 2.0);
        assert_eq!(step(true, 0.05), (false, 1.0), "it had gone altogether");
    }

    #[test]
    fn channels_blend_by_name() {
        let pose = |channels: &[(&str, f32)]| FacePose {
            channels: channels.iter().map(|(name, value)| Channel { name: (*name).into(), value: *value }).collect(),
            ..FacePose::default()
        };
        let mut blended = pose(&[("tail", 1.0), ("ears", 0.5)]);
        blended.blend_to(&pose(&[("wings", 1.0), ("ears", 1.0)]), 0.5);
        assert_eq!(blended, pose(&[("tail", 0.5), ("ears", 0.75), ("wings", 0.5)]));
    }

    #[test]
    fn gaze_is_mirrored_between_the_eyes() {
        let mut weights = [0.0; BLENDSHAPE_COUNT];
        weights[Blendshape::EyeLookOutLeft.index()] = 1.0;
        weights[Blendshape::EyeLookInRight.index()] = 1.0;
        let [left, right] = gaze_from_shapes(&weights);
        assert_eq!(left, right, "both look to the performer's left");
        assert!(left.x > 0.6 && left.y == 0.0);
    }

    #[test]
    fn pose_scales_towards_neutral() {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, 0.8);
        frame.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.6).to_array(), position: None });
        let mut pose = FacePose::default();
        pose.set_from(&frame, 0.5);
        assert_eq!(pose.weight(Blendshape::JawOpen), 0.4);
        assert!((pose.head.to_euler(EulerRot::YXZ).0 - 0.3).abs() < 1e-5);
        pose.set_from(&frame, 0.0);
        assert_eq!(pose.weights, [0.0; BLENDSHAPE_COUNT]);
        assert!(pose.head.angle_between(Quat::IDENTITY) < 1e-6);
    }
}
