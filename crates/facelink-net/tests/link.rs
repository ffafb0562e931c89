//! An endpoint over real sockets on loopback: WebSocket, WebRTC, UDP, all at once, and against a hostile peer.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, FaceFrame,
    timing::{RateLaw, RateSettings},
    wire::{facelink1, json::write_arkit_data, llf, viseme::Viseme},
};
use facelink_net::{
    Client, ClientConfig, ClientState, Emotion, Endpoint, EndpointConfig, LinkEvent, LostReason, SourceKind,
    SubjectFrame,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(20);

fn config() -> EndpointConfig {
    EndpointConfig { port: 0, live_link_face: Some(0), udp_json: Some(0), ..EndpointConfig::default() }
}

fn start() -> Endpoint {
    Endpoint::start(config()).expect("an endpoint on free ports")
}

fn block_on<T>(endpoint: &Endpoint, future: impl Future<Output = T>) -> T {
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("in time") })
}

fn get(endpoint: &Endpoint, path: &str) -> Value {
    let url = format!("http://{}{path}", endpoint.addresses().http);
    ureq::get(&url).call().expect("answers").body_mut().read_json().expect("JSON")
}

fn text(endpoint: &Endpoint, path: &str) -> String {
    let url = format!("http://{}{path}", endpoint.addresses().http);
    ureq::get(&url).call().expect("answers").body_mut().read_to_string().expect("text")
}

fn wait_frame(endpoint: &Endpoint, mut wanted: impl FnMut(&SubjectFrame) -> bool) -> SubjectFrame {
    let end = Instant::now() + LIMIT;
    loop {
        let frame = endpoint.frames().recv_deadline(end).expect("the frame in time");
        if wanted(&frame) {
            return frame;
        }
    }
}

fn wait_event(endpoint: &Endpoint, mut wanted: impl FnMut(&LinkEvent) -> bool) -> LinkEvent {
    let end = Instant::now() + LIMIT;
    loop {
        let event = endpoint.events().recv_deadline(end).expect("the event in time");
        if wanted(&event) {
            return event;
        }
    }
}

fn jaw(weight: f32) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, weight);
    frame
}

fn jaw_of(frame: &SubjectFrame) -> f32 {
    frame.frame.weights[Blendshape::JawOpen.index()]
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() < 1e-3
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(address: SocketAddr, path: &str) -> Socket {
    tokio_tungstenite::connect_async(format!("ws://{address}{path}")).await.expect("a WebSocket").0
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.expect("sent");
}

/// The next message of a type, whatever comes before it.
async fn hear(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let message = socket.next().await.expect("open").expect("good");
        if let Message::Text(text) = message {
            let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
            if value["type"] == kind {
                return value;
            }
        }
    }
}

#[test]
fn websocket_and_http_messages() {
    let endpoint = start();
    block_on(&endpoint, async {
        let mut socket = open(endpoint.addresses().http, "/ws").await;
        say(&mut socket, json!({"type": "hello", "subject": "Ann", "client": "test"})).await;
        let welcome = hear(&mut socket, "welcome").await;
        assert!(welcome["connection_id"].is_string() && welcome["version"].is_string());
        assert_eq!(welcome["ice_servers"], json!([]));

        say(
            &mut socket,
            json!({"type": "arkit_data", "blendshapes": {"jawOpen": 0.5, "tail": 0.25, "eyeBlinkLeft": 9}}),
        )
        .await;
        let frame = wait_frame(&endpoint, |_| true);
        assert_eq!((&*frame.name, frame.source), ("Ann", SourceKind::WebSocket));
        assert_eq!(jaw_of(&frame), 0.5);
        assert_eq!(frame.frame.weights[Blendshape::EyeBlinkLeft.index()], 2.0, "clamped");

        say(&mut socket, json!({"type": "ping", "t": 12.5})).await;
        let pong = hear(&mut socket, "pong").await;
        assert_eq!(pong["t"], 12.5);
        assert!(pong["server_time"].as_f64().expect("a number") > 1e12);

        say(&mut socket, json!({"type": "arkit_data", "blendshapes": {"jawOpen": "wide"}})).await;
        let error = hear(&mut socket, "error").await;
        assert_eq!(error["code"], "bad_field");
        assert!(error["message"].as_str().expect("text").contains("blendshapes.jawOpen"), "{error}");

        say(&mut socket, json!({"type": "schema", "names": ["mouthClose", "tail"]})).await;
        let floats: Vec<u8> = [0.75_f32, 0.5].iter().flat_map(|value| value.to_le_bytes()).collect();
        socket.send(Message::binary(floats)).await.expect("sent");
        let frame = wait_frame(&endpoint, |frame| frame.frame.weights[Blendshape::MouthClose.index()] == 0.75);
        assert_eq!(frame.frame.channels.iter().find(|c| &*c.name == "tail").map(|c| c.value), Some(0.5));

        say(
            &mut socket,
            json!({"type": "batch_update", "updates": [
                {"type": "arkit_data", "blendshapes": {"jawOpen": 0.1}, "subject": "Bob"},
                {"type": "arkit_data", "blendshapes": {"jawOpen": 0.2}, "subject": "Bob"},
            ]}),
        )
        .await;
        wait_frame(&endpoint, |frame| &*frame.name == "Bob" && near(jaw_of(frame), 0.2));

        say(
            &mut socket,
            json!({"type": "viseme_data", "viseme": "aa", "weight": 1.0, "duration_ms": 5, "subject": "Vi"}),
        )
        .await;
        wait_frame(&endpoint, |frame| &*frame.name == "Vi" && near(jaw_of(frame), 0.6));
        wait_frame(&endpoint, |frame| &*frame.name == "Vi" && jaw_of(frame) == 0.0);

        say(&mut socket, json!({"type": "get_stats"})).await;
        let stats = hear(&mut socket, "stats").await;
        assert_eq!(stats["state"], "connected");
        assert_eq!(stats["transport"], "websocket");
        assert_eq!(stats["data_channel_state"], "none");
        assert_eq!(stats["message_count"], 9);
        assert_eq!(stats["refused"], 1);
    });

    let subjects = get(&endpoint, "/api/v1/subjects");
    let names: Vec<_> = subjects["subjects"].as_array().expect("a list").iter().map(|s| s["name"].clone()).collect();
    assert_eq!(names, ["Ann", "Bob", "Vi"]);
    assert_eq!(subjects["subjects"][0]["source"], "websocket");
    assert_eq!(subjects["subjects"][0]["blendshapes"]["mouthClose"], 0.75);
    assert_eq!(subjects["subjects"][0]["blendshapes"]["tail"], 0.5);
    let health = get(&endpoint, "/api/v1/health");
    assert_eq!(health["status"], "healthy");
    assert!(health["uptime_seconds"].as_f64().expect("a number") >= 0.0);
    let stats = get(&endpoint, "/api/v1/stats");
    assert_eq!(stats["refused"], 1);
    assert!(
        text(&endpoint, "/metrics").contains("facelink_subject_frames_total{subject=\"Ann\",source=\"websocket\"} 2")
    );
    assert!(text(&endpoint, "/").contains("<!doctype html") || text(&endpoint, "/").contains("<!DOCTYPE html"));
    assert!(text(&endpoint, "/facelink.js").contains("FacialAnimationWebRTCClient"));
}

#[test]
fn client_upgrade_to_webrtc_keeps_subject() {
    let endpoint = start();
    let url = format!("ws://{}", endpoint.addresses().http);
    let client = Client::start(ClientConfig::new(url).subject("Ann"), endpoint.runtime().expect("runs"));
    block_on(&endpoint, client.wait_for(|state| *state == ClientState::Connected(SourceKind::WebRtc)));
    let mut weight = 0.0;
    let frame = loop {
        // A frame may be lost between the transports; a face keeps coming.
        weight += 0.01;
        client.send(jaw(weight));
        if let Ok(frame) = endpoint.frames().recv_timeout(Duration::from_millis(50))
            && frame.source == SourceKind::WebRtc
        {
            break frame;
        }
        assert!(weight < 10.0, "no frame over WebRTC");
    };
    assert_eq!(&*frame.name, "Ann");
    assert_eq!(endpoint.stats().subjects.len(), 1);
    let stats = get(&endpoint, "/api/v1/stats");
    assert_eq!(stats["connections"][0]["transport"], "webrtc");
    assert_eq!(stats["connections"][0]["data_channel_state"], "open");

    drop(client);
    let lost = wait_event(&endpoint, |event| matches!(event, LinkEvent::SubjectLost { .. }));
    assert!(matches!(lost, LinkEvent::SubjectLost { name, reason: LostReason::Disconnected, .. } if &*name == "Ann"));
    assert_eq!(get(&endpoint, "/api/v1/subjects")["subjects"], json!([]));
}

/// Some browsers keep the first pair that works.
#[test]
fn candidates_for_tcp_come_after_udp_had_its_time() {
    let ice = facelink_net::IceConfig { tcp_loopback: true, ..Default::default() };
    let endpoint = Endpoint::start(EndpointConfig { ice, ..config() }).expect("an endpoint");
    let address = endpoint.addresses().http;
    let (kinds, waited) = block_on(&endpoint, async move {
        let mut socket = open(address, "/").await;
        say(&mut socket, json!({"type": "request_offer"})).await;
        hear(&mut socket, "offer").await;
        let (asked, mut waited, mut kinds) = (Instant::now(), Duration::ZERO, Vec::new());
        loop {
            let message = hear(&mut socket, "ice_candidate").await;
            let Some(candidate) = message["candidate"]["candidate"].as_str() else { return (kinds, waited) };
            let kind = candidate.split(' ').nth(2).expect("a protocol").to_lowercase();
            if kind == "tcp" && waited.is_zero() {
                waited = asked.elapsed();
            }
            kinds.push(kind);
        }
    });
    let first = kinds.iter().position(|kind| kind == "tcp").unwrap_or_else(|| panic!("none for TCP: {kinds:?}"));
    assert!(first > 0 && kinds[first..].iter().all(|kind| kind == "tcp"), "{kinds:?}");
    assert!(waited > Duration::from_secs(1), "{waited:?}");
}

#[test]
fn datagrams_of_phones_and_legacy_senders() {
    let endpoint = start();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let phone = endpoint.addresses().live_link_face.expect("listens");
    let profile = llf::PROFILE;
    let mut bytes = Vec::new();
    let mut send = |device: &str, number: i32, frame: FaceFrame| {
        let packet = llf::LlfPacket::new(device, "iPhone", number, frame);
        bytes.clear();
        llf::encode(&packet, &profile, &mut bytes).expect("encodes");
        socket.send_to(&bytes, phone).expect("sent");
    };
    send("one", 1, jaw(0.25));
    let frame = wait_frame(&endpoint, |_| true);
    assert_eq!((&*frame.name, frame.source), ("iPhone", SourceKind::LiveLinkFace));
    assert_eq!(jaw_of(&frame), 0.25);
    send("two", 1, jaw(0.5));
    assert_eq!(&*wait_frame(&endpoint, |frame| jaw_of(frame) == 0.5).name, "iPhone (2)", "another phone of that name");
    send("one", 2, FaceFrame { tracked: false, ..FaceFrame::default() });
    let lost = wait_frame(&endpoint, |frame| !frame.frame.tracked);
    assert_eq!((&*lost.name, jaw_of(&lost)), ("iPhone", 0.25));

    let old = endpoint.addresses().udp_json.expect("listens");
    for message in [r#"not JSON"#, r#"{"blendshapes":{"jawOpen":0.75},"viseme":"PP","weight":0.5,"subject":"old"}"#] {
        socket.send_to(message.as_bytes(), old).expect("sent");
    }
    let frame = wait_frame(&endpoint, |frame| frame.source == SourceKind::UdpJson);
    assert_eq!((&*frame.name, jaw_of(&frame)), ("old", 0.75));
    assert!(frame.frame.channels.iter().any(|c| &*c.name == "viseme_PP" && c.value == 0.5));
    assert_eq!(endpoint.stats().refused, 1);
}

#[test]
fn phone_silence_is_lost_and_recovers() {
    let endpoint = Endpoint::start(EndpointConfig { subject_timeout: Duration::from_millis(200), ..config() })
        .expect("an endpoint");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let old = endpoint.addresses().udp_json.expect("listens");
    for _ in 0..2 {
        socket.send_to(br#"{"blendshapes":{"jawOpen":1}}"#, old).expect("sent");
        wait_event(&endpoint, |event| matches!(event, LinkEvent::SubjectAppeared { .. }));
        wait_event(&endpoint, |event| matches!(event, LinkEvent::SubjectLost { reason: LostReason::Silent, .. }));
    }
}

#[test]
fn subscription_receives_other_subjects() {
    let endpoint = start();
    block_on(&endpoint, async {
        let mut viewer = open(endpoint.addresses().http, "/").await;
        let mut sender = open(endpoint.addresses().http, "/").await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "Ann", "max_fps": 60})).await;
        say(&mut viewer, json!({"type": "ping", "t": 1})).await;
        hear(&mut viewer, "pong").await;
        say(
            &mut sender,
            json!({"type": "blendshape_update", "data": {"jawOpen": 0.5, "myMorph": 0.25}, "subject": "Ann"}),
        )
        .await;
        let update = hear(&mut viewer, "blendshape_update").await;
        assert_eq!(update["subject"], "Ann");
        assert_eq!(update["data"]["myMorph"], 0.25);
        assert_eq!(update["data"]["jawOpen"], 0.5);
        assert_eq!(update["data"].as_object().expect("an object").len(), 53, "every shape, and the one of its own");
        assert_eq!(update.get("arkit"), None, "it would hold the same once more");
    });
}

#[test]
fn rate_advice_on_a_slow_link() {
    let endpoint = Endpoint::start(EndpointConfig {
        adaptive_fps: RateSettings { law: RateLaw::Guide, ..RateSettings::default() },
        ..config()
    })
    .expect("an endpoint");
    block_on(&endpoint, async {
        let socket = open(endpoint.addresses().http, "/").await;
        let sender = async {
            let mut text = String::new();
            let (mut out, mut incoming) = socket.split();
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                tokio::select! {
                    _ = ticks.tick() => {
                        // Its clock says that every frame took 200 ms.
                        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
                        write_arkit_data(&mut text, &jaw(0.5), Some("slow"), Some(now.as_secs_f64() * 1000.0 - 200.0));
                        out.send(Message::text(text.as_str())).await.expect("sent");
                    }
                    message = incoming.next() => {
                        let message = message.expect("open").expect("good");
                        let Message::Text(text) = message else { continue };
                        let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
                        if value["type"] == "set_rate" {
                            return value["fps"].as_f64().expect("a number");
                        }
                    }
                }
            }
        };
        assert_eq!(sender.await, 55.0);
    });
    let stats = endpoint.stats();
    assert_eq!(stats.subjects[0].target_fps, 55.0);
    assert!((stats.subjects[0].latency_ms.expect("known") - 200.0).abs() < 50.0);
    endpoint.set_rate(stats.subjects[0].id, Some(24.0));
    assert_eq!(endpoint.stats().subjects[0].target_fps, 24.0);
}

/// What a sender hears of frames whose delay is this, at a time in milliseconds, until `done` is content.
fn hears(mut delay_ms: impl FnMut(f64) -> Option<f64>, mut done: impl FnMut(&Value) -> bool) -> Vec<Value> {
    let endpoint = start();
    block_on(&endpoint, async {
        let (mut out, mut incoming) = open(endpoint.addresses().http, "/").await.split();
        let hello = json!({"type": "hello", "subject": "Ann", "reports": true, "binary": "facelink1"});
        out.send(Message::text(hello.to_string())).await.expect("sent");
        let mut encoder = facelink1::Encoder::new();
        let mut ticks = tokio::time::interval(Duration::from_millis(16));
        let (begun, mut heard, mut number) = (Instant::now(), Vec::new(), 0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    let Some(delay) = delay_ms(begun.elapsed().as_secs_f64() * 1000.0) else {
                        number += 1;
                        continue;
                    };
                    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now");
                    let capture_time = Some(now - Duration::from_secs_f64(delay / 1000.0));
                    let frame = FaceFrame { capture_time, sequence: Some(number), ..jaw(0.5) };
                    number += 1;
                    let mut packet = Vec::new();
                    encoder.encode("", &frame, facelink1::Clock::Unix, &mut packet).expect("fits");
                    out.send(Message::binary(packet)).await.expect("sent");
                }
                message = incoming.next() => {
                    let Message::Text(text) = message.expect("open").expect("good") else { continue };
                    let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
                    let end = done(&value);
                    heard.push(value);
                    if end {
                        return heard;
                    }
                }
            }
        }
    })
}

#[test]
fn rate_advice_on_standing_queue_and_long_path() {
    let heard = hears(
        |at| Some(20.0 + (at * 0.1).min(400.0)),
        |message| message["type"] == "set_rate" && message["fps"].as_f64().is_some_and(|fps| fps <= 30.0),
    );
    assert!(heard.iter().any(|message| message["type"] == "report" && message["queue_ms"].as_f64() > Some(10.0)));
    // A machine that stalls for a moment makes a queue of its own; a law that goes by latency throttles every time.
    let steady = (0..3).any(|_| {
        let mut reports = 0;
        let heard = hears(
            |_| Some(400.0),
            |message| {
                reports += usize::from(message["type"] == "report");
                reports == 15
            },
        );
        for report in heard.iter().filter(|message| message["type"] == "report") {
            assert!(report["ack"].is_u64() && report["subject"].is_null(), "{report}");
        }
        let asked = |message: &Value| message["type"] == "set_rate" || message["fps"].as_f64() < Some(60.0);
        !heard.iter().any(|message| matches!(message["type"].as_str(), Some("report" | "set_rate")) && asked(message))
    });
    assert!(steady, "a latency of 400 ms without a queue is no reason to send less");
}

#[test]
fn rate_advice_on_loss_requests_redundancy() {
    let mut frame = 0;
    let heard = hears(
        move |_| {
            frame += 1;
            (frame % 12 != 0).then_some(20.0)
        },
        |message| message["type"] == "report" && message["redundancy"] == 1,
    );
    let last = heard.last().expect("a report");
    assert!((last["loss"].as_f64().expect("known") - 1.0 / 12.0).abs() < 0.06, "{last}");
}

#[test]
fn admission_token_and_origin() {
    let endpoint =
        Endpoint::start(EndpointConfig { token: Some("secret".to_owned()), ..config() }).expect("an endpoint");
    // Loopback needs no token.
    assert_eq!(get(&endpoint, "/api/v1/subjects")["subjects"], json!([]));
    let address = endpoint.addresses().http;
    let status = |origin: &str| {
        let mut stream = TcpStream::connect(address).expect("connects");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("answered");
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    assert_eq!(status("http://evil.example"), "403");
    assert_eq!(status("http://localhost:3000"), "101");
    assert_eq!(status("null"), "403", "any page can make itself a frame of this origin");
}

#[test]
fn port_release_and_conflict() {
    let first = start();
    let http = first.addresses().http;
    let taken = Endpoint::start(EndpointConfig { port: http.port(), ..config() });
    let message = taken.expect_err("the port is taken").to_string();
    assert!(message.contains(&http.to_string()) && message.contains("`port`"), "{message}");

    let phone = first.addresses().live_link_face.expect("listens");
    let second = Endpoint::start(EndpointConfig { live_link_face: Some(phone.port()), ..config() }).expect("starts");
    assert_eq!(second.addresses().live_link_face, None);
    assert!(second.unavailable()[0].message.contains(&phone.to_string()), "{:?}", second.unavailable());
    drop(second);

    let begun = Instant::now();
    drop(first);
    let again = Endpoint::start(EndpointConfig { port: http.port(), live_link_face: Some(phone.port()), ..config() });
    assert_eq!(again.expect("the ports are free again").addresses().http, http);
    assert!(begun.elapsed() < LIMIT);
}

#[test]
fn hostile_client_leaves_others() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    let phone = endpoint.addresses().live_link_face.expect("listens");
    let runtime = endpoint.runtime().expect("runs").clone();
    let url = format!("ws://{address}");
    let good = Client::start(ClientConfig::new(url).subject("good"), &runtime);
    block_on(&endpoint, good.wait_for(|state| *state == ClientState::Connected(SourceKind::WebRtc)));

    let hostile = std::thread::spawn(move || {
        // Half-open handshakes, and connects that say nothing.
        let mut open = Vec::new();
        for i in 0..1000 {
            if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
                if i % 2 == 0 {
                    let _ = stream.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\n");
                }
                if i % 10 == 0 {
                    open.push(stream);
                }
            }
        }
        // Garbage datagrams.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for i in 0..20_000_u32 {
            let _ = socket.send_to(&i.to_le_bytes().repeat(i as usize % 200), phone);
        }
        open.len()
    });
    let flood = runtime.spawn(async move {
        // Garbage, bombs and a flood over WebSocket.
        let mut socket = open(address, "/").await;
        let bomb = format!("{{\"x\":{}", "[".repeat(10_000));
        let large = format!("{{\"type\":\"arkit_data\",\"blendshapes\":{{}},\"x\":\"{}\"}}", "y".repeat(100_000));
        for i in 0..20_000 {
            let message = match i % 5 {
                0 => Message::text(bomb.as_str()),
                1 => Message::text(r#"{"type":"arkit_data","blendshapes":{"jawOpen":NaN}}"#),
                2 => Message::binary(vec![0xff; 208]),
                3 => Message::text(r#"{"type":"offer","sdp":"v=0"}"#),
                _ if i == 4 => Message::text(large.as_str()),
                _ => Message::text(r#"{"type":"arkit_data","blendshapes":{"jawOpen":1},"subject":"bad"}"#),
            };
            if socket.send(message).await.is_err() {
                return;
            }
        }
    });

    let mut weight = 0.0;
    let mut heard = 0;
    while heard < 100 || !hostile.is_finished() {
        weight = (weight + 0.001) % 1.0;
        good.send(jaw(weight));
        let wait = Duration::from_millis(15);
        if let Ok(frame) = endpoint.frames().recv_timeout(wait) {
            heard += usize::from(&*frame.name == "good" && frame.source == SourceKind::WebRtc);
        }
    }
    assert!(hostile.join().expect("no panic") > 0);
    assert_eq!(good.state(), ClientState::Connected(SourceKind::WebRtc), "it never moved");
    // A new client is accepted, too.
    let newcomer = Client::start(ClientConfig::new(format!("ws://{address}")).subject("new"), &runtime);
    block_on(&endpoint, newcomer.wait_for(|state| matches!(state, ClientState::Connected(_))));
    flood.abort();
    assert!(endpoint.stats().refused > 1000, "{:?}", endpoint.stats());
}

#[test]
fn client_sends_visemes_and_emotions() {
    let endpoint = start();
    let url = format!("ws://{}", endpoint.addresses().http);
    let client = Client::start(ClientConfig::new(url).subject("Ann"), endpoint.runtime().expect("runs"));
    // Before there is a connection, too.
    let happy =
        Emotion { name: "happy".into(), intensity: 0.75, fade: Some(Duration::from_millis(300)), duration: None };
    client.set_emotion(Some("Npc"), &happy);
    let event = wait_event(&endpoint, |event| matches!(event, LinkEvent::Emotion { .. }));
    assert!(matches!(event, LinkEvent::Emotion { name, emotion, .. } if &*name == "Npc" && emotion == happy));

    let mut face = FaceFrame::neutral();
    face.set(Blendshape::BrowInnerUp, 0.5);
    client.send(face);
    wait_frame(&endpoint, |frame| &*frame.name == "Ann" && frame.frame.weights[Blendshape::BrowInnerUp.index()] > 0.4);
    client.say(None, Viseme::Aa, 0.5, None);
    let frame = wait_frame(&endpoint, |frame| frame.speech.is_some());
    let speech = frame.speech.expect("it speaks");
    assert_eq!((&*frame.name, speech.viseme, speech.weight), ("Ann", Viseme::Aa, 0.5));
    let jaw = Blendshape::JawOpen.index();
    assert!(
        (frame.frame.weights[jaw] - 0.3).abs() < 1e-3 && speech.weights[jaw] == 0.0,
        "the face is separate from the viseme"
    );
    client.say(None, Viseme::Sil, 0.0, Some(Duration::from_millis(20)));
    wait_frame(&endpoint, |frame| frame.speech.is_none());
}

#[test]
fn faces_and_takes_are_put_on_one_timecode() {
    use facelink::{
        ltc::{Timebase, Timecode},
        take::{FrameRate, TakeReader},
    };
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = Endpoint::start(EndpointConfig { takes: folder.path().to_owned(), ..config() }).expect("starts");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    let to = endpoint.addresses().udp_json.expect("listens");
    let send = |jaw: f32| {
        let text = json!({"type": "arkit_data", "subject": "Ann", "blendshapes": {"jawOpen": jaw}});
        socket.send_to(text.to_string().as_bytes(), to).expect("sent");
    };
    send(0.1);
    let own = wait_frame(&endpoint, |_| true);
    let rate: FrameRate = "29.97".parse().expect("a rate");
    let input = endpoint.timecode_input(false);
    let ten: Timecode = "10:00:00;00".parse().expect("a timecode");
    let at = Instant::now();
    input.set(Some(Timebase::new(at, ten.time(rate), rate)));
    let shown = endpoint.stats().timecode.expect("a timecode");
    assert!(shown.timecode.starts_with("10:00:") && shown.timecode.contains(';') && shown.rate == rate, "{shown:?}");
    let take = endpoint.start_take(facelink_net::TakeOptions::default()).expect("a take");
    send(0.2);
    let put = wait_frame(&endpoint, |frame| jaw_of(frame) > 0.15);
    let (before, after) = (own.stamp.expect("a stamp"), put.stamp.expect("a stamp"));
    // Its moment of capture is where it was on our clock, and has the timecode of then.
    let since_ten = Duration::from_micros(after.capture_us.unsigned_abs()).saturating_sub(ten.time(rate));
    assert!(since_ten <= put.received.saturating_duration_since(at), "{after:?}");
    assert_eq!(put.frame.capture_time, Some(Duration::from_micros(after.capture_us.unsigned_abs())));
    assert_ne!(before.epoch, after.epoch, "another clock");
    // A frame with a time of its own stays on it, unless all are asked for.
    let face = FaceFrame { capture_time: Some(Duration::from_secs(5)), sequence: Some(1), ..jaw(0.3) };
    let client = Client::start(
        ClientConfig {
            webrtc: false,
            ..ClientConfig::new(format!("ws://{}", endpoint.addresses().http)).subject("Bob")
        },
        endpoint.runtime().expect("runs"),
    );
    let timed = loop {
        client.send(face.clone());
        match endpoint.frames().recv_timeout(Duration::from_millis(20)) {
            Ok(frame) if &*frame.name == "Bob" => break frame,
            _ => continue,
        }
    };
    let is_on = |frame: &SubjectFrame| frame.stamp.is_some_and(|stamp| stamp.epoch >= 1 << 16);
    assert!(is_on(&put) && (timed.frame.capture_time.is_none() || !is_on(&timed)), "{timed:?}");
    endpoint.stop_take().expect("a take");
    let reader = TakeReader::open(std::fs::File::open(&take.file).expect("a file")).expect("a take");
    assert!(
        reader.about().timecode.as_deref().is_some_and(|timecode| timecode.starts_with("10:00:")),
        "{:?}",
        reader.about()
    );
    assert_eq!(reader.about().timecode_rate.as_deref(), Some("29.970"));
    drop(input);
    assert!(endpoint.stats().timecode.is_none());
}
