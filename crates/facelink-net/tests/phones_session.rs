//! A phone's whole session, app by app, by the app's own simulator: it starts, streams, loses the face, finds it again,
//! changes its address, and stops.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use facelink::{FaceFrame, performer::Performance, simulate::SimulatorConfig};
use facelink_net::Simulator;
use facelink_net::{
    Endpoint, EndpointConfig, LinkEvent, LostReason, PhoneCall, PhonePort, PhonePorts, PhoneState, SourceKind,
    SubjectFrame, SubjectId,
};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(60);
/// Between two frames of a phone.
const FRAME: Duration = Duration::from_millis(15);
/// A phone that is silent for longer than this has gone on from another address, where another one begins to send.
/// Milliseconds.
const MOVED: f32 = 400.0;
/// After this it is gone.
fn gone(app: SourceKind) -> Duration {
    // A phone that may speak two formats is called by the second after three seconds.
    Duration::from_secs(if app == SourceKind::IFacialMocap { 6 } else { 3 })
}
/// Frames after which a face that stands still is believed to be lost, in apps that do not say so.
const LIVELY: u64 = 80;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Another address of this machine; Linux has all of 127.0.0.0/8.
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The port that is typed into an app, and whether it waits to be called instead.
fn port_of(app: SourceKind) -> (PhonePort, bool) {
    match app {
        SourceKind::IFacialMocap | SourceKind::IFacialMocapV3 | SourceKind::Facemotion3d => {
            (PhonePort::IFacialMocap, true)
        }
        SourceKind::FaceCap => (PhonePort::FaceCap, false),
        SourceKind::Vmc => (PhonePort::Vmc, false),
        SourceKind::VTubeStudio => (PhonePort::VTubeStudio, true),
        SourceKind::UdpJson => (PhonePort::UdpJson, false),
        _ => (PhonePort::LiveLinkFace, false),
    }
}

struct Session {
    endpoint: Endpoint,
    app: SourceKind,
    /// None once it has stopped.
    phone: Option<Simulator>,
    performance: Performance,
    started: Instant,
}

impl Session {
    fn start(app: SourceKind) -> Self {
        let config = EndpointConfig {
            port: 0,
            live_link_face: Some(0),
            udp_json: Some(0),
            phones: PhonePorts::free(),
            subject_timeout: gone(app),
            ..EndpointConfig::default()
        };
        let endpoint = Endpoint::start(config).expect("an endpoint on free ports");
        let phone = Some(phone(&endpoint, app, HERE));
        Self { endpoint, app, phone, performance: Performance::new(9), started: Instant::now() }
    }

    fn frame(&self) -> FaceFrame {
        self.performance.frame_at(self.started.elapsed())
    }

    /// Plays frames until one arrives, or the stats are reached.
    fn play(&self, tracked: bool, wanted: impl Fn(&SubjectFrame) -> bool, reached: impl Fn(&Endpoint) -> bool) {
        let end = Instant::now() + LIMIT;
        loop {
            assert!(Instant::now() < end, "{}: it did not come to that: {:?}", self.app, self.endpoint.stats());
            let mut frame = self.frame();
            frame.tracked = tracked;
            self.phone.as_ref().expect("it runs").send(&frame).expect("sent");
            let next = Instant::now() + FRAME;
            while let Ok(frame) = self.endpoint.frames().recv_deadline(next) {
                if wanted(&frame) {
                    return;
                }
            }
            if reached(&self.endpoint) {
                return;
            }
        }
    }

    fn play_until(&self, wanted: impl Fn(&SubjectFrame) -> bool) {
        self.play(true, wanted, |_| false);
    }

    fn event<T>(&self, wanted: impl Fn(&LinkEvent) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            let event = self.endpoint.events().recv_deadline(end).expect("the event in time");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    fn wait(&self, what: &str, done: impl Fn(&Endpoint) -> bool) {
        let end = Instant::now() + LIMIT;
        while !done(&self.endpoint) {
            assert!(Instant::now() < end, "{}: {what}", self.app);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What is known of the only face.
    fn age_ms(endpoint: &Endpoint) -> f32 {
        endpoint.stats().subjects.first().map_or(0.0, |subject| subject.age_ms)
    }
}

/// A phone at an address, which is called if it has to be.
fn phone(endpoint: &Endpoint, app: SourceKind, address: IpAddr) -> Simulator {
    let (port, waits) = port_of(app);
    let to = endpoint.phone_port(port).filter(|_| !waits);
    let mut config = SimulatorConfig::new(app, to);
    config.subject = "Ann".to_owned();
    config.bind = Some(address);
    config.port = Some(0);
    config.stream_port = Some(0);
    // Where the endpoint listens for an app that has a fixed port.
    config.data_port = endpoint.phone_port(port).map(|address| address.port());
    let phone = Simulator::start(&config).expect("a phone");
    if waits {
        let port = phone.address().map(|address| address.port());
        endpoint.call_phone(PhoneCall { port, ..PhoneCall::app(address, app) });
    }
    phone
}

fn session(app: SourceKind) {
    let mut session = Session::start(app);
    let (_, waits) = port_of(app);

    // It streams, all of a face.
    session.play_until(|frame| frame.source == app && frame.frame.is_complete() && frame.frame.head.is_some());
    let id: SubjectId = session.event(|event| match event {
        LinkEvent::SubjectAppeared { id, source, .. } if *source == app => Some(*id),
        _ => None,
    });
    assert!(session.phone.as_ref().is_some_and(Simulator::is_streaming));
    let named: &str = &session.endpoint.stats().subjects[0].name;
    assert_eq!(named == "Ann", matches!(app, SourceKind::LiveLinkFace | SourceKind::UdpJson), "{app}: {named}");
    if waits {
        assert_eq!(session.endpoint.phones()[0].state, PhoneState::Streaming);
    }

    // It loses the face, and says so, freezes or falls silent; and finds it again.
    session.play(true, |_| false, |endpoint| endpoint.stats().subjects[0].frames > LIVELY);
    let lost = |endpoint: &Endpoint| endpoint.stats().subjects.first().is_some_and(|subject| !subject.tracked);
    session.play(false, |frame| frame.id == id && !frame.frame.tracked, lost);
    session.play(true, |frame| frame.id == id && frame.frame.tracked, |_| false);
    session.wait("tracked again", |endpoint| endpoint.stats().subjects[0].tracked);

    // It changes its address, without a word from the old one, and is the same face still.
    if cfg!(target_os = "linux") {
        session.wait("silent for a moment", |endpoint| Session::age_ms(endpoint) > MOVED);
        let new = phone(&session.endpoint, app, THERE);
        let old = session.phone.replace(new);
        session.play(
            true,
            |_| false,
            |endpoint| {
                let stats = endpoint.stats();
                let subject = stats.subjects.iter().find(|subject| subject.id == id);
                subject.and_then(|subject| subject.address).is_some_and(|address| address.ip() == THERE)
            },
        );
        assert_eq!(session.endpoint.stats().subjects.len(), 1, "{app}: one face, not two");
        drop(old);
        let before = session.endpoint.stats().subjects[0].frames;
        session.play(true, |_| false, |endpoint| endpoint.stats().subjects[0].frames > before);
    }

    // It stops, and its face goes.
    let phone = session.phone.take();
    assert!(phone.is_some_and(|phone| phone.sent() > 0));
    let reason = session.event(|event| match event {
        LinkEvent::SubjectLost { id: lost, reason, .. } if *lost == id => Some(*reason),
        _ => None,
    });
    assert!(matches!(reason, LostReason::Silent | LostReason::Disconnected), "{app}: {reason:?}");
    let left = session.endpoint.stats().subjects;
    assert!(left.is_empty(), "{app}: {left:?}");
}

#[test]
fn live_link_face() {
    session(SourceKind::LiveLinkFace);
}

#[test]
fn ifacialmocap() {
    session(SourceKind::IFacialMocap);
}

#[test]
fn ifacialmocap_v3() {
    session(SourceKind::IFacialMocapV3);
}

#[test]
fn facemotion3d() {
    session(SourceKind::Facemotion3d);
}

#[test]
fn face_cap() {
    session(SourceKind::FaceCap);
}

#[test]
fn vmc() {
    session(SourceKind::Vmc);
}

#[test]
fn vtube_studio() {
    session(SourceKind::VTubeStudio);
}

#[test]
fn udp_json() {
    session(SourceKind::UdpJson);
}
