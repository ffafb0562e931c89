//! Apps and avatars for tests.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bevy::{
    asset::{RenderAssetUsages, UnapprovedPathMode},
    mesh::{
        Mesh, PrimitiveTopology,
        morph::{MeshMorphWeights, MorphAttributes, MorphWeights},
    },
    prelude::*,
    time::TimeUpdateStrategy,
};
use bevy_facelink::{
    FaceInbox, FaceInjector, FaceLinkEndpoint, FaceLinkPlugin,
    facelink::{Blendshape, FaceFrame},
};
use serde_json::{Value, json};

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

/// An App whose assets are in this folder, in real time.
pub fn app_with(assets: &Path, plugin: FaceLinkPlugin) -> App {
    let mut app = App::new();
    app.add_plugins((
        MinimalPlugins,
        AssetPlugin {
            file_path: assets.display().to_string(),
            unapproved_path_mode: UnapprovedPathMode::Allow,
            ..default()
        },
        TransformPlugin,
    ));
    app.init_asset::<Mesh>().add_plugins(plugin);
    app.finish();
    app.cleanup();
    app
}

/// A WebSocket client on loopback.
pub struct Sender(tokio::sync::mpsc::UnboundedSender<String>);

impl Sender {
    pub fn connect(app: &App) -> Self {
        let address = app.world().resource::<FaceLinkEndpoint>().addresses().http;
        let (lines, mut wanted) = tokio::sync::mpsc::unbounded_channel::<String>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                use futures_util::{SinkExt, StreamExt};
                let (mut socket, _) =
                    tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.expect("a socket");
                loop {
                    // What comes is read, or pings would go unanswered.
                    let line = tokio::select! {
                        line = wanted.recv() => line,
                        Some(Ok(_)) = socket.next() => continue,
                    };
                    let Some(line) = line else { return };
                    if socket.send(line.into()).await.is_err() {
                        return;
                    }
                }
            });
        });
        Self(lines)
    }

    pub fn send(&self, line: &str) {
        let _ = self.0.send(line.to_owned());
    }
}

/// A triangle with these targets.
pub fn morphed_mesh(names: &[&str]) -> Mesh {
    let mesh = Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::all())
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, vec![[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]);
    mesh.with_morph_targets(vec![MorphAttributes::default(); names.len() * 3])
        .with_morph_target_names(names.iter().map(|name| (*name).to_owned()).collect())
}

/// Writes a VRM 1.0 file, which is a glTF file too: a triangle with these targets, a head and eyes with names of their own, and three expressions.
pub fn write_model(file: &Path, targets: &[&str]) {
    write_model_with(file, targets, |_| {});
}

/// The same with changes to its JSON.
pub fn write_model_with(file: &Path, targets: &[&str], change: impl FnOnce(&mut Value)) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut vectors = |values: &[[f32; 3]]| {
        let at = bytes.len();
        for value in values.iter().flatten() {
            bytes.extend(value.to_le_bytes());
        }
        at
    };
    let triangle = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]];
    let mut starts = vec![vectors(&triangle), vectors(&[[0.0, 0.0, 1.0]; 3])];
    starts.extend(targets.iter().map(|_| vectors(&[[0.0, 0.1, 0.0]; 3])));
    let accessor = |view: usize| json!({"bufferView": view, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 1]});
    let expression = |index: usize| {
        json!({"isBinary": false, "overrideBlink": "none", "overrideLookAt": "none", "overrideMouth": "none",
               "morphTargetBinds": [{"node": 1, "index": index, "weight": 1.0}]})
    };
    let mut json = json!({
        "asset": {"version": "2.0"},
        "extensionsUsed": ["VRMC_vrm"],
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": "Root", "children": [1, 2]},
            {"name": "Face", "mesh": 0},
            {"name": "Kopf", "children": [3, 4]},
            {"name": "Auge links", "translation": [0.03, 0.05, 0.05]},
            {"name": "Auge rechts", "translation": [-0.03, 0.05, 0.05]},
        ],
        "meshes": [{
            "primitives": [{
                "attributes": {"POSITION": 0, "NORMAL": 1},
                "targets": (0..targets.len()).map(|i| json!({"POSITION": i + 2})).collect::<Vec<_>>(),
            }],
            "extras": {"targetNames": targets},
        }],
        "buffers": [{"byteLength": bytes.len()}],
        "bufferViews": starts.iter().map(|at| json!({"buffer": 0, "byteOffset": at, "byteLength": 36})).collect::<Vec<_>>(),
        "accessors": (0..starts.len()).map(accessor).collect::<Vec<Value>>(),
        "extensions": {"VRMC_vrm": {
            "specVersion": "1.0",
            "meta": null,
            "humanoid": {"humanBones": {"hips": {"node": 0}, "head": {"node": 2}, "leftEye": {"node": 3}, "rightEye": {"node": 4}}},
            "expressions": {"preset": {"aa": expression(0), "blinkLeft": expression(1), "happy": expression(2)}},
        }},
    });
    change(&mut json);
    write_glb(file, &json, bytes);
}

/// Writes a binary glTF file.
pub fn write_glb(file: &Path, json: &Value, mut bytes: Vec<u8>) {
    let mut text = serde_json::to_vec(json).expect("it is JSON");
    text.resize(text.len().next_multiple_of(4), b' ');
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut glb = Vec::new();
    glb.extend(b"glTF");
    for number in [2, 12 + 8 + text.len() + 8 + bytes.len()] {
        glb.extend((number as u32).to_le_bytes());
    }
    for (kind, chunk) in [(b"JSON", text), (b"BIN\0", bytes)] {
        glb.extend((chunk.len() as u32).to_le_bytes());
        glb.extend(kind);
        glb.extend(chunk);
    }
    fs::write(file, glb).expect("it can be written");
}

/// The JSON and the buffer of a binary glTF file.
pub fn read_glb(file: &Path) -> (Value, Vec<u8>) {
    let bytes = fs::read(file).expect("a file");
    let length = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes")) as usize;
    let json = serde_json::from_slice(&bytes[20..20 + length]).expect("it is JSON");
    (json, bytes[20 + length + 8..].to_vec())
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
            let endpoint = app.world().get_resource::<FaceLinkEndpoint>();
            let seen = endpoint.map(|endpoint| (endpoint.stats(), endpoint.arrivals()));
            panic!("no {what} in time; the endpoint: {seen:#?}");
        }
        app.update();
        std::thread::sleep(Duration::from_millis(4));
    }
}

pub fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 2e-3
}
