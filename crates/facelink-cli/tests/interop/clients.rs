//! The programs of `docs/clients.md`: the page holds what the files hold, and each of them is heard.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{fs, process::Command};

use crate::harness::{Browser, Listener, Process, file, python};

const SHOWN: [&str; 7] = [
    "examples/clients/javascript/facelink.html",
    "examples/clients/javascript/raw.html",
    "examples/clients/python/websocket_sender.py",
    "examples/clients/python/webrtc_http_sender.py",
    "examples/clients/python/webrtc_ws_sender.py",
    "examples/clients/python/udp_sender.py",
    "crates/facelink/examples/send.rs",
];

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_page_shows_what_is_there() {
    let page = text("docs/clients.md");
    for path in SHOWN {
        assert!(page.contains(&format!("`{path}`")), "{path} is not named");
        assert!(page.contains(&text(path)), "{path} has changed, and docs/clients.md has not");
    }
}

/// A talking face of this name, by this transport.
fn hears(listener: &Listener, subject: &str, source: &str) {
    let mut lowest = f64::INFINITY;
    let mut highest = 0.0_f64;
    while highest - lowest < 0.5 {
        let frame = listener.frame_by(source);
        assert_eq!(frame.subject, subject);
        (lowest, highest) = (lowest.min(frame.jaw()), highest.max(frame.jaw()));
    }
    let stats = listener.get("/api/v1/stats");
    assert_eq!((&stats["refused"], &stats["ignored"]), (&0.into(), &0.into()), "{stats}");
}

fn python_sends(script: &str, arguments: impl Fn(&Listener) -> Vec<String>, source: &str) {
    let Some(python) = python() else { return };
    let listener = Listener::start(&["--udp-json", "0"]);
    let mut command = Command::new(python);
    command.arg(file("examples/clients/python").join(script)).args(arguments(&listener));
    let _sender = Process::start(command, script);
    hears(&listener, "Python", source);
}

#[test]
fn python_by_websocket() {
    python_sends("websocket_sender.py", |listener| vec![format!("ws://{}", listener.http)], "websocket");
}

#[test]
fn python_by_webrtc_and_http() {
    python_sends("webrtc_http_sender.py", |listener| vec![format!("http://{}", listener.http)], "webrtc");
}

#[test]
fn python_by_websocket_and_then_webrtc() {
    python_sends("webrtc_ws_sender.py", |listener| vec![format!("ws://{}", listener.http)], "webrtc");
}

#[test]
fn python_by_udp() {
    let port = |listener: &Listener| listener.udp_json.expect("listens").port().to_string();
    python_sends("udp_sender.py", |listener| vec!["127.0.0.1".to_owned(), port(listener)], "udp_json");
}

fn page_sends(path: &str) {
    let listener = Listener::start(&[]);
    let Some(browser) = Browser::open(&listener) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("page.html");
    fs::write(&page, text(path).replace("127.0.0.1:8765", &listener.http.to_string())).expect("written");
    browser.go(&format!("file://{}", page.display()));
    hears(&listener, "Page", "webrtc");
}

#[test]
fn a_page_with_our_client() {
    page_sends("examples/clients/javascript/facelink.html");
}

#[test]
fn a_page_with_nothing() {
    page_sends("examples/clients/javascript/raw.html");
}
