//! VRM 1.0 avatars by [`bevy_vrm1`]: weights are written after its expressions, which clear what they are bound to every
//! frame; its expressions are driven themselves where a model's morph targets have names that no preset knows; and its
//! humanoid bones are the bones, whatever their names.
//!
//! Put [`FaceAvatar`](crate::FaceAvatar) next to `VrmHandle`. A model whose look-at is of type `expression` must not have
//! `bevy_vrm1`'s `LookAt`.

use bevy::{app::AnimationSystems, prelude::*};
use bevy_vrm1::prelude::{
    ExpressionEntityMap, ExpressionOverride, HeadBoneEntity, Initialized, LeftEyeBoneEntity, NeckBoneEntity,
    RightEyeBoneEntity, VrmSystemSets,
};

use crate::{
    avatar::{Bindable, FaceAvatar, FaceBinding, NeedsBinding, Shown},
    bones::KnownBones,
    drive,
    model::NamedTargets,
};

/// Takes its place between the systems of `bevy_vrm1`, whether or not its plugin is there.
pub(crate) struct VrmPlugin;

impl Plugin for VrmPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PreUpdate, (find_expressions, find_bones)).add_systems(
            PostUpdate,
            write_expressions.after(drive::evaluate_mappings).before(VrmSystemSets::Expressions),
        );
        app.configure_sets(PostUpdate, VrmSystemSets::Expressions.after(AnimationSystems).before(drive::write_weights));
    }
}

fn rebind(commands: &mut Commands, model: Entity, parents: &Query<&ChildOf>, avatars: &Query<(), With<Bindable>>) {
    for entity in std::iter::once(model).chain(parents.iter_ancestors(model)) {
        if avatars.contains(entity) {
            commands.entity(entity).try_insert(NeedsBinding::default());
        }
    }
}

/// Expressions can be driven like targets.
fn find_expressions(
    mut commands: Commands,
    models: Query<(Entity, &ExpressionEntityMap), Changed<ExpressionEntityMap>>,
    parents: Query<&ChildOf>,
    avatars: Query<(), With<Bindable>>,
) {
    for (model, map) in &models {
        let mut targets: Vec<_> = map.0.iter().map(|(name, entity)| (name.to_string(), *entity)).collect();
        targets.sort();
        let (names, entities) = targets.into_iter().unzip();
        commands.entity(model).try_insert(NamedTargets { names, entities });
        rebind(&mut commands, model, &parents, &avatars);
    }
}

/// The bones that the model itself names.
fn find_bones(
    mut commands: Commands,
    models: Query<
        (
            Entity,
            Option<&HeadBoneEntity>,
            Option<&NeckBoneEntity>,
            Option<&LeftEyeBoneEntity>,
            Option<&RightEyeBoneEntity>,
        ),
        Added<Initialized>,
    >,
    parents: Query<&ChildOf>,
    avatars: Query<(), With<Bindable>>,
) {
    for (model, head, neck, left, right) in &models {
        commands.entity(model).try_insert(KnownBones {
            head: head.map(|bone| bone.0),
            neck: neck.map(|bone| bone.0),
            eyes: [left.map(|bone| bone.0), right.map(|bone| bone.0)],
            ..default()
        });
        rebind(&mut commands, model, &parents, &avatars);
    }
}

fn write_expressions(
    mut commands: Commands,
    avatars: Query<(&FaceAvatar, &FaceBinding, &Shown)>,
    mut overrides: Query<&mut ExpressionOverride>,
) {
    for (avatar, binding, shown) in &avatars {
        let Some((mesh, entities)) = &binding.named else { continue };
        if shown.idle {
            continue;
        }
        // Without a face the expressions are the animation's again.
        let release = drive::is_neutral(shown);
        for (target, weight) in binding.compiled.mesh(*mesh, &binding.scratch) {
            let Some(entity) = entities.get(target) else { continue };
            let weight = (weight * avatar.gain).clamp(0.0, 1.0);
            match overrides.get_mut(*entity) {
                Ok(_) if release => {
                    commands.entity(*entity).try_remove::<ExpressionOverride>();
                }
                Ok(mut written) => written.0 = weight,
                Err(_) if release => {}
                Err(_) => {
                    commands.entity(*entity).try_insert(ExpressionOverride(weight));
                }
            }
        }
    }
}
