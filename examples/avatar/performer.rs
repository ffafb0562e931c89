//! The built-in performer.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_facelink::{
    FaceLinkEndpoint,
    facelink::{FaceFrame, performer::Performance},
};
use facelink_net::{Client, ClientConfig};

/// The performer's name among the subjects.
pub const NAME: &str = "Performer";
/// A face that has sent nothing for this long counts as gone, milliseconds.
pub const SILENT_MS: f32 = 2000.0;

/// A performer that streams.
#[derive(Resource)]
pub struct PerformerStream {
    // Dropping it ends the stream and its connection.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl PerformerStream {
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

/// Streams a face into an endpoint until the endpoint ends, as a phone would.
pub fn stream(
    endpoint: &FaceLinkEndpoint,
    name: impl Into<String>,
    face: impl Fn(Duration) -> FaceFrame + Send + 'static,
) {
    let Some(runtime) = endpoint.runtime() else { return };
    let url = format!("ws://127.0.0.1:{}", endpoint.addresses().http.port());
    let client = Client::start(ClientConfig::new(url).subject(name), runtime);
    runtime.spawn(async move {
        let start = Instant::now();
        loop {
            client.send(face(start.elapsed()));
            tokio::time::sleep(Duration::from_secs_f32(1.0 / client.target_fps().clamp(1.0, 240.0))).await;
        }
    });
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
