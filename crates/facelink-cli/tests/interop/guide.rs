//! The programs of docs/clients.md, run as printed there.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{process::Command, time::Instant};

use crate::harness::{Frame, Listener, Process, file, noisy, python};

const GUIDE: &str = include_str!("../../../../docs/clients.md");

/// Every program in the guide is the file that the tests run: after a line that names it.
#[test]
fn guide_programs_match_tested_files() {
    let mut programs = 0;
    let mut rest = GUIDE;
    while let Some((_, after)) = rest.split_once("<!-- file: ") {
        let (path, after) = after.split_once(" -->\n").expect("a file's name");
        let (_, after) = after.split_once("```").expect("a block");
        let (_, after) = after.split_once('\n').expect("the block's lines");
        let (program, after) = after.split_once("```\n").expect("the block's end");
        let text = std::fs::read_to_string(file(path)).expect("the file that is named");
        assert!(program == text, "docs/clients.md does not hold {path} as it is");
        programs += 1;
        rest = after;
    }
    assert_eq!(programs, 7, "programs in docs/clients.md");
}

/// The two shapes that the programs send.
fn assert_right(frame: &Frame) {
    let closed = frame.blendshapes["mouthClose"].as_f64().expect("a weight");
    assert!((0.0..=1.0).contains(&frame.jaw()) && (frame.jaw() + closed - 1.0).abs() < 0.001, "{frame:?}");
}

/// Runs a program until the listener has a second's frames of it by `sources`, the last of them for good.
fn run(command: Command, name: &str, listener: &Listener, sources: &[&str]) {
    let started = Instant::now();
    let _process = Process::start(command, name);
    for source in sources {
        let first = listener.frame_by(source);
        eprintln!("{name}: first frame over {source} after {} ms", (first.at - started).as_millis());
        let (mut lowest, mut highest) = (first.jaw(), first.jaw());
        // A mouth that opens and closes.
        while highest - lowest < 0.2 {
            let frame = listener.frame();
            assert_right(&frame);
            assert_eq!(frame.subject, "Guide");
            (lowest, highest) = (lowest.min(frame.jaw()), highest.max(frame.jaw()));
        }
    }
}

fn script(name: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(python()?);
    command.arg(file("examples/clients/python").join(name)).args(arguments);
    Some(command)
}

#[test]
fn guide_python_udp() {
    let _noisy = noisy();
    let listener = Listener::start(&["--udp-json", "0"]);
    let port = listener.udp_json.expect("asked for").port().to_string();
    let Some(command) = script("udp_sender.py", &["127.0.0.1", &port, "Guide"]) else { return };
    run(command, "udp_sender.py", &listener, &["udp_json"]);
}

#[test]
fn guide_python_websocket() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let Some(command) = script("websocket_sender.py", &[&format!("ws://{}", listener.http), "Guide"]) else { return };
    run(command, "websocket_sender.py", &listener, &["websocket"]);
}

#[test]
fn guide_python_webrtc_http() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let url = format!("http://{}", listener.http);
    let Some(command) = script("webrtc_http_sender.py", &[&url, "Guide"]) else { return };
    run(command, "webrtc_http_sender.py", &listener, &["webrtc"]);
}

#[test]
fn guide_python_websocket_then_webrtc() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let url = format!("ws://{}", listener.http);
    let Some(command) = script("webrtc_ws_sender.py", &[&url, "Guide"]) else { return };
    run(command, "webrtc_ws_sender.py", &listener, &["websocket", "webrtc"]);
}
