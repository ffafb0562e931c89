//! The relay over real sockets: viewers of many faces, late ones, slow ones and hostile ones.

#![cfg(all(feature = "http", feature = "webrtc"))]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, FaceFrame,
    wire::facelink1::{
        self,
        bundle::MAX_BUNDLE,
        delta::compact::{CompactDecoder, Received},
    },
};
use facelink_net::{ClientConfig, Endpoint, EndpointConfig};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(30);

fn start() -> Endpoint {
    Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint on a free port")
}

fn block_on<T>(endpoint: &Endpoint, future: impl Future<Output = T>) -> T {
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("in time") })
}

fn get(endpoint: &Endpoint, path: &str) -> String {
    let url = format!("http://{}{path}", endpoint.addresses().http);
    ureq::get(&url).call().expect("answers").body_mut().read_to_string().expect("text")
}

fn jaw(number: u64, weight: f32) -> FaceFrame {
    let mut frame = FaceFrame { sequence: Some(number), ..FaceFrame::neutral() };
    frame.set(Blendshape::JawOpen, weight);
    frame
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(address: SocketAddr) -> Socket {
    tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.expect("a WebSocket").0
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.expect("sent");
}

/// The next JSON message of a type, whatever comes before it.
async fn hear(socket: &mut Socket, kind: &str) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.expect("open").expect("good") {
            let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
            if value["type"] == kind {
                return value;
            }
        }
    }
}

/// A publisher of many subjects on one connection.
async fn publisher(address: SocketAddr) -> Socket {
    let mut socket = open(address).await;
    say(&mut socket, json!({"type": "hello", "subject": "publisher", "binary": "facelink1"})).await;
    hear(&mut socket, "welcome").await;
    socket
}

async fn publish(socket: &mut Socket, names: &[String], frame: &FaceFrame) {
    for names in names.chunks(8) {
        let faces: Vec<(&str, &FaceFrame)> = names.iter().map(|name| (&**name, frame)).collect();
        let mut bytes = Vec::new();
        facelink1::Encoder::new().encode_many(&faces, facelink1::Clock::Own, &mut bytes).expect("encodes");
        socket.send(Message::binary(bytes)).await.expect("sent");
    }
}

/// The faces of the next binary packet: name, number, jaw.
async fn packet(socket: &mut Socket) -> Vec<(String, u64, f32)> {
    loop {
        if let Message::Binary(bytes) = socket.next().await.expect("open").expect("good") {
            assert!(bytes.len() <= MAX_BUNDLE, "{}", bytes.len());
            let mut faces = Vec::new();
            let each = |face: facelink1::Face<'_>| {
                let jaw = face.frame.weights[Blendshape::JawOpen.index()];
                faces.push((face.subject.to_owned(), face.frame.sequence.expect("a number"), jaw));
            };
            facelink1::Decoder::new().decode(&bytes, each).expect("a packet");
            return faces;
        }
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("face-{i:02}")).collect()
}

/// Waits until the endpoint has so many subjects.
async fn subjects(endpoint: &Endpoint, count: usize) {
    while endpoint.stats().subjects.len() < count {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn relay_late_viewer_has_every_face_in_shared_packets() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut sender = publisher(address).await;
        publish(&mut sender, &names(30), &jaw(7, 0.5)).await;
        subjects(&endpoint, 30).await;
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "face-*", "binary": "facelink1"})).await;
        let (mut seen, mut packets) = (BTreeSet::new(), 0);
        while seen.len() < 30 {
            packets += 1;
            for (name, number, jaw) in packet(&mut viewer).await {
                assert!((jaw - 0.5).abs() < 0.01 && number == 7, "{name}: {number} {jaw}");
                seen.insert(name);
            }
        }
        assert!(packets <= 4, "{packets} packets for 30 faces");

        // One for whom a pattern fits only some, by JSON.
        let mut some = open(address).await;
        say(&mut some, json!({"type": "subscribe", "subject": "face-1*"})).await;
        let mut seen = BTreeSet::new();
        while seen.len() < 10 {
            let update = hear(&mut some, "blendshape_update").await;
            let name = update["subject"].as_str().expect("a name").to_owned();
            assert!(name.starts_with("face-1"), "{name}");
            let open = update["data"]["jawOpen"].as_f64().expect("a number");
            assert!((open - 0.5).abs() < 0.01, "{open}");
            seen.insert(name);
        }
        drop(sender);
        let lost = hear(&mut some, "subject_lost").await;
        assert!(lost["subject"].as_str().expect("a name").starts_with("face-1"), "{lost}");
    });
}

#[test]
fn relay_viewer_without_reading_leaves_the_others_untouched() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut sender = publisher(address).await;
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe", "binary": "facelink1"})).await;
        // Opens the WebSocket by hand, subscribes to everything in the largest format, and never reads.
        let mut stuck = tokio::net::TcpStream::connect(address).await.expect("connects");
        let upgrade = format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stuck.write_all(upgrade.as_bytes()).await.expect("sent");
        let mut answer = [0; 1024];
        let length = stuck.read(&mut answer).await.expect("answers");
        assert!(answer[..length].starts_with(b"HTTP/1.1 101"));
        let subscribe = br#"{"type":"subscribe"}"#;
        let mut frame = vec![0x81, 0x80 | subscribe.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(subscribe);
        stuck.write_all(&frame).await.expect("sent");
        while endpoint.stats().relay.viewers < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let all = names(10);
        for number in 0..300 {
            publish(&mut sender, &all, &jaw(number, 0.25)).await;
            let mut newest = 0;
            while newest < number {
                for (_, number, _) in packet(&mut viewer).await {
                    newest = newest.max(number);
                }
            }
            if number == 5 {
                // Later, it is cut off.
                let stats = endpoint.stats().relay;
                let counts = (stats.viewers, stats.publishers, stats.faces, stats.subscriptions);
                assert_eq!(counts, (2, 1, 10, 20));
            }
        }
    });
}

#[test]
fn relay_hostile_viewer_and_publisher_change_nothing_for_others() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut sender = publisher(address).await;
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "face-0*", "binary": "facelink1"})).await;
        publish(&mut sender, &names(3), &jaw(0, 0.25)).await;
        packet(&mut viewer).await;

        let mut hostile = open(address).await;
        let mut refused = 0;
        for i in 0..600 {
            say(&mut hostile, json!({"type": "subscribe", "subject": format!("*{i}*a*b*c*{i}"), "max_fps": 1e30}))
                .await;
        }
        for bad in [
            json!({"type": "subscribe", "priority": 1e9}),
            json!({"type": "subscribe", "room": 7}),
            json!({"type": "subscribe", "subject": ""}),
            json!({"type": "subscribe", "max_fps": -1}),
            json!({"type": "report", "queue_ms": "much"}),
            json!({"type": "report", "queue_ms": 1e300, "loss": -5, "slope": -1e300}),
        ] {
            say(&mut hostile, bad).await;
        }
        // A face of the other's name, and packets that are none.
        say(&mut hostile, json!({"type": "hello", "subject": "x", "binary": "facelink1"})).await;
        for bytes in [vec![0xF1], vec![0xF1, 33], vec![0xF1; 900], vec![0xF4; 40], vec![0xF8, 1, 2, 3]] {
            hostile.send(Message::binary(bytes)).await.expect("sent");
        }
        say(&mut hostile, json!({"type": "ping", "t": 1})).await;
        loop {
            let Message::Text(text) = hostile.next().await.expect("open").expect("good") else { continue };
            let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
            refused += usize::from(value["type"] == "error");
            if value["type"] == "pong" {
                break;
            }
        }
        assert!(refused > 0);

        let (begin, mut counts) = (Instant::now(), BTreeMap::new());
        for number in 1..=120 {
            publish(&mut sender, &names(3), &jaw(number, 0.25)).await;
            let mut newest = BTreeMap::new();
            while newest.len() < 3 || newest.values().any(|newest| *newest < number) {
                for (name, number, _) in packet(&mut viewer).await {
                    *counts.entry(name.clone()).or_insert(0) += 1;
                    newest.insert(name, number);
                }
            }
        }
        assert!(counts.values().all(|count| *count >= 120), "{counts:?} in {:?}", begin.elapsed());
        let stats: Value = serde_json::from_str(&get(&endpoint, "/api/v1/stats")).expect("JSON");
        let viewing = stats["connections"].as_array().expect("a list").iter().map(|c| &c["viewing"]);
        let faces: Vec<_> = viewing.filter_map(|viewing| viewing["faces"].as_u64()).collect();
        assert_eq!(faces, [3, 0], "the viewer's, and the hostile one's");
    });
}

/// Says and sends what it likes, for ever: it comes back when it is shut out.
async fn hammer(address: SocketAddr, token: String, seed: u64) {
    use facelink::wire::sealed::{self, KeyId, Kind, Layer, StreamId};

    for round in seed.. {
        let Ok((mut socket, _)) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let binary = ["facelink1", "sealed", "float32"][round as usize % 3];
        let mut messages = vec![Message::text(
            json!({"type": "hello", "token": token, "subject": format!("x{round}"), "binary": binary}).to_string(),
        )];
        for i in 0..2000_u64 {
            let subscribe =
                json!({"type": "subscribe", "subject": format!("{i}*"), "binary": "facelink1", "delta": true});
            let ack = json!({"type": "ack", "packets": (0..32).map(|k| (i * 32 + k) % 65_536).collect::<Vec<_>>()});
            messages.push(Message::text(if i % 2 == 0 { subscribe } else { ack }.to_string()));
            let mut bytes = Vec::new();
            if binary == "sealed" {
                // Layers that are not true, of streams that do not exist.
                let kind = Kind::Face([Layer::Base, Layer::Middle, Layer::Top][i as usize % 3]);
                sealed::put_clear(kind, KeyId::new(StreamId::from_random(i % 700), 1), i, &mut bytes);
                bytes.extend([i as u8; 90]);
            } else {
                // Another's face, and more of them than there may be.
                let name = if i % 5 == 0 { "face-00".to_owned() } else { format!("flood-{}", i % 900) };
                let number = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let _ = facelink1::Encoder::new().encode(&name, &jaw(number, 1.0), facelink1::Clock::Own, &mut bytes);
            }
            messages.push(Message::binary(bytes));
        }
        for message in messages {
            // It reads nothing of what it is sent.
            if socket.send(message).await.is_err() {
                break;
            }
        }
    }
}

#[test]
fn relay_floods_of_others_leave_every_frame_of_a_face() {
    let endpoint = with_token();
    let address = endpoint.addresses().http;
    let (_, stage) = make(&endpoint, json!({"roles": "publish"}));
    let (_, crowd) = make(&endpoint, json!({"roles": ["publish", "view"]}));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    block_on(&endpoint, async {
        let mut sender = greet(address, &stage, "publisher").await;
        let mut viewer = greet(address, "main", "viewer").await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "face-0*", "binary": "facelink1"})).await;
        publish(&mut sender, &names(3), &jaw(0, 0.25)).await;
        packet(&mut viewer).await;
        // Apart from the endpoint's own threads, as other machines would be.
        let flooding = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let floods =
                    async { tokio::join!(hammer(address, crowd.clone(), 0), hammer(address, crowd.clone(), 1)) };
                tokio::select! { _ = floods => {}, _ = stopped => {} }
            });
        });
        let mut counts = BTreeMap::new();
        for number in 1..=200 {
            let jaw_open = (number % 20) as f32 / 40.0;
            publish(&mut sender, &names(3), &jaw(number, jaw_open)).await;
            let mut newest = BTreeSet::new();
            while newest.len() < 3 {
                for (name, _, jaw) in packet(&mut viewer).await {
                    assert!(jaw < 0.6, "{name} of another");
                    if (jaw - jaw_open).abs() < 0.01 {
                        newest.insert(name);
                    }
                }
            }
            for name in newest {
                *counts.entry(name).or_insert(0) += 1;
            }
        }
        assert!(counts.len() == 3 && counts.values().all(|count| *count == 200), "{counts:?}");
        drop(stop);
        flooding.join().expect("it did not panic");
    });
}

#[test]
fn relay_game_receives_every_face_over_webrtc() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    let game = Endpoint::start(EndpointConfig::dial_only()).expect("an endpoint");
    let config = ClientConfig { receive: true, ..ClientConfig::new(format!("ws://{address}")) };
    let client = game.connect(config).expect("it runs");
    block_on(&endpoint, async {
        let mut sender = publisher(address).await;
        let all = names(20);
        let (mut number, mut seen) = (0, BTreeSet::new());
        let end = Instant::now() + LIMIT;
        loop {
            number += 1;
            publish(&mut sender, &all, &jaw(number, 0.75)).await;
            tokio::time::sleep(Duration::from_millis(15)).await;
            for frame in game.frames().try_iter() {
                if frame.source == facelink_net::SourceKind::WebRtc {
                    assert!((frame.frame.weights[Blendshape::JawOpen.index()] - 0.75).abs() < 0.01);
                    seen.insert(frame.name.to_string());
                }
            }
            if seen.len() == 20 {
                break;
            }
            assert!(Instant::now() < end, "{seen:?}, {:?}", client.state());
        }
    });
    let stats: Value = serde_json::from_str(&get(&endpoint, "/api/v1/stats")).expect("JSON");
    let relay = &stats["relay"];
    assert_eq!((&relay["viewers"], &relay["subscriptions"]), (&json!(1), &json!(20)), "{relay}");
    let (packets, frames) = (relay["packets"].as_u64().expect("packets"), relay["frames"].as_u64().expect("frames"));
    assert!(frames > 6 * packets, "{frames} frames in {packets} packets");
    assert_eq!(relay["layers"], json!({"all": 20}));
    let metrics = get(&endpoint, "/metrics");
    for line in [
        "facelink_relay_viewers 1\n",
        "facelink_relay_subscriptions 20\n",
        "facelink_relay_layer_subscriptions{layer=\"all\"} 20\n",
        "facelink_relay_thinned_frames_total{reason=\"path\"} 0\n",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

/// The faces of the next compact bundle, and what became of it.
async fn compact(socket: &mut Socket, decoder: &mut CompactDecoder) -> (Received, usize, Vec<(String, u64, f32)>) {
    loop {
        if let Message::Binary(bytes) = socket.next().await.expect("open").expect("good") {
            assert!(CompactDecoder::is_compact(&bytes) && bytes.len() <= MAX_BUNDLE, "{} bytes", bytes.len());
            let mut faces = Vec::new();
            let each = |face: facelink1::Face<'_>| {
                let jaw = face.frame.weights[Blendshape::JawOpen.index()];
                faces.push((face.subject.to_owned(), face.frame.sequence.expect("a number"), jaw));
            };
            let received = decoder.decode(&bytes, &mut facelink1::Decoder::new(), each).expect("a bundle");
            return (received, bytes.len(), faces);
        }
    }
}

#[test]
fn relay_viewer_that_acknowledges_has_deltas_and_recovers_without() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut sender = publisher(address).await;
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "face-*", "binary": "facelink1", "delta": true})).await;
        for bad in [json!([1, 2.5]), json!([70_000]), json!("all"), json!(vec![1; 33])] {
            say(&mut viewer, json!({"type": "ack", "packets": bad})).await;
            hear(&mut viewer, "error").await;
        }
        say(&mut viewer, json!({"type": "ack", "packets": [3, 4, 65_535]})).await;
        let (all, mut decoder) = (names(12), CompactDecoder::new());
        // Each round every face, with or without acknowledgements; gives the bytes of its packets.
        let mut number = 0;
        for (acks, anew) in [(true, false), (false, true), (true, false)] {
            if anew {
                // What was acknowledged before is gone.
                decoder = CompactDecoder::new();
            }
            let (mut sizes, mut missing) = (Vec::new(), 0);
            for _ in 0..120 {
                number += 1;
                let jaw_open = (number % 50) as f32 / 50.0;
                let mut frame = FaceFrame { weights: [0.3; 52], ..jaw(number, jaw_open) };
                frame.set(Blendshape::JawOpen, jaw_open);
                publish(&mut sender, &all, &frame).await;
                let (mut size, mut newest, before) = (0, BTreeMap::new(), missing);
                loop {
                    let (received, bytes, faces) = compact(&mut viewer, &mut decoder).await;
                    size += bytes;
                    missing += received.missing;
                    for (name, _, jaw) in faces {
                        let off = (jaw * 50.0 - (jaw * 50.0).round()).abs() / 50.0;
                        assert!(off < 0.003, "{name}: {jaw} was not sent");
                        newest.insert(name, jaw);
                    }
                    if acks && received.missing == 0 {
                        say(&mut viewer, json!({"type": "ack", "packets": [received.packet]})).await;
                    }
                    let done = newest.len() == all.len() && newest.values().all(|jaw| (jaw - jaw_open).abs() < 0.003);
                    // Of what it has forgotten it may have nothing.
                    if done || received.missing > 0 {
                        break;
                    }
                }
                sizes.push((size, missing - before));
            }
            let last = &sizes[100..];
            let (mean, unread) =
                (last.iter().map(|(size, _)| size).sum::<usize>() / 20, last.iter().any(|(_, missing)| *missing > 0));
            assert!(!unread && (mean < 12 * 14) == acks, "acknowledged {acks}: {mean} bytes a round, {sizes:?}");
            assert!(!acks || missing == 0, "{missing}");
        }
    });
}

fn with_token() -> Endpoint {
    let config = EndpointConfig {
        port: 0,
        token: Some("main".to_owned()),
        token_on_loopback: true,
        reconnect_grace: Duration::from_millis(10),
        ..EndpointConfig::default()
    };
    Endpoint::start(config).expect("an endpoint on a free port")
}

/// Status and body of a request with a token.
fn ask(endpoint: &Endpoint, method: &str, path: &str, token: &str, body: Value) -> (u16, Value) {
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", endpoint.addresses().http))
        .header("Authorization", format!("Bearer {token}"))
        .header("Content-Type", "application/json")
        .body(if body.is_null() { String::new() } else { body.to_string() })
        .expect("a request");
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.run(request).expect("answers");
    let text = answer.body_mut().read_to_string().expect("text");
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn make(endpoint: &Endpoint, body: Value) -> (u64, String) {
    let (status, made) = ask(endpoint, "POST", "/api/v1/tokens", "main", body);
    assert_eq!(status, 201, "{made}");
    (made["id"].as_u64().expect("an id"), made["token"].as_str().expect("a token").to_owned())
}

/// A connection that has said `hello` with a token, and named its face.
async fn greet(address: SocketAddr, token: &str, subject: &str) -> Socket {
    let mut socket = open(address).await;
    let hello = json!({"type": "hello", "token": token, "subject": subject, "binary": "facelink1"});
    say(&mut socket, hello).await;
    hear(&mut socket, "welcome").await;
    socket
}

async fn closed(socket: &mut Socket) -> u16 {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(close)))) => return close.code.into(),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn relay_token_allows_what_its_roles_do() {
    let endpoint = with_token();
    let address = endpoint.addresses().http;
    let (_, publish_token) = make(&endpoint, json!({"roles": ["publish"], "name": "stage"}));
    let (view_id, view_token) = make(&endpoint, json!({"roles": "view", "expires_in_seconds": 3600}));
    let (_, direct_token) = make(&endpoint, json!({"roles": ["direct"], "token": "chosen"}));
    assert_eq!(direct_token, "chosen");
    block_on(&endpoint, async {
        let mut performer = greet(address, &publish_token, "Ann").await;
        let mut viewer = greet(address, &view_token, "Ann").await;
        say(&mut viewer, json!({"type": "subscribe", "binary": "facelink1"})).await;
        publish(&mut performer, &["Ann".to_owned()], &jaw(1, 0.5)).await;
        assert_eq!(packet(&mut viewer).await[0].0, "Ann");

        say(&mut performer, json!({"type": "subscribe"})).await;
        assert_eq!(hear(&mut performer, "error").await["code"], "forbidden_role");
        for message in [
            json!({"type": "arkit_data", "blendshapes": {"jawOpen": 1}, "subject": "Eve"}),
            json!({"type": "viseme_data", "viseme": "aa", "subject": "Eve"}),
            json!({"type": "set_emotion", "emotion": "happy", "subject": "Ann"}),
            json!({"type": "batch_update", "updates": [{"type": "arkit_data", "blendshapes": {"jawOpen": 1}}]}),
        ] {
            say(&mut viewer, message).await;
            assert_eq!(hear(&mut viewer, "error").await["code"], "forbidden_role");
        }
        publish(&mut viewer, &["Eve".to_owned()], &jaw(1, 0.5)).await;
        assert_eq!(hear(&mut viewer, "error").await["code"], "forbidden_role");
    });
    assert_eq!(endpoint.stats().subjects.len(), 1);
    for (path, view, direct) in [
        ("/api/v1/subjects", 200, 403),
        ("/api/v1/stats", 403, 200),
        ("/metrics", 403, 200),
        ("/api/v1/tokens", 403, 200),
        ("/api/v1/takes", 403, 200),
        ("/api/v1/health", 200, 200),
    ] {
        assert_eq!(ask(&endpoint, "GET", path, &view_token, Value::Null).0, view, "{path}");
        assert_eq!(ask(&endpoint, "GET", path, "chosen", Value::Null).0, direct, "{path}");
        let publish = if path.ends_with("health") { 200 } else { 403 };
        assert_eq!(ask(&endpoint, "GET", path, &publish_token, Value::Null).0, publish, "{path}");
    }
    let (_, tokens) = ask(&endpoint, "GET", "/api/v1/tokens", "chosen", Value::Null);
    assert_eq!(tokens["tokens"].as_array().map(Vec::len), Some(3), "{tokens}");
    assert_eq!((&tokens["tokens"][0]["name"], &tokens["tokens"][0]["roles"]), (&json!("stage"), &json!(["publish"])));
    assert!(!tokens.to_string().contains(&publish_token), "the tokens themselves are not listed");

    let withdrawn = format!("/api/v1/tokens/{view_id}");
    block_on(&endpoint, async {
        let mut viewer = greet(address, &view_token, "x").await;
        assert_eq!(ask(&endpoint, "DELETE", &withdrawn, "chosen", Value::Null).0, 204);
        assert_eq!(closed(&mut viewer).await, 4401);
    });
    assert_eq!(ask(&endpoint, "DELETE", &withdrawn, "chosen", Value::Null).0, 404);
    assert_eq!(ask(&endpoint, "GET", "/api/v1/subjects", &view_token, Value::Null).0, 401);
    for (body, field) in [
        (json!({}), "roles"),
        (json!({"roles": []}), "roles"),
        (json!({"roles": ["king"]}), "roles"),
        (json!({"roles": ["view"], "expires_in_seconds": -1}), "expires_in_seconds"),
        (json!({"roles": ["view"], "token": " "}), "token"),
        (json!({"roles": ["view"], "until": 1}), "until"),
    ] {
        let (status, error) = ask(&endpoint, "POST", "/api/v1/tokens", "main", body.clone());
        assert!(status == 400 && error.to_string().contains(field), "{body}: {status} {error}");
    }
    assert_eq!(ask(&endpoint, "POST", "/api/v1/tokens", "main", json!({"roles": "view", "token": "chosen"})).0, 409);
}

#[test]
fn relay_sealed_faces_pass_unread() {
    use facelink::wire::sealed::{self, KeyId, Kind, Layer, StreamId};

    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut sender = open(address).await;
        say(&mut sender, json!({"type": "hello", "subject": "~secret", "binary": "sealed"})).await;
        assert_eq!(hear(&mut sender, "welcome").await["binary"], "sealed");
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "~secret", "binary": "sealed"})).await;
        say(&mut viewer, json!({"type": "ping", "t": 1})).await;
        hear(&mut viewer, "pong").await;
        for counter in 0..20 {
            let mut bytes = Vec::new();
            sealed::put_clear(Kind::Face(Layer::Base), KeyId::new(StreamId::from_random(7), 1), counter, &mut bytes);
            bytes.extend([0x5C; 100]);
            sender.send(Message::binary(bytes.clone())).await.expect("sent");
            let bundle = loop {
                if let Message::Binary(bytes) = viewer.next().await.expect("open").expect("good") {
                    break bytes;
                }
            };
            let packets: Vec<_> = sealed::packets(&bundle).collect();
            assert_eq!(packets.len(), 1);
            let packet = packets[0].as_ref().expect("a packet");
            assert_eq!((packet.counter, packet.left_out, packet.bytes), (counter, 0, &*bytes));
        }
        // What is none is refused.
        sender.send(Message::binary(vec![0xF4, 1, 2])).await.expect("sent");
        assert_eq!(hear(&mut sender, "error").await["code"], "sealed");
    });
    assert!(endpoint.frames().is_empty() && endpoint.stats().subjects.is_empty(), "the game hears nothing of it");
}

#[test]
fn relay_token_that_expires_closes_its_connections() {
    let endpoint = with_token();
    let address = endpoint.addresses().http;
    let (_, token) = make(&endpoint, json!({"roles": ["publish", "view"], "expires_in_seconds": 0.3}));
    block_on(&endpoint, async {
        let mut peer = greet(address, &token, "Ann").await;
        publish(&mut peer, &["Ann".to_owned()], &jaw(1, 0.5)).await;
        assert_eq!(closed(&mut peer).await, 4401);
    });
    assert_eq!(endpoint.tokens(), []);
    assert_eq!(ask(&endpoint, "GET", "/api/v1/subjects", &token, Value::Null).0, 401);
}

#[test]
fn relay_publisher_takes_no_face_of_another_token() {
    let endpoint = with_token();
    let address = endpoint.addresses().http;
    let (_, ann) = make(&endpoint, json!({"roles": "publish"}));
    let (_, eve) = make(&endpoint, json!({"roles": "publish"}));
    block_on(&endpoint, async {
        let mut viewer = greet(address, "main", "viewer").await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "Ann", "binary": "facelink1"})).await;
        let (mut real, mut forger) = (greet(address, &ann, "Ann").await, greet(address, &eve, "Eve").await);
        // A name belongs to the token that publishes it first.
        publish(&mut real, &["Ann".to_owned()], &jaw(0, 0.25)).await;
        packet(&mut viewer).await;
        for number in 1..=50 {
            publish(&mut real, &["Ann".to_owned()], &jaw(number, 0.25)).await;
            publish(&mut forger, &["Ann".to_owned()], &jaw(number, 1.0)).await;
            let face = packet(&mut viewer).await.remove(0);
            assert!((face.2 - 0.25).abs() < 0.01, "{face:?}");
        }
        let refused = hear(&mut forger, "error").await;
        assert!(refused["message"].as_str().is_some_and(|message| message.contains("subject")), "{refused}");
        // Its owner comes back by another socket.
        let mut again = greet(address, &ann, "Ann").await;
        publish(&mut again, &["Ann".to_owned()], &jaw(1, 0.5)).await;
        while (packet(&mut viewer).await[0].2 - 0.5).abs() > 0.01 {}
    });
}

#[test]
fn relay_viewers_see_a_mouth_that_only_speaks() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe", "subject": "Vi", "binary": "facelink1"})).await;
        say(&mut viewer, json!({"type": "ping", "t": 1})).await;
        hear(&mut viewer, "pong").await;
        let mut speaker = publisher(address).await;
        let message = json!({"type": "viseme_data", "viseme": "aa", "weight": 1, "duration_ms": 50, "subject": "Vi"});
        say(&mut speaker, message).await;
        // `None` where a packet leaves the jaw out.
        let mut decoder = facelink1::Decoder::default();
        let mut jaw = None;
        while jaw != Some(0.0) {
            if let Message::Binary(bytes) = viewer.next().await.expect("open").expect("good") {
                let mut given = None;
                decoder.decode(&bytes, |face| given = face.frame.get(Blendshape::JawOpen)).expect("a packet");
                assert!(jaw.is_some() || given > Some(0.5), "opens first: {given:?}");
                jaw = given;
            }
        }
    });
}

#[test]
fn relay_viewers_follow_names_and_switches() {
    let endpoint = start();
    let address = endpoint.addresses().http;
    block_on(&endpoint, async {
        let mut sender = open(address).await;
        say(&mut sender, json!({"type": "hello", "subject": "iPhone"})).await;
        hear(&mut sender, "welcome").await;
        let face = json!({"type": "arkit_data", "blendshapes": {"jawOpen": 0.5}});
        say(&mut sender, face.clone()).await;
        subjects(&endpoint, 1).await;
        let mut viewer = open(address).await;
        say(&mut viewer, json!({"type": "subscribe"})).await;
        assert_eq!(hear(&mut viewer, "blendshape_update").await["subject"], "iPhone");

        endpoint.rename_subject("iPhone", Some("Hero")).expect("a subject");
        assert_eq!(hear(&mut viewer, "subject_lost").await["subject"], "iPhone");
        say(&mut sender, face.clone()).await;
        assert_eq!(hear(&mut viewer, "blendshape_update").await["subject"], "Hero");
        say(&mut sender, json!({"type": "get_stats"})).await;
        assert_eq!(hear(&mut sender, "stats").await["subject"], "iPhone", "its client knows it by its own name");
        assert_eq!(endpoint.connections()[0].subject.as_deref(), Some("Hero"));

        endpoint.enable_subject("Hero", false).expect("a subject");
        assert_eq!(hear(&mut viewer, "subject_lost").await["subject"], "Hero");
        let mut late = open(address).await;
        for socket in [&mut viewer, &mut late] {
            say(socket, json!({"type": "subscribe"})).await;
            say(&mut sender, face.clone()).await;
            say(&mut sender, json!({"type": "arkit_data", "subject": "Bob", "blendshapes": {"jawOpen": 0.1}})).await;
            assert_eq!(hear(socket, "blendshape_update").await["subject"], "Bob");
        }
        endpoint.enable_subject("Hero", true).expect("a subject");
        say(&mut sender, face).await;
        while hear(&mut late, "blendshape_update").await["subject"] != "Hero" {}
    });
}
