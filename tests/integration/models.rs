//! Model files: VRM avatars by themselves, files that a strict loader refuses, scenes, scales and directions.

use std::path::Path;

use bevy::{mesh::morph::MorphWeights, prelude::*, world_serialization::WorldAssetRoot};
use bevy_facelink::{
    BindReport, FaceAvatar, FaceInjector, FaceModel, HeadFrame,
    facelink::{Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    gltf::{app, app_with_plugins},
    support::{frame, near, read_glb, update_until, write_glb, write_model_with},
};

struct Stage {
    app: App,
    faces: FaceInjector,
    avatar: Entity,
    _folder: TempDir,
}

impl Stage {
    /// Shows a file that is written into an asset folder of its own.
    fn new(file: &str, write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(file));
        let (mut app, faces) = app(folder.path());
        let model = app.world().resource::<AssetServer>().load(file.to_owned());
        let avatar = app.world_mut().spawn((FaceModel(model), FaceAvatar::default())).id();
        update_until(&mut app, "bound avatar", |app| app.world().get::<BindReport>(avatar).is_some());
        Self { app, faces, avatar, _folder: folder }
    }

    fn report(&self) -> BindReport {
        self.app.world().get::<BindReport>(self.avatar).unwrap().clone()
    }

    fn weights(&mut self) -> Vec<f32> {
        self.app.world_mut().query::<&MorphWeights>().single(self.app.world()).expect("one face").weights().to_vec()
    }

    /// Shows a face until `done`.
    fn show(&mut self, face: &FaceFrame, what: &str, mut done: impl FnMut(&mut App) -> bool) {
        let faces = self.faces.clone();
        update_until(&mut self.app, what, |app| {
            faces.send(1, "Ann", face.clone());
            done(app)
        });
    }

    fn place(&mut self, name: &str) -> GlobalTransform {
        place(&mut self.app, name)
    }
}

fn place(app: &mut App, name: &str) -> GlobalTransform {
    let mut query = app.world_mut().query::<(&Name, &GlobalTransform)>();
    let found = query.iter(app.world()).find(|(other, _)| other.as_str() == name);
    *found.unwrap_or_else(|| panic!("no {name}")).1
}

/// The declarations of a VRM 0.x file for the model of [`write_model_with`], without eye bones.
fn vrm0() -> Value {
    let bind = |index: usize| json!([{"mesh": 0, "index": index, "weight": 100}]);
    json!({"VRM": {
        "humanoid": {"humanBones": [{"bone": "hips", "node": 0}, {"bone": "head", "node": 2}]},
        "firstPerson": {"lookAtTypeName": "Bone", "lookAtHorizontalOuter": {"xRange": 90, "yRange": 12}},
        "blendShapeMaster": {"blendShapeGroups": [
            {"name": "MTH_A", "presetName": "a", "binds": bind(0)},
            {"name": "Blink_L", "presetName": "blink_l", "binds": bind(1)},
            {"name": "Blink_R", "presetName": "blink_r", "binds": bind(2)},
            {"name": "LookLeft", "presetName": "lookleft", "binds": []},
        ]},
    }})
}

fn turned_head(turn: Quat) -> FaceFrame {
    let mut face = frame(&[(Blendshape::EyeBlinkLeft, 0.8)]);
    face.head = Some(HeadPose { rotation: turn.to_array(), position: None });
    face
}

#[test]
fn vrm0_file_is_driven_by_its_own_expressions_bones_and_facing() {
    let mut stage = Stage::new("model.vrm", |file| {
        write_model_with(file, &["", "", "", ""], |json| {
            json["meshes"][0].as_object_mut().unwrap().remove("extras");
            json["extensionsUsed"] = json!(["VRM"]);
            json["extensions"] = vrm0();
        });
    });
    let report = stage.report();
    assert_eq!((report.preset.as_str(), report.refused.len()), ("vrm0", 0), "{report:?}");
    assert_eq!(report.bones, ["Kopf", "Auge links", "Auge rechts"]);
    let face = turned_head(Quat::from_rotation_y(0.3));
    stage.show(&face, "shut eye", |app| {
        let mut nodes = app.world_mut().query::<&MorphWeights>();
        near(nodes.single(app.world()).unwrap().weights()[1], 0.8)
    });
    assert_eq!(stage.weights()[2..], [0.0, 0.0]);
    // It looks along -Z, so its own left is -X, and its left shoulder too.
    for (turn, what, is_right) in [
        (Quat::from_rotation_y(0.3), "yaw to its left", (|it| (it * Vec3::NEG_Z).x < -0.25) as fn(Quat) -> bool),
        (Quat::from_rotation_x(-0.3), "pitch up", |it| (it * Vec3::NEG_Z).y > 0.25),
        (Quat::from_rotation_z(-0.3), "roll to its left shoulder", |it| (it * Vec3::Y).x < -0.25),
    ] {
        stage.show(&turned_head(turn), what, |app| {
            let head = place(app, "Kopf").rotation();
            is_right(head) && near(head.angle_between(Quat::IDENTITY), 0.3)
        });
    }
}

#[test]
fn vrm0_eyes_turn_as_far_as_the_file_says() {
    let mut stage = Stage::new("model.vrm", |file| {
        write_model_with(file, &["", "", ""], |json| {
            json["extensions"] = vrm0();
            let bones = json["extensions"]["VRM"]["humanoid"]["humanBones"].as_array_mut().unwrap();
            bones.extend([json!({"bone": "leftEye", "node": 3}), json!({"bone": "rightEye", "node": 4})]);
        });
    });
    let mut face = frame(&[]);
    let eye = EyeGaze { yaw: 0.61, pitch: 0.0 };
    face.gaze = Some(Gaze { left: eye, right: eye });
    stage.show(&face, "looks aside", |app| {
        let turns = ["Auge links", "Auge rechts"].map(|name| place(app, name).rotation().to_euler(EulerRot::YXZ).0);
        // 12 degrees outwards as the file says, 10 inwards by default.
        (turns[0].to_degrees() - 12.0).abs() < 0.1 && (turns[1].to_degrees() - 10.0).abs() < 0.1
    });
}

#[test]
fn vrm1_file_opens_without_another_plugin() {
    for with_vrm1 in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        write_model_with(&folder.path().join("model.vrm"), &["まばたき1", "まばたき2", "笑い"], |json| {
            let custom = json!({"jawOpen": {"morphTargetBinds": [{"node": 1, "index": 2, "weight": 0.5}]}});
            json["extensions"]["VRMC_vrm"]["expressions"]["custom"] = custom;
        });
        let (mut app, faces) = app_with_plugins(folder.path(), |app| {
            if with_vrm1 {
                app.add_plugins(bevy_vrm1::prelude::VrmPlugin);
            }
        });
        // As a scene, which bevy_vrm1 knows nothing of.
        let scene = app.world().resource::<AssetServer>().load("model.vrm#Scene0");
        let avatar = app.world_mut().spawn((WorldAssetRoot(scene), FaceAvatar::default())).id();
        update_until(&mut app, "bound avatar", |app| app.world().get::<BindReport>(avatar).is_some());
        let report = app.world().get::<BindReport>(avatar).unwrap().clone();
        assert_eq!(report.bones, ["Kopf", "Auge links", "Auge rechts"], "{report:?}");
        assert_eq!(report.preset, "vrm1");
        update_until(&mut app, "shut eye", |app| {
            faces.send(1, "Ann", frame(&[(Blendshape::EyeBlinkLeft, 0.8)]));
            let mut nodes = app.world_mut().query::<&MorphWeights>();
            nodes.single(app.world()).unwrap().weights()[1..] == [0.8, 0.0]
        });
    }
}

#[test]
fn model_with_empty_targets_is_loaded_and_they_are_named() {
    let mut stage = Stage::new("model.glb", |file| {
        write_model_with(file, &["jawOpen", "tongueOut", "cheekPuff", "eyeBlinkLeft"], |json| {
            // Accessor 3 has no data, and the third target no attribute.
            json["accessors"][3].as_object_mut().unwrap().remove("bufferView");
            json["meshes"][0]["primitives"][0]["targets"][2] = json!({});
            json["extensions"] = json!({});
        });
    });
    let report = stage.report();
    assert_eq!((report.matched.len(), report.refused.len()), (4, 0), "{report:?}");
    assert_eq!(report.empty, ["tongueOut", "cheekPuff"]);
    let face = frame(&[(Blendshape::JawOpen, 0.5), (Blendshape::EyeBlinkLeft, 0.25)]);
    stage.show(&face, "its other targets", |app| {
        let mut nodes = app.world_mut().query::<&MorphWeights>();
        let weights = nodes.single(app.world()).unwrap().weights().to_vec();
        near(weights[0], 0.5) && near(weights[3], 0.25)
    });
}

#[test]
fn target_names_are_found_where_exporters_put_them() {
    for place in ["accessors", "null", "primitive"] {
        let stage = Stage::new("model.glb", |file| {
            write_model_with(file, &["jawOpen", "eyeBlinkLeft", "cheekPuff"], |json| {
                json["extensions"] = json!({});
                let names = json["meshes"][0]["extras"].take();
                match place {
                    "accessors" => {
                        json["meshes"][0].as_object_mut().unwrap().remove("extras");
                        for (target, name) in names["targetNames"].as_array().unwrap().iter().enumerate() {
                            json["accessors"][target + 2]["name"] = name.clone();
                        }
                    }
                    "primitive" => {
                        json["meshes"][0].as_object_mut().unwrap().remove("extras");
                        json["meshes"][0]["primitives"][0]["extras"] = names;
                    }
                    _ => json["meshes"][0]["extras"] = json!({"targetNames": ["jawOpen", null, "cheekPuff"]}),
                }
            });
        });
        let report = stage.report();
        assert_eq!(report.refused, Vec::<String>::new(), "{place}");
        let wanted: &[&str] =
            if place == "null" { &["jawOpen", "cheekPuff"] } else { &["eyeBlinkLeft", "jawOpen", "cheekPuff"] };
        assert_eq!(report.matched, wanted, "{place}");
        assert_eq!(report.unused, if place == "null" { vec!["target 1"] } else { vec![] }, "{place}");
    }
}

#[test]
fn default_scene_is_shown_and_a_model_without_targets_turns_its_head() {
    let mut stage = Stage::new("model.gltf.glb", |file| {
        write_model_with(file, &["jawOpen"], |json| {
            json["extensions"] = json!({});
            json["meshes"][0] = json!({"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1}}]});
            json["nodes"][2]["name"] = json!("Head");
            json["scenes"] = json!([{"nodes": []}, {"nodes": [0]}]);
            json["scene"] = json!(1);
        });
    });
    let report = stage.report();
    assert_eq!(report.bones, ["Head", "Auge links", "Auge rechts"]);
    assert_eq!(report.meshes, 0);
    assert!(stage.app.world().get::<HeadFrame>(stage.avatar).is_some());
    stage.show(&turned_head(Quat::from_rotation_y(0.4)), "turned head", |app| {
        near(place(app, "Head").rotation().angle_between(Quat::IDENTITY), 0.4)
    });
}

#[test]
fn head_frame_of_a_model_in_other_units_or_turned() {
    let aria = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/avatars/aria.glb");
    let frame_of = |node: Value, eyes: bool| {
        let stage = Stage::new("model.glb", |file| {
            let (mut json, bytes) = read_glb(&aria);
            let mut top = node;
            top["children"] = json["scenes"][0]["nodes"].take();
            let nodes = json["nodes"].as_array_mut().unwrap();
            if !eyes {
                for node in nodes.iter_mut().filter(|node| node["name"].as_str().is_some_and(|it| it.contains("Eye"))) {
                    node["name"] = json!("Ball");
                }
            }
            nodes.push(top);
            json["scenes"][0]["nodes"] = json!([nodes.len() - 1]);
            write_glb(file, &json, bytes);
        });
        *stage.app.world().get::<HeadFrame>(stage.avatar).expect("a head")
    };
    let plain = frame_of(json!({"name": "Top"}), true);
    assert!((0.2..0.34).contains(&plain.height) && plain.forward.distance(Vec3::Z) < 1e-3, "{plain:?}");
    assert!(plain.center.x.abs() < 0.01 && (0.2..0.3).contains(&plain.center.y), "{plain:?}");
    for (scale, eyes) in [(100.0, true), (0.01, false)] {
        let other = frame_of(json!({"name": "Top", "scale": [scale, scale, scale]}), eyes);
        assert!((other.height / scale / plain.height - 1.0).abs() < 0.02, "{scale}: {other:?}");
    }
    // Half a turn, with eye bones and by the face alone.
    for eyes in [true, false] {
        let back = frame_of(json!({"name": "Top", "rotation": [0.0, 1.0, 0.0, 0.0]}), eyes);
        assert!(back.forward.distance(Vec3::NEG_Z) < 1e-3, "{eyes}: {back:?}");
    }
}

#[test]
fn eyeball_mesh_with_its_origin_elsewhere_stays_in_the_head() {
    let mut stage = Stage::new("model.glb", |file| {
        write_model_with(file, &["jawOpen"], |json| {
            json["extensions"] = json!({});
            let nodes = json["nodes"].as_array_mut().unwrap();
            nodes[2]["name"] = json!("Head");
            // A mesh around (0.4, 0.4, 0), with its origin at the origin.
            nodes[3] = json!({"name": "EyeLeft", "mesh": 1});
            json["meshes"].as_array_mut().unwrap().push(json!({"primitives": [{"attributes": {"POSITION": 0}}]}));
        });
    });
    let middle = Vec3::new(0.5, 0.5, 0.0);
    let mut face = frame(&[]);
    let eye = EyeGaze { yaw: 0.4, pitch: 0.1 };
    face.gaze = Some(Gaze { left: eye, right: eye });
    stage.show(&face, "looks aside", |app| place(app, "EyeLeft").rotation().angle_between(Quat::IDENTITY) > 0.3);
    let eye = stage.place("EyeLeft");
    assert!(eye.transform_point(middle).distance(middle) < 1e-4, "{:?}", eye.transform_point(middle));
}

#[test]
fn file_that_cannot_be_loaded_is_reported_in_one_line_with_advice() {
    for (change, words) in [
        (
            Box::new(|json: &mut Value| json["extensionsRequired"] = json!(["KHR_draco_mesh_compression"]))
                as Box<dyn FnOnce(&mut Value)>,
            "export it without mesh compression",
        ),
        (Box::new(|json: &mut Value| json["scenes"] = json!([])), "no scene"),
        (Box::new(|json: &mut Value| json["accessors"][0]["bufferView"] = json!(99)), "bufferView"),
    ] {
        let stage = Stage::new("model.glb", |file| {
            write_model_with(file, &["jawOpen"], |json| {
                json["extensions"] = json!({});
                json.as_object_mut().unwrap().remove("scene");
                change(json);
            });
        });
        let report = stage.report();
        let problem = report.problem.unwrap_or_default();
        assert!(report.failed && problem.contains(words), "{problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }
    let stage = Stage::new("model.vrm", |file| std::fs::write(file, "<html>").unwrap());
    let problem = stage.report().problem.unwrap_or_default();
    assert!(problem.contains("neither a glTF JSON file nor"), "{problem}");
}

/// Opens every model that is not part of the repository, where `FACELINK_AVATARS` names the folder that holds them.
#[test]
fn foreign_models_are_bound_or_reported() {
    let Some(folder) = std::env::var_os("FACELINK_AVATARS") else {
        eprintln!("skipped: FACELINK_AVATARS names no folder of avatars");
        return;
    };
    let folder = Path::new(&folder).canonicalize().expect("a folder");
    let (mut app, _faces) = app(&folder);
    for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if ![".vrm", ".glb", ".gltf"].iter().any(|end| file.ends_with(end)) {
            continue;
        }
        let model = app.world().resource::<AssetServer>().load(file.clone());
        let avatar = app.world_mut().spawn((FaceModel(model), FaceAvatar::default())).id();
        update_until(&mut app, &file, |app| app.world().get::<BindReport>(avatar).is_some());
        let world = app.world();
        let report = world.get::<BindReport>(avatar).unwrap();
        let frame = world.get::<HeadFrame>(avatar);
        println!("{file}: {} bones {:?} {:?} {:?}", report.summary(), report.bones, frame, report.problem);
        assert!(report.problem.is_some() || frame.is_none_or(|frame| frame.height > 0.0));
        app.world_mut().entity_mut(avatar).despawn();
    }
}
