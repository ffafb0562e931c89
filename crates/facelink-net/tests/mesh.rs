//! Several relays as one, over Zenoh on loopback.

#![cfg(all(feature = "zenoh", feature = "seal", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use facelink::{Blendshape, FaceFrame};
use facelink_net::{
    Client, ClientConfig, Endpoint, EndpointConfig, LinkError, LinkEvent, MeshAddress, MeshConfig, MeshStats, RoomKey,
    SourceKind, SubjectRules, new_room_key,
};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An address that nothing listens on. Zenoh does not say which port it took.
fn free() -> MeshAddress {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    format!("tcp/{}", listener.local_addr().expect("an address")).parse().expect("an address")
}

fn relay(mesh: MeshConfig) -> Endpoint {
    let config = EndpointConfig { port: 0, mesh: Some(mesh), ..EndpointConfig::default() };
    Endpoint::start(config).expect("a relay")
}

fn stats(relay: &Endpoint) -> MeshStats {
    relay.stats().mesh.unwrap_or_default()
}

/// Relays that all have links to each other.
fn mesh(count: usize) -> Vec<Endpoint> {
    let (mut relays, mut addresses) = (Vec::new(), Vec::<MeshAddress>::new());
    for _ in 0..count {
        let address = free();
        let mesh = addresses.iter().cloned().fold(MeshConfig::default(), MeshConfig::connect);
        relays.push(relay(mesh.listen(address.clone())));
        addresses.push(address);
    }
    for relay in &relays {
        until("all relays are reached", || {
            let stats = stats(relay);
            (stats.relays == count - 1 && stats.links == count - 1).then_some(())
        });
    }
    relays
}

fn url(relay: &Endpoint) -> String {
    format!("ws://{}", relay.addresses().http)
}

fn publisher(relay: &Endpoint, name: &str, key: Option<&RoomKey>) -> Client {
    let config = ClientConfig { key: key.cloned(), webrtc: false, ..ClientConfig::new(url(relay)).subject(name) };
    Client::start(config, relay.runtime().expect("it runs"))
}

/// What watches all faces of a relay.
struct Viewer {
    endpoint: Endpoint,
    _client: Client,
}

impl Viewer {
    fn new(relay: &Endpoint, key: Option<&RoomKey>) -> Self {
        let endpoint = Endpoint::start(EndpointConfig { key: key.cloned(), ..EndpointConfig::dial_only() });
        let endpoint = endpoint.expect("an endpoint");
        let config = ClientConfig { webrtc: false, receive: true, ..ClientConfig::new(url(relay)) };
        let _client = endpoint.connect(config).expect("it runs");
        Self { endpoint, _client }
    }

    /// Frames of a face that have come, as the numbers in them.
    fn numbers(&self, name: &str) -> Vec<u32> {
        let frames = self.endpoint.frames().try_iter();
        frames.filter(|frame| &*frame.name == name).map(|frame| number(&frame.frame)).collect()
    }

    fn loses(&self, name: &str) {
        until("a face is lost", || {
            self.endpoint
                .events()
                .try_iter()
                .any(|event| matches!(event, LinkEvent::SubjectLost { name: lost, .. } if &*lost == name))
                .then_some(())
        });
    }
}

const DIGITS: [Blendshape; 2] = [Blendshape::JawOpen, Blendshape::MouthPucker];

/// A frame with a number in its weights: relays number frames anew.
fn face(number: u32) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    for (place, shape) in (0..).zip(DIGITS) {
        frame.set(shape, (number / 100_u32.pow(place) % 100) as f32 / 100.0);
    }
    frame
}

fn number(frame: &FaceFrame) -> u32 {
    (0..)
        .zip(DIGITS)
        .map(|(place, shape)| 100_u32.pow(place) * (frame.get(shape).expect("a weight") * 100.0).round() as u32)
        .sum()
}

/// Sends numbered frames from this one on until `done`; the next number.
fn send_until(client: &Client, from: u32, mut done: impl FnMut() -> bool) -> u32 {
    let mut next = from;
    until("frames do what they are sent for", || {
        client.send(face(next));
        next += 1;
        thread::sleep(Duration::from_millis(8));
        done().then_some(())
    });
    next
}

#[test]
fn mesh_frames_reach_every_viewer_once_and_do_not_come_back() {
    let relays = mesh(3);
    let viewers: Vec<Viewer> = relays.iter().map(|relay| Viewer::new(relay, None)).collect();
    let client = publisher(&relays[0], "Ann", None);
    let mut seen = vec![Vec::new(); 3];
    send_until(&client, 1, || {
        for (seen, viewer) in seen.iter_mut().zip(&viewers) {
            seen.extend(viewer.numbers("Ann"));
        }
        seen.iter().all(|seen| seen.len() > 100)
    });
    for (place, seen) in seen.iter().enumerate() {
        assert!(seen.is_sorted_by(|a, b| a < b), "relay {place}: {seen:?}");
    }
    let kinds: Vec<_> = relays.iter().map(|relay| relay.stats().subjects[0].source).collect();
    assert_eq!(kinds, [SourceKind::WebSocket, SourceKind::Mesh, SourceKind::Mesh]);
    for relay in &relays {
        assert_eq!(relay.stats().subjects.len(), 1, "no subject twice");
    }
    let published = until("statistics", || Some(stats(&relays[0])).filter(|stats| stats.frames_out > 100));
    assert_eq!((published.faces_out, published.faces_in, published.frames_in), (1, 0, 0), "{published:?}");
    for relay in &relays[1..] {
        let stats = stats(relay);
        assert_eq!((stats.faces_out, stats.faces_in, stats.faces), (0, 1, 1), "{stats:?}");
        assert_eq!((stats.refused, stats.frames_out), (Default::default(), 0), "{stats:?}");
        let bytes = stats.bytes_in as f64 / stats.frames_in as f64;
        eprintln!("mesh: {bytes:.0} bytes a frame without headers, {} missing", stats.missing);
    }

    // No viewer is left there, and nothing is sent there.
    drop(viewers);
    for relay in &relays[1..] {
        until("it lets the face go", || (stats(relay).faces_in == 0).then_some(()));
    }
}

#[test]
fn mesh_late_viewer_has_the_newest_face_and_sees_it_go() {
    let relays = mesh(2);
    let client = publisher(&relays[0], "Ann", None);
    until("the face is announced", || {
        client.send(face(42));
        (stats(&relays[1]).faces == 1).then_some(())
    });
    thread::sleep(Duration::from_millis(50));
    let before = stats(&relays[1]);
    assert_eq!((before.faces_in, before.frames_in), (0, 0), "no viewer there: nothing is sent there");
    let viewer = Viewer::new(&relays[1], None);
    until("the newest face comes without another one", || (viewer.numbers("Ann").contains(&42)).then_some(()));
    drop(client);
    viewer.loses("Ann");
    until("it is withdrawn", || (stats(&relays[1]).faces == 0).then_some(()));
}

#[test]
fn mesh_relay_that_stops_takes_its_faces_with_it() {
    let mut relays = mesh(2);
    let viewer = Viewer::new(&relays[1], None);
    let client = publisher(&relays[0], "Ann", None);
    send_until(&client, 1, || !viewer.numbers("Ann").is_empty());
    drop((client, relays.remove(0)));
    viewer.loses("Ann");
    until("it is reached no longer", || (stats(&relays[0]).relays == 0).then_some(()));
}

#[test]
fn mesh_relay_that_is_dropped_within_a_runtime_says_goodbye() {
    let mut relays = mesh(2);
    let viewer = Viewer::new(&relays[1], None);
    relays[0].publish("Ann", &face(1)).expect("published");
    until("it is seen", || (viewer.numbers("Ann").contains(&1)).then_some(()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let relay = relays.remove(0);
    runtime.block_on(async move { drop(relay) });
    viewer.loses("Ann");
    until("it is reached no longer", || (stats(&relays[0]).relays == 0).then_some(()));
}

#[test]
fn mesh_name_at_two_relays_is_each_ones_own_and_the_firsts_elsewhere() {
    let relays = mesh(3);
    let viewers: Vec<Viewer> = relays.iter().map(|relay| Viewer::new(relay, None)).collect();
    // Even numbers at the first, odd ones at the second.
    let first = publisher(&relays[0], "Ann", None);
    let mut next = 2;
    let mut step = |client: &Client, odd: u32| {
        client.send(face(next + odd));
        next += 2;
        thread::sleep(Duration::from_millis(8));
    };
    until("the first is seen everywhere", || {
        step(&first, 0);
        viewers.iter().all(|viewer| !viewer.numbers("Ann").is_empty()).then_some(())
    });
    let second = publisher(&relays[1], "Ann", None);
    until("the second relay shows its own", || {
        step(&first, 0);
        step(&second, 1);
        (viewers[1].numbers("Ann").iter().any(|number| number % 2 == 1)).then_some(())
    });
    viewers.iter().for_each(|viewer| drop(viewer.numbers("Ann")));
    let mut seen = vec![Vec::new(); 3];
    until("frames of both", || {
        step(&first, 0);
        step(&second, 1);
        for (seen, viewer) in seen.iter_mut().zip(&viewers) {
            seen.extend(viewer.numbers("Ann").into_iter().map(|number| number % 2));
        }
        seen.iter().all(|seen| seen.len() > 50).then_some(())
    });
    for (place, odd) in [(0, 0), (1, 1), (2, 0)] {
        assert!(seen[place].iter().all(|seen| *seen == odd), "relay {place}: {:?}", seen[place]);
    }
    drop(first);
    seen[2].clear();
    until("the others take up the second", || {
        step(&second, 1);
        seen[2].extend(viewers[2].numbers("Ann").into_iter().map(|number| number % 2));
        seen[2].contains(&1).then_some(())
    });
}

#[test]
fn mesh_face_that_is_renamed_is_watched_by_its_new_name() {
    let relays = mesh(2);
    let client = publisher(&relays[0], "iPhone", None);
    until("the face is announced", || {
        client.send(face(7));
        (stats(&relays[1]).faces == 1).then_some(())
    });
    let address = format!("{}/ws", url(&relays[1]));
    let runtime = relays[1].runtime().expect("it runs");
    let mut viewer = runtime.block_on(async {
        let (mut viewer, _) = tokio_tungstenite::connect_async(address).await.expect("a WebSocket");
        let subscribe = r#"{"type":"subscribe","subject":"Hero"}"#;
        viewer.send(Message::text(subscribe)).await.expect("sent");
        viewer
    });
    until("it has subscribed", || (relays[1].stats().relay.viewers == 1).then_some(()));
    let mut rules = SubjectRules::default();
    rules.call("iPhone", "Hero").expect("a rule");
    relays[1].set_subject_rules(rules);
    let shown = async {
        while let Some(message) = viewer.next().await {
            if message.expect("good").into_text().is_ok_and(|text| text.contains("\"Hero\"") && text.contains("blend"))
            {
                return;
            }
        }
        panic!("the connection ended");
    };
    runtime.block_on(async { tokio::time::timeout(LIMIT, shown).await.expect("in time") });
}

#[test]
fn mesh_own_face_of_a_game_replaces_that_of_another_relay() {
    let relays = mesh(2);
    let viewer = Viewer::new(&relays[1], None);
    relays[0].publish("Ann", &face(1)).expect("published");
    until("the other relay's", || {
        relays[0].publish("Ann", &face(2)).expect("published");
        (viewer.numbers("Ann").contains(&2)).then_some(())
    });
    until("its own", || {
        relays[0].publish("Ann", &face(2)).expect("published");
        relays[1].publish("Ann", &face(3)).expect("published");
        (viewer.numbers("Ann").contains(&3)).then_some(())
    });
}

#[test]
fn mesh_sealed_faces_pass_relays_without_the_key() {
    let key = new_room_key().expect("random numbers");
    let relays = mesh(2);
    let client = publisher(&relays[0], "Ann", Some(&key));
    let (member, stranger) = (Viewer::new(&relays[1], Some(&key)), Viewer::new(&relays[1], None));
    let mut seen = Vec::new();
    send_until(&client, 1, || {
        seen.extend(member.numbers("Ann"));
        seen.len() > 50
    });
    assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
    assert!(stranger.endpoint.stats().subjects.is_empty());
    for relay in &relays {
        assert!(relay.stats().subjects.is_empty(), "no relay can read it");
        assert_eq!(stats(relay).refused, Default::default());
    }
}

#[test]
fn mesh_settings_that_cannot_be_are_named() {
    let fails = |mesh: MeshConfig| {
        let config = EndpointConfig { port: 0, mesh: Some(mesh), ..EndpointConfig::default() };
        match Endpoint::start(config) {
            Err(LinkError::Mesh { field, reason }) => (field, reason),
            other => panic!("{other:?}"),
        }
    };
    let mut none = MeshConfig::default();
    none.config = Some("no/such/file.json5".into());
    let (field, reason) = fails(none);
    assert_eq!(field, "config");
    assert!(reason.starts_with("no/such/file.json5: ") && !reason.contains(".rs"), "{reason}");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("zenoh.json5");
    std::fs::write(&file, "{ mode: \"no such mode\" }").expect("written");
    let mut wrong = MeshConfig::default();
    wrong.config = Some(file);
    assert_eq!(fails(wrong).0, "config");

    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = taken.local_addr().expect("an address").to_string().parse().expect("an address");
    let (field, reason) = fails(MeshConfig::default().listen(address));
    assert_eq!(field, "listen", "{reason}");
}
