//! `facelink doctor` as a process: it listens itself, and it asks an endpoint that runs.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    net::UdpSocket,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn facelink() -> Command {
    Command::new(env!("CARGO_BIN_EXE_facelink"))
}

fn doctor(arguments: &[&str]) -> std::process::Output {
    facelink().arg("doctor").args(arguments).output().expect("runs")
}

#[test]
fn it_sees_what_a_running_endpoint_sees() {
    let mut command = facelink();
    command.args(["listen", "--json", "--port", "0", "--live-link-face", "0", "--udp-json", "0"]);
    command.args(["--phone-port", "all=0"]);
    command.arg("--no-remember");
    let mut listen = Running(command.stdout(Stdio::piped()).spawn().expect("starts"));
    let mut first = String::new();
    let mut lines = BufReader::new(listen.0.stdout.take().expect("piped"));
    lines.read_line(&mut first).expect("a line");
    let listening: Value = serde_json::from_str(&first).unwrap_or_else(|error| panic!("{error}: {first}"));
    let url = format!("http://{}", listening["http"].as_str().expect("an address"));
    let vmc = listening["phones"]["vmc"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
    // Nobody reads on: the pipe must not fill up.
    let drain = std::thread::spawn(move || for _ in lines.lines().map_while(Result::ok) {});

    let mut packet = vec![6, 0, 0, 0, 36];
    packet.extend_from_slice(
        b"00000000-0000-0000-0000-000000000001\0\0\0\x05Phone\0\0\0\x09\0\0\0\0\0\0\0\x3c\0\0\0\x01",
    );
    let [socket, other] = [0, 0].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let report: Value = loop {
        socket.send_to(&packet, &vmc).unwrap();
        other.send_to(b"nothing that any app sends", &vmc).unwrap();
        let output = doctor(&["--url", &url, "--json", "--seconds", "0"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        if report["arriving"].as_array().is_some_and(|arriving| arriving.len() > 1) {
            break report;
        }
        assert!(std::time::Instant::now() < end, "{report:#}");
    };
    let advice: Vec<&str> = report["advice"].as_array().unwrap().iter().filter_map(|a| a["text"].as_str()).collect();
    let says = |parts: &[&str]| advice.iter().any(|text| parts.iter().all(|part| text.contains(part)));
    assert!(says(&["Live Link Face", "which is for VMC protocol", "11111"]), "{advice:#?}");
    assert!(says(&["of no app that is known"]), "{advice:#?}");

    let text = String::from_utf8(doctor(&["--url", &url, "--seconds", "0"]).stdout).unwrap();
    for part in ["Listening", "Arriving now", "Live Link Face", "Advice", &url] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "colours only in a terminal");
    drop(listen);
    drain.join().unwrap();
}

#[test]
fn it_listens_itself_where_nothing_runs() {
    let output = doctor(&["--free-ports", "--bind", "127.0.0.1", "--seconds", "0", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let listening = report["listening"].as_array().unwrap();
    assert!(listening.len() > 11 && listening.iter().all(|port| port["problem"].is_null()), "{listening:#?}");
}

#[test]
fn an_endpoint_that_is_not_there_is_an_error_with_its_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = doctor(&["--url", &format!("http://{free}"), "--seconds", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&free.to_string()));
}
