//! The `facelink` command as a process: what a script or another program sees of it.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Read},
    net::UdpSocket,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

fn facelink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
    command
}

/// A running `facelink listen --json`.
struct Listener {
    child: Child,
    lines: Receiver<Value>,
    listening: Value,
}

impl Listener {
    fn start(extra: &[&str]) -> Self {
        Self::run(facelink(&Self::args(extra)))
    }

    /// Keeps its certificate there.
    fn start_in(home: &std::path::Path, extra: &[&str]) -> Self {
        let mut command = facelink(&Self::args(extra));
        command.env("HOME", home).env("XDG_DATA_HOME", home.join("data")).env("APPDATA", home.join("data"));
        Self::run(command)
    }

    fn args<'a>(extra: &[&'a str]) -> Vec<&'a str> {
        let args = ["listen", "--json", "--port", "0", "--live-link-face", "0", "--udp-json", "0"];
        [&args[..], extra].concat()
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = read_lines(child.stdout.take().unwrap(), json);
        let listening = lines.recv_timeout(LIMIT).unwrap();
        assert_eq!(listening["event"], "listening");
        Self { child, lines, listening }
    }

    fn address(&self, of: &str) -> String {
        self.listening[of].as_str().unwrap().to_owned()
    }

    /// The next line that `wanted` accepts.
    fn find(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap();
            if wanted(&line) {
                return line;
            }
        }
    }

    fn frame_of(&self, subject: &str, source: &str) -> Value {
        self.find(|line| line["event"] == "frame" && line["subject"] == subject && line["source"] == source)
    }

    #[cfg(unix)]
    fn end(mut self, signal: &str) -> ExitStatus {
        let killed = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        wait(&mut self.child)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every line that a process prints, read by `parse`.
fn read_lines<T: Send + 'static>(stdout: ChildStdout, parse: impl Fn(&str) -> T + Send + 'static) -> Receiver<T> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            if sender.send(parse(&line.unwrap())).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Every line of `--json` has to be JSON.
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("it does not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `facelink send` to its end and gives what it printed.
fn send(args: &[&str]) -> (ExitStatus, String, String) {
    let mut child = facelink(&[&["send"], args].concat()).spawn().unwrap();
    let status = wait(&mut child);
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    (status, out, err)
}

fn assert_whole_face(frame: &Value) {
    let shapes = frame["blendshapes"].as_object().unwrap();
    assert_eq!(shapes.len(), 52, "{frame}");
    assert!(shapes.values().all(|weight| (0.0..=1.0).contains(&weight.as_f64().unwrap())), "{frame}");
    assert_eq!(frame["tracked"], true);
    assert!(frame["frame"].is_u64());
    assert_eq!(frame["head"]["rotation"].as_array().map(Vec::len), Some(4), "{frame}");
}

#[test]
fn listens_on_free_ports_of_this_machine() {
    let listener = Listener::start(&[]);
    let mut ports = Vec::new();
    for what in ["http", "live_link_face", "udp_json"] {
        let address: std::net::SocketAddr = listener.address(what).parse().unwrap();
        assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
        ports.push(address.port());
    }
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 3);
    assert!(listener.listening.get("token").is_none());
}

#[test]
fn beyond_this_machine_there_is_a_token_and_https() {
    let home = tempfile::tempdir().unwrap();
    let lan = |extra: &[&str]| {
        let args = [&["--lan", "--udp-json", "off"][..], extra].concat();
        Listener::start_in(home.path(), &args)
    };
    let listener = lan(&[]);
    assert!(listener.address("http").starts_with("0.0.0.0:"));
    assert!(listener.listening["udp_json"].is_null());
    assert_eq!(listener.address("token").len(), 10);
    let invitation = listener.address("invitation");
    assert!(invitation.starts_with("https://") && invitation.contains("/?token="), "{invitation}");
    let fingerprint = listener.address("fingerprint");
    assert_eq!(fingerprint.len(), 95, "{fingerprint}");
    assert_eq!(lan(&[]).address("fingerprint"), fingerprint, "the certificate is kept");
    // Nothing else has to be trusted to send a face there.
    let (_, port) = invitation.split_once("//").and_then(|(_, rest)| rest.split_once('/')?.0.rsplit_once(':')).unwrap();
    let to = format!("wss://127.0.0.1:{port}");
    let args = ["--to", &to, "--fingerprint", &fingerprint, "--seconds", "0.5", "--subject", "Ann"];
    let (status, _, err) = send(&args);
    assert!(status.success(), "{err}");
    assert_whole_face(&listener.find(|line| line["event"] == "frame" && line["subject"] == "Ann"));

    let plain = lan(&["--no-tls"]);
    assert!(plain.address("invitation").starts_with("http://"));
    assert!(plain.listening.get("fingerprint").is_none());
    let listener = Listener::start(&["--bind", "0.0.0.0", "--token", "open sesame"]);
    assert_eq!(listener.address("token"), "open sesame");
}

#[test]
fn a_certificate_of_the_users_own_is_named_when_it_is_wrong() {
    let output =
        facelink(&["listen", "--port", "0", "--certificate", "/nowhere/a.pem", "--key", "/nowhere/b.pem"]).output();
    let output = output.unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("/nowhere/a.pem") && message.contains("`tls`"), "{message}");
}

#[cfg(unix)]
#[test]
fn receives_every_wire_and_ends_on_a_signal() {
    let listener = Listener::start(&[]);

    for (via, at, name) in [
        ("live-link-face", "live_link_face", "live_link_face"),
        ("udp-json", "udp_json", "udp_json"),
        ("websocket", "http", "websocket"),
    ] {
        let subject = format!("from {via}");
        let to = listener.address(at);
        let (status, out, err) = send(&["--via", via, "--to", &to, "--seconds", "0.5", "--subject", &subject]);
        assert!(status.success(), "{via}: {err}");
        assert!(out.starts_with("Sent ") && out.contains(" frames in "), "{out}");
        let appeared = listener.find(|line| line["event"] == "subject_appeared" && line["subject"] == *subject);
        assert_eq!(appeared["source"], name);
        let first = listener.frame_of(&subject, name);
        assert_whole_face(&first);
        let second = listener.frame_of(&subject, name);
        assert!(second["frame"].as_u64() > first["frame"].as_u64());
    }
    // A WebSocket that closes takes its subject along; datagrams have to time out.
    let lost = listener.find(|line| line["event"] == "subject_lost");
    assert!(lost["subject"].is_string() && lost["reason"].is_string(), "{lost}");

    assert_eq!(listener.end("-INT").code(), Some(0));
    assert_eq!(Listener::start(&[]).end("-TERM").code(), Some(0));
}

#[test]
fn sends_over_a_data_channel() {
    let listener = Listener::start(&[]);
    let to = format!("ws://{}", listener.address("http"));
    let (status, _, err) = send(&["--to", &to, "--seconds", "1", "--subject", "rtc"]);
    assert!(status.success(), "{err}");
    assert_whole_face(&listener.frame_of("rtc", "webrtc"));
}

/// What the old senders write, with the face lost in between, and rubbish.
#[test]
fn takes_the_old_systems_datagrams() {
    let listener = Listener::start(&[]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = listener.address("udp_json");
    socket.send_to(b"rubbish", &to).unwrap();
    socket.send_to(br#"{"subject":"Old","blendshapes":{"jawOpen":0.5,"grin":0.25}}"#, &to).unwrap();
    let frame = listener.frame_of("Old", "udp_json");
    assert_eq!(frame["blendshapes"]["jawOpen"], 0.5);
    assert_eq!(frame["blendshapes"]["grin"], 0.25);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child =
        facelink(&["listen", "--json", "--port", "0", "--live-link-face", "0", "--udp-json", "0"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap();
    drop(stdout);
    let to = listening["udp_json"].as_str().unwrap();
    let (status, ..) = send(&["--via", "udp-json", "--to", to, "--seconds", "0.5"]);
    assert!(status.success());
    let status = wait(&mut child);
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert!(status.success() && err.is_empty(), "{err}");
}

#[test]
fn a_port_that_is_taken_is_a_failure_in_words() {
    let listener = Listener::start(&[]);
    let port = listener.address("http").rsplit_once(':').unwrap().1.to_owned();
    let output = facelink(&["listen", "--port", &port, "--live-link-face", "0", "--udp-json", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("facelink: cannot listen for HTTP") && err.contains(&port), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");

    // A phone's port can be done without.
    let port = listener.address("live_link_face").rsplit_once(':').unwrap().1.to_owned();
    let second = Listener::start(&["--live-link-face", &port]);
    assert!(second.listening["live_link_face"].is_null());
    assert!(second.listening["unavailable"][0].as_str().unwrap().contains(&port));
}

#[test]
fn wrong_arguments_are_a_usage_error() {
    for args in [
        &["listen", "--port", "70000"][..],
        &["listen", "--bind", "nowhere"],
        &["listen", "--udp-json", "no"],
        &["listen", "--lan", "--bind", "127.0.0.1"],
        &["listen", "--token", ""],
        &["listen", "--no-tls"],
        &["listen", "--certificate", "a.pem"],
        &["listen", "--lan", "--no-tls", "--certificate", "a.pem", "--key", "b.pem"],
        &["send", "--via", "pigeon"],
        &["send", "--fps", "0"],
        &["send", "--seconds", "-1"],
        &["send", "--subject", ""],
        &["dance"],
        &[],
    ] {
        let output = facelink(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
    assert!(facelink(&["--help"]).output().unwrap().status.success());
}

#[test]
fn sending_to_nobody_says_so() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (status, _, err) = send(&["--via", "websocket", "--to", &format!("127.0.0.1:{port}"), "--seconds", "1"]);
    assert_eq!(status.code(), Some(1));
    assert!(err.contains("cannot connect to") && err.contains(&port.to_string()), "{err}");
}

#[test]
fn without_json_a_pipe_gets_plain_lines() {
    let mut child = facelink(&["listen", "--port", "0", "--live-link-face", "0", "--udp-json", "0"]).spawn().unwrap();
    let lines = read_lines(child.stdout.take().unwrap(), str::to_owned);
    let find = |wanted: &str| {
        let end = Instant::now() + LIMIT;
        loop {
            let line = lines.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap();
            if line.contains(wanted) {
                return line;
            }
        }
    };
    let line = find("JSON over UDP");
    let to = line.rsplit(' ').next().unwrap();
    let (status, ..) = send(&["--via", "udp-json", "--to", to, "--seconds", "0.5", "--subject", "Ann"]);
    assert!(status.success());
    assert_eq!(find("appeared"), "Ann appeared over udp_json from 127.0.0.1");
    assert!(find("Ann: ").contains(" frames"));
    let _ = child.kill();
    let _ = child.wait();
}
