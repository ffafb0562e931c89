//! What one engine frame costs in FaceLink's systems: a fresh frame of one face, received, evaluated and written to 1,
//! 100 and 1,000 avatars of 52 targets each, compared with the same App with no avatar; the same with layers over each face, and
//! with a dialect whose every shape goes to several targets.

use std::time::Duration;

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
    FaceAvatar, FaceExpressions, FaceIdle, FaceInbox, FaceLinkPlugin, FacePresets, facelink::performer::Performance,
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn mesh(names: &[String]) -> Mesh {
    Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::all())
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, vec![[0.0_f32; 3]; 3])
        .with_morph_targets(vec![MorphAttributes::default(); names.len() * 3])
        .with_morph_target_names(names.to_vec())
}

/// The targets that a preset of ours writes.
fn targets(preset: &str) -> Vec<String> {
    let mut names = Vec::new();
    let presets = FacePresets::default();
    let rules = presets.presets().iter().filter(|other| other.id == preset).flat_map(|preset| &preset.mapping.rules);
    for output in rules.filter(|rule| !rule.fallback).flat_map(|rule| &rule.to) {
        if !names.contains(&output.target) {
            names.push(output.target.clone());
        }
    }
    names
}

/// An App with these avatars, and what lets one frame pass.
fn stage(avatars: usize, names: &[String], layers: bool) -> Option<impl FnMut() + use<>> {
    let performance = Performance::new(1);
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), FaceLinkPlugin::without_sockets()));
    app.init_asset::<Mesh>().insert_resource(TimeUpdateStrategy::ManualDuration(Duration::from_millis(16)));
    let (inbox, faces) = FaceInbox::bounded(16);
    app.insert_resource(inbox);
    let handle = app.world_mut().resource_mut::<Assets<Mesh>>().add(mesh(names));
    for i in 0..avatars {
        let weights = MorphWeights::new(vec![0.0; names.len()], Some(handle.clone())).ok()?;
        let root = app.world_mut().spawn((weights, Transform::default(), FaceAvatar::default())).id();
        let part = (Mesh3d(handle.clone()), MeshMorphWeights::Reference(root));
        app.world_mut().entity_mut(root).with_child(part);
        if layers {
            let mut expressions = FaceExpressions::default();
            expressions.set("happy", 0.5).set("surprised", 0.2);
            app.world_mut().entity_mut(root).insert((FaceIdle::seeded(i as u64), expressions));
        }
    }
    let mut tick = 0;
    let mut update = move || {
        tick += 1;
        faces.send(1, "Ann", performance.frame_at(Duration::from_millis(16 * tick)));
        app.update();
    };
    for _ in 0..60 {
        update();
    }
    Some(update)
}

fn drive(c: &mut Criterion) {
    let (arkit, unified) = (targets("arkit"), targets("unified_expressions"));
    let mut group = c.benchmark_group("update");
    for avatars in [0_usize, 1, 100, 1000] {
        let Some(mut update) = stage(avatars, &arkit, false) else { continue };
        group.bench_function(BenchmarkId::new("avatars", avatars), |b| b.iter(&mut update));
    }
    for avatars in [1_usize, 100, 1000] {
        let Some(mut update) = stage(avatars, &arkit, true) else { continue };
        group.bench_function(BenchmarkId::new("avatars with idle life and two expressions", avatars), |b| {
            b.iter(&mut update)
        });
    }
    for avatars in [1_usize, 100, 1000] {
        let Some(mut update) = stage(avatars, &unified, false) else { continue };
        group.bench_function(BenchmarkId::new("avatars of 68 Unified Expressions", avatars), |b| b.iter(&mut update));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = drive
}
criterion_main!(benches);
