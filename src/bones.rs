//! Head, neck, eye and jaw bones: those that [`find_bones`] knows by name, turned in model space.
//!
//! Local axes differ from rig to rig. A bone is therefore turned in the axes of the model: with `P` the rest rotation of
//! its parent in model space and `r` its own local rotation, a turn `R` of the model's axes makes the local rotation
//! `P⁻¹ · R · P · r`.
//!
//! `r` is whatever the rig, an animation or the game has the bone at: the turn comes on top of it in `PostUpdate` and is
//! taken off again in the next `PreUpdate`, so no other system ever sees a bone that the face has turned
//! already, and nothing adds up. Only a `GlobalTransform` shows the turn.

use bevy::{mesh::skinning::SkinnedMesh, platform::collections::HashMap, prelude::*};
use facelink::mapping::{BoneMap, EyeDrive, Facing, GazeRange, RigNode, SkeletonNodes, find_bones};

/// A bone and the axes that it turns in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bone {
    /// The node.
    pub entity: Entity,
    /// Its parent's rotation in model space at rest.
    pub parent: Quat,
    /// The point that it turns about, in its own axes: its origin, or the middle of a mesh whose origin is elsewhere.
    pub pivot: Vec3,
}

impl Bone {
    /// The local rotation that turns the bone from its local rotation `base` by `turn` in the axes of the model.
    pub fn turned(&self, base: Quat, turn: Quat) -> Quat {
        (self.parent.inverse() * turn * self.parent * base).normalize()
    }
}

/// On every bone that a face may turn: the turn of this frame, to be taken off again.
#[derive(Component, Debug, Default)]
pub(crate) struct Turned(Option<Turn>);

#[derive(Clone, Copy, Debug)]
struct Turn {
    base: Quat,
    written: Quat,
    /// Place before and after, where the bone was moved too.
    moved: Option<(Vec3, Vec3)>,
}

impl Turned {
    /// Turns a bone in the axes of the model. Where two avatars share it, the later one has it.
    pub fn turn(&mut self, bone: &Bone, transform: &mut Transform, turn: Quat) {
        let base = self.0.map_or(transform.rotation, |turn| turn.base);
        let written = bone.turned(base, turn);
        transform.rotation = written;
        let mut moved = self.0.and_then(|turn| turn.moved);
        let place = moved.map_or(transform.translation, |(place, _)| place);
        transform.translation = place;
        if bone.pivot != Vec3::ZERO {
            let arm = transform.scale * bone.pivot;
            transform.translation = place + base * arm - written * arm;
            moved = Some((place, transform.translation));
        }
        self.0 = Some(Turn { base, written, moved });
    }

    /// Where the bone is without the turn.
    #[cfg(feature = "animation")]
    pub fn without(&self, mut transform: Transform) -> Transform {
        if let Some(turn) = self.0 {
            transform.rotation = turn.base;
            transform.translation = turn.moved.map_or(transform.translation, |(place, _)| place);
        }
        transform
    }

    /// Moves a bone that was turned, along the axes of the model, in the units of its parent.
    pub fn shift(&mut self, bone: &Bone, transform: &mut Transform, by: Vec3) {
        let Some(turn) = &mut self.0 else { return };
        let base = turn.moved.map_or(transform.translation, |(base, _)| base);
        transform.translation += bone.parent.inverse() * by;
        turn.moved = Some((base, transform.translation));
    }
}

/// Takes last frame's turns off, unless another system has set the bone since.
pub(crate) fn turn_back(mut bones: Query<(&mut Turned, &mut Transform)>) {
    for (mut turned, mut transform) in &mut bones {
        // Without a turn nothing counts as changed.
        if turned.0.is_none() {
            continue;
        }
        let Some(turn) = turned.0.take() else { continue };
        if turn.written == transform.rotation {
            transform.rotation = turn.base;
        }
        if let Some((base, written)) = turn.moved
            && written == transform.translation
        {
            transform.translation = base;
        }
    }
}

/// The bones of one skeleton, as far as they were found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Skeleton {
    /// The head.
    pub head: Option<Bone>,
    /// The neck.
    pub neck: Option<Bone>,
    /// Left and right eye.
    pub eyes: [Option<Bone>; 2],
    /// The jaw, where a mapping asks for it.
    pub jaw: Option<Bone>,
    /// Direction that the model faces, by where its eyes are on its head.
    pub facing: Facing,
}

impl Skeleton {
    /// Those that were found: head, neck, left eye, right eye, jaw.
    pub fn bones(&self) -> impl Iterator<Item = Bone> {
        let Self { head, neck, eyes, jaw, .. } = *self;
        [head, neck, eyes[0], eyes[1], jaw].into_iter().flatten()
    }
}

/// The bones of one avatar, which may have several skeletons: all of them turn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bones {
    /// Each with at least one bone.
    pub skeletons: Vec<Skeleton>,
}

impl Bones {
    /// The first head.
    pub fn head(&self) -> Option<Bone> {
        self.skeletons.iter().find_map(|skeleton| skeleton.head)
    }
}

/// What the model file declares, whatever its nodes are called; on the model.
#[derive(Component, Clone, Copy, Debug, Default)]
pub(crate) struct KnownBones {
    pub head: Option<Entity>,
    pub neck: Option<Entity>,
    pub eyes: [Option<Entity>; 2],
    pub jaw: Option<Entity>,
    /// The direction that it looks in.
    pub facing: Option<Facing>,
    /// How far its eyes turn.
    pub range: Option<GazeRange>,
    /// What turns its eyes, where it says so.
    pub eyes_by: EyeDrive,
}

/// Finds the bones below `root`, by what the model declares and else by [`find_bones`].
pub(crate) fn find(
    root: Entity,
    children: &Query<&Children>,
    parents: &Query<&ChildOf>,
    names: &Query<&Name>,
    transforms: &Query<&Transform>,
    skins: &Query<&SkinnedMesh>,
    has_face: impl Fn(Entity) -> bool,
    map: &BoneMap,
    known: Option<&KnownBones>,
) -> Bones {
    let entities: Vec<Entity> = children.iter_descendants(root).collect();
    let places: HashMap<Entity, usize> = entities.iter().enumerate().map(|(place, entity)| (*entity, place)).collect();
    let is_skin = |entity: Entity| has_face(entity) || skins.contains(entity);
    let nodes: Vec<RigNode<'_>> = entities
        .iter()
        .map(|entity| RigNode {
            name: names.get(*entity).map_or("", Name::as_str),
            parent: parents.get(*entity).ok().and_then(|parent| places.get(&parent.parent()).copied()),
            // A mesh called "Head" is the skin, not the bone.
            is_skin: is_skin(*entity)
                || children.get(*entity).is_ok_and(|below| below.iter().any(|part| skins.contains(part))),
        })
        .collect();
    let mut joints: Vec<Vec<usize>> = Vec::new();
    for skin in entities.iter().filter_map(|entity| skins.get(*entity).ok()) {
        let skin: Vec<usize> = skin.joints.iter().filter_map(|joint| places.get(joint).copied()).collect();
        // The primitives of one mesh have one skin.
        if !joints.contains(&skin) {
            joints.push(skin);
        }
    }
    let mut found = find_bones(&nodes, &joints, map);
    if let Some(known) = known {
        let place = |entity: Option<Entity>| entity.and_then(|entity| places.get(&entity).copied());
        let declared = SkeletonNodes {
            head: place(known.head),
            neck: place(known.neck),
            eyes: known.eyes.map(place),
            jaw: place(known.jaw),
        };
        found = SkeletonNodes::with_declared(found, declared, map.jaw.is_some());
    }
    let bone = |place: Option<usize>| {
        let entity = *entities.get(place?)?;
        let parent = rotation_in_model(entity, root, parents, transforms);
        transforms.contains(entity).then_some(Bone { entity, parent, pivot: Vec3::ZERO })
    };
    let place = |bone: Option<Bone>| bone.map(|bone| place_in_model(bone.entity, root, parents, transforms));
    let skeletons = found.into_iter().map(|nodes| {
        let (head, neck, eyes, jaw) = (bone(nodes.head), bone(nodes.neck), nodes.eyes.map(bone), bone(nodes.jaw));
        let facing = match (place(head), place(eyes[0]), place(eyes[1])) {
            (Some(head), Some(left), Some(right)) => facing((left + right) / 2.0 - head),
            _ => Facing::PlusZ,
        };
        let facing = known.and_then(|known| known.facing).unwrap_or(facing);
        Skeleton { head, neck, eyes, jaw, facing }
    });
    Bones { skeletons: skeletons.filter(|skeleton| skeleton.bones().next().is_some()).collect() }
}

/// The direction that is nearest to where the eyes lie, seen from the joint of the head.
fn facing(eyes: Vec3) -> Facing {
    if eyes.x.abs().max(eyes.z.abs()) < 0.1 * eyes.length() {
        return Facing::PlusZ;
    }
    nearest(eyes)
}

/// The level axis that is nearest to a direction.
pub(crate) fn nearest(direction: Vec3) -> Facing {
    match (direction.x.abs() > direction.z.abs(), direction.x > 0.0, direction.z > 0.0) {
        (false, _, true) => Facing::PlusZ,
        (false, _, false) => Facing::MinusZ,
        (true, true, _) => Facing::PlusX,
        (true, false, _) => Facing::MinusX,
    }
}

/// The point that a node with meshes turns about, in its own axes, where its origin is not in or at them: the middle of an
/// eyeball, the neck of a head. `up` is the model's up in the node's axes.
pub(crate) fn pivot(low: Vec3, high: Vec3, is_eye: bool, up: Vec3) -> Vec3 {
    let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0);
    let size = half.max_element();
    if size.is_nan() || size <= 0.0 || !middle.is_finite() {
        return Vec3::ZERO;
    }
    if is_eye {
        // The lens in front moves the middle of an eyeball by less.
        return if middle.length() > 0.5 * size { middle } else { Vec3::ZERO };
    }
    let outside = (Vec3::ZERO.clamp(low, high)).length();
    if outside > size { middle - up * (half * up).length() } else { Vec3::ZERO }
}

/// Place of a node relative to `root`, by the local transforms of now.
fn place_in_model(entity: Entity, root: Entity, parents: &Query<&ChildOf>, transforms: &Query<&Transform>) -> Vec3 {
    let mut place = Vec3::ZERO;
    for node in std::iter::once(entity).chain(parents.iter_ancestors(entity)).take_while(|node| *node != root) {
        if let Ok(transform) = transforms.get(node) {
            place = transform.transform_point(place);
        }
    }
    place
}

/// Rotation of a node's parent relative to `root`, by the local rotations of now.
pub(crate) fn rotation_in_model(
    entity: Entity,
    root: Entity,
    parents: &Query<&ChildOf>,
    transforms: &Query<&Transform>,
) -> Quat {
    let mut rotation = Quat::IDENTITY;
    for ancestor in parents.iter_ancestors(entity) {
        if ancestor == root {
            break;
        }
        if let Ok(transform) = transforms.get(ancestor) {
            rotation = transform.rotation * rotation;
        }
    }
    rotation
}

/// Limits a rotation to an angle, radians.
pub(crate) fn limited(rotation: Quat, limit: f32) -> Quat {
    let angle = rotation.angle_between(Quat::IDENTITY);
    if angle <= limit { rotation } else { Quat::IDENTITY.slerp(rotation, limit / angle) }
}

/// A rotation as yaw (positive to the face's own left), pitch (positive up) and roll (positive to its own left
/// shoulder), radians.
pub(crate) fn angles(rotation: Quat) -> Vec3 {
    let (yaw, down, roll) = rotation.to_euler(EulerRot::YXZ);
    Vec3::new(yaw, -down, -roll)
}

/// The rotation of these [`angles`].
pub(crate) fn from_angles(angles: Vec3) -> Quat {
    Quat::from_euler(EulerRot::YXZ, angles.x, -angles.y, -angles.z)
}

/// The turn of an eye in model space from yaw (positive to the character's left) and pitch (positive up), radians.
pub(crate) fn eye_turn(gaze: Vec2) -> Quat {
    Quat::from_rotation_y(gaze.x) * Quat::from_rotation_x(-gaze.y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bone_turn_is_independent_of_local_axes() {
        let turn = Quat::from_rotation_y(0.5) * Quat::from_rotation_x(0.2);
        for (parent, rest) in [
            (Quat::IDENTITY, Quat::IDENTITY),
            (Quat::from_rotation_z(1.2) * Quat::from_rotation_x(-0.7), Quat::from_rotation_y(2.0)),
        ] {
            let bone = Bone { entity: Entity::PLACEHOLDER, parent, pivot: Vec3::ZERO };
            let model_rest = parent * rest;
            let model_now = parent * bone.turned(rest, turn);
            assert!((model_now * model_rest.inverse()).angle_between(turn) < 1e-3);
        }
    }

    #[test]
    fn eyeball_with_its_origin_elsewhere_turns_about_its_middle() {
        let (low, high) = (Vec3::new(0.02, 1.58, 0.06), Vec3::new(0.044, 1.604, 0.084));
        let pivot = pivot(low, high, true, Vec3::Y);
        assert!(pivot.distance((low + high) / 2.0) < 1e-6);
        assert_eq!(super::pivot(Vec3::splat(-0.012), Vec3::new(0.012, 0.012, 0.016), true, Vec3::Y), Vec3::ZERO);
        let bone = Bone { entity: Entity::PLACEHOLDER, parent: Quat::from_rotation_z(0.4), pivot };
        let rest = Transform::from_xyz(0.1, 0.2, 0.3).with_scale(Vec3::splat(2.0));
        let (mut transform, mut turned) = (rest, Turned::default());
        for _ in 0..2 {
            turned.turn(&bone, &mut transform, Quat::from_rotation_y(0.5));
        }
        assert!(transform.transform_point(pivot).distance(rest.transform_point(pivot)) < 1e-5, "its middle stays");
        assert!(transform.transform_point(Vec3::ZERO).distance(rest.translation) > 0.1);
    }

    #[test]
    fn head_mesh_with_its_origin_on_the_floor_turns_about_its_neck() {
        let pivot = pivot(Vec3::new(-0.08, 1.5, -0.1), Vec3::new(0.08, 1.75, 0.1), false, Vec3::Y);
        assert!(pivot.distance(Vec3::Y * 1.5) < 1e-5, "{pivot}");
        assert_eq!(super::pivot(Vec3::new(-0.08, 0.0, -0.1), Vec3::new(0.08, 0.2, 0.1), false, Vec3::Y), Vec3::ZERO);
    }

    #[test]
    fn model_facing_follows_eye_positions() {
        for (eyes, wanted) in [
            (Vec3::new(0.0, 0.07, 0.05), Facing::PlusZ),
            (Vec3::new(0.0, 0.07, -0.05), Facing::MinusZ),
            (Vec3::new(0.05, 0.07, 0.0), Facing::PlusX),
            (Vec3::new(-0.05, 0.07, 0.01), Facing::MinusX),
            // Straight above the joint the facing is undefined: +Z.
            (Vec3::new(0.0, 0.07, -0.002), Facing::PlusZ),
        ] {
            assert_eq!(facing(eyes), wanted, "{eyes}");
        }
    }

    #[test]
    fn angles_round_trip_with_their_signs() {
        let turn = from_angles(Vec3::new(0.3, 0.2, 0.1));
        assert!((angles(turn) - Vec3::new(0.3, 0.2, 0.1)).length() < 1e-5);
        assert!((from_angles(Vec3::Y * 0.3) * Vec3::Z).y > 0.2, "pitch is up");
        assert!((from_angles(Vec3::Z * 0.3) * Vec3::Y).x > 0.2, "roll is to the face's own left");
    }

    #[test]
    fn eye_turn_has_the_sign_of_its_angles() {
        let ahead = Vec3::Z;
        assert!((eye_turn(Vec2::new(0.3, 0.0)) * ahead).x > 0.2, "yaw is to the character's left, +X");
        assert!((eye_turn(Vec2::new(0.0, 0.3)) * ahead).y > 0.2, "pitch is up");
    }
}
