//! The doctor's view of an endpoint: what arrives by real sockets, in words.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::UdpSocket,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use facelink::{Blendshape, FaceFrame, wire::llf};
use facelink_net::{
    Endpoint, EndpointConfig, PhoneCall, PhonePort, PhonePorts, SourceKind,
    doctor::{Report, Severity},
};

const LIMIT: Duration = Duration::from_secs(20);

fn start(change: impl FnOnce(&mut EndpointConfig)) -> Endpoint {
    let mut config = EndpointConfig {
        port: 0,
        live_link_face: Some(0),
        udp_json: Some(0),
        phones: PhonePorts::free(),
        ..EndpointConfig::default()
    };
    change(&mut config);
    Endpoint::start(config).expect("an endpoint")
}

/// Sends again and again until a report is as wanted.
fn until(endpoint: &Endpoint, mut send: impl FnMut(), wanted: impl Fn(&Report) -> bool) -> Report {
    let end = Instant::now() + LIMIT;
    loop {
        send();
        let report = endpoint.diagnose().expect("it runs");
        if wanted(&report) {
            return report;
        }
        assert!(Instant::now() < end, "{report:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn advice(report: &Report, part: &str) -> Option<(Severity, String)> {
    let found = report.advice.iter().find(|advice| advice.text.contains(part));
    found.map(|advice| (advice.severity, advice.text.clone()))
}

fn packet(device: &str, number: i32, frame: FaceFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    llf::encode(&llf::LlfPacket::new(device, device, number, frame), &llf::PROFILE, &mut bytes).expect("encodes");
    bytes
}

#[test]
fn doctor_face_without_head_and_lost_face() {
    let endpoint = start(|_| {});
    let to = endpoint.phone_port(PhonePort::LiveLinkFace).expect("listens");
    let (ann, bob) =
        (UdpSocket::bind("127.0.0.1:0").expect("a socket"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let mut number = 0;
    let mut seen = FaceFrame::neutral();
    seen.set(Blendshape::JawOpen, 0.5);
    let lost = FaceFrame { tracked: false, ..FaceFrame::default() };
    let send = || {
        number += 1;
        ann.send_to(&packet("Ann", number, seen.clone()), to).expect("sent");
        bob.send_to(&packet("Bob", number, lost.clone()), to).expect("sent");
    };
    let report = until(&endpoint, send, |report| {
        report.faces.len() == 2 && report.arriving.len() == 2 && report.faces.iter().all(|face| face.fps > 1.0)
    });
    assert_eq!(report.faces.iter().map(|face| &*face.name).collect::<Vec<_>>(), ["Ann", "Bob"]);
    assert!(report.faces[0].tracked && !report.faces[0].head && !report.faces[1].tracked);
    assert_eq!(advice(&report, "\"Ann\" has no head").map(|(severity, _)| severity), Some(Severity::Hint));
    assert_eq!(advice(&report, "\"Bob\" (Live Link Face)").map(|(severity, _)| severity), Some(Severity::Warning));
    assert_eq!(advice(&report, "2 phones send").map(|(severity, _)| severity), Some(Severity::Ok));
    assert_eq!(report.arriving.len(), 2);
    assert!(report.arriving.iter().all(|sender| sender.at == to && sender.app == Some(SourceKind::LiveLinkFace)));
}

#[test]
fn doctor_sender_clock_differs() {
    let endpoint = start(|_| {});
    let to = endpoint.phone_port(PhonePort::UdpJson).expect("listens");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let send = || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
        for (subject, ahead) in [("early", 60_000), ("right", 0)] {
            let stamp = now + ahead;
            let face = format!(r#"{{"subject":"{subject}","timestamp":{stamp},"blendshapes":{{"jawOpen":0.5}}}}"#);
            socket.send_to(face.as_bytes(), to).expect("sent");
        }
    };
    let report = until(&endpoint, send, |report| report.clock.senders.len() == 2);
    let [early, right] = &report.clock.senders[..] else { panic!("{:?}", report.clock) };
    assert!(early.differs && early.difference_ms < -30_000.0, "{early:?}");
    assert!(right.difference_ms > -1000.0, "{right:?}");
    assert!(advice(&report, "\"early\": its clock is").is_some_and(|(_, text)| text.contains(" s ahead")));
    assert!(!report.clock.wrong && report.clock.moved_ms.abs() < 60_000.0, "{:?}", report.clock);
}

#[test]
fn doctor_unanswered_call() {
    let phone = [127, 0, 0, 9].into();
    let endpoint = start(|config| {
        config.phones.vtube_studio = None;
        config.call = vec![PhoneCall::app(phone, SourceKind::VTubeStudio)];
    });
    let report = endpoint.diagnose().expect("it runs");
    assert_eq!(report.phones, ["127.0.0.9 (VTube Studio): called, no answer"]);
    let (severity, text) = advice(&report, "in vain").expect("advice");
    assert!(severity == Severity::Warning && text.contains("`phones.vtube_studio`"), "{text}");
}

#[test]
fn doctor_shows_the_address_to_type() {
    let endpoint = start(|config| {
        config.bind = [0, 0, 0, 0].into();
        config.token = Some("open sesame".to_owned());
    });
    let report = endpoint.diagnose().expect("it runs");
    let Some(own) = report.addresses.first() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine has no address of its own");
        eprintln!("skipped: this machine has no address of its own");
        return;
    };
    let port = endpoint.phone_port(PhonePort::LiveLinkFace).expect("listens").port();
    let setting = report.settings.first().expect("one for each app");
    assert_eq!(setting.app, "Live Link Face");
    assert!(setting.what.contains(&format!("Add Target: {}, port {port}", own.address)), "{}", setting.what);
    assert_eq!(
        report.page,
        format!("http://{}:{}/?token=open%20sesame", own.address, endpoint.addresses().http.port())
    );
    assert!(!report.firewall.is_empty());
    assert!(advice(&report, "nothing arrives yet").is_some() && advice(&report, "--lan").is_none());
}
