//! Writing the pose: morph weights and bones.

use bevy::prelude::*;

use facelink::{
    BLENDSHAPE_COUNT, Blendshape, EYE_LOOK_RANGE,
    mapping::{BoneMap, EyeDrive, Face},
    model::Expression,
};

use crate::{
    avatar::{FaceAvatar, ShapePreview, Shown},
    binding::{BoundMesh, FaceBinding, Morphs},
    bones::{Bone, Turned, angles, eye_turn, from_angles, limited},
    detail::{FaceDetail, FaceLoad},
    layers::{FaceExpressionLibrary, LayerTime, Layers, RefusedExpressions},
    lod::LodGroup,
    pose::{FacePose, gaze_from_shapes, smooth},
    sets::Step,
    settings::FaceSettings,
    subjects::FaceSubject,
};

pub(crate) struct DrivePlugin;

impl Plugin for DrivePlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PostUpdate, (show, evaluate_mappings, write_weights, turn_bones).chain().in_set(Step::Write));
    }
}

/// The shader skips weights of exactly zero: an invisible weight is written as zero.
const INVISIBLE: f32 = 1e-4;

/// What each avatar shows now: its subject's pose, or a blend towards it.
pub(crate) fn show(
    time: Res<Time<Real>>,
    game_time: Res<Time<Virtual>>,
    settings: Res<FaceSettings>,
    poses: Query<&FacePose>,
    library: Res<FaceExpressionLibrary>,
    mut refused: ResMut<RefusedExpressions>,
    mut load: ResMut<FaceLoad>,
    mut avatars: Query<(Entity, &mut Shown, &FaceDetail, Option<&ShapePreview>, Layers), Without<FaceSubject>>,
) {
    let picture_dt = time.delta_secs();
    let neutral = FacePose::default();
    let refused = refused.bypass_change_detection();
    let load = load.bypass_change_detection();
    load.evaluated = 0;
    for (entity, mut shown, detail, preview, mut layers) in &mut avatars {
        let shown = &mut *shown;
        shown.game_elapsed += game_time.delta_secs();
        if shown.wait(entity, detail, preview.is_some(), picture_dt) {
            continue;
        }
        load.evaluated += 1;
        let dt = std::mem::take(&mut shown.elapsed);
        let game_dt = std::mem::take(&mut shown.game_elapsed);
        if let Some(preview) = preview {
            shown.pose.clone_from(&neutral);
            shown.step = 1.0;
            if let Some(weight) = shown.pose.weights.get_mut(preview.shape) {
                *weight = preview.weight;
                shown.pose.gaze = gaze_from_shapes(&shown.pose.weights);
            }
            continue;
        }
        let target = shown.subject.and_then(|subject| poses.get(subject).ok()).unwrap_or(&neutral);
        if shown.blend >= 1.0 {
            shown.face.clone_from(target);
        } else {
            shown.blend = if settings.switch > 0.0 { (shown.blend + dt / settings.switch).min(1.0) } else { 1.0 };
            shown.face.clone_from(&shown.from);
            shown.face.blend_to(target, smooth(shown.blend));
        }
        shown.pose.clone_from(&shown.face);
        shown.layered = layers.apply(&mut shown.pose, LayerTime { game: game_dt, visemes: game_dt }, &library, refused);
        shown.begin(detail);
    }
}

impl Shown {
    /// Whether this frame has no evaluation. Avatars of the same interval take turns.
    fn wait(&mut self, entity: Entity, detail: &FaceDetail, at_once: bool, dt: f32) -> bool {
        self.elapsed += dt;
        let every = if at_once { 1 } else { detail.every };
        if self.since == u8::MAX {
            // The first time, somewhere within the rhythm.
            self.since = if every > 1 { every - 1 - (entity.index_u32() % u32::from(every)) as u8 } else { 0 };
        }
        self.since = self.since.saturating_add(1);
        if self.since >= every {
            self.since = 0;
            self.skipped = false;
            return false;
        }
        self.skipped = true;
        let left = f32::from(every - self.since);
        self.step = if detail.on_screen { 1.0 / left } else { 0.0 };
        let share = if detail.on_screen { f32::from(self.since + 1) / f32::from(every) } else { 1.0 };
        let ((from, gaze_from), (to, gaze_to)) = (self.turn_from, self.turn_to);
        self.pose.head = from.slerp(to, share);
        self.pose.gaze = [gaze_from[0].lerp(gaze_to[0], share), gaze_from[1].lerp(gaze_to[1], share)];
        true
    }

    /// The face was evaluated: what is seen moves there evenly until the next time.
    fn begin(&mut self, detail: &FaceDetail) {
        let share = if detail.on_screen { 1.0 / f32::from(detail.every.max(1)) } else { 1.0 };
        self.step = share;
        let to = (self.pose.head, self.pose.gaze);
        self.turn_from = if share < 1.0 { self.turn_to } else { to };
        self.turn_to = to;
        if share < 1.0 {
            let (from, gaze) = self.turn_from;
            self.pose.head = from.slerp(to.0, share);
            self.pose.gaze = [gaze[0].lerp(to.1[0], share), gaze[1].lerp(to.1[1], share)];
        }
    }
}

/// Whether nothing of a face is shown.
pub(crate) fn is_neutral(shown: &Shown) -> bool {
    let pose = &shown.pose;
    !shown.layered
        && shown.subject.is_none()
        && shown.blend >= 1.0
        && pose.weights.iter().all(|weight| weight.abs() < INVISIBLE)
}

/// Where targets turn the eyeballs, a gaze that came without `eyeLook*` shapes is shown by them.
fn look_by_targets(weights: &mut [f32; BLENDSHAPE_COUNT], gaze: [Vec2; 2]) {
    use Blendshape::*;
    const SIDES: [[Blendshape; 4]; 2] = [
        [EyeLookOutLeft, EyeLookInLeft, EyeLookUpLeft, EyeLookDownLeft],
        [EyeLookInRight, EyeLookOutRight, EyeLookUpRight, EyeLookDownRight],
    ];
    if SIDES.as_flattened().iter().any(|shape| weights[shape.index()].abs() > INVISIBLE) {
        return;
    }
    for (shapes, eye) in SIDES.iter().zip(gaze) {
        let looks = [eye.x, -eye.x, eye.y, -eye.y];
        for (shape, look) in shapes.iter().zip(looks) {
            weights[shape.index()] = (look / EYE_LOOK_RANGE).clamp(0.0, 1.0);
        }
    }
}

/// What each avatar's targets get.
pub(crate) fn evaluate_mappings(mut avatars: Query<(&mut FaceBinding, &Shown)>) {
    for (mut binding, shown) in &mut avatars {
        if shown.skipped || shown.idle && is_neutral(shown) {
            continue;
        }
        binding.map(&shown.pose);
    }
}

impl FaceBinding {
    /// What its targets get for a pose.
    pub fn map(&mut self, pose: &FacePose) {
        let Self { compiled, scratch, eyes, expressions, .. } = self;
        let mut weights = pose.weights;
        if *eyes == EyeDrive::Targets {
            look_by_targets(&mut weights, pose.gaze);
        }
        let face = Face { weights: &weights, channels: &pose.channels, head: angles(pose.head).to_array() };
        compiled.evaluate(&face, scratch);
        if let Some(table) = expressions {
            table.levels.fill(0.0);
            for (expression, level) in compiled.mesh(table.mesh, scratch) {
                if let Some(slot) = table.levels.get_mut(expression) {
                    *slot = level;
                }
            }
            Expression::settle(&table.list, &mut table.levels);
        }
    }

    /// Writes what the targets of one of its meshes got, moved there by the share `step`.
    pub fn write(&mut self, mesh: usize, pose: &FacePose, gain: f32, step: f32, weights: &mut [f32]) {
        let visible = |weight: f32| if weight.abs() < INVISIBLE { 0.0 } else { weight };
        let Self { meshes, compiled, scratch, expressions, .. } = self;
        for (target, weight) in compiled.mesh(mesh, scratch) {
            if let Some(slot) = weights.get_mut(target) {
                let to = weight * gain;
                *slot = visible(if step < 1.0 { *slot + (to - *slot) * step } else { to });
            }
        }
        let Some(mesh) = meshes.get_mut(mesh) else { return };
        let levels = expressions.as_ref().map_or(&[][..], |table| &table.levels);
        for bound in &mesh.expressed {
            if let Some(slot) = weights.get_mut(usize::from(bound.target)) {
                let to = bound.weight(levels) * gain;
                *slot = visible(if step < 1.0 { *slot + (to - *slot) * step } else { to });
            }
        }
        for bound in &mut mesh.channels {
            let channel = pose.channels.iter().find(|channel| channel.name == bound.name);
            // A target that no channel names is left to others, once it is back at 0.
            if channel.is_none() && !bound.driven {
                continue;
            }
            bound.driven = channel.is_some();
            if let Some(slot) = weights.get_mut(usize::from(bound.target)) {
                let weight = visible(channel.map_or(0.0, |channel| channel.value * gain));
                *slot = if bound.mapped { slot.max(weight) } else { weight };
            }
        }
    }
}

pub(crate) fn write_weights(
    mut avatars: Query<(&FaceAvatar, &mut FaceBinding, &Shown)>,
    mut morphs: Morphs,
    lods: Query<Ref<LodGroup>>,
) {
    for (avatar, mut binding, shown) in &mut avatars {
        write(avatar, &mut binding, shown, &mut morphs, &lods);
    }
}

/// The same for models whose expressions another plugin drives, after it has cleared what they are bound to.
#[cfg(all(feature = "vrm", bevy_0_20))]
pub(crate) fn write_weights_again(
    mut avatars: Query<(&FaceAvatar, &mut FaceBinding, &Shown)>,
    mut morphs: Morphs,
    lods: Query<Ref<LodGroup>>,
) {
    for (avatar, mut binding, shown) in &mut avatars {
        if binding.named.is_some() {
            write(avatar, &mut binding, shown, &mut morphs, &lods);
        }
    }
}

fn write(
    avatar: &FaceAvatar,
    binding: &mut FaceBinding,
    shown: &Shown,
    morphs: &mut Morphs,
    lods: &Query<Ref<LodGroup>>,
) {
    let still = shown.step <= 0.0 || shown.idle && is_neutral(shown);
    for mesh in 0..binding.meshes.len() {
        let BoundMesh { node, lod, .. } = binding.meshes[mesh];
        let group = lod.and_then(|(group, level)| Some((lods.get(group).ok()?, level)));
        // What is not shown is not written, and is brought up to date once it is.
        if group.as_ref().is_some_and(|(group, level)| group.shown != *level) {
            continue;
        }
        let fresh = group.is_some_and(|(group, _)| group.is_changed());
        if still && !fresh {
            continue;
        }
        if let Some(weights) = node.and_then(|node| morphs.get_mut(node)) {
            binding.write(mesh, &shown.pose, avatar.gain, if fresh { 1.0 } else { shown.step }, weights);
        }
    }
}

/// The head's turn as a mapping wants it.
fn head_turn(pose: &FacePose, avatar: &FaceAvatar, map: &BoneMap, mirror: bool) -> Quat {
    let mut head = pose.head;
    if mirror {
        head = Quat::from_xyzw(head.x, -head.y, -head.z, head.w);
    }
    let Some(bone) = &map.head else { return limited(head, avatar.head_limit) };
    let mut turn = angles(head) * Vec3::new(bone.yaw, bone.pitch, bone.roll);
    if let Some((yaw, pitch, roll)) = bone.limits {
        let limit = Vec3::new(yaw, pitch, roll).abs() * std::f32::consts::PI / 180.0;
        turn = turn.clamp(-limit, limit);
    }
    limited(from_angles(turn), if bone.limits.is_some() { std::f32::consts::PI } else { avatar.head_limit })
}

/// Yaw and pitch of the eye bones as a mapping wants them.
fn eye_turns(pose: &FacePose, avatar: &FaceAvatar, binding: &FaceBinding) -> [Vec2; 2] {
    let mut gaze = pose.gaze;
    if binding.compiled.mirror() {
        gaze = [gaze[1], gaze[0]].map(|eye| eye * Vec2::new(-1.0, 1.0));
    }
    let mut limit = Vec2::splat(avatar.eye_limit);
    if let Some(range) = &binding.range {
        let turn = |left: bool, eye: Vec2| Vec2::from(range.turn(left, eye.x, eye.y));
        gaze = [turn(true, gaze[0]), turn(false, gaze[1])];
    }
    if let Some(eyes) = &binding.map.eyes {
        gaze = gaze.map(|eye| eye * Vec2::new(eyes.yaw, eyes.pitch));
        if let Some((yaw, pitch)) = eyes.limits {
            limit = Vec2::new(yaw, pitch).abs() * std::f32::consts::PI / 180.0;
        }
    }
    gaze.map(|eye| eye.clamp(-limit, limit))
}

pub(crate) fn turn_bones(
    mut avatars: Query<(&FaceAvatar, &FaceBinding, &mut Shown)>,
    mut transforms: Query<(&mut Transform, &mut Turned)>,
) {
    for (avatar, binding, mut shown) in &mut avatars {
        let neutral = is_neutral(&shown);
        if neutral && shown.idle {
            continue;
        }
        turns(avatar, binding, &shown.pose, |bone, by, shift| {
            if let Ok((mut transform, mut turned)) = transforms.get_mut(bone.entity) {
                turned.turn(bone, &mut transform, by);
                if shift != Vec3::ZERO {
                    turned.shift(bone, &mut transform, shift);
                }
            }
        });
        shown.idle = neutral;
    }
}

/// Turns and shifts of the bones for a pose that was mapped, in the axes of the model.
pub(crate) fn turns(
    avatar: &FaceAvatar,
    binding: &FaceBinding,
    pose: &FacePose,
    mut to: impl FnMut(&Bone, Quat, Vec3),
) {
    let FaceBinding { bones, map, compiled, scratch, .. } = binding;
    let head = head_turn(pose, avatar, map, compiled.mirror());
    let gaze = eye_turns(pose, avatar, binding);
    let of = |shape: Blendshape| compiled.shape(shape, scratch) * avatar.gain;
    for skeleton in &bones.skeletons {
        // Everything is worked out for a model that looks along +Z.
        let facing = Quat::from_rotation_y(map.facing.unwrap_or(skeleton.facing).angle());
        let mut turn = |bone: &Bone, by: Quat, shift: Vec3| to(bone, facing * by * facing.inverse(), facing * shift);
        if avatar.drive_head {
            let share = map.neck.as_ref().and_then(|neck| neck.share).unwrap_or(avatar.neck_share);
            // One of the two alone does it all.
            let share = match (skeleton.neck, skeleton.head) {
                (Some(_), None) => 1.0,
                (None, _) => 0.0,
                (Some(_), Some(_)) => share.clamp(0.0, 1.0),
            };
            let neck = Quat::IDENTITY.slerp(head, share);
            let rest = neck.inverse() * head;
            for (bone, by) in [(skeleton.neck, neck), (skeleton.head, rest)] {
                if let Some(bone) = bone {
                    turn(&bone, by, Vec3::ZERO);
                }
            }
        }
        if avatar.drive_eyes && binding.eyes != EyeDrive::Targets {
            for (bone, by) in skeleton.eyes.iter().zip(gaze) {
                if let Some(bone) = bone {
                    turn(bone, eye_turn(by), Vec3::ZERO);
                }
            }
        }
        if let (Some(bone), Some(jaw)) = (&skeleton.jaw, &map.jaw) {
            let side = of(Blendshape::JawLeft) - of(Blendshape::JawRight);
            let open = Quat::from_rotation_x((jaw.open * of(Blendshape::JawOpen)).to_radians());
            let by = Quat::from_rotation_y((jaw.side * side).to_radians()) * open;
            turn(bone, by, Vec3::Z * jaw.forward * of(Blendshape::JawForward));
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy::ecs::schedule::SingleThreadedExecutor;
    use bevy::mesh::morph::MorphWeights;
    use facelink::{
        Channel,
        layers::{ChannelGroup, GroupSet},
        mapping::detect,
        performer::Performance,
        timing::SourceClock,
    };

    use std::sync::Arc;

    use super::*;
    use crate::{
        avatar::choose_subjects,
        binding::{BoundChannel, BoundMesh},
        bones::{Bones, Skeleton, turn_back},
        input::{FaceInbox, LinkMessage, take_events},
        layers::{FaceExpressions, FaceIdle, FaceSpeech, add_layers, take_emotions},
        mapping::FacePresets,
        playout::{FaceTimecode, PresentationTime, evaluate, set_presentation_time},
        subjects::{FaceSubjects, lose, receive},
        virtual_subject::{VirtualSubject, merge},
    };

    #[test]
    fn frame_from_channel_to_weights_allocates_nothing() {
        let mut world = World::new();
        let (inbox, faces) = FaceInbox::bounded(16);
        world.insert_resource(inbox);
        world.init_resource::<FaceSubjects>();
        world.init_resource::<FaceSettings>();
        world.init_resource::<PresentationTime>();
        world.init_resource::<Messages<LinkMessage>>();
        world.init_resource::<FaceLoad>();
        world.init_resource::<FaceTimecode>();
        world.init_resource::<FaceExpressionLibrary>();
        world.init_resource::<RefusedExpressions>();
        world.init_resource::<Time<Real>>();
        world.init_resource::<Time<Virtual>>();
        // As the plugins of these concerns do.
        world.register_required_components::<FaceSubject, FaceExpressions>();
        world.register_required_components::<FaceSubject, FaceSpeech>();
        world.register_required_components::<FaceAvatar, FaceDetail>();
        let mut schedule = Schedule::default();
        schedule.set_executor(SingleThreadedExecutor::new());
        let received = (turn_back, receive, take_events, lose, take_emotions).chain();
        let driven = (
            set_presentation_time,
            evaluate,
            add_layers::<Without<VirtualSubject>>,
            merge,
            add_layers::<With<VirtualSubject>>,
            choose_subjects,
            show,
            evaluate_mappings,
            write_weights,
            turn_bones,
        )
            .chain();
        schedule.add_systems((received, driven).chain());

        let mut nodes = Vec::new();
        for i in 0..10 {
            let weights = MorphWeights::new(vec![0.0; 53], None).expect("few enough");
            let node = world.spawn((weights, Transform::default(), Turned::default())).id();
            let bone = Some(Bone { entity: node, parent: Quat::IDENTITY, pivot: Vec3::ZERO });
            let channels = vec![BoundChannel { target: 52, name: "tail".into(), mapped: false, driven: false }];
            let mesh = BoundMesh { node: Some(node), channels, ..default() };
            let names = [Blendshape::ALL.map(Blendshape::name).to_vec()];
            let compiled = detect(FacePresets::default().presets(), &names).expect("the ARKit preset");
            let bones = Bones { skeletons: vec![Skeleton { head: bone, jaw: bone, ..default() }] };
            let map = BoneMap { jaw: Some(default()), ..default() };
            let binding =
                FaceBinding { meshes: vec![mesh], compiled: Arc::new(compiled.compiled), bones, map, ..default() };
            world.spawn((FaceAvatar::of(format!("face {}", i % 2)), binding));
            nodes.push(node);
        }

        // One avatar lives and smiles, and one face is put together from two.
        let mut expressions = FaceExpressions::default();
        expressions.set("happy", 0.5);
        let avatar = world.query_filtered::<Entity, With<FaceAvatar>>().iter(&world).next().expect("an avatar");
        world.entity_mut(avatar).insert((FaceIdle::default(), expressions));
        world.spawn((
            VirtualSubject::new("both").with("face 0", GroupSet::ALL, 0).with("face 1", [ChannelGroup::Mouth], 1),
            FacePose::default(),
            FaceExpressions::default(),
            FaceSubject::virtual_of("both"),
        ));
        let performance = Performance::new(3);
        // More channels than are stored inline.
        let names = ["tail", "a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let channels = names.map(|name| Channel { name: name.into(), value: 0.5 });
        let mut total = 0;
        // One of the two has a place in time, and so goes through the jitter buffer.
        let start = std::time::Instant::now();
        let mut clock = SourceClock::new(start);
        for i in 0..240_u64 {
            let step = std::time::Duration::from_millis(16);
            world.resource_mut::<Time<Real>>().update_with_duration(step);
            world.resource_mut::<Time<Virtual>>().advance_by(step);
            for (id, name) in [(1, "face 0"), (2, "face 1")] {
                let mut frame = performance.frame_at(std::time::Duration::from_millis(16 * i));
                frame.channels.extend(channels.iter().cloned());
                if id == 1 {
                    let stamp = clock.record(Some(std::time::Duration::from_millis(16 * i)), std::time::Instant::now());
                    faces.send_stamped(id, name, frame, stamp);
                } else {
                    faces.send(id, name, frame);
                }
            }
            let counted = allocation_counter::measure(|| schedule.run(&mut world));
            if i >= 120 {
                total += counted.count_total;
            }
        }
        assert_eq!(total, 0, "allocations in 120 frames");
        let frame = performance.frame_at(std::time::Duration::from_millis(16 * 239));
        for (i, node) in nodes.into_iter().enumerate() {
            let weights = world.get::<MorphWeights>(node).expect("weights").weights();
            let jaw = Blendshape::JawOpen.index();
            // The frames of the first come faster than they were captured.
            assert!(i % 2 == 0 || (weights[jaw] - frame.weights[jaw]).abs() < 1e-3);
            assert_eq!(weights[52], 0.5);
        }
    }
}
