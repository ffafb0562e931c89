//! Where the head of an avatar is: for cameras, and for the direction that it faces.
//!
//! The head is found by what belongs to it, not by the size of the model: the vertices that a face moves, the eye bones, the
//! vertices that hang on the head bone. Hair, hats and halos count as far as they fit a head.

use bevy::{
    ecs::system::SystemParam,
    math::Affine3A,
    mesh::{
        VertexAttributeValues,
        skinning::{SkinnedMesh, SkinnedMeshInverseBindposes},
    },
    platform::collections::HashMap,
    prelude::*,
};

use crate::bones::{Bone, Bones, nearest};

/// The head of an avatar, in the avatar's own axes and units, as it stood when it was bound: `GlobalTransform` of the avatar
/// leads to the world. On every bound avatar whose head was found.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component)]
pub struct HeadFrame {
    /// Its middle, between chin and crown.
    pub center: Vec3,
    /// From chin to crown, hair included as far as it fits a head.
    pub height: f32,
    /// The direction that it looks in, of length 1, level.
    pub forward: Vec3,
}

/// Vertices of one mesh that are looked at; they are spread over the mesh.
const MAX_VERTICES: usize = 1200;
/// Targets of one mesh that are looked at; they are spread over those that are driven.
const MAX_TARGETS: usize = 16;
/// Share of a target's largest motion from which a vertex counts as moved.
const MOVED: f32 = 0.25;

/// The parts of the engine that have a mesh's vertices.
#[derive(SystemParam)]
pub(crate) struct Shapes<'w, 's> {
    meshes: Option<Res<'w, Assets<Mesh>>>,
    poses: Option<Res<'w, Assets<SkinnedMeshInverseBindposes>>>,
    primitives: Query<'w, 's, (&'static Mesh3d, Option<&'static SkinnedMesh>)>,
    parents: Query<'w, 's, &'static ChildOf>,
    transforms: Query<'w, 's, &'static Transform>,
}

/// A mesh that a face moves.
#[derive(Debug, Default)]
struct Part {
    /// Number of its targets that are driven.
    targets: usize,
    /// Vertices that a face moves.
    moved: Vec<Vec3>,
    skin: Vec<Vec3>,
}

/// Points of an avatar, in its own axes.
#[derive(Debug, Default)]
struct Cues {
    /// Vertices that a face moves.
    face: Vec<Vec3>,
    /// Vertices of the meshes that have some of those.
    skin: Vec<Vec3>,
    /// Vertices that hang on the head bone.
    on_head: Vec<Vec3>,
    /// Vertices of everything.
    all: Vec<Vec3>,
    head: Option<Vec3>,
    eyes: Option<[Vec3; 2]>,
}

impl Shapes<'_, '_> {
    /// The place of an entity in an avatar above it.
    fn place(&self, entity: Entity, avatar: Entity, known: &mut HashMap<Entity, Affine3A>) -> Affine3A {
        let mut line = Vec::new();
        let mut place = Affine3A::IDENTITY;
        for node in std::iter::once(entity).chain(self.parents.iter_ancestors(entity)) {
            if node == avatar {
                break;
            }
            if let Some(above) = known.get(&node) {
                place = *above;
                break;
            }
            line.push(node);
        }
        for node in line.into_iter().rev() {
            place *= self.transforms.get(node).map_or(Affine3A::IDENTITY, Transform::compute_affine);
            known.insert(node, place);
        }
        place
    }

    /// Finds the head. `targets` are the driven targets of the primitives that have some.
    pub fn head(
        &self,
        avatar: Entity,
        within: impl Iterator<Item = Entity>,
        targets: &HashMap<Entity, Vec<usize>>,
        bones: &Bones,
        facing: Option<Quat>,
    ) -> Option<HeadFrame> {
        let meshes = self.meshes.as_ref()?;
        let mut known = HashMap::default();
        let mut cues = Cues::default();
        let at = |entity: Entity, known: &mut HashMap<Entity, Affine3A>| {
            Vec3::from(self.place(entity, avatar, known).translation)
        };
        let skeleton = bones.skeletons.iter().find(|skeleton| skeleton.head.is_some()).or(bones.skeletons.first());
        let mut parts = Vec::new();
        let head = skeleton.and_then(|skeleton| skeleton.head).map(|bone| bone.entity);
        cues.head = head.map(|head| at(head, &mut known));
        if let Some([Some(left), Some(right)]) = skeleton.map(|skeleton| skeleton.eyes) {
            let place = |bone: Bone, known: &mut HashMap<Entity, Affine3A>| {
                self.place(bone.entity, avatar, known).transform_point3(bone.pivot)
            };
            cues.eyes = Some([place(left, &mut known), place(right, &mut known)]);
        }
        for entity in within {
            let Ok((mesh, skin)) = self.primitives.get(entity) else { continue };
            let Some(mesh) = meshes.get(&mesh.0) else { continue };
            let none = Vec::new();
            let targets = targets.get(&entity).unwrap_or(&none);
            let part = self.look_at(entity, avatar, mesh, skin, targets, head, &mut known, &mut cues);
            parts.extend(part.filter(|part| !part.moved.is_empty()));
        }
        cues.face_of(parts);
        cues.estimate(facing)
    }

    fn look_at(
        &self,
        entity: Entity,
        avatar: Entity,
        mesh: &Mesh,
        skin: Option<&SkinnedMesh>,
        targets: &[usize],
        head: Option<Entity>,
        known: &mut HashMap<Entity, Affine3A>,
        cues: &mut Cues,
    ) -> Option<Part> {
        // Meshes that live on the GPU alone cannot be looked into.
        let Ok(Some(VertexAttributeValues::Float32x3(positions))) = mesh.try_attribute_option(Mesh::ATTRIBUTE_POSITION)
        else {
            return None;
        };
        let step = positions.len().div_ceil(MAX_VERTICES).max(1);
        let own = self.place(entity, avatar, known);
        let is_head = |entity: Entity| {
            head.is_some_and(|head| {
                entity == head
                    || self.parents.iter_ancestors(entity).take_while(|above| *above != avatar).any(|it| it == head)
            })
        };
        // Place of each joint, and whether it is of the head.
        let joints: Vec<(Affine3A, bool)> = match skin.zip(self.poses.as_ref()) {
            Some((skin, poses)) => {
                let inverse = poses.get(&skin.inverse_bindposes).map_or(&[][..], |poses| poses);
                let matrices = skin.joints.iter().enumerate().map(|(place, joint)| {
                    let bind = inverse.get(place).map_or(Affine3A::IDENTITY, |bind| Affine3A::from_mat4(*bind));
                    (self.place(*joint, avatar, known) * bind, is_head(*joint))
                });
                matrices.collect()
            }
            None => Vec::new(),
        };
        let attribute = |attribute| mesh.try_attribute_option(attribute).ok().flatten();
        let skinned = match (attribute(Mesh::ATTRIBUTE_JOINT_INDEX), attribute(Mesh::ATTRIBUTE_JOINT_WEIGHT)) {
            (Some(VertexAttributeValues::Uint16x4(joint)), Some(VertexAttributeValues::Float32x4(weight)))
                if !joints.is_empty() =>
            {
                Some((joint, weight))
            }
            _ => None,
        };
        let rigid_head = skinned.is_none() && is_head(entity);
        let of = |vertex: usize| -> (Vec3, bool) {
            let position = Vec3::from(positions[vertex]);
            // The joint that holds it most is near enough.
            let joint = skinned.and_then(|(joint, weight)| {
                let (joint, weight) = (joint.get(vertex)?, weight.get(vertex)?);
                let most = (0..4).max_by(|a, b| weight[*a].total_cmp(&weight[*b]))?;
                joints.get(usize::from(joint[most]))
            });
            match joint {
                Some((place, is_head)) => (place.transform_point3(position), *is_head),
                None => (own.transform_point3(position), rigid_head),
            }
        };
        let vertices = (0..positions.len()).step_by(step);
        let points: Vec<(Vec3, bool)> = vertices.clone().map(of).filter(|(point, _)| point.is_finite()).collect();
        cues.all.extend(points.iter().map(|(point, _)| point));
        cues.on_head.extend(points.iter().filter(|(_, on_head)| *on_head).map(|(point, _)| point));
        let count = positions.len();
        let deltas = mesh.try_morph_targets().ok()?;
        let mut part = Part { targets: targets.len(), ..Part::default() };
        let spread = targets.len().div_ceil(MAX_TARGETS).max(1);
        for target in targets.iter().step_by(spread) {
            let Some(deltas) = deltas.get(target * count..(target + 1) * count) else { continue };
            let most = vertices.clone().map(|vertex| deltas[vertex].position.length_squared()).fold(0.0, f32::max);
            if most <= 0.0 || !most.is_finite() {
                continue;
            }
            let moved = vertices.clone().filter(|it| deltas[*it].position.length_squared() > most * MOVED * MOVED);
            part.moved.extend(moved.map(|vertex| of(vertex).0).filter(|point| point.is_finite()));
        }
        part.skin = points.into_iter().map(|(point, _)| point).collect();
        Some(part)
    }
}

/// Lowest and highest of the points, without the outermost `share` on each side of each axis.
fn extent(points: &[Vec3], share: f32) -> Option<(Vec3, Vec3)> {
    let (mut low, mut high) = (Vec3::ZERO, Vec3::ZERO);
    let mut values: Vec<f32> = Vec::with_capacity(points.len());
    for axis in 0..3 {
        values.clear();
        values.extend(points.iter().map(|point| point[axis]));
        values.sort_unstable_by(f32::total_cmp);
        let cut = (values.len() as f32 * share) as usize;
        low[axis] = *values.get(cut)?;
        high[axis] = *values.get(values.len() - 1 - cut)?;
    }
    Some((low, high))
}

impl Cues {
    /// The face is the mesh with most targets, of equals the highest, and what is next to it: a cape or a prop with targets
    /// is none.
    fn face_of(&mut self, parts: Vec<Part>) {
        let extents: Vec<_> = parts.iter().filter_map(|part| extent(&part.moved, 0.02)).collect();
        let order = |place: &usize| (parts[*place].targets, extents[*place].1.y - extents[*place].0.y);
        let Some(most) = (0..extents.len()).max_by(|a, b| {
            let (a, b) = (order(a), order(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        }) else {
            return;
        };
        let (low, high) = extents[most];
        let around = Vec3::splat((high - low).max_element() * 0.3);
        for (part, (other_low, other_high)) in parts.into_iter().zip(extents) {
            if other_low.cmple(high + around).all() && other_high.cmpge(low - around).all() {
                self.face.extend(part.moved);
                self.skin.extend(part.skin);
            }
        }
    }

    /// Proportions are those of people; characters with larger eyes or smaller chins differ by less than a framing shows.
    fn estimate(&self, facing: Option<Quat>) -> Option<HeadFrame> {
        let apart = self.eyes.map(|[left, right]| left.distance(right)).filter(|apart| *apart > 0.0);
        let face = extent(&self.face, 0.02).filter(|(low, high)| low.y < high.y);
        // Chin and crown of the skin, and the middle of the head seen from above.
        let (chin, crown, middle) = if let Some((low, high)) = face {
            // The face moves from the chin to the brows, which is six tenths of a head, and as wide as six tenths.
            let size = (high - low) / 0.6;
            let head = size.y.max(size.x.min(size.z.max(size.x * 0.5))).max(apart.unwrap_or(0.0) * 3.0);
            let chin = low.y.min(high.y - 0.5 * head);
            let around = |point: &&Vec3| (point.x - (low.x + high.x) / 2.0).abs() < 0.6 * head;
            let skin = self.skin.iter().filter(around).map(|point| point.y).fold(f32::MIN, f32::max);
            (chin, skin.clamp(high.y + 0.2 * head, chin + 1.25 * head), (low + high) / 2.0)
        } else if let Some(([left, right], apart)) = self.eyes.zip(apart) {
            let eyes = (left + right) / 2.0;
            let head = extent(&self.on_head, 0.02).map_or(3.6 * apart, |(low, high)| high.y - low.y);
            let head = head.clamp(2.5 * apart, 4.5 * apart);
            (eyes.y - 0.5 * head, eyes.y + 0.5 * head, eyes)
        } else if let Some((low, high)) = extent(&self.on_head, 0.02).filter(|(low, high)| low.y < high.y) {
            // What stands far out of a head is no head.
            let width = (high.x - low.x).max(0.6 * (high.z - low.z));
            let crown = high.y.min(low.y + 2.0 * width.max(f32::MIN_POSITIVE));
            (low.y, crown, (low + high) / 2.0)
        } else {
            let (low, high) = extent(&self.all, 0.0).filter(|(low, high)| low.y < high.y)?;
            let size = high - low;
            match self.head.filter(|head| head.y > low.y && head.y < high.y - 0.02 * size.y) {
                Some(head) => (head.y, high.y, head),
                // A body is seven heads and a half, a bust less than two.
                None if size.y > 2.2 * size.x.min(size.z) && size.y > 1.2 * size.x.max(size.z) => {
                    (high.y - size.y / 7.5, high.y, (low + high) / 2.0)
                }
                None => (high.y - size.y * 0.6, high.y, (low + high) / 2.0),
            }
        };
        let head = crown - chin;
        // Hair, as far as it fits.
        let over = |point: &&Vec3| (point.x - middle.x).abs() < 0.5 * head && (point.z - middle.z).abs() < head;
        let hair = self.all.iter().filter(over).map(|point| point.y).filter(|y| *y < crown + 0.3 * head);
        let top = hair.fold(crown, f32::max);
        let center = Vec3::new(middle.x, (chin + top) / 2.0, middle.z);
        let forward = facing.map_or_else(|| self.forward(), |facing| facing * Vec3::Z);
        (head > 0.0 && head.is_finite() && center.is_finite()).then_some(HeadFrame {
            center,
            height: top - chin,
            forward,
        })
    }

    /// A face is on the front of the skin that it is on.
    fn forward(&self) -> Vec3 {
        self.face_direction().map_or(Vec3::Z, |it| Quat::from_rotation_y(nearest(it).angle()) * Vec3::Z)
    }

    /// From the middle of the head to the middle of the face; `None` where it does not say.
    fn face_direction(&self) -> Option<Vec3> {
        let (low, high) = extent(&self.face, 0.02)?;
        let height = high.y - low.y;
        let near = |point: &&Vec3| point.y > low.y - 0.2 * height && point.y < high.y + 0.6 * height;
        let points: Vec<Vec3> =
            if self.on_head.is_empty() { &self.skin } else { &self.on_head }.iter().filter(near).copied().collect();
        let (back, front) = extent(&points, 0.02)?;
        let middle = self.face.iter().sum::<Vec3>() / self.face.len() as f32;
        let direction = (middle - (back + front) / 2.0) * Vec3::new(1.0, 0.0, 1.0);
        (direction.length() > 0.1 * height).then_some(direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points of a ball that is as high as a head, and of a face on its front.
    fn head(scale: f32, turn: Quat) -> Cues {
        let mut cues = Cues::default();
        for step in 0..2000 {
            let height = (step as f32 + 0.5) / 1000.0 - 1.0;
            let around = step as f32 * 2.399_963;
            let wide = (1.0 - height * height).sqrt();
            let ball = Vec3::new(around.sin() * wide * 0.75, height, around.cos() * wide * 0.85) * 0.115;
            let point = turn * (ball + Vec3::Y * 1.5) * scale;
            cues.skin.push(point);
            if (-0.98..0.2).contains(&height) && ball.z > 0.05 {
                cues.face.push(point);
            }
        }
        cues.all = cues.skin.clone();
        cues
    }

    #[test]
    fn head_frame_is_independent_of_scale_and_facing() {
        for scale in [0.01, 1.0, 100.0] {
            for (angle, forward) in [(0.0, Vec3::Z), (std::f32::consts::PI, Vec3::NEG_Z)] {
                let frame = head(scale, Quat::from_rotation_y(angle)).estimate(None).expect("a head");
                let height = frame.height / scale;
                assert!((0.19..0.29).contains(&height), "{scale}: {height}");
                assert!((frame.center.y / scale - 1.5).abs() < 0.04, "{frame:?}");
                assert!(frame.forward.distance(forward) < 1e-3, "{frame:?}");
            }
        }
    }

    #[test]
    fn head_frame_leaves_out_halo_and_body() {
        let bare = head(1.0, Quat::IDENTITY).estimate(None).expect("a head");
        let mut cues = head(1.0, Quat::IDENTITY);
        cues.all.extend((0..100).map(|step| Vec3::new((step as f32).sin() * 0.1, 2.1, (step as f32).cos() * 0.1)));
        cues.all.extend((0..100).map(|step| Vec3::new((step as f32).sin() * 0.4, 0.013 * step as f32, 0.0)));
        let frame = cues.estimate(None).expect("a head");
        assert!((frame.height - bare.height).abs() < 0.01 && frame.center.distance(bare.center) < 0.01, "{frame:?}");
    }

    #[test]
    fn head_frame_leaves_out_other_meshes_with_targets() {
        let part = |place: Vec3, targets: usize| {
            let Cues { face, skin, .. } = head(1.0, Quat::IDENTITY);
            let shift = |points: Vec<Vec3>| points.into_iter().map(|point| point + place).collect();
            Part { targets, moved: shift(face), skin: shift(skin) }
        };
        let mut cues = Cues::default();
        cues.face_of(vec![part(Vec3::Y * 0.8, 3), part(Vec3::ZERO, 52), part(Vec3::Z * 0.01, 4)]);
        let bare = head(1.0, Quat::IDENTITY).estimate(None).expect("a head");
        let frame = cues.estimate(None).expect("a head");
        assert!(frame.center.distance(bare.center) < 0.02, "{frame:?} {bare:?}");
    }

    #[test]
    fn head_frame_without_targets_uses_eyes_or_the_whole() {
        let mut cues = head(1.0, Quat::IDENTITY);
        cues.face.clear();
        cues.skin.clear();
        let whole = cues.estimate(None).expect("a head");
        assert!(whole.height > 0.1 && whole.height < 0.3, "{whole:?}");
        cues.eyes = Some([Vec3::new(0.032, 1.51, 0.07), Vec3::new(-0.032, 1.51, 0.07)]);
        let frame = cues.estimate(None).expect("a head");
        assert!((0.19..0.29).contains(&frame.height), "{frame:?}");
        assert_eq!(Cues::default().estimate(None), None);
    }
}
