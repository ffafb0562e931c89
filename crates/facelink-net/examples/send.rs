//! A face from a Rust program: by WebSocket at once, by WebRTC as soon as it answers, and back by itself.
//!
//! `cargo run -p facelink --example send -- [URL [SUBJECT [TOKEN]]]`

use std::time::{Duration, Instant};

use facelink::{Blendshape, FaceFrame};
use facelink_net::{Client, ClientConfig, ClientState};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8765".to_owned());
    let subject = arguments.next().unwrap_or_else(|| "Rust".to_owned());
    let config = ClientConfig { token: arguments.next(), ..ClientConfig::new(url).subject(subject) };
    let client = Client::start(config, &tokio::runtime::Handle::current());

    let start = Instant::now();
    loop {
        let jaw = 0.5 + 0.5 * (4.0 * start.elapsed().as_secs_f32()).sin();
        let mut frame = FaceFrame::default();
        frame.set(Blendshape::JawOpen, jaw);
        frame.set(Blendshape::MouthClose, 1.0 - jaw);
        // Never waits: a frame that has not left when the next one comes is replaced by it.
        client.send(frame);
        if let ClientState::Refused(error) = client.state() {
            return Err(error.into());
        }
        tokio::time::sleep(Duration::from_secs_f32(1.0 / client.target_fps())).await;
    }
}
