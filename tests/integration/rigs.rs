//! Skeletons as real rigs have them: bones by many names, several skeletons, and eyes that targets turn already.

use std::time::Duration;

use bevy::{
    mesh::{
        VertexAttributeValues,
        morph::{MeshMorphWeights, MorphAttributes, MorphWeights},
        skinning::SkinnedMesh,
    },
    prelude::*,
};
use bevy_facelink::{
    AvatarMapping, BindReport, FaceAvatar,
    facelink::{Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose, mapping::Mapping},
    mapping::FaceMapping,
};

use crate::support::{fed_app, frame, morphed_mesh, near, run, weights};

const SECOND: Duration = Duration::from_secs(1);

/// A chain of named nodes, the first of them below `parent`.
fn chain(world: &mut World, parent: Entity, names: &[&str]) -> Vec<Entity> {
    let mut above = parent;
    let add = |name: &&str| {
        let node = world.spawn((Name::new((*name).to_owned()), Transform::default())).id();
        world.entity_mut(above).add_child(node);
        above = node;
        node
    };
    names.iter().map(add).collect()
}

/// A skinned mesh with these targets below `parent`: its vertices hang on the last joint, and the targets move them by
/// `by`. Returns the node with the weights.
fn skinned(world: &mut World, parent: Entity, name: &str, joints: Vec<Entity>, targets: &[&str], by: f32) -> Entity {
    let last = u16::try_from(joints.len()).expect("few joints") - 1;
    let delta = MorphAttributes { position: Vec3::X * by, ..default() };
    let mesh = morphed_mesh(targets)
        .with_inserted_attribute(Mesh::ATTRIBUTE_JOINT_INDEX, VertexAttributeValues::Uint16x4(vec![[last, 0, 0, 0]; 3]))
        .with_inserted_attribute(Mesh::ATTRIBUTE_JOINT_WEIGHT, vec![[1.0, 0.0, 0.0, 0.0]; 3])
        .with_morph_targets(vec![delta; targets.len() * 3]);
    let handle = world.resource_mut::<Assets<Mesh>>().add(mesh);
    let weights = MorphWeights::new(vec![0.0; targets.len()], Some(handle.clone())).expect("few enough targets");
    let node = world.spawn((Name::new(name.to_owned()), Transform::default(), weights)).id();
    let skin = SkinnedMesh { joints, ..default() };
    let part = world.spawn((Mesh3d(handle), MeshMorphWeights::Reference(node), skin)).id();
    world.entity_mut(node).add_child(part);
    world.entity_mut(parent).add_child(node);
    node
}

fn root(app: &mut App) -> Entity {
    app.world_mut().spawn(Transform::default()).id()
}

fn turned(app: &App, bone: Entity) -> f32 {
    app.world().get::<Transform>(bone).expect("a bone").rotation.angle_between(Quat::IDENTITY)
}

fn report(app: &App, avatar: Entity) -> BindReport {
    app.world().get::<BindReport>(avatar).expect("a report").clone()
}

fn nod() -> FaceFrame {
    let mut face = frame(&[(Blendshape::JawOpen, 0.5)]);
    face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.4).to_array(), position: None });
    face
}

const LOOKS: [&str; 8] = [
    "eyeLookOutLeft",
    "eyeLookInLeft",
    "eyeLookUpLeft",
    "eyeLookDownLeft",
    "eyeLookOutRight",
    "eyeLookInRight",
    "eyeLookUpRight",
    "eyeLookDownRight",
];

#[test]
fn head_turns_by_any_spelling() {
    for head in [
        "Head.001",
        "Head_13",
        "mixamorig1Head",
        "mixamorig:Head",
        "head_JNT",
        "head.x",
        "DEF-spine.006",
        "Character1_Head",
        "head_Armature",
        "頭",
    ] {
        let (mut app, faces) = fed_app();
        let root = root(&mut app);
        let world = app.world_mut();
        // A node of the plainest name that moves nothing.
        chain(world, root, &["Head"]);
        let bones = chain(world, root, &["Hips", head]);
        skinned(world, root, "Body", bones.clone(), &["jawOpen"], 0.0);
        world.entity_mut(root).insert(FaceAvatar::default());
        run(&mut app, SECOND, || faces.send(1, "Ann", nod()));
        assert!(near(turned(&app, bones[1]), 0.4), "{head}: {}", turned(&app, bones[1]));
        let report = report(&app, root);
        assert_eq!((report.bones, report.no_head), (vec![head.to_owned()], false));
    }
}

#[test]
fn heads_of_several_skeletons_turn() {
    let (mut app, faces) = fed_app();
    let root = root(&mut app);
    let world = app.world_mut();
    let mut skeletons = Vec::new();
    for names in [["A", "Neck", "Head"], ["B", "Neck.001", "Head.001"]] {
        let bones = chain(world, root, &names);
        skinned(world, root, "Body", bones.clone(), &["jawOpen"], 0.0);
        skeletons.push(bones);
    }
    world.entity_mut(root).insert(FaceAvatar::default());
    run(&mut app, SECOND, || faces.send(1, "Ann", nod()));
    for bones in skeletons {
        let (neck, head) = (turned(&app, bones[1]), turned(&app, bones[2]));
        assert!(near(neck, 0.35 * 0.4) && near(head, 0.65 * 0.4), "{neck} {head}");
    }
}

#[test]
fn head_that_is_not_found_is_reported() {
    for drive_head in [true, false] {
        let (mut app, _faces) = fed_app();
        let root = root(&mut app);
        let world = app.world_mut();
        let bones = chain(world, root, &["Bone", "Bone.001", "HeadTop_End"]);
        skinned(world, root, "Head", bones, &["jawOpen"], 0.0);
        world.entity_mut(root).insert(FaceAvatar { drive_head, ..default() });
        run(&mut app, SECOND, || ());
        let report = report(&app, root);
        assert!(report.no_head == drive_head && report.bones.is_empty(), "{report:?}");
    }
}

/// Angle of the left eye's bone and weight of `eyeLookOutLeft` at a full look to the left, for a rig whose `eyeLook*`
/// targets move its eyeballs by `by`.
fn look_left(by: f32, mapping: Option<&str>) -> (f32, f32, String) {
    let (mut app, faces) = fed_app();
    let root = root(&mut app);
    let world = app.world_mut();
    let bones = chain(world, root, &["Hips", "Head", "LeftEye"]);
    let eye = bones[2];
    let node = skinned(world, root, "EyeLeft", bones, &LOOKS, by);
    world.entity_mut(root).insert(FaceAvatar::default());
    if let Some(text) = mapping {
        let mapping = FaceMapping::from(text.parse::<Mapping>().expect("a mapping"));
        let handle = world.resource_mut::<Assets<FaceMapping>>().add(mapping);
        world.entity_mut(root).insert(AvatarMapping(handle));
    }
    let face = frame(&[(Blendshape::EyeLookOutLeft, 1.0), (Blendshape::EyeLookInRight, 1.0)]);
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    (turned(&app, eye).to_degrees(), weights(&app, node)[0], report(&app, root).eyes)
}

#[test]
fn eyes_are_turned_by_targets_or_by_bones_but_not_by_both() {
    for (by, mapping, angle, eyes) in [
        (0.3, None, 0.0, "targets"),
        (0.0, None, 35.0, "bones"),
        (0.01, None, 35.0, "bones"),
        (0.3, Some("(bones: (eyes: (by: Bones)))"), 35.0, "bones"),
        (0.0, Some("(bones: (eyes: (by: Targets)))"), 0.0, "targets"),
        (
            0.0,
            Some("(bones: (eyes: (range: (inner: (35, 8), outer: (35, 12), down: (35, 10), up: (35, 10)))))"),
            12.0,
            "bones",
        ),
        (0.0, Some("(bones: (eyes: (limits: (20, 10))))"), 20.0, "bones"),
    ] {
        let (turned, weight, said) = look_left(by, mapping);
        assert!((turned - angle).abs() < 0.1, "{by} {mapping:?}: {turned}");
        assert_eq!((weight, said.as_str()), (1.0, eyes), "{by} {mapping:?}");
    }
}

#[test]
fn gaze_without_look_shapes_is_shown_by_targets_that_turn_the_eyes() {
    let (mut app, faces) = fed_app();
    let root = root(&mut app);
    let world = app.world_mut();
    let bones = chain(world, root, &["Head", "LeftEye"]);
    let node = skinned(world, root, "EyeLeft", bones, &LOOKS, 0.3);
    world.entity_mut(root).insert(FaceAvatar::default());
    let mut face = frame(&[]);
    let eye = EyeGaze { yaw: 17.5_f32.to_radians(), pitch: -0.1 };
    face.gaze = Some(Gaze { left: eye, right: eye });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    let shown = weights(&app, node);
    assert!(near(shown[0], 0.5) && shown[1] == 0.0 && shown[3] > 0.1 && near(shown[5], 0.5), "{shown:?}");
}
