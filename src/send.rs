//! Faces of this game, sent to others.

use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};
use facelink::{BLENDSHAPE_COUNT, Channel, EyeGaze, FaceFrame, Gaze, HeadPose};
use facelink_net::Client;

use crate::{
    avatar::{Bindable, Shown},
    binding::{FaceBinding, Morphs},
    bones::Bone,
    endpoint::FaceLinkEndpoint,
    lifecycle::{self, ComponentAdded},
    pose::FacePose,
    sets::Step,
    sources::{Dialled, FaceDial},
};

pub(crate) struct SendPlugin;

impl Plugin for SendPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<SendFace>()
            .register_type::<SendFaceState>()
            .register_required_components::<Dialled, SentFaces>()
            .add_observer(on_sender_added)
            .add_observer(on_sender_removed)
            .add_systems(PostUpdate, send_faces.in_set(Step::Send));
    }
}

/// What is to be sent has to be found like what is to be driven.
fn on_sender_added(added: On<ComponentAdded<SendFace>>, mut commands: Commands, subjects: Query<(), With<FacePose>>) {
    if !subjects.contains(added.entity) {
        commands.entity(added.entity).try_insert(Bindable);
    }
}

/// Sends a face of this game: to pages and games that have subscribed to our endpoint, and to every endpoint that we
/// [dialled](crate::FaceSource::connect), at the rate that each of them asks for.
///
/// Put it on an avatar (an entity with `MorphWeights` on it or below it, whatever animates them): what is sent is what
/// the avatar shows after every system of the frame, under the ARKit names of its targets, and its head. Or put it on a
/// subject, to pass that face on.
#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[component(on_add = lifecycle::added::<Self>, on_remove = before_removal)]
#[reflect(Component)]
#[require(SendFaceState, Outgoing)]
pub struct SendFace {
    /// Name of the face on the other side.
    pub name: String,
    /// Maximum frames a second.
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

    /// Maximum frames a second.
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
    pace: Pace,
    /// The head bone's rotation when it was first seen.
    rest: Option<Quat>,
    sequence: u64,
}

/// Lets so many frames a second through, evenly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When the next one is due, seconds since the start.
    next: Option<f64>,
}

impl Pace {
    fn is_due(&mut self, fps: f32, now: f64) -> bool {
        let interval = 1.0 / f64::from(fps.clamp(0.1, 1000.0));
        let next = self.next.unwrap_or(now);
        // A tenth of slack, so that 60 fps of an engine that runs at 60 are not halved by its jitter.
        if now < next - 0.1 * interval {
            return false;
        }
        // Counted from when it was due, or 60 of an engine that runs at 144 would be 48; but nothing is made up for.
        self.next = Some(if now - next < interval { next + interval } else { now + interval });
        true
    }
}

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
    mut connections: Query<(&Dialled, &mut SentFaces, &FaceDial)>,
    morphs: Morphs,
    transforms: Query<&Transform>,
) {
    let Some(endpoint) = endpoint else {
        for (_, _, _, mut state, ..) in &mut senders {
            state.set_if_neq(SendFaceState::Idle);
        }
        return;
    };
    let now = time.elapsed_secs_f64();
    for (entity, send, mut outgoing, mut state, pose, binding, shown) in &mut senders {
        let outgoing = &mut *outgoing;
        if !outgoing.pace.is_due(send.fps, now) {
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
        outgoing.sequence += 1;
        outgoing.frame.sequence = Some(outgoing.sequence);
        let mut next = SendFaceState::Sending;
        if send.to_subscribers
            && let Err(error) = endpoint.publish(&send.name, &outgoing.frame)
        {
            next = SendFaceState::Refused { reason: error.to_string() };
        }
        if send.to_connections {
            for (dialled, mut sent, dial) in &mut connections {
                if dial.send {
                    sent.send(&dialled.client, entity, &send.name, &outgoing.frame, now);
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

/// What a connection remembers of a face that goes there.
#[derive(Debug)]
struct SentFace {
    sender: Entity,
    pace: Pace,
    last: f64,
    /// Counted for this connection: what it did not ask for is no loss.
    sequence: u64,
}

/// The faces that go to an endpoint that we dialled.
#[derive(Component, Debug, Default)]
pub(crate) struct SentFaces(Vec<SentFace>);

impl SentFaces {
    /// Sends a frame unless the other side has asked for fewer.
    fn send(&mut self, client: &Client, sender: Entity, name: &str, frame: &FaceFrame, now: f64) {
        let index = self.0.iter().position(|sent| sent.sender == sender).unwrap_or_else(|| {
            // Senders that are gone make room.
            self.0.retain(|sent| now - sent.last < 60.0);
            self.0.push(SentFace { sender, pace: Pace::default(), last: now, sequence: 0 });
            self.0.len() - 1
        });
        let sent = &mut self.0[index];
        if !sent.pace.is_due(client.target_fps(), now) {
            return;
        }
        sent.last = now;
        sent.sequence += 1;
        client.send_as(name, FaceFrame { sequence: Some(sent.sequence), ..frame.clone() });
    }
}

/// A sender was removed.
#[derive(Event)]
pub(crate) struct SenderRemoved {
    sender: Entity,
    send: SendFace,
    /// Its last frame, without a face.
    farewell: FaceFrame,
}

/// While there is something left to read.
fn before_removal(mut world: DeferredWorld, context: HookContext) {
    let sender = context.entity;
    if let Some(mut state) = world.get_mut::<SendFaceState>(sender) {
        *state = SendFaceState::Idle;
    }
    let Some(send) = world.get::<SendFace>(sender).cloned() else { return };
    let Some(mut outgoing) = world.get_mut::<Outgoing>(sender) else { return };
    if outgoing.sequence == 0 {
        return;
    }
    let sequence = outgoing.sequence + 1;
    let farewell = FaceFrame { tracked: false, sequence: Some(sequence), ..std::mem::take(&mut outgoing.frame) };
    world.trigger(SenderRemoved { sender, send, farewell });
}

/// The others need not wait for its silence to ease it out.
pub(crate) fn on_sender_removed(
    removed: On<SenderRemoved>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut connections: Query<(&Dialled, &mut SentFaces, &FaceDial)>,
) {
    let Some(endpoint) = endpoint else { return };
    let SenderRemoved { sender, send, farewell } = removed.event();
    if send.to_subscribers {
        // If publishing is refused, no subscriber ever had it.
        let _ = endpoint.publish(&send.name, farewell);
    }
    if send.to_connections {
        for (dialled, mut sent, _) in connections.iter_mut().filter(|(.., dial)| dial.send) {
            let Some(index) = sent.0.iter().position(|sent| sent.sender == *sender) else { continue };
            let sequence = sent.0.swap_remove(index).sequence + 1;
            dialled.client.send_as(&send.name, FaceFrame { sequence: Some(sequence), ..farewell.clone() });
        }
    }
}

fn head(rotation: Quat, position: Option<Vec3>) -> HeadPose {
    HeadPose { rotation: rotation.to_array(), position: position.map(|position| position.to_array()) }
}

fn gaze(eyes: [Vec2; 2]) -> Gaze {
    let [left, right] = eyes.map(|eye| EyeGaze { yaw: eye.x, pitch: eye.y });
    Gaze { left, right }
}

fn all_present(frame: &mut FaceFrame) {
    frame.present = (1 << BLENDSHAPE_COUNT) - 1;
}

fn from_pose(pose: &FacePose, frame: &mut FaceFrame) {
    frame.weights = pose.weights;
    all_present(frame);
    frame.channels.clone_from(&pose.channels);
    frame.head = Some(head(pose.head, pose.head_position));
    frame.gaze = Some(gaze(pose.gaze));
    frame.tracked = pose.tracked;
}

/// What an avatar shows; `false` when it has no face.
fn from_avatar(
    binding: &FaceBinding,
    shown: Option<&Shown>,
    morphs: &Morphs,
    transforms: &Query<&Transform>,
    outgoing: &mut Outgoing,
) -> bool {
    let frame = &mut outgoing.frame;
    frame.weights = [0.0; BLENDSHAPE_COUNT];
    for channel in &mut frame.channels {
        channel.value = 0.0;
    }
    let mut any = false;
    let mut direct = [false; BLENDSHAPE_COUNT];
    for (index, mesh) in binding.meshes.iter().enumerate() {
        let Some(weights) = mesh.node.and_then(|node| morphs.get(node)) else { continue };
        for (target, shape, full) in binding.compiled.direct(index) {
            let Some(weight) = weights.get(target).map(|weight| weight / full) else { continue };
            any = true;
            direct[shape.index()] = true;
            let slot = &mut frame.weights[shape.index()];
            // Several meshes may show one shape; the largest weight counts.
            if weight.abs() > slot.abs() {
                *slot = weight;
            }
        }
        any |= binding.compiled.targets(index).next().is_some();
        for bound in &mesh.channels {
            let Some(weight) = weights.get(usize::from(bound.target)).filter(|_| !bound.mapped) else { continue };
            match frame.channels.iter_mut().find(|channel| channel.name == bound.name) {
                Some(channel) if weight.abs() > channel.value.abs() => channel.value = *weight,
                Some(_) => {}
                // What was never moved is left out; what was goes on, or its return to rest would not be seen.
                None if *weight != 0.0 => frame.channels.push(Channel { name: bound.name.clone(), value: *weight }),
                None => {}
            }
        }
    }
    if !any {
        return false;
    }
    all_present(frame);
    frame.tracked = true;
    let shown = shown.filter(|shown| !shown.idle);
    // Shapes without a target of their own are taken from the shown face, if there is one.
    if let Some(shown) = shown {
        for (shape, _) in direct.iter().enumerate().filter(|(_, direct)| !**direct) {
            frame.weights[shape] = shown.pose.weights[shape];
        }
    }
    // Without a face behind it, where the eyes look is in the `eyeLook` shapes.
    frame.gaze = shown.map(|shown| gaze(shown.pose.gaze));
    frame.head = match (shown, binding.bones.head()) {
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
    fn send_rate_is_kept_at_any_engine_rate() {
        for (engine, asked, expected) in
            [(60.0, 60.0, 600), (144.0, 60.0, 600), (60.0, 30.0, 300), (60.0, 45.0, 450), (30.0, 60.0, 300)]
        {
            let mut pace = Pace::default();
            let sent = (0..(10.0 * engine) as u32).filter(|i| pace.is_due(asked, f64::from(*i) / engine)).count();
            assert!(sent.abs_diff(expected) <= 2, "{engine} to {asked}: {sent}");
        }
        let mut pace = Pace::default();
        assert!(pace.is_due(60.0, 0.0) && pace.is_due(60.0, 5.0));
        assert!(!pace.is_due(60.0, 5.001), "what was missed is not made up for");
    }

    #[test]
    fn sent_head_is_in_model_axes() {
        let turn = Quat::from_rotation_y(0.4) * Quat::from_rotation_x(-0.2);
        for parent in [Quat::IDENTITY, Quat::from_rotation_z(1.1) * Quat::from_rotation_x(0.6)] {
            let bone = Bone { entity: Entity::PLACEHOLDER, parent, pivot: Vec3::ZERO };
            let at_rest = Quat::from_rotation_y(1.9);
            let mut rest = None;
            assert!(turn_of(&bone, &Transform::from_rotation(at_rest), &mut rest).angle_between(Quat::IDENTITY) < 1e-3);
            let now = Transform::from_rotation(bone.turned(at_rest, turn));
            assert!(turn_of(&bone, &now, &mut rest).angle_between(turn) < 1e-3);
        }
    }
}
