//! OSC by other makers' libraries: python-osc and node-osc send to us and receive from us.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{
    net::{SocketAddr, UdpSocket},
    path::PathBuf,
    process::Command,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{LIMIT, Listener, Process, file, have, missing, noisy};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Library {
    Python,
    Node,
}

/// Where `.ci/osc-peers` installs both.
fn packages() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/facelink/osc-peers"));
    std::env::var_os("FACELINK_OSC_PEERS").map(PathBuf::from).or_else(home).unwrap_or_default()
}

impl Library {
    /// `None` where it is not installed.
    fn command(self, arguments: &[&str]) -> Option<Command> {
        let (program, script, folder, library) = match self {
            Self::Python => ("python3", "tests/peers/python_osc.py", "python", "pythonosc"),
            Self::Node => ("node", "tests/peers/node_osc.mjs", ".", "node_modules/node-osc"),
        };
        let packages = packages().join(folder);
        if !packages.join(library).is_dir() {
            missing(&format!("{} is not there (.ci/osc-peers installs it)", packages.join(library).display()));
            return None;
        }
        if !have(program, &["--version"], program) {
            return None;
        }
        let mut command = Command::new(program);
        command.arg(file(script)).arg(packages).args(arguments);
        Some(command)
    }
}

/// A listener, and its port for VMC protocol.
fn listener() -> (Listener, SocketAddr) {
    let listener = Listener::start(&["--phone-port", "vmc=0"]);
    let port = listener.phone("vmc");
    (listener, port)
}

/// The yaw of the only face's head, positive to the performer's left.
fn yaw(listener: &Listener) -> Option<f64> {
    let subjects = listener.get("/api/v1/subjects");
    let rotation = &subjects["subjects"][0]["head"]["rotation"];
    Some(2.0 * rotation[1].as_f64()?.atan2(rotation[3].as_f64()?))
}

/// Runs a sender until its jaw and its head were seen to move as it moves them.
fn sends(library: Library, way: &str, source: &str) {
    let _noisy = noisy();
    let (listener, port) = listener();
    let Some(command) = library.command(&["send", &port.to_string(), way]) else { return };
    let _sender = Process::start(command, way);
    let end = Instant::now() + LIMIT;
    let mut range = (f64::MAX, f64::MIN);
    if way != "bones" {
        while range.1 - range.0 < 0.5 {
            let frame = listener.frame_by(source);
            let jaw = frame.jaw();
            if jaw.is_nan() {
                continue;
            }
            assert!((0.0..=1.0).contains(&jaw), "{frame:?}");
            range = (range.0.min(jaw), range.1.max(jaw));
            if way == "bundle" {
                let closed = frame.blendshapes["mouthClose"].as_f64().expect("a weight");
                assert!((jaw + closed - 1.0).abs() < 0.001, "a frame is shown as a whole: {frame:?}");
            }
            if way == "change" {
                let smile = frame.blendshapes["mouthSmileLeft"].as_f64().expect("a weight");
                assert!(smile > 0.8, "said once: {frame:?}");
            }
        }
    }
    range = (f64::MAX, f64::MIN);
    while way != "change" && range.1 - range.0 < 0.2 {
        if let Some(yaw) = yaw(&listener) {
            assert!((-0.001..0.501).contains(&yaw), "to the left, by half a radian: {yaw}");
            range = (range.0.min(yaw), range.1.max(yaw));
        }
        assert!(Instant::now() < end, "the head stands still at {range:?}: {}", listener.get("/api/v1/subjects"));
        thread::sleep(Duration::from_millis(10));
    }
    let stats = listener.get("/api/v1/stats");
    assert_eq!((&stats["subjects"], &stats["refused"]), (&json!(1), &json!(0)), "{stats}");
}

#[test]
fn osc_python_vmc_in_one_bundle() {
    sends(Library::Python, "bundle", "vmc");
}

#[test]
fn osc_python_vmc_without_commit() {
    sends(Library::Python, "single", "vmc");
    sends(Library::Python, "bones", "vmc");
}

#[test]
fn osc_python_vmc_value_lasts() {
    sends(Library::Python, "change", "vmc");
}

#[test]
fn osc_python_face_cap_by_floats() {
    sends(Library::Python, "face-cap", "face_cap");
}

#[test]
fn osc_node_vmc() {
    for way in ["bundle", "single", "bones", "change"] {
        sends(Library::Node, way, "vmc");
    }
}

#[test]
fn osc_node_face_cap_by_whole_numbers() {
    sends(Library::Node, "face-cap", "face_cap");
}

/// Runs the trackers of a headset until the jaw was seen to move, and what goes with it.
fn tracks(library: Library, way: &str, steady: &[(&str, f64)]) {
    let _noisy = noisy();
    let listener = Listener::start(&["--phone-port", "trackers=0"]);
    let port = listener.phone("trackers");
    let Some(command) = library.command(&["send", &port.to_string(), way]) else { return };
    let _sender = Process::start(command, way);
    let (mut range, mut lids) = ((f64::MAX, f64::MIN), (f64::MAX, f64::MIN));
    let mut seen = Vec::new();
    while range.1 - range.0 < 0.5 || lids.1 - lids.0 < 0.5 || seen.len() < steady.len() {
        let frame = listener.frame_by("trackers");
        let weight = |name: &str| frame.blendshapes[name].as_f64();
        let (Some(jaw), Some(lid)) = (weight("jawOpen"), weight("eyeBlinkLeft")) else { continue };
        assert!((0.0..=1.0).contains(&jaw) && (0.0..=1.0).contains(&lid), "{frame:?}");
        range = (range.0.min(jaw), range.1.max(jaw));
        lids = (lids.0.min(lid), lids.1.max(lid));
        for (name, wanted) in steady {
            if weight(name).is_some_and(|weight| (weight - wanted).abs() < 0.001) && !seen.contains(name) {
                seen.push(*name);
            }
        }
    }
    let stats = listener.get("/api/v1/stats");
    assert_eq!((&stats["subjects"], &stats["refused"]), (&json!(1), &json!(0)), "{stats}");
}

const LOOKS: [(&str, f64); 3] = [("eyeLookInLeft", 0.5), ("eyeLookOutRight", 0.5), ("eyeLookUpLeft", 0.25)];

#[test]
fn osc_python_trackers_of_mouth_and_eyes_are_one_face() {
    tracks(Library::Python, "trackers", &LOOKS);
    tracks(Library::Python, "vrcft", &[("jawLeft", 5.0 / 7.0)]);
}

#[test]
fn osc_node_trackers() {
    tracks(Library::Node, "trackers", &LOOKS);
}

/// What VRChat would hear: the newest value of each parameter.
fn vrchat_hears(library: Library) {
    let _noisy = noisy();
    let Some(command) = library.command(&["receive"]) else { return };
    let receiver = Process::start(command, "receiver");
    let port = receiver.find(|line| serde_json::from_str::<Value>(line).ok()?["port"].as_u64());
    let to = format!("127.0.0.1:{port}");
    let listener = Listener::start(&["--udp-json", "0", "--vrchat-out", &to, "--vrchat-prefix", "FT/"]);
    let at = listener.udp_json.expect("asked for");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let face = json!({"subject": "Ann", "blendshapes": {"jawOpen": 0.5, "eyeBlinkLeft": 1, "mouthFrownRight": 0.25}});
    let (going, gone) = channel::<()>();
    thread::spawn(move || {
        while gone.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
            let _ = sender.send_to(face.to_string().as_bytes(), at);
        }
    });
    let mut wanted = vec![
        ("/avatar/parameters/FT/v2/JawOpen", json!(0.5)),
        ("/avatar/parameters/FT/v2/EyeLidLeft", json!(0.0)),
        ("/avatar/parameters/FT/v2/EyeLidRight", json!(0.75)),
        ("/avatar/parameters/FT/v2/SmileFrownRight", json!(-0.25)),
        ("/avatar/parameters/LipTrackingActive", json!(true)),
    ];
    let end = Instant::now() + LIMIT;
    while !wanted.is_empty() {
        let line = receiver.line(end).1;
        let message: Value = serde_json::from_str(&line).expect("JSON");
        let address = message["address"].as_str().expect("text");
        assert!(address.starts_with("/avatar/parameters/"), "{line}");
        let value = &message["values"][0];
        let same = |wanted: &Value| wanted == value || wanted.as_f64().is_some_and(|w| Some(w) == value.as_f64());
        wanted.retain(|(name, value)| *name != address || !same(value));
    }
    drop(going);
}

#[test]
fn osc_python_and_node_hear_parameters_of_vrchat() {
    vrchat_hears(Library::Python);
    vrchat_hears(Library::Node);
}

#[test]
fn osc_python_controls_and_reads_answers() {
    let (listener, port) = listener();
    let ask = |words: &[&str]| {
        let mut command = Library::Python.command(&[&["ask", &port.to_string()][..], words].concat())?;
        let output = command.output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(serde_json::from_slice::<Value>(&output.stdout).expect("JSON"))
    };
    let Some(error) = ask(&["/facelink/emotion/happy", "0.5"]) else { return };
    assert_eq!(error, json!({"address": "/facelink/error", "values": ["there is no subject"]}));
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let face = b"/VMC/Ext/Blend/Val\0\0,sf\0JawOpen\0\x3f\0\0\0";
    sender.send_to(face, port).expect("sent");
    let end = Instant::now() + LIMIT;
    let answer = loop {
        sender.send_to(face, port).expect("sent");
        match ask(&["/facelink/emotion/happy", "0.5"]) {
            Some(answer) if answer["address"] == "/facelink/emotion" => break answer,
            other => assert!(Instant::now() < end, "{other:?}"),
        }
    };
    assert_eq!((&answer["values"][0], &answer["values"][1]), (&json!("happy"), &json!(0.5)), "{answer}");
    drop(listener);
}

#[test]
fn osc_python_unknown_is_named_by_the_doctor() {
    let _noisy = noisy();
    let (listener, port) = listener();
    let Some(command) = Library::Python.command(&["send", &port.to_string(), "unknown"]) else { return };
    let _sender = Process::start(command, "unknown");
    let end = Instant::now() + LIMIT;
    loop {
        let report = listener.get("/api/v1/doctor");
        let advice = report["advice"].as_array().expect("a list");
        if advice.iter().any(|advice| advice["text"].as_str().is_some_and(|text| text.contains("/hat/brim"))) {
            assert_eq!(report["faces"].as_array().map(Vec::len), Some(0));
            return;
        }
        assert!(Instant::now() < end, "{report:#}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a receiver heard, the newest of each name.
fn hears(library: Library, names: &str, wanted: &[(&str, f64)], absent: &[&str]) {
    let _noisy = noisy();
    let Some(command) = library.command(&["receive"]) else { return };
    let receiver = Process::start(command, "receiver");
    let port = receiver.find(|line| serde_json::from_str::<Value>(line).ok()?["port"].as_u64());
    let to = format!("127.0.0.1:{port}");
    let listener = Listener::start(&["--udp-json", "0", "--vmc-out", &to, "--vmc-names", names]);
    let at = listener.udp_json.expect("asked for");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let face = json!({
        "subject": "Ann",
        "blendshapes": {"jawOpen": 0.3, "eyeBlinkLeft": 0.75, "eyeBlinkRight": 0.25, "mouthSmileLeft": 1, "mouthSmileRight": 1},
        "head": {"rotation": [0.0, 0.6, 0.0, 0.8]},
    });
    // All the time: datagrams are lost on a busy machine, here and before they reach the receiver.
    let (going, gone) = channel::<()>();
    thread::spawn(move || {
        while gone.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
            let _ = sender.send_to(face.to_string().as_bytes(), at);
        }
    });
    let mut heard: Vec<(String, f64)> = Vec::new();
    let (mut head, mut applied) = (Vec::new(), false);
    let end = Instant::now() + LIMIT;
    let lacks = |heard: &[(String, f64)]| wanted.iter().any(|(name, _)| !heard.iter().any(|(known, _)| known == name));
    while !applied || head.is_empty() || lacks(&heard) {
        let line = receiver.line(end).1;
        let message: Value = serde_json::from_str(&line).expect("JSON");
        let values = &message["values"];
        match message["address"].as_str().expect("text") {
            "/VMC/Ext/Blend/Val" => {
                let name = values[0].as_str().expect("a name").to_owned();
                let weight = values[1].as_f64().expect("a weight");
                assert!(!absent.contains(&&*name), "{name}");
                heard.retain(|(known, _)| *known != name);
                heard.push((name, weight));
            }
            "/VMC/Ext/Bone/Pos" if values[0] == "Head" => {
                head = (4..8).filter_map(|place| values[place].as_f64()).collect();
            }
            "/VMC/Ext/Blend/Apply" => applied = true,
            _ => {}
        }
    }
    drop(going);
    for (name, weight) in wanted {
        let found = heard.iter().find(|(known, _)| known == name).map(|(_, weight)| *weight);
        assert!(found.is_some_and(|found| (found - weight).abs() < 0.01), "{name}: {found:?} of {heard:?}");
    }
    // Mirrored to Unity's axes.
    assert!((head[1] + 0.6).abs() < 0.001 && (head[3] - 0.8).abs() < 0.001, "{head:?}");
}

const PRESETS: [(&str, f64); 5] = [("A", 0.5), ("Blink", 0.25), ("Blink_L", 0.5), ("Blink_R", 0.0), ("Joy", 1.0)];

#[test]
fn osc_python_hears_both_kinds_of_names() {
    let wanted = [&[("JawOpen", 0.3), ("EyeBlinkLeft", 0.75), ("TongueOut", 0.0)][..], &PRESETS].concat();
    hears(Library::Python, "both", &wanted, &[]);
}

#[test]
fn osc_node_hears_the_names_that_are_asked_for() {
    hears(Library::Node, "presets", &PRESETS, &["JawOpen", "EyeBlinkLeft"]);
    hears(Library::Node, "perfect-sync", &[("JawOpen", 0.3), ("EyeBlinkRight", 0.25)], &["A", "Blink"]);
}
