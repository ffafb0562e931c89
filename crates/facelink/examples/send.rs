//! Sends a face from Rust: over the WebSocket at once, over WebRTC as soon as it answers, and again when it breaks.

use std::time::{Duration, Instant};

use facelink::{
    Blendshape, FaceFrame,
    link::{Client, ClientConfig},
};

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8765".to_owned());
    let client = Client::start(ClientConfig::new(url).subject("Rust"), &tokio::runtime::Handle::current());
    let start = Instant::now();
    loop {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, 0.5 + 0.4 * (start.elapsed().as_secs_f32() * 6.0).sin());
        // Never blocks: a frame that could not leave yet is replaced.
        client.send(frame);
        tokio::time::sleep(Duration::from_secs_f32(1.0 / client.target_fps())).await;
    }
}
