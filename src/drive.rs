//! Writing the pose: morph weights and bones.

use bevy::{mesh::morph::MorphWeights, prelude::*};

use crate::{
    avatar::{FaceAvatar, FaceBinding, Shown},
    bones::{Bone, Turned, eye_turn, limited},
    pose::{FacePose, FaceSettings, smooth},
};

/// The shader skips weights of exactly zero: what nobody can see is written as that.
const INVISIBLE: f32 = 1e-4;

/// What each avatar shows now: its subject's pose, or on the way to it.
pub(crate) fn show(
    time: Res<Time<Real>>,
    settings: Res<FaceSettings>,
    poses: Query<&FacePose>,
    mut avatars: Query<&mut Shown>,
) {
    let dt = time.delta_secs();
    let neutral = FacePose::default();
    for mut shown in &mut avatars {
        let shown = &mut *shown;
        let target = shown.subject.and_then(|subject| poses.get(subject).ok()).unwrap_or(&neutral);
        if shown.blend >= 1.0 {
            shown.pose.clone_from(target);
        } else {
            shown.blend = if settings.switch > 0.0 { (shown.blend + dt / settings.switch).min(1.0) } else { 1.0 };
            shown.pose.clone_from(&shown.from);
            shown.pose.blend_to(target, smooth(shown.blend));
        }
    }
}

fn is_neutral(shown: &Shown) -> bool {
    let pose = &shown.pose;
    shown.subject.is_none() && shown.blend >= 1.0 && pose.weights.iter().all(|weight| weight.abs() < INVISIBLE)
}

pub(crate) fn write_weights(
    mut avatars: Query<(&FaceAvatar, &mut FaceBinding, &Shown)>,
    mut morphs: Query<&mut MorphWeights>,
) {
    let visible = |weight: f32| if weight.abs() < INVISIBLE { 0.0 } else { weight };
    for (avatar, mut binding, shown) in &mut avatars {
        if shown.idle && is_neutral(shown) {
            continue;
        }
        for mesh in &mut binding.meshes {
            let Some(Ok(mut morph)) = mesh.node.map(|node| morphs.get_mut(node)) else { continue };
            let weights = morph.weights_mut();
            for (target, shape) in &mesh.shapes {
                let weight = shown.pose.weights[usize::from(*shape)] * avatar.gain;
                if let Some(slot) = weights.get_mut(usize::from(*target)) {
                    *slot = visible(weight);
                }
            }
            for bound in &mut mesh.channels {
                let channel = shown.pose.channels.iter().find(|channel| channel.name == bound.name);
                // A target that no channel names is left to others, once it is back at 0.
                if channel.is_none() && !bound.driven {
                    continue;
                }
                bound.driven = channel.is_some();
                if let Some(slot) = weights.get_mut(usize::from(bound.target)) {
                    *slot = visible(channel.map_or(0.0, |channel| channel.value * avatar.gain));
                }
            }
        }
    }
}

pub(crate) fn turn_bones(
    mut avatars: Query<(&FaceAvatar, &FaceBinding, &mut Shown)>,
    mut transforms: Query<(&mut Transform, &mut Turned)>,
) {
    let mut turn = |bone: &Bone, by: Quat| {
        if let Ok((mut transform, mut turned)) = transforms.get_mut(bone.entity) {
            turned.turn(bone, &mut transform, by);
        }
    };
    for (avatar, binding, mut shown) in &mut avatars {
        let neutral = is_neutral(&shown);
        if neutral && shown.idle {
            continue;
        }
        let bones = &binding.bones;
        if avatar.drive_head {
            let head = limited(shown.pose.head, avatar.head_limit);
            let neck_share = if bones.neck.is_some() && bones.head.is_some() { avatar.neck_share } else { 0.0 };
            let neck = Quat::IDENTITY.slerp(head, neck_share.clamp(0.0, 1.0));
            let rest = neck.inverse() * head;
            for (bone, by) in [(bones.neck, neck), (bones.head, rest)] {
                if let Some(bone) = bone {
                    turn(&bone, by);
                }
            }
        }
        if avatar.drive_eyes {
            let limit = Vec2::splat(avatar.eye_limit);
            for (bone, gaze) in bones.eyes.iter().zip(shown.pose.gaze) {
                if let Some(bone) = bone {
                    turn(bone, eye_turn(gaze.clamp(-limit, limit)));
                }
            }
        }
        shown.idle = neutral;
    }
}

#[cfg(test)]
mod tests {
    use bevy::ecs::schedule::SingleThreadedExecutor;
    use facelink::{Blendshape, Channel, performer::Performance};

    use super::*;
    use crate::{
        FaceAvatar, FaceInbox, FaceSubjects,
        avatar::{BoundChannel, BoundMesh, choose_subjects},
        bones::{Bones, turn_back},
        subjects::{evaluate, receive, receive_events},
    };

    #[test]
    fn a_frame_costs_no_allocation_from_the_channel_to_the_weights() {
        let mut world = World::new();
        let (inbox, faces) = FaceInbox::bounded(16);
        world.insert_resource(inbox);
        world.init_resource::<FaceSubjects>();
        world.init_resource::<FaceSettings>();
        world.init_resource::<Time<Real>>();
        let mut schedule = Schedule::default();
        schedule.set_executor(SingleThreadedExecutor::new());
        let received = (turn_back, receive, receive_events).chain();
        let driven = (evaluate, choose_subjects, show, write_weights, turn_bones).chain();
        schedule.add_systems((received, driven).chain());

        let mut nodes = Vec::new();
        for i in 0..10 {
            let weights = MorphWeights::new(vec![0.0; 53], None).expect("few enough");
            let node = world.spawn((weights, Transform::default(), Turned::default())).id();
            let bone = Some(Bone { entity: node, parent: Quat::IDENTITY });
            let mesh = BoundMesh {
                node: Some(node),
                shapes: (0..52).map(|shape| (shape, shape)).collect(),
                channels: vec![BoundChannel { target: 52, name: "tail".into(), driven: false }],
            };
            let bones = Bones { head: bone, neck: None, eyes: [None; 2] };
            world.spawn((FaceAvatar::of(format!("face {}", i % 2)), FaceBinding { meshes: vec![mesh], bones }));
            nodes.push(node);
        }

        let performance = Performance::new(3);
        // More channels than are stored inline.
        let names = ["tail", "a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let channels = names.map(|name| Channel { name: name.into(), value: 0.5 });
        let mut total = 0;
        for i in 0..240_u64 {
            world.resource_mut::<Time<Real>>().update_with_duration(std::time::Duration::from_millis(16));
            for (id, name) in [(1, "face 0"), (2, "face 1")] {
                let mut frame = performance.frame_at(std::time::Duration::from_millis(16 * i));
                frame.channels.extend(channels.iter().cloned());
                faces.send(id, name, frame);
            }
            let counted = allocation_counter::measure(|| schedule.run(&mut world));
            if i >= 120 {
                total += counted.count_total;
            }
        }
        assert_eq!(total, 0, "allocations in 120 frames");
        let frame = performance.frame_at(std::time::Duration::from_millis(16 * 239));
        for node in nodes {
            let weights = world.get::<MorphWeights>(node).expect("weights").weights();
            let jaw = Blendshape::JawOpen.index();
            assert!((weights[jaw] - frame.weights[jaw]).abs() < 1e-3);
            assert_eq!(weights[52], 0.5);
        }
    }
}
