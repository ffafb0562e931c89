//! Recorded faces as Bevy animations.

use std::time::Duration;

use bevy::{
    animation::{
        AnimatedBy, AnimationTargetId, animated_field,
        animation_curves::{AnimatableCurve, AnimatableProperty, AnimationCompatibleCurve, WeightsCurve},
        gltf_curves::WideLinearKeyframeCurve,
    },
    ecs::system::SystemParam,
    mesh::morph::MorphWeights,
    prelude::*,
};
use facelink::take::{Curves, Keys, Take};

use crate::{
    avatar::FaceAvatar,
    binding::FaceBinding,
    bones::{Bone, Turned},
    drive::turns,
    pose::FacePose,
};

/// A clip of one key is this long.
const SHORTEST: Duration = Duration::from_millis(16);

/// Makes an [`AnimationClip`] of a recorded face, for the morph targets and bones of one avatar, through its mapping: for cut
/// scenes that play without FaceLink's plugin, or blended with body animations by Bevy's graph.
///
/// The avatar has to be bound ([`AvatarBound`](crate::AvatarBound)), and the system has to run in `Update`. An avatar that
/// shows a face of FaceLink at the same time shows that: give it a subject that is not there.
///
/// ```
/// # use bevy::prelude::*;
/// use bevy_facelink::{FaceAvatar, FaceTake, animation::FaceBaker};
/// # #[derive(Resource)] struct Line(Handle<FaceTake>);
/// fn bake(
///     mut baker: FaceBaker,
///     mut commands: Commands,
///     avatar: Single<Entity, With<FaceAvatar>>,
///     (line, takes): (Res<Line>, Res<Assets<FaceTake>>),
///     (mut clips, mut graphs): (ResMut<Assets<AnimationClip>>, ResMut<Assets<AnimationGraph>>),
/// ) -> Result {
///     let Some(take) = takes.get(&line.0) else { return Ok(()) };
///     let (frames, _) = take.frames("Ann")?;
///     let baked = baker.bake(*avatar, &frames, facelink::take::MAX_KEY_ERROR)?;
///     let (graph, node) = AnimationGraph::from_clip(clips.add(baked.clip));
///     let mut player = AnimationPlayer::default();
///     player.play(node).repeat();
///     commands.entity(baked.player).insert((AnimationGraphHandle(graphs.add(graph)), player));
///     Ok(())
/// }
/// # bevy::ecs::system::assert_is_system(bake.map(|_: Result| ()));
/// ```
#[derive(SystemParam)]
pub struct FaceBaker<'w, 's> {
    commands: Commands<'w, 's>,
    avatars: Query<'w, 's, (&'static FaceAvatar, &'static mut FaceBinding)>,
    nodes: Query<'w, 's, Node>,
    transforms: Query<'w, 's, (&'static Transform, Option<&'static Turned>)>,
    weights: Query<'w, 's, &'static MorphWeights>,
}

type Node = (
    Option<&'static Name>,
    Option<&'static ChildOf>,
    Option<&'static Children>,
    Option<&'static AnimationTargetId>,
    Option<&'static AnimatedBy>,
);

/// A face as an animation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BakedFace {
    /// Keys from 0 to the end of the take, in a straight line in between.
    pub clip: AnimationClip,
    /// Whose [`AnimationPlayer`] moves the face: the one that animates the model already, otherwise the avatar, which gets one
    /// with the first clip.
    pub player: Entity,
    /// Morph targets and bones that move.
    pub nodes: usize,
}

/// Why a face cannot be baked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BakeError {
    /// It is no avatar, or its scene is not there yet.
    #[error("{0} is no avatar that is bound: wait for AvatarBound")]
    NotBound(Entity),
    /// The take moves nothing of it.
    #[error("the take moves nothing of {0}: no morph target and no bone of it can be animated")]
    NothingToMove(Entity),
    /// Keys that Bevy refuses.
    #[error("cannot make a curve of {keys} keys: {reason}")]
    Curve {
        /// How many.
        keys: usize,
        /// Why.
        reason: String,
    },
}

impl FaceBaker<'_, '_> {
    /// Bakes a face with as few keys as keep every weight within `max_error`; the default of exports is
    /// [`MAX_KEY_ERROR`](facelink::take::MAX_KEY_ERROR), and 0 keeps every frame that does not lie on a straight line.
    ///
    /// # Errors
    /// [`BakeError`].
    pub fn bake(&mut self, avatar: Entity, take: &Take, max_error: f32) -> Result<BakedFace, BakeError> {
        let curves = take.curves(max_error);
        let (settings, mut binding) = self.avatars.get_mut(avatar).map_err(|_| BakeError::NotBound(avatar))?;
        if binding.seen.is_empty() && binding.bones.skeletons.is_empty() {
            return Err(BakeError::NotBound(avatar));
        }
        let mut pose = FacePose::default();
        let mut clip = AnimationClip::default();
        let mut targets = Targets { nodes: &self.nodes, avatar, player: None, added: Vec::new() };
        let mut nodes = 0;

        let driven: Vec<Vec<bool>> =
            binding.meshes.iter().map(|mesh| mesh.channels.iter().map(|bound| bound.driven).collect()).collect();
        for mesh in 0..binding.meshes.len() {
            let Some(node) = binding.meshes[mesh].node else { continue };
            let Ok(rest) = self.weights.get(node) else { continue };
            let mut row = vec![0.0; rest.weights().len()];
            let keys = curves.keys(|frame, out| {
                pose.set_from(frame, 1.0);
                binding.map(&pose);
                row.fill(0.0);
                binding.write(mesh, &pose, settings.gain, 1.0, &mut row);
                out.extend_from_slice(&row);
            });
            if keys.values.iter().any(|weight| *weight != 0.0)
                && let Some(target) = targets.of(node)
            {
                let keys = at_least_two(keys);
                let curve = WideLinearKeyframeCurve::new(keys.seconds(), keys.values.iter().copied());
                let curve = curve.map_err(|error| refused(&keys, &error))?;
                clip.add_curve_to_target(target, WeightsCurve(curve));
                nodes += 1;
            }
        }
        for (mesh, driven) in binding.meshes.iter_mut().zip(driven) {
            for (bound, driven) in mesh.channels.iter_mut().zip(driven) {
                bound.driven = driven;
            }
        }

        let bones: Vec<Bone> = binding.bones.skeletons.iter().flat_map(|skeleton| skeleton.bones()).collect();
        for bone in bones {
            let Ok((transform, turned)) = self.transforms.get(bone.entity) else { continue };
            let rest = turned.map_or(*transform, |turned| turned.without(*transform));
            let mut at = |frame: &facelink::FaceFrame| {
                pose.set_from(frame, 1.0);
                binding.map(&pose);
                let mut moved = rest;
                turns(settings, &binding, &pose, |turning, by, shift| {
                    if turning.entity == bone.entity {
                        let mut turned = Turned::default();
                        turned.turn(&bone, &mut moved, by);
                        turned.shift(&bone, &mut moved, shift);
                    }
                });
                moved
            };
            let rotations = curves.turns(|frame| at(frame).rotation.to_array());
            let places = curves.keys(|frame, out| out.extend(at(frame).translation.to_array()));
            let still = |keys: &Keys, rest: &[f32]| keys.rows().all(|row| row == rest);
            if still(&rotations, &rest.rotation.to_array()) {
                continue;
            }
            let Some(target) = targets.of(bone.entity) else { continue };
            let quats = |row: &[f32]| Quat::from_slice(row).normalize();
            add(&mut clip, target, animated_field!(Transform::rotation), &at_least_two(rotations), quats)?;
            if !still(&places, &rest.translation.to_array()) {
                add(
                    &mut clip,
                    target,
                    animated_field!(Transform::translation),
                    &at_least_two(places),
                    Vec3::from_slice,
                )?;
            }
            nodes += 1;
        }
        if nodes == 0 {
            return Err(BakeError::NothingToMove(avatar));
        }
        clip.set_duration(length(&curves));
        let player = targets.player.unwrap_or(avatar);
        let added = targets.added;
        for (entity, id) in added {
            self.commands.entity(entity).insert((id, AnimatedBy(player)));
        }
        Ok(BakedFace { clip, player, nodes })
    }
}

/// What the curves of one avatar move.
struct Targets<'q, 'w, 's> {
    nodes: &'q Query<'w, 's, Node>,
    avatar: Entity,
    /// Who animates the first of them.
    player: Option<Entity>,
    /// Those without an animation player yet.
    added: Vec<(Entity, AnimationTargetId)>,
}

impl Targets<'_, '_, '_> {
    /// The id of a node; `None` where another player than that of the others animates it.
    fn of(&mut self, node: Entity) -> Option<AnimationTargetId> {
        let (.., id, animated) = self.nodes.get(node).ok()?;
        if let (Some(id), Some(AnimatedBy(by))) = (id, animated) {
            return (*self.player.get_or_insert(*by) == *by).then_some(*id);
        }
        let id = self.path(node);
        if !self.added.iter().any(|(known, _)| *known == node) {
            self.added.push((node, id));
        }
        Some(id)
    }

    /// From the path of its names, so that it is the same in every avatar of one model. Nodes of one name are counted.
    fn path(&self, node: Entity) -> AnimationTargetId {
        let mut path = Vec::new();
        let mut at = node;
        while at != self.avatar {
            let Ok((name, parent, ..)) = self.nodes.get(at) else { break };
            let name = name.map_or("", Name::as_str);
            let Some(parent) = parent.map(ChildOf::parent) else { break };
            let children = self.nodes.get(parent).ok().and_then(|(_, _, children, ..)| children);
            let is_named =
                |child: &&Entity| self.nodes.get(**child).is_ok_and(|of| of.0.map_or("", Name::as_str) == name);
            let before = children.into_iter().flatten().take_while(|child| **child != at).filter(is_named).count();
            path.push(format!("{name}#{before}"));
            at = parent;
        }
        path.iter().rev().collect()
    }
}

fn refused(keys: &Keys, error: &dyn std::fmt::Display) -> BakeError {
    BakeError::Curve { keys: keys.times.len(), reason: error.to_string() }
}

/// A curve has two keys at least.
fn at_least_two(mut keys: Keys) -> Keys {
    if let [only] = keys.times[..] {
        keys.times.push(only + SHORTEST);
        keys.values.extend_from_within(..);
    }
    keys
}

fn add<P>(
    clip: &mut AnimationClip,
    target: AnimationTargetId,
    property: P,
    keys: &Keys,
    value: impl Fn(&[f32]) -> P::Property,
) -> Result<(), BakeError>
where
    P: AnimatableProperty + Clone,
    UnevenSampleAutoCurve<P::Property>: AnimationCompatibleCurve<P::Property> + Clone,
    P::Property: Clone,
{
    let curve = UnevenSampleAutoCurve::new(keys.seconds().zip(keys.rows().map(value)));
    let curve = curve.map_err(|error| refused(keys, &error))?;
    clip.add_curve_to_target(target, AnimatableCurve::new(property, curve));
    Ok(())
}

fn length(curves: &Curves) -> f32 {
    curves.end().max(SHORTEST).as_secs_f32()
}
