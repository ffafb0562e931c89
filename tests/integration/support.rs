//! Apps and avatars for tests.

use std::time::{Duration, Instant};

use bevy::{
    asset::RenderAssetUsages,
    mesh::{
        Mesh, PrimitiveTopology,
        morph::{MeshMorphWeights, MorphAttributes, MorphWeights},
    },
    prelude::*,
    time::TimeUpdateStrategy,
};
use bevy_facelink::{
    FaceInbox, FaceInjector, FaceLinkEndpoint, FaceLinkPlugin,
    core::{Blendshape, FaceFrame},
};

/// Far more than anything takes; only a failure waits this long.
pub const LIMIT: Duration = Duration::from_secs(30);

/// A frame of virtual time.
pub const FRAME: Duration = Duration::from_nanos(16_666_667);

/// An App in virtual time, fed by hand.
pub fn fed_app() -> (App, FaceInjector) {
    fed_app_with(|_| {})
}

/// The same with more in it.
pub fn fed_app_with(add: impl FnOnce(&mut App)) -> (App, FaceInjector) {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), TransformPlugin, FaceLinkPlugin::without_sockets()));
    app.init_asset::<Mesh>();
    add(&mut app);
    app.insert_resource(TimeUpdateStrategy::ManualDuration(FRAME));
    let (inbox, injector) = FaceInbox::bounded(64);
    app.insert_resource(inbox);
    app.finish();
    app.cleanup();
    (app, injector)
}

/// A triangle with these targets.
pub fn morphed_mesh(names: &[&str]) -> Mesh {
    let mesh = Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::all())
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    mesh.with_morph_targets(vec![MorphAttributes::default(); names.len() * 3])
        .with_morph_target_names(names.iter().map(|name| (*name).to_owned()).collect())
}

/// A node with morph weights and one primitive below it, as the glTF loader makes them.
pub fn spawn_node(world: &mut World, name: &str, targets: &[&str]) -> Entity {
    let mesh = morphed_mesh(targets);
    spawn_node_with(world, name, targets.len(), mesh)
}

pub fn spawn_node_with(world: &mut World, name: &str, weights: usize, mesh: Mesh) -> Entity {
    let handle = world.resource_mut::<Assets<Mesh>>().add(mesh);
    let weights = MorphWeights::new(vec![0.0; weights], Some(handle.clone())).expect("few enough targets");
    let node = world.spawn((Name::new(name.to_owned()), Transform::default(), weights)).id();
    let primitive = world.spawn((Mesh3d(handle), MeshMorphWeights::Reference(node))).id();
    world.entity_mut(node).add_child(primitive);
    node
}

pub fn weights(app: &App, node: Entity) -> Vec<f32> {
    app.world().get::<MorphWeights>(node).expect("a morphed node").weights().to_vec()
}

pub fn frame(shapes: &[(Blendshape, f32)]) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    for (shape, weight) in shapes {
        frame.set(*shape, *weight);
    }
    frame
}

/// Updates as if `time` passed, with `feed` called before each frame.
pub fn run(app: &mut App, time: Duration, mut feed: impl FnMut()) {
    let frames = (time.as_secs_f32() / FRAME.as_secs_f32()).ceil() as u32;
    for _ in 0..frames {
        feed();
        app.update();
    }
}

/// Updates in real time until `done`.
pub fn update_until(app: &mut App, what: &str, mut done: impl FnMut(&mut App) -> bool) {
    let end = Instant::now() + LIMIT;
    while !done(app) {
        if Instant::now() >= end {
            let stats = app.world().get_resource::<FaceLinkEndpoint>().map(|endpoint| endpoint.stats());
            panic!("no {what} in time; the endpoint: {stats:#?}");
        }
        app.update();
        std::thread::sleep(Duration::from_millis(4));
    }
}

pub fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 2e-3
}
