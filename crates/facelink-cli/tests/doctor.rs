//! `facelink doctor` as a process: it listens itself, and it asks an endpoint that runs.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpListener, UdpSocket},
    process::{Child, Command, Output, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use facelink_net::PhonePort;
use serde_json::Value;

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(30);

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn facelink(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

fn doctor(arguments: &[&str]) -> Output {
    facelink(&[&["doctor"], arguments].concat()).output().expect("runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A `facelink listen` on free ports, the line in which it reports them, and the reader of its output.
struct Listen {
    listening: Value,
    process: Running,
    drain: JoinHandle<()>,
}

impl Listen {
    fn start() -> Self {
        let mut command = facelink(&["listen", "--json", "--port", "0", "--live-link-face", "0", "--udp-json", "0"]);
        command.args(["--phone-port", "all=0", "--no-remember"]);
        let mut process = Running(command.stdout(Stdio::piped()).spawn().expect("starts"));
        let mut lines = BufReader::new(process.0.stdout.take().expect("piped"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a line");
        let listening = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error}: {first}"));
        // No further reader: the pipe must not fill up.
        let drain = std::thread::spawn(move || for _ in lines.lines().map_while(Result::ok) {});
        Self { listening, process, drain }
    }

    fn http(&self) -> SocketAddr {
        self.listening["http"].as_str().and_then(|address| address.parse().ok()).expect("an address")
    }

    fn end(self) {
        drop(self.process);
        self.drain.join().expect("reads to the end");
    }
}

/// Live Link Face, with its face lost.
fn packet() -> Vec<u8> {
    let mut packet = vec![6, 0, 0, 0, 36];
    packet.extend_from_slice(b"00000000-0000-0000-0000-000000000001\0\0\0\x05Phone");
    packet.extend_from_slice(b"\0\0\0\x09\0\0\0\0\0\0\0\x3c\0\0\0\x01");
    packet
}

fn advice(report: &Value) -> Vec<&str> {
    report["advice"].as_array().expect("a list").iter().filter_map(|advice| advice["text"].as_str()).collect()
}

fn assert_says(report: &Value, parts: &[&str]) {
    let advice = advice(report);
    assert!(advice.iter().any(|text| parts.iter().all(|part| text.contains(part))), "{parts:?}: {advice:#?}");
}

#[test]
fn doctor_reports_running_endpoint() {
    let listen = Listen::start();
    let url = format!("http://{}", listen.http());
    let vmc = listen.listening["phones"]["vmc"].as_str().expect("an address").to_owned();
    let [socket, other] = [0, 0].map(|_| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let end = Instant::now() + LIMIT;
    let report: Value = loop {
        socket.send_to(&packet(), &vmc).expect("sent");
        other.send_to(b"nothing that any app sends", &vmc).expect("sent");
        let report = json(&doctor(&["--url", &url, "--json"]));
        if report["arriving"].as_array().is_some_and(|arriving| arriving.len() > 1) {
            break report;
        }
        assert!(Instant::now() < end, "{report:#}");
    };
    assert_says(&report, &["Live Link Face", "which is for VMC protocol", "11111"]);
    assert_says(&report, &["of no app that is known", "6e 6f 74 68 69 6e 67", "\"nothing that a"]);
    assert_says(&report, &["\"Phone\" (Live Link Face)", "no face"]);
    assert_says(&report, &["this machine alone", "--lan"]);

    // It is found by its port alone, and shown as text.
    let text = doctor(&["--port", &listen.http().port().to_string()]);
    let text = String::from_utf8(text.stdout).expect("text");
    for part in ["Listening", "Arriving now", "Live Link Face", "Clock", "Advice", &url] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours only in a terminal");
    listen.end();
}

#[test]
fn doctor_listens_without_running_endpoint() {
    let report = json(&doctor(&["--free-ports", "--bind", "127.0.0.1", "--seconds", "0", "--json"]));
    let listening = report["listening"].as_array().expect("a list");
    assert!(listening.len() > 11 && listening.iter().all(|port| port["problem"].is_null()), "{listening:#?}");
}

#[test]
fn doctor_recognises_live_link_face_at_ifacialmocap_port() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let garbage = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let end = Instant::now() + LIMIT;
    loop {
        // A port that was free a moment ago.
        let port = UdpSocket::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let setting = format!("ifacialmocap={port}");
        let mut command = facelink(&["doctor", "--free-ports", "--bind", "127.0.0.1", "--seconds", "1.5", "--json"]);
        let mut process =
            Running(command.args(["--phone-port", &setting]).stdout(Stdio::piped()).spawn().expect("starts"));
        while process.0.try_wait().expect("asked").is_none() {
            let _ = socket.send_to(&packet(), ("127.0.0.1", port));
            let _ = garbage.send_to(b"\x16\x03\x01 hello", ("127.0.0.1", port));
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut text = String::new();
        process.0.stdout.take().expect("piped").read_to_string(&mut text).expect("text");
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        if report["arriving"].as_array().is_some_and(|arriving| arriving.len() > 1) {
            let port = format!("port {port}, which is for iFacialMocap");
            assert_says(&report, &["Live Link Face arrives from 127.0.0.1", &port, "(usually 11111)", "that works"]);
            assert_says(&report, &["of no app that is known", "16 03 01 20 68 65 6c 6c 6f \"... hello\""]);
            return;
        }
        assert!(Instant::now() < end, "{report:#}");
    }
}

#[test]
fn doctor_names_owner_of_taken_port() {
    let (udp, tcp) =
        (UdpSocket::bind("127.0.0.1:0").expect("a socket"), TcpListener::bind("127.0.0.1:0").expect("a socket"));
    let (udp, http) = (udp.local_addr().map(|at| (at.port(), udp)), tcp.local_addr().map(|at| (at.port(), tcp)));
    let ((udp, _held), (http, _listener)) = (udp.expect("bound"), http.expect("bound"));
    let (setting, number) = (format!("vmc={udp}"), http.to_string());
    let arguments = ["--own", "--port", &number, "--phone-port", "all=0", "--phone-port", &setting];
    let report = json(&doctor(&[&arguments[..], &["--bind", "127.0.0.1", "--seconds", "0", "--json"]].concat()));
    let listening = report["listening"].as_array().expect("a list");
    let problem = |port: u16| {
        let held = listening.iter().find(|held| held["address"] == format!("127.0.0.1:{port}"));
        held.and_then(|held| held["problem"].as_str()).unwrap_or_else(|| panic!("{listening:#?}"))
    };
    assert!(problem(udp).contains("`phones.vmc`"), "{}", problem(udp));
    assert_says(&report, &["VMC protocol cannot arrive", &udp.to_string()]);
    assert_says(&report, &["port", &number, "HTTP", "held by"]);
    // Of the phones' ports and HTTP's two addresses, two are taken.
    let works = listening.iter().filter(|port| port["problem"].is_null()).count();
    assert_eq!(works, PhonePort::ALL.len(), "the rest works");
    if cfg!(target_os = "linux") {
        let process = format!("(process {})", std::process::id());
        assert!(problem(udp).contains(&process) && problem(http).contains(&process), "{listening:#?}");
    }
}

#[test]
fn doctor_missing_endpoint_is_an_error_with_address() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let output = doctor(&["--url", &format!("http://{free}")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&free.to_string()));
    for wrong in [&["--url", "nowhere"][..], &["--token", "x"], &["--seconds", "-1"], &["--lan", "--bind", "127.0.0.1"]]
    {
        assert_eq!(doctor(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
