//! What the payloads are compared with: the weights as a replicated component.

use bevy::prelude::*;
use serde::{Deserialize, Serialize};

use crate::face::{Performer, ShownFace};

/// The weights of a face.
#[derive(Component, Serialize, Deserialize)]
pub struct Floats(Vec<f32>);

/// On the server, with every frame.
pub fn replicate_floats<Player: Component>(
    mut performer: ResMut<Performer>,
    player: Single<Entity, With<Player>>,
    mut commands: Commands,
) {
    if let Some(floats) = performer.floats_due() {
        commands.entity(*player).insert(Floats(floats));
    }
}

/// On a client.
pub fn take_floats(mut faces: Query<(&Floats, &mut ShownFace), Changed<Floats>>) {
    for (floats, mut face) in &mut faces {
        face.take_floats(&floats.0);
    }
}
