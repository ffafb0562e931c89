//! The built-in performer: on stage while nobody real is.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_facelink::{
    FaceAvatar, FaceLinkEndpoint, FaceSubject, FaceSubjects, LinkQuality,
    core::{
        link::{Client, ClientConfig},
        performer::Performance,
    },
};

/// The performer's name among the subjects.
pub const NAME: &str = "Performer";
/// A face that has sent nothing for this long has left the stage, milliseconds.
pub const SILENT_MS: f32 = 2000.0;

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
    mut avatars: Query<&mut FaceAvatar>,
    mut lead: Local<String>,
) {
    let Some(endpoint) = endpoint else { return };
    // A connected face that has been silent for a while has left the stage, too.
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
        info!("on stage: {next}");
        next.clone_into(&mut lead);
        for mut avatar in &mut avatars {
            avatar.subject = Some(next.to_owned());
        }
    }
    match (real.is_some(), on_stage.is_some()) {
        (true, true) => commands.remove_resource::<OnStage>(),
        (false, false) => {
            if let Some(performer) = OnStage::start(&endpoint, 1) {
                commands.insert_resource(performer);
            }
        }
        _ => {}
    }
}

impl OnStage {
    /// Streams the performance of this seed into an endpoint, until it is dropped.
    pub fn start(endpoint: &FaceLinkEndpoint, seed: u64) -> Option<Self> {
        let runtime = endpoint.runtime()?;
        let url = format!("ws://127.0.0.1:{}", endpoint.addresses().http.port());
        let client = Client::start(ClientConfig::new(url).subject(NAME), runtime);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        runtime.spawn(perform(client, Performance::new(seed), stopped));
        Some(Self { _stop: stop })
    }
}

async fn perform(client: Client, performance: Performance, mut stopped: tokio::sync::oneshot::Receiver<()>) {
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
