//! Connections of every kind that come and go, politely, cut off or silent, leave nothing behind.
//!
//! One test alone, for it counts what the whole process holds. `facelink-lab cycles` does the same with processes, over
//! more cycles.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fmt::Debug,
    net::UdpSocket,
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{Blendshape, FaceFrame, wire::json::write_arkit_data};
use facelink_net::{Client, ClientConfig, Endpoint, EndpointConfig, SourceKind, SubjectFrame};
use serde_json::{Value, json};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
};
use webrtc::{
    data_channel::{DataChannel, RTCDataChannelInit},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceGatheringState, RTCSessionDescription,
    },
};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(60);
const FRAME: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    WebSocket,
    WebRtc,
    Offer,
    Udp,
    Room,
    Outward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Polite,
    /// Its sockets are closed without a word.
    Cut,
    /// It does nothing any more, and its sockets stay open.
    Silent,
}

const TRANSPORTS: [Transport; 6] =
    [Transport::WebSocket, Transport::WebRtc, Transport::Offer, Transport::Udp, Transport::Room, Transport::Outward];
const ENDS: [End; 3] = [End::Polite, End::Cut, End::Silent];

fn start() -> Endpoint {
    let config = EndpointConfig {
        port: 0,
        udp_json: Some(0),
        reconnect_grace: Duration::from_secs(1),
        subject_timeout: Duration::from_secs(1),
        ..EndpointConfig::default()
    };
    Endpoint::start(config).expect("an endpoint")
}

fn url(endpoint: &Endpoint) -> String {
    format!("ws://{}", endpoint.addresses().http)
}

/// Runs only while it is waited for, so that it can fall silent.
fn slow_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn face(number: u64) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, (number % 100) as f32 / 100.0);
    frame
}

fn until(what: &impl Debug, mut done: impl FnMut(u64) -> bool) {
    let end = Instant::now() + LIMIT;
    for number in 1.. {
        if done(number) {
            return;
        }
        assert!(Instant::now() < end, "not in time: {what:?}");
    }
}

fn has_arrived(endpoint: &Endpoint, wanted: impl Fn(&SubjectFrame) -> bool) -> bool {
    endpoint.frames().try_iter().any(|frame| wanted(&frame))
}

fn pause(runtime: &Runtime) {
    runtime.block_on(async { tokio::time::sleep(FRAME).await });
}

/// What must come back to where it was: tasks, descriptors, subjects, connections.
fn held(endpoint: &Endpoint) -> (usize, usize, usize, usize) {
    let tasks = endpoint.runtime().expect("runs").metrics().num_alive_tasks();
    let stats = endpoint.stats();
    // None where there is no such directory.
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (tasks, descriptors, stats.subjects.len(), stats.connections)
}

/// What stays until the end of the round, with its sockets open.
type Silent = Vec<(Option<Runtime>, Box<dyn std::any::Any>)>;

fn cycle(endpoint: &Endpoint, transport: Transport, end: End, number: usize, silent: &mut Silent) {
    let name = format!("{transport:?} {end:?} {number}");
    match transport {
        Transport::WebSocket | Transport::WebRtc => client(endpoint, transport, end, &name, silent),
        Transport::Offer => offer(endpoint, end, &name, silent),
        Transport::Udp => {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let to = endpoint.addresses().udp_json.expect("listens");
            let mut text = String::new();
            until(&name, |number| {
                write_arkit_data(&mut text, &face(number), Some(&name), None);
                socket.send_to(text.as_bytes(), to).expect("sent");
                std::thread::sleep(FRAME);
                has_arrived(endpoint, |frame| *frame.name == *name)
            });
        }
        Transport::Room => room(endpoint, end, &name),
        Transport::Outward => outward(endpoint, end, &name),
    }
}

fn client(endpoint: &Endpoint, transport: Transport, end: End, name: &str, silent: &mut Silent) {
    let runtime = slow_runtime();
    let config =
        ClientConfig { webrtc: transport == Transport::WebRtc, ..ClientConfig::new(url(endpoint)) }.subject(name);
    let client = Client::start(config, runtime.handle());
    let wanted = if transport == Transport::WebRtc { SourceKind::WebRtc } else { SourceKind::WebSocket };
    until(&name, |number| {
        client.send(face(number));
        pause(&runtime);
        has_arrived(endpoint, |frame| *frame.name == *name && frame.source == wanted)
    });
    match end {
        End::Polite => {
            let id = client.stats().connection_id.expect("welcome");
            drop(client);
            until(&name, |_| {
                pause(&runtime);
                endpoint.connections().iter().all(|connection| connection.connection_id != id)
            });
        }
        End::Cut => {
            drop(runtime);
            drop(client);
        }
        End::Silent => silent.push((Some(runtime), Box::new(client))),
    }
}

struct Handler(mpsc::UnboundedSender<()>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(());
        }
    }
}

async fn open_peer() -> (Arc<dyn PeerConnection>, Arc<dyn DataChannel>, String) {
    let (gathered, mut complete) = mpsc::unbounded_channel();
    let connection: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_handler(Arc::new(Handler(gathered)))
            .with_udp_addrs(vec!["127.0.0.1:0"])
            .build()
            .await
            .expect("a connection"),
    );
    let init = RTCDataChannelInit { ordered: false, max_retransmits: Some(0), ..RTCDataChannelInit::default() };
    let channel = connection.create_data_channel("any", Some(init)).await.expect("a channel");
    let offer = connection.create_offer(None).await.expect("an offer");
    connection.set_local_description(offer).await.expect("taken");
    complete.recv().await.expect("gathered");
    let sdp = connection.local_description().await.expect("described").sdp;
    (connection, channel, sdp)
}

/// A peer without a WebSocket, that knows nothing but `POST /api/v1/rtc/offer`.
fn offer(endpoint: &Endpoint, end: End, name: &str, silent: &mut Silent) {
    let runtime = slow_runtime();
    let (connection, channel, sdp) = runtime.block_on(open_peer());
    let url = format!("http://{}/api/v1/rtc/offer", endpoint.addresses().http);
    let answer: Value = ureq::post(&url)
        .send_json(json!({"type": "offer", "sdp": sdp}))
        .expect("answered")
        .body_mut()
        .read_json()
        .expect("JSON");
    let answer =
        RTCSessionDescription::answer(answer["sdp"].as_str().expect("text").to_owned()).expect("a description");
    runtime.block_on(connection.set_remote_description(answer)).expect("taken");
    let mut text = String::new();
    until(&name, |number| {
        write_arkit_data(&mut text, &face(number), Some(name), None);
        runtime.block_on(async {
            // Wakes the crate's driver, which sleeps too long while it connects; sending fails until it is open.
            let _ = channel.set_buffered_amount_high_threshold(u32::MAX).await;
            let _ = channel.try_send_text(&text).await;
        });
        pause(&runtime);
        has_arrived(endpoint, |frame| *frame.name == *name && frame.source == SourceKind::WebRtc)
    });
    match end {
        End::Polite => runtime.block_on(async {
            drop(channel);
            connection.close().await.expect("closed");
        }),
        End::Cut => drop(runtime),
        End::Silent => silent.push((Some(runtime), Box::new((connection, channel)))),
    }
}

/// Two games meet in a room of the endpoint and connect directly.
fn room(endpoint: &Endpoint, end: End, name: &str) {
    let games = [start(), start()];
    let mut clients = Vec::new();
    for (index, game) in games.iter().enumerate() {
        let config = ClientConfig { room: Some("room".to_owned()), ..ClientConfig::new(url(endpoint)) };
        clients.push(game.connect(config.subject(format!("{name} {index}"))).expect("runs"));
    }
    let mut heard = [false; 2];
    until(&name, |number| {
        for client in &clients {
            client.send(face(number));
        }
        std::thread::sleep(FRAME);
        for (game, heard) in games.iter().zip(&mut heard) {
            *heard |= has_arrived(game, |frame| frame.source == SourceKind::WebRtc);
        }
        heard == [true; 2]
    });
    if end == End::Polite {
        drop(clients);
        drop(games);
    } else {
        drop(games);
        drop(clients);
    }
}

/// The endpoint dials out itself.
fn outward(endpoint: &Endpoint, end: End, name: &str) {
    let other = start();
    let config = ClientConfig { receive: true, ..ClientConfig::new(url(&other)) }.subject(name);
    let client = endpoint.connect(config).expect("runs");
    let (mut heard, mut was_heard) = (false, false);
    until(&name, |number| {
        other.publish(&format!("other {name}"), &face(number)).expect("taken");
        client.send(face(number));
        std::thread::sleep(FRAME);
        was_heard |= has_arrived(&other, |frame| frame.source == SourceKind::WebRtc);
        heard |= has_arrived(endpoint, |frame| frame.source == SourceKind::WebRtc);
        heard && was_heard
    });
    match end {
        End::Polite => drop(client),
        // Reconnects fail until the client stops.
        End::Cut | End::Silent => {
            drop(other);
            until(&name, |_| {
                std::thread::sleep(FRAME);
                client.stats().transport.is_none()
            });
        }
    }
}

#[test]
fn leak_check_every_transport_and_ending() {
    let endpoint = start();
    let mut silent = Silent::new();
    let tasks = held(&endpoint).0;
    let quiet = |silent: &mut Silent, wanted: Option<(usize, usize, usize, usize)>| {
        let end = Instant::now() + LIMIT;
        loop {
            endpoint.frames().try_iter().for_each(drop);
            let now = held(&endpoint);
            if (now.2, now.3) == (0, 0) {
                // All are closed, though their sockets are still there.
                silent.clear();
            }
            if wanted.map_or((now.0, now.2, now.3) == (tasks, 0, 0), |wanted| now == wanted) {
                return now;
            }
            assert!(Instant::now() < end, "tasks, descriptors, subjects, connections: {now:?}, not {wanted:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // What is made once and kept, such as a resolver's socket, is no leak.
    for (number, transport) in TRANSPORTS.into_iter().enumerate() {
        cycle(&endpoint, transport, End::Polite, number, &mut silent);
    }
    let before = quiet(&mut silent, None);
    for number in 0..30 {
        let (transport, end) = (TRANSPORTS[number % TRANSPORTS.len()], ENDS[(number / TRANSPORTS.len()) % ENDS.len()]);
        cycle(&endpoint, transport, end, number + 100, &mut silent);
    }
    let after = quiet(&mut silent, Some(before));
    assert_eq!((after, after.0), (before, tasks));
}
