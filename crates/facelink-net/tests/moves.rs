//! Connections that break and come back, endpoints that dial out, and room peers: over real sockets on loopback.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use facelink::{Blendshape, FaceFrame};
use facelink_net::{
    Client, ClientConfig, ClientState, Endpoint, EndpointConfig, LinkEvent, LostReason, SourceKind, SubjectFrame,
    SubjectId,
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::copy,
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_tungstenite::tungstenite::Message;

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(30);

fn start_on(port: u16) -> Endpoint {
    Endpoint::start(EndpointConfig { port, ..EndpointConfig::default() }).expect("an endpoint")
}

fn url(endpoint: &Endpoint) -> String {
    format!("ws://{}", endpoint.addresses().http)
}

fn block_on<T>(endpoint: &Endpoint, future: impl Future<Output = T>) -> T {
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async { tokio::time::timeout(LIMIT, future).await.expect("in time") })
}

fn jaw(weight: f32, number: u64) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, weight);
    frame.sequence = Some(number);
    frame
}

fn jaw_of(frame: &SubjectFrame) -> f32 {
    frame.frame.weights[Blendshape::JawOpen.index()]
}

fn get(endpoint: &Endpoint, path: &str) -> Value {
    let url = format!("http://{}{path}", endpoint.addresses().http);
    ureq::get(&url).call().expect("answers").body_mut().read_json().expect("JSON")
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !done() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
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

/// Sends 60 frames a second until it is dropped, numbered from 1.
struct Stream {
    stop: Arc<AtomicBool>,
    task: Option<std::thread::JoinHandle<u64>>,
}

impl Stream {
    fn start(client: Arc<Client>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = std::thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                number += 1;
                client.send(jaw((number % 100) as f32 / 100.0, number));
                std::thread::sleep(Duration::from_micros(16_667));
            }
            number
        });
        Self { stop, task: Some(task) }
    }

    /// Number of the last frame.
    fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.task.take().expect("runs").join().expect("no panic")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a TCP proxy does with the connections through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Through,
    /// Nothing passes, and neither side is notified.
    Frozen,
    /// Every connection is cut, and new ones too.
    Cut,
}

struct Proxy {
    address: SocketAddr,
    line: watch::Sender<Line>,
}

impl Proxy {
    /// Runs on the endpoint's own runtime, and ends with it.
    fn start(endpoint: &Endpoint) -> Self {
        let target = endpoint.addresses().http;
        let (line, state) = watch::channel(Line::Through);
        let listener = block_on(endpoint, TcpListener::bind("127.0.0.1:0")).expect("a free port");
        let address = listener.local_addr().expect("bound");
        endpoint.runtime().expect("runs").spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::pass(stream, target, state.clone()));
            }
        });
        Self { address, line }
    }

    async fn pass(near: TcpStream, target: SocketAddr, mut state: watch::Receiver<Line>) {
        let Ok(far) = TcpStream::connect(target).await else { return };
        let _ = (near.set_nodelay(true), far.set_nodelay(true));
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        loop {
            let line = *state.borrow_and_update();
            let through = async {
                tokio::select! { end = copy(&mut near_in, &mut far_out) => end, end = copy(&mut far_in, &mut near_out) => end }
            };
            match line {
                Line::Cut => return,
                Line::Frozen => {
                    if state.changed().await.is_err() {
                        return;
                    }
                }
                Line::Through => {
                    tokio::select! {
                        _ = through => return,
                        changed = state.changed() => if changed.is_err() { return },
                    }
                }
            }
        }
    }

    fn set(&self, line: Line) {
        self.line.send(line).expect("runs");
    }

    fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

fn connect(endpoint: &Endpoint, url: String, webrtc: bool) -> Arc<Client> {
    let config = ClientConfig { webrtc, ..ClientConfig::new(url) }.subject("Ann");
    Arc::new(Client::start(config, endpoint.runtime().expect("runs")))
}

fn wait_state(endpoint: &Endpoint, client: &Client, wanted: SourceKind) {
    block_on(endpoint, client.wait_for(|state| *state == ClientState::Connected(wanted)));
}

/// Every subject id that was ever seen, and whether one was lost.
fn identities(endpoint: &Endpoint) -> (HashSet<SubjectId>, Vec<LostReason>) {
    let (mut ids, mut lost) = (HashSet::new(), Vec::new());
    for event in endpoint.events().try_iter() {
        match event {
            LinkEvent::SubjectAppeared { id, .. } => drop(ids.insert(id)),
            LinkEvent::SubjectLost { reason, .. } => lost.push(reason),
            _ => {}
        }
    }
    (ids, lost)
}

#[test]
fn upgrade_to_webrtc_without_loss_or_duplicates() {
    let endpoint = start_on(0);
    let client = connect(&endpoint, url(&endpoint), true);
    let stream = Stream::start(client.clone());
    let mut seen = Vec::new();
    let mut sources = HashSet::new();
    wait_frame(&endpoint, |frame| {
        seen.push(frame.frame.sequence.expect("numbered"));
        sources.insert(frame.source);
        sources.contains(&SourceKind::WebRtc) && seen.len() > 120
    });
    stream.end();
    assert!(sources.contains(&SourceKind::WebSocket), "the first frames did not wait for WebRTC");
    assert!(seen.windows(2).all(|pair| pair[1] > pair[0]), "a double or a step back: {seen:?}");
    let missing = seen[seen.len() - 1] - seen[0] + 1 - seen.len() as u64;
    assert!(missing <= client.dropped(), "lost in transit, {missing} of {}: {seen:?}", seen.len());
    let (ids, lost) = identities(&endpoint);
    assert_eq!((ids.len(), lost.len()), (1, 0));
}

#[test]
fn channel_survives_websocket_loss_and_resume() {
    let endpoint = start_on(0);
    let proxy = Proxy::start(&endpoint);
    let client = connect(&endpoint, proxy.url(), true);
    let stream = Stream::start(client.clone());
    wait_state(&endpoint, &client, SourceKind::WebRtc);
    wait_frame(&endpoint, |frame| frame.source == SourceKind::WebRtc);
    let id = client.stats().connection_id.expect("welcome");

    proxy.set(Line::Cut);
    let mut last = 0;
    let mut missing = 0;
    for _ in 0..120 {
        let frame = wait_frame(&endpoint, |_| true);
        let number = frame.frame.sequence.expect("numbered");
        missing += if last == 0 { 0 } else { number - last - 1 };
        last = number;
    }
    // On a busy machine the sender itself leaves some out, and counts them.
    assert!(missing <= client.dropped(), "frames go on over the channel: {missing} missing");
    assert_eq!(client.state(), ClientState::Connected(SourceKind::WebRtc));
    proxy.set(Line::Through);
    until("the WebSocket is back", || client.stats().reconnects == 1);
    assert_eq!(client.stats().connection_id.expect("welcome"), id, "as the same connection");
    stream.end();
    let connections = get(&endpoint, "/api/v1/stats")["connections"].clone();
    assert_eq!(connections.as_array().map(Vec::len), Some(1), "{connections}");
    assert_eq!(connections[0]["data_channel_state"], "open", "{connections}");
    let (ids, lost) = identities(&endpoint);
    assert_eq!((ids.len(), lost.len()), (1, 0));
}

#[test]
fn reconnect_after_frozen_websocket() {
    let endpoint = start_on(0);
    let proxy = Proxy::start(&endpoint);
    let client = connect(&endpoint, proxy.url(), false);
    let stream = Stream::start(client.clone());
    wait_frame(&endpoint, |frame| frame.frame.sequence > Some(30));
    proxy.set(Line::Frozen);
    // No goodbye is sent: the idle timeout reports the loss.
    block_on(&endpoint, client.wait_for(|state| !matches!(state, ClientState::Connected(_))));
    let at_most = client.sent();
    proxy.set(Line::Through);
    let first = wait_frame(&endpoint, |frame| frame.frame.sequence > Some(at_most));
    assert!(first.frame.sequence.is_some());
    stream.end();
    assert!(client.stats().reconnects >= 1);
    let (ids, lost) = identities(&endpoint);
    assert_eq!((ids.len(), lost.len()), (1, 0), "the face is the same one throughout");
}

#[test]
fn reconnect_after_endpoint_restart() {
    let endpoint = start_on(0);
    let port = endpoint.addresses().http.port();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let client = Arc::new(Client::start(ClientConfig::new(url(&endpoint)).subject("Ann"), runtime.handle()));
    let stream = Stream::start(client.clone());
    wait_frame(&endpoint, |frame| frame.source == SourceKind::WebRtc);
    drop(endpoint);
    until("it is missed", || !matches!(client.state(), ClientState::Connected(_)));
    let again = start_on(port);
    wait_frame(&again, |frame| frame.source == SourceKind::WebRtc && &*frame.name == "Ann");
    stream.end();
    assert_eq!(identities(&again).0.len(), 1);
}

/// An endpoint hears a goodbye when this is done to one that dialled it.
fn goodbye_of(webrtc: bool, end: impl FnOnce(Endpoint, Client)) {
    let (far, near) = (start_on(0), start_on(0));
    let config = ClientConfig { webrtc, ..ClientConfig::new(url(&far)) }.subject("Ann");
    let client = near.connect(config).expect("runs");
    let source = if webrtc { SourceKind::WebRtc } else { SourceKind::WebSocket };
    let mut number = 0;
    until("a frame arrives", || {
        number += 1;
        client.send(jaw(0.5, number));
        std::thread::sleep(Duration::from_millis(5));
        far.frames().try_iter().any(|frame| frame.source == source)
    });
    end(near, client);
    let mut heard = None;
    until("the connection ends", || {
        heard = heard.take().or_else(|| {
            far.events().try_iter().find_map(|event| match event {
                LinkEvent::Disconnected { reason, .. } => Some(reason),
                _ => None,
            })
        });
        heard.is_some()
    });
    let heard = heard.unwrap_or_default();
    // A connection that breaks off has other reasons, and is waited for.
    assert!(heard.contains("closed"), "{heard}");
}

#[test]
fn client_drop_sends_goodbye() {
    for webrtc in [true, false] {
        goodbye_of(webrtc, |near, client| {
            drop(client);
            std::mem::forget(near);
        });
    }
}

#[test]
fn endpoint_drop_sends_goodbye_for_its_clients() {
    for webrtc in [true, false] {
        goodbye_of(webrtc, |near, client| {
            drop(near);
            std::mem::forget(client);
        });
    }
}

#[test]
fn session_resume_replaces_the_old_socket() {
    let endpoint = start_on(0);
    let url = url(&endpoint);
    block_on(&endpoint, async {
        let (mut first, _) = tokio_tungstenite::connect_async(&url).await.expect("open");
        first.send(Message::text(json!({"type": "hello", "binary": "facelink1"}).to_string())).await.expect("sent");
        let welcome = hear(&mut first, "welcome").await;
        assert_eq!((&welcome["binary"], &welcome["resumed"]), (&json!("facelink1"), &json!(false)));
        let data = json!({"type": "arkit_data", "blendshapes": {"jawOpen": 0.5}});
        first.send(Message::text(data.to_string())).await.expect("sent");
        first.send(Message::text(r#"{"type":"ping","t":1}"#)).await.expect("sent");
        hear(&mut first, "pong").await;

        let (mut second, _) = tokio_tungstenite::connect_async(&url).await.expect("open");
        assert_ne!(welcome["resume_token"], welcome["connection_id"], "the id is no secret");
        let hello = json!({"type": "hello", "resume": welcome["resume_token"]});
        second.send(Message::text(hello.to_string())).await.expect("sent");
        let resumed = hear(&mut second, "welcome").await;
        assert_eq!((&resumed["connection_id"], &resumed["resumed"]), (&welcome["connection_id"], &json!(true)));
        assert_eq!(resumed["subject"], "face-1", "the face that it had");
        let code = loop {
            if let Message::Close(Some(frame)) = first.next().await.expect("open").expect("good") {
                break u16::from(frame.code);
            }
        };
        assert_eq!(code, 4409);
        second.send(Message::text(data.to_string())).await.expect("sent");
        second.send(Message::text(r#"{"type":"get_stats"}"#)).await.expect("sent");
        let stats = hear(&mut second, "stats").await;
        assert_eq!((&stats["subject"], &stats["message_count"]), (&json!("face-1"), &json!(5)), "{stats}");
        // Broken off, not closed: a client that comes back later has the same name again.
        drop(second);
        let mut again = None;
        for _ in 0..100 {
            let (mut third, _) = tokio_tungstenite::connect_async(&url).await.expect("open");
            third.send(Message::text(hello.to_string())).await.expect("sent");
            let welcome = hear(&mut third, "welcome").await;
            if welcome["resumed"] == json!(false) {
                again = Some(welcome["subject"].clone());
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(again, Some(json!("face-1")));
    });
    assert_eq!(identities(&endpoint).0.len(), 1);
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

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
fn dial_out_endpoint_sends_and_receives() {
    let (theirs, ours) = (start_on(0), start_on(0));
    let config = ClientConfig { receive: true, ..ClientConfig::new(url(&theirs)) }.subject("Guest");
    let client = ours.connect(config).expect("runs");
    let mut number = 0;
    let mut send = || {
        number += 1;
        theirs.publish("Host", &jaw(0.25, number)).expect("taken");
        client.send(jaw(0.75, number));
        std::thread::sleep(Duration::from_millis(10));
    };
    let (mut heard, mut was_heard) = (None, None);
    until("both faces over WebRTC", || {
        send();
        let webrtc = |frame: &SubjectFrame| frame.source == SourceKind::WebRtc;
        heard = ours.frames().try_iter().find(webrtc).or(heard.take());
        was_heard = theirs.frames().try_iter().find(webrtc).or(was_heard.take());
        heard.is_some() && was_heard.is_some()
    });
    let (heard, was_heard) = (heard.expect("seen"), was_heard.expect("seen"));
    assert_eq!((&*heard.name, &*was_heard.name), ("Host", "Guest"));
    assert!((jaw_of(&heard) - 0.25).abs() < 0.01 && (jaw_of(&was_heard) - 0.75).abs() < 0.01);
    assert!(theirs.publish("Guest", &jaw(0.0, 1)).is_err(), "a name that another source bears");
    // A connection that a busy machine made anew may have got the face of the one before it, once.
    let names = || -> Vec<Value> {
        let subjects = get(&ours, "/api/v1/subjects");
        subjects["subjects"].as_array().expect("a list").iter().map(|subject| subject["name"].clone()).collect()
    };
    until("the other's face alone", || {
        send();
        names() == ["Host"]
    });
    (0..20).for_each(|_| send());
    assert_eq!(names(), ["Host"], "its own face does not come back");
    let connection = get(&ours, "/api/v1/stats")["connections"][0].clone();
    assert_eq!((&connection["direction"], &connection["data_channel_state"]), (&json!("out"), &json!("open")));

    // The rate that our engine demands reaches the sender, and theirs reaches us.
    theirs.set_rate(was_heard.id, Some(20.0));
    ours.set_rate(heard.id, Some(15.0));
    until("the rates", || {
        send();
        client.target_fps() == 20.0
    });
    // What is no longer sent leaves here too.
    until("the end of the face", || {
        client.send(jaw(0.75, 1_000_000));
        get(&ours, "/api/v1/subjects")["subjects"].as_array().is_some_and(Vec::is_empty)
    });
    drop(client);
    until("the guest has left", || get(&theirs, "/api/v1/subjects")["subjects"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn room_peers_connect_directly_or_by_the_endpoint() {
    let (meeting, ann, bob) = (start_on(0), start_on(0), start_on(0));
    let join = |endpoint: &Endpoint, name: &str, webrtc: bool| {
        let config =
            ClientConfig { receive: true, webrtc, room: Some("stage".to_owned()), ..ClientConfig::new(url(&meeting)) };
        endpoint.connect(config.subject(name)).expect("runs")
    };
    let (ann_client, bob_client) = (join(&ann, "Ann", true), join(&bob, "Bob", true));
    let mut number = 0;
    let mut pass = |ann_from: &mut Option<SubjectFrame>, bob_from: &mut Option<SubjectFrame>, source: SourceKind| {
        number += 1;
        ann_client.send(jaw(0.25, number));
        bob_client.send(jaw(0.75, number));
        std::thread::sleep(Duration::from_millis(10));
        *ann_from = bob.frames().try_iter().filter(|frame| frame.source == source).last();
        *bob_from = ann.frames().try_iter().filter(|frame| frame.source == source).last();
        ann_from.is_some() && bob_from.is_some()
    };
    let (mut at_bob, mut at_ann) = (None, None);
    until("both directly", || pass(&mut at_bob, &mut at_ann, SourceKind::WebRtc));
    let (at_bob, at_ann) = (at_bob.expect("seen"), at_ann.expect("seen"));
    assert_eq!((&*at_bob.name, &*at_ann.name), ("Ann", "Bob"));
    assert!((jaw_of(&at_bob) - 0.25).abs() < 0.01 && (jaw_of(&at_ann) - 0.75).abs() < 0.01);
    until("both know", || ann_client.stats().direct == 1 && bob_client.stats().direct == 1);
    let meeting_frames = || -> u64 { meeting.stats().subjects.iter().map(|subject| subject.frames).sum() };
    let before = meeting_frames();
    let (mut a, mut b) = (None, None);
    for _ in 0..50 {
        pass(&mut a, &mut b, SourceKind::WebRtc);
    }
    assert_eq!(meeting_frames(), before, "nothing goes by the endpoint any more");
    // The endpoint may go: they have each other.
    drop(meeting);
    let (mut a, mut b) = (None, None);
    for _ in 0..50 {
        pass(&mut a, &mut b, SourceKind::WebRtc);
    }
    until("still there", || pass(&mut a, &mut b, SourceKind::WebRtc));
}

#[test]
fn room_without_webrtc_is_relayed_by_the_endpoint() {
    let (meeting, ann, bob) = (start_on(0), start_on(0), start_on(0));
    let join = |endpoint: &Endpoint, name: &str| {
        let config = ClientConfig {
            receive: true,
            webrtc: false,
            room: Some("stage".to_owned()),
            ..ClientConfig::new(url(&meeting))
        };
        endpoint.connect(config.subject(name)).expect("runs")
    };
    let (ann_client, bob_client) = (join(&ann, "Ann"), join(&bob, "Bob"));
    let mut number = 0;
    let (mut at_bob, mut at_ann) = (false, false);
    until("both by the endpoint", || {
        number += 1;
        ann_client.send(jaw(0.25, number));
        bob_client.send(jaw(0.75, number));
        std::thread::sleep(Duration::from_millis(10));
        at_bob |= bob.frames().try_iter().any(|frame| &*frame.name == "Ann" && frame.source == SourceKind::WebSocket);
        at_ann |= ann.frames().try_iter().any(|frame| &*frame.name == "Bob" && frame.source == SourceKind::WebSocket);
        at_bob && at_ann
    });
}

/// Stands between a client and an endpoint as a signalling server that makes offers.
async fn offering_server(listener: TcpListener, endpoint: String) {
    let (stream, _) = listener.accept().await.expect("a client");
    let mut near = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
    let (mut far, _) = tokio_tungstenite::connect_async(endpoint).await.expect("open");
    loop {
        tokio::select! {
            Some(Ok(message)) = near.next() => {
                // A server of another make knows no `hello`, and takes no offer.
                let says = |kind: &str| message.to_text().is_ok_and(|text| text.contains(kind));
                if says(r#""type":"hello""#) {
                    far.send(Message::text(r#"{"type":"request_offer"}"#)).await.expect("sent");
                } else if !says(r#""type":"offer""#) && (message.is_text() || message.is_binary()) {
                    far.send(message).await.expect("sent");
                }
            }
            Some(Ok(message)) = far.next() => {
                if message.is_text() || message.is_binary() {
                    near.send(message).await.expect("sent");
                }
            }
            else => return,
        }
    }
}

#[test]
fn signalling_server_offer_is_answered() {
    let (theirs, ours) = (start_on(0), start_on(0));
    let listener = block_on(&theirs, TcpListener::bind("127.0.0.1:0")).expect("a free port");
    let address = listener.local_addr().expect("bound");
    theirs.runtime().expect("runs").spawn(offering_server(listener, url(&theirs)));
    let client = ours.connect(ClientConfig::new(format!("ws://{address}")).subject("Ann")).expect("runs");
    let mut number = 0;
    until("frames over the channel that the server offered", || {
        number += 1;
        client.send(jaw(0.25, number));
        std::thread::sleep(Duration::from_millis(10));
        theirs
            .frames()
            .try_iter()
            .any(|frame| frame.source == SourceKind::WebRtc && (jaw_of(&frame) - 0.25).abs() < 0.01)
    });
    let connections = get(&theirs, "/api/v1/stats")["connections"].clone();
    assert_eq!(connections.as_array().map(Vec::len), Some(1), "{connections}");
}

#[test]
fn deltas_are_decoded_and_smaller() {
    let endpoint = start_on(0);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let url = url(&endpoint);
    let connect = |subject: &str, delta: bool| {
        let config = ClientConfig { delta, webrtc: false, ..ClientConfig::new(&url).subject(subject) };
        Client::start(config, runtime.handle())
    };
    let (plain, deltas) = (connect("plain", false), connect("deltas", true));
    let performance = facelink::performer::Performance::new(3);
    let begun = Instant::now();
    let bytes = |subject: &str| {
        let of = endpoint.connections().into_iter().find(|connection| connection.subject.as_deref() == Some(subject));
        of.map_or((0, 0), |connection| (connection.message_count, connection.bytes_received))
    };
    let mut mark = None;
    loop {
        assert!(begun.elapsed() < LIMIT, "the deltas do not save anything: {:?} {:?}", bytes("plain"), bytes("deltas"));
        let mut face = performance.frame_at(begun.elapsed());
        face.weights.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
        plain.send(face.clone());
        deltas.send(face.clone());
        std::thread::sleep(Duration::from_millis(16));
        // The first acknowledgements come with the first reports.
        let (since_plain, since_deltas) = *mark.get_or_insert_with(|| (bytes("plain"), bytes("deltas")));
        let mean = |now: (u64, u64), then: (u64, u64)| (now.1 - then.1) as f64 / (now.0 - then.0).max(1) as f64;
        let (now_plain, now_deltas) = (bytes("plain"), bytes("deltas"));
        if begun.elapsed() < Duration::from_secs(1) {
            mark = None;
        } else if now_deltas.0 - since_deltas.0 > 60
            && mean(now_deltas, since_deltas) < 0.8 * mean(now_plain, since_plain)
        {
            break;
        }
    }
    // What is read is the face, and none was refused.
    let stats = endpoint.stats();
    assert_eq!(stats.refused, 0);
    let mut faces: Vec<_> = endpoint.frames().try_iter().filter(|frame| !frame.late).collect();
    let last = |name: &str, faces: &[SubjectFrame]| {
        faces.iter().rev().find(|frame| &*frame.name == name).expect("came").frame.clone()
    };
    let end = Instant::now() + LIMIT;
    let face = FaceFrame { head: None, gaze: None, ..performance.frame_at(Duration::from_secs(1)) };
    loop {
        plain.send(face.clone());
        deltas.send(face.clone());
        std::thread::sleep(Duration::from_millis(20));
        faces.extend(endpoint.frames().try_iter().filter(|frame| !frame.late));
        if last("plain", &faces).weights == last("deltas", &faces).weights {
            break;
        }
        assert!(Instant::now() < end, "the same face comes out of both");
    }
}
