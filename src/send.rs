//! Faces of this game, sent to others.

use bevy::{mesh::morph::MorphWeights, prelude::*};
use facelink::{BLENDSHAPE_COUNT, Channel, FaceFrame, HeadPose};

use crate::{
    avatar::{FaceBinding, Shown},
    bones::Bone,
    plugin::FaceLinkEndpoint,
    pose::FacePose,
    sources::{Dialled, FaceDial},
};

/// Sends a face of this game: to pages and games that have subscribed to our endpoint, and to every endpoint that we
/// [dialled](crate::FaceSource::connect), at the rate that each of them asks for.
///
/// Put it on an avatar (an entity with `MorphWeights` on it or below it, whatever animates them): what is sent is what
/// the avatar shows after every system of the frame, under the ARKit names of its targets, and its head. Or put it on a
/// subject, to pass that face on.
#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[reflect(Component)]
#[require(SendFaceState, Outgoing)]
pub struct SendFace {
    /// Name of the face on the other side.
    pub name: String,
    /// Frames a second, at most.
    pub fps: f32,
    /// Whether it goes to those who have subscribed to our endpoint.
    pub to_subscribers: bool,
    /// Whether it goes to the endpoints that we dialled.
    pub to_connections: bool,
}

impl SendFace {
    /// Sends the face under this name, to everybody, 60 times a second.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), fps: 60.0, to_subscribers: true, to_connections: true }
    }

    /// At most so many frames a second.
    #[must_use]
    pub fn fps(mut self, fps: f32) -> Self {
        self.fps = fps;
        self
    }

    /// Whether it goes to those who have subscribed to our endpoint.
    #[must_use]
    pub fn to_subscribers(mut self, to_subscribers: bool) -> Self {
        self.to_subscribers = to_subscribers;
        self
    }

    /// Whether it goes to the endpoints that we dialled.
    #[must_use]
    pub fn to_connections(mut self, to_connections: bool) -> Self {
        self.to_connections = to_connections;
        self
    }
}

/// What becomes of a [`SendFace`].
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Component, Default)]
pub enum SendFaceState {
    /// Nothing was sent yet: the avatar is not bound, or there are no sockets.
    #[default]
    Idle,
    /// Frames leave.
    Sending,
    /// Subscribers do not get it.
    Refused {
        /// Why, such as another face of this name.
        reason: String,
    },
}

/// What a sender remembers.
#[derive(Component, Debug, Default)]
pub(crate) struct Outgoing {
    frame: FaceFrame,
    last: Option<f64>,
    /// The head bone's rotation when it was first seen.
    rest: Option<Quat>,
    sequence: u64,
}

/// A tenth of slack, so that 60 fps of an engine that runs at 60 are not halved by its jitter.
const SLACK: f64 = 0.9;

pub(crate) fn send_faces(
    time: Res<Time<Real>>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut senders: Query<(
        Entity,
        &SendFace,
        &mut Outgoing,
        &mut SendFaceState,
        Option<&FacePose>,
        Option<&FaceBinding>,
        Option<&Shown>,
    )>,
    mut connections: Query<(&mut Dialled, &FaceDial)>,
    morphs: Query<&MorphWeights>,
    transforms: Query<&Transform>,
) {
    let Some(endpoint) = endpoint else { return };
    let now = time.elapsed_secs_f64();
    for (entity, send, mut outgoing, mut state, pose, binding, shown) in &mut senders {
        let outgoing = &mut *outgoing;
        if outgoing.last.is_some_and(|last| now - last < SLACK / f64::from(send.fps.clamp(0.1, 1000.0))) {
            continue;
        }
        let filled = match (pose, binding) {
            (Some(pose), _) => {
                from_pose(pose, &mut outgoing.frame);
                true
            }
            (None, Some(binding)) => from_avatar(binding, shown, &morphs, &transforms, outgoing),
            (None, None) => false,
        };
        if !filled {
            continue;
        }
        outgoing.last = Some(now);
        outgoing.sequence += 1;
        outgoing.frame.sequence = Some(outgoing.sequence);
        let mut next = SendFaceState::Sending;
        if send.to_subscribers
            && let Err(error) = endpoint.publish(&send.name, &outgoing.frame)
        {
            next = SendFaceState::Refused { reason: error.to_string() };
        }
        if send.to_connections {
            for (mut dialled, dial) in &mut connections {
                if dial.send {
                    dialled.send(entity, &send.name, &outgoing.frame, now);
                }
            }
        }
        if *state != next {
            if let SendFaceState::Refused { reason } = &next {
                warn!("{reason}");
            }
            *state = next;
        }
    }
}

impl Dialled {
    /// Sends a frame unless the other side has asked for fewer.
    fn send(&mut self, entity: Entity, name: &str, frame: &FaceFrame, now: f64) {
        let interval = SLACK / f64::from(self.client.target_fps().max(0.1));
        match self.last.iter_mut().find(|(other, _)| *other == entity) {
            Some((_, last)) if now - *last < interval => return,
            Some((_, last)) => *last = now,
            None => {
                // Senders that are gone make room.
                self.last.retain(|(_, last)| now - last < 60.0);
                self.last.push((entity, now));
            }
        }
        self.client.send_as(name, frame.clone());
    }
}

fn head(rotation: Quat, position: Option<Vec3>) -> HeadPose {
    HeadPose { rotation: rotation.to_array(), position: position.map(|position| position.to_array()) }
}

fn all_present(frame: &mut FaceFrame) {
    frame.present = (1 << BLENDSHAPE_COUNT) - 1;
}

fn from_pose(pose: &FacePose, frame: &mut FaceFrame) {
    frame.weights = pose.weights;
    all_present(frame);
    frame.channels.clone_from(&pose.channels);
    frame.head = Some(head(pose.head, pose.head_position));
    frame.tracked = pose.tracked;
}

/// What an avatar shows; `false` when it has no face.
fn from_avatar(
    binding: &FaceBinding,
    shown: Option<&Shown>,
    morphs: &Query<&MorphWeights>,
    transforms: &Query<&Transform>,
    outgoing: &mut Outgoing,
) -> bool {
    let frame = &mut outgoing.frame;
    frame.weights = [0.0; BLENDSHAPE_COUNT];
    frame.channels.clear();
    let mut any = false;
    for mesh in &binding.meshes {
        let Some(Ok(weights)) = mesh.node.map(|node| morphs.get(node)) else { continue };
        let weights = weights.weights();
        for (target, shape) in &mesh.shapes {
            let Some(weight) = weights.get(usize::from(*target)) else { continue };
            any = true;
            let slot = &mut frame.weights[usize::from(*shape)];
            // Several meshes may show one shape; the one that shows it most tells.
            if weight.abs() > slot.abs() {
                *slot = *weight;
            }
        }
        for bound in &mesh.channels {
            let Some(weight) = weights.get(usize::from(bound.target)) else { continue };
            // At most as many as others would take from us; what is at rest is left out.
            if *weight != 0.0 && !frame.channels.iter().any(|channel| channel.name == bound.name) {
                frame.channels.push(Channel { name: bound.name.clone(), value: *weight });
            }
        }
    }
    if !any {
        return false;
    }
    all_present(frame);
    frame.tracked = true;
    frame.head = match (shown.filter(|shown| !shown.idle), binding.bones.head) {
        (Some(shown), _) => Some(head(shown.pose.head, None)),
        (None, Some(bone)) => {
            transforms.get(bone.entity).ok().map(|now| head(turn_of(&bone, now, &mut outgoing.rest), None))
        }
        (None, None) => None,
    };
    true
}

/// The turn of a bone in the axes of the model, from where it was first seen.
fn turn_of(bone: &Bone, now: &Transform, rest: &mut Option<Quat>) -> Quat {
    let rest = *rest.get_or_insert(now.rotation);
    (bone.parent * now.rotation * rest.inverse() * bone.parent.inverse()).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_told_in_the_axes_of_the_model() {
        let turn = Quat::from_rotation_y(0.4) * Quat::from_rotation_x(-0.2);
        for parent in [Quat::IDENTITY, Quat::from_rotation_z(1.1) * Quat::from_rotation_x(0.6)] {
            let bone = Bone { entity: Entity::PLACEHOLDER, parent };
            let at_rest = Quat::from_rotation_y(1.9);
            let mut rest = None;
            assert!(turn_of(&bone, &Transform::from_rotation(at_rest), &mut rest).angle_between(Quat::IDENTITY) < 1e-3);
            let now = Transform::from_rotation(bone.turned(at_rest, turn));
            assert!(turn_of(&bone, &now, &mut rest).angle_between(turn) < 1e-3);
        }
    }
}
