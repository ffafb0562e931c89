//! Ports for phones: taken ones, shared ones, and formats on ports that are not theirs.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose,
    event::SubjectId,
    simulate::SimulatorConfig,
    take::{PhoneRecording, TakeContent, TakeReader},
    wire::{llf, osc},
};
use facelink_net::{
    Endpoint, EndpointConfig, LinkEvent, PhoneCall, PhoneCommand, PhonePort, PhonePorts, PhoneState, PhoneStatus,
    Simulator, SourceKind, SubjectFrame, TakeOptions, VmcOut, VrchatOut, outward_address,
};
use rosc::{OscMessage, OscType};

const LIMIT: Duration = Duration::from_secs(20);

fn config() -> EndpointConfig {
    EndpointConfig {
        port: 0,
        live_link_face: Some(0),
        udp_json: Some(0),
        phones: PhonePorts::free(),
        ..EndpointConfig::default()
    }
}

fn jaw(weight: f32) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, weight);
    frame
}

fn packet(device: &str, subject: &str, number: i32, weight: f32) -> Vec<u8> {
    let mut bytes = Vec::new();
    llf::encode(&llf::LlfPacket::new(device, subject, number, jaw(weight)), &llf::PROFILE, &mut bytes)
        .expect("encodes");
    bytes
}

/// Calls `again` until a frame comes that `wanted` accepts.
fn frame(endpoint: &Endpoint, mut again: impl FnMut(), wanted: impl Fn(&SubjectFrame) -> bool) -> SubjectFrame {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        again();
        while let Ok(frame) = endpoint.frames().recv_timeout(Duration::from_millis(20)) {
            if wanted(&frame) {
                return frame;
            }
        }
    }
    panic!("no such frame in time: {:#?}", endpoint.arrivals());
}

#[test]
fn phone_port_taken_is_one_line_and_others_work() {
    let held = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let held_tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let (udp, tcp) = (held.local_addr().expect("bound").port(), held_tcp.local_addr().expect("bound").port());
    let phones = PhonePorts { ifacialmocap: Some(udp), ifacialmocap_tcp: Some(tcp), ..PhonePorts::free() };
    let endpoint = Endpoint::start(EndpointConfig { phones, ..config() }).expect("starts all the same");
    let messages: Vec<&str> = endpoint.unavailable().iter().map(|port| port.message.as_str()).collect();
    let [first, second] = messages[..] else { panic!("{messages:?}") };
    for part in ["iFacialMocap", &udp.to_string(), "`phones.ifacialmocap`", "another"] {
        assert!(first.contains(part), "{first}");
    }
    assert!(second.contains("iFacialMocap over TCP") && second.contains(&tcp.to_string()), "{second}");
    assert!(!first.contains('\n'));
    assert_eq!(endpoint.phone_port(PhonePort::IFacialMocap), None);

    let to = endpoint.phone_port(PhonePort::LiveLinkFace);
    let phone = Simulator::start(&SimulatorConfig::new(SourceKind::LiveLinkFace, to)).expect("starts");
    frame(
        &endpoint,
        || phone.send(&jaw(0.5)).expect("sent"),
        |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.5),
    );
}

#[test]
fn phones_of_one_name_on_one_port_are_two_subjects() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let to = endpoint.phone_port(PhonePort::LiveLinkFace).expect("listens");
    let phones = [(UdpSocket::bind("127.0.0.1:0"), "A", 0.25), (UdpSocket::bind("127.0.0.1:0"), "B", 0.75)];
    let mut number = 0;
    let mut send = || {
        number += 1;
        for (socket, device, weight) in &phones {
            let socket = socket.as_ref().expect("a socket");
            socket.send_to(&packet(device, "iPhone", number, *weight), to).expect("sent");
        }
    };
    frame(&endpoint, &mut send, |frame| &*frame.name == "iPhone" && frame.frame.get(Blendshape::JawOpen) == Some(0.25));
    frame(&endpoint, &mut send, |frame| {
        &*frame.name == "iPhone (2)" && frame.frame.get(Blendshape::JawOpen) == Some(0.75)
    });
    assert_eq!(endpoint.stats().subjects.len(), 2);
}

#[test]
fn phone_keeps_subject_when_network_changes() {
    // A busy machine may keep the phone waiting.
    let endpoint = Endpoint::start(EndpointConfig { subject_timeout: LIMIT, ..config() }).expect("starts");
    let to = endpoint.phone_port(PhonePort::LiveLinkFace);
    let phone = |bind: &str| {
        let bind = Some(bind.parse().expect("an address"));
        Simulator::start(&SimulatorConfig { bind, ..SimulatorConfig::new(SourceKind::LiveLinkFace, to) })
    };
    let first = phone("127.0.0.1").expect("starts");
    let before = frame(&endpoint, || first.send(&jaw(0.25)).expect("sent"), |_| true);
    drop(first);
    // A network that takes all of 127.0.0.0/8 for this machine, as Linux does.
    let Ok(second) = phone("127.0.0.2") else {
        assert!(std::env::var_os("CI").is_none(), "127.0.0.2 is not this machine's");
        eprintln!("skipped: 127.0.0.2 is not this machine's");
        return;
    };
    let after = frame(
        &endpoint,
        || second.send(&jaw(0.75)).expect("sent"),
        |frame| *frame.name == *before.name && frame.frame.get(Blendshape::JawOpen) == Some(0.75),
    );
    assert_eq!(after.id, before.id, "the same face goes on");
    let address = endpoint.stats().subjects.iter().find(|subject| subject.id == after.id).and_then(|s| s.address);
    assert_eq!(address.map(|address| address.ip().to_string()).as_deref(), Some("127.0.0.2"));
}

#[test]
fn phone_format_on_the_wrong_port_is_read_and_named() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let to = endpoint.phone_port(PhonePort::Vmc).expect("listens");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let mut number = 0;
    let send = || {
        number += 1;
        socket.send_to(&packet("A", "iPhone", number, 0.5), to).expect("sent");
    };
    let frame = frame(&endpoint, send, |frame| &*frame.name == "iPhone");
    assert_eq!(frame.source, SourceKind::LiveLinkFace);
    // The frame is handed on before it is counted.
    let end = Instant::now() + LIMIT;
    let vmc = loop {
        let vmc = endpoint.arrivals().into_iter().find(|port| port.port == PhonePort::Vmc).expect("it listens");
        if !vmc.senders.is_empty() {
            break vmc;
        }
        assert!(Instant::now() < end, "the sender is not counted");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(vmc.senders.first().and_then(|sender| sender.app), Some(SourceKind::LiveLinkFace));
    assert_eq!((vmc.refused, vmc.senders.len()), (0, 1));

    let from = socket.local_addr().expect("bound");
    socket.send_to(b"what is this?", to).expect("sent");
    let end = Instant::now() + LIMIT;
    let error = loop {
        let arrivals = endpoint.arrivals();
        let vmc = arrivals.iter().find(|port| port.port == PhonePort::Vmc).expect("it listens");
        let error = vmc.senders.iter().find(|sender| sender.address == from).and_then(|sender| sender.error.clone());
        if let Some(error) = error {
            break error;
        }
        assert!(Instant::now() < end, "{vmc:?}");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(!error.is_empty());
}

#[test]
fn phone_that_stops_leaves() {
    let config = EndpointConfig { subject_timeout: Duration::from_millis(500), ..config() };
    let endpoint = Endpoint::start(config).expect("starts");
    let to = endpoint.phone_port(PhonePort::LiveLinkFace);
    let phone = Simulator::start(&SimulatorConfig::new(SourceKind::LiveLinkFace, to)).expect("starts");
    let seen = frame(&endpoint, || phone.send(&jaw(0.5)).expect("sent"), |_| true);
    let lost = FaceFrame { tracked: false, ..FaceFrame::default() };
    frame(&endpoint, || phone.send(&lost).expect("sent"), |frame| !frame.frame.tracked);
    frame(&endpoint, || phone.send(&jaw(0.6)).expect("sent"), |frame| frame.frame.tracked);
    drop(phone);
    let end = Instant::now() + LIMIT;
    loop {
        match endpoint.events().recv_deadline(end).expect("an event in time") {
            LinkEvent::SubjectLost { id, .. } if id == seen.id => break,
            _ => {}
        }
    }
}

#[test]
fn vtube_studio_streams_only_while_requested() {
    let bind = Some([127, 0, 0, 1].into());
    let config_of_phone =
        SimulatorConfig { bind, port: Some(0), ..SimulatorConfig::new(SourceKind::VTubeStudio, None) };
    let phone = Simulator::start(&config_of_phone).expect("starts");
    let at = phone.address().expect("bound");
    assert!(!phone.is_streaming());
    phone.send(&jaw(0.1)).expect("without a request nothing is sent");
    assert_eq!(phone.sent(), 0);

    let endpoint = Endpoint::start(config()).expect("starts");
    endpoint.call_phone(PhoneCall { port: Some(at.port()), ..PhoneCall::any(at.ip()) });
    let send = || phone.send(&jaw(0.5)).expect("sent");
    let face = frame(&endpoint, send, |frame| frame.source == SourceKind::VTubeStudio);
    assert_eq!((face.frame.get(Blendshape::JawOpen), &*face.name), (Some(0.5), "VTube Studio"));
    // It counts as heard after its first face was taken, and so by the next one.
    frame(&endpoint, send, |_| true);
    assert_eq!(endpoint.phones()[0].state, PhoneState::Streaming);
    assert!(endpoint.stats().subjects[0].latency_ms.is_some(), "it sends its wall clock");
    let lost = FaceFrame { tracked: false, ..FaceFrame::default() };
    frame(&endpoint, || phone.send(&lost).expect("sent"), |frame| !frame.frame.tracked);

    assert!(endpoint.forget_phone(at.ip()));
    let end = Instant::now() + LIMIT;
    while phone.is_streaming() {
        assert!(Instant::now() < end, "its lease ends");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A face whose sides differ, with a head and eyes that are turned.
fn turned_face() -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    for (shape, weight) in
        [(Blendshape::JawOpen, 0.5), (Blendshape::EyeBlinkLeft, 0.25), (Blendshape::MouthRight, 0.125)]
    {
        frame.set(shape, weight);
    }
    let half = 0.2_f32;
    frame.head = Some(HeadPose { rotation: [0.0, half.sin(), 0.0, half.cos()], position: None });
    let eye = EyeGaze { yaw: 0.2, pitch: 0.1 };
    frame.gaze = Some(Gaze { left: eye, right: eye });
    frame
}

fn is_turned_face(face: &FaceFrame) -> bool {
    let near = |a: f32, b: f32| (a - b).abs() < 1e-3;
    let head = face
        .head
        .is_some_and(|head| near(head.rotation[1].abs(), 0.2_f32.sin()) && head.rotation[1] * head.rotation[3] > 0.0);
    let gaze = face.gaze.is_some_and(|gaze| near(gaze.left.yaw, 0.2) && near(gaze.right.pitch, 0.1));
    let wanted = turned_face();
    head && gaze
        && Blendshape::ALL.into_iter().all(|shape| near(face.get(shape).unwrap_or(9.0), wanted.weights[shape.index()]))
}

#[test]
fn osc_apps_on_own_and_shared_ports() {
    let endpoint = Endpoint::start(config()).expect("starts");
    for (app, port) in [
        (SourceKind::FaceCap, PhonePort::FaceCap),
        (SourceKind::FaceCap, PhonePort::Osc),
        (SourceKind::Vmc, PhonePort::Vmc),
        (SourceKind::Vmc, PhonePort::VmcAssistant),
    ] {
        let to = endpoint.phone_port(port);
        let phone = Simulator::start(&SimulatorConfig::new(app, to)).expect("starts");
        let send = || phone.send(&turned_face()).expect("sent");
        frame(&endpoint, send, |frame| frame.source == app && is_turned_face(&frame.frame));
        if app == SourceKind::Vmc {
            let lost = FaceFrame { tracked: false, ..turned_face() };
            let lose = || phone.send(&lost).expect("sent");
            frame(&endpoint, lose, |frame| frame.source == app && !frame.frame.tracked);
            frame(&endpoint, send, |frame| frame.source == app && frame.frame.tracked && is_turned_face(&frame.frame));
        }
    }
    assert_eq!(endpoint.stats().refused, 0);
}

#[test]
fn osc_trackers_of_one_machine_are_one_face() {
    let endpoint = Endpoint::start(config()).expect("starts");
    for port in [PhonePort::Trackers, PhonePort::Osc] {
        let (mouth, eyes) = (Controller::new(&endpoint, port), Controller::new(&endpoint, port));
        let send = || {
            // As Project Babble and EyeTrackVR send: one value a datagram.
            mouth.say("/jawOpen", &[OscType::Float(0.5)]);
            mouth.say("/cheekPuffLeft", &[OscType::Float(1.0)]);
            mouth.say("/cheekPuffRight", &[OscType::Float(0.5)]);
            eyes.say("/avatar/parameters/LeftEyeLidExpandedSqueeze", &[OscType::Float(0.4)]);
            eyes.say("/avatar/parameters/v2/EyeRightX", &[OscType::Float(0.25)]);
            // The avatar's other parameters are none of a face.
            eyes.say("/avatar/parameters/Hat", &[OscType::Bool(true)]);
        };
        let shown = frame(&endpoint, send, |frame| {
            let shown = |shape| frame.frame.get(shape);
            shown(Blendshape::CheekPuff) == Some(0.75)
                && shown(Blendshape::JawOpen) == Some(0.5)
                && shown(Blendshape::EyeBlinkLeft) == Some(0.5)
                && shown(Blendshape::EyeLookOutRight) == Some(0.25)
        });
        assert_eq!(shown.source, SourceKind::Trackers);
    }
    // One of each port; the first may have been silent for too long by now.
    let stats = endpoint.stats();
    assert!((1..=2).contains(&stats.subjects.len()) && stats.refused == 0, "{stats:?}");
    assert!(stats.ignored > 0);
    let open = Controller::new(&endpoint, PhonePort::Trackers);
    let end = Instant::now() + LIMIT;
    while endpoint.stats().refused == 0 {
        open.say("/jawOpen", &[string("wide")]);
        assert!(Instant::now() < end, "a value that is none is counted");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn vrchat_out_has_the_face_and_the_cut() {
    let second = Endpoint::start(config()).expect("starts");
    let to = second.phone_port(PhonePort::Trackers).expect("listens");
    let vrchat_out = vec![VrchatOut::new(to).prefix("FT")];
    let first = Endpoint::start(EndpointConfig { vrchat_out, ..config() }).expect("starts");
    let json = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let at = first.phone_port(PhonePort::UdpJson).expect("listens");
    let say = |name: &str, jaw: f32| {
        let text = format!("{{\"subject\": \"{name}\", \"blendshapes\": {{\"jawOpen\": {jaw}, \"jawLeft\": 0.5}}}}");
        json.send_to(text.as_bytes(), at).expect("sent");
    };
    let is = |jaw: f32| {
        move |frame: &SubjectFrame| {
            let near = |shape, wanted: f32| frame.frame.get(shape).is_some_and(|value| (value - wanted).abs() < 0.01);
            frame.source == SourceKind::Trackers && near(Blendshape::JawOpen, jaw) && near(Blendshape::JawLeft, 0.5)
        }
    };
    frame(&second, || say("Ann", 0.25), is(0.25));
    let controller = Controller::new(&first, PhonePort::Vmc);
    frame(&first, || say("Bob", 0.75), |frame| &*frame.name == "Bob");
    let cut = controller.ask("/facelink/cut/Bob", &[OscType::Float(1.0)]);
    assert_eq!((cut.addr.as_str(), &cut.args[0]), ("/facelink/cut", &string("Bob")));
    let both = || {
        say("Ann", 0.25);
        say("Bob", 0.75);
    };
    frame(&second, both, is(0.75));
    let bad = EndpointConfig { vrchat_out: vec![VrchatOut::new(to).prefix("a b")], ..config() };
    let error = Endpoint::start(bad).expect_err("no address has a space").to_string();
    assert!(error.contains("field `prefix`"), "{error}");
}

#[test]
fn osc_control_calibrates_shows_emotions_and_reports_gestures() {
    let gestures = r#"(built_in: false, gestures: [(name: "jaw", when: [(from: "jawOpen", above: 0.6)], hold: 0.02)])"#;
    let gestures = Some(gestures.parse().expect("rules"));
    let endpoint = Endpoint::start(EndpointConfig { gestures, ..config() }).expect("starts");
    let controller = Controller::new(&endpoint, PhonePort::Osc);
    let error = |answer: OscMessage| match (answer.addr.as_str(), &answer.args[..]) {
        ("/facelink/error", [OscType::String(text)]) => text.clone(),
        _ => panic!("{answer:?}"),
    };
    assert_eq!(error(controller.ask("/facelink/calibrate", &[])), "there is no subject");
    let json = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let at = endpoint.phone_port(PhonePort::UdpJson).expect("listens");
    let say = |jaw: f32| {
        let text = format!("{{\"subject\": \"Ann\", \"blendshapes\": {{\"jawOpen\": {jaw}}}}}");
        json.send_to(text.as_bytes(), at).expect("sent");
    };
    frame(&endpoint, || say(0.25), |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.25));
    let done = controller.ask("/facelink/calibrate", &[string("Ann")]);
    assert_eq!((done.addr.as_str(), &done.args[0]), ("/facelink/calibrated", &string("Ann")));
    frame(&endpoint, || say(0.25), |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.0));
    assert_eq!(controller.ask("/facelink/calibrate/reset", &[OscType::Float(1.0)]).addr, "/facelink/calibrated");
    assert_eq!(error(controller.ask("/facelink/calibrate/head", &[])), "`Ann` has no head");
    assert!(
        error(controller.ask("/facelink/calibrate/tail", &[]))
            .contains("calibrate: expected `neutral`, `head`, `reset`")
    );
    assert_eq!(error(controller.ask("/facelink/cut", &[string("Eve")])), "there is no subject `Eve`");
    assert!(error(controller.ask("/facelink/cut", &[])).contains("the name of a subject is missing"));
    // Buttons and sliders: by the address, or by arguments.
    let happy = controller.ask("/facelink/emotion/happy", &[OscType::Float(0.75)]);
    assert_eq!(happy.args, [string("happy"), OscType::Float(0.75), string("Ann")]);
    let sad = controller.ask("/facelink/emotion", &[string("sad"), OscType::Float(5.0), string("Ann")]);
    assert_eq!(sad.args, [string("sad"), OscType::Float(1.0), string("Ann")]);
    let mut emotions = Vec::new();
    while let Ok(event) = endpoint.events().try_recv() {
        if let LinkEvent::Emotion { name, emotion, .. } = event {
            emotions.push((name.to_string(), emotion.name.to_string(), emotion.intensity));
        }
    }
    assert_eq!(emotions, [("Ann".into(), "happy".into(), 0.75), ("Ann".into(), "sad".into(), 1.0)]);
    assert_eq!(endpoint.stats().refused, 5, "each error is counted");

    assert!(error(controller.ask("/facelink/subscribe", &[OscType::Int(70_000)])).contains("1 to 65535"));
    assert_eq!(controller.ask("/facelink/subscribe", &[]).addr, "/facelink/subscribed");
    controller.socket.set_read_timeout(Some(Duration::from_millis(20))).expect("set");
    let heard = |jaw: f32, value: i32| {
        let end = Instant::now() + LIMIT;
        let mut buffer = [0; 2048];
        loop {
            say(jaw);
            if let Ok(len) = controller.socket.recv(&mut buffer) {
                let mut message = None;
                let _ = osc::read(&buffer[..len], |read| message = Some(read.clone()));
                let message = message.expect("OSC");
                assert_eq!((message.addr.as_str(), &message.args[1]), ("/facelink/gesture/jaw", &string("Ann")));
                assert_eq!(message.args[0], OscType::Int(value));
                return;
            }
            assert!(Instant::now() < end, "no gesture");
        }
    };
    heard(0.9, 1);
    heard(0.1, 0);
}

#[test]
fn osc_unreadable_message_in_a_bundle_is_counted() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let to = endpoint.phone_port(PhonePort::Vmc).expect("listens");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let messages: [&[u8]; 4] = [
        b"/VMC/Ext/Blend/Val\0\0,sf\0jawOpen\0\x3f\0\0\0",
        b"/VMC/Ext/Blend/Val\0\0,sf\0Fr\xf6hlich\0\0\0\0\x3f\0\0\0",
        b"/unknown\0\0\0\0,x\0\0",
        // Without type tags.
        b"/VMC/Ext/Blend/Apply\0\0\0\0",
    ];
    let mut bundle = b"#bundle\0\0\0\0\0\0\0\0\x01".to_vec();
    for message in messages {
        bundle.extend_from_slice(&(message.len() as u32).to_be_bytes());
        bundle.extend_from_slice(message);
    }
    let sent = std::cell::Cell::new(0);
    let send = || {
        socket.send_to(&bundle, to).expect("sent");
        sent.set(sent.get() + 1);
    };
    frame(&endpoint, send, |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.5));
    let end = Instant::now() + LIMIT;
    while endpoint.stats().refused != 2 * sent.get() {
        assert!(Instant::now() < end, "{} of {} bundles", endpoint.stats().refused, sent.get());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn vmc_without_commit_is_shown_on_every_port() {
    let endpoint = Endpoint::start(config()).expect("starts");
    for port in [PhonePort::Vmc, PhonePort::LiveLinkFace, PhonePort::UdpJson, PhonePort::IFacialMocap] {
        let to = endpoint.phone_port(port).expect("listens");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        // Once: nothing that comes later ends it.
        socket.send_to(b"/VMC/Ext/Blend/Val\0\0,sf\0jawOpen\0\x3f\0\0\0", to).expect("sent");
        frame(&endpoint, || {}, |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.5));
        socket.send_to(b"/W\0\0,ff\0\x41\xc0\0\0\x3e\x80\0\0", to).expect("sent");
        frame(&endpoint, || {}, |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.25));
    }
    assert_eq!(endpoint.stats().refused, 0);
}

#[test]
fn loopback_is_heard_by_both_families() {
    if let Err(error) = UdpSocket::bind("[::1]:0") {
        return eprintln!("skipped: no IPv6 here: {error}");
    }
    let endpoint = Endpoint::start(config()).expect("starts");
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let socket = UdpSocket::bind(bind).expect("binds");
        let ip = socket.local_addr().expect("bound").ip();
        let to = (ip, endpoint.phone_port(PhonePort::UdpJson).expect("listens").port());
        let send = || {
            let face = format!(r#"{{"subject":"{ip}","blendshapes":{{"jawOpen":0.5}}}}"#);
            socket.send_to(face.as_bytes(), to).expect("sent");
        };
        frame(&endpoint, send, |frame| *frame.name == *ip.to_string());
        let http = std::net::SocketAddr::new(ip, endpoint.addresses().http.port());
        let health = ureq::get(format!("http://{http}/api/v1/health")).call().expect("it answers");
        assert_eq!(health.status(), 200);
        let stream = (ip, endpoint.phone_port(PhonePort::IFacialMocapTcp).expect("listens").port());
        std::net::TcpStream::connect(stream).expect("connects");
    }
    let arrivals = endpoint.arrivals();
    let json = arrivals.iter().filter(|port| port.port == PhonePort::UdpJson).collect::<Vec<_>>();
    assert!(matches!(json[..], [port] if port.senders.len() == 2), "one port, two addresses: {json:#?}");
}

#[test]
fn osc_and_json_of_no_face_are_named() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let to = endpoint.phone_port(PhonePort::Vmc).expect("listens");
    for (datagram, part) in [
        (&b"/hat/brim\0\0\0,f\0\0\x3f\0\0\0"[..], "/hat/brim"),
        (br#"{"type":"telemetry","speed":5}"#, "JSON, but no face"),
    ] {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        let end = Instant::now() + LIMIT;
        loop {
            socket.send_to(datagram, to).expect("sent");
            let report = endpoint.diagnose().expect("runs");
            if report.advice.iter().any(|advice| advice.text.contains(part)) {
                break;
            }
            assert!(Instant::now() < end, "{part}: {:#?}", report.advice);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn vmc_forward_keeps_the_face() {
    let second = Endpoint::start(config()).expect("starts");
    let to = second.phone_port(PhonePort::Vmc).expect("listens");
    let vmc_out = vec![VmcOut::new(to)];
    let first = Endpoint::start(EndpointConfig { vmc_out, ..config() }).expect("starts");
    let at = first.phone_port(PhonePort::LiveLinkFace);
    let phone = Simulator::start(&SimulatorConfig::new(SourceKind::LiveLinkFace, at)).expect("starts");
    let send = || phone.send(&turned_face()).expect("sent");
    let face = frame(&second, send, |frame| is_turned_face(&frame.frame));
    assert_eq!(face.source, SourceKind::Vmc);
    let lost = FaceFrame { tracked: false, ..FaceFrame::default() };
    frame(&second, || phone.send(&lost).expect("sent"), |frame| !frame.frame.tracked);
}

#[test]
fn live_link_face_remote_control() {
    let bind = Some([127, 0, 0, 1].into());
    let app = SourceKind::LiveLinkFace;
    let phone = Simulator::start(&SimulatorConfig { bind, port: Some(0), ..SimulatorConfig::new(app, None) });
    let phone = phone.expect("starts");
    let at = phone.address().expect("bound");
    assert!(!phone.is_streaming());
    let call = vec![PhoneCall { port: Some(at.port()), ..PhoneCall::app(at.ip(), app) }];
    let endpoint = Endpoint::start(EndpointConfig { call, ..config() }).expect("starts");
    let send = || phone.send(&turned_face()).expect("sent");
    frame(&endpoint, send, |frame| frame.source == app && is_turned_face(&frame.frame));

    let until = |what: &str, done: &dyn Fn(&PhoneStatus) -> bool| {
        let end = Instant::now() + LIMIT;
        loop {
            send();
            let phones = endpoint.phones();
            if phones.first().is_some_and(done) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {phones:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until("battery", &|phone| phone.battery == Some(0.75) && phone.thermal == Some(1));
    until("streaming", &|phone| phone.state == PhoneState::Streaming);
    let command = |command| endpoint.command_phone(at.ip(), command).expect("taken");
    command(PhoneCommand::Subject("Hero".to_owned()));
    frame(&endpoint, send, |frame| &*frame.name == "Hero");
    command(PhoneCommand::RecordStart { slate: "Duel".to_owned(), take: 7 });
    until("recording", &|phone| phone.recording == Some(true) && phone.take == Some(7));
    command(PhoneCommand::RecordStop);
    until("recorded", &|phone| {
        phone.recording == Some(false)
            && phone.last_recording.as_deref().is_some_and(|r| r.contains("Duel_7_iPhone.csv"))
    });
    command(PhoneCommand::Stop);
    let end = Instant::now() + LIMIT;
    while phone.is_streaming() {
        assert!(Instant::now() < end, "it stops");
        std::thread::sleep(Duration::from_millis(10));
    }
    command(PhoneCommand::Start);
    frame(&endpoint, send, |frame| &*frame.name == "Hero");
    drop(endpoint);
    while phone.is_streaming() {
        assert!(Instant::now() < end, "what was started stops with the endpoint");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Something that begins and ends takes by OSC.
struct Controller {
    socket: UdpSocket,
    to: std::net::SocketAddr,
}

impl Controller {
    fn new(endpoint: &Endpoint, port: PhonePort) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("binds");
        socket.set_read_timeout(Some(LIMIT)).expect("set");
        Self { socket, to: endpoint.phone_port(port).expect("listens") }
    }

    fn say(&self, address: &str, args: &[OscType]) {
        self.socket.send_to(&osc::encode(&osc::message(address, args.to_vec())), self.to).expect("sent");
    }

    fn answer(&self) -> OscMessage {
        let mut buffer = [0; 2048];
        let len = self.socket.recv(&mut buffer).expect("an answer");
        let mut answer = None;
        let _ = osc::read(&buffer[..len], |message| answer = Some(message.clone()));
        answer.expect("OSC")
    }

    fn ask(&self, address: &str, args: &[OscType]) -> OscMessage {
        self.say(address, args);
        self.answer()
    }
}

fn string(text: &str) -> OscType {
    OscType::String(text.to_owned())
}

fn open_take(file: &str) -> TakeReader<std::fs::File> {
    TakeReader::open(std::fs::File::open(file).expect("a file")).expect("a take")
}

#[test]
fn take_by_osc_with_phone_in_step() {
    let folder = tempfile::tempdir().expect("a folder");
    let bind = Some([127, 0, 0, 1].into());
    let app = SourceKind::LiveLinkFace;
    let phone = Simulator::start(&SimulatorConfig { bind, port: Some(0), ..SimulatorConfig::new(app, None) });
    let phone = phone.expect("starts");
    let at = phone.address().expect("bound");
    let call = vec![PhoneCall { port: Some(at.port()), ..PhoneCall::app(at.ip(), app) }];
    let takes = folder.path().to_owned();
    let endpoint =
        Endpoint::start(EndpointConfig { call, takes, takes_with_phones: true, ..config() }).expect("starts");
    let send = || phone.send(&turned_face()).expect("sent");
    frame(&endpoint, send, |frame| frame.source == app);

    // By the words of the app, at a port for something else.
    let controller = Controller::new(&endpoint, PhonePort::UdpJson);
    controller.say("/Slate", &[string("Duel")]);
    controller.say("/Take", &[OscType::Int(7)]);
    let begun = controller.ask("/RecordStart", &[]);
    assert_eq!((begun.addr.as_str(), begun.args.len()), ("/RecordStartConfirm", 1), "{begun:?}");
    let status = endpoint.take_status().expect("a take");
    assert_eq!((&*status.slate, status.take, status.phones), ("Duel", 7, 1));
    let end = Instant::now() + LIMIT;
    while endpoint.phones()[0].recording != Some(true) {
        send();
        assert!(Instant::now() < end, "{:?}", endpoint.phones());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!((endpoint.phones()[0].slate.as_deref(), endpoint.phones()[0].take), (Some("Duel"), Some(7)));
    // Live, so that its answer is waited for.
    send();
    let again = controller.ask("/RecordStart", &[]);
    assert!(again.addr == "/facelink/error" && format!("{again:?}").contains("already"), "{again:?}");
    send();
    let ended = controller.ask("/RecordStop", &[]);
    assert_eq!((ended.addr.as_str(), &ended.args[1]), ("/RecordStopConfirm", &string(&status.file)), "{ended:?}");
    let mut reader = open_take(&status.file);
    assert!(reader.is_complete());
    let mut reports: Vec<PhoneRecording> = Vec::new();
    let mut frames = 0;
    while let Some(entry) = reader.next_entry().expect("readable") {
        match entry.content {
            TakeContent::Phone(report) => reports.push(report),
            TakeContent::Frame(_) => frames += 1,
            _ => {}
        }
    }
    let [started, stopped] = &reports[..] else { panic!("{reports:?}") };
    assert!(frames > 0 && started.recording && !stopped.recording && started.address == at.ip(), "{reports:?}");
    assert_eq!(stopped.files, ["Duel_7_iPhone.csv", "Duel_7_iPhone.mov"]);
    assert!(started.timecode.len() == 11 && stopped.timecode.len() == 11, "{reports:?}");

    // By words of this project: the number counts on, and a game's own face is in it.
    let controller = Controller::new(&endpoint, PhonePort::Vmc);
    let begun = controller.ask("/facelink/record", &[]);
    assert_eq!(
        (begun.addr.as_str(), &begun.args[..3]),
        ("/facelink/recording", &[OscType::Int(1), string("Duel"), OscType::Int(8)][..])
    );
    controller.say("/facelink/mark", &[string("the good one")]);
    let own = SubjectFrame {
        id: SubjectId(u64::MAX),
        name: "made by the game".into(),
        source: SourceKind::Custom,
        frame: turned_face(),
        speech: None,
        received: Instant::now(),
        stamp: None,
        late: false,
        repeated: false,
    };
    endpoint.record_frame(&own);
    endpoint.record_event(&LinkEvent::SubjectLost {
        id: own.id,
        name: own.name.clone(),
        reason: facelink_net::LostReason::Stopped,
    });
    let ended = controller.ask("/facelink/record", &[OscType::Float(0.0)]);
    assert_eq!(ended.args[0], OscType::Int(0), "{ended:?}");
    let OscType::String(file) = &ended.args[3] else { panic!("{ended:?}") };
    let mut reader = open_take(file);
    let (mut marks, mut made, mut lost) = (Vec::new(), Vec::new(), 0);
    while let Some(entry) = reader.next_entry().expect("readable") {
        match entry.content {
            TakeContent::Mark(text) => marks.push(text),
            TakeContent::Frame(frame) if frame.name == own.name => made.push(frame.frame),
            TakeContent::Event(LinkEvent::SubjectLost { id, .. }) if id == own.id => lost += 1,
            _ => {}
        }
    }
    assert_eq!((marks, made, lost), (vec!["the good one".to_owned()], vec![own.frame], 1));
    let none = controller.ask("/facelink/record/stop", &[]);
    assert_eq!((none.addr.as_str(), &none.args[0]), ("/facelink/error", &string("no take is being recorded")));
    // What still runs is stopped on the phone too, when the endpoint ends.
    let third = endpoint.start_take(TakeOptions::default()).expect("a take");
    assert_eq!(third.phones, 1);
    drop(endpoint);
    assert!(open_take(&third.file).is_complete());
}

#[test]
fn take_with_phone_needs_one() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let error = endpoint.start_take(TakeOptions { phones: Some(true), ..TakeOptions::default() }).expect_err("none");
    assert!(error.to_string().starts_with("field `phones`: no phone is called"), "{error}");
    assert!(endpoint.take_status().is_none());
}

#[test]
fn take_by_osc_of_other_machines_is_refused() {
    let Some(own) = outward_address() else {
        assert!(std::env::var_os("CI").is_none(), "this machine has no network");
        eprintln!("skipped: this machine has no network");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for osc_control in [false, true] {
        let takes = folder.path().to_owned();
        let open = EndpointConfig { bind: [0, 0, 0, 0].into(), takes, osc_control, ..config() };
        let endpoint = Endpoint::start(open).expect("starts");
        let mut controller = Controller::new(&endpoint, PhonePort::Vmc);
        controller.socket = UdpSocket::bind((own, 0)).expect("binds");
        controller.socket.set_read_timeout(Some(LIMIT)).expect("set");
        controller.to.set_ip(own);
        if osc_control {
            assert_eq!(controller.ask("/facelink/record/start", &[]).addr, "/facelink/recording");
            continue;
        }
        let end = Instant::now() + LIMIT;
        loop {
            controller.say("/RecordStart", &[]);
            let report = endpoint.diagnose().expect("runs");
            if report.advice.iter().any(|advice| advice.text.contains("--osc-control")) {
                break;
            }
            assert!(Instant::now() < end, "{:#?}", report.advice);
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(endpoint.take_status().is_none());
    }
}

#[test]
fn phone_profile_and_calibration_by_http() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let url = |path: &str| format!("http://{}/api/v1/{path}", endpoint.addresses().http);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| -> serde_json::Value {
        agent.get(url(path)).call().expect("answers").body_mut().read_json().expect("JSON")
    };
    let post = |path: &str, body: serde_json::Value| {
        let mut answer = agent.post(url(path)).send_json(body).expect("answers");
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap_or_default())
    };

    let (status, text) = post("phones", serde_json::json!({"address": "127.0.0.9", "app": "vtube_studio"}));
    assert!(status == 200 && text.contains("calling"), "{text}");
    assert_eq!(get("phones")["phones"][0]["address"], "127.0.0.9");
    assert_eq!(post("phones", serde_json::json!({"address": "nowhere"})).0, 400);
    let (status, text) = post("phones/127.0.0.9/command", serde_json::json!("start"));
    assert!(status == 409 && text.contains("no remote control"), "{text}");
    assert_eq!(post("phones/127.0.0.8/command", serde_json::json!("start")).0, 404);
    let (status, text) = post("phones/x/command", serde_json::json!("start"));
    assert!(status == 400 && text.contains("address"), "{text}");
    assert_eq!(agent.delete(url("phones/127.0.0.9")).call().expect("answers").status(), 204);
    assert_eq!(agent.delete(url("phones/127.0.0.9")).call().expect("answers").status(), 404);

    let to = endpoint.phone_port(PhonePort::LiveLinkFace);
    let phone = Simulator::start(&SimulatorConfig::new(SourceKind::LiveLinkFace, to)).expect("starts");
    let send = || phone.send(&turned_face()).expect("sent");
    let face = frame(&endpoint, send, |frame| is_turned_face(&frame.frame));
    let mut profile = get("profiles/live_link_face");
    assert_eq!(profile["mirror"], false);
    profile["mirror"] = true.into();
    let put = agent.put(url("profiles/live_link_face")).send_json(&profile).expect("answers");
    assert_eq!(put.status(), 200);
    frame(&endpoint, send, |frame| frame.frame.get(Blendshape::EyeBlinkRight) == Some(0.25));
    assert_eq!(agent.get(url("profiles/telegraph")).call().expect("answers").status(), 404);

    let path = format!("subjects/{}/calibrate", face.name);
    assert_eq!(post(&path, serde_json::json!({"what": "head"})).0, 204);
    frame(&endpoint, send, |frame| frame.frame.head.is_some_and(|head| head.rotation[1].abs() < 1e-3));
    assert_eq!(post(&path, serde_json::json!({"what": "neutral"})).0, 204);
    frame(&endpoint, send, |frame| frame.frame.weights.iter().all(|weight| *weight == 0.0));
    assert_eq!(post(&path, serde_json::json!({"what": "reset"})).0, 204);
    frame(&endpoint, send, |frame| frame.frame.get(Blendshape::JawOpen) == Some(0.5));
    assert_eq!(post("subjects/Nobody/calibrate", serde_json::json!({"what": "head"})).0, 404);

    let report = get("doctor");
    let arriving = report["arriving"].as_array().expect("a list");
    assert!(arriving.iter().any(|sender| sender["what"] == "Live Link Face"), "{arriving:?}");
    assert!(report["listening"].as_array().is_some_and(|ports| ports.len() > 11), "{report}");
}

#[test]
fn osc_control_enables_and_renames_subjects() {
    let endpoint = Endpoint::start(config()).expect("starts");
    let controller = Controller::new(&endpoint, PhonePort::Osc);
    let json = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let at = endpoint.phone_port(PhonePort::UdpJson).expect("listens");
    let say = || {
        let text = "{\"subject\": \"Ann\", \"blendshapes\": {\"jawOpen\": 0.25}}";
        json.send_to(text.as_bytes(), at).expect("sent");
    };
    frame(&endpoint, say, |frame| &*frame.name == "Ann");
    let said = |answer: OscMessage| (answer.addr, answer.args);
    let is = |address: &str, args: Vec<OscType>| (address.to_owned(), args);
    let off = controller.ask("/facelink/enable/Ann", &[OscType::Float(0.0)]);
    assert_eq!(said(off), is("/facelink/enabled", vec![string("Ann"), OscType::Int(0)]));
    assert!(!endpoint.subject_rules().is_enabled("Ann"));
    assert_eq!(controller.ask("/facelink/cut", &[string("Ann")]).addr, "/facelink/error", "it is not shown");
    let on = controller.ask("/facelink/enable", &[string("Ann"), OscType::Int(1)]);
    assert_eq!(said(on), is("/facelink/enabled", vec![string("Ann"), OscType::Int(1)]));
    let hero = controller.ask("/facelink/rename", &[string("Ann"), string("Hero")]);
    assert_eq!(said(hero), is("/facelink/renamed", vec![string("Ann"), string("Hero")]));
    frame(&endpoint, say, |frame| &*frame.name == "Hero");
    let own = controller.ask("/facelink/rename/Hero", &[]);
    assert_eq!(said(own), is("/facelink/renamed", vec![string("Hero"), string("")]));
    frame(&endpoint, say, |frame| &*frame.name == "Ann");
    let alias = controller.ask("/facelink/alias/Ann", &[string("Bob")]);
    assert_eq!(said(alias), is("/facelink/renamed", vec![string("Ann"), string("Bob")]));
    for (address, args, wanted) in [
        ("/facelink/enable", vec![], "enable: the name of a subject is missing"),
        ("/facelink/enable/Eve", vec![], "there is no subject `Eve`"),
        ("/facelink/rename", vec![], "rename: the name of a subject is missing"),
        ("/facelink/alias", vec![string("Bob")], "alias: the other name is missing"),
    ] {
        assert_eq!(said(controller.ask(address, &args)), is("/facelink/error", vec![string(wanted)]));
    }
}
