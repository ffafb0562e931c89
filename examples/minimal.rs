//! The minimal app with a live face: one plugin, one component.

use bevy::{prelude::*, world_serialization::WorldAssetRoot};
use bevy_facelink::prelude::*;

fn main() {
    App::new()
        .add_plugins((DefaultPlugins, FaceLinkPlugin::default()))
        .add_systems(Startup, |mut commands: Commands, assets: Res<AssetServer>| {
            commands.spawn((WorldAssetRoot(assets.load("avatars/aria.glb#Scene0")), FaceAvatar::default()));
            commands.spawn((
                DirectionalLight { illuminance: 3000.0, ..default() },
                Transform::from_xyz(-1.0, 1.5, 2.0).looking_at(Vec3::ZERO, Vec3::Y),
            ));
            commands
                .spawn((Camera3d::default(), Transform::from_xyz(0.0, 0.27, 0.9).looking_at(Vec3::Y * 0.25, Vec3::Y)));
        })
        .run();
}
