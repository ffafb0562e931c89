//! Viewers and publishers of a relay that come and go leave nothing behind.
//!
//! One test alone, for it counts what the whole process holds.

#![cfg(all(feature = "http", target_os = "linux"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, FaceFrame,
    wire::facelink1::{self, delta::compact::CompactDecoder},
};
use facelink_net::{Endpoint, EndpointConfig};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const LIMIT: Duration = Duration::from_secs(120);
const ROUNDS: u64 = 40;
/// Rounds after which what is kept for good is there.
const WARM_UP: u64 = 10;

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(address: SocketAddr, messages: &[Value]) -> Socket {
    let mut socket = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.expect("a WebSocket").0;
    for message in messages {
        socket.send(Message::text(message.to_string())).await.expect("sent");
    }
    socket
}

async fn next_binary(socket: &mut Socket) -> Vec<u8> {
    loop {
        if let Message::Binary(bytes) = socket.next().await.expect("open").expect("good") {
            return bytes.to_vec();
        }
    }
}

/// Descriptors of the process, and its memory in KiB.
fn held() -> (usize, usize) {
    let files = std::fs::read_dir("/proc/self/fd").expect("lists").count();
    let status = std::fs::read_to_string("/proc/self/status").expect("reads");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    (files, memory.trim().trim_end_matches(" kB").parse().expect("a number"))
}

/// Publishers and viewers of one round: plain ones, some that acknowledge, and some that are cut off.
async fn round(address: SocketAddr, number: u64) {
    let hello = json!({"type": "hello", "subject": "p", "binary": "facelink1"});
    let mut publishers = Vec::new();
    for _ in 0..2 {
        publishers.push(open(address, std::slice::from_ref(&hello)).await);
    }
    let mut viewers = Vec::new();
    for (delta, subject) in [(false, "*"), (true, "*"), (true, "face-1*"), (false, "nobody")] {
        let subscribe = json!({"type": "subscribe", "subject": subject, "binary": "facelink1", "delta": delta});
        viewers.push((open(address, &[subscribe]).await, CompactDecoder::new()));
    }
    for step in 0..6_u64 {
        for (place, publisher) in publishers.iter_mut().enumerate() {
            let mut bytes = Vec::new();
            let mut frame = FaceFrame { sequence: Some(number * 100 + step), ..FaceFrame::neutral() };
            frame.set(Blendshape::JawOpen, 0.1 * step as f32);
            let name = format!("face-{}{place}", number % 3);
            facelink1::Encoder::new().encode(&name, &frame, facelink1::Clock::Own, &mut bytes).expect("encodes");
            publisher.send(Message::binary(bytes)).await.expect("sent");
        }
        for (viewer, decoder) in &mut viewers[..2] {
            let bytes = next_binary(viewer).await;
            if CompactDecoder::is_compact(&bytes) {
                let read = decoder.decode(&bytes, &mut facelink1::Decoder::new(), |_| {}).expect("a bundle");
                let ack = json!({"type": "ack", "packets": [read.packet]});
                viewer.send(Message::text(ack.to_string())).await.expect("sent");
            }
        }
    }
    // Half of them say goodbye.
    for (place, mut socket) in publishers.into_iter().chain(viewers.into_iter().map(|(viewer, _)| viewer)).enumerate() {
        if place % 2 == 0 {
            let _ = socket.close(None).await;
        }
    }
}

#[test]
fn relay_joins_and_leaves_leave_nothing_behind() {
    let config = EndpointConfig {
        port: 0,
        reconnect_grace: Duration::from_millis(100),
        subject_timeout: Duration::from_millis(300),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let (address, runtime) = (endpoint.addresses().http, endpoint.runtime().expect("it runs").clone());
    let begin = Instant::now();
    let empty = || loop {
        let (relay, subjects) = (endpoint.stats().relay, endpoint.stats().subjects.len());
        if (relay.viewers, relay.faces, relay.subscriptions, subjects, endpoint.connections().len()) == (0, 0, 0, 0, 0)
        {
            break;
        }
        assert!(begin.elapsed() < LIMIT, "{relay:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut before = None;
    for number in 0..ROUNDS {
        if number == WARM_UP {
            empty();
            before = Some((runtime.metrics().num_alive_tasks(), held()));
        }
        runtime.block_on(async { tokio::time::timeout(LIMIT, round(address, number)).await.expect("in time") });
    }
    empty();
    let (tasks, (files, memory)) = before.expect("was counted");
    loop {
        let (tasks_now, (files_now, memory_now)) = (runtime.metrics().num_alive_tasks(), held());
        if tasks_now <= tasks && files_now <= files {
            assert!(memory_now < memory + 8 * 1024, "{memory} KiB before, {memory_now} after");
            break;
        }
        assert!(begin.elapsed() < LIMIT, "{tasks} tasks, {files} files before, {tasks_now}, {files_now} after");
        std::thread::sleep(Duration::from_millis(10));
    }
}
