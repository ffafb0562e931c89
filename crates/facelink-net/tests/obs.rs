//! Takes with OBS: a server that answers as OBS 29 does, over a real WebSocket. The same against OBS itself is in
//! `facelink-cli/tests/interop/obs.rs`.

#![cfg(all(feature = "obs", feature = "phones"))]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    FaceFrame,
    take::{ObsRecording, TakeContent, TakeReader},
    wire::osc::{encode, message, text},
};
use facelink_net::{Endpoint, EndpointConfig, ObsConfig, ObsState, PhoneCall, PhonePorts, SourceKind, TakeOptions};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::broadcast};
use tokio_tungstenite::{accept_async, tungstenite::Message};

const LIMIT: Duration = Duration::from_secs(30);

/// What the server knows.
#[derive(Default)]
struct State {
    recording: bool,
    pattern: String,
    /// When it was asked to begin, and every request by its name.
    begun: Vec<Instant>,
    requests: Vec<String>,
}

/// A server that records nothing, and says that it does.
struct FakeObs {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Value>,
    _runtime: tokio::runtime::Runtime,
}

fn state_event(state: &str, path: Option<&str>) -> Value {
    json!({"op": 5, "d": {"eventType": "RecordStateChanged", "eventIntent": 64, "eventData": {
        "outputActive": matches!(state, "STARTED"),
        "outputState": format!("OBS_WEBSOCKET_OUTPUT_{state}"),
        "outputPath": path,
    }}})
}

impl FakeObs {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("bound");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(Mutex::new(State { pattern: "%CCYY-%MM-%DD".to_owned(), ..State::default() }));
        let events = broadcast::channel(64).0;
        let (shared, sender) = (state.clone(), events.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, shared.clone(), sender.clone()));
            }
        });
        Self { address, state, events, _runtime: runtime }
    }

    fn config(&self) -> ObsConfig {
        ObsConfig { password: Some("secret".to_owned()), ..ObsConfig::new(format!("ws://{}", self.address)) }
    }

    /// As a user does in OBS's window.
    fn by_hand(&self, record: bool) {
        self.state.lock().recording = record;
        for state in if record { ["STARTING", "STARTED"] } else { ["STOPPING", "STOPPED"] } {
            let _ = self.events.send(state_event(state, Some("/videos/hand.mkv")));
        }
    }
}

/// The protocol's answer to the challenge below.
fn expected() -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let hash = |text: String| BASE64_STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    hash(hash("secretsalt".to_owned()) + "challenge")
}

async fn serve(stream: tokio::net::TcpStream, state: Arc<Mutex<State>>, events: broadcast::Sender<Value>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    let mut published = events.subscribe();
    let hello = json!({"op": 0, "d": {"obsWebSocketVersion": "5.1.0", "rpcVersion": 1,
        "authentication": {"challenge": "challenge", "salt": "salt"}}});
    let _ = socket.send(Message::text(hello.to_string())).await;
    loop {
        let received = tokio::select! {
            event = published.recv() => {
                let Ok(event) = event else { return };
                let _ = socket.send(Message::text(event.to_string())).await;
                continue;
            }
            received = socket.next() => received,
        };
        let Some(Ok(Message::Text(text))) = received else { return };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let d = &message["d"];
        let answer = match message["op"].as_u64() {
            Some(1) if d["authentication"] == expected() => json!({"op": 2, "d": {"negotiatedRpcVersion": 1}}),
            Some(1) => {
                let code = tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode::from(4009);
                let frame = tokio_tungstenite::tungstenite::protocol::CloseFrame {
                    code,
                    reason: "Authentication failed.".into(),
                };
                let _ = socket.close(Some(frame)).await;
                return;
            }
            Some(6) => {
                let mut answer = answer(d, &state, &events);
                answer["requestId"] = d["requestId"].clone();
                json!({"op": 7, "d": answer})
            }
            Some(8) => {
                let requests = d["requests"].as_array().expect("requests");
                let results: Vec<Value> = requests.iter().map(|request| answer(request, &state, &events)).collect();
                json!({"op": 9, "d": {"requestId": d["requestId"], "results": results}})
            }
            _ => panic!("{message}"),
        };
        let _ = socket.send(Message::text(answer.to_string())).await;
    }
}

fn answer(request: &Value, state: &Mutex<State>, events: &broadcast::Sender<Value>) -> Value {
    let kind = request["requestType"].as_str().expect("a type");
    let mut state = state.lock();
    state.requests.push(kind.to_owned());
    let path = format!("/videos/{}.mkv", state.pattern);
    let (code, data) = match kind {
        "GetRecordStatus" => (100, json!({"outputActive": state.recording, "outputDuration": 0})),
        "GetCurrentProgramScene" => (100, json!({"currentProgramSceneName": "Desk"})),
        "GetProfileParameter" => (100, json!({"parameterValue": state.pattern})),
        "SetProfileParameter" => {
            state.pattern = request["requestData"]["parameterValue"].as_str().unwrap_or("default").to_owned();
            (100, Value::Null)
        }
        "StartRecord" if state.recording => (500, Value::Null),
        "StartRecord" => {
            state.recording = true;
            state.begun.push(Instant::now());
            for event in ["STARTING", "STARTED"] {
                let _ = events.send(state_event(event, Some(&path)));
            }
            (100, Value::Null)
        }
        "StopRecord" if !state.recording => (501, Value::Null),
        "StopRecord" => {
            state.recording = false;
            for event in ["STOPPING", "STOPPED"] {
                let _ = events.send(state_event(event, Some("/videos/scene 7_001.mkv")));
            }
            (100, json!({"outputPath": "/videos/scene 7_001.mkv"}))
        }
        other => panic!("{other}"),
    };
    json!({"requestType": kind, "requestStatus": {"result": code == 100, "code": code}, "responseData": data})
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn start(config: ObsConfig, folder: &std::path::Path) -> Endpoint {
    Endpoint::start(EndpointConfig {
        port: 0,
        obs: Some(config),
        takes: folder.to_owned(),
        ..EndpointConfig::default()
    })
    .expect("starts")
}

fn is(endpoint: &Endpoint, state: ObsState) -> bool {
    endpoint.stats().obs.is_some_and(|obs| obs.state == state)
}

/// What a take has of OBS, and its marks.
fn read(file: &str) -> (Vec<ObsRecording>, Vec<String>, Option<ObsRecording>) {
    let mut reader = TakeReader::open(std::fs::File::open(file).expect("a file")).expect("a take");
    let (mut reports, mut marks) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry().expect("readable") {
        match entry.content {
            TakeContent::Obs(report) => reports.push(report),
            TakeContent::Mark(text) => marks.push(text),
            _ => {}
        }
    }
    (reports, marks, reader.info().expect("readable").obs)
}

#[test]
fn obs_records_with_a_take_and_its_file_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let obs = FakeObs::start();
    let endpoint = start(obs.config(), folder.path());
    wait("connected", || is(&endpoint, ObsState::Connected));
    let options = TakeOptions { slate: Some("scene 7".to_owned()), ..TakeOptions::default() };
    let status = endpoint.start_take(options).expect("a take");
    wait("it records", || endpoint.stats().obs.is_some_and(|obs| obs.recording));
    wait("its pattern is back", || obs.state.lock().pattern == "%CCYY-%MM-%DD");
    let seen = endpoint.stats().obs.expect("OBS");
    assert_eq!((seen.version.as_deref(), seen.scene.as_deref()), (Some("5.1.0"), Some("Desk")));
    assert_eq!(seen.file.as_deref(), Some("/videos/scene 7_001.mkv"));
    let event = json!({"op": 5, "d": {"eventType": "CurrentProgramSceneChanged", "eventData": {"sceneName": "Close"}}});
    obs.events.send(event).expect("sent");
    wait("the scene", || endpoint.stats().obs.is_some_and(|obs| obs.scene.as_deref() == Some("Close")));
    endpoint.stop_take().expect("a take");
    let (reports, marks, info) = read(&status.file);
    let [began, ended] = &reports[..] else { panic!("{reports:?}") };
    assert!(began.recording && !ended.recording && began.problem.is_none() && ended.problem.is_none(), "{reports:?}");
    assert!(began.offset_ns.is_some_and(|offset| offset.abs() < 20_000_000_000), "{reports:?}");
    assert_eq!(ended.files, ["/videos/scene 7_001.mkv"]);
    assert_eq!(marks, ["scene Desk", "scene Close"]);
    let info = info.expect("OBS");
    assert_eq!((info.files, info.offset_ns), (ended.files.clone(), began.offset_ns));

    // A take without it.
    let quiet = endpoint.start_take(TakeOptions { obs: Some(false), ..TakeOptions::default() }).expect("a take");
    endpoint.stop_take().expect("a take");
    assert_eq!(read(&quiet.file).0, []);
    assert_eq!(obs.state.lock().begun.len(), 1);
}

#[test]
fn obs_by_hand_begins_and_ends_a_take() {
    let folder = tempfile::tempdir().expect("a folder");
    let obs = FakeObs::start();
    let endpoint = start(ObsConfig { starts_takes: true, ..obs.config() }, folder.path());
    wait("connected", || is(&endpoint, ObsState::Connected));
    obs.by_hand(true);
    wait("a take", || endpoint.take_status().is_some_and(|take| take.recording));
    obs.by_hand(false);
    wait("its end", || endpoint.take_status().is_some_and(|take| !take.recording && take.bytes > 0));
    let file = endpoint.take_status().expect("a take").file;
    let whole = || TakeReader::open(std::fs::File::open(&file).expect("a file")).is_ok_and(|take| take.is_complete());
    wait("it is whole", whole);
    let (reports, ..) = read(&file);
    assert_eq!(reports.last().map(|report| report.files.clone()), Some(vec!["/videos/hand.mkv".to_owned()]));
    assert!(reports.iter().all(|report| report.problem.is_none()), "{reports:?}");
}

#[test]
fn obs_that_is_absent_or_refuses_leaves_takes_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let obs = FakeObs::start();
    let endpoint = start(ObsConfig { password: Some("wrong".to_owned()), ..obs.config() }, folder.path());
    wait("refused", || is(&endpoint, ObsState::Refused));
    let status = endpoint.start_take(TakeOptions::default()).expect("a take");
    endpoint.stop_take().expect("a take");
    let (reports, ..) = read(&status.file);
    let problem = reports.first().and_then(|report| report.problem.clone()).expect("a problem");
    assert_eq!(problem, "OBS is not connected: OBS refuses the password");
    let report = endpoint.diagnose().expect("a report");
    assert!(report.advice.iter().any(|advice| advice.text.contains("OBS refuses the password")), "{report:?}");
    let error =
        Endpoint::start(EndpointConfig { port: 0, obs: Some(ObsConfig::new("ftp://x")), ..EndpointConfig::default() });
    let error = error.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.starts_with("field `obs.url`"), "{error}");

    let gone = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("bound");
    let endpoint = start(ObsConfig::new(gone.to_string()), folder.path());
    wait("it is tried again", || endpoint.stats().obs.is_some_and(|obs| obs.failures >= 2 && obs.error.is_some()));
}

/// Phones that only note when they are asked to record, each with an address of its own.
#[cfg(target_os = "linux")]
#[test]
fn obs_and_phones_are_asked_to_record_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let obs = FakeObs::start();
    let app = SourceKind::LiveLinkFace;
    let phones: Vec<UdpSocket> = (1..=4)
        .map(|last| UdpSocket::bind((std::net::Ipv4Addr::new(127, 0, 0, 10 + last), 0)).expect("bound"))
        .collect();
    let call = phones.iter().map(|phone| phone.local_addr().expect("bound"));
    let call = call.map(|at| PhoneCall { port: Some(at.port()), ..PhoneCall::app(at.ip(), app) }).collect();
    let endpoint = Endpoint::start(EndpointConfig {
        port: 0,
        obs: Some(obs.config()),
        call,
        phones: PhonePorts::free(),
        live_link_face: Some(0),
        takes: folder.path().to_owned(),
        takes_with_phones: true,
        ..EndpointConfig::default()
    })
    .expect("starts");
    wait("connected", || is(&endpoint, ObsState::Connected));
    let heard: Vec<_> = phones
        .into_iter()
        .map(|phone| {
            std::thread::spawn(move || {
                phone.set_read_timeout(Some(LIMIT)).expect("set");
                let mut buffer = [0; 1500];
                loop {
                    let (len, from) = phone.recv_from(&mut buffer).expect("heard");
                    let at = Instant::now();
                    let Ok((_, rosc::OscPacket::Message(asked))) = rosc::decoder::decode_udp(&buffer[..len]) else {
                        continue;
                    };
                    if asked.addr == "/RecordStart" {
                        assert_eq!(text(asked.args.first()), Some("Duel"));
                        let confirm =
                            message("/RecordStartConfirm", vec![rosc::OscType::String("10:00:00:00".to_owned())]);
                        phone.send_to(&encode(&confirm), from).expect("sent");
                        return at;
                    }
                }
            })
        })
        .collect();
    let asked = Instant::now();
    let options = TakeOptions { slate: Some("Duel".to_owned()), ..TakeOptions::default() };
    assert_eq!(endpoint.start_take(options).expect("a take").phones, 4);
    let mut times: Vec<_> = heard.into_iter().map(|phone| phone.join().expect("heard")).collect();
    wait("OBS", || !obs.state.lock().begun.is_empty());
    times.push(obs.state.lock().begun[0]);
    let ms: Vec<_> = times.iter().map(|time| time.saturating_duration_since(asked).as_secs_f64() * 1000.0).collect();
    let spread = ms.iter().copied().fold(0.0, f64::max) - ms.iter().copied().fold(f64::MAX, f64::min);
    println!("four phones and OBS were asked {ms:.2?} ms after the take was: within {spread:.2} ms");
    endpoint.publish("Own", &FaceFrame::neutral()).expect("published");
    endpoint.stop_take().expect("a take");
}
