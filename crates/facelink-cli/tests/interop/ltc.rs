//! Linear timecode against libltc, which most programs use.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::harness::{file, have};

/// The rates, and a timecode shortly before something happens.
const CASES: [(&str, &str); 6] = [
    ("24", "23:59:58:20"),
    ("25", "10:00:00:00"),
    ("29.97", "09:59:58;00"),
    ("29.97", "10:00:58;20"),
    ("29.97", "10:00:58:20"),
    ("30", "00:00:00:00"),
];

fn libltc(arguments: &[&str]) -> Option<String> {
    let script = file("tests/peers/libltc.py");
    let script = script.to_str().expect("a path");
    if !have("python3", &[script], "libltc11") {
        return None;
    }
    let out = Command::new("python3").arg(script).args(arguments).output().expect("runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8(out.stdout).expect("text"))
}

fn facelink(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_facelink")).args(arguments).output().expect("runs");
    assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

#[test]
fn ltc_of_libltc_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (rate, from) in CASES {
        for sample_rate in ["44100", "48000"] {
            let wav = path(folder.path(), "theirs.wav");
            let Some(last) = libltc(&["write", &wav, rate, from, "100", sample_rate]) else { return };
            let read: Value = serde_json::from_str(&facelink(&["ltc", "read", "--json", &wav])).expect("one run");
            // The first frame is not followed yet, and the last has no end.
            assert!(read["frames"].as_u64().is_some_and(|frames| frames >= 96), "{rate} {from}: {read}");
            assert_eq!(read["last"], last.trim(), "{rate} {from}: {read}");
            assert_eq!(read["drop_frame"], from.contains(';'));
            // Its frames are of whole samples.
            let fps: f64 = if rate == "29.97" { 30_000.0 / 1001.0 } else { rate.parse().expect("a number") };
            assert!(read["fps"].as_f64().is_some_and(|read| (read / fps - 1.0).abs() < 5e-4), "{rate}: {read}");
        }
    }
}

#[test]
fn ltc_is_read_by_libltc() {
    let folder = tempfile::tempdir().expect("a folder");
    for (rate, from) in CASES {
        for sample_rate in ["44100", "48000"] {
            let wav = path(folder.path(), "ours.wav");
            facelink(&[
                "ltc",
                "write",
                &wav,
                "--rate",
                rate,
                "--from",
                from,
                "--seconds",
                "4",
                "--sample-rate",
                sample_rate,
            ]);
            let Some(read) = libltc(&["read", &wav, rate]) else { return };
            let frames: Vec<&str> = read.lines().collect();
            assert!(frames.len() >= 90, "{rate} {from}: {read}");
            // Ours, as it is read by ourselves, from where theirs begins.
            let own: Value = serde_json::from_str(&facelink(&["ltc", "read", "--json", &wav])).expect("one run");
            assert!(frames.contains(&own["first"].as_str().expect("a timecode")), "{rate} {from}: {own}");
            assert_eq!(own["last"], *frames.last().expect("frames"), "{rate} {from}");
        }
    }
}
