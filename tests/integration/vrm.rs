//! VRM 1.0 models by `bevy_vrm1`: a small one, made here.

use bevy::{mesh::morph::MorphWeights, prelude::*};
use bevy_facelink::{
    BindReport, FaceAvatar, FaceInjector,
    facelink::{Blendshape, FaceFrame, HeadPose},
};
use bevy_vrm1::prelude::{Vrm, VrmHandle, VrmPlugin};

use crate::{
    gltf::app_with_plugins,
    support::{frame, near, update_until, write_model},
};

/// The expressions of a model, by bevy_vrm1 0.10.
#[cfg(not(bevy_0_20))]
mod expressions {
    use bevy::prelude::*;
    use bevy_vrm1::prelude::{EffectiveExpressionWeight, ExpressionEntityMap, ExpressionOverride, VrmExpression};

    fn get<'a, C: Component>(world: &'a World, model: Entity, name: &str) -> Option<&'a C> {
        world.get(*world.get::<ExpressionEntityMap>(model)?.0.get(&VrmExpression::from(name))?)
    }

    pub fn are_there(world: &World, model: Entity) -> bool {
        world.get::<ExpressionEntityMap>(model).is_some()
    }

    pub fn weight(world: &World, model: Entity, name: &str) -> Option<f32> {
        get(world, model, name).map(|weight: &EffectiveExpressionWeight| weight.0)
    }

    pub fn is_overridden(world: &World, model: Entity, name: &str) -> bool {
        get::<ExpressionOverride>(world, model, name).is_some()
    }
}

/// The same by bevy_vrm1 0.11.
#[cfg(bevy_0_20)]
mod expressions {
    use bevy::prelude::*;
    use bevy_vrm1::prelude::{EffectiveExpressionWeights, ExpressionOverrides, ExpressionSettings};

    pub fn are_there(world: &World, model: Entity) -> bool {
        world.get::<ExpressionSettings>(model).is_some()
    }

    pub fn weight(world: &World, model: Entity, name: &str) -> Option<f32> {
        world.get::<EffectiveExpressionWeights>(model)?.0.get(name).copied()
    }

    pub fn is_overridden(world: &World, model: Entity, name: &str) -> bool {
        world.get::<ExpressionOverrides>(model).is_some_and(|overrides| overrides.0.contains_key(name))
    }
}

fn model(targets: &[&str]) -> (App, FaceInjector, Entity, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write_model(&folder.path().join("model.vrm"), targets);
    let (mut app, faces) = app_with_plugins(folder.path(), |app| {
        app.add_plugins(VrmPlugin);
    });
    let model = app.world().resource::<AssetServer>().load("model.vrm");
    let avatar = app.world_mut().spawn((VrmHandle(model), FaceAvatar::default())).id();
    update_until(&mut app, "model with its bones", |app| {
        let world = app.world();
        world.get::<Vrm>(avatar).is_some()
            && expressions::are_there(world, avatar)
            && world.get::<BindReport>(avatar).is_some_and(|report| report.bones.len() == 3)
    });
    (app, faces, avatar, folder)
}

fn face() -> FaceFrame {
    let mut face = frame(&[(Blendshape::EyeBlinkLeft, 0.8), (Blendshape::JawOpen, 1.0)]);
    face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.3).to_array(), position: None });
    face
}

fn weights(app: &mut App) -> Vec<f32> {
    let mut nodes = app.world_mut().query::<&MorphWeights>();
    nodes.single(app.world()).expect("one face").weights().to_vec()
}

#[test]
fn vrm_face_is_written_after_clearing_expressions() {
    let (mut app, faces, avatar, _folder) = model(&["Fcl_MTH_A", "Fcl_EYE_Close_L", "Fcl_ALL_Joy", "Fcl_EYE_Close_R"]);
    let report = app.world().get::<BindReport>(avatar).expect("a report").clone();
    assert_eq!(report.preset, "vroid", "{report:?}");
    assert_eq!(report.bones, ["Kopf", "Auge links", "Auge rechts"]);
    update_until(&mut app, "shut eye and open mouth", |app| {
        faces.send(1, "Ann", face());
        let weights = weights(app);
        weights[1] > 0.75 && weights[0] > 0.5 && weights[2] == 0.0 && weights[3] == 0.0
    });
    update_until(&mut app, "turned head", |app| {
        faces.send(1, "Ann", face());
        let mut bones = app.world_mut().query::<(&Name, &Transform)>();
        let (_, head) = bones.iter(app.world()).find(|(name, _)| name.as_str() == "Kopf").expect("the head");
        near(head.rotation.to_euler(EulerRot::YXZ).0, 0.3)
    });
}

#[test]
fn vrm_model_with_other_names_uses_its_expressions() {
    let (mut app, faces, avatar, _folder) = model(&["まばたき1", "まばたき2", "笑い"]);
    let report = app.world().get::<BindReport>(avatar).expect("a report").clone();
    assert_eq!(report.preset, "vrm1", "{report:?}");
    update_until(&mut app, "shut eye and open mouth", |app| {
        faces.send(1, "Ann", face());
        let weights = weights(app);
        weights[1] > 0.75 && weights[0] > 0.5
    });
    assert!(expressions::weight(app.world(), avatar, "blinkLeft").is_some_and(|weight| weight > 0.75));
    // The face goes, and the expressions are the animation's again.
    faces.lose(1, "Ann");
    update_until(&mut app, "face at rest", |app| {
        !expressions::is_overridden(app.world(), avatar, "blinkLeft") && weights(app)[1] == 0.0
    });
}
