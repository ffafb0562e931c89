//! A sender whose network lets no UDP through.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{Browser, Listener, Process, file, missing, python, quiet};

/// The limit: the time from the start of a sender to its first frame.
const WITHIN: Duration = Duration::from_secs(2);
const TOKEN: &str = "let-me-in";

/// A machine behind a firewall: one network namespace for it, one for the firewall, and this machine beyond.
struct Network {
    machine: String,
    firewall: String,
    /// This machine's address in that network.
    here: String,
    /// That machine's own.
    there: String,
}

pub fn ip(arguments: &str) -> Result<(), String> {
    let out = Command::new("ip").args(arguments.split(' ')).output().map_err(|error| error.to_string())?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("ip {arguments}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

impl Network {
    /// `None` where this user may not make one.
    fn new() -> Option<Self> {
        let id = uuid::Uuid::new_v4().as_u128();
        let name = format!("{:08x}", id as u32);
        // Eight addresses of 10.192.0.0/10 by chance; the other half of that private network is left to others.
        let block = 0x0ac0_0000 | ((id >> 32) as u32 & 0x0007_ffff) << 3;
        let address = |last: u32| std::net::Ipv4Addr::from(block + last);
        let network = Self {
            machine: format!("flm{name}"),
            firewall: format!("flf{name}"),
            here: address(1).to_string(),
            there: address(6).to_string(),
        };
        let Self { machine, firewall, here, there } = &network;
        let steps = [
            format!("netns add {machine}"),
            format!("netns add {firewall}"),
            format!("link add flh{name} type veth peer name outside netns {firewall}"),
            format!("-n {firewall} link add inside type veth peer name eth0 netns {machine}"),
            format!("addr add {here}/30 dev flh{name}"),
            format!("link set flh{name} up"),
            format!("-n {firewall} addr add {}/30 dev outside", address(2)),
            format!("-n {firewall} addr add {}/30 dev inside", address(5)),
            format!("-n {firewall} link set outside up"),
            format!("-n {firewall} link set inside up"),
            format!("-n {machine} addr add {there}/30 dev eth0"),
            format!("-n {machine} link set lo up"),
            format!("-n {machine} link set eth0 up"),
            format!("-n {machine} route add default via {}", address(5)),
            format!("route add {}/30 via {}", address(4), address(2)),
        ];
        for step in &steps {
            if let Err(error) = ip(step) {
                missing(&format!("no network namespaces (they need root and iproute2): {error}"));
                return None;
            }
        }
        let forward = ["netns", "exec", firewall, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        let forwards = Command::new("ip").args(forward).status().is_ok_and(|status| status.success());
        assert!(forwards, "the firewall does not forward");
        Some(network)
    }

    /// From now on the firewall drops every UDP datagram, to both sides, without a word.
    fn block_udp(&self) {
        ip(&format!("-n {} rule add ipproto udp blackhole", self.firewall)).expect("a rule");
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machine, program]);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Interfaces, addresses, routes and rules go with them.
        for name in [&self.machine, &self.firewall] {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// How often: `FACELINK_BLOCKED_TRIES`, or 5.
fn tries() -> usize {
    std::env::var("FACELINK_BLOCKED_TRIES").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

fn facelink(network: &Network, arguments: &[&str]) -> Process {
    let mut command = network.command(env!("CARGO_BIN_EXE_facelink"));
    command.arg("send").args(arguments);
    Process::start(command, "facelink send")
}

/// A listener and a network without UDP between it and its sender, which is shown.
fn blocked() -> Option<(Network, Listener)> {
    let network = Network::new()?;
    let listener = Listener::start(&["--bind", &network.here, "--token", TOKEN, "--udp-json", "0"]);
    let to = listener.udp_json.expect("asked for").to_string();
    let datagrams = |subject: &str| {
        facelink(&network, &["--via", "udp-json", "--to", &to, "--seconds", "0.3", "--subject", subject]).end();
    };
    datagrams("before");
    listener.frame_of("before");
    network.block_udp();
    datagrams("UDP");
    Some((network, listener))
}

/// Starts a sender again and again, and measures the time to its first frame.
fn measure<T>(what: &str, listener: &Listener, start: impl Fn(&str) -> (T, Option<Instant>)) {
    let mut times = Vec::new();
    for i in 0..tries() {
        let subject = format!("{what} {i}");
        let started = Instant::now();
        let (sender, began) = start(&subject);
        let frame = listener.frame_of(&subject);
        assert_eq!(frame.source, "websocket");
        assert!((0.0..=1.0).contains(&frame.jaw()), "{frame:?}");
        times.push(frame.at - began.unwrap_or(started));
        drop(sender);
    }
    times.sort_unstable();
    let worst = *times.last().expect("some");
    eprintln!(
        "UDP blocked: {what}: {} of {}, first frame after {:?} (median), {worst:?} (worst)",
        times.iter().filter(|time| **time <= WITHIN).count(),
        times.len(),
        times[times.len() / 2],
    );
    assert!(worst <= WITHIN, "{what}: {times:?}");
}

#[test]
fn udp_blocked_facelink_send_connects_within_two_seconds() {
    let _quiet = quiet();
    let Some((network, listener)) = blocked() else { return };
    let to = format!("ws://{}", listener.http);
    measure("facelink send", &listener, |subject| {
        (facelink(&network, &["--to", &to, "--token", TOKEN, "--subject", subject]), None)
    });
    // Frames continue by WebSocket until WebRTC has connected over TCP.
    let _sender = facelink(&network, &["--to", &to, "--token", TOKEN, "--subject", "patient"]);
    let started = Instant::now();
    loop {
        let frame = listener.frame_of("patient");
        if frame.source == "webrtc" {
            eprintln!("UDP blocked: facelink send: over WebRTC by TCP after {:?}", frame.at - started);
            break;
        }
    }
    assert!(!listener.has_seen("UDP"), "UDP gets through");
}

#[test]
fn udp_blocked_python_connects_within_two_seconds() {
    let Some(python) = python() else { return };
    let _quiet = quiet();
    let Some((network, listener)) = blocked() else { return };
    let to = format!("ws://{}", listener.http);
    for script in ["websocket_sender.py", "webrtc_ws_sender.py"] {
        measure(script, &listener, |subject| {
            let mut command = network.command(&python);
            // Says when it has loaded its libraries: only then it starts.
            let starter = "import runpy, sys; sys.argv.pop(0); import aiortc, websockets; print('starts', flush=True); \
                           runpy.run_path(sys.argv[0], run_name='__main__')";
            command.args(["-c", starter]).arg(file("examples/clients/python").join(script));
            command.args([&to, subject, TOKEN]);
            let process = Process::start(command, script);
            let began = process.line(Instant::now() + crate::harness::LIMIT);
            assert_eq!(began.1, "starts");
            (process, Some(began.0))
        });
    }
    assert!(!listener.has_seen("UDP"), "UDP gets through");
}

#[test]
fn udp_blocked_chromium_connects_within_two_seconds() {
    if !Browser::exists() {
        return;
    }
    let _quiet = quiet();
    let Some((network, listener)) = blocked() else { return };
    let mut command = network.command("chromedriver");
    // It listens beyond loopback only when a token is set.
    command.arg(format!("--allowed-ips={}", network.here)).arg("--allowed-origins=*");
    let browser = Browser::start(command, &network.there, &listener);
    measure("facelink.js", &listener, |subject| {
        let settings = json!({"url": format!("ws://{}/?token={TOKEN}", listener.http), "subject": subject});
        browser.run(
            &settings,
            "window.client?.close();
             const { FacialAnimationWebRTCClient } = await import('/facelink.js');
             const client = window.client = new FacialAnimationWebRTCClient(settings.url, { subject: settings.subject });
             client.connect();
             setInterval(() => client.sendARKitData({ jawOpen: 0.5 }), 16);",
        );
        ((), None)
    });
    assert!(!listener.has_seen("UDP"), "UDP gets through");
}
