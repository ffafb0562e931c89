//! WebRTC stacks of other makes: libdatachannel and werift by npm, aiortc with what networks and other stacks do.

use std::{path::PathBuf, process::Command, thread, time::Instant};

use serde_json::Value;

use crate::harness::{LIMIT, Listener, Process, file, have, missing, noisy, python};

const STACKS: [&str; 2] = ["node-datachannel", "werift"];

/// The folder with the packages of `tests/peers/package.json`; `None` where there is none. `FACELINK_NODE_PACKAGES` names another.
fn packages() -> Option<PathBuf> {
    let usual = || std::env::home_dir().map(|home| home.join(".cache/facelink/npm"));
    let folder = std::env::var_os("FACELINK_NODE_PACKAGES").map(PathBuf::from).or_else(usual)?;
    if !have("node", &["--version"], "nodejs") {
        return None;
    }
    if !folder.join("node_modules/werift").is_dir() {
        let from = file("tests/peers").display().to_string();
        missing(&format!("{} lacks the packages of {from}/package.json (npm ci there)", folder.display()));
        return None;
    }
    Some(folder)
}

/// A listener, and a peer of npm's that has connected to it in this way.
fn node(stack: &str, way: &str) -> Option<(Listener, Process)> {
    let packages = packages()?;
    // On a machine that is busy with many tests the stacks' own time limits pass before they are open.
    for _ in 0..3 {
        let listener = Listener::start(&[]);
        let mut command = Command::new("node");
        command.arg(file("tests/peers/node_peer.mjs")).arg(&packages).args([stack, &listener.http.to_string(), way]);
        let peer = Process::start(command, &format!("{stack}, {way}"));
        let open = |said: Value| said["open"] == true || said["channel"].is_string();
        if peer.says_within(LIMIT / 3, |line| json(line).is_some_and(open)) {
            return Some((listener, peer));
        }
        eprintln!("{stack}, {way}: not open, {}", peer.said());
    }
    unreachable!("{stack}, {way}: never open")
}

fn aiortc(listener: &Listener, args: &[&str]) -> Option<Process> {
    let mut command = Command::new(python()?);
    command.arg(file("tests/peers/aiortc_odd.py")).arg(format!("http://{}", listener.http)).args(args);
    Some(Process::start(command, &format!("aiortc {args:?}")))
}

/// So many frames over WebRTC, without an interruption.
fn frames(listener: &Listener, count: usize) {
    for _ in 0..count {
        let frame = listener.frame_by("webrtc");
        assert!((frame.jaw() - 0.375).abs() < 0.001, "{frame:?}");
    }
}

fn json(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok()
}

/// Waits until something of the only connection was refused.
fn refused(listener: &Listener) {
    let end = Instant::now() + LIMIT;
    loop {
        let stats = listener.get("/api/v1/stats");
        if stats["connections"][0]["refused"].as_u64() > Some(0) {
            return;
        }
        assert!(Instant::now() < end, "{stats}");
        thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Waits until no connection is left.
fn alone(listener: &Listener) {
    let end = Instant::now() + LIMIT;
    while listener.get("/api/v1/stats")["connections"].as_array().is_none_or(|all| !all.is_empty()) {
        assert!(Instant::now() < end, "the connection stays");
        thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn stacks_that_offer_connect() {
    let _noisy = noisy();
    for stack in STACKS {
        for way in ["offer", "negotiated", "active"] {
            let Some((listener, _peer)) = node(stack, way) else { return };
            frames(&listener, 30);
        }
    }
}

/// werift is not among them: it answers `active` to whatever offer, and then waits for the offerer to start SCTP.
#[test]
fn stacks_that_answer_find_a_channel() {
    let _noisy = noisy();
    let Some((listener, _peer)) = node("node-datachannel", "answer") else { return };
    frames(&listener, 30);
}

/// node-datachannel takes even ids, so that its first channel has that of the negotiated one; werift takes odd ones, which are
/// ours.
#[test]
fn stacks_third_channel_is_closed_and_counted() {
    let _noisy = noisy();
    for stack in STACKS {
        let Some((listener, peer)) = node(stack, "channels") else { return };
        frames(&listener, 30);
        let _: Value = peer.find(|line| json(line).filter(|said| said["ended"].is_string()));
        refused(&listener);
        frames(&listener, 30);
    }
}

#[test]
fn stacks_closed_channel_leaves_the_others() {
    let _noisy = noisy();
    for stack in STACKS {
        let Some((listener, peer)) = node(stack, "close") else { return };
        let _: Value = peer.find(|line| json(line).filter(|said| said["ended"] == "control"));
        frames(&listener, 120);
    }
}

#[test]
fn stacks_goodbye_ends_the_connection() {
    let _noisy = noisy();
    for stack in STACKS {
        let Some((listener, peer)) = node(stack, "leave") else { return };
        let _: Value = peer.find(|line| json(line).filter(|said| said["closed"] == true));
        alone(&listener);
    }
}

/// TSNs that wrap after a second of frames, and that begin at 0.
#[test]
fn sctp_tsn_wraps() {
    let _noisy = noisy();
    for tsn in ["4294967276", "4294967295", "0"] {
        let listener = Listener::start(&[]);
        let Some(_peer) = aiortc(&listener, &["--tsn", tsn]) else { return };
        frames(&listener, 60);
    }
}

#[test]
fn sctp_of_another_port_connects() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let Some(_peer) = aiortc(&listener, &["--sctp-port", "6000"]) else { return };
    frames(&listener, 30);
}

/// It says no `hello`, so it is not pinged, and its process stands still: no packet of any kind comes any more.
#[test]
fn peer_that_stands_still_is_let_go() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let Some(_peer) = aiortc(&listener, &["--freeze", "60"]) else { return };
    frames(&listener, 30);
    alone(&listener);
}

/// Its second channel and the one of this side would both have the id 3.
#[test]
fn stack_with_two_channels_finds_ours_too() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let Some(peer) = aiortc(&listener, &["--channels", "1"]) else { return };
    let _: Value = peer.find(|line| json(line).filter(|said| said["channel"] == "animation-out"));
    frames(&listener, 60);
}

#[test]
fn hostile_channels_end_the_connection() {
    let _noisy = noisy();
    for args in [
        &["--even", "--channels", "30", "--stuff", "250", "--label", "8"][..],
        &["--even", "--channels", "30", "--stuff", "1", "--label", "30000"],
        &["--even", "--churn"],
    ] {
        let listener = Listener::start(&[]);
        let Some(peer) = aiortc(&listener, args) else { return };
        if args.contains(&"--churn") {
            let _: Value = peer.find(|line| json(line).filter(|said| said["churned"] == 900));
        }
        assert_eq!(listener.disconnected(), "too many data channels");
    }
}

/// An update in JSON of the usual face fits one packet, and what is lost is not waited for.
#[test]
fn subscriber_on_a_lossy_path_gets_most_updates() {
    let _noisy = noisy();
    let listener = Listener::start(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
    command.args(["send", "--to", &format!("ws://{}", listener.http), "--subject", "Ann"]);
    let _sender = Process::start(command, "facelink send");
    listener.frame_of("Ann");
    for (loss, least) in [("0", 0.8), ("0.1", 0.4)] {
        let Some(peer) = aiortc(&listener, &["--watch", "6", "--loss", loss]) else { return };
        let seen: Value = peer.find(|line| json(line).filter(|said| said["updates"].is_u64()));
        let arrived = seen["updates"].as_f64().zip(seen["span"].as_f64()).map_or(0.0, |(updates, span)| updates / span);
        eprintln!("loss {loss}: {:.0} % of the updates arrive, {seen}", arrived * 100.0);
        assert!(arrived >= least && seen["updates"].as_u64() > Some(10), "loss {loss}: {seen}");
        // The first few hold every shape.
        let small =
            seen["small"].as_f64().zip(seen["updates"].as_f64()).map_or(0.0, |(small, updates)| small / updates);
        assert!(small > 0.8, "{seen}");
    }
}
