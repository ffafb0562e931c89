//! An endpoint and a phone that speaks as VTube Studio and MeowFace do, over real sockets.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use facelink::{Blendshape, wire::vtube_studio::Request};
use facelink_net::{Endpoint, EndpointConfig, PhoneCall, PhonePort, PhonePorts, SourceKind, SubjectFrame};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(30);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn start(call: Vec<PhoneCall>) -> Endpoint {
    let phones = PhonePorts { vtube_studio: Some(0), ..PhonePorts::NONE };
    let config = EndpointConfig { port: 0, udp_json: Some(0), phones, call, ..EndpointConfig::default() };
    Endpoint::start(config).expect("an endpoint on free ports")
}

fn own_port(endpoint: &Endpoint) -> SocketAddr {
    endpoint.phone_port(PhonePort::VTubeStudio).expect("a port for VTube Studio")
}

fn phone() -> (UdpSocket, PhoneCall) {
    let socket = UdpSocket::bind((HERE, 0)).expect("a socket");
    socket.set_read_timeout(Some(LIMIT)).expect("a limit");
    let port = socket.local_addr().expect("an address").port();
    (socket, PhoneCall { port: Some(port), ..PhoneCall::app(HERE, SourceKind::VTubeStudio) })
}

/// The next request that a phone hears, and from where.
fn hear(phone: &UdpSocket) -> (Request, SocketAddr) {
    let mut buffer = [0; 2048];
    let (len, from) = phone.recv_from(&mut buffer).expect("a request in time");
    (Request::decode(&buffer[..len]).expect("a request that the app takes"), from)
}

fn wait_frame(endpoint: &Endpoint, wanted: impl Fn(&SubjectFrame) -> bool) -> SubjectFrame {
    let end = Instant::now() + LIMIT;
    loop {
        let frame = endpoint.frames().recv_deadline(end).expect("the frame in time");
        if wanted(&frame) {
            return frame;
        }
    }
}

#[test]
fn vtube_studio_request_is_repeated_while_streaming() {
    let (socket, call) = phone();
    let endpoint = start(vec![call]);
    let to = own_port(&endpoint);
    let (request, from) = hear(&socket);
    assert_eq!(request.ports, [to.port()]);
    assert_eq!(from, to, "asked from the port that is listened on, which opens stateful firewalls in between");
    assert!((1..=32).contains(&request.sent_by.len()), "as many as the app's first versions take");
    for jaw in [0.25, 0.5, 0.75] {
        let frame = format!(r#"{{"FaceFound":true,"BlendShapes":[{{"k":"jawOpen","v":{jaw}}}]}}"#);
        socket.send_to(frame.as_bytes(), to).expect("sent");
        let frame = wait_frame(&endpoint, |frame| frame.frame.get(Blendshape::JawOpen) == Some(jaw));
        assert_eq!(frame.source, SourceKind::VTubeStudio);
        assert_eq!(hear(&socket).0, request, "again, although it sends");
    }
    assert!(endpoint.forget_phone(HERE) && !endpoint.forget_phone(HERE));
}

#[test]
fn vtube_studio_phone_added_later_by_any_spelling() {
    let endpoint = start(Vec::new());
    let (socket, call) = phone();
    endpoint.call_phone(PhoneCall { app: None, ..call });
    assert_eq!(hear(&socket).0.ports, [own_port(&endpoint).port()]);
}

#[test]
fn vtube_studio_face_lost_face_and_invalid_data() {
    let endpoint = start(Vec::new());
    let to = own_port(&endpoint);
    let (socket, _) = phone();
    let send = |text: &str| assert!(socket.send_to(text.as_bytes(), to).is_ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock").as_millis();
    let face = |found: bool, jaw: f32, after: u128| {
        format!(
            r#"{{"Timestamp":{},"Hotkey":-1,"FaceFound":{found},"Rotation":{{"x":-20,"y":0,"z":0}},
               "BlendShapes":[{{"k":"JawOpen","v":{jaw}}},{{"k":"eyeBlink_L","v":1}}]}}"#,
            now + after
        )
    };
    send(&face(true, 0.5, 0));
    let frame = wait_frame(&endpoint, |_| true);
    assert_eq!(&*frame.name, "VTube Studio");
    assert_eq!(frame.frame.get(Blendshape::EyeBlinkLeft), Some(1.0));
    assert!(frame.frame.head.is_some_and(|head| head.rotation[1] < -0.15), "turned to the performer's right");
    send(&face(false, 0.9, 16));
    let frame = wait_frame(&endpoint, |frame| !frame.frame.tracked);
    assert_eq!(frame.frame.get(Blendshape::JawOpen), Some(0.5), "what comes without a face is old");
    send(&face(true, 0.1, 32));
    wait_frame(&endpoint, |frame| frame.frame.tracked && frame.frame.get(Blendshape::JawOpen) == Some(0.1));
    assert!(endpoint.stats().subjects[0].latency_ms.is_some());

    send(r#"{"FaceFound":true,"BlendShapes":[{"k":"JawOpen","v":"wide"}]}"#);
    let end = Instant::now() + LIMIT;
    let error = loop {
        let arrivals = endpoint.arrivals();
        let port = arrivals.iter().find(|port| port.port == PhonePort::VTubeStudio).expect("the port");
        if let Some(error) = port.senders.iter().find_map(|sender| sender.error.clone()) {
            break error;
        }
        assert!(Instant::now() < end, "the refusal is shown");
        std::thread::yield_now();
    };
    assert!(error.contains("`BlendShapes.JawOpen`"), "{error}");
}

/// On one address of this machine, as simulators are, or on two, as phones are.
#[test]
fn vtube_studio_two_phones_are_two_subjects() {
    for second in [1, 2] {
        if second == 2 && !cfg!(target_os = "linux") {
            return;
        }
        let endpoint = start(Vec::new());
        let to = own_port(&endpoint);
        let phones = [1, second].map(|last| UdpSocket::bind((Ipv4Addr::new(127, 0, 0, last), 0)).expect("a socket"));
        let jaws = [0.25, 0.75];
        let end = Instant::now() + LIMIT;
        let mut seen = [None; 2];
        while seen.contains(&None) {
            assert!(Instant::now() < end, "both are seen: {seen:?}");
            for (phone, jaw) in phones.iter().zip(jaws) {
                let frame = format!(r#"{{"FaceFound":true,"BlendShapes":[{{"k":"JawOpen","v":{jaw}}}]}}"#);
                phone.send_to(frame.as_bytes(), to).expect("sent");
            }
            let next = Instant::now() + Duration::from_millis(10);
            while let Ok(frame) = endpoint.frames().recv_deadline(next) {
                let jaw = frame.frame.get(Blendshape::JawOpen);
                let place = jaws.iter().position(|of| Some(*of) == jaw).expect("a jaw of one of them");
                let id = *seen[place].get_or_insert(frame.id);
                assert_eq!(id, frame.id, "each is one face");
            }
        }
        assert_ne!(seen[0], seen[1]);
        assert_eq!(endpoint.stats().subjects.len(), 2);
    }
}
