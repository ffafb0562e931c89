//! Every sender over every route.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{process::Command, sync::RwLockReadGuard, time::Instant};

use facelink::{Blendshape, performer::Performance};
use serde_json::{Value, json};

use crate::harness::{Browser, Coturn, Frame, LIMIT, Listener, PASSWORD, Process, USER, noisy, python};

/// How the two find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Direct,
    /// The sender goes through coturn alone, and reaches it over this transport.
    TheirRelay(&'static str),
    /// Our side goes through coturn alone.
    OurRelay,
}

/// The listener of a row, and the TURN server between.
struct Row {
    name: String,
    route: Route,
    announced: bool,
    listener: Listener,
    coturn: Option<Coturn>,
    _noisy: RwLockReadGuard<'static, ()>,
}

const JAW: f64 = 0.375;
const SUBJECT: &str = "Ann";

impl Row {
    /// `announced`: the listener announces the TURN server to the sender.
    fn new(name: &str, route: Route, announced: bool) -> Option<Self> {
        let noisy = noisy();
        let coturn = match route {
            Route::Direct => None,
            Route::TheirRelay(_) | Route::OurRelay => Some(Coturn::start()?),
        };
        let flag = coturn.as_ref().map(|coturn| match route {
            Route::TheirRelay(transport) => coturn.flag(transport),
            _ => coturn.flag("udp"),
        });
        let listener = match (route, &flag) {
            (Route::OurRelay, Some(flag)) => Listener::start(&["--ice-server", flag, "--ice-relay-only"]),
            (Route::TheirRelay(_), Some(flag)) if announced => Listener::start(&["--ice-server", flag]),
            _ => Listener::start(&[]),
        };
        Some(Self { name: format!("{name}, {route:?}"), route, announced, listener, coturn, _noisy: noisy })
    }

    /// Where the sender itself is given the TURN server: its transport.
    fn relay(&self) -> Option<(&Coturn, &'static str)> {
        match (self.route, &self.coturn) {
            (Route::TheirRelay(transport), Some(coturn)) => Some((coturn, transport)),
            _ => None,
        }
    }

    /// The settings of a page.
    fn settings(&self) -> Value {
        let servers = match (self.route, &self.coturn) {
            (Route::TheirRelay(transport), Some(coturn)) => {
                vec![json!({"urls": coturn.url(transport), "username": USER, "credential": PASSWORD})]
            }
            // Without it a page names no address of its own, and our relay admits no unknown peer.
            (Route::OurRelay, Some(coturn)) => vec![json!({"urls": coturn.stun()})],
            _ => Vec::new(),
        };
        let policy = if self.relay().is_some() { "relay" } else { "all" };
        json!({"subject": SUBJECT, "jaw": JAW, "url": format!("ws://{}", self.listener.http),
               "rtc": {"iceServers": servers, "iceTransportPolicy": policy}})
    }

    /// Frames over WebRTC, by the route that is meant, of one face.
    fn check(&self, started: Instant, right: impl Fn(&Frame) -> bool) {
        let first = self.listener.frame();
        let mut frame = if first.source == "webrtc" { first.clone() } else { self.listener.frame_by("webrtc") };
        let over_webrtc = frame.at - started;
        for _ in 0..30 {
            assert_eq!(frame.subject, SUBJECT);
            assert!(right(&frame), "{frame:?}");
            frame = self.listener.frame_by("webrtc");
        }
        let connection = self.listener.connection(SUBJECT);
        assert_eq!(connection["transport"], "webrtc", "{connection}");
        let route = connection["route"].as_str().expect("text");
        let expected: &[&str] = match self.route {
            Route::Direct => &["udp host-host", "udp host-prflx", "udp prflx-host"],
            // Its connectivity check may arrive before its candidate.
            Route::TheirRelay(_) if !self.announced => &["udp host-relay", "udp host-prflx"],
            // Both sides have the relay then, and the sender chooses among the candidate pairs that work.
            Route::TheirRelay(_) => &["udp host-relay", "udp host-prflx", "udp relay-relay", "udp relay-prflx"],
            Route::OurRelay if self.announced => {
                &["udp relay-host", "udp relay-prflx", "udp relay-srflx", "udp relay-relay"]
            }
            Route::OurRelay => &["udp relay-host", "udp relay-prflx", "udp relay-srflx"],
        };
        assert!(expected.contains(&route), "{route}: {connection}");
        eprintln!(
            "row: {}: first frame after {} ms over {}, over WebRTC after {} ms, {route}",
            self.name,
            (first.at - started).as_millis(),
            first.source,
            over_webrtc.as_millis(),
        );
    }

    fn check_constant(&self, started: Instant) {
        self.check(started, |frame| (frame.jaw() - JAW).abs() < 0.001);
    }

    /// What the sender reports of its own end.
    fn check_theirs(&self, local: &Value, protocol: Option<&Value>) {
        match self.route {
            Route::TheirRelay(transport) => {
                assert_eq!(local, "relay");
                if let Some(protocol) = protocol {
                    assert_eq!(protocol, transport);
                }
            }
            Route::OurRelay if self.announced => {}
            Route::Direct | Route::OurRelay => assert_ne!(local, "relay"),
        }
    }
}

/// Our own page script.
fn chromium_facelink_js(route: Route) {
    let Some(row) = Row::new("Chromium, facelink.js", route, true) else { return };
    let Some(browser) = Browser::open(&row.listener) else { return };
    let started = Instant::now();
    // The policy is the browser's to set; the servers come with `welcome`.
    browser.run(
        &row.settings(),
        &format!(
            "const Plain = RTCPeerConnection;
             const {{ iceTransportPolicy }} = settings.rtc;
             window.RTCPeerConnection = class extends Plain {{
                 constructor(configuration) {{ super({{ ...configuration, iceTransportPolicy }}); }}
             }};
             const {{ FacialAnimationWebRTCClient }} = await import('/facelink.js');
             {}
             const client = await perform(settings.url, settings.subject, () => ({{ jawOpen: settings.jaw }}));
             window.pc = () => client.pc;",
            include_str!("../../../../examples/clients/javascript/facelink.js")
                .replace("import { FacialAnimationWebRTCClient } from '/facelink.js';", "")
                .replace("export ", "")
        ),
    );
    row.check_constant(started);
    check_page(&row, &browser);
}

/// Without our script: a channel opened in-band, the offer by HTTP, JSON.
fn chromium_raw(route: Route) {
    let Some(row) = Row::new("Chromium, raw", route, false) else { return };
    let Some(browser) = Browser::open(&row.listener) else { return };
    let started = Instant::now();
    browser.run(
        &row.settings(),
        &format!(
            "{}
             const pc = await perform(location.origin, settings.subject, () => ({{ jawOpen: settings.jaw }}), settings.rtc);
             window.pc = () => pc;",
            include_str!("../../../../examples/clients/javascript/raw.js").replace("export ", "")
        ),
    );
    row.check_constant(started);
    check_page(&row, &browser);
}

fn check_page(row: &Row, browser: &Browser) {
    let local = browser.run(
        &Value::Null,
        "const stats = await window.pc().getStats();
         const transport = [...stats.values()].find(entry => entry.type === 'transport');
         return stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);",
    );
    row.check_theirs(&local["candidateType"], local.get("relayProtocol"));
}

fn aiortc(route: Route) {
    let Some(python) = python() else { return };
    let Some(row) = Row::new("aiortc", route, false) else { return };
    let mut command = Command::new(python);
    command
        .arg(crate::harness::file("tests/peers/aiortc_peer.py"))
        .arg(format!("http://{}", row.listener.http))
        .args(["--subject", SUBJECT, "--jaw", &JAW.to_string()]);
    if let Some((coturn, transport)) = row.relay() {
        command.args(["--relay-only", "--turn", &coturn.flag(transport)]);
    }
    let started = Instant::now();
    let peer = Process::start(command, "aiortc_peer.py");
    row.check_constant(started);
    let ends: Value = peer.find(|line| serde_json::from_str(line).ok());
    row.check_theirs(&ends["local"], None);
}

/// `facelink send`.
fn our_command(row: &Row, extra: &[&str]) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(["send", "--to", &format!("ws://{}", row.listener.http), "--subject", SUBJECT]).args(extra);
    Process::start(command, "facelink send")
}

/// Whether a frame is one of the performance that `facelink send` gives.
fn is_performance(frame: &Frame) -> bool {
    let performance = Performance::new(1);
    let frame_time = frame.frame as f64 / 60.0;
    // Frames are numbered without gaps, but may have been asked for more slowly than 60 times a second, or have waited
    // for a busy machine.
    (0..20_000).any(|ms| {
        let time = frame_time + f64::from(ms) / 1000.0;
        let face = performance.frame_at(std::time::Duration::from_secs_f64(time));
        Blendshape::ALL.iter().all(|shape| {
            let sent = face.get(*shape).map(f64::from);
            let received = frame.blendshapes[shape.name()].as_f64();
            matches!((sent, received), (Some(sent), Some(received)) if (sent - received).abs() < 0.02)
        })
    })
}

fn ours(route: Route) {
    let Some(row) = Row::new("facelink send", route, false) else { return };
    let started = Instant::now();
    let flag = row.relay().map(|(coturn, transport)| coturn.flag(transport));
    let _sender = match &flag {
        Some(flag) => our_command(&row, &["--ice-relay-only", "--ice-server", flag]),
        None => our_command(&row, &[]),
    };
    row.check(started, is_performance);
}

#[test]
fn chromium_facelink_js_direct() {
    chromium_facelink_js(Route::Direct);
}

#[test]
fn chromium_facelink_js_its_turn_udp() {
    chromium_facelink_js(Route::TheirRelay("udp"));
}

#[test]
fn chromium_facelink_js_its_turn_tcp() {
    chromium_facelink_js(Route::TheirRelay("tcp"));
}

#[test]
fn chromium_facelink_js_our_turn() {
    chromium_facelink_js(Route::OurRelay);
}

#[test]
fn chromium_raw_direct() {
    chromium_raw(Route::Direct);
}

#[test]
fn chromium_raw_its_turn_udp() {
    chromium_raw(Route::TheirRelay("udp"));
}

#[test]
fn chromium_raw_its_turn_tcp() {
    chromium_raw(Route::TheirRelay("tcp"));
}

#[test]
fn chromium_raw_our_turn() {
    chromium_raw(Route::OurRelay);
}

#[test]
fn aiortc_direct() {
    aiortc(Route::Direct);
}

#[test]
fn aiortc_its_turn_udp() {
    aiortc(Route::TheirRelay("udp"));
}

#[test]
fn aiortc_its_turn_tcp() {
    aiortc(Route::TheirRelay("tcp"));
}

#[test]
fn aiortc_our_turn() {
    aiortc(Route::OurRelay);
}

#[test]
fn facelink_send_direct() {
    ours(Route::Direct);
}

#[test]
fn facelink_send_its_turn_udp() {
    ours(Route::TheirRelay("udp"));
}

#[test]
fn facelink_send_our_turn() {
    ours(Route::OurRelay);
}

/// Our side supports TURN over UDP alone. It logs that, and the WebSocket carries the face.
#[test]
fn facelink_send_turn_tcp_falls_back_to_websocket() {
    let Some(row) = Row::new("facelink send", Route::TheirRelay("tcp"), false) else { return };
    let (coturn, transport) = row.relay().expect("there is one");
    let started = Instant::now();
    let sender = our_command(&row, &["--ice-relay-only", "--ice-server", &coturn.flag(transport)]);
    let end = started + LIMIT;
    let mut frames = 0;
    // Long enough for a data channel to open, were there a route.
    while frames < 120 {
        let frame = row.listener.frame();
        assert_eq!(frame.source, "websocket", "{frame:?}");
        assert!(is_performance(&frame), "{frame:?}");
        assert!(Instant::now() < end);
        if frames == 0 {
            eprintln!("row: {}: first frame after {} ms over websocket", row.name, (frame.at - started).as_millis());
        }
        frames += 1;
    }
    let said = sender.said();
    assert!(said.contains("this side speaks STUN and TURN over UDP only"), "{said}");
    assert!(said.contains("WebRTC will not open"), "{said}");
}
