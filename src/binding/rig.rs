//! The entities of an avatar as the engine has them: nodes with morph targets, their names, bones and vertices.

use bevy::{
    camera::primitives::Aabb,
    ecs::system::SystemParam,
    gltf::{GltfExtras, GltfMeshExtras},
    math::Affine3A,
    mesh::{MeshAccessError, VertexAttributeValues, morph::MAX_MORPH_WEIGHTS, skinning::SkinnedMesh},
    platform::collections::HashMap,
    prelude::*,
    world_serialization::WorldAssetRoot,
};
use facelink::{
    mapping::{BoneMap, EyeDrive},
    model::names_in_extras,
};

use super::bound::{FaceBinding, Morphs};
use crate::{
    bones::{self, Bone, Bones, KnownBones, Skeleton},
    eyes::{self, LookMesh},
    head::{HeadFrame, Shapes},
    lod::LodGroup,
    model::{Declared, FaceModel, Models},
};

/// An entity with morph weights, and the meshes that they move.
pub(super) struct MorphNode {
    pub node: Entity,
    pub parts: Vec<Entity>,
}

/// Why a mesh cannot be bound.
pub(super) enum Unbound {
    /// Its asset is still loading.
    Loading,
    /// It never can.
    Refused(String),
}

/// What an avatar consists of.
#[derive(SystemParam)]
pub(super) struct Rig<'w, 's> {
    children: Query<'w, 's, &'static Children>,
    parents: Query<'w, 's, &'static ChildOf>,
    names: Query<'w, 's, &'static Name>,
    transforms: Query<'w, 's, &'static Transform>,
    skins: Query<'w, 's, &'static SkinnedMesh>,
    primitives: Query<'w, 's, &'static Mesh3d>,
    scenes: Query<'w, 's, (), Or<(With<WorldAssetRoot>, With<FaceModel>)>>,
    mesh_extras: Query<'w, 's, &'static GltfMeshExtras>,
    extras: Query<'w, 's, &'static GltfExtras>,
    meshes: Res<'w, Assets<Mesh>>,
    lods: Query<'w, 's, &'static LodGroup>,
    models: Models<'w, 's>,
    shapes: Shapes<'w, 's>,
}

impl Rig<'_, '_> {
    fn within(&self, avatar: Entity) -> impl Iterator<Item = Entity> {
        std::iter::once(avatar).chain(self.children.iter_descendants(avatar))
    }

    fn mesh(&self, entity: Entity) -> Option<&Mesh> {
        self.primitives.get(entity).ok().and_then(|mesh| self.meshes.get(&mesh.0))
    }

    pub fn name(&self, entity: Entity) -> Option<&str> {
        self.names.get(entity).ok().map(Name::as_str)
    }

    pub fn label(&self, entity: Entity) -> String {
        self.name(entity).map_or_else(|| entity.to_string(), str::to_owned)
    }

    /// Whether there is a scene that may still load.
    pub fn has_scene(&self, avatar: Entity) -> bool {
        self.within(avatar).any(|entity| self.scenes.contains(entity))
    }

    /// What the model's file declares.
    pub fn declared(&self, avatar: Entity) -> Declared {
        self.models.below(avatar)
    }

    /// The entities that hold morph weights, in the order of the hierarchy, each with the meshes that they move.
    pub fn morph_nodes(&self, avatar: Entity, morphs: &Morphs) -> Vec<MorphNode> {
        let mut nodes: Vec<MorphNode> = Vec::new();
        for entity in self.within(avatar) {
            if morphs.get(entity).is_some() && !nodes.iter().any(|known| known.node == entity) {
                let below = self.children.get(entity).into_iter().flat_map(|children| children.iter());
                let is_part = |part: &Entity| {
                    self.primitives.contains(*part)
                        && (*part == entity || morphs.of_mesh(*part).is_none_or(|node| node == entity))
                };
                let parts = std::iter::once(entity).chain(below).filter(is_part).collect();
                nodes.push(MorphNode { node: entity, parts });
            }
            // A mesh may be moved by an entity that is elsewhere.
            if let Some(node) = morphs.of_mesh(entity).filter(|node| morphs.get(*node).is_some())
                && self.primitives.contains(entity)
            {
                match nodes.iter_mut().find(|known| known.node == node) {
                    Some(known) if known.parts.contains(&entity) => {}
                    Some(known) => known.parts.push(entity),
                    None => nodes.push(MorphNode { node, parts: vec![entity] }),
                }
            }
        }
        nodes
    }

    /// Which group of levels of detail each of the nodes is in, and its level there.
    pub fn lods(&self, avatar: Entity, nodes: &[MorphNode]) -> Vec<Option<(Entity, u8)>> {
        let mut levels: HashMap<Entity, (Entity, u8)> = HashMap::default();
        for entity in self.within(avatar) {
            let lower = self.lods.get(entity).map_or(&[][..], |group| &group.lower);
            if !lower.is_empty() {
                levels.extend([entity].iter().chain(lower).copied().zip((0..u8::MAX).map(|level| (entity, level))));
            }
        }
        let level = |of: &MorphNode| {
            let up = std::iter::once(of.node).chain(self.parents.iter_ancestors(of.node));
            up.take_while(|entity| *entity != avatar).find_map(|entity| levels.get(&entity).copied())
        };
        nodes.iter().map(level).collect()
    }

    /// The names of a node's targets, after checking that they are what they seem. `numbered`: a target without a name gets its
    /// number.
    pub fn target_names(&self, of: &MorphNode, morphs: &Morphs, numbered: bool) -> Result<Vec<String>, Unbound> {
        let count = morphs.get(of.node).map_or(0, <[f32]>::len);
        if count > MAX_MORPH_WEIGHTS {
            return Err(Unbound::Refused(format!(
                "{count} morph targets are more than the {MAX_MORPH_WEIGHTS} that Bevy draws; split the mesh or export fewer"
            )));
        }
        let mut found = of.parts.iter().find_map(|part| self.models.target_names(*part)).map(<[String]>::to_vec);
        let handles = of.parts.iter().filter_map(|part| self.primitives.get(*part).ok()).map(|mesh| &mesh.0);
        for handle in handles.chain(morphs.first_mesh(of.node)) {
            let Some(mesh) = self.meshes.get(handle) else { return Err(Unbound::Loading) };
            // A mesh that lives on the GPU alone cannot be looked into; its names may be elsewhere.
            match mesh.try_morph_targets() {
                Ok(targets) => {
                    let vertices = mesh.count_vertices();
                    if vertices == 0 || targets.len() != vertices * count {
                        return Err(Unbound::Refused(format!(
                            "{} deltas are not {count} targets of {vertices} vertices, so the targets would be mixed up; \
                             export it with normals, without empty targets, and with all primitives alike",
                            targets.len()
                        )));
                    }
                }
                Err(MeshAccessError::ExtractedToRenderWorld | MeshAccessError::NotFound) => {}
            }
            if let Ok(Some(names)) = mesh.try_morph_target_names() {
                found.get_or_insert_with(|| names.to_vec());
            }
        }
        let mut carriers = std::iter::once(of.node).chain(of.parts.iter().copied());
        let found = found.or_else(|| {
            carriers
                .find_map(|entity| {
                    let mesh = self.mesh_extras.get(entity).ok().and_then(|extras| names_in_extras(&extras.value));
                    mesh.or_else(|| self.extras.get(entity).ok().and_then(|extras| names_in_extras(&extras.value)))
                })
                .map(|names| {
                    let name =
                        |(target, name): (usize, Option<String>)| name.unwrap_or_else(|| format!("target {target}"));
                    names.into_iter().enumerate().map(name).collect()
                })
        });
        match found.or_else(|| numbered.then(|| (0..count).map(|target| format!("target {target}")).collect())) {
            Some(names) if names.len() == count => Ok(names),
            Some(names) => Err(Unbound::Refused(format!("it has {} target names for {count} weights", names.len()))),
            None => Err(Unbound::Refused(
                "its morph targets have no names (mesh.extras.targetNames in glTF, Mesh::with_morph_target_names in code)"
                    .to_owned(),
            )),
        }
    }

    /// Meshes whose targets have no weights, so that nothing can move them.
    pub fn without_weights(&self, avatar: Entity, morphs: &Morphs) -> impl Iterator<Item = String> {
        let alone = |entity: &Entity| morphs.get(*entity).is_none() && morphs.of_mesh(*entity).is_none();
        let has_targets = |mesh: &Mesh| mesh.try_morph_targets().is_ok_and(|targets| !targets.is_empty());
        let without =
            self.within(avatar).filter(alone).filter(move |entity| self.mesh(*entity).is_some_and(has_targets));
        without.map(|entity| {
            format!(
                "mesh \"{}\": it has morph targets and no weights; add `MeshMorphWeights::Value`, or a reference to an \
                 entity with `MorphWeights`",
                self.label(entity)
            )
        })
    }

    pub fn bones(&self, avatar: Entity, morphs: &Morphs, map: &BoneMap, known: Option<&KnownBones>) -> Bones {
        let has_face = |entity| morphs.get(entity).is_some();
        let (children, parents) = (&self.children, &self.parents);
        let (names, transforms, skins) = (&self.names, &self.transforms, &self.skins);
        let mut found = bones::find(avatar, children, parents, names, transforms, skins, has_face, map, known);
        for Skeleton { head, eyes, .. } in &mut found.skeletons {
            let bones = [(head, false)].into_iter().chain(eyes.iter_mut().map(|eye| (eye, true)));
            for (bone, is_eye) in bones.filter_map(|(bone, is_eye)| Some((bone.as_mut()?, is_eye))) {
                bone.pivot = self.pivot(bone, is_eye);
            }
        }
        found
    }

    /// Where the head is, and the direction of a face that neither its file nor its eyes say.
    pub fn head_frame(
        &self,
        avatar: Entity,
        nodes: &[MorphNode],
        binding: &mut FaceBinding,
        known: Option<&KnownBones>,
    ) -> Option<HeadFrame> {
        let skeletons = &binding.bones.skeletons;
        let by_eyes = skeletons.iter().find(|it| it.head.is_some() && it.eyes.iter().all(Option::is_some));
        let facing = binding.map.facing.or(known.and_then(|known| known.facing)).or(by_eyes.map(|it| it.facing));
        let driven = nodes.iter().zip(&binding.meshes).enumerate().flat_map(|(index, (node, mesh))| {
            let targets: Vec<usize> = mesh.targets(index, &binding.compiled).collect();
            node.parts.iter().map(move |part| (*part, targets.clone()))
        });
        let turn = facing.map(|facing| Quat::from_rotation_y(facing.angle()));
        let frame = self.shapes.head(avatar, self.within(avatar), &driven.collect(), &binding.bones, turn);
        if let (None, Some(frame)) = (facing, &frame) {
            for skeleton in &mut binding.bones.skeletons {
                skeleton.facing = bones::nearest(frame.forward);
            }
        }
        frame
    }

    /// The point that a head or an eye turns about, where it is a node with meshes and no joint.
    fn pivot(&self, bone: &Bone, is_eye: bool) -> Vec3 {
        if self.skins.iter().any(|skin| skin.joints.contains(&bone.entity)) {
            return Vec3::ZERO;
        }
        let (mut low, mut high) = (Vec3::INFINITY, Vec3::NEG_INFINITY);
        let mut nodes = vec![(bone.entity, Affine3A::IDENTITY)];
        while let Some((entity, place)) = nodes.pop() {
            let mesh = self.mesh(entity).filter(|_| !self.skins.contains(entity));
            if let Some(aabb) = mesh.and_then(aabb) {
                let (center, half) = (Vec3::from(aabb.center), Vec3::from(aabb.half_extents));
                for corner in 0..8 {
                    let side = Vec3::new(
                        if corner & 1 == 0 { -1.0 } else { 1.0 },
                        if corner & 2 == 0 { -1.0 } else { 1.0 },
                        if corner & 4 == 0 { -1.0 } else { 1.0 },
                    );
                    let point = place.transform_point3(center + side * half);
                    (low, high) = (low.min(point), high.max(point));
                }
            }
            for child in self.children.get(entity).into_iter().flat_map(|children| children.iter()) {
                let local = self.transforms.get(child).map_or(Affine3A::IDENTITY, Transform::compute_affine);
                nodes.push((child, place * local));
            }
        }
        if low.x > high.x {
            return Vec3::ZERO;
        }
        let rest = self.transforms.get(bone.entity).map_or(Quat::IDENTITY, |transform| transform.rotation);
        bones::pivot(low, high, is_eye, (bone.parent * rest).inverse() * Vec3::Y)
    }

    /// What turns the eyeballs: what the mapping says, else the targets where they move what the eye bones move.
    pub fn eye_drive(
        &self,
        binding: &FaceBinding,
        by_file: EyeDrive,
        // Meshes with targets that `eyeLook*` shapes move, and those targets.
        looks: &[(Entity, Vec<usize>)],
        // Whether they move expressions of the model.
        named_looks: bool,
    ) -> EyeDrive {
        let eyes = binding.bones.skeletons.iter().flat_map(|skeleton| skeleton.eyes).flatten();
        let eyes: Vec<Vec<Entity>> = eyes
            .map(|bone| std::iter::once(bone.entity).chain(self.children.iter_descendants(bone.entity)).collect())
            .collect();
        let by_mapping = binding.map.eyes.as_ref().map_or(EyeDrive::Auto, |eyes| eyes.by);
        let by_targets = match if by_mapping.is_auto() { by_file } else { by_mapping } {
            EyeDrive::Bones => false,
            EyeDrive::Targets => true,
            _ => {
                let parts: Vec<LookMesh<'_>> = looks
                    .iter()
                    .filter_map(|(entity, looks)| {
                        let (mesh, skin) = (self.mesh(*entity)?, self.skins.get(*entity).ok());
                        Some(LookMesh { mesh, skin, entity: *entity, looks: looks.clone() })
                    })
                    .collect();
                eyes::moved_by_targets(&parts, &eyes).unwrap_or_else(|| {
                    // A mesh that lives on the GPU alone says but its name.
                    let unread = |entity: Entity| {
                        self.mesh(entity).is_none_or(|mesh| {
                            matches!(mesh.try_morph_targets(), Err(MeshAccessError::ExtractedToRenderWorld))
                        })
                    };
                    looks.iter().any(|(entity, _)| unread(*entity) && eyes::is_eyeball(&self.label(*entity)))
                })
            }
        };
        match (by_targets && (named_looks || !looks.is_empty()), eyes.is_empty()) {
            (true, _) => EyeDrive::Targets,
            (false, false) => EyeDrive::Bones,
            (false, true) => EyeDrive::Auto,
        }
    }

    /// Names of the targets that are written and move no vertex of any mesh.
    pub fn empty_targets(&self, nodes: &[MorphNode], names: &[Vec<String>], binding: &FaceBinding) -> Vec<String> {
        let mut known: Vec<(&str, bool)> = Vec::new();
        for (index, ((node, names), mesh)) in nodes.iter().zip(names).zip(&binding.meshes).enumerate() {
            for target in mesh.targets(index, &binding.compiled) {
                let Some(name) = names.get(target) else { continue };
                let slot = known.iter().position(|(other, _)| *other == name.as_str()).unwrap_or_else(|| {
                    known.push((name.as_str(), true));
                    known.len() - 1
                });
                if !known[slot].1 {
                    continue;
                }
                let moves = |part: &Entity| {
                    // A mesh that cannot be looked into may move.
                    let Some(Ok(deltas)) = self.mesh(*part).map(Mesh::try_morph_targets) else { return true };
                    let count = deltas.len() / names.len().max(1);
                    let deltas = deltas.get(target * count..(target + 1) * count).unwrap_or_default();
                    deltas.iter().any(|delta| delta.position != Vec3::ZERO || delta.normal != Vec3::ZERO)
                };
                known[slot].1 = !node.parts.iter().any(moves);
            }
        }
        known.into_iter().filter(|(_, empty)| *empty).map(|(name, _)| name.to_owned()).collect()
    }
}

/// As Bevy's `MeshAabb`, whose method has another name in 0.20.
fn aabb(mesh: &Mesh) -> Option<Aabb> {
    if let Some(aabb) = mesh.final_aabb {
        return Some(aabb.into());
    }
    match mesh.try_attribute(Mesh::ATTRIBUTE_POSITION) {
        Ok(VertexAttributeValues::Float32x3(positions)) => {
            Aabb::enclosing(positions.iter().map(|position| Vec3::from_array(*position)))
        }
        _ => None,
    }
}
