//! What an avatar is bound to.

use std::sync::Arc;

use bevy::{
    ecs::system::SystemParam,
    mesh::morph::{MeshMorphWeights, MorphWeights},
    prelude::*,
};
use facelink::{
    mapping::{BoneMap, Compiled, EyeDrive, GazeRange, Scratch},
    model::Expression,
};

use crate::bones::Bones;

/// Where the weights of one node go.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BoundMesh {
    pub node: Option<Entity>,
    /// The group of levels of detail that it is in, and its level.
    pub lod: Option<(Entity, u8)>,
    /// Targets that a channel of the same name drives.
    pub channels: Vec<BoundChannel>,
    /// Targets that expressions of the model move.
    pub expressed: Vec<Expressed>,
}

impl BoundMesh {
    /// Its targets that are written; it is the mapping's mesh of this index.
    pub fn targets<'a>(&'a self, index: usize, compiled: &'a Compiled) -> impl Iterator<Item = usize> + 'a {
        compiled.targets(index).chain(self.expressed.iter().map(|of| usize::from(of.target)))
    }
}

/// A target that expressions of the model move.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expressed {
    pub target: u16,
    /// Index of the expression, and the target's weight at its full level.
    pub terms: Vec<(usize, f32)>,
}

impl Expressed {
    /// Its weight at these levels of the expressions.
    pub fn weight(&self, levels: &[f32]) -> f32 {
        let sum: f32 = self.terms.iter().filter_map(|(of, weight)| Some(levels.get(*of)? * weight)).sum();
        sum.clamp(0.0, 1.0)
    }
}

/// The expressions that a model's file declares, where the mapping drives them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExpressionTable {
    /// Their place among the mapping's meshes.
    pub mesh: usize,
    pub list: Vec<Expression>,
    /// Level of each in the last evaluation.
    pub levels: Vec<f32>,
}

/// A target other than the 52 shapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BoundChannel {
    pub target: u16,
    pub name: Arc<str>,
    /// The mapping writes it too; the larger one is shown.
    pub mapped: bool,
    /// A channel has driven it, so it goes back to 0 when no frame has that channel any more.
    pub driven: bool,
}

/// What an avatar's frames are written to.
#[derive(Component, Debug, Default)]
pub(crate) struct FaceBinding {
    /// In the order of the mapping's meshes.
    pub meshes: Vec<BoundMesh>,
    /// Shared by all avatars of one rig and mapping, so that a crowd of them stays in the cache.
    pub compiled: Arc<Compiled>,
    pub scratch: Scratch,
    /// Every entity with morph weights that was found, also those that are refused.
    pub seen: Vec<Entity>,
    /// The targets that another plugin drives, as the last mesh of the mapping.
    pub named: Option<(usize, Vec<(String, Entity)>)>,
    pub expressions: Option<ExpressionTable>,
    pub bones: Bones,
    pub map: BoneMap,
    /// How far the eyes turn: by the avatar's own mapping, else by its file, else by its dialect.
    pub range: Option<GazeRange>,
    /// What turns the eyeballs, never [`EyeDrive::Auto`] where there are eye bones.
    pub eyes: EyeDrive,
}

/// Morph weights, whichever component holds them.
#[derive(SystemParam)]
pub(crate) struct Morphs<'w, 's> {
    nodes: Query<'w, 's, &'static mut MorphWeights>,
    meshes: Query<'w, 's, &'static mut MeshMorphWeights>,
}

impl Morphs<'_, '_> {
    pub fn get(&self, entity: Entity) -> Option<&[f32]> {
        match (self.nodes.get(entity), self.meshes.get(entity)) {
            (Ok(node), _) => Some(node.weights()),
            (_, Ok(MeshMorphWeights::Value { weights })) => Some(weights),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, entity: Entity) -> Option<&mut [f32]> {
        if self.nodes.contains(entity) {
            return self.nodes.get_mut(entity).ok().map(|node| node.into_inner().weights_mut());
        }
        match self.meshes.get_mut(entity).ok()?.into_inner() {
            MeshMorphWeights::Value { weights } => Some(weights),
            MeshMorphWeights::Reference(_) => None,
        }
    }

    pub fn first_mesh(&self, entity: Entity) -> Option<&Handle<Mesh>> {
        self.nodes.get(entity).ok().and_then(MorphWeights::first_mesh)
    }

    /// The entity whose weights move this mesh.
    pub fn of_mesh(&self, entity: Entity) -> Option<Entity> {
        match self.meshes.get(entity).ok()? {
            MeshMorphWeights::Value { .. } => Some(entity),
            MeshMorphWeights::Reference(node) => Some(*node),
        }
    }
}
