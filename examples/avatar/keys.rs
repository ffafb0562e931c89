//! Keys for a performer: N takes the face of now for neutral, R the head of now for straight ahead, C clears both.

use bevy::prelude::*;
use bevy_facelink::{CaptureNeutral, ClearCalibration, DrivenBy, FaceAvatar, RecentreHead};

/// Listens for the keys.
pub struct KeysPlugin;

impl Plugin for KeysPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, calibrate);
    }
}

fn calibrate(mut commands: Commands, keys: Res<ButtonInput<KeyCode>>, avatars: Query<&DrivenBy, With<FaceAvatar>>) {
    for driven in &avatars {
        let entity = driven.0;
        if keys.just_pressed(KeyCode::KeyN) {
            commands.trigger(CaptureNeutral { entity });
        }
        if keys.just_pressed(KeyCode::KeyR) {
            commands.trigger(RecentreHead { entity });
        }
        if keys.just_pressed(KeyCode::KeyC) {
            commands.trigger(ClearCalibration { entity });
        }
    }
}
