//! Remote control by HTTP: who may, what is refused, and what it says.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use facelink::{
    Blendshape, FaceFrame,
    take::{TakeContent, TakeReader},
};
use facelink_net::{
    Endpoint, EndpointConfig, PhonePorts, SourceKind, SourceProfiles, TakeOptions,
    doctor::{Report, Severity},
    new_token, outward_address,
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

fn config() -> EndpointConfig {
    EndpointConfig {
        port: 0,
        live_link_face: Some(0),
        udp_json: Some(0),
        phones: PhonePorts::free(),
        // A folder of its own for each, removed by the system.
        takes: std::env::temp_dir().join(format!("facelink-takes-{}", new_token())),
        ..EndpointConfig::default()
    }
}

#[test]
fn takes_by_http_have_every_frame_that_the_engine_got() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let api = Api::of(&endpoint);
    assert_eq!(refusal(&api.send("POST", "takes/stop", &Value::Null)).1, "not_recording");
    for (body, field) in [
        (json!({"slate": ""}), "field `slate`"),
        (json!({"slate": "a\u{7}"}), "field `slate`"),
        (json!({"take": 0}), "field `take`"),
        (json!({"folder": "/etc"}), "field `folder`"),
    ] {
        let answer = api.send("POST", "takes/start", &body);
        assert_eq!(answer.0, 400, "{answer:?}");
        assert!(refusal(&answer).2.starts_with(field), "{answer:?}");
    }
    let (status, begun) = api.send("POST", "takes/start", &json!({"slate": "../sc/7", "packets": true}));
    assert_eq!((status, &begun["take"], &begun["recording"]), (200, &json!(1), &json!(true)), "{begun}");
    let file = std::path::PathBuf::from(begun["file"].as_str().expect("a file"));
    assert_eq!(file, endpoint.config().takes.join("___sc_7_001.mcap"), "no slate leaves the folder");
    let answer = api.send("POST", "takes/start", &json!({}));
    assert_eq!((refusal(&answer).0, refusal(&answer).1), (409, "already_recording"));

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = endpoint.addresses().udp_json.expect("a port");
    let mut received = Vec::new();
    for number in 0..100 {
        let face = json!({
            "type": "arkit_data", "subject": "Ann", "frame": number,
            "blendshapes": {"jawOpen": f64::from(number) / 97.0, "mine": 0.3},
        });
        socket.send_to(face.to_string().as_bytes(), to).expect("sent");
        received.push(endpoint.frames().recv_timeout(LIMIT).expect("a frame"));
    }
    assert_eq!(api.send("POST", "takes/mark", &json!({"text": "the good one"})).0, 204);
    assert_eq!(api.send("POST", "subjects/Ann/calibrate", &json!({"what": "neutral"})).0, 204);
    // What a process that is killed now would leave has it already.
    let end = Instant::now() + LIMIT;
    loop {
        let cut = std::fs::read(&file).expect("a file");
        let mut reader = TakeReader::open(std::io::Cursor::new(cut)).expect("a take");
        if reader.attachment("calibration.json").is_ok_and(|json| String::from_utf8_lossy(&json).contains("Ann")) {
            assert!(!reader.is_complete());
            break;
        }
        assert!(Instant::now() < end, "{:?}", reader.attachments());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(api.send("GET", "stats", &Value::Null).1["take"]["recording"], true);
    let (status, ended) = api.send("POST", "takes/stop", &Value::Null);
    assert_eq!((status, &ended["frames"], &ended["dropped"]), (200, &json!(100), &json!(0)), "{ended}");
    let listed = api.send("GET", "takes", &Value::Null).1;
    assert_eq!(listed["files"][0]["file"], "___sc_7_001.mcap");
    assert_eq!((&listed["take"]["recording"], &listed["files"][0]["bytes"]), (&json!(false), &ended["bytes"]));

    let mut reader = TakeReader::open(std::fs::File::open(&file).expect("a file")).expect("a take");
    let (mut frames, mut marks, mut packets, mut stats, mut appeared) = (Vec::new(), Vec::new(), 0, 0, 0);
    while let Some(entry) = reader.next_entry().expect("readable") {
        match entry.content {
            TakeContent::Frame(frame) => frames.push(*frame),
            TakeContent::Mark(text) => marks.push(text),
            TakeContent::Packet(_) => packets += 1,
            TakeContent::Stats(_) => stats += 1,
            TakeContent::Event(facelink_net::LinkEvent::SubjectAppeared { .. }) => appeared += 1,
            _ => {}
        }
    }
    assert_eq!((marks, packets, appeared), (vec!["the good one".to_owned()], 100, 1));
    assert!(stats >= 1 && reader.is_complete());
    assert_eq!(frames.len(), received.len());
    for (recorded, given) in frames.iter().zip(&received) {
        assert_eq!(recorded.frame.weights.map(f32::to_bits), given.frame.weights.map(f32::to_bits));
        assert_eq!((&recorded.frame, recorded.stamp, recorded.id), (&given.frame, given.stamp, given.id));
    }
    let profiles: Value = serde_json::from_slice(&reader.attachment("profiles.json").expect("attached")).expect("JSON");
    assert!(profiles["apps"]["live_link_face"].is_object(), "{profiles}");
    assert!(reader.attachments().iter().any(|attachment| attachment.name == "calibration.json"));

    // The number counts up, and no take is overwritten.
    let (_, second) = api.send("POST", "takes/start", &json!({"slate": "../sc/7"}));
    assert_eq!(second["take"], 2, "{second}");
    assert_eq!(api.send("POST", "takes/stop", &Value::Null).0, 200);
    let answer = api.send("POST", "takes/start", &json!({"slate": "../sc/7", "take": 2}));
    assert_eq!((refusal(&answer).0, refusal(&answer).1), (409, "take_exists"), "{answer:?}");
    // What still runs when the endpoint ends is ended with it.
    let whole =
        |file: &str| TakeReader::open(std::fs::File::open(file).expect("a file")).expect("a take").is_complete();
    let third = endpoint.start_take(TakeOptions::default()).expect("a take");
    endpoint.end_take();
    let limit = Instant::now() + LIMIT;
    while endpoint.take_status().is_none_or(|take| take.recording) {
        assert!(Instant::now() < limit, "the take does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(whole(&third.file));
    let folder = endpoint.config().takes.clone();
    let fourth = endpoint.start_take(TakeOptions::default()).expect("a take");
    drop(endpoint);
    assert!(whole(&fourth.file));
    let _ = std::fs::remove_dir_all(folder);
}

/// An endpoint on every address, and its address for a remote peer; `None` on a machine that has none but loopback.
fn open_to_remote_peers() -> Option<(Endpoint, String)> {
    let Some(own) = outward_address() else {
        assert!(std::env::var_os("CI").is_none(), "this machine has no network");
        eprintln!("skipped: this machine has no network");
        return None;
    };
    let config = EndpointConfig { bind: [0, 0, 0, 0].into(), token: Some("right".to_owned()), ..config() };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let url = format!("http://{own}:{}/api/v1/", endpoint.addresses().http.port());
    Some((endpoint, url))
}

struct Api {
    agent: ureq::Agent,
    url: String,
}

impl Api {
    fn new(url: String) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(LIMIT));
        Self { agent: config.build().into(), url }
    }

    fn of(endpoint: &Endpoint) -> Self {
        Self::new(format!("http://{}/api/v1/", endpoint.addresses().http))
    }

    /// Status and body; `headers` in pairs.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = self.agent.run(request.body(body.to_owned()).expect("a request")).expect("answers");
        let text = answer.body_mut().read_to_string().expect("text");
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.ask(method, path, &[("content-type", "application/json")], &body.to_string())
    }
}

fn refusal(answer: &(u16, Value)) -> (u16, &str, &str) {
    let error = &answer.1["error"];
    (answer.0, error["code"].as_str().unwrap_or_default(), error["message"].as_str().unwrap_or_default())
}

/// Every request that there is, with a body that would be taken.
fn requests() -> [(&'static str, &'static str, Value); 15] {
    [
        ("GET", "takes", Value::Null),
        ("POST", "takes/start", json!({"slate": "scene 7"})),
        ("POST", "takes/mark", json!({"text": "good"})),
        ("GET", "doctor", Value::Null),
        ("GET", "phones", Value::Null),
        ("GET", "profiles/vmc", Value::Null),
        ("POST", "phones", json!({"address": "127.0.0.9", "app": "live_link_face"})),
        ("POST", "phones/127.0.0.9/command", json!("start")),
        ("DELETE", "phones/127.0.0.9", Value::Null),
        ("POST", "subjects/Ann/calibrate", json!({"what": "neutral"})),
        ("POST", "subjects/Ann/enable", json!({"enabled": false})),
        ("POST", "subjects/Ann/rename", json!({"name": "Hero"})),
        ("POST", "subjects/Ann/alias", json!({"name": "Hero"})),
        ("PUT", "profiles/vmc", json!({"mirror": true})),
        ("PUT", "profiles/face_cap", json!({})),
    ]
}

#[test]
fn remote_api_requires_token_of_remote_peers() {
    let Some((endpoint, url)) = open_to_remote_peers() else { return };
    let api = Api::new(url);
    for (method, path, body) in requests() {
        let answer = api.send(method, path, &body);
        assert_eq!(refusal(&answer).0, 401, "{method} {path}: {answer:?}");
    }
    assert!(endpoint.phones().is_empty());
    assert!(endpoint.take_status().is_none() && !endpoint.profile(SourceKind::Vmc).mirror);
    for (method, path, body) in requests() {
        let headers = [("content-type", "application/json"), ("authorization", "Bearer right")];
        let (status, answer) = api.ask(method, path, &headers, &body.to_string());
        let wanted = match (method, path) {
            ("DELETE", _) | ("POST", "takes/mark") => 204,
            ("POST", "phones/127.0.0.9/command") => 202,
            ("POST", path) if path.starts_with("subjects/Ann/") => 404,
            _ => 200,
        };
        assert_eq!(status, wanted, "{method} {path}: {answer}");
    }
    assert!(endpoint.profile(SourceKind::Vmc).mirror);
}

#[test]
fn remote_api_refuses_foreign_pages() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let api = Api::of(&endpoint);
    let evil = ("origin", "https://evil.example");
    for (method, path, body) in requests().into_iter().filter(|(method, ..)| *method != "GET") {
        let answer = api.ask(method, path, &[evil, ("content-type", "application/json")], &body.to_string());
        assert_eq!(refusal(&answer).1, "forbidden_origin", "{method} {path}: {answer:?}");
        // What a page may send without asking first.
        let answer = api.ask(method, path, &[("content-type", "text/plain")], &body.to_string());
        if method != "DELETE" {
            assert_eq!((refusal(&answer).0, refusal(&answer).1), (415, "bad_type"), "{method} {path}: {answer:?}");
        }
    }
    assert!(endpoint.phones().is_empty() && !endpoint.profile(SourceKind::Vmc).mirror);
    // After a body that was not read, no request can follow.
    let closes = |path: &str, origin| {
        let request = ureq::http::Request::builder().method("POST").uri(format!("{}{path}", api.url));
        let request = request.header("content-type", "application/json").header("origin", origin);
        let answer = api.agent.run(request.body("{}".to_owned()).expect("a request")).expect("answers");
        answer.headers().get("connection").is_some_and(|value| value == "close")
    };
    assert!(closes("takes/stop", "https://evil.example"));
    assert!(!closes("takes/mark", "http://localhost:3000"), "this one was read");
    // By a foreign name that resolves to this machine.
    let answer = api.ask("GET", "doctor", &[("host", "evil.example")], "");
    assert_eq!(refusal(&answer).1, "forbidden_host", "{answer:?}");
    // A page that may, may use every method.
    let preflight = ureq::http::Request::builder().method("OPTIONS").uri(format!("{}profiles/vmc", api.url));
    let preflight = preflight.header("origin", "http://localhost:3000").body(()).expect("a request");
    let answer = api.agent.run(preflight).expect("answers");
    let methods = answer.headers()["access-control-allow-methods"].to_str().expect("text");
    assert!(["GET", "POST", "PUT", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
}

#[test]
fn remote_api_refusal_names_the_field() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let api = Api::of(&endpoint);
    assert_eq!(api.send("POST", "phones", &json!({"address": "127.0.0.9", "app": "live_link_face"})).0, 200);
    for (method, path, body, wanted) in [
        ("POST", "phones", json!({}), "`address`"),
        ("POST", "phones", json!({"address": 7}), "field `address`"),
        ("POST", "phones", json!({"address": "nowhere"}), "field `address`"),
        ("POST", "phones", json!({"address": "0.0.0.0"}), "field `address`: must be the address of one phone"),
        ("POST", "phones", json!({"address": "127.0.0.9", "app": "fax"}), "field `app`"),
        (
            "POST",
            "phones",
            json!({"address": "127.0.0.9", "app": "face_cap"}),
            "field `app`: face_cap cannot be called",
        ),
        ("POST", "phones", json!({"address": "127.0.0.9", "port": 70000}), "field `port`"),
        ("POST", "phones", json!({"address": "127.0.0.9", "transport": "pigeon"}), "field `transport`"),
        ("POST", "phones", json!({"address": "127.0.0.9", "ap": "vmc"}), "field `ap`: there is no such field"),
        ("POST", "phones/127.0.0.9/command", json!("dance"), "dance"),
        ("POST", "phones/127.0.0.9/command", json!({"take": "x"}), "field `take`"),
        ("POST", "phones/127.0.0.9/command", json!({"slate": ""}), "field `slate`"),
        ("POST", "phones/127.0.0.9/command", json!({"record_start": {"slate": "a"}}), "`take`"),
        ("POST", "phones/nobody/command", json!("start"), "field `address`"),
        ("DELETE", "phones/nobody", Value::Null, "field `address`"),
        ("POST", "subjects/Ann/calibrate", json!({"what": "nose"}), "field `what`"),
        ("PUT", "profiles/vmc", json!({"head": {"order": "xxx"}}), "field `head.order`"),
        ("PUT", "profiles/vmc", json!({"head": {"gain": 0}}), "field `head.gain`"),
        ("PUT", "profiles/vmc", json!({"metres_per_unit": 1e99}), "field `metres_per_unit`"),
        ("PUT", "profiles/vmc", json!({"mirrow": true}), "field `mirrow`"),
    ] {
        let answer = api.send(method, path, &body);
        let (status, code, message) = refusal(&answer);
        assert_eq!(status, 400, "{method} {path} {body}: {answer:?}");
        assert!(
            matches!(code, "bad_field" | "bad_json") && message.contains(wanted),
            "{method} {path} {body}: {answer:?}"
        );
    }
    assert_eq!(refusal(&api.send("PUT", "profiles/telegraph", &json!({}))).1, "unknown_app");
    assert_eq!(refusal(&api.send("DELETE", "phones/127.0.0.8", &Value::Null)).1, "unknown_phone");
    assert_eq!(refusal(&api.send("POST", "subjects/Nobody/calibrate", &json!({"what": "head"}))).1, "unknown_subject");
    let typed = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(refusal(&api.ask("POST", "phones", &typed, "{")).1, "bad_json");
    assert_eq!(refusal(&api.ask("POST", "phones", &typed, &"[".repeat(10_000))).1, "bad_json");
    let large = format!("{{\"address\": \"{}\"}}", " ".repeat(70_000));
    assert_eq!(refusal(&api.ask("POST", "phones", &typed, &large)).1, "too_large");
    let refused = endpoint.stats().refused;
    assert!(refused >= 26, "each is counted: {refused}");
    assert_eq!(endpoint.profile(SourceKind::Vmc), SourceProfiles::usual(SourceKind::Vmc));
    assert_eq!(endpoint.phones().len(), 1);
}

#[test]
fn remote_api_doctor_matches_endpoint() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let (status, answer) = Api::of(&endpoint).ask("GET", "doctor", &[], "");
    assert_eq!(status, 200, "{answer}");
    let there: Report = serde_json::from_value(answer).expect("a report");
    let here = endpoint.diagnose().expect("it runs");
    assert_eq!((&there.listening, &there.addresses, &there.page), (&here.listening, &here.addresses, &here.page));
    let texts = |report: &Report| report.advice.iter().map(|advice| advice.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&there), texts(&here));
    assert!(there.advice.iter().any(|advice| advice.severity == Severity::Warning && advice.text.contains("--lan")));
}

#[test]
fn remote_api_range_of_motion() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let api = Api::of(&endpoint);
    let ask = |what: &str| api.send("POST", "subjects/Ann/calibrate", &json!({ "what": what }));
    let smile = |weight: f32| {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::MouthSmileLeft, weight);
        endpoint.publish("Ann", &frame).expect("it is taken");
    };
    smile(0.0);
    assert_eq!(refusal(&ask("range_end")).1, "no_range");
    assert_eq!(ask("range_begin").0, 204);
    for _ in 0..10 {
        smile(0.5);
    }
    assert_eq!(ask("range_cancel").0, 204);
    assert_eq!(endpoint.calibration("Ann").and_then(|calibration| calibration.range), None);
    assert_eq!(ask("range_begin").0, 204);
    for _ in 0..10 {
        smile(0.5);
    }
    assert_eq!(ask("range_end").0, 204);
    let range = endpoint.calibration("Ann").and_then(|calibration| calibration.range).expect("a range");
    assert_eq!(range[Blendshape::MouthSmileLeft.index()], 0.5);
    assert_eq!(range[Blendshape::JawOpen.index()], 1.0, "what was not made stays as it is");
    assert_eq!(
        refusal(&api.send("POST", "subjects/Bob/calibrate", &json!({"what": "range_begin"}))).1,
        "unknown_subject"
    );
}

#[test]
fn remote_api_enables_renames_and_aliases_subjects() {
    let endpoint = Endpoint::start(config()).expect("an endpoint");
    let api = Api::of(&endpoint);
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let to = endpoint.addresses().udp_json.expect("a port");
    let say = |subject: &str, jaw: f32| {
        let face = json!({"type": "arkit_data", "subject": subject, "blendshapes": {"jawOpen": jaw}});
        socket.send_to(face.to_string().as_bytes(), to).expect("sent");
    };
    // Of one socket in their order: what was sent before is in once a frame of this name comes.
    let next = |subject: &str| {
        say("last", 0.0);
        let mut seen = Vec::new();
        loop {
            let frame = endpoint.frames().recv_timeout(LIMIT).expect("a frame");
            if &*frame.name == "last" {
                break assert_eq!(seen, if subject.is_empty() { vec![] } else { vec![subject.to_owned()] });
            }
            seen.push(frame.name.to_string());
        }
    };
    say("a phone/1", 0.5);
    next("a phone/1");
    let phone = "subjects/a%20phone%2F1";
    assert_eq!(api.send("POST", &format!("{phone}/enable"), &json!({"enabled": false})).0, 204);
    say("a phone/1", 0.5);
    next("");
    let listed = api.send("GET", "subjects", &Value::Null).1;
    let first = &listed["subjects"][0];
    assert_eq!((&first["name"], &first["enabled"]), (&json!("a phone/1"), &json!(false)), "{listed}");
    assert_eq!(first["blendshapes"]["jawOpen"], 0.5, "it can be looked at before it is shown");
    assert_eq!(listed["rules"], json!({"names": {}, "disabled": ["a phone/1"]}));
    let metrics = api.agent.get(api.url.replace("/api/v1/", "/metrics")).call().expect("answers");
    let metrics = metrics.into_body().read_to_string().expect("text");
    let wanted = "facelink_subject_enabled{subject=\"a phone/1\",source=\"udp_json\"} 0";
    assert!(metrics.contains(wanted), "{metrics}");

    assert_eq!(api.send("POST", &format!("{phone}/rename"), &json!({"name": "Hero"})).0, 204);
    assert_eq!(api.send("POST", "subjects/Hero/enable", &json!({"enabled": true})).0, 204);
    say("a phone/1", 0.5);
    next("Hero");
    assert_eq!(api.send("POST", "subjects/last/alias", &json!({"name": "Hero"})).0, 204);
    assert_eq!(api.send("POST", "subjects/Hero/rename", &json!({"name": null})).0, 204);
    say("a phone/1", 0.5);
    next("a phone/1");

    let taken = api.send("POST", &format!("{phone}/rename"), &json!({"name": "last"}));
    assert_eq!((refusal(&taken).0, refusal(&taken).1), (409, "name_taken"));
    for (path, body, status, code, message) in [
        ("subjects/Eve/enable", json!({"enabled": true}), 404, "unknown_subject", "`Eve`"),
        ("subjects/last/rename", json!({"name": ""}), 400, "bad_field", "field `name`"),
        ("subjects/last/alias", json!({"name": "a\n"}), 400, "bad_field", "field `name`"),
        ("subjects/last/alias", json!({}), 400, "bad_json", "name"),
        ("subjects/last/enable", json!({"enabled": "no"}), 400, "bad_field", "field `enabled`"),
        ("subjects/last/rename", json!({"name": "b", "to": "c"}), 400, "bad_field", "field `to`"),
    ] {
        let answer = api.send("POST", path, &body);
        let (is, named, said) = refusal(&answer);
        assert!((is, named) == (status, code) && said.contains(message), "{path} {body}: {answer:?}");
    }
}
