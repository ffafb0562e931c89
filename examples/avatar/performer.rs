//! The built-in performer: on stage while nobody real is.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_facelink::{
    FaceLinkEndpoint, FaceSubject, FaceSubjects, LinkQuality,
    core::{
        link::{Client, ClientConfig},
        performer::Performance,
    },
};

/// The performer's name among the subjects.
pub const NAME: &str = "Performer";

/// Streams the built-in performance while no other face is there.
pub struct PerformerPlugin;

/// A performer that is on stage.
#[derive(Resource)]
pub struct OnStage {
    // Dropping it ends the stream and its connection.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Plugin for PerformerPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(Update, step_in_or_back);
    }
}

fn step_in_or_back(
    mut commands: Commands,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    on_stage: Option<Res<OnStage>>,
    subjects: Res<FaceSubjects>,
    faces: Query<(&FaceSubject, &LinkQuality)>,
) {
    let Some(endpoint) = endpoint else { return };
    // A connected face that has been silent for a while has left the stage, too.
    let real = subjects.iter().any(|(name, entity)| {
        name != NAME && faces.get(entity).is_ok_and(|(face, link)| !face.leaving && link.age_ms < 2000.0)
    });
    match (real, on_stage.is_some()) {
        (true, true) => {
            info!("a real face is here: the performer steps back");
            commands.remove_resource::<OnStage>();
        }
        (false, false) => {
            let Some(runtime) = endpoint.runtime() else { return };
            let url = format!("ws://127.0.0.1:{}", endpoint.addresses().http.port());
            let client = Client::start(ClientConfig::new(url).subject(NAME), runtime);
            let (stop, stopped) = tokio::sync::oneshot::channel();
            runtime.spawn(perform(client, stopped));
            commands.insert_resource(OnStage { _stop: stop });
        }
        _ => {}
    }
}

async fn perform(client: Client, mut stopped: tokio::sync::oneshot::Receiver<()>) {
    let performance = Performance::new(1);
    let start = Instant::now();
    let mut next = tokio::time::Instant::now();
    loop {
        client.send(performance.frame_at(start.elapsed()));
        // As fast as the engine asks for.
        next += Duration::from_secs_f32(1.0 / client.target_fps().clamp(1.0, 240.0));
        tokio::select! {
            _ = &mut stopped => return,
            () = tokio::time::sleep_until(next) => {}
        }
    }
}
