//! What peers without the token can do to those who have it.

#![cfg(all(feature = "http", feature = "phones", feature = "webrtc"))]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, FaceFrame,
    wire::{llf, vmc},
};
use facelink_net::{Endpoint, EndpointConfig, LinkEvent, SourceKind};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(30);
const TOKEN: &str = "right";

fn config() -> EndpointConfig {
    EndpointConfig {
        port: 0,
        live_link_face: Some(0),
        udp_json: Some(0),
        token: Some(TOKEN.to_owned()),
        ..EndpointConfig::default()
    }
}

fn start(config: EndpointConfig) -> Endpoint {
    Endpoint::start(config).expect("an endpoint on free ports")
}

fn block_on<T>(endpoint: &Endpoint, future: impl Future<Output = T>) -> T {
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("in time") })
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn open(address: SocketAddr, path: &str) -> Socket {
    tokio_tungstenite::connect_async(format!("ws://{address}{path}")).await.expect("a WebSocket").0
}

/// A socket that has shown the token.
async fn holder(endpoint: &Endpoint, subject: &str) -> Socket {
    let mut socket = open(endpoint.addresses().http, &format!("/ws?token={TOKEN}")).await;
    say(&mut socket, json!({"type": "hello", "subject": subject})).await;
    hear(&mut socket, "welcome").await;
    socket
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await.expect("sent");
}

async fn send_face(socket: &mut Socket, weight: f32) {
    say(socket, json!({"type": "arkit_data", "blendshapes": {"jawOpen": weight}})).await;
}

/// The next message.
async fn hear_any(socket: &mut Socket) -> Value {
    loop {
        if let Message::Text(text) = socket.next().await.expect("open").expect("good") {
            return serde_json::from_str(text.as_str()).expect("JSON");
        }
    }
}

/// The next message of a type, whatever comes before it.
async fn hear(socket: &mut Socket, kind: &str) -> Value {
    loop {
        let value = hear_any(socket).await;
        if value["type"] == kind {
            return value;
        }
    }
}

async fn answers(socket: &mut Socket) {
    say(socket, json!({"type": "ping", "t": 1})).await;
    hear(socket, "pong").await;
}

/// The code that the socket is closed with.
async fn close_code(socket: &mut Socket) -> u16 {
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
            Some(Ok(_)) => {}
            other => panic!("no close frame, but {other:?}"),
        }
    }
}

/// Waits until the endpoint is in a state; the state is looked at, not a time guessed.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn source_of(endpoint: &Endpoint, subject: &str) -> Option<SourceKind> {
    endpoint.stats().subjects.into_iter().find(|known| &*known.name == subject).map(|known| known.source)
}

fn names(endpoint: &Endpoint) -> Vec<String> {
    endpoint.stats().subjects.iter().map(|subject| subject.name.to_string()).collect()
}

fn phone_face(device: &str, subject: &str, number: i32) -> Vec<u8> {
    let mut face = FaceFrame::neutral();
    face.set(Blendshape::JawOpen, 0.9);
    let mut bytes = Vec::new();
    llf::encode(&llf::LlfPacket::new(device, subject, number, face), &llf::PROFILE, &mut bytes).expect("encodes");
    bytes
}

fn datagram(subject: &str) -> Vec<u8> {
    json!({"blendshapes": {"jawOpen": 0.9}, "subject": subject}).to_string().into_bytes()
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").expect("a socket")
}

/// A description with a data channel, of a peer that nothing is behind.
fn offer() -> String {
    let fingerprint = vec!["AB"; 32].join(":");
    [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        &format!("a=fingerprint:sha-256 {fingerprint}"),
        "a=setup:actpass",
        "a=mid:0",
        "a=sctp-port:5000",
        "",
    ]
    .join("\r\n")
}

fn post_offer(endpoint: &Endpoint, body: &Value) -> Value {
    let url = format!("http://{}/api/v1/rtc/offer?token={TOKEN}", endpoint.addresses().http);
    let mut answer = ureq::post(&url).send_json(body).expect("answers");
    answer.body_mut().read_json().expect("JSON")
}

#[test]
fn resume_needs_the_secret_of_the_session() {
    let endpoint = start(config());
    block_on(&endpoint, async {
        let address = endpoint.addresses().http;
        let mut ann = open(address, "/ws").await;
        say(&mut ann, json!({"type": "hello", "subject": "Ann"})).await;
        let welcome = hear(&mut ann, "welcome").await;
        let secret = welcome["resume_token"].as_str().expect("a secret").to_owned();
        assert!(secret.len() >= 32 && secret != welcome["connection_id"], "{welcome}");
        send_face(&mut ann, 0.5).await;
        let mut seen = open(address, "/ws").await;
        say(&mut seen, json!({"type": "hello"})).await;
        assert_ne!(hear(&mut seen, "welcome").await["resume_token"], secret.as_str(), "each session has its own");
        // What others may see: the id, in rooms and statistics.
        for id in [welcome["connection_id"].clone(), json!(""), json!("0"), json!(secret[..31])] {
            let mut thief = open(address, "/ws").await;
            say(&mut thief, json!({"type": "hello", "resume": id})).await;
            let answer = hear_any(&mut thief).await;
            assert_ne!(answer["resumed"], true, "{id}: {answer}");
            assert_ne!(answer["connection_id"], welcome["connection_id"], "{id}");
            answers(&mut ann).await;
        }
        assert!(!endpoint.connections().iter().any(|connection| format!("{connection:?}").contains(&secret)));

        // Several at once: one session, which the last one has.
        let hello = json!({"type": "hello", "resume": secret});
        let mut back = Vec::new();
        for _ in 0..3 {
            back.push(open(address, "/ws").await);
        }
        futures_util::future::join_all(back.iter_mut().map(|socket| say(socket, hello.clone()))).await;
        let mut live = 0;
        for socket in &mut back {
            let welcome_of = |text: &str| serde_json::from_str::<Value>(text).ok().filter(|v| v["type"] == "welcome");
            loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => {
                        let Some(resumed) = welcome_of(text.as_str()) else { continue };
                        assert_eq!(
                            (&resumed["resumed"], &resumed["connection_id"]),
                            (&json!(true), &welcome["connection_id"])
                        );
                        live += 1;
                        break;
                    }
                    Some(Ok(Message::Ping(_))) => {}
                    // Another one was later.
                    _ => break,
                }
            }
        }
        assert!(live >= 1);
        assert_eq!(close_code(&mut ann).await, 4409);
        let ids: Vec<_> = endpoint.connections().into_iter().map(|connection| connection.connection_id).collect();
        let mut unique = ids.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(ids.len(), unique.len(), "{ids:?}");
    });
}

#[test]
fn offer_by_http_cannot_take_a_live_session() {
    let endpoint = start(config());
    let (mut ann, welcome) = block_on(&endpoint, async {
        let mut ann = open(endpoint.addresses().http, "/ws").await;
        say(&mut ann, json!({"type": "hello", "subject": "Ann"})).await;
        let welcome = hear(&mut ann, "welcome").await;
        send_face(&mut ann, 0.5).await;
        answers(&mut ann).await;
        (ann, welcome)
    });
    let body = |more: Value| {
        let mut body = json!({"sdp": offer(), "type": "offer"});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let id = welcome["connection_id"].clone();
    let stolen = post_offer(&endpoint, &body(json!({"session_id": id})));
    assert_ne!(stolen["session_id"], id, "another one is given");
    let mine = post_offer(&endpoint, &body(json!({"session_id": "mine"})));
    assert_eq!((&mine["session_id"], &mine["resumed"]), (&json!("mine"), &json!(false)));
    let again = post_offer(&endpoint, &body(json!({"session_id": "mine"})));
    assert_ne!(again["session_id"], "mine", "an id is no secret, also not its own client's");
    let resumed = post_offer(&endpoint, &body(json!({"resume": mine["resume_token"]})));
    assert_eq!((&resumed["session_id"], &resumed["resumed"]), (&json!("mine"), &json!(true)));
    block_on(&endpoint, answers(&mut ann));
    assert_eq!(source_of(&endpoint, "Ann"), Some(SourceKind::WebSocket));
    let ids: Vec<_> = endpoint.connections().into_iter().map(|connection| connection.connection_id).collect();
    assert_eq!(ids.iter().filter(|known| ***known == *id.as_str().expect("text")).count(), 1, "{ids:?}");
    assert_eq!(ids.len(), 4, "{ids:?}");
}

#[test]
fn origin_null_is_foreign_without_the_token() {
    let endpoint = start(config());
    let address = endpoint.addresses().http;
    let connect = |path: String| async move {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        request.headers_mut().insert("origin", "null".parse().expect("a header"));
        tokio_tungstenite::connect_async(request).await
    };
    block_on(&endpoint, async {
        for path in ["/", "/ws"] {
            let refused = connect(path.to_owned()).await;
            assert!(
                matches!(&refused, Err(tungstenite::Error::Http(response)) if response.status() == 403),
                "any page can make itself `null`: {refused:?}"
            );
        }
        assert!(connect("/ws?token=wrong".to_owned()).await.is_err());
        let (mut socket, _) = connect(format!("/ws?token={TOKEN}")).await.expect("it has the token");
        answers(&mut socket).await;
    });
    let get = |path: &str, token: &str| {
        let url = format!("http://{address}{path}{token}");
        let answer = ureq::get(&url).header("Origin", "null").call().expect("answers");
        answer.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap_or_default().to_owned())
    };
    assert_eq!(get("/api/v1/subjects", ""), None, "such a page cannot read the answer");
    assert_eq!(get("/api/v1/subjects", &format!("?token={TOKEN}")).as_deref(), Some("null"));
}

#[test]
fn open_sources_take_no_room_of_token_holders() {
    let endpoint = start(EndpointConfig {
        max_connections: 4,
        max_subjects: 4,
        max_open_sources: 8,
        max_subjects_per_connection: 4,
        ..config()
    });
    let json_port = endpoint.addresses().udp_json.expect("listens");
    let phone_port = endpoint.addresses().live_link_face.expect("listens");
    let sockets: Vec<UdpSocket> = (0..40).map(|_| udp()).collect();
    let flood = |round: usize| {
        for (place, socket) in sockets.iter().enumerate() {
            socket.send_to(&datagram(&format!("flood {round} {place}")), json_port).expect("sent");
            let device = format!("device {round} {place}");
            socket.send_to(&phone_face(&device, "flood", 1), phone_port).expect("sent");
        }
    };
    block_on(&endpoint, async {
        flood(0);
        until("the flood has filled what it may", || endpoint.stats().connections >= 8).await;
        let mut holders = Vec::new();
        for round in 0..4 {
            flood(round + 1);
            let mut socket = holder(&endpoint, &format!("holder {round}")).await;
            send_face(&mut socket, 0.5).await;
            answers(&mut socket).await;
            holders.push(socket);
        }
        flood(9);
        for socket in &mut holders {
            answers(socket).await;
        }
    });
    let names = names(&endpoint);
    assert_eq!(names.iter().filter(|name| name.starts_with("holder")).count(), 4, "{names:?}");
    assert!(names.len() <= 12 && endpoint.stats().connections <= 12, "{names:?}");
    let appeared: Vec<_> = endpoint
        .events()
        .try_iter()
        .filter_map(|event| match event {
            LinkEvent::SubjectAppeared { name, .. } if name.starts_with("holder") => Some(name),
            _ => None,
        })
        .collect();
    assert_eq!(appeared.len(), 4, "their events are there: {appeared:?}");
}

#[test]
fn source_without_a_token_never_takes_over_a_face() {
    let vmc_title = SourceKind::Vmc.title();
    let endpoint = start(config());
    let json_port = endpoint.addresses().udp_json.expect("listens");
    let phone_port = endpoint.addresses().live_link_face.expect("listens");
    let socket = udp();
    block_on(&endpoint, async {
        let mut ann = holder(&endpoint, "Ann").await;
        send_face(&mut ann, 0.1).await;
        let mut other = holder(&endpoint, vmc_title).await;
        send_face(&mut other, 0.1).await;
        answers(&mut ann).await;
        answers(&mut other).await;

        // By the name in a datagram.
        socket.send_to(&datagram("Ann"), json_port).expect("sent");
        until("it was refused", || endpoint.stats().refused >= 1).await;
        // By the name of a phone, which is another face then.
        socket.send_to(&phone_face("phone", "Ann", 1), phone_port).expect("sent");
        until("the phone is there", || names(&endpoint).contains(&"Ann (2)".to_owned())).await;
        // By VMC protocol, whose faces bear the name of the protocol.
        let mut face = FaceFrame::neutral();
        face.set(Blendshape::JawOpen, 0.9);
        vmc::encode(&face, 1.0, &vmc::PROFILE, vmc::BlendshapeNames::PerfectSync, |bytes| {
            socket.send_to(bytes, json_port).expect("sent");
        });
        until("VMC is there", || names(&endpoint).contains(&format!("{vmc_title} (2)"))).await;
        // By a `hello`, or a subject in a message, of a socket that was let in by its address.
        let mut near = open(endpoint.addresses().http, "/ws").await;
        say(&mut near, json!({"type": "hello", "subject": "Ann"})).await;
        send_face(&mut near, 0.9).await;
        assert_eq!(hear(&mut near, "error").await["code"], "refused");
        for message in [
            json!({"type": "arkit_data", "subject": "Ann", "blendshapes": {"jawOpen": 0.9}}),
            json!({"type": "viseme_data", "subject": "Ann", "viseme": "aa", "weight": 1}),
            json!({"type": "set_emotion", "subject": "Ann", "emotion": "joy"}),
        ] {
            say(&mut near, message).await;
            assert_eq!(hear(&mut near, "error").await["code"], "refused");
        }
        assert_eq!(source_of(&endpoint, "Ann"), Some(SourceKind::WebSocket));

        // While its sender is away, the face waits for it.
        let connections = endpoint.connections().len();
        drop(ann);
        until("it is away", || endpoint.connections().len() < connections).await;
        let before = endpoint.stats().refused;
        socket.send_to(&datagram("Ann"), json_port).expect("sent");
        until("it was refused", || endpoint.stats().refused > before).await;
        let mut ann = holder(&endpoint, "Ann").await;
        send_face(&mut ann, 0.2).await;
        answers(&mut ann).await;
    });
    let taken: Vec<_> =
        endpoint.frames().try_iter().filter(|frame| &*frame.name == "Ann").map(|frame| frame.source).collect();
    assert!(!taken.is_empty() && taken.iter().all(|source| *source == SourceKind::WebSocket), "{taken:?}");
}

#[test]
fn token_holder_takes_its_name_from_a_phone() {
    let endpoint = start(config());
    let phone_port = endpoint.addresses().live_link_face.expect("listens");
    let socket = udp();
    block_on(&endpoint, async {
        socket.send_to(&phone_face("phone", "Ann", 1), phone_port).expect("sent");
        until("the phone is there", || source_of(&endpoint, "Ann") == Some(SourceKind::LiveLinkFace)).await;
        let mut ann = holder(&endpoint, "Ann").await;
        send_face(&mut ann, 0.1).await;
        until("the name is taken", || source_of(&endpoint, "Ann") == Some(SourceKind::WebSocket)).await;
        let mut number = 2;
        until("the phone goes on under another name", || {
            socket.send_to(&phone_face("phone", "Ann", number), phone_port).expect("sent");
            number += 1;
            source_of(&endpoint, "Ann (2)") == Some(SourceKind::LiveLinkFace)
        })
        .await;
        assert_eq!(source_of(&endpoint, "Ann"), Some(SourceKind::WebSocket));
    });
}

#[test]
fn names_of_phones_can_be_shown() {
    let endpoint = start(config());
    let phone_port = endpoint.addresses().live_link_face.expect("listens");
    let socket = udp();
    let given = ["", "   ", "Ann"];
    for (place, name) in given.iter().enumerate() {
        socket.send_to(&phone_face(&format!("device {place}"), name, 1), phone_port).expect("sent");
    }
    block_on(&endpoint, until("all are there", || endpoint.stats().subjects.len() >= given.len()));
    for name in names(&endpoint) {
        assert!(facelink::wire::json::check_name(&name).is_ok() && !name.trim().is_empty(), "{name:?}");
    }
    assert!(names(&endpoint).contains(&"Ann".to_owned()), "{:?}", names(&endpoint));
}

#[test]
fn sockets_without_a_token_are_neither_counted_nor_announced() {
    let endpoint =
        start(EndpointConfig { token_on_loopback: true, max_connections: 2, max_pending_connections: 8, ..config() });
    block_on(&endpoint, async {
        let address = endpoint.addresses().http;
        let mut strangers = Vec::new();
        for _ in 0..30 {
            strangers.push(open(address, "/ws").await);
        }
        let mut ann = holder(&endpoint, "Ann").await;
        send_face(&mut ann, 0.5).await;
        answers(&mut ann).await;
        assert_eq!((endpoint.stats().connections, endpoint.connections().len()), (1, 1));
        assert!(endpoint.connections().iter().all(|connection| connection.subject.as_deref() == Some("Ann")));

        // Nothing of a stranger is decoded, and a few messages are enough.
        let mut stranger = strangers.pop().expect("there is one");
        let mut refused = 0;
        let code = loop {
            let _ = stranger.send(Message::text(r#"{"type":"arkit_data","blendshapes":{"jawOpen":"x"}}"#)).await;
            let _ = stranger.send(Message::binary(vec![0; 9])).await;
            match stranger.next().await {
                Some(Ok(Message::Text(text))) => {
                    let error: Value = serde_json::from_str(text.as_str()).expect("JSON");
                    assert_eq!(error["code"], "unauthorized", "{error}");
                    refused += 1;
                }
                Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
                Some(Ok(_)) => {}
                _ => break None,
            }
        };
        assert!(refused <= 16, "{refused}");
        assert!(matches!(code, None | Some(4401)), "{code:?}");

        // One that shows the token in `hello` is let in then.
        let mut late = strangers.pop().expect("there is one");
        say(&mut late, json!({"type": "hello", "subject": "Bob", "token": TOKEN})).await;
        hear(&mut late, "welcome").await;
        assert_eq!(endpoint.stats().connections, 2);
        // The connections for those with a token are all in use now, by themselves.
        let mut third = strangers.pop().expect("there is one");
        say(&mut third, json!({"type": "hello", "token": TOKEN})).await;
        assert_eq!(hear(&mut third, "error").await["code"], "too_many_connections");
        answers(&mut ann).await;
    });
    let connected = endpoint.events().try_iter().filter(|event| matches!(event, LinkEvent::Connected { .. })).count();
    assert_eq!(connected, 2, "of thirty-one sockets, those that showed the token");
}

#[test]
fn sockets_that_do_not_read_leave_the_port_open() {
    let endpoint = start(EndpointConfig { max_pending_connections: 16, ..config() });
    let address = endpoint.addresses().http;
    let mut stuck = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(address).expect("accepted");
        // More answers than the buffers of the system hold.
        let _ = socket.set_write_timeout(Some(Duration::from_millis(1)));
        for _ in 0..200 {
            if socket.write_all(b"GET /facelink.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").is_err() {
                break;
            }
        }
        stuck.push(socket);
    }
    let url = format!("http://{address}/api/v1/health");
    let health: Value = ureq::get(&url).call().expect("answers").body_mut().read_json().expect("JSON");
    assert_eq!(health["status"], "healthy");
    block_on(&endpoint, async {
        let mut ann = holder(&endpoint, "Ann").await;
        send_face(&mut ann, 0.5).await;
        answers(&mut ann).await;
    });
    assert!(endpoint.stats().refused >= 60, "the oldest gave room: {}", endpoint.stats().refused);
    // The first of them are closed: what was in the buffers ends.
    let first = &mut stuck[0];
    let _ = first.set_read_timeout(Some(LIMIT));
    let mut rest = Vec::new();
    let ended = first.read_to_end(&mut rest);
    assert!(
        ended.as_ref().map_or_else(|error| error.kind() == std::io::ErrorKind::ConnectionReset, |_| true),
        "{ended:?}"
    );
}

#[test]
fn face_of_a_token_holder_keeps_coming_under_attack() {
    let endpoint = start(EndpointConfig { token_on_loopback: true, max_pending_connections: 16, ..config() });
    let (address, json_port) = (endpoint.addresses().http, endpoint.addresses().udp_json.expect("listens"));
    let phone_port = endpoint.addresses().live_link_face.expect("listens");
    let mut received = Vec::new();
    block_on(&endpoint, async {
        let mut ann = holder(&endpoint, "Ann").await;
        let sockets: Vec<UdpSocket> = (0..8).map(|_| udp()).collect();
        let mut strangers = std::collections::VecDeque::new();
        for number in 0..240_u32 {
            for (place, socket) in sockets.iter().enumerate() {
                let name = format!("{number} {place}");
                socket.send_to(&datagram(&name), json_port).expect("sent");
                socket.send_to(&datagram("Ann"), json_port).expect("sent");
                socket.send_to(&phone_face(&name, "Ann", 1), phone_port).expect("sent");
                socket.send_to(&[0x9b; 400], phone_port).expect("sent");
            }
            if number % 4 == 0 {
                let mut stuck = TcpStream::connect(address).expect("accepted");
                let _ = stuck.write(b"GET / HTTP/1.1\r\n");
                strangers.push_back(stuck);
                if strangers.len() > 64 {
                    strangers.pop_front();
                }
            }
            send_face(&mut ann, number as f32 / 1000.0).await;
            // What arrives is taken at once, as by a game.
            received.extend(endpoint.frames().try_iter().filter(|frame| &*frame.name == "Ann"));
        }
        answers(&mut ann).await;
    });
    received.extend(endpoint.frames().try_iter().filter(|frame| &*frame.name == "Ann"));
    let weights: Vec<u32> = received
        .iter()
        .map(|frame| (frame.frame.weights[Blendshape::JawOpen.index()] * 1000.0).round() as u32)
        .collect();
    assert_eq!(weights, (0..240).collect::<Vec<_>>(), "every frame, in its order");
    assert!(received.iter().all(|frame| frame.source == SourceKind::WebSocket));
    let stats = endpoint.stats();
    assert!(
        stats.connections <= 1 + 128 && stats.subjects.len() <= 1 + 128,
        "{} {}",
        stats.connections,
        stats.subjects.len()
    );
    assert!(stats.subjects.iter().any(|subject| &*subject.name == "Ann" && subject.source == SourceKind::WebSocket));
}
