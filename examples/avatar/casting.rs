//! Which face drives the avatar: a real one, or the built-in performer while there is none.

use bevy::prelude::*;
use bevy_facelink::{FaceAvatar, FaceLinkEndpoint, FaceSubject, FaceSubjects, LinkQuality};

use crate::performer::{NAME, PerformerStream, SILENT_MS};

/// Runs the built-in performer while no other face is there.
pub struct CastingPlugin;

impl Plugin for CastingPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, start_or_stop_performer);
    }
}

fn start_or_stop_performer(
    mut commands: Commands,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    stream: Option<Res<PerformerStream>>,
    subjects: Res<FaceSubjects>,
    faces: Query<(&FaceSubject, &LinkQuality)>,
    mut avatars: Query<&mut FaceAvatar>,
    mut lead: Local<String>,
) {
    let Some(endpoint) = endpoint else { return };
    // A connected face that has been silent for a while counts as gone, too.
    let is_real = |name: &str, entity: Entity| {
        name != NAME && faces.get(entity).is_ok_and(|(face, link)| !face.leaving && link.age_ms < SILENT_MS)
    };
    let current = subjects.get(&lead).filter(|entity| is_real(&lead, *entity)).map(|_| lead.clone());
    let real = current.or_else(|| {
        let (name, _) = subjects.iter().find(|(name, entity)| is_real(name, *entity))?;
        Some(name.to_owned())
    });
    // By name, so that a newcomer does not wait until the performer has said goodbye.
    let next = real.as_deref().unwrap_or(NAME);
    if *lead != next {
        info!("live face: {next}");
        next.clone_into(&mut lead);
        for mut avatar in &mut avatars {
            avatar.subject = Some(next.to_owned());
        }
    }
    match (real.is_some(), stream.is_some()) {
        (true, true) => commands.remove_resource::<PerformerStream>(),
        (false, false) => {
            if let Some(performer) = PerformerStream::start(&endpoint, 1) {
                commands.insert_resource(performer);
            }
        }
        _ => {}
    }
}
