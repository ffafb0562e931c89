//! Public packages that speak the protocols of phone apps.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{path::PathBuf, process::Command};

use crate::harness::{Listener, Process, file, missing, noisy};

/// A Python program of `tests/peers` with the packages that `.ci/sender-packages` fetches.
fn sender(program: &str, package: &str) -> Option<Command> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/facelink/senders"));
    let packages = std::env::var_os("FACELINK_SENDERS").map(PathBuf::from).or_else(home)?;
    let python = std::env::var("FACELINK_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    let command = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.args(arguments).env("PYTHONPATH", &packages);
        command
    };
    let import = format!("import {package}");
    if !command(&["-c", &import]).output().is_ok_and(|out| out.status.success()) {
        missing(&format!(
            "`{python} -c '{import}'` fails (.ci/sender-packages fetches it; apt-get install python3-numpy)"
        ));
        return None;
    }
    let program = file("tests/peers").join(program);
    Some(command(&[program.to_str().expect("UTF-8")]))
}

#[test]
fn pylivelinkface_is_shown_frame_by_frame() {
    const FRAMES: u32 = 180;
    let Some(mut command) = sender("livelink_sender.py", "pylivelinkface") else { return };
    let _noisy = noisy();
    let listener = Listener::start(&["--live-link-face", "0"]);
    let port = listener.live_link_face.expect("asked for").port();
    command.args([port.to_string(), FRAMES.to_string()]);
    let sender = Process::start(command, "PyLiveLinkFace");
    let (mut shown, mut jaw) = (0, -1.0);
    while jaw < 1.0 {
        let frame = listener.frame_of("Ann");
        assert!(frame.jaw() > jaw, "frame {shown} goes back from {jaw} to {}", frame.jaw());
        assert_eq!(frame.source, "live_link_face");
        assert_eq!(frame.blendshapes["mouthLeft"], 0.75, "what is called left is left");
        (shown, jaw) = (shown + 1, frame.jaw());
    }
    assert!(shown >= FRAMES - 8, "{shown} of {FRAMES} frames are shown");
    sender.end();
}
