//! What a game does around its faces: it reads poses, pauses, and makes avatars by code.

use std::{sync::Arc, time::Duration};

use bevy::{
    mesh::morph::{MeshMorphWeights, MorphWeights},
    prelude::*,
};
use bevy_facelink::{
    AvatarBound, BindReport, FaceAvatar, FaceExpressions, FaceIdle, FaceInjector, FaceLinkSystems, FacePose,
    FaceSpeech, FaceSubjects,
    facelink::{Blendshape, layers::VisemeTrack},
};

use crate::support::{fed_app, frame, morphed_mesh, near, run, spawn_node, spawn_node_with, weights};

const SECOND: Duration = Duration::from_secs(1);

fn feed(app: &mut App, faces: &FaceInjector, jaw: f32) {
    run(app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, jaw)])));
}

#[test]
fn pose_of_this_frame_is_ready_in_update() {
    #[derive(Resource, Default)]
    struct Read(Vec<f32>);
    let (mut app, faces) = fed_app();
    let read = |subjects: Res<FaceSubjects>, poses: Query<&FacePose>, mut read: ResMut<Read>| {
        let pose = subjects.get("Ann").and_then(|ann| poses.get(ann).ok());
        read.0.push(pose.map_or(-1.0, |pose| pose.weight(Blendshape::JawOpen)));
    };
    app.init_resource::<Read>().add_systems(Update, read.after(FaceLinkSystems::Evaluate));
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    app.world_mut().entity_mut(node).insert(FaceAvatar::default());
    feed(&mut app, &faces, 0.5);
    for jaw in [0.5, 0.25, 1.0] {
        faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, jaw)]));
        app.update();
        let seen = app.world().resource::<Read>().0.last().copied().expect("it ran");
        assert!(near(seen, jaw), "Update saw {seen} of {jaw}");
        assert!(near(weights(&app, node)[0], jaw), "and this frame shows it");
    }
}

#[test]
fn paused_game_pauses_layers_and_not_live_faces() {
    let (mut app, faces) = fed_app();
    let names = Blendshape::ALL.map(Blendshape::name);
    let avatar = |app: &mut App, avatar: FaceAvatar| {
        let node = spawn_node(app.world_mut(), "Face", &names);
        app.world_mut().entity_mut(node).insert(avatar);
        node
    };
    let live = avatar(&mut app, FaceAvatar::of("Ann"));
    let actor = avatar(&mut app, FaceAvatar::of("Absent"));
    let mut speech = FaceSpeech::default();
    speech.play(Arc::new(VisemeTrack::from_phonemes("0.0 60.0 AA").expect("a track")));
    let mut expressions = FaceExpressions::default();
    expressions.fade_to("happy", 1.0, 4 * SECOND);
    app.world_mut().entity_mut(actor).insert((speech, expressions, FaceIdle::seeded(3)));
    feed(&mut app, &faces, 0.25);
    let position = |app: &App| app.world().get::<FaceSpeech>(actor).and_then(FaceSpeech::position).expect("it plays");
    assert!((0.9..1.1).contains(&position(&app)));

    app.world_mut().resource_mut::<Time<Virtual>>().pause();
    app.update();
    let (shown, at) = (weights(&app, actor), position(&app));
    for jaw in [0.5, 0.75] {
        feed(&mut app, &faces, jaw);
        assert!(near(weights(&app, live)[Blendshape::JawOpen.index()], jaw), "a live face goes on");
        assert_eq!(position(&app), at);
        assert_eq!(weights(&app, actor), shown, "speech, expressions and idle life wait");
    }

    app.world_mut().resource_mut::<Time<Virtual>>().unpause();
    app.world_mut().resource_mut::<Time<Virtual>>().set_relative_speed(0.5);
    feed(&mut app, &faces, 0.25);
    let passed = position(&app) - at;
    assert!((0.4..0.6).contains(&passed), "half speed, not {passed}");
    assert_ne!(weights(&app, actor), shown);
}

/// What avatars were bound to, one report each time.
#[derive(Resource, Default)]
struct Bound(Vec<BindReport>);

fn counted_app() -> (App, FaceInjector) {
    let (mut app, faces) = fed_app();
    app.init_resource::<Bound>();
    app.add_observer(|bound: On<AvatarBound>, mut all: ResMut<Bound>| all.0.push(bound.report.clone()));
    (app, faces)
}

fn reports(app: &App) -> &[BindReport] {
    &app.world().resource::<Bound>().0
}

#[test]
fn avatar_with_morphs_added_later_is_bound() {
    let (mut app, faces) = counted_app();
    let first = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let avatar = app.world_mut().spawn((Transform::default(), FaceAvatar::default())).add_child(first).id();
    feed(&mut app, &faces, 0.5);
    assert_eq!(reports(&app).len(), 1);

    // A hat that moves with the brows comes, below a group that is put together beforehand.
    let hat = spawn_node(app.world_mut(), "Hat", &["browInnerUp", "jawOpen"]);
    let group = app.world_mut().spawn(Transform::default()).add_child(hat).id();
    app.world_mut().entity_mut(avatar).add_child(group);
    feed(&mut app, &faces, 0.75);
    assert!(near(weights(&app, hat)[1], 0.75) && near(weights(&app, first)[0], 0.75));
    assert_eq!(reports(&app).len(), 2);
    assert_eq!(reports(&app)[1].meshes, 2);

    // What has no morphs is none of its business.
    let plain = app.world_mut().spawn(Transform::default()).id();
    app.world_mut().entity_mut(avatar).add_child(plain);
    feed(&mut app, &faces, 0.75);
    assert_eq!(reports(&app).len(), 2);

    // Weights that are added to an entity that is there already.
    let mesh = app.world_mut().resource_mut::<Assets<Mesh>>().add(morphed_mesh(&["jawOpen"]));
    let late = MorphWeights::new(vec![0.0], Some(mesh.clone())).expect("few enough");
    app.world_mut().entity_mut(plain).insert((Mesh3d(mesh), late, MeshMorphWeights::Reference(plain)));
    feed(&mut app, &faces, 0.25);
    assert!(near(weights(&app, plain)[0], 0.25));
    assert_eq!(reports(&app).len(), 3);
}

#[test]
fn avatar_without_children_waits_for_morphs() {
    let (mut app, faces) = counted_app();
    let avatar = app.world_mut().spawn((Transform::default(), FaceAvatar::default())).id();
    feed(&mut app, &faces, 0.5);
    assert!(reports(&app).is_empty());
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    app.world_mut().entity_mut(avatar).add_child(node);
    feed(&mut app, &faces, 0.5);
    assert!(near(weights(&app, node)[0], 0.5));
    assert_eq!(reports(&app).len(), 1);
}

#[test]
fn avatar_without_morphs_is_reported() {
    let (mut app, _faces) = counted_app();
    app.world_mut().spawn((Transform::default(), FaceAvatar::default()));
    run(&mut app, 12 * SECOND, || {});
    let reports = reports(&app);
    assert!(reports.len() == 1 && reports[0].meshes == 0 && reports[0].matched.is_empty(), "{reports:?}");
}

#[test]
fn mesh_made_by_code_is_driven() {
    let (mut app, faces) = counted_app();
    let mesh = app.world_mut().resource_mut::<Assets<Mesh>>().add(morphed_mesh(&["tail", "jawOpen"]));
    let own = MeshMorphWeights::Value { weights: vec![0.0; 2] };
    let node = app.world_mut().spawn((Mesh3d(mesh), own, Transform::default(), FaceAvatar::default())).id();
    feed(&mut app, &faces, 0.5);
    let Some(MeshMorphWeights::Value { weights }) = app.world().get::<MeshMorphWeights>(node) else {
        panic!("weights")
    };
    assert!(near(weights[1], 0.5) && weights[0] == 0.0, "{weights:?}");
    assert_eq!(reports(&app)[0].meshes, 1);
}

#[test]
fn mesh_with_weights_on_another_entity_is_driven() {
    let (mut app, faces) = counted_app();
    let mesh = morphed_mesh(&["jawOpen"]);
    let elsewhere = spawn_node_with(app.world_mut(), "Weights", 1, mesh.clone());
    let mesh = app.world_mut().resource_mut::<Assets<Mesh>>().add(mesh);
    let part = (Mesh3d(mesh), MeshMorphWeights::Reference(elsewhere), Transform::default());
    app.world_mut().spawn((Transform::default(), FaceAvatar::default())).with_child(part);
    feed(&mut app, &faces, 0.5);
    assert!(near(weights(&app, elsewhere)[0], 0.5));
}

#[test]
fn unusable_meshes_made_by_code_are_reported() {
    let (mut app, faces) = counted_app();
    let mesh = app.world_mut().resource_mut::<Assets<Mesh>>().add(morphed_mesh(&["jawOpen"]));
    let nameless = morphed_mesh(&["jawOpen"]).with_morph_target_names(Vec::new());
    let nameless = app.world_mut().resource_mut::<Assets<Mesh>>().add(nameless);
    let avatar = app.world_mut().spawn((Transform::default(), FaceAvatar::default())).id();
    for (name, mesh, weights) in [
        ("without weights", mesh.clone(), None),
        ("too few weights", mesh, Some(Vec::new())),
        ("without names", nameless, Some(vec![0.0])),
    ] {
        let mut part = app.world_mut().spawn((Name::new(name), Mesh3d(mesh), Transform::default(), ChildOf(avatar)));
        if let Some(weights) = weights {
            part.insert(MeshMorphWeights::Value { weights });
        }
    }
    feed(&mut app, &faces, 0.5);
    let reports = reports(&app);
    assert_eq!(reports.len(), 1, "said once");
    for name in ["without weights", "too few weights", "without names"] {
        assert!(reports[0].refused.iter().any(|refused| refused.contains(name)), "{name}: {:?}", reports[0].refused);
    }
}
