//! Mappings: dialects found by themselves, files of one's own, hot reload, bones, and performers that are kept.

use std::{
    fs,
    time::{Duration, Instant},
};

use bevy::{
    animation::{AnimatedBy, AnimationTargetId, animated_field, gltf_curves::WideLinearKeyframeCurve, prelude::*},
    prelude::*,
};
use bevy_facelink::{
    AvatarMapping, BeginRangeOfMotion, BindReport, CaptureNeutral, EndRangeOfMotion, FaceAvatar, FaceInbox,
    FaceInjector, FaceLinkEndpoint, FaceLinkPlugin, FaceMapping, FacePresets, FaceSubjects, SaveCalibration,
    ShapePreview,
    facelink::{
        Blendshape, HeadPose,
        mapping::{Format, Mapping, Tuning},
    },
};
use facelink_net::{EndpointConfig, PhonePorts};

use crate::support::{Sender, app_with, fed_app, fed_app_with, frame, near, run, spawn_node, update_until, weights};

const SECOND: Duration = Duration::from_secs(1);

fn avatar(app: &mut App, node: Entity) -> Entity {
    let root = app.world_mut().spawn((Transform::default(), Name::new("avatar"))).id();
    app.world_mut().entity_mut(root).add_child(node).insert(FaceAvatar::default());
    root
}

fn report(app: &App, avatar: Entity) -> BindReport {
    app.world().get::<BindReport>(avatar).expect("a report").clone()
}

fn feed(app: &mut App) -> FaceInjector {
    let (inbox, faces) = FaceInbox::bounded(64);
    app.insert_resource(inbox);
    faces
}

#[test]
fn rig_of_another_dialect_is_detected_and_driven() {
    let (mut app, faces) = fed_app();
    let names =
        ["Fcl_ALL_Joy", "Fcl_EYE_Close_L", "Fcl_EYE_Close_R", "Fcl_MTH_A", "Fcl_MTH_U", "Fcl_BRW_Surprised", "Ears"];
    let node = spawn_node(app.world_mut(), "Face", &names);
    let avatar = avatar(&mut app, node);
    run(&mut app, SECOND, || {
        faces.send(1, "Ann", frame(&[(Blendshape::EyeBlinkLeft, 1.0), (Blendshape::JawOpen, 0.9)]))
    });
    let report = report(&app, avatar);
    assert_eq!(report.preset, "vroid", "{report:?}");
    assert!(report.summary().starts_with("VRoid"), "{}", report.summary());
    assert_eq!(report.unused, ["Ears"]);
    assert!(report.aside.contains(&"Fcl_ALL_Joy".to_owned()), "{report:?}");
    let shown = weights(&app, node);
    assert!(shown[1] > 0.9 && shown[2] < 0.05, "the left eye alone is shut: {shown:?}");
    assert!(shown[3] > 0.5 && shown[0] == 0.0 && shown[6] == 0.0, "{shown:?}");
}

#[test]
fn dialect_added_by_the_game_is_detected() {
    let (mut app, faces) = fed_app();
    let text = r#"(name: "Robots", about: "ours", rules: [(from: "eyeBlink{Left}", to: "shutter_{L}"), (from: "jawOpen", to: "visor")])"#;
    app.world_mut().resource_mut::<FacePresets>().add("robots", text.parse().unwrap()).unwrap();
    let node = spawn_node(app.world_mut(), "Face", &["shutter_L", "shutter_R", "visor"]);
    let avatar = avatar(&mut app, node);
    run(&mut app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::EyeBlinkRight, 0.5)])));
    assert_eq!(report(&app, avatar).dialect, "Robots");
    assert_eq!(weights(&app, node), [0.0, 0.5, 0.0]);
}

#[test]
fn changed_mapping_applies_in_the_next_frame() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen", "mouthClose", "gills"]);
    let root = avatar(&mut app, node);
    let mut mapping = Mapping::including(["auto"]);
    mapping
        .rules
        .push(r#"(rules: [(from: "jawOpen", gain: 0.5, to: "gills")])"#.parse::<Mapping>().unwrap().rules.remove(0));
    let handle = app.world_mut().resource_mut::<Assets<FaceMapping>>().add(FaceMapping::from(mapping));
    app.world_mut().entity_mut(root).insert(AvatarMapping(handle.clone()));
    run(&mut app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)])));
    assert_eq!(weights(&app, node), [0.8, 0.0, 0.4]);

    let mut mappings = app.world_mut().resource_mut::<Assets<FaceMapping>>();
    let mut mapping = mappings.get_mut(&handle).expect("it is there");
    mapping.mapping.channels.insert("jawOpen".to_owned(), Tuning::gain(0.5));
    mapping.mapping.rules.clear();
    drop(mapping);
    faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)]));
    app.update();
    assert_eq!(weights(&app, node), [0.4, 0.0, 0.0], "the target that is written no more is back at 0");

    app.world_mut().entity_mut(root).remove::<AvatarMapping>();
    run(&mut app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)])));
    assert_eq!(weights(&app, node), [0.8, 0.0, 0.0]);

    app.world_mut().entity_mut(root).insert(ShapePreview { shape: Blendshape::MouthClose.index(), weight: 1.0 });
    run(&mut app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)])));
    assert_eq!(weights(&app, node), [0.0, 1.0, 0.0]);
}

#[test]
fn mapping_file_reloads_with_its_includes() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("base.face.json", r#"{"name": "base", "rules": [{"from": "jawOpen", "to": "mouth_hole"}]}"#);
    write("mine.face.ron", r#"(name: "mine", include: ["base.face.json"], rules: [(from: "cheekPuff", to: "bag")])"#);
    let mut app = app_with(folder.path(), FaceLinkPlugin::without_sockets());
    let faces = feed(&mut app);
    let node = spawn_node(app.world_mut(), "Face", &["mouth_hole", "bag"]);
    let root = avatar(&mut app, node);
    let handle = app.world().resource::<AssetServer>().load("mine.face.ron");
    app.world_mut().entity_mut(root).insert(AvatarMapping(handle));
    let face = || frame(&[(Blendshape::JawOpen, 0.8), (Blendshape::CheekPuff, 0.5)]);
    let shows = |app: &mut App, what: &str, wanted: [f32; 2]| {
        update_until(app, what, |app| {
            faces.send(1, "Ann", face());
            app.world().get::<BindReport>(root).is_some()
                && weights(app, node).iter().zip(wanted).all(|(shown, wanted)| near(*shown, wanted))
        });
    };
    shows(&mut app, "mapping from the file", [0.8, 0.5]);
    assert_eq!(report(&app, root).dialect, "mine");

    write(
        "mine.face.ron",
        r#"(name: "mine", include: ["base.face.json"], rules: [(from: "cheekPuff", gain: 0.2, to: "bag")])"#,
    );
    let saved = Instant::now();
    shows(&mut app, "changed mapping", [0.8, 0.1]);
    println!("from the saved mapping to the changed face: {:.0} ms", saved.elapsed().as_secs_f64() * 1e3);
    write("base.face.json", r#"{"name": "base", "rules": [{"from": "jawOpen", "gain": 0.5, "to": "mouth_hole"}]}"#);
    shows(&mut app, "changed include", [0.4, 0.1]);

    // An invalid edit keeps the last valid mapping; the loader reports the error.
    write("mine.face.ron", "(name: \"mine\",\n rules: [(from: \"cheekPuff\", gain: lots, to: \"bag\")])");
    for _ in 0..50 {
        faces.send(1, "Ann", face());
        app.update();
        std::thread::sleep(Duration::from_millis(4));
    }
    assert!(near(weights(&app, node)[1], 0.1));
    write("mine.face.ron", r#"(name: "mine", include: ["base.face.json"], rules: [(from: "cheekPuff", to: "bag")])"#);
    shows(&mut app, "mended mapping", [0.4, 0.5]);
}

#[test]
fn broken_mapping_file_is_used_once_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.face.ron");
    fs::write(&file, "(name: \"mine\",\n rules: [(from: \"jawOpen\", gain: lots, to: \"jawOpen\")])").unwrap();
    let mut app = app_with(folder.path(), FaceLinkPlugin::without_sockets());
    let faces = feed(&mut app);
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let root = avatar(&mut app, node);
    let handle = app.world().resource::<AssetServer>().load("mine.face.ron");
    app.world_mut().entity_mut(root).insert(AvatarMapping(handle));
    update_until(&mut app, "the dialect in its place", |app| {
        faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)]));
        app.world().get::<BindReport>(root).is_some() && near(weights(app, node)[0], 0.8)
    });
    let problem = report(&app, root).problem.unwrap_or_default();
    assert!(problem.contains("mine.face.ron: line 2") && problem.contains("rules[0].gain"), "{problem}");
    fs::write(&file, "(name: \"mine\",\n rules: [(from: \"jawOpen\", gain: 0.5, to: \"jawOpen\")])").unwrap();
    update_until(&mut app, "the mended mapping", |app| {
        faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)]));
        near(weights(app, node)[0], 0.4)
    });
    assert_eq!(report(&app, root).problem, None);
}

#[test]
fn unusable_mapping_is_reported_and_dialect_used() {
    let (mut app, faces) = fed_app();
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen"]);
    let root = avatar(&mut app, node);
    let mapping = FaceMapping::from(Mapping::including(["klingon"]));
    let handle = app.world_mut().resource_mut::<Assets<FaceMapping>>().add(mapping);
    app.world_mut().entity_mut(root).insert(AvatarMapping(handle));
    run(&mut app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.8)])));
    let report = report(&app, root);
    let problem = report.problem.as_deref().unwrap_or_default();
    assert!(problem.contains("klingon") && problem.contains("arkit"), "{problem}");
    assert_eq!((report.preset.as_str(), weights(&app, node)), ("arkit", vec![0.8]));
}

#[test]
fn mapping_sets_jaw_mirror_and_facing_of_bones() {
    for (text, wanted_head, wanted_jaw) in [
        ("(include: [\"auto\"], bones: (jaw: (open: 20, forward: 0.0)))", 0.3, 20.0_f32.to_radians()),
        ("(include: [\"auto\"], mirror: true, bones: (jaw: (open: 20)))", -0.3, 20.0_f32.to_radians()),
        (
            "(include: [\"auto\"], bones: (facing: MinusZ, head: (yaw: 0.5), jaw: (open: 10)))",
            0.15,
            -10.0_f32.to_radians(),
        ),
        ("(include: [\"auto\"], bones: (head: (limits: (10, 10, 10)), jaw: (open: 0)))", 10.0_f32.to_radians(), 0.0),
    ] {
        let (mut app, faces) = fed_app();
        let node = spawn_node(app.world_mut(), "Face", &["jawOpen", "mouthClose"]);
        let root = avatar(&mut app, node);
        let head = app.world_mut().spawn((Name::new("Head"), Transform::default())).id();
        let jaw = app.world_mut().spawn((Name::new("Jaw"), Transform::from_xyz(0.0, -0.1, 0.0))).id();
        app.world_mut().entity_mut(root).add_children(&[head, jaw]);
        let handle = app
            .world_mut()
            .resource_mut::<Assets<FaceMapping>>()
            .add(FaceMapping::from(text.parse::<Mapping>().unwrap()));
        app.world_mut().entity_mut(root).insert(AvatarMapping(handle));
        let mut face = frame(&[(Blendshape::JawOpen, 1.0)]);
        face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.3).to_array(), position: None });
        run(&mut app, SECOND, || faces.send(1, "Ann", face.clone()));
        let turn = |bone| app.world().get::<Transform>(bone).expect("a bone").rotation.to_euler(EulerRot::YXZ);
        assert!(near(turn(head).0, wanted_head), "{text}: {:?}", turn(head));
        assert!(near(turn(jaw).1, wanted_jaw), "{text}: {:?}", turn(jaw));
        assert_eq!(report(&app, root).bones, ["Head", "Jaw"]);
    }
}

/// An animation of the body turns a hand and, as exporters have it, all morph weights of the face.
fn animated(masked: bool) -> (Vec<f32>, f32) {
    let (mut app, faces) = fed_app_with(|app| {
        app.add_plugins(AnimationPlugin);
    });
    let node = spawn_node(app.world_mut(), "Face", &["jawOpen", "hat"]);
    let root = avatar(&mut app, node);
    let hand = app.world_mut().spawn((Name::new("Hand"), Transform::default())).id();
    app.world_mut().entity_mut(root).add_child(hand);
    let id = |name: &'static str| AnimationTargetId::from_name(&Name::new(name));
    let mut clip = AnimationClip::default();
    let turn = AnimatableKeyframeCurve::new([(0.0, Quat::IDENTITY), (1000.0, Quat::from_rotation_z(3.0))]).unwrap();
    clip.add_curve_to_target(id("Hand"), AnimatableCurve::new(animated_field!(Transform::rotation), turn));
    let morphs = WideLinearKeyframeCurve::new([0.0, 1000.0], vec![1.0_f32, 1.0, 1.0, 1.0]).unwrap();
    clip.add_curve_to_target(id("Face"), WeightsCurve(morphs));
    let clip = app.world_mut().resource_mut::<Assets<AnimationClip>>().add(clip);
    let mut graph = AnimationGraph::new();
    let playing = if masked {
        graph.add_target_to_mask_group(id("Face"), 0);
        graph.add_clip_with_mask(clip, 1, 1.0, graph.root)
    } else {
        graph.add_clip(clip, 1.0, graph.root)
    };
    let graph = app.world_mut().resource_mut::<Assets<AnimationGraph>>().add(graph);
    let mut player = AnimationPlayer::default();
    player.play(playing).repeat();
    app.world_mut().entity_mut(root).insert((player, AnimationGraphHandle(graph)));
    app.world_mut().entity_mut(hand).insert((id("Hand"), AnimatedBy(root)));
    app.world_mut().entity_mut(node).insert((id("Face"), AnimatedBy(root)));
    run(&mut app, SECOND, || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.3)])));
    let turned = app.world().get::<Transform>(hand).expect("a hand").rotation.angle_between(Quat::IDENTITY);
    (weights(&app, node), turned)
}

#[test]
fn body_animation_plays_while_face_is_live() {
    // The face comes after the animation, so its shapes are its own; what is no shape is the animation's.
    let (shown, turned) = animated(false);
    assert_eq!(shown, [0.3, 1.0]);
    assert!(turned > 0.0, "the hand moves");
    // With the face in a mask group the animation leaves it alone altogether.
    let (shown, turned) = animated(true);
    assert_eq!(shown, [0.3, 0.0]);
    assert!(turned > 0.0, "the hand moves");
}

#[test]
fn performer_range_is_calibrated_saved_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let config = || EndpointConfig { port: 0, phones: PhonePorts::default(), ..EndpointConfig::default() };
    let smile = |weight: f32| {
        format!(
            r#"{{"type":"arkit_data","subject":"Ann B","blendshapes":{{"mouthSmileLeft":{weight},"mouthSmileRight":{weight},"jawOpen":0.1}}}}"#
        )
    };
    let full = 0.6;
    {
        let mut app = app_with(folder.path(), FaceLinkPlugin::with_endpoint(config()));
        let node = spawn_node(app.world_mut(), "Face", &["mouthSmileLeft", "mouthSmileRight", "jawOpen"]);
        avatar(&mut app, node);
        let sender = Sender::connect(&app);
        sender.send(&smile(0.0));
        update_until(&mut app, "subject", |app| app.world().resource::<FaceSubjects>().get("Ann B").is_some());
        let entity = app.world().resource::<FaceSubjects>().get("Ann B").expect("the subject");
        app.world_mut().trigger(CaptureNeutral { entity });
        app.world_mut().trigger(BeginRangeOfMotion { entity });
        let endpoint_saw = |app: &App| {
            let range = app.world().resource::<FaceLinkEndpoint>().range_of_motion("Ann B").expect("it has begun");
            range.reached().count()
        };
        update_until(&mut app, "range of motion", |app| {
            sender.send(&smile(full));
            endpoint_saw(app) == 2
        });
        app.world_mut().trigger(EndRangeOfMotion { entity, keep: true });
        update_until(&mut app, "full smile", |app| {
            sender.send(&smile(full));
            near(weights(app, node)[0], 1.0)
        });
        assert!(weights(&app, node)[2] < 0.01, "the jaw's rest is its rest");
        app.world_mut().trigger(SaveCalibration { entity });
        app.update();
    }
    assert!(folder.path().join("performers/Ann%20B.performer.ron").is_file());
    let mut app = app_with(folder.path(), FaceLinkPlugin::with_endpoint(config()));
    let node = spawn_node(app.world_mut(), "Face", &["mouthSmileLeft", "mouthSmileRight"]);
    avatar(&mut app, node);
    let sender = Sender::connect(&app);
    update_until(&mut app, "full smile of a performer that returned", |app| {
        sender.send(&smile(full));
        near(weights(app, node)[0], 1.0)
    });
}

#[test]
fn presets_round_trip_as_files() {
    let presets = FacePresets::default();
    for id in presets.ids() {
        let mapping = presets.mapping(id).expect("a preset");
        assert_eq!(&Mapping::read(&mapping.write(Format::Ron), Format::Ron).unwrap(), mapping, "{id}");
        assert_eq!(&Mapping::read(&mapping.write(Format::Json), Format::Json).unwrap(), mapping, "{id}");
    }
}
