//! What one engine frame costs in FaceLink's systems: a fresh frame of one face, received, evaluated and written to 1,
//! 100 and 1,000 avatars of 52 targets each, beside the same App with no avatar.

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
    FaceAvatar, FaceInbox, FaceLinkPlugin,
    core::{Blendshape, performer::Performance},
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn mesh() -> Mesh {
    Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::all())
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, vec![[0.0_f32; 3]; 3])
        .with_morph_targets(vec![MorphAttributes::default(); 52 * 3])
        .with_morph_target_names(Blendshape::ALL.iter().map(|shape| shape.name().to_owned()).collect())
}

fn drive(c: &mut Criterion) {
    let performance = Performance::new(1);
    let mut group = c.benchmark_group("update");
    for avatars in [0_usize, 1, 100, 1000] {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default(), FaceLinkPlugin::without_sockets()));
        app.init_asset::<Mesh>().insert_resource(TimeUpdateStrategy::ManualDuration(Duration::from_millis(16)));
        let (inbox, faces) = FaceInbox::bounded(16);
        app.insert_resource(inbox);
        let handle = app.world_mut().resource_mut::<Assets<Mesh>>().add(mesh());
        for _ in 0..avatars {
            let Ok(weights) = MorphWeights::new(vec![0.0; 52], Some(handle.clone())) else { return };
            let root = app.world_mut().spawn((weights, Transform::default(), FaceAvatar::default())).id();
            let part = (Mesh3d(handle.clone()), MeshMorphWeights::Reference(root));
            app.world_mut().entity_mut(root).with_child(part);
        }
        let mut tick = 0;
        let mut update = |app: &mut App| {
            tick += 1;
            faces.send(1, "Ann", performance.frame_at(Duration::from_millis(16 * tick)));
            app.update();
        };
        for _ in 0..60 {
            update(&mut app);
        }
        group.bench_function(BenchmarkId::new("avatars", avatars), |b| b.iter(|| update(&mut app)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = drive
}
criterion_main!(benches);
