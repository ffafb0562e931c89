//! VRM 1.0 avatars by [`bevy_vrm1`]: weights are written after its expressions, which clear what they are bound to every
//! frame; its expressions are driven themselves where a model's morph targets have names that no preset knows; and its
//! humanoid bones are the bones, whatever their names.
//!
//! Put [`FaceAvatar`](crate::FaceAvatar) next to `VrmHandle`. A model whose look-at is of type `expression` must not have
//! `bevy_vrm1`'s `LookAt`.

use bevy::{app::AnimationSystems, prelude::*};
use bevy_vrm1::prelude::{
    HeadBoneEntity, Initialized, LeftEyeBoneEntity, NeckBoneEntity, RightEyeBoneEntity, VrmSystemSets,
};

use crate::{
    avatar::{Bindable, FaceAvatar, Shown},
    binding::{FaceBinding, NeedsBinding},
    bones::KnownBones,
    drive,
    model::NamedTargets,
    vrm::expressions::{Expressions, Overrides},
};

/// Expressions of bevy_vrm1 0.10: an entity each, with a component that overrides its weight.
#[cfg(not(bevy_0_20))]
mod expressions {
    pub use bevy_vrm1::prelude::{ExpressionEntityMap as Expressions, ExpressionOverride as Overrides};

    use super::*;

    /// Weights are written after they have cleared them.
    pub fn order(app: &mut App) {
        app.configure_sets(PostUpdate, VrmSystemSets::Expressions.after(AnimationSystems).before(drive::write_weights));
    }

    /// Their names, and the entities that have their overrides.
    pub fn targets(_: Entity, expressions: &Expressions) -> Vec<(String, Entity)> {
        expressions.0.iter().map(|(name, entity)| (name.to_string(), *entity)).collect()
    }

    pub fn begin(commands: &mut Commands, entity: Entity, _: &str, weight: f32) {
        commands.entity(entity).try_insert(Overrides(weight));
    }

    pub fn write(overrides: &mut Overrides, _: &str, weight: f32) {
        overrides.0 = weight;
    }

    pub fn release(commands: &mut Commands, entity: Entity, _: &mut Overrides, _: &str) {
        commands.entity(entity).try_remove::<Overrides>();
    }
}

/// Expressions of bevy_vrm1 0.11: components of the model list them, and override weights by their names.
#[cfg(bevy_0_20)]
mod expressions {
    pub use bevy_vrm1::prelude::{ExpressionOverrides as Overrides, ExpressionSettings as Expressions};

    use super::*;
    use crate::sets::{FaceLinkSystems, Step};

    /// They clear weights after transforms are propagated, and bones are turned before that: weights are written twice.
    pub fn order(app: &mut App) {
        app.configure_sets(PostUpdate, VrmSystemSets::Expressions.after(AnimationSystems)).add_systems(
            PostUpdate,
            drive::write_weights_again
                .after(FaceLinkSystems::Drive)
                .after(VrmSystemSets::Expressions)
                .before(Step::Send),
        );
    }

    /// Their names, and the entities that have their overrides.
    pub fn targets(model: Entity, expressions: &Expressions) -> Vec<(String, Entity)> {
        expressions.0.keys().map(|name| (name.clone(), model)).collect()
    }

    pub fn begin(commands: &mut Commands, entity: Entity, name: &str, weight: f32) {
        let name = name.to_owned();
        commands.entity(entity).queue_silenced(move |mut model: EntityWorldMut| {
            // A model that was detached has none.
            if model.contains::<Expressions>() {
                model.entry::<Overrides>().or_default().into_mut().0.insert(name, weight);
            }
        });
    }

    pub fn write(overrides: &mut Overrides, name: &str, weight: f32) {
        match overrides.0.get_mut(name) {
            Some(written) => *written = weight,
            None => {
                overrides.0.insert(name.to_owned(), weight);
            }
        }
    }

    pub fn release(commands: &mut Commands, entity: Entity, overrides: &mut Overrides, name: &str) {
        overrides.0.remove(name);
        if overrides.0.is_empty() {
            commands.entity(entity).try_remove::<Overrides>();
        }
    }
}

/// Takes its place between the systems of `bevy_vrm1`, whether or not its plugin is there.
pub(crate) struct VrmPlugin;

impl Plugin for VrmPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(PreUpdate, (find_expressions, find_bones)).add_systems(
            PostUpdate,
            write_expressions
                .after(drive::evaluate_mappings)
                .before(drive::write_weights)
                .before(VrmSystemSets::Expressions),
        );
        expressions::order(app);
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
    models: Query<(Entity, &Expressions), Changed<Expressions>>,
    parents: Query<&ChildOf>,
    avatars: Query<(), With<Bindable>>,
) {
    for (model, found) in &models {
        let mut targets = expressions::targets(model, found);
        targets.sort();
        commands.entity(model).try_insert(NamedTargets(targets));
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
    mut overrides: Query<&mut Overrides>,
) {
    for (avatar, binding, shown) in &avatars {
        let Some((mesh, targets)) = &binding.named else { continue };
        if shown.idle {
            continue;
        }
        // Without a face the expressions are the animation's again.
        let release = drive::is_neutral(shown);
        for (target, weight) in binding.compiled.mesh(*mesh, &binding.scratch) {
            let Some((name, entity)) = targets.get(target) else { continue };
            let weight = (weight * avatar.gain).clamp(0.0, 1.0);
            match overrides.get_mut(*entity) {
                Ok(mut overrides) if release => expressions::release(&mut commands, *entity, &mut overrides, name),
                Ok(mut overrides) => expressions::write(&mut overrides, name, weight),
                Err(_) if release => {}
                Err(_) => expressions::begin(&mut commands, *entity, name, weight),
            }
        }
    }
}
