//! iFacialMocap, Facemotion3d and `FMV3` over real sockets on loopback: an endpoint and a phone that is played.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose,
    performer::Performance,
    simulate::SimulatorConfig,
    wire::{
        fmv3::{self, Encoding, FLAG_TRACKED, Hello, Kind, Message, Part, SCHEMA_DATAGRAM, Schema, Terms},
        mocap_text::{self, Dialect, FRAME_END, START_V1, Writer},
    },
};
use facelink_net::Simulator;
use facelink_net::{
    Endpoint, EndpointConfig, LinkEvent, LostReason, PhoneCall, PhonePort, PhonePorts, PhoneState, PhoneTransport,
    SourceKind, SubjectFrame,
};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(30);
/// Between two frames.
const FRAME: Duration = Duration::from_millis(10);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn start() -> Endpoint {
    let config = EndpointConfig {
        port: 0,
        phones: PhonePorts::free(),
        subject_timeout: Duration::from_secs(2),
        ..EndpointConfig::default()
    };
    Endpoint::start(config).expect("an endpoint on free ports")
}

fn port(endpoint: &Endpoint, port: PhonePort) -> SocketAddr {
    endpoint.phone_port(port).expect("the port is open")
}

/// A phone on a free port of this machine, whose data go to one of the endpoint's.
fn phone(endpoint: &Endpoint, app: SourceKind, data: PhonePort) -> Simulator {
    let config = SimulatorConfig {
        bind: Some(HERE),
        port: Some(0),
        stream_port: Some(0),
        data_port: Some(port(endpoint, data).port()),
        ..SimulatorConfig::new(app, None)
    };
    Simulator::start(&config).expect("a phone")
}

/// The same, with the endpoint's address typed in.
fn phone_to(endpoint: &Endpoint, app: SourceKind, data: PhonePort, transport: PhoneTransport) -> Simulator {
    let to = Some(port(endpoint, data));
    let config = SimulatorConfig { bind: Some(HERE), port: Some(0), transport, ..SimulatorConfig::new(app, to) };
    Simulator::start(&config).expect("a phone")
}

fn call(phone: &Simulator, app: Option<SourceKind>) -> PhoneCall {
    PhoneCall { port: phone.address().map(|address| address.port()), app, ..PhoneCall::any(HERE) }
}

fn face() -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::EyeBlinkLeft, 0.25);
    frame.set(Blendshape::MouthSmileRight, 0.5);
    frame.set(Blendshape::JawLeft, 0.1);
    frame.set(Blendshape::MouthRight, 0.2);
    // Turned to the performer's left, looking up a little.
    let (yaw, pitch) = (0.3_f32, 0.1_f32);
    let ((sy, cy), (sp, cp)) = ((yaw / 2.0).sin_cos(), (-pitch / 2.0).sin_cos());
    let rotation = [sp * cy, sy * cp, -sy * sp, cy * cp];
    frame.head = Some(HeadPose { rotation, position: Some([0.02, -0.03, -0.45]) });
    frame.gaze = Some(Gaze { left: EyeGaze { yaw: 0.2, pitch: -0.1 }, right: EyeGaze { yaw: 0.15, pitch: -0.12 } });
    frame
}

fn lost() -> FaceFrame {
    FaceFrame { tracked: false, ..face() }
}

fn assert_same(read: &FaceFrame, sent: &FaceFrame) {
    assert!(read.is_complete());
    for shape in Blendshape::ALL {
        let (read, sent) = (read.weights[shape.index()], sent.weights[shape.index()]);
        assert!((read - sent).abs() < 0.0051, "{shape}: {read} {sent}");
    }
    let (read_head, sent_head) = (read.head.expect("a head"), sent.head.expect("a head"));
    for (read, sent) in read_head.rotation.iter().zip(sent_head.rotation) {
        assert!((read - sent).abs() < 1e-4, "{:?} {:?}", read_head.rotation, sent_head.rotation);
    }
    assert_eq!(read_head.position, sent_head.position);
    let (read, sent) = (read.gaze.expect("a gaze"), sent.gaze.expect("a gaze"));
    for (read, sent) in [(read.left, sent.left), (read.right, sent.right)] {
        assert!((read.yaw - sent.yaw).abs() < 1e-4 && (read.pitch - sent.pitch).abs() < 1e-4, "{read:?} {sent:?}");
    }
}

/// Has a phone send a frame until the endpoint has one that is wanted.
fn until(
    endpoint: &Endpoint,
    phone: &Simulator,
    frame: &FaceFrame,
    mut wanted: impl FnMut(&SubjectFrame) -> bool,
) -> SubjectFrame {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        phone.send(frame).expect("sends");
        if let Ok(frame) = endpoint.frames().recv_timeout(FRAME)
            && wanted(&frame)
        {
            return frame;
        }
    }
    unreachable!("no such frame; phones: {:?}, arrivals: {:?}", endpoint.phones(), endpoint.arrivals())
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "{what}, in vain");
        std::thread::sleep(FRAME);
    }
}

fn wait_lost(endpoint: &Endpoint) -> LostReason {
    let end = Instant::now() + LIMIT;
    loop {
        if let LinkEvent::SubjectLost { reason, .. } = endpoint.events().recv_deadline(end).expect("the event in time")
        {
            return reason;
        }
    }
}

fn state(endpoint: &Endpoint) -> PhoneState {
    endpoint.phones().remove(0).state
}

/// Streams, loses the face, finds it again.
fn performs(endpoint: &Endpoint, phone: &Simulator, kind: SourceKind) -> SubjectFrame {
    let sent = face();
    let first = until(endpoint, phone, &sent, |_| true);
    assert_eq!(first.source, kind);
    assert!(first.frame.tracked);
    assert_same(&first.frame, &sent);
    let without = until(endpoint, phone, &lost(), |frame| !frame.frame.tracked);
    assert_eq!(without.id, first.id);
    assert_same(&without.frame, &sent);
    let again = until(endpoint, phone, &sent, |frame| frame.frame.tracked);
    assert_eq!(again.id, first.id);
    first
}

#[test]
fn ifacialmocap_v2_after_a_call() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocap, PhonePort::IFacialMocap);
    assert!(!phone.is_streaming());
    endpoint.call_phone(call(&phone, Some(SourceKind::IFacialMocap)));
    let first = performs(&endpoint, &phone, SourceKind::IFacialMocap);
    assert_eq!(&*first.name, "iFacialMocap");
    assert_eq!(state(&endpoint), PhoneState::Streaming);
    let arrivals = endpoint.arrivals();
    let arrivals = arrivals.iter().find(|stats| stats.port == PhonePort::IFacialMocap).expect("the port");
    assert_eq!((arrivals.refused, arrivals.senders[0].app), (0, Some(SourceKind::IFacialMocap)));
    drop(phone);
    assert_eq!(wait_lost(&endpoint), LostReason::Silent);
    wait("it is called again", || state(&endpoint) == PhoneState::Calling);
}

#[test]
fn ifacialmocap_v1_without_a_call() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocap, PhonePort::IFacialMocap);
    let other = UdpSocket::bind((HERE, 0)).expect("a socket");
    other.send_to(START_V1.as_bytes(), phone.address().expect("bound")).expect("sends");
    performs(&endpoint, &phone, SourceKind::IFacialMocap);
    assert!(endpoint.phones().is_empty(), "no phone was called");
}

#[test]
fn mocap_two_phones_are_two_subjects() {
    let endpoint = start();
    let to = |app| phone_to(&endpoint, app, PhonePort::IFacialMocap, PhoneTransport::Udp);
    let (one, other) = (to(SourceKind::IFacialMocap), to(SourceKind::IFacialMocap));
    let first = performs(&endpoint, &one, SourceKind::IFacialMocap);
    // Both send: a phone that begins when the other has stopped might be the same one, started again.
    let second = until(&endpoint, &other, &face(), |frame| {
        one.send(&face()).expect("sends");
        frame.id != first.id
    });
    assert_eq!((&*first.name, &*second.name), ("iFacialMocap", "iFacialMocap (2)"));
}

#[test]
fn facemotion3d_frozen_face_and_stop_command() {
    let endpoint = start();
    // Its builds differ in which of the two ports they send to.
    for data in [PhonePort::IFacialMocap, PhonePort::Facemotion3d] {
        let phone = phone(&endpoint, SourceKind::Facemotion3d, data);
        endpoint.call_phone(call(&phone, Some(SourceKind::Facemotion3d)));
        let first = until(&endpoint, &phone, &face(), |_| true);
        assert_eq!((first.source, &*first.name), (SourceKind::Facemotion3d, "Facemotion3d"));
        assert_same(&first.frame, &face());
        let performance = Performance::new(4);
        let mut taken = 0;
        while taken < 100 {
            let frame = performance.frame_at(FRAME * taken);
            until(&endpoint, &phone, &frame, |frame| frame.frame.tracked);
            taken += 1;
        }
        until(&endpoint, &phone, &lost(), |frame| !frame.frame.tracked);
        until(&endpoint, &phone, &face(), |frame| frame.frame.tracked);
        assert!(endpoint.forget_phone(HERE));
        wait("the app has stopped", || !phone.is_streaming());
        drop(phone);
        wait_lost(&endpoint);
    }
}

#[test]
fn ifacialmocap_connects_over_tcp() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocap, PhonePort::IFacialMocapTcp);
    let by_tcp = PhoneCall { transport: PhoneTransport::Tcp, ..call(&phone, Some(SourceKind::IFacialMocap)) };
    endpoint.call_phone(by_tcp);
    performs(&endpoint, &phone, SourceKind::IFacialMocap);
    assert!(endpoint.forget_phone(HERE));
    wait("the app has hung up", || !phone.is_streaming());
    assert_eq!(wait_lost(&endpoint), LostReason::Disconnected);
}

#[test]
fn mocap_tcp_stream_split_and_reconnected() {
    let endpoint = start();
    let address = port(&endpoint, PhonePort::IFacialMocapTcp);
    let text = |jaw: f32| {
        let mut frame = face();
        frame.set(Blendshape::JawOpen, jaw);
        let mut text = Vec::new();
        Writer::new(Dialect::V2).write(&frame, &mocap_text::PROFILE, &mut text).expect("writes");
        text.extend_from_slice(FRAME_END.as_bytes());
        text
    };
    let received = |jaw: f32| {
        let end = Instant::now() + LIMIT;
        loop {
            let frame = endpoint.frames().recv_deadline(end).expect("the frame in time");
            if (frame.frame.weights[Blendshape::JawOpen.index()] - jaw).abs() < 1e-3 {
                return frame;
            }
        }
    };
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_nodelay(true).expect("set");
    for piece in text(0.1).chunks(7) {
        stream.write_all(piece).expect("writes");
        // A packet of its own, most likely; whether it is does not matter.
        std::thread::yield_now();
    }
    let first = received(0.1);
    stream.write_all(&[text(0.2), text(0.3), text(0.4)].concat()).expect("writes");
    for jaw in [0.2, 0.3, 0.4] {
        assert_eq!(received(jaw).id, first.id, "each of them");
    }
    let (half, rest) = (text(0.5), text(0.6));
    stream.write_all(&half[..500]).expect("writes");
    drop(stream);
    // The phone comes back within the time that it is waited for: the same face.
    wait("it is seen to be gone", || {
        let gone = |event: LinkEvent| matches!(event, LinkEvent::Disconnected { .. });
        endpoint.events().try_iter().any(gone)
    });
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(&rest).expect("writes");
    assert_eq!(received(0.6).id, first.id);

    // One that never ends a frame is closed, and said to be at fault.
    let refused = || {
        let arrivals = endpoint.arrivals();
        arrivals.iter().find(|stats| stats.port == PhonePort::IFacialMocapTcp).map_or(0, |stats| stats.refused)
    };
    assert_eq!(refused(), 0);
    let mut hostile = TcpStream::connect(address).expect("connects");
    let junk = vec![b'x'; 4096];
    while hostile.write_all(&junk).is_ok() {}
    wait("it is counted", || refused() == 1);
    stream.write_all(&text(0.7)).expect("the other goes on");
    assert_eq!(received(0.7).id, first.id);
}

#[test]
fn fmv3_call_lease_and_stop() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocapV3, PhonePort::IFacialMocap);
    endpoint.call_phone(call(&phone, Some(SourceKind::IFacialMocapV3)));
    let first = performs(&endpoint, &phone, SourceKind::IFacialMocapV3);
    assert_eq!(&*first.name, "iFacialMocap");
    let count = first.frame.sequence.expect("numbered");
    let later = until(&endpoint, &phone, &face(), |frame| frame.frame.sequence > Some(count + 20));
    assert_eq!(later.id, first.id);
    assert_eq!(state(&endpoint), PhoneState::Streaming);
    assert!(endpoint.forget_phone(HERE));
    wait("the phone received the stop command", || !phone.is_streaming());
    // And again, whatever count the phone starts with.
    endpoint.call_phone(call(&phone, Some(SourceKind::IFacialMocapV3)));
    performs(&endpoint, &phone, SourceKind::IFacialMocapV3);
    drop(endpoint);
    wait("the phone received the stop command", || !phone.is_streaming());
}

#[test]
fn fmv3_is_requested_first_of_any_app() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocapV3, PhonePort::IFacialMocap);
    endpoint.call_phone(call(&phone, None));
    let first = until(&endpoint, &phone, &face(), |_| true);
    assert_eq!(first.source, SourceKind::IFacialMocapV3);
}

#[test]
fn fmv3_over_tcp() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocapV3, PhonePort::IFacialMocap);
    let at = phone.stream_address().expect("it listens");
    let by_tcp = PhoneCall {
        transport: PhoneTransport::Tcp,
        port: Some(at.port()),
        ..call(&phone, Some(SourceKind::IFacialMocapV3))
    };
    endpoint.call_phone(by_tcp);
    performs(&endpoint, &phone, SourceKind::IFacialMocapV3);
    assert!(endpoint.forget_phone(HERE));
    wait("the phone received the stop command", || !phone.is_streaming());
}

#[test]
fn fmv3_started_on_the_phone() {
    for (data, transport) in [
        (PhonePort::IFacialMocap, PhoneTransport::Udp),
        (PhonePort::IFacialMocapV3Tcp, PhoneTransport::Tcp),
        // Users may type the port of the text's streams.
        (PhonePort::IFacialMocapTcp, PhoneTransport::Tcp),
    ] {
        let endpoint = start();
        let phone = phone_to(&endpoint, SourceKind::IFacialMocapV3, data, transport);
        performs(&endpoint, &phone, SourceKind::IFacialMocapV3);
    }
}

/// A phone by hand, to do what no app does.
struct Hand {
    socket: UdpSocket,
}

impl Hand {
    fn new() -> Self {
        let socket = UdpSocket::bind((HERE, 0)).expect("a socket");
        socket.set_read_timeout(Some(LIMIT)).expect("set");
        Self { socket }
    }

    fn call(&self, app: SourceKind) -> PhoneCall {
        let port = self.socket.local_addr().expect("bound").port();
        PhoneCall { port: Some(port), ..PhoneCall::app(HERE, app) }
    }

    /// The next message: its kind, its session or nonce, its sequence, and where it came from.
    fn any(&self) -> (Kind, u64, u32, SocketAddr) {
        let mut buffer = [0; 2048];
        loop {
            let (len, from) = self.socket.recv_from(&mut buffer).expect("a message in time");
            if let Ok(Part { header, .. }) = Part::read(&buffer[..len]) {
                return (header.kind, header.session, header.sequence, from);
            }
        }
    }

    /// The next message of a kind, without it.
    fn next(&self, kind: Kind) -> (u64, u32, SocketAddr) {
        let end = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < end, "no {kind:?} in time");
            let (other, session, sequence, from) = self.any();
            if other == kind {
                return (session, sequence, from);
            }
        }
    }

    fn send(&self, to: SocketAddr, message: Message<'_>) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        self.socket.send_to(&bytes, to).expect("sends");
    }

    fn schema(&self, to: SocketAddr, session: u64, terms: Terms, wanted: impl Fn(u16) -> bool) -> Schema {
        let names = Blendshape::ALL.map(Blendshape::name);
        let schema = Schema::new(1, terms, "iFacialMocap", Encoding::I16, names).expect("a schema");
        let body = schema.body().expect("a body");
        let message = Message::new(Kind::Schema, session).with_schema(1).with_body(&body);
        for part in (0..message.parts(SCHEMA_DATAGRAM)).filter(|part| wanted(*part)) {
            let mut bytes = Vec::new();
            message.write_part(SCHEMA_DATAGRAM, part, &mut bytes);
            self.socket.send_to(&bytes, to).expect("sends");
        }
        schema
    }

    fn frame(&self, to: SocketAddr, session: u64, schema: &Schema, sequence: u32) {
        let mut body = Vec::new();
        schema.encode(&face(), &fmv3::PROFILE, &mut body).expect("encodes");
        let message = Message::new(Kind::Frame, session).with_schema(1).with_sequence(sequence).with_body(&body);
        self.send(to, Message { flags: FLAG_TRACKED, ..message });
    }
}

#[test]
fn fmv3_lost_schema_part_is_requested_again() {
    let endpoint = start();
    let hand = Hand::new();
    endpoint.call_phone(hand.call(SourceKind::IFacialMocapV3));
    let (nonce, _, from) = hand.next(Kind::Hello);
    let terms = Terms { nonce, lease: Duration::from_secs(5), ..Terms::default() };
    hand.schema(from, 7, terms, |part| part != 1);
    // HELLO comes again, the same as before, and this time the answer arrives.
    let (again, _, _) = hand.next(Kind::Hello);
    assert_eq!(again, nonce);
    let schema = hand.schema(from, 7, terms, |_| true);
    hand.next(Kind::SchemaAck);
    wait("it has answered", || state(&endpoint) == PhoneState::Answered);
    hand.frame(from, 7, &schema, u32::MAX);
    hand.frame(from, 7, &schema, 0);
    let end = Instant::now() + LIMIT;
    let first = endpoint.frames().recv_deadline(end).expect("the frame in time");
    assert_same(&first.frame, &face());
    let second = endpoint.frames().recv_deadline(end).expect("the frame in time");
    let number = |frame: &SubjectFrame| frame.frame.sequence;
    assert_eq!(number(&second), number(&first).map(|number| number + 1), "over the end of the count");

    // The lease is renewed past its length; and without frames for three seconds, the schema is requested.
    let (mut pings, mut asked) = (Vec::new(), 0);
    while pings.len() < 4 || asked < 3 {
        match hand.any() {
            (Kind::Ping, session, sequence, _) => pings.push((session, sequence)),
            (Kind::GetSchema, 7, ..) => asked += 1,
            (Kind::SchemaAck, 7, ..) => {}
            other => unreachable!("{other:?}"),
        }
    }
    assert!(pings.iter().zip(1..).all(|(ping, number)| *ping == (7, number)), "{pings:?}");
    drop(endpoint);
    assert_eq!(hand.next(Kind::Stop).0, 7);
}

#[test]
fn fmv3_busy_phone_is_called_later() {
    let endpoint = start();
    let phone = phone(&endpoint, SourceKind::IFacialMocapV3, PhonePort::IFacialMocap);
    let at = phone.address().expect("bound");
    let rival = Hand::new();
    let body = Hello::default().body();
    rival.send(at, Message::new(Kind::Hello, 99).with_body(&body));
    let (session, _, _) = rival.next(Kind::Schema);
    rival.send(at, Message::new(Kind::SchemaAck, session).with_schema(1));
    wait("the rival has it", || phone.is_streaming());
    endpoint.call_phone(call(&phone, Some(SourceKind::IFacialMocapV3)));
    wait("it says so", || state(&endpoint) == PhoneState::Refused("BUSY".to_owned()));
    phone.send(&face()).expect("sends");
    rival.next(Kind::Frame);
    rival.send(at, Message::new(Kind::Stop, session));
    performs(&endpoint, &phone, SourceKind::IFacialMocapV3);
    assert_eq!(state(&endpoint), PhoneState::Streaming);
}

#[test]
fn mocap_protocol_change_keeps_subject() {
    let endpoint = start();
    let to = port(&endpoint, PhonePort::IFacialMocap);
    let hand = Hand::new();
    let end = Instant::now() + LIMIT;
    let mut text = Vec::new();
    Writer::new(Dialect::V2).write(&face(), &mocap_text::PROFILE, &mut text).expect("writes");
    hand.socket.send_to(&text, to).expect("sends");
    let spoken = endpoint.frames().recv_deadline(end).expect("the frame in time");
    let schema = hand.schema(to, 5, Terms::default(), |_| true);
    hand.next(Kind::SchemaAck);
    hand.frame(to, 5, &schema, 1);
    let counted = endpoint.frames().recv_deadline(end).expect("the frame in time");
    assert_eq!((spoken.source, counted.source), (SourceKind::IFacialMocap, SourceKind::IFacialMocapV3));
    assert_eq!(counted.id, spoken.id);
}

#[test]
fn mocap_invalid_data_is_named_and_affects_no_other() {
    let endpoint = start();
    let to = port(&endpoint, PhonePort::IFacialMocap);
    let phone = phone_to(&endpoint, SourceKind::IFacialMocap, PhonePort::IFacialMocap, PhoneTransport::Udp);
    let first = until(&endpoint, &phone, &face(), |_| true);
    let hand = Hand::new();
    hand.socket.send_to(b"FMV3\x0a rubbish", to).expect("sends");
    let errors = || {
        let stats = endpoint.arrivals();
        let stats = stats.into_iter().find(|stats| stats.port == PhonePort::IFacialMocap).expect("the port");
        stats.senders.into_iter().filter_map(|sender| sender.error).collect::<Vec<_>>()
    };
    let said = "header: the message ends after 13 of 40 bytes";
    wait("it is said", || errors().iter().any(|error| error == said));
    hand.socket.send_to(b"not&a|face&at|all&1|", to).expect("sends");
    let frame = until(&endpoint, &phone, &face(), |_| true);
    assert_eq!(frame.id, first.id);
    assert_eq!(endpoint.stats().subjects.len(), 1);

    // A connection that begins like FMV3 and continues differently is closed.
    let mut stream = TcpStream::connect(port(&endpoint, PhonePort::IFacialMocapV3Tcp)).expect("connects");
    stream.write_all(&[b"FMV3".as_slice(), &[0xff; 100]].concat()).expect("writes");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    assert!(matches!(stream.read(&mut [0; 8]), Ok(0) | Err(_)));
    let stats = endpoint.arrivals();
    let stats = stats.iter().find(|stats| stats.port == PhonePort::IFacialMocapV3Tcp).expect("the port");
    let error = stats.senders.iter().find_map(|sender| sender.error.as_deref());
    assert_eq!((stats.refused, error.map(|error| error.starts_with("message type is 255"))), (1, Some(true)));
}
