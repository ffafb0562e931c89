//! `facelink record`, `play` and `take`, as processes: what a script sees of them, and what a killed one leaves.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::UdpSocket,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape,
    take::{RecordedFrame, TakeContent, TakeReader},
    wire::{json::Decoder, message::ClientMessage},
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);

fn facelink(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_remove("RUST_LOG");
    command
}

fn output(args: &[&str]) -> Output {
    facelink(args).output().unwrap()
}

fn parsed(output: &Output) -> Value {
    assert!(output.stderr.is_empty() || output.status.code() == Some(1), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A running `facelink record --json`.
struct Recorder {
    child: Child,
    lines: Receiver<Value>,
    http: String,
    udp_json: String,
}

impl Recorder {
    fn start(out: &Path, extra: &[&str]) -> Self {
        let args = ["record", "--json", "--port", "0", "--live-link-face", "off", "--udp-json", "0", "--out"];
        let mut child = facelink(&[&args[..], &[out.to_str().unwrap()], extra].concat()).spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // A process that is killed may end within a line.
                let Ok(value) = serde_json::from_str(&line) else { return };
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let listening: Value = lines.recv_timeout(LIMIT).unwrap();
        assert_eq!(listening["event"], "listening");
        let recording = lines.recv_timeout(LIMIT).unwrap();
        assert_eq!((&recording["event"], &recording["file"]), (&json!("recording"), &json!(out.to_str())));
        let address = |of: &str| listening[of].as_str().unwrap().to_owned();
        Self { child, lines, http: address("http"), udp_json: address("udp_json") }
    }

    fn find(&self, event: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap();
            if line["event"] == event {
                return line;
            }
        }
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The frames of a take, and whether it was ended.
fn read(file: &Path) -> (Vec<RecordedFrame>, bool) {
    let mut reader = TakeReader::open(BufReader::new(File::open(file).unwrap())).unwrap();
    let mut frames = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let TakeContent::Frame(frame) = entry.content {
            frames.push(*frame);
        }
    }
    (frames, reader.is_complete())
}

fn datagram(subject: &str, number: u64) -> Vec<u8> {
    let weight = |place: u64| (number * 31 + place * 17) % 1000;
    let shapes: serde_json::Map<_, _> = (0..)
        .zip(Blendshape::ALL)
        .map(|(place, shape)| (shape.name().to_owned(), json!(weight(place) as f64 / 1000.0)))
        .collect();
    serde_json::to_vec(&json!({"type": "arkit_data", "subject": subject, "frame": number, "blendshapes": shapes}))
        .unwrap()
}

#[cfg(unix)]
#[test]
fn take_of_record_is_read_cut_and_played_after_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (a, b, cut) = (path("a.mcap"), path("b.mcap"), path("cut.mcap"));
    let mut recorder = Recorder::start(Path::new(&a), &["--slate", "scene 7", "--take", "4", "--raw"]);
    let sent = output(&["send", "--to", &recorder.http, "--via", "websocket", "--subject", "Ann", "--seconds", "2"]);
    assert!(sent.status.success(), "{sent:?}");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bytes = datagram("Bob", 5);
    socket.send_to(&bytes, &recorder.udp_json).unwrap();
    recorder.find("frame");
    while recorder.find("frame")["subject"] != "Bob" {}
    recorder.signal("-TERM");
    assert_eq!(recorder.find("recorded")["file"], json!(a));
    assert_eq!(recorder.wait().code(), Some(0));

    let info = parsed(&output(&["take", "info", &a, "--json"]));
    assert_eq!((&info["complete"], &info["slate"], &info["take"]), (&json!(true), &json!("scene 7"), &json!(4)));
    let [ann, bob] = &info["subjects"].as_array().unwrap()[..] else { panic!("{info}") };
    assert_eq!((&ann["name"], &ann["source"], &ann["late"]), (&json!("Ann"), &json!("websocket"), &json!(0)));
    assert_eq!((&bob["name"], &bob["source"], &bob["frames"]), (&json!("Bob"), &json!("udp_json"), &json!(1)));
    let frames = ann["frames"].as_u64().unwrap();
    assert!(frames > 20 && info["duration_s"].as_f64().unwrap() >= 2.0, "{info}");
    let words = output(&["take", "info", &a]);
    assert!(String::from_utf8_lossy(&words.stdout).starts_with("scene 7 take 4, "), "{words:?}");

    // The datagram is there as it was, and its decoder reads the face of it.
    let mut reader = TakeReader::open(BufReader::new(File::open(&a).unwrap())).unwrap();
    let mut packets = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        if let TakeContent::Packet(packet) = entry.content {
            packets.push(packet);
        }
    }
    assert_eq!((packets.len(), &packets[0].data), (1, &bytes));
    let text = std::str::from_utf8(&packets[0].data).unwrap();
    let mut decoder = Decoder::default();
    let Some(ClientMessage::Face(face)) = decoder.client(text).unwrap() else { panic!("{text}") };
    let (recorded, _) = read(Path::new(&a));
    assert_eq!(recorded.iter().find(|frame| *frame.name == *"Bob").unwrap().frame.weights, face.frame.weights);

    assert_eq!(output(&["take", "diff", &a, &a]).status.code(), Some(0));
    let done = output(&["take", "cut", &a, "--from", "0.5", "--until", "1.5", "--out", &cut]);
    assert!(done.status.success(), "{done:?}");
    let of_cut = parsed(&output(&["take", "info", &cut, "--json"]));
    assert_eq!((&of_cut["duration_s"], &of_cut["complete"]), (&json!(1.0), &json!(true)));
    let difference = output(&["take", "diff", &a, &cut, "--json"]);
    assert_eq!(difference.status.code(), Some(1));
    let difference = parsed(&difference);
    let of_ann = &difference["subjects"]["Ann"];
    assert_eq!((&of_ann["channels"], &of_ann["unlike"]), (&json!({}), &json!(0)), "what is left is as it was");
    assert_eq!((&of_ann["only_b"], &of_ann["frames"]), (&json!(0), &of_cut["subjects"][0]["frames"]));
    let refused = output(&["take", "cut", &a, "--from", "100", "--out", &cut]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing of the take lies between"), "{refused:?}");
    let refused = output(&["take", "cut", &a, "--from", "1", "--out", &a]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a cut is a new file"), "{refused:?}");

    // One subject alone, under another name; and edited. Slate, number and files within it stay.
    let done = output(&["take", "cut", &a, "--subject", "Bob=Zoë 顔", "--out", &cut]);
    assert!(done.status.success(), "{done:?}");
    let of_cut = parsed(&output(&["take", "info", &cut, "--json"]));
    assert_eq!((of_cut["subjects"].as_array().unwrap().len(), &of_cut["subjects"][0]["name"]), (1, &json!("Zoë 顔")));
    let refused = output(&["take", "cut", &a, "--subject", "Eve", "--out", &cut]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no subject `Eve`; there are: Ann, Bob"), "{refused:?}");
    assert_eq!(parsed(&output(&["take", "info", &cut, "--json"])), of_cut, "what was there is still there");
    let edited = path("edited.mcap");
    let done = output(&["take", "edit", &a, "--subject", "Ann", "--from", "0.5", "--mirror", "--out", &edited]);
    assert!(done.status.success(), "{done:?}");
    for file in [&cut, &edited] {
        let of_it = parsed(&output(&["take", "info", file, "--json"]));
        for kept in ["slate", "take", "attachments"] {
            assert_eq!(of_it[kept], info[kept], "{kept} of {file}");
        }
        assert_eq!(info["attachments"], json!(["profiles.json", "calibration.json"]));
    }
    let of_edited = parsed(&output(&["take", "info", &edited, "--json"]));
    assert_eq!(of_edited["subjects"][0]["source"], "websocket");
    let later = of_edited["started"].as_f64().unwrap() - info["started"].as_f64().unwrap();
    assert!((later - 0.5 - ann["first_s"].as_f64().unwrap()).abs() < 0.05, "{later}");
    let done = output(&["take", "cut", &a, "--from", "0.5", "--until", "1.5", "--out", &cut]);
    assert!(done.status.success(), "{done:?}");

    // Played to another recorder, under another name and twice as fast.
    let mut second = Recorder::start(Path::new(&b), &[]);
    let args = ["play", &a, "--to", &second.http, "--via", "websocket", "--subject", "Ann=Carol", "--speed", "2"];
    let started = Instant::now();
    let played = output(&args);
    assert!(played.status.success(), "{played:?}");
    assert!(started.elapsed() > Duration::from_millis(900), "it took its time");
    assert!(String::from_utf8_lossy(&played.stdout).starts_with(&format!("Sent {frames} frames")), "{played:?}");
    second.signal("-INT");
    assert_eq!(second.wait().code(), Some(0));
    let (again, complete) = read(Path::new(&b));
    // The newest of those that wait to be sent: at twice the speed on a busy machine, not all of them arrive.
    assert!(complete && again.len() as u64 > frames / 5, "{} of {frames}", again.len());
    assert!(again.iter().all(|frame| *frame.name == *"Carol"), "{:?}", again[0].name);
    // The wire carries steps of 1/255, which these weights already are.
    let of_ann: Vec<_> = recorded.iter().filter(|frame| *frame.name == *"Ann").collect();
    assert!(again.iter().all(|frame| of_ann.iter().any(|other| other.frame.weights == frame.frame.weights)));

    // The datagrams once more, to the decoders of another endpoint.
    let mut third = Recorder::start(Path::new(&b), &[]);
    let played = output(&["play", &a, "--raw", "--to", &third.udp_json, "--speed", "4"]);
    assert!(String::from_utf8_lossy(&played.stdout).starts_with("Sent 1 datagrams"), "{played:?}");
    third.find("frame");
    third.signal("-INT");
    assert_eq!(third.wait().code(), Some(0));
    let (received, _) = read(Path::new(&b));
    assert_eq!((received.len(), &received[0].frame.weights), (1, &face.frame.weights));
    let none = output(&["play", &cut, "--raw"]);
    assert!(String::from_utf8_lossy(&none.stderr).contains("`facelink record --raw` keeps them"), "{none:?}");

    let unknown = output(&["play", &a, "--subject", "Eve"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no subject `Eve`; there are: Ann, Bob"), "{unknown:?}");
}

#[test]
fn record_ends_after_seconds_and_plays_as_an_app() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.mcap"), folder.path().join("b.mcap"));
    let mut recorder = Recorder::start(&a, &["--seconds", "2"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..50 {
        socket.send_to(&datagram("Ann", number), &recorder.udp_json).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(recorder.wait().code(), Some(0));
    let (frames, complete) = read(&a);
    assert!(complete && frames.len() > 10, "{}", frames.len());

    let mut second = Recorder::start(&b, &["--seconds", "4"]);
    let played = output(&["play", a.to_str().unwrap(), "--as", "udp-json", "--to", &second.udp_json]);
    assert!(played.status.success(), "{played:?}");
    assert_eq!(second.wait().code(), Some(0));
    let (again, _) = read(&b);
    assert!(again.len() * 2 > frames.len(), "{} of {}", again.len(), frames.len());
    assert!(again.iter().all(|frame| frames.iter().any(|other| other.frame.weights == frame.frame.weights)));
}

#[test]
fn take_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.mcap");
    std::fs::write(&file, "Timecode,BlendShapeCount\n").unwrap();
    let refused = output(&["take", "info", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(message.contains("x.mcap: this is no take"), "{message}");
    // Not the 1 of takes that differ.
    let missing = output(&["take", "diff", "/nowhere/a.mcap", "/nowhere/b.mcap"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read /nowhere/a.mcap"));
}

#[cfg(unix)]
#[test]
fn record_killed_at_any_moment_loses_a_second_at_most() {
    /// Between two frames.
    const STEP: Duration = Duration::from_millis(10);
    /// What a machine that is busy with other tests adds.
    const GRACE: Duration = Duration::from_millis(500);
    let folder = tempfile::tempdir().unwrap();
    // Twenty of them, five at a time.
    let rounds = (0..5_u64).map(|group| {
        let folder = folder.path().to_owned();
        thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(group);
            for round in 0..4 {
                let file = folder.join(format!("{group}-{round}.mcap"));
                let mut recorder = Recorder::start(&file, &[]);
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                let start = Instant::now();
                let life = Duration::from_millis(random.u64(1200..3200));
                let mut sent = Vec::new();
                while start.elapsed() < life {
                    socket.send_to(&datagram("Ann", sent.len() as u64), &recorder.udp_json).unwrap();
                    sent.push(Instant::now());
                    thread::sleep(STEP);
                }
                let killed = Instant::now();
                recorder.child.kill().unwrap();
                assert!(recorder.wait().code().is_none());

                let (frames, complete) = read(&file);
                assert!(!complete, "{group}-{round}");
                let last = frames.last().map_or(0, |frame| frame.frame.sequence.unwrap() as usize + 1);
                // The first frame that is not there was sent within the last second.
                let lost = killed - sent.get(last).copied().unwrap_or(killed);
                // A machine that did not run this thread did not run the recorder either.
                let starved = sent.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
                let most = Duration::from_secs(1) + GRACE + starved;
                assert!(lost <= most, "{group}-{round}: {lost:?} of {life:?}, at most {most:?}");
                let info = parsed(&output(&["take", "info", file.to_str().unwrap(), "--json"]));
                assert_eq!(info["complete"], json!(false));
            }
        })
    });
    let rounds: Vec<_> = rounds.collect();
    for round in rounds {
        round.join().unwrap();
    }
}

/// A file system in memory that is soon full.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=96k", "tmpfs"]).arg(folder.path());
        match mount.output() {
            Ok(done) if done.status.success() => Some(Self(folder)),
            done => {
                assert!(std::env::var_os("CI").is_none(), "a small file system cannot be mounted: {done:?}");
                eprintln!("skipped: a small file system needs root on Linux");
                None
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn record_to_a_full_disk_says_so_and_keeps_what_is_there() {
    let Some(small) = Small::mount() else { return };
    let file = small.0.path().join("a.mcap");
    let mut recorder = Recorder::start(&file, &[]);
    let sending = Arc::new(AtomicBool::new(true));
    let sender = {
        let (sending, to) = (sending.clone(), recorder.udp_json.clone());
        thread::spawn(move || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut number = 0;
            while sending.load(Ordering::Relaxed) {
                for subject in ["Ann", "Bob", "Carol", "Dan"] {
                    let _ = socket.send_to(&datagram(subject, number), &to);
                }
                number += 1;
                thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let status = recorder.wait();
    sending.store(false, Ordering::Relaxed);
    sender.join().unwrap();
    assert_eq!(status.code(), Some(1));
    let mut message = String::new();
    BufReader::new(recorder.child.stderr.take().unwrap()).read_line(&mut message).unwrap();
    assert!(message.contains("no space is left for the take; what was recorded before is kept"), "{message}");
    let (frames, complete) = read(&file);
    assert!(!complete && frames.len() > 50, "{}", frames.len());
}
