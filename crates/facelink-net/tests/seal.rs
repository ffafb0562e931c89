//! End-to-end encrypted faces over real sockets on loopback: members, an endpoint without the key, and one who left.

#![cfg(all(feature = "seal", feature = "http", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use facelink::{Blendshape, FaceFrame, performer::Performance, wire::viseme::Viseme};
use facelink_net::{
    Client, ClientConfig, ClientError, ClientState, Emotion, Endpoint, EndpointConfig, LinkEvent, RoomKey, SealStats,
    SubjectFrame, new_room_key,
};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(20);
const NAME: &str = "Annabel Lee";

fn key() -> RoomKey {
    new_room_key().expect("random numbers")
}

fn start(key: Option<&RoomKey>) -> Endpoint {
    let config = EndpointConfig { port: 0, key: key.cloned(), ..EndpointConfig::default() };
    Endpoint::start(config).expect("an endpoint on a free port")
}

fn url(address: SocketAddr) -> String {
    format!("ws://{address}")
}

fn client(endpoint: &Endpoint, at: SocketAddr, key: Option<&RoomKey>, webrtc: bool) -> Client {
    let config = ClientConfig { key: key.cloned(), webrtc, ..ClientConfig::new(url(at)).subject(NAME) };
    Client::start(config, endpoint.runtime().expect("it runs"))
}

/// Sends the performance until `done`.
fn send_until(client: &Client, mut done: impl FnMut() -> bool) {
    let (performance, start) = (Performance::new(5), Instant::now());
    while !done() {
        assert!(start.elapsed() < LIMIT, "{:?}, {:?}", client.state(), client.stats());
        client.send(performance.frame_at(start.elapsed()));
        thread::sleep(Duration::from_millis(8));
    }
}

fn sees(endpoint: &Endpoint, wanted: impl Fn(&SubjectFrame) -> bool) -> bool {
    endpoint.frames().try_iter().any(|frame| wanted(&frame))
}

fn sealed(endpoint: &Endpoint) -> SealStats {
    endpoint.stats().sealed
}

#[test]
fn sealed_face_is_shown_by_an_endpoint_with_the_key() {
    let key = key();
    for webrtc in [false, true] {
        let endpoint = start(Some(&key));
        let client = client(&endpoint, endpoint.addresses().http, Some(&key), webrtc);
        let by_channel = |client: &Client| matches!(client.state(), ClientState::Connected(kind) if kind == facelink_net::SourceKind::WebRtc);
        let (mut shown, mut moved) = (0, !webrtc);
        send_until(&client, || {
            moved |= by_channel(&client);
            shown += if moved { endpoint.frames().try_iter().filter(|frame| &*frame.name == NAME).count() } else { 0 };
            shown > 30
        });
        let stats = endpoint.stats();
        assert!(stats.sealed.opened > 30, "{stats:?}");
        assert_eq!((stats.sealed.forged, stats.sealed.malformed, stats.sealed.no_key), (0, 0, 0), "{stats:?}");
        assert_eq!(stats.sealed.key.as_deref(), Some(&*key.fingerprint()));
        assert_eq!(stats.subjects.len(), 1, "{stats:?}");

        // What is said with it is sealed too.
        client.say(None, Viseme::Aa, 1.0, None);
        let happy = Emotion { name: "happy".into(), intensity: 1.0, fade: None, duration: None };
        client.set_emotion(None, &happy);
        let (mut said, mut felt) = (false, false);
        send_until(&client, || {
            said |= sees(&endpoint, |frame| frame.speech.is_some_and(|speech| speech.viseme == Viseme::Aa));
            felt |= endpoint.events().try_iter().any(
                |event| matches!(event, LinkEvent::Emotion { name, emotion, .. } if &*name == NAME && &*emotion.name == "happy"),
            );
            said && felt
        });
        assert_eq!(endpoint.stats().refused, 0);
    }
}

/// Passes bytes between clients and an endpoint, and keeps them, as a relay or a tapped line would.
struct Tap {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    fn new(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<Vec<u8>>>::default();
        let kept = seen.clone();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(to) else { return };
                for (mut from, mut into) in [(near.try_clone(), far.try_clone()), (far.try_clone(), near.try_clone())]
                    .into_iter()
                    .filter_map(|(from, into)| from.ok().zip(into.ok()))
                {
                    let kept = kept.clone();
                    thread::spawn(move || {
                        let mut bytes = [0; 4096];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            kept.lock().expect("no panic").extend_from_slice(&bytes[..count]);
                            if into.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                    });
                }
            }
        });
        Self { address, seen }
    }

    /// The same without the mask of WebSocket frames, at each of its four phases: what is looked for may begin at any.
    fn contains(&self, part: &[u8]) -> bool {
        let seen = self.seen.lock().expect("no panic");
        contains(&seen, part) || unmasked(&seen).any(|payload| contains(&payload, part))
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What client frames of a WebSocket may hold: wherever bytes look like the head of one.
fn unmasked(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len().saturating_sub(8)).filter_map(|at| {
        let (head, len) = (&bytes[at..], bytes[at + 1] & 0x7F);
        let (mask, start, len) = match len {
            126 => (head.get(4..8)?, 8, usize::from(u16::from_be_bytes([head[2], head[3]]))),
            127 => return None,
            len => (head.get(2..6)?, 6, usize::from(len)),
        };
        let body = head.get(start..start + len)?;
        let is_head = matches!(head[0], 0x81 | 0x82) && head[1] & 0x80 != 0;
        is_head.then(|| body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
    })
}

/// 20 weights in a row that no other bytes are likely to be.
fn marked() -> (FaceFrame, [u8; 20]) {
    let mut frame = FaceFrame::neutral();
    let steps: [u8; 20] = std::array::from_fn(|i| (i as u8).wrapping_mul(37).wrapping_add(11));
    for (shape, step) in Blendshape::ALL.into_iter().skip(14).zip(steps) {
        frame.set(shape, f32::from(step) / 255.0);
    }
    (frame, steps)
}

#[test]
fn endpoint_without_the_key_and_the_line_see_neither_names_nor_weights() {
    let key = key();
    let (frame, steps) = marked();
    for with_key in [false, true] {
        // Unsealed, the same search finds both: the test can fail.
        let endpoint = start(None);
        let tap = Tap::new(endpoint.addresses().http);
        let client = client(&endpoint, tap.address, with_key.then_some(&key), false);
        let start = Instant::now();
        let done = || {
            if with_key {
                sealed(&endpoint).no_key > 30
            } else {
                endpoint.stats().subjects.iter().any(|subject| subject.frames > 30)
            }
        };
        client.say(Some(NAME), Viseme::Aa, 1.0, None);
        while !done() {
            assert!(start.elapsed() < LIMIT, "{:?} {:?}", client.state(), endpoint.stats());
            client.send(frame.clone());
            thread::sleep(Duration::from_millis(8));
        }
        assert_eq!(tap.contains(NAME.as_bytes()), !with_key, "the name");
        assert_eq!(tap.contains(&steps), !with_key, "the weights");
        assert_eq!(tap.contains(b"viseme"), !with_key, "what is said");
        assert!(tap.contains(b"hello"), "the tap sees");
        if with_key {
            let stats = endpoint.stats();
            assert!(stats.subjects.is_empty() && endpoint.frames().try_iter().count() == 0, "{stats:?}");
            assert!(!tap.contains(key.reveal().as_bytes()), "the key");
        }
    }
}

#[test]
fn sealed_faces_reach_a_member_who_dialled_in_and_no_other() {
    let key = key();
    let host = start(Some(&key));
    let member = start(Some(&key));
    let stranger = start(None);
    let dial = |from: &Endpoint| {
        let config = ClientConfig { receive: true, webrtc: false, ..ClientConfig::new(url(host.addresses().http)) };
        from.connect(config).expect("it runs")
    };
    let (links, ann) = ([dial(&member), dial(&stranger)], client(&host, host.addresses().http, Some(&key), false));
    let mut shown = 0;
    send_until(&ann, || {
        host.publish("Host", &FaceFrame::neutral()).expect("published");
        shown += member.frames().try_iter().filter(|frame| &*frame.name == NAME).count();
        shown > 30
    });
    assert!(member.stats().subjects.iter().any(|subject| &*subject.name == "Host"));
    assert!(stranger.stats().subjects.is_empty() && stranger.frames().try_iter().count() == 0);
    // It leaves there as everywhere.
    drop(ann);
    let end = Instant::now() + LIMIT;
    while member.stats().subjects.iter().any(|subject| &*subject.name == NAME) {
        assert!(Instant::now() < end, "{:?}", member.stats());
        thread::sleep(Duration::from_millis(10));
    }
    drop(links);
}

#[test]
fn new_key_is_taken_up_while_connected_and_shuts_out_who_has_the_old_one() {
    let old = key();
    let endpoint = start(Some(&old));
    let ann = client(&endpoint, endpoint.addresses().http, Some(&old), false);
    let shows = |endpoint: &Endpoint| sees(endpoint, |frame| &*frame.name == NAME);
    send_until(&ann, || shows(&endpoint));

    // One step of the ratchet is followed by the endpoint.
    ann.ratchet_key();
    let opened = sealed(&endpoint).opened;
    send_until(&ann, || sealed(&endpoint).opened > opened + 20);
    let key_of = |key: Option<RoomKey>| key.map(|key| key.fingerprint());
    assert_eq!(key_of(endpoint.key()), key_of(ann.key()));
    assert_ne!(key_of(ann.key()), Some(old.fingerprint()));

    let new = endpoint.new_key().expect("random numbers");
    send_until(&ann, || sealed(&endpoint).other_key > 20);
    assert!(endpoint.invitation().ends_with(&format!("#k={}", *new.reveal())));
    let (opened, connection) = (sealed(&endpoint).opened, ann.stats().connection_id);
    send_until(&ann, || sealed(&endpoint).other_key > 40);
    assert_eq!(sealed(&endpoint).opened, opened, "nothing of the old key is read");
    ann.set_key(Some(new));
    send_until(&ann, || sealed(&endpoint).opened > opened + 20);
    assert_eq!(ann.stats().connection_id, connection, "by the same connection");
}

#[test]
fn invitation_brings_the_key_and_shows_it_nowhere() {
    let key = key();
    let config = EndpointConfig {
        port: 0,
        key: Some(key.clone()),
        token: Some("a token".to_owned()),
        token_on_loopback: true,
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let invitation = endpoint.invitation();
    assert!(invitation.contains("?token=a%20token#k="), "{}", invitation.len());
    let config = ClientConfig { webrtc: false, ..ClientConfig::new(invitation).subject(NAME) };
    let ann = Client::start(config, endpoint.runtime().expect("it runs"));
    send_until(&ann, || sees(&endpoint, |frame| &*frame.name == NAME));
    let secret = key.reveal();
    assert!(!format!("{ann:?} {:?} {:?}", endpoint, endpoint.config()).contains(&**secret));

    let wrong = Client::start(ClientConfig::new("ws://127.0.0.1:1/#k=short"), endpoint.runtime().expect("it runs"));
    let ClientState::Refused(ClientError::Url { url, reason }) = wrong.state() else {
        unreachable!("{:?}", wrong.state())
    };
    assert!(url == "ws://127.0.0.1:1/" && reason.contains("43 characters"), "{url}: {reason}");
}

/// Two faces of one performer, through a relay without the key, to a member who asks for less than all frames.
#[test]
fn sealed_faces_of_one_connection_pass_a_relay_each_by_itself() {
    let key = key();
    let relay = start(None);
    let at = relay.addresses().http;
    let member =
        Endpoint::start(EndpointConfig { key: Some(key.clone()), ..EndpointConfig::dial_only() }).expect("starts");
    let config = ClientConfig { receive: true, ..ClientConfig::new(url(at)) };
    let link = member.connect(config).expect("it runs");
    let ann = client(&relay, at, Some(&key), false);
    let steps = |number: u64, face: u64| ((number * 7 + face * 100) % 256) as f32 / 255.0;
    let (mut number, begin, mut asked) = (0, Instant::now(), false);
    let (mut exact, mut thinned) = ([0_u64; 2], [0_u64; 2]);
    while thinned.iter().any(|thinned| *thinned < 60) {
        assert!(begin.elapsed() < LIMIT * 3, "{exact:?} {thinned:?} {:?} {:?}", link.state(), relay.stats());
        number += 1;
        for (face, name) in [NAME, "Bob"].into_iter().enumerate() {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::JawOpen, steps(number, face as u64));
            frame.set(Blendshape::EyeBlinkLeft, 1.0 - face as f32);
            ann.send_as(name, frame);
        }
        thread::sleep(Duration::from_millis(12));
        for frame in member.frames().try_iter() {
            let face = usize::from(&*frame.name == "Bob");
            assert_eq!(frame.frame.weights[Blendshape::EyeBlinkLeft.index()], 1.0 - face as f32, "{}", frame.name);
            let jaw = frame.frame.weights[Blendshape::JawOpen.index()];
            assert!((jaw * 255.0 - (jaw * 255.0).round()).abs() < 1e-3, "{jaw} was not sent");
            exact[face] += 1;
            thinned[face] += u64::from(asked);
        }
        if !asked && exact.iter().all(|exact| *exact > 30) {
            asked = true;
            for subject in member.stats().subjects {
                member.set_rate(subject.id, Some(15.0));
            }
        }
    }
    let stats = member.stats();
    assert_eq!(stats.subjects.len(), 2, "{stats:?}");
    for subject in &stats.subjects {
        assert!(subject.loss.is_none_or(|loss| loss < 0.05), "what was left out looks lost: {subject:?}");
        assert!(subject.fps < 40.0, "{subject:?}");
    }
    let relayed = relay.stats();
    assert_eq!((relayed.relay.faces, relayed.relay.subscriptions, relayed.subjects.len()), (2, 2, 0), "{relayed:?}");
    assert!(relayed.relay.sent.thinned.asked > 100, "{relayed:?}");
    assert_eq!(relayed.sealed.opened, 0);
    // Both leave there as they left here.
    drop(ann);
    let end = Instant::now() + LIMIT;
    while !member.stats().subjects.is_empty() {
        assert!(Instant::now() < end, "{:?}", member.stats());
        thread::sleep(Duration::from_millis(10));
    }
}
