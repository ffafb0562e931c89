//! Real glTF files through Bevy's own loader, without a GPU.

use std::path::Path;

use bevy::{
    asset::UnapprovedPathMode,
    mesh::morph::MorphWeights,
    prelude::*,
    render::{RenderPlugin, settings::WgpuSettings},
    window::ExitCondition,
    winit::WinitPlugin,
    world_serialization::WorldAssetRoot,
};
use bevy_facelink::{
    ARIA, AvatarBound, BindReport, FaceAvatar, FaceInbox, FaceInjector, FaceLinkPlugin,
    facelink::{Blendshape, HeadPose},
};

use crate::support::{frame, near, update_until, write_model};

pub fn app(assets: &Path) -> (App, FaceInjector) {
    app_with_plugins(assets, |_| {})
}

/// All of Bevy that the examples use and more, but no window and no graphics adapter.
pub fn app_with_plugins(assets: &Path, add: impl FnOnce(&mut App)) -> (App, FaceInjector) {
    let mut app = App::new();
    app.add_plugins((
        DefaultPlugins
            .set(AssetPlugin {
                file_path: assets.display().to_string(),
                unapproved_path_mode: UnapprovedPathMode::Allow,
                ..default()
            })
            .set(WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() })
            .set(RenderPlugin { render_creation: WgpuSettings { backends: None, ..default() }.into(), ..default() })
            .disable::<WinitPlugin>()
            .disable::<bevy::log::LogPlugin>(),
        FaceLinkPlugin::without_sockets(),
    ));
    add(&mut app);
    let (inbox, faces) = FaceInbox::bounded(64);
    app.insert_resource(inbox);
    app.finish();
    app.cleanup();
    (app, faces)
}

fn bind(app: &mut App, file: &str) -> (Entity, BindReport) {
    let scene = app.world().resource::<AssetServer>().load(format!("{file}#Scene0"));
    let avatar = app.world_mut().spawn((WorldAssetRoot(scene), FaceAvatar::default())).id();
    update_until(app, "bound avatar", |app| app.world().get::<BindReport>(avatar).is_some());
    (avatar, app.world().get::<BindReport>(avatar).expect("a report").clone())
}

/// The weight of a named target on every mesh that has it and is not hidden.
fn shown(app: &mut App, target: &str) -> Vec<f32> {
    let mut nodes = app.world_mut().query::<(&MorphWeights, &Name, &Visibility)>();
    let found: Vec<_> = nodes
        .iter(app.world())
        .filter(|(.., visibility)| **visibility != Visibility::Hidden)
        .filter_map(|(morph, ..)| {
            let mesh = app.world().resource::<Assets<Mesh>>().get(morph.first_mesh()?)?;
            let place = mesh.try_morph_target_names().ok()??.iter().position(|name| name == target)?;
            morph.weights().get(place).copied()
        })
        .collect();
    assert!(!found.is_empty(), "no mesh has {target}");
    found
}

#[test]
fn aria_has_all_52_shapes_head_and_eyes() {
    let (mut app, faces) = app(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets"));
    let (_, report) = bind(&mut app, "avatars/aria.glb");
    assert_eq!(report.summary(), "ARKit, 52 of 52 matched");
    assert_eq!(report.refused, Vec::<String>::new());
    assert_eq!(report.bones, ["Head", "Neck", "EyeLeft", "EyeRight"]);

    let mut face = frame(&[(Blendshape::JawOpen, 0.5), (Blendshape::EyeLookOutLeft, 1.0)]);
    face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.5).to_array(), position: None });
    update_until(&mut app, "open jaw", |app| {
        faces.send(1, "Ann", face.clone());
        shown(app, "jawOpen").iter().all(|weight| near(*weight, 0.5))
    });
    app.update();
    let forward = |app: &mut App, name: &str| {
        let mut query = app.world_mut().query::<(&Name, &GlobalTransform)>();
        let found = query.iter(app.world()).find(|(other, _)| other.as_str() == name);
        found.map(|(_, transform)| transform.rotation()).expect("the bone")
    };
    let head = forward(&mut app, "Head") * Vec3::Z;
    assert!(head.x > 0.4, "the head turns to the character's own left, +X: {head}");
    let eye = forward(&mut app, "EyeLeft") * Vec3::Z;
    assert!(eye.x > head.x + 0.2, "the left eye looks further out: {eye}");
}

#[test]
fn aria_loads_without_an_asset_folder() {
    let empty = tempfile::tempdir().expect("a folder");
    let (mut app, _faces) = app(empty.path());
    let (_, report) = bind(&mut app, ARIA.strip_suffix("#Scene0").expect("a scene"));
    assert_eq!(report.summary(), "ARKit, 52 of 52 matched");
}

#[test]
fn reloaded_model_is_driven_again() {
    #[derive(Resource, Default)]
    struct Bound(Vec<String>);
    let folder = tempfile::tempdir().expect("a folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/avatars/aria.glb");
    std::fs::copy(source, folder.path().join("aria.glb")).expect("copied");
    let (mut app, faces) = app(folder.path());
    app.init_resource::<Bound>();
    app.add_observer(|event: On<AvatarBound>, mut bound: ResMut<Bound>| bound.0.push(event.report.summary()));
    // The avatar comes when the scene has long been there.
    let scene = app.world().resource::<AssetServer>().load("aria.glb#Scene0");
    // Without a watcher the server knows what to load again by the file's own handle.
    let _file: Handle<Gltf> = app.world().resource::<AssetServer>().load("aria.glb");
    let avatar = app.world_mut().spawn(WorldAssetRoot(scene)).id();
    let nodes = |app: &mut App| -> Vec<Entity> {
        app.world_mut().query_filtered::<Entity, With<MorphWeights>>().iter(app.world()).collect()
    };
    update_until(&mut app, "the scene", |app| !nodes(app).is_empty());
    app.world_mut().entity_mut(avatar).insert(FaceAvatar::default());
    update_until(&mut app, "bound avatar", |app| app.world().resource::<Bound>().0.len() == 1);
    let mut face = frame(&[(Blendshape::JawOpen, 0.5)]);
    face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.5).to_array(), position: None });
    let old = nodes(&mut app);
    let turned = |app: &mut App| {
        let mut query = app.world_mut().query::<(&Name, &GlobalTransform)>();
        let found = query.iter(app.world()).find(|(name, _)| name.as_str() == "Head");
        found.map_or(0.0, |(_, transform)| (transform.rotation() * Vec3::Z).x)
    };
    let shows = |app: &mut App| {
        faces.send(1, "Ann", face.clone());
        !nodes(app).is_empty()
            && shown(app, "jawOpen").iter().all(|weight| near(*weight, 0.5))
            && (turned(app) - 0.5_f32.sin()).abs() < 0.01
    };
    update_until(&mut app, "open jaw and turned head", shows);

    app.world().resource::<AssetServer>().reload("aria.glb");
    update_until(&mut app, "bound again", |app| app.world().resource::<Bound>().0.len() >= 2);
    assert!(nodes(&mut app).iter().all(|node| !old.contains(node)), "its entities are new");
    update_until(&mut app, "open jaw and turned head again", shows);
    // Once more where its meshes came after the scene.
    let bound = &app.world().resource::<Bound>().0;
    assert!(bound.len() >= 2 && bound.iter().all(|report| report == "ARKit, 52 of 52 matched"), "{bound:?}");
}

#[test]
fn rivet_has_all_52_shapes_in_another_dialect() {
    let (mut app, faces) = app(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets"));
    let (_, report) = bind(&mut app, "avatars/rivet.glb");
    assert_eq!(report.summary(), "Unified Expressions, 52 of 52 matched");
    assert_eq!((report.unused.len(), report.refused.len()), (0, 0), "{report:?}");
    for (shape, target, other) in [
        (Blendshape::EyeBlinkLeft, "EyeClosedLeft", "EyeClosedRight"),
        (Blendshape::MouthSmileRight, "MouthCornerPullRight", "MouthCornerPullLeft"),
        (Blendshape::MouthLeft, "MouthUpperLeft", "MouthUpperRight"),
        (Blendshape::MouthFunnel, "LipFunnelLowerLeft", "LipPuckerLowerLeft"),
    ] {
        update_until(&mut app, shape.name(), |app| {
            faces.send(1, "Ann", frame(&[(shape, 0.8)]));
            shown(app, target).iter().any(|weight| near(*weight, 0.8))
                && shown(app, other).iter().all(|weight| *weight == 0.0)
        });
    }
}

/// Two instances of one scene, each with a face of its own on the same meshes, and one that goes while its face streams.
#[test]
fn scene_instances_have_independent_faces() {
    let (mut app, faces) = app(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets"));
    let scene = app.world().resource::<AssetServer>().load("avatars/rivet.glb#Scene0");
    let avatars =
        ["Ann", "Bob"].map(|name| app.world_mut().spawn((WorldAssetRoot(scene.clone()), FaceAvatar::of(name))).id());
    let jaws = |app: &mut App| {
        avatars.map(|avatar| {
            let world = app.world();
            let nodes = std::iter::once(avatar).chain(descendants(world, avatar));
            let open = nodes.filter_map(|node| {
                let morph = world.get::<MorphWeights>(node)?;
                let mesh = world.resource::<Assets<Mesh>>().get(morph.first_mesh()?)?;
                let place = mesh.try_morph_target_names().ok()??.iter().position(|name| name == "JawOpen")?;
                morph.weights().get(place).copied()
            });
            open.fold(-1.0, f32::max)
        })
    };
    update_until(&mut app, "two faces", |app| {
        faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.2)]));
        faces.send(2, "Bob", frame(&[(Blendshape::JawOpen, 0.7)]));
        let [ann, bob] = jaws(app);
        near(ann, 0.2) && near(bob, 0.7)
    });
    // Weights are each one's own, vertices and deltas are there once.
    let meshes = avatars.map(|avatar| {
        let world = app.world();
        let nodes = descendants(world, avatar);
        nodes.into_iter().filter_map(|node| Some(world.get::<Mesh3d>(node)?.0.id())).collect::<Vec<_>>()
    });
    assert!(meshes[0].len() > 5, "{} meshes", meshes[0].len());
    assert_eq!(meshes[0], meshes[1]);
    app.world_mut().entity_mut(avatars[0]).despawn();
    update_until(&mut app, "the other face", |app| {
        faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.9)]));
        faces.send(2, "Bob", frame(&[(Blendshape::JawOpen, 0.4)]));
        let [ann, bob] = jaws(app);
        ann < 0.0 && near(bob, 0.4)
    });
}

fn descendants(world: &World, root: Entity) -> Vec<Entity> {
    let children = world.get::<Children>(root).map_or(&[][..], |children| children);
    children.iter().flat_map(|child| std::iter::once(*child).chain(descendants(world, *child))).collect()
}

/// Bevy refuses such a file as a whole; its error names its own limit.
#[test]
fn model_with_too_many_targets_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..300).map(|i| format!("target{i}")).collect();
    write_model(&folder.path().join("many.glb"), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let (mut app, _faces) = app(folder.path());
    let (_, report) = bind(&mut app, "many.glb");
    let problem = report.problem.unwrap_or_default();
    assert!(problem.contains("256") && problem.contains("split"), "{problem}");

    let (_, report) = bind(&mut app, "gone.glb");
    assert!(report.problem.is_some_and(|problem| problem.contains("gone.glb")));
}

/// Binds a head that is not part of the repository, where `FACELINK_AVATARS` names the folder that holds it.
#[test]
fn foreign_arkit_head_is_bound() {
    let Some(avatars) = std::env::var_os("FACELINK_AVATARS") else {
        eprintln!("skipped: FACELINK_AVATARS names no folder of avatars");
        return;
    };
    let (mut app, faces) = app(&Path::new(&avatars).canonicalize().expect("a folder"));
    let (_, report) = bind(&mut app, "ict-head.glb");
    assert_eq!(report.summary(), "ARKit, 51 of 52 matched, missing: tongueOut");
    assert_eq!(report.refused, Vec::<String>::new());
    let face = frame(&[(Blendshape::CheekPuff, 0.75), (Blendshape::MouthSmileRight, 0.25)]);
    update_until(&mut app, "puffed cheeks", |app| {
        faces.send(1, "Ann", face.clone());
        near(shown(app, "cheekPuff_L")[0], 0.75)
    });
    assert!(near(shown(&mut app, "cheekPuff_R")[0], 0.75) && near(shown(&mut app, "mouthSmile_R")[0], 0.25));
    assert_eq!(shown(&mut app, "mouthSmile_L")[0], 0.0);
}
