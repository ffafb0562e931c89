//! Subjects, binding, easing and driving, in virtual time and without sockets.

use std::time::Duration;

use bevy::{
    app::AnimationSystems,
    camera::visibility::NoFrustumCulling,
    gltf::{GltfExtras, GltfMeshExtras},
    mesh::morph::{MeshMorphWeights, MorphAttributes, MorphWeights},
    prelude::*,
    world_serialization::{WorldInstanceReady, WorldInstanceSpawner},
};
use bevy_facelink::{
    AvatarBound, BindReport, DrivenBy, Drives, FaceAvatar, FaceInbox, FacePose, FaceSource, FaceSubject, FaceSubjects,
    FaceUntracked, SubjectAppeared, SubjectLost,
    facelink::{Blendshape, Channel, FaceFrame, HeadPose},
};
use facelink_net::SourceKind;

use crate::support::{FRAME, fed_app, frame, morphed_mesh, near, run, spawn_node, spawn_node_with, weights};

const SECOND: Duration = Duration::from_secs(1);

fn jaw(weight: f32) -> FaceFrame {
    frame(&[(Blendshape::JawOpen, weight)])
}

/// An avatar with the given nodes below it.
fn avatar(app: &mut App, avatar: FaceAvatar, nodes: &[Entity]) -> Entity {
    let root = app.world_mut().spawn((Transform::default(), Name::new("avatar"))).id();
    app.world_mut().entity_mut(root).add_children(nodes);
    app.world_mut().entity_mut(root).insert(avatar);
    root
}

#[test]
fn avatar_meshes_get_weights_by_target_name() {
    let (mut app, faces) = fed_app();
    let head = spawn_node(app.world_mut(), "Head", &["noise", "jawOpen", "eyeBlinkLeft"]);
    let teeth = spawn_node(app.world_mut(), "Teeth", &["Jaw_Open", "browInnerUp_L", "browInnerUp_R", "tail"]);
    let root = avatar(&mut app, FaceAvatar::default(), &[head, teeth]);
    let mut face = frame(&[
        (Blendshape::JawOpen, 0.5),
        (Blendshape::EyeBlinkLeft, 1.25),
        (Blendshape::BrowInnerUp, 0.75),
        (Blendshape::EyeBlinkRight, 0.9),
    ]);
    face.channels.push(Channel { name: "tail".into(), value: 0.25 });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));

    assert_eq!(weights(&app, head), [0.0, 0.5, 1.25]);
    assert_eq!(weights(&app, teeth), [0.5, 0.75, 0.75, 0.25]);
    let report = app.world().get::<BindReport>(root).expect("a report");
    assert_eq!(report.matched, ["eyeBlinkLeft", "jawOpen", "browInnerUp"]);
    assert_eq!((report.missing.len(), report.meshes), (49, 2));
    assert_eq!(report.unused, ["noise", "tail"]);
    assert!(report.summary().starts_with("ARKit, 3 of 52 matched, missing: eyeLookDownLeft, "), "{}", report.summary());
    let primitive = app.world().get::<Children>(head).expect("children")[0];
    assert!(app.world().get::<NoFrustumCulling>(primitive).is_some());
}

#[test]
fn weights_below_threshold_are_zero() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen", "cheekPuff"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    let face = frame(&[(Blendshape::JawOpen, 0.000_05), (Blendshape::CheekPuff, 0.5)]);
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    assert_eq!(weights(&app, node), [0.0, 0.5]);
}

#[test]
fn avatar_without_subject_takes_the_first() {
    let (mut app, faces) = fed_app();
    let nodes: Vec<_> = (0..3).map(|_| spawn_node(app.world_mut(), "Head", &["jawOpen"])).collect();
    let ann = avatar(&mut app, FaceAvatar::of("Ann"), &[nodes[0]]);
    avatar(&mut app, FaceAvatar::of("Bob"), &[nodes[1]]);
    let any = avatar(&mut app, FaceAvatar::default(), &[nodes[2]]);
    run(&mut app, SECOND, || {
        faces.send(1, "Ann", jaw(0.25));
        faces.send(2, "Bob", jaw(0.75));
    });
    let jaws: Vec<_> = nodes.iter().map(|node| weights(&app, *node)[0]).collect();
    assert_eq!(jaws, [0.25, 0.75, 0.25]);
    let subject = app.world().resource::<FaceSubjects>().get("Ann").expect("there");
    assert_eq!(app.world().get::<DrivenBy>(ann), Some(&DrivenBy(subject)));
    assert_eq!(app.world().get::<Drives>(subject).expect("drives").avatars(), [ann, any]);
}

#[test]
fn silent_face_holds_eases_and_returns_smoothly() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    let mut last = 0.0;
    let mut steady = |app: &App| {
        let now = weights(app, node)[0];
        assert!((now - last).abs() < 0.2, "from {last} to {now} in one frame");
        last = now;
        now
    };
    for _ in 0..60 {
        faces.send(1, "Ann", jaw(1.0));
        app.update();
        steady(&app);
    }
    assert_eq!(weights(&app, node), [1.0]);
    for _ in 0..14 {
        app.update();
        assert_eq!(steady(&app), 1.0, "held");
    }
    for _ in 0..60 {
        app.update();
        steady(&app);
    }
    assert_eq!(weights(&app, node), [0.0], "neutral about a second after the last frame");
    for _ in 0..15 {
        faces.send(1, "Ann", jaw(1.0));
        app.update();
        steady(&app);
    }
    assert_eq!(weights(&app, node), [1.0]);
}

#[test]
fn lost_face_eases_and_is_reported() {
    #[derive(Resource, Default)]
    struct Lost(u32);
    let (mut app, faces) = fed_app();
    app.init_resource::<Lost>();
    app.add_observer(|_: On<FaceUntracked>, mut lost: ResMut<Lost>| lost.0 += 1);
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(1.0)));
    run(&mut app, SECOND, || faces.send(1, "Ann", FaceFrame { tracked: false, ..jaw(1.0) }));
    assert_eq!(weights(&app, node), [0.0]);
    assert_eq!(app.world().resource::<Lost>().0, 1);
    let subject = app.world().resource::<FaceSubjects>().get("Ann").expect("still there");
    let pose = app.world().get::<FacePose>(subject).expect("a pose");
    assert!(!pose.tracked && pose.presence == 0.0);
}

#[test]
fn subject_that_leaves_eases_out_and_returns() {
    #[derive(Resource, Default)]
    struct Log(Vec<String>);
    let (mut app, faces) = fed_app();
    app.init_resource::<Log>();
    app.add_observer(|event: On<SubjectAppeared>, mut log: ResMut<Log>| log.0.push(format!("+{}", event.name)));
    app.add_observer(|event: On<SubjectLost>, mut log: ResMut<Log>| {
        log.0.push(format!("-{} {}", event.name, event.reason))
    });
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(1.0)));
    let first = app.world().resource::<FaceSubjects>().get("Ann").expect("there");

    faces.lose(1, "Ann");
    run(&mut app, Duration::from_millis(300), || {});
    let on_the_way = weights(&app, node)[0];
    assert!(on_the_way > 0.0 && on_the_way < 1.0, "{on_the_way}");
    assert!(app.world().get::<FaceSubject>(first).expect("there while it eases").leaving);
    run(&mut app, SECOND, || faces.send(2, "Ann", jaw(0.5)));
    assert_eq!(app.world().resource::<FaceSubjects>().get("Ann"), Some(first), "the same subject came back");
    assert_eq!(weights(&app, node), [0.5]);

    faces.lose(2, "Ann");
    run(&mut app, SECOND * 2, || {});
    assert_eq!(weights(&app, node), [0.0]);
    assert!(app.world().resource::<FaceSubjects>().is_empty());
    assert!(app.world().get_entity(first).is_err(), "gone once it was eased");
    assert_eq!(app.world().resource::<Log>().0, ["+Ann", "-Ann disconnected", "+Ann", "-Ann disconnected"]);
}

#[test]
fn avatar_with_changed_subject_blends() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    let root = avatar(&mut app, FaceAvatar::of("Ann"), &[node]);
    let both = || {
        faces.send(1, "Ann", jaw(0.0));
        faces.send(2, "Bob", jaw(1.0));
    };
    run(&mut app, SECOND, both);
    app.world_mut().get_mut::<FaceAvatar>(root).expect("an avatar").subject = Some("Bob".to_owned());
    let mut last = 0.0;
    for _ in 0..30 {
        both();
        app.update();
        let now = weights(&app, node)[0];
        assert!(now >= last && now - last < 0.2, "from {last} to {now}");
        last = now;
    }
    assert_eq!(last, 1.0);
}

#[test]
fn full_inbox_keeps_the_newest() {
    let (mut app, _) = fed_app();
    let (inbox, faces) = FaceInbox::bounded(4);
    app.insert_resource(inbox);
    for i in 0..=100_u8 {
        faces.send(1, "Ann", jaw(f32::from(i) / 100.0));
    }
    run(&mut app, SECOND / 5, || {});
    let subject = app.world().resource::<FaceSubjects>().first().expect("there");
    assert!(near(app.world().get::<FacePose>(subject).expect("a pose").weight(Blendshape::JawOpen), 1.0));
}

#[test]
fn weights_follow_animation_without_a_face() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen", "wag"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    app.add_systems(
        PostUpdate,
        (move |mut morphs: Query<&mut MorphWeights>| {
            if let Ok(mut morph) = morphs.get_mut(node) {
                morph.weights_mut().fill(0.9);
            }
        })
        .in_set(AnimationSystems),
    );
    run(&mut app, SECOND, || {});
    assert_eq!(weights(&app, node), [0.9, 0.9], "no face: the animation has the mesh");
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.25)));
    assert_eq!(weights(&app, node), [0.25, 0.9], "a face: its shapes win, the rest stays the animation's");
}

#[test]
fn bones_with_any_local_axes_turn_in_model_space() {
    let (mut app, faces) = fed_app();
    let odd = Quat::from_rotation_z(1.3) * Quat::from_rotation_x(-0.4);
    let world = app.world_mut();
    let eye = world.spawn((Name::new("eye_L"), Transform::from_rotation(odd.inverse()))).id();
    let head = world.spawn((Name::new("mixamorig:Head"), Transform::from_rotation(Quat::from_rotation_y(0.7)))).id();
    let neck = world.spawn((Name::new("Neck"), Transform::from_rotation(odd))).id();
    world.entity_mut(neck).add_child(head);
    world.entity_mut(head).add_child(eye);
    let node = spawn_node(world, "Face", &["jawOpen"]);
    let root = avatar(&mut app, FaceAvatar::default(), &[neck, node]);
    // The avatar stands turned in the world: the face turns with it.
    let stance = Quat::from_rotation_y(2.0);
    app.world_mut().get_mut::<Transform>(root).expect("a transform").rotation = stance;
    app.update();
    let rest: Vec<Quat> = [head, eye].map(|bone| app.world().get::<GlobalTransform>(bone).unwrap().rotation()).into();

    let turn = Quat::from_rotation_y(0.4) * Quat::from_rotation_x(0.2);
    let mut face = frame(&[(Blendshape::EyeLookOutLeft, 0.5), (Blendshape::EyeLookUpLeft, 0.25)]);
    face.head = Some(HeadPose { rotation: turn.to_array(), position: None });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));

    let now: Vec<Quat> = [head, eye].map(|bone| app.world().get::<GlobalTransform>(bone).unwrap().rotation()).into();
    let in_model = |rest: Quat, now: Quat| stance.inverse() * now * rest.inverse() * stance;
    assert!(in_model(rest[0], now[0]).angle_between(turn) < 1e-3, "neck and head together make the whole turn");
    let neck_turn = app.world().get::<Transform>(neck).unwrap().rotation * odd.inverse();
    assert!((neck_turn.angle_between(Quat::IDENTITY) - 0.35 * turn.angle_between(Quat::IDENTITY)).abs() < 1e-3);
    let gaze = turn.inverse() * in_model(rest[1], now[1]) * Vec3::Z;
    assert!(gaze.x > 0.25 && gaze.y > 0.1, "the left eye looks out and up: {gaze}");
    let report = app.world().get::<BindReport>(root).expect("a report");
    assert_eq!(report.bones, ["mixamorig:Head", "Neck", "eye_L"]);
}

#[test]
fn avatar_with_corrupt_mesh_drives_the_others() {
    let (mut app, faces) = fed_app();
    let good = spawn_node(app.world_mut(), "Good", &["jawOpen"]);
    let short = morphed_mesh(&["jawOpen", "cheekPuff"]).with_morph_targets(vec![MorphAttributes::default(); 5]);
    let short = spawn_node_with(app.world_mut(), "Short", 2, short);
    let long = morphed_mesh(&["jawOpen"]);
    let long = spawn_node_with(app.world_mut(), "Long", 3, long);
    let root = avatar(&mut app, FaceAvatar::default(), &[good, short, long]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    assert_eq!(weights(&app, good), [0.5]);
    assert_eq!((weights(&app, short), weights(&app, long)), (vec![0.0; 2], vec![0.0; 3]));
    let report = app.world().get::<BindReport>(root).expect("a report");
    assert_eq!(report.refused.len(), 2, "{:?}", report.refused);
    assert!(report.refused.iter().any(|reason| reason.starts_with("mesh \"Short\": 5 deltas are not 2 targets of 3")));
}

#[test]
fn avatar_with_replaced_scene_is_bound_again() {
    #[derive(Resource, Default)]
    struct Bound(Vec<usize>);
    let (mut app, faces) = fed_app();
    app.init_resource::<Bound>();
    app.add_observer(|event: On<AvatarBound>, mut bound: ResMut<Bound>| bound.0.push(event.report.matched.len()));
    let old = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    let root = avatar(&mut app, FaceAvatar::default(), &[old]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    app.world_mut().entity_mut(old).despawn();
    let new = spawn_node(app.world_mut(), "Head", &["cheekPuff", "jawOpen"]);
    app.world_mut().entity_mut(root).add_child(new);
    // As the scene spawner does once the reloaded scene stands.
    app.world_mut().trigger(WorldInstanceReady {
        entity: root,
        instance_id: WorldInstanceSpawner::default().spawn(Handle::default()),
    });
    run(&mut app, FRAME * 3, || faces.send(1, "Ann", jaw(0.5)));
    assert_eq!(weights(&app, new), [0.0, 0.5]);
    assert_eq!(app.world().resource::<Bound>().0, [1, 2]);
}

#[test]
fn subject_that_ends_with_its_frames_is_removed() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    // As after an engine hitch that was longer than the whole visit.
    faces.send(1, "Ann", jaw(1.0));
    faces.lose(1, "Ann");
    run(&mut app, SECOND * 3, || {});
    assert!(app.world().resource::<FaceSubjects>().is_empty(), "a new subject");

    run(&mut app, SECOND, || faces.send(2, "Ann", jaw(1.0)));
    faces.send(2, "Ann", jaw(1.0));
    faces.lose(2, "Ann");
    app.update();
    // What the network pushed while the events were being read.
    faces.send(2, "Ann", jaw(1.0));
    run(&mut app, SECOND * 3, || {});
    assert!(app.world().resource::<FaceSubjects>().is_empty(), "a known subject");
    assert_eq!(weights(&app, node), [0.0]);
}

#[test]
fn connection_within_one_frame_leaves_no_source() {
    let (mut app, faces) = fed_app();
    faces.connect("stays", SourceKind::WebSocket);
    faces.connect("probe", SourceKind::WebSocket);
    faces.disconnect("probe");
    app.update();
    app.update();
    let mut sources = app.world_mut().query::<&FaceSource>();
    let ids: Vec<_> = sources.iter(app.world()).map(|source| source.connection_id.clone()).collect();
    assert_eq!(ids, ["stays"]);
    faces.disconnect("stays");
    app.update();
    app.update();
    assert_eq!(app.world_mut().query::<&FaceSource>().iter(app.world()).count(), 0);
}

#[test]
fn lost_face_returns_smoothly_with_another_pose() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(1.0)));
    let mut last = 1.0;
    let mut steady = |app: &App| {
        let now = weights(app, node)[0];
        assert!((now - last).abs() < 0.2, "from {last} to {now} in one frame");
        last = now;
    };
    // Many trackers send zeros once they have lost the face.
    for _ in 0..12 {
        faces.send(1, "Ann", FaceFrame { tracked: false, ..jaw(0.0) });
        app.update();
        steady(&app);
    }
    assert!(weights(&app, node)[0] > 0.3, "still easing to neutral");
    for _ in 0..20 {
        faces.send(1, "Ann", jaw(0.1));
        app.update();
        steady(&app);
    }
    assert!(near(weights(&app, node)[0], 0.1));
    // Silent for longer than it is held, and back with a shut mouth.
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(1.0)));
    last = 1.0;
    let mut steady = |app: &App| {
        let now = weights(app, node)[0];
        assert!((now - last).abs() < 0.2, "from {last} to {now} in one frame");
        last = now;
    };
    for _ in 0..25 {
        app.update();
        steady(&app);
    }
    for _ in 0..20 {
        faces.send(1, "Ann", jaw(0.0));
        app.update();
        steady(&app);
    }
    assert_eq!(weights(&app, node), [0.0]);
}

#[test]
fn channel_without_sender_returns_to_zero() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen", "tail"]);
    let root = avatar(&mut app, FaceAvatar::of("Ann"), &[node]);
    let with_tail = || {
        let mut face = jaw(0.5);
        face.channels.push(Channel { name: "tail".into(), value: 0.8 });
        face
    };
    let both = || {
        faces.send(1, "Ann", with_tail());
        faces.send(2, "Bob", jaw(0.5));
    };
    run(&mut app, SECOND, both);
    assert_eq!(weights(&app, node), [0.5, 0.8]);
    // Bob has no tail.
    app.world_mut().get_mut::<FaceAvatar>(root).expect("an avatar").subject = Some("Bob".to_owned());
    let mut last = 0.8;
    for _ in 0..30 {
        both();
        app.update();
        let now = weights(&app, node)[1];
        assert!(last - now < 0.2, "from {last} to {now} in one frame");
        last = now;
    }
    assert_eq!(weights(&app, node), [0.5, 0.0]);
}

#[test]
fn head_bound_again_while_turned_keeps_its_rest() {
    let (mut app, faces) = fed_app();
    let rest = Quat::from_rotation_x(0.3);
    let head = app.world_mut().spawn((Name::new("Head"), Transform::from_rotation(rest))).id();
    let neck = app.world_mut().spawn((Name::new("Neck"), Transform::default())).id();
    app.world_mut().entity_mut(neck).add_child(head);
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let root = avatar(&mut app, FaceAvatar::default(), &[neck, node]);
    let turn = Quat::from_rotation_y(0.6) * Quat::from_rotation_x(0.2);
    let mut face = jaw(0.5);
    face.head = Some(HeadPose { rotation: turn.to_array(), position: None });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    let global = |app: &App| app.world().get::<GlobalTransform>(head).expect("a bone").rotation();
    assert!(global(&app).angle_between(turn * rest) < 1e-3);
    for _ in 0..5 {
        // A second scene below the same avatar, hair for instance, gets ready.
        app.world_mut().trigger(WorldInstanceReady {
            entity: root,
            instance_id: WorldInstanceSpawner::default().spawn(Handle::default()),
        });
        run(&mut app, FRAME * 2, || faces.send(1, "Ann", face.clone()));
    }
    assert!(global(&app).angle_between(turn * rest) < 1e-3, "the rest pose is the one of before");
}

#[test]
fn animated_head_keeps_its_animation() {
    let (mut app, faces) = fed_app();
    let head = app.world_mut().spawn((Name::new("Head"), Transform::default())).id();
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let root = avatar(&mut app, FaceAvatar::default(), &[head, node]);
    let nod = Quat::from_rotation_x(0.25);
    app.add_systems(
        PostUpdate,
        (move |mut bones: Query<&mut Transform>, mut frames: Local<u32>| {
            // It begins after the avatar was bound, at its rest pose.
            *frames += 1;
            if let Ok(mut bone) = bones.get_mut(head)
                && *frames > 3
            {
                bone.rotation = nod;
            }
        })
        .in_set(AnimationSystems),
    );
    let turn = Quat::from_rotation_y(0.5);
    let mut face = jaw(0.5);
    face.head = Some(HeadPose { rotation: turn.to_array(), position: None });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    let local = |app: &App| app.world().get::<Transform>(head).expect("a bone").rotation;
    assert!(local(&app).angle_between(turn * nod) < 1e-3, "{}", local(&app));
    app.world_mut().get_mut::<FaceAvatar>(root).expect("an avatar").drive_head = false;
    run(&mut app, FRAME * 2, || faces.send(1, "Ann", face.clone()));
    assert!(local(&app).angle_between(nod) < 1e-3, "switched off, the animation has it alone");
}

#[test]
fn bone_turned_by_game_code_is_not_amplified() {
    let (mut app, faces) = fed_app();
    let head = app.world_mut().spawn((Name::new("Head"), Transform::default())).id();
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let root = avatar(&mut app, FaceAvatar::default(), &[head, node]);
    app.add_systems(Update, move |mut bones: Query<&mut Transform>| {
        if let Ok(mut bone) = bones.get_mut(head) {
            bone.rotate_local_z(0.001);
        }
    });
    let mut face = jaw(0.5);
    face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.5).to_array(), position: None });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    let own = Quat::from_rotation_z(0.001 * 60.0);
    let local = app.world().get::<Transform>(head).expect("a bone").rotation;
    assert!(local.angle_between(Quat::from_rotation_y(0.5) * own) < 0.01, "{local}");
    app.world_mut().entity_mut(root).remove::<FaceAvatar>();
    run(&mut app, FRAME * 2, || {});
    let local = app.world().get::<Transform>(head).expect("a bone").rotation;
    assert!(local.angle_between(own) < 0.01, "without an avatar the bone is back where the game has it: {local}");
}

#[test]
fn head_shared_by_two_avatars_turns_once() {
    let (mut app, faces) = fed_app();
    let head = app.world_mut().spawn((Name::new("Head"), Transform::default())).id();
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let inner = avatar(&mut app, FaceAvatar::default(), &[head, node]);
    avatar(&mut app, FaceAvatar::default(), &[inner]);
    let turn = Quat::from_rotation_y(0.5);
    let mut face = jaw(0.5);
    face.head = Some(HeadPose { rotation: turn.to_array(), position: None });
    run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
    let local = app.world().get::<Transform>(head).expect("a bone").rotation;
    assert!(local.angle_between(turn) < 1e-3, "{local}");
}

#[test]
fn subject_despawned_by_the_game_appears_again() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    avatar(&mut app, FaceAvatar::default(), &[node]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    let first = app.world().resource::<FaceSubjects>().get("Ann").expect("there");
    app.world_mut().entity_mut(first).despawn();
    assert!(app.world().resource::<FaceSubjects>().is_empty());
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    assert_ne!(app.world().resource::<FaceSubjects>().get("Ann"), Some(first));
    assert_eq!(weights(&app, node), [0.5]);
}

#[test]
fn mesh_on_gpu_only_is_bound_by_its_extras() {
    let (mut app, faces) = fed_app();
    let names = r#"{"targetNames": ["cheekPuff", "jawOpen"]}"#;
    let world = app.world_mut();
    let [mesh_level, primitive_level, nameless] =
        ["Mesh", "Primitive", "Nameless"].map(|name| spawn_node(world, name, &["gone", "too"]));
    for node in [mesh_level, primitive_level, nameless] {
        let primitive = world.get::<Children>(node).expect("children")[0];
        let handle = world.get::<Mesh3d>(primitive).expect("a mesh").0.clone();
        // As the renderer does with a mesh whose data no asset usage keeps on the CPU.
        let mut meshes = world.resource_mut::<Assets<Mesh>>();
        meshes.get_mut(&handle).expect("there").take_gpu_data().expect("not yet taken");
        if node == mesh_level {
            world.entity_mut(primitive).insert(GltfMeshExtras { value: names.to_owned() });
        } else if node == primitive_level {
            world.entity_mut(primitive).insert(GltfExtras { value: names.to_owned() });
        }
    }
    let root = avatar(&mut app, FaceAvatar::default(), &[mesh_level, primitive_level, nameless]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    assert_eq!(weights(&app, mesh_level), [0.0, 0.5]);
    assert_eq!(weights(&app, primitive_level), [0.0, 0.5]);
    let report = app.world().get::<BindReport>(root).expect("a report");
    assert_eq!(report.meshes, 2);
    assert!(report.refused.iter().all(|reason| reason.contains("Nameless")), "{:?}", report.refused);
}

#[test]
fn avatar_with_loading_meshes_waits() {
    let (mut app, faces) = fed_app();
    let handle = app.world().resource::<Assets<Mesh>>().reserve_handle();
    let morph = MorphWeights::new(vec![0.0], Some(handle.clone())).expect("few enough");
    let node = app.world_mut().spawn((Name::new("Head"), Transform::default(), morph)).id();
    let primitive = app.world_mut().spawn((Mesh3d(handle.clone()), MeshMorphWeights::Reference(node))).id();
    app.world_mut().entity_mut(node).add_child(primitive);
    let root = avatar(&mut app, FaceAvatar::default(), &[node]);
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    assert!(app.world().get::<BindReport>(root).is_none());
    app.world_mut().resource_mut::<Assets<Mesh>>().insert(handle.id(), morphed_mesh(&["jawOpen"])).expect("reserved");
    run(&mut app, SECOND, || faces.send(1, "Ann", jaw(0.5)));
    assert_eq!(weights(&app, node), [0.5]);
}
