//! Levels of detail of glTF files (`MSFT_lod`) through Bevy's own loader, without a GPU.

use std::path::Path;

use bevy::{camera::primitives::Frustum, mesh::morph::MorphWeights, prelude::*, world_serialization::WorldAssetRoot};
use bevy_facelink::{BindReport, FaceAvatar, FaceInjector, LodGroup, LodSettings, facelink::Blendshape};

use crate::{
    gltf,
    support::{frame, near, update_until},
};

/// Aria at the origin and a camera before her.
fn stage(folder: &Path, file: &str, away: f32) -> (App, FaceInjector, Entity) {
    let (mut app, faces) = gltf::app(folder);
    let scene = app.world().resource::<AssetServer>().load(format!("{file}#Scene0"));
    let avatar = app.world_mut().spawn((WorldAssetRoot(scene), FaceAvatar::of("Ann"))).id();
    let camera = app.world_mut().spawn((Camera3d::default(), at(away))).id();
    update_until(&mut app, "bound avatar", |app| app.world().get::<BindReport>(avatar).is_some());
    assert!(app.world().get::<Frustum>(camera).is_some());
    (app, faces, camera)
}

fn aria(away: f32) -> (App, FaceInjector, Entity) {
    stage(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets"), "avatars/aria.glb", away)
}

fn at(away: f32) -> Transform {
    Transform::from_xyz(0.0, 0.2, away)
}

fn levels(app: &mut App) -> Vec<u8> {
    app.world_mut().query::<&LodGroup>().iter(app.world()).map(|group| group.shown).collect()
}

fn node(app: &mut App, name: &str) -> Entity {
    let mut nodes = app.world_mut().query::<(Entity, &Name)>();
    nodes.iter(app.world()).find(|(_, other)| other.as_str() == name).expect("the node").0
}

fn jaw(app: &mut App, name: &str) -> f32 {
    let node = node(app, name);
    app.world().get::<MorphWeights>(node).expect("weights").weights()[Blendshape::JawOpen.index()]
}

fn hidden(app: &mut App, name: &str) -> bool {
    let node = node(app, name);
    *app.world().get::<Visibility>(node).expect("a visibility") == Visibility::Hidden
}

#[test]
fn level_of_detail_follows_size_on_screen_and_has_the_face() {
    let (mut app, faces, camera) = aria(1.0);
    let send = |app: &mut App, weight: f32, name: &str| {
        update_until(app, name, |app| {
            faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, weight)]));
            near(jaw(app, name), weight)
        });
    };
    send(&mut app, 0.5, "Face");
    assert_eq!(levels(&mut app), [0; 6]);
    assert_eq!(["Hair", "Hair_LOD1"].map(|name| hidden(&mut app, name)), [false, true]);
    assert_eq!(jaw(&mut app, "Face_LOD1"), 0.0, "what is hidden is not written");

    let meshes = |app: &App| app.world().resource::<Assets<Mesh>>().len();
    let before = meshes(&app);
    app.world_mut().entity_mut(camera).insert(at(20.0));
    update_until(&mut app, "level 1", |app| levels(app) == [1; 6]);
    assert_eq!(meshes(&app), before, "no mesh is copied for a level");
    assert_eq!(["Hair", "Hair_LOD1"].map(|name| hidden(&mut app, name)), [true, false]);
    assert!(near(jaw(&mut app, "Face_LOD1"), 0.5), "it shows the face in its first frame");
    send(&mut app, 0.2, "Face_LOD1");
    assert!(near(jaw(&mut app, "Face"), 0.5), "what is hidden is not written");

    app.world_mut().entity_mut(camera).insert(at(1.0));
    update_until(&mut app, "level 0", |app| levels(app) == [0; 6]);
    assert!(near(jaw(&mut app, "Face"), 0.2), "it shows the face in its first frame");
}

#[test]
fn level_of_detail_can_be_fixed_for_all_and_for_one() {
    let (mut app, _faces, camera) = aria(1.0);
    app.insert_resource(LodSettings { finest: 1, ..default() });
    app.update();
    assert_eq!(levels(&mut app), [1; 6]);
    let hair = node(&mut app, "Hair");
    app.world_mut().get_mut::<LodGroup>(hair).expect("a group").fixed = Some(0);
    app.update();
    assert_eq!(["Hair", "Hair_LOD1", "Face"].map(|name| hidden(&mut app, name)), [false, true, true]);
    // Level 0 is kept further away.
    app.insert_resource(LodSettings { bias: 100.0, ..default() });
    app.world_mut().entity_mut(camera).insert(at(20.0));
    app.update();
    assert_eq!(levels(&mut app), [0; 6]);
}

#[test]
fn level_that_the_game_hides_stays_hidden() {
    let (mut app, _faces, camera) = aria(1.0);
    let hair = node(&mut app, "Hair");
    app.world_mut().entity_mut(hair).insert(Visibility::Hidden);
    for (away, level) in [(20.0, 1), (1.0, 0)] {
        app.world_mut().entity_mut(camera).insert(at(away));
        update_until(&mut app, "another level", |app| levels(app) == [level; 6]);
        assert!(hidden(&mut app, "Hair"));
    }
}

#[test]
fn bad_level_of_detail_shows_the_full_model() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/avatars/aria.glb")).expect("Aria");
    let long = u32::from_le_bytes(source[12..16].try_into().expect("four bytes")) as usize;
    let mut json: serde_json::Value = serde_json::from_slice(&source[20..20 + long]).expect("JSON");
    let many: Vec<usize> = vec![0; 10_000];
    let mut bad = [serde_json::json!([9999]), serde_json::json!([0]), serde_json::json!(many)].into_iter();
    for node in json["nodes"].as_array_mut().expect("nodes") {
        if node["extensions"].is_object()
            && let Some(ids) = bad.next()
        {
            node["extensions"]["MSFT_lod"]["ids"] = ids;
        }
    }
    let mut text = serde_json::to_vec(&json).expect("JSON");
    text.resize(text.len().next_multiple_of(4), b' ');
    let mut file = source[..8].to_vec();
    file.extend(((source.len() - long + text.len()) as u32).to_le_bytes());
    file.extend((text.len() as u32).to_le_bytes());
    file.extend(b"JSON");
    file.extend(text);
    file.extend(&source[20 + long..]);
    std::fs::write(folder.path().join("bad.glb"), file).expect("written");
    let (mut app, _faces, _) = stage(folder.path(), "bad.glb", 20.0);
    app.update();
    // Three of the six are left.
    assert_eq!(levels(&mut app), [1; 3]);
    assert_eq!(["Face", "Brows", "Hair", "Clothes"].map(|name| hidden(&mut app, name)), [false, false, false, true]);
}
